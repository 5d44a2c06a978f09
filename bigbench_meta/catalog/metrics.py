"""The metric catalog: unit, range, direction and type of each metric, with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.catalog.published import data_path, read_text
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.schema import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["METRIC_TYPES", "MetricCatalog", "metric_catalog"]

METRIC_TYPES: Final = ("discontinuous", "nonlinear", "linear", "continuous", "unknown")
"""How a metric answers to a smooth change of per-token error (Schaeffer et al. 2023, sec. 2)."""

_METRIC_COLUMNS: Final = (
    "metric", "benchmark", "task_pattern", "unit", "low", "high", "higher_is_better",
    "metric_type", "step", "binary", "strictly_proper", "needs", "reason", "source",
)  # fmt: skip
_OPTIONAL: Final = {
    "benchmark", "task_pattern", "unit", "low", "high", "step", "binary", "strictly_proper",
    "needs", "reason", "source",
}  # fmt: skip
_TRUTH: Final = {"true": True, "false": False, "": pd.NA}


@dataclass(frozen=True)
class MetricCatalog:
    """Unit, range, direction and type of each metric, with the reason for the type.

    Attributes:
        entries: One row an entry, the first match counting in order of specificity. Columns
            ``metric, benchmark, task_pattern`` (the last two empty for "any"; the pattern is a
            shell-style glob over the task name, and a metric with a ``*`` in it one over metrics
            that have no entry of their own), ``unit, low, high, higher_is_better, metric_type``
            (one of :data:`METRIC_TYPES`), ``step`` (the most that one example can change the
            metric, times the number of examples; NaN where there is no such constant), ``binary``
            (whether every example is either right or wrong, so that the score is a count over the
            number of examples; NA where not judged), ``strictly_proper`` (whether every forecast
            has a worse expected score than the true probabilities, where one answer is right; NA
            where not judged), ``needs`` (the columns of
            :data:`bigbench_meta.core.schema.SAMPLES` that rescoring computes it from, see
            :meth:`needs`; empty where it cannot), ``reason`` and ``source``.
    """

    entries: pd.DataFrame

    @classmethod
    def read(cls, path: str | Path) -> MetricCatalog:
        """Read a catalog from a CSV file.

        Args:
            path: A file with at least the columns ``metric``, ``metric_type`` and
                ``higher_is_better`` (true, false or empty).

        Returns:
            The catalog.

        Raises:
            InputError: The file cannot be read.
            SchemaError: A column is missing or a value is not allowed.
        """
        frame = read_text(path)
        if missing := [c for c in _METRIC_COLUMNS if c not in frame and c not in _OPTIONAL]:
            raise SchemaError(f"missing column {', '.join(missing)}", where=str(path))
        frame = frame.reindex(columns=list(_METRIC_COLUMNS), fill_value="")
        _check_values(frame, "metric_type", METRIC_TYPES, str(path))
        for column in ("higher_is_better", "binary", "strictly_proper"):
            _check_values(frame, column, tuple(_TRUTH), str(path))
            frame[column] = frame[column].map(_TRUTH).astype("boolean")
        for line, text in enumerate(frame["needs"], start=2):
            if wrong := set(chain.from_iterable(_alternatives(text))).difference(SAMPLES.names):
                raise SchemaError(
                    f"{text!r} in line {line}: {wrong.pop()!r} is not a column of samples",
                    where=f"{path}: needs",
                    hint="for example: correct or output and targets",
                )
        for column in ("low", "high", "step"):
            frame[column] = _numbers(frame[column], column, str(path))
        _check_ranges(frame, str(path))
        key = ["metric", "benchmark", "task_pattern"]
        if (twice := frame[frame.duplicated(key)]).size:
            raise SchemaError(f"two entries for {twice[key].iloc[0].tolist()}", where=str(path))
        return cls(frame)

    def overridden_by(self, other: MetricCatalog) -> MetricCatalog:
        """Return this catalog with the other's entries taking precedence.

        Every metric that the other names is the other's alone, whatever the benchmark or task.
        """
        kept = self.entries[~self.entries["metric"].isin(other.entries["metric"])]
        return MetricCatalog(pd.concat([other.entries, kept], ignore_index=True))

    def lookup(self, keys: pd.DataFrame) -> pd.DataFrame:
        """Return the entry that applies to each (benchmark, task, metric).

        An entry for the benchmark goes before one for any, and among those an entry whose pattern
        fits the task before one for any task.

        Args:
            keys: Frame with columns ``benchmark``, ``task`` and ``metric``.

        Returns:
            A frame with the index of ``keys`` and the other columns of ``entries``; a metric
            without an entry is ``unknown`` with NaN.

        Examples:
            >>> import pandas as pd
            >>> keys = pd.DataFrame({"benchmark": ["gpt3"], "task": ["x"], "metric": ["ppl"]})
            >>> bool(metric_catalog().lookup(keys)["higher_is_better"].iloc[0])
            False
        """
        wanted = _rows(keys[["benchmark", "task", "metric"]])
        candidates: dict[str, list[tuple[int, str, str]]] = {}
        entries = _rows(self.entries[["metric", "benchmark", "task_pattern"]])
        for row, (metric, benchmark, pattern) in zip(self.entries.index, entries, strict=True):
            candidates.setdefault(metric, []).append((row, benchmark, pattern))
        patterns = [name for name in candidates if "*" in name]
        entry = {}
        for benchmark, task, metric in dict.fromkeys(wanted):
            best = _best(candidates.get(metric, []), benchmark, task)
            if best < 0:
                fitting = (candidates[name] for name in patterns if fnmatchcase(metric, name))
                best = _best(list(chain.from_iterable(fitting)), benchmark, task)
            entry[benchmark, task, metric] = best
        found = self.entries.drop(columns=["metric", "benchmark", "task_pattern"])
        found = found.reindex([entry[key] for key in wanted])
        found["metric_type"] = found["metric_type"].fillna("unknown")
        return found.set_axis(keys.index, axis=0)

    def needs(self, metric: str) -> tuple[tuple[str, ...], ...]:
        """Return the columns of samples that a metric is computed from.

        Args:
            metric: Its name.

        Returns:
            Alternatives, each with all columns that it needs; empty where samples do not suffice,
            or where the metric is another one that is cut at a threshold.

        Examples:
            >>> metric_catalog().needs("exact_str_match")
            (('output', 'targets'),)
            >>> metric_catalog().needs("pass@5")
            (('correct',), ('output', 'targets'))
        """
        keys = pd.DataFrame({"benchmark": [""], "task": [""], "metric": [metric]})
        return _alternatives(str(self.lookup(keys)["needs"].fillna("").iloc[0]))


def _alternatives(needs: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(part.split(" and ")) for part in needs.split(" or ") if part)


def _rows(texts: pd.DataFrame) -> list[tuple[str, str, str]]:
    first, second, third = (map(str, column.to_numpy(dtype=object)) for _, column in texts.items())
    return list(zip(first, second, third, strict=True))


def _best(candidates: list[tuple[int, str, str]], benchmark: str, task: str) -> int:
    """Return the row number of the most specific entry that applies, -1 if none does."""
    best, best_rank = -1, -1
    for row, its_benchmark, pattern in candidates:
        if its_benchmark not in {"", benchmark} or not fnmatchcase(task, pattern or "*"):
            continue
        rank = 2 * bool(its_benchmark) + bool(pattern)
        if rank > best_rank:
            best, best_rank = row, rank
    return best


def _check_values(frame: pd.DataFrame, column: str, allowed: Iterable[str], where: str) -> None:
    wrong = ~frame[column].isin(list(allowed))
    if wrong.any():
        line = int(wrong.to_numpy().argmax())
        raise SchemaError(
            f"{frame[column].iloc[line]!r} in line {line + 2}",
            where=f"{where}: {column}",
            hint=f"allowed are {', '.join(a or 'empty' for a in allowed)}",
        )


def _numbers(text: pd.Series[str], column: str, where: str) -> pd.Series[float]:
    """Return a column as numbers, NaN where it is empty."""
    try:
        values = text.mask(text == "").astype("float64")
    except ValueError as error:
        raise SchemaError(f"not a number: {error}", where=f"{where}: {column}") from error
    if (wrong := values.isna() & (text != "")).any():
        line = int(wrong.to_numpy().argmax())
        raise SchemaError(
            f"{text.iloc[line]!r} in line {line + 2} is not a number",
            where=f"{where}: {column}",
            hint="leave it empty where it is not known",
        )
    return values


def _check_ranges(frame: pd.DataFrame, where: str) -> None:
    """Refuse ranges and steps that no metric can have."""
    for column, wrong, reason in (
        ("low", frame["low"] >= frame["high"], "is not below high, {high:g}"),
        ("step", (frame["step"] <= 0) | np.isinf(frame["step"]), "is not a positive number"),
    ):
        if wrong.any():
            line = int(wrong.to_numpy().argmax())
            row = frame.iloc[line]
            raise SchemaError(
                f"{row[column]:g} in line {line + 2} " + reason.format(high=row["high"]),
                where=f"{where}: {column}",
            )


@cache
def metric_catalog() -> MetricCatalog:
    """Return the packaged metric catalog.

    Examples:
        >>> entries = metric_catalog().entries.set_index("metric")
        >>> entries.loc["bleu", "metric_type"]
        'nonlinear'
    """
    return MetricCatalog.read(data_path("metrics.csv"))
