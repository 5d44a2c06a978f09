"""What the charts share: colours, titles of curves, the look of axes."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import METRIC_TYPES
from bigbench_meta.core.text import drawable

__all__ = ["curve_titles", "styled", "type_colour", "with_texts"]

# From Okabe & Ito's palette, told apart by people with any colour vision.
_COLOURS: Final[dict[str, str]] = dict(
    zip(METRIC_TYPES, ("#CC79A7", "#D55E00", "#0072B2", "#009E73", "#8C8C8C"), strict=True)
)
_FONT: Final = "Helvetica, Arial, sans-serif"
_TEXTS: Final = ("benchmark", "task", "subtask", "metric", "metric_type", "model_family", "scale")


def curve_titles(chosen: pd.DataFrame) -> dict[Any, str]:
    """Return a title for each row, no two alike: two panels of one title would be drawn as one."""
    several = len(set(chosen["model_family"].astype(str))) > 1
    titles: dict[Any, str] = {}
    for index, row in chosen.iterrows():
        title = _curve_title(row, family=several)
        taken = sum(other.split("\t")[0] == title for other in titles.values())
        titles[index] = f"{title}\t({taken + 1})" if taken else title
    return titles


def _curve_title(row: pd.Series[Any], *, family: bool) -> str:
    name = " ".join(drawable(str(row["subtask"])).split())
    shots = "" if pd.isna(row["shots"]) else f"{row['shots']} shot{'s' * (row['shots'] != 1)}"
    variant = "" if pd.isna(row["variant"]) else drawable(str(row["variant"]))
    score = "∞" if np.isinf(row["emergence_score"]) else f"{row['emergence_score']:.0f}"
    parts = [
        str(row["model_family"]) if family else "",
        str(row["metric"]),
        shots,
        variant,
        f"E = {score}",
    ]
    short = name if len(name) <= 34 else f"{name[:33]}…"
    return f"{short}\n{', '.join(part for part in parts if part)}"


def with_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with plain text in place of categories, which altair would sort."""
    names = [name for name in _TEXTS if name in frame]
    frame = frame.astype(dict.fromkeys(names, str))
    return frame.assign(**{name: frame[name].map(drawable) for name in names})


def type_colour(present: pd.Series[str]) -> alt.Color:
    """Return the colour of each type of metric, with a legend of those present."""
    shown: list[str] = [name for name in METRIC_TYPES if name in set(present)]
    others = sorted(set(present) - set(shown))
    colours = [_COLOURS[name] for name in shown] + [_COLOURS["unknown"]] * len(others)
    scale = alt.Scale(domain=shown + others, range=colours)
    return alt.Color("metric_type:N", scale=scale, title="metric type", sort=shown + others)


def styled(chart: Any) -> Any:
    """Return a chart with the look of them all."""
    return (
        chart.configure(font=_FONT, background="white")
        .configure_view(stroke=None)
        .configure_axis(gridColor="#E6E6E6", domainColor="#888888", tickColor="#888888")
        .configure_header(labelFontSize=11, title=None)
    )
