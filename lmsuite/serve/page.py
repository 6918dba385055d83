"""The page at ``/``, on which models are tried."""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite.serve.served import ServedModels

if TYPE_CHECKING:
    from jinja2 import Template


def page(models: ServedModels) -> tuple[str, str]:
    """The page for these models, and its content-security policy.

    The policy allows the page's own script and style, by a number used once, and requests to this
    server. Everything else is forbidden.
    """
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return template().render(models=list(models.values()), nonce=nonce), policy


@cache
def template() -> Template:
    """The template, made once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html")
