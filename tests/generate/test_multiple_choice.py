"""Multiple choice in the paper's model: closed forms, other quadrature, and simulation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate import multiple_choice as _choices
from bigbench_meta.generate.multiple_choice import (
    choice_masses,
    expected_brier_score,
    expected_multiple_choice_grade,
    grade_and_brier,
    sample_choices,
)

INF = math.inf
numbers_of_choices = st.integers(2, 12)
concentrations = st.one_of(st.floats(0.01, 1e4), st.just(INF))
losses = st.one_of(st.floats(0, 12), st.sampled_from([0.0, 1e-9, math.log(2), math.log(4), INF]))


def grade(q, k, kappa, *, floor=False):
    """The expected grade by the mean mass of the right choice."""
    loss = -math.log(q) if q else INF
    return float(
        expected_multiple_choice_grade(loss, n_choices=k, concentration=kappa, chance_floor=floor)
    )


# --- Mean masses ---


@given(losses, numbers_of_choices, st.booleans())
def test_masses_make_one(loss, k, floor):
    right, other = choice_masses(loss, n_choices=k, chance_floor=floor)
    p = math.exp(-loss)
    assert right == pytest.approx(1 / k + (1 - 1 / k) * p if floor else p, rel=1e-12, abs=1e-300)
    assert right + (k - 1) * other == pytest.approx(1, abs=1e-12)
    assert 0 <= other <= 1


@given(numbers_of_choices)
def test_a_model_that_knows_nothing(k):
    right, other = choice_masses(INF, n_choices=k)
    assert (right, other) == (0, pytest.approx(1 / (k - 1)))
    right, other = choice_masses(INF, n_choices=k, chance_floor=True)
    assert right == other == 1 / k


# --- Grade: closed forms ---


@pytest.mark.parametrize("q", [1e-3, 0.2, 0.5, 0.77, 0.999])
@pytest.mark.parametrize("kappa", [0.01, 1.0, 7.0, 300.0])
def test_two_choices_are_a_beta_variable(q, kappa):
    """The right one has more mass than the other where it has more than a half."""
    expected = stats.beta.sf(0.5, kappa * q, kappa * (1 - q))
    assert grade(q, 2, kappa) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("a", [0.3, 1.0, 4.0])
def test_two_choices_by_hand(a):
    """Beta(a, 1) has distribution function x^a, so P(m > 1/2) = 1 - 2^-a."""
    kappa = a + 1
    assert grade(a / kappa, 2, kappa) == pytest.approx(1 - 2**-a, rel=1e-12)
    assert grade(1 / kappa, 2, kappa) == pytest.approx(2**-a, rel=1e-12)


@pytest.mark.parametrize("k", [3, 4, 8])
@pytest.mark.parametrize("a", [0.01, 0.5, 1.0, 3.0, 40.0])
def test_exponential_others(k, a):
    """If the others' gamma variables have shape 1, inclusion and exclusion gives the answer.

    P(max of K - 1 exponentials < g) = (1 - e^-g)^(K-1), and the mean of e^-jg is (1 + j)^-a.
    """
    expected = sum((-1) ** j * math.comb(k - 1, j) * (1 + j) ** -a for j in range(k))
    kappa = a + (k - 1)
    assert grade(a / kappa, k, kappa) == pytest.approx(expected, rel=1e-10)


def by_quad(q, k, kappa):
    """P(right > all others) over the right one's gamma density, by adaptive quadrature."""
    right, other = stats.gamma(kappa * q), stats.gamma(kappa * (1 - q) / (k - 1))

    def integrand(log_g):
        g = math.exp(log_g)
        return right.pdf(g) * g * other.cdf(g) ** (k - 1)

    ends = [math.log(max(right.ppf(u), 1e-300)) for u in (1e-12, 0.01, 0.2, 0.5, 0.8, 0.99)]
    ends.append(math.log(right.isf(1e-14)))
    return sum(
        integrate.quad(integrand, low, high, epsabs=1e-13, epsrel=1e-11, limit=300)[0]
        for low, high in pairwise(ends)
    )


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize(("q", "kappa"), [(0.1, 2.0), (0.15, 30.0), (0.3, 30.0), (0.6, 5.0)])
def test_grade_against_adaptive_quadrature(q, k, kappa):
    assert grade(q, k, kappa) == pytest.approx(by_quad(q, k, kappa), abs=1e-9)


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("kappa", [0.001, 0.5, 100.0, 1e8, INF])
def test_grade_of_even_masses_is_chance(k, kappa):
    even = expected_multiple_choice_grade(INF, n_choices=k, concentration=kappa, chance_floor=True)
    assert even == 1 / k


@pytest.mark.parametrize("k", [2, 3, 6])
def test_limits_of_the_concentration(k):
    """To the paper's step, and to the mean mass itself."""
    for q in (0.02, 0.9 / k, 1.1 / k, 0.95):
        assert grade(q, k, INF) == (q > 1 / k)
        assert grade(q, k, 1e7) == pytest.approx(float(q > 1 / k), abs=1e-6)
        assert grade(q, k, 1e-3) == pytest.approx(q, abs=1e-5)


@pytest.mark.parametrize(("q", "expected"), [(0.0, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("kappa", [0.001, 3.0, INF])
def test_grade_of_certainty(q, expected, kappa):
    for k in (2, 3, 9):
        assert grade(q, k, kappa) == expected


# --- Grade and Brier score: properties ---


@given(losses, losses, numbers_of_choices, concentrations, st.booleans())
def test_larger_models_are_better(some, other, k, kappa, floor):
    pair = sorted([some, other])
    options = {"n_choices": k, "concentration": kappa, "chance_floor": floor}
    good, poor = expected_multiple_choice_grade(pair, **options)
    assert 0 <= poor <= good + 1e-12
    assert good <= 1
    good, poor = expected_brier_score(pair, **options)
    assert 0 <= good <= poor + 1e-12
    assert poor <= 2 + 1e-12


@given(
    st.lists(losses, min_size=1, max_size=4),
    st.lists(numbers_of_choices, min_size=1, max_size=3),
    st.lists(concentrations, min_size=1, max_size=2),
)
def test_arrays_are_loops(loss, k, kappa):
    for function in (expected_multiple_choice_grade, expected_brier_score):
        grid = function(
            np.array(loss)[:, None, None], n_choices=np.array(k)[:, None], concentration=kappa
        )
        assert grid.shape == (len(loss), len(k), len(kappa))
        for place in np.ndindex(grid.shape):
            i, j, m = place
            alone = function(loss[i], n_choices=k[j], concentration=kappa[m])
            assert grid[place] == pytest.approx(float(alone), rel=1e-12, abs=1e-300)


def test_grade_does_not_depend_on_the_block(monkeypatch):
    loss = np.linspace(0.01, 3, 37)
    whole = expected_multiple_choice_grade(loss, n_choices=3, concentration=5.0)
    monkeypatch.setattr(_choices, "_BLOCK", 4)
    parts = expected_multiple_choice_grade(loss, n_choices=3, concentration=5.0)
    np.testing.assert_allclose(parts, whole, rtol=1e-14)


@pytest.mark.parametrize(
    ("q", "k", "kappa", "score"),
    [
        (0.0, 2, INF, 2.0),
        (1.0, 5, INF, 0.0),
        (0.5, 2, INF, 0.5),
        (0.25, 4, INF, 0.75),  # uniform: 1 - 1/K
        (0.5, 2, 1.0, 0.75),  # 0.5 and twice the variance of Beta(1/2, 1/2), 1/8
    ],
)
def test_brier_by_hand(q, k, kappa, score):
    loss = -math.log(q) if q else INF
    found = expected_brier_score(loss, n_choices=k, concentration=kappa)
    assert found == pytest.approx(score, abs=1e-12)


@given(st.floats(0.001, 0.999), concentrations)
def test_brier_of_two_choices_is_twice_the_binary_one(q, kappa):
    """2 E(1 - m)^2 with the mean and variance of a beta variable."""
    variance = 0 if math.isinf(kappa) else q * (1 - q) / (kappa + 1)
    found = expected_brier_score(-math.log(q), n_choices=2, concentration=kappa)
    assert found == pytest.approx(2 * ((1 - q) ** 2 + variance), rel=1e-9)


# --- Against simulation, not ours ---


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize(("q", "kappa"), [(0.1, 1.0), (0.3, 20.0), (0.7, 4.0)])
def test_expectations_are_means_of_dirichlet_masses(q, k, kappa):
    """z-tests at 4.5 standard errors, on draws of numpy's own Dirichlet."""
    n = 60_000
    shapes = kappa * np.array([q] + [(1 - q) / (k - 1)] * (k - 1))
    masses = np.random.default_rng(8).dirichlet(shapes, size=n)
    grades = (masses.argmax(axis=1) == 0).astype(float)
    briers = ((masses - np.eye(k)[0]) ** 2).sum(axis=1)
    loss = -math.log(q)
    for values, function in (
        (grades, expected_multiple_choice_grade),
        (briers, expected_brier_score),
    ):
        expected = float(function(loss, n_choices=k, concentration=kappa))
        assert abs(values.mean() - expected) < 4.5 * values.std() / math.sqrt(n)


# --- Samples ---


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize(("k", "kappa", "loss"), [(2, 0.05, 0.5), (4, 3.0, 1.2), (7, 200.0, 2.0)])
def test_samples_have_the_expectations(k, kappa, loss, floor):
    n = 40_000
    options = {"n_choices": k, "concentration": kappa, "chance_floor": floor}
    logs = sample_choices(loss, n_examples=n, seed=2, **options)
    assert logs.shape == (n, k)
    masses = np.exp(logs)
    np.testing.assert_allclose(masses.sum(axis=1), 1)
    right, other = choice_masses(loss, n_choices=k, chance_floor=floor)
    means = np.array([right] + [other] * (k - 1))
    spread = np.sqrt(means * (1 - means) / (kappa + 1) / n)
    assert (np.abs(masses.mean(axis=0) - means) < 4.5 * spread).all()
    np.testing.assert_allclose(masses.var(axis=0), means * (1 - means) / (kappa + 1), rtol=0.1)
    grades, briers = grade_and_brier(logs)
    for values, function in (
        (grades, expected_multiple_choice_grade),
        (briers, expected_brier_score),
    ):
        assert abs(values.mean() - function(loss, **options)) < 4.5 * values.std() / math.sqrt(n)


@pytest.mark.parametrize("loss", [0.0, 0.3, 5.0, 800.0, INF])
@pytest.mark.parametrize("kappa", [0.001, 1.0, 1e6, INF])
def test_samples_are_always_masses(loss, kappa):
    logs = sample_choices(loss, n_choices=3, n_examples=200, concentration=kappa)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1)
    if loss == 0:
        assert np.exp(logs[:, 0]).tolist() == [1] * 200
    if loss == INF:
        assert np.exp(logs[:, 0]).tolist() == [0] * 200


def test_samples_depend_on_the_seed_alone():
    def draw(seed, n=30):
        return sample_choices(0.7, n_choices=4, n_examples=n, seed=seed).tolist()

    assert draw(4) == draw(4) == draw(np.random.default_rng(4)) != draw(5)
    assert draw(4, n=10) == draw(4)[:10]


def naive_grade_and_brier(logs):
    masses = [math.exp(value) for value in logs]
    best = [place for place, value in enumerate(logs) if value == max(logs)]
    brier = sum((mass - (place == 0)) ** 2 for place, mass in enumerate(masses))
    return (0 in best) / len(best), brier


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=6))
def test_grade_and_brier_of_questions(weights):
    """Whole weights, so that many questions have ties."""
    shares = np.array(weights, dtype=float) + 1
    logs = np.log(shares / shares.sum(axis=1, keepdims=True))
    grades, briers = grade_and_brier(logs)
    for row, got in zip(logs.tolist(), zip(grades, briers, strict=True), strict=True):
        assert got == pytest.approx(naive_grade_and_brier(row), rel=1e-12, abs=1e-15)


# --- What cannot be ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choice_masses(-1.0, n_choices=2), "loss: -1 is negative"),
        (
            lambda: choice_masses(1.0, n_choices=1),
            "n_choices: 1 is not a whole number of at least 2",
        ),
        (
            lambda: expected_multiple_choice_grade(1.0, n_choices=2, concentration=0.0),
            "concentration: 0 is not between 0.001 and infinity",
        ),
        (
            lambda: expected_brier_score(1.0, n_choices=2, concentration=[1.0, math.nan]),
            "concentration: nan is not between",
        ),
        (lambda: sample_choices(1.0, n_choices=2, n_examples=0), "n_examples: 0 is not a whole"),
        (lambda: grade_and_brier([0.0, 0.0]), r"log_masses: shape \(2,\), not"),
        (lambda: grade_and_brier([[0.0]]), r"log_masses: shape \(1, 1\), not"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(InputError, match=message):
        call()
