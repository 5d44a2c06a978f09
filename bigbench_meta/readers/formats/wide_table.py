"""Reader for wide tables: one row a run, one column a metric, columns named as somebody liked.

A :class:`Mapping` says what the columns mean. Columns of names are
worked on by their distinct values and columns of scores as arrays, so that no Python runs per row.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.formats.mapping_values import REQUIRED
from bigbench_meta.readers.formats.wide_catalog import compare_with_catalog
from bigbench_meta.readers.formats.wide_codes import KINDS, Coded, stored
from bigbench_meta.readers.formats.wide_file import read_file
from bigbench_meta.readers.formats.wide_keys import key_columns
from bigbench_meta.readers.formats.wide_scores import scores, stderrs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.readers.formats.mapping import Mapping
    from bigbench_meta.readers.formats.wide_file import WideFile
    from bigbench_meta.readers.formats.wide_keys import ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["parse_wide"]


def parse_wide(
    data: bytes,
    name: str,
    label: str,
    log: ProblemLog,
    mapping: Mapping,
    *,
    names: ModelNames | None = None,
) -> pa.Table | None:
    r"""Read one wide table.

    A cell of scores that is empty or holds a missing code gives no row, and one warning for each
    metric counts them. A cell that is no number is reported and gives no row; one that is not
    finite is kept and reported. A row without a benchmark, task, model family or model name is
    left out and reported; any other value that does not fit is left empty and reported.

    Args:
        data: The file's content, decompressed.
        name: Its file name: Parquet if it ends in ``.parquet``, else CSV in UTF-8.
        label: Its name in tables and messages.
        log: Where problems are noted.
        mapping: What the columns mean.
        names: The model-name rules, needed where the mapping says ``rules = true``.

    Returns:
        An observations table, row by row and within a row in the mapping's order of metrics; None
        if the file cannot be used at all.

    Raises:
        SchemaError: The table lacks a column that the mapping names.
        InputError: The mapping needs ``names``.

    Examples:
        >>> from bigbench_meta.readers.formats.mapping import Mapping
        >>> from bigbench_meta.readers.problems import ProblemLog
        >>> mapping = Mapping.parse('''
        ... missing = [-100]
        ... metrics = ["acc", "f1"]
        ... constants = {benchmark = "mine", model_family = "GPT-2"}
        ... columns = {task = "dataset", model_name = "model"}
        ... ''')
        >>> log = ProblemLog()
        >>> data = b"dataset,model,acc,f1\nrhymes,gpt2,0.5,-100\n"
        >>> parse_wide(data, "wide.csv", "wide.csv", log, mapping)["score"].to_pylist()
        [0.5]
        >>> log.rows
        [('wide.csv', 'f1', '1 cell holds the missing value -100: no row', 'warning')]
    """
    if names is None and mapping.uses_rules:
        raise InputError(
            "the mapping says `rules = true`, but there are no model-name rules",
            where=mapping.where,
            hint="pass names=, or give a map",
        )
    file = read_file(data, name, label, log, mapping)
    if file is None:
        return None
    if not file.n_rows:
        log.warning(label, "", "the table has no rows")
    keys = key_columns(file, mapping, names)
    usable = np.ones(file.n_rows, dtype=bool)
    for column in REQUIRED:
        usable &= keys[column].codes >= 0
    compare_with_catalog(file, mapping, keys, usable)
    return _assemble(file, mapping, keys, usable)


def _assemble(
    file: WideFile, mapping: Mapping, keys: dict[str, Coded], usable: NDArray[np.bool_]
) -> pa.Table:
    """Return the observations: a row for each usable cell of a usable row."""
    rules = list(mapping.metrics.items())
    has_stderr = any(rule.stderr is not None for _, rule in rules)
    score = np.empty((file.n_rows, len(rules)))
    stderr = np.full((file.n_rows, len(rules)), math.nan) if has_stderr else None
    given = np.zeros(score.shape, dtype=bool)
    for number, (source, rule) in enumerate(rules):
        missing = mapping.missing if rule.missing is None else rule.missing
        score[:, number], given[:, number] = scores(file, source, rule, missing)
        if stderr is not None:
            stderr[:, number] = stderrs(file, rule, missing)
    given &= usable[:, np.newaxis]
    n_given = given.sum(axis=1)
    kept = np.flatnonzero(n_given)
    row = pa.array(np.repeat(np.arange(len(kept)), n_given[kept]))
    metric = np.broadcast_to(np.arange(len(rules), dtype=np.int32), given.shape)[given]
    columns = {
        column: stored(Coded(coded.codes[kept], coded.distinct), column).take(row)
        for column, coded in keys.items()
    }
    names = [rule.name or source for source, rule in rules]
    columns["metric"] = stored(Coded(metric, names), "metric")
    columns["score"] = pa.array(score[given])
    if stderr is not None:
        columns["stderr"] = pa.array(stderr[given], from_pandas=True)
    for column in ("low_score", "high_score", "is_preferred"):
        of_metric = pa.array([getattr(rule, column) for _, rule in rules], KINDS[column])
        columns[column] = of_metric.take(pa.array(metric))
    for column in KINDS.keys() - columns.keys():
        columns[column] = pa.nulls(len(row), KINDS[column])
    return pa.table(columns).select(OBSERVATIONS.names).cast(OBSERVATIONS.arrow)
