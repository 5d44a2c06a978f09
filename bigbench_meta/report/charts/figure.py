"""A figure, and what all charts share: colours, axes of scale, titles of panels, the theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import pandas as pd

from bigbench_meta.catalog.metrics import METRIC_TYPES
from bigbench_meta.core.text import drawable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BLACK", "BLUE", "GREEN", "ORANGE", "PINK", "SKY", "VERMILION", "Figure", "caption",
    "curve_title", "facets", "reference_line", "scale_axis", "styled", "type_colour",
    "unlike", "with_texts",
]  # fmt: skip

# Okabe & Ito's palette, which people with any colour vision can distinguish; its yellow is lost on
# white.
BLUE, VERMILION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
_TYPES: Final = dict(zip(METRIC_TYPES, (PINK, VERMILION, BLUE, GREEN, "#8C8C8C"), strict=True))
_TEXTS: Final = ("benchmark", "task", "subtask", "metric", "metric_type", "model_family", "scale")
_LONGEST_NAME: Final = 34


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart with its data.

    Attributes:
        name: File name without ending.
        caption: What is drawn and how to read it.
        chart: The altair chart; in Jupyter a figure shows it.
        data: The rows drawn.
    """

    name: str
    caption: str
    chart: alt.TopLevelMixin
    data: pd.DataFrame

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        return self.chart._repr_mimebundle_(*args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return the Vega-Lite specification with the data inside."""
        with alt.data_transformers.enable("default", max_rows=None):
            spec: dict[str, Any] = self.chart.to_dict()
        return spec


def caption(*sentences: str) -> str:
    """Join the sentences that are not empty."""
    return " ".join(filter(None, sentences))


def curve_title(row: pd.Series[Any], columns: Iterable[str], last: str) -> str:
    """Return the title of a panel that draws one curve, on two lines.

    Args:
        row: The curve's key.
        columns: Names of what follows the subtask, missing values left out.
        last: What stands behind that.
    """
    name = " ".join(drawable(str(row["subtask"])).split())
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 1]}…"
    parts = [
        f"{row[column]} shot{'s' * (row[column] != 1)}"
        if column == "shots"
        else drawable(str(row[column]))
        for column in columns
        if not pd.isna(row[column])
    ]
    return f"{name}\n{', '.join(filter(None, [*parts, last]))}"


def unlike(titles: Iterable[str]) -> list[str]:
    """Return titles with equal ones numbered: panels of one title would be drawn as one."""
    found: list[str] = []
    for title in titles:
        taken = sum(other.split("\t")[0] == title for other in found)
        found.append(f"{title}\t({taken + 1})" if taken else title)
    return found


def with_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with plain text in place of categories, which altair would sort."""
    names = [name for name in _TEXTS if name in frame]
    frame = frame.astype(dict.fromkeys(names, str))
    return frame.assign(**{name: frame[name].map(drawable) for name in names})


def type_colour(present: pd.Series[str]) -> alt.Color:
    """Return the colour of each type of metric, with a legend of those present."""
    shown: list[str] = [name for name in METRIC_TYPES if name in set(present)]
    others = sorted(set(present) - set(shown))
    colours = [_TYPES[name] for name in shown] + [_TYPES["unknown"]] * len(others)
    scale = alt.Scale(domain=shown + others, range=colours)
    return alt.Color("metric_type:N", scale=scale, title="metric type", sort=shown + others)


def scale_axis(field: str, title: str, *, falls: bool = False, **axis: Any) -> alt.X:
    """Return the axis of the sizes of models, logarithmic, with 7B for seven billion.

    Args:
        field: Field of the data.
        title: Title of the axis.
        falls: Whether it runs from high to low, as a loss does.
        axis: Properties of the axis.
    """
    return alt.X(
        f"{field}:Q",
        scale=alt.Scale(type="log", nice=False, padding=8, reverse=falls or alt.Undefined),
        title=title,
        axis=alt.Axis(format="~s", grid=False, labelExpr="replace(datum.label, 'G', 'B')", **axis),
    )


def facets(chart: Any, titles: list[str], *, columns: int, same_scale: bool) -> alt.FacetChart:
    """Return a chart cut into panels by the field ``title``, each with a vertical axis of its own.

    Args:
        chart: What one panel shows.
        titles: Titles of the panels, in order.
        columns: Most panels in a row.
        same_scale: Whether the panels have one horizontal axis.
    """
    facet = alt.Facet(
        "title:N",
        sort=titles,
        title=None,
        header=alt.Header(labelExpr="split(datum.label, '\\n')", labelAnchor="start"),
    )
    found: alt.FacetChart = chart.facet(facet, columns=min(columns, len(titles))).resolve_scale(
        y="independent", x="shared" if same_scale else "independent"
    )
    return found


def reference_line(channel: str, **value: float) -> alt.Chart:
    """Return a dashed line at one value, which is named, on the axis of a channel (x or y)."""
    line = alt.Chart(pd.DataFrame([value])).mark_rule(strokeDash=[4, 3], color="#444444")
    (field,) = value
    found: alt.Chart = line.encode(**{channel: f"{field}:Q"})
    return found


def styled(chart: Any) -> Any:
    """Return a chart with the common theme."""
    return (
        chart.configure(font="Helvetica, Arial, sans-serif", background="white")
        .configure_view(stroke=None)
        .configure_axis(gridColor="#E6E6E6", domainColor="#888888", tickColor="#888888")
        .configure_header(labelFontSize=11, title=None)
    )
