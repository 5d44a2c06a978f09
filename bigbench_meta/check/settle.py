"""What would settle a claim: how often more examples or more sizes would lead to a verdict.

Curves are simulated from the laws that fit the claim's scores, smooth ones and ones with a step
where the scores rise most, for other test sets and other sizes of models; the share of them that
the verdict decides rightly is the power.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.check.verdicts import ANY_SIGMA, DECISIVE_ODDS, STEP_FACTOR, rises
from bigbench_meta.core.checks import at_least, probability
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.curves.build import Curves, build_curves, integer_column
from bigbench_meta.inference.nulls.inputs import NullInputs, null_inputs
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.smooth_curves import SIGMAS, drawn_scores, law_grid
from bigbench_meta.inference.nulls.step_evidence import StepEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.progress import Progress

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["AS_IT_IS", "POWER", "Laws", "plan_claim", "posterior_laws", "what_would_settle"]

AS_IT_IS: Final = "as it is"
"""The evaluation that the claim rests on."""

POWER: Final = 0.8
"""Probability of the right verdict that counts as enough."""

_SIMULATED: Final = 200
_MOST_EXAMPLES: Final = 1_000_000
_FEWEST_EXAMPLES: Final = 20
_COARSE: Final = 8.0
_OTHER_PLACES: Final = 5
_MOST_LOG_ODDS: Final = 600.0
_FINE: Final = 1.3  # between numbers of examples that are tried
# Of a plan: gain over guessing of the largest model, exponents, and variation between models.
_GAIN: Final = (0.2, 0.9)
_ALPHAS: Final = (0.05, 0.34)
_PLANNED_SIGMAS: Final = (0.0, 0.05, 0.1, 0.2)
_FACTORS: Final = (5.0, STEP_FACTOR, 100.0)


@dataclass(frozen=True, kw_only=True)
class Laws:
    """Loss laws to simulate from, one entry each, and how likely they are.

    Attributes:
        inputs: Rows with their links, guess rates and units.
        row: Row of each law.
        level: Log of the reducible loss at ``centre``.
        alpha: Exponent.
        irreducible: Irreducible loss over the reducible one there.
        sigma: Variation between models in log loss.
        probability: Of each law; they sum to 1.
        centre: Mean log size for which the levels are.
    """

    inputs: NullInputs
    row: Ints
    level: Floats
    alpha: Floats
    irreducible: Floats
    sigma: Floats
    probability: Floats
    centre: float

    def scores(
        self, sizes: Floats, n_examples: float, fall: Floats, size: int, rng: np.random.Generator
    ) -> Floats:
        """Draw scores in the unit of the file, shape (size, n).

        Args:
            sizes: Of the models, shape (n,).
            n_examples: Right-or-wrong examples of the test set.
            fall: What a step takes from the log loss of each model, shape (n,).
            size: Number of draws.
            rng: Source of randomness.
        """
        law = rng.choice(len(self.row), size=size, p=self.probability)
        found = np.empty((size, len(sizes)))
        away = self.sigma[law, None] * rng.standard_normal(found.shape) - fall
        x = (np.log(sizes) - self.centre)[:, None]
        trials = np.full(len(sizes), n_examples)
        for row in np.unique(self.row[law]).tolist():
            own = np.flatnonzero(self.row[law] == row)
            chosen = law[own]
            found[own] = drawn_scores(
                self.inputs, row, x, trials, self.level[chosen], self.alpha[chosen],
                self.irreducible[chosen], away[own], rng,
            )  # fmt: skip
        return found


@dataclass(frozen=True, kw_only=True)
class _Design:
    """An evaluation that may be made.

    Attributes:
        keys: Keys of its curves, one row.
        sizes: Of the models.
        boundary: Between which of them the step is, as a size.
        factor: By how much the loss falls there.
        odds: Likelihood ratio that decides.
        parts: Right-or-wrong parts that the score of an example is worth.
        catalog: Metric catalog.
        sigma: Prior probability of each value of :data:`SIGMAS`.
        among: Of how many curves the claim is the sharpest.
    """

    keys: pd.DataFrame
    sizes: Floats
    boundary: float
    factor: float
    odds: float
    parts: float
    catalog: MetricCatalog | None
    sigma: Floats
    among: int = 1

    def powers(self, smooth: Laws, stepped: Laws, n: float, seed: int) -> tuple[float, float]:
        """Return how often smooth curves are explained, and stepped ones sharper."""
        rng = np.random.default_rng([seed, round(n), len(self.sizes)])
        step = np.log(self.factor)
        fall = step * ((self.sizes > self.boundary) - 0.5)
        shares = []
        for laws, down, verdict in ((smooth, 0 * fall, 0), (stepped, fall, 1)):
            scores = laws.scores(self.sizes, n * self.parts, down, _SIMULATED, rng)
            shares.append(float(self._decided(scores, n)[verdict].mean()))
        return shares[0], shares[1]

    def _decided(self, scores: Floats, n: float) -> tuple[Bools, Bools]:
        """Return which curves would be explained, and which sharper."""
        curves = self._curves(scores, n)
        after = np.tile(self.sizes > self.boundary, len(scores))
        before_step = ~after & np.roll(after, -1)
        rise = rises(curves)
        width = len(self.sizes)
        place = np.tile(np.arange(width), len(scores))
        # Of the other places some stand for all.
        special = rise | before_step
        others = ~special & (place < width - 1)
        tried = others & (place % max(1, width // _OTHER_PLACES) == 0)
        inputs = null_inputs(curves, catalog=self.catalog)
        evidence = StepEvidence.of(
            inputs, float(np.log(self.factor)), curves.ragged, places=special | tried
        )
        log_odds = evidence.log_odds(self.sigma)
        odds = np.exp(np.minimum(np.where(np.isnan(log_odds), -np.inf, log_odds), _MOST_LOG_ODDS))
        ragged = curves.ragged
        stands_for = ragged.count(others) / np.maximum(ragged.count(tried), 1)
        total = ragged.reduce(np.add, np.where(special, odds, 0.0))
        total += stands_for * ragged.reduce(np.add, np.where(tried, odds, 0.0))
        mean = total / (width - 1)
        claimed = ragged.reduce(np.fmax, np.where(rise, odds, np.nan))
        explained = (claimed <= 1 / self.odds) & (mean <= 1 / self.odds)
        return explained, mean >= self.odds * self.among

    def _curves(self, scores: Floats, n: float) -> Curves:
        size, width = scores.shape
        one = Curves(
            keys=self.keys, offsets=np.array([0, width]), x=self.sizes, y=scores[0],
            spread=np.full(width, np.nan), stderr=np.full(width, np.nan),
            n_examples=np.full(width, float(round(n))), model_name=self.sizes.astype(str),
        )  # fmt: skip
        return replace(one[np.zeros(size, dtype=np.int64)], y=scores.ravel())


def what_would_settle(
    curves: Curves,
    *,
    factor: float = STEP_FACTOR,
    odds: float = DECISIVE_ODDS,
    among: int = 1,
    power: float = POWER,
    target_length: float | None = None,
    sigma: Floats = ANY_SIGMA,
    seed: int = 0,
    catalog: MetricCatalog | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    """Compute which evaluations would decide a claim.

    Args:
        curves: One curve.
        factor: As for :func:`bigbench_meta.check.verdicts.claim_verdicts`.
        odds: Likewise.
        among: Likewise.
        power: Probability of the right verdict that is enough, in (0, 1).
        target_length: Tokens of an answer that must all be right, if known: then the share of right
            tokens is tried as a second metric.
        sigma: Prior probability of each value of :data:`SIGMAS`; by default all are equally
            probable.
        seed: Seed of the simulation.
        catalog: Metric catalog; the packaged one by default.
        progress: Whether to show a bar, or what to call with (work done, work); by default a bar
            in terminals and notebooks.

    Returns:
        One row for each ``option``, the first of them :data:`AS_IT_IS`: ``n_sizes``,
        ``n_examples``, ``p_explained`` (probability of the verdict ``explained`` where improvement
        is smooth, the test for smaller steps aside), ``p_sharper`` (of ``sharper`` where the loss
        jumps) and ``enough``, whether both reach the power. Examples are the fewest that do, and
        missing where a million do not.

    Raises:
        InputError: Not one curve, one that cannot be tested, or an option is out of its range.
    """
    _check_options(power, factor, odds)
    if len(curves) != 1:
        raise InputError(f"{len(curves)} curves, not one", where="curves")
    inputs = null_inputs(curves, catalog=catalog)
    if not len(inputs.curve) or len(curves.y) < 4 or not (np.diff(curves.oriented) > 0).any():
        raise InputError("these scores give nothing to simulate from", where="curves")
    place = int(np.argmax(np.diff(curves.oriented)))
    step = np.log(factor)
    smooth = posterior_laws(inputs, curves, 0.0, place, sigma)
    stepped = posterior_laws(inputs, curves, step, place, sigma)
    parts = float(np.median(inputs.rows.trials[: len(curves.y)] / _examples(curves)))
    between = np.sqrt(curves.x[1:] * curves.x[:-1])
    design = _Design(
        keys=curves.keys, sizes=curves.x, boundary=float(between[place]), factor=factor, odds=odds,
        among=among, parts=parts, catalog=catalog, sigma=sigma,
    )  # fmt: skip
    now = float(np.median(_examples(curves)))
    twice, more = (_denser(design, times) for times in (2, 4))
    plans = [
        (AS_IT_IS, design, False, 1.0), ("more examples", design, True, 1.0),
        ("twice as many sizes", twice, False, 1.0),
        ("twice as many sizes, more examples", twice, True, 1.0),
        ("four times as many sizes", more, False, 1.0),
    ]  # fmt: skip
    if target_length and target_length > 1:
        # Of tokens that are right or wrong each, the loss is that of the answer over its length.
        plans.append(("share of right tokens instead", design, False, target_length))
    rows: list[dict[str, Any]] = []
    with progress_bar("Simulating", progress) as report:
        for number, (name, some, search, length) in enumerate(plans, start=1):
            powers = _remembered(
                some, replace(smooth, level=smooth.level - np.log(length)),
                replace(stepped, level=stepped.level - np.log(length)), seed,
            )  # fmt: skip
            n = _examples_needed(powers, now, power) if search else now
            found = powers(_MOST_EXAMPLES if np.isnan(n) else n * length)
            rows.append({"option": name, **_row(some, n, found, power)})
            if report:
                report(number, len(plans))
    return _table(rows)


def plan_claim(
    sizes: ArrayLike,
    *,
    metric: str = "exact_str_match",
    chance: float = 0.0,
    factors: Sequence[float] = _FACTORS,
    odds: float = DECISIVE_ODDS,
    power: float = POWER,
    seed: int = 0,
    catalog: MetricCatalog | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    """Compute how many examples an evaluation needs to decide a claim, before it is run.

    Improvement is simulated with exponents from 0.05 to 0.34, a largest model that gains 20% to 90%
    of what can be gained over guessing, variation between models of 0 to 0.2 in log loss, and a
    step in the middle of the sizes.

    Args:
        sizes: Numbers of parameters of the models, at least 4.
        metric: Metric of the catalog; a mean over right-or-wrong examples.
        chance: Guess rate, in [0, 1).
        factors: By how much the loss falls in a step, each above 1.
        odds: As for :func:`bigbench_meta.check.verdicts.claim_verdicts`.
        power: Probability of the right verdict that is enough, in (0, 1).
        seed: Seed of the simulation.
        catalog: Metric catalog; the packaged one by default.
        progress: As for :func:`what_would_settle`.

    Returns:
        One row for each factor, and each of these sizes and twice as many: ``factor``, ``n_sizes``,
        ``n_examples`` (missing where a million are not enough), ``p_explained``, ``p_sharper`` and
        ``enough``, as :func:`what_would_settle` gives them.

    Raises:
        InputError: An option is out of its range.
    """
    _check_options(power, factors, odds)
    x = np.unique(at_least(sizes, 0, "sizes", strict=True))
    if len(x) < 4:
        raise InputError("fewer than 4 different sizes", where="sizes")
    if not 0 <= chance < 1:
        raise InputError(f"{chance:g} is not in [0, 1)", where="chance")
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    template = build_curves(
        pd.DataFrame(
            {"benchmark": "plan", "task": "plan", "metric": metric, "model_family": "plan",
             "model_name": x.astype(str), "total_params": np.rint(x), "n_examples": 100,
             "score": np.linspace(chance, 1.0, len(x)), "low_score": chance, "high_score": 1.0}
        ),
        catalog=catalog,
    )  # fmt: skip
    inputs = null_inputs(template, catalog=catalog)
    if not len(inputs.curve):
        raise InputError(f"{metric} cannot be simulated: {inputs.problem[0]}", where="metric")
    boundary = float(np.sqrt(x[len(x) // 2 - 1] * x[len(x) // 2]))
    every = np.ravel(factors).tolist()
    with progress_bar("Simulating", progress) as report:
        for factor in every:
            design = _Design(
                keys=template.keys, sizes=x, boundary=boundary, factor=factor, odds=odds,
                parts=1.0, catalog=catalog, sigma=ANY_SIGMA,
            )  # fmt: skip
            smooth, stepped = (_prior(inputs, x, rng, up) for up in (0.0, np.log(factor) / 2))
            for some in (design, _denser(design, 2)):
                powers = _remembered(some, smooth, stepped, seed)
                n = _examples_needed(powers, _FEWEST_EXAMPLES, power)
                found = powers(_MOST_EXAMPLES if np.isnan(n) else n)
                rows.append({"factor": factor, **_row(some, n, found, power)})
                if report:
                    report(len(rows), 2 * len(every))
    return _table(rows)


def _row(design: _Design, n: float, powers: tuple[float, float], power: float) -> dict[str, Any]:
    """Return what is found of one evaluation."""
    explained, sharper = powers
    return {
        "n_sizes": len(design.sizes), "n_examples": n, "p_explained": explained,
        "p_sharper": sharper, "enough": min(powers) >= power,
    }  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows with whole numbers of examples, missing where none are enough."""
    found = pd.DataFrame(rows)
    return found.assign(n_examples=integer_column(found["n_examples"].to_numpy(dtype=float)))


def _check_options(power: float, factors: ArrayLike, odds: float) -> None:
    probability(power, "power")
    at_least(factors, 1, "factor", strict=True)
    at_least(odds, 1, "odds", strict=True)


def _denser(design: _Design, times: int) -> _Design:
    """Return a design with so many times the sizes, evenly between those that there are."""
    log = np.log(design.sizes)
    place = np.arange((len(log) - 1) * times + 1) / times
    sizes = np.exp(np.interp(place, np.arange(len(log)), log))
    # What would stand on the boundary stands just beyond it.
    near = np.isclose(sizes, design.boundary, rtol=1e-6)
    return replace(design, sizes=np.where(near, sizes * 1.001, sizes))


def _examples(curves: Curves) -> Floats:
    """Return the examples behind each point; unknown ones are those of the others, or one."""
    known = curves.n_examples[~np.isnan(curves.n_examples)]
    return np.where(np.isnan(curves.n_examples), np.median(known) if len(known) else 1.0,
                    curves.n_examples)  # fmt: skip


def posterior_laws(
    inputs: NullInputs, curves: Curves, step: float, place: int, sigma: Floats
) -> Laws:
    """Return the laws that fit a curve, with a step after one of its points unless it is 0.

    Args:
        inputs: What :func:`bigbench_meta.inference.nulls.inputs.null_inputs` returns of the curve.
        curves: The curve.
        step: Fall of the log loss.
        place: Position of the point before it.
        sigma: Prior probability of each value of :data:`SIGMAS`.
    """
    parts = []
    for rows, y, design, _ in inputs.rows.blocks():
        fall = step * (0.5 - (np.arange(len(y)) > place))[:, None] + np.zeros(y.shape)
        laws = law_grid(np.arange(len(rows)), y, design, ALPHA_RANGE, fall if step else None)
        parts.append(laws | {"row": rows[laws["row"]]})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    likely = np.exp(found["log_likelihood"] - found["log_likelihood"].max())
    likely *= sigma[found["sigma"]]
    return Laws(
        inputs=inputs, row=found["row"], level=found["level"], alpha=found["alpha"],
        irreducible=found["irreducible"], sigma=SIGMAS[found["sigma"]],
        probability=likely / likely.sum(), centre=float(np.log(curves.x).mean()),
    )  # fmt: skip


def _prior(inputs: NullInputs, x: Floats, rng: np.random.Generator, up: float) -> Laws:
    """Return laws before anything is measured; ``up`` is what a step leaves at the large end."""
    size = _SIMULATED
    alpha, gain = rng.uniform(*_ALPHAS, size), rng.uniform(*_GAIN, size)
    row = rng.integers(len(inputs.curve), size=size)
    link = inputs.rows.link
    last = np.array([link[r].log_loss(np.array([g]))[0] for r, g in zip(row, gain, strict=True)])
    log = np.log(x)
    return Laws(
        inputs=inputs, row=row, level=last + up + alpha * (log[-1] - log.mean()), alpha=alpha,
        irreducible=np.zeros(size), sigma=rng.choice(_PLANNED_SIGMAS, size),
        probability=np.full(size, 1 / size), centre=float(log.mean()),
    )  # fmt: skip


def _remembered(
    design: _Design, smooth: Laws, stepped: Laws, seed: int
) -> Callable[[float], tuple[float, float]]:
    """Return the powers by number of examples, each simulated once."""

    @cache
    def powers(n: int) -> tuple[float, float]:
        return design.powers(smooth, stepped, n, seed)

    return lambda n: powers(round(n))


def _examples_needed(
    powers: Callable[[float], tuple[float, float]], least: float, power: float
) -> float:
    """Return the fewest examples, from ``least`` on, with which both powers are reached."""

    def enough(n: float) -> bool:
        return min(powers(n)) >= power

    if enough(least):
        return round(least)
    low = high = least
    while not enough(high):
        if high >= _MOST_EXAMPLES:
            return np.nan
        low, high = high, _round_up(min(high * _COARSE, _MOST_EXAMPLES))
    while high / low > _FINE and (middle := _round_up(np.sqrt(low * high))) < high:
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _round_up(n: float) -> int:
    """Return a number of examples with two digits that is not below it."""
    unit = 10 ** max(int(np.floor(np.log10(n))) - 1, 0)
    return int(np.ceil(n / unit) * unit)
