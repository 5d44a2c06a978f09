"""Confidence intervals of every curve's emergence score, given the size of its test set.

Intervals are those of :mod:`bigbench_meta.inference.inversion`; here is where the sampling error of
each point comes from: the number of examples, a standard error, or the examples themselves, drawn
anew jointly for all models of a curve.
``docs/uncertainty.md`` says what is computed and how often the intervals contain the truth.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.core.checks import seed_number
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.schema import CURVE_KEY, SAMPLES, conform, to_frame
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.inversion import STATUSES, inverted_intervals
from bigbench_meta.inference.resampling import PointNoise, binomial_quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.chunks import Samples, SamplesByTask

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Names = NDArray[np.object_]

__all__ = [
    "CLUSTER", "NOISES", "CurveExamples", "SamplingErrors", "curve_intervals", "errors_of_alike",
    "examples_of_curves", "resampled_errors", "sampling_errors",
]  # fmt: skip

NOISES: Final = ("binomial", "stderr", "samples", "mixed", "none")
"""Where the sampling error of a curve's points comes from."""

CLUSTER: Final = "cluster"
"""Further column of a samples table that says which examples belong together."""

_NONE, _STDERR, _BINOMIAL, _SAMPLES = 0, 1, 2, 4
_NAMED: Final = {_NONE: "none", _STDERR: "stderr", _BINOMIAL: "binomial", _SAMPLES: "samples"}
# A standard error this much off the binomial one is of graded or of clustered examples.
_ALIKE: Final = 0.1
_KEY: Final = [name for name in CURVE_KEY if name != "metric"]
_NEEDED: Final = [*_KEY, "model_name", "example_id", "correct", "metrics"]
_NESTED: Final = {"metrics", "targets", "target_values", "target_logprobs"}
# A curve is in percent where its samples are shares.
_UNITS: Final = (1.0, 100.0)
# Scores are published with three digits or more.
_ROUNDED: Final = 1e-3
# Numbers in one matrix of weights.
_PIECE: Final = 1 << 20


def curve_intervals(
    curves: Curves,
    *,
    samples: Samples | None = None,
    level: float = 0.95,
    threshold: float = 100.0,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    min_scales: int = 3,
    catalog: MetricCatalog | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    """Compute intervals of the emergence score of every curve, given the size of its test set.

    The error of a point is, in this order: that of its examples drawn anew, jointly for all models
    of a curve, where ``samples`` has those of all its models; binomial, where the catalog says that
    the score is a mean over examples between two ends and the number of examples is known; the
    standard error of the observations. A standard error that differs from the binomial one by more
    than a tenth comes before it: then examples are graded, or belong together. No right answer of n
    and n of n have errors too, about Jeffreys' (k + 1/2) / (n + 1). So has a score of another kind
    with a standard error of 0 from n examples, all alike, such as an edit distance of 0 each time:
    (1/2) / (n + 1) of such examples are taken to be off by the range of the curve.

    Sampling error makes steps look larger than they are, and replicates are noisy twice. So the
    interval is not made of quantiles of replicates, but of the values that, if true, would not make
    the observed curve unusual; with much noise it can lie above the observed score. Percentile and
    BCa intervals of the same replicates hardly ever contain the truth, see ``docs/uncertainty.md``.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        samples: Samples table of the same results, or what
            :meth:`bigbench_meta.Store.samples_by_task` returns. Examples of one ``example_id`` are
            drawn together; those of one ``cluster``, where it has such a column.
        level: Confidence of the intervals.
        threshold: Of the emergence score.
        n_boot: Number of bootstrap replicates, at least 19. The time is proportional to it; with
            999, the ends of one curve differ between seeds by some percent.
        seed: Seed or generator. A curve's intervals depend on it and on the curve alone.
        min_scales: Curves with fewer points have no interval.
        catalog: Metric catalog; the packaged one by default.
        progress: Whether to show a bar, or what to call with (curves done, curves); by
            default a bar in terminals and notebooks.

    Returns:
        One row per curve, in the order of the curves: the key columns, ``metric_type``, ``scale``;
        ``noise``, one of :data:`NOISES`; ``emergence_low`` and ``emergence_high``, which may be
        infinite, ``linearity_low``, ``linearity_high``, ``sharpness_low``, ``sharpness_high`` (E /
        (n_scales - 1)); ``p_above_threshold``, the confidence that E is above the
        threshold, and ``share_above_threshold``, the share of replicates above it; ``n_boot``;
        ``interval_status``: ``ok``, ``no_sampling_error``, ``flat`` or ``too_few_scales``. Without
        ``ok`` all numbers are NaN.

    Raises:
        InputError: An option is out of its range.
        SchemaError: ``samples`` is no samples table.

    References:
        Carpenter (1999), doi:10.1111/1467-9868.00169.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves[(curves.keys.task == "arithmetic 3D+") & (curves.keys.shots == 50)]
        >>> row = curve_intervals(some).iloc[0]
        >>> f"{row.emergence_low:.0f} to {row.emergence_high:.0f}, {row.noise}"
        '142 to inf, binomial'
    """
    seeds = np.random.default_rng(seed_number(seed)).integers(1 << 62, size=2).tolist()
    errors = sampling_errors(curves, samples=samples, n_boot=n_boot, seed=seeds[1], catalog=catalog)
    with progress_bar("Resampling", progress) as report:
        found = inverted_intervals(
            errors.values, curves.offsets, errors.noise, level=level, threshold=threshold,
            n_boot=n_boot, seed=seeds[0], min_scales=min_scales, errors=errors.resampled,
            progress=report,
        )  # fmt: skip
    steps = np.maximum(curves.ragged.lengths - 1, 1)
    return curves.keys[[*CURVE_KEY, "metric_type", "scale"]].assign(
        noise=errors.source,
        emergence_low=found.emergence[:, 0],
        emergence_high=found.emergence[:, 1],
        linearity_low=found.linearity[:, 0],
        linearity_high=found.linearity[:, 1],
        sharpness_low=found.emergence[:, 0] / steps,
        sharpness_high=found.emergence[:, 1] / steps,
        p_above_threshold=found.p_above,
        share_above_threshold=found.share_above,
        n_boot=n_boot,
        interval_status=np.array(STATUSES, dtype=object)[found.status],
    )


@dataclass(frozen=True, kw_only=True)
class SamplingErrors:
    """The scores of curves with their sampling errors.

    Attributes:
        values: Score of each point, up is better: a proportion where scores are such.
        noise: Its sampling distribution.
        source: Where that comes from, one of :data:`NOISES`, of each curve.
        resampled: Errors of the scores of curves with samples, by their number, shape (scales,
            n_boot): examples drawn anew, jointly for all models.
    """

    values: Floats
    noise: PointNoise
    source: Names
    resampled: dict[int, Floats]


def sampling_errors(
    curves: Curves,
    *,
    samples: Samples | dict[int, CurveExamples] | None,
    n_boot: int,
    seed: int,
    catalog: MetricCatalog | None = None,
) -> SamplingErrors:
    """Return the scores of curves with their sampling errors, see :func:`curve_intervals`.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        samples: Samples of the same results, or the examples of curves, if there are any.
        n_boot: Number of replicates of curves with samples.
        seed: Seed of these replicates.
        catalog: Metric catalog; the packaged one by default.
    """
    shares = proportions(curves, catalog=catalog)
    fit = (shares.problem == "")[shares.curve]
    values = np.where(fit, shares.proportion, curves.oriented)
    low, high = np.where(fit, 0.0, -np.inf), np.where(fit, 1.0, np.inf)
    n = np.where(fit, shares.n_examples, np.nan)
    given = np.where(fit, shares.stderr, curves.stderr)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        binomial = np.sqrt(values * (1 - values) / n)
        # Estimates of variances divide by n or by n - 1.
        allowed = _ALIKE + 1 / n
        other = (given > 0) & (np.abs(given / binomial - 1) > allowed)
    known = np.isfinite(n) & (n >= 1) & ~other
    extent = np.subtract(*(curves.ragged.reduce(f, values) for f in (np.maximum, np.minimum)))
    given = _with_errors_of_alike(given, shares.n_examples, extent, curves.ragged)
    noise = PointNoise.of(values, np.where(known, n, np.nan), given, low, high)
    source = np.where(known, _BINOMIAL, np.where(np.isfinite(noise.error), _STDERR, _NONE))
    resampled: dict[int, Floats] = {}
    if samples is not None:
        sign = np.where(curves.keys["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0)
        span = np.where(shares.problem == "", shares.best - shares.worst, sign)
        of_curves = samples if isinstance(samples, dict) else examples_of_curves(curves, samples)
        for row, examples in of_curves.items():
            points = slice(curves.offsets[row], curves.offsets[row + 1])
            errors = resampled_errors(examples, n_boot, seed) / span[row]
            bounded = np.isfinite(noise.high[points])
            spread = _with_alike(errors, examples, values[points], bounded, n_boot, seed)
            if (spread > 0).all():
                resampled[row] = errors
                noise.error[points], noise.n_examples[points] = spread, np.nan
                noise.mean[points], source[points] = values[points], _SAMPLES
    return SamplingErrors(
        values=values, noise=noise, source=_names(source, curves), resampled=resampled
    )


def _with_errors_of_alike(stderr: Floats, n: Floats, extent: Floats, ragged: Ragged) -> Floats:
    """Give scores with a standard error of 0, whose examples are all alike, an error.

    As for no right answer of n, the share of examples that differ is taken to be Jeffreys'
    (1/2) / (n + 1), and such an example to be off by the range of the curve. Where all errors of a
    curve are 0 they were not computed, and remain unknown.
    """
    rate = 0.5 / (n + 1)
    alike = (stderr == 0) & (n >= 1) & (ragged.any(stderr > 0) & (extent > 0))[ragged.curve]
    error: Floats = np.where(alike, extent[ragged.curve] * np.sqrt(rate * (1 - rate) / n), stderr)
    return error


def _with_alike(
    errors: Floats, examples: CurveExamples, y: Floats, bounded: Bools, n_boot: int, seed: int
) -> Floats:
    """Return the spread of errors; where all examples are alike, give the scale binomial ones.

    They are about Jeffreys' rate between the ends of a proportion. Where scores have no ends, an
    example that differs is off by the range of the curve, towards its other scores.
    """
    n_clusters = (examples.count > 0).sum(axis=0)
    spread: Floats = errors.std(axis=1)
    middle, extent = (y.max() + y.min()) / 2, np.ptp(y)
    for scale in np.flatnonzero(spread <= 0).tolist():
        n = int(n_clusters[scale])
        own = seed + scale
        if bounded[scale]:
            errors[scale] = errors_of_alike(n, (y[scale] * n + 0.5) / (n + 1), n_boot, own)
        else:
            off = extent if y[scale] < middle else -extent
            errors[scale] = off * errors_of_alike(n, 0.5 / (n + 1), n_boot, own)
        spread[scale] = errors[scale].std()
    return spread


def _names(source: Ints, curves: Curves) -> Names:
    """Return the source of the noise of each curve; none where a point has none."""
    names = np.full(len(curves), "none", dtype=object)
    for row, (start, end) in enumerate(zip(curves.offsets, curves.offsets[1:], strict=False)):
        found = set(source[start:end].tolist())
        if found and _NONE not in found:
            names[row] = _NAMED[found.pop()] if len(found) == 1 else "mixed"
    return names


@dataclass(frozen=True, kw_only=True)
class CurveExamples:
    """The examples behind one curve, by cluster; a cluster is one example if no more is known.

    Attributes:
        total: Sum of the examples' scores in each cluster, shape (clusters, scales).
        count: Their number.
        names: Names of the clusters, shape (clusters,).
    """

    total: Floats
    count: Floats
    names: Names


def examples_of_curves(curves: Curves, samples: Samples) -> dict[int, CurveExamples]:
    """Return the examples of those curves of which all models have them.

    The score of an example is the metric of that name, or else ``correct``. Samples whose mean is
    not the score of the curve, or a hundredth of it, belong to something else and are not used.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        samples: Samples table, or what reads those of a task; examples are the same for two models
            if they have one ``example_id``. Its column ``cluster``, if any, names what is resampled
            together.

    Raises:
        SchemaError: ``samples`` is no samples table.
    """
    if not isinstance(samples, pd.DataFrame | pa.Table):
        return _examples_by_task(curves, samples)
    frame = _table(samples)
    frame["subtask"] = frame["subtask"].astype("string").fillna(frame["task"].astype("string"))
    for name in _KEY:  # as text: <NA> is a value like others
        frame[name] = frame[name].astype("string").fillna("")
    groups = dict(frame.groupby(_KEY, observed=True, sort=False).indices.items())
    keys = curves.keys[list(CURVE_KEY)].astype("string").fillna("")
    found = {}
    for row, key in enumerate(keys[_KEY].itertuples(index=False, name=None)):
        if (rows := groups.get(key)) is None:
            continue
        points = slice(curves.offsets[row], curves.offsets[row + 1])
        some = frame.take(np.asarray(rows, dtype=np.int64))
        examples = _examples(
            some, _scores(some, str(keys["metric"].iloc[row])), curves.model_name[points],
            curves.y[points],
        )  # fmt: skip
        if examples is not None:
            found[row] = examples
    return found


def _examples_by_task(curves: Curves, samples: SamplesByTask) -> dict[int, CurveExamples]:
    """Return the examples of curves while the samples of one task are in memory."""
    found: dict[int, CurveExamples] = {}
    for task, of_task in curves.keys.groupby("task", observed=True, sort=False).indices.items():
        rows = np.asarray(of_task)
        own = examples_of_curves(curves[rows], samples.of_task(str(task), columns=_NEEDED))
        found |= {int(rows[row]): examples for row, examples in own.items()}
    return dict(sorted(found.items()))


def resampled_errors(examples: CurveExamples, size: int, seed: int) -> Floats:
    """Return errors of the scores of a curve, shape (scales, size), clusters drawn anew.

    Args:
        examples: Of the curve.
        size: Number of replicates.
        seed: Of the random numbers, together with the examples themselves.
    """
    content = np.concatenate([examples.total, examples.count]).tobytes()
    own = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
    rng = np.random.default_rng([seed, own])
    n_clusters, n = examples.total.shape
    mean = examples.total.sum(axis=0) / examples.count.sum(axis=0)
    errors = np.empty((size, n))
    step = max(1, _PIECE // n_clusters)
    even = np.full(n_clusters, 1 / n_clusters)
    for start in range(0, size, step):
        rows = slice(start, min(start + step, size))
        weight = rng.multinomial(n_clusters, even, size=rows.stop - rows.start).astype(float)
        with np.errstate(invalid="ignore"):  # no example of a model drawn
            errors[rows] = weight @ examples.total / (weight @ examples.count)
    errors -= mean
    for column in errors.T:
        # Where no example of the model was drawn, an error of replicates where some were.
        if (empty := np.isnan(column)).any():
            column[empty] = rng.choice(column[~empty], int(empty.sum())) if not empty.all() else 0.0
    return errors.T


def errors_of_alike(n: int, rate: float, size: int, seed: int) -> Floats:
    """Return binomial errors, shape (size,), about a rate that examples all alike do not show."""
    out = np.empty((1, size))
    binomial_quantiles(np.array([rate]), np.array([float(n)]), out)
    return np.random.default_rng(seed).permutation(out[0]) - rate


def _table(samples: pd.DataFrame | pa.Table) -> pd.DataFrame:
    """Return the columns that matter here, among them the cluster."""
    names = samples.columns if isinstance(samples, pd.DataFrame) else samples.column_names
    # Further metrics are a map: a list of pairs in pandas, of which Arrow makes something else.
    kept = [name for name in names if name in SAMPLES.names and name not in _NESTED]
    chosen = samples[kept] if isinstance(samples, pd.DataFrame) else samples.select(kept)
    frame = to_frame(conform(chosen, SAMPLES)).reset_index(drop=True)
    for name, otherwise in (("metrics", None), (CLUSTER, frame["example_id"])):
        if name not in names:
            frame[name] = otherwise
        elif isinstance(samples, pd.DataFrame):
            frame[name] = samples[name].reset_index(drop=True)
        else:
            frame[name] = samples.column(name).to_pandas()
    return frame


def _scores(samples: pd.DataFrame, metric: str) -> Floats:
    """Return the score of each example: the metric of that name, or else correct."""
    correct = samples["correct"].to_numpy(dtype=float)
    own = [dict(entry).get(metric) if entry else None for entry in samples["metrics"]]
    return np.array(
        [value if entry is None else entry for entry, value in zip(own, correct, strict=True)],
        dtype=float,
    )


def _examples(
    samples: pd.DataFrame, score: Floats, models: NDArray[np.object_], y: Floats
) -> CurveExamples | None:
    """Return the examples of the models of a curve, or nothing where they do not fit it."""
    model = pd.Index(models).get_indexer(pd.Index(samples["model_name"].astype(str)))
    usable = (model >= 0) & np.isfinite(score)
    cluster, names = pd.factorize(
        samples[CLUSTER][usable].astype("string"), sort=True, use_na_sentinel=False
    )
    shape = len(names), len(models)
    if 0 in shape or not pd.Index(models).is_unique:
        return None
    place = cluster * shape[1] + model[usable]
    count = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    total: Floats = np.zeros(count.size)
    np.add.at(total, place, score[usable])
    total = total.reshape(shape)
    if not (count.sum(axis=0) > 0).all():
        return None
    mean = total.sum(axis=0) / count.sum(axis=0)
    for unit in _UNITS:
        if np.allclose(mean * unit, y, rtol=0, atol=_ROUNDED * unit):
            return CurveExamples(
                total=total * unit, count=count, names=np.asarray(names, dtype=object)
            )
    return None
