"""Laws of the loss: against statsmodels, a search from many starts, and a contrast of three."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import t as t_distribution
from statsmodels.stats.anova import anova_lm

import bigbench_meta as bm
from bigbench_meta.aggregate.loss_law import LAWS, fit_loss_law, lack_of_fit
from bigbench_meta.core.errors import InputError

POWER, WITH_CONSTANT = LAWS
SIZES = np.array([300, 1000, 3000, 10_000, 30_000, 100_000])


def losses(rng, *, constant=0.0, exponent=0.4, spread=0.1, n_seeds=5, sizes=SIZES):
    """Losses of seeds (rows) and sizes about a law."""
    expected = constant + 20 * np.asarray(sizes) ** -exponent
    return expected * np.exp(spread * rng.standard_normal((n_seeds, len(sizes))))


def observations(loss, **columns):
    n_seeds, n_sizes = loss.shape
    return pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "metric": "m", "model_family": "f", "score": 0.0,
            "replicate": np.repeat([f"seed {i}" for i in range(n_seeds)], n_sizes),
            "model_name": np.tile([f"m{i}" for i in range(n_sizes)], n_seeds),
            "non_embedding_params": np.tile(SIZES[:n_sizes], n_seeds),
            "pretraining_loss": loss.ravel(),
        }
    ).assign(**columns)  # fmt: skip


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 5))
def test_power_law_and_its_test_are_those_of_statsmodels(seed, n_seeds, n_sizes):
    rng = np.random.default_rng(seed)
    loss = losses(rng, n_seeds=n_seeds, sizes=SIZES[:n_sizes], spread=rng.uniform(0.05, 1))
    kept = rng.random(loss.shape) < 0.9
    kept[0] = True
    frame = pd.DataFrame({"n": np.tile(SIZES[:n_sizes], n_seeds), "loss": loss.ravel()})
    frame = frame[kept.ravel()].sample(frac=1, random_state=1)
    line = smf.ols("np.log(loss) ~ np.log(n)", frame).fit()
    found = fit_loss_law(frame["n"], frame["loss"])
    assert found.exponent == pytest.approx(-line.params["np.log(n)"])
    assert found.coefficient == pytest.approx(np.exp(line.params["Intercept"]))
    assert found.residual == pytest.approx(line.ssr)
    np.testing.assert_allclose(found.at(frame["n"]), np.exp(line.fittedvalues))
    tested = lack_of_fit(frame["n"], frame["loss"])
    if n_sizes == 2 or len(frame) == n_sizes:
        assert np.isnan(tested).all()
        return
    table = anova_lm(line, smf.ols("np.log(loss) ~ C(n)", frame).fit())
    assert tested.f == pytest.approx(table["F"].iloc[1])
    assert tested.p_equal == pytest.approx(table["Pr(>F)"].iloc[1])


@given(st.integers(0, 10**6))
def test_three_sizes_with_spreads_of_their_own_are_a_contrast(seed):
    """The middle size against the line through the others, with Welch's degrees of freedom."""
    rng = np.random.default_rng(seed)
    sizes = [100, 1000, 50_000]
    samples = [
        [math.exp(-i + s * rng.standard_normal()) for _ in range(rng.integers(2, 7))]
        for i, s in enumerate(rng.uniform(0.05, 1, 3).tolist())
    ]
    low, middle, high = map(math.log, sizes)
    factors = [(high - middle) / (high - low), -1, (middle - low) / (high - low)]
    logs = [list(map(math.log, values)) for values in samples]
    contrast = sum(c * statistics.fmean(y) for c, y in zip(factors, logs, strict=True))
    parts = [c * c * statistics.variance(y) / len(y) for c, y in zip(factors, logs, strict=True)]
    free = sum(parts) ** 2 / sum(v * v / (len(y) - 1) for v, y in zip(parts, logs, strict=True))
    expected = 2 * t_distribution.sf(abs(contrast) / math.sqrt(sum(parts)), free)
    size = [n for n, values in zip(sizes, samples, strict=True) for _ in values]
    found = lack_of_fit(size, list(itertools.chain(*samples))).p_unequal
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.5]), st.floats(0.02, 0.6))
def test_constant_by_a_search_from_many_starts(seed, constant, spread):
    rng = np.random.default_rng(seed)
    loss = losses(rng, constant=constant, spread=spread, n_seeds=3)
    size = np.tile(SIZES, 3)
    y, x = np.log(loss.ravel()), np.log(size / 3000)

    def misfit(p):
        return np.sum((np.logaddexp(p[0] - p[1] * x, p[2]) - y) ** 2)

    starts = itertools.product([y.mean()], [0.1, 0.5, 2.0], np.log(loss.min()) - np.arange(3))
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-12}
    best = min(
        minimize(misfit, start, method="Nelder-Mead", options=options).fun for start in starts
    )
    found, line = (
        fit_loss_law(size, loss.ravel(), law=WITH_CONSTANT),
        fit_loss_law(size, loss.ravel()),
    )
    assert found.residual <= min(best, line.residual) * (1 + 1e-6)
    assert found.residual == pytest.approx(np.sum((np.log(found.at(size)) - y) ** 2))
    assert found.constant >= 0
    if found.constant == 0:
        assert found == line


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_units_do_not_matter(of_size, of_loss):
    loss = losses(np.random.default_rng(4), constant=0.2, n_seeds=3).ravel()
    size = np.tile(SIZES, 3)
    for law in LAWS:
        one = fit_loss_law(size, loss, law=law)
        other = fit_loss_law(size * of_size, loss * of_loss, law=law)
        assert other.exponent == pytest.approx(one.exponent, rel=1e-4)
        assert other.constant == pytest.approx(one.constant * of_loss, rel=1e-4)
        assert other.residual == pytest.approx(one.residual, rel=1e-6)
        for a, b in zip(
            lack_of_fit(size, loss, law=law),
            lack_of_fit(size * of_size, loss * of_loss, law=law), strict=True,
        ):  # fmt: skip
            assert a == pytest.approx(b, rel=1e-3)


def test_families_and_what_is_said_of_them():
    rng = np.random.default_rng(5)
    straight = observations(losses(rng, exponent=0.3), model_family="straight")
    bent = losses(rng, exponent=0.6, constant=0.3, spread=0.03)
    crowd = observations(losses(rng, n_seeds=9)[:, :1], model_family="bent")
    crowd["replicate"] = [f"seed {i}" for i in range(9, 18)]
    one = observations(losses(rng, n_seeds=1), model_family="one")
    two = observations(losses(rng)[:, :2], model_family="two")
    crowd.loc[0, "pretraining_loss"] = np.nan
    frame = pd.concat(
        [straight, observations(bent, model_family="bent"), crowd, one, two], ignore_index=True
    )
    # Another metric of the same models, and rows that do not repeat the loss.
    other = frame.assign(metric="other")
    other.loc[::2, "pretraining_loss"] = np.nan
    twice = pd.concat([frame, other], ignore_index=True)
    found = bm.loss_law(twice, n_boot=99)
    fits = found.fits.set_index(["model_family", "law"])
    assert fits["n_models"].groupby("model_family").first().to_dict() == {
        "bent": 30, "one": 6, "straight": 30, "two": 10,
    }  # fmt: skip
    assert fits["n_left_out"].groupby("model_family").first()["bent"] == 9
    row = fits.loc[("straight", POWER)]
    assert row["exponent_low"] < 0.3 < row["exponent_high"]
    assert row["exponent_high"] - row["exponent_low"] < 0.1
    assert min(row["p_equal"], row["p_unequal"]) > 0.01
    assert max(fits.loc[("bent", POWER), ["p_equal", "p_unequal"]]) < 1e-4
    row = fits.loc[("bent", WITH_CONSTANT)]
    assert row["constant_low"] < 0.3 < row["constant_high"]
    assert row["pure_error"] == pytest.approx(0.03, rel=0.4)
    assert set(fits.loc["one", "status"]) <= {"one_seed", "no_constant"}
    assert fits.loc["one", ["exponent_low", "p_equal"]].isna().all(axis=None)
    assert set(fits.loc["two", "status"]) == {"too_few_sizes"}
    points = found.sizes.set_index(["model_family", "law"]).loc[("bent", POWER)]
    np.testing.assert_allclose(points["loss"], np.exp(np.log(bent).mean(axis=0)))
    np.testing.assert_allclose(np.log(points["loss"] / points["fitted"]), points["misfit"])
    np.testing.assert_allclose(
        points["misfit_stderr"], np.log(bent).std(axis=0, ddof=1) / np.sqrt(5)
    )
    # Least squares: what is too high and too low cancels.
    assert points["misfit"].sum() == pytest.approx(0, abs=1e-9)
    said = bm.loss_law_sentences(found.fits)
    assert len(said) == 8
    assert "bent: a power law of non_embedding_params is rejected" in said[2]


@pytest.mark.full
def test_intervals_of_few_seeds_hold_the_exponent():
    """200 power laws of three seeds a size; percentiles that are not expanded hold it in 90%."""
    rng = np.random.default_rng(7)
    frame = pd.concat(
        [observations(losses(rng, n_seeds=3), model_family=f"f{i}") for i in range(200)],
        ignore_index=True,
    )
    fits = bm.loss_law(frame, n_boot=99, laws=[POWER]).fits
    held = (fits["exponent_low"] <= 0.4) & (fits["exponent_high"] >= 0.4)
    assert 0.92 <= held.mean() <= 0.98
    assert (fits["p_equal"] <= 0.05).mean() < 0.1


def test_order_of_rows_does_not_matter():
    frame = observations(losses(np.random.default_rng(6), constant=0.1, n_seeds=3))
    one, other = (
        bm.loss_law(some, n_boot=99) for some in (frame, frame.sample(frac=1, random_state=2))
    )
    pd.testing.assert_frame_equal(one.fits, other.fits, rtol=1e-6)
    pd.testing.assert_frame_equal(one.sizes, other.sizes, rtol=1e-6)


def test_wrong_input():
    frame = observations(losses(np.random.default_rng(0), n_seeds=2))
    with pytest.raises(InputError, match="two sizes or losses of one model: b, f, m0, seed 0"):
        bm.loss_law(pd.concat([frame, frame.head(1).assign(pretraining_loss=9.0)]))
    with pytest.raises(InputError, match="no model has both total_params and pretraining_loss"):
        bm.loss_law(frame, scale="total_params")
    with pytest.raises(InputError, match="'pretraining_loss'"):
        bm.loss_law(frame, scale="pretraining_loss")
    with pytest.raises(InputError, match="2 different sizes for 3 parameters"):
        fit_loss_law([1, 2], [1.0, 0.5], law=WITH_CONSTANT)
    with pytest.raises(InputError, match="loss: 0 is not"):
        fit_loss_law([1, 2], [1.0, 0.0])
