"""docs/paper.md holds what scripts/paper_table.py computes, and what is known of the paper."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from conftest import ROOT

import bigbench_meta as bm


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "paper_table.py"
    if not path.is_file():
        pytest.skip("needs the folder `scripts`")
    spec = importlib.util.spec_from_file_location("paper_table", path)
    loaded = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        patch.setitem(sys.modules, "paper_table", loaded)
        spec.loader.exec_module(loaded)
        yield loaded


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
        ("tasks of Fig. 6 are emergent under multiple-choice grade", "differs", "none above 100"),
        ("Brier score makes them smooth", "differs", "higher in 1"),
        ("three-digit addition (Ganguli et al. 2022, Sec. 2.2)", "agrees", "8.4%, 80.4%"),
    ],
)
def test_statements(script, what, outcome, ours):
    (row,) = (row for row in script.statements() if row.what == what)
    assert row.outcome == outcome
    assert ours in row.ours


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
