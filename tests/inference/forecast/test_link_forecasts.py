"""Forecasts by the mechanism: the GPT-4 report's rule, and smooth metrics through links."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from forecast_inputs import curves_of, observations, one_row, rising
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

from bigbench_meta import build_curves, compare_forecasters, forecast_curves, simulate
from bigbench_meta.inference.forecast.link_forecasts import between_models
from bigbench_meta.inference.shapes.inputs import binomial_variance

SIZES = [1.25e8, 3.5e8, 7.6e8, 1.3e9, 2.7e9, 6.7e9, 1.3e10, 1.75e11]
NAN = math.nan


# --- The rule of the GPT-4 report ---


def test_the_rule_is_exact_on_its_own_curves():
    x = [10**7 * 10**i for i in range(7)]
    scores = [math.exp(-3.0 * (v / x[0]) ** -0.2) for v in x]
    row = one_row(
        forecast_curves(
            curves_of(scores, x=x, n_examples=None), forecasters=("log_pass_rate",), k="last"
        )
    )
    assert row["forecast"] == pytest.approx(scores[-1], rel=1e-6)
    assert row["error"] == pytest.approx(0, abs=1e-6)


def naive_rule(y, x, n, target):
    """Weighted least squares of ln(-ln p) on ln x."""
    z = np.log(-np.log(y))
    q = (n * y + 0.5) / (n + 1)
    weight = (y * np.log(y)) ** 2 / (q * (1 - q) / n)
    design = np.c_[np.ones(len(x)), np.log(x)]
    inverse = np.linalg.inv(design.T @ (weight[:, None] * design))
    beta = inverse @ design.T @ (weight * z)
    phi = max(1, (weight * (z - design @ beta) ** 2).sum() / (len(x) - 2))
    at = np.array([1, math.log(target)])
    mean = at @ beta
    p = math.exp(-math.exp(mean))
    q = (n * p + 0.5) / (n + 1)
    sampling = q * (1 - q) / n / (q * math.log(q)) ** 2
    half = stats.t.ppf(0.975, len(x) - 2) * math.sqrt(phi * (at @ inverse @ at + sampling))
    return [math.exp(-math.exp(mean + side * half)) for side in (0, 1, -1)]


@pytest.mark.parametrize("seed", range(4))
def test_the_rule_against_its_formula(seed):
    y = rising(seed, n=7)[0]
    x = np.floor(10**8 * 10 ** (np.arange(7) / 2))
    frame = forecast_curves(curves_of(y), forecasters=("log_pass_rate",))
    assert frame["k"].tolist() == [3, 3, 3, 3, 4, 4, 4, 5, 5, 6]
    for _, row in frame.iterrows():
        expected = naive_rule(y[: row["k"]], x[: row["k"]], 1000, row["x"])
        if row["status"] == "ok":
            lower = 0 if expected[1] < 0.5 / 1001 else expected[1]
            upper = 1 if expected[2] > 1 - 0.5 / 1001 else expected[2]
            found = row[["forecast", "lower", "upper"]].tolist()
            assert found == pytest.approx([expected[0], lower, upper], rel=1e-5)
        else:
            assert row["status"] == "not_improving"


@pytest.mark.parametrize(
    ("scores", "options", "status"),
    [
        ([0.1, 0.0, 0.2, 0.3, 0.5], {}, "undefined_score"),
        ([0.1, 0.0, 0.2, 0.3, 0.5], {"adjust": "jeffreys"}, "ok"),
        ([0.5, 0.4, 0.3, 0.2, 0.1], {}, "not_improving"),
        ([0.5, 0.5, 0.6], {}, "too_few_points"),
        ([0.044, 0.059, 0.044, 0.1], {}, "not_improving"),  # its slope is rounding error
    ],
)
def test_statuses_of_the_rule(scores, options, status):
    frame = forecast_curves(curves_of(scores), k="last", forecasters=("log_pass_rate",), **options)
    assert one_row(frame)["status"] == status


def test_the_rule_is_for_proportions():
    frame = forecast_curves(
        curves_of([5.0, 4.0, 3.0, 2.5], metric="perplexity"), forecasters=("log_pass_rate",)
    )
    assert set(frame["status"]) == {"not_a_proportion"}


def test_a_score_of_zero_is_half_an_example():
    """0 of n is in the interval exactly where half a right answer is."""
    rule = {"forecasters": ("log_pass_rate",), "k": "last"}
    low = one_row(forecast_curves(curves_of([0.001, 0.001, 0.002, 0.002, 0.0]), **rule))
    assert (low["lower"], low["covered"]) == (0.0, True)
    assert low["surprise"] < 5
    high = one_row(forecast_curves(curves_of([0.1, 0.3, 0.5, 0.6, 0.0]), **rule))
    assert high["lower"] > 0
    assert not high["covered"]


# --- Smooth metrics through their links ---


def paired(links_metric="cross_entropy", length=5, n=7, n_examples=2000, noise=0.0, seed=0):
    """Exact match and a smooth metric of models whose loss is a power law of size."""
    rng = np.random.default_rng(seed)
    loss = 1.2 * np.exp(-0.4 * np.arange(n)) * np.exp(rng.normal(0, noise, n))
    smooth = {
        "cross_entropy": loss,
        "perplexity": np.exp(loss),
        "bits_per_byte": loss / math.log(2),
        "token_accuracy": np.exp(-loss),
        "token_edit_distance": length * (1 - np.exp(-loss)),
    }[links_metric]
    sharp = np.exp(-loss * length)
    if n_examples:
        sharp = rng.binomial(n_examples, sharp) / n_examples
    return pd.concat([
        observations(sharp, n_examples=n_examples),
        observations(smooth, n_examples=None, metric=links_metric),
    ], ignore_index=True), sharp  # fmt: skip


def pair_rows(table, **options):
    frame = forecast_curves(build_curves(table), forecasters=("smooth_pair",), **options)
    return frame[frame["metric"] == "exact_str_match"].reset_index(drop=True)


@pytest.mark.parametrize(
    "metric",
    ["cross_entropy", "perplexity", "bits_per_byte", "token_accuracy", "token_edit_distance"],
)
@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_the_smooth_metric_forecasts_the_sharp_one(metric, given):
    table, sharp = paired(metric, n_examples=None)
    # Found without sampling error, the length is found exactly.
    frame = pair_rows(table, length=5 if given else NAN)
    assert set(frame["status"]) == {"ok"}
    assert set(frame["smooth_metric"]) == {metric}
    assert frame["length"].to_numpy() == pytest.approx(5, rel=1e-3)
    assert frame["forecast"].to_numpy() == pytest.approx(frame["observed"].to_numpy(), abs=2e-4)
    last = frame[frame["horizon"] == frame["horizon"].max()].iloc[0]
    assert last["observed"] == sharp[-1]
    # Persistence is wrong by far: the smooth metric sees what the sharp one does not.
    assert frame["skill"].min() > 0.99


def test_the_length_is_that_of_least_squares():
    table, sharp = paired(noise=0.02, seed=3)
    loss = table.loc[table["metric"] == "cross_entropy", "score"].to_numpy()
    row = one_row(pair_rows(table, k="last"))
    weight = 1 / binomial_variance(sharp[:6], 2000)

    def misfit(log_length):
        return (weight * (sharp[:6] - np.exp(-loss[:6] * math.exp(log_length))) ** 2).sum()

    expected = math.exp(minimize_scalar(misfit, bounds=(0, 4), method="bounded").x)
    assert row["length"] == pytest.approx(expected, rel=1e-3)


def test_the_interval_of_a_pair_by_hand():
    table, sharp = paired(noise=0.02, seed=3)
    loss = table.loc[table["metric"] == "cross_entropy", "score"].to_numpy()
    x = np.log(np.floor(10**8 * 10 ** (np.arange(7) / 2)))
    row = one_row(pair_rows(table, k="last"))
    z, design, length = np.log(loss[:6]), np.c_[np.ones(6), x[:6]], row["length"]
    beta, rest, *_ = np.linalg.lstsq(design, z, rcond=None)
    phi, at = rest[0] / 4, np.array([1, x[6]])
    spread = phi * (1 + at @ np.linalg.inv(design.T @ design) @ at)
    weight, fitted = 1 / binomial_variance(sharp[:6], 2000), np.exp(-loss[:6] * length)
    scatter = max(1, (weight * (sharp[:6] - fitted) ** 2).sum() / 5)
    doubt = scatter / (weight * (fitted * np.log(fitted)) ** 2).sum()
    mean = at @ beta + math.log(length)
    q = (2000 * math.exp(-math.exp(mean)) + 0.5) / 2001
    sampling = q * (1 - q) / 2000 / (q * math.log(q)) ** 2
    half = stats.t.ppf(0.975, 4) * math.sqrt(spread + scatter * sampling + doubt)
    expected = [math.exp(-math.exp(mean + side * half)) for side in (0, 1, -1)]
    assert row[["forecast", "lower", "upper"]].tolist() == pytest.approx(expected, rel=1e-3)


def test_what_has_no_partner():
    alone = curves_of(rising(1)[0])
    assert set(forecast_curves(alone, forecasters=("smooth_pair",))["status"]) == {"no_pair"}
    other = pd.concat([
        observations(rising(1)[0]),
        observations(rising(1)[0], metric="cross_entropy", family="g"),
    ])  # fmt: skip
    assert set(pair_rows(other)["status"]) == {"no_pair"}


def test_models_that_only_the_sharp_metric_has():
    table, _ = paired()
    without = table[~((table["metric"] == "cross_entropy") & (table["model_name"] == "m2"))]
    row = one_row(pair_rows(without, k="last"))
    assert row["status"] == "ok"
    few = table[(table["metric"] != "cross_entropy") | table["model_name"].isin(["m0", "m1"])]
    assert one_row(pair_rows(few, k="last"))["status"] == "too_few_points"


def test_a_length_that_is_not_determined():
    """Where exact match is 0 everywhere, any long target will do."""
    table, _ = paired(length=40, n_examples=50)
    nothing = table.assign(score=table["score"].where(table["metric"] != "exact_str_match", 0.0))
    assert one_row(pair_rows(nothing, k="last"))["status"] == "length_not_determined"
    assert one_row(pair_rows(nothing, k="last", length=40))["status"] == "ok"


def test_choices_need_their_number():
    size = [10**i for i in range(6, 12)]
    grade, brier = [0.3, 0.35, 0.4, 0.5, 0.6, 0.7], [0.6, 0.55, 0.5, 0.4, 0.3, 0.2]
    tables = [
        observations(grade, metric="multiple_choice_grade", x=size).assign(
            low_score=low, high_score=1.0
        )
        for low in (None, 0.25)
    ]
    for table, status in zip(tables, ("no_choices", "ok"), strict=True):
        smooth = observations(brier, metric="brier_score", x=size, n_examples=None)
        frame = forecast_curves(
            build_curves(pd.concat([table, smooth], ignore_index=True)),
            forecasters=("smooth_pair",), k="last", length=1,
        )  # fmt: skip
        row = one_row(frame[frame["metric"] == "multiple_choice_grade"])
        assert row["status"] == status
    assert row["smooth_metric"] == "brier_score"
    # 1 - sqrt(v (K - 1)/K), whose loss is a power law of size.
    p = 1 - np.sqrt(np.array(brier[:5]) * 3 / 4)
    slope, first = np.polyfit(np.log(size[:5]), np.log(-np.log(p)), 1)
    expected = math.exp(-math.exp(first + slope * math.log(size[5])))
    assert row["forecast"] == pytest.approx(expected, rel=1e-6)


def test_the_paper_s_mechanism_is_forecast():
    """Of simulated models, exact match follows from the loss, whatever its emergence score."""
    table = simulate(
        target_lengths=[1, 5, 10], n_choices=[2], scales=list(np.logspace(9.5, 11.5, 8))
    )
    frame = forecast_curves(build_curves(table), forecasters=("smooth_pair",), k="last")
    frame = frame[frame["metric"] == "exact_str_match"]
    assert len(frame) == 3
    ok = frame[frame["status"] == "ok"]
    assert len(ok) >= 2
    assert ok["forecast"].to_numpy() == pytest.approx(ok["observed"].to_numpy(), abs=1e-3)


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


@given(st.lists(line_with_scatter(), min_size=1, max_size=3))
def test_between_models_against_statsmodels(samples):
    z, u, s2 = (np.concatenate(values) for values in zip(*samples, strict=True))
    part = np.repeat(np.arange(len(samples)), [len(sample[0]) for sample in samples])
    found = between_models(z, u, s2, part, len(samples))
    expected = [naive_between(*sample) for sample in samples]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


@given(line_with_scatter())
def test_without_sampling_error_it_is_the_residual_variance(sample):
    z, u, _ = sample
    assume(np.ptp(z) > 1e-3)
    expected = sm.OLS(z, sm.add_constant(u)).fit().scale
    found = between_models(z, u, np.zeros(len(z)), np.zeros(len(z), int), 1)
    assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


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


def test_the_edit_distance_predicts_what_exact_match_does_not():
    """docs/forecast.md: at 13B at most 10% are right, none of 10 tokens, and at 175B most are."""
    frame = rows_of(sampled(), k="last", forecasters=("mixture", "smooth_pair"))
    smooth = frame[frame["forecaster"] == "smooth_pair"]
    assert smooth["status"].tolist() == ["ok"] * 3
    assert smooth["covered"].all()
    assert smooth["skill"].min() > 0.95
    assert smooth["length"].to_numpy() == pytest.approx([3, 5, 10], rel=1e-3)
    mixture = frame[frame["forecaster"] == "mixture"]
    # Nothing of ten tokens is right at the smaller sizes.
    assert mixture["status"].tolist() == ["ok", "ok", "not_predictable"]
    assert not mixture["covered"].dropna().any()
    assert mixture["surprise"].min() > 9
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


@pytest.mark.full
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
    # The mixture knows the mechanism, too, but not the loss.
    assert (
        compare_forecasters(frame)["n_first"] > 1.5 * compare_forecasters(frame)["n_second"]
    ).all()
