"""Curves to what the mechanism can be fitted to: proportions, guess rates and sampling errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.links import CONCENTRATIONS
from bigbench_meta.inference.nulls.nuisance_grid import candidates
from bigbench_meta.inference.proportions import proportions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.nulls.links import Link
    from bigbench_meta.inference.proportions import Proportions

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Names = NDArray[np.object_]

__all__ = ["DEFAULT_PARTS", "INPUT_PROBLEMS", "NullInputs", "null_inputs"]

DEFAULT_PARTS: Final = 10.0
"""Independent yes-or-no parts of an example where its score is neither right nor wrong.

Fewer would overstate the sampling error and leave the test without power; too many are harmless,
since what is missing goes into the variation between models.
"""

INPUT_PROBLEMS: Final = ("no_range", "score_out_of_range", "no_test_set")

# Loss in natural units per unit of the score: exp(-loss) is a geometric mean probability.
_LOSS_UNITS: Final = {
    "nats_per_token": 1.0, "nats_per_word": 1.0, "nats_per_byte": 1.0, "nats_per_char": 1.0,
    "bits_per_byte": float(np.log(2)),
}  # fmt: skip
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class NullInputs:
    """Rows to be tested: one a curve, or one for each guess rate and link that a curve may have.

    Attributes:
        curve: Row in ``curves.keys`` of each row.
        y: Proportions, up is better, ragged.
        x: Scales.
        trials: Yes-or-no examples that would give the sampling error.
        offsets: Where each row begins and the last ends.
        floor: Guess rate of each row.
        link: The metric's link, of each row.
        floor_source: ``given``, ``low_score``, ``choices``, ``floor``, ``loss``, ``length`` (an
            edit distance whose targets' length nobody states) or ``profiled``, of each curve.
        problem: One of :data:`INPUT_PROBLEMS` or empty, of each curve.
    """

    curve: Ints
    y: Floats
    x: Floats
    trials: Floats
    offsets: Ints
    floor: Floats
    link: tuple[Link, ...]
    floor_source: Names
    problem: Names

    def take(self, rows: Ints) -> NullInputs:
        """Return some of the rows; what there is one of a curve stays."""
        point, offsets = _points(self.offsets, rows)
        return replace(
            self, curve=self.curve[rows], y=self.y[point], x=self.x[point],
            trials=self.trials[point], offsets=offsets, floor=self.floor[rows],
            link=tuple(self.link[row] for row in rows.tolist()),
        )  # fmt: skip


def null_inputs(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    parts: float = DEFAULT_PARTS,
    profile_floor: bool = False,
    concentrations: Sequence[float] = CONCENTRATIONS,
    reach: float = 1.0,
) -> NullInputs:
    """Take what can be taken as proportions: bounded scores, perplexities and losses.

    A bounded score is (score - worst) / (best - worst) by the catalog's range, or between the
    task's ``low_score`` and ``high_score`` where that has none. A count of errors without a range,
    an edit distance, has the target's length for its worst score: the largest one over ``reach``.
    A perplexity is 1 / perplexity, a loss per token exp(-loss): the mechanism with a guess rate
    of 0. Sampling errors are those of ``n_examples`` right-or-wrong examples where a metric is
    discontinuous or nonlinear and an example can change it by its whole range over n; else of as
    many examples as give the standard error, or of ``n_examples`` times ``parts`` where there is
    none.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default.
        chance: Guess rate in the unit of the score, a number or one a curve, NaN for not given.
        n_choices: Number of choices, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none.
        parts: Yes-or-no parts of an example that is neither right nor wrong, at least 1.
        profile_floor: Whether every guess rate is tried on every curve, whatever is stated.
        concentrations: How alike the questions of a multiple choice may be, besides not at all.
        reach: Share of the length of targets that a curve's largest edit distance is.

    Raises:
        InputError: An option of another shape or out of range.
    """
    if not parts >= 1:
        raise InputError(f"{parts} is below 1", where="parts")
    known = (catalog or metric_catalog()).lookup(curves.keys[["benchmark", "task", "metric"]])
    base = proportions(
        curves, catalog=catalog, chance=chance, n_choices=n_choices, n_examples=n_examples
    )
    worst, best, counts_errors = _range(curves, known, reach)
    value, floor, source, problem = _bounded(curves, base, worst, best)
    floor[counts_errors], source[counts_errors] = 0.0, "length"
    _losses(curves, known, value, floor, source, problem)
    kind = curves.keys["metric_type"].astype(str).to_numpy()
    counted = (base.problem == "") & np.isin(kind, ["discontinuous", "nonlinear"])
    with np.errstate(invalid="ignore", divide="ignore"):
        stderr = curves.stderr / np.abs(best - worst)[base.curve]
    trials = _trials(curves, value, stderr, base.n_examples, counted, parts)
    short = np.bincount(base.curve[np.isnan(trials)], minlength=len(curves)) > 0
    problem[(problem == "") & short] = "no_test_set"
    # A multiple choice whose low score is 0 has a guess rate that nobody states.
    silent = (source == "low_score") & (kind == "discontinuous") & (floor <= 0)
    floor[silent | (profile_floor & ~np.isin(source, ["loss", "length"]))] = np.nan
    source[np.isnan(floor)] = "profiled"
    return _rows(curves, known, value, trials, floor, source, problem, concentrations)


def _bounded(
    curves: Curves, base: Proportions, worst: Floats, best: Floats
) -> tuple[Floats, Floats, Names, Names]:
    """Return proportions, floors, their sources and problems, of means over examples and others."""
    curve = base.curve
    value, floor = base.proportion.copy(), base.chance.copy()
    source, problem = base.chance_source.copy(), base.problem.copy()
    kind = curves.keys["metric_type"].astype(str).to_numpy()
    other = problem == "not_a_proportion"
    ranged = other & np.isfinite(best - worst) & (best != worst)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (curves.y - worst[curve]) / (best - worst)[curve]
        # What low_score says in the unit of the score, where it is not the end of the range itself.
        chance = (curves.keys["low_score"].to_numpy(dtype=float) - worst) / (best - worst)
    outside = ~((share >= -_ROUNDING) & (share <= 1 + _ROUNDING))
    wrong = np.bincount(curve[outside & ranged[curve]], minlength=len(curves)) > 0
    value = np.where(ranged[curve], np.clip(share, 0.0, 1.0), value)
    problem[other] = np.where(ranged, np.where(wrong, "score_out_of_range", ""), "no_range")[other]
    open_ = ranged & np.isnan(floor)
    stated = open_ & (chance >= 0) & (chance < 1)
    floor[stated], source[stated] = chance[stated] + 0.0, "low_score"  # no -0.0
    from_zero = open_ & ~stated & (worst == 0) & np.isin(kind, ["nonlinear", "linear"])
    floor[from_zero], source[from_zero] = 0.0, "floor"
    return value, floor, source, problem


def _range(curves: Curves, known: pd.DataFrame, reach: float) -> tuple[Floats, Floats, Bools]:
    """Return the worst and the best score, and where the worst is a guess at targets' length.

    They are those of the catalog, else as the task declares them. Else errors that are counted from
    zero have ``reach`` of the worst for their largest.
    """
    low, high = (known[name].to_numpy(dtype=np.float64) for name in ("low", "high"))
    up = curves.keys["higher_is_better"].to_numpy(dtype=bool)
    poor, good = (
        curves.keys[name].to_numpy(dtype=np.float64) for name in ("low_score", "high_score")
    )
    stated = high > low
    fits = (poor != good) & ((good > poor) == up)
    worst = np.where(stated, np.where(up, low, high), np.where(fits, poor, np.nan))
    best = np.where(stated, np.where(up, high, low), np.where(fits, good, np.nan))
    largest = np.full(len(curves), -np.inf)
    np.fmax.at(largest, curves.curve_of_point, curves.y)
    linear = (curves.keys["metric_type"].astype(str) == "linear").to_numpy(dtype=bool)
    counts_errors = ~np.isfinite(best - worst) & linear & ~up & (low == 0) & (largest > 0)
    worst, best = (
        np.where(counts_errors, largest / reach, worst),
        np.where(counts_errors, 0.0, best),
    )
    return worst, best, counts_errors


def _losses(
    curves: Curves, known: pd.DataFrame, value: Floats, floor: Floats, source: Names, problem: Names
) -> None:
    """Fill in perplexities and losses per token, in place."""
    unit = known["unit"].astype("object").fillna("").to_numpy()
    up = curves.keys["higher_is_better"].to_numpy(dtype=bool)
    curve = curves.curve_of_point
    factor = np.array([_LOSS_UNITS.get(name, np.nan) for name in unit])
    perplexity = unit == "perplexity"
    chosen = (np.isfinite(factor) | perplexity) & (problem == "no_range")
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = np.where(perplexity[curve], np.log(curves.y), curves.y * factor[curve])
    loss = np.where(up[curve] & ~perplexity[curve], -loss, loss)
    bad = np.bincount(curve[~(loss >= -_ROUNDING)], minlength=len(curves)) > 0
    inside = chosen[curve]
    value[inside] = np.exp(-np.maximum(loss[inside], 0.0))
    problem[chosen] = np.where(bad, "score_out_of_range", "")[chosen]
    floor[chosen], source[chosen] = 0.0, "loss"


def _trials(
    curves: Curves, value: Floats, stderr: Floats, n_examples: Floats, counted: Bools, parts: float
) -> Floats:
    """Return the yes-or-no examples that give each point's sampling error; NaN if unknown."""
    curve = curves.curve_of_point
    with np.errstate(invalid="ignore", divide="ignore"):
        equal = value * (1 - value) / stderr**2
    equal = np.where((stderr > 0) & (equal >= 1) & np.isfinite(equal), equal, np.nan)
    equal = _filled(equal, curve, len(curves), everywhere=True)
    count = _filled(n_examples, curve, len(curves), everywhere=False)
    right = counted[curve]
    trials = np.where(
        right, np.where(np.isnan(count), equal, count),
        np.where(np.isnan(equal), count * parts, equal),
    )  # fmt: skip
    return np.maximum(trials, 1.0)


def _filled(values: Floats, curve: Ints, m: int, *, everywhere: bool) -> Floats:
    """Return values with each curve's median where there is none, or everywhere."""
    order = np.lexsort((values, curve))  # NaN comes last
    known = np.bincount(curve[~np.isnan(values)], minlength=m)
    first = np.searchsorted(curve[order], np.arange(m))
    has = known > 0
    ranked = values[order]
    median = np.full(m, np.nan)
    low, high = first[has] + (known[has] - 1) // 2, first[has] + known[has] // 2
    median[has] = (ranked[low] + ranked[high]) / 2
    return median[curve] if everywhere else np.where(np.isnan(values), median[curve], values)


def _rows(
    curves: Curves, known: pd.DataFrame, value: Floats, trials: Floats, floor: Floats,
    source: Names, problem: Names, concentrations: Sequence[float],
) -> NullInputs:  # fmt: skip
    """Repeat curves over the guess rates and links to be tried."""
    metric = curves.keys["metric"].astype(str)
    brier = metric.str.contains("brier", case=False).to_numpy(dtype=bool)
    kind = curves.keys["metric_type"].astype(str).isin(["discontinuous", "unknown"])
    picks = kind.to_numpy(dtype=bool) & (known["low"] == 0).to_numpy(dtype=bool)
    curve: list[int] = []
    tried: list[tuple[float, Link]] = []
    for i in np.flatnonzero((problem == "") & (np.diff(curves.offsets) > 0)).tolist():
        own = slice(curves.offsets[i], curves.offsets[i + 1])
        found = candidates(
            value[own], trials[own],
            floor=floor[i], picks_choice=bool(picks[i]), is_brier=bool(brier[i]),
            concentrations=concentrations,
        )  # fmt: skip
        curve += [i] * len(found)
        tried += found
    rows = np.array(curve, dtype=np.int64)
    point, offsets = _points(curves.offsets, rows)
    return NullInputs(
        curve=rows, y=value[point], x=curves.x[point], trials=trials[point], offsets=offsets,
        floor=np.array([rate for rate, _ in tried], dtype=float),
        link=tuple(link for _, link in tried), floor_source=source, problem=problem,
    )  # fmt: skip


def _points(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return the points of some rows, in their order, and where each row then begins."""
    lengths = np.diff(offsets)[rows]
    begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(begins[-1]) - np.repeat(begins[:-1] - offsets[rows], lengths), begins
