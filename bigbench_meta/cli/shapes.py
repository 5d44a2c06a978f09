"""The command that names the shape and the trend of every curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console, option
from bigbench_meta.cli.load import (
    catalog,
    finish,
    issues_document,
    load_kept,
    prepare,
    tell_issues,
    with_counts,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["shapes"]

_MOST_ROWS = 20
# Sharp ones first: they are what is asked about.
_FIRST = ("breakthrough", "nonmonotonic", "noisy", "inverse", "trendless", "increasing")


@click.command()
@option.results
@option.options(option.counting, option.example_counts)
@click.option(
    "--criterion",
    type=click.Choice(["aicc", "bic"]),
    default="bic",
    show_default=True,
    help="What shapes are weighed by.",
)
@click.option(
    "-o",
    "--output",
    type=option.TABLE,
    help="Write a row a curve, with all columns, to this .csv, .parquet or .json file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write tables (CSV, Markdown, LaTeX) into this folder.",
)
@option.options(option.strict, option.as_json)
def shapes(
    results: tuple[Path, ...],
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Name the trend of every curve, and the shape that explains it best.

    Fits a constant, a line in log scale, a power law, a step, a logistic and a broken power law to
    every curve, weighs them, and sorts curves into increasing, inverse, nonmonotonic, noisy,
    trendless and breakthrough ones by rules that docs/shapes.md states.

    RESULTS are result files, folders of them, or a store; without any, the embedded GPT-3 results.

    \b
    Examples:
      bigbench-meta shapes                                 GPT-3: which curves break through?
      bigbench-meta shapes store --metric exact_str_match --criterion bic
      bigbench-meta shapes results/ -o shapes.csv --out tables --json
    """
    from bigbench_meta.inference.shapes.curve_shapes import TREND_RULES
    from bigbench_meta.report.tables.shapes import shape_tables

    prepare(out)
    loaded, kept, findings = load_kept(results, options)
    frame = _named(kept, options)
    tables = shape_tables(frame)
    if output:
        console.write_frame(frame, output)
    written: list[Path] = []
    if out:
        from bigbench_meta.report.outputs import table_files, write_files

        files = [table_files(table) for table in tables]
        written = write_files(out, {name: text for each in files for name, text in each.items()})
    if as_json:
        console.print_json(
            {
                "n_curves": len(frame),
                **{name: options[name] for name in ("criterion", "threshold", "level")},
                "rules": TREND_RULES,
                **{table.name: console.records(table.frame) for table in tables[:2]},
                "curves": console.records(frame),
                "n_problems": len(loaded.problems),
                "known_issues": issues_document(findings),
                "outputs": [path.as_posix() for path in written],
            }
        )
    else:
        _tell(frame, loaded.sources)
        console.print_problems(loaded.problems)
        if out:
            click.echo(f"{len(written)} files written into {out.as_posix()}.")
    tell_issues(findings)
    finish(loaded.problems, strict=strict)


def _named(observations: pd.DataFrame, options: dict[str, Any]) -> pd.DataFrame:
    """Return the shapes of the curves of the level, beside their emergence scores."""
    import numpy as np

    from bigbench_meta.aggregate.by_metric import flagged, select_level
    from bigbench_meta.curves.build import build_curves
    from bigbench_meta.inference.score import score_curves
    from bigbench_meta.inference.shapes.curve_shapes import curve_shapes

    metrics = catalog(options)
    curves = build_curves(
        with_counts(observations, options), scale=options["scale"], catalog=metrics
    )
    scores = select_level(score_curves(curves, min_scales=options["min_scales"]), options["level"])
    curves = curves.select(np.isin(np.arange(len(curves)), scores.index))
    with console.progress("Fitting") as progress:
        frame = curve_shapes(
            curves, catalog=metrics, criterion=options["criterion"], progress=progress
        )
    return frame.assign(
        emergence_score=scores["emergence_score"].to_numpy(),
        flagged=flagged(scores, options["threshold"]).to_numpy(),
    )


def _tell(frame: pd.DataFrame, sources: list[str]) -> None:
    from dataclasses import replace

    from bigbench_meta.report.tables.shapes import shape_tables

    rank = {name: place for place, name in enumerate(_FIRST)}
    order = frame["trend"].map(rank).fillna(len(rank)).to_numpy().argsort(kind="stable")
    by_trend, by_shape, curves = shape_tables(frame.iloc[order].reset_index(drop=True))
    for table in (by_trend, by_shape):
        click.echo(table.caption)
        console.print_table(table)
    console.print_table(replace(curves, most_rows=_MOST_ROWS))
    more = f" ({_MOST_ROWS} shown, sharp ones first)" if len(frame) > _MOST_ROWS else ""
    click.echo(f"{', '.join(sources)}: {len(frame)} curves{more}. Use -o or --json for all.")
