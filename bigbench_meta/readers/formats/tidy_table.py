"""Reader for tidy tables: CSV or Parquet files with the columns of an observations table."""

from __future__ import annotations

import warnings
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.errors import ParserWarning

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.schema import OBSERVATIONS, SCALE_AXES, Column, conform
from bigbench_meta.readers.formats.values import refuse_other_encodings

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["NAMED_SAMPLES", "has_columns", "missing_columns", "read_table"]

NAMED_SAMPLES: Final = "a table of samples must be named samples*.parquet"

_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_POSITIVE: Final = {*SCALE_AXES, "n_examples"}
_NOT_NEGATIVE: Final = {"shots", "stderr"}
_NOT_STATED: Final = -1  # as shots in BIG-bench's files
# Problems of one kind in one column are listed for the first lines only.
_MOST_LINES = 5


def has_columns(
    path: Path, wanted: Collection[str] = OBSERVATIONS.required, *, delimiter: str = ","
) -> bool:
    """Return whether a table's header has every column that is wanted, or cannot be seen."""
    return not missing_columns(path, wanted, delimiter=delimiter)[0]


def missing_columns(
    path: Path, wanted: Collection[str] = OBSERVATIONS.required, *, delimiter: str = ","
) -> tuple[list[str], list[str]]:
    """Return the wanted columns that a table's header lacks, and those that it has.

    A header that cannot be seen lacks none: that is for the reader to report.
    """
    try:
        if path.name.lower().endswith(".parquet"):
            names = pq.read_schema(path).names
        else:
            header = pd.read_csv(path, nrows=0, encoding="utf-8", sep=delimiter)
            names = header.columns.tolist()
    except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError):
        return [], []
    return [name for name in wanted if name not in names], [str(name) for name in names]


def read_table(data: bytes, name: str, log: FileLog) -> pa.Table | None:
    """Read one tidy table.

    A row without a required value is left out and reported; an optional value that does not fit
    its column is left empty and reported; a row without a score is kept, its score NaN.

    Args:
        data: The file's content, decompressed.
        name: Its file name, whose ending gives the format.
        log: Where problems are noted; its name for the file is the ``source`` of rows without one.

    Returns:
        An observations table, None if the file cannot be used at all.
    """
    try:
        if name.lower().endswith(".parquet"):
            table = _without_times(pq.read_table(pa.BufferReader(data)))
            table.validate(full=True)  # texts that are no UTF-8 raise only when they are used
            frame = table.to_pandas(types_mapper=pd.ArrowDtype)
        else:
            frame = _read_csv(data)
    except (OSError, ValueError, EOFError, pa.ArrowException, ParserWarning) as error:
        log.error("", f"cannot be read as a table: {_reason(error, data)}")
        return None
    if missing := [name for name in OBSERVATIONS.required if name not in frame.columns]:
        is_samples = "example_id" in frame.columns and "score" in missing
        hint = f"; {NAMED_SAMPLES}" if is_samples else ""
        log.error(", ".join(missing), f"required column missing{hint}")
        return None
    if frame.empty:
        log.warning("", "the table has no rows")
    for name in frame.columns.difference(OBSERVATIONS.names):
        log.warning(str(name), "unknown column: ignored")
    text = frame.astype(object).where(frame.notna(), "").map(_as_text)
    columns = {
        c.name: _column(text[c.name], c, log) for c in OBSERVATIONS.columns if c.name in text
    }
    result = _without_holes(pd.DataFrame(columns), log)
    source = result.get("source", pd.Series(pd.NA, index=result.index, dtype="str"))
    try:
        return conform(result.assign(source=source.fillna(log.label)))
    except SchemaError as error:
        log.error(error.where or "", error.message)
        return None


def _reason(error: Exception, data: bytes) -> str:
    """Return what an error says of a table; of its encoding, pandas names the place in a cell."""
    if not data.strip():
        return "the file is empty"
    if isinstance(error, UnicodeDecodeError):
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as exact:
            return f"not UTF-8: {exact.reason} at byte {exact.start}"
    return str(error)


def _without_times(table: pa.Table) -> pa.Table:
    """Return a table with dates and times as texts: not all that Arrow has are Python's."""
    for place, field in enumerate(table.schema):
        if pa.types.is_temporal(field.type):
            texts = table.column(place).cast(pa.string())
            table = table.set_column(place, field.name, texts)
    return table


def _read_csv(data: bytes) -> pd.DataFrame:
    refuse_other_encodings(data)  # pandas joins the halves of a character that a quote parts
    with warnings.catch_warnings():
        # Rows longer than the header: without index_col they would shift, with it be cut.
        warnings.simplefilter("error", ParserWarning)
        return pd.read_csv(
            BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8", index_col=False
        )


def _as_text(value: object) -> str:
    return str(value).strip()


def _column(text: pd.Series[str], column: Column, log: FileLog) -> pd.Series:
    if pa.types.is_dictionary(column.type):
        return text.astype("str").mask(text == "")
    values: pd.Series[Any]
    if pa.types.is_boolean(column.type):
        values = text.str.lower().map(_TRUTH).astype("boolean")
        wrong = values.isna() & (text != "")
    else:
        values = pd.to_numeric(text, errors="coerce").astype("float64")
        wrong = values.isna() & ~text.str.lower().isin(["", "nan"])
        if pa.types.is_integer(column.type):
            wrong |= values.notna() & ((values % 1 != 0) | (values.abs() >= 2**63))
            values = values.mask(wrong).astype("Int64")
            # Plain digits as they are: a float has room for fifteen of them.
            exact = text.str.fullmatch(r"[+-]?[0-9]{1,18}")
            values[exact] = text[exact].astype("int64").astype("Int64")  # not through floats
    _note_lines(text, wrong, f"does not fit {column.type}: left empty", column.name, log)
    if column.name == "shots":
        values = values.mask(values == _NOT_STATED)
    if column.name in _POSITIVE or column.name in _NOT_NEGATIVE:
        impossible = (values <= 0 if column.name in _POSITIVE else values < 0) | (values == np.inf)
        impossible = impossible.fillna(value=False).astype(bool)
        _note_lines(text, impossible, "is out of range: left empty", column.name, log)
        values = values.mask(impossible)
    return values


def _without_holes(frame: pd.DataFrame, log: FileLog) -> pd.DataFrame:
    """Drop rows without a required value; a missing score is allowed."""
    hole = pd.Series(data=False, index=frame.index)
    for name in OBSERVATIONS.required:
        if name == "score":
            continue
        empty = frame[name].isna()
        _note_lines(frame[name], empty & ~hole, "no value: row left out", name, log)
        hole |= empty
    return frame[~hole].reset_index(drop=True)


def _note_lines(
    values: pd.Series, wrong: pd.Series[bool], reason: str, column: str, log: FileLog
) -> None:
    lines = wrong.index[wrong]
    for row in lines[:_MOST_LINES]:
        shown = "" if pd.isna(values[row]) else f"{values[row]!r} "
        # The header is line 1.
        log.error(f"line {row + 2}, {column}", f"{shown}{reason}")
    if len(lines) > _MOST_LINES:
        log.error(column, f"{len(lines) - _MOST_LINES} more lines: {reason}")
