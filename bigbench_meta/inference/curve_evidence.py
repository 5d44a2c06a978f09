"""The evidence on every curve's score: intervals, tests, Wei's definition, shape and forecast.

Runs the analyses of :mod:`bigbench_meta.inference` with their defaults, and puts what decides into
one row a curve. Each of them returns more when called alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import one_of, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_EVIDENCE
from bigbench_meta.inference.convexity import convexity
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.null_tests import null_tests
from bigbench_meta.inference.resolution import resolution
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes
from bigbench_meta.inference.uncertainty import curve_intervals
from bigbench_meta.inference.wei import wei_emergence

if TYPE_CHECKING:
    from collections.abc import Callable

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    Progress = Callable[[int, int], None]

__all__ = ["ALPHA_RANGE", "Variation", "curve_evidence", "default_replicates"]

Variation = Literal["both", "curve", "family"]

_TESTS: Final = ("p", "q_bh", "q_by", "p_holm", "n_searched", "status")
_COLUMNS: Final = {
    "intervals": {
        name: name
        for name in (
            "noise", "emergence_low", "emergence_high", "linearity_low", "linearity_high",
            "sharpness_low", "sharpness_high", "p_above_threshold", "interval_status",
        )
    },
    "mechanism": {
        **{f"mechanism_{name}": "p_step" if name == "p" else name for name in _TESTS},
        "mechanism_p_sharpness": "p_sharpness", "mechanism_p_fit": "p_fit",
        "mechanism_alpha": "alpha_hat", "mechanism_at_bound": "at_bound",
        "mechanism_sigma": "sigma_hat", "step_from": "step_from", "step_to": "step_to",
        "step_size": "step_size",
    },
    "family": {f"family_{name}": "p_step" if name == "p" else name for name in _TESTS},
    "line": {f"line_{name}": "p_step" if name == "p" else name for name in _TESTS},
    "wei": {
        "chance": "chance", "chance_source": "chance_source", "wei_emergent": "wei_emergent",
        "wei_reason": "reason", "n_at_chance_before": "n_at_chance_before",
        "emergence_scale": "emergence_scale", "emergence_scale_low": "resampled_low",
        "emergence_scale_high": "resampled_high",
    },
    "resolution": {"share_below_resolution": "share_below_resolution", "flat_kind": "flat_kind"},
    "convexity": {
        "convexity": "convexity", "convexity_p": "p", "bend": "bend", "bend_low": "bend_low",
        "bend_high": "bend_high", "convexity_status": "status",
    },
    "shapes": {"trend": "trend", "best_shape": "best_shape", "best_shape_weight": "best_weight"},
    "forecast": {
        "forecast": "forecast", "forecast_low": "lower", "forecast_high": "upper",
        "forecast_covered": "covered", "forecast_skill": "skill", "forecast_surprise": "surprise",
        "forecast_status": "status",
    },
}  # fmt: skip
"""For each analysis, our columns and its own."""

# About what a curve costs in each, for the progress.
_SHARES: Final = {
    "intervals": 3, "mechanism": 10, "family": 10, "line": 3, "wei": 1, "resolution": 1,
    "convexity": 2, "shapes": 2, "forecast": 2,
}  # fmt: skip
# A class is at the level of 5% of its own curve, for which few replicates do.
_CONVEXITY_REPLICATES: Final = 199
_MOST_REPLICATES: Final = 9999
_LEAST_REPLICATES: Final = 999


@dataclass(frozen=True)
class _Plan:
    """How the analyses are run."""

    threshold: float
    n_boot: int
    n_boot_intervals: int
    seed: int
    variation: Variation
    alpha_range: tuple[float, float]
    min_scales: int
    samples: pd.DataFrame | None
    catalog: MetricCatalog | None


def default_replicates(n_curves: int) -> int:
    """Return how many bootstrap replicates a search of so many curves needs.

    A p-value cannot be below 1 / (1 + replicates), and the smallest of m must be below 0.05 / m to
    survive a correction alone: 20 m, at least 999 and at most 9999. Curves that are far from
    significant stop early (:func:`bigbench_meta.null_tests`), so most of them cost much less.

    Examples:
        >>> default_replicates(10), default_replicates(189), default_replicates(20_000)
        (999, 3780, 9999)
    """
    return int(np.clip(20 * n_curves, _LEAST_REPLICATES, _MOST_REPLICATES))


def curve_evidence(
    curves: Curves,
    *,
    threshold: float = 100.0,
    n_boot: int | None = None,
    seed: int = 0,
    variation: Variation = "both",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    min_scales: int = 3,
    samples: pd.DataFrame | None = None,
    catalog: MetricCatalog | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the evidence on every curve.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns. Corrections count them all: choose
            what is searched before.
        threshold: Of the emergence score, for ``p_above_threshold``.
        n_boot: Bootstrap replicates of intervals, and the most of a test; by default 999 and
            :func:`default_replicates`.
        seed: Seed of all resampling.
        variation: Whether the test against the mechanism takes the variation between models from
            the ``curve``, which is cautious and weak, from its model ``family``, which is stronger
            and assumes that tasks are alike, or both; see :func:`bigbench_meta.null_tests`.
        alpha_range: Bounds of the mechanism's exponent, likewise.
        min_scales: Curves with fewer points get no interval.
        samples: Samples table, for intervals that resample examples.
        catalog: Metric catalog; the packaged one by default.
        progress: Called with (work done, work).

    Returns:
        One row a curve, in the order of the curves, with the columns of
        :data:`bigbench_meta.core.schema.CURVE_EVIDENCE`. What cannot be computed is missing, and
        ``interval_status``, ``mechanism_status``, ``line_status``, ``wei_reason``,
        ``convexity_status`` and ``forecast_status`` say why.

    Raises:
        InputError: An option is out of range.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves.select(curves.keys["task"] == "arithmetic 3D+")
        >>> found = curve_evidence(some, n_boot=199)
        >>> found["wei_emergent"].tolist(), (found["emergence_low"] > 7).tolist()
        (['yes', 'yes', 'yes'], [True, True, True])
    """
    n_boot_intervals = _LEAST_REPLICATES if n_boot is None else n_boot
    if n_boot is None:
        n_boot = default_replicates(len(curves))
    whole(n_boot, 19, "n_boot")
    if np.isnan(threshold):
        raise InputError("not a number", where="threshold")
    one_of(variation, get_args(Variation), "variation")
    plan = _Plan(
        threshold, n_boot, n_boot_intervals, seed, variation, alpha_range, min_scales, samples,
        catalog,
    )  # fmt: skip
    done, total = 0, sum(_SHARES.values()) * len(curves)
    columns: dict[str, pd.Series] = {}
    for name, share in _SHARES.items():
        found = _run(name, curves, plan, _within(progress, done, share, total))
        done += share * len(curves)
        if progress is not None and total:
            progress(done, total)
        columns |= {
            ours: found[theirs].reset_index(drop=True) for ours, theirs in _COLUMNS[name].items()
        }
    columns["n_boot"] = pd.Series(n_boot, index=pd.RangeIndex(len(curves)), dtype="Int64")
    return pd.DataFrame(columns, index=pd.RangeIndex(len(curves)))[CURVE_EVIDENCE.names]


def _within(progress: Progress | None, done: int, share: int, total: int) -> Progress | None:
    """Return a callback for one analysis, which reports curves, or points, of as many."""
    if progress is None:
        return None

    def report(part: int, of: int) -> None:
        curves = total // sum(_SHARES.values())
        progress(done + round(share * curves * part / max(of, 1)), total)

    return report


def _run(name: str, curves: Curves, plan: _Plan, progress: Progress | None) -> pd.DataFrame:
    if name == "intervals":
        return curve_intervals(
            curves, samples=plan.samples, threshold=plan.threshold, n_boot=plan.n_boot_intervals,
            seed=plan.seed, min_scales=plan.min_scales, catalog=plan.catalog, progress=progress,
        )  # fmt: skip
    if name in {"mechanism", "family"}:
        return _mechanism(name, curves, plan, progress)
    if name == "line":
        return null_tests(
            curves, null="line", n_boot=plan.n_boot, seed=plan.seed, catalog=plan.catalog,
            progress=progress,
        )  # fmt: skip
    if name == "wei":
        return wei_emergence(curves, seed=plan.seed, catalog=plan.catalog)
    if name == "resolution":
        return resolution(curves, catalog=plan.catalog)
    if name == "convexity":
        return convexity(
            curves, n_boot=_CONVEXITY_REPLICATES, seed=plan.seed, catalog=plan.catalog,
            progress=progress,
        )  # fmt: skip
    if name == "shapes":
        return curve_shapes(curves, catalog=plan.catalog)
    return _last_forecast(curves, plan)


def _mechanism(name: str, curves: Curves, plan: _Plan, progress: Progress | None) -> pd.DataFrame:
    of_family = name == "family"
    if plan.variation == ("curve" if of_family else "family"):
        # The columns without a curve, of which all rows are missing then.
        none = null_tests(curves.select(np.zeros(len(curves), dtype=bool)), n_boot=plan.n_boot)
        return none.reindex(pd.RangeIndex(len(curves))).assign(status="not_asked", n_searched=0)
    return null_tests(
        curves, n_boot=plan.n_boot, seed=plan.seed, variation="family" if of_family else "curve",
        alpha_range=plan.alpha_range, goodness=not of_family, catalog=plan.catalog,
        progress=progress,
    )  # fmt: skip


def _last_forecast(curves: Curves, plan: _Plan) -> pd.DataFrame:
    """Return the forecast of each curve's largest scale, with a row for curves that have none."""
    found = forecast_curves(curves, k="last", catalog=plan.catalog).set_index("curve")
    found = found.reindex(pd.RangeIndex(len(curves)))
    return found.assign(status=found["status"].fillna("too_few_points"))
