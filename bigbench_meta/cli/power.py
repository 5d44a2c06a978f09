"""``bigbench-meta power``: what a test set can detect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import catalog, curves_of, finish, load, tell_doubts
from bigbench_meta.cli.options import (
    FloatRange,
    as_json,
    embedded,
    known_issues,
    options,
    reading,
    results,
    scoring,
    selection,
    strict,
    threshold,
)
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.curves.build import Curves

__all__ = ["power"]

_test = options(
    click.option("--accuracy", type=FloatRange(0, 1), help="True accuracy to detect."),
    click.option(
        "--token-error",
        type=FloatRange(0, 1),
        help="Probability that a token is wrong; gives the accuracy of an exact match.",
    ),
    click.option(
        "--tokens",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Tokens of an answer, which must all be right; with --token-error.",
    ),
    click.option(
        "-n",
        "--n",
        "n_examples",
        type=click.IntRange(1, 10**12),
        help="Examples in the test set. With RESULTS: where their files do not give the number.",
    ),
    click.option(
        "--chance",
        type=float,
        help="Accuracy of guessing. Default: 0. With RESULTS: for every curve, in the unit of its "
        "scores; by default the low_score of the task, or 0 for metrics without choices.",
    ),
    click.option(
        "--power",
        "probability",
        type=FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Probability of detection.",
    ),
    click.option(
        "--alpha",
        type=FloatRange(0, 1, min_open=True, max_open=True),
        default=0.05,
        show_default=True,
        help="Level of the exact one-sided test against chance.",
    ),
)


@click.command()
@options(results, _test)
@click.option(
    "--margin",
    type=FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="With RESULTS: call a curve flat if it stays within this distance of one value (as a "
    "proportion).",
)
@options(embedded, reading, selection, threshold, scoring, known_issues, strict, as_json)
def power(results: tuple[str, ...], strict: bool, as_json: bool, **options: Any) -> None:
    """Compute which accuracies a test set can detect.

    With --accuracy or --token-error: the number of examples that detect this accuracy as above
    chance. With --n: the smallest accuracy that this many examples detect. With both: the
    probability of detection. With RESULTS (result files, folders of them, or a store): which curves
    are flat, and which have a rise that their test set cannot show. Without any of these: the same
    for GPT-3's published results.

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
    named = bool(results or options["embedded"])
    if asks_number and named:
        raise InputError("--accuracy and --token-error cannot be combined with RESULTS")
    if asks_number or (options["n_examples"] is not None and not named):
        for name in ("task", "metric", "family"):
            if options[name]:
                raise InputError("only with RESULTS", where=f"--{name}")
        document = _document(options)
        if as_json:
            console.print_json(document)
        else:
            click.echo(_sentence(document))
    else:
        _resolution_of_results(results, options, strict=strict, as_json=as_json)


def _sentence(document: dict[str, Any]) -> str:
    n, chance = document["n_examples"], document["chance"]
    above = f"above {chance:g}" + (" (chance)" if chance else "")
    if "smallest_detectable" in document:
        smallest = document["smallest_detectable"]
        if math.isnan(smallest):
            return (
                f"{n:,} examples cannot detect any accuracy as {above}: even if all answers are "
                "right, that may be chance."
            )
        return (
            f"{n:,} examples detect an accuracy of {smallest:.4g} as {above} with probability "
            f"{document['power']:g}. Their resolution is {document['resolution']:.4g}."
        )
    accuracy = f"an accuracy of {document['accuracy']:.4g}"
    if n == math.inf:
        return f"No number of examples detects {accuracy} as {above}."
    if math.isnan(n):
        return f"Detecting {accuracy} as {above} may take more than a billion examples."
    probability = document.get("detection_power", document.get("power"))
    return f"{n:,} examples detect {accuracy} as {above} with probability {probability:.4g}."


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


def _resolution_of_results(
    results: tuple[str, ...], options: dict[str, Any], *, strict: bool, as_json: bool
) -> None:
    """Print the resolution of each curve."""
    loaded = load(results, options)
    curves, findings = curves_of(loaded, options)
    frame = _resolution(curves, options)
    summary = _summary(frame, options)
    if as_json:
        console.print_json(
            summary | {"curves": console.records(frame)} | loaded.document(findings, curves.keys)
        )
    else:
        tell_doubts(curves.keys)
        _print(frame, summary, loaded.title)
    finish(loaded, findings, strict=strict, as_json=as_json)


def _resolution(curves: Curves, options: dict[str, Any]) -> pd.DataFrame:
    """Return the resolution of each curve with its emergence score."""
    from bigbench_meta.inference.resolution import resolution
    from bigbench_meta.inference.score import score_curves

    frame = resolution(
        curves,
        catalog=catalog(options),
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
    from bigbench_meta.inference.resolution import FLAT_KINDS

    return {kind: int((kinds == kind).sum()) for kind in FLAT_KINDS}


def _print(frame: pd.DataFrame, summary: dict[str, Any], title: str) -> None:
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
            most_rows=console.MOST_ROWS,
        )
    )  # fmt: skip
    kinds = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in summary["flat_kinds"].items())
    most = console.MOST_ROWS
    shown = (
        f" (the {most} with most models below resolution are shown)" if len(frame) > most else ""
    )
    click.echo(
        f"{title}: {counted(len(frame), 'curve')}{shown}; use --json for all columns.\n"
        f"On {counted(summary['n_below_resolution'], 'curve')}, some models score less than one "
        f"right answer above chance; {summary['n_flagged_below_resolution']} of the "
        f"{summary['n_flagged']} curves with E above {summary['threshold']:g} are among these.\n"
        f"Flatness: {kinds}."
    )
