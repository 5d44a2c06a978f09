"""Scores and sizes that cannot be what they are called: another unit, or a code for missing.

A score of 64.18 among fractions is a percentage, and makes the curve look emergent; a model of 7
parameters has 7 billion. Nothing is rescaled by guess: such values are reported, a curve that mixes
units has no points, and a model without a plausible size is none. Where scores below 1 and large
ones may be in one unit, that is asked and nothing is left out: accuracy can rise from 0.3 percent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.model_names import model_names, nominal_size
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import PROBLEMS, SIZE_AXES, conform, to_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Problem = tuple[str, str, str, str]

__all__ = ["CODES", "ROUNDING", "Checked", "check_range", "implausible_sizes", "unit_problems"]

CODES: Final = (-1.0, -100.0)
"""What evaluation harnesses write for a score that was not measured."""

ROUNDING: Final = 1e-6
"""How far from its range a score may be, as a share of it: 1.0000001 is 1 in single precision."""

_METRIC: Final = ("benchmark", "task", "metric")
_LARGE: Final = {"billions": 1e9, "millions": 1e6, "thousands": 1e3}
# Names round sizes: of the packaged names the worst are off by 1.3 (pythia-125m), of others
# gpt-sw3-126m by 1.48. The next model of a family often has twice as many.
_OFF_THE_NAME: Final = 1.5
# With a large vocabulary few are left without embeddings: 1.2 of the 14 million of pythia-14m.
_EMBEDDINGS: Final = 20.0
# No family spans so much: from BIG-G's smallest model to its largest it is 64,000. A size below
# 1,000 beside one that is so much larger is in billions.
_WIDEST_FAMILY: Final = 1e8
_LARGEST_IN_BILLIONS: Final = 1000.0
_SIZE: Final = re.compile(r"(?<![a-zA-Z0-9.])\d+(?:[._]\d+)?(?:[mMtT]|[bB]\d?)(?![a-zA-Z0-9])")
_FEWEST_PARAMS: Final = 500
_CURVE: Final = ("benchmark", "task", "subtask", "metric", "model_family", "shots", "variant")
# Of metrics without an entry: those that are reported as fractions and as percentages.
_PERCENTS: Final = re.compile(
    r"(?:.*[-_ ])?(?:acc(?:uracy)?|exact|em|match|f1|bleu|rouge|precision|recall|pass)[a-z0-9]*"
    r"(?:[-_ @,].*)?",
    re.IGNORECASE,
)
# Between neighbours on one curve in two units there is a factor of about 100.
_GAP: Final = (30.0, 500.0)
# Sizes of one model that differ by more contradict each other.
_ALIKE: Final = 1.05


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Which values cannot be scores of their metric, one entry a row.

    Attributes:
        code: A score is a code for "not measured".
        outside: A score is outside the range, and no such code.
        stderr: A standard error of a score within the range is larger than half of it: no values
            have a larger standard deviation, so no mean of two or more a larger standard error.
    """

    code: Bools
    outside: Bools
    stderr: Bools


def check_range(score: Floats, stderr: Floats, low: Floats, high: Floats) -> Checked:
    """Compare scores with the range of their metric.

    Args:
        score: Scores, shape (n,), NaN for none.
        stderr: Their standard errors, NaN for none.
        low: Least possible score of each row, NaN where not known.
        high: Largest possible score.

    Examples:
        >>> score = np.array([0.6, 64.18, -1.0])
        >>> found = check_range(score, np.full(3, np.nan), np.zeros(3), np.ones(3))
        >>> found.outside.tolist(), found.code.tolist()
        ([False, True, False], [False, False, True])
    """
    with np.errstate(invalid="ignore"):
        extent = high - low
        slack = ROUNDING * np.where(np.isfinite(extent), extent, np.abs(score))
        outside = (score < low - slack) | (score > high + slack)
        code = outside & np.isin(score, CODES)
        too_large = (stderr > extent / 2 + slack) & ~outside
        return Checked(code=code, outside=outside & ~code, stderr=too_large)


def implausible_sizes(table: pa.Table) -> dict[str, Bools]:
    """Return which sizes contradict the model's name, or another size of the same model.

    Args:
        table: Observations.

    Returns:
        For each size axis one entry a row. Where the sizes of a model differ and its name states
        none, it is not known which is right, and all of them are named. So are sizes below
        1,000 beside one a hundred million times as large in their family, where the name states
        none.

    Examples:
        >>> rows = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "model_family": "f", "score": 0.5,
        ...     "model_name": ["llama-7b", "llama-13b"], "total_params": [7, 13 * 10**9],
        ... })
        >>> implausible_sizes(conform(rows))["total_params"].tolist()
        [True, False]
    """
    group, first = group_rows(table, ["model_family", "model_name"])
    names = table["model_name"].cast(pa.string()).take(pa.array(first)).to_pylist()
    stated = np.array([_stated_size(name) for name in names], dtype=np.float64)[group]
    written = np.array([_written_size(name) for name in names], dtype=np.float64)[group]
    family, of_families = group_rows(table, ["model_family"])
    sizes = {a: table[a].to_pandas().to_numpy(dtype=float, na_value=np.nan) for a in SIZE_AXES}
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = {axis: size / stated for axis, size in sizes.items()}
    # A name may count embeddings or not.
    named = np.any([_within(ratio, _OFF_THE_NAME) for ratio in ratios.values()], axis=0)
    found = {}
    for axis, size in sizes.items():
        most = np.where(named, _EMBEDDINGS, _OFF_THE_NAME)
        least = 1 / (most if axis == "total_params" else _EMBEDDINGS)
        of_family = _of_groups(family, size, len(of_families), np.fmax)[family]
        with np.errstate(invalid="ignore", divide="ignore"):
            tiny = np.isnan(stated) & (size < _LARGEST_IN_BILLIONS)
            tiny &= size * _WIDEST_FAMILY < of_family
            off = (ratios[axis] > most) | (ratios[axis] < least)
            off &= ~_within(size / written, _OFF_THE_NAME)
            ratio = np.exp(np.abs(np.log(size) - np.log(stated)))
            smallest, largest = (
                _of_groups(group, size, len(first), end) for end in (np.fmin, np.fmax)
            )
            differs = (largest / smallest > _ALIKE)[group] & np.isfinite(size)
            # The size nearest the name is right, where it names one.
            nearest = _of_groups(group, ratio, len(first), np.fmin)[group]
            found[axis] = off | tiny | (differs & ~(ratio <= nearest * _ALIKE))
    return found


def _within(ratio: Floats, factor: float) -> Bools:
    with np.errstate(invalid="ignore"):
        return (ratio > 1 / factor) & (ratio < factor)


@lru_cache(maxsize=1 << 16)
def _stated_size(name: str) -> float:
    """Return the number of parameters that a model's name states, NaN for none."""
    size = model_names().lookup(name).total_params if name.strip(" /\\_") else None
    return np.nan if size is None else float(size)


@lru_cache(maxsize=1 << 16)
def _written_size(name: str) -> float:
    """Return the only size in a name, which Pythia's old ones count without embeddings."""
    sizes = set(_SIZE.findall(name))
    return float((nominal_size(sizes.pop()) if len(sizes) == 1 else None) or np.nan)


def _of_groups(group: NDArray[np.int64], values: Floats, n_groups: int, end: np.ufunc) -> Floats:
    """Return the least or largest value of each group, NaN for a group without any."""
    result = np.full(n_groups, np.nan)
    end.at(result, group, values)
    return result


def unit_problems(
    observations: pd.DataFrame | pa.Table, *, catalog: MetricCatalog | None = None
) -> pd.DataFrame:
    """Return scores and standard errors outside the range of their metric, and implausible sizes.

    Also curves that may be in two units, and sizes that are used although they are too small for a
    number of parameters.

    Args:
        observations: Observations table.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        Problems table: a row for each file, metric and model with such scores, and for each file
        and model with such sizes.

    Raises:
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({
        ...     "benchmark": "lm-eval", "task": "arc_easy", "metric": "acc", "model_family": "f",
        ...     "model_name": ["1b", "12b"], "score": [0.57, 64.18],
        ... })
        >>> unit_problems(rows)["reason"].tolist()
        ['64.18, but acc goes from 0 to 1: in percent?']
    """
    table = conform(observations)
    group, first = group_rows(table, _METRIC)
    keys = to_frame(table.select(_METRIC).take(first))
    known = (catalog or metric_catalog()).lookup(keys)
    low, high = (known[name].to_numpy(dtype=float)[group] for name in ("low", "high"))
    score, stderr = (table[name].to_pandas().to_numpy(dtype=float) for name in ("score", "stderr"))
    found = check_range(score, stderr, low, high)
    rows = []
    for mask, values, text in (
        (found.outside, score, "{value:.9g}{more}, but {metric} {range}{hint}"),
        (found.code, score, "{value:g}{more}, a code for a score that was not measured"),
        (found.stderr, stderr, "a standard error of {value:.9g}{more}, but {metric} {range}{hint}"),
    ):
        rows += _told(table, mask, values, low, high, text)
    rows += _two_units(table, _of_unsure_unit(keys, known, catalog or metric_catalog())[group])
    for axis, mask in implausible_sizes(table).items():
        rows += _sizes_told(table, axis, mask)
    return to_frame(conform(pd.DataFrame(rows, columns=PROBLEMS.names), PROBLEMS))


def _of_unsure_unit(keys: pd.DataFrame, known: pd.DataFrame, catalog: MetricCatalog) -> Bools:
    """Return which metrics are in use both as fractions and as percentages.

    An entry of the catalog for the benchmark says which of them it is.
    """
    entries = catalog.entries[["metric", "benchmark"]]
    settled = pd.MultiIndex.from_frame(keys[["metric", "benchmark"]].astype(str)).isin(
        pd.MultiIndex.from_frame(entries)
    )
    percent = known["unit"].isin(["points", "percent", "unknown"]) & (known["low"] == 0)
    unlisted = known["higher_is_better"].isna() & known["unit"].isna()
    named = keys["metric"].astype(str).str.fullmatch(_PERCENTS)
    unsure: Bools = ~settled & (percent | (unlisted & named)).to_numpy(dtype=bool)
    return unsure


def _two_units(table: pa.Table, unsure: Bools) -> list[Problem]:
    """Return a problem for each curve that is in two units by the look of it."""
    table = table.filter(pa.array(unsure))
    score = table["score"].to_pandas().to_numpy(dtype=float)
    curve, first = group_rows(table, _CURVE)
    small, large = (score > 0) & (score <= 1), score > 1
    ends = (np.where(small, score, np.nan), np.fmax), (np.where(large, score, np.nan), np.fmin)
    most, least = (_of_groups(curve, values, len(first), end) for values, end in ends)
    with np.errstate(invalid="ignore"):
        odd = np.flatnonzero((least / most >= _GAP[0]) & (least / most <= _GAP[1]))
    rows = []
    keys = table.select([*_CURVE, "source"]).take(pa.array(first[odd])).to_pylist()
    for place, key in zip(odd, keys, strict=True):
        where = f"{key['subtask'] or key['task']}, {key['metric']}, {key['model_family']}"
        reason = f"some scores are at most {most[place]:g}, the others {least[place]:g} or more"
        rows.append((key["source"] or "", where, f"{reason}: in one unit?", "warning"))
    return rows


def _sizes_told(table: pa.Table, axis: str, mask: Bools) -> list[Problem]:
    """Return a problem for each file and model whose size is not used, or is very small."""
    size = table[axis].to_pandas().to_numpy(dtype=float, na_value=np.nan)
    used = ~mask
    with np.errstate(invalid="ignore"):
        mask = mask | (size < _FEWEST_PARAMS)
    if not mask.any():
        return []
    names = ["source", "model_name", axis]
    chosen = to_frame(table.select(names).filter(pa.array(mask))).assign(used=used[mask])
    of_model = to_frame(table.select(names[1:])).groupby("model_name", observed=True)[axis]
    differ = of_model.max() > _ALIKE * of_model.min()
    rows = []
    for source, model, size, is_used in chosen.drop_duplicates().itertuples(index=False):
        stated = _stated_size(str(model))
        if is_used or (np.isnan(stated) and not differ[model]):
            end = "" if is_used else " Not used"
            reason = f"{size:g}, few for the parameters of {model}: in millions or billions?{end}"
        elif np.isnan(stated):
            reason = f"{size:g}, but {model} has another size elsewhere: not used"
        else:
            hint = next(
                (
                    f": in {word}?"
                    for word, unit in _LARGE.items()
                    if 0.5 < stated / unit / size < 2
                ),
                ".",
            )
            reason = f"{size:g}, but the name {model} states about {stated:.3g}{hint} Not used"
        rows.append(("" if pd.isna(source) else str(source), axis, reason, "warning"))
    return rows


def _told(
    table: pa.Table, mask: Bools, values: Floats, low: Floats, high: Floats, text: str
) -> list[Problem]:
    """Return a problem for each file, subtask, metric and model that a mask chooses."""
    names = ["source", "task", "subtask", "metric", "model_name"]
    frame = to_frame(table.select(names).filter(mask)).astype("string").fillna("")
    frame = frame.assign(value=values[mask], low=low[mask], high=high[mask])
    rows = []
    for key, some in frame.groupby(names, sort=False):
        source, task, subtask, metric, model = map(str, key)
        one = some.iloc[0]
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        percent = one["low"] == 0 and one["high"] == 1 and 1 < one["value"] <= 100
        reason = text.format(
            value=one["value"], more=more, metric=metric, range=_range(one["low"], one["high"]),
            hint=": in percent?" if percent else "",
        )  # fmt: skip
        rows.append((source, f"{subtask or task}, {metric}, {model}", reason, "warning"))
    return rows


def _range(low: float, high: float) -> str:
    """Return in words what values a metric has, of which one end may not be known."""
    if np.isfinite(low) and np.isfinite(high):
        return f"goes from {low:g} to {high:g}"
    return f"is at least {low:g}" if np.isfinite(low) else f"is at most {high:g}"
