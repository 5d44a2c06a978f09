"""Curves to what is fitted: proportions where scores are such, the noise of every point, bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.inference.proportions import proportions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]

__all__ = ["FitInput", "binomial_variance", "fit_input"]


@dataclass(frozen=True, kw_only=True)
class FitInput:
    """What is fitted, in the unit of the file or, where scores are means over examples, as shares.

    Attributes:
        y: Of each point: the proportion, up being better, or the score.
        variance: Sampling variance of each y, NaN on a curve where it is not known of every point.
        n_examples: Examples behind each point of a curve of weighting ``binomial``, else NaN.
        low: Least possible y of each curve, NaN where not known.
        high: Largest possible y.
        weighting: ``binomial``, ``stderr`` or ``equal``, of each curve.
        is_share: Whether y is a proportion, of each curve.
        zero: Score that is y = 0, of each curve.
        unit: What one y is in the unit of the file, negative where a share is turned.
        up: Sign of y that is better, of each curve.
    """

    y: Floats
    variance: Floats
    n_examples: Floats
    low: Floats
    high: Floats
    weighting: NDArray[np.object_]
    is_share: NDArray[np.bool_]
    zero: Floats
    unit: Floats
    up: Floats


def fit_input(curves: Curves, *, catalog: MetricCatalog | None = None) -> FitInput:
    """Return what is fitted for each curve.

    A score is a proportion p where the catalog bounds it and one example can change it by the whole
    range over n. Its variance is p(1 - p)/n where every point of the curve has its n: exact for
    yes-or-no scores, an upper bound for graded ones. Without n, reported standard errors are used
    if every point has a positive one, else all points weigh the same.
    """
    share = proportions(curves, catalog=catalog)
    curve, m = share.curve, len(curves)
    is_share = np.bincount(curve[np.isnan(share.proportion)], minlength=m) == 0
    is_share &= share.problem == ""
    zero = np.where(is_share, share.worst, 0.0)
    unit = np.where(is_share, share.best - share.worst, 1.0)
    y = np.where(is_share[curve], share.proportion, curves.y)
    n = np.where(is_share[curve], share.n_examples, np.nan)
    stderr = curves.stderr / np.abs(unit)[curve]
    stderr = np.where((stderr > 0) & np.isfinite(stderr), stderr, np.nan)
    counted, measured = (
        np.bincount(curve[np.isnan(values)], minlength=m) == 0 for values in (n, stderr)
    )
    n = np.where(counted[curve], n, np.nan)
    low, high = _catalog_bounds(curves, catalog)
    return FitInput(
        y=y,
        variance=np.where(
            counted[curve],
            binomial_variance(y, n),
            np.where(measured[curve], stderr**2, np.nan),
        ),
        n_examples=n,
        low=np.where(is_share, 0.0, low),
        high=np.where(is_share, 1.0, high),
        weighting=np.select([counted, measured], ["binomial", "stderr"], "equal").astype(object),
        is_share=is_share,
        zero=zero,
        unit=unit,
        up=np.where(is_share | curves.keys["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0),
    )


def binomial_variance(p: Floats, n: Floats) -> Floats:
    """Return q(1 - q)/n with q = (np + 1/2)/(n + 1), which is not 0 at p = 0 and p = 1.

    q is the posterior mean under Jeffreys' prior Beta(1/2, 1/2).

    Args:
        p: Proportions in [0, 1], any shape.
        n: Number of examples, a shape that fits.

    Examples:
        >>> import numpy as np
        >>> binomial_variance(np.array([0.0, 0.5]), np.array([99.0, 100.0]))
        array([5.02525253e-05, 2.50000000e-03])
    """
    q = (n * p + 0.5) / (n + 1)
    return np.asarray(q * (1 - q) / n)


def _catalog_bounds(curves: Curves, catalog: MetricCatalog | None) -> tuple[Floats, Floats]:
    """Return the range of each metric, NaN where a score of the curve lies outside."""
    known = (catalog or metric_catalog()).lookup(curves.keys[["benchmark", "task", "metric"]])
    low, high = (known[name].to_numpy(dtype=float).copy() for name in ("low", "high"))
    curve = curves.curve_of_point
    for bound, outside in ((low, curves.y < low[curve]), (high, curves.y > high[curve])):
        bound[np.bincount(curve[outside], minlength=len(curves)) > 0] = np.nan
    return low, high
