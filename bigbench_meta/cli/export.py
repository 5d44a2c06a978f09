"""``bigbench-meta export``: a table of a study, for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bigbench_meta.cli import console
from bigbench_meta.core.cards import briefly
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bigbench_meta.report.tables.table import Table

__all__ = ["export"]

_FORMATS: Final[dict[str, Callable[[Table], str]]] = {
    "latex": lambda table: table.to_latex(),
    "markdown": lambda table: table.to_markdown(),
    "csv": lambda table: table.to_csv(),
    "html": lambda table: table.to_html() + "\n",
}
_ENDINGS: Final = {".tex": "latex", ".md": "markdown", ".csv": "csv", ".html": "html"}
# Characters of a line of the list.
_LINE: Final = 100


@click.command()
@click.argument("study", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("table", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    help="Form of the table. Default: by the ending of -o (.tex, .md, .csv, .html), else markdown.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table to this file. A file that is there with other content is not replaced.",
)
def export(study: Path, table: str | None, form: str | None, output: Path | None) -> None:
    """Export a table of a study for a paper.

    STUDY is a folder that `analyze --out` wrote, or the folder of one of its sets; folders with the
    tables of other commands work too. Without TABLE, lists the tables with their captions.

    CSV has all rows and columns, unrounded. The other forms are rounded and labelled, as in the
    study's report; LaTeX needs \\usepackage{booktabs,siunitx} in the preamble.

    \b
    Examples:
      bigbench-meta export study/gpt3
      bigbench-meta export study/gpt3 by_metric
      bigbench-meta export study/gpt3 flagged_curves -o paper/flagged.tex
      bigbench-meta export study/gpt3 evidence_summary --format html
    """
    files = {path.stem: path for path in sorted((study / "tables").glob("*.parquet"))}
    sets: dict[str, set[str]] = {}
    for path in sorted(study.glob("*/tables/*.parquet")):
        sets.setdefault(path.parents[1].as_posix(), set()).add(path.stem)
    if not files and not sets:
        raise _nothing(study)
    if table is None:
        if output or form:
            raise InputError("no TABLE is named", hint=_names(files, sets))
        _list(files, sets)
        return
    if table not in files:
        own = ", ".join(folder for folder, names in sets.items() if table in names)
        near = did_you_mean(table, files, "tables are") if files else _names(files, sets)
        raise InputError(
            f"no table {table!r}", where=str(study), hint=f"it is in {own}" if own else near
        )
    if output and not form and output.suffix not in _ENDINGS:
        raise InputError(
            f"unknown ending {output.suffix!r}",
            where=str(output),
            hint=f"use {', '.join(_ENDINGS)}, or give --format",
        )
    text = _FORMATS[form or (_ENDINGS[output.suffix] if output else "markdown")](
        _read(files[table])
    )
    if output:
        _write(output, text)
    else:
        click.echo(text, nl=False)


def _nothing(study: Path) -> InputError:
    if any((study / "tables").glob("*.csv")):
        return InputError(
            "its tables were written by an earlier version",
            where=str(study),
            hint="run the command that wrote them again",
        )
    return InputError(
        "holds no tables",
        where=str(study),
        hint="name a folder that `bigbench-meta analyze --out` wrote",
    )


def _read(path: Path) -> Table:
    from bigbench_meta.report.tables.table import Table

    return Table.read(path)


def _names(files: Iterable[str], sets: Iterable[str]) -> str:
    parts = {"tables are": ", ".join(files), "sets are": ", ".join(sets)}
    return "; ".join(f"{what} {names}" for what, names in parts.items() if names)


def _list(files: dict[str, Path], sets: Iterable[str]) -> None:
    """Print the tables of a folder and the folders of its sets."""
    width = max(map(len, files), default=0)
    for name, path in files.items():
        click.echo(f"{shown(name):{width}}  {briefly(_read(path).caption, _LINE - width)}")
    if sets:
        click.echo(f"Sets, each with tables of its own: {', '.join(sets)}")


def _write(output: Path, text: str) -> None:
    """Write a file, unless there is another one.

    Raises:
        InputError: There is, or it cannot be written.
    """
    from bigbench_meta.report.folder import write_whole

    content = text.encode()
    try:
        is_other = output.exists() and output.read_bytes() != content
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(output)) from error
    if is_other:
        raise InputError(
            "is there already, with other content",
            where=str(output),
            hint="delete it, or name another file",
        )
    write_whole(output, content)
    console.note(f"{output.as_posix()} written.")
