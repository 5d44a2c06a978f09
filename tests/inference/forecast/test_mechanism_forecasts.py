"""Forecasts by all smooth laws: against integrals over models, and statuses by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from forecast_inputs import curves_of, one_row, rising
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.forecast.forecasts import Predictive, plan_rows, pooled
from bigbench_meta.inference.forecast.mechanism_forecasts import (
    MechanismInput,
    mechanism_predictive,
    near_guessing,
    power_laws,
    smooth_laws,
)

NAN = math.nan
FEW = settings(max_examples=5, deadline=None)
GPT3 = [125_000_000, 356_000_000, 760_000_000, 1_320_000_000, 2_650_000_000, 6_660_000_000,
        12_900_000_000, 175_000_000_000]  # fmt: skip
SIGMAS = ((0.04, 1), (0.1, 1), (0.2, 1), (0.35, 0.6), (0.6, 0.3))


def scores_of(y, n=500.0, floor=0.0, **changed):
    no = np.zeros(1, bool)
    given = {"picks_choice": no, "is_brier": no} | changed
    return MechanismInput(
        y=np.array(y), trials=np.full(len(y), n), floor=np.array([floor]), **given
    )


# --- Against integrals ---


def naive_quantiles(y, x, n, floor, levels):
    """Weigh each law, scatter and level by the integrals of its binomial likelihoods.

    Levels are four times as close together as those of the module, and each integral over models
    is a plain sum over them.
    """
    h = np.linspace(-7, 2.8, 393)
    p = floor + (1 - floor) * np.exp(-np.exp(h))
    likelihood = [stats.binom.pmf(round(v * n), n, p) for v in y[:-1]]
    centred = np.log(x) - np.log(x[:-1]).mean()
    total = np.zeros(len(h))
    for sigma, prior in SIGMAS:
        kernel = stats.t.pdf((h[:, None] - h) / sigma, 5)
        kernel /= kernel.sum(axis=1, keepdims=True)
        seen = [kernel @ one for one in likelihood]
        for exponent, rest, weight in zip(*smooth_laws(), strict=True):
            shift = np.log((np.exp(-exponent * centred) + rest) / (1 + rest))
            product = np.ones(len(h))
            for one, by in zip(seen, shift[:-1], strict=True):
                product *= np.interp(h + by, h, one)
            ahead = np.zeros(len(h))
            for level, mass in zip(h + shift[-1], product, strict=True):
                ahead[np.abs(h - level).argmin()] += mass
            total += weight * prior * (ahead @ kernel)
    grid = np.linspace(-0.1, 1.1, 2401)
    rate = (n * p + 0.5) / (n + 1)
    sd = np.sqrt(rate * (1 - rate) / n)
    below = stats.norm.cdf((grid[:, None] - p) / sd) @ (total / total.sum())
    return [min(max(float(np.interp(level, below, grid)), 0), 1) for level in levels]


@pytest.mark.parametrize(
    ("y", "n", "floor"),
    [
        ([0.08, 0.1, 0.16, 0.2, 0.26, 0.3], 500, 0.0),
        ([0.0, 0.0, 0.02, 0.05, 0.2, 0.4], 100, 0.0),
        ([0.5, 0.52, 0.48, 0.5, 0.53, 0.5], 200, 0.0),
        ([0.9, 0.95, 0.93, 0.98, 0.99, 1.0], 100, 0.0),
        ([0.3, 0.36, 0.3, 0.45, 0.5, 0.6], 400, 0.25),
    ],
)
@pytest.mark.parametrize("uneven", [False, True])
def test_against_integrals(y, n, floor, uneven):
    x = np.array(GPT3[-6:] if uneven else [10.0**i for i in range(8, 14)], dtype=float)
    levels = (0.025, 0.5, 0.975)
    data = scores_of(y, n=float(n), floor=floor)
    found = mechanism_predictive(data, x, plan_rows(np.array([0, 6]), "last", 3))
    expected = naive_quantiles(y, x, n, floor, levels)
    assert [float(found.quantile(level)[0]) for level in levels] == pytest.approx(
        expected, abs=0.025
    )


@pytest.mark.parametrize("laws", [smooth_laws(), power_laws()])
def test_laws(laws):
    assert laws.weight.sum() == pytest.approx(1)
    assert laws.log_loss(np.zeros(3)) == pytest.approx(np.zeros((3, len(laws.weight))))
    change = laws.log_loss(np.array([-5.0, 5.0]))
    rests = laws.rest / (1 + laws.rest)
    assert (change[1] <= change[0]).all()
    assert (np.exp(change[1]) >= rests).all()
    plain = laws.rest == 0
    assert change[1][plain] == pytest.approx(-5 * laws.exponent[plain])


# --- Statuses ---


def test_scores_that_predict_nothing():
    """At the floor, too wide, or neither: the numbers stand, and two of them are not judged."""
    curves = curves_of(
        [0.0, 0.0, 0.001, 0.0, 0.001, 0.0, 0.3],
        [0.0, 0.002, 0.001, 0.01, 0.02, 0.3, 0.6],
        [0.3, 0.32, 0.35, 0.36, 0.4, 0.42, 0.44],
    )
    frame = forecast_curves(curves, k="last", forecasters=("mixture", "mechanism"))
    for _, rows in frame.groupby("forecaster"):
        assert rows["status"].tolist() == ["not_predictable", "not_predictable", "ok"]
        assert rows["covered"].isna().tolist() == [True, True, False]
        assert rows["surprise"].isna().tolist() == [True, True, False]
        assert rows[["forecast", "lower", "upper", "width", "skill"]].notna().all(axis=None)
        assert (rows["width"] > 0.5).tolist()[1:] == [True, False]


@pytest.mark.parametrize(
    ("y", "floor", "expected"),
    [
        ([0.0, 0.0, 0.002, 0.0, 0.9], 0.0, True),
        ([0.0, 0.0, 0.006, 0.0, 0.9], 0.0, False),
        ([0.24, 0.26, 0.28, 0.2, 0.9], 0.25, True),
        ([0.24, 0.26, 0.3, 0.2, 0.9], 0.25, False),
        ([0.24, 0.26, 0.28, 0.2, 0.9], NAN, False),
    ],
)
def test_near_guessing(y, floor, expected):
    """Two standard errors of 500 examples: 0.0028 at 0, 0.0387 above 1/4."""
    rows = plan_rows(np.array([0, 5]), "last", 3)
    assert near_guessing(scores_of(y, floor=floor), rows).tolist() == [expected]


def test_what_is_no_proportion_has_no_mechanism():
    scores = rising(2, n=8)
    frame = forecast_curves(
        curves_of(*scores, metric="made_up"), k="last", forecasters=("mechanism",)
    )
    row = one_row(frame)
    assert row["status"] == "not_a_proportion"
    assert math.isnan(row["forecast"])
    few = forecast_curves(curves_of([0.1, 0.2, 0.3]), k="last", forecasters=("mechanism",))
    assert one_row(few)["status"] == "too_few_points"


# --- Properties ---


@FEW
@given(st.integers(0, 10**6))
def test_a_curve_alone_and_among_others(seed):
    scores = rising(seed, n=7, m=4)
    every = forecast_curves(curves_of(*scores), forecasters=("mechanism",))
    alone = forecast_curves(curves_of(scores[0]), forecasters=("mechanism",))
    own = every[every["curve"] == 0]
    for name in ("forecast", "lower", "upper"):
        assert own[name].to_numpy() == pytest.approx(alone[name].to_numpy(), abs=1e-4)


@FEW
@given(st.integers(0, 10**6), st.floats(0.3, 0.9))
def test_intervals_are_nested(seed, level):
    curves = curves_of(*rising(seed, n=8, m=3))
    wide, narrow = (
        forecast_curves(curves, k="last", forecasters=("mechanism",), level=one)
        for one in (0.5 + level / 2, level)
    )
    assert (wide["lower"] <= narrow["lower"]).all()
    assert (narrow["lower"] <= narrow["forecast"]).all()
    assert (narrow["forecast"] <= narrow["upper"]).all()
    assert (narrow["upper"] <= wide["upper"]).all()


@given(st.floats(0, 1), st.floats(-3, 3), st.floats(0.1, 3))
def test_pool_of_two(share, mean, sd):
    def distribution(centre, scale, weight=1.0):
        one = np.ones((1, 1))
        return Predictive(
            mean=centre * one, sd=scale * one, df=np.inf * one, weight=weight * one,
            low=np.array([-np.inf]), high=np.array([np.inf]),
        )  # fmt: skip

    both = pooled(distribution(0, 1), distribution(mean, sd), share)
    q = both.quantile(0.3)[0]
    below = (1 - share) * stats.norm.cdf(q) + share * stats.norm.cdf((q - mean) / sd)
    assert below == pytest.approx(0.3, abs=1e-9)
    only = pooled(distribution(0, 1), distribution(mean, sd, NAN), share)
    assert only.quantile(0.3) == pytest.approx(stats.norm.ppf(0.3))
    other = pooled(distribution(0, 1, NAN), distribution(mean, sd), share)
    assert other.quantile(0.3) == pytest.approx(mean + sd * stats.norm.ppf(0.3))


# --- Coverage, by simulation (docs/forecast.md has more) ---


def smooth(m, sd, n, length, seed=3):
    """Exact match by power laws of the loss at GPT-3's sizes."""
    rng = np.random.default_rng(seed)
    x = np.log(np.array(GPT3, dtype=float))
    loss = rng.uniform(0.15, 2, (m, 1)) * np.exp(-rng.uniform(0.05, 0.34, (m, 1)) * (x - x.mean()))
    return rng.binomial(n, np.exp(-length * loss * np.exp(rng.normal(0, sd, loss.shape)))) / n


def test_intervals_hold_at_uneven_sizes():
    rng = np.random.default_rng(1)
    scores = smooth(200, 0.1, 2000, rng.integers(1, 9, (200, 1)))
    frame = forecast_curves(curves_of(*scores, n_examples=2000, x=GPT3), k="last")
    judged = frame["covered"].dropna().astype(float)
    assert len(judged) >= 0.6 * len(frame)
    # 120 curves have a standard error of 0.02.
    assert judged.mean() >= 0.93


def test_the_rule_holds_where_scores_are_zero():
    """It was 0.64 with (s + 1/2)/(n + 1) for a score of 0."""
    scores = smooth(300, 0.1, 400, 7)
    zero = (scores[:, :-1] == 0).any(axis=1)
    options = {"k": "last", "forecasters": ("log_pass_rate",), "adjust": "jeffreys"}
    frame = forecast_curves(curves_of(*scores[zero], n_examples=400, x=GPT3), **options)
    judged = frame["covered"].dropna().astype(float)
    assert len(judged) >= 100
    assert judged.mean() >= 0.92
    assert frame.loc[frame["covered"].notna(), "forecast"].between(0, 1).all()
