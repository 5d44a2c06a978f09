"""The tables of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd

from bigbench_meta.aggregate.by_metric import (
    claims_by_metric,
    claims_summary,
    flagged,
    metrics_of_emergence,
    threshold_sweep,
)
from bigbench_meta.aggregate.emergence_criteria import evidence_summary
from bigbench_meta.report.tables.shapes import shape_tables
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from bigbench_meta.catalog.known_issues import IssueFindings

__all__ = ["claims_table", "evidence_tables", "issues_table", "study_tables"]


def study_tables(
    scores: pd.DataFrame, counted: pd.DataFrame, problems: pd.DataFrame, threshold: float
) -> list[Table]:
    """Return the tables that every study has.

    Args:
        scores: Scores of all curves.
        counted: Those that count, with their evidence where there is any.
        problems: Problems of reading.
        threshold: Of the emergence score.
    """
    chosen = counted[flagged(counted, threshold)]
    chosen = chosen.sort_values("emergence_score", ascending=False, kind="stable")
    return [
        _metrics_table(counted, threshold, "metric"),
        _metrics_table(counted, threshold, "metric_type"),
        Table(
            name="threshold_sweep",
            caption="The same question at other thresholds; the paper states none.",
            frame=threshold_sweep(counted, level="all"),
            columns=("threshold", "n_scored", "n_flagged", "n_metrics_flagged", "n_metrics",
                     "share_metrics_flagged", "top_two_metrics", "share_top_two"),
            brief=("threshold", "n_scored", "n_flagged", "n_metrics_flagged", "n_metrics",
                   "top_two_metrics", "share_top_two"),
        ),
        claims_table(claims_by_metric()),
        Table(
            name="flagged_curves",
            caption=f"Curves with an emergence score above {threshold:g}, highest first.",
            frame=chosen,
            columns=("subtask", "metric", "metric_type", "model_family", "shots", "n_scales",
                     "emergence_score", "relative_sharpness", "resolution_limited_score", "status"),
            brief=("subtask", "metric", "shots", "n_scales", "emergence_score",
                   "resolution_limited_score", "status"),
        ),
        Table(
            name="curve_scores",
            caption="Every curve.",
            frame=scores,
            columns=("subtask", "metric", "model_family", "shots", "n_scales", "emergence_score",
                     "status"),
        ),
        Table(name="problems", caption="What could not be read, or was read with a doubt.",
              frame=problems),
    ]  # fmt: skip


def _metrics_table(
    counted: pd.DataFrame, threshold: float, by: Literal["metric", "metric_type"]
) -> Table:
    named = "metric" if by == "metric" else "type of metric"
    types = ("metric_type",) if by == "metric" else ()
    return Table(
        name=f"by_{by}",
        caption=(
            f"Curves with an emergence score above {threshold:g}, by {named}. The flag ratio is "
            "the share of flags over the share of scored curves: 1 if flags fell by chance."
        ),
        # The rows were chosen by level already.
        frame=metrics_of_emergence(counted, threshold=threshold, level="all", by=by),
        columns=(by, *types, "n_curves", "n_scored", "n_flagged", "n_infinite", "share_flagged",
                 "share_low", "share_high", "share_of_curves", "share_of_flags", "flag_ratio",
                 "n_tasks_flagged"),
        brief=(by, *types, "n_scored", "n_flagged", "n_infinite", "share_flagged",
               "share_of_curves", "share_of_flags", "flag_ratio"),
    )  # fmt: skip


def evidence_tables(counted: pd.DataFrame, threshold: float) -> list[Table]:
    """Return the tables of a study with inference.

    Args:
        counted: Scores of the curves that count, with their evidence.
        threshold: Of the emergence score.

    Returns:
        ``evidence_summary``, ``flagged_evidence``, ``last_scale_forecasts``, ``trends`` and
        ``trends_by_shape``.
    """
    flags = flagged(counted, threshold)
    chosen = counted[flags].sort_values("emergence_score", ascending=False, kind="stable")
    return [
        _summary_table(counted, threshold),
        Table(
            name="flagged_evidence",
            caption=(
                f"How sure the flagged curves are (E above {threshold:g}): 95% interval of E, "
                "false discovery rates of a step beyond a straight line and beyond the smooth "
                "mechanism (with the curve's own and with its family's variation between models), "
                "p-value of that mechanism's fit without variation between models, "
                "Wei's definition, and bits of surprise at the largest scale."
            ),
            frame=chosen,
            columns=("subtask", "metric", "model_family", "shots", "emergence_score",
                     "emergence_low", "emergence_high", "line_q_bh", "mechanism_p",
                     "mechanism_q_bh", "mechanism_at_bound", "family_q_bh", "mechanism_p_fit",
                     "wei_emergent", "trend", "forecast_surprise"),
            brief=("subtask", "metric", "shots", "emergence_score", "emergence_low",
                   "emergence_high", "line_q_bh", "mechanism_q_bh", "family_q_bh", "wei_emergent",
                   "forecast_surprise"),
        ),
        _forecast_table(counted, flags),
        *shape_tables(counted.assign(flagged=flags))[:2],
    ]  # fmt: skip


def _summary_table(counted: pd.DataFrame, threshold: float) -> Table:
    """Return criteria by group of curves: how many hold, of how many of which it can be told."""
    found = evidence_summary(counted, threshold=threshold)
    cells = found["n_met"].astype(str) + "/" + found["n_judged"].astype(str)
    wide = found.assign(cell=cells).pivot_table(
        index=["criterion", "meaning"], columns="group", values="cell", aggfunc="first", sort=False
    )
    groups = [str(group) for group in wide.columns]
    return Table(
        name="evidence_summary",
        caption=(
            "Ways in which curves depart from a smooth, predictable rise: how many do, of how many "
            "of which it can be told; of all curves, of those flagged, and by type of metric."
            + _attainable(counted)
        ),
        frame=wide.reset_index().rename_axis(columns=None),
        columns=("meaning", *groups),
    )


def _attainable(counted: pd.DataFrame) -> str:
    """Say what the number of replicates lets a p-value be."""
    n_boot, searched = counted["n_boot"].max(), counted["mechanism_n_searched"].max()
    if pd.isna(n_boot) or not searched:
        return ""
    least = 1 / (1 + int(n_boot))
    return (
        f" With at most {int(n_boot):,} replicates no p-value is below {least:.2g}, and of "
        f"{int(searched):,} curves tested no one alone below {min(least * int(searched), 1):.2g} "
        "once it is corrected."
    )


def _forecast_table(counted: pd.DataFrame, flags: pd.Series[bool]) -> Table:
    rows = []
    for name, group in (("flagged", counted[flags]), ("not flagged", counted[~flags])):
        covered = group["forecast_covered"].astype("Float64").dropna()
        skill = group["forecast_skill"].dropna()
        rows.append(
            {
                "group": name,
                "n_curves": len(group),
                "n_forecast": int(group["forecast"].notna().sum()),
                "coverage": float(covered.mean()) if len(covered) else float("nan"),
                "n_skill": len(skill),
                "median_skill": skill.median(),
                "share_better": float((skill > 0).mean()) if len(skill) else float("nan"),
                "median_surprise": group["forecast_surprise"].median(),
            }
        )
    return Table(
        name="last_scale_forecasts",
        caption=(
            "Forecasts of the largest scale from all smaller ones: the share of 95% intervals that "
            "hold it, skill against the forecast that nothing changes (1 is perfect, 0 no better), "
            "the share of forecasts that are better than that, and the median surprise in bits "
            "(1 where intervals tell the truth). A flagged curve was chosen for a large step, "
            "which is often the last one."
        ),
        frame=pd.DataFrame(rows),
    )


def issues_table(findings: IssueFindings) -> Table:
    """Return the table of known issues.

    Args:
        findings: Which of them touch the observations.
    """
    return Table(
        name="known_issues",
        caption=(
            "Known issues of the data that touch these scores (data/known_issues.csv), and whether "
            "the rows were left out."
        ),
        frame=findings.affected,
        columns=("id", "n_rows", "n_curves", "excluded", "effect", "source"),
        brief=("id", "n_rows", "n_curves", "excluded"),
    )


def claims_table(frame: pd.DataFrame) -> Table:
    """Return the table of hand-annotated claims.

    Args:
        frame: What :func:`bigbench_meta.claims_by_metric` returns.
    """
    total = claims_summary(frame)
    return Table(
        name="claims_by_metric",
        caption=(
            f"{total['n_claims']} hand-annotated claims of emergence (Wei et al. 2022) by the "
            f"task's preferred metric. Two metrics hold {total['share_top_two']:.1%} of them, and "
            f"{total['n_paper_metrics_with_claims']} of the paper's {total['n_paper_metrics']} "
            "metrics hold any; metrics that are not among them may too. The claim ratio is the "
            "share of claims over the share of annotated "
            "tasks: 1 if claims fell by chance."
        ),
        frame=frame,
        columns=("metric", "metric_type", "n_claims", "share", "n_tasks", "share_of_tasks",
                 "claim_ratio", "claim_rate", "rate_low", "rate_high"),
        brief=("metric", "metric_type", "n_claims", "share", "n_tasks", "share_of_tasks",
               "claim_ratio"),
        most_rows=12,
    )  # fmt: skip
