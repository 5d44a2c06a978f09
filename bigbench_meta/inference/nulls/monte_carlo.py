"""Monte Carlo tests of a batch of curves: random streams, p-values and results."""

from __future__ import annotations

from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "FEWEST_REPLICATES",
    "MIN_SCALES",
    "NULL_STATUSES",
    "REPLICATES_AT_A_TIME",
    "NullResults",
    "SequentialPValues",
    "is_flat",
    "rounds",
    "stream",
]

MIN_SCALES: Final = 4
"""With three scales a level, a slope and a step leave nothing over."""

NULL_STATUSES: Final = (
    "ok", "too_few_scales", "flat", "not_converged", "no_information", "few_replicates",
)  # fmt: skip
OK, TOO_FEW_SCALES, FLAT, NOT_CONVERGED, NO_INFORMATION, FEW_REPLICATES = range(6)

REPLICATES_AT_A_TIME: Final = 4096
"""Their arrays stay in the processor's cache."""

FEWEST_REPLICATES: Final = 19
"""With fewer that can be tested no p-value reaches 0.05."""


def is_flat(y: Floats) -> Bools:
    """Return which curves, given scale first, have one score throughout."""
    return np.asarray(np.ptp(y, axis=0) == 0)


# Results -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NullResults:
    """Tests of a batch of curves against one null; every array has one entry a curve.

    Attributes:
        p_step: P-value of the largest upward step; NaN where ``status`` is not ``ok``.
        p_sharpness: P-value of the relative sharpness; NaN likewise.
        step_score: Largest standardised score of an upward step.
        n_before: Scales before that step; 0 where there is none.
        step_size: Its size: log loss for the mechanism, units of the score for the line.
        sharpness: Relative sharpness E / (n - 1) of the scores tested.
        level: Log loss, or score, at the mean log scale.
        alpha: Exponent of the power law; for the line the slope by log scale.
        sigma: Variation between models: of log loss, or of the score.
        at_bound: -1 or 1 where alpha is at its lower or upper bound.
        df: Degrees of freedom, n - 2.
        n_valid: Replicates that could be tested, as the curve itself could, up to where its
            bootstrap stopped.
        status: Index into :data:`NULL_STATUSES`.
    """

    p_step: Floats
    p_sharpness: Floats
    step_score: Floats
    n_before: Ints
    step_size: Floats
    sharpness: Floats
    level: Floats
    alpha: Floats
    sigma: Floats
    at_bound: NDArray[np.int8]
    df: Ints
    n_valid: Ints
    status: NDArray[np.int8]

    @classmethod
    def of_lengths(cls, lengths: Ints) -> Self:
        """Return results of curves of which only the lengths are known, to be filled in."""
        m = len(lengths)
        unknown = (
            "p_step", "p_sharpness", "step_score", "step_size", "sharpness", "level", "alpha",
            "sigma",
        )  # fmt: skip
        return cls(
            **{name: np.full(m, np.nan) for name in unknown},
            n_before=np.zeros(m, dtype=np.int64),
            at_bound=np.zeros(m, dtype=np.int8),
            df=np.maximum(lengths - 2, 0),
            n_valid=np.zeros(m, dtype=np.int64),
            status=np.where(lengths < MIN_SCALES, TOO_FEW_SCALES, OK).astype(np.int8),
        )

    def take(self, curves: Ints) -> Self:
        """Return the results of some curves."""
        return type(self)(**{one.name: getattr(self, one.name)[curves] for one in fields(self)})

    def put(self, curves: Ints, part: Self) -> None:
        """Fill in the results of some curves."""
        for field in fields(self):
            getattr(self, field.name)[curves] = getattr(part, field.name)


# P-values ------------------------------------------------------------------------------------


def stream(seed: int, purpose: str, *values: Floats) -> np.random.Generator:
    """Return random numbers that depend on a seed and on a curve's own numbers alone.

    So neither the order of curves nor the size of batches matters. The numbers are rounded, so that
    scores in percent and as proportions have the same stream.

    Args:
        seed: Whole number, at least 0.
        purpose: Distinguishes streams of one curve.
        values: The numbers of the curve; of order 1.
    """
    digest = blake2b(purpose.encode(), digest_size=16)
    for array in values:
        digest.update((np.round(array, 9) + 0.0).tobytes())  # + 0.0 turns -0.0 into 0.0
    # The words of the seed and those of the digest as one number, which is the fastest to take in.
    n_words = max(1, -(-seed.bit_length() // 32))
    return np.random.default_rng(seed | int.from_bytes(digest.digest(), "little") << (32 * n_words))


def rounds(n_boot: int, stop_after: int | None) -> Iterator[int]:
    """Yield how many replicates are drawn at a time: all, or as many as there have been.

    Examples:
        >>> list(rounds(999, 20))
        [40, 40, 80, 160, 320, 359]
        >>> list(rounds(999, None))
        [999]
    """
    done = 0
    while done < n_boot:
        size = n_boot if stop_after is None else min(max(done, 2 * stop_after), n_boot - done)
        yield size
        done += size


@dataclass
class SequentialPValues:
    r"""Monte Carlo p-values of m curves, whose replicates may end early.

    With B valid replicates, k of them at least as large as the observed statistic, the p-value is
    (1 + k) / (1 + B). If the curve stops at the h-th of these, and that is the l-th replicate, the
    p-value is h / l, whatever is drawn after it. Both are valid: under the null P(p <= u) <= u.

    Attributes:
        observed: The statistics, shape (m,); infinite is allowed.
        stop_after: h; None for all replicates.
        large: Replicates that were as large, up to where the curve stopped, shape (m,).
        valid: Replicates that could be tested, likewise.
        done: Whether the curve has stopped.
        least: P-value below which the curve's own does not matter, since another is as large: with
            ``stop_after`` it stops where its own cannot be above that any more, shape (m,).

    References:
        Besag & Clifford (1991), Sequential Monte Carlo p-values, doi:10.1093/biomet/78.2.301.

    Examples:
        >>> found = SequentialPValues.start(np.array([2.0, 2.0]), 2)
        >>> found.add(np.arange(2), np.array([[1.0, 3.0, 2.0, 5.0], [1.0, 1.0, 9.0, 1.0]]))
        >>> found.p_values(), found.done
        (array([0.66666667, 0.4       ]), array([ True, False]))
        >>> small = SequentialPValues.start(np.array([2.0]), 2, np.array([0.5]))
        >>> small.add(np.array([0]), np.zeros((1, 9)))
        >>> small.p_values(), small.valid, small.done
        (array([0.2]), array([4]), array([ True]))
    """

    observed: Floats
    stop_after: int | None
    large: Ints
    valid: Ints
    done: Bools
    least: Floats

    @classmethod
    def start(cls, observed: Floats, stop_after: int | None, least: Floats | None = None) -> Self:
        """Begin with no replicates."""
        zero = np.zeros(len(observed), dtype=np.int64)
        lowest = np.zeros(len(observed)) if least is None else least
        return cls(observed, stop_after, zero, zero.copy(), zero > 0, lowest)

    def add(self, rows: Ints, replicates: Floats, valid: Bools | None = None) -> None:
        """Count more replicates of some curves; those that have stopped stay as they are.

        Ties count, also where they are equal but for rounding.

        Args:
            rows: Numbers of the curves.
            replicates: Shape (len(rows), b); infinite is allowed.
            valid: Whether a replicate could be tested, of the same shape; all by default.
        """
        usable = np.ones(replicates.shape, dtype=bool) if valid is None else valid
        observed = self.observed[rows]
        finite = np.where(np.isfinite(observed), observed, 0.0)
        least = np.where(np.isfinite(observed), observed - 1e-6 * (1 + np.abs(finite)), observed)
        at_least = usable & (replicates >= least[:, None])
        if self.stop_after is None:
            self.large[rows] += at_least.sum(axis=1)
            self.valid[rows] += usable.sum(axis=1)
            return
        large = self.large[rows, None] + at_least.cumsum(axis=1)
        count = self.valid[rows, None] + usable.cumsum(axis=1)
        last = np.full(len(rows), replicates.shape[1] - 1)
        # The largest p-value that can come: the last of the large ones would be the next.
        hopeless = self.stop_after <= self.least[rows, None] * count
        enough = (large >= self.stop_after) | hopeless
        stops = enough[:, -1]
        last[stops] = enough[stops].argmax(axis=1)
        row, open_ = np.arange(len(rows)), ~self.done[rows]
        self.large[rows[open_]] = large[row, last][open_]
        self.valid[rows[open_]] = count[row, last][open_]
        self.done[rows] |= stops

    def p_values(self) -> Floats:
        """Return the p-values by what has been counted."""
        stopped = self.large / np.maximum(self.valid, 1)
        full = self.done if self.stop_after is None else self.large >= self.stop_after
        return np.asarray(np.where(full, stopped, (1 + self.large) / (1 + self.valid)))
