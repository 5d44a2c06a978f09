"""Which scores are proportions, and what chance gives."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import FEWER, observation_rows, to_frame

from bigbench_meta import build_curves
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.curves.proportions import proportions

NAN = math.nan


def taken(metric, scores, *, catalog=None, benchmark="b", options=None, **columns):
    rows = pd.DataFrame(
        {
            "benchmark": benchmark, "task": "t", "metric": metric, "model_family": "f",
            "model_name": [f"m{i}" for i in range(len(scores))],
            "total_params": range(1, len(scores) + 1), "score": scores,
        }
    ).assign(**columns)  # fmt: skip
    return proportions(build_curves(rows, catalog=catalog), catalog=catalog, **(options or {}))


@pytest.mark.parametrize(
    ("metric", "benchmark", "scores", "expected", "problem"),
    [
        ("exact_str_match", "b", [0.0, 0.25, 1.0], [0, 0.25, 1], ""),
        ("acc", "gpt3", [0.0, 25, 100], [0, 0.25, 1], ""),  # percent
        ("acc", "gpt3", [0.0, 25, 100.00000000001], [0, 0.25, 1], ""),  # up to rounding
        ("acc", "b", [0.0, 0.25, 1.00000012], [0, 0.25, 1], ""),  # in single precision
        ("acc", "gpt3", [0.0, 25, 100.1], [], "score_out_of_range"),  # no points in two units
        ("acc", "b", [0.0, 25, 100], [NAN] * 3, "score_out_of_range"),
        ("brier_score", "b", [0.0, 0.5, 2.0], [1, 0.75, 0], ""),  # from 0 to 2, lower is better
        ("bleu_diff", "b", [-100.0, 0, 100], [0, 0.5, 1], ""),
        ("bleu", "b", [0.0, 1, 2], [NAN] * 3, "not_a_proportion"),  # of a corpus
        ("log_likelihood", "b", [-3.0, -2, -1], [NAN] * 3, "not_a_proportion"),
        ("made_up", "b", [0.1, 0.2, 0.3], [NAN] * 3, "not_a_proportion"),
    ],
)
def test_proportions_by_hand(metric, benchmark, scores, expected, problem):
    found = taken(metric, scores, benchmark=benchmark)
    np.testing.assert_allclose(found.proportion, expected, rtol=1e-12)
    assert found.problem.tolist() == [problem]


@pytest.mark.parametrize(
    ("metric", "columns", "options", "chance", "source"),
    [
        ("exact_str_match", {}, {}, 0, "floor"),
        ("exact_str_match", {"low_score": 0.0, "high_score": 1.0}, {}, 0, "low_score"),
        ("exact_str_match", {}, {"n_choices": 4}, 0, "floor"),  # there are no choices
        ("multiple_choice_grade", {}, {}, NAN, "unknown"),
        ("multiple_choice_grade", {}, {"n_choices": 4}, 0.25, "choices"),
        ("multiple_choice_grade", {"low_score": 0.2, "high_score": 1.0}, {}, 0.2, "low_score"),
        (
            "multiple_choice_grade",
            {"low_score": 0.2, "high_score": 1.0},
            {"n_choices": 4, "chance": 0.3},
            0.3,
            "given",
        ),
        # A low score beyond the range of the metric is no chance level.
        ("multiple_choice_grade", {"low_score": -5.0, "high_score": 1.0}, {}, NAN, "unknown"),
        ("exact_str_match", {"low_score": -5.0, "high_score": 1.0}, {}, 0, "floor"),
        ("multiple_choice_grade", {"low_score": 1.0, "high_score": 1.5}, {}, NAN, "unknown"),
        ("correct_prob_mass", {}, {}, NAN, "unknown"),  # continuous: guesses have some mass
        ("bleu_diff", {}, {}, NAN, "unknown"),  # begins below 0
        ("brier_score", {"low_score": 1.5, "high_score": 0.0}, {}, 0.25, "low_score"),
        ("rouge1", {}, {}, 0, "floor"),
    ],
)
def test_chance_by_hand(metric, columns, options, chance, source):
    found = taken(metric, [0.5, 0.5], options=options, **columns)
    np.testing.assert_allclose(found.chance, [chance], rtol=1e-12)
    assert found.chance_source.tolist() == [source]


def test_errors_are_those_of_the_proportion():
    found = taken("acc", [25.0, 50.0], benchmark="gpt3", stderr=[2.0, NAN])
    np.testing.assert_allclose(found.stderr, [0.02, NAN])
    lower = taken("brier_score", [0.5, 0.6], stderr=[0.2, 0.4])
    np.testing.assert_allclose(lower.stderr, [0.1, 0.2])


@pytest.mark.parametrize(
    ("given_sizes", "option", "expected"),
    [
        ([100, 200], None, [100, 200]),
        ([100, None], 50, [100, 50]),
        ([100, None], [50], [100, 50]),
        ([0, -3], None, [NAN, NAN]),
        ([10**15, 5], None, [NAN, 5]),  # no test set
        ([None, None], 0.5, [NAN, NAN]),
    ],
)
def test_sizes(given_sizes, option, expected):
    found = taken(
        "exact_str_match", [0.1, 0.2], n_examples=pd.array(given_sizes, "Int64"),
        options={"n_examples": option},
    )  # fmt: skip
    np.testing.assert_array_equal(found.n_examples, expected)


def test_back_to_the_unit_of_the_score():
    found = taken("brier_score", [0.5, 1.0])
    np.testing.assert_allclose(found.point_scores(found.proportion), [0.5, 1.0])
    np.testing.assert_allclose(found.curve_scores(np.array([0.0])), [2.0])
    np.testing.assert_allclose(found.amount(np.array([0.1])), [0.2])


@FEWER
@given(observation_rows())
def test_anything_is_taken(rows):
    curves = build_curves(to_frame(rows))
    found = proportions(curves)
    inside = found.proportion[~np.isnan(found.proportion)]
    assert ((inside >= 0) & (inside <= 1)).all()
    assert ((found.chance >= 0) & (found.chance < 1) | np.isnan(found.chance)).all()
    back = found.point_scores(found.proportion)
    known = ~np.isnan(back)
    np.testing.assert_allclose(back[known], curves.y[known], atol=1e-9)
    np.testing.assert_array_equal(
        np.isnan(found.proportion), found.problem[curves.ragged.curve] != ""
    )


def test_own_catalog_counts(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "metric,metric_type,higher_is_better,low,high,step\nmade_up,nonlinear,true,0,10,10\n",
        "utf-8",
    )
    found = taken("made_up", [1.0, 5.0], catalog=MetricCatalog.read(path))
    np.testing.assert_allclose(found.proportion, [0.1, 0.5])
    assert found.chance_source.tolist() == ["floor"]
