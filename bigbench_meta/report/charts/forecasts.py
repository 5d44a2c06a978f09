"""Charts of forecasts and the observed scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import FALLING_AXES
from bigbench_meta.core.text import drawable
from bigbench_meta.inference.forecast.summary import least_predictable
from bigbench_meta.report.charts.figure import (
    BLUE,
    VERMILION,
    Figure,
    curve_title,
    facets,
    scale_axis,
    styled,
    unlike,
)

if TYPE_CHECKING:
    from bigbench_meta.curves.build import Curves

__all__ = ["plot_forecasts"]

FITTED, FORECAST, HELD_OUT = "fitted", "forecast", "held out"
_COLOURS: Final = {FITTED: "#222222", FORECAST: BLUE, HELD_OUT: VERMILION}
_COLUMNS: Final = 3
_COLUMNS_OF_DATA: Final = [
    "title", "benchmark", "task", "subtask", "metric", "model_family", "shots", "forecaster", "k",
    "part", "model_name", "x", "score", "lower", "upper", "inside",
]  # fmt: skip


def plot_forecasts(
    curves: Curves,
    forecasts: pd.DataFrame,
    *,
    chosen: pd.DataFrame | None = None,
    most: int = 6,
) -> Figure:
    """Draw forecasts with their intervals, what they were fitted to, and what came.

    Args:
        curves: The curves.
        forecasts: What :func:`forecast_curves` returns for them.
        chosen: Rows of ``forecasts``: of each its curve is drawn as far as its forecaster sees it
            from its ``k`` scales. By default the least predictable curves
            (:func:`bigbench_meta.inference.forecast.summary.least_predictable`).
        most: Panels drawn at most, the first ones.

    Returns:
        The figure, a panel a row of ``chosen``: fitted scores dark, scores that were held out
        orange, forecasts as a broken line within a band from the last fitted score on. A forecast
        without an interval has no band.

    Raises:
        InputError: There is nothing to draw, or ``curves`` are not those of the forecasts.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
        >>> curves = build_curves(load_embedded())
        >>> chosen = curves.select(curves.keys.task == "arithmetic 3D+")
        >>> figure = plot_forecasts(chosen, forecast_curves(chosen, k=6))
        >>> figure.data["part"].value_counts().to_dict()
        {'fitted': 18, 'forecast': 9, 'held out': 6}
    """
    rows = least_predictable(forecasts) if chosen is None else chosen
    rows = rows.drop_duplicates(["curve", "forecaster", "k"])
    total, rows = len(rows), rows.head(most)
    if not len(rows):
        raise InputError("no forecast can be drawn", where="forecasts")
    if not rows["curve"].isin(range(len(curves))).all():
        raise InputError("belong to other curves", where="forecasts")
    titles = _titles(rows, curves)
    panels = [
        _panel(curves, forecasts, row).assign(title=title)
        for title, (_, row) in zip(titles, rows.iterrows(), strict=True)
    ]
    data = pd.concat(panels, ignore_index=True)[_COLUMNS_OF_DATA]
    least = "curves with the most surprising scores at larger scales"
    what = least if chosen is None else "forecasts"
    return Figure(
        name="forecasts",
        caption=(
            f"{len(rows)} of {total} {what}: scores that were fitted (dark) and held out (orange) "
            "against model scale on a logarithmic axis, in the unit of the result file. The broken "
            "line is the forecast and the band its interval, both from the last fitted score on. "
            "Panels have vertical axes of their own."
        ),
        chart=_chart(data, titles, sorted(set(rows["scale"].astype(str)))),
        data=data,
    )


def _panel(curves: Curves, forecasts: pd.DataFrame, row: pd.Series[Any]) -> pd.DataFrame:
    """Return what one panel draws, one row a point of each of its three parts."""
    curve, k = int(row["curve"]), int(row["k"])
    points = slice(curves.offsets[curve], curves.offsets[curve + 1])
    own = forecasts[
        (forecasts["curve"] == curve)
        & (forecasts["k"] == k)
        & (forecasts["forecaster"] == row["forecaster"])
    ].sort_values("horizon")
    scores = pd.DataFrame(
        {"model_name": curves.model_name[points], "x": curves.x[points], "score": curves.y[points]}
    )
    scores["part"] = [FITTED] * k + [HELD_OUT] * (len(scores) - k)
    inside = dict(zip(own["x"], own["covered"], strict=True))
    scores["inside"] = pd.array([inside.get(x) for x in scores["x"]], dtype="boolean")
    made = own.loc[own["forecast"].notna(), ["model_name", "x", "forecast", "lower", "upper"]]
    start = pd.DataFrame(
        {
            "model_name": [scores["model_name"][k - 1]],
            "x": [scores["x"][k - 1]],
            **{name: [scores["score"][k - 1]] for name in ("forecast", "lower", "upper")},
        }
    )
    ahead = pd.concat([start, made], ignore_index=True).rename(columns={"forecast": "score"})
    both = pd.concat([scores, ahead.assign(part=FORECAST)], ignore_index=True)
    key = ("benchmark", "task", "subtask", "metric", "model_family", "forecaster")
    texts = {name: drawable(str(row[name])) for name in key}
    shots = None if pd.isna(row["shots"]) else int(row["shots"])
    numbers = pd.array([shots] * len(both), dtype="Int64")
    result: pd.DataFrame = both.assign(**texts, shots=numbers, k=k)
    return result


def _titles(rows: pd.DataFrame, curves: Curves) -> list[str]:
    several = [
        name for name in ("model_family", "variant", "forecaster") if len(set(rows[name])) > 1
    ]
    titles = []
    for _, row in rows.iterrows():
        n = int(curves.offsets[row["curve"] + 1] - curves.offsets[row["curve"]])
        words = {name: str(row[name]).replace("_", " ") for name in several if pd.notna(row[name])}
        fitted = f"{row['k']} of {n} fitted"
        titles.append(
            curve_title(pd.Series(row.to_dict() | words), ("metric", "shots", *several), fitted)
        )
    return unlike(titles)


def _decades(x: pd.Series[float]) -> list[float]:
    low, high = np.log10(x.min()), np.log10(x.max())
    return [float(value) for value in 10.0 ** np.arange(np.floor(low), np.ceil(high) + 1)]


def _chart(data: pd.DataFrame, titles: list[str], axes: list[str]) -> Any:
    x = scale_axis(
        "x",
        " / ".join(axes).replace("_", " "),
        falls=FALLING_AXES.issuperset(axes),
        values=_decades(data["x"]),
        labelOverlap=True,
    )
    y = alt.Y("score:Q", title="score", axis=alt.Axis(tickCount=5, minExtent=34))
    colour = alt.Color(
        "part:N",
        title=None,
        scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
        legend=alt.Legend(orient="top", symbolOpacity=1),
    )
    base = alt.Chart().encode(x=x, color=colour)
    ahead = base.transform_filter(f"datum.part === '{FORECAST}'")
    # A forecast without an interval would be an area without an end.
    banded = ahead.transform_filter("isValid(datum.lower) && isValid(datum.upper)")
    points = base.transform_filter(f"datum.part !== '{FORECAST}'")
    layers = alt.layer(
        banded.mark_area(opacity=0.2).encode(y=alt.Y("lower:Q", title="score"), y2="upper:Q"),
        ahead.mark_line(strokeDash=[5, 3], strokeWidth=1.5).encode(y=y),
        points.mark_point(filled=True, size=42, opacity=1).encode(
            y=y, tooltip=["model_name", "x", "score", "inside"]
        ),
        data=data,
    )
    chart = layers.properties(width=190, height=130)
    return styled(facets(chart, titles, columns=_COLUMNS, same_scale=len(axes) == 1))
