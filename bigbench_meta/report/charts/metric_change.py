"""The same outputs under two metrics, a panel a pair, as in Fig. 6 of Schaeffer et al. (2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import altair as alt
import numpy as np

from bigbench_meta.aggregate.metric_change import SAME, VERDICTS, pair_points
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import drawable
from bigbench_meta.report.charts.figure import (
    BLUE,
    PALETTE,
    VERMILION,
    Figure,
    across,
    caption,
    curve_title,
    facets,
    panel_width,
    scale_axis,
    score_axis,
    series_marks,
    styled,
    unlike,
)

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.charts.figure import Width

__all__ = ["plot_metric_change"]

# The sharp metric of a pair comes first.
_COLOURS: Final = (VERMILION, BLUE, *PALETTE[2:])


def plot_metric_change(
    curves: Curves, pairs: pd.DataFrame, *, most: int = 12, catalog: MetricCatalog | None = None
) -> Figure | None:
    """Draw pairs of curves of the same outputs under two metrics.

    Args:
        curves: The curves.
        pairs: What :func:`bigbench_meta.metric_change` returns for them.
        most: Panels at most: flagged pairs first, by verdict, then those that differ most.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        The figure, None if there is no pair to draw.

    Raises:
        InputError: ``curves`` are not those of the pairs.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, metric_change
        >>> curves = build_curves(load_embedded("paper"))
        >>> chosen = curves[curves.keys["metric"].isin(["brier_score",
        ...                                                    "multiple_choice_grade"])]
        >>> figure = plot_metric_change(chosen, metric_change(chosen, n_boot=19))
        >>> len(figure.data), sorted(set(figure.data["metric"]))
        (96, ['brier_score', 'multiple_choice_grade'])
    """
    drawn = pairs[(pairs["verdict"] != SAME) & (pairs["n_scales"] > 1)]
    total = len(drawn)
    if not total:
        return None
    order = drawn.assign(
        rank=drawn["verdict"].map({name: rank for rank, name in enumerate(VERDICTS)}),
        unflagged=~(drawn["flagged"] | drawn["other_flagged"]),
        alike=-drawn["log_ratio"].abs().fillna(-1.0),
    )
    rows = order.sort_values(["unflagged", "rank", "alike"], kind="stable").head(most)
    try:
        points = pair_points(curves, rows, catalog=catalog)
    except KeyError as error:
        raise InputError("belong to other curves", where="pairs") from error
    width, columns = across(len(rows))
    titles = dict(zip(rows.index, _titles(rows, panel_width(width, columns)), strict=True))
    data = points.assign(
        title=points["pair"].map(titles), metric=points["metric"].map(drawable),
        verdict=points["pair"].map(rows["verdict"]),
    )  # fmt: skip
    return Figure(
        name="metric_change",
        caption=caption(
            f"{len(rows)} of {total} pairs: the same outputs under two metrics against model scale "
            "on a logarithmic axis, each metric between the worst (0) and the best (1) score of "
            "its curve. Titles give the emergence score under the first metric and under the "
            "other, and the verdict.",
            "Bars are two standard errors." if data["low"].notna().any() else "",
        ),
        chart=styled(_chart(data, list(titles.values()), rows, width, columns), width),
        data=data.drop(columns="title"),
        width=width,
    )


def _titles(rows: pd.DataFrame, room: float) -> list[str]:
    several = [name for name in ("model_family", "shots", "variant")
               if len(set(rows[name].astype(str))) > 1]  # fmt: skip
    found = []
    for _, row in rows.iterrows():
        scores = " → ".join(
            ("−" if e < 0 else "") + ("∞" if np.isinf(e) else f"{abs(e):.1f}")
            for e in (row["emergence_score"], row["other_emergence_score"])
        )
        says = f"E {scores}, {row['verdict']}"
        found.append(curve_title(row, several, says, room=room))
    return unlike(found)


def _chart(
    data: pd.DataFrame, titles: list[str], rows: pd.DataFrame, width: Width, columns: int
) -> alt.FacetChart:
    metrics = list(dict.fromkeys([*rows["metric"].astype(str), *rows["other_metric"].astype(str)]))
    names = [drawable(name) for name in metrics]
    marks = series_marks("metric", names, _COLOURS, room=columns * panel_width(width, columns))
    axes = sorted(set(rows["scale"].astype(str)))
    y = score_axis("height", "Share of its range", tickCount=3)
    base = alt.Chart().encode(x=scale_axis("x", axes, data["x"]), color=marks["color"])
    layers = alt.layer(
        base.mark_rule(strokeWidth=0.8)
        .transform_filter("isValid(datum.low)")
        .encode(y=alt.Y("low:Q", title="Share of its range"), y2="high:Q"),
        base.mark_line(strokeWidth=1.2).encode(y=y, strokeDash=marks["strokeDash"]),
        base.mark_point(filled=True, size=18, opacity=1).encode(
            y=y, shape=marks["shape"], tooltip=["metric", "model_name", "x", "score", "verdict"]
        ),
        data=data,
    )
    size = panel_width(width, columns)
    return facets(
        layers.properties(width=size, height=round(size * 0.75)), titles, columns=columns,
        same_scale=len(axes) == 1,
    )  # fmt: skip
