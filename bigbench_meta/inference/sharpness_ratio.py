"""Intervals of the ratio of two curves' sharpness.

Two separate intervals, each with half of the error, give one that holds whatever the dependence.
Where both scores come from the same examples, their errors are correlated, and it is wider than
need be. Then, as for one curve (:mod:`bigbench_meta.inference.inversion`), a pair of values is kept
unless the observed ratio would be unusually large or small if it were true; the replicates of both
curves are of the same examples drawn anew, and the interval holds the ratios of all pairs kept.

References:
    Berger & Boos (1994), "P values maximized over a confidence set for the nuisance parameter",
    doi:10.1080/01621459.1994.10476836. Carpenter (1999), doi:10.1111/1467-9868.00169.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.curves.step_statistics import signed_range
from bigbench_meta.inference.inversion import StepFamily
from bigbench_meta.inference.resampling import of_curves, of_scales
from bigbench_meta.inference.sharpness import Sharpness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.resampling import StepStatistics

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["JointCurve", "log_ratio_interval", "separate_log_ratio"]

# Median steps tried of each curve, and how far beyond the observed one, in standard errors.
_GRID: Final = 33
_REACH: Final = 6.0
# Of the error of an end, the share that excludes implausible values of each curve by itself.
_SINGLE_SHARE: Final = 0.4
_LEAST_ERROR: Final = 1e-9


def separate_log_ratio(first: Sharpness, second: Sharpness) -> Sharpness:
    """Return the logarithm of the ratio of sizes, with an interval that needs no independence."""
    with np.errstate(divide="ignore", invalid="ignore"):
        (small, large), (other_small, other_large) = (
            (np.log(low), np.log(high)) for low, high in (first.sizes(), second.sizes())
        )
        value = np.log(np.abs(second.value)) - np.log(np.abs(first.value))
        low, high = other_small - large, other_large - small
    # Infinite less infinite: nothing is known.
    known = ~np.isnan(first.low + second.low)
    return Sharpness(
        value=value,
        low=np.where(known & np.isnan(low), -np.inf, low),
        high=np.where(known & np.isnan(high), np.inf, high),
    )


@dataclass(frozen=True, kw_only=True)
class JointCurve:
    """A curve with replicated errors; replicate b of two curves is of the same examples.

    Attributes:
        y: Scores, up is better, not all alike, shape (scales,).
        errors: Errors of the replicates, shape (scales, B), not all 0 at any scale.
        low: Least possible score.
        high: Largest possible score.
        resolution: The least median step that counts; 0 for none.
    """

    y: Floats
    errors: Floats
    low: float
    high: float
    resolution: float


def log_ratio_interval(
    first: JointCurve, second: JointCurve, *, level: float
) -> tuple[float, float]:
    """Return an interval of the logarithm of the second sharpness over the first, without signs.

    Sharpness is the range over the root median squared step, which is at least the resolution.

    Args:
        first: A curve.
        second: A curve of as many replicates.
        level: Confidence.

    Returns:
        Both ends, which may be infinite; NaN where no pair of values is plausible.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> errors = 0.01 * rng.standard_normal((6, 499))
        >>> line, bend = np.linspace(0, 1, 6), np.array([0, 0.01, 0.02, 0.03, 0.05, 1])
        >>> curves = [JointCurve(y=y, errors=errors, low=-9, high=9, resolution=0.01)
        ...           for y in (line, bend)]
        >>> low, high = log_ratio_interval(*curves, level=0.95)
        >>> 1 < low < high
        True
    """
    tail = (1 - level) / 2
    single_tail = _SINGLE_SHARE * tail
    sides = [_replicated(curve, single_tail) for curve in (first, second)]
    observed = sides[1].observed - sides[0].observed
    kept = np.zeros((_GRID, _GRID), dtype=bool)
    plausible = [side.plausible(single_tail) for side in sides]
    joint_tail = (1 - 2 * _SINGLE_SHARE) * tail
    for place in np.flatnonzero(plausible[0]).tolist():
        with np.errstate(invalid="ignore"):
            ratio = sides[1].replicates - sides[0].replicates[place]
        # Infinite less infinite is neither large nor small.
        large = ~(ratio < observed - _LEAST_ERROR)
        small = ~(ratio > observed + _LEAST_ERROR)
        usual = np.minimum(large.mean(axis=1), small.mean(axis=1)) >= joint_tail
        kept[place] = usual & plausible[1]
    if not kept.any():
        return np.nan, np.nan
    with np.errstate(invalid="ignore"):
        true = sides[1].true[None, :] - sides[0].true[:, None]
    ratios = true[_widened(kept)]
    if np.isnan(ratios).any():
        return -np.inf, np.inf
    return float(ratios.min()), float(ratios.max())


@dataclass(frozen=True, kw_only=True)
class _Replicated:
    """Logarithms of sharpness: of the observed curve, of a grid of true ones, of replicates."""

    observed: float
    true: Floats
    replicates: Floats

    def plausible(self, tail: float) -> Bools:
        """Return which true curves do not make the observed one rare."""
        large = (self.replicates >= self.observed - _LEAST_ERROR).mean(axis=1)
        small = (self.replicates <= self.observed + _LEAST_ERROR).mean(axis=1)
        return np.asarray(np.minimum(large, small) >= tail)


def _replicated(curve: JointCurve, tail: float) -> _Replicated:
    """Return replicates on a grid over the plausible median steps, found on a coarser one."""
    unit = abs(float(signed_range([value[None] for value in curve.y])[0]))
    low, high = ((end - curve.y[0]) / unit for end in (curve.low, curve.high))
    centre, errors = (curve.y - curve.y[0])[None] / unit, curve.errors / unit
    spread = np.maximum(errors.std(axis=1), _LEAST_ERROR)[None]
    least = curve.resolution / unit
    family = StepFamily(
        np.repeat(centre, _GRID, axis=0), np.repeat(spread, _GRID, axis=0),
        np.full((_GRID, 1), low), np.full((_GRID, 1), high),
    )  # fmt: skip

    def about(roots: Floats) -> _Replicated:
        curves = family.at(roots**2)
        by_scale = [
            np.clip(mean[:, None] + own, low, high)
            for mean, own in zip(curves.T, errors, strict=True)
        ]
        return _Replicated(
            observed=float(_log_sharpness(of_curves(centre), least)[0]),
            true=_log_sharpness(of_curves(curves), least),
            replicates=_log_sharpness(of_scales(by_scale), least),
        )

    # Finer near 0.
    roots = np.linspace(0, np.sqrt(family.observed[0] + _REACH * family.error[0]), _GRID)
    coarse = about(roots)
    places = np.flatnonzero(coarse.plausible(tail))
    if not len(places):
        return coarse
    first, last = max(places[0] - 1, 0), min(places[-1] + 1, _GRID - 1)
    return about(np.linspace(roots[first], roots[last], _GRID))


def _log_sharpness(found: StepStatistics, least: float) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.maximum(found.denominator("median"), least)
        return np.asarray(np.log(np.abs(found.ranges)) - np.log(step))


def _widened(kept: Bools) -> Bools:
    """Return a mask with its neighbours on the grid: the ends lie between grid points."""
    padded = np.pad(kept, 1)
    n, m = kept.shape
    shifted = [padded[i : i + n, j : j + m] for i in range(3) for j in range(3)]
    return np.asarray(np.any(shifted, axis=0))
