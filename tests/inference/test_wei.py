"""Wei's definition: states and verdicts against naive versions, resamples against enumeration."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import upper_tail
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from strategies import FEWER, observation_rows, to_frame

from bigbench_meta import build_curves, load_embedded
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference import wei
from bigbench_meta.inference.wei import (
    ABOVE,
    AT_CHANCE,
    BELOW,
    CANNOT_TELL,
    REASONS,
    STATES,
    VERDICTS,
    Criteria,
    judge,
    wei_emergence,
    wei_points,
    wei_ragged,
)

NAN = math.nan
OF_CURVES = (
    "verdict", "reason", "start", "emergence_scale", "scale_low", "resampled_low",
    "resampled_high", "prob_scale", "prob_emergent",
)  # fmt: skip
OF_POINTS = ("state", "p_value", "p_holm", "null", "exact")


def found(batch, *, chance=0.25, x=None, n_resamples=0, seed=0, **criteria):
    """Judge curves, each a list of (right answers, examples), None for an unknown point."""
    points = [point or (NAN, NAN) for curve in batch for point in curve]
    count, n = np.array(points, dtype=float).reshape(-1, 2).T
    offsets = np.cumsum([0, *map(len, batch)])
    scales = np.concatenate([2.0 ** np.arange(len(curve)) for curve in batch] or [[]])
    return wei_ragged(
        count / n, scales if x is None else x, offsets, n_examples=n, n_resamples=n_resamples,
        seed=seed, chance=np.broadcast_to(np.array(chance, dtype=float), (len(batch),)),
        criteria=Criteria(**criteria),
    )  # fmt: skip


def names(of, codes):
    return [of[code] for code in codes]


@st.composite
def counts(draw, *, min_size=0, max_size=6, most=60):
    sizes = draw(st.lists(st.integers(1, most), min_size=min_size, max_size=max_size))
    return [(draw(st.integers(0, n)), n) for n in sizes]


point = st.one_of(st.none(), counts(min_size=1, max_size=1).map(lambda curve: curve[0]))
batches = st.lists(st.lists(point, max_size=6), max_size=4)
chances = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])


# --- States of points ---


def naive_states(curve, chance, *, alpha=0.05, margin=0.05, min_effect=0.0, zero_effect=0.01):
    """The states of known points, and their p-values."""
    null = chance + (min_effect if chance else max(min_effect, zero_effect))
    p = [upper_tail(x, n, min(null, 1.0)) for x, n in curve]
    adjusted = naive_holm(p)
    alpha *= 1 + 1e-11  # 2 of 2 by a chance of 0.1 is 0.01, up to rounding
    states = []
    for (x, n), above in zip(curve, [value <= alpha for value in adjusted], strict=True):
        not_high = chance + margin >= 1 or upper_tail(n - x, n, 1 - chance - margin) <= alpha
        not_low = chance <= margin or upper_tail(x, n, chance - margin) <= alpha
        if above:
            states.append(ABOVE)
        elif not_high and not_low:
            states.append(AT_CHANCE)
        else:
            states.append(BELOW if upper_tail(n - x, n, 1 - chance) <= alpha else CANNOT_TELL)
    return states, p, adjusted


def naive_holm(p):
    """The j-th smallest of m times m - j + 1, no smaller than those before it."""
    adjusted, largest = [0.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, p[i] * (len(p) - place))
        adjusted[i] = min(1.0, largest)
    return adjusted


@given(
    counts(),
    chances,
    st.sampled_from([0.01, 0.05, 0.2]),
    st.sampled_from([0.02, 0.05, 0.2, 0.6]),
    st.sampled_from([0.0, 0.03]),
    st.sampled_from([0.0, 0.01, 0.1]),
)
def test_states_and_p_values_by_enumeration(curve, chance, alpha, margin, effect, zero_effect):
    expected, p, adjusted = naive_states(
        curve, chance, alpha=alpha, margin=margin, min_effect=effect, zero_effect=zero_effect
    )
    result = found(
        [curve], chance=chance, alpha=alpha, margin=margin, min_effect=effect,
        zero_chance_effect=zero_effect,
    )  # fmt: skip
    assert names(STATES, result.state) == names(STATES, expected)
    assert result.p_value.tolist() == pytest.approx(p, rel=1e-9, abs=1e-15)
    assert result.p_holm.tolist() == pytest.approx(adjusted, rel=1e-9, abs=1e-15)
    assert result.exact.all()


@FEWER
@given(st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p):
    known = [value for value in p if not math.isnan(value)]
    theirs = multipletests(known, method="holm")[1].tolist() if known else []
    assert naive_holm(known) == pytest.approx(theirs)
    expected = iter(theirs)
    adjusted = wei.holm(np.array([p]))[0]
    assert adjusted.tolist() == pytest.approx(
        [NAN if math.isnan(value) else float(next(expected)) for value in p], nan_ok=True
    )


@given(counts(min_size=1), chances)
def test_above_is_an_adjusted_p_value_of_at_most_alpha(curve, chance):
    result = found([curve], chance=chance)
    np.testing.assert_array_equal(result.state == ABOVE, result.p_holm <= 0.05 * (1 + 1e-11))


@given(counts(min_size=1, max_size=1, most=400), st.sampled_from([0.25, 0.5]))
def test_a_single_point_above_is_a_lower_exact_bound_above_chance(curve, chance):
    # One hypothesis, so Holm's procedure is the test itself.
    result = found([curve], chance=chance)
    (low, _) = proportion_confint(*curve[0], alpha=0.1, method="beta")
    assert (result.state[0] == ABOVE) == (low > chance)


@pytest.mark.parametrize("n", [20, 100, 400])
@pytest.mark.parametrize("chance", [0.0, 0.1, 0.25, 0.5])
def test_sizes_of_the_tests_by_enumeration(n, chance):
    result = found([[(x, n)] for x in range(n + 1)], chance=chance)
    x = np.arange(n + 1)

    def probability(state, rate):
        return stats.binom.pmf(x, n, rate)[result.state == state].sum()

    null = chance or 0.01
    assert probability(ABOVE, null) <= 0.05
    assert probability(BELOW, chance) <= 0.05
    for rate in (chance - 0.05, chance + 0.05):
        if rate > 0:
            assert probability(AT_CHANCE, rate) <= 0.05


def test_a_small_test_set_cannot_show_that_a_score_is_at_chance():
    sizes = [20, 100, 500, 2000]
    result = found([[(n // 4, n) for n in sizes]])
    assert names(STATES, result.state) == ["cannot_tell", "cannot_tell", "at_chance", "at_chance"]


@pytest.mark.parametrize(
    ("x", "options", "state"),
    [
        (0, {}, "at_chance"),
        (18, {}, "at_chance"),  # 0.9 percent: not above 1
        (30, {}, "above_chance"),
        (1, {"zero_chance_effect": 0.0}, "above_chance"),  # none is right by chance
        (0, {"zero_chance_effect": 0.0}, "at_chance"),
        (30, {"min_effect": 0.02}, "at_chance"),
        (30, {"min_effect": 0.02, "margin": 0.001}, "cannot_tell"),
    ],
)
def test_a_chance_of_zero(x, options, state):
    result = found([[(x, 2000)]], chance=0.0, **options)
    assert names(STATES, result.state) == [state]
    assert result.null[0] == max(options.get("zero_chance_effect", 0.01),
                                 options.get("min_effect", 0.0))  # fmt: skip


def test_graded_scores_are_rounded_to_the_safe_side():
    # 34.9 of 100 count as 34: P(X >= 34) = 0.028 and P(X >= 35) = 0.016 by a chance of 1/4.
    result = found([[(34.9, 100)], [(34.9999999, 100)]])
    assert result.p_value.tolist() == pytest.approx(
        [upper_tail(34, 100, 0.25), upper_tail(35, 100, 0.25)]
    )


# --- Standard errors in place of sizes ---


def by_stderr(proportion, stderr, *, chance=0.25, n_resamples=0, **criteria):
    y = np.array(proportion, dtype=float)
    return wei_ragged(
        y, np.arange(len(y)) + 1.0, np.array([0, len(y)]), n_examples=np.full(len(y), NAN),
        chance=np.array([chance]), stderr=np.array(stderr, dtype=float),
        n_resamples=n_resamples, criteria=Criteria(**criteria),
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 0.3)), min_size=1, max_size=6),
    chances,
    st.sampled_from([0.05, 0.2]),
)
def test_normal_states_by_hand(pairs, chance, margin):
    y, stderr = (np.array(values) for values in zip(*pairs, strict=True))
    result = by_stderr(y, stderr, chance=chance, margin=margin)
    p = stats.norm.sf((y - (chance or 0.01)) / stderr)
    np.testing.assert_allclose(result.p_value, p, rtol=1e-9)
    rejected = np.array(naive_holm(p.tolist())) <= 0.05
    z = stats.norm.isf(0.05)
    high_enough = (chance - margin <= 0) | (y - z * stderr >= chance - margin)
    low_enough = (chance + margin >= 1) | (y + z * stderr <= chance + margin)
    expected = np.select(
        [rejected, high_enough & low_enough, y + z * stderr <= chance],
        [ABOVE, AT_CHANCE, BELOW], CANNOT_TELL,
    )  # fmt: skip
    near = np.min(
        np.abs(
            np.stack(
                [
                    y - z * stderr - chance + margin,
                    y - z * stderr - chance,
                    y + z * stderr - chance - margin,
                    y + z * stderr - chance,
                ]
            )
        )
    )
    if near > 1e-9:
        assert names(STATES, result.state) == names(STATES, expected)
    assert not result.exact.any()


@pytest.mark.parametrize("stderr", [0.0, NAN, math.inf, -0.1])
def test_a_standard_error_that_says_nothing(stderr):
    # That of 0/n and n/n is 0.
    result = by_stderr([0.0, 0.5, 1.0], [stderr] * 3)
    assert names(STATES, result.state) == ["cannot_tell"] * 3
    assert np.isnan(result.p_value).all()
    assert names(REASONS, result.reason) == ["n_unknown"]


def test_a_size_goes_before_a_standard_error():
    with_both = wei_ragged(
        np.array([0.3]), np.ones(1), np.array([0, 1]), n_examples=np.array([100.0]),
        chance=np.array([0.25]), stderr=np.array([1e-6]), n_resamples=0,
    )  # fmt: skip
    assert with_both.p_value == found([[(30, 100)]]).p_value
    assert with_both.exact.all()


def test_normal_and_exact_agree_on_large_test_sets():
    n = 10**6
    shares = [0.25, 0.26, 0.3, 0.22, 0.31]
    exact = found([[(share * n, n) for share in shares]])
    stderr = [math.sqrt(share * (1 - share) / n) for share in shares]
    np.testing.assert_array_equal(by_stderr(shares, stderr).state, exact.state)


@pytest.mark.parametrize("size", [0.0, -5.0, 2.5, 1e13, math.inf])
def test_what_is_no_size_is_not_known(size):
    result = wei_ragged(
        np.array([0.3, 0.3]), np.ones(2), np.array([0, 2]), n_examples=np.array([size, 100.0]),
        chance=np.array([0.25]), n_resamples=10,
    )  # fmt: skip
    assert result.exact.tolist() == [False, True]
    assert math.isnan(result.p_value[0])


# --- Verdicts ---


def naive_verdict(states, min_at_chance):
    absent = {AT_CHANCE, BELOW}
    start = len(states)
    while start and states[start - 1] == ABOVE:
        start -= 1
    if any(a == ABOVE and b in absent for i, a in enumerate(states) for b in states[i:]):
        return "not_persistent", start
    if states[-1] in absent:
        return "never_above", start
    if states[0] == ABOVE:
        return "above_at_smallest", start
    if states[-1] == CANNOT_TELL:
        return "unclear_at_largest", start
    enough = sum(state in absent for state in states) >= min_at_chance
    return ("emergent" if enough else "too_few_at_chance"), start


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("min_at_chance", [1, 2, 3])
def test_every_sequence_of_states(k, min_at_chance):
    sequences = np.array(list(product(range(4), repeat=k)), dtype=np.int8)
    reason, start = judge(sequences, min_at_chance)
    expected = [naive_verdict(list(states), min_at_chance) for states in sequences]
    assert list(zip(names(REASONS, reason), start.tolist(), strict=True)) == expected


LOW, HIGH, UNCLEAR, UNDER = (500, 2000), (1000, 2000), (26, 100), (300, 2000)


@pytest.mark.parametrize(
    ("curve", "verdict", "reason", "start", "scale_low"),
    [
        ([LOW, LOW, LOW, HIGH, HIGH], "yes", "emergent", 3, 4),
        ([LOW, LOW, HIGH], "yes", "emergent", 2, 2),
        ([UNDER, UNDER, HIGH], "yes", "emergent", 2, 2),
        ([LOW, LOW, UNCLEAR, HIGH], "yes", "emergent", 3, 2),  # somewhere between 2 and 8
        ([LOW, LOW, None, HIGH], "yes", "emergent", 3, 2),
        ([LOW, UNCLEAR, HIGH], "cannot_tell", "too_few_at_chance", 2, 1),
        ([UNCLEAR, UNCLEAR, HIGH], "cannot_tell", "too_few_at_chance", 2, NAN),
        ([LOW, LOW, UNCLEAR], "cannot_tell", "unclear_at_largest", -1, NAN),
        ([LOW, LOW, HIGH, UNCLEAR], "cannot_tell", "unclear_at_largest", -1, NAN),
        ([UNCLEAR] * 5, "cannot_tell", "unclear_at_largest", -1, NAN),
        ([LOW] * 5, "no", "never_above", -1, NAN),
        ([UNCLEAR, UNCLEAR, LOW], "no", "never_above", -1, NAN),
        ([UNDER] * 5, "no", "never_above", -1, NAN),
        ([HIGH] * 5, "no", "above_at_smallest", 0, NAN),
        ([HIGH, UNCLEAR, HIGH], "no", "above_at_smallest", 2, NAN),
        ([LOW, LOW, HIGH, LOW], "no", "not_persistent", -1, NAN),
        ([LOW, HIGH, LOW, HIGH], "no", "not_persistent", 3, 4),
        ([HIGH, LOW, LOW, HIGH], "no", "not_persistent", 3, 4),
        ([LOW, HIGH], "cannot_tell", "too_few_scales", 1, 1),
        ([HIGH], "cannot_tell", "too_few_scales", 0, NAN),
        ([], "cannot_tell", "too_few_scales", -1, NAN),
        ([None, None, None], "cannot_tell", "n_unknown", -1, NAN),
    ],
)
def test_verdicts_by_hand(curve, verdict, reason, start, scale_low):
    result = found([curve])
    assert names(VERDICTS, result.verdict) == [verdict]
    assert names(REASONS, result.reason) == [reason]
    assert result.start.tolist() == [start]
    np.testing.assert_array_equal(result.emergence_scale, [2.0**start if start >= 0 else NAN])
    np.testing.assert_array_equal(result.scale_low, [scale_low])


def test_without_a_chance_level_nothing_is_judged():
    result = found([[LOW, LOW, HIGH]], chance=NAN, n_resamples=10)
    assert names(REASONS, result.reason) == ["chance_unknown"]
    assert names(STATES, result.state) == ["cannot_tell"] * 3
    assert np.isnan(result.prob_emergent).all()


@given(counts(min_size=3), chances, st.integers(1, 3))
def test_verdict_is_that_of_the_states(curve, chance, min_at_chance):
    result = found([curve], chance=chance, min_at_chance=min_at_chance)
    reason, start = naive_verdict(result.state.tolist(), min_at_chance)
    if len(curve) <= min_at_chance:
        reason = "too_few_scales"
    assert names(REASONS, result.reason) == [reason]
    assert result.start[0] == (start if start < len(curve) else -1)
    verdicts = {"emergent": "yes", "never_above": "no", "not_persistent": "no",
                "above_at_smallest": "no"}  # fmt: skip
    assert names(VERDICTS, result.verdict) == [verdicts.get(reason, "cannot_tell")]


def test_nothing_is_rarely_found_emergent():
    # 4,000 curves of eight scales at chance: at most 5% have any scale above, fewer are emergent.
    rng = np.random.default_rng(1)
    for chance in (0.25, 0.5):
        x = rng.binomial(1000, chance, (4000, 8))
        result = found([[(count, 1000) for count in row] for row in x.tolist()], chance=chance)
        above = (result.state.reshape(4000, 8) == ABOVE).any(axis=1).mean()
        assert above <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
        assert (result.verdict == VERDICTS.index("yes")).mean() <= above


# --- Resamples ---


def exact_shares(curve, chance, min_at_chance=2):
    """Probability of each (reason, start) of a resample, over all outcomes."""
    sizes = [n for _, n in curve]
    outcomes = np.array(list(product(*(range(n + 1) for n in sizes))))
    rates = [(x + 0.5) / (n + 1) for x, n in curve]
    probability = stats.binom.pmf(outcomes, sizes, rates).prod(axis=1)
    assert probability.sum() == pytest.approx(1)
    states = found(
        [list(zip(x, sizes, strict=True)) for x in outcomes.tolist()], chance=chance, margin=0.2
    ).state.reshape(outcomes.shape)
    reason, start = judge(states, min_at_chance)
    return probability, np.array(REASONS)[reason], start


@pytest.mark.parametrize(
    ("curve", "chance"),
    [
        ([(5, 20), (6, 25), (15, 20)], 0.25),
        ([(0, 20), (0, 20), (4, 20)], 0.0),
        ([(12, 24), (14, 24), (20, 24)], 0.5),
    ],
)
def test_resamples_by_enumeration(curve, chance):
    n_resamples = 40_000
    probability, reason, start = exact_shares(curve, chance)
    result = found([curve], chance=chance, margin=0.2, n_resamples=n_resamples)
    expected = {"prob_emergent": probability[reason == "emergent"].sum()}
    if result.start[0] >= 0:
        expected["prob_scale"] = probability[start == result.start[0]].sum()
    assert 0.02 < expected["prob_emergent"] < 0.98
    for name, share in expected.items():
        error = math.sqrt(share * (1 - share) / n_resamples)
        assert abs(getattr(result, name)[0] - share) < 5 * error, name
    some = start < len(curve)
    up_to = np.cumsum([probability[some & (start == i)].sum() for i in range(len(curve))])
    for name, share in (("resampled_low", 0.025), ("resampled_high", 0.975)):
        position = np.searchsorted(up_to / up_to[-1], share)
        assert abs(up_to[position] / up_to[-1] - share) > 0.003  # not by a hair
        assert getattr(result, name)[0] == 2.0**position


def test_normal_resamples_by_simulation():
    y, stderr = np.array([0.25, 0.27, 0.33]), np.array([0.02, 0.02, 0.02])
    result = by_stderr(y, stderr, margin=0.1, n_resamples=40_000)
    draws = np.random.default_rng(8).normal(y, stderr, (40_000, 3))
    points = wei.Points(
        proportion=draws, n=np.full(draws.shape, NAN), stderr=np.broadcast_to(stderr, draws.shape),
        chance=np.full(draws.shape, 0.25), null=np.full(draws.shape, 0.25),
    )  # fmt: skip
    critical = wei.critical_values(points, Criteria(margin=0.1))
    reason, _ = judge(wei.states(points.value, critical, points.known), 2)
    share = float(np.mean(reason == REASONS.index("emergent")))
    assert 0.1 < share < 0.9
    assert result.prob_emergent[0] == pytest.approx(share, abs=5 * math.sqrt(0.5 / 40_000))


def test_none_right_is_not_always_none_right_again():
    # 0 of 20 and 1 of 20: a resample of rate 0 would never change.
    curve = [(0, 20), (0, 20), (0, 20), (3, 20)]
    result = found([curve], chance=0.0, margin=0.2, n_resamples=2000)
    assert 0 < result.prob_emergent[0] < 1


def test_without_resamples_there_are_no_shares():
    result = found([[LOW, LOW, HIGH]], n_resamples=0)
    assert np.isnan(result.prob_emergent).all()
    assert np.isnan(result.prob_scale).all()
    assert np.isnan(result.resampled_low).all()


def test_seeds():
    curve = [(5, 20), (6, 25), (15, 20)]

    def share(seed):
        return float(found([curve], margin=0.2, n_resamples=500, seed=seed).prob_emergent[0])

    assert share(1) == share(1)
    assert len({share(seed) for seed in range(5)}) > 1
    assert share(np.random.default_rng(1)) == share(np.random.default_rng(1))
    generator = np.random.default_rng(1)
    assert len({share(generator) for _ in range(5)}) > 1


# --- Batches ---


def assert_same_curves(some, other, order):
    for field in OF_CURVES:
        np.testing.assert_array_equal(
            getattr(some, field), getattr(other, field)[list(order)], err_msg=field
        )


@given(batches, st.data())
def test_curves_do_not_touch_each_other(batch, data):
    order = data.draw(st.permutations(range(len(batch))))
    whole = found(batch, n_resamples=20)
    shuffled = found([batch[i] for i in order], n_resamples=20)
    assert_same_curves(shuffled, whole, order)
    for number, curve in enumerate(batch):
        alone = found([curve], n_resamples=20)
        assert_same_curves(alone, whole, [number])
        at = slice(sum(map(len, batch[:number])), sum(map(len, batch[: number + 1])))
        for field in OF_POINTS:
            np.testing.assert_array_equal(getattr(alone, field), getattr(whole, field)[at])


@given(batches, st.integers(1, 60), st.integers(1, 100))
def test_size_of_blocks_does_not_matter(batch, block, held):
    expected = found(batch, n_resamples=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wei, "_CRITICAL_HELD", block)
        patch.setattr(wei, "_STATES_HELD", held)
        some = found(batch, n_resamples=20)
    assert_same_curves(some, expected, range(len(batch)))
    for field in OF_POINTS:
        np.testing.assert_array_equal(getattr(some, field), getattr(expected, field))


def test_a_curve_of_many_checkpoints():
    # More scales than a small integer counts: 200 at chance, then 100 above.
    result = found([[LOW] * 200 + [HIGH] * 100], x=np.arange(300.0), n_resamples=20)
    assert names(REASONS, result.reason) == ["emergent"]
    assert (result.scale_low, result.emergence_scale) == (199, 200)
    assert result.prob_emergent == 1


@given(counts(min_size=3), chances, st.floats(1e-3, 1e3))
def test_unit_of_the_scale_does_not_matter(curve, chance, unit):
    x = np.arange(len(curve)) + 1.0
    plain, scaled = (found([curve], chance=chance, x=values) for values in (x, x * unit))
    for field in ("verdict", "reason", "start"):
        np.testing.assert_array_equal(getattr(plain, field), getattr(scaled, field))
    np.testing.assert_allclose(scaled.emergence_scale, plain.emergence_scale * unit)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": [0, 2]}, "offsets: must run from 0 to the number of points, 3"),
        ({"offsets": [0, 2, 1, 3]}, "offsets: must not decrease"),
        ({"x": [1.0]}, r"x: shape \(1,\), not \(3,\)"),
        ({"n_examples": [1.0]}, r"n_examples: shape \(1,\), not \(3,\)"),
        ({"stderr": [1.0]}, r"stderr: shape \(1,\), not \(3,\)"),
        ({"chance": [0.1, 0.2]}, r"chance: shape \(2,\), not \(1,\)"),
        ({"chance": [1.0]}, r"chance: 1, not in \[0, 1\)"),
        ({"proportion": [0.1, 1.2, 0.3]}, r"proportion: 1.2, not in \[0, 1\]"),
    ],
)
def test_refusals(change, message):
    arguments = {
        "proportion": [0.1, 0.2, 0.3], "x": [1.0, 2, 3], "offsets": [0, 3],
        "n_examples": [10.0] * 3, "chance": [0.0],
    } | change  # fmt: skip
    arrays = {
        name: np.array(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }
    positional = [arrays.pop(name) for name in ("proportion", "x", "offsets")]
    with pytest.raises(InputError, match=message):
        wei_ragged(*positional, **arrays)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ({"alpha": 0.0}, r"alpha: 0, not in \(0, 1\)"),
        ({"margin": 1.5}, r"margin: 1.5, not in \[0, 1\]"),
        ({"min_effect": -0.1}, r"min_effect: -0.1, not in \[0, 1\]"),
        ({"zero_chance_effect": 2}, r"zero_chance_effect: 2, not in \[0, 1\]"),
    ],
)
def test_criteria_out_of_range(criterion, message):
    with pytest.raises(InputError, match=message):
        wei_emergence(build_curves(observations([0.1])), **criterion)


# --- Frames ---


def observations(scores, *, metric="multiple_choice_grade", **columns):
    return pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "metric": metric, "model_family": "f",
            "model_name": [f"m{i}" for i in range(len(scores))],
            "total_params": 10 ** np.arange(1, len(scores) + 1), "score": scores,
        }
    ).assign(**columns)  # fmt: skip


CHOICE = {"low_score": 0.25, "high_score": 1.0, "n_examples": 2000}
RISE = [0.25, 0.24, 0.255, 0.5, 0.8]


def test_emergence_by_hand():
    frame = wei_emergence(build_curves(observations(RISE, **CHOICE)))
    row = frame.iloc[0]
    assert list(frame.columns[: len(CURVE_KEY)]) == list(CURVE_KEY)
    assert (row["wei_emergent"], row["reason"]) == ("yes", "emergent")
    assert (row["chance"], row["chance_source"]) == (0.25, "low_score")
    assert (row["scale_low"], row["emergence_scale"]) == (10**3, 10**4)
    assert (row["resampled_low"], row["resampled_high"]) == (10**3, 10**4)
    assert row["prob_scale"] > 0.9
    assert row["prob_emergent"] > 0.9
    assert [row[f"n_{name}"] for name in ("scales", "at_chance", "below_chance", "above_chance",
            "cannot_tell", "at_chance_before")] == [5, 3, 0, 2, 0, 3]  # fmt: skip
    expected = proportion_confint(1600, 2000, method="beta")
    assert row["margin_largest"] == pytest.approx(0.55)
    assert row["margin_low"] == pytest.approx(expected[0] - 0.25)
    assert row["margin_high"] == pytest.approx(expected[1] - 0.25)


def test_points_by_hand():
    frame = wei_points(build_curves(observations(RISE, **CHOICE)))
    assert frame["model_name"].tolist() == [f"m{i}" for i in range(5)]
    assert frame["state"].tolist() == ["at_chance"] * 3 + ["above_chance"] * 2
    assert frame["test"].tolist() == ["exact"] * 5
    assert frame["null"].tolist() == [0.25] * 5
    last = frame.iloc[2]
    p = stats.binomtest(510, 2000, 0.25, alternative="greater").pvalue
    assert last["p_value"] == pytest.approx(p, rel=1e-9)
    low, high = proportion_confint(510, 2000, method="beta")
    assert (last["low"], last["high"]) == pytest.approx((low, high), rel=1e-9)
    assert last["p_holm"] >= last["p_value"]


def write_catalog(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "metric,metric_type,higher_is_better,low,high,step\n"
        "share,discontinuous,true,0,1,1\npercent,discontinuous,true,0,100,100\n"
        "error,discontinuous,false,0,1,1\n",
        "utf-8",
    )
    return MetricCatalog.read(path)


def test_unit_and_direction_of_the_score_do_not_matter(tmp_path):
    catalog = write_catalog(tmp_path)
    y = np.array(RISE)
    frames = {
        name: wei_emergence(build_curves(observations(
            scores, metric=name, n_examples=2000, low_score=low, high_score=high
        ), catalog=catalog), catalog=catalog).iloc[0]
        for name, scores, low, high in (
            ("share", y, 0.25, 1.0), ("percent", 100 * y, 25.0, 100.0), ("error", 1 - y, 0.75, 0.0),
        )
    }  # fmt: skip
    share, percent, error = frames["share"], frames["percent"], frames["error"]
    same = ("wei_emergent", "reason", "emergence_scale", "scale_low", "resampled_low",
            "resampled_high", "prob_scale", "prob_emergent", "n_at_chance")  # fmt: skip
    assert [share[name] for name in same] == [percent[name] for name in same]
    assert [share[name] for name in same] == [error[name] for name in same]
    assert percent["margin_largest"] == pytest.approx(100 * share["margin_largest"])
    assert error["margin_largest"] == pytest.approx(share["margin_largest"])
    assert error["margin_low"] == pytest.approx(share["margin_low"])
    assert error["chance"] == pytest.approx(0.75)


def test_interval_of_an_error_has_its_ends_in_order(tmp_path):
    catalog = write_catalog(tmp_path)
    rows = observations([0.7, 0.5], metric="error", n_examples=100, low_score=0.75, high_score=0.0)
    frame = wei_points(build_curves(rows, catalog=catalog), catalog=catalog)
    low, high = proportion_confint(50, 100, method="beta")
    assert (frame["low"].iloc[1], frame["high"].iloc[1]) == pytest.approx((low, high))
    assert (frame["low"] < frame["score"]).all()
    assert (frame["score"] < frame["high"]).all()


@pytest.mark.parametrize(
    ("metric", "scores", "columns", "options", "reason"),
    [
        ("made_up", RISE, {"n_examples": 2000}, {}, "not_a_proportion"),
        ("bleu", RISE, {"n_examples": 2000}, {}, "not_a_proportion"),
        ("multiple_choice_grade", [25, 25, 80], CHOICE, {}, "score_out_of_range"),
        ("multiple_choice_grade", RISE, {"n_examples": 2000}, {}, "chance_unknown"),
        ("multiple_choice_grade", RISE, {"n_examples": 2000}, {"n_choices": 4}, "emergent"),
        ("multiple_choice_grade", RISE, {"n_examples": 2000}, {"chance": 0.25}, "emergent"),
        ("multiple_choice_grade", RISE, CHOICE, {"chance": 0.1}, "above_at_smallest"),
        ("multiple_choice_grade", RISE, CHOICE | {"n_examples": None}, {}, "n_unknown"),
        (
            "multiple_choice_grade",
            RISE,
            CHOICE | {"n_examples": None},
            {"n_examples": 2000},
            "emergent",
        ),
        (
            "multiple_choice_grade",
            RISE,
            CHOICE | {"n_examples": None, "stderr": 0.0097},
            {},
            "emergent",
        ),
        ("multiple_choice_grade", RISE, CHOICE | {"n_examples": 50}, {}, "too_few_at_chance"),
        ("exact_str_match", [0, 0, 0.001, 0.2], {"n_examples": 2000}, {}, "emergent"),
    ],
)
def test_reasons_of_frames(metric, scores, columns, options, reason):
    curves = build_curves(observations(scores, metric=metric, **columns))
    row = wei_emergence(curves, n_resamples=0, **options).iloc[0]
    assert row["reason"] == reason
    assert (row["wei_emergent"] == "yes") == (reason == "emergent")


def test_points_of_a_standard_error():
    rows = observations([0.25, 0.5, 0.0], low_score=0.25, high_score=1.0, stderr=[0.01, 0.02, 0.0])
    frame = wei_points(build_curves(rows))
    assert frame["test"].tolist() == ["normal", "normal", "none"]
    assert frame["state"].tolist() == ["at_chance", "above_chance", "cannot_tell"]
    z = stats.norm.isf(0.025)
    assert frame["low"].iloc[0] == pytest.approx(0.25 - 0.01 * z)
    assert frame["high"].iloc[1] == pytest.approx(0.5 + 0.02 * z)
    assert math.isnan(frame["low"].iloc[2])


@FEWER
@given(observation_rows(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))

    def by_key(some):
        frame = wei_emergence(build_curves(to_frame(some)), n_resamples=20)
        return {
            json.dumps([str(row[k]) for k in CURVE_KEY]): row for row in frame.to_dict("records")
        }

    some, other = by_key(rows), by_key(shuffled)
    assert some.keys() == other.keys()
    for key, row in some.items():
        pd.testing.assert_series_equal(pd.Series(row), pd.Series(other[key]))


@FEWER
@given(observation_rows())
def test_frames_agree_with_each_other(rows):
    curves = build_curves(to_frame(rows))
    emergence, points = wei_emergence(curves, n_resamples=0), wei_points(curves)
    assert len(emergence) == len(curves)
    assert len(points) == len(curves.y)
    counted = pd.crosstab(points["curve"], points["state"]).reindex(range(len(curves)))
    for state in STATES:
        expected = (
            counted[state].fillna(0) if state in counted else pd.Series(0, range(len(curves)))
        )
        np.testing.assert_array_equal(emergence[f"n_{state}"], expected)
    known = points["low"].notna()
    assert (points["low"][known] <= points["score"][known] + 1e-9).all()
    assert (points["score"][known] <= points["high"][known] + 1e-9).all()


def test_no_curves():
    curves = build_curves(observations([0.1]).iloc[:0])
    assert len(wei_emergence(curves)) == len(wei_points(curves)) == 0


# --- Published curves (docs/power.md) ---


def test_published_curves():
    curves = build_curves(load_embedded())
    frame = wei_emergence(curves, n_resamples=0)
    # 19 arithmetic curves have E above 100; 17 of them are emergent. On the other two, 5D
    # zero-shot, the largest model answers 0.65 and 0.80 percent: not clearly above 1.
    row = frame[(frame["task"] == "arithmetic 3D+") & (frame["shots"] == 50)].iloc[0]
    # .15 .45 .30 .55 .75 .90 8.40 80.4 percent of 2,000; 6.7B and 13B parameters.
    assert (row["wei_emergent"], row["n_at_chance"]) == ("yes", 6)
    assert (row["scale_low"] / 1e9, row["emergence_scale"] / 1e9) == pytest.approx((6.66, 12.85))
    five = frame[frame["task"].isin(["arithmetic 5D+", "arithmetic 5D-"]) & (frame["shots"] == 0)]
    assert five["reason"].tolist() == ["never_above"] * 2
