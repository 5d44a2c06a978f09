"""The packaged facts: tasks, preferred metrics, annotation, the paper's metrics, scores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bigbench_meta.catalog import published
from bigbench_meta.catalog.example_counts import read_example_counts
from bigbench_meta.catalog.known_issues import KnownIssues
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.catalog.model_names import ModelNames
from bigbench_meta.catalog.published import (
    bigbench_tasks,
    data_path,
    paper_metrics,
    preferred_metrics,
    scaling_annotation,
)
from bigbench_meta.core.errors import InputError
from bigbench_meta.readers import load_embedded
from bigbench_meta.readers.formats.mapping import Mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_tasks():
    tasks = bigbench_tasks()
    assert tasks["task"].nunique() == 209
    assert not tasks.duplicated(["task", "subtask"]).any()
    own = tasks[tasks["subtask"] == tasks["task"]]
    assert len(own) == 209  # every task has a row of its own
    below = tasks[tasks["subtask"] != tasks["task"]]
    prefix = [s.startswith(f"{t}:") for t, s in zip(below["task"], below["subtask"], strict=True)]
    assert all(prefix)
    assert str(tasks["n_examples"].dtype) == "Int64"
    assert (tasks["n_examples"].dropna() > 0).all()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("logical_deduction", "multiple_choice_grade"),
        # Its own row is silent, all of its subtasks agree.
        ("abstract_narrative_understanding", "multiple_choice_grade"),
    ],
)
def test_preferred_metric(task, expected):
    assert preferred_metrics()[task] == expected


def test_subtasks_speak_where_their_task_is_silent(monkeypatch):
    rows = [
        ("silent", "silent", ""), ("silent", "silent:1", "b"), ("silent", "silent:2", "a"),
        ("silent", "silent:3", "b"), ("speaks", "speaks", "c;d"), ("speaks", "speaks:1", "e"),
        ("mute", "mute", ""),
    ]  # fmt: skip
    tasks = pd.DataFrame(rows, columns=["task", "subtask", "preferred_metric"])
    monkeypatch.setattr(published, "bigbench_tasks", lambda: tasks)
    assert preferred_metrics().to_dict() == {"silent": "b;a", "speaks": "c;d"}


def test_every_annotated_task_has_a_preferred_metric():
    annotated = scaling_annotation()["task"]
    assert annotated.is_unique
    assert set(annotated) <= set(preferred_metrics().index)


def test_annotation():
    # Wei et al. 2022, App. E: 58 + 25 + 42 + 45 + 27 = 197 tasks.
    assert scaling_annotation()["scaling_class"].value_counts().to_dict() == {
        "smoothly_increasing": 58, "emergent_gpt3_or_lamda": 25, "emergent_palm": 42, "flat": 45,
        "other": 27,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "reported_facts.csv",
        "schaeffer2023_fig5a_extremes.csv",
        "schaeffer2023_fig5c_claims.csv",
        "schaeffer2023_bigbench_preferred_metrics.csv",
        "wei2022_bigbench_scaling_classes.csv",
        "wei2022_table1_emergent_scale.csv",
        "wei_blog_mmlu_emergent.csv",
    ],
)
def test_packaged_facts_are_the_collected_ones(shared, name):
    assert data_path(name).read_bytes() == (shared / "facts" / name).read_bytes()


def test_embedded_scores_are_the_collected_ones(shared):
    collected = pd.read_csv(shared / "facts" / "gpt3_table_h1.csv")
    packaged = load_embedded()
    for column in ("score", "train_flops"):
        assert packaged[column].tolist() == collected[column].tolist()
    assert packaged["total_params"].tolist() == collected["params"].tolist()
    assert packaged["metric"].tolist() == collected["metric"].tolist()


@pytest.mark.parametrize("name", ["none.csv", ""])
def test_no_such_data(name):
    with pytest.raises(InputError, match=rf"no packaged data file '{name}'\n"):
        data_path(name)


def test_returned_tables_are_copies():
    # What a user does to a table is nobody else's.
    for function, column in ((bigbench_tasks, "task"), (scaling_annotation, "task")):
        table = function()
        table[column] = "spoiled"
        assert "spoiled" not in set(function()[column])
    paper_metrics().clear()
    assert len(paper_metrics()) == 39


@pytest.mark.parametrize(
    "read",
    [MetricCatalog.read, ModelNames.read, KnownIssues.read, read_example_counts, Mapping.read],
)
def test_a_huge_file_of_options_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate((1 << 24) + 1)
    with pytest.raises(InputError, match=r"huge.csv: holds more than 16 MiB"):
        read(huge)


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a named pipe, not a file"):
        ModelNames.read(path)


def test_a_pipe_of_the_shell_is_read() -> None:
    # As `--names <(command)` gives it.
    reading, writing = os.pipe()
    os.write(writing, b"pattern,family\n")
    os.close(writing)
    try:
        assert published.read_bounded(f"/dev/fd/{reading}") == "pattern,family\n"
    finally:
        os.close(reading)
