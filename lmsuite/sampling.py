"""The settings of sampling, without the code that uses them."""

from __future__ import annotations

from dataclasses import dataclass

from lmsuite.errors import UsageError
from lmsuite.settings import check, setting


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn, and when to stop.

    Raises:
        UsageError: a setting is out of bounds.
    """

    temperature: float = setting(
        1.0,
        option="--temp",
        minimum=0,
        help="Below 1 safer, above 1 wilder; 0 always takes the most probable token.",
    )
    top_k: int = setting(
        0, minimum=0, shown="all", help="Draw from the K most probable tokens; 0 for all."
    )
    top_p: float = setting(
        1.0,
        above=0,
        maximum=1,
        help="Draw from the most probable tokens that together reach P.",
    )
    min_p: float = setting(
        0.0,
        minimum=0,
        maximum=1,
        help="Draw from the tokens at least P times as probable as the best.",
    )
    max_tokens: int = setting(200, minimum=0, help="The most tokens of each text.")
    stop: tuple[str, ...] = setting(
        (),
        metavar="TEXT",
        shown=False,
        help="End before this text; can be repeated. \\n stands for a line end.",
    )
    keep_stop: bool = setting(False, help="End after the text of --stop, not before it.")

    min_tokens: int = setting(
        0,
        minimum=0,
        help="No text ends before it has so many tokens: a token that would end it, as the last of "
        "--stop, is not drawn.",
    )
    no_repeat: int = setting(
        0,
        minimum=0,
        metavar="N",
        shown=False,
        help="No N tokens come a second time in the same order, those of the prompt included.",
    )
    repetition_penalty: float = setting(
        1.0,
        above=0,
        help="Above 1, tokens that came before are less probable: p becomes proportional to p^R.",
    )

    contains: tuple[str, ...] = setting(
        (),
        metavar="TEXT",
        shown=False,
        help="Only texts that contain these tokens after the prompt; can be repeated. An n-gram "
        "model looks ahead and draws exactly such texts; others draw again.",
    )
    ends_with: str | None = setting(
        None,
        metavar="TEXT",
        help="Only texts that end with these tokens: before the text of --stop, or after "
        "--max-tokens.",
    )
    max_draws: int = setting(
        1000, minimum=1, help="How often a text is drawn again before there is no hope for it."
    )
    presence_penalty: float = setting(
        0.0,
        shown=False,
        help="Taken from the log-probability of every token that was drawn before.",
    )
    frequency_penalty: float = setting(
        0.0, shown=False, help="The same, for each time that the token was drawn."
    )

    def __post_init__(self) -> None:
        for name in ("stop", "contains"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        check(self)
        if "" in self.stop:
            raise UsageError("{stop} must be a text of at least one character", "stop", value="")

        if self.min_tokens > self.max_tokens:
            raise UsageError(
                f"{{min_tokens}} must be at most {{max_tokens}}, {self.max_tokens}, "
                f"not {self.min_tokens}",
                "min_tokens",
                "max_tokens",
                value=self.min_tokens,
            )

    @property
    def is_choosy(self) -> bool:
        """Whether only some texts are wanted."""
        return bool(self.contains) or self.ends_with is not None

    @property
    def filters(self) -> tuple[float, int, float, float]:
        """The settings that change a distribution before a token is drawn from it."""
        return self.temperature, self.top_k, self.top_p, self.min_p


NEUTRAL = SamplingSettings().filters
"""Filters that change nothing."""
