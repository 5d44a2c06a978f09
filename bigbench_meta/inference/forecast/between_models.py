"""How much models differ about a line beyond the sampling error of their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["between_models"]

# Halvings of the bracket: to a part of 2^-60 of its width.
_HALVINGS: Final = 60


def between_models(z: Floats, u: Floats, sampling: Floats, part: Ints, m: int) -> Floats:
    r"""Return the variance about a line that sampling error leaves, by Paule & Mandel's equation.

    .. math:: \sum_i \frac{(z_i - \hat a - \hat b u_i)^2}{\tau^2 + s_i^2} = n - 2,

    where the line is fitted with the same weights. It falls with :math:`\tau^2`; where it is below
    n - 2 at 0, sampling error explains all of the scatter. Where all :math:`s_i` are 0, the
    solution is the residual variance of least squares.

    Args:
        z: Values, shape (total,).
        u: Where they are, likewise, not all alike in a part.
        sampling: Their sampling variances :math:`s_i^2`, at least 0.
        part: Part of each value, ascending.
        m: Number of parts, each of at least three values or of none.

    Returns:
        :math:`\tau^2` of each part, shape (m,); NaN for a part without values.

    References:
        Paule & Mandel (1982), "Consensus Values and Weighting Factors",
        doi:10.6028/jres.087.022. Veroniki et al. (2016), doi:10.1002/jrsm.1164.

    Examples:
        >>> import numpy as np
        >>> z, u = np.array([0.0, 1.0, 1.0, 2.0]), np.arange(4.0)
        >>> for s2 in (0.0, 0.02, 1.0):
        ...     print(between_models(z, u, np.full(4, s2), np.zeros(4, int), 1).round(3))
        [0.1]
        [0.08]
        [0.]
    """
    left = np.bincount(part, minlength=m) - 2.0
    equal = np.ones_like(z)
    high = _squares(z, u, equal, part, m) / np.maximum(left, 1)
    low = np.zeros(m)
    for _ in range(_HALVINGS):
        middle = low / 2 + high / 2
        total = middle[part] + sampling
        weight = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        above = _squares(z, u, weight, part, m) > left
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    # With a part of 2^-60 of the bracket left, what is nearer to 0 is 0.
    found = np.where(low == 0, 0.0, low / 2 + high / 2)
    return np.where(left >= 1, found, np.nan)


def _squares(z: Floats, u: Floats, weight: Floats, part: Ints, m: int) -> Floats:
    """Return the weighted sum of squares about the weighted line of each part."""

    def total(values: Floats) -> Floats:
        return np.bincount(part, weight * values, m).astype(np.float64)

    with np.errstate(invalid="ignore", divide="ignore"):
        all_ = total(np.ones_like(z))
        dz = z - (total(z) / all_)[part]
        du = u - (total(u) / all_)[part]
        slope = total(du * dz) / total(du**2)
        return total((dz - slope[part] * du) ** 2)
