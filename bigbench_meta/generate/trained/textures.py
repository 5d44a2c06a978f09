"""Draw pictures with the statistics of natural ones, for autoencoders without a download.

A picture follows the dead leaves model (Lee, Mumford & Huang 2001): discs of random place and
colour cover each other; their radii have density r^-3, which makes pictures alike at every scale.
Added are a field with an amplitude spectrum 1/f^a like that of natural pictures (Field 1987),
because surfaces are not flat, and a colour of the whole picture. Colours have the variances and
correlations of photographs. All pictures are drawn from one distribution, so that the error of
reconstruction varies smoothly over them.

The parameters are chosen so that principal components explain about as much as in 6,000 photographs
of CIFAR-10; ``scripts/compare_textures.py`` prints both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw_textures"]

_SIDE: Final = 32
_RADII: Final = (4.0, 64.0)
_LEAVES: Final = 40
"""Of the area 0.5% stays uncovered, and shows a last colour."""
_SLOPE: Final = 1.3
_SHARES: Final = {"leaves": 0.85, "field": 0.10, "whole": 0.05}
"""Of the variance."""
_MEAN: Final = np.array([0.49, 0.48, 0.44])
_DEVIATIONS: Final = np.array([0.26, 0.255, 0.275])
"""Before values outside the range are cut."""
_CORRELATIONS: Final = np.array([[1.0, 0.915, 0.80], [0.915, 1.0, 0.915], [0.80, 0.915, 1.0]])
_BLOCK: Final = 100


def draw_textures(n: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return pictures of 32 x 32 pixels that look to an autoencoder like photographs.

    Args:
        n: How many; of two numbers, the fewer are the first of the more in blocks of 100.
        seed: Of the random generator. The same pictures come on every machine, up to a grey level
            where rounding differs.

    Returns:
        uint8, shape (n, 32, 32, 3).

    References:
        Lee, Mumford & Huang, 2001, doi 10.1023/A:1011109015675.
        Field, 1987, doi 10.1364/JOSAA.4.002379.

    Examples:
        >>> pictures = draw_textures(3)
        >>> pictures.shape, pictures.dtype
        ((3, 32, 32, 3), dtype('uint8'))
    """
    rng = np.random.default_rng(seed)
    colours = np.linalg.cholesky(_CORRELATIONS * np.outer(_DEVIATIONS, _DEVIATIONS))
    pictures = np.empty((n, _SIDE, _SIDE, 3), np.uint8)
    for start in range(0, n, _BLOCK):
        parts = {
            "leaves": _dead_leaves(rng, _BLOCK),
            "field": _field(rng, _BLOCK),
            "whole": rng.standard_normal((_BLOCK, 3, 1, 1)),
        }
        mixed = sum(np.sqrt(_SHARES[name]) * part for name, part in parts.items())
        values = _MEAN + np.moveaxis(mixed, 1, -1) @ colours.T
        block = pictures[start : start + _BLOCK]
        block[:] = np.rint(255 * np.clip(values, 0, 1))[: len(block)]
    return pictures


def _dead_leaves(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return pictures of discs, three independent planes of unit variance, shape (n, 3, 32, 32)."""
    # Only discs whose square meets the picture are drawn, more often the larger they are.
    radii = np.geomspace(*_RADII, 400)
    chances = np.cumsum(radii**-3 * (_SIDE + 2 * radii) ** 2 * radii)
    radius = np.interp(rng.random((n, _LEAVES)), chances / chances[-1], radii)
    left, top = (rng.random((2, n, _LEAVES)) * (_SIDE + 2 * radius) - radius).astype(np.float32)
    colour = rng.standard_normal((_LEAVES + 1, 3, n, 1, 1), dtype=np.float32)
    place = np.arange(_SIDE, dtype=np.float32) + np.float32(0.5)
    size = radius.astype(np.float32)
    picture = np.zeros((3, n, _SIDE, _SIDE), np.float32)
    open_ = np.ones((n, _SIDE, _SIDE), np.float32)
    # From the front to the back; an edge covers part of a pixel.
    for leaf in range(_LEAVES):
        across = (place - left[:, leaf, None]) ** 2
        down = (place - top[:, leaf, None]) ** 2
        distance = np.sqrt(across[:, None, :] + down[:, :, None])
        cover = np.clip(size[:, leaf, None, None] - distance + np.float32(0.5), 0, 1) * open_
        open_ -= cover
        picture += cover * colour[leaf]
    picture += open_ * colour[_LEAVES]
    return np.moveaxis(picture, 0, 1).astype(np.float64)


def _field(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return Gaussian fields with amplitudes 1/f^a, of unit variance, shape (n, 3, 32, 32)."""
    wide = 2 * _SIDE  # and cut, because what the Fourier transform gives is periodic
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(wide), np.fft.rfftfreq(wide), indexing="ij"))
    frequency[0, 0] = 1 / wide
    amplitude = frequency**-_SLOPE
    noise = np.fft.rfft2(rng.standard_normal((n, 3, wide, wide)))
    values = np.fft.irfft2(noise * amplitude, s=(wide, wide))[..., :_SIDE, :_SIDE]
    # All frequencies: those that rfft leaves away come twice.
    weights = np.full(amplitude.shape[1], 2.0)
    weights[[0, -1]] = 1.0
    scale = float(np.sqrt((amplitude**2 * weights).sum())) / wide
    return np.asarray(values / scale, np.float64)
