"""Sizes of test sets that results do not state."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta.catalog.example_counts import (
    bigbench_counts,
    read_example_counts,
    with_example_counts,
)
from bigbench_meta.core.errors import InputError, SchemaError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = pd.DataFrame(
    {
        "benchmark": ["BIG-bench", "BIG-bench", "other", "BIG-bench"],
        "task": ["a", "a", "a", "b"],
        "subtask": ["a", "a:1", "a", "b"],
        "n_examples": pd.array([None, None, None, 7], "Int64"),
    }
)


def filled(counts: object) -> list[int | None]:
    found = with_example_counts(ROWS, counts)["n_examples"]
    return [None if pd.isna(n) else int(n) for n in found]


def test_one_number_fills_gaps_alone():
    assert filled(500) == [500, 500, 500, 7]


def test_a_row_without_a_subtask_is_the_aggregate():
    table = pd.DataFrame({"task": ["a", "b"], "n_examples": [20, 30]})
    assert filled(table) == [20, None, 20, 7]


def test_subtasks_and_benchmarks_are_distinguished(tmp_path: Path):
    path = tmp_path / "sizes.csv"
    path.write_text("benchmark,task,subtask,n_examples\nBIG-bench,a,a:1,5\nother,a,,9\n")
    assert filled(path) == [None, 5, 9, 7]
    assert read_example_counts(path)["subtask"].tolist() == ["a:1", "a"]


def test_rows_keep_their_order_and_index():
    shuffled = ROWS.iloc[[3, 1, 0, 2]]
    found = with_example_counts(shuffled, pd.DataFrame({"task": ["a"], "n_examples": [4]}))
    assert found.index.tolist() == [3, 1, 0, 2]
    assert found["n_examples"].fillna(0).tolist() == [7, 0, 4, 4]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("task\na\n", SchemaError, "missing column n_examples"),
        (
            "task,n_examples\na,0\n",
            InputError,
            "task a: n_examples: '0' is not a number",
        ),
        ("task,n_examples\na,1.5\n", InputError, "'1.5' is not a number"),
        ("task,n_examples\na,many\n", InputError, "'many' is not a number"),
        ("task,n_examples\na,5\na,6\n", SchemaError, "two numbers for a, a"),
        ("", InputError, "cannot be read"),
    ],
)
def test_wrong_files(text: str, error: type[Exception], message: str, tmp_path: Path):
    path = tmp_path / "sizes.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_example_counts(path)


@pytest.mark.parametrize("counts", [0, -3, "no_such_file.csv"])
def test_wrong_numbers(counts: object):
    with pytest.raises(InputError):
        with_example_counts(ROWS, counts)


def test_sizes_of_bigbench_and_of_its_aggregates():
    """The mean of K independent means has the variance v (1/n_1 + ... + 1/n_K) / K^2."""
    tasks = bm.bigbench_tasks()
    counts = bigbench_counts().set_index(["task", "subtask"])["n_examples"]
    assert counts["cause_and_effect", "cause_and_effect:two_sentences"] == 51
    n_checked = 0
    for task, rows in tasks.groupby("task"):
        own = rows[rows["subtask"] == task]
        parts = rows[rows["subtask"] != task]["n_examples"]
        if len(own) and own["n_examples"].notna().all():
            assert counts[task, task] == own["n_examples"].iloc[0]
        elif len(own) and len(parts) and parts.notna().all():
            variance = sum(Fraction(1, int(n)) for n in parts) / len(parts) ** 2
            assert counts[task, task] == int(1 / variance)
            n_checked += 1
        else:
            assert (task, task) not in counts.index
    assert n_checked > 20


def test_observations_may_lack_optional_columns():
    table = pd.DataFrame({"task": [" a "], "n_examples": [4]})
    bare = ROWS.drop(columns=["subtask", "n_examples"])
    assert with_example_counts(bare, table)["n_examples"].fillna(0).tolist() == [4, 4, 4, 0]
    assert with_example_counts(bare, 5)["n_examples"].tolist() == [5] * 4
    categories = ROWS.astype({"task": "category", "subtask": "category"})
    assert with_example_counts(categories, table)["n_examples"].fillna(0).tolist() == [4, 0, 4, 7]


@pytest.mark.parametrize("counts", [True, 5.5, None, [3]])
def test_neither_number_nor_table(counts: object):
    with pytest.raises(InputError, match="not a number of examples, table or file"):
        with_example_counts(ROWS, counts)


def test_a_line_with_a_cell_too_many_is_refused(tmp_path: Path):
    path = tmp_path / "sizes.csv"
    path.write_text("task,n_examples\na,100,7\n")
    with pytest.raises(InputError, match="line 2 has 3 cells, the header 2"):
        read_example_counts(path)
