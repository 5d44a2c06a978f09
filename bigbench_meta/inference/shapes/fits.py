"""Weighted least squares of one shape to many curves at once, by variable projection.

A shape is linear in one or two coefficients c and nonlinear in theta: f(u) = C(u, theta) c. For any
theta the best c is known in closed form, also within bounds, so that only theta is searched: on a
grid, and from its best nodes by Levenberg-Marquardt steps, all curves of a block together. Every
curve is computed apart from the others, whatever the block.

References:
    Golub & Pereyra (1973), "The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate", doi:10.1137/0710036. Kaufman (1975), "A variable projection
    method for solving separable nonlinear least squares problems", doi:10.1007/BF01932995.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.shapes.inputs import CommonForm
    from bigbench_meta.inference.shapes.models import Model

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["EXACT", "Fit", "fit_block"]

# Most descents take ten; along a curved valley with large residuals hundreds.
_MAX_STEPS: Final = 1000
# Steps after which only the best of many starts go on: few that lead then are overtaken later.
_HEAT_STEPS: Final = 20
# Cosine between residual and tangent at a minimum: a step would save a part of 1e-10 of the sum.
_ORTHOGONAL: Final = 1e-5
_LEAST_DAMPING: Final = 1e-10
# Mean squared residual, of scores of range 1, that counts as none.
EXACT: Final = 1e-16
# Least singular value of the scaled Jacobian of parameters that the points determine.
_IDENTIFIED: Final = 1e-6
# Numbers held in one array while the grid is searched.
_GRID_NUMBERS: Final = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The best of one shape for each curve of a block.

    Attributes:
        coefficients: Shape (m, number of coefficients).
        theta: Shape (m, number of thetas).
        rss: Weighted residual sum of squares, shape (m,).
        covariance: Of coefficients and theta at unit residual variance, shape (m, p, p). A theta
            that is not refined or lies on its bound counts as known; what the points do not
            determine has an enormous variance.
        converged: Whether theta is at a minimum, shape (m,).
        degenerate: Whether theta is on its bound or the points do not determine all parameters.
    """

    coefficients: Floats
    theta: Floats
    rss: Floats
    covariance: Floats
    converged: Bools
    degenerate: Bools


def fit_block(model: Model, block: CommonForm) -> Fit:
    """Fit one shape to a block of curves.

    Args:
        model: The shape.
        block: The curves, of at least as many points as the shape has parameters.

    Returns:
        The fits.
    """
    starts = _best_nodes(model, block)
    if model.finalists < model.starts:
        starts, _ = _descended(model, block, starts, _HEAT_STEPS)
        starts = starts[:, : model.finalists]
    if model.strata:
        starts, arrived = _descended(model, block, starts, _MAX_STEPS)
    else:
        arrived = np.ones(starts.shape[:2], dtype=bool)
    theta, converged = starts[:, 0], arrived[:, 0]
    columns = model.columns(block.u, theta)
    coefficients, _ = _solve(model, columns, block)
    residual = block.w * (block.y - _times(columns, coefficients))
    at_bound = _at_bound(model, block, theta)
    covariance, determined = _covariance(model, block, theta, coefficients, at_bound)
    return Fit(
        coefficients=coefficients,
        theta=theta,
        rss=np.vecdot(residual, residual),
        covariance=covariance,
        converged=converged,
        degenerate=at_bound.any(axis=1) | ~determined,
    )


# Coefficients, in closed form --------------------------------------------------------------


def _times(columns: Floats, coefficients: Floats) -> Floats:
    """Return the sum of columns, (..., n, k), times their coefficients, (..., k)."""
    # One or two terms, which a sum over the last axis would take one by one.
    total = columns[..., 0] * coefficients[..., 0, None]
    for k in range(1, columns.shape[-1]):
        total = total + columns[..., k] * coefficients[..., k, None]
    return np.asarray(total)


def _over_points(a: Floats, b: Floats) -> Floats:
    """Return the sum of products over the points, the last axis but one."""
    return np.asarray(np.vecdot(a.swapaxes(-1, -2), b.swapaxes(-1, -2)))


def _solve(model: Model, columns: Floats, block: CommonForm) -> tuple[Floats, Bools]:
    """Return the best coefficients, (m, k), and which of them no bound holds.

    Args:
        model: The shape.
        columns: Shape (m, n, k).
        block: The curves.
    """
    weighted, target = columns * block.w[..., None], block.w * block.y
    first = weighted[..., 0]
    if model.n_linear == 1:
        coefficient = _ratio(np.vecdot(first, target), np.vecdot(first, first))[..., None]
        return coefficient, np.ones(coefficient.shape, dtype=bool)
    second = weighted[..., 1]
    moments = (
        np.vecdot(first, first), np.vecdot(first, second), np.vecdot(second, second),
        np.vecdot(first, target), np.vecdot(second, target),
    )  # fmt: skip
    return _from_moments(model, moments, block.low, block.high)


def _from_moments(
    model: Model, moments: tuple[Floats, ...], low: Floats, high: Floats
) -> tuple[Floats, Bools]:
    """Return the same of two columns from their weighted products with each other and with y."""
    aa, ab, bb, ay, by = moments
    one, two = _two(aa, ab, bb, ay, by)
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


# Theta ---------------------------------------------------------------------------------------


def _best_nodes(model: Model, block: CommonForm) -> Floats:
    """Return the thetas to start from, shape (m, starts, thetas): the best of the best strata."""
    found = np.empty((len(block.y), model.starts, model.n_theta))
    if not model.n_theta:
        return found
    # The columns are the same for all curves of the same scales.
    scales, kind = np.unique(block.u, axis=0, return_inverse=True)
    for number in range(len(scales)):
        own, u = np.flatnonzero(kind == number), scales[number : number + 1]
        grid = model.grid(u)
        columns = model.columns(u[:, None], grid)[0]
        at_a_time = max(1, _GRID_NUMBERS // len(columns))
        for begin in range(0, len(own), at_a_time):
            rows = own[begin : begin + at_a_time]
            rss = _rss(model, columns, block.take(rows))
            strata = rss.reshape(len(rss), model.strata or 1, -1)
            node = strata.argmin(axis=-1) + np.arange(strata.shape[1]) * strata.shape[2]
            order = np.argsort(strata.min(axis=-1), axis=1, kind="stable")[:, : model.starts]
            found[rows] = grid[0][np.take_along_axis(node, order, axis=1)]
    return found


def _rss(model: Model, columns: Floats, block: CommonForm) -> Floats:
    """Return the residual sum of squares at each node, (m, nodes), from columns (nodes, n, 2)."""
    first, second = np.ascontiguousarray(columns.T)  # (n, nodes) each
    weight = block.w**2
    target = weight * block.y
    moments = (
        weight @ first**2, weight @ (first * second), weight @ second**2, target @ first,
        target @ second,
    )  # fmt: skip
    low, high = block.low[:, None], block.high[:, None]
    one, two = np.moveaxis(_from_moments(model, moments, low, high)[0], -1, 0)
    aa, ab, bb, ay, by = moments
    total = np.vecdot(target, block.y)[:, None]
    return np.asarray(total + one * (one * aa - 2 * ay) + two * (two * bb - 2 * by + 2 * one * ab))


@dataclass
class _State:
    """Where the descent of each curve is."""

    theta: Floats
    rss: Floats
    jacobian: Floats
    residual: Floats


def _evaluate(model: Model, block: CommonForm, theta: Floats) -> _State:
    columns = model.columns(block.u, theta)
    coefficients, free = _solve(model, columns, block)
    residual = block.w * (block.y - _times(columns, coefficients))
    tangent = block.w[..., None] * model.slopes(block.u, theta, coefficients)
    weighted = columns * block.w[..., None] * free[..., None, :]
    return _State(theta, np.vecdot(residual, residual), _off(tangent, weighted), residual)


def _off(tangent: Floats, columns: Floats) -> Floats:
    """Take out of each tangent, (m, n, q), its part in the plane of the columns, (m, n, k)."""
    done: list[Floats] = []
    for k in range(columns.shape[-1]):
        column = columns[..., k]
        length = np.vecdot(column, column)[..., None]
        for earlier in done:
            column = column - earlier * np.vecdot(earlier, column)[..., None]
        rest = np.vecdot(column, column)[..., None]
        unit = column * np.where(rest > 1e-13 * length, 1 / np.sqrt(np.maximum(rest, 1e-300)), 0.0)
        along = _over_points(unit[..., None], tangent)
        tangent = tangent - unit[..., None] * along[..., None, :]
        done.append(unit)
    return tangent


def _descended(
    model: Model, block: CommonForm, starts: Floats, most_steps: int
) -> tuple[Floats, Bools]:
    """Descend from several starts of each curve, (m, starts, thetas); order them, the best first.

    Returns:
        Where they end, and whether they are at a minimum, shape (m, starts).
    """
    m, count, size = starts.shape
    repeated = block.take(np.repeat(np.arange(m), count))
    theta, rss, converged = _refine(model, repeated, starts.reshape(-1, size), most_steps)
    order = np.argsort(rss.reshape(m, count), axis=1, kind="stable")
    theta = np.take_along_axis(theta.reshape(starts.shape), order[..., None], axis=1)
    return theta, np.take_along_axis(converged.reshape(m, count), order, axis=1)


def _refine(
    model: Model, block: CommonForm, theta: Floats, most_steps: int
) -> tuple[Floats, Floats, Bools]:
    """Descend from each theta within its box; return theta, residual sum and convergence."""
    low, high = model.box(block.u)
    theta, rss = np.clip(theta, low, high), np.full(len(theta), np.inf)
    converged = np.zeros(len(theta), dtype=bool)
    rows = np.arange(len(theta))
    state = _evaluate(model, block, theta)
    rss[:] = state.rss
    damping = np.full(len(theta), 1e-3)
    for _ in range(most_steps):
        gradient, held = _gradient(state, low[rows], high[rows])
        # Where no step, however small, gets any lower, theta is on a plateau (which leaves it
        # undetermined) or as low as rounding lets it see.
        arrived = _at_minimum(state, gradient, held) | (damping > 1e12)
        theta[rows], rss[rows] = state.theta, state.rss
        converged[rows[arrived]] = True
        if arrived.all():
            break
        keep = ~arrived
        rows, damping = rows[keep], damping[keep]
        state = _State(
            state.theta[keep], state.rss[keep], state.jacobian[keep], state.residual[keep]
        )
        step = _step(state, gradient[keep], held[keep], damping)
        trial = _evaluate(
            model, block.take(rows), np.clip(state.theta + step, low[rows], high[rows])
        )
        better = trial.rss < state.rss
        damping = np.where(better, damping / 5, damping * 4)
        state = _State(
            *(
                np.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
                for new, old in (
                    (trial.theta, state.theta), (trial.rss, state.rss),
                    (trial.jacobian, state.jacobian), (trial.residual, state.residual),
                )
            )
        )  # fmt: skip
    return theta, rss, converged


def _gradient(state: _State, low: Floats, high: Floats) -> tuple[Floats, Bools]:
    """Return half the gradient, and which thetas it would push out of the box."""
    gradient = -_over_points(state.jacobian, state.residual[..., None])
    held = ((state.theta <= low) & (gradient > 0)) | ((state.theta >= high) & (gradient < 0))
    return gradient, held


def _at_minimum(state: _State, gradient: Floats, held: Bools) -> Bools:
    lengths = np.sqrt(_over_points(state.jacobian, state.jacobian) * state.rss[:, None])
    steep = np.abs(gradient) > _ORTHOGONAL * lengths
    exact = state.rss <= EXACT * state.residual.shape[-1]
    return np.asarray(exact | ~(steep & ~held).any(axis=-1))


def _step(state: _State, gradient: Floats, held: Bools, damping: Floats) -> Floats:
    free = ~held
    jacobian = state.jacobian * free[:, None, :]
    # A product of matrices adds up in an order that depends on the block's size; this does not.
    columns = jacobian.swapaxes(-1, -2)
    hessian = np.vecdot(columns[:, :, None], columns[:, None, :])
    unit = np.sqrt(np.maximum(np.einsum("mii->mi", hessian), 1e-14))
    # With a diagonal of about 1 and the damping on it, the matrix is never singular.
    hessian = hessian / (unit[..., :, None] * unit[..., None, :])
    diagonal = np.where(free, np.maximum(damping, _LEAST_DAMPING)[:, None], 1.0)
    hessian = hessian + diagonal[..., None] * np.eye(hessian.shape[-1])
    solved = np.linalg.solve(hessian, -(np.where(free, gradient, 0.0) / unit)[..., None])
    return np.asarray(solved[..., 0] / unit)


# What is known of the parameters -------------------------------------------------------------


def _at_bound(model: Model, block: CommonForm, theta: Floats) -> Bools:
    if not model.strata:
        return np.zeros((len(theta), 0), dtype=bool)
    low, high = model.box(block.u)
    near = 1e-6 * (high - low)
    return np.asarray((theta <= low + near) | (theta >= high - near))


def _covariance(
    model: Model, block: CommonForm, theta: Floats, coefficients: Floats, at_bound: Bools
) -> tuple[Floats, Bools]:
    """Return the inverse of J'WJ, and whether all parameters are determined."""
    slopes = model.slopes(block.u, theta, coefficients)
    jacobian = np.concatenate([model.columns(block.u, theta), slopes], axis=-1)
    jacobian = jacobian * block.w[..., None]
    known = np.concatenate([np.zeros(coefficients.shape, dtype=bool), at_bound], axis=1)
    jacobian[..., : known.shape[1]] *= ~known[:, None, :]
    lengths = np.sqrt((jacobian**2).sum(axis=-2))
    least = 1e-9 * np.maximum(lengths.max(axis=-1, keepdims=True), 1e-300)
    lengths = np.maximum(lengths, least)
    _, singular, turned = np.linalg.svd(jacobian / lengths[:, None, :], full_matrices=False)
    inverse = turned / np.maximum(singular, 1e-9)[..., None]
    inverse = inverse / lengths[:, None, :] * ~known[:, None, :]
    p, size = jacobian.shape[-1], coefficients.shape[1] + model.n_theta
    covariance = np.zeros((len(theta), size, size))
    covariance[:, :p, :p] = (inverse[..., :, None] * inverse[..., None, :]).sum(axis=-3)
    least_singular = np.where(
        np.arange(p) < p - known.sum(axis=1)[:, None], singular, np.inf
    ).min(axis=-1)  # fmt: skip
    return covariance, least_singular > _IDENTIFIED
