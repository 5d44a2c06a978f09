"""Sharpness limited by the resolution: its values, and how often its ends hold the truth."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import bigbench_meta as bm
from bigbench_meta.inference.sharpness import Sharpness, score_range, sharpness_intervals
from bigbench_meta.inference.uncertainty import sampling_errors

TAIL = 0.025


def found(batch, n, **columns):
    """Intervals of exact matches of n examples, as they are and limited; and their errors."""
    frames = [
        pd.DataFrame(
            {"benchmark": "b", "task": f"t{i}", "metric": "exact_str_match", "model_family": "f",
             "model_name": [f"m{k}" for k in range(len(y))],
             "total_params": 10.0 ** np.arange(len(y)), "score": y, "n_examples": n} | columns
        )
        for i, y in enumerate(batch)
    ]  # fmt: skip
    curves = bm.build_curves(pd.concat(frames, ignore_index=True))
    scores = bm.score_curves(curves)
    errors = sampling_errors(curves, samples=None, n_boot=99, seed=0)
    both = sharpness_intervals(curves, scores, errors, TAIL, 99, 0, 3)
    return scores, errors, *both


def test_values_and_ends_against_plain_python():
    rng = np.random.default_rng(0)
    n, batch = 200, [np.sort(rng.integers(0, 201, 6)) / 200 for _ in range(6)]
    batch.append(batch[0][::-1])
    scores, errors, plain, limited = found(batch, n)
    assert score_range(scores) == pytest.approx([np.ptp(y) for y in batch])
    for i, y in enumerate(batch):
        step = np.sqrt(statistics.median([(b - a) ** 2 for a, b in itertools.pairwise(y)]))
        sign = 1 if y[-1] > y[0] else -1
        assert plain.value[i] == pytest.approx(sign * np.ptp(y) / step / 5)
        assert limited.value[i] == pytest.approx(sign * np.ptp(y) / max(step, 1 / n) / 5)
        error = errors.noise.error[6 * i : 6 * i + 6]
        pairs = [
            (abs(y[a] - y[b]), np.hypot(error[a], error[b]))
            for a, b in itertools.combinations(range(6), 2)
        ]
        least = max(0, *(gap - norm.isf(0.8 * TAIL / 15) * spread for gap, spread in pairs))
        most = max(gap + norm.isf(0.2 * TAIL) * spread for gap, spread in pairs)
        small, large = (side[i] for side in plain.sizes())
        expected = min(small, least * n / 5), min(large, most * n / 5)
        assert [side[i] for side in limited.sizes()] == pytest.approx(expected)


def test_limited_ends_hold_the_truth():
    rng = np.random.default_rng(1)
    n, m = 300, 200
    truth = np.repeat([0.2, 0.6], 4)  # E is infinite, and limited by the resolution 120
    _, _, plain, limited = found(rng.binomial(n, truth, (m, 8)) / n, n)
    true = 0.4 * n / 7
    # The binomial error of 2.5% of 200 is 1.1%.
    for wrong in (limited.low > true, limited.high < true, plain.high < np.inf):
        assert wrong.mean() <= TAIL + 3 * np.sqrt(TAIL / m)
    assert np.isfinite(limited.high).all()


def test_without_resolution_there_is_no_limit():
    y = np.array([0.1, 0.15, 0.2, 0.3, 0.5])
    _, _, plain, limited = found([y], None, metric="token_edit_distance", stderr=0.01)
    for name in ("value", "low", "high"):
        assert getattr(plain, name) == pytest.approx(getattr(limited, name))


def test_sizes_are_without_sign():
    ends = Sharpness(
        value=np.array([2.0, -2.0, 1.0]), low=np.array([1.0, -3.0, -2.0]),
        high=np.array([3.0, -1.0, 2.0]),
    )  # fmt: skip
    small, large = ends.sizes()
    assert (small.tolist(), large.tolist()) == ([1.0, 1.0, 0.0], [3.0, 3.0, 2.0])
