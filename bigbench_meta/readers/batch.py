"""Reads a batch of files into Arrow tables: the unit of work of every ingest, in any process."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from xxhash import xxh3_128_digest

from bigbench_meta.core.arrow import numbers
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import FILE
from bigbench_meta.readers.archives import members
from bigbench_meta.readers.formats.bigbench import ScoreFileReader
from bigbench_meta.readers.paired_files import Pairs, companion
from bigbench_meta.readers.parse import parse
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.streams import (
    UNREADABLE,
    Digesting,
    digest_of,
    open_raw,
    read_beside,
    read_bytes,
    read_stream,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bigbench_meta.readers.detect import SourceFile
    from bigbench_meta.readers.options import ReadOptions
    from bigbench_meta.readers.streams import ByteStream

__all__ = ["BatchResult", "FileRecord", "batches", "read_batch"]

# Some 150,000 rows: large enough to be worth a process, small enough to be held.
_BATCH_BYTES: Final = 16 << 20
_BATCH_FILES: Final = 2048


@dataclass(slots=True)
class FileRecord:
    """What became of one file.

    Attributes:
        file: The file.
        digest: XXH3-128 of its bytes, empty if it could not be read.
        n_rows: Observations that it gave.
        n_samples: Samples that it gave.
        unchanged: Whether it was skipped because its digest was the expected one.
    """

    file: SourceFile
    digest: bytes = b""
    n_rows: int = 0
    n_samples: int = 0
    unchanged: bool = False


@dataclass
class BatchResult:
    """What came of a batch.

    Attributes:
        observations: Observations as the files have them, with one more column, ``file``: the
            position in ``records``.
        records: The files.
        log: The problems.
        samples: Samples, with the column ``file``; empty unless asked for.
    """

    observations: pa.Table
    records: list[FileRecord]
    log: ProblemLog
    samples: list[pa.Table] = field(default_factory=list)


def batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    """Group files into batches of some megabytes, in their order."""
    batch: list[SourceFile] = []
    size = 0
    for file in files:
        batch.append(file)
        size += max(file.size, 0)
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_batch(
    files: list[SourceFile],
    options: ReadOptions,
    *,
    expected: dict[str, bytes] | None = None,
    strict: bool = False,
    on_samples: Callable[[pa.Table], None] | None = None,
) -> Iterator[BatchResult]:
    """Read a batch of files.

    Args:
        files: The files.
        options: How to read them.
        expected: Digests of files read before, by identity; a file that still has its digest is
            not decoded.
        strict: Raise at the first problem.
        on_samples: Called with each table of samples, their column ``file`` being the position in
            the ``records`` of the result that comes next.

    Yields:
        One result, or several for an archive that holds much.

    Raises:
        InputError: If strict, at the first problem.
    """
    reader = _BatchReader(options, expected or {}, ProblemLog(strict=strict), on_samples)
    with _no_collection():
        for file in files:
            if file.format == "archive":
                yield from reader.archive(file)
            else:
                reader.file(file)
        yield reader.result()


class _BatchReader:
    def __init__(
        self,
        options: ReadOptions,
        expected: dict[str, bytes],
        log: ProblemLog,
        on_samples: Callable[[pa.Table], None] | None,
    ) -> None:
        self.options = options
        self.expected = expected
        self.strict = log.strict
        self.on_samples = on_samples
        self._start(log)

    def _start(self, log: ProblemLog) -> None:
        self.log = log
        self.scores = ScoreFileReader(log)
        self.tables: list[pa.Table] = []
        self.records: list[FileRecord] = []
        self.n_bytes = 0

    def result(self) -> BatchResult:
        """Return what was read since the last result, and start anew."""
        tables = [self.scores.table(), *self.tables]
        rows = pa.concat_tables(tables).unify_dictionaries()
        result = BatchResult(rows, self.records, self.log)
        self._start(ProblemLog(strict=self.strict))
        return result

    def file(self, file: SourceFile) -> None:
        """Read one file of its own."""
        record = self._record(file)
        if file.format == "full_log":
            self._log_file(file, record)
            return
        try:
            data, beside = read_bytes(file, max_bytes=self.options.max_bytes), None
            if name := companion(file):
                beside = read_beside(file, name, max_bytes=self.options.max_bytes)
        except InputError as error:
            self.log.error(file.label, "", error.message)
            return
        self._content(record, data, beside)

    def archive(self, file: SourceFile) -> Iterator[BatchResult]:
        """Read the members of an archive, one after the other."""
        pairs = Pairs()
        for member, stream in members(file, self.log, max_bytes=self.options.max_bytes):
            if member.format == "lm_eval_samples" and not self.options.samples:
                continue
            if member.format == "full_log":
                self._log_member(self._record(member), stream)
            else:
                self._member(member, stream, pairs)
            if self.n_bytes >= _BATCH_BYTES or len(self.records) >= _BATCH_FILES:
                yield self.result()
        for other, data, beside in pairs.rest():
            self._content(self._record(other), data, beside)

    def _member(self, member: SourceFile, stream: ByteStream, pairs: Pairs) -> None:
        try:
            data = read_stream(stream)
        except InputError as error:
            self._record(member)
            self.log.error(member.label, "", error.message)
            return
        self.n_bytes += len(data)
        for ready, its_data, beside in pairs.add(member, data):
            self._content(self._record(ready), its_data, beside)

    def _record(self, file: SourceFile) -> FileRecord:
        record = FileRecord(file)
        self.records.append(record)
        return record

    def _content(self, record: FileRecord, data: bytes, beside: bytes | None) -> None:
        file, number = record.file, len(self.records) - 1
        record.digest = xxh3_128_digest(data + beside if beside else data)
        if self.expected.get(file.identity) == record.digest:
            record.unchanged = True
        elif file.format == "bigbench":
            record.n_rows = self.scores.read(data, file.label, number)
        else:
            table = parse(file, data, beside, self.log, self.options, on_samples=self._samples)
            if table is not None:
                record.n_rows = table.num_rows
                self.tables.append(_numbered(table, number))

    def _samples(self, table: pa.Table) -> None:
        """Hand over samples of the last record."""
        if self.on_samples:
            self.records[-1].n_samples += table.num_rows
            self.on_samples(_numbered(table, len(self.records) - 1))

    def _log_file(self, file: SourceFile, record: FileRecord) -> None:
        """Read a full log of its own, unless it is as it was."""
        try:
            if expected := self.expected.get(file.identity):
                with open_raw(file) as raw:
                    record.digest = digest_of(raw)
                record.unchanged = record.digest == expected
            if not record.unchanged:
                with open_raw(file) as raw:
                    digesting = Digesting(raw)
                    stream = within(file, digesting, max_bytes=self.options.max_bytes)
                    self._stream_log(record, stream)
                    record.digest = digesting.digest()
        except OSError as error:
            self.log.error(file.label, "", f"cannot be read: {error.strerror or error}")

    def _log_member(self, record: FileRecord, content: ByteStream) -> None:
        digesting = Digesting(content)
        self._stream_log(record, digesting)
        try:
            record.digest = digesting.digest()
        except (InputError, *UNREADABLE):
            record.digest = b""  # it is damaged, as has been said

    def _stream_log(self, record: FileRecord, stream: ByteStream) -> None:
        """Read a full log without ever holding all of it."""
        from bigbench_meta.readers.formats.full_log import read_full_log

        record.n_rows = read_full_log(
            stream,
            record.file.label,
            self.log,
            samples=self.options.samples,
            reader=self.scores,
            number=len(self.records) - 1,
            on_samples=self._samples,
        )


def _numbered(table: pa.Table, number: int) -> pa.Table:
    return table.append_column(FILE, numbers(np.full(table.num_rows, number, dtype=np.int32)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from searching, again and again, what holds no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
