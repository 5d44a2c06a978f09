"""The coefficients of a shape, which are linear in it: least squares in closed form, in bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.shapes.models import Model

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["Block", "over_points", "solve", "times"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Curves of one length.

    Attributes:
        u: Log scale from 0 to 1, shape (m, n).
        y: Scores, brought to a range of 1, shape (m, n).
        w: Square roots of the weights, shape (m, n).
        low: Lower bound of an asymptote on the same scale, shape (m,); -inf for none.
        high: Upper bound, shape (m,); inf for none.
    """

    u: Floats
    y: Floats
    w: Floats
    low: Floats
    high: Floats

    def take(self, rows: NDArray[np.int64] | slice) -> Block:
        """Return some of the curves."""
        return Block(
            u=self.u[rows], y=self.y[rows], w=self.w[rows],
            low=self.low[rows], high=self.high[rows],
        )  # fmt: skip


def times(columns: Floats, coefficients: Floats) -> Floats:
    """Return the sum of columns, (..., n, k), times their coefficients, (..., k)."""
    # One or two terms, which a sum over the last axis would take one by one.
    total = columns[..., 0] * coefficients[..., 0, None]
    for k in range(1, columns.shape[-1]):
        total = total + columns[..., k] * coefficients[..., k, None]
    return np.asarray(total)


def over_points(a: Floats, b: Floats) -> Floats:
    """Return the sum of products over the points, the last axis but one."""
    return np.asarray(np.vecdot(a.swapaxes(-1, -2), b.swapaxes(-1, -2)))


def solve(model: Model, columns: Floats, block: Block) -> tuple[Floats, Bools]:
    """Return the best coefficients, (..., k), and which of them no bound holds.

    Args:
        model: The shape.
        columns: Shape (m, n, k) or (m, nodes, n, k).
        block: The curves.
    """
    extra = columns.ndim - 3
    w, y, low, high = (
        values.reshape(len(values), *(1,) * extra, *values.shape[1:])
        for values in (block.w, block.y, block.low, block.high)
    )
    weighted, target = columns * w[..., None], w * y
    first = weighted[..., 0]
    if model.n_linear == 1:
        coefficient = _ratio(np.vecdot(first, target), np.vecdot(first, first))[..., None]
        return coefficient, np.ones(coefficient.shape, dtype=bool)
    second = weighted[..., 1]
    moments = (
        np.vecdot(first, first), np.vecdot(first, second), np.vecdot(second, second),
        np.vecdot(first, target), np.vecdot(second, target),
    )  # fmt: skip
    one, two = _two(*moments)
    if not any(model.asymptotes):
        return np.stack([one, two], axis=-1), np.ones((*one.shape, 2), dtype=bool)
    return _within(one, two, moments, low, high)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(
        numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator > 0
    )


def _two(aa: Floats, ab: Floats, bb: Floats, ay: Floats, by: Floats) -> tuple[Floats, Floats]:
    """Solve two normal equations; where the columns are one, the first takes all."""
    rest = bb - _ratio(ab, aa) * ab
    two = np.where(rest > 1e-13 * bb, _ratio(by - _ratio(ab, aa) * ay, rest), 0.0)
    one = np.where(aa > 0, _ratio(ay - ab * two, aa), 0.0)
    return one, two


def _within(
    one: Floats, two: Floats, moments: tuple[Floats, ...], low: Floats, high: Floats
) -> tuple[Floats, Bools]:
    """Keep both coefficients in [low, high].

    The problem is convex, so that its solution is the free one or lies on one of four edges, where
    it is that of one coefficient, cut off.
    """
    aa, ab, bb, ay, by = moments
    free = np.ones((*one.shape, 2), dtype=bool)
    outside = (one < low) | (one > high) | (two < low) | (two > high)
    if not outside.any():
        return np.stack([one, two], axis=-1), free
    low, high = (np.broadcast_to(bound, one.shape) for bound in (low, high))
    best = np.full(one.shape, np.inf)
    result = np.stack([one, two], axis=-1)
    for bound in (low, high):
        usable = outside & np.isfinite(bound)
        held = np.where(usable, bound, 0.0)
        for which, own, other, own_y, other_y in ((0, aa, bb, ay, by), (1, bb, aa, by, ay)):
            wanted = _ratio(other_y - ab * held, other)
            partner = np.clip(wanted, low, high)
            loss = held * (own * held - 2 * own_y) + partner * (
                other * partner - 2 * other_y + 2 * ab * held
            )
            better = usable & (loss < best)
            best = np.where(better, loss, best)
            result[..., which] = np.where(better, held, result[..., which])
            result[..., 1 - which] = np.where(better, partner, result[..., 1 - which])
            free[..., which] = np.where(better, False, free[..., which])
            free[..., 1 - which] = np.where(better, partner == wanted, free[..., 1 - which])
    return result, free
