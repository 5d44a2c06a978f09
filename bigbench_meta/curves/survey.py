"""What the observations of all tasks say of models, where curves are built some tasks at a time.

How a model was run, which of its sizes is right and which settings distinguish its curves depends
on all its scores. But most curves of a model family are alike in that: the same models, run with
the same settings. A survey keeps one of each kind, so that a part of the observations gives the
curves that it gives together with all others. Its memory grows with the number of such kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pandas.util import hash_array

from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import CURVE_KEY, OBSERVATIONS, SIZE_AXES, conform
from bigbench_meta.curves.units import is_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["Survey", "Surveyed", "places_of", "survey_of"]

_MODEL: Final = ("benchmark", "model_family", "model_name", "variant", "settings", *SIZE_AXES)
# Identifies a kind of curve: two sums of random numbers of 64 bits, one for each kind of row.
_Kind = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """One observation for each kind of row, in the order of their first appearance.

    Attributes:
        table: Observations without what does not matter here; their score is 0.5, NaN where a run
            has none.
        place: The first row of each kind among all observations.
        n_rows: How many rows are of that kind.
        n_curves: How many curves its rows are on, 0 where that does not matter.
    """

    table: pa.Table
    place: Ints
    n_rows: Ints
    n_curves: Ints

    def filter(self, kept: Bools) -> Survey:
        """Return some of the rows."""
        return Survey(
            table=self.table.filter(pa.array(kept)), place=self.place[kept],
            n_rows=self.n_rows[kept], n_curves=self.n_curves[kept],
        )  # fmt: skip


@dataclass
class _Row:
    place: int
    n_rows: int = 0
    n_curves: int = 0


@dataclass
class _Found:
    """What was found so far: kinds of rows, and the tables from which one of each was taken."""

    codes: dict[tuple[Any, ...], int] = field(default_factory=dict)
    rows: dict[tuple[_Kind | None, int], _Row] = field(default_factory=dict)
    tables: list[pa.Table] = field(default_factory=list)


@dataclass(frozen=True)
class Surveyed:
    """Observations in groups of whole tasks, whose survey is known."""

    groups: Iterable[pd.DataFrame]
    survey: Survey

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield the groups."""
        return iter(self.groups)


def survey_of(groups: Iterable[pd.DataFrame | pa.Table]) -> Survey:
    """Return what observations say of models.

    Args:
        groups: Observations, all those of some tasks in each; the index of a frame is the place of
            its rows among all observations.
    """
    if isinstance(groups, Surveyed):
        return groups.survey
    found = _Found()
    for group in groups:
        table = conform(group)
        places = np.arange(table.num_rows) if isinstance(group, pa.Table) else places_of(group)
        _add(found, table, places)
    rows = list(found.rows.values())
    place, n_rows, n_curves = (
        np.array([getattr(row, name) for row in rows], dtype=np.int64)
        for name in ("place", "n_rows", "n_curves")
    )
    table = pa.concat_tables([OBSERVATIONS.empty(), *found.tables]).unify_dictionaries()
    order = np.argsort(place, kind="stable")
    return Survey(
        table=table.take(pa.array(order)), place=place[order], n_rows=n_rows[order],
        n_curves=n_curves[order],
    )  # fmt: skip


def places_of(frame: pd.DataFrame) -> Ints:
    """Return the index of a frame as places of its rows."""
    return np.asarray(frame.index, dtype=np.int64)


def _add(found: _Found, table: pa.Table, places: Ints) -> None:
    if not table.num_rows:
        return
    curve, first_of_curve = group_rows(table, CURVE_KEY)
    has_settings = np.asarray(table["settings"].is_valid())
    told = np.bincount(curve[has_settings], minlength=len(first_of_curve)) > 0
    scoreless = np.where(told[curve], _scoreless(table, curve), False)
    keyed = table.select(_MODEL).append_column("scoreless", pa.array(scoreless))
    element, first = group_rows(keyed, keyed.column_names)
    codes = np.array(
        [
            found.codes.setdefault(tuple(row.values()), len(found.codes))
            for row in keyed.take(pa.array(first)).to_pylist()
        ],
        dtype=np.int64,
    )
    # Of curves without settings no more matters than which rows there are.
    _take(found, table, places, scoreless, codes, element, np.flatnonzero(~told[curve]), None)
    if not told.any():
        return
    rows = np.flatnonzero(told[curve])
    pairs = np.unique(curve[rows] * len(first) + element[rows])
    on, kind_of_row = np.divmod(pairs, len(first))
    sums = np.zeros((2, len(first_of_curve)), dtype=np.uint64)
    for total, salt in zip(sums, (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03), strict=True):
        np.add.at(total, on, _random(codes[kind_of_row], salt))
    kinds, kind = np.unique(sums.T[told], axis=0, return_inverse=True)
    kind_of = np.zeros(len(first_of_curve), dtype=np.int64)
    kind_of[told] = kind.ravel()
    n_curves = np.bincount(kind_of[told], minlength=len(kinds))
    of_kind = kind_of[curve[rows]]
    rows = rows[np.argsort(of_kind, kind="stable")]
    ends = np.cumsum(np.bincount(of_kind, minlength=len(kinds)))
    for number, own in enumerate(np.split(rows, ends[:-1])):
        one, two = kinds[number].tolist()
        _take(
            found, table, places, scoreless, codes, element, own, (one, two),
            int(n_curves[number]),
        )  # fmt: skip


def _take(
    found: _Found, table: pa.Table, places: Ints, scoreless: Bools, codes: Ints, element: Ints,
    rows: Ints, kind: _Kind | None, n_curves: int = 0,
) -> None:  # fmt: skip
    """Count rows of a kind of curve by their own kind, and keep one of those that are new."""
    own, first, counts = np.unique(element[rows], return_index=True, return_counts=True)
    earliest = np.full(len(own), np.iinfo(np.int64).max)
    np.minimum.at(earliest, np.searchsorted(own, element[rows]), places[rows])
    new = []
    for code, row, n, place in zip(
        codes[own].tolist(), rows[first].tolist(), counts.tolist(), earliest.tolist(), strict=True
    ):
        known = found.rows.get((kind, code))
        if known is None:
            known = found.rows[kind, code] = _Row(place)
            new.append(row)
        known.place = min(known.place, place)
        known.n_rows += n
        known.n_curves += n_curves
    if new:
        some = table.take(pa.array(new))
        score = pa.array(np.where(scoreless[new], np.nan, 0.5))
        kept = {*CURVE_KEY, *_MODEL}
        columns = {
            name: score if name == "score" else some[name]
            for name in OBSERVATIONS.names
            if name in kept or name == "score"
        }
        found.tables.append(conform(pa.table(columns)))


def _scoreless(table: pa.Table, curve: Ints) -> Bools:
    """Return which rows are of a run without any score on their curve."""
    keyed = table.select(["model_name", "settings"]).append_column("curve", pa.array(curve))
    run, first = group_rows(keyed, keyed.column_names)
    none: Bools = np.bincount(run, is_score(table), minlength=len(first)) == 0
    return none[run]


def _random(codes: Ints, salt: int) -> NDArray[np.uint64]:
    """Return a random number for each code."""
    salted = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(salt)  # modulo 2^64
    return hash_array(salted)
