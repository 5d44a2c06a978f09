"""Tasks in processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import available_jobs, execute

SLEEPERS = """
import time
from bigbench_meta.core.execute import execute
if __name__ == "__main__":
    print("started", flush=True)
    list(execute(time.sleep, [60, 60], jobs=2))
"""


def test_outcomes_of_all_tasks_though_one_fails():
    outcomes = {one.task: one for one in execute(int, ["1", "x", "3"], jobs=2)}
    assert {task: one.value for task, one in outcomes.items()} == {"1": 1, "x": None, "3": 3}
    assert isinstance(outcomes["x"].error, ValueError)
    assert outcomes["1"].error is None
    assert all(one.seconds >= 0 for one in outcomes.values())


def test_environment_of_the_processes(monkeypatch):
    monkeypatch.delenv("BIGBENCH_META_TEST", raising=False)
    (outcome,) = execute(os.getenv, ["BIGBENCH_META_TEST"], environment={"BIGBENCH_META_TEST": "1"})
    assert outcome.value == "1"
    assert "BIGBENCH_META_TEST" not in os.environ


def test_nothing_to_do():
    assert list(execute(int, [])) == []
    assert available_jobs() >= 1


def test_no_jobs():
    with pytest.raises(InputError, match="0 is below 1"):
        list(execute(int, ["1"], jobs=0))


def test_a_killed_process_is_an_error_that_names_the_remedy():
    with pytest.raises(InputError, match="a process was killed") as caught:
        list(execute(os._exit, [1], jobs=1))
    assert "--jobs 1" in str(caught.value)


def test_a_caller_that_stops_ends_the_processes():
    start = time.monotonic()
    outcomes = execute(time.sleep, [0, 60], jobs=2)
    next(outcomes)
    outcomes.close()
    assert time.monotonic() - start < 50


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_processes_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    time.sleep(3)  # for the processes to start
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        try:
            os.killpg(parent.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.killpg(parent.pid, signal.SIGKILL)
    pytest.fail("a process outlived the one that started it")
