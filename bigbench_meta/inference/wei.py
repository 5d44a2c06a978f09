"""Emergence as Wei et al. define it: random at small scales, clearly above random at large ones.

An ability is emergent if smaller models do not have it and larger ones do. Each word of that
becomes a test here. To have it is to score above chance by an exact binomial test, with Holm's
correction within the curve. Not to have it is to score at chance by an equivalence test (or below
chance by a test of its own), which a small test set cannot show. Between the two a third state
remains, ``cannot_tell``, of a point as of a curve.

Every test comes down to critical values of what was observed: a count of right answers, or a score
where only its standard error is known. So the states of a resample follow from the distribution
function at the critical values and one uniform number a point: no count has to be drawn.

References:
    Wei et al. (2022), "Emergent Abilities of Large Language Models", arXiv 2206.07682, sec. 2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import ndtr, ndtri

from bigbench_meta.core.binomial import (
    critical_count,
    known_size,
    near_whole,
    upper_tail,
)
from bigbench_meta.core.checks import seed_number, within
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.build import integer_column
from bigbench_meta.curves.proportions import proportions

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.curves.proportions import Proportions

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Codes = NDArray[np.int8]

__all__ = [
    "REASONS", "STATES", "VERDICTS", "Criteria", "RaggedWei", "wei_emergence", "wei_points",
    "wei_ragged",
]  # fmt: skip

STATES: Final = ("cannot_tell", "below_chance", "at_chance", "above_chance")
CANNOT_TELL, BELOW, AT_CHANCE, ABOVE = range(4)

VERDICTS: Final = ("no", "yes", "cannot_tell")
NO, YES, UNDECIDED = range(3)

REASONS: Final = (
    "emergent",
    "never_above",
    "not_persistent",
    "above_at_smallest",
    "unclear_at_largest",
    "too_few_at_chance",
    "too_few_scales",
    "n_unknown",
    "chance_unknown",
)
"""Why a verdict is what it is; the last three say that nothing could be tested."""

(EMERGENT, NEVER_ABOVE, NOT_PERSISTENT, ABOVE_AT_SMALLEST, UNCLEAR_AT_LARGEST, TOO_FEW_AT_CHANCE,
 TOO_FEW_SCALES, N_UNKNOWN, CHANCE_UNKNOWN) = range(9)  # fmt: skip
VERDICT_OF: Final = np.array([YES, *[NO] * 3, *[UNDECIDED] * 5], dtype=np.int8)

# Critical values (k x k a curve) and states of resamples held at a time.
_CRITICAL_HELD: Final = 1 << 20
_STATES_HELD: Final = 1 << 17  # which stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What counts as above and as at chance, and how many scales at chance are enough.

    Attributes:
        alpha: Level of the tests.
        margin: How near to chance is at chance, a proportion.
        min_effect: How far above chance is above, a proportion.
        zero_chance_effect: The same where chance is 0, so that any right answer is more than chance
            gives.
        min_at_chance: Scales at or below chance that make an ability absent from small models.
    """

    alpha: float = 0.05
    margin: float = 0.05
    min_effect: float = 0.0
    zero_chance_effect: float = 0.01
    min_at_chance: int = 2

    def __post_init__(self) -> None:
        """Check the shares."""
        within(self.alpha, 0, 1, "alpha", open_=True)
        for name in ("margin", "min_effect", "zero_chance_effect"):
            within(getattr(self, name), 0, 1, name)

    def null(self, chance: Floats) -> Floats:
        """Return the proportion that "above" has to exceed."""
        at_zero = max(self.min_effect, self.zero_chance_effect)
        return np.minimum(chance + np.where(chance > 0, self.min_effect, at_zero), 1.0)


@dataclass(frozen=True, kw_only=True)
class RaggedWei:
    """Wei's definition applied to a batch of curves; arrays of one entry a curve, or a point.

    Attributes:
        verdict: Index into :data:`VERDICTS`.
        reason: Index into :data:`REASONS`.
        start: Position in its curve of the smallest scale clearly above chance from which all
            larger ones are above too; -1 if there is none.
        emergence_scale: x at ``start``, NaN if there is none.
        scale_low: x of the last scale at or below chance before it, NaN if there is none. The
            ability appears between the two.
        resampled_low: 2.5% quantile of ``emergence_scale`` over the resamples that have one, NaN
            if none has.
        resampled_high: 97.5% quantile.
        prob_scale: Share of resamples with the same ``start``; NaN if there is none.
        prob_emergent: Share of resamples that are ``yes``; NaN if nothing was judged.
        state: Of each point, index into ``STATES``.
        p_value: Of each point, one-sided, against ``null``; NaN where there is no test.
        p_holm: The same, adjusted within the curve.
        null: Of each point, the proportion that "above" has to exceed.
        exact: Of each point, whether its number of examples is known, so that the test is exact.
    """

    verdict: Codes
    reason: Codes
    start: Ints
    emergence_scale: Floats
    scale_low: Floats
    resampled_low: Floats
    resampled_high: Floats
    prob_scale: Floats
    prob_emergent: Floats
    state: Codes
    p_value: Floats
    p_holm: Floats
    null: Floats
    exact: Bools


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
    """Decide which curves are emergent by Wei's definition, with the evidence.

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
        One row per curve, in the order of the curves: the key columns, ``metric_type``, ``scale``;
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
    criteria = Criteria(
        alpha=alpha, margin=margin, min_effect=min_effect, zero_chance_effect=zero_chance_effect,
        min_at_chance=min_at_chance,
    )  # fmt: skip
    found = _judged(curves, shares, criteria, n_resamples, seed)
    fit = shares.problem == ""
    names = ("emergence_scale", "scale_low", "resampled_low", "resampled_high", "prob_scale",
             "prob_emergent")  # fmt: skip
    return curves.keys[[*CURVE_KEY, "metric_type", "scale"]].assign(
        wei_emergent=np.where(fit, _named(VERDICTS, found.verdict), "cannot_tell"),
        reason=np.where(fit, _named(REASONS, found.reason), shares.problem),
        chance=shares.curve_scores(shares.chance),
        chance_source=shares.chance_source,
        **{name: np.where(fit, getattr(found, name), np.nan) for name in names},
        n_scales=curves.ragged.lengths,
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
    """Classify every point as above, at or below chance.

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
        One row per point: ``curve`` (its number), the key columns, ``scale``, ``model_name``,
        ``x``; ``score``, ``chance`` and the interval ``low``, ``high`` at 1 - alpha
        (Clopper-Pearson, or normal where n is not known; missing where neither is known), in the
        unit of the score; ``n_examples``; ``test`` (exact, normal or none); ``null``, the score
        that "above" has to exceed; the one-sided ``p_value`` against it and ``p_holm``, adjusted
        within the curve; ``state`` (above_chance, at_chance, below_chance or cannot_tell).

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
    criteria = Criteria(
        alpha=alpha, margin=margin, min_effect=min_effect, zero_chance_effect=zero_chance_effect
    )
    found = _judged(curves, shares, criteria, n_resamples=0)
    ends = shares.intervals(1 - alpha)
    test = np.where(found.exact, "exact", np.where(np.isnan(found.p_value), "none", "normal"))
    columns = ["curve", *CURVE_KEY, "scale", "model_name", "x", "score"]
    return curves.points()[columns].assign(
        chance=shares.point_scores(shares.chance[shares.curve]),
        low=np.fmin(shares.point_scores(ends.low), shares.point_scores(ends.high)),
        high=np.fmax(shares.point_scores(ends.low), shares.point_scores(ends.high)),
        n_examples=integer_column(shares.n_examples),
        test=test,
        null=shares.point_scores(found.null),
        p_value=found.p_value,
        p_holm=found.p_holm,
        state=_named(STATES, found.state),
    )


def _judged(
    curves: Curves,
    shares: Proportions,
    criteria: Criteria,
    n_resamples: int,
    seed: int | np.random.Generator = 0,
) -> RaggedWei:
    return wei_ragged(
        shares.proportion, curves.x, curves.offsets, n_examples=shares.n_examples,
        chance=shares.chance, stderr=shares.stderr, criteria=criteria, n_resamples=n_resamples,
        seed=seed,
    )  # fmt: skip


def _named(names: tuple[str, ...], codes: NDArray[np.int8]) -> NDArray[np.object_]:
    return np.array(names, dtype=object)[codes]


def _counts(found: RaggedWei, curves: Curves) -> dict[str, Ints | pd.Series[int]]:
    """Count the points of each curve in each state, and those at chance before the start."""
    batch = curves.ragged
    position = np.arange(batch.n_points) - batch.offsets[batch.curve]
    before = position < found.start[batch.curve]
    n_before = batch.count(before & (found.state == AT_CHANCE))
    return {
        "n_at_chance": batch.count(found.state == AT_CHANCE),
        "n_below_chance": batch.count(found.state == BELOW),
        "n_above_chance": batch.count(found.state == ABOVE),
        "n_cannot_tell": batch.count(found.state == CANNOT_TELL),
        "n_at_chance_before": integer_column(np.where(found.start >= 0, n_before, np.nan)),
    }


def _largest(shares: Proportions, curves: Curves) -> dict[str, Floats]:
    """Return how far the largest scale of each curve is above chance, with its 95% interval."""
    ends = shares.intervals(0.95)
    last = np.full(len(curves), -1)
    return {
        name: shares.amount(curves.ragged.at(values, last) - shares.chance)
        for name, values in (
            ("margin_largest", shares.proportion),
            ("margin_low", ends.low),
            ("margin_high", ends.high),
        )
    }


def wei_ragged(
    proportion: Floats,
    x: Floats,
    offsets: Ints,
    *,
    n_examples: Floats,
    chance: Floats,
    stderr: Floats | None = None,
    criteria: Criteria | None = None,
    n_resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> RaggedWei:
    r"""Apply Wei's definition to a ragged batch of curves.

    The state of a point with x of n right:

    * ``above_chance``: the exact binomial test rejects proportion <= chance + effect, one-sided,
      P(X >= x) with Holm's correction within the curve. The effect is ``min_effect``; where chance
      is 0, so that any right answer is more than chance gives, at least ``zero_chance_effect``.
    * ``at_chance``: two one-sided exact tests at alpha reject proportion >= chance + margin and
      proportion <= chance - margin. It is not shown to be above, and shown to be near.
    * ``below_chance``: neither, and the one-sided test rejects proportion >= chance.
    * ``cannot_tell``: none of these, or there is no test: neither n nor a standard error above 0.

    Where n is not known the tests are normal, with the standard error. The mean of graded scores
    varies no more than that of right and wrong answers; answers that depend on each
    other (questions on one text) make a mean vary more than these tests allow for. The verdict on a
    curve, in this order:

    * ``cannot_tell`` where nothing can be tested: ``chance_unknown``, ``too_few_scales`` (fewer
      than ``min_at_chance`` + 1), ``n_unknown`` (no test at any point).
    * ``no``, ``not_persistent``: a scale at or below chance above one that is above chance.
    * ``no``, ``never_above``: the largest scale is at or below chance.
    * ``no``, ``above_at_smallest``.
    * ``cannot_tell``, ``unclear_at_largest``: the state of the largest scale is ``cannot_tell``.
    * ``yes``, ``emergent``: at least ``min_at_chance`` scales at or below chance, and all from the
      emergence scale on above.
    * ``cannot_tell``, ``too_few_at_chance``: the same with fewer. A scale between in a state of
      ``cannot_tell`` widens the interval of the emergence scale and does not count.

    Each resample draws every point anew, binomially with rate (x + 1/2) / (n + 1) so that 0 of n
    does not always give 0 again, and is judged in the same way: how often would the same evaluation
    give the same verdict?

    Args:
        proportion: Scores in [0, 1], shape (total,), up is better, ascending scale in each curve;
            NaN where there is none.
        x: Scales, shape (total,).
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        n_examples: Examples behind each point, shape (total,); a value that is
            not a whole number from 1 to 10^12 is taken as unknown.
        chance: Proportion that chance gives, shape (m,), in [0, 1); NaN where not known.
        stderr: Standard errors of the proportions, shape (total,); NaN where not known.
        criteria: What counts as above and as at chance; the defaults of :class:`Criteria`.
        n_resamples: Number of resamples, 0 for none.
        seed: Seed, or a generator, of which one number is drawn. All curves of one length see the
            same uniform numbers, so that no result depends on the other curves.

    Returns:
        Verdicts, shapes (m,), and states of points, shapes (total,).

    Raises:
        InputError: Arrays that do not fit, or a number out of its range.

    References:
        Wei et al. (2022), arXiv 2206.07682, sec. 2. Two one-sided tests: Schuirmann (1987),
        doi:10.1007/BF01068419. The exact test where the chance of a right answer differs between
        examples: Hoeffding (1956), doi:10.1214/aoms/1177728178, by whose theorem 5 it is then
        conservative.

    Examples:
        >>> import numpy as np
        >>> from bigbench_meta.inference.wei import REASONS, VERDICTS
        >>> y = np.array([0.25, 0.26, 0.24, 0.4, 0.8, 0.25, 0.35, 0.5])
        >>> found = wei_ragged(
        ...     y, np.array([1.0, 2, 4, 8, 16, 1, 2, 4]), np.array([0, 5, 8]),
        ...     n_examples=np.full(8, 1000.0), chance=np.array([0.25, 0.25]),
        ... )
        >>> [VERDICTS[code] for code in found.verdict], [REASONS[code] for code in found.reason]
        (['yes', 'cannot_tell'], ['emergent', 'too_few_at_chance'])
        >>> found.scale_low, found.emergence_scale
        (array([4., 1.]), array([8., 2.]))
    """
    criteria = criteria or Criteria()
    stderr = np.full(len(proportion), np.nan) if stderr is None else stderr
    batch = Ragged.of(offsets, proportion=proportion, x=x, n_examples=n_examples, stderr=stderr)
    batch.check_curves(chance=chance)
    within(proportion, 0, 1, "proportion")
    if np.any(wrong := (chance < 0) | (chance >= 1)):
        raise InputError(f"{chance[wrong][0]:g}, not in [0, 1)", where="chance")
    at_point = chance[batch.curve]
    points = Points(
        proportion=proportion,
        n=known_size(n_examples),
        stderr=stderr,
        chance=at_point,
        null=criteria.null(at_point),
    )
    found = {name: np.full(len(batch), np.nan) for name in _OF_CURVES}
    found |= {name: np.full(batch.n_points, np.nan) for name in _OF_POINTS}
    found["reason"][:] = TOO_FEW_SCALES  # also of a curve without points
    base = seed_number(seed)
    for block in batch.blocks(lambda length: max(1, _CRITICAL_HELD // length**2)):
        rng = np.random.default_rng([base, block.length])
        uniform = rng.random((n_resamples, block.length))
        for name, values in _of_block(points.take(block.points), criteria, uniform).items():
            found[name][block.points if name in _OF_POINTS else block.curves] = values
    reason = np.where(batch.lengths <= criteria.min_at_chance, TOO_FEW_SCALES, found["reason"])
    reason = np.where(np.isnan(chance), CHANCE_UNKNOWN, reason).astype(np.int8)
    resampled = [batch.at(x, found[f"resampled_{end}"]) for end in ("low", "high")]
    return RaggedWei(
        verdict=VERDICT_OF[reason],
        reason=reason,
        start=np.nan_to_num(found["start"], nan=-1).astype(np.int64),
        emergence_scale=batch.at(x, found["start"]),
        scale_low=batch.at(x, found["last_absent"]),
        # Of a loss the earlier position is the larger.
        resampled_low=np.fmin(*resampled),
        resampled_high=np.fmax(*resampled),
        prob_scale=found["prob_scale"],
        prob_emergent=np.where(reason < TOO_FEW_SCALES, found["prob_emergent"], np.nan),
        state=found["state"].astype(np.int8),
        p_value=found["p_value"],
        p_holm=found["p_holm"],
        null=points.null,
        exact=points.is_count,
    )


_OF_CURVES: Final = (
    "reason", "start", "last_absent", "resampled_low", "resampled_high", "prob_scale",
    "prob_emergent",
)  # fmt: skip
_OF_POINTS: Final = ("state", "p_value", "p_holm")


def _of_block(
    points: Points, criteria: Criteria, uniform: Floats
) -> dict[str, NDArray[np.generic]]:
    critical = critical_values(points, criteria)
    state = states(points.value, critical, points.known)
    reason, start = judge(state, criteria.min_at_chance)
    p_value = _p_values(points)
    absent = (state == AT_CHANCE) | (state == BELOW)
    n_scales = state.shape[1]
    last_absent = n_scales - 1 - absent[:, ::-1].argmax(axis=1)
    before = absent.any(axis=1) & (start < n_scales)  # all from the start on are above
    found: dict[str, NDArray[np.generic]] = {
        "state": state,
        "p_value": p_value,
        "p_holm": holm(p_value),
        "reason": np.where(points.known.any(axis=1), reason, N_UNKNOWN),
        "start": np.where(start < n_scales, start, np.nan),
        "last_absent": np.where(before, last_absent, np.nan),
    }
    return found | _resampled(points, critical, uniform, start, criteria.min_at_chance)


def _resampled(
    points: Points, critical: CriticalValues, uniform: Floats, start: Ints, min_at_chance: int
) -> dict[str, NDArray[np.generic]]:
    """Return the verdicts on resamples: shares, and quantiles of the position of their starts."""
    n_resamples, n_scales = uniform.shape
    below, known = _resampling_shares(points, critical), points.known
    n_curves = len(known)
    n_emergent, n_starts = np.zeros(n_curves), np.zeros((n_curves, n_scales + 1))
    held = max(1, _STATES_HELD // max(uniform.size, 1))
    for first in range(0, n_curves, held):
        rows = slice(first, first + held)
        state = states(uniform, below.take(rows), known[rows, None])
        reason, starts = judge(state, min_at_chance)
        n_emergent[rows] = (reason == EMERGENT).sum(axis=1)
        n_starts[rows] = (starts[:, :, None] == np.arange(n_scales + 1)).sum(axis=1)
    up_to = np.cumsum(n_starts[:, :-1], axis=1)
    some = up_to[:, -1] > 0

    def quantile(share: float) -> Floats:
        position = (up_to >= share * up_to[:, -1:]).argmax(axis=1)
        return np.where(some, position, np.nan)

    same = np.take_along_axis(n_starts, start[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):  # shares of no resamples
        return {
            "resampled_low": quantile(0.025),
            "resampled_high": quantile(0.975),
            "prob_scale": np.where(start < n_scales, same / n_resamples, np.nan),
            "prob_emergent": n_emergent / n_resamples,
        }


@dataclass(frozen=True, kw_only=True)
class Points:
    """The observation at each point and the value it is tested against; arrays of one shape.

    Attributes:
        proportion: Score in [0, 1].
        n: Number of examples, NaN where not known.
        stderr: Standard error of the proportion, used where n is not known; NaN or 0 if unknown.
        chance: Proportion that chance gives.
        null: Proportion that "above" has to exceed.
    """

    proportion: Floats
    n: Floats
    stderr: Floats
    chance: Floats
    null: Floats

    def take(self, places: Ints) -> Points:
        """Return the points at the places of a matrix."""
        return Points(**{field.name: getattr(self, field.name)[places] for field in fields(self)})

    @property
    def is_count(self) -> NDArray[np.bool_]:
        """Where the number of examples is known, so that tests are exact."""
        return ~np.isnan(self.proportion + self.n + self.chance)

    @property
    def is_normal(self) -> NDArray[np.bool_]:
        """Where a standard error alone is known. A standard error of 0 is that of 0/n or n/n."""
        known = ~np.isnan(self.proportion + self.chance) & (self.stderr > 0)
        return known & ~self.is_count & np.isfinite(self.stderr)

    @property
    def value(self) -> Floats:
        """Count of right answers, or the proportion where n is not known."""
        count = near_whole(self.proportion * self.n)
        return np.where(self.is_count, count, self.proportion)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where there is a test at all."""
        return self.is_count | self.is_normal


@dataclass(frozen=True, kw_only=True)
class CriticalValues:
    """Values of what is observed at which the state changes; NaN where there is no test.

    Attributes:
        above: Smallest value that rejects at alpha / r, for r from 1 to k; shape (m, k, k).
        at_first: Smallest value that is not too small to be at chance; shape (m, k).
        at_last: Largest value that is not too large to be at chance.
        below_last: Largest value that shows less than chance.
    """

    above: Floats
    at_first: Floats
    at_last: Floats
    below_last: Floats

    def take(self, rows: slice) -> CriticalValues:
        """Return those of some curves, with an axis for resamples before that of scales."""
        return CriticalValues(
            **{field.name: getattr(self, field.name)[rows, None] for field in fields(self)}
        )


def critical_values(points: Points, criteria: Criteria) -> CriticalValues:
    """Return the critical values of the tests of each point.

    Above chance is a one-sided test against ``null``, at alpha over the number of hypotheses that
    Holm's procedure has left. At chance are two one-sided tests at alpha, of chance - margin and of
    chance + margin; each holds without a test where its end is outside of [0, 1].
    """
    n_levels = points.n.shape[1]
    levels, margin = criteria.alpha / np.arange(1, n_levels + 1), criteria.margin
    columns = np.column_stack(
        [np.ravel(a) for a in (np.where(points.is_count, points.n, np.nan), points.chance,
                               points.null)]
    )  # fmt: skip
    unique, inverse = np.unique(columns, axis=0, return_inverse=True)
    exact = _of_counts(*unique.T, levels=levels, margin=margin)
    shape, back = points.n.shape, inverse.reshape(-1)
    normal = _of_normal_scores(points, levels=levels, margin=margin)
    names = ("above", "at_first", "at_last", "below_last")

    def chosen(name: str) -> Floats:
        whole = exact[name][back].reshape(*shape, *exact[name].shape[1:])
        is_count = points.is_count.reshape(*shape, *(1,) * (whole.ndim - 2))
        return np.where(is_count, whole, normal[name])

    return CriticalValues(**{name: chosen(name) for name in names})


def _of_counts(
    n: Floats, chance: Floats, null: Floats, *, levels: Floats, margin: float
) -> dict[str, Floats]:
    alpha = levels[0]
    floor, ceiling = chance - margin, chance + margin
    # At most c right answers are at least n - c wrong ones.
    too_few = critical_count(n, np.clip(1 - ceiling, 0, 1), alpha)
    return {
        "above": critical_count(n[:, None], null[:, None], levels),
        "at_first": np.where(floor <= 0, 0.0, critical_count(n, np.clip(floor, 0, 1), alpha)),
        "at_last": np.where(ceiling >= 1, n, n - too_few),
        "below_last": n - critical_count(n, 1 - chance, alpha),
    }


def _of_normal_scores(points: Points, *, levels: Floats, margin: float) -> dict[str, Floats]:
    stderr = np.where(points.is_normal, points.stderr, np.nan)
    floor, ceiling = points.chance - margin, points.chance + margin
    width = -ndtri(levels[0]) * stderr
    return {
        "above": points.null[..., None] - ndtri(levels) * stderr[..., None],
        "at_first": np.where(floor <= 0, -np.inf, floor) + width,
        "at_last": np.where(ceiling >= 1, np.inf, ceiling) - width,
        "below_last": points.chance - width,
    }


def _resampling_shares(points: Points, critical: CriticalValues) -> CriticalValues:
    """Return the share of resamples below each critical value (up to it, for largest values).

    A resample is binomial with rate (x + 1/2) / (n + 1), which is never 0 or 1: no examples right
    out of n do not show that the next n will have none. Without n it is normal.
    """
    count, n = points.is_count, points.n
    rate = (points.proportion * n + 0.5) / (n + 1)

    def share(values: Floats, more: float) -> Floats:
        axes = (..., *(None,) * (values.ndim - 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (values - points.proportion[axes]) / points.stderr[axes]
        whole = 1 - upper_tail(values + more, n[axes], rate[axes])
        return np.where(count[axes], whole, ndtr(z))

    return CriticalValues(
        above=share(critical.above, 0.0),
        at_first=share(critical.at_first, 0.0),
        at_last=share(critical.at_last, 1.0),
        below_last=share(critical.below_last, 1.0),
    )


def states(value: Floats, critical: CriticalValues, known: NDArray[np.bool_]) -> Codes:
    """Return the state of each point: index into :data:`STATES`.

    Args:
        value: Observed values, shape (m, k), or uniform numbers in place of resampled ones, shape
            (m, b, k) with critical values and ``known`` of shapes that fit.
        critical: Critical values, or their shares of resamples.
        known: Where there is a test.
    """
    level = np.zeros(np.broadcast_shapes(value.shape, known.shape), dtype=np.int16)
    for number in range(critical.above.shape[-1]):
        level += value >= critical.above[..., number]
    at = (value >= critical.at_first) & (value <= critical.at_last)
    state = np.where(at, AT_CHANCE, np.where(value <= critical.below_last, BELOW, CANNOT_TELL))
    return np.where(_step_down(level, known), ABOVE, state).astype(np.int8)


def _step_down(level: NDArray[np.int16], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what Holm's procedure rejects, given the largest r with p <= alpha / r of each point.

    The j-th smallest of m p-values is rejected while p <= alpha / (m - j + 1). The first that is
    not has a smaller r than all before it.
    """
    n_tests = known.sum(axis=-1, keepdims=True)
    passed = -np.sort(-level, axis=-1) >= n_tests - np.arange(level.shape[-1])  # m - j + 1
    n_rejected = np.logical_and.accumulate(passed, axis=-1).sum(axis=-1, keepdims=True)
    rejected: NDArray[np.bool_] = known & (level > n_tests - n_rejected)
    return rejected


def judge(state: Codes, min_at_chance: int) -> tuple[Codes, Ints]:
    """Return the reason, and the start of the last run above chance, of states (..., k).

    The start is k where the largest scale is not above chance.
    """
    above, absent = state == ABOVE, (state == AT_CHANCE) | (state == BELOW)
    n_last = np.logical_and.accumulate(above[..., ::-1], axis=-1).sum(axis=-1)
    gone_again = (np.logical_or.accumulate(above, axis=-1) & absent).any(axis=-1)
    reason = np.select(
        [
            gone_again,
            absent[..., -1],
            above[..., 0],
            ~above[..., -1],
            absent.sum(axis=-1) >= min_at_chance,
        ],
        [NOT_PERSISTENT, NEVER_ABOVE, ABOVE_AT_SMALLEST, UNCLEAR_AT_LARGEST, EMERGENT],
        TOO_FEW_AT_CHANCE,
    )
    return reason.astype(np.int8), state.shape[-1] - n_last


def _p_values(points: Points) -> Floats:
    """Return the one-sided p-value of each point against its null; NaN where there is no test."""
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = ndtr((points.null - points.proportion) / points.stderr)
    exact = upper_tail(np.floor(points.value), points.n, points.null)
    return np.where(points.is_count, exact, np.where(points.is_normal, normal, np.nan))


def holm(p: Floats) -> Floats:
    """Return p-values adjusted by Holm's procedure within each row; NaN are no hypotheses.

    References:
        Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
        Journal of Statistics 6, 65-70.

    Examples:
        >>> holm(np.array([[0.01, np.nan, 0.04, 0.03]]))
        array([[0.03,  nan, 0.06, 0.06]])
    """
    order = np.argsort(p, axis=1)  # NaN last
    left = (~np.isnan(p)).sum(axis=1, keepdims=True) - np.arange(p.shape[1])
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, axis=1) * left, axis=1)
    result = np.empty_like(p)
    np.put_along_axis(result, order, np.minimum(adjusted, 1.0), axis=1)
    return result
