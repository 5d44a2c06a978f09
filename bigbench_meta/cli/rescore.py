"""``bigbench-meta rescore``: the same outputs, scored under other metrics."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import (
    as_json,
    execution,
    needed_results,
    options,
    output_file,
    read_options,
    reading,
    strict,
)
from bigbench_meta.cli.output import refuse_output, write_frame
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.core.execute import Execution
    from bigbench_meta.store.store import IngestSummary

__all__ = ["rescore"]


@click.command()
@needed_results
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    required=True,
    help="Metric to compute. Can be repeated. An unknown name lists them all.",
)
@click.option(
    "--store",
    "store_path",
    type=click.Path(file_okay=False),
    help="Keep samples and new scores in this store, which the other commands read.",
)
@click.option(
    "--tokens",
    type=click.Choice(["characters", "words", "digits"]),
    default="characters",
    show_default=True,
    help="What a token is, for edit distances and per-token accuracy.",
)
@click.option(
    "--by-length",
    is_flag=True,
    help="Score the answers of each length, in tokens, as a subtask of its own.",
)
@click.option(
    "--difficulty-by",
    metavar="MODEL",
    multiple=True,
    help="Sort problems into buckets by the share of this model's samples that are right, and "
    "score pass@K and mean_log_pass_rate in each, for all other models. Can be repeated.",
)
@click.option(
    "--buckets",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Number of buckets of --difficulty-by.",
)
@click.option("--task", multiple=True, help="Use only this task. Can be repeated.")
@click.option("--family", multiple=True, help="Use only this model family. Can be repeated.")
@options(reading, execution, output_file("the new scores"), strict, as_json)
def rescore(
    results: tuple[str, ...],
    metrics: tuple[str, ...],
    store_path: str | None,
    tokens: str,
    by_length: bool,
    difficulty_by: tuple[str, ...],
    buckets: int,
    task: tuple[str, ...],
    family: tuple[str, ...],
    execution: Execution,
    output: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Score the same outputs under other metrics.

    RESULTS are logs with single examples (BIG-bench full logs, samples_*.jsonl of
    lm-evaluation-harness, Inspect logs, tables samples*.parquet), folders of them, or a store that
    was filled with --samples. An example that lacks what a metric needs is reported and has no
    score.

    \b
    Metrics:
      of options   multiple_choice_grade, brier_score, normalized_log_likelihood,
                   correct_probability, calibration_multiple_choice_brier_score
      of texts     exact_str_match, token_edit_distance, per_token_accuracy, bleu, rouge1
      of several   pass@K, mean_log_pass_rate, subset_accuracy_K
      of the log   logged:NAME, the mean of a metric that the samples have under NAME
      cut          any mean at a threshold: correct_probability>=0.5

    \b
    Examples:
      bigbench-meta rescore logs/ --metric brier_score --metric exact_str_match --store store
      bigbench-meta rescore store --metric token_edit_distance --tokens digits --by-length
      bigbench-meta rescore logs/ --metric log_likelihood -o scores.csv
      bigbench-meta rescore store --metric "logged:mean_squared_error<=0.089"
      bigbench-meta rescore logs/ --metric mean_log_pass_rate --difficulty-by 125m
    """
    import tempfile

    from bigbench_meta.curves.units import unit_problems
    from bigbench_meta.metrics.pass_rates import DifficultyBuckets
    from bigbench_meta.metrics.rescore import Rescoring, new_scores
    from bigbench_meta.store.store import Store

    scoring = Rescoring(
        metrics,
        tokens=tokens,
        by_length=by_length,
        difficulty=DifficultyBuckets(models=difficulty_by, n_buckets=buckets)
        if difficulty_by
        else None,
    )
    read = read_options(options, samples=True)
    with ExitStack() as stack:
        given = len(results) == 1 and Store.is_store(results[0])
        if given and store_path is None:
            store = Store(results[0])
        elif store_path is not None:
            store = Store(store_path)
        else:
            store = Store(stack.enter_context(tempfile.TemporaryDirectory()))
        source, summary = store, None
        if given:
            source = Store(results[0])
        else:
            with console.progress("Reading") as progress:
                summary = store.ingest(
                    list(results), options=read, execution=execution, progress=progress
                )
        refuse_output(results, list(source.files()["label"]))
        selected = {"task": list(task) or None, "model_family": list(family) or None}
        with console.progress("Scoring") as progress:
            scoring.add_batches(
                source.sample_batches(scoring.columns, **selected),
                n_samples=int(source.files()["n_samples"].sum()),
                execution=execution,
                progress=progress,
            )
        scores, problems = scoring.result()
        if scores.empty:
            console.print_problems(problems)
            raise InputError(
                "no example could be scored" if len(problems) else "no samples",
                where=", ".join(results),
                hint="`bigbench-meta ingest --samples` reads single examples"
                if given and not len(problems)
                else None,
            )
        stated = source.reported(metric=sorted(scores["metric"].unique()))
        scores, differing = new_scores(scores, stated)
        if output:
            write_frame(scores, output)
        if given or store_path:
            store.keep(scores)
        _report(
            summary,
            scores,
            [problems, differing, unit_problems(scores)],
            difficulty_by,
            as_json=as_json,
            strict=strict,
        )


def _report(
    summary: IngestSummary | None,
    scores: pd.DataFrame,
    problems: list[pd.DataFrame],
    difficulty_by: tuple[str, ...],
    *,
    as_json: bool,
    strict: bool,
) -> None:
    import pandas as pd

    if summary is not None:
        problems = [summary.problems, *problems]
    found = pd.concat([one for one in problems if len(one)] or problems[:1], ignore_index=True)
    counts = {
        name: getattr(summary, name) if summary is not None else 0
        for name in ("files", "loaded", "unchanged", "failed")
    }
    if as_json:
        document = counts | {"observations": len(scores), "problems": console.records(found)}
        if difficulty_by:
            document["excluded_models"] = list(difficulty_by)
        console.print_json(document)
    else:
        from bigbench_meta.report.tables.table import Table

        columns = ("subtask", "metric", "model_name", "score", "stderr", "n_examples")
        most = console.MOST_ROWS
        console.print_table(
            Table(name="scores", caption="", frame=scores, columns=columns, most_rows=most)
        )
        click.echo(f"{counted(len(scores), 'new score')}.")
        if difficulty_by:
            click.echo(f"No scores by difficulty for {', '.join(difficulty_by)}: they define it.")
        console.print_problems(found)
    if strict and len(found):
        raise SystemExit(1)
