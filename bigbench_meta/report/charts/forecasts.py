"""Charts of forecasts: curve by curve, at the largest scale, and how often intervals hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.text import counted, drawable
from bigbench_meta.inference.forecast.summary import forecast_summary, least_predictable
from bigbench_meta.report.charts.figure import (
    AXIS,
    BLACK,
    BLUE,
    VERMILION,
    Figure,
    across,
    caption,
    curve_title,
    facets,
    panel_width,
    scale_axis,
    score_axis,
    series_marks,
    styled,
    unlike,
    with_texts,
)

if TYPE_CHECKING:
    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.charts.figure import Width

__all__ = ["plot_forecast_coverage", "plot_forecasts", "plot_last_forecasts"]

FITTED, FORECAST, HELD_OUT = "fitted", "forecast", "held out"
_COLOURS: Final = {FITTED: BLACK, HELD_OUT: VERMILION, FORECAST: BLUE}
_SHARP, _OTHERS = "flagged", "not flagged"
_COLOURS_OF_GROUPS: Final = (VERMILION, BLUE)
# More in one panel hide each other.
_MOST_CURVES: Final = 400
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
        >>> chosen = curves[curves.keys.task == "arithmetic 3D+"]
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
    width, columns = across(len(rows), most=3)
    titles = _titles(rows, curves, panel_width(width, columns))
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
            f"{len(rows)} of {total} {what}: scores that were fitted (dots) and held out "
            "(squares) against model scale on a logarithmic axis, in the unit of the result file. "
            "The broken line is the forecast and the band its interval, both from the last fitted "
            "score on. Panels have vertical axes of their own."
        ),
        chart=styled(_chart(data, titles, set(rows["scale"].astype(str)), width, columns), width),
        data=data,
        width=width,
    )


def _panel(curves: Curves, forecasts: pd.DataFrame, row: pd.Series[Any]) -> pd.DataFrame:
    """Return what one panel draws, one row per point of each of its three parts."""
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


def _titles(rows: pd.DataFrame, curves: Curves, room: float) -> list[str]:
    several = [
        name for name in ("model_family", "variant", "forecaster") if len(set(rows[name])) > 1
    ]
    titles = []
    for _, row in rows.iterrows():
        n = int(curves.offsets[row["curve"] + 1] - curves.offsets[row["curve"]])
        words = {name: str(row[name]).replace("_", " ") for name in several if pd.notna(row[name])}
        fitted = f"{row['k']} of {n} fitted"
        titles.append(
            curve_title(
                pd.Series(row.to_dict() | words), ("metric", "shots", *several), fitted, room=room
            )
        )
    return unlike(titles)


def _chart(
    data: pd.DataFrame, titles: list[str], axes: set[str], width: Width, columns: int
) -> alt.FacetChart:
    x = scale_axis("x", axes, data["x"])
    y = score_axis("score", "Score")
    marks = series_marks("part", list(_COLOURS), _COLOURS.values())
    # A forecast has a line and no points.
    marks["shape"]["scale"]["range"][2] = "stroke"
    base = alt.Chart().encode(x=x, color=marks["color"])
    ahead = base.transform_filter(f"datum.part === '{FORECAST}'")
    # A forecast without an interval would be an area without an end.
    banded = ahead.transform_filter("isValid(datum.lower) && isValid(datum.upper)")
    points = base.transform_filter(f"datum.part !== '{FORECAST}'")
    layers = alt.layer(
        banded.mark_area(opacity=0.2).encode(y=alt.Y("lower:Q", title="Score"), y2="upper:Q"),
        ahead.mark_line(strokeWidth=1.2).encode(y=y, strokeDash=marks["strokeDash"]),
        points.mark_point(filled=True, size=22, opacity=1).encode(
            y=y, shape=marks["shape"], tooltip=["model_name", "x", "score", "inside"]
        ),
        data=data,
    )
    size = panel_width(width, columns)
    chart = layers.properties(width=size, height=round(size * 0.65))
    return facets(chart, titles, columns=columns, same_scale=len(axes) == 1)


def plot_last_forecasts(
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    catalog: MetricCatalog | None = None,
) -> Figure | None:
    """Draw the forecast of the score at the largest scale against the observed one.

    Args:
        scores: What :func:`bigbench_meta.score_curves` returns with ``inference``.
        threshold: Curves with a score above it are flagged.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        The figure: a point a curve, as a share of its metric's range, with its 95% interval, from
        all smaller scales; flagged curves in a panel of their own. Forecasts whose interval says
        nothing are hollow. Of more than 400 curves in a panel, 400 are drawn that are evenly spread
        over the ranks of the observed score; the caption says so, and counts curves of metrics
        without limits. None if there is no forecast to draw.

    Raises:
        SchemaError: The scores come without inference.
    """
    names = ["forecast", "forecast_low", "forecast_high", "forecast_covered", "forecast_status"]
    if missing := [name for name in names if name not in scores]:
        raise SchemaError(
            f"missing column {', '.join(missing)}", where="scores",
            hint="score_curves(..., inference=True)",
        )  # fmt: skip
    made = scores[scores["forecast"].notna()]
    known = (catalog or metric_catalog()).lookup(made[["benchmark", "task", "metric"]])
    low, high = known["low"].astype(float), known["high"].astype(float)
    bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
    made, low, span = made[bounded], low[bounded], (high - low)[bounded]
    if made.empty:
        return None
    key = ["task", "subtask", "metric", "model_family", "shots", "variant", "emergence_score"]
    flags = flagged(made, threshold)
    data = with_texts(
        made[key].assign(
            group=np.where(flags, _SHARP, _OTHERS),
            observed=(made["score_last"] - low) / span,
            forecast=(made["forecast"] - low) / span,
            lower=(made["forecast_low"] - low) / span,
            upper=(made["forecast_high"] - low) / span,
            inside=made["forecast_covered"].astype("boolean"),
            predicts=made["forecast_status"].astype(str) != "not_predictable",
        )
    ).reset_index(drop=True)
    n_unbounded = int((~bounded).sum())
    drawn = _spread(data)
    return Figure(
        name="last_forecasts",
        caption=caption(
            _held(data),
            "Forecast of the score at the largest scale, from all smaller ones, against the "
            "observed score, each as a share of the range of its metric, with its 95% interval. "
            "On the dashed line both are equal. Hollow: the smaller scales predict nothing, and "
            "the interval is left out.",
            f"{counted(n_unbounded, 'curve')} of metrics without limits "
            f"{'is' if n_unbounded == 1 else 'are'} not drawn."
            if n_unbounded
            else "",
            f"{len(drawn):,} of {len(data):,} curves are drawn, evenly spread over the ranks of "
            "the observed score in each panel."
            if len(drawn) < len(data)
            else "",
        ),
        chart=styled(_against_observed(drawn)),
        data=drawn,
    )


def _spread(data: pd.DataFrame) -> pd.DataFrame:
    """Return the curves to draw: in each panel at most so many, of all observed scores."""
    kept = []
    for _, group in data.groupby("group", sort=False):
        ranked = group.sort_values("observed", kind="stable").index
        n = min(len(ranked), _MOST_CURVES)
        kept.append(ranked[np.linspace(0, len(ranked) - 1, n).round().astype(int)])
    return data.loc[np.sort(np.concatenate(kept))].reset_index(drop=True)


def _held(data: pd.DataFrame) -> str:
    parts = []
    for name in (_SHARP, _OTHERS):
        inside = data.loc[(data["group"] == name) & data["predicts"], "inside"].dropna()
        if len(inside):
            parts.append(f"{int(inside.sum())} of {len(inside)} curves that are {name}")
    return f"The interval contains the observed score of {' and '.join(parts)}." if parts else ""


def _against_observed(data: pd.DataFrame) -> alt.FacetChart:
    groups = [name for name in (_SHARP, _OTHERS) if name in set(data["group"])]
    size = panel_width("column", 2)
    ends = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("observed:Q", title="Observed score", scale=ends,
              axis=alt.Axis(tickCount=3, format="%"))  # fmt: skip
    y = score_axis("forecast", "Forecast", scale=ends, format="%")
    marks = series_marks("group", groups, _COLOURS_OF_GROUPS, room=0)
    base = alt.Chart().encode(x=x, color=marks["color"])
    diagonal = alt.Chart(pd.DataFrame({"equal": [0.0, 1.0]}))
    layers = alt.layer(
        diagonal.mark_line(strokeDash=[4, 3], color="#444444", strokeWidth=1).encode(
            x=alt.X("equal:Q", title="Observed score"), y=alt.Y("equal:Q", title="Forecast")
        ),
        base.transform_filter("datum.predicts")
        .mark_rule(strokeWidth=0.8, opacity=0.45)
        .encode(y=alt.Y("lower:Q", title="Forecast"), y2="upper:Q"),
        base.mark_point(size=13, strokeWidth=1, opacity=0.8).encode(
            y=y, fill=alt.condition("datum.predicts", marks["color"], alt.value("white")),
            tooltip=["subtask", "metric", "shots", "emergence_score", "observed", "forecast"],
        ),
        data=data,
    )  # fmt: skip
    titled = data.assign(title=data["group"].str.capitalize())
    layers.data = titled
    panel = layers.properties(width=size, height=size)
    names = [name.capitalize() for name in groups]
    return facets(panel, names, columns=2, same_scale=True)


def plot_forecast_coverage(forecasts: pd.DataFrame, *, confidence: float = 0.95) -> Figure:
    """Draw how often forecast intervals contain the observed score, by what was known.

    Args:
        forecasts: What :func:`forecast_curves` returns, best for every number of fitted scales.
        confidence: That of their intervals, to compare with.

    Returns:
        The figure: a panel a forecaster, a row per number of fitted scales, a column a number of
        steps ahead; cells give the share of intervals that contain the score, over their number.

    Raises:
        InputError: No forecast has an interval that predicts something.
    """
    found = forecast_summary(forecasts, by=("forecaster", "k", "horizon"))
    data = found.loc[
        found["n_interval"] > 0,
        ["forecaster", "k", "horizon", "n_interval", "coverage", "coverage_low", "coverage_high"],
    ].reset_index(drop=True)
    if data.empty:
        raise InputError("no interval to compare with a score", where="forecasts")
    data = data.assign(title=[drawable(str(n)).replace("_", " ") for n in data["forecaster"]])
    titles = list(dict.fromkeys(data["title"]))
    width, columns = across(len(titles), most=3)
    covered = (data["coverage"] * data["n_interval"]).sum() / data["n_interval"].sum()
    return Figure(
        name="forecast_coverage",
        caption=(
            f"{covered:.0%} of {int(data['n_interval'].sum()):,} forecast intervals of "
            f"{confidence:.0%} contain the observed score. Rows and columns are the number of "
            "smallest models fitted and the number of steps ahead; below each share is its number "
            "of forecasts, without those that predict nothing. Forecasts of one curve are not "
            "independent."
        ),
        chart=styled(_heat_map(data, titles, width, columns, confidence), width),
        data=data.drop(columns="title"),
        width=width,
    )


def _heat_map(
    data: pd.DataFrame, titles: list[str], width: Width, columns: int, confidence: float
) -> alt.FacetChart:
    size = panel_width(width, columns, axis=AXIS)
    shown = data.assign(text=[f"{share:.0%}" for share in data["coverage"]])
    x = alt.X("horizon:O", title="Steps ahead", axis=alt.Axis(labelAngle=0))
    y = alt.Y("k:O", title="Models fitted", sort="descending")
    # The darker, the farther below what was promised: also in black and white.
    colour = alt.Color(
        "coverage:Q", title="Coverage",
        scale=alt.Scale(
            domain=[0.5, confidence], range=[BLUE, "#FFFFFF"], clamp=True, interpolate="rgb"
        ),
        legend=alt.Legend(format="%", gradientLength=90, tickCount=3, titleOrient="left"),
    )  # fmt: skip
    base = alt.Chart().encode(x=x, y=y)
    ink = alt.condition("datum.coverage < 0.7", alt.value("white"), alt.value("black"))
    layers = alt.layer(
        base.mark_rect(stroke="#BBBBBB", strokeWidth=0.5).encode(
            color=colour, tooltip=["k", "horizon", "n_interval", "coverage"]
        ),
        base.mark_text(dy=-5).encode(text="text:N", color=ink),
        base.mark_text(dy=6).encode(text=alt.Text("n_interval:Q", format=","), color=ink),
        data=shown,
    )
    return facets(
        layers.properties(width=size, height=alt.Step(26)), titles, columns=columns,
        same_scale=True,
    )  # fmt: skip
