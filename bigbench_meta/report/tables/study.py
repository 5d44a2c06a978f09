"""The tables that make up a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd

from bigbench_meta.aggregate.by_metric import (
    claims_by_metric,
    claims_summary,
    flagged,
    metrics_of_emergence,
    threshold_sweep,
)
from bigbench_meta.aggregate.emergence_criteria import evidence_summary
from bigbench_meta.aggregate.yardstick import yardstick_sentence
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
            caption="Flagged curves and the metrics they belong to, by the threshold of the "
            "emergence score E. Schaeffer et al. (2023) state no threshold; at ∞ only infinite "
            "scores count.",
            frame=threshold_sweep(counted, level="all"),
            columns=("threshold", "n_scored", "n_flagged", "n_metrics_flagged", "n_metrics",
                     "share_metrics_flagged", "top_two_metrics", "share_top_two",
                     "share_top_two_of_curves"),
            brief=("threshold", "n_scored", "n_flagged", "n_metrics_flagged", "n_metrics",
                   "top_two_metrics", "share_top_two", "share_top_two_of_curves"),
        ),
        claims_table(claims_by_metric()),
        Table(
            name="flagged_curves",
            caption=f"The {len(chosen):,} {'curve' if len(chosen) == 1 else 'curves'} with an "
            f"emergence score E above {threshold:g}, highest first. The resolution-limited score "
            "takes the median step as at least one example.",
            frame=chosen,
            columns=("subtask", "metric", "metric_type", "model_family", "shots", "n_scales",
                     "emergence_score", "relative_sharpness", "resolution_limited_score", "status"),
            brief=("subtask", "metric", "shots", "n_scales", "emergence_score",
                   "resolution_limited_score", "status"),
        ),
        Table(
            name="curve_scores",
            caption="Emergence score of every curve.",
            frame=scores,
            columns=("subtask", "metric", "model_family", "shots", "n_scales", "emergence_score",
                     "status"),
        ),
        Table(name="problems", caption="What could not be read, or is doubtful.", frame=problems),
    ]  # fmt: skip


def _metrics_table(
    counted: pd.DataFrame, threshold: float, by: Literal["metric", "metric_type"]
) -> Table:
    named = "metric" if by == "metric" else "type of metric"
    n_flagged = int(flagged(counted, threshold).sum())
    n_scored = int(counted["emergence_score"].notna().sum())
    types = ("metric_type",) if by == "metric" else ()
    return Table(
        name=f"by_{by}",
        caption=(
            f"{n_flagged} of {n_scored} curves with an emergence score E are flagged (E above "
            f"{threshold:g}), by {named}. The flag ratio is the share of flags over the share of "
            "scored curves: 1 if flags fell on curves by chance."
        ),
        # The rows were chosen by level already.
        frame=metrics_of_emergence(counted, threshold=threshold, level="all", by=by),
        columns=(by, *types, "n_curves", "n_scored", "n_flagged", "n_infinite", "share_flagged",
                 "share_low", "share_high", "share_of_curves", "share_of_flags", "flag_ratio",
                 "n_tasks_flagged"),
        brief=(by, *types, "n_scored", "n_flagged", "n_infinite", "share_flagged",
               "share_of_curves", "share_of_flags", "flag_ratio"),
    )  # fmt: skip


def evidence_tables(
    counted: pd.DataFrame, expected: pd.DataFrame | None, threshold: float
) -> list[Table]:
    """Return the tables of a study with inference.

    Args:
        counted: Scores of the curves that count, with their evidence.
        expected: What smooth families would have shown, see
            :func:`bigbench_meta.expected_if_smooth`; None if not known.
        threshold: Of the emergence score.

    Returns:
        ``evidence_summary``, ``evidence_by_type``, ``flagged_evidence``,
        ``last_scale_forecasts``, ``trends`` and ``trends_by_shape``.
    """
    flags = flagged(counted, threshold)
    chosen = counted[flags].sort_values("emergence_score", ascending=False, kind="stable")
    return [
        *_summary_tables(counted, expected, threshold),
        Table(
            name="flagged_evidence",
            caption=(
                f"How sure the {len(chosen)} flagged curves are (E above {threshold:g}): the 95% "
                "interval of E; false discovery rates (q) of a step larger than a straight line "
                "explains, and than the smooth mechanism explains, with the curve's own or its "
                "family's variation between models; emergence as Wei et al. (2022) define it; and "
                "the surprise of the score at the largest scale, in bits."
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


# Where the variation between models comes from, in a heading.
_SIGMA: Final = {"family": "family's σ", "curve": "own σ", "zero": "σ = 0"}
# Columns of the short form: counts, what is compared, and what the family's sigma expects.
_BRIEF: Final = 6


def _summary_tables(
    counted: pd.DataFrame, expected: pd.DataFrame | None, threshold: float
) -> list[Table]:
    """Return criteria with what smooth families would show, and by group of curves."""
    found = evidence_summary(counted, threshold=threshold)
    found["cell"] = found["observed"].astype(str) + "/" + found["decidable"].astype(str)
    wide = found.pivot_table(
        index=["criterion", "meaning"], columns="group", values="cell", aggfunc="first", sort=False
    )
    of_all = found[found["group"] == "all"].drop(columns=["group", "cell"])
    shown = ["meaning", "observed", "decidable"]
    caption = (
        "Curves that meet a criterion for a departure from a smooth, predictable rise, and curves "
        "that could have met it, given their models, test sets and the range of their scores."
    )
    if expected is not None:
        of_all, more = _beside_expected(of_all, expected)
        shown += more
        caption = (
            f"{yardstick_sentence(expected, threshold=threshold)} {caption} "
            "Expected: mean over simulated studies in which "
            "every curve that can be simulated improves smoothly, with its own metric, test set "
            "and models (in brackets the central 95% of studies), compared with the observed "
            "number among these curves; p: share of studies with at least as many."
        )
    return [
        Table(
            name="evidence_summary",
            caption=caption + _smallest_p(counted),
            frame=of_all,
            columns=tuple(shown),
            brief=tuple(shown[:_BRIEF]),
        ),
        Table(
            name="evidence_by_type",
            caption="Curves that meet each criterion / curves that could have met it: all of them, "
            "the flagged ones, and by type of metric.",
            frame=wide.reset_index().rename_axis(columns=None),
            columns=("meaning", *(str(group) for group in wide.columns)),
        ),
    ]


def _beside_expected(
    of_all: pd.DataFrame, expected: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Return criteria with what smooth families would show, and the columns to be shown."""
    of_all = of_all.set_index("criterion")
    shown = ["compared"]
    for sigma, label in _SIGMA.items():
        rows = expected[(expected["group"] == "all") & (expected["sigma"] == sigma)]
        rows = rows.set_index("criterion")
        of_all["compared"] = rows["observed"].astype(str) + "/" + rows["n_compared"].astype(str)
        of_all[f"expected, {label}"] = [
            f"{row['expected']:.1f} [{row['expected_low']:.0f}, {row['expected_high']:.0f}]"
            if criterion in rows.index
            else None
            for criterion in of_all.index
            for row in [rows.loc[criterion] if criterion in rows.index else {}]
        ]
        of_all[f"p, {label}"] = rows["p_value"]
        shown += [f"expected, {label}", f"p, {label}"]
    return of_all.reset_index(), shown


def _smallest_p(counted: pd.DataFrame) -> str:
    """Return the smallest p-value that the number of replicates allows, as a sentence."""
    n_boot, searched = counted["n_boot"].max(), counted["mechanism_n_searched"].max()
    if pd.isna(n_boot) or not searched:
        return ""
    least = 1 / (1 + int(n_boot))
    corrected = min(least * int(searched), 1)
    return (
        f" With {int(n_boot):,} replicates the smallest possible p-value is {least:.2g}, and after "
        f"Holm's correction over {int(searched):,} curves it is {corrected:.2g}."
    )


def _forecast_table(counted: pd.DataFrame, flags: pd.Series[bool]) -> Table:
    rows: list[dict[str, Any]] = []
    for name, group in (("flagged", counted[flags]), ("not flagged", counted[~flags])):
        covered = group["forecast_covered"].astype("Float64").dropna()
        skill = group["forecast_skill"].dropna()
        rows.append(
            {
                "group": name,
                "n_curves": len(group),
                "n_forecast": int(group["forecast"].notna().sum()),
                "n_not_predictable": int((group["forecast_status"] == "not_predictable").sum()),
                "coverage": float(covered.mean()) if len(covered) else float("nan"),
                "n_skill": len(skill),
                "median_skill": skill.median(),
                "share_better": float((skill > 0).mean()) if len(skill) else float("nan"),
                "median_surprise": group["forecast_surprise"].median(),
            }
        )
    held = [
        f"{row['coverage']:.0%} of {row['group']} curves"
        for row in rows
        if not pd.isna(row["coverage"])
    ]
    finding = (
        "95% forecast intervals from all smaller scales contain the score at the largest scale of "
        f"{' and '.join(held)}. "
    )
    return Table(
        name="last_scale_forecasts",
        caption=(
            (finding if held else "")
            + "Coverage is the share of intervals that contain the score; curves whose smaller "
            "scales predict nothing are left out of it and counted. Skill compares with the "
            "forecast that nothing changes: 1 is perfect, 0 no better. The median surprise is 1 "
            "bit if the intervals are calibrated. Flagged curves were selected for a large step, "
            "which is often the last one, so they are more surprising."
        ),
        frame=pd.DataFrame(rows),
    )


def issues_table(findings: IssueFindings) -> Table:
    """Return the table of known issues.

    Args:
        findings: Which of them affect the observations.
    """
    return Table(
        name="known_issues",
        caption=(
            "Known issues of the data (data/known_issues.csv) that affect these scores, and "
            "whether the affected rows were excluded."
        ),
        frame=findings.affected,
        columns=("id", "n_rows", "n_curves", "excluded", "effect", "source"),
        links=("source",),
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
            f"Two metrics have {total['n_claims_top_two']} of the {total['n_claims']} "
            "hand-annotated claims of emergence (Wei et al. 2022), by the preferred metric of the "
            f"task: {total['share_top_two']:.1%}. Of the {total['n_tasks']} annotated tasks the "
            f"same two have {total['n_tasks_top_two']}: {total['share_of_tasks_top_two']:.1%}. "
            f"{total['n_paper_metrics_with_claims']} of the {total['n_paper_metrics']} metrics of "
            "Schaeffer et al. (2023) have claims; metrics outside that list may have some too. "
            "The claim ratio is the share of claims over the share of annotated tasks: 1 if claims "
            "fell on tasks by chance."
        ),
        frame=frame,
        columns=("metric", "metric_type", "n_claims", "share", "n_tasks", "share_of_tasks",
                 "claim_ratio", "claim_rate", "rate_low", "rate_high"),
        brief=("metric", "metric_type", "n_claims", "share", "n_tasks", "share_of_tasks",
               "claim_ratio"),
        most_rows=12,
    )  # fmt: skip
