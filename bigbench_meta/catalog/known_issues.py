"""Known issues of published results: what is wrong with which rows, and how to exclude them.

The registry is a small table, ``known_issues.csv``, each entry with its source and how it was
checked. It does not judge metrics, which is the catalog's task, but names data that are not what
their names say: wrong signs, sums in place of means, wrong answer keys, spoiled logs.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.catalog.published import data_path, read_text
from bigbench_meta.core.cards import Card, Carded, briefly, named
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import (
    CURVE_KEY,
    OBSERVATIONS,
    SAMPLES,
    TableSchema,
    conform,
    to_frame,
)
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]
    Level = Literal["scores", "samples"]
    Issues: TypeAlias = "KnownIssues | Iterable[str] | None"

__all__ = [
    "CONDITIONS",
    "EVERY",
    "NAMES",
    "IssueFindings",
    "KnownIssue",
    "KnownIssues",
    "affected",
    "check_known_issues",
    "exclude_known_issues",
    "known_issues",
]

EVERY: Final = "all"
"""Stands for every issue on the command line, and so cannot be an issue's id."""

NAMES: Final = ("benchmark", "task", "subtask", "metric", "model_family")
"""Columns that an issue may have patterns for."""

_TABLES: Final[Mapping[str, TableSchema]] = {"scores": OBSERVATIONS, "samples": SAMPLES}
# The tables that an issue of each level spoils.
_LEVELS: Final = {"scores": ("scores",), "samples": ("samples",), "both": ("scores", "samples")}
# Issues that Jupyter shows.
_MOST_SHOWN: Final = 30
_NEEDED: Final = ("id", "level", "effect")
_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FOUND: Final = ("id", "task", "n_rows", "n_curves", "effect", "source")


def _in_family(rows: pd.DataFrame, faulty: pd.Series[bool]) -> pd.Series[bool]:
    """Return all rows of each family with a faulty row: they share one version of the task."""
    family = [rows[name] for name in ("benchmark", "task", "model_family")]
    return faulty.groupby(family, observed=True, sort=False).transform("any")


def _target_counts(rows: pd.DataFrame) -> pd.Series[int]:
    return rows["targets"].map(lambda texts: 0 if texts is None else len(texts)).astype("int64")


def _only_blank_targets(rows: pd.DataFrame) -> pd.Series[bool]:
    joined = rows["targets"].map(lambda texts: "x" if texts is None else "".join(texts))
    return (_target_counts(rows) > 0) & (joined.str.strip() == "")


# With the columns that a condition may look at, all of them there and of their declared types.
_CONDITION_COLUMNS: Final = {
    "scores": ("benchmark", "task", "model_family", "score", "high_score"),
    "samples": ("targets", "target_values", "correct"),
}

CONDITIONS: Final[Mapping[str, Mapping[str, Callable[[pd.DataFrame], pd.Series[bool]]]]] = {
    "scores": {
        "above_high_in_family": lambda rows: _in_family(rows, rows["score"] > rows["high_score"]),
        "infinite_in_family": lambda rows: _in_family(rows, np.isinf(rows["score"])),
        "positive": lambda rows: rows["score"] > 0,
        "zero": lambda rows: rows["score"] == 0,
    },
    "samples": {
        "empty_target": _only_blank_targets,
        "no_targets": lambda rows: _target_counts(rows) == 0,
        "one_choice": lambda rows: (_target_counts(rows) == 1) & rows["target_values"].notna(),
        "zero": lambda rows: rows["correct"] == 0,
    },
}
"""Conditions by table and name: a truth for each of the rows that an issue's patterns chose."""


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
            :data:`CONDITIONS`; empty for all rows.
        effect: What is wrong, in one line.
        since: Which data have it, where known.
        fixed: When and where it was corrected, where known. Older data still have it.
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
        shared = set.intersection(*(set(CONDITIONS[table]) for table in _LEVELS[self.level]))
        return sorted(shared)


_COLUMNS: Final = tuple(field.name for field in fields(KnownIssue))


@dataclass(frozen=True, repr=False)
class KnownIssues(Carded):
    """The registry.

    Attributes:
        issues: The entries in order.
    """

    issues: tuple[KnownIssue, ...]

    def _card(self) -> Card:
        return Card(
            title=counted(len(self.issues), "known issue"),
            facts={"ids": named(self.ids), "see": ".to_frame(), .select([id, ...])"},
            header=["id", "task", "of", "what is wrong"],
            rows=[
                [one.id, briefly(one.task.replace(";", "; ") or "any", 60), one.level, one.effect]
                for one in self.issues[:_MOST_SHOWN]
            ],
            n_rows=len(self.issues),
        )

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
        path = Path(path) if path else data_path("known_issues.csv")
        issues: dict[str, KnownIssue] = {}
        # The header is line 1.
        for line, row in enumerate(_lines(path), 2):
            if any(row.values()):
                where = f"{path}, line {line}"
                issue = KnownIssue(**row)
                if fault := _fault(issue):
                    field, message, hint = fault
                    raise InputError(message, where=f"{where}: {field}", hint=hint or None)
                if issue.id in issues:
                    raise InputError(f"{issue.id!r} twice", where=f"{where}: id")
                issues[issue.id] = issue
        return cls(tuple(issues.values()))

    def select(self, ids: Iterable[str]) -> KnownIssues:
        """Return the registry with only the named entries, in its own order.

        Args:
            ids: Names of entries.

        Raises:
            InputError: A name is unknown.

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
        return pd.DataFrame([asdict(issue) for issue in self.issues], columns=list(_COLUMNS))


def _lines(path: Path) -> list[dict[str, str]]:
    """Return every line below the header, including blank ones, which messages count."""
    frame = read_text(path, skip_blank_lines=False)
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


def _fault(issue: KnownIssue) -> tuple[str, str, str] | None:
    """Return the first column with a wrong value, what is wrong with it, and a hint."""
    for name, value in asdict(issue).items():
        if not value.isprintable():
            return name, f"not one line of plain text: {value!r}", ""
    if not _ID.fullmatch(issue.id) or issue.id == EVERY:
        hint = f"small letters and digits with hyphens between them, and not {EVERY!r}"
        return "id", f"{issue.id!r} is not a name of an issue", hint
    if issue.level not in _LEVELS:
        return "level", f"{issue.level!r} is not a level", f"one of {', '.join(_LEVELS)}"
    tables = _LEVELS[issue.level]
    if issue.where and issue.where not in issue.conditions:
        message = f"{issue.where!r} is not a condition on {' and '.join(tables)}"
        return "where", message, f"empty, or one of {', '.join(issue.conditions)}"
    if issue.metric and "samples" in tables:
        return "metric", "samples have no metric", "leave it empty"
    if not issue.effect:
        return "effect", "must not be empty", ""
    if not issue.patterns and not issue.where:
        hint = f"give a pattern in one of {', '.join(NAMES)}, or a condition"
        return "task", "this entry touches everything", hint
    return None


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
    """The rows of a table that known issues affect, and the rows that were excluded.

    Attributes:
        affected: One row an issue that touches the table, with the columns of :func:`affected` and
            ``excluded``, whether its rows were excluded.
        excluded: Whether an exclusion was asked for.
        n_rows: Rows that are touched, each counted once.
        n_curves: Curves with a row that is touched.
        n_rows_excluded: Rows that were excluded.
        n_curves_excluded: Curves with a row that was excluded.
        n_curves_left: Curves with a row that is touched and was not excluded.
        n_all_curves: Curves of the table as it was.
        registry: Names of the issues that were looked for, in their order.
    """

    affected: pd.DataFrame
    excluded: bool
    n_rows: int
    n_curves: int
    n_rows_excluded: int
    n_curves_excluded: int
    n_curves_left: int
    n_all_curves: int
    registry: tuple[str, ...] = ()

    @classmethod
    def joined(cls, parts: Sequence[IssueFindings]) -> IssueFindings:
        """Return the findings of a table from those of its tasks.

        Args:
            parts: At least one, of the same registry and exclusion.
        """
        some = [part.affected for part in parts if len(part.affected)] or [parts[0].affected]
        every = pd.concat(some, ignore_index=True)
        counts = every.groupby("id", sort=False)[["n_rows", "n_curves"]].sum()
        rows = every.drop_duplicates("id").drop(columns=["n_rows", "n_curves"])
        rows = rows.join(counts, on="id")[every.columns]
        order = {name: place for place, name in enumerate(parts[0].registry)}
        return cls(
            affected=rows.sort_values("id", key=lambda ids: ids.map(order), ignore_index=True),
            excluded=parts[0].excluded,
            registry=parts[0].registry,
            **{
                name: sum(getattr(part, name) for part in parts)
                for name in (
                    "n_rows", "n_curves", "n_rows_excluded", "n_curves_excluded", "n_curves_left",
                    "n_all_curves",
                )
            },
        )  # fmt: skip

    @property
    def summary(self) -> str:
        """One line on what is affected and what was excluded; empty if nothing is affected."""
        out = self.affected[self.affected["excluded"].astype(bool)]
        all_curves = f"of {counted(self.n_all_curves, 'curve')}"
        parts = []
        if self.n_rows_excluded:
            each = ", ".join(
                f"{name} ({counted(n_rows, 'row')}, {counted(n_curves, 'curve')})"
                for name, n_rows, n_curves in out[["id", "n_rows", "n_curves"]].to_numpy().tolist()
            )
            rows = f"{counted(self.n_rows_excluded, 'row')} of {self.n_curves_excluded:,}"
            parts.append(f"excluded for known issues: {rows} {all_curves}: {each}")
        if self.n_curves_left:
            n_left = len(self.affected) - len(out)
            further = " further" if self.n_rows_excluded else ""
            touch = "issues touch" if n_left > 1 else "issue touches"
            parts.append(f"{n_left}{further} known {touch} {self.n_curves_left:,} {all_curves}")
        return "; ".join(parts)


def affected(
    observations: pd.DataFrame, *, issues: Issues = None, level: Level = "scores"
) -> pd.DataFrame:
    """Return which known issues affect a table.

    Args:
        observations: Observations table, or a samples table with ``level="samples"``.
        issues: A registry, or names of issues of the packaged one; all of that by default.
        level: ``scores`` or ``samples``. An issue of the other one alone is skipped.

    Returns:
        One row an issue that touches the table, in the order of the registry: ``id``, ``task`` (its
        pattern), ``n_rows``, ``n_curves`` (distinct curve keys of these rows; without the metric
        for samples), ``effect``, ``source``.

    Raises:
        InputError: An issue or ``level`` is unknown.
        SchemaError: ``observations`` is not a table of the level.

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
    """Exclude the rows that known issues affect.

    Args:
        observations: Observations table, or a samples table with ``level="samples"``.
        issues: A registry, or names of issues of the packaged one; all of that by default.
        level: ``scores`` or ``samples``. An issue of the other one alone is skipped.

    Returns:
        The other rows, with their index, columns and types; and what was excluded, as
        :func:`affected` lists it. A row that several issues touch is counted by each of them.

    Raises:
        InputError: An issue or ``level`` is unknown.
        SchemaError: ``observations`` is not a table of the level.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> kept, excluded = exclude_known_issues(load_embedded())
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
    """Find the rows that known issues affect, and exclude those asked for.

    Args:
        observations: Observations table, or a samples table with ``level="samples"``.
        issues: A registry, or names of issues of the packaged one; all of that by default.
        exclude: Whether to exclude what they touch; names of issues to exclude theirs alone.
        level: ``scores`` or ``samples``. An issue of the other one alone is skipped.

    Returns:
        The table without what was excluded, and the findings.

    Raises:
        InputError: An issue or ``level`` is unknown.
        SchemaError: ``observations`` is not a table of the level.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> check_known_issues(load_embedded())[1].summary
        '2 known issues touch 6 of 189 curves'
    """
    if level not in _TABLES:
        allowed = ", ".join(_TABLES)
        raise InputError(f"{level!r} is not a level", where="level", hint=f"one of {allowed}")
    registry = _registry(issues)
    if isinstance(exclude, bool):
        exclude = registry.ids if exclude else ()
    excluded = set(registry.select(exclude).ids)
    curve, keys = _curves(observations, level)
    own = [issue for issue in registry.issues if level in _LEVELS[issue.level]]
    rows_of = {issue: _touched(observations, issue, level, curve, keys) for issue in own}
    found = {issue: rows for issue, rows in rows_of.items() if rows.any()}
    touching = np.array([*found.values()], dtype=bool).reshape(len(found), len(observations))
    is_excluded = np.array([issue.id in excluded for issue in found], dtype=bool)
    touched, dropped, left = (
        np.logical_or.reduce(rows, axis=0)
        for rows in (touching, touching[is_excluded], touching[~is_excluded])
    )

    def n_curves(rows: Bools) -> int:
        return len(np.unique(curve[rows]))

    touching_issues = [
        (issue.id, issue.task, int(rows.sum()), n_curves(rows), issue.id in excluded,
         issue.effect, issue.source)
        for issue, rows in found.items()
    ]  # fmt: skip
    findings = IssueFindings(
        affected=pd.DataFrame(touching_issues, columns=[*_FOUND[:4], "excluded", *_FOUND[4:]]),
        excluded=bool(excluded),
        n_rows=int(touched.sum()),
        n_curves=n_curves(touched),
        n_rows_excluded=int(dropped.sum()),
        n_curves_excluded=n_curves(dropped),
        n_curves_left=n_curves(left & ~dropped),
        n_all_curves=len(keys),
        registry=registry.ids,
    )
    kept = observations[~dropped] if dropped.any() else observations.copy(deep=False)
    return kept, findings


def _registry(issues: Issues) -> KnownIssues:
    if issues is None:
        return known_issues()
    return issues if isinstance(issues, KnownIssues) else known_issues().select(issues)


def _curves(table: pd.DataFrame, level: Level) -> tuple[Ints, pd.DataFrame]:
    """Return the number of each row's curve, and the key of each curve.

    The key of samples is that of curves without the metric.
    """
    schema = _TABLES[level]
    key = [name for name in CURVE_KEY if name in schema.names]
    whole = conform(_columns(table, {*key, *schema.required}), schema)
    curve, first = group_rows(whole, key)
    return curve, to_frame(whole.select(key).take(pa.array(first)))


def _columns(table: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    return table.loc[:, [str(name) in names for name in table.columns]]


def _touched(
    table: pd.DataFrame, issue: KnownIssue, level: Level, curve: Ints, keys: pd.DataFrame
) -> Bools:
    """Return the rows that an issue affects: by the names of their curves, and its condition."""
    fits = np.ones(len(keys), dtype=bool)
    for column, patterns in issue.patterns.items():
        names = keys[column].cat  # each name is compared once
        hits = [any(fnmatchcase(one, p) for p in patterns) for one in map(str, names.categories)]
        # The last place is that of the code -1, a missing name.
        fits &= np.array([*hits, False])[names.codes]
    rows: Bools = fits[curve]
    if issue.where and rows.any():
        schema, wanted = _TABLES[level], _CONDITION_COLUMNS[level]
        chosen = _columns(table[rows], {*wanted})
        # A column that the table lacks is empty.
        chosen = chosen.assign(**dict.fromkeys(name for name in wanted if name not in chosen))
        columns = tuple(column for column in schema.columns if column.name in wanted)
        typed = to_frame(conform(chosen, TableSchema(schema.name, columns)))
        rows[rows] = CONDITIONS[level][issue.where](typed).to_numpy(dtype=bool)
    return rows
