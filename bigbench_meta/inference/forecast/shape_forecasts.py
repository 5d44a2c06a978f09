"""Forecasts of larger scales from shapes fitted to smaller ones: arrays in, arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.inference.forecast import rows as rows_of
from bigbench_meta.inference.forecast.predictive import Predictive
from bigbench_meta.inference.forecast.rows import Forecasts, Rows
from bigbench_meta.inference.shapes.batch import (
    DEGENERATE,
    FIT_STATUSES,
    SHAPE_PARAMETERS,
    SHAPES,
    ShapeFits,
    fit_shapes,
    heaviest,
)
from bigbench_meta.inference.shapes.inputs import binomial_variance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["MIXTURE", "forecast_by_shapes", "least_points"]

MIXTURE: Final = "mixture"
# Parts fitted at a time: bounds the memory, whatever the number of curves.
_PARTS: Final = 4096
_STATUS: Final = {
    "too_few_points": rows_of.TOO_FEW_POINTS,
    "not_converged": rows_of.NOT_CONVERGED,
    "flat": rows_of.FLAT,
}


def least_points(forecaster: str) -> int:
    """Return the smallest number of scales to forecast from.

    For a shape, one more than it has parameters; for the mixture five, where a line has an AICc.

    Examples:
        >>> least_points("mixture"), least_points("logistic")
        (5, 5)
    """
    return 5 if forecaster == MIXTURE else len(SHAPE_PARAMETERS[forecaster]) + 1


def forecast_by_shapes(
    y: Floats,
    x: Floats,
    rows: Rows,
    *,
    forecaster: str,
    variance: Floats,
    n_examples: Floats,
    low: Floats,
    high: Floats,
    level: float,
    shapes: Sequence[str] = SHAPES,
    dispersion: Literal["free", "fixed"] = "free",
    criterion: Literal["aicc", "bic"] = "bic",
    progress: Callable[[int], None] | None = None,
) -> Forecasts:
    r"""Forecast by one shape, or by the mixture of several with their AICc or BIC weights.

    A shape f with p parameters, fitted to k scales, forecasts a score with the distribution
    :math:`\hat f + t_{k-p} \sqrt{s^2 + \hat\phi v}`: s is the standard error of the fit by the
    delta method, :math:`\hat\phi` the dispersion and v the sampling variance of the score to come:
    the binomial one at the forecast, the mean one of the fitted points, or 1. The mixture adds
    what the shapes disagree about. Scores beyond a bound are put on it. The point forecast is the
    median.

    Args:
        y: Scores of all curves, shape (total,).
        x: Their scales.
        rows: The forecasts to be made.
        forecaster: One of :data:`SHAPES`, or ``mixture``.
        variance: Sampling variance of each score, NaN on curves where it is not known.
        n_examples: Examples behind each score of curves whose scores are proportions with binomial
            variance, else NaN.
        low: Least possible score of each curve, NaN for none.
        high: Largest possible score.
        level: Confidence of the intervals.
        shapes: Shapes of the mixture.
        dispersion: See :func:`bigbench_meta.inference.shapes.curve_shapes.fit_shapes`.
        criterion: What the weights of the mixture, and the best shape, go by.
        progress: Called with the number of parts that are done.

    Returns:
        The forecasts.

    References:
        Burnham & Anderson (2002), doi:10.1007/b97636, ch. 4 (model averaging). Seber & Wild
        (1989), "Nonlinear Regression", doi:10.1002/0471725315, sec. 5.1 (the delta method).
    """
    names = tuple(shapes) if forecaster == MIXTURE else (forecaster,)
    parts = []
    for begin in range(0, len(rows.curve), _PARTS):
        end = min(begin + _PARTS, len(rows.curve))
        chosen = slice(*np.searchsorted(rows.part, [begin, end]))
        part = Rows(
            part=rows.part[chosen] - begin, target=rows.target[chosen],
            curve=rows.curve[begin:end], k=rows.k[begin:end], offsets=rows.offsets,
        )  # fmt: skip
        point, offsets = part.fitted()
        fits = fit_shapes(
            y[point], x[point], offsets, variance=variance[point], low=low[part.curve],
            high=high[part.curve], shapes=names, dispersion=dispersion,
            criteria_only=forecaster == MIXTURE,
        )  # fmt: skip
        noise = _noise(part, variance, n_examples, point, offsets)
        weight = fits.weights(criterion)
        used = weight if forecaster == MIXTURE else _alone(fits)
        parts.append(
            _forecast(fits, part, y, x, n_examples, low, high, noise, forecaster, level,
                      weight=used, best=heaviest(weight))
        )  # fmt: skip
        if progress:
            progress(end)
    return _joined(parts)


def _noise(rows: Rows, variance: Floats, n_examples: Floats, point: Ints, offsets: Ints) -> Floats:
    """Return the sampling variance to expect, at dispersion 1, of each part; NaN if binomial."""
    part = np.repeat(np.arange(len(rows.curve)), rows.k)
    mean = np.bincount(part, variance[point], len(rows.curve)) / np.diff(offsets)
    counted = ~np.isnan(n_examples[rows.offsets[rows.curve]])
    return np.where(counted, np.nan, np.where(np.isnan(mean), 1.0, mean))


def _forecast(
    fits: ShapeFits, rows: Rows, y: Floats, x: Floats, n_examples: Floats, low: Floats,
    high: Floats, noise: Floats, forecaster: str, level: float, *, weight: Floats, best: Ints,
) -> Forecasts:  # fmt: skip
    asked, column = rows.padded(x[rows.target])
    part, curve = rows.part, rows.curve[rows.part]
    low = np.where(np.isnan(low[curve]), -np.inf, low[curve])
    high = np.where(np.isnan(high[curve]), np.inf, high[curve])
    mean, spread = (
        np.stack(values, axis=-1)
        for values in zip(*(_predicted(fits, name, asked, part, column) for name in fits.shapes),
                          strict=True)
    )  # fmt: skip
    n = n_examples[rows.target][:, None]
    expected = binomial_variance(np.clip(mean, 0, 1), n)
    sampling = np.where(np.isnan(noise[part])[:, None], expected, noise[part][:, None])
    p = np.array([len(SHAPE_PARAMETERS[name]) for name in fits.shapes])
    # A noise that is known beforehand leaves a normal distribution.
    df = np.where(fits.n_parameters[part] == p, np.inf, rows.k[part][:, None] - p)
    distribution = Predictive(
        mean=mean,
        sd=np.sqrt(spread**2 + fits.dispersion[part] * sampling),
        df=df,
        weight=weight[part],
        low=low,
        high=high,
    )
    point = distribution.point
    tail = (1 - level) / 2
    lower, upper = distribution.quantile(tail), distribution.quantile(1 - tail)
    status = _status(fits, forecaster)[part]
    # One score is flat, but nothing to forecast from.
    status[rows.k[part] < 2] = rows_of.TOO_FEW_POINTS
    status[(status == rows_of.OK) & ~np.isfinite(point)] = rows_of.NOT_FINITE
    status[(status == rows_of.OK) & np.isnan(lower + upper)] = rows_of.NO_INTERVAL
    there = status <= rows_of.NO_INTERVAL
    return Forecasts(
        point=np.where(there, point, np.nan),
        lower=np.where(status == rows_of.OK, lower, np.nan),
        upper=np.where(status == rows_of.OK, upper, np.nan),
        p=np.where(status == rows_of.OK, distribution.two_sided(y[rows.target]), np.nan),
        length=np.full(len(part), np.nan),
        shape=np.array([SHAPES.index(name) for name in fits.shapes] + [-1])[best[part]],
        status=status,
    )


def _predicted(
    fits: ShapeFits, name: str, asked: Floats, part: Ints, column: Ints
) -> tuple[Floats, Floats]:
    mean, spread = fits.predict(name, asked)
    return mean[part, column], spread[part, column]


def _alone(fits: ShapeFits) -> Floats:
    """Return a weight of 1 for the one shape where it has a fit, else NaN."""
    return np.where(np.isnan(fits.rss), np.nan, 1.0)


def _status(fits: ShapeFits, forecaster: str) -> NDArray[np.int8]:
    if forecaster == MIXTURE:
        status = np.where(fits.best < 0, rows_of.TOO_FEW_POINTS, rows_of.OK)
        return status.astype(np.int8)
    codes = np.array([_STATUS.get(name, rows_of.OK) for name in FIT_STATUSES], dtype=np.int8)
    fitted = ~np.isnan(fits.rss[:, 0])
    # Too few points for an AICc are enough for one shape.
    usable = fitted & (FIT_STATUSES.index("not_converged") != fits.status[:, 0])
    return np.where(
        usable | (fits.status[:, 0] <= DEGENERATE), rows_of.OK, codes[fits.status[:, 0]]
    )


def _joined(parts: list[Forecasts]) -> Forecasts:
    names = Forecasts.__dataclass_fields__
    if not parts:
        nothing = np.empty(0)
        return Forecasts(
            point=nothing, lower=nothing, upper=nothing, p=nothing, length=nothing,
            shape=np.empty(0, np.int64), status=np.empty(0, np.int8),
        )  # fmt: skip
    return Forecasts(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
