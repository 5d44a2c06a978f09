"""Errors of scores by resampling examples, jointly for all models of a curve."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.core.schema import CURVE_KEY, SAMPLES, conform, to_frame
from bigbench_meta.inference.draws import binomial_quantiles

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["CLUSTER", "CurveExamples", "examples_of_curves", "resampled_errors"]

CLUSTER: Final = "cluster"
"""Further column of a samples table that says which examples belong together."""

_KEY: Final = [name for name in CURVE_KEY if name != "metric"]
_NESTED: Final = {"metrics", "targets", "target_values", "target_logprobs"}
# A curve is in percent where its samples are shares.
_UNITS: Final = (1.0, 100.0)
# Scores are published with three digits or more.
_ROUNDED: Final = 1e-3
# Numbers in one matrix of weights.
_PIECE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CurveExamples:
    """The examples behind one curve, by cluster; a cluster is one example if no more is known.

    Attributes:
        total: Sum of the examples' scores in each cluster, shape (clusters, scales).
        count: Their number.
    """

    total: Floats
    count: Floats


def examples_of_curves(
    curves: Curves, samples: pd.DataFrame | pa.Table
) -> dict[int, CurveExamples]:
    """Return the examples of those curves of which all models have them.

    The score of an example is the metric of that name, or else ``correct``. Samples whose mean is
    not the score of the curve, or a hundredth of it, belong to something else and are not used.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        samples: Samples table; examples are the same for two models if they have one
            ``example_id``. Its column ``cluster``, if any, names what is resampled together.

    Raises:
        SchemaError: ``samples`` is no samples table.
    """
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
        # No example of the model was drawn: what it does where some are, stands in.
        if (empty := np.isnan(column)).any():
            column[empty] = rng.choice(column[~empty], int(empty.sum())) if not empty.all() else 0.0
    return errors.T


def errors_of_alike(n: int, rate: float, size: int, seed: int) -> Floats:
    """Return binomial errors, shape (size,), about a rate that examples all alike cannot give."""
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
            return CurveExamples(total=total * unit, count=count)
    return None
