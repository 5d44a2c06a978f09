"""``bigbench-meta check``: one claim of emergence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.loading import catalog, curves_of, load
from bigbench_meta.cli.options import (
    FloatRange,
    as_json,
    embedded,
    example_counts,
    known_issues,
    options,
    output_folder,
    reading,
    results,
    scoring,
    seed,
)
from bigbench_meta.cli.output import prepare_folder, print_written, write_results
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.check.claim import ClaimCheck
    from bigbench_meta.report.tables.table import Table

__all__ = ["check"]

# Columns of a file that holds one claim; any other is a second metric.
_COLUMNS: Final = ("size", "score", "stderr", "n")
_OF_CLAIMS: Final = {"scores": "--scores", "n_examples": "--n", "chance": "--chance"}
_OF_RESULTS: Final = {
    "family": "--family",
    "shots": "--shots",
    "variant": "--variant",
    "example_counts": "--n-examples",
}

_claim = options(
    click.option(
        "--scores",
        metavar="SIZE:SCORE,...",
        help="The claim itself, instead of a file: 0.35B:0.02,1.3B:0.03,6.7B:0.05,175B:0.86.",
    ),
    click.option(
        "--metric",
        help="Metric of the scores, such as exact_str_match or multiple_choice_grade. Needed for a "
        "claim; of RESULTS, which curve.",
    ),
    click.option(
        "-n",
        "--n",
        "n_examples",
        type=click.IntRange(1, 10**9),
        help="Examples in the test set of a claim.",
    ),
    click.option(
        "--chance",
        type=float,
        help="Score of guessing, of a claim. Default: 0 for metrics without choices; else unknown, "
        "so that several guess rates are tried.",
    ),
    click.option(
        "--target-length",
        type=click.FloatRange(min=1),
        help="Tokens of an answer that must all be right; then the share of right tokens is tried "
        "among what would settle the claim.",
    ),
    click.option(
        "--second-metric",
        help="Another metric of the same outputs, in a column of its name (claim), or on a curve "
        "of its own (RESULTS).",
    ),
    click.option(
        "--step-factor",
        "factor",
        type=FloatRange(1, min_open=True),
        default=20.0,
        show_default=True,
        help="What counts as a jump: a loss that becomes this many times smaller at one size, "
        "beyond the smooth improvement.",
    ),
    click.option(
        "--among",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Number of curves among which this one was chosen because it rises most sharply.",
    ),
)
_curve = options(
    click.option("--task", help="Of RESULTS: the task, or subtask, of the curve."),
    click.option("--family", help="Of RESULTS: the model family of the curve."),
    click.option("--shots", type=click.IntRange(min=0), help="Of RESULTS: its number of shots."),
    click.option("--variant", help="Of RESULTS: its variant, such as greedy."),
)
_plan = options(
    click.option(
        "--plan",
        is_flag=True,
        help="Compute how many examples an evaluation of --sizes needs, before it is run.",
    ),
    click.option(
        "--sizes", metavar="SIZE,...", help="With --plan: sizes of the models, at least 4."
    ),
    click.option(
        "--steps",
        metavar="FACTOR,...",
        default="5,20,100",
        show_default=True,
        help="With --plan: by how much the loss falls where it jumps.",
    ),
)


@click.command()
@options(results, _claim, _curve)
@click.option(
    "--settle/--no-settle",
    default=None,
    help="Compute which evaluations would settle the claim, by simulation in some 20 seconds. "
    "Default: if it is undecidable.",
)
@options(
    _plan, embedded, reading, scoring, example_counts, known_issues, seed,
    output_folder("the paragraph, tables and figure"), as_json,
)  # fmt: skip
def check(
    results: tuple[str, ...], out: Path | None, as_json: bool, settle: bool | None, **options: Any
) -> None:
    """Check one claim of emergence.

    Is the rise sharper than smooth improvement makes it? The claim is a CSV file with the columns
    size and score (and stderr, n, or a second metric, if known), the pairs of --scores, or, with
    --task, a curve of RESULTS (result files, a store, or the published results with --embedded).

    The verdict is one of three. EXPLAINED: the scores are at least 20 times as likely if the loss
    falls smoothly with scale. SHARPER: they are at least 20 times as likely if it jumps at one
    size. UNDECIDABLE: neither; a table then shows which evaluation would settle it. Each of the
    first two is wrong at most once in 20 times, on average over the laws that are
    possible (docs/check.md).

    \b
    Examples:
      bigbench-meta check claim.csv --metric exact_str_match --n 500
      bigbench-meta check --scores "0.35B:0.02,1.3B:0.03,6.7B:0.05,175B:0.86" \\
          --metric exact_str_match --n 1000
      bigbench-meta check --embedded gpt3 --task "arithmetic 3D+" --shots 50
      bigbench-meta check store --task word_unscrambling --metric exact_str_match --out claim
      bigbench-meta check --plan --sizes 0.35B,1.3B,6.7B,13B,70B --metric exact_str_match
    """
    prepare_folder(out)
    if options["plan"] and (results or options["scores"]):
        raise InputError("takes no claim: it is of an evaluation to come", where="--plan")
    if options["sizes"] and not options["plan"]:
        raise InputError("only with --plan", where="--sizes")
    if options["plan"]:
        _show_plan(options, out, as_json=as_json)
        return
    found, inputs = _found(results, options)
    if not as_json:
        click.echo(found.paragraph)
    table = None
    wanted = found.verdict == "undecidable" and _can_simulate(found) if settle is None else settle
    if wanted:
        table = found.what_would_settle(seed=options["seed"], progress=None)
    document = found.document() | {
        "settle": None if table is None else console.records(table.frame),
    }
    if table is not None and not as_json:
        click.echo()
        click.echo(_advice(table))
        console.print_table(table)
    written = _write(found, table, document, out, inputs) if out else []
    if as_json:
        console.print_json(document | {"outputs": [path.as_posix() for path in written]})
    else:
        print_written(written, out)


def _can_simulate(found: ClaimCheck) -> bool:
    return found.reason in {"either", "small_step", "disagree"}


def _found(
    results: tuple[str, ...], options: dict[str, Any]
) -> tuple[ClaimCheck, dict[str, str | None]]:
    """Return the check, and the digests of the files that were read."""
    from bigbench_meta.check.claim import check_claim

    if options["task"] or options["embedded"]:
        _refuse(options, _OF_CLAIMS, "applies only to a claim given as numbers, not to RESULTS")
        return _of_results(results, options)
    _refuse(options, _OF_RESULTS, "only with --task and RESULTS")
    if bool(results) == bool(options["scores"]) or len(results) > 1:
        raise InputError(
            "give one claim: a CSV file, --scores, or --task with RESULTS",
            hint='bigbench-meta check --scores "0.35B:0.02,1.3B:0.03,6.7B:0.05,175B:0.86" --metric '
            "exact_str_match --n 1000",
        )
    if options["metric"] is None:
        raise InputError("a claim needs the metric of its scores", where="--metric")
    frame, inputs = (
        (_pairs(options["scores"]), {}) if options["scores"] else _file(Path(results[0]))
    )
    second = options["second_metric"]
    others = [name for name in frame if name not in _COLUMNS]
    if second is None and others:
        raise InputError(
            f"column {others[0]!r} is not known", where=results[0] if results else "--scores",
            hint=f"columns are {', '.join(_COLUMNS)}; a second metric is named by --second-metric",
        )  # fmt: skip
    if second is not None and second not in frame:
        raise InputError(f"there is no column {second!r}", where="--second-metric")
    known = frame["n"] if "n" in frame else options["n_examples"]
    return check_claim(
        frame["size"].tolist(), frame["score"], metric=options["metric"], n_examples=known,
        stderr=frame.get("stderr"), chance=options["chance"], second_metric=second,
        second_scores=None if second is None else frame[second],
        target_length=options["target_length"], factor=options["factor"], among=options["among"],
        seed=options["seed"], catalog=catalog(options),
    ), inputs  # fmt: skip


def _refuse(options: dict[str, Any], names: dict[str, str], reason: str) -> None:
    """Refuse options that would have no effect."""
    for name, option in names.items():
        if options[name] not in {None, ()}:
            raise InputError(reason, where=option)


def _pairs(text: str) -> pd.DataFrame:
    """Return what --scores says."""
    import pandas as pd

    rows = []
    for pair in filter(str.strip, text.split(",")):
        size, colon, score = pair.partition(":")
        try:
            rows.append({"size": size.strip(), "score": float(score)})
        except ValueError:
            reason = "is not a number" if colon else "has no colon"
            raise InputError(
                f"{pair.strip()!r} {reason}", where="--scores", hint="such as 1.3B:0.03"
            ) from None
    return pd.DataFrame(rows, columns=["size", "score"])


def _file(path: Path) -> tuple[pd.DataFrame, dict[str, str | None]]:
    """Return the claim that a CSV file holds, and the file's digest."""
    import pandas as pd

    from bigbench_meta.catalog.published import read_text
    from bigbench_meta.report.folder import digest_of_file

    frame = read_text(path)
    for name in ("size", "score"):
        if name not in frame:
            raise InputError(
                f"there is no column {name!r}", where=str(path),
                hint=did_you_mean(name, map(str, frame))
                or "columns are size and score; results need --task",
            )  # fmt: skip
    numbers = {}
    for name in frame.columns.drop("size"):
        values = pd.to_numeric(frame[name].where(frame[name] != ""), errors="coerce")
        if (wrong := values.isna() & (frame[name] != "")).any():
            line = int(wrong.to_numpy().argmax())
            raise InputError(
                f"{frame[name].iloc[line]!r} in line {line + 2} is not a number",
                where=f"{path}: {name}",
            )
        numbers[name] = values
    return frame[["size"]].assign(**numbers), {path.as_posix(): digest_of_file(path)}


def _of_results(
    results: tuple[str, ...], options: dict[str, Any]
) -> tuple[ClaimCheck, dict[str, str | None]]:
    """Check a curve of RESULTS; the other curves of its models say how much these vary."""
    from bigbench_meta.check.claim import check_curve

    if options["task"] is None:
        raise InputError("name the task of the curve", where="--task")
    every = options | {
        "task": (), "metric": (), "family": (), "level": "all", "threshold": math.inf,
        "with_samples": False,
    }  # fmt: skip
    loaded = load(results, every)
    curves, _ = curves_of(loaded, every)
    chosen = curves.sel(
        subtask=options["task"],
        model_family=options["family"],
        shots=options["shots"],
        variant=options["variant"],
    )
    one = chosen.sel(metric=options["metric"])
    if len(one) > 1:
        differ = [name for name in ("metric", "model_family", "shots", "variant")
                  if len(one.keys[name].drop_duplicates()) > 1]  # fmt: skip
        values = {name: ", ".join(map(str, one.keys[name].unique()[:8])) for name in differ}
        raise InputError(
            f"{len(one)} curves of {options['task']!r} differ in "
            + "; ".join(f"{name} ({text})" for name, text in values.items()),
            hint="choose one with --metric, --family, --shots or --variant",
        )
    second = None
    if options["second_metric"]:
        key = one.keys.iloc[0]
        others = chosen.sel(metric=options["second_metric"], model_family=key["model_family"])
        same = others.keys["shots"].eq(key["shots"]) | others.keys["shots"].isna()
        second = others[same.fillna(value=True).to_numpy(dtype=bool)]  # not stated: may be the same
        if len(second) != 1:
            raise InputError(f"{len(second)} curves fit", where="--second-metric")
    other = curves.keys["task"].ne(one.keys["task"].iloc[0])
    family = curves[
        (other & curves.keys["model_family"].eq(one.keys["model_family"].iloc[0])).to_numpy(bool)
    ]
    return check_curve(
        one, second=second, family=family if len(family) else None,
        target_length=options["target_length"], factor=options["factor"], among=options["among"],
        seed=options["seed"], catalog=catalog(options),
    ), loaded.inputs  # fmt: skip


def _advice(table: Table) -> str:
    """Return what to do next, in a sentence."""
    from bigbench_meta.check.settle import AS_IT_IS

    rows = table.frame[table.frame["enough"] & table.frame["option"].ne(AS_IT_IS)]
    if rows.empty:
        return (
            "No evaluation that was simulated would settle it with a probability of 80%: not a "
            "million examples, nor four times as many sizes in the same range. Next: score the "
            "same outputs under a metric closer to the loss, such as their log-likelihood."
        )
    ways = [
        f"{row['option']} ({row['n_sizes']:g} sizes, {row['n_examples']:,.0f} examples)"
        for row in rows.to_dict("records")
    ]
    return f"Next: what would settle it with a probability of at least 80%: {'; '.join(ways)}."


def _show_plan(options: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Print and write how many examples an evaluation needs."""
    from bigbench_meta.check.claim import sizes_of
    from bigbench_meta.check.settle import plan_claim
    from bigbench_meta.report.tables.table import Table

    if not options["sizes"]:
        raise InputError("needed with --plan", where="--sizes", hint="0.35B,1.3B,6.7B,13B,70B")
    try:
        factors = [float(one) for one in options["steps"].split(",")]
    except ValueError:
        raise InputError(
            f"{options['steps']!r} is not a list of numbers", where="--steps"
        ) from None
    found = plan_claim(
        sizes_of(options["sizes"].split(",")), metric=options["metric"] or "exact_str_match",
        chance=options["chance"] or 0.0, factors=factors, seed=options["seed"],
        catalog=catalog(options),
    )  # fmt: skip
    table = Table(
        name="plan",
        caption="Examples needed for the right verdict with a probability of 80%, by how much the "
        "loss falls where it jumps (factor), at these sizes and at twice as many; missing where a "
        "million are not enough.",
        frame=found,
    )
    written = _forms({"plan": table}, {"plan": console.records(found)}, "", out) if out else []
    if as_json:
        console.print_json(
            {"plan": console.records(found), "outputs": [path.as_posix() for path in written]}
        )
    else:
        console.print_table(table)
        print_written(written, out)


def _write(
    found: ClaimCheck, table: Table | None, document: dict[str, Any], out: Path,
    inputs: dict[str, str | None],
) -> list[Path]:  # fmt: skip
    from bigbench_meta.report.files import figure_files

    tables = {"claim": found.table()} | ({} if table is None else {"settle": table})
    contents = figure_files(found.figure())
    return _forms(tables, document, found.paragraph, out, contents, inputs)


def _forms(
    tables: dict[str, Table], document: dict[str, Any], paragraph: str, out: Path,
    contents: dict[str, str | bytes] | None = None, inputs: dict[str, str | None] | None = None,
) -> list[Path]:  # fmt: skip
    """Write the paragraph and the tables as Markdown, LaTeX and JSON."""
    from bigbench_meta.report.tables.latex import latex_text

    name = next(iter(tables))
    markdown = "\n\n".join([paragraph, *(one.to_markdown() for one in tables.values())]).strip()
    latex = "\n\n".join(
        [latex_text(paragraph), *(one.to_latex() for one in tables.values())]
    ).strip()
    texts = {
        f"{name}.md": f"{markdown}\n", f"{name}.tex": f"{latex}\n",
        f"{name}.json": f"{console.json_text(document)}\n",
    }  # fmt: skip
    return write_results(out, {**texts, **(contents or {})}, inputs)
