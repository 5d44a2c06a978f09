"""Read Parquet files some rows at a time, leaving out and reporting what is damaged."""

from __future__ import annotations

from collections import Counter
from typing import IO, TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["open_table", "parts"]

# Decoded at a time: what takes so many bytes in the file, decompressed, and no more rows than that.
_BATCH_BYTES: Final = 16 << 20
_BATCH_ROWS: Final = 1 << 16
_BROKEN: Final = (OSError, ValueError, EOFError, pa.ArrowException)


def open_table(source: pa.BufferReader | IO[bytes], log: FileLog) -> pq.ParquetFile | None:
    """Open a Parquet file; note why it cannot be read, or which columns it has twice.

    Args:
        source: The file, open for reading at any place.
        log: Where problems are noted.

    Returns:
        The file, None if it cannot be used.
    """
    try:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        names = file.schema_arrow.names
    except _BROKEN as error:
        log.error("", f"cannot be read as a table: {error}")
        return None
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        log.error(", ".join(twice), "column given twice")
        return None
    return file


def parts(
    file: pq.ParquetFile,
    columns: Sequence[str],
    log: FileLog,
    *,
    max_bytes: int,
    most_rows: int = _BATCH_ROWS,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield parts of a file, each with the number of its first row; leave out what is damaged.

    Args:
        file: The file.
        columns: What is read of it: columns, or fields of structs (``doc.query``).
        log: Where problems are noted; rows are counted from 1.
        max_bytes: Leave out row groups that expand to more.
        most_rows: Rows of a part at most.
    """
    end = 0
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        first, end = end + 1, end + group.num_rows
        if group.total_byte_size > max_bytes:
            reason = f"more than {max_bytes} bytes in a row group (--max-bytes): left out"
            log.error(f"rows {first} to {end}", reason)
            continue
        size = _BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
        try:
            for batch in file.iter_batches(
                min(max(size, 1), most_rows), row_groups=[number], columns=columns
            ):
                batch.validate(full=True)  # texts that are no UTF-8 raise only when they are used
                yield first, batch
                first += batch.num_rows
            if first <= end:
                log.error(f"rows {first} to {end}", "are not there: the file is damaged")
        except _BROKEN as error:
            log.error(f"rows {first} to {end}", f"cannot be read, left out: {error}")
    if end != file.metadata.num_rows:
        log.error("", f"{end} of {file.metadata.num_rows} rows found: the file is damaged")
