"""Does the conclusion depend on the threshold, the axis, a family, a single scale?

Every statistic of :mod:`aggregate.attribution.account` under every change of a single choice, as
one tidy table.

References:
    Steegen et al. (2016), "Increasing transparency through a multiverse analysis",
    DOI 10.1177/1745691616658637. Simonsohn, Simmons & Nelson (2020), "Specification curve
    analysis", DOI 10.1038/s41562-020-0912-z.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.account import flag_estimates
from bigbench_meta.aggregate.attribution.flag_models import COVARIATES
from bigbench_meta.aggregate.attribution.scale_deletion import (
    leave_one_scale_out,
    scale_deletion_shares,
)
from bigbench_meta.aggregate.attribution.variants import Inputs, Variant, variants
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, SWEEP, select_level
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bigbench_meta.aggregate.by_metric import Level
    from bigbench_meta.catalog.known_issues import KnownIssues
    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

__all__ = ["NO_DIFFERENCE", "sensitivity", "sensitivity_summary"]

NO_DIFFERENCE: Final = {
    "risk_ratio": 1.0, "odds_ratio": 1.0, "adjusted_odds_ratio": 1.0,
    "conditional_odds_ratio": 1.0, "paired_odds_ratio": 1.0, "common_odds_ratio": 1.0,
    "share_sharper": 0.5, "log_sharpness_difference": 0.0,
}  # fmt: skip
"""The value that each comparison of sharp with smooth metrics has if the class does not matter."""


def sensitivity(
    observations: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    level: Level = "task",
    scale: str | None = None,
    min_scales: int = MIN_SCALES,
    catalog: MetricCatalog | None = None,
    issues: KnownIssues | None = None,
    exclude_known_issues: bool | Iterable[str] = False,
    thresholds: Iterable[float] = SWEEP,
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Compute every statistic again with one choice of the analysis changed at a time.

    Args:
        observations: Observations table.
        threshold: Of the base; curves with an emergence score above it are flagged.
        level: Of the base, see :func:`bigbench_meta.select_level`.
        scale: Scale axis of the base, see :func:`bigbench_meta.build_curves`.
        min_scales: Of the base; curves with fewer points are not scored.
        catalog: Metric catalog; the packaged one by default.
        issues: Registry of known issues; the packaged one by default.
        exclude_known_issues: Of the base: whether to leave out rows that they touch, or which.
        thresholds: Thresholds to try.
        covariates: Of the regressions, see :func:`flag_models`.
        confidence: Of the intervals.
        progress: Called with (variants done, variants to do).

    Returns:
        One row a statistic and method of a variant: ``analysis``, ``setting``, ``statistic``,
        ``method``, ``estimate``, ``low``, ``high``, ``p_value``, ``n``, ``n_tasks``, ``status``,
        ``message``. The analyses are ``base``; ``threshold``; ``scale_axis``; ``min_scales``;
        ``normalisation`` (dividing by the range leaves every emergence score as it is, so what
        changes is that curves of no known range are left out; scores below chance set to chance is
        a change); ``score`` (the resolution-limited one); ``known_issues``; ``flat_curves`` counted
        as not flagged; ``unknown_types`` counted as one of the classes; ``level``; ``metrics`` (the
        preferred one of each task alone); ``leave_one_metric_out``; ``leave_one_family_out``; and
        ``leave_one_scale_out``, which takes the score without one of the scales for that of the
        whole curve and has also the shares of :func:`scale_deletion_shares`, as
        ``stay_flagged_*`` and ``become_flagged_*`` by class, with the scales that are dropped as
        setting.

    Raises:
        InputError: An option that cannot be.
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> table = sensitivity(load_embedded(), thresholds=[10])
        >>> odds = table[(table["statistic"] == "odds_ratio") & (table["method"] == "exact")]
        >>> odds[odds["analysis"].isin(["base", "threshold"])][
        ...     ["setting", "estimate", "low", "high"]
        ... ].round(2).values.tolist()
        [['', inf, 0.25, inf], ['10', 5.37, 0.69, 243.35]]
    """
    exclude = (
        exclude_known_issues
        if isinstance(exclude_known_issues, bool)
        else tuple(exclude_known_issues)
    )
    inputs = Inputs(observations=observations, catalog=catalog, issues=issues)
    base = Variant(
        threshold=threshold, level=level, scale=scale, min_scales=min_scales, exclude=exclude
    )
    base_curves = inputs.curves(base)
    parts = []
    tried = variants(inputs, base, thresholds=thresholds)
    for number, variant in enumerate(tried, start=1):
        curves = base_curves if variant.has_curves_of(base) else inputs.curves(variant)
        flags = inputs.flagged_curves(variant, curves)
        estimates = flag_estimates(flags, covariates=covariates, confidence=confidence)
        parts.append(_labelled(estimates, variant.analysis, variant.setting))
        if progress:
            progress(number, len(tried))
    parts.append(_deletion_shares(base_curves, base, confidence))
    return pd.concat(parts, ignore_index=True)


def _labelled(estimates: pd.DataFrame, analysis: str, setting: str) -> pd.DataFrame:
    labels = pd.DataFrame({"analysis": analysis, "setting": setting}, index=estimates.index)
    return pd.concat([labels, estimates], axis=1)


def _deletion_shares(curves: Curves, base: Variant, confidence: float) -> pd.DataFrame:
    table = leave_one_scale_out(curves, threshold=base.threshold, min_scales=base.min_scales)
    counted = select_level(score_curves(curves, min_scales=base.min_scales), base.level)
    shares = scale_deletion_shares(table.loc[counted.index], confidence=confidence)
    known = shares["n"] > 0
    return pd.DataFrame(
        {
            "analysis": "leave_one_scale_out",
            "setting": "dropped: " + shares["deleted"],
            "statistic": shares["statistic"] + "_" + shares["metric_class"],
            "method": "by_task",
            **{name: shares[name] for name in ("estimate", "low", "high")},
            "p_value": np.nan,
            **{name: shares[name] for name in ("n", "n_tasks")},
            "status": np.where(known, "ok", "no_data"),
            "message": np.where(known, "", "No such curve can lose a scale."),
        }
    )


def sensitivity_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Sum up over variants how far each comparison of the classes moves.

    Args:
        table: What :func:`sensitivity` returns.

    Returns:
        One row a comparison (those of :data:`NO_DIFFERENCE`) and method: ``statistic``,
        ``method``; the ``base`` estimate; ``n_variants`` and ``n_estimated`` of them;
        ``lowest`` and ``highest`` estimate and the analyses and settings that have them,
        ``lowest_at``, ``highest_at``; ``n_intervals``, of which ``n_above`` and ``n_below`` the
        value of no difference.
    """
    compared = table[table["statistic"].isin(list(NO_DIFFERENCE))]
    found = []
    for (statistic, method), part in compared.groupby(["statistic", "method"], sort=False):
        known = part[part["estimate"].notna()]
        interval = part[part["low"].notna() & part["high"].notna()]
        null = NO_DIFFERENCE[str(statistic)]
        found.append(
            {
                "statistic": statistic,
                "method": method,
                "base": part.loc[part["analysis"] == "base", "estimate"].iloc[0],
                "n_variants": len(part),
                "n_estimated": len(known),
                **_end(known, known["estimate"].min(), "lowest"),
                **_end(known, known["estimate"].max(), "highest"),
                "n_intervals": len(interval),
                "n_above": int((interval["low"] > null).sum()),
                "n_below": int((interval["high"] < null).sum()),
            }
        )
    return pd.DataFrame(found)


def _end(known: pd.DataFrame, value: float, name: str) -> dict[str, Any]:
    """Return an extreme and the first variant that has it."""
    if known.empty:
        return {name: np.nan, f"{name}_at": ""}
    row = known[known["estimate"] == value].iloc[0]
    return {name: value, f"{name}_at": f"{row['analysis']} {row['setting']}".strip()}
