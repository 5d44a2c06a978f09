"""What accounts for the flags, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from bigbench_meta.aggregate.attribution.flags import CLASSES
from bigbench_meta.aggregate.attribution.sensitivity import sensitivity_summary
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from bigbench_meta.aggregate.attribution.account import Account
    from bigbench_meta.aggregate.attribution.regression import FlagModel

__all__ = ["account_tables", "sensitivity_tables"]

_ESTIMATES = (
    "statistic", "method", "estimate", "low", "high", "p_value", "n", "n_tasks", "status",
)  # fmt: skip
_CLASSES = "; ".join(f"{name}: {meaning}" for name, meaning in CLASSES.items())


def account_tables(account: Account) -> list[Table]:
    """Return the tables of an account.

    Args:
        account: What :func:`bigbench_meta.account_for_flags` returns.

    Returns:
        ``flags_by_class``, ``flag_ratios``, ``flag_models``, ``flag_models_left_out``,
        ``paired_tests`` and ``pairs_by_metric``.
    """
    threshold = f"an emergence score above {account.rows.threshold:g}"
    counts = account.pair_counts
    return [
        Table(
            name="flags_by_class",
            caption=f"Scored curves with {threshold}, by class of metric ({_CLASSES}). The units "
            "of the interval are tasks; the design effect is how many curves are worth one.",
            frame=account.shares,
        ),
        Table(
            name="flag_ratios",
            caption="Risk and odds of being flagged, sharp over smooth metrics, over all curves: "
            "tasks were not assigned to metrics at random, so this mixes the metric with the task.",
            frame=account.ratios,
            columns=_ESTIMATES,
        ),
        Table(
            name="flag_models",
            caption="Odds ratios of being flagged, by a logistic regression (GEE) whose clusters "
            "are tasks.",
            frame=account.model.to_frame(),
            columns=("model", "term", "odds_ratio", "low", "high", "p_value", "n", "n_tasks",
                     "status"),
        ),
        Table(
            name="flag_models_left_out",
            caption="Curves and columns that the regression (GEE) of flags leaves out, and why.",
            frame=_left_out(account.model),
        ),
        Table(
            name="paired_tests",
            caption=f"Sharp against smooth metrics within matched sets: pairs {counts['n_pairs']}, "
            f"tasks {counts['n_tasks']}; both flagged {counts['n_both']}, only the sharp one "
            f"{counts['n_sharp_only']}, only the smooth one {counts['n_smooth_only']}, neither "
            f"{counts['n_neither']}.",
            frame=account.paired,
            columns=_ESTIMATES,
        ),
        Table(
            name="pairs_by_metric",
            caption="Metrics two by two on the same models and questions: McNemar's exact test, "
            "Holm's adjustment for the number of rows, and which curve is sharper.",
            frame=account.by_metric,
            brief=("metric_first", "class_first", "metric_second", "class_second", "n_pairs",
                   "n_first_only", "n_second_only", "p_value", "p_holm", "n_sharper",
                   "n_less_sharp"),
            most_rows=20,
        ),
    ]  # fmt: skip


def _left_out(model: FlagModel) -> pd.DataFrame:
    found: list[dict[str, Any]] = [
        {"model": "gee", "left_out": "curves", "reason": reason, "n_curves": n}
        for reason, n in model.left_out.items()
    ]
    found += [
        {"model": "gee", "left_out": name, "reason": reason, "n_curves": None}
        for name, reason in model.dropped.items()
    ]
    columns = ["model", "left_out", "reason", "n_curves"]
    return pd.DataFrame(found, columns=columns).astype({"n_curves": "Int64"})


def sensitivity_tables(table: pd.DataFrame) -> list[Table]:
    """Return the tables of a sensitivity analysis.

    Args:
        table: What :func:`bigbench_meta.sensitivity` returns.

    Returns:
        ``sensitivity_summary``, ``scale_deletion`` and ``sensitivity``.
    """
    of_deletions = table["statistic"].str.contains("^(?:stay|become)_flagged_")
    deletion = table[of_deletions & (table["n"] > 0)]
    return [
        Table(
            name="sensitivity_summary",
            caption="How far each comparison moves when one choice of the analysis is changed at a "
            "time; above and below: intervals that exclude the value of no difference.",
            frame=sensitivity_summary(table),
            brief=("statistic", "method", "base", "n_variants", "n_estimated", "lowest", "highest",
                   "n_intervals", "n_above", "n_below"),
        ),
        Table(
            name="scale_deletion",
            caption="Each scale of each curve dropped in turn: the share of flagged curves that "
            "stay flagged, and of the others that become so, of classes that have curves; units of "
            "the interval are tasks.",
            frame=deletion.reset_index(drop=True),
            columns=("setting", "statistic", "estimate", "low", "high", "n", "n_tasks"),
        ),
        Table(
            name="sensitivity",
            caption="Every statistic under every change of a single choice.",
            frame=table,
            columns=("analysis", "setting", *_ESTIMATES),
        ),
    ]  # fmt: skip
