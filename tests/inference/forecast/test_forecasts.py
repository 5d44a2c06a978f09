"""Which forecasts are made, and their distributions: against loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.forecast.forecasts import (
    FORECAST_STATUSES,
    SKILL_STATUSES,
    Predictive,
    plan_rows,
)

FEW = settings(max_examples=10, deadline=None)
NAN = math.nan


# --- Which forecasts are made ---


@given(
    st.lists(st.integers(0, 9), max_size=6), st.integers(1, 6),
    st.one_of(st.sampled_from(["every", "last"]), st.integers(1, 9)),
)  # fmt: skip
def test_rows_against_a_loop(lengths, least, which):
    offsets = np.cumsum([0, *lengths])
    expected = []
    for begin, n in zip(offsets, lengths, strict=False):
        if which == "last":
            fitted = [n - 1]
        elif which == "every":
            fitted = range(min(least, n - 1), n)
        else:
            fitted = [which]
        expected += [
            (k, begin + k + ahead, ahead + 1)
            for k in fitted if 1 <= k < n
            for ahead in range(n - k)
        ]  # fmt: skip
    rows = plan_rows(offsets, which, least)
    found = list(zip(rows.k[rows.part], rows.target, rows.horizon, strict=True))
    assert found == expected
    points, fitted = rows.fitted()
    for part, curve in enumerate(rows.curve):
        own = points[fitted.curve == part]
        assert own.tolist() == list(range(offsets[curve], offsets[curve] + rows.k[part]))


@pytest.mark.parametrize("which", [0, -1, True, 2.0, "all", None, [1]])
def test_k_is_refused(which):
    with pytest.raises(InputError, match="is not 'every', 'last' or a number of scales"):
        plan_rows(np.array([0, 3]), which, 1)


# --- Distributions ---


@FEW
@given(st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_mixtures_against_scipy(seed, level):
    rng = np.random.default_rng(seed)
    s = rng.integers(1, 5)
    mean, sd, df = rng.normal(0.5, 0.3, s), rng.uniform(0.01, 0.4, s), rng.choice([1, 3, 9], s)
    weight = rng.dirichlet(np.ones(s))

    def cdf(y):
        return (weight * stats.t.cdf((y - mean) / sd, df)).sum()

    found = Predictive(
        mean=mean[None], sd=sd[None], df=df[None].astype(float), weight=weight[None],
        low=np.zeros(1), high=np.ones(1),
    )  # fmt: skip
    expected = np.clip(brentq(lambda y: cdf(y) - level, -1e6, 1e6, xtol=1e-13), 0, 1)
    assert found.quantile(level)[0] == pytest.approx(expected, abs=1e-6)
    median = np.clip(brentq(lambda y: cdf(y) - 0.5, -1e4, 1e4, xtol=1e-13), 0, 1)
    assert found.point[0] == pytest.approx(median, abs=1e-6)
    for y in (0.0, 0.2, 0.7, 1.0):
        below = 1.0 if y == 1 else cdf(y)
        above = 1.0 if y == 0 else 1 - cdf(y)
        assert found.two_sided(np.array([y]))[0] == pytest.approx(
            min(1, 2 * min(below, above)), abs=1e-9
        )


@pytest.mark.parametrize("sd", [1e-12, 1e3, 1e17, 1e150])
def test_a_component_that_knows_nothing_or_all(sd):
    """Its own quantiles are far away or very near, and the mixture's are found all the same."""
    mean, sds, weight = np.array([0.3, 0.5]), np.array([0.05, sd]), np.array([0.9, 0.1])
    found = Predictive(
        mean=mean[None], sd=sds[None], df=np.full((1, 2), 3.0), weight=weight[None],
        low=np.zeros(1), high=np.ones(1),
    )  # fmt: skip
    for level in (0.06, 0.5, 0.9):
        ends = [
            weight @ stats.t.cdf((end - mean) / sds, 3) - level
            for end in (found.quantile(level)[0] - 1e-9, found.quantile(level)[0] + 1e-9)
        ]
        assert ends[0] < 0 < ends[1]
    assert found.quantile(0.01)[0] == pytest.approx(0 if sd > 1 else 0.08171, abs=1e-4)


def test_unknown_noise():
    found = Predictive(
        mean=np.array([[0.0], [0.3]]), sd=np.array([[2.0], [NAN]]), df=np.full((2, 1), 9.0),
        weight=np.ones((2, 1)), low=np.full(2, -np.inf), high=np.full(2, np.inf),
    )  # fmt: skip
    assert found.quantile(0.975) == pytest.approx([2 * stats.t.ppf(0.975, 9), NAN], nan_ok=True)
    assert found.point == pytest.approx([0.0, 0.3])
    assert found.two_sided(np.array([2.0, 0.3])) == pytest.approx(
        [2 * stats.t.sf(1, 9), NAN], nan_ok=True
    )


def test_far_tails_are_not_rounded_off():
    """There 1 less the distribution function is 0 in floating point."""
    distribution = Predictive(
        mean=np.zeros((2, 1)), sd=np.ones((2, 1)), df=np.array([[99.0], [9.0]]),
        weight=np.ones((2, 1)), low=np.full(2, -np.inf), high=np.full(2, np.inf),
    )  # fmt: skip
    expected = [2 * stats.t.sf(20, 99), 2 * stats.t.sf(1e4, 9)]
    for side in (1, -1):
        found = distribution.two_sided(side * np.array([20.0, 1e4]))
        assert found == pytest.approx(expected, rel=1e-9)
        assert (found > 0).all()


def test_every_status_is_named():
    assert len(set(FORECAST_STATUSES)) == len(FORECAST_STATUSES) == 13
    assert SKILL_STATUSES == ("ok", "perfect_persistence", "no_forecast")
