"""P-values corrected for the number of curves searched: Holm, Benjamini-Hochberg and -Yekutieli."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["adjusted_p_values"]


def adjusted_p_values(p: ArrayLike) -> pd.DataFrame:
    r"""Correct p-values for the number of curves searched.

    With the m p-values that are known in ascending order,

    .. math:: q_{(i)} = \min_{j \ge i} \frac{m}{j} p_{(j)}, \qquad
              p^{\mathrm{Holm}}_{(i)} = \max_{j \le i} (m - j + 1) p_{(j)},

    both at most 1; Benjamini and Yekutieli's q is larger by :math:`\sum_{j=1}^m 1/j`.

    Args:
        p: P-values; NaN for curves that were not tested, which do not count as searched.

    Returns:
        One row per p-value: ``q_bh`` (Benjamini-Hochberg: false discovery rate where tests are
        independent or positively dependent), ``q_by`` (Benjamini-Yekutieli: whatever their
        dependence), ``p_holm`` (Holm: the probability of any false one), NaN where p is, and
        ``n_searched``.

    References:
        Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x. Benjamini & Yekutieli
        (2001), doi:10.1214/aos/1013699998. Holm (1979), jstor.org/stable/4615733.

    Examples:
        >>> adjusted_p_values([0.01, 0.04, float("nan")]).round(3)
           q_bh  q_by  p_holm  n_searched
        0  0.02  0.03    0.02           2
        1  0.04  0.06    0.04           2
        2   NaN   NaN     NaN           2
    """
    values = np.asarray(p, dtype=np.float64)
    searched = np.flatnonzero(~np.isnan(values))
    place = searched[np.argsort(values[searched], kind="stable")]
    ascending, rank = values[place], np.arange(1, len(place) + 1)
    share = rank / len(place) if len(place) else rank
    adjusted = {
        "q_bh": np.minimum.accumulate((ascending / share)[::-1])[::-1],
        "q_by": np.minimum.accumulate((ascending / (share / (1 / rank).sum()))[::-1])[::-1],
        "p_holm": np.maximum.accumulate(ascending * rank[::-1]),
    }
    frame = pd.DataFrame(index=pd.RangeIndex(len(values)))
    for name, corrected in adjusted.items():
        column = np.full(len(values), np.nan)
        column[place] = np.minimum(corrected, 1.0)
        frame[name] = column
    return frame.assign(n_searched=len(place))
