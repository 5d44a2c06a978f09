"""The mechanism one point at a time, from its formulas: for tests of the batched versions."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize

NODES = ((0.0, 2 / 3), (math.sqrt(3), 1 / 6), (-math.sqrt(3), 1 / 6))
RESOLUTION = 0.5


def share(link, log_loss):
    """Return the share of what can be gained, and its derivative, of the links with formulas."""
    loss = math.exp(min(log_loss, 30.0))
    right = math.exp(-loss)
    if link.kind == "share":
        return right, -loss * right
    assert link.kind == "brier"
    return 1 - (1 - right) ** 2, -2 * (1 - right) * loss * right


def moments(link, log_loss, sigma, floor, span):
    """Mean, slope and variance between models of one score."""
    at = [(weight, *share(link, log_loss + node * sigma)) for node, weight in NODES]
    mean = sum(weight * value for weight, value, _ in at)
    slope = sum(weight * change for weight, _, change in at)
    square = sum(weight * value**2 for weight, value, _ in at)
    return floor + span * mean, span * slope, max(square - mean**2, 0.0) * span**2


def law(level, alpha, where, irreducible=0.0):
    """Log of the loss, and minus its derivative by alpha."""
    reducible = math.exp(-alpha * where)
    return level + math.log(irreducible + reducible), where * reducible / (irreducible + reducible)


def curve_pieces(
    y, x, trials, parameters, link, floor, span, resolution=RESOLUTION, irreducible=0.0
):
    """Residual, slope, variance and weight of each point of a curve."""
    level, alpha, sigma = parameters
    rows = []
    for score, where, n in zip(y, x, trials, strict=True):
        log_loss, _ = law(level, alpha, where, irreducible)
        mean, slope, between = moments(link, log_loss, sigma, floor, span)
        variance = max(mean * (1 - mean) - between, 0.0) / n + between
        rows.append((score - mean, slope, variance, 1 / (variance + (resolution / n) ** 2)))
    return np.array(rows).T


def equations(
    theta, y, x, trials, sigma, link, floor, span, resolution=RESOLUTION, irreducible=0.0
):
    """The quasi-likelihood equations of level and alpha."""
    residual, slope, _, weight = curve_pieces(
        y, x, trials, (*theta, sigma), link, floor, span, resolution, irreducible
    )
    pull = slope * weight * residual
    lean = np.array([law(*theta, where, irreducible)[1] for where in x])
    return pull.sum(), -(pull * lean).sum()


def fit_mean(
    y, x, trials, sigma, link, floor, span, bounds, start, resolution=RESOLUTION, irreducible=0.0
):
    """Level and alpha by root finding; at a bound of alpha the level alone."""
    rest = (y, x, trials, sigma, link, floor, span, resolution, irreducible)
    free = optimize.root(equations, start, args=rest, method="hybr", tol=1e-12).x
    alpha = min(max(free[1], bounds[0]), bounds[1])
    if alpha == free[1]:
        return free[0], alpha
    level = optimize.brentq(lambda a: equations((a, alpha), *rest)[0], free[0] - 5, free[0] + 5)
    return level, alpha


def dispersion_ratio(y, x, trials, parameters, link, floor, span, *, at_bound):
    """Observed over expected sum of squares, with the leverages of the hat matrix."""
    residual, slope, variance, weight = curve_pieces(y, x, trials, parameters, link, floor, span)
    root = np.sqrt(weight)
    columns = [slope * root] if at_bound else [slope * root, -slope * x * root]
    basis = np.linalg.qr(np.stack(columns, axis=1))[0]
    leverage = (basis**2).sum(axis=1)
    part = variance * weight
    return (part * residual**2 * weight).sum() / (part**2 * (1 - leverage)).sum()
