"""The paragraph on a claim: what each verdict and reason says, in plain sentences."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta import check_claim
from bigbench_meta.check import paragraph
from bigbench_meta.check.paragraph import paragraph_of
from bigbench_meta.check.verdicts import REASONS
from bigbench_meta.inference.nulls.null_tests import STATUSES

SIZES = ["100M", "1B", "10B", "100B"]
NAN = float("nan")
# Numbers of a claim of which everything is known.
NUMBERS = {
    "metric": "exact_str_match", "verdict": "sharper", "reason": "step",
    "odds_step": 1357.0, "odds_rise": 4071.0,
    "p_step": 0.0312, "step_from": 1e9, "step_to": 1e10, "rise_from": 1e10, "rise_to": 1e11,
    "emergence_score": 42.0, "emergence_low": 22.5, "emergence_high": np.inf,
    "interval_status": "ok", "n_scales": 4, "smooth_low": -3.5, "smooth_median": 2.45,
    "smooth_high": 36.1, "smallest_detectable": 0.003, "n_examples_min": 1000.0,
    "n_undetectable": 0, "n_usable": 4, "chance": 0.0, "forecast_lower": 0.02,
    "forecast_upper": 0.2, "forecast_x": 1e11, "forecast_covered": False,
    "forecast_observed": 0.86, "smallest_excluded": 20.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def base():
    return check_claim(SIZES, [0.02, 0.03, 0.05, 0.86], metric="exact_str_match", n_examples=1000)


def said(base, verdict="sharper", reason="step", *, numbers=None, **fields):
    known = NUMBERS | {"verdict": verdict, "reason": reason} | (numbers or {})
    return paragraph_of(replace(base, numbers=known, verdict=verdict, reason=reason, **fields))


def check_plain(text):
    """No number is missing, and each sentence begins and ends as one."""
    assert not re.search(r"\b(nan|None|inf|NaN|<NA>|ok)\b", text), text
    assert "  " not in text
    assert "_" not in text.replace("exact_str_match", "").replace("multiple_choice_grade", "")
    assert text == text.strip()
    assert text.endswith(".")
    assert ".." not in text
    for sentence in re.split(r"(?<=[.]) (?=[A-Z])", text):
        assert sentence[0].isupper(), sentence


# Verdicts ----------------------------------------------------------------------------------------


def test_sharper(base):
    text = said(base)
    assert text == (
        "Sharper than smooth improvement: a sudden 20-fold fall of the loss makes the scores 1,400 "
        "times as likely as a smooth one, averaged over all places where it may be (20 times "
        "is enough for a verdict); most likely it is between 1B and 10B, which is not where the "
        "scores improve "
        "most. The claim: exact_str_match goes from 0.02 at 100M to 0.86 at 100B and improves most "
        "between 10B and 100B. Its emergence score E, the whole rise over the typical step, "
        "is 42 (95% interval 22.5 to ∞); a straight line "
        "over 4 sizes would have 3. Smooth improvement, seen through this metric and test set, "
        "gives an E of −3.5 to 36.1 in 95% of simulations; this E is outside that range, though "
        "its interval reaches into it. With 1,000 examples, a true score of 0.003 would be "
        "distinguished from zero 19 times in 20, a lower one less often; no measured score is "
        "lower. A forecast from the smaller "
        "sizes gives 0.02 to 0.2 at 100B (95%); the score there is 0.86, outside that range. If "
        "improvement is smooth, at most 5% of curves are called sharper, on average over the "
        "smooth laws that are possible and as long as they were not picked because they look "
        "sharp. Next: the loss per token of the same models, which shows "
        "whether the loss itself jumps."
    )
    check_plain(text)
    assert "the sharpest of 30 such curves is called sharper in at most 5%" in said(base, among=30)
    assert "(600 times is enough for a verdict)" in said(base, among=30)


def test_explained(base):
    text = said(base, "explained", "smooth", numbers={"odds_rise": 1e-9, "odds_step": 1 / 73.4})
    assert text.startswith(
        "Explained by smooth improvement: it makes the scores 73 times as likely as a sudden "
        "20-fold fall of the loss (20 times is enough for a verdict)."
    )
    assert text.endswith(
        "If the loss does fall 20-fold, at most 5% of curves are called explained, on average over "
        "the laws that are possible. Smaller jumps are not excluded."
    )
    check_plain(text)
    more = said(base, "explained", "smooth", numbers={"odds_rise": 0.01, "smallest_excluded": 5.0})
    assert more.endswith(
        "Jumps of 5-fold are excluded just as clearly; smaller ones are not, and larger ones were "
        "not tried."
    )
    check_plain(more)


@pytest.mark.parametrize(
    ("reason", "numbers", "part"),
    [
        ("no_rise", {}, "the largest size is not shown to score better than the smallest"),
        ("small_step", {"odds_rise": 0.01}, "unlikely (likelihood ratio 100 to 1 against it), but"),
        ("small_step", {"odds_rise": 0.01}, "a smooth law either (p = 0.031), so there may be a"),
        (
            "either",
            {"odds_step": 6.24, "odds_rise": 20.0},
            "not by enough (likelihood ratio 6.2 to 1; 20 to 1 is needed)",
        ),
        (
            "either",
            {"odds_step": 0.1, "odds_rise": 0.25},
            "smooth improvement explains the scores better than a sudden 20-fold fall",
        ),
        ("hidden_step", {"odds_rise": 0.01}, "most (likelihood ratio 100 to 1 against it), but"),
        ("either", {"odds_step": 0.7, "odds_rise": 3.6}, "3.6 to 1 where the scores improve"),
        ("too_few_scales", {}, "at least four sizes of models are needed."),
        ("flat", {}, "all scores are the same."),
        ("no_test_set", {}, "the size of the test set is not known (give --n, or standard"),
    ],
)
def test_undecidable(base, reason, numbers, part):
    text = said(base, "undecidable", reason, numbers=numbers)
    assert text.startswith("Undecidable: ")
    assert part in text
    # How often a verdict is wrong is not said where there is none.
    assert "at most 5%" not in text
    check_plain(text)


def test_what_is_needed_is_more_among_many(base):
    text = said(base, "undecidable", "either", numbers={"odds_step": 6.0}, among=30)
    assert "(likelihood ratio 6 to 1; 600 to 1 is needed)" in text


def test_every_reason_is_said_in_words(base):
    for reason in {*REASONS, *STATUSES} - {"ok", "smooth", "step"}:
        check_plain(said(base, "undecidable", reason))


# The other sentences -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "part"),
    [
        (
            {"interval_status": "no_sampling_error"},
            "step, is 42; a straight line over 4 sizes would have 3.",
        ),
        ({"emergence_score": np.inf}, "is ∞, because most steps from size to size are exactly 0"),
        ({"emergence_score": -6.0}, "typical step, is −6 (95%"),
        ({"emergence_low": -np.inf}, "(95% interval −∞ to ∞)"),
        ({"emergence_score": 20.0}, "simulations; this E is inside that range."),
        ({"smooth_median": NAN}, "a straight line over 4 sizes would have 3. With"),
        (
            {"n_undetectable": 1},
            "zero 19 times in 20, a lower one less often; 1 of 4 measured scores are lower.",
        ),
        ({"n_undetectable": 4}, "all measured scores are lower."),
        ({"chance": 0.25}, "distinguished from chance (0.25) 19 times in 20"),
        ({"n_examples_min": 1.0}, "With 1 example, a true score of 0.003"),
        ({"forecast_covered": True}, "the score there is 0.86, inside that range."),
        (
            {"forecast_covered": NAN},
            "The score at 100B could not be predicted: the forecast interval",
        ),
    ],
)
def test_sentences(base, numbers, part):
    text = said(base, numbers=numbers)
    assert part in text
    check_plain(text)


@pytest.mark.parametrize(
    ("missing", "part"),
    [
        ({"emergence_score": NAN}, "emergence score"),
        ({"smallest_detectable": NAN}, "a true score of"),
        ({"n_examples_min": NAN}, "a true score of"),
        ({"n_undetectable": NAN}, "a true score of"),
        ({"forecast_lower": NAN}, "forecast"),
        ({"forecast_upper": NAN}, "forecast"),
    ],
)
def test_what_is_not_known_is_not_said(base, missing, part):
    assert part in said(base)
    text = said(base, numbers=missing)
    assert part not in text
    check_plain(text)


def second(base, verdict, reason, **numbers):
    own = {"metric": "bleu", "verdict": verdict, "reason": reason}
    return replace(base, numbers=NUMBERS | own | numbers, verdict=verdict, reason=reason)


def test_a_second_metric(base):
    text = said(base, second=second(base, "sharper", "step"))
    assert "Under bleu, E is 42 and the scores are sharper than smooth improvement (1" in text
    check_plain(text)
    text = said(base, second=second(base, "undecidable", "flat", emergence_score=NAN))
    assert "Under bleu, E is not defined. That metric alone would decide nothing: all" in text
    check_plain(text)


def test_metrics_that_disagree(base):
    one = replace(
        base, numbers=NUMBERS, verdict="undecidable", reason="disagree",
        second=second(base, "explained", "smooth", odds_rise=0.01),
    )  # fmt: skip
    text = paragraph_of(one)
    assert text.startswith(
        "Undecidable: under exact_str_match the scores are sharper than smooth improvement "
        "(1,400 to 1); under bleu the scores are explained by smooth improvement (100 to 1)."
    )
    check_plain(text)


def test_where_the_second_metric_decides_its_numbers_are_the_reason(base):
    one = replace(
        base, numbers=NUMBERS | {"verdict": "undecidable", "reason": "flat"}, verdict="explained",
        reason="smooth",
        second=second(base, "explained", "smooth", odds_rise=1 / 900, odds_step=1 / 500),
    )  # fmt: skip
    text = paragraph_of(one)
    assert text.startswith(
        "Explained by smooth improvement under bleu: it makes the scores 500 times as likely"
    )
    assert "exact_str_match alone would decide nothing: all scores are the same." in text
    check_plain(text)


# Numbers in words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odds", "times", "ratio"),
    [
        (1.0, "1 times", "1 to 1"),
        (2.345, "2.3 times", "2.3 to 1"),
        (20.0, "20 times", "20 to 1"),
        (999.0, "1,000 times", "1,000 to 1"),
        (123456.0, "120,000 times", "120,000 to 1"),
        (1e6, "more than a million times", "more than a million to 1"),
        (np.inf, "more than a million times", "more than a million to 1"),
    ],
)
def test_odds(odds, times, ratio):
    assert paragraph._times(odds) == times
    assert paragraph._odds(odds) == ratio


@pytest.mark.parametrize(
    ("odds", "ratio"),
    [(0.5, "1 to 2"), (1 / 300, "1 to 300"), (1e-9, "1 to more than a million"),
     (0.0, "1 to more than a million")],
)  # fmt: skip
def test_odds_against(odds, ratio):
    assert paragraph._odds(odds) == ratio


@given(st.floats(1, 1e7))
def test_odds_are_right_to_two_digits(odds):
    text = paragraph._odds(odds)
    if "million" not in text:
        assert float(text.removesuffix(" to 1").replace(",", "")) == pytest.approx(odds, rel=0.051)


# Whole claims ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "n", "metric"),
    [
        ([0.02, 0.03, 0.05, 0.86], 1000, "exact_str_match"),
        ([0.02, 0.03, 0.05, 0.86], None, "exact_str_match"),
        ([0.3, 0.3, 0.3, 0.3], 100, "exact_str_match"),
        ([0.0, 0.0, 0.0, 0.0], 100, "exact_str_match"),
        ([0.0, 0.0, 0.0, 0.9], 50, "exact_str_match"),
        ([0.9, 0.5, 0.3, 0.1], 50, "exact_str_match"),
        ([0.25, 0.26, 0.3, 0.5], 50, "multiple_choice_grade"),
        ([9.0, 7.0, 5.0, 2.0], 100, "perplexity"),
        ([5.0, 4.0, 3.9, 1.0], 100, "token_edit_distance"),
        ([-3.0, -2.0, -1.0, -0.5], 100, "log_likelihood"),
        ([0.1, 0.2], 10, "exact_str_match"),
        ([0.5], 10, "exact_str_match"),
    ],
)
def test_paragraphs_of_claims(scores, n, metric):
    found = check_claim(SIZES[: len(scores)], scores, metric=metric, n_examples=n)
    text = found.paragraph.replace("log_likelihood", "M").replace("token_edit_distance", "M")
    check_plain(text)
    start = {
        "sharper": "Sharper than smooth improvement:", "explained": "Explained by smooth impro",
        "undecidable": "Undecidable:",
    }  # fmt: skip
    assert text.startswith(start[found.verdict])
