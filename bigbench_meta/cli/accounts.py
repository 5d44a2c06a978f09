"""``bigbench-meta accounts``: does the choice of metric explain the flags?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import finish, load, study_options, tell_doubts
from bigbench_meta.cli.options import (
    as_json,
    counting,
    options,
    output_file,
    output_folder,
    results,
    strict,
)
from bigbench_meta.cli.output import prepare_folder, print_written, write_frame, write_results
from bigbench_meta.core.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.aggregate.attribution.account import Account
    from bigbench_meta.aggregate.attribution.regression import FlagModel
    from bigbench_meta.aggregate.by_metric import Level
    from bigbench_meta.cli.loading import Loaded
    from bigbench_meta.report.tables.table import Table

__all__ = ["accounts"]


@click.command()
@options(results, counting)
@click.option(
    "--sensitivity",
    "with_sensitivity",
    is_flag=True,
    help="Also repeat the analysis with one choice changed at a time: threshold, scale, metric, "
    "family, a single model size, ... Takes about forty times as long.",
)
@options(
    output_file("every statistic (with --sensitivity, under every choice)"),
    output_folder("tables (CSV, Markdown, LaTeX) and, with --sensitivity, figures"),
    strict,
    as_json,
)
def accounts(
    results: tuple[str, ...],
    with_sensitivity: bool,
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Test whether the choice of metric explains the flags.

    Compares metrics that are nonlinear or discontinuous in per-token error ("sharp") with linear or
    continuous ones ("smooth"): over all curves, in a regression, and within matched sets (same
    task, model family and shots). Intervals named "by_task" treat tasks as the units, because
    curves of one task share its questions. A statistic that cannot be computed gives the reason,
    and the output ends with the conclusions that the results do not support.

    RESULTS are result files, folders of them, or a store; by default GPT-3's published results.

    \b
    Examples:
      bigbench-meta accounts
      bigbench-meta accounts store --threshold 50 -o statistics.csv
      bigbench-meta accounts store --level subtask --json
      bigbench-meta accounts results/ --sensitivity --out accounts
    """
    from bigbench_meta.aggregate.attribution.account import account_for_flags
    from bigbench_meta.aggregate.attribution.sensitivity import sensitivity
    from bigbench_meta.aggregate.by_metric import select_level
    from bigbench_meta.report.tables.attribution import account_tables, sensitivity_tables

    prepare_folder(out)
    loaded = load(results, options)
    study = study_options(loaded, options)
    curves, findings = study.curves(loaded.observations)
    scores = study.scores(curves)
    keys = curves.keys.loc[select_level(scores, study.level).index]
    account = account_for_flags(scores, threshold=study.threshold, level=study.level)
    tables, varied = account_tables(account), None
    if with_sensitivity:
        with console.progress("Sensitivity") as progress:
            varied = sensitivity(loaded.whole, study, progress=progress)
        tables += sensitivity_tables(varied)
    if output:
        write_frame(account.estimates() if varied is None else varied, output)
    written = _write(out, tables, varied, loaded) if out else []
    if as_json:
        console.print_json(
            _document(account, study.level)
            | _sensitivity_document(varied)
            | loaded.document(findings, keys, written)
        )
    else:
        tell_doubts(keys)
        _print(account, tables, loaded.title)
        print_written(written, out)
    finish(loaded, findings, strict=strict, as_json=as_json)


def _print(account: Account, tables: list[Table], title: str) -> None:
    rows = account.rows
    left_out = ", ".join(f"{reason} {n}" for reason, n in rows.left_out.items())
    click.echo(
        f"{title}: {len(rows.frame)} scored curves, {int(rows.frame['flagged'].sum())} of them "
        f"flagged (emergence score above {rows.threshold:g})"
        + (f"; without a score: {left_out}." if left_out else ".")
    )
    for table in tables:
        if table.name != "sensitivity" and len(table.frame):
            click.echo(f"\n{table.caption}")
            console.print_table(table)
    if account.limitations:
        click.echo("\nWhat these results cannot show:")
    for sentence in account.limitations:
        click.echo(f"- {shown(sentence)}")


def _document(account: Account, level: Level) -> dict[str, Any]:
    frame = account.rows.frame
    return {
        "threshold": account.rows.threshold,
        "level": level,
        "n_scored": len(frame),
        "n_flagged": int(frame["flagged"].sum()),
        "left_out": account.rows.left_out,
        "by_class": console.records(account.shares),
        "ratios": console.records(account.ratios),
        "models": [_model_document(account.model)],
        "paired": {
            **account.pair_counts,
            "tests": console.records(account.paired),
            "by_metric": console.records(account.by_metric),
        },
        "limitations": account.limitations,
    }


def _model_document(model: FlagModel) -> dict[str, Any]:
    terms = model.to_frame()[["term", "odds_ratio", "low", "high", "p_value"]]
    return {
        "model": "gee",
        "status": model.fit.status,
        "message": model.fit.message,
        "n": model.fit.n,
        "n_tasks": model.fit.n_clusters,
        "terms": console.records(terms) if model.fit.terms else [],
        "left_out": model.left_out,
        "dropped": model.dropped,
    }


def _sensitivity_document(table: pd.DataFrame | None) -> dict[str, Any]:
    if table is None:
        return {}
    from bigbench_meta.aggregate.attribution.sensitivity import sensitivity_summary

    return {
        "sensitivity": console.records(table),
        "sensitivity_summary": console.records(sensitivity_summary(table)),
    }


def _write(
    out: Path, tables: list[Table], varied: pd.DataFrame | None, loaded: Loaded
) -> list[Path]:
    from bigbench_meta.report.files import figure_files, table_files

    contents: dict[str, str | bytes] = {}
    for table in tables:
        contents |= table_files(table)
    if varied is not None:
        from bigbench_meta.report.charts.specifications import plot_specifications

        drawn = varied[varied["estimate"].notna()]["statistic"].unique()
        for statistic in ("odds_ratio", "common_odds_ratio", "share_sharper"):
            if statistic in drawn:
                contents |= figure_files(plot_specifications(varied, statistic=statistic))
    return write_results(out, contents, loaded.inputs)
