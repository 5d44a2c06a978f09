"""Reads result files of any format into one tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from bigbench_meta.catalog.embedded import EMBEDDED_SETS, embedded_set
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.schema import FILE, OBSERVATIONS, to_frame
from bigbench_meta.readers.batch import ReadOptions, batches, read_batch
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.sources import discover, named_paths, require_found
from bigbench_meta.readers.streams import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from bigbench_meta.core.progress import Progress

__all__ = ["load_embedded", "load_embedded_samples", "read_results"]


def read_results(
    paths: str | Path | Iterable[str | Path],
    *,
    strict: bool = False,
    max_bytes: int = MAX_BYTES,
    mapping: str | Path | None = None,
    names: str | Path | None = None,
    path: str | None = None,
    on_file: Callable[[str, str | None], None] | None = None,
    progress: Progress = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read result files into one tidy table.

    Args:
        paths: Files, folders, patterns, archives (``.zip``, ``.tar.gz``) and URLs of BIG-bench
            score files, lm-evaluation-harness results, tidy tables (``.csv``, ``.parquet``) or,
            with a mapping, wide ones.
        strict: Raise at the first problem instead of collecting it.
        max_bytes: Refuse a file that holds, or expands to, more, or would take more than twice as
            much memory.
        mapping: TOML file that maps the columns of wide tables, see ``docs/wide_tables.md``.
        names: CSV of rules from model names to families and sizes, put before the packaged ones.
        path: Columns that stand in the path of each file, such as
            ``{variant}/{model}-{shots}shot*.json``; see
            :class:`bigbench_meta.readers.paths.PathPattern`.
        on_file: Called with the name of each file read and the XXH3-128 digest of its bytes in
            hexadecimal, None if it could not be read.
        progress: Whether to show a bar, or what to call with (files done, files found) after each
            batch; by default a bar in terminals and notebooks.

    Returns:
        Observations, one row per score (columns: :data:`bigbench_meta.core.schema.OBSERVATIONS`),
        and problems, one row per fault (``source, field, reason, severity``).

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
        path=path,
    )
    found = list(discover(named, log, mapping=options.mapping))
    require_found(named, len(found), log)
    tables, done = [OBSERVATIONS.empty()], 0
    with progress_bar("Reading", progress) as report:
        for batch in batches(found):
            for result in read_batch(batch, options, strict=strict):
                tables.append(result.observations.drop_columns(FILE))
                log.extend(result.log)
                if on_file:
                    for record in result.records:
                        on_file(record.file.label, record.digest.hex() or None)
            done += len(batch)
            if report:
                report(done, len(found))
    observations = resolve_conflicts(pa.concat_tables(tables).unify_dictionaries(), log)
    return to_frame(observations), to_frame(log.table())


def load_embedded(name: str = "gpt3") -> pd.DataFrame:
    """Return a set of published scores that comes with the package, as observations.

    Args:
        name: ``lamda`` (BIG-bench: 85 tasks, 12 sizes of LaMDA), ``gpt3`` (63 results of GPT-3 at
            8 sizes and 3 prompt settings), ``paper`` (the figures of Schaeffer et al. 2023),
            ``trained`` (families trained for this package), ``trained_checkpoints`` (the same
            during training) or ``wei2022_chain_of_thought``.
            :data:`~bigbench_meta.catalog.embedded.EMBEDDED_SETS` says of each what it can show. The
            name of the file in ``data/`` serves as well.

    Returns:
        Observations.

    Raises:
        InputError: There is no embedded set of that name.

    Examples:
        >>> load_embedded()["model_name"].nunique()
        8
        >>> load_embedded("lamda")["task"].nunique()
        85
    """
    from bigbench_meta.catalog.published import data_path

    observations, _ = read_results(data_path(embedded_set(name).file), strict=True)
    return observations


def load_embedded_samples(name: str = "trained") -> pa.Table:
    """Return the outputs of a set that comes with the package, one row an example and model.

    Args:
        name: ``trained``: the models of seed 0, some 2,000 examples a study.

    Returns:
        Samples (columns: :data:`bigbench_meta.core.schema.SAMPLES`), as
        :func:`bigbench_meta.rescore` takes them.

    Raises:
        InputError: There is no embedded set of that name, or it has no outputs.

    Examples:
        >>> from bigbench_meta import rescore
        >>> samples = load_embedded_samples()
        >>> scores, _ = rescore(samples, ["exact_str_match"], tokens="digits")
        >>> "4-digit addition" in set(scores["task"])
        True
    """
    import pyarrow.parquet as pq

    from bigbench_meta.catalog.published import data_path

    chosen = embedded_set(name)
    if not chosen.samples:
        known = ", ".join(entry.name for entry in EMBEDDED_SETS if entry.samples)
        raise InputError(f"the set {name!r} has no outputs", where="name", hint=f"use {known}")
    return pq.read_table(data_path(chosen.samples))
