"""What a test set can show: exact power against enumeration, and the resolution of curves."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import FEWER, observation_rows, to_frame

from bigbench_meta import build_curves, load_embedded, score_curves
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference import binomial as _binomial
from bigbench_meta.inference import power
from bigbench_meta.inference.binomial import critical_count, size_from_which
from bigbench_meta.inference.power import (
    detection_power,
    exact_match_accuracy,
    examples_needed,
    resolution,
    smallest_detectable,
)

INF, NAN = math.inf, math.nan

levels = st.sampled_from([0.01, 0.05, 0.1, 0.3])
shares = st.floats(0.001, 0.999)


def tail(count, n, rate):
    """P(X >= count), summed term by term."""
    return sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(count, n + 1))


def first_rare(n, rate, alpha):
    return next(count for count in range(n + 2) if tail(count, n, rate) <= alpha * (1 + 1e-12))


def naive_powers(accuracy, chance, alpha, sizes):
    """The power at each size, with critical counts from scipy."""
    critical = stats.binom.isf(alpha, sizes, chance) + 1
    return stats.binom.sf(critical - 1, sizes, accuracy)


# --- Critical counts and power ---


@given(st.integers(1, 60), st.floats(0, 1), levels)
def test_critical_count_by_enumeration(n, rate, alpha):
    assert critical_count(np.array(n), np.array(rate), np.array(alpha)) == first_rare(
        n, rate, alpha
    )


@given(st.integers(1, 10**9), shares, levels)
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


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), levels)
def test_power_by_enumeration(n, accuracy, chance, alpha):
    expected = tail(first_rare(n, chance, alpha), n, accuracy)
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
        assert first_rare(n, chance, alpha) == n + 1
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
        patch.setattr(_binomial, "_PARTS", parts)
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


# --- The resolution of curves ---


def observations(scores, *, metric="exact_str_match", task="t", **columns):
    rows = pd.DataFrame(
        {
            "benchmark": "b", "task": task, "metric": metric, "model_family": "f",
            "model_name": [f"m{i}" for i in range(len(scores))],
            "total_params": 10 ** np.arange(1, len(scores) + 1), "score": scores,
        }
    )  # fmt: skip
    return rows.assign(**columns)


def resolved(rows, *, catalog=None, **options):
    return resolution(build_curves(rows, catalog=catalog), catalog=catalog, **options)


def one(rows, **options):
    frame = resolved(rows, **options)
    assert len(frame) == 1
    return frame.iloc[0]


def test_resolution_by_hand():
    row = one(observations([0, 0.001, 0.005, 0.01, 0.4], n_examples=200))
    assert (row["n_scales"], row["n_usable"], row["n_examples_min"]) == (5, 5, 200)
    assert (row["chance"], row["chance_source"]) == (0, "floor")
    assert row["resolution"] == 1 / 200
    assert row["smallest_detectable"] == pytest.approx(1 - 0.05 ** (1 / 200))  # 0.0149
    assert (row["n_below"], row["share_below_resolution"]) == (2, 0.4)  # 0.005 is one example
    assert (row["n_undetectable"], row["share_undetectable"]) == (4, 0.8)
    assert (row["flat_kind"], row["reason"]) == ("not_flat", "")


def test_the_smallest_test_set_counts():
    sizes = pd.array([200, 100, None, 400], "Int64")
    row = one(observations([0.2, 0.2, 0.2, 0.2], n_examples=sizes))
    assert (row["n_scales"], row["n_usable"], row["n_examples_min"]) == (4, 3, 100)
    assert row["smallest_detectable"] == pytest.approx(1 - 0.05 ** (1 / 100))


def test_chance_of_multiple_choice():
    # Four choices, 100 examples: one of them above chance is 0.26.
    rows = observations(
        [0.25, 0.255, 0.27, 0.3, 0.45], metric="multiple_choice_grade",
        low_score=0.25, high_score=1.0, n_examples=100,
    )  # fmt: skip
    row = one(rows)
    assert (row["chance"], row["chance_source"]) == (0.25, "low_score")
    assert (row["n_below"], row["n_undetectable"]) == (2, 4)
    assert row["smallest_detectable"] == pytest.approx(
        float(smallest_detectable(100, chance=0.25)), rel=1e-12
    )


def test_percent_and_proportion_are_alike(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "metric,metric_type,higher_is_better,low,high,step\n"
        "share,nonlinear,true,0,1,1\npercent,nonlinear,true,0,100,100\n"
        "error,nonlinear,false,0,1,1\n",
        "utf-8",
    )
    catalog = MetricCatalog.read(path)
    scores = np.array([0, 0.01, 0.02, 0.3])
    share = one(observations(scores, metric="share", n_examples=100), catalog=catalog)
    percent = one(observations(100 * scores, metric="percent", n_examples=100), catalog=catalog)
    error = one(
        observations(1 - scores, metric="error", n_examples=100, low_score=1.0, high_score=0.0),
        catalog=catalog,
    )
    for name in ("n_below", "n_undetectable", "share_below_resolution", "flat_kind"):
        assert share[name] == percent[name] == error[name]
    for name in ("resolution", "smallest_detectable", "span"):
        assert percent[name] == pytest.approx(100 * share[name], rel=1e-9)
    assert error["resolution"] == share["resolution"]
    assert error["smallest_detectable"] == pytest.approx(1 - share["smallest_detectable"])
    assert error["p_flat"] == pytest.approx(share["p_flat"], rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "scores", "columns", "reason"),
    [
        ("made_up", [0.1, 0.2, 0.3], {"n_examples": 100}, "not_a_proportion"),
        ("bleu", [1.0, 2.0, 3.0], {"n_examples": 100}, "not_a_proportion"),
        ("exact_str_match", [0.1, 20.0, 0.3], {"n_examples": 100}, "score_out_of_range"),
        ("exact_str_match", [0.1, -0.5, 0.3], {"n_examples": 100}, "score_out_of_range"),
        ("exact_str_match", [0.1, 0.2, 0.3], {}, "n_unknown"),
        ("exact_str_match", [0.1, 0.2, 0.3], {"n_examples": 0}, "n_unknown"),
        ("exact_str_match", [0.1, 0.2], {"n_examples": 100}, "too_few_scales"),
        ("exact_str_match", [0.1, 0.2, NAN], {"n_examples": 100}, "too_few_scales"),
    ],
)
def test_reasons(metric, scores, columns, reason):
    row = one(observations(scores, metric=metric, **columns))
    assert (row["flat_kind"], row["reason"]) == ("cannot_tell", reason)


def test_without_a_chance_level_flatness_can_still_be_told():
    rows = observations([0.5, 0.5, 0.5], metric="multiple_choice_grade", n_examples=10_000)
    row = one(rows)
    assert row["chance_source"] == "unknown"
    assert pd.isna(row["n_below"])
    assert math.isnan(row["share_below_resolution"])
    assert math.isnan(row["smallest_detectable"])
    assert row["flat_kind"] == "flat"


@pytest.mark.parametrize(
    ("options", "chance", "source"),
    [
        ({}, NAN, "unknown"),
        ({"n_choices": 4}, 0.25, "choices"),
        ({"chance": 0.1}, 0.1, "given"),
        ({"chance": [0.1]}, 0.1, "given"),
        ({"chance": [NAN], "n_choices": [2]}, 0.5, "choices"),
    ],
)
def test_chance_that_is_given(options, chance, source):
    row = one(observations([0.2] * 3, metric="multiple_choice_grade", n_examples=50), **options)
    assert row["chance"] == pytest.approx(chance, nan_ok=True)
    assert row["chance_source"] == source


def test_given_size_fills_gaps_alone():
    sizes = pd.array([50, None, None], "Int64")
    row = one(observations([0.2] * 3, n_examples=sizes), n_examples=20)
    assert (row["n_usable"], row["n_examples_min"]) == (3, 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chance": [0.1, 0.2]}, r"chance: shape \(2,\), not \(\) or \(1,\)"),
        ({"chance": 25}, r"chance: 25 is no score that chance can give"),
        ({"chance": -0.1}, r"chance: -0.1 is no score that chance can give"),
        ({"n_choices": 1}, r"n_choices: 1, not in \[2, inf\]"),
        ({"n_examples": "many"}, "n_examples: not numbers"),
        ({"margin": 2}, r"margin: 2, not in \[0, 1\]"),
        ({"alpha": 0}, r"alpha: 0, not in \(0, 1\)"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(InputError, match=message):
        resolved(observations([0.1, 0.2, 0.3], n_examples=10), **options)


@FEWER
@given(observation_rows(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    keys = ["benchmark", "task", "subtask", "metric", "model_family", "shots", "variant"]

    def by_key(some):
        frame = resolution(build_curves(to_frame(some)))
        return {json.dumps([str(row[k]) for k in keys]): row for row in frame.to_dict("records")}

    some, other = by_key(rows), by_key(shuffled)
    assert some.keys() == other.keys()
    for key, row in some.items():
        pd.testing.assert_series_equal(pd.Series(row), pd.Series(other[key]))


def test_no_curves():
    assert len(resolved(observations([0.1]).iloc[:0])) == 0


def test_published_curves():
    # docs/power.md: GPT-3's flagged curves that have scales without one right answer in 2,000.
    curves = build_curves(load_embedded())
    frame, scores = resolution(curves), score_curves(curves)
    flags = scores["emergence_score"] > 100
    accuracies = flags & (scores["metric"] == "acc")
    assert (int(flags.sum()), int(accuracies.sum())) == (21, 19)
    below = frame["n_below"].fillna(0)
    assert int((below[flags] > 0).sum()) == 12
    row = frame[(frame["task"] == "arithmetic 5D+") & (frame["shots"] == 0)].iloc[0]
    # .00 seven times and .65: no right answer at seven of eight scales.
    assert (row["n_below"], row["share_below_resolution"]) == (7, 0.875)
    assert row["smallest_detectable"] == pytest.approx(100 * (1 - 0.05 ** (1 / 2000)))
