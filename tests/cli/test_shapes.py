"""The command `shapes`, its tables, and the names on its page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import ROOT, run, run_json

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes
from bigbench_meta.inference.shapes.shape_fits import FIT_STATUSES, SHAPES
from bigbench_meta.inference.shapes.trends import TREND_RULES, TRENDS
from bigbench_meta.report.tables.shapes import shape_tables

if TYPE_CHECKING:
    from pathlib import Path

    from embedded import EmbeddedStudy


@pytest.mark.full
def test_shapes_are_those_of_the_library(tmp_path: Path, embedded_study: EmbeddedStudy) -> None:
    frame = embedded_study.shapes
    found = run_json("shapes", "-o", tmp_path / "rows.csv", "--out", tmp_path / "out")
    assert found["rules"] == TREND_RULES
    assert [row["trend"] for row in found["curves"]] == frame["trend"].tolist()
    assert [row["best_shape"] for row in found["curves"]] == frame["best_shape"].tolist()
    counts = {row["trend"]: row["n_curves"] for row in found["trends"]}
    assert counts == frame["trend"].value_counts().to_dict()
    assert sum(row["n_flagged"] for row in found["trends"]) == 21
    by_shape = pd.DataFrame(found["trends_by_shape"]).set_index("trend")
    expected = pd.crosstab(frame["trend"], frame["best_shape"])
    assert by_shape.loc["breakthrough"].to_dict() == expected.loc["breakthrough"].to_dict()
    assert len(pd.read_csv(tmp_path / "rows.csv")) == len(frame) == 189
    assert (tmp_path / "out" / "tables" / "trends.tex").is_file()
    assert len(found["outputs"]) == 13


def test_criterion_and_level(pair: Path) -> None:
    curves = bm.build_curves(bm.read_results(pair)[0])
    for criterion in ("bic", "aicc"):
        expected = curve_shapes(curves, criterion=criterion)["weight_step"].tolist()
        found = run_json("shapes", pair, "--level", "all", "--criterion", criterion)["curves"]
        assert [row["weight_step"] for row in found] == pytest.approx(expected, nan_ok=True)
    assert run_json("shapes", pair, "--level", "all")["n_curves"] == 4
    assert run_json("shapes", pair)["n_curves"] == 3


def test_text_of_shapes(pair: Path) -> None:
    text = run("shapes").stdout
    assert "189 curves (20 shown, sharp ones first). Use -o or --json for all." in text
    # Sharp ones first.
    names = re.findall(r" (increasing|breakthrough) +(?:step|log_linear|logistic|power_law)", text)
    assert names[0] == "breakthrough"
    assert "3 curves. Use -o" in run("shapes", pair).stdout


def test_tables_of_shapes() -> None:
    frame = pd.DataFrame({
        "trend": ["noisy", "noisy", "inverse", "too_few_points"],
        "best_shape": ["step", None, "step", None],
        "task": ["a", "b", "a", "a"], "flagged": [True, False, False, False],
    })  # fmt: skip
    by_trend, by_shape, _ = shape_tables(frame)
    assert by_trend.frame.to_dict("list") == {
        "trend": ["inverse", "noisy", "too_few_points"], "n_curves": [1, 2, 1],
        "share": [0.25, 0.5, 0.25], "n_tasks": [1, 2, 1], "n_flagged": [0, 1, 0],
    }  # fmt: skip
    assert by_shape.frame.to_dict("list") == {
        "trend": ["inverse", "noisy", "too_few_points"], "step": [1, 1, 0], "none": [0, 1, 1],
    }  # fmt: skip
    with pytest.raises(InputError, match="shapes: no column flagged"):
        shape_tables(frame.drop(columns="flagged"))
    assert [len(table.frame) for table in shape_tables(frame.head(0))] == [0, 0, 0]


def test_names_of_the_page() -> None:
    """Every status, trend and shape is on it."""
    text = (ROOT / "docs" / "shapes.md").read_text("utf-8")
    for name in (*FIT_STATUSES, *SHAPES):
        assert f"`{name}`" in text, name
    assert all(name in text for name in TRENDS)
