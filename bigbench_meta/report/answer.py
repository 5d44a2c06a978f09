"""The answer of a study in sentences, the same in the terminal, the report, notebooks and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.aggregate.by_metric import claims_by_metric, claims_summary, flagged
from bigbench_meta.aggregate.emergence_criteria import could_meet, meets
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.report.study import Study

__all__ = ["claims_sentence", "study_answer"]

# Metrics that are named, and pairs of one kind that are worth a sentence.
_MOST_NAMED: Final = 3
_ENOUGH_PAIRS: Final = 10


def study_answer(study: Study) -> list[str]:
    """Return what a study found: flags, their metrics, what could and would have been, and limits.

    Args:
        study: The study.
    """
    limits = ""
    if study.embedded:
        limits = f"These data cannot tell {study.embedded.limits}"
    elif study.account and study.account.limitations:
        limits = f"A limit of these data: {study.account.limitations[0]}"
    return [
        *filter(
            None,
            [
                study.headline,
                _metrics(study.counted, study.threshold),
                _resolution(study.counted, study.threshold),
                *study.yardstick_sentences,
                *_pairs(study.pairs),
                limits,
            ],
        )
    ]


def claims_sentence() -> str:
    """Return which metrics tasks with and without a claim of emergence prefer, in one sentence."""
    claims = claims_by_metric()
    total = claims_summary(claims)
    first, second = claims["metric"].head(2)
    return (
        f"{total['n_claims_top_two']} of the {total['n_claims']} BIG-bench tasks that are claimed "
        f"to show emergence ({total['share_top_two']:.0%}) have {first} or {second} as their "
        f"preferred metric; so do {total['n_other_tasks_top_two']} of the "
        f"{total['n_other_tasks']} other annotated tasks "
        f"({total['share_of_other_tasks_top_two']:.0%})."
    )


def _metrics(scores: pd.DataFrame, threshold: float) -> str:
    """Return under which metrics, and on how many questions, curves are flagged."""
    flags = scores[flagged(scores, threshold)]
    if flags.empty:
        return ""
    every = scores["metric"].astype(str).value_counts().to_dict()
    by = flags["metric"].astype(str).value_counts()
    named = [
        f"{n} of {counted(every[str(metric)], 'curve')} under {metric}"
        for metric, n in by.head(_MOST_NAMED).items()
    ]
    if rest := len(by) - len(named):
        named.append(f"{by.iloc[_MOST_NAMED:].sum()} under {counted(rest, 'other metric')}")
    *most, last = named
    text = f"By metric: {', '.join(most)}{' and ' if most else ''}{last}"
    known = flags["n_examples_min"].dropna()
    if len(known):
        low, high = int(known.min()), int(known.max())
        text += f"; the test sets of these have {low:,}" + (f" to {high:,}" if high > low else "")
        text += " questions" if len(known) == len(flags) else " questions where that is known"
    return f"{text}."


def _resolution(scores: pd.DataFrame, threshold: float) -> str:
    """Return how many curves exceed the threshold where steps count as at least one question."""
    limited = scores["resolution_limited_score"]
    if not limited.notna().any():
        return ""
    met = int(meets(scores, "resolution_limited", threshold=threshold).sum())
    could = int(could_meet(scores, "resolution_limited", threshold=threshold).sum())
    text = (
        f"If each step counts as at least one question, {met or 'none'} of the "
        f"{counted(could, 'curve')} that could have E above {threshold:g} "
        f"{'has' if met <= 1 else 'have'} it"
    )
    largest = limited[flagged(scores, threshold)].max()
    if met == 0 and np.isfinite(largest):
        text += f"; the largest of the flagged curves is at {largest:.0f}"
    return f"{text}."


def _pairs(pairs: pd.DataFrame | None) -> list[str]:
    """Return what becomes of jumps under another metric of the same answers."""
    if pairs is None or not len(pairs):
        return []
    from bigbench_meta.aggregate.metric_change import SAME, change_sentence

    found = [f"The same answers under another metric: {change_sentence(pairs)}"]
    distinct = pairs[pairs["verdict"] != SAME]
    for names, of_names in distinct.groupby(["metric", "other_metric"], observed=True, sort=False):
        ratio = of_names["log_ratio"]
        if len(of_names) >= _ENOUGH_PAIRS and ratio.notna().any():
            found.append(
                "By point values, whatever the direction of the change and without sampling error, "
                f"{names[0]} is the sharper metric in {int((ratio < 0).sum())} of "
                f"{counted(len(of_names), 'pair')} and {names[1]} in {int((ratio > 0).sum())}."
            )
    return found[: 1 + _MOST_NAMED]
