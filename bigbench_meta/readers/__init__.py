"""Readers: result files of several formats in, observations and problems out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from bigbench_meta.catalog import data_path
from bigbench_meta.errors import InputError
from bigbench_meta.readers._bigbench import ScoreFileReader
from bigbench_meta.readers._conflicts import resolve_conflicts
from bigbench_meta.readers._problems import ProblemLog
from bigbench_meta.readers._sources import SourceFile, discover, read_bytes
from bigbench_meta.readers._tables import read_table
from bigbench_meta.schema import FILE, to_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

__all__ = [
    "EMBEDDED",
    "FileRecord",
    "ProblemLog",
    "ReadResult",
    "load_embedded",
    "read_results",
    "read_tables",
    "resolve_conflicts",
]


EMBEDDED = ("gpt3_table_h1", "wei2022_chain_of_thought")
"""Names of the embedded observations."""


@dataclass
class FileRecord:
    """What became of one file.

    Attributes:
        path: Absolute path.
        label: Its name in tables and messages.
        digest: BLAKE2b of its bytes, empty if it could not be read.
        n_rows: Rows that it gave.
        unchanged: Whether it was passed over because its digest was known.
    """

    path: str
    label: str
    digest: str = ""
    n_rows: int = 0
    unchanged: bool = False


@dataclass(frozen=True)
class ReadResult:
    """What came of reading.

    Attributes:
        observations: Observations as the files have them, repetitions and conflicts included, with
            one more column, ``file``: the row's position in ``files``.
        files: All files that were found.
        log: The problems.
    """

    observations: pa.Table
    files: list[FileRecord]
    log: ProblemLog


def read_results(
    paths: str | Path | Iterable[str | Path],
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read result files into one tidy table.

    Args:
        paths: Files and folders: BIG-bench score files (``.json``, ``.json.gz``), tidy tables
            (``.csv``, ``.parquet``), or folders of them such as ``bigbench/benchmark_tasks``.
        strict: Raise at the first problem instead of collecting it.
        progress: Called with (files done, files found) after each file.

    Returns:
        Observations, one row a score (columns: :data:`bigbench_meta.schema.OBSERVATIONS`), and
        problems, one row a fault (``source, field, reason, severity``).

    Raises:
        InputError: A path does not exist; nothing that looks like results is found; or, if strict,
            there is any problem.

    Examples:
        >>> from bigbench_meta.catalog import data_path
        >>> observations, problems = read_results(data_path("gpt3_table_h1.csv"))
        >>> len(observations), len(problems)
        (1512, 0)
    """
    result = read_tables(paths, strict=strict, progress=progress)
    observations = resolve_conflicts(result.observations.drop_columns(FILE), result.log)
    return to_frame(observations), to_frame(result.log.table())


def load_embedded(name: str = "gpt3_table_h1") -> pd.DataFrame:
    """Return published scores that come with the package, as observations.

    Args:
        name: ``gpt3_table_h1``: 63 rows of GPT-3's results at 3 prompt settings, 8 model sizes
            (Brown et al. 2020, arXiv 2005.14165, Table H.1). ``wei2022_chain_of_thought``: standard
            and chain-of-thought prompting over model sizes (Wei et al. 2022, arXiv 2201.11903,
            Tables 2-5).

    Returns:
        Observations.

    Raises:
        InputError: There are no embedded scores of that name.

    Examples:
        >>> load_embedded()["model_name"].nunique()
        8
    """
    if name not in EMBEDDED:
        raise InputError(f"{name!r}", where="name", hint=f"one of {', '.join(EMBEDDED)}")
    observations, _ = read_results(data_path(f"{name}.csv"), strict=True)
    return observations


def read_tables(
    paths: str | Path | Iterable[str | Path],
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
    known: Mapping[str, str] | None = None,
) -> ReadResult:
    """Read result files into Arrow tables, for those who store them.

    Args:
        paths: As for :func:`read_results`.
        strict: As for :func:`read_results`.
        progress: As for :func:`read_results`.
        known: Digests of files read before, by absolute path; a file that still has its digest is
            not decoded.

    Returns:
        The raw rows, the files and the problems.

    Raises:
        InputError: As for :func:`read_results`.
    """
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    log = ProblemLog(strict=strict)
    found = discover(named, log)
    if not found and not log.rows:
        raise InputError(
            "no result files found",
            where=", ".join(map(str, named)),
            hint="BIG-bench score files are named <task>/results/scores_<family>_<model>.json",
        )
    reader, tables, records = ScoreFileReader(log), [], []
    for number, file in enumerate(found):
        record = FileRecord(str(file.path.resolve()), file.label)
        records.append(record)
        if (data := _new_content(file, record, known or {}, log)) is not None:
            if file.format == "bigbench":
                record.n_rows = reader.read(data, file.label, number)
            elif (table := read_table(data, file.path.name, file.label, log)) is not None:
                record.n_rows = table.num_rows
                column = pa.array(np.full(table.num_rows, number, dtype=np.int32))
                tables.append(table.append_column(FILE, column))
        if progress:
            progress(number + 1, len(found))
    rows = pa.concat_tables([reader.table(), *tables]).unify_dictionaries()
    return ReadResult(rows, records, log)


def _new_content(
    file: SourceFile, record: FileRecord, known: Mapping[str, str], log: ProblemLog
) -> bytes | None:
    """Return the content of a file unless it cannot be read or is known; fill in the record."""
    try:
        data = read_bytes(file.path)
    except InputError as error:
        log.error(file.label, "", error.message)
        return None
    record.digest = blake2b(data, digest_size=16).hexdigest()
    record.unchanged = known.get(record.path) == record.digest
    return None if record.unchanged else data
