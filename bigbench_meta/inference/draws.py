"""Replicates of scores: quantiles of each point's sampling distribution, combined at random.

The B replicates of a point are the B middle quantiles of its distribution, at (b + 1/2) / B: a
Latin hypercube (McKay, Beckman & Conover 1979), in the bootstrap known as balanced (Davison,
Hinkley & Schechtman 1986). Only the order in which they meet those of the other points is random.
That takes a table and a permutation in place of B random variates a point, which is many times
faster for binomial ones, and leaves the shares of replicates less noise.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Shuffler", "binomial_quantiles", "middle_levels", "normal_quantiles"]

# From this variance of the count on, the normal distribution with a term for skewness is used: the
# counts then differ from the exact ones in fewer than 1 of 100 quantiles, and then by 1.
_NORMAL_FROM: Final = 25.0
# The exact distribution is computed so many standard deviations, and counts, around its mean.
_DEVIATIONS, _COUNTS = 6.0, 12.0
# Numbers in one piece of memory.
_PIECE: Final = 1 << 14
# Permutations kept. A curve of more points uses them again, shifted.
_PERMUTATIONS: Final = 64


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
    whole = np.maximum(np.rint(n), 1.0)
    variance = whole * rate * (1 - rate)
    large = variance > _NORMAL_FROM
    size = out.shape[1]
    # A few points at a time: memory in small pieces is used again, in large ones fetched anew.
    step = max(1, _PIECE // size)
    for shares, rows in ((_normal_shares, large), (_exact_shares, ~large)):
        found = np.flatnonzero(rows)
        for start in range(0, len(found), step):
            some = found[start : start + step]
            out[some] = shares(rate[some], whole[some], variance[some], size)


def _normal_shares(rate: Floats, n: Floats, variance: Floats, size: int) -> Floats:
    z = ndtri(middle_levels(size))
    counts = np.sqrt(variance)[:, None] * z
    counts += (n * rate)[:, None]
    # Cornish & Fisher's first term: skewness times the standard deviation is 1 - 2 rate.
    counts += ((1 - 2 * rate) / 6)[:, None] * (z * z - 1)
    np.rint(counts, out=counts)
    np.clip(counts, 0, n[:, None], out=counts)
    counts /= n[:, None]
    return counts


def _exact_shares(rate: Floats, n: Floats, variance: Floats, size: int) -> Floats:
    reach = _DEVIATIONS * np.sqrt(variance) + _COUNTS
    first = np.maximum(np.floor(n * rate - reach), 0.0)[:, None]
    k = first + np.arange(int(np.max(2 * reach)) + 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        # P(k + 1) / P(k); beyond n the probability is 0 and remains so.
        ratio = (n[:, None] - k) / (k + 1) * (rate / (1 - rate))[:, None]
        log_ratio = np.log(np.maximum(ratio[:, :-1], 0.0))
    mass: Floats = np.zeros(k.shape)
    np.cumsum(log_ratio, axis=1, out=mass[:, 1:])
    mass -= mass.max(axis=1, keepdims=True)
    np.exp(mass, out=mass)
    np.cumsum(mass, axis=1, out=mass)
    mass = mass * (size / mass[:, -1:])
    # How many of the levels lie at or below the distribution function at each k.
    below = np.rint(mass)
    below[:, -1] = size
    times = np.diff(below, axis=1, prepend=0).astype(np.int64)
    return np.repeat((k / n[:, None]).ravel(), times.ravel()).reshape(len(rate), size)


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
    level = middle_levels(out.shape[1])
    below, above = ndtr((low - mean) / error), ndtr((high - mean) / error)
    out[:] = ndtri(level)
    cut = np.flatnonzero((below > 0) | (above < 1))
    out[cut] = ndtri(below[cut, None] + (above - below)[cut, None] * level)
    out *= error[:, None]
    out += mean[:, None]
    np.clip(out, low[:, None], high[:, None], out=out)


class Shuffler:
    """Permutations for the replicates of any number of curves.

    All curves share a set of permutations, one a point. Each curve begins at places of its own in
    them, which depend on the seed and on what the curve holds: not on the other curves, nor on
    their order or number.

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
            content: What tells the curve from others.
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
