"""The product law: against plain loops, exact identities, and answers whose truth is known."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

import bigbench_meta as bm
from bigbench_meta.aggregate.product_law import (
    LAWS,
    against_expected,
    against_mean_log_probability,
    against_power,
    against_product,
    right_positions,
)
from bigbench_meta.core.errors import InputError

digits = st.text("01", max_size=5)


@given(st.lists(st.tuples(digits, st.text("01", min_size=3, max_size=3)), min_size=1, max_size=20))
def test_positions_against_loops(pairs):
    outputs, targets = zip(*pairs, strict=True)
    found = right_positions(outputs, targets)
    for row, (written, wanted) in zip(found.tolist(), pairs, strict=True):
        # As a model writes it, with an end: what it lacks is nothing.
        with_end = [*written, "end", None, None, None]
        assert row == [with_end[i] == token for i, token in enumerate([*wanted, "end"])]
        assert all(row) == (written == wanted)
    words = right_positions(
        [" ".join(text) for text in outputs], [" ".join(text) for text in targets], tokens="words"
    )
    np.testing.assert_array_equal(words, found)


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=15)
    )
)
def test_product_against_loops(right):
    n, k = len(right), len(right[0])
    mean = [statistics.fmean(row[i] for row in right) for i in range(k)]
    observed = statistics.fmean(all(row) for row in right)
    found = against_product(right)
    assert found.observed == pytest.approx(observed)
    assert found.predicted == pytest.approx(math.prod(mean))
    slope = [math.prod(mean[:i] + mean[i + 1 :]) for i in range(k)]
    influence = [all(row) - sum(s * r for s, r in zip(slope, row, strict=True)) for row in right]
    of_data = statistics.pvariance(influence) / n
    independent = 0.0
    if all(mean):
        # Variances of a product and of each factor, and their covariance.
        of_product = math.prod(mean) - math.prod(m * m for m in mean)
        explained = math.fsum(s * s * m * (1 - m) for s, m in zip(slope, mean, strict=True))
        independent = (of_product - explained) / n
    larger = max(of_data, independent)
    if larger < 1e-15:
        assert math.isnan(found.stderr)
        assert found.observed == pytest.approx(found.predicted)
    else:
        assert found.stderr == pytest.approx(math.sqrt(larger))


def test_errors_of_independent_and_of_dependent_positions():
    """One in 20 independent models is off by two standard errors, fewer where few are right."""
    rng = np.random.default_rng(0)
    for rates, least in (([0.9, 0.7, 0.8], 0.03), ([0.2, 0.1, 0.15], 0.0), ([0.99, 0.98], 0.0)):
        right = rng.random((600, 400, len(rates))) < rates
        found = [against_product(one) for one in right]
        z = np.array([(f.observed - f.predicted) / f.stderr for f in found])
        assert least <= np.mean(np.abs(z) > 1.96) < 0.07
    # With a difficulty of each question, the error is that of the bootstrap.
    right = rng.random((1500, 3)) < rng.beta(0.5, 0.5, (1500, 1))
    found = against_product(right)
    draws = rng.integers(1500, size=(1000, 1500))
    drawn = np.array([np.subtract(*against_product(right[rows])[:2]) for rows in draws])
    assert found.stderr == pytest.approx(drawn.std(), rel=0.1)
    assert found.observed - found.predicted > 10 * found.stderr


@given(
    st.lists(st.booleans(), min_size=1, max_size=9),
    st.lists(st.booleans(), min_size=1, max_size=9),
    st.integers(1, 5),
)
def test_power_against_loops(right, single, length):
    found = against_power(right, single, length)
    share, one = statistics.fmean(right), statistics.fmean(single)
    assert found[:2] == pytest.approx((share, one**length))
    rate = (sum(right) + 0.5) / (len(right) + 1)
    k, n = sum(single), len(single)

    def off(a):
        return (a**length - one**length) ** 2

    of_power = beta(k + 0.5, n - k + 0.5).expect(off)
    error = math.sqrt(rate * (1 - rate) / len(right) + of_power)
    assert found.stderr == pytest.approx(error, rel=1e-4)


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=20))
def test_log_probabilities_against_loops(logs):
    found = against_mean_log_probability(logs)
    p = [math.exp(value) for value in logs]
    typical = math.exp(statistics.fmean(logs))
    assert found[:2] == pytest.approx((statistics.fmean(p), typical))
    assert found.observed >= found.predicted * (1 - 1e-9)
    influence = [a - typical * b for a, b in zip(p, logs, strict=True)]
    error = math.sqrt(statistics.pvariance(influence) / len(logs))
    assert math.isnan(found.stderr) or found.stderr == pytest.approx(error, rel=1e-6, abs=1e-12)
    right = [value > -1 for value in logs]
    drawn = against_expected(right, logs)
    assert drawn[:2] == pytest.approx((statistics.fmean(right), statistics.fmean(p)))
    error = math.sqrt(sum(x * (1 - x) for x in p)) / len(p)
    assert math.isnan(drawn.stderr) or drawn.stderr == pytest.approx(error, rel=1e-6)


# --- Samples ---


def answers(rng, n, length, *, rate=0.8, alike=False, seed="seed 0"):
    """Samples of one model: what it wrote greedily and at temperature 1, and its probabilities."""
    level = rng.beta(2, 1, (n, 1)) if alike else np.full((n, 1), rate)
    p = np.repeat(level, length + 1, axis=1)
    likeliest = rng.random(p.shape) < p  # whether the likeliest token is the right one
    targets = ["".join(row) for row in rng.integers(10, size=(n, length)).astype(str)]

    def written(right):
        """Wrong digits at wrong places, and a digit too many without an end."""
        return [
            "".join(
                digit if good else str((int(digit) + 1) % 10)
                for digit, good in zip(target, row, strict=False)
            )
            + ("" if row[-1] else "0")
            for target, row in zip(targets, right.tolist(), strict=True)
        ]

    metrics = [
        [(f"teacher_forced_{i + 1}", float(value)) for i, value in enumerate(row)]
        for row in likeliest
    ]
    shared = {
        "benchmark": "b", "task": "t", "subtask": f"t: length {length}", "model_family": "f",
        "model_name": "m", "replicate": seed, "total_params": 7, "pretraining_loss": 0.5,
        "example_id": [f"{length}/{i}" for i in range(n)], "targets": [[t] for t in targets],
    }  # fmt: skip
    greedy = pd.DataFrame(
        shared
        | {"variant": "greedy", "output": written(likeliest), "metrics": metrics,
           "target_logprobs": [[value] for value in np.log(p).sum(axis=1)]}
    )  # fmt: skip
    sampled = pd.DataFrame(
        shared | {"variant": "temperature 1", "output": written(rng.random(p.shape) < p)}
    )
    return pd.concat([greedy, sampled], ignore_index=True)


def test_table_of_a_model():
    rng = np.random.default_rng(1)
    parts = [answers(rng, 400, length) for length in (1, 2, 3)]
    table = bm.product_law(pd.concat(parts, ignore_index=True))
    key = table.set_index(["length", "variant", "law"])
    assert key.index.is_unique
    counts = table.groupby(["length", "variant"]).size()
    assert counts.tolist() == [3, 2, 4, 3, 4, 3]
    assert set(table["law"]) == set(LAWS)
    for length, part in zip((1, 2, 3), parts, strict=True):
        exact = part["output"] == [target for (target,) in part["targets"]]
        greedy = part["variant"] == "greedy"
        for law in ("positions", "teacher-forced"):
            assert key.loc[(length, "greedy", law), "observed"] == exact[greedy].mean()
        for law in ("mean log-probability", "sampling"):
            variant = "greedy" if law.startswith("mean") else "temperature 1"
            column = "observed" if law.startswith("mean") else "predicted"
            assert key.loc[(length, variant, law), column] == pytest.approx(0.8 ** (length + 1))
        assert key.loc[(length, "temperature 1", "sampling"), "observed"] == exact[~greedy].mean()
    first = key.loc[(1, "greedy", "positions"), "observed"]
    assert key.loc[(3, "greedy", "length 1"), "predicted"] == pytest.approx(first**3)
    # Positions are independent and alike, but L tokens have one end.
    z = (table["difference"] / table["stderr"])[table["law"] != "length 1"].dropna()
    assert (z.abs() < 3.5).all()
    assert table["non_embedding_params"].isna().all()
    assert (table["pretraining_loss"] == 0.5).all()


def test_questions_that_differ_in_difficulty():
    rng = np.random.default_rng(2)
    table = bm.product_law(answers(rng, 2000, 4, alike=True))
    clear = table["difference"] / table["stderr"] > 5
    assert set(table["law"][clear]) == {"positions", "teacher-forced", "mean log-probability"}
    said = bm.product_law_sentences(table)
    assert any("more frequent than the product of accuracies by position in 1 of 1" in s
               for s in said)  # fmt: skip
    assert any("differs from their mean probability" in s and "0 of 1" in s for s in said)


@pytest.mark.full
@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_order_and_kind_of_table_do_not_matter(random):
    rng = np.random.default_rng(3)
    frame = pd.concat(
        [answers(rng, 12, length, seed=seed) for length in (1, 2) for seed in ("seed 0", "seed 1")],
        ignore_index=True,
    )
    shuffled = frame.iloc[random.sample(range(len(frame)), len(frame))]
    kind = pa.map_(pa.string(), pa.float64())
    arrow = pa.Table.from_pandas(
        shuffled.drop(columns="metrics"), preserve_index=False
    ).append_column("metrics", pa.array(shuffled["metrics"], kind, from_pandas=True))
    by = ["replicate", "variant", "length", "law"]
    tables = [
        bm.product_law(some).sort_values(by, ignore_index=True) for some in (frame, shuffled, arrow)
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_categorical=False)


def test_wrong_samples():
    frame = answers(np.random.default_rng(0), 3, 2)
    two = frame.assign(targets=[["1", "2"]] + [["1"]] * 5)
    with pytest.raises(InputError, match="'2/0' has 2 right answers"):
        bm.product_law(two)
    with pytest.raises(InputError, match="no answers, teacher-forced tokens"):
        bm.product_law(frame.drop(columns=["output", "metrics", "target_logprobs"]))
    again = pd.concat([frame, frame.assign(variant="other").head(3)]).reset_index(drop=True)
    again["target_logprobs"] = [
        None if value is None else [-1.0 * row] for row, value in
        enumerate(again["target_logprobs"].where(again["target_logprobs"].notna(), None))
    ]  # fmt: skip
    with pytest.raises(InputError, match="two log-probabilities"):
        bm.product_law(again)
    with pytest.raises(InputError, match=r"answers of \[1, 2\] tokens"):
        right_positions(["1", "2"], ["1", "12"])
