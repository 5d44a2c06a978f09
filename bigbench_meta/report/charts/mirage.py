"""The paper's Fig. 2: the same models under several metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.core.errors import InputError
from bigbench_meta.report.charts.figure import (
    WIDTHS,
    Figure,
    panel_width,
    reference_line,
    scale_axis,
    score_axis,
    series_marks,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["plot_mirage"]

_COLUMNS_OF_PANELS: Final = 3
# No test set is large enough to see an accuracy below.
_LEAST: Final = 1e-6
_EXPECTED: Final = "expected"
_COLUMNS: Final = ["task", "metric", "model_family", "model_name", "variant", "total_params",
                   "score", "stderr", "n_examples"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """What one panel draws.

    Attributes:
        name: File name without ending.
        metric: The metric, in the catalog's spelling.
        title: Title of the panel.
        y: Title of its axis.
        axis: Linear, logarithmic, or reversed where lower is better.
        says: What to see in it.
    """

    name: str
    metric: str
    title: str
    y: str
    axis: Literal["linear", "log", "reversed"]
    says: str


_PANELS: Final = (
    _Panel(
        name="mirage_a_loss", metric="cross_entropy", title="A  Loss", y="nats per token",
        axis="log", says="The per-token cross entropy is a power law of model size.",
    ),
    _Panel(
        name="mirage_b_probability", metric="token_accuracy", title="B  Right token",
        y="probability", axis="linear",
        says="The probability of a right token rises smoothly.",
    ),
    _Panel(
        name="mirage_c_accuracy", metric="exact_str_match", title="C  Exact match",
        y="accuracy", axis="linear",
        says="All tokens of a target must be right: the longer it is, the later and the more "
        "suddenly accuracy seems to rise.",
    ),
    _Panel(
        name="mirage_c_accuracy_log", metric="exact_str_match", title="C  Exact match, log axis",
        y="accuracy", axis="log",
        says="The same accuracies on a logarithmic axis: they rise at every model size.",
    ),
    _Panel(
        name="mirage_d_multiple_choice_grade", metric="multiple_choice_grade",
        title="D  Multiple choice grade", y="grade", axis="linear",
        says="The right choice must have the largest mass: the more similar the questions are, the "
        "closer the grade is to a step.",
    ),
    _Panel(
        name="mirage_e_token_edit_distance", metric="token_edit_distance",
        title="E  Token edit distance", y="tokens", axis="reversed",
        says="The edit distance of the same strings is linear in the per-token error, whatever "
        "their length. Lower is better; the axis is reversed.",
    ),
    _Panel(
        name="mirage_f_brier_score", metric="brier_score", title="F  Brier score",
        y="squared error", axis="reversed",
        says="The Brier score of the same choices falls smoothly. Lower is better; the axis is "
        "reversed.",
    ),
    _Panel(
        name="mirage_rouge", metric="rougeLsum", title="ROUGE-L-Sum", y="points", axis="linear",
        says="ROUGE-L-Sum against several references, taken together or one at a time.",
    ),
)  # fmt: skip


def plot_mirage(observations: pd.DataFrame) -> list[Figure]:
    """Draw simulated observations as the paper's Fig. 2 does.

    Args:
        observations: What :func:`bigbench_meta.simulate` returns, expected or sampled, or both one
            below the other: then expected scores are lines and sampled ones points, with a bar of
            one standard error to each side.

    Returns:
        A figure for each panel that has something to draw, and before them ``mirage``, which has
        all of them: A loss, B per-token probability, C exact match on a linear and on a logarithmic
        axis, D multiple choice grade, E token edit distance, F Brier score; ROUGE-L-Sum if it was
        simulated. A score of zero cannot be drawn on a logarithmic axis; the caption counts them.

    Raises:
        InputError: There is nothing to draw.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Fig. 2.
    """
    frame = observations[_COLUMNS].astype(
        dict.fromkeys(["task", "metric", "model_family", "model_name", "variant"], "str")
        | dict.fromkeys(["total_params", "n_examples"], "Float64")
    )
    drawn = [(panel, frame[frame["metric"] == panel.metric]) for panel in _PANELS]
    drawn = [(panel, rows) for panel, rows in drawn if _has_place(panel, rows).any()]
    if not drawn:
        raise InputError(
            "no score of the paper's Fig. 2 can be drawn",
            where="observations",
            hint="pass what simulate returns",
        )
    size = panel_width("page", _COLUMNS_OF_PANELS)
    whole = alt.concat(
        *(_panel_chart(panel, rows, size).properties(width=size, height=round(size * 0.75))
          for panel, rows in drawn),
        columns=_COLUMNS_OF_PANELS,
    )  # fmt: skip
    single = {panel.metric: rows for panel, rows in drawn}
    return [
        Figure(
            name="mirage",
            caption=(
                "One family of models whose per-token loss is a power law of size, after Fig. 2 of "
                "Schaeffer et al. (2023). Nothing jumps in the models: any apparent jump comes "
                "from the metric."
            ),
            chart=styled(
                whole.resolve_scale(
                    color="independent", shape="independent", strokeDash="independent"
                ),
                "page",
            ),
            data=pd.concat(single.values(), ignore_index=True),
            width="page",
        ),
        *(
            Figure(
                name=panel.name,
                caption=_caption(panel, rows),
                chart=styled(
                    _panel_chart(panel, rows, WIDTHS["column"] - 60).properties(
                        height=round(WIDTHS["column"] * 0.55)
                    )
                ),
                data=rows.reset_index(drop=True),
            )
            for panel, rows in drawn
        ),
    ]


def _has_place(panel: _Panel, rows: pd.DataFrame) -> pd.Series[bool]:
    """Return which scores are on the panel's axis, however long it may be."""
    return (rows["score"].abs() < np.inf) & ((rows["score"] > 0) | (panel.axis != "log"))


def _caption(panel: _Panel, rows: pd.DataFrame) -> str:
    sentences = [panel.says]
    if panel.axis == "log" and (zeros := int((rows["score"] <= 0).sum())):
        sentences.append(f"Scores of zero, which a logarithmic axis cannot show: {zeros}.")
    if _resolution(panel, rows) is not None:
        sentences.append("The dashed line is the smallest score that the test set can show, 1/n.")
    return " ".join(sentences)


def _resolution(panel: _Panel, rows: pd.DataFrame) -> float | None:
    """Return 1/n for a logarithmic axis if all sampled scores have one n."""
    sizes = set(rows["n_examples"].dropna())
    return 1 / sizes.pop() if panel.axis == "log" and len(sizes) == 1 else None


def _panel_chart(panel: _Panel, rows: pd.DataFrame, room: float) -> alt.LayerChart:
    series = rows["task"]
    if len(set(rows["model_family"])) > 1:
        series = series + ", " + rows["model_family"]
    low, high = rows["score"] - rows["stderr"], rows["score"] + rows["stderr"]
    data = rows.assign(series=series, low=low, high=high)
    data = data[_has_place(panel, rows)]
    order = list(dict.fromkeys(series))
    layers = list(_layers(data, panel, series_marks("series", order, room=room)))
    if (limit := _resolution(panel, rows)) is not None:
        layers.append(reference_line("y", resolution=limit))
    return alt.LayerChart(layer=layers, title=panel.title)


def _layers(data: pd.DataFrame, panel: _Panel, marks: dict[str, Any]) -> Iterator[alt.Chart]:
    """Yield lines of what is expected, or of all, and points of what was sampled, or of all."""
    expected = data["variant"] == _EXPECTED
    lines = data[expected] if expected.any() else data
    points = data[~expected] if not expected.all() else data
    x = scale_axis("total_params", ["total_params"], data["total_params"].astype(float))
    y, colour = _y(panel, data), marks["color"]
    # What lies below a logarithmic axis is cut off, not drawn over the next panel.
    is_log = panel.axis == "log"
    if is_log:
        points = points[points["score"] >= _LEAST]
    yield (
        alt.Chart(lines)
        .mark_line(strokeWidth=1.2, clip=is_log)
        .encode(x=x, y=y, color=colour, strokeDash=marks["strokeDash"], detail="variant:N")
    )
    tooltip = ["task", "model_family", "model_name", "variant", "score", "stderr"]
    yield (
        alt.Chart(points)
        .mark_point(filled=True, size=18, opacity=1)
        .encode(x=x, y=y, color=colour, shape=marks["shape"], tooltip=tooltip)
    )
    bars = points[points["stderr"] > 0]
    if len(bars):
        bars = bars.assign(low=bars["low"].clip(lower=_LEAST)) if is_log else bars
        yield (
            alt.Chart(bars)
            .mark_rule(strokeWidth=0.8)
            .encode(x=x, y=alt.Y("low:Q", title=panel.y.capitalize()), y2="high:Q", color=colour)
        )


def _y(panel: _Panel, data: pd.DataFrame) -> alt.Y:
    if panel.axis != "log":
        scale = alt.Scale(zero=True, reverse=panel.axis == "reversed")
        return score_axis("score", panel.y.capitalize(), scale=scale, tickCount=5)
    decades = 10.0 ** np.arange(-6, 1)
    scale = alt.Scale(type="log", domain=[_LEAST, 1.0], nice=False)
    if panel.metric != "exact_str_match":
        low, high = np.log10(data["score"].min()), np.log10(data["score"].max())
        decades = 10.0 ** np.arange(np.floor(low), np.ceil(high) + 1)
        scale = alt.Scale(type="log")
    return score_axis(
        "score", panel.y.capitalize(), scale=scale, values=decades.tolist(), format="~g"
    )
