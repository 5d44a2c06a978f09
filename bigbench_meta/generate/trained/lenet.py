"""Small convolutional networks that classify digits: Fig. 11 of the paper (Fig. 10 of arXiv's).

- Convolutions of 3 x 3 from 1 to 3 and from 3 to 8 channels that keep the 28 x 28 pixels, then k
  hidden units and ten outputs, all with biases, tanh between them: 6283 k + 264 parameters, as many
  as in the paper. What the paper's layers were it does not say.
- The classes are the targets of a multiple choice, so an example has the probability of each: the
  same outputs give accuracy, Brier score and likelihood. Subset accuracy, the paper's metric, is
  the chance that K test pictures drawn at random are all right.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 5 and app. B.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.trained.families import Trained
from bigbench_meta.generate.trained.pictures import load_pictures
from bigbench_meta.generate.trained.training import (
    Recipe,
    fit,
    in_batches,
    n_parameters,
    shuffled_rows,
)
from bigbench_meta.generate.trained.transformer import matrix

if TYPE_CHECKING:
    from jaxtyping import Array
    from numpy.typing import NDArray

    from bigbench_meta.generate.trained.pictures import Pictures, PictureSet
    from bigbench_meta.generate.trained.plan import Unit

    Floats = NDArray[np.float64]

__all__ = ["FAMILIES", "LeNet", "describe", "train"]

FAMILIES: Final = ("lenet",)
"""The families of the study."""

_CLASSES: Final = 10
_CHANNELS: Final = (1, 3, 8)
_SIDE: Final = 28
# Chosen by the loss of validation pictures, against 1e-3 and 1e-2 at widths 2, 8 and 64.
_PEAK: Final = 3e-3
# Parts of the training after each of which a model is scored, on some pictures.
_PARTS: Final = 5
_CHECKPOINT_PICTURES: Final = 500


@cache
def _pictures(data: str) -> PictureSet:
    found = load_pictures("lenet", data or None)
    if len(found.class_names) != _CLASSES:
        raise InputError(
            f"{len(found.class_names)} classes, {_CLASSES} expected", where=data or "data"
        )
    return found


def describe(data: str) -> str:
    """Return what the models learn from.

    Raises:
        InputError: The data are missing, damaged or of another layout.
    """
    return _pictures(data).describe()


class LeNet(eqx.Module):
    """Two convolutions, a hidden layer and ten outputs.

    Args:
        width: Hidden units.
        rng: Where the weights are drawn from.
    """

    kernels: tuple[Array, ...]
    biases: tuple[Array, ...]
    hidden: Array
    hidden_bias: Array
    head: Array
    head_bias: Array

    def __init__(self, width: int, *, rng: np.random.Generator) -> None:
        self.kernels = tuple(matrix(rng, 9 * n_in, n_out) for n_in, n_out in pairwise(_CHANNELS))
        self.biases = tuple(jnp.zeros(n_out) for n_out in _CHANNELS[1:])
        self.hidden = matrix(rng, _SIDE**2 * _CHANNELS[-1], width)
        self.hidden_bias = jnp.zeros(width)
        self.head, self.head_bias = matrix(rng, width, _CLASSES), jnp.zeros(_CLASSES)

    def __call__(self, pixels: Array) -> Array:
        """Return the logits of the classes.

        Args:
            pixels: From 0 to 255, shape (batch, 28, 28).
        """
        x = pixels[..., None] / jnp.float32(255)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = jnp.tanh(_neighbours(x) @ kernel + bias)
        x = jnp.tanh(x.reshape(len(x), -1) @ self.hidden + self.hidden_bias)
        return x @ self.head + self.head_bias

    def multiply_adds(self) -> int:
        """Return the multiply-adds of a picture: those of a kernel are made at every pixel."""
        return _SIDE**2 * n_parameters(self.kernels) + n_parameters(self.hidden, self.head)


def _neighbours(x: Array) -> Array:
    """Return for every pixel the channels of the 3 x 3 around it, (batch, side, side, 9 channels).

    On a CPU a product with these takes a third of the time of JAX's convolution.
    """
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate(
        [
            wide[:, down : down + _SIDE, right : right + _SIDE]
            for down in range(3)
            for right in range(3)
        ],
        axis=-1,
    )


def _loss(learner: tuple[LeNet, Array, Array], rows: Array) -> Array:
    """Return the mean cross-entropy; pictures and labels are whole numbers, so not fitted."""
    network, pixels, labels = learner
    logits = network(pixels[rows])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()


@eqx.filter_jit
def _log_p(network: LeNet, pixels: Array) -> Array:
    return jax.nn.log_softmax(network(pixels))


def _classified(network: LeNet, pictures: Pictures, n: int) -> tuple[Floats, NDArray[np.int16]]:
    """Return the log-probability of each class for the first pictures, and their classes."""
    (found,) = in_batches(partial(_log_p, network), pictures.pixels[:n], size=200)
    return found.astype(np.float64), pictures.labels[:n]


def _cross_entropy(log_p: Floats, labels: NDArray[np.int16]) -> float:
    return float(-np.take_along_axis(log_p, labels[:, None], axis=1).mean())


def train(unit: Unit) -> Trained:
    """Train one model and let it classify the test pictures."""
    profile, pictures = unit.profile, _pictures(unit.data)
    rng = np.random.default_rng([unit.size, unit.seed])
    network = LeNet(unit.size, rng=rng)
    rows = shuffled_rows(rng, len(pictures.train), profile.steps, profile.batch)
    recipe = Recipe(peak=_PEAK, steps=profile.steps)
    learner = network, jnp.asarray(pictures.train.pixels), jnp.asarray(pictures.train.labels)
    checkpoints: list[dict[str, Any]] = []
    for steps, (network, *_), train_loss in fit(learner, _loss, rows, recipe, parts=_PARTS):
        held_out = _cross_entropy(*_classified(network, pictures.validation, profile.examples))
        model = _model(unit, network, steps, held_out, pictures.source)
        n = min(profile.examples, _CHECKPOINT_PICTURES)
        log_p, labels = _classified(network, pictures.test, n)
        common = model | {
            "model_family": f"LeNet, width {unit.size}",
            "model_name": f"step {steps}",
        }
        right = log_p.argmax(axis=1) == labels
        checkpoints += [
            common
            | {"metric": "multiple_choice_grade", "score": float(right.mean()),
               "n_examples": len(right)},
            common | {"metric": "cross_entropy", "score": held_out},
            common | {"metric": "training_cross_entropy", "score": train_loss},
        ]  # fmt: skip
    log_p, labels = _classified(network, pictures.test, profile.examples)
    n = len(labels)
    samples = pa.table(
        {
            **{name: [value] * n for name, value in model.items()},
            "example_id": [f"test picture {row}" for row in range(n)],
            "targets": [list(pictures.class_names)] * n,
            "target_values": np.eye(_CLASSES)[labels].tolist(),
            "target_logprobs": log_p.tolist(),
            "correct": (log_p.argmax(axis=1) == labels).astype(np.float64),
        }
    )
    return Trained(samples=samples, checkpoints=checkpoints, validation=[])


def _model(
    unit: Unit, network: LeNet, steps: int, held_out_loss: float, task: str
) -> dict[str, Any]:
    """Return what the tables say of a model."""
    return unit.columns | {
        "task": task,
        "model_family": "LeNet",
        "total_params": n_parameters(network),
        # Two operations each, and the backward pass takes twice the forward pass.
        "train_flops": 6.0 * network.multiply_adds() * steps * unit.profile.batch,
        "pretraining_loss": held_out_loss,
    }
