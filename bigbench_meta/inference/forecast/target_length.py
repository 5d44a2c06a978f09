"""How many units a target has, by what smooth and sharp scores of the same models say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Sharp", "length_doubt", "target_length", "unit"]

# Lengths that are tried: greedy decoding can be right more often than the probability of its text.
_SHORTEST: Final = 0.02
_LONGEST: Final = 5000.0
_NODES: Final = 121
_ZOOMS: Final = 6
# Drop in -2 ln L at the ends of a 95% profile interval.
_CHI_SQUARED: Final = 3.841458820694124
# Half the step in the logarithm of a length by which misfit is differentiated.
_NUDGE: Final = 1e-4


def unit(smooth: Floats, counts: NDArray[np.bool_], length: Floats) -> Floats:
    """Return the probability of a unit, NaN where it is none."""
    p = np.where(counts, 1 - smooth / length, smooth)
    return np.where((p >= 0) & (p <= 1), p, np.nan)


@dataclass(frozen=True)
class Sharp:
    """Sharp and smooth scores of the same models, point by point."""

    p: Floats
    smooth: Floats
    counts: NDArray[np.bool_]
    variance: Floats
    part: Ints
    m: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the variances of all points of a part are known."""
        return np.asarray(np.bincount(self.part[np.isnan(self.variance)], minlength=self.m) == 0)

    @property
    def points(self) -> Ints:
        """Points of each part."""
        return np.bincount(self.part, minlength=self.m)

    def residual(self, length: Floats) -> Floats:
        """Return sharp scores less those that smooth ones give, at a length for each point."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return np.asarray(self.p - unit(self.smooth, self.counts, length) ** length)

    def sums(self, values: Floats) -> Floats:
        """Return the weighted sum of a value of each point over each part."""
        weight = np.where(self.known[self.part], 1 / self.variance, 1.0)
        return np.bincount(self.part, weight * values, self.m).astype(np.float64)


def length_doubt(
    sharp: Sharp, length: Floats, *, estimated: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return how sharp scores scatter about smooth ones, and the variance of ln L.

    The scatter is a factor of the sampling variance, at least 1, or where that is not known a
    variance. A length that was given has no variance.
    """
    at = length[sharp.part]
    points = np.maximum(sharp.points - estimated, 1)
    scatter = sharp.sums(sharp.residual(at) ** 2) / points
    scatter = np.where(sharp.known, np.fmax(scatter, 1.0), scatter)
    here, longer, shorter = (sharp.residual(at * np.exp(by)) for by in (0, _NUDGE, -_NUDGE))
    # No target is shorter than its wrong units: at that length there is a derivative to one side.
    slope = np.where(np.isnan(shorter), longer - here, (longer - shorter) / 2) / _NUDGE
    with np.errstate(divide="ignore", invalid="ignore"):
        return scatter, np.where(estimated, scatter / sharp.sums(slope**2), 0.0)


def target_length(sharp: Sharp) -> Floats:
    """Return the length with which smooth scores give sharp ones best, NaN if undetermined."""
    m = sharp.m
    low, high = np.full(m, np.log(_SHORTEST)), np.full(m, np.log(_LONGEST))
    best = np.full(m, np.nan)
    determined = np.zeros(m, dtype=bool)
    for zoom in range(_ZOOMS):
        nodes = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, _NODES)
        rss = _misfit(sharp, np.exp(nodes))
        at = np.where(np.isnan(rss), np.inf, rss).argmin(axis=1)
        least = np.take_along_axis(rss, at[:, None], axis=1)[:, 0]
        if zoom == 0:
            determined = _bounded(rss, least, sharp.points, sharp.known)
        best = np.take_along_axis(nodes, at[:, None], axis=1)[:, 0]
        step = (high - low) / (_NODES - 1)
        low, high = best - step, best + step
    return np.where(determined, np.exp(best), np.nan)


def _misfit(sharp: Sharp, lengths: Floats) -> Floats:
    """Return the weighted sum of squares of each part at each of its lengths, (m, nodes)."""
    return np.stack(
        [sharp.sums(sharp.residual(length[sharp.part]) ** 2) for length in lengths.T], axis=1
    )


def _bounded(
    rss: Floats, least: Floats, points: Ints, known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether both ends of the range of lengths are worse than chance would make them."""
    scatter = least / np.maximum(points - 1, 1)
    scatter = np.where(known, np.maximum(scatter, 1.0), scatter)
    limit = least + _CHI_SQUARED * scatter
    # Lengths that the smooth scores exclude (more edits than tokens) are worse than any.
    ends = np.where(np.isnan(rss[:, [0, -1]]), np.inf, rss[:, [0, -1]])
    return np.asarray((points >= 2) & np.isfinite(least) & (ends > limit[:, None]).all(axis=1))
