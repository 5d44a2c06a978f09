"""The tests of every curve as a table: inputs, guess rates, corrections, statuses, GPT-3."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER, observation_rows, to_frame

import bigbench_meta as bm
from bigbench_meta import adjusted_p_values, build_curves, load_embedded, null_tests
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.goodness_of_fit import goodness_of_fit
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.links import BRIER, SHARE
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.nuisance_grid import GUESS_RATES, candidates
from bigbench_meta.inference.nulls.null_tests import STATUSES
from bigbench_meta.inference.nulls.target_lengths import REACHES, all_inputs

SCALES = 10.0 ** np.arange(6, 12)
SMOOTH = np.round(np.exp(-np.exp(1.0 - 0.3 * np.log(SCALES / 1e8))), 2)
JUMP = np.array([0.02, 0.03, 0.03, 0.04, 0.85, 0.9])


def observations(scores, metric="exact_str_match", *, task="t", n=200, **columns):
    """One curve."""
    size = len(scores)
    return pd.DataFrame(
        {
            "benchmark": "b", "task": task, "model_family": "f", "metric": metric,
            "model_name": [f"m{i}" for i in range(size)], "total_params": SCALES[:size],
            "score": np.asarray(scores, dtype=float), "n_examples": n,
        }
        | columns
    )  # fmt: skip


def curves_of(*frames):
    return build_curves(pd.concat(frames, ignore_index=True))


def without_corrections(frame):
    keys = frame.select_dtypes("category").columns
    texts = frame.astype(dict.fromkeys(keys, str))
    return texts.drop(columns=["q_bh", "q_by", "p_holm", "n_searched"])


# --- Corrections ---


def by_hand(p):
    """Benjamini-Hochberg, Benjamini-Yekutieli and Holm from their definitions."""
    m = len(p)
    order = sorted(range(m), key=lambda i: p[i])
    harmonic = sum(1 / rank for rank in range(1, m + 1))
    bh, by, holm = [0.0] * m, [0.0] * m, [0.0] * m
    for place, i in enumerate(order):
        later = [(p[order[j]], j + 1) for j in range(place, m)]
        bh[i] = min(min(m * value / rank for value, rank in later), 1.0)
        by[i] = min(min(harmonic * m * value / rank for value, rank in later), 1.0)
        holm[i] = min(max((m - j) * p[order[j]] for j in range(place + 1)), 1.0)
    return bh, by, holm


@given(st.lists(st.floats(1e-6, 1.0) | st.just(math.nan), max_size=12))
def test_corrections_are_their_definitions(p):
    found = adjusted_p_values(p)
    known = [value for value in p if not math.isnan(value)]
    tested = ~np.isnan(np.array(p, dtype=float))
    for name, expected in zip(("q_bh", "q_by", "p_holm"), by_hand(known), strict=True):
        assert found[name][tested].tolist() == pytest.approx(expected)
        assert found[name][~tested].isna().all()
    assert (found["n_searched"] == len(known)).all()


# --- Inputs ---


def row_of(frame, **options):
    inputs = null_inputs(curves_of(frame), **options)
    return inputs, inputs.y[: len(frame)], inputs.trials[: len(frame)]


def test_a_proportion_is_itself():
    inputs, y, trials = row_of(observations(SMOOTH))
    assert y == pytest.approx(SMOOTH)
    assert (trials == 200).all()
    assert inputs.floor_source.tolist() == ["floor"]


def test_edit_distances_run_from_the_targets_length_to_zero():
    frame = observations(
        5 * (1 - SMOOTH), "token_edit_distance", low_score=5.0, high_score=0.0, n=100
    )
    inputs, y, trials = row_of(frame, parts=5)
    assert y == pytest.approx(SMOOTH)
    assert (trials == 500).all()
    assert inputs.problem.tolist() == [""]


def test_edit_distances_of_unknown_targets_try_their_lengths():
    frame = observations(5 * (1 - SMOOTH), "token_edit_distance")
    curves = curves_of(observations(SMOOTH, task="a"), frame, observations(SMOOTH, task="z"))
    inputs = all_inputs(curves, n_examples=np.array([200.0, 200.0, 200.0]))
    assert inputs.curve.tolist() == [0, 1, 1, 1, 1, 2]
    largest = 5 * (1 - SMOOTH).max()
    for row, reach in enumerate(REACHES, start=1):
        y = inputs.y[inputs.offsets[row] : inputs.offsets[row + 1]]
        assert y == pytest.approx(1 - 5 * (1 - SMOOTH) / (largest / reach))
    assert inputs.floor[1:5].tolist() == [0.0] * 4
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
    assert inputs.floor.tolist() == [0.0]


def test_standard_errors_say_how_many_examples():
    stderr = np.sqrt(SMOOTH * (1 - SMOOTH) / 300)
    _, _, trials = row_of(observations(SMOOTH, "f1", n=np.nan, stderr=stderr))
    assert trials == pytest.approx(300)
    _, _, trials = row_of(observations(SMOOTH, n=np.nan, stderr=stderr))
    assert trials == pytest.approx(300)


@pytest.mark.parametrize(
    ("frame", "options", "status"),
    [
        (observations(SMOOTH), {}, "ok"),
        (observations(SMOOTH, n=np.nan), {}, "no_test_set"),
        (observations(SMOOTH, n=np.nan), {"n_examples": 100}, "ok"),
        (observations(SMOOTH[:3]), {}, "too_few_scales"),
        (observations(SMOOTH[:5]), {"min_scales": 6}, "too_few_scales"),
        (observations([0.5] * 6), {}, "flat"),
        (observations(SMOOTH * 1.5), {}, "score_out_of_range"),
        (observations(SMOOTH, "bleurt"), {}, "no_range"),
        (observations([0.0] * 5 + [0.005]), {}, "no_information"),
        (observations([0.0] * 4 + [0.005, 0.0]), {}, "few_replicates"),
        (observations(SMOOTH, "multiple_choice_grade"), {}, "ok"),
    ],
)
def test_statuses(frame, options, status):
    row = null_tests(curves_of(frame), n_boot=39, **options).iloc[0]
    assert row["status"] == status
    assert row["status"] in STATUSES
    assert math.isnan(row["p_step"]) == (status != "ok")
    assert row["n_searched"] == (status == "ok")


# --- Candidates ---


def test_every_guess_rate_is_tried_where_none_is_stated():
    y, trials = np.linspace(0.3, 0.8, 6), np.full(6, 100.0)
    found = candidates(y, trials, floor=math.nan, picks_choice=True, is_brier=False)
    rates = {rate for rate, link in found if link == SHARE}
    assert rates == {rate for rate in (*GUESS_RATES, 0.3) if rate < 0.8}
    assert {link.n_choices for _, link in found if link.kind == "grade"} == {2, 3, 4, 5}
    alone = candidates(y, trials, floor=math.nan, picks_choice=False, is_brier=False)
    assert alone == [(rate, SHARE) for rate in sorted(rates)]


def test_scores_clearly_below_chance_come_of_models_that_are_misled():
    y, trials = np.array([0.05, 0.1, 0.6]), np.full(3, 1000.0)
    found = candidates(y, trials, floor=0.25, picks_choice=True, is_brier=False)
    assert {rate for rate, _ in found} == {0.0, 0.05, 0.25}
    assert any(not link.from_chance for _, link in found)
    near = candidates(y + 0.2, trials, floor=0.25, picks_choice=True, is_brier=False)
    assert {rate for rate, _ in near} == {0.25}


def test_brier_scores_try_their_own_link():
    y, trials = np.linspace(0.3, 0.8, 6), np.full(6, 100.0)
    found = candidates(y, trials, floor=0.25, picks_choice=False, is_brier=True)
    assert found[:2] == [(0.25, BRIER), (0.25, SHARE)]
    # Sure models that know nothing: 1 + 1 / (kappa + 1) times the error of guessing.
    assert {link.concentration: rate for rate, link in found[2:]} == pytest.approx(
        {3.0: 0.0625, 10.0: 1 - 0.75 * 12 / 11, 100.0: 1 - 0.75 * 102 / 101}
    )
    none = candidates(y, trials, floor=0.25, picks_choice=False, is_brier=True, concentrations=())
    assert none == [(0.25, BRIER), (0.25, SHARE)]


@pytest.mark.parametrize("low", [0.0, 0.25])
def test_the_largest_p_value_of_the_candidates_counts(low):
    scores = [0.26, 0.24, 0.27, 0.3, 0.5, 0.7]
    frame = observations(scores, "multiple_choice_grade", low_score=low, high_score=1.0)
    curves = curves_of(frame)
    inputs = null_inputs(curves)
    assert len(inputs.curve) == (3 if low else 14)
    rows = mechanism_null(
        inputs.y, inputs.x, inputs.trials, inputs.offsets,
        floor=inputs.floor, link=inputs.link, n_boot=99,
    )  # fmt: skip
    row = null_tests(curves, n_boot=99, stop_after=None).iloc[0]
    assert row["p_step"] == np.nanmax(rows.p_step)
    assert row["p_sharpness"] == np.nanmax(rows.p_sharpness)
    assert row["floor"] == inputs.floor[np.nanargmax(rows.p_step)]
    fits = goodness_of_fit(
        inputs.y, inputs.x, inputs.trials, inputs.offsets, floor=inputs.floor, link=inputs.link
    )
    assert row["deviance"] == fits.deviance.min()
    assert row["p_fit"] == fits.p_value[fits.deviance.argmin()]


def test_stopping_saves_candidates_only_where_nothing_hangs_on_them():
    rng = np.random.default_rng(0)
    frames = [
        observations(
            np.sort(rng.binomial(50, rng.uniform(0.2, 0.9, 6))) / 50, "multiple_choice_grade",
            task=f"t{i}", low_score=0.0, n=50,
        )
        for i in range(25)
    ]  # fmt: skip
    curves = curves_of(*frames)
    every = null_tests(curves, n_boot=99, stop_after=None, goodness=False)
    stopped = null_tests(curves, n_boot=99, stop_after=20, goodness=False)
    assert ((every["p_step"] <= 0.1) == (stopped["p_step"] <= 0.1)).mean() > 0.9
    assert (stopped["p_step"] - every["p_step"]).max() < 0.3
    assert (stopped["status"] == every["status"]).all()


# --- What results depend on ---


def family(m=6, seed=0):
    rng = np.random.default_rng(seed)
    loss = rng.uniform(-1, 1, (m, 1)) - 0.2 * (np.log(SCALES) - np.log(SCALES).mean())
    scores = rng.binomial(200, np.exp(-np.exp(loss + 0.3 * rng.standard_normal(loss.shape)))) / 200
    return [observations(row, task=f"t{i}") for i, row in enumerate(scores)]


def test_a_curve_does_not_depend_on_the_others():
    frames = family()
    together = without_corrections(null_tests(curves_of(*frames), n_boot=59))
    alone = without_corrections(null_tests(curves_of(frames[3]), n_boot=59))
    pd.testing.assert_frame_equal(alone, together.iloc[[3]].reset_index(drop=True))
    back = without_corrections(null_tests(curves_of(*frames[::-1]), n_boot=59))
    pd.testing.assert_frame_equal(back[::-1].reset_index(drop=True), together)


def test_falling_scores_are_rising_ones_upside_down():
    up = observations(SMOOTH, "made_up", low_score=0.0, high_score=1.0)
    down = observations(1 - SMOOTH, "made_down", low_score=1.0, high_score=0.0)
    columns = ["p_step", "step_score", "alpha_hat", "sigma_hat", "deviance", "floor"]
    for null in ("mechanism", "line"):
        first, second = (null_tests(curves_of(f), null=null, n_boot=39) for f in (up, down))
        pd.testing.assert_frame_equal(first[columns], second[columns], rtol=1e-6)


def test_percent_are_proportions():
    one = observations(SMOOTH, "made_up", low_score=0.0, high_score=1.0)
    hundred = observations(100 * SMOOTH, "made_up", low_score=0.0, high_score=100.0)
    first, second = (null_tests(curves_of(frame), n_boot=59) for frame in (one, hundred))
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)


@given(observation_rows())
@FEWER
def test_any_observations_are_answered(rows):
    """Every curve has a row; p-values are there exactly where the status is ok."""
    curves = build_curves(to_frame(rows))
    for null in ("mechanism", "line"):
        tests = null_tests(curves, null=null, n_boot=19, n_examples=20)
        assert len(tests) == len(curves)
        ok = tests["status"] == "ok"
        assert (tests["p_step"].notna() == ok).all()
        assert tests["p_step"].dropna().between(0, 1).all()
        assert set(tests["status"]) <= set(STATUSES)


# --- Options ---


def test_variation_may_be_given_or_of_the_family():
    curves = curves_of(*family(), observations(SMOOTH, task="u", model_family="g"))
    given_ = null_tests(curves, n_boot=19, variation=0.15, goodness=False)
    assert given_["sigma_hat"].tolist() == [0.15] * 7
    assert set(given_["sigma_source"]) == {"given"}
    pooled = null_tests(curves, n_boot=19, variation="family", goodness=False)
    assert pooled["sigma_source"].tolist() == ["family"] * 6 + ["curve"]
    assert pooled["sigma_hat"][:6].between(0.1, 0.8).all()
    assert null_tests(curves, n_boot=19, goodness=False)["deviance"].isna().all()


def test_guess_rates_may_be_given():
    curves = curves_of(observations(SMOOTH / 2 + 0.5, "multiple_choice_grade"))
    assert null_tests(curves, n_boot=19)["floor_source"].tolist() == ["profiled"]
    for options, source in (({"chance": 0.5}, "given"), ({"n_choices": 2}, "choices")):
        tests = null_tests(curves, n_boot=19, **options)
        assert tests["floor_source"].tolist() == [source]
        assert tests["floor"].tolist() == [0.5]
    every = null_tests(curves, n_boot=19, chance=0.5, profile_floor=True)
    assert every["floor_source"].tolist() == ["profiled"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null": "none"}, "null: 'none' is no null"),
        ({"variation": "all"}, "variation: 'all'"),
        ({"variation": -1.0}, "variation: -1.0 is no number from 0 on"),
        ({"variation": math.nan}, "variation: nan is no number from 0 on"),
        ({"parts": 0}, "parts: 0 is below 1"),
        ({"n_boot": 5}, "n_boot: 5 is below 19"),
        ({"stop_after": 0}, "stop_after: 0 is below 1"),
        ({"min_scales": 2}, "min_scales: 2 is below 4"),
        ({"alpha_range": (1.0, 0.0)}, "alpha_range"),
        ({"concentrations": (500.0,)}, "concentration: 500 is not between"),
    ],
)
def test_what_is_wrong_is_said(options, message):
    curves = curves_of(observations(SMOOTH, "multiple_choice_grade", low_score=0.25))
    with pytest.raises(InputError, match=message):
        null_tests(curves, **options)


def test_progress_ends_with_all_rows():
    told = []
    curves = curves_of(
        *family(3), observations(SMOOTH, "multiple_choice_grade", task="z", low_score=0.0)
    )
    null_tests(curves, n_boot=39, progress=lambda *now: told.append(now))
    assert told[-1][0] == told[-1][1] == len(null_inputs(curves).curve)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_no_curves():
    curves = curves_of(observations(SMOOTH)).select(np.array([False]))
    for null in ("mechanism", "line"):
        assert null_tests(curves, null=null).empty


def test_a_jump_is_found_and_a_smooth_rise_is_not():
    curves = curves_of(observations(SMOOTH, task="a"), observations(JUMP, task="b", n=2000))
    for null in ("mechanism", "line"):
        tests = null_tests(curves, null=null, variation=0.1, n_boot=399)
        assert tests["p_step"][0] > 0.1
        assert tests["p_step"][1] < 0.05
        assert (tests["step_from"][1], tests["step_to"][1]) == (1e9, 1e10)


# --- docs/nulls.md says what the library says ---

PAGE = ROOT / "docs" / "nulls.md"


def test_statuses_and_columns_of_the_page() -> None:
    if not PAGE.is_file():
        pytest.skip("needs the folder `docs`")
    text = PAGE.read_text("utf-8")
    assert all(f"`{name}`" in text for name in STATUSES if name != "ok")
    curves = build_curves(load_embedded())
    named = bm.flagged(bm.score_curves(curves)).sum()
    assert f"of the {named} flagged" in text
