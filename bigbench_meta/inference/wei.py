"""Emergence as Wei et al. define it: random at small scales, clearly above random at large ones.

An ability is emergent if smaller models do not have it and larger ones do. Each word of that
becomes a test here. To have it is to score above chance by an exact binomial test, with Holm's
correction within the curve. Not to have it is to score at chance by an equivalence test (or below
chance by a test of its own), which a small test set cannot show. Between the two a third state
remains, ``cannot_tell``, of a point as of a curve.

References:
    Wei et al. (2022), "Emergent Abilities of Large Language Models", arXiv 2206.07682, sec. 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.build import whole
from bigbench_meta.inference.intervals import Interval, clopper_pearson
from bigbench_meta.inference.proportions import proportions
from bigbench_meta.inference.wei_states import REASONS, STATES, VERDICTS
from bigbench_meta.inference.wei_verdicts import RaggedWei, wei_ragged

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.proportions import Proportions

    Floats = NDArray[np.float64]

__all__ = [
    "REASONS", "STATES", "VERDICTS", "RaggedWei", "wei_emergence", "wei_points", "wei_ragged",
]  # fmt: skip


def wei_emergence(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    alpha: float = 0.05,
    margin: float = 0.05,
    min_effect: float = 0.0,
    zero_chance_effect: float = 0.01,
    min_at_chance: int = 2,
    n_resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Say which curves are emergent by Wei's definition, and on what evidence.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default. It says which scores are means over
            examples and between what ends they lie.
        chance: Chance level in the unit of the score, a number or one a curve, NaN for not given.
            By default the task's ``low_score``; else 1 / ``n_choices`` on discontinuous metrics;
            else 0 on nonlinear and linear metrics that begin at 0.
        n_choices: Number of choices, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none, a number or one a curve.
        alpha: Level of the tests.
        margin: How near to chance is at chance, as a proportion.
        min_effect: How far above chance is above, as a proportion.
        zero_chance_effect: The same where chance is 0, so that any right answer is more than chance
            gives.
        min_at_chance: Scales at or below chance that make an ability absent from small models.
        n_resamples: Number of parametric resamples, 0 for none.
        seed: Seed or generator of the resamples.

    Returns:
        One row a curve, in the order of the curves: the key columns, ``metric_type``, ``scale``;
        ``wei_emergent`` (yes, no or cannot_tell) and ``reason`` (one of :data:`REASONS`,
        ``not_a_proportion`` or ``score_out_of_range``), as :func:`wei_ragged` defines them;
        ``chance`` in the unit of the score and ``chance_source`` (given, low_score, choices, floor
        or unknown);
        ``emergence_scale`` (the smallest x clearly above chance from which all larger ones are
        above too) and ``scale_low`` (the last x at or below chance before it), between which the
        ability appears; ``resampled_low``, ``resampled_high`` (95% of the resamples that have an
        emergence scale), ``prob_scale`` (share of resamples with the same one), ``prob_emergent``
        (share of resamples that are yes);
        ``n_scales`` and of these ``n_at_chance``, ``n_below_chance``, ``n_above_chance``,
        ``n_cannot_tell``; ``n_at_chance_before`` the emergence scale (missing without one);
        ``margin_largest``, the score of the largest scale less chance, up being better, with its
        95% interval ``margin_low``, ``margin_high``.

    Raises:
        InputError: An option out of its range or of another shape.

    References:
        Wei et al. (2022), arXiv 2206.07682, sec. 2.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> found = wei_emergence(build_curves(load_embedded()), n_resamples=0)
        >>> row = found[(found.task == "arithmetic 3D+") & (found.shots == 50)].iloc[0]
        >>> row.wei_emergent, f"{row.n_at_chance} scales at chance"
        ('yes', '6 scales at chance')
        >>> f"between {row.scale_low:.3g} and {row.emergence_scale:.3g} parameters"
        'between 6.66e+09 and 1.28e+10 parameters'
    """
    shares = proportions(
        curves, catalog=catalog, chance=chance, n_choices=n_choices, n_examples=n_examples
    )
    found = wei_ragged(
        shares.proportion,
        curves.x,
        curves.offsets,
        n_examples=shares.n_examples,
        chance=shares.chance,
        stderr=shares.stderr,
        alpha=alpha,
        margin=margin,
        min_effect=min_effect,
        zero_chance_effect=zero_chance_effect,
        min_at_chance=min_at_chance,
        n_resamples=n_resamples,
        seed=seed,
    )
    fit = shares.problem == ""
    names = ("emergence_scale", "scale_low", "resampled_low", "resampled_high", "prob_scale",
             "prob_emergent")  # fmt: skip
    return curves.keys[[*CURVE_KEY, "metric_type", "scale"]].assign(
        wei_emergent=np.where(fit, _named(VERDICTS, found.verdict), "cannot_tell"),
        reason=np.where(fit, _named(REASONS, found.reason), shares.problem),
        chance=shares.curve_scores(shares.chance),
        chance_source=shares.chance_source,
        **{name: np.where(fit, getattr(found, name), np.nan) for name in names},
        n_scales=np.diff(curves.offsets),
        **_counts(found, curves),
        **_largest(shares, curves),
    )


def wei_points(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    alpha: float = 0.05,
    margin: float = 0.05,
    min_effect: float = 0.0,
    zero_chance_effect: float = 0.01,
) -> pd.DataFrame:
    """Say of every point whether it is above, at or below chance.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: As :func:`wei_emergence`, as are the others.
        chance: Chance level in the unit of the score.
        n_choices: Number of choices.
        n_examples: Size of the test set where the observations give none.
        alpha: Level of the tests.
        margin: How near to chance is at chance, as a proportion.
        min_effect: How far above chance is above, as a proportion.
        zero_chance_effect: The same where chance is 0.

    Returns:
        One row a point: ``curve`` (its number), the key columns, ``scale``, ``model_name``, ``x``;
        ``score``, ``chance`` and the interval ``low``, ``high`` at 1 - alpha (Clopper-Pearson, or
        normal where n is not known; missing where neither can be had), in the unit of the score;
        ``n_examples``; ``test`` (exact, normal or none); ``null``, the score that "above" has to
        exceed; the one-sided ``p_value`` against it and ``p_holm``, adjusted within the curve;
        ``state`` (above_chance, at_chance, below_chance or cannot_tell).

    Raises:
        InputError: An option out of its range or of another shape.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> found = wei_points(build_curves(load_embedded()))
        >>> curve = found[(found.task == "arithmetic 3D+") & (found.shots == 50)]
        >>> curve[["model_name", "score", "low", "high", "state"]].tail(3).round(2)
             model_name  score    low   high         state
        1197       6.7B    0.9   0.53   1.42     at_chance
        1198        13B    8.4   7.22   9.70  above_chance
        1199       175B   80.4  78.59  82.12  above_chance
    """
    shares = proportions(
        curves, catalog=catalog, chance=chance, n_choices=n_choices, n_examples=n_examples
    )
    found = wei_ragged(
        shares.proportion,
        curves.x,
        curves.offsets,
        n_examples=shares.n_examples,
        chance=shares.chance,
        stderr=shares.stderr,
        alpha=alpha,
        margin=margin,
        min_effect=min_effect,
        zero_chance_effect=zero_chance_effect,
        n_resamples=0,
    )
    ends = _interval(shares, 1 - alpha)
    test = np.where(found.exact, "exact", np.where(np.isnan(found.p_value), "none", "normal"))
    columns = ["curve", *CURVE_KEY, "scale", "model_name", "x", "score"]
    return curves.points()[columns].assign(
        chance=shares.point_scores(shares.chance[shares.curve]),
        low=np.fmin(shares.point_scores(ends.low), shares.point_scores(ends.high)),
        high=np.fmax(shares.point_scores(ends.low), shares.point_scores(ends.high)),
        n_examples=whole(shares.n_examples),
        test=test,
        null=shares.point_scores(found.null),
        p_value=found.p_value,
        p_holm=found.p_holm,
        state=_named(STATES, found.state),
    )


def _named(names: tuple[str, ...], codes: NDArray[np.int8]) -> NDArray[np.object_]:
    return np.array(names, dtype=object)[codes]


def _counts(found: RaggedWei, curves: Curves) -> dict[str, NDArray[np.int64] | pd.Series[int]]:
    """Return the number of points of each curve in each state, and at chance before the start."""
    curve, n_curves = curves.curve_of_point, len(curves)
    counts: dict[str, NDArray[np.int64] | pd.Series[int]] = {
        f"n_{name}": np.bincount(curve[found.state == code], minlength=n_curves)
        for code, name in enumerate(STATES)
    }
    before = np.arange(len(curve)) - curves.offsets[curve] < found.start[curve]
    at_chance = found.state == STATES.index("at_chance")
    n_before = np.bincount(curve[at_chance & before], minlength=n_curves)
    order = ("n_at_chance", "n_below_chance", "n_above_chance", "n_cannot_tell")
    return {name: counts[name] for name in order} | {
        "n_at_chance_before": whole(np.where(found.start >= 0, n_before, np.nan))
    }


def _interval(shares: Proportions, confidence: float) -> Interval:
    """Return the interval of each proportion: exact, or normal where n is not known."""
    size = shares.n_examples
    exact = clopper_pearson(shares.proportion * size, size, confidence=confidence)
    # The standard error of 0/n and of n/n is 0 and says nothing.
    stderr = np.where(shares.stderr > 0, shares.stderr, np.nan)
    width = -ndtri((1 - confidence) / 2) * stderr
    unknown = np.isnan(exact.low)
    return Interval(
        np.where(unknown, np.maximum(shares.proportion - width, 0), exact.low),
        np.where(unknown, np.minimum(shares.proportion + width, 1), exact.high),
    )


def _largest(shares: Proportions, curves: Curves) -> dict[str, Floats]:
    """Return how far the largest scale of each curve is above chance, with its 95% interval."""
    ends = _interval(shares, 0.95)
    some = np.diff(curves.offsets) > 0
    last = curves.offsets[1:][some] - 1
    columns = {
        "margin_largest": shares.proportion, "margin_low": ends.low, "margin_high": ends.high,
    }  # fmt: skip
    result = {}
    for name, values in columns.items():
        result[name] = np.full(len(curves), np.nan)
        result[name][some] = values[last]
        result[name] = shares.amount(result[name] - shares.chance)
    return result
