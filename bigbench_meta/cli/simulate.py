"""``bigbench-meta simulate``: the paper's mathematical model under every metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import as_json, options, output_folder, seed, threshold
from bigbench_meta.cli.output import prepare_folder, print_written, write_results
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.generate.simulation import Setting
    from bigbench_meta.report.tables.table import Table

__all__ = ["simulate"]

_MOST_NUMBERS = 1000
_RANGE = "N,...|LOW:HIGH:COUNT"


def _numbers(kind: type[int | float], *, form: str = "N,...") -> Callable[..., Any]:
    """Return a callback that reads a list of numbers, or low:high:count if the form has it."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
        try:
            if ":" in form and ":" in value:
                return _between(*value.split(":"))
            return tuple(map(kind, [] if value == "none" else value.split(",")))
        except (TypeError, ValueError):
            raise click.BadParameter(
                f"{value!r} is not of the form {form}", ctx=ctx, param=param
            ) from None

    return read


def _between(low_text: str, high_text: str, count_text: str) -> tuple[float, ...]:
    """Return numbers at equal ratios from low to high."""
    low, high, count = float(low_text), float(high_text), int(count_text)
    if not (0 < low < high < math.inf and 2 <= count <= _MOST_NUMBERS):
        raise ValueError(count_text)
    ratio = math.log(high / low) / (count - 1)
    return (*(low * math.exp(ratio * place) for place in range(count - 1)), high)


_models = options(
    click.option(
        "--alpha",
        type=float,
        default=-1.0,
        show_default=True,
        help="Exponent of the loss (N/c)^alpha, below 0. The paper gives no value; "
        "published scaling laws have -0.35 to 0 (docs/nulls.md).",
    ),
    click.option(
        "--c",
        type=float,
        default=1e10,
        show_default="1e10",
        help="Number of parameters at which the loss is 1 nat per token. The paper gives no value.",
    ),
    click.option(
        "--scales",
        callback=_numbers(float, form=_RANGE),
        metavar=_RANGE,
        default="1e9:1e11:8",
        show_default=True,
        help="Model sizes in parameters: a list, or COUNT sizes at equal ratios from LOW to HIGH.",
    ),
)
_tasks = options(
    click.option(
        "--length",
        "lengths",
        callback=_numbers(int),
        metavar="N,...",
        default="1,5,10,20,36",
        show_default=True,
        help="Target lengths in tokens, for exact match and edit distance; none: no such tasks.",
    ),
    click.option(
        "--choices",
        callback=_numbers(int),
        metavar="N,...",
        default="2,4",
        show_default=True,
        help="Numbers of choices, for multiple-choice grade and Brier score; none: no such tasks.",
    ),
    click.option(
        "--concentration",
        "concentrations",
        callback=_numbers(float),
        metavar="N,...",
        default="100",
        show_default=True,
        help="How similar the questions of a multiple-choice task are; inf: identical, as in the "
        "paper, where the grade is a step.",
    ),
    click.option(
        "--chance-floor",
        is_flag=True,
        help="Start the probability of the right choice out of K at 1/K instead of 0.",
    ),
    click.option("--rouge", is_flag=True, help="Add ROUGE-L-Sum on the grid of Fig. 9. Slower."),
)
_sampling = options(
    click.option("--expected", is_flag=True, help="Give expected scores. This is the default."),
    click.option(
        "--n-examples",
        type=click.IntRange(1, 1_000_000),
        help="Give scores of a random test set with this many examples instead of expected ones.",
    ),
    seed,
    click.option("--samples", is_flag=True, help="Also write every example, to samples.parquet."),
    click.option(
        "--n-scales",
        callback=_numbers(int),
        metavar="N,...",
        default="5,8,12",
        show_default=True,
        help="Also tabulate expected curves with these numbers of models at equal ratios over "
        "the range of --scales.",
    ),
)


@click.command()
@options(_models, _tasks, _sampling, threshold)
@options(output_folder("observations, tables and figures"), as_json)
def simulate(out: Path | None, as_json: bool, **options: Any) -> None:
    """Simulate smooth models and score them under every metric.

    Uses the mathematical model of Schaeffer et al. (2023), section 2: the per-token loss of a model
    with N parameters is the power law (N/c)^alpha, and a token is right with probability
    exp(-loss). The models improve smoothly, so an emergence score far above that of a straight line
    comes from the metric.

    With --out it writes observations.csv and .parquet, which the other commands read like any
    results, tables, and figures after the paper's Fig. 2 (A loss, B probability of a right token,
    C exact match, D multiple-choice grade, E token edit distance, F Brier score).

    \b
    Examples:
      bigbench-meta simulate
      bigbench-meta simulate --length 1,5,10 --choices none --scales 1e9:1e11:12 --out simulated
      bigbench-meta simulate --n-examples 100 --seed 1 --samples --out simulated
      bigbench-meta simulate --concentration 1,10,100,inf --length none --threshold 50
      bigbench-meta score simulated/observations.parquet
    """
    from bigbench_meta.curves.build import build_curves
    from bigbench_meta.inference.score import score_curves
    from bigbench_meta.report.tables.mirage import mechanism_table

    _check(out, options)
    prepare_folder(out)
    setting = _setting(options)
    observations = _observations(setting, options)
    scores = score_curves(build_curves(observations))
    mechanism = mechanism_table(
        n_scales=options["n_scales"],
        smallest=min(options["scales"]),
        largest=max(options["scales"]),
        threshold=options["threshold"],
        **_without_rouge(setting),
    )
    tables = _tables(scores, mechanism, options)
    written = _write(out, observations, tables, setting, options) if out else []
    if as_json:
        console.print_json(
            {name: options[name] for name in ("alpha", "c", "scales", "n_examples", "seed")}
            | {
                "expected": options["n_examples"] is None,
                "threshold": options["threshold"],
                "n_curves": len(scores),
                "curves": console.records(scores),
                "mechanism": console.records(mechanism),
                "outputs": [path.as_posix() for path in written],
            }
        )
        return
    for table in tables:
        console.print_table(table)
        click.echo(table.caption + "\n")
    print_written(written, out)
    if not out:
        click.echo("No files written; --out FOLDER writes observations, tables and figures.")


def _check(out: Path | None, options: dict[str, Any]) -> None:
    if options["expected"] and options["n_examples"] is not None:
        raise InputError("--expected and --n-examples cannot be combined")
    if options["samples"] and (options["n_examples"] is None or not out):
        raise InputError("--samples needs --n-examples and --out")
    if len(options["scales"]) < 2:
        raise InputError("a curve needs at least two models", where="--scales")


def _setting(options: dict[str, Any]) -> Setting:
    from bigbench_meta.generate.simulation import ROUGE_LENGTHS

    return {
        "alpha": options["alpha"],
        "c": options["c"],
        "target_lengths": options["lengths"],
        "n_choices": options["choices"],
        "concentrations": options["concentrations"],
        "chance_floor": options["chance_floor"],
        "rouge_lengths": ROUGE_LENGTHS if options["rouge"] else (),
    }


def _without_rouge(setting: Setting) -> Setting:
    """Return the setting without ROUGE, whose expected score has no closed form."""
    return {**setting, "rouge_lengths": ()}


def _observations(setting: Setting, options: dict[str, Any]) -> pd.DataFrame:
    from bigbench_meta.generate.simulation import simulate as run

    with console.progress("Simulating") as progress:
        return run(
            scales=options["scales"],
            n_examples=options["n_examples"],
            seed=options["seed"],
            progress=progress,
            **setting,
        )


def _tables(scores: pd.DataFrame, mechanism: pd.DataFrame, options: dict[str, Any]) -> list[Table]:
    from bigbench_meta.report.tables.mirage import mechanism_grid
    from bigbench_meta.report.tables.table import Table

    n = options["n_examples"]
    model = f"alpha = {options['alpha']:g}, c = {options['c']:g}"
    kind = "Expected scores" if n is None else f"Scores of {n:,} examples, seed {options['seed']},"
    return [
        Table(
            name="curve_scores",
            caption=f"{kind} of {len(options['scales'])} models, {model}.",
            frame=scores.sort_values("metric", kind="stable", key=_rank),
            columns=("metric", "task", "n_scales", "emergence_score", "relative_sharpness",
                     "resolution_limited_score", "status"),
            most_rows=len(scores),
        ),
        Table(
            name="mechanism",
            caption=(
                f"Emergence score E of expected scores of n models at equal ratios from "
                f"{min(options['scales']):g} to {max(options['scales']):g} parameters, {model}; "
                f"flagged at those n for which E is above {options['threshold']:g}."
            ),
            frame=mechanism_grid(mechanism),
            most_rows=len(mechanism) + 1,
        ),
    ]  # fmt: skip


def _rank(metrics: pd.Series[Any]) -> pd.Series[Any]:
    """Return the place of each metric in order of first appearance."""
    order = {metric: place for place, metric in enumerate(dict.fromkeys(metrics))}
    return metrics.astype(object).map(order)


def _write(
    out: Path,
    observations: pd.DataFrame,
    tables: list[Table],
    setting: Setting,
    options: dict[str, Any],
) -> list[Path]:
    from bigbench_meta.report.charts.mirage import plot_mirage
    from bigbench_meta.report.files import figure_files, table_files

    contents: dict[str, str | bytes] = {
        "observations.csv": csv_text(observations),
        "observations.parquet": observations.to_parquet(index=False),
    }
    for table in tables:
        contents |= table_files(table)
    figures = plot_mirage(_with_expected(observations, setting, options))
    with console.progress("Drawing") as progress:
        for number, figure in enumerate(figures):
            contents |= figure_files(figure)
            if progress:
                progress(number + 1, len(figures))
    if options["samples"]:
        contents["samples.parquet"] = _samples(setting, options)
    return write_results(out, contents)


def _with_expected(
    observations: pd.DataFrame, setting: Setting, options: dict[str, Any]
) -> pd.DataFrame:
    """Return sampled observations and the expected ones, which the figures draw as lines."""
    import pandas as pd

    from bigbench_meta.generate.simulation import simulate as run

    if options["n_examples"] is None:
        return observations
    expected = run(scales=options["scales"], **_without_rouge(setting))
    sampled = observations[observations["task"] != "next token"]
    return pd.concat([expected, sampled], ignore_index=True)


def _samples(setting: Setting, options: dict[str, Any]) -> bytes:
    import io

    import pyarrow.parquet as pq

    from bigbench_meta.generate.simulation import samples_table

    buffer = io.BytesIO()
    with console.progress("Sampling") as progress:
        table = samples_table(
            n_examples=options["n_examples"],
            scales=options["scales"],
            seed=options["seed"],
            progress=progress,
            **setting,
        )
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
