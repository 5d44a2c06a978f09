"""The whole study of one set of observations: curves, scores, tables and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from bigbench_meta.aggregate.attribution.account import account_for_flags
from bigbench_meta.aggregate.by_metric import flagged, select_level
from bigbench_meta.aggregate.emergence_criteria import could_meet
from bigbench_meta.aggregate.options import StudyOptions
from bigbench_meta.core.cards import Card, Carded
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import Execution, kept_workers
from bigbench_meta.core.text import counted
from bigbench_meta.curves.runs import doubtful_sentences
from bigbench_meta.inference.chunks import INFERENCE_COST
from bigbench_meta.report.answer import study_answer
from bigbench_meta.report.charts.by_metric import (
    plot_claims_by_metric,
    plot_emergence_by_metric,
    plot_threshold_sweep,
)
from bigbench_meta.report.charts.curves import plot_curves
from bigbench_meta.report.charts.intervals import plot_intervals
from bigbench_meta.report.tables.attribution import account_tables
from bigbench_meta.report.tables.study import evidence_tables, issues_table, study_tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from bigbench_meta.aggregate.attribution.account import Account
    from bigbench_meta.aggregate.by_metric import Level
    from bigbench_meta.aggregate.yardstick import Yardstick
    from bigbench_meta.catalog.embedded import EmbeddedSet
    from bigbench_meta.catalog.known_issues import IssueFindings
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.chunks import Samples
    from bigbench_meta.inference.curve_evidence import Variation
    from bigbench_meta.report.charts.figure import Figure
    from bigbench_meta.report.tables.table import Table

__all__ = ["Study", "run_study"]

# Points of a figure that Jupyter shows with a study.
_MOST_DRAWN: Final = 5_000


@dataclass(frozen=True, kw_only=True, repr=False)
class Study(Carded):
    """Everything that :func:`run_study` found.

    Attributes:
        curves: All curves.
        scores: Scores of all curves, in their order.
        counted: The scores of the chosen level, with their evidence if it was asked for.
        problems: Problems of reading.
        known_issues: Which known issues touch the observations, and what was left out for them.
        threshold: Curves with a score above it are flagged.
        level: Which of a task's rows count.
        account: What accounts for the flags; None without inference, and of sets whose curves
            were chosen for their shape.
        pairs: The same outputs under two metrics, see :func:`bigbench_meta.metric_change`; None
            without inference.
        expected: How many curves would meet each criterion if all families improved smoothly, see
            :func:`bigbench_meta.expected_if_smooth`; None if it was not asked for, and of sets
            whose curves were chosen for their shape.
        embedded: The embedded set that was studied, if it is one.
        tables: Tables by name.
        figures: Figures by name.
    """

    curves: Curves
    scores: pd.DataFrame
    counted: pd.DataFrame
    problems: pd.DataFrame
    known_issues: IssueFindings
    threshold: float
    level: Level
    account: Account | None
    pairs: pd.DataFrame | None
    expected: pd.DataFrame | None
    embedded: EmbeddedSet | None
    tables: dict[str, Table]
    figures: dict[str, Figure]

    def _card(self) -> Card:
        first, *more = self.summary
        known = {
            "tables": ", ".join(self.tables),
            "figures": ", ".join(self.figures),
            "see": "study.tables[name], study.figures[name], bm.explore(study)",
        }
        return Card(title=first, notes=more, facts=known)

    def _more(self) -> Markup:
        """Return the table of metrics and, if it is not large, the figure of them."""
        shown = self.tables["by_metric"]._repr_html_() or ""
        figure = self.figures.get("emergence_by_metric")
        if figure is not None and len(figure.data) <= _MOST_DRAWN:
            shown += figure._repr_svg_()
        return Markup(shown)  # noqa: S704 - both are escaped

    @property
    def keys(self) -> pd.DataFrame:
        """Keys of the curves at the level."""
        return self.curves.keys.loc[self.counted.index]

    @property
    def n_flagged(self) -> int:
        """Number of flagged curves at the level."""
        return int(flagged(self.counted, self.threshold).sum())

    @property
    def n_infinite(self) -> int:
        """Number of flagged curves at the level with an infinite score."""
        return int(self.counted["emergence_score"].eq(float("inf")).sum())

    @property
    def n_scored(self) -> int:
        """Number of curves at the level that have an emergence score."""
        return int(self.counted["emergence_score"].notna().sum())

    @property
    def n_out_of_reach(self) -> int:
        """Number of scored curves of three models, if those cannot reach the threshold."""
        could = could_meet(self.counted, "flagged", threshold=self.threshold)
        return int((self.counted["emergence_score"].notna() & ~could).sum())

    @property
    def headline(self) -> str:
        """How many curves look emergent, and how many could not be scored, in a few sentences."""
        of_all, above = counted(len(self.counted), "curve"), f"above {self.threshold:g}"
        alone, unscored = len(self.counted) == 1, len(self.counted) - self.n_scored
        few = int(self.counted["status"].eq("too_few_scales").sum())
        some = "" if few == unscored else f"{few} of them "
        why = f", {some}because too few models have both a scale and a score" if few else ""
        if self.n_flagged:
            look, their = ("looks", "its") if self.n_flagged == 1 else ("look", "their")
            some = "The only curve" if alone else f"{self.n_flagged} of {of_all}"
            text = f"{some} {look} emergent: {their} emergence score is {above}"
            if self.n_infinite == self.n_flagged:
                text += f", and infinite because most of {their} steps are exactly zero"
            elif self.n_infinite:
                text += f", and infinite for {self.n_infinite}, where most steps are exactly zero"
        elif not self.n_scored:
            all_ = "The only curve has no" if alone else f"None of {of_all} has an"
            text = f"{all_} emergence score{why}"
        elif alone:
            text = f"The only curve does not look emergent: its emergence score is not {above}"
        else:
            text = f"None of {of_all} looks emergent: no emergence score is {above}"
        text = " ".join([*doubtful_sentences(self.keys), f"{text}."])
        if unscored and self.n_scored:
            has = "has" if unscored == 1 else "have"
            text += f" {counted(unscored, 'curve')} {has} no score{why}."
        if self.n_out_of_reach:
            text += f" {counted(self.n_out_of_reach, 'has', 'have')} three models, with which E is "
            text += "at most 2."
        return text

    @property
    def summary(self) -> list[str]:
        """What was found, what could and would have been, and limits, in sentences."""
        return study_answer(self)

    @property
    def pairs_sentence(self) -> str:
        """One or two sentences on the same outputs under two metrics; empty without inference."""
        if self.pairs is None:
            return ""
        from bigbench_meta.aggregate.metric_change import change_sentence

        return change_sentence(self.pairs)

    @property
    def yardstick_sentences(self) -> list[str]:
        """How many flags smooth improvement predicts, and how many resolution-limited ones."""
        if self.expected is None:
            return []
        from bigbench_meta.aggregate.yardstick import SCORES_ALONE, yardstick_sentence

        return [
            yardstick_sentence(self.expected, criterion=name, threshold=self.threshold)
            for name in SCORES_ALONE
        ]


def run_study(
    observations: pd.DataFrame | Iterable[pd.DataFrame],
    problems: pd.DataFrame,
    options: StudyOptions | None = None,
    *,
    embedded: EmbeddedSet | None = None,
    inference: bool = False,
    yardstick: Yardstick | None = "quick",
    n_boot: int | None = None,
    seed: int = 0,
    variation: Variation = "both",
    alpha_range: tuple[float, float] | None = None,
    samples: Samples | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> Study:
    """Score every curve and tabulate and draw which metrics account for the flagged ones.

    Args:
        observations: Observations table, or groups of whole tasks, see
            :meth:`bigbench_meta.Store.observation_groups`.
        problems: Problems table, carried along for the report.
        options: Threshold, level, scale axis, catalog and the like.
        embedded: The embedded set that the observations are. Its page says what it can show; what
            accounts for the flags, and what smooth families would show, is asked of evidence only.
        inference: Whether to say how sure the scores are (intervals, tests, forecasts), whether
            they stay under another metric of the same outputs, and what accounts for the flags, see
            :func:`bigbench_meta.score_curves`. Tests are corrected for the curves of the level.
        yardstick: Criteria for which the study is simulated under smooth improvement, see
            :func:`bigbench_meta.expected_if_smooth`; None for none, as without inference.
        n_boot: Bootstrap replicates of intervals, and the most of a test; by default as many as
            the search needs.
        seed: Seed of all resampling.
        variation: Where the mechanism's variation between models comes from.
        alpha_range: Bounds of its exponent.
        samples: Samples table, or what :meth:`bigbench_meta.Store.samples_by_task` returns, for
            intervals that resample examples.
        execution: How the inference is spread, and where finished chunks are kept.
        progress: Whether to show a bar, or what to call with (work done, work) of the inference; by
            default a bar in terminals and notebooks.

    Returns:
        The study.

    Raises:
        InputError: There is no curve at the level, or no such known issue.
        SchemaError: ``observations`` is no observations table.
    """
    options = options or StudyOptions()
    threshold = options.threshold
    curves, findings = options.curves(observations)
    scores = options.scores(curves)
    of_level = select_level(scores, options.level)
    flagged(of_level, threshold)  # refuses a threshold that is no number, before the work
    if of_level.empty:
        raise InputError(
            f"none of {len(scores)} curves is at level {options.level!r}",
            where="level",
            hint=findings.summary
            if findings.n_rows_excluded and scores.empty
            else "level 'subtask' counts tasks that come without an aggregate row",
        )
    # Of curves that were chosen for their shape, or made, a count says nothing.
    is_evidence = embedded is None or embedded.role == "evidence"
    pairs = expected = None
    if inference:
        level_curves = curves[scores.index.isin(of_level.index)]
        execution = execution or Execution()
        shared: Any = {
            "threshold": threshold, "seed": seed, "min_scales": options.min_scales,
            "catalog": options.catalog, "execution": execution, "progress": progress,
        }  # fmt: skip
        whole = execution.sized(INFERENCE_COST * len(level_curves))
        with kept_workers(whole, module="bigbench_meta.aggregate.metric_change"):
            # Imports scipy.stats and statsmodels, a second's work, as the processes do.
            from bigbench_meta.aggregate.metric_change import metric_change
            from bigbench_meta.aggregate.yardstick import expected_if_smooth
            from bigbench_meta.inference.curve_evidence import ALPHA_RANGE, curve_evidence

            alpha_range = alpha_range or ALPHA_RANGE
            evidence = curve_evidence(
                level_curves, n_boot=n_boot, variation=variation, alpha_range=alpha_range,
                samples=samples, **shared,
            ).set_index(of_level.index)  # fmt: skip
            of_level, scores = of_level.join(evidence), scores.join(evidence)
            pairs = metric_change(level_curves, samples=samples, n_boot=n_boot or 999, **shared)
            if yardstick and is_evidence:
                expected = expected_if_smooth(
                    level_curves, of_level.reset_index(drop=True), yardstick=yardstick,
                    n_boot=n_boot, variation=variation, alpha_range=alpha_range, **shared,
                )  # fmt: skip
    tables = [*study_tables(scores, of_level, problems, threshold), issues_table(findings)]
    if inference:
        tables += evidence_tables(of_level, expected, threshold)
    drawn_pairs = last_forecasts = None
    if pairs is not None:
        from bigbench_meta.report.charts.forecasts import plot_last_forecasts
        from bigbench_meta.report.charts.metric_change import plot_metric_change
        from bigbench_meta.report.tables.metric_change import metric_change_tables

        tables += metric_change_tables(pairs)
        drawn_pairs = plot_metric_change(curves, pairs, catalog=options.catalog)
        last_forecasts = plot_last_forecasts(of_level, threshold=threshold, catalog=options.catalog)
    yardstick_figure = None
    if expected is not None:
        from bigbench_meta.report.charts.yardstick import plot_expected

        yardstick_figure = plot_expected(expected, threshold=threshold)
    account = None
    if inference and is_evidence:
        account = account_for_flags(of_level, threshold=threshold, level="all")
        tables += account_tables(account)
    by_name = {table.name: table for table in tables}
    figures = [
        plot_emergence_by_metric(of_level, threshold=threshold),
        plot_threshold_sweep(of_level, threshold=threshold),
        plot_curves(curves, of_level, threshold=threshold, catalog=options.catalog)
        if flagged(of_level, threshold).any()
        else None,
        plot_intervals(of_level, threshold=threshold) if inference else None,
        yardstick_figure,
        last_forecasts,
        drawn_pairs,
        plot_claims_by_metric(by_name["claims_by_metric"].frame),
    ]
    return Study(
        curves=curves,
        scores=scores,
        counted=of_level,
        problems=problems,
        known_issues=findings,
        threshold=threshold,
        level=options.level,
        account=account,
        pairs=pairs,
        expected=expected,
        embedded=embedded,
        tables=by_name,
        figures={figure.name: figure for figure in figures if figure},
    )
