"""Meta-analysis of emergence claims on BIG-Bench: is the jump in the model or in the metric?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bigbench_meta._version import __version__

if TYPE_CHECKING:
    from bigbench_meta.accounts import account_for_flags
    from bigbench_meta.accounts.sensitivity import sensitivity
    from bigbench_meta.aggregate import (
        claims_by_metric,
        claims_summary,
        flagged,
        metrics_of_emergence,
        select_level,
        threshold_sweep,
    )
    from bigbench_meta.analysis import score_curves
    from bigbench_meta.catalog import (
        MetricCatalog,
        bigbench_tasks,
        metric_catalog,
        paper_metrics,
        preferred_metrics,
        scaling_annotation,
    )
    from bigbench_meta.charts import (
        Figure,
        plot_claims_by_metric,
        plot_curves,
        plot_emergence_by_metric,
    )
    from bigbench_meta.charts_evidence import plot_intervals
    from bigbench_meta.charts_forecast import plot_forecasts
    from bigbench_meta.charts_mirage import plot_mirage
    from bigbench_meta.criteria import evidence_summary
    from bigbench_meta.curves import Curves, build_curves
    from bigbench_meta.emergence import emergence_score, linearity, relative_sharpness, score_ragged
    from bigbench_meta.errors import BigbenchMetaError
    from bigbench_meta.evidence import curve_evidence
    from bigbench_meta.example_counts import with_example_counts
    from bigbench_meta.forecast import (
        compare_forecasters,
        forecast_curves,
        forecast_summary,
        least_predictable,
    )
    from bigbench_meta.inference.power import (
        detection_power,
        examples_needed,
        resolution,
        smallest_detectable,
    )
    from bigbench_meta.inference.uncertainty import curve_intervals
    from bigbench_meta.inference.wei import wei_emergence, wei_points
    from bigbench_meta.known_issues import KnownIssues, affected, exclude_known_issues
    from bigbench_meta.mirage_table import mechanism_table
    from bigbench_meta.nulls import adjusted_p_values, null_tests
    from bigbench_meta.readers import load_embedded, read_results
    from bigbench_meta.shapes import curve_shapes, shape_fits
    from bigbench_meta.simulation import simulate, simulate_samples
    from bigbench_meta.store import Store
    from bigbench_meta.study import Study, run_study
    from bigbench_meta.tables import Table

__all__ = [
    "BigbenchMetaError",
    "Curves",
    "Figure",
    "KnownIssues",
    "MetricCatalog",
    "Store",
    "Study",
    "Table",
    "__version__",
    "account_for_flags",
    "adjusted_p_values",
    "affected",
    "bigbench_tasks",
    "build_curves",
    "claims_by_metric",
    "claims_summary",
    "compare_forecasters",
    "curve_evidence",
    "curve_intervals",
    "curve_shapes",
    "detection_power",
    "emergence_score",
    "evidence_summary",
    "examples_needed",
    "exclude_known_issues",
    "flagged",
    "forecast_curves",
    "forecast_summary",
    "least_predictable",
    "linearity",
    "load_embedded",
    "mechanism_table",
    "metric_catalog",
    "metrics_of_emergence",
    "null_tests",
    "paper_metrics",
    "plot_claims_by_metric",
    "plot_curves",
    "plot_emergence_by_metric",
    "plot_forecasts",
    "plot_intervals",
    "plot_mirage",
    "preferred_metrics",
    "read_results",
    "relative_sharpness",
    "resolution",
    "run_study",
    "scaling_annotation",
    "score_curves",
    "score_ragged",
    "select_level",
    "sensitivity",
    "shape_fits",
    "simulate",
    "simulate_samples",
    "smallest_detectable",
    "threshold_sweep",
    "wei_emergence",
    "wei_points",
    "with_example_counts",
]

# Where each name lives; imported on first use, so that `bigbench-meta --help` loads no pandas.
_HOME = {
    "BigbenchMetaError": "errors",
    "Curves": "curves",
    "Figure": "charts",
    "KnownIssues": "known_issues",
    "MetricCatalog": "catalog",
    "Store": "store",
    "Study": "study",
    "Table": "tables",
    "account_for_flags": "accounts",
    "adjusted_p_values": "nulls",
    "affected": "known_issues",
    "bigbench_tasks": "catalog",
    "build_curves": "curves",
    "claims_by_metric": "aggregate",
    "claims_summary": "aggregate",
    "compare_forecasters": "forecast",
    "curve_evidence": "evidence",
    "curve_intervals": "inference.uncertainty",
    "curve_shapes": "shapes",
    "detection_power": "inference.power",
    "emergence_score": "emergence",
    "evidence_summary": "criteria",
    "examples_needed": "inference.power",
    "exclude_known_issues": "known_issues",
    "flagged": "aggregate",
    "forecast_curves": "forecast",
    "forecast_summary": "forecast",
    "least_predictable": "forecast",
    "linearity": "emergence",
    "load_embedded": "readers",
    "mechanism_table": "mirage_table",
    "metric_catalog": "catalog",
    "metrics_of_emergence": "aggregate",
    "null_tests": "nulls",
    "paper_metrics": "catalog",
    "plot_claims_by_metric": "charts",
    "plot_curves": "charts",
    "plot_emergence_by_metric": "charts",
    "plot_forecasts": "charts_forecast",
    "plot_intervals": "charts_evidence",
    "plot_mirage": "charts_mirage",
    "preferred_metrics": "catalog",
    "read_results": "readers",
    "relative_sharpness": "emergence",
    "resolution": "inference.power",
    "run_study": "study",
    "scaling_annotation": "catalog",
    "score_curves": "analysis",
    "score_ragged": "emergence",
    "select_level": "aggregate",
    "sensitivity": "accounts.sensitivity",
    "shape_fits": "shapes",
    "simulate": "simulation",
    "simulate_samples": "simulation",
    "smallest_detectable": "inference.power",
    "threshold_sweep": "aggregate",
    "wei_emergence": "inference.wei",
    "wei_points": "inference.wei",
    "with_example_counts": "example_counts",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
