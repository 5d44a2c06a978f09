"""Charts of the flagged curves: what they look like, and how sure their emergence scores are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.schema import FALLING_AXES
from bigbench_meta.report.charts.figure import (
    Figure,
    caption,
    curve_title,
    facets,
    reference_line,
    scale_axis,
    styled,
    type_colour,
    unlike,
    with_texts,
)

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.curves.build import Curves

__all__ = ["plot_curves", "plot_intervals"]

_NEEDED: Final = ("emergence_low", "emergence_high", "mechanism_q_bh", "line_q_bh")
_LEVEL: Final = 0.05
_SHAPES: Final = {
    "beyond the mechanism": "diamond",
    "beyond a line only": "circle",
    "beyond neither": "square",
    "not tested": "cross",
}
"""Marks by what the largest step exceeds, at a false discovery rate of 0.05."""


def plot_curves(
    curves: Curves,
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    most: int = 12,
) -> Figure | None:
    """Draw the flagged curves with the highest scores as small multiples.

    Args:
        curves: The curves.
        scores: Their scores, the index being positions in ``curves`` (a selection of the rows of
            :func:`bigbench_meta.score_curves` has it).
        threshold: Curves with a score above it are flagged.
        most: How many to draw. Infinite scores come first, among them the largest range first.

    Returns:
        The figure, None if no curve is flagged.
    """
    chosen = scores[flagged(scores, threshold)]
    chosen = chosen.assign(range=chosen["score_max"] - chosen["score_min"])
    chosen = chosen.sort_values(["emergence_score", "range"], ascending=False, kind="stable")
    total, chosen = len(chosen), chosen.head(most)
    if not total:
        return None
    points = curves.points()
    points = points[points["curve"].isin(chosen.index)]
    titles = dict(zip(chosen.index, _titles(chosen), strict=True))
    types = points["curve"].map(chosen["metric_type"].astype(str))
    data = with_texts(points.assign(title=points["curve"].map(titles), metric_type=types))
    return Figure(
        name="flagged_curves",
        caption=(
            f"The {len(chosen)} flagged curves with the highest emergence scores, of {total}: the "
            "score, in the unit of the result file, against model scale on a logarithmic axis. "
            "Panels have vertical axes of their own, so compare their numbers before their "
            "shapes. The emergence score uses only the order of the models, not the distances "
            "between them."
        ),
        chart=styled(_panels(data, list(titles.values()))),
        data=data.drop(columns=["title", "curve"]).reset_index(drop=True),
    )


def _titles(chosen: pd.DataFrame) -> list[str]:
    """Return a title for each curve, with its family if there are several."""
    several = len(set(chosen["model_family"].astype(str))) > 1
    columns = ("model_family", "metric", "shots", "variant")[0 if several else 1 :]
    titles = []
    for _, row in chosen.iterrows():
        score = row["emergence_score"]
        text = "∞" if np.isinf(score) else f"{score:.0f}"
        titles.append(curve_title(row, columns, f"E = {text}"))
    return unlike(titles)


def _panels(data: pd.DataFrame, titles: list[str]) -> alt.FacetChart:
    axes = sorted(set(data["scale"]))
    chart = (
        alt.Chart(data)
        .mark_line(point=alt.OverlayMarkDef(filled=True, size=28), strokeWidth=1.5)
        .encode(
            x=scale_axis(
                "x",
                " / ".join(axes).replace("_", " "),
                tickCount=4,
                falls=FALLING_AXES.issuperset(axes),
            ),
            # Room for the labels of any panel, so that all panels line up.
            y=alt.Y("score:Q", title="score", axis=alt.Axis(tickCount=4, minExtent=34)),
            color=type_colour(data["metric_type"]),
            tooltip=["model_name", "x", "score"],
        )
        .properties(width=150, height=110)
    )
    return facets(chart, titles, columns=4, same_scale=len(axes) == 1)


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
    titles = [" ".join(title.split("\n")) for title in _titles(chosen)]
    names = ["subtask", "metric", "metric_type", "model_family", "shots", "emergence_score",
             "emergence_low", "emergence_high", "p_above_threshold", "line_q_bh", "mechanism_q_bh",
             "interval_status"]  # fmt: skip
    data = with_texts(chosen[names].reset_index(drop=True)).assign(title=titles)
    data = data.assign(step=_beyond(data))
    n_without = int(data["emergence_low"].isna().sum())
    return Figure(
        name="flagged_intervals",
        caption=caption(
            "Emergence score E of the flagged curves with its 95% interval, on a logarithmic axis; "
            "at the right edge E is infinite. The mark shows what the largest step exceeds, at a "
            "false discovery rate of 5% over all curves searched.",
            f"The dashed line is the threshold, {threshold:g}." if np.isfinite(threshold) else "",
            f"Only the {len(data)} of {total} curves with the highest lower limits are drawn."
            if total > len(data)
            else "",
            f"Curves without an interval: {n_without}." if n_without else "",
        ),
        chart=styled(_interval_chart(data, threshold)),
        data=data.drop(columns="title"),
    )


def _beyond(data: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    conditions = [
        data["mechanism_q_bh"] <= _LEVEL,
        data["line_q_bh"] <= _LEVEL,
        data["mechanism_q_bh"].notna() | data["line_q_bh"].notna(),
    ]
    return np.select(conditions, list(_SHAPES)[:3], list(_SHAPES)[3]).astype(object)


def _interval_chart(data: pd.DataFrame, threshold: float) -> Any:
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
        layers.append(reference_line("x", x=threshold))
    return alt.layer(*layers).properties(width=420, height=alt.Step(20))
