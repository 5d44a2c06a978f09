"""How likely a step is: against plain integrals, and on curves whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.smooth_curves import IRREDUCIBLE, SIGMAS, law_grid
from bigbench_meta.inference.nulls.step_evidence import StepEvidence

SIZES = np.array([1e8, 4e8, 1e9, 3e9, 1.2e10, 7e10, 2e11])
STEP = float(np.log(20))
ALIKE = (SIGMAS == 0).astype(float)
ANY = np.full(len(SIGMAS), 1 / len(SIGMAS))


def curves_of(scores, n=200, metric="exact_str_match", **columns):
    """Curves of the smallest sizes, one a task."""
    parts = [
        pd.DataFrame(
            {
                "benchmark": "b", "task": f"task {number:02}", "metric": metric,
                "model_family": "f", "model_name": [f"m{i}" for i in range(len(one))],
                "total_params": SIZES[: len(one)], "score": one, "n_examples": n,
            }
        )
        for number, one in enumerate(scores)
    ]  # fmt: skip
    return bm.build_curves(pd.concat(parts).assign(**columns))


def evidence_of(curves, step=STEP, **options):
    return StepEvidence.of(null_inputs(curves), step, curves.ragged, **options)


def log_odds(curves, weight=ALIKE, **options):
    evidence = evidence_of(curves, **options)
    return evidence.log_odds(weight)


def drawn(rng, m, *, n, sigma=0.1, jump=1.0, points=7):
    """Exact matches of models whose loss becomes ``jump`` times smaller in the middle."""
    x = np.log(SIZES[:points]) - np.log(SIZES[:points]).mean()
    loss = rng.uniform(0.6, 1.5, (m, 1)) * np.exp(-rng.uniform(0.1, 0.3, (m, 1)) * x)
    loss *= jump ** (0.5 - (np.arange(points) >= points // 2))
    loss *= np.exp(sigma * rng.standard_normal((m, points)))
    return rng.binomial(n, np.exp(-loss)) / n


# Against a plain integral ------------------------------------------------------------------------


def integral(right, n, place=None, step=STEP):
    """Return the log of the mean likelihood over levels, exponents and irreducible losses.

    Models of one size are alike, so that right answers are binomial. A step after ``place`` takes
    its half of the log loss from the models beyond, and adds it to those before.
    """
    x = np.log(SIZES[: len(right)])
    x = x - x.mean()
    levels, alphas = np.linspace(-9, 7, 641), (np.arange(70) + 0.5) / 70 * ALPHA_RANGE[1]
    level, alpha = levels[:, None], alphas[None, :]
    parts = []
    for end in IRREDUCIBLE:
        likelihood = np.zeros((len(levels), len(alphas)))
        for i, k in enumerate(right):
            log_loss = level + np.log(end + np.exp(-alpha * x[i]))
            if place is not None:
                log_loss = log_loss + (step / 2 if i <= place else -step / 2)
            likelihood += stats.binom.logpmf(k, n, np.exp(-np.exp(log_loss)))
        parts.append(likelihood)
    logs = np.array(parts)
    return logs.max() + np.log(np.exp(logs - logs.max()).mean())


@pytest.mark.parametrize(
    ("n", "right"),
    [
        (40, [1, 3, 9, 14, 26]),
        (40, [2, 2, 4, 30, 36]),
        (100, [60, 58, 63, 66, 70, 71]),
        (20, [0, 1, 0, 2, 3]),
        (60, [1, 1, 2, 20, 30, 50, 57]),
    ],
)
@pytest.mark.parametrize("step", [np.log(3), STEP])
def test_odds_are_those_of_a_fine_grid(n, right, step):
    """Its 6 exponents and 9 levels within 2.8 standard errors cost little of what may decide.

    Where a step hardly fits, neither grid reaches all of what is left of it.
    """
    found = log_odds(curves_of([np.array(right) / n], n), step=step)
    smooth = integral(right, n)
    for place in range(len(right) - 1):
        expected = integral(right, n, place, step) - smooth
        if expected > -6:
            assert found[place] == pytest.approx(expected, abs=0.1, rel=0.04)
        else:
            assert found[place] < -5
    assert np.isnan(found[-1])


def test_likelihoods_are_those_of_the_fine_grid():
    right, n = [1, 3, 9, 14, 26], 40
    evidence = evidence_of(curves_of([np.array(right) / n], n))
    choose = sum(stats.binom.logpmf(k, n, 0.5) - n * np.log(0.5) for k in right)
    area = np.log(16 * ALPHA_RANGE[1])  # of the fine grid, over which it takes the mean
    assert evidence.smooth[0, 0] + choose == pytest.approx(integral(right, n) + area, abs=0.1)


def test_likelihoods_are_means_over_the_nuisance_settings():
    curves = curves_of([[0.24, 0.27, 0.33, 0.45, 0.6]], metric="multiple_choice_grade")
    inputs = null_inputs(curves)
    settings_ = len(inputs.curve)
    assert settings_ > 3
    alone = [
        StepEvidence.of(
            replace(
                inputs, rows=inputs.rows.take(np.array([row])), curve=np.array([0]),
                unit=inputs.unit[row : row + 1],
            ),
            STEP, curves.ragged,
        )
        for row in range(settings_)
    ]  # fmt: skip
    found = evidence_of(curves)
    for values, every in (
        (found.smooth, [one.smooth for one in alone]),
        (found.stepped[:-1], [one.stepped[:-1] for one in alone]),
    ):
        expected = np.logaddexp.reduce(every, axis=0) - np.log(settings_)
        np.testing.assert_allclose(values, expected, rtol=1e-9)


@pytest.mark.parametrize("end", IRREDUCIBLE.tolist())
def test_an_offset_moves_the_level_and_nothing_else(end):
    """The same offset of all models is a level; one of some models is a step."""
    curves = curves_of([np.array([0.02, 0.1, 0.2, 0.4, 0.6, 0.7])])
    (rows, y, design, _) = next(iter(null_inputs(curves).rows.blocks()))
    plain = law_grid(rows, y, design, ALPHA_RANGE)
    moved = law_grid(rows, y, design, ALPHA_RANGE, np.full(y.shape, 0.7))
    for one in (plain, moved):
        own = one["irreducible"] == end
        assert own.any()
        for name, values in one.items():
            one[name] = values[own]
    assert moved["log_likelihood"] == pytest.approx(plain["log_likelihood"], abs=1e-3)
    assert moved["level"] + 0.7 == pytest.approx(plain["level"], abs=1e-3)
    assert moved["alpha"] == pytest.approx(plain["alpha"], abs=1e-3)


def test_laws_of_a_step_are_those_of_the_curve_without_it():
    """A curve with a step, told of the step, has the law that made it."""
    x = np.log(SIZES) - np.log(SIZES).mean()
    fall = STEP * (0.5 - (np.arange(len(SIZES)) > 3))
    scores = np.exp(-np.exp(-0.3 - 0.2 * x + fall))
    (rows, y, design, _) = next(iter(null_inputs(curves_of([scores], 10**6)).rows.blocks()))
    laws = law_grid(rows, y, design, ALPHA_RANGE, fall[:, None])
    best = laws["log_likelihood"].argmax()
    assert laws["level"][best] == pytest.approx(-0.3, abs=0.02)
    assert laws["alpha"][best] == pytest.approx(0.2, abs=0.02)
    assert laws["irreducible"][best] == 0
    untold = law_grid(rows, y, design, ALPHA_RANGE)
    alike, also = (one["log_likelihood"][one["sigma"] == 0].max() for one in (laws, untold))
    assert alike > also + 10_000


# Properties --------------------------------------------------------------------------------------


@settings(max_examples=5)
@given(st.integers(0, 10_000), st.data())
def test_odds_do_not_depend_on_other_curves(seed, data):
    rng = np.random.default_rng(seed)
    scores = [
        drawn(rng, 1, n=100, jump=jump, points=points)[0]
        for jump, points in ((1, 4), (20, 6), (1, 7), (20, 7))
    ]
    every = curves_of(scores, 100)
    found = np.split(log_odds(every, ANY), every.offsets[1:-1])
    order = np.array(data.draw(st.permutations(range(4)).map(lambda some: some[:3])))
    some = every[order]
    again = np.split(log_odds(some, ANY), some.offsets[1:-1])
    for number, own in zip(order, again, strict=True):
        np.testing.assert_allclose(own, found[number], rtol=1e-9, atol=1e-9)


@settings(max_examples=5)
@given(st.integers(0, 10_000))
def test_places_are_those_of_all_places(seed):
    rng = np.random.default_rng(seed)
    curves = curves_of([*drawn(rng, 2, n=100), drawn(rng, 1, n=100, points=4)[0]], 100)
    places = rng.random(len(curves.y)) < 0.4
    every, some = evidence_of(curves), evidence_of(curves, places=places)
    np.testing.assert_array_equal(some.smooth, every.smooth)
    tried = places & ~np.isnan(every.stepped[:, 0])
    np.testing.assert_allclose(some.stepped[tried], every.stepped[tried], rtol=1e-9)
    assert np.isnan(some.stepped[~tried]).all()


@settings(max_examples=5)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 20.0]))
def test_percent_and_proportions_are_the_same(seed, jump):
    (scores,) = drawn(np.random.default_rng(seed), 1, n=100, jump=jump)
    found = [
        log_odds(curves_of([scores * whole], 100, metric=metric), ANY)
        for metric, whole in (("exact_match", 1.0), ("exact", 100.0))
    ]
    assert np.isfinite(found[0][:-1]).all()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-6)


def test_what_cannot_be_tested_has_no_odds():
    curves = curves_of([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.5], [0.1, 0.4, 0.3, 0.2, 0.5]], 50)
    odds = log_odds(curves, ANY)
    np.testing.assert_array_equal(
        np.isnan(odds), [1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    )  # three sizes are too few, and there is no step after the last
    unknown = curves_of([[0.1, 0.2, 0.3, 0.5]], None)
    assert np.isnan(log_odds(unknown, ANY)).all()
    assert evidence_of(unknown).smooth.shape == (1, len(SIGMAS))


def test_a_step_is_above_zero():
    curves = curves_of([[0.1, 0.2, 0.3, 0.5]])
    for step in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="step"):
            evidence_of(curves, step=step)


# Where the truth is known ------------------------------------------------------------------------


def test_odds_tell_steps_from_smooth_curves():
    rng = np.random.default_rng(0)
    m = 25
    curves = curves_of(
        [*drawn(rng, m, n=5000, sigma=0.05), *drawn(rng, m, n=5000, sigma=0.05, jump=20.0)], 5000
    )
    odds = log_odds(curves, ANY).reshape(2 * m, -1)[:, :-1]
    average = np.logaddexp.reduce(odds, axis=1) - np.log(odds.shape[1])
    smooth, stepped = average[:m], average[m:]
    assert np.median(smooth) < -np.log(1000)
    assert np.median(stepped) > np.log(100)
    # By Markov's inequality, each is misleading at most once in 20 times.
    assert np.mean(smooth >= np.log(20)) <= 0.12
    assert np.mean(stepped <= -np.log(20)) <= 0.12
    # The step is between the third and the fourth size.
    assert np.mean(odds[m:].argmax(axis=1) == len(SIZES) // 2 - 1) >= 0.9


def test_variation_between_models_makes_a_step_less_sure():
    (scores,) = drawn(np.random.default_rng(3), 1, n=5000, sigma=0.0, jump=20.0)
    curves = curves_of([scores], 5000)
    by_sigma = [np.nanmax(log_odds(curves, np.eye(len(SIGMAS))[i])) for i in range(len(SIGMAS))]
    assert (np.diff(by_sigma) < 0).all()
    mixed = np.nanmax(log_odds(curves, ANY))
    assert min(by_sigma) <= mixed <= max(by_sigma)
