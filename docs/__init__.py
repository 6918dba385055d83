"""The documentation, and what runs it."""
