"""Intervals of the flagged curves as drawn: rows, marks, order, edges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import vl_convert

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.report.charts.intervals import plot_intervals

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
        "exceeds the mechanism", "exceeds a line only", "exceeds neither", "not tested",
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
