"""``bigbench-meta forecast``: do small models predict larger ones?"""

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
    FloatRange,
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

    from bigbench_meta.cli.loading import Loaded
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.tables.table import Table

__all__ = ["forecast"]

# The names in forecast.FORECASTERS, which --help must not import.
FORECASTERS = (
    "mixture", "mechanism", "constant", "log_linear", "power_law", "step", "logistic",
    "broken_power_law", "log_pass_rate", "smooth_pair",
)  # fmt: skip
DEFAULT_FORECASTERS = ("mixture", "log_pass_rate", "smooth_pair")
_MOST_CURVES = 10
_HOW_TO_READ = (
    "Coverage should be near {confidence:.0%}. Skill is 1 for a forecast without error, 0 for one "
    "as good as the last fitted score (persistence), and below 0 for a worse one. Not predictable: "
    "the interval covers more than half of what can be gained, or no fitted score is above "
    "guessing; such forecasts are left out of the coverage."
)


def _fitted(ctx: click.Context, param: click.Parameter, value: str) -> str | int:
    if value in ("last", "every"):
        return value
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 10**9):
        message = f"{value!r} is not 'last', 'every' or a number of model sizes"
        raise click.BadParameter(message, ctx=ctx, param=param)
    return int(value)


_method = options(
    click.option(
        "--forecaster",
        "forecasters",
        type=click.Choice(FORECASTERS),
        multiple=True,
        default=DEFAULT_FORECASTERS,
        show_default=True,
        help="mixture: smooth laws of the loss and six shapes together. mechanism: the smooth laws "
        "alone. Name of a shape: this shape alone. log_pass_rate: the rule of the GPT-4 report. "
        "smooth_pair: from a smooth metric of the same models. Can be repeated; curves are listed "
        "by the first one.",
    ),
    click.option(
        "-k",
        "--fitted",
        "k",
        callback=_fitted,
        metavar="last|every|NUMBER",
        default="every",
        show_default=True,
        help="Number of smallest models to fit: all but the largest (last), each possible number "
        "in turn (every), or this number.",
    ),
    click.option(
        "--confidence",
        type=FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Confidence level of the forecast intervals.",
    ),
    criterion,
    click.option(
        "--adjust",
        type=click.Choice(["none", "jeffreys"]),
        default="none",
        show_default=True,
        help="With jeffreys, log_pass_rate uses (s + 1/2)/(n + 1) for s right answers of n; where "
        "a fitted score is 0 or 1, which has no usable logarithm, it fits the counts instead.",
    ),
    click.option(
        "--length",
        type=FloatRange(min=0, min_open=True),
        help="Length of the target in tokens or words, for smooth_pair. Default: estimated from "
        "the fitted models.",
    ),
)


@click.command()
@options(
    results,
    _method,
    counting,
    execution,
    output_file("every forecast, with all columns,"),
    output_folder("tables (CSV, Markdown, LaTeX) and a figure of the least predictable curves"),
    strict,
    as_json,
)
def forecast(
    results: tuple[str, ...],
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Test whether small models predict the scores of larger ones.

    Fits the smallest models of every curve, forecasts the score of each larger model with an
    interval, and compares it with the observed score and with the forecast that nothing changes.
    A score outside the interval departs from what the smaller models predict; where the interval is
    too wide to predict anything, that is said instead. Where the results have a smooth metric of
    the same models, smooth_pair tests whether the metric is the reason.

    RESULTS are result files, folders of them, or a store; by default GPT-3's published results.

    \b
    Examples:
      bigbench-meta forecast
      bigbench-meta forecast --task "arithmetic 3D+" -k last --adjust jeffreys
      bigbench-meta forecast store --n-examples bigbench -k last -o forecasts.parquet
      bigbench-meta forecast store --forecaster smooth_pair --forecaster mixture --json
      bigbench-meta forecast results/ --confidence 0.8 --out forecasts
    """
    from bigbench_meta.report.tables.forecast import forecast_tables

    prepare_folder(out)
    loaded = load(results, options)
    curves, scores, findings = counted_curves(loaded, options)
    forecasts = _forecasts(curves, scores, options)
    tables = {table.name: table for table in forecast_tables(forecasts)}
    if output:
        write_frame(forecasts, output)
    written = _write(out, tables, curves, forecasts, loaded, options["confidence"]) if out else []
    if as_json:
        console.print_json(
            _document(forecasts, tables, options | {"level": level_of(loaded, options)})
            | {"n_curves": len(curves), "forecasts": console.records(forecasts)}
            | loaded.document(findings, curves.keys, written)
        )
    else:
        tell_doubts(curves.keys)
        click.echo(
            f"{loaded.title}: {counted(len(curves), 'curve')}, "
            f"{forecasts['curve'].nunique()} of them with larger models to forecast."
        )
        _print(forecasts, tables, options)
        print_written(written, out)
    finish(loaded, findings, strict=strict, as_json=as_json)


def _forecasts(curves: Curves, scores: pd.DataFrame, options: dict[str, Any]) -> pd.DataFrame:
    """Return the forecasts of the curves with their emergence scores."""
    import numpy as np

    from bigbench_meta.inference.forecast.forecast_curves import forecast_curves

    with console.progress("Forecasting") as progress:
        forecasts = forecast_curves(
            curves,
            k=options["k"],
            forecasters=tuple(dict.fromkeys(options["forecasters"])),
            level=options["confidence"],
            criterion=options["criterion"],
            adjust=options["adjust"],
            length=np.nan if options["length"] is None else options["length"],
            catalog=catalog(options),
            execution=options["execution"],
            progress=progress,
        )
    rows = scores.iloc[forecasts["curve"].to_numpy()]
    return forecasts.assign(
        emergence_score=rows["emergence_score"].to_numpy(), flagged=rows["flagged"].to_numpy()
    )


def _document(
    forecasts: pd.DataFrame, tables: dict[str, Table], options: dict[str, Any]
) -> dict[str, Any]:
    names = ("k", "confidence", "criterion", "adjust", "length", "threshold", "level")
    status_of = {
        name: forecasts["status"][forecasts["forecaster"] == name]
        for name in options["forecasters"]
    }
    return {
        **{name: options[name] for name in names},
        "n_forecasts": len(forecasts),
        "statuses": {name: of.value_counts().to_dict() for name, of in status_of.items()},
        "comparison": [],
        **{
            name.removeprefix("forecast_"): console.records(table.frame)
            for name, table in tables.items()
            if name != "forecasts"
        },
    }


def _print(forecasts: pd.DataFrame, tables: dict[str, Table], options: dict[str, Any]) -> None:
    if forecasts.empty:
        click.echo("No curve has a model larger than those that are fitted.")
        return
    console.print_table(tables["forecast_summary"])
    click.echo(_HOW_TO_READ.format(confidence=options["confidence"]))
    more = [tables["forecast_by_flag"]]
    if (compared := tables.get("forecast_comparison")) is not None:
        over_all = compared.frame[compared.frame["horizon"].isna()].drop(columns="horizon")
        brief = tuple(name for name in compared.brief or () if name != "horizon")
        more.append(replace(compared, frame=over_all, brief=brief))
    more.append(replace(tables["least_predictable"], most_rows=_MOST_CURVES))
    for table in more:
        if len(table.frame):
            click.echo(f"\n{table.caption}")
            console.print_table(table)
    failed = forecasts[forecasts["forecast"].isna()]
    for name, rows in failed.groupby("forecaster", sort=False):
        reasons = ", ".join(f"{why} {n}" for why, n in rows["status"].value_counts().items())
        total = int((forecasts["forecaster"] == name).sum())
        click.echo(f"No forecast by {name}: {len(rows)} of {total} ({reasons}).")


def _write(
    out: Path,
    tables: dict[str, Table],
    curves: Curves,
    forecasts: pd.DataFrame,
    loaded: Loaded,
    confidence: float,
) -> list[Path]:
    from bigbench_meta.report.files import figure_files, table_files

    contents: dict[str, str | bytes] = {}
    for table in tables.values():
        contents |= table_files(table)
    if len(tables["least_predictable"].frame):
        from bigbench_meta.report.charts.forecasts import plot_forecast_coverage, plot_forecasts

        contents |= figure_files(plot_forecasts(curves, forecasts))
        contents |= figure_files(plot_forecast_coverage(forecasts, confidence=confidence))
    return write_results(out, contents, loaded.inputs)
