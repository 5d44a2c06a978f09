"""Noise of points and replicates of curves, against score_ragged and plain draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import integer_curves

from bigbench_meta.curves.emergence import score_ragged
from bigbench_meta.inference.draws import Shuffler
from bigbench_meta.inference.inversion import value
from bigbench_meta.inference.replicates import Block, PointNoise, of_rows, statistics

NAN, INF = np.nan, np.inf


def noise_of(y, n=NAN, stderr=NAN, low=0.0, high=1.0):
    values = np.asarray(y, dtype=float).ravel()
    full = [np.broadcast_to(np.asarray(v, dtype=float), values.shape) for v in (n, stderr)]
    ends = [np.full(values.shape, end) for end in (low, high)]
    return PointNoise.of(values, *full, *ends)


def block_of(y, size=99, seed=0, **options):
    matrix = np.atleast_2d(np.asarray(y, dtype=float))
    shuffler = Shuffler(size, matrix.shape[1], seed)
    return Block(matrix, noise_of(matrix, **options), size, shuffler)


@given(
    st.integers(3, 14).flatmap(
        lambda n: st.lists(integer_curves(min_size=n, max_size=n), min_size=1, max_size=6)
    )
)
def test_statistics_are_those_of_score_ragged(curves):
    matrix = np.array(curves)
    m, n = matrix.shape
    found = of_rows(matrix)
    scores = score_ragged(matrix.ravel(), np.arange(m + 1) * n)
    np.testing.assert_allclose(found.ranges, scores.signed_range)
    np.testing.assert_allclose(np.sqrt(found.middle), scores.median_step, rtol=1e-12)
    moving = scores.signed_range != 0
    for denominator, expected in (
        ("middle", scores.emergence_score), ("mean", scores.linearity),
    ):  # fmt: skip
        ratio = value(found, denominator)
        np.testing.assert_allclose(ratio[moving], expected[moving], rtol=1e-12)
    planes = statistics([np.stack([column, column], axis=1) for column in matrix.T])
    np.testing.assert_array_equal(planes.middle[:, 1], found.middle)


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
    np.testing.assert_array_equal(noise.third_moment(), [0.0, 0.0])


def test_third_moment_is_that_of_scipy():
    noise = noise_of([10.0, 90.0], 20, low=0.0, high=100.0)
    rate = noise.mean / 100
    skew = stats.binom(20, rate).stats("s")
    np.testing.assert_allclose(noise.third_moment(), skew * noise.error**3)


def test_upside_down_and_in_percent_is_the_same_block():
    y = np.array([[0.1, 0.0, 0.4, 0.35]])
    up = block_of(y, n=50)
    down = block_of(-100 * y, n=50, low=-100.0, high=0.0)
    assert up.sign == 1
    assert down.sign == -1
    np.testing.assert_allclose(up.scores, down.scores, atol=1e-15)
    one, other = (b.replicates(b.centre) for b in (up, down))
    np.testing.assert_allclose(one.ranges, other.ranges, atol=1e-12)
    np.testing.assert_allclose(one.middle, other.middle, atol=1e-12)


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
    found = block.replicates(block.centre)
    noise, rng = noise_of(y, **options), np.random.default_rng(1)
    draws = np.empty((4, 200_000))
    for row, plane in enumerate(draws):
        if np.isfinite(noise.n_examples[row]):
            n = int(noise.n_examples[row])
            plane[:] = rng.binomial(n, noise.mean[row], plane.size) / n
        else:
            mean, error = noise.mean[row], noise.error[row]
            ends = [(end[row] - mean) / error for end in (noise.low, noise.high)]
            plane[:] = stats.truncnorm(*ends, mean, error).rvs(plane.size, random_state=rng)
    expected = statistics(list((draws - y[0]) / 0.5))
    for name in ("ranges", "middle", "mean"):
        own, plain = getattr(found, name)[0], getattr(expected, name)
        places = np.quantile(plain, np.linspace(0.05, 0.95, 19)) + 1e-9  # among equal values
        shares = [(values[:, None] <= places).mean(axis=0) for values in (own, plain)]
        np.testing.assert_allclose(*shares, atol=0.02)


def test_given_errors_are_added_and_cut_at_the_limits():
    y = np.array([[0.0, 0.2, 0.1], [0.9, 0.5, 0.1]])
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 0.2, (2, 3, 19))
    block = Block(y, noise_of(y, stderr=0.2), 19, Shuffler(19, 3, 0), errors)
    found = block.replicates(block.scores)
    for curve, (scores, own) in enumerate(zip(y, errors, strict=True)):
        replicates = np.clip(scores[:, None] + own, 0, 1).T
        expected = score_ragged(replicates.ravel(), np.arange(20) * 3)
        unit = np.ptp(scores) * block.sign[curve]
        np.testing.assert_allclose(found.ranges[curve] * unit, expected.signed_range, atol=1e-12)
