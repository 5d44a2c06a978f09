"""Sharp metrics from sampled smooth ones: the variance between models, weights, floors, truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from bigbench_meta import build_curves, simulate
from bigbench_meta.inference.forecast.between_models import between_models
from bigbench_meta.inference.forecast.forecast_curves import (
    LINKS,
    compare_forecasters,
    forecast_curves,
)
from bigbench_meta.inference.forecast.smooth_partners import _slope
from bigbench_meta.inference.shapes.inputs import binomial_variance

SOME = settings(max_examples=60, deadline=None)
SIZES = [1.25e8, 3.5e8, 7.6e8, 1.3e9, 2.7e9, 6.7e9, 1.3e10, 1.75e11]
NAN = math.nan


# --- The variance between models ---


def naive_between(z, u, s2):
    """Solve Paule & Mandel's equation with statsmodels' weighted least squares."""
    design = sm.add_constant(u)

    def excess(tau2):
        weights = 1 / (tau2 + s2)
        fit = sm.WLS(z, design, weights=weights).fit()
        return (weights * fit.resid**2).sum() - (len(z) - 2)

    if excess(1e-12) <= 0:
        return 0.0
    return brentq(excess, 1e-12, 10 * np.ptp(z) ** 2, xtol=1e-12)


@st.composite
def line_with_scatter(draw):
    n = draw(st.integers(3, 9))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    u = np.cumsum(rng.uniform(0.2, 2, n))
    s2 = rng.uniform(0.001, draw(st.sampled_from([0.002, 0.1, 2.0])), n)
    z = 1 - 0.4 * u + rng.normal(0, draw(st.sampled_from([0.0, 0.1, 1.0])), n)
    return z + rng.normal(0, np.sqrt(s2)), u, s2


@SOME
@given(st.lists(line_with_scatter(), min_size=1, max_size=3))
def test_between_models_against_statsmodels(samples):
    z, u, s2 = (np.concatenate(values) for values in zip(*samples, strict=True))
    part = np.repeat(np.arange(len(samples)), [len(sample[0]) for sample in samples])
    found = between_models(z, u, s2, part, len(samples))
    expected = [naive_between(*sample) for sample in samples]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


@SOME
@given(line_with_scatter())
def test_without_sampling_error_it_is_the_residual_variance(sample):
    z, u, _ = sample
    assume(np.ptp(z) > 1e-3)
    expected = sm.OLS(z, sm.add_constant(u)).fit().scale
    found = between_models(z, u, np.zeros(len(z)), np.zeros(len(z), int), 1)
    assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@SOME
@given(line_with_scatter(), st.floats(0.1, 10), st.floats(-5, 5), st.floats(0.1, 10))
def test_units_of_the_line(sample, factor, shift, stretch):
    z, u, s2 = sample
    part = np.zeros(len(z), int)
    one = between_models(z, u, s2, part, 1)
    other = between_models(factor * z + shift, stretch * u - shift, factor**2 * s2, part, 1)
    assert other == pytest.approx(factor**2 * one, rel=1e-5, abs=1e-8 * factor**2)
    back = between_models(z[::-1], u[::-1], s2[::-1], part, 1)
    assert back == pytest.approx(one, rel=1e-5, abs=1e-9)


def test_a_part_without_values():
    z = np.array([0.0, 1.0, 1.0, 2.0])
    found = between_models(z, np.arange(4.0), np.zeros(4), np.ones(4, int), 3)
    assert found == pytest.approx([NAN, 0.1, NAN], nan_ok=True)


# --- Sampled smooth metrics ---


def sampled(lengths=(3, 5, 10), n_examples=2000, seed=1, **options):
    table = simulate(
        scales=SIZES, target_lengths=list(lengths), n_choices=[2], n_examples=n_examples,
        seed=seed, **options,
    )  # fmt: skip
    return table[table["metric"].isin(["exact_str_match", "token_edit_distance"])]


def rows_of(table, **options):
    frame = forecast_curves(build_curves(table), **options)
    return frame[frame["metric"] == "exact_str_match"].reset_index(drop=True)


def test_the_edit_distance_foretells_what_exact_match_does_not():
    """docs/forecast.md: at 13B at most 10% are right, none of 10 tokens, and at 175B most are."""
    frame = rows_of(sampled(), k="last", forecasters=("mixture", "smooth_pair"))
    smooth = frame[frame["forecaster"] == "smooth_pair"]
    assert smooth["status"].tolist() == ["ok"] * 3
    assert smooth["covered"].all()
    assert smooth["skill"].min() > 0.95
    assert smooth["length"].to_numpy() == pytest.approx([3, 5, 10], rel=1e-3)
    mixture = frame[frame["forecaster"] == "mixture"]
    assert not mixture["covered"].any()
    assert mixture["surprise"].min() > 15
    assert compare_forecasters(frame).iloc[-1][["n_first", "n_second"]].tolist() == [3, 0]


def test_scales_at_which_no_token_is_right_are_left_out():
    """They say that the loss is large, not how large."""
    table = sampled(lengths=(5,))
    edits = table[table["metric"] == "token_edit_distance"]
    at_floor = edits.loc[edits["score"] == 5, "total_params"]
    assert 2 <= len(at_floor) <= 4
    without = table[~table["total_params"].isin(at_floor)]
    names = ["forecast", "lower", "upper"]
    # The length could be found with them.
    options = {"k": "last", "forecasters": ("smooth_pair",), "length": 5}
    whole, less = (rows_of(t, **options)[names].to_numpy() for t in (table, without))
    assert less[0, 0] == pytest.approx(whole[0, 0], rel=1e-9)
    assert less[0] == pytest.approx(whole[0], rel=0.02)
    few = rows_of(table, k=5, forecasters=("smooth_pair",))
    assert set(few["status"]) == {"undefined_score"}


def naive_pair(edits, sharp, x, n, length, target):
    """Paule & Mandel's weighted line in ln(-ln p), and the sharp metric at p to the length."""
    p = 1 - edits / length
    q = (n * length * p + 0.5) / (n * length + 1)
    s2 = q * (1 - q) / (n * length) / (p * np.log(p)) ** 2
    z, u = np.log(-np.log(p)), np.log(x)
    tau2 = naive_between(z, u, s2)
    fit = sm.WLS(z, sm.add_constant(u), weights=1 / (tau2 + s2)).fit()
    design = sm.add_constant(u)
    weights = 1 / (tau2 + s2)
    inverse = np.linalg.inv(design.T @ (weights[:, None] * design))
    at = np.array([1, np.log(target)])
    mean = at @ fit.params + math.log(length)
    scatter = ((sharp - p**length) ** 2 / binomial_variance(sharp, n)).sum() / len(z)
    r = (n * math.exp(-math.exp(mean)) + 0.5) / (n + 1)
    sampling = r * (1 - r) / n / (r * math.log(r)) ** 2
    total = at @ inverse @ at + tau2 + max(1, scatter) * sampling
    half = stats.t.ppf(0.975, len(z) - 2) * math.sqrt(total)
    return [math.exp(-math.exp(mean + side * half)) for side in (0, 1, -1)]


@pytest.mark.parametrize("seed", range(4))
def test_weights_and_interval_by_hand(seed):
    rng = np.random.default_rng(seed)
    loss = 2.0 * np.exp(-0.4 * np.arange(7)) * np.exp(rng.normal(0, 0.05, 7))
    x = np.floor(10**8 * 10 ** (np.arange(7) / 2))
    edits = rng.binomial(500 * 4, 1 - np.exp(-loss)) / 500
    sharp = rng.binomial(500, np.exp(-4 * loss)) / 500
    one = {"benchmark": "b", "task": "t", "model_family": "f", "n_examples": 500}
    table = pd.DataFrame([
        one | {"metric": metric, "model_name": f"m{i}", "total_params": int(x[i]), "score": v[i]}
        for metric, v in (("exact_str_match", sharp), ("token_edit_distance", edits))
        for i in range(7)
    ])  # fmt: skip
    row = rows_of(table, k="last", forecasters=("smooth_pair",), length=4).iloc[0]
    expected = naive_pair(edits[:6], sharp[:6], x[:6], 500, 4.0, x[6])
    assert row[["forecast", "lower", "upper"]].tolist() == pytest.approx(expected, rel=1e-4)


def test_standard_errors_weigh():
    """A loss that is known badly hardly moves the line."""
    x = [int(10**8 * 4**i) for i in range(7)]
    loss = 1.2 * np.exp(-0.4 * np.arange(7))
    sharp = np.exp(-4 * loss)
    wrong = loss.copy()
    wrong[2] *= 1.5
    one = {"benchmark": "b", "task": "t", "model_family": "f"}

    def table(stderr):
        return pd.DataFrame([
            one | {"metric": metric, "model_name": f"m{i}", "total_params": x[i], "score": v[i],
                   "stderr": e, "n_examples": n}
            for metric, v, errors, n in (
                ("exact_str_match", sharp, [None] * 7, 2000),
                ("cross_entropy", wrong, stderr, None),
            )
            for i, e in zip(range(7), errors, strict=True)
        ])  # fmt: skip

    options = {"k": "last", "forecasters": ("smooth_pair",), "length": 4}
    equal = rows_of(table([None] * 7), **options).iloc[0]
    known = rows_of(table([0.002, 0.002, 0.9, 0.002, 0.002, 0.002, 0.002]), **options).iloc[0]
    assert abs(known["error"]) < 0.1 * abs(equal["error"])
    assert known["upper"] - known["lower"] < equal["upper"] - equal["lower"]


@pytest.mark.parametrize("name", [name for name, link in LINKS.items() if not link.counts])
def test_slopes_of_links(name):
    """How a standard error of the score becomes one of the probability."""
    link, choices = LINKS[name], np.array([4.0])
    by_p = {
        "exp(-v)": lambda v: -math.exp(-v), "v": lambda _: 1.0, "exp(v)": math.exp,
        "2^-v": lambda v: -math.log(2) * 2**-v, "1/v": lambda v: -1 / v**2,
        "1 - v": lambda _: -1.0, "1 - v/100": lambda _: -0.01, "v/100": lambda _: 0.01,
    }.get(link.formula)  # fmt: skip
    v = {"exp(v)": -0.7}.get(link.formula, 0.3)
    found = _slope(link, np.array([v]), choices)[0]
    if by_p is None:  # 1 - sqrt(v (K - 1)/K), of the sum or K times the mean
        scale = 3 / 4 if "summed" in link.formula else 3
        assert found == pytest.approx(-math.sqrt(scale / v) / 2, rel=1e-6)
    else:
        assert found == pytest.approx(by_p(v), rel=1e-6)


def test_intervals_cover_where_the_mechanism_holds():
    """400 simulated curves whose models differ: the interval of 95% holds about 95%."""
    rng = np.random.default_rng(5)
    m, n, length = 400, 1000, 4
    x = np.floor(10**8 * 10 ** (np.arange(8) / 2))
    first, rate = rng.uniform(0.8, 2, (m, 1)), rng.uniform(0.15, 0.5, (m, 1))
    loss = first * np.exp(-rate * np.arange(8)) * np.exp(rng.normal(0, 0.05, (m, 8)))
    scores = {
        "exact_str_match": rng.binomial(n, np.exp(-length * loss)) / n,
        "token_edit_distance": rng.binomial(n * length, -np.expm1(-loss)) / n,
    }
    table = pd.concat([
        pd.DataFrame({
            "benchmark": "b", "task": np.repeat([f"t{i}" for i in range(m)], 8), "metric": metric,
            "model_family": "f", "model_name": np.tile([f"m{i}" for i in range(8)], m),
            "total_params": np.tile(x.astype(np.int64), m), "score": score.ravel(),
            "n_examples": n,
        }) for metric, score in scores.items()
    ])  # fmt: skip
    frame = rows_of(table, k="last", forecasters=("smooth_pair", "mixture"))
    smooth = frame[frame["forecaster"] == "smooth_pair"]
    assert (smooth["status"] == "ok").mean() > 0.97
    coverage = smooth["covered"].dropna().astype(float).mean()
    assert 0.92 <= coverage <= 0.99
    assert smooth["skill"].median() > 0.7
    assert (
        compare_forecasters(frame)["n_first"] > 2 * compare_forecasters(frame)["n_second"]
    ).all()
