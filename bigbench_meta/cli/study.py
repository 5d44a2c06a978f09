"""Commands that answer the question: analyze, score, aggregate, claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console, option
from bigbench_meta.cli.load import (
    catalog,
    chosen_issues,
    finish,
    issues_document,
    load,
    load_kept,
    prepare,
    samples_of,
    tell_issues,
    with_counts,
)

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.cli.load import Loaded
    from bigbench_meta.report.study import Study

__all__ = ["aggregate", "analyze", "claims", "score"]

_MOST_CURVES = 20


@click.command()
@option.results
@option.counting
@click.option(
    "--inference/--no-inference",
    default=True,
    show_default=True,
    help="Say how sure the scores are: intervals, tests against smooth improvement, forecasts, and "
    "what accounts for the flags. Takes most of the time.",
)
@option.inference
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write tables, figures and report.html into this folder.",
)
@option.options(option.strict, option.as_json)
def analyze(
    results: tuple[Path, ...],
    out: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the whole study: scores, how sure they are, tables, figures, report.

    RESULTS are result files, folders of them, or a store. Without any, the study runs on GPT-3's
    published results, which come with this program.

    \b
    Examples:
      bigbench-meta analyze --out study
      bigbench-meta analyze BIG-bench/bigbench/benchmark_tasks --out study --threshold 50
      bigbench-meta analyze store --n-examples bigbench --out study
      bigbench-meta analyze store --family "BIG-G T=0" --scale total_params --json
      bigbench-meta analyze --no-inference                 scores alone, in seconds
      bigbench-meta analyze --exclude-known-issues=gpt3-piqa-contamination
    """
    prepare(out)
    if out:
        from bigbench_meta.report.page import is_earlier_report

        is_earlier_report(out)  # so that somebody's own report is refused before the work
    loaded, study = _study(results, options)
    evidence = study.tables.get("evidence_summary")
    written: list[Path] = []
    if out:
        from bigbench_meta.report.page import write_study

        with console.progress("Writing") as progress:
            written = write_study(study, out, sources=loaded.sources, progress=progress)
    by_metric = study.tables["by_metric"]
    if as_json:
        console.print_json(
            _counts(study, options)
            | {
                "n_curves_of_other_level": len(study.scores) - len(study.counted),
                "n_problems": len(loaded.problems),
                "by_metric": console.records(by_metric.frame),
                "by_metric_type": console.records(study.tables["by_metric_type"].frame),
                "known_issues": issues_document(study.known_issues),
                **_evidence_document(study),
                "outputs": [path.as_posix() for path in written],
            }
        )
    else:
        click.echo(f"{', '.join(loaded.sources)}: {study.headline}")
        if left_out := len(study.scores) - len(study.counted):
            click.echo(f"{left_out} curves of the other level are not counted (--level).")
        console.print_table(by_metric)
        console.print_table(study.tables["by_metric_type"])
        if evidence:
            click.echo(evidence.caption)
            console.print_table(evidence)
        console.print_problems(loaded.problems)
        click.echo(
            f"{len(written)} files written; open {(out / 'report.html').as_posix()}"
            if out
            else "Nothing was written. Name a folder with --out for tables, figures and a report."
        )
    tell_issues(study.known_issues)
    if evidence:
        _tell_unsure(study.counted, options)
    finish(loaded.problems, strict=strict)


def _evidence_document(study: Study) -> dict[str, Any]:
    if study.account is None:
        return {}
    from bigbench_meta.aggregate.emergence_criteria import evidence_summary

    return {
        "evidence": console.records(evidence_summary(study.counted, threshold=study.threshold)),
        "forecasts": console.records(study.tables["last_scale_forecasts"].frame),
        "estimates": console.records(study.account.estimates()),
        "limitations": study.account.limitations,
    }


def _tell_unsure(scores: pd.DataFrame, options: dict[str, Any]) -> None:
    """Say of how many curves nothing is known of the sampling error."""
    if options["with_samples"]:
        n = int((scores["noise"].astype(str) == "samples").sum())
        console.note(
            f"Examples were resampled for {n} of {len(scores)} curves: those whose models all have "
            "samples that agree with their scores."
        )
    if n := int((scores["interval_status"].astype(str) == "no_sampling_error").sum()):
        console.note(
            f"{n} of {len(scores)} curves have no interval: nothing tells how many examples are "
            "behind their scores, or these are no means over examples. See --n-examples."
        )


@click.command("score")
@option.results
@option.options(option.reading, option.selection, option.scoring, option.known_issues)
@click.option(
    "--inference",
    is_flag=True,
    help="Also intervals, tests, shapes and forecasts; tests are corrected for all these curves.",
)
@option.options(option.threshold, option.inference)
@click.option(
    "-o",
    "--output",
    type=option.TABLE,
    help="Write all columns to this .csv, .parquet or .json file.",
)
@option.options(option.strict, option.as_json)
def score(
    results: tuple[Path, ...],
    inference: bool,
    output: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Score every curve for emergence.

    Gives each its emergence score, linearity, sharpness and status.

    RESULTS are result files, folders of them, or a store; without any, the embedded GPT-3 results.

    \b
    Examples:
      bigbench-meta score store --metric exact_str_match
      bigbench-meta score results/ -o scores.parquet
      bigbench-meta score results/ --exclude-known-issues --json
      bigbench-meta score store --inference --n-examples bigbench -o scores.parquet
    """
    from bigbench_meta.curves.build import build_curves
    from bigbench_meta.inference.score import score_curves

    loaded, kept, findings = load_kept(results, options)
    metrics = catalog(options)
    curves = build_curves(with_counts(kept, options), scale=options["scale"], catalog=metrics)
    with console.progress("Inference") as progress:
        scores = score_curves(
            curves,
            min_scales=options["min_scales"],
            inference=inference,
            threshold=options["threshold"],
            n_boot=options["replicates"],
            seed=options["seed"],
            variation=options["variation"],
            alpha_range=(0.0, options["largest_exponent"]),
            samples=samples_of(loaded, options) if inference else None,
            catalog=metrics,
            progress=progress if inference else None,
        )
    document = {
        "n_curves": len(scores),
        "n_problems": len(loaded.problems),
        "curves": console.records(scores),
        "known_issues": issues_document(findings),
    }
    if output:
        console.write_frame(scores, output)
    if as_json:
        console.print_json(document)
    else:
        _tell_scores(scores, loaded, output)
        console.print_problems(loaded.problems)
    tell_issues(findings)
    if inference:
        _tell_unsure(scores, options)
    finish(loaded.problems, strict=strict)


def _tell_scores(scores: pd.DataFrame, loaded: Loaded, output: Path | None) -> None:
    """Print the curves with the highest scores, and where all of them are."""
    from bigbench_meta.report.tables.table import Table

    variants = ("variant",) if scores["variant"].notna().any() else ()
    evidence = ("emergence_low", "emergence_high", "line_q_bh", "mechanism_q_bh")
    console.print_table(
        Table(
            name="curve_scores",
            caption="",
            frame=scores.sort_values("emergence_score", ascending=False, kind="stable"),
            columns=("subtask", "metric", "model_family", "shots", *variants, "n_scales",
                     "emergence_score", *(name for name in evidence if name in scores),
                     "relative_sharpness", "status"),
            most_rows=_MOST_CURVES,
        )
    )  # fmt: skip
    more = len(scores) - _MOST_CURVES
    click.echo(
        f"{', '.join(loaded.sources)}: {len(scores)} curves"
        + (f", the highest {_MOST_CURVES} shown" if more > 0 else "")
        + (f"; all of them are in {output}." if output else ". Use -o or --json for all.")
    )


@click.command()
@option.results
@option.counting
@click.option(
    "--by",
    type=click.Choice(["metric", "metric_type"]),
    default="metric",
    show_default=True,
    help="What to tabulate.",
)
@click.option("--sweep", is_flag=True, help="One row a threshold instead of one a metric.")
@option.options(option.strict, option.as_json)
def aggregate(
    results: tuple[Path, ...],
    by: str,
    sweep: bool,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Tabulate which metrics the flagged curves belong to.

    RESULTS are result files, folders of them, or a store; without any, the embedded GPT-3 results.

    \b
    Examples:
      bigbench-meta aggregate store --by metric_type --threshold 50
      bigbench-meta aggregate store --sweep
    """
    loaded, study = _study(results, options)
    name = "threshold_sweep" if sweep else f"by_{by}"
    if as_json:
        console.print_json(
            _counts(study, options)
            | {
                "n_problems": len(loaded.problems),
                name: console.records(study.tables[name].frame),
                "known_issues": issues_document(study.known_issues),
            }
        )
    else:
        click.echo(f"{', '.join(loaded.sources)}: {study.headline}")
        console.print_table(study.tables[name])
        console.print_problems(loaded.problems)
    tell_issues(study.known_issues)
    finish(loaded.problems, strict=strict)


@click.command()
@click.option(
    "--scaling-class",
    multiple=True,
    help="Class of the annotation that counts as a claim. May be given several times. Default: "
    "the two emergent ones.",
)
@option.as_json
def claims(scaling_class: tuple[str, ...], as_json: bool) -> None:
    """Tabulate claims of emergence by metric.

    The claims are hand annotations: those of Wei et al. (2022), Appendix E, on BIG-bench. The
    preferred metrics are those of BIG-bench 1.0.0.

    \b
    Examples:
      bigbench-meta claims
      bigbench-meta claims --scaling-class emergent_palm --json
    """
    from bigbench_meta.aggregate.by_metric import EMERGENT_CLASSES, claims_by_metric, claims_summary
    from bigbench_meta.report.tables.study import claims_table

    frame = claims_by_metric(scaling_classes=scaling_class or EMERGENT_CLASSES)
    if as_json:
        console.print_json(claims_summary(frame) | {"by_metric": console.records(frame)})
        return
    table = claims_table(frame[frame["n_claims"] > 0])
    console.print_table(table)
    click.echo(table.caption)


def _study(results: tuple[Path, ...], options: dict[str, Any]) -> tuple[Loaded, Study]:
    """Run the study on what is named."""
    from bigbench_meta.report.study import run_study

    issues, exclude, results = chosen_issues(results, options)
    loaded = load(results, options)
    inference = options.get("inference", False)
    observations, more = loaded.observations, {}
    if inference:
        observations = with_counts(observations, options)
        more = {"n_boot": options["replicates"], "seed": options["seed"],
                "variation": options["variation"],
                "alpha_range": (0.0, options["largest_exponent"]),
                "samples": samples_of(loaded, options)}  # fmt: skip
    with console.progress("Inference") as progress:
        study = run_study(
            observations,
            loaded.problems,
            threshold=options["threshold"],
            level=options["level"],
            scale=options["scale"],
            min_scales=options["min_scales"],
            catalog=catalog(options),
            issues=issues,
            exclude_known_issues=exclude,
            inference=inference,
            progress=progress if inference else None,
            **more,
        )
    return loaded, study


def _counts(study: Study, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "n_curves": len(study.counted),
        "n_scored": study.n_scored,
        "n_flagged": study.n_flagged,
        "n_infinite": study.n_infinite,
        "threshold": options["threshold"],
        "level": options["level"],
    }
