"""How far a long function is: a bar in a terminal or a notebook, a callback, or nothing.

In a terminal the bar is ``rich``'s, on standard error. In Jupyter that one needs ``ipywidgets``,
which this package does not install, so there it is an HTML ``progress`` element, which every
front end shows.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress", "Report", "progress_bar"]

Report: TypeAlias = "Callable[[int, int], None] | None"
"""Called with (work done, work)."""

Progress: TypeAlias = "bool | Report"
"""What a long function takes: whether to show a bar, or what to call with (work done, work).

None shows a bar where somebody looks on: if standard error is a terminal, or in a Jupyter kernel.
"""

# Seconds between two drawings in a notebook, each of which is a message.
_EVERY: Final = 0.2
# A long function calls others: only the outermost has a bar.
_SHOWN: ContextVar[bool] = ContextVar("progress is shown", default=False)


@contextmanager
def progress_bar(label: str, wanted: Progress = None) -> Iterator[Report]:
    """Give a function that is called with (work done, work), or None if nobody looks on.

    Args:
        label: What is done, in a word.
        wanted: Whether there is a bar, or a function that is handed on. None: where somebody looks
            on. Inside another bar, and in a process that another one started, there is none.

    Examples:
        >>> with progress_bar("Fitting", wanted=print) as report:
        ...     report(1, 2)
        1 2
        >>> with progress_bar("Fitting", wanted=False) as report:
        ...     print(report)
        None
    """
    token = _SHOWN.set(True)
    try:
        if callable(wanted):
            yield wanted
        elif wanted is False or token.old_value is True or multiprocessing.parent_process():
            yield None
        elif display := _notebook():
            yield from _element(label, display)
        elif sys.stderr.isatty():
            yield from _bar(label)
        else:
            yield _lines(label) if wanted else None
    finally:
        _SHOWN.reset(token)


def _notebook() -> Callable[..., Any] | None:
    """Return what displays an object in the cell that runs, None outside of a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    return display  # type: ignore[no-any-return,unused-ignore]


def _element(label: str, display: Callable[..., Any]) -> Iterator[Report]:
    """Show a bar in the output of a cell; when the work is done the output is empty."""
    start, last = time.monotonic(), 0.0

    def bundle(done: int, total: int) -> dict[str, str]:
        text = f"{label}: {done:,} of {total:,}" if total else label
        if done and total and (seconds := time.monotonic() - start) > 1:
            text += f", {_duration(seconds * (total - done) / done)} left"
        value = f'value="{done}" max="{total}"' if total else ""
        html = f'<progress {value} style="vertical-align: middle"></progress> {escape(text)}'
        return {"text/plain": text, "text/html": html}

    shown = display(bundle(0, 0), raw=True, display_id=True)

    def report(done: int, total: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= _EVERY:
            last = now
            shown.update(bundle(done, total), raw=True)

    try:
        yield report
    finally:
        shown.update({"text/plain": "", "text/html": ""}, raw=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _bar(label: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(label: str) -> Report:
    """Return what writes a line on standard error for each tenth of the work."""
    last = -1

    def report(done: int, total: int) -> None:
        nonlocal last
        tenth = 10 * done // max(total, 1)
        if tenth > last:
            last = tenth
            sys.stderr.write(f"{label}: {done:,} of {total:,}\n")

    return report
