"""Runs batches of files through the readers into new Parquet files, in one process or several."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final, Self

from bigbench_meta._manifest import PartWriter
from bigbench_meta.readers._batch import read_batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from bigbench_meta.readers._batch import BatchResult, FileRecord, ReadOptions
    from bigbench_meta.readers._sources import SourceFile

__all__ = ["Work", "Written", "run"]

# Batches under way for each process: one being read, one waiting.
_AHEAD: Final = 2


@dataclass(frozen=True)
class Work:
    """A batch to read: its files, and digests at which a file is passed over."""

    files: list[SourceFile]
    expected: dict[str, bytes]


@dataclass(frozen=True)
class Written:
    """What a batch gave: new Parquet files, the fate of each source file, problems."""

    observations: str | None
    samples: str | None
    records: list[FileRecord]
    problems: pa.Table


def run(
    folder: Path, work: Iterable[Work], options: ReadOptions, *, jobs: int
) -> Iterator[Written]:
    """Read batches and write what they give.

    Args:
        folder: The store.
        work: The batches; taken as they are needed.
        options: How to read.
        jobs: Processes. With one, reading and writing overlap in two threads. A second process is
            started only if there is a second batch.

    Yields:
        What each batch gave, in the order of the batches.
    """
    batches = iter(work)
    first = list(islice(batches, 2))
    everything = chain(first, batches)
    if jobs > 1 and len(first) > 1:
        yield from _in_processes(folder, everything, options, jobs)
    else:
        yield from _in_threads(folder, everything, options)


def _in_threads(folder: Path, work: Iterator[Work], options: ReadOptions) -> Iterator[Written]:
    # Compression and writing release the interpreter's lock, so they cost the reader nothing.
    with ThreadPoolExecutor(1) as writer:
        under_way: deque[Future[Written]] = deque()
        for batch in work:
            with _SampleSink(folder) as sink:
                for result in read_batch(
                    batch.files, options, expected=batch.expected, on_samples=sink.write
                ):
                    under_way.append(writer.submit(_write, folder, result, sink.finish()))
                    if len(under_way) > 1:
                        yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _in_processes(
    folder: Path, work: Iterator[Work], options: ReadOptions, jobs: int
) -> Iterator[Written]:
    # Spawned, not forked: Arrow's threads do not survive a fork.
    with ExitStack() as stack:
        pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
        stack.callback(pool.shutdown, cancel_futures=True)
        under_way: deque[Future[list[Written]]] = deque()
        for batch in work:
            under_way.append(pool.submit(read_and_write, folder, batch, options))
            if len(under_way) >= _AHEAD * jobs:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


def read_and_write(folder: Path, batch: Work, options: ReadOptions) -> list[Written]:
    """Read one batch and write what it gives; what a worker process runs."""
    with _SampleSink(folder) as sink:
        results = read_batch(batch.files, options, expected=batch.expected, on_samples=sink.write)
        return [_write(folder, result, sink.finish()) for result in results]


def _write(folder: Path, result: BatchResult, samples: str | None) -> Written:
    name = None
    if result.observations.num_rows:
        with PartWriter(folder, "observations") as writer:
            writer.write(result.observations)
        name = writer.name
    return Written(name, samples, result.records, result.log.table())


class _SampleSink:
    """Writes samples as they come, into one file for each result of a batch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._writer: PartWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.finish()

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._stack.enter_context(PartWriter(self._folder, "samples"))
        self._writer.write(table)

    def finish(self) -> str | None:
        """Close the file under way and return its name, None if no sample came."""
        if self._writer is None:
            return None
        name = self._writer.name
        self._stack.close()
        self._writer = None
        return name
