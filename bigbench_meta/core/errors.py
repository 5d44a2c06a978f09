"""The exceptions of this package: one base class, messages that say what, where and what to do."""

from __future__ import annotations

__all__ = [
    "BigbenchMetaError", "InputError", "KilledError", "PatternError", "SchemaError", "StoreError",
]  # fmt: skip


class BigbenchMetaError(Exception):
    """Base of every exception that this package raises on purpose.

    Args:
        message: What is wrong, with the offending value.
        where: File, column or argument it was found in; put in front of the message.
        hint: What to do about it; put on a line of its own.

    Examples:
        >>> print(BigbenchMetaError("not a number: 'x'", where="a.json", hint="repair the file"))
        a.json: not a number: 'x'
        Hint: repair the file
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        """Return the message with its place in front and the hint below."""
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.hint is None else f"{text}\nHint: {self.hint}"


class InputError(BigbenchMetaError, ValueError):
    """An argument, a path or a file that cannot be used."""


class KilledError(BigbenchMetaError):
    """Work whose process was killed, by the system or by somebody, each time that it was tried."""


class PatternError(BigbenchMetaError, ValueError):
    """A regular expression of a user's that takes too long to be used."""


class SchemaError(BigbenchMetaError, ValueError):
    """A table that lacks a required column or holds a value of the wrong type."""


class StoreError(BigbenchMetaError):
    """A store that is missing, damaged or of another version."""
