"""The tests of every curve as a table: inputs, guess rates, corrections, statuses, GPT-3."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT
from hypothesis import given
from null_curves import JUMP, SCALES, SMOOTH, curves_of, observations
from strategies import FEWER, observation_rows, to_frame

import bigbench_meta as bm
from bigbench_meta import build_curves, load_embedded, null_tests
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.goodness_of_fit import goodness_of_fit
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.irreducible import least_scatter
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.null_tests import STATUSES, variation_of_families


def without_corrections(frame):
    keys = frame.select_dtypes("category").columns
    texts = frame.astype(dict.fromkeys(keys, str))
    return texts.drop(columns=["q_bh", "q_by", "p_holm", "n_searched"])


@pytest.mark.parametrize(
    ("frame", "options", "status"),
    [
        (observations(SMOOTH), {}, "ok"),
        (observations(SMOOTH, n=np.nan), {}, "no_test_set"),
        (observations(SMOOTH, n=np.nan), {"n_examples": 100}, "ok"),
        (observations(SMOOTH[:3]), {}, "too_few_scales"),
        (observations([0.5] * 6), {}, "flat"),
        (observations(SMOOTH + 2), {}, "score_out_of_range"),
        (observations(SMOOTH, "bleurt"), {}, "no_range"),
        (observations([0.0] * 5 + [0.005]), {}, "no_information"),
        (observations([0.0, 0.0, 0.005, 0.0, 0.0, 0.0]), {}, "few_replicates"),
        (observations(SMOOTH, "multiple_choice_grade"), {}, "ok"),
    ],
)
def test_statuses(frame, options, status):
    row = null_tests(curves_of(frame), n_boot=39, **options).iloc[0]
    assert row["status"] == status
    assert row["status"] in STATUSES
    assert math.isnan(row["p_step"]) == (status != "ok")
    assert row["n_searched"] == (status == "ok")


@pytest.mark.parametrize("low", [0.0, 0.25])
def test_the_largest_p_value_over_the_nuisance_grid_counts(low):
    scores = [0.26, 0.24, 0.27, 0.3, 0.5, 0.7]
    frame = observations(scores, "multiple_choice_grade", low_score=low, high_score=1.0)
    curves = curves_of(frame)
    inputs = null_inputs(curves)
    assert len(inputs.curve) == (3 if low else 14)
    irreducible = least_scatter(inputs.rows)
    inputs = replace(inputs, rows=replace(inputs.rows, irreducible=irreducible))
    rows = mechanism_null(inputs.rows, n_boot=99)
    row = null_tests(curves, n_boot=99, stop_after=None).iloc[0]
    assert row["p_step"] == np.nanmax(rows.p_step)
    assert row["p_sharpness"] == np.nanmax(rows.p_sharpness)
    assert row["floor"] == inputs.rows.floor[np.nanargmax(rows.p_step)]
    assert row["irreducible"] == irreducible[np.nanargmax(rows.p_step)]
    fits = goodness_of_fit(inputs.rows)
    assert row["deviance"] == fits.deviance.min()
    assert row["p_fit"] == fits.p_value[fits.deviance.argmin()]


@pytest.mark.full
def test_stopping_saves_nuisance_settings_only_where_p_values_are_large():
    rng = np.random.default_rng(0)
    frames = [
        observations(
            np.sort(rng.binomial(50, rng.uniform(0.2, 0.9, 6))) / 50, "multiple_choice_grade",
            task=f"t{i}", low_score=0.0, n=50,
        )
        for i in range(12)
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


def test_some_curves_with_the_variation_of_their_families_among_all():
    curves = build_curves(load_embedded("gpt3"))
    some = np.arange(len(curves)) % 20 == 3
    known = variation_of_families(curves)
    whole = null_tests(curves, n_boot=19, variation="family", goodness=False)
    part = null_tests(
        curves[some], n_boot=19, goodness=False,
        variation=[one for one, chosen in zip(known, some, strict=True) if chosen],
    )  # fmt: skip
    expected = whole[some].reset_index(drop=True)
    assert (part["sigma_source"] == expected["sigma_source"]).all()
    for name in ("p_step", "p_sharpness", "sigma_hat"):
        assert part[name].to_numpy() == pytest.approx(expected[name].to_numpy(), nan_ok=True)
    assert variation_of_families(curves[some & ~some]) == []


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
    tests = null_tests(curves, n_boot=19, chance=0.5)
    assert tests["floor_source"].tolist() == ["given"]
    assert tests["floor"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null": "none"}, "null: 'none'"),
        ({"variation": "all"}, "variation: 'all'"),
        ({"variation": -1.0}, "variation: -1.0 is not a number of at least 0"),
        ({"variation": math.nan}, "variation: nan is not a number of at least 0"),
        ({"n_boot": 5}, "n_boot: 5 is not a whole number of at least 19"),
        ({"stop_after": 0}, "stop_after: 0 is not a whole number of at least 1"),
        ({"alpha_range": (1.0, 0.0)}, "alpha_range"),
    ],
)
def test_what_is_wrong_is_said(options, message):
    curves = curves_of(observations(SMOOTH, "multiple_choice_grade", low_score=0.25))
    with pytest.raises(InputError, match=message):
        null_tests(curves, **options)


def test_progress_ends_with_all_rows():
    reports = []
    curves = curves_of(
        *family(3), observations(SMOOTH, "multiple_choice_grade", task="z", low_score=0.0)
    )
    null_tests(curves, n_boot=39, progress=lambda *now: reports.append(now))
    assert reports[-1][0] == reports[-1][1] == len(null_inputs(curves).curve)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_no_curves():
    curves = curves_of(observations(SMOOTH))[np.array([False])]
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


def test_along_a_loss_there_is_a_line_and_no_mechanism() -> None:
    sizes = 10.0 ** np.arange(7, 13)
    frame = pd.DataFrame({
        "benchmark": "b", "task": "t", "metric": "exact_str_match", "model_family": "f",
        "model_name": list("abcdef"), "total_params": sizes, "pretraining_loss": 1e7 / sizes,
        "score": [0.0, 0.01, 0.02, 0.3, 0.5, 0.9], "n_examples": 200,
    })  # fmt: skip
    along_loss = build_curves(frame, scale="pretraining_loss")
    by_size = build_curves(frame)
    (row,) = null_tests(along_loss, n_boot=99).to_dict("records")
    assert (row["status"], row["n_searched"]) == ("scale_is_a_loss", 0)
    line, expected = (
        null_tests(curves, null="line", n_boot=99).iloc[0] for curves in (along_loss, by_size)
    )
    # The loss is one over the size: the same line on a logarithmic axis.
    assert line["p_step"] == expected["p_step"]
    assert (line["step_from"], line["step_to"]) == tuple(
        1e7 / expected[["step_from", "step_to"]].astype(float)
    )
