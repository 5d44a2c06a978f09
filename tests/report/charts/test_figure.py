"""What all charts share: text of 7 points at the printed width, marks, titles, axes."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import vl_convert
from figures import SHAPES, observations, rows, scored

import bigbench_meta as bm
from bigbench_meta.report.charts.figure import (
    TEXT,
    WIDTHS,
    across,
    curve_title,
    scale_axis,
    series_marks,
    type_marks,
)

CURVES, SCORES = scored(observations(SHAPES, ["exact_str_match"]))
GPT3 = bm.build_curves(bm.load_embedded())
SUMS = GPT3[GPT3.keys["task"].str.startswith("arithmetic")]


def figures():
    trained = bm.load_embedded("trained")
    yield bm.plot_emergence_by_metric(SCORES)
    yield bm.plot_threshold_sweep(SCORES)
    yield bm.plot_claims_by_metric(bm.claims_by_metric())
    yield bm.plot_curves(CURVES)
    yield bm.plot_curves(GPT3, task=["arithmetic 3D+", "arithmetic 4D+", "SQuADv2"])
    yield bm.plot_expected(bm.expected_if_smooth(SUMS, bm.score_curves(SUMS), n_studies=19))
    yield bm.plot_metric_change(GPT3, bm.metric_change(GPT3, n_boot=19))
    yield bm.plot_forecast_coverage(bm.forecast_curves(SUMS))
    yield from bm.plot_families(trained)
    yield from bm.plot_mirage(bm.simulate(seed=1))


@pytest.mark.full
def test_text_is_7_points_at_the_printed_width_and_says_what_is_drawn() -> None:
    for figure in figures():
        svg = vl_convert.vegalite_to_svg(figure.to_dict())
        sizes = {round(float(size), 3) for size in re.findall(r'font-size="([\d.]+)px"', svg)}
        assert sizes == {round(TEXT, 3)}, figure.name
        # What is missing at the width is added in white; nothing is beyond it.
        drawn = float(re.findall(r'<svg[^>]* width="([\d.]+)"', svg)[0])
        assert 0.9 * WIDTHS[figure.width] <= drawn <= WIDTHS[figure.width] + 1, figure.name
        assert figure.to_dict()["description"] == figure.caption
        assert not re.search(r">(total_params|emergence score E|parameters)<", svg)


def test_types_and_series_differ_without_colour() -> None:
    marks = type_marks(pd.Series(["linear", "nonlinear", "of my own"]))
    assert marks["color"]["scale"]["domain"] == ["nonlinear", "linear", "of my own"]
    assert marks["shape"]["scale"]["range"] == ["square", "diamond", "cross"]
    series = series_marks("f", list("abcdef"))
    for channel in ("color", "shape", "strokeDash"):
        assert len({json.dumps(one) for one in series[channel]["scale"]["range"]}) == 6


@pytest.mark.parametrize(
    ("n", "most", "found"),
    [(1, 4, ("column", 1)), (2, 4, ("column", 2)), (3, 4, ("page", 3)), (4, 4, ("page", 4)),
     (5, 4, ("page", 3)), (6, 4, ("page", 3)), (12, 4, ("page", 4)), (8, 2, ("column", 2))],
)  # fmt: skip
def test_panels_stand_side_by_side_with_few_gaps(n, most, found) -> None:
    assert across(n, most=most) == found


def test_titles_are_broken_at_joints() -> None:
    row = pd.Series({"subtask": "abstract_narrative_understanding", "metric": "acc", "shots": 1})
    assert curve_title(row, ["metric", "shots"], "E 1 → 2, weaker", room=104).split("\n") == [
        "abstract_narrative_", "understanding", "acc, 1 shot, E 1 → 2,", "weaker",
    ]  # fmt: skip
    long = pd.Series({"subtask": "x" * 100})
    assert [len(line) for line in curve_title(long, [], "", room=94).split("\n")] == [20, 20, 0]


def test_axes_are_named_in_words() -> None:
    axis = scale_axis("x", ["train_flops"], [2e20, 3e22])
    assert axis["title"] == "Training compute (FLOP)"
    assert axis["axis"]["values"] == [1e21, 1e22]
    assert scale_axis("x", ["pretraining_loss"])["scale"]["reverse"] is True


# The sweep ------------------------------------------------------------------------------------


def test_the_sweep_counts_the_curves_above_each_threshold() -> None:
    figure = bm.plot_threshold_sweep(SCORES)
    data = figure.data
    for row in data.itertuples():
        own = SCORES[SCORES["metric_type"] == row.metric_type]
        assert row.n_flagged == bm.flagged(own, row.threshold).sum()
        assert row.n_scored == own["emergence_score"].notna().sum()
    drawn = [row for index in (0, 1) for row in rows(figure, index)]
    assert sorted(row["share"] for row in drawn) == sorted(data["share"])
    assert figure.caption.startswith(
        "Share of curves with E above 100, by type of metric: 50% of 4 nonlinear."
    )
    assert bm.plot_threshold_sweep(SCORES.iloc[:0]) is None


@pytest.mark.parametrize("threshold", [float("inf"), -5.0, 0.5, 1e6])
def test_a_sweep_with_any_threshold(threshold: float) -> None:
    svg = vl_convert.vegalite_to_svg(bm.plot_threshold_sweep(SCORES, threshold=threshold).to_dict())
    assert svg.startswith("<svg")
