"""What the simulation scripts share: finished cells in a file, and tables between markers."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["options_of", "put_between", "read", "run_cells"]


def options_of(about: str, **numbers: int) -> argparse.Namespace:
    """Return the options of a script; numbers are options of its own, with their defaults."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--docs", type=Path)
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cells", default="", help="Only cells whose name contains this.")
    return parser.parse_args()


def run_cells(
    cells: Iterable[Any],
    run_cell: Callable[..., dict[str, Any]],
    *numbers: int,
    options: argparse.Namespace,
) -> None:
    """Run the cells that are not done yet, and append a line for each to the file ``--out``."""
    done = read(options.out)
    left = [cell for cell in cells if cell.name not in done and options.cells in cell.name]
    with ProcessPoolExecutor(options.jobs) as pool, options.out.open("a") as file:
        running = [pool.submit(run_cell, cell, *numbers) for cell in left]
        for finished in as_completed(running):
            row = finished.result()
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(json.dumps(row), flush=True)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return what has been done, by cell."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {row["name"]: row for row in rows}


def put_between(text: str, grid: str, table: str, path: Path) -> str:
    """Return the text of a page with a table, or text, between the markers of a grid."""
    begin, end = f"<!-- {grid} table: begin -->", f"<!-- {grid} table: end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        sys.exit(f"{path} has no {begin} and {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"
