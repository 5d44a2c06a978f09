"""A small causal transformer: two layers, two heads, RMS norm, ReLU, no biases.

ReLU in place of GELU: on a CPU, half of a training step would go into its tanh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Array

__all__ = ["Layers", "matrix"]

_HEADS = 2


def matrix(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    """Return random weights of variance 1 / inputs, shape (inputs, outputs)."""
    return jnp.asarray(rng.normal(scale=n_in**-0.5, size=(n_in, n_out)), dtype=jnp.float32)


class Layers(eqx.Module):
    """Layers of causal attention and a two-layer perceptron, from and to (batch, length, width).

    Args:
        width: An even number.
        n_layers: Number of layers.
        rng: Where the weights are drawn from.
    """

    blocks: tuple[_Block, ...]
    norm: Array

    def __init__(self, width: int, n_layers: int, *, rng: np.random.Generator) -> None:
        self.blocks = tuple(_Block(width, rng) for _ in range(n_layers))
        self.norm = jnp.ones(width)

    def __call__(self, x: Array) -> Array:
        """Return the last layer's activations, normalised."""
        for block in self.blocks:
            x = block(x)
        return _normalised(x, self.norm)


class _Block(eqx.Module):
    query_key_value: Array
    out: Array
    up: Array
    down: Array
    norms: tuple[Array, Array]

    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self.query_key_value = matrix(rng, width, 3 * width)
        self.out = matrix(rng, width, width)
        self.up = matrix(rng, width, 4 * width)
        self.down = matrix(rng, 4 * width, width)
        self.norms = jnp.ones(width), jnp.ones(width)

    def __call__(self, x: Array) -> Array:
        batch, length, width = x.shape
        mixed = _normalised(x, self.norms[0]) @ self.query_key_value
        split = mixed.reshape(batch, length, 3 * _HEADS, width // _HEADS)
        query, key, value = jnp.split(split, 3, axis=2)
        seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + seen.reshape(batch, length, width) @ self.out
        return x + jax.nn.relu(_normalised(x, self.norms[1]) @ self.up) @ self.down


def _normalised(x: Array, weight: Array) -> Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight
