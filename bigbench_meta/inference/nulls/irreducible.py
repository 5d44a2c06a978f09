"""The irreducible part of each curve's loss: about which its scores scatter least.

Published laws of the loss end at a constant: E + A / N^alpha. In log loss they are steep at the
small end of the axis and level at the large one, and to a power law alone that is a step.

The value is fitted once, to the curve, and kept in its replicates: they do not choose theirs, so
that they scatter a little more about their fits than the curve does, which is on the cautious side.
It is not one of the nuisance settings whose largest p-value counts: that costs much power against
steps at the small end of the axis, and holds the size less well between the values tried.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    Design,
    MechanismCurves,
    dispersion,
    pieces,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["IRREDUCIBLE", "least_scatter"]

IRREDUCIBLE: Final = (0.0, 0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9, 1.4, 2.1, 3.2)
"""Irreducible loss over the reducible one in the middle of a curve's axis.

At an exponent of 0.34 over three and a half decades the last is twelve times the reducible loss of
the largest model, which then has nothing left to gain.
"""


def least_scatter(
    curves: MechanismCurves, *, alpha_range: tuple[float, float] = ALPHA_RANGE
) -> Floats:
    """Return of each curve the irreducible part with which its scores scatter least about the law.

    Scatter is the weighted sum of squares (:func:`dispersion`), weighted alike for all values: with
    the variation that is known, or that a power law alone needs.

    Args:
        curves: The curves; what is known of their irreducible part is ignored.
        alpha_range: Bounds of the exponent.

    Returns:
        One of :data:`IRREDUCIBLE` of each curve, shape (m,); the smallest of equally good ones.

    References:
        Hoffmann et al. (2022), arXiv 2203.15556, eq. 2.

    Examples:
        >>> x = np.linspace(-4.0, 4.0, 8)  # log sizes less their mean
        >>> log_loss = np.log([np.exp(-0.3 * x), 0.4 + np.exp(-0.3 * x)])
        >>> curves = MechanismCurves.checked(
        ...     np.exp(-np.exp(log_loss)).ravel(), np.tile(np.exp(x), 2), np.full(16, 1e5),
        ...     [0, 8, 16],
        ... )
        >>> least_scatter(curves)
        array([0. , 0.4])
    """
    found = np.zeros(len(curves.ragged))
    plain = replace(curves, irreducible=np.zeros(len(curves.ragged)))
    for rows, y, design, variation in plain.blocks():
        sigma = fit_mechanism(y, design, alpha_range=alpha_range, sigma=variation.sigma).sigma
        scatter = np.concatenate(
            [
                _scatter(y, design, sigma, np.array(values), alpha_range)
                for values in (IRREDUCIBLE[:1], IRREDUCIBLE[1:])
            ]
        )
        least = np.full(len(rows), np.inf)
        for value, of_value in zip(IRREDUCIBLE, scatter, strict=True):
            better = of_value < least * (1 - 1e-9)
            least = np.where(better, of_value, least)
            found[rows[better]] = value
    return found


def _scatter(
    y: Floats, design: Design, sigma: Floats, values: Floats, alpha_range: tuple[float, float]
) -> Floats:
    """Return the scatter of each curve with each irreducible part, infinite without a fit.

    All at once, shape (values, m): blocks are short, and fits of many curves cost as little. The
    values are all 0, for a plain power law, or none is.
    """
    many = np.tile(np.arange(len(sigma)), len(values))
    again = np.repeat(values, len(sigma)) if values.any() else None
    y, part, sigma = y[:, many], replace(design.take(many), irreducible=again), sigma[many]
    fit = fit_mechanism(y, part, alpha_range=alpha_range, sigma=sigma)
    scatter, _ = dispersion(
        pieces(y, fit.log_loss(part), sigma, part), part.law(fit.alpha)[1], fit.at_bound != 0
    )
    return np.where(fit.status == 0, scatter, np.inf).reshape(len(values), -1)
