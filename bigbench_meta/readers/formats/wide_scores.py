"""Scores and standard errors out of the cells of a wide table, a column at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.readers.formats.wide_codes import NUMBER, UNREADABLE, plain_column
from bigbench_meta.readers.formats.wide_file import counted, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.readers.formats.mapping_rules import MetricRule
    from bigbench_meta.readers.formats.mapping_values import Value
    from bigbench_meta.readers.formats.wide_file import WideFile

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["scores", "stderrs"]


@dataclass(frozen=True)
class _Cells:
    """A column of numbers, NaN where ``usable`` is false."""

    numbers: Floats
    usable: Mask
    empty: Mask
    bad: Mask
    coded: dict[Value, int]


def scores(
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
        told = [f"{counted(n, 'cell')} {'holds' if n == 1 else 'hold'} {what}" for n, what in parts]
        rows = "no row" if sum(n for n, _ in parts) == 1 else "no rows"
        file.log.warning(file.label, source, f"{', '.join(told)}: {rows}")
    with np.errstate(over="ignore"):
        values = cells.numbers * rule.multiply
    if n_infinite := int(np.count_nonzero(cells.usable & ~np.isfinite(values))):
        reason = f"{counted(n_infinite, 'cell')} not finite: kept but never scored"
        file.log.warning(file.label, source, reason)
    return values, cells.usable


def stderrs(file: WideFile, rule: MetricRule, missing: list[Value]) -> Floats:
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
    _note_bad(file, rule.stderr, wrong, "is no standard error: left empty")
    values[wrong] = math.nan
    return values


def _cells(file: WideFile, source: str, missing: list[Value]) -> _Cells | None:
    """Return a column as numbers, None after a note if its type has none."""
    column = plain_column(file.columns[source])
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _coded_cells(column, column.is_null(), missing, {})
        text = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    except pa.ArrowException:
        file.log.error(file.label, source, f"numbers cannot be read from type {kind}: left out")
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
