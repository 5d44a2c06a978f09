"""Forecasts of larger scales from shapes fitted to smaller ones: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.inference.forecast.forecasts import (
    Forecasts,
    ForecastStatus,
    Predictive,
    Rows,
    pooled,
    summarised,
)
from bigbench_meta.inference.forecast.mechanism_forecasts import (
    MechanismInput,
    mechanism_predictive,
    near_guessing,
)
from bigbench_meta.inference.shapes.inputs import binomial_variance
from bigbench_meta.inference.shapes.shape_fits import (
    DEGENERATE,
    FLAT,
    NOT_CONVERGED,
    SHAPE_PARAMETERS,
    SHAPES,
    TOO_FEW_POINTS,
    ShapeFits,
    fit_shapes,
    heaviest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["MIXTURE", "forecast_by_shapes", "least_points"]

MIXTURE: Final = "mixture"
# Of the mechanism in the mixture: shapes alone are too narrow, or predict anything.
_SMOOTH_SHARE: Final = 0.92
# Parts fitted at a time: bounds the memory, whatever the number of curves.
_PARTS: Final = 4096


def least_points(forecaster: str) -> int:
    """Return the smallest number of scales to forecast from.

    For a shape, one more than it has parameters; for the mixture five, where a line has an AICc.

    Examples:
        >>> least_points("mixture"), least_points("logistic")
        (5, 5)
    """
    return 5 if forecaster == MIXTURE else len(SHAPE_PARAMETERS[forecaster]) + 1


def forecast_by_shapes(
    data: FitInput,
    x: Floats,
    rows: Rows,
    *,
    forecaster: str,
    level: float,
    mechanism: MechanismInput,
    criterion: Literal["aicc", "bic"] = "bic",
) -> Forecasts:
    r"""Forecast by one shape, or by the mixture of all and of the smooth mechanism.

    A shape f with p parameters, fitted to k scales, forecasts a score with the distribution
    :math:`\hat f + t_{k-p} \sqrt{s^2 + \hat\phi v}`: s is the standard error of the fit by the
    delta method, :math:`\hat\phi` the dispersion and v the sampling variance of the score to come:
    the binomial one at the forecast, the mean one of the fitted points, or 1. Shapes are mixed by
    their AICc or BIC weights. Of the mixture of curves of proportions these are 8%, and 92% is the
    smooth mechanism (:func:`mechanism_predictive`): weights by fit alone prefer simple shapes where
    points are few, and their intervals are too narrow. Scores beyond a bound are put on it. The
    point forecast is the median.

    Args:
        data: What is fitted.
        x: Scales of all points.
        rows: The forecasts to be made.
        forecaster: One of :data:`SHAPES`, or ``mixture``.
        level: Confidence of the intervals.
        mechanism: The scores as the mechanism takes them.
        criterion: Whose weights the mixture takes, and by which the best shape is chosen.

    Returns:
        The forecasts; of the mixture ``not_predictable`` where the interval covers more than half
        of what can be gained over guessing, or no fitted score is above guessing.

    References:
        Burnham & Anderson (2002), doi:10.1007/b97636, ch. 4 (model averaging). Seber & Wild
        (1989), "Nonlinear Regression", doi:10.1002/0471725315, sec. 5.1 (the delta method).
    """
    found = []
    # One part at least, which may be empty.
    for begin in range(0, max(len(rows.curve), 1), _PARTS):
        end = min(begin + _PARTS, len(rows.curve))
        chosen = slice(*np.searchsorted(rows.part, [begin, end]))
        part = Rows(
            part=rows.part[chosen] - begin, target=rows.target[chosen],
            curve=rows.curve[begin:end], k=rows.k[begin:end], offsets=rows.offsets,
        )  # fmt: skip
        found.append(_forecast(data, x, part, forecaster, level, criterion, mechanism))
    return Forecasts(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in found])
            for field in fields(Forecasts)
        }
    )


def _forecast(
    data: FitInput, x: Floats, rows: Rows, forecaster: str, level: float, criterion: str,
    mechanism: MechanismInput,
) -> Forecasts:  # fmt: skip
    """Fit the parts of some rows, and forecast."""
    alone = forecaster != MIXTURE
    point, fitted = rows.fitted()
    fits = fit_shapes(
        data.y[point], x[point], fitted.offsets, variance=data.variance[point],
        low=data.low[rows.curve], high=data.high[rows.curve],
        shapes=(forecaster,) if alone else SHAPES, criteria_only=not alone,
    )  # fmt: skip
    by_criterion = fits.weights(criterion)
    weight = np.where(np.isnan(fits.rss), np.nan, 1.0) if alone else by_criterion
    part, curve = rows.part, rows.curve[rows.part]
    asked, column = rows.padded(x[rows.target])
    predicted = [fits.predict(name, asked) for name in fits.shapes]
    mean, spread = (
        np.stack([values[part, column] for values in each], axis=-1)
        for each in zip(*predicted, strict=True)
    )
    expected = binomial_variance(np.clip(mean, 0, 1), data.n_examples[rows.target][:, None])
    noise = _noise(data, rows, point, fitted)[part][:, None]
    p = np.array([len(SHAPE_PARAMETERS[name]) for name in fits.shapes])
    distribution = Predictive(
        mean=mean,
        sd=np.sqrt(spread**2 + fits.dispersion[part] * np.where(np.isnan(noise), expected, noise)),
        df=rows.k[part][:, None] - p,
        weight=weight[part],
        low=np.where(np.isnan(data.low[curve]), -np.inf, data.low[curve]),
        high=np.where(np.isnan(data.high[curve]), np.inf, data.high[curve]),
    )
    if not alone:
        smooth = mechanism_predictive(mechanism, x, rows)
        distribution = pooled(distribution, smooth, _SMOOTH_SHARE)
    status = (_status_of_shape(fits) if alone else _status_of_mixture(fits))[part]
    # One score is flat, but nothing to forecast from.
    status[rows.k[part] < 2] = ForecastStatus.TOO_FEW_POINTS
    worst = np.where(data.is_share, np.nan_to_num(mechanism.floor), data.low)
    return summarised(
        distribution, data.y[rows.target], level, status,
        gain=(data.high - worst)[curve],
        blind=None if alone else near_guessing(mechanism, rows)[part],
        shape=np.array([*map(SHAPES.index, fits.shapes), -1])[heaviest(by_criterion)[part]],
    )  # fmt: skip


def _noise(data: FitInput, rows: Rows, point: Ints, fitted: Ragged) -> Floats:
    """Return the sampling variance to expect, at dispersion 1, of each part; NaN if binomial."""
    mean = np.bincount(fitted.curve, data.variance[point], len(fitted)) / fitted.lengths
    counted = ~np.isnan(data.n_examples[rows.offsets[rows.curve]])
    return np.where(counted, np.nan, np.where(np.isnan(mean), 1.0, mean))


def _status_of_mixture(fits: ShapeFits) -> NDArray[np.int8]:
    status = np.where(fits.best < 0, ForecastStatus.TOO_FEW_POINTS, ForecastStatus.OK)
    return status.astype(np.int8)


def _status_of_shape(fits: ShapeFits) -> NDArray[np.int8]:
    """Return the status of each part; too few points for an AICc are enough for one shape."""
    fitted, status = ~np.isnan(fits.rss[:, 0]), fits.status[:, 0]
    return np.select(
        [
            (fitted & (status != NOT_CONVERGED)) | (status <= DEGENERATE),
            status == FLAT,
            status == TOO_FEW_POINTS,
        ],
        [ForecastStatus.OK, ForecastStatus.FLAT, ForecastStatus.TOO_FEW_POINTS],
        ForecastStatus.NOT_CONVERGED,
    ).astype(np.int8)
