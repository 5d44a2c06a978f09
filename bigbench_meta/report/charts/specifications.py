"""A specification curve: one statistic under every choice of the analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import altair as alt
import numpy as np

from bigbench_meta.aggregate.attribution.sensitivity import NO_DIFFERENCE
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import drawable
from bigbench_meta.report.charts.figure import (
    BLUE,
    VERMILION,
    Figure,
    caption,
    reference_line,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["plot_specifications"]

_COLOURS: Final = {"base": VERMILION, "one choice changed": BLUE}
_ON_LINE: Final = ("share_sharper", "log_sharpness_difference")
_PREFERRED: Final = {
    "risk_ratio": ("by_task", "half_added"),
    "odds_ratio": ("by_task", "exact"),
    "adjusted_odds_ratio": ("gee",),
    "paired_odds_ratio": ("by_task", "mcnemar"),
    "common_odds_ratio": ("by_task", "exact"),
    "share_sharper": ("by_task", "sign_test"),
    "log_sharpness_difference": ("median",),
}
"""Methods by preference: over tasks, else one that empty cells do not stop."""

_MOST_ROWS: Final = 150
_TITLES: Final = {
    "risk_ratio": "risk ratio of being flagged, sharp over smooth metrics",
    "odds_ratio": "odds ratio of being flagged, sharp over smooth metrics",
    "adjusted_odds_ratio": "odds ratio of being flagged, adjusted (GEE)",
    "paired_odds_ratio": "odds ratio of matched pairs",
    "common_odds_ratio": "common odds ratio of matched sets",
    "share_sharper": "share of matched pairs in which the sharp metric's curve is sharper",
    "log_sharpness_difference": "difference of log relative sharpness, sharp less smooth metric",
}
_AXIS_TITLES: Final = {
    "risk_ratio": "Risk ratio",
    "share_sharper": "Share of pairs",
    "log_sharpness_difference": "Difference of log sharpness",
}


def plot_specifications(
    table: pd.DataFrame, *, statistic: str = "odds_ratio", method: str | None = None
) -> Figure:
    """Draw a statistic under every variant of the analysis, from the lowest to the highest.

    Args:
        table: What :func:`bigbench_meta.sensitivity` returns.
        statistic: One of its comparisons of sharp with smooth metrics.
        method: How its interval was got; by default one over tasks if half of the variants have it,
            else an exact one.

    Returns:
        The figure, a specification curve on its side: a row per variant, a point the estimate, a
        line its interval, and a rule where the class of metric makes no difference. What is 0 or
        infinite on a logarithmic axis stands at its edge as a triangle, and an interval without
        limit reaches the edge. A hollow point has no interval. Variants without an estimate are
        left out and counted in the caption; of more than 150 those in the middle are.

    Raises:
        InputError: The table has no such statistic or method.

    References:
        Simonsohn, Simmons & Nelson (2020), DOI 10.1038/s41562-020-0912-z.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> from bigbench_meta.aggregate.attribution.sensitivity import sensitivity
        >>> table = sensitivity(load_embedded(), thresholds=[10])
        >>> figure = plot_specifications(table)
        >>> figure.name, figure.data.loc[0, "label"]
        ('specifications_odds_ratio', 'threshold: 10')
    """
    part, chosen = _rows_of(table, statistic, method)
    known = part[part["estimate"].notna()].sort_values(["estimate", "low"], kind="stable")
    drawn = _without_middle(known).reset_index(drop=True)
    kinds = np.where(drawn["analysis"] == "base", *_COLOURS)
    drawn = drawn.assign(label=_labels(drawn), kind=kinds)
    low_edge, high_edge = _edges(drawn, statistic)
    placed = _placed(drawn, low_edge, high_edge)
    return Figure(
        name=f"specifications_{statistic}",
        caption=caption(
            f"{_TITLES[statistic][0].upper()}{_TITLES[statistic][1:]}, with one choice of the "
            f"analysis changed at a time; method of the interval: {chosen.replace('_', ' ')}.",
            "On the dashed line the class of metric makes no difference. Triangles at the edge are "
            "0 or infinite, hollow points have no interval.",
            f"{len(part) - len(known)} of {len(part)} variants have no estimate and are not drawn."
            if len(known) < len(part)
            else "",
            f"{len(known) - len(drawn)} variants in the middle are not drawn."
            if len(drawn) < len(known)
            else "",
        ),
        chart=_chart(placed, statistic, low_edge, high_edge),
        data=drawn[["label", *table.columns]],
        width="page",
    )


def _rows_of(table: pd.DataFrame, statistic: str, method: str | None) -> tuple[pd.DataFrame, str]:
    part = table[table["statistic"] == statistic]
    if statistic not in NO_DIFFERENCE or part.empty:
        raise InputError(f"{statistic!r} is not a comparison in the table", where="statistic",
                         hint=f"one of {', '.join(NO_DIFFERENCE)}")  # fmt: skip
    methods = part["method"].unique().tolist()
    chosen = _preferred(part, statistic) if method is None else method
    if chosen not in methods:
        raise InputError(f"{chosen!r}", where="method", hint=f"one of {', '.join(methods)}")
    return part[part["method"] == chosen], chosen


def _preferred(part: pd.DataFrame, statistic: str) -> str:
    """Return the first preferred method with intervals for half of its estimates, or the last."""
    methods = part["method"].unique().tolist()
    preferred = [method for method in _PREFERRED[statistic] if method in methods] or methods
    for method in preferred:
        rows = part[part["method"] == method]
        if 2 * rows["low"].notna().sum() >= max(rows["estimate"].notna().sum(), 1):
            return method
    return preferred[-1]


def _without_middle(known: pd.DataFrame) -> pd.DataFrame:
    if len(known) <= _MOST_ROWS:
        return known
    ends = np.r_[0 : _MOST_ROWS // 2, len(known) - _MOST_ROWS // 2 : len(known)]
    keep = np.isin(np.arange(len(known)), ends) | (known["analysis"] == "base").to_numpy()
    return known[keep]


def _labels(drawn: pd.DataFrame) -> list[str]:
    parts = zip(drawn["analysis"], drawn["setting"], strict=True)
    texts = [
        f"{analysis.replace('_', ' ')}: {setting}" if setting else analysis.replace("_", " ")
        for analysis, setting in parts
    ]
    return [drawable(" ".join(text.split())) for text in texts]


def _edges(drawn: pd.DataFrame, statistic: str) -> tuple[float, float]:
    """Return the ends of the axis, beyond every number that can be drawn on it."""
    values = drawn[["estimate", "low", "high"]].to_numpy(dtype=float).ravel()
    values = np.append(values[np.isfinite(values)], NO_DIFFERENCE[statistic])
    if statistic == "share_sharper":
        return 0.0, 1.0
    if statistic in _ON_LINE:
        margin = 0.15 * max(float(np.ptp(values)), 1.0)
        return float(values.min()) - margin, float(values.max()) + margin
    values = values[values > 0]
    return float(values.min()) / 3, float(values.max()) * 3


def _placed(drawn: pd.DataFrame, low_edge: float, high_edge: float) -> pd.DataFrame:
    estimate = drawn["estimate"].to_numpy(dtype=float)
    at_edge = (estimate < low_edge) | (estimate > high_edge)
    shape = np.where(at_edge, np.where(estimate > high_edge, "triangle-right", "triangle-left"),
                     "circle")  # fmt: skip
    return drawn.assign(
        x=np.clip(estimate, low_edge, high_edge),
        x_low=drawn["low"].clip(low_edge, high_edge),
        x_high=drawn["high"].clip(low_edge, high_edge),
        shape=shape,
        has_interval=drawn["low"].notna() & drawn["high"].notna(),
    )


def _chart(placed: pd.DataFrame, statistic: str, low: float, high: float) -> Any:
    kind: Literal["linear", "log"] = "linear" if statistic in _ON_LINE else "log"
    x = alt.X(
        "x:Q",
        title=_AXIS_TITLES.get(statistic, "Odds ratio"),
        scale=alt.Scale(type=kind, domain=[low, high], nice=False),
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    y = alt.Y("label:N", sort=placed["label"].tolist(), title=None,
              axis=alt.Axis(labelLimit=300, grid=True))  # fmt: skip
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
    )
    lines = alt.Chart(placed[placed["has_interval"]]).mark_rule(strokeWidth=1)
    shapes = ["circle", "triangle-left", "triangle-right"]
    points = alt.Chart(placed).mark_point(size=22, strokeWidth=1.2, opacity=1)
    layers = alt.layer(
        reference_line("x", x=NO_DIFFERENCE[statistic]),
        lines.encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y, color=colour),
        points.encode(
            x=x,
            y=y,
            color=colour,
            fill=alt.condition("datum.has_interval", colour, alt.value("white")),
            shape=alt.Shape(
                "shape:N", scale=alt.Scale(domain=shapes, range=shapes), legend=None
            ),
            tooltip=["analysis", "setting", "estimate", "low", "high", "p_value", "n", "n_tasks",
                     "status"],
        ),
    )  # fmt: skip
    return styled(layers.properties(height=12 * len(placed)), "page")
