"""Which metrics the flagged curves and the hand-annotated claims of emergence belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.published import paper_metrics, preferred_metrics, scaling_annotation
from bigbench_meta.core.binomial import wilson
from bigbench_meta.core.checks import one_of, probability
from bigbench_meta.core.errors import InputError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "DEFAULT_THRESHOLD",
    "EMERGENT_CLASSES",
    "SWEEP",
    "Level",
    "claims_by_metric",
    "claims_summary",
    "flagged",
    "metrics_of_emergence",
    "select_level",
    "threshold_sweep",
]

Level = Literal["task", "subtask", "all"]

DEFAULT_THRESHOLD: Final = 100.0
"""The paper states no threshold; the axis of its Fig. 5A runs from 0 to 600."""

SWEEP: Final = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 600.0, np.inf)

EMERGENT_CLASSES: Final = ("emergent_gpt3_or_lamda", "emergent_palm")
"""Scaling classes of the hand annotation that claim emergence."""

_NEEDED: Final = (
    "task", "subtask", "metric", "metric_type", "model_family", "emergence_score", "status",
)  # fmt: skip
_LEVEL_KEY: Final = ("benchmark", "task", "metric", "model_family", "shots", "variant")


def select_level(scores: pd.DataFrame, level: Level = "task") -> pd.DataFrame:
    """Select curves so that a task and its subtasks are not both counted.

    Args:
        scores: Curve scores.
        level: ``task`` keeps aggregate rows (``subtask == task``). ``subtask`` keeps subtasks, and
            the aggregate row of a task that has no subtasks with the same (benchmark, metric,
            model_family, shots, variant). ``all`` keeps everything and so counts twice.

    Returns:
        The rows kept.

    Raises:
        InputError: Another level.
        SchemaError: A column is missing.
    """
    if missing := [name for name in _NEEDED if name not in scores]:
        raise SchemaError(
            f"missing column {', '.join(missing)}",
            where="scores",
            hint="pass what score_curves returns",
        )
    one_of(level, get_args(Level), "level")
    if level == "all":
        return scores
    aggregate = scores["subtask"].astype(str) == scores["task"].astype(str)
    if level == "task":
        return scores[aggregate]
    key = [scores[name] for name in _LEVEL_KEY if name in scores]
    has_subtasks = (~aggregate).groupby(key, dropna=False, observed=True).transform("any")
    return scores[~(aggregate & has_subtasks)]


def flagged(scores: pd.DataFrame, threshold: float = DEFAULT_THRESHOLD) -> pd.Series[bool]:
    """Return which curves have an emergence score above the threshold, infinite ones included.

    Args:
        scores: Curve scores.
        threshold: A score must be above it; at ``inf`` only infinite scores are flagged.

    Returns:
        Boolean series with the index of ``scores``; False where there is no score.

    Raises:
        InputError: The threshold is NaN.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> flagged(pd.DataFrame({"emergence_score": [7.0, 101.0, np.inf, np.nan]})).tolist()
        [False, True, True, False]
    """
    if np.isnan(threshold):
        raise InputError("not a number", where="threshold")
    score = scores["emergence_score"]
    return (score > threshold) | (score == np.inf)


def metrics_of_emergence(
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    level: Level = "task",
    by: Literal["metric", "metric_type"] = "metric",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Tabulate which metrics, or types of metric, the flagged curves belong to.

    Args:
        scores: Curve scores, from :func:`bigbench_meta.score_curves`.
        threshold: A curve with an emergence score above it is flagged.
        level: Which of a task's rows count, see :func:`select_level`.
        by: What to tabulate.
        confidence: Of the Wilson interval, which takes curves as independent; curves of one task
            are not, so the true uncertainty is larger.

    Returns:
        One row per metric (or type), most flagged curves first. ``n_curves``; ``n_scored`` (with an
        emergence score), of which ``n_finite`` and ``n_infinite``, upward or downward; ``n_flat``
        and ``n_too_few_scales`` (without); ``n_flagged``; ``n_fallen`` (score below minus the
        threshold); ``share_flagged`` of the scored curves with its interval ``share_low``,
        ``share_high``; ``n_tasks``, ``n_families`` and ``n_tasks_flagged``; ``share_of_curves`` and
        ``share_of_flags`` over all metrics; and their ratio ``flag_ratio``, 1 if flags fell on
        curves by chance. Shares of nothing are NaN.

    Raises:
        InputError: An unknown level or ``by``, or a confidence outside (0, 1).
        SchemaError: A column is missing.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 4 and Fig. 5.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> table = metrics_of_emergence(score_curves(build_curves(load_embedded())))
        >>> table[["metric", "n_curves", "n_flagged"]].head(2)
          metric  n_curves  n_flagged
        0    acc       123         19
        1    ppl         3          2
    """
    one_of(by, ("metric", "metric_type"), "by")
    counted = select_level(scores, level)
    frame = pd.DataFrame(
        {
            "by": counted[by].astype(str),
            "metric_type": counted["metric_type"].astype(str),
            "task": _task_names(counted),
            "model_family": counted["model_family"].astype(str),
            "infinite": np.isinf(counted["emergence_score"]),
            "finite": np.isfinite(counted["emergence_score"]),
            "flat": counted["status"].astype(str) == "flat",
            "too_few": counted["status"].astype(str) == "too_few_scales",
            "flagged": flagged(counted, threshold),
            "fallen": flagged(
                counted.assign(emergence_score=-counted["emergence_score"]), threshold
            ),
        }
    )
    groups = frame.groupby("by", sort=True)
    table = pd.DataFrame(
        {
            "metric_type": groups["metric_type"].agg(_joined),
            "n_curves": groups.size(),
            "n_scored": groups["finite"].sum() + groups["infinite"].sum(),
            "n_finite": groups["finite"].sum(),
            "n_infinite": groups["infinite"].sum(),
            "n_flat": groups["flat"].sum(),
            "n_too_few_scales": groups["too_few"].sum(),
            "n_flagged": groups["flagged"].sum(),
            "n_fallen": groups["fallen"].sum(),
            "n_tasks": groups["task"].nunique(),
            "n_families": groups["model_family"].nunique(),
            "n_tasks_flagged": frame[frame["flagged"]].groupby("by")["task"].nunique(),
        }
    )
    table["n_tasks_flagged"] = table["n_tasks_flagged"].fillna(0).astype("int64")
    if by == "metric_type":
        table = table.drop(columns="metric_type")
    table = _with_shares(table, confidence).rename_axis(by).reset_index()
    return table.sort_values(
        ["n_flagged", "n_scored", by], ascending=[False, False, True], ignore_index=True
    )


def _with_shares(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    low, high = _wilson(table["n_flagged"], table["n_scored"], confidence)
    share_of_curves = _share(table["n_scored"], table["n_scored"].sum())
    share_of_flags = _share(table["n_flagged"], table["n_flagged"].sum())
    return table.assign(
        share_flagged=_share(table["n_flagged"], table["n_scored"]),
        share_low=low,
        share_high=high,
        share_of_curves=share_of_curves,
        share_of_flags=share_of_flags,
        flag_ratio=_share(share_of_flags, share_of_curves),
    )


def threshold_sweep(
    scores: pd.DataFrame,
    *,
    thresholds: Iterable[float] = SWEEP,
    level: Level = "task",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Tabulate how the conclusion depends on the threshold, which the paper does not state.

    Args:
        scores: Curve scores.
        thresholds: Thresholds; ``inf`` counts infinite scores only.
        level: Which of a task's rows count, see :func:`select_level`.
        confidence: Of the Wilson interval on the share of metrics.

    Returns:
        One row per threshold, ascending: ``threshold``, ``n_scored``, ``n_flagged``, ``n_metrics``,
        ``n_metrics_flagged`` (with at least one flagged curve), their ratio
        ``share_metrics_flagged`` with ``share_low`` and ``share_high``, ``top_two_metrics`` (joined
        by ``;``), ``share_top_two`` of the flagged curves, NaN where none is flagged, and as its
        base rate ``share_top_two_of_curves``, what the same metrics hold of the scored curves.

    Raises:
        InputError: An unknown level, or a threshold that is not a number.
        SchemaError: A column is missing.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Fig. 5A and 5C.
    """
    if not (ordered := sorted(thresholds)):
        raise InputError("none given", where="thresholds")
    counted = select_level(scores, level)
    scored = counted[counted["emergence_score"].notna()]
    metric = scored["metric"].astype(str)
    rows: list[dict[str, Any]] = []
    for threshold in ordered:
        counts = metric[flagged(scored, threshold)].value_counts().sort_index()
        counts = counts.sort_values(ascending=False, kind="stable")
        top_two = counts.index[:2]
        rows.append(
            {
                "threshold": threshold,
                "n_scored": len(scored),
                "n_flagged": int(counts.sum()),
                "n_metrics": metric.nunique(),
                "n_metrics_flagged": len(counts),
                "top_two_metrics": ";".join(top_two),
                "share_top_two": counts[top_two].sum() / counts.sum() if len(counts) else np.nan,
                "share_top_two_of_curves": metric.isin(top_two).mean() if len(counts) else np.nan,
            }
        )
    table = pd.DataFrame(rows)
    low, high = _wilson(table["n_metrics_flagged"], table["n_metrics"], confidence)
    share = _share(table["n_metrics_flagged"], table["n_metrics"])
    table.insert(5, "share_metrics_flagged", share)
    table.insert(6, "share_low", low)
    table.insert(7, "share_high", high)
    return table


def claims_by_metric(
    *, scaling_classes: Sequence[str] = EMERGENT_CLASSES, confidence: float = 0.95
) -> pd.DataFrame:
    """Tabulate the hand-annotated claims of emergence by the task's preferred metric.

    Args:
        scaling_classes: Classes of the annotation that count as a claim.
        confidence: Of the Wilson interval on ``claim_rate``.

    Returns:
        One row per metric that any annotated task prefers, most claims first: ``metric``,
        ``metric_type``, ``on_paper_axis`` (one of the 39 of Fig. 5A), ``n_claims``, ``share`` of
        all claims, ``n_tasks`` (annotated tasks that prefer it), ``share_of_tasks``,
        ``claim_ratio`` (share of claims over share of tasks, 1 if claims fell on tasks by chance)
        and ``claim_rate`` (claims over tasks) with ``rate_low``, ``rate_high``. A task that prefers
        several metrics stands under their names joined by ``;``.

    Raises:
        InputError: A class that the annotation does not have.

    References:
        Wei et al. (2022), arXiv 2206.07682, App. E; Schaeffer et al. (2023), arXiv 2304.15004,
        Fig. 5B and 5C.

    Examples:
        >>> claims_by_metric()[["metric", "n_claims"]].head(2)
                          metric  n_claims
        0  multiple_choice_grade        51
        1        exact_str_match        12
    """
    tasks = scaling_annotation()
    known = set(tasks["scaling_class"])
    if unknown := set(scaling_classes) - known:
        raise InputError(
            f"no class {', '.join(sorted(unknown))}",
            where="scaling_classes",
            hint=f"there are {', '.join(sorted(known))}",
        )
    metric = tasks["task"].map(preferred_metrics())
    claim = tasks["scaling_class"].isin(list(scaling_classes))
    table = pd.DataFrame(
        {"n_claims": claim.groupby(metric).sum(), "n_tasks": metric.value_counts()}
    )
    keys = pd.DataFrame({"benchmark": "BIG-bench", "task": tasks["task"], "metric": metric})
    types = metric_catalog().lookup(keys)["metric_type"]
    low, high = _wilson(table["n_claims"], table["n_tasks"], confidence)
    table = table.assign(
        metric_type=types.groupby(metric).agg(_joined),
        on_paper_axis=table.index.isin(paper_metrics()),
        share=_share(table["n_claims"], table["n_claims"].sum()),
        share_of_tasks=_share(table["n_tasks"], table["n_tasks"].sum()),
        claim_rate=_share(table["n_claims"], table["n_tasks"]),
        rate_low=low,
        rate_high=high,
    )
    table["claim_ratio"] = _share(table["share"], table["share_of_tasks"])
    order = [
        "metric", "metric_type", "on_paper_axis", "n_claims", "share", "n_tasks", "share_of_tasks",
        "claim_ratio", "claim_rate", "rate_low", "rate_high",
    ]  # fmt: skip
    table = table.rename_axis("metric").reset_index()[order]
    return table.sort_values(
        ["n_claims", "n_tasks", "metric"], ascending=[False, False, True], ignore_index=True
    )


def claims_summary(table: pd.DataFrame) -> dict[str, Any]:
    """Summarise a table of claims as the paper's sec. 4 does.

    Args:
        table: What :func:`claims_by_metric` returns.

    Returns:
        ``n_claims``; ``n_metrics_with_claims``; ``n_claims_top_two`` and ``share_top_two``, the
        claims under the two metrics with most; as their base rate ``n_tasks``, all annotated tasks,
        ``n_tasks_top_two`` and ``share_of_tasks_top_two``, those that prefer no other metric;
        ``n_other_tasks``, ``n_other_tasks_top_two`` and ``share_of_other_tasks_top_two``, the same
        of tasks without a claim;
        ``n_paper_metrics``, the 39; ``n_paper_metrics_with_claims``, ``n_claims_on_paper_metrics``
        and ``share_top_two_on_paper_metrics``, the same among those.

    Examples:
        >>> claims_summary(claims_by_metric())["n_claims_on_paper_metrics"]
        66
    """
    on_axis = table[table["on_paper_axis"]]
    top_two = table[table["n_claims"] > 0].nlargest(2, "n_claims")
    both = set(";".join(top_two["metric"]).split(";"))
    within = table["metric"].map(lambda names: both.issuperset(names.split(";"))).astype(bool)
    n_tasks, n_tasks_top_two = int(table["n_tasks"].sum()), int(table.loc[within, "n_tasks"].sum())
    n_others = n_tasks - int(table["n_claims"].sum())
    n_others_top_two = n_tasks_top_two - int(table.loc[within, "n_claims"].sum())
    return {
        "n_claims": int(table["n_claims"].sum()),
        "n_metrics_with_claims": int((table["n_claims"] > 0).sum()),
        "n_claims_top_two": int(top_two["n_claims"].sum()),
        "share_top_two": _top_two(table["n_claims"]),
        "n_tasks": n_tasks,
        "n_tasks_top_two": n_tasks_top_two,
        "share_of_tasks_top_two": n_tasks_top_two / n_tasks if n_tasks else float("nan"),
        "n_other_tasks": n_others,
        "n_other_tasks_top_two": n_others_top_two,
        "share_of_other_tasks_top_two": n_others_top_two / n_others if n_others else float("nan"),
        "n_paper_metrics": len(paper_metrics()),
        "n_paper_metrics_with_claims": int((on_axis["n_claims"] > 0).sum()),
        "n_claims_on_paper_metrics": int(on_axis["n_claims"].sum()),
        "share_top_two_on_paper_metrics": _top_two(on_axis["n_claims"]),
    }


def _joined(names: pd.Series[str]) -> str:
    return ";".join(sorted(set(names)))


def _top_two(counts: pd.Series[int]) -> float:
    total = counts.sum()
    return float(counts.nlargest(2).sum() / total) if total else float("nan")


def _task_names(scores: pd.DataFrame) -> pd.Series[str]:
    """Return a name for each task or subtask that is unique across benchmarks."""
    names = scores["subtask"].astype(str) + "\0" + scores["task"].astype(str)
    return names + "\0" + scores["benchmark"].astype(str) if "benchmark" in scores else names


def _share(part: pd.Series[Any], whole: pd.Series[Any] | float) -> pd.Series[float]:
    # A share of nothing is unknown, not zero.
    return (part / whole).replace([np.inf, -np.inf], np.nan).astype("float64")


def _wilson(
    count: pd.Series[int], total: pd.Series[int], confidence: float
) -> tuple[pd.Series[float], pd.Series[float]]:
    low, high = wilson(count, total, confidence=probability(confidence, "confidence"))
    return pd.Series(low, index=count.index), pd.Series(high, index=count.index)
