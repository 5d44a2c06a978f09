"""The registry of known issues as a file: its columns, and what a value may be."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import pandas as pd

from bigbench_meta.catalog.issue_rows import CONDITIONS, NAMES
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["EVERY", "LEVELS", "KnownIssue", "read_issues"]

LEVELS: Final = {"scores": ("scores",), "samples": ("samples",), "both": ("scores", "samples")}
"""The tables that an issue of each level spoils."""

EVERY: Final = "all"
"""What stands for every issue on the command line, and so is no issue's id."""

_NEEDED: Final = ("id", "level", "effect")
_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class KnownIssue:
    """One row of the registry.

    Attributes:
        id: Name in kebab case.
        benchmark: Shell-style pattern of the rows touched; several are joined by ``;``, empty is
            any. So for ``task``, ``subtask``, ``metric`` and ``model_family``.
        task: Pattern.
        subtask: Pattern.
        metric: Pattern; only where the level is ``scores``.
        model_family: Pattern.
        level: What is spoiled: ``scores``, ``samples`` or ``both``.
        where: Name of a condition that a row must meet besides, one of
            :data:`bigbench_meta.catalog.issue_rows.CONDITIONS`; empty for all rows.
        effect: What is wrong, in one line.
        since: Which data have it, where known.
        fixed: When and where it was mended, where known. Older data still have it.
        source: Address of the report.
        checked: How this project has verified it.
    """

    id: str
    benchmark: str = ""
    task: str = ""
    subtask: str = ""
    metric: str = ""
    model_family: str = ""
    level: str = "scores"
    where: str = ""
    effect: str = ""
    since: str = ""
    fixed: str = ""
    source: str = ""
    checked: str = ""

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """The patterns of each column that has any."""
        split = {name: getattr(self, name).split(";") for name in NAMES}
        kept = {name: tuple(p.strip() for p in parts if p.strip()) for name, parts in split.items()}
        return {name: parts for name, parts in kept.items() if parts}

    @property
    def conditions(self) -> list[str]:
        """The conditions that there are for every table of the level."""
        shared = set.intersection(*(set(CONDITIONS[table]) for table in LEVELS[self.level]))
        return sorted(shared)


_COLUMNS: Final = tuple(field.name for field in fields(KnownIssue))


def read_issues(path: Path) -> tuple[KnownIssue, ...]:
    """Read the entries of a registry, each checked.

    Args:
        path: A CSV file with the columns of :class:`KnownIssue`.

    Raises:
        InputError: The file cannot be read, or a value does not fit; file, line and column are
            named.
    """
    issues: dict[str, KnownIssue] = {}
    # The header is line 1.
    for line, row in enumerate(_rows(path), 2):
        if any(row.values()):
            issue = _checked(row, where=f"{path}, line {line}")
            if issue.id in issues:
                raise InputError(f"{issue.id!r} twice", where=f"{path}, line {line}: id")
            issues[issue.id] = issue
    return tuple(issues.values())


def _rows(path: Path) -> list[dict[str, str]]:
    """Return every line below the header, blank ones too: they are counted in messages."""
    try:
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8", skip_blank_lines=False
        )
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as CSV: {error}", where=str(path)) from error
    names = [str(name) for name in frame.columns]
    hint = f"the columns are {', '.join(_COLUMNS)}"
    if missing := [name for name in _NEEDED if name not in names]:
        raise InputError(f"missing column {', '.join(missing)}", where=str(path), hint=hint)
    # A column that is not known could be a misspelt pattern, without which an entry takes in more.
    if unknown := [name for name in names if name not in _COLUMNS]:
        raise InputError(f"unknown column {unknown[0]!r}", where=str(path), hint=hint)
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError("more values than columns", where=f"{path}, line 2")
    values = frame.fillna("").astype(str).to_numpy().tolist()
    return [dict(zip(names, (value.strip() for value in row), strict=True)) for row in values]


def _checked(row: dict[str, str], *, where: str) -> KnownIssue:
    for name, value in row.items():
        if not value.isprintable():
            raise InputError(f"not one line of plain text: {value!r}", where=f"{where}: {name}")
    issue = KnownIssue(**row)
    for field, check in _CHECKS.items():
        if message := check(issue):
            what, _, hint = message.partition("\n")
            raise InputError(what, where=f"{where}: {field}", hint=hint or None)
    return issue


def _check_id(issue: KnownIssue) -> str:
    if _ID.fullmatch(issue.id) and issue.id != EVERY:
        return ""
    hint = f"small letters and digits with hyphens between them, and not {EVERY!r}"
    return f"{issue.id!r} is no name of an issue\n{hint}"


def _check_level(issue: KnownIssue) -> str:
    return "" if issue.level in LEVELS else f"{issue.level!r} is no level\n{_one_of(LEVELS)}"


def _check_where(issue: KnownIssue) -> str:
    if not issue.where or issue.where in issue.conditions:
        return ""
    tables = " and ".join(LEVELS[issue.level])
    return f"{issue.where!r} is no condition on {tables}\nempty, or {_one_of(issue.conditions)}"


def _check_metric(issue: KnownIssue) -> str:
    spoiled = "samples" in LEVELS[issue.level]
    return "samples have no metric\nleave it empty" if issue.metric and spoiled else ""


def _check_effect(issue: KnownIssue) -> str:
    return "" if issue.effect else "must not be empty"


def _check_task(issue: KnownIssue) -> str:
    if issue.patterns or issue.where:
        return ""
    return f"this entry touches everything\ngive a pattern in {_one_of(NAMES)}, or a condition"


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


# In this order: the later ones take for granted what the earlier ones have found right.
_CHECKS: Final[dict[str, Callable[[KnownIssue], str]]] = {
    "id": _check_id,
    "level": _check_level,
    "where": _check_where,
    "metric": _check_metric,
    "effect": _check_effect,
    "task": _check_task,
}
