"""What the mechanism is fitted to: proportions, sampling errors, guess rates, links and lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from null_curves import SMOOTH, curves_of, observations

from bigbench_meta import null_tests
from bigbench_meta.inference.nulls.inputs import (
    GUESS_RATES,
    REACHES,
    nuisance_grid,
    null_inputs,
)
from bigbench_meta.inference.nulls.links import BRIER, SHARE


def row_of(frame, **options):
    inputs = null_inputs(curves_of(frame), **options)
    return inputs, inputs.rows.y[: len(frame)], inputs.rows.trials[: len(frame)]


def test_a_proportion_is_itself():
    inputs, y, trials = row_of(observations(SMOOTH))
    assert y == pytest.approx(SMOOTH)
    assert (trials == 200).all()
    assert inputs.floor_source.tolist() == ["floor"]


def test_edit_distances_run_from_the_targets_length_to_zero():
    frame = observations(
        5 * (1 - SMOOTH), "token_edit_distance", low_score=5.0, high_score=0.0, n=100
    )
    inputs, y, trials = row_of(frame)
    assert y == pytest.approx(SMOOTH)
    assert (trials == 1000).all()
    assert inputs.problem.tolist() == [""]


def test_edit_distances_of_unknown_targets_try_their_lengths():
    frame = observations(5 * (1 - SMOOTH), "token_edit_distance")
    curves = curves_of(observations(SMOOTH, task="a"), frame, observations(SMOOTH, task="z"))
    inputs = null_inputs(curves, n_examples=np.array([200.0, 200.0, 200.0]))
    assert inputs.curve.tolist() == [0, 1, 1, 1, 1, 2]
    largest = 5 * (1 - SMOOTH).max()
    for row, reach in enumerate(REACHES, start=1):
        y = inputs.rows.y[inputs.rows.ragged.curve == row]
        assert y == pytest.approx(1 - 5 * (1 - SMOOTH) / (largest / reach))
    assert inputs.rows.floor[1:5].tolist() == [0.0] * 4
    tests = null_tests(curves, n_boot=39)
    assert tests["floor_source"].tolist() == ["floor", "length", "floor"]
    assert (tests["status"] == "ok").all()
    # The length that is stated is one of those that might have been.
    stated = observations(
        5 * (1 - SMOOTH), "token_edit_distance", low_score=largest / 0.5, high_score=0.0
    )
    known = null_tests(curves_of(stated), n_boot=39, stop_after=None)["p_step"][0]
    every = null_tests(curves_of(frame), n_boot=39, stop_after=None)["p_step"][0]
    assert every >= known


def test_losses_and_perplexities_are_probabilities():
    right = np.maximum(SMOOTH, 0.01)
    inputs, y, _ = row_of(observations(1 / right, "perplexity"))
    assert y == pytest.approx(right)
    assert inputs.floor_source.tolist() == ["loss"]
    assert inputs.rows.floor.tolist() == [0.0]


def test_standard_errors_say_how_many_examples():
    stderr = np.sqrt(SMOOTH * (1 - SMOOTH) / 300)
    _, _, trials = row_of(observations(SMOOTH, "f1", n=np.nan, stderr=stderr))
    assert trials == pytest.approx(300)
    _, _, trials = row_of(observations(SMOOTH, n=np.nan, stderr=stderr))
    assert trials == pytest.approx(300)


# --- The nuisance grid ---


def test_every_guess_rate_is_tried_where_none_is_stated():
    y, trials = np.linspace(0.3, 0.8, 6), np.full(6, 100.0)
    found = nuisance_grid(y, trials, floor=math.nan, picks_choice=True, is_brier=False)
    rates = {rate for rate, link in found if link == SHARE}
    assert rates == {rate for rate in (*GUESS_RATES, 0.3) if rate < 0.8}
    assert {link.n_choices for _, link in found if link.kind == "grade"} == {2, 3, 4, 5}
    alone = nuisance_grid(y, trials, floor=math.nan, picks_choice=False, is_brier=False)
    assert alone == [(rate, SHARE) for rate in sorted(rates)]


def test_scores_clearly_below_chance_come_of_models_that_are_misled():
    y, trials = np.array([0.05, 0.1, 0.6]), np.full(3, 1000.0)
    found = nuisance_grid(y, trials, floor=0.25, picks_choice=True, is_brier=False)
    assert {rate for rate, _ in found} == {0.0, 0.05, 0.25}
    assert any(not link.from_chance for _, link in found)
    near = nuisance_grid(y + 0.2, trials, floor=0.25, picks_choice=True, is_brier=False)
    assert {rate for rate, _ in near} == {0.25}


def test_brier_scores_try_their_own_link():
    y, trials = np.linspace(0.3, 0.8, 6), np.full(6, 100.0)
    found = nuisance_grid(y, trials, floor=0.25, picks_choice=False, is_brier=True)
    assert found[:2] == [(0.25, BRIER), (0.25, SHARE)]
    # Sure models that know nothing: 1 + 1 / (kappa + 1) times the error of guessing.
    assert {link.concentration: rate for rate, link in found[2:]} == pytest.approx(
        {3.0: 0.0625, 10.0: 1 - 0.75 * 12 / 11, 100.0: 1 - 0.75 * 102 / 101}
    )
