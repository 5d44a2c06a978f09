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
    counts = account.pair_counts
    shares = account.shares.set_index("metric_class")[["n_flagged", "n_scored"]].astype(int)
    sharp, smooth = ("{} of {}".format(*shares.loc[name]) for name in ("sharp", "smooth"))
    return [
        Table(
            name="flags_by_class",
            caption=f"{sharp} curves of sharp metrics and {smooth} of smooth ones have an "
            f"emergence score above {account.rows.threshold:g} ({_CLASSES}). Intervals take tasks "
            "as the units. A design effect of 3 means that three curves carry the information of "
            "one independent curve.",
            frame=account.shares,
        ),
        Table(
            name="flag_ratios",
            caption="Risk and odds ratios of being flagged, sharp over smooth metrics, over all "
            "curves. Tasks were not assigned to metrics at random, so the ratios mix the effect of "
            "the metric with that of the task.",
            frame=account.ratios,
            columns=_ESTIMATES,
        ),
        Table(
            name="flag_models",
            caption="Odds ratios of being flagged for a one-unit increase in each term, from a "
            "logistic regression (GEE) with tasks as clusters.",
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
            caption=f"In {counts['n_sharp_only']} of {counts['n_pairs']} matched pairs of a sharp "
            f"and a smooth metric only the sharp metric's curve is flagged, in "
            f"{counts['n_smooth_only']} only the smooth one's, in {counts['n_both']} both and in "
            f"{counts['n_neither']} neither. The curves of a pair share task, subtask, model "
            f"family, shots and prompt; the pairs belong to {counts['n_tasks']} tasks.",
            frame=account.paired,
            columns=_ESTIMATES,
        ),
        Table(
            name="pairs_by_metric",
            caption="Pairs of metrics compared on the same models and questions: how often only "
            "one of the two curves is flagged (McNemar's exact test, with Holm's correction for "
            "the number of rows), and which curve is sharper.",
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
            caption="Lowest and highest value of each comparison of sharp with smooth metrics when "
            "one choice of the analysis is changed at a time. n above and n below count the "
            "intervals that lie wholly above or below no difference.",
            frame=sensitivity_summary(table),
            brief=("statistic", "method", "base", "n_variants", "n_estimated", "lowest", "highest",
                   "n_intervals", "n_above", "n_below"),
        ),
        Table(
            name="scale_deletion",
            caption="Share of flagged curves that stay flagged, and of other curves that become "
            "flagged, when each scale of a curve is dropped in turn, by class of metric. Intervals "
            "take tasks as the units.",
            frame=deletion.reset_index(drop=True),
            columns=("setting", "statistic", "estimate", "low", "high", "n", "n_tasks"),
        ),
        Table(
            name="sensitivity",
            caption="Every statistic, with one choice of the analysis changed at a time.",
            frame=table,
            columns=("analysis", "setting", *_ESTIMATES),
        ),
    ]  # fmt: skip
