"""The command `accounts`, and that docs/accounts.md says what it and the library say."""

from __future__ import annotations

import doctest
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from helpers import ROOT, entry, run_program, score_file, strict_json, write_tree

import bigbench_meta as bm
from bigbench_meta.aggregate.attribution.account import account_for_flags
from bigbench_meta.cli.accounts import accounts
from bigbench_meta.cli.main import main

if TYPE_CHECKING:
    from click.testing import Result


STEP, LINE = [0.1, 0.1, 0.1, 0.9], [0.1, 0.2, 0.3, 0.4]


def run(*arguments: object, code: int = 0) -> Result:
    result: Result = run_program(main, ["accounts", *arguments], code=code)
    return result


def document(*arguments: object) -> dict[str, Any]:
    parsed: dict[str, Any] = strict_json(run(*arguments, "--json").stdout)
    return parsed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six tasks with a step in exact match, and an even rise in multiple choice's Brier score."""
    sizes = {"a": 10, "b": 100, "c": 1000, "d": 10000}
    write_tree(
        tmp_path / "results",
        [
            score_file(
                task_name=f"t{number}", model_name=name, params=size,
                scores=[entry(score_dict={"exact_str_match": sharp, "top_choice_brier_score":
                                          1 - smooth},
                              preferred_score="exact_str_match", subtask_description=f"t{number}")],
            )
            for number in range(6)
            for (name, size), sharp, smooth in zip(sizes.items(), STEP, LINE, strict=True)
        ],
    )  # fmt: skip
    return tmp_path / "results"


def test_json(tree: Path) -> None:
    found = document(tree)
    assert (found["n_scored"], found["n_flagged"], found["threshold"]) == (12, 6, 100.0)
    sharp, smooth, unknown = found["by_class"]
    assert (sharp["metric_class"], sharp["n_flagged"], sharp["n_scored"]) == ("sharp", 6, 6)
    assert (smooth["n_flagged"], smooth["n_scored"], unknown["n_scored"]) == (0, 6, 0)
    assert found["paired"]["n_sharp_only"] == found["paired"]["n_pairs"] == 6
    tests = {(row["statistic"], row["method"]): row for row in found["paired"]["tests"]}
    mcnemar = tests["paired_odds_ratio", "mcnemar"]
    assert (mcnemar["estimate"], mcnemar["p_value"]) == ("inf", pytest.approx(2 * 0.5**6))
    assert tests["log_sharpness_difference", "median"]["estimate"] == "inf"
    (model,) = found["models"]
    assert (model["status"], model["terms"]) == ("too_few_clusters", [])
    assert found["outputs"] == []
    assert "sensitivity" not in found


def test_text(tree: Path) -> None:
    found = run(tree).stdout
    assert "results: 12 scored curves, 6 of them flagged (emergence score above 100)." in found
    assert "mcnemar" in found
    assert found.index("What these results cannot show:") > found.index("mcnemar")
    assert "- All curves are of one model family" in found


def test_store_and_selection(tree: Path, tmp_path: Path) -> None:
    store = bm.Store(tmp_path / "store")
    store.ingest([tree])
    assert document(tmp_path / "store") == document(tree)
    found = document(tree, "--task", "t0", "--task", "t1", "--metric", "exact_str_match")
    assert (found["n_scored"], found["paired"]["n_pairs"]) == (2, 0)
    assert {row["status"] for row in found["ratios"]} == {"one_class"}


@pytest.mark.parametrize(
    ("options", "n_flagged"),
    [([], 6), (["--threshold", "2.5"], 12), (["--threshold", "inf"], 6), (["--min-scales", 5], 0)],
)
def test_options(tree: Path, options: list[object], n_flagged: int) -> None:
    found = document(tree, *options)
    assert found["n_flagged"] == n_flagged
    if "--min-scales" in options:
        assert (found["n_scored"], found["left_out"]) == (0, {"too few scales": 12})


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_output_holds_every_statistic(tree: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"statistics.{ending}"
    run(tree, "-o", path)
    observations, _ = bm.read_results(tree)
    account = account_for_flags(bm.score_curves(bm.build_curves(observations)))
    expected = account.estimates()
    if ending == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(path), expected)
    elif ending == "csv":
        found = pd.read_csv(path, keep_default_na=False)
        assert found["statistic"].tolist() == expected["statistic"].tolist()
        assert found["estimate"].replace("", "nan").astype(float).tolist() == pytest.approx(
            expected["estimate"].tolist(), nan_ok=True
        )
    else:
        rows = json.loads(path.read_text("utf-8"))
        assert [row["message"] for row in rows] == expected["message"].tolist()


def test_sensitivity_and_files(tree: Path, tmp_path: Path) -> None:
    folder, path = tmp_path / "out", tmp_path / "all.csv"
    found = document(tree, "--sensitivity", "--out", folder, "-o", path)
    rows = found["sensitivity"]
    assert {row["analysis"] for row in rows} >= {"base", "threshold", "leave_one_scale_out"}
    assert len(pd.read_csv(path)) == len(rows)
    assert found["sensitivity_summary"][0]["statistic"] == "risk_ratio"
    names = {Path(name).relative_to(folder.as_posix()).as_posix() for name in found["outputs"]}
    assert names >= {
        "tables/flags_by_class.csv", "tables/paired_tests.tex", "tables/sensitivity.md",
        "figures/specifications_odds_ratio.svg", "figures/specifications_share_sharper.png",
    }  # fmt: skip
    assert all((folder / name).stat().st_size for name in names)
    said = run(tree, "--out", tmp_path / "plain").stdout
    assert "18 files written into " in said


def test_problems_and_strictness(tree: Path) -> None:
    (tree / "t0" / "results" / "scores_x.json").write_text("{", "utf-8")
    assert "error: " in run(tree).stderr
    assert document(tree)["n_problems"] == 1
    run(tree, "--strict", code=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["--threshold", "nan"], "threshold: not a number"),
        (["--task", "nothing"], "no scores of task nothing"),
        (["-o", "statistics.txt"], "statistics.txt: unknown ending"),
        (["--level", "family"], "'family' is not one of"),
    ],
)
def test_refusals(arguments: list[object], message: str) -> None:
    result = run(*arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_help_teaches() -> None:
    text = run("--help").stdout
    assert "bigbench-meta accounts store --level subtask --json" in text
    assert "tasks as the units" in " ".join(text.split())
    silent = [p.name for p in accounts.params if p.param_type_name == "option" and not p.help]
    assert silent == []


def test_embedded_results() -> None:
    found = document()
    assert (found["n_scored"], found["n_flagged"]) == (188, 21)
    exact = next(row for row in found["ratios"] if row["method"] == "exact")
    assert (exact["estimate"], exact["high"], exact["status"]) == ("inf", "inf", "zero_cell")
    assert exact["low"] == pytest.approx(0.2468, abs=1e-4)
    assert found["known_issues"]["n_curves"] == 6
    assert not any(isinstance(value, float) and math.isnan(value) for value in exact.values())


# --- docs/accounts.md says what the commands say ---

PAGE = ROOT / "docs" / "accounts.md"


def blocks(language: str) -> list[str]:
    if not PAGE.is_file():
        return []
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return fence.findall(PAGE.read_text("utf-8"))


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_of_the_page(block: str) -> None:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        name, *arguments = command.removeprefix("bigbench-meta ").split()
        assert name == "accounts"
        before, _, tail = output.partition("...\n")
        assert before == ""
        assert run(*arguments).stdout.endswith(tail)


def test_python_of_the_page() -> None:
    if not PAGE.is_file():
        pytest.skip("needs the folder `docs`")
    examples = "\n".join(blocks("pycon"))
    test = doctest.DocTestParser().get_doctest(examples, {}, "accounts.md", str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    runner.run(test, out=told.append)
    assert runner.tries > 20
    assert not told, "".join(told)


def test_sentences_of_the_page() -> None:
    if not PAGE.is_file():
        pytest.skip("needs the folder `docs`")
    text = PAGE.read_text("utf-8")
    observations = bm.load_embedded()
    curves = account_for_flags(bm.score_curves(bm.build_curves(observations))).rows.frame
    flagged = curves[curves["flagged"]]
    is_arithmetic = flagged["task"].astype(str).str.startswith("arithmetic")
    assert is_arithmetic.sum() == 19
    assert set(flagged[is_arithmetic]["metric"]) == {"acc"}
    assert set(flagged[~is_arithmetic]["metric"]) == {"ppl"}
    assert "19 of the 21 are of arithmetic" in text
    arithmetic = curves[curves["task"].astype(str).str.startswith("arithmetic")]
    assert arithmetic["metric"].nunique() == 1
    # What the page says of statuses and statistics is all there is.
    from bigbench_meta.aggregate.attribution.estimates import STATUSES

    table = account_for_flags(bm.score_curves(bm.build_curves(observations))).estimates()
    assert all(f"`{name}`" in text for name in STATUSES if name != "ok")
    names = {name for name in table["statistic"] if not name.startswith("share_flagged")}
    assert all(f"`{name}`" in text for name in names)
