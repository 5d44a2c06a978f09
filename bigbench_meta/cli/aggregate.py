"""``bigbench-meta aggregate``: flagged curves by metric."""

from __future__ import annotations

from typing import Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import finish, study_document, study_of
from bigbench_meta.cli.options import as_json, counting, options, results, strict

__all__ = ["aggregate"]


@click.command()
@options(results, counting)
@click.option(
    "--by",
    type=click.Choice(["metric", "metric_type"]),
    default="metric",
    show_default=True,
    help="Count by metric, or by type of metric.",
)
@click.option("--sweep", is_flag=True, help="Count at many thresholds instead of by metric.")
@options(strict, as_json)
def aggregate(
    results: tuple[str, ...],
    by: str,
    sweep: bool,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Count the flagged curves of each metric.

    RESULTS are result files, folders of them, or a store; by default GPT-3's published results.

    \b
    Examples:
      bigbench-meta aggregate store --by metric_type --threshold 50
      bigbench-meta aggregate store --sweep
    """
    loaded, study = study_of(results, options)
    name = "threshold_sweep" if sweep else f"by_{by}"
    if as_json:
        console.print_json(
            study_document(study)
            | {name: console.records(study.tables[name].frame)}
            | loaded.document(study.known_issues, study.keys)
        )
    else:
        click.echo(f"{loaded.title}: {study.headline}")
        console.print_table(study.tables[name])
    finish(loaded, study.known_issues, strict=strict, as_json=as_json)
