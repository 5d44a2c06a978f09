"""Figures after the paper's Fig. 2: what they draw, where it stands, and that it is valid."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
import vl_convert

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.simulation import simulate
from bigbench_meta.report.charts.mirage import plot_mirage

PANELS = {
    "mirage_a_loss": "cross_entropy",
    "mirage_b_probability": "token_accuracy",
    "mirage_c_accuracy": "exact_str_match",
    "mirage_c_accuracy_log": "exact_str_match",
    "mirage_d_multiple_choice_grade": "multiple_choice_grade",
    "mirage_e_token_edit_distance": "token_edit_distance",
    "mirage_f_brier_score": "brier_score",
}
SMALL = {"target_lengths": [1, 5], "n_choices": [2], "scales": [1e9, 1e10, 1e11]}


def figures(*frames):
    return {figure.name: figure for figure in plot_mirage(pd.concat(frames, ignore_index=True))}


def layers(figure):
    """Return each layer's mark and the rows that it draws."""
    spec = figure.to_dict()
    found = []
    for layer in spec["layer"]:
        rows = spec["datasets"][layer["data"]["name"]]
        found.append((layer["mark"]["type"], rows, layer["encoding"]))
    return found


def drawn(figure, mark):
    return [(rows, encoding) for kind, rows, encoding in layers(figure) if kind == mark]


def check_valid(figure):
    spec = figure.to_dict()  # which validates
    json.dumps(spec, allow_nan=False)
    assert figure.caption.endswith(".")
    return spec


@pytest.fixture(scope="module")
def expected():
    return figures(simulate(**SMALL))


def test_panels(expected):
    assert list(expected) == ["mirage", *PANELS]
    for name, metric in PANELS.items():
        check_valid(expected[name])
        assert set(expected[name].data["metric"]) == {metric}
        assert len(expected[name].data) == 3 * expected[name].data["task"].nunique()


def test_rouge_has_a_panel():
    found = figures(simulate(scales=[1e9, 1e11], target_lengths=[], n_choices=[],
                             rouge_lengths=[4], n_references=[1, 4]))  # fmt: skip
    assert list(found) == ["mirage", "mirage_a_loss", "mirage_b_probability", "mirage_rouge"]
    assert found["mirage_rouge"].data["task"].nunique() == 3


def test_all_panels_together(expected):
    spec = check_valid(expected["mirage"])
    titles = [panel["title"][0] for panel in spec["concat"]]
    assert titles == ["A", "B", "C", "C", "D", "E", "F"]
    # Exact match is drawn twice and has its rows once.
    assert len(expected["mirage"].data) == sum(len(f.data) for f in expected.values()) - (
        len(expected["mirage"].data) + len(expected["mirage_c_accuracy"].data)
    )


def test_a_panel_draws_its_scores(expected):
    figure = expected["mirage_c_accuracy"]
    scores = figure.data.set_index(["task", "total_params"])["score"]
    for mark in ("line", "point"):
        ((rows, _),) = drawn(figure, mark)
        assert {(row["task"], row["total_params"]): row["score"] for row in rows} == (
            scores.to_dict()
        )
    assert drawn(figure, "rule") == []


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("mirage_a_loss", {"type": "log"}),
        ("mirage_c_accuracy", {"zero": True, "reverse": False}),
        ("mirage_c_accuracy_log", {"type": "log", "domain": [1e-6, 1.0], "nice": False}),
        ("mirage_e_token_edit_distance", {"zero": True, "reverse": True}),
        ("mirage_f_brier_score", {"zero": True, "reverse": True}),
    ],
)
def test_axes(expected, name, scale):
    for mark in ("line", "point"):
        ((_, encoding),) = drawn(expected[name], mark)
        assert encoding["y"]["scale"] == scale
        assert encoding["x"]["scale"]["type"] == "log"


def test_expected_scores_are_lines_and_sampled_ones_points():
    found = figures(simulate(**SMALL), simulate(n_examples=50, **SMALL))
    figure = found["mirage_c_accuracy"]
    check_valid(figure)
    ((lines, _),), ((points, _),) = drawn(figure, "line"), drawn(figure, "point")
    assert {row["variant"] for row in lines} == {"expected"}
    assert {row["variant"] for row in points} == {"50 examples"}
    assert len(lines) == len(points) == 6
    ((bars, encoding),) = drawn(figure, "rule")
    assert bars
    for row in bars:
        assert (row["low"], row["high"]) == (
            pytest.approx(row["score"] - row["stderr"]), pytest.approx(row["score"] + row["stderr"])
        )  # fmt: skip
    assert (encoding["y"]["field"], encoding["y2"]["field"]) == ("low", "high")


def test_sampled_scores_alone():
    sampled = simulate(n_examples=50, **SMALL)
    figure = figures(sampled[sampled["task"] != "next token"])["mirage_c_accuracy"]
    ((lines, _),), ((points, _),) = drawn(figure, "line"), drawn(figure, "point")
    assert lines == points
    assert len(points) == 6


def test_zeros_on_a_logarithmic_axis():
    found = figures(simulate(n_examples=50, seed=1, **SMALL))
    linear, log = found["mirage_c_accuracy"], found["mirage_c_accuracy_log"]
    zeros = int((linear.data["score"] == 0).sum())
    assert zeros > 0
    assert f"a logarithmic axis cannot show: {zeros}." in log.caption
    assert "no place" not in linear.caption
    ((points, _),) = drawn(log, "point")
    assert min(row["score"] for row in points) > 0
    assert len(points) == 6 - zeros
    bars, resolution = drawn(log, "rule")
    assert min(row["low"] for row in bars[0]) >= 1e-6
    assert resolution[0] == [{"resolution": 0.02}]
    assert "1/n" in log.caption


def test_scores_too_small_for_any_test_set_are_no_points():
    figure = figures(simulate(scales=[1e9, 1e11], target_lengths=[36], n_choices=[]))[
        "mirage_c_accuracy_log"
    ]
    ((points, _),), ((lines, _),) = drawn(figure, "point"), drawn(figure, "line")
    assert [row["total_params"] for row in points] == [10**11]
    assert len(lines) == 2


def test_two_families_are_told_apart():
    found = figures(simulate(**SMALL), simulate(alpha=-0.5, **SMALL))
    spec = check_valid(found["mirage_a_loss"])
    domain = spec["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert domain == [
        "next token, alpha = -1, c = 10000000000", "next token, alpha = -0.5, c = 10000000000",
    ]  # fmt: skip


def test_many_series_have_a_colour_each():
    found = figures(simulate(target_lengths=range(1, 12), n_choices=[]))
    color = drawn(found["mirage_c_accuracy"], "line")[0][1]["color"]
    assert len(color["scale"]["domain"]) == len(color["scale"]["range"]) == 11


def test_an_infinite_loss_is_not_drawn():
    observations = simulate(scales=[1.0, 1e9, 1e10], alpha=-40, target_lengths=[1], n_choices=[])
    assert math.inf in set(observations["score"])
    figure = figures(observations)["mirage_a_loss"]
    check_valid(figure)
    assert len(drawn(figure, "point")[0][0]) == 2


@pytest.mark.parametrize("name", ["mirage", "mirage_c_accuracy_log"])
def test_figures_can_be_converted(name):
    found = figures(simulate(**SMALL), simulate(n_examples=20, **SMALL))
    svg = vl_convert.vegalite_to_svg(found[name].to_dict())
    assert "1 token" in svg
    assert "NaN" not in svg


def test_hopeless_models_have_no_panel_where_nothing_has_a_place():
    observations = simulate(scales=[1.0, 2.0], alpha=-40, target_lengths=[1], n_choices=[])
    assert list(figures(observations)) == [
        "mirage", "mirage_b_probability", "mirage_c_accuracy", "mirage_e_token_edit_distance",
    ]  # fmt: skip


def test_nothing_to_draw():
    observations = simulate(**SMALL).assign(metric="acc")
    with pytest.raises(InputError, match=r"observations: no score of the paper's Fig\. 2"):
        plot_mirage(observations)
