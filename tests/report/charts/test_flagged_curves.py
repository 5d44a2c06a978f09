"""Figures of flagged curves and of their intervals: points, order, titles, edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import vl_convert
from figures import SHAPES, SIZES, check_valid, column, observations, rows, scored

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.score import score_curves
from bigbench_meta.report.charts.flagged_curves import plot_curves, plot_intervals

if TYPE_CHECKING:
    from bigbench_meta.curves.build import Curves


@pytest.fixture
def shapes() -> tuple[Curves, pd.DataFrame]:
    return scored(observations(SHAPES))


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
    assert figure.caption.startswith(
        "The 2 flagged curves with the highest emergence scores, of 2:"
    )


def test_a_loss_runs_from_high_to_low() -> None:
    frame = observations(SHAPES)
    frame["pretraining_loss"] = 1e12 / frame["total_params"].astype(float)
    curves = build_curves(frame, scale="pretraining_loss")
    figure = plot_curves(curves, score_curves(curves))
    assert figure is not None
    check_valid(figure)
    x = figure.to_dict()["spec"]["encoding"]["x"]
    assert (x["title"], x["scale"]["reverse"]) == ("pretraining loss", True)
    by_size = plot_curves(*scored(frame))
    assert by_size is not None
    assert "reverse" not in by_size.to_dict()["spec"]["encoding"]["x"]["scale"]


def test_infinite_curves_come_first_and_most_is_obeyed(
    shapes: tuple[Curves, pd.DataFrame],
) -> None:
    figure = plot_curves(*shapes, threshold=2, most=2)
    assert figure is not None
    assert figure.to_dict()["facet"]["sort"][0].startswith("jump\n")
    assert figure.to_dict()["facet"]["sort"][1].startswith("steep\n")
    assert set(figure.data["task"]) == {"jump", "steep"}
    assert figure.caption.startswith(
        "The 2 flagged curves with the highest emergence scores, of 3:"
    )


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
def test_curves_alike_are_drawn_in_panels_of_their_own(frame: pd.DataFrame) -> None:
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


# Intervals ------------------------------------------------------------------------------------


NAN = float("nan")
SCORES = pd.DataFrame(
    {
        "subtask": ["a", "b<&>", "c", "d", "e"],
        "metric": ["exact_str_match"] * 5,
        "metric_type": ["nonlinear", "nonlinear", "linear", "discontinuous", "linear"],
        "model_family": ["F"] * 5,
        "shots": pd.array([0, 1, None, 2, 0], "Int64"),
        "variant": [None] * 5,
        "emergence_score": [150.0, np.inf, 101.0, 400.0, 7.0],
        "emergence_low": [20.0, 120.0, NAN, 4.0, 5.0],
        "emergence_high": [np.inf, np.inf, NAN, 900.0, 9.0],
        "p_above_threshold": [0.7, 1.0, NAN, 0.9, 0.0],
        "line_q_bh": [0.01, 0.01, NAN, 0.5, 0.9],
        "mechanism_q_bh": [0.2, 0.04, NAN, NAN, 0.9],
        "interval_status": ["ok", "ok", "no_sampling_error", "ok", "ok"],
    }
)


def test_rows_marks_and_order():
    figure = plot_intervals(SCORES)
    assert figure is not None
    assert figure.name == "flagged_intervals"
    assert figure.data["subtask"].tolist() == ["b<&>", "a", "d", "c"]
    assert figure.data["step"].tolist() == [
        "beyond the mechanism", "beyond a line only", "beyond neither", "not tested",
    ]  # fmt: skip
    assert "Curves without an interval: 1." in figure.caption
    assert vl_convert.vegalite_to_svg(figure.to_dict()).startswith("<svg")


def test_infinite_ends_stand_at_the_edge_and_all_is_on_the_axis():
    spec = plot_intervals(SCORES).to_dict()
    rows = [row for data in spec["datasets"].values() for row in data if "x_low" in row]
    points = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    low, high = points["encoding"]["x"]["scale"]["domain"]
    for row in rows:
        drawn = [row[name] for name in ("x", "x_low", "x_high") if row[name] is not None]
        assert all(low <= value <= high for value in drawn)
    (infinite,) = {row["x"] for row in rows if row["subtask"] == "b<&>"}
    assert infinite == high
    assert max(row["x_high"] for row in rows if row["subtask"] == "d") < high


def test_the_highest_lower_ends_are_drawn():
    figure = plot_intervals(SCORES, most=2)
    assert len(figure.data) == 2
    assert "Only the 2 of 4" in figure.caption


@pytest.mark.parametrize("threshold", [np.inf, -5.0, 0.0])
def test_a_threshold_off_the_axis_is_not_drawn(threshold: float):
    figure = plot_intervals(SCORES, threshold=threshold)
    marks = [layer["mark"] for layer in figure.to_dict()["layer"]]
    assert len(marks) == 2
    assert vl_convert.vegalite_to_svg(figure.to_dict()).startswith("<svg")


def test_nothing_to_draw():
    assert plot_intervals(SCORES, threshold=np.inf) is not None
    assert plot_intervals(SCORES[4:]) is None


def test_scores_without_inference():
    with pytest.raises(SchemaError, match="missing column mechanism_q_bh"):
        plot_intervals(SCORES.drop(columns="mechanism_q_bh"))
