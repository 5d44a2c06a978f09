"""The figure of one claim: its scores, and what smooth improvement would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import pandas as pd

from bigbench_meta.curves.proportions import proportions
from bigbench_meta.report.charts.figure import (
    Figure,
    across,
    caption,
    panel_width,
    scale_axis,
    score_axis,
    styled,
)

if TYPE_CHECKING:
    from bigbench_meta.check.claim import ClaimCheck

__all__ = ["plot_claim"]

_INK: Final = "#1F4E79"
_BAND: Final = "#9CC3E6"
_JUMP: Final = "#C55A11"
_GREY: Final = "#444444"


def plot_claim(check: ClaimCheck) -> Figure:
    """Draw a claim.

    Args:
        check: What :func:`bigbench_meta.check_claim` returned.

    Returns:
        A panel a metric: scores with 95% intervals, the range in which 95% of scores would be if
        improvement were smooth, and chance as a dashed line.
    """
    both = [one for one in (check, check.second) if one is not None]
    width, columns = across(len(both))
    size = panel_width(width, columns)
    data = pd.concat([_points(one) for one in both], ignore_index=True)
    panels = [_panel(data[data["metric"] == one.numbers["metric"]], size) for one in both]
    chart = panels[0] if len(panels) == 1 else alt.hconcat(*panels)
    return Figure(
        name="claim",
        caption=caption(
            "Scores with 95% intervals. Blue band and line: where 95% of scores would lie if "
            "improvement were smooth, by the laws that fit these scores, and their median.",
            f"Orange: the median if the loss suddenly fell {check.factor:g}-fold where that is "
            "likeliest.",
            "Dashed: chance." if data["chance"].notna().any() else "",
        ),
        chart=styled(chart, width),
        data=data,
        width=width,
    )


def _points(check: ClaimCheck) -> pd.DataFrame:
    points = check.curve.points(catalog=check.catalog)
    shares = proportions(check.curve, catalog=check.catalog)
    low, median, high = check.smooth
    return pd.DataFrame(
        {
            "metric": check.numbers["metric"], "scale": check.numbers["scale"],
            "x": points["x"], "score": points["score"],
            "low": points["low"].fillna(points["score"]),
            "high": points["high"].fillna(points["score"]),
            "smooth_low": low, "smooth": median, "smooth_high": high, "jump": check.jump,
            "chance": shares.point_scores(shares.chance[shares.curve]),
        }
    )  # fmt: skip


def _panel(data: pd.DataFrame, width: int) -> Any:
    x = scale_axis("x", data["scale"], data["x"])
    base = alt.Chart(data).encode(x=x)
    title = str(data["metric"].iloc[0])
    layers = [
        base.mark_area(color=_BAND, opacity=0.45).encode(
            y=score_axis("smooth_low", title), y2="smooth_high:Q"
        ),
        base.mark_line(color=_BAND, strokeWidth=1.5).encode(y=score_axis("smooth", title)),
        base.mark_line(color=_JUMP, strokeWidth=1.2, strokeDash=[6, 2]).encode(
            y=score_axis("jump", title)
        ),
        base.mark_rule(color=_INK, strokeWidth=0.8).encode(y=score_axis("low", title), y2="high:Q"),
        base.mark_point(filled=True, color=_INK, size=22, opacity=1).encode(
            y=score_axis("score", title), tooltip=["x", "score", "low", "high"]
        ),
    ]
    if data["chance"].notna().any():
        layers.insert(
            0,
            base.mark_line(color=_GREY, strokeDash=[4, 3], strokeWidth=1).encode(
                y=score_axis("chance", title)
            ),
        )
    return alt.layer(*layers).properties(width=width, height=round(width * 0.72))
