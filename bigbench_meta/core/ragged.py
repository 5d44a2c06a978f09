"""Curves of different lengths in flat arrays: where each begins, and blocks of equal length.

A batch of curves is *ragged*: every quantity is one flat array, curve after curve, each ordered by
ascending scale, and ``offsets`` has one entry more than there are curves, so that curve ``i`` is
``values[offsets[i]:offsets[i + 1]]``. Statistics take the curves of one length together, a block at
a time: the work is vectorised over curves, and its memory does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bigbench_meta.core.checks import check_shape, reject
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["Block", "Ragged"]


@dataclass(frozen=True, eq=False)
class Block:
    """Curves of one length in a batch.

    Attributes:
        curves: Their numbers, shape (m,).
        starts: Position of the first point of each, shape (m,).
        length: Points of each, n.
    """

    curves: Ints
    starts: Ints
    length: int

    @property
    def points(self) -> Ints:
        """Position of each point, shape (m, n)."""
        return self.starts[:, None] + np.arange(self.length)

    def by_scale(self, values: Floats) -> Floats:
        """Return the values of the points, shape (n, m): each scale is contiguous in memory."""
        found = np.empty((self.length, len(self.starts)), dtype=values.dtype)
        for scale, row in enumerate(found):
            # Positions are known to be valid; with mode="raise" numpy would copy once more.
            np.take(values, self.starts + scale, out=row, mode="clip")
        return found


@dataclass(frozen=True, eq=False)
class Ragged:
    """Where the curves of a batch begin and end in flat arrays of their points.

    Attributes:
        offsets: Where each curve begins and the last one ends, shape (m + 1,), beginning with 0 and
            never decreasing.

    Examples:
        >>> batch = Ragged.of(np.array([0, 2, 2, 5]), y=np.array([0.1, 0.2, 0.3, 0.5, 0.4]))
        >>> len(batch), batch.lengths, batch.curve
        (3, array([2, 0, 3]), array([0, 0, 2, 2, 2]))
    """

    offsets: Ints

    @classmethod
    def of(cls, offsets: ArrayLike, **points: ArrayLike) -> Ragged:
        """Return a batch after checking its offsets and that every array matches them.

        Args:
            offsets: Where each curve begins and the last one ends, shape (m + 1,).
            points: At least one array of one value a point, by the name used in messages.

        Raises:
            InputError: The offsets do not run from 0 to the number of points or decrease, or an
                array has another shape than the first.
        """
        arrays = iter(points.items())
        name, values = next(arrays)
        total = np.size(values)
        check_shape(values, (total,), name)
        found = np.asarray(offsets)
        if found.ndim != 1 or len(found) == 0 or found[0] != 0 or found[-1] != total:
            raise InputError(f"must run from 0 to the number of points, {total}", where="offsets")
        if np.any(np.diff(found) < 0):
            raise InputError("must not decrease", where="offsets")
        for name, values in arrays:
            check_shape(values, (total,), name)
        return cls(found.astype(np.int64, copy=False))

    @classmethod
    def of_lengths(cls, lengths: Ints) -> Ragged:
        """Return the batch of curves of these lengths."""
        return cls(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        """Return the number of curves."""
        return len(self.offsets) - 1

    @property
    def n_points(self) -> int:
        """Points of all curves together."""
        return int(self.offsets[-1])

    @cached_property
    def lengths(self) -> Ints:
        """Points of each curve."""
        return np.diff(self.offsets)

    @cached_property
    def curve(self) -> Ints:
        """Number of the curve of each point."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def is_single(self) -> bool:
        """Whether every curve has one point."""
        return self.n_points == len(self) and bool(np.all(self.lengths == 1))

    def check_curves(self, **values: ArrayLike) -> None:
        """Check that arrays, keyed by the names used in messages, have one value for each curve.

        Raises:
            InputError: One has another shape.
        """
        for name, array in values.items():
            check_shape(array, (len(self),), name)

    def check_scales(self, x: Floats, where: str = "x") -> None:
        """Check that the scales of the points are positive and rise within each curve.

        Raises:
            InputError: One is not, with its position.
        """
        reject(x, ~(np.isfinite(x) & (x > 0)), "not a positive number", where)
        later = np.ones(self.n_points, dtype=bool)
        later[self.offsets[:-1][self.lengths > 0]] = False
        reject(x, later & (np.diff(x, prepend=0.0) <= 0), "not above the scale before", where)

    def count(self, points: Bools) -> Ints:
        """Return the number of points of each curve for which a mask is true."""
        return np.bincount(self.curve[points], minlength=len(self))

    def any(self, points: Bools) -> Bools:
        """Return the curves that have a point for which a mask is true."""
        return self.count(points) > 0

    def reduce(self, ufunc: np.ufunc, values: Floats) -> Floats:
        """Reduce the values of each curve to one, NaN for a curve without points.

        Examples:
            >>> Ragged(np.array([0, 2, 2, 3])).reduce(np.maximum, np.array([1.0, 4.0, 2.0]))
            array([ 4., nan,  2.])
        """
        if self.is_single:
            return np.array(values, dtype=np.float64)
        found = np.full(len(self), np.nan)
        some = self.lengths > 0
        if some.any():
            found[some] = ufunc.reduceat(values, self.offsets[:-1][some])
        return found

    def at(self, values: Floats, position: Floats | Ints) -> Floats:
        """Return the value of one point of each curve, NaN where it has no such point.

        Args:
            values: One value a point.
            position: Position of the point in its curve, from 0 on; -1 is the last one. NaN for
                none.

        Examples:
            >>> Ragged(np.array([0, 2, 2, 3])).at(np.array([1.0, 4.0, 2.0]), np.full(3, -1))
            array([ 4., nan,  2.])
        """
        place = np.where(np.asarray(position) < 0, self.lengths + position, position)
        known = (place >= 0) & (place < self.lengths)  # false for NaN
        found = np.full(len(self), np.nan)
        found[known] = values[self.offsets[:-1][known] + place[known].astype(np.int64)]
        return found

    def take(self, curves: Ints, first: Ints | None = None) -> tuple[Ints, Ragged]:
        """Return the positions of the points of some curves, one after another, and their batch.

        Args:
            curves: Numbers of the curves, in any order, repeated or not.
            first: Take so many points of each from its beginning; all by default.

        Examples:
            >>> points, batch = Ragged(np.array([0, 2, 5])).take(np.array([1, 0]))
            >>> points, batch.offsets
            (array([2, 3, 4, 0, 1]), array([0, 3, 5]))
        """
        lengths = self.lengths[curves] if first is None else first
        batch = Ragged.of_lengths(lengths)
        shift = self.offsets[:-1][curves] - batch.offsets[:-1]
        return np.arange(batch.n_points) + np.repeat(shift, lengths), batch

    def blocks(
        self,
        size: int | Callable[[int], int],
        *,
        shortest: int = 1,
        among: Ints | Bools | None = None,
    ) -> Iterator[Block]:
        """Yield curves of one length, from the shortest to the longest, a block at a time.

        Args:
            size: Most curves of a block, or a function of their length that returns it.
            shortest: Skip curves with fewer points, at least 1.
            among: Take only these curves, given by number or by a mask.

        Examples:
            >>> batch = Ragged.of_lengths(np.array([3, 0, 2, 3]))
            >>> [(block.length, block.curves.tolist()) for block in batch.blocks(100)]
            [(2, [2]), (3, [0, 3])]
        """
        curves: Any = np.arange(len(self)) if among is None else np.asarray(among)
        if curves.dtype == np.bool_:
            curves = np.flatnonzero(curves)
        lengths = self.lengths if among is None else self.lengths[curves]
        # Numbers of 16 bits are sorted by their digits, several times as fast.
        narrow = lengths.astype(np.uint16) if lengths.max(initial=0) < 1 << 16 else lengths
        order = np.argsort(narrow, kind="stable")
        ordered = lengths[order]
        order = order[np.searchsorted(ordered, shortest) :]
        ordered = lengths[order]
        for group in np.split(order, np.flatnonzero(np.diff(ordered)) + 1):
            if len(group) == 0:
                continue
            length = int(lengths[group[0]])
            held = size if isinstance(size, int) else size(length)
            for begin in range(0, len(group), held):
                some = curves[group[begin : begin + held]]
                yield Block(some, self.offsets[some], length)
