"""The page at ``/``, on which models are tried."""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite.report.levels import LEVELS
from lmsuite.report.visible import visible
from lmsuite.sampling import SamplingSettings
from lmsuite.serve.limits import Limits
from lmsuite.serve.replies import LOWEST
from lmsuite.serve.served import ServedModels

if TYPE_CHECKING:
    from jinja2 import Template

_ON_PAGE = ("temperature", "top_k", "top_p", "min_p", "max_tokens")
"""Settings whose default a command need not name."""


def page(models: ServedModels, limits: Limits, *, needs_key: bool) -> tuple[str, str]:
    """The page for these models, and its content-security policy.

    The policy allows the page's own script and style, by a number used once, and requests to this
    server. Everything else is forbidden.
    """
    defaults = SamplingSettings()
    facts = {
        "levels": LEVELS,
        "lowest": LOWEST,
        "needs_key": needs_key,
        "defaults": {name: getattr(defaults, name) for name in _ON_PAGE},
        "ends": {name: each.model.encoder.boundaries.end for name, each in models.items()},
    }
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    text = template().render(
        models=list(models.values()),
        nonce=nonce,
        facts=facts,
        levels=LEVELS,
        most=limits.max_tokens,
    )
    return text, policy


@cache
def template() -> Template:
    """The template, made once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here, here.parent / "report"]),  # its style is ours, too
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["visible"] = visible
    return environment.get_template("page.html")
