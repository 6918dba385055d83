"""Language models for the shell and for Python: n-gram, feed-forward and recurrent, in numpy."""

__version__ = "0.1.0"
