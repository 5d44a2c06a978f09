"""The command `accounts`, and the sentences of docs/accounts.md."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from helpers import ROOT, entry, run, run_json, score_file, write_tree

import bigbench_meta as bm
from bigbench_meta.aggregate.attribution.account import account_for_flags

STEP, LINE = [0.1, 0.1, 0.1, 0.9], [0.1, 0.2, 0.3, 0.4]


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
    found = run_json("accounts", tree)
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
    found = run("accounts", tree).stdout
    assert "results: 12 scored curves, 6 of them flagged (emergence score above 100)." in found
    assert "mcnemar" in found
    assert found.index("What these results cannot show:") > found.index("mcnemar")
    assert "- All curves belong to one model family" in found


def test_selection(tree: Path) -> None:
    found = run_json(
        "accounts", tree, "--task", "t0", "--task", "t1", "--metric", "exact_str_match"
    )
    assert (found["n_scored"], found["paired"]["n_pairs"]) == (2, 0)
    assert {row["status"] for row in found["ratios"]} == {"one_class"}


@pytest.mark.parametrize(
    ("options", "n_flagged"),
    [([], 6), (["--threshold", "2.5"], 12), (["--threshold", "inf"], 6), (["--min-scales", 5], 0)],
)
def test_options(tree: Path, options: list[object], n_flagged: int) -> None:
    found = run_json("accounts", tree, *options)
    assert found["n_flagged"] == n_flagged
    if "--min-scales" in options:
        assert (found["n_scored"], found["left_out"]) == (0, {"too few scales": 12})


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_output_holds_every_statistic(tree: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"statistics.{ending}"
    run("accounts", tree, "-o", path)
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


@pytest.mark.full
def test_sensitivity_and_files(tree: Path, tmp_path: Path) -> None:
    folder, path = tmp_path / "out", tmp_path / "all.csv"
    found = run_json("accounts", tree, "--sensitivity", "--out", folder, "-o", path)
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
    said = run("accounts", tree, "--out", tmp_path / "plain").stdout
    assert "25 files written into " in said


def test_embedded_results() -> None:
    found = run_json("accounts")
    assert (found["n_scored"], found["n_flagged"]) == (188, 21)
    exact = next(row for row in found["ratios"] if row["method"] == "exact")
    assert (exact["estimate"], exact["high"], exact["status"]) == ("inf", "inf", "zero_cell")
    assert exact["low"] == pytest.approx(0.2468, abs=1e-4)
    assert found["known_issues"]["n_curves"] == 6
    assert not any(isinstance(value, float) and math.isnan(value) for value in exact.values())


# --- docs/accounts.md ---


def test_sentences_of_the_page() -> None:
    text = (ROOT / "docs" / "accounts.md").read_text("utf-8")
    account = account_for_flags(bm.score_curves(bm.build_curves(bm.load_embedded())))
    curves = account.rows.frame
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

    table = account.estimates()
    assert all(f"`{name}`" in text for name in STATUSES if name != "ok")
    names = {name for name in table["statistic"] if not name.startswith("share_flagged")}
    assert all(f"`{name}`" in text for name in names)
