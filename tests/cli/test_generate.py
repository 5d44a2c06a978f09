"""The command that writes task files; what is in them is for the tests of ``generate``."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from helpers import run, run_json

from bigbench_meta.generate.lm_eval_tasks import GROUP, MAX_QUESTIONS, lm_eval_tasks

COMMAND = ("generate", "lm-eval-tasks")
RECORD = "run_generate_lm-eval-tasks.json"


def test_json_and_files(tmp_path):
    out = tmp_path / "deep" / "tasks"
    found = run_json(*COMMAND, "--out", out, "--n", 60, "--seed", 5)
    tasks = lm_eval_tasks(n=60, seed=5)
    assert found == {
        "group": GROUP,
        "n": 60,
        "seed": 5,
        "n_questions": 8 * 60 + 55,
        "tasks": [asdict(size) for size in tasks.sizes],
        "outputs": [(out / name).as_posix() for name in (*tasks.files, RECORD)],
    }
    written = {path.name: path.read_text() for path in out.iterdir()}
    assert json.loads(written.pop(RECORD))["seed"] == 5
    assert written == tasks.files


def test_text(tmp_path):
    text = run(*COMMAND, "--out", tmp_path).stdout
    assert "schaeffer2023_2_digit_multiplication_length_4       1,000        6,606" in text
    assert f"lm_eval --include_path {tmp_path.as_posix()} --tasks {GROUP}." in text
    assert "24 files written into" in text
    assert {path.name for path in tmp_path.iterdir()} == {*lm_eval_tasks().files, RECORD}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--out'"),
        (["--out", "x", "--n", 0], "Invalid value for '--n'"),
        (["--out", "x", "--n", MAX_QUESTIONS + 1], "Invalid value for '--n'"),
        (["--out", "x", "--seed", -1], "Invalid value for '--seed'"),
    ],
)
def test_bad_usage(arguments, message):
    assert message in run(*COMMAND, *arguments, code=2).stderr


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert (
        "cannot be written" in run(*COMMAND, "--out", tmp_path / "file" / "deeper", code=2).stderr
    )
