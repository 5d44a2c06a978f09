"""Signal to noise of a benchmark: do its scores tell models of a size apart, or only their runs?

Heineman et al. call *signal* the spread of the scores of models of similar compute, and *noise* how
much the score of one model changes over its last checkpoints, both relative to their means. Where a
model has no checkpoints but several seeds, their scores are taken for the noise.

References:
    Heineman et al. (2025), "Signal and Noise: A Framework for Reducing Uncertainty in Language
    Model Evaluation", arXiv 2508.13144, sec. 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.core.checks import whole, within
from bigbench_meta.core.schema import CURVE_KEY, SIZE_AXES, conform, to_frame
from bigbench_meta.curves.runs import settings_of, training_moment, unexplained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Runs = tuple[float, float, int, str]

__all__ = ["NOISE_STATUSES", "signal_to_noise"]

NOISE_STATUSES: Final = ("ok", "one_model", "no_runs", "zero_mean", "no_noise", "no_size")

_BENCHMARK: Final = [name for name in CURVE_KEY if name != "model_family"]
_MODEL: Final = ["model_family", "model_name"]
_COLUMNS: Final = (
    "size_min", "size_max", "n_models", "mean", "signal", "n_noise_models", "n_runs",
    "noise_source", "noise", "signal_to_noise", "status",
)  # fmt: skip


def signal_to_noise(
    observations: pd.DataFrame | pa.Table,
    *,
    similar: float = 2.0,
    last: int = 5,
    ddof: int = 1,
) -> pd.DataFrame:
    r"""Compute the signal to noise of every task and metric, among models of similar size.

    .. math:: \text{signal} = \max_{j,k} |m_j - m_k| / \bar m, \qquad
              \text{noise} = \operatorname{sd}(s_1, ..., s_n) / \bar s,

    for models j, k of similar size and their scores m, and the scores s of one model at its last n
    checkpoints. A model's own score is the mean over these, which the paper's small models have,
    too. The paper takes the noise of one model; here it is the root mean square over the models
    that have several runs.

    Args:
        observations: Observations table. A checkpoint is ``settings["checkpoint"]``, a seed is
            ``replicate``. Scores of one run that differ without a stated reason are left out.
        similar: Models are of similar size if the largest has at most so many times the parameters
            of the smallest; groups begin at the smallest model, each as large as can be.
        last: Checkpoints of a model that count, the last ones, at least 2. If the names of its
            checkpoints do not say in what order they were, the model has no noise.
        ddof: The divisor of a variance is n - ddof. The paper's code has 0, which understates the
            noise of few runs.

    Returns:
        One row per benchmark, task, subtask, metric, shots, variant and group of sizes: those
        columns, ``size_min`` and ``size_max`` (the first size axis that a model has), ``n_models``,
        ``mean`` over models, in the unit of the file, ``signal``, ``n_noise_models`` (with several
        runs), ``n_runs`` of theirs, ``noise_source`` (``checkpoints``, ``seeds`` or ``both``),
        ``noise``, ``signal_to_noise`` and ``status``: ``one_model`` (no signal), ``no_runs`` (no
        model has several), ``zero_mean`` (nothing to be relative to), ``no_noise`` (all runs score
        the same), ``no_size``. What is not known is NaN.

    Raises:
        InputError: An option is out of range.
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> import pandas as pd
        >>> shared = {"benchmark": "b", "task": "t", "metric": "acc"}
        >>> runs = pd.DataFrame([
        ...     shared | {"model_family": family, "model_name": family, "total_params": size,
        ...               "replicate": seed, "score": score}
        ...     for family, size, seed, score in [
        ...         ("a", 100, "0", 0.29), ("a", 100, "1", 0.31),
        ...         ("b", 120, "0", 0.49), ("b", 120, "1", 0.51),
        ...     ]
        ... ])
        >>> row = signal_to_noise(runs).iloc[0]
        >>> [round(float(row[name]), 3) for name in ("signal", "noise", "signal_to_noise")]
        [0.5, 0.039, 12.862]
    """
    within(similar, 1, np.inf, "similar")
    whole(last, 2, "last")
    whole(ddof, 0, "ddof")
    table = conform(observations)
    columns = [*_BENCHMARK, *_MODEL, *SIZE_AXES, "settings", "replicate", "score"]
    frame = to_frame(table.select(columns).filter(pa.array(~unexplained(table))))
    frame = frame[np.isfinite(frame["score"].to_numpy(dtype=float))]
    models = _models(frame, last, ddof)
    rows = []
    number = models.groupby(_BENCHMARK, dropna=False, observed=True, sort=False).ngroup()
    for _, group in models.groupby(number.to_numpy()):
        key = group[_BENCHMARK].iloc[0].to_dict()
        rows += [key | _of_group(alike) for alike in _by_size(group, similar)]
    return pd.DataFrame(rows, columns=[*_BENCHMARK, *_COLUMNS])


def _models(frame: pd.DataFrame, last: int, ddof: int) -> pd.DataFrame:
    """Return a row per model: its size, score, relative variance over runs, and their source.

    Settings but the checkpoint tell models apart.
    """
    texts = frame["settings"].astype(object).where(frame["settings"].notna(), None)
    said = {text: settings_of(text) for text in texts.unique()}
    frame = frame.assign(
        checkpoint=texts.map(lambda text: said[text].get("checkpoint")),
        other=texts.map(lambda t: str(sorted((n, v) for n, v in said[t].items()
                                             if n != "checkpoint"))),
    )  # fmt: skip
    keys = [*_BENCHMARK, *_MODEL, "other"]
    model = frame.groupby(keys, dropna=False, observed=True, sort=False).ngroup().to_numpy()
    # The first size axis that any run of a model has.
    largest = frame[[*SIZE_AXES]].astype("float64").groupby(model).max()
    score = frame["score"].to_numpy(dtype=float)
    checkpoint = frame["checkpoint"].astype(object).where(frame["checkpoint"].notna(), None)
    order = np.argsort(model, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(model[order])) + 1) if len(order) else []
    names = checkpoint.tolist()
    found = [_runs(score[rows], [names[row] for row in rows], last, ddof) for rows in runs]
    columns = ["score", "square", "n_runs", "source"]
    models = frame[keys].iloc[[rows[0] for rows in runs]].reset_index(drop=True)
    models["size"] = largest.bfill(axis=1).iloc[:, 0].to_numpy() if runs else []
    return models.join(pd.DataFrame(found, columns=columns))


def _runs(scores: Floats, checkpoints: Sequence[str | None], last: int, ddof: int) -> Runs:
    """Return the mean of one model's runs, their relative variance, number and source."""
    source, named = "seeds", {name for name in checkpoints if name is not None}
    if named:
        moments = {name: training_moment(name) for name in named}
        known = sorted(moment for moment in moments.values() if moment is not None)
        if len(known) < len(moments) or len({moment[:2] for moment in known}) > 1:
            return float(scores.mean()), np.nan, 0, ""
        # The final model stands beside its checkpoints without a name.
        moment = [moments.get(name) if name else None for name in checkpoints]
        place = [len(known) if one is None else known.index(one) for one in moment]
        scores = np.asarray(pd.Series(scores).groupby(place).mean(), dtype=np.float64)[-last:]
        source = "checkpoints"
    mean = float(scores.mean())
    if len(scores) <= max(ddof, 1):
        return mean, np.nan, 0, ""
    square = float(scores.var(ddof=ddof)) / mean**2 if mean else np.nan
    return mean, square, len(scores), source


def _by_size(models: pd.DataFrame, similar: float) -> Sequence[pd.DataFrame]:
    """Return the models of one benchmark in groups of similar size; those without one are last."""
    ordered = models.sort_values("size", kind="stable", na_position="last")
    sizes = ordered["size"].to_numpy(dtype=float)
    begins: list[int] = []
    for i, size in enumerate(sizes.tolist()):
        first = sizes[begins[-1]] if begins else np.nan
        joins = begins and (size <= similar * first or (np.isnan(size) and np.isnan(first)))
        if not joins:
            begins.append(i)
    return [ordered.iloc[a:b] for a, b in zip(begins, [*begins[1:], len(ordered)], strict=True)]


def _of_group(models: pd.DataFrame) -> dict[str, object]:
    """Return the row of models of similar size."""
    score = models["score"].to_numpy(dtype=float)
    square = models["square"].dropna()
    several = models[models["n_runs"] > 0]
    sources = set(several["source"])
    mean = float(score.mean())
    signal = float(np.ptp(score)) / abs(mean) if len(score) > 1 and mean else np.nan
    noise = float(np.sqrt(square.mean())) if len(square) else np.nan
    sized = bool(models["size"].notna().all())
    reasons = {
        "no_size": not sized,
        "one_model": len(score) < 2,
        "no_runs": several.empty,
        "zero_mean": np.isnan(signal) or np.isnan(noise),
        "no_noise": noise == 0,
    }
    status = next((name for name, holds in reasons.items() if holds), "ok")
    return {
        "size_min": models["size"].min(),
        "size_max": models["size"].max(),
        "n_models": len(score),
        "mean": mean,
        # Without sizes models need not be alike, and their spread is no signal.
        "signal": signal if sized else np.nan,
        "n_noise_models": len(several),
        "n_runs": int(several["n_runs"].sum()),
        "noise_source": "both" if len(sources) > 1 else next(iter(sources), None),
        "noise": noise,
        "signal_to_noise": signal / noise if status == "ok" else np.nan,
        "status": status,
    }
