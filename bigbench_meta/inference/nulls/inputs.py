"""Prepare curves for the mechanism: proportions, sampling errors and nuisance settings.

Where the guess rate of a metric, the metric's link or the length of the targets is not known, a
curve has one row for each value that it may have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import FALLING_AXES
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.nulls.links import BRIER, CONCENTRATIONS, SHARE, Link, brier, grade
from bigbench_meta.inference.nulls.mechanism import MechanismCurves

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.curves.proportions import Proportions

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Names = NDArray[np.object_]

__all__ = [
    "GUESS_RATES",
    "INPUT_PROBLEMS",
    "PARTS",
    "REACHES",
    "NullInputs",
    "ScoreUnit",
    "nuisance_grid",
    "null_inputs",
]

PARTS: Final = 10.0
"""Independent yes-or-no parts of an example where its score is neither right nor wrong.

Fewer would overstate the sampling error and leave the test without power; too many are harmless,
since what is missing goes into the variation between models.
"""

GUESS_RATES: Final = (0.0, 1 / 5, 1 / 4, 1 / 3, 1 / 2)
"""Tried where the guess rate is not known, and with them the lowest score of the curve."""

REACHES: Final = (1.0, 0.75, 0.5, 0.25)
"""Shares of the length of targets that the largest edit distance of a curve may be.

From a worst model that gets every token wrong to one that gets every fourth wrong. It takes the
place of a guess rate: of tokens of which a share g is guessed, 1 - g are wrong at worst.
"""

INPUT_PROBLEMS: Final = ("no_range", "score_out_of_range", "no_test_set", "scale_is_a_loss")

# Loss in natural units per unit of the score: exp(-loss) is a geometric mean probability.
_LOSS_UNITS: Final = {
    "nats_per_token": 1.0, "nats_per_word": 1.0, "nats_per_byte": 1.0, "nats_per_char": 1.0,
    "bits_per_byte": float(np.log(2)),
}  # fmt: skip
_ROUNDING: Final = 1e-9
# A score so many standard errors below the guess rate that is stated contradicts it.
_BELOW: Final = 3.0
# A Brier score, whose sampling error is small, shows where between differing questions and those
# that are alike to a degree of 10 the truth is.
_UNLIKE: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class NullInputs:
    """Rows to be tested, each a curve with one of the nuisance settings that it may have.

    Attributes:
        rows: What each row is fitted to.
        curve: Number of each row's curve, ascending.
        floor_source: Where the guess rate comes from, of each curve: ``given``, ``low_score``,
            ``floor``, ``loss``, ``length`` (an edit distance of targets whose length is not known)
            or ``profiled``.
        problem: One of :data:`INPUT_PROBLEMS` or empty, of each curve.
        unit: How proportions become scores again, of each row.
    """

    rows: MechanismCurves
    curve: Ints
    floor_source: Names
    problem: Names
    unit: tuple[ScoreUnit, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreUnit:
    """The unit of a curve's scores.

    Attributes:
        worst: Score that is proportion 0; of losses not used.
        best: Score that is proportion 1.
        of_loss: ``perplexity``, or the score that is a loss of one nat per token, negative where
            higher is better; None of bounded scores.
    """

    worst: float = 0.0
    best: float = 1.0
    of_loss: float | Literal["perplexity"] | None = None

    def scores(self, proportion: Floats, trials: Floats) -> Floats:
        """Return proportions in the unit of the file.

        Args:
            proportion: Of any shape.
            trials: Examples behind each; a loss of none right is that of half of one.

        Examples:
            >>> ScoreUnit(worst=100.0, best=0.0).scores(np.array([0.25]), np.array([8.0]))
            array([75.])
            >>> ScoreUnit(of_loss="perplexity").scores(np.array([0.25, 0.0]), np.array([8.0, 8.0]))
            array([ 4., 16.])
        """
        if self.of_loss is None:
            return self.worst + proportion * (self.best - self.worst)
        share = np.maximum(proportion, 0.5 / trials)
        if self.of_loss == "perplexity":
            return np.asarray(1 / share)
        return np.asarray(-np.log(share) * self.of_loss)


def null_inputs(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
) -> NullInputs:
    """Return what can be taken as proportions: bounded scores, perplexities and losses.

    A bounded score is (score - worst) / (best - worst) by the catalog's range, or between the
    task's ``low_score`` and ``high_score`` where that has none. A count of errors without a range,
    an edit distance, has the target's length for its worst score: the largest one over each of
    :data:`REACHES`. A perplexity is 1 / perplexity, a loss per token exp(-loss): the mechanism with
    a guess rate of 0. Sampling errors are those of ``n_examples`` right-or-wrong examples where a
    metric is discontinuous or nonlinear and an example can change it by its whole range over n;
    else of as many examples as give the standard error, or of ``n_examples`` times :data:`PARTS`
    where there is none.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default.
        chance: Guess rate in the unit of the score, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none.

    Raises:
        InputError: An option of another shape or out of range.
    """
    found = _inputs(curves, catalog, chance, n_examples, REACHES[0])
    unknown = (found.floor_source == "length") & (found.problem == "")
    if not unknown.any():
        return found
    own_size = n_examples is not None and np.ndim(n_examples)
    size = np.asarray(n_examples)[unknown] if own_size else n_examples
    some, place = curves[unknown], np.flatnonzero(unknown)
    others = [_inputs(some, catalog, None, size, reach) for reach in REACHES[1:]]
    curve = np.concatenate([found.curve, *(place[other.curve] for other in others)])
    order = np.argsort(curve, kind="stable")
    rows = _joined([found.rows, *(other.rows for other in others)])
    unit = [*found.unit, *(one for other in others for one in other.unit)]
    return replace(
        found, rows=rows.take(order), curve=curve[order],
        unit=tuple(unit[row] for row in order.tolist()),
    )  # fmt: skip


def _joined(parts: list[MechanismCurves]) -> MechanismCurves:
    return MechanismCurves(
        ragged=Ragged.of_lengths(np.concatenate([part.ragged.lengths for part in parts])),
        link=tuple(link for part in parts for link in part.link),
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("y", "x", "trials", "floor", "sigma", "weight", "irreducible")
        },
    )


def _inputs(
    curves: Curves, catalog: MetricCatalog | None, chance: ArrayLike | None,
    n_examples: ArrayLike | None, reach: float,
) -> NullInputs:  # fmt: skip
    """Return the rows of all curves, the largest edit distance being ``reach`` of the target."""
    known = (catalog or metric_catalog()).lookup(curves.keys[["benchmark", "task", "metric"]])
    base = proportions(curves, catalog=catalog, chance=chance, n_examples=n_examples)
    worst, best, counts_errors = _range(curves, known, reach)
    value, floor, source, problem = _bounded(curves, base, worst, best)
    floor[counts_errors], source[counts_errors] = 0.0, "length"
    unit = [
        ScoreUnit(worst=low, best=high)
        for low, high in zip(worst.tolist(), best.tolist(), strict=True)
    ]
    _losses(curves, known, value, floor, source, problem, unit)
    kind = curves.keys["metric_type"].astype(str).to_numpy()
    counted = (base.problem == "") & np.isin(kind, ["discontinuous", "nonlinear"])
    with np.errstate(invalid="ignore", divide="ignore"):
        stderr = curves.stderr / np.abs(best - worst)[base.curve]
    trials = _trials(curves, value, stderr, base.n_examples, counted)
    problem[(problem == "") & curves.ragged.any(np.isnan(trials))] = "no_test_set"
    # The exponents that count as smooth are those of sizes, computes and numbers of tokens.
    problem[curves.keys["scale"].isin(list(FALLING_AXES)).to_numpy(dtype=bool)] = "scale_is_a_loss"
    # The guess rate of a multiple choice whose low score is 0 is not known.
    floor[(source == "low_score") & (kind == "discontinuous") & (floor <= 0)] = np.nan
    source[np.isnan(floor)] = "profiled"
    return _over_grid(curves, known, value, trials, floor, source, problem, unit)


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
    wrong = curves.ragged.any(outside & ranged[curve])
    value = np.where(ranged[curve], np.clip(share, 0.0, 1.0), value)
    problem[other] = np.where(ranged, np.where(wrong, "score_out_of_range", ""), "no_range")[other]
    open_ = ranged & np.isnan(floor)
    stated = open_ & (chance >= 0) & (chance < 1)
    floor[stated], source[stated] = chance[stated] + 0.0, "low_score"  # no -0.0
    from_zero = open_ & ~stated & (worst == 0) & np.isin(kind, ["nonlinear", "linear"])
    floor[from_zero], source[from_zero] = 0.0, "floor"
    return value, floor, source, problem


def _range(curves: Curves, known: pd.DataFrame, reach: float) -> tuple[Floats, Floats, Bools]:
    """Return the worst and the best score, and where the worst is an assumed length of targets.

    They are those of the catalog, else those that the task declares, else of errors counted from
    zero the largest over ``reach``, and zero.
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
    np.fmax.at(largest, curves.ragged.curve, curves.y)
    linear = (curves.keys["metric_type"].astype(str) == "linear").to_numpy(dtype=bool)
    counts_errors = ~np.isfinite(best - worst) & linear & ~up & (low == 0) & (largest > 0)
    worst, best = (
        np.where(counts_errors, largest / reach, worst),
        np.where(counts_errors, 0.0, best),
    )
    return worst, best, counts_errors


def _losses(
    curves: Curves, known: pd.DataFrame, value: Floats, floor: Floats, source: Names,
    problem: Names, scores: list[ScoreUnit],
) -> None:  # fmt: skip
    """Fill in perplexities and losses per token, in place."""
    unit = known["unit"].astype("object").fillna("").to_numpy()
    up = curves.keys["higher_is_better"].to_numpy(dtype=bool)
    curve = curves.ragged.curve
    factor = np.array([_LOSS_UNITS.get(name, np.nan) for name in unit])
    perplexity = unit == "perplexity"
    chosen = (np.isfinite(factor) | perplexity) & (problem == "no_range")
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = np.where(perplexity[curve], np.log(curves.y), curves.y * factor[curve])
    loss = np.where(up[curve] & ~perplexity[curve], -loss, loss)
    bad = curves.ragged.any(~(loss >= -_ROUNDING))
    inside = chosen[curve]
    value[inside] = np.exp(-np.maximum(loss[inside], 0.0))
    problem[chosen] = np.where(bad, "score_out_of_range", "")[chosen]
    floor[chosen], source[chosen] = 0.0, "loss"
    for i in np.flatnonzero(chosen).tolist():
        size = -1 / factor[i] if up[i] else 1 / factor[i]
        scores[i] = ScoreUnit(of_loss="perplexity" if perplexity[i] else float(size))


def _trials(
    curves: Curves, value: Floats, stderr: Floats, n_examples: Floats, counted: Bools
) -> Floats:
    """Return the yes-or-no examples that give each point's sampling error; NaN if unknown."""
    curve = curves.ragged.curve
    with np.errstate(invalid="ignore", divide="ignore"):
        equal = value * (1 - value) / stderr**2
    equal = np.where((stderr > 0) & (equal >= 1) & np.isfinite(equal), equal, np.nan)
    equal = _filled(equal, curve, len(curves), everywhere=True)
    count = _filled(n_examples, curve, len(curves), everywhere=False)
    right = counted[curve]
    trials = np.where(
        right, np.where(np.isnan(count), equal, count),
        np.where(np.isnan(equal), count * PARTS, equal),
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


def _over_grid(
    curves: Curves, known: pd.DataFrame, value: Floats, trials: Floats, floor: Floats,
    source: Names, problem: Names, unit: list[ScoreUnit],
) -> NullInputs:  # fmt: skip
    """Repeat curves over their guess rates and links."""
    metric = curves.keys["metric"].astype(str)
    brier = metric.str.contains("brier", case=False).to_numpy(dtype=bool)
    kind = curves.keys["metric_type"].astype(str).isin(["discontinuous", "unknown"])
    picks = kind.to_numpy(dtype=bool) & (known["low"] == 0).to_numpy(dtype=bool)
    curve: list[int] = []
    tried: list[tuple[float, Link]] = []
    for i in np.flatnonzero((problem == "") & (curves.ragged.lengths > 0)).tolist():
        own = slice(curves.offsets[i], curves.offsets[i + 1])
        found = nuisance_grid(
            value[own], trials[own],
            floor=floor[i], picks_choice=bool(picks[i]), is_brier=bool(brier[i]),
        )  # fmt: skip
        curve += [i] * len(found)
        tried += found
    of_row = np.array(curve, dtype=np.int64)
    point, ragged = curves.ragged.take(of_row)
    rows = MechanismCurves.checked(
        value[point], curves.x[point], trials[point], ragged.offsets,
        floor=np.array([rate for rate, _ in tried], dtype=float),
        link=[link for _, link in tried],
    )  # fmt: skip
    return NullInputs(
        rows=rows, curve=of_row, floor_source=source, problem=problem,
        unit=tuple(unit[i] for i in curve),
    )  # fmt: skip


def nuisance_grid(
    y: Floats,
    trials: Floats,
    *,
    floor: float,
    picks_choice: bool,
    is_brier: bool,
) -> list[tuple[float, Link]]:
    """Return the pairs of guess rate and link that one curve may have.

    Where a choice is picked, questions may be more or less alike: besides ``share`` there are the
    grades of all :data:`CONCENTRATIONS`, with as many choices as the guess rate says, and for Brier
    scores the links of such questions. Scores clearly below the guess rate come from models that
    are misled: then guess rates of zero and of the lowest score are tried as well.

    Args:
        y: Scores as proportions, up is better, at least one.
        trials: Examples behind each.
        floor: Guess rate as a proportion; NaN where it is not known.
        picks_choice: Whether the metric is, or may be, that a choice has the largest mass.
        is_brier: Whether the metric is a Brier score.

    Examples:
        >>> y, trials = np.array([0.24, 0.3, 0.5]), np.full(3, 200.0)
        >>> len(nuisance_grid(y, trials, floor=0.25, picks_choice=True, is_brier=False))
        3
        >>> plain = nuisance_grid(y, trials, floor=0, picks_choice=False, is_brier=False)
        >>> [(rate, link.kind) for rate, link in plain]
        [(0, 'share')]
    """
    lowest, top = float(y.min()), float(y.max())
    if np.isnan(floor):
        floors, misled = {*GUESS_RATES, lowest}, False
    else:
        error = np.sqrt(np.maximum(floor * (1 - floor), 0.0) / trials)
        misled = bool(np.any(y < floor - _BELOW * error))
        floors = {floor, 0.0, lowest} if misled else {floor}
        if misled and is_brier and floor > 0.5:
            # All mass on the others of K choices: 1 - K / (2 (K - 1)), with K from the floor.
            floors.add(max(1 - 0.5 / (2 - 2 * floor), 0.0))
    found = [(rate, SHARE) for rate in sorted(floors)]
    if is_brier:
        found = [(rate, link) for rate in sorted(floors) for link in (BRIER, SHARE)]
        if not np.isnan(floor):
            # Sure models that know nothing are worse than guessing.
            found += [
                (max(1 - (1 - floor) * (1 + 1 / (one + 1)), 0.0), brier(one))
                for one in (_UNLIKE, *CONCENTRATIONS)
            ]
    elif picks_choice:
        chances = [
            rate for rate in (GUESS_RATES if np.isnan(floor) else (floor,)) if 0 < rate < 0.6
        ]
        found += [
            (rate, grade(round(1 / rate), concentration))
            for rate in chances
            for concentration in CONCENTRATIONS
        ]
        found += [
            (0.0, grade(round(1 / rate), concentration, from_chance=False))
            for rate in (chances if misled else [])
            for concentration in CONCENTRATIONS
        ]
    return [(rate, link) for rate, link in found if rate < top] or [(0.0, SHARE)]
