"""What the two nulls share: results, blocks of one length, streams of random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "MIN_SCALES",
    "NULL_STATUSES",
    "RaggedNull",
    "blocks_of_one_length",
    "centred_log",
    "check_ragged",
    "stream",
    "unknown",
]

MIN_SCALES: Final = 4
"""With three scales a level, a slope and a step leave nothing over."""

NULL_STATUSES: Final = (
    "ok", "too_few_scales", "flat", "not_converged", "no_information", "few_replicates",
)  # fmt: skip
OK, TOO_FEW_SCALES, FLAT, NOT_CONVERGED, NO_INFORMATION, FEW_REPLICATES = range(6)

COLUMNS: Final = 4096
"""Replicates fitted at a time: their arrays stay in the processor's cache."""

FEWEST_REPLICATES: Final = 19
"""With fewer that can be tested no p-value reaches 0.05."""


@dataclass(frozen=True, kw_only=True)
class RaggedNull:
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


def unknown(lengths: Ints, min_scales: int) -> RaggedNull:
    """Return results of which only the length of the curves is known, to be filled in."""
    m = len(lengths)
    floats = (
        "p_step", "p_sharpness", "step_score", "step_size", "sharpness", "level", "alpha", "sigma",
    )  # fmt: skip
    return RaggedNull(
        **{name: np.full(m, np.nan) for name in floats},
        n_before=np.zeros(m, dtype=np.int64),
        at_bound=np.zeros(m, dtype=np.int8),
        df=np.maximum(lengths - 2, 0),
        n_valid=np.zeros(m, dtype=np.int64),
        status=np.where(lengths < min_scales, TOO_FEW_SCALES, OK).astype(np.int8),
    )


def check_ragged(
    y: Floats, x: Floats, offsets: Ints, n_boot: int, min_scales: int, stop_after: int | None = None
) -> None:
    """Raise InputError where the arrays do not form curves that rise in scale."""
    if (
        len(offsets) == 0
        or offsets[0] != 0
        or offsets[-1] != len(y)
        or np.any(np.diff(offsets) < 0)
    ):
        raise InputError(f"must rise from 0 to the number of scores, {len(y)}", where="offsets")
    if len(x) != len(y):
        raise InputError(f"{len(x)} scales for {len(y)} scores", where="x")
    for name, values in (("y", y), ("x", x)):
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(f"{values[first]} at position {first} is not finite", where=name)
    inside = np.ones(len(x), dtype=bool)
    inside[offsets[:-1][offsets[:-1] < len(x)]] = False
    if np.any(x <= 0) or np.any(inside[1:] & (np.diff(x) <= 0)):
        raise InputError("must be positive and rise within each curve", where="x")
    if n_boot < FEWEST_REPLICATES:
        raise InputError(f"{n_boot} is below {FEWEST_REPLICATES}", where="n_boot")
    if stop_after is not None and stop_after < 1:
        raise InputError(f"{stop_after} is below 1", where="stop_after")
    if min_scales < MIN_SCALES:
        raise InputError(f"{min_scales} is below {MIN_SCALES}", where="min_scales")


def blocks_of_one_length(lengths: Ints, least: int, size: int) -> Iterator[tuple[Ints, int]]:
    """Yield numbers of curves of one length, at most ``size`` at a time, and the length."""
    for length in np.unique(lengths[lengths >= least]):
        group = np.flatnonzero(lengths == length)
        for start in range(0, len(group), size):
            yield group[start : start + size], int(length)


def centred_log(x: Floats) -> Floats:
    """Return the logarithm of scales (n, m), less its mean over each curve."""
    log = np.log(x)
    return np.asarray(log - log.mean(axis=0))


def stream(seed: int, purpose: str, *values: Floats) -> np.random.Generator:
    """Return random numbers that depend on a seed and on a curve's own numbers alone.

    So neither the order of curves nor the size of batches matters. The numbers are rounded, that
    scores in percent and as proportions have the same stream.

    Args:
        seed: Whole number from 0 on.
        purpose: Tells streams of one curve apart.
        values: What makes the curve; of order 1.
    """
    digest = blake2b(purpose.encode(), digest_size=16)
    for array in values:
        digest.update((np.round(array, 9) + 0.0).tobytes())  # + 0.0 turns -0.0 into 0.0
    words = np.frombuffer(digest.digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence([seed, *words.tolist()]))
