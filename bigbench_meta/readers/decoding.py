"""How much memory a file takes once it is decoded, estimated before it is.

Eighty kilobytes of gzip expand to ninety megabytes of ``[],[],``, and these to more than two
gigabytes of lists. Files that are read whole are refused where their values would take more than
``--max-bytes`` stands for; full logs, logs of Inspect and tables of samples are read in parts.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from bigbench_meta.readers.detect import Format

__all__ = ["memory_to_decode", "too_much_to_decode"]

# Bytes of memory for each byte of a file that is read whole: the file, its text and its values.
_OF_TEXT: Final = 3
# What Python makes of JSON, at most, by the character that each value needs: a list, an object, a
# key, a text (of two quotes), a number in a list.
_OF_JSON: Final = {b"[": 104, b"{": 110, b":": 60, b'"': 32, b",": 36}
# What becomes of a score, of a row of a table and its cells, and of a line of a log of samples.
_OF_SCORE: Final = 800
_OF_ROW: Final = 600
_OF_CELL: Final = 30
_OF_SAMPLE: Final = 3000
# What a number begins with, NaN and Infinity among them.
_NUMBER: Final = bytes.maketrans(b"-123456789NI", b"000000000000")
# No byte takes more, so that small files need not be looked at.
_MOST_OF_BYTE: Final = 1100
# A small --max-bytes bounds files, not what the program itself takes.
_LEAST_LIMIT: Final = 1 << 28
_IN_PARTS: Final = {"full_log", "inspect", "samples_table", "lighteval_details", "archive"}


def too_much_to_decode(
    data: bytes, beside: bytes | None, format_: Format, name: str, *, max_bytes: int
) -> str:
    """Return why a file is refused, empty if it is not.

    Args:
        data: The file's content, decompressed.
        beside: That of the file that it is read with.
        format_: Its format.
        name: Its name.
        max_bytes: What may be read; twice as much may be taken to decode it.
    """
    limit = 2 * max(max_bytes, _LEAST_LIMIT)
    size = len(data) + len(beside or b"")
    is_parquet = name.lower().endswith(".parquet")
    if format_ in _IN_PARTS or (size * _MOST_OF_BYTE <= limit and not is_parquet):
        return ""
    cost = memory_to_decode(data, format_, name)
    cost += _of_json(beside) if beside else 0
    if cost <= limit:
        return ""
    return (
        f"would take about {cost / 1e9:.1f} GB of memory, more than {limit / 1e9:.1f} GB"
        f" (--max-bytes {-(-cost // 2)} allows it)"
    )


def memory_to_decode(data: bytes, format_: Format, name: str) -> int:
    r"""Return about how many bytes of memory a file takes at most, with the rows that it gives.

    Args:
        data: The file's content, decompressed.
        format_: Its format, one of those that are read whole.
        name: Its name, whose ending gives the kind of a table.

    Examples:
        >>> memory_to_decode(b"[" + 9 * b"[]," + b"1]", "lm_eval", "a.json")
        1454
        >>> memory_to_decode(b"a,b\n1,2\n", "table", "a.csv")
        1344
    """
    if format_ == "table" and name.lower().endswith(".parquet"):
        return _of_parquet(data)
    if format_ == "table":
        rows = data.count(b"\n") + data.count(b"\r")
        cells = rows + sum(data.count(delimiter) for delimiter in (b",", b";", b"\t", b"|"))
        return _OF_TEXT * len(data) + _OF_ROW * rows + _OF_CELL * cells
    if format_ == "lm_eval_samples":
        longest = max(BytesIO(data), key=len, default=b"")
        lines = data.count(b"\n") + 1
        return _OF_TEXT * len(data) + _of_json(longest) + _OF_SAMPLE * lines
    scores = data.translate(_NUMBER, b" \t\r\n").count(b":0")
    return _of_json(data) + _OF_SCORE * scores


def _of_json(data: bytes) -> int:
    # One character beyond ASCII makes all of its text wider, and so does one that is escaped.
    text = 1 if data.isascii() else 4 if b"\xf0" in data else 2
    values = 4 if b"\\u" in data else text
    of_values = sum(cost * data.count(character) for character, cost in _OF_JSON.items())
    return (1 + text + values) * len(data) + of_values


def _of_parquet(data: bytes) -> int:
    try:
        found = pq.ParquetFile(pa.BufferReader(data)).metadata
        groups = [found.row_group(number) for number in range(found.num_row_groups)]
    except (OSError, UnicodeDecodeError, pa.ArrowException):
        return 0  # for its reader to report
    cells = found.num_rows * found.num_columns
    expanded = sum(group.total_byte_size for group in groups)
    return int(_OF_TEXT * expanded + _OF_ROW * found.num_rows + _OF_CELL * cells)
