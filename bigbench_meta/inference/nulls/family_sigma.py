"""The variation between models of a curve, as a distribution learned from its family.

Eight scores say little about their own scatter. The curves of a family have the same models, but
need not scatter alike: sigma is taken as lognormal over the curves of a family, with a centre and
a spread that the other curves make more or less likely, and what follows for one more curve is a
distribution over a grid of values. It is an empirical Bayes estimate as that of Smyth (2004) for
variances of genes, with the uncertainty of centre and spread carried along, so that a family of
three curves promises less than one of three hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr

from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    SIGMA_GRID,
    MechanismCurves,
    leverage,
    mechanism_moments,
    pieces,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.monte_carlo import OK, is_flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["SPREADS", "STRANGERS", "family_variation", "sigma_likelihood"]

SPREADS: Final = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
"""Standard deviations of log sigma over the curves of a family that are tried."""

STRANGERS: Final = 0.1
"""Share of curves whose scatter may be anything, when centre and spread are estimated.

A true jump is scatter too. Without it a tenth of jumps would make any sigma likely for all.
"""


def sigma_likelihood(
    curves: MechanismCurves, *, alpha_range: tuple[float, float] = ALPHA_RANGE
) -> Floats:
    r"""Return the log-likelihood of each curve's variation between models.

    It is the integral over log sigma squared of the estimating equation
    :math:`\tfrac12 \sum_i b_i (r_i^2 / V_i - 1 + h_i)`, with residuals r and leverages h of the fit
    at that sigma, V the variance of a score and b the share of it that comes from sigma: the
    restricted likelihood of normal residuals, in which points that show nothing but resolution
    count for nothing.

    Args:
        curves: The curves; what is known of their variation is ignored.
        alpha_range: Bounds of the exponent.

    Returns:
        Shape (m, 24), at :data:`SIGMA_GRID`, 0 at its first value. Zeros for a curve that is flat,
        too short or could not be fitted.

    References:
        Patterson & Thompson (1971), doi:10.1093/biomet/58.3.545.
    """
    found = np.zeros((len(curves.ragged), len(SIGMA_GRID)))
    for rows, scores, design, _ in curves.blocks():
        # Every curve with every value at once: blocks are short, and steps cost as much for few.
        shape = (len(rows), len(SIGMA_GRID))
        many = np.repeat(np.arange(len(rows)), len(SIGMA_GRID))
        sigma, scores, design = np.tile(SIGMA_GRID, len(rows)), scores[:, many], design.take(many)
        fit = fit_mechanism(scores, design, alpha_range=alpha_range, sigma=sigma)
        log_loss = fit.log_loss(design)
        part = pieces(scores, log_loss, sigma, design)
        left = leverage(part, design.law(fit.alpha)[1], fit.at_bound != 0)
        between = mechanism_moments(log_loss, sigma, design)[2] * part.weight
        excess = part.residual**2 * part.weight - (1 - left)
        steep = 0.5 * (between * excess).sum(axis=0).reshape(shape)
        usable = (~is_flat(scores) & (fit.status == OK)).reshape(shape).all(axis=1)
        width = 2 * np.diff(np.log(SIGMA_GRID))
        rise = np.cumsum((steep[:, 1:] + steep[:, :-1]) / 2 * width, axis=1)
        found[rows[usable], 1:] = rise[usable]
    return found


def family_variation(likelihood: Floats, curve: Ints, kind: Ints, family: Ints) -> Floats:
    """Return the distribution of each row's sigma from the other curves of its family.

    A curve may have several rows, one for each guess rate and kind of link that it may have. A
    row's distribution is that of the other curves with its own kind of link; of a curve with
    several guess rates, or without such a link, the row that needs the least variation is used.

    Args:
        likelihood: What :func:`sigma_likelihood` returned, shape (r, 24).
        curve: Number of each row's curve, shape (r,).
        kind: Number of each row's kind of link, shape (r,), from 0 on.
        family: Number of each curve's family, shape (m,), from 0 on.

    Returns:
        Probabilities of :data:`SIGMA_GRID`, shape (r, 24): lognormal distributions of every centre
        of the grid and every one of :data:`SPREADS`, each by its likelihood in the other curves.
        NaN where no other curve says anything.

    References:
        Smyth (2004), doi:10.2202/1544-6115.1027. Phipson et al. (2016), with robust estimates,
        doi:10.1214/16-AOAS920.

    Examples:
        >>> alone = -4 * (np.log(SIGMA_GRID / 0.2)) ** 2  # one that is likeliest at 0.2
        >>> row = np.arange(101)
        >>> found = family_variation(np.array([alone] * 101), row, 0 * row, row // 100)
        >>> np.exp(found[[0, 100]] @ np.log(SIGMA_GRID)).round(2)
        array([0.2, nan])
    """
    least = _shares(likelihood) @ np.log(SIGMA_GRID)
    found = np.full(likelihood.shape, np.nan)
    for number in range(int(kind.max(initial=-1)) + 1):
        order = np.lexsort((least, kind != number, curve))
        curves, first = np.unique(curve[order], return_index=True)
        whole = np.zeros((len(family), likelihood.shape[1]))
        whole[curves] = likelihood[order[first]]
        own = kind == number
        found[own] = _predicted(whole, family)[curve[own]]
    return found


def _predicted(likelihood: Floats, family: Ints) -> Floats:
    """Return the distribution of each curve, shape (m, 24), from the others of its family."""
    n_families = int(family.max(initial=-1)) + 1
    priors = _priors()
    alike = np.maximum(_shares(likelihood) @ priors.T, 1e-300)
    # In units of what a curve says if its sigma may be anything.
    any_ = 1 / likelihood.shape[1]
    by_curve = np.log((1 - STRANGERS) * alike / any_ + STRANGERS)
    known = likelihood.any(axis=1)
    by_curve[~known] = 0.0
    total = np.zeros((n_families, len(priors)))
    np.add.at(total, family, by_curve)
    others = np.bincount(family, weights=known, minlength=n_families)[family] - known
    found = _shares(total[family] - by_curve) @ priors
    found[others == 0] = np.nan
    return found


def _shares(log: Floats) -> Floats:
    """Return exp of each row over its sum."""
    raised = np.exp(log - log.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _priors() -> Floats:
    """Return the lognormal distributions over the grid, shape (24 x 7, 24)."""
    log = np.log(SIGMA_GRID)
    edges = np.concatenate([[-np.inf], (log[1:] + log[:-1]) / 2, [np.inf]])
    rows = []
    for spread in SPREADS:
        for centre in log:
            below = ndtr((edges - centre) / spread) if spread else (edges > centre) * 1.0
            rows.append(np.diff(below))
    return np.array(rows)
