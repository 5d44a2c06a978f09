"""``bigbench-meta score``: every curve with its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import (
    catalog,
    curves_of,
    finish,
    inference_settings,
    load,
    tell_doubts,
    tell_missing_intervals,
)
from bigbench_meta.cli.options import (
    as_json,
    embedded,
    example_counts,
    inference,
    known_issues,
    options,
    output_file,
    reading,
    results,
    scoring,
    selection,
    strict,
    threshold,
)
from bigbench_meta.cli.output import write_frame
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.cli.loading import Loaded
    from bigbench_meta.curves.build import Curves

__all__ = ["score"]


@click.command()
@options(results, embedded, reading, selection, scoring, known_issues)
@click.option(
    "--inference",
    is_flag=True,
    help="Add intervals, tests, shapes and forecasts. Tests are corrected for the number of "
    "curves.",
)
@click.option(
    "--signal-to-noise",
    is_flag=True,
    help="Add, for each task and metric, the spread of models of similar size over the noise of "
    "one model's last checkpoints or seeds (Heineman et al. 2025).",
)
@options(threshold, example_counts, inference, output_file("all columns"), strict, as_json)
def score(
    results: tuple[str, ...],
    inference: bool,
    signal_to_noise: bool,
    output: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Score how sharply each curve rises with model scale.

    Gives each curve its emergence score, linearity, relative sharpness and status.

    RESULTS are result files, folders of them, or a store; by default GPT-3's published results.

    \b
    Examples:
      bigbench-meta score store --metric exact_str_match
      bigbench-meta score results/ -o scores.parquet
      bigbench-meta score results/ --exclude-known-issues --json
      bigbench-meta score store --inference --n-examples bigbench -o scores.parquet
    """
    from bigbench_meta.inference.score import score_curves

    loaded = load(results, options)
    curves, findings = curves_of(loaded, options)
    with console.progress("Inference") as progress:
        scores = score_curves(
            curves,
            min_scales=options["min_scales"],
            inference=inference,
            threshold=options["threshold"],
            catalog=catalog(options),
            progress=progress if inference else None,
            **(inference_settings(loaded, options) if inference else {}),
        )
    ratios = _signal_to_noise(loaded, curves) if signal_to_noise else None
    if output:
        write_frame(scores, output)
    if as_json:
        console.print_json(
            {
                "n_curves": len(scores),
                "curves": console.records(scores),
            }
            | ({} if ratios is None else {"signal_to_noise": console.records(ratios)})
            | loaded.document(findings, curves.keys)
        )
    else:
        tell_doubts(curves.keys)
        _print_highest(scores, loaded.title, output)
        if ratios is not None:
            _print_ratios(ratios)
    if inference:
        tell_missing_intervals(scores, options)
    finish(loaded, findings, strict=strict, as_json=as_json)


def _signal_to_noise(loaded: Loaded, curves: Curves) -> pd.DataFrame:
    """Return the signal to noise of the tasks and metrics that have curves."""
    import pandas as pd

    from bigbench_meta.inference.signal_to_noise import signal_to_noise

    names = ["benchmark", "task", "subtask", "metric"]
    found = signal_to_noise(loaded.whole)
    has_curve = pd.MultiIndex.from_frame(curves.keys[names].astype(str).drop_duplicates())
    return found[pd.MultiIndex.from_frame(found[names].astype(str)).isin(has_curve)]


def _print_ratios(ratios: pd.DataFrame) -> None:
    from bigbench_meta.report.tables.table import Table

    known = ratios[ratios["status"] == "ok"]
    counts = ", ".join(f"{name} {n}" for name, n in ratios["status"].value_counts().items())
    click.echo(
        "\nSignal (spread of models of similar size) over noise (of one model's last checkpoints "
        f"or seeds), both relative to the mean: {counts}."
    )
    if len(known):
        console.print_table(
            Table(
                name="signal_to_noise",
                caption="",
                frame=known.sort_values("signal_to_noise", kind="stable"),
                columns=("subtask", "metric", "shots", "size_min", "size_max", "n_models", "signal",
                         "noise", "signal_to_noise"),
                most_rows=console.MOST_ROWS,
            )
        )  # fmt: skip


def _print_highest(scores: pd.DataFrame, title: str, output: Path | None) -> None:
    from bigbench_meta.report.tables.table import Table

    variants = ("variant",) if scores["variant"].notna().any() else ()
    evidence = ("emergence_low", "emergence_high", "line_q_bh", "mechanism_q_bh")
    console.print_table(
        Table(
            name="curve_scores",
            caption="",
            frame=scores.sort_values("emergence_score", ascending=False, kind="stable"),
            columns=("subtask", "metric", "model_family", "shots", *variants, "n_scales",
                     "emergence_score", *(name for name in evidence if name in scores),
                     "relative_sharpness", "status"),
            most_rows=console.MOST_ROWS,
        )
    )  # fmt: skip
    shown = (
        f"; the {console.MOST_ROWS} highest are shown" if len(scores) > console.MOST_ROWS else ""
    )
    every = f"All are in {output}." if output else "Use -o or --json for all columns of all curves."
    click.echo(f"{title}: {counted(len(scores), 'curve')}{shown}. {every}")
