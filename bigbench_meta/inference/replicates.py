"""Replicates of curves: their ranges and steps, a block of curves of one length at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.curves.step_statistics import absolute_steps, middle_steps, signed_range
from bigbench_meta.inference.draws import Shuffler, binomial_quantiles, normal_quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Block", "PointNoise", "Replicates", "curves_a_block", "of_rows", "statistics"]

# Numbers in one array: larger ones are fetched anew from the system each time, at a price.
_BLOCK: Final = 16_000
# Errors beyond so many ranges say nothing about a curve; their squares would overflow.
_LARGEST_ERROR: Final = 1e100
# A binomial rate is kept this far from 0 and 1.
_TINY: Final = 1e-12
# What tells curves apart is rounded: the same curve in another unit gets the same permutations.
_DIGITS: Final = 6


@dataclass(frozen=True, kw_only=True)
class PointNoise:
    """The sampling distribution of each point; every array has one entry a point.

    Attributes:
        mean: Its mean, in the unit of the scores.
        error: Standard deviation, NaN where nothing is known of it.
        n_examples: Number of examples where it is binomial, else NaN.
        low: Least possible score, -inf for none.
        high: Largest possible score, inf for none.
    """

    mean: Floats
    error: Floats
    n_examples: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(
        cls, values: Floats, n_examples: Floats, stderr: Floats, low: Floats, high: Floats
    ) -> PointNoise:
        """Return what is known of each point: binomial where possible, else the given error.

        The rate of success is Jeffreys' (k + 1/2) / (n + 1), within (0, 1) at 0 and at n of n.
        """
        span = high - low
        binomial = (n_examples >= 1) & np.isfinite(n_examples) & np.isfinite(span)
        n = np.where(binomial, n_examples, np.nan)
        with np.errstate(invalid="ignore"):
            rate = ((values - low) / span * n + 0.5) / (n + 1)
            error = np.where(binomial, span * np.sqrt(rate * (1 - rate) / n), stderr)
            mean = np.where(binomial, low + span * rate, values)
        usable = np.isfinite(error) & (error > 0)
        return cls(
            mean=mean, error=np.where(usable, error, np.nan), n_examples=n, low=low, high=high
        )

    def scaled(self, zero: Floats, unit: Floats) -> PointNoise:
        """Return the noise of (score - zero) / unit; a negative unit turns the limits round."""
        ends = np.stack([(self.low - zero) / unit, (self.high - zero) / unit])
        return PointNoise(
            mean=(self.mean - zero) / unit,
            error=self.error / np.abs(unit),
            n_examples=self.n_examples,
            low=ends.min(axis=0),
            high=ends.max(axis=0),
        )

    def take(self, points: Ints) -> PointNoise:
        """Return the noise of some points."""
        return PointNoise(
            mean=self.mean[points],
            error=self.error[points],
            n_examples=self.n_examples[points],
            low=self.low[points],
            high=self.high[points],
        )

    def about(self, mean: Floats) -> PointNoise:
        """Return the noise of the same test sets about other means."""
        return replace(self, mean=mean)

    def quantiles(self, out: Floats) -> None:
        """Write the middle quantiles of each point, shape (points, B)."""
        binomial = np.isfinite(self.n_examples)
        if binomial.all():
            span = self.high - self.low
            rate = np.clip((self.mean - self.low) / span, _TINY, 1 - _TINY)
            binomial_quantiles(rate, self.n_examples, out)
            out *= span[:, None]
            out += self.low[:, None]
        elif not binomial.any():
            mean = np.clip(self.mean, self.low, self.high)
            normal_quantiles(mean, self.error, self.low, self.high, out)
        else:
            for rows in (np.flatnonzero(binomial), np.flatnonzero(~binomial)):
                part = np.empty((len(rows), out.shape[1]))
                self.take(rows).quantiles(part)
                out[rows] = part

    def third_moment(self) -> Floats:
        """Return the third central moment of each point, 0 where it is normal."""
        with np.errstate(invalid="ignore"):
            span = self.high - self.low
            rate = (self.mean - self.low) / span
            moment = span**3 * rate * (1 - rate) * (1 - 2 * rate) / self.n_examples**2
        return np.where(np.isfinite(self.n_examples), moment, 0.0)

    def contents(self) -> Floats:
        """Return all that is known of each point, shape (points, 5)."""
        return np.stack([self.mean, self.error, self.n_examples, self.low, self.high], axis=1)


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Ranges and steps of curves, shape (curves, 1), or of their replicates, (curves, B).

    Attributes:
        ranges: Signed range, positive where the direction is the observed one.
        middle: Median squared step.
        mean: Mean squared step.
    """

    ranges: Floats
    middle: Floats
    mean: Floats


def statistics(planes: Sequence[Floats]) -> Replicates:
    """Return the ranges and steps of curves that are given as planes, one array a scale."""
    ranges = signed_range(planes)
    steps = absolute_steps(planes)
    mean = np.zeros_like(ranges)
    square = np.empty_like(ranges)
    for step in steps:
        mean += np.multiply(step, step, out=square)
    mean /= len(steps)
    lower, upper = middle_steps(steps)
    middle = (lower * lower + upper * upper) / 2
    return Replicates(ranges=ranges, middle=middle, mean=mean)


def curves_a_block(size: int) -> int:
    """Return how many curves of so many replicates make a block."""
    return max(1, _BLOCK // size)


class Block:
    """Curves of one length in units of their signed range, the first score being 0.

    Attributes:
        scores: Observed scores, shape (curves, scales), so that the signed range is 1.
        noise: Of each of their points, curve after curve.
        sign: 1 where the curve goes up, -1 where all of this is upside down.

    Args:
        matrix: Scores of curves that are not constant, shape (curves, scales).
        noise: Of each point, known of all of them.
        size: Number of replicates.
        shuffler: Permutations of so many replicates.
        errors: Errors of each curve's replicates, shape (curves, scales, size), in place of draws
            from the noise, and in the unit of the scores.
    """

    def __init__(
        self, matrix: Floats, noise: PointNoise, size: int, shuffler: Shuffler,
        errors: Floats | None = None,
    ) -> None:  # fmt: skip
        m, n = self.shape = matrix.shape
        self._size = size
        ranges = signed_range(list(matrix.T))
        self.sign = np.sign(ranges)
        worst = noise.error.reshape(matrix.shape).max(axis=1)
        unit = np.copysign(np.maximum(np.abs(ranges), worst / _LARGEST_ERROR), ranges)
        zero = matrix[:, 0]
        self.scores: Floats = (matrix - zero[:, None]) / unit[:, None]
        self.noise = noise.scaled(np.repeat(zero, n), np.repeat(unit, n))
        self._errors = None
        if errors is not None:
            self._errors = np.ascontiguousarray((errors / unit[:, None, None]).transpose(1, 0, 2))
            return
        contents = np.round(self.noise.contents(), _DIGITS).reshape(m, -1) + 0.0  # no -0.0
        places = np.empty((n, m, size), dtype=np.int64)
        for curve, content in enumerate(contents):
            places[:, curve] = shuffler.orders(content.tobytes(), n)
            places[:, curve] += (curve * n + np.arange(n))[:, None] * size
        self._places = places
        self._sorted = np.empty((m * n, size))
        self._planes = np.empty((n, m, size))

    @property
    def centre(self) -> Floats:
        """Means of the noise, shape (curves, scales)."""
        return self.noise.mean.reshape(self.shape)

    @property
    def error(self) -> Floats:
        """Standard errors, shape (curves, scales)."""
        return self.noise.error.reshape(self.shape)

    def replicates(self, mean: Floats) -> Replicates:
        """Return the statistics of replicates about means, shape (curves, scales)."""
        if self._errors is not None:
            low, high = (side.reshape(self.shape) for side in (self.noise.low, self.noise.high))
            planes = [
                np.clip(mean[:, [i]] + errors, low[:, [i]], high[:, [i]])
                for i, errors in enumerate(self._errors)
            ]
            return statistics(planes)
        self.noise.about(mean.ravel()).quantiles(self._sorted)
        np.take(self._sorted.reshape(-1), self._places, out=self._planes, mode="clip")
        return statistics(list(self._planes))


def of_rows(matrix: Floats) -> Replicates:
    """Return the statistics of curves, shape (curves, scales), each of shape (curves,)."""
    return statistics(list(matrix.T))
