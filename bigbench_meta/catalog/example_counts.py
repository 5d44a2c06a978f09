"""Sizes of test sets that results do not state: a number, a table, or those of BIG-bench itself.

Without the number of examples behind a score its sampling error is unknown, and there is no
interval and no test of the smooth mechanism. BIG-bench's score files do not state the number.
"""

from __future__ import annotations

import csv
import io
from os import PathLike
from typing import Final

import numpy as np
import pandas as pd

from bigbench_meta.catalog.published import bigbench_tasks, read_bounded
from bigbench_meta.core.errors import InputError, SchemaError

__all__ = ["BIGBENCH", "bigbench_counts", "read_example_counts", "with_example_counts"]

BIGBENCH: Final = "bigbench"
"""Name that stands for the sizes of BIG-bench 1.0.0."""

_MOST: Final = 10**12
_HINT: Final = f"a CSV file with columns task and n_examples, a number, or {BIGBENCH}"
_ROUNDING: Final = 1e-12


def with_example_counts(
    observations: pd.DataFrame, counts: int | str | PathLike[str] | pd.DataFrame
) -> pd.DataFrame:
    """Fill in the numbers of examples that results do not state.

    Args:
        observations: Observations table.
        counts: One number for all; a table or a CSV file, see :func:`read_example_counts`; or
            ``bigbench`` for :func:`bigbench_counts`.

    Returns:
        The observations, with ``n_examples`` where it was missing and is known now. Numbers that
        the results state stay as they are.

    Raises:
        InputError: A number is not a positive whole one, or the file cannot be read.
        SchemaError: A column is missing, or two numbers for one subtask.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> some = load_embedded().head(2).assign(n_examples=None)
        >>> with_example_counts(some, 500)["n_examples"].tolist()
        [500, 500]
    """
    missing = pd.Series(pd.NA, index=observations.index, dtype="Int64")
    known = observations.get("n_examples", missing).astype("Int64")
    if isinstance(counts, int | np.integer) and not isinstance(counts, bool):
        if not 1 <= counts <= _MOST:
            raise InputError(f"{counts} is not a number of examples", where="n_examples")
        return observations.assign(n_examples=known.fillna(int(counts)))
    if isinstance(counts, pd.DataFrame):
        table = _checked(counts, "n_examples")
    elif not isinstance(counts, str | PathLike):
        raise InputError(
            f"{counts!r} is not a number of examples, table or file", where="n_examples"
        )
    else:
        table = bigbench_counts() if counts == BIGBENCH else read_example_counts(counts)
    keys = [name for name in ("benchmark", "task", "subtask") if name in table]
    task = observations["task"]
    subtask = observations.get("subtask", task).astype("string").fillna(task.astype("string"))
    asked = observations.assign(subtask=subtask)
    asked = asked[keys].astype(str).reset_index(drop=True)
    found = asked.merge(table, on=keys, how="left")["n_examples"].astype("Int64")
    found.index = known.index
    return observations.assign(n_examples=known.fillna(found))


def read_example_counts(path: str | PathLike[str]) -> pd.DataFrame:
    """Read sizes of test sets from a CSV file.

    Args:
        path: Columns ``task`` and ``n_examples``, and if wanted ``subtask`` and ``benchmark``. A
            row without a subtask is the task's aggregate row.

    Returns:
        Columns ``task, subtask, n_examples`` and, where the file has it, ``benchmark``.

    Raises:
        InputError: It cannot be read, or a number is not a positive whole one.
        SchemaError: A column is missing, or two numbers for one subtask.
    """
    try:
        frame = _table(list(csv.reader(io.StringIO(read_bounded(path), newline=""))))
    except InputError as error:
        raise InputError(error.message, where=error.where, hint=_HINT) from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), hint=_HINT) from error
    return _checked(frame, str(path))


def bigbench_counts() -> pd.DataFrame:
    """Return the sizes of BIG-bench 1.0.0's test sets, where the task fixes them.

    Results on a part of a task, as with ``max_examples`` or on BIG-bench's validation split, have
    fewer. A task's aggregate score is the mean of its K subtasks; as many examples in one set
    would give it the same sampling error if all subtasks had the same variance:
    K^2 / sum(1 / n_k), rounded down. It is missing where one subtask's size is.

    Returns:
        Columns ``benchmark, task, subtask, n_examples``.

    Examples:
        >>> counts = bigbench_counts().set_index(["task", "subtask"])["n_examples"]
        >>> int(counts["abstract_narrative_understanding", "abstract_narrative_understanding"])
        3000
    """
    frame = bigbench_tasks()[["task", "subtask", "n_examples"]]
    own = frame["subtask"] == frame["task"]
    inverse = (1 / frame["n_examples"].astype("float64"))[~own]
    by_task = inverse.groupby(frame["task"])
    # A sum with a gap is missing.
    sums = by_task.sum().where(by_task.count() == by_task.size())
    effective = (by_task.size() ** 2 / sums * (1 + _ROUNDING)).apply(np.floor)
    whole = frame["task"].map(effective).astype("Float64").round().astype("Int64")
    counts = frame["n_examples"].where(~own | frame["n_examples"].notna(), whole)
    return frame.assign(benchmark="BIG-bench", n_examples=counts).dropna(subset="n_examples")[
        ["benchmark", "task", "subtask", "n_examples"]
    ]


def _table(lines: list[list[str]]) -> pd.DataFrame:
    if not lines:
        raise ValueError("it is empty")
    header = [name.strip() for name in lines[0]]
    for number, cells in enumerate(lines[1:], start=2):
        if cells and len(cells) != len(header):
            raise ValueError(f"line {number} has {len(cells)} cells, the header {len(header)}")
    return pd.DataFrame([cells for cells in lines[1:] if cells], columns=header, dtype="str")


def _checked(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    if missing := [name for name in ("task", "n_examples") if name not in frame]:
        raise SchemaError(f"missing column {', '.join(missing)}", where=where)
    names = [name for name in ("benchmark", "task", "subtask") if name in frame]
    table: pd.DataFrame = frame[names].astype(str).apply(lambda column: column.str.strip())
    subtask = frame.get("subtask", table["task"]).replace("", None)
    table = table.assign(subtask=subtask.fillna(table["task"]).astype(str))
    numbers = pd.to_numeric(frame["n_examples"], errors="coerce").astype("float64")
    wrong = ~((numbers >= 1) & (numbers <= _MOST) & (numbers == np.floor(numbers)))
    if wrong.any():
        task, value = (frame.loc[wrong, name].iloc[0] for name in ("task", "n_examples"))
        raise InputError(
            f"{value!r} is not a number of examples", where=f"{where}: task {task}: n_examples"
        )
    table = table.assign(n_examples=numbers.astype("Int64"))
    keys = [name for name in table if name != "n_examples"]
    if table.duplicated(keys).any():
        twice = table.loc[table.duplicated(keys), keys].iloc[0].tolist()
        raise SchemaError(f"two numbers for {', '.join(twice)}", where=where)
    return table
