"""Compiled loops over single curves: formulas of shapes, grid search, and descent.

One function gives what each shape is at one u; everything else, here and for arrays, is made from
it. All of them are in this file because code that is kept on disk is compiled anew only when the
file of the function that is called changes.

A shape is f(u) = c_1 first + c_2 second, with coefficients c in closed form and theta searched by
variable projection, see :mod:`inference.shapes.fits`. Arrays are of floats and C-contiguous.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Parts = tuple[float, float, float, float, float, float]

__all__ = [
    "BROKEN_POWER_LAW",
    "CONSTANT",
    "EXACT",
    "LOGISTIC",
    "LOG_LINEAR",
    "POWER_LAW",
    "STEP",
    "best_nodes",
    "descend",
    "tabulate",
]

CONSTANT, LOG_LINEAR, POWER_LAW, STEP, LOGISTIC, BROKEN_POWER_LAW = range(6)

EXACT: Final = 1e-16
"""Mean squared residual, of scores of range 1, that counts as none."""

# Cosine between residual and tangent at a minimum: a step would save a part of 1e-10 of the sum.
_ORTHOGONAL: Final = 1e-5
_FIRST_DAMPING: Final = 1e-3
_LEAST_DAMPING: Final = 1e-10
# Where no step, however small, gets any lower, theta is on a plateau (which leaves it undetermined)
# or as low as rounding lets it see.
_LARGEST_DAMPING: Final = 1e12
# Part of the square of a column outside the plane of another below which they count as one.
_SAME: Final = 1e-13


# Formulas: both columns at one u, and the derivatives of the second by theta ------------------


@compiled
def _power_law(u: float, theta: Floats) -> Parts:
    """Return e = exp(-c u) and 1 - e; theta = (log c)."""
    exponent = -math.exp(theta[0]) * u
    left = math.exp(exponent)
    return left, -math.expm1(exponent), -exponent * left, 0.0, 0.0, 0.0


@compiled
def _step(u: float, theta: Floats) -> Parts:
    """Return whether u is below d and whether it is not; theta = (d), without a derivative."""
    above = 1.0 if u >= theta[0] else 0.0
    return 1.0 - above, above, 0.0, 0.0, 0.0, 0.0


@compiled
def _logistic(u: float, theta: Floats) -> Parts:
    """Return 1 - s and s = expit(k (u - m)); theta = (m, log k)."""
    steepness = math.exp(theta[1])
    z = steepness * (u - theta[0])
    falling, rising = _expit(-z), _expit(z)
    density = rising * falling
    return falling, rising, -steepness * density, z * density, 0.0, 0.0


@compiled
def _broken_power_law(u: float, theta: Floats) -> Parts:
    """Return 1 and exp(h(u) - h(0)), h = -c0 u - c1 f softplus((u - d) / f).

    theta = (d, c0, c1, log f).
    """
    bend, width = theta[2], math.exp(theta[3])
    z, z0 = (u - theta[0]) / width, -theta[0] / width
    (soft, above), (soft0, above0) = _softplus(z), _softplus(z0)
    soft -= soft0
    power = math.exp(-theta[1] * u - bend * width * soft)
    by_width = -bend * width * (soft - (z * above - z0 * above0))
    return (
        1.0,
        power,
        power * bend * (above - above0),
        power * -u,
        power * -width * soft,
        power * by_width,
    )


@compiled
def _expit(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z))


@compiled
def _softplus(z: float) -> tuple[float, float]:
    """Return log(1 + e^z) and its derivative, which is expit(z)."""
    small = math.exp(-abs(z))
    return max(z, 0.0) + math.log1p(small), (1.0 if z >= 0 else small) / (1.0 + small)


@compiled
def _shape(kind: int, u: float, theta: Floats) -> Parts:
    """Return the columns of a kind of shape at one u, and four derivatives of the second."""
    if kind == POWER_LAW:
        return _power_law(u, theta)
    if kind == STEP:
        return _step(u, theta)
    if kind == LOGISTIC:
        return _logistic(u, theta)
    if kind == BROKEN_POWER_LAW:
        return _broken_power_law(u, theta)
    return 1.0, (u if kind == LOG_LINEAR else 0.0), 0.0, 0.0, 0.0, 0.0


@compiled
def tabulate(kind: int, u: Floats, theta: Floats) -> Floats:
    """Return columns and derivatives of the second at u, (m, n), of theta, (m, q): (m, n, 6)."""
    m, n = u.shape
    found = np.empty((m, n, 6))
    for row in range(m):
        for i in range(n):
            parts = _shape(kind, u[row, i], theta[row])
            for place in range(6):
                found[row, i, place] = parts[place]
    return found


# Coefficients, in closed form -----------------------------------------------------------------


@compiled
def _coefficients(
    aa: float, ab: float, bb: float, ay: float, by: float, low: float, high: float
) -> tuple[float, float, bool, bool]:
    """Return the best coefficients in [low, high], and which of them no bound holds.

    The problem is convex, so that its solution is the free one or lies on one of four edges, where
    it is that of one coefficient, cut off. Where the columns are one, the first takes all.

    Args:
        aa: Weighted product of the first column with itself.
        ab: With the second.
        bb: Of the second with itself.
        ay: Of the first with the scores.
        by: Of the second with the scores.
        low: Least coefficient, -inf for none.
        high: Largest, inf for none.
    """
    along = _ratio(ab, aa)
    rest = bb - along * ab
    two = _ratio(by - along * ay, rest) if rest > _SAME * bb else 0.0
    one = _ratio(ay - ab * two, aa)
    found = one, two, True, True
    if not (one < low or one > high or two < low or two > high):
        return found
    best = math.inf
    for bound in (low, high):
        if not math.isinf(bound):
            loss, other, free = _partner(bound, aa, ab, bb, ay, by, low, high)
            if loss < best:
                best, found = loss, (bound, other, False, free)
            loss, other, free = _partner(bound, bb, ab, aa, by, ay, low, high)
            if loss < best:
                best, found = loss, (other, bound, free, False)
    return found


@compiled
def _partner(
    held: float, own: float, both: float, other: float, own_y: float, other_y: float,
    low: float, high: float,
) -> tuple[float, float, bool]:  # fmt: skip
    """Return the loss where one coefficient is held, the other one, and whether that is free."""
    wanted = _ratio(other_y - both * held, other)
    partner = min(max(wanted, low), high)
    loss = held * (own * held - 2 * own_y)
    loss += partner * (other * partner - 2 * other_y + 2 * both * held)
    return loss, partner, partner == wanted


@compiled
def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 0.0


# Grid search ----------------------------------------------------------------------------------


@compiled
def best_nodes(
    kind: int, u: Floats, y: Floats, w: Floats, low: Floats, high: Floats, grid: Floats,
    strata: int, starts: int,
) -> Floats:  # fmt: skip
    """Return the thetas to start from, (m, starts, q): the best nodes of the best strata.

    Args:
        kind: The kind of shape.
        u: Log scales, the same for all curves, shape (n,).
        y: Scores, shape (m, n).
        w: Square roots of the weights, likewise.
        low: Least coefficient of each curve, shape (m,).
        high: Largest, likewise.
        grid: Thetas, shape (nodes, q), in strata of equal length.
        strata: Number of them.
        starts: Nodes to return.
    """
    (m, n), (nodes, size) = y.shape, grid.shape
    columns, sums = np.empty((2, n, nodes)), np.empty(nodes)
    for node in range(nodes):
        for i in range(n):
            parts = _shape(kind, u[i], grid[node])
            columns[0, i, node], columns[1, i, node] = parts[0], parts[1]
    found, moments = np.empty((m, starts, size)), np.empty((5, nodes))
    least, best = np.empty(strata), np.empty(strata, dtype=np.int64)
    for row in range(m):
        _sums_at_nodes(columns, y[row], w[row], low[row], high[row], moments, sums)
        for stratum in range(strata):
            best[stratum] = stratum * (nodes // strata)
            for node in range(best[stratum], best[stratum] + nodes // strata):
                if sums[node] < sums[best[stratum]]:
                    best[stratum] = node
            least[stratum] = sums[best[stratum]]
        order = _smallest_first(least)
        for start in range(starts):
            for k in range(size):
                found[row, start, k] = grid[best[order[start]], k]
    return found


@compiled
def _sums_at_nodes(
    columns: Floats, y: Floats, w: Floats, low: float, high: float, moments: Floats, sums: Floats
) -> None:
    """Find the sum of squared residuals at each node, from columns of shape (2, n, nodes)."""
    total = 0.0
    for node in range(len(sums)):
        for place in range(5):
            moments[place, node] = 0.0
    for i in range(len(y)):
        weight = w[i] ** 2
        target = weight * y[i]
        total += target * y[i]
        for node in range(len(sums)):
            a, b = columns[0, i, node], columns[1, i, node]
            moments[0, node] += weight * (a * a)
            moments[1, node] += weight * (a * b)
            moments[2, node] += weight * (b * b)
            moments[3, node] += target * a
            moments[4, node] += target * b
    for node in range(len(sums)):
        aa, ab, bb = moments[0, node], moments[1, node], moments[2, node]
        ay, by = moments[3, node], moments[4, node]
        one, two, _, _ = _coefficients(aa, ab, bb, ay, by, low, high)
        sums[node] = total + one * (one * aa - 2 * ay) + two * (two * bb - 2 * by + 2 * one * ab)


@compiled
def _smallest_first(values: Floats) -> NDArray[np.int64]:
    """Return the order of the values, the first of equal ones first."""
    order = np.empty(len(values), dtype=np.int64)
    for own in range(len(values)):
        place = own
        while place > 0 and values[order[place - 1]] > values[own]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = own
    return order


# Descent --------------------------------------------------------------------------------------


@compiled
def descend(
    kind: int, asymptotes: bool, curves: Floats, low: Floats, high: Floats, box: Floats,
    starts: Floats, finalists: int, heat: int, most: int,
) -> tuple[Floats, Floats, Floats, Bools]:  # fmt: skip
    """Fit curves from the thetas to start from.

    Args:
        kind: The kind of shape.
        asymptotes: Whether the columns add up to 1; else the first does not depend on theta.
        curves: Log scale, score and square root of the weight of each point, shape (m, 3, n).
        low: Least coefficient of each curve, shape (m,).
        high: Largest, likewise.
        box: Bounds of theta, shape (m, 2, q).
        starts: Thetas, shape (m, starts, q); they are moved.
        finalists: How many of them go on after a heat, which there is if these are not all.
        heat: Evaluations of the shape in it.
        most: Most evaluations afterwards.

    Returns:
        Theta (m, q), coefficients (m, 2), weighted residual sum of squares (m,), and whether theta
        is at a minimum.
    """
    m, count, size = starts.shape
    theta, coefficients = np.empty((m, size)), np.empty((m, 2))
    rss, converged = np.empty(m), np.empty(m, dtype=np.bool_)
    work = np.empty((2, 3 + size, curves.shape[2]))
    ends = np.empty(count)
    for row in range(m):
        rss[row] = math.inf
        for start in range(count):
            ends[start] = 0.0
            if finalists < count:
                ends[start], _, _, _ = _descent(
                    kind, asymptotes, curves[row], low[row], high[row], box[row],
                    starts[row, start], heat, work,
                )  # fmt: skip
        order = _smallest_first(ends)
        for place in range(finalists):
            start = order[place]
            end, one, two, arrived = _descent(
                kind, asymptotes, curves[row], low[row], high[row], box[row],
                starts[row, start], most, work,
            )  # fmt: skip
            if end < rss[row]:
                rss[row], converged[row] = end, arrived
                coefficients[row, 0], coefficients[row, 1] = one, two
                for k in range(size):
                    theta[row, k] = starts[row, start, k]
    return theta, coefficients, rss, converged


@compiled
def _descent(
    kind: int, asymptotes: bool, curve: Floats, low: float, high: float, box: Floats,
    theta: Floats, most: int, work: Floats,
) -> tuple[float, float, float, bool]:  # fmt: skip
    """Descend from theta, in place.

    Returns:
        The sum of squares, the coefficients, and whether it is a minimum.
    """
    n, size = curve.shape[1], len(theta)
    rss, one, two, steep, damping = math.inf, 0.0, 0.0, False, 5 * _FIRST_DAMPING
    gradient, held, moved = np.empty(size), np.empty(size, dtype=np.bool_), np.empty(size)
    for k in range(size):
        moved[k] = min(max(theta[k], box[0, k]), box[1, k])
    state, trial = work[0], work[1]
    for _ in range(most):
        lower, first, second = _evaluate(kind, asymptotes, curve, low, high, moved, trial)
        if lower < rss:
            rss, one, two = lower, first, second
            damping /= 5
            state, trial = trial, state
            _project(state)
            steep = False
            for k in range(size):
                theta[k] = moved[k]
                slope = -_dot(state, 3 + k, 2)
                length = math.sqrt(_dot(state, 3 + k, 3 + k) * rss)
                out = theta[k] <= box[0, k] if slope > 0 else theta[k] >= box[1, k]
                gradient[k], held[k] = slope, out
                steep |= not out and abs(slope) > _ORTHOGONAL * length
        else:
            damping *= 4
        if not steep or rss <= EXACT * n or damping > _LARGEST_DAMPING:
            return rss, one, two, True
        _damped_step(state, gradient, held, damping, moved)
        for k in range(size):
            moved[k] = min(max(theta[k] + moved[k], box[0, k]), box[1, k])
    return rss, one, two, False


@compiled
def _evaluate(
    kind: int, asymptotes: bool, curve: Floats, low: float, high: float, theta: Floats,
    state: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Return the sum of squares and the best coefficients at theta.

    Leaves the columns that no bound holds, the residuals, and the tangents, all weighted, in the
    rows of ``state``, shape (3 + q, n).
    """
    aa, ab, bb, ay, by = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(curve.shape[1]):
        w = curve[2, i]
        parts = _shape(kind, curve[0, i], theta)
        a, b, target = w * parts[0], w * parts[1], w * curve[1, i]
        aa, ab, bb = aa + a * a, ab + a * b, bb + b * b
        ay, by = ay + a * target, by + b * target
        state[0, i], state[1, i] = parts[0], parts[1]
        for k in range(len(theta)):
            state[3 + k, i] = parts[2 + k]
    one, two, one_free, two_free = _coefficients(aa, ab, bb, ay, by, low, high)
    rss, amplitude = 0.0, (two - one if asymptotes else two)
    for i in range(curve.shape[1]):
        w = curve[2, i]
        residual = w * (curve[1, i] - (one * state[0, i] + two * state[1, i]))
        rss += residual * residual
        state[0, i] *= w if one_free else 0.0
        state[1, i] *= w if two_free else 0.0
        state[2, i] = residual
        for k in range(len(theta)):
            state[3 + k, i] *= w * amplitude
    return rss, one, two


@compiled
def _project(state: Floats) -> None:
    """Take out of each tangent its part in the plane of the columns."""
    _to_unit(state, 0, _dot(state, 0, 0))
    square = _dot(state, 1, 1)
    _take_out(state, 0, 1)
    _to_unit(state, 1, square)
    for row in range(3, len(state)):
        _take_out(state, 0, row)
        _take_out(state, 1, row)


@compiled
def _to_unit(state: Floats, row: int, square: float) -> None:
    """Give a row length 1, or 0 where little is left of its former square."""
    rest = _dot(state, row, row)
    factor = 1 / math.sqrt(max(rest, 1e-300)) if rest > _SAME * square else 0.0
    for i in range(state.shape[1]):
        state[row, i] *= factor


@compiled
def _take_out(state: Floats, unit: int, row: int) -> None:
    """Take out of a row its part along another, which has length 1."""
    along = _dot(state, unit, row)
    for i in range(state.shape[1]):
        state[row, i] -= state[unit, i] * along


@compiled
def _dot(state: Floats, one: int, other: int) -> float:
    total = 0.0
    for i in range(state.shape[1]):
        total += state[one, i] * state[other, i]
    return total


@compiled
def _damped_step(
    state: Floats, gradient: Floats, held: Bools, damping: float, step: Floats
) -> None:
    """Find the step of Levenberg and Marquardt; what is held does not move."""
    size = len(gradient)
    matrix, unit = np.empty((size, size)), np.empty(size)
    for a in range(size):
        unit[a] = 1.0 if held[a] else math.sqrt(max(_dot(state, 3 + a, 3 + a), 1e-14))
        step[a] = 0.0 if held[a] else -gradient[a] / unit[a]
        for b in range(a + 1):
            free = not (held[a] or held[b])
            product = _dot(state, 3 + a, 3 + b) / (unit[a] * unit[b]) if free else 0.0
            matrix[a, b] = matrix[b, a] = product
        # With a diagonal of about 1 and the damping on it, the matrix is never singular.
        matrix[a, a] += 1.0 if held[a] else max(damping, _LEAST_DAMPING)
    for a in range(size):
        for b in range(a + 1, size):
            factor = matrix[b, a] / matrix[a, a]
            step[b] -= factor * step[a]
            for c in range(a + 1, size):
                matrix[b, c] -= factor * matrix[a, c]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            step[a] -= matrix[a, c] * step[c]
        step[a] /= matrix[a, a]
    for a in range(size):
        step[a] /= unit[a]
