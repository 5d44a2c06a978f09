# The public names, each with its home. Read at run time too: a name is imported on first use.
from .aggregate.attribution.account import account_for_flags as account_for_flags
from .aggregate.attribution.sensitivity import sensitivity as sensitivity
from .aggregate.by_metric import (
    claims_by_metric as claims_by_metric,
)
from .aggregate.by_metric import (
    claims_summary as claims_summary,
)
from .aggregate.by_metric import (
    flagged as flagged,
)
from .aggregate.by_metric import (
    metrics_of_emergence as metrics_of_emergence,
)
from .aggregate.by_metric import (
    select_level as select_level,
)
from .aggregate.by_metric import (
    threshold_sweep as threshold_sweep,
)
from .aggregate.emergence_criteria import evidence_summary as evidence_summary
from .aggregate.induce import (
    Induced as Induced,
)
from .aggregate.induce import (
    InduceOptions as InduceOptions,
)
from .aggregate.induce import (
    induced_emergence as induced_emergence,
)
from .aggregate.induce import (
    induced_sentences as induced_sentences,
)
from .aggregate.induce import (
    kept_sizes as kept_sizes,
)
from .aggregate.leaving_chance import (
    common_departure as common_departure,
)
from .aggregate.leaving_chance import (
    leaving_chance as leaving_chance,
)
from .aggregate.loss_law import (
    loss_law as loss_law,
)
from .aggregate.loss_law import (
    loss_law_sentences as loss_law_sentences,
)
from .aggregate.metric_change import metric_change as metric_change
from .aggregate.options import StudyOptions as StudyOptions
from .aggregate.product_law import (
    product_law as product_law,
)
from .aggregate.product_law import (
    product_law_sentences as product_law_sentences,
)
from .aggregate.section3 import (
    section3_predictions as section3_predictions,
)
from .aggregate.section3 import (
    section3_sentences as section3_sentences,
)
from .aggregate.yardstick import (
    SmoothStudies as SmoothStudies,
)
from .aggregate.yardstick import (
    expected_if_smooth as expected_if_smooth,
)
from .aggregate.yardstick import (
    yardstick_sentence as yardstick_sentence,
)
from .catalog.embedded import (
    EMBEDDED_SETS as EMBEDDED_SETS,
)
from .catalog.embedded import (
    EmbeddedSet as EmbeddedSet,
)
from .catalog.example_counts import with_example_counts as with_example_counts
from .catalog.known_issues import (
    KnownIssues as KnownIssues,
)
from .catalog.known_issues import (
    affected as affected,
)
from .catalog.known_issues import (
    exclude_known_issues as exclude_known_issues,
)
from .catalog.metrics import (
    MetricCatalog as MetricCatalog,
)
from .catalog.metrics import (
    metric_catalog as metric_catalog,
)
from .catalog.published import (
    bigbench_tasks as bigbench_tasks,
)
from .catalog.published import (
    paper_metrics as paper_metrics,
)
from .catalog.published import (
    preferred_metrics as preferred_metrics,
)
from .catalog.published import (
    scaling_annotation as scaling_annotation,
)
from .check.claim import (
    ClaimCheck as ClaimCheck,
)
from .check.claim import (
    check_claim as check_claim,
)
from .check.claim import (
    check_curve as check_curve,
)
from .check.settle import (
    plan_claim as plan_claim,
)
from .check.settle import (
    what_would_settle as what_would_settle,
)
from .check.verdicts import claim_verdicts as claim_verdicts
from .core.errors import BigbenchMetaError as BigbenchMetaError
from .core.execute import Execution as Execution
from .curves.build import Curves as Curves
from .curves.build import build_curves as build_curves
from .curves.counts import (
    check_counts as check_counts,
)
from .curves.counts import (
    fitting_counts as fitting_counts,
)
from .curves.emergence import (
    emergence_score as emergence_score,
)
from .curves.emergence import (
    linearity as linearity,
)
from .curves.emergence import (
    relative_sharpness as relative_sharpness,
)
from .curves.emergence import (
    score_ragged as score_ragged,
)
from .curves.units import unit_problems as unit_problems
from .generate.simulation import simulate as simulate
from .generate.simulation import simulate_samples as simulate_samples
from .generate.trained.families import train_families as train_families
from .inference.bimodality import bimodality as bimodality
from .inference.convexity import convexity as convexity
from .inference.curve_evidence import curve_evidence as curve_evidence
from .inference.forecast.forecast_curves import (
    forecast_curves as forecast_curves,
)
from .inference.forecast.summary import (
    compare_forecasters as compare_forecasters,
)
from .inference.forecast.summary import (
    forecast_summary as forecast_summary,
)
from .inference.forecast.summary import (
    least_predictable as least_predictable,
)
from .inference.multiplicity import (
    adjusted_p_values as adjusted_p_values,
)
from .inference.nulls.null_tests import null_tests as null_tests
from .inference.over_seeds import emergence_over_seeds as emergence_over_seeds
from .inference.power import (
    detection_power as detection_power,
)
from .inference.power import (
    examples_needed as examples_needed,
)
from .inference.power import (
    smallest_detectable as smallest_detectable,
)
from .inference.resolution import resolution as resolution
from .inference.score import score_curves as score_curves
from .inference.shapes.curve_shapes import curve_shapes as curve_shapes
from .inference.shapes.curve_shapes import shape_fits as shape_fits
from .inference.signal_to_noise import signal_to_noise as signal_to_noise
from .inference.uncertainty import curve_intervals as curve_intervals
from .inference.wei import wei_emergence as wei_emergence
from .inference.wei import wei_points as wei_points
from .metrics.pass_rates import DifficultyBuckets as DifficultyBuckets
from .metrics.rescore import rescore as rescore
from .readers.results import load_embedded as load_embedded
from .readers.results import load_embedded_samples as load_embedded_samples
from .readers.results import read_results as read_results
from .report.charts.by_metric import plot_claims_by_metric as plot_claims_by_metric
from .report.charts.by_metric import plot_emergence_by_metric as plot_emergence_by_metric
from .report.charts.by_metric import plot_threshold_sweep as plot_threshold_sweep
from .report.charts.curves import plot_curves as plot_curves
from .report.charts.families import plot_families as plot_families
from .report.charts.figure import Figure as Figure
from .report.charts.forecasts import plot_forecast_coverage as plot_forecast_coverage
from .report.charts.forecasts import plot_forecasts as plot_forecasts
from .report.charts.forecasts import plot_last_forecasts as plot_last_forecasts
from .report.charts.induce import plot_induced as plot_induced
from .report.charts.intervals import plot_intervals as plot_intervals
from .report.charts.metric_change import plot_metric_change as plot_metric_change
from .report.charts.mirage import plot_mirage as plot_mirage
from .report.charts.specifications import plot_specifications as plot_specifications
from .report.charts.yardstick import plot_expected as plot_expected
from .report.notebook import explore as explore
from .report.study import Study as Study
from .report.study import run_study as run_study
from .report.tables.mirage import mechanism_table as mechanism_table
from .report.tables.table import Table as Table
from .store.store import Store as Store

__version__: str
