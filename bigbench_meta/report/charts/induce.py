"""E against the threshold, the subset size or the number of model sizes kept, a panel a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.aggregate.induce import CHOICES, SIZES_KEPT, SUBSET_SIZE, THRESHOLD
from bigbench_meta.core.checks import one_of
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.report.charts.figure import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    Figure,
    across,
    caption,
    curve_title,
    facets,
    panel_width,
    reference_line,
    score_axis,
    series_marks,
    styled,
    unlike,
    with_texts,
)

if TYPE_CHECKING:
    from bigbench_meta.aggregate.induce import Induced
    from bigbench_meta.report.charts.figure import Width

__all__ = ["plot_induced"]

_DRAWN: Final = (1, 100_000)
CHOSEN, SHARPEST, MEDIAN = "with this choice", "sharpest choice", "median choice"
AS_IT_IS, LINE = "curve as it is", "straight line"
_COLOURS: Final = {
    CHOSEN: VERMILION, SHARPEST: VERMILION, MEDIAN: BLUE, AS_IT_IS: GREEN, LINE: GREY,
}  # fmt: skip
_AXES: Final = {
    THRESHOLD: ("quantile", "Share of answers that miss the threshold"),
    SUBSET_SIZE: ("value", "K, of which all must be right"),
    SIZES_KEPT: ("value", "Model sizes kept"),
}
_NAMES: Final = {
    THRESHOLD: "induced_by_threshold", SUBSET_SIZE: "induced_by_subset_size",
    SIZES_KEPT: "induced_by_sizes_kept",
}  # fmt: skip


def plot_induced(
    induced: Induced, choice: str, *, most: int = 9, threshold: float = DEFAULT_THRESHOLD
) -> Figure | None:
    """Draw the emergence score against what was chosen.

    Args:
        induced: What :func:`bigbench_meta.induced_emergence` returns.
        choice: ``threshold``, ``subset size`` or ``sizes kept``.
        most: Panels at most: curves that are not above the cut as they are first, among them those
            whose sharpness a choice increases most.
        threshold: Emergence score to mark.

    Returns:
        The figure, None if there is nothing to draw.

    Raises:
        InputError: ``choice`` is another.

    Examples:
        >>> from bigbench_meta import build_curves, induced_emergence, load_embedded
        >>> curves = build_curves(load_embedded("paper"))
        >>> lenet = curves[curves.keys.task == "MNIST LeNet"]
        >>> figure = plot_induced(induced_emergence(lenet), "sizes kept")
        >>> int(figure.data.value.max()), figure.data.series.unique().tolist()
        (14, ['sharpest choice', 'median choice', 'straight line'])
    """
    one_of(choice, CHOICES, "choice")
    rows = induced.largest[
        (induced.largest["choice"] == choice) & induced.largest["induced_sharpness"].notna()
    ]
    total = len(rows)
    if not total:
        return None
    gain = (rows["induced_sharpness"] - rows["sharpness"]).fillna(0.0)  # infinite as it is
    rows = rows.assign(gain=gain).sort_values(
        ["above", "gain"], ascending=[True, False], kind="stable"
    )[:most]  # fmt: skip
    width, columns = across(len(rows), most=3)
    titles = _titles(rows, panel_width(width, columns))
    tried = induced.tried[induced.tried["choice"] == choice]
    parts = [
        _series(tried[tried["curve"] == row["curve"]], row, choice).assign(title=title)
        for (_, row), title in zip(rows.iterrows(), titles, strict=True)
    ]
    data = with_texts(pd.concat(parts, ignore_index=True))
    drawn = data["score"].between(*_DRAWN)
    left = int((~drawn & data["series"].isin([CHOSEN, SHARPEST])).sum())
    shown = data[drawn].reset_index(drop=True)
    return Figure(
        name=_NAMES[choice],
        caption=caption(
            f"{len(rows)} of {total} curves: emergence score, with steps of at least the "
            f"resolution, against the {'number of ' * (choice == SIZES_KEPT)}{choice}. The dashed "
            f"line is the threshold of {threshold:g}; the grey line is the score of a straight "
            "line over the same number of sizes. Titles give the score of the unchanged curve and "
            "the largest.",
            "Curves show the sharpest and the median of all choices with that number of sizes."
            * (choice == SIZES_KEPT),
            f"{left} choices without a score or with one below {_DRAWN[0]:,} or above "
            f"{_DRAWN[1]:,} are not drawn."
            if left
            else "",
        ),
        chart=styled(_chart(shown, titles, choice, threshold, width, columns), width),
        data=shown.drop(columns="title"),
        width=width,
    )


def _series(tried: pd.DataFrame, row: pd.Series[Any], choice: str) -> pd.DataFrame:
    """Return the lines of one panel, one below the other."""
    steps = tried["n_scales"] - 1
    score = tried["sharpness"] * steps
    if choice == SIZES_KEPT:
        lines = {SHARPEST: score, MEDIAN: tried["median_sharpness"] * steps}
    else:
        lines = {CHOSEN: score}
        lines[AS_IT_IS] = pd.Series(row["sharpness"] * (row["n_scales"] - 1), index=tried.index)
    lines[LINE] = steps.astype(float)
    kept = [*CURVE_KEY, "value", "quantile", "n_scales", "induced_metric", "models"]
    return pd.concat(
        [tried[kept].assign(series=name, score=values) for name, values in lines.items()]
    )


def _titles(rows: pd.DataFrame, room: float) -> list[str]:
    several = [name for name in ("model_family", "shots", "variant")
               if len(set(rows[name].astype(str))) > 1]  # fmt: skip
    found = []
    for _, row in rows.iterrows():
        before = row["sharpness"] * (row["n_scales"] - 1)
        after = row["induced_sharpness"] * (row["induced_n_scales"] - 1)
        found.append(
            curve_title(
                row, ["metric", *several], f"E {_number(before)} → {_number(after)}", room=room
            )
        )
    return unlike(found)


def _number(value: float) -> str:
    if value >= _DRAWN[1]:
        return "∞" if value == np.inf else f"above {_DRAWN[1]:,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _chart(
    data: pd.DataFrame, titles: list[str], choice: str, threshold: float, width: Width, columns: int
) -> alt.FacetChart:
    field, axis_title = _AXES[choice]
    names = [name for name in _COLOURS if name in set(data["series"])]
    size = panel_width(width, columns)
    marks = series_marks("series", names, [_COLOURS[name] for name in names], room=size * columns)
    whole_only = "datum.value === floor(datum.value) ? format(datum.value, 'd') : ''"
    x = alt.X(
        f"{field}:Q", title=axis_title,
        axis=alt.Axis(
            grid=False, tickCount=5, labelExpr=whole_only if field == "value" else alt.Undefined
        ),
        scale=alt.Scale(zero=False, nice=False, padding=6),
    )  # fmt: skip
    y = score_axis(
        "score", "Emergence score E", scale=alt.Scale(type="log"), format="~g"
    )  # fmt: skip
    base = alt.Chart().encode(x=x, y=y, color=marks["color"])
    layers = alt.layer(
        base.mark_line(strokeWidth=1.2).encode(strokeDash=marks["strokeDash"]),
        base.mark_point(filled=True, size=12, opacity=1)
        .transform_filter(alt.FieldOneOfPredicate("series", [CHOSEN, SHARPEST]))
        .encode(shape=marks["shape"], tooltip=["induced_metric", "models", "value", "score"]),
        reference_line("y", threshold=threshold),
        data=data,
    )
    return facets(
        layers.properties(width=size, height=round(size * 0.65)), titles, columns=columns,
        same_scale=False,
    )  # fmt: skip
