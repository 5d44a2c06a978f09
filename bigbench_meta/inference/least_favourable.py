"""Curves that may lie behind a noisy one: its steps or its bends made smaller and larger.

An interval by inversion of tests asks for every value of a statistic whether data like the observed
ones would be usual if it were true, and that takes a whole curve of expected scores with that
value. Two families hold them, one parameter each, and leave the rest of a curve as it was seen.

References:
    DiCiccio & Romano (1990), "Nonparametric confidence limits by resampling methods and least
    favorable families", doi:10.2307/1403474. Carpenter (1999), "Test inversion bootstrap confidence
    intervals", doi:10.1111/1467-9868.00169.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

from bigbench_meta.inference.replicates import of_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["BendWorlds", "StepWorlds", "pooled"]

# How often steps are looked at again after others have been set: joining points moves neighbours.
_ROUNDS: Final = 4
_TINY: Final = 1e-300
# Digits of steps that count, in units of the range.
_DIGITS: Final = 9


@dataclass(frozen=True, kw_only=True)
class StepWorlds:
    """Curves whose middle step is given.

    For a middle step below that of the centre, the smaller half of the steps are cut down to it;
    for one above, the larger half are raised to it. Points between such steps move together, to
    where they fit the centre best.

    Attributes:
        centre: Scores, shape (curves, scales).
        weight: One over the variance of each.
        low: Least possible scores, shape (curves, 1).
        high: Largest possible scores.
    """

    centre: Floats
    weight: Floats
    low: Floats
    high: Floats

    def take(self, rows: Ints) -> StepWorlds:
        """Return the families of some curves."""
        return StepWorlds(
            centre=self.centre[rows], weight=self.weight[rows], low=self.low[rows],
            high=self.high[rows],
        )  # fmt: skip

    def at(self, step: Floats) -> Floats:
        """Return the curve with a middle step, one a curve, shape (curves, scales)."""
        steps = np.diff(self.centre, axis=1)
        size, n = np.abs(steps), steps.shape[1]
        # Steps equal up to rounding are in the order of the scales.
        rank = size.round(_DIGITS).argsort(axis=1, kind="stable").argsort(axis=1)
        down = (step <= np.sqrt(of_rows(self.centre).middle))[:, None]
        chosen = np.where(down, rank <= n // 2, rank >= (n - 1) // 2)
        target = np.where(steps < 0, -step[:, None], step[:, None])
        fixed, curve = np.zeros_like(chosen), self.centre
        for _ in range(_ROUNDS):
            # Along the observed direction of each step; one that has turned is beyond its target.
            now = np.diff(curve, axis=1)
            along = np.where(steps < 0, -now, now)
            beyond = np.where(down, np.abs(now) > step[:, None], along < step[:, None])
            fixed = fixed | (chosen & beyond)
            curve = self._joined(fixed, target)
        return curve

    def _joined(self, fixed: Bools, target: Floats) -> Floats:
        """Return the curve nearest to the centre with the fixed steps, within the limits."""
        m, n = self.centre.shape
        group = _groups(fixed)
        climbed = np.zeros((m, n))
        np.cumsum(np.where(fixed, target, 0.0), axis=1, out=climbed[:, 1:])
        # Steps that the limits have no room for are cut, all alike.
        least, most = _group_ends(climbed, group)
        room = (self.high - self.low) / np.maximum(most - least, _TINY)
        climbed *= np.minimum(room.min(axis=1, keepdims=True), 1.0)
        curve = climbed + _group_means(self.centre - climbed, self.weight, group)
        # A group that has left the limits is moved as a whole, so that its steps remain.
        least, most = _group_ends(curve, group)
        curve += np.maximum(self.low - least, 0.0) - np.maximum(most - self.high, 0.0)
        return np.clip(curve, self.low, self.high)


class BendWorlds:
    """Curves between the straightest one of the same range and one with larger bends.

    Attributes:
        observed: Parameter of the centre itself.
        reach: About how many units of the parameter the noise is worth.

    Args:
        centre: Scores without their insignificant steps, see :func:`pooled`.
        error: Standard errors, shape (curves, scales).
        low: Least possible scores, shape (curves, 1).
        high: Largest possible scores.
    """

    def __init__(self, centre: Floats, error: Floats, low: Floats, high: Floats) -> None:
        m, n = centre.shape
        rows, scale = np.arange(m), np.arange(n)
        ends = np.sort(np.stack([centre.argmin(axis=1), centre.argmax(axis=1)]), axis=0)
        first, last = centre[rows, ends[0]], centre[rows, ends[1]]
        way = (scale - ends[0][:, None]) / np.maximum(ends[1] - ends[0], 1)[:, None]
        self._line = first[:, None] + (last - first)[:, None] * np.clip(way, 0, 1)
        bends = centre - self._line
        unit = np.sqrt(np.mean(error**2, axis=1))
        size = np.sqrt(np.mean(bends**2, axis=1))
        # A straight centre has no bends to make larger: then alternate ones.
        straight = size < 1e-3 * unit
        zigzag = np.where(scale % 2, 1.0, -1.0)
        shape = np.where(straight[:, None], zigzag, bends / np.where(straight, 1.0, size)[:, None])
        self._bends = shape * unit[:, None]
        self._low, self._high = low, high
        self.observed: Floats = size / unit
        self.reach: Floats = error.max(axis=1) / unit

    def at(self, amount: Floats) -> Floats:
        """Return the curve with an amount of bends, in standard errors, one a curve."""
        curve: Floats = np.clip(self._line + amount[:, None] * self._bends, self._low, self._high)
        return curve


def pooled(centre: Floats, weight: Floats, level: float) -> Floats:
    """Return curves without steps that the noise explains.

    Neighbours are joined to their mean, the two least different first, until all that remain differ
    significantly, by Bonferroni's correction for the number of steps.

    Args:
        centre: Scores, shape (curves, scales).
        weight: One over the variance of each.
        level: Level of significance of a curve.

    Examples:
        >>> y = np.array([[0.10, 0.12, 0.11, 0.90, 0.88]])
        >>> pooled(y, np.full((1, 5), 1 / 0.02**2), 0.05).round(2)
        array([[0.11, 0.11, 0.11, 0.89, 0.89]])
    """
    m, n = centre.shape
    limit = -float(ndtri(level / 2 / (n - 1)))
    joined, rows, curve = np.zeros((m, n - 1), dtype=bool), np.arange(m), centre
    for _ in range(n - 1):
        group = _groups(joined)
        total = np.bincount(group, weight.ravel(), minlength=m * n)[group].reshape(m, n)
        curve = _group_means(centre, weight, group)
        apart = np.abs(np.diff(curve, axis=1)) / np.sqrt(1 / total[:, 1:] + 1 / total[:, :-1])
        apart[joined] = np.inf
        nearest = apart.argmin(axis=1)
        near = apart[rows, nearest] < limit
        if not near.any():
            return curve
        joined[rows[near], nearest[near]] = True
    return _group_means(centre, weight, _groups(joined))


def _groups(joined: Bools) -> Ints:
    """Return the number of the group of each point, flat, from whether neighbours are joined."""
    m, steps = joined.shape
    group = np.zeros((m, steps + 1), dtype=np.int64)
    np.cumsum(~joined, axis=1, out=group[:, 1:])
    group += np.arange(m)[:, None] * (steps + 1)
    return group.ravel()


def _group_ends(values: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Return the least and the largest value in the group of each point."""
    least, most = np.full(values.size, np.inf), np.full(values.size, -np.inf)
    np.minimum.at(least, group, values.ravel())
    np.maximum.at(most, group, values.ravel())
    return least[group].reshape(values.shape), most[group].reshape(values.shape)


def _group_means(values: Floats, weight: Floats, group: Ints) -> Floats:
    total = np.bincount(group, weight.ravel(), minlength=values.size)
    summed = np.bincount(group, (weight * values).ravel(), minlength=values.size)
    means: Floats = (summed[group] / total[group]).reshape(values.shape)
    return means
