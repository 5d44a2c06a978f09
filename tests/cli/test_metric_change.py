"""The command `metric-change`: on results, on the embedded sets each by itself, with samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from helpers import SIZES, run, run_json, score_file, write_json

import bigbench_meta as bm
from bigbench_meta.aggregate.metric_change import VERDICTS, change_sentence
from bigbench_meta.catalog.embedded import embedded_set

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def document():
    return run_json("metric-change", "--replicates", 99)


def test_embedded_sets_are_compared_each_by_itself(document) -> None:
    assert [entry["name"] for entry in document["sets"]] == ["lamda", "gpt3", "paper"]
    assert [entry["n_pairs"] for entry in document["sets"]] == [66, 33, 41]
    assert document["n_pairs"] == len(document["pairs"]) == 66 + 33 + 41
    assert {pair["set"] for pair in document["pairs"]} == {"lamda", "gpt3", "paper"}
    assert list(document["counts"]) == list(VERDICTS)
    assert sum(document["counts"].values()) == document["n_pairs"]
    for entry in document["sets"]:
        assert sum(entry["counts"].values()) == entry["n_pairs"] == len(entry["pairs"])
        assert entry["known_issues"]["excluded"] is False
        assert entry["role"] in {"evidence", "illustration"}
        assert f"{entry['title']}: {entry['summary'][0]}" in document["summary"]
    assert document["sets"][0]["counts"]["same metric"] == 4
    fig3 = [pair for pair in document["pairs"] if pair["subtask"] == "4-digit addition: length 4"]
    assert {pair["variant"]: pair["verdict"] for pair in fig3} == {
        "temperature 0.0": "evaporates", "temperature 1.0": "evaporates",
    }  # fmt: skip
    assert fig3[0]["emergence_score"] == pytest.approx(238.39, abs=0.01)
    infinite = {pair["emergence_score"] for pair in document["pairs"]} & {"inf", "-inf"}
    assert infinite


def test_numbers_are_those_of_the_library() -> None:
    found = run_json("metric-change", "--embedded", "paper", "--threshold", 50, "--seed", 3,
                     "--only-flagged", "--confidence", 0.9, "--replicates", 99)  # fmt: skip
    expected = bm.metric_change(
        bm.load_embedded("paper"), threshold=50, seed=3, only_flagged=True, level=0.9, n_boot=99
    )
    assert (found["n_pairs"], found["threshold"], found["level"]) == (len(expected), 50, 0.9)
    for row, (_, own) in zip(found["pairs"], expected.iterrows(), strict=True):
        assert (row["verdict"], row["reason"]) == (own["verdict"], own["reason"])
        for name in ("other_sharpness_high", "log_ratio_low", "cut"):
            assert float(row[name]) == pytest.approx(own[name], nan_ok=True)
    assert found["sets"][0]["summary"] == [change_sentence(expected)]


@pytest.mark.usefixtures("no_drawing")
def test_results_are_compared_and_written(tmp_path: Path, pair: Path) -> None:
    run("metric-change", pair, "--out", tmp_path / "out", "-o", tmp_path / "pairs.csv",
        "--replicates", 99, "--n-examples", 200)  # fmt: skip
    frame = pd.read_csv(tmp_path / "pairs.csv")
    assert frame[["metric", "other_metric"]].to_numpy().tolist() == [
        ["exact_str_match", "cross_entropy"]
    ]
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"metric_change.csv", "metric_change_verdicts.md", "metric_change.svg"} <= written
    table = pd.read_csv(tmp_path / "out" / "tables" / "metric_change.csv")
    assert table["verdict"].tolist() == frame["verdict"].tolist()


def test_metric_that_matters_is_forecast(pair: Path) -> None:
    found = run_json("metric-change", pair, "--metric", "exact_str_match", "--replicates", 99)
    (row,) = found["pairs"]
    assert row["forecast_status"] == "ok"
    assert len(found["summary"]) == 2
    assert "exact_str_match" in found["summary"][1]
    skipped = run("metric-change", "--metric", "token_edit_distance", "--replicates", 99)
    assert "Figures of Schaeffer" in skipped.stdout
    assert "LaMDA" not in skipped.stdout
    assert "lamda is skipped" in skipped.stderr


def write_logs(folder: Path) -> None:
    """Full logs of four models that write 1234 with more and more of its digits right."""
    rng = np.random.default_rng(0)
    for p, (model, size) in zip((0.2, 0.5, 0.7, 0.95), SIZES.items(), strict=True):
        samples = [
            {"input": f"{number} =", "targets": {"1234": {}},
             "output": "".join(c if rng.random() < p else "x" for c in "1234")}
            for number in range(60)
        ]  # fmt: skip
        queries = [{"function": "generate_text", "shots": 0, "task": "sums", "samples": samples}]
        log = score_file(model_name=model, params=size, score_dict={"bleu": 1.0})
        path = folder / f"alpha/results/full-log_Fam_{model}.json"
        write_json(path, log | {"queries": queries})


def test_rescored_samples_are_drawn_anew_for_both_metrics(tmp_path: Path) -> None:
    write_logs(tmp_path / "logs")
    store = tmp_path / "store"
    run("rescore", tmp_path / "logs", "--metric", "exact_str_match", "--metric",
        "per_token_accuracy", "--store", store)  # fmt: skip
    found = run_json("metric-change", store, "--with-samples", "--replicates", 199)
    (row,) = [row for row in found["pairs"] if "bleu" not in (row["metric"], row["other_metric"])]
    assert (row["metric"], row["other_metric"]) == ("exact_str_match", "per_token_accuracy")
    assert (row["subtask"], row["noise"], row["other_noise"]) == ("sums", "samples", "samples")
    assert row["joint"]
    assert float(row["log_ratio_low"]) <= row["log_ratio"] <= float(row["log_ratio_high"])


@pytest.mark.usefixtures("no_drawing")
def test_predictions_of_section3(tmp_path: Path) -> None:
    asked = ("metric-change", "--embedded", "paper", "--predictions", "--replicates", 99)
    found = run_json(*asked, "--out", tmp_path)
    expected = bm.section3_predictions(
        bm.load_embedded("paper"), n_boot=99, reading_error=embedded_set("paper").reading_error
    )
    assert len(found["predictions"]) == len(expected)
    for row, (_, own) in zip(found["predictions"], expected.iterrows(), strict=True):
        names = ("prediction", "metric", "n", "n_agree", "n_disagree", "n_undecided")
        assert [row[name] for name in names] == own[list(names)].tolist()
    assert found["sets"][0]["predictions"] == found["predictions"]
    assert found["sets"][0]["summary"][1:] == bm.section3_sentences(expected)
    written = pd.read_csv(tmp_path / "tables" / "section3_predictions.csv")
    assert written["n_agree"].tolist() == expected["n_agree"].tolist()
    assert "Target length: of 40 models" in run(*asked).stdout
    gpt3 = run(*("gpt3" if word == "paper" else word for word in asked))
    assert "Target length: nothing to count." in gpt3.stdout


def test_what_cannot_be_compared_is_said(tree: Path) -> None:
    found = run_json("metric-change", tree, "--task", "alpha", "--replicates", 99)
    assert found["n_pairs"] == len(found["pairs"])
    assert "sets" not in found
    wrong = run("metric-change", tree, "--metric", "no_such", code=2)
    assert "no_such" in wrong.stderr
    assert "needs a store" in run("metric-change", tree, "--with-samples", code=2).stderr


@pytest.mark.usefixtures("no_drawing")
def test_choices_are_tried_if_asked_for(tmp_path: Path) -> None:
    arguments = (
        "metric-change",
        "--embedded",
        "paper",
        "--task",
        "MNIST LeNet",
        "--replicates",
        99,
    )
    plain = run_json(*arguments)
    assert "induced" not in plain
    assert "induced" not in plain["sets"][0]
    found = run_json(*arguments, "--induce", "--out", tmp_path / "out")
    expected = bm.induced_emergence(
        bm.build_curves(bm.load_embedded("paper").query("task == 'MNIST LeNet'"))
    )
    assert len(found["induced"]) == len(found["sets"][0]["induced"]) == len(expected.largest)
    assert found["induced"] == found["sets"][0]["induced"]
    sizes = [row for row in found["induced"]
             if (row["choice"], row["metric"]) == ("sizes kept", "accuracy")]  # fmt: skip
    assert sizes[0]["models"] == "width 1, width 32, width 48, width 64"
    assert found["sets"][0]["summary"][1:] == bm.induced_sentences(expected.largest)
    names = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"induced.csv", "induced_choices.csv", "induced_by_sizes_kept.svg",
            "induced_by_subset_size.png"} <= names  # fmt: skip
    assert "induced_by_threshold.svg" not in names  # needs samples
    printed = run(*arguments, "--induce").stdout
    assert "Model sizes left out: 2 of 4 curves are above the cut" in printed


def test_thresholds_are_tried_on_stored_samples(tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_logs(tmp_path / "logs")
    run("rescore", tmp_path / "logs", "--metric", "per_token_accuracy", "--store", store)
    found = run_json("metric-change", store, "--with-samples", "--induce", "--replicates", 99)
    (row,) = [row for row in found["induced"]
              if (row["choice"], row["metric"]) == ("threshold", "per_token_accuracy")]  # fmt: skip
    assert row["induced_metric"].startswith("per_token_accuracy>=")
    assert (row["basis"], row["n_examples"]) == ("examples", 60)
