"""The command `score`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import entry, jumps, plain, run, run_json, write_tree

import bigbench_meta as bm
from bigbench_meta.core.schema import CURVE_SCORES

if TYPE_CHECKING:
    from pathlib import Path


def test_json(tree: Path) -> None:
    found = run_json("score", tree)
    assert found["n_curves"] == len(found["curves"]) == 4
    assert [list(curve) for curve in found["curves"]] == [CURVE_SCORES.names] * 4
    scores = bm.score_curves(bm.build_curves(bm.read_results(tree)[0]))
    expected = [
        {
            name: ("nan" if value is None and scores[name].dtype.kind == "f" else value)
            if value != float("inf")
            else "inf"
            for name, value in row.items()
        }
        for row in plain(scores)
    ]
    assert found["curves"] == expected
    of_alpha = {c["metric"]: c for c in found["curves"] if c["task"] == "alpha"}
    assert of_alpha["exact_str_match"]["emergence_score"] == "inf"
    assert of_alpha["exact_str_match"]["status"] == "zero_median"
    assert of_alpha["exact_str_match"]["variant"] is None
    assert of_alpha["exact_str_match"]["resolution"] == "nan"
    assert of_alpha["bleu"]["emergence_score"] == 3.0


def test_a_fall_is_minus_infinity(tmp_path: Path) -> None:
    files = [
        changed | {"scores": [entry(score_dict={"exact_str_match": 0.9 * (n == 0)})]}
        for n, changed in enumerate(jumps("alpha"))
    ]
    write_tree(tmp_path / "tree", files)
    (curve,) = run_json("score", tmp_path / "tree")["curves"]
    assert curve["emergence_score"] == "-inf"
    assert curve["linearity"] < 0


def test_inference(tree: Path, tmp_path: Path) -> None:
    """With the sizes of test sets from a file, which has only one of the two tasks."""
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("task,n_examples\nalpha,50\n")
    options = ("--inference", "--n-examples", sizes, "--replicates", 99, "-o", tmp_path / "s.csv")
    result = run("score", tree, *options)
    assert "of 4 curves have no interval: the number of examples behind their" in result.stderr
    assert "(see --n-examples)" in result.stderr
    assert "mechanism" in result.stdout
    rows = run_json("score", tree, *options)["curves"]
    names = {"emergence_low", "mechanism_p", "line_q_bh", "wei_emergent", "forecast_skill", "trend"}
    assert names <= set(rows[0])
    assert {(row["task"], row["metric"], row["interval_status"]) for row in rows} == {
        ("alpha", "exact_str_match", "ok"),
        ("alpha", "bleu", "no_sampling_error"),
        ("beta", "exact_str_match", "no_sampling_error"),
        ("beta", "bleu", "no_sampling_error"),
    }
    assert len(pd.read_csv(tmp_path / "s.csv")) == len(rows) == 4
    without = run_json("score", tree)["curves"]
    assert [row["emergence_score"] for row in without] == [row["emergence_score"] for row in rows]
    assert not names & set(without[0])


def test_embedded_results() -> None:
    assert run_json("score")["n_curves"] == 189
    text = run("score").stdout
    assert "189 curves; the 20 highest are shown. Use -o or --json for all columns" in text


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_output(tree: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"scores{ending}"
    assert f"tree: 4 curves. All are in {path}." in run("score", tree, "-o", path).stdout
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".json": pd.read_json}[ending]
    frame = read(path)
    assert list(frame) == CURVE_SCORES.names
    found = run_json("score", tree)["curves"]
    scores = [float(curve["emergence_score"]) for curve in found]
    assert frame["emergence_score"].astype(float).tolist() == scores


def test_signal_to_noise(tmp_path: Path) -> None:
    """Two models of one size with two seeds each; without the option there is no table."""
    rows = [
        ("a", 100, "0", 0.29), ("a", 100, "1", 0.31), ("b", 120, "0", 0.49), ("b", 120, "1", 0.51),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model_family", "total_params", "replicate", "score"])
    table = table.assign(
        model_name=table["model_family"], benchmark="b", task="t", subtask="t", metric="acc"
    )
    path = tmp_path / "observations.csv"
    table.to_csv(path, index=False)
    row = run_json("score", path, "--signal-to-noise")["signal_to_noise"][0]
    assert (row["status"], row["noise_source"], row["n_runs"]) == ("ok", "seeds", 4)
    assert row["signal"] == pytest.approx(0.5)
    assert "signal_to_noise" not in run_json("score", path)
    assert "ok 1" in run("score", path, "--signal-to-noise").stdout
