"""Does the conclusion depend on the threshold, the axis, a family, a single scale?

Every statistic of :mod:`aggregate.attribution.account` under every change of a single choice, as
one tidy table.

References:
    Steegen et al. (2016), "Increasing transparency through a multiverse analysis",
    DOI 10.1177/1745691616658637. Simonsohn, Simmons & Nelson (2020), "Specification curve
    analysis", DOI 10.1038/s41562-020-0912-z.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.account import flag_estimates
from bigbench_meta.aggregate.attribution.flags import (
    CurveFlags,
    Flat,
    Unknown,
    class_of,
    flag_curves,
)
from bigbench_meta.aggregate.attribution.regression import COVARIATES
from bigbench_meta.aggregate.attribution.scale_deletion import (
    leave_one_scale_out,
    scale_deletion_shares,
)
from bigbench_meta.aggregate.by_metric import SWEEP, select_level
from bigbench_meta.aggregate.options import StudyOptions
from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.schema import SCALE_AXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]

__all__ = [
    "NO_DIFFERENCE",
    "Variant",
    "normalised",
    "sensitivity",
    "sensitivity_summary",
    "variants",
]

NO_DIFFERENCE: Final = {
    "risk_ratio": 1.0, "odds_ratio": 1.0, "adjusted_odds_ratio": 1.0,
    "paired_odds_ratio": 1.0, "common_odds_ratio": 1.0,
    "share_sharper": 0.5, "log_sharpness_difference": 0.0,
}  # fmt: skip
"""The value that each comparison of sharp with smooth metrics has if the class does not matter."""


_MIN_SCALES_TRIED: Final = (3, 4, 5, 6, 8, 10, 12)

Deletion = Literal["without_smallest", "without_largest", "lowest", "highest"]
_DELETIONS: Final = {
    "without the smallest scale": "without_smallest",
    "without the largest scale": "without_largest",
    "lowest score without some scale": "lowest",
    "highest score without some scale": "highest",
}


def sensitivity(
    observations: pd.DataFrame,
    options: StudyOptions | None = None,
    *,
    thresholds: Iterable[float] = SWEEP,
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
    progress: Progress = None,
) -> pd.DataFrame:
    """Compute every statistic again with one choice of the analysis changed at a time.

    Args:
        observations: Observations table.
        options: Of the base, :class:`bigbench_meta.StudyOptions` by default.
        thresholds: Thresholds to try.
        covariates: Of the regression, see
            :func:`bigbench_meta.aggregate.attribution.regression.flag_model`.
        confidence: Of the intervals.
        progress: Whether to show a bar, or what to call with (variants done, variants to do); by
            default a bar in terminals and notebooks.

    Returns:
        One row per statistic and method of a variant: ``analysis``, ``setting``, ``statistic``,
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
    options = options or StudyOptions()
    base = Variant(**{field.name: getattr(options, field.name) for field in fields(StudyOptions)})
    base_curves = base.normalised_curves(observations)
    parts = []
    tried = variants(base_curves, base, thresholds=thresholds)
    with progress_bar("Varying", progress) as report:
        for number, variant in enumerate(tried, start=1):
            same = variant.has_curves_of(base)
            curves = base_curves if same else variant.normalised_curves(observations)
            estimates = flag_estimates(
                variant.flags(curves), covariates=covariates, confidence=confidence
            )
            labels = pd.DataFrame(
                {"analysis": variant.analysis, "setting": variant.setting}, index=estimates.index
            )
            parts.append(pd.concat([labels, estimates], axis=1))
            if report:
                report(number, len(tried))
    parts.append(_deletion_shares(base_curves, base, confidence))
    return pd.concat(parts, ignore_index=True)


def _deletion_shares(curves: Curves, base: Variant, confidence: float) -> pd.DataFrame:
    table = leave_one_scale_out(curves, threshold=base.threshold, min_scales=base.min_scales)
    counted = select_level(base.scores(curves), base.level)
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
    """Summarise how much each comparison of the classes varies over the variants.

    Args:
        table: What :func:`sensitivity` returns.

    Returns:
        One row per comparison (those of :data:`NO_DIFFERENCE`) and method: ``statistic``,
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


@dataclass(frozen=True, kw_only=True)
class Variant(StudyOptions):
    """Options of a study, one of which differs from the base.

    Attributes:
        analysis: Which choice differs from the base; ``base`` if none does.
        setting: What it is changed to, in words.
        normalise: ``range`` divides scores by the range that is known, ``chance`` sets those below
            the declared chance level to it.
        without: Column and value of curves that are left out.
        preferred_only: Whether only the preferred metric of each task counts.
        flat: See :func:`bigbench_meta.aggregate.attribution.flags.flag_curves`.
        unknown: Likewise.
        limited: Whether the resolution-limited score replaces the emergence score, where there is
            one.
        deletion: The column of
            :func:`bigbench_meta.aggregate.attribution.scale_deletion.leave_one_scale_out` that
            replaces it.
    """

    analysis: str = "base"
    setting: str = ""
    normalise: Literal["range", "chance"] | None = None
    without: tuple[str, str] | None = None
    preferred_only: bool = False
    flat: Flat = "left_out"
    unknown: Unknown = "apart"
    limited: bool = False
    deletion: Deletion | None = None

    def has_curves_of(self, base: Variant) -> bool:
        """Return whether it rests on the same curves as another."""
        one, two = ((v.scale, v.exclude_known_issues, v.normalise) for v in (self, base))
        return one == two

    def normalised_curves(self, observations: pd.DataFrame) -> Curves:
        """Return its curves, normalised if it asks for that."""
        curves, _ = self.curves(observations)
        if self.normalise is None:
            return curves
        return normalised(curves, self.catalog or metric_catalog(), clip=self.normalise == "chance")

    def flags(self, curves: Curves) -> CurveFlags:
        """Return which of its curves are flagged."""
        scores = self.scores(curves)
        if self.limited:
            limited = scores["resolution_limited_score"].fillna(scores["emergence_score"])
            scores = scores.assign(
                emergence_score=limited, relative_sharpness=limited / (scores["n_scales"] - 1)
            )
        if self.deletion:
            scores = self._after_deletion(scores, curves)
        if self.without is not None:
            column, value = self.without
            scores = scores[scores[column].astype(str) != value]
        if self.preferred_only:
            scores = scores[scores["is_preferred"].fillna(value=False).astype(bool)]
        return flag_curves(
            scores, threshold=self.threshold, level=self.level, flat=self.flat,
            unknown=self.unknown,
        )  # fmt: skip

    def _after_deletion(self, scores: pd.DataFrame, curves: Curves) -> pd.DataFrame:
        """Return scores of curves without one scale; their resolution is unknown."""
        table = leave_one_scale_out(curves, threshold=self.threshold, min_scales=self.min_scales)
        scored, can_lose = scores["emergence_score"].notna(), table["n_deletions"] > 0
        score = table[self.deletion].where(scored & can_lose)
        return scores.assign(
            n_scales=scores["n_scales"] - 1,
            emergence_score=score,
            relative_sharpness=score / (scores["n_scales"] - 2),
            resolution_limited_score=np.nan,
            status=scores["status"].astype(str).mask(scored & ~can_lose, "too_few_scales"),
        )


def normalised(curves: Curves, catalog: MetricCatalog, *, clip: bool = False) -> Curves:
    """Return curves as (score - low) / (high - low), whichever direction results.

    Args:
        curves: Curves.
        catalog: Metric catalog, for the range of metrics of which the files declare none.
        clip: Keep all curves, but set scores on the wrong side of the low score that their file
            declares, which in BIG-bench is that of chance, to it.

    Returns:
        The curves of which a range is known, or with ``clip`` all of them.

    References:
        Srivastava et al. (2022), arXiv 2206.04615, sec. 2.3 (normalised scores).
    """
    keys = curves.keys
    entry = catalog.lookup(keys[["benchmark", "task", "metric"]])
    low, high = keys["low_score"].to_numpy(dtype=float), keys["high_score"].to_numpy(dtype=float)
    declared = _is_range(low, high)
    low = np.where(declared, low, entry["low"].to_numpy(dtype=float))
    high = np.where(declared, high, entry["high"].to_numpy(dtype=float))
    known = _is_range(low, high)
    low, span = np.where(known, low, 0.0), np.where(known, high - low, 1.0)
    point = curves.ragged.curve
    y = (curves.y - low[point]) / span[point]
    if clip:
        y = np.where(declared[point], np.maximum(y, 0.0), y)
    turned = keys["higher_is_better"].to_numpy(dtype=bool) ^ (span < 0)
    result = replace(
        curves, y=y, keys=keys.assign(higher_is_better=turned, step=keys["step"] / np.abs(span))
    )
    return result if clip else result[known]


def _is_range(low: Floats, high: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(low) & np.isfinite(high) & (low != high))


def variants(
    curves: Curves, base: Variant, *, thresholds: Iterable[float] = SWEEP
) -> list[Variant]:
    """Return the base, and each change of a single choice that the observations allow.

    Args:
        curves: Those of the base.
        base: What is not changed.
        thresholds: Thresholds to try.
    """
    n_scales = np.diff(curves.offsets)
    scores = select_level(base.scores(curves), base.level)
    changes: list[dict[str, Any]] = [
        *({"analysis": "threshold", "setting": f"{value:g}", "threshold": value}
          for value in sorted(set(thresholds) - {base.threshold})),
        *({"analysis": "scale_axis", "setting": axis, "scale": axis}
          for axis in SCALE_AXES if axis != base.scale),
        *({"analysis": "min_scales", "setting": str(least), "min_scales": least}
          for least in _MIN_SCALES_TRIED
          if least != base.min_scales and least <= n_scales.max(initial=0)),
        {"analysis": "normalisation", "setting": "known range", "normalise": "range"},
        {"analysis": "normalisation", "setting": "clipped at chance", "normalise": "chance"},
        {"analysis": "score", "setting": "resolution-limited", "limited": True},
        {"analysis": "known_issues", "setting": "kept" if base.exclude_known_issues else "left out",
         "exclude_known_issues": not base.exclude_known_issues},
        {"analysis": "flat_curves", "setting": "not flagged", "flat": "not_flagged"},
        *_changes_of_what_there_is(curves.keys, scores, base),
        *({"analysis": "leave_one_scale_out", "setting": words, "deletion": column}
          for words, column in _DELETIONS.items()),
    ]  # fmt: skip
    return [base, *(replace(base, **change) for change in changes)]


def _changes_of_what_there_is(
    keys: pd.DataFrame, scores: pd.DataFrame, base: Variant
) -> Iterator[dict[str, Any]]:
    """Yield the changes that require several types, levels, metrics or families."""
    classes = class_of(scores["metric_type"])
    if (classes == "unknown").any():
        for name in ("sharp", "smooth"):
            yield {"analysis": "unknown_types", "setting": f"as {name}", "unknown": name}
    has_subtasks = (keys["subtask"].astype(str) != keys["task"].astype(str)).any()
    for level in ("subtask", "task"):
        if has_subtasks and base.level != level:
            yield {"analysis": "level", "setting": level, "level": level}
    if scores["is_preferred"].fillna(value=False).any():
        yield {"analysis": "metrics", "setting": "preferred only", "preferred_only": True}
    compared = scores[classes != "unknown"]
    for analysis, column, values in (
        ("leave_one_metric_out", "metric", compared["metric"]),
        ("leave_one_family_out", "model_family", scores["model_family"]),
    ):
        names = sorted(values.astype(str).unique())
        for name in names if len(names) > 1 else []:
            yield {"analysis": analysis, "setting": f"without {name}", "without": (column, name)}
