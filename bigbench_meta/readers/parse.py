"""From a file's content to tables, for every format but BIG-bench's own."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.readers.formats.json_values import FileLog
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
    file_log, names = FileLog(file.label, log), options.model_names
    name = posixpath.basename(file.member or file.path)
    if file.format == "lm_eval":
        from bigbench_meta.readers.formats import lm_eval

        return lm_eval.parse(data, file_log, names=names())
    if file.format == "helm":
        from bigbench_meta.readers.formats import helm

        folder = posixpath.basename(posixpath.dirname(file.member or file.path))
        return helm.parse(data, beside, folder, file_log, names=names())
    if file.format == "inspect":
        from bigbench_meta.readers.formats import inspect

        return inspect.parse(
            data,
            name.removesuffix(".gz"),
            file_log,
            names=names(),
            max_bytes=options.max_bytes,
            samples=options.samples,
            on_samples=on_samples,
        )
    if file.format == "lm_eval_samples":
        from bigbench_meta.readers.formats.lm_eval import read_run
        from bigbench_meta.readers.formats.lm_eval_samples import parse_samples

        # What is wrong with the results file is noted where it is read itself.
        quiet = FileLog(file.label, ProblemLog())
        run = None if beside is None else read_run(beside, quiet, names=names())
        table = parse_samples(data, file_log, names=names(), results=run)
        if table is not None and table.num_rows:
            on_samples(table)
        return None
    if options.mapping:
        from bigbench_meta.readers.formats.mapping import Mapping
        from bigbench_meta.readers.formats.wide_table import parse_wide

        mapping = Mapping.read(options.mapping)
        try:
            return parse_wide(data, name, file.label, log, mapping, names=names())
        except SchemaError as error:  # the mapping is for another of the tables
            log.error(file.label, "", str(error))
            return None
    from bigbench_meta.readers.formats.tidy_table import read_table

    return read_table(data, name, file.label, log)
