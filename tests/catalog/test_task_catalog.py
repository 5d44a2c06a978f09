"""The catalog of BIG-bench tasks: its script on a small made-up distribution, and the real one."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers import ROOT

if TYPE_CHECKING:
    from types import ModuleType

COMMITTED = ROOT / "data" / "bigbench_tasks.csv"

METADATA = {
    "canary": "a string among the tasks",
    "compound": {"keywords": ["json", "arithmetic"]},
    "compound:one_digit": {"keywords": ["json"]},
    # The evaluator writes names in ASCII, and takes them from task.json, not from the folder.
    "compound:zwei_z?hlen": {"keywords": ["", "translation"]},
    "single": {"keywords": []},
    "spaced": {"keywords": ["programmatic"]},
    "several": {"keywords": ["programmatic"]},
    "assigned": {"keywords": ["programmatic"]},
}

JSON_FILES = {
    "task_metadata.json": METADATA,
    "compound/task.json": {"name": "compound"},
    "compound/one_digit/task.json": {
        "name": "one_digit",
        "preferred_score": "exact_str_match",
        "metrics": ["rouge", "exact_str_match"],
        "examples": [{"input": "1"}, {"input": "2"}],
    },
    "compound/two_digits_folder/task.json": {
        "name": "zwei_zählen",
        "preferred_score": "bleu",
        "metrics": ["bleu"],
        "examples": [],
    },
    "single/task.json": {
        "name": "single",
        "preferred_score": "multiple_choice_grade",
        "metrics": ["multiple_choice_grade"],
        "examples": [{"input": "ä"}],
    },
    # Neither a task (too deep) nor a definition (another name).
    "compound/one_digit/old/task.json": {"name": "not read"},
    "single/results/scores.json": {"preferred_score": "not read"},
}

CODE_FILES = {
    "spaced/task.py": '''
"""A docstring may say preferred_score="not this"."""
# preferred_score="nor this"
class Task:
    def evaluate_model(self):
        return ScoreData(score_dict={"a-b c": 1.0}, preferred_score="a-b c")
''',
    # Nothing imports these two.
    "spaced/test_task.py": 'ScoreData(preferred_score="not read")\n',
    "spaced/generate.py": "this is not even Python\n",
    # Generators beside a JSON task say nothing about the task.
    "single/generate_task.py": 'data = {"preferred_score": "not read"}\n',
    "several/task.py": """
import bigbench.benchmark_tasks.several.helper as helper

def evaluate():
    def inner():
        return ScoreData(preferred_score="zeta")
    return [inner(), ScoreData(preferred_score="alpha"), ScoreData(preferred_score="zeta")]
""",
    "several/helper.py": """
preferred_score: str = "from_helper"
INVALID_ESCAPE = "\\."  # a warning to Python, nothing to the catalog
again = ScoreData(preferred_score="alpha")
""",
    "assigned/task.py": """
class Task(JsonTask):
    def __init__(self):
        super().__init__({"preferred_score": "the data's own"})
        self.preferred_score = "the class's"
""",
}

EXPECTED = [
    ("assigned", "assigned", "the class's", "", "", "programmatic"),
    ("compound", "compound", "", "", "", "arithmetic;json"),
    ("compound", "compound:one_digit", "exact_str_match", "rouge;exact_str_match", "2", "json"),
    ("compound", "compound:zwei_z?hlen", "bleu", "bleu", "0", "translation"),
    ("several", "several", "zeta;alpha;from_helper", "", "", "programmatic"),
    ("single", "single", "multiple_choice_grade", "multiple_choice_grade", "1", ""),
    ("spaced", "spaced", "a-b c", "", "", "programmatic"),
]


def load_script() -> ModuleType:
    """Import the script from its file: ``scripts/`` is no package."""
    path = ROOT / "scripts" / "build_task_catalog.py"
    spec = importlib.util.spec_from_file_location("build_task_catalog", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


script = load_script()


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """The made-up distribution as a directory."""
    root = tmp_path / "bigbench-1.0.0"
    tasks = root / "bigbench" / "benchmark_tasks"
    texts = CODE_FILES | {name: json.dumps(content) for name, content in JSON_FILES.items()}
    for name, text in texts.items():
        (tasks / name).parent.mkdir(parents=True, exist_ok=True)
        (tasks / name).write_text(text, encoding="utf-8")
    return root


def tasks_of(distribution: Path) -> Path:
    return distribution / "bigbench" / "benchmark_tasks"


def packed(distribution: Path) -> Path:
    """The same distribution as an archive beside it."""
    archive = distribution.parent / "bigbench-1.0.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(distribution, arcname=distribution.name)
    return archive


def as_tuples(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    assert all(tuple(row) == script.COLUMNS for row in rows)
    return [tuple(row.values()) for row in rows]


def test_directory(distribution: Path) -> None:
    assert as_tuples(script.build_catalog(distribution)) == EXPECTED


def test_directory_above_the_distribution(distribution: Path) -> None:
    assert as_tuples(script.build_catalog(distribution.parent)) == EXPECTED


def test_archive_is_read_in_place(distribution: Path) -> None:
    archive = packed(distribution)
    before = sorted(archive.parent.rglob("*"))
    assert as_tuples(script.build_catalog(archive)) == EXPECTED
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("as_archive", [False, True])
def test_truncated_task_json_is_named(distribution: Path, as_archive: bool) -> None:
    file = tasks_of(distribution) / "compound" / "one_digit" / "task.json"
    file.write_bytes(file.read_bytes()[:-5])
    path = packed(distribution) if as_archive else distribution
    with pytest.raises(script.CatalogError, match=r"one_digit/task\.json: not valid JSON"):
        script.build_catalog(path)


def test_truncated_archive(distribution: Path) -> None:
    archive = packed(distribution)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(script.CatalogError, match=r"1\.0\.0\.tar\.gz: not a whole \.tar\.gz"):
        script.build_catalog(archive)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("spaced/task.py", "x = 1", r"spaced/task\.py: names no preferred_score"),
        ("spaced/task.py", "def", r"spaced/task\.py: not valid Python"),
        ("spaced/task.py", "\nf(preferred_score=a())", r"spaced/task\.py, line 2: .* not a plain"),
        ("single/task.json", "[]", r"single/task\.json: expected a JSON object, found list"),
        ("single/task.json", "{}", r"single/task\.json: has no name"),
        ("task_metadata.json", "{}", r"task_metadata\.json: not in the distribution"),
        (
            "task_metadata.json",
            json.dumps(METADATA | {"lost": {"keywords": []}}),
            r"listed in task_metadata\.json but not defined in the folders: lost \(1 in all\)",
        ),
        (
            "unlisted/task.json",
            '{"name": "unlisted", "examples": []}',
            r"defined in the folders but not listed in task_metadata\.json: unlisted",
        ),
    ],
)
def test_what_is_not_understood_is_named(
    distribution: Path, name: str, text: str, message: str
) -> None:
    file = tasks_of(distribution) / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(script.CatalogError, match=message):
        script.build_catalog(distribution)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(script.CatalogError, match="no such file or directory"):
        script.build_catalog(tmp_path / "nowhere.tar.gz")
    with pytest.raises(script.CatalogError, match="no folder bigbench/benchmark_tasks"):
        script.build_catalog(tmp_path)


def test_command_writes_lf_only(distribution: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = distribution.parent / "out.csv"
    assert script.main([str(distribution), "-o", str(output)]) == 0
    assert output.read_bytes().count(b"\n") == len(EXPECTED) + 1
    assert b"\r" not in output.read_bytes()
    assert capsys.readouterr().out == ""


def test_command_keeps_the_old_file_on_error(
    distribution: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = distribution.parent / "out.csv"
    output.write_text("old", encoding="utf-8")
    (tasks_of(distribution) / "task_metadata.json").unlink()
    assert script.main([str(distribution), "-o", str(output)]) == 2
    assert output.read_text(encoding="utf-8") == "old"
    assert "task_metadata.json" in capsys.readouterr().err


def committed_rows() -> list[dict[str, str]]:
    with COMMITTED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_committed_file_is_tidy() -> None:
    rows = committed_rows()
    names = [(row["task"], row["subtask"]) for row in rows]
    assert b"\r" not in COMMITTED.read_bytes()
    assert tuple(rows[0]) == script.COLUMNS
    assert names == sorted(set(names))
    # 42 programmatic tasks, 167 JSON tasks and the 874 subtasks of 40 of them.
    assert len(rows) == 42 + 167 + 874
    assert len({row["task"] for row in rows}) == 42 + 167


@pytest.mark.parametrize(
    ("name", "preferred"),
    [
        # Names that a pattern of word characters would cut short.
        ("com2sense", "pair-wise-accuracy"),
        ("diverse_social_bias", "overall gender bias"),
        # The class replaces the name which its data gives.
        ("question_answer_creation", "creativity_and_consistency_score"),
        # The name in task.json is not the folder's (helpful).
        ("hhh_alignment:Helpfulness", "multiple_choice_grade"),
    ],
)
def test_committed_names_that_are_easy_to_get_wrong(name: str, preferred: str) -> None:
    found = [row["preferred_metric"] for row in committed_rows() if row["subtask"] == name]
    assert found == [preferred]


@pytest.mark.full
def test_committed_file_is_what_the_distribution_says() -> None:
    setting = os.environ.get("BIGBENCH_SDIST")
    if not setting:
        pytest.skip("BIGBENCH_SDIST is not set: the bigbench 1.0.0 .tar.gz or its extraction")
    if not Path(setting).exists():
        pytest.skip(f"BIGBENCH_SDIST names nothing that exists: {setting}")
    built = script.build_catalog(Path(setting))
    for position, (ours, theirs) in enumerate(zip(committed_rows(), built, strict=True), start=2):
        assert ours == theirs, f"line {position} of {COMMITTED.name}"
