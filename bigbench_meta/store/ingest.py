"""Read batches of files and write them as new Parquet files, in one process or several."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa

from bigbench_meta.core.arrow import blobs, flags, numbers, texts
from bigbench_meta.core.execute import available_jobs, execute
from bigbench_meta.readers.batch import read_batch
from bigbench_meta.readers.detect import SAMPLES_ONLY
from bigbench_meta.store.manifest import FILES, Part, PartWriter, write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from bigbench_meta.core.execute import Execution
    from bigbench_meta.readers.batch import BatchResult, FileRecord, ReadOptions
    from bigbench_meta.readers.detect import SourceFile
    from bigbench_meta.store.places import Place

__all__ = ["Readers", "Work", "Written", "run"]

# Two processes take a third of a second to start, in which one reads fifty megabytes; from here on
# they are faster.
_WORTH_PROCESSES: Final = 192 << 20

# Formats that hold samples. An archive may hold such files; they are skipped unless asked for.
_WITH_SAMPLES: Final = {"full_log", "inspect", *SAMPLES_ONLY}

READER_VERSION: Final = 7
"""Raised when readers learn to read more or better; files read before are then read again."""


@dataclass(frozen=True)
class Work:
    """A batch to read.

    Attributes:
        files: The files.
        expected: Digests at which a file is skipped, by identity.
        stored: Identities of those that the store has in whatever state.
    """

    files: list[SourceFile]
    expected: dict[str, bytes] = field(default_factory=dict)
    stored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Written:
    """The result of a batch.

    Attributes:
        part: A part of the store.
        files: Its files.
        loaded: Files that gave rows or samples.
        unchanged: Files that were skipped.
        observations: Rows.
        samples: Samples.
        records: What became of each file.
        problems: Problems.
    """

    part: Part
    files: int
    loaded: int
    unchanged: int
    observations: int
    samples: int
    records: list[FileRecord]
    problems: pa.Table


def run(
    place: Place, work: Iterable[Work], options: ReadOptions, execution: Execution
) -> Iterator[Written]:
    """Read batches and write what they give.

    Args:
        place: Where the store lies.
        work: The batches; taken as they are needed.
        options: How to read.
        execution: How the work is spread. With one process, or little to read, reading and writing
            overlap in two threads.

    Yields:
        What each batch gave, in the order of the batches.
    """
    batches = iter(work)
    first: list[Work] = []
    size = 0
    several = execution.cluster is None and (execution.jobs or available_jobs()) > 1
    while several and (size < _WORTH_PROCESSES or len(first) < 2):
        if (batch := next(batches, None)) is None:
            break
        first.append(batch)
        size += sum(max(file.size, 0) for file in batch.files)
    everything = chain(first, batches)
    if execution.cluster is not None or (len(first) > 1 and size >= _WORTH_PROCESSES):
        yield from _elsewhere(place, everything, options, execution)
    else:
        yield from _in_threads(place, everything, options)


def _in_threads(place: Place, work: Iterator[Work], options: ReadOptions) -> Iterator[Written]:
    readers = Readers(options)
    # Compression and writing release the interpreter's lock, so they cost the reader nothing.
    with ThreadPoolExecutor(1) as writer:
        under_way: deque[Future[Written]] = deque()
        for batch in work:
            with _SampleSink(place, writer) as sink:
                for result in read_batch(
                    batch.files, options, expected=batch.expected, on_samples=sink.write
                ):
                    under_way.append(writer.submit(_write, place, result, sink.finish(), readers))
                    if len(under_way) > 1:
                        yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _elsewhere(
    place: Place, work: Iterator[Work], options: ReadOptions, execution: Execution
) -> Iterator[Written]:
    # The workers of a cluster have working folders of their own.
    mapping, names = (path and path.absolute() for path in (options.mapping, options.names))
    options = replace(options, mapping=mapping, names=names)
    function = partial(_read_and_write, place.absolute(), options)
    for outcome in execute(function, work, execution, in_order=True):
        if outcome.error:
            raise outcome.error
        yield from outcome.value


def _read_and_write(place: Place, options: ReadOptions, batch: Work) -> list[Written]:
    """Read one batch and write what it gives; what another process runs."""
    readers = Readers(options)
    with _SampleSink(place) as sink:
        results = read_batch(batch.files, options, expected=batch.expected, on_samples=sink.write)
        return [_write(place, result, sink.finish(), readers) for result in results]


def _write(place: Place, result: BatchResult, samples: str | None, readers: Readers) -> Written:
    problems, records = result.log.table(), result.records
    tables = {
        "observations": result.observations,
        "problems": problems,
        "files": _files_table(records, readers),
    }
    names = {
        kind: write_table(place, kind, table)
        for kind, table in tables.items()
        if table.num_rows or kind == "files"
    }
    unchanged = sum(record.unchanged for record in records)
    tasks = result.observations["task"].unique().to_pylist()
    part = Part(
        files=names["files"],
        observations=names.get("observations"),
        problems=names.get("problems"),
        samples=samples,
        # An unchanged record keeps its row, so that file numbers stay, but is current elsewhere.
        n_gone=unchanged,
        tasks=[min(tasks), max(tasks)] if tasks else None,
    )
    return Written(
        part=part,
        files=len(records),
        loaded=sum(bool(record.n_rows or record.n_samples) for record in records),
        unchanged=unchanged,
        observations=sum(record.n_rows for record in records),
        samples=sum(record.n_samples for record in records),
        records=records,
        problems=problems,
    )


def _files_table(records: list[FileRecord], readers: Readers) -> pa.Table:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    files = [record.file for record in records]
    columns = {
        "identity": texts([file.identity for file in files]),
        "label": texts([file.label for file in files]),
        "format": texts([file.format for file in files]),
        "size": _whole([file.size for file in files]),
        "stamp": _whole([file.stamp for file in files]),
        "digest": blobs([record.digest for record in records]),
        "n_rows": _whole([record.n_rows for record in records]),
        "n_samples": _whole([record.n_samples for record in records]),
        "reader": texts(
            [readers.name(file.format, in_archive=bool(file.member)) for file in files]
        ),
        "ingested": texts([now] * len(records)),
        "current": flags(np.array([not record.unchanged for record in records], dtype=bool)),
    }
    return pa.table([columns[name] for name in FILES.names], FILES)


def _whole(values: list[int]) -> pa.Array:
    return numbers(np.array(values, dtype=np.int64))


class Readers:
    """Says whether a file would be read today as it was: version and options of its reader.

    Args:
        options: How files are read today.
    """

    def __init__(self, options: ReadOptions) -> None:
        base = [f"v{READER_VERSION}", str(options.max_bytes)]
        if options.path is not None:
            base.append(options.path)
        names, mapping = (
            [sha256(path.read_bytes()).hexdigest()[:12]] if path else []
            for path in (options.names, options.mapping)
        )
        if options.path is not None and "{model}" in options.path:
            # The rules of names then give columns of files of every format.
            base, names = [*base, *names], []
        self._names = {
            "archive": base,  # of which nothing came
            "bigbench": base,
            "full_log": base,
            "lm_eval": [*base, *names],
            "lighteval": [*base, *names],
            "lighteval_details": [*base, *names],
            "helm": [*base, *names],
            # A log refused because the package was missing is read once it is installed.
            "inspect": [*base, *names, *(["inspect-ai"] if find_spec("inspect_ai") else [])],
            "lm_eval_samples": [*base, *names],
            "samples_table": base,
            "table": [*base, *names, *mapping],
        }
        self._samples = options.samples

    def name(self, format_: str, *, in_archive: bool) -> str:
        """Return what is stored with a file."""
        with_samples = self._samples and (in_archive or format_ in _WITH_SAMPLES)
        return "+".join([*self._names[format_], *(["samples"] if with_samples else [])])

    def accept(self, stored: str, format_: str, in_archive: bool) -> bool:
        """Return whether a file that was read so need not be read again.

        One that was read with its samples is not read again for their being asked for no more.
        """
        wanted = self.name(format_, in_archive=in_archive)
        return stored in (wanted, f"{wanted}+samples")


class _SampleSink:
    """Writes samples as they come, into one file for each result of a batch.

    Args:
        place: Where the store lies.
        writer: Writes meanwhile, if there is one.
    """

    def __init__(self, place: Place, writer: ThreadPoolExecutor | None = None) -> None:
        self._place = place
        self._executor = writer
        self._stack = ExitStack()
        self._writer: PartWriter | None = None
        self._under_way: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._under_way:
            wait([self._under_way])
        self._stack.__exit__(kind, error, trace)

    def write(self, table: pa.Table) -> None:
        """Take a table; at most one is being written while the next is read."""
        if self._writer is None:
            self._writer = self._stack.enter_context(PartWriter(self._place, "samples"))
        self._wait()
        if self._executor:
            self._under_way = self._executor.submit(self._writer.write, table)
        else:
            self._writer.write(table)
        # Arrow keeps what it has freed, which is a tenth of the peak of reading a large log.
        pa.default_memory_pool().release_unused()

    def finish(self) -> str | None:
        """Close the file under way and return its name, None if no sample came."""
        self._wait()
        if self._writer is None:
            return None
        self._stack.close()
        name, self._writer = self._writer.name, None
        return name

    def _wait(self) -> None:
        if self._under_way:
            self._under_way.result()
            self._under_way = None
