"""Binomial tails and intervals: against statsmodels and scipy, by enumeration, at the ends."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta.core.binomial import (
    Method,
    clopper_pearson,
    critical_count,
    jeffreys,
    proportion_interval,
    score_interval,
    wilson,
)
from bigbench_meta.core.errors import InputError

NAN = math.nan
METHODS = get_args(Method)
IN_STATSMODELS = {"wilson": "wilson", "jeffreys": "jeffreys", "clopper_pearson": "beta"}
BY_NAME = {"wilson": wilson, "jeffreys": jeffreys, "clopper_pearson": clopper_pearson}

methods = st.sampled_from(METHODS)
levels = st.sampled_from([0.01, 0.05, 0.1, 0.3])
confidences = st.sampled_from([0.001, 0.1, 0.5, 0.8, 0.95, 0.99, 0.9999])


@st.composite
def counts(draw, *, whole=False):
    """Successes and trials; successes at the ends, whole and between."""
    n = draw(st.one_of(st.integers(1, 20), st.integers(1, 10**7)))
    share = st.floats(1e-6, 1).map(lambda p: p * n)  # smaller ones overflow in statsmodels
    number = st.integers(0, n).map(float)
    return draw(number if whole else st.one_of(number, share)), n


# --- Against others ---


@given(counts(), methods, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_inside_equals_statsmodels(pair, method, confidence):
    x, n = pair
    low, high = proportion_interval(x, n, confidence=confidence, method=method)
    expected = proportion_confint(x, n, alpha=1 - confidence, method=IN_STATSMODELS[method])
    # Elsewhere statsmodels' Jeffreys interval leaves the estimate out, and ours does not.
    if 0 < x < n and expected[0] <= x / n <= expected[1]:
        assert (float(low), float(high)) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@given(counts(whole=True), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_clopper_pearson_is_scipys_exact_interval(pair, confidence):
    x, n = pair
    expected = stats.binomtest(int(x), n).proportion_ci(confidence, method="exact")
    low, high = clopper_pearson(x, n, confidence=confidence)
    # scipy searches its ends up to 2e-12.
    assert (float(low), float(high)) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-11)


@given(counts(), methods, confidences)
def test_functions_are_the_methods(pair, method, confidence):
    found = BY_NAME[method](*pair, confidence=confidence)
    np.testing.assert_array_equal(
        found, proportion_interval(*pair, confidence=confidence, method=method)
    )


# --- At the ends ---


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 10, 2000, 10**9])
def test_none_and_all_right(method, n):
    low, high = proportion_interval([0, n], n, method=method)
    assert low[0] == 0.0
    assert high[1] == 1.0
    assert 0 < high[0] < 1
    assert 0 < low[1] < 1
    assert low[1] == pytest.approx(1 - high[0], rel=1e-6)


@pytest.mark.parametrize(
    ("method", "n", "high"),
    [
        ("clopper_pearson", 2000, 1 - 0.025 ** (1 / 2000)),  # (1 - p)^n = 0.025
        ("wilson", 2000, 1.959963984540054**2 / (2000 + 1.959963984540054**2)),
        ("jeffreys", 2000, stats.beta.ppf(0.975, 0.5, 2000.5)),
    ],
)
def test_upper_end_of_none_right(method, n, high):
    assert proportion_interval(0, n, method=method).high == pytest.approx(high, rel=1e-9)


@given(counts(), methods, confidences)
def test_contains_the_estimate_and_has_a_width(pair, method, confidence):
    x, n = pair
    low, high = proportion_interval(x, n, confidence=confidence, method=method)
    assert 0 <= low <= x / n <= high <= 1
    assert low < high
    assert not (low == 0 and high == 1)


@given(st.integers(1, 1000), methods, st.floats(1e-12, 1e-3))
def test_hardly_any_success_is_near_none(n, method, few):
    # No jump at the end: Jeffreys' quantile alone would leave x / n out.
    none = proportion_interval(0, n, method=method)
    some = proportion_interval(few, n, method=method)
    assert some.low <= few / n
    assert some.high == pytest.approx(float(none.high), rel=0.1, abs=1e-3)


# --- Invariants ---


@given(counts(), methods, confidences)
def test_wrong_answers_mirror_right_ones(pair, method, confidence):
    x, n = pair
    low, high = proportion_interval(x, n, confidence=confidence, method=method)
    mirrored = proportion_interval(n - x, n, confidence=confidence, method=method)
    assert float(low) == pytest.approx(1 - mirrored.high, abs=1e-9)
    assert float(high) == pytest.approx(1 - mirrored.low, abs=1e-9)


@given(st.integers(1, 300), methods, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_more_successes_move_both_ends_up(n, method, shares):
    x = np.sort(shares) * n
    low, high = proportion_interval(x, n, method=method)
    assert (np.diff(low) >= -1e-12).all()
    assert (np.diff(high) >= -1e-12).all()


@given(counts(), methods)
def test_more_confidence_is_wider(pair, method):
    inner = proportion_interval(*pair, confidence=0.8, method=method)
    outer = proportion_interval(*pair, confidence=0.99, method=method)
    assert outer.low <= inner.low + 1e-12
    assert inner.high <= outer.high + 1e-12


@given(counts())
def test_exact_is_no_narrower_than_jeffreys(pair):
    # Jeffreys' quantiles lie between those of the two beta distributions of Clopper and Pearson.
    x, n = pair
    exact, other = clopper_pearson(x, n), jeffreys(x, n)
    assert exact.low <= other.low + 1e-12
    assert other.high <= exact.high + 1e-12


# --- Coverage, by enumeration of all counts ---


def coverage(method, n, rates, confidence=0.95):
    x = np.arange(n + 1)
    low, high = proportion_interval(x, n, confidence=confidence, method=method)
    inside = (low <= rates[:, None]) & (rates[:, None] <= high)
    return (stats.binom.pmf(x, n, rates[:, None]) * inside).sum(axis=1)


@pytest.mark.parametrize("n", [1, 5, 20, 100, 400])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_exact_covers_every_rate(n, confidence):
    rates = np.linspace(0, 1, 2001)
    assert coverage("clopper_pearson", n, rates, confidence).min() >= confidence - 1e-12


@pytest.mark.parametrize("method", ["wilson", "jeffreys"])
@pytest.mark.parametrize("n", [20, 100, 400])
def test_others_cover_on_average_but_not_every_rate(method, n):
    covered = coverage(method, n, (np.arange(4000) + 0.5) / 4000)
    assert covered.mean() == pytest.approx(0.95, abs=0.006)
    assert covered.min() < 0.95
    assert covered.min() > 0.83


# --- Scores with a range ---


@given(
    counts(),
    methods,
    st.sampled_from([(0.0, 100.0), (-1.0, 1.0), (-100.0, 0.0), (1.0, 9.0), (1e6, 1e6 + 1)]),
)
def test_score_interval_is_that_of_the_proportion_moved(pair, method, ends):
    x, n = pair
    least, most = ends
    score = least + x / n * (most - least)
    found = score_interval(score, n, low=least, high=most, method=method)
    expected = proportion_interval(
        np.clip((score - least) / (most - least) * n, 0, n), n, method=method
    )
    for got, share in zip(found, expected, strict=True):
        assert got == pytest.approx(least + share * (most - least), rel=1e-9, abs=1e-9)
    assert least <= found.low <= score <= found.high <= most


def test_percent_against_statsmodels():
    # GPT-3 175B on arithmetic 5D+, zero-shot: 0.65 percent of 2,000 are 13.
    found = score_interval(0.65, 2000, high=100.0)
    expected = [100 * end for end in proportion_confint(13, 2000, method="wilson")]
    assert [float(end) for end in found] == pytest.approx(expected, rel=1e-9)


def test_each_score_has_its_own_range():
    found = score_interval([50.0, 0.5], 100, low=[0, 0], high=[100, 1])
    assert found.low[0] == pytest.approx(100 * found.low[1], rel=1e-12)


# --- Shapes, gaps and refusals ---


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("x_shape", "n_shape", "shape"),
    [
        ((), (), ()),
        ((3,), (), (3,)),
        ((), (2, 1), (2, 1)),
        ((2, 1), (3,), (2, 3)),
        ((0,), (), (0,)),
    ],
)
def test_any_shape(method, x_shape, n_shape, shape):
    found = proportion_interval(np.full(x_shape, 2.0), np.full(n_shape, 10), method=method)
    assert found.low.shape == found.high.shape == shape
    one = proportion_interval(2, 10, method=method)
    np.testing.assert_array_equal(found.low, np.full(shape, one.low))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("x", "n"), [(NAN, 10), (3, NAN), (NAN, NAN), (0, 0)])
def test_what_is_not_known_has_no_interval(method, x, n):
    found = proportion_interval([x, 1], [n, 10], method=method)
    assert np.isnan(found.low[0])
    assert np.isnan(found.high[0])
    assert found.low[1] == proportion_interval(1, 10, method=method).low


def test_rounding_beyond_the_ends_is_none():
    found = wilson([-1e-12, 10 + 1e-12], 10)
    assert (found.low[0], found.high[1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("x", "n", "options", "message"),
    [
        (11, 10, {}, r"successes: 11.0 of n = 10.0"),
        (-1, 10, {}, r"successes: -1.0 of n = 10.0"),
        (1, -1, {}, r"n: -1.0, not a count"),
        (1, math.inf, {}, r"n: inf, not a count"),
        (1, 2, {"confidence": 1.0}, r"confidence: 1.0 is not between 0 and 1"),
        (1, 2, {"confidence": 0}, r"confidence: 0 is not between 0 and 1"),
        (1, 2, {"confidence": NAN}, r"confidence: nan is not between 0 and 1"),
        (1, 2, {"method": "wald"}, r"method: 'wald'\nHint: one of wilson, jeffreys, clopper_p"),
        ("a", 2, {}, r"successes or n: not numbers whose shapes match"),
        ([1, 2], [1, 2, 3], {}, r"successes or n: not numbers whose shapes match"),
    ],
)
def test_refusals(x, n, options, message):
    with pytest.raises(InputError, match=message):
        proportion_interval(x, n, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 1.0}, "low: 1.0 is not below high 1.0"),
        ({"low": 2.0, "high": 1.0}, "low: 2.0 is not below high 1.0"),
        ({"high": 0.1}, "score: 0.5, not from low 0.0 to high 0.1"),
        ({"low": 0.6}, "score: 0.5, not from low 0.6 to high 1.0"),
        ({"high": "x"}, "high: not numbers"),
    ],
)
def test_scores_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        score_interval(0.5, 10, **options)


# --- Critical counts ---


@given(st.integers(1, 60), st.floats(0, 1), levels)
def test_critical_count_by_enumeration(n, rate, alpha):
    assert critical_count(np.array(n), np.array(rate), np.array(alpha)) == oracles.critical_count(
        n, rate, alpha
    )


@given(st.integers(1, 10**9), st.floats(0.001, 0.999), levels)
def test_critical_count_of_large_test_sets(n, rate, alpha):
    count = float(critical_count(np.array(float(n)), np.array(rate), np.array(alpha)))
    assert stats.binom.sf(count - 1, n, rate) <= alpha * (1 + 1e-9)
    assert stats.binom.sf(count - 2, n, rate) > alpha * (1 - 1e-9)


@pytest.mark.parametrize(
    ("n", "rate", "alpha", "expected"),
    [
        (4, 0.5, 0.0625, 4),  # P(X = 4) = 1/16, equal to the level
        (4, 0.5, 0.06, 5),  # no count is rare enough
        (10, 0.0, 0.05, 1),  # one right answer is impossible
        (10, 1.0, 0.05, 11),  # ten are certain
        (1, 0.04, 0.05, 1),
        (NAN, 0.5, 0.05, NAN),
        (5, NAN, 0.05, NAN),
        (5, 0.5, NAN, NAN),
    ],
)
def test_critical_count_by_hand(n, rate, alpha, expected):
    found = critical_count(np.array([n]), np.array([rate]), np.array([alpha]))
    np.testing.assert_array_equal(found, [expected])
