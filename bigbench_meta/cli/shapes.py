"""``bigbench-meta shapes``: trend and best-fitting shape of every curve."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import (
    catalog,
    counted_curves,
    finish,
    level_of,
    load,
    tell_doubts,
)
from bigbench_meta.cli.options import (
    as_json,
    counting,
    criterion,
    execution,
    options,
    output_file,
    output_folder,
    results,
    strict,
)
from bigbench_meta.cli.output import prepare_folder, print_written, write_frame, write_results
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["shapes"]

# Sharp curves are printed first: they are what the user asks about.
_FIRST = ("breakthrough", "nonmonotonic", "noisy", "inverse", "trendless", "increasing")


@click.command()
@options(
    results,
    counting,
    criterion,
    execution,
    output_file("one row for each curve, with all columns,"),
    output_folder("tables (CSV, Markdown, LaTeX)"),
    strict,
    as_json,
)
def shapes(
    results: tuple[str, ...],
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Classify each curve by its trend and its best-fitting shape.

    Fits a constant, a line in log scale, a power law, a step, a logistic and a broken power law to
    every curve, weighs them by an information criterion, and classifies the curve as increasing,
    inverse, nonmonotonic, noisy, trendless or breakthrough. docs/shapes.md gives the rules.

    RESULTS are result files, folders of them, or a store; by default GPT-3's published results.

    \b
    Examples:
      bigbench-meta shapes
      bigbench-meta shapes store --metric exact_str_match --criterion aicc
      bigbench-meta shapes results/ -o shapes.csv --out tables --json
    """
    from bigbench_meta.inference.shapes.curve_shapes import curve_shapes
    from bigbench_meta.inference.shapes.trends import TREND_RULES
    from bigbench_meta.report.tables.shapes import shape_tables

    prepare_folder(out)
    loaded = load(results, options)
    curves, scores, findings = counted_curves(loaded, options)
    with console.progress("Fitting") as progress:
        frame = curve_shapes(
            curves,
            catalog=catalog(options),
            criterion=options["criterion"],
            execution=options["execution"],
            progress=progress,
        )
    frame = frame.assign(
        emergence_score=scores["emergence_score"].to_numpy(), flagged=scores["flagged"].to_numpy()
    )
    tables = shape_tables(frame)
    if output:
        write_frame(frame, output)
    written: list[Path] = []
    if out:
        from bigbench_meta.report.files import table_files

        files = [table_files(table) for table in tables]
        contents = {name: text for each in files for name, text in each.items()}
        written = write_results(out, contents, loaded.inputs)
    if as_json:
        console.print_json(
            {
                "n_curves": len(frame),
                "criterion": options["criterion"],
                "threshold": options["threshold"],
                "level": level_of(loaded, options),
                "rules": TREND_RULES,
                **{table.name: console.records(table.frame) for table in tables[:2]},
                "curves": console.records(frame),
                **loaded.document(findings, curves.keys, written),
            }
        )
    else:
        tell_doubts(curves.keys)
        _print(frame, loaded.title)
        print_written(written, out)
    finish(loaded, findings, strict=strict, as_json=as_json)


def _print(frame: pd.DataFrame, title: str) -> None:
    from bigbench_meta.report.tables.shapes import shape_tables

    rank = {name: place for place, name in enumerate(_FIRST)}
    order = frame["trend"].map(rank).fillna(len(rank)).to_numpy().argsort(kind="stable")
    by_trend, by_shape, curves = shape_tables(frame.iloc[order].reset_index(drop=True))
    for table in (by_trend, by_shape):
        click.echo(table.caption)
        console.print_table(table)
    console.print_table(replace(curves, most_rows=console.MOST_ROWS))
    more = (
        f" ({console.MOST_ROWS} shown, sharp ones first)" if len(frame) > console.MOST_ROWS else ""
    )
    click.echo(f"{title}: {counted(len(frame), 'curve')}{more}. Use -o or --json for all.")
