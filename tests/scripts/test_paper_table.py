"""docs/paper.md holds what scripts/paper_table.py computes, and what is known of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import loaded_script

import bigbench_meta as bm


@pytest.fixture(scope="module")
def script():
    with loaded_script("paper_table") as loaded:
        yield loaded


@pytest.mark.full
def test_the_page_is_current(script):
    text = script.PAGE.read_text("utf-8")
    assert script.page(text) == text, "run `python scripts/paper_table.py`"


@pytest.mark.parametrize(
    ("what", "outcome", "ours"),
    [
        ("metrics with a high emergence score", "agrees", "5 of 39"),
        ("claims under the two metrics with most", "differs", "63 of 67: 94.0%"),
        ("base rate of the same two metrics", "not stated", "152 of 197"),
        ("exponent and constant of the loss behind Fig. 2", "not stated", "alpha = -0.500, c = 2e"),
        ("GPT-3's smallest model is above chance", "differs", "0 of 4"),
        ("union of the longest common subsequences in the example of App. A.4", "agrees", "4 of 5"),
        ("ROUGE-L-Sum falls sharply with the error per token, Fig. 9", "differs", "by 0.0 to 5.0"),
        ("cross entropies drawn in Fig. 2", "agrees", "2.3905, 1.2403, 0.5464, 0.1000"),
        ("Fig. 8, Omniglot transformers, 3 of 3 right", "differs", "E = 73"),
        ("tasks of Fig. 6 are emergent under multiple-choice grade", "differs", "none above 100"),
        ("Brier score makes them smooth", "differs", "higher in 1"),
        ("three-digit addition (Ganguli et al. 2022, Sec. 2.2)", "agrees", "8.4%, 80.4%"),
    ],
)
def test_statements(script, what, outcome, ours):
    (row,) = (row for row in script.statements() if row.what == what)
    assert row.outcome == outcome
    assert ours in row.ours


def test_rouge_with_one_reference_is_the_share_of_right_tokens(script):
    means = script.rouge_means()
    one = means[means["references"] == 1]
    assert one["length"].tolist() == list(script.FIG9_LENGTHS)
    for error in script.FIG9_ERRORS:
        np.testing.assert_allclose(one[error], 100 * (1 - error), atol=3.2)
    # As one text of m references: 200 (1 - error^m) / (m + 1).
    union = means[means["reading"] == "union"]
    m = union["references"]
    for error in script.FIG9_ERRORS:
        np.testing.assert_allclose(union[error], 200 * (1 - error**m) / (m + 1), atol=0.5)


def test_any_threshold_between_48_and_151_gives_five_metrics(script):
    drawn = script.fig5a()["largest_emergence_score"]
    assert len(drawn) == len(bm.paper_metrics()) == 39
    assert {int((drawn > threshold).sum()) for threshold in (48, 100, 150.9)} == {5}
    assert (drawn > 47).sum() == 6
    assert (drawn > 151.1).sum() == 4


def test_every_difference_has_a_reason(script):
    for row in script.statements():
        assert row.outcome in {"agrees", "differs", "not stated", "not compared"}
        assert row.why or row.outcome == "agrees"
        assert "|" not in "".join(row)
