"""Charts by metric: emergence scores, flags by the threshold, and the hand-annotated claims."""

from __future__ import annotations

from typing import Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.catalog.metrics import METRIC_TYPES
from bigbench_meta.core.text import counted
from bigbench_meta.report.charts.figure import (
    GREY,
    TYPE_COLOURS,
    Figure,
    caption,
    reference_line,
    series_marks,
    styled,
    type_marks,
    with_texts,
)

__all__ = ["plot_claims_by_metric", "plot_emergence_by_metric", "plot_threshold_sweep"]

# More points than this make a file that no viewer opens; the highest scores are of interest.
_MOST_SCORES: Final = 3000
_MOST_METRICS: Final = 40
# Thresholds in a factor of ten.
_PER_DECADE: Final = 24


def plot_emergence_by_metric(
    scores: pd.DataFrame, *, threshold: float = DEFAULT_THRESHOLD
) -> Figure:
    """Draw the emergence score of every curve by metric, with the threshold.

    Args:
        scores: Curve scores, one level of them (see :func:`bigbench_meta.select_level`).
        threshold: Drawn as a line; at ``inf`` none is drawn.

    Returns:
        The figure. Infinite scores stand at the right (or left) edge. Beyond 3,000
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
    drawn = kept.loc[highest[:_MOST_SCORES]].reset_index(drop=True)
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
            _most_flags(frame, threshold),
            "Emergence score E of each curve by metric, on a symmetric logarithmic axis; at the "
            "edge, ∞, more than half of the steps are exactly zero.",
            f"The dashed line is the threshold, {threshold:g}." if np.isfinite(threshold) else "",
            f"Only the {_MOST_SCORES:,} highest of {len(kept):,} scores are drawn."
            if len(kept) > _MOST_SCORES
            else "",
            f"Not drawn: {n_metrics - len(order)} metrics with fewer flagged curves."
            if n_metrics > len(order)
            else "",
        ),
        chart=styled(chart.properties(height=20 * max(len(order), 1))),
        data=drawn,
    )


def _most_flags(frame: pd.DataFrame, threshold: float) -> str:
    counts = frame.loc[frame["flagged"], "metric"].value_counts()
    if counts.empty:
        return f"No curve has an emergence score above {threshold:g}."
    return (
        f"{counts.iloc[0]} of {counted(int(counts.sum()), 'flagged curve')} "
        f"{'is' if counts.iloc[0] == 1 else 'are'} of {counts.index[0]}."
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
        title="Emergence score E",
        scale=alt.Scale(
            type="symlog", constant=5, domain=[min(lowest * 1.1, -2.0), edge * 1.1], nice=False
        ),
        axis=alt.Axis(values=ticks, labelExpr=label, labelOverlap=False),
    )
    chart: alt.Chart = (
        alt.Chart(drawn)
        .mark_point(filled=True, size=16, opacity=0.7)
        .encode(
            x=x,
            y=alt.Y("metric:N", sort=order, title=None, axis=alt.Axis(grid=True)),
            yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[0, 1])),
            **type_marks(drawn["metric_type"]),
            tooltip=["task", "subtask", "metric", "model_family", "shots", "emergence_score"],
        )
        # A fixed sequence spreads the points of a row without a random number.
        .transform_window(i="row_number()")
        .transform_calculate(jitter="(datum.i * 0.6180339887) % 1 * 0.7 + 0.15")
    )
    return chart


def plot_threshold_sweep(
    scores: pd.DataFrame, *, threshold: float = DEFAULT_THRESHOLD
) -> Figure | None:
    """Draw the share of curves that are flagged under each type of metric, by the threshold.

    Args:
        scores: Curve scores, one level of them (see :func:`bigbench_meta.select_level`).
        threshold: The one of the study, drawn as a line; at ``inf`` none is drawn.

    Returns:
        The figure, None if no curve has an emergence score. A line is the share of a type's scored
        curves with a score above the threshold; at the right edge only infinite scores count.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Fig. 5A, which states no threshold.
    """
    scored = scores.loc[scores["emergence_score"].notna(), ["metric_type", "emergence_score"]]
    if scored.empty:
        return None
    scored = scored.astype({"metric_type": str})
    ends = np.append(scored["emergence_score"], [threshold, 10.0])
    n_steps = np.ceil(_PER_DECADE * np.log10(ends[np.isfinite(ends)].max()))
    steps = 10.0 ** (np.arange(n_steps + 1) / _PER_DECADE)
    groups = dict(list(scored.groupby("metric_type")))
    names = [name for name in METRIC_TYPES if name in groups]
    names += sorted({str(name) for name in groups} - set(names))
    data = pd.DataFrame(
        [
            (name, len(groups[name]), one, int(flagged(groups[name], one).sum()))
            for name in names
            for one in (*steps, np.inf)
        ],
        columns=["metric_type", "n_scored", "threshold", "n_flagged"],
    )
    data["share"] = data["n_flagged"] / data["n_scored"]
    shares = ", ".join(
        f"{flagged(groups[name], threshold).mean():.0%} of {len(groups[name]):,} {name}"
        for name in names
    )
    return Figure(
        name="threshold_sweep",
        caption=caption(
            f"Share of curves with E above {threshold:g}, by type of metric: {shares}."
            if np.isfinite(threshold)
            else f"Share of curves with infinite E, by type of metric: {shares}.",
            "Share of the curves of each type of metric with an emergence score E above the "
            "threshold; at the right edge only infinite scores count. Schaeffer et al. (2023) "
            "state no threshold.",
            "The dashed line is the threshold of this study." if np.isfinite(threshold) else "",
        ),
        chart=styled(_sweep(data.assign(edge=2 * steps[-1]), names, threshold)),
        data=data,
    )


def _sweep(data: pd.DataFrame, names: list[str], threshold: float) -> alt.LayerChart:
    edge = float(data["edge"].iloc[0])
    placed = data.assign(x=data["threshold"].clip(upper=edge))
    x = alt.X(
        "x:Q",
        title="Threshold of the emergence score",
        scale=alt.Scale(type="log", domain=[1, edge * 1.05], nice=False),
        axis=alt.Axis(
            values=[*(10.0**k for k in range(300) if 10.0**k < edge / 1.6), edge], grid=False,
            labelExpr=f"datum.value < {edge} ? format(datum.value, ',') : '∞'", labelOverlap=False,
        ),
    )  # fmt: skip
    y = alt.Y("share:Q", title="Share of curves", scale=alt.Scale(domain=[0, 1]),
              axis=alt.Axis(format="%", tickCount=5))  # fmt: skip
    marks = series_marks(
        "metric_type", names, [TYPE_COLOURS.get(n, GREY) for n in names], lines=True
    )
    finite = placed[np.isfinite(placed["threshold"])]
    lines = alt.Chart(finite).mark_line(strokeWidth=1.3).encode(
        x=x, y=y, color=marks["color"], strokeDash=marks["strokeDash"]
    )  # fmt: skip
    ends = alt.Chart(placed[np.isinf(placed["threshold"])]).mark_point(
        filled=True, size=28, opacity=1
    ).encode(
        x=x, y=y, color=marks["color"],
        tooltip=["metric_type", "n_scored", "n_flagged"],
    )  # fmt: skip
    layers = [lines, ends]
    if np.isfinite(threshold) and threshold > 0:
        layers.append(reference_line("x", threshold=threshold))
    return alt.LayerChart(layer=layers).properties(height=150)


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
    top_two = shown["n_claims"].nlargest(2)
    most = max(int(shown["n_claims"].max()), 1) if len(shown) else 1
    y = alt.Y("metric:N", sort=shown["metric"].tolist(), title=None,
              axis=alt.Axis(labelLimit=150))  # fmt: skip
    within = f"datum.value <= {most} ? datum.label : ''"
    bars = (
        alt.Chart(shown)
        .mark_bar(height=9)
        .encode(
            x=alt.X(
                "n_claims:Q",
                title="Claims of emergence",
                # Room for the text beside the longest bar.
                scale=alt.Scale(domainMax=2.2 * most),
                axis=alt.Axis(tickCount=6, grid=False, labelExpr=within),
            ),
            y=y,
            color=type_marks(shown["metric_type"], legend=False)["color"],
            tooltip=["metric", "n_claims", "n_tasks", "expected"],
        )
    )
    ticks = alt.Chart(shown).mark_tick(thickness=1.5, size=14, color="#222222")
    beside = shown.assign(label_x=shown[["n_claims", "expected"]].max(axis=1))
    beside = beside.assign(
        says=[
            f"{n}  {kind}" for n, kind in zip(shown["n_claims"], shown["metric_type"], strict=True)
        ]
    )
    numbers = alt.Chart(beside).mark_text(align="left", dx=4, color="#333333")
    layers = alt.layer(
        bars,
        ticks.encode(x="expected:Q", y=y),
        numbers.encode(x="label_x:Q", y=y, text="says:N"),
    )
    return Figure(
        name="claims_by_metric",
        caption=(
            f"{int(top_two.sum())} of {int(claims['n_claims'].sum())} hand-annotated claims of "
            "emergence on BIG-bench (Wei et al. 2022) are on tasks that prefer one of two metrics. "
            "Bars are claims by the preferred metric of the task, whose type stands beside the "
            "number; the black tick is the number expected if claims fell on annotated tasks by "
            "chance. Metrics without a claim are not drawn."
        ),
        chart=styled(layers.properties(height=17 * len(shown))),
        data=shown,
    )
