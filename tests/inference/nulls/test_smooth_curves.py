"""Loss laws that fit: against plain integrals, and on families whose laws are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.mechanism import Design, mechanism_moments
from bigbench_meta.inference.nulls.mechanism_loops import log_likelihoods_of
from bigbench_meta.inference.nulls.smooth_curves import (
    IRREDUCIBLE,
    SIGMAS,
    VARIATIONS,
    SharedVariation,
    SmoothLaws,
)

SIZES = np.rint(10.0 ** np.array([7.0, 7.5, 8.2, 9.0, 9.6, 10.5]))


def curves_of(scores, n=200, metric="exact_str_match", low=0.0, high=1.0):
    rows = []
    for task, of_task in enumerate(scores):
        rows.append(
            pd.DataFrame(
                {
                    "benchmark": "b", "task": f"task {task}", "metric": metric,
                    "model_family": "f", "model_name": [f"m{i}" for i in range(len(of_task))],
                    "total_params": SIZES[: len(of_task)], "score": of_task, "n_examples": n,
                    "low_score": low, "high_score": high,
                }
            )
        )  # fmt: skip
    return bm.build_curves(pd.concat(rows))


def laws_of(curves):
    return SmoothLaws.fit(null_inputs(curves))


def family(rng, m, sigma, n=500):
    alpha = rng.uniform(0.05, 0.34, (m, 1))
    x = np.log(SIZES) - np.log(SIZES).mean()
    loss = rng.uniform(0.3, 2, (m, 1)) * np.exp(-alpha * x)
    loss *= np.exp(np.reshape(sigma, (-1, 1)) * rng.standard_normal((m, len(SIZES))))
    return rng.binomial(n, np.exp(-loss)) / n


@pytest.mark.parametrize(
    "right",
    [[2, 5, 12, 30, 60, 110], [0, 0, 0, 0, 1, 9], [150, 160, 180, 185, 190, 199],
     [60, 61, 60, 62, 60, 61]],
)  # fmt: skip
def test_predicted_shares_are_those_of_a_fine_grid(right):
    """With models alike: means and standard deviations over all laws, by plain sums."""
    n, x = 200, np.log(SIZES) - np.log(SIZES).mean()
    level, alpha, end = np.meshgrid(
        np.linspace(-8, 6, 701), (np.arange(175) + 0.5) / 500, IRREDUCIBLE
    )
    x = x[:, None, None, None]
    share = np.exp(-np.exp(level) * (end + np.exp(-alpha * x)))
    logs = sum(stats.binom.logpmf(k, n, p) for k, p in zip(right, share, strict=True))
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    mean = (share * weight).sum(axis=(1, 2, 3))
    spread = np.sqrt((share**2 * weight).sum(axis=(1, 2, 3)) - mean**2)

    laws = laws_of(curves_of([np.array(right) / n], n))
    probability = laws.probabilities("zero")
    falls = laws.irreducible + np.exp(-laws.alpha * x[:, :, 0, 0])
    predicted = np.exp(-np.exp(laws.level) * falls)
    found = (predicted * probability).sum(axis=1)
    found_spread = np.sqrt((predicted**2 * probability).sum(axis=1) - found**2)
    assert found == pytest.approx(mean, abs=0.3 * spread.max())
    assert found_spread == pytest.approx(spread, abs=0.25 * spread.max())


@given(st.integers(1, 2000), st.floats(0.001, 0.999), st.sampled_from(SIGMAS.tolist()))
def test_likelihood_is_that_of_scipy(n, share, sigma):
    x = np.zeros((1, 1))
    design = Design(x=x, trials=np.full((1, 1), float(n)), floor=np.zeros(1))
    log_loss = np.log(-np.log([[share]]))
    mean, _, between = mechanism_moments(log_loss, np.array([sigma]), design)
    k = np.arange(n + 1)
    ours = [
        log_likelihoods_of(
            np.array([[one / n]]), design.arrays(), np.zeros((1, 1)), log_loss[None],
            np.array([sigma]),
        ).item()
        for one in (0, n // 2, n)
    ]  # fmt: skip
    rho = float(between[0, 0] / (mean[0, 0] * (1 - mean[0, 0])))
    if rho > 1e-8:
        a, b = mean[0, 0] * (1 / rho - 1), (1 - mean[0, 0]) * (1 / rho - 1)
        theirs = stats.betabinom.logpmf(k, n, a, b)
    else:
        theirs = stats.binom.logpmf(k, n, mean[0, 0])
    choose = np.array([stats.binom.logpmf(one, n, 0.5) - n * np.log(0.5) for one in (0, n // 2, n)])
    assert ours + choose == pytest.approx(theirs[[0, n // 2, n]], rel=1e-5, abs=1e-5)


def test_probabilities_are_those_of_each_curve():
    rng = np.random.default_rng(0)
    scores = family(rng, 12, 0.2)
    scores[3] = 0.0
    laws = laws_of(curves_of(scores, 500))
    assert laws.curves.tolist() == list(range(12))
    families = np.repeat([0, 1], 6)
    for variation in VARIATIONS:
        probability = laws.probabilities(variation, families)
        assert np.bincount(laws.curve, weights=probability) == pytest.approx(np.ones(12))
        assert (probability >= 0).all()
    assert set(laws.sigma[laws.probabilities("zero") > 0]) == {0}
    of_family = laws.probabilities("family", families)
    shares = [
        np.bincount(laws.sigma[laws.curve == curve], of_family[laws.curve == curve], len(SIGMAS))
        for curve in range(12)
    ]
    # A family has one distribution of sigma, whatever the curve's own scatter.
    for curve in range(12):
        assert shares[curve] == pytest.approx(shares[0 if curve < 6 else 6])
    with pytest.raises(InputError, match="variation"):
        laws.probabilities("other")


@pytest.mark.parametrize("sigma", [0.05, 0.4])
def test_the_variation_of_a_family_is_found(sigma):
    rng = np.random.default_rng(1)
    laws = laws_of(curves_of(family(rng, 60, sigma), 500))
    probability = laws.probabilities("family", np.zeros(60, dtype=int))
    own = np.bincount(laws.sigma, probability, len(SIGMAS)) / 60
    assert np.exp((own[1:] * np.log(SIGMAS[1:])).sum() / own[1:].sum()) == pytest.approx(
        sigma, rel=0.5
    )


def test_a_curve_without_a_right_answer_seldom_has_one():
    laws = laws_of(curves_of([np.zeros(6)], 1000))
    drawn = laws.draw(0, laws.probabilities("zero"), 4000, np.random.default_rng(0))
    right = (drawn > 0).any(axis=1).mean()
    assert 0.05 < right < 0.6
    assert drawn.max() <= 0.02


@pytest.mark.parametrize(
    ("metric", "low", "scores"),
    [
        ("exact_str_match", 0.0, [0.01, 0.02, 0.05, 0.2, 0.4, 0.6]),
        ("multiple_choice_grade", 0.25, [0.24, 0.26, 0.25, 0.3, 0.4, 0.6]),
        ("token_edit_distance", None, [5.0, 4.5, 4.0, 2.5, 1.5, 1.0]),
        ("perplexity", None, [60.0, 40.0, 30.0, 12.0, 9.0, 5.0]),
    ],
)
def test_draws_are_in_the_unit_of_the_file(metric, low, scores):
    curves = curves_of([scores], 400, metric=metric, low=low, high=None)
    laws = laws_of(curves)
    drawn = laws.draw(0, laws.probabilities("curve"), 500, np.random.default_rng(0))
    assert drawn.shape == (500, 6)
    middle = np.median(drawn, axis=0)
    assert np.abs(middle - scores).max() < 0.35 * np.ptp(scores)
    assert np.sign(middle[-1] - middle[0]) == np.sign(scores[-1] - scores[0])
    again = laws.draw(0, laws.probabilities("curve"), 500, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)


def test_laws_do_not_depend_on_other_curves():
    rng = np.random.default_rng(2)
    scores = family(rng, 5, 0.1)
    alone = laws_of(curves_of(scores[2:3], 500))
    among = laws_of(curves_of(scores, 500))
    own = among.curve == 2
    np.testing.assert_allclose(among.level[own], alone.level, rtol=1e-9)
    np.testing.assert_allclose(among.log_likelihood[own], alone.log_likelihood, rtol=1e-9)


def test_no_curve_has_no_laws():
    assert len(laws_of(curves_of([[0.1, 0.2, 0.3]])).curves) == 0  # three models
    nothing = laws_of(curves_of([[0.1, 0.2, 0.3, 0.5]], n=None))
    assert len(nothing.probabilities("curve")) == 0


# What the curves of a model share ----------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_shared_variation_by_loops_over_pairs(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 25))
    model, task = rng.integers(0, 3, size), rng.integers(0, 4, size)
    z, s = rng.normal(size=size), rng.uniform(0.1, 1, size)
    sums = {"model": [0.0, 0.0], "task": [0.0, 0.0]}
    for i in range(size):
        for j in range(size):
            if i != j and model[i] == model[j]:
                kind = "task" if task[i] == task[j] else "model"
                sums[kind][0] += z[i] * z[j]
                sums[kind][1] += s[i] * s[j]
    share = {
        kind: min(max(over / under, 0.0), 1.0) if under else 0.0
        for kind, (over, under) in sums.items()
    }
    found = SharedVariation.of(z, s, model, task)
    assert found.model == pytest.approx(share["model"], abs=1e-9)
    assert found.task == pytest.approx(max(share["task"] - share["model"], 0.0), abs=1e-9)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_what_tasks_share_is_found(shared):
    rng = np.random.default_rng(3)
    m, k = 60, len(SIZES)
    x = np.log(SIZES) - np.log(SIZES).mean()
    away = np.sqrt(shared) * rng.standard_normal(k) + np.sqrt(1 - shared) * rng.standard_normal(
        (m, k)
    )
    loss = rng.uniform(0.3, 2, (m, 1)) * np.exp(-rng.uniform(0.05, 0.3, (m, 1)) * x + 0.3 * away)
    curves = curves_of(rng.binomial(5000, np.exp(-loss)) / 5000, 5000)
    laws = laws_of(curves)
    found = laws.shared_variation(
        laws.probabilities("family", np.zeros(m, dtype=int)), curves.ragged,
        np.tile(np.arange(k), m), np.arange(m),
    )  # fmt: skip
    assert found.model == pytest.approx(shared, abs=0.35)
    assert found.task == 0.0
