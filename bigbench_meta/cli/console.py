"""What the command line prints: JSON for machines, tables and progress for people."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.core.progress import progress_bar as progress
from bigbench_meta.core.text import counted, shown

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.report.tables.table import Table

__all__ = [
    "MOST_ROWS",
    "json_text",
    "note",
    "print_json",
    "print_problems",
    "print_table",
    "problem_line",
    "progress",
    "records",
]

MOST_ROWS = 20
"""Rows that are printed of a table of all curves."""

_MOST_PROBLEMS = 10
# Characters of a line in a pipe, between two columns, and of a column of names that is wrapped.
_PIPE = 200
_GAP = 3
_WRAPPED = 40
# What differs between problems of one kind: numbers, quoted values, paths and names of files.
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[/\\]\S*|\S+\.\w{2,8}\b|[-+]?\d[\w.+-]*")


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on standard output; a number that is not finite becomes a text."""
    click.echo(json_text(document))


def json_text(document: Any) -> str:
    """Return a document as JSON in ASCII, which a pipe of any encoding takes."""
    return json.dumps(_plain(document), allow_nan=False, indent=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame as one dict a row; missing texts, whole numbers and truth values are None."""
    import pandas as pd

    columns = {name: frame[name].astype(object).tolist() for name in frame.columns}
    is_real = {name: frame[name].dtype.kind == "f" for name in frame.columns}
    return [
        {
            name: None if not is_real[name] and pd.isna(value) else value
            for name, value in zip(columns, row, strict=True)
        }
        for row in zip(*columns.values(), strict=True)
    ]


def note(message: str) -> None:
    """Print a message for people on standard error."""
    click.echo(message, err=True)


def print_table(table: Table) -> None:
    """Print a table for people on standard output, rounded, with the columns that have room.

    The width is that of the terminal, or ``COLUMNS``; in a pipe there is none to fit, and a wrapped
    name could not be searched for. Of columns that do not fit the last ones are left out.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    header, rows, alignment = replace(table, columns=table.brief or table.columns).text()
    given = os.environ.get("COLUMNS", "")
    known = int(given) if given.isdigit() and int(given) else None
    width = known or (None if sys.stdout.isatty() else _PIPE)
    console = Console(highlight=False, width=width)
    rows = [[shown(cell) for cell in row] for row in rows]
    # Columns of texts may be wrapped.
    most = [console.width if align == "right" else _WRAPPED for align in alignment]
    widths = [
        min(max(cell_len(cell) for cell in column), limit) + _GAP
        for column, limit in zip(zip(header, *rows, strict=True), most, strict=True)
    ]
    fit = max(sum(sum(widths[: n + 1]) <= console.width for n in range(len(widths))), 1)
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, align in zip(header[:fit], alignment, strict=False):
        if align == "right":
            grid.add_column(title, justify="right")
        else:
            grid.add_column(title, overflow="fold")
    for row in rows:
        # Text, not markup: a task may be called [bold].
        grid.add_row(*map(Text, row[:fit]))
    console.print(grid)
    if fit < len(header):
        console.print(f"Not shown for lack of width: {', '.join(header[fit:])}.", markup=False)


def problem_line(row: dict[str, Any]) -> str:
    """Return a problem as one line of text."""
    place = f"{row['source']}: {row['field']}" if row["field"] else row["source"]
    return shown(f"{row['severity']}: {place}: {row['reason']}")


def print_problems(problems: pd.DataFrame) -> None:
    """Print problems on standard error; of many, the first of each kind.

    They are of one kind if their reasons differ in numbers and names alone. Errors come first, then
    what makes other curves.
    """
    kinds: dict[tuple[bool, bool, str], list[dict[str, Any]]] = {}
    few = len(problems) <= _MOST_PROBLEMS
    for number, row in enumerate(records(problems)):
        reason = str(row["reason"])
        grave = "replicates" in reason
        like = str(number) if few else _PARTICULAR.sub("#", reason)
        kind = (row["severity"] != "error", not grave, like)
        kinds.setdefault(kind, []).append(row)
    ordered = [rows for _, rows in sorted(kinds.items(), key=lambda item: item[0][:2])]
    for rows in ordered[:_MOST_PROBLEMS]:
        more = f" (and {len(rows) - 1} more like this)" if len(rows) > 1 else ""
        note(problem_line(rows[0]) + more)
    if rest := sum(map(len, ordered[_MOST_PROBLEMS:])):
        note(f"... and {counted(rest, 'more problem')}")
