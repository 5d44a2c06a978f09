"""Variation between models, learned from a family: against loops, and on simulated families."""

from __future__ import annotations

import math
from functools import cache

import mechanism_oracles as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from null_curves import family_arrays
from scipy import stats

from bigbench_meta.inference.nulls.family_sigma import (
    SPREADS,
    STRANGERS,
    family_variation,
    sigma_likelihood,
)
from bigbench_meta.inference.nulls.links import SHARE
from bigbench_meta.inference.nulls.mechanism import (
    SIGMA_GRID,
    Design,
    MechanismCurves,
    Variation,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism

LOG = np.log(SIGMA_GRID)


def centre(weight):
    return np.exp(weight @ LOG)


def spread(weight):
    return np.sqrt(np.maximum(weight @ LOG**2 - (weight @ LOG) ** 2, 0))


# --- The likelihood of a curve ---


def test_the_likelihood_is_the_integral_of_the_estimating_equation():
    """By loops over points, with the leverages of the hat matrix, and the trapezoidal rule."""
    y, x, trials, offsets = family_arrays(3, 0.3)
    found = sigma_likelihood(MechanismCurves.checked(y, x, trials, offsets))
    for curve in range(3):
        own = slice(offsets[curve], offsets[curve + 1])
        log = np.log(x[own]) - np.log(x[own]).mean()
        shape = Design(x=log[:, None], trials=trials[own][:, None], floor=np.zeros(1))
        total, last = 0.0, None
        for number, sigma in enumerate(SIGMA_GRID):
            fit = fit_mechanism(y[own][:, None], shape, sigma=np.array([sigma]))
            level, alpha = fit.level[0], fit.alpha[0]
            residual, slope, _, weight = naive.curve_pieces(
                y[own], log, trials[own], (level, alpha, sigma), SHARE, 0.0, 1.0
            )
            root = np.sqrt(weight)
            columns = [slope * root, slope * log * root][: 2 if 0 < alpha < 0.35 else 1]
            leverage = (np.linalg.qr(np.stack(columns, axis=1))[0] ** 2).sum(axis=1)
            between = [naive.moments(SHARE, level - alpha * one, sigma, 0, 1)[2] for one in log]
            steep = 0.5 * sum(between * weight * (residual**2 * weight - 1 + leverage))
            if last is not None:
                total += (steep + last) / 2 * 2 * math.log(sigma / SIGMA_GRID[number - 1])
            last = steep
            assert found[curve, number] == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_scores_are_exact_it_is_the_likelihood_of_normal_residuals(seed):
    """Least squares of the log loss on log size, n - 2 degrees of freedom; sigma small."""
    rng = np.random.default_rng(seed)
    log = np.linspace(-3, 3, 9)
    log_loss = 0.1 - 0.15 * log + 0.04 * rng.standard_normal(9)
    curves = MechanismCurves.checked(
        np.exp(-np.exp(log_loss)), np.exp(log + 20), np.full(9, 1e9), [0, 9]
    )
    found = sigma_likelihood(curves)[0]
    squares = np.polynomial.Polynomial.fit(log, log_loss, 1, full=True)[1][0].item()
    near = (SIGMA_GRID > 0.02) & (SIGMA_GRID < 0.2)
    expected = -squares / (2 * SIGMA_GRID**2) - 7 * LOG
    difference = (found - expected)[near]
    assert difference == pytest.approx(difference[0], abs=0.15 + 0.05 * np.ptp(expected[near]))


def test_curves_that_say_nothing():
    y, x, trials, offsets = family_arrays(2, 0.1)
    y[:8] = 0.5
    likelihood = sigma_likelihood(MechanismCurves.checked(y, x, trials, offsets))
    assert not likelihood[0].any()
    assert likelihood[1].any()
    row = np.arange(2)
    found = family_variation(likelihood, row, 0 * row, 0 * row)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


# --- What a family says of one more curve ---


@cache
def naive_priors():
    edges = np.concatenate([[0], np.sqrt(SIGMA_GRID[1:] * SIGMA_GRID[:-1]), [np.inf]])
    return [
        np.diff(stats.lognorm(deviation, scale=middle).cdf(edges))
        if deviation
        else np.isclose(SIGMA_GRID, middle) * 1.0
        for deviation in SPREADS
        for middle in SIGMA_GRID
    ]


def naive_variation(likelihoods, own):
    """Bayes' rule over centres and spreads, from loops over the others."""
    others = [one for number, one in enumerate(likelihoods) if number != own and np.any(one)]
    if not others:
        return np.full(len(SIGMA_GRID), np.nan)
    weights = []
    for prior in naive_priors():
        says = 0.0
        for one in others:
            share = np.exp(one - max(one)) / sum(np.exp(one - max(one)))
            known = max(prior @ share, 1e-300) * len(SIGMA_GRID)
            says += math.log((1 - STRANGERS) * known + STRANGERS)
        weights.append(says)
    weights = np.exp(np.array(weights) - max(weights))
    return weights @ np.array(naive_priors()) / weights.sum()


@given(
    st.lists(
        st.tuples(st.floats(0.01, 2), st.floats(0.0, 10), st.booleans()), min_size=1, max_size=5
    )
)
def test_a_curve_takes_the_variation_of_the_others(curves):
    """Each says a sigma of its own, more or less surely, or nothing at all."""
    likelihoods = [-sure * (LOG - math.log(sigma)) ** 2 * says for sigma, sure, says in curves]
    row = np.arange(len(curves))
    found = family_variation(np.array(likelihoods), row, 0 * row, 0 * row)
    expected = np.array([naive_variation(likelihoods, own) for own in row])
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_families_are_apart():
    one, two = (-4 * (LOG - math.log(sigma)) ** 2 for sigma in (0.1, 0.5))
    found = family_variation(
        np.array([one] * 200 + [two] * 200), np.arange(400), np.zeros(400, dtype=np.int64),
        np.arange(400) // 200,
    )  # fmt: skip
    assert centre(found[:200]) == pytest.approx(0.1, abs=0.02)
    assert centre(found[200:]) == pytest.approx(0.5, abs=0.1)


def test_of_several_rows_the_one_that_needs_least_speaks():
    """Two curves of two guess rates: what one says is what its better one says."""
    good, bad = (-4 * (LOG - math.log(sigma)) ** 2 for sigma in (0.2, 0.9))
    rows, curve, kind = np.array([bad, good, good]), np.array([0, 0, 1]), np.zeros(3, dtype=int)
    family = np.zeros(2, dtype=int)
    found = family_variation(rows, curve, kind, family)
    only = family_variation(np.array([good, good]), np.arange(2), kind[:2], family)
    assert found[2] == pytest.approx(only[1])
    # With kinds of their own, rows of another kind do not speak where there is one of the same.
    kinds = np.array([0, 1, 0])
    assert family_variation(rows, curve, kinds, family)[2] == pytest.approx(
        naive_variation([bad, good], 1)
    )


# --- Simulated families ---


def learned(curves):
    likelihood = sigma_likelihood(curves)
    row = np.arange(len(likelihood))
    return family_variation(likelihood, row, 0 * row, 0 * row)


@pytest.mark.parametrize(("sigma", "between"), [(0.1, 0.0), (0.4, 0.0), (0.2, 0.5)])
def test_centre_and_spread_of_a_family_are_found(sigma, between):
    found = learned(MechanismCurves.checked(*family_arrays(120, sigma, spread=between, n=2000)))
    assert np.median(centre(found)) == pytest.approx(sigma, rel=0.15)
    assert np.median(spread(found)) == pytest.approx(between, abs=0.2)


def test_models_without_variation_have_next_to_none():
    found = learned(MechanismCurves.checked(*family_arrays(60, 0.0)))
    assert (centre(found) < 0.05).all()


def test_few_curves_promise_less_than_many():
    many, few = (learned(MechanismCurves.checked(*family_arrays(m, 0.2, n=2000))) for m in (100, 4))
    assert spread(few).min() > 1.5 * spread(many).max()
    unknown = np.full(104, np.nan)
    worth = Variation.of(unknown, np.concatenate([many, few])).df
    assert worth[:100].min() > 20
    assert worth[100:].max() < 10


def test_true_jumps_of_some_curves_do_not_widen_the_others():
    y, x, trials, offsets = family_arrays(100, 0.2, n=2000)
    plain = learned(MechanismCurves.checked(y, x, trials, offsets))
    jumping = y.reshape(100, 8)
    jumping[::10, 5:] = 0.99
    jumping[::10, :5] = 0.01
    found = learned(MechanismCurves.checked(jumping.ravel(), x, trials, offsets))
    assert np.median(centre(found)) == pytest.approx(np.median(centre(plain)), rel=0.1)
    assert np.median(spread(found)) < 0.35
