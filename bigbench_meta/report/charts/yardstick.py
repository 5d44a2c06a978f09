"""How many curves meet each criterion, and how many would if all families improved smoothly."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.aggregate.emergence_criteria import CRITERIA
from bigbench_meta.aggregate.yardstick import yardstick_sentence
from bigbench_meta.core.errors import InputError
from bigbench_meta.report.charts.figure import (
    BLUE,
    VERMILION,
    Figure,
    caption,
    facets,
    panel_width,
    styled,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_expected"]

_SIGMAS: Final = {"family": "family's σ", "curve": "own σ", "zero": "σ = 0"}
_LABELS: Final = 50
_LEVEL: Final = 0.05


def plot_expected(
    expected: pd.DataFrame, *, group: str = "all", threshold: float = DEFAULT_THRESHOLD
) -> Figure:
    """Draw how many curves meet each criterion beside what smooth families would show.

    Args:
        expected: What :func:`bigbench_meta.expected_if_smooth` returns.
        group: ``all``, or the type of metric whose curves are counted.
        threshold: The threshold that they were compared at, for the text.

    Returns:
        The figure, a panel a criterion: the line is the observed number, a point the mean over
        simulated smooth studies with their central 95%, a row per source of the variation between
        models.

    Raises:
        InputError: There is no such group.

    Examples:
        >>> from bigbench_meta import build_curves, expected_if_smooth, load_embedded, score_curves
        >>> curves = build_curves(load_embedded())
        >>> sums = curves[curves.keys["task"].str.startswith("arithmetic")]
        >>> found = expected_if_smooth(sums, score_curves(sums), n_studies=19)
        >>> plot_expected(found).data["observed"].tolist()[:3]
        [19, 19, 19]
    """
    rows = expected[expected["group"].astype(str) == group]
    rows = rows[rows["sigma"].isin(list(_SIGMAS)) & rows["expected"].notna()]
    if rows.empty:
        groups = ", ".join(dict.fromkeys(expected["group"].astype(str)))
        raise InputError(f"nothing to draw of {group!r}", where="group", hint=f"one of {groups}")
    data = rows[
        ["criterion", "sigma", "n_compared", "observed", "expected", "expected_low",
         "expected_high", "p_value", "n_studies"]
    ].reset_index(drop=True)  # fmt: skip
    meanings = {
        one.name: fill(one.meaning.format(threshold=threshold, alpha=_LEVEL), _LABELS)
        for one in CRITERIA
    }
    titles = [meanings.get(name, name) for name in dict.fromkeys(data["criterion"])]
    placed = data.assign(
        title=data["criterion"].map(lambda name: meanings.get(name, name)),
        variation=data["sigma"].map(_SIGMAS),
    )
    n_studies = int(data["n_studies"].max())
    return Figure(
        name="expected_if_smooth" if group == "all" else f"expected_if_smooth_{group}",
        caption=caption(
            yardstick_sentence(expected, threshold=threshold) if group == "all" else "",
            f"The line is the number of curves that meet a criterion, among those that can be "
            f"simulated; a point with its bar is the mean and the central 95% of {n_studies:,} "
            "simulated studies in which every family improves smoothly, with the variation "
            "between models (σ) taken from the model family, from the curve itself, or none.",
        ),
        chart=styled(_chart(placed, titles)),
        data=data,
    )


def _chart(placed: pd.DataFrame, titles: list[str]) -> Any:
    y = alt.Y("variation:N", sort=list(_SIGMAS.values()), title=None,
              axis=alt.Axis(minExtent=52, ticks=False, domain=False))  # fmt: skip
    most = float(placed[["observed", "expected_high"]].to_numpy().max())
    x = alt.X("expected:Q", title="Number of curves", axis=alt.Axis(tickCount=6, format="d"),
              scale=alt.Scale(domain=[0, max(most, 1.0) * 1.03], nice=False))  # fmt: skip
    base = alt.Chart().encode(y=y)
    layers = alt.layer(
        alt.Chart()
        .mark_rule(color=VERMILION, strokeWidth=2)
        .encode(x=alt.X("max(observed):Q", title="Number of curves")),
        base.mark_rule(color=BLUE, strokeWidth=1.2).encode(
            x=alt.X("expected_low:Q", title="Number of curves"), x2="expected_high:Q"
        ),
        base.mark_point(color=BLUE, filled=True, size=24, opacity=1).encode(
            x=x, tooltip=["observed", "expected", "expected_low", "expected_high", "p_value"]
        ),
        data=placed,
    )
    panel = layers.properties(width=panel_width("column", 1, axis=62), height=alt.Step(11))
    return facets(panel, titles, columns=1, same_scale=True).resolve_scale(y="shared")
