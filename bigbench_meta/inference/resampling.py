"""Replicates of curves: the quantiles of each point's sampling distribution, combined at random.

The B replicates of a point are the B middle quantiles of its distribution, at (b + 1/2) / B: a
Latin hypercube (McKay, Beckman & Conover 1979), in the bootstrap known as balanced (Davison,
Hinkley & Schechtman 1986). Only the order in which they meet those of the other points is random.
That takes a table and a permutation in place of B random variates a point, which is many times
faster for binomial ones, and leaves the shares of replicates less noise.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from bigbench_meta.core.compiled import compiled
from bigbench_meta.curves.step_statistics import absolute_steps, middle_steps, signed_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.core.ragged import Ragged

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "CurveReplicates",
    "Denominator",
    "Permutations",
    "PointNoise",
    "StepStatistics",
    "binomial_quantiles",
    "middle_levels",
    "normal_quantiles",
    "of_curves",
    "of_scales",
    "replicated_blocks",
]

Denominator = Literal["median", "mean"]
"""``median`` for the emergence score, ``mean`` for linearity."""

# Replicates of a block of curves: larger arrays are fetched anew from the system each time.
_BLOCK: Final = 32_000
# Errors beyond so many ranges say nothing about a curve; their squares would overflow.
_LARGEST_ERROR: Final = 1e100
# A binomial rate is kept this far from 0 and 1.
_TINY: Final = 1e-12
# The numbers of a curve are rounded: the same curve in another unit gets the same permutations.
_DIGITS: Final = 6
# From this variance of the count on, the normal distribution with a term for skewness is used: the
# counts then differ from the exact ones in fewer than 1 of 100 quantiles, and then by 1.
_NORMAL_FROM: Final = 25.0
# The exact distribution is computed so many standard deviations, and counts, around its mean.
_DEVIATIONS, _COUNTS = 6.0, 12.0
# As many counts as that can be at the largest variance.
_MOST_COUNTS: Final = int(2 * (_DEVIATIONS * _NORMAL_FROM**0.5 + _COUNTS)) + 2
# Permutations kept. A curve of more points uses them again, shifted.
_PERMUTATIONS: Final = 64


@dataclass(frozen=True, kw_only=True)
class PointNoise:
    """The sampling distribution of each point; every array has one entry a point.

    Attributes:
        mean: Its mean, in the unit of the scores.
        error: Standard deviation, NaN where it is not known.
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
        """Return the noise of each point: binomial where n is known, else of the given error.

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
        """Return the noise of (score - zero) / unit; a negative unit swaps the limits."""
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
            **{field.name: getattr(self, field.name)[points] for field in fields(self)}
        )

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


@dataclass(frozen=True, kw_only=True)
class StepStatistics:
    """Range and steps of curves, shape (curves,), or of their replicates, (curves, B).

    Attributes:
        ranges: Signed range.
        median: Median squared step.
        mean: Mean squared step.
    """

    ranges: Floats
    median: Floats
    mean: Floats

    def denominator(self, of: Denominator) -> Floats:
        """Return the root of the median or of the mean squared step."""
        return np.sqrt(self.median if of == "median" else self.mean)

    def ratio(self, to: Denominator) -> Floats:
        """Return the emergence score or linearity: infinite over 0, NaN on a constant."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.ranges / self.denominator(to))


def of_scales(by_scale: Sequence[Floats], only: Denominator | None = None) -> StepStatistics:
    """Return the statistics of curves given by scale, one array of scores each.

    Args:
        by_scale: The scores.
        only: The denominator that is needed; the other is then NaN. Both by default.
    """
    ranges = signed_range(by_scale)
    steps = absolute_steps(by_scale)
    mean = median = np.broadcast_to(np.nan, ranges.shape)
    if only != "median":
        mean, square = np.zeros_like(ranges), np.empty_like(ranges)
        for step in steps:
            mean += np.multiply(step, step, out=square)
        mean /= len(steps)
    if only != "mean":
        lower, upper = middle_steps(steps)
        median = (lower * lower + upper * upper) / 2
    return StepStatistics(ranges=ranges, median=median, mean=mean)


def of_curves(matrix: Floats) -> StepStatistics:
    """Return the statistics of curves, shape (curves, scales)."""
    return of_scales(list(matrix.T))


class CurveReplicates:
    """Curves of one length and their replicates, in units of the observed signed range.

    The first score of each curve is 0.

    Attributes:
        scores: Observed scores, shape (curves, scales), so that the signed range is 1.
        noise: Of each of their points, curve after curve.
        sign: 1 where the curve goes up, -1 where it goes down and all of this has its sign turned.

    Args:
        matrix: Scores of curves that are not constant, shape (curves, scales).
        noise: Of each point, known of all of them.
        size: Number of replicates.
        permutations: Permutations of so many replicates.
        errors: Errors of each curve's replicates, shape (curves, scales, size), in place of draws
            from the noise, and in the unit of the scores.
    """

    def __init__(
        self, matrix: Floats, noise: PointNoise, size: int, permutations: Permutations,
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
        numbers = [getattr(self.noise, field.name) for field in fields(PointNoise)]
        contents = np.round(np.stack(numbers, axis=1), _DIGITS).reshape(m, -1) + 0.0  # no -0.0
        self._order = np.empty((m, n, size), dtype=np.int64)
        for curve, content in enumerate(contents):
            self._order[curve] = permutations.orders(content.tobytes(), n)
        self._quantiles = np.empty((m * n, size))
        self._by_scale = np.empty((n, m, size))
        self._about = np.full((m, n), np.nan)

    @property
    def centre(self) -> Floats:
        """Means of the noise, shape (curves, scales)."""
        return self.noise.mean.reshape(self.shape)

    @property
    def error(self) -> Floats:
        """Standard errors, shape (curves, scales)."""
        return self.noise.error.reshape(self.shape)

    def about(self, mean: Floats, only: Denominator | None = None) -> StepStatistics:
        """Return the statistics of replicates about means, shape (curves, scales).

        Args:
            mean: The means.
            only: As for :func:`of_scales`.
        """
        if self._errors is not None:
            low, high = (side.reshape(self.shape) for side in (self.noise.low, self.noise.high))
            by_scale = [
                np.clip(mean[:, [i]] + errors, low[:, [i]], high[:, [i]])
                for i, errors in enumerate(self._errors)
            ]
            return of_scales(by_scale, only)
        self._move(mean)
        return of_scales(list(self._by_scale), only)

    def _move(self, mean: Floats) -> None:
        """Bring the replicates about means; those of points that have not moved are there."""
        curve, scale = np.nonzero(mean != self._about)
        self._about = mean.copy()
        noise = replace(self.noise, mean=mean.ravel())
        quantiles = self._quantiles[: len(curve)]
        noise.take(curve * self.shape[1] + scale).quantiles(quantiles)
        _put_in_order(quantiles, curve, scale, self._order, self._by_scale)


@compiled
def _put_in_order(
    quantiles: Floats, curve: Ints, scale: Ints, order: Ints, by_scale: Floats
) -> None:
    """Write the quantiles of points, each in its own order, to where its replicates are."""
    for point in range(len(curve)):
        i, j = curve[point], scale[point]
        for b in range(quantiles.shape[1]):
            by_scale[j, i, b] = quantiles[point, order[i, j, b]]


def replicated_blocks(
    values: Floats,
    batch: Ragged,
    noise: PointNoise,
    curves: Ints,
    *,
    size: int,
    seed: int,
    errors: Mapping[int, Floats] | None = None,
) -> Iterator[tuple[Ints, CurveReplicates]]:
    """Yield the replicates of some curves of a batch, a block of one length at a time.

    Args:
        values: Scores of all points, up is better.
        batch: Where the curves lie.
        noise: Sampling distribution of each point.
        curves: Numbers of the curves; none of them is constant, the noise of their points is known.
        size: Number of replicates.
        seed: Seed of the random order. The replicates of a curve depend on it and on the curve
            alone.
        errors: Replicated errors of the scores of some curves, see :class:`CurveReplicates`.

    Yields:
        The numbers of the curves of a block, and their replicates.
    """
    given = errors or {}
    permutations = Permutations(size, int(batch.lengths[curves].max(initial=0)), seed)
    has_errors = np.isin(curves, list(given))
    for some in (curves[~has_errors], curves[has_errors]):
        for block in batch.blocks(max(1, _BLOCK // size), among=some):
            own = None
            if block.curves[0] in given:
                own = np.stack([given[curve][:, :size] for curve in block.curves.tolist()])
            points = block.points
            yield (
                block.curves,
                CurveReplicates(
                    values[points], noise.take(points.ravel()), size, permutations, own
                ),
            )


def middle_levels(size: int) -> Floats:
    """Return the levels (b + 1/2) / size."""
    return (np.arange(size) + 0.5) / size


def binomial_quantiles(rate: Floats, n: Floats, out: Floats) -> None:
    """Write the middle quantiles of Binomial(n, rate) / n of each point.

    Args:
        rate: Shape (points,), in (0, 1).
        n: Number of examples, at least 1, whole or not (rounded), shape (points,).
        out: Shape (points, B); ascending in each row afterwards.

    Examples:
        >>> out = np.empty((1, 4))
        >>> binomial_quantiles(np.array([0.5]), np.array([2.0]), out)
        >>> out
        array([[0. , 0.5, 0.5, 1. ]])
    """
    z, skewed = _normal_scores(out.shape[1])
    _fill_binomial(np.array(rate), np.maximum(np.rint(n), 1.0), z, skewed, out)


@cache
def _normal_scores(size: int) -> tuple[Floats, Floats]:
    """Return the normal quantiles z of the middle levels, and z^2 - 1."""
    z = ndtri(middle_levels(size))
    return z, z * z - 1


@compiled
def _fill_binomial(rate: Floats, n: Floats, z: Floats, skewed: Floats, out: Floats) -> None:
    """Fill in the quantiles of each point, by the exact distribution or near the normal one."""
    mass = np.empty(_MOST_COUNTS)
    for point in range(len(rate)):
        p, whole, own = rate[point], n[point], out[point]
        variance = whole * p * (1 - p)
        if variance > _NORMAL_FROM:
            # Cornish & Fisher's first term: skewness times the standard deviation is 1 - 2 rate.
            error, mean, skewness = math.sqrt(variance), whole * p, (1 - 2 * p) / 6
            for b in range(len(own)):
                count = np.rint(error * z[b] + mean + skewness * skewed[b])
                own[b] = min(max(count, 0.0), whole) / whole
        else:
            _fill_exactly(p, whole, variance, mass, own)


@compiled
def _fill_exactly(rate: float, n: float, variance: float, mass: Floats, out: Floats) -> None:
    """Fill in the quantiles of one point from the probabilities of the counts about its mean."""
    reach = _DEVIATIONS * math.sqrt(variance) + _COUNTS
    first, counts, odds = (
        max(math.floor(n * rate - reach), 0.0),
        int(2 * reach) + 2,
        rate / (1 - rate),
    )
    largest, log = 0.0, 0.0
    mass[0] = 0.0
    for i in range(1, counts):
        k = first + (i - 1)
        # P(k + 1) / P(k); beyond n the probability is 0 and remains so.
        log += math.log(max((n - k) / (k + 1) * odds, 0.0))
        largest, mass[i] = max(largest, log), log
    total = 0.0
    for i in range(counts):
        total += math.exp(mass[i] - largest)
        mass[i] = total
    # How many of the levels lie at or below the distribution function at each count.
    b, unit = 0, len(out) / total
    for i in range(counts):
        below = len(out) if i == counts - 1 else int(np.rint(mass[i] * unit))
        share = (first + i) / n
        while b < below:
            out[b] = share
            b += 1


def normal_quantiles(mean: Floats, error: Floats, low: Floats, high: Floats, out: Floats) -> None:
    """Write the middle quantiles of the normal distribution within [low, high] of each point.

    Args:
        mean: Shape (points,), within the limits.
        error: Standard deviation before truncation, positive, shape (points,).
        low: Lower limits, -inf for none.
        high: Upper limits, inf for none.
        out: Shape (points, B); ascending in each row afterwards.

    Examples:
        >>> out = np.empty((1, 3))
        >>> ends = np.array([-np.inf]), np.array([np.inf])
        >>> normal_quantiles(np.array([5.0]), np.array([1.0]), *ends, out)
        >>> out.round(2)
        array([[4.03, 5.  , 5.97]])
    """
    size = out.shape[1]
    below, above = ndtr((low - mean) / error), ndtr((high - mean) / error)
    out[:] = _normal_scores(size)[0]
    cut = np.flatnonzero((below > 0) | (above < 1))
    out[cut] = ndtri(below[cut, None] + (above - below)[cut, None] * middle_levels(size))
    out *= error[:, None]
    out += mean[:, None]
    np.clip(out, low[:, None], high[:, None], out=out)


class Permutations:
    """Permutations for the replicates of any number of curves.

    All curves share a set of permutations, one a point. Each curve begins at places of its own in
    them, which depend on the seed and on the numbers of the curve: not on the other curves, nor
    on their order or number.

    Args:
        size: Number of replicates.
        n_points: Points of the longest curve.
        seed: Seed of the random numbers.
    """

    def __init__(self, size: int, n_points: int, seed: int | np.random.Generator) -> None:
        rng = np.random.default_rng(seed)
        self._size = size
        self._salt = rng.bytes(16)
        once = np.tile(np.arange(size), (min(n_points, _PERMUTATIONS), 1))
        once = rng.permuted(once, axis=1)
        self._twice = np.concatenate([once, once], axis=1)

    def orders(self, content: bytes, n_points: int) -> Ints:
        """Return a permutation for each point of a curve, shape (n_points, size).

        Args:
            content: The numbers of the curve.
            n_points: Its number of points.
        """
        stream = hashlib.shake_128(self._salt + content).digest(8 * n_points)
        starts = np.frombuffer(stream, dtype="<u8") % np.uint64(self._size)
        rounds = -(-n_points // _PERMUTATIONS)
        chosen = np.empty((n_points, self._size), dtype=np.int64)
        for point, start in enumerate(starts.tolist()):
            again, row = divmod(point, _PERMUTATIONS)
            if again:  # the same permutation, but never at the same place
                start = (int(starts[row]) + again * (self._size // rounds)) % self._size
            chosen[point] = self._twice[row, start : start + self._size]
        return chosen
