"""What a test set can show: exact power against enumeration."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference import power
from bigbench_meta.inference.power import (
    detection_power,
    exact_match_accuracy,
    examples_needed,
    size_from_which,
    smallest_detectable,
)

INF, NAN = math.inf, math.nan

levels = st.sampled_from([0.01, 0.05, 0.1, 0.3])
shares = st.floats(0.001, 0.999)


def naive_powers(accuracy, chance, alpha, sizes):
    """The power at each size, with critical counts from scipy."""
    critical = stats.binom.isf(alpha, sizes, chance) + 1
    return stats.binom.sf(critical - 1, sizes, accuracy)


# --- Power ---


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), levels)
def test_power_by_enumeration(n, accuracy, chance, alpha):
    expected = oracles.upper_tail(oracles.critical_count(n, chance, alpha), n, accuracy)
    found = detection_power(accuracy, n, chance=chance, alpha=alpha)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_power_at_a_chance_of_zero_is_that_of_one_success(n, accuracy):
    assert detection_power(accuracy, n) == pytest.approx(1 - (1 - accuracy) ** n, abs=1e-9)


def test_size_of_the_test_is_at_most_its_level():
    n, chance = np.arange(1, 400), np.linspace(0, 0.99, 100)[:, None]
    assert (detection_power(chance, n, chance=chance) <= 0.05 + 1e-12).all()


# --- Smallest detectable accuracy ---


@given(st.integers(1, 10**6), st.floats(0, 0.99), st.floats(0.35, 0.999), levels)
def test_smallest_detectable_has_the_power_and_less_has_not(n, chance, wanted, alpha):
    found = smallest_detectable(n, chance=chance, power=wanted, alpha=alpha)
    if np.isnan(found):
        assert oracles.critical_count(n, chance, alpha) == n + 1
        return
    assert found > chance
    assert detection_power(found, n, chance=chance, alpha=alpha) == pytest.approx(wanted, rel=1e-6)
    less = found * (1 - 1e-4)
    assert detection_power(less, n, chance=chance, alpha=alpha) < wanted


@given(st.integers(1, 10**12), st.floats(0.01, 0.999))
def test_smallest_detectable_from_zero(n, wanted):
    expected = -math.expm1(math.log1p(-wanted) / n)
    assert smallest_detectable(n, power=wanted) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "chance", "expected"),
    [
        (3, 0.5, NAN),  # P(3 of 3) = 1/8 is above 0.05
        (5, 0.5, 0.95 ** (1 / 5)),  # 1/32: all five have to be right
        (1, 0.04, 0.95),
        (NAN, 0.5, NAN),
        (10, 1.0, NAN),
    ],
)
def test_smallest_detectable_by_hand(n, chance, expected):
    found = smallest_detectable([n], chance=chance)
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_a_power_below_the_level_is_had_at_chance():
    assert smallest_detectable(100, chance=0.5, power=0.01) == 0.5


# --- Examples needed ---


@given(
    st.floats(0.001, 0.9),
    st.floats(0.08, 1),
    st.floats(0.3, 0.99),
    levels,
)
def test_examples_needed_by_enumeration(chance, part, wanted, alpha):
    accuracy = chance + part * (1 - chance)
    found = float(examples_needed(accuracy, chance=chance, power=wanted, alpha=alpha))
    sizes = np.arange(1, 3 * found + 2000)
    enough = naive_powers(accuracy, chance, alpha, sizes) >= wanted * (1 - 1e-9)
    assert enough[sizes >= found].all()
    assert found == 1 or not enough[int(found) - 2]


def test_a_size_may_have_the_power_and_a_larger_one_not():
    # The teeth of the saw: chance 1/2, accuracy 0.7, power 0.8.
    sizes = np.arange(1, 200)
    enough = naive_powers(0.7, 0.5, 0.05, sizes) >= 0.8
    found = examples_needed(0.7, chance=0.5, power=0.8)
    first = sizes[enough][0]
    assert found == sizes[~enough][-1] + 1
    assert first < found
    assert not enough[sizes > first].all()


@given(st.floats(1e-4, 1), st.floats(0.01, 0.999))
def test_examples_needed_from_zero(accuracy, wanted):
    found = int(examples_needed(accuracy, power=wanted))
    assert 1 - (1 - accuracy) ** found >= wanted - 1e-9
    assert found == 1 or 1 - (1 - accuracy) ** (found - 1) < wanted + 1e-9


@pytest.mark.parametrize(
    ("accuracy", "wanted", "expected"),
    [
        (0.5, 0.75, 2),  # 1 - 1/4, exactly
        (0.95, 0.95, 1),
        (0.9, 0.99, 2),  # log(0.01) / log(0.1) is 2 up to rounding
        (0.1, 0.271, 3),
        (1.0, 0.999, 1),
        (0.001, 0.95, 2995),
        (0.0, 0.95, INF),
    ],
)
def test_examples_needed_from_zero_by_hand(accuracy, wanted, expected):
    assert examples_needed(accuracy, power=wanted) == expected


def test_a_tiny_chance_is_nearly_none():
    # One success in a million examples is still rarer than 0.05 by a chance of 1e-9.
    assert examples_needed(0.01, chance=1e-9) == examples_needed(0.01)


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_not_above_chance_takes_more_than_any_number(one, other):
    low, high = sorted([one, other])
    assert examples_needed(low, chance=high) == INF


def test_a_difference_too_small_to_search_for():
    found = examples_needed([0.25 + 1e-9, 0.26, NAN], chance=0.25)
    np.testing.assert_array_equal(found, [NAN, 20756, NAN])


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=6), st.integers(1, 3))
def test_elements_do_not_touch_each_other(pairs, block):
    accuracy, chance = np.array(pairs).T
    # Differences of a thousandth take a million examples.
    accuracy = np.where(np.abs(accuracy - chance) < 0.05, 1.0, accuracy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power, "_BLOCK", block)
        found = examples_needed(accuracy, chance=chance)
    alone = [float(examples_needed(a, chance=c)) for a, c in zip(accuracy, chance, strict=True)]
    np.testing.assert_array_equal(found, alone)


@given(st.floats(0.01, 0.8), st.integers(2, 5))
def test_parts_of_the_search_do_not_matter(chance, parts):
    arrays = [np.array([a]) for a in (chance + 0.15, chance, 0.9, 0.05)]
    expected = size_from_which(*arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power, "_PARTS", parts)
        np.testing.assert_array_equal(size_from_which(*arrays), expected)


def test_needed_and_detectable_agree():
    # From the size needed on, the accuracy is detectable; one before, it is not.
    for chance in (0.0, 0.25, 0.5):
        n = float(examples_needed(0.6, chance=chance))
        assert smallest_detectable(n, chance=chance) <= 0.6 * (1 + 1e-12)
        assert n == 1 or smallest_detectable(n - 1, chance=chance) > 0.6


# --- Exact match ---


@given(st.floats(0, 1), st.integers(1, 50))
def test_exact_match_is_a_product(error, tokens):
    expected = math.prod([1 - error] * tokens)
    assert exact_match_accuracy(error, tokens) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_examples_needed_grow_exponentially_with_length():
    needed = examples_needed(exact_match_accuracy(0.5, np.arange(5, 15)))
    np.testing.assert_allclose(needed[1:] / needed[:-1], 2, rtol=0.02)


# --- Shapes and refusals ---


@pytest.mark.parametrize("function", [smallest_detectable, examples_needed])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_any_shape(function, shape):
    value = 100 if function is smallest_detectable else 0.3
    for chance in (0.0, 0.1):
        found = function(np.full(shape, value), chance=chance)
        np.testing.assert_array_equal(found, np.full(shape, function(value, chance=chance)))
        assert np.shape(found) == shape


@pytest.mark.parametrize(
    ("function", "arguments", "options", "message"),
    [
        (detection_power, (1.5, 10), {}, r"accuracy: 1.5, not in \[0, 1\]"),
        (detection_power, (0.5, 0), {}, r"n_examples: 0, not in \[1, 1e\+12\]"),
        (detection_power, (0.5, 10.5), {}, "n_examples: 10.5 is not whole"),
        (detection_power, (0.5, 10), {"alpha": 0}, r"alpha: 0, not in \(0, 1\)"),
        (smallest_detectable, (10,), {"power": 1}, r"power: 1, not in \(0, 1\)"),
        (smallest_detectable, (10,), {"chance": 25}, r"chance: 25, not in \[0, 1\]"),
        (smallest_detectable, (1e13,), {}, "n_examples: 1e"),
        (examples_needed, (-0.1,), {}, "accuracy: -0.1, not in"),
        (examples_needed, ("a",), {}, "accuracy: not numbers"),
        (exact_match_accuracy, (0.5, 0), {}, "n_tokens: 0, not in"),
        (exact_match_accuracy, (2.0, 1), {}, "token_error: 2, not in"),
    ],
)
def test_refusals(function, arguments, options, message):
    with pytest.raises(InputError, match=message):
        function(*arguments, **options)
