"""README's first screen gives the answer that the package gives."""

from __future__ import annotations

import pytest
from conftest import ROOT
from helpers import loaded_script

import bigbench_meta as bm


@pytest.mark.full
def test_readme_says_what_the_studies_say() -> None:
    with loaded_script("readme_answer") as script:
        answer = script.answer()
    assert f"<!-- answer table: begin -->\n{answer}\n<!-- answer table: end -->" in (
        ROOT / "README.md"
    ).read_text("utf-8")


def test_counts_of_the_first_screen() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for name in ("gpt3", "lamda"):
        scores = bm.score_curves(bm.build_curves(bm.load_embedded(name)))
        assert f"{int(bm.flagged(scores).sum())} of {len(scores)} curves look emergent" in text


def test_readme_fits_its_150_lines() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
