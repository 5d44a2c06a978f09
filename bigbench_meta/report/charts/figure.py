"""A figure, and what all charts share: sizes in print, colours and marks, axes, the theme.

Lengths are in pixels of 1/96 inch, as in SVG, so that a figure has its printed size from the
beginning: placed at the width of a column or a page, its text is 7 points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final, Literal

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import METRIC_TYPES
from bigbench_meta.core.cards import briefly
from bigbench_meta.core.schema import FALLING_AXES
from bigbench_meta.core.text import drawable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "AXIS", "BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PALETTE", "PINK", "SKY", "TEXT",
    "TYPE_COLOURS", "VERMILION", "WIDTHS", "Figure", "Width", "across", "caption", "curve_title",
    "facets", "panel_width", "reference_line", "scale_axis", "score_axis", "series_marks", "styled",
    "type_marks", "unlike", "with_texts",
]  # fmt: skip

Width = Literal["column", "page"]
WIDTHS: Final[dict[Width, float]] = {"column": 3.25 * 96, "page": 6.75 * 96}
"""Widths of a column and of a page with two of them."""

TEXT: Final = 7 * 96 / 72
"""Size of all text: 7 points."""

AXIS: Final = 28
"""Width of the labels of a panel's vertical axis."""

# How much larger than in print a notebook shows a figure: text of 7 points is small on a screen.
_ON_SCREEN: Final = 1.5
_PADDING, _SPACING = 2, 12
_AXIS_TITLE: Final = 17
_HORIZONTAL_AXIS: Final = 30
# Names of metrics and curves beside a chart leave it half of a column.
_LONGEST_LABEL: Final = 130

# Okabe & Ito's palette, which people with any colour vision can distinguish; its yellow is lost on
# white.
BLUE, VERMILION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#8C8C8C"
PALETTE: Final = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, BLACK, GREY)
# Beside colour, for print in black and white.
_SHAPES: Final = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
_DASHES: Final = ([1, 0], [5, 2], [2, 2], [8, 2, 2, 2], [10, 3], [1, 1])
TYPE_COLOURS: Final = dict(zip(METRIC_TYPES, (PINK, VERMILION, BLUE, GREEN, GREY), strict=True))
_SCALES: Final = {
    "flop_matched_non_embedding_params": "Parameters, FLOP-matched",
    "non_embedding_params": "Parameters without embeddings",
    "total_params": "Parameters",
    "train_flops": "Training compute (FLOP)",
    "train_tokens": "Training tokens",
    "pretraining_loss": "Pretraining loss",
}
_TEXTS: Final = ("benchmark", "task", "subtask", "metric", "metric_type", "model_family", "scale")
_LONGEST_NAME: Final = 34
_JOINT: Final = re.compile(r"[ _:/]")
# Widths that are enough for a letter and for a symbol of a legend, and the height of a line.
_LETTER, _SYMBOL, _LINE = 4.7, 24, 11.5


@dataclass(frozen=True, kw_only=True, repr=False)
class Figure:
    """A chart with its data.

    Attributes:
        name: File name without ending.
        caption: What is drawn and how to read it.
        chart: The altair chart. A notebook shows a figure as a drawing, and the chart, with what a
            pointer tells, where its front end or a network has Vega-Lite.
        data: The rows drawn.
        width: Whether its text has its size, 7 points, at the width of a column or of a page.
    """

    name: str
    caption: str
    chart: Any
    data: pd.DataFrame
    width: Width = "column"

    def __repr__(self) -> str:
        """Return one line."""
        return briefly(f"Figure {self.name!r}: {self.caption}")

    def _repr_svg_(self) -> str:
        """Return the drawing, larger than in print, for notebooks: it needs no network to show."""
        from bigbench_meta.report.files import figure_svg

        return figure_svg(self, zoom=_ON_SCREEN)

    def to_dict(self) -> dict[str, Any]:
        """Return the Vega-Lite specification with the data inside, the caption as its alt text."""
        with alt.data_transformers.enable("default", max_rows=None):
            spec: dict[str, Any] = self._described().to_dict()
        return spec

    def _described(self) -> Any:
        return self.chart.properties(description=self.caption)


def caption(*sentences: str) -> str:
    """Join the sentences that are not empty."""
    return " ".join(filter(None, sentences))


def curve_title(
    row: pd.Series[Any], columns: Iterable[str], last: str, *, room: float = np.inf
) -> str:
    """Return the title of a panel that draws one curve, on two lines or more.

    Args:
        row: The curve's key.
        columns: Names of what follows the subtask, missing values left out.
        last: What stands behind that.
        room: Width of the panel; longer lines are broken, those of the name after the second cut.
    """
    letters = int(room / _LETTER) if np.isfinite(room) else _LONGEST_NAME
    name = _broken(" ".join(drawable(str(row["subtask"])).split()), letters, most=2)
    parts = [
        f"{row[column]} shot{'s' * (row[column] != 1)}"
        if column == "shots"
        else drawable(str(row[column]))
        for column in columns
        if not pd.isna(row[column])
    ]
    lines = [""]
    for part in filter(None, [*parts, *last.split(", ")]):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(longer) <= letters or not lines[-1]:
            lines[-1] = _broken(longer, letters, most=2)
        else:
            lines[-1] += ","
            lines.append(_broken(part, letters, most=2))
    return "\n".join([name, *lines])


def _broken(text: str, letters: int, *, most: int) -> str:
    """Return a text on several lines, broken where its words are joined and cut after the last."""
    lines: list[str] = []
    rest = text
    while len(rest) > letters and len(lines) < most - 1:
        place = max((found.end() for found in _JOINT.finditer(rest, 0, letters + 1)), default=0)
        place = place if place > letters // 3 else letters
        lines.append(rest[:place].rstrip())
        rest = rest[place:].lstrip()
    lines.append(rest if len(rest) <= letters else f"{rest[: letters - 1]}…")
    return "\n".join(lines)


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


def type_marks(present: pd.Series[str], *, legend: bool = True) -> dict[str, Any]:
    """Return colour and shape of each type of metric, with one legend of those present."""
    shown: list[str] = [name for name in METRIC_TYPES if name in set(present)]
    others = sorted(set(present) - set(shown))
    names = shown + others
    colours = [TYPE_COLOURS.get(name, GREY) for name in names]
    shapes = dict(zip(METRIC_TYPES, _SHAPES, strict=False))
    return _marks(
        "metric_type", names, colours, [shapes.get(name, "cross") for name in names],
        title="Metric type", room=WIDTHS["column"] - _LONGEST_LABEL if legend else 0,
    )  # fmt: skip


def series_marks(
    field: str,
    names: Sequence[str],
    colours: Iterable[str] = PALETTE,
    *,
    room: float = WIDTHS["column"] - 40,
    lines: bool = False,
) -> dict[str, Any]:
    """Return colour, shape and dashes by which series differ, also in black and white.

    Args:
        field: Field with the name of the series.
        names: The series in order.
        colours: Their colours, begun anew when used up.
        room: Width of the legend, 0 for none.
        lines: Whether the legend shows the lines, not the points.

    Returns:
        Encodings by channel: ``color``, ``shape`` (of points) and ``strokeDash`` (of lines).
    """
    n = len(names)
    found = _marks(
        field, names, list(islice(cycle(colours), n)), list(islice(cycle(_SHAPES), n)),
        title=None, room=room,
    )  # fmt: skip
    dashes = alt.Scale(domain=list(names), range=list(islice(cycle(_DASHES), n)))
    legend = found["color"]["legend"]
    if lines:
        found["shape"]["legend"] = None
    elif legend is not None:
        legend["symbolDash"] = [1, 0]
    return found | {
        "strokeDash": alt.StrokeDash(
            f"{field}:N",
            title=None,
            sort=list(names),
            scale=dashes,
            legend=legend if lines else None,
        )
    }


def _marks(
    field: str, names: Sequence[str], colours: list[str], shapes: list[str], *,
    title: str | None, room: float,
) -> dict[str, Any]:  # fmt: skip
    legend = None
    if room and len(names) > 1:
        longest = max(map(len, names))
        columns = max(1, int(room / (longest * _LETTER + _SYMBOL)))
        legend = alt.Legend(columns=columns)
    order = list(names)
    return {
        "color": alt.Color(
            f"{field}:N", title=title, sort=order, legend=legend,
            scale=alt.Scale(domain=order, range=colours),
        ),
        "shape": alt.Shape(
            f"{field}:N", title=title, sort=order, legend=legend,
            scale=alt.Scale(domain=order, range=shapes),
        ),
    }  # fmt: skip


def scale_axis(field: str, axes: Iterable[str], x: Iterable[float] = (), **axis: Any) -> alt.X:
    """Return the axis of the sizes of models, logarithmic, with 7B for seven billion.

    Args:
        field: Field of the data.
        axes: Names of the scale, or scales, of the data; a loss runs from high to low.
        x: The data: where they span a factor of ten, the powers of ten are marked.
        axis: Properties of the axis.
    """
    names = sorted(set(axes))
    title = " / ".join(_SCALES.get(name, name.replace("_", " ")) for name in names)
    decades = _decades(x)
    ticks: dict[str, Any] = {"values": decades} if len(decades) > 1 else {"tickCount": 3}
    falls = bool(names) and FALLING_AXES.issuperset(names)
    return alt.X(
        f"{field}:Q",
        scale=alt.Scale(type="log", nice=False, padding=6, reverse=falls or alt.Undefined),
        title=title,
        axis=alt.Axis(
            format="~s",
            grid=False,
            labelOverlap=True,
            labelExpr="replace(datum.label, 'G', 'B')",
            **(ticks | axis),
        ),
    )


def _decades(x: Iterable[float]) -> list[float]:
    """Return the powers of ten among the data, or just beside them."""
    values = np.array([value for value in x if 0 < value < np.inf])
    if not len(values):
        return []
    low, high = np.log10(values.min()), np.log10(values.max())
    places = np.arange(np.floor(low), np.ceil(high) + 1)
    return [float(10.0**place) for place in places if low - 0.15 <= place <= high + 0.15]


def score_axis(field: str, title: str | None, *, scale: Any = alt.Undefined, **axis: Any) -> alt.Y:
    """Return the vertical axis of a panel, with labels of one width so that panels line up.

    Args:
        field: Field of the data.
        title: Title of the axis.
        scale: Its scale.
        axis: Properties of the axis.
    """
    short = (
        "abs(datum.value) >= 10000 || (datum.value != 0 && abs(datum.value) < 0.001) "
        "? format(datum.value, '.0e') : datum.label"
    )
    properties: dict[str, Any] = {
        "tickCount": 4, "labelFlush": True, "minExtent": AXIS, "maxExtent": AXIS,
        "labelExpr": short,
    }  # fmt: skip
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(**(properties | axis)))


def across(n_panels: int, *, most: int = 4) -> tuple[Width, int]:
    """Return the width of a figure of several panels, and how many stand side by side.

    Args:
        n_panels: Number of panels.
        most: Panels side by side at most.
    """
    candidates = range(max(min(n_panels, most), 1), min(3, n_panels, most) - 1, -1)
    # The fewest gaps in the last row, and of those the most panels side by side.
    columns = min(candidates, key=lambda columns: -n_panels % columns)
    return ("column" if columns <= 2 else "page"), columns


def panel_width(width: Width, columns: int, *, axis: float = AXIS + _AXIS_TITLE) -> int:
    """Return the width of each of several panels side by side, without its vertical axis.

    Args:
        width: That of the figure.
        columns: Panels side by side.
        axis: Width of a vertical axis with its labels and title.
    """
    free = WIDTHS[width] - 4 * _PADDING - (columns - 1) * _SPACING
    return int(free / columns - axis)


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
    columns = min(columns, len(titles))
    # Where a row is not full, shared axes would stand below nothing.
    same_scale = same_scale and len(titles) % columns == 0
    lines = max(title.count("\n") + 1 for title in titles)
    # Measured without axes and titles, for which there is the same room everywhere.
    between = {
        "column": AXIS + _AXIS_TITLE + _SPACING,
        "row": lines * _LINE + _SPACING + (0 if same_scale else _HORIZONTAL_AXIS),
    }
    found: alt.FacetChart = chart.facet(
        facet, columns=columns, bounds="flush", spacing=between
    ).resolve_scale(y="independent", x="shared" if same_scale else "independent")
    return found


def reference_line(channel: str, **value: float) -> alt.Chart:
    """Return a dashed line at one value, which is named, on the axis of a channel (x or y)."""
    line = alt.Chart(pd.DataFrame([value])).mark_rule(strokeDash=[4, 3], color="#444444")
    (field,) = value
    found: alt.Chart = line.encode(**{channel: f"{field}:Q"})
    return found


def styled(chart: Any, width: Width = "column") -> Any:
    """Return a chart with the common theme.

    Args:
        chart: A chart of one panel, which gets the width of the figure, or of several whose widths
            are given (:func:`panel_width`).
        width: That of the figure.
    """
    if isinstance(chart, alt.Chart | alt.LayerChart):
        chart = chart.properties(
            width=WIDTHS[width], autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
        )
    text = {"labelFontSize": TEXT, "titleFontSize": TEXT}
    return (
        chart.configure(
            font="Helvetica, Arial, sans-serif", background="white", padding=_PADDING,
            text=alt.MarkConfig(fontSize=TEXT), facet=alt.CompositionConfig(spacing=_SPACING),
            concat=alt.CompositionConfig(spacing=_SPACING),
        )
        .configure_view(stroke=None)
        .configure_axis(
            gridColor="#E6E6E6", domainColor="#888888", tickColor="#888888", tickSize=3,
            labelPadding=2, titlePadding=3, titleFontWeight="normal", labelLimit=_LONGEST_LABEL,
            **text,
        )
        .configure_legend(
            orient="top", titleFontWeight="normal", labelLimit=200, symbolSize=40, symbolOpacity=1,
            offset=6, padding=0, rowPadding=1, columnPadding=8, labelOffset=2, titlePadding=3,
            **text,
        )
        .configure_header(labelFontSize=TEXT, labelPadding=3, title=None)
        .configure_title(fontSize=TEXT, anchor="start", offset=4)
    )  # fmt: skip
