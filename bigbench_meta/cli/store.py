"""Commands that fill a store and look after it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bigbench_meta.cli import console, option
from bigbench_meta.cli.load import finish
from bigbench_meta.core.errors import InputError

__all__ = ["ingest", "store"]


@click.command()
@click.argument("results", nargs=-1, required=True, type=str)
@click.option(
    "--store",
    "store_path",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The store's folder; made by the first ingest.",
)
@option.options(option.reading)
@click.option(
    "--samples", is_flag=True, help="Also read single examples, from full logs and sample logs."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    help="Processes to read with, where there is enough to read. Default: one for each core.",
)
@option.options(option.strict, option.as_json)
def ingest(
    results: tuple[str, ...],
    store_path: Path,
    samples: bool,
    jobs: int | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Read result files into a store.

    RESULTS are files, folders, quoted patterns, .zip or .tar.gz archives, http(s):// or s3:// URLs,
    or - for a list of such on standard input, one on a line.

    Files that the store has as they are cost a look; changed files replace their rows. It can be
    stopped at any moment and goes on where it was.

    \b
    Examples:
      bigbench-meta ingest BIG-bench/bigbench/benchmark_tasks --store store
      bigbench-meta ingest lm_eval_output/ results.tar.gz --store store --strict
      bigbench-meta ingest wide.csv --mapping wide.toml --store store
      find . -name 'scores_*.json' | bigbench-meta ingest - --store store
    """
    import os

    from bigbench_meta.readers import ReadOptions
    from bigbench_meta.store.store import Store

    read = ReadOptions(
        samples=samples,
        max_bytes=options["max_bytes"],
        mapping=options["mapping"],
        names=options["names"],
    )
    with console.progress("Reading") as progress:
        summary = Store(store_path).ingest(
            _named(results), options=read, jobs=jobs or os.cpu_count() or 1, progress=progress
        )
    counts = {
        name: getattr(summary, name)
        for name in ("files", "loaded", "unchanged", "failed", "observations", "samples")
    }
    if as_json:
        console.print_json(counts | {"problems": console.records(summary.problems)})
    else:
        click.echo(
            f"{summary.files} files: {summary.loaded} loaded ({summary.observations} observations),"
            f" {summary.unchanged} unchanged, {summary.failed} failed."
        )
        console.print_problems(summary.problems)
    if summary.failed and not summary.loaded and not summary.unchanged:
        raise InputError("no file could be read", where=", ".join(results))
    finish(summary.problems, strict=strict)


def _named(results: tuple[str, ...]) -> list[str]:
    """Return the paths, those on standard input in place of a dash."""
    named: list[str] = []
    for path in results:
        if path == "-":
            lines = sys.stdin.read().splitlines()
            named.extend(line for line in lines if line.strip())
        else:
            named.append(path)
    return named


@click.group()
def store() -> None:
    """Look after a store.

    \b
    Examples:
      bigbench-meta store info store
      bigbench-meta store problems store --conflicts
    """


_store_path = click.argument("store_path", metavar="STORE", type=click.Path(path_type=Path))


@store.command()
@option.options(_store_path, option.as_json)
def info(store_path: Path, as_json: bool) -> None:
    """Say for each source what came in.

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
@option.options(_store_path)
@click.option("--conflicts", is_flag=True, help="Also compare what files say of the same thing.")
@option.options(option.strict, option.as_json)
def problems(store_path: Path, conflicts: bool, strict: bool, as_json: bool) -> None:
    """List what could not be read, or was read with a doubt.

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
        console.note(f"{len(frame)} problems")
    finish(frame, strict=strict)


@store.command()
@option.options(_store_path, option.as_json)
def compact(store_path: Path, as_json: bool) -> None:
    """Join small parts and leave out rows that are no longer in force.

    \b
    Example:
      bigbench-meta store compact store
    """
    from bigbench_meta.store.store import Store

    parts = Store(store_path).compact()
    if as_json:
        console.print_json({"parts": parts})
    else:
        click.echo(f"{parts} parts")


@store.command()
@option.options(_store_path)
@click.argument("pattern")
@option.options(option.as_json)
def remove(store_path: Path, pattern: str, as_json: bool) -> None:
    """Put files out of force.

    PATTERN is a shell-style pattern over the names of files, quoted. Their space is given back by
    the next compact.

    \b
    Example:
      bigbench-meta store remove store 'results/physics/*'
    """
    from bigbench_meta.store.store import Store

    removed = Store(store_path).remove(pattern)
    if as_json:
        console.print_json({"removed": removed})
    else:
        click.echo(f"{removed} files removed")
