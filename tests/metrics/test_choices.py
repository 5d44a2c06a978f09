"""Metrics of multiple choice against loops over options, and their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.ragged import Ragged
from bigbench_meta.metrics import choices

EXAMPLES = st.lists(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-60, 0), st.just(-math.inf)), st.sampled_from([0.0, 0.0, 0.5, 1.0])
        ),
        min_size=1,
        max_size=5,
    ),
    max_size=6,
)


def flat(examples):
    """Return the options of examples as flat arrays."""
    options = Ragged.of_lengths(np.array([len(one) for one in examples], dtype=np.int64))
    pairs = [pair for one in examples for pair in one]
    log_probs, values = (np.array([pair[i] for pair in pairs], dtype=float) for i in (0, 1))
    return options, log_probs, values


def normal(options, log_probs, values):
    return options, choices.normalised(options, log_probs), values


def shares(log_probs):
    """Return probabilities over the options of one example; None where there are none."""
    top = max(log_probs)
    if math.isinf(top):
        return None
    weights = [math.exp(one - top) for one in log_probs]
    return [weight / math.fsum(weights) for weight in weights]


def close(found, expected):
    for ours, theirs in zip(found.tolist(), expected, strict=True):
        if theirs is None:
            assert math.isnan(ours)
        else:
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def right_share(log_probs, values):
    p, best = shares(log_probs), max(values)
    if p is None or best <= 0:
        return None
    return math.fsum(share for share, value in zip(p, values, strict=True) if value == best)


def brier(log_probs, values):
    p, total = shares(log_probs), math.fsum(values)
    if p is None or total <= 0:
        return None
    return math.fsum((q - v / total) ** 2 for q, v in zip(p, values, strict=True))


def per_option(log_probs, values):
    p, total = shares(log_probs), math.fsum(values)
    if p is None:
        return None
    y = [v / total if total else 0.0 for v in values]
    return math.fsum(t * (q - 1) ** 2 + (1 - t) * q**2 for q, t in zip(p, y, strict=True))


def logarithm(share):
    if share is None:
        return None
    return math.log(share) if share else -math.inf


ORACLES = {
    choices.brier_score: brier,
    choices.brier_score_per_option: per_option,
    choices.probability: right_share,
    choices.log_likelihood: lambda log_probs, values: logarithm(right_share(log_probs, values)),
}


@pytest.mark.parametrize("function", ORACLES, ids=lambda f: f.__name__)
@given(examples=EXAMPLES)
def test_smooth_metrics_are_loops_over_options(function, examples):
    found = function(*normal(*flat(examples)))
    expected = [ORACLES[function]([p for p, _ in one], [v for _, v in one]) for one in examples]
    if function is choices.log_likelihood:  # exp underflows before its logarithm does
        found, expected = np.exp(found), [None if e is None else math.exp(e) for e in expected]
    close(found, expected)


@given(examples=EXAMPLES)
def test_the_chosen_option_is_the_most_probable_one(examples):
    options, log_probs, values = flat(examples)
    chosen = choices.chosen_option(options, log_probs)
    grade = choices.multiple_choice_grade(options, log_probs, values)
    brier_ = choices.chosen_option_brier(*normal(options, log_probs, values))
    # Normalising can round two nearly equal options to a tie.
    of_brier = choices.chosen_option(options, choices.normalised(options, log_probs))
    for one, place, other, begin, its_grade, its_brier in zip(
        examples, chosen, of_brier, options.offsets, grade, brier_, strict=False
    ):
        probability, worth = one[place - begin]
        assert probability == max(p for p, _ in one)
        assert its_grade == worth
        p = shares([p for p, _ in one])
        if p is None:
            assert math.isnan(its_brier)
        else:
            expected = (p[other - begin] - one[other - begin][1]) ** 2
            assert its_brier == pytest.approx(expected, abs=1e-12)


def test_ties_do_not_always_fall_on_the_first():
    rng = np.random.default_rng(0)
    log_probs = np.repeat(rng.normal(-9, 1, 400), 2)
    chosen = choices.chosen_option(Ragged.of_lengths(np.full(400, 2)), log_probs)
    assert 0.4 < (chosen % 2).mean() < 0.6
    assert np.array_equal(
        chosen, choices.chosen_option(Ragged.of_lengths(np.full(400, 2)), log_probs)
    )


@given(examples=EXAMPLES, shift=st.floats(-50, 50))
def test_only_differences_of_log_probabilities_count(examples, shift):
    options, log_probs, values = flat(examples)
    for function in (choices.brier_score, choices.probability):
        np.testing.assert_allclose(
            function(*normal(options, np.round(log_probs) + round(shift), values)),
            function(*normal(options, np.round(log_probs), values)),
            rtol=1e-9, atol=1e-12,
        )  # fmt: skip


@given(
    truth=st.lists(st.floats(0.01, 1), min_size=2, max_size=5),
    other=st.lists(st.floats(0.01, 1), min_size=5, max_size=5),
)
def test_proper_metrics_are_best_at_the_true_probabilities(truth, other):
    """Expected Brier and log score over answers drawn from the truth (Gneiting & Raftery 2007)."""
    k = len(truth)
    p, q = (np.array(one[:k]) / sum(one[:k]) for one in (truth, other))
    options = Ragged.of_lengths(np.full(k, k))
    worth = np.eye(k).ravel()
    for function, sign in ((choices.brier_score, -1), (choices.log_likelihood, 1)):
        own = sign * p @ function(options, np.log(np.tile(p, k)), worth)
        theirs = sign * p @ function(options, np.log(np.tile(q, k)), worth)
        assert own >= theirs - 1e-12


def test_the_chosen_options_brier_is_not_proper():
    """A forecast that lies about the options that are not chosen does no worse."""
    options, worth = Ragged.of_lengths(np.full(3, 3)), np.eye(3).ravel()
    truth, lie = np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.2, 0.3])
    for forecast in (truth, lie):
        score = choices.chosen_option_brier(options, np.log(np.tile(forecast, 3)), worth)
        assert truth @ score == pytest.approx(0.25)


def test_what_cannot_be_scored_is_missing():
    options = Ragged.of_lengths(np.array([0, 2, 2]))
    log_probs, values = np.array([-1.0, np.nan, -1.0, -2.0]), np.array([1.0, 0.0, 0.0, 0.0])
    for function in (
        choices.brier_score, choices.probability, choices.log_likelihood,
    ):  # fmt: skip
        assert np.isnan(function(*normal(options, log_probs, values))).all()
    assert choices.multiple_choice_grade(options, log_probs, values)[2] == 0


@given(examples=EXAMPLES)
def test_weighted_metrics_are_sums(examples):
    options, log_probs, values = flat(examples)
    close(
        choices.weighted_probability(options, log_probs, values),
        [math.fsum(v * math.exp(p) for p, v in one) for one in examples],
    )
    close(
        choices.weighted_log_likelihood(options, log_probs, values),
        [math.fsum(v * p for p, v in one if v) for one in examples],
    )
