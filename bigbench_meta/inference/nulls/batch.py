"""Ragged curves of proportions, checked, and cut into blocks for the fit of the mechanism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.links import Link
from bigbench_meta.inference.nulls.mechanism import Design, MechanismFit, draw_scores
from bigbench_meta.inference.nulls.parts import blocks_of_one_length, centred_log, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["BLOCK", "Batch", "is_flat", "replicates"]

BLOCK: Final = 1024
"""Curves fitted at a time."""


@dataclass(frozen=True)
class Batch:
    """The curves; see :func:`bigbench_meta.inference.nulls.mechanism_null.mechanism_null`."""

    y: Floats
    x: Floats
    trials: Floats
    offsets: Ints
    floor: Floats
    span: Floats
    links: tuple[Link, ...]
    kinds: Ints
    sigma: Floats

    @classmethod
    def of(
        cls, y: Floats, x: Floats, trials: Floats, offsets: Ints, floor: Floats | float,
        ceiling: Floats | float, link: Link | Sequence[Link], sigma: Floats | float,
    ) -> Batch:  # fmt: skip
        """Check the arrays and spread what is given once over all curves."""
        m = len(offsets) - 1
        low, high, known = (
            _one_a_curve(values, m, name)
            for values, name in ((floor, "floor"), (ceiling, "ceiling"), (sigma, "sigma"))
        )
        if np.any((y < 0) | (y > 1)):
            raise InputError(f"{y[(y < 0) | (y > 1)][0]} is no proportion", where="y")
        if len(trials) != len(y) or not np.all(trials >= 1):
            raise InputError("must be at least 1 for each score", where="trials")
        if not np.all((low >= 0) & (low < high) & (high <= 1)):
            raise InputError("must be from 0 on and below the ceiling", where="floor")
        if np.any(known < 0):
            raise InputError("must not be negative", where="sigma")
        links, kinds = _numbered(link, m)
        return cls(y, x, trials, offsets, low, high - low, links, kinds, known)

    def blocks(self, min_scales: int) -> Iterator[tuple[Ints, Floats, Design, Floats]]:
        """Yield numbers, scores, design and known sigma of curves of one length and link."""
        lengths = np.diff(self.offsets)
        for kind in range(len(self.links)):
            own = np.where(self.kinds == kind, lengths, -1)
            for rows, length in blocks_of_one_length(own, min_scales, BLOCK):
                yield (rows, *self._block(rows, length, self.links[kind]))

    def _block(self, rows: Ints, length: int, link: Link) -> tuple[Floats, Design, Floats]:
        at = self.offsets[rows] + np.arange(length)[:, None]
        design = Design(
            x=centred_log(self.x[at]),
            trials=self.trials[at],
            floor=self.floor[rows],
            span=self.span[rows],
            link=link,
        )
        return self.y[at], design, self.sigma[rows]


def _numbered(link: Link | Sequence[Link], m: int) -> tuple[tuple[Link, ...], Ints]:
    """Return the links that there are and which of them each curve has."""
    if isinstance(link, Link):
        return (link,), np.zeros(m, dtype=np.int64)
    if len(link) != m:
        raise InputError(f"{len(link)} links for {m} curves", where="link")
    links = tuple(dict.fromkeys(link))
    number = {one: position for position, one in enumerate(links)}
    return links, np.array([number[one] for one in link], dtype=np.int64)


def _one_a_curve(values: Floats | float, m: int, where: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in {(), (m,)}:
        raise InputError(f"shape {array.shape}, not () or ({m},)", where=where)
    return np.broadcast_to(array, (m,))


def is_flat(y: Floats) -> Bools:
    """Return which curves, given scale first, have one score throughout."""
    return np.asarray(np.ptp(y, axis=0) == 0)


def replicates(
    y: Floats, design: Design, fit: MechanismFit, part: Ints, size: int, purpose: str, seed: int
) -> tuple[Floats, Design]:
    """Draw curves from the fit of some curves, each from a stream of its own.

    Args:
        y: Scores, shape (n, m).
        design: The curves.
        fit: Their fits.
        part: Numbers of the curves to be drawn from.
        size: Replicates of each.
        purpose: Tells streams of one curve apart.
        seed: Seed.

    Returns:
        Scores of shape (n, len(part) * size), those of a curve side by side, and their design.
    """
    drawn = [
        draw_scores(
            design, fit, j, size,
            stream(seed, purpose, y[:, j], design.x[:, j], np.log(design.trials[:, j])),
        )
        for j in part.tolist()
    ]  # fmt: skip
    again = design.take(np.repeat(part, size))
    return np.ascontiguousarray(np.concatenate(drawn).T), again
