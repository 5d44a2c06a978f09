"""The command that says what a test set can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console, option
from bigbench_meta.cli.load import (
    catalog,
    finish,
    issues_document,
    load_kept,
    tell_issues,
)
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["power"]

_MOST_ROWS = 20

_numbers = option.options(
    click.option("--accuracy", type=option.FloatRange(0, 1), help="True accuracy to be shown."),
    click.option(
        "--token-error",
        type=option.FloatRange(0, 1),
        help="In place of an accuracy: probability that a token of an exact match is wrong.",
    ),
    click.option(
        "--tokens",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Tokens of the answer, all of which must be right; with --token-error.",
    ),
    click.option(
        "-n",
        "--n",
        "n_examples",
        type=click.IntRange(1, 10**12),
        help="Examples of the test set. With RESULTS: where they give none.",
    ),
    click.option(
        "--chance",
        type=float,
        help="Accuracy that chance gives, 0 by default. With RESULTS: in the unit of the scores, "
        "for every curve; by default the task's low_score, or 0 on metrics without choices.",
    ),
    click.option(
        "--power",
        "probability",
        type=option.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Probability to show it.",
    ),
    click.option(
        "--alpha",
        type=option.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.05,
        show_default=True,
        help="Level of the exact one-sided test against chance.",
    ),
)


@click.command("power")
@option.results
@_numbers
@click.option(
    "--margin",
    type=option.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="With RESULTS: a curve within so much of one value is flat, as a proportion.",
)
@option.options(
    option.reading, option.selection, option.threshold, option.scoring, option.known_issues
)
@option.options(option.strict, option.as_json)
def power(results: tuple[Path, ...], strict: bool, as_json: bool, **options: Any) -> None:
    """Say what a test set can show: examples needed, smallest accuracy, curves below resolution.

    With --accuracy (or --token-error) it gives the number of examples that show such an accuracy to
    be above chance; with --n, the smallest accuracy that so many examples show; with both, the
    probability that they do. With RESULTS (result files, folders of them, or a store) it tells
    curves that are flat from curves whose rise the test set cannot show; without any of these it
    does so for the embedded GPT-3 results.

    \b
    Examples:
      bigbench-meta power --accuracy 0.001 --power 0.95
      bigbench-meta power --accuracy 0.3 --chance 0.25
      bigbench-meta power --token-error 0.5 --tokens 10
      bigbench-meta power --n 2000
      bigbench-meta power --n 2000 --chance 0.25 --json
      bigbench-meta power results/ --metric exact_str_match
      bigbench-meta power store --n 200 --json
    """
    asks_number = options["accuracy"] is not None or options["token_error"] is not None
    if asks_number and results:
        raise InputError("--accuracy and --token-error are not for RESULTS")
    if asks_number or (options["n_examples"] is not None and not results):
        _answer(options, as_json=as_json)
    else:
        _table(results, options, strict=strict, as_json=as_json)


def _answer(options: dict[str, Any], *, as_json: bool) -> None:
    """Print what follows from numbers alone."""
    for name in ("task", "metric", "family"):
        if options[name]:
            raise InputError("only with RESULTS", where=f"--{name}")
    document = _document(options)
    if as_json:
        console.print_json(document)
    else:
        click.echo(_sentence(document))


def _sentence(document: dict[str, Any]) -> str:
    n, chance = document["n_examples"], document["chance"]
    above = f"above {chance:g}" + (", which chance gives" if chance else "")
    if "smallest_detectable" in document:
        smallest = document["smallest_detectable"]
        if math.isnan(smallest):
            return f"{n:,} examples show no accuracy to be {above}: all right happens by chance."
        return (
            f"{n:,} examples show an accuracy of {smallest:.4g} to be {above}, with probability "
            f"{document['power']:g}; their resolution is {document['resolution']:.4g}."
        )
    accuracy = f"an accuracy of {document['accuracy']:.4g}"
    if n == math.inf:
        return f"No number of examples shows {accuracy} to be {above}."
    if math.isnan(n):
        return f"It may take more than a billion examples to show {accuracy} to be {above}."
    probability = document.get("detection_power", document.get("power"))
    return f"{n:,} examples show {accuracy} to be {above}, with probability {probability:.4g}."


def _document(options: dict[str, Any]) -> dict[str, Any]:
    from bigbench_meta.inference.power import (
        detection_power,
        exact_match_accuracy,
        examples_needed,
        smallest_detectable,
    )

    for name in ("accuracy", "token_error", "chance"):
        if options[name] is not None and math.isnan(options[name]):
            raise InputError("not a number", where=f"--{name.replace('_', '-')}")
    accuracy, n = options["accuracy"], options["n_examples"]
    test = {"chance": options["chance"] or 0.0, "alpha": options["alpha"]}
    document: dict[str, Any] = {}
    if options["token_error"] is not None:
        if accuracy is not None:
            raise InputError("give one of --accuracy and --token-error")
        document = {"token_error": options["token_error"], "n_tokens": options["tokens"]}
        accuracy = float(exact_match_accuracy(options["token_error"], options["tokens"]))
    if accuracy is None:
        smallest = float(smallest_detectable(n, power=options["probability"], **test))
        return {
            "n_examples": n, "power": options["probability"], **test, "resolution": 1 / n,
            "smallest_detectable": smallest,
        }  # fmt: skip
    document |= {"accuracy": accuracy, **test}
    if n is not None:
        return document | {
            "n_examples": n, "detection_power": float(detection_power(accuracy, n, **test))
        }  # fmt: skip
    needed = float(examples_needed(accuracy, power=options["probability"], **test))
    whole = int(needed) if math.isfinite(needed) else needed
    return document | {"power": options["probability"], "n_examples": whole}


def _table(
    results: tuple[Path, ...], options: dict[str, Any], *, strict: bool, as_json: bool
) -> None:
    """Print the resolution of each curve."""
    loaded, kept, findings = load_kept(results, options)
    frame = _resolution(kept, options)
    summary = _summary(frame, options)
    if as_json:
        console.print_json(
            summary | {"curves": console.records(frame), "known_issues": issues_document(findings)}
        )
    else:
        _print(frame, summary, loaded.sources)
        console.print_problems(loaded.problems)
    tell_issues(findings)
    finish(loaded.problems, strict=strict)


def _resolution(observations: pd.DataFrame, options: dict[str, Any]) -> pd.DataFrame:
    """Return the resolution of each curve beside its emergence score."""
    from bigbench_meta.curves.build import build_curves
    from bigbench_meta.inference.power import resolution
    from bigbench_meta.inference.score import score_curves

    metrics = catalog(options)
    curves = build_curves(observations, scale=options["scale"], catalog=metrics)
    frame = resolution(
        curves,
        catalog=metrics,
        chance=options["chance"],
        n_examples=options["n_examples"],
        power=options["probability"],
        alpha=options["alpha"],
        margin=options["margin"],
        min_scales=options["min_scales"],
    )
    scores = score_curves(curves, min_scales=options["min_scales"])
    return frame.assign(emergence_score=scores["emergence_score"])


def _summary(frame: pd.DataFrame, options: dict[str, Any]) -> dict[str, Any]:
    from bigbench_meta.aggregate.by_metric import flagged

    flags = flagged(frame, options["threshold"])
    below = frame["n_below"].fillna(0) > 0
    return {
        "n_curves": len(frame),
        "n_below_resolution": int(below.sum()),
        "threshold": options["threshold"],
        "n_flagged": int(flags.sum()),
        "n_flagged_below_resolution": int((flags & below).sum()),
        "flat_kinds": _kinds(frame["flat_kind"]),
        "flat_kinds_of_flagged": _kinds(frame["flat_kind"][flags]),
        "power": options["probability"],
        "alpha": options["alpha"],
        "margin": options["margin"],
    }


def _kinds(kinds: pd.Series[str]) -> dict[str, int]:
    from bigbench_meta.inference.flatness import FLAT_KINDS

    return {kind: int((kinds == kind).sum()) for kind in FLAT_KINDS}


def _print(frame: pd.DataFrame, summary: dict[str, Any], sources: list[str]) -> None:
    from bigbench_meta.report.tables.table import Table

    ordered = frame.sort_values("share_below_resolution", ascending=False, kind="stable")
    console.print_table(
        Table(
            name="resolution",
            caption="",
            frame=ordered,
            columns=("subtask", "metric", "model_family", "shots", "n_scales", "n_examples_min",
                     "smallest_detectable", "n_below", "n_undetectable", "flat_kind",
                     "emergence_score"),
            most_rows=_MOST_ROWS,
        )
    )  # fmt: skip
    kinds = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in summary["flat_kinds"].items())
    shown = f" ({_MOST_ROWS} with most scales below shown)" if len(frame) > _MOST_ROWS else ""
    click.echo(
        f"{', '.join(sources)}: {len(frame)} curves{shown}; use --json for all columns.\n"
        f"{summary['n_below_resolution']} curves have scales less than one example above chance, "
        f"among them {summary['n_flagged_below_resolution']} of the {summary['n_flagged']} with "
        f"E above {summary['threshold']:g}.\nFlatness: {kinds}."
    )
