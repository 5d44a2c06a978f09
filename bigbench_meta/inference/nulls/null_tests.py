"""Every curve against a null: smooth mechanism or straight line, corrected for all that was tried.

A thin wrapper of :mod:`inference.nulls.mechanism_null`, :mod:`inference.nulls.line_null`
and :mod:`inference.nulls.family_sigma`, which say what is tested and how; ``docs/nulls.md``
says why, and how well it works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import seed_number
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.multiplicity import adjusted_p_values
from bigbench_meta.inference.nulls.family_sigma import family_sigma, sigma_profile
from bigbench_meta.inference.nulls.inputs import DEFAULT_PARTS, INPUT_PROBLEMS, NullInputs
from bigbench_meta.inference.nulls.line_null import line_null
from bigbench_meta.inference.nulls.links import CONCENTRATIONS
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.parts import (
    MIN_SCALES,
    NULL_STATUSES,
    TOO_FEW_SCALES,
    RaggedNull,
)
from bigbench_meta.inference.nulls.sup_over_nuisance import best_fit, hardest
from bigbench_meta.inference.nulls.target_lengths import all_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.nulls.goodness_of_fit import GoodnessOfFit

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Names = NDArray[np.object_]

__all__ = ["STATUSES", "Null", "null_tests"]

Null = Literal["mechanism", "line"]

STATUSES: Final = (*NULL_STATUSES, *INPUT_PROBLEMS)
"""What can keep a curve from being tested; ``ok`` where nothing does."""

STOP_AFTER: Final = 20
"""Replicates as large after which a curve needs no more.

By then a p-value of 0.05 is known to 0.01.
"""

_BOUNDS: Final = np.array(["lower", "", "upper"], dtype=object)


def null_tests(
    curves: Curves,
    *,
    null: Null = "mechanism",
    n_boot: int = 999,
    stop_after: int | None = STOP_AFTER,
    seed: int | np.random.Generator = 0,
    variation: Literal["curve", "family"] | float = "curve",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    parts: float = DEFAULT_PARTS,
    profile_floor: bool = False,
    concentrations: Sequence[float] = CONCENTRATIONS,
    goodness: bool = True,
    min_scales: int = MIN_SCALES,
    catalog: MetricCatalog | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    r"""Test every curve against a null and correct for the number searched.

    ``mechanism``: a per-token loss that is a power law of scale with an exponent in
    ``alpha_range``, seen through the metric and a test set of this size, with variation between
    models (Schaeffer et al. 2023, sec. 2). Where the guess rate of a metric or how alike the
    questions of a multiple choice are is not stated, all of
    :func:`candidates` are tried, and the largest p-value counts.
    ``line``: a straight line in log scale plus noise.

    A p-value cannot be below 1 / (1 + n_boot), and the smallest of m curves must be below 0.05 / m
    to survive alone: search many curves with many replicates. It costs little, since with
    ``stop_after`` only small p-values take all of them.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        null: The null.
        n_boot: Bootstrap replicates a curve, at most.
        stop_after: A curve's bootstrap ends where so many replicates were as large as the curve
            itself, in both statistics (Besag & Clifford 1991), and with p-values above
            :data:`SETTLED` no further guess rates are tried, so that
            such a p-value can be too small. None for all replicates and all guess rates. The line,
            which is quick, always takes all.
        seed: Seed or generator. A curve's p-values do not depend on the other curves.
        variation: Variation between models in log loss: estimated from the ``curve``; from the
            other curves of its model ``family``, pooled; or this number.
        alpha_range: Bounds of the exponent, see :data:`ALPHA_RANGE`.
        chance: Guess rate in the unit of the score, a number or one a curve, NaN for not given.
        n_choices: Number of choices, likewise.
        n_examples: Size of the test set where the observations give none, likewise.
        parts: Yes-or-no parts of an example where its score is neither right nor wrong.
        profile_floor: Whether all guess rates are tried on all curves.
        concentrations: How alike the questions of a multiple choice may be, see
            :func:`grade`; none for models that know an answer or guess.
        goodness: Whether the fit of the mechanism without variation between models is tested too.
        min_scales: Curves with fewer points are not tested.
        catalog: Metric catalog; the packaged one by default.
        progress: Called with (rows done, rows): curves, times the guess rates tried.

    Returns:
        One row a curve, in the order of the curves: the key columns, ``metric_type``, ``scale``,
        ``n_scales``, ``null``; ``p_step`` and ``p_sharpness``; ``q_bh``, ``q_by``, ``p_holm`` of
        ``p_step`` and ``n_searched``; ``step_score``, ``step_from`` and ``step_to`` (the scales
        between which the step is) and ``step_size`` (fall of the log loss, infinite above 8; units
        of the score for the line); ``relative_sharpness`` of what was tested; ``alpha_hat``,
        ``at_bound``, ``sigma_hat``, ``sigma_source``, ``floor`` (as a proportion) and
        ``floor_source``; ``deviance``, ``pearson``, ``df``, ``p_fit`` of the guess rate that fits
        best without variation between models; ``n_valid`` replicates and ``status``, one of
        :data:`STATUSES`. A curve that cannot be tested has NaN p-values and its reason in
        ``status``, and does not count as searched.

    Raises:
        InputError: An option is out of range.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves.select(curves.keys["task"].isin(["arithmetic 3D+", "PIQA"]))
        >>> tests = null_tests(some, n_boot=99, goodness=False)
        >>> set(tests["status"]), int(tests["n_searched"].iloc[0])
        ({'ok'}, 6)
    """
    _check(null, variation)
    if null == "line":
        found = line_null(
            curves.oriented, curves.x, curves.offsets,
            n_boot=n_boot, seed=seed, min_scales=min_scales, progress=progress,
        )  # fmt: skip
        return _frame(curves, found, null=null, problem=np.full(len(curves), "", dtype=object))
    inputs = all_inputs(
        curves, catalog=catalog, chance=chance, n_choices=n_choices, n_examples=n_examples,
        parts=parts, profile_floor=profile_floor,
        concentrations=concentrations,
    )  # fmt: skip
    sigma = _sigma(curves, inputs, variation, alpha_range, min_scales)
    base, lengths = seed_number(seed), np.diff(curves.offsets)
    best = hardest(
        inputs, lengths, sigma, alpha_range=alpha_range, n_boot=n_boot, stop_after=stop_after,
        seed=base, min_scales=min_scales, progress=progress,
    )  # fmt: skip
    fit = (
        best_fit(inputs, len(curves), alpha_range=alpha_range, seed=base, min_scales=min_scales)
        if goodness
        else None
    )
    named = "given" if isinstance(variation, (int, float)) else variation
    known = (best.row >= 0) & ~np.isnan(np.append(sigma, np.nan)[best.row])
    return _frame(
        curves, best.tests, null=null, problem=inputs.problem, fit=fit,
        floor=np.append(inputs.floor, np.nan)[best.row],
        floor_source=inputs.floor_source, sigma_source=np.where(known, named, "curve"),
    )  # fmt: skip


def _check(null: str, variation: str | float) -> None:
    if null not in get_args(Null):
        raise InputError(f"{null!r} is no null", where="null", hint="mechanism or line")
    if isinstance(variation, str):
        if variation not in {"curve", "family"}:
            raise InputError(f"{variation!r}", where="variation", hint="curve, family or a number")
    elif not variation >= 0:
        raise InputError(f"{variation} is no number from 0 on", where="variation")


def _sigma(
    curves: Curves, inputs: NullInputs, variation: str | float, alpha_range: tuple[float, float],
    min_scales: int,
) -> Floats:  # fmt: skip
    """Return the known variation between models for each row, NaN where the curve shall tell."""
    if variation == "curve":
        return np.full(len(inputs.curve), np.nan)
    if variation != "family":
        return np.full(len(inputs.curve), float(variation))
    profile = sigma_profile(
        inputs.y, inputs.x, inputs.trials, inputs.offsets, floor=inputs.floor,
        link=inputs.link, alpha_range=alpha_range, min_scales=min_scales,
    )  # fmt: skip
    family = pd.factorize(curves.keys["model_family"].astype(str))[0].astype(np.int64)
    kind = pd.factorize(pd.Series([link.likeness for link in inputs.link]))[0].astype(np.int64)
    return family_sigma(profile, inputs.curve, kind, family)


def _frame(
    curves: Curves,
    found: RaggedNull,
    *,
    null: Null,
    problem: Names,
    fit: GoodnessOfFit | None = None,
    floor: Floats | float = np.nan,
    floor_source: Names | str = "",
    sigma_source: Names | str = "curve",
) -> pd.DataFrame:
    """Label the results."""
    status = np.array(NULL_STATUSES, dtype=object)[found.status]
    status = np.where((problem != "") & (found.status != TOO_FEW_SCALES), problem, status)
    has_step = found.n_before > 0
    before = np.where(has_step, curves.offsets[:-1] + found.n_before - 1, 0)
    padded = np.append(curves.x, [np.nan, np.nan])
    return pd.concat(
        [
            curves.keys[[*CURVE_KEY, "metric_type", "scale"]].reset_index(drop=True),
            pd.DataFrame(
                {
                    "n_scales": np.diff(curves.offsets),
                    "null": null,
                    "p_step": found.p_step,
                    "p_sharpness": found.p_sharpness,
                }
            ),
            adjusted_p_values(found.p_step),
            pd.DataFrame(
                {
                    "step_score": found.step_score,
                    "step_from": np.where(has_step, padded[before], np.nan),
                    "step_to": np.where(has_step, padded[before + 1], np.nan),
                    "step_size": found.step_size,
                    "relative_sharpness": found.sharpness,
                    "alpha_hat": found.alpha,
                    "at_bound": _BOUNDS[found.at_bound + 1],
                    "sigma_hat": found.sigma,
                    "sigma_source": sigma_source,
                    "floor": floor,
                    "floor_source": floor_source,
                    "deviance": np.nan if fit is None else fit.deviance,
                    "pearson": np.nan if fit is None else fit.pearson,
                    "df": found.df,
                    "p_fit": np.nan if fit is None else fit.p_value,
                    "n_valid": found.n_valid,
                    "status": status,
                }
            ),
        ],
        axis=1,
    )
