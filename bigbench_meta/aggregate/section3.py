"""The three predictions of the paper's section 3, counted on any results.

If sharp rises come of the metric, then on the same outputs (1) another metric makes them smooth,
(2) a larger test set shows small models above chance, and (3) longer answers lower accuracy
geometrically and edit distance in proportion. Each is counted as it turns out: where it holds,
where it fails, and where the results cannot decide. Metrics that are one on the results, as exact
match of two programs is, count once.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, sec. 3, Figs. 3 and 4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.aggregate.metric_change import SAME, metric_change
from bigbench_meta.core.checks import at_least, probability
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.build import Curves, build_curves
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.forecast.smooth_partners import LINKS
from bigbench_meta.inference.wei import wei_points

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]

__all__ = ["PREDICTIONS", "section3_predictions", "section3_sentences"]

PREDICTIONS: Final = ("metric", "test set", "target length")

_SETTING: Final = ["benchmark", "model_family", "shots", "variant", "metric", "other_metric"]
_SHARP: Final = ("nonlinear", "discontinuous")
_GRADED: Final = ("linear", "continuous")
# Metrics that count wrong tokens: in proportion to the length, as a share of tokens is not.
_COUNTING: Final = tuple(name for name, link in LINKS.items() if link.counts)
# What rescore --by-length and the tasks of `generate lm-eval-tasks` call a length.
_LENGTH: Final = r"length[ _](\d+)$"
_LEAST_LENGTHS: Final = 3
# Likelihood ratio from which one form is preferred to the other.
_DECISIVE: Final = 20.0
# Largest exponent a token that the geometric form is fitted with, and how finely it is searched.
_STEEPEST: Final = 8.0
_GRID: Final = np.linspace(-1.0, 1.0, 401)


def section3_predictions(
    observations: pd.DataFrame | pa.Table | Curves,
    *,
    pairs: pd.DataFrame | None = None,
    reading_error: float = 0.0,
    threshold: float = DEFAULT_THRESHOLD,
    alpha: float = 0.05,
    n_boot: int = 999,
    seed: int = 0,
    scale: str | None = None,
    catalog: MetricCatalog | None = None,
) -> pd.DataFrame:
    """Count where the three predictions of section 3 hold, fail, or cannot be decided.

    For outputs of your own, score samples first:
    ``rescore(samples, metrics=["exact_str_match", "token_edit_distance"], by_length=True)``.
    On the command line: ``bigbench-meta metric-change --predictions``.

    Args:
        observations: Observations table, or curves. Target lengths are read from the ends of
            subtasks (``...: length 4``); without them the third prediction is not counted.
        pairs: What :func:`bigbench_meta.metric_change` returned for them, if it has been called:
            then the first prediction counts these pairs.
        reading_error: Standard error of reading, as of numbers read from a figure, in the unit of
            the score; added to the sampling error where that is known.
        threshold: A curve with a higher emergence score is flagged.
        alpha: Level of the tests against chance and of the intervals.
        n_boot: Replicates of intervals.
        seed: Seed of the intervals.
        scale: Scale axis, see :func:`bigbench_meta.build_curves`; not with curves.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        One row per prediction and setting (``benchmark, model_family, shots, variant``) with
        ``metric`` and, for the first, ``other_metric``; what is counted (``unit``), ``n`` of them
        and of these ``n_agree``, ``n_disagree`` and ``n_undecided``:

        - ``metric``: pairs of a curve under a nonlinear or discontinuous metric and of the same
          outputs under a linear or continuous one, of at least three models. Agree: it evaporates
          or is weaker; disagree: it persists or is sharper (:func:`bigbench_meta.metric_change`).
        - ``test set``: scores of all models but the largest under a nonlinear or discontinuous
          metric. Agree: above chance; disagree: below chance, at the level ``alpha`` each.
        - ``target length``: models with three lengths or more, under a nonlinear metric or an edit
          distance. Agree: the score gets worse with length and its form, A exp(-b L) under a
          nonlinear metric and a straight line under an edit distance, is at least 20 times as
          likely as the other of the two; disagree: it does not get worse, or the other form is.

        Of metrics that are one on the results (``same metric``) only the first counts.

    Raises:
        InputError: An option is out of its range.
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> from bigbench_meta import load_embedded
        >>> observations = load_embedded("paper")
        >>> gpt3 = observations[observations["task"] == "4-digit addition"]
        >>> found = section3_predictions(gpt3, reading_error=1.3e-4)
        >>> row = found[(found.prediction == "test set") & (found.variant == "temperature 0.0")]
        >>> row[["n", "n_agree", "n_undecided"]].iloc[0].tolist()
        [15, 12, 3]
    """
    probability(alpha, "alpha")
    at_least(reading_error, 0, "reading_error")
    curves = observations
    if not isinstance(curves, Curves):
        curves = build_curves(curves, scale=scale, catalog=catalog)
    if reading_error:
        # Where the sampling error is not known it stays unknown.
        curves = replace(curves, stderr=np.hypot(curves.stderr, reading_error))
    if pairs is None:
        pairs = metric_change(
            curves, threshold=threshold, level=1 - alpha, n_boot=n_boot, seed=seed, catalog=catalog
        )
    repeated = _repeated(pairs)
    parts = [
        _by_metric(pairs, repeated),
        _by_test_set(curves, repeated, alpha, catalog),
        _by_length(curves, repeated),
    ]
    table = pd.concat([_counted(part) for part in parts], ignore_index=True)
    return table.assign(prediction=pd.Categorical(table["prediction"], categories=PREDICTIONS))


def section3_sentences(table: pd.DataFrame) -> list[str]:
    """Return one sentence on each prediction, in the same words whether it holds or fails.

    Args:
        table: What :func:`section3_predictions` returns.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"prediction": ["test set"], "unit": ["scores of smaller models"],
        ...                       "n": [15], "n_agree": [13], "n_disagree": [0],
        ...                       "n_undecided": [2]})
        >>> for sentence in section3_sentences(table):
        ...     print(sentence)
        Metric: nothing to count.
        Test set: of 15 scores of smaller models 13 agree with the prediction, 0 disagree, and 2 \
cannot be decided.
        Target length: nothing to count.
    """
    sentences = []
    for name in PREDICTIONS:
        rows = table[table["prediction"] == name]
        if rows.empty:
            sentences.append(f"{name.capitalize()}: nothing to count.")
            continue
        n, agree, disagree, undecided = (
            int(rows[column].sum()) for column in ("n", "n_agree", "n_disagree", "n_undecided")
        )
        sentences.append(
            f"{name.capitalize()}: of {n} {rows['unit'].iloc[0]} {agree} agree with the "
            f"prediction, {disagree} disagree, and {undecided} cannot be decided."
        )
    return sentences


def _counted(found: pd.DataFrame) -> pd.DataFrame:
    """Count the outcomes of each setting; NaN is undecided."""
    holds = found["holds"].astype("boolean")
    found = found.assign(
        n=1, n_agree=holds.fillna(value=False), n_disagree=(~holds).fillna(value=False),
        n_undecided=holds.isna(),
    )  # fmt: skip
    by = ["prediction", *_SETTING, "unit"]
    counts = ["n", "n_agree", "n_disagree", "n_undecided"]
    if found.empty:
        return found.reindex(columns=[*by, *counts])
    return (
        found.groupby(by, sort=False, observed=True, dropna=False)[counts]
        .sum()
        .astype("int64")
        .reset_index()
    )


def _outcomes(
    prediction: str, unit: str, keys: pd.DataFrame, holds: Any, other_metric: Any = None
) -> pd.DataFrame:
    other = pd.Series(other_metric, index=keys.index, dtype=object)
    return keys.assign(
        prediction=prediction, unit=unit, other_metric=other, holds=pd.array(holds, dtype="boolean")
    )


def _repeated(pairs: pd.DataFrame) -> set[tuple[str, ...]]:
    """Return the keys of curves that another sharp, or another graded, metric already gives."""
    one, other = (pairs[name].astype(str) for name in ("metric_type", "other_metric_type"))
    alike = (one.isin(_SHARP) & other.isin(_SHARP)) | (one.isin(_GRADED) & other.isin(_GRADED))
    same = pairs[alike & (pairs["verdict"] == SAME)]
    return set(_keys(same.assign(metric=same["other_metric"])))


def _keys(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    texts = frame[list(CURVE_KEY)].astype("string").fillna("")
    return list(texts.itertuples(index=False, name=None))


def _by_metric(pairs: pd.DataFrame, repeated: set[tuple[str, ...]]) -> pd.DataFrame:
    """Return for every pair whether the rise is weaker under the graded metric."""
    sharp = pairs["metric_type"].astype(str).isin(_SHARP)
    graded = pairs["other_metric_type"].astype(str).isin(_GRADED)
    sides = zip(_keys(pairs), _keys(pairs.assign(metric=pairs["other_metric"])), strict=True)
    once = np.array([repeated.isdisjoint(keys) for keys in sides], dtype=bool)
    once &= (pairs["verdict"] != SAME) & (pairs["n_scales"] >= MIN_SCALES)
    chosen = pairs[sharp & graded & once]
    holds = chosen["verdict"].map(
        {"evaporates": True, "weaker": True, "persists": False, "sharper": False}
    )
    return _outcomes(
        "metric", "curves with the same outputs under a graded metric", chosen[_SETTING[:-1]],
        holds.astype("boolean"), chosen["other_metric"].astype(object),
    )  # fmt: skip


def _by_test_set(
    curves: Curves, repeated: set[tuple[str, ...]], alpha: float, catalog: MetricCatalog | None
) -> pd.DataFrame:
    """Return for every score except that of the largest model whether it is above chance."""
    points = wei_points(curves, catalog=catalog, alpha=2 * alpha, zero_chance_effect=0.0)
    largest = points.groupby("curve").cumcount(ascending=False) == 0
    sharp = curves.keys["metric_type"].astype(str).isin(_SHARP).to_numpy()
    counted = sharp & [key not in repeated for key in _keys(curves.keys)]
    known = points["chance"].notna()
    points = points[counted[points["curve"]] & known & ~largest]
    better = np.where(curves.keys["higher_is_better"], 1.0, -1.0)[points["curve"]]
    chance = points["chance"].to_numpy()
    low, high = (np.sign(points[end].to_numpy() - chance) * better for end in ("low", "high"))
    holds = np.where((low > 0) & (high > 0), 1.0, np.where((low < 0) & (high < 0), 0.0, np.nan))
    return _outcomes(
        "test set", "scores of smaller models", points[_SETTING[:-1]],
        pd.Series(holds).astype("boolean"),
    )  # fmt: skip


def _by_length(curves: Curves, repeated: set[tuple[str, ...]]) -> pd.DataFrame:
    """Return for every model whether its scores worsen with length in the predicted form."""
    again = np.array([key in repeated for key in _keys(curves.keys)], dtype=bool)
    points = curves.points().assign(
        again=again[curves.ragged.curve],
        metric_type=curves.keys["metric_type"].astype(str).to_numpy()[curves.ragged.curve],
        oriented=curves.oriented,
    )
    points["length"] = points["subtask"].astype(str).str.extract(_LENGTH)[0].astype(float)
    counting = points["metric"].isin(_COUNTING)
    points["again"] &= ~counting  # the other graded metric says nothing of lengths
    formed = counting | (points["metric_type"] == "nonlinear")
    points = points[points["length"].notna() & formed]
    keys, holds = [], []
    by = [name for name in CURVE_KEY if name != "subtask"]
    for _, rows in points.groupby([*by, "model_name"], sort=False, observed=True, dropna=False):
        if rows["length"].nunique() >= _LEAST_LENGTHS and not rows["again"].all():
            keys.append(rows[_SETTING[:-1]].iloc[:1])
            holds.append(_form_holds(rows))
    frame = pd.concat([*keys, points[_SETTING[:-1]].iloc[:0]])
    return _outcomes("target length", "models", frame, pd.array(holds, dtype="boolean"))


def _form_holds(rows: pd.DataFrame) -> bool | None:
    """Return whether one model's scores at several lengths have the form of their metric."""
    length = rows["length"].to_numpy(dtype=float)
    value, worse = rows["score"].to_numpy(dtype=float), -rows["oriented"].to_numpy(dtype=float)
    error = rows["stderr"].to_numpy(dtype=float)
    n = rows["n_examples"].astype(float).to_numpy()
    counting = rows["metric"].iloc[0] in _COUNTING
    if not counting:
        # A proportion: its error follows from the number of examples.
        binomial = np.sqrt(np.clip(value * (1 - value), 0, None) / n)
        error = np.where(np.isnan(error), np.fmax(binomial, 0.5 / n), error)
    known = bool((error > 0).all())
    weight = 1 / error**2 if known else np.ones(len(value))
    if np.ptp(value) == 0:
        return None
    slope = _weighted_slope(length, worse, weight)
    line, geometric = _line_misfit(length, value, weight), _geometric_misfit(length, value, weight)
    # Twice the log likelihood ratio of the two forms, by known errors or by estimated ones.
    floor = np.finfo(float).eps * float(weight @ value**2)
    gain = line - geometric if known else len(value) * np.log((line + floor) / (geometric + floor))
    if counting:
        gain = -gain
    if slope <= 0:
        return False
    return None if abs(gain) < 2 * np.log(_DECISIVE) else bool(gain > 0)


def _weighted_slope(x: Floats, y: Floats, weight: Floats) -> float:
    centred = x - np.average(x, weights=weight)
    return float((weight * centred) @ y / ((weight * centred) @ centred))


def _line_misfit(x: Floats, y: Floats, weight: Floats) -> float:
    residual = y - np.average(y, weights=weight)
    residual = residual - _weighted_slope(x, y, weight) * (x - np.average(x, weights=weight))
    return float(weight @ residual**2)


def _geometric_misfit(x: Floats, y: Floats, weight: Floats) -> float:
    """Return the least weighted square of A exp(-b x), over A at each b of finer grids."""
    centre, width, least = 0.0, _STEEPEST, np.inf
    while width > 1e-6 * _STEEPEST:
        exponents = centre + width * _GRID
        shape = np.exp(-exponents[:, None] * (x - x.mean()))
        amount = shape @ (weight * y) / (shape**2 @ weight)
        misfit = ((y - amount[:, None] * shape) ** 2) @ weight
        centre, least = float(exponents[misfit.argmin()]), min(least, float(misfit.min()))
        width *= 4 / len(_GRID)
    return least
