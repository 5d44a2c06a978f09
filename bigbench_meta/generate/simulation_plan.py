"""What is simulated: models, tasks and examples, checked and with their defaults."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np

from bigbench_meta.core.checks import at_least, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.mirage import (
    DEFAULT_ALPHA,
    DEFAULT_C,
    DEFAULT_CONCENTRATION,
    checked_concentration,
    per_token_loss,
)
from bigbench_meta.generate.simulated_tasks import ChoiceTask, RougeTask, StringTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.generate.simulated_tasks import Draws, Task

    Floats = NDArray[np.float64]

__all__ = ["DEFAULT_CHOICES", "DEFAULT_LENGTHS", "DEFAULT_SCALES", "MAX_EXAMPLES", "ROUGE_LENGTHS",
           "ROUGE_REFERENCES", "Plan", "Setting", "checked_count", "make_plan"]  # fmt: skip

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

# Most tokens of a target, choices, or references. ROUGE is quadratic in the first.
_LONGEST: Final = {"target_lengths": 10_000, "n_choices": 10_000, "rouge_lengths": 1000,
                   "n_references": 100}  # fmt: skip
# Numbers drawn at a time, so that memory does not grow with the length of a target.
_BLOCK: Final = 1 << 17
# Whole numbers up to here are exact as floats.
_LARGEST: Final = 2**53


class Setting(TypedDict, total=False):
    """The arguments of :func:`bigbench_meta.simulate` that say which models and which tasks."""

    alpha: float
    c: float
    target_lengths: Sequence[int]
    n_choices: Sequence[int]
    concentrations: Sequence[float]
    chance_floor: bool
    rouge_lengths: Sequence[int]
    n_references: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Plan:
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
    tasks: list[Task]
    entropy: int

    def draw(
        self, task: Task, model: int, n: int, *, texts: bool = False, common: bool = False
    ) -> Iterator[Draws]:
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


def make_plan(scales: ArrayLike, seed: int | np.random.Generator, setting: Setting) -> Plan:
    """Check what is asked for and fill in the defaults.

    Args:
        scales: Model sizes in parameters.
        seed: Seed, or generator that one is drawn from.
        setting: Models and tasks.

    Raises:
        InputError: An argument is out of its range.
    """
    alpha, c = setting.get("alpha", DEFAULT_ALPHA), setting.get("c", DEFAULT_C)
    sizes = _sizes(scales)
    return Plan(
        family=f"alpha = {alpha:.12g}, c = {c:.12g}",
        sizes=sizes,
        models=_names(sizes),
        loss=per_token_loss(sizes, alpha=alpha, c=c),
        tasks=_tasks(setting),
        entropy=_entropy(seed),
    )


def checked_count(n_examples: int) -> int:
    """Return a number of examples if it is one that can be drawn.

    Args:
        n_examples: The number.

    Raises:
        InputError: It is no whole number from 1 to a million.
    """
    n = int(whole(n_examples, 1, "n_examples"))
    if n > MAX_EXAMPLES:
        raise InputError(f"{n:,} is more than {MAX_EXAMPLES:,}", where="n_examples")
    return n


def _tasks(setting: Setting) -> list[Task]:
    floor = setting.get("chance_floor", False)
    lengths = _counts(setting.get("target_lengths", DEFAULT_LENGTHS), 1, "target_lengths")
    choices = _counts(setting.get("n_choices", DEFAULT_CHOICES), 2, "n_choices")
    kappas = checked_concentration(setting.get("concentrations", (DEFAULT_CONCENTRATION,)))
    rouge = _counts(setting.get("rouge_lengths", ()), 1, "rouge_lengths")
    references = _counts(setting.get("n_references", ROUGE_REFERENCES), 1, "n_references")
    tasks: list[Task] = [StringTask(length) for length in lengths]
    tasks += [ChoiceTask(k, float(kappa), floor) for k in choices for kappa in np.unique(kappas)]
    tasks += [RougeTask(length, m) for length in rouge for m in references]
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
        raise InputError(f"{seed!r} is no generator and no whole number from 0 on", where="seed")
    return entropy
