"""Which rows of a table a known issue touches: by the names in them, and by a condition."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import (
    CURVE_KEY,
    OBSERVATIONS,
    SAMPLES,
    TableSchema,
    conform,
    to_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

__all__ = ["CONDITIONS", "NAMES", "TABLES", "Condition", "KeyedRows"]

TABLES: Final[Mapping[str, TableSchema]] = {"scores": OBSERVATIONS, "samples": SAMPLES}
"""The table of each level."""

NAMES: Final = ("benchmark", "task", "subtask", "metric", "model_family")
"""Columns that an issue may have patterns for."""

_FAMILY: Final = ("benchmark", "task", "model_family")


@dataclass(frozen=True)
class KeyedRows:
    """The rows of a table, each with the number of its curve, and the names of the curves.

    Attributes:
        frame: The table.
        level: Which table it is, a key of :data:`TABLES`.
        curve: Number of each row's curve.
        n_curves: How many curves there are. The key of samples is that of curves but the metric.
        names: For each name column the code of each curve, -1 where missing, and the names.
    """

    frame: pd.DataFrame
    level: str
    curve: Ints
    n_curves: int
    names: dict[str, tuple[NDArray[np.intp], list[str]]]

    @classmethod
    def of(cls, frame: pd.DataFrame, level: str) -> KeyedRows:
        """Number the rows of a table.

        Raises:
            SchemaError: The frame is no table of the level.
        """
        schema = TABLES[level]
        key = [name for name in CURVE_KEY if name in schema.names]
        table = conform(_only(frame, {*key, *schema.required}), schema)
        curve, first = group_rows(table, key)
        curves = to_frame(table.select(key).take(pa.array(first)))
        coded = {n: pd.factorize(curves[n].astype(object)) for n in NAMES if n in curves}
        names = {name: (codes, list(map(str, unique))) for name, (codes, unique) in coded.items()}
        return cls(frame, level, curve, len(first), names)

    def count_curves(self, rows: Bools) -> int:
        """Return how many curves have one of the rows."""
        return len(np.unique(self.curve[rows]))

    def touched(self, patterns: Mapping[str, tuple[str, ...]], where: str) -> Bools:
        """Return the rows that fit one pattern of each column, and a condition.

        Names are compared once each, not row by row.

        Args:
            patterns: Shell-style patterns of some of :data:`NAMES`.
            where: Name of the condition, empty for none.
        """
        curves = np.ones(self.n_curves, dtype=bool)
        for name, its_patterns in patterns.items():
            codes, unique = self.names[name]
            fits = [any(fnmatchcase(one, pattern) for pattern in its_patterns) for one in unique]
            # The last place is that of the code -1, a missing name.
            curves &= np.array([*fits, False])[codes]
        rows = curves[self.curve]
        if where and rows.any():
            at = np.flatnonzero(rows)
            rows[at] = self._meet(CONDITIONS[self.level][where], at)
        return rows

    def _meet(self, condition: Condition, at: NDArray[np.intp]) -> Bools:
        schema = TABLES[self.level]
        columns = tuple(column for column in schema.columns if column.name in condition.columns)
        chosen = _only(self.frame, set(condition.columns)).iloc[at]
        absent = dict.fromkeys(name for name in condition.columns if name not in chosen)
        chosen = chosen.assign(**absent)  # with nothing in them
        return condition.holds(conform(chosen, TableSchema(schema.name, columns)))


def _only(frame: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    return frame.loc[:, [str(name) in names for name in frame.columns]]


@dataclass(frozen=True)
class Condition:
    """A condition on the rows that the patterns of an issue chose.

    Attributes:
        columns: Columns that it looks at.
        holds: Takes a table of them and returns a truth for each row.
    """

    columns: tuple[str, ...]
    holds: Callable[[pa.Table], Bools]


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(pc.fill_null(table.column(name), np.nan).to_numpy(), dtype=np.float64)


def _truths(values: pa.ChunkedArray) -> Bools:
    """Return truths with a null as false."""
    return np.asarray(pc.fill_null(values, fill_value=False).to_numpy(), dtype=np.bool_)


def _in_family(table: pa.Table, faulty: Bools) -> Bools:
    """Return the rows of each family of which a row is faulty: one version of a task made all."""
    family, _ = group_rows(table, _FAMILY)
    return np.isin(family, family[faulty])


def _above_high(table: pa.Table) -> Bools:
    # A comparison with NaN, no declared high score, is false.
    return _in_family(table, _numbers(table, "score") > _numbers(table, "high_score"))


def _infinite(table: pa.Table) -> Bools:
    return _in_family(table, np.isinf(_numbers(table, "score")))


def _some_targets(table: pa.Table) -> Bools:
    return _truths(pc.greater(pc.list_value_length(table.column("targets")), 0))


def _one_choice(table: pa.Table) -> Bools:
    one = _truths(pc.equal(pc.list_value_length(table.column("targets")), 1))
    return one & _truths(pc.is_valid(table.column("target_values")))


def _empty_target(table: pa.Table) -> Bools:
    joined = pc.binary_join(table.column("targets"), "")
    return _some_targets(table) & _truths(pc.equal(pc.utf8_trim_whitespace(joined), ""))


CONDITIONS: Final[Mapping[str, Mapping[str, Condition]]] = {
    "scores": {
        "above_high_in_family": Condition((*_FAMILY, "score", "high_score"), _above_high),
        "infinite_in_family": Condition((*_FAMILY, "score"), _infinite),
        "positive": Condition(("score",), lambda table: _numbers(table, "score") > 0),
        "zero": Condition(("score",), lambda table: _numbers(table, "score") == 0),
    },
    "samples": {
        "empty_target": Condition(("targets",), _empty_target),
        "no_targets": Condition(("targets",), lambda table: ~_some_targets(table)),
        "one_choice": Condition(("targets", "target_values"), _one_choice),
        "zero": Condition(("correct",), lambda table: _numbers(table, "correct") == 0),
    },
}
"""The conditions by table and name."""
