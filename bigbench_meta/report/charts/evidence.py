"""How sure the emergence scores are, as a chart."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.report.charts.emergence import Figure
from bigbench_meta.report.charts.theme import curve_titles, styled, type_colour, with_texts

__all__ = ["plot_intervals"]

_NEEDED: Final = ("emergence_low", "emergence_high", "mechanism_q_bh", "line_q_bh")
_LEVEL: Final = 0.05
_SHAPES: Final = {
    "beyond the mechanism": "diamond",
    "beyond a line only": "circle",
    "beyond neither": "square",
    "not tested": "cross",
}
"""Marks by what a step is beyond, at a false discovery rate of 0.05."""


def plot_intervals(
    scores: pd.DataFrame, *, threshold: float = DEFAULT_THRESHOLD, most: int = 40
) -> Figure | None:
    """Draw the flagged curves with the intervals of their emergence scores.

    Args:
        scores: What :func:`bigbench_meta.score_curves` returns with ``inference``.
        threshold: Curves with a score above it are flagged; drawn as a line.
        most: How many to draw, those of the highest lower ends.

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
    titles = [" ".join(title.split("\n")) for title in curve_titles(chosen).values()]
    names = ["subtask", "metric", "metric_type", "model_family", "shots", "emergence_score",
             "emergence_low", "emergence_high", "p_above_threshold", "line_q_bh", "mechanism_q_bh",
             "interval_status"]  # fmt: skip
    data = with_texts(chosen[names].reset_index(drop=True)).assign(title=titles)
    data = data.assign(step=_beyond(data))
    n_without = int(data["emergence_low"].isna().sum())
    sentences = [
        (
            "Emergence score of flagged curves with its 95% interval, on a logarithmic axis; at "
            "the right edge it is infinite. The mark says what the largest step is beyond, at a "
            "false discovery rate of 5% over all curves searched."
        ),
        f"The line is the threshold, {threshold:g}." if np.isfinite(threshold) else "",
        f"The {len(data)} of {total} with the highest lower ends are drawn."
        if total > len(data)
        else "",
        f"Without an interval: {n_without}." if n_without else "",
    ]
    return Figure(
        name="flagged_intervals",
        caption=" ".join(filter(None, sentences)),
        chart=styled(_chart(data, threshold)),
        data=data.drop(columns="title"),
    )


def _beyond(data: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    conditions = [
        data["mechanism_q_bh"] <= _LEVEL,
        data["line_q_bh"] <= _LEVEL,
        data["mechanism_q_bh"].notna() | data["line_q_bh"].notna(),
    ]
    return np.select(conditions, list(_SHAPES)[:3], list(_SHAPES)[3]).astype(object)


def _chart(data: pd.DataFrame, threshold: float) -> Any:
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
    decades = [10.0**k for k in range(300) if low <= 10.0**k <= high / 1.6]
    x = alt.X(
        "x:Q",
        title="emergence score E",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(
            values=[*decades, high],
            labelExpr=f"datum.value > {high / 1.01} ? '∞' : format(datum.value, ',')",
            labelOverlap=False,
        ),
    )
    y = alt.Y("title:N", sort=placed["title"].tolist(), title=None,
              axis=alt.Axis(labelLimit=420, grid=True))  # fmt: skip
    colour = type_colour(placed["metric_type"])
    marks = alt.Shape(
        "step:N", title="largest step",
        scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())),
    )  # fmt: skip
    lines = alt.Chart(placed[placed["x_low"].notna()]).mark_rule(strokeWidth=1.5)
    points = alt.Chart(placed).mark_point(filled=True, size=60, opacity=1)
    layers = [
        lines.encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y, color=colour),
        points.encode(
            x=x, y=y, color=colour, shape=marks,
            tooltip=["subtask", "metric", "shots", "emergence_score", "emergence_low",
                     "emergence_high", "p_above_threshold", "line_q_bh", "mechanism_q_bh"],
        ),
    ]  # fmt: skip
    if np.isfinite(threshold) and threshold > 0:
        rule = alt.Chart(pd.DataFrame({"x": [threshold]})).mark_rule(
            strokeDash=[4, 3], color="#444444"
        )
        layers.append(rule.encode(x="x:Q"))
    return alt.layer(*layers).properties(width=420, height=alt.Step(20))
