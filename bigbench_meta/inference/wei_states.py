"""Is a score above, at or below chance, and what do the states of a curve say together?

Arrays are matrices of m curves of one length k, by ascending scale. Every test comes down to limits
of the value that was observed (a count of right answers, or a score where only its standard error
is known), so that the states of a resample follow from the places of its limits in the resampling
distribution: no value has to be drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr, ndtri

from bigbench_meta.inference.binomial import at_least, critical_count, near_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Codes = NDArray[np.int8]

__all__ = [
    "ABOVE",
    "AT_CHANCE",
    "BELOW",
    "CANNOT_TELL",
    "CHANCE_UNKNOWN",
    "EMERGENT",
    "N_UNKNOWN",
    "REASONS",
    "STATES",
    "TOO_FEW_SCALES",
    "VERDICTS",
    "VERDICT_OF",
    "Limits",
    "Points",
    "holm",
    "judge",
    "limits",
    "p_values",
    "places",
    "states",
]

STATES: Final = ("cannot_tell", "below_chance", "at_chance", "above_chance")
CANNOT_TELL, BELOW, AT_CHANCE, ABOVE = range(4)

VERDICTS: Final = ("no", "yes", "cannot_tell")
NO, YES, UNDECIDED = range(3)

REASONS: Final = (
    "emergent",
    "never_above",
    "not_persistent",
    "above_at_smallest",
    "unclear_at_largest",
    "too_few_at_chance",
    "too_few_scales",
    "n_unknown",
    "chance_unknown",
)
"""Why a verdict is what it is; the last three say that there was nothing to judge."""

(EMERGENT, NEVER_ABOVE, NOT_PERSISTENT, ABOVE_AT_SMALLEST, UNCLEAR_AT_LARGEST, TOO_FEW_AT_CHANCE,
 TOO_FEW_SCALES, N_UNKNOWN, CHANCE_UNKNOWN) = range(9)  # fmt: skip
VERDICT_OF: Final = np.array([YES, *[NO] * 3, *[UNDECIDED] * 5], dtype=np.int8)


@dataclass(frozen=True, kw_only=True)
class Points:
    """What was observed at each point, and what it is held against; arrays of one shape.

    Attributes:
        proportion: Score in [0, 1].
        n: Number of examples, NaN where not known.
        stderr: Standard error of the proportion, used where n is not known; NaN or 0 say nothing.
        chance: Proportion that chance gives.
        null: Proportion that "above" has to exceed.
    """

    proportion: Floats
    n: Floats
    stderr: Floats
    chance: Floats
    null: Floats

    def take(self, places: Ints) -> Points:
        """Return the points at the places of a matrix."""
        return Points(**{field.name: getattr(self, field.name)[places] for field in fields(self)})

    @property
    def is_count(self) -> NDArray[np.bool_]:
        """Where the number of examples is known, so that tests are exact."""
        return ~np.isnan(self.proportion + self.n + self.chance)

    @property
    def is_normal(self) -> NDArray[np.bool_]:
        """Where a standard error alone is known. A standard error of 0 is that of 0/n or n/n."""
        known = ~np.isnan(self.proportion + self.chance) & (self.stderr > 0)
        return known & ~self.is_count & np.isfinite(self.stderr)

    @property
    def value(self) -> Floats:
        """Count of right answers, or the proportion where n is not known."""
        count = near_whole(self.proportion * self.n)
        return np.where(self.is_count, count, self.proportion)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where there is a test at all."""
        return self.is_count | self.is_normal


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the value between states; NaN where there is no test.

    Attributes:
        above: Smallest value that rejects at alpha / r, for r from 1 to k; shape (m, k, k).
        at_first: Smallest value that is not too small to be at chance; shape (m, k).
        at_last: Largest value that is not too large to be at chance.
        below_last: Largest value that shows less than chance.
    """

    above: Floats
    at_first: Floats
    at_last: Floats
    below_last: Floats

    def take(self, rows: slice) -> Limits:
        """Return the limits of some curves, with an axis for resamples before that of scales."""
        return Limits(
            **{field.name: getattr(self, field.name)[rows, None] for field in fields(self)}
        )


def limits(points: Points, *, alpha: float, margin: float) -> Limits:
    """Return the limits between the states of each point.

    Above chance is a one-sided test against ``null``, at alpha over the number of hypotheses that
    Holm's procedure has left. At chance are two one-sided tests at alpha, of chance - margin and of
    chance + margin; each is passed from the start where its end is outside of [0, 1].
    """
    n_levels = points.n.shape[1]
    levels = alpha / np.arange(1, n_levels + 1)
    columns = np.column_stack(
        [np.ravel(a) for a in (np.where(points.is_count, points.n, np.nan), points.chance,
                               points.null)]
    )  # fmt: skip
    unique, inverse = np.unique(columns, axis=0, return_inverse=True)
    exact = _count_limits(*unique.T, levels=levels, margin=margin)
    shape, back = points.n.shape, inverse.reshape(-1)
    normal = _normal_limits(points, levels=levels, margin=margin)
    names = ("above", "at_first", "at_last", "below_last")

    def chosen(name: str) -> Floats:
        whole = exact[name][back].reshape(*shape, *exact[name].shape[1:])
        is_count = points.is_count.reshape(*shape, *(1,) * (whole.ndim - 2))
        return np.where(is_count, whole, normal[name])

    return Limits(**{name: chosen(name) for name in names})


def _count_limits(
    n: Floats, chance: Floats, null: Floats, *, levels: Floats, margin: float
) -> dict[str, Floats]:
    alpha = levels[0]
    floor, ceiling = chance - margin, chance + margin
    # At most c right answers are at least n - c wrong ones.
    too_few = critical_count(n, np.clip(1 - ceiling, 0, 1), alpha)
    return {
        "above": critical_count(n[:, None], null[:, None], levels),
        "at_first": np.where(floor <= 0, 0.0, critical_count(n, np.clip(floor, 0, 1), alpha)),
        "at_last": np.where(ceiling >= 1, n, n - too_few),
        "below_last": n - critical_count(n, 1 - chance, alpha),
    }


def _normal_limits(points: Points, *, levels: Floats, margin: float) -> dict[str, Floats]:
    stderr = np.where(points.is_normal, points.stderr, np.nan)
    floor, ceiling = points.chance - margin, points.chance + margin
    width = -ndtri(levels[0]) * stderr
    return {
        "above": points.null[..., None] - ndtri(levels) * stderr[..., None],
        "at_first": np.where(floor <= 0, -np.inf, floor) + width,
        "at_last": np.where(ceiling >= 1, np.inf, ceiling) - width,
        "below_last": points.chance - width,
    }


def places(points: Points, limit: Limits) -> Limits:
    """Return the share of resamples below each limit (up to it, for the largest values).

    A resample is binomial with rate (x + 1/2) / (n + 1), which is never 0 or 1: no examples right
    out of n do not show that the next n will have none. Without n it is normal.
    """
    count, n = points.is_count, points.n
    rate = (points.proportion * n + 0.5) / (n + 1)

    def place(values: Floats, more: float) -> Floats:
        axes = (..., *(None,) * (values.ndim - 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (values - points.proportion[axes]) / points.stderr[axes]
        whole = 1 - at_least(values + more, n[axes], rate[axes])
        return np.where(count[axes], whole, ndtr(z))

    return Limits(
        above=place(limit.above, 0.0),
        at_first=place(limit.at_first, 0.0),
        at_last=place(limit.at_last, 1.0),
        below_last=place(limit.below_last, 1.0),
    )


def states(value: Floats, limit: Limits, known: NDArray[np.bool_]) -> Codes:
    """Return the state of each point: index into :data:`STATES`.

    Args:
        value: Observed values, shape (m, k), or the places of resampled ones, shape (m, b, k) with
            limits and ``known`` of shapes that fit.
        limit: Limits, or their places.
        known: Where there is a test.
    """
    level = np.zeros(np.broadcast_shapes(value.shape, known.shape), dtype=np.int16)
    for number in range(limit.above.shape[-1]):
        level += value >= limit.above[..., number]
    at = (value >= limit.at_first) & (value <= limit.at_last)
    state = np.where(at, AT_CHANCE, np.where(value <= limit.below_last, BELOW, CANNOT_TELL))
    return np.where(_step_down(level, known), ABOVE, state).astype(np.int8)


def _step_down(level: NDArray[np.int16], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what Holm's procedure rejects, given the largest r with p <= alpha / r of each point.

    The j-th smallest of m p-values is rejected while p <= alpha / (m - j + 1). The first that is
    not has a smaller r than all before it.
    """
    n_tests = known.sum(axis=-1, keepdims=True)
    passed = -np.sort(-level, axis=-1) >= n_tests - np.arange(level.shape[-1])  # m - j + 1
    n_rejected = np.logical_and.accumulate(passed, axis=-1).sum(axis=-1, keepdims=True)
    rejected: NDArray[np.bool_] = known & (level > n_tests - n_rejected)
    return rejected


def judge(state: Codes, min_at_chance: int) -> tuple[Codes, Ints]:
    """Return the reason, and the start of the last run above chance, of states (..., k).

    The start is k where the largest scale is not above chance.
    """
    above, absent = state == ABOVE, (state == AT_CHANCE) | (state == BELOW)
    n_last = np.logical_and.accumulate(above[..., ::-1], axis=-1).sum(axis=-1)
    gone_again = (np.logical_or.accumulate(above, axis=-1) & absent).any(axis=-1)
    reason = np.select(
        [
            gone_again,
            absent[..., -1],
            above[..., 0],
            ~above[..., -1],
            absent.sum(axis=-1) >= min_at_chance,
        ],
        [NOT_PERSISTENT, NEVER_ABOVE, ABOVE_AT_SMALLEST, UNCLEAR_AT_LARGEST, EMERGENT],
        TOO_FEW_AT_CHANCE,
    )
    return reason.astype(np.int8), state.shape[-1] - n_last


def p_values(points: Points) -> Floats:
    """Return the one-sided p-value of each point against its null; NaN where there is no test."""
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = ndtr((points.null - points.proportion) / points.stderr)
    exact = at_least(np.floor(points.value), points.n, points.null)
    return np.where(points.is_count, exact, np.where(points.is_normal, normal, np.nan))


def holm(p: Floats) -> Floats:
    """Return p-values adjusted by Holm's procedure within each row; NaN are no hypotheses.

    References:
        Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
        Journal of Statistics 6, 65-70.

    Examples:
        >>> holm(np.array([[0.01, np.nan, 0.04, 0.03]]))
        array([[0.03,  nan, 0.06, 0.06]])
    """
    order = np.argsort(p, axis=1)  # NaN last
    left = (~np.isnan(p)).sum(axis=1, keepdims=True) - np.arange(p.shape[1])
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, axis=1) * left, axis=1)
    result = np.empty_like(p)
    np.put_along_axis(result, order, np.minimum(adjusted, 1.0), axis=1)
    return result
