"""Observations and samples of models that follow the paper's mathematical model.

Everything that reads results can read these: :func:`bigbench_meta.build_curves` and
:func:`bigbench_meta.score_curves` run on them as on any other observations.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypedDict, TypeVar, Unpack

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.core.checks import at_least, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES, conform, to_frame
from bigbench_meta.generate.mirage import (
    DEFAULT_ALPHA,
    DEFAULT_C,
    expected_accuracy,
    expected_token_edit_distance,
    per_token_loss,
    per_token_probability,
    sample_right_tokens,
)
from bigbench_meta.generate.multiple_choice import (
    DEFAULT_CONCENTRATION,
    checked_concentration,
    expected_brier_score,
    expected_multiple_choice_grade,
    grade_and_brier,
    sample_choices,
)
from bigbench_meta.generate.rouge import sample_rouge_l_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Series = tuple[str, str]
    Bounds = dict[Series, tuple[float, float]]
    Progress = Callable[[int, int], None]

__all__ = [
    "BENCHMARK",
    "DEFAULT_CHOICES",
    "DEFAULT_LENGTHS",
    "DEFAULT_SCALES",
    "MAX_EXAMPLES",
    "MAX_SAMPLED_TOKENS",
    "ROUGE_DRAWS",
    "ROUGE_LENGTHS",
    "ROUGE_REFERENCES",
    "Setting",
    "samples_table",
    "simulate",
    "simulate_samples",
]

T = TypeVar("T")

DEFAULT_LENGTHS: Final = (1, 5, 10, 20, 36)
"""Target lengths: 5 from the legend of Fig. 2, 20 and 36 from that of Fig. 9; 1 and 10 are ours."""

DEFAULT_CHOICES: Final = (2, 4)
"""Numbers of choices: 2 from the legend of Fig. 2; 4 is ours."""

DEFAULT_SCALES: Final = tuple(float(size) for size in np.geomspace(1e9, 1e11, 8).round())
"""Model sizes: 1e9 to 1e11 is the axis of Fig. 2; eight of them, as many as GPT-3 has, is ours."""

ROUGE_LENGTHS: Final = (4, 20, 36)
"""Target lengths in the legend of Fig. 9."""

ROUGE_REFERENCES: Final = (1, 4, 7)
"""Numbers of references in the legend of Fig. 9."""

MAX_EXAMPLES: Final = 1_000_000
"""Most examples of a task: a mean of so many has no sampling error left that one could see."""

BENCHMARK: Final = "simulation"
"""Value of ``benchmark`` in the tables."""

ROUGE_DRAWS: Final = 1000
"""Examples behind an "expected" ROUGE-L-Sum, which has no closed form."""

MAX_SAMPLED_TOKENS: Final = 50_000_000
"""Most tokens and choices of a samples table, which is held in memory."""


# Most tokens of a target, choices, or references. ROUGE is quadratic in the first.
_LONGEST: Final = {"target_lengths": 10_000, "n_choices": 10_000, "rouge_lengths": 1000,
                   "n_references": 100}  # fmt: skip
# Numbers drawn at a time, so that memory does not grow with the length of a target.
_BLOCK: Final = 1 << 17
# Whole numbers up to here are exact as floats.
_LARGEST: Final = 2**53


class Setting(TypedDict, total=False):
    """The arguments of :func:`bigbench_meta.simulate` that name the models and the tasks."""

    alpha: float
    c: float
    target_lengths: Sequence[int]
    n_choices: Sequence[int]
    concentrations: Sequence[float]
    chance_floor: bool
    rouge_lengths: Sequence[int]
    n_references: Sequence[int]


def simulate(
    *,
    scales: ArrayLike = DEFAULT_SCALES,
    n_examples: int | None = None,
    seed: int | np.random.Generator = 0,
    progress: Progress | None = None,
    **setting: Unpack[Setting],
) -> pd.DataFrame:
    """Return observations of models of the given sizes, expected or sampled.

    Args:
        scales: Model sizes in parameters, rounded to whole ones, no two alike.
        n_examples: Examples of each task's test set, answered by each model; None for expected
            scores.
        seed: Seed, or generator that one is drawn from. A score depends on the seed, its task and
            its model's size, and not on what else is simulated.
        progress: Called with (tasks done, tasks to do).
        **setting: ``alpha`` and ``c`` of the loss (:func:`per_token_loss`);
            ``target_lengths`` in tokens; ``n_choices`` and ``concentrations``, every pair of which
            is a task, and ``chance_floor``
            (:func:`bigbench_meta.generate.multiple_choice.choice_masses`);
            ``rouge_lengths`` in tokens and ``n_references``, every pair of which is a task. By
            default those of this module, and no ROUGE, which is slow.

    Returns:
        An observations table. ``model_family`` names alpha and c, ``total_params`` is the size,
        ``low_score`` is chance or poor and ``high_score`` very good. Expected scores have variant
        ``expected`` and no ``n_examples`` or ``stderr``, except ROUGE-L-Sum, which is a mean over
        1,000 examples drawn with the same random numbers for all models. Sampled scores have
        variant ``100 examples`` (say) and the seed as ``replicate``, and ``stderr`` is the sample
        standard deviation over sqrt(n): missing for one example, and 0 where all examples score
        the same, which is no reason to believe it. The loss and the per-token probability, task
        ``next token``, are always expected.

    Raises:
        InputError: An argument is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2, App. A, Figs. 2 and 9.

    Examples:
        >>> from bigbench_meta import build_curves, score_curves
        >>> observations = simulate(target_lengths=[1, 10], n_choices=[])
        >>> scores = score_curves(build_curves(observations))
        >>> exact = scores[scores["metric"] == "exact_str_match"]
        >>> dict(zip(exact["task"], exact["emergence_score"].round(1)))
        {'1 token': 6.7, '10 tokens': 491.8}
    """
    plan = _plan(scales, seed, setting)
    n = None if n_examples is None else _count(n_examples)
    premise = _NextToken()
    expected = {"variant": "expected"}
    rows = _rows(plan, premise.bounds, premise.expected(plan.loss), expected)
    for number, task in enumerate(plan.tasks):
        if n is not None:
            rows += _means(plan, task, n, _run(plan, n), common=False)
        elif isinstance(task, _RougeTask):
            # One set of random numbers: a larger model is right wherever a smaller one is.
            rows += _means(plan, task, ROUGE_DRAWS, expected, common=True)
        else:
            rows += _rows(plan, task.bounds, task.expected(plan.loss), expected)
        if progress:
            progress(number + 1, len(plan.tasks))
    return to_frame(conform(pd.DataFrame(rows), OBSERVATIONS))


def simulate_samples(
    *,
    n_examples: int,
    scales: ArrayLike = DEFAULT_SCALES,
    seed: int | np.random.Generator = 0,
    progress: Progress | None = None,
    **setting: Unpack[Setting],
) -> pd.DataFrame:
    """Return every example that :func:`simulate` averages if it is given the same arguments.

    Args:
        n_examples: Examples of each task's test set, answered by each model.
        scales: Model sizes in parameters.
        seed: Seed, or generator that one is drawn from.
        progress: Called with (tasks done, tasks to do).
        **setting: As of :func:`simulate`.

    Returns:
        A samples table. ``metrics`` has every metric of the example, and ``correct`` the exact
        match or the grade. A string comes with its target and the output, a wrong token being one
        that the target lacks; a choice with the log-probability of each option, the right one
        first; a ROUGE-L-Sum with its references as targets.

    Raises:
        InputError: An argument is out of its range, or the samples would have more than 50 million
            tokens.

    Examples:
        >>> samples = simulate_samples(
        ...     n_examples=2, scales=[1e10], target_lengths=[3], n_choices=[]
        ... )
        >>> samples[["output", "correct"]].to_dict("records")
        [{'output': 'w3 w1 w2', 'correct': 0.0}, {'output': 'w0 w4 w5', 'correct': 0.0}]
    """
    return to_frame(
        samples_table(n_examples=n_examples, scales=scales, seed=seed, progress=progress, **setting)
    )


def samples_table(
    *,
    n_examples: int,
    scales: ArrayLike = DEFAULT_SCALES,
    seed: int | np.random.Generator = 0,
    progress: Progress | None = None,
    **setting: Unpack[Setting],
) -> pa.Table:
    """Return the samples of :func:`simulate_samples`, with its arguments, as an Arrow table.

    Examples:
        >>> samples_table(n_examples=2, scales=[1e9, 1e10], n_choices=[2]).num_rows
        24
    """
    plan, n = _plan(scales, seed, setting), _count(n_examples)
    total = n * len(plan.sizes) * sum(task.width for task in plan.tasks)
    if total > MAX_SAMPLED_TOKENS:
        raise InputError(
            f"samples of {total:,} tokens and choices are more than {MAX_SAMPLED_TOKENS:,}",
            where="n_examples",
            hint="fewer examples, model sizes or tasks; simulate has no such limit",
        )
    tables = [SAMPLES.empty()]
    for number, task in enumerate(plan.tasks):
        for model in range(len(plan.sizes)):
            start = 0
            for draws in plan.draw(task, model, n, texts=True):
                tables += _samples(plan, task, model, start, draws, _run(plan, n))
                start += len(tables[-1])
        if progress:
            progress(number + 1, len(plan.tasks))
    return pa.concat_tables(tables)


def _run(plan: _Plan, n: int) -> dict[str, str]:
    """Return the columns that identify a sampled run."""
    return {"variant": f"{n} examples", "replicate": f"seed {plan.entropy}"}


def _rows(
    plan: _Plan,
    bounds: Mapping[Series, tuple[float, float]],
    scores: Mapping[Series, Floats],
    constant: Mapping[str, Any],
    stderr: Mapping[Series, Floats] | None = None,
) -> list[dict[str, Any]]:
    """Return observations of one task; scores by series, each of shape (models,)."""
    return [
        {
            "benchmark": BENCHMARK,
            "task": series[0],
            "metric": series[1],
            "model_family": plan.family,
            "model_name": plan.models[model],
            "total_params": plan.sizes[model],
            "score": score,
            "stderr": stderr[series][model] if stderr else np.nan,
            "low_score": bounds[series][0],
            "high_score": bounds[series][1],
            **constant,
        }
        for series, values in scores.items()
        for model, score in enumerate(values.tolist())
    ]


def _means(
    plan: _Plan, task: _Task, n: int, constant: Mapping[str, Any], *, common: bool
) -> list[dict[str, Any]]:
    """Return observations of one task that are means over examples."""
    mean = {series: np.empty(len(plan.sizes)) for series in task.bounds}
    stderr = {series: np.full(len(plan.sizes), np.nan) for series in task.bounds}
    for model in range(len(plan.sizes)):
        blocks = [draws.scores for draws in plan.draw(task, model, n, common=common)]
        for series in task.bounds:
            values = np.concatenate([block[series] for block in blocks])
            mean[series][model] = values.mean()
            if n > 1:
                stderr[series][model] = values.std(ddof=1) / np.sqrt(n)
    return _rows(plan, task.bounds, mean, {"n_examples": n, **constant}, stderr)


def _samples(
    plan: _Plan, task: _Task, model: int, start: int, draws: _Draws, run: Mapping[str, str]
) -> Iterator[pa.Table]:
    """Yield a block of examples, the first of which is the start-th, for each name of the task."""
    for name in dict.fromkeys(name for name, _ in draws.scores):
        metrics = [metric for series, metric in draws.scores if series == name]
        values = np.stack([draws.scores[name, metric] for metric in metrics], axis=1)
        size = len(values)
        texts = {
            "benchmark": BENCHMARK,
            "task": name,
            "subtask": name,
            "model_family": plan.family,
            "model_name": plan.models[model],
            **run,
        }
        columns: dict[str, Any] = {
            **{column: pa.repeat(text, size) for column, text in texts.items()},
            "total_params": pa.repeat(plan.sizes[model], size),
            "example_id": pa.array([str(number) for number in range(start, start + size)]),
            "metrics": pa.MapArray.from_arrays(
                pa.array(range(0, size * len(metrics) + 1, len(metrics)), pa.int32()),
                pa.array(metrics * size),
                pa.array(values.ravel()),
            ),
            **draws.columns,
        }
        if task.correct:
            columns["correct"] = pa.array(draws.scores[name, task.correct])
        yield conform(pa.table(columns), SAMPLES)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is simulated.

    Attributes:
        family: What the models have in common, as ``model_family``.
        sizes: Size of each model, in parameters.
        models: Name of each model.
        loss: Per-token cross entropy of each model, nats.
        tasks: The tasks.
        entropy: What all draws begin from.
    """

    family: str
    sizes: list[int]
    models: list[str]
    loss: Floats
    tasks: list[_Task]
    entropy: int

    def draw(
        self, task: _Task, model: int, n: int, *, texts: bool = False, common: bool = False
    ) -> Iterator[_Draws]:
        """Draw examples of one task answered by one model, a block at a time.

        Args:
            task: The task.
            model: Number of the model.
            n: How many examples.
            texts: Whether to draw what only the samples table has.
            common: Whether all models get the same random numbers.
        """
        own = [] if common else [self.sizes[model]]
        # Its own stream for each task and model: what else is simulated makes no difference.
        rng = np.random.default_rng(np.random.SeedSequence([self.entropy, *task.key, *own]))
        block = max(1, _BLOCK // task.width)
        for start in range(0, n, block):
            yield task.draw(float(self.loss[model]), min(block, n - start), rng, texts=texts)


def _plan(scales: ArrayLike, seed: int | np.random.Generator, setting: Setting) -> _Plan:
    """Check what is asked for and fill in the defaults."""
    alpha, c = setting.get("alpha", DEFAULT_ALPHA), setting.get("c", DEFAULT_C)
    sizes = _sizes(scales)
    return _Plan(
        family=f"alpha = {alpha:.12g}, c = {c:.12g}",
        sizes=sizes,
        models=_names(sizes),
        loss=per_token_loss(sizes, alpha=alpha, c=c),
        tasks=_tasks(setting),
        entropy=_entropy(seed),
    )


def _count(n_examples: int) -> int:
    """Return the number of examples, or refuse one that is too large to draw."""
    n = int(whole(n_examples, 1, "n_examples"))
    if n > MAX_EXAMPLES:
        raise InputError(f"{n:,} is more than {MAX_EXAMPLES:,}", where="n_examples")
    return n


def _tasks(setting: Setting) -> list[_Task]:
    floor = setting.get("chance_floor", False)
    lengths = _counts(setting.get("target_lengths", DEFAULT_LENGTHS), 1, "target_lengths")
    choices = _counts(setting.get("n_choices", DEFAULT_CHOICES), 2, "n_choices")
    kappas = checked_concentration(setting.get("concentrations", (DEFAULT_CONCENTRATION,)))
    rouge = _counts(setting.get("rouge_lengths", ()), 1, "rouge_lengths")
    references = _counts(setting.get("n_references", ROUGE_REFERENCES), 1, "n_references")
    tasks: list[_Task] = [_StringTask(length) for length in lengths]
    tasks += [_ChoiceTask(k, float(kappa), floor) for k in choices for kappa in np.unique(kappas)]
    tasks += [_RougeTask(length, m) for length in rouge for m in references]
    return tasks


def _counts(values: ArrayLike, lowest: int, where: str) -> list[int]:
    """Return ascending whole numbers without repetition."""
    counts = np.unique(whole(values, lowest, where))
    if (most := counts.max(initial=0)) > _LONGEST[where]:
        raise InputError(f"{most:,.0f} is more than {_LONGEST[where]:,}", where=where)
    return [int(count) for count in counts]


def _sizes(scales: ArrayLike) -> list[int]:
    sizes = np.rint(np.atleast_1d(at_least(scales, 1, "scales"))).ravel()
    if not len(sizes):
        raise InputError("no model size", where="scales")
    if sizes.max() > _LARGEST:
        raise InputError(f"{sizes.max():g} is more than 2^53 parameters", where="scales")
    values, counts = np.unique(sizes, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"two models of {values[counts > 1][0]:,.0f} parameters", where="scales")
    return [int(size) for size in sizes]


def _names(sizes: list[int]) -> list[str]:
    """Return short names of models, all different: sizes have at most 16 digits."""
    names: list[str] = []
    for digits in range(3, 17):
        names = [f"{size:.{digits}g}" for size in sizes]
        if len(set(names)) == len(sizes):
            break
    return names


def _entropy(seed: int | np.random.Generator) -> int:
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**62))
    try:
        entropy = operator.index(seed)
    except TypeError:
        entropy = -1
    if entropy < 0:
        raise InputError(
            f"{seed!r} is neither a generator nor a whole number of at least 0", where="seed"
        )
    return entropy


# The tasks. Each class has ``key``, whole numbers that its draws begin from; ``width``, how many
# numbers an example needs; ``bounds``, the poor (or chance) and the very good score of each of its
# series, that is of each name in the tables and metric; ``correct``, the metric that says whether
# an example is right; ``expected``; and ``draw``.


@dataclass(frozen=True, kw_only=True)
class _Draws:
    """Examples of one task answered by one model.

    Attributes:
        scores: Scores of the examples by series, each of shape (n,).
        columns: Further columns of the samples table, by name; empty if not asked for.
    """

    scores: dict[Series, Floats]
    columns: dict[str, pa.Array]


@dataclass(frozen=True)
class _NextToken:
    """The next token of a text: the model's assumption, so nothing is drawn."""

    name: ClassVar[str] = "next token"
    bounds: ClassVar[Bounds] = {
        (name, "cross_entropy"): (np.nan, 0.0),
        (name, "token_accuracy"): (0.0, 1.0),
    }

    def expected(self, loss: Floats) -> dict[Series, Floats]:
        """Return the loss itself and the probability of a right token."""
        probability = per_token_probability(loss)
        return {(self.name, "cross_entropy"): loss, (self.name, "token_accuracy"): probability}


@dataclass(frozen=True)
class _StringTask:
    """Write a string of a given length, each token right or wrong independently of the others."""

    length: int
    correct: ClassVar[str | None] = "exact_str_match"

    @property
    def name(self) -> str:
        """Name in the tables."""
        return f"{self.length} token{'s' * (self.length != 1)}"

    @property
    def key(self) -> tuple[int, ...]:
        """What the draws of the task begin from."""
        return 1, self.length

    @property
    def width(self) -> int:
        """Numbers that one example needs."""
        return self.length

    @property
    def bounds(self) -> Bounds:
        """Poor and very good scores."""
        return self._series((0.0, 1.0), (float(self.length), 0.0))

    def _series(self, exact: T, edits: T) -> dict[Series, T]:
        return {
            (self.name, "exact_str_match"): exact,
            (self.name, "token_edit_distance"): edits,
        }

    def expected(self, loss: Floats) -> dict[Series, Floats]:
        """Return expected scores by series, each of the shape of the losses."""
        return self._series(
            expected_accuracy(loss, target_length=self.length),
            expected_token_edit_distance(loss, target_length=self.length),
        )

    def draw(self, loss: float, n: int, rng: np.random.Generator, *, texts: bool) -> _Draws:
        """Draw examples; both metrics see the same outputs."""
        right = sample_right_tokens(loss, target_length=self.length, n_examples=n, seed=rng)
        wrong = (~right).sum(axis=1)
        scores = self._series((wrong == 0).astype(np.float64), wrong.astype(np.float64))
        return _Draws(scores=scores, columns=self._texts(right, loss) if texts else {})

    def _texts(self, right: Bools, loss: float) -> dict[str, pa.Array]:
        tokens = np.arange(self.length)
        # A wrong token is none of the target's, so that an edit is a substitution.
        output = np.where(right, tokens, tokens + self.length)
        return {
            "targets": _lists([_text(tokens)] * len(right), 1, pa.string()),
            "target_logprobs": _lists([-self.length * loss] * len(right), 1, pa.float64()),
            "output": pa.array([_text(row) for row in output], pa.string()),
        }


@dataclass(frozen=True)
class _ChoiceTask:
    """Choose among several options whose mean masses :func:`choice_masses` gives."""

    n_choices: int
    concentration: float
    chance_floor: bool
    correct: ClassVar[str | None] = "multiple_choice_grade"

    @property
    def name(self) -> str:
        """Name in the tables."""
        floor = ", from chance" if self.chance_floor else ""
        return f"{self.n_choices} choices, concentration {self.concentration:.12g}{floor}"

    @property
    def key(self) -> tuple[int, ...]:
        """What the draws of the task begin from."""
        bits = int(np.float64(self.concentration).view(np.uint64))
        return 2, self.n_choices, int(self.chance_floor), bits

    @property
    def width(self) -> int:
        """Numbers that one example needs."""
        return self.n_choices

    @property
    def bounds(self) -> Bounds:
        """Chance and very good scores."""
        chance = 1 / self.n_choices
        return self._series((chance, 1.0), (1 - chance, 0.0))

    def _series(self, grade: T, brier: T) -> dict[Series, T]:
        return {
            (self.name, "multiple_choice_grade"): grade,
            (self.name, "brier_score"): brier,
        }

    def expected(self, loss: Floats) -> dict[Series, Floats]:
        """Return expected scores by series, each of the shape of the losses."""
        k, kappa, floor = self.n_choices, self.concentration, self.chance_floor
        grade, brier = (
            of(loss, n_choices=k, concentration=kappa, chance_floor=floor)
            for of in (expected_multiple_choice_grade, expected_brier_score)
        )
        return self._series(grade, brier)

    def draw(self, loss: float, n: int, rng: np.random.Generator, *, texts: bool) -> _Draws:
        """Draw examples; both metrics see the same masses."""
        log_masses = sample_choices(
            loss,
            n_choices=self.n_choices,
            n_examples=n,
            concentration=self.concentration,
            chance_floor=self.chance_floor,
            seed=rng,
        )
        scores = self._series(*grade_and_brier(log_masses))
        return _Draws(scores=scores, columns=self._choices(log_masses) if texts else {})

    def _choices(self, log_masses: Floats) -> dict[str, pa.Array]:
        n, k = log_masses.shape
        names = [f"choice {number}" for number in range(k)]
        worth = [1.0] + [0.0] * (k - 1)
        return {
            "targets": _lists(names * n, k, pa.string()),
            "target_values": _lists(worth * n, k, pa.float64()),
            "target_logprobs": _lists(log_masses.ravel(), k, pa.float64()),
        }


@dataclass(frozen=True)
class _RougeTask:
    """Write a text that is compared with several references, by ROUGE-L-Sum in two readings."""

    length: int
    n_references: int
    correct: ClassVar[str | None] = None

    @property
    def key(self) -> tuple[int, ...]:
        """What the draws of the task begin from."""
        return 3, self.length, self.n_references

    @property
    def width(self) -> int:
        """Numbers that one example needs."""
        return self.length * self.n_references

    @property
    def bounds(self) -> Bounds:
        """Poor and very good scores; one line against several can have no more than the latter."""
        return self._series((0.0, 100.0), (0.0, 200 / (self.n_references + 1)))

    def _series(self, best: T, union: T) -> dict[Series, T]:
        string, m = _StringTask(self.length).name, self.n_references
        if m == 1:  # the two readings are one
            return {(f"{string}, 1 reference", "rougeLsum"): best}
        return {
            (f"{string}, best of {m} references", "rougeLsum"): best,
            (f"{string}, all of {m} references", "rougeLsum"): union,
        }

    def draw(self, loss: float, n: int, rng: np.random.Generator, *, texts: bool) -> _Draws:
        """Draw examples; both readings see the same outputs and references."""
        draws = sample_rouge_l_sum(
            loss,
            target_length=self.length,
            n_references=self.n_references,
            n_examples=n,
            seed=rng,
        )
        columns = self._texts(draws.output, draws.references) if texts else {}
        return _Draws(scores=self._series(draws.best, draws.union), columns=columns)

    def _texts(self, output: Ints, references: Ints) -> dict[str, pa.Array]:
        lines = references.reshape(-1, self.length)
        return {
            "targets": _lists([_text(row) for row in lines], self.n_references, pa.string()),
            "output": pa.array([_text(row) for row in output], pa.string()),
        }


_Task: TypeAlias = _StringTask | _ChoiceTask | _RougeTask


def _text(tokens: Ints) -> str:
    return " ".join(f"w{token}" for token in tokens.tolist())


def _lists(
    values: Sequence[str] | Sequence[float] | Floats, size: int, kind: pa.DataType
) -> pa.Array:
    """Return a column of lists of one size."""
    flat = pa.array(values, kind)
    return pa.ListArray.from_arrays(pa.array(range(0, len(flat) + 1, size), pa.int32()), flat)
