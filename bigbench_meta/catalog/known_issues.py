"""Known issues of published results: what is wrong with which rows, and how to leave them out.

The registry is a small table, ``known_issues.csv``, each entry with its source and how it was
checked. It says nothing of what a metric measures, which is the catalog's to say, but of data that
are not what their names tell: wrong signs, sums taken for means, wrong answer keys, spoiled logs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd

from bigbench_meta.catalog.issue_rows import TABLES, KeyedRows
from bigbench_meta.catalog.issue_table import EVERY, LEVELS, KnownIssue, read_issues
from bigbench_meta.catalog.metrics import data_path
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Found = dict[KnownIssue, Bools]
    Level = Literal["scores", "samples"]
    Issues: TypeAlias = "KnownIssues | Iterable[str] | None"

__all__ = [
    "EVERY",
    "IssueFindings",
    "KnownIssue",
    "KnownIssues",
    "affected",
    "check_known_issues",
    "exclude_known_issues",
    "known_issues",
]

_FOUND: Final = ("id", "task", "n_rows", "n_curves", "effect", "source")


@dataclass(frozen=True)
class KnownIssues:
    """The registry.

    Attributes:
        issues: The entries in order.
    """

    issues: tuple[KnownIssue, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The entries' names in order."""
        return tuple(issue.id for issue in self.issues)

    @classmethod
    def read(cls, path: str | Path | None = None) -> KnownIssues:
        """Read a registry from a CSV file.

        Args:
            path: A file with the columns of :class:`KnownIssue`, of which ``id``, ``level`` and
                ``effect`` are needed; the packaged registry by default.

        Returns:
            The registry.

        Raises:
            InputError: The file cannot be read, or a value does not fit; file, line and column are
                named.

        Examples:
            >>> KnownIssues.read().select(["high-low-game-sign"]).issues[0].fixed
            '2022-04 (#748)'
        """
        return cls(read_issues(Path(path) if path else data_path("known_issues.csv")))

    def select(self, ids: Iterable[str]) -> KnownIssues:
        """Return the registry with the named entries alone, in its own order.

        Args:
            ids: Names of entries.

        Raises:
            InputError: There is no entry of a name.

        Examples:
            >>> known_issues().select(["gpt3-piqa-contamination"]).ids
            ('gpt3-piqa-contamination',)
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        if unknown := [name for name in wanted if name not in self.ids]:
            raise InputError(
                f"no known issue {', '.join(map(repr, unknown))}",
                hint=f"known are {', '.join(self.ids) or 'none'}",
            )
        return KnownIssues(tuple(issue for issue in self.issues if issue.id in wanted))

    def to_frame(self) -> pd.DataFrame:
        """Return the registry as a frame, one row an issue."""
        columns = [field.name for field in fields(KnownIssue)]
        return pd.DataFrame([asdict(issue) for issue in self.issues], columns=columns)


@cache
def known_issues() -> KnownIssues:
    """Return the packaged registry.

    Examples:
        >>> "arithmetic-one-target-duplicates" in known_issues().ids
        True
    """
    return KnownIssues.read()


@dataclass(frozen=True, kw_only=True)
class IssueFindings:
    """What the known issues touch in a table, and what of it was left out.

    Attributes:
        affected: One row an issue that touches the table, with the columns of :func:`affected` and
            ``excluded``, whether its rows were left out.
        excluded: Whether leaving out was asked for.
        n_rows: Rows that are touched, each counted once.
        n_curves: Curves of which a row is touched.
        n_rows_excluded: Rows that were left out.
        n_curves_excluded: Curves of which a row was left out.
        n_curves_left: Curves of which a row is touched and was not left out.
        n_all_curves: Curves of the table as it was.
    """

    affected: pd.DataFrame
    excluded: bool
    n_rows: int
    n_curves: int
    n_rows_excluded: int
    n_curves_excluded: int
    n_curves_left: int
    n_all_curves: int

    @property
    def summary(self) -> str:
        """One line on what is touched and what was left out; empty if nothing is touched."""
        out = self.affected[self.affected["excluded"].astype(bool)]
        all_curves = f"of {_count(self.n_all_curves, 'curve')}"
        parts = []
        if self.n_rows_excluded:
            each = ", ".join(
                f"{row.id} ({_count(row.n_rows, 'row')}, {_count(row.n_curves, 'curve')})"
                for row in out.itertuples()
            )
            rows = f"{_count(self.n_rows_excluded, 'row')} of {self.n_curves_excluded:,}"
            parts.append(f"left out for known issues: {rows} {all_curves}: {each}")
        if self.n_curves_left:
            n_left = len(self.affected) - len(out)
            further = " further" if self.n_rows_excluded else ""
            touch = "issues touch" if n_left > 1 else "issue touches"
            parts.append(f"{n_left}{further} known {touch} {self.n_curves_left:,} {all_curves}")
        return "; ".join(parts)


def _count(number: Any, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def affected(
    observations: pd.DataFrame, *, issues: Issues = None, level: Level = "scores"
) -> pd.DataFrame:
    """Return which known issues touch a table.

    Args:
        observations: Observations table, or a samples table with ``level="samples"``.
        issues: A registry, or names of issues of the packaged one; all of that by default.
        level: ``scores`` or ``samples``. An issue that spoils only the other one is passed over.

    Returns:
        One row an issue that touches the table, in the order of the registry: ``id``, ``task`` (its
        pattern), ``n_rows``, ``n_curves`` (distinct curve keys of these rows; without the metric
        for samples), ``effect``, ``source``.

    Raises:
        InputError: An issue is not known, or ``level`` is none.
        SchemaError: ``observations`` is no table of the level.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> affected(load_embedded())[["id", "n_rows", "n_curves"]].values.tolist()
        [['gpt3-piqa-contamination', 24, 3], ['gpt3-winograd-contamination', 24, 3]]
    """
    findings = check_known_issues(observations, issues=issues, level=level)[1]
    return findings.affected[list(_FOUND)]


def exclude_known_issues(
    observations: pd.DataFrame, *, issues: Issues = None, level: Level = "scores"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out the rows that known issues touch.

    Args:
        observations: Observations table, or a samples table with ``level="samples"``.
        issues: A registry, or names of issues of the packaged one; all of that by default.
        level: ``scores`` or ``samples``. An issue that spoils only the other one is passed over.

    Returns:
        The other rows, with their index, columns and types; and what was left out, as
        :func:`affected` tells it. A row that several issues touch is counted by each of them.

    Raises:
        InputError: An issue is not known, or ``level`` is none.
        SchemaError: ``observations`` is no table of the level.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> kept, left_out = exclude_known_issues(load_embedded())
        >>> len(build_curves(load_embedded()).keys), len(build_curves(kept).keys)
        (189, 183)
    """
    kept, findings = check_known_issues(observations, issues=issues, exclude=True, level=level)
    return kept, findings.affected[list(_FOUND)]


def check_known_issues(
    observations: pd.DataFrame,
    *,
    issues: Issues = None,
    exclude: bool | Iterable[str] = False,
    level: Level = "scores",
) -> tuple[pd.DataFrame, IssueFindings]:
    """Say what known issues touch in a table, and leave out what is asked for.

    Args:
        observations: Observations table, or a samples table with ``level="samples"``.
        issues: A registry, or names of issues of the packaged one; all of that by default.
        exclude: Whether to leave out what they touch; names of issues to leave out theirs alone.
        level: ``scores`` or ``samples``. An issue that spoils only the other one is passed over.

    Returns:
        The table without what was left out, and the findings.

    Raises:
        InputError: An issue is not known, or ``level`` is none.
        SchemaError: ``observations`` is no table of the level.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> check_known_issues(load_embedded())[1].summary
        '2 known issues touch 6 of 189 curves'
    """
    if level not in TABLES:
        allowed = ", ".join(TABLES)
        raise InputError(f"{level!r} is no level", where="level", hint=f"one of {allowed}")
    registry = _registry(issues)
    if isinstance(exclude, bool):
        exclude = registry.ids if exclude else ()
    out = set(registry.select(exclude).ids)
    keyed = KeyedRows.of(observations, level)
    found = {}
    for issue in registry.issues:
        if level in LEVELS[issue.level]:
            rows = keyed.touched(issue.patterns, issue.where)
            if rows.any():
                found[issue] = rows
    dropped = _any(found, len(observations), lambda issue: issue.id in out)
    findings = _findings(keyed, found, dropped, out)
    if dropped.any():
        return observations[~dropped], findings
    return observations.copy(deep=False), findings


def _any(found: Found, n_rows: int, chosen: Callable[[KnownIssue], bool]) -> Bools:
    """Return the rows that one of the chosen issues touches."""
    result = np.zeros(n_rows, dtype=bool)
    for issue, rows in found.items():
        if chosen(issue):
            result |= rows
    return result


def _findings(keyed: KeyedRows, found: Found, dropped: Bools, out: set[str]) -> IssueFindings:
    touched = _any(found, len(dropped), lambda _: True)
    left = _any(found, len(dropped), lambda issue: issue.id not in out) & ~dropped
    rows = [
        (issue.id, issue.task, int(its.sum()), keyed.count_curves(its), issue.id in out,
         issue.effect, issue.source)
        for issue, its in found.items()
    ]  # fmt: skip
    return IssueFindings(
        affected=pd.DataFrame(rows, columns=[*_FOUND[:4], "excluded", *_FOUND[4:]]),
        excluded=bool(out),
        n_rows=int(touched.sum()),
        n_curves=keyed.count_curves(touched),
        n_rows_excluded=int(dropped.sum()),
        n_curves_excluded=keyed.count_curves(dropped),
        n_curves_left=keyed.count_curves(left),
        n_all_curves=keyed.n_curves,
    )


def _registry(issues: Issues) -> KnownIssues:
    if issues is None:
        return known_issues()
    return issues if isinstance(issues, KnownIssues) else known_issues().select(issues)
