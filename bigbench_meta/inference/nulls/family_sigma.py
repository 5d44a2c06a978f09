"""The variation between models, pooled over the curves of a model family.

Eight scores say little about their own scatter. The curves of a family have the same models: their
moment equations, summed, give one sigma; a curve's own equation is left out for the curve itself,
and the upper limit of the confidence interval is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtri

from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    MechanismCurves,
    dispersion,
    pieces,
)
from bigbench_meta.inference.nulls.mechanism_fit import SIGMA_MAX, fit_mechanism
from bigbench_meta.inference.nulls.monte_carlo import OK, is_flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["CONFIDENCE", "SIGMA_GRID", "family_sigma", "sigma_profile"]

SIGMA_GRID: Final = np.concatenate([[0.0], np.geomspace(0.01, SIGMA_MAX, 24)])
"""Values of sigma at which each curve is fitted before the equations of a family are summed."""

CONFIDENCE: Final = 0.9
"""Of the upper limit that is taken for a family's sigma.

The sigma of few curves is uncertain, and one that is too small makes jumps of what is variation.
"""

_QUANTILE: Final = float(ndtri(CONFIDENCE))


def sigma_profile(
    curves: MechanismCurves, *, alpha_range: tuple[float, float] = ALPHA_RANGE
) -> Floats:
    """Return each curve's moment equation of the variation between models, to be summed.

    Args:
        curves: The curves; what is known of their sigma is ignored.
        alpha_range: Bounds of the exponent.

    Returns:
        Observed less expected sum of squares with sigma at each of :data:`SIGMA_GRID`, shape
        (m, 25): positive where sigma is too small. Zeros for a curve that is flat, too short or
        could not be fitted. The root of a family's sum is its sigma.
    """
    profile = np.zeros((len(curves.ragged), len(SIGMA_GRID)))
    for rows, scores, design, _ in curves.blocks():
        # Every curve with every value at once: blocks are short, and steps cost as much for few.
        shape = (len(rows), len(SIGMA_GRID))
        many = np.repeat(np.arange(len(rows)), len(SIGMA_GRID))
        sigma, scores, design = np.tile(SIGMA_GRID, len(rows)), scores[:, many], design.take(many)
        fit = fit_mechanism(scores, design, alpha_range=alpha_range, sigma=sigma)
        found = pieces(scores, fit.log_loss(design.x), sigma, design)
        observed, expected = dispersion(found, design.x, fit.at_bound != 0)
        usable = (~is_flat(scores) & (fit.status == OK)).reshape(shape).all(axis=1)
        profile[rows[usable]] = (observed - expected).reshape(shape)[usable]
    return profile


def family_sigma(profile: Floats, curve: Ints, kind: Ints, family: Ints) -> Floats:
    """Return the sigma of each row from the other curves of its family.

    A curve may have several rows, one for each guess rate and kind of link that it may have. A
    row's sigma is that of the other curves with its own kind of link; of a curve with several guess
    rates, or without such a link, the row that needs the least variation is used.

    Args:
        profile: What :func:`sigma_profile` returned, shape (r, 25).
        curve: Number of each row's curve, shape (r,).
        kind: Number of each row's kind of link, shape (r,), from 0 on.
        family: Number of each curve's family, shape (m,), from 0 on.

    Returns:
        Sigma of shape (r,): the root of the summed equations plus 1.28 standard errors of the sum,
        which is the upper limit at a :data:`CONFIDENCE` of 90%; linear in sigma^2 between the
        values of the grid, at most the largest of them. A single other curve gives that one, since
        its equation is as uncertain as it is large. NaN where no other curve has an equation.

    Examples:
        >>> alone = 1.0 - (SIGMA_GRID / 0.2) ** 2  # an equation whose root is 0.2
        >>> row = np.arange(101)
        >>> family_sigma(np.array([alone] * 101), row, 0 * row, row // 100)[[0, 99, 100]].round(3)
        array([0.2, 0.2, nan])
    """
    needed = np.maximum(profile, 0.0).sum(axis=1)
    sigma = np.full(len(curve), np.nan)
    for number in range(int(kind.max(initial=-1)) + 1):
        order = np.lexsort((needed, kind != number, curve))
        curves, first = np.unique(curve[order], return_index=True)
        whole = np.zeros((len(family), profile.shape[1]))
        whole[curves] = profile[order[first]]
        own = kind == number
        sigma[own] = _pooled(whole, family)[curve[own]]
    return sigma


def _pooled(profile: Floats, family: Ints) -> Floats:
    """Return the sigma of each curve, shape (m,), from the other profiles of its family."""
    n_families, m = int(family.max(initial=-1)) + 1, len(family)
    total = np.zeros((n_families, len(SIGMA_GRID)))
    np.add.at(total, family, profile)
    square = np.zeros_like(total)
    np.add.at(square, family, profile**2)
    known = profile.any(axis=1)
    others_known = np.bincount(family, weights=known, minlength=n_families)[family] - known
    others = total[family] - profile
    # Equations of different curves are taken as independent: their sum has this standard error.
    error = np.sqrt(np.maximum(square[family] - profile**2, 0.0))
    upper = others + _QUANTILE * error
    # The largest sigma that is still too small: the sum can have more than one root.
    below = np.where(upper > 0, np.arange(len(SIGMA_GRID)), -1).max(axis=1)
    left = np.clip(below, 0, len(SIGMA_GRID) - 2)
    row = np.arange(m)
    high, low = upper[row, left], upper[row, left + 1]
    part = np.clip(high / np.where(high == low, 1.0, high - low), 0.0, 1.0)
    grid = SIGMA_GRID**2
    root = np.sqrt(grid[left] + part * (grid[left + 1] - grid[left]))
    root = np.where(below == len(SIGMA_GRID) - 1, SIGMA_MAX, root)
    return np.where(others_known == 0, np.nan, np.where(below < 0, 0.0, root))
