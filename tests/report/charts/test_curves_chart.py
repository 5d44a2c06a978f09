"""Curves as drawn: those of one's choice and the flagged ones, errors, chance, people, titles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from figures import SHAPES, SIZES, check_valid, column, observations, rows, scored

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.score import score_curves
from bigbench_meta.report.charts.curves import plot_curves
from bigbench_meta.report.files import figure_files

if TYPE_CHECKING:
    from bigbench_meta.curves.build import Curves


@pytest.fixture
def shapes() -> tuple[Curves, pd.DataFrame]:
    return scored(observations(SHAPES))


def points(figure: bm.Figure) -> pd.DataFrame:
    return figure.data[figure.data["part"] == "score"]


# Flagged curves -------------------------------------------------------------------------------


def test_flagged_curves_are_drawn_point_by_point(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_curves(*shapes)
    check_valid(figure)
    assert figure.name == "flagged_curves"
    drawn = [row for row in rows(figure) if row["part"] == "score"]
    expected = [(t, s, y) for t in ("jump", "steep") for s, y in zip(SIZES, SHAPES[t], strict=True)]
    assert sorted((row["task"], row["x"], row["score"]) for row in drawn) == sorted(expected)
    own = points(figure)[["task", "x", "score"]]
    assert sorted(own.itertuples(index=False, name=None)) == sorted(expected)
    assert figure.caption.startswith("All 2 flagged curves.")


def x_axis(figure: bm.Figure) -> Any:
    layers = figure.to_dict()["spec"]["layer"]
    return next(layer["encoding"]["x"] for layer in layers if "x" in layer["encoding"])


def test_a_loss_runs_from_high_to_low() -> None:
    frame = observations(SHAPES)
    frame["pretraining_loss"] = 1e12 / frame["total_params"].astype(float)
    curves = build_curves(frame, scale="pretraining_loss")
    figure = plot_curves(curves, score_curves(curves))
    check_valid(figure)
    x = x_axis(figure)
    assert (x["title"], x["scale"]["reverse"]) == ("Pretraining loss", True)
    by_size = plot_curves(*scored(frame))
    assert "reverse" not in x_axis(by_size)["scale"]
    assert x_axis(by_size)["title"] == "Parameters"


def test_infinite_curves_come_first_and_most_is_obeyed(
    shapes: tuple[Curves, pd.DataFrame],
) -> None:
    figure = plot_curves(*shapes, threshold=2, most=2)
    assert figure.to_dict()["facet"]["sort"][0].startswith("jump\n")
    assert figure.to_dict()["facet"]["sort"][1].startswith("steep\n")
    assert set(figure.data["task"]) == {"jump", "steep"}
    assert figure.caption.startswith("The 2 of 3 flagged curves with the highest emergence scores.")


@pytest.mark.parametrize("threshold", [1000.0, math.inf])
def test_without_a_flagged_curve_the_sharpest_are_drawn_and_it_is_said(threshold: float) -> None:
    curves, scores = scored(observations({"t": SHAPES["steep"], "f": SHAPES["fall"]}))
    figure = plot_curves(curves, scores, threshold=threshold, most=1)
    assert set(figure.data["task"]) == {"t"}
    assert figure.caption.startswith(
        f"No emergence score is above {threshold:g}; of 2, the highest is drawn."
    )


def test_scores_are_computed_where_none_are_given(shapes: tuple[Curves, pd.DataFrame]) -> None:
    assert plot_curves(shapes[0]).to_dict() == plot_curves(*shapes).to_dict()


def test_nothing_to_draw_is_an_error(shapes: tuple[Curves, pd.DataFrame]) -> None:
    with pytest.raises(InputError, match="none of the curves has an emergence score"):
        plot_curves(shapes[0], shapes[1].iloc[:0])


def test_a_selection_of_scores_draws_the_right_curves(
    shapes: tuple[Curves, pd.DataFrame],
) -> None:
    curves, scores = shapes
    figure = plot_curves(curves, scores[scores["task"] == "steep"])
    assert points(figure)["score"].tolist() == SHAPES["steep"]


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
    check_valid(figure)
    data = pd.DataFrame(rows(figure))
    assert data["title"].nunique() == len(curves) > 1
    assert set(data["title"]) == set(figure.to_dict()["facet"]["sort"])
    key = ["benchmark", "task", "subtask", "metric", "model_family", "shots", "variant"]
    assert len(data.drop_duplicates(["title", *key])) == len(curves)


def test_titles_say_what_is_drawn() -> None:
    frame = observations({"t": JUMP, "u": SHAPES["steep"]}, shots=1, variant="CoT")
    figure = plot_curves(*scored(frame))
    assert figure.to_dict()["facet"]["sort"] == [
        "t\nbleu, 1 shot, CoT,\nE = ∞",
        "u\nbleu, 1 shot, CoT,\nE = 800",
    ]


@pytest.mark.parametrize("name", ["{{x}}", "two\nlines", "'quoted'", "<script>", "%", "\\n", "α→β"])
def test_names_are_drawn_as_they_are(name: str) -> None:
    figure = plot_curves(*scored(observations({name: JUMP})))
    check_valid(figure)
    assert set(column(rows(figure), "task")) == {name}


# Chosen curves --------------------------------------------------------------------------------


LAMDA = bm.build_curves(bm.load_embedded("lamda"))
TWO = ["multiple_choice_grade", "chosen_option_brier"]


def test_metrics_stand_side_by_side_in_the_order_given() -> None:
    figure = plot_curves(LAMDA, task=["strategyqa", "novel_concepts"], metric=TWO)
    spec = check(figure)
    assert figure.name == "curves"
    assert spec["columns"] == 2
    titles = [title.replace("\n", " ") for title in spec["facet"]["sort"]]
    assert titles == [f"{task} {name}" for task in ("strategyqa", "novel_concepts") for name in TWO]
    keys = LAMDA.keys
    own = keys["task"].isin(["strategyqa", "novel_concepts"]) & keys["metric"].isin(TWO)
    expected = LAMDA[own].points()
    drawn = points(figure)
    assert sorted(drawn["score"]) == sorted(expected["score"])
    assert (drawn["low"] <= drawn["score"]).all()
    assert (drawn["high"] >= drawn["score"]).all()
    assert "95% intervals" in figure.caption


def check(figure: bm.Figure) -> dict[str, Any]:
    check_valid(figure)
    return figure.to_dict()


def test_errors_are_those_of_the_test_set_or_of_the_file() -> None:
    counts = observations({"t": [0.1, 0.2, 0.3, 0.4]}, ["exact_str_match"], n_examples=100)
    drawn = points(plot_curves(bm.build_curves(counts), task="t"))
    judged = bm.wei_points(bm.build_curves(counts))
    assert drawn["low"].tolist() == judged["low"].tolist()
    given = observations({"t": [10.0, 20.0, 30.0, 40.0]}, stderr=2.0)
    drawn = points(plot_curves(bm.build_curves(given), task="t"))
    assert (drawn["high"] - drawn["score"]).tolist() == pytest.approx([2 * 1.96] * 4, abs=1e-3)
    bare = plot_curves(bm.build_curves(observations({"t": [10.0, 20.0, 30.0, 40.0]})), task="t")
    assert points(bare)["low"].isna().all()
    assert "Bars" not in bare.caption


def test_chance_and_people_are_lines_and_only_where_known() -> None:
    figure = plot_curves(LAMDA, task="novel_concepts", metric=TWO, human={"novel_concepts": 0.7})
    levels = figure.data.set_index(["part", "metric"])["score"]
    assert float(levels["chance", TWO[0]]) == pytest.approx(0.19375)
    assert ("chance", TWO[1]) not in levels.index
    assert levels["human"].tolist() == [0.7, 0.7]
    assert "dashed line is chance" in figure.caption
    assert "dotted line is the score of people" in figure.caption
    assert "people" not in plot_curves(LAMDA, task="novel_concepts").caption


def test_families_shots_and_variants_are_lines_of_a_panel() -> None:
    frame = pd.concat(
        [observations({"t": JUMP}, model_family=family, shots=shots)
         for family in ("F", "G") for shots in (0, 1, 5)]
    )  # fmt: skip
    curves = bm.build_curves(frame)
    figure = plot_curves(curves, task="t", metric="bleu")
    assert set(figure.data["line"]) == {f"{f}, {s}" for f in "FG" for s in
                                        ("0 shots", "1 shot", "5 shots")}  # fmt: skip
    assert len(check(figure)["facet"]["sort"]) == 1
    marks = figure.to_dict()["spec"]["layer"][-1]["encoding"]
    assert len(set(marks["color"]["scale"]["range"])) == len(marks["shape"]["scale"]["range"]) == 6
    assert set(plot_curves(curves, family="G").data["model_family"]) == {"G"}
    many = pd.concat([observations({"t": JUMP}, shots=shots) for shots in range(10)])
    assert "Only 8 of 10 lines" in plot_curves(bm.build_curves(many), task="t").caption


def test_a_task_is_its_aggregate_row_or_its_subtasks() -> None:
    parts = [observations({"t": JUMP}, subtask=name) for name in ("t", "t:a", "t:b")]
    whole = bm.build_curves(pd.concat(parts))
    assert set(plot_curves(whole, task="t").data["subtask"]) == {"t"}
    assert set(plot_curves(whole, task="t:a").data["subtask"]) == {"t:a"}
    assert set(plot_curves(bm.build_curves(pd.concat(parts[1:])), task="t").data["subtask"]) == {
        "t:a", "t:b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            {"task": "strategyaq"},
            "task: no curve of 'strategyaq'\nHint: did you mean 'strategyqa'?",
        ),
        ({"metric": "multiple_choice"}, "did you mean 'multiple_choice_grade'?"),
        ({"family": "BIG-G"}, "family: no curve of 'BIG-G'\nHint: did you mean 'BIG-G T=0'?"),
        (
            {"task": "strategyqa", "metric": "exact_str_match"},
            "Hint: strategyqa has metric: chosen_option_brier, multiple_choice_grade",
        ),
    ],
)
def test_what_is_not_there_is_an_error_with_near_names(choice: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        plot_curves(LAMDA, **choice)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["<script>", "{{x}}", "a\x00b", "long_name " * 20])
def test_hostile_names_of_chosen_curves_are_text(name: str) -> None:
    figure = plot_curves(bm.build_curves(observations({name: JUMP}, metrics=[name])), task=name)
    svg = figure_files(figure)["figures/curves.svg"]
    assert isinstance(svg, str)
    assert "<script" not in svg
    assert "\x00" not in svg
