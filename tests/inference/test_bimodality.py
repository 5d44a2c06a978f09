"""Bimodality over seeds: the dip against linear programs, splits against a global search."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import differential_evolution, linprog
from scipy.stats import betabinom, hypergeom

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.bimodality import (
    MIN_SEEDS,
    dip_statistic,
    dip_test,
    one_rate_p,
    two_modes,
)


def distance_with_mode_at(x, mode):
    """The least distance to a function that is convex up to a point, may jump, and is concave.

    Unknown are its values at all points, of which the mode has two (before and after the jump), and
    the distance.
    """
    m = len(x)
    place = x[: mode + 1] + x[mode:]
    rows, limits = [], []

    def require(limit, **terms):
        row = dict.fromkeys(range(m + 2), 0.0)
        row.update({int(name[1:]): factor for name, factor in terms.items()})
        rows.append(list(row.values()))
        limits.append(limit)

    for i in range(m + 1):
        before = [(i if i <= mode else i - 1) / m] if i != mode + 1 else []
        after = [(i + 1 if i <= mode else i) / m] if i != mode else []
        for f in before + after:
            require(f, **{f"v{i}": 1.0, f"v{m + 1}": -1.0})
            require(-f, **{f"v{i}": -1.0, f"v{m + 1}": -1.0})
    for i in range(m):
        require(0.0, **{f"v{i}": 1.0, f"v{i + 1}": -1.0})  # never falls
    for i in range(m - 1):
        if i + 1 in (mode, mode + 1):
            continue  # about the jump
        sign = 1.0 if i + 1 < mode else -1.0  # the slope grows up to the mode, and falls beyond
        first, second = place[i + 1] - place[i], place[i + 2] - place[i + 1]
        terms = {i: -second, i + 1: first + second, i + 2: -first}
        require(0.0, **{f"v{name}": sign * factor for name, factor in terms.items()})
    bounds = [(0, 1)] * (m + 2)
    return linprog([0.0] * (m + 1) + [1.0], rows, limits, bounds=bounds).fun


def dip_by_linear_programs(values):
    x = sorted(values)
    return min(distance_with_mode_at(x, mode) for mode in range(len(x)))


@pytest.mark.parametrize("seed", range(12))
def test_dip_is_the_least_distance_by_linear_programs(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(3, 10))
    values = [
        rng.random(m), rng.standard_normal(m), rng.random(m) + 3 * (rng.random(m) < 0.5),
        rng.exponential(size=m),
    ][seed % 4]  # fmt: skip
    assert_allclose(dip_statistic(values), dip_by_linear_programs(values), atol=1e-9)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40), st.integers(-9, 9))
@settings(deadline=None)
def test_dip_has_its_bounds_and_no_unit(values, shift):
    dip = dip_statistic(values)
    assert dip == 0 if len(set(values)) == 1 else 1 / (2 * len(values)) - 1e-12 <= dip <= 0.25
    for moved in ([3 * v + shift for v in values], [-v for v in values], values[::-1]):
        assert_allclose(dip_statistic(moved), dip, atol=1e-12)


@given(st.lists(st.integers(0, 20), min_size=20, max_size=20))
def test_ties_are_spread_within_the_width_of_one_example(counts):
    spread = []
    for value in set(counts):
        r = counts.count(value)
        spread += [value / 20 + ((j + 0.5) / r - 0.5) / 20 for j in range(r)]
    found = dip_test(np.array(counts) / 20, resolution=1 / 20)
    assert_allclose(found.dip, dip_statistic(spread), atol=1e-12)
    assert 1 / 2000 <= found.p_value <= 1


def test_one_mode_is_seldom_two_and_two_are_found():
    rng = np.random.default_rng(3)
    uniform = rng.binomial(100, rng.random((300, 20))) / 100
    assert np.mean([dip_test(one, resolution=0.01).p_value <= 0.05 for one in uniform]) < 0.09
    tied = rng.binomial(100, 0.02, (100, 20)) / 100
    usable = tied[np.ptp(tied, axis=1) > 0]
    assert np.mean([dip_test(one, resolution=0.01).p_value <= 0.05 for one in usable]) < 0.05
    centre = np.where(rng.random((50, 20)) < 0.5, 0.05, 0.6)
    two = rng.binomial(100, centre) / 100
    assert np.mean([dip_test(one, resolution=0.01).p_value <= 0.05 for one in two]) > 0.9


def test_one_rate_by_the_exact_distribution_of_two_counts():
    for k, n in (((3, 9), (20, 30)), ((0, 5), (12, 12)), ((7, 7), (10, 40))):
        total, size = sum(k), sum(n)
        law = hypergeom(size, total, n[0])
        expected = [total * part / size for part in n]

        def statistic(first, expected=expected, total=total, n=n):
            return (first - expected[0]) ** 2 / n[0] + (total - first - expected[1]) ** 2 / n[1]

        least = statistic(k[0]) * (1 - 1e-9)
        p = sum(law.pmf(i) for i in range(total + 1) if statistic(i) >= least)
        assert_allclose(one_rate_p(k, n, n_draws=9999), p, atol=0.02)


def naive_loss(share, low, high, precision, k, n):
    a = betabinom.logpmf(k, n, low * precision, (1 - low) * precision)
    b = betabinom.logpmf(k, n, high * precision, (1 - high) * precision)
    return -np.logaddexp(math.log(1 - share) + a, math.log(share) + b).sum()


def least_loss(k, n, share=None):
    """The global minimum, by differential evolution."""
    ends = (share, share + 1e-9) if share is not None else (1e-4, 1 - 1e-4)

    def loss(p):
        low, high = sorted((p[1], p[2]))
        return naive_loss(p[0], low, high, math.exp(p[3]), k, n)

    bounds = [ends, (1e-4, 1 - 1e-4), (1e-4, 1 - 1e-4), (math.log(2), math.log(1e6))]
    # With a given share the upper cluster is that of the larger rate.
    found = differential_evolution(loss, bounds, seed=1, tol=1e-10, maxiter=400, popsize=12)
    return found.x, found.fun


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_split_and_interval_are_those_of_the_largest_likelihood(seed):
    rng = np.random.default_rng(seed)
    n = np.full(24, 100)
    upper = rng.random(24) < (0.3, 0.5)[seed]
    k = rng.binomial(100, np.where(upper, rng.beta(30, 20, 24), rng.beta(2, 40, 24)))
    found = two_modes(k / 100, n)
    best, loss = least_loss(k, n)
    low, high = sorted(best[1:3])
    assert_allclose([found.lower, found.upper], [low, high], atol=2e-3)
    assert_allclose(found.share, best[0], atol=2e-3)
    for end in (found.share_low, found.share_high):
        assert_allclose(2 * (least_loss(k, n, end)[1] - loss), 3.84, atol=0.2)


def test_split_of_other_scores_has_no_unit():
    scores = np.r_[np.linspace(2.0, 2.2, 12), np.linspace(3.0, 3.3, 8)]
    found, moved = two_modes(scores), two_modes(100 * scores - 7)
    assert_allclose([found.lower, found.upper, found.share], [2.1, 3.15, 0.4], atol=0.01)
    assert found.share_low < 0.4 < found.share_high
    assert_allclose([moved.lower, moved.upper], [203, 308], atol=0.5)
    assert_allclose(moved.share_low, found.share_low, atol=5e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_modes([0.5] * 5), "all scores are equal"),
        (lambda: two_modes([0.5, 1.5], [10, 10]), "not a proportion"),
        (lambda: two_modes([0.5, 0.6], confidence=1.0), "confidence"),
        (lambda: dip_test([]), "no value"),
        (lambda: dip_statistic([1.0, np.nan]), "values"),
        (lambda: one_rate_p([5, 11], [10, 10]), "above the examples"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def observations(score, metric="exact_str_match", **columns):
    return pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "metric": metric, "model_family": "f",
            "model_name": "m", "total_params": 1000, "score": score,
            "replicate": [str(i) for i in range(len(score))], "n_examples": 100, **columns,
        }
    )  # fmt: skip


TWO = np.r_[np.arange(12) % 4, 60 + np.arange(8)] / 100


def test_frame_has_a_row_for_each_scale_with_several_seeds():
    table = pd.concat(
        [
            observations(TWO),
            observations(TWO[:5], total_params=2000, model_name="m2"),
            observations([0.5] * 12, total_params=3000, model_name="m3"),
            observations([0.5], total_params=4000, model_name="m4"),
        ]
    )
    found = bm.bimodality(table)
    assert found["x"].tolist() == [1000, 2000, 3000]
    assert found["n_seeds"].tolist() == [20, 5, 12]
    assert found["status"].tolist() == ["ok", "too_few_seeds", "flat"]
    assert found["bimodal"].tolist() == [True, pd.NA, pd.NA]
    assert found["n_searched"].tolist() == [1, 1, 1]
    # In the order of the frame: the search ends elsewhere within its precision in another.
    row, split = found.iloc[0], two_modes(np.sort(TWO), [100] * 20)
    assert row["p_dip"] == dip_test(TWO, resolution=0.01).p_value
    assert row["p_one_rate"] == one_rate_p(TWO * 100, [100] * 20)
    modes = row[["lower_mode", "upper_mode"]].astype(float)
    assert_allclose(modes, [split.lower, split.upper], atol=1e-4)
    assert_allclose(row["share_upper"], 0.4, atol=0.01)
    rate_noise = np.mean(TWO * (1 - TWO) / 99)
    assert_allclose(row["spread_of_rates"], np.sqrt(TWO.var(ddof=1) - rate_noise))
    assert found.iloc[1:][["dip", "p_dip", "share_upper", "gap"]].isna().all(axis=None)
    assert bm.bimodality(table, min_seeds=5)["status"].tolist() == ["ok", "ok", "flat"]
    assert MIN_SEEDS == 10


def test_frame_in_percent_is_that_of_proportions():
    part = bm.bimodality(observations(TWO)).iloc[0]
    percent = bm.bimodality(observations(100 * TWO, metric="exact")).iloc[0]
    for name in ("lower_mode", "upper_mode", "gap", "spread_of_rates"):
        assert_allclose(percent[name], 100 * part[name], rtol=1e-3)
    for name in ("dip", "p_dip", "p_one_rate", "share_upper", "share_low", "share_high"):
        assert_allclose(percent[name], part[name], rtol=1e-3)


def test_frame_of_losses_and_of_nothing():
    loss = bm.bimodality(observations(3 - TWO, metric="cross_entropy", n_examples=None)).iloc[0]
    assert loss["status"] == "ok"
    assert bool(loss["bimodal"])
    assert_allclose(loss["share_upper"], 0.6, atol=0.01)
    assert np.isnan(loss["p_one_rate"])
    assert np.isnan(loss["spread_of_rates"])
    none = bm.bimodality(observations([0.5]))
    assert len(none) == 0
    assert list(none) == list(bm.bimodality(observations(TWO)))
