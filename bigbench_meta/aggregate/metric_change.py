"""Does an emergent ability stay when the same outputs are scored with another metric?

The paper's sharpest argument keeps the outputs fixed and changes the metric. A pair is one task, as
the same models answered it, under two metrics; its verdict rests on the sharpness of both curves,
with the sampling error of their test set. ``docs/metric_change.md`` defines the verdicts and shows
how often they are wrong.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, sec. 3 and 4, Figs. 3 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.checks import probability, seed_number
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import CURVE_KEY, SAMPLES, conform
from bigbench_meta.curves.build import Curves, build_curves
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.chunks import (
    CHUNK,
    Chunk,
    of_tasks,
    part_of,
    part_size,
    restored,
    run_chunks,
)
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.forecast.smooth_partners import LINKS
from bigbench_meta.inference.score import score_curves
from bigbench_meta.inference.sharpness import Sharpness, score_range, sharpness_intervals
from bigbench_meta.inference.sharpness_ratio import (
    JointCurve,
    log_ratio_interval,
    separate_log_ratio,
)
from bigbench_meta.inference.uncertainty import (
    CurveExamples,
    examples_of_curves,
    resampled_errors,
    sampling_errors,
)
from bigbench_meta.metrics.definitions import METRICS
from bigbench_meta.metrics.rescore import by_answer_length, example_scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.inference.chunks import Samples, SamplesByTask
    from bigbench_meta.inference.uncertainty import SamplingErrors
    from bigbench_meta.metrics.texts import Tokenizer

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "SAME", "VERDICTS", "change_counts", "change_sentence", "forecast_sentence", "metric_change",
    "pair_points", "samples_of_curves",
]  # fmt: skip

VERDICTS: Final = (
    "evaporates", "persists", "weaker", "sharper", "cannot tell", "point values only",
    "same metric",
)  # fmt: skip
"""Verdicts on a pair, in the direction from its first metric to the other."""

EVAPORATES, PERSISTS, WEAKER, SHARPER, CANNOT_TELL, POINTS_ONLY, SAME = VERDICTS

_SHARED: Final = [name for name in CURVE_KEY if name != "metric"]
# Sharp types come first in a pair, graded ones last.
_RANK: Final = {"discontinuous": 0, "nonlinear": 0, "unknown": 1, "linear": 2, "continuous": 2}
# Two metrics are one where a line gives one from the other to this share of its range.
_AFFINE: Final = 1e-3
# What the intervals of a curve's sharpness cost, see inference.chunks.
_COST: Final = 6
# Slopes between all pairs of points are tried up to so many points.
_MOST_SLOPES: Final = 200


def metric_change(
    observations: pd.DataFrame | pa.Table | Curves,
    *,
    samples: Samples | None = None,
    tokens: str | Tokenizer = "characters",
    metric: str | None = None,
    metrics: Sequence[str] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    cut: float | None = None,
    only_flagged: bool = False,
    level: float = 0.95,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    min_scales: int = MIN_SCALES,
    scale: str | None = None,
    catalog: MetricCatalog | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    """Compare the curves of the same outputs under every two metrics.

    A pair has one benchmark, task, subtask, model family, number of shots and variant, and the
    models that both metrics have scores of. The metric of the sharper type comes first, or the
    flagged one where the types are alike. Sharpness is E / (n - 1) with a median step of at least
    the resolution: one example that becomes right, one token of an edit distance, or the range of a
    graded score, over the number of examples.

    Args:
        observations: Observations table, or curves.
        samples: Samples table of the same results, or what
            :meth:`bigbench_meta.Store.samples_by_task` returns: then examples are drawn anew,
            jointly for all models. Scores of single examples that it lacks are computed from
            outputs and targets. Curves of one length, as ``rescore(by_length=True)`` makes them,
            take the samples whose answers have that length.
        tokens: How texts are split for these, see :func:`bigbench_meta.rescore`.
        metric: The metric that matters, if any: only its pairs are compared, it comes first, and
            its score at the largest scale is forecast from the smaller scales through the other
            metric, where that has a known link to it (docs/forecast.md).
        metrics: Compare only these metrics.
        threshold: A curve is flagged above this emergence score.
        cut: Sharpness that separates the verdicts; by default threshold / (n - 1), so that a curve
            is above the cut where its resolution-limited E is above the threshold.
        only_flagged: Compare only pairs with at least one flagged curve.
        level: Confidence of the intervals.
        n_boot: Replicates of each interval, at least 19.
        seed: Seed or generator.
        min_scales: Curves with fewer shared scales have no score.
        scale: Scale axis, see :func:`bigbench_meta.build_curves`; not with curves.
        catalog: Metric catalog; the packaged one by default.
        execution: How the work is spread, and where finished chunks are kept; the results do not
            depend on it.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        One row per pair, in the order of the curves: the key columns with ``metric`` and
        ``other_metric``; ``scale``, ``n_scales`` (shared), ``n_unshared`` (models
        under one metric alone). Of the metric, and with ``other_`` before the name of the other:
        ``metric_type``; ``emergence_score`` with ``emergence_low`` and ``emergence_high``,
        ``status``, ``flagged``, ``relative_sharpness``; ``sharpness``, limited by the resolution
        where that is known, with ``sharpness_low`` and ``sharpness_high``; ``could_exceed``
        (whether its range over its resolution exceeds the cut; missing without a resolution),
        ``noise``. Then ``log_ratio``, the logarithm of the other sharpness over the first one,
        without signs and limited only where both resolutions are known, with ``log_ratio_low`` and
        ``log_ratio_high``; ``joint``, whether these come from the same examples drawn anew for both
        metrics, and not from two separate intervals; ``cut``; ``verdict``, one of
        :data:`VERDICTS`, and ``reason``. With ``metric``: ``observed`` (score at the largest
        scale), ``forecast``, ``forecast_low``, ``forecast_high``, ``forecast_hit`` and
        ``forecast_status``.

    Raises:
        InputError: An option is out of its range, or no curve has the metric that matters.
        SchemaError: ``observations`` or ``samples`` are no such table.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, Figs. 3 and 6.

    Examples:
        >>> import pandas as pd
        >>> accuracy, edits = [0.01, 0.02, 0.01, 0.02, 0.9], [4.0, 3.1, 2.2, 1.1, 0.1]
        >>> shared = {"benchmark": "b", "task": "t", "model_family": "f", "n_examples": 2000,
        ...           "model_name": list("abcde"), "total_params": [1, 2, 3, 4, 5]}
        >>> both = pd.concat([
        ...     pd.DataFrame(shared | {"metric": "exact_str_match", "score": accuracy}),
        ...     pd.DataFrame(shared | {"metric": "token_edit_distance", "score": edits,
        ...                            "stderr": 0.02}),
        ... ])
        >>> row = metric_change(both, threshold=10).iloc[0]
        >>> row.metric, row.other_metric, row.verdict
        ('exact_str_match', 'token_edit_distance', 'evaporates')
    """
    probability(level, "level")
    if cut is not None and not cut > 0:
        raise InputError(f"{cut!r} is not a positive number", where="cut")
    curves = observations
    if not isinstance(curves, Curves):
        curves = build_curves(curves, scale=scale, catalog=catalog)
    pairs = _pairs(curves, metric, metrics, threshold, min_scales)
    if only_flagged:
        flags = flagged(score_curves(pairs.curves, min_scales=min_scales), threshold).to_numpy()
        pairs = pairs.among(flags[pairs.first] | flags[pairs.second])
    compared = partial(
        _compared, tokens=tokens, threshold=threshold, cut=cut, level=level, n_boot=n_boot,
        seed=seed_number(seed), min_scales=min_scales, catalog=catalog,
    )  # fmt: skip
    chunks = [
        Chunk(
            call=partial(
                compared, some,
                samples=None if samples is None else of_tasks(samples, some.curves),
            ),
            name="metric change", curves=some.curves, cost=_COST,
        )
        for some in pairs.in_chunks()
    ]  # fmt: skip
    tables = run_chunks(chunks, execution, label="Comparing", progress=progress)
    table = pd.concat([restored(one, pairs.curves) for one in tables], ignore_index=True)
    verdict, reason = _verdicts(table, pairs, min_scales)
    table = table.assign(verdict=verdict, reason=reason)
    return table if metric is None else table.assign(**_forecasts(curves, table, level, catalog))


def _compared(
    pairs: _Pairs, *, samples: Samples | None, tokens: str | Tokenizer,
    threshold: float, cut: float | None, level: float, n_boot: int, seed: int, min_scales: int,
    catalog: MetricCatalog | None,
) -> pd.DataFrame:  # fmt: skip
    """Return the table of pairs without their verdicts."""
    curves, first, second = pairs.curves, pairs.first, pairs.second
    examples: dict[int, CurveExamples] = {}
    if samples is not None:
        examples = examples_of_curves(curves, samples_of_curves(samples, curves, tokens))
    scores = score_curves(curves, min_scales=min_scales)
    errors = sampling_errors(curves, samples=examples, n_boot=n_boot, seed=seed, catalog=catalog)
    # Of each curve by itself; and for the ratio of two, with half of the error each.
    (plain, limited), (half_plain, half_limited) = (
        sharpness_intervals(curves, scores, errors, (1 - level) / share, n_boot, seed, min_scales)
        for share in (2, 4)
    )
    steps = np.maximum(curves.ragged.lengths - 1, 1)
    cuts = threshold / steps if cut is None else np.full(len(curves), float(cut))
    resolution = scores["resolution"].to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        exceeds = pd.Series(score_range(scores) / resolution / steps > cuts).astype("boolean")
    columns = {
        "metric_type": curves.keys["metric_type"],
        "emergence_score": scores["emergence_score"],
        "emergence_low": pd.Series(plain.low * steps),
        "emergence_high": pd.Series(plain.high * steps),
        "status": scores["status"],
        "flagged": flagged(scores, threshold),
        "relative_sharpness": scores["relative_sharpness"],
        "sharpness": pd.Series(limited.value),
        "sharpness_low": pd.Series(limited.low),
        "sharpness_high": pd.Series(limited.high),
        "could_exceed": exceeds.mask(np.isnan(resolution)),
        "noise": pd.Series(errors.source),
    }
    keys = curves.keys.iloc[first].reset_index(drop=True)
    table = keys[[*_SHARED[:3], "metric"]].assign(
        other_metric=curves.keys["metric"].iloc[second].reset_index(drop=True),
        **{name: keys[name] for name in [*_SHARED[3:], "scale"]},
        n_scales=curves.ragged.lengths[first],
        n_unshared=pairs.n_unshared,
    )
    for before, rows in (("", first), ("other_", second)):
        of_side = {
            before + name: values.iloc[rows].reset_index(drop=True)
            for name, values in columns.items()
        }
        table = table.assign(**of_side)
    # A limit under one metric alone would make the other look sharper.
    known = ~np.isnan(resolution[first] + resolution[second])
    ratio = separate_log_ratio(
        *(_where(known, half_limited.of(rows), half_plain.of(rows)) for rows in (first, second))
    )
    joint = _joint_ratios(pairs, scores, errors, examples, known, level, n_boot, seed)
    for pair, ends in joint.items():
        ratio.low[pair], ratio.high[pair] = ends
    return table.assign(
        log_ratio=ratio.value, log_ratio_low=ratio.low, log_ratio_high=ratio.high,
        joint=np.isin(np.arange(len(first)), list(joint)), cut=cuts[first],
    )  # fmt: skip


def samples_of_curves(
    samples: Samples, curves: Curves, tokens: str | Tokenizer
) -> pd.DataFrame | SamplesByTask:
    """Return samples with the scores of single examples under the metrics of curves.

    Args:
        samples: Samples table, or what reads those of a task; then so is what is returned.
        curves: Their metrics are added where samples can be scored with them. Samples of each
            length of the answer that is a subtask of a curve stand there once more, as its own.
        tokens: How texts are split, see :func:`bigbench_meta.rescore`.
    """
    if not isinstance(samples, pd.DataFrame | pa.Table):
        return _Scored(samples, curves, tokens)
    return _scored(samples, curves, tokens)


def _scored(
    samples: pd.DataFrame | pa.Table, curves: Curves, tokens: str | Tokenizer
) -> pd.DataFrame:
    scored = _with_scores(samples, curves.keys["metric"], tokens)
    return _with_lengths(scored, curves.keys["subtask"], tokens)


@dataclass(frozen=True)
class _Scored:
    """Samples by task, with the scores of single examples under the metrics of curves."""

    samples: SamplesByTask
    curves: Curves
    tokens: str | Tokenizer

    def of_task(self, task: str, *, columns: Iterable[str] | None = None) -> pd.DataFrame:
        own = self.curves[(self.curves.keys["task"] == task).to_numpy()]
        found = _scored(self.samples.of_task(task), own, self.tokens)
        return found if columns is None else found[list(columns)]


def _with_scores(
    samples: pd.DataFrame | pa.Table, metrics: pd.Series[str], tokens: str | Tokenizer
) -> pd.DataFrame:
    """Return samples with the scores of single examples under each metric, where there are any."""
    frame = samples if isinstance(samples, pd.DataFrame) else samples.to_pandas()
    frame = frame.reset_index(drop=True)
    names = sorted(set(metrics.astype(str)) & set(METRICS))
    found = example_scores(frame.drop(columns="metrics", errors="ignore"), names, tokens=tokens)
    stated = frame["metrics"] if "metrics" in frame else [None] * len(frame)
    entries = []
    for row, own in enumerate(stated):
        known = {name: of[row] for name, of in found.items() if not np.isnan(of[row])}
        entries.append(list((known | dict(own if own is not None else {})).items()))
    return frame.assign(metrics=pd.Series(entries, index=frame.index, dtype=object))


def _with_lengths(
    samples: pd.DataFrame, subtasks: pd.Series[str], tokens: str | Tokenizer
) -> pd.DataFrame:
    """Return samples, and those of each length of the answer that is a subtask again as its own."""
    known = {name for column in ("task", "subtask") for name in samples.get(column, ())}
    wanted = set(subtasks.astype(str)) - known
    if not wanted:
        return samples
    table = conform(samples.drop(columns="metrics"), SAMPLES)
    names = by_answer_length(table, tokens)["subtask"].to_pandas().astype(object)
    of_lengths = samples.assign(subtask=names)[names.isin(wanted)]
    found: pd.DataFrame = pd.concat([samples, of_lengths], ignore_index=True)
    return found


# Pairs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs of curves, each cut down to the scales that both have.

    Attributes:
        curves: Curves at shared scales.
        first: Row in ``curves`` of the metric of each pair.
        second: That of the other metric.
        n_unshared: Points of the two that the other one does not have.
    """

    curves: Curves
    first: Ints
    second: Ints
    n_unshared: Ints

    def among(self, chosen: NDArray[np.bool_]) -> _Pairs:
        """Return some of the pairs."""
        first, second = self.first[chosen], self.second[chosen]
        kept = np.isin(np.arange(len(self.curves)), np.concatenate([first, second]))
        place = np.cumsum(kept) - 1
        return _Pairs(
            curves=self.curves[kept], first=place[first], second=place[second],
            n_unshared=self.n_unshared[chosen],
        )  # fmt: skip

    def in_chunks(self) -> list[_Pairs]:
        """Return the pairs in chunks: at least one, and all pairs of the same outputs in one."""
        keys = self.curves.keys[[*_SHARED, "scale"]].astype("string").fillna("")
        group = keys.groupby([*keys], sort=False).ngroup().to_numpy()
        size = np.bincount(group)
        chunk = ((np.cumsum(size) - size) // part_size(len(self.curves), CHUNK))[group[self.first]]
        parts = [self.among(chunk == one) for one in (np.unique(chunk) if len(chunk) else [0])]
        return [
            replace(part, curves=part_of(part.curves, np.arange(len(part.curves))).curves)
            for part in parts
        ]


def pair_points(
    curves: Curves, pairs: pd.DataFrame, *, catalog: MetricCatalog | None = None
) -> pd.DataFrame:
    """Return the scores of each pair, for a chart.

    Args:
        curves: Curves that :func:`metric_change` was given, or those of the same observations.
        pairs: What it returned, or some rows of it.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        One row per score of the shared models: ``pair`` (label of the row in ``pairs``),
        ``metric``, ``metric_type``, ``model_name``, ``x``, ``score``; ``height``, the score between
        the worst (0) and the best (1) of its curve, with ``low`` and ``high``, two standard errors
        from it, NaN where no error is known.
    """
    keys = curves.keys[list(CURVE_KEY)].astype("string").fillna("")
    row_of = {key: row for row, key in enumerate(keys.itertuples(index=False, name=None))}
    errors = sampling_errors(curves, samples=None, n_boot=19, seed=0, catalog=catalog)
    scale, parts = curves.rising_x, []
    for label, pair in pairs[[*CURVE_KEY, "other_metric"]].astype("string").fillna("").iterrows():
        names = [pair["metric"], pair["other_metric"]]
        one, other = (
            row_of[tuple({**pair, "metric": name}[n] for n in CURVE_KEY)] for name in names
        )
        for row, points in zip(
            (one, other), _shared_points(curves, scale, one, other), strict=True
        ):
            y, error = np.take(errors.values, points), errors.noise.error[points]
            extent = np.ptp(y) if len(y) and np.ptp(y) > 0 else np.nan
            height = (y - y.min(initial=np.inf)) / extent
            parts.append(
                pd.DataFrame(
                    {
                        "pair": label, "metric": str(curves.keys["metric"].iloc[row]),
                        "metric_type": str(curves.keys["metric_type"].iloc[row]),
                        "model_name": curves.model_name[points], "x": curves.x[points],
                        "score": curves.y[points], "height": height,
                        "low": height - 2 * error / extent, "high": height + 2 * error / extent,
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _pairs(
    curves: Curves, metric: str | None, metrics: Sequence[str] | None, threshold: float,
    min_scales: int,
) -> _Pairs:  # fmt: skip
    """Return every two curves of the same outputs."""
    names = curves.keys["metric"].astype(str).to_numpy(dtype=object)
    for name in (*(metrics or ()), *(() if metric is None else (metric,))):
        if name not in names:
            raise InputError(f"no curve is scored under {name!r}", where="metrics")
    chosen = np.ones(len(curves), dtype=bool) if metrics is None else np.isin(names, [*metrics])
    if metric is not None:
        chosen |= names == metric
    keys = curves.keys[[*_SHARED, "scale"]].astype("string").fillna("")
    parts: dict[tuple[int, bytes], int] = {}
    places: list[Ints] = []
    rows: list[tuple[int, int, int]] = []
    whole = score_curves(curves, min_scales=min_scales)
    flags, scale = flagged(whole, threshold).to_numpy(), curves.rising_x
    for together in keys[chosen].groupby([*keys], sort=False).indices.values():
        group = np.flatnonzero(chosen)[together]
        for pair in combinations(group.tolist(), 2):
            if names[pair[0]] == names[pair[1]] or not _same_outputs(*names[[*pair]]):
                continue
            if metric is not None and metric not in names[[*pair]]:
                continue
            ordered = _ordered(curves, names, flags, pair, metric)
            shared = _shared_points(curves, scale, *ordered)
            kept = []
            for curve, points in zip(ordered, shared, strict=True):
                name = curve, points.tobytes()
                if name not in parts:
                    parts[name] = len(places)
                    places.append(points)
                kept.append(parts[name])
            unshared = sum(int(curves.ragged.lengths[curve]) - len(shared[0]) for curve in ordered)
            rows.append((kept[0], kept[1], unshared))
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    of_part = np.array([curve for curve, _ in parts], dtype=np.int64)
    points = np.concatenate([*places, np.empty(0, np.int64)])
    return _Pairs(
        curves=Curves(
            keys=curves.keys.iloc[of_part].reset_index(drop=True),
            offsets=Ragged.of_lengths(np.array([len(some) for some in places], np.int64)).offsets,
            **{
                name: getattr(curves, name)[points]
                for name in ("x", "y", "spread", "stderr", "n_examples", "model_name")
            },
        ),
        first=table[:, 0],
        second=table[:, 1],
        n_unshared=table[:, 2],
    )


def _same_outputs(one: str, other: str) -> bool:
    """Return whether two metrics may be functions of the same outputs.

    Not so where one judges a written answer and the other the probabilities of listed ones.
    """
    kinds = {_answers(one), _answers(other)}
    return kinds != {"text", "choice"}


def _answers(metric: str) -> str:
    if metric in METRICS:
        needs = {*chain.from_iterable(METRICS[metric].needs)}
        return "choice" if "target_values" in needs else "text" if "output" in needs else ""
    return LINKS[metric].answers if metric in LINKS else ""


def _ordered(
    curves: Curves, names: NDArray[np.object_], flags: NDArray[np.bool_], pair: tuple[int, int],
    metric: str | None,
) -> tuple[int, int]:  # fmt: skip
    """Return the pair with the metric that matters, the sharper type, the flagged one first."""
    kinds = curves.keys["metric_type"]

    def rank(curve: int) -> tuple[Any, ...]:
        kind = _RANK.get(str(kinds.iloc[curve]), 1)
        return names[curve] != metric, kind, not flags[curve], str(names[curve])

    one, other = sorted(pair, key=rank)
    return one, other


def _shared_points(curves: Curves, scale: Floats, one: int, other: int) -> tuple[Ints, Ints]:
    """Return the points of two curves that are of the same model and scale, which rises in each."""
    ranges = [np.arange(curves.offsets[i], curves.offsets[i + 1]) for i in (one, other)]
    first, second = ranges
    _, here, there = np.intersect1d(scale[first], scale[second], return_indices=True)
    first, second = first[here], second[there]
    # Where several models share a scale, a curve names only one of them.
    alike = curves.model_name[first] == curves.model_name[second]
    if (curves.keys["n_tied"].iloc[[one, other]] > 0).any():
        alike[:] = True
    return first[alike], second[alike]


def _affine(curves: Curves, one: int, other: int) -> bool:
    """Return whether the scores of one curve are an affine function of those of the other.

    The line of the least largest residual has the slope of two of the points (it is parallel to an
    edge of their hull).
    """
    a, b = (curves.y[curves.offsets[i] : curves.offsets[i + 1]] for i in (one, other))
    span_a, span_b = (np.ptp(y) if len(y) else 0.0 for y in (a, b))
    if len(a) < MIN_SCALES or span_a == 0 or span_b == 0:
        return False
    a, b = (a - a[0]) / span_a, (b - b[0]) / span_b
    if len(a) <= _MOST_SLOPES:
        i, j = np.triu_indices(len(a), 1)
        apart = np.abs(a[i] - a[j]) > _AFFINE
        slopes = (b[i] - b[j])[apart] / (a[i] - a[j])[apart]
    else:
        slopes = np.array([np.polyfit(a, b, 1)[0]])
    residuals = b - slopes[:, None] * a
    return bool(np.ptp(residuals, axis=1).min() <= 2 * _AFFINE)


# Ratios of sharpness -------------------------------------------------------------------------


def _where(chosen: Bools, one: Sharpness, other: Sharpness) -> Sharpness:
    """Return one sharpness where the mask is true, and the other elsewhere."""
    return Sharpness(
        value=np.where(chosen, one.value, other.value),
        low=np.where(chosen, one.low, other.low),
        high=np.where(chosen, one.high, other.high),
    )


def _joint_ratios(
    pairs: _Pairs, scores: pd.DataFrame, errors: SamplingErrors,
    examples: dict[int, CurveExamples], limited: Bools, level: float, n_boot: int, seed: int,
) -> dict[int, tuple[float, float]]:  # fmt: skip
    """Return intervals of the log ratio of pairs by the same examples drawn anew for both."""
    curves = pairs.curves
    resolution, span = scores["resolution"].to_numpy(dtype=float), score_range(scores)
    up = curves.keys["higher_is_better"].to_numpy(dtype=bool)
    found = {}
    for pair, rows in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        if not all(row in errors.resampled and row in examples and span[row] > 0 for row in rows):
            continue
        one, other = (examples[row] for row in rows)
        if len(one.total) != len(other.total):
            continue  # not scored on the same examples
        both = CurveExamples(
            total=np.hstack([one.total, other.total]), count=np.hstack([one.count, other.count]),
            names=one.names,
        )  # fmt: skip
        drawn = np.split(resampled_errors(both, n_boot, seed), 2)
        sides = []
        for row, own in zip(rows, drawn, strict=True):
            points = np.arange(curves.offsets[row], curves.offsets[row + 1])
            y = np.take(errors.values, points)
            # From the unit of the file to that of the values.
            unit = (np.ptp(y) if up[row] else -np.ptp(y)) / span[row]
            alike = own.std(axis=1, keepdims=True) == 0
            sides.append(
                JointCurve(
                    y=y, errors=np.where(alike, errors.resampled[row], own * unit),
                    low=errors.noise.low[points[0]], high=errors.noise.high[points[0]],
                    resolution=resolution[row] * abs(unit) if limited[pair] else 0.0,
                )
            )  # fmt: skip
        ends = log_ratio_interval(*sides, level=level)
        if not np.isnan(ends[0]):
            found[pair] = ends
    return found


# Verdicts ------------------------------------------------------------------------------------


def _verdicts(
    table: pd.DataFrame, pairs: _Pairs, min_scales: int
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return the verdict of each pair and the reason for it."""

    def column(name: str) -> Floats:
        return table[name].to_numpy(dtype=float)

    def either_is(status: str) -> Bools:
        both = table[["status", "other_status"]].astype(str)
        return np.asarray((both == status).any(axis=1))

    same = [_affine(pairs.curves, *pair) for pair in zip(pairs.first, pairs.second, strict=True)]
    flags, cut = table["flagged"].to_numpy(dtype=bool), column("cut")
    largest = np.fmax(np.abs(column("other_emergence_low")), np.abs(column("other_emergence_high")))
    missing = table[["sharpness_low", "other_sharpness_low"]].isna()
    within_resolution = ~table["other_could_exceed"].fillna(value=True).to_numpy(dtype=bool)
    rules: list[tuple[Any, str, str]] = [
        (either_is("too_few_scales"), CANNOT_TELL, f"fewer than {min_scales} shared model sizes"),
        (either_is("flat"), CANNOT_TELL, "a curve is constant and has no score"),
        (
            np.array(same, dtype=bool),
            SAME,
            "one metric is an affine function of the other on these scores",
        ),
        (
            flags & (largest / np.maximum(column("n_scales") - 1, 1) < cut),
            EVAPORATES,
            "flagged under the first metric, and not as sharp under the other",
        ),
        (missing.all(axis=1), POINTS_ONLY, "no sampling error is known under either metric"),
        (missing.any(axis=1), POINTS_ONLY, "no sampling error is known under one of the metrics"),
        (
            (column("sharpness_low") > cut) & (column("other_sharpness_low") > cut),
            PERSISTS,
            "sharper than the cut under both metrics",
        ),
        (column("log_ratio_high") < 0, WEAKER, "less sharp under the other metric"),
        (column("log_ratio_low") > 0, SHARPER, "sharper under the other metric"),
        (
            flags & within_resolution,
            CANNOT_TELL,
            "the test set is too small to show such sharpness under the other metric",
        ),
        (np.ones(len(table), dtype=bool), CANNOT_TELL, "the sampling error is too large"),
    ]
    reasons = [
        f"{reason}; one curve rises and the other falls" if turned else reason
        for reason, turned in zip(
            _first(rules, [reason for _, _, reason in rules]),
            column("emergence_score") * column("other_emergence_score") < 0,
            strict=True,
        )
    ]
    verdicts = _first(rules, [verdict for _, verdict, _ in rules])
    return np.array(verdicts, dtype=object), np.array(reasons, dtype=object)


def _first(rules: list[tuple[Any, str, str]], values: list[str]) -> list[str]:
    """Return for each row the value of the first rule that holds."""
    holds = np.stack([np.asarray(rule[0], dtype=bool) for rule in rules])
    return [values[rule] for rule in holds.argmax(axis=0)]


def _forecasts(
    curves: Curves, pairs: pd.DataFrame, level: float, catalog: MetricCatalog | None
) -> dict[str, pd.Series]:
    """Return what each pair's other metric forecasts of the metric at the largest scale."""
    columns = {
        "observed": "observed", "forecast": "forecast", "forecast_low": "lower",
        "forecast_high": "upper", "forecast_hit": "covered", "forecast_status": "status",
    }  # fmt: skip
    names = curves.keys["metric"].astype(str)
    by = [*CURVE_KEY, "other_metric"]
    parts = []
    for first, second in dict.fromkeys(pairs[["metric", "other_metric"]].astype(str).itertuples(
        index=False, name=None
    )):  # fmt: skip
        both = curves[names.isin([first, second])]
        found = forecast_curves(
            both, k="last", forecasters=("smooth_pair",), level=level, catalog=catalog
        )
        parts.append(found[found["metric"].astype(str) == first].assign(other_metric=second))
    found = pd.concat([*parts, pd.DataFrame(columns=[*by, *columns.values()])])
    asked, known = (frame[by].astype("string").fillna("") for frame in (pairs, found))
    place = pd.MultiIndex.from_frame(known).get_indexer(pd.MultiIndex.from_frame(asked))
    taken = found[[*columns.values()]].reset_index(drop=True).reindex(np.where(
        place >= 0, place, len(found)
    )).reset_index(drop=True)  # fmt: skip
    taken["status"] = taken["status"].fillna("too_few_points")
    return {name: taken[column] for name, column in columns.items()}


# Summary -------------------------------------------------------------------------------------


def change_counts(pairs: pd.DataFrame) -> dict[str, int]:
    """Return the number of pairs with each verdict, in the order of :data:`VERDICTS`."""
    return {name: int((pairs["verdict"] == name).sum()) for name in VERDICTS}


def change_sentence(pairs: pd.DataFrame) -> str:
    """Return the result in one or two sentences.

    Examples:
        >>> import pandas as pd
        >>> pairs = pd.DataFrame({"verdict": ["evaporates", "cannot tell", "same metric"],
        ...                       "flagged": [True, False, False]})
        >>> print(change_sentence(pairs))
        Of 2 pairs, 1 evaporates and 1 cannot be decided; 1 is flagged under its first metric. 1 \
more pair is not counted: its metrics differ in unit only.
    """
    counts = change_counts(pairs)
    n = len(pairs) - counts[SAME]
    if not len(pairs):
        return "No two metrics score the same outputs."
    said = {
        EVAPORATES: ("evaporates", "evaporate"),
        PERSISTS: ("persists", "persist"),
        WEAKER: ("is weaker under the other metric", "are weaker under the other metric"),
        SHARPER: ("is sharper under the other metric", "are sharper under the other metric"),
        CANNOT_TELL: ("cannot be decided", "cannot be decided"),
        POINTS_ONLY: ("has point values only", "have point values only"),
    }
    parts = [
        f"{counts[name]} {forms[counts[name] != 1]}" for name, forms in said.items() if counts[name]
    ]
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]])) or "none is counted"
    n_flagged = int((pairs["flagged"] & (pairs["verdict"] != SAME)).sum())
    form = "is flagged under its" if n_flagged == 1 else "are flagged under their"
    text = f"Of {n} pair{'s' * (n != 1)}, {listed}; {n_flagged} {form} first metric."
    if same := counts[SAME]:
        forms = ("pair is", "its") if same == 1 else ("pairs are", "their")
        text += f" {same} more {forms[0]} not counted: {forms[1]} metrics differ in unit only."
    return text


def forecast_sentence(pairs: pd.DataFrame, metric: str) -> str:
    """Return how often the other metrics predict the metric that matters, in one sentence.

    Examples:
        >>> import pandas as pd
        >>> pairs = pd.DataFrame({"verdict": ["weaker", "weaker"], "forecast": [0.5, None],
        ...                       "forecast_hit": pd.array([True, None], dtype="boolean")})
        >>> print(forecast_sentence(pairs, "exact_str_match"))
        The interval of exact_str_match at the largest model, forecast through the other metric \
from the smaller models, contains the observed score in 1 of 1 pair; 1 pair has no such forecast.
    """
    counted = pairs[pairs["verdict"] != SAME]
    made = counted[counted["forecast_hit"].notna()]
    left = len(counted) - len(made)
    text = (
        f"The interval of {metric} at the largest model, forecast through the other metric from "
        f"the smaller models, contains the observed score in {int(made['forecast_hit'].sum())} of "
        f"{len(made)} pair{'s' * (len(made) != 1)}"
    )
    form = "pair has" if left == 1 else "pairs have"
    return f"{text}; {left} {form} no such forecast." if left else f"{text}."
