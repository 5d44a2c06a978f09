"""Unpredictability: what smaller scales say about larger ones, and how wrong that is.

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
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import within
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.forecast import rows as rows_of
from bigbench_meta.inference.forecast.link_forecasts import (
    LEAST_POINTS,
    forecast_log_pass_rate,
    forecast_through_link,
)
from bigbench_meta.inference.forecast.links import LINKS
from bigbench_meta.inference.forecast.rows import (
    FORECAST_STATUSES,
    SKILL_STATUSES,
    Forecasts,
    Rows,
    plan_rows,
    score_forecasts,
)
from bigbench_meta.inference.forecast.shape_forecasts import (
    MIXTURE,
    forecast_by_shapes,
    least_points,
)
from bigbench_meta.inference.forecast.smooth_partners import Partners, smooth_partners
from bigbench_meta.inference.forecast.summary import (
    compare_forecasters,
    forecast_summary,
    least_predictable,
)
from bigbench_meta.inference.shapes.batch import SHAPES
from bigbench_meta.inference.shapes.inputs import fit_input

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.forecast.rows import Scores, Which
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]

__all__ = [
    "FORECASTERS",
    "FORECAST_STATUSES",
    "LINKS",
    "SKILL_STATUSES",
    "compare_forecasters",
    "forecast_curves",
    "forecast_summary",
    "least_predictable",
]

GPT4_RULE: Final = "log_pass_rate"
SMOOTH_PAIR: Final = "smooth_pair"
FORECASTERS: Final = (MIXTURE, *SHAPES, GPT4_RULE, SMOOTH_PAIR)
"""The mixture of shapes by their BIC or AICc weights, one shape, the rule of the GPT-4 report, and
the smooth metric of the same models through its link."""


def forecast_curves(
    curves: Curves,
    *,
    k: Which = "every",
    forecasters: Sequence[str] = (MIXTURE,),
    shapes: Sequence[str] = SHAPES,
    level: float = 0.95,
    dispersion: Literal["free", "fixed"] = "free",
    criterion: Literal["aicc", "bic"] = "bic",
    adjust: Literal["none", "jeffreys"] = "none",
    length: ArrayLike = np.nan,
    catalog: MetricCatalog | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    r"""Forecast the larger scales of every curve from the smaller ones.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        k: ``every`` number of scales that can be fitted (at least 5 for the mixture, one more than
            its parameters for a shape, 3 for the others), the ``last`` scale from all others, or a
            number of scales.
        forecasters: Some of :data:`FORECASTERS`. ``mixture`` weighs the shapes by ``criterion``
            at the fitted scales. ``log_pass_rate`` is :math:`-\ln s = \alpha x^{-k}` for a
            score s; the report's x is training compute, here it is the curves' axis.
            ``smooth_pair`` extends a power law in the loss of the first metric in :data:`LINKS`
            that the same models have on the same task and shots, and takes the sharp metric for p
            to the power of the length.
        shapes: Shapes of the mixture.
        level: Confidence of the forecast intervals, in (0, 1).
        dispersion: See :func:`bigbench_meta.inference.shapes.curve_shapes.fit_shapes`.
        criterion: Whose weights the mixture takes, and ``best_shape`` goes by. AICc is so strict
            with few points that its intervals miss curved truths (docs/forecast.md).
        adjust: ``jeffreys`` lets ``log_pass_rate`` take (ns + 1/2)/(n + 1) for s, where n is
            known, so that scores of 0 have a logarithm.
        length: Length of the targets in units of the smooth metric, a number or one a curve; NaN
            to find it from the fitted scales.
        catalog: Metric catalog; the packaged one by default.
        progress: Called with (fits done, fits to do), a fit being one curve and number of scales.

    Returns:
        One row a forecaster, curve, number of scales fitted and larger scale: the key columns,
        ``curve`` (position in ``curves``), ``metric_type``, ``scale``, ``weighting``,
        ``forecaster``, ``k``, ``horizon`` (scales beyond the fitted ones), ``x_fitted`` (the
        largest of them), ``x``, ``model_name``; in the unit of the file ``observed``, ``last``
        (fitted score, what persistence forecasts), ``forecast``, ``lower``, ``upper``, ``error``,
        ``persistence_error``, ``interval_score``; ``skill`` = 1 - |error| / |persistence error|
        and ``skill_status``, ``covered`` (missing without an interval), ``surprise`` (bits, -log2
        of the two-sided probability of a score as far out), ``best_shape`` at the fitted scales,
        ``smooth_metric``, ``length`` and ``status``. Without a forecast its columns are NaN and
        ``status`` says why. A curve of fewer than two scales has no row, nor has one that has no
        more scales than a given ``k``.

    Raises:
        InputError: An option is not known or out of range.

    References:
        Burnham & Anderson (2002), doi:10.1007/b97636. OpenAI (2023), arXiv 2303.08774, sec. 3.2.
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> chosen = curves.select((curves.keys.task == "HellaSwag") & (curves.keys.shots == 0))
        >>> row = forecast_curves(chosen, k="last").iloc[0]
        >>> row.model_name, float(row.observed), bool(row.lower < row.observed < row.upper)
        ('175B', 78.9, True)
    """
    _check(forecasters, level, criterion, adjust)
    data = fit_input(curves, catalog=catalog)
    partners = smooth_partners(curves, data, catalog) if SMOOTH_PAIR in forecasters else None
    lengths = _lengths(length, len(curves))
    tables, plans = [], [plan_rows(curves.offsets, k, _least(name)) for name in forecasters]
    told = _Told(progress, sum(len(rows.curve) for rows in plans))
    for name, rows in zip(forecasters, plans, strict=True):
        if name == GPT4_RULE:
            found = forecast_log_pass_rate(
                _shares(data, curves), curves.x, rows, n_examples=data.n_examples, level=level,
                adjust=adjust,
            )  # fmt: skip
            found = _blame(found, rows, ~data.is_share, rows_of.NOT_A_PROPORTION)
        elif name == SMOOTH_PAIR and partners is not None:
            found = _through_pairs(curves, data, partners, rows, lengths, level)
        else:
            found = forecast_by_shapes(
                data.y, curves.x, rows, forecaster=name, variance=data.variance,
                n_examples=data.n_examples, low=data.low, high=data.high, level=level,
                shapes=shapes, dispersion=dispersion, criterion=criterion, progress=told.within,
            )  # fmt: skip
        told.finish(len(rows.curve))
        smooth = partners.metric if name == SMOOTH_PAIR and partners else None
        tables.append(_table(name, curves, data, rows, found, smooth, level))
    return pd.concat(tables, ignore_index=True)


class _Told:
    """How far all forecasters together have come."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def within(self, done: int) -> None:
        """Tell how many fits of the forecaster at work are done."""
        if self._progress:
            self._progress(self._done + done, self._total)

    def finish(self, count: int) -> None:
        """Count a forecaster with so many fits as done."""
        self._done += count
        self.within(0)


def _least(forecaster: str) -> int:
    if forecaster in {GPT4_RULE, SMOOTH_PAIR}:
        return LEAST_POINTS
    return least_points(forecaster)


def _check(forecasters: Sequence[str], level: float, criterion: str, adjust: str) -> None:
    if unknown := [name for name in forecasters if name not in FORECASTERS]:
        raise InputError(
            f"no forecaster {unknown[0]!r}", where="forecasters",
            hint=f"one of {', '.join(FORECASTERS)}",
        )  # fmt: skip
    if not forecasters or len(set(forecasters)) < len(forecasters):
        raise InputError(f"{list(forecasters)}: none, or one twice", where="forecasters")
    for where, value, allowed in (
        ("criterion", criterion, ("aicc", "bic")), ("adjust", adjust, ("none", "jeffreys")),
    ):  # fmt: skip
        if value not in allowed:
            raise InputError(f"{value!r} is not {' or '.join(allowed)}", where=where)
    if not 0 < level < 1:
        raise InputError(f"{level!r} is not between 0 and 1", where="level")


def _lengths(length: ArrayLike, m: int) -> Floats:
    values = within(length, 0, np.inf, "length", open_=True)
    if values.shape not in {(), (m,)}:
        raise InputError(f"shape {values.shape}, not () or ({m},)", where="length")
    return np.broadcast_to(values, (m,))


def _shares(data: FitInput, curves: Curves) -> Floats:
    return np.where(data.is_share[curves.curve_of_point], data.y, np.nan)


def _blame(found: Forecasts, rows: Rows, wrong: NDArray[np.bool_], code: int) -> Forecasts:
    """Give the rows of wrong curves a status of their own."""
    found.status[wrong[rows.curve][rows.part]] = code
    return found


def _through_pairs(
    curves: Curves, data: FitInput, partners: Partners, rows: Rows, lengths: Floats, level: float
) -> Forecasts:
    paired = partners.status == rows_of.OK
    smooth = np.where(paired[curves.curve_of_point], partners.smooth, np.nan)
    found = forecast_through_link(
        _shares(data, curves), curves.x, rows, pairs=replace(partners, smooth=smooth),
        n_examples=data.n_examples, length=lengths, level=level,
    )  # fmt: skip
    for code in (rows_of.NOT_A_PROPORTION, rows_of.NO_PAIR, rows_of.NO_CHOICES):
        found = _blame(found, rows, partners.status == code, code)
    return found


def _table(
    name: str, curves: Curves, data: FitInput, rows: Rows, found: Forecasts,
    smooth: NDArray[np.object_] | None, level: float,
) -> pd.DataFrame:  # fmt: skip
    curve, target, last = rows.curve[rows.part], rows.target, rows.last
    unit, zero = data.unit[curve], data.zero[curve]
    scores = score_forecasts(found, data.y[target], data.y[last], level)
    ends = (zero + unit * found.lower, zero + unit * found.upper)
    keys = curves.keys[[*CURVE_KEY]].take(curve).reset_index(drop=True)
    covered = pd.Series(scores.covered, dtype="Float64").astype("boolean")
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
        **_judged(scores, unit),
        covered=covered,
        surprise=scores.surprise,
        best_shape=pd.Series(np.array([*SHAPES, None], object)[found.shape], dtype="str"),
        smooth_metric=pd.Series(_names(smooth, curve), dtype="str"),
        length=found.length,
        status=np.array(FORECAST_STATUSES, object)[found.status],
    )


def _judged(scores: Scores, unit: Floats) -> dict[str, Any]:
    return {
        "error": scores.error * unit,
        "persistence_error": scores.persistence_error * unit,
        "interval_score": scores.interval_score * np.abs(unit),
        "skill": scores.skill,
        "skill_status": np.array(SKILL_STATUSES, object)[scores.skill_status],
    }


def _names(smooth: NDArray[np.object_] | None, curve: NDArray[np.int64]) -> NDArray[np.object_]:
    return np.full(len(curve), None, object) if smooth is None else smooth[curve]
