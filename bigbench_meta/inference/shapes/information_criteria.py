"""Information criteria and Akaike weights of fits: arrays in, arrays out.

References:
    Burnham & Anderson (2002), "Model Selection and Multimodel Inference", 2nd ed., sec. 2.4 and
    2.9, doi:10.1007/b97636. Hurvich & Tsai (1989), "Regression and time series model selection in
    small samples", doi:10.1093/biomet/76.2.297. Schwarz (1978), doi:10.1214/aos/1176344136.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["aicc", "akaike_weights", "bic", "log_likelihood"]


def log_likelihood(rss: Floats, dispersion: Floats, log_variances: Floats, n: Ints) -> Floats:
    r"""Return the Gaussian log-likelihood of residuals with variances :math:`\phi v_i`.

    .. math:: -\tfrac12 \left(n \ln 2\pi\phi + \sum_i \ln v_i + \mathrm{rss}/\phi\right)

    Args:
        rss: Sum of squared residuals, each divided by its v_i.
        dispersion: The factor phi.
        log_variances: Sum of ln v_i; 0 where all are 1.
        n: Number of points.

    Returns:
        The log-likelihood, of the arguments' common shape.

    Examples:
        >>> import numpy as np
        >>> log_likelihood(np.array(2.0), np.array(1.0), np.array(0.0), np.array(2)).round(4)
        np.float64(-2.8379)
    """
    return np.asarray(
        -0.5 * (n * np.log(2 * np.pi * dispersion) + log_variances + rss / dispersion)
    )[()]


def aicc(log_likelihood: Floats, k: Ints, n: Ints) -> Floats:
    """Return -2 ln L + 2k + 2k(k + 1) / (n - k - 1), NaN where n - k - 1 is not positive.

    Args:
        log_likelihood: At its maximum.
        k: Number of parameters, the noise variance among them if it was estimated.
        n: Number of points.

    Returns:
        The criterion, of the arguments' common shape.

    References:
        Hurvich & Tsai (1989), doi:10.1093/biomet/76.2.297; Burnham & Anderson (2002), eq. 2.4.

    Examples:
        >>> import numpy as np
        >>> aicc(np.array([-10.0, -10.0]), np.array([3, 3]), np.array([8, 4]))
        array([32., nan])
    """
    left = np.asarray(n - k - 1, dtype=np.float64)
    correction = 2.0 * k * (k + 1) / np.where(left > 0, left, np.nan)
    return np.asarray(-2 * log_likelihood + 2 * k + correction)


def bic(log_likelihood: Floats, k: Ints, n: Ints) -> Floats:
    """Return -2 ln L + k ln n.

    Args:
        log_likelihood: At its maximum.
        k: Number of parameters, the noise variance among them if it was estimated.
        n: Number of points, positive.

    Returns:
        The criterion, of the arguments' common shape.

    References:
        Schwarz (1978), doi:10.1214/aos/1176344136.

    Examples:
        >>> import numpy as np
        >>> bic(np.array(-10.0), np.array(2), np.array(np.e**2)).round(6)
        np.float64(24.0)
    """
    return np.asarray(-2 * log_likelihood + k * np.log(n))[()]


def akaike_weights(criterion: Floats) -> Floats:
    r"""Return :math:`e^{-\Delta_i/2} / \sum_j e^{-\Delta_j/2}` along the last axis.

    Args:
        criterion: AICc (or BIC) of each model, shape (..., models); NaN where a model has none.

    Returns:
        Weights that add up to 1; 0 for a model without a criterion, NaN where no model has one.

    References:
        Burnham & Anderson (2002), sec. 2.9.

    Examples:
        >>> import numpy as np
        >>> akaike_weights(np.array([[10.0, 10.0, np.nan], [np.nan] * 3]))
        array([[0.5, 0.5, 0. ],
               [nan, nan, nan]])
    """
    some = ~np.isnan(criterion).all(axis=-1, keepdims=True)
    least = np.min(np.where(np.isnan(criterion), np.inf, criterion), axis=-1, keepdims=True)
    likelihood = np.exp(-(criterion - np.where(some, least, 0.0)) / 2)
    likelihood = np.where(np.isnan(likelihood), 0.0, likelihood)
    total = likelihood.sum(axis=-1, keepdims=True)
    return np.where(some, likelihood / np.where(some, total, 1.0), np.nan)
