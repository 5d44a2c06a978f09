"""Transformers that add and multiply: the questions of the paper's section 3, tokens are digits.

- Operands are whole numbers from 0 to 10^d - 1 as in the tasks for lm-evaluation-harness
  (:mod:`bigbench_meta.generate.lm_eval_tasks`), and each length of the right answer is a subtask.
- The split is by unordered pair: of 3 + 4 and 4 + 3 both are held out or none, because a model
  trained on one of them knows the other. A fifth of the pairs is held out, by a hash.
- Test questions of a length are drawn without replacement from its held-out pairs, or are all of
  them where there are no more than asked for.
- Operands are written with leading zeros, the answer without, then an end token. The loss is the
  mean cross-entropy of the answer's tokens and the end token, in nats per token.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.generate.lm_eval_tasks import ADDITION, MULTIPLICATION, Stratum
from bigbench_meta.generate.trained.families import Trained
from bigbench_meta.generate.trained.training import Recipe, fit, in_batches, n_parameters
from bigbench_meta.generate.trained.transformer import Layers, matrix
from bigbench_meta.metrics.texts import exact_str_match, token_edit_distance

if TYPE_CHECKING:
    from jaxtyping import Array
    from numpy.typing import NDArray

    from bigbench_meta.generate.lm_eval_tasks import Operation
    from bigbench_meta.generate.trained.plan import Unit

    Ints = NDArray[np.int64]
    Tokens = NDArray[np.int32]

__all__ = ["FAMILIES", "Questions", "describe", "is_held_out", "train"]

FAMILIES: Final = ("addition", "multiplication")
"""The families of the study."""

_OPERATIONS: Final = {"addition": ADDITION, "multiplication": MULTIPLICATION}
_SYMBOLS: Final = {"addition": "+", "multiplication": "*"}
_OPERATOR, _EQUALS, _END, _PAD = 10, 11, 12, 13
_N_TOKENS: Final = 14
_SHARE_HELD_OUT: Final = 0.2
_DATA_SEED: Final = 20230428
# How many digits the operands of a training question have: short ones more often than in numbers
# drawn at random, of which nine in ten have four digits.
_OPERAND_LENGTHS: Final = {"addition": (0.1, 0.15, 0.25, 0.5), "multiplication": (0.1, 0.9)}
_LAYERS: Final = 2
# Parts of the training after each of which a model is scored, on some questions.
_PARTS: Final = 10
_CHECKPOINT_QUESTIONS: Final = 100


def describe(data: str) -> str:
    """Return what the models learn from.

    Raises:
        InputError: Data are given: the questions are made.
    """
    if data:
        raise InputError("arithmetic takes no data", where="data")
    return "sums and products of numbers made here"


def is_held_out(first: Ints, second: Ints, operation: Operation) -> NDArray[np.bool_]:
    """Return which pairs of operands are never trained on, the same in either order.

    Args:
        first: First operands, shape (n,).
        second: Second operands, shape (n,).
        operation: The operation.

    Returns:
        Truth values, shape (n,); a fifth of all unordered pairs is true.

    Examples:
        >>> is_held_out(np.array([3, 4]), np.array([4, 3]), MULTIPLICATION).tolist()
        [False, False]
    """
    pair = np.minimum(first, second) * 10**operation.digits + np.maximum(first, second)
    # Mixing of SplitMix64 (Steele, Lea and Flood 2014), so that neighbours are unrelated.
    mixed = pair.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    held_out: NDArray[np.bool_] = mixed < np.uint64(int(_SHARE_HELD_OUT * 2**64))
    return held_out


@dataclass(frozen=True)
class Questions:
    """Questions of one operation.

    Attributes:
        operation: Name of the operation.
        first: First operands, shape (n,).
        second: Second operands, shape (n,).
    """

    operation: str
    first: Ints
    second: Ints

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.first)

    @cached_property
    def answers(self) -> Ints:
        """The right answers, shape (n,)."""
        return (
            self.first + self.second if self.operation == "addition" else (self.first * self.second)
        )

    @cached_property
    def texts(self) -> list[str]:
        """The right answers in digits."""
        return [str(answer) for answer in self.answers.tolist()]

    @cached_property
    def tokens(self) -> Tokens:
        """Prompt, answer, end and padding, shape (n, length)."""
        operation = _OPERATIONS[self.operation]
        d = operation.digits
        start, longest = 2 * d + 2, operation.lengths[-1]
        found = np.full((len(self), start + longest + 1), _PAD, dtype=np.int32)
        for place in range(d):
            found[:, place] = self.first // 10 ** (d - 1 - place) % 10
            found[:, d + 1 + place] = self.second // 10 ** (d - 1 - place) % 10
        found[:, d], found[:, start - 1] = _OPERATOR, _EQUALS
        length = np.array([len(text) for text in self.texts])
        for place in range(longest):
            inside = place < length
            power = 10 ** np.maximum(length - 1 - place, 0)
            found[inside, start + place] = (self.answers // power % 10)[inside]
        found[np.arange(len(self)), start + length] = _END
        return found

    def take(self, rows: Ints) -> Questions:
        """Return some of the questions."""
        return Questions(self.operation, self.first[rows], self.second[rows])


@cache
def _test_questions(family: str, n: int) -> Questions:
    """Return the held-out questions of every length, at most n of one."""
    operation = _OPERATIONS[family]
    pairs: list[tuple[int, int]] = []
    for length in operation.lengths:
        stratum = Stratum(operation, length)
        rng = np.random.default_rng([_DATA_SEED, FAMILIES.index(family), length])
        # Enough places that n of them are held out; all where there are few.
        size = min(stratum.n_pairs, int(2 * n / _SHARE_HELD_OUT))
        drawn = stratum.pairs(rng.choice(stratum.n_pairs, size=size, replace=False))
        first, second = np.array(drawn, dtype=np.int64).T
        chosen = np.flatnonzero(is_held_out(first, second, operation))[:n]
        pairs += [drawn[row] for row in chosen.tolist()]
    first, second = np.array(pairs, dtype=np.int64).T
    return Questions(family, first, second)


def _random_questions(
    family: str, n: int, rng: np.random.Generator, *, held_out: bool
) -> Questions:
    """Draw questions as a model is trained on, or the held-out ones among them."""
    operation, shares = _OPERATIONS[family], _OPERAND_LENGTHS[family]
    parts: list[NDArray[np.int64]] = []
    found = 0
    while found < n:
        length = rng.choice(len(shares), size=(2, n), p=shares) + 1
        low = np.where(length == 1, 0, 10 ** (length - 1))
        first, second = rng.integers(low, 10**length)
        kept = is_held_out(first, second, operation) == held_out
        parts.append(np.stack([first[kept], second[kept]]))
        found += int(kept.sum())
    first, second = np.concatenate(parts, axis=1)[:, :n]
    return Questions(family, first, second)


class _Network(eqx.Module):
    tokens: Array
    places: Array
    layers: Layers
    head: Array
    start: int = eqx.field(static=True)

    def __init__(self, start: int, length: int, width: int, *, rng: np.random.Generator) -> None:
        self.start = start  # the first token of the answer
        self.tokens = matrix(rng, width, _N_TOKENS).T
        self.places = matrix(rng, width, length).T
        self.layers = Layers(width, _LAYERS, rng=rng)
        self.head = matrix(rng, width, _N_TOKENS)

    def __call__(self, tokens: Array) -> Array:
        """Return the logits of the next token, (batch, length, tokens)."""
        x = self.tokens[tokens] + self.places[: tokens.shape[1]]
        return self.layers(x) @ self.head


def _loss(network: _Network, tokens: Array) -> Array:
    """Return the mean cross-entropy of answers and end tokens."""
    logits = network(tokens[:, :-1])[:, network.start - 1 :]
    wanted = tokens[:, network.start :]
    error = optax.softmax_cross_entropy_with_integer_labels(logits, wanted)
    return jnp.sum(error * (wanted != _PAD)) / jnp.sum(wanted != _PAD)


_compiled_loss = eqx.filter_jit(_loss)


@eqx.filter_jit
def _answer(network: _Network, tokens: Array, noise: Array) -> Array:
    """Write answers token by token: of the logits plus noise, the largest."""
    start = network.start
    for place in range(start, tokens.shape[1]):
        logits = network(tokens[:, :place])[:, -1] + noise[:, place - start]
        tokens = tokens.at[:, place].set(logits.argmax(axis=1).astype(tokens.dtype))
    return tokens[:, start:]


@eqx.filter_jit
def _forced(network: _Network, tokens: Array) -> tuple[Array, Array]:
    """Return the log-probability of every right token, and whether it is the likeliest."""
    logits = network(tokens[:, :-1])[:, network.start - 1 :]
    wanted = tokens[:, network.start :]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), wanted[..., None], axis=-1)
    return log_p[..., 0], logits.argmax(axis=-1) == wanted


def train(unit: Unit) -> Trained:
    """Train one model and answer the test questions, greedily and at temperature 1."""
    operation, profile = _OPERATIONS[unit.family], unit.profile
    start = 2 * operation.digits + 2
    rng = np.random.default_rng([_DATA_SEED, unit.size, unit.seed])
    drawn = _random_questions(unit.family, profile.steps * profile.batch, rng, held_out=False)
    batches = drawn.tokens.reshape(profile.steps, profile.batch, -1)
    network = _Network(start, batches.shape[2], unit.size, rng=rng)
    peak = 1e-2 if unit.size <= 16 else 0.16 / unit.size
    recipe = Recipe(peak=peak, steps=profile.steps, b2=0.98, weight_decay=0.01)
    test = _test_questions(unit.family, profile.examples)
    lengths = np.array([len(text) for text in test.texts])
    some = np.concatenate(
        [np.flatnonzero(lengths == length)[:_CHECKPOINT_QUESTIONS] for length in np.unique(lengths)]
    )
    validation = _random_questions(
        unit.family, 4096, np.random.default_rng(_DATA_SEED), held_out=True
    )
    checkpoints: list[dict[str, Any]] = []
    for steps, trained, train_loss in fit(network, _loss, batches, recipe, parts=_PARTS):
        held_out_loss = float(_compiled_loss(trained, jnp.asarray(validation.tokens)))
        model = _model(unit, trained, steps, batches.shape[2] - 1, held_out_loss)
        questions = test.take(some)
        checkpoints += _checkpoint(
            model, unit, steps, train_loss, questions, _generate(trained, questions)
        )
    return Trained(
        samples=_samples(model, unit, test, trained), checkpoints=checkpoints, validation=[]
    )


def _model(
    unit: Unit, network: _Network, steps: int, length: int, held_out_loss: float
) -> dict[str, Any]:
    """Return what the tables say of a model."""
    inside = n_parameters(network.layers, network.head)
    tokens = steps * unit.profile.batch * length
    return unit.columns | {
        "model_family": f"{unit.family} transformers",
        "total_params": n_parameters(network),
        "non_embedding_params": inside,
        # Forward and backward pass: 6 operations for each parameter and token (Kaplan et al. 2020).
        "train_flops": 6.0 * inside * tokens,
        "train_tokens": float(tokens),
        "pretraining_loss": held_out_loss,
        "shots": 0,
    }


def _task(unit: Unit) -> str:
    return f"{_OPERATIONS[unit.family].digits}-digit {unit.family}"


def _checkpoint(
    model: dict[str, Any],
    unit: Unit,
    steps: int,
    train_loss: float,
    questions: Questions,
    outputs: list[str],
) -> list[dict[str, Any]]:
    """Return scores by length of the answer; each model is a family along its training."""
    one = Ragged.of_lengths(np.ones(len(questions), dtype=np.int64))
    scores = {
        "exact_str_match": exact_str_match(outputs, questions.texts, one),
        "token_edit_distance": token_edit_distance(outputs, questions.texts, one, tokens="digits"),
    }
    lengths = np.array([len(text) for text in questions.texts])
    common = model | {
        "model_family": f"{unit.family} transformer, width {unit.size}",
        "model_name": f"step {steps}",
        "task": _task(unit),
        "variant": "greedy",
    }
    rows = [
        common
        | {"subtask": f"{_task(unit)}: length {length}", "metric": metric,
           "score": float(values[lengths == length].mean()),
           "n_examples": int((lengths == length).sum())}
        for metric, values in scores.items()
        for length in np.unique(lengths).tolist()
    ]  # fmt: skip
    rows += [
        common | {"subtask": common["task"], "metric": metric, "score": value}
        for metric, value in (
            ("cross_entropy", model["pretraining_loss"]), ("training_cross_entropy", train_loss),
        )
    ]  # fmt: skip
    return rows


def _generate(
    network: _Network, questions: Questions, *, temperature_seed: list[int] | None = None
) -> list[str]:
    """Answer questions up to the end token; greedily without a seed, else at temperature 1."""
    shape = (len(questions), questions.tokens.shape[1] - network.start, _N_TOKENS)
    # The largest logit plus Gumbel noise is a draw from the softmax.
    noise = (
        np.zeros(shape, dtype=np.float32)
        if temperature_seed is None
        else np.random.default_rng(temperature_seed).gumbel(size=shape).astype(np.float32)
    )
    (written,) = in_batches(partial(_answer, network), questions.tokens, noise)
    letters = np.array([*"0123456789", _SYMBOLS[questions.operation], "=", "\n", "?"])
    return ["".join(row).partition("\n")[0] for row in letters[written].tolist()]


def _samples(model: dict[str, Any], unit: Unit, test: Questions, network: _Network) -> pa.Table:
    """Return the answers to all test questions."""
    log_p, is_right = in_batches(partial(_forced, network), test.tokens)
    n_tokens = np.array([len(text) + 1 for text in test.texts])  # with the end token
    further = [
        [
            ("cross_entropy", float(-values[:n].mean(dtype=np.float64))),
            ("teacher_forced_accuracy", float(right[:n].mean())),
            *((f"logprob_{place + 1}", float(values[place])) for place in range(n)),
            *((f"teacher_forced_{place + 1}", float(right[place])) for place in range(n)),
        ]
        for n, values, right in zip(n_tokens.tolist(), log_p, is_right, strict=True)
    ]
    total = [
        [float(values[:n].sum(dtype=np.float64))]
        for n, values in zip(n_tokens.tolist(), log_p, strict=True)
    ]
    symbol = _SYMBOLS[unit.family]
    common = {
        "task": [_task(unit)] * len(test),
        "subtask": [f"{_task(unit)}: length {len(text)}" for text in test.texts],
        "example_id": [
            f"{a} {symbol} {b}"
            for a, b in zip(test.first.tolist(), test.second.tolist(), strict=True)
        ],
        "targets": [[text] for text in test.texts],
        **{name: [value] * len(test) for name, value in model.items()},
    }
    sampled = _generate(network, test, temperature_seed=[_DATA_SEED, unit.size, unit.seed, 1])
    schema = pa.schema([pa.field("metrics", pa.map_(pa.string(), pa.float64()))])
    return pa.concat_tables(
        [
            pa.table(
                common
                | {
                    "variant": ["greedy"] * len(test),
                    "output": _generate(network, test),
                    "target_logprobs": total,
                    "metrics": pa.array(further, schema.field("metrics").type),
                }
            ),
            pa.table(common | {"variant": ["temperature 1"] * len(test), "output": sampled}),
        ],
        promote_options="default",
    )
