"""``bigbench-meta analyze``: the whole study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import (
    finish,
    prepare_folder,
    study_document,
    study_of,
    tell_missing_intervals,
)
from bigbench_meta.cli.options import (
    as_json,
    counting,
    inference,
    options,
    output_folder,
    results,
    strict,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bigbench_meta.report.study import Study

__all__ = ["analyze"]


@click.command()
@options(results, counting)
@click.option(
    "--inference/--no-inference",
    default=True,
    show_default=True,
    help="Add intervals, tests against smooth improvement, forecasts, and what explains the flags. "
    "Takes most of the time.",
)
@options(inference, output_folder("tables, figures and report.html"), strict, as_json)
def analyze(
    results: tuple[Path, ...], out: Path | None, strict: bool, as_json: bool, **options: Any
) -> None:
    """Run the whole study: scores, uncertainty, tables, report.

    RESULTS are result files, folders of them, or a store. Without RESULTS the study runs on GPT-3's
    published results, which are included.

    \b
    Examples:
      bigbench-meta analyze --out study
      bigbench-meta analyze BIG-bench/bigbench/benchmark_tasks --out study --threshold 50
      bigbench-meta analyze store --n-examples bigbench --out study
      bigbench-meta analyze store --family "BIG-G T=0" --scale total_params --json
      bigbench-meta analyze --no-inference                 only scores, in seconds
      bigbench-meta analyze --exclude-known-issues=gpt3-piqa-contamination
    """
    prepare_folder(out)
    if out:
        from bigbench_meta.report.page import is_earlier_report

        is_earlier_report(out)  # a report of somebody else is refused before the work
    loaded, study = study_of(results, options)
    evidence = study.tables.get("evidence_summary")
    written: list[Path] = []
    if out:
        from bigbench_meta.report.page import write_study

        with console.progress("Writing") as progress:
            written = write_study(study, out, sources=loaded.sources, progress=progress)
    by_metric, by_type = study.tables["by_metric"], study.tables["by_metric_type"]
    n_other = len(study.scores) - len(study.counted)
    if as_json:
        console.print_json(
            study_document(study)
            | {
                "n_curves_of_other_level": n_other,
                "by_metric": console.records(by_metric.frame),
                "by_metric_type": console.records(by_type.frame),
                **_evidence_document(study),
                **loaded.document(study.known_issues, written),
            }
        )
    else:
        click.echo(f"{loaded.title}: {study.headline}")
        if n_other:
            click.echo(f"{n_other} curves of other levels are not counted (see --level).")
        console.print_table(by_metric)
        console.print_table(by_type)
        if evidence:
            click.echo(evidence.caption)
            console.print_table(evidence)
        click.echo(
            f"{len(written)} files written; open {(out / 'report.html').as_posix()}"
            if out
            else "No files written; --out FOLDER writes tables, figures and a report."
        )
    if evidence:
        tell_missing_intervals(study.counted, options)
    finish(loaded, study.known_issues, strict=strict, as_json=as_json)


def _evidence_document(study: Study) -> dict[str, Any]:
    if study.account is None:
        return {}
    from bigbench_meta.aggregate.emergence_criteria import evidence_summary

    return {
        "evidence": console.records(evidence_summary(study.counted, threshold=study.threshold)),
        "forecasts": console.records(study.tables["last_scale_forecasts"].frame),
        "estimates": console.records(study.account.estimates()),
        "limitations": study.account.limitations,
    }
