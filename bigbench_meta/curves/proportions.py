"""Curves as proportions: which scores are means over examples, their chance level and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.binomial import Interval, clopper_pearson, known_size
from bigbench_meta.core.checks import one_a_curve, within
from bigbench_meta.core.errors import InputError
from bigbench_meta.curves.units import ROUNDING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Names = NDArray[np.object_]

__all__ = ["Proportions", "proportions", "score_intervals"]

_OUTSIDE: Final = "score_out_of_range"


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Scores as proportions in [0, 1] of which up is better.

    Attributes:
        curve: Row in ``curves.keys`` of each point.
        proportion: Of each point; NaN on curves that are none.
        stderr: Standard error of each proportion, NaN where not given.
        n_examples: Examples behind each point, NaN where not known.
        worst: Score that is proportion 0, of each curve, in the unit of the file.
        best: Score that is proportion 1.
        chance: Proportion that chance gives, of each curve; NaN where not known.
        chance_source: ``given``, ``low_score``, ``choices``, ``floor`` or ``unknown``.
        problem: ``not_a_proportion``, ``score_out_of_range`` or empty, of each curve.
    """

    curve: NDArray[np.int64]
    proportion: Floats
    stderr: Floats
    n_examples: Floats
    worst: Floats
    best: Floats
    chance: Floats
    chance_source: Names
    problem: Names

    def point_scores(self, proportion: Floats) -> Floats:
        """Return proportions, one a point, in the unit of the file."""
        return self.worst[self.curve] + proportion * (self.best - self.worst)[self.curve]

    def curve_scores(self, proportion: Floats) -> Floats:
        """Return proportions, one a curve, in the unit of the file."""
        return self.worst + proportion * (self.best - self.worst)

    def intervals(self, confidence: float) -> Interval:
        """Return the interval of each proportion: exact, or normal where n is not known.

        Args:
            confidence: In (0, 1).
        """
        size = self.n_examples
        exact = clopper_pearson(self.proportion * size, size, confidence=confidence)
        # The standard error of 0/n and of n/n is 0, which is not their error.
        stderr = np.where(self.stderr > 0, self.stderr, np.nan)
        width = -ndtri((1 - confidence) / 2) * stderr
        unknown = np.isnan(exact.low)
        return Interval(
            np.where(unknown, np.maximum(self.proportion - width, 0), exact.low),
            np.where(unknown, np.minimum(self.proportion + width, 1), exact.high),
        )

    def amount(self, difference: Floats) -> Floats:
        """Return differences of proportions, one a curve, in the unit of the file."""
        return difference * np.abs(self.best - self.worst)


def proportions(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
) -> Proportions:
    """Take the scores of curves as proportions where they are means over examples.

    A score is one where the catalog says that it is bounded and that one example can change it by
    the whole range over n (``step`` equal to ``high - low``). Chance is, in this order: ``chance``;
    the task's ``low_score``, which BIG-bench declares for the preferred metric and which for
    multiple choice is the mean of 1 / number of choices; 1 / ``n_choices`` on discontinuous
    metrics; 0 on nonlinear and linear metrics that begin at 0 and rise. A discontinuous or
    continuous metric without any of these has an unknown chance level.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default.
        chance: Chance level in the unit of the score, a number or one a curve, NaN for not given.
        n_choices: Number of choices, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none, a number or one a curve.

    Raises:
        InputError: An option of another shape, or no number in its range.
    """
    keys = curves.keys
    known = (catalog or metric_catalog()).lookup(keys[["benchmark", "task", "metric"]])
    low, high, step = (known[name].to_numpy(dtype=float) for name in ("low", "high", "step"))
    up = keys["higher_is_better"].to_numpy(dtype=bool)
    with np.errstate(invalid="ignore"):
        bounded = (high > low) & (np.abs(step - (high - low)) <= ROUNDING * (high - low))
    worst = np.where(bounded, np.where(up, low, high), np.nan)
    best = np.where(bounded, np.where(up, high, low), np.nan)
    curve = curves.ragged.curve
    value, outside = _within((curves.y - worst[curve]) / (best - worst)[curve])
    # A curve that mixes units has lost its points for it.
    out_of_range = curves.ragged.any(outside) | keys["mixed_units"].to_numpy(dtype=bool)
    value[out_of_range[curve]] = np.nan
    size = known_size(curves.n_examples)
    if n_examples is not None:
        given = known_size(one_a_curve(n_examples, len(curves), "n_examples"))
        size = np.where(np.isnan(size), given[curve], size)
    level, source = _chance(curves, worst, best, chance, n_choices)
    return Proportions(
        curve=curve,
        proportion=value,
        stderr=curves.stderr / np.abs(best - worst)[curve],
        n_examples=size,
        worst=worst,
        best=best,
        chance=level,
        chance_source=source,
        problem=np.select([~bounded, out_of_range], ["not_a_proportion", _OUTSIDE], "").astype(
            object
        ),
    )


def score_intervals(
    curves: Curves, *, confidence: float = 0.95, catalog: MetricCatalog | None = None
) -> tuple[Floats, Floats, Names]:
    """Return the interval of each score in its own unit, and where it comes from.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        confidence: In (0, 1).
        catalog: Metric catalog; the packaged one by default.

    Returns:
        Lower ends, upper ends, and ``exact``, ``normal`` or why there is none, as
        :meth:`bigbench_meta.Curves.points` says; one each a point.

    Raises:
        InputError: The confidence is no share.
    """
    shares = proportions(curves, catalog=catalog)
    ends = shares.intervals(confidence)
    low, high = shares.point_scores(ends.low), shares.point_scores(ends.high)
    low, high = np.fmin(low, high), np.fmax(low, high)
    # What is no mean over examples can still have a standard error.
    problem = shares.problem[shares.curve]
    error = np.where((curves.stderr > 0) & np.isnan(low), curves.stderr, np.nan)
    width = -ndtri((1 - confidence) / 2) * error
    normal = ~np.isnan(error)
    low, high = np.where(normal, curves.y - width, low), np.where(normal, curves.y + width, high)
    exact = ~np.isnan(low) & ~np.isnan(shares.n_examples) & ~normal
    reason = np.where(problem == "", "n_unknown", problem)
    source = np.select([exact, ~np.isnan(low)], ["exact", "normal"], reason)
    return low, high, source.astype(object)


def _within(proportion: Floats) -> tuple[Floats, Bools]:
    """Return proportions within [0, 1], and which are not even up to rounding."""
    outside = (proportion < -ROUNDING) | (proportion > 1 + ROUNDING)
    return np.clip(proportion, 0, 1), outside


def _chance(
    curves: Curves,
    worst: Floats,
    best: Floats,
    chance: ArrayLike | None,
    n_choices: ArrayLike | None,
) -> tuple[Floats, Names]:
    """Return the chance level of each curve as a proportion, and where it comes from."""
    keys, span = curves.keys, best - worst
    kind = keys["metric_type"].astype(str).to_numpy()
    rises = keys["higher_is_better"].to_numpy(dtype=bool)
    level, source = np.full(len(curves), np.nan), np.full(len(curves), "unknown", dtype=object)

    def fill(name: str, values: Floats) -> None:
        # A chance level of 1 or more leaves nothing to be better than: some other quantity.
        usable = np.isnan(level) & (values >= -ROUNDING) & (values < 1)
        level[usable] = np.maximum(values[usable], 0.0)
        source[usable] = name

    if chance is not None:
        given = (one_a_curve(chance, len(curves), "chance") - worst) / span
        if np.any((given < -ROUNDING) | (given >= 1)):
            wrong = (worst + given * span)[(given < -ROUNDING) | (given >= 1)][0]
            raise InputError(
                f"{wrong:g} is not a possible score of chance", where="chance",
                hint="in the unit of the score: 25 where scores are in percent",
            )  # fmt: skip
        fill("given", given)
    lowest, highest = (keys[name].to_numpy(dtype=float) for name in ("low_score", "high_score"))
    # Ends that are one are no range of scores, and then the lower one is no chance level.
    fill("low_score", (np.where(lowest == highest, np.nan, lowest) - worst) / span)
    if n_choices is not None:
        choices = within(n_choices, 2, np.inf, "n_choices")
        share = 1 / one_a_curve(choices, len(curves), "n_choices")
        fill("choices", np.where(kind == "discontinuous", share, np.nan))
    floor = np.isin(kind, ["nonlinear", "linear"]) & rises & (worst == 0)
    fill("floor", np.where(floor, 0.0, np.nan))
    return level, source
