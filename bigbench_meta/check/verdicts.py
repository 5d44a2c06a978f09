"""The verdict on a claim: explained by smooth improvement, sharper than that, or undecidable.

Two explanations of the scores are compared: a loss that falls smoothly with scale, seen through the
metric and a test set of this size, and the same with a loss that becomes 20 times smaller between
two of the sizes. A claim is decided where one makes the scores at least 20 times as likely as the
other. Where one explanation is true, the other reaches that at most once in 20 times, on average
over the laws that are possible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import at_least, whole
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.null_tests import null_tests
from bigbench_meta.inference.nulls.smooth_curves import SIGMAS, VARIATIONS, SmoothLaws
from bigbench_meta.inference.nulls.step_evidence import StepEvidence

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.nulls.inputs import NullInputs

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = [
    "ANY_SIGMA",
    "DECISIVE_ODDS",
    "REASONS",
    "SMALLER",
    "STEP_FACTOR",
    "VERDICTS",
    "claim_verdicts",
    "rises",
    "sigma_of",
    "smallest_excluded",
]

VERDICTS: Final = ("explained", "sharper", "undecidable")
"""Explained by smooth improvement, sharper than that, or neither."""

REASONS: Final = ("smooth", "step", "small_step", "hidden_step", "either", "no_rise")
"""Why: smooth improvement, or a step, is far likelier; the scores do not follow a smooth law, but a
step of this size is unlikely too; a step is unlikely where the scores rise, but would hardly show
elsewhere; either may be; the last score is not above the first one beyond the sampling error. A
curve that cannot be tested has its status instead, one of
:data:`bigbench_meta.inference.nulls.null_tests.STATUSES`.
"""

STEP_FACTOR: Final = 20.0
"""By how much the loss of a step falls, on top of what the smooth law makes it fall."""

DECISIVE_ODDS: Final = 20.0
"""Likelihood ratio from which on a claim is decided, whose error rate is one over it."""

ANY_SIGMA: Final = np.full(len(SIGMAS), 1 / len(SIGMAS))
"""Prior of the variation between models where nothing is known of it."""

SMALLER: Final = (2.0, 3.0, 5.0, 10.0)
"""Jumps that are tried besides the one asked for: by how much the loss falls."""

# A rise of at least this share of the largest is part of what is claimed.
_PART_OF_THE_CLAIM: Final = 0.5
_LEVEL: Final = 0.05
_BEYOND: Final = 1.645  # standard errors, the 95% quantile of the normal distribution
_LEAST_LOG_ODDS: Final = -700.0


def claim_verdicts(
    curves: Curves,
    *,
    factor: float = STEP_FACTOR,
    among: int = 1,
    odds: float = DECISIVE_ODDS,
    family: Curves | None = None,
    sigma: Floats | None = None,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    n_boot: int = 999,
    seed: int = 0,
    catalog: MetricCatalog | None = None,
) -> pd.DataFrame:
    r"""Decide of each curve whether its rise is sharper than smooth improvement makes it.

    ``sharper``: the scores are at least 20 times as likely, on average over the places where a step
    may be, if the loss becomes ``factor`` times smaller between two sizes as if it falls smoothly.
    ``explained``: the other way about, on average over the places and at each where the scores rise
    by at least half as much as they rise most; and the scores do not reject the smooth mechanism,
    as they may if a smaller step shows. Else ``undecidable``, as is a curve whose last score is not
    above its first one.

    By Markov's inequality the likelihood ratio of a wrong explanation to the true one reaches 20
    with a probability of at most 1/20, averaged over the priors: exponents flat in ``alpha_range``,
    levels flat over those that could give such scores, variation between models flat over six
    values up to 0.8 in log loss, an irreducible part of 0, 0.3 or 1, and a step that is equally
    likely after each size. For single laws it may be more.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        factor: By how much the loss of a step becomes smaller, above 1.
        among: Of how many curves each was chosen for its rise, at least 1: the odds needed for
            ``sharper`` are as many times as high.
        odds: Likelihood ratio that decides, above 1. Of two metrics of the same outputs each needs
            twice as much.
        family: Curves of the same models on other tasks, from which the variation between models is
            estimated; by default it is taken from the curve alone.
        sigma: What :func:`sigma_of` returned for a family, instead of its curves.
        alpha_range: Bounds of the exponent of the loss.
        n_boot: Bootstrap replicates, at most, of the test for smaller steps.
        seed: Seed of that test.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        One row per curve: the key columns, ``verdict`` (one of :data:`VERDICTS`), ``reason`` (one
        of :data:`REASONS`, or why it cannot be tested), ``sigma`` (where the variation between
        models that decides comes from, ``curve`` or ``family``), the odds of a step to none
        (``odds_step``: averaged over all places; ``odds_rise``: the largest where the scores rise)
        and the former with the variation taken from elsewhere (``odds_step_curve``,
        ``odds_step_family``, ``odds_step_zero``; NaN without a family), ``step_from`` and
        ``step_to`` (sizes between which a step is likeliest), ``rise_from`` and ``rise_to`` (those
        between which the scores rise most), ``p_step`` (of the test for a step of any size),
        ``alpha_hat`` and ``sigma_hat`` (exponent and variation of the smooth law).

    Raises:
        InputError: An option is out of its range.

    References:
        Royall (2000), On the probability of observing misleading statistical evidence,
        doi:10.1080/01621459.2000.10474264. Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves[curves.keys["task"].isin(["arithmetic 3D+", "LAMBADA"])]
        >>> found = claim_verdicts(some[some.keys["shots"] == 0])
        >>> found[["task", "metric", "verdict", "reason"]].to_numpy().tolist()
        [['LAMBADA', 'acc', ...]]
    """
    at_least(factor, 1, "factor", strict=True)
    at_least(odds, 1, "odds", strict=True)
    whole(among, 1, "among")
    inputs = null_inputs(curves, catalog=catalog)
    evidence = StepEvidence.of(
        inputs, float(np.log(factor)), curves.ragged, alpha_range=alpha_range
    )
    if sigma is None and family is not None:
        sigma = sigma_of(family, alpha_range=alpha_range, catalog=catalog)
    priors = {"curve": ANY_SIGMA, "zero": (SIGMAS == 0).astype(float)}
    if sigma is not None:
        priors["family"] = sigma
    by_sigma = {name: evidence.log_odds(prior) for name, prior in priors.items()}
    decides = "curve" if sigma is None else "family"
    step, rise = by_sigma[decides], rises(curves)
    tests = null_tests(
        curves, n_boot=n_boot, seed=seed, goodness=False, alpha_range=alpha_range, catalog=catalog
    )
    mean = {name: _mean_odds(curves, values) for name, values in by_sigma.items()}
    claimed = curves.ragged.reduce(np.fmax, np.where(rise, step, np.nan))
    reason = np.select(
        [
            (tests["status"] != "ok").to_numpy(),
            inputs.floor_source == "length",
            ~_improves(curves, inputs),
            mean[decides] >= np.log(odds * among),
            ~(claimed <= -np.log(odds)),
            ~(mean[decides] <= -np.log(odds)),
            (tests["p_step"] <= _LEVEL).to_numpy(),
        ],
        [
            tests["status"].astype(str).to_numpy(), "no_range", "no_rise", "step", "either",
            "hidden_step", "small_step",
        ],
        "smooth",
    )  # fmt: skip
    verdict = np.select([reason == "smooth", reason == "step"], VERDICTS[:2], VERDICTS[2])
    change = np.diff(curves.oriented, append=np.nan)
    return (
        curves.keys[[*CURVE_KEY, "metric_type"]]
        .reset_index(drop=True)
        .assign(
            verdict=verdict,
            reason=reason,
            sigma=decides,
            odds_step=_exp(mean[decides]),
            odds_rise=_exp(claimed),
            **{
                f"odds_step_{name}": _exp(mean[name]) if name in mean else np.nan
                for name in VARIATIONS
            },
            **_between(curves, "step", step),
            **_between(curves, "rise", np.where(_last(curves) | ~(change > 0), np.nan, change)),
            p_step=tests["p_step"],
            alpha_hat=tests["alpha_hat"],
            sigma_hat=tests["sigma_hat"],
        )
    )


def smallest_excluded(
    curve: Curves,
    *,
    factor: float,
    odds: float = DECISIVE_ODDS,
    sigma: Floats | None = None,
    catalog: MetricCatalog | None = None,
) -> float:
    """Return the smallest jump that the scores of one curve exclude as clearly as a given one.

    Args:
        curve: One curve, explained by smooth improvement.
        factor: The jump that is excluded: by how much the loss falls.
        odds: Likelihood ratio that decides.
        sigma: As for :func:`claim_verdicts`.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        ``factor``, or the smallest of :data:`SMALLER` from which on all of them up to it are
        excluded, on average over the places and where the scores rise.
    """
    inputs, rise = null_inputs(curve, catalog=catalog), rises(curve)
    prior = ANY_SIGMA if sigma is None else sigma
    found = factor
    for smaller in sorted((one for one in SMALLER if one < factor), reverse=True):
        log_odds = StepEvidence.of(inputs, np.log(smaller), curve.ragged).log_odds(prior)
        largest = max(log_odds[rise].max(), _mean_odds(curve, log_odds)[0])
        if not largest <= -np.log(odds):
            break
        found = smaller
    return found


def _exp(log_odds: Floats) -> Floats:
    """Return odds: infinite beyond what a number can be, but never zero, as many divide by them."""
    with np.errstate(over="ignore"):
        return np.exp(np.maximum(log_odds, _LEAST_LOG_ODDS))


def rises(curves: Curves) -> Bools:
    """Return after which points the scores rise by at least half as much as they rise most.

    Args:
        curves: The curves.

    Returns:
        A mask of the points; false at the last point of a curve, and where nothing rises.
    """
    change = np.where(_last(curves), np.nan, np.diff(curves.oriented, append=np.nan))
    largest = curves.ragged.reduce(np.fmax, change)[curves.ragged.curve]
    with np.errstate(invalid="ignore"):
        return np.asarray((change > 0) & (change >= _PART_OF_THE_CLAIM * largest))


def _improves(curves: Curves, inputs: NullInputs) -> Bools:
    """Return of which curves the last score is above the first one beyond the sampling error."""
    found, rows = np.zeros(len(curves), dtype=bool), inputs.rows
    for row in np.unique(inputs.curve, return_index=True)[1].tolist():
        ends = rows.ragged.offsets[row] + np.array([0, rows.ragged.lengths[row] - 1])
        n, y = rows.trials[ends], rows.y[ends]
        # As Jeffreys: no right answer of n has an error too.
        share = (y * n + 0.5) / (n + 1)
        error = np.sqrt((share * (1 - share) / n).sum())
        found[inputs.curve[row]] = y[1] - y[0] > _BEYOND * error
    return found


def _last(curves: Curves) -> Bools:
    last = np.zeros(len(curves.y), dtype=bool)
    last[curves.offsets[1:][np.diff(curves.offsets) > 0] - 1] = True
    return last


def _mean_odds(curves: Curves, log_odds: Floats) -> Floats:
    """Return the log of the odds averaged over the places of each curve."""
    known = ~np.isnan(log_odds)
    total = curves.ragged.reduce(np.logaddexp, np.where(known, log_odds, -np.inf))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = total - np.log(curves.ragged.count(known))
    return np.where(np.isnan(found) | (total == -np.inf), np.nan, found)


def _between(curves: Curves, name: str, value: Floats) -> dict[str, Floats]:
    """Return the sizes on both sides of the place with the largest value."""
    found = np.full((2, len(curves)), np.nan)
    for i, (begin, end) in enumerate(zip(curves.offsets, curves.offsets[1:], strict=False)):
        own = value[begin:end]
        if not np.isnan(own).all():
            place = begin + int(np.nanargmax(own))
            found[:, i] = curves.x[place : place + 2]
    return {f"{name}_from": found[0], f"{name}_to": found[1]}


def sigma_of(
    family: Curves,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    catalog: MetricCatalog | None = None,
) -> Floats | None:
    """Return the distribution of the variation between models over the curves of a family.

    Args:
        family: Its curves.
        alpha_range: Bounds of the exponent.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        Probability of each value of :data:`SIGMAS`, shape (6,); None where no curve can be tested.
    """
    laws = SmoothLaws.fit(null_inputs(family, catalog=catalog), alpha_range=alpha_range)
    if not len(laws.curves):
        return None
    share: Floats = laws.sigma_of_families(np.zeros(len(family), dtype=np.int64))[0]
    return share
