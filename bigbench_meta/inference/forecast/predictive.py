"""Predictive distributions: mixtures of shifted and scaled t distributions, cut off at bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Predictive"]

# Halvings of the bracket of a quantile: to a part of 2^-60 of its width.
_HALVINGS: Final = 60
_LARGEST: Final = 1e150
_SMALLEST: Final = 1e-300


@dataclass(frozen=True, kw_only=True)
class Predictive:
    """Distributions of r scores, each a mixture of s components.

    A score beyond a bound is put on the bound, which so holds a probability of its own.

    Attributes:
        mean: Centre of each component, shape (r, s).
        sd: Its scale, likewise; NaN where the noise is not known.
        df: Degrees of freedom, inf for a normal distribution.
        weight: Of each component; rows add up to 1, or are NaN.
        low: Least possible score, shape (r,), -inf for none.
        high: Largest possible score, inf for none.
    """

    mean: Floats
    sd: Floats
    df: Floats
    weight: Floats
    low: Floats
    high: Floats

    @property
    def point(self) -> Floats:
        """Median, shape (r,); without noise the weighted mean of the centres, within the bounds.

        The median has the least expected absolute error, by which forecasts are judged, and lies
        within every central interval; the mean of a mixture need not.

        References:
            Gneiting (2011), "Making and Evaluating Point Forecasts",
            doi:10.1198/jasa.2011.r10138, sec. 3.
        """
        inside = np.clip(self.mean, self.low[:, None], self.high[:, None])
        # 0 x NaN: a component without weight may have no centre.
        mean = np.where(self.weight > 0, self.weight * inside, self._hole).sum(axis=1)
        median = self.quantile(0.5)
        return np.asarray(np.where(np.isnan(median), mean, median))

    def quantile(self, level: float) -> Floats:
        """Return a quantile of each distribution, shape (r,), by bisection; NaN without noise."""
        with np.errstate(invalid="ignore", over="ignore"):
            normal = np.isinf(self.df)
            unit = np.where(normal, ndtri(level), stdtrit(np.where(normal, 1.0, self.df), level))
            ends = np.clip(self.mean + self._sd * unit, -_LARGEST, _LARGEST)
            ends = np.where(self.weight > 0, ends, np.nan)
            # Each component has its own quantile, and the mixture's lies between the outermost.
            below = np.fmin.reduce(ends, axis=1, initial=np.inf)
            above = np.fmax.reduce(ends, axis=1, initial=-np.inf)
            for _ in range(_HALVINGS):
                middle = below / 2 + above / 2
                left = self._tail(middle, 1.0) < level
                below, above = np.where(left, middle, below), np.where(left, above, middle)
        known = np.isfinite(below + above + self._any)
        return np.where(known, np.clip(below / 2 + above / 2, self.low, self.high), np.nan)

    def two_sided(self, y: Floats) -> Floats:
        """Return the smaller tail that begins at y, doubled and at most 1, shape (r,)."""
        below = np.where(y >= self.high, 1.0, self._tail(y, 1.0))
        above = np.where(y <= self.low, 1.0, self._tail(y, -1.0))
        return np.asarray(np.minimum(2 * np.minimum(below, above), 1.0))

    @property
    def _hole(self) -> Floats:
        """0 where a row has weights, else NaN."""
        return np.where(np.isnan(self.weight).any(axis=1), np.nan, 0.0)[:, None]

    @property
    def _any(self) -> Floats:
        """0 where all components that count have a known noise, else NaN."""
        counts = self.weight > 0
        unknown = (counts & np.isnan(self.mean + self.sd)).any(axis=1) | ~counts.any(axis=1)
        return np.where(unknown, np.nan, 0.0)

    @property
    def _sd(self) -> Floats:
        return np.clip(self.sd, _SMALLEST, _LARGEST)

    def _tail(self, y: Floats, sign: float) -> Floats:
        """Return the probability of a score below y, or of one above it where the sign is -1.

        One less the other would lose all probabilities below 1e-16.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            z = sign * (y[:, None] - self.mean) / self._sd
            normal = np.isinf(self.df)
            share = np.where(normal, ndtr(z), stdtr(np.where(normal, 1.0, self.df), z))
        return np.asarray(np.where(self.weight > 0, self.weight * share, 0.0).sum(axis=1)) + (
            self._any
        )
