"""Run independent tasks, here or in processes, one outcome at a time; keep what is finished."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pyarrow as pa
import xxhash

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

__all__ = ["Outcome", "available_jobs", "execute", "kept_processes"]

T = TypeVar("T")

# Tasks handed to the processes before they are needed, for each of them.
_AHEAD = 3


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[T]):
    """What became of a task.

    Attributes:
        task: The task.
        value: What the function returned, None if it failed.
        error: The exception that it raised, None if it returned.
        seconds: How long it ran.
    """

    task: T
    value: Any
    error: Exception | None
    seconds: float


def available_jobs() -> int:
    """Return the number of processors that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def execute(
    function: Callable[[T], Any],
    tasks: Iterable[T],
    *,
    jobs: int | None = None,
    in_order: bool = False,
    environment: Mapping[str, str] | None = None,
    keep: Path | None = None,
) -> Iterator[Outcome[T]]:
    """Apply a function to each task, several at a time, each process with a fresh interpreter.

    A task that fails does not stop the others. When the caller stops, is interrupted or killed, the
    processes end too.

    Args:
        function: A function of a module, so that another process can import it.
        tasks: Its arguments; started in this order, and taken as they are needed.
        jobs: Processes; by default as many as there are processors. One job without an
            environment runs in this process.
        in_order: Whether outcomes come in the order of the tasks and not as they end.
        environment: Environment variables of the processes.
        keep: Folder in which the result of a finished task, an Arrow table, is a file. Where there
            is one for the same task and version of the package, the task is not run again.

    Yields:
        An outcome for each task.

    Raises:
        InputError: A process was killed, ``jobs`` is below 1, or a result cannot be kept.

    Examples:
        >>> sorted(outcome.value for outcome in execute(abs, [-1, 2], jobs=1))
        [1, 2]
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"{jobs} is below 1", where="jobs")
    if keep is None:
        yield from _outcomes(function, tasks, jobs, environment, in_order)
        return
    tasks = list(tasks)
    files = {id(task): keep / f"{_digest(function, task)}.arrow" for task in tasks}
    left = []
    for task in tasks:
        table = _read(files[id(task)])
        if table is None:
            left.append(task)
        else:
            yield Outcome(task=task, value=table, error=None, seconds=0.0)
    for outcome in _outcomes(function, left, jobs, environment, in_order):
        if outcome.error is None:
            _write(files[id(outcome.task)], outcome.value)
        yield outcome


def _outcomes(
    function: Callable[[T], Any],
    tasks: Iterable[T],
    jobs: int | None,
    environment: Mapping[str, str] | None,
    in_order: bool,
) -> Iterator[Outcome[T]]:
    if jobs == 1 and environment is None:
        for task in tasks:
            value, error, seconds = _timed(function, task)
            yield Outcome(task=task, value=value, error=error, seconds=seconds)
        return
    workers = jobs or available_jobs()
    with _processes(workers, environment) as pool:
        waiting: dict[Future[Any], T] = {}
        for task in tasks:
            waiting[pool.submit(_timed, function, task)] = task
            if len(waiting) >= _AHEAD * workers:
                yield from _finished(waiting, in_order)
        while waiting:
            yield from _finished(waiting, in_order)


@contextmanager
def _processes(
    workers: int, environment: Mapping[str, str] | None
) -> Iterator[ProcessPoolExecutor]:
    """Give processes, those that are kept if there are any, and end them when something fails."""
    kept = _KEPT.get() if environment is None else None
    pool = kept.pool(workers) if kept else _pool(workers, environment)
    try:
        yield pool
    except BaseException as error:
        # A task that runs cannot be cancelled, and the pool has no public way to end it.
        for process in list((pool._processes or {}).values()):  # noqa: SLF001
            process.terminate()
        if kept:
            kept.end()
        if isinstance(error, BrokenExecutor):
            raise InputError(
                "a process was killed before it had finished",
                where="jobs",
                hint="the system may have run out of memory: try --jobs 1",
            ) from error
        raise
    finally:
        if not kept:
            pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int, environment: Mapping[str, str] | None = None) -> ProcessPoolExecutor:
    # Spawned, not forked: the threads of Arrow and JAX do not survive a fork.
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(dict(environment or {}),),
    )


class _Kept:
    """Processes that serve one call of :func:`execute` after another."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._workers = 0

    def pool(self, workers: int) -> ProcessPoolExecutor:
        """Return the processes, started when they are first needed."""
        if self._pool is None or workers != self._workers:
            self.end()
            self._pool, self._workers = _pool(workers), workers
        return self._pool

    def start(self, workers: int, module: str) -> None:
        """Start them, and let them import a module meanwhile."""
        pool = self.pool(workers)
        for _ in range(workers):
            pool.submit(_imported, module)

    def end(self) -> None:
        """End them; others are started when they are needed again."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


_KEPT: ContextVar[_Kept | None] = ContextVar("kept processes", default=None)


@contextmanager
def kept_processes(jobs: int = 1, *, module: str = "") -> Iterator[None]:
    """Let all calls of :func:`execute` inside use the same processes.

    Starting a process and importing what it needs takes a second. Calls with an environment have
    processes of their own.

    Args:
        jobs: Processes to start at once, so that they are ready when they are needed; 1 for none.
        module: The module that they import meanwhile.
    """
    outer = _KEPT.get()
    kept = outer or _Kept()
    if jobs > 1:
        kept.start(jobs, module)
    if outer:
        yield
        return
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        kept.end()


def _finished(waiting: dict[Future[Any], T], in_order: bool) -> Iterator[Outcome[T]]:
    """Wait for the next task, or for any, and take what is finished out of those waited for."""
    first = next(iter(waiting))
    done = wait([first] if in_order else waiting, return_when=FIRST_COMPLETED).done
    for future in [future for future in waiting if future in done]:
        task = waiting.pop(future)
        value, error, seconds = future.result()
        yield Outcome(task=task, value=value, error=error, seconds=seconds)


def _start(environment: dict[str, str]) -> None:
    """Prepare a process: its environment, and that it ends with the one that started it."""
    os.environ.update(environment)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _imported(module: str) -> None:
    """Import a module, whose objects other tasks are made of."""
    import_module(module)


def _timed(function: Callable[[T], Any], task: T) -> tuple[Any, Exception | None, float]:
    start = time.perf_counter()
    try:
        value, error = function(task), None
    except Exception as raised:  # noqa: BLE001 - reported with its task
        value, error = None, raised
    return value, error, time.perf_counter() - start


# Kept results ---------------------------------------------------------------------------------


def _digest(function: Callable[[T], Any], task: T) -> str:
    """Return a name for a task: another task, or another version of the package, has another."""
    return xxhash.xxh3_128_hexdigest(pickle.dumps((_version(), function, task), protocol=5))


@cache
def _version() -> int:
    """Return when the package was last changed, so that no result of older code is taken."""
    return max(file.stat().st_mtime_ns for file in Path(__file__).parents[1].rglob("*.py"))


def _read(file: Path) -> pa.Table | None:
    """Return a kept table, None where there is none or the file is damaged."""
    try:
        with pa.OSFile(str(file)) as source:
            return pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowException):
        return None


def _write(file: Path, table: pa.Table) -> None:
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        part.replace(file)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}", where=str(file)
        ) from error
