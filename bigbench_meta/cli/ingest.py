"""``bigbench-meta ingest``: result files into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import (
    as_json,
    execution,
    needed_results,
    options,
    read_options,
    reading,
    strict,
)
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from bigbench_meta.core.execute import Execution

__all__ = ["ingest"]


@click.command()
@needed_results
@click.option(
    "--store",
    "store_path",
    required=True,
    type=click.Path(file_okay=False),
    help="Folder of the store, or s3://BUCKET/FOLDER; created if it does not exist.",
)
@reading
@click.option("--samples", is_flag=True, help="Also read single examples where there are logs.")
@options(execution, strict, as_json)
def ingest(
    results: tuple[str, ...],
    store_path: str,
    samples: bool,
    execution: Execution,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Read result files into a store.

    RESULTS are files, folders, quoted patterns, .zip or .tar.gz archives, http(s)://, s3:// or
    gs:// URLs, or - for a list of these on standard input, one on each line.

    Files that have not changed since they were stored are skipped; those that have changed replace
    their earlier rows. Those that are no longer there stay and are named: `store remove` removes
    them. An ingest that was interrupted continues when it is run again.

    \b
    Examples:
      bigbench-meta ingest BIG-bench/bigbench/benchmark_tasks --store store
      bigbench-meta ingest lm_eval_output/ results.tar.gz --store store --strict
      bigbench-meta ingest wide.csv --mapping wide.toml --store store
      find . -name 'scores_*.json' | bigbench-meta ingest - --store store
    """
    from bigbench_meta.store.store import Store

    read = read_options(options, samples=samples)
    with console.progress("Reading") as progress:
        summary = Store(store_path).ingest(
            results, options=read, execution=execution, progress=progress
        )
    counts = {
        name: getattr(summary, name)
        for name in ("files", "loaded", "unchanged", "failed", "gone", "observations", "samples")
    }
    if as_json:
        console.print_json(counts | {"problems": console.records(summary.problems)})
    else:
        gone = f"; {counted(summary.gone, 'stored file')} no longer there" if summary.gone else ""
        click.echo(
            f"{counted(summary.files, 'file')}: {summary.loaded} loaded "
            f"({counted(summary.observations, 'observation')}),"
            f" {summary.unchanged} unchanged, {summary.failed} failed{gone}."
        )
        console.print_problems(summary.problems)
    if summary.failed and not summary.loaded and not summary.unchanged:
        raise InputError("no file could be read", where=", ".join(results))
    if strict and len(summary.problems):
        raise SystemExit(1)
