"""How much the emergence score of a family depends on the seed its models were trained with.

Schaeffer et al. score one run of each size. Where every size was trained with several seeds, a
curve can be drawn through the means over seeds, or through the models of each seed alone: what an
experimenter with one run of each size would have seen.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, eq. 1. Zhao et al. (2025),
    "Distributional Scaling Laws for Emergent Capabilities", arXiv 2502.17356 (seeds differ most
    where a score jumps).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.schema import CURVE_KEY, conform
from bigbench_meta.curves.build import Curves, build_curves
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]

__all__ = ["STATISTICS", "emergence_over_seeds"]

STATISTICS: Final = ("emergence_score", "relative_sharpness", "resolution_limited_sharpness")
"""What is given of the mean over seeds, and of each seed's own curve."""


def emergence_over_seeds(
    observations: pd.DataFrame | pa.Table,
    *,
    scale: str | None = None,
    min_scales: int = MIN_SCALES,
    catalog: MetricCatalog | None = None,
) -> pd.DataFrame:
    """Compute emergence scores of the mean over seeds and of every seed's own curve.

    A seed is a value of ``replicate``. It has a curve of its own if it has a score at every size
    of the curve of means; other seeds, such as many more of one size, count in the means alone.

    Args:
        observations: Observations table. A column ``replicate`` names the seeds.
        scale: Axis, see :func:`bigbench_meta.build_curves`; one on which the seeds of a size agree,
            so not ``pretraining_loss``.
        min_scales: Curves with fewer sizes get no score.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        One row per curve, in the order of :func:`bigbench_meta.build_curves`: the key columns,
        ``metric_type``, ``scale``, ``n_scales``; ``n_seeds`` with a score at every size, and
        ``n_incomplete`` without; ``n_unscored``, complete seeds whose curve has no emergence score
        (it is constant); then for each of :data:`STATISTICS` its value on the means over seeds, and
        with ``_median``, ``_low`` and ``_high`` behind the name the median, smallest and largest
        over seeds. The resolution is that of one model's test set for both. ``_low`` and ``_high``
        are the range and not a confidence interval; all three are NaN where no seed has a score.

    Raises:
        InputError: ``scale`` is not a scale axis.
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> import pandas as pd
        >>> shared = {"benchmark": "b", "task": "t", "metric": "exact_str_match",
        ...           "model_family": "f", "model_name": ["S", "M", "L", "XL"],
        ...           "total_params": [1, 2, 3, 4]}
        >>> observations = pd.concat([
        ...     pd.DataFrame(shared | {"replicate": "seed 0", "score": [0.0, 0.1, 0.2, 1.0]}),
        ...     pd.DataFrame(shared | {"replicate": "seed 1", "score": [0.0, 0.1, 0.8, 1.0]}),
        ... ])
        >>> row = emergence_over_seeds(observations).iloc[0]
        >>> [round(float(row[f"emergence_score{name}"]), 2) for name in ("", "_low", "_high")]
        [2.5, 5.0, 10.0]
        >>> int(row.n_seeds), int(row.n_incomplete)
        (2, 0)
    """
    table = conform(observations)
    means = build_curves(table, scale=scale, catalog=catalog)
    row_of = {key: row for row, key in enumerate(_names(means))}
    own: list[list[Floats]] = [[] for _ in range(len(means))]
    n_incomplete = np.zeros(len(means), dtype=np.int64)
    seeds = table.column("replicate").cast(pa.string())
    for seed in pc.unique(seeds).drop_null().to_pylist():
        rows = table.filter(pc.equal(seeds, seed))
        curves = build_curves(rows, scale=scale, catalog=catalog)
        found = _statistics(curves, min_scales)
        for number, key in enumerate(_names(curves)):
            row = row_of[key]
            x = means.x[means.offsets[row] : means.offsets[row + 1]]
            if np.array_equal(curves.x[curves.offsets[number] : curves.offsets[number + 1]], x):
                own[row].append(found[number])
            else:
                n_incomplete[row] += 1
    n_seeds = np.array([len(some) for some in own], dtype=np.int64)
    of_seeds = [np.array(some).reshape(-1, len(STATISTICS)) for some in own]
    result = means.keys[[*CURVE_KEY, "metric_type", "scale"]].assign(
        n_scales=means.ragged.lengths,
        n_seeds=n_seeds,
        n_incomplete=n_incomplete,
        n_unscored=[int(np.isnan(some[:, 0]).sum()) for some in of_seeds],
    )
    of_means = _statistics(means, min_scales)
    for place, name in enumerate(STATISTICS):
        scored = [some[~np.isnan(some[:, place]), place] for some in of_seeds]
        result[name] = of_means[:, place]
        for ending, summary in (("median", _median), ("low", np.min), ("high", np.max)):
            result[f"{name}_{ending}"] = [
                float(summary(values)) if len(values) else np.nan for values in scored
            ]
    return result


def _names(curves: Curves) -> list[tuple[str, ...]]:
    """Return the key of each curve as text, in which missing values are equal."""
    keys = curves.keys[list(CURVE_KEY)].astype("string").fillna("")
    return list(keys.itertuples(index=False, name=None))


def _statistics(curves: Curves, min_scales: int) -> Floats:
    """Return the statistics of curves, shape (curves, statistics)."""
    scores = score_curves(curves, min_scales=min_scales)
    steps = np.maximum(scores["n_scales"].to_numpy(dtype=float) - 1, 1)
    return np.column_stack(
        [
            scores["emergence_score"].to_numpy(dtype=float),
            scores["relative_sharpness"].to_numpy(dtype=float),
            scores["resolution_limited_score"].to_numpy(dtype=float) / steps,
        ]
    )


def _median(values: Floats) -> float:
    """Return the median; of infinite values, those in the middle are not averaged to NaN."""
    low, high = np.quantile(values, 0.5, method="lower"), np.quantile(values, 0.5, method="higher")
    return float(low if low == high else (low + high) / 2)
