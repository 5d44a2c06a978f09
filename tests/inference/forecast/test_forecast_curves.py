"""Forecasts: against a loop over curves and scales, intervals by hand, coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from forecast_inputs import curves_of, observations, one_row, rising
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from bigbench_meta import build_curves, forecast_summary
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.forecast.forecast_curves import FORECASTERS, forecast_curves
from bigbench_meta.inference.forecast.forecasts import Rows
from bigbench_meta.inference.forecast.mechanism_forecasts import (
    MechanismInput,
    mechanism_predictive,
)
from bigbench_meta.inference.shapes.inputs import binomial_variance
from bigbench_meta.inference.shapes.shape_fits import SHAPE_PARAMETERS, SHAPES, fit_shapes

FEW = settings(max_examples=5, deadline=None)
NAN = math.nan


# --- Shapes: a naive loop over curves and numbers of scales ---


def naive_forecast(y, x, n, k, target, criterion, level):
    """Mix the t distributions of each shape with the mechanism's, cut off at 0 and 1."""
    variance = binomial_variance(y[:k], n)
    parts = []
    for shape in SHAPES[:-1]:  # a broken power law has no weight below nine points
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
    data = MechanismInput(
        y=y, trials=np.full(len(y), float(n)), floor=np.zeros(1), picks_choice=np.zeros(1, bool),
        is_brier=np.zeros(1, bool),
    )  # fmt: skip
    one = Rows(
        part=np.array([0]), target=np.array([target]), curve=np.array([0]), k=np.array([k]),
        offsets=np.array([0, len(y)]),
    )  # fmt: skip
    smooth = mechanism_predictive(data, x, one)

    def quantile(q):
        def gap(v):
            shapes = (weight * stats.t.cdf((v - mean) / sd, df)).sum()
            laws = (smooth.weight * stats.norm.cdf((v - smooth.mean) / smooth.sd)).sum()
            return 0.08 * shapes + 0.92 * laws - q

        return np.clip(brentq(gap, -1e3, 1e3, xtol=1e-12), 0, 1)

    return [quantile(q) for q in (0.5, (1 - level) / 2, (1 + level) / 2)]


@pytest.mark.parametrize("criterion", ["aicc", "bic"])
@pytest.mark.parametrize("forecaster", ["mixture", "log_linear", "logistic"])
def test_against_a_loop_over_curves_and_scales(forecaster, criterion):
    batch = [*rising(1, n=8, m=2), *rising(2, n=7, m=1)]
    curves = curves_of(*batch)
    found = forecast_curves(
        curves, forecasters=(forecaster,), criterion=criterion, level=0.9
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
                    values = naive_forecast(y, x, 1000, k, target, criterion, 0.9)
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
    assert frame.loc[("mixture", 0), "forecast"] == pytest.approx(0.2, abs=0.03)


def test_an_exact_fit_says_nothing_of_the_noise():
    """Scores without a known size of the test set that lie on a step: no interval of no width."""
    step = curves_of([0.0, 0.0, 0.0, 0.01, 0.01, 0.01, 0.05], n_examples=None)
    names = ("mixture", "step", "log_linear")
    frame = forecast_curves(step, k="last", forecasters=names).set_index("forecaster")
    assert frame["status"].to_dict() == {
        "mixture": "no_interval", "step": "no_interval", "log_linear": "ok",
    }  # fmt: skip
    assert frame.loc["step", "forecast"] == pytest.approx(0.01)
    assert 0.01 <= frame.loc["mixture", "forecast"] <= 0.1
    assert frame.loc[["mixture", "step"], ["lower", "upper", "surprise"]].isna().all(axis=None)
    known = curves_of([0.0, 0.0, 0.0, 0.01, 0.01, 0.01, 0.05], n_examples=100)
    row = one_row(forecast_curves(known, k="last"))
    # With 100 examples none of these scores is above guessing.
    assert row["status"] == "not_predictable"
    assert row["lower"] <= row["forecast"] < row["upper"]


# --- Invariants ---


NUMBERS = ["forecast", "lower", "upper", "error", "skill", "surprise"]
DOUBLES = ("mixture", "power_law", "log_pass_rate")


@pytest.mark.full
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


@pytest.mark.full
@FEW
@given(st.integers(0, 10**6), st.integers(2, 1000))
def test_unit_of_scale(seed, factor):
    scores = rising(seed, n=7, m=2)
    x = [10**6 * 4**i for i in range(7)]
    a = forecast_curves(curves_of(*scores, x=x), forecasters=DOUBLES)
    b = forecast_curves(curves_of(*scores, x=[factor * v for v in x]), forecasters=DOUBLES)
    for name in NUMBERS[:3]:
        assert b[name].to_numpy() == pytest.approx(a[name].to_numpy(), abs=2e-3, nan_ok=True)


@FEW
@given(st.integers(0, 10**6))
def test_percent_and_proportion(seed):
    """`acc` is in percent, exact match a proportion: the same forecast in another unit.

    Of the mechanism it is not: `acc` may be a multiple choice, of which some is guessed.
    """
    scores = rising(seed, n=7, m=2)
    a = forecast_curves(curves_of(*scores, n_examples=1000), forecasters=DOUBLES[1:])
    b = forecast_curves(curves_of(*scores, metric="brier_score"), forecasters=("log_linear",))
    c = forecast_curves(
        build_curves(observations(*(100 * scores)).assign(metric="acc", benchmark="gpt3")),
        forecasters=DOUBLES[1:],
    )
    assert c["forecast"].to_numpy() == pytest.approx(100 * a["forecast"], abs=1e-4, nan_ok=True)
    assert c["upper"].to_numpy() == pytest.approx(100 * a["upper"], abs=1e-4, nan_ok=True)
    assert set(b["weighting"]) == {"equal"} or len(b)


@FEW
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-3, 3))
def test_scale_and_shift_of_unbounded_scores(seed, factor, shift):
    """A metric without bounds has no proportions."""
    scores = rising(seed, n=8, m=2)
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


# --- Refusals, columns, nothing ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forecasters": ("oracle",)}, "forecasters: 'oracle'"),
        ({"forecasters": ()}, r"forecasters: \[\]: empty, or one is given twice"),
        ({"forecasters": ("step", "step")}, "empty, or one is given twice"),
        ({"level": 1.0}, "level: 1.0 is not between 0 and 1"),
        ({"level": NAN}, "level: nan is not between 0 and 1"),
        ({"k": 0}, "k: 0 is not 'every', 'last' or a number of scales"),
        ({"criterion": "cp"}, "(?s)criterion: 'cp'.*one of aicc, bic"),
        ({"adjust": "laplace"}, "(?s)adjust: 'laplace'.*one of none, jeffreys"),
        ({"length": -1}, "length"),
        ({"length": [1, 2, 3]}, r"length: shape \(3,\), not \(\) or \(1,\)"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(InputError, match=message):
        forecast_curves(curves_of(rising(0)[0]), **options)


def test_columns_and_no_curves():
    curves = curves_of(rising(0)[0])
    some = forecast_curves(curves, forecasters=FORECASTERS)
    nothing = forecast_curves(curves[np.zeros(1, dtype=bool)], forecasters=FORECASTERS)
    assert len(nothing) == 0
    assert list(nothing.columns) == list(some.columns)
    assert list(some.columns[: len(CURVE_KEY)]) == list(CURVE_KEY)
    assert set(some["forecaster"]) == set(FORECASTERS)
    assert set(some["best_shape"].dropna()) <= set(SHAPES)
    assert len(forecast_summary(nothing)) == 0
