"""The samples of one log, gathered until it is known whose they are, and handed over as tables.

BIG-bench writes the shots of a query behind its samples, and a log may name its task and its model
behind all queries. So rows wait on a shelf, which is a temporary file when there are many.
"""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.arrow import codes, numbers
from bigbench_meta.core.schema import SAMPLES
from bigbench_meta.readers.formats.full_log_rows import OWN_COLUMNS, QUERY, ROWS, RowBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bigbench_meta.readers.formats.full_log_types import Sample

__all__ = ["SampleTables"]

# Samples are turned into rows when they have taken so many bytes of the log.
_BATCH_BYTES: Final = 1 << 22
# A table has at least one of these, unless it is the last one of its log.
_TABLE_ROWS: Final = 1 << 16
_TABLE_BYTES: Final = 1 << 24
_SHELF_BYTES: Final = 1 << 23


class SampleTables:
    """Gathers the samples of one log.

    Args:
        on_samples: Takes the tables.
        on_mismatch: Called with the query, the sample, the number of log-probabilities and that of
            targets where these differ.
    """

    def __init__(
        self,
        on_samples: Callable[[pa.Table], None],
        on_mismatch: Callable[[int, int, int, int], None],
    ) -> None:
        self._on_samples = on_samples
        self._on_mismatch = on_mismatch
        self._rows = RowBuilder()
        self._shelf = _Shelf(_SHELF_BYTES)
        self._batched = 0
        self._known: dict[int, tuple[str | None, int | None]] = {}

    @property
    def n_rows(self) -> int:
        """Samples in hand."""
        return self._rows.n_rows + self._shelf.n_rows

    @property
    def full(self) -> bool:
        """Whether there is enough for a table."""
        return self._shelf.n_rows >= _TABLE_ROWS or self._shelf.n_bytes >= _TABLE_BYTES

    def add(self, query: int, first: int, samples: list[Sample], offset: int) -> None:
        """Add samples that follow each other in one query.

        Args:
            query: Number of the query in the log.
            first: Number of the first sample in the query.
            samples: The samples.
            offset: How much of the log has been read, in bytes.
        """
        if samples:
            self._rows.add(query, first, samples)
        if offset - self._batched >= _BATCH_BYTES:
            self._batched = offset
            self._batch()

    def end_query(self, query: int, subtask: str | None, shots: int | None) -> None:
        """Note what is known of a query."""
        self._known[query] = subtask, shots

    def emit(self, whole: Mapping[str, str]) -> None:
        """Hand over all rows; all their queries must have ended.

        Args:
            whole: What is the same on all rows, by column.
        """
        self._batch()
        batches: list[pa.RecordBatch] = []
        n_rows = n_bytes = 0
        for batch in self._shelf.clear():
            batches.append(batch)
            n_rows += batch.num_rows
            n_bytes += batch.nbytes
            if n_rows >= _TABLE_ROWS or n_bytes >= _TABLE_BYTES:
                self._on_samples(_complete(batches, whole, self._known))
                batches, n_rows, n_bytes = [], 0, 0
        if batches:
            self._on_samples(_complete(batches, whole, self._known))
        self._known = {}

    def close(self) -> None:
        """Throw away what is in hand."""
        self._shelf.close()

    def _batch(self) -> None:
        if self._rows.n_rows:
            batch = self._rows.build()
            self._compare_lengths(batch)
            self._shelf.put(batch)

    def _compare_lengths(self, batch: pa.RecordBatch) -> None:
        if batch.column("target_logprobs").null_count == batch.num_rows:
            return
        targets, scores = (
            pc.list_value_length(batch.column(name)) for name in ("targets", "target_logprobs")
        )
        for row in pc.indices_nonzero(pc.not_equal(targets, scores)).to_pylist():
            query, sample = map(int, batch.column("example_id")[row].as_py().split("/"))
            self._on_mismatch(query, sample, scores[row].as_py(), targets[row].as_py())


class _Shelf:
    """Holds record batches in memory, and beyond a limit in a temporary file.

    Args:
        most_bytes: The limit.

    Attributes:
        n_rows: Rows on the shelf.
        n_bytes: Bytes of them in memory.
    """

    def __init__(self, most_bytes: int) -> None:
        self.n_rows = self.n_bytes = 0
        self._most_bytes = most_bytes
        self._batches: list[pa.RecordBatch] = []
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def put(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        self._batches.append(batch)
        self.n_rows += batch.num_rows
        self.n_bytes += batch.nbytes
        if self.n_bytes > self._most_bytes:
            self._spill()

    def clear(self) -> Iterator[pa.RecordBatch]:
        """Yield all batches in their order and take them off the shelf."""
        batches, file, writer = self._batches, self._file, self._writer
        self._batches, self._file, self._writer = [], None, None
        self.n_rows = self.n_bytes = 0
        if file is not None:
            with file:
                writer.close()
                file.seek(0)
                yield from pa.ipc.open_stream(file)
        yield from batches

    def close(self) -> None:
        """Throw away what is on the shelf."""
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._writer = pa.ipc.new_stream(self._file, ROWS)
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches = []
        self.n_bytes = 0


def _complete(
    batches: Sequence[pa.RecordBatch],
    whole: Mapping[str, str],
    queries: Mapping[int, tuple[str | None, int | None]],
) -> pa.Table:
    """Return batches as a samples table.

    Args:
        batches: From :class:`RowBuilder`.
        whole: What is the same on all rows, by column.
        queries: Subtask and shots of each query.

    Returns:
        A table of schema :data:`bigbench_meta.core.schema.SAMPLES`.
    """
    table = pa.Table.from_batches(batches)
    query = np.concatenate([np.from_dlpack(chunk) for chunk in table.column(QUERY).chunks])
    present, code = np.unique(query, return_inverse=True)
    subtasks, shots = zip(*(queries[number] for number in present.tolist()), strict=True)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: table.column(name) for name in OWN_COLUMNS
    }
    names = list(dict.fromkeys(name for name in subtasks if name is not None))
    place = np.array([names.index(name) if name in names else -1 for name in subtasks], np.int32)
    columns["subtask"] = codes(place[code], names, missing=place[code] < 0)
    known = np.array([-1 if value is None else value for value in shots], np.int64)[code]
    columns["shots"] = numbers(known, missing=known < 0)
    for name, text in whole.items():
        columns[name] = codes(np.zeros(table.num_rows, np.int32), [text])
    return pa.table(
        [columns.get(c.name, pa.nulls(table.num_rows, c.type)) for c in SAMPLES.columns],
        schema=SAMPLES.arrow,
    )
