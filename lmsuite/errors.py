"""The errors that a user is meant to read.

Each message says what was given, where, and what to do, in one line. The command line prints it
after ``error: `` and exits with the class's ``exit_code``; only ``--debug`` shows a traceback.
"""


class LmError(Exception):
    """Something that the user can mend; the message is the whole explanation."""

    exit_code = 1


class TextWarning(UserWarning):
    """Something odd about a text, which is read all the same; the command line makes it a note."""


class DataError(LmError):
    """The text, corpus or vocabulary given is not usable as it is."""


class ModelFileError(LmError):
    """A model file, checkpoint or ARPA file is damaged, foreign, missing or cannot be written."""


class TrainingError(LmError):
    """A training cannot go on (no usable counts, a loss that is not finite)."""


class UsageError(LmError):
    """Options or arguments that contradict each other or are out of range."""

    exit_code = 2
