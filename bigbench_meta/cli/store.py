"""``bigbench-meta store``: inspect and maintain a store."""

from __future__ import annotations

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import as_json, options, strict
from bigbench_meta.core.text import counted

__all__ = ["store"]


@click.group()
def store() -> None:
    """Inspect and maintain a store.

    STORE is a folder or a URL such as s3://BUCKET/FOLDER.

    \b
    Examples:
      bigbench-meta store info store
      bigbench-meta store problems store --conflicts
    """


_store_path = click.argument("store_path", metavar="STORE", type=click.Path())


@store.command()
@options(_store_path, as_json)
def info(store_path: str, as_json: bool) -> None:
    """List the sources in the store, with what was read from each.

    \b
    Example:
      bigbench-meta store info store
    """
    from bigbench_meta.report.tables.table import Table
    from bigbench_meta.store.store import Store

    frame = Store(store_path).info()
    if as_json:
        console.print_json({"sources": console.records(frame)})
    else:
        console.print_table(Table(name="info", caption="", frame=frame, most_rows=len(frame)))


@store.command()
@_store_path
@click.option("--conflicts", is_flag=True, help="Also list scores on which files disagree.")
@options(strict, as_json)
def problems(store_path: str, conflicts: bool, strict: bool, as_json: bool) -> None:
    """List what could not be read or looks wrong.

    \b
    Example:
      bigbench-meta store problems store --conflicts
    """
    import pandas as pd

    from bigbench_meta.store.store import Store

    opened = Store(store_path)
    frame = opened.problems()
    if conflicts:
        frame = pd.concat([frame, opened.conflicts()], ignore_index=True).drop_duplicates()
    if as_json:
        console.print_json({"problems": console.records(frame)})
    else:
        for row in console.records(frame):
            click.echo(console.problem_line(row))
        console.note(counted(len(frame), "problem"))
    if strict and len(frame):
        raise SystemExit(1)


@store.command()
@options(_store_path, as_json)
def compact(store_path: str, as_json: bool) -> None:
    """Merge small files of the store and drop outdated rows.

    \b
    Example:
      bigbench-meta store compact store
    """
    from bigbench_meta.store.store import Store

    parts = Store(store_path).compact()
    if as_json:
        console.print_json({"parts": parts})
    else:
        click.echo(counted(parts, "part"))


@store.command()
@_store_path
@click.argument("pattern")
@as_json
def remove(store_path: str, pattern: str, as_json: bool) -> None:
    """Remove files from the store.

    PATTERN is a quoted shell-style pattern of file names. The next `compact` frees the disk space.

    \b
    Example:
      bigbench-meta store remove store 'results/physics/*'
    """
    from bigbench_meta.store.store import Store

    removed = Store(store_path).remove(pattern)
    if as_json:
        console.print_json({"removed": removed})
    else:
        click.echo(f"{counted(removed, 'file')} removed")
