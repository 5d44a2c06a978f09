"""The command `forecast`, and the table that a script fills on its page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT, run, run_json

import bigbench_meta as bm
from bigbench_meta.cli import forecast as module
from bigbench_meta.inference.forecast.forecast_curves import FORECASTERS, forecast_curves
from bigbench_meta.inference.forecast.forecasts import FORECAST_STATUSES
from bigbench_meta.inference.forecast.summary import forecast_summary, least_predictable


def test_numbers_are_those_of_the_library() -> None:
    options = {"k": "last", "forecasters": ("mixture", "log_pass_rate"), "adjust": "jeffreys"}
    curves = bm.build_curves(bm.load_embedded())
    frame = forecast_curves(curves[curves.keys["task"] == "arithmetic 3D+"], **options)  # type: ignore[arg-type]
    found = run_json(
        "forecast", "--task", "arithmetic 3D+", "-k", "last", "--adjust", "jeffreys",
        "--forecaster", "mixture", "--forecaster", "log_pass_rate",
    )  # fmt: skip
    assert (found["n_curves"], found["n_forecasts"], found["k"]) == (3, 6, "last")
    for row, expected in zip(found["forecasts"], frame.to_dict("records"), strict=True):
        for name, value in expected.items():
            if isinstance(value, float):
                shown = float("nan") if row[name] in ("nan", None) else row[name]
                assert shown == pytest.approx(value, nan_ok=True), name
        assert row["flagged"] is True
        assert row["emergence_score"] > 100
    summary = forecast_summary(frame)
    assert [row["n_forecast"] for row in found["summary"]] == summary["n_forecast"].tolist()
    assert found["statuses"] == {
        "mixture": {"not_predictable": 2, "ok": 1}, "log_pass_rate": {"ok": 3},
    }  # fmt: skip
    assert [row["shots"] for row in found["least_predictable"]] == [
        *least_predictable(frame)["shots"]
    ]
    assert found["comparison"][-1]["n"] == 3


def test_smooth_metric_predicts_the_sharp_one(pair: Path) -> None:
    found = run_json("forecast", pair, "-k", "last", "--metric", "exact_str_match", "--metric",
                     "cross_entropy", "--forecaster", "smooth_pair", "--length", 5)  # fmt: skip
    sharp = [row for row in found["forecasts"] if row["metric"] == "exact_str_match"]
    assert [row["status"] for row in sharp] == ["ok"]
    assert sharp[0]["forecast"] == pytest.approx(sharp[0]["observed"], abs=1e-3)
    assert found["length"] == 5
    assert found["comparison"] == []


@pytest.mark.parametrize(
    ("options", "n_curves", "fitted"),
    [
        ([], 3, {5, 6}),
        (["-k", "last"], 3, {6}),
        (["-k", 6], 3, {6}),
        (["-k", 7], 3, set()),
        (["--level", "subtask"], 3, {5, 6}),
        (["--level", "all"], 4, {5, 6}),
        (["--metric", "multiple_choice_grade"], 1, {5, 6}),
    ],
)
def test_choice_of_curves_and_scales(
    pair: Path, options: list[object], n_curves: int, fitted: set[int]
) -> None:
    found = run_json("forecast", pair, "--forecaster", "mixture", *options)
    assert found["n_curves"] == n_curves
    assert {row["k"] for row in found["forecasts"]} == fitted
    levels = {row["subtask"] for row in found["forecasts"] if row["task"] == "line"}
    if options == ["--level", "subtask"]:
        assert levels == {"line:part"} or "line" not in levels


def test_options_reach_the_library(pair: Path) -> None:
    wide, narrow = (
        run_json("forecast", pair, "-k", 6, "--forecaster", "mixture", "--confidence", level)
        for level in (0.99, 0.5)
    )
    for one, other in zip(wide["forecasts"], narrow["forecasts"], strict=True):
        assert one["lower"] <= other["lower"] <= other["upper"] <= one["upper"]
    names = [run_json("forecast", pair, "--criterion", name)["criterion"]
             for name in ("bic", "aicc")]  # fmt: skip
    assert names == ["bic", "aicc"]
    assert run_json("forecast", pair, "--threshold", -1000)["forecasts"][0]["flagged"] is True
    assert run_json("forecast", pair, "--threshold", 1e9)["forecasts"][0]["flagged"] is False


@pytest.mark.parametrize("command", ["forecast", "shapes"])
def test_numbers_of_examples_weigh(pair: Path, command: str) -> None:
    rows = {"forecast": "forecasts", "shapes": "curves"}[command]
    options = ["--metric", "exact_str_match"]
    if command == "forecast":
        options += ["--forecaster", "mixture"]
    equal = run_json(command, pair, *options)[rows]
    known = run_json(command, pair, *options, "--n-examples", 1_000_000)[rows]
    assert {row["weighting"] for row in equal} == {"equal"}
    assert {row["weighting"] for row in known} == {"binomial"}
    run(command, pair, "--n-examples", 0, code=2)


def test_text_says_how_to_read_it() -> None:
    task = ("forecast", "--task", "arithmetic 3D+")
    text = run(*task).stdout
    assert "3 curves, 3 of them with larger models to forecast." in text
    assert "Coverage should be near 95%. Skill is 1 for a forecast without error" in text
    assert "Forecasts one scale ahead, for flagged and for other curves." in text
    assert "Which of two forecasters is closer" in text
    assert "The curves with the most surprising scores at larger scales" in text
    assert "No forecast by smooth_pair: 45 of 45 (no_pair 45)." in text
    assert "Coverage should be near 80%" in run(*task, "-k", "last", "--confidence", 0.8).stdout


def test_nothing_beyond_what_is_fitted(pair: Path) -> None:
    assert "No curve has a model larger than those that are fitted." in run(
        "forecast", pair, "-k", 7
    ).stdout  # fmt: skip
    found = run_json("forecast", pair, "-k", 7)
    assert (found["n_forecasts"], found["summary"]) == (0, [])
    assert found["statuses"] == {name: {} for name in module.DEFAULT_FORECASTERS}


def test_files(pair: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", tmp_path / "rows.csv"
    found = run_json("forecast", pair, "--out", out, "-o", rows)
    names = {Path(path).relative_to(out).as_posix() for path in found["outputs"]}
    assert {"tables/forecast_summary.csv", "tables/forecast_summary.md",
            "tables/least_predictable.tex", "tables/forecasts.csv", "figures/forecasts.svg",
            "figures/forecasts.png", "figures/forecasts.vl.json"} <= names  # fmt: skip
    assert all((out / name).stat().st_size for name in names)
    written = pd.read_csv(rows)
    assert len(written) == found["n_forecasts"] == len(pd.read_csv(out / "tables/forecasts.csv"))
    assert written["forecast"].to_numpy() == pytest.approx(
        [np.nan if row["forecast"] == "nan" else row["forecast"] for row in found["forecasts"]],
        nan_ok=True,
    )
    text = run("forecast", pair, "--out", out).stdout
    assert f"{len(names)} files written into" in text


def test_nothing_surprising_has_no_figure(pair: Path, tmp_path: Path) -> None:
    found = run_json("forecast", pair, "-k", 7, "--out", tmp_path / "out")
    assert not any("figures" in path for path in found["outputs"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-k", 0], "'0' is not 'last', 'every' or a number of model sizes"),
        (["-k", "all"], "'all' is not 'last', 'every' or a number of model sizes"),
        (["-k", "²"], "is not 'last', 'every' or a number of model sizes"),
        (["--confidence", 1], "'--confidence': 1.0 is not in the range"),
        (["--confidence", "nan"], "'nan' is not a number"),
        (["--length", 0], "'--length': 0.0 is not in the range"),
        (["--forecaster", "oracle"], "'oracle' is not one of 'mixture'"),
        (["--task", "unheard of"], "no scores of task unheard of"),
        (["-o", "forecasts.xlsx"], "forecasts.xlsx: unknown ending"),
        (["nowhere"], "nowhere: no such file or folder"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_refusals(arguments: list[object], message: str) -> None:
    result = run("forecast", *arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_names_of_forecasters_are_those_of_the_library() -> None:
    assert module.FORECASTERS == FORECASTERS
    assert set(module.DEFAULT_FORECASTERS) <= set(FORECASTERS)


# --- docs/forecast.md ---

PAGE = ROOT / "docs" / "forecast.md"


def test_names_of_the_page() -> None:
    """Every status and every forecaster that is no shape is on it."""
    text = PAGE.read_text("utf-8")
    for name in (*FORECAST_STATUSES[1:], "mixture", "log_pass_rate", "smooth_pair"):
        assert f"`{name}`" in text, name


# --- scripts/forecast_coverage.py ---


@pytest.fixture
def script() -> Any:
    path = ROOT / "scripts" / "forecast_coverage.py"
    spec = importlib.util.spec_from_file_location("forecast_coverage", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["forecast_coverage"] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


def test_coverage_of_the_page(script: Any, tmp_path: Path) -> None:
    """The script runs, keeps what is done, and fills a table of the form that the page has."""
    out, page = tmp_path / "coverage.csv", tmp_path / "page.md"
    cell = script.Cell("log_linear", 5, 100, 0.0)
    results = script.run(cell, 30)
    assert [result.n_curves for result in results] == [30] * 4
    own = next(result for result in results if result.forecaster == "own")
    assert own.n_interval == 30
    assert 25 <= own.n_covered <= 30
    script.append(out, cell, results)
    assert script.read(out) == {cell: {result.forecaster: result for result in results}}
    page.write_text(f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n", "utf-8")
    assert script.main(["--out", str(out), "--table", str(page)]) == 0
    filled = page.read_text("utf-8")
    assert filled.startswith("before\n")
    assert filled.endswith("after\n")
    assert "| log linear | 5 | 100 | 0.0 |" in filled
    assert "old" not in filled
    with pytest.raises(ValueError, match="no <!-- coverage: begin -->"):
        script.fill(out, "")


@pytest.mark.parametrize("truth", ["exact_match", "exact_match_by_edits"])
def test_simulated_mechanisms(script: Any, truth: str) -> None:
    results = script.run(script.Cell(truth, 7, 1000, 0.0), 30)
    own = next(result for result in results if result.forecaster == "own")
    assert own.n_interval >= 25
    assert own.n_covered >= 0.8 * own.n_interval


def test_the_page_has_every_cell(script: Any) -> None:
    text = PAGE.read_text("utf-8")
    table = text[text.index(script.BEGIN) : text.index(script.END)]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(script.TRUTHS) * len(script.K) * len(script.NOISE)
