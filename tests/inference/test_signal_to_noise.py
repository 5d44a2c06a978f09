"""Signal to noise: against plain loops, and every reason why there is none."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.signal_to_noise import NOISE_STATUSES

NAN = math.nan


def table(*runs, **columns):
    """Rows of (model, size, run, score); a run that is no number is a checkpoint."""
    shared = {"benchmark": "b", "task": "t", "metric": "acc"}
    return pd.DataFrame([
        shared | {
            "model_family": model, "model_name": model, "total_params": size, "score": score,
            "replicate": str(run) if isinstance(run, int) else None,
            "settings": json.dumps({"checkpoint": run}) if isinstance(run, str) else None,
        } | columns
        for model, size, run, score in runs
    ])  # fmt: skip


def one(frame, **options):
    found = bm.signal_to_noise(frame, **options)
    assert len(found) == 1
    return found.iloc[0]


percent = st.integers(1, 99).map(lambda number: number / 100)


@FEWER
@given(
    st.lists(st.lists(percent, min_size=1, max_size=4), min_size=2, max_size=4),
    st.integers(0, 1),
    st.randoms(use_true_random=False),
)
def test_against_loops(scores, ddof, random):
    frame = table(*[
        (f"m{i}", 100 + i, run, score)
        for i, runs in enumerate(scores)
        for run, score in enumerate(runs)
    ])  # fmt: skip
    order = random.sample(range(len(frame)), len(frame))
    row = one(frame.iloc[order], ddof=ddof)
    means = [statistics.mean(runs) for runs in scores]
    signal = max(abs(a - b) for a, b in itertools.product(means, means)) / statistics.mean(means)
    variance = statistics.variance if ddof else statistics.pvariance
    squares = [variance(runs) / statistics.mean(runs) ** 2 for runs in scores if len(runs) > 1]
    noise = math.sqrt(statistics.mean(squares)) if squares else NAN
    assert row["signal"] == pytest.approx(signal)
    assert row["noise"] == pytest.approx(noise, nan_ok=True, abs=1e-12)
    assert (row["n_models"], row["n_noise_models"]) == (len(scores), len(squares))
    assert row["n_runs"] == sum(len(runs) for runs in scores if len(runs) > 1)
    if row["status"] == "ok":
        assert row["signal_to_noise"] == pytest.approx(signal / noise)
    else:
        assert row["status"] == ("no_noise" if squares else "no_runs")
        assert math.isnan(row["signal_to_noise"])


def test_last_checkpoints():
    runs = [("a", 100, f"step{100 * i}", score) for i, score in enumerate([0.9, 0.2, 0.3, 0.4])]
    row = one(table(*runs, ("b", 100, None, 0.6)), last=3)
    assert (row["n_runs"], row["noise_source"]) == (3, "checkpoints")
    assert row["noise"] == pytest.approx(0.1 / 0.3)
    assert row["signal"] == pytest.approx(0.3 / 0.45)
    # The final model stands without a name, after them all.
    row = one(table(*runs, ("a", 100, None, 0.6), ("b", 100, None, 0.6)), last=2)
    assert row["noise"] == pytest.approx(np.std([0.4, 0.6], ddof=1) / 0.5)


def test_checkpoints_without_an_order_are_no_noise():
    row = one(table(("a", 1, "early", 0.1), ("a", 1, "late", 0.5), ("b", 1, None, 0.2)))
    assert (row["status"], row["n_noise_models"]) == ("no_runs", 0)


def test_seeds_of_a_checkpoint_are_averaged():
    frame = pd.concat([
        table(("a", 1, "step1", 0.2), ("a", 1, "step2", 0.4), replicate="0"),
        table(("a", 1, "step1", 0.4), ("a", 1, "step2", 0.6), replicate="1"),
        table(("b", 1, None, 0.4)),
    ])  # fmt: skip
    assert one(frame)["noise"] == pytest.approx(np.std([0.3, 0.5], ddof=1) / 0.4)


def test_groups_of_similar_size():
    frame = table(*[(f"m{size}", size, 0, 0.5) for size in (100, 150, 200, 201, 400, 900)])
    found = bm.signal_to_noise(frame)
    assert found["n_models"].tolist() == [3, 2, 1]
    assert found["size_min"].tolist() == [100, 201, 900]
    assert bm.signal_to_noise(frame, similar=9)["n_models"].tolist() == [6]


@pytest.mark.parametrize(
    ("runs", "status"),
    [
        ([("a", 1, 0, 0.1), ("a", 1, 1, 0.2), ("b", 1, 0, 0.3)], "ok"),
        ([("a", 1, 0, 0.1), ("a", 1, 1, 0.2)], "one_model"),
        ([("a", 1, 0, 0.1), ("b", 1, 0, 0.3)], "no_runs"),
        ([("a", 1, 0, 0.0), ("a", 1, 1, 0.0), ("b", 1, 0, 0.0)], "zero_mean"),
        ([("a", 1, 0, 0.1), ("a", 1, 1, 0.1), ("b", 1, 0, 0.3)], "no_noise"),
        ([("a", None, 0, 0.1), ("a", None, 1, 0.2), ("b", None, 0, 0.3)], "no_size"),
    ],
)
def test_every_status(runs, status):
    row = one(table(*runs))
    assert row["status"] == status
    assert math.isnan(row["signal_to_noise"]) is (status != "ok")
    assert status in NOISE_STATUSES


def test_unit_of_the_score():
    """Percent and proportion have one signal to noise."""
    runs = [("a", 1, 0, 0.1), ("a", 1, 1, 0.2), ("b", 1, 0, 0.3)]
    hundred = [(*run[:3], 100 * run[3]) for run in runs]
    ratios = [one(table(*some))["signal_to_noise"] for some in (runs, hundred)]
    assert ratios[0] == pytest.approx(ratios[1])


@pytest.mark.parametrize(
    ("options", "where"),
    [({"similar": 0.5}, "similar"), ({"last": 1}, "last"), ({"ddof": -1}, "ddof")],
)
def test_refusals(options, where):
    with pytest.raises(InputError, match=where):
        bm.signal_to_noise(table(("a", 1, 0, 0.1)), **options)


def test_nothing():
    found = bm.signal_to_noise(table(("a", 1, 0, 0.1)).head(0))
    assert len(found) == 0
    assert found.columns.tolist() == bm.signal_to_noise(table(("a", 1, 0, 0.1))).columns.tolist()
