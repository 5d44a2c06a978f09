"""What curves cannot tell about metrics and flags, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bigbench_meta.aggregate.attribution.curve_flags import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags
    from bigbench_meta.aggregate.attribution.flag_models import FlagModel

__all__ = ["limitations"]

_FEW_PAIRS = 6
"""With five discordant pairs, all one way, McNemar's exact test still gives 0.06."""


def limitations(
    rows: CurveFlags,
    shares: pd.DataFrame,
    ratios: pd.DataFrame,
    models: list[FlagModel],
    pair_counts: dict[str, int],
) -> list[str]:
    """Return what cannot be concluded.

    Args:
        rows: The curves.
        shares: Shares of flagged curves by class.
        ratios: Ratios of the classes.
        models: Regressions.
        pair_counts: Counts of matched pairs.

    Returns:
        A sentence each, with its numbers; empty if nothing stands in the way.
    """
    return [
        *_of_population(shares, ratios),
        *_of_confounding(rows),
        *_of_unknown(shares),
        *_of_models(models),
        *_of_pairs(pair_counts),
        *_of_families(rows.frame),
        *_of_reach(rows),
    ]


def _of_population(shares: pd.DataFrame, ratios: pd.DataFrame) -> Iterator[str]:
    exact = ratios[ratios["method"] == "exact"].to_dict("records")[0]
    rows = shares.set_index("metric_class").to_dict("index")
    for name, other in (("smooth", "sharp"), ("sharp", "smooth")):
        row, its_other = rows[name], rows[other]
        n, tasks = int(row["n_scored"]), int(row["n_tasks"])
        if not n and its_other["n_scored"]:
            yield f"No curve is of a metric that is {CLASSES[name]}: the classes are not compared."
        elif n and not row["n_flagged"] and its_other["n_flagged"]:
            yield (
                f"None of the {n} curves ({_count(tasks, 'task')}) of metrics that are "
                f"{CLASSES[name]} is flagged. With each task as one observation, any true share up "
                f"to {row['share_high']:.0%} fits with that."
            )
    if exact["status"] in {"no_variation", "no_data"}:
        yield f"The ratios are not defined: {exact['message'][0].lower()}{exact['message'][1:]}"
    elif exact["low"] <= 1 <= exact["high"]:
        yield (
            f"The odds ratio over all curves may be 1: its exact interval is {exact['low']:.2g} to "
            f"{_limit(exact['high'])}, and that takes curves of one task as independent."
        )
    few = min(int(rows[name]["n_tasks"]) for name in ("sharp", "smooth"))
    if (ratios["status"] == "too_few_clusters").any():
        yield f"One class of metric has {_count(few, 'task')}: too few for intervals over tasks."


def _of_confounding(rows: CurveFlags) -> Iterator[str]:
    counts = rows.counts()
    sharp, smooth = counts[:, :2].any(axis=1), counts[:, 2:].any(axis=1)
    n_both = int(np.sum(sharp & smooth))
    if sharp.any() and smooth.any() and 2 * n_both < len(counts):
        yield (
            f"{len(counts) - n_both} of {_count(len(counts), 'task')} have metrics of one class "
            "alone: over all curves, what is due to the metric and what to the task cannot be told "
            "apart."
        )


def _of_unknown(shares: pd.DataFrame) -> Iterator[str]:
    by_class = shares.set_index("metric_class")["n_scored"]
    if unknown := int(by_class["unknown"]):
        verb = "is" if unknown == 1 else "are"
        yield (
            f"{_count(unknown, 'curve')} of {int(by_class.sum())} {verb} of a metric of unknown "
            "type, and not compared."
        )


def _of_models(models: list[FlagModel]) -> Iterator[str]:
    names = {"gee": "The regression (GEE)", "conditional_logit": "The conditional regression"}
    for model in models:
        if model.fit.status not in {"ok", "no_data"}:
            given = "says little" if model.fit.terms else "gives no odds ratio"
            message = model.fit.message
            yield f"{names[model.name]} {given}: {message[:1].lower()}{message[1:]}"


def _of_pairs(counts: dict[str, int]) -> Iterator[str]:
    n_pairs, discordant = counts["n_pairs"], counts["n_sharp_only"] + counts["n_smooth_only"]
    if not n_pairs:
        yield "No matched set has a sharp and a smooth metric: the paired question has no answer."
        return
    if unequal := counts["n_unequal"]:
        yield (
            f"{unequal} of {_count(n_pairs, 'matched pair')} have curves of different numbers of "
            "models: relative sharpness allows for that only in part."
        )
    if discordant < _FEW_PAIRS:
        in_few = f"in {discordant} of them" if discordant else "in none of them"
        yield (
            f"{_count(n_pairs, 'matched pair')} of a sharp and a smooth metric "
            f"({_count(counts['n_tasks'], 'task')}), and {in_few} only one is flagged: "
            "too few for the paired question, whichever way they fall."
        )


def _of_families(frame: pd.DataFrame) -> Iterator[str]:
    families = frame["model_family"].unique()
    if len(families) == 1:
        yield f"All curves are of one model family, {families[0]}: nothing is said of others."


def _of_reach(rows: CurveFlags) -> Iterator[str]:
    # The median of two squared steps is their mean: E <= 2 with three models.
    short = int(np.sum(rows.frame["n_scales"] <= 3))
    if short and rows.threshold >= 2:
        yield (
            f"{_count(short, 'curve')} of {len(rows.frame)} have three models, with which the "
            "emergence score is at most 2: they cannot be flagged."
        )


def _limit(value: float) -> str:
    return "infinity" if np.isinf(value) else f"{value:.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
