"""The three predictions of section 3: counted on made-up models that keep or break each of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

import bigbench_meta as bm
from bigbench_meta.aggregate import section3
from bigbench_meta.aggregate.section3 import section3_predictions, section3_sentences
from bigbench_meta.core.errors import InputError

SIZES = [10**8, 10**9, 10**10, 10**11]
LENGTHS = (1, 2, 3, 4, 5)


def results(accuracy, distance, *, n=2000, error=0.01):
    """Return scores of four models at five lengths from functions of (right tokens, length)."""
    rows = []
    for place, size in enumerate(SIZES):
        right = (0.15, 0.4, 0.7, 0.98)[place]
        for length in LENGTHS:
            shared = {
                "benchmark": "b", "task": "sum", "subtask": f"sum: length {length}",
                "model_family": "f", "model_name": f"m{place}", "total_params": size,
            }  # fmt: skip
            count = round(n * accuracy(right, length))
            rows += [
                shared | {"metric": "exact_str_match", "score": count / n, "n_examples": n},
                shared
                | {"metric": "token_edit_distance", "score": distance(right, length),
                   "stderr": error, "n_examples": n},
            ]  # fmt: skip
    return pd.DataFrame(rows)


def counts(table, prediction, metric):
    row = table[(table["prediction"] == prediction) & (table["metric"] == metric)].iloc[0]
    return row[["n", "n_agree", "n_disagree", "n_undecided"]].tolist()


def test_models_that_do_as_predicted():
    frame = results(lambda p, n: p**n, lambda p, n: n * (1 - p), error=0.001)
    table = section3_predictions(frame, n_boot=199)
    # With one token the distance is 1 - accuracy: one metric, and no pair.
    assert counts(table, "metric", "exact_str_match")[0] == len(LENGTHS) - 1
    assert counts(table, "metric", "exact_str_match")[2] == 0
    # 0.15 ** 5 of 2,000 questions is none, 0.15 ** 4 one.
    assert counts(table, "test set", "exact_str_match") == [15, 14, 0, 1]
    of_length = counts(table, "target length", "exact_str_match")
    assert of_length[0] == 4
    assert of_length[1] >= 2
    assert of_length[2] == 0
    assert counts(table, "target length", "token_edit_distance") == [4, 4, 0, 0]


def test_models_that_do_the_opposite():
    # Accuracy falls along a line, distance doubles with each token, and less than chance is right.
    table = section3_predictions(
        results(lambda p, n: p * (1 - n / 6), lambda p, n: (1 - p) * 2.0**n), n_boot=199
    )
    assert counts(table, "target length", "exact_str_match")[1] == 0
    assert counts(table, "target length", "exact_str_match")[2] >= 2
    assert counts(table, "target length", "token_edit_distance") == [4, 0, 4, 0]
    better = section3_predictions(results(lambda p, _: p, lambda _, n: 6 - n), n_boot=199)
    assert counts(better, "target length", "token_edit_distance") == [4, 0, 4, 0]
    # A constant has no form.
    assert counts(better, "target length", "exact_str_match") == [4, 0, 0, 4]


def test_scores_below_chance_disagree():
    frame = pd.DataFrame({
        "benchmark": "b", "task": "t", "metric": "multiple_choice_grade", "model_family": "f",
        "model_name": list("abcd"), "total_params": SIZES, "score": [0.1, 0.25, 0.4, 0.9],
        "n_examples": 1000, "low_score": 0.25, "high_score": 1.0,
    })  # fmt: skip
    table = section3_predictions(frame)
    assert table["prediction"].tolist() == ["test set"]
    assert counts(table, "test set", "multiple_choice_grade") == [3, 1, 1, 1]
    unknown = section3_predictions(frame.drop(columns="n_examples"))
    assert counts(unknown, "test set", "multiple_choice_grade") == [3, 0, 0, 3]
    assert section3_predictions(frame.drop(columns="low_score")).empty


def test_a_pair_counts_as_its_verdict():
    observations = bm.load_embedded("lamda")
    observations = observations[observations["task"].astype(str) < "c"]
    table = section3_predictions(observations)
    pairs = bm.metric_change(observations)
    counted = pairs[pairs["verdict"] != "same metric"]["verdict"]
    agree = int(counted.isin(["evaporates", "weaker"]).sum())
    disagree = int(counted.isin(["persists", "sharper"]).sum())
    assert counts(table, "metric", "multiple_choice_grade") == [
        len(counted), agree, disagree, len(counted) - agree - disagree,
    ]  # fmt: skip


@pytest.mark.parametrize("weight", [np.ones(5), np.array([1.0, 4.0, 2.0, 0.5, 9.0])])
@pytest.mark.parametrize("y", [[0.8, 0.5, 0.35, 0.2, 0.15], [1.0, 2.2, 2.9, 4.1, 5.0]])
def test_misfits_are_those_of_a_general_optimiser(y, weight):
    x, y = np.array(LENGTHS, dtype=float), np.array(y)
    forms = {
        section3._line_misfit: lambda x, a, b: a + b * x,
        section3._geometric_misfit: lambda x, a, b: a * np.exp(-b * (x - 3)),
    }
    for misfit, form in forms.items():
        best, _ = curve_fit(form, x, y, p0=[y.mean(), 0.1], sigma=weight**-0.5)
        expected = weight @ (y - form(x, *best)) ** 2
        assert misfit(x, y, weight) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_reading_error_adds_to_a_known_error_and_makes_none():
    frame = results(lambda p, n: p**n, lambda p, n: n * (1 - p), error=0.001)
    exact = section3_predictions(frame, n_boot=199)
    # An error as large as the scores leaves nothing to decide.
    vague = section3_predictions(frame, n_boot=199, reading_error=10.0)
    assert counts(exact, "target length", "token_edit_distance")[3] == 0
    assert counts(vague, "target length", "token_edit_distance")[3] == 4
    none = frame.assign(stderr=np.nan, n_examples=None)
    left = section3_predictions(none, n_boot=199, reading_error=10.0)
    assert counts(left, "metric", "exact_str_match")[3] == len(LENGTHS) - 1


def test_lengths_as_the_tasks_for_the_harness_name_them():
    frame = results(lambda p, n: p**n, lambda p, n: n * (1 - p))
    named = frame.assign(subtask=frame["subtask"].str.replace("sum: length ", "x_sum_length_"))
    left, right = (section3_predictions(one, n_boot=199) for one in (frame, named))
    pd.testing.assert_frame_equal(left, right)


def test_metrics_that_are_one_count_once():
    frame = results(lambda p, n: p**n, lambda p, n: n * (1 - p), error=0.001)
    exact = frame[frame["metric"] == "exact_str_match"]
    edits = frame[frame["metric"] == "token_edit_distance"]
    length = edits["subtask"].str[-1].astype(int)
    share = edits.assign(metric="per_token_accuracy", score=1 - edits["score"] / length,
                         stderr=edits["stderr"] / length)  # fmt: skip
    again = pd.concat([frame, exact.assign(metric="exact_match"), share], ignore_index=True)
    once, twice = (section3_predictions(one, n_boot=199) for one in (frame, again))
    columns = ["n", "n_agree", "n_disagree", "n_undecided"]
    totals = [table.groupby("prediction", observed=True)[columns].sum() for table in (once, twice)]
    pd.testing.assert_frame_equal(*totals)
    # A share of right tokens does not change with the length, and nothing says it should.
    alone = section3_predictions(share, n_boot=199)
    assert alone.empty


def test_pairs_that_are_given_are_counted():
    frame = results(lambda p, n: p**n, lambda p, n: n * (1 - p))
    curves = bm.build_curves(frame)
    pairs = bm.metric_change(curves, n_boot=199)
    expected = section3_predictions(frame, n_boot=199)
    pd.testing.assert_frame_equal(section3_predictions(curves, pairs=pairs), expected)
    some = section3_predictions(curves, pairs=pairs.assign(verdict="persists").iloc[:2])
    assert counts(some, "metric", "exact_str_match") == [2, 0, 2, 0]
    # Fewer than three models are no curve.
    few = section3_predictions(curves, pairs=pairs.assign(n_scales=2))
    assert "metric" not in set(few["prediction"])


def test_sentences():
    table = section3_predictions(results(lambda p, n: p**n, lambda p, n: n * (1 - p)), n_boot=199)
    first, second, third = section3_sentences(table)
    assert first.startswith("Metric: of 4 curves with the same outputs under a graded metric ")
    assert second == (
        "Test set: of 15 scores of smaller models 14 agree with the prediction, 0 disagree, and 1 "
        "cannot be decided."
    )
    assert third.startswith("Target length: of 8 models ")


@pytest.mark.parametrize(
    ("option", "where"), [({"alpha": 0.0}, "alpha"), ({"reading_error": -1.0}, "reading_error")]
)
def test_options_out_of_range(option, where):
    with pytest.raises(InputError, match=where):
        section3_predictions(bm.load_embedded("paper"), **option)
