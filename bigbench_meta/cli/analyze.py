"""``bigbench-meta analyze``: the whole study."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import (
    finish,
    of_each_set,
    sets_to_study,
    study_document,
    study_of,
    tell_missing_intervals,
)
from bigbench_meta.cli.options import (
    as_json,
    config,
    counting,
    inference,
    options,
    output_folder,
    results,
    strict,
)
from bigbench_meta.cli.output import prepare_folder, write_results
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.cli.loading import Loaded
    from bigbench_meta.report.study import Study

__all__ = ["analyze"]

# Folder in --out with the chunks that are finished while the study is not.
_UNFINISHED: Final = ".unfinished"
# As :mod:`bigbench_meta.core.execute` names them.
_CHUNK: Final = re.compile(r"[0-9a-f]{32}\.(arrow|part)")


@click.command()
@options(results, counting)
@click.option(
    "--inference/--no-inference",
    default=True,
    show_default=True,
    help="Add intervals, tests against smooth improvement, forecasts, the same outputs under "
    "another metric, and what explains the flags. Takes most of the time.",
)
@click.option(
    "--yardstick",
    type=click.Choice(["quick", "full", "none"]),
    default="quick",
    show_default=True,
    help="Simulate the study with model families that improve smoothly, and count what would be "
    "found: quick counts the flagged curves; full repeats the whole inference on 99 simulated "
    "studies, which takes about 300 times as long as the inference.",
)
@options(inference, output_folder("tables, figures and report.html"), config, strict, as_json)
def analyze(
    results: tuple[str, ...], out: Path | None, strict: bool, as_json: bool, **options: Any
) -> None:
    """Run the whole study: scores, uncertainty, tables, report.

    RESULTS are result files, folders of them, or a store. Without RESULTS, analyzes the included
    published results, each set separately: BIG-bench on LaMDA, GPT-3's results, and the figures of
    Schaeffer et al. (2023). Sets are never pooled.

    \b
    Examples:
      bigbench-meta analyze --out study
      bigbench-meta analyze --embedded lamda --out study
      bigbench-meta analyze BIG-bench/bigbench/benchmark_tasks --out study --threshold 50
      bigbench-meta analyze store --n-examples bigbench --out study
      bigbench-meta analyze store --family "BIG-G T=0" --scale total_params --json
      bigbench-meta analyze --no-inference                 only scores, in seconds
      bigbench-meta analyze --config study/run.json --out again
      bigbench-meta analyze --exclude-known-issues=gpt3-piqa-contamination

    If a run with --out was stopped, running it again computes only what is missing.
    """
    from bigbench_meta.core.execute import kept_workers

    prepare_folder(out, sure="report.html")
    if out:
        options["execution"] = replace(options["execution"], keep=out / _UNFINISHED)
    names = sets_to_study(results, options)
    with kept_workers():
        if len(names) > 1:
            studies = of_each_set(names, options, lambda own: study_of((), own))
        else:
            studies = [study_of(results, options | {"embedded": names} if names else options)]
        written = _write(studies, out, options, several=len(names) > 1) if out else []
    if out:
        _forget(out / _UNFINISHED)
    if as_json:
        console.print_json(_document(studies, written, several=len(names) > 1))
    else:
        for loaded, study in studies:
            _print(loaded, study)
        click.echo(
            f"{counted(len(written), 'file')} written; open {(out / 'report.html').as_posix()}"
            if out
            else "No files written; --out FOLDER writes tables, figures and a report."
        )
    for loaded, study in studies:
        if "evidence_summary" in study.tables:
            tell_missing_intervals(study.counted, options)
        finish(loaded, study.known_issues, strict=strict, as_json=as_json)


def _forget(folder: Path) -> None:
    """Delete the finished chunks of a study that is written."""
    if folder.is_dir():
        for file in folder.iterdir():
            if _CHUNK.fullmatch(file.name):
                file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _write(
    studies: list[tuple[Loaded, Study]], out: Path, options: dict[str, Any], *, several: bool
) -> list[Path]:
    from bigbench_meta.inference.chunks import INFERENCE_COST
    from bigbench_meta.report.page import studies_files, study_files

    inputs = {name: value for loaded, _ in studies for name, value in loaded.inputs.items()}
    # Figures are drawn by the processes that the inference had, if it had any.
    execution = None
    if options["inference"]:
        most = max(len(study.counted) for _, study in studies)
        execution = options["execution"].sized(INFERENCE_COST * most)
    if several:
        by_name = {loaded.embedded.name: study for loaded, study in studies if loaded.embedded}
        return write_results(out, studies_files(by_name, execution=execution), inputs)
    loaded, study = studies[0]
    return write_results(out, study_files(study, loaded.sources, execution=execution), inputs)


def _print(loaded: Loaded, study: Study) -> None:
    first, *more = study.summary
    click.echo(f"{loaded.title}: {first}")
    for sentence in more:
        click.echo(f"  {sentence}")
    if loaded.embedded and loaded.embedded.caution:
        click.echo(loaded.embedded.caution)
    if n_other := len(study.scores) - len(study.counted):
        click.echo(
            f"{counted(n_other, 'curve of another level is', 'curves of other levels are')} "
            "not counted (see --level)."
        )
    console.print_table(study.tables["by_metric"])
    console.print_table(study.tables["by_metric_type"])
    if evidence := study.tables.get("evidence_summary"):
        console.print_table(evidence)


def _document(
    studies: list[tuple[Loaded, Study]], written: list[Path], *, several: bool
) -> dict[str, Any]:
    """Return the document of a study, with each embedded set by itself under ``sets``.

    Of several sets there is no total: what is said of a single study is null.
    """
    documents = [_study_document(loaded, study) for loaded, study in studies]
    sets = [
        {"name": entry.name, "role": entry.role, "title": entry.title, "shows": entry.shows,
         "limits": entry.limits, **document}
        for (loaded, _), document in zip(studies, documents, strict=True)
        if (entry := loaded.embedded)
    ]  # fmt: skip
    single = dict.fromkeys(documents[0]) if several else documents[0]
    return single | {
        "threshold": documents[0]["threshold"],
        "n_problems": sum(document["n_problems"] for document in documents),
        "sets": sets,
        "outputs": [path.as_posix() for path in written],
    }


def _study_document(loaded: Loaded, study: Study) -> dict[str, Any]:
    document = study_document(study) | {
        "summary": study.summary,
        "n_curves_of_other_level": len(study.scores) - len(study.counted),
        "by_metric": console.records(study.tables["by_metric"].frame),
        "by_metric_type": console.records(study.tables["by_metric_type"].frame),
    }
    if "evidence_summary" in study.tables:
        document |= {
            "evidence": console.records(_evidence(study)),
            "forecasts": console.records(study.tables["last_scale_forecasts"].frame),
        }
    if study.pairs is not None:
        from bigbench_meta.aggregate.metric_change import change_counts

        document["metric_change"] = {
            "n_pairs": len(study.pairs),
            "counts": change_counts(study.pairs),
            "n_flagged": int(study.pairs["flagged"].sum()),
            "summary": [study.pairs_sentence],
        }
    if study.account:
        document |= {
            "estimates": console.records(study.account.estimates()),
            "limitations": study.account.limitations,
        }
    return document | loaded.document(study.known_issues, study.keys)


def _evidence(study: Study) -> pd.DataFrame:
    """Return the criteria, once for each way in which smooth families were simulated."""
    from bigbench_meta.aggregate.emergence_criteria import evidence_summary

    found = evidence_summary(study.counted, threshold=study.threshold)
    if study.expected is None:
        return found
    expected = study.expected.rename(columns={"observed": "observed_compared"})
    return found.merge(expected, on=["criterion", "group"], how="left", validate="one_to_many")
