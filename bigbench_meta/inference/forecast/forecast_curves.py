"""Forecast the larger scales of curves from the smaller ones, and measure the error.

An ability is called emergent where it "cannot be predicted simply by extrapolating the performance
of smaller models" (Wei et al. 2022). So: fit the k smallest scales of a curve, forecast all larger
ones with an interval, and compare with what was observed, and with the forecast that nothing
changes. A smooth metric of the same models can be fitted in place of a sharp one.

References:
    Wei et al. (2022), "Emergent Abilities of Large Language Models", arXiv 2206.07682, sec. 1.
    OpenAI (2023), "GPT-4 Technical Report", arXiv 2303.08774, sec. 3.2. Schaeffer, Miranda & Koyejo
    (2023), arXiv 2304.15004.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import one_a_curve, one_of, within
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.chunks import Analysis, analyse
from bigbench_meta.inference.forecast.forecasts import (
    FORECAST_STATUSES,
    SKILL_STATUSES,
    Forecasts,
    ForecastStatus,
    Rows,
    plan_rows,
    score_forecasts,
)
from bigbench_meta.inference.forecast.link_forecasts import (
    LEAST_POINTS,
    forecast_log_pass_rate,
    forecast_through_link,
)
from bigbench_meta.inference.forecast.mechanism_forecasts import (
    LEAST_POINTS as LEAST_OF_MECHANISM,
)
from bigbench_meta.inference.forecast.mechanism_forecasts import (
    MECHANISM,
    forecast_by_mechanism,
    mechanism_input,
)
from bigbench_meta.inference.forecast.shape_forecasts import (
    MIXTURE,
    forecast_by_shapes,
    least_points,
)
from bigbench_meta.inference.forecast.smooth_partners import smooth_partners
from bigbench_meta.inference.shapes.inputs import fit_input
from bigbench_meta.inference.shapes.shape_fits import SHAPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.forecast.forecasts import Which
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["FORECASTERS", "forecast_curves"]

# About what the forecasts of a curve cost, see inference.chunks: of one number of scales, and of
# every number.
_COST: Final = (2, 10)
GPT4_RULE: Final = "log_pass_rate"
SMOOTH_PAIR: Final = "smooth_pair"
FORECASTERS: Final = (MIXTURE, MECHANISM, *SHAPES, GPT4_RULE, SMOOTH_PAIR)
"""The mixture of the smooth mechanism and of shapes, each of them alone, the rule of the GPT-4
report, and the smooth metric of the same models through its link."""


def forecast_curves(
    curves: Curves,
    *,
    k: Which = "every",
    forecasters: Sequence[str] = (MIXTURE,),
    level: float = 0.95,
    criterion: Literal["aicc", "bic"] = "bic",
    adjust: Literal["none", "jeffreys"] = "none",
    length: ArrayLike = np.nan,
    catalog: MetricCatalog | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    r"""Forecast the larger scales of every curve from the smaller ones.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        k: ``every`` number of scales that can be fitted (at least 5 for the mixture, one more than
            its parameters for a shape, 3 for the others), the ``last`` scale from all others, or a
            number of scales.
        forecasters: Some of :data:`FORECASTERS`. ``mechanism`` averages all smooth laws of the loss
            by how well they fit, see :mod:`inference.forecast.mechanism_forecasts`; ``mixture``
            adds the shapes, weighed by ``criterion``, to it. ``log_pass_rate`` is
            :math:`-\ln s = \alpha x^{-k}` for a
            score s; the report's x is training compute, here it is the curves' axis.
            ``smooth_pair`` extends a power law in the loss of the first metric in :data:`LINKS`
            that the same models have on the same task and shots, and takes the sharp metric for p
            to the power of the length.
        level: Confidence of the forecast intervals, in (0, 1).
        criterion: Whose weights shapes have in the mixture, and by which ``best_shape`` is chosen.
        adjust: With ``jeffreys``, ``log_pass_rate`` takes (ns + 1/2)/(n + 1) for s, where n is
            known, so that scores of 0 have a logarithm; a curve with a fitted score of 0 or 1 is
            forecast from its numbers of right answers.
        length: Length of the targets in units of the smooth metric, a number or one a curve; NaN
            to find it from the fitted scales.
        catalog: Metric catalog; the packaged one by default.
        execution: How the work is spread, and where finished chunks are kept; the results do not
            depend on it.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        One row per forecaster, curve, number of scales fitted and larger scale: the key columns,
        ``curve`` (position in ``curves``), ``metric_type``, ``scale``, ``weighting``,
        ``forecaster``, ``k``, ``horizon`` (scales beyond the fitted ones), ``x_fitted`` (the
        largest of them), ``x``, ``model_name``; in the unit of the file ``observed``, ``last``
        (fitted score, what persistence forecasts), ``forecast``, ``lower``, ``upper``, ``error``,
        ``persistence_error``, ``interval_score``; ``skill``, ``1 - |error| / |persistence error|``,
        and ``skill_status``, ``covered`` (missing without an interval), ``surprise`` (bits, -log2
        of the two-sided probability of a score as far out), ``best_shape`` at the fitted scales,
        ``smooth_metric``, ``length``, ``width`` of the interval as a share of what can be gained
        over guessing, and ``status``. Without a forecast its columns are NaN and ``status`` says
        why. Where the mixture or the mechanism is ``not_predictable``, its numbers stand, but
        ``covered`` and ``surprise`` are missing: the interval covers more than half of what can be
        gained, or no fitted score is above guessing. A curve of fewer than two scales has no row,
        nor has one that has no
        more scales than a given ``k``.

    Raises:
        InputError: An option is not known or out of range.

    References:
        Burnham & Anderson (2002), doi:10.1007/b97636. OpenAI (2023), arXiv 2303.08774, sec. 3.2.
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> chosen = curves[(curves.keys.task == "HellaSwag") & (curves.keys.shots == 0)]
        >>> row = forecast_curves(chosen, k="last").iloc[0]
        >>> row.model_name, float(row.observed), bool(row.lower < row.observed < row.upper)
        ('175B', 78.9, True)
    """
    _check(forecasters, criterion, adjust)
    if not 0 < level < 1:
        raise InputError(f"{level!r} is not between 0 and 1", where="level")
    lengths = one_a_curve(within(length, 0, np.inf, "length", open_=True), len(curves), "length")
    options = {"k": k, "level": level, "criterion": criterion, "catalog": catalog}
    analyses = {
        name: Analysis(
            function=_by_shapes,
            options=options | {"forecaster": name},
            cost=_COST[k == "every"],
        )
        for name in forecasters
        if name not in {GPT4_RULE, SMOOTH_PAIR}
    }
    found = analyse(analyses, curves, execution, label="Forecasting", progress=progress)
    if GPT4_RULE in forecasters:
        found[GPT4_RULE] = _by_pass_rate(curves, k=k, level=level, adjust=adjust, catalog=catalog)
    if SMOOTH_PAIR in forecasters:  # needs the curves of other metrics, and is fast
        found[SMOOTH_PAIR] = _by_partner(curves, k=k, level=level, lengths=lengths, catalog=catalog)
    return pd.concat([found[name] for name in forecasters], ignore_index=True)


def _by_shapes(
    curves: Curves, *, forecaster: str, k: Which, level: float,
    criterion: Literal["aicc", "bic"], catalog: MetricCatalog | None,
) -> pd.DataFrame:  # fmt: skip
    """Forecast some curves by laws and shapes."""
    data = fit_input(curves, catalog=catalog)
    mechanism = mechanism_input(curves, data, catalog=catalog)
    x = curves.rising_x
    if forecaster == MECHANISM:
        rows = plan_rows(curves.offsets, k, LEAST_OF_MECHANISM)
        found = forecast_by_mechanism(mechanism, x, rows, level=level)
    else:
        rows = plan_rows(curves.offsets, k, least_points(forecaster))
        found = forecast_by_shapes(
            data, x, rows,
            forecaster=forecaster, level=level, mechanism=mechanism, criterion=criterion,
        )  # fmt: skip
    return _table(forecaster, curves, data, rows, found, level)


def _by_pass_rate(
    curves: Curves, *, k: Which, level: float, adjust: Literal["none", "jeffreys"],
    catalog: MetricCatalog | None,
) -> pd.DataFrame:  # fmt: skip
    """Forecast by the rule of the GPT-4 report."""
    data = fit_input(curves, catalog=catalog)
    rows = plan_rows(curves.offsets, k, LEAST_POINTS)
    found = forecast_log_pass_rate(
        _shares(curves, data), curves.rising_x, rows, n_examples=data.n_examples, level=level,
        adjust=adjust,
    )  # fmt: skip
    _give_status(found, rows, ~data.is_share, ForecastStatus.NOT_A_PROPORTION)
    return _table(GPT4_RULE, curves, data, rows, found, level)


def _by_partner(
    curves: Curves, *, k: Which, level: float, lengths: Floats, catalog: MetricCatalog | None
) -> pd.DataFrame:
    """Forecast through the smooth metric of the same models."""
    data = fit_input(curves, catalog=catalog)
    partners = smooth_partners(curves, data, catalog)
    has_partner = (partners.status == ForecastStatus.OK)[curves.ragged.curve]
    pairs = replace(partners, smooth=np.where(has_partner, partners.smooth, np.nan))
    rows = plan_rows(curves.offsets, k, LEAST_POINTS)
    found = forecast_through_link(
        _shares(curves, data), curves.rising_x, rows, pairs=pairs, n_examples=data.n_examples,
        length=lengths, level=level,
    )  # fmt: skip
    for status in (
        ForecastStatus.NOT_A_PROPORTION, ForecastStatus.NO_PAIR, ForecastStatus.NO_CHOICES,
    ):  # fmt: skip
        _give_status(found, rows, partners.status == status, status)
    return _table(SMOOTH_PAIR, curves, data, rows, found, level, partners.metric)


def _shares(curves: Curves, data: FitInput) -> Floats:
    """Return the scores that are proportions, NaN for others."""
    return np.where(data.is_share[curves.ragged.curve], data.y, np.nan)


def _check(forecasters: Sequence[str], criterion: str, adjust: str) -> None:
    for name in forecasters:
        one_of(name, FORECASTERS, "forecasters")
    if not forecasters or len(set(forecasters)) < len(forecasters):
        raise InputError(f"{list(forecasters)}: empty, or one is given twice", where="forecasters")
    one_of(criterion, ("aicc", "bic"), "criterion")
    one_of(adjust, ("none", "jeffreys"), "adjust")


def _give_status(
    found: Forecasts, rows: Rows, curves: NDArray[np.bool_], status: ForecastStatus
) -> None:
    """Give the rows of some curves a status of their own."""
    found.status[curves[rows.curve][rows.part]] = status


def _table(
    name: str, curves: Curves, data: FitInput, rows: Rows, found: Forecasts, level: float,
    smooth_metric: NDArray[np.object_] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Label the forecasts of one forecaster, in the unit of the file."""
    if smooth_metric is None:
        smooth_metric = np.full(len(curves), None, dtype=object)
    curve, target, last = rows.curve[rows.part], rows.target, rows.last
    unit, zero = data.unit[curve], data.zero[curve]
    scores = score_forecasts(found, data.y[target], data.y[last], level)
    ends = (zero + unit * found.lower, zero + unit * found.upper)
    keys = curves.keys[[*CURVE_KEY]].take(curve).reset_index(drop=True)
    return keys.assign(
        curve=curve,
        metric_type=curves.keys["metric_type"].to_numpy()[curve],
        scale=curves.keys["scale"].to_numpy()[curve],
        weighting=data.weighting[curve],
        forecaster=name,
        k=rows.k[rows.part],
        horizon=rows.horizon,
        x_fitted=curves.x[last],
        x=curves.x[target],
        model_name=curves.model_name[target],
        observed=curves.y[target],
        last=curves.y[last],
        forecast=zero + unit * found.point,
        lower=np.fmin(*ends),
        upper=np.fmax(*ends),
        error=scores.error * unit,
        persistence_error=scores.persistence_error * unit,
        interval_score=scores.interval_score * np.abs(unit),
        skill=scores.skill,
        skill_status=np.array(SKILL_STATUSES, object)[scores.skill_status],
        covered=pd.Series(scores.covered, dtype="Float64").astype("boolean"),
        surprise=scores.surprise,
        best_shape=pd.Series(np.array([*SHAPES, None], object)[found.shape], dtype="str"),
        smooth_metric=pd.Series(smooth_metric[curve], dtype="str"),
        length=found.length,
        width=found.width,
        status=np.array(FORECAST_STATUSES, object)[found.status],
    )
