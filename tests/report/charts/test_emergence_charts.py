"""Figures: valid Vega-Lite that draws the rows they say, infinite scores at the edge."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd
import pytest
from helpers import plain
from jsonschema import ValidationError

import bigbench_meta as bm
from bigbench_meta.report.charts.emergence import (
    plot_claims_by_metric,
    plot_curves,
    plot_emergence_by_metric,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.charts.emergence import Figure

SIZES = [10**6, 10**7, 10**8, 10**9]
SHAPES = {
    "line": [0.1, 0.2, 0.3, 0.4],  # E = 3
    "jump": [0.0, 0.0, 0.0, 0.9],  # E = inf
    "fall": [0.9, 0.0, 0.0, 0.0],  # E = -inf
    "steep": [0.1, 0.101, 0.102, 0.9],  # E = 800
    "flat": [0.5, 0.5, 0.5, 0.5],  # no E
}


def observations(
    series: dict[str, list[float]], metrics: Iterable[str] = ("bleu",), **columns: Any
) -> pd.DataFrame:
    """Return observations of one model family: tasks by name with a score for each size."""
    rows = [
        {"task": task, "metric": metric, "model_name": f"{size}", "total_params": size, "score": y}
        for task, scores in series.items()
        for metric in metrics
        for size, y in zip(SIZES, scores, strict=True)
    ]
    return pd.DataFrame(rows).assign(**{"benchmark": "B", "model_family": "F"} | columns)


def scored(frame: pd.DataFrame) -> tuple[Curves, pd.DataFrame]:
    curves = bm.build_curves(frame)
    return curves, bm.score_curves(curves)


def scores_of(*values: float, metrics: Iterable[str] = ("bleu",)) -> pd.DataFrame:
    """Return curve scores with these emergence scores, metrics in turn."""
    _, one = scored(observations({"t": SHAPES["line"]}))
    names = list(metrics)
    frame = one.loc[[0] * len(values)].reset_index(drop=True)
    return frame.assign(
        emergence_score=np.array(values, dtype=float),
        task=[f"t{n}" for n in range(len(values))],
        metric=[names[n % len(names)] for n in range(len(values))],
    )


def rows(figure: Figure, index: int = 0) -> list[dict[str, Any]]:
    """Return the rows of the index-th of the data sets inside a specification."""
    found: list[dict[str, Any]] = list(figure.to_dict()["datasets"].values())[index]
    return found


def check_valid(figure: Figure) -> None:
    spec = figure.to_dict()  # which validates
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    json.dumps(spec, allow_nan=False)


def column(data: Iterable[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in data]


@pytest.fixture
def shapes() -> tuple[Curves, pd.DataFrame]:
    return scored(observations(SHAPES))


# Emergence scores by metric -------------------------------------------------------------------


def test_emergence_draws_every_score(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1])
    check_valid(figure)
    assert figure.name == "emergence_by_metric"
    expected = shapes[1].set_index("task")["emergence_score"].drop("flat").to_dict()
    assert dict(zip(figure.data["task"], figure.data["emergence_score"], strict=True)) == expected
    drawn = rows(figure)
    assert column(drawn, "task") == figure.data["task"].tolist()
    finite = {row["task"]: row["emergence_score"] for row in drawn if not row["infinite"]}
    assert finite == {task: e for task, e in expected.items() if math.isfinite(e)}


def test_infinite_scores_stand_at_the_edge(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1])
    x = {row["task"]: row["x"] for row in rows(figure)}
    finite = [abs(x[task]) for task in ("line", "steep")]
    assert x["line"] == pytest.approx(3)
    assert x["steep"] == pytest.approx(800)
    assert x["jump"] == -x["fall"] > max(*finite, 100)
    assert {row["task"] for row in rows(figure) if row["infinite"]} == {"jump", "fall"}
    low, high = figure.to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < x["fall"]
    assert x["jump"] < high


@pytest.mark.parametrize(
    "values", [[math.inf], [-math.inf], [math.inf, -math.inf], [1e9, math.inf], [-3.0]]
)
def test_every_point_is_inside_the_axis(values: list[float]) -> None:
    figure = plot_emergence_by_metric(scores_of(*values))
    check_valid(figure)
    low, high = figure.to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert len(rows(figure)) == len(values)
    assert [x for x in column(rows(figure), "x") if not low < x < high] == []
    assert [math.copysign(1, x) for x in column(rows(figure), "x")] == [
        math.copysign(1, value) for value in figure.data["emergence_score"]
    ]


@pytest.mark.parametrize(("threshold", "flags"), [(100.0, 2), (2.0, 3), (900.0, 1), (-5.0, 3)])
def test_threshold_line(shapes: tuple[Curves, pd.DataFrame], threshold: float, flags: int) -> None:
    figure = plot_emergence_by_metric(shapes[1], threshold=threshold)
    check_valid(figure)
    assert rows(figure, 1) == [{"threshold": threshold}]
    assert f"The line is the threshold, {threshold:g}." in figure.caption
    assert figure.data["flagged"].sum() == flags


def test_no_line_at_an_infinite_threshold(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1], threshold=math.inf)
    check_valid(figure)
    assert len(figure.to_dict()["datasets"]) == 1
    assert "line" not in figure.caption
    assert figure.data.loc[figure.data["flagged"], "task"].tolist() == ["jump"]


def test_beyond_3000_scores_the_highest_are_drawn() -> None:
    values = np.arange(3100.0) * np.where(np.arange(3100) % 2, 1, -1)
    figure = plot_emergence_by_metric(scores_of(*values))
    assert len(figure.data) == len(rows(figure)) == 3000
    assert figure.data["emergence_score"].abs().min() == 100
    assert "The 3000 highest of 3100 scores are drawn." in figure.caption


def test_beyond_40_metrics_those_with_most_flags_are_drawn() -> None:
    metrics = [f"m{n:02}" for n in range(45)]
    values = [500.0 if n % 45 >= 5 else 5.0 for n in range(90)]
    figure = plot_emergence_by_metric(scores_of(*values, metrics=metrics))
    check_valid(figure)
    assert sorted(set(figure.data["metric"])) == metrics[5:]
    assert "Metrics with fewer flags are left out: 5." in figure.caption


def test_few_scores_have_a_short_caption(shapes: tuple[Curves, pd.DataFrame]) -> None:
    caption = plot_emergence_by_metric(shapes[1]).caption
    assert "highest of" not in caption
    assert "left out" not in caption
    assert "  " not in caption


@pytest.mark.parametrize("kept", [[], ["flat"]])
def test_no_scores_to_draw(shapes: tuple[Curves, pd.DataFrame], kept: list[str]) -> None:
    figure = plot_emergence_by_metric(shapes[1][shapes[1]["task"].isin(kept)])
    check_valid(figure)
    assert len(figure.data) == 0
    assert rows(figure) == []


def test_metric_types_keep_their_colours() -> None:
    """A type has one colour, whichever others are drawn."""
    colours: dict[str, set[str]] = {}
    for metrics in (["bleu"], ["bleu", "multiple_choice_grade"], ["own", "multiple_choice_grade"]):
        _, scores = scored(observations({"t": SHAPES["line"]}, metrics, benchmark="BIG-bench"))
        spec = plot_emergence_by_metric(scores).to_dict()
        scale = spec["layer"][0]["encoding"]["color"]["scale"]
        assert sorted(scale["domain"]) == sorted(set(scores["metric_type"].astype(str)))
        for name, colour in zip(scale["domain"], scale["range"], strict=True):
            colours.setdefault(name, set()).add(colour)
    assert sorted(colours) == ["discontinuous", "nonlinear", "unknown"]
    assert [len(found) for found in colours.values()] == [1, 1, 1]


# Flagged curves -------------------------------------------------------------------------------


def test_flagged_curves_are_drawn_point_by_point(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_curves(*shapes)
    assert figure is not None
    check_valid(figure)
    assert figure.name == "flagged_curves"
    points = [(row["task"], row["x"], row["score"]) for row in rows(figure)]
    expected = [(t, s, y) for t in ("jump", "steep") for s, y in zip(SIZES, SHAPES[t], strict=True)]
    assert sorted(points) == sorted(expected)
    assert sorted(figure.data[["task", "x", "score"]].itertuples(index=False, name=None)) == sorted(
        expected
    )
    assert figure.caption.startswith("The 2 highest of 2 flagged curves")


def test_infinite_curves_come_first_and_most_is_obeyed(
    shapes: tuple[Curves, pd.DataFrame],
) -> None:
    figure = plot_curves(*shapes, threshold=2, most=2)
    assert figure is not None
    assert figure.to_dict()["facet"]["sort"][0].startswith("jump\n")
    assert figure.to_dict()["facet"]["sort"][1].startswith("steep\n")
    assert set(figure.data["task"]) == {"jump", "steep"}
    assert figure.caption.startswith("The 2 highest of 3 flagged curves")


@pytest.mark.parametrize("threshold", [1000.0, math.inf])
def test_no_flagged_curve_no_figure(threshold: float) -> None:
    curves, scores = scored(observations({"t": SHAPES["steep"], "f": SHAPES["fall"]}))
    assert plot_curves(curves, scores, threshold=threshold) is None


def test_no_curves_no_figure(shapes: tuple[Curves, pd.DataFrame]) -> None:
    assert plot_curves(shapes[0], shapes[1].iloc[:0]) is None


def test_a_selection_of_scores_draws_the_right_curves(
    shapes: tuple[Curves, pd.DataFrame],
) -> None:
    curves, scores = shapes
    figure = plot_curves(curves, scores[scores["task"] == "steep"])
    assert figure is not None
    assert figure.data["score"].tolist() == SHAPES["steep"]


JUMP = SHAPES["jump"]
ALIKE = {
    "families": pd.concat(
        [observations({"t": JUMP}, model_family=family) for family in ("F", "G")]
    ),
    "long names": observations({f"{'long ' * 10}{end}": JUMP for end in "ab"}),
    "benchmarks": pd.concat(
        [observations({"t": JUMP}, benchmark=benchmark) for benchmark in ("B", "C")]
    ),
    "tasks of one subtask": pd.concat(
        [observations({task: JUMP}, subtask="same") for task in ("t", "u")]
    ),
    "metrics": observations({"t": JUMP}, ["bleu", "exact_str_match"]),
    "shots": pd.concat([observations({"t": JUMP}, shots=shots) for shots in (0, 1, None)]),
    "variants": pd.concat([observations({"t": JUMP}, variant=v) for v in ("a", "b", None)]),
}


@pytest.mark.parametrize("frame", ALIKE.values(), ids=ALIKE)
def test_curves_alike_are_drawn_apart(frame: pd.DataFrame) -> None:
    """Two curves under one title would be drawn as one line in one panel."""
    curves, scores = scored(frame)
    figure = plot_curves(curves, scores)
    assert figure is not None
    check_valid(figure)
    data = pd.DataFrame(rows(figure))
    assert data["title"].nunique() == len(curves) > 1
    assert set(data["title"]) == set(figure.to_dict()["facet"]["sort"])
    key = ["benchmark", "task", "subtask", "metric", "model_family", "shots", "variant"]
    assert len(data.drop_duplicates(["title", *key])) == len(curves)


def test_titles_say_what_is_drawn() -> None:
    frame = observations({"t": JUMP, "u": SHAPES["steep"]}, shots=1, variant="CoT")
    figure = plot_curves(*scored(frame))
    assert figure is not None
    assert figure.to_dict()["facet"]["sort"] == [
        "t\nbleu, 1 shot, CoT, E = ∞",
        "u\nbleu, 1 shot, CoT, E = 800",
    ]


@pytest.mark.parametrize("name", ["{{x}}", "two\nlines", "'quoted'", "<script>", "%", "\\n", "α→β"])
def test_names_are_drawn_as_they_are(name: str) -> None:
    figure = plot_curves(*scored(observations({name: JUMP})))
    assert figure is not None
    check_valid(figure)
    assert set(column(rows(figure), "task")) == {name}


# Claims ---------------------------------------------------------------------------------------


def test_claims_are_those_of_the_table() -> None:
    claims = bm.claims_by_metric()
    figure = plot_claims_by_metric(claims)
    check_valid(figure)
    with_claims = claims[claims["n_claims"] > 0]
    drawn = rows(figure)
    assert column(drawn, "metric") == with_claims["metric"].tolist()
    assert column(drawn, "n_claims") == with_claims["n_claims"].tolist()
    assert figure.data["metric"].tolist() == with_claims["metric"].tolist()
    total = claims["n_claims"].sum()
    # The expectation: all claims, spread over annotated tasks by chance.
    expected = with_claims["n_tasks"] / claims["n_tasks"].sum() * total
    assert figure.data["expected"].tolist() == pytest.approx(expected.tolist())


def test_no_claims() -> None:
    figure = plot_claims_by_metric(bm.claims_by_metric().iloc[:0])
    check_valid(figure)
    assert plain(figure.data) == []


# Figures as such ------------------------------------------------------------------------------


def test_what_is_written_is_read_again(shapes: tuple[Curves, pd.DataFrame]) -> None:
    """The specification itself is valid, not only the chart it was made from."""
    drawn = [plot_emergence_by_metric(shapes[1]), plot_curves(*shapes)]
    for figure in [*drawn, plot_claims_by_metric(bm.claims_by_metric())]:
        assert figure is not None
        spec = figure.to_dict()
        alt.Chart.from_dict(spec)
        with pytest.raises(ValidationError):
            alt.Chart.from_dict(spec | {"config": {"view": 5}})


def test_figure_shows_itself_in_jupyter(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1])
    with alt.renderers.enable("mimetype"):
        bundle = figure._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle  # with metadata or without
    kind = next(name for name in data if name.startswith("application/vnd.vegalite"))
    assert data[kind]["layer"]


def test_making_a_figure_leaves_the_scores_alone(shapes: tuple[Curves, pd.DataFrame]) -> None:
    before = shapes[1].copy(deep=True)
    plot_emergence_by_metric(shapes[1])
    plot_curves(*shapes)
    pd.testing.assert_frame_equal(shapes[1], before)


def test_a_specification_is_the_same_every_time(shapes: tuple[Curves, pd.DataFrame]) -> None:
    first, second = (plot_emergence_by_metric(shapes[1]).to_dict() for _ in range(2))
    assert first == second
