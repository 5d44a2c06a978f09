"""Flat, not flat, unseen: the tests by enumeration of all outcomes, and the kinds by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import oracles
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference import flatness as module
from bigbench_meta.inference.flatness import FLAT_KINDS, emergence_of_nothing, flatness
from bigbench_meta.inference.power import smallest_detectable

NAN = math.nan
FIELDS = (
    "n_usable", "n_below", "n_undetectable", "smallest_detectable", "p_flat", "span", "kind",
)  # fmt: skip


def found(batch, **options):
    """Return the flatness of curves, each a list of (right answers, examples) or None."""
    points = [point or (NAN, NAN) for curve in batch for point in curve]
    x, n = np.array(points, dtype=float).reshape(-1, 2).T
    offsets = np.cumsum([0, *map(len, batch)])
    chance = options.pop("chance", 0.0)
    chance = np.broadcast_to(np.array(chance, dtype=float), (len(batch),))
    return flatness(x / n, offsets, n_examples=n, chance=chance, **options)


def kinds(result):
    return [FLAT_KINDS[code] for code in result.kind]


def assert_same(some, other):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(some, field), getattr(other, field), err_msg=field)


@st.composite
def counts(draw, *, min_size=0, max_size=7, most=60):
    sizes = draw(st.lists(st.integers(1, most), min_size=min_size, max_size=max_size))
    return [(draw(st.integers(0, n)), n) for n in sizes]


points = st.one_of(st.none(), counts(min_size=1, max_size=1).map(lambda curve: curve[0]))
batches = st.lists(st.lists(points, max_size=7), max_size=5)


# --- Equality of all scales ---


def naive_p(curve):
    """The largest z of all cuts and single scales, its exact tail, twice, times their number."""
    tables = z_of_tables(curve)
    _, x_in, n_in = max(tables, key=lambda table: round(table[0], 9))  # the first one on ties
    tail = one_tail(x_in, n_in, *(sum(values) for values in zip(*curve, strict=True)))
    return min(1.0, float(2 * len(tables) * tail))


def z_of_tables(curve):
    k = len(curve)
    parts = [range(cut) for cut in range(1, k)] + [[i] for i in range(1, k - 1)]
    x, n = (sum(values) for values in zip(*curve, strict=True))
    tables = []
    for part in parts:
        x_in, n_in = (sum(curve[i][j] for i in part) for j in (0, 1))
        spread = math.sqrt(x / n * (1 - x / n) * (1 / n_in + 1 / (n - n_in)))
        z = abs(x_in / n_in - (x - x_in) / (n - n_in)) / spread if spread else 0.0
        tables.append((z, x_in, n_in))
    return tables


def one_tail(x_in, n_in, x, n):
    """Hypergeometric, on the side of the data, as a fraction."""
    side = range(x_in, n_in + 1) if x_in * n >= x * n_in else range(x_in + 1)
    ways = sum(math.comb(x, j) * math.comb(n - x, n_in - j) for j in side if j <= x)
    return Fraction(ways, math.comb(n, n_in))


@given(counts(min_size=2))
def test_p_of_equality_by_fractions(curve):
    result = found([curve])
    assert result.p_flat[0] == pytest.approx(naive_p(curve), rel=1e-8)


def test_two_scales_are_fishers_test():
    result = found([[(3, 20), (12, 25)]], min_scales=2)
    one_sided = stats.fisher_exact([[3, 17], [12, 13]], alternative="less").pvalue
    assert result.p_flat[0] == pytest.approx(2 * one_sided, rel=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("sizes", [(12, 8, 10), (30, 5, 5), (6, 6, 6, 6)])
def test_size_of_the_test_of_equality_by_enumeration(rate, sizes):
    outcomes = list(product(*(range(n + 1) for n in sizes)))
    result = found([list(zip(x, sizes, strict=True)) for x in outcomes])
    probability = stats.binom.pmf(np.array(outcomes), sizes, rate).prod(axis=1)
    assert probability.sum() == pytest.approx(1)
    for alpha in (0.01, 0.05, 0.2):
        assert probability[result.p_flat <= alpha].sum() <= alpha


@given(counts(min_size=2))
def test_direction_and_what_counts_as_right_do_not_matter(curve):
    ordered = sorted(z for z, _, _ in z_of_tables(curve))[-2:]
    assume(len(ordered) == 1 or ordered[1] - ordered[0] > 1e-8)  # of two equal one is tested
    result = found([curve, curve[::-1], [(n - x, n) for x, n in curve]])
    np.testing.assert_allclose(result.p_flat, result.p_flat[0], rtol=1e-9)
    np.testing.assert_allclose(result.span, result.span[0], atol=1e-12)


@given(counts(min_size=2, most=40), st.integers(0, 1))
def test_large_test_sets_use_a_wider_distribution(curve, turned):
    curve = curve[::-1] if turned else curve
    exact = found([curve]).p_flat[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_POOLED", 0)
        wider = found([curve]).p_flat[0]
    # In the tails, where it matters; about the middle the order may turn.
    if exact < 0.05:
        assert wider >= exact * (1 - 1e-9)


def test_large_test_sets_are_near_the_normal_test():
    # 0.250 and 0.252 of two million each: z = 4.61.
    n = 2_000_000
    result = found([[(500_000, n), (504_000, n)]], min_scales=2)
    pooled = 0.251
    z = 0.002 / math.sqrt(pooled * (1 - pooled) * 2 / n)
    assert 2 * stats.norm.sf(z) < result.p_flat[0] < 2 * stats.norm.sf(0.8 * z)


@pytest.mark.parametrize("n", [10**9, 10**12])
def test_huge_test_sets_do_not_hang(n):
    result = found([[(n // 4, n), (n // 4, n), (n // 2, n)], [(0, n), (1, n), (0, n)]])
    assert kinds(result) == ["not_flat", "unseen"]


# --- Equivalence ---


def test_size_of_the_test_of_equivalence_by_enumeration():
    # Two scales 0.3 apart, three of them: all within 0.15 of one value is then just false.
    sizes, rates = (30, 25, 20), (0.3, 0.6, 0.45)
    outcomes = list(product(*(range(n + 1) for n in sizes)))
    result = found(
        [list(zip(x, sizes, strict=True)) for x in outcomes], margin=0.15, chance=0.25, alpha=0.05
    )
    probability = stats.binom.pmf(np.array(outcomes), sizes, rates).prod(axis=1)
    assert probability[result.kind == FLAT_KINDS.index("flat")].sum() <= 0.05
    assert probability[result.span <= 0.3].sum() <= 0.05


# --- Kinds ---


@pytest.mark.parametrize(
    ("curve", "options", "expected"),
    [
        ([(0, 100)] * 5, {}, "unseen"),
        ([(0, 10**9)] * 5, {}, "unseen"),  # no number of wrong answers shows that the rate is 0
        ([(0, 10**6)] * 3 + [(1, 10**6)], {}, "unseen"),  # one is below the detectable three
        ([(0, 10**6)] * 3 + [(30, 10**6)], {}, "not_flat"),
        ([(0, 100)] * 5, {"chance": 0.25}, "flat"),  # never right, with chance 1/4: not at a floor
        ([(0, 20)] * 5, {"chance": 0.25}, "unseen"),  # 17 percent could hide
        ([(500, 2000)] * 8, {"chance": 0.25}, "flat"),
        ([(500, 2000)] * 8, {"chance": NAN}, "flat"),
        ([(50, 200)] * 8, {"chance": 0.25}, "unseen"),
        ([(50, 200)] * 8, {"chance": 0.25, "margin": 0.1}, "flat"),
        ([(500, 2000)] * 8, {"chance": 0.25, "margin": 0.01}, "unseen"),
        ([(500, 2000)] * 7 + [(800, 2000)], {"chance": 0.25}, "not_flat"),
        ([(500, 2000)] * 3 + [(800, 2000)] + [(500, 2000)] * 4, {"chance": 0.25}, "not_flat"),
        ([(90 + 4 * i, 200) for i in range(8)], {"chance": 0.25}, "not_flat"),  # a slow rise
        ([(5, 10), None, (5, 10)], {}, "cannot_tell"),
        ([(5, 10), None, (5, 10)], {"min_scales": 2}, "unseen"),
        ([(5, 10)], {"min_scales": 0}, "cannot_tell"),
        ([], {}, "cannot_tell"),
    ],
)
def test_kinds_by_hand(curve, options, expected):
    assert kinds(found([curve], **options)) == [expected]


@given(counts(min_size=3), st.sampled_from([0.0, 0.25]), st.floats(0, 0.5))
def test_kinds_follow_from_their_evidence(curve, chance, margin):
    result = found([curve], chance=chance, margin=margin)
    floor = chance == 0 and result.n_undetectable[0] == len(curve)
    if result.p_flat[0] <= 0.05:
        expected = "not_flat"
    else:
        expected = "flat" if not floor and result.span[0] <= 2 * margin else "unseen"
    assert kinds(result) == [expected]


@given(counts(min_size=1), st.sampled_from([0.0, 0.25, 0.5]))
def test_counts_of_scales_by_hand(curve, chance):
    result = found([curve], chance=chance)
    below = sum(x - Fraction(chance) * n < 1 for x, n in curve)
    assert result.n_below[0] == below
    smallest = [float(smallest_detectable(n, chance=chance)) for _, n in curve]
    hidden = sum(not x / n >= s for (x, n), s in zip(curve, smallest, strict=True))
    assert result.n_undetectable[0] == hidden
    expected = NAN if any(map(math.isnan, smallest)) else max(smallest)
    assert result.smallest_detectable[0] == pytest.approx(expected, nan_ok=True)


def test_a_test_set_too_small_for_any_detection():
    # P(4 of 4) = 1/16 by a chance of 1/2.
    result = found([[(4, 4), (4, 4), (90, 100)]], chance=0.5)
    assert math.isnan(result.smallest_detectable[0])
    assert result.n_undetectable[0] == 2


# --- Batches ---


@given(batches, st.data())
def test_curves_do_not_touch_each_other(batch, data):
    order = data.draw(st.permutations(range(len(batch))))
    whole = found(batch)
    shuffled = found([batch[i] for i in order])
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(shuffled, field), getattr(whole, field)[list(order)])


@given(batches)
def test_points_without_a_size_do_not_count(batch):
    kept = [[point for point in curve if point] for curve in batch]
    assert_same(found(batch), found(kept))


@pytest.mark.parametrize("size", [0.0, -5.0, 2.5, 1e13, math.inf, NAN])
def test_what_is_no_size_is_not_known(size):
    sizes = np.array([10.0, size, 20.0, 30.0])
    result = flatness(
        np.array([0.1, 0.9, 0.1, 0.1]), np.array([0, 4]), n_examples=sizes, chance=np.zeros(1)
    )
    assert_same(result, found([[(1, 10), (2, 20), (3, 30)]]))


@given(batches, st.integers(1, 3))
def test_size_of_blocks_does_not_matter(batch, block):
    expected = found(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        assert_same(found(batch), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": [0, 2]}, "offsets: must run from 0 to the number of points, 3"),
        ({"offsets": [0, 2, 1, 3]}, "offsets: must not decrease"),
        ({"proportion": [0.1, 1.2, 0.3]}, r"proportion: 1.2, not in \[0, 1\]"),
        ({"n_examples": [1.0]}, r"n_examples: shape \(1,\), not \(3,\)"),
        ({"chance": [0.1, 0.2]}, r"chance: shape \(2,\), not \(1,\)"),
        ({"chance": [1.5]}, r"chance: 1.5, not in \[0, 1\]"),
        ({"margin": -1}, "margin: -1, not in"),
        ({"power": 1.0}, "power: 1, not in"),
    ],
)
def test_refusals(change, message):
    arguments = {
        "proportion": [0.1, 0.2, 0.3], "offsets": [0, 3], "n_examples": [10.0, 10, 10],
        "chance": [0.0],
    } | change  # fmt: skip
    arrays = {
        name: np.array(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }
    with pytest.raises(InputError, match=message):
        flatness(arrays.pop("proportion"), arrays.pop("offsets"), **arrays)


# --- The emergence score of nothing ---


def test_emergence_of_nothing_by_enumeration():
    # Two examples and four scales: 81 outcomes.
    n, k, rate, n_curves = 2, 4, 0.2, 20_000
    outcomes = np.array(list(product(range(n + 1), repeat=k)))
    probability = stats.binom.pmf(outcomes, n, rate).prod(axis=1)
    scores = np.array([oracles.score((y / n).tolist())["emergence_score"] for y in outcomes])
    expected = {
        "share_scored": probability[~np.isnan(scores)].sum(),
        "share_infinite": probability[np.isinf(scores)].sum(),
        "share_above": probability[scores > 1.5].sum(),
    }
    result = emergence_of_nothing(rate, n, k, threshold=1.5, n_curves=n_curves)
    for name, share in expected.items():
        error = math.sqrt(share * (1 - share) / n_curves)
        assert abs(getattr(result, name) - share) < 5 * error, name
    size = np.abs(scores[~np.isnan(scores)])
    order = np.argsort(size)
    up_to = np.cumsum(probability[~np.isnan(scores)][order]) / expected["share_scored"]
    for name, share in (("median", 0.5), ("high", 0.95)):
        near = [size[order][np.searchsorted(up_to, share + shift)] for shift in (-0.02, 0.02)]
        assert near[0] <= getattr(result, name) <= near[1]


def test_elements_of_nothing_do_not_touch_each_other():
    whole = emergence_of_nothing([0.5, 0.01], [[20], [100]], [3, 8], n_curves=50, seed=3)
    assert whole.median.shape == (2, 2)
    alone = emergence_of_nothing(0.01, 100, 8, n_curves=50, seed=3)
    assert alone.share_above == whole.share_above[1, 1]
    assert alone.high == whole.high[1, 1]


def test_seed_of_nothing():
    def median(seed):
        return float(emergence_of_nothing(0.5, 1000, 8, n_curves=40, seed=seed).median)

    assert median(1) == median(1)
    assert median(1) != median(2)
    assert median(np.random.default_rng(5)) == median(np.random.default_rng(5))


def test_nothing_at_all():
    result = emergence_of_nothing(0.0, 100, 5, n_curves=20)
    assert (result.share_scored, result.share_infinite, result.share_above) == (0, 0, 0)
    assert np.isnan(result.median)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5, 10, 2), "n_scales: 2, not in"),
        ((1.5, 10, 3), "accuracy: 1.5, not in"),
        ((0.5, 0, 3), "n_examples: 0, not in"),
        ((NAN, 10, 3), "not a number"),
    ],
)
def test_refusals_of_nothing(arguments, message):
    with pytest.raises(InputError, match=message):
        emergence_of_nothing(*arguments)
