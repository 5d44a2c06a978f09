"""Evidence on curves: what each analysis says by itself, in one row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_EVIDENCE, CURVE_SCORES
from bigbench_meta.inference.curve_evidence import _COLUMNS, curve_evidence
from bigbench_meta.inference.nulls.null_tests import default_replicates
from bigbench_meta.inference.uncertainty import curve_intervals


def curves_of(*tasks: str, **changed: object) -> bm.Curves:
    observations = bm.load_embedded()
    chosen = observations[observations["task"].isin(tasks) & (observations["shots"] == 0)]
    return bm.build_curves(chosen.assign(**changed))


@pytest.fixture(scope="module")
def curves() -> bm.Curves:
    return curves_of("arithmetic 3D+", "PIQA", "LAMBADA", "SQuADv2")


@pytest.fixture(scope="module")
def found(curves: bm.Curves) -> pd.DataFrame:
    return curve_evidence(curves, n_boot=99, seed=3)


def test_columns_are_those_declared_and_each_comes_from_one_analysis():
    ours = [name for columns in _COLUMNS.values() for name in columns] + ["n_boot"]
    assert sorted(ours) == sorted(CURVE_EVIDENCE.names)
    assert not set(ours) & set(CURVE_SCORES.names)


def test_it_is_what_each_analysis_says_by_itself(curves: bm.Curves, found: pd.DataFrame):
    alone = {
        "intervals": curve_intervals(curves, n_boot=99, seed=3),
        "mechanism": bm.null_tests(curves, n_boot=99, seed=3),
        "family": bm.null_tests(curves, n_boot=99, seed=3, variation="family", goodness=False),
        "line": bm.null_tests(curves, null="line", n_boot=99, seed=3),
        "wei": bm.wei_emergence(curves, seed=3),
        "resolution": bm.resolution(curves),
        "convexity": bm.convexity(curves, n_boot=199, seed=3),
        "shapes": bm.curve_shapes(curves),
        "forecast": bm.forecast_curves(curves, k="last"),
    }
    assert len(alone["forecast"]) == len(curves)
    for name, columns in _COLUMNS.items():
        for ours, theirs in columns.items():
            pd.testing.assert_series_equal(
                found[ours], alone[name][theirs], check_names=False, check_index=False
            )


def test_score_curves_adds_it(curves: bm.Curves, found: pd.DataFrame):
    scores = bm.score_curves(curves, inference=True, n_boot=99, seed=3)
    assert list(scores) == [*CURVE_SCORES.names, *CURVE_EVIDENCE.names]
    pd.testing.assert_frame_equal(scores[CURVE_EVIDENCE.names], found)
    pd.testing.assert_frame_equal(scores[CURVE_SCORES.names], bm.score_curves(curves))


def test_a_curve_has_the_same_interval_and_p_values_among_others(
    curves: bm.Curves, found: pd.DataFrame
):
    is_first = np.arange(len(curves)) == 0
    alone = curve_evidence(curves[is_first], n_boot=99, seed=3)
    names = ["emergence_low", "emergence_high", "mechanism_p", "line_p", "forecast"]
    pd.testing.assert_frame_equal(alone[names], found.loc[[0], names])


@pytest.mark.parametrize("variation", ["curve", "family"])
def test_one_of_the_two_variations(curves: bm.Curves, found: pd.DataFrame, variation: str):
    one = curve_evidence(curves, n_boot=99, seed=3, variation=variation)
    asked, not_asked = ("mechanism", "family")[:: 1 if variation == "curve" else -1]
    for name in ("p", "q_bh", "status"):
        pd.testing.assert_series_equal(one[f"{asked}_{name}"], found[f"{asked}_{name}"])
    assert one[f"{not_asked}_p"].isna().all()
    assert set(one[f"{not_asked}_status"]) == {"not_asked"}
    assert set(one[f"{not_asked}_n_searched"]) == {0}


def test_power_laws_steeper_than_any_published_are_smooth_if_they_are_allowed():
    scales = list(np.logspace(9, 11, 8))
    table = bm.simulate(n_examples=2000, seed=1, alpha=-1.0, target_lengths=[1], scales=scales)
    curves = bm.build_curves(table[table["metric"] == "exact_str_match"])
    narrow, wide = (
        curve_evidence(curves, n_boot=199, variation="curve", alpha_range=(0.0, most)).iloc[0]
        for most in (0.35, 3.0)
    )
    assert (narrow["mechanism_at_bound"], wide["mechanism_at_bound"]) == ("upper", "")
    assert narrow["mechanism_p"] < 0.05 < wide["mechanism_p"]
    assert wide["mechanism_alpha"] == pytest.approx(1.0, rel=0.2)


def test_without_sizes_of_test_sets_reasons_stand_in_place_of_numbers():
    found = curve_evidence(curves_of("arithmetic 3D+", n_examples=None), n_boot=99).iloc[0]
    assert np.isnan(
        [found["emergence_low"], found["p_above_threshold"], found["mechanism_p"]]
    ).all()
    assert found["interval_status"] == "no_sampling_error"
    assert found["mechanism_status"] == "no_test_set"
    assert found["line_status"] == "ok"
    assert 0 < found["line_p"] <= 1
    assert found["wei_emergent"] == "cannot_tell"


@pytest.mark.parametrize("n_models", [1, 2])
def test_curves_of_too_few_models_have_a_row_and_reasons(n_models: int):
    observations = bm.load_embedded()
    chosen = observations[(observations["task"] == "PIQA") & (observations["shots"] == 0)]
    found = curve_evidence(bm.build_curves(chosen.head(n_models)), n_boot=99).iloc[0]
    assert found["forecast_status"] == "too_few_points"
    assert found["interval_status"] == "too_few_scales"
    assert found["mechanism_status"] == "too_few_scales"
    assert np.isnan(found["forecast"])


def test_no_curves():
    nothing = curves_of("no such task")
    assert list(curve_evidence(nothing)) == CURVE_EVIDENCE.names


def test_progress_comes_to_its_end_and_never_goes_back(curves: bm.Curves):
    calls: list[tuple[int, int]] = []
    curve_evidence(
        curves[np.arange(len(curves)) < 2], n_boot=99,
        progress=lambda done, whole: calls.append((done, whole)),
    )  # fmt: skip
    done, whole = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == whole[-1]
    assert len(set(whole)) == 1


@pytest.mark.parametrize("n_curves", [1, 49, 189, 499, 10**6])
def test_replicates_are_enough_to_survive_alone(n_curves: int):
    n_boot = default_replicates(n_curves)
    assert 999 <= n_boot <= 9999
    if n_boot < 9999:
        assert 1 / (1 + n_boot) < 0.05 / n_curves


def test_wrong_variation(curves: bm.Curves):
    with pytest.raises(InputError, match="variation: 'none'"):
        curve_evidence(curves, variation="none")


@pytest.mark.parametrize("n_boot", [0, -1, True])
def test_wrong_number_of_replicates(curves: bm.Curves, n_boot: int):
    with pytest.raises(InputError, match="n_boot"):
        curve_evidence(curves, n_boot=n_boot)
