"""The curves of a study as columns, for the explorer of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bigbench_meta.core.schema import FALLING_AXES
from bigbench_meta.report.parts import numbers, texts

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.study import Study

    Floats = NDArray[np.float64]

__all__ = ["Explored", "explorer_data", "smooth_scores"]

# What names the outputs that several metrics score, and with them a curve.
_OUTPUTS: Final = ("benchmark", "task", "subtask", "model_family", "shots", "variant")
_TEXTS: Final = {
    "task": "task", "subtask": "subtask", "metric": "metric", "metric_type": "type",
    "model_family": "family", "shots": "shots", "variant": "variant", "benchmark": "benchmark",
    "status": "status", "counted": "counted",
}  # fmt: skip
_NUMBERS: Final = {
    "n_scales": "models", "emergence_score": "E",
    "resolution_limited_score": "E, resolution-limited", "family_q_bh": "q, family",
    "mechanism_q_bh": "q, own",
}  # fmt: skip
# Said of a chosen curve below its chart.
_FACTS: Final = (
    "emergence_low", "emergence_high", "n_examples_min",
    "wei_emergent", "trend", "forecast", "forecast_low", "forecast_high",
)  # fmt: skip
# Columns that are shown only if they tell curves apart.
_IF_SEVERAL: Final = {"subtask", "variant", "benchmark", "counted"}


@dataclass(frozen=True, kw_only=True)
class Explored:
    """Curves without a study, with what the explorer shows of one.

    Attributes:
        curves: The curves.
        scores: Their scores, in their order.
        threshold: Curves with a score above it are flagged.
    """

    curves: Curves
    scores: pd.DataFrame
    threshold: float

    @property
    def counted(self) -> pd.DataFrame:
        """The scores that count, which are all."""
        return self.scores


def explorer_data(study: Study | Explored) -> dict[str, Any]:
    """Return what the explorer shows, as JSON takes it.

    Args:
        study: The study, or curves without one.

    Returns:
        ``threshold``; ``columns``, the table's, each with ``name``, ``label`` and the values of
        all curves; ``facts``, further ones by name; ``outputs``, a number for each curve, the same
        where several metrics score the same outputs; ``points``: where the curves begin
        (``offsets``), and of each point ``x``, ``score``, ``half`` (half its 95% interval, where
        the sampling error is known), ``smooth`` (the score on the smooth law nearest to the curve,
        with inference), ``n`` and ``model``.
    """
    curves, counted = study.curves, study.counted
    inference = "noise" in counted
    scores = study.scores.assign(
        counted=np.where(study.scores.index.isin(counted.index), "yes", "no"),
        falls=study.scores["scale"].astype(str).isin(list(FALLING_AXES)),
    )
    shown: list[dict[str, Any]] = []
    for name, label in _TEXTS.items():
        if name in _IF_SEVERAL and not _tells_apart(scores, name):
            continue
        shown.append({"name": name, "label": label, **texts(scores[name])})
    for name, label in _NUMBERS.items():
        if name in scores and scores[name].notna().any():
            shown.append({"name": name, "label": label, **numbers(scores[name])})
    outputs = scores.groupby(list(_OUTPUTS), observed=True, dropna=False, sort=False).ngroup()
    return {
        "threshold": numbers([study.threshold])["numbers"][0],
        "columns": shown,
        "facts": {name: _column(scores[name]) for name in _FACTS if name in scores},
        "axis": texts(scores["scale"].astype(str).str.replace("_", " ")),
        "falls": scores["falls"].astype(int).tolist(),
        "outputs": outputs.tolist(),
        "points": {
            "offsets": curves.offsets.tolist(),
            "x": numbers(curves.x),
            "score": numbers(curves.y),
            "half": numbers(2 * _errors(curves, inference=inference), digits=3),
            **({"smooth": numbers(smooth_scores(curves), digits=4)} if inference else {}),
            "n": numbers(curves.n_examples),
            "model": texts(curves.model_name),
        },
    }


def _tells_apart(scores: pd.DataFrame, name: str) -> bool:
    if name == "subtask":
        return bool((scores["subtask"].astype(str) != scores["task"].astype(str)).any())
    return len(scores[name].unique()) > 1


def _column(values: pd.Series[Any]) -> dict[str, Any]:
    return numbers(values) if values.dtype.kind in "iuf" else texts(values)


def _errors(curves: Curves, *, inference: bool) -> Floats:
    """Return the sampling error of each point in the unit of its score, NaN where not known."""
    if not inference:
        return curves.stderr
    # Imports scipy.stats, a second's work.
    from bigbench_meta.curves.proportions import proportions
    from bigbench_meta.inference.uncertainty import sampling_errors

    shares = proportions(curves)
    span = np.where(shares.problem == "", np.abs(shares.best - shares.worst), 1.0)
    found = sampling_errors(curves, samples=None, n_boot=1, seed=0)
    return np.asarray(found.noise.error * span[curves.ragged.curve])


def smooth_scores(curves: Curves) -> Floats:
    """Return the scores that the nearest smooth law would give, NaN for curves that have none.

    The law is the mechanism's power law of the loss without an irreducible part, fitted to the
    scores with models of one size alike; where link or guess rate is not known, under the first of
    those that the tests try.

    Args:
        curves: The curves.

    Returns:
        One score a point, in the unit of the file.
    """
    from bigbench_meta.inference.nulls.inputs import null_inputs
    from bigbench_meta.inference.nulls.mechanism import mechanism_moments
    from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism

    inputs = null_inputs(curves)
    # The first of each curve's nuisance settings.
    of_curve, first = np.unique(inputs.curve, return_index=True)
    found = np.full(len(curves.y), np.nan)
    for rows, y, design, _ in inputs.rows.take(first).blocks():
        alike = np.zeros(len(rows))
        fit = fit_mechanism(y, design, sigma=alike)
        mean, *_ = mechanism_moments(fit.log_loss(design), alike, design)
        for column, row in enumerate(rows.tolist()):
            start, end = curves.offsets[of_curve[row] :][:2].tolist()
            unit = inputs.unit[first[row]]
            found[start:end] = unit.scores(mean[:, column], design.trials[:, column])
    return found
