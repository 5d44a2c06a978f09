"""Intervals of curves out of frames: where the noise comes from, samples, order and unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER, observation_rows, to_frame

from bigbench_meta import build_curves, emergence_score, load_embedded, score_curves
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.inversion import STATUSES
from bigbench_meta.inference.uncertainty import (
    NOISES,
    CurveExamples,
    curve_intervals,
    errors_of_alike,
    examples_of_curves,
    resampled_errors,
    sampling_errors,
)

NAN = np.nan
RISE = [0.05, 0.1, 0.2, 0.7, 0.9]
FAST = {"n_boot": 99}
EDITS = {"metric": "token_edit_distance"}


def observations(scores, *, metric="exact_str_match", **columns):
    n = len(scores)
    return pd.DataFrame(
        {
            "benchmark": "b",
            "task": "t",
            "metric": metric,
            "model_family": "f",
            "model_name": [f"m{i}" for i in range(n)],
            "total_params": 10 ** (6 + np.arange(n)),
            "score": scores,
            **columns,
        }
    )


def row_of(scores, samples=None, **columns):
    options = {**FAST, **columns.pop("options", {})}
    curves = build_curves(observations(scores, **columns))
    return curve_intervals(curves, samples=samples, **options).iloc[0]


@pytest.mark.parametrize(
    ("scores", "columns", "noise", "status"),
    [
        (RISE, {"n_examples": 100}, "binomial", "ok"),
        (RISE, {"stderr": 0.02}, "stderr", "ok"),
        (RISE, {}, "none", "no_sampling_error"),
        (RISE, {"n_examples": [100, 100, None, 100, 100]}, "none", "no_sampling_error"),
        (
            RISE,
            {"n_examples": [100, 100, None, 100, 100], "stderr": [NAN, NAN, 0.1, NAN, NAN]},
            "mixed",
            "ok",
        ),
        # sqrt(p (1 - p) / n) is what the number of examples says as well.
        (
            RISE,
            {"n_examples": 100, "stderr": [np.sqrt(p * (1 - p) / 99) for p in RISE]},
            "binomial",
            "ok",
        ),
        # Half of it: the examples are graded.
        (
            RISE,
            {"n_examples": 100, "stderr": [np.sqrt(p * (1 - p) / 100) / 2 for p in RISE]},
            "stderr",
            "ok",
        ),
        # Nothing right of n has a standard error of 0.
        ([0.0, 0.0, 0.0, 0.5], {"n_examples": 100, "stderr": [0, 0, 0, 0.05]}, "binomial", "ok"),
        ([0.0, 0.0, 0.0, 0.5], {"stderr": [0, 0, 0, 0.05]}, "none", "no_sampling_error"),
        # Not a mean over examples between two ends.
        ([3.0, 2.0, 1.0], {"metric": "made_up", "n_examples": 100}, "none", "no_sampling_error"),
        ([3.0, 2.0, 1.0], {"metric": "made_up", "stderr": 0.1}, "stderr", "ok"),
        # All examples alike: known with their number, unless no error was computed at all.
        ([3.0, 2.0, 0.0], {**EDITS, "stderr": [0.1, 0.1, 0.0], "n_examples": 500}, "stderr", "ok"),
        ([3.0, 2.0, 0.0], {**EDITS, "stderr": [0.1, 0.1, 0.0]}, "none", "no_sampling_error"),
        (
            [3.0, 2.0, 0.0],
            {**EDITS, "stderr": 0.0, "n_examples": 500},
            "none",
            "no_sampling_error",
        ),
        ([0.3, 0.3, 0.3], {"n_examples": 100}, "binomial", "flat"),
        ([0.3, 0.5], {"n_examples": 100}, "binomial", "too_few_scales"),
    ],
)
def test_where_the_noise_comes_from(scores, columns, noise, status):
    row = row_of(scores, **columns)
    assert (row["noise"], row["interval_status"]) == (noise, status)
    numbers = [name for name in row.index if name.endswith(("_low", "_high", "_threshold"))]
    assert row[numbers].isna().all() == (status != "ok")
    assert row[numbers].isna().any() == (status != "ok")


def test_sharpness_is_emergence_over_steps():
    row = row_of(RISE, n_examples=100)
    assert row["sharpness_low"] == row["emergence_low"] / 4
    assert row["sharpness_high"] == row["emergence_high"] / 4


def test_percent_and_shares_are_the_same():
    columns = [f"{name}_{end}" for name in ("emergence", "linearity") for end in ("low", "high")]
    share = row_of(RISE, n_examples=100)
    percent = row_of(
        [100 * y for y in RISE], metric="accuracy_pct", n_examples=100, benchmark="wei2022_cot"
    )
    assert percent["noise"] == "binomial"
    np.testing.assert_allclose(
        percent[columns].astype(float), share[columns].astype(float), rtol=1e-6
    )


def test_lower_is_better_is_turned():
    up = row_of(RISE, stderr=0.02, metric="made_up")
    down = row_of([-y for y in RISE], stderr=0.02, metric="made_up", low_score=1.0, high_score=0.0)
    assert down["emergence_low"] == pytest.approx(up["emergence_low"], rel=1e-6)
    assert down["linearity_high"] == pytest.approx(up["linearity_high"], rel=1e-6)


@FEWER
@given(observation_rows(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))

    def by_key(some):
        frame = curve_intervals(build_curves(to_frame(some)), n_boot=19)
        keys = frame[list(CURVE_KEY)].astype("string").fillna("")
        return frame.drop(columns=list(CURVE_KEY)).set_index(pd.MultiIndex.from_frame(keys))

    some, other = by_key(rows), by_key(shuffled)
    assert set(some["noise"]) <= set(NOISES)
    assert set(some["interval_status"]) <= set(STATUSES)
    pd.testing.assert_frame_equal(
        some.sort_index(), other.sort_index(), check_categorical=False, rtol=1e-6
    )


@FEWER
@given(observation_rows())
def test_statuses_agree_with_scores(rows):
    curves = build_curves(to_frame(rows))
    found, scores = curve_intervals(curves, n_boot=19), score_curves(curves)
    assert len(found) == len(curves)
    few = scores["status"] == "too_few_scales"
    assert ((found["interval_status"] == "too_few_scales") == few).all()
    flat = scores["status"] == "flat"
    assert ((found["interval_status"] == "flat") == flat).all()


def test_no_curves():
    curves = build_curves(observations([0.1]).iloc[:0])
    assert len(curve_intervals(curves)) == 0


# --- Samples ---


def answers(right, *, metric=None, **columns):
    """Samples of models (rows) and examples (columns)."""
    right = np.asarray(right, dtype=float)
    n, size = right.shape
    frame = pd.DataFrame(
        {
            "benchmark": "b",
            "task": "t",
            "model_family": "f",
            "model_name": np.repeat([f"m{i}" for i in range(n)], size),
            "example_id": np.tile(np.arange(size).astype(str), n),
        }
    )
    if metric is None:
        frame["correct"] = right.ravel()
    else:
        frame["metrics"] = [[(metric, value)] for value in right.ravel().tolist()]
    return frame.assign(**columns)


def drawn(truth, size, *, seed=0, alike=False):
    rng = np.random.default_rng(seed)
    level = rng.random(size) if alike else rng.random((len(truth), size))
    return level < np.asarray(truth)[:, None]


def test_samples_in_arrow_are_those_in_pandas():
    right = drawn(RISE, 80)
    frame = answers(right, metric="exact_str_match")
    kind = pa.map_(pa.string(), pa.float64())
    table = pa.Table.from_pandas(frame.drop(columns="metrics")).append_column(
        "metrics", pa.array(frame["metrics"].tolist(), kind)
    )
    rows = [row_of(right.mean(axis=1), samples) for samples in (frame, table)]
    pd.testing.assert_series_equal(*rows)


@pytest.mark.parametrize("metric", [None, "exact_str_match"])
@pytest.mark.parametrize("unit", [1, 100])
def test_samples_are_used_where_their_mean_is_the_score(metric, unit):
    right = drawn(RISE, 80)
    scores = right.mean(axis=1) * unit
    row = row_of(scores, answers(right, metric=metric), n_examples=80)
    assert row["noise"] == "samples"
    other = row_of(scores + 0.05 * unit, answers(right, metric=metric), stderr=0.02 * unit)
    assert other["noise"] == "stderr"


def test_the_order_of_samples_does_not_matter():
    right = drawn(RISE, 80)
    samples = answers(right)
    mixed = samples.sample(frac=1, random_state=1)
    rows = [row_of(right.mean(axis=1), some) for some in (samples, mixed, samples[::-1])]
    for row in rows[1:]:
        pd.testing.assert_series_equal(row, rows[0])


def test_a_model_whose_examples_are_seldom_drawn_has_errors_all_the_same():
    """One cluster of 30 holds all examples of the last model: a third of replicates lack it."""
    right = drawn(RISE, 30)
    samples = answers(right)
    samples = samples[(samples["model_name"] != "m4") | (samples["example_id"] == "3")]
    scores = [*right.mean(axis=1)[:4], float(right[4, 3])]
    examples = examples_of_curves(build_curves(observations(scores)), samples)[0]
    errors = resampled_errors(examples, 500, 0)
    assert np.isfinite(errors).all()
    assert (errors[:4].std(axis=1) > 0).all()


def test_samples_of_some_models_are_not_used():
    right = drawn(RISE, 80)
    some = answers(right).query("model_name != 'm2'")
    assert row_of(right.mean(axis=1), some, n_examples=80)["noise"] == "binomial"


def test_samples_of_another_task_are_not_used():
    right = drawn(RISE, 80)
    other = answers(right, task="another")
    assert row_of(right.mean(axis=1), other, n_examples=80)["noise"] == "binomial"


def test_models_that_err_alike_have_narrower_intervals():
    right = drawn([0.1, 0.25, 0.4, 0.7, 0.9], 400, alike=True)
    scores = right.mean(axis=1)
    joint = row_of(scores, answers(right), n_examples=400)
    apart = row_of(scores, n_examples=400)
    width = [1 / row["emergence_low"] - 1 / row["emergence_high"] for row in (joint, apart)]
    assert width[0] < 0.9 * width[1]


def test_clusters_widen_the_interval():
    ten = np.repeat(drawn([0.1, 0.2, 0.5, 0.6, 0.8], 40), 10, axis=1)  # each answer ten times
    alone = answers(ten)
    together = alone.assign(cluster=np.tile(np.arange(400) // 10, 5))
    rows = [row_of(ten.mean(axis=1), samples, n_examples=400) for samples in (alone, together)]
    widths = [row["linearity_high"] - row["linearity_low"] for row in rows]
    assert widths[1] > 1.5 * widths[0]


def test_nothing_right_has_noise_all_the_same():
    right = drawn([0.0, 0.0, 0.0, 0.0, 0.5], 50)
    row = row_of(right.mean(axis=1), answers(right), n_examples=50)
    assert row["noise"] == "samples"
    assert row["emergence_low"] < 100
    assert row["emergence_high"] == np.inf


def edit_distances(truth, n_curves, n, *, seed=0):
    """Edit distances of n answers of five tokens: counts of wrong ones, shape (curves, scales, n).

    Args:
        truth: Expected distance at each scale.
        n_curves: Number of curves.
        n: Number of answers.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    return rng.binomial(5, np.asarray(truth)[:, None] / 5, (n_curves, len(truth), n))


def test_a_perfect_largest_model_has_an_error():
    truth = [3.5, 2.5, 1.2, 0.2, 0.0005]
    distances = edit_distances(truth, 150, 500)
    rows = [
        observations(
            one.mean(axis=1), **EDITS, stderr=one.std(axis=1, ddof=1) / np.sqrt(500),
            n_examples=500, shots=number,
        )
        for number, one in enumerate(distances)
    ]  # fmt: skip
    curves = build_curves(pd.concat(rows, ignore_index=True))
    errors = sampling_errors(curves, samples=None, n_boot=19, seed=0)
    last = np.arange(4, curves.ragged.n_points, 5)
    perfect = curves.stderr[last] == 0
    assert 80 < perfect.sum() < 150
    # One of two test sets has one answer that is off by the whole range, of variance p (1 - p).
    rate = 0.5 / 501
    expected = np.ptp(curves.y.reshape(-1, 5), axis=1) * (rate * (1 - rate) / 500) ** 0.5
    found = errors.noise.error[last]
    np.testing.assert_allclose(found[perfect], expected[perfect])
    np.testing.assert_array_equal(found[~perfect], curves.stderr[last][~perfect])
    frame = curve_intervals(curves, **FAST)
    assert (frame["interval_status"] == "ok").all()
    true_score = emergence_score([-y for y in truth])
    holds = (frame["emergence_low"] <= true_score) & (true_score <= frame["emergence_high"])
    assert holds[perfect].mean() > 0.9
    # The interval is that of the same curve with any other small error.
    width = frame["linearity_high"] - frame["linearity_low"]
    assert width[perfect].mean() == pytest.approx(width[~perfect].mean(), rel=0.1)


def test_examples_all_alike_without_ends_are_drawn_anew():
    distances = edit_distances([3.5, 2.5, 1.2, 0.2, 0.0], 1, 200)[0]
    samples = answers(distances, metric="token_edit_distance")
    curves = build_curves(observations(distances.mean(axis=1), **EDITS))
    errors = sampling_errors(curves, samples=samples, n_boot=4000, seed=0)
    assert errors.source.tolist() == ["samples"]
    own = errors.resampled[0][4]  # up is better: an answer that differs is worse
    extent, rate = np.ptp(distances.mean(axis=1)), 0.5 / 201
    values, times = np.unique(own.round(9), return_counts=True)
    assert values[-1] == pytest.approx(extent * rate)
    assert values[-2] == pytest.approx(extent * (rate - 1 / 200))
    assert times[-1] / 4000 == pytest.approx((1 - rate) ** 200, abs=0.01)
    assert own.mean() == pytest.approx(0, abs=1e-4)


def test_samples_that_are_none():
    curves = build_curves(observations(RISE, n_examples=100))
    with pytest.raises(SchemaError, match="example_id"):
        curve_intervals(curves, samples=pd.DataFrame({"correct": [1.0]}), **FAST)


def test_resampled_errors_are_those_of_theory():
    rng = np.random.default_rng(0)
    values = rng.random((300, 3))
    values[:, 1] = values[:, 0]
    examples = CurveExamples(
        total=values, count=np.ones_like(values), names=np.arange(len(values)).astype(object)
    )  # fmt: skip
    errors = resampled_errors(examples, 20_000, 1)
    covariance = np.cov(values.T, bias=True) / 300
    np.testing.assert_allclose(np.cov(errors), covariance, atol=0.05 * covariance.max())
    np.testing.assert_array_equal(errors[0], errors[1])
    np.testing.assert_array_equal(errors, resampled_errors(examples, 20_000, 1))
    assert (errors != resampled_errors(examples, 20_000, 2)).any()


def test_clusters_of_several_sizes_are_ratios():
    examples = CurveExamples(
        total=np.array([[1.0], [6.0]]), count=np.array([[2.0], [6.0]]),
        names=np.array(["a", "b"], dtype=object),
    )  # fmt: skip
    errors = resampled_errors(examples, 4000, 0)
    # Both of the first: 1/2; one of each: 7/8; both of the second: 1. Chances 1/4, 1/2, 1/4.
    values, times = np.unique(errors.round(9), return_counts=True)
    np.testing.assert_allclose(values, [1 / 2 - 7 / 8, 0, 1 - 7 / 8])
    np.testing.assert_allclose(times / 4000, [0.25, 0.5, 0.25], atol=0.03)


def test_examples_are_joined_by_their_cluster():
    right = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]], dtype=float)
    samples = answers(right, cluster=list("aabb") * 3)
    curves = build_curves(observations(right.mean(axis=1)))
    examples = examples_of_curves(curves, samples)[0]
    np.testing.assert_array_equal(examples.total, [[1, 0, 2], [2, 2, 2]])
    np.testing.assert_array_equal(examples.count, [[2, 2, 2], [2, 2, 2]])


def test_errors_of_answers_all_alike():
    errors = errors_of_alike(100, 0.005, 999, 0)
    assert errors.std() == pytest.approx(np.sqrt(0.005 * 0.995 / 100), rel=0.02)
    assert errors.mean() == pytest.approx(0, abs=1e-4)


# --- Published curves (docs/uncertainty.md) ---


def test_published_curves():
    curves = build_curves(load_embedded())
    frame = curve_intervals(curves)
    assert frame["interval_status"].value_counts().to_dict() == {
        "ok": 140, "no_sampling_error": 48, "flat": 1,
    }  # fmt: skip
    scores = score_curves(curves)
    flagged = (scores["emergence_score"] > 100) & (frame["interval_status"] == "ok")
    # Two of the 21 are of perplexity, without a number of examples.
    assert flagged.sum() == 19
    assert (frame["emergence_high"][flagged] == np.inf).all()
    assert 3 <= (frame["emergence_low"][flagged] > 100).sum() <= 6  # seeds differ, see the page
    above = frame["p_above_threshold"][flagged] > 0.975
    assert (above == (frame["emergence_low"][flagged] > 100)).all()
