"""The evidence on every curve's score: intervals, tests, Wei's definition, shape and forecast.

Runs the analyses of :mod:`bigbench_meta.inference` with their defaults, and puts what decides into
one row per curve. Each of them returns more when called alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import one_of, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_EVIDENCE
from bigbench_meta.inference.chunks import Analysis, analyse
from bigbench_meta.inference.convexity import convexity
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.multiplicity import adjusted_p_values
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.null_tests import (
    default_replicates,
    null_tests,
    variation_of_families,
)
from bigbench_meta.inference.resolution import resolution
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes
from bigbench_meta.inference.uncertainty import curve_intervals
from bigbench_meta.inference.wei import wei_emergence

if TYPE_CHECKING:
    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.chunks import Samples

__all__ = ["ALPHA_RANGE", "Variation", "curve_evidence"]

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

# Tests whose p-values are corrected for all curves.
_CORRECTED: Final = ("mechanism", "family", "line")
# A class is at the level of 5% of its own curve, for which few replicates do.
_CONVEXITY_REPLICATES: Final = 199
_REPLICATES_OF_INTERVALS: Final = 999


def curve_evidence(
    curves: Curves,
    *,
    threshold: float = 100.0,
    n_boot: int | None = None,
    seed: int = 0,
    variation: Variation = "both",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    min_scales: int = 3,
    samples: Samples | None = None,
    catalog: MetricCatalog | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
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
            and assumes that models scatter on it as on the other tasks, or both; see
            :func:`bigbench_meta.null_tests`.
        alpha_range: Bounds of the mechanism's exponent, likewise.
        min_scales: Curves with fewer points get no interval.
        samples: Samples table, or what :meth:`bigbench_meta.Store.samples_by_task` returns, for
            intervals that resample examples.
        catalog: Metric catalog; the packaged one by default.
        execution: How the work is spread, and where finished chunks are kept; the results do not
            depend on it.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        One row per curve, in the order of the curves, with the columns of
        :data:`bigbench_meta.core.schema.CURVE_EVIDENCE`. What cannot be computed is missing, and
        ``interval_status``, ``mechanism_status``, ``line_status``, ``wei_reason``,
        ``convexity_status`` and ``forecast_status`` say why.

    Raises:
        InputError: An option is out of range.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves[curves.keys["task"] == "arithmetic 3D+"]
        >>> found = curve_evidence(some, n_boot=199)
        >>> found["wei_emergent"].tolist(), (found["emergence_low"] > 7).tolist()
        (['yes', 'yes', 'yes'], [True, True, True])
    """
    n_boot_intervals = _REPLICATES_OF_INTERVALS if n_boot is None else n_boot
    if n_boot is None:
        n_boot = default_replicates(len(curves))
    whole(n_boot, 19, "n_boot")
    if np.isnan(threshold):
        raise InputError("not a number", where="threshold")
    one_of(variation, get_args(Variation), "variation")
    tests = {"n_boot": n_boot, "seed": seed, "catalog": catalog}
    mechanism = {"alpha_range": alpha_range, **tests}
    analyses = {
        "intervals": Analysis(
            function=curve_intervals, samples=samples, cost=3,
            options={"threshold": threshold, "n_boot": n_boot_intervals, "seed": seed,
                     "min_scales": min_scales, "catalog": catalog},
        ),
        "mechanism": Analysis(function=null_tests, options=mechanism, cost=10),
        "family": Analysis(function=null_tests, options=mechanism | {"goodness": False}, cost=10),
        "line": Analysis(function=null_tests, options={"null": "line", **tests}, cost=3),
        "wei": Analysis(function=wei_emergence, options={"seed": seed, "catalog": catalog}),
        "resolution": Analysis(function=resolution, options={"catalog": catalog}),
        "convexity": Analysis(
            function=convexity, options=tests | {"n_boot": _CONVEXITY_REPLICATES}, cost=2
        ),
        "shapes": Analysis(
            function=curve_shapes, options={"catalog": catalog}, cost=2
        ),
        "forecast": Analysis(
            function=_last_forecast, options={"catalog": catalog}, cost=2
        ),
    }  # fmt: skip
    not_asked = {"curve": "family", "family": "mechanism"}.get(variation)
    if not_asked:
        del analyses[not_asked]
    if "family" in analyses:
        sigma = variation_of_families(
            curves, alpha_range=alpha_range, catalog=catalog, execution=execution,
            progress=False,  # a thirtieth of the work: the bar is that of the rest
        )  # fmt: skip
        analyses["family"] = replace(analyses["family"], of_curves={"variation": sigma})
    found = analyse(analyses, curves, execution, progress=progress)
    if not_asked:
        # All columns, of which all rows are missing.
        none = null_tests(curves[np.zeros(len(curves), dtype=bool)], n_boot=n_boot)
        none = none.reindex(pd.RangeIndex(len(curves)))
        found[not_asked] = none.assign(status="not_asked", n_searched=0)
    for name in _CORRECTED:
        corrected = adjusted_p_values(found[name]["p_step"])
        found[name] = found[name].assign(
            **{str(column): values for column, values in corrected.items()}
        )
    columns = {
        ours: found[name][theirs]
        for name, of_name in _COLUMNS.items()
        for ours, theirs in of_name.items()
    }
    columns["n_boot"] = pd.Series(n_boot, index=pd.RangeIndex(len(curves)), dtype="Int64")
    return pd.DataFrame(columns, index=pd.RangeIndex(len(curves)))[CURVE_EVIDENCE.names]


def _last_forecast(curves: Curves, catalog: MetricCatalog | None) -> pd.DataFrame:
    """Return the forecast of each curve's largest scale, with a row for curves that have none."""
    found = forecast_curves(curves, k="last", catalog=catalog).set_index("curve")
    found = found.reindex(pd.RangeIndex(len(curves)))
    # What predicts nothing is no interval that a score could be better than.
    ends = found[["lower", "upper"]].where(found["covered"].notna())
    return found.assign(
        lower=ends["lower"], upper=ends["upper"], status=found["status"].fillna("too_few_points")
    )
