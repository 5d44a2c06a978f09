"""Tasks on a Dask cluster: the same outcomes, whatever happens to its workers."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from bigbench_meta.core import cluster as module
from bigbench_meta.core.errors import InputError, KilledError
from bigbench_meta.core.execute import Execution, execute, kept_workers

KILLS = int(os.environ.get("BIGBENCH_META_KILLS", "2"))
LOCAL = Execution(jobs=2, cluster="local")


@pytest.fixture(scope="module")
def kept():
    """Keep one cluster of two workers for the tests of this module."""
    with kept_workers(LOCAL, module="colorsys"):
        yield


@pytest.fixture(scope="module")
def running():
    """Return a cluster that somebody else has started."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


def double(number):
    """Return twice a number after a while; a negative one fails, and 13 ends its process."""
    if number < 0:
        raise ValueError(number)
    if number == 13:
        os._exit(1)
    time.sleep(0.1)
    return 2 * number


def slow_double(number):
    time.sleep(0.5)
    return 2 * number


@pytest.mark.usefixtures("kept")
def test_outcomes_of_all_tasks_though_one_fails_and_one_kills_its_worker():
    tasks = [1, 2, -3, 13, 4, 5, 6]
    outcomes = list(execute(double, tasks, LOCAL, in_order=True))
    assert [one.task for one in outcomes] == tasks
    found = {one.task: one for one in outcomes}
    assert isinstance(found[-3].error, ValueError)
    assert isinstance(found[13].error, KilledError)
    assert {task: one.value for task, one in found.items() if one.error is None} == {
        task: 2 * task for task in (1, 2, 4, 5, 6)
    }


def worker(_):
    return os.getpid()


@pytest.mark.usefixtures("kept")
def test_calls_share_the_workers_that_are_kept():
    first, second = ({one.value for one in execute(worker, range(6), LOCAL)} for _ in range(2))
    assert first & second
    assert os.getpid() not in first


@pytest.mark.usefixtures("kept")
def test_environment_from_the_start_of_a_process_of_its_own():
    environment = {"BIGBENCH_META_TEST": "1"}
    names = ["BIGBENCH_META_TEST", "OMP_NUM_THREADS"]
    (one, _) = execute(os.getenv, names, LOCAL, environment=environment, in_order=True)
    assert one.value == "1"
    (outcome,) = execute(os._exit, [3], LOCAL, environment=environment)
    assert "ended with 3" in str(outcome.error)
    (outcome,) = execute(os.getenv, names[:1], LOCAL)
    assert outcome.value is None  # it was that process's alone


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
@pytest.mark.usefixtures("kept")
def test_workers_that_are_killed_at_any_moment():
    rng = random.Random(0)
    done = threading.Event()
    killed = []

    def kill():
        while not done.is_set() and len(killed) < KILLS:
            done.wait(rng.uniform(0, 4))
            for process in children(os.getpid()):
                is_worker = b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
                if is_worker and rng.random() < 0.5:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                    break

    thread = threading.Thread(target=kill)
    thread.start()
    n = 10 * KILLS
    outcomes = list(execute(slow_double, range(n), LOCAL, in_order=True))
    done.set()
    thread.join()
    assert [one.value for one in outcomes] == [2 * number for number in range(n)]
    assert killed


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_a_worker_that_is_killed_while_it_starts(monkeypatch):
    killed = []

    def kill_next(n):
        before = set(children(os.getpid()))
        while len(killed) < n:
            for process in set(children(os.getpid())) - before - set(killed):
                if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                    break
            time.sleep(0.01)

    for tries, says in ((2, None), (1, "its workers do not start")):
        monkeypatch.setattr(module, "_TRIES_TO_START", tries)
        thread = threading.Thread(target=kill_next, args=(len(killed) + 1,))
        thread.start()
        with nullcontext() if says is None else pytest.raises(InputError, match=says):
            cluster = module.Cluster("local", jobs=1)
            assert cluster.submit(double, 2).result() == 4
            cluster.end()
        thread.join()


def children(process):
    return [
        int(number)
        for file in Path(f"/proc/{process}/task").glob("*/children")
        for number in file.read_text().split()
    ]


def test_a_running_cluster_by_its_address_and_by_its_client(running):
    address = running.scheduler_address
    assert [one.value for one in execute(double, [1, 2], Execution(cluster=address))]
    with Client(running, set_as_default=False) as client:
        found = execute(double, [1, 2, 3], Execution(cluster=client), in_order=True)
        assert [one.value for one in found] == [2, 4, 6]
        assert client.status == "running"  # it is not ours to close


def test_a_caller_that_stops_cancels_what_was_handed_over(running):
    outcomes = execute(slow_double, range(100), Execution(cluster=running.scheduler_address))
    next(outcomes)
    outcomes.close()
    start = time.monotonic()
    list(execute(double, [1], Execution(cluster=running.scheduler_address)))
    assert time.monotonic() - start < 40  # not behind the others


def another_version(value):
    """Let a worker say that its package is of another version, or None that it has none."""

    def version(name):
        if value is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return value

    importlib.metadata.version = version


@pytest.mark.parametrize(
    ("value", "says"), [("99.0", "has bigbench-meta 99.0"), (None, "has no bigbench-meta")]
)
def test_workers_of_another_version_are_refused(running, value, says):
    with Client(running, set_as_default=False) as client:
        client.run(another_version, value)
        with pytest.raises(InputError, match=rf"the worker at tcp://\S+ {says}, but") as caught:
            list(execute(double, [1], Execution(cluster=client)))
        assert "on every worker" in str(caught.value)
        client.restart()


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_TO_CONNECT", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(InputError, match="no scheduler answers") as caught:
        list(execute(double, [1], Execution(cluster=address)))
    assert caught.value.where == f"cluster {address}"
    assert "\n" not in caught.value.message
    with pytest.raises(InputError, match="no scheduler answers: missing port"):
        list(execute(double, [1], Execution(cluster="nowhere")))


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="not installed") as caught:
        list(execute(double, [1], LOCAL))
    assert "bigbench-meta[cluster]" in str(caught.value)


SCHEDULER = """
import logging, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


@pytest.mark.full
def test_a_scheduler_that_is_killed_half_way(tmp_path):
    script = tmp_path / "scheduler.py"
    script.write_text(SCHEDULER)
    server = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert server.stdout is not None
    with server.stdout as told:
        address = told.readline().strip()
    outcomes = execute(slow_double, range(1000), Execution(cluster=address))
    next(outcomes)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    with pytest.raises(InputError, match="connection to the scheduler was lost"):
        list(outcomes)
