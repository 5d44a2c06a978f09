"""From a file's content to tables, for every format but BIG-bench's own."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.readers.problems import ProblemLog

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from bigbench_meta.readers.detect import SourceFile
    from bigbench_meta.readers.options import ReadOptions

__all__ = ["parse"]


def parse(
    file: SourceFile,
    data: bytes,
    beside: bytes | None,
    log: ProblemLog,
    options: ReadOptions,
    *,
    on_samples: Callable[[pa.Table], None],
) -> pa.Table | None:
    """Read one file.

    Args:
        file: What it is called and which reader takes it.
        data: Its content, decompressed.
        beside: Content of its companion, None if there is none.
        log: Where problems are noted.
        options: How to read.
        on_samples: Takes tables of samples.

    Returns:
        An observations table, None if there are none.
    """
    if file.format == "lm_eval":
        from bigbench_meta.readers.formats.lm_eval import parse as parse_lm_eval

        return parse_lm_eval(data, file.label, log, names=options.model_names())
    if file.format == "helm":
        from bigbench_meta.readers.formats.helm import parse as parse_helm

        folder = posixpath.basename(posixpath.dirname(file.member or file.path))
        names = options.model_names()
        return parse_helm(data, beside, file.label, folder, log, names=names)
    if file.format == "inspect":
        from bigbench_meta.readers.formats.inspect import parse as parse_inspect

        return parse_inspect(
            data,
            _name(file).removesuffix(".gz"),
            file.label,
            log,
            names=options.model_names(),
            max_bytes=options.max_bytes,
            samples=options.samples,
            on_samples=on_samples,
        )
    if file.format == "lm_eval_samples":
        _parse_samples(file, data, beside, log, options, on_samples)
        return None
    if options.mapping:
        return _parse_wide(file, data, log, options)
    from bigbench_meta.readers.formats.tidy_table import read_table

    return read_table(data, _name(file), file.label, log)


def _name(file: SourceFile) -> str:
    return posixpath.basename(file.member or file.path)


def _parse_samples(
    file: SourceFile,
    data: bytes,
    beside: bytes | None,
    log: ProblemLog,
    options: ReadOptions,
    on_samples: Callable[[pa.Table], None],
) -> None:
    from bigbench_meta.readers.formats.lm_eval import read_run
    from bigbench_meta.readers.formats.lm_eval_samples import parse_samples

    names = options.model_names()
    # What is wrong with the results file is told where it is read itself.
    run = None if beside is None else read_run(beside, file.label, ProblemLog(), names=names)
    table = parse_samples(data, file.label, log, names=names, results=run)
    if table is not None and table.num_rows:
        on_samples(table)


def _parse_wide(
    file: SourceFile, data: bytes, log: ProblemLog, options: ReadOptions
) -> pa.Table | None:
    from bigbench_meta.readers.formats.mapping import Mapping
    from bigbench_meta.readers.formats.wide_table import parse_wide

    mapping = Mapping.read(options.mapping or "")
    names = options.model_names()
    try:
        return parse_wide(data, _name(file), file.label, log, mapping, names=names)
    except SchemaError as error:  # the mapping is for another of the tables
        log.error(file.label, "", str(error))
        return None
