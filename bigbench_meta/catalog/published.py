"""Published data included in the package: tasks, preferred metrics, the hand annotation.

The files are packaged from the repository's ``data/`` folder, where ``SOURCES.md`` names the
origin of each.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bigbench_meta.core.errors import InputError

__all__ = [
    "bigbench_tasks",
    "data_path",
    "paper_metrics",
    "preferred_metrics",
    "read_text",
    "scaling_annotation",
]


def data_path(name: str) -> Path:
    """Return the path of a packaged data file.

    Args:
        name: File name, for example ``"metrics.csv"``.

    Returns:
        The path, inside the installed package or in the ``data/`` folder of a checkout.

    Raises:
        InputError: There is no such file.

    Examples:
        >>> data_path("SOURCES.md").name
        'SOURCES.md'
    """
    package = Path(__file__).parents[1]
    # A wheel carries the folder inside the package; an editable install reads the checkout's own.
    for folder in (package / "data", package.parent / "data"):
        if (path := folder / name).is_file():
            return path
    raise InputError(f"no packaged data file {name!r}", hint="reinstall bigbench-meta")


def read_text(path: str | Path, *, skip_blank_lines: bool = True) -> pd.DataFrame:
    """Read a CSV file with every value as text; no text counts as missing.

    Args:
        path: The file, in UTF-8.
        skip_blank_lines: Whether a blank line gives no row.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8",
            skip_blank_lines=skip_blank_lines,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as CSV: {error}", where=str(path)) from error


def bigbench_tasks() -> pd.DataFrame:
    """Return the tasks and subtasks of BIG-bench 1.0.0.

    Returns:
        One row a task or subtask (``subtask == task`` on the task's own row), columns ``task,
        subtask, preferred_metric, metrics, n_examples, keywords``. Several names are joined by
        ``;``; a programmatic task has no fixed ``n_examples``.

    Examples:
        >>> bigbench_tasks()["task"].nunique()
        209
    """
    frame = read_text(data_path("bigbench_tasks.csv"))
    counts = pd.to_numeric(frame["n_examples"].replace("", None))
    return frame.assign(n_examples=counts.astype("Int64"))


def preferred_metrics() -> pd.Series[str]:
    """Return the preferred metric of each BIG-bench task.

    A task whose own row names none has its subtasks' metric; several names are joined by ``;``.

    Returns:
        Series of metric names indexed by task.

    Examples:
        >>> preferred_metrics()["logical_deduction"]
        'multiple_choice_grade'
    """
    frame = bigbench_tasks()
    own = frame["subtask"] == frame["task"]
    # Subtasks speak only where the task's own row is silent.
    named = frame[frame["preferred_metric"] != ""]
    speaks = named["task"].isin(named.loc[own[named.index], "task"])
    named = named[own[named.index] | ~speaks]
    joined = named.groupby("task")["preferred_metric"].agg(lambda m: ";".join(dict.fromkeys(m)))
    return joined.rename("preferred_metric")


def scaling_annotation() -> pd.DataFrame:
    """Return the hand annotation of how 197 BIG-bench tasks scale.

    Returns:
        Columns ``task, scaling_class, emerges_at, emerges_at_evidence``; classes are
        ``smoothly_increasing, emergent_gpt3_or_lamda, emergent_palm, flat, other``.

    References:
        Wei et al. (2022), arXiv 2206.07682, App. E; J. Wei (2022), "137 emergent abilities of
        large language models".

    Examples:
        >>> int(scaling_annotation()["scaling_class"].str.startswith("emergent").sum())
        67
    """
    return read_text(data_path("wei2022_bigbench_scaling_classes.csv"))


def paper_metrics() -> list[str]:
    """Return the 39 preferred metrics on the axis of Fig. 5A of Schaeffer et al. (2023).

    Examples:
        >>> len(paper_metrics())
        39
    """
    return read_text(data_path("schaeffer2023_bigbench_preferred_metrics.csv"))["metric"].tolist()
