"""The command that asks whether smaller models foretell larger ones."""

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

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.tables.table import Table

__all__ = ["forecast"]

# The names in forecast.FORECASTERS, which --help must not import.
FORECASTERS = (
    "mixture", "constant", "log_linear", "power_law", "step", "logistic", "broken_power_law",
    "log_pass_rate", "smooth_pair",
)  # fmt: skip
_DEFAULT = ("mixture", "log_pass_rate", "smooth_pair")
_MOST_CURVES = 10
_HOW_TO_READ = (
    "Coverage should be near {confidence:.0%}; skill is 1 for a forecast without error, 0 for one "
    "no nearer than the last fitted score (persistence), below 0 for a worse one; surprise is 1 "
    "bit where intervals tell the truth, and 10 bits are odds of 1 in 1,000."
)


def _fitted(ctx: click.Context, param: click.Parameter, value: str) -> str | int:
    if value in ("last", "every"):
        return value
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 10**9):
        message = f"{value!r} is not 'last', 'every' or a number of scales"
        raise click.BadParameter(message, ctx=ctx, param=param)
    return int(value)


_how = option.options(
    click.option(
        "--forecaster",
        "forecasters",
        type=click.Choice(FORECASTERS),
        multiple=True,
        default=_DEFAULT,
        show_default=True,
        help="mixture: six shapes by their weights; a shape alone; log_pass_rate: the GPT-4 "
        "report's rule; smooth_pair: a smooth metric of the same models through its link. May be "
        "given several times; the first is the one that curves are listed by.",
    ),
    click.option(
        "-k",
        "--fitted",
        "k",
        callback=_fitted,
        metavar="last|every|NUMBER",
        default="every",
        show_default=True,
        help="Smallest scales that are fitted: all but the last, every number that can be, or a "
        "number.",
    ),
    click.option(
        "--confidence",
        type=option.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Confidence of the forecast intervals.",
    ),
    click.option(
        "--criterion",
        type=click.Choice(["bic", "aicc"]),
        default="bic",
        show_default=True,
        help="Whose weights the mixture takes.",
    ),
    click.option(
        "--adjust",
        type=click.Choice(["none", "jeffreys"]),
        default="none",
        show_default=True,
        help="jeffreys: log_pass_rate takes (s + 1/2)/(n + 1) for s right of n, so that scores of "
        "0 have a logarithm.",
    ),
    click.option(
        "--length",
        type=option.FloatRange(min=0, min_open=True),
        help="smooth_pair: units (tokens, words, ...) of a target. By default found from the "
        "fitted scales.",
    ),
)


@click.command()
@option.results
@_how
@option.options(option.counting, option.example_counts)
@click.option(
    "-o",
    "--output",
    type=option.TABLE,
    help="Write every forecast, with all columns, to this .csv, .parquet or .json file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write tables (CSV, Markdown, LaTeX) and a figure of the least predictable curves into "
    "this folder.",
)
@option.options(option.strict, option.as_json)
def forecast(
    results: tuple[Path, ...],
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Forecast larger models from smaller ones, and say how wrong that was.

    Fits the smallest scales of every curve, forecasts all larger ones with an interval, and
    compares both with what was observed and with the forecast that nothing changes. An ability
    whose larger scales lie outside is unpredictable; whether that is due to the metric,
    smooth_pair tells where a smooth metric of the same models is among the results.

    RESULTS are result files, folders of them, or a store; without any, the embedded GPT-3 results.

    \b
    Examples:
      bigbench-meta forecast                               GPT-3: can smaller models tell?
      bigbench-meta forecast --task "arithmetic 3D+" -k last --adjust jeffreys
      bigbench-meta forecast store --n-examples bigbench -k last -o forecasts.parquet
      bigbench-meta forecast store --forecaster smooth_pair --forecaster mixture --json
      bigbench-meta forecast results/ --confidence 0.8 --out forecasts
    """
    prepare(out)
    loaded, kept, findings = load_kept(results, options)
    curves, made = _made(kept, options)
    tables = _tables(made)
    if output:
        console.write_frame(made, output)
    written = _write(out, tables, curves, made) if out else []
    if as_json:
        console.print_json(
            _document(made, tables, options)
            | {
                "n_curves": len(curves),
                "n_problems": len(loaded.problems),
                "known_issues": issues_document(findings),
                "outputs": [path.as_posix() for path in written],
                "forecasts": console.records(made),
            }
        )
    else:
        click.echo(
            f"{', '.join(loaded.sources)}: {len(curves)} curves, "
            f"{made['curve'].nunique()} of them with scales to forecast."
        )
        _tell(made, tables, options)
        console.print_problems(loaded.problems)
        if out:
            click.echo(f"{len(written)} files written into {out.as_posix()}.")
    tell_issues(findings)
    finish(loaded.problems, strict=strict)


def _made(observations: pd.DataFrame, options: dict[str, Any]) -> tuple[Curves, pd.DataFrame]:
    """Return the curves of the level, and their forecasts beside emergence scores."""
    import numpy as np

    from bigbench_meta.aggregate.by_metric import flagged, select_level
    from bigbench_meta.curves.build import build_curves
    from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
    from bigbench_meta.inference.score import score_curves

    metrics = catalog(options)
    curves = build_curves(
        with_counts(observations, options), scale=options["scale"], catalog=metrics
    )
    scores = select_level(score_curves(curves, min_scales=options["min_scales"]), options["level"])
    curves = curves.select(np.isin(np.arange(len(curves)), scores.index))
    with console.progress("Forecasting") as progress:
        made = forecast_curves(
            curves,
            k=options["k"],
            forecasters=tuple(dict.fromkeys(options["forecasters"])),
            level=options["confidence"],
            criterion=options["criterion"],
            adjust=options["adjust"],
            length=np.nan if options["length"] is None else options["length"],
            catalog=metrics,
            progress=progress,
        )
    rows = scores.iloc[made["curve"].to_numpy()]
    return curves, made.assign(
        emergence_score=rows["emergence_score"].to_numpy(),
        flagged=flagged(rows, options["threshold"]).to_numpy(),
    )


def _tables(made: pd.DataFrame) -> dict[str, Table]:
    from bigbench_meta.report.tables.forecast import forecast_tables

    return {table.name: table for table in forecast_tables(made)}


def _document(
    made: pd.DataFrame, tables: dict[str, Table], options: dict[str, Any]
) -> dict[str, Any]:
    names = ("k", "confidence", "criterion", "adjust", "length", "threshold", "level")
    status_of = {
        name: made["status"][made["forecaster"] == name] for name in options["forecasters"]
    }
    return {
        **{name: options[name] for name in names},
        "n_forecasts": len(made),
        "statuses": {name: of.value_counts().to_dict() for name, of in status_of.items()},
        "comparison": [],
        **{
            name.removeprefix("forecast_"): console.records(table.frame)
            for name, table in tables.items()
            if name != "forecasts"
        },
    }


def _tell(made: pd.DataFrame, tables: dict[str, Table], options: dict[str, Any]) -> None:
    from dataclasses import replace

    if made.empty:
        click.echo("No curve has a scale beyond those that are fitted.")
        return
    console.print_table(tables["forecast_summary"])
    click.echo(_HOW_TO_READ.format(confidence=options["confidence"]))
    shown = [tables["forecast_by_flag"]]
    if (compared := tables.get("forecast_comparison")) is not None:
        over_all = compared.frame[compared.frame["horizon"].isna()].drop(columns="horizon")
        brief = tuple(name for name in compared.brief or () if name != "horizon")
        shown.append(replace(compared, frame=over_all, brief=brief))
    shown.append(replace(tables["least_predictable"], most_rows=_MOST_CURVES))
    for table in shown:
        if len(table.frame):
            click.echo(f"\n{table.caption}")
            console.print_table(table)
    failed = made[made["forecast"].isna()]
    for name, rows in failed.groupby("forecaster", sort=False):
        reasons = ", ".join(f"{why} {n}" for why, n in rows["status"].value_counts().items())
        total = int((made["forecaster"] == name).sum())
        click.echo(f"No forecast by {name}: {len(rows)} of {total} ({reasons}).")


def _write(out: Path, tables: dict[str, Table], curves: Curves, made: pd.DataFrame) -> list[Path]:
    from bigbench_meta.report.outputs import figure_files, table_files, write_files

    contents: dict[str, str | bytes] = {}
    for table in tables.values():
        contents |= table_files(table)
    if len(tables["least_predictable"].frame):
        from bigbench_meta.report.charts.forecast import plot_forecasts

        contents |= figure_files(plot_forecasts(curves, made))
    with console.progress("Writing") as progress:
        return write_files(out, contents, progress=progress)
