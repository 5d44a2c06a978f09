"""The commands `forecast` and `shapes`, and that their pages say what they and the library say."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT, entry, run_program, score_file, strict_json, write_tree

import bigbench_meta as bm
from bigbench_meta.cli import forecast as module
from bigbench_meta.cli.forecast import forecast
from bigbench_meta.cli.main import main
from bigbench_meta.cli.shapes import shapes
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.forecast.forecast_curves import FORECASTERS, forecast_curves
from bigbench_meta.inference.forecast.forecasts import FORECAST_STATUSES
from bigbench_meta.inference.forecast.summary import forecast_summary, least_predictable
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes
from bigbench_meta.inference.shapes.shape_fits import FIT_STATUSES, SHAPES
from bigbench_meta.inference.shapes.trends import TREND_RULES, TRENDS
from bigbench_meta.report.tables.shapes import shape_tables

if TYPE_CHECKING:
    from click.testing import Result


def run(*arguments: object, code: int = 0) -> Result:
    result: Result = run_program(main, arguments, code=code)
    return result


def document(*arguments: object) -> dict[str, Any]:
    parsed: dict[str, Any] = strict_json(run(*arguments, "--json").stdout)
    return parsed


SIZES = {name: 10**place for name, place in zip("abcdefg", range(1, 8), strict=True)}
LOSS = {name: 1.5 * 0.6**place for place, name in enumerate(SIZES)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A sharp metric with its loss beside it, a straight line, and a subtask of the line."""
    tasks: dict[str, list[dict[str, float]]] = {
        "pair": [{"exact_str_match": math.exp(-5 * v), "cross_entropy": v} for v in LOSS.values()],
        "line": [{"multiple_choice_grade": 0.1 * place} for place in range(1, 8)],
    }
    write_tree(
        tmp_path / "results",
        [
            score_file(
                task_name=task, model_name=name, params=size,
                scores=[
                    entry(score_dict=scores, preferred_score=next(iter(scores)),
                          subtask_description=subtask)
                    for subtask in ([task, "part"] if task == "line" else [task])
                ],
            )
            for task, rows in tasks.items()
            for (name, size), scores in zip(SIZES.items(), rows, strict=True)
        ],
    )  # fmt: skip
    return tmp_path / "results"


# --- forecast ---


def test_numbers_are_those_of_the_library() -> None:
    options = {"k": "last", "forecasters": ("mixture", "log_pass_rate"), "adjust": "jeffreys"}
    curves = bm.build_curves(bm.load_embedded())
    frame = forecast_curves(curves.select(curves.keys["task"] == "arithmetic 3D+"), **options)  # type: ignore[arg-type]
    found = document(
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
    assert found["statuses"] == {"mixture": {"ok": 3}, "log_pass_rate": {"ok": 3}}
    assert [row["shots"] for row in found["least_predictable"]] == [
        *least_predictable(frame)["shots"]
    ]
    assert found["comparison"][-1]["n"] == 3


def test_smooth_metric_foretells_the_sharp_one(tree: Path) -> None:
    found = document("forecast", tree, "-k", "last", "--metric", "exact_str_match", "--metric",
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
    tree: Path, options: list[object], n_curves: int, fitted: set[int]
) -> None:
    found = document("forecast", tree, "--forecaster", "mixture", *options)
    assert found["n_curves"] == n_curves
    assert {row["k"] for row in found["forecasts"]} == fitted
    levels = {row["subtask"] for row in found["forecasts"] if row["task"] == "line"}
    if options == ["--level", "subtask"]:
        assert levels == {"line:part"} or "line" not in levels


def test_options_reach_the_library(tree: Path) -> None:
    wide, narrow = (
        document("forecast", tree, "-k", 6, "--forecaster", "mixture", "--confidence", level)
        for level in (0.99, 0.5)
    )
    for one, other in zip(wide["forecasts"], narrow["forecasts"], strict=True):
        assert one["lower"] <= other["lower"] <= other["upper"] <= one["upper"]
    names = [document("forecast", tree, "--criterion", name)["criterion"]
             for name in ("bic", "aicc")]  # fmt: skip
    assert names == ["bic", "aicc"]
    assert document("forecast", tree, "--threshold", -1000)["forecasts"][0]["flagged"] is True
    assert document("forecast", tree, "--threshold", 1e9)["forecasts"][0]["flagged"] is False


@pytest.mark.parametrize("command", ["forecast", "shapes"])
def test_numbers_of_examples_weigh(tree: Path, command: str) -> None:
    rows = {"forecast": "forecasts", "shapes": "curves"}[command]
    options = ["--metric", "exact_str_match"]
    if command == "forecast":
        options += ["--forecaster", "mixture"]
    equal = document(command, tree, *options)[rows]
    known = document(command, tree, *options, "--n-examples", 50)[rows]
    assert {row["weighting"] for row in equal} == {"equal"}
    assert {row["weighting"] for row in known} == {"binomial"}
    run(command, tree, "--n-examples", 0, code=2)


def test_text_says_how_to_read_it() -> None:
    text = run("forecast", "--task", "arithmetic 3D+").stdout
    assert "3 curves, 3 of them with larger models to forecast." in text
    assert "Coverage should be near 95%. Skill is 1 for a forecast without error" in text
    assert "Are flagged curves less predictable?" in text
    assert "Which of two forecasters is nearer" in text
    assert "Curves whose larger scales surprise most" in text
    assert "No forecast by smooth_pair: 45 of 45 (no_pair 45)." in text
    assert "Coverage should be near 80%" in run("forecast", "--confidence", 0.8).stdout


def test_nothing_beyond_what_is_fitted(tree: Path) -> None:
    assert "No curve has a model larger than those that are fitted." in run(
        "forecast", tree, "-k", 7
    ).stdout  # fmt: skip
    found = document("forecast", tree, "-k", 7)
    assert (found["n_forecasts"], found["summary"]) == (0, [])
    assert found["statuses"] == {name: {} for name in module.DEFAULT_FORECASTERS}


def test_files(tree: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", tmp_path / "rows.csv"
    found = document("forecast", tree, "--out", out, "-o", rows)
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
    text = run("forecast", tree, "--out", out).stdout
    assert f"{len(names)} files written into" in text


def test_nothing_surprising_has_no_figure(tree: Path, tmp_path: Path) -> None:
    found = document("forecast", tree, "-k", 7, "--out", tmp_path / "out")
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


@pytest.mark.parametrize("command", ["forecast", "shapes"])
def test_problems_and_strictness(tree: Path, command: str) -> None:
    (tree / "pair" / "results" / "scores_x.json").write_text("{", "utf-8")
    assert "error: " in run(command, tree).stderr
    run(command, tree, "--strict", code=1)
    assert document(command, tree)["n_problems"] == 1


@pytest.mark.parametrize("command", ["forecast", "shapes"])
def test_store_and_known_issues(tree: Path, tmp_path: Path, command: str) -> None:
    bm.Store(tmp_path / "store").ingest([tree])
    assert document(command, tmp_path / "store")["n_curves"] == document(command, tree)["n_curves"]
    assert document(command)["known_issues"]["n_curves"] == 6
    left = document(command, "--exclude-known-issues=gpt3-piqa-contamination")
    assert left["known_issues"]["n_curves_excluded"] > 0
    assert left["n_curves"] < 189


def test_names_of_forecasters_are_those_of_the_library() -> None:
    assert module.FORECASTERS == FORECASTERS
    assert set(module.DEFAULT_FORECASTERS) <= set(FORECASTERS)


@pytest.mark.parametrize("command", [forecast, shapes])
def test_help(command: Any) -> None:
    text = run(command.name, "--help").stdout
    assert len(re.findall(rf"^ +bigbench-meta {command.name}\b", text, re.MULTILINE)) >= 3
    silent = [p.name for p in command.params if p.param_type_name == "option" and not p.help]
    assert silent == []


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from bigbench_meta.cli.forecast import forecast\n"
        "from bigbench_meta.cli.shapes import shapes\n"
        "for command in (forecast, shapes):\n"
        "    command.get_help(command.make_context('x', []))\n"
        "print({'numpy', 'pandas', 'scipy', 'altair'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


# --- shapes ---


def test_shapes_are_those_of_the_library(tmp_path: Path) -> None:
    curves = bm.build_curves(bm.load_embedded())
    frame = curve_shapes(curves)
    found = document("shapes", "-o", tmp_path / "rows.csv", "--out", tmp_path / "out")
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
    assert len(found["outputs"]) == 9


def test_shapes_by_bic_and_by_level(tree: Path) -> None:
    curves = bm.build_curves(bm.load_embedded())
    expected = curve_shapes(curves, criterion="bic")["best_shape"].tolist()
    found = document("shapes", "--criterion", "bic")
    assert [row["best_shape"] for row in found["curves"]] == expected
    assert document("shapes", tree, "--level", "all")["n_curves"] == 4
    assert document("shapes", tree)["n_curves"] == 3


def test_text_of_shapes(tree: Path) -> None:
    text = run("shapes").stdout
    assert "189 curves (20 shown, sharp ones first). Use -o or --json for all." in text
    # Sharp ones first.
    names = re.findall(r" (increasing|breakthrough) +(?:step|log_linear|logistic|power_law)", text)
    assert names[0] == "breakthrough"
    assert "3 curves. Use -o" in run("shapes", tree).stdout


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


# --- docs/shapes.md and docs/forecast.md name everything ---

PAGES = {name: ROOT / "docs" / f"{name}.md" for name in ("shapes", "forecast")}


def test_names_of_the_pages() -> None:
    """Every status, class, shape and forecaster is on its page."""
    if not all(page.is_file() for page in PAGES.values()):
        pytest.skip("needs the folder `docs`")
    shapes_page, forecast_page = (page.read_text("utf-8") for page in PAGES.values())
    for name in (*FIT_STATUSES, *SHAPES):
        assert f"`{name}`" in shapes_page, name
    assert all(name in shapes_page for name in TRENDS)
    for name in FORECAST_STATUSES[1:]:
        assert f"`{name}`" in forecast_page, name
    for name in ("mixture", "log_pass_rate", "smooth_pair"):
        assert f"`{name}`" in forecast_page


# --- scripts/forecast_coverage.py ---


@pytest.fixture
def script() -> Any:
    path = ROOT / "scripts" / "forecast_coverage.py"
    if not path.is_file():
        pytest.skip("needs the folder `scripts`")
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
    if not PAGES["forecast"].is_file():
        pytest.skip("needs the folder `docs`")
    text = PAGES["forecast"].read_text("utf-8")
    table = text[text.index(script.BEGIN) : text.index(script.END)]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(script.TRUTHS) * len(script.K) * len(script.NOISE)
