"""docs/section3.md as written, with the real harness: from questions to verdicts.

Four models of a loopback server get fewer digits wrong the larger they are, and the harness's dummy
model none right. Every score is compared with plain loops over the harness's own files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import statistics
import subprocess
import sys

import oracles
import pandas as pd
import pytest
from completions_server import arithmetic_server
from helpers import ROOT, run, run_json

import bigbench_meta as bm
from bigbench_meta.generate.lm_eval_tasks import lm_eval_tasks

SKIP = importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("aiohttp") is None
pytestmark = [pytest.mark.full, pytest.mark.skipif(SKIP, reason="needs lm-eval[api]")]

N = 60
ERROR_RATES = {"toy-70m": 0.6, "toy-410m": 0.4, "toy-1.4b": 0.2, "toy-6.9b": 0.08}
METRICS = ("exact_str_match", "token_edit_distance", "per_token_accuracy")


def blocks_of_the_page():
    """Return the page's shell blocks, each as the commands in it."""
    text = (ROOT / "docs" / "section3.md").read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [[line.strip() for line in block.splitlines()] for block in found]


def run_harness(command, folder):
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder in which all commands of the page were run, and what they printed as JSON."""
    folder = tmp_path_factory.mktemp("section3")
    (_, ask), (server_model,), reading, changing = blocks_of_the_page()
    ask, _, _ = ask.partition(" --model ")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("generate", "lm-eval-tasks", "--out", "section3", "--n", N)
        with arithmetic_server(ERROR_RATES) as server:
            for name in ERROR_RATES:
                model = server_model.replace("NAME", name)
                model = model.replace("http://localhost:8000/v1/completions", server.url)
                run_harness(f"{ask} {model}", folder)
        run_harness(f"{ask} --model dummy", folder)
        printed = {}
        for command in (*reading, *changing):
            program, name, *arguments = shlex.split(command)
            assert program == "bigbench-meta"
            printed[name] = run_json(name, *arguments)
    return folder, printed


def logs(folder):
    """Return the harness's own score and its log for each model and task."""
    found = {}
    for path in folder.glob("results/*/results_*.json"):
        document = json.loads(path.read_text())
        harness_model = document["config"]["model"]
        model = "dummy" if harness_model == "dummy" else document["model_name"]
        for size in lm_eval_tasks(n=N).sizes:
            (log,) = path.parent.glob(f"samples_{size.task}_*.jsonl")
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            found[model, size.task] = document["results"][size.task]["exact_match,strip"], lines
    return found


def digits(text):
    return [character for character in text if character in "0123456789"]


def naive_scores(line):
    """Return the score of one answer under each metric."""
    output, target = line["filtered_resps"][0], line["target"]
    given, right = digits(output), digits(target)
    at_place = [place < len(given) and given[place] == one for place, one in enumerate(right)]
    return {
        "exact_str_match": float(output == target),
        "token_edit_distance": oracles.levenshtein(given, right),
        "per_token_accuracy": sum(at_place) / len(right),
    }


def test_logs_are_read_whole(study):
    folder, printed = study
    lines = sum(len(lines) for _, lines in logs(folder).values())
    assert printed["ingest"]["samples"] == lines == (9 * N - 5) * 5  # 55 sums have one digit
    (problem,) = printed["ingest"]["problems"]
    assert problem["field"] == "total_params"
    assert '"dummy"' in problem["reason"]
    assert printed["rescore"]["observations"] == 9 * 5 * len(METRICS)


def test_scores_are_the_harnesses_and_those_of_plain_loops(study):
    folder, _ = study
    rows = bm.Store(folder / "store").observations()
    stored = {
        (row["model_name"], row["subtask"], row["metric"]): row for row in rows.to_dict("records")
    }
    seen = set()
    for (model, task), (reported, lines) in logs(folder).items():
        examples = [naive_scores(line) for line in lines]
        for metric in METRICS:
            values = [scores[metric] for scores in examples]
            row = stored[model, task, metric]
            assert row["score"] == pytest.approx(statistics.mean(values), abs=1e-12)
            error = statistics.stdev(values) / len(values) ** 0.5
            assert row["stderr"] == pytest.approx(error, abs=1e-12)
            assert row["n_examples"] == len(lines)
        assert stored[model, task, "exact_str_match"]["score"] == pytest.approx(reported, abs=1e-12)
        assert stored[model, task, "exact_match"]["score"] == pytest.approx(reported, abs=1e-12)
        seen.add(model)
        if model == "dummy":  # no digit at all
            assert reported == 0
            assert stored[model, task, "token_edit_distance"]["score"] == int(task[-1])
            assert stored[model, task, "per_token_accuracy"]["score"] == 0
    assert seen == {*ERROR_RATES, "dummy"}


def test_pairs_by_length(study):
    folder, printed = study
    scores = {}
    for (model, task), (_, lines) in logs(folder).items():
        for metric in METRICS:
            scores[model, task, metric] = statistics.mean(naive_scores(x)[metric] for x in lines)
    document = printed["metric-change"]
    pairs = [pair for pair in document["pairs"] if pair["model_family"] == "toy"]
    tasks = [size.task for size in lm_eval_tasks(n=N).sizes]
    names = ("exact_match", *METRICS)
    assert sorted((p["subtask"], *sorted((p["metric"], p["other_metric"]))) for p in pairs) == (
        sorted((task, *sorted((one, other))) for task in tasks
               for place, one in enumerate(names) for other in names[place + 1 :])
    )  # fmt: skip
    for pair in pairs:
        assert (pair["n_scales"], pair["noise"], pair["joint"]) == (4, "samples", True)
        for side in ("", "other_"):
            metric = pair[f"{side}metric"].replace("exact_match", "exact_str_match")
            sign = -1 if metric == "token_edit_distance" else 1
            y = [sign * scores[model, pair["subtask"], metric] for model in ERROR_RATES]
            expected = oracles.score(y)["emergence_score"]
            assert pair[f"{side}emergence_score"] == pytest.approx(expected, rel=1e-9)
        one = {pair["metric"], pair["other_metric"]} == {"exact_match", "exact_str_match"}
        assert not one or pair["verdict"] == "same metric"
    # A model without a size is on no curve.
    others = [pair for pair in document["pairs"] if pair["model_family"] != "toy"]
    assert {(pair["model_family"], pair["n_scales"]) for pair in others} == {("dummy", 0)}
    assert (folder / "change" / "tables" / "section3_predictions.csv").is_file()


def test_predictions_count_each_answer_once(study):
    _, printed = study
    document = printed["metric-change"]
    table = pd.DataFrame(document["predictions"])
    assert set(table["model_family"]) == {"toy"}
    assert (table["n"] == table[["n_agree", "n_disagree", "n_undecided"]].sum(axis=1)).all()
    assert not set(table["metric"]) & {"exact_str_match", "per_token_accuracy"}
    counts = table.set_index(["prediction", "metric", "other_metric"])["n"]
    assert counts["test set"].tolist() == [9 * 3]
    by_length = table[table["prediction"] == "target length"].set_index("metric")["n"]
    assert by_length.to_dict() == {"exact_match": 8, "token_edit_distance": 8}
    assert len(document["summary"]) == 4
    assert document["summary"][2].startswith("Test set: of 27 scores of smaller models ")
