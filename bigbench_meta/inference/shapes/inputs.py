"""Prepare curves for fitting: proportions with noise and bounds, rescaled to a common form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.checks import reject
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.curves.proportions import proportions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["CommonForm", "FitInput", "Frame", "Points", "binomial_variance", "fit_input"]


# Curves fitted at a time.
_BLOCK: Final = 512


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
    curve = curves.ragged.curve
    for bound, outside in ((low, curves.y < low[curve]), (high, curves.y > high[curve])):
        bound[np.bincount(curve[outside], minlength=len(curves)) > 0] = np.nan
    return low, high


# Blocks in a common form ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Points:
    """The points of a ragged batch of curves.

    Attributes:
        ragged: Where each curve lies in the arrays.
        y: Scores.
        x: Scales, ascending in each curve.
        variance: Of each score, NaN where not known.
        low: Least possible score of each curve, -inf for none.
        high: Largest possible score, inf for none.
    """

    ragged: Ragged
    y: Floats
    x: Floats
    variance: Floats
    low: Floats
    high: Floats

    @classmethod
    def checked(
        cls,
        y: Floats,
        x: Floats,
        offsets: Ints,
        *,
        variance: Floats | None = None,
        low: Floats | None = None,
        high: Floats | None = None,
    ) -> Points:
        """Return the points as arrays of floats; a variance or bound that is NaN is not known.

        Raises:
            InputError: Something does not fit, with the place of the first value that is wrong.
        """
        y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
        known = np.full(y.shape, np.nan) if variance is None else np.asarray(variance, float)
        ragged = Ragged.of(offsets, y=y, x=x, variance=known)
        bounds = []
        for where, values, none in (("low", low, -np.inf), ("high", high, np.inf)):
            bound = np.full(len(ragged), np.nan) if values is None else np.asarray(values, float)
            ragged.check_curves(**{where: bound})
            bounds.append(np.where(np.isnan(bound), none, bound))
        reject(y, ~np.isfinite(y), "not finite", "y")
        ragged.check_scales(x)
        reject(known, (known <= 0) | np.isinf(known), "not a positive number", "variance")
        least, most = (bound[ragged.curve] for bound in bounds)
        reject(y, (y < least) | (y > most), "outside its bounds", "y")
        return cls(ragged=ragged, y=y, x=x, variance=known, low=bounds[0], high=bounds[1])


@dataclass(frozen=True, kw_only=True)
class CommonForm:
    """Curves of one length on log scales from 0 to 1 and scores of range 1.

    Attributes:
        u: Log scale from 0 to 1, shape (m, n).
        y: Scores, brought to a range of 1, shape (m, n).
        w: Square roots of the weights, shape (m, n).
        low: Lower bound of an asymptote on the same scale, shape (m,); -inf for none.
        high: Upper bound, shape (m,); inf for none.
    """

    u: Floats
    y: Floats
    w: Floats
    low: Floats
    high: Floats

    def take(self, rows: Ints | slice) -> CommonForm:
        """Return some of the curves."""
        return CommonForm(
            u=self.u[rows], y=self.y[rows], w=self.w[rows],
            low=self.low[rows], high=self.high[rows],
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The rescaling of each curve to the common form; every array has shape (m,).

    Attributes:
        x_first: Smallest scale, NaN for a curve without points.
        span: Logarithm of the largest over the smallest scale.
        shift: Middle of the scores.
        scale: Range of the scores, 0 on a flat curve.
        unit_variance: Variance of a point of weight 1: the smallest one, or 1 where not all are
            known.
        variance_known: Whether the variances of all points are known.
        log_variances: Sum of their logarithms, 0 where not all are known.
    """

    x_first: Floats
    span: Floats
    shift: Floats
    scale: Floats
    unit_variance: Floats
    variance_known: NDArray[np.bool_]
    log_variances: Floats

    @classmethod
    def of(cls, points: Points) -> Frame:
        """Return the frame of a batch."""
        ragged = points.ragged
        first, last = (ragged.at(points.x, np.full(len(ragged), place)) for place in (0, -1))
        lowest, highest = (ragged.reduce(f, points.y) for f in (np.minimum, np.maximum))
        known = ~ragged.any(np.isnan(points.variance)) & (ragged.lengths > 0)
        logs = np.bincount(ragged.curve, np.log(points.variance), len(ragged))
        return cls(
            x_first=first,
            span=np.log(last) - np.log(first),
            # Halved first, as the sum or difference of two huge scores overflows.
            shift=lowest / 2 + highest / 2,
            scale=2 * np.minimum(highest / 2 - lowest / 2, np.finfo(float).max / 4),
            unit_variance=np.where(known, ragged.reduce(np.minimum, points.variance), 1.0),
            variance_known=known,
            log_variances=np.where(known, logs, 0.0),
        )

    def blocks(self, points: Points) -> Iterator[tuple[Ints, CommonForm]]:
        """Yield numbers of curves of one length, and those curves in the common form."""
        for block in points.ragged.blocks(_BLOCK):
            rows, at = block.curves, block.points
            shift, scale = self.shift[rows][:, None], self.scale[rows][:, None]
            known = self.variance_known[rows][:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                u = np.log(points.x[at]) - np.log(self.x_first[rows])[:, None]
                ratio = self.unit_variance[rows][:, None] / points.variance[at]
                form = CommonForm(
                    u=u / self.span[rows][:, None],
                    y=(points.y[at] - shift) / scale,
                    w=np.sqrt(np.where(known, ratio, 1.0)),
                    low=(points.low[rows] - shift[:, 0]) / scale[:, 0],
                    high=(points.high[rows] - shift[:, 0]) / scale[:, 0],
                )
            yield rows, form
