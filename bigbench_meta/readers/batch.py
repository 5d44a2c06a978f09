"""Read a batch of files into Arrow tables: the unit of work of an ingest, in any process."""

from __future__ import annotations

import gc
import posixpath
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from xxhash import xxh3_128_digest

from bigbench_meta.core.arrow import numbers
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.schema import FILE
from bigbench_meta.readers.archives import members
from bigbench_meta.readers.contradictions import compare_with_name
from bigbench_meta.readers.decoding import too_much_to_decode
from bigbench_meta.readers.detect import SAMPLES_ONLY, paired_names
from bigbench_meta.readers.formats.bigbench import ScoreFileReader
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.streams import (
    MAX_BYTES,
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
    from pathlib import Path

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.detect import SourceFile
    from bigbench_meta.readers.formats.mapping import Mapping
    from bigbench_meta.readers.paths import PathPattern
    from bigbench_meta.readers.streams import ByteStream

    _Ready = tuple[SourceFile, bytes, bytes | None]

__all__ = ["BatchResult", "FileRecord", "ReadOptions", "batches", "read_batch"]

# Some 150,000 rows: large enough to be worth a process, small enough to be held.
_BATCH_BYTES: Final = 16 << 20
_BATCH_FILES: Final = 2048
# Formats of which a file may be read with another one.
_PAIRED: Final = {"paired", "lm_eval", "lighteval"}
# Tables of samples, which are read some rows at a time.
_TABLES: Final = {"samples_table", "lighteval_details"}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read, the same for all files of an ingest.

    Attributes:
        samples: Also read single examples, where a format has them.
        max_bytes: Refuse files that hold or expand to more.
        mapping: TOML file that maps the columns of wide tables.
        names: CSV of model-name rules that go before the packaged ones.
        path: Pattern whose names in braces are columns that stand in the path of each file, see
            :class:`bigbench_meta.readers.paths.PathPattern`.
    """

    samples: bool = False
    max_bytes: int = MAX_BYTES
    mapping: Path | None = None
    names: Path | None = None
    path: str | None = None

    def model_names(self) -> ModelNames:
        """Return the rules from model names to families and sizes."""
        # Imported here: it brings pandas along, which score files do without.
        from bigbench_meta.catalog.model_names import ModelNames, model_names

        if self.names is None:
            return model_names()
        return model_names().overridden_by(ModelNames.read(self.names))


@dataclass(slots=True)
class FileRecord:
    """The outcome of reading one file.

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
    """The outcome of reading a batch.

    Attributes:
        observations: Observations as the files have them, with one more column, ``file``: the
            position in ``records``.
        records: The files.
        log: The problems.
    """

    observations: pa.Table
    records: list[FileRecord]
    log: ProblemLog


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
        self.pattern: PathPattern | None = None
        if options.path is not None:
            from bigbench_meta.readers.paths import PathPattern

            self.pattern = PathPattern.parse(options.path)
        self._start(log)

    # Read once: it takes longer than many a file, and their patterns have one time limit.
    @cached_property
    def names(self) -> ModelNames:
        return self.options.model_names()

    @cached_property
    def mapping(self) -> Mapping:
        from bigbench_meta.readers.formats.mapping import Mapping

        if self.options.mapping is None:
            raise ValueError("there is no mapping")
        return Mapping.read(self.options.mapping)

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
        if self.pattern:
            rows = self._with_paths(rows, rows[FILE].to_numpy(), self.records)
        result = BatchResult(rows, self.records, self.log)
        self._start(ProblemLog(strict=self.strict))
        return result

    def _with_paths(self, table: pa.Table, number: Any, records: list[FileRecord]) -> pa.Table:
        """Return a table with the columns that stand in the paths of files."""
        from bigbench_meta.readers.paths import with_columns

        if self.pattern is None:
            return table
        columns = [self.pattern.columns(record.file.label, self.names) for record in records]
        return with_columns(table, columns, number)

    def file(self, file: SourceFile) -> None:
        """Read one file of its own."""
        record = self._record(file)
        try:
            if file.format == "full_log" or (file.format in _TABLES and "://" not in file.path):
                self._large_file(file, record)
                return
            data = read_bytes(file, max_bytes=self.options.max_bytes)
            beside = self._beside(file)
        except InputError as error:
            self.log.error(file.label, "", error.message)
            return
        self._content(record, data, beside)

    def _beside(self, file: SourceFile) -> bytes | None:
        """Return the content of the file that a file is read with, None if there is none."""
        found = (
            read_beside(file, name, max_bytes=self.options.max_bytes) for name in paired_names(file)
        )
        return next((content for content in found if content is not None), None)

    def archive(self, file: SourceFile) -> Iterator[BatchResult]:
        """Read the members of an archive, one after the other."""
        pairs, is_empty = _Pairs(), True
        for member, stream in members(file, self.log, max_bytes=self.options.max_bytes):
            is_empty = False
            if member.format in SAMPLES_ONLY and not self.options.samples:
                continue
            if member.format == "full_log":
                self._log_member(self._record(member), stream)
            else:
                self._member(member, stream, pairs)
            if self.n_bytes >= _BATCH_BYTES or len(self.records) >= _BATCH_FILES:
                yield self.result()
        for other, data, beside in pairs.rest():
            self._content(self._record(other), data, beside)
        if is_empty:
            self._record(file)  # a file from which nothing came

    def _member(self, member: SourceFile, stream: ByteStream, pairs: _Pairs) -> None:
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
        if self.pattern and file.format != "archive" and self.pattern.of(file.label) is None:
            reason = f"the path does not fit {self.pattern.text!r}: read as the file has it"
            self.log.warning(file.label, "", reason)
        return record

    def _content(self, record: FileRecord, data: bytes, beside: bytes | None) -> None:
        file, number = record.file, len(self.records) - 1
        record.digest = xxh3_128_digest(data + beside if beside else data)
        if self.expected.get(file.identity) == record.digest:
            record.unchanged = True
        elif reason := too_much_to_decode(
            data,
            beside,
            file.format,
            (file.member or file.path).removesuffix(".gz"),
            max_bytes=self.options.max_bytes,
        ):
            self.log.error(file.label, "", reason)
        elif file.format == "bigbench":
            record.n_rows = self.scores.read(data, file.label, number)
        else:
            table = self._parsed(file, data, beside)
            if table is not None:
                known = (self.pattern.of(file.label) if self.pattern else None) or ()
                compare_with_name(
                    FileLog(file.label, self.log), table, names=self.names, known=known
                )
                record.n_rows = table.num_rows
                self.tables.append(_numbered(table, number))

    def _parsed(self, file: SourceFile, data: bytes, beside: bytes | None) -> pa.Table | None:
        """Return the observations of a file in any format but BIG-bench's own, None if none."""
        log = FileLog(file.label, self.log)
        name = posixpath.basename(file.member or file.path)
        if file.format == "lm_eval":
            from bigbench_meta.readers.formats import lm_eval

            return lm_eval.parse(data, log, names=self.names)
        if file.format == "lighteval":
            from bigbench_meta.readers.formats import lighteval

            return lighteval.parse(data, log, names=self.names)
        if file.format == "helm":
            from bigbench_meta.readers.formats import helm

            folder = posixpath.basename(posixpath.dirname(file.member or file.path))
            return helm.parse(data, beside, folder, log, names=self.names)
        if file.format == "inspect":
            from bigbench_meta.readers.formats import inspect

            return inspect.parse(
                data,
                name.removesuffix(".gz"),
                log,
                names=self.names,
                max_bytes=self.options.max_bytes,
                samples=self.options.samples,
                on_samples=self._samples,
            )
        if file.format == "lm_eval_samples":
            from bigbench_meta.readers.formats.lm_eval import read_run
            from bigbench_meta.readers.formats.lm_eval_samples import parse_samples

            # What is wrong with the results file is noted where it is read itself.
            quiet = FileLog(file.label, ProblemLog())
            run = None if beside is None else read_run(beside, quiet, names=self.names)
            table = parse_samples(data, log, names=self.names, results=run)
            if table is not None and table.num_rows:
                self._samples(table)
            return None
        if file.format in _TABLES:
            self._samples_table(file, pa.BufferReader(data), beside)
            return None
        if self.options.mapping:
            from bigbench_meta.readers.formats.wide_table import parse_wide

            try:
                return parse_wide(data, name, log, self.mapping, names=self.names)
            except SchemaError as error:  # the mapping is for another of the tables
                log.error("", str(error))
                return None
        from bigbench_meta.readers.formats.tidy_table import read_table

        return read_table(data, name, log)

    def _samples_table(
        self, file: SourceFile, source: pa.BufferReader | IO[bytes], beside: bytes | None
    ) -> None:
        log, max_bytes = FileLog(file.label, self.log), self.options.max_bytes
        if file.format == "samples_table":
            from bigbench_meta.readers.formats.samples_table import read_samples

            read_samples(source, log, self._samples, max_bytes=max_bytes)
            return
        from bigbench_meta.readers.formats.lighteval import read_run
        from bigbench_meta.readers.formats.lighteval_details import read_details

        names, quiet = self.names, FileLog(file.label, ProblemLog())
        run = None if beside is None else read_run(beside, quiet, names=names)
        read_details(source, log, self._samples, names=names, results=run, max_bytes=max_bytes)

    def _samples(self, table: pa.Table) -> None:
        """Hand over samples of the last record."""
        if self.on_samples:
            self.records[-1].n_samples += table.num_rows
            table = self._with_paths(table, np.zeros(table.num_rows), self.records[-1:])
            self.on_samples(_numbered(table, len(self.records) - 1))

    def _large_file(self, file: SourceFile, record: FileRecord) -> None:
        """Read a file that need not fit into memory, unless it has not changed."""
        beside = self._beside(file)
        try:
            if expected := self.expected.get(file.identity):
                with open_raw(file) as raw:
                    record.digest = digest_of(raw, beside or b"")
                record.unchanged = record.digest == expected
            if not record.unchanged:
                with open_raw(file) as raw:
                    if file.format in _TABLES:
                        self._samples_table(file, raw, beside)
                        raw.seek(0)
                        record.digest = digest_of(raw, beside or b"")
                        return
                    digesting = Digesting(raw)
                    stream = within(file, digesting, max_bytes=self.options.max_bytes)
                    before = len(self.log.rows)
                    self._stream_log(record, stream)
                    is_sound = all(row[3] != "error" for row in self.log.rows[before:])
                    if is_sound and stream is not digesting:
                        self._check_end(file, stream)
                    record.digest = digesting.digest()
        except OSError as error:
            self.log.error(file.label, "", f"cannot be read: {error.strerror or error}")

    def _check_end(self, file: SourceFile, stream: ByteStream) -> None:
        """Read what is left of a compressed file: its checksum comes last."""
        try:
            while stream.read(1 << 20):
                pass
        except InputError as error:
            self.log.error(file.label, "", error.message)
        except UNREADABLE:
            reason = "its checksum or its end is wrong: what was read can be damaged"
            self.log.error(file.label, "", reason)

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
            FileLog(record.file.label, self.log),
            samples=self.options.samples,
            reader=self.scores,
            number=len(self.records) - 1,
            on_samples=self._samples,
        )


class _Pairs:
    """Pairs members of an archive that belong together, in whatever order they come."""

    def __init__(self) -> None:
        self._paired: dict[str, bytes] = {}
        self._waiting: dict[int, tuple[SourceFile, bytes]] = {}
        self._wanted: dict[str, list[int]] = {}
        self._numbers = count()

    def add(self, member: SourceFile, data: bytes) -> Iterator[_Ready]:
        """Take the next member; yield members that are complete, with their paired files."""
        folder = posixpath.dirname(member.member)
        wanted = [posixpath.normpath(posixpath.join(folder, one)) for one in paired_names(member)]
        found = next((self._paired[name] for name in wanted if name in self._paired), None)
        if wanted and found is None:
            number = next(self._numbers)
            self._waiting[number] = member, data
            for name in wanted:
                self._wanted.setdefault(name, []).append(number)
            return
        name = posixpath.normpath(member.member)
        if member.format in _PAIRED:
            self._paired[name] = data
        if member.format != "paired":
            yield member, data, found
        for number in self._wanted.pop(name, ()):
            if number in self._waiting:
                yield *self._waiting.pop(number), data

    def rest(self) -> Iterator[_Ready]:
        """Yield the members whose paired file has not come."""
        for member, data in self._waiting.values():
            yield member, data, None


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
