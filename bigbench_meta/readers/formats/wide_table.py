"""Reader for wide tables: one row for each run, one column for each metric, named freely.

A :class:`Mapping` says what the columns mean. Columns of names are worked on by their distinct
values and columns of scores as arrays, so that no Python runs per row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.formats.mapping import REQUIRED
from bigbench_meta.readers.formats.wide_file import NUMBER, UNREADABLE, counted, read_file, shown
from bigbench_meta.readers.formats.wide_keys import KINDS, Coded, key_columns, stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.formats.mapping import Mapping, MetricRule, Value
    from bigbench_meta.readers.formats.values import FileLog
    from bigbench_meta.readers.formats.wide_file import WideFile

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["parse_wide"]


def parse_wide(
    data: bytes,
    name: str,
    log: FileLog,
    mapping: Mapping,
    *,
    names: ModelNames,
) -> pa.Table | None:
    r"""Read one wide table.

    A cell of scores that is empty or holds a missing code gives no row, and one warning for each
    metric counts them. A cell that is no number is reported and gives no row; one that is not
    finite is kept and reported. A row without a benchmark, task, model family or model name is
    left out and reported; any other value that does not fit is left empty and reported.

    Args:
        data: The file's content, decompressed.
        name: Its file name: Parquet if it ends in ``.parquet``, else CSV in UTF-8.
        log: Where problems are noted.
        mapping: What the columns mean.
        names: The model-name rules, for columns where the mapping says ``rules = true``.

    Returns:
        An observations table, row by row and within a row in the mapping's order of metrics; None
        if the file cannot be used at all.

    Raises:
        SchemaError: The table lacks a column that the mapping names.

    Examples:
        >>> from bigbench_meta.catalog.model_names import model_names
        >>> from bigbench_meta.readers.formats.mapping import Mapping
        >>> from bigbench_meta.readers.formats.values import FileLog
        >>> from bigbench_meta.readers.problems import ProblemLog
        >>> mapping = Mapping.parse('''
        ... missing = [-100]
        ... metrics = ["acc", "f1"]
        ... constants = {benchmark = "mine", model_family = "GPT-2"}
        ... columns = {task = "dataset", model_name = "model"}
        ... ''')
        >>> log = FileLog("wide.csv", ProblemLog())
        >>> data = b"dataset,model,acc,f1\nrhymes,gpt2,0.5,-100\n"
        >>> table = parse_wide(data, "wide.csv", log, mapping, names=model_names())
        >>> table["score"].to_pylist()
        [0.5]
        >>> log.problems.rows
        [('wide.csv', 'f1', '1 cell holds the missing value -100: no row', 'warning')]
    """
    file = read_file(data, name, log, mapping)
    if file is None:
        return None
    if not file.n_rows:
        log.warning("", "the table has no rows")
    keys = key_columns(file, mapping, names)
    usable = np.ones(file.n_rows, dtype=bool)
    for column in REQUIRED:
        usable &= keys[column].codes >= 0
    _compare_with_catalog(file, mapping, keys, usable)
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
        score[:, number], given[:, number] = _scores(file, source, rule, missing)
        if stderr is not None:
            stderr[:, number] = _stderrs(file, rule, missing)
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


@dataclass(frozen=True)
class _Cells:
    """A column of numbers, NaN where ``usable`` is false."""

    numbers: Floats
    usable: Mask
    empty: Mask
    bad: Mask
    coded: dict[Value, int]


def _scores(
    file: WideFile, source: str, rule: MetricRule, missing: list[Value]
) -> tuple[Floats, Mask]:
    """Return the scores of a metric, and which of them make a row.

    Args:
        file: The table; problems go to its log.
        source: The column.
        rule: What the mapping says of the metric.
        missing: Values that say that there is none.

    Returns:
        Scores, NaN where there is none, and whether there is one; both of shape (rows,).
    """
    cells = _cells(file, source, missing)
    if cells is None:
        return np.full(file.n_rows, math.nan), np.zeros(file.n_rows, dtype=bool)
    _note_bad(file, source, cells.bad, "is not a number: no row")
    parts = [(n, f"the missing value {code!r}") for code, n in cells.coded.items() if n]
    if n_empty := int(np.count_nonzero(cells.empty)):
        parts.append((n_empty, "nothing"))
    if parts:
        held = [f"{counted(n, 'cell')} {'holds' if n == 1 else 'hold'} {what}" for n, what in parts]
        rows = "no row" if sum(n for n, _ in parts) == 1 else "no rows"
        file.log.warning(source, f"{', '.join(held)}: {rows}")
    with np.errstate(over="ignore"):
        values = cells.numbers * rule.multiply
    if n_infinite := int(np.count_nonzero(cells.usable & ~np.isfinite(values))):
        reason = f"{counted(n_infinite, 'cell')} not finite: kept but never scored"
        file.log.warning(source, reason)
    return values, cells.usable


def _stderrs(file: WideFile, rule: MetricRule, missing: list[Value]) -> Floats:
    """Return the standard errors of a metric, NaN where there is none.

    Args:
        file: The table; problems go to its log.
        rule: What the mapping says of the metric.
        missing: Values that say that there is none.
    """
    cells = None if rule.stderr is None else _cells(file, rule.stderr, missing)
    if cells is None or rule.stderr is None:
        return np.full(file.n_rows, math.nan)
    values = np.array(cells.numbers * rule.multiply)
    wrong = cells.bad | (values < 0) | np.isinf(values)
    _note_bad(file, rule.stderr, wrong, "is not a standard error: left empty")
    values[wrong] = math.nan
    return values


def _cells(file: WideFile, source: str, missing: list[Value]) -> _Cells | None:
    """Return a column as numbers, None after a note if its type has none."""
    column = file.columns[source]
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _coded_cells(column, column.is_null(), missing, {})
        text = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    except pa.ArrowException:
        file.log.error(source, f"numbers cannot be read from type {kind}: left out")
        return None
    counts: dict[Value, int] = {}
    empty = pc.or_(pc.is_null(text), pc.fill_null(pc.equal(text, ""), fill_value=True))
    for code in missing:
        if isinstance(code, str) and code.strip():
            hit = pc.fill_null(pc.equal(text, code.strip()), fill_value=False)
            counts[code] = pc.sum(hit).as_py() or 0
            text = pc.if_else(hit, pa.scalar(None, text.type), text)
    text = pc.if_else(empty, pa.scalar(None, text.type), text)
    return _coded_cells(text, empty, missing, counts)


def _coded_cells(
    column: pa.ChunkedArray, empty: pa.ChunkedArray, missing: list[Value], counts: dict[Value, int]
) -> _Cells:
    given = column.is_valid().to_numpy()
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        numbers = _those_that_are(column)
    else:
        # What Arrow takes and others do not: nan(1).
        if pa.types.is_large_string(column.type) and pc.any(pc.is_nan(numbers)).as_py():
            numbers = _those_that_are(column)
    bad = given & numbers.is_null().to_numpy()
    values = np.array(pc.fill_null(numbers, math.nan).to_numpy(), dtype=np.float64)
    usable = given & ~bad
    for code in missing:
        if not isinstance(code, str):
            hit = usable & (np.isnan(values) if code != code else values == code)
            counts[code] = int(np.count_nonzero(hit))
            usable &= ~hit
    values[~usable] = math.nan
    return _Cells(values, usable, empty.to_numpy(), bad, counts)


def _those_that_are(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the numbers in a column of texts, null where there is none."""
    fits = pc.match_substring_regex(column, f"(?i)^(?:{NUMBER.pattern})$")
    return pc.if_else(fits, column, pa.scalar(None, column.type)).cast(pa.float64())


def _note_bad(file: WideFile, source: str, bad: Mask, reason: str) -> None:
    column = file.columns[source]
    file.note_rows(bad, source, lambda row: f"{_shown_cell(column[row])} {reason}")


def _shown_cell(cell: pa.Scalar) -> str:
    try:
        return shown(cell.as_py())
    except UNREADABLE:
        return str(cell.cast(pa.string()).as_py())


def _compare_with_catalog(
    file: WideFile, mapping: Mapping, keys: dict[str, Coded], usable: NDArray[np.bool_]
) -> None:
    """Note a warning where a mapping and the metric catalog disagree on direction or unit.

    Args:
        file: The table, to whose log the warnings go.
        mapping: What its columns mean.
        keys: Our columns; ``benchmark`` and ``task`` are looked at.
        usable: Which rows count.
    """
    said = {
        source: rule
        for source, rule in mapping.metrics.items()
        if rule.higher_is_better is not None or rule.unit is not None
    }
    if not said or not usable.any():
        return
    tasks = _tasks(keys["benchmark"], keys["task"], usable)
    for source, rule in said.items():
        known = metric_catalog().lookup(tasks.assign(metric=rule.name or source))
        for reason in _disagreements(rule, known):
            file.log.warning(f"metrics.{source}", reason)


def _tasks(benchmark: Coded, task: Coded, usable: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the distinct tasks of the usable rows."""
    pair = np.unique(
        benchmark.codes[usable].astype(np.int64) * len(task.distinct) + task.codes[usable]
    )
    return pd.DataFrame(
        {
            "benchmark": [benchmark.distinct[number // len(task.distinct)] for number in pair],
            "task": [task.distinct[number % len(task.distinct)] for number in pair],
        }
    )


def _disagreements(rule: MetricRule, known: pd.DataFrame) -> list[str]:
    reasons = []
    up = rule.higher_is_better
    theirs = known["higher_is_better"].dropna()
    if up is not None and (theirs != up).any():
        word = "down" if up else "up"
        reasons.append(
            f"the metric catalog says that {word} is better, and the analysis follows it"
        )
    has_bounds = rule.low_score is not None and rule.high_score is not None
    if up is False and len(theirs) < len(known) and not has_bounds:
        reasons.append(
            "the metric catalog does not know the direction: give low_score above high_score, or "
            "analyse with a catalog of your own"
        )
    units = known.loc[~known["unit"].isin(["", "unknown"]), "unit"].dropna()
    if rule.unit is not None and (other := units[units != rule.unit]).size:
        reasons.append(
            f"the unit is {rule.unit!r} here and {other.iloc[0]!r} in the metric catalog"
        )
    return reasons
