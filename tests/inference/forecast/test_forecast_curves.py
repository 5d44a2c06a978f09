"""Forecasts: against a loop over curves and scales, intervals by hand, coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq, minimize_scalar
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta import build_curves, load_embedded, simulate
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.forecast.forecast_curves import (
    FORECAST_STATUSES,
    FORECASTERS,
    LINKS,
    SKILL_STATUSES,
    forecast_curves,
    forecast_summary,
)
from bigbench_meta.inference.forecast.predictive import Predictive
from bigbench_meta.inference.forecast.rows import plan_rows
from bigbench_meta.inference.shapes.curve_shapes import SHAPE_PARAMETERS, SHAPES, fit_shapes
from bigbench_meta.inference.shapes.inputs import binomial_variance

FEW = settings(max_examples=10, deadline=None)
NAN = math.nan


def observations(*curves, n_examples=1000, metric="exact_str_match", x=None, family="f"):
    """A table of curves, each a list of scores at growing sizes."""
    rows = []
    for number, scores in enumerate(curves):
        for place, score in enumerate(scores):
            if score is not None:
                rows.append({
                    "benchmark": "b", "task": f"t{number}", "metric": metric,
                    "model_family": family,
                    "model_name": f"m{place}", "score": score, "n_examples": n_examples,
                    "total_params": int(10**8 * 10 ** (place / 2)) if x is None else x[place],
                })  # fmt: skip
    return pd.DataFrame(rows)


def curves_of(*curves, **options):
    return build_curves(observations(*curves, **options))


def rising(seed=0, n=9, m=1):
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, n)
    mean = 0.05 + 0.8 / (1 + np.exp(-8 * (u - rng.uniform(0.4, 0.9, (m, 1)))))
    return rng.binomial(1000, mean) / 1000


def one_row(frame):
    assert len(frame) == 1
    return frame.iloc[0]


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
    points, part_offsets = rows.fitted()
    for part, curve in enumerate(rows.curve):
        own = points[part_offsets[part] : part_offsets[part + 1]]
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


def test_normal_and_unknown_noise():
    found = Predictive(
        mean=np.array([[0.0], [0.3]]), sd=np.array([[2.0], [NAN]]), df=np.full((2, 1), np.inf),
        weight=np.ones((2, 1)), low=np.full(2, -np.inf), high=np.full(2, np.inf),
    )  # fmt: skip
    assert found.quantile(0.975) == pytest.approx([2 * stats.norm.ppf(0.975), NAN], nan_ok=True)
    assert found.point == pytest.approx([0.0, 0.3])
    assert found.two_sided(np.array([2.0, 0.3])) == pytest.approx(
        [2 * stats.norm.sf(1), NAN], nan_ok=True
    )


# --- Shapes: a naive loop over curves and numbers of scales ---


def naive_forecast(y, x, n, k, target, shapes, criterion, level):
    """Fit each shape to the first k scales, mix their t distributions, cut off at 0 and 1."""
    variance = binomial_variance(y[:k], n)
    parts = []
    for shape in shapes:
        fits = fit_shapes(
            y[:k], x[:k], np.array([0, k]), variance=variance, shapes=(shape,),
            low=np.zeros(1), high=np.ones(1),
        )  # fmt: skip
        mean, error = (v[0, 0] for v in fits.predict(shape, np.array([[x[target]]])))
        value = getattr(fits, criterion)[0, 0]
        p = len(SHAPE_PARAMETERS[shape])
        rate = (n * np.clip(mean, 0, 1) + 0.5) / (n + 1)
        sd = math.sqrt(error**2 + fits.dispersion[0, 0] * rate * (1 - rate) / n)
        if not math.isnan(value):
            parts.append((value, mean, sd, k - p))
    values, mean, sd, df = np.array(parts).T
    weight = np.exp(-(values - values.min()) / 2)
    weight /= weight.sum()

    def quantile(q):
        def gap(v):
            return (weight * stats.t.cdf((v - mean) / sd, df)).sum() - q

        ends = mean + sd * stats.t.ppf(q, df)
        return np.clip(brentq(gap, ends.min() - 1e-9, ends.max() + 1e-9, xtol=1e-14), 0, 1)

    return [quantile(q) for q in (0.5, (1 - level) / 2, (1 + level) / 2)]


@pytest.mark.parametrize("criterion", ["aicc", "bic"])
@pytest.mark.parametrize("forecaster", ["mixture", "log_linear", "logistic"])
def test_against_a_loop_over_curves_and_scales(forecaster, criterion):
    batch = [*rising(1, n=8, m=2), *rising(2, n=7, m=1)]
    curves = curves_of(*batch)
    shapes = ("constant", "log_linear", "power_law", "step", "logistic")
    found = forecast_curves(
        curves, forecasters=(forecaster,), shapes=shapes, criterion=criterion, level=0.9
    ).set_index(["curve", "k", "horizon"])
    least = {"mixture": 5, "log_linear": 3, "logistic": 5}[forecaster]
    expected = []
    for number, y in enumerate(batch):
        x = 10**8 * 10 ** (np.arange(len(y)) / 2)
        x = np.floor(x)
        for k in range(least, len(y)):
            for target in range(k, len(y)):
                expected.append((number, k, target - k + 1))
                row = found.loc[expected[-1]]
                alone = forecaster != "mixture"
                if alone:
                    values = naive_one(y, x, 1000, k, target, forecaster, 0.9)
                else:
                    values = naive_forecast(y, x, 1000, k, target, shapes, criterion, 0.9)
                assert row[["forecast", "lower", "upper"]].tolist() == pytest.approx(
                    values, abs=1e-6
                )
                assert row["observed"] == y[target]
                assert row["last"] == y[k - 1]
    assert found.index.tolist() == expected


def naive_one(y, x, n, k, target, shape, level):
    variance = binomial_variance(y[:k], n)
    fits = fit_shapes(
        y[:k], x[:k], np.array([0, k]), variance=variance, shapes=(shape,), low=np.zeros(1),
        high=np.ones(1),
    )  # fmt: skip
    mean, error = (v[0, 0] for v in fits.predict(shape, np.array([[x[target]]])))
    rate = (n * np.clip(mean, 0, 1) + 0.5) / (n + 1)
    sd = math.sqrt(error**2 + fits.dispersion[0, 0] * rate * (1 - rate) / n)
    half = stats.t.ppf((1 + level) / 2, k - len(SHAPE_PARAMETERS[shape])) * sd
    return np.clip([mean, mean - half, mean + half], 0, 1)


# --- How forecasts are judged ---


def test_scores_of_forecasts_by_hand():
    frame = forecast_curves(curves_of(*rising(3, n=9, m=3)), level=0.8)
    assert len(frame) == 3 * (4 + 3 + 2 + 1)
    for _, row in frame.iterrows():
        error, persistence = row["forecast"] - row["observed"], row["last"] - row["observed"]
        assert row["error"] == pytest.approx(error)
        assert row["persistence_error"] == pytest.approx(persistence)
        assert row["skill"] == pytest.approx(1 - abs(error) / abs(persistence))
        inside = row["lower"] <= row["observed"] <= row["upper"]
        assert row["covered"] == inside
        missed = max(row["lower"] - row["observed"], row["observed"] - row["upper"], 0)
        width = row["upper"] - row["lower"]
        assert row["interval_score"] == pytest.approx(width + 2 / 0.2 * missed)
        # An interval of 80% leaves out what has a two-sided probability below 20%.
        if 0 < row["observed"] < 1:
            assert inside == (row["surprise"] < -math.log2(0.2))


def test_perfect_persistence_has_no_skill():
    frame = forecast_curves(curves_of([0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.5]), k="last")
    row = one_row(frame)
    assert (row["persistence_error"], row["skill_status"]) == (0, "perfect_persistence")
    assert math.isnan(row["skill"])


def test_flat_curves_and_short_ones():
    frame = forecast_curves(
        curves_of([0.2] * 7, [0.1, 0.3], [0.5], [0.1, 0.2, 0.3, 0.4]), k="last",
        forecasters=("mixture", "log_linear"),
    ).set_index(["forecaster", "curve"])  # fmt: skip
    assert frame["status"].to_dict() == {
        ("mixture", 0): "ok", ("mixture", 1): "too_few_points", ("mixture", 3): "too_few_points",
        ("log_linear", 0): "flat", ("log_linear", 1): "too_few_points", ("log_linear", 3): "ok",
    }  # fmt: skip
    failed = frame[frame["status"] != "ok"]
    assert (
        failed[["forecast", "lower", "upper", "error", "skill", "surprise"]].isna().all(axis=None)
    )
    assert failed["covered"].isna().all()
    assert set(failed["skill_status"]) == {"no_forecast"}
    assert frame.loc[("mixture", 0), "forecast"] == pytest.approx(0.2)


def test_an_exact_fit_says_nothing_of_the_noise():
    """Scores without a known size of the test set that lie on a step: no interval of no width."""
    step = curves_of([0.0, 0.0, 0.0, 0.01, 0.01, 0.01, 0.05], n_examples=None)
    names = ("mixture", "step", "log_linear")
    frame = forecast_curves(step, k="last", forecasters=names).set_index("forecaster")
    assert frame["status"].to_dict() == {
        "mixture": "no_interval", "step": "no_interval", "log_linear": "ok",
    }  # fmt: skip
    assert frame.loc[["mixture", "step"], "forecast"].to_numpy() == pytest.approx(0.01)
    assert frame.loc[["mixture", "step"], ["lower", "upper", "surprise"]].isna().all(axis=None)
    known = curves_of([0.0, 0.0, 0.0, 0.01, 0.01, 0.01, 0.05], n_examples=100)
    row = one_row(forecast_curves(known, k="last"))
    assert row["status"] == "ok"
    assert row["lower"] < row["forecast"] < row["upper"]


def test_every_status_is_named():
    assert len(set(FORECAST_STATUSES)) == len(FORECAST_STATUSES) == 12
    assert SKILL_STATUSES == ("ok", "perfect_persistence", "no_forecast")


# --- Invariants ---


NUMBERS = ["forecast", "lower", "upper", "error", "skill", "surprise"]
DOUBLES = ("mixture", "power_law", "log_pass_rate")


@FEW
@given(st.integers(0, 10**6), st.randoms())
def test_order_of_rows_and_of_curves(seed, random):
    table = observations(*rising(seed, n=8, m=3))
    order = random.sample(range(len(table)), len(table))
    a, b = (
        forecast_curves(build_curves(rows), forecasters=DOUBLES)
        .astype({"task": str, "subtask": str})
        .sort_values(["forecaster", "task", "k", "horizon"], ignore_index=True)
        for rows in (table, table.iloc[order])
    )
    pd.testing.assert_frame_equal(a.drop(columns="curve"), b.drop(columns="curve"))


@FEW
@given(st.integers(0, 10**6), st.integers(2, 1000))
def test_unit_of_scale(seed, factor):
    scores = rising(seed, n=7)
    x = [10**6 * 4**i for i in range(7)]
    a = forecast_curves(curves_of(*scores, x=x), forecasters=DOUBLES)
    b = forecast_curves(curves_of(*scores, x=[factor * v for v in x]), forecasters=DOUBLES)
    for name in NUMBERS[:3]:
        assert b[name].to_numpy() == pytest.approx(a[name].to_numpy(), abs=2e-3, nan_ok=True)


@FEW
@given(st.integers(0, 10**6))
def test_percent_and_proportion(seed):
    """`acc` is in percent, exact match a proportion: the same forecast in another unit."""
    scores = rising(seed, n=7)
    a = forecast_curves(curves_of(*scores, n_examples=1000), forecasters=DOUBLES)
    b = forecast_curves(curves_of(*scores, metric="brier_score"), forecasters=("log_linear",))
    c = forecast_curves(
        build_curves(observations(*(100 * scores)).assign(metric="acc", benchmark="gpt3")),
        forecasters=DOUBLES,
    )
    assert c["forecast"].to_numpy() == pytest.approx(100 * a["forecast"], abs=1e-4, nan_ok=True)
    assert c["upper"].to_numpy() == pytest.approx(100 * a["upper"], abs=1e-4, nan_ok=True)
    assert set(b["weighting"]) == {"equal"} or len(b)


@FEW
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-3, 3))
def test_scale_and_shift_of_unbounded_scores(seed, factor, shift):
    """A metric without bounds has no proportions."""
    scores = rising(seed, n=8)
    a = forecast_curves(curves_of(*scores, metric="made_up"))
    b = forecast_curves(curves_of(*(shift + factor * scores), metric="made_up"))
    assert set(a["weighting"]) == {"equal"}
    for name in ("forecast", "lower", "upper"):
        moved = shift + factor * a[name].to_numpy()
        assert b[name].to_numpy() == pytest.approx(moved, abs=2e-3 * factor * np.ptp(scores) + 1e-6)
    assert b["covered"].equals(a["covered"])


def test_more_scales_are_not_looked_at():
    """A forecast from k scales does not depend on the larger ones."""
    scores = rising(5, n=9)[0]
    cut = forecast_curves(curves_of(scores[:7]), k=6)
    whole = forecast_curves(curves_of(scores), k=6)
    assert whole.loc[whole["horizon"] == 1, NUMBERS].values.tolist() == cut[NUMBERS].values.tolist()


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


def test_a_length_that_nothing_tells():
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


@pytest.mark.parametrize("name", LINKS)
def test_links_give_probabilities(name):
    link, p, choices = LINKS[name], np.array([0.1, 0.5, 0.9]), np.full(3, 4.0)
    loss = -np.log(p)
    score = {
        "exp(-v)": loss, "v": p, "exp(v)": -loss, "2^-v": loss / math.log(2), "1/v": 1 / p,
        "1 - v": 1 - p, "1 - v/100": 100 * (1 - p), "v/100": 100 * p, "1 - v/L": None,
    }.get(link.formula, "brier")  # fmt: skip
    if score is None:
        assert link.counts
        return
    if isinstance(score, str):
        # The wrong choices share 1 - p equally.
        each = (1 - p) ** 2 + 3 * ((1 - p) / 3) ** 2
        score = each / 4 if "mean" in link.formula or "averaged" in link.formula else each
    assert link.value(score, choices) == pytest.approx(p)


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


# --- Coverage, by simulation ---


def simulated(shape, m, seed):
    """Curves of a shape, at seven scales and one beyond, of 1,000 examples."""
    rng = np.random.default_rng(seed)
    u = np.arange(8) / 6
    a, b = rng.uniform(0.05, 0.3, (m, 1)), rng.uniform(0.6, 0.9, (m, 1))
    mean = {
        "constant": a + 0 * u,
        "log_linear": a + (b - a) * u / u[-1],
        "power_law": b + (a - b) * np.exp(-rng.uniform(0.5, 3, (m, 1)) * u),
        "log_pass_rate": np.exp(
            -rng.uniform(2, 5, (m, 1)) * np.exp(-rng.uniform(1, 2, (m, 1)) * u)
        ),
    }[shape]
    return rng.binomial(1000, mean) / 1000


@pytest.mark.parametrize("shape", ["constant", "log_linear", "power_law", "log_pass_rate"])
def test_intervals_of_the_true_shape_cover(shape):
    curves = curves_of(*simulated(shape, 300, 7))
    options = {"adjust": "jeffreys"} if shape == "log_pass_rate" else {}
    frame = forecast_curves(curves, k="last", forecasters=(shape,), **options)
    coverage = frame["covered"].astype(float).mean()
    # 300 curves have a standard error of 0.013; the dispersion is at least 1, so rather too wide.
    assert 0.91 <= coverage <= 1
    narrow = forecast_curves(curves, k="last", forecasters=(shape,), level=0.5, **options)
    assert 0.42 <= narrow["covered"].astype(float).mean() <= 0.85


@pytest.mark.parametrize("shape", ["log_linear", "power_law"])
def test_intervals_of_the_mixture_cover(shape):
    frame = forecast_curves(curves_of(*simulated(shape, 200, 8)), k="last")
    assert 0.9 <= frame["covered"].astype(float).mean() <= 1


# --- The summary ---


def test_summary_against_a_loop():
    curves = build_curves(load_embedded())
    some = curves.select(np.arange(len(curves)) % 12 == 0)
    frame = forecast_curves(some, forecasters=("mixture", "log_pass_rate"))
    summary = forecast_summary(frame, by=("forecaster", "k"))
    assert len(summary) == frame[["forecaster", "k"]].drop_duplicates().shape[0]
    for _, row in summary.iterrows():
        group = frame[(frame["forecaster"] == row["forecaster"]) & (frame["k"] == row["k"])]
        covered = group["covered"].dropna().astype(bool)
        assert row["n"] == len(group)
        assert row["n_forecast"] == group["forecast"].notna().sum()
        assert row["n_interval"] == len(covered)
        if len(covered):
            low, high = proportion_confint(covered.sum(), len(covered), method="wilson")
            assert row["coverage"] == pytest.approx(covered.mean())
            assert row["coverage_low"] == pytest.approx(low)
            assert row["coverage_high"] == pytest.approx(high)
        skill = group["skill"].dropna()
        assert row["n_skill"] == len(skill)
        assert row["median_skill"] == pytest.approx(skill.median(), nan_ok=True)
        better = (skill > 0).mean() if len(skill) else NAN
        assert row["share_better"] == pytest.approx(better, nan_ok=True)
        assert row["median_surprise"] == pytest.approx(group["surprise"].median(), nan_ok=True)


def test_summary_needs_its_columns():
    with pytest.raises(InputError, match="forecasts: no column horizon"):
        forecast_summary(pd.DataFrame({"forecaster": [], "covered": [], "skill": [], "status": []}))


# --- Refusals, columns, nothing ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forecasters": ("oracle",)}, "forecasters: no forecaster 'oracle'"),
        ({"forecasters": ()}, r"forecasters: \[\]: none, or one twice"),
        ({"forecasters": ("step", "step")}, "none, or one twice"),
        ({"level": 1.0}, "level: 1.0 is not between 0 and 1"),
        ({"level": NAN}, "level: nan is not between 0 and 1"),
        ({"k": 0}, "k: 0 is not 'every', 'last' or a number of scales"),
        ({"criterion": "cp"}, "criterion: 'cp' is not aicc or bic"),
        ({"adjust": "laplace"}, "adjust: 'laplace' is not none or jeffreys"),
        ({"length": -1}, "length"),
        ({"length": [1, 2, 3]}, r"length: shape \(3,\), not \(\) or \(1,\)"),
        ({"shapes": ("line",)}, "shapes: no shape 'line'"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(InputError, match=message):
        forecast_curves(curves_of(rising(0)[0]), **options)


def test_columns_and_no_curves():
    curves = curves_of(rising(0)[0])
    some = forecast_curves(curves, forecasters=FORECASTERS)
    nothing = forecast_curves(curves.select(np.zeros(1, dtype=bool)), forecasters=FORECASTERS)
    assert len(nothing) == 0
    assert list(nothing.columns) == list(some.columns)
    assert list(some.columns[: len(CURVE_KEY)]) == list(CURVE_KEY)
    assert set(some["forecaster"]) == set(FORECASTERS)
    assert set(some["best_shape"].dropna()) <= set(SHAPES)
    assert len(forecast_summary(nothing)) == 0
