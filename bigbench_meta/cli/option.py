"""Options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "TABLE",
    "FloatRange",
    "as_json",
    "counting",
    "example_counts",
    "inference",
    "known_issues",
    "level",
    "options",
    "reading",
    "results",
    "scoring",
    "selection",
    "strict",
    "threshold",
]

# The names in schema.SCALE_AXES, which --help must not import.
SCALES = (
    "flop_matched_non_embedding_params", "non_embedding_params", "total_params", "train_flops",
    "train_tokens",
)  # fmt: skip


class FloatRange(click.FloatRange):
    """A range that NaN is not in."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or refuse NaN."""
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


_ENDINGS = (".csv", ".json", ".parquet")


class _TableFile(click.Path):
    """A file to write a table to. Its ending is looked at before the work, not behind it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix not in _ENDINGS:
            self.fail(f"{path}: ending not known: one of {', '.join(_ENDINGS)}", param, ctx)
        return path


TABLE = _TableFile(path_type=Path, dir_okay=False)
"""Type of the option -o."""


def options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that adds options to a command, in their order in its help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


results = click.argument("results", nargs=-1, type=click.Path(path_type=Path))
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
strict = click.option("--strict", is_flag=True, help="Exit with 1 if there was any problem.")
threshold = click.option(
    "--threshold",
    type=float,
    default=100.0,
    show_default=True,
    help="Flag curves with an emergence score above it. The paper states none.",
)
level = click.option(
    "--level",
    type=click.Choice(["task", "subtask", "all"]),
    default="task",
    show_default=True,
    help="Count a task's aggregate row, its subtasks, or both (which counts twice).",
)
reading = options(
    click.option(
        "--mapping",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="TOML file that maps the columns of wide tables to ours (docs/wide_tables.md).",
    ),
    click.option(
        "--names",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="CSV of rules from model names to families and sizes, before the packaged ones.",
    ),
    click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        default=1 << 30,
        show_default=True,
        help="Refuse a file that holds, or expands to, more.",
    ),
)
selection = options(
    click.option("--task", multiple=True, help="Only this task. May be given several times."),
    click.option("--metric", multiple=True, help="Only this metric. May be given several times."),
    click.option("--family", multiple=True, help="Only this model family. Likewise."),
)
scoring = options(
    click.option(
        "--scale",
        type=click.Choice(SCALES),
        help="What orders the models. By default the first of the first three that all models of "
        "a curve have.",
    ),
    click.option(
        "--min-scales",
        type=click.IntRange(min=2),
        default=3,
        show_default=True,
        help="Do not score curves with fewer points.",
    ),
    click.option(
        "--catalog",
        "catalog_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="CSV of metrics whose entries go before the packaged ones "
        "(columns metric, metric_type, higher_is_better, ...).",
    ),
)
example_counts = click.option(
    "--n-examples",
    "example_counts",
    metavar="N|FILE|bigbench",
    help="Examples behind scores that do not say how many: a number, a CSV file with columns "
    "task and n_examples, or bigbench for the sizes of BIG-bench's own test sets. Without "
    "them there are no intervals.",
)
inference = options(
    example_counts,
    click.option(
        "--with-samples",
        is_flag=True,
        help="Resample the examples in the store, where it has them, for the intervals.",
    ),
    click.option(
        "--replicates",
        type=click.IntRange(99, 1_000_000),
        help="Bootstrap replicates of intervals, and the most of a test. By default 999, and as "
        "many as a correction for the number of curves needs, up to 9,999; tests that are clear "
        "stop early.",
    ),
    click.option(
        "--variation",
        type=click.Choice(["both", "curve", "family"]),
        default="both",
        show_default=True,
        help="Where the smooth mechanism's variation between models comes from: each curve's own "
        "scatter (cautious, weak) or its model family's (stronger, assumes that tasks are alike).",
    ),
    click.option(
        "--largest-exponent",
        type=FloatRange(0, min_open=True),
        default=0.35,
        show_default=True,
        help="Steepest power law of the loss that counts as smooth; the default is the steepest "
        "published one (docs/nulls.md).",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of all resampling.",
    ),
)
known_issues = options(
    click.option(
        "--exclude-known-issues",
        "exclude",
        is_flag=False,
        flag_value="all",
        metavar="[ID,...]",
        help="Leave out scores with known issues: all, or those named after a = sign.",
    ),
    click.option(
        "--known-issues",
        "issues_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="CSV of known issues to use in place of the packaged ones (data/known_issues.csv).",
    ),
)
counting = options(reading, selection, threshold, level, scoring, known_issues)
"""Options of commands that count the curves of a level and their flags."""
