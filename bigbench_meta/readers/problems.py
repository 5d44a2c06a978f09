"""The log in which readers record what they could not read, and notes on a table in parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from bigbench_meta.core.arrow import texts
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import PROBLEMS
from bigbench_meta.core.text import printable

Severity = Literal["error", "warning"]

# A hostile file can hold a million broken entries; the first ones are enough.
_MOST_PER_FILE = 100

MOST_DETAILED = 1000
"""Notes of a section that are told with their detail, which takes a search."""


@dataclass
class ProblemLog:
    """Collects problems, or raises the first one when strict.

    Attributes:
        strict: Raise instead of collecting.
        passed_over: Files that were looked at and are no results, each with the reason; told where
            nothing is found.
    """

    strict: bool = False
    passed_over: list[str] = field(default_factory=list)
    rows: list[tuple[str, str, str, Severity]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def error(self, source: str, where: str, reason: str) -> None:
        """Note that something was not loaded.

        Raises:
            InputError: If the log is strict.
        """
        self._add(source, where, reason, "error")

    def warning(self, source: str, where: str, reason: str) -> None:
        """Note that something was loaded but looks odd.

        Raises:
            InputError: If the log is strict.
        """
        self._add(source, where, reason, "warning")

    def _add(self, source: str, where: str, reason: str, severity: Severity) -> None:
        source, where, reason = map(printable, (source, where, reason))
        if self.strict:
            raise InputError(reason, where=f"{source}: {where}" if where else source)
        count = self._counts[source] = self._counts.get(source, 0) + 1
        if count <= _MOST_PER_FILE:
            self.rows.append((source, where, reason, severity))

    def extend(self, other: ProblemLog) -> None:
        """Take over the problems of another log."""
        self.rows.extend(other.rows)
        for source, count in other._counts.items():
            self._counts[source] = self._counts.get(source, 0) + count

    @property
    def n_errors(self) -> int:
        """Number of errors noted so far."""
        return sum(row[3] == "error" for row in self.rows)

    def table(self) -> pa.Table:
        """Return the problems table, with one row that counts what was cut."""
        if not self.rows:
            return PROBLEMS.empty()
        rows: list[tuple[str, str, str, str]] = list(self.rows)
        rows += [
            (source, "", f"{count - _MOST_PER_FILE} more problems in this file", "warning")
            for source, count in self._counts.items()
            if count > _MOST_PER_FILE
        ]
        return pa.table([texts(column) for column in zip(*rows, strict=True)], PROBLEMS.arrow)


@dataclass
class _Note:
    place: int
    source: str
    where: str
    reason: str
    names: dict[str, Any]
    detail: str
    n: int


class Notes:
    """Problems of a table that is looked through some rows at a time.

    They are told in the order in which they would be found in the whole table, and those that are
    one there are counted together.

    Examples:
        >>> notes = Notes()
        >>> notes.add(0, 7, "b.json", "", "{n} rows repeated", key="b", n=2)
        >>> notes.add(0, 3, "a.json", "", "{n} rows repeated", key="a")
        >>> notes.add(0, 9, "b.json", "", "{n} rows repeated", key="b")
        >>> notes.rows()
        [('a.json', '', '1 rows repeated', 'warning'), ('b.json', '', '3 rows repeated', 'warning')]
    """

    def __init__(self) -> None:
        self._notes: dict[tuple[int, Any], _Note] = {}

    def add(
        self, section: int, place: int, source: str, where: str, reason: str, *, key: Any = None,
        n: int = 1, detail: str = "", **names: Any,
    ) -> None:  # fmt: skip
        """Note a warning.

        Args:
            section: Sections are told one after another.
            place: The first row concerned; within a section the order is that of these rows.
            source: File.
            where: Where in the file.
            reason: A template of ``n`` and the names.
            key: Of what is one problem of the section; by default every note is one.
            n: How often, added up over notes of one key. The note of the first row is told.
            detail: What is told besides if the note is one of the first.
            names: What to put into the template.
        """
        entry = section, len(self._notes) if key is None else (key,)
        known = self._notes.get(entry)
        total = n + (known.n if known else 0)
        if known is None or place < known.place:
            self._notes[entry] = _Note(place, source, where, reason, names, detail, total)
        else:
            known.n = total

    def rows(self) -> list[tuple[str, str, str, Severity]]:
        """Return source, field, reason and severity of each problem."""
        ordered = sorted(self._notes.items(), key=lambda item: (item[0][0], item[1].place))
        told: list[tuple[str, str, str, Severity]] = []
        n_told: Counter[int] = Counter()
        for (section, _), note in ordered:
            n_told[section] += 1
            reason = note.reason.format(n=note.n, **note.names)
            if n_told[section] <= MOST_DETAILED:
                reason += note.detail
            told.append((note.source, note.where, reason, "warning"))
        return told

    def table(self) -> pa.Table:
        """Return the problems table."""
        rows = self.rows()
        if not rows:
            return PROBLEMS.empty()
        return pa.table([texts(column) for column in zip(*rows, strict=True)], PROBLEMS.arrow)

    def tell(self, log: ProblemLog) -> None:
        """Add them to a log, which cuts off what is too much of one file."""
        for source, where, reason, _ in self.rows():
            log.warning(source, where, reason)
