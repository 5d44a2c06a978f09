"""The figure of a claim: what is drawn, and that it can be."""

from __future__ import annotations

import numpy as np
import pytest
import vl_convert
from figures import check_valid

from bigbench_meta import check_claim

SIZES = ["100M", "1B", "10B", "100B"]
SCORES = [0.02, 0.03, 0.05, 0.86]


@pytest.fixture(scope="module")
def claim():
    return check_claim(SIZES, SCORES, metric="exact_str_match", n_examples=1000)


def marks(spec):
    layers = spec.get("hconcat", [spec])
    return [[layer["mark"]["type"] for layer in panel["layer"]] for panel in layers]


def test_what_is_drawn(claim):
    figure = claim.figure()
    assert figure.name == "claim"
    assert figure.data["score"].tolist() == SCORES
    assert figure.data["x"].tolist() == [1e8, 1e9, 1e10, 1e11]
    assert (figure.data["low"] <= SCORES).all()
    assert (figure.data["high"] >= SCORES).all()
    for name, values in zip(("smooth_low", "smooth", "smooth_high"), claim.smooth, strict=True):
        np.testing.assert_array_equal(figure.data[name], values)
    np.testing.assert_array_equal(figure.data["jump"], claim.jump)
    assert (figure.data["chance"] == 0).all()
    assert marks(figure.to_dict()) == [["line", "area", "line", "line", "rule", "point"]]
    for part in ("Blue band", "Orange", "20-fold", "Dashed: chance."):
        assert part in figure.caption
    check_valid(figure)
    assert vl_convert.vegalite_to_svg(figure.to_dict()).startswith("<svg")


def test_a_panel_a_metric():
    both = check_claim(
        SIZES, SCORES, metric="exact_str_match", n_examples=1000, second_metric="bleu",
        second_scores=[5.0, 9.0, 14.0, 30.0],
    )  # fmt: skip
    figure = both.figure()
    assert figure.data["metric"].unique().tolist() == ["exact_str_match", "bleu"]
    assert len(marks(figure.to_dict())) == 2
    check_valid(figure)
    assert vl_convert.vegalite_to_svg(figure.to_dict()).startswith("<svg")


@pytest.mark.parametrize(
    ("scores", "n", "metric"),
    [
        ([0.3, 0.3, 0.3, 0.3], 100, "exact_str_match"),
        (SCORES, None, "exact_str_match"),
        (SCORES[:2], 100, "exact_str_match"),
        (SCORES, 100, "multiple_choice_grade"),
        ([60.0, 40.0, 20.0, 5.0], 100, "perplexity"),
    ],
)
def test_claims_of_which_less_is_known_are_drawn_too(scores, n, metric):
    figure = check_claim(SIZES[: len(scores)], scores, metric=metric, n_examples=n).figure()
    check_valid(figure)
    assert figure.data["score"].tolist() == scores
    assert ("Dashed: chance." in figure.caption) == figure.data["chance"].notna().any()
    assert vl_convert.vegalite_to_svg(figure.to_dict()).startswith("<svg")
