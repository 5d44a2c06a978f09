"""The workers of a Dask cluster: connect to them, check them, hand them tasks.

References:
    Rocklin (2015), "Dask: Parallel computation with blocked algorithms and task scheduling",
    doi:10.25080/Majora-7b98e3ed-013.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from distributed import Client

__all__ = ["Cluster", "answer"]

_PACKAGE: Final = "bigbench-meta"
_SECONDS_TO_CONNECT: Final = 10
# Of a local cluster: one worker that is killed while it starts takes the others down with it.
_TRIES_TO_START: Final = 3
# Of a local cluster, and of its workers as far as they are started with it.
_SETTINGS: Final = {
    # A task that waits beside one whose worker dies is held to be as guilty, so none waits; and one
    # that seems so is tried again by itself, so that few deaths will do.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
    # By default there is MALLOC_TRIM_THRESHOLD_ as well: freed memory then goes back to the system
    # at once, and analyses, which use many short-lived arrays, take half as long again.
    "distributed.nanny.pre-spawn-environ": {
        "OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1,
    },
    # What watches the workers takes a tenth of the time, and nobody looks at it.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.scheduler.active-memory-manager.start": False,
}  # fmt: skip


class Cluster:
    """The workers of a cluster.

    Args:
        cluster: Address of the scheduler, a connected client, or ``local``.
        jobs: Workers of a local cluster.
        environment: Environment variables that tasks need from the start of their process, so that
            each has a process of its own.

    Raises:
        InputError: Dask is not installed, no scheduler answers, workers do not start, or one has
            another version of this package.
    """

    def __init__(
        self,
        cluster: str | Client,
        jobs: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        try:
            import distributed
        except ImportError as error:
            raise InputError(
                f"a package is not installed: {error.name}",
                where="cluster",
                hint="python -m pip install 'bigbench-meta[cluster]'",
            ) from error
        self.deaths: tuple[type[Exception], ...] = (distributed.scheduler.KilledWorker,)
        self._environment = dict(environment or {})
        self._jobs = jobs if cluster == "local" else 0
        self._missing = 0
        self._executor: Any = None
        self._own: list[Any] = []
        if isinstance(cluster, distributed.Client):
            client = cluster
        elif self._jobs:
            client = self._started()
        else:
            client = self._connected(cluster)
        self._client = client
        try:
            self._check("cluster" if cluster is client else f"cluster {cluster}")
        except BaseException:
            self.end(at_once=True)
            raise
        self._executor = client.get_executor(pure=False)

    def _started(self) -> Client:
        import dask
        from distributed import Client, LocalCluster

        with dask.config.set(_SETTINGS):
            for tries_left in reversed(range(_TRIES_TO_START)):
                try:
                    cluster = LocalCluster(
                        n_workers=self._jobs, threads_per_worker=1, memory_limit=0,
                        dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
                    )  # fmt: skip
                    break
                except RuntimeError as error:  # a worker was killed, or too slow
                    if not tries_left:
                        raise InputError(
                            "its workers do not start",
                            where="cluster local",
                            hint="the system may have run out of memory: try fewer --jobs",
                        ) from error
        client = Client(cluster, set_as_default=False)
        self._own = [client, cluster]
        return client

    def _connected(self, address: str) -> Client:
        from distributed import Client

        try:
            # In a thread: in a notebook, this one has a loop. A client that fails is not so quiet.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _greeted(address)).result()
            client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            reason, *_ = str(error).splitlines() or [type(error).__name__]
            raise InputError(
                f"no scheduler answers: {reason}",
                where=f"cluster {address}",
                hint="`dask scheduler` prints its address, for example tcp://10.0.0.7:8786",
            ) from error
        self._own = [client]
        return client

    def _check(self, where: str) -> None:
        """Refuse workers whose results may differ."""
        own = version(_PACKAGE)
        found = self._client.run(version, _PACKAGE, on_error="return")
        for worker, theirs in found.items():
            if theirs != own and not isinstance(theirs, OSError):  # that one has just died
                lacks = isinstance(theirs, PackageNotFoundError)
                has = f"has no {_PACKAGE}" if lacks else f"has {_PACKAGE} {theirs}"
                raise InputError(
                    f"the worker at {worker} {has}, but {own} runs here",
                    where=where,
                    hint=f"install {_PACKAGE} {own} on every worker",
                )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand over a call."""
        import dask

        if self._environment:
            function = partial(_apart, self._environment, function)
        # A chunk with its samples may be large: no reason to warn users, who cannot change it.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            future: Future[Any] = self._executor.submit(function, *arguments)
        return future

    def count(self) -> int:
        """Return how many calls run at a time now, at least 1."""
        if self._jobs:
            return self._jobs
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return max(1, sum(int(worker["nthreads"]) for worker in workers))

    def mend(self) -> None:
        """Start workers of a local cluster anew that were killed while they started.

        Those that are killed later are started anew by themselves.
        """
        if self._jobs:
            n_missing = self._jobs - len(self._client.scheduler_info(n_workers=-1)["workers"])
            if min(n_missing, self._missing) > 0:  # now and before
                local = self._own[-1]
                local.scale(len(local.worker_spec) + n_missing)
                n_missing = 0
            self._missing = n_missing

    def end(self, *, at_once: bool = False) -> None:
        """Leave the cluster, or end it if it is a local one; at once cancels what is not done."""
        if self._executor:
            self._executor.shutdown(wait=not at_once)
        for one in self._own:
            one.close()


async def _greeted(address: str) -> None:
    from distributed.core import connect

    await (await connect(address, timeout=_SECONDS_TO_CONNECT)).close()


def _apart(environment: Mapping[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process with environment variables; what a worker runs.

    Not by multiprocessing: workers are daemons, which may have no children of its kind.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "call"
        file.write_bytes(pickle.dumps((function, arguments)))
        code = f"from {__name__} import answer; answer({str(file)!r}, {os.getpid()})"
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], env=os.environ | environment, check=False
        )
        if ended.returncode:
            raise RuntimeError(f"its process ended with {ended.returncode}")
        return pickle.loads(file.read_bytes())  # noqa: S301 - of a process of our own


def answer(file: str, parent: int) -> None:
    """Make the call that is pickled in a file and put its result there; for a new process.

    Args:
        file: The file.
        parent: The process that waits; this one ends with it.
    """

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    function, arguments = pickle.loads(Path(file).read_bytes())  # noqa: S301
    Path(file).write_bytes(pickle.dumps(function(*arguments)))
