r"""Does held-out loss fall with size as a power law, and with which exponent?

The paper starts from losses that fall as a power of the number of parameters (Kaplan et al. 2020).
Two laws are fitted here, :data:`LAWS`: :math:`L = a N^{-\alpha}`, and with a part that no size
removes, :math:`L = c + a N^{-\alpha}` (Hoffmann et al. 2022, eq. 2, with size alone).

The error is that of the logarithm: losses of one family can span three decades, and on the loss
itself only the smallest models would count. Every size counts alike, since only seeds trained at
every size are used where there are such. The seeds of one size differ by pure error, so a law can
be wrong by more than that: the test of lack of fit.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, sec. 2. Kaplan et al. (2020), arXiv
    2001.08361. Hoffmann et al. (2022), arXiv 2203.15556. Draper & Smith (1998), Applied Regression
    Analysis, sec. 2.1 (lack of fit and pure error), doi:10.1002/9781118625590.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from bigbench_meta.core.checks import at_least, check_shape, one_of, probability, seed_number, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import SCALE_AXES, conform, to_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "LAWS", "LossFit", "LossLaw", "fit_loss_law", "lack_of_fit", "loss_law", "loss_law_sentences",
]  # fmt: skip

LAWS: Final = ("power law", "power law and constant")
"""The laws: a N^-alpha, and c + a N^-alpha."""

POWER, WITH_CONSTANT = LAWS
_N_PARAMETERS: Final = {POWER: 2, WITH_CONSTANT: 3}

_LOSS: Final = "pretraining_loss"
_FAMILY: Final = ["benchmark", "model_family"]
_MODEL: Final = [*_FAMILY, "model_name", "replicate"]
# Where the search for the constant begins, as a share of the smallest mean loss.
_STARTS: Final = (0.9, 0.5, 0.1)
# Beyond this exponent a power law cannot be told from one step after the smallest size.
_STEEPEST: Final = 20.0
# A constant so small a share of the smallest loss is none.
_NO_CONSTANT: Final = 1e-6


class LossFit(NamedTuple):
    """A law of the loss.

    Attributes:
        coefficient: a, in nats at N = 1.
        exponent: alpha, positive where loss falls with size.
        constant: c, in nats; 0 of a power law.
        residual: Sum of squared residuals of log loss.
    """

    coefficient: float
    exponent: float
    constant: float
    residual: float

    def at(self, size: ArrayLike) -> Floats:
        """Return the loss at sizes."""
        log_size = np.log(np.asarray(size, dtype=np.float64))
        return np.asarray(
            self.constant + np.exp(np.log(self.coefficient) - self.exponent * log_size)
        )


def fit_loss_law(size: ArrayLike, loss: ArrayLike, *, law: str = POWER) -> LossFit:
    """Fit a law by least squares of log loss.

    Args:
        size: Size of each model, positive, shape (n,).
        loss: Its loss, positive, in nats, shape (n,).
        law: One of :data:`LAWS`. The constant is at least 0; where the best one is 0, the fit is
            the power law.

    Raises:
        InputError: A value is not positive, there are fewer different sizes than parameters, or
            the law is unknown.

    Examples:
        >>> found = fit_loss_law([1, 10, 100, 1000], [2.1, 1.1, 0.6, 0.35], law=LAWS[1])
        >>> float(round(found.exponent, 2)), float(round(found.constant, 2))
        (0.3, 0.1)
    """
    one_of(law, LAWS, "law")
    n, y = at_least(size, 0, "size", strict=True), at_least(loss, 0, "loss", strict=True)
    check_shape(y, n.shape, "loss")
    if len(np.unique(n)) < _N_PARAMETERS[law]:
        raise InputError(
            f"{len(np.unique(n))} different sizes for {_N_PARAMETERS[law]} parameters", where="size"
        )
    log_n, log_y = np.log(n), np.log(y)
    centre = float(log_n.mean())
    found = _fit(log_n - centre, log_y, law)
    return LossFit(float(np.exp(found[0] + found[1] * centre)), *found[1:])


def _fit(
    u: Floats, log_loss: Floats, law: str, *, weight: Floats | None = None,
    near: Floats | None = None,
) -> Floats:  # fmt: skip
    """Return log a at u = 0, alpha, c and the residual; from a near fit as a further start."""
    w = np.ones(len(u)) if weight is None else weight
    middle = float(np.average(u, weights=w))
    slope = float((w * (u - middle)) @ log_loss / (w @ (u - middle) ** 2))
    base = float(np.average(log_loss, weights=w)) - slope * middle
    best = np.array([base, -slope, 0.0, w @ (log_loss - base - slope * u) ** 2])
    if law == POWER:
        return best
    lowest = min(log_loss[u == at].mean() for at in np.unique(u))
    root = np.sqrt(w)

    def residuals(p: Floats) -> Floats:
        return np.asarray(root * (np.logaddexp(p[0] - p[1] * u, p[2]) - log_loss))

    def jacobian(p: Floats) -> Floats:
        return root[:, None] * _gradient(p, u)

    starts = [np.array([base, -slope, lowest + np.log(share)]) for share in _STARTS]
    if near is not None:
        starts = [starts[1], np.array([near[0], near[1], np.log(max(near[2], 1e-9))])]
    for start in starts:
        found = least_squares(residuals, start, jac=jacobian, method="lm", max_nfev=200)
        if 2 * found.cost < best[3] * (1 - 1e-9) and np.exp(found.x[2] - lowest) > _NO_CONSTANT:
            best = np.array([found.x[0], found.x[1], np.exp(found.x[2]), 2 * found.cost])
    return best


def _gradient(parameters: Floats, u: Floats) -> Floats:
    """Return the derivatives of log loss by log a, alpha and log c, shape (n, 3)."""
    power = parameters[0] - parameters[1] * u
    share = np.exp(power - np.logaddexp(power, parameters[2]))
    return np.column_stack([share, -share * u, 1 - share])


class LackOfFit(NamedTuple):
    """A test of whether a law misses the means of the sizes by more than seeds explain.

    Attributes:
        f: Mean square of the misfit over that of the pure error.
        p_equal: Its p-value, if the spread of log loss over seeds is equal at all sizes.
        p_unequal: p-value of Johansen's test, in which each size has a spread of its own.
    """

    f: float
    p_equal: float
    p_unequal: float


def lack_of_fit(size: ArrayLike, loss: ArrayLike, *, law: str = POWER) -> LackOfFit:
    r"""Test a law against the pure error between models of one size.

    Where spreads are unequal, the law is fitted to the mean of each size with its own precision
    :math:`w_k = n_k / s_k^2`. The weighted sum of squares Q over q degrees of freedom is held
    against :math:`(q + 2A (q - 1) / (q + 2)) F_{q, q (q + 2) / 3A}`, where
    :math:`A = \sum_k (1 - h_k)^2 / (n_k - 1)` and :math:`h_k` is the leverage of the size. With no
    law but a constant this is Welch's analysis of variance. With three seeds a size it rejects a
    true law in some 8% of cases in place of 5% (``scripts/compare_loss_laws.py --simulate``).

    Args:
        size: Size of each model, shape (n,).
        loss: Its loss, shape (n,).
        law: One of :data:`LAWS`.

    Returns:
        NaN where no size has two models that differ, or there are no more sizes than parameters;
        ``p_unequal`` also where a size has not.

    Raises:
        InputError: As :func:`fit_loss_law`.

    References:
        Draper & Smith (1998), sec. 2.1. Johansen (1980), "The Welch-James approximation to the
        distribution of the residual sum of squares in a weighted linear regression",
        doi:10.1093/biomet/67.1.85.

    Examples:
        >>> loss = [1.0, 1.02, 0.5, 0.51, 0.48, 0.47]
        >>> lack_of_fit([10, 10, 100, 100, 1000, 1000], loss).p_equal < 0.001
        True
    """
    residual = fit_loss_law(size, loss, law=law).residual
    log_size, log_loss = np.log(np.asarray(size, float)), np.log(np.asarray(loss, float))
    order = np.argsort(log_size, kind="stable")
    return _lack_of_fit(log_size[order] - log_size.mean(), log_loss[order], residual, law)


def _lack_of_fit(u: Floats, log_loss: Floats, residual: float, law: str) -> LackOfFit:
    sizes, place, count = np.unique(u, return_inverse=True, return_counts=True)
    mean = np.bincount(place, log_loss) / count
    squares = np.bincount(place, (log_loss - mean[place]) ** 2)
    pure, free = float(squares.sum()), len(u) - len(count)
    of_law = len(count) - _N_PARAMETERS[law]
    if free < 1 or of_law < 1 or pure <= 0:
        return LackOfFit(np.nan, np.nan, np.nan)
    f = max(residual - pure, 0.0) / of_law / (pure / free)
    p_unequal = np.nan
    if (count > 1).all() and (squares > 0).all():
        weight = count * (count - 1) / squares
        found = _fit(sizes, mean, law, weight=weight)
        slopes = np.column_stack([np.ones(len(sizes)), sizes])
        if found[2] > 0:
            slopes = _gradient(np.array([*found[:2], np.log(found[2])]), sizes)
        base = np.linalg.qr(np.sqrt(weight)[:, None] * slopes)[0]
        a = float(((1 - (base**2).sum(axis=1)) ** 2 / (count - 1)).sum())
        factor = of_law + 2 * a * (of_law - 1) / (of_law + 2)
        p_unequal = float(
            f_distribution.sf(found[3] / factor, of_law, of_law * (of_law + 2) / (3 * a))
        )
    return LackOfFit(f, float(f_distribution.sf(f, of_law, free)), p_unequal)


@dataclass(frozen=True, kw_only=True)
class LossLaw:
    """Laws of the loss of families.

    Attributes:
        fits: One row per family and law: ``benchmark``, ``model_family``, ``scale``, ``law``;
            ``n_sizes``, ``n_models`` and ``n_left_out`` (models without a size or loss, and of
            seeds that lack a size); ``exponent`` with ``exponent_low`` and ``exponent_high``;
            ``coefficient``; ``constant`` with ``constant_low`` and ``constant_high``;
            ``pure_error`` (standard deviation of log loss between seeds of one size, over all
            sizes); ``lack_of_fit`` (F), ``p_equal`` and ``p_unequal``, see :func:`lack_of_fit`;
            ``status``: ``ok``; ``no_constant`` where the best constant is 0; ``step`` where the
            exponent is beyond what the sizes can show; ``one_seed``, without intervals and tests;
            ``too_few_sizes``, without results.
        sizes: One row per family, law and size: ``x``, ``n_seeds``, ``loss`` (geometric mean),
            ``spread`` (standard deviation of log loss), ``fitted``, ``misfit`` (log of loss over
            fitted) and ``misfit_stderr`` (spread over the root of the number of seeds).
    """

    fits: pd.DataFrame
    sizes: pd.DataFrame


def loss_law(
    observations: pd.DataFrame | pa.Table,
    *,
    scale: str = "non_embedding_params",
    laws: Sequence[str] = LAWS,
    confidence: float = 0.95,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
) -> LossLaw:
    """Fit power laws of ``pretraining_loss`` over the sizes of each family.

    Intervals are percentiles over replicates in which the seeds of each size are drawn anew (their
    deviations from the mean of the size, times sqrt(n / (n - 1))), at levels at which normal
    quantiles are those of t with the degrees of freedom of the exponent's variance. They are about
    the best law for these sizes, also where lack of fit shows that none is right.

    Args:
        observations: Observations table; scores do not matter, and a loss given in many rows
            counts once.
        scale: What the loss is a power of, one of :data:`bigbench_meta.core.schema.SCALE_AXES` but
            the loss itself.
        laws: Which of :data:`LAWS`. That with a constant takes some seconds a family.
        confidence: Of the intervals.
        n_boot: Replicates, at least 99.
        seed: Seed or generator.

    Returns:
        The fits, and how far each size is from them.

    Raises:
        InputError: An option is out of its range, no model has both size and loss, or one model and
            seed has two.
        SchemaError: ``observations`` is no observations table.

    References:
        Hesterberg (2015), "What Teachers Should Know About the Bootstrap", sec. 3.2,
        doi:10.1080/00031305.2015.1089789 (expanded percentiles).

    Examples:
        >>> sizes = [100, 1000, 10_000, 100_000]
        >>> observations = pd.concat([pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "m", "model_family": "f", "score": 0.0,
        ...     "model_name": list("abcd"), "replicate": str(number), "total_params": sizes,
        ...     "pretraining_loss": [factor * size**-0.3 for size in sizes],
        ... }) for number, factor in enumerate([1.0, 1.1, 0.9])])
        >>> row = loss_law(observations, scale="total_params", n_boot=99).fits.iloc[0]
        >>> row.law, round(float(row.exponent), 3), bool(row.p_equal > 0.5)
        ('power law', 0.3, True)
    """
    one_of(scale, [axis for axis in SCALE_AXES if axis != _LOSS], "scale")
    for law in laws:
        one_of(law, LAWS, "laws")
    probability(confidence, "confidence")
    whole(n_boot, 99, "n_boot")
    base = seed_number(seed)
    models = _models(observations, scale)
    fits: list[dict[str, Any]] = []
    sizes: list[pd.DataFrame] = []
    for _, family in models.groupby(_FAMILY, sort=False, observed=True, dropna=False):
        kept = _complete(family[family["usable"]])
        key = {"benchmark": family["benchmark"].iloc[0],
               "model_family": family["model_family"].iloc[0], "scale": scale}  # fmt: skip
        for law in laws:
            row, points = _law_of_family(
                kept["x"].to_numpy(), kept[_LOSS].to_numpy(), law, confidence, n_boot, base
            )
            counts = {"n_models": len(kept), "n_left_out": len(family) - len(kept)}
            fits.append(key | {"law": law, "n_sizes": len(points)} | counts | row)
            sizes.append(points.assign(**key, law=law)[[*key, "law", *points]])
    return LossLaw(fits=pd.DataFrame(fits), sizes=pd.concat(sizes, ignore_index=True))


def _models(observations: pd.DataFrame | pa.Table, scale: str) -> pd.DataFrame:
    """Return size and loss of every model and seed, and whether it has both."""
    table = conform(observations).select([*_MODEL, scale, _LOSS])
    frame = to_frame(table).rename(columns={scale: "x"})
    frame[["x", _LOSS]] = frame[["x", _LOSS]].astype("float64")
    known = frame[["x", _LOSS]].to_numpy()
    frame["usable"] = ((known > 0) & np.isfinite(known)).all(axis=1)
    if not frame["usable"].any():
        raise InputError(f"no model has both {scale} and {_LOSS}", where="observations")
    frame = frame.drop_duplicates(ignore_index=True)
    # A model whose rows say it here and not there has it.
    with_loss = frame.groupby(_MODEL, observed=True, dropna=False)["usable"].transform("any")
    frame = frame[frame["usable"] | ~with_loss]
    frame = frame[frame["usable"] | ~frame.duplicated(_MODEL)]
    if (twice := frame.duplicated(_MODEL)).any():
        name = ", ".join(frame.loc[twice, _MODEL].iloc[0].dropna().astype(str))
        raise InputError(
            f"two sizes or losses of one model: {name}", where="observations",
            hint="one replicate a seed; checkpoints are models of their own",
        )  # fmt: skip
    return frame


def _complete(family: pd.DataFrame) -> pd.DataFrame:
    """Return the models of seeds that have every size; all models where there is no such seed."""
    n_sizes = family["x"].nunique()
    of_seed = family.groupby("replicate", observed=True)["x"].transform("nunique")
    complete = of_seed == n_sizes  # false for models without a seed
    return family[complete] if complete.any() else family


def _law_of_family(
    x: Floats, loss: Floats, law: str, confidence: float, n_boot: int, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the fit of one family, and the misfit at its sizes."""
    order = np.lexsort((loss, x))
    sizes, place, count = np.unique(x[order], return_inverse=True, return_counts=True)
    log_loss = np.log(loss[order])
    mean = np.bincount(place, log_loss) / count
    deviation = log_loss - mean[place]
    free = len(x) - len(sizes)
    pure = np.sqrt(deviation @ deviation / free) if free else np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.bincount(place, deviation**2) / (count - 1))
    row: dict[str, Any] = dict.fromkeys(
        ("exponent", "exponent_low", "exponent_high", "coefficient", "constant", "constant_low",
         "constant_high", "pure_error", "lack_of_fit", "p_equal", "p_unequal"), np.nan,
    )  # fmt: skip
    row |= {"pure_error": pure, "status": "too_few_sizes"}
    points = pd.DataFrame({
        "x": sizes, "n_seeds": count, "loss": np.exp(mean), "spread": spread, "fitted": np.nan,
        "misfit": np.nan, "misfit_stderr": spread / np.sqrt(count),
    })  # fmt: skip
    if len(sizes) <= _N_PARAMETERS[law]:
        return row, points
    centre = float(np.log(sizes).mean())
    u = np.log(sizes)[place] - centre
    found = _fit(u, log_loss, law)
    fitted = np.logaddexp(found[0] - found[1] * (np.log(sizes) - centre), _log(found[2]))
    points["fitted"], points["misfit"] = np.exp(fitted), mean - fitted
    row |= {
        "exponent": found[1], "coefficient": np.exp(found[0] + found[1] * centre),
        "constant": found[2], "status": _status(found, law),
    }  # fmt: skip
    if not pure > 0:
        return row | {"status": "one_seed"}, points
    tested = _lack_of_fit(u, log_loss, found[3], law)
    row |= dict(zip(("lack_of_fit", "p_equal", "p_unequal"), tested, strict=True))
    # Of a size with one seed, deviations of all sizes.
    batch = Ragged.of_lengths(count)
    scaled = deviation * np.sqrt((count / np.maximum(count - 1, 1))[place])
    rng = np.random.default_rng([seed, LAWS.index(law)])
    several = np.flatnonzero(count[place] > 1)
    draws = batch.offsets[place] + (rng.random((n_boot, len(x))) * count[place]).astype(np.int64)
    alone = count[place] == 1
    draws[:, alone] = rng.choice(several, (n_boot, int(alone.sum())))
    replicates = np.array(
        [_fit(u, mean[place] + drawn, law, near=found) for drawn in scaled[draws]]
    )
    # The spreads of few seeds are themselves uncertain: quantiles of t in place of normal ones.
    free_exponent = _degrees_of_freedom(found, np.log(sizes) - centre, count, spread)
    tails = ndtr(t_distribution.ppf([(1 - confidence) / 2, (1 + confidence) / 2], free_exponent))
    row["exponent_low"], row["exponent_high"] = np.quantile(replicates[:, 1], tails)
    if law == WITH_CONSTANT:
        row["constant_low"], row["constant_high"] = np.quantile(replicates[:, 2], tails)
    return row, points


def _degrees_of_freedom(found: Floats, u: Floats, count: Ints, spread: Floats) -> float:
    """Return Welch and Satterthwaite's degrees of freedom of the variance of the exponent."""
    slopes = np.column_stack([np.ones(len(u)), -u])
    if found[2] > 0:
        slopes = _gradient(np.array([*found[:2], np.log(found[2])]), u)
    root = np.sqrt(count)
    effect = np.linalg.pinv(root[:, None] * slopes)[1] * root  # of the mean of each size
    several = count > 1
    part = (effect**2 * spread**2 / count)[several]
    return float(part.sum() ** 2 / (part**2 / (count[several] - 1)).sum())


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else -np.inf


def _status(found: Floats, law: str) -> str:
    if law == WITH_CONSTANT and found[2] == 0:
        return "no_constant"
    return "step" if abs(found[1]) > _STEEPEST else "ok"


def loss_law_sentences(fits: pd.DataFrame, *, alpha: float = 0.05) -> list[str]:
    """Say of each family with which exponent loss falls, and whether a power law fits.

    Args:
        fits: That of :class:`LossLaw`.
        alpha: Level of the tests of lack of fit.

    Examples:
        >>> fits = pd.DataFrame([{
        ...     "model_family": "f", "scale": "total_params", "law": "power law", "exponent": 0.3,
        ...     "exponent_low": 0.2, "exponent_high": 0.4, "constant": 0.0, "lack_of_fit": 12.0,
        ...     "p_equal": 0.0001, "p_unequal": 0.001, "status": "ok", "n_sizes": 6,
        ...     "n_models": 30,
        ... }])
        >>> print(*loss_law_sentences(fits))
        f: a power law of total_params is rejected (lack of fit: p = 0.001 with the spread over \
seeds of each size, 0.0001 with one spread for all); the best one has exponent 0.3 (0.2 to 0.4), \
over 6 sizes and 30 models.
    """
    sentences = []
    for row in fits.to_dict("records"):
        name = f"{row['model_family']}: a {row['law']} of {row['scale']}"
        if row["status"] in {"too_few_sizes", "no_constant"}:
            reason = {
                "too_few_sizes": "cannot be tested: too few sizes",
                "no_constant": "has its best fit at a constant of 0 and is the power law alone",
            }[row["status"]]
            sentences.append(f"{name} {reason}.")
            continue
        best = f"exponent {row['exponent']:.3g}"
        over = f"over {row['n_sizes']} sizes and {row['n_models']} models"
        if row["status"] == "one_seed":
            sentences.append(f"{name} has {best}, {over}; with one seed a size it is not tested.")
            continue
        best += f" ({row['exponent_low']:.3g} to {row['exponent_high']:.3g})"
        if row["law"] == WITH_CONSTANT:
            best += f" and constant {row['constant']:.2g}"
        small = [row[name] <= alpha for name in ("p_equal", "p_unequal")]
        verdict = ("is not rejected", "is rejected by one of two tests", "is rejected")[sum(small)]
        sentences.append(
            f"{name} {verdict} (lack of fit: p = {row['p_unequal']:.2g} with the spread over seeds "
            f"of each size, {row['p_equal']:.2g} with one spread for all); the best one has "
            f"{best}, {over}."
        )
    return sentences
