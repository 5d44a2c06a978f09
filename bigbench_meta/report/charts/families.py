"""Families trained here under smooth and sharp metrics, as in Figs. 3, 7, 8 and 11 of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import pandas as pd

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.results import load_embedded
from bigbench_meta.report.charts.figure import (
    BLACK,
    GREY,
    PALETTE,
    Figure,
    across,
    caption,
    panel_width,
    scale_axis,
    score_axis,
    series_marks,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["plot_families"]

_COLOURS: Final = PALETTE[:6]
_PAPERS: Final = (BLACK, GREY)
_PAPER: Final = "paper"


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """What one panel draws.

    Attributes:
        title: Its title.
        y: Title of its axis.
        metrics: Names of metrics, or what their names begin with, which ends in `_` or `=`.
        lower_is_better: Then the axis is reversed.
        longest: Whether only the longest answers are drawn, because the others hardly differ.
    """

    title: str
    y: str
    metrics: tuple[str, ...]
    lower_is_better: bool = False
    longest: bool = False


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """The figure of one family.

    Attributes:
        name: File name without ending.
        family: The family's name.
        title: What it is, for the caption.
        panels: The panels, the smooth metric first.
        paper: The task of the paper's figure in the embedded set `paper`.
        figure: Which figure of the paper it is after.
    """

    name: str
    family: str
    title: str
    panels: tuple[_Panel, ...]
    figure: str
    paper: str = ""


_ALL_RIGHT: Final = partial(_Panel, y="share of questions", metrics=("exact_str_match",))
_OF_ANSWERS: Final = (
    _Panel(
        title="Cross-entropy", y="nats per token", metrics=("cross_entropy",), lower_is_better=True
    ),
    _Panel(
        title="Token edit distance", y="digits", metrics=("token_edit_distance",),
        lower_is_better=True,
    ),
    _ALL_RIGHT(title="Exact match"),
)  # fmt: skip
_DRAWINGS: Final = (
    _Drawing(
        name="addition", family="addition transformers", panels=_OF_ANSWERS, figure="Fig. 3",
        title="Sums of two numbers of up to four digits, by length of the answer",
    ),
    _Drawing(
        name="multiplication", family="multiplication transformers", panels=_OF_ANSWERS,
        title="Products of two numbers of up to two digits, by length of the answer",
        figure="Fig. 3",
    ),
    _Drawing(
        name="autoencoder", family="shallow autoencoders", figure="Fig. 7",
        title="Autoencoders of 32 x 32 pictures",
        paper="CIFAR100 shallow nonlinear autoencoder",
        panels=(
            _Panel(
                title="Mean squared error", y="squared error", metrics=("mean_squared_error",),
                lower_is_better=True,
            ),
            _Panel(
                title="Error of at most c", y="share of pictures",
                metrics=("mean_squared_error<=", "reconstruction_"),
            ),
        ),
    ),
    _Drawing(
        name="omniglot", family="picture transformers", figure="Fig. 8",
        title="Transformers that label five pictures", paper="Omniglot autoregressive transformer",
        panels=(
            _Panel(
                title="Cross-entropy", y="nats per label", metrics=("cross_entropy",),
                lower_is_better=True, longest=True,
            ),
            _Panel(
                title="Right labels", y="share of labels", metrics=("per_token_accuracy",),
                longest=True,
            ),
            _ALL_RIGHT(title="All of the first L labels right", y="share of sequences"),
        ),
    ),
    _Drawing(
        name="lenet", family="LeNet", figure="Fig. 11", title="LeNets", paper="MNIST LeNet",
        panels=(
            _Panel(
                title="Accuracy", y="share of pictures",
                metrics=("multiple_choice_grade", "accuracy"),
            ),
            _Panel(title="All of K pictures right", y="probability", metrics=("subset_accuracy_",)),
        ),
    ),
)  # fmt: skip


def plot_families(observations: pd.DataFrame) -> list[Figure]:
    """Draw trained families under smooth and sharp metrics, beside the paper's where they have one.

    Args:
        observations: What :func:`bigbench_meta.train_families` returns, or
            ``bm.load_embedded("trained")``.

    Returns:
        A figure for each family: panels by metric, points for the models of single seeds, lines
        through their mean at each size; dashed what the paper's figure shows of its own family. If
        the sizes there are not known, a panel of its own has them in order.

    Raises:
        InputError: There is no trained family among the observations.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Figs. 3, 7, 8 and 11 (arXiv v2: 10).
    """
    frame = observations.astype({"model_family": str, "task": str, "subtask": str, "metric": str})
    if "variant" in frame:
        frame = frame[frame["variant"].astype("str").fillna("greedy") != "temperature 1"]
    figures = [
        _figure(drawing, rows)
        for drawing in _DRAWINGS
        if len(rows := frame[frame["model_family"] == drawing.family])
    ]
    if not figures:
        raise InputError(
            "none of the trained families",
            where="observations",
            hint="pass what train_families returns",
        )
    return figures


def _figure(drawing: _Drawing, rows: pd.DataFrame) -> Figure:
    paper = _of_the_paper(drawing)
    is_known = paper["total_params"].notna()
    parts = [
        (panel, data)
        for panel in drawing.panels
        if len(
            data := pd.concat([_series(panel, rows, ""), _series(panel, paper[is_known], _PAPER)])
        )
    ]
    n_panels = len(parts) + (not is_known.all())
    width, columns = across(n_panels)
    size = panel_width(width, columns)
    n_seeds = rows.groupby("total_params")["replicate"].nunique()
    return Figure(
        name=drawing.name,
        caption=caption(
            f"{drawing.title}: {rows['task'].iloc[0]}. Points are models "
            f"({n_seeds.min()}{f' to {n_seeds.max()}' if n_seeds.max() > n_seeds.min() else ''} "
            "seeds of each size), lines their mean. Where lower is better the axis is reversed.",
            f"Dashed: {drawing.figure} of Schaeffer et al. (2023)." if len(paper) else "",
        ),
        chart=styled(
            alt.concat(
                *(_chart(*part, size) for part in parts),
                *([_by_order(paper, drawing.figure, size)] if not is_known.all() else []),
                columns=columns,
            ).resolve_scale(color="independent", shape="independent", strokeDash="independent"),
            width,
        ),
        width=width,
        data=pd.concat(
            [data.assign(panel=panel.title) for panel, data in parts], ignore_index=True
        ),
    )


def _of_the_paper(drawing: _Drawing) -> pd.DataFrame:
    paper = load_embedded("paper")
    rows = paper[paper["task"] == drawing.paper]
    return rows.astype({"metric": str, "subtask": str, "task": str})


def _series(panel: _Panel, rows: pd.DataFrame, of: str) -> pd.DataFrame:
    """Return the rows of a panel, each with the name of its line."""
    cuts = tuple(name for name in panel.metrics if name.endswith(("_", "=")))
    metric = rows["metric"]
    chosen = rows[metric.isin(panel.metrics) | metric.str.startswith(cuts)]
    if panel.longest:
        chosen = chosen[chosen["subtask"] == chosen["subtask"].max()]
    names = [_name(row, cuts) or of or "trained here" for row in chosen.itertuples()]
    return pd.DataFrame(
        {
            "series": names, "of": of, "metric": chosen["metric"],
            "total_params": chosen["total_params"].astype(float), "score": chosen["score"],
            "model_name": chosen["model_name"].astype(str),
        }
    )  # fmt: skip


def _name(row: Any, cuts: tuple[str, ...]) -> str:
    """Return the name of a line: a length, a threshold c, or K."""
    _, cut, length = row.subtask.rpartition(": length ")
    value = next((row.metric.removeprefix(name) for name in cuts if name in row.metric), "")
    letter = "K" if row.metric.startswith("subset") else "c"
    return f"L = {length}" if cut else f"{letter} = {value}" if value else ""


def _chart(panel: _Panel, data: pd.DataFrame, size: int) -> alt.LayerChart:
    order = list(dict.fromkeys(data["series"]))
    here = set(data.loc[data["of"] != _PAPER, "series"])
    own, papers = cycle(_COLOURS), cycle(_PAPERS)
    colours = [next(own if name in here else papers) for name in order]
    layers = list(_layers(panel, data, series_marks("series", order, colours, room=size)))
    return alt.LayerChart(layer=layers, title=panel.title).properties(
        width=size, height=round(size * 0.75)
    )


def _by_order(paper: pd.DataFrame, figure: str, size: int) -> alt.Chart:
    """Draw the paper's models, whose sizes cannot be read, in their order."""
    order = list(dict.fromkeys(paper["metric"]))
    data = pd.DataFrame(
        {
            "metric": paper["metric"], "score": paper["score"],
            "place": paper.groupby("metric").cumcount() + 1,
        }
    )  # fmt: skip
    marks = series_marks("metric", order, _PAPERS, room=size, lines=True)
    found: alt.Chart = (
        alt.Chart(data, title=f"{figure} of the paper")
        .mark_line(strokeWidth=1.2, point=alt.OverlayMarkDef(size=12))
        .encode(
            x=alt.X("place:O", title="Models in order of size", axis=alt.Axis(labelAngle=0)),
            y=score_axis("score", "Share", tickCount=5),
            color=marks["color"],
            strokeDash=marks["strokeDash"],
        )
        .properties(width=size, height=round(size * 0.75))
    )
    return found


def _layers(panel: _Panel, data: pd.DataFrame, marks: dict[str, Any]) -> Iterator[alt.Chart]:
    """Yield the lines through means, and the points of single models."""
    x = scale_axis("total_params", ["total_params"], data["total_params"])
    scale = alt.Scale(zero=True, reverse=panel.lower_is_better)
    y = score_axis("score", panel.y.capitalize(), scale=scale, tickCount=5)
    colour, shape = marks["color"], marks["shape"]
    keys = ["series", "of", "total_params"]
    means = data.groupby(keys, sort=False)["score"].mean().reset_index()
    is_paper = means["of"] == _PAPER
    yield (alt.Chart(means[~is_paper]).mark_line(strokeWidth=1.2).encode(x=x, y=y, color=colour))
    yield (
        alt.Chart(data[data["of"] != _PAPER])
        .mark_point(filled=True, size=10, opacity=0.7)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            tooltip=["series", "model_name", "total_params", "score"],
        )
    )
    if is_paper.any():
        yield (
            alt.Chart(means[is_paper])
            .mark_line(strokeWidth=1.2, strokeDash=[4, 3], point=alt.OverlayMarkDef(size=12))
            .encode(x=x, y=y, color=colour)
        )
