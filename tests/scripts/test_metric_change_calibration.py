"""Verdicts of metric change on pairs of known truth, by scripts/metric_change_calibration.py."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import loaded_script


@pytest.fixture(scope="module")
def script():
    with loaded_script("metric_change_calibration") as loaded:
        yield loaded


@pytest.mark.parametrize(
    ("truth", "n_scales", "n_examples", "source"),
    [
        ("long exact match and edit distance", 8, 500, "scores"),
        ("multiple choice and Brier score", 8, 500, "scores"),
        ("step", 12, 500, "scores"),
        ("step with slopes, above the cut", 8, 2000, "scores"),
        ("long exact match and edit distance", 8, 100, "samples"),
    ],
)
def test_verdicts_are_seldom_wrong(script, truth, n_scales, n_examples, source):
    n = 40 if source == "scores" else 10
    cell = script.Cell(truth, n_scales, n_examples, source=source)
    row = script.run_cell(cell, n, 99)
    # One wrong of 40 is within 5%; that many are not expected.
    assert max(row["wrong"].values()) <= max(1, n // 20)
    assert sum(row["verdicts"].values()) == n
    if truth.startswith("long"):
        assert row["verdicts"]["evaporates"] >= row["flagged"] / 2 > 0
    if truth == "step":
        assert row["verdicts"]["evaporates"] == 0


def test_test_sets_are_drawn_from_the_expected_scores(script):
    rng = np.random.default_rng(0)
    for truth in (*script.SMOOTH, *script.STEPS):
        cell = script.Cell(truth, 8, 5000)
        kind = script.choice_pair if "multiple choice" in truth else script.text_pair
        pair = kind(cell, rng)
        for expected, score in zip(pair.expected, pair.scores, strict=True):
            assert score == pytest.approx(expected, abs=0.3 if expected.max() > 2 else 0.05)


def test_tables_go_between_the_markers_of_the_page(script, tmp_path):
    page = tmp_path / "page.md"
    marks = "".join(
        f"<!-- {name} table: begin -->\n<!-- {name} table: end -->\n" for name in script.grids()
    )
    page.write_text(marks)
    cell = next(script.cells())
    row = {
        "pairs": 100, "flagged": 10, "true_median": [np.inf, 3.0],
        "verdicts": dict.fromkeys(script.VERDICTS, 5), "wrong": dict.fromkeys(script.WRONG, 1),
    }  # fmt: skip
    script.write_docs(page, {cell.name: row})
    assert f"| {cell.truth} | 8 | 100 | ∞ | 3 | 0.100 | 0.050 |" in page.read_text()
