"""The log in which readers record what they could not read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from bigbench_meta.core.arrow import texts
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import PROBLEMS
from bigbench_meta.core.text import printable

Severity = Literal["error", "warning"]

# A hostile file can hold a million broken entries; the first ones are enough.
_MOST_PER_FILE = 100


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
