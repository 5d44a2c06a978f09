"""Score the same outputs under other metrics: observations from samples.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 3: the outputs stay, the metric
    changes.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import Execution, execute
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import (
    OBSERVATIONS,
    PROBLEMS,
    ROW_KEY,
    SAMPLES,
    SCALE_AXES,
    conform,
    to_frame,
)
from bigbench_meta.metrics.definitions import Examples, Metric, named_metrics, ratio, with_count
from bigbench_meta.metrics.pass_rates import PassCounts
from bigbench_meta.metrics.texts import TOKENS, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bigbench_meta.metrics.pass_rates import DifficultyBuckets

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Rescoring", "by_answer_length", "example_scores", "new_scores", "rescore"]

Sample = dict[str, Any]
OwnMetric = Callable[[Sample], float | None]
"""Takes a sample as a dict of the columns of the samples table and returns its score, or None."""

_Key: TypeAlias = tuple[Any, ...]
_MODEL: Final = (
    "benchmark", "task", "subtask", "model_family", "model_name", "shots", "variant", "settings",
    "replicate",
)  # fmt: skip
_AT: Final = {name: place for place, name in enumerate(OBSERVATIONS.names)}
_COUNTS_ERRORS: Final = "token_edit_distance"
_BATCH_ROWS: Final = 1 << 14
"""Samples scored at a time, which bounds the memory."""
_SLOW: Final = frozenset({"bleu", "rouge1"})
"""Metrics that take so long that processes pay."""
_COST: Final = 2000 / (1 << 17)
"""Of scoring a sample by one of these, see :meth:`Execution.sized`."""


@dataclass
class _Sums:
    """Running sums over the examples of each model on each task, for one metric.

    Attributes:
        n: Examples of each, shape (keys,).
        n_missing: Those without a value.
        total: Sums of what the metric is made of, shape (keys, k).
        products: Sums of their products, shape (keys, k, k).
    """

    n: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n_missing: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    total: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    products: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))

    def add(self, places: Ints, other: _Sums) -> None:
        """Add the sums over other examples, whose keys have these places here."""
        size = int(places.max(initial=-1)) + 1
        self.n, self.n_missing = _grown(self.n, size), _grown(self.n_missing, size)
        self.n[places] += other.n
        self.n_missing[places] += other.n_missing
        if not other.n.any():
            return
        k = other.total.shape[1]
        if not self.total.shape[1]:
            self.total, self.products = np.zeros((0, k)), np.zeros((0, k, k))
        self.total, self.products = _grown(self.total, size), _grown(self.products, size)
        some = other.n > 0
        self.total[places[some]] += other.total[some]
        self.products[places[some]] += other.products[some]


def _grown(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return an array of at least so many rows, with room for more; what is new is 0."""
    if len(values) >= size:
        return values
    found = np.zeros((max(size, len(values) * 5 // 4), *values.shape[1:]), dtype=values.dtype)
    found[: len(values)] = values
    return found


@dataclass
class _Found:
    """What samples have in sum: all that is kept of them.

    Attributes:
        counts: Of the metrics that judge all samples of a problem together.
        places: Number of each model by its key, in the order of appearance.
        models: Scales and source of each.
        sums: By metric.
        lengths: Sum of the lengths of right answers, and their number, shape (keys, 2).
    """

    counts: dict[str, PassCounts]
    places: dict[_Key, int] = field(default_factory=dict)
    models: list[list[Any]] = field(default_factory=list)
    sums: defaultdict[str, _Sums] = field(default_factory=partial(defaultdict, _Sums))
    lengths: Floats = field(default_factory=lambda: np.zeros((0, 2)))

    def know(self, key: _Key, model: list[Any]) -> int:
        """Keep the fields of a model, of its first sample that has them, and return its number."""
        place = self.places.get(key)
        if place is None:
            # Names come again and again; one object for each will do.
            key = tuple(sys.intern(one) if isinstance(one, str) else one for one in key)
            place = self.places[key] = len(self.models)
            *axes, source = model
            self.models.append([*axes, source if source is None else sys.intern(source)])
            return place
        known = self.models[place]
        for number in range(len(SCALE_AXES)):
            if known[number] is None:
                known[number] = model[number]
        return place

    def add_lengths(self, places: Ints, lengths: Floats) -> None:
        """Add sums of lengths, and their numbers."""
        self.lengths = _grown(self.lengths, int(places.max(initial=-1)) + 1)
        self.lengths[places] += lengths

    def merge(self, other: _Found) -> None:
        """Add what was found in later samples."""
        places = np.array(
            [self.know(key, model) for key, model in zip(other.places, other.models, strict=True)],
            dtype=np.int64,
        )
        for name, sums in other.sums.items():
            self.sums[name].add(places[: len(sums.n)], sums)
        self.add_lengths(places[: len(other.lengths)], other.lengths)
        for name, counts in other.counts.items():
            self.counts[name].merge(counts)


class Rescoring:
    """Score batches of samples under several metrics, keeping only sums.

    Args:
        metrics: Names, see :func:`bigbench_meta.metrics.definitions.named_metrics`, or a mapping
            from names to functions of your own, each of a sample (a dict of the columns of
            :data:`bigbench_meta.core.schema.SAMPLES`) that returns its score or None.
        tokens: How texts are split: ``characters``, ``words``, ``digits`` or a function.
        by_length: Whether every length of the right answer, in tokens, is a subtask of its own.
        difficulty: Buckets of problems, for the metrics that judge all samples of a problem
            together (``pass@K``, ``mean_log_pass_rate``).

    Raises:
        InputError: There is no metric, one is unknown, ``tokens`` is unknown, or ``difficulty``
            comes without a metric that it applies to.
    """

    def __init__(
        self,
        metrics: Sequence[str] | Mapping[str, OwnMetric | None],
        *,
        tokens: str | Tokenizer = "characters",
        by_length: bool = False,
        difficulty: DifficultyBuckets | None = None,
    ) -> None:
        if isinstance(metrics, str):
            metrics = [metrics]
        own = (
            {name: f for name, f in dict(metrics).items() if f}
            if isinstance(metrics, Mapping)
            else {}
        )
        self._metrics = named_metrics([name for name in metrics if name not in own])
        if twice := own.keys() & {metric.name for metric in self._metrics}:
            raise InputError(f"two metrics called {twice.pop()!r}", where="metrics")
        self._metrics += [_own(name, function) for name, function in own.items()]
        if not self._metrics:
            raise InputError("names no metric", where="metrics", hint="for example exact_str_match")
        if isinstance(tokens, str) and tokens not in TOKENS:
            raise InputError(f"{tokens!r} is none of {', '.join(TOKENS)}", where="tokens")
        counts = {metric.name: PassCounts() for metric in self._metrics if metric.per_problem}
        self._found = _Found(counts=counts)
        if difficulty is not None and not self._found.counts:
            raise InputError(
                "no metric that judges several samples of a problem",
                where="difficulty",
                hint="for example pass@1 or mean_log_pass_rate",
            )
        self._tokens = tokens
        self._by_length = by_length
        self._difficulty = difficulty
        self._arguments = {
            "metrics": metrics, "tokens": tokens, "by_length": by_length, "difficulty": difficulty,
        }  # fmt: skip
        self._slow = any(metric.name in _SLOW or metric.name in own for metric in self._metrics)

    @property
    def columns(self) -> list[str]:
        """The columns of the samples table that these metrics need, in its order."""
        needed = {*_MODEL, *SCALE_AXES, "example_id", "source"}
        for metric in self._metrics:
            needed |= set(metric.columns)
        if self._by_length:
            needed |= {"targets", "target_values"}
        return [name for name in SAMPLES.names if name in needed]

    def add(self, samples: pa.Table | pd.DataFrame) -> None:
        """Score some samples.

        Args:
            samples: Rows with the columns of :data:`bigbench_meta.core.schema.SAMPLES`.

        Raises:
            SchemaError: A column is missing or of the wrong type.
        """
        self.add_batches([samples])

    def add_batches(
        self,
        batches: Iterable[pa.Table | pd.DataFrame],
        *,
        n_samples: int = 0,
        execution: Execution | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Score batches of samples.

        Args:
            batches: As :meth:`bigbench_meta.Store.sample_batches` yields them.
            n_samples: How many there are at most, for ``progress`` and ``execution``.
            execution: How the work is spread. With ``jobs=None`` it goes to processes where that is
                faster: with many samples and a slow metric. Functions among the metrics and
                ``tokens`` must then be those of a module.
            progress: Called with (samples scored, samples).

        Raises:
            SchemaError: See :meth:`add`.
        """
        execution = (execution or Execution()).sized(n_samples * _COST if self._slow else 0)
        pieces = (_serialised(piece) for batch in batches for piece in _pieces(batch))
        scored, done = partial(_scored, self._arguments), 0
        for outcome in execute(scored, pieces, execution, in_order=True):
            if outcome.error is not None:
                raise outcome.error
            found, n = outcome.value
            self._found.merge(found)
            done += n
            if progress:
                progress(done, max(done, n_samples))

    def _add(self, table: pa.Table) -> None:
        if self._by_length:
            table = by_answer_length(table, self._tokens)
        group, first = group_rows(table, _MODEL)
        places = self._places(table.select([*_MODEL, *SCALE_AXES, "source"]).take(pa.array(first)))
        size = np.bincount(group, minlength=len(places))
        chosen: dict[tuple[tuple[str, ...], ...], tuple[NDArray[np.bool_], Examples]] = {}
        for metric in self._metrics:
            if metric.needs not in chosen:
                chosen[metric.needs] = _usable(table, metric, self._tokens)
            usable, examples = chosen[metric.needs]
            rows = group[usable]
            values = metric.add(examples) if len(examples) else np.zeros((0, 1))
            if len(examples) and metric.name == _COUNTS_ERRORS:
                self._add_lengths(places, rows, examples.target_length)
            if metric.per_problem:
                self._found.counts[metric.name].add(table.filter(pa.array(usable)), values[:, 0])
            self._add_sums(metric, places, size, rows, values)

    def _places(self, models: pa.Table) -> Ints:
        """Return the number of each group, and keep the model fields of its first sample."""
        columns = [models[name].to_pylist() for name in models.column_names]
        rows = zip(*columns, strict=True)
        n = len(_MODEL)
        return np.array([self._found.know(row[:n], list(row[n:])) for row in rows], dtype=np.int64)

    def _add_sums(
        self, metric: Metric, places: Ints, size: Ints, group: Ints, values: Floats
    ) -> None:
        """Add up the values of samples by group; of the others of a group the metric has none."""
        good = ~np.isnan(values).any(axis=1)
        if not good.all():
            group, values = group[good], values[good]
        columns = np.ascontiguousarray(values.T)
        n_groups = len(places)
        n = np.bincount(group, minlength=n_groups)
        total = np.array([np.bincount(group, one, n_groups) for one in columns])
        with np.errstate(invalid="ignore"):  # -inf times 0: a score without a standard error
            products = np.array(
                [[np.bincount(group, one * two, n_groups) for two in columns] for one in columns]
            )
        self._found.sums[metric.name].add(
            places,
            _Sums(n=n, n_missing=size - n, total=total.T, products=products.transpose(2, 0, 1)),
        )

    def _add_lengths(self, places: Ints, group: Ints, lengths: Floats) -> None:
        """Add up how long the right answers are."""
        known = ~np.isnan(lengths)
        total = np.bincount(group[known], lengths[known], len(places))
        count = np.bincount(group[known], minlength=len(places))
        self._found.add_lengths(places, np.stack([total, count], axis=1))

    def result(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the scores so far.

        Returns:
            Observations, one row per metric of a model on a task, with ``n_examples`` and
            ``stderr``; and problems, one row for what a metric lacked.

        Raises:
            InputError: A reference model of the buckets has no samples.
        """
        lacking = self._lacking()
        found = self._found
        rows = [
            self._row(key, metric, *_score(metric, found.sums[metric.name], place))
            for metric in self._metrics
            if not metric.per_problem
            for key, place in found.places.items()
            if self._n(metric, place)
        ]
        first_of_run = {key[:-1]: key for key in reversed(found.places)}
        for metric in self._metrics:
            if metric.per_problem:
                scores, notes = found.counts[metric.name].scores(metric, self._difficulty)
                for run, label, score, stderr, n in scores:
                    more = {"subtask": label, "replicate": None}
                    rows.append(self._row(first_of_run[run], metric, score, stderr, n, **more))
                for run, reason, severity in notes:
                    source = found.models[found.places[first_of_run[run]]][-1]
                    lacking.append((source, metric.name, reason, severity))
        self._bound_errors(rows)
        observations = pd.DataFrame(rows, columns=OBSERVATIONS.names)
        problems = pd.DataFrame(lacking, columns=PROBLEMS.names)
        return to_frame(conform(observations)), to_frame(conform(problems, PROBLEMS))

    def _bound_errors(self, rows: list[list[Any]]) -> None:
        """Say of edit distances that no output at all has the length of the answer, in place.

        It is the ``low_score``, which the tests of a curve take for the worst score; not where a
        model is further away than that, with outputs that are longer than the answers.
        """
        curves: dict[tuple[Any, ...], list[list[Any]]] = {}
        of_curve = [_AT[name] for name in _MODEL if name not in {"model_name", "replicate"}]
        for row in rows:
            if row[_AT["metric"]] == _COUNTS_ERRORS:
                curves.setdefault(tuple(row[place] for place in of_curve), []).append(row)
        for own in curves.values():
            keys = [tuple(row[_AT[name]] for name in _MODEL) for row in own]
            places = np.array([self._found.places[key] for key in keys], dtype=np.int64)
            lengths = self._found.lengths[places[places < len(self._found.lengths)]]
            total, count = lengths.sum(axis=0)
            if count and max(row[_AT["score"]] for row in own) <= total / count:
                for row in own:
                    row[_AT["low_score"]], row[_AT["high_score"]] = total / count, 0.0

    def _row(
        self, key: tuple[Any, ...], metric: Metric, score: float, stderr: float, n: int, **more: Any
    ) -> list[Any]:
        """Return an observation, its values in the order of the columns."""
        *axes, source = self._found.models[self._found.places[key]]
        row = {
            **dict(zip(SCALE_AXES, axes, strict=True)),
            **dict(zip(_MODEL, key, strict=True)),
            "metric": metric.name, "score": score, "stderr": stderr, "n_examples": n,
            "source": source, **more,
        }  # fmt: skip
        return [row.get(name) for name in OBSERVATIONS.names]

    def _n(self, metric: Metric, place: int) -> int:
        """Return the number of examples of a key under a metric."""
        n = self._found.sums[metric.name].n
        return int(n[place]) if place < len(n) else 0

    def _lacking(self) -> list[tuple[str, str, str, str]]:
        """Return what metrics lacked: a row for a task without it, else one for a model."""
        rows = []
        for metric in self._metrics:
            needs = metric.lacking or ", and ".join(map(" or ".join, metric.needs))
            by_task: dict[tuple[str, str], dict[tuple[str, str], list[int]]] = {}
            sums = self._found.sums[metric.name]
            for (key, place), (*_, source) in zip(
                self._found.places.items(), self._found.models, strict=True
            ):
                models = by_task.setdefault(key[:2], {})
                counts = models.setdefault((source or "", key[4]), [0, 0])
                counts[0] += int(sums.n_missing[place])
                counts[1] += int(sums.n[place])
            scored = any(n for models in by_task.values() for _, n in models.values())
            for (_, task), models in by_task.items():
                missing = sum(n for n, _ in models.values())
                if not any(n for _, n in models.values()):
                    reason = f"all {missing} samples of {task} lack {needs}"
                    severity = "warning" if scored else "error"
                    rows.append((next(iter(models))[0], metric.name, reason, severity))
                    continue
                for (source, model), (n, n_scored) in models.items():
                    if n:
                        reason = f"{n} of {n + n_scored} samples of {model} on {task} lack {needs}"
                        rows.append((source, metric.name, reason, "warning"))
        return rows


def rescore(
    samples: pa.Table | pd.DataFrame | Iterable[pa.Table],
    metrics: Sequence[str] | Mapping[str, OwnMetric | None],
    *,
    tokens: str | Tokenizer = "characters",
    by_length: bool = False,
    difficulty: DifficultyBuckets | None = None,
    execution: Execution | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the same outputs under other metrics.

    Args:
        samples: Samples, as :meth:`bigbench_meta.Store.samples` returns them, or batches of them.
        metrics: See :class:`Rescoring`.
        tokens: See :class:`Rescoring`.
        by_length: See :class:`Rescoring`.
        difficulty: See :class:`Rescoring`.
        execution: How the work is spread, see :meth:`Rescoring.add_batches`.

    Returns:
        Observations, one row per metric of a model on a task, with the number of examples and the
        standard error of the mean over them; and problems: what a metric lacked. What lacks an
        ingredient has no score, never a score of 0.

    Raises:
        InputError: See :class:`Rescoring` and :meth:`Rescoring.result`.
        SchemaError: A column of the samples is missing or of the wrong type.

    Examples:
        >>> import pandas as pd
        >>> samples = pd.DataFrame(
        ...     {
        ...         "benchmark": "mine", "task": "sums", "model_family": "f", "model_name": "1b",
        ...         "example_id": ["1", "2"], "targets": [["12"], ["345"]],
        ...         "output": ["12", "315"], "total_params": 10**9,
        ...     }
        ... )
        >>> scores, problems = rescore(samples, ["exact_str_match", "token_edit_distance"])
        >>> scores[["metric", "score", "stderr", "n_examples"]].to_dict("records")
        [{'metric': 'exact_str_match', 'score': 0.5, 'stderr': 0.5, 'n_examples': 2},
         {'metric': 'token_edit_distance', 'score': 0.5, 'stderr': 0.5, 'n_examples': 2}]
    """
    scoring = Rescoring(metrics, tokens=tokens, by_length=by_length, difficulty=difficulty)
    n_samples, batches = 0, samples
    if isinstance(samples, pa.Table | pd.DataFrame):
        n_samples, batches = len(samples), [samples]
    scoring.add_batches(batches, n_samples=n_samples, execution=execution)
    return scoring.result()


def _pieces(samples: pa.Table | pd.DataFrame) -> Iterator[pa.Table]:
    """Yield samples a bounded number at a time."""
    table = conform(samples, SAMPLES)
    for begin in range(0, table.num_rows, _BATCH_ROWS):
        yield table.slice(begin, _BATCH_ROWS)


def _serialised(table: pa.Table) -> bytes:
    """Return a table as bytes; a pickled slice would take all that it is a slice of along."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _scored(arguments: dict[str, Any], samples: bytes) -> tuple[_Found, int]:
    """Score some samples in a process."""
    table = pa.ipc.open_stream(samples).read_all()
    scoring = Rescoring(**arguments)
    scoring._add(table)  # noqa: SLF001
    return scoring._found, table.num_rows  # noqa: SLF001


def example_scores(
    samples: pa.Table | pd.DataFrame,
    metrics: Sequence[str],
    *,
    tokens: str | Tokenizer = "characters",
) -> dict[str, Floats]:
    """Return the score of every sample under each metric that is a mean over examples.

    Args:
        samples: Samples table.
        metrics: Names, see :func:`bigbench_meta.metrics.definitions.named_metrics`.
        tokens: See :class:`Rescoring`.

    Returns:
        One score a sample, by metric; NaN where an ingredient is missing. Metrics that judge
        several samples together are left out.

    Raises:
        InputError: A metric is unknown.
        SchemaError: ``samples`` is no samples table.

    Examples:
        >>> import pandas as pd
        >>> samples = pd.DataFrame(
        ...     {
        ...         "benchmark": "mine", "task": "sums", "model_family": "f", "model_name": "1b",
        ...         "example_id": ["1", "2"], "targets": [["12"], ["345"]], "output": ["12", None],
        ...     }
        ... )
        >>> example_scores(samples, ["exact_str_match"])
        {'exact_str_match': array([ 1., nan])}
    """
    table = conform(samples, SAMPLES)
    found = {}
    for metric in named_metrics(metrics):
        if metric.score is not ratio or metric.per_problem:
            continue
        usable, examples = _usable(table, metric, tokens)
        found[metric.name] = np.full(table.num_rows, np.nan)
        if len(examples):
            sums = metric.add(examples)
            found[metric.name][usable] = sums[:, 0] / sums[:, 1]
    return found


def new_scores(
    scores: pd.DataFrame, reported: Iterable[pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores that the evaluation did not report itself.

    Args:
        scores: Observations made by rescoring.
        reported: Observations as the evaluation reported them, some at a time.

    Returns:
        The scores under names that were not reported for the same model and task; and problems,
        one row for each score that differs from the one reported, which is kept.
    """
    key = list(ROW_KEY)
    new = list(_texts(scores[key]))
    known = dict.fromkeys(new, np.nan)
    for some in reported:
        for row, score in zip(_texts(some[key]), some["score"], strict=True):
            if row in known:
                known[row] = score
    own = np.array([known[row] for row in new])
    differs = ~np.isnan(own) & ~np.isclose(own, scores["score"], rtol=1e-6, atol=1e-9)
    rows = []
    for row, value in zip(scores[differs].to_dict("records"), own[differs], strict=True):
        reason = (
            f"{row['score']:g} for {row['model_name']} on {row['subtask']}, but the evaluation "
            f"reported {value:g}, which is kept"
        )
        rows.append((row["source"], row["metric"], reason, "warning"))
    return scores[np.isnan(own)], pd.DataFrame(rows, columns=PROBLEMS.names)


def _texts(frame: pd.DataFrame) -> Iterable[tuple[str, ...]]:
    return map(tuple, frame.astype("object").astype(str).to_numpy())


def _usable(
    table: pa.Table, metric: Metric, tokens: str | Tokenizer
) -> tuple[NDArray[np.bool_], Examples]:
    """Return which samples have all that a metric needs, and these samples."""
    some = table.select(metric.columns)
    if not metric.needs:
        return np.ones(table.num_rows, dtype=bool), Examples(some, tokens)
    usable = reduce(pc.or_, [_has_all(table, needs) for needs in metric.needs])
    examples = Examples(some if pc.all(usable).as_py() else some.filter(usable), tokens)
    return usable.to_numpy(), examples


def _has_all(table: pa.Table, needs: tuple[str, ...]) -> pa.ChunkedArray:
    """Return which samples have some columns, with lists of one length."""
    given = [table[name].is_valid() for name in needs]
    if "target_logprobs" in needs:
        lists = [name for name in needs if name.startswith("target")]
        first, *others = (pc.list_value_length(table[name]) for name in lists)
        given += [pc.equal(first, other) for other in others]
    return reduce(pc.and_kleene, given)  # lengths of what is missing are null


def _score(metric: Metric, sums: _Sums, place: int) -> tuple[float, float, int]:
    """Return score, standard error and number of examples from sums over the examples.

    The error is that of a smooth function of means, by the delta method with numeric derivatives;
    for a mean it is the sample standard deviation over the root of n.
    """
    n, total, products = int(sums.n[place]), sums.total[place], sums.products[place]
    score = metric.score(total)
    if n < 2 or not np.isfinite(score) or not np.isfinite(products).all():
        return score, np.nan, n
    mean = total / n
    covariance = (products / n - np.outer(mean, mean)) * n / (n - 1)
    gradient = _gradient(metric, total) * n
    variance = gradient @ covariance @ gradient / n
    return score, float(np.sqrt(max(float(variance), 0.0))), n


def _gradient(metric: Metric, total: Floats) -> Floats:
    """Return the derivatives of a score by the sums that it is made of."""
    if metric.score is ratio:
        return np.array([1.0 / total[1], -total[0] / total[1] ** 2])
    gradient = np.zeros(len(total))
    for i in np.flatnonzero(total):  # what is 0 in every example has no variance
        step = np.zeros(len(total))
        step[i] = 1e-6 * abs(total[i])
        ahead, behind = metric.score(total + step), metric.score(total - step)
        gradient[i] = (ahead - behind) / (2 * step[i])
    return gradient


def by_answer_length(table: pa.Table, tokens: str | Tokenizer) -> pa.Table:
    """Return samples with the length of their answer in the name of the subtask.

    Args:
        table: Samples table, as :func:`bigbench_meta.core.schema.conform` gives it.
        tokens: See :class:`Rescoring`.
    """
    known = table["targets"].is_valid()
    lengths = np.full(table.num_rows, np.nan)
    lengths[known.to_numpy()] = Examples(table.filter(known), tokens).target_length
    names = [
        subtask if length != length else f"{subtask}: length {length:.0f}"
        for subtask, length in zip(table["subtask"].to_pylist(), lengths.tolist(), strict=True)
    ]
    place = table.schema.get_field_index("subtask")
    column = pa.array(names).dictionary_encode().cast(table.schema.field(place).type)
    return table.set_column(place, table.schema.field(place), column)


def _own(name: str, function: OwnMetric) -> Metric:
    """Return a metric that is the mean of a user's function of a sample."""

    def add(examples: Examples) -> Floats:
        scores = [function(row) for row in examples.table.to_pylist()]
        return with_count(np.array([np.nan if s is None else s for s in scores], dtype=float))

    return Metric(name=name, needs=(), add=add, score=ratio, lacking="a score")
