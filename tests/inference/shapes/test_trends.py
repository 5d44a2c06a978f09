"""Trend classes: each number against scipy or a naive version, each rule by example."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bigbench_meta import build_curves, load_embedded
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes
from bigbench_meta.inference.shapes.inputs import Frame, Points
from bigbench_meta.inference.shapes.shape_fits import fit_shapes
from bigbench_meta.inference.shapes.trends import (
    TREND_RULES,
    TRENDS,
    TrendNumbers,
    TrendRules,
    _at_least_so_far,
    trend_numbers,
    trends,
)


def numbers_of(y, x=None, variance=None):
    y = np.asarray(y, float)
    x = 10.0 ** np.arange(len(y)) if x is None else np.asarray(x, float)
    data = Points.checked(y, x, np.array([0, len(y)]), variance=variance)
    return data, trend_numbers(data, Frame.of(data))


def name_of(y, x=None, variance=None, **rules):
    data, numbers = numbers_of(y, x, variance)
    fits = fit_shapes(data.y, data.x, data.ragged.offsets, shapes=("constant", "power_law"))
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - fits.rss[:, 1] / fits.rss[:, 0]
    flat = Frame.of(data).scale == 0
    return TRENDS[trends(numbers, data.ragged.lengths, flat, r2, TrendRules(**rules))[0]]


@st.composite
def scores(draw, *, least=3):
    values = draw(st.lists(st.integers(-50, 50), min_size=least, max_size=12))
    assume(len(set(values)) > 1)
    gaps = draw(st.lists(st.floats(0.1, 3), min_size=len(values), max_size=len(values)))
    return np.array(values, float), np.exp(np.cumsum(gaps))


# --- Numbers ---


@given(scores())
def test_tau_and_its_p_value(sample):
    y, x = sample
    _, numbers = numbers_of(y, x)
    expected = stats.kendalltau(x, y)
    assert numbers.tau[0] == pytest.approx(expected.statistic)
    if len(set(y)) == len(y):
        exact = stats.kendalltau(x, y, method="exact")
        assert numbers.p_trend[0] == pytest.approx(exact.pvalue)


@pytest.mark.parametrize("n", range(2, 7))
def test_null_distribution_by_enumeration(n):
    pairs = n * (n - 1) // 2
    sums = [
        sum(np.sign(order[j] - order[i]) for i in range(n) for j in range(i + 1, n))
        for order in permutations(range(n))
    ]
    expected = [np.mean(np.abs(sums) >= s) for s in range(pairs + 1)]
    assert _at_least_so_far(n) == pytest.approx(expected)


def test_p_value_of_long_curves():
    y = np.random.default_rng(0).normal(size=80) + np.arange(80) / 200
    _, numbers = numbers_of(y, np.exp(np.arange(80) / 10))
    expected = stats.kendalltau(np.arange(80), y, method="asymptotic").pvalue
    assert numbers.p_trend[0] == pytest.approx(expected, rel=0.05)


def naive(y, x):
    """The other numbers, point by point."""
    u = np.log(x / x[0]) / np.log(x[-1] / x[0])
    v = (y - y.min()) / np.ptp(y)
    n = len(y)
    excess = [(v[j] - v[i] - (u[j] - u[i]), -j, -i) for i in range(n) for j in range(i, n)]
    _, j, i = max(excess)
    r2 = [
        1 - ((v - np.polyval(np.polyfit(u, v, d), u)) ** 2).sum() / ((v - v.mean()) ** 2).sum()
        for d in (1, 2)
    ]
    bend, slope, _ = np.polyfit(u, v, 2)
    return {
        "excess": max(excess)[0],
        "at": (-i, -j),
        "run_up": max(v[j] - v[i] for i in range(n) for j in range(i, n)),
        "drawdown": max(v[i] - v[j] for i in range(n) for j in range(i, n)),
        "r2_line": r2[0],
        "r2_parabola": r2[1],
        "turn": -slope / (2 * bend) if abs(bend) > 1e-9 else np.nan,
    }


@given(scores(least=4))
def test_the_other_numbers(sample):
    y, x = sample
    _, numbers = numbers_of(y, x)
    expected = naive(y, x)
    assert numbers.jump_share[0] - numbers.gap_share[0] == pytest.approx(expected["excess"])
    for name in ("run_up", "drawdown"):
        assert getattr(numbers, name)[0] == pytest.approx(expected[name])
    for name in ("r2_line", "r2_parabola"):
        assert getattr(numbers, name)[0] == pytest.approx(expected[name], abs=1e-6)
    if abs(expected["turn"]) < 100:
        assert numbers.turn[0] == pytest.approx(expected["turn"], rel=1e-4, abs=1e-6)


def test_the_jump_and_what_lies_around_it():
    _, numbers = numbers_of([0.0, 0.1, 0.05, 0.15, 0.75, 1.0, 0.65], 10.0 ** np.arange(7))
    found = {f.name: float(getattr(numbers, f.name)[0]) for f in fields(TrendNumbers)}
    # From 0.15 to 1 is 0.85 in two sixths of the scales; no other pair exceeds a line by more.
    assert found["jump_share"] == pytest.approx(0.85)
    assert found["gap_share"] == pytest.approx(2 / 6)
    assert found["before_share"] == pytest.approx(0.15)
    assert found["n_before"] == 4
    assert found["after_share"] == pytest.approx((0.65 - 0.15) / 0.85)


def test_equality_within_sampling_error():
    y, variance = np.array([0.1, 0.3, 0.2, 0.25, 0.3]), np.array([1, 2, 1, 2, 1]) * 0.01
    _, numbers = numbers_of(y, variance=variance)
    mean = np.average(y, weights=1 / variance)
    expected = stats.chi2.sf((((y - mean) ** 2) / variance).sum(), 4)
    assert numbers.p_equal[0] == pytest.approx(expected)
    assert np.isnan(numbers_of(y)[1].p_equal[0])


# --- Rules ---


LINE = np.linspace(0.1, 0.8, 8)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (LINE, "increasing"),
        (1 - np.exp(-np.linspace(0, 4, 8)), "increasing"),  # saturates
        (np.linspace(0, 1, 8) ** 2, "increasing"),
        (LINE[::-1], "inverse"),
        ([0.9, 0.9, 0.88, 0.9, 0.5, 0.1, 0.1, 0.1], "inverse"),
        ([0.1, 0.4, 0.7, 0.8, 0.8, 0.6, 0.4, 0.1], "nonmonotonic"),
        ([0.8, 0.5, 0.2, 0.1, 0.1, 0.2, 0.5, 0.8], "nonmonotonic"),  # U-shaped
        ([0.0, 0.0, 0.01, 0.0, 0.01, 0.02, 0.8, 0.9], "breakthrough"),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9], "breakthrough"),
        ([0.1, 0.4, 0.2, 0.5, 0.3, 0.9, 0.6, 0.8], "noisy"),
        ([0.5, 0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.4], "trendless"),
        ([0.3] * 8, "trendless"),
        ([0.1, 0.2, 0.3, 0.4], "too_few_points"),
        # A jump from which it falls back is none.
        ([0.0, 0.0, 0.0, 0.9, 0.05, 0.1, 0.0, 0.1], "trendless"),
    ],
)
def test_examples(y, expected):
    assert name_of(y) == expected


def test_within_sampling_error_there_is_no_trend():
    assert name_of(LINE, variance=np.full(8, 0.001)) == "increasing"
    assert name_of(LINE, variance=np.full(8, 0.5)) == "trendless"


@pytest.mark.parametrize(
    ("y", "rules", "expected"),
    [
        (LINE[:4], {"min_points": 4, "alpha": 0.2}, "increasing"),
        ([0.0, 0.0, 0.01, 0.0, 0.01, 0.02, 0.8, 0.9], {"min_jump": 0.9}, "noisy"),
        ([0.1, 0.4, 0.2, 0.5, 0.3, 0.9, 0.6, 0.8], {"min_r2": 0.5}, "increasing"),
        ([0.1, 0.4, 0.2, 0.5, 0.3, 0.9, 0.6, 0.8], {"alpha": 0.001}, "trendless"),
        ([0.1, 0.4, 0.7, 0.8, 0.8, 0.6, 0.4, 0.1], {"min_turn": 1.1}, "trendless"),
        ([0.1, 0.4, 0.7, 0.8, 0.8, 0.6, 0.4, 0.1], {"min_r2_turn": 1.0}, "trendless"),
        ([0.0, 0.2, 0.1, 0.15, 0.1, 0.2, 0.8, 0.9], {}, "breakthrough"),
        ([0.0, 0.2, 0.1, 0.15, 0.1, 0.2, 0.8, 0.9], {"max_before": 0.1}, "noisy"),
    ],
)
def test_thresholds(y, rules, expected):
    assert name_of(y, **rules) == expected


@given(scores(), st.floats(0.1, 10), st.integers(-5, 5), st.floats(1e-3, 1e3))
def test_units_do_not_matter(sample, factor, shift, unit):
    y, x = sample
    _, a = numbers_of(y, x)
    _, b = numbers_of(factor * y + shift, unit * x)
    for name in ("tau", "p_trend", "run_up", "drawdown", "r2_line"):
        assert getattr(b, name) == pytest.approx(getattr(a, name), abs=1e-6)


@pytest.mark.full
@given(scores(least=5))
def test_upside_down(sample):
    """What is turned over falls where it rose; no curve rises both ways."""
    y, x = sample
    up, down = numbers_of(y, x)[1], numbers_of(-y, x)[1]
    assert down.tau == pytest.approx(-up.tau)
    assert down.p_trend == pytest.approx(up.p_trend)
    assert (down.run_up, down.drawdown) == (
        pytest.approx(up.drawdown), pytest.approx(up.run_up),
    )  # fmt: skip
    rising = {"increasing", "breakthrough"}
    assert not {name_of(y, x), name_of(-y, x)} <= rising
    if name_of(y, x) == "increasing":
        assert name_of(-y, x) == "inverse"


def test_every_rule_is_stated():
    named = {name.split(",")[0] for name in TREND_RULES}
    assert named | {"too_few_points"} == set(TRENDS)
    stated = " ".join(TREND_RULES.values())
    for field in fields(TrendRules):
        assert field.name == "min_points" or f"`{field.name}`" in stated, field.name


def test_embedded_results(embedded_study):
    """docs/shapes.md: counts of the classes."""
    table = embedded_study.shapes
    assert table["trend"].value_counts().to_dict() == {
        "increasing": 116, "breakthrough": 40, "trendless": 23, "noisy": 10,
    }  # fmt: skip
    addition = table[table["task"] == "arithmetic 3D+"]
    assert addition["trend"].tolist() == ["breakthrough"] * 3


def test_rules_are_passed_on():
    curves = build_curves(load_embedded())
    addition = curves[curves.keys["task"] == "arithmetic 3D+"]
    strict = curve_shapes(
        addition, shapes=("constant", "power_law"), rules=replace(TrendRules(), min_jump=2.0)
    )
    assert "breakthrough" not in set(strict["trend"])
