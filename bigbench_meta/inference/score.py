"""Curve scores as a labelled table, with inference if asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bigbench_meta.core.schema import CURVE_KEY, CURVE_SCORES
from bigbench_meta.curves.build import integer_column
from bigbench_meta.curves.emergence import MIN_SCALES, STATUSES, score_ragged

if TYPE_CHECKING:
    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.chunks import Samples
    from bigbench_meta.inference.curve_evidence import Variation

__all__ = ["score_curves"]


def score_curves(
    curves: Curves,
    *,
    min_scales: int = MIN_SCALES,
    inference: bool = False,
    threshold: float = 100.0,
    n_boot: int | None = None,
    seed: int = 0,
    variation: Variation = "both",
    alpha_range: tuple[float, float] | None = None,
    samples: Samples | None = None,
    catalog: MetricCatalog | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    """Score every curve, and if asked quantify the uncertainty.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        min_scales: Curves with fewer points get no score and status ``too_few_scales``.
        inference: Whether to add intervals, tests, shapes and forecasts, see
            :func:`bigbench_meta.curve_evidence`, which the options below go to. Tests are corrected
            for all these curves: choose what is searched before.
        threshold: Of the emergence score, for ``p_above_threshold``.
        n_boot: Bootstrap replicates of intervals, and the most of a test.
        seed: Seed of all resampling.
        variation: Where the mechanism's variation between models comes from.
        alpha_range: Bounds of its exponent.
        samples: Samples table, or what :meth:`bigbench_meta.Store.samples_by_task` returns, for
            intervals that resample examples.
        catalog: Metric catalog; the packaged one by default.
        execution: How the inference is spread, see :func:`curve_evidence`.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        One row per curve, in the order of the curves, with the columns of
        :data:`bigbench_meta.core.schema.CURVE_SCORES`, and with ``inference`` those of
        :data:`bigbench_meta.core.schema.CURVE_EVIDENCE` behind them. Scores are computed on the
        orientation in which up is better; ``score_first`` to ``score_max`` stay in the unit and
        sign of the file. ``emergence_score`` is infinite where ``status`` is ``zero_median`` and
        NaN where it is ``flat``, ``too_few_scales`` or ``mixed_units`` (some scores lie outside
        the range of their metric and some inside). ``resolution`` is the catalog's ``step`` divided
        by the smallest test set of the curve, NaN where either is not known or the scores are in
        another unit.

    Raises:
        InputError: An option of the inference is out of range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, eq. 1 and App. A.1.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> scores = score_curves(build_curves(load_embedded()))
        >>> row = scores[(scores.task == "arithmetic 3D+") & (scores.shots == 50)].iloc[0]
        >>> round(float(row.emergence_score), 3), row.status
        (321.0, 'ok')

        Tasks against metrics, of several prompts the highest score:

        >>> wide = scores.pivot_table(
        ...     index="task", columns="metric", values="emergence_score", aggfunc="max")
        >>> wide.loc["LAMBADA", ["acc", "ppl"]].round(1).tolist()
        [11.7, 198.9]
    """
    scores = _scores(curves, min_scales)
    if not inference:
        return scores
    # Imports scipy.stats and statsmodels, a second's work.
    from bigbench_meta.inference.curve_evidence import ALPHA_RANGE, curve_evidence

    evidence = curve_evidence(
        curves, threshold=threshold, n_boot=n_boot, seed=seed, variation=variation,
        alpha_range=alpha_range or ALPHA_RANGE, min_scales=min_scales, samples=samples,
        catalog=catalog, execution=execution, progress=progress,
    )  # fmt: skip
    return pd.concat([scores.reset_index(drop=True), evidence], axis=1)


def _scores(curves: Curves, min_scales: int) -> pd.DataFrame:
    keys = curves.keys
    batch = curves.ragged
    n_examples = batch.reduce(np.fmin, curves.n_examples)
    # In the unit of the catalog, which is not that of scores outside the metric's range.
    step = np.where(keys["n_outside"] > 0, np.nan, keys["step"].to_numpy(dtype=float))
    resolution = step / np.where(n_examples > 0, n_examples, np.nan)
    scores = score_ragged(
        curves.oriented, curves.offsets, resolution=resolution, min_scales=min_scales
    )
    first, last = np.zeros(len(batch)), np.full(len(batch), -1)
    frame = keys[
        [
            *(*CURVE_KEY, "metric_type", "scale", "n_missing", "n_tied"),
            *("n_replicated", "n_same_size", "is_preferred"),
        ]
    ].assign(
        n_scales=scores.n_scales,
        scale_min=batch.reduce(np.fmin, curves.x),
        scale_max=batch.reduce(np.fmax, curves.x),
        score_first=batch.at(curves.y, first),
        score_last=batch.at(curves.y, last),
        score_min=batch.reduce(np.fmin, curves.y),
        score_max=batch.reduce(np.fmax, curves.y),
        orientation=np.where(keys["higher_is_better"], "up", "down"),
        direction=keys["direction"],
        emergence_score=scores.emergence_score,
        linearity=scores.linearity,
        relative_sharpness=scores.relative_sharpness,
        resolution=resolution,
        resolution_limited_score=scores.resolution_limited_score,
        status=np.where(
            keys["mixed_units"], "mixed_units", np.array(STATUSES, dtype=object)[scores.status]
        ),
        n_examples_min=integer_column(n_examples),
    )
    return frame[CURVE_SCORES.names]
