"""Write tables and figures to files, in every format offered."""

from __future__ import annotations

import json
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final

import vl_convert

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import drawable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bigbench_meta.report.charts.figure import Figure
    from bigbench_meta.report.tables.table import Table

__all__ = ["figure_files", "prepare_folder", "table_files", "write_files"]

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
    return {
        f"figures/{figure.name}.svg": vl_convert.vegalite_to_svg(spec),
        f"figures/{figure.name}.png": vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE),
        f"figures/{figure.name}.vl.json": json.dumps(spec, indent=1, ensure_ascii=False) + "\n",
        f"figures/{figure.name}.csv": figure.data.to_csv(index=False, lineterminator="\n"),
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


def prepare_folder(folder: Path) -> None:
    """Make a folder to write into, before the work whose results it is for.

    Raises:
        InputError: It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}", where=str(folder)
        ) from error


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


def write_files(
    folder: Path,
    contents: Mapping[str, str | bytes],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write files into a folder, made if need be; files of the same names are overwritten.

    Args:
        folder: Where to.
        contents: Contents by path below the folder; texts are written in UTF-8.
        progress: Called with (files written, files to write).

    Returns:
        The files written.

    Raises:
        InputError: One cannot be written.
    """
    written = []
    for name, content in contents.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise InputError(
                f"cannot be written: {error.strerror or error}", where=str(path)
            ) from error
        written.append(path)
        if progress:
            progress(len(written), len(contents))
    return written
