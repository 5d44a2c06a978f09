"""The command that simulates: what it prints, writes and refuses, and the numbers in the docs."""

from __future__ import annotations

import re
import shlex

import pandas as pd
import pyarrow.parquet as pq
import pytest
from helpers import ROOT, run, run_json

import bigbench_meta as bm
from bigbench_meta.core.schema import CURVE_SCORES, OBSERVATIONS, SAMPLES
from bigbench_meta.generate.simulation import DEFAULT_SCALES, samples_table, simulate
from bigbench_meta.report.tables.mirage import mechanism_table

DOCS = ROOT / "docs" / "mirage.md"
SMALL = ("--length", "1,4", "--choices", "3", "--scales", "1e9:1e11:5", "--n-scales", "5")


# --- What is printed ---


def test_text():
    text = run("simulate", *SMALL).stdout
    assert re.search(r"exact_str_match +4 tokens +5 ", text)
    assert re.search(r"straight line +4 *\n", text)
    assert "Expected scores of 5 models, alpha = -1, c = 1e+10." in text
    assert "flagged at those n for which E is above 100." in text
    assert "No files written" in text


def test_json():
    found = run_json("simulate", *SMALL, "--alpha", -0.5, "--threshold", 5)
    scales = found.pop("scales")
    assert scales == pytest.approx([1e9, 10**9.5, 1e10, 10**10.5, 1e11])
    scores = bm.score_curves(
        bm.build_curves(simulate(scales=scales, alpha=-0.5, target_lengths=[1, 4], n_choices=[3]))
    )
    curves, mechanism = found.pop("curves"), found.pop("mechanism")
    assert found == {
        "alpha": -0.5, "c": 1e10, "n_examples": None, "seed": 0, "expected": True,
        "threshold": 5.0, "n_curves": len(scores), "outputs": [],
    }  # fmt: skip
    assert [list(curve) for curve in curves] == [CURVE_SCORES.names] * len(scores)
    assert [curve["emergence_score"] for curve in curves] == scores["emergence_score"].tolist()
    expected = mechanism_table(
        n_scales=[5], alpha=-0.5, threshold=5, target_lengths=[1, 4], n_choices=[3]
    )
    assert [row["flagged"] for row in mechanism] == expected["flagged"].tolist()
    assert [row["emergence_score"] for row in mechanism] == pytest.approx(
        expected["emergence_score"].tolist()
    )


def test_defaults_are_those_of_the_library():
    found = run_json("simulate")
    assert found["scales"] == pytest.approx(DEFAULT_SCALES, rel=1e-9)
    scores = bm.score_curves(bm.build_curves(simulate()))
    assert [curve["emergence_score"] for curve in found["curves"]] == pytest.approx(
        scores["emergence_score"].tolist(), rel=1e-6
    )
    assert [(curve["task"], curve["metric"]) for curve in found["curves"]] == list(
        zip(scores["task"], scores["metric"], strict=True)
    )


def test_infinite_scores_in_json():
    found = run_json("simulate", "--length", "none", "--choices", 2, "--concentration", "1,inf")
    grades = {
        curve["task"]: curve["emergence_score"]
        for curve in found["curves"]
        if curve["metric"] == "multiple_choice_grade"
    }
    assert grades["2 choices, concentration inf"] == "inf"
    assert isinstance(grades["2 choices, concentration 1"], float)


def test_sampled_scores():
    found = run_json("simulate", *SMALL, "--n-examples", 40, "--seed", 7)
    assert (found["n_examples"], found["seed"], found["expected"]) == (40, 7, False)
    observations = simulate(
        n_examples=40, seed=7, scales=found["scales"], target_lengths=[1, 4], n_choices=[3]
    )
    scores = bm.score_curves(bm.build_curves(observations))
    assert [curve["score_last"] for curve in found["curves"]] == scores["score_last"].tolist()
    assert found == run_json("simulate", *SMALL, "--n-examples", 40, "--seed", 7)
    assert (
        found["curves"] != run_json("simulate", *SMALL, "--n-examples", 40, "--seed", 8)["curves"]
    )
    assert "Scores of 40 examples, seed 7, of 5 models" in run('simulate',
        *SMALL, "--n-examples", 40, "--seed", 7
    ).stdout  # fmt: skip


def test_expected_is_the_default():
    assert run_json("simulate", *SMALL, "--expected") == run_json("simulate", *SMALL)


def test_tasks_that_are_asked_for():
    def tasks(*arguments):
        return [
            curve["task"]
            for curve in run_json("simulate", "--scales", "1e9,2e9,9e9", *arguments)["curves"]
        ]

    premise = ["next token"] * 2
    assert tasks("--length", "none", "--choices", "none") == premise
    assert tasks("--length", "3,2", "--choices", "none") == (
        premise + ["2 tokens"] * 2 + ["3 tokens"] * 2
    )
    assert tasks("--length", "none", "--choices", "5", "--chance-floor") == (
        premise + ["5 choices, concentration 100, from chance"] * 2
    )


# --- What is written ---


@pytest.mark.usefixtures("no_drawing")
def test_files(tmp_path):
    found = run_json(
        "simulate", *SMALL, "--n-examples", 20, "--seed", 1, "--samples", "--out", tmp_path / "s"
    )
    written = {
        path.relative_to(tmp_path / "s").as_posix() for path in (tmp_path / "s").rglob("*.*")
    }
    assert {(tmp_path / "s" / name).as_posix() for name in written} == set(found["outputs"])
    figures = {"mirage", "mirage_a_loss", "mirage_b_probability", "mirage_c_accuracy",
               "mirage_c_accuracy_log", "mirage_d_multiple_choice_grade",
               "mirage_e_token_edit_distance", "mirage_f_brier_score"}  # fmt: skip
    assert written == {
        "observations.csv", "observations.parquet", "samples.parquet", "run_simulate.json",
        *(f"tables/{name}.{end}" for name in ("curve_scores", "mechanism")
          for end in ("csv", "md", "tex", "parquet")),
        *(f"figures/{name}.{end}" for name in figures
          for end in ("svg", "pdf", "png", "vl.json", "csv")),
    }  # fmt: skip
    setting = {"scales": found["scales"], "target_lengths": [1, 4], "n_choices": [3]}
    expected = simulate(n_examples=20, seed=1, **setting)
    for ending in ("csv", "parquet"):
        observations, problems = bm.read_results(tmp_path / "s" / f"observations.{ending}")
        assert problems.empty
        assert observations["score"].tolist() == expected["score"].tolist()
        assert observations.columns.tolist() == OBSERVATIONS.names
    samples = pq.read_table(tmp_path / "s" / "samples.parquet")
    assert samples.column_names == SAMPLES.names
    drawn = samples_table(n_examples=20, seed=1, **setting)
    assert samples.column("metrics").to_pylist() == drawn.column("metrics").to_pylist()


@pytest.mark.usefixtures("no_drawing")
def test_other_commands_read_what_is_written(tmp_path):
    found = run_json("simulate", *SMALL, "--out", tmp_path)
    scored = run_json("score", tmp_path / "observations.parquet")["curves"]
    for curve in (*scored, *found["curves"]):
        curve.pop("variant")
    assert scored == found["curves"]


@pytest.mark.usefixtures("no_drawing")
def test_sampled_figures_have_expected_lines(tmp_path):
    run("simulate", *SMALL, "--n-examples", 20, "--out", tmp_path)
    drawn = pd.read_csv(tmp_path / "figures" / "mirage_c_accuracy.csv")
    assert drawn["variant"].value_counts().to_dict() == {"expected": 10, "20 examples": 10}
    loss = pd.read_csv(tmp_path / "figures" / "mirage_a_loss.csv")
    assert not loss.duplicated().any()


def test_a_figure_is_drawn(tmp_path):
    run(
        "simulate",
        "--length",
        2,
        "--choices",
        "none",
        "--scales",
        "1e9,1e10,1e11",
        "--out",
        tmp_path,
    )
    assert (tmp_path / "figures" / "mirage.png").read_bytes().startswith(b"\x89PNG")
    assert "accuracy" in (tmp_path / "figures" / "mirage_c_accuracy.svg").read_text()


# --- What is refused ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "1"], "alpha: 1.0 is not a negative number"),
        (["--alpha", "nan"], "alpha: nan is not a negative number"),
        (["--c", "0"], "c: 0 is not a finite number above 0"),
        (["--length", "1.5"], "Invalid value for '--length': '1.5' is not of the form N,..."),
        (["--length", ""], "Invalid value for '--length': '' is not of the form"),
        (["--length", "0"], "target_lengths: 0 is not a whole number of at least 1"),
        (["--length", "1e9"], "Invalid value for '--length'"),
        (["--choices", "1"], "n_choices: 1 is not a whole number of at least 2"),
        (["--concentration", "0"], "concentration: 0 is not between"),
        (["--concentration", "x"], "Invalid value for '--concentration'"),
        (["--scales", "1e9"], "--scales: a curve needs at least two models"),
        (["--scales", "1e9,1e9"], "scales: two models of 1,000,000,000 parameters"),
        (["--scales", "1e9,nan"], "scales: nan is not a finite number of at least 1"),
        (["--scales", "1e11:1e9:5"], "Invalid value for '--scales'"),
        (["--scales", "1e9:1e11"], "Invalid value for '--scales'"),
        (["--scales", "1e9:inf:5"], "Invalid value for '--scales'"),
        (["--scales", "1e9:1e11:1000000000"], "Invalid value for '--scales'"),
        (["--n-scales", "2"], "n_scales: 2 is not a whole number of at least 3"),
        (["--n-scales", "none"], "n_scales: no number of models"),
        (["--n-examples", "0"], "Invalid value for '--n-examples'"),
        (["--n-examples", "10000000"], "Invalid value for '--n-examples'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--expected", "--n-examples", "9"], "--expected and --n-examples cannot be combined"),
        (["--samples"], "--samples needs --n-examples and --out"),
        (["--samples", "--n-examples", "9"], "--samples needs --n-examples and --out"),
    ],
)
def test_bad_usage(arguments, message):
    assert message in run("simulate", *arguments, code=2).stderr


@pytest.mark.usefixtures("no_drawing")
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run("simulate", *SMALL, "--out", tmp_path / "file" / "deeper", code=2)
    assert "cannot be written" in result.stderr


# --- The numbers in the docs ---


def documented():
    """Return the commands of the docs, each with the rows of the table below it."""
    blocks = re.findall(
        r"```sh\n(bigbench-meta simulate.*)\n```\n\n((?:\|.*\n)+)", DOCS.read_text()
    )
    return [pytest.param(*block, id=block[0]) for block in blocks]


def cells(line, separator):
    return [cell.strip() for cell in re.split(separator, line) if cell.strip()]


@pytest.mark.parametrize(("line", "rows"), documented())
def test_numbers_in_the_docs(line, rows):
    printed = [
        cells(row, r"\s{2,}") for row in run("simulate", *shlex.split(line)[2:]).stdout.splitlines()
    ]
    header, _, *body = rows.splitlines()
    assert len(body) > 3
    assert [row for row in (header, *body) if cells(row, r"\|") not in printed] == []


def test_the_docs_have_numbers():
    assert len(documented()) == len(
        re.findall("^bigbench-meta simulate", DOCS.read_text(), re.MULTILINE)
    )
    assert len(documented()) >= 5
