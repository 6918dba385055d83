"""How much a request may ask for, and how a server may be reached."""

from __future__ import annotations

from dataclasses import dataclass

from lmsuite.settings import check, setting


@dataclass(frozen=True)
class Limits:
    """The most that a request gets; whoever asks for more is told so.

    Raises:
        UsageError: a limit is out of bounds.
    """

    max_body: int = setting(
        1 << 20, minimum=1, metavar="BYTES", help="The longest request, in bytes."
    )
    max_prompt: int = setting(65_536, minimum=1, help="The most tokens of a prompt.")
    max_tokens: int = setting(4096, minimum=1, help="The most tokens that follow a prompt.")
    max_n: int = setting(16, minimum=1, help="The most texts for each prompt.")
    max_streams: int = setting(
        512, minimum=1, help="The most texts that are written or scored at a time, for all clients."
    )
    seconds: float = setting(300.0, above=0, help="The longest that a request may take.")
    grace: float = setting(
        10.0,
        minimum=0,
        help="How long SIGTERM lets texts that are being written go on, in seconds.",
    )

    def __post_init__(self) -> None:
        check(self)
