"""The command `rescore`: logs and stores in, scores out, into a store and into a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from helpers import SIZES, run, run_json, score_file, write_json

import bigbench_meta as bm

if TYPE_CHECKING:
    from pathlib import Path


QUESTIONS = {"2 + 2 =": "4", "30 + 41 =": "71", "90 + 41 =": "131"}
ANSWERS = {"1m": ("7", "9", "1"), "8m": ("4", "72", "133"), "64m": ("4", "71", "131")}


def full_log(model: str) -> dict[str, Any]:
    """Return a log of generated sums, and of one choice between two options."""
    sums = [
        {"input": question, "targets": {target: {}}, "output": output}
        for (question, target), output in zip(QUESTIONS.items(), ANSWERS[model], strict=True)
    ]
    p = {"1m": 0.3, "8m": 0.5, "64m": 0.9}[model]
    choice = {
        "input": "true?", "targets": ["yes", "no"], "target_values": {"yes": 1, "no": 0},
        "scores": [math.log(p), math.log(1 - p)],
    }  # fmt: skip
    queries = [
        {"function": "generate_text", "shots": 0, "task": "sums", "samples": sums},
        {"function": "cond_log_prob", "shots": 0, "task": "truths", "samples": [choice]},
    ]
    document = score_file(model_name=model, params=SIZES[model], score_dict={"bleu": 1.0})
    return document | {"queries": queries}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for model in ANSWERS:
        write_json(tmp_path / f"logs/alpha/results/full-log_Fam_{model}.json", full_log(model))
    return tmp_path / "logs"


METRICS = (
    "--metric", "exact_str_match", "--metric", "token_edit_distance", "--metric", "brier_score",
)  # fmt: skip
EXPECTED = {
    ("sums", "exact_str_match"): [0, 1 / 3, 1],
    ("sums", "token_edit_distance"): [(1 + 2 + 2) / 3, 2 / 3, 0],
    ("truths", "brier_score"): [2 * 0.7**2, 2 * 0.5**2, 2 * 0.1**2],
}


def by_curve(frame: pd.DataFrame) -> dict[tuple[str, str], list[float]]:
    ordered = frame.sort_values("total_params")
    return {
        (str(subtask), str(metric)): rows["score"].round(12).tolist()
        for (subtask, metric), rows in ordered.groupby(["subtask", "metric"], observed=True)
        if metric != "bleu"
    }


def expected(*metrics: str) -> dict[tuple[str, str], list[float]]:
    return {
        key: [round(score, 12) for score in scores]
        for key, scores in EXPECTED.items()
        if not metrics or key[1] in metrics
    }


def test_logs_to_a_store_that_other_commands_read(logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    found = run_json("rescore", logs, *METRICS, "--store", store)
    assert (found["files"], found["loaded"], found["failed"]) == (3, 3, 0)
    assert found["observations"] == 9
    assert by_curve(bm.Store(store).observations()) == expected()
    scored = run_json("score", store)
    assert {curve["n_scales"] for curve in scored["curves"]} == {3}


def test_what_an_example_lacks_is_reported(logs: Path, tmp_path: Path) -> None:
    found = run_json("rescore", logs, *METRICS, "--store", tmp_path / "store")
    reasons = {problem["field"]: problem["reason"] for problem in found["problems"]}
    assert reasons["brier_score"].startswith("3 of 4 samples of ")
    assert reasons["exact_str_match"].endswith("on alpha lack output or targets")
    run("rescore", logs, *METRICS, "--strict", code=1)


def test_a_store_is_scored_again(logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("ingest", logs, "--samples", "--store", store)
    run_json("rescore", store, "--metric", "exact_str_match")
    run_json("rescore", store, "--metric", "token_edit_distance", "--tokens", "words")
    # With other tokens, in place of the scores before, not beside them.
    run_json("rescore", store, "--metric", "token_edit_distance", "--task", "alpha")
    observations = bm.Store(store).observations()
    assert by_curve(observations) == expected("exact_str_match", "token_edit_distance")
    assert bm.Store(store).conflicts().empty


def test_scores_to_a_file(logs: Path, tmp_path: Path) -> None:
    run("rescore", logs, "--metric", "brier_score", "-o", tmp_path / "scores.csv")
    frame = pd.read_csv(tmp_path / "scores.csv")
    assert by_curve(frame) == expected("brier_score")
    assert not (tmp_path / "store").exists()


def test_every_length_apart(logs: Path, tmp_path: Path) -> None:
    run(
        "rescore", logs, "--metric", "exact_str_match", "--by-length", "-o", tmp_path / "scores.csv"
    )
    frame = pd.read_csv(tmp_path / "scores.csv")
    assert set(frame["subtask"]) == {"sums: length 1", "sums: length 2", "sums: length 3"}
    assert (frame["n_examples"] == 1).all()


def test_problems_by_difficulty(logs: Path, tmp_path: Path) -> None:
    """The log of 8m solves one sum of three, and the choice; 1m is scored on what it cannot."""
    scores = tmp_path / "scores.csv"
    options = ("--metric", "pass@1", "--difficulty-by", "8m", "--buckets", "1")
    found = run_json("rescore", logs, *options, "-o", scores)
    assert found["excluded_models"] == ["8m"]
    frame = pd.read_csv(scores)
    assert set(frame["model_name"]) == {"1m", "64m"}
    subtasks = frame.set_index(["subtask", "model_name"])["score"].to_dict()
    assert subtasks["sums: difficulty 1 of 1", "64m"] == 1
    assert subtasks["sums: difficulty 1 of 1", "1m"] == 0
    assert subtasks["sums: solved by no reference model", "64m"] == 1
    text = run("rescore", logs, *options).output
    assert "No scores by difficulty for 8m: they define it." in text


def test_what_the_evaluation_reported_stays(logs: Path, tmp_path: Path) -> None:
    """A score of the log under the same name is not joined by another one."""
    log = full_log("1m")
    log["scores"][0]["score_dict"] = {"exact_str_match": 0.5}
    log["scores"][0]["subtask_description"] = "sums"
    write_json(logs / "alpha/results/full-log_Fam_1m.json", log)
    store = tmp_path / "store"
    found = run_json("rescore", logs, "--metric", "exact_str_match", "--store", store)
    assert found["observations"] == 2
    reasons = [problem["reason"] for problem in found["problems"]]
    assert "0 for 1m on sums, but the evaluation reported 0.5, which is kept" in reasons
    assert by_curve(bm.Store(store).observations()) == {
        ("sums", "exact_str_match"): [0.5, round(1 / 3, 12), 1]
    }


def test_only_scores_that_the_evaluation_reported(logs: Path, tmp_path: Path) -> None:
    """Nothing is new, which is no error."""
    for model in ANSWERS:
        log = full_log(model)
        log["scores"][0]["score_dict"] = {"exact_str_match": 0.5}
        log["scores"][0]["subtask_description"] = "sums"
        write_json(logs / f"alpha/results/full-log_Fam_{model}.json", log)
    store = tmp_path / "store"
    found = run_json("rescore", logs, "--metric", "exact_str_match", "--store", store)
    assert found["observations"] == 0
    assert len(found["problems"]) >= 3
    assert by_curve(bm.Store(store).observations()) == {("sums", "exact_str_match"): [0.5] * 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metric", "nonsense"), "Error: metrics: 'nonsense' is not a metric\nHint: one of mult"),
        ((), "Missing option '--metric'"),
        (("--metric", "bleu", "--task", "other"), "no samples"),
        (("--metric", "exact_str_match", "--tokens", "bytes"), "'bytes' is not one of"),
        (("--metric", "pass@1", "--difficulty-by", "2m"), "'2m' has no samples\nHint: models with"),
        (("--metric", "bleu", "--difficulty-by", "1m"), "no metric that judges several samples"),
    ],
)
def test_refusals(logs: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in run("rescore", logs, *arguments, code=2).output


def test_results_without_samples(tmp_path: Path) -> None:
    write_json(tmp_path / "tree/alpha/results/scores_Fam_1m.json", score_file())
    store = tmp_path / "store"
    run("ingest", tmp_path / "tree", "--store", store)
    found = run("rescore", store, "--metric", "bleu", code=2).output
    assert "no samples\nHint: `bigbench-meta ingest --samples`" in found


def test_a_logged_score_outside_its_range_is_told(tmp_path: Path) -> None:
    answers = {"example_id": ["1", "2"], "metrics": [{"acc": 1.0}, {"acc": 7.0}]}
    task = {"benchmark": "mine", "task": "t"}
    model = {"model_family": "f", "model_name": "1m", "total_params": 10**6}
    pd.DataFrame(answers | task | model).to_parquet(tmp_path / "samples_1m.parquet")
    document = run_json("rescore", tmp_path, "--metric", "logged:acc")
    assert [problem["reason"] for problem in document["problems"]] == [
        "4, but acc goes from 0 to 1: in percent?"
    ]
