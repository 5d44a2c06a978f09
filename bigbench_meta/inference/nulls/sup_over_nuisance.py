"""Curves that may have several guess rates or links: the largest of their p-values counts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.inference.nulls.goodness_of_fit import (
    GoodnessOfFit,
    goodness_of_fit,
    least_deviance,
)
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.parts import RaggedNull, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.inference.nulls.inputs import NullInputs

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["SETTLED", "Hardest", "best_fit", "hardest"]

SETTLED: Final = 0.2
"""A curve both of whose p-values are above it with one guess rate need not be tried with others.

Its p-values could only be larger, and no correction for the number searched makes anything of it.
"""


@dataclass(frozen=True, kw_only=True)
class Hardest:
    """Tests of curves, each with the guess rate and link under which it is hardest to reject.

    Attributes:
        tests: One entry a curve.
        row: The row of the inputs whose results these are; -1 where there is none.
    """

    tests: RaggedNull
    row: Ints


def hardest(
    inputs: NullInputs,
    lengths: Ints,
    sigma: Floats,
    *,
    alpha_range: tuple[float, float],
    n_boot: int,
    stop_after: int | None,
    seed: int,
    min_scales: int,
    progress: Callable[[int, int], None] | None,
) -> Hardest:
    """Test rows and keep of each curve the row with the largest p-value.

    With ``stop_after``, a curve's rows are tested one after another, and only while its p-values
    are not settled. Rows that cannot be tested settle nothing.

    Args:
        inputs: The rows.
        lengths: Scales of each curve, shape (m,).
        sigma: Variation between models of each row, NaN where the row shall tell.
        alpha_range: Bounds of the exponent.
        n_boot: Replicates.
        stop_after: See :func:`bigbench_meta.inference.nulls.mechanism_null.mechanism_null`.
        seed: Seed.
        min_scales: Curves with fewer points are not tested.
        progress: Called with (rows done, rows).
    """
    n_rows = len(inputs.curve)
    rows = unknown(np.diff(inputs.offsets), min_scales)
    step, sharp = np.full(len(lengths), -np.inf), np.full(len(lengths), -np.inf)
    order = np.arange(n_rows) - np.searchsorted(inputs.curve, inputs.curve)
    waves = order if stop_after is not None else np.zeros(n_rows, dtype=np.int64)
    tried = np.zeros(n_rows, dtype=bool)
    for wave in range(int(waves.max(initial=-1)) + 1):
        settled = (step > SETTLED) & (sharp > SETTLED)
        chosen = np.flatnonzero((waves == wave) & ~settled[inputs.curve])
        if not len(chosen):
            break
        part = inputs.take(chosen)
        before = int((waves < wave).sum())
        found = mechanism_null(
            part.y, part.x, part.trials, part.offsets, floor=part.floor, link=part.link,
            sigma=sigma[chosen], alpha_range=alpha_range, n_boot=n_boot, stop_after=stop_after,
            seed=seed, min_scales=min_scales, progress=_shifted(progress, before, n_rows),
        )  # fmt: skip
        _put(rows, chosen, found)
        tried[chosen] = True
        np.fmax.at(step, part.curve, found.p_step)
        np.fmax.at(sharp, part.curve, found.p_sharpness)
    if progress is not None and n_rows:
        progress(n_rows, n_rows)
    return _chosen(inputs.curve, rows, tried, lengths, sharp, min_scales)


def _shifted(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    """Count rows of former waves, tested or not, as done."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _put(target: RaggedNull, where: Ints, values: RaggedNull) -> None:
    for field in fields(RaggedNull):
        getattr(target, field.name)[where] = getattr(values, field.name)


def _chosen(
    curve: Ints, rows: RaggedNull, tried: Bools, lengths: Ints, sharp: Floats, min_scales: int
) -> Hardest:
    """Return each curve's row that is hardest to reject, with the largest p-value of sharpness."""
    tests, row = unknown(lengths, min_scales), np.full(len(lengths), -1, dtype=np.int64)
    rank = np.where(np.isnan(rows.p_step), np.where(tried, -1.0, -2.0), rows.p_step)
    order = np.lexsort((-rank, curve))
    first = order[np.unique(curve[order], return_index=True)[1]]
    row[curve[first]] = first
    for field in fields(RaggedNull):
        getattr(tests, field.name)[curve[first]] = getattr(rows, field.name)[first]
    keep = np.isfinite(sharp) & ~np.isnan(tests.p_sharpness)
    tests.p_sharpness[keep] = sharp[keep]
    return Hardest(tests=tests, row=row)


def best_fit(
    inputs: NullInputs,
    n_curves: int,
    *,
    alpha_range: tuple[float, float],
    seed: int,
    min_scales: int,
) -> GoodnessOfFit:
    """Test the fit of the row of each curve that fits best.

    Args:
        inputs: The rows.
        n_curves: Number of curves.
        alpha_range: Bounds of the exponent.
        seed: Seed.
        min_scales: Curves with fewer points are not tested.
    """
    best = least_deviance(
        inputs.y, inputs.x, inputs.trials, inputs.offsets, inputs.curve,
        floor=inputs.floor, link=inputs.link, alpha_range=alpha_range, min_scales=min_scales,
    )  # fmt: skip
    own = inputs.take(best)
    found = goodness_of_fit(
        own.y, own.x, own.trials, own.offsets, floor=own.floor, link=own.link,
        alpha_range=alpha_range, seed=seed, min_scales=min_scales,
    )  # fmt: skip
    result = {field.name: np.full(n_curves, np.nan) for field in fields(GoodnessOfFit)}
    for name, values in result.items():
        values[own.curve] = getattr(found, name)
    return GoodnessOfFit(**result)
