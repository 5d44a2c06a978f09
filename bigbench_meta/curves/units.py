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
import pyarrow.compute as pc

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.model_names import model_names, nominal_size
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import (
    CURVE_KEY,
    SIZE_AXES,
    SIZE_BY_RULE,
    conform,
    to_frame,
)
from bigbench_meta.readers.problems import Notes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

__all__ = [
    "CODES",
    "ROUNDING",
    "Checked",
    "asks_unit",
    "check_range",
    "implausible_sizes",
    "is_score",
    "models_of_rows",
    "note_units",
    "spelled",
    "unit_problems",
]

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
# Nor do neighbours in a family differ by so much: a size below a million that is followed by one
# that is so much larger is in millions or billions, and so are those before it.
_WIDEST_GAP: Final = 5000.0
_LARGEST_IN_MILLIONS: Final = 1e6
_SIZE: Final = re.compile(r"(?<![a-zA-Z0-9.])\d+(?:[._]\d+)?(?:[mMtT]|[bB]\d?)(?![a-zA-Z0-9])")
_FEWEST_PARAMS: Final = 500
# Of metrics without an entry: those that are no shares, in whatever unit.
_NO_SHARES: Final = re.compile(
    r"(?:.*[-_ ])?(?:loss|error|err|dist(?:ance)?|ppl|perplexity|nll|mse|rmse|mae|bits|bpb|log\w*|"
    r"time|latency|tokens|length|len|count|cost|rank|wer|cer|ter|norm)(?:[-_ @,].*)?",
    re.IGNORECASE,
)
# Between neighbours on one curve in two units there is a factor of about 100.
_GAP: Final = (30.0, 500.0)
# Where a larger model has a score up to 1 after a smaller one has some percent, of less.
_FALL: Final = 8.0
_SOME_PERCENT: Final = 5.0
# A standard error as a percentage beside a score as a fraction is 100 times too large; clustered
# examples make one a few times as large as that of as many that are independent.
_OFF_STDERR: Final = 20.0
# Sizes of one model that differ by more contradict each other.
_ALIKE: Final = 1.05


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Which values cannot be scores of their metric, one entry a row.

    Attributes:
        code: A score is a code for "not measured".
        outside: A score is outside the range, and no such code.
        stderr: A standard error of a score within the range is larger than half of it: no values
            have a larger standard deviation, so no mean of two or more a larger standard error. Or
            it is more than 20 times that of as many right and wrong answers, or where each answer
            is right or wrong, less than a twentieth of it.
    """

    code: Bools
    outside: Bools
    stderr: Bools


def check_range(
    score: Floats,
    stderr: Floats,
    low: Floats,
    high: Floats,
    *,
    n_examples: Floats | None = None,
    binary: Bools | None = None,
) -> Checked:
    """Compare scores with the range of their metric.

    Args:
        score: Scores, shape (n,), NaN for none.
        stderr: Their standard errors, NaN for none.
        low: Least possible score of each row, NaN where not known.
        high: Largest possible score.
        n_examples: Examples behind each score, NaN where not known.
        binary: Whether each answer is right or wrong.

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
        too_large = stderr > extent / 2 + slack
        if n_examples is not None:
            n_examples = np.where(n_examples >= 1, n_examples, np.nan)
            share = np.clip((score - low) / extent, 0, 1)
            # A score of 0 or 1 leaves an answer of doubt.
            variance = np.maximum(share * (1 - share), 1 / n_examples)
            ratio = stderr / (extent * np.sqrt(variance / n_examples))
            too_large |= ratio > _OFF_STDERR
            if binary is not None:
                too_large |= binary & (stderr > 0) & (ratio < 1 / _OFF_STDERR)
        return Checked(code=code, outside=outside & ~code, stderr=too_large & ~outside)


def is_score(table: pa.Table) -> Bools:
    """Return which observations have a score, and no code for one that was not measured."""
    score = table["score"].to_pandas().to_numpy(dtype=float)
    found: Bools = np.isfinite(score) & ~np.isin(score, CODES)
    return found


def implausible_sizes(table: pa.Table) -> dict[str, Bools]:
    """Return which sizes contradict the model's name, or another size of the same model.

    Args:
        table: Observations.

    Returns:
        For each size axis one entry a row. Where the sizes of a model differ and its name states
        none, it is not known which is right, and all of them are named. So are, where the name
        states none, sizes below 1,000 beside one a hundred million times as large in their family,
        and those below a million that are followed by one more than 5,000 times as large. What a
        rule of the user states goes before the name.

    Examples:
        >>> rows = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "model_family": "f", "score": 0.5,
        ...     "model_name": ["llama-7b", "llama-13b"], "total_params": [7, 13 * 10**9],
        ... })
        >>> implausible_sizes(conform(rows))["total_params"].tolist()
        [True, False]
    """
    group, first = models_of_rows(table)
    stated = _stated_sizes(table, group, first)[group]
    names = table["model_name"].cast(pa.string()).take(pa.array(first)).to_pylist()
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
            tiny |= np.isnan(stated) & _before_a_gap(family, size)
            off = (ratios[axis] > most) | (ratios[axis] < least)
            off &= ~_within(size / written, _OFF_THE_NAME)
            ratio = np.exp(np.abs(np.log(size) - np.log(stated)))
            smallest, largest = (
                _of_groups(group, size, len(first), end) for end in (np.fmin, np.fmax)
            )
            differs = (largest / smallest > _ALIKE)[group] & np.isfinite(size)
            # The size nearest the name is right, where it names one; a name rounds.
            nearest = _of_groups(group, ratio, len(first), np.fmin)[group]
            fits = (ratio <= nearest * _ALIKE) | (ratio < _OFF_THE_NAME)
            found[axis] = off | tiny | (differs & ~fits)
    return found


def models_of_rows(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the models of rows; spelling makes no two of one.

    Args:
        table: Observations.

    Returns:
        The model of each row, and the first row of each model.
    """
    group, first = group_rows(table, ["model_family", "model_name"])
    columns = table.select(["model_family", "model_name"]).take(pa.array(first)).to_pydict()
    keys = zip(columns["model_family"], map(spelled, columns["model_name"]), strict=True)
    numbers: dict[tuple[str, str], int] = {}
    model = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return model[group], first[np.unique(model, return_index=True)[1]]


def spelled(model: str) -> str:
    """Return the name of a model as it is compared with others.

    Examples:
        >>> spelled("Owl_7B") == spelled("owl-7b")
        True
    """
    return re.sub(r"[^\w.]+|_+", "-", model.lower())


def _stated_sizes(table: pa.Table, group: NDArray[np.int64], first: NDArray[np.int64]) -> Floats:
    """Return the size that a rule of the user states of each model, else the one in its name."""
    names = table["model_name"].cast(pa.string()).take(pa.array(first)).to_pylist()
    stated = np.array([_stated_size(name) for name in names], dtype=np.float64)
    if table["settings"].null_count == table.num_rows:
        return stated
    found = pc.match_substring(table["settings"].cast(pa.string()), f'"{SIZE_BY_RULE}"')
    by_rule = pc.fill_null(found, fill_value=False).to_numpy()
    size = table["total_params"].to_pandas().to_numpy(dtype=float, na_value=np.nan)
    ruled = _of_groups(group, np.where(by_rule, size, np.nan), len(first), np.fmin)
    return np.where(np.isnan(ruled), stated, ruled)


def _before_a_gap(family: NDArray[np.int64], size: Floats) -> Bools:
    """Return which sizes stand before a gap that no family has, and are below a million."""
    order = np.lexsort((size, family))
    ordered, of = size[order], family[order]
    last = np.full(int(family.max(initial=0)) + 1, -np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = (ordered[1:] > _WIDEST_GAP * ordered[:-1]) & (of[1:] == of[:-1])
    gap &= (ordered[:-1] > 0) & (ordered[:-1] < _LARGEST_IN_MILLIONS)
    np.fmax.at(last, of[:-1][gap], ordered[:-1][gap])
    with np.errstate(invalid="ignore"):
        before: Bools = size <= last[family]
    return before


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
    notes, table = Notes(), conform(observations)
    note_units(notes, table, np.arange(table.num_rows), catalog=catalog)
    return to_frame(notes.table())


def note_units(
    notes: Notes,
    table: pa.Table,
    places: Ints,
    *,
    models: pa.Table | None = None,
    catalog: MetricCatalog | None = None,
) -> None:
    """Note what :func:`unit_problems` returns, of some of the observations.

    Args:
        notes: Where it is noted.
        table: All observations of some tasks.
        places: The place of each row among all observations.
        models: Observations of each model with each of its sizes, if there are other tasks.
        catalog: Metric catalog; the packaged one by default.
    """
    group, first = group_rows(table, _METRIC)
    keys = to_frame(table.select(_METRIC).take(first))
    known = (catalog or metric_catalog()).lookup(keys)
    low, high = (known[name].to_numpy(dtype=float)[group] for name in ("low", "high"))
    score, stderr = (table[name].to_pandas().to_numpy(dtype=float) for name in ("score", "stderr"))
    n_examples = table["n_examples"].to_pandas().to_numpy(dtype=float, na_value=np.nan)
    binary = known["binary"].fillna(value=False).to_numpy(dtype=bool)[group]
    found = check_range(score, stderr, low, high, n_examples=n_examples, binary=binary)
    with np.errstate(invalid="ignore"):
        beyond = found.stderr & (stderr > (high - low) / 2)
    of_number = "which its number of examples does not give: in another unit? Not used"
    told = (
        (found.outside, score, "{value:.9g}{more}, but {metric} {range}{hint}"),
        (found.code, score, "{value:g}{more}, a code for a score that was not measured"),
        (beyond, stderr, "a standard error of {value:.9g}{more}, but {metric} {range}{hint}"),
        (found.stderr & ~beyond, stderr, f"a standard error of {{value:.9g}}{{more}}, {of_number}"),
    )
    for section, (mask, values, text) in enumerate(told):
        if mask.any():
            _note_told(notes, section, table, places, mask, values, low, high, text)
    _note_two_units(notes, len(told), table, places, catalog or metric_catalog())
    with_models = table if models is None else pa.concat_tables([table, models])
    for number, (axis, mask) in enumerate(implausible_sizes(with_models).items()):
        section = len(told) + 1 + number
        _note_sizes(notes, section, with_models, places, axis, mask)


def _of_unsure_unit(keys: pd.DataFrame, known: pd.DataFrame, catalog: MetricCatalog) -> Bools:
    """Return which metrics may be in use both as fractions and as percentages.

    An entry of the catalog for the benchmark says which of them it is.
    """
    entries = catalog.entries[["metric", "benchmark"]]
    settled = pd.MultiIndex.from_frame(keys[["metric", "benchmark"]].astype(str)).isin(
        pd.MultiIndex.from_frame(entries)
    )
    percent = known["unit"].isin(["points", "percent", "unknown"]) & (known["low"] == 0)
    percent |= (known["unit"] == "unknown") & known["low"].isna() & known["high"].isna()
    unlisted = known["higher_is_better"].isna() & known["unit"].isna()
    shares = ~keys["metric"].astype(str).str.fullmatch(_NO_SHARES)
    unsure: Bools = ~settled & (percent | (unlisted & shares)).to_numpy(dtype=bool)
    return unsure


def asks_unit(
    table: pa.Table, catalog: MetricCatalog, curve: NDArray[np.int64], n_curves: int
) -> Bools:
    """Return which curves may be in two units.

    Args:
        table: Observations.
        catalog: Metric catalog.
        curve: The curve of each row.
        n_curves: The number of curves.
    """
    most, least = _on_both_sides(table, catalog, curve, n_curves)
    with np.errstate(invalid="ignore"):
        ratio = least / most
        asks: Bools = (ratio >= _GAP[0]) & (ratio <= _GAP[1])
    rows = np.flatnonzero(np.isfinite(ratio)[curve])
    return asks | _falls(table.take(pa.array(rows)), curve[rows], n_curves)


def _on_both_sides(
    table: pa.Table, catalog: MetricCatalog, curve: NDArray[np.int64], n_curves: int
) -> tuple[Floats, Floats]:
    """Return the largest score up to 1 of each curve, and its smallest above.

    NaN where there are none, the metric has one unit, or no percentage is so large.
    """
    group, first = group_rows(table, _METRIC)
    keys = to_frame(table.select(_METRIC).take(first))
    unsure = _of_unsure_unit(keys, catalog.lookup(keys), catalog)[group]
    score = np.where(unsure, table["score"].to_pandas().to_numpy(dtype=float), np.nan)
    with np.errstate(invalid="ignore"):
        small, large = (score > 0) & (score <= 1), score > 1
    ends = (np.where(small, score, np.nan), np.fmax), (np.where(large, score, np.nan), np.fmin)
    most, least = (_of_groups(curve, values, n_curves, end) for values, end in ends)
    with np.errstate(invalid="ignore"):
        beyond = _of_groups(curve, score, n_curves, np.fmax) > 100 * (1 + ROUNDING)
    return most, np.where(beyond, np.nan, least)


def _falls(table: pa.Table, curve: NDArray[np.int64], n_curves: int) -> Bools:
    """Return on which curves a model has some percent and the next larger one a small fraction."""
    score = table["score"].to_pandas().to_numpy(dtype=float)
    sizes = (table[axis].to_pandas().to_numpy(dtype=float, na_value=np.nan) for axis in SIZE_AXES)
    size = next(sizes)
    for other in sizes:
        size = np.where(np.isnan(size), other, size)
    order = np.lexsort((size, curve))
    order = order[np.isfinite(score[order]) & np.isfinite(size[order])]
    before, after = score[order[:-1]], score[order[1:]]
    fall = (curve[order[1:]] == curve[order[:-1]]) & (before >= _SOME_PERCENT)
    fall &= (after > 0) & (after <= 1) & (before >= _FALL * after)
    return np.bincount(curve[order[1:]][fall], minlength=n_curves) > 0


def _note_two_units(
    notes: Notes, section: int, table: pa.Table, places: Ints, catalog: MetricCatalog
) -> None:
    """Note each curve that is in two units by the look of it."""
    curve, first = group_rows(table, CURVE_KEY)
    most, least = _on_both_sides(table, catalog, curve, len(first))
    odd = np.flatnonzero(asks_unit(table, catalog, curve, len(first)))
    keys = table.select([*CURVE_KEY, "source"]).take(pa.array(first[odd])).to_pylist()
    for place, key in zip(odd, keys, strict=True):
        where = f"{key['subtask'] or key['task']}, {key['metric']}, {key['model_family']}"
        reason = f"some scores are at most {most[place]:g}, the others {least[place]:g} or more"
        notes.add(
            section, int(places[first[place]]), key["source"] or "", where,
            "{told}: in one unit?", told=reason,
        )  # fmt: skip


def _note_sizes(
    notes: Notes, section: int, table: pa.Table, places: Ints, axis: str, mask: Bools
) -> None:
    """Note each file and model whose size is not used, or is very small.

    The places are those of the first rows: the others are there for what they say of the models.
    """
    size = table[axis].to_pandas().to_numpy(dtype=float, na_value=np.nan)
    used = ~mask
    with np.errstate(invalid="ignore"):
        mask = mask | (size < _FEWEST_PARAMS)
    mask = mask & (np.arange(len(mask)) < len(places))
    if not mask.any():
        return
    group, first = models_of_rows(table)
    smallest, largest = (_of_groups(group, size, len(first), end) for end in (np.fmin, np.fmax))
    chosen = to_frame(table.select(["source", "model_name", axis]).filter(pa.array(mask))).assign(
        used=used[mask],
        stated=_stated_sizes(table, group, first)[group[mask]],
        differ=(largest > _ALIKE * smallest)[group[mask]],
    )
    chosen = chosen.set_axis(places[mask[: len(places)]]).drop_duplicates()
    for place, *key in chosen.itertuples():
        source, model, value, is_used, known, differ = key
        if is_used or (np.isnan(known) and not differ):
            end = "" if is_used else " Not used"
            reason = f"{value:g}, few for the parameters of {model}: in millions or billions?{end}"
        elif np.isnan(known):
            reason = f"{value:g}, but {model} has another size elsewhere: not used"
        else:
            hint = next(
                (
                    f": in {word}?"
                    for word, unit in _LARGE.items()
                    if 0.5 < known / unit / value < 2
                ),
                ".",
            )
            reason = f"{value:g}, but the name {model} states about {known:.3g}{hint} Not used"
        notes.add(
            section, place, "" if pd.isna(source) else str(source), axis, "{told}",
            key=tuple(map(str, key)), told=reason,
        )  # fmt: skip


def _note_told(
    notes: Notes, section: int, table: pa.Table, places: Ints, mask: Bools, values: Floats,
    low: Floats, high: Floats, text: str,
) -> None:  # fmt: skip
    """Note each file, subtask, metric and model that a mask chooses."""
    names = ["source", "task", "subtask", "metric", "model_name"]
    frame = to_frame(table.select(names).filter(mask)).astype("string").fillna("")
    frame = frame.assign(value=values[mask], low=low[mask], high=high[mask], place=places[mask])
    for key, some in frame.groupby(names, sort=False):
        source, task, subtask, metric, model = map(str, key)
        one = some.iloc[0]
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        percent = one["low"] == 0 and one["high"] == 1 and 1 < one["value"] <= 100
        reason = text.format(
            value=one["value"], more=more, metric=metric, range=_range(one["low"], one["high"]),
            hint=": in percent?" if percent else "",
        )  # fmt: skip
        where = f"{subtask or task}, {metric}, {model}"
        notes.add(section, int(one["place"]), source, where, "{told}", told=reason)


def _range(low: float, high: float) -> str:
    """Return in words what values a metric has, of which one end may not be known."""
    if np.isfinite(low) and np.isfinite(high):
        return f"goes from {low:g} to {high:g}"
    return f"is at least {low:g}" if np.isfinite(low) else f"is at most {high:g}"
