"""The errors that a user is meant to read.

Each message says what was given, where, and what to do, in one line. The command line prints it
after ``error: `` and exits with the class's ``exit_code``; only ``--debug`` shows a traceback.

A message that speaks of a setting names its field in braces: ``"{learning_rate} must be above 0,
not -1"``. From Python it reads ``learning_rate must be …``; the command line puts the option there,
``--lr must be …`` (`LmError.spelled`).
"""

from __future__ import annotations

from collections.abc import Callable


class LmError(Exception):
    """An error that the user can correct; its message says all that the user needs to know."""

    exit_code = 1

    def __init__(self, message: str = "", *fields: str, value: object = None) -> None:
        """An error with this message.

        Args:
            message: one line; a setting is named by its field in braces.
            fields: the fields that the message names in braces, the one at fault first.
            value: the value of the field at fault.
        """
        super().__init__(message, *fields)
        self.message, self.fields, self.value = message, fields, value

    @property
    def field(self) -> str:
        """The setting at fault; empty if the message names no setting."""
        return self.fields[0] if self.fields else ""

    def spelled(self, spelling: Callable[[str], str]) -> str:
        """The message; `spelling` says how each field is written in it."""
        message = self.message
        for field in self.fields:
            message = message.replace(f"{{{field}}}", spelling(field))
        return message

    def __str__(self) -> str:
        return self.spelled(str)


class TextWarning(UserWarning):
    """A text has something odd, but is read all the same; the command line prints it as a note."""


class DataError(LmError):
    """The text, corpus or vocabulary given cannot be used as it is."""


class ModelFileError(LmError):
    """A model file, checkpoint or ARPA file is damaged, foreign, missing or cannot be written."""


class TrainingError(LmError):
    """A training cannot go on (no usable counts, a loss that is not finite)."""


class UsageError(LmError):
    """Options or arguments that contradict each other or are out of range."""

    exit_code = 2
