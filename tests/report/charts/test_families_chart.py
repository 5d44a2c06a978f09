"""Figures of trained families: every score is drawn once, beside what the paper drew."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from bigbench_meta import load_embedded
from bigbench_meta.core.errors import InputError
from bigbench_meta.report.charts.families import plot_families

SIZES = (1000, 4000, 16000)


def observations(family, task, metrics, subtasks=(None,), **more):
    return pd.DataFrame(
        {
            "task": task, "subtask": f"{task}: {subtask}" if subtask else task, "metric": metric,
            "model_family": family, "model_name": f"width {size}", "replicate": f"seed {seed}",
            "total_params": size, "score": place / 10 + seed / 100, **more,
        }
        for metric in metrics
        for subtask in subtasks
        for place, size in enumerate(SIZES)
        for seed in range(2)
    )  # fmt: skip


def panels(figure):
    spec = figure.to_dict()  # which validates
    json.dumps(spec, allow_nan=False)
    return spec["concat"]


def rows_of(figure, panel, mark):
    datasets = figure.to_dict()["datasets"]
    return [
        row
        for layer in panel["layer"]
        if layer["mark"]["type"] == mark and not layer["mark"].get("strokeDash")
        for row in datasets[layer["data"]["name"]]
    ]


def test_points_are_models_and_lines_their_means():
    frame = observations(
        "addition transformers", "sums", ["cross_entropy", "exact_str_match", "log_likelihood"],
        ["length 1", "length 2"],
    )  # fmt: skip
    (figure,) = plot_families(frame)
    assert figure.name == "addition"
    loss, exact = panels(figure)
    assert [panel["title"] for panel in (loss, exact)] == ["Cross-entropy", "Exact match"]
    scales = [panel["layer"][0]["encoding"]["y"]["scale"] for panel in (loss, exact)]
    assert [scale["reverse"] for scale in scales] == [True, False]
    points = rows_of(figure, exact, "point")
    assert sorted(row["score"] for row in points) == sorted(
        frame.loc[frame["metric"] == "exact_str_match", "score"]
    )
    lines = {
        (row["series"], row["total_params"]): row["score"] for row in rows_of(figure, exact, "line")
    }
    assert lines == {
        (f"L = {length}", size): pytest.approx(place / 10 + 0.005)
        for length in (1, 2)
        for place, size in enumerate(SIZES)
    }
    assert "2 seeds of each size" in figure.caption


def test_answers_at_temperature_1_are_left_out():
    greedy = observations("multiplication transformers", "p", ["exact_str_match"], variant="greedy")
    hot = greedy.assign(variant="temperature 1", score=9.0)
    (figure,) = plot_families(pd.concat([greedy, hot]))
    assert figure.data["score"].max() < 1


def test_the_papers_curves_beside_ours():
    ours = observations(
        "LeNet", "digits", ["multiple_choice_grade", "subset_accuracy_6", "brier_score"]
    )
    (figure,) = plot_families(ours)
    paper = load_embedded("paper").query("task == 'MNIST LeNet'")
    drawn = figure.data[figure.data["of"] == "paper"]
    assert sorted(drawn["score"]) == sorted(paper["score"])
    assert set(figure.data["series"]) == {
        "trained here", "paper", "K = 6", "K = 8", "K = 10",
    }  # fmt: skip
    # The paper's curve of a K has the colour of ours, and is black where there is none.
    _, share = panels(figure)
    scale = share["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == ["K = 6", "K = 8", "K = 10"]
    assert scale["range"][0] not in scale["range"][1:]
    assert scale["range"][1:] == ["#000000", "#8C8C8C"]
    assert "Dashed: Fig. 11" in figure.caption


def test_thresholds_have_names():
    ours = observations(
        "shallow autoencoders", "t", ["mean_squared_error", "mean_squared_error<=0.1"]
    )
    (figure,) = plot_families(ours)
    assert {"c = 0.1", "c = 0.003"} <= set(figure.data["series"])
    error, share = panels(figure)
    assert {row["series"] for row in rows_of(figure, error, "point")} == {"trained here"}
    assert {row["series"] for row in rows_of(figure, share, "point")} == {"c = 0.1"}


def test_sizes_that_cannot_be_read_have_a_panel_of_their_own():
    ours = observations(
        "picture transformers", "letters", ["cross_entropy", "exact_str_match"],
        ["length 1", "length 5"],
    )  # fmt: skip
    (figure,) = plot_families(ours)
    loss, _, paper = panels(figure)
    # The loss of a label hardly depends on the length: one line is enough.
    assert {row["series"] for row in rows_of(figure, loss, "line")} == {"L = 5"}
    assert paper["encoding"]["x"]["field"] == "place"
    rows = figure.to_dict()["datasets"][paper["data"]["name"]]
    assert len(rows) == 12


def test_nothing_to_draw():
    with pytest.raises(InputError, match="none of the trained families"):
        plot_families(load_embedded("lamda"))
