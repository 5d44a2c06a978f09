"""The command that asks what accounts for the flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console, option
from bigbench_meta.cli.load import (
    catalog,
    chosen_issues,
    finish,
    issues_document,
    load,
    prepare,
    tell_issues,
)
from bigbench_meta.core.text import shown

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.aggregate.attribution.account import Account, FlagModel
    from bigbench_meta.report.tables.table import Table

__all__ = ["accounts"]


@click.command()
@option.results
@option.counting
@click.option(
    "--sensitivity",
    "with_sensitivity",
    is_flag=True,
    help="Also change one choice at a time: threshold, axis, metric, family, a single scale, ... "
    "Some forty times as slow.",
)
@click.option(
    "-o",
    "--output",
    type=option.TABLE,
    help="Write every statistic, with --sensitivity under every choice, to this .csv, .parquet or "
    ".json file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write tables (CSV, Markdown, LaTeX), and with --sensitivity figures, into this folder.",
)
@option.options(option.strict, option.as_json)
def accounts(
    results: tuple[Path, ...],
    with_sensitivity: bool,
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Ask whether the metric accounts for the flagged curves.

    Compares metrics that are nonlinear or discontinuous in per-token error (sharp) with linear or
    continuous ones (smooth): over all curves, in regressions, and within matched sets of the same
    task, model family and shots. "by_task" intervals take tasks as the units, as curves of a task
    share its questions. What cannot be computed says why, and what cannot be concluded comes last.

    RESULTS are result files, folders of them, or a store; without any, the embedded GPT-3 results.

    \b
    Examples:
      bigbench-meta accounts                               what GPT-3's published results can say
      bigbench-meta accounts store --threshold 50 -o statistics.csv
      bigbench-meta accounts store --level subtask --json
      bigbench-meta accounts results/ --sensitivity --out accounts
    """
    from bigbench_meta.aggregate.attribution.account import account_for_flags
    from bigbench_meta.catalog.known_issues import check_known_issues
    from bigbench_meta.curves.build import build_curves
    from bigbench_meta.inference.score import score_curves
    from bigbench_meta.report.tables.attribution import account_tables, sensitivity_tables

    prepare(out)
    issues, exclude, results = chosen_issues(results, options)
    loaded = load(results, options)
    kept, findings = check_known_issues(loaded.observations, issues=issues, exclude=exclude)
    curves = build_curves(kept, scale=options["scale"], catalog=catalog(options))
    account = account_for_flags(
        score_curves(curves, min_scales=options["min_scales"]),
        threshold=options["threshold"],
        level=options["level"],
    )
    tables, varied = account_tables(account), None
    if with_sensitivity:
        varied = _sensitivity(loaded.observations, issues, exclude, options)
        tables += sensitivity_tables(varied)
    if output:
        console.write_frame(account.estimates() if varied is None else varied, output)
    written = _write(out, tables, varied) if out else []
    if as_json:
        console.print_json(
            _document(account, options)
            | _varied(varied)
            | {
                "n_problems": len(loaded.problems),
                "known_issues": issues_document(findings),
                "outputs": [path.as_posix() for path in written],
            }
        )
    else:
        _tell(account, tables, ", ".join(loaded.sources))
        console.print_problems(loaded.problems)
        if out:
            click.echo(f"{len(written)} files written into {out.as_posix()}.")
    tell_issues(findings)
    finish(loaded.problems, strict=strict)


def _sensitivity(
    observations: pd.DataFrame, issues: Any, exclude: Any, options: dict[str, Any]
) -> pd.DataFrame:
    from bigbench_meta.aggregate.attribution.sensitivity import sensitivity

    with console.progress("Varying") as progress:
        return sensitivity(
            observations,
            threshold=options["threshold"],
            level=options["level"],
            scale=options["scale"],
            min_scales=options["min_scales"],
            catalog=catalog(options),
            issues=issues,
            exclude_known_issues=exclude,
            progress=progress,
        )


def _tell(account: Account, tables: list[Table], sources: str) -> None:
    rows = account.rows
    left_out = ", ".join(f"{reason} {n}" for reason, n in rows.left_out.items())
    click.echo(
        f"{sources}: {len(rows.frame)} scored curves, {int(rows.frame['flagged'].sum())} of them "
        f"flagged (emergence score above {rows.threshold:g})"
        + (f"; without a score: {left_out}." if left_out else ".")
    )
    for table in tables:
        if table.name != "sensitivity" and len(table.frame):
            click.echo(f"\n{table.caption}")
            console.print_table(table)
    if account.limitations:
        click.echo("\nWhat cannot be concluded:")
    for sentence in account.limitations:
        click.echo(f"- {shown(sentence)}")


def _document(account: Account, options: dict[str, Any]) -> dict[str, Any]:
    frame = account.rows.frame
    return {
        "threshold": options["threshold"],
        "level": options["level"],
        "n_scored": len(frame),
        "n_flagged": int(frame["flagged"].sum()),
        "left_out": account.rows.left_out,
        "by_class": console.records(account.shares),
        "ratios": console.records(account.ratios),
        "models": [_model_document(model) for model in account.models],
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
        "model": model.name,
        "status": model.fit.status,
        "message": model.fit.message,
        "n": model.fit.n,
        "n_tasks": model.fit.n_clusters,
        "terms": console.records(terms) if model.fit.terms else [],
        "left_out": model.left_out,
        "dropped": model.dropped,
    }


def _varied(table: pd.DataFrame | None) -> dict[str, Any]:
    if table is None:
        return {}
    from bigbench_meta.aggregate.attribution.sensitivity import sensitivity_summary

    return {
        "sensitivity": console.records(table),
        "sensitivity_summary": console.records(sensitivity_summary(table)),
    }


def _write(out: Path, tables: list[Table], varied: pd.DataFrame | None) -> list[Path]:
    from bigbench_meta.report.outputs import figure_files, table_files, write_files

    contents: dict[str, str | bytes] = {}
    for table in tables:
        contents |= table_files(table)
    if varied is not None:
        from bigbench_meta.report.charts.attribution import plot_specifications

        drawn = varied[varied["estimate"].notna()]["statistic"].unique()
        for statistic in ("odds_ratio", "common_odds_ratio", "share_sharper"):
            if statistic in drawn:
                contents |= figure_files(plot_specifications(varied, statistic=statistic))
    with console.progress("Writing") as progress:
        return write_files(out, contents, progress=progress)
