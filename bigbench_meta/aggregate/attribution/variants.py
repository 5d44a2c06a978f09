"""One choice of the analysis changed at a time, and the flagged curves that it leads to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags, class_of, flag_curves
from bigbench_meta.aggregate.attribution.scale_deletion import leave_one_scale_out
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, SWEEP, select_level
from bigbench_meta.catalog.known_issues import check_known_issues
from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.schema import SCALE_AXES
from bigbench_meta.curves.build import Curves, build_curves
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.curve_flags import Flat, Unknown
    from bigbench_meta.aggregate.by_metric import Level
    from bigbench_meta.catalog.known_issues import KnownIssues
    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]

__all__ = ["Inputs", "Variant", "normalised", "variants"]

MIN_SCALES_TRIED: Final = (3, 4, 5, 6, 8, 10, 12)

Deletion = Literal["without_smallest", "without_largest", "lowest", "highest"]
_DELETIONS: Final = {
    "without the smallest scale": "without_smallest",
    "without the largest scale": "without_largest",
    "lowest score without some scale": "lowest",
    "highest score without some scale": "highest",
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Choices that lead from observations to flags.

    Attributes:
        analysis: Which choice differs from the base; ``base`` if none does.
        setting: What it is changed to, in words.
        threshold: Of the score.
        level: Which of a task's rows count.
        scale: Scale axis, see :func:`bigbench_meta.build_curves`.
        min_scales: Curves with fewer points are not scored.
        exclude: Whether rows with known issues are left out, or names of the issues.
        normalise: ``range`` divides scores by the range that is known, ``chance`` sets those below
            the declared chance level to it.
        without: Column and value of curves that are left out.
        preferred_only: Whether only the preferred metric of each task counts.
        flat: See :func:`bigbench_meta.flag_curves`.
        unknown: Likewise.
        limited: Whether the resolution-limited score takes the place of the emergence score, where
            there is one.
        deletion: The column of :func:`bigbench_meta.leave_one_scale_out` that takes its place.
    """

    analysis: str = "base"
    setting: str = ""
    threshold: float = DEFAULT_THRESHOLD
    level: Level = "task"
    scale: str | None = None
    min_scales: int = MIN_SCALES
    exclude: bool | tuple[str, ...] = False
    normalise: Literal["range", "chance"] | None = None
    without: tuple[str, str] | None = None
    preferred_only: bool = False
    flat: Flat = "left_out"
    unknown: Unknown = "apart"
    limited: bool = False
    deletion: Deletion | None = None

    def has_curves_of(self, base: Variant) -> bool:
        """Return whether it rests on the same curves as another."""
        one, two = ((v.scale, v.exclude, v.normalise) for v in (self, base))
        return one == two


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Observations and what is needed to score them, whatever the variant."""

    observations: pd.DataFrame
    catalog: MetricCatalog | None = None
    issues: KnownIssues | None = None

    def curves(self, variant: Variant) -> Curves:
        """Return the curves of a variant."""
        kept, _ = check_known_issues(self.observations, issues=self.issues, exclude=variant.exclude)
        curves = build_curves(kept, scale=variant.scale, catalog=self.catalog)
        if variant.normalise:
            curves = normalised(
                curves, self.catalog or metric_catalog(), clip=variant.normalise == "chance"
            )
        return curves

    def flagged_curves(self, variant: Variant, curves: Curves) -> CurveFlags:
        """Return which curves of a variant are flagged."""
        scores = score_curves(curves, min_scales=variant.min_scales)
        if variant.limited:
            limited = scores["resolution_limited_score"].fillna(scores["emergence_score"])
            scores = scores.assign(
                emergence_score=limited, relative_sharpness=limited / (scores["n_scales"] - 1)
            )
        if variant.deletion:
            table = leave_one_scale_out(
                curves, threshold=variant.threshold, min_scales=variant.min_scales
            )
            scores = _after_deletion(scores, table, variant.deletion)
        if variant.without is not None:
            column, value = variant.without
            scores = scores[scores[column].astype(str) != value]
        if variant.preferred_only:
            scores = scores[scores["is_preferred"].fillna(value=False).astype(bool)]
        return flag_curves(
            scores, threshold=variant.threshold, level=variant.level, flat=variant.flat,
            unknown=variant.unknown,
        )  # fmt: skip


def _after_deletion(scores: pd.DataFrame, table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return scores of curves that have lost a scale; their resolution is not known."""
    scored, can_lose = scores["emergence_score"].notna(), table["n_deletions"] > 0
    score = table[column].where(scored & can_lose)
    return scores.assign(
        n_scales=scores["n_scales"] - 1,
        emergence_score=score,
        relative_sharpness=score / (scores["n_scales"] - 2),
        resolution_limited_score=np.nan,
        status=scores["status"].astype(str).mask(scored & ~can_lose, "too_few_scales"),
    )


def normalised(curves: Curves, catalog: MetricCatalog, *, clip: bool = False) -> Curves:
    """Return curves as (score - low) / (high - low), up or down as that makes them.

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
    point = curves.curve_of_point
    y = (curves.y - low[point]) / span[point]
    if clip:
        y = np.where(declared[point], np.maximum(y, 0.0), y)
    turned = keys["higher_is_better"].to_numpy(dtype=bool) ^ (span < 0)
    result = replace(
        curves, y=y, keys=keys.assign(higher_is_better=turned, step=keys["step"] / np.abs(span))
    )
    return result if clip else result.select(known)


def _is_range(low: Floats, high: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(low) & np.isfinite(high) & (low != high))


def variants(
    inputs: Inputs, base: Variant, *, thresholds: Iterable[float] = SWEEP
) -> list[Variant]:
    """Return the base, and each change of a single choice that the observations allow.

    Args:
        inputs: The observations.
        base: What is not changed.
        thresholds: Thresholds to try.
    """
    curves = inputs.curves(base)
    n_scales = np.diff(curves.offsets)
    scores = select_level(score_curves(curves, min_scales=base.min_scales), base.level)
    changes: list[dict[str, Any]] = [
        *({"analysis": "threshold", "setting": f"{value:g}", "threshold": value}
          for value in sorted(set(thresholds) - {base.threshold})),
        *({"analysis": "scale_axis", "setting": axis, "scale": axis}
          for axis in SCALE_AXES if axis != base.scale),
        *({"analysis": "min_scales", "setting": str(least), "min_scales": least}
          for least in MIN_SCALES_TRIED
          if least != base.min_scales and least <= n_scales.max(initial=0)),
        {"analysis": "normalisation", "setting": "known range", "normalise": "range"},
        {"analysis": "normalisation", "setting": "clipped at chance", "normalise": "chance"},
        {"analysis": "score", "setting": "resolution-limited", "limited": True},
        {"analysis": "known_issues", "setting": "kept" if base.exclude else "left out",
         "exclude": not base.exclude},
        {"analysis": "flat_curves", "setting": "not flagged", "flat": "not_flagged"},
        *_by_what_there_is(curves.keys, scores, base),
        *({"analysis": "leave_one_scale_out", "setting": words, "deletion": column}
          for words, column in _DELETIONS.items()),
    ]  # fmt: skip
    return [base, *(replace(base, **change) for change in changes)]


def _by_what_there_is(
    keys: pd.DataFrame, scores: pd.DataFrame, base: Variant
) -> Iterator[dict[str, Any]]:
    """Yield changes that need several types, levels, metrics or families."""
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
