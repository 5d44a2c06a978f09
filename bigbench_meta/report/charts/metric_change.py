"""The same outputs under two metrics, a panel a pair, as in Fig. 6 of Schaeffer et al. (2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from bigbench_meta.aggregate.metric_change import VERDICTS, pair_points
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import FALLING_AXES
from bigbench_meta.core.text import drawable
from bigbench_meta.report.charts.figure import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    Figure,
    caption,
    curve_title,
    facets,
    scale_axis,
    styled,
    unlike,
)

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

__all__ = ["plot_metric_change"]

_PALETTE: Final = (VERMILION, BLUE, GREEN, PINK, ORANGE, SKY, BLACK, "#8C8C8C")
_COLUMNS: Final = 4


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
        >>> chosen = curves.select(curves.keys["metric"].isin(["brier_score",
        ...                                                    "multiple_choice_grade"]))
        >>> figure = plot_metric_change(chosen, metric_change(chosen, n_boot=19))
        >>> len(figure.data), sorted(set(figure.data["metric"]))
        (96, ['brier_score', 'multiple_choice_grade'])
    """
    drawn = pairs[(pairs["verdict"] != "same metric") & (pairs["n_scales"] > 1)]
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
    titles = dict(zip(rows.index, _titles(rows), strict=True))
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
        chart=styled(_chart(data, list(titles.values()), rows)),
        data=data.drop(columns="title"),
    )


def _titles(rows: pd.DataFrame) -> list[str]:
    several = [name for name in ("model_family", "shots", "variant")
               if len(set(rows[name].astype(str))) > 1]  # fmt: skip
    found = []
    for _, row in rows.iterrows():
        scores = " → ".join(
            ("−" if e < 0 else "") + ("∞" if np.isinf(e) else f"{abs(e):.1f}")
            for e in (row["emergence_score"], row["other_emergence_score"])
        )
        title = curve_title(row, several, "").removesuffix("\n")
        found.append(f"{title}\nE {scores}, {row['verdict']}")
    return unlike(found)


def _chart(data: pd.DataFrame, titles: list[str], rows: pd.DataFrame) -> Any:
    metrics = list(dict.fromkeys([*rows["metric"].astype(str), *rows["other_metric"].astype(str)]))
    names = [drawable(name) for name in metrics]
    colours = [_PALETTE[place % len(_PALETTE)] for place in range(len(names))]
    colour = alt.Color(
        "metric:N", title=None, scale=alt.Scale(domain=names, range=colours),
        legend=alt.Legend(orient="top", labelLimit=240, symbolOpacity=1),
    )  # fmt: skip
    axes = sorted(set(rows["scale"].astype(str)))
    x = scale_axis(
        "x", ", ".join(axes).replace("_", " "), falls=FALLING_AXES.issuperset(axes), tickCount=4
    )
    y = alt.Y("height:Q", title="share of its range", axis=alt.Axis(tickCount=3, minExtent=28))
    base = alt.Chart().encode(x=x, color=colour)
    layers = alt.layer(
        base.mark_rule(strokeWidth=1.2)
        .transform_filter("isValid(datum.low)")
        .encode(y=alt.Y("low:Q", title="share of its range"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        base.mark_point(filled=True, size=30, opacity=1).encode(
            y=y, tooltip=["metric", "model_name", "x", "score", "verdict"]
        ),
        data=data,
    )
    return facets(
        layers.properties(width=170, height=110), titles, columns=_COLUMNS,
        same_scale=len(axes) == 1,
    )  # fmt: skip
