"""Pairs of metrics of the same outputs, as tables for people."""

from __future__ import annotations

import pandas as pd

from bigbench_meta.aggregate.metric_change import VERDICTS, change_counts, change_sentence
from bigbench_meta.aggregate.section3 import section3_sentences
from bigbench_meta.report.tables.table import Table

__all__ = ["metric_change_tables", "predictions_table"]

_MEANINGS = {
    "evaporates": "flagged under the first metric, and under the other the upper end of E is below "
    "the cut",
    "persists": "both lower ends are above the cut",
    "weaker": "less sharp under the other metric: the interval of the ratio is below 1",
    "sharper": "sharper under the other metric: the interval of the ratio is above 1",
    "cannot tell": "the test set is too small for any of these",
    "point values only": "the sampling error is not known",
    "same metric": "one metric is an affine function of the other, not counted",
}


def metric_change_tables(pairs: pd.DataFrame) -> list[Table]:
    """Return the tables of pairs of metrics.

    Args:
        pairs: What :func:`bigbench_meta.metric_change` returns.

    Returns:
        ``metric_change`` (a row per pair, decided ones first), ``metric_change_verdicts`` (their
        counts, over all pairs and over those flagged under the first metric).
    """
    counts, flagged = (change_counts(some) for some in (pairs, pairs[pairs["flagged"]]))
    verdicts = pd.DataFrame(
        {
            "verdict": VERDICTS,
            "meaning": [_MEANINGS[name] for name in VERDICTS],
            "n_pairs": [counts[name] for name in VERDICTS],
            "n_flagged": [flagged[name] for name in VERDICTS],
        }
    )
    rank = pairs["verdict"].map({name: place for place, name in enumerate(VERDICTS)})
    ordered = pairs.assign(rank=rank, unflagged=~pairs["flagged"])
    ordered = ordered.sort_values(["rank", "unflagged"], kind="stable")
    forecast = ("forecast", "forecast_low", "forecast_high", "forecast_hit", "observed")
    return [
        Table(
            name="metric_change",
            caption=f"{change_sentence(pairs)} Sharpness is E/(n-1), limited by the resolution of "
            "the test set where that is known.",
            frame=ordered.drop(columns=["rank", "unflagged"]).reset_index(drop=True),
            columns=("subtask", "metric", "other_metric", "model_family", "shots", "variant",
                     "n_scales", "emergence_score", "other_emergence_score", "sharpness",
                     "sharpness_low", "sharpness_high", "other_sharpness", "other_sharpness_low",
                     "other_sharpness_high", "log_ratio_low", "log_ratio_high",
                     *(name for name in forecast if name in pairs), "verdict", "reason"),
            brief=("subtask", "metric", "other_metric", "shots",
                   *(("variant",) if pairs["variant"].notna().any() else ()), "n_scales",
                   "emergence_score", "other_emergence_score", "sharpness", "other_sharpness",
                   *(name for name in forecast if name in pairs), "verdict"),
        ),
        Table(
            name="metric_change_verdicts",
            caption="Verdicts on pairs of metrics of the same outputs.",
            frame=verdicts,
        ),
    ]  # fmt: skip


def predictions_table(predictions: pd.DataFrame) -> Table:
    """Return the table of the three predictions of section 3.

    Args:
        predictions: What :func:`bigbench_meta.section3_predictions` returns.

    Returns:
        ``section3_predictions``: a row per prediction and setting.
    """
    return Table(
        name="section3_predictions",
        caption=" ".join(section3_sentences(predictions)),
        frame=predictions,
        columns=("prediction", "model_family", "shots", "variant", "metric", "other_metric", "n",
                 "n_agree", "n_disagree", "n_undecided"),
        most_rows=len(predictions),
    )  # fmt: skip
