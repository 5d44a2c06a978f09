"""Quantiles, permutations and replicates of curves, against scipy and plain draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import integer_curves

from bigbench_meta.curves.emergence import score_ragged
from bigbench_meta.inference.resampling import (
    CurveReplicates,
    Permutations,
    PointNoise,
    binomial_quantiles,
    middle_levels,
    normal_quantiles,
    of_curves,
    of_scales,
)

NAN, INF = np.nan, np.inf


def noise_of(y, n=NAN, stderr=NAN, low=0.0, high=1.0):
    values = np.asarray(y, dtype=float).ravel()
    full = [np.broadcast_to(np.asarray(v, dtype=float), values.shape) for v in (n, stderr)]
    ends = [np.full(values.shape, end) for end in (low, high)]
    return PointNoise.of(values, *full, *ends)


def block_of(y, size=99, seed=0, **options):
    matrix = np.atleast_2d(np.asarray(y, dtype=float))
    permutations = Permutations(size, matrix.shape[1], seed)
    return CurveReplicates(matrix, noise_of(matrix, **options), size, permutations)


@given(
    st.integers(3, 14).flatmap(
        lambda n: st.lists(integer_curves(min_size=n, max_size=n), min_size=1, max_size=6)
    )
)
def test_statistics_are_those_of_score_ragged(curves):
    matrix = np.array(curves)
    m, n = matrix.shape
    found = of_curves(matrix)
    scores = score_ragged(matrix.ravel(), np.arange(m + 1) * n)
    np.testing.assert_allclose(found.ranges, scores.signed_range)
    np.testing.assert_allclose(np.sqrt(found.median), scores.median_step, rtol=1e-12)
    moving = scores.signed_range != 0
    for denominator, expected in (
        ("median", scores.emergence_score), ("mean", scores.linearity),
    ):  # fmt: skip
        ratio = found.ratio(denominator)
        np.testing.assert_allclose(ratio[moving], expected[moving], rtol=1e-12)
    replicates = of_scales([np.stack([column, column], axis=1) for column in matrix.T])
    np.testing.assert_array_equal(replicates.median[:, 1], found.median)


def test_noise_is_binomial_where_it_can_be():
    y = [0.0, 1.0, 0.25, 0.5, 0.5, 0.5]
    n = [10, 10, 100, NAN, NAN, 0]
    stderr = [0.0, 0.0, 0.2, 0.1, NAN, 0.0]
    noise = noise_of(y, n, stderr)
    np.testing.assert_allclose(
        noise.mean, [0.5 / 11, 10.5 / 11, 25.5 / 101, 0.5, 0.5, 0.5], rtol=1e-12
    )
    rate = noise.mean[:3]
    np.testing.assert_allclose(
        noise.error, [*np.sqrt(rate * (1 - rate) / [10, 10, 100]), 0.1, NAN, NAN]
    )
    np.testing.assert_array_equal(noise.n_examples, [10, 10, 100, NAN, NAN, NAN])


def test_unbounded_scores_have_the_given_error():
    noise = noise_of([3.0, 4.0], 100, [0.5, 0.0], low=-INF, high=INF)
    np.testing.assert_array_equal(noise.error, [0.5, NAN])


def test_upside_down_and_in_percent_is_the_same_block():
    y = np.array([[0.1, 0.0, 0.4, 0.35]])
    up = block_of(y, n=50)
    down = block_of(-100 * y, n=50, low=-100.0, high=0.0)
    assert up.sign == 1
    assert down.sign == -1
    np.testing.assert_allclose(up.scores, down.scores, atol=1e-15)
    one, other = (b.about(b.centre) for b in (up, down))
    np.testing.assert_allclose(one.ranges, other.ranges, atol=1e-12)
    np.testing.assert_allclose(one.median, other.median, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"n": 40}, {"n": 5000}, {"stderr": 0.05},
        {"stderr": 0.05, "low": -INF, "high": INF}, {"n": [40, NAN, 200, NAN], "stderr": 0.05},
    ],
)  # fmt: skip
def test_replicates_are_distributed_like_plain_draws(options):
    y = np.array([0.05, 0.1, 0.5, 0.55])
    size = 4999
    block = block_of(y, size, **options)
    found = block.about(block.centre)
    noise, rng = noise_of(y, **options), np.random.default_rng(1)
    draws = np.empty((4, 200_000))
    for row, scores in enumerate(draws):
        if np.isfinite(noise.n_examples[row]):
            n = int(noise.n_examples[row])
            scores[:] = rng.binomial(n, noise.mean[row], scores.size) / n
        else:
            mean, error = noise.mean[row], noise.error[row]
            ends = [(end[row] - mean) / error for end in (noise.low, noise.high)]
            scores[:] = stats.truncnorm(*ends, mean, error).rvs(scores.size, random_state=rng)
    expected = of_scales(list((draws - y[0]) / 0.5))
    for name in ("ranges", "median", "mean"):
        own, plain = getattr(found, name)[0], getattr(expected, name)
        places = np.quantile(plain, np.linspace(0.05, 0.95, 19)) + 1e-9  # among equal values
        shares = [(values[:, None] <= places).mean(axis=0) for values in (own, plain)]
        np.testing.assert_allclose(*shares, atol=0.02)


def test_given_errors_are_added_and_cut_at_the_limits():
    y = np.array([[0.0, 0.2, 0.1], [0.9, 0.5, 0.1]])
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 0.2, (2, 3, 19))
    block = CurveReplicates(y, noise_of(y, stderr=0.2), 19, Permutations(19, 3, 0), errors)
    found = block.about(block.scores)
    for curve, (scores, own) in enumerate(zip(y, errors, strict=True)):
        replicates = np.clip(scores[:, None] + own, 0, 1).T
        expected = score_ragged(replicates.ravel(), np.arange(20) * 3)
        unit = np.ptp(scores) * block.sign[curve]
        np.testing.assert_allclose(found.ranges[curve] * unit, expected.signed_range, atol=1e-12)


# --- Quantiles and permutations ---


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
    orders = Permutations(size, n_points, seed).orders(content, n_points)
    assert orders.shape == (n_points, size)
    assert (np.sort(orders, axis=1) == np.arange(size)).all()


@given(st.integers(5, 12), st.integers(12, 90), st.binary(max_size=8))
def test_orders_depend_on_seed_and_content_alone(n_points, longest, content):
    first = Permutations(99, 12, 5)
    first.orders(b"another curve", 12)
    own = first.orders(content, n_points)
    np.testing.assert_array_equal(own, Permutations(99, longest, 5).orders(content, n_points))
    other = Permutations(99, 12, 6).orders(content, n_points)
    assert (own != other).any()
    assert (own != first.orders(content + b"!", n_points)).any()


def test_points_of_a_long_curve_have_orders_of_their_own():
    orders = Permutations(50, 200, 0).orders(b"long", 200)
    assert len(np.unique(orders, axis=0)) == 200


def test_orders_of_points_are_independent():
    permutations = Permutations(999, 12, 0)
    for curve in range(20):
        correlation = np.corrcoef(permutations.orders(bytes([curve]), 12))
        assert np.abs(correlation[np.triu_indices(12, 1)]).max() < 0.15  # 4.7 standard errors
