"""Transformers over sequences of pictures and their labels: Fig. 8 of the paper.

- A sequence is five pictures, each followed by its label. After each picture the model predicts its
  label. Success at length L is that the first L labels are all right.
- A class has the same label in every sequence, so the labels are learnt in the weights and what
  comes before a picture says nothing about it: a sequence is several pictures classified one by
  one, and only the metric joins them.
- The test pictures are by drawers (of glyphs: in faces) that no model has seen. The test sequences
  are the same for all models and use each picture about equally often, several times: a standard
  error is that of more sequences of these pictures, not of other drawers. The held-out loss is that
  of pictures by other drawers, who are in neither part.
- A model learns from each training picture distorted in many ways, the same for all models. Glyphs
  are distorted in the test too, each time in another way, because a face draws a letter only once;
  without that all but the smallest models label nearly every glyph correctly. Drawings by people
  are tested as they are.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 5 and Fig. 8.
    Lake, Salakhutdinov and Tenenbaum (2015), doi 10.1126/science.aab3050.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa
from scipy.ndimage import affine_transform

from bigbench_meta.generate.trained.families import Trained
from bigbench_meta.generate.trained.pictures import load_pictures
from bigbench_meta.generate.trained.training import Recipe, fit, in_batches, n_parameters
from bigbench_meta.generate.trained.transformer import Layers, matrix

if TYPE_CHECKING:
    from jaxtyping import Array
    from numpy.typing import NDArray

    from bigbench_meta.generate.trained.pictures import Pictures, PictureSet
    from bigbench_meta.generate.trained.plan import Unit

    Ints = NDArray[np.int64]

__all__ = ["FAMILIES", "LENGTH", "Network", "describe", "train"]

FAMILIES: Final = ("picture",)
"""The families of the study."""

LENGTH: Final = 5
"""Pictures in a sequence."""

_DATA_SEED: Final = 20230428
_CHANNELS: Final = (1, 8, 16, 16)
# Sides of the square maps of features after each convolution of a picture of 28 x 28.
_SIDES: Final = (14, 7, 4)
_LAYERS: Final = 1
# Of 1e-2 and 2e-2 the one with the lower loss of validation pictures at widths 8 and 32.
_PEAK: Final = 2e-2
# Parts of the training after each of which a model is scored, on some sequences.
_PARTS: Final = 10
_CHECKPOINT_SEQUENCES: Final = 400
_VALIDATION_SEQUENCES: Final = 400
# Training pictures after distortion, about.
_DISTORTED: Final = 1 << 16
# Largest angle, shear, logarithm of the stretch of height and width, and shift in pixels.
_LIMITS: Final = np.array([np.deg2rad(20), 0.4, 0.3, 0.3, 1.5, 1.5])


@dataclass(frozen=True)
class _Sequences:
    """Sequences of pictures.

    Attributes:
        pixels: uint8, shape (n, LENGTH, height, width).
        labels: Shape (n, LENGTH).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]


@cache
def _pictures(data: str) -> PictureSet:
    return load_pictures("omniglot", data or None)


def describe(data: str) -> str:
    """Return what the models learn from.

    Raises:
        InputError: The data are missing, damaged or of another layout.
    """
    return _pictures(data).describe()


def _sequences(pictures: Pictures, n: int, *, distorted: bool) -> _Sequences:
    """Draw sequences that use each picture about equally often, the same ones for all models."""
    rng = np.random.default_rng([_DATA_SEED, len(pictures)])
    rounds = -(-n * LENGTH // len(pictures))
    order = np.concatenate([rng.permutation(len(pictures)) for _ in range(rounds)])
    rows = order[: n * LENGTH].reshape(n, LENGTH)
    pixels = pictures.pixels[rows.ravel()]
    if distorted:
        pixels = _distort(pixels, rng)
    return _Sequences(
        pixels.reshape(n, LENGTH, *pixels.shape[1:]), pictures.labels[rows].astype(np.int32)
    )


@cache
def _distorted(data: str) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the training pictures and distorted copies of them, with their labels."""
    found = _pictures(data).train
    copies = max(1, round(_DISTORTED / len(found)))
    rng = np.random.default_rng(_DATA_SEED)
    pixels = np.concatenate(
        [found.pixels, *(_distort(found.pixels, rng) for _ in range(copies - 1))]
    )
    return pixels, np.tile(found.labels.astype(np.int32), copies)


def _distort(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate, shear, stretch and move each picture a little, by random amounts."""
    uniform = rng.uniform(-1, 1, size=(len(pixels), len(_LIMITS))) * _LIMITS
    found = np.empty_like(pixels)
    middle = (pixels.shape[1] - 1) / 2
    for place, (angle, shear, *more) in enumerate(uniform.tolist()):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        affine = turn @ [[1, shear], [0, 1]] @ np.diag(np.exp(more[:2]))
        offset = middle + np.array(more[2:]) - affine.sum(axis=1) * middle
        affine_transform(pixels[place], affine, offset, output=found[place], order=1)
    return found


class Network(eqx.Module):
    """Convolutions of each picture, then causal attention over pictures and labels in turn.

    Args:
        n_classes: Number of labels.
        width: An even number.
        rng: Where the weights are drawn from.
    """

    kernels: tuple[Array, ...]
    biases: tuple[Array, ...]
    picture: Array
    labels: Array
    places: Array
    layers: Layers
    head: Array

    def __init__(self, n_classes: int, width: int, *, rng: np.random.Generator) -> None:
        self.kernels = tuple(matrix(rng, 9 * n_in, n_out) for n_in, n_out in pairwise(_CHANNELS))
        self.biases = tuple(jnp.zeros(n_out) for n_out in _CHANNELS[1:])
        self.picture = matrix(rng, _SIDES[-1] ** 2 * _CHANNELS[-1], width)
        self.labels = matrix(rng, width, n_classes).T
        self.places = matrix(rng, width, 2 * LENGTH - 1).T
        self.layers = Layers(width, _LAYERS, rng=rng)
        self.head = matrix(rng, width, n_classes)

    def __call__(self, pixels: Array, labels: Array) -> Array:
        """Return the logits of the label of each picture.

        Args:
            pixels: From 0 to 255, shape (batch, LENGTH, 28, 28).
            labels: The right labels, of which each is seen after its picture, (batch, LENGTH).

        Returns:
            Shape (batch, LENGTH, classes).
        """
        x = pixels.reshape(-1, *pixels.shape[2:], 1) / jnp.float32(255)
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = jax.nn.relu(_patches(x) @ kernel + bias)
        seen = x.reshape(*labels.shape, -1) @ self.picture
        in_turn = jnp.stack([seen, self.labels[labels]], axis=2)
        x = in_turn.reshape(len(labels), 2 * LENGTH, -1)[:, :-1] + self.places
        return self.layers(x)[:, ::2] @ self.head


def _patches(x: Array) -> Array:
    """Return the 3 x 3 squares at every second row and column, side by side in the last axis.

    A convolution is a product with them. XLA's own convolution with its gradient takes seven times
    as long inside a compiled loop on a CPU.
    """
    half = (x.shape[1] + 1) // 2
    padded = jnp.pad(x, ((0, 0), *((0, 2 * half + 1 - x.shape[1]),) * 2, (0, 0)))
    return jnp.concatenate(
        [
            padded[:, row : row + 2 * half : 2, column : column + 2 * half : 2]
            for row in range(3)
            for column in range(3)
        ],
        axis=-1,
    )


def _loss(learner: tuple[Network, Array, Array], rows: Array) -> Array:
    """Return the mean cross-entropy of labels; only the network of a learner is fitted."""
    network, pixels, labels = learner
    error = optax.softmax_cross_entropy_with_integer_labels(
        network(pixels[rows], labels[rows]), labels[rows]
    )
    return error.mean()


@eqx.filter_jit
def _predicted(network: Network, pixels: Array, labels: Array) -> tuple[Array, Array]:
    """Return the log-probability of every right label, and the likeliest label."""
    log_p = jax.nn.log_softmax(network(pixels, labels))
    right = jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    return right, log_p.argmax(axis=-1)


def train(unit: Unit) -> Trained:
    """Train one model and label the test sequences."""
    profile, pictures = unit.profile, _pictures(unit.data)
    pixels, labels = _distorted(unit.data)
    rng = np.random.default_rng([_DATA_SEED, unit.size, unit.seed])
    rows = rng.integers(len(pixels), size=(profile.steps, profile.batch, LENGTH), dtype=np.int32)
    network = Network(len(pictures.class_names), unit.size, rng=rng)
    test, validation = (
        _sequences(some, n, distorted=not unit.data)
        for some, n in (
            (pictures.test, profile.examples), (pictures.validation, _VALIDATION_SEQUENCES),
        )
    )  # fmt: skip
    checkpoints: list[dict[str, Any]] = []
    learner = network, jnp.asarray(pixels), jnp.asarray(labels)
    recipe = Recipe(peak=_PEAK, steps=profile.steps)
    for steps, (network, *_), train_loss in fit(learner, _loss, rows, recipe, parts=_PARTS):
        held_out, _ = _labelled(network, validation)
        model = _model(unit, network, steps, -float(held_out.mean(dtype=np.float64)))
        checkpoints += _checkpoint(model, unit, steps, train_loss, network, test)
    return Trained(
        samples=_samples(model, unit, network, test), checkpoints=checkpoints, validation=[]
    )


def _labelled(network: Network, sequences: _Sequences) -> tuple[NDArray[np.float32], Ints]:
    """Return log-probabilities of the right labels, and the predicted labels, (n, LENGTH)."""
    log_p, chosen = in_batches(
        partial(_predicted, network), sequences.pixels, sequences.labels, size=200
    )
    return log_p, chosen


def _model(unit: Unit, network: Network, steps: int, held_out_loss: float) -> dict[str, Any]:
    """Return what the tables say of a model."""
    n = n_parameters(network)
    sequences = steps * unit.profile.batch
    # Multiply-adds of a sequence: a kernel is used at every place of its map, the projection of
    # pictures and the head at every picture, the layers at every picture and every label but the
    # last. Forward and backward pass take 6 operations for each (Kaplan et al. 2020).
    of_picture = n_parameters(network.picture, network.head) + sum(
        side**2 * n_parameters(kernel) for side, kernel in zip(_SIDES, network.kernels, strict=True)
    )
    used = LENGTH * of_picture + (2 * LENGTH - 1) * n_parameters(network.layers)
    return unit.columns | {
        "task": _pictures(unit.data).source,
        "model_family": f"{unit.family} transformers",
        "total_params": n,
        "non_embedding_params": n - n_parameters(network.labels, network.places),
        "train_flops": 6.0 * used * sequences,
        "train_tokens": float((2 * LENGTH - 1) * sequences),
        "pretraining_loss": held_out_loss,
        "shots": 0,
    }


def _checkpoint(
    model: dict[str, Any],
    unit: Unit,
    steps: int,
    train_loss: float,
    network: Network,
    test: _Sequences,
) -> list[dict[str, Any]]:
    """Return scores by number of labels; each model is a family along its training."""
    some = _Sequences(test.pixels[:_CHECKPOINT_SEQUENCES], test.labels[:_CHECKPOINT_SEQUENCES])
    is_right = _labelled(network, some)[1] == some.labels
    common = model | {
        "model_family": f"{unit.family} transformer, width {unit.size}",
        "model_name": f"step {steps}",
    }
    task = model["task"]
    rows = [
        common
        | {"subtask": f"{task}: length {length}", "metric": metric, "score": float(values.mean()),
           "n_examples": len(values)}
        for length in range(1, LENGTH + 1)
        for metric, values in (
            ("exact_str_match", is_right[:, :length].all(axis=1)),
            ("per_token_accuracy", is_right[:, :length].mean(axis=1)),
        )
    ]  # fmt: skip
    rows += [
        common | {"subtask": task, "metric": metric, "score": value}
        for metric, value in (
            ("cross_entropy", model["pretraining_loss"]), ("training_cross_entropy", train_loss),
        )
    ]  # fmt: skip
    return rows


def _samples(model: dict[str, Any], unit: Unit, network: Network, test: _Sequences) -> pa.Table:
    """Return the labels of all test sequences, a row for each sequence and number of labels."""
    log_p, chosen = _labelled(network, test)
    names = np.array(["_".join(name.split()) for name in _pictures(unit.data).class_names])
    n = len(log_p)
    tables = []
    for length in range(1, LENGTH + 1):
        total = log_p[:, :length].sum(axis=1, dtype=np.float64)
        outputs, targets = (
            [" ".join(row) for row in names[labels[:, :length]].tolist()]
            for labels in (chosen, test.labels)
        )
        further = [[("cross_entropy", loss)] for loss in (-total / length).tolist()]
        own = {
            "subtask": [f"{model['task']}: length {length}"] * n,
            "example_id": [f"sequence {number + 1}" for number in range(n)],
            "targets": [[text] for text in targets],
            "target_logprobs": total[:, None].tolist(),
            "output": outputs,
            "metrics": pa.array(further, pa.map_(pa.string(), pa.float64())),
        }
        tables.append(pa.table({name: [value] * n for name, value in model.items()} | own))
    return pa.concat_tables(tables)
