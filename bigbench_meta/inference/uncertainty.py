"""Intervals of every curve's emergence score, linearity and relative sharpness.

A thin wrapper of :func:`bigbench_meta.inference.bootstrap.bootstrap_intervals`;
``docs/uncertainty.md`` says what is computed and how often the intervals contain the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import seed_number
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.bootstrap import STATUSES, RaggedIntervals, bootstrap_intervals
from bigbench_meta.inference.proportions import proportions
from bigbench_meta.inference.replicates import PointNoise
from bigbench_meta.inference.sample_errors import (
    errors_of_alike,
    examples_of_curves,
    resampled_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.proportions import Proportions

    Floats = NDArray[np.float64]
    Names = NDArray[np.object_]

__all__ = ["NOISES", "curve_intervals"]

NOISES: Final = ("binomial", "stderr", "samples", "mixed", "none")
"""Where the sampling error of a curve's points comes from."""

_NONE, _STDERR, _BINOMIAL, _SAMPLES = 0, 1, 2, 4
_NAMED: Final = {_NONE: "none", _STDERR: "stderr", _BINOMIAL: "binomial", _SAMPLES: "samples"}
# A standard error this much off the binomial one is of graded or of clustered examples.
_ALIKE: Final = 0.1


def curve_intervals(
    curves: Curves,
    *,
    samples: pd.DataFrame | pa.Table | None = None,
    level: float = 0.95,
    threshold: float = 100.0,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    min_scales: int = 3,
    catalog: MetricCatalog | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Say how sure the emergence score of every curve is, given the size of the test set.

    The error of a point is, in this order: that of its examples drawn anew, jointly for all models
    of a curve, where ``samples`` has those of all its models; binomial, where the catalog says that
    the score is a mean over examples between two ends and the number of examples is known; the
    standard error of the observations. A standard error that differs from the binomial one by more
    than a tenth comes before it: then examples are graded, or belong together. No right answer of n
    and n of n have errors too, about Jeffreys' (k + 1/2) / (n + 1).

    Sampling error makes steps look larger than they are, and replicates are noisy twice. So the
    interval is not made of quantiles of replicates, but of the values in whose worlds the observed
    curve would not be unusual; with much noise it can lie above the observed score. Percentile and
    BCa intervals, which the literature would use, stand beside it; ``docs/uncertainty.md`` shows
    how far they can be trusted.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        samples: Samples table of the same results. Examples of one ``example_id`` are drawn
            together; those of one ``cluster``, where it has such a column.
        level: Confidence of the intervals.
        threshold: Of the emergence score.
        n_boot: Number of bootstrap replicates, at least 19. The time is proportional to it; with
            999, the ends of one curve differ between seeds by some percent.
        seed: Seed or generator. A curve's intervals depend on it and on the curve alone.
        min_scales: Curves with fewer points have no interval.
        catalog: Metric catalog; the packaged one by default.
        progress: Called with (curves done, curves).

    Returns:
        One row a curve, in the order of the curves: the key columns, ``metric_type``, ``scale``;
        ``noise``, one of :data:`NOISES`; ``emergence_low`` and ``emergence_high``, which may be
        infinite, ``linearity_low``, ``linearity_high``, ``sharpness_low``, ``sharpness_high`` (E /
        (n_scales - 1)); percentile and BCa intervals of the first two, ``emergence_percentile_low``
        to ``linearity_bca_high``; ``p_above_threshold``, the confidence that E is above the
        threshold, and ``share_above_threshold``, the share of replicates above it; ``n_boot``;
        ``interval_status``: ``ok``, ``no_sampling_error``, ``flat`` or ``too_few_scales``. Without
        ``ok`` all numbers are NaN.

    Raises:
        InputError: An option is out of its range.
        SchemaError: ``samples`` is no samples table.

    References:
        Carpenter (1999), doi:10.1111/1467-9868.00169. Efron (1987),
        doi:10.1080/01621459.1987.10478410.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves.select((curves.keys.task == "arithmetic 3D+") & (curves.keys.shots == 50))
        >>> row = curve_intervals(some).iloc[0]
        >>> f"{row.emergence_low:.0f} to {row.emergence_high:.0f}, {row.noise}"
        '142 to inf, binomial'
    """
    shares = proportions(curves, catalog=catalog)
    fit = (shares.problem == "")[shares.curve]
    values = np.where(fit, shares.proportion, curves.oriented)
    noise, kind = _noise(curves, shares, values, fit)
    seeds = np.random.default_rng(seed_number(seed)).integers(1 << 62, size=2).tolist()
    errors: dict[int, Floats] = {}
    if samples is not None:
        errors = _errors(curves, samples, shares, values, noise, kind, n_boot, seeds[1])
    found = bootstrap_intervals(
        values, curves.offsets, noise, level=level, threshold=threshold, n_boot=n_boot,
        seed=seeds[0], min_scales=min_scales, errors=errors, progress=progress,
    )  # fmt: skip
    return curves.keys[[*CURVE_KEY, "metric_type", "scale"]].assign(
        noise=_names(kind, curves),
        **_columns(found, np.diff(curves.offsets)),
        p_above_threshold=found.p_above,
        share_above_threshold=found.share_above,
        n_boot=n_boot,
        interval_status=np.array(STATUSES, dtype=object)[found.status],
    )


def _noise(
    curves: Curves, shares: Proportions, values: Floats, fit: NDArray[np.bool_]
) -> tuple[PointNoise, NDArray[np.int64]]:
    """Return the noise of each point, and where it comes from."""
    low, high = np.where(fit, 0.0, -np.inf), np.where(fit, 1.0, np.inf)
    n = np.where(fit, shares.n_examples, np.nan)
    given = np.where(fit, shares.stderr, curves.stderr)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        binomial = np.sqrt(values * (1 - values) / n)
        # Estimates of variances divide by n or by n - 1.
        allowed = _ALIKE + 1 / n
        other = (given > 0) & (np.abs(given / binomial - 1) > allowed)
    known = np.isfinite(n) & (n >= 1) & ~other
    noise = PointNoise.of(values, np.where(known, n, np.nan), given, low, high)
    usable = np.isfinite(noise.error)
    return noise, np.where(known, _BINOMIAL, np.where(usable, _STDERR, _NONE))


def _errors(
    curves: Curves, samples: pd.DataFrame | pa.Table, shares: Proportions, values: Floats,
    noise: PointNoise, kind: NDArray[np.int64], n_boot: int, seed: int,
) -> dict[int, Floats]:  # fmt: skip
    """Return resampled errors of curves with samples, and note them in the noise of points."""
    errors = {}
    sign = np.where(curves.keys["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0)
    span = np.where(shares.problem == "", shares.best - shares.worst, sign)
    for row, examples in examples_of_curves(curves, samples).items():
        points = slice(curves.offsets[row], curves.offsets[row + 1])
        own = resampled_errors(examples, n_boot, seed) / span[row]
        n_clusters = (examples.count > 0).sum(axis=0)
        spread = own.std(axis=1)
        for scale in np.flatnonzero(spread <= 0).tolist():
            # All examples alike, and drawn anew they remain so.
            if np.isfinite(noise.high[points][scale]):
                n = int(n_clusters[scale])
                rate = (values[points][scale] * n + 0.5) / (n + 1)
                own[scale] = errors_of_alike(n, rate, n_boot, seed + scale)
                spread[scale] = own[scale].std()
        if (spread > 0).all():
            errors[row] = own
            noise.error[points] = spread
            noise.n_examples[points] = np.nan
            kind[points] = _SAMPLES
            noise.mean[points] = values[points]
    return errors


def _names(kind: NDArray[np.int64], curves: Curves) -> Names:
    """Return the name of the noise of each curve; none where a point has none."""
    names = np.full(len(curves), "none", dtype=object)
    for row, (start, end) in enumerate(zip(curves.offsets, curves.offsets[1:], strict=False)):
        found = set(kind[start:end].tolist())
        if found and _NONE not in found:
            names[row] = _NAMED[found.pop()] if len(found) == 1 else "mixed"
    return names


def _columns(found: RaggedIntervals, n_scales: NDArray[np.int64]) -> dict[str, Floats]:
    columns = {}
    for name in ("emergence", "linearity"):
        columns[f"{name}_low"], columns[f"{name}_high"] = getattr(found, name).T
    steps = np.maximum(n_scales - 1, 1)
    columns["sharpness_low"], columns["sharpness_high"] = (found.emergence / steps[:, None]).T
    for name in ("emergence", "linearity"):
        for kind in ("percentile", "bca"):
            low, high = getattr(found, f"{name}_{kind}").T
            columns[f"{name}_{kind}_low"], columns[f"{name}_{kind}_high"] = low, high
    return columns
