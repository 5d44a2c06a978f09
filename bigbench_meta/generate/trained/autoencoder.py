"""Shallow nonlinear autoencoders of small photographs: Fig. 7 of the paper.

- 3072 inputs, h hidden units with tanh, 3072 outputs, biases: 6145 h + 3072 parameters, as many as
  in the paper. With tanh one unit can do nearly what the first principal component does; with ReLU
  it can use only one half of it, and the errors of small widths are above the paper's.
- Pictures are standardised for each colour with the training pictures' mean and deviation, so an
  error of 1 is that of a model that always answers with the mean.
- An example's score is its mean squared error over pixels and colours. Reconstruction_c of the
  paper, the share of pictures with an error of at most c, is ``logged:mean_squared_error<=c``.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 5 and Fig. 7.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

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

__all__ = ["FAMILIES", "Autoencoder", "describe", "train"]

FAMILIES: Final = ("autoencoder",)
"""The families of the study."""

# Of 5e-4, 1e-3 and 2e-3 the one with the least error on validation pictures at widths 64, 256 and
# 1024, and within 2% of the least at 2 and 16.
_PEAK: Final = 1e-3
# Parts of the training after each of which a model is scored, on some pictures.
_PARTS: Final = 5
_CHECKPOINT_PICTURES: Final = 500


@cache
def _pictures(data: str) -> PictureSet:
    return load_pictures("autoencoder", data or None)


def describe(data: str) -> str:
    """Return what the models learn from.

    Raises:
        InputError: The data are missing, damaged or of another layout.
    """
    return _pictures(data).describe()


class Autoencoder(eqx.Module):
    """A hidden layer between pictures and their reconstructions.

    Args:
        width: Hidden units.
        mean: Of the training pictures, from 0 to 1, for each colour.
        deviation: Their standard deviation.
        rng: Where the weights are drawn from.
    """

    into: Array
    into_bias: Array
    out: Array
    out_bias: Array
    mean: tuple[float, ...] = eqx.field(static=True)
    deviation: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        deviation: tuple[float, ...] = (0.25, 0.25, 0.25),
        *,
        rng: np.random.Generator,
    ) -> None:
        n = 32 * 32 * 3
        # A third of the usual variance, as PyTorch's layers have; larger weights saturate tanh.
        self.into, self.into_bias = matrix(rng, n, width) / 3**0.5, jnp.zeros(width)
        self.out, self.out_bias = matrix(rng, width, n) / 3**0.5, jnp.zeros(n)
        self.mean, self.deviation = mean, deviation

    def errors(self, pixels: Array) -> Array:
        """Return the mean squared error of each picture.

        Args:
            pixels: From 0 to 255, shape (batch, 32, 32, 3).
        """
        mean, deviation = jnp.asarray(self.mean), jnp.asarray(self.deviation)
        x = ((pixels / jnp.float32(255) - mean) / deviation).reshape(len(pixels), -1)
        hidden = jnp.tanh(x @ self.into + self.into_bias)
        return jnp.mean((hidden @ self.out + self.out_bias - x) ** 2, axis=1)


def _loss(learner: tuple[Autoencoder, Array], rows: Array) -> Array:
    """Return the mean error on some pictures; they are whole numbers, so not fitted."""
    network, pixels = learner
    return network.errors(pixels[rows]).mean()


_compiled_errors = eqx.filter_jit(Autoencoder.errors)


def _errors(network: Autoencoder, pictures: Pictures, n: int) -> Floats:
    """Return the mean squared errors of the first pictures."""
    (found,) = in_batches(partial(_compiled_errors, network), pictures.pixels[:n])
    return found.astype(np.float64)


def train(unit: Unit) -> Trained:
    """Train one model and let it reconstruct the test pictures."""
    profile, pictures = unit.profile, _pictures(unit.data)
    rng = np.random.default_rng([unit.size, unit.seed])
    network = Autoencoder(unit.size, *_moments(unit.data), rng=rng)
    rows = shuffled_rows(rng, len(pictures.train), profile.steps, profile.batch)
    recipe = Recipe(peak=_PEAK, steps=profile.steps)
    learner = network, jnp.asarray(pictures.train.pixels)
    checkpoints: list[dict[str, Any]] = []
    for steps, (network, _), train_loss in fit(learner, _loss, rows, recipe, parts=_PARTS):
        validation = _errors(network, pictures.validation, profile.examples)
        model = _model(unit, network, steps, float(validation.mean()), pictures.source)
        some = _errors(network, pictures.test, min(profile.examples, _CHECKPOINT_PICTURES))
        common = model | {
            "model_family": f"shallow autoencoder, width {unit.size}",
            "model_name": f"step {steps}",
        }
        checkpoints += [
            common
            | {"metric": "mean_squared_error", "score": float(some.mean()),
               "n_examples": len(some)},
            common | {"metric": "training_mean_squared_error", "score": train_loss},
        ]  # fmt: skip
    errors = _errors(network, pictures.test, profile.examples).tolist()
    samples = pa.table(
        {
            **{name: [value] * len(errors) for name, value in model.items()},
            "example_id": [f"test picture {row}" for row in range(len(errors))],
            "metrics": pa.array(
                [[("mean_squared_error", error)] for error in errors],
                pa.map_(pa.string(), pa.float64()),
            ),
        }
    )
    return Trained(samples=samples, checkpoints=checkpoints, validation=validation.tolist())


@cache
def _moments(data: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the training pictures, from 0 to 1, by colour."""
    pixels = _pictures(data).train.pixels
    # Of counts of grey levels: exact, and without a copy in floating point.
    levels = np.arange(256) / 255
    shares = [
        np.bincount(pixels[..., colour].ravel(), minlength=256) / pixels[..., colour].size
        for colour in range(3)
    ]
    means = [float(share @ levels) for share in shares]
    deviations = [
        float(np.sqrt(share @ (levels - mean) ** 2)) or 1.0
        for share, mean in zip(shares, means, strict=True)
    ]
    return tuple(means), tuple(deviations)


def _model(
    unit: Unit, network: Autoencoder, steps: int, validation_error: float, task: str
) -> dict[str, Any]:
    """Return what the tables say of a model."""
    multiply_adds = n_parameters(network.into, network.out)
    return unit.columns | {
        "task": task,
        "model_family": "shallow autoencoders",
        "total_params": n_parameters(network),
        # Two operations each, and the backward pass takes twice the forward pass.
        "train_flops": 6.0 * multiply_adds * steps * unit.profile.batch,
        "pretraining_loss": validation_error,
    }
