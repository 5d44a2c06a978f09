"""Charts by metric: the emergence scores of all curves, and the hand-annotated claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import altair as alt
import numpy as np

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.report.charts.figure import (
    Figure,
    caption,
    reference_line,
    styled,
    type_colour,
    with_texts,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_claims_by_metric", "plot_emergence_by_metric"]

# More points than this make a file that no viewer opens; the highest scores are of interest.
_MOST_POINTS: Final = 3000
_MOST_METRICS: Final = 40


def plot_emergence_by_metric(
    scores: pd.DataFrame, *, threshold: float = DEFAULT_THRESHOLD
) -> Figure:
    """Draw the emergence score of every curve by metric, with the threshold.

    Args:
        scores: Curve scores, one level of them (see :func:`bigbench_meta.select_level`).
        threshold: Drawn as a line; at ``inf`` none is drawn.

    Returns:
        The figure. Infinite scores stand at the right (or left) edge as triangles. Beyond 3,000
        curves only those of highest absolute score are drawn, beyond 40 metrics those with most
        flags; the caption says so.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Fig. 5A.
    """
    names = ["task", "subtask", "metric", "metric_type", "model_family", "shots", "variant"]
    frame = with_texts(scores.loc[scores["emergence_score"].notna(), [*names, "emergence_score"]])
    frame = frame.assign(
        infinite=np.isinf(frame["emergence_score"]), flagged=flagged(frame, threshold)
    )
    order = _metric_order(frame)
    kept = frame[frame["metric"].isin(order)]
    highest = kept["emergence_score"].abs().sort_values(ascending=False, kind="stable").index
    drawn = kept.loc[highest[:_MOST_POINTS]].reset_index(drop=True)
    # Infinite scores stand beyond every finite score and the threshold.
    ends = [10.0, threshold, *drawn["emergence_score"].abs()]
    edge = 2.0 * max(float(value) for value in ends if np.isfinite(value))
    n_metrics = frame["metric"].nunique()
    placed = drawn.assign(x=drawn["emergence_score"].clip(-edge, edge))
    chart: alt.Chart | alt.LayerChart = _emergence_points(placed, order, edge)
    if np.isfinite(threshold):
        chart = alt.LayerChart(layer=[chart, reference_line("x", threshold=threshold)])
    return Figure(
        name="emergence_by_metric",
        caption=caption(
            "Emergence score E of each curve by metric, on a symmetric logarithmic axis; triangles "
            "at the edge are infinite scores (more than half of the steps are exactly zero).",
            f"The dashed line is the threshold, {threshold:g}." if np.isfinite(threshold) else "",
            f"Only the {_MOST_POINTS:,} highest of {len(kept):,} scores are drawn."
            if len(kept) > _MOST_POINTS
            else "",
            f"Not drawn: {n_metrics - len(order)} metrics with fewer flagged curves."
            if n_metrics > len(order)
            else "",
        ),
        chart=styled(chart.properties(width=520, height=alt.Step(34))),
        data=drawn,
    )


def _metric_order(frame: pd.DataFrame) -> list[str]:
    by_metric = frame.groupby("metric").agg(n=("flagged", "sum"), size=("flagged", "size"))
    by_metric = by_metric.sort_values(["n", "size"], ascending=False, kind="stable")
    return [str(name) for name in by_metric.index[:_MOST_METRICS]]


def _emergence_points(drawn: pd.DataFrame, order: list[str], edge: float) -> alt.Chart:
    lowest = min([*drawn["x"], 0.0])
    # The edge itself is labelled, so a decade just below it would be written over.
    marks = [m * 10.0**k for k in range(1, 300) for m in (1, 3)]
    decades = [mark for mark in marks if mark < edge / 1.6]
    ticks = [*(-d for d in decades if -d >= lowest), 0.0, *decades, edge]
    if lowest <= -edge:
        ticks.append(-edge)
    label = f"abs(datum.value) < {edge} ? format(datum.value, ',') : datum.value < 0 ? '−∞' : '∞'"
    x = alt.X(
        "x:Q",
        title="emergence score E",
        scale=alt.Scale(
            type="symlog", constant=5, domain=[min(lowest * 1.1, -2.0), edge * 1.1], nice=False
        ),
        axis=alt.Axis(values=ticks, labelExpr=label, labelOverlap=False),
    )
    shape = alt.Shape(
        "infinite:N",
        scale=alt.Scale(domain=[False, True], range=["circle", "triangle-right"]),
        legend=None,
    )
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_point(filled=True, size=38, opacity=0.65)
        .encode(
            x=x,
            y=alt.Y("metric:N", sort=order, title=None, axis=alt.Axis(labelLimit=260, grid=True)),
            yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[0, 1])),
            color=type_colour(drawn["metric_type"]),
            shape=shape,
            tooltip=["task", "subtask", "metric", "model_family", "shots", "emergence_score"],
        )
        # A fixed sequence spreads the points of a row without a random number.
        .transform_window(i="row_number()")
        .transform_calculate(jitter="(datum.i * 0.6180339887) % 1 * 0.7 + 0.15")
    )
    return chart


def plot_claims_by_metric(claims: pd.DataFrame) -> Figure:
    """Draw the hand-annotated claims by metric, with the number expected by chance.

    Args:
        claims: What :func:`bigbench_meta.claims_by_metric` returns.

    Returns:
        The figure: bars are claims, ticks the claims a metric would have if claims fell on
        annotated tasks by chance.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Fig. 5B and 5C.
    """
    expected = claims["share_of_tasks"] * claims["n_claims"].sum()
    shown = claims[["metric", "metric_type", "n_claims", "n_tasks"]].assign(expected=expected)
    shown = shown[shown["n_claims"] > 0].reset_index(drop=True)
    y = alt.Y("metric:N", sort=shown["metric"].tolist(), title=None, axis=alt.Axis(labelLimit=260))
    bars = (
        alt.Chart(shown)
        .mark_bar(height=16)
        .encode(
            x=alt.X("n_claims:Q", title="claims of emergence"),
            y=y,
            color=type_colour(shown["metric_type"]),
            tooltip=["metric", "n_claims", "n_tasks", "expected"],
        )
    )
    ticks = alt.Chart(shown).mark_tick(thickness=2, size=22, color="#222222")
    beside = shown.assign(label_x=shown[["n_claims", "expected"]].max(axis=1))
    numbers = alt.Chart(beside).mark_text(align="left", dx=5, color="#333333")
    layers = alt.layer(
        bars,
        ticks.encode(x="expected:Q", y=y),
        numbers.encode(x="label_x:Q", y=y, text="n_claims:Q"),
    )
    return Figure(
        name="claims_by_metric",
        caption=(
            "Hand-annotated claims of emergence on BIG-bench (Wei et al. 2022), by the preferred "
            "metric of the task. The black tick is the number of claims expected if they fell on "
            "annotated tasks by chance; metrics without a claim are left out."
        ),
        chart=styled(layers.properties(width=520, height=alt.Step(30))),
        data=shown,
    )
