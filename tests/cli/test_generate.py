"""The command that writes task files; what is in them is for the tests of ``generate``."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import pytest
from helpers import run_program, strict_json

from bigbench_meta.cli.main import main
from bigbench_meta.generate.lm_eval_tasks import GROUP, MAX_QUESTIONS, lm_eval_tasks


def run(*arguments, code=0):
    return run_program(main, ["generate", "lm-eval-tasks", *arguments], code=code)


def test_json_and_files(tmp_path):
    out = tmp_path / "deep" / "tasks"
    found = strict_json(run("--out", out, "--n", 60, "--seed", 5, "--json").stdout)
    tasks = lm_eval_tasks(n=60, seed=5)
    assert found == {
        "group": GROUP,
        "n": 60,
        "seed": 5,
        "n_questions": 8 * 60 + 55,
        "tasks": [asdict(size) for size in tasks.sizes],
        "outputs": [(out / name).as_posix() for name in tasks.files],
    }
    assert {path.name: path.read_text() for path in out.iterdir()} == tasks.files


def test_text(tmp_path):
    text = run("--out", tmp_path).stdout
    assert "schaeffer2023_2_digit_multiplication_length_4       1,000        6,606" in text
    assert f"lm_eval --include_path {tmp_path.as_posix()} --tasks {GROUP}." in text
    assert "23 files written into" in text
    assert {path.name for path in tmp_path.iterdir()} == lm_eval_tasks().files.keys()


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
    assert message in run(*arguments, code=2).stderr


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in run("--out", tmp_path / "file" / "deeper", code=2).stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from bigbench_meta.cli.main import main\n"
        "try:\n"
        "    main(['generate', 'lm-eval-tasks', '--help'])\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "print([m for m in ('numpy', 'pandas', 'pyarrow') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "bigbench-meta generate lm-eval-tasks --out" in done.stdout
