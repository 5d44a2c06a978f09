"""Test every curve against a null, corrected for all curves searched and settings tried.

:mod:`inference.nulls.inputs` makes rows of curves, one for each nuisance setting that a curve may
have; :mod:`inference.nulls.irreducible` finds the irreducible part of the loss of each,
:mod:`inference.nulls.family_sigma` their variation between models from the family, and
:mod:`inference.nulls.mechanism_null` tests them; here the largest p-value of each curve is taken,
and all is labelled. ``docs/nulls.md`` says why, and how well it works.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import one_a_curve, one_of, seed_number
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.chunks import Analysis, analyse
from bigbench_meta.inference.multiplicity import adjusted_p_values
from bigbench_meta.inference.nulls.family_sigma import family_variation, sigma_likelihood
from bigbench_meta.inference.nulls.goodness_of_fit import (
    GoodnessOfFit,
    goodness_of_fit,
    least_deviance,
)
from bigbench_meta.inference.nulls.inputs import INPUT_PROBLEMS, NullInputs, null_inputs
from bigbench_meta.inference.nulls.irreducible import least_scatter
from bigbench_meta.inference.nulls.line_null import line_null
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE, SIGMA_GRID
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.monte_carlo import (
    NULL_STATUSES,
    TOO_FEW_SCALES,
    NullResults,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress, Report
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Names = NDArray[np.object_]

__all__ = ["STATUSES", "Null", "default_replicates", "null_tests", "variation_of_families"]

Null = Literal["mechanism", "line"]

STATUSES: Final = (*NULL_STATUSES, *INPUT_PROBLEMS)
"""What can keep a curve from being tested; ``ok`` where nothing does."""

STOP_AFTER: Final = 20
"""Replicates as large after which a curve needs no more.

By then a p-value of 0.05 is known to 0.01.
"""

SETTLED: Final = 0.2
"""Where both p-values of a curve are above it in one nuisance setting, no others need be tried.

Its p-values could only be larger, and above it none survives a correction.
"""

_LEAST_REPLICATES: Final = 999
_MOST_REPLICATES: Final = 9999

_BOUNDS: Final = np.array(["lower", "", "upper"], dtype=object)


def default_replicates(n_curves: int) -> int:
    """Return how many bootstrap replicates a search of so many curves needs.

    A p-value cannot be below 1 / (1 + replicates), and the smallest of m must be below 0.05 / m to
    survive a correction alone: 20 m, at least 999 and at most 9999. Curves that are far from
    significant stop early (:func:`null_tests`), so most of them cost much less.

    Examples:
        >>> default_replicates(10), default_replicates(189), default_replicates(20_000)
        (999, 3780, 9999)
    """
    return int(np.clip(20 * n_curves, _LEAST_REPLICATES, _MOST_REPLICATES))


def null_tests(
    curves: Curves,
    *,
    null: Null = "mechanism",
    n_boot: int | None = None,
    stop_after: int | None = STOP_AFTER,
    seed: int | np.random.Generator = 0,
    variation: Literal["curve", "family"] | float | Sequence[Floats] = "curve",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    chance: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    goodness: bool = True,
    catalog: MetricCatalog | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    r"""Test every curve against a null and correct for the number searched.

    ``mechanism``: a per-token loss that is a power law of scale with an exponent in
    ``alpha_range`` and an irreducible part, seen through the metric and a test set of this size,
    with variation between models (Schaeffer et al. 2023, sec. 2). The irreducible part is the one
    about which the curve scatters least (:mod:`bigbench_meta.inference.nulls.irreducible`). Where
    the guess rate of a metric, or how alike the questions of a multiple choice are, is not known, a
    grid of these nuisance settings is tried
    (:func:`bigbench_meta.inference.nulls.inputs.nuisance_grid`), and the largest p-value counts.
    ``line``: a straight line in log scale plus noise.

    With ``stop_after`` only small p-values take all replicates.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        null: The null.
        n_boot: Bootstrap replicates a curve, at most; by default :func:`default_replicates`.
        stop_after: A curve's bootstrap ends where so many replicates were as large as the curve
            itself, in both statistics (Besag & Clifford 1991), and with p-values above
            :data:`SETTLED` no further nuisance settings are tried, so that such a p-value can be
            too small. None for all replicates and all settings.
        seed: Seed or generator. A curve's p-values do not depend on the other curves.
        variation: Variation between models in log loss: estimated from the ``curve``; by a
            distribution that the other curves of its model ``family`` make likely, with heavy
            tails (:mod:`bigbench_meta.inference.nulls.family_sigma`); this number; or what
            :func:`variation_of_families` returns for these curves among others.
        alpha_range: Bounds of the exponent, see :data:`ALPHA_RANGE`.
        chance: Guess rate in the unit of the score, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none, likewise.
        goodness: Whether the fit of the mechanism without variation between models is tested too.
        catalog: Metric catalog; the packaged one by default.
        progress: Whether to show a bar, or what to call with (rows done, rows): curves, times their
            nuisance settings; by default a bar in terminals and notebooks.

    Returns:
        One row per curve, in the order of the curves: the key columns, ``metric_type``, ``scale``,
        ``n_scales``, ``null``; ``p_step`` and ``p_sharpness``; ``q_bh``, ``q_by``, ``p_holm`` of
        ``p_step`` and ``n_searched``; ``step_score``, ``step_from`` and ``step_to`` (the scales
        between which the step is) and ``step_size`` (fall of the log loss, infinite above 8; units
        of the score for the line); ``relative_sharpness`` of what was tested; ``alpha_hat``,
        ``at_bound``, ``sigma_hat`` (the centre of its distribution, if that is of a family),
        ``sigma_source``, ``irreducible`` (over the reducible loss at the mean log scale),
        ``floor`` (as a proportion) and ``floor_source``; ``deviance``, ``pearson``, ``df``,
        ``p_fit`` of the guess rate that fits best without variation between models; ``n_valid``
        replicates and ``status``, one of
        :data:`STATUSES`. A curve that cannot be tested has NaN p-values and its reason in
        ``status``, and does not count as searched.

    Raises:
        InputError: An option is out of range.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves[curves.keys["task"].isin(["arithmetic 3D+", "PIQA"])]
        >>> tests = null_tests(some, n_boot=99, goodness=False)
        >>> set(tests["status"]), int(tests["n_searched"].iloc[0])
        ({'ok'}, 6)
    """
    one_of(null, get_args(Null), "null")
    if isinstance(variation, str):
        one_of(variation, ("curve", "family"), "variation")
    elif isinstance(variation, (int, float)) and not variation >= 0:
        raise InputError(f"{variation} is not a number of at least 0", where="variation")
    n_boot = default_replicates(len(curves)) if n_boot is None else n_boot
    if null == "line":
        with progress_bar("Testing", progress) as report:
            found = line_null(
                curves.oriented, curves.rising_x, curves.offsets, n_boot=n_boot,
                stop_after=stop_after, seed=seed, progress=report,
            )  # fmt: skip
        return _frame(curves, found, null=null, problem=np.full(len(curves), "", dtype=object))
    inputs = null_inputs(curves, catalog=catalog, chance=chance, n_examples=n_examples)
    rows = inputs.rows
    if isinstance(variation, (int, float)):
        rows = replace(rows, sigma=np.full(len(rows.ragged), float(variation)))
    elif variation == "family":
        likelihood = sigma_likelihood(rows, alpha_range=alpha_range)
        rows = replace(rows, weight=_of_families(curves, inputs, likelihood))
    elif variation != "curve":
        rows = replace(rows, weight=np.concatenate([np.empty((0, len(SIGMA_GRID))), *variation]))
    rows = replace(rows, irreducible=least_scatter(rows, alpha_range=alpha_range))
    inputs = replace(inputs, rows=rows)
    options = _Options(alpha_range, n_boot, stop_after, seed_number(seed))
    with progress_bar("Testing", progress) as report:
        best = _sup_over_nuisance(inputs, curves.ragged.lengths, options, report)
    fit = _best_fit(inputs, len(curves), options) if goodness else None
    named = "given" if isinstance(variation, (int, float)) else "family"
    numbers = np.where(np.isnan(rows.weight[:, 0]), rows.sigma, rows.weight[:, 0])
    known = (best.row >= 0) & ~np.isnan(np.append(numbers, np.nan)[best.row])
    return _frame(
        curves, best.tests, null=null, problem=inputs.problem, fit=fit,
        floor=np.append(rows.floor, np.nan)[best.row],
        irreducible=np.append(rows.irreducible, np.nan)[best.row],
        floor_source=inputs.floor_source, sigma_source=np.where(known, named, "curve"),
    )  # fmt: skip


def variation_of_families(
    curves: Curves,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    chance: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    catalog: MetricCatalog | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> list[Floats]:
    """Return the variation between models that each curve has from its family.

    With it, :func:`null_tests` gives some of the curves the results that it gives them among all.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        alpha_range: As for :func:`null_tests`.
        chance: As for :func:`null_tests`.
        n_examples: As for :func:`null_tests`.
        catalog: As for :func:`null_tests`.
        execution: How the work is spread, and where finished chunks are kept.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        For each curve the probabilities of
        :data:`bigbench_meta.inference.nulls.mechanism.SIGMA_GRID`, shape (settings, 24), for each
        nuisance setting that it is tested in; NaN where no other curve of the family says anything.
    """
    known = {
        name: one_a_curve(values, len(curves), name)
        for name, values in (("chance", chance), ("n_examples", n_examples))
        if values is not None
    }
    scatter = Analysis(
        function=_scatter, options={"alpha_range": alpha_range, "catalog": catalog},
        of_curves=known,
    )  # fmt: skip
    found = analyse(
        {"scatter": scatter}, curves, execution, label="Variation", progress=progress
    )["scatter"]  # fmt: skip
    inputs = null_inputs(curves, catalog=catalog, chance=chance, n_examples=n_examples)
    weight = _of_families(curves, inputs, found.drop(columns="curve").to_numpy())
    ends = np.searchsorted(inputs.curve, np.arange(1, len(curves)))
    return np.split(weight, ends) if len(curves) else []


def _scatter(curves: Curves, *, alpha_range: tuple[float, float], **known: Any) -> pd.DataFrame:
    """Return what the scatter of some curves says of the variation between models, row by row."""
    inputs = null_inputs(curves, **known)
    likelihood = sigma_likelihood(inputs.rows, alpha_range=alpha_range)
    return pd.DataFrame(likelihood, columns=SIGMA_GRID.astype(str)).assign(curve=inputs.curve)


def _of_families(curves: Curves, inputs: NullInputs, likelihood: Floats) -> Floats:
    """Return the distribution of each row's sigma, shape (r, 24)."""
    family = pd.factorize(curves.keys["model_family"].astype(str))[0].astype(np.int64)
    kind = pd.factorize(pd.Series([link.likeness for link in inputs.rows.link]))[0]
    return family_variation(likelihood, inputs.curve, kind.astype(np.int64), family)


# The largest p-value over the nuisance settings of a curve -------------------------------------


@dataclass(frozen=True)
class _Options:
    alpha_range: tuple[float, float]
    n_boot: int
    stop_after: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Supremum:
    """Tests of curves, each in the nuisance setting in which it is hardest to reject.

    Attributes:
        tests: One entry a curve.
        row: The row of the inputs whose results these are; -1 where there is none.
    """

    tests: NullResults
    row: Ints


def _sup_over_nuisance(
    inputs: NullInputs, lengths: Ints, options: _Options,
    progress: Report,
) -> _Supremum:  # fmt: skip
    """Test rows and keep of each curve the row with the largest p-value.

    With ``stop_after``, a curve's rows are tested one after another, and only while its p-values
    are not settled. Rows that cannot be tested settle nothing.
    """
    n_rows = len(inputs.curve)
    rows = NullResults.of_lengths(inputs.rows.ragged.lengths)
    step, sharp = np.full(len(lengths), -np.inf), np.full(len(lengths), -np.inf)
    order = np.arange(n_rows) - np.searchsorted(inputs.curve, inputs.curve)
    waves = order if options.stop_after is not None else np.zeros(n_rows, dtype=np.int64)
    tried = np.zeros(n_rows, dtype=bool)
    before = 0  # rows of former waves, tested or not

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, n_rows)

    for wave in range(int(waves.max(initial=-1)) + 1):
        settled = (step > SETTLED) & (sharp > SETTLED)
        chosen = np.flatnonzero((waves == wave) & ~settled[inputs.curve])
        if not len(chosen):
            break
        before = int((waves < wave).sum())
        found = mechanism_null(
            inputs.rows.take(chosen), alpha_range=options.alpha_range, n_boot=options.n_boot,
            stop_after=options.stop_after, seed=options.seed, progress=report,
            least=(_known(step, inputs.curve[chosen]), _known(sharp, inputs.curve[chosen])),
        )  # fmt: skip
        rows.put(chosen, found)
        tried[chosen] = True
        np.fmax.at(step, inputs.curve[chosen], found.p_step)
        np.fmax.at(sharp, inputs.curve[chosen], found.p_sharpness)
    if progress is not None and n_rows:
        progress(n_rows, n_rows)
    # The largest p-value of a step counts, with all that belongs to its row.
    rank = np.where(np.isnan(rows.p_step), np.where(tried, -1.0, -2.0), rows.p_step)
    by_curve = np.lexsort((-rank, inputs.curve))
    largest = by_curve[np.unique(inputs.curve[by_curve], return_index=True)[1]]
    own = inputs.curve[largest]
    tests, row = NullResults.of_lengths(lengths), np.full(len(lengths), -1, dtype=np.int64)
    tests.put(own, rows.take(largest))
    row[own] = largest
    # The largest p-value of sharpness may be that of another row.
    known = np.isfinite(sharp) & ~np.isnan(tests.p_sharpness)
    tests.p_sharpness[known] = sharp[known]
    return _Supremum(tests=tests, row=row)


def _known(largest: Floats, curve: Ints) -> Floats:
    """Return the largest p-value so far of the curves of some rows, 0 where there is none."""
    return np.maximum(largest[curve], 0.0)


def _best_fit(inputs: NullInputs, n_curves: int, options: _Options) -> GoodnessOfFit:
    """Test the fit of each curve's row that fits best."""
    best = least_deviance(inputs.rows, inputs.curve, alpha_range=options.alpha_range)
    found = goodness_of_fit(
        inputs.rows.take(best), alpha_range=options.alpha_range, seed=options.seed
    )
    result = {field.name: np.full(n_curves, np.nan) for field in fields(GoodnessOfFit)}
    for name, values in result.items():
        values[inputs.curve[best]] = getattr(found, name)
    return GoodnessOfFit(**result)


# The table -----------------------------------------------------------------------------------


def _frame(
    curves: Curves,
    found: NullResults,
    *,
    null: Null,
    problem: Names,
    fit: GoodnessOfFit | None = None,
    floor: Floats | float = np.nan,
    irreducible: Floats | float = np.nan,
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
                    "irreducible": irreducible,
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
