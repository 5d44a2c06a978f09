"""Scores against the size of models: the curves of one's choice, or the flagged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted, did_you_mean, drawable
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.report.charts.figure import (
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
    with_texts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    # The key of a panel's curve, what of it stands in the title, and what stands behind that.
    _Panel = tuple[pd.Series[Any], Sequence[str], str]

__all__ = ["plot_curves"]

SCORE, CHANCE, HUMAN = "score", "chance", "human"
_MOST_LINES: Final = 8
_OF_A_LINE: Final = ("model_family", "shots", "variant")
_OF_A_PANEL: Final = ["benchmark", "task", "subtask", "metric"]


def plot_curves(
    curves: Curves,
    scores: pd.DataFrame | None = None,
    *,
    task: str | Sequence[str] | None = None,
    metric: str | Sequence[str] | None = None,
    family: str | Sequence[str] | None = None,
    human: Mapping[str, float] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    most: int = 12,
    catalog: MetricCatalog | None = None,
) -> Figure:
    """Draw the chosen curves, metrics side by side, or those with the highest emergence scores.

    Args:
        curves: The curves.
        scores: Their scores, the index being positions in ``curves`` (a selection of the rows of
            :func:`bigbench_meta.score_curves` has it): only these curves are drawn. By default all
            curves, scored.
        task: Names of tasks or subtasks. A task's aggregate row is drawn where there is one, else
            its subtasks.
        metric: Names of metrics, in the order of the panels.
        family: Names of model families.
        human: Score of people by task or subtask, in the unit of the scores.
        threshold: Curves with a score above it are flagged.
        most: Panels at most. Without a choice, infinite scores come first, among them the largest
            range first.
        catalog: Metric catalog, for chance and errors; the packaged one by default.

    Returns:
        The figure. Of chosen curves: a panel a task and metric, a line a model family, number of
        shots and variant. Without a choice a panel a flagged curve, or, if none is flagged, a curve
        with one of the highest scores; the caption says which. Bars are 95% intervals where errors
        or numbers of examples are known, dashed lines the level of chance where it is known.

    Raises:
        InputError: A name is unknown, the names have no curve in common, or no curve has a score.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded("lamda"))
        >>> figure = plot_curves(curves, task="strategyqa",
        ...                      metric=["multiple_choice_grade", "chosen_option_brier"])
        >>> sorted(set(figure.data["metric"]))
        ['chosen_option_brier', 'multiple_choice_grade']
    """
    choice = {"task": _names(task), "metric": _names(metric), "family": _names(family)}
    is_chosen = any(names is not None for names in choice.values())
    candidates = np.arange(len(curves)) if scores is None else scores.index.to_numpy()
    if is_chosen:
        rows = _matching(curves.keys.loc[candidates], choice)
        drawn, panels, says = _chosen_panels(rows, choice, most)
    else:
        from bigbench_meta.inference.score import score_curves

        scored = score_curves(curves) if scores is None else scores
        drawn, panels, says = _sharpest_panels(scored, threshold, most)
    # One row of panels a task, if its metrics fit into one.
    n_metrics = len(choice["metric"] or ())
    width, columns = across(len(panels), most=n_metrics if 1 < n_metrics <= 4 else 4)
    room = panel_width(width, columns)
    titles = unlike(curve_title(row, parts, last, room=room) for row, parts, last in panels)
    drawn["title"] = [titles[number] for number in drawn["panel"]]
    names = list(dict.fromkeys(drawn["line"]))
    data = _points(curves, drawn, human or {}, catalog)
    data["scale"] = data["scale"].astype(str)
    drawn_errors = data["low"].notna().any()
    return Figure(
        name="curves" if is_chosen else "flagged_curves",
        caption=caption(
            says,
            "Scores are in the unit of the result file, models on a logarithmic axis of size.",
            "Panels have vertical axes of their own, so compare their numbers before their shapes."
            if len(titles) > 1
            else "",
            "Bars are 95% intervals." if drawn_errors else "",
            "The dashed line is chance." if (data["part"] == CHANCE).any() else "",
            "The dotted line is the score of people." if (data["part"] == HUMAN).any() else "",
        ),
        chart=styled(_chart(data, titles, names, room, columns), width),
        data=data.drop(columns="title"),
        width=width,
    )


def _names(value: str | Sequence[str] | None) -> list[str] | None:
    return [value] if isinstance(value, str) else None if value is None else list(value)


def _matching(keys: pd.DataFrame, choice: dict[str, list[str] | None]) -> pd.DataFrame:
    """Return the keys of the chosen curves, in the order in which the names were given."""
    text = keys[["task", "subtask", "metric", "model_family"]].astype(str)
    text = text.rename(columns={"model_family": "family"})
    chosen = pd.Series(data=True, index=keys.index)
    rank = pd.DataFrame(index=keys.index)
    for column, names in choice.items():
        if names is None:
            continue
        place = pd.Series(np.nan, index=keys.index)
        for number, name in enumerate(names):
            own = text[column] == name
            if column == "task":
                whole = text["subtask"] == name
                own = whole if whole.any() else own
            if not own.any():
                known = {*text[column], *(text["subtask"] if column == "task" else ())}
                raise InputError(
                    f"no curve of {name!r}", where=column,
                    hint=did_you_mean(name, sorted(known), f"names of a {column}"),
                )  # fmt: skip
            place[own & place.isna()] = number
        chosen &= place.notna()
        rank[column] = place
    if not chosen.any():
        given = {column: names for column, names in choice.items() if names is not None}
        raise InputError(
            "no curve of these together", where=", ".join(given), hint=_what_there_is(text, given)
        )
    order = [name for name in ("task", "metric", "family") if name in rank]
    return keys.loc[rank[chosen].sort_values(order, kind="stable").index]


def _what_there_is(text: pd.DataFrame, given: dict[str, list[str]]) -> str:
    """Say what the first of the names is scored under, or by."""
    column, names = next(iter(given.items()))
    own = text[column].isin(names)
    if column == "task":
        own |= text["subtask"].isin(names)
    others = [name for name in ("metric", "family") if name in given and name != column]
    found = [f"{name}: {', '.join(sorted(set(text.loc[own, name])))}" for name in others]
    return f"{', '.join(names)} has {'; '.join(found)}"


def _chosen_panels(
    keys: pd.DataFrame, choice: dict[str, list[str] | None], most: int
) -> tuple[pd.DataFrame, list[_Panel], str]:
    """Return keys of the drawn curves with panel and line, parts of the titles, and a text."""
    panel = keys.groupby(_OF_A_PANEL, sort=False, observed=True, dropna=False).ngroup()
    keys = keys.assign(panel=panel, line=_lines(keys))
    n_panels, n_curves = panel.nunique(), len(keys)
    keys = keys[keys["panel"].isin(panel.unique()[:most])]
    lines = list(dict.fromkeys(keys["line"]))
    keys = keys[keys["line"].isin(lines[:_MOST_LINES])]
    firsts = keys.drop_duplicates("panel")
    several = ["benchmark"] if len(set(keys["benchmark"])) > 1 else []
    panels: list[_Panel] = [(row, (*several, "metric"), "") for _, row in firsts.iterrows()]
    number = {panel: place for place, panel in enumerate(firsts["panel"])}
    left = [
        f"{n_panels - len(panels)} of {n_panels} panels are not drawn."
        if n_panels > len(panels)
        else "",
        f"Only {_MOST_LINES} of {len(lines)} lines are drawn." if len(lines) > _MOST_LINES else "",
    ]
    texts = [", ".join(drawable(name) for name in dict.fromkeys(keys[column].astype(str)))
             for column in ("subtask", "metric", "model_family")]  # fmt: skip
    if choice["task"] is None and len(panels) > 1:
        texts[0] = counted(keys["subtask"].nunique(), "task")
    return (
        keys.assign(panel=keys["panel"].map(number)),
        panels,
        caption(f"{texts[0]}: {texts[1]} of {texts[2]} ({counted(n_curves, 'curve')}).", *left),
    )


def _lines(keys: pd.DataFrame) -> list[str]:
    """Return a name for the line of each curve: what of it differs between curves."""
    differ = [name for name in _OF_A_LINE if len(keys[name].drop_duplicates()) > 1]
    found = []
    for _, row in keys[differ].iterrows():
        parts = [
            counted(int(row[name]), "shot") if name == "shots" else drawable(str(row[name]))
            for name in differ
            if pd.notna(row[name]) and str(row[name])
        ]
        found.append(", ".join(parts) or ("others" if differ else ""))
    return found


def _sharpest_panels(
    scores: pd.DataFrame, threshold: float, most: int
) -> tuple[pd.DataFrame, list[_Panel], str]:
    """Return the same of the flagged curves, or of those with the highest scores if none is."""
    flags = flagged(scores, threshold)
    known = scores[flags if flags.any() else scores["emergence_score"].notna()]
    if known.empty:
        raise InputError("none of the curves has an emergence score", where="scores")
    known = known.assign(range=known["score_max"] - known["score_min"])
    known = known.sort_values(["emergence_score", "range"], ascending=False, kind="stable")
    rows = known.head(most)
    several = len(set(rows["model_family"].astype(str))) > 1
    columns = ("model_family", "metric", "shots", "variant")[0 if several else 1 :]
    panels: list[_Panel] = [
        (row, columns, f"E = {_number(row['emergence_score'])}") for _, row in rows.iterrows()
    ]
    if not flags.any():
        drawn = f"{len(rows)} highest are" if len(rows) > 1 else "highest is"
        says = f"No emergence score is above {threshold:g}; of {len(known)}, the {drawn} drawn."
    elif len(rows) < len(known):
        says = f"The {len(rows)} of {len(known)} flagged curves with the highest emergence scores."
    else:
        says = "The only flagged curve." if len(known) == 1 else f"All {len(known)} flagged curves."
    order_only = "The emergence score E uses only the order of the models, not their distances."
    return rows.assign(panel=range(len(rows)), line=""), panels, caption(says, order_only)


def _number(score: float) -> str:
    return ("−" if score < 0 else "") + ("∞" if np.isinf(score) else f"{abs(score):.0f}")


def _points(
    curves: Curves, drawn: pd.DataFrame, human: Mapping[str, float], catalog: MetricCatalog | None
) -> pd.DataFrame:
    """Return a row for each point with its interval, and one for each line of chance or people."""
    mask: NDArray[np.bool_] = np.isin(np.arange(len(curves)), drawn.index)
    own = curves[mask]
    points, shares = own.points(catalog=catalog), proportions(own, catalog=catalog)
    level = shares.point_scores(shares.chance[shares.curve])
    points["curve"] = np.flatnonzero(mask)[points["curve"]]
    points = points.assign(
        part=SCORE,
        chance=level,
        title=points["curve"].map(drawn["title"]),
        line=points["curve"].map(drawn["line"]),
        metric_type=points["curve"].map(curves.keys["metric_type"].astype(str)),
    )
    place = {row: number for number, row in enumerate(drawn.index)}
    points = points.sort_values("curve", key=lambda rows: rows.map(place), kind="stable")
    chance = points.assign(part=CHANCE, score=points["chance"])
    named = points["subtask"].astype(str).map(human)
    named = named.fillna(points["task"].astype(str).map(human)).astype(float)
    lines = [
        rows[rows["score"].notna()].drop_duplicates(["title", "score"])
        for rows in (chance, points.assign(part=HUMAN, score=named))
    ]
    blank = {"low": np.nan, "high": np.nan, "stderr": np.nan, "spread": np.nan}
    both = pd.concat(
        [points, *(rows.assign(x=np.nan, model_name="", **blank) for rows in lines if len(rows))],
        ignore_index=True,
    )
    shown = ["part", *_OF_A_PANEL, "metric_type", *_OF_A_LINE, "scale", "title", "line",
             "model_name", "x", "score", "low", "high", "n_examples"]  # fmt: skip
    return with_texts(both[shown])


def _chart(
    data: pd.DataFrame, titles: list[str], names: list[str], width: int, columns: int
) -> Any:
    axes = sorted(set(data["scale"]))
    marks = series_marks("line", names, room=columns * width)
    x = scale_axis("x", axes, data["x"])
    base = alt.Chart().encode(x=x).transform_filter(f"datum.part === '{SCORE}'")
    y = score_axis("score", "Score", tickCount=5 if columns == 1 else 3)
    # Without an interval a bar of no length: a panel of none at all would have no extent.
    bars = base.transform_calculate(
        from_="isValid(datum.low) ? datum.low : datum.score",
        to="isValid(datum.high) ? datum.high : datum.score",
    ).mark_rule(strokeWidth=0.8)
    layers = [
        *(_level(part, dash) for part, dash in ((CHANCE, [4, 3]), (HUMAN, [1, 2]))
          if (data["part"] == part).any()),
        bars.encode(
            y=alt.Y("from_:Q", title="Score"), y2="to:Q", color=marks["color"]
        ),
        base.mark_line(strokeWidth=1.2).encode(
            y=y, color=marks["color"], strokeDash=marks["strokeDash"]
        ),
        base.mark_point(filled=True, size=18, opacity=1).encode(
            y=y, color=marks["color"], shape=marks["shape"],
            tooltip=["model_name", "x", "score", "low", "high"],
        ),
    ]  # fmt: skip
    chart = alt.layer(*layers, data=data).properties(width=width, height=round(width * 0.72))
    return facets(chart, titles, columns=columns, same_scale=len(axes) == 1)


def _level(part: str, dash: list[int]) -> alt.Chart:
    base = alt.Chart().transform_filter(f"datum.part === '{part}'").encode(
        y=alt.Y("score:Q", title="Score")
    )  # fmt: skip
    found: alt.Chart = base.mark_rule(strokeDash=dash, color="#444444", strokeWidth=1)
    return found
