"""Read from a wide CSV or Parquet table the columns that the mapping names."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.readers.formats.mapping import Mapping
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["NUMBER", "UNREADABLE", "WideFile", "counted", "read_file", "shown"]

# Python would also read 1_000, and the digits of other scripts.
NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
"""What counts as a number in a cell of text."""

UNREADABLE: Final = (pa.ArrowException, ValueError, OverflowError)
"""What values raise that cannot be made Python's: dates after the year 9999, for example."""

# Problems of one kind in one column are listed for the first ones only.
_MOST_LINES: Final = 5
# A row of a CSV file must fit in one block.
_BLOCK: Final = 1 << 24


@dataclass(frozen=True)
class WideFile:
    """The columns of a table that the mapping names.

    Attributes:
        columns: The columns, by the name that the file gives them; none is dictionary-encoded.
        log: Where problems are noted.
        numbers: The number of each row in messages.
        unit: What the numbers count: ``line`` or ``row``.
    """

    columns: dict[str, pa.ChunkedArray]
    log: FileLog
    numbers: NDArray[np.int64]
    unit: str

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self.numbers)

    def place(self, row: int, column: str) -> str:
        """Return where a cell is, for a message."""
        return f"{self.unit} {self.numbers[row]}, {column}"

    def note_rows(
        self, wrong: NDArray[np.bool_], column: str, reason: Callable[[int], str]
    ) -> None:
        """Note an error for each of the first wrong rows, and how many more there are.

        Args:
            wrong: Whether a row is wrong.
            column: The column.
            reason: Returns what is wrong with a row, given its position.
        """
        rows = np.flatnonzero(wrong)
        for row in rows[:_MOST_LINES]:
            self.log.error(self.place(row, column), reason(int(row)))
        if more := len(rows[_MOST_LINES:]):
            self.log.error(column, f"{counted(more, 'more row')} of this kind")


def read_file(data: bytes, name: str, log: FileLog, mapping: Mapping) -> WideFile | None:
    """Read the columns of a table that a mapping names.

    Args:
        data: The file's content, decompressed.
        name: Its file name: Parquet if it ends in ``.parquet``, else CSV in UTF-8.
        log: Where problems are noted.
        mapping: What the columns mean.

    Returns:
        The columns, those of a CSV file as text; None if the file cannot be used at all.

    Raises:
        SchemaError: The table lacks a column that the mapping names.
    """
    read = _read_parquet if name.lower().endswith(".parquet") else _read_csv
    return read(data, log, mapping)


def _read_parquet(data: bytes, log: FileLog, mapping: Mapping) -> WideFile | None:
    try:
        parquet = pq.ParquetFile(pa.BufferReader(data))
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        log.error("", f"cannot be read as Parquet: {error}")
        return None
    if not _is_clear(parquet.schema_arrow.names, log, mapping):
        return None
    try:
        table = parquet.read(columns=mapping.source_columns)
        # Text that is not UTF-8 would fail much later, and as something else.
        table.validate(full=True)
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        log.error("", f"cannot be read as Parquet: {error}")
        return None
    columns = {source: _plain(table.column(source)) for source in mapping.source_columns}
    return WideFile(columns, log, np.arange(1, table.num_rows + 1), "row")


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with its values in place of a dictionary of them."""
    is_coded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def _read_csv(data: bytes, log: FileLog, mapping: Mapping) -> WideFile | None:
    try:
        found = _csv_header(data, mapping.delimiter)
    except (csv.Error, UnicodeDecodeError) as error:
        log.error("", f"cannot be read as CSV: {error}")
        return None
    if not found:
        log.error("", "the file is empty")
        return None
    if not _is_clear(found, log, mapping):
        return None
    if b"\n" not in data:
        data += b"\n"  # without one, Arrow takes a lone header for nothing
    try:
        table, skipped = _parse_csv(data, mapping)
    except (KeyError, pa.ArrowException) as error:
        log.error("", f"cannot be read as CSV: {error}")
        return None
    # Records count from 1, the header's number. They are lines if no record takes several and none
    # is blank.
    numbers = np.setdiff1d(np.arange(2, table.num_rows + len(skipped) + 2), skipped)
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    is_line = n_lines == 1 + table.num_rows + len(skipped)
    unit, shift = ("line", 0) if is_line else ("row", 1)
    for number in skipped[:_MOST_LINES]:
        log.error(f"{unit} {number - shift}", "not as many cells as columns: row left out")
    if more := len(skipped[_MOST_LINES:]):
        log.error("", f"{counted(more, 'more row')} with a different number of cells: left out")
    columns = {source: table.column(source) for source in mapping.source_columns}
    return WideFile(columns, log, numbers - shift, unit)


def _csv_header(data: bytes, delimiter: str) -> list[str]:
    """Return the header, an empty list if there is none.

    Raises:
        UnicodeDecodeError: Anything in the file is not UTF-8; Arrow would fail in a callback.
        csv.Error: The header is no CSV.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _BLOCK):
        decoder.decode(data[start : start + _BLOCK])
    decoder.decode(b"", final=True)
    text = TextIOWrapper(BytesIO(data), encoding="utf-8-sig", newline="")
    return next((row for row in csv.reader(text, delimiter=delimiter) if row), [])


def _parse_csv(data: bytes, mapping: Mapping) -> tuple[pa.Table, list[int]]:
    """Return the columns as text, and the numbers of records with a wrong number of cells."""
    columns = mapping.source_columns
    for threads in (True, False):
        skipped: list[int | None] = []

        def skip(row: Any, skipped: list[int | None] = skipped) -> str:
            skipped.append(row.number)
            return "skip"

        table = pa_csv.read_csv(
            BytesIO(data),
            read_options=pa_csv.ReadOptions(use_threads=threads, block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(
                delimiter=mapping.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns,
                strings_can_be_null=False,
            ),
        )
        # Rows are numbered only by a single thread.
        if not skipped:
            break
    return table, [number for number in skipped if number is not None]


def _is_clear(found: list[str], log: FileLog, mapping: Mapping) -> bool:
    mapping.check_columns(found)
    twice = [source for source in mapping.source_columns if found.count(source) > 1]
    for source in twice:
        log.error(source, "column given twice: the file cannot be used")
    return not twice


def counted(number: int, what: str) -> str:
    """Return a number with what it counts.

    Examples:
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def shown(value: object) -> str:
    """Return a value for a message, not more than 40 characters of it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
