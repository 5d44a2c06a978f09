"""Regular expressions of users, which could take longer than anyone lives: with a time limit."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from bigbench_meta.core.errors import PatternError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TimedPattern"]

# Seconds of computing that a foreign pattern may take, and how many more for each text.
_FIRST_SECONDS: Final = 0.5
_SECONDS_A_TEXT: Final = 0.001
_LONGEST_PATTERN: Final = 10_000

_Found = TypeVar("_Found")


class TimedPattern:
    """A regular expression of a user's, which cannot hang.

    Args:
        text: The expression, as Python's ``re`` takes it.
        where: Where it stands, for messages.
        ignore_case: Whether upper and lower case are the same.

    Raises:
        SchemaError: It is no regular expression, or has more than 10,000 characters.

    Examples:
        >>> size = TimedPattern("([0-9]+[MB])-1xC", where="mapping.toml")
        >>> size.search("190M-1xC.csv")[1], size.groups
        ('190M', 1)
    """

    def __init__(self, text: str, *, where: str, ignore_case: bool = False) -> None:
        # Imported here: only who brings patterns along waits for it.
        import regex

        brief = repr(text if len(text) <= 40 else f"{text[:37]}...")
        if len(text) > _LONGEST_PATTERN:
            raise SchemaError(f"{brief} has more than {_LONGEST_PATTERN} characters", where=where)
        flags = re.IGNORECASE if ignore_case else re.NOFLAG
        try:
            # What Python refuses can mean something else to the package with a time limit.
            re.compile(text, flags)
            self._compiled = regex.compile(text, int(flags))
        except (re.error, regex.error, OverflowError, RecursionError) as error:
            raise SchemaError(f"bad regular expression {brief}: {error}", where=where) from None
        self.pattern = text
        self.where = where
        self._brief = brief
        self._left = _FIRST_SECONDS

    @property
    def groups(self) -> int:
        """The number of its groups."""
        return int(self._compiled.groups)

    @property
    def groupindex(self) -> Mapping[str, int]:
        """The number of each named group."""
        return dict(self._compiled.groupindex)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """Match all of a text.

        Raises:
            PatternError: The pattern has taken more than half a second, and more than a
                millisecond for each text.
        """
        match: re.Match[str] | None = self._timed(self._compiled.fullmatch, text)
        return match

    def search(self, text: str) -> re.Match[str] | None:
        """Find the first place of a text that matches; raises as for :meth:`fullmatch`."""
        match: re.Match[str] | None = self._timed(self._compiled.search, text)
        return match

    def remove(self, text: str) -> str:
        """Return a text without all that matches; raises as for :meth:`fullmatch`."""
        return str(self._timed(partial(self._compiled.sub, ""), text))

    def _timed(self, method: Callable[..., _Found], text: str) -> _Found:
        # Time of this thread's own: other programs and a machine asleep do not count.
        started = time.thread_time()
        try:
            found = method(text, timeout=max(self._left, _SECONDS_A_TEXT))
        except TimeoutError:
            raise PatternError(
                f"the regular expression {self._brief} takes too long on {text[:40]!r}",
                where=self.where,
                hint="a repetition within a repetition, as in (a+)+, can take forever",
            ) from None
        spent = time.thread_time() - started
        self._left = min(max(self._left - spent, 0.0) + _SECONDS_A_TEXT, _FIRST_SECONDS)
        return found
