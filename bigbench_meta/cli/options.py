"""Options and arguments shared by several commands."""

from __future__ import annotations

import os
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.catalog.embedded import STUDIED_SETS
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from bigbench_meta.readers import ReadOptions

__all__ = [
    "SCALES",
    "FloatRange",
    "as_json",
    "config",
    "counting",
    "criterion",
    "embedded",
    "example_counts",
    "execution",
    "inference",
    "known_issues",
    "needed_results",
    "options",
    "output_file",
    "output_folder",
    "read_options",
    "reading",
    "results",
    "scoring",
    "seed",
    "selection",
    "strict",
    "threshold",
    "with_samples",
]

# The names of schema.SCALE_AXES, which --help must not import.
SCALES = (
    "flop_matched_non_embedding_params", "non_embedding_params", "total_params", "train_flops",
    "train_tokens", "pretraining_loss",
)  # fmt: skip


def options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that adds options to a command, in their order in its help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class FloatRange(click.FloatRange):
    """A range of numbers that refuses NaN."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or refuse NaN."""
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class _TableFile(click.Path):
    """A file to write a table to; a wrong ending is refused before the work begins."""

    _ENDINGS = (".csv", ".json", ".parquet")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix not in self._ENDINGS:
            self.fail(f"{path}: unknown ending, use {', '.join(self._ENDINGS)}", param, ctx)
        return path


def output_file(content: str) -> Callable[..., Any]:
    """Return the option ``-o`` of a command that can write ``content`` to a file."""
    return click.option(
        "-o",
        "--output",
        type=_TableFile(path_type=Path, dir_okay=False),
        help=f"Write {content} to this .csv, .parquet or .json file. An existing file is replaced "
        "only if it is such a table.",
    )


def output_folder(content: str) -> Callable[..., Any]:
    """Return the option ``--out`` of a command that can write ``content`` into a folder."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Write {content} into this folder.",
    )


def _listed(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Return RESULTS with a dash replaced by the lines of standard input."""
    named: list[str] = []
    for path in given:
        named += sys.stdin.read().splitlines() if path == "-" else [path]
    if given and not (named := [path for path in named if path.strip()]):
        raise InputError("standard input names no results", where="-")
    return tuple(named)


def _configured(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Take what a file says of options as their defaults."""
    if path is None:
        return None
    import json
    import tomllib

    from bigbench_meta.catalog.published import read_bounded

    text = read_bounded(path)
    try:
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    if path.suffix == ".json":
        document = document.get("options") if isinstance(document, dict) else None
    if not isinstance(document, dict):
        raise InputError(
            "no options in it", where=str(path), hint="a TOML file, or run.json of a study"
        )
    known = {
        name.lstrip("-"): other.name
        for other in context.command.params
        for name in other.opts
        if other is not parameter
    }
    for name in document:
        if name not in known:
            raise InputError(
                f"{name!r} is not an option", where=str(path),
                hint=did_you_mean(name, known) or f"options are {', '.join(known)}",
            )  # fmt: skip
    given = {known[name]: value for name, value in document.items() if value not in (None, [])}
    context.default_map = {**(context.default_map or {}), **given}
    return path


config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_configured,
    help="Take RESULTS and options from a TOML file (threshold = 50), or from run.json of an "
    "earlier study, to repeat it. Options on the command line take precedence.",
)
results = click.argument("results", nargs=-1, callback=_listed)
needed_results = click.argument("results", nargs=-1, required=True, callback=_listed)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
strict = click.option("--strict", is_flag=True, help="Exit with code 1 if there were problems.")
seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Random seed.",
)
threshold = click.option(
    "--threshold",
    type=float,
    default=100.0,
    show_default=True,
    help="Flag curves with a higher emergence score. The paper gives no threshold.",
)
reading = options(
    click.option(
        "--mapping",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="TOML file that says what the columns of a wide table mean (docs/wide_tables.md).",
    ),
    click.option(
        "--names",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="CSV of rules that read the family and size from a model's name; tried before the "
        "packaged rules.",
    ),
    click.option(
        "--path",
        "path_pattern",
        metavar="PATTERN",
        help="Columns to read from the path of each file: '{variant}/{model}-{shots}shot*.json'. "
        "They override the values in the file (docs/reading.md).",
    ),
    click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        default=1 << 30,
        show_default=True,
        help="Refuse files larger than this, before or after decompression, and those that would "
        "take more than twice as much memory.",
    ),
)


def read_options(given: dict[str, Any], *, samples: bool) -> ReadOptions:
    """Return what :data:`reading` says of how files are read into a store."""
    from bigbench_meta.readers import ReadOptions

    return ReadOptions(
        samples=samples, max_bytes=given["max_bytes"], mapping=given["mapping"],
        names=given["names"], path=given["path_pattern"],
    )  # fmt: skip


embedded = click.option(
    "--embedded",
    type=click.Choice([*STUDIED_SETS, "trained"]),
    multiple=True,
    help="Packaged results to use in place of RESULTS: lamda (BIG-bench, LaMDA at 12 sizes), gpt3 "
    "(GPT-3, 8 sizes; the default), paper (the figures of Schaeffer et al. 2023) or trained (the "
    "families of `generate`). `analyze` takes several and studies each separately.",
)
selection = options(
    click.option("--task", multiple=True, help="Use only this task. Can be repeated."),
    click.option("--metric", multiple=True, help="Use only this metric. Can be repeated."),
    click.option("--family", multiple=True, help="Use only this model family. Can be repeated."),
)
scoring = options(
    click.option(
        "--scale",
        type=click.Choice(SCALES),
        help="Size by which models are ordered; pretraining_loss from high to low. Default: the "
        "first of the three parameter counts that is known for all models of the curve.",
    ),
    click.option(
        "--checkpoint",
        default="all",
        show_default=True,
        metavar="all|last|NAME",
        help="Training checkpoint to use for each model. With all, each checkpoint that was scored "
        "gets a curve of its own.",
    ),
    click.option(
        "--min-scales",
        type=click.IntRange(min=2),
        default=3,
        show_default=True,
        help="Score only curves with at least this many model sizes.",
    ),
    click.option(
        "--catalog",
        "catalog_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="CSV of metrics (columns metric, metric_type, higher_is_better, ...) that overrides "
        "entries of the packaged catalog.",
    ),
)
example_counts = click.option(
    "--n-examples",
    "example_counts",
    multiple=True,
    metavar="N|FILE|bigbench",
    help="Number of test examples, for scores whose files do not give it: a number, a CSV file "
    "with columns task and n_examples, or bigbench for the sizes of BIG-bench's own test sets. "
    "Intervals need this number; one that the scores contradict is not used. Can be repeated: "
    "a later one applies only to scores that earlier ones do not cover.",
)
with_samples = click.option(
    "--with-samples",
    is_flag=True,
    help="Compute intervals by resampling single examples, where the store has them.",
)


def execution(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that spread the work, which reach the command as ``execution``."""

    @wraps(command)
    def spread(*arguments: Any, jobs: int | None, cluster: str | None, **options: Any) -> Any:
        # Imports pyarrow, which --help does without.
        from bigbench_meta.core.execute import Execution

        return command(*arguments, execution=Execution(jobs=jobs, cluster=cluster), **options)

    decorate = options(
        click.option(
            "--jobs",
            type=click.IntRange(1),
            help="Number of processes; results do not depend on it.  [default: all processors, "
            "where there is enough to do]",
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS|local",
            help="Use the workers of a Dask cluster, given by the address of its scheduler "
            "(tcp://HOST:8786), or of one on this machine with --jobs workers; results do not "
            "depend on it. Needs bigbench-meta[cluster] (docs/how_to/cluster.md).",
        ),
    )
    decorated: Callable[..., Any] = decorate(spread)
    return decorated


inference = options(
    with_samples,
    click.option(
        "--replicates",
        type=click.IntRange(99, 1_000_000),
        help="Resamples for each interval, and the maximum for each test. Default: 999, or as many "
        "as the correction for the number of curves needs, up to 9,999. Tests stop early once the "
        "result is clear.",
    ),
    click.option(
        "--variation",
        type=click.Choice(["both", "curve", "family"]),
        default="both",
        show_default=True,
        help="How to estimate the variation of models around the smooth mechanism: from each "
        "curve alone (cautious, little power), from the other curves of the model family (more "
        "power, but assumes the same scatter on this curve as on those), or both ways.",
    ),
    click.option(
        "--largest-exponent",
        type=FloatRange(0, min_open=True),
        default=0.35,
        show_default=True,
        help="Steepest power law of the loss that counts as smooth. The default is the steepest "
        "published one (docs/nulls.md).",
    ),
    seed,
    execution,
)
criterion = click.option(
    "--criterion",
    type=click.Choice(["bic", "aicc"]),
    default="bic",
    show_default=True,
    help="Information criterion that weighs the shapes.",
)
known_issues = options(
    click.option(
        "--exclude-known-issues",
        "exclude",
        is_flag=False,
        flag_value="all",
        metavar="[ID,...]",
        help="Exclude scores with known issues: all, or those with the IDs after an = sign.",
    ),
    click.option(
        "--known-issues",
        "issues_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="CSV of known issues to use instead of the packaged one (data/known_issues.csv).",
    ),
)
_level = click.option(
    "--level",
    type=click.Choice(["task", "subtask", "all"]),
    help="Count the aggregate score of each task, the scores of its subtasks, or all, which "
    "counts tasks with subtasks twice. Default: task; subtask for the figures of the paper.",
)
counting = options(
    embedded, reading, selection, threshold, _level, scoring, example_counts, known_issues
)
"""Options of commands that count curves and flags."""
