"""Variation between models, pooled over a family: against loops, and on simulated families."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize

from bigbench_meta.inference.nulls.family_sigma import SIGMA_GRID, family_sigma, sigma_profile
from bigbench_meta.inference.nulls.mechanism import (
    Design,
    MechanismCurves,
    dispersion,
    pieces,
)
from bigbench_meta.inference.nulls.mechanism_fit import SIGMA_MAX, fit_mechanism

NORMAL_90 = 1.2815515655446004


def naive_sigma(profiles, own):
    """The largest root of the others' sum plus 1.28 standard errors, linear in sigma squared."""
    others = [profile for number, profile in enumerate(profiles) if number != own]
    if not any(np.any(profile) for profile in others):
        return np.nan
    upper = sum(others) + NORMAL_90 * np.sqrt(sum(profile**2 for profile in others))
    above = np.flatnonzero(upper > 0)
    if not len(above):
        return 0.0
    last = above[-1]
    if last == len(SIGMA_GRID) - 1:
        return SIGMA_MAX
    square = optimize.brentq(
        lambda s: np.interp(s, SIGMA_GRID**2, upper), SIGMA_GRID[last] ** 2,
        SIGMA_GRID[last + 1] ** 2, xtol=1e-15,
    )  # fmt: skip
    return np.sqrt(square)


@settings(max_examples=60)
@example([(0.0, 1.0, True), (1.0, 1.0, True), (1e-5, 1.0, True)])
@given(
    st.lists(
        st.tuples(st.floats(0, 2.5), st.floats(0.1, 10), st.booleans()), min_size=1, max_size=6
    )
)
def test_a_curve_takes_the_sigma_of_the_others(curves):
    """Each says a sigma of its own with a weight of its own, or nothing at all."""
    profiles = [weight * (sigma**2 - SIGMA_GRID**2) * speaks for sigma, weight, speaks in curves]
    row = np.arange(len(curves))
    found = family_sigma(np.array(profiles), row, 0 * row, 0 * row)
    expected = [naive_sigma(profiles, own) for own in row]
    # The variance is what is solved for: a sigma near 0 is the root of its rounding.
    squares = np.square(expected)
    assert found**2 == pytest.approx(squares, rel=1e-6, abs=1e-6, nan_ok=True)


def test_families_are_apart():
    one, two = (1 - (SIGMA_GRID / sigma) ** 2 for sigma in (0.1, 0.5))
    found = family_sigma(
        np.array([one] * 200 + [two] * 200), np.arange(400), np.zeros(400, dtype=np.int64),
        np.arange(400) // 200,
    )  # fmt: skip
    assert found[:200] == pytest.approx(0.1, abs=0.02)
    assert found[200:] == pytest.approx(0.5, abs=0.1)


def test_of_several_rows_the_one_that_needs_least_speaks():
    """Two curves of two guess rates: the sigma of each is that of the other's better one."""
    good, bad = (1 - (SIGMA_GRID / sigma) ** 2 for sigma in (0.2, 0.9))
    rows, curve, kind = np.array([bad, good, good]), np.array([0, 0, 1]), np.zeros(3, dtype=int)
    found = family_sigma(rows, curve, kind, np.zeros(2, dtype=int))
    only = family_sigma(np.array([good, good]), np.arange(2), kind[:2], np.zeros(2, dtype=int))
    assert found[2] == pytest.approx(only[1])
    # With kinds of their own, rows of another kind do not speak where there is one of the same.
    kinds = np.array([0, 1, 0])
    assert family_sigma(rows, curve, kinds, np.zeros(2, dtype=int))[2] == pytest.approx(
        naive_sigma([bad, good], 1)
    )


def family(m, sigma, *, n=500, seed=0):
    """Curves of one family of eight models."""
    rng = np.random.default_rng(seed)
    log = np.linspace(18, 24, 8)
    level, alpha = rng.uniform(-1, 1, (m, 1)), rng.uniform(0.05, 0.3, (m, 1))
    log_loss = level - alpha * (log - log.mean()) + sigma * rng.standard_normal((m, 8))
    y = rng.binomial(n, np.exp(-np.exp(log_loss))) / n
    return y.ravel(), np.tile(np.exp(log), m), np.full(8 * m, float(n)), np.arange(m + 1) * 8


def test_profiles_are_what_is_observed_less_what_is_expected():
    y, x, trials, offsets = family(5, 0.3)
    profile = sigma_profile(MechanismCurves.checked(y, x, trials, offsets))
    log = np.log(x.reshape(5, 8).T)
    shape = Design(x=log - log.mean(axis=0), trials=trials.reshape(5, 8).T, floor=np.zeros(5))
    scores = y.reshape(5, 8).T
    for column in (0, 7, 24):
        sigma = np.full(5, SIGMA_GRID[column])
        fit = fit_mechanism(scores, shape, sigma=sigma)
        found = pieces(scores, fit.log_loss(shape.x), sigma, shape)
        observed, expected = dispersion(found, shape.x, fit.at_bound != 0)
        assert profile[:, column] == pytest.approx(observed - expected, abs=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.4])
def test_the_limit_is_above_the_sigma_of_a_family_but_near_it(sigma):
    row = np.arange(60)
    above = []
    for seed in range(8):
        profile = sigma_profile(MechanismCurves.checked(*family(60, sigma, seed=seed)))
        found = family_sigma(profile, row, 0 * row, 0 * row)
        above.append(found.mean() >= 0.98 * sigma)
        assert found == pytest.approx(sigma, abs=0.06 + 0.3 * sigma)
    assert np.mean(above) >= 0.6


def test_curves_that_say_nothing():
    y, x, trials, offsets = family(2, 0.1)
    y[:8] = 0.5
    profile = sigma_profile(MechanismCurves.checked(y, x, trials, offsets))
    assert not profile[0].any()
    assert profile[1].any()
    row = np.arange(2)
    found = family_sigma(profile, row, 0 * row, 0 * row)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
