"""``bigbench-meta claims``: published claims of emergence by metric."""

from __future__ import annotations

from dataclasses import replace

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import as_json

__all__ = ["claims"]


@click.command()
@click.option(
    "--scaling-class",
    multiple=True,
    help="Class of the annotation that counts as a claim. Can be repeated. Default: "
    "emergent_gpt3_or_lamda and emergent_palm.",
)
@as_json
def claims(scaling_class: tuple[str, ...], as_json: bool) -> None:
    """Count published claims of emergence by metric.

    The claims are the annotation of BIG-bench tasks by Wei et al. (2022), Appendix E. A claim
    counts for the preferred metric of its task in BIG-bench 1.0.0.

    \b
    Examples:
      bigbench-meta claims
      bigbench-meta claims --scaling-class emergent_palm --json
    """
    from bigbench_meta.aggregate.by_metric import EMERGENT_CLASSES, claims_by_metric, claims_summary
    from bigbench_meta.report.tables.study import claims_table

    frame = claims_by_metric(scaling_classes=scaling_class or EMERGENT_CLASSES)
    if as_json:
        console.print_json(claims_summary(frame) | {"by_metric": console.records(frame)})
        return
    table = claims_table(frame)
    console.print_table(replace(table, frame=frame[frame["n_claims"] > 0]))
    click.echo(table.caption)
