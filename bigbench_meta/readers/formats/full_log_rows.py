"""The rows of the samples table: decoded samples in, Arrow columns out.

In place of the columns that are known only when the query or the whole log has been read, there is
a column ``query``, the number of the query in its log.
"""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128_digest

from bigbench_meta.core.arrow import lists, maps, numbers, reals, texts
from bigbench_meta.core.schema import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bigbench_meta.readers.formats.full_log_types import Metrics, Number, Sample

__all__ = ["OWN_COLUMNS", "QUERY", "ROWS", "RowBuilder"]

_EXACT: Final = "exact_str_match"

QUERY: Final = "query"
OWN_COLUMNS: Final = (
    "example_id", "input_hash", "targets", "target_values", "target_logprobs", "output", "correct",
    "metrics",
)  # fmt: skip
"""Columns of the samples table that a sample alone tells."""
ROWS: Final = pa.schema(
    [pa.field(QUERY, pa.int32()), *(SAMPLES.arrow.field(name) for name in OWN_COLUMNS)]
)
"""Schema of the batches."""


class RowBuilder:
    """Gathers samples and turns them into rows.

    Samples are taken apart as soon as they come, while they are in the processor's cache.

    Attributes:
        n_rows: Samples in hand.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        # Query, number of the first sample, number of samples.
        self._runs: list[tuple[int, int, int]] = []
        self._digests: list[bytes] = []
        self._lists: dict[str, list[Any]] = {name: [] for name in OWN_COLUMNS[2:]}

    def add(self, query: int, first: int, samples: list[Sample]) -> None:
        """Add samples that follow each other in one query.

        Args:
            query: Number of the query in the log.
            first: Number of the first sample in the query.
            samples: The samples.
        """
        self.n_rows += len(samples)
        self._runs.append((query, first, len(samples)))
        self._digests += [xxh3_128_digest(sample.input.encode()) for sample in samples]
        start = 0
        # A query has samples of one kind, unless somebody has changed it.
        for kind, group in groupby([type(sample.targets) for sample in samples]):
            part = samples[start : start + len(list(group))]
            start += len(part)
            columns = _generations(part) if kind is dict else _choices(part)
            for name, column in columns.items():
                self._lists[name] += column

    def build(self) -> pa.RecordBatch:
        """Return the rows in hand, and begin anew."""
        columns = {
            **self._numbers(),
            "input_hash": self._hashes(),
            "targets": _lists(self._lists["targets"], texts),
            "target_values": _lists(self._lists["target_values"], _reals),
            "target_logprobs": _lists(self._lists["target_logprobs"], _reals),
            "output": texts(self._lists["output"]),
            "correct": _reals(self._lists["correct"]),
            "metrics": _maps(self._lists["metrics"]),
        }
        RowBuilder.__init__(self)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=ROWS)

    def _numbers(self) -> dict[str, pa.Array]:
        queries, _, sizes = (np.array(column) for column in zip(*self._runs, strict=True))
        query = numbers(np.repeat(queries.astype(np.int32), sizes))
        sample = np.concatenate([np.arange(first, first + size) for _, first, size in self._runs])
        identity = (query.cast(pa.string()), numbers(sample).cast(pa.string()))
        slash = texts(["/"])[0]
        return {QUERY: query, "example_id": pc.binary_join_element_wise(*identity, slash)}

    def _hashes(self) -> pa.Array:
        text = b"".join(self._digests).hex().encode()
        offsets = np.arange(self.n_rows + 1, dtype=np.int32) * 32
        return pa.StringArray.from_buffers(self.n_rows, pa.py_buffer(offsets), pa.py_buffer(text))


def _generations(samples: list[Sample]) -> dict[str, list[Any]]:
    """Return the columns of ``generate_text`` samples, whose targets are marked each.

    ``correct`` and ``metrics`` are the best over the targets (all metrics of BIG-bench's
    generations are better when higher, and its exact match is right if the output equals any
    target); a metric of the sample itself goes before those of its targets.
    """
    targets: list[Any] = [sample.targets for sample in samples]
    columns: dict[str, list[Any]] = {
        "targets": list(map(list, targets)),
        "target_values": [None] * len(samples),
        "target_logprobs": [sample.scores for sample in samples],
        "output": [sample.output for sample in samples],
        "correct": [sample.correct for sample in samples],
        "metrics": [sample.metrics for sample in samples],
    }
    own = any(columns["metrics"]) or columns["correct"].count(None) < len(samples)
    exact = None if own else _only_exact(targets)
    if exact is not None:
        return columns | {"correct": exact, "metrics": [None] * len(samples)}
    metrics = [_best(marks.values()) for marks in targets]
    for best, more in zip(metrics, columns["metrics"], strict=True):
        best |= _best([more])
    correct = [
        best.pop(_EXACT, None) if right is None else right
        for best, right in zip(metrics, columns["correct"], strict=True)
    ]
    return columns | {"correct": correct, "metrics": metrics}


def _only_exact(targets: list[dict[str, Any]]) -> list[Any] | None:
    """Return the best exact match of each sample, or None if there may be other metrics with it.

    The official evaluator computes nothing else, and nulls hold the other metrics' places.
    """
    marks = list(chain.from_iterable(map(dict.values, targets)))
    if not all(targets) or not all(marks):
        return None
    try:
        exact = [one[_EXACT] for one in marks]
    except KeyError:
        return None
    values = list(chain.from_iterable(map(dict.values, marks)))
    if len(values) - values.count(None) != len(exact) or None in exact:
        return None
    if len(marks) == len(targets):
        return exact
    starts = np.cumsum([0, *map(len, targets)])[:-1]
    best: list[float] = np.fmax.reduceat(np.array(exact, np.float64), starts).tolist()
    return best


def _choices(samples: list[Sample]) -> dict[str, list[Any]]:
    """Return the columns of ``cond_log_prob`` samples."""
    targets: list[Any] = [sample.targets for sample in samples]
    values = [
        # The official evaluator takes both from one dict.
        None
        if worth is None or names is None
        else list(worth.values() if list(worth) == names else map(worth.get, names))
        for worth, names in zip([sample.target_values for sample in samples], targets, strict=True)
    ]
    metrics: list[Any] = [sample.metrics for sample in samples]
    return {
        "targets": targets,
        "target_values": values,
        "target_logprobs": [sample.scores for sample in samples],
        "output": [sample.output for sample in samples],
        "correct": [sample.correct for sample in samples],
        "metrics": [_best([own]) for own in metrics] if any(metrics) else metrics,
    }


def _best(marks: Iterable[Metrics | None]) -> dict[str, Number]:
    best: dict[str, Number] = {}
    for metrics in marks:
        for name, value in metrics.items() if metrics else ():
            if value is not None:
                known = best.get(name)
                # Literals are texts here. Like fmax, NaN gives way to any number.
                if known is None or float(value) > float(known) or float(known) != float(known):
                    best[name] = value
    return best


def _maps(given: list[dict[str, Number] | None]) -> pa.Array:
    sizes = np.array([len(one) if one else 0 for one in given])
    filled = [one for one in given if one]
    values = _reals([value for one in filled for value in one.values()])
    return maps(texts(list(chain.from_iterable(filled))), values, sizes)


def _lists(given: list[Any], array: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """Return an array of lists, null where a list is None; ``array`` makes that of their items."""
    try:
        sizes = np.fromiter(map(len, given), np.int64, len(given))
        missing = None
    except TypeError:
        missing = np.array([one is None for one in given])
        given = [one or () for one in given]
        sizes = np.fromiter(map(len, given), np.int64, len(given))
    return lists(array(list(chain.from_iterable(given))), sizes, missing=missing)


def _reals(values: list[Any]) -> pa.Array:
    try:
        return reals(values)
    except ValueError:
        return reals(_plain(values))


def _plain(values: list[Any]) -> list[float | None]:
    """Return numbers for the literals' texts."""
    return [float(value) if isinstance(value, str) else value for value in values]
