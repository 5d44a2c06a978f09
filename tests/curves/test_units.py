"""Scores outside the range of their metric: reported, and never on a curve with others."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.curves.units import CODES, check_range

NAN = math.nan
SIZES = [10**6, 10**7, 10**8, 10**9]


def observations(scores, **columns):
    names = [f"m{place}" for place in range(len(scores))]
    return pd.DataFrame(
        {"benchmark": "b", "task": "t", "metric": "acc", "model_family": "f", "model_name": names}
        | {"total_params": SIZES[: len(scores)], "score": scores, "n_examples": 2000}
        | columns
    )


def scored(frame, **options):
    return bm.score_curves(bm.build_curves(frame, **options)).iloc[0]


values = st.one_of(
    st.sampled_from([*CODES, 0.0, 1.0, 1 + 1e-12, -1e-12, NAN]), st.floats(-200, 200)
)


@given(score=st.lists(values, max_size=8), ends=st.sampled_from([(0, 1), (-1, 1), (0, NAN)]))
def test_each_score_is_compared_with_its_range(score, ends):
    low, high = ends
    n = len(score)
    found = check_range(
        np.array(score, dtype=float), np.full(n, 1.5), np.full(n, float(low)), np.full(n, high)
    )
    for place, value in enumerate(score):
        slack = 1e-9 * (high - low if high == high else abs(value))
        outside = value < low - slack or value > high + slack
        assert found.code[place] == (outside and value in (-1, -100))
        assert found.outside[place] == (outside and value not in (-1, -100))
        assert found.stderr[place] == (high - low < 1.5 and not outside)


def test_a_curve_in_two_units_has_no_score():
    row = scored(observations([0.1, 0.2, 45.0, 60.0]))
    assert row["status"] == "mixed_units"
    assert (row["n_scales"], row["n_missing"]) == (0, 4)
    assert math.isnan(row["emergence_score"])


def test_a_score_of_zero_is_one_in_any_unit():
    row = scored(observations([0.0, 0.0, 10.0, 60.0]))
    plain = scored(observations([0.0, 0.0, 0.1, 0.6]))
    assert row["status"] == plain["status"] == "ok"
    assert row["emergence_score"] == pytest.approx(plain["emergence_score"])
    # In percent one example is not 1/2000.
    assert math.isnan(row["resolution"])
    assert math.isnan(row["resolution_limited_score"])
    assert plain["resolution"] == 1 / 2000


def test_a_catalog_can_say_that_scores_are_in_percent(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "metric,low,high,step,higher_is_better,metric_type\nacc,0,100,100,true,discontinuous\n"
    )
    catalog = MetricCatalog.read(path)
    frame = observations([0.1, 0.2, 45.0, 60.0])
    curves = bm.build_curves(frame, catalog=catalog)
    row = bm.score_curves(curves, catalog=catalog).iloc[0]
    assert (row["status"], row["resolution"]) == ("ok", 100 / 2000)
    assert bm.unit_problems(frame, catalog=catalog).empty


@pytest.mark.parametrize("code", CODES)
def test_codes_for_not_measured_are_missing(code):
    frame = observations([0.1, 0.2, code, 0.6])
    row = scored(frame)
    assert (row["status"], row["n_scales"], row["n_missing"]) == ("ok", 3, 1)
    assert bm.unit_problems(frame)["reason"].tolist() == [
        f"{code:g}, a code for a score that was not measured"
    ]
    # A correlation can be -1.
    if code == -1:
        assert scored(frame.assign(metric="mcc"))["n_scales"] == 4


def test_a_standard_error_beyond_the_range_is_none():
    frame = observations([0.1, 0.2, 0.4, 0.6], stderr=[0.01, 1.2, 0.01, 0.01])
    curves = bm.build_curves(frame)
    assert np.isnan(curves.stderr).tolist() == [False, True, False, False]
    assert bm.unit_problems(frame)["reason"].tolist() == [
        "a standard error of 1.2, but acc goes from 0 to 1: in percent?"
    ]


def test_problems_name_file_metric_and_model():
    frame = observations([0.1, 45.0, 46.0, 0.2], source=["a", "b", "b", "c"], shots=[0, 0, 1, 0])
    frame = frame.assign(model_name=["m0", "m1", "m1", "m3"], total_params=[1, 2, 2, 3])
    (row,) = bm.unit_problems(frame).to_dict("records")
    assert row == {
        "source": "b", "field": "t, acc, m1", "severity": "warning",
        "reason": "45 and 1 more, but acc goes from 0 to 1: in percent?",
    }  # fmt: skip
    assert bm.unit_problems(frame.head(0)).empty
    assert bm.unit_problems(frame.assign(metric="of my own")).empty


def sized(sizes, names=None, **columns):
    frame = observations([0.1, 0.2, 0.3, 0.4][: len(sizes)], **columns)
    names = names or frame["model_name"]
    return frame.assign(total_params=sizes, model_name=names, n_examples=None)


def test_a_size_that_contradicts_the_name_is_not_used():
    names = ["pythia-1b", "llama-7b", "gpt2-xl", "nobody"]
    frame = sized([1, 6_700, 1557, 12], names, source="f.csv")
    row = scored(frame)
    assert (row["n_scales"], row["n_missing"]) == (1, 3)  # nothing speaks against a model of 12
    assert bm.unit_problems(frame)["reason"].tolist() == [
        "1, but the name pythia-1b states about 1.01e+09: in billions? Not used",
        "6700, but the name llama-7b states about 6.74e+09: in millions? Not used",
        "1557, but the name gpt2-xl states about 1.56e+09: in millions? Not used",
    ]
    sound = sized([10**9, 7 * 10**9, 1_600_000_000, 12], names)
    assert scored(sound)["n_scales"] == 4
    assert bm.unit_problems(sound).empty


def test_sizes_of_one_model_that_contradict_each_other():
    frame = sized([10**9, 2 * 10**9, 10**10], ["nobody", "nobody", "another"], shots=[0, 1, 0])
    assert bm.score_curves(bm.build_curves(frame))["n_missing"].tolist() == [1, 1]
    assert bm.unit_problems(frame)["reason"].tolist() == [
        "1e+09, but nobody has another size elsewhere: not used",
        "2e+09, but nobody has another size elsewhere: not used",
    ]
    # Of a name that states a size, the size nearest to it counts.
    named = frame.assign(model_name=["owl-2b", "owl-2b", "another"])
    assert bm.score_curves(bm.build_curves(named))["n_missing"].tolist() == [1, 0]
    # Counted and rounded sizes are alike.
    alike = frame.assign(total_params=[1_000_000_000, 1_010_000_000, 10**10])
    assert bm.unit_problems(alike).empty
