"""What the simulation scripts share: finished cells in a file, and tables between markers."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["put_between", "read"]


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return what has been done, by cell."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {row["name"]: row for row in rows}


def put_between(text: str, grid: str, table: str, path: Path) -> str:
    """Return the text of a page with a table between the markers of a grid."""
    begin, end = f"<!-- {grid} table: begin -->", f"<!-- {grid} table: end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        sys.exit(f"{path} has no {begin} and {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"
