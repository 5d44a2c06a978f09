"""Numbers of examples that scores contradict, and those that fit scores without one.

A share of right answers is k / n with a whole k. A score that is none, within the rounding of its
digits, contradicts the n beside it: then n is wrong, the score is, or it is no share of n answers.
Where no n is known, the smallest that fits many scores at once is a hint, and nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.published import bigbench_tasks
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import conform, to_frame
from bigbench_meta.readers.problems import MOST_DETAILED, Notes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

__all__ = [
    "MOST_EXAMPLES",
    "check_counts",
    "contradicts",
    "fitting_counts",
    "note_counts",
    "smallest_count",
]

MOST_EXAMPLES: Final = 100_000
"""No larger number of examples is looked for."""

# Results may have passed through single precision.
_SINGLE: Final = 1.2e-7
_DOUBLE: Final = 1e-14
_MOST_DECIMALS: Final = 10
# Of numbers that are wrong, and no multiple of the right one, at least half the scores tell.
_REFUTED: Final = 0.25
# By chance a smaller number than the right one fits all scores of fewer than 1 in 1,000 tasks.
_CHANCE: Final = 0.001
# Counts of five models have a common factor in 1 - 1 / zeta(5) = 4% of all cases.
_FEWEST: Final = 5
_MOST_SETS: Final = 1000
_GRID: Final = np.unique(np.ceil(1.01 ** np.arange(1200)))  # to 151,000
_SET: Final = ("benchmark", "task", "subtask", "metric")
# HELM's scores are means over trials; observations do not say over how many.
_OF_TRIALS: Final = "helm"


def contradicts(share: Floats | float, rounding: Floats | float, n: Floats) -> Bools:
    """Return which shares are no k / n with a whole k.

    Args:
        share: Shares of right answers, any shape.
        rounding: By how much each can be off.
        n: Numbers of examples, of a shape that goes with it.

    Examples:
        >>> contradicts(np.array([0.333, 0.333]), np.array([5e-4]), np.array([3, 4])).tolist()
        [False, True]
    """
    count = share * n
    # A hair more than the rounding: 0.5 of the last digit is not exact in binary.
    found: Bools = np.abs(count - np.rint(count)) > rounding * n * (1 + 1e-6)
    return found


def smallest_count(share: Floats, rounding: Floats, *, most: int = MOST_EXAMPLES) -> int | None:
    """Return the smallest number of examples that fits all scores, if that cannot be chance.

    A wrong n fits a score by chance with a probability of about 2 n r, r being its rounding, and
    all scores with the product, where 2 n r > 1/2 counts as 1. Numbers are tried as long as these
    products sum to less than 0.001. With coarse rounding the neighbours of the right number fit as
    well: none of the next ones (a tenth of it, at least 10) may, but for multiples.

    Args:
        share: Shares of right answers, shape (s,).
        rounding: By how much each can be off, shape (s,).
        most: No larger number is tried.

    Returns:
        The number, which may be a divisor of the right one; None if none fits, if a neighbour does,
        or if fewer than five shares between 0 and 1 differ.

    Examples:
        >>> share = np.array([0.012, 0.114, 0.262, 0.436, 0.568, 0.704])
        >>> smallest_count(share, np.full(6, 0.00005))
        500
    """
    between = (share > rounding) & (share < 1 - rounding)
    distinct, first = np.unique(share[between], return_index=True)
    if len(distinct) < _FEWEST:
        return None
    width = rounding[between][first]
    order = np.argsort(width)  # the most telling first
    scores = list(zip(distinct[order].tolist(), width[order].tolist(), strict=True))
    largest, begin, size = min(most, _largest_told(width)), 1, 256
    while begin <= largest:
        end = min(begin + size, largest + 1)
        if len(found := _fitting(begin, end, scores)):
            n = int(found[0])
            rivals = _fitting(n + 1, n + 1 + max(10, n // 10), scores)
            return None if (rivals % n).any() else n
        begin, size = end, size * 4
    return None


def _fitting(begin: int, end: int, scores: list[tuple[float, float]]) -> Floats:
    """Return the numbers from begin, below end, that fit all scores with their rounding."""
    n = np.arange(begin, end, dtype=float)
    for share, rounding in scores:
        n = n[~contradicts(share, rounding, n)]
    return n


def _largest_told(rounding: Floats) -> int:
    """Return up to which number the sum of the chances that it fits all scores is below 0.001."""
    chance = 2 * rounding * _GRID[:, None]
    fit = np.where(chance <= 0.5, chance, 1.0).prod(axis=1)
    # As many numbers as lie between two of the grid, each at most as likely as the larger one.
    expected = np.cumsum(fit * np.diff(_GRID, prepend=0.0))
    return int(_GRID[expected < _CHANCE].max(initial=0.0))


def check_counts(
    observations: pd.DataFrame, *, catalog: MetricCatalog | None = None, where: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare each score with the number of examples behind it, and drop numbers that are wrong.

    Checked are metrics of which the catalog says that every example is right or wrong (``binary``).
    A score is taken to be rounded to the digits that it is written with. Means over subtasks are
    not checked, and neither are HELM's scores, which are means over trials.

    A number that contradicts more than a quarter of the scores that could contradict it (of a task
    or subtask under one metric) is dropped for all of them: a wrong one that is no multiple of the
    right one contradicts at least half. Otherwise it stays, and the scores are reported: misprints,
    or of other examples.

    Args:
        observations: Observations table.
        catalog: Metric catalog; the packaged one by default.
        where: Where the numbers come from, for the problems; by default the files of the scores.

    Returns:
        The observations, without ``n_examples`` where it is dropped; and a problems table with one
        row for each task or subtask, metric and number that some score contradicts.

    Raises:
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> rows = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "model_family": "f",
        ...     "model_name": ["1b", "7b"], "score": [0.415, 0.7031], "n_examples": 500,
        ... })
        >>> checked, problems = check_counts(rows)
        >>> checked["n_examples"].isna().tolist()
        [True, True]
        >>> problems["reason"].item()
        '2 of 2 scores are no count of right answers of 500 examples (0.415 x 500 = 207.5, 1b): ...'
    """
    notes = Notes()
    rows = np.arange(len(observations))
    checked = note_counts(notes, observations, rows, catalog=catalog, where=where)
    return checked, to_frame(notes.table())


def note_counts(
    notes: Notes,
    observations: pd.DataFrame,
    places: Ints,
    *,
    catalog: MetricCatalog | None = None,
    where: str | None = None,
    section: int = 0,
) -> pd.DataFrame:
    """Return what :func:`check_counts` returns, and note its problems.

    Args:
        notes: Where they are noted.
        observations: All observations of some tasks.
        places: The place of each row among all observations.
        catalog: As for :func:`check_counts`.
        where: As for :func:`check_counts`.
        section: Of the notes.
    """
    table = conform(observations)
    n = _floats(table, "n_examples")
    rows = _shares(table, ~np.isnan(n), catalog)
    n_of = n[rows.place]
    wrong = contradicts(rows.share, rows.rounding, n_of)
    if not wrong.any():
        return observations
    telling = wrong | (rows.between & (2 * rows.rounding * n_of <= 0.5))
    group, first = group_rows(table, (*_SET, "n_examples"))
    number = group[rows.place]
    refuted = np.bincount(number, wrong) > _REFUTED * np.bincount(number, telling)
    _note_wrong(notes, section, table, places[first], rows, number, wrong, refuted, where)
    dropped = np.zeros(table.num_rows, dtype=bool)
    dropped[rows.place] = refuted[number]
    frame = to_frame(table) if isinstance(observations, pa.Table) else observations
    return frame.assign(n_examples=frame["n_examples"].mask(dropped))


def fitting_counts(
    observations: pd.DataFrame | Iterable[pd.DataFrame], *, catalog: MetricCatalog | None = None
) -> pd.DataFrame:
    """Return the smallest numbers of examples that fit scores whose number is not known.

    A hint: the right number is this one or a multiple of it. See :func:`check_counts` for which
    scores are looked at and :func:`smallest_count` for when there is no hint. No more than 1,000
    sets of scores are looked at, the first ones.

    Args:
        observations: Observations table, or groups of whole tasks as
            :meth:`bigbench_meta.Store.observation_groups` gives them.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        Columns ``benchmark, task, subtask, metric, n_examples, n_scores``, one row per task or
        subtask and metric with a hint.

    Raises:
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> scores = load_embedded("lamda").assign(n_examples=None)
        >>> found = fitting_counts(scores[scores["task"] == "strategyqa"])
        >>> found["n_examples"].item()
        205
    """
    groups = [observations] if isinstance(observations, pd.DataFrame) else observations
    found = pd.concat([_fitting_counts(group, catalog) for group in groups])
    # Those of the first sets, in the order of all observations.
    found = found.sort_index(kind="stable").iloc[:_MOST_SETS]
    return found[found["n_examples"] > 0].reset_index(drop=True)


def _fitting_counts(observations: pd.DataFrame, catalog: MetricCatalog | None) -> pd.DataFrame:
    """Return the hint of each of the first sets, 0 for none, by the place of its first row."""
    table = conform(observations)
    rows = _shares(table, np.isnan(_floats(table, "n_examples")), catalog)
    _, first = group_rows(table, _SET)
    sets = np.unique(rows.set)[:_MOST_SETS]
    members = _members(rows.set, sets)
    keys = to_frame(table.select(_SET).take(pa.array(first[sets])))
    return (
        keys.assign(
            n_examples=[
                smallest_count(rows.share[members[one]], rows.rounding[members[one]]) or 0
                for one in sets.tolist()
            ],
            n_scores=[len(members[one]) for one in sets.tolist()],
        )
        .astype({"n_examples": "int64", "n_scores": "int64"})
        .set_axis(observations.index[first[sets]])
    )


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """Scores that are shares of right answers, one entry a score.

    Attributes:
        place: Row in the observations.
        set: Number of the task or subtask and metric.
        share: From 0 to 1.
        rounding: By how much the share can be off.
        whole: The score of all answers right.
    """

    place: Ints
    set: Ints
    share: Floats
    rounding: Floats
    whole: Floats

    @property
    def between(self) -> Bools:
        """Which are neither 0 nor 1."""
        found: Bools = (self.share > self.rounding) & (self.share < 1 - self.rounding)
        return found


def _shares(table: pa.Table, wanted: Bools, catalog: MetricCatalog | None) -> _Shares:
    """Return those of some scores that are shares of right answers, of one set of examples."""
    group, first = group_rows(table, _SET)
    keys = to_frame(table.select(_SET).take(pa.array(first))).astype("string")
    known = (catalog or metric_catalog()).lookup(keys)
    low, high = (known[name].to_numpy(dtype=float) for name in ("low", "high"))
    binary = known["binary"].fillna(value=False).to_numpy(dtype=bool)
    usable = binary & (low == 0) & np.isfinite(high) & (keys["benchmark"] != _OF_TRIALS)
    usable &= ~_are_averages(keys)
    score, whole = _floats(table, "score"), high[group]
    with np.errstate(invalid="ignore"):
        inside = (score >= 0) & (score <= whole)
    place = np.flatnonzero(wanted & usable.to_numpy()[group] & inside)
    score, whole = score[place], whole[place]
    return _Shares(
        place=place,
        set=group[place],
        share=score / whole,
        rounding=_rounding(score) / whole,
        whole=whole,
    )


def _are_averages(keys: pd.DataFrame) -> pd.Series[bool]:
    """Return which sets are a task's mean over subtasks: here, or in BIG-bench."""
    known = bigbench_tasks().assign(benchmark="BIG-bench")
    names = ["benchmark", "task", "subtask"]
    both = pd.concat([keys[names], known[names].astype("string")])
    parts = both[both["subtask"] != both["task"]].drop_duplicates(["benchmark", "task"])
    divided = pd.MultiIndex.from_frame(parts[["benchmark", "task"]])
    own = keys["subtask"] == keys["task"]
    return own & pd.MultiIndex.from_frame(keys[["benchmark", "task"]]).isin(divided)


def _rounding(score: Floats) -> Floats:
    """Return half a unit of the last decimal with which scores are written."""
    half = np.zeros(len(score))
    for decimals in range(_MOST_DECIMALS, -1, -1):
        # 0.333 x 100 is 33.300000000000004.
        written = np.abs(np.round(score, decimals) - score) <= _DOUBLE * score
        half[written] = 0.5 * 10.0**-decimals
    return np.maximum(half, _SINGLE * np.abs(score))


def _note_wrong(
    notes: Notes, section: int, table: pa.Table, places: Ints, rows: _Shares, number: Ints,
    wrong: Bools, refuted: Bools, where: str | None,
) -> None:  # fmt: skip
    """Note each set of scores and number of examples that one contradicts."""
    told, first = np.unique(number[wrong], return_index=True)
    first = np.flatnonzero(wrong)[first]
    names = ["source", "subtask", "metric", "model_name", "n_examples"]
    chosen = to_frame(table.select(names).take(pa.array(rows.place[first])))
    n_wrong, n_all = np.bincount(number, wrong), np.bincount(number)
    members = _members(number, told[:MOST_DETAILED])
    for one, place, key in zip(told, first, chosen.to_dict("records"), strict=True):
        share, n = rows.share[place], int(key["n_examples"])
        text = f"{share * 100:.10g}%" if rows.whole[place] == 100 else f"{share:.10g}"
        reason = (
            f"{n_wrong[one]:.0f} of {n_all[one]} scores are no count of right answers of {n:,} "
            f"examples ({text} x {n:,} = {share * n:.7g}, {key['model_name']}): "
        )
        more = ""
        if not refuted[one]:
            reason += "the number fits the others and is used"
        else:
            reason += "the number is not used"
            some = members.get(one)
            if some is not None and (
                other := smallest_count(rows.share[some], rows.rounding[some])
            ):
                more = f"; {other:,} would fit"
        source = where or ("" if pd.isna(key["source"]) else str(key["source"]))
        field = f"{key['subtask']}, {key['metric']}"
        notes.add(section, int(places[one]), source, field, "{told}", told=reason, detail=more)


def _members(group: Ints, chosen: Ints) -> dict[int, Ints]:
    """Return the places of the members of some groups."""
    places = np.flatnonzero(np.isin(group, chosen))
    places = places[np.argsort(group[places], kind="stable")]
    names, starts = np.unique(group[places], return_index=True)
    return dict(zip(names.tolist(), np.split(places, starts)[1:], strict=True))


def _floats(table: pa.Table, name: str) -> Floats:
    values: Floats = table[name].to_pandas().to_numpy(dtype=float, na_value=np.nan)
    return values
