"""The tasks of the paper's model: what is expected of them, and draws of single examples.

Each class has ``key``, whole numbers that its draws begin from; ``width``, how many numbers an
example needs; ``bounds``, the poor (or chance) and the very good score of each of its series, that
is of each name in the tables and metric; ``correct``, the metric that says whether an example is
right; ``expected``; and ``draw``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from bigbench_meta.generate.mirage import (
    expected_accuracy,
    expected_brier_score,
    expected_multiple_choice_grade,
    expected_token_edit_distance,
    grade_and_brier,
    per_token_probability,
    sample_choices,
    sample_right_tokens,
    sample_rouge_l_sum,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Series = tuple[str, str]
    Bounds = dict[Series, tuple[float, float]]

__all__ = ["ChoiceTask", "Draws", "NextToken", "RougeTask", "StringTask", "Task"]


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Examples of one task answered by one model.

    Attributes:
        scores: Scores of the examples by series, each of shape (n,).
        columns: What else the samples table says of them, by column; empty if not asked for.
    """

    scores: dict[Series, Floats]
    columns: dict[str, pa.Array]


@dataclass(frozen=True)
class NextToken:
    """The next token of a text: the premise of the model, of which there is nothing to draw."""

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
class StringTask:
    """Write a string of so many tokens, each of them right or wrong by itself."""

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

    def draw(self, loss: float, n: int, rng: np.random.Generator, *, texts: bool) -> Draws:
        """Draw examples; both metrics see the same outputs."""
        right = sample_right_tokens(loss, target_length=self.length, n_examples=n, seed=rng)
        wrong = (~right).sum(axis=1)
        scores = self._series((wrong == 0).astype(np.float64), wrong.astype(np.float64))
        return Draws(scores=scores, columns=self._texts(right, loss) if texts else {})

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
class ChoiceTask:
    """Choose among so many options; see :func:`bigbench_meta.generate.mirage.choice_masses`."""

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
        return self._series(
            expected_multiple_choice_grade(
                loss, n_choices=k, concentration=kappa, chance_floor=floor
            ),
            expected_brier_score(loss, n_choices=k, concentration=kappa, chance_floor=floor),
        )

    def draw(self, loss: float, n: int, rng: np.random.Generator, *, texts: bool) -> Draws:
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
        return Draws(scores=scores, columns=self._choices(log_masses) if texts else {})

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
class RougeTask:
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
        string, m = StringTask(self.length).name, self.n_references
        if m == 1:  # the two readings are one
            return {(f"{string}, 1 reference", "rougeLsum"): best}
        return {
            (f"{string}, best of {m} references", "rougeLsum"): best,
            (f"{string}, all of {m} references", "rougeLsum"): union,
        }

    def draw(self, loss: float, n: int, rng: np.random.Generator, *, texts: bool) -> Draws:
        """Draw examples; both readings see the same outputs and references."""
        draws = sample_rouge_l_sum(
            loss,
            target_length=self.length,
            n_references=self.n_references,
            n_examples=n,
            seed=rng,
        )
        columns = self._texts(draws.output, draws.references) if texts else {}
        return Draws(scores=self._series(draws.best, draws.union), columns=columns)

    def _texts(self, output: Ints, references: Ints) -> dict[str, pa.Array]:
        lines = references.reshape(-1, self.length)
        return {
            "targets": _lists([_text(row) for row in lines], self.n_references, pa.string()),
            "output": pa.array([_text(row) for row in output], pa.string()),
        }


Task: TypeAlias = StringTask | ChoiceTask | RougeTask


def _text(tokens: Ints) -> str:
    return " ".join(f"w{token}" for token in tokens.tolist())


def _lists(
    values: Sequence[str] | Sequence[float] | Floats, size: int, kind: pa.DataType
) -> pa.Array:
    """Return a column of lists of one size."""
    flat = pa.array(values, kind)
    return pa.ListArray.from_arrays(pa.array(range(0, len(flat) + 1, size), pa.int32()), flat)
