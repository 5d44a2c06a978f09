"""``bigbench-meta generate``: tasks to evaluate models on."""

from __future__ import annotations

from pathlib import Path

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import as_json, options, seed

__all__ = ["generate"]


@click.group()
def generate() -> None:
    """Generate tasks to evaluate your own models on.

    \b
    Examples:
      bigbench-meta generate lm-eval-tasks --out section3
      bigbench-meta generate lm-eval-tasks --help
    """


@generate.command("lm-eval-tasks")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to. Files of the same names are overwritten.",
)
@click.option(
    "--n",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="Questions for each length of the answer; all possible ones where there are fewer.",
)
@options(seed, as_json)
def lm_eval_tasks(out: Path, n: int, seed: int, as_json: bool) -> None:
    """Write the paper's arithmetic tasks for lm_eval.

    Section 3 of the paper as tasks for lm-evaluation-harness: 2-shot products of two 2-digit and
    sums of two 4-digit numbers, one task for each length of the right answer. Run lm_eval with
    --include_path and --log_samples on models of your choice. The README written with the tasks
    gives the command lines; docs/section3.md describes the analysis.

    \b
    Examples:
      bigbench-meta generate lm-eval-tasks --out section3
      bigbench-meta generate lm-eval-tasks --out section3 --n 200 --seed 1 --json
    """
    from dataclasses import asdict

    from bigbench_meta.generate.lm_eval_tasks import GROUP
    from bigbench_meta.generate.lm_eval_tasks import lm_eval_tasks as make
    from bigbench_meta.report.files import write_files

    tasks = make(n=n, seed=seed)
    written = write_files(out, tasks.files)
    sizes = [asdict(size) for size in tasks.sizes]
    if as_json:
        console.print_json(
            {
                "group": GROUP,
                "n": n,
                "seed": seed,
                "n_questions": sum(size.n_questions for size in tasks.sizes),
                "tasks": sizes,
                "outputs": [path.as_posix() for path in written],
            }
        )
        return

    import pandas as pd

    from bigbench_meta.report.tables.table import Table

    caption = (
        f"Questions asked, out of all possible ones that are not few-shot examples; seed "
        f"{seed}. Run them with lm_eval --include_path {out.as_posix()} --tasks {GROUP}."
    )
    frame = pd.DataFrame(sizes)[["task", "n_questions", "n_held_out"]]
    frame.columns = ["task", "questions", "held out"]
    console.print_table(Table(name="tasks", caption=caption, frame=frame))
    click.echo(caption + "\n")
    console.print_written(written, out)
