"""Who sees a bar: a terminal, a notebook, whoever asks; and only one at a time."""

from __future__ import annotations

import io
import sys
import types
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import bigbench_meta as bm
from bigbench_meta.core import progress as module
from bigbench_meta.core.progress import progress_bar

CURVES = bm.build_curves(bm.load_embedded()).sel(task="arithmetic 2D+")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Cell:
    """What a cell of a notebook shows: the bundles of mime types, one for each change."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.shown.append(bundle)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    found = Cell()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell, raising=False)
    ending = types.ModuleType("IPython.display")
    ending.display = found.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", ending)
    monkeypatch.setattr(module, "_EVERY", 0)
    return found


def test_a_pipe_gets_nothing_unless_it_asks(capsys: pytest.CaptureFixture[str]) -> None:
    bm.null_tests(CURVES, n_boot=19)
    assert capsys.readouterr() == ("", "")
    bm.null_tests(CURVES, null="line", n_boot=19, progress=True)
    assert capsys.readouterr().err == "Testing: 3 of 3\n"


def test_lines_of_a_pipe_are_at_most_eleven(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Counting", True) as report:
        assert report is not None
        for done in range(1001):
            report(done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Counting: {n:,} of 1,000" for n in range(0, 1001, 100)]


def test_a_terminal_has_a_bar_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)  # not in a fixture: pytest sets it before a test
    monkeypatch.setenv("TERM", "xterm")
    bm.forecast_curves(CURVES, k="last")
    assert "Forecasting" in terminal.getvalue()
    with progress_bar("Counting") as report:
        assert report is not None
    before = terminal.getvalue()
    with progress_bar("Counting", False) as report:
        assert report is None
    assert terminal.getvalue() == before


def test_a_notebook_has_an_element_that_goes(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 60.0, 60.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress_bar("<b>") as report:
        assert report is not None
        report(1_000, 2_000)
        report(1_500, 2_000)
    texts = [bundle["text/plain"] for bundle in cell.shown]
    assert texts == [
        "<b>", "<b>: 1,000 of 2,000, 0:05 left", "<b>: 1,500 of 2,000, 0:20 left", "",
    ]  # fmt: skip
    assert cell.shown[1]["text/html"] == (
        '<progress value="1000" max="2000" style="vertical-align: middle"></progress> '
        "&lt;b&gt;: 1,000 of 2,000, 0:05 left"
    )
    assert cell.shown[-1]["text/html"] == ""


def test_what_fails_leaves_no_bar(cell: Cell) -> None:
    with pytest.raises(ZeroDivisionError), progress_bar("Dividing"):
        _ = 1 / 0
    assert cell.shown[-1] == {"text/plain": "", "text/html": ""}
    with progress_bar("Next") as report:  # is not taken for one inside the other
        assert report is not None


def test_only_the_outermost_has_a_bar(cell: Cell) -> None:
    told: list[tuple[int, int]] = []
    with progress_bar("Outer") as outer:
        assert outer is not None
        for wanted in (None, True, False):
            with progress_bar("Inner", wanted) as inner:
                assert inner is None
        with progress_bar("Inner", lambda *now: told.append(now)) as inner:
            assert inner is not None
            inner(1, 2)
    assert told == [(1, 2)]
    assert [bundle["text/plain"] for bundle in cell.shown] == ["Outer", ""]
    with progress_bar("Outer", False), progress_bar("Inner") as inner:
        assert inner is None


def test_inference_has_one_bar(cell: Cell) -> None:
    bm.score_curves(CURVES[:1], inference=True, n_boot=99)
    texts = {bundle["text/plain"].split(":")[0] for bundle in cell.shown}
    assert texts == {"Inference", ""}
    assert [bundle["text/plain"] for bundle in cell.shown].count("") == 1


def in_process(_: int) -> Any:
    sys.stderr = Terminal()
    with progress_bar("Counting") as report:
        return report, sys.stderr.getvalue()


def test_processes_have_none() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(in_process, [0])) == [(None, "")]
