"""Tasks here and in processes, and results that are kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from bigbench_meta.core.errors import InputError, KilledError
from bigbench_meta.core.execute import Execution, available_jobs, execute, kept_workers

SLEEPERS = """
import time
from bigbench_meta.core.execute import Execution, execute
if __name__ == "__main__":
    print("started", flush=True)
    list(execute(time.sleep, [60, 60], Execution(jobs=2)))
"""


def test_outcomes_of_all_tasks_though_one_fails():
    outcomes = {one.task: one for one in execute(int, ["1", "x", "3"], Execution(jobs=2))}
    assert {task: one.value for task, one in outcomes.items()} == {"1": 1, "x": None, "3": 3}
    assert isinstance(outcomes["x"].error, ValueError)
    assert outcomes["1"].error is None
    assert all(one.seconds >= 0 for one in outcomes.values())


def process(_: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def test_processes_are_kept_and_replaced_where_one_ends():
    def processes() -> set[int]:
        return {one.value for one in execute(process, range(4), Execution(jobs=2))}

    with kept_workers():
        first = processes()
        with kept_workers():
            assert processes() & first
        (killed,) = execute(os._exit, [1], Execution(jobs=2))
        assert isinstance(killed.error, KilledError)
        second = processes()
        assert not second & first
    assert not processes() & (first | second)
    for number in second:  # they end with the block
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def has_imported(module: str) -> bool:
    return module in sys.modules


def test_processes_started_early_import_a_module_meanwhile():
    with kept_workers(Execution(jobs=2), module="colorsys"):
        assert len(multiprocessing.active_children()) == 2
        outcomes = list(execute(has_imported, ["colorsys"] * 4, Execution(jobs=2)))
    # The one that is ready first may do it twice.
    assert any(one.value for one in outcomes)


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
        list(execute(int, ["1"], Execution(jobs=0)))


def ends_at(number: int) -> int:
    """Return the number; at 3, end the process as the system does when memory runs out."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


@pytest.mark.parametrize("in_order", [False, True])
def test_a_task_that_kills_its_process_is_an_error_and_the_others_are_done(in_order):
    outcomes = list(execute(ends_at, range(8), Execution(jobs=2), in_order=in_order))
    assert sorted(one.task for one in outcomes) == [*range(8)]
    assert not in_order or [one.task for one in outcomes] == [*range(8)]
    (killed,) = [one for one in outcomes if one.error]
    assert killed.task == 3
    assert isinstance(killed.error, KilledError)
    assert "fewer --jobs" in str(killed.error)
    assert all(one.value == one.task for one in outcomes if one is not killed)


def killed_once(mark: str) -> str:
    """End the process the first time."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark


def test_a_task_whose_process_was_killed_once_is_run_again(tmp_path):
    marks = [str(tmp_path / name) for name in "abc"]
    outcomes = execute(killed_once, marks, Execution(jobs=2), in_order=True)
    assert [one.value for one in outcomes] == marks


def test_a_caller_that_stops_ends_the_processes():
    start = time.monotonic()
    outcomes = execute(time.sleep, [0, 60], Execution(jobs=2))
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


CALLS = []


def table_of(number):
    """Return a table of one number; a negative one fails."""
    CALLS.append(number)
    if number < 0:
        raise ValueError(number)
    return pa.table({"number": [number]})


def numbers(outcomes):
    return sorted(one.value["number"][0].as_py() for one in outcomes if one.error is None)


def test_one_job_runs_here_and_reports_failures():
    CALLS.clear()
    outcomes = list(execute(table_of, [1, -1, 2], Execution(jobs=1)))
    assert CALLS == [1, -1, 2]
    assert [one.error is None for one in outcomes] == [True, False, True]


def test_finished_tasks_are_kept_and_not_run_again(tmp_path):
    keep = tmp_path / "kept"
    outcomes = execute(table_of, [1, 2, 3], Execution(jobs=1), keep=keep)
    next(outcomes)
    next(outcomes)
    outcomes.close()  # as if interrupted
    CALLS.clear()
    assert numbers(execute(table_of, [1, 2, 3, -1], Execution(jobs=1), keep=keep)) == [1, 2, 3]
    assert CALLS == [3, -1]  # a failure is not kept
    CALLS.clear()
    assert numbers(execute(table_of, [3, -1], Execution(jobs=1), keep=keep)) == [3]
    assert CALLS == [-1]


@pytest.mark.parametrize("damage", [b"", b"not a table", None])
def test_a_damaged_result_is_computed_again(tmp_path, damage):
    assert numbers(execute(table_of, [7], Execution(jobs=1), keep=tmp_path)) == [7]
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    CALLS.clear()
    assert numbers(execute(table_of, [7], Execution(jobs=1), keep=tmp_path)) == [7]
    assert CALLS == [7]


def test_results_of_other_code_are_not_taken(tmp_path, monkeypatch):
    assert numbers(execute(table_of, [7], Execution(jobs=1), keep=tmp_path)) == [7]
    monkeypatch.setattr("bigbench_meta.core.execute._version", lambda: 0)
    CALLS.clear()
    assert numbers(execute(table_of, [7], Execution(jobs=1), keep=tmp_path)) == [7]
    assert CALLS == [7]


def test_only_analyses_of_curves_are_kept(tmp_path):
    """Results of other work are no tables."""
    assert [one.value for one in execute(int, ["1"], Execution(keep=tmp_path))] == [1]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs groups of processes")
def test_ctrl_c_is_not_said_by_every_process():
    """A terminal interrupts all of them; the first one ends the others."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPERS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(3)  # both sleep
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert error.count("KeyboardInterrupt") == 1
    assert "Process-" not in error


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        list(execute(table_of, [7], Execution(jobs=1), keep=tmp_path / "file"))


def test_outcomes_in_the_order_of_the_tasks_which_are_taken_as_needed():
    taken = []

    def tasks():
        for seconds in (0.5, 0.0, *[0.0] * 20):
            taken.append(seconds)
            yield seconds

    outcomes = execute(time.sleep, tasks(), Execution(jobs=2), in_order=True)
    assert next(outcomes).task == 0.5
    assert len(taken) == 6  # three for each process
    assert len(list(outcomes)) == 21
    assert len(taken) == 22
