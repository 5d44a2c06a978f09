"""Weighted least squares of one shape to many curves, by variable projection.

A shape is linear in one or two coefficients c and nonlinear in theta: f(u) = C(u, theta) c. For any
theta the best c is known in closed form, also within bounds, so that only theta is searched: on a
grid, and from its best nodes by Levenberg-Marquardt steps. Every curve is fitted by itself, in the
compiled loops of :mod:`inference.shapes.loops`.

References:
    Golub & Pereyra (1973), "The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate", doi:10.1137/0710036. Kaufman (1975), "A variable projection
    method for solving separable nonlinear least squares problems", doi:10.1007/BF01932995.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.inference.shapes.loops import best_nodes, descend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.shapes.inputs import CommonForm
    from bigbench_meta.inference.shapes.models import Model

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["Fit", "fit_block"]

# Most descents take ten evaluations; along a curved valley with large residuals hundreds.
_MOST: Final = 1000
# After these only the best of many starts go on: few that lead then are overtaken later.
_HEAT: Final = 20
# Least singular value of the scaled Jacobian of parameters that the points determine.
_IDENTIFIED: Final = 1e-6


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
    if not model.asymptotes:
        nowhere = np.full(len(block.y), np.inf)
        block = replace(block, low=-nowhere, high=nowhere)
    box = np.ascontiguousarray(model.box(block.u).swapaxes(0, 1))
    theta, coefficients, rss, converged = descend(
        model.kind, model.asymptotes, np.stack([block.u, block.y, block.w], axis=1),
        block.low, block.high, box, _starts(model, block), model.finalists, _HEAT, _MOST,
    )  # fmt: skip
    coefficients = coefficients[:, : model.n_linear]
    at_bound = np.zeros(theta.shape, dtype=bool)
    if model.strata:
        near = 1e-6 * (box[:, 1] - box[:, 0])
        at_bound = (theta <= box[:, 0] + near) | (theta >= box[:, 1] - near)
    covariance, determined = _covariance(model, block, theta, coefficients, at_bound)
    return Fit(
        coefficients=coefficients,
        theta=theta,
        rss=rss,
        covariance=covariance,
        converged=converged,
        degenerate=at_bound.any(axis=1) | ~determined,
    )


def _starts(model: Model, block: CommonForm) -> Floats:
    """Return the thetas to start from, shape (m, starts, thetas): the best of the best strata."""
    found = np.empty((len(block.y), model.starts, model.n_theta))
    if not model.n_theta:
        return found
    # The columns are the same for all curves of the same scales.
    scales, kind = np.unique(block.u, axis=0, return_inverse=True)
    for number, u in enumerate(scales):
        own = np.flatnonzero(kind == number)
        some, grid = block.take(own), model.grid(u[None])[0]
        found[own] = best_nodes(
            model.kind, u, some.y, some.w, some.low, some.high, grid,
            model.strata or 1, model.starts,
        )  # fmt: skip
    return found


def _covariance(
    model: Model, block: CommonForm, theta: Floats, coefficients: Floats, at_bound: Bools
) -> tuple[Floats, Bools]:
    """Return the inverse of J'WJ, and whether all parameters are determined."""
    known = np.zeros((len(theta), coefficients.shape[1] + model.n_theta), dtype=bool)
    known[:, coefficients.shape[1] :] = at_bound | (model.strata == 0)
    jacobian = model.jacobian(block.u, theta, coefficients) * block.w[..., None]
    jacobian *= ~known[:, None, :]
    lengths = np.sqrt((jacobian**2).sum(axis=-2))
    least = 1e-9 * np.maximum(lengths.max(axis=-1, keepdims=True), 1e-300)
    lengths = np.maximum(lengths, least)
    _, singular, turned = np.linalg.svd(jacobian / lengths[:, None, :], full_matrices=False)
    inverse = turned / np.maximum(singular, 1e-9)[..., None]
    inverse = inverse / lengths[:, None, :] * ~known[:, None, :]
    covariance = (inverse[..., :, None] * inverse[..., None, :]).sum(axis=-3)
    unknown = np.arange(known.shape[1]) < (~known).sum(axis=1, keepdims=True)
    return covariance, np.where(unknown, singular, np.inf).min(axis=-1) > _IDENTIFIED
