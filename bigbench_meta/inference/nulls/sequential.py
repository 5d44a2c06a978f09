"""P-values from replicates, all of them or until enough are as large as what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["Tally", "rounds"]


def rounds(n_boot: int, stop_after: int | None) -> Iterator[int]:
    """Yield how many replicates are drawn at a time: all, or as many as there have been.

    Examples:
        >>> list(rounds(999, 20))
        [40, 40, 80, 160, 320, 359]
        >>> list(rounds(999, None))
        [999]
    """
    done = 0
    while done < n_boot:
        size = n_boot if stop_after is None else min(max(done, 2 * stop_after), n_boot - done)
        yield size
        done += size


@dataclass
class Tally:
    r"""Replicates of m curves that are at least as large as the observed statistic.

    With B valid replicates, k of them as large, the p-value is (1 + k) / (1 + B). If the curve is
    to stop at h of them and the h-th is the l-th replicate, the p-value is h / l, whatever is drawn
    after it. Both are valid: under the null P(p <= u) <= u.

    Attributes:
        observed: The statistics, shape (m,); infinite is allowed.
        stop_after: h; None for all replicates.
        large: Replicates that were as large, up to where the curve stopped, shape (m,).
        valid: Replicates that could be tested, likewise.
        done: Whether the curve has stopped.

    References:
        Besag & Clifford (1991), Sequential Monte Carlo p-values, doi:10.1093/biomet/78.2.301.

    Examples:
        >>> tally = Tally.start(np.array([2.0, 2.0]), 2)
        >>> tally.add(np.arange(2), np.array([[1.0, 3.0, 2.0, 5.0], [1.0, 1.0, 9.0, 1.0]]))
        >>> tally.p_values(), tally.done
        (array([0.66666667, 0.4       ]), array([ True, False]))
    """

    observed: Floats
    stop_after: int | None
    large: Ints
    valid: Ints
    done: Bools

    @classmethod
    def start(cls, observed: Floats, stop_after: int | None) -> Self:
        """Begin with no replicates."""
        zero = np.zeros(len(observed), dtype=np.int64)
        return cls(observed, stop_after, zero, zero.copy(), zero > 0)

    def add(self, rows: Ints, replicates: Floats, valid: Bools | None = None) -> None:
        """Count more replicates of some curves; those that have stopped stay as they are.

        Ties count, also where they are equal but for rounding.

        Args:
            rows: Numbers of the curves.
            replicates: Shape (len(rows), b); infinite is allowed.
            valid: Whether a replicate could be tested, of the same shape; all by default.
        """
        usable = np.ones(replicates.shape, dtype=bool) if valid is None else valid
        observed = self.observed[rows]
        finite = np.where(np.isfinite(observed), observed, 0.0)
        least = np.where(np.isfinite(observed), observed - 1e-6 * (1 + np.abs(finite)), observed)
        large = self.large[rows, None] + (usable & (replicates >= least[:, None])).cumsum(axis=1)
        count = self.valid[rows, None] + usable.cumsum(axis=1)
        last = np.full(len(rows), replicates.shape[1] - 1)
        stops = np.zeros(len(rows), dtype=bool)
        if self.stop_after is not None:
            enough = large >= self.stop_after
            stops = enough[:, -1]
            last[stops] = enough[stops].argmax(axis=1)
        row, open_ = np.arange(len(rows)), ~self.done[rows]
        self.large[rows[open_]] = large[row, last][open_]
        self.valid[rows[open_]] = count[row, last][open_]
        self.done[rows] |= stops

    def p_values(self) -> Floats:
        """Return the p-values by what has been counted."""
        stopped = self.large / np.maximum(self.valid, 1)
        return np.asarray(np.where(self.done, stopped, (1 + self.large) / (1 + self.valid)))
