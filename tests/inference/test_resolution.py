"""Flat, not flat, unseen: the tests by enumeration of all outcomes, and the kinds by hand."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from strategies import FEWER, observation_rows, to_frame

from bigbench_meta import build_curves, load_embedded, score_curves
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference import resolution as module
from bigbench_meta.inference.power import smallest_detectable
from bigbench_meta.inference.resolution import FLAT_KINDS, flatness, resolution

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
def test_refusals_of_arrays(change, message):
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


# --- Frames ---


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


def test_without_a_chance_level_flatness_can_still_be_tested():
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
        ({"chance": 25}, r"chance: 25 is not a possible score of chance"),
        ({"chance": -0.1}, r"chance: -0.1 is not a possible score of chance"),
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
