"""The metrics that samples can be scored with: the fields each needs, and how it scores them.

A metric turns every example into a few numbers that can be added, and the sum over a test set into
a score. A mean adds (score, 1); BIG-bench's Brier score adds (sum over options, number of options);
BLEU adds counts of n-grams. So a score, and its standard error by the delta method, come from sums
alone, whatever the number of samples, and examples can be drawn again by weighting them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import SAMPLES
from bigbench_meta.metrics import choices, repeated, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["METRICS", "Examples", "Metric", "named_metrics", "ratio", "with_count"]


@dataclass(frozen=True)
class Examples:
    """Samples of which all ingredients of a metric are there, as arrays.

    Attributes:
        table: The samples (columns: :data:`bigbench_meta.core.schema.SAMPLES`).
        tokens: How texts are split into tokens.
    """

    table: pa.Table
    tokens: str | texts.Tokenizer = "characters"

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.table.num_rows)

    @cached_property
    def outputs(self) -> list[str]:
        """What the model wrote."""
        texts: list[str] = self.table["output"].to_pylist()
        return texts

    @cached_property
    def options(self) -> Ragged:
        """Where the targets of each sample are, in the flat arrays of targets."""
        lengths = self._lists("targets").value_lengths().to_numpy(zero_copy_only=False)
        return Ragged.of_lengths(lengths)

    @cached_property
    def log_probs(self) -> Floats:
        """Log-probability of each target."""
        return self._flat("target_logprobs")

    @cached_property
    def log_p(self) -> Floats:
        """The same, normalised over the targets of each sample."""
        return choices.normalised(self.options, self.log_probs)

    @cached_property
    def values(self) -> Floats:
        """Worth of each target."""
        return self._flat("target_values")

    @cached_property
    def is_answer(self) -> Bools:
        """Which targets are right: all, or where they have a worth those of the largest."""
        found = np.ones(self.options.n_points, dtype=bool)
        worth = self._lists("target_values")
        if worth.null_count < len(worth):
            valued = worth.is_valid().to_numpy(zero_copy_only=False)[self.options.curve]
            given = self._flat("target_values")
            values = np.full(self.options.n_points, np.nan)
            values[valued] = given
            best = self.options.reduce(np.fmax, values)[self.options.curve]
            found[valued] = ((values == best) & (values > 0))[valued]
        return found

    @cached_property
    def answers(self) -> tuple[list[str], Ragged]:
        """The right answers, flat, and where those of each sample are."""
        targets = self._lists("targets").flatten()
        count = self.options.count(self.is_answer)
        return targets.filter(pa.array(self.is_answer)).to_pylist(), Ragged.of_lengths(count)

    @cached_property
    def in_tokens(self) -> tuple[Sequence[str], Sequence[str], Ragged]:
        """Outputs and right answers with a character for each token, and where the answers are."""
        answers, place = self.answers
        return *texts.as_tokens(self.outputs, answers, self.tokens), place

    @cached_property
    def target_length(self) -> Floats:
        """Tokens of the first right answer of each sample, NaN where there is none."""
        answers, place = self.answers
        _, coded = texts.as_tokens([], answers, self.tokens)
        lengths = np.fromiter(map(len, coded), dtype=np.float64, count=len(coded))
        return place.at(lengths, np.zeros(len(place)))

    def _lists(self, name: str) -> pa.Array:
        # A column of one chunk would be copied if it were combined by itself.
        return self.table.select([name]).combine_chunks()[name].chunk(0)

    def _flat(self, name: str) -> Floats:
        values = self._lists(name).flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of samples.

    Attributes:
        name: As in the catalog of metrics.
        needs: Columns of the samples table that it needs: alternatives, each with all that it
            needs; empty where it takes any sample. Those of a metric in the catalog are
            :meth:`bigbench_meta.MetricCatalog.needs`.
        add: Examples to numbers that can be added, shape (n, s); NaN rows are left out and counted.
        score: Their sum, shape (s,), to the score.
        per_problem: Whether all samples of a problem are judged together: then ``add`` gives one
            column, 1 for a right sample, and ``score`` takes counts of right samples and of all,
            shape (problems,) each, and returns one number a problem.
        only_solved: Whether only problems count that every model solves at least once.
        lacking: What a problem names where it is missing; empty for the columns in ``needs``.
    """

    name: str
    needs: tuple[tuple[str, ...], ...]
    add: Callable[[Examples], Floats]
    score: Callable[..., Any]
    per_problem: bool = False
    only_solved: bool = False
    lacking: str = ""

    @property
    def columns(self) -> list[str]:
        """The columns of the samples table that it reads: all, if it needs none in particular."""
        found = list(dict.fromkeys(chain.from_iterable(self.needs))) or SAMPLES.names
        if "targets" in found and "target_values" not in found:
            return [*found, "target_values"]  # which of the targets are right, where that is said
        return found


def ratio(total: Floats) -> float:
    """Return the first sum over the second: a mean, where that counts examples."""
    return float(total[0] / total[1]) if total[1] else np.nan


def _known(name: str, **more: Any) -> Metric:
    """Return a metric with the needs that the catalog states."""
    return Metric(name=name, needs=metric_catalog().needs(name), **more)


def _mean(name: str, of: Callable[[Examples], Floats]) -> Metric:
    """Return a metric that is a mean over examples."""
    return _known(name, add=lambda e: with_count(of(e)), score=ratio)


_LOGGED: Final = "logged:"


def _of_choice(name: str, function: Callable[[Ragged, Floats, Floats], Floats]) -> Metric:
    """Return a mean metric of the normalised probabilities of options."""
    return _mean(name, lambda e: function(e.options, e.log_p, e.values))


def _of_text(name: str, function: Callable[..., Floats], *, tokens: bool = False) -> Metric:
    """Return a mean metric of outputs and right answers, or of both in tokens."""

    def of(examples: Examples) -> Floats:
        compared = examples.in_tokens if tokens else (examples.outputs, *examples.answers)
        return function(*compared)

    return _mean(name, of)


def _per_option(examples: Examples) -> Floats:
    total = choices.brier_score_per_option(examples.options, examples.log_p, examples.values)
    count = np.where(np.isnan(total), np.nan, examples.options.lengths)
    return np.stack([total, count], axis=1)


def _target_log_likelihood(examples: Examples) -> Floats:
    inside = np.where(examples.is_answer, examples.log_probs, -np.inf)
    return choices.log_likelihood_any(examples.options, inside)


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        _mean(
            "multiple_choice_grade",
            lambda e: choices.multiple_choice_grade(e.options, e.log_probs, e.values),
        ),
        _of_choice("brier_score", choices.brier_score),
        _known("calibration_multiple_choice_brier_score", add=_per_option, score=ratio),
        _of_choice("chosen_option_brier", choices.chosen_option_brier),
        _of_choice("normalized_log_likelihood", choices.log_likelihood),
        _of_choice("correct_probability", choices.probability),
        _mean(
            "weighted_log_probabilities",
            lambda e: choices.weighted_log_likelihood(e.options, e.log_probs, e.values),
        ),
        _mean(
            "weighted_probabilities",
            lambda e: choices.weighted_probability(e.options, e.log_probs, e.values),
        ),
        _mean("log_likelihood", _target_log_likelihood),
        _of_text("exact_str_match", texts.exact_str_match),
        _of_text("case_insensitive_str_match", texts.case_insensitive_str_match),
        _of_text("numeric_match_with_0_1_relative_error", texts.numeric_match),
        _of_text("token_edit_distance", texts.token_edit_distance, tokens=True),
        _of_text("normalized_edit_distance", texts.normalised_edit_distance, tokens=True),
        _of_text("per_token_accuracy", texts.per_token_accuracy, tokens=True),
        _known(
            "bleu", score=texts.bleu, add=lambda e: texts.bleu_statistics(e.outputs, *e.answers)
        ),
        *(
            _of_text(kind, partial(texts.rouge, kind=kind))
            for kind in ("rouge1", "rouge2", "rougeLsum")
        ),
        _mean("correct", lambda e: _numbers(e.table["correct"])),
    )
}  # fmt: skip
"""The metrics that have a name; :func:`named_metrics` also makes metrics out of these."""


def _numbers(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _right(examples: Examples) -> Floats:
    """Return ``correct``, and where it is missing whether the output is a right answer."""
    right = _numbers(examples.table["correct"])
    open_ = np.isnan(right)
    for name in ("output", "targets"):
        open_ &= examples.table[name].is_valid().to_numpy()
    if open_.any():
        matched = Examples(examples.table.filter(pa.array(open_)))
        right[open_] = texts.exact_str_match(matched.outputs, *matched.answers)
    return right[:, None]


def _subset_accuracy(k: int) -> Callable[[Floats], float]:
    return lambda total: float(repeated.subset_accuracy(total[0], total[1], k))


def with_count(value: Floats) -> Floats:
    """Return scores of examples with a column that counts them; NaN counts as no example."""
    return np.array([value, np.where(np.isnan(value), np.nan, 1.0)]).T


def named_metrics(names: Sequence[str]) -> list[Metric]:
    """Return metrics by name.

    Besides the names in :data:`METRICS` there are ``pass@K`` and ``mean_log_pass_rate``, which
    judge all samples of a problem together, ``subset_accuracy_K``, the chance that K examples drawn
    at random are all right, and any mean metric cut at a threshold: ``correct_probability>=0.5``.
    ``logged:NAME`` is the mean of what the samples have under NAME in their column ``metrics``; it
    can be cut as well, and is called NAME.

    Raises:
        InputError: A name is unknown, or two metrics would be called the same.

    Examples:
        >>> [metric.needs for metric in named_metrics(["exact_str_match", "brier_score>=0.25"])]
        [(('output', 'targets'),), (('targets', 'target_logprobs', 'target_values'),)]
        >>> [metric.name for metric in named_metrics(["logged:mean_squared_error<=0.089"])]
        ['mean_squared_error<=0.089']
    """
    found: dict[str, Metric] = {}
    for name in dict.fromkeys(names):
        metric = _named(name)
        if metric.name in found:
            raise InputError(f"two metrics called {metric.name!r}", where="metrics")
        found[metric.name] = metric
    return list(found.values())


def _named(name: str) -> Metric:
    if name in METRICS:
        return METRICS[name]
    if match := re.fullmatch(r"pass@([1-9]\d{0,5})", name):
        k = int(match[1])
        return _known(
            name, add=_right, per_problem=True,
            score=lambda right, total: repeated.pass_at(right, total, k),
        )  # fmt: skip
    if name == "mean_log_pass_rate":
        return _known(
            name, add=_right, per_problem=True, only_solved=True, score=repeated.log_pass_rate
        )
    if match := re.fullmatch(r"subset_accuracy_([1-9]\d{0,5})", name):
        return _known(
            name, add=lambda e: with_count(_right(e)[:, 0]),
            score=_subset_accuracy(int(match[1])),
        )  # fmt: skip
    if logged := name.removeprefix(_LOGGED).strip() if name.startswith(_LOGGED) else "":
        match = re.fullmatch(r"(.+)([<>])=(.+)", logged)
        metric = _logged(match[1] if match else logged)
        return _cut(logged, metric, match) if match else metric
    if (match := re.fullmatch(r"(\w+)([<>])=(.+)", name)) and match[1] in METRICS:
        return _cut(name, METRICS[match[1]], match)
    raise InputError(
        f"{name!r} is not a metric",
        where="metrics",
        hint=f"one of {', '.join(METRICS)}, pass@K, mean_log_pass_rate, subset_accuracy_K, "
        "logged:NAME for a metric that the samples have, or a metric cut at a threshold: "
        "correct_probability>=0.5",
    )


def _logged(name: str) -> Metric:
    """Return the mean of a metric that the samples themselves have."""

    def of(examples: Examples) -> Floats:
        found = pc.map_lookup(examples.table["metrics"], pa.scalar(name), "last")
        return _numbers(found)

    return Metric(
        name=name, needs=(("metrics",),), add=lambda e: with_count(of(e)), score=ratio,
        lacking=f"{name} in metrics",
    )  # fmt: skip


def _cut(name: str, metric: Metric, match: re.Match[str]) -> Metric:
    higher_is_better = match[2] == ">"
    try:
        threshold = float(match[3])
    except ValueError:
        threshold = np.nan
    if not np.isfinite(threshold) or metric.score is not ratio:
        raise InputError(f"{name!r} is not a mean metric with a numeric threshold", where="metrics")

    def add(examples: Examples) -> Floats:
        total, count = metric.add(examples).T
        return with_count(
            repeated.above(total / count, threshold, higher_is_better=higher_is_better)
        )

    return Metric(name=name, needs=metric.needs, add=add, score=ratio, lacking=metric.lacking)
