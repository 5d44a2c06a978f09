"""Percentile and BCa intervals from the replicates of a bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from bigbench_meta.inference.inversion import value
from bigbench_meta.inference.replicates import of_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.inversion import Denominator
    from bigbench_meta.inference.replicates import Block

    Floats = NDArray[np.float64]

# Scores of counts are often equal, but only up to rounding.
_ROUNDING = 1e-9

__all__ = ["acceleration", "bca", "percentile"]


def percentile(ascending: Floats, level: float) -> tuple[Floats, Floats]:
    """Return order statistics of replicates, which may be infinite.

    Args:
        ascending: Replicates, shape (curves, B), ascending in each row; those without a value are
            NaN, at the end, and do not count.
        level: Confidence.

    References:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13.

    Examples:
        >>> percentile(np.arange(1.0, 1000.0)[None], 0.95)
        (array([25.]), array([975.]))
    """
    tail = np.full(len(ascending), (1 - level) / 2)
    return _ranked(ascending, tail), _ranked(ascending, 1 - tail)


def bca(
    ascending: Floats, observed: Floats, acceleration: Floats, level: float
) -> tuple[Floats, Floats]:
    """Return bias-corrected and accelerated intervals.

    They do not depend on the scale of the statistic, so an infinite replicate is one like others.

    Args:
        ascending: As :func:`percentile`.
        observed: Observed statistic, shape (curves,); replicates equal to it count half.
        acceleration: Of each curve.
        level: Confidence.

    References:
        Efron (1987), doi:10.1080/01621459.1987.10478410.

    Examples:
        >>> bca(np.arange(1.0, 1000.0)[None], np.array([500.0]), np.zeros(1), 0.95)
        (array([25.]), array([975.]))
    """
    size = np.maximum((~np.isnan(ascending)).sum(axis=1), 1)
    own = observed[:, None]
    finite = np.where(np.isfinite(own), own, 0.0)
    near = np.isfinite(own) & (np.abs(ascending - finite) <= _ROUNDING * np.abs(finite))
    same = near | (ascending == own)
    below = ((~same & (ascending < own)).sum(axis=1) + same.sum(axis=1) / 2) / size
    bias = ndtri(np.clip(below, 1 / (size + 1), size / (size + 1)))
    ends = []
    for z in (ndtri((1 - level) / 2), ndtri((1 + level) / 2)):
        moved = bias + z
        # Beyond its pole the correction says nothing: the outermost replicate.
        room = 1 - acceleration * moved
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = np.where(room > 0, ndtr(bias + moved / room), np.where(moved > 0, 1.0, 0.0))
        ends.append(_ranked(ascending, tail))
    return ends[0], ends[1]


def acceleration(block: Block, denominator: Denominator) -> Floats:
    r"""Return the acceleration of each curve of a block.

    .. math:: a = \frac{\sum_i g_i^3 \mu_{3,i}}{6 (\sum_i g_i^2 \sigma_i^2)^{3/2}}

    with the derivatives g of the statistic by each independent point, whose second and third
    central moments are :math:`\sigma_i^2` and :math:`\mu_{3,i}`: a sixth of the skewness of the
    linear part. The derivative is that of 1 / E, which is finite, over half a standard error.

    Args:
        block: The curves.
        denominator: Of the statistic, see :func:`bigbench_meta.inference.inversion.value`.

    References:
        DiCiccio & Efron (1996), doi:10.1214/ss/1032280214, sec. 6.
    """
    (m, n), centre = block.shape, block.centre
    move = np.eye(n) * (block.error / 2)[:, :, None]
    ends = []
    for moved in (centre[:, None] + move, centre[:, None] - move):
        with np.errstate(divide="ignore"):
            ends.append(1 / value(of_rows(moved.reshape(m * n, n)), denominator))
    slope = ((ends[1] - ends[0]).reshape(m, n)) / block.error
    third = (slope**3 * block.noise.third_moment().reshape(m, n)).sum(axis=1)
    second = (slope**2 * block.error**2).sum(axis=1)
    usable = np.isfinite(third) & (second > 0)
    return np.where(usable, third, 0.0) / np.where(usable, 6 * second**1.5, 1.0)


def _ranked(ascending: Floats, tail: Floats) -> Floats:
    size = np.maximum((~np.isnan(ascending)).sum(axis=1), 1)
    # Up to rounding: 0.025 * 1000 is the 25th, not the 26th.
    rank = np.ceil((size + 1) * tail - 1e-9).astype(np.int64) - 1
    picked = np.take_along_axis(ascending, np.clip(rank, 0, size - 1)[:, None], axis=1)
    return np.asarray(picked[:, 0])
