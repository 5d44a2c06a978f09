"""P-values corrected for the number of curves searched: Holm, Benjamini-Hochberg and -Yekutieli."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["adjusted_p_values"]

_ADJUSTMENTS: Final = {"q_bh": "fdr_bh", "q_by": "fdr_by", "p_holm": "holm"}


def adjusted_p_values(p: ArrayLike) -> pd.DataFrame:
    """Correct p-values for the number of curves searched.

    Args:
        p: P-values; NaN for curves that were not tested, which do not count as searched.

    Returns:
        One row a p-value: ``q_bh`` (Benjamini-Hochberg: false discovery rate where tests are
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
    searched = ~np.isnan(values)
    frame = pd.DataFrame(index=pd.RangeIndex(len(values)))
    for name, method in _ADJUSTMENTS.items():
        column = np.full(len(values), np.nan)
        if searched.any():
            column[searched] = multipletests(values[searched], method=method)[1]
        frame[name] = column
    return frame.assign(n_searched=int(searched.sum()))
