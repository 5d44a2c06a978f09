"""The verdict of Wei's definition on ragged curves, with its evidence: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import seed_number, within
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.inference.binomial import known_size
from bigbench_meta.inference.wei_states import (
    AT_CHANCE,
    BELOW,
    CHANCE_UNKNOWN,
    EMERGENT,
    N_UNKNOWN,
    TOO_FEW_SCALES,
    VERDICT_OF,
    Points,
    holm,
    judge,
    limits,
    p_values,
    places,
    states,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.wei_states import Codes, Limits

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["RaggedWei", "wei_ragged"]

# Limits (k x k a curve) and states of resamples held at a time.
_LIMITS_HELD: Final = 1 << 20
_STATES_HELD: Final = 1 << 21


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


def wei_ragged(
    proportion: Floats,
    x: Floats,
    offsets: Ints,
    *,
    n_examples: Floats,
    chance: Floats,
    stderr: Floats | None = None,
    alpha: float = 0.05,
    margin: float = 0.05,
    min_effect: float = 0.0,
    zero_chance_effect: float = 0.01,
    min_at_chance: int = 2,
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
    varies no more than that of right and wrong answers; answers that hang together (questions on
    one text) make a mean vary more than these tests allow for. The verdict on a curve, in
    this order:

    * ``cannot_tell`` where there is nothing to judge: ``chance_unknown``, ``too_few_scales`` (fewer
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
    does not always give 0 again, and is judged alike: how often would the same evaluation say the
    same?

    Args:
        proportion: Scores in [0, 1], shape (total,), up is better, ascending scale in each curve;
            NaN where there is none.
        x: Scales, shape (total,).
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        n_examples: Examples behind each point, shape (total,); what is no whole number from 1 to
            10^12 is not known.
        chance: Proportion that chance gives, shape (m,), in [0, 1); NaN where not known.
        stderr: Standard errors of the proportions, shape (total,); NaN where not known.
        alpha: Level of the tests.
        margin: How near to chance is at chance, a proportion.
        min_effect: How far above chance is above, a proportion.
        zero_chance_effect: The same where chance is 0.
        min_at_chance: Scales at or below chance that make an ability absent from small models.
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
    stderr = np.full(len(proportion), np.nan) if stderr is None else stderr
    batch = Ragged.of(offsets, proportion=proportion, x=x, n_examples=n_examples, stderr=stderr)
    batch.check_curves(chance=chance)
    within(proportion, 0, 1, "proportion")
    if np.any(wrong := (chance < 0) | (chance >= 1)):
        raise InputError(f"{chance[wrong][0]:g}, not in [0, 1)", where="chance")
    effects = {"min_effect": min_effect, "zero_chance_effect": zero_chance_effect}
    for name, value in ({"alpha": alpha, "margin": margin} | effects).items():
        within(value, 0, 1, name, open_=name == "alpha")
    at_point = chance[batch.curve]
    effect = np.where(at_point > 0, min_effect, max(min_effect, zero_chance_effect))
    points = Points(
        proportion=proportion,
        n=known_size(n_examples),
        stderr=stderr,
        chance=at_point,
        null=np.minimum(at_point + effect, 1.0),
    )
    options = _Options(alpha, margin, min_at_chance, n_resamples)
    found = _found(points, batch, options, seed_number(seed))
    reason = np.where(batch.lengths <= min_at_chance, TOO_FEW_SCALES, found["reason"])
    reason = np.where(np.isnan(chance), CHANCE_UNKNOWN, reason).astype(np.int8)
    return RaggedWei(
        verdict=VERDICT_OF[reason],
        reason=reason,
        start=np.nan_to_num(found["start"], nan=-1).astype(np.int64),
        emergence_scale=batch.at(x, found["start"]),
        scale_low=batch.at(x, found["last_absent"]),
        resampled_low=batch.at(x, found["resampled_low"]),
        resampled_high=batch.at(x, found["resampled_high"]),
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


@dataclass(frozen=True)
class _Options:
    alpha: float
    margin: float
    min_at_chance: int
    n_resamples: int


def _found(points: Points, batch: Ragged, options: _Options, base: int) -> dict[str, Floats]:
    """Return what is found of each curve and of each point; a position of nothing is NaN."""
    found = {name: np.full(len(batch), np.nan) for name in _OF_CURVES}
    found |= {name: np.full(batch.n_points, np.nan) for name in _OF_POINTS}
    found["reason"][:] = TOO_FEW_SCALES  # also of a curve without points
    for block in batch.blocks(lambda length: max(1, _LIMITS_HELD // length**2)):
        rng = np.random.default_rng([base, block.length])
        uniform = rng.random((options.n_resamples, block.length))
        of_block = _of_block(points.take(block.points), options, uniform)
        for name, values in of_block.items():
            found[name][block.points if name in _OF_POINTS else block.curves] = values
    return found


def _of_block(points: Points, options: _Options, uniform: Floats) -> dict[str, NDArray[np.generic]]:
    limit = limits(points, alpha=options.alpha, margin=options.margin)
    state = states(points.value, limit, points.known)
    reason, start = judge(state, options.min_at_chance)
    p_value = p_values(points)
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
    return found | _resampled(points, limit, uniform, start, options.min_at_chance)


def _resampled(
    points: Points, limit: Limits, uniform: Floats, start: Ints, min_at_chance: int
) -> dict[str, NDArray[np.generic]]:
    """Return how resamples are judged: shares, and quantiles of the positions of their starts."""
    n_resamples, n_scales = uniform.shape
    place, known = places(points, limit), points.known
    n_curves = len(known)
    n_emergent, n_starts = np.zeros(n_curves), np.zeros((n_curves, n_scales + 1))
    held = max(1, _STATES_HELD // max(uniform.size, 1))
    for first in range(0, n_curves, held):
        rows = slice(first, first + held)
        state = states(uniform, place.take(rows), known[rows, None])
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
