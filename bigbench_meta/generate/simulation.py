"""The paper's model as tables: observations and samples of models that never were.

Everything that reads results can read these: :func:`bigbench_meta.build_curves` and
:func:`bigbench_meta.score_curves` run on them as on any other observations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES, conform, to_frame
from bigbench_meta.generate.simulated_tasks import NextToken, RougeTask
from bigbench_meta.generate.simulation_plan import (
    DEFAULT_CHOICES,
    DEFAULT_LENGTHS,
    DEFAULT_SCALES,
    MAX_EXAMPLES,
    ROUGE_LENGTHS,
    ROUGE_REFERENCES,
    Plan,
    Setting,
    checked_count,
    make_plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.generate.simulated_tasks import Draws, Series, Task

    Floats = NDArray[np.float64]
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

BENCHMARK: Final = "simulation"
"""Value of ``benchmark`` in the tables."""

ROUGE_DRAWS: Final = 1000
"""Examples behind an "expected" ROUGE-L-Sum, which has no closed form."""

MAX_SAMPLED_TOKENS: Final = 50_000_000
"""Most tokens and choices of a samples table, which is held in memory."""


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
            is a task, and ``chance_floor`` (:func:`bigbench_meta.generate.mirage.choice_masses`);
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
    plan = make_plan(scales, seed, setting)
    n = None if n_examples is None else checked_count(n_examples)
    premise = NextToken()
    expected = {"variant": "expected"}
    rows = _rows(plan, premise.bounds, premise.expected(plan.loss), expected)
    for number, task in enumerate(plan.tasks):
        if n is not None:
            rows += _means(plan, task, n, _run(plan, n), common=False)
        elif isinstance(task, RougeTask):
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
    """Return what :func:`simulate_samples` returns as an Arrow table, which Parquet can hold.

    Args:
        n_examples: Examples of each task's test set, answered by each model.
        scales: Model sizes in parameters.
        seed: Seed, or generator that one is drawn from.
        progress: Called with (tasks done, tasks to do).
        **setting: As of :func:`simulate`.

    Returns:
        A samples table.

    Raises:
        InputError: An argument is out of its range, or the samples would have more than 50 million
            tokens.

    Examples:
        >>> samples_table(n_examples=2, scales=[1e9, 1e10], n_choices=[2]).num_rows
        24
    """
    plan, n = make_plan(scales, seed, setting), checked_count(n_examples)
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


def _run(plan: Plan, n: int) -> dict[str, str]:
    """Return the columns that tell one sampled run from another."""
    return {"variant": f"{n} examples", "replicate": f"seed {plan.entropy}"}


def _rows(
    plan: Plan,
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
    plan: Plan, task: Task, n: int, constant: Mapping[str, Any], *, common: bool
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
    plan: Plan, task: Task, model: int, start: int, draws: Draws, run: Mapping[str, str]
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
