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
        np.array(score, dtype=float), np.full(n, 0.75), np.full(n, float(low)), np.full(n, high)
    )
    for place, value in enumerate(score):
        slack = 1e-6 * (high - low if high == high else abs(value))
        outside = value < low - slack or value > high + slack
        assert found.code[place] == (outside and value in (-1, -100))
        assert found.outside[place] == (outside and value not in (-1, -100))
        assert found.stderr[place] == (high - low < 2 * 0.75 and not outside)


def test_a_score_of_single_precision_is_within_its_range():
    scores = np.array([0.3, 0.5, 0.9, np.nextafter(np.float32(1), np.float32(2))])
    frame = observations(scores, n_examples=None)
    assert bm.unit_problems(frame).empty
    assert (scored(frame)["status"], scored(frame)["n_scales"]) == ("ok", 4)


@pytest.mark.parametrize(
    ("metric", "score", "reason"),
    [
        ("acc", 1.00001, "1.00001, but acc goes from 0 to 1: in percent?"),
        ("perplexity", 0.5, "0.5, but perplexity is at least 1"),
        ("log_likelihood", 3.0, "3, but log_likelihood is at most 0"),
    ],
)
def test_a_range_is_told_as_far_as_it_is_known(metric, score, reason):
    found = bm.unit_problems(observations([score], metric=metric, n_examples=None))
    assert found["reason"].tolist() == [reason]


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


@pytest.mark.parametrize(
    ("metric", "scores", "ends"),
    [
        ("accuracy", [0.2, 0.3, 60.1, 70.0], (0.3, 60.1)),
        ("exact", [0.2, 0.3, 60.1, 70.0], (0.3, 60.1)),
        ("bleu", [0.2, 0.3, 0.0, 70.0], (0.3, 70)),
        ("rouge1", [45.0, 50.0, 0.6, 61.0], (0.6, 45)),
        ("my_accuracy", [0.2, 0.4, 60.0, 61.0], (0.4, 60)),
        ("bleu", [0.3, 0.9, 4.0, 30.0], None),  # rises without a gap
        ("accuracy", [0.6, 8.0, 30.0, 60.0], None),
        ("accuracy", [0.2, 0.3, 0.4, 1.0], None),
        ("accuracy", [20.0, 30.0, 40.0, 0.0], None),
        ("edit_distance", [0.2, 0.3, 60.0, 70.0], None),  # no unit but its own
        ("my loss", [0.2, 0.3, 60.0, 70.0], None),
        # Without an entry, whatever its name, if it can be a percentage.
        ("of my own", [0.2, 0.3, 60.0, 70.0], (0.3, 60)),
        ("win_rate", [0.31, 0.42, 55.0, 71.0], (0.42, 55)),
        ("Average", [0.31, 0.42, 55.0, 71.0], (0.42, 55)),
        ("average", [0.31, 0.42, 55.0, 71.0], (0.42, 55)),
        ("of my own", [0.2, 0.3, 60.0, 170.0], None),
        # The larger models as fractions: no score falls like that.
        ("bleu", [12.0, 18.0, 0.55, 0.61], (0.61, 12)),
        ("accuracy", [5.0, 8.0, 0.9, 0.95], (0.95, 5)),
        ("bleu", [2.0, 4.0, 0.4, 9.0], None),
    ],
)
def test_a_curve_that_may_be_in_two_units_is_asked_about(metric, scores, ends):
    frame = observations(scores, metric=metric, n_examples=None)
    reasons = bm.unit_problems(frame)["reason"].tolist()
    assert reasons == (
        [f"some scores are at most {ends[0]:g}, the others {ends[1]:g} or more: in one unit?"]
        if ends
        else []
    )
    assert scored(frame)["status"] == "ok"  # and nothing is left out


def test_scores_of_a_known_unit_or_of_two_curves_are_not_asked_about():
    frame = observations([0.1, 0.4, 26.8, 60.0], metric="acc", benchmark="gpt3")
    assert bm.unit_problems(frame).empty
    two = observations([0.2, 0.3, 60.1, 70.0], metric="accuracy", model_family=[*"ffgg"])
    assert bm.unit_problems(two).empty


@pytest.mark.parametrize(("stderr", "is_kept"), [(0.5, True), (0.51, False), (0.9, False)])
def test_a_standard_error_is_at_most_half_of_the_range(stderr, is_kept):
    # Of the values 0 and 1 the standard deviation is sqrt(1/2), and that of their mean 1/2.
    assert np.std([0, 1], ddof=1) / math.sqrt(2) == pytest.approx(0.5)
    frame = observations([0.2, 0.3, 0.4, 0.6], stderr=[0.01, stderr, 0.01, 0.01], n_examples=None)
    assert np.isnan(bm.build_curves(frame).stderr[1]) == (not is_kept)
    assert bm.unit_problems(frame).empty == is_kept


def test_a_standard_error_beyond_the_range_is_none():
    frame = observations([0.1, 0.2, 0.4, 0.6], stderr=[0.01, 1.2, 0.01, 0.01])
    curves = bm.build_curves(frame)
    assert np.isnan(curves.stderr).tolist() == [False, True, False, False]
    assert bm.unit_problems(frame)["reason"].tolist() == [
        "a standard error of 1.2, but acc goes from 0 to 1: in percent?"
    ]


@pytest.mark.parametrize(
    ("metric", "scores", "stderr", "n_examples", "is_kept"),
    [
        ("acc", [0.3, 0.4], 0.0039, 14042, True),
        ("acc", [0.3, 0.4], 0.39, 14042, False),  # in percent
        ("acc", [0.3, 0.4], 0.02, 14042, True),  # of examples in clusters
        ("acc", [0.3, 0.4], 0.39, None, True),
        ("acc", [0.0, 1.0], 0.01, 100, True),
        ("bleu", [30.0, 40.0], 0.4, 1000, True),
        ("acc", [0.3, 0.4], 0.000039, 14042, False),  # of right and wrong answers never so small
    ],
)
def test_a_standard_error_is_compared_with_the_number_of_examples(
    metric, scores, stderr, n_examples, is_kept
):
    frame = observations(scores, metric=metric, stderr=stderr, n_examples=n_examples)
    assert np.isnan(bm.build_curves(frame).stderr).tolist() == [not is_kept] * 2
    reasons = bm.unit_problems(frame)["reason"].tolist()
    told = f"a standard error of {stderr:g}, which its number of examples does not give: in another"
    assert reasons == ([] if is_kept else [f"{told} unit? Not used"] * 2)


def test_two_spellings_of_one_model_have_one_size():
    names = ["owl-1b", "owl-7b", "Owl_7B", "owl-13b"]
    frame = sized([10**9, 7 * 10**9, 6_900_000_000, 13 * 10**9], names)
    row = scored(frame)
    assert (row["n_scales"], row["n_same_size"]) == (3, 1)  # which is told first
    assert bm.unit_problems(frame).empty
    apart = sized([10**9, 7 * 10**9, 2 * 10**9, 13 * 10**9], ["a", "b c", "B-c", "d"])
    assert bm.unit_problems(apart)["reason"].tolist() == [
        "7e+09, but b c has another size elsewhere: not used",
        "2e+09, but B-c has another size elsewhere: not used",
    ]


def test_a_size_by_a_rule_of_the_user_goes_before_the_name():
    names = ["owl-1b", "owl-7b", "owl-7b"]
    sizes = [7 * 10**9, 47 * 10**9, 7 * 10**9]
    frame = sized(sizes, names, settings=['{"size_by_rule": "yes"}'] * 2 + [None], shots=[0, 0, 1])
    scores = bm.score_curves(bm.build_curves(frame))
    assert scores["n_scales"].tolist() == [2, 0]
    assert bm.unit_problems(frame)["reason"].tolist() == [
        "7e+09, but the name owl-7b states about 4.7e+10. Not used"
    ]
    assert scores["variant"].isna().all()


def test_problems_name_file_metric_and_model():
    frame = observations([0.1, 45.0, 46.0, 0.2], source=["a", "b", "b", "c"], shots=[0, 0, 1, 0])
    frame = frame.assign(model_name=["m0", "m1", "m1", "m3"])
    frame = frame.assign(total_params=[10**6, 10**7, 10**7, 10**8])
    (row,) = bm.unit_problems(frame).to_dict("records")
    assert row == {
        "source": "b", "field": "t, acc, m1", "severity": "warning",
        "reason": "45 and 1 more, but acc goes from 0 to 1: in percent?",
    }  # fmt: skip
    assert bm.unit_problems(frame.head(0)).empty
    assert bm.unit_problems(frame.assign(metric="of my own", score=[0.1, 0.45, 0.46, 0.2])).empty


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
        "12, few for the parameters of nobody: in millions or billions?",
    ]
    sound = sized([10**9, 7 * 10**9, 1_600_000_000, 1_200_000], names)
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
    # A name rounds: what it states and what was counted are no contradiction, and one of them
    # counts for all scores of the model.
    nominal = sized(
        [751_632_384, 600_000_000, 4_022_468_096, 4_000_000_000],
        ["Heron-0.6B", "Heron-0.6B", "Heron-4B", "Heron-4B"],
        shots=[0, 1, 0, 1],
    )
    assert bm.unit_problems(nominal).empty
    points = bm.build_curves(nominal).points()
    assert points.groupby("model_name")["x"].unique().map(list).to_dict() == {
        "Heron-0.6B": [600_000_000], "Heron-4B": [4_000_000_000]
    }  # fmt: skip
    # Counted and rounded sizes are alike.
    alike = frame.assign(total_params=[1_000_000_000, 1_010_000_000, 10**10])
    assert bm.unit_problems(alike).empty


@pytest.mark.parametrize(
    ("sizes", "names", "used"),
    [
        ([7 * 10**9, 13 * 10**9], ["llama-13b", "llama-7b"], 0),  # exchanged
        ([7 * 10**9, 13 * 10**9], ["llama-7b", "llama-13b"], 2),
        ([186 * 10**6, 470 * 10**6], ["gpt-sw3-126m", "gpt-sw3-356m"], 2),
        ([18_915_328, 162_322_944], ["pythia-19m", "pythia-125m"], 2),
        ([46_702_792_704, 30_500_000_000], ["mixtral-8x7b", "qwen3-30b-a3b"], 2),
    ],
)
def test_names_round_sizes_but_not_to_the_next_model(sizes, names, used):
    frame = sized(sizes, names)
    assert scored(frame)["n_scales"] == used
    assert len(bm.unit_problems(frame)) == len(sizes) - used


def test_a_name_may_count_embeddings_or_not():
    # BIG-G's are named without them; Pythia's with them.
    frame = sized([18_874_368, 70_426_624], ["BIG-G-2m", "pythia-70m"])
    frame = frame.assign(non_embedding_params=[2_098_048, 18_915_328])
    assert bm.unit_problems(frame).empty
    assert bm.unit_problems(frame.assign(total_params=None)).empty
    assert scored(frame)["n_scales"] == 2


def test_small_sizes_are_asked_about_and_not_used_beside_large_ones():
    names = ["s", "m", "l"]
    frame = sized([7, 13, 70], names)
    question = "few for the parameters of s: in millions or billions?"
    assert bm.unit_problems(frame)["reason"].tolist()[0] == f"7, {question}"
    assert scored(frame)["n_scales"] == 3
    mixed = sized([7, 13 * 10**9, 70 * 10**9], names)
    assert bm.unit_problems(mixed)["reason"].tolist() == [f"7, {question} Not used"]
    assert scored(mixed)["n_scales"] == 2
    # In millions beside others: no family has such a gap.
    mixed = sized([7_000, 13_000, 10**9, 3 * 10**9], ["a", "b", "c", "d"])
    assert bm.unit_problems(mixed)["reason"].tolist() == [
        f"{size}, few for the parameters of {name}: in millions or billions? Not used"
        for size, name in (("7000", "a"), ("13000", "b"))
    ]
    assert scored(mixed)["n_scales"] == 2
    # The smallest model that is trained here has 560 parameters.
    assert bm.unit_problems(sized([560, 10**5, 3 * 10**8], names)).empty


def test_a_size_off_its_name_by_no_unit_is_told_in_whole_sentences():
    (reason,) = bm.unit_problems(sized([13 * 10**9], ["owl-7b"]))["reason"]
    assert reason == "1.3e+10, but the name owl-7b states about 7e+09. Not used"
