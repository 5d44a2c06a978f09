"""The emergence scores of the flagged curves with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.text import counted
from bigbench_meta.report.charts.figure import (
    BLACK,
    BLUE,
    GREY,
    VERMILION,
    WIDTHS,
    Figure,
    caption,
    curve_title,
    reference_line,
    styled,
    unlike,
    with_texts,
)

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.report.charts.figure import Width

__all__ = ["plot_intervals"]

_NEEDED: Final = ("emergence_low", "emergence_high", "mechanism_q_bh", "line_q_bh")
_LEVEL: Final = 0.05
# Of a title beside a chart of a column's width.
_LONGEST_TITLE: Final = 34
_SHAPES: Final = {
    "exceeds the mechanism": "diamond",
    "exceeds a line only": "circle",
    "exceeds neither": "square",
    "not tested": "cross",
}
"""Marks by what the largest step exceeds, at a false discovery rate of 0.05."""

_COLOURS: Final = dict(zip(_SHAPES, (VERMILION, BLUE, BLACK, GREY), strict=True))


def plot_intervals(
    scores: pd.DataFrame, *, threshold: float = DEFAULT_THRESHOLD, most: int = 40
) -> Figure | None:
    """Draw the flagged curves with the intervals of their emergence scores.

    Args:
        scores: What :func:`bigbench_meta.score_curves` returns with ``inference``.
        threshold: Curves with a score above it are flagged; drawn as a line.
        most: How many to draw, those with the highest lower limits.

    Returns:
        The figure, None if no curve is flagged.

    Raises:
        SchemaError: The scores come without inference.
    """
    if missing := [name for name in _NEEDED if name not in scores]:
        raise SchemaError(
            f"missing column {', '.join(missing)}", where="scores",
            hint="score_curves(..., inference=True)",
        )  # fmt: skip
    chosen = scores[flagged(scores, threshold)]
    total = len(chosen)
    if not total:
        return None
    order = ["emergence_low", "emergence_score"]
    chosen = chosen.sort_values(order, ascending=False, kind="stable").head(most)
    titles = _titles(chosen)
    names = ["subtask", "metric", "metric_type", "model_family", "shots", "emergence_score",
             "emergence_low", "emergence_high", "p_above_threshold", "line_q_bh", "mechanism_q_bh",
             "interval_status"]  # fmt: skip
    data = with_texts(chosen[names].reset_index(drop=True)).assign(title=titles)
    data = data.assign(step=_beyond(data))
    width: Width = "column" if max(map(len, titles)) <= _LONGEST_TITLE else "page"
    n_without = int(data["emergence_low"].isna().sum())
    return Figure(
        name="flagged_intervals",
        caption=caption(
            _finding(scores[flagged(scores, threshold)], threshold),
            "Emergence score E of the flagged curves with its 95% interval, on a logarithmic axis; "
            "at the right edge E is infinite. The mark shows what the largest step exceeds, at a "
            "false discovery rate of 5% over all curves searched.",
            f"The dashed line is the threshold, {threshold:g}." if np.isfinite(threshold) else "",
            f"Only the {len(data)} of {total} curves with the highest lower limits are drawn."
            if total > len(data)
            else "",
            f"Curves without an interval: {n_without}." if n_without else "",
        ),
        chart=styled(_interval_chart(data, threshold, width), width),
        width=width,
        data=data.drop(columns="title"),
    )


def _finding(chosen: pd.DataFrame, threshold: float) -> str:
    known = chosen["emergence_low"].notna()
    above = int((chosen["emergence_low"] > threshold).sum())
    if not known.any() or not np.isfinite(threshold):
        return ""
    return (
        f"For {above or 'none'} of {counted(int(known.sum()), 'flagged curve')} with an interval, "
        "it lies entirely above the threshold."
    )


def _titles(chosen: pd.DataFrame) -> list[str]:
    """Return a line for each curve, with its family if there are several."""
    several = len(set(chosen["model_family"].astype(str))) > 1
    columns = ("model_family", "metric", "shots", "variant")[0 if several else 1 :]
    titles = (curve_title(row, columns, "") for _, row in chosen.iterrows())
    return unlike(", ".join(title.split("\n")) for title in titles)


def _beyond(data: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    conditions = [
        data["mechanism_q_bh"] <= _LEVEL,
        data["line_q_bh"] <= _LEVEL,
        data["mechanism_q_bh"].notna() | data["line_q_bh"].notna(),
    ]
    return np.select(conditions, list(_SHAPES)[:3], list(_SHAPES)[3]).astype(object)


def _interval_chart(data: pd.DataFrame, threshold: float, width: Width) -> Any:
    values = data[["emergence_score", "emergence_low", "emergence_high"]].to_numpy(float).ravel()
    finite = np.append(values[np.isfinite(values) & (values > 0)], [1.0, 10.0])
    if np.isfinite(threshold) and threshold > 0:
        finite = np.append(finite, threshold)
    low, high = float(finite.min()) / 1.5, float(finite.max()) * 3
    placed = data.assign(
        x=data["emergence_score"].clip(low, high),
        x_low=data["emergence_low"].clip(low, high),
        x_high=data["emergence_high"].clip(low, high),
    )
    decades = [10.0**k for k in range(300) if low <= 10.0**k <= high / 2.5]
    x = alt.X(
        "x:Q",
        title="Emergence score E",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(
            values=[*decades, high],
            labelExpr=f"datum.value > {high / 1.01} ? '∞' : format(datum.value, ',')",
            labelOverlap=False,
        ),
    )
    y = alt.Y("title:N", sort=placed["title"].tolist(), title=None,
              axis=alt.Axis(labelLimit=WIDTHS[width] / 2, grid=True))  # fmt: skip
    names = [name for name in _SHAPES if name in set(placed["step"])]
    title = "Largest step"
    legend = alt.Legend(columns=1 if width == "column" else 4)
    colour = alt.Color(
        "step:N", title=title, sort=names, legend=legend,
        scale=alt.Scale(domain=names, range=[_COLOURS[name] for name in names]),
    )  # fmt: skip
    marks = alt.Shape(
        "step:N", title=title, sort=names, legend=legend,
        scale=alt.Scale(domain=names, range=[_SHAPES[name] for name in names]),
    )  # fmt: skip
    lines = alt.Chart(placed[placed["x_low"].notna()]).mark_rule(strokeWidth=1)
    points = alt.Chart(placed).mark_point(filled=True, size=28, opacity=1)
    layers = [
        lines.encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y, color=colour),
        points.encode(
            x=x, y=y, color=colour, shape=marks,
            tooltip=["subtask", "metric", "shots", "emergence_score", "emergence_low",
                     "emergence_high", "p_above_threshold", "line_q_bh", "mechanism_q_bh"],
        ),
    ]  # fmt: skip
    if np.isfinite(threshold) and threshold > 0:
        layers.append(reference_line("x", x=threshold))
    return alt.layer(*layers).properties(height=13 * len(placed))
