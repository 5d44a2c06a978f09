"""Checking one claim: what is taken, what is found, its document, table and figure."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta.check.claim import ClaimCheck, check_claim, check_curve, sizes_of
from bigbench_meta.cli.console import json_text
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.inputs import null_inputs

NAMES = ["100M", "1B", "10B", "100B"]
SIZES = [1e8, 1e9, 1e10, 1e11]
JUMP = [0.02, 0.03, 0.05, 0.86]
SMOOTH = [0.124, 0.253, 0.423, 0.577]
METRIC = "exact_str_match"


def check(scores=JUMP, sizes=NAMES, *, metric=METRIC, n_examples=1000, **options):
    return check_claim(sizes, scores, metric=metric, n_examples=n_examples, **options)


@pytest.fixture(scope="module")
def jump():
    return check()


@pytest.fixture(scope="module")
def smooth():
    return check(SMOOTH)


@pytest.fixture(scope="module")
def two():
    """An exact match that jumps, and the edit distance of the same outputs, which does not."""
    return check(second_metric="token_edit_distance", second_scores=[4.0, 3.5, 3.0, 0.7])


# Sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (["350M", "1.3B", "1T"], [350e6, 1.3e9, 1e12]),
        ([" 2b ", "3e9", 7e9], [2e9, 3e9, 7e9]),
        (["125m", 356_000_000, "2650k"], [125e6, 356e6, 2.65e6]),
        (np.array([1e6, 1e7]), [1e6, 1e7]),
        (pd.Series(["1B", "2B"]), [1e9, 2e9]),
    ],
)
def test_sizes(sizes, expected):
    assert sizes_of(sizes) == pytest.approx(expected)


@pytest.mark.parametrize(
    "size", ["big", "", None, 0, -1e9, np.nan, np.inf, "nan", 1.3, "175", 1e30]
)
def test_no_sizes(size):
    with pytest.raises(InputError, match="is not a model size") as error:
        sizes_of(["1B", size])
    assert error.value.where == "sizes"
    assert "such as 1.3e9 or 1.3B" in str(error.value)


@pytest.mark.parametrize("sizes", [["1B", "1B"], ["1B", 1e9], ["1000M", "1B"]])
def test_sizes_that_are_there_twice(sizes):
    with pytest.raises(InputError, match="sizes: a size is given twice"):
        sizes_of(sizes)


# What is taken -----------------------------------------------------------------------------------


def test_the_order_and_the_spelling_of_sizes_do_not_matter(jump):
    for sizes, order in ((SIZES, [0, 1, 2, 3]), (NAMES, [2, 0, 3, 1])):
        other = check(np.array(JUMP)[order], [sizes[place] for place in order])
        assert other.numbers == pytest.approx(jump.numbers, nan_ok=True)
        assert other.paragraph == jump.paragraph


def test_verdicts(jump, smooth):
    assert (jump.verdict, jump.reason) == ("sharper", "step")
    assert (smooth.verdict, smooth.reason) == ("explained", "smooth")
    assert jump.second is None
    assert (jump.factor, jump.odds, jump.among) == (20, 20, 1)


def test_the_numbers_are_those_of_the_library(jump):
    curve = jump.curve
    assert curve.x.tolist() == SIZES
    assert curve.y.tolist() == JUMP
    row = bm.claim_verdicts(curve).iloc[0]
    for name in ("odds_step", "odds_rise", "p_step", "step_from"):
        assert jump.numbers[name] == pytest.approx(row[name])
    scores = bm.score_curves(curve).iloc[0]
    assert jump.numbers["emergence_score"] == scores["emergence_score"]
    assert jump.numbers["emergence_low"] <= scores["emergence_score"]
    assert jump.numbers["n_examples_min"] == 1000
    assert jump.numbers["forecast_observed"] is not None
    low, middle, high = (jump.numbers[f"smooth_{end}"] for end in ("low", "median", "high"))
    assert low <= middle <= high


def test_curves_that_smooth_improvement_and_a_jump_would_give(jump, smooth):
    low, median, high = smooth.smooth
    assert (low <= median).all()
    assert (median <= high).all()
    assert ((low <= SMOOTH) & (high >= SMOOTH)).all()
    assert np.abs(median - SMOOTH).max() < 0.05
    # The curve that jumps is followed by the law with a step, which smooth laws cannot follow.
    assert np.abs(jump.jump - JUMP).max() < np.abs(jump.smooth[1] - JUMP).max()
    assert (np.diff(jump.jump) > 0).all()
    assert np.isnan(check(n_examples=None).smooth).all()
    assert np.isnan(check(n_examples=None).jump).all()


def test_examples_may_be_given_for_each_size():
    each = check(n_examples=[1000, 1000, 1000, 1000])
    assert each.numbers == pytest.approx(check().numbers, nan_ok=True)
    assert check(n_examples=[500, 1000, 1000, 2000]).numbers["n_examples_min"] == 500


def test_standard_errors_stand_in_for_examples():
    scores = np.array(SMOOTH)
    stderr = np.sqrt(scores * (1 - scores) / 1000)
    found = check(scores, n_examples=None, stderr=stderr)
    assert found.verdict == "explained"
    assert found.numbers["odds_rise"] == pytest.approx(check(scores).numbers["odds_rise"], rel=0.05)


def test_chance_is_told_or_tried():
    scores = [0.26, 0.25, 0.3, 0.7]
    told = check(scores, metric="multiple_choice_grade", chance=0.25)
    assert told.numbers["chance"] == 0.25
    assert null_inputs(told.curve).floor_source.tolist() == ["low_score"]
    tried = check(scores[2:], NAMES[2:], metric="multiple_choice_grade")
    assert np.isnan(tried.numbers["chance"])
    # It is that of the first metric, as are standard errors.
    both = check(scores, chance=0.1, second_metric="bleu", second_scores=[1, 2, 3, 9])
    assert both.numbers["chance"] == 0.1
    assert both.second.numbers["chance"] != 0.1


def test_options_reach_the_verdict(jump):
    odds = jump.numbers["odds_step"]
    among = check(among=int(odds / 20) + 1)
    assert (among.verdict, among.reason) == ("undecidable", "either")
    assert check(factor=1000.0).numbers["odds_step"] != pytest.approx(odds)
    assert check(factor=1000.0).factor == 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "exact_str_mach"}, "metric: no metric 'exact_str_mach' in the catalog"),
        ({"metric": "exact_str_mach"}, "did you mean 'exact_str_match'?"),
        ({"metric": "qqqqqqqq"}, "Hint: such as exact_str_match or multiple_choice_grade"),
        ({"metric": "accuracy"}, "the name 'accuracy' does not say how answers are scored"),
        ({"scores": JUMP[:3]}, "score: 3 values for 4 sizes"),
        ({"scores": 0.5}, "score: 1 values for 4 sizes"),
        ({"scores": [0.1, np.nan, 0.2, 0.3]}, "score: a score is not a number"),
        ({"scores": [0.1, np.inf, 0.2, 0.3]}, "score: inf is above 1"),
        ({"scores": [2, 3, 5, 86]}, "score: 2 is above 1, and no score of exact_str_match"),
        ({"scores": [2, 3, 5, 86]}, "a proportion, not a percentage"),
        ({"scores": [0.1, 0.2, 0.3, -0.1]}, "score: -0.1 is below 0"),
        ({"n_examples": [10, 20]}, "n_examples: 2 values for 4 sizes"),
        ({"n_examples": 0}, "n_examples: 0 is not a finite number of at least 1"),
        ({"stderr": [0.1, 0.2, 0.3]}, "stderr: 3 values for 4 sizes"),
        ({"second_metric": "bleu"}, "give both second_metric and second_scores"),
        ({"second_scores": JUMP}, "give both second_metric and second_scores"),
        ({"second_metric": METRIC, "second_scores": JUMP}, "is the first metric too"),
        ({"second_metric": "bleu", "second_scores": [1, 2]}, "score: 2 values for 4 sizes"),
        ({"second_metric": "blue", "second_scores": JUMP}, "no metric 'blue' in the catalog"),
        ({"target_length": 0.5}, "target_length: 0.5 is not a finite number of at least 1"),
        ({"chance": 1.0}, "chance: 1 is not below the best score of exact_str_match"),
        ({"chance": np.nan}, "chance: nan is not below the best score"),
        ({"metric": "perplexity", "scores": [9, 7, 5, 3], "chance": 50}, "has no best score"),
        ({"factor": 1.0}, "factor: 1 is not a finite number above 1"),
        ({"among": 0}, "among: 0 is not a whole number of at least 1"),
        ({"sizes": ["1B", "1B", "2B", "3B"]}, "sizes: a size is given twice"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(InputError) as error:
        check(**options)
    assert message in str(error.value)


def test_a_catalog_of_ones_own_knows_its_metrics(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "metric,unit,low,high,higher_is_better,metric_type\n"
        "our_match,proportion,0,1,true,nonlinear\n"
    )
    own = bm.metric_catalog().overridden_by(bm.MetricCatalog.read(path))
    assert check(metric="our_match", catalog=own).verdict == "sharper"
    with pytest.raises(InputError, match="no metric 'our_match' in the catalog"):
        check(metric="our_match")


# Two metrics -------------------------------------------------------------------------------------


def test_two_metrics_need_twice_the_odds(two):
    assert two.odds == 40
    assert two.second.odds == 40
    assert two.numbers["metric"] == METRIC
    assert two.second.numbers["metric"] == "token_edit_distance"
    assert two.second.second is None


def _verdict_of_two(monkeypatch, first, second):
    """The verdict where those of the two metrics are what they are said to be."""
    from bigbench_meta.check import claim

    found = iter((first, second))
    whole = claim._checked

    def told(*arguments):
        verdict, reason = next(found)
        one = whole(*arguments)
        return ClaimCheck(**vars(one) | {"verdict": verdict, "reason": reason})

    monkeypatch.setattr(claim, "_checked", told)
    one = check(second_metric="bleu", second_scores=[1, 2, 3, 4])
    return one.verdict, one.reason


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("sharper", "step"), ("sharper", "step"), ("sharper", "step")),
        (("sharper", "step"), ("undecidable", "either"), ("sharper", "step")),
        (("undecidable", "either"), ("explained", "smooth"), ("explained", "smooth")),
        (("explained", "smooth"), ("sharper", "step"), ("undecidable", "disagree")),
        (("undecidable", "flat"), ("undecidable", "either"), ("undecidable", "flat")),
    ],
)
def test_which_verdict_two_metrics_give(monkeypatch, first, second, expected):
    assert _verdict_of_two(monkeypatch, first, second) == expected


# Curves of results -------------------------------------------------------------------------------


def test_a_curve_of_results():
    curves = bm.build_curves(bm.load_embedded())
    chosen = curves.keys["task"].eq("arithmetic 3D+") & curves.keys["shots"].eq(50)
    found = check_curve(curves[chosen.to_numpy(bool)])
    assert found.numbers["sigma"] == "curve"
    assert np.isnan(found.numbers["odds_step_family"])
    family = curves[(curves.keys["task"] != "arithmetic 3D+").to_numpy(bool)]
    by_family = check_curve(curves[chosen.to_numpy(bool)], family=family[:20])
    assert by_family.numbers["sigma"] == "family"
    assert by_family.numbers["odds_step"] == by_family.numbers["odds_step_family"]
    assert by_family.numbers["odds_step_curve"] == pytest.approx(found.numbers["odds_step"])
    for number in (0, 2):
        with pytest.raises(InputError, match=f"curve: {number} curves, not one"):
            check_curve(curves[:number])


def test_a_curve_in_two_units_has_no_points():
    frame = pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "metric": METRIC, "model_family": "f",
            "model_name": NAMES, "total_params": np.rint(SIZES), "score": [0.2, 0.3, 5.0, 86.0],
            "n_examples": 100,
        }
    )  # fmt: skip
    found = check_curve(bm.build_curves(frame))
    assert found.verdict == "undecidable"
    assert found.paragraph.startswith("Undecidable: ")
    assert found.document()["points"] == []


# What is made of it ------------------------------------------------------------------------------


def test_the_document_is_json(jump, two):
    for one in (jump, two, check(n_examples=None), check([0.1] * 4), check(JUMP[:2], NAMES[:2])):
        found = json.loads(json_text(one.document()), parse_constant=pytest.fail)
        assert found["verdict"] == one.verdict
        assert found["paragraph"] == one.paragraph
        assert len(found["points"]) == len(one.curve.y)
        assert (found["second_metric"] is None) == (one.second is None)
    document = jump.document()
    assert [row["score"] for row in document["points"]] == JUMP
    assert [row["x"] for row in document["points"]] == SIZES
    assert document["odds_needed"] == 20
    assert all(
        row["low"] <= row["score"] <= row["high"] and row["smooth_low"] <= row["smooth_high"]
        for row in document["points"]
    )


def test_tables_have_a_row_for_each_metric(jump, two):
    assert len(jump.table().frame) == 1
    assert two.table().frame["metric"].tolist() == [METRIC, "token_edit_distance"]
    for form in (two.table().to_markdown(), two.table().to_latex()):
        assert "sharper" in form


def test_cards(jump):
    assert repr(jump).startswith(f"sharper: {jump.paragraph[:40]}"[:40])
    assert "sharper" in jump._repr_html_()


def test_what_would_settle_it(monkeypatch):
    from bigbench_meta.check import settle

    monkeypatch.setattr(settle, "_SIMULATED", 20)
    one = check([0.0, 0.2, 0.6, 0.8], n_examples=5, target_length=3)
    table = one.what_would_settle(progress=False)
    assert table.name == "what_would_settle"
    assert "falls 20-fold" in table.caption
    assert table.frame["option"].iloc[-1] == "share of right tokens instead"
