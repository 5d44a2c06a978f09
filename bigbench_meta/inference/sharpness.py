"""How sharp curves are when steps below the resolution of their test set do not count.

A step smaller than the most that one example can change a score says nothing, so the median step is
taken to be at least that large. The interval is that of the emergence score by inversion
(:mod:`bigbench_meta.inference.inversion`), limited by bounds of range over resolution.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, eq. 1 and App. A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

from bigbench_meta.inference.inversion import inverted_intervals

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.uncertainty import SamplingErrors

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Sharpness", "score_range", "sharpness_intervals"]

# Of the error of an upper end, the share that goes to the range.
_RANGE_SHARE: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """E / (n - 1) of curves with its interval; NaN where it is not known.

    Attributes:
        value: Of the observed scores.
        low: Lower end, with the sign of the direction.
        high: Upper end.
    """

    value: Floats
    low: Floats
    high: Floats

    def of(self, rows: Ints) -> Sharpness:
        """Return that of some curves."""
        return Sharpness(value=self.value[rows], low=self.low[rows], high=self.high[rows])

    def sizes(self) -> tuple[Floats, Floats]:
        """Return both ends without signs: from 0 on where the direction is not certain."""
        small, large = np.abs(self.low), np.abs(self.high)
        either = (self.low < 0) & (self.high > 0)
        return np.where(either, 0.0, np.fmin(small, large)), np.fmax(small, large)


def sharpness_intervals(
    curves: Curves, scores: pd.DataFrame, errors: SamplingErrors, tail: float, n_boot: int,
    seed: int, min_scales: int,
) -> tuple[Sharpness, Sharpness]:  # fmt: skip
    """Return the sharpness of curves, as it is and limited by the resolution where that is known.

    Each end is wrong at most with the probability ``tail``. The least of two lower bounds is one at
    the same level; a limited upper end is too low if that of E or that of the range is, so that
    their errors add up.

    Args:
        curves: The curves.
        scores: What :func:`bigbench_meta.score_curves` returns for them.
        errors: Their sampling errors.
        tail: Probability with which an end is wrong, in (0, 1/2).
        n_boot: Replicates of each interval.
        seed: Of the random numbers.
        min_scales: Curves with fewer points have no interval.
    """
    of_range = _RANGE_SHARE * tail
    of_score = tail - of_range
    found = inverted_intervals(
        errors.values, curves.offsets, errors.noise, level=1 - 2 * of_score, threshold=0.0,
        n_boot=n_boot, seed=seed, min_scales=min_scales, errors=errors.resampled,
    )  # fmt: skip
    steps = np.maximum(curves.ragged.lengths - 1, 1)
    score = scores["emergence_score"].to_numpy(dtype=float)
    low, high = found.emergence.T / steps
    plain = Sharpness(value=score / steps, low=low, high=high)
    resolution = scores["resolution"].to_numpy(dtype=float)
    # Errors are in units of the proportion, the resolution in those of the file.
    extent = np.subtract(
        *(curves.ragged.reduce(most, errors.values) for most in (np.maximum, np.minimum))
    )
    unit = score_range(scores) / np.where(extent > 0, extent, np.nan) / resolution / steps
    small, large = (
        np.fmin(end, bound * unit)
        for end, bound in zip(
            plain.sizes(), _range_bounds(errors, curves, of_score, of_range), strict=True
        )
    )
    falls, either = plain.high < 0, (plain.low < 0) & (plain.high > 0)
    unknown = np.isnan(plain.low)
    limited = scores["resolution_limited_score"].to_numpy(dtype=float)
    return plain, Sharpness(
        value=np.where(np.isnan(resolution), score, limited) / steps,
        low=np.where(unknown, np.nan, np.where(falls | either, -large, small)),
        high=np.where(unknown, np.nan, np.where(falls, -small, large)),
    )


def score_range(scores: pd.DataFrame) -> Floats:
    """Return the observed range of each curve, in the unit of the file."""
    return np.asarray(scores["score_max"] - scores["score_min"], dtype=np.float64)


def _range_bounds(
    errors: SamplingErrors, curves: Curves, low_tail: float, high_tail: float
) -> tuple[Floats, Floats]:
    """Return a lower and an upper bound of the range of each curve, in units of the values.

    The range is the difference of two scales that are not known beforehand. The largest of all
    pairs' upper bounds is one for it; lower bounds hold for all pairs at once.
    """
    bounds = np.full((2, len(curves)), np.nan)
    for row in np.flatnonzero(curves.ragged.lengths >= 2).tolist():
        points = np.arange(curves.offsets[row], curves.offsets[row + 1])
        y, error = np.take(errors.values, points), errors.noise.error[points]
        i, j = np.triu_indices(len(points), 1)
        if row in errors.resampled:
            spread = (errors.resampled[row][i] - errors.resampled[row][j]).std(axis=1)
        else:
            spread = np.hypot(error[i], error[j])
        apart = np.abs(y[i] - y[j])
        bounds[0, row] = max((apart + ndtri(low_tail / len(i)) * spread).max(), 0.0)
        bounds[1, row] = (apart - ndtri(high_tail) * spread).max()
    return bounds[0], bounds[1]
