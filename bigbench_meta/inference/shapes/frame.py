"""Ragged curves to blocks of one length, on log scales from 0 to 1 and scores of range 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.shapes.coefficients import Block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Frame", "Ragged", "blocks"]

# Curves fitted at a time.
_BLOCK: Final = 512


@dataclass(frozen=True, kw_only=True)
class Ragged:
    """Checked input: curve i is ``[offsets[i]:offsets[i + 1]]``.

    Attributes:
        y: Scores.
        x: Scales, ascending in each curve.
        offsets: Shape (m + 1,).
        variance: Of each score, NaN where not known.
        low: Least possible score of each curve, -inf for none.
        high: Largest possible score, inf for none.
    """

    y: Floats
    x: Floats
    offsets: Ints
    variance: Floats
    low: Floats
    high: Floats

    @classmethod
    def checked(
        cls,
        y: Floats,
        x: Floats,
        offsets: Ints,
        variance: Floats | None,
        low: Floats | None,
        high: Floats | None,
    ) -> Ragged:
        """Return the input as arrays of floats.

        Raises:
            InputError: Something does not fit, with the place of the first value that is wrong.
        """
        y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
        offsets = np.asarray(offsets, np.int64)
        m = max(len(offsets) - 1, 0)
        ragged = cls(
            y=y,
            x=x,
            offsets=offsets,
            variance=np.full(y.shape, np.nan) if variance is None else np.asarray(variance, float),
            low=_bounds(low, -np.inf, m, "low"),
            high=_bounds(high, np.inf, m, "high"),
        )
        ragged._check()
        return ragged

    @property
    def lengths(self) -> Ints:
        """Points of each curve."""
        return np.diff(self.offsets)

    @property
    def curve(self) -> Ints:
        """Curve of each point."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def _check(self) -> None:
        y, x, offsets = self.y, self.x, self.offsets
        for name, values in (("x", x), ("variance", self.variance)):
            if values.shape != y.shape:
                raise InputError(f"shape {values.shape}, not {y.shape}", where=name)
        if len(offsets) == 0 or offsets[0] or offsets[-1] != len(y) or (self.lengths < 0).any():
            raise InputError(
                f"must ascend from 0 to the number of values, {len(y)}", where="offsets"
            )
        inside = np.ones(len(y), dtype=bool)
        inside[offsets[:-1][offsets[:-1] < len(y)]] = False
        curve, variance = self.curve, self.variance
        for where, values, wrong, what in (
            ("y", y, ~np.isfinite(y), "not finite"),
            ("x", x, ~(np.isfinite(x) & (x > 0)), "not a positive number"),
            ("x", x, inside & (np.diff(x, prepend=0.0) <= 0), "not above the scale before"),
            ("variance", variance, (variance <= 0) | np.isinf(variance), "not a positive number"),
            ("y", y, (y < self.low[curve]) | (y > self.high[curve]), "outside its bounds"),
        ):
            if wrong.any():
                first = int(np.flatnonzero(wrong)[0])
                raise InputError(f"{values[first]} at position {first} is {what}", where=where)


def _bounds(values: Floats | None, default: float, m: int, where: str) -> Floats:
    if values is None:
        return np.full(m, default)
    values = np.asarray(values, np.float64)
    if values.shape != (m,):
        raise InputError(f"shape {values.shape}, not ({m},)", where=where)
    return np.where(np.isnan(values), default, values)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How each curve is brought to a common form; every array has shape (m,).

    Attributes:
        x_first: Smallest scale.
        span: Logarithm of the largest over the smallest scale.
        shift: Middle of the scores.
        scale: Range of the scores, 0 on a flat curve.
        unit_variance: Variance of a point of weight 1: the smallest one, or 1 where not all are
            known.
        variance_known: Whether the variances of all points are known.
        log_variances: Sum of their logarithms, 0 where not all are known.
    """

    x_first: Floats
    span: Floats
    shift: Floats
    scale: Floats
    unit_variance: Floats
    variance_known: NDArray[np.bool_]
    log_variances: Floats

    @classmethod
    def of(cls, data: Ragged) -> Frame:
        """Return the frame of a batch; NaN for a curve without points."""
        m, full = len(data.lengths), data.lengths > 0
        begins, ends = data.offsets[:-1][full], data.offsets[1:][full] - 1
        x_first, span, shift, scale = (np.full(m, np.nan) for _ in range(4))
        unit, known = np.ones(m), np.zeros(m, dtype=bool)
        if full.any():
            lowest = np.minimum.reduceat(data.y, begins)
            highest = np.maximum.reduceat(data.y, begins)
            x_first[full] = data.x[begins]
            span[full] = np.log(data.x[ends]) - np.log(data.x[begins])
            # Halved first, as the sum or difference of two huge scores overflows.
            shift[full] = lowest / 2 + highest / 2
            scale[full] = 2 * np.minimum(highest / 2 - lowest / 2, np.finfo(float).max / 4)
            known[full] = ~np.logical_or.reduceat(np.isnan(data.variance), begins)
            least = np.minimum.reduceat(data.variance, begins)
            unit[full] = np.where(known[full], least, 1.0)
        logs = np.bincount(data.curve, np.log(data.variance), m)
        return cls(
            x_first=x_first, span=span, shift=shift, scale=scale, unit_variance=unit,
            variance_known=known, log_variances=np.where(known, logs, 0.0),
        )  # fmt: skip

    def block(self, data: Ragged, rows: Ints) -> Block:
        """Return curves of one length in the common form."""
        points = data.offsets[rows][:, None] + np.arange(data.lengths[rows[0]])
        shift, scale = self.shift[rows][:, None], self.scale[rows][:, None]
        known = self.variance_known[rows][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.log(data.x[points]) - np.log(self.x_first[rows])[:, None]
            ratio = self.unit_variance[rows][:, None] / data.variance[points]
            return Block(
                u=u / self.span[rows][:, None],
                y=(data.y[points] - shift) / scale,
                w=np.sqrt(np.where(known, ratio, 1.0)),
                low=(data.low[rows] - shift[:, 0]) / scale[:, 0],
                high=(data.high[rows] - shift[:, 0]) / scale[:, 0],
            )


def blocks(lengths: Ints) -> Iterator[Ints]:
    """Yield indices of curves of one length, at most a block at a time, those without points not.

    Examples:
        >>> import numpy as np
        >>> [rows.tolist() for rows in blocks(np.array([3, 0, 2, 3]))]
        [[2], [0, 3]]
    """
    order = np.argsort(lengths, kind="stable")
    order = order[np.searchsorted(lengths[order], 1) :]
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        for start in range(0, len(group), _BLOCK):
            yield group[start : start + _BLOCK]
