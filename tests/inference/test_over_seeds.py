"""Emergence scores over seeds: against plain loops over the rows of each seed."""

from __future__ import annotations

import math
import statistics

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER

import bigbench_meta as bm

SIZES = [10, 100, 1000, 10_000]


def observations(scores, **columns):
    """Rows of seeds (keys) and sizes; None is a model that was not trained."""
    rows = [
        {"replicate": seed, "model_name": f"m{size}", "total_params": size, "score": score}
        for seed, values in scores.items()
        for size, score in zip(SIZES, values, strict=False)
        if score is not None
    ]
    shared = {"benchmark": "b", "task": "t", "metric": "exact_str_match", "model_family": "f"}
    return pd.DataFrame(rows).assign(**shared | columns)


eighths = st.integers(0, 8).map(lambda number: number / 8)


@FEWER
@given(
    st.dictionaries(
        st.sampled_from(["seed 0", "seed 1", "seed 2", "seed 3"]),
        st.lists(st.one_of(eighths, eighths, eighths, st.none()), min_size=4, max_size=4).filter(
            lambda values: any(value is not None for value in values)
        ),
        min_size=1,
    ),
    st.sampled_from([None, 20]),
    st.randoms(use_true_random=False),
)
def test_against_loops(scores, n_examples, random):
    frame = observations(scores, n_examples=n_examples)
    order = random.sample(range(len(frame)), len(frame))
    row = bm.emergence_over_seeds(frame.iloc[order]).iloc[0]
    resolution = math.nan if n_examples is None else 1 / n_examples
    present = [i for i in range(4) if any(values[i] is not None for values in scores.values())]
    complete = [
        [values[i] for i in present]
        for values in scores.values()
        if all(values[i] is not None for i in present)
    ]
    assert row["n_scales"] == len(present)
    assert row["n_seeds"] == len(complete)
    assert row["n_incomplete"] == len(scores) - len(complete)
    steps = max(len(present) - 1, 1)
    means = [
        statistics.fmean([values[i] for values in scores.values() if values[i] is not None])
        for i in present
    ]
    found = [oracles.score(y, resolution=resolution) for y in [means, *complete]]
    for name, source in (
        ("emergence_score", "emergence_score"),
        ("relative_sharpness", "relative_sharpness"),
        ("resolution_limited_sharpness", "resolution_limited_score"),
    ):
        divisor = steps if name == "resolution_limited_sharpness" else 1
        mean, *own = (one[source] / divisor for one in found)
        assert row[name] == pytest.approx(mean, nan_ok=True)
        own = [value for value in own if not math.isnan(value)]
        if name == "emergence_score":
            assert row["n_unscored"] == len(complete) - len(own)
        low, high = (min(own), max(own)) if own else (math.nan, math.nan)
        assert row[f"{name}_low"] == pytest.approx(low, nan_ok=True)
        assert row[f"{name}_high"] == pytest.approx(high, nan_ok=True)
        middle = statistics.median(own) if own else math.nan
        assert row[f"{name}_median"] == pytest.approx(middle, nan_ok=True)


def test_seeds_of_one_size_alone_count_in_the_mean():
    scores = {"seed 0": [0.0, 0.125, 0.25, 1.0], "seed 1": [0.0, 0.25, 0.5, 1.0]}
    crowd = {f"seed {i}": [None, None, 0.5, None] for i in range(2, 8)}
    row = bm.emergence_over_seeds(observations(scores | crowd)).iloc[0]
    assert (row["n_seeds"], row["n_incomplete"]) == (2, 6)
    mean = [0.0, 0.1875, (0.25 + 0.5 * 7) / 8, 1.0]
    assert row["emergence_score"] == pytest.approx(oracles.score(mean)["emergence_score"])


def test_curves_are_kept_apart_and_without_seeds_have_no_range():
    scores = {"seed 0": [0.0, 0.125, 0.25, 1.0]}
    one = observations(scores, shots=0, n_examples=8)
    other = observations(scores, shots=1).drop(columns="replicate")
    table = bm.emergence_over_seeds(pd.concat([one, other], ignore_index=True))
    assert table["n_seeds"].tolist() == [1, 0]
    assert table["emergence_score"].tolist() == [8.0, 8.0]
    assert table["emergence_score_median"].tolist()[0] == 8.0
    assert np.isnan(table["emergence_score_low"].iloc[1])
