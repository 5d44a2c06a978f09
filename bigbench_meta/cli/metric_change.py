"""``bigbench-meta metric-change``: the same outputs under two metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import (
    NothingSelectedError,
    catalog,
    counted_curves,
    finish,
    load,
    prepare_folder,
    samples_of,
    sets_to_study,
)
from bigbench_meta.cli.options import (
    FloatRange,
    as_json,
    embedded,
    example_counts,
    known_issues,
    options,
    output_file,
    output_folder,
    reading,
    results,
    scoring,
    seed,
    strict,
    with_samples,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.catalog.known_issues import IssueFindings
    from bigbench_meta.cli.loading import Loaded
    from bigbench_meta.curves.build import Curves

    # What was read, its curves, the pairs of them, the predictions of section 3 if they are asked
    # for, and what known issues affect.
    Comparison = tuple[Loaded, Curves, pd.DataFrame, pd.DataFrame | None, IssueFindings]

__all__ = ["metric_change"]

_comparison = options(
    click.option(
        "--metric",
        "matters",
        help="The metric that matters. Compare only its pairs, and test whether the other metric "
        "on the smaller models predicts it on the largest.",
    ),
    click.option("--task", multiple=True, help="Use only this task. Can be repeated."),
    click.option("--family", multiple=True, help="Use only this model family. Can be repeated."),
    click.option(
        "--threshold",
        type=FloatRange(0, min_open=True),
        default=100.0,
        show_default=True,
        help="Flag curves with a higher emergence score. The paper gives no threshold.",
    ),
    click.option(
        "--cut",
        type=FloatRange(0, min_open=True),
        help="Sharpness, E/(n-1), that separates the verdicts. Default: the threshold over n-1.",
    ),
    click.option(
        "--level",
        type=click.Choice(["task", "subtask", "all"]),
        default="subtask",
        show_default=True,
        help="Compare subtasks and tasks that have none, the aggregate score of each task, or all, "
        "which counts tasks with subtasks twice.",
    ),
    click.option(
        "--only-flagged", is_flag=True, help="Compare only pairs with at least one flagged curve."
    ),
    click.option(
        "--predictions",
        is_flag=True,
        help="Also count where the three predictions of the paper's section 3 hold: smooth under "
        "another metric, above chance with a larger test set, worse with longer answers.",
    ),
    click.option(
        "--confidence",
        type=FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Confidence level of the intervals.",
    ),
    click.option(
        "--tokens",
        type=click.Choice(["characters", "words", "digits"]),
        default="characters",
        show_default=True,
        help="What a token is, where --with-samples scores single examples again.",
    ),
    click.option(
        "--replicates",
        type=click.IntRange(99, 1_000_000),
        default=999,
        show_default=True,
        help="Resamples for each interval.",
    ),
)


@click.command("metric-change")
@options(
    results,
    _comparison,
    example_counts,
    with_samples,
    seed,
    scoring,
    embedded,
    reading,
    known_issues,
    output_file("every pair, with all columns,"),
    output_folder("tables (CSV, Markdown, LaTeX) and a figure of the pairs"),
    strict,
    as_json,
)
def metric_change(
    results: tuple[Path, ...],
    output: Path | None,
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare the same outputs under two metrics.

    For every task on which the same models were scored under two metrics: does a sharp rise under
    one metric persist under the other? Verdicts: evaporates, persists, weaker, sharper, cannot tell
    (the test set is too small), point values only (its size is unknown), same metric (in two
    units).

    RESULTS are result files, folders of them, or a store. Without RESULTS, compares the included
    published results, each set separately.

    \b
    Examples:
      bigbench-meta metric-change
      bigbench-meta metric-change --embedded paper --out change
      bigbench-meta metric-change store --with-samples --only-flagged
      bigbench-meta metric-change store --metric exact_str_match --json
      bigbench-meta metric-change store --predictions
      bigbench-meta metric-change results/ --n-examples bigbench --cut 3 -o pairs.csv
    """
    prepare_folder(out)
    selected = options | {"metric": ()}
    names = sets_to_study(results, selected)
    found = _of_sets(names, selected) if names else [_compare(results, selected)]
    if output:
        console.write_frame(_joined(found), output)
    written = _write(out, found) if out else []
    if as_json:
        console.print_json(_document(found, options, written if out else None))
    else:
        for loaded, _, pairs, predictions, _ in found:
            _print(loaded, pairs, predictions, options)
        console.print_written(written, out)
    for loaded, _, _, _, findings in found:
        finish(loaded, findings, strict=strict, as_json=as_json)


def _compare(results: tuple[Path, ...], options: dict[str, Any]) -> Comparison:
    from bigbench_meta.aggregate.metric_change import metric_change as compare

    loaded = load(results, options)
    curves, _, findings = counted_curves(loaded, options)
    with console.progress("Comparing") as progress:
        pairs = compare(
            curves,
            samples=samples_of(loaded, options),
            tokens=options["tokens"],
            metric=options["matters"],
            threshold=options["threshold"],
            cut=options["cut"],
            only_flagged=options["only_flagged"],
            level=options["confidence"],
            n_boot=options["replicates"],
            seed=options["seed"],
            min_scales=options["min_scales"],
            catalog=catalog(options),
            progress=progress,
        )
    predictions = _predictions(loaded, curves, pairs, options) if options["predictions"] else None
    return loaded, curves, pairs, predictions, findings


def _predictions(
    loaded: Loaded, curves: Curves, pairs: pd.DataFrame, options: dict[str, Any]
) -> pd.DataFrame:
    from bigbench_meta.aggregate.section3 import section3_predictions

    return section3_predictions(
        curves,
        pairs=pairs,
        reading_error=loaded.embedded.reading_error if loaded.embedded else 0.0,
        alpha=1 - options["confidence"],
        catalog=catalog(options),
    )


def _of_sets(names: tuple[str, ...], options: dict[str, Any]) -> list[Comparison]:
    """Compare within each embedded set that has what the options select."""
    found: list[Comparison] = []
    skipped: list[NothingSelectedError] = []
    for name in names:
        own = options | {"embedded": (name,)}
        try:
            if options["matters"]:
                load((), own | {"metric": (options["matters"],)})
            found.append(_compare((), own))
        except NothingSelectedError as error:
            skipped.append(error)
    if not found:
        raise skipped[0]
    for nothing in skipped:
        console.note(f"{nothing.where} is skipped: {nothing.message}.")
    return found


def _joined(found: list[Comparison]) -> pd.DataFrame:
    """Return the pairs of all sets, with the name of the set where they are embedded."""
    import pandas as pd

    parts = [
        pairs.assign(set=loaded.embedded.name) if loaded.embedded else pairs
        for loaded, _, pairs, _, _ in found
    ]
    return pd.concat([part.astype(_plain(part)) for part in parts], ignore_index=True)


def _plain(pairs: pd.DataFrame) -> dict[str, str]:
    """Return texts in place of categories, which differ between sets."""
    return {str(name): "string" for name in pairs if pairs[name].dtype == "category"}


def _sentences(
    pairs: pd.DataFrame, predictions: pd.DataFrame | None, options: dict[str, Any]
) -> list[str]:
    from bigbench_meta.aggregate.metric_change import change_sentence, forecast_sentence
    from bigbench_meta.aggregate.section3 import section3_sentences

    matters = options["matters"]
    forecast = [forecast_sentence(pairs, matters)] if matters and len(pairs) else []
    counted = [] if predictions is None else section3_sentences(predictions)
    return [change_sentence(pairs), *forecast, *counted]


def _document(
    found: list[Comparison], options: dict[str, Any], written: list[Path] | None
) -> dict[str, Any]:
    """Return the document: all pairs, and for embedded sets each by itself.

    At the top the numbers only count what ``pairs`` lists; sentences are of one set each.
    """
    from bigbench_meta.aggregate.metric_change import change_counts

    sets, summary = [], []
    for loaded, _, pairs, predictions, findings in found:
        sentences = _sentences(pairs, predictions, options)
        counted = {} if predictions is None else {"predictions": console.records(predictions)}
        if entry := loaded.embedded:
            sets.append(
                {
                    "name": entry.name, "role": entry.role, "title": entry.title,
                    "n_pairs": len(pairs), "counts": change_counts(pairs),
                    "n_flagged": int(pairs["flagged"].sum()), "pairs": console.records(pairs),
                    "summary": sentences, **counted, **loaded.document(findings),
                }
            )  # fmt: skip
            sentences = [f"{entry.title}: {sentence}" for sentence in sentences]
        summary += sentences
    every = _joined(found)
    names = {"metric": "matters", "threshold": "threshold", "cut": "cut", "level": "confidence"}
    return {
        "n_pairs": len(every),
        "counts": change_counts(every),
        "pairs": console.records(every),
        "summary": summary,
        **{name: options[source] for name, source in names.items()},
        **({"sets": sets} if sets else {}),
        **(counted | loaded.document(findings) if len(found) == 1 else {}),
        "n_problems": sum(len(loaded.problems) for loaded, *_ in found),
        **({} if written is None else {"outputs": [path.as_posix() for path in written]}),
    }


def _print(
    loaded: Loaded, pairs: pd.DataFrame, predictions: pd.DataFrame | None, options: dict[str, Any]
) -> None:
    from dataclasses import replace

    from bigbench_meta.report.tables.metric_change import metric_change_tables, predictions_table

    click.echo(f"{loaded.title}: {' '.join(_sentences(pairs, predictions, options))}")
    if loaded.embedded and loaded.embedded.role == "illustration":
        click.echo("An illustration: its curves were chosen to show the effect.")
    if len(pairs):
        every, verdicts = metric_change_tables(pairs)
        console.print_table(replace(every, most_rows=console.MOST_ROWS))
        given = verdicts.frame[verdicts.frame["n_pairs"] > 0]
        console.print_table(replace(verdicts, frame=given))
    if predictions is not None and len(predictions):
        console.print_table(predictions_table(predictions))


def _write(out: Path, found: list[Comparison]) -> list[Path]:
    """Write the tables and the figure, of several sets each in a folder of its own."""
    from bigbench_meta.report.charts.metric_change import plot_metric_change
    from bigbench_meta.report.files import figure_files, table_files, write_files
    from bigbench_meta.report.tables.metric_change import metric_change_tables, predictions_table

    contents: dict[str, str | bytes] = {}
    for loaded, curves, pairs, predictions, _ in found:
        folder = f"{loaded.embedded.name}/" if loaded.embedded and len(found) > 1 else ""
        files: dict[str, str | bytes] = {}
        for table in metric_change_tables(pairs):
            files |= table_files(table)
        if predictions is not None:
            files |= table_files(predictions_table(predictions))
        if figure := plot_metric_change(curves, pairs):
            files |= figure_files(figure)
        contents |= {folder + name: content for name, content in files.items()}
    with console.progress("Writing") as progress:
        return write_files(out, contents, progress=progress)
