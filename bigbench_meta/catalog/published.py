"""Published data included in the package: tasks, preferred metrics, the hand annotation.

The files are packaged from the repository's ``data/`` folder, where ``SOURCES.md`` names the
origin of each.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "bigbench_tasks",
    "data_path",
    "paper_metrics",
    "preferred_metrics",
    "read_bounded",
    "read_text",
    "scaling_annotation",
]

_MOST_BYTES: Final = 1 << 24


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
    text = io.StringIO(read_bounded(path))
    try:
        return pd.read_csv(
            text, dtype=str, keep_default_na=False, skip_blank_lines=skip_blank_lines
        )
    except ValueError as error:
        raise InputError(f"cannot be read as CSV: {error}", where=str(path)) from error


def read_bounded(path: str | PathLike[str]) -> str:
    """Return the text of a file that is small by its nature, such as a table of metrics.

    Args:
        path: The file, in UTF-8.

    Raises:
        InputError: It cannot be read, is not UTF-8, or is larger than 16 MiB.
    """
    try:
        # A named pipe that nobody writes to would be waited for; those of /dev/fd have a writer.
        if Path(path).is_fifo() and not str(path).startswith(("/dev/", "/proc/")):
            raise InputError("is a named pipe, not a file", where=str(path))
        with open(path, "rb") as file:  # noqa: PTH123 - any path
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig") if len(data) <= _MOST_BYTES else None
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8: {error.reason}"
        raise InputError(f"cannot be read: {reason}", where=str(path)) from error
    except (OSError, ValueError) as error:  # a ValueError: a null character in the path
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    if text is None:
        raise InputError(f"holds more than {_MOST_BYTES >> 20} MiB", where=str(path))
    return text


def bigbench_tasks() -> pd.DataFrame:
    """Return the tasks and subtasks of BIG-bench 1.0.0.

    Returns:
        One row per task or subtask (``subtask == task`` on the task's own row), columns ``task,
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
