"""Train a network: AdamW on batches drawn beforehand, in one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import equinox as eqx
import jax
import numpy as np
import optax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Array
    from numpy.typing import NDArray

__all__ = ["Recipe", "fit", "in_batches", "n_parameters", "shuffled_rows"]

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """AdamW with a learning rate that rises for some steps and falls along a cosine to 1%.

    Attributes:
        peak: Largest learning rate.
        steps: Steps of the training.
        warm_up: Steps of the rise.
        b2: Decay of the mean square of the gradients.
        weight_decay: Share of a weight that a step takes away, times the learning rate.
    """

    peak: float
    steps: int
    warm_up: int = 100
    b2: float = 0.999
    weight_decay: float = 0.0

    def optimiser(self) -> optax.GradientTransformation:
        """Return the optimiser."""
        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.peak, min(self.warm_up, self.steps // 2), self.steps, self.peak / 100
        )
        return optax.adamw(rate, b2=self.b2, weight_decay=self.weight_decay)


def fit(
    network: M, loss: Callable[[M, Any], Array], batches: Any, recipe: Recipe, *, parts: int = 1
) -> Iterator[tuple[int, M, float]]:
    """Train a network.

    Args:
        network: An equinox module, or a tuple of one and arrays of whole numbers to learn from.
        loss: The loss of a network on a batch; the same function for the same kind of network, so
            that a process compiles it once for each size.
        batches: Arrays (or a tuple of them) of which the first axis is the step.
        recipe: The optimiser.
        parts: Equal parts of the training after each of which the network is handed out.

    Yields:
        Steps made, the network, and the mean loss of the last hundred steps.
    """
    state = _begin(network, recipe)
    losses = np.empty(0)
    length = recipe.steps // parts
    for start in range(0, length * parts, length):
        some = jax.tree.map(lambda array, a=start: array[a : a + length], batches)
        network, state, new = _advance(network, state, some, loss, recipe)
        losses = np.concatenate([losses, np.asarray(new, dtype=np.float64)])
        yield start + length, network, float(losses[-100:].mean())


@eqx.filter_jit
def _begin(network: Any, recipe: Recipe) -> Any:
    return recipe.optimiser().init(eqx.filter(network, eqx.is_inexact_array))


@eqx.filter_jit
def _advance(
    network: M, state: Any, batches: Any, loss: Callable[[M, Any], Array], recipe: Recipe
) -> tuple[M, Any, Array]:
    """Make a step for each batch, in one compiled loop."""
    optimiser = recipe.optimiser()
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def step(carry: Any, batch: Any) -> Any:
        parameters, state = carry
        value, gradient = jax.value_and_grad(lambda own: loss(eqx.combine(own, rest), batch))(
            parameters
        )
        change, state = optimiser.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, change), state), value

    (parameters, state), losses = jax.lax.scan(step, (parameters, state), batches)
    return eqx.combine(parameters, rest), state, losses


def shuffled_rows(rng: np.random.Generator, n: int, steps: int, batch: int) -> NDArray[np.int32]:
    """Return which of n examples each step takes, shape (steps, batch): all, then all again."""
    rounds = -(-steps * batch // n)
    order = np.concatenate([rng.permutation(n) for _ in range(rounds)])
    return order[: steps * batch].reshape(steps, batch).astype(np.int32)


def in_batches(
    function: Callable[..., Any], *arrays: NDArray[Any], size: int = 512
) -> list[NDArray[Any]]:
    """Apply a compiled function to rows of arrays, some at a time, and join what it returns.

    The last batch is filled up with copies of its last row, so that all have one shape.
    """
    parts = []
    n = len(arrays[0])
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)
        found = function(*(array[rows] for array in arrays))
        parts.append([np.asarray(one)[: n - start] for one in jax.tree.leaves(found)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def n_parameters(*networks: Any) -> int:
    """Return the number of parameters of networks or parts of them."""
    leaves = jax.tree.leaves(eqx.filter(networks, eqx.is_inexact_array))
    return sum(int(leaf.size) for leaf in leaves)
