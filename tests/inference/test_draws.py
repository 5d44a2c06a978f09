"""Quantile tables and permutations of the bootstrap, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bigbench_meta.inference.draws import (
    Shuffler,
    binomial_quantiles,
    middle_levels,
    normal_quantiles,
)

INF = np.inf


def binomial(rate, n, size):
    out = np.empty((len(rate), size))
    binomial_quantiles(np.array(rate, dtype=float), np.array(n, dtype=float), out)
    return out


@given(
    st.lists(
        st.tuples(st.floats(1e-9, 1 - 1e-9), st.integers(1, 3000)).filter(
            lambda pair: pair[1] * pair[0] * (1 - pair[0]) < 25
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([1, 2, 99, 200, 999]),
)
def test_small_binomial_quantiles_are_exact(pairs, size):
    rate, n = map(list, zip(*pairs, strict=True))
    counts = binomial(rate, n, size) * np.array(n)[:, None]
    level = middle_levels(size)
    for p, k, row in zip(rate, n, counts, strict=True):
        # A level that is itself a value of the distribution function may fall on either side.
        low, high = (stats.binom.ppf(level * (1 + s), k, p) for s in (-1e-9, 1e-9))
        near = np.rint(row)
        np.testing.assert_allclose(row, near, atol=1e-9)
        assert ((near >= low) & (near <= high)).all()


@pytest.mark.parametrize(("least", "most"), [(25, 50), (50, 400), (400, 1e4)])
def test_large_binomial_quantiles_differ_rarely_and_by_one(least, most):
    rng = np.random.default_rng(0)
    rate = np.exp(rng.uniform(np.log(1e-3), np.log(0.5), 40))
    rate = np.where(rng.random(40) < 0.5, rate, 1 - rate)
    n = np.ceil(rng.uniform(least, most, 40) / (rate * (1 - rate)))
    counts = binomial(rate, n, 999) * n[:, None]
    exact = stats.binom.ppf(middle_levels(999), n[:, None], rate[:, None])
    off = np.abs(counts - exact)
    assert off.max() < 1 + 1e-6
    assert (off > 0.5).mean() < 0.01


def test_binomial_quantiles_of_any_mixture_are_those_of_each_alone():
    rate = [1e-12, 0.001, 0.5, 0.5, 1 - 1e-12, 0.9]
    n = [2000, 2000, 1, 10**6, 50, 40]
    together = binomial(rate, n, 99)
    for row, p, k in zip(together, rate, n, strict=True):
        np.testing.assert_array_equal(row, binomial([p], [k], 99)[0])
    assert (together >= 0).all()
    assert (together <= 1).all()
    assert (np.diff(together, axis=1) >= 0).all()


def test_number_of_examples_is_rounded():
    np.testing.assert_array_equal(binomial([0.3], [9.6], 99), binomial([0.3], [10], 99))
    np.testing.assert_array_equal(binomial([0.3], [0.2], 99), binomial([0.3], [1], 99))


@pytest.mark.parametrize(
    ("mean", "error", "low", "high"),
    [
        (0.0, 1.0, -INF, INF), (5.0, 0.1, -INF, INF), (0.1, 0.2, 0.0, 1.0), (0.0, 0.2, 0.0, 1.0),
        (1.0, 3.0, 0.0, 1.0), (2.0, 1.0, 0.0, INF), (-2.0, 1.0, -INF, -1.5), (0.5, 1e-3, 0.0, 1.0),
    ],
)  # fmt: skip
def test_normal_quantiles_are_those_of_scipy(mean, error, low, high):
    out = np.empty((2, 99))
    ends = np.array([low, -INF]), np.array([high, INF])
    normal_quantiles(np.array([mean, 7.0]), np.array([error, 2.0]), *ends, out)
    own = stats.truncnorm((low - mean) / error, (high - mean) / error, loc=mean, scale=error)
    np.testing.assert_allclose(out[0], own.ppf(middle_levels(99)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(out[1], stats.norm.ppf(middle_levels(99), 7.0, 2.0))


@given(st.integers(1, 60), st.integers(1, 150), st.binary(max_size=8), st.integers(0, 3))
def test_orders_are_permutations(size, n_points, content, seed):
    orders = Shuffler(size, n_points, seed).orders(content, n_points)
    assert orders.shape == (n_points, size)
    assert (np.sort(orders, axis=1) == np.arange(size)).all()


@given(st.integers(5, 12), st.integers(12, 90), st.binary(max_size=8))
def test_orders_depend_on_seed_and_content_alone(n_points, longest, content):
    first = Shuffler(99, 12, 5)
    first.orders(b"another curve", 12)
    own = first.orders(content, n_points)
    np.testing.assert_array_equal(own, Shuffler(99, longest, 5).orders(content, n_points))
    other = Shuffler(99, 12, 6).orders(content, n_points)
    assert (own != other).any()
    assert (own != first.orders(content + b"!", n_points)).any()


def test_points_of_a_long_curve_have_orders_of_their_own():
    orders = Shuffler(50, 200, 0).orders(b"long", 200)
    assert len(np.unique(orders, axis=0)) == 200


def test_orders_of_points_are_independent():
    shuffler = Shuffler(999, 12, 0)
    for curve in range(20):
        correlation = np.corrcoef(shuffler.orders(bytes([curve]), 12))
        assert np.abs(correlation[np.triu_indices(12, 1)]).max() < 0.15  # 4.7 standard errors
