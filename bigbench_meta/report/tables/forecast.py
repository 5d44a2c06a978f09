"""Formatted tables of how accurate forecasts were."""

from __future__ import annotations

import pandas as pd

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.forecast.summary import (
    compare_forecasters,
    forecast_summary,
    least_predictable,
)
from bigbench_meta.report.tables.table import Table

__all__ = ["forecast_tables"]


def forecast_tables(forecasts: pd.DataFrame) -> list[Table]:
    """Return the tables of forecasts.

    Args:
        forecasts: What :func:`forecast_curves` returns, with two more
            columns: ``emergence_score`` and ``flagged`` of each row's curve.

    Returns:
        ``forecast_summary`` (a row per forecaster and horizon), ``forecast_by_flag`` (flagged
        curves against the others, one scale ahead), ``forecast_comparison`` (every other forecaster
        against the first, if there are others),
        ``least_predictable`` (a row per curve) and ``forecasts`` (all).

    Raises:
        InputError: A column is missing.
    """
    if missing := [name for name in ("emergence_score", "flagged") if name not in forecasts]:
        raise InputError(f"no column {', '.join(missing)}", where="forecasts")
    comparisons = _comparisons(forecasts)
    return [
        _summary(forecasts),
        _by_flag(forecasts[forecasts["horizon"] == 1]),
        *([] if comparisons is None else [_comparison(comparisons)]),
        _least(forecasts),
        Table(
            name="forecasts",
            caption="Every forecast with the observed score.",
            frame=forecasts,
            columns=("subtask", "metric", "shots", "forecaster", "k", "model_name", "last",
                     "observed", "forecast", "lower", "upper", "skill", "surprise", "status"),
        ),
    ]  # fmt: skip


def _summary(forecasts: pd.DataFrame) -> Table:
    return Table(
        name="forecast_summary",
        caption="Forecasts by forecaster and horizon (number of scales ahead). Coverage is the "
        "share of intervals that contain the observed score, among forecasts that predict "
        "something; its Wilson interval treats forecasts as independent. Width is a share of the "
        "range above guessing; skill compares with the last fitted score; surprise is in bits.",
        frame=forecast_summary(forecasts),
        columns=("forecaster", "horizon", "n", "n_forecast", "n_not_predictable", "coverage",
                 "coverage_low", "coverage_high", "median_width", "median_skill", "share_better",
                 "median_surprise"),
        brief=("forecaster", "horizon", "n", "n_forecast", "n_not_predictable", "coverage",
               "median_width", "median_skill"),
    )  # fmt: skip


def _by_flag(ahead: pd.DataFrame) -> Table:
    return Table(
        name="forecast_by_flag",
        caption="Forecasts one scale ahead, for flagged and for other curves. The step that flags "
        "a curve is among the steps forecast, so a difference is not independent evidence that "
        "flagged curves are less predictable.",
        frame=forecast_summary(ahead, by=("forecaster", "flagged")),
        columns=("forecaster", "flagged", "n", "n_forecast", "n_not_predictable", "coverage",
                 "median_width", "median_skill", "share_better", "median_surprise"),
        brief=("forecaster", "flagged", "n", "n_forecast", "n_not_predictable", "coverage",
               "median_width", "median_skill"),
    )  # fmt: skip


def _comparison(comparisons: pd.DataFrame) -> Table:
    return Table(
        name="forecast_comparison",
        caption="Which of two forecasters is closer to the observed score where both made a "
        "forecast: by horizon, and over all horizons where the horizon is empty. The sign test "
        "treats tasks as the units.",
        frame=comparisons,
        brief=("first", "second", "horizon", "n", "n_first", "n_second", "n_tasks_first",
               "n_tasks_second", "p_value"),
    )  # fmt: skip


def _least(forecasts: pd.DataFrame) -> Table:
    return Table(
        name="least_predictable",
        caption="The curves with the most surprising scores at larger scales, each with its most "
        "surprising forecast. That forecast is selected for its surprise, so it is surprising even "
        "if the forecasts are right.",
        frame=least_predictable(forecasts).reset_index(drop=True),
        columns=("subtask", "metric", "model_family", "shots", "k", "model_name", "last",
                 "observed", "forecast", "lower", "upper", "surprise", "emergence_score",
                 "flagged"),
        brief=("subtask", "metric", "shots", "k", "model_name", "observed", "lower", "upper",
               "surprise"),
        most_rows=20,
    )  # fmt: skip


def _comparisons(forecasts: pd.DataFrame) -> pd.DataFrame | None:
    """Return every other forecaster against the first one, where both made a forecast."""
    first, *others = forecasts["forecaster"].unique().tolist() or [None]
    found = [compare_forecasters(forecasts, name, first) for name in others]
    if not found:
        return None
    table = pd.concat(found, ignore_index=True)
    return table[table["n"] > 0].reset_index(drop=True)
