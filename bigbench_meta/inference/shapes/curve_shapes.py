"""The best-fitting of six shapes for every curve, and its trend by rules.

A batch of curves is ragged, as in :mod:`curves.emergence`. With x_1 the smallest scale of a
curve, the shapes of score y against scale x are

===================  =============================================================================
constant             level
log_linear           first + slope ln(x / x_1)
power_law            limit + (first - limit) (x / x_1)^-exponent, which saturates
step                 below where x < step_scale, above from there on
logistic             lower + (upper - lower) / (1 + (x / midpoint)^-steepness)
broken_power_law     limit + amplitude (x / x_1)^-exponent (B(x) / B(x_1))^-(bend width), where
                     B(x) = 1 + (x / break_scale)^(1 / width)
===================  =============================================================================

The last is eq. 1 of Caballero et al. with one break, its factor b taken at the smallest scale.

References:
    Caballero, Gupta, Rish & Krueger (2023), "Broken Neural Scaling Laws", arXiv 2210.14891, eq. 1.
    Burnham & Anderson (2002), "Model Selection and Multimodel Inference", 2nd ed., sec. 2.4 (AICc)
    and 2.9 (Akaike weights), doi:10.1007/b97636. Lourie, Hu & Cho (2025), arXiv 2507.00885 (the
    classes of trends).
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.chunks import Analysis, analyse
from bigbench_meta.inference.shapes.inputs import Frame, Points, fit_input
from bigbench_meta.inference.shapes.shape_fits import (
    FIT_STATUSES,
    SHAPE_PARAMETERS,
    SHAPES,
    ShapeFits,
    fit_shapes,
    heaviest,
)
from bigbench_meta.inference.shapes.trends import (
    TREND_RULES,
    TRENDS,
    TrendNumbers,
    TrendRules,
    trend_numbers,
    trends,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]

__all__ = [
    "FIT_STATUSES",
    "SHAPES",
    "SHAPE_PARAMETERS",
    "TRENDS",
    "TREND_RULES",
    "ShapeFits",
    "TrendRules",
    "curve_shapes",
    "fit_shapes",
    "shape_fits",
]

# About what the fits of a curve cost, see inference.chunks.
_COST: Final = 2
_LEVELS: Final = frozenset({"level", "first", "limit", "below", "above", "lower", "upper"})
_DIFFERENCES: Final = frozenset({"slope", "amplitude"})


def curve_shapes(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    shapes: Sequence[str] = SHAPES,
    criterion: Literal["aicc", "bic"] = "bic",
    rules: TrendRules | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    """Find the best-fitting shape and the trend of every curve, with the numbers behind them.

    Scores that are means over examples are fitted as proportions, weighted by their binomial
    variance where every point has its number of examples and by reported standard errors
    otherwise; without either all points weigh the same (see ``weighting``).

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default.
        shapes: Some of :data:`SHAPES`, compared with each other.
        criterion: By which shapes are weighed and ``best_shape`` is chosen.
        rules: Thresholds of the rules that :data:`TREND_RULES` states.
        execution: How the work is spread, and where finished chunks are kept; the results do not
            depend on it.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        One row per curve: the key columns, ``metric_type``, ``scale``, ``n_scales``, ``weighting``;
        ``best_shape`` (missing where no shape has a weight), its ``best_weight`` and ``status``;
        ``trend``, one of :data:`TRENDS`, and what the rules use, on scores of which up is
        better: ``tau``, ``p_trend``, ``p_equal``, ``jump_share``, ``gap_share``,
        ``before_share``, ``n_before``, ``after_share``, ``run_up``, ``drawdown``, ``r2_line``,
        ``r2_parabola``, ``turn``, ``r2_power_law``; then ``weight_<shape>`` and
        ``status_<shape>`` of every shape.

    Raises:
        InputError: A shape or option is not known.

    References:
        Burnham & Anderson (2002), doi:10.1007/b97636. Lourie et al. (2025), arXiv 2507.00885.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> found = curve_shapes(build_curves(load_embedded()), shapes=("constant", "log_linear"))
        >>> row = found[(found.task == "arithmetic 3D+") & (found.shots == 50)].iloc[0]
        >>> row.trend, round(float(row.jump_share), 3), round(float(row.gap_share), 3)
        ('breakthrough', 0.991, 0.451)
    """
    options = {"catalog": catalog, "shapes": shapes, "criterion": criterion, "rules": rules}
    analysis = Analysis(function=_shapes_of, options=options, cost=_COST)
    analyses = {"shapes": analysis}
    return analyse(analyses, curves, execution, label="Fitting", progress=progress)["shapes"]


def _shapes_of(
    curves: Curves, *, catalog: MetricCatalog | None, shapes: Sequence[str],
    criterion: Literal["aicc", "bic"], rules: TrendRules | None,
) -> pd.DataFrame:  # fmt: skip
    data = fit_input(curves, catalog=catalog)
    fits = fit_shapes(
        data.y, curves.rising_x, curves.offsets, variance=data.variance, low=data.low,
        high=data.high, shapes=shapes, criteria_only=True,
    )  # fmt: skip
    up = data.y * data.up[curves.ragged.curve]
    points = Points.checked(up, curves.rising_x, curves.offsets, variance=data.variance)
    frame, n_points = Frame.of(points), np.diff(curves.offsets)
    numbers = trend_numbers(points, frame)
    r2_power_law = _r2_power_law(up, curves)
    trend = trends(numbers, n_points, frame.scale == 0, r2_power_law, rules or TrendRules())
    weight = fits.weights(criterion)
    best, row = heaviest(weight), np.arange(len(curves))
    statuses, names = np.array(FIT_STATUSES, object), np.array([*shapes, None], object)
    none = best < 0
    return _keys(curves, data).assign(
        best_shape=pd.Series(names[best], dtype="str"),
        best_weight=np.where(none, np.nan, weight[row, best]),
        status=np.where(none, "too_few_points", statuses[fits.status[row, best]]),
        trend=np.array(TRENDS, object)[trend],
        **{field.name: getattr(numbers, field.name) for field in fields(TrendNumbers)},
        r2_power_law=r2_power_law,
        **{f"weight_{name}": weight[:, i] for i, name in enumerate(shapes)},
        **{f"status_{name}": statuses[fits.status[:, i]] for i, name in enumerate(shapes)},
    )


def shape_fits(curves: Curves) -> pd.DataFrame:
    """Return every fit with its parameters and criteria.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.

    Returns:
        One row per curve and shape: the key columns, ``metric_type``, ``scale``, ``n_scales``,
        ``weighting``, ``shape``, ``n_parameters``, ``rss`` and ``dispersion`` (of proportions where
        scores are proportions, see :class:`ShapeFits`), ``log_likelihood``, ``aicc``, ``bic``,
        ``weight``, ``bic_weight``, ``status``, and a column for each name in
        :data:`SHAPE_PARAMETERS`, in the unit of the file and NaN where the shape has no such
        parameter.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> found = shape_fits(curves[curves.keys.task == "LAMBADA"])
        >>> row = found[(found.metric == "acc") & (found["shape"] == "log_linear")].iloc[0]
        >>> round(float(row["first"]), 1), round(float(row.slope), 2)  # percent, per unit of ln x
        (50.6, 4.22)
    """
    data = fit_input(curves)
    fits = fit_shapes(
        data.y,
        curves.rising_x,
        curves.offsets,
        variance=data.variance,
        low=data.low,
        high=data.high,
    )
    names = (
        "n_parameters", "rss", "dispersion", "log_likelihood", "aicc", "bic", "weight",
        "bic_weight",
    )  # fmt: skip
    repeated = _keys(curves, data).take(np.repeat(np.arange(len(curves)), len(SHAPES)))
    return repeated.reset_index(drop=True).assign(
        shape=np.tile(np.array(SHAPES, object), len(curves)),
        **{name: getattr(fits, name).ravel() for name in names},
        status=np.array(FIT_STATUSES, object)[fits.status.ravel()],
        **_parameters(fits, data),
    )


def _keys(curves: Curves, data: FitInput) -> pd.DataFrame:
    return curves.keys[[*CURVE_KEY, "metric_type", "scale"]].assign(
        n_scales=np.diff(curves.offsets), weighting=data.weighting
    )


def _r2_power_law(up: Floats, curves: Curves) -> Floats:
    """Return the share of the variance that a saturating power law explains, unweighted."""
    fits = fit_shapes(up, curves.rising_x, curves.offsets, shapes=("constant", "power_law"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - fits.rss[:, 1] / fits.rss[:, 0])


def _parameters(fits: ShapeFits, data: FitInput) -> dict[str, Floats]:
    """Return a column for each parameter, of all curves and shapes, in the unit of the file."""
    m, s = fits.weight.shape
    names = dict.fromkeys(name for shape in fits.shapes for name in SHAPE_PARAMETERS[shape])
    result = {name: np.full((m, s), np.nan) for name in names}
    for place, shape in enumerate(fits.shapes):
        for name, values in zip(SHAPE_PARAMETERS[shape], fits.parameters[shape].T, strict=True):
            if name in _LEVELS | _DIFFERENCES:
                values = values * data.unit + (data.zero if name in _LEVELS else 0.0)
            result[name][:, place] = values
    return {name: values.ravel() for name, values in result.items()}
