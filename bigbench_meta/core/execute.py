"""Run independent tasks, here, in processes or on a cluster, one outcome at a time.

What is finished can be kept, so that a run that was stopped does not start anew.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import pyarrow as pa
import xxhash

from bigbench_meta.core.errors import InputError, KilledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from distributed import Client

__all__ = ["Execution", "Outcome", "available_jobs", "execute", "kept_workers"]

T = TypeVar("T")

# Tasks handed to the workers before they are needed, for each of them.
_AHEAD: Final = 3
# How often a task is run by itself after its process was killed; it may not have begun before.
_TRIES_ALONE: Final = 2
# Between two looks at whether all workers are still there.
_SECONDS: Final = 5
# Curves, times their cost, that are worth the second in which a process starts.
_WORTH_PROCESSES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How work is spread; the results do not depend on it.

    Attributes:
        jobs: Processes; None for as many as there are processors, if there is enough to do. A
            script that uses several must guard its main part with ``if __name__ == "__main__"``.
        keep: Folder for the finished chunks of an analysis of curves, so that one that was stopped
            does not start anew. Other work is not kept here.
        cluster: Use the workers of a Dask cluster instead: the address of its scheduler, a
            connected ``distributed.Client``, or ``local`` for one of ``jobs`` workers on this
            machine that lasts as long as the work. All workers need the same version of this
            package, and access to the files that are read or written.

    Examples:
        >>> Execution(jobs=None).sized(10)
        Execution(jobs=1, keep=None, cluster=None)
    """

    jobs: int | None = 1
    keep: Path | None = None
    cluster: str | Client | None = None

    def sized(self, cost: float) -> Execution:
        """Return the execution of work of a cost: one process where more are not worth it.

        Args:
            cost: How much there is to do, as so many curves of cost 1.
        """
        is_small = self.jobs is None and self.cluster is None and cost <= _WORTH_PROCESSES
        return replace(self, jobs=1) if is_small else self


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
    execution: Execution | None = None,
    *,
    in_order: bool = False,
    environment: Mapping[str, str] | None = None,
    keep: Path | None = None,
) -> Iterator[Outcome[T]]:
    """Apply a function to each task, several at a time, each process with a fresh interpreter.

    A task that fails does not stop the others, nor does one whose process is killed: that is run
    again by itself, and fails if it is killed twice more. When the caller stops, is interrupted
    or killed, the processes end too.

    Args:
        function: A function of a module, so that another process can import it.
        tasks: Its arguments; started in this order, and taken as they are needed.
        execution: Where they run, by default here.
        in_order: Whether outcomes come in the order of the tasks and not as they end.
        environment: Environment variables that the function needs from the start of its process.
        keep: Folder for the results, which must be Arrow tables, as ``execution.keep``: where there
            is one for the same task and version of the package, the task is not run again. What was
            kept comes first.

    Yields:
        An outcome for each task.

    Raises:
        InputError: ``jobs`` is below 1, the cluster cannot be used, or a result cannot be kept.

    Examples:
        >>> sorted(outcome.value for outcome in execute(abs, [-1, 2]))
        [1, 2]
    """
    execution = execution or Execution()
    if execution.jobs is not None and execution.jobs < 1:
        raise InputError(f"{execution.jobs} is below 1", where="jobs")
    if keep is None:
        yield from _outcomes(function, tasks, execution, environment, in_order)
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
    for outcome in _outcomes(function, left, execution, environment, in_order):
        if outcome.error is None:
            _write(files[id(outcome.task)], outcome.value)
        yield outcome


def _outcomes(
    function: Callable[[T], Any],
    tasks: Iterable[T],
    execution: Execution,
    environment: Mapping[str, str] | None,
    in_order: bool,
) -> Iterator[Outcome[T]]:
    if execution.jobs == 1 and environment is None and execution.cluster is None:
        for task in tasks:
            value, error, seconds = _timed(function, task)
            yield Outcome(task=task, value=value, error=error, seconds=seconds)
        return
    with _workers(execution, environment) as workers:
        waiting: dict[Future[Any], T] = {}
        for task in tasks:
            waiting[workers.submit(_timed, function, task)] = task
            if len(waiting) >= _AHEAD * workers.count():
                yield from _finished(workers, function, waiting, in_order)
        while waiting:
            yield from _finished(workers, function, waiting, in_order)


def _finished(
    workers: _Workers, function: Callable[[T], Any], waiting: dict[Future[Any], T], in_order: bool
) -> Iterator[Outcome[T]]:
    """Wait for the next task, or for any, and take what is finished out of those waited for."""
    first = next(iter(waiting))
    done = _wait(workers, [first] if in_order else list(waiting), FIRST_COMPLETED)
    for future in [future for future in waiting if future in done]:
        task = waiting.pop(future)
        value, error, seconds = _result(workers, future)
        for _ in range(_TRIES_ALONE):
            if not isinstance(error, KilledError):
                break
            # Another task may have been the cause: by itself, when the others are done.
            _wait(workers, list(waiting), ALL_COMPLETED)
            alone = workers.submit(_timed, function, task)
            _wait(workers, [alone], ALL_COMPLETED)
            value, error, seconds = _result(workers, alone)
        yield Outcome(task=task, value=value, error=error, seconds=seconds)


def _wait(workers: _Workers, futures: list[Future[Any]], until: str) -> set[Future[Any]]:
    """Wait for calls, and see to it meanwhile that there are workers."""
    while True:
        done, open_ = wait(futures, timeout=_SECONDS, return_when=until)
        if not open_ or (done and until == FIRST_COMPLETED):
            return done
        workers.mend()


def _result(workers: _Workers, future: Future[Any]) -> tuple[Any, Exception | None, float]:
    """Return value, error and seconds of a task that has ended."""
    try:
        found: tuple[Any, Exception | None, float] = future.result()
    except CancelledError:
        raise
    except workers.deaths:
        return None, KilledError(
            "was killed before it had finished",
            where="a process",
            hint="the system may have run out of memory: try fewer --jobs",
        ), 0.0  # fmt: skip
    except Exception as raised:  # noqa: BLE001 - of handing over the task or its result
        return None, raised, 0.0
    return found


def _timed(function: Callable[[T], Any], task: T) -> tuple[Any, Exception | None, float]:
    start = time.perf_counter()
    try:
        value, error = function(task), None
    except Exception as raised:  # noqa: BLE001 - reported with its task
        value, error = None, raised
    return value, error, time.perf_counter() - start


# Workers --------------------------------------------------------------------------------------


class _Workers(Protocol):
    """Run tasks elsewhere.

    Attributes:
        deaths: What a call raises whose process was killed.
    """

    deaths: tuple[type[Exception], ...]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand over a call."""

    def count(self) -> int:
        """Return how many calls run at a time now, at least 1."""

    def mend(self) -> None:
        """Replace those that are gone; called every few seconds while they work."""

    def end(self, *, at_once: bool = False) -> None:
        """End them, when what was handed over is done or at once."""


class _Processes:
    """Processes of this machine, spawned: the threads of Arrow and JAX do not survive a fork."""

    deaths: tuple[type[Exception], ...] = (BrokenExecutor,)

    def __init__(self, count: int, environment: Mapping[str, str] | None = None) -> None:
        self._count = count
        self._environment = dict(environment or {})
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._count,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(self._environment,),
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return self._pool.submit(function, *arguments)
        except BrokenExecutor:  # one was killed, which ends them all
            self._pool = self._new()
            return self._pool.submit(function, *arguments)

    def count(self) -> int:
        return self._count

    def mend(self) -> None:
        """Nothing to do: those that are gone are replaced by the next call."""

    def end(self, *, at_once: bool = False) -> None:
        if at_once:
            # A task that runs cannot be cancelled, and the pool has no public way to end it.
            for process in list((self._pool._processes or {}).values()):  # noqa: SLF001
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _started(execution: Execution, environment: Mapping[str, str] | None = None) -> _Workers:
    """Start the workers that an execution asks for, or connect to them."""
    if execution.cluster is None:
        return _Processes(execution.jobs or available_jobs(), environment)
    from bigbench_meta.core.cluster import Cluster

    return Cluster(execution.cluster, execution.jobs or available_jobs(), environment)


@contextmanager
def _workers(execution: Execution, environment: Mapping[str, str] | None) -> Iterator[_Workers]:
    """Give workers, those that are kept if there are any, and end them when something fails."""
    kept = _KEPT.get() if environment is None else None
    workers = kept.workers(execution) if kept else _started(execution, environment)
    try:
        yield workers
    except BaseException as error:
        workers.end(at_once=True)
        if kept:
            kept.forget()
        if isinstance(error, CancelledError):
            raise InputError(
                "the connection to the scheduler was lost",
                where="cluster",
                hint="run the command again: analyses go on from the chunks that are finished",
            ) from error
        raise
    if not kept:
        workers.end()


class _Kept:
    """Workers that serve one call of :func:`execute` after another."""

    def __init__(self) -> None:
        self._workers: _Workers | None = None
        self._of: tuple[Any, ...] = ()

    def workers(self, execution: Execution) -> _Workers:
        """Return the workers, started when they are first needed."""
        wanted = (execution.jobs, execution.cluster)
        if self._workers is None or wanted != self._of:
            self.end()
            self._workers, self._of = _started(execution), wanted
        return self._workers

    def forget(self) -> None:
        """Start others when they are needed again: these have ended."""
        self._workers = None

    def end(self) -> None:
        """End them."""
        if self._workers is not None:
            self._workers.end()
        self._workers = None


_KEPT: ContextVar[_Kept | None] = ContextVar("kept workers", default=None)


@contextmanager
def kept_workers(execution: Execution | None = None, *, module: str = "") -> Iterator[None]:
    """Let all calls of :func:`execute` inside use the same workers.

    Starting a process and importing what it needs takes a second. Calls with an environment have
    workers of their own.

    Args:
        execution: Start these at once, so that they are ready when they are needed.
        module: The module that they import meanwhile.
    """
    outer = _KEPT.get()
    kept = outer or _Kept()
    if execution and (execution.cluster is not None or execution.jobs != 1):
        workers = kept.workers(execution)
        for _ in range(workers.count() if module else 0):
            workers.submit(import_module, module)
    if outer:
        yield
        return
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        kept.end()


def _start(environment: dict[str, str]) -> None:
    """Prepare a process: its environment, and that it ends with the one that started it."""
    # Ctrl-C reaches all processes of a terminal: the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


# Kept results ---------------------------------------------------------------------------------


def _digest(function: Callable[[T], Any], task: T) -> str:
    """Return a name for a task: another task, or another version of the package, has another."""
    return xxhash.xxh3_128_hexdigest(pickle.dumps((_version(), function, task), protocol=5))


@cache
def _version() -> int:
    """Return when the package was last changed, so that no result of older code is taken.

    Its tables count as well, which in a checkout lie beside it.
    """
    package = Path(__file__).parents[1]
    files = [*package.rglob("*.py"), *package.rglob("*.csv"), *package.parent.glob("data/*.csv")]
    return max(file.stat().st_mtime_ns for file in files)


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
