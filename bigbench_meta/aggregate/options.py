"""The options of a study: how observations become scored and flagged curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.catalog.known_issues import IssueFindings, check_known_issues
from bigbench_meta.curves.build import build_curves
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.curves.runs import ALL
from bigbench_meta.curves.survey import Surveyed
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bigbench_meta.aggregate.by_metric import Level
    from bigbench_meta.catalog.known_issues import KnownIssues
    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

__all__ = ["StudyOptions"]


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options of :func:`bigbench_meta.run_study` and :func:`bigbench_meta.sensitivity`.

    Attributes:
        threshold: Curves with an emergence score above it are flagged.
        level: Which of a task's rows count, see :func:`bigbench_meta.select_level`.
        scale: Scale axis, see :func:`bigbench_meta.build_curves`.
        checkpoint: Which checkpoint of a model counts, see :func:`bigbench_meta.build_curves`.
        min_scales: Curves with fewer points are not scored.
        catalog: Metric catalog; the packaged one by default.
        issues: Registry of known issues; the packaged one by default.
        exclude_known_issues: Whether to exclude the rows that known issues affect, or the names of
            the issues whose rows to exclude.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> options = StudyOptions(exclude_known_issues=True)
        >>> curves, findings = options.curves(load_embedded())
        >>> len(options.scores(curves)), findings.n_rows_excluded
        (183, 48)
    """

    threshold: float = DEFAULT_THRESHOLD
    level: Level = "task"
    scale: str | None = None
    checkpoint: str = ALL
    min_scales: int = MIN_SCALES
    catalog: MetricCatalog | None = None
    issues: KnownIssues | None = None
    exclude_known_issues: bool | Sequence[str] = False

    def curves(
        self, observations: pd.DataFrame | Iterable[pd.DataFrame]
    ) -> tuple[Curves, IssueFindings]:
        """Return the curves, and which known issues affect the observations.

        Args:
            observations: Observations table, or groups of whole tasks, see
                :meth:`bigbench_meta.Store.observation_groups`.

        Raises:
            InputError: No such known issue.
            SchemaError: ``observations`` is no observations table.
        """
        how: Any = {"scale": self.scale, "checkpoint": self.checkpoint, "catalog": self.catalog}
        check = partial(check_known_issues, issues=self.issues, exclude=self.exclude_known_issues)
        if isinstance(observations, pd.DataFrame):
            some, findings = check(observations)
            return build_curves(some, **how), findings
        groups = _Kept(observations, check)
        kept: Iterable[pd.DataFrame] = groups
        if isinstance(observations, Surveyed) and not self.exclude_known_issues:
            kept = Surveyed(groups, observations.survey)
        return build_curves(kept, **how), IssueFindings.joined(groups.found)

    def scores(self, curves: Curves) -> pd.DataFrame:
        """Return the scores of the curves, see :func:`bigbench_meta.score_curves`."""
        return score_curves(curves, min_scales=self.min_scales)


@dataclass
class _Kept:
    """Observations in groups, without what is excluded for known issues.

    Attributes:
        found: What was found in the groups that were gone through last.
    """

    groups: Iterable[pd.DataFrame]
    check: Callable[[pd.DataFrame], tuple[pd.DataFrame, IssueFindings]]
    found: list[IssueFindings] = field(default_factory=list)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        self.found = []
        for group in self.groups:
            kept, findings = self.check(group)
            self.found.append(findings)
            yield kept
