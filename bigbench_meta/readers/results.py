"""Reads result files of any format into one tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import FILE, to_frame
from bigbench_meta.readers.batch import batches, read_batch
from bigbench_meta.readers.options import ReadOptions
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.sources import discover, named_paths, require_found
from bigbench_meta.readers.streams import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

__all__ = ["EMBEDDED", "load_embedded", "read_results"]

EMBEDDED: Final = ("gpt3_table_h1", "wei2022_chain_of_thought")
"""Names of the embedded observations."""


def read_results(
    paths: str | Path | Iterable[str | Path],
    *,
    strict: bool = False,
    max_bytes: int = MAX_BYTES,
    mapping: str | Path | None = None,
    names: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read result files into one tidy table.

    Args:
        paths: Files, folders, patterns, archives (``.zip``, ``.tar.gz``) and URLs of BIG-bench
            score files, lm-evaluation-harness results, tidy tables (``.csv``, ``.parquet``) or,
            with a mapping, wide ones.
        strict: Raise at the first problem instead of collecting it.
        max_bytes: Refuse a file that holds, or expands to, more.
        mapping: TOML file that maps the columns of wide tables, see ``docs/wide_tables.md``.
        names: CSV of rules from model names to families and sizes, put before the packaged ones.
        progress: Called with (files done, files found) after each batch.

    Returns:
        Observations, one row a score (columns: :data:`bigbench_meta.core.schema.OBSERVATIONS`), and
        problems, one row a fault (``source, field, reason, severity``).

    Raises:
        InputError: A path does not exist; nothing that looks like results is found; or, if strict,
            there is any problem.

    Examples:
        >>> from bigbench_meta.catalog.published import data_path
        >>> observations, problems = read_results(data_path("gpt3_table_h1.csv"))
        >>> len(observations), len(problems)
        (1512, 0)
    """
    # Imported here: it imports pandas, which an ingest does without.
    from bigbench_meta.readers.conflicts import resolve_conflicts

    named = named_paths(paths)
    log = ProblemLog(strict=strict)
    options = ReadOptions(
        max_bytes=max_bytes,
        mapping=Path(mapping) if mapping else None,
        names=Path(names) if names else None,
    )
    found = list(discover(named, log, mapping=options.mapping))
    require_found(named, len(found), log)
    tables, done = [], 0
    for batch in batches(found):
        for result in read_batch(batch, options, strict=strict):
            tables.append(result.observations.drop_columns(FILE))
            log.extend(result.log)
        done += len(batch)
        if progress:
            progress(done, len(found))
    observations = resolve_conflicts(pa.concat_tables(tables).unify_dictionaries(), log)
    return to_frame(observations), to_frame(log.table())


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
    from bigbench_meta.catalog.published import data_path

    if name not in EMBEDDED:
        raise InputError(f"{name!r}", where="name", hint=f"one of {', '.join(EMBEDDED)}")
    observations, _ = read_results(data_path(f"{name}.csv"), strict=True)
    return observations
