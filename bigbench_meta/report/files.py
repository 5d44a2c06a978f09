"""Tables and figures as files, in every format offered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import vl_convert

from bigbench_meta.core.text import csv_text, drawable

if TYPE_CHECKING:
    from bigbench_meta.report.charts.figure import Figure
    from bigbench_meta.report.tables.table import Table

__all__ = ["figure_files", "table_files"]

# Twice the size of the screen: sharp in print.
_PNG_SCALE: Final = 2.0


def figure_files(figure: Figure) -> dict[str, str | bytes]:
    """Return a figure as ``figures/*.svg|png|vl.json|csv``.

    Args:
        figure: The figure.

    Returns:
        Contents by path.
    """
    spec = _drawable(figure.to_dict())
    svg = vl_convert.vegalite_to_svg(spec)
    return {
        f"figures/{figure.name}.svg": svg,
        f"figures/{figure.name}.png": vl_convert.svg_to_png(svg, scale=_PNG_SCALE),
        f"figures/{figure.name}.vl.json": json.dumps(spec, indent=1, ensure_ascii=False) + "\n",
        f"figures/{figure.name}.csv": csv_text(figure.data),
    }


def _drawable(value: Any) -> Any:
    """Return a specification without characters that no SVG holds: they would end the process."""
    if isinstance(value, str):
        return drawable(value)
    if isinstance(value, list):
        return [_drawable(item) for item in value]
    if isinstance(value, dict):
        return {_drawable(key): _drawable(item) for key, item in value.items()}
    return value


def table_files(table: Table) -> dict[str, str | bytes]:
    """Return a table as ``tables/*.csv|md|tex``.

    Args:
        table: The table.

    Returns:
        Contents by path.
    """
    return {
        f"tables/{table.name}.csv": table.to_csv(),
        f"tables/{table.name}.md": table.to_markdown(),
        f"tables/{table.name}.tex": table.to_latex(),
    }
