"""Ranges and steps of many curves of one length, given by scale: one array of scores each.

The scores of all curves (or of all replicates of some) at one scale are one contiguous array, so
that every operation runs over long arrays and nothing is sorted curve by curve: the median step
comes from a network of minima and maxima.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["absolute_steps", "mean_squared_ratio", "middle_steps", "signed_range"]

# Networks grow with n log^2 n; from some thousand exchanges on, partial sorting is faster.
_MOST_IN_NETWORK: Final = 64


def signed_range(by_scale: Sequence[Floats]) -> Floats:
    """Return sign(argmax - argmin) * (max - min), the first extremum counting on ties.

    Args:
        by_scale: One array of scores a scale, by ascending scale, all of one shape.

    Returns:
        An array of that shape.

    Examples:
        >>> signed_range([np.array([0.0, 3.0]), np.array([2.0, 1.0]), np.array([1.0, 1.0])])
        array([ 2., -2.])
    """
    highest, lowest = by_scale[0].copy(), by_scale[0].copy()
    # A curve goes up if the last score beyond all before it was above them.
    rises = np.ones(highest.shape, dtype=bool)
    here = np.empty_like(rises)
    for scores in by_scale[1:]:
        np.greater(scores, highest, out=here)
        np.logical_or(rises, here, out=rises)
        np.greater_equal(scores, lowest, out=here)
        np.logical_and(rises, here, out=rises)
        np.maximum(highest, scores, out=highest)
        np.minimum(lowest, scores, out=lowest)
    highest -= lowest
    highest *= np.where(rises, 1.0, -1.0)
    return highest


def absolute_steps(by_scale: Sequence[Floats]) -> list[Floats]:
    """Return the sizes of the steps from each scale to the next, new arrays."""
    steps = [after - before for before, after in pairwise(by_scale)]
    for step in steps:
        np.abs(step, out=step)
    return steps


def middle_steps(steps: list[Floats]) -> tuple[Floats, Floats]:
    """Return the lower and upper median of the steps; they are equal if the number is odd.

    Args:
        steps: At least one array; they are overwritten.

    Returns:
        Two arrays of the shape of one.

    Examples:
        >>> middle_steps([np.array([4.0]), np.array([1.0]), np.array([2.0]), np.array([9.0])])
        (array([2.]), array([4.]))
    """
    n = len(steps)
    if n > _MOST_IN_NETWORK:
        middle = np.partition(np.stack(steps), ((n - 1) // 2, n // 2), axis=0)
        return middle[(n - 1) // 2], middle[n // 2]
    spare = np.empty_like(steps[0])
    for low, high, keeps_low, keeps_high in _median_network(n):
        a, b = steps[low], steps[high]
        if not keeps_high:
            np.minimum(a, b, out=a)
        elif not keeps_low:
            np.maximum(a, b, out=b)
        else:
            np.minimum(a, b, out=spare)
            np.maximum(a, b, out=b)
            steps[low], spare = spare, a
    return steps[(n - 1) // 2], steps[n // 2]


def mean_squared_ratio(steps: Sequence[Floats], unit: Floats) -> Floats:
    """Return the mean of (step / unit)^2, 0 where the unit is 0."""
    positive = unit > 0
    total, ratio = np.zeros_like(unit), np.zeros_like(unit)
    for step in steps:
        np.divide(step, unit, out=ratio, where=positive)
        np.multiply(ratio, ratio, out=ratio)
        total += ratio
    total /= len(steps)
    return total


@cache
def _median_network(n: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Return the exchanges that bring the medians of n values to their places.

    Each is (low, high, whether the smaller is used afterwards, whether the larger is).
    """
    used = {(n - 1) // 2, n // 2}
    kept = []
    for low, high in reversed(list(_sorting_network(n))):
        if low in used or high in used:
            kept.append((low, high, low in used, high in used))
            used |= {low, high}
    return tuple(reversed(kept))


def _sorting_network(n: int) -> Iterator[tuple[int, int]]:
    """Yield the exchanges of Batcher's odd-even merge sort.

    References:
        Knuth, "The Art of Computer Programming", vol. 3, 2nd ed., algorithm 5.2.2M.
    """
    largest = 1 << max(n - 1, 0).bit_length() >> 1
    p = largest
    while p > 0:
        q, r, distance = largest, 0, p
        while True:
            for i in range(n - distance):
                if i & p == r:
                    yield i, i + distance
            if q == p:
                break
            distance, q, r = q - p, q >> 1, p
        p >>= 1
