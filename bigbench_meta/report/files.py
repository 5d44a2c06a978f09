"""Tables and figures as files, in every format offered."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

import vl_convert

from bigbench_meta.core.text import csv_text, drawable
from bigbench_meta.report.charts.figure import WIDTHS

if TYPE_CHECKING:
    from bigbench_meta.report.charts.figure import Figure
    from bigbench_meta.report.tables.table import Table

__all__ = ["figure_files", "figure_svg", "table_files"]

# A pixel of an SVG is 1/96 inch, a point of a PDF 1/72.
_POINTS: Final = 72 / 96
_DOTS_PER_INCH: Final = 300
_ROOT: Final = re.compile(
    r'<svg ([^>]*?)width="[\d.]+" height="[\d.]+" viewBox="0 0 ([\d.]+) ([\d.]+)">'
    r"<rect width=\"[\d.]+\" height=\"[\d.]+\""
)


def figure_files(figure: Figure) -> dict[str, str | bytes]:
    """Return a figure as ``figures/*.svg|pdf|png|vl.json|csv``.

    Args:
        figure: The figure.

    Returns:
        Contents by path. SVG, PDF and PNG (at 300 dots an inch) have the width of a column or a
        page, at which their text is 7 points.
    """
    spec = _drawable(figure.to_dict())
    drawn = vl_convert.vegalite_to_svg(spec)
    svg = _printed(drawn, figure)
    return {
        f"figures/{figure.name}.svg": svg,
        f"figures/{figure.name}.pdf": vl_convert.svg_to_pdf(_printed(drawn, figure, unit=_POINTS)),
        f"figures/{figure.name}.png": vl_convert.svg_to_png(svg, scale=_POINTS, ppi=_DOTS_PER_INCH),
        f"figures/{figure.name}.vl.json": json.dumps(spec, indent=1, ensure_ascii=False) + "\n",
        f"figures/{figure.name}.csv": csv_text(figure.data),
    }


def figure_svg(figure: Figure, *, zoom: float = 1.0) -> str:
    """Return a figure as SVG, at its printed width times the zoom.

    Args:
        figure: The figure.
        zoom: Above 0.
    """
    return _printed(vl_convert.vegalite_to_svg(_drawable(figure.to_dict())), figure, unit=zoom)


def _printed(svg: str, figure: Figure, unit: float = 1.0) -> str:
    """Return a drawing at exactly the width of the figure, with the caption as its alt text.

    Panels fill the width to within a few pixels, which are added at both sides. The ``unit`` is the
    length of a pixel: a PDF takes one for a point, a screen shows it larger.
    """

    def root(found: re.Match[str]) -> str:
        drawn, height = float(found[2]), float(found[3])
        target = WIDTHS[figure.width]
        box = max(drawn, target)
        left = (drawn - box) / 2
        alt_text = escape(drawable(figure.caption))
        return (
            f'<svg {found[1]}role="img" aria-label="{alt_text}" width="{target * unit:g}" '
            f'height="{height * target / box * unit:g}" viewBox="{left:g} 0 {box:g} {height:g}">'
            f'<rect x="{left:g}" width="{box:g}" height="{height:g}"'
        )

    return _ROOT.sub(root, svg, count=1)


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
    """Return a table as ``tables/*.csv|md|tex|parquet``.

    Args:
        table: The table.

    Returns:
        Contents by path.
    """
    return {
        f"tables/{table.name}.csv": table.to_csv(),
        f"tables/{table.name}.md": table.to_markdown(),
        f"tables/{table.name}.tex": table.to_latex(),
        f"tables/{table.name}.parquet": table.to_parquet(),
    }
