"""Reads a batch of files into Arrow tables: the unit of work of every ingest, in any process."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from bigbench_meta.errors import InputError, SchemaError
from bigbench_meta.readers._archives import members
from bigbench_meta.readers._bigbench import ScoreFileReader
from bigbench_meta.readers._problems import ProblemLog
from bigbench_meta.readers._sources import MAX_BYTES, read_bytes
from bigbench_meta.schema import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bigbench_meta.model_names import ModelNames
    from bigbench_meta.readers._formats import SourceFile

__all__ = ["BatchResult", "FileRecord", "ReadOptions", "batches", "read_batch"]

# Some fifty thousand rows: large enough to be worth a process, small enough to be held.
_BATCH_BYTES: Final = 6 << 20
_BATCH_FILES: Final = 2048


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read, the same for all files of an ingest.

    Attributes:
        samples: Also read single examples, where a format has them.
        max_bytes: Refuse files that hold or expand to more.
        mapping: TOML file that maps the columns of wide tables.
        names: CSV of model-name rules that go before the packaged ones.
    """

    samples: bool = False
    max_bytes: int = MAX_BYTES
    mapping: Path | None = None
    names: Path | None = None


@dataclass(slots=True)
class FileRecord:
    """What became of one file.

    Attributes:
        file: The file.
        digest: SHA-256 of its bytes, empty if it could not be read.
        n_rows: Observations that it gave.
        n_samples: Samples that it gave.
        unchanged: Whether it was passed over because its digest was the expected one.
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
        try:
            data = read_bytes(file, max_bytes=self.options.max_bytes)
        except InputError as error:
            self.log.error(file.label, "", error.message)
            return
        self._content(file, record, data)

    def archive(self, file: SourceFile) -> Iterator[BatchResult]:
        """Read the members of an archive, one after the other."""
        for member, data in members(file, self.log, max_bytes=self.options.max_bytes):
            if member.format == "lm_eval_samples" and not self.options.samples:
                continue
            self._content(member, self._record(member), data)
            self.n_bytes += len(data)
            if self.n_bytes >= _BATCH_BYTES or len(self.records) >= _BATCH_FILES:
                yield self.result()

    def _samples(self, file: SourceFile, record: FileRecord, data: bytes) -> None:
        """Read sample logs of lm-eval, with what the results file beside them says of the run."""
        from bigbench_meta.readers._lm_eval import read_run
        from bigbench_meta.readers._lm_eval_samples import parse_samples

        names = _names(self.options)
        stamp = os.path.basename(file.path).removesuffix(".jsonl").rpartition("_")[2]
        beside = os.path.join(os.path.dirname(file.path), f"results_{stamp}.json")
        run = None
        if not file.member and os.path.isfile(beside):
            with open(beside, "rb") as results:
                run = read_run(results.read(), file.label, ProblemLog(), names=names)
        table = parse_samples(data, file.label, self.log, names=names, results=run)
        if table is not None and table.num_rows and self.on_samples:
            record.n_samples = table.num_rows
            self.on_samples(_numbered(table, len(self.records) - 1))

    def _record(self, file: SourceFile) -> FileRecord:
        record = FileRecord(file)
        self.records.append(record)
        return record

    def _content(self, file: SourceFile, record: FileRecord, data: bytes) -> None:
        record.digest = sha256(data).digest()
        if self.expected.get(file.identity) == record.digest:
            record.unchanged = True
            return
        number = len(self.records) - 1
        if file.format == "bigbench":
            record.n_rows = self.scores.read(data, file.label, number)
            return
        if file.format == "lm_eval_samples":
            self._samples(file, record, data)
            return
        table = _parse(file, data, self.log, self.options)
        if table is not None:
            record.n_rows = table.num_rows
            self.tables.append(_numbered(table, number))


def _parse(file: SourceFile, data: bytes, log: ProblemLog, options: ReadOptions) -> pa.Table | None:
    """Read a file of any format but BIG-bench's own."""
    if file.format == "lm_eval":
        from bigbench_meta.readers._lm_eval import parse

        return parse(data, file.label, log, names=_names(options))
    name = os.path.basename(file.member or file.path)
    if options.mapping:
        return _parse_wide(data, name, file.label, log, options)
    from bigbench_meta.readers._tables import read_table

    return read_table(data, name, file.label, log)


def _parse_wide(
    data: bytes, name: str, label: str, log: ProblemLog, options: ReadOptions
) -> pa.Table | None:
    from bigbench_meta.readers._mapping import Mapping
    from bigbench_meta.readers._wide import parse_wide

    mapping = Mapping.read(options.mapping or "")
    try:
        return parse_wide(data, name, label, log, mapping, names=_names(options))
    except SchemaError as error:  # the mapping is for another of the tables
        log.error(label, "", str(error))
        return None


def _names(options: ReadOptions) -> ModelNames:
    from bigbench_meta.model_names import ModelNames, model_names

    if options.names is None:
        return model_names()
    return model_names().overridden_by(ModelNames.read(options.names))


def _numbered(table: pa.Table, number: int) -> pa.Table:
    return table.append_column(FILE, pa.array(np.full(table.num_rows, number, dtype=np.int32)))


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
