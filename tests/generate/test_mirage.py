"""The paper's model: formulas against loops, enumeration and samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import levenshtein

from bigbench_meta import load_embedded
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.mirage import (
    DEFAULT_ALPHA,
    DEFAULT_C,
    expected_accuracy,
    expected_token_edit_distance,
    per_token_loss,
    per_token_probability,
    sample_right_tokens,
)

INF = math.inf
alphas = st.floats(-3, -0.02)
constants = st.floats(1e3, 1e15)
sizes = st.floats(1e3, 1e15)
lengths = st.integers(1, 200)
losses = st.one_of(st.floats(0, 50), st.sampled_from([0.0, 1e-300, 1e-12, 800.0, INF]))


def close(expected, rel=1e-12):
    return pytest.approx(expected, rel=rel, abs=0)


# --- By hand ---


@pytest.mark.parametrize(
    ("scale", "alpha", "c", "loss"),
    [
        (1e9, -1, 1e9, 1.0),
        (4.0, -0.5, 1.0, 0.5),
        (1.0, -0.5, 4.0, 2.0),
        (100.0, -2, 10.0, 0.01),
        (1e-300, -2, 1e300, INF),  # beyond the largest float
    ],
)
def test_loss(scale, alpha, c, loss):
    assert per_token_loss(scale, alpha=alpha, c=c) == close(loss)


@pytest.mark.parametrize(
    ("p", "length", "accuracy", "distance"),
    [(1.0, 7, 1.0, 0.0), (0.5, 1, 0.5, 0.5), (0.5, 3, 0.125, 1.5), (0.9, 2, 0.81, 0.2)],
)
def test_accuracy_and_distance(p, length, accuracy, distance):
    loss = -math.log(p)
    assert per_token_probability(loss) == close(p)
    assert expected_accuracy(loss, target_length=length) == close(accuracy)
    assert expected_token_edit_distance(loss, target_length=length) == close(distance)


def test_the_misprint_of_the_appendix_is_not_computed():
    """With error 0.1 and five tokens the distance is 5 * 0.1; App. A.2 prints 5 * (1 - 0.1)."""
    assert expected_token_edit_distance(-math.log(0.9), target_length=5) == close(0.5)


def test_defaults_are_rounded_from_gpt3():
    """The derivation in the docstring of DEFAULT_C: three-digit addition, 50 examples."""
    observations = load_embedded()
    rows = observations[(observations["task"] == "arithmetic 3D+") & (observations["shots"] == 50)]
    (small, low), (large, high) = (
        rows[["total_params", "score"]].astype(float).sort_values("total_params").to_numpy()[-2:]
    )
    assert (low, high) == (8.4, 80.4)
    loss = [-math.log(percent / 100) / 3 for percent in (low, high)]
    alpha = math.log(loss[0] / loss[1]) / math.log(small / large)
    c = small * loss[0] ** (-1 / alpha)
    assert (alpha, c) == (pytest.approx(-0.93, abs=0.005), pytest.approx(1.05e10, rel=0.005))
    assert (round(alpha), float(f"{c:.0e}")) == (DEFAULT_ALPHA, DEFAULT_C)
    assert expected_accuracy(per_token_loss([small, large], alpha=alpha, c=c), target_length=3) == (
        close([0.084, 0.804])
    )


# --- Against definitions ---


@pytest.mark.parametrize("p", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("length", [1, 2, 6])
def test_expectations_are_means_over_every_output(p, length):
    """Each token is the target's or a wrong one; metrics are computed on what comes out."""
    target = tuple(range(length))
    accuracy = distance = 0.0
    for right in itertools.product([True, False], repeat=length):
        output = tuple(t if ok else t + length for t, ok in zip(target, right, strict=True))
        weight = math.prod(p if ok else 1 - p for ok in right)
        accuracy += weight * (output == target)
        distance += weight * levenshtein(target, output)
    loss = -math.log(p) if p else INF
    assert expected_accuracy(loss, target_length=length) == pytest.approx(accuracy, abs=1e-12)
    assert expected_token_edit_distance(loss, target_length=length) == (
        pytest.approx(distance, abs=1e-12)
    )


@given(st.lists(losses, min_size=1, max_size=5), st.lists(lengths, min_size=1, max_size=4))
def test_arrays_are_loops(loss, length):
    for function in (expected_accuracy, expected_token_edit_distance):
        grid = function(np.array(loss)[:, None], target_length=length)
        single = [[float(function(x, target_length=n)) for n in length] for x in loss]
        assert grid.tolist() == single


# --- Properties ---


@given(sizes, sizes, alphas, constants, lengths)
def test_larger_models_are_better(some, other, alpha, c, length):
    loss = per_token_loss(sorted([some, other]), alpha=alpha, c=c)
    accuracy = expected_accuracy(loss, target_length=length)
    distance = expected_token_edit_distance(loss, target_length=length)
    assert loss[0] >= loss[1] >= 0
    assert 0 <= accuracy[0] <= accuracy[1] <= 1
    assert length >= distance[0] >= distance[1] >= 0


@given(losses, lengths)
def test_longer_targets_are_harder(loss, length):
    accuracy = expected_accuracy(loss, target_length=[length, length + 1])
    assert accuracy[0] >= accuracy[1]


@given(lengths)
def test_limits(length):
    ends = [0.0, INF]
    assert expected_accuracy(ends, target_length=length).tolist() == [1, 0]
    assert expected_token_edit_distance(ends, target_length=length).tolist() == [0, length]
    assert per_token_probability(ends).tolist() == [1, 0]


@given(losses, lengths)
def test_distance_is_linear_in_the_error(loss, length):
    error = expected_token_edit_distance(loss, target_length=1)
    assert expected_token_edit_distance(loss, target_length=length) == close(length * error)
    assert error == pytest.approx(1 - math.exp(-loss), rel=1e-12, abs=1e-16)


def test_small_errors_are_not_rounded_away():
    """1 - exp(-1e-20) is 0 in floats; the distance is not."""
    assert expected_token_edit_distance(1e-20, target_length=5) == close(5e-20)


@given(sizes, alphas, constants, lengths)
def test_a_longer_target_is_the_same_curve_further_right(scale, alpha, c, length):
    """n (N / c)^alpha = (N / c')^alpha with c' = c n^(-1 / alpha): see the module's docstring."""
    shifted = per_token_loss(scale, alpha=alpha, c=c * length ** (-1 / alpha))
    long = length * per_token_loss(scale, alpha=alpha, c=c)
    assert shifted == close(long, rel=1e-9)


def test_nan_stays():
    assert np.isnan(expected_accuracy([np.nan], target_length=2)).all()


# --- Samples ---


@pytest.mark.parametrize("length", [1, 5, 36])
@pytest.mark.parametrize("loss", [0.01, 0.2, 1.5])
def test_samples_have_the_expectations(loss, length):
    """z-tests at 4.5 standard errors, with those of the binomial."""
    n, p = 40_000, math.exp(-loss)
    right = sample_right_tokens(loss, target_length=length, n_examples=n, seed=3)
    assert right.shape == (n, length)
    accuracy, distance = right.all(axis=1).mean(), (~right).sum(axis=1).mean()
    expected = float(expected_accuracy(loss, target_length=length))
    spread = math.sqrt(expected * (1 - expected) / n)
    assert abs(accuracy - expected) < 4.5 * spread + 1 / n
    spread = math.sqrt(length * p * (1 - p) / n)
    assert abs(distance - expected_token_edit_distance(loss, target_length=length)) < 4.5 * spread


def test_tokens_are_independent():
    right = sample_right_tokens(0.7, target_length=4, n_examples=40_000, seed=1)
    correlation = np.corrcoef(right.astype(float), rowvar=False) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(40_000)


@pytest.mark.parametrize(("loss", "share"), [(0.0, 1.0), (INF, 0.0)])
def test_samples_of_certain_tokens(loss, share):
    assert sample_right_tokens(loss, target_length=3, n_examples=500).mean() == share


def test_samples_depend_on_the_seed_alone():
    def draw(seed, n=50):
        return sample_right_tokens(0.7, target_length=6, n_examples=n, seed=seed).tolist()

    assert draw(4) == draw(4) == draw(np.random.default_rng(4)) != draw(5)
    assert draw(4, n=20) == draw(4)[:20]


# --- What cannot be ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: per_token_loss(0.0), "scale: 0 is not a finite number above 0"),
        (lambda: per_token_loss([1.0, -2.0]), "scale: -2 is not a finite number above 0"),
        (lambda: per_token_loss([1.0, INF]), "scale: inf is not a finite number above 0"),
        (lambda: per_token_loss("large"), "scale: not numbers"),
        (lambda: per_token_loss(1.0, alpha=0.0), "alpha: 0.0 is not a negative number"),
        (lambda: per_token_loss(1.0, alpha=math.nan), "alpha: nan is not a negative number"),
        (lambda: per_token_loss(1.0, c=0.0), "c: 0 is not a finite number above 0"),
        (lambda: expected_accuracy(-0.1, target_length=1), "loss: -0.1 is negative"),
        (lambda: expected_accuracy(0.1, target_length=0), "target_length: 0 is not a whole number"),
        (lambda: expected_accuracy(0.1, target_length=1.5), "target_length: 1.5 is not a whole"),
        (lambda: expected_token_edit_distance(0.1, target_length=[1, -3]), "target_length: -3 is"),
        (lambda: sample_right_tokens(0.1, target_length=2, n_examples=0), "n_examples: 0 is no"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(InputError, match=message):
        call()
