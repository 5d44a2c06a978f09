"""The straight-line null: against statsmodels' least squares in loops, and its exact size."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER

from bigbench_meta import emergence_score
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.line_null import line_null
from bigbench_meta.inference.nulls.monte_carlo import NULL_STATUSES, stream


def statistics(y, x):
    """T of a step after each scale: t-like, by regressing the step on level and slope."""
    regressors = sm.add_constant(np.log(x))
    line = sm.OLS(y, regressors).fit()
    noise = np.sqrt((line.resid**2).sum() / (len(y) - 2))
    found = []
    for k in range(1, len(y)):
        step = (np.arange(len(y)) >= k).astype(float)
        step -= sm.OLS(step, regressors).fit().fittedvalues
        found.append(line.resid @ step / np.linalg.norm(step) / noise)
    return np.array(found), line, noise


def curves(seed, lengths=(6, 9)):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.linspace(0, 1, n) + 0.2 * rng.standard_normal(n) for n in lengths])
    x = np.concatenate([np.sort(10 ** rng.uniform(6, 10, n)) for n in lengths])
    return y, x, np.cumsum([0, *lengths])


@given(st.integers(0, 1000))
@FEWER
def test_p_values_are_loops_over_replicates(seed):
    y, x, offsets = curves(seed)
    tests = line_null(y, x, offsets, n_boot=19, seed=4)
    for curve in range(2):
        own = slice(offsets[curve], offsets[curve + 1])
        scores, line, noise = statistics(y[own], x[own])
        log = np.log(x[own]) - np.log(x[own]).mean()
        rng = stream(4, "line", line.resid / np.ptp(y[own]), log)
        n = len(log)
        drawn = rng.standard_normal((19, n))
        steps = sum(statistics(one, x[own])[0].max() >= scores.max() - 1e-6 for one in drawn)
        sharp = emergence_score(y[own]) / (n - 1)
        sharper = sum(
            emergence_score(line.fittedvalues + noise * one) / (n - 1) >= sharp for one in drawn
        )
        assert tests.step_score[curve] == pytest.approx(scores.max())
        assert tests.n_before[curve] == scores.argmax() + 1
        assert tests.p_step[curve] == (1 + steps) / 20
        assert tests.p_sharpness[curve] == (1 + sharper) / 20
        assert tests.alpha[curve] == pytest.approx(line.params[1])
        assert tests.level[curve] == pytest.approx(y[own].mean())
        assert tests.sigma[curve] == pytest.approx(noise)
        step = (np.arange(n) >= tests.n_before[curve]).astype(float)
        both = sm.OLS(y[own], np.stack([np.ones(n), log, step], axis=1)).fit()
        assert tests.step_size[curve] == pytest.approx(both.params[2])


@pytest.mark.parametrize("seed", range(4))
def test_replicates_end_where_enough_are_as_large(seed):
    y, x, offsets = curves(seed)
    tests = line_null(y, x, offsets, n_boot=200, stop_after=3, seed=4)
    full = line_null(y, x, offsets, n_boot=200, seed=4)
    for curve in range(2):
        own = slice(offsets[curve], offsets[curve + 1])
        scores, line, _ = statistics(y[own], x[own])
        log = np.log(x[own]) - np.log(x[own]).mean()
        rng = stream(4, "line", line.resid / np.ptp(y[own]), log)
        large = [
            statistics(one, x[own])[0].max() >= scores.max() - 1e-6
            for one in rng.standard_normal((200, len(log)))
        ]
        third = np.flatnonzero(np.cumsum(large) == 3)
        expected = 3 / (third[0] + 1) if len(third) else (1 + sum(large)) / 201
        assert tests.p_step[curve] == expected
        assert full.p_step[curve] == (1 + sum(large)) / 201
        assert full.n_valid[curve] == 200


@given(st.integers(0, 1000), st.floats(0.01, 1000), st.floats(-100, 100), st.floats(0.01, 1e6))
@FEWER
def test_units_do_not_matter(seed, scale, shift, unit):
    y, x, offsets = curves(seed)
    tests = line_null(y, x, offsets, n_boot=19)
    moved = line_null(scale * y + shift, unit * x, offsets, n_boot=19)
    assert moved.step_score == pytest.approx(tests.step_score, rel=1e-6)
    assert moved.step_size == pytest.approx(scale * tests.step_size, rel=1e-6)
    assert np.array_equal(moved.n_before, tests.n_before)


@given(st.integers(0, 1000))
@FEWER
def test_a_step_up_is_one_from_behind_and_upside_down(seed):
    y, x, _ = curves(seed, (8,))
    tests = line_null(y, x, np.array([0, 8]), n_boot=19)
    back = line_null(-y[::-1], 1 / x[::-1], np.array([0, 8]), n_boot=19)
    assert back.step_score == pytest.approx(tests.step_score)
    assert back.n_before[0] == 8 - tests.n_before[0]


def test_curves_do_not_depend_on_each_other():
    y, x, offsets = curves(3, (6, 9, 6, 3, 12))
    together = line_null(y, x, offsets, n_boot=49)
    for j in (0, 2, 4):
        own = slice(offsets[j], offsets[j + 1])
        alone = line_null(y[own], x[own], np.array([0, offsets[j + 1] - offsets[j]]), n_boot=49)
        assert alone.p_step[0] == together.p_step[j]
        assert alone.p_sharpness[0] == together.p_sharpness[j]


def test_the_size_is_exact_and_a_step_is_found():
    rng = np.random.default_rng(2)
    m, n = 2000, 7
    x = np.tile(10.0 ** np.arange(n), m)
    line = np.tile(np.linspace(0, 5, n), m) + rng.standard_normal(m * n)
    offsets = np.arange(m + 1) * n
    p = line_null(line, x, offsets, n_boot=99).p_step
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=3.5 * np.sqrt(level / m))
    jump = line + 10.0 * (np.arange(m * n) % n > 2)
    assert (line_null(jump, x, offsets, n_boot=99).p_step <= 0.05).mean() > 0.9


def test_what_cannot_be_tested_says_so():
    y = np.array([0.1, 0.2, 0.3, 0.5, 0.5, 0.5, 0.5, 1.0, 2.0, 3.0, 4.0])
    x = np.concatenate([10.0 ** np.arange(3), 10.0 ** np.arange(4), 10.0 ** np.arange(4)])
    tests = line_null(y, x, np.array([0, 3, 7, 11]), n_boot=19)
    assert [NULL_STATUSES[code] for code in tests.status] == ["too_few_scales", "flat", "ok"]
    assert np.isnan(tests.p_step[:2]).all()
    assert tests.p_step[2] == tests.p_sharpness[2] == 1.0  # a line up to rounding


def test_what_is_wrong_is_said():
    y, x, offsets = curves(0)
    with pytest.raises(InputError, match="n_boot: 5 is not a whole number of at least 19"):
        line_null(y, x, offsets, n_boot=5)
    with pytest.raises(InputError, match=r"x: .* is not above the scale before"):
        line_null(y, x[::-1], offsets)


def test_progress_ends_with_all_curves():
    reports = []
    line_null(*curves(0, (5, 3, 8)), n_boot=19, progress=lambda *now: reports.append(now))
    assert reports[-1] == (3, 3)


@pytest.mark.parametrize("unit", [1e160, 1e300, 1e-200])
def test_scores_whose_squares_are_out_of_range(unit):
    y = np.array([0.1, 0.22, 0.29, 0.41, 0.5, 0.0, 0.01, 0.0, 0.01, 1.0])
    x, offsets = np.tile(10.0 ** np.arange(5), 2), np.array([0, 5, 10])
    plain, far = (line_null(scores, x, offsets, n_boot=99) for scores in (y, y * unit))
    np.testing.assert_allclose(far.p_step, plain.p_step)
    np.testing.assert_allclose(far.p_sharpness, plain.p_sharpness)
    np.testing.assert_allclose(far.sigma, plain.sigma * unit)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_wrong_seeds(seed):
    x = 10.0 ** np.arange(5)
    with pytest.raises(InputError, match=r"seed: .* is not a whole number of at least 0"):
        line_null(np.arange(5.0), x, np.array([0, 5]), seed=seed)
