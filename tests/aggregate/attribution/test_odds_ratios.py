"""Odds ratios of tables against scipy, statsmodels and enumeration."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats.contingency import odds_ratio
from statsmodels.stats.contingency_tables import Table2x2, mcnemar
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta.aggregate.attribution.odds_ratios import (
    _MOST_SUPPORT,
    exact_odds_ratio,
    half_added_risk_ratio,
    log_odds_ratio,
    log_risk_ratio,
    mantel_haenszel,
    pair_odds_ratio,
)
from bigbench_meta.core.errors import InputError

TABLE = st.lists(st.integers(0, 9), min_size=4, max_size=4).map(
    lambda cells: np.array(cells).reshape(2, 2)
)
STRATA = st.lists(TABLE, min_size=1, max_size=4).map(np.array)


def close(value, other, rel=1e-6):
    return value == pytest.approx(other, rel=rel, abs=1e-9, nan_ok=True)


# --- One table ---


@given(TABLE)
def test_exact_of_one_table_is_fishers(table):
    result = exact_odds_ratio(table[None])
    if 0 in table.sum(axis=0) or 0 in table.sum(axis=1):
        assert result.status == "no_variation"
        assert math.isnan(result.estimate)
        return
    reference = odds_ratio(table, kind="conditional")
    limits = reference.confidence_interval(0.95)
    assert close(result.estimate, reference.statistic, 1e-4)
    assert close(result.low, limits.low, 1e-4)
    assert close(result.high, limits.high, 1e-4)
    a, n, row, column = table[0, 0], table.sum(), table[0].sum(), table[:, 0].sum()
    tails = stats.hypergeom.sf(a - 1, n, row, column), stats.hypergeom.cdf(a, n, row, column)
    assert close(result.p_value, min(1, 2 * min(tails)))


@given(TABLE)
def test_half_added_risk_ratio_is_statsmodels_on_raised_cells(table):
    result = half_added_risk_ratio(table.ravel().astype(float), confidence=0.9)
    reference = Table2x2(table + 0.5, shift_zeros=False)
    expected = reference.riskratio, *reference.riskratio_confint(0.1)
    assert close((result.estimate, result.low, result.high), expected)
    assert close(result.p_value, reference.riskratio_pvalue())


@pytest.mark.parametrize(
    ("cells", "odds", "risk"),
    [
        ([3, 1, 1, 3], math.log(9), math.log(3)),
        ([3, 1, 0, 4], math.inf, math.inf),
        ([0, 4, 1, 3], -math.inf, -math.inf),
        ([4, 0, 3, 1], math.inf, math.log(4 / 3)),
        ([0, 4, 0, 4], math.nan, math.nan),
    ],
)
def test_logs_of_ratios_are_infinite_or_nan_where_cells_are_empty(cells, odds, risk):
    cells = np.array(cells, dtype=float)
    assert float(log_odds_ratio(cells)) == pytest.approx(odds, nan_ok=True)
    assert float(log_risk_ratio(cells)) == pytest.approx(risk, nan_ok=True)


# --- Pairs ---


@given(st.integers(0, 40), st.integers(0, 40))
def test_pairs_are_mcnemars(first, second):
    result = pair_odds_ratio(first, second, confidence=0.9)
    assert result.p_value == pytest.approx(mcnemar([[5, first], [second, 7]], exact=True).pvalue)
    if not first + second:
        assert result.status == "no_variation"
        return
    low, high = proportion_confint(first, first + second, alpha=0.1, method="beta")
    assert close(result.low, low / (1 - low) if first else 0)
    assert close(result.high, high / (1 - high) if second else math.inf)
    assert result.estimate == (first / second if second else math.inf)
    assert result.status == ("ok" if first and second else "zero_cell")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
def test_matched_pairs_as_tables_give_the_same(first, second, same):
    assume(first + second)
    tables = [[[1, 0], [0, 1]]] * first + [[[0, 1], [1, 0]]] * second + [[[1, 0], [1, 0]]] * same
    exact, pairs = exact_odds_ratio(tables), pair_odds_ratio(first, second)
    assert close(exact.estimate, pairs.estimate)
    assert close((exact.low, exact.high), (pairs.low, pairs.high))
    assert close(exact.p_value, pairs.p_value)


# --- Strata ---


def enumerated(tables):
    """Coefficients of T, as whole numbers, by convolving hypergeometric terms one by one."""
    coefficients = {0: 1}
    for (a, b), (c, d) in tables.tolist():
        n_exposed, n_other, n_flagged = a + b, c + d, a + c
        terms = {
            t: math.comb(n_exposed, t) * math.comb(n_other, n_flagged - t)
            for t in range(n_flagged + 1)
        }
        summed = {}
        for one, weight in coefficients.items():
            for two, its in terms.items():
                summed[one + two] = summed.get(one + two, 0) + weight * its
        coefficients = summed
    return {t: weight for t, weight in coefficients.items() if weight}


def chance(coefficients, psi, chosen):
    weights = {t: weight * Fraction(psi) ** t for t, weight in coefficients.items()}
    return float(sum(w for t, w in weights.items() if chosen(t)) / sum(weights.values()))


@given(STRATA)
def test_exact_of_strata_by_enumeration(tables):
    result = exact_odds_ratio(tables)
    coefficients, observed = enumerated(tables), int(tables[:, 0, 0].sum())
    if len(coefficients) == 1:
        assert result.status == "no_variation"
        return
    if observed > min(coefficients):
        assert chance(coefficients, result.low, lambda t: t >= observed) == pytest.approx(0.025)
    else:
        assert result.low == result.estimate == 0
    if observed < max(coefficients):
        assert chance(coefficients, result.high, lambda t: t <= observed) == pytest.approx(0.025)
    else:
        assert result.high == result.estimate == math.inf
    if result.status == "ok":
        weights = {t: w * Fraction(result.estimate) ** t for t, w in coefficients.items()}
        mean = sum(t * w for t, w in weights.items()) / sum(weights.values())
        assert float(mean) == pytest.approx(observed)
    tails = (
        chance(coefficients, 1, lambda t: t >= observed),
        chance(coefficients, 1, lambda t: t <= observed),
    )
    assert close(result.p_value, min(1, 2 * min(tails)))


@given(STRATA)
def test_mantel_haenszel_by_hand(tables):
    result = mantel_haenszel(tables, confidence=0.9)
    excess, variance, parts = 0.0, 0.0, []
    for (a, b), (c, d) in tables.tolist():
        n = a + b + c + d
        if n:
            # Mean and variance of the hypergeometric distribution.
            excess += a - (a + b) * (a + c) / n
            products = (a + b) * (c + d) * (a + c) * (b + d)
            variance += products / (n**2 * (n - 1)) if n > 1 else 0
            parts.append((a * d / n, b * c / n, (a + d) / n, (b + c) / n))
    if not variance > 1e-12:
        assert result.status == "no_variation"
        return
    assert close(result.p_value, stats.chi2.sf(excess**2 / variance, 1))
    r, s, p, q = np.array(parts).T
    if not (r.any() and s.any()):
        assert result.estimate == (math.inf if r.any() else 0)
        assert result.status == "zero_cell"
        assert math.isnan(result.low)
        return
    # Robins, Breslow & Greenland (1986).
    one, two = r.sum(), s.sum()
    spread = (p @ r) / (2 * one**2) + (p @ s + q @ r) / (2 * one * two) + (q @ s) / (2 * two**2)
    half = stats.norm.ppf(0.95) * math.sqrt(spread)
    assert close(result.estimate, one / two)
    limits = one / two * math.exp(-half), one / two * math.exp(half)
    assert close((result.low, result.high), limits)


@pytest.mark.parametrize("function", [mantel_haenszel, exact_odds_ratio])
@given(tables=STRATA, data=st.data())
def test_strata_in_any_order_and_empty_ones(function, tables, data):
    order = data.draw(st.permutations(range(len(tables))))
    padded = np.concatenate([tables[list(order)], [[[0, 3], [0, 2]], [[2, 1], [0, 0]]]])
    one, two = function(tables), function(padded)
    assert one.status == two.status
    for name in ("estimate", "low", "high", "p_value"):
        assert close(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("function", [mantel_haenszel, exact_odds_ratio])
@given(tables=STRATA)
def test_the_other_way_round_is_the_reciprocal(function, tables):
    def reciprocal(value):
        return math.inf if value == 0 else 1 / value

    one, two = function(tables), function(tables[:, ::-1])
    assert close(one.estimate, reciprocal(two.estimate))
    assert close((one.low, one.high), (reciprocal(two.high), reciprocal(two.low)))
    assert close(one.p_value, two.p_value)


@given(STRATA)
def test_duplicated_strata_leave_the_estimates_and_shorten_the_intervals(tables):
    for function in (mantel_haenszel, exact_odds_ratio):
        one, two = function(tables), function(np.concatenate([tables, tables]))
        assert close(one.estimate, two.estimate)
        if one.status == "ok":
            assert one.low < two.low < two.high < one.high


def test_wider_confidence_gives_a_wider_interval():
    table = [[[7, 3], [2, 9]]]
    inner, outer = exact_odds_ratio(table, confidence=0.8), exact_odds_ratio(table, confidence=0.99)
    assert outer.low < inner.low < inner.estimate < inner.high < outer.high


def test_large_table_is_exact_and_agrees_with_the_normal_interval():
    table = np.array([[[4000, 96000], [1500, 48500]]])
    exact = exact_odds_ratio(table)
    low, high = Table2x2(table[0]).oddsratio_confint()
    assert (exact.low, exact.high) == pytest.approx((low, high), rel=2e-3)


def test_too_large_a_convolution_is_refused():
    half = _MOST_SUPPORT
    tables = [[[half, half], [half, half]], [[half, half], [half, half + 1]]]
    assert exact_odds_ratio(tables).status == "too_large"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([[1, 2], [3, 4]], r"shape \(2, 2\)"),
        ([[[1, 2], [3, -4]]], "negative"),
        ([[[1, 2], [3, math.nan]]], "not a number"),
    ],
)
@pytest.mark.parametrize("function", [mantel_haenszel, exact_odds_ratio])
def test_what_is_no_table(function, tables, message):
    with pytest.raises(InputError, match=message):
        function(tables)


@pytest.mark.parametrize("confidence", [0, 1, math.nan, 95])
def test_what_is_no_confidence(confidence):
    for call in (
        lambda: exact_odds_ratio([[[1, 2], [3, 4]]], confidence=confidence),
        lambda: mantel_haenszel([[[1, 2], [3, 4]]], confidence=confidence),
        lambda: pair_odds_ratio(1, 2, confidence=confidence),
    ):
        with pytest.raises(InputError, match="confidence"):
            call()
