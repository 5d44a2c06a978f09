"""``bigbench-meta metric-change``: the same outputs under two metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import (
    catalog,
    counted_curves,
    finish,
    load,
    of_each_set,
    samples_of,
    sets_to_study,
    tell_doubts,
)
from bigbench_meta.cli.options import (
    FloatRange,
    as_json,
    embedded,
    example_counts,
    execution,
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
from bigbench_meta.cli.output import prepare_folder, print_written, write_frame, write_results

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.aggregate.induce import Induced
    from bigbench_meta.catalog.known_issues import IssueFindings
    from bigbench_meta.cli.loading import Loaded
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.store.samples import StoredSamples

__all__ = ["metric_change"]


class _Comparison(NamedTuple):
    """What was read, its curves, their pairs, what known issues affect, and what is asked for."""

    loaded: Loaded
    curves: Curves
    pairs: pd.DataFrame
    findings: IssueFindings
    predictions: pd.DataFrame | None
    induced: Induced | None


_comparison = options(
    click.option(
        "--metric",
        "matters",
        help="Metric of interest. Compare only its pairs, and test whether the other metric on the "
        "smaller models predicts the largest model's score under it.",
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
    click.option(
        "--induce",
        is_flag=True,
        help="Also try every threshold on single examples (with --with-samples), every K where "
        "all of K must be right, and every choice of model sizes. Reports the sharpest choice and "
        "the share of choices above the cut (docs/induced_emergence.md).",
    ),
)


@click.command("metric-change")
@options(
    results,
    _comparison,
    example_counts,
    with_samples,
    seed,
    execution,
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
    results: tuple[str, ...],
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
      bigbench-meta metric-change store --with-samples --induce --out induced
      bigbench-meta metric-change results/ --n-examples bigbench --cut 3 -o pairs.csv
    """
    prepare_folder(out)
    selected = options | {"metric": ()}
    names = sets_to_study(results, selected)
    found = of_each_set(names, selected, _of_set) if names else [_compare(results, selected)]
    if output:
        write_frame(_joined(found), output)
    written = _write(out, found, options) if out else []
    if as_json:
        console.print_json(_document(found, options, written if out else None))
    else:
        for one in found:
            _print(one, options)
        print_written(written, out)
    for one in found:
        finish(one.loaded, one.findings, strict=strict, as_json=as_json)


def _compare(results: tuple[str, ...], options: dict[str, Any]) -> _Comparison:
    from bigbench_meta.aggregate.metric_change import metric_change as compare

    loaded = load(results, options)
    curves, _, findings = counted_curves(loaded, options)
    samples = samples_of(loaded, options)
    with console.progress("Comparing") as progress:
        pairs = compare(
            curves,
            samples=samples,
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
            execution=options["execution"],
            progress=progress,
        )
    predictions = _predictions(loaded, curves, pairs, options) if options["predictions"] else None
    induced = _induce(curves, samples, options) if options["induce"] else None
    return _Comparison(loaded, curves, pairs, findings, predictions, induced)


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


def _induce(curves: Curves, samples: StoredSamples | None, options: dict[str, Any]) -> Induced:
    from bigbench_meta.aggregate.induce import induced_emergence

    with console.progress("Inducing") as progress:
        return induced_emergence(
            curves,
            samples=samples,
            tokens=options["tokens"],
            threshold=options["threshold"],
            cut=options["cut"],
            seed=options["seed"],
            min_scales=options["min_scales"],
            catalog=catalog(options),
            progress=progress,
        )


def _of_set(options: dict[str, Any]) -> _Comparison:
    """Compare within an embedded set, if it has the metric that matters."""
    if options["matters"]:
        load((), options | {"metric": (options["matters"],)})
    return _compare((), options)


def _joined(found: list[_Comparison]) -> pd.DataFrame:
    """Return the pairs of all sets, with the name of the set where they are embedded."""
    import pandas as pd

    parts = [
        one.pairs.assign(set=one.loaded.embedded.name) if one.loaded.embedded else one.pairs
        for one in found
    ]
    return pd.concat([part.astype(_plain(part)) for part in parts], ignore_index=True)


def _plain(pairs: pd.DataFrame) -> dict[str, str]:
    """Return texts in place of categories, which differ between sets."""
    return {str(name): "string" for name in pairs if pairs[name].dtype == "category"}


def _sentences(one: _Comparison, options: dict[str, Any]) -> list[str]:
    from bigbench_meta.aggregate.induce import induced_sentences
    from bigbench_meta.aggregate.metric_change import change_sentence, forecast_sentence
    from bigbench_meta.aggregate.section3 import section3_sentences

    matters = options["matters"]
    forecast = [forecast_sentence(one.pairs, matters)] if matters and len(one.pairs) else []
    counted = [] if one.predictions is None else section3_sentences(one.predictions)
    induced = induced_sentences(one.induced.largest) if one.induced else []
    return [change_sentence(one.pairs), *forecast, *counted, *induced]


def _document(
    found: list[_Comparison], options: dict[str, Any], written: list[Path] | None
) -> dict[str, Any]:
    """Return the document: all pairs, and for embedded sets each by itself.

    At the top the numbers only count what ``pairs`` lists; sentences are of one set each.
    """
    from bigbench_meta.aggregate.metric_change import change_counts

    sets, summary = [], []
    for one in found:
        loaded, pairs = one.loaded, one.pairs
        sentences = _sentences(one, options)
        asked = {
            "predictions": one.predictions,
            "induced": one.induced.largest if one.induced else None,
        }
        more = {name: console.records(rows) for name, rows in asked.items() if rows is not None}
        own = more | loaded.document(one.findings, one.curves.keys)
        if entry := loaded.embedded:
            sets.append(
                {
                    "name": entry.name, "role": entry.role, "title": entry.title,
                    "n_pairs": len(pairs), "counts": change_counts(pairs),
                    "n_flagged": int(pairs["flagged"].sum()), "pairs": console.records(pairs),
                    "summary": sentences, **own,
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
        **(own if len(found) == 1 else {}),
        "n_problems": sum(len(one.loaded.problems) for one in found),
        **({} if written is None else {"outputs": [path.as_posix() for path in written]}),
    }


def _print(one: _Comparison, options: dict[str, Any]) -> None:
    from dataclasses import replace

    from bigbench_meta.report.tables.induce import induced_tables
    from bigbench_meta.report.tables.metric_change import metric_change_tables, predictions_table

    loaded, pairs, predictions = one.loaded, one.pairs, one.predictions
    tell_doubts(one.curves.keys)
    click.echo(f"{loaded.title}: {' '.join(_sentences(one, options))}")
    if loaded.embedded and loaded.embedded.caution:
        click.echo(loaded.embedded.caution)
    if len(pairs):
        every, verdicts = metric_change_tables(pairs)
        console.print_table(replace(every, most_rows=console.MOST_ROWS))
        given = verdicts.frame[verdicts.frame["n_pairs"] > 0]
        console.print_table(replace(verdicts, frame=given))
    if predictions is not None and len(predictions):
        console.print_table(predictions_table(predictions))
    if one.induced:
        sharpest, _ = induced_tables(one.induced)
        scored = sharpest.frame[sharpest.frame["induced_sharpness"].notna()]
        console.print_table(replace(sharpest, frame=scored, most_rows=console.MOST_ROWS))


def _write(out: Path, found: list[_Comparison], options: dict[str, Any]) -> list[Path]:
    """Write the tables and the figures, of several sets each in a folder of its own."""
    from bigbench_meta.aggregate.induce import CHOICES
    from bigbench_meta.report.charts.induce import plot_induced
    from bigbench_meta.report.charts.metric_change import plot_metric_change
    from bigbench_meta.report.files import figure_files, table_files
    from bigbench_meta.report.tables.induce import induced_tables
    from bigbench_meta.report.tables.metric_change import metric_change_tables, predictions_table

    contents: dict[str, str | bytes] = {}
    metrics, threshold = catalog(options), options["threshold"]
    for one in found:
        folder = f"{one.loaded.embedded.name}/" if one.loaded.embedded and len(found) > 1 else ""
        tables = metric_change_tables(one.pairs)
        figures = [plot_metric_change(one.curves, one.pairs, catalog=metrics)]
        if one.predictions is not None:
            tables.append(predictions_table(one.predictions))
        if one.induced:
            tables += induced_tables(one.induced)
            figures += [plot_induced(one.induced, name, threshold=threshold) for name in CHOICES]
        files: dict[str, str | bytes] = {}
        for table in tables:
            files |= table_files(table)
        for figure in filter(None, figures):
            files |= figure_files(figure)
        contents |= {folder + name: content for name, content in files.items()}
    inputs = {name: value for one in found for name, value in one.loaded.inputs.items()}
    return write_results(out, contents, inputs)
