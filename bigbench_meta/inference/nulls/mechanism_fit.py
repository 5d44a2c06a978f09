"""Fit the mechanism to many curves of one length at once, as bootstraps need millions of fits.

The mean is fitted by Fisher scoring, the variation between models by the secant rule; each curve is
a column, columns that are done drop out, and what a column gives does not depend on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    RESOLUTION,
    SIGMA_MAX,
    Design,
    MechanismFit,
    Pieces,
    dispersion,
    information_sums,
    pieces,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["fit_mechanism"]

_TINY: Final = 1e-30
_MEAN_STEPS: Final = 80
_SMALL: Final = 1e-6  # of a step in log loss
_SIGMA_STEPS: Final = 28
_SECANT_STEPS: Final = 9  # before the interval is halved instead
_CLOSE: Final = 1e-4  # of the ratio to 1, and of the interval of sigma^2 to its upper end


def fit_mechanism(
    y: Floats,
    design: Design,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    sigma: Floats | None = None,
    resolution: float = RESOLUTION,
    offset: Floats | None = None,
) -> MechanismFit:
    r"""Fit the mechanism to each of m curves of one length.

    Level and alpha solve the quasi-likelihood equations
    :math:`\sum_i (\partial\mu_i/\partial\theta)(y_i - \mu_i)/V_i = 0`, alpha within its range.
    Sigma solves the moment equation :math:`\sum_i w_i (y_i - \mu_i)^2 / V_i = \sum_i w_i^2 (1 -
    h_i)`, sigma at least 0, with leverages h and the share w of a point's variance that is not mere
    resolution: n - 2 on the right where all points are informative. The two are solved together,
    the mean fitted at each trial value of sigma.

    Args:
        y: Scores as proportions, shape (n, m), up is better.
        design: The curves.
        alpha_range: Bounds of alpha; either may be infinite.
        sigma: Variation between models, shape (m,), where it is known; NaN where it is not.
        resolution: In examples, see :data:`RESOLUTION`. With 0, and
            a sigma of 0, this is binomial maximum likelihood.
        offset: Added to the log loss, shape (n, m).

    Returns:
        The fit; ``not_converged`` where the equations were not solved within a number of steps.

    Raises:
        InputError: Shapes do not fit, or the range is empty.

    References:
        Wedderburn (1974), quasi-likelihood, doi:10.1093/biomet/61.3.439. Breslow (1984), variation
        beyond the sampling error by a moment equation, doi:10.2307/2346389.

    Examples:
        >>> x = np.log([[1.0], [10.0], [100.0], [1000.0]])
        >>> design = Design(
        ...     x=x - x.mean(), trials=np.full((4, 1), 1e6), floor=np.zeros(1),
        ... )
        >>> fit = fit_mechanism(np.exp(-np.exp(0.5 - 0.2 * design.x)), design)
        >>> round(float(fit.alpha[0]), 4), float(fit.sigma[0])
        (0.2, 0.0)
    """
    _check(y, design, alpha_range)
    known = np.full(y.shape[1], np.nan) if sigma is None else sigma
    wanted = np.isnan(known)
    extra = np.zeros_like(y) if offset is None else offset
    problem = _Problem(y, design, extra, alpha_range, resolution)
    state = _fit_mean(problem, _start(problem, np.where(wanted, 0.0, known)))
    wanted &= state.settled
    if wanted.any():
        state.put(wanted, _fit_sigma(problem.take(wanted), state.take(wanted)))
    low, high = alpha_range
    return MechanismFit(
        level=state.level,
        alpha=state.alpha,
        sigma=state.sigma,
        at_bound=(1 * (state.alpha >= high) - 1 * (state.alpha <= low)).astype(np.int8),
        status=(~state.settled).astype(np.int8),
    )


def _check(y: Floats, design: Design, alpha_range: tuple[float, float]) -> None:
    if y.ndim != 2 or y.shape != design.x.shape:
        raise InputError(f"shape {y.shape}, but that of x is {design.x.shape}", where="y")
    if not alpha_range[0] <= alpha_range[1]:
        raise InputError(f"{alpha_range} is no range", where="alpha_range", hint="(low, high)")


@dataclass(frozen=True)
class _Problem:
    y: Floats
    design: Design
    offset: Floats
    bounds: tuple[float, float]
    resolution: float

    def take(self, columns: Bools) -> _Problem:
        """Return some of the curves."""
        y, offset = self.y[:, columns], self.offset[:, columns]
        return replace(self, y=y, offset=offset, design=self.design.take(columns))

    def pieces(self, state: _State) -> Pieces:
        """Return what the equations are made of."""
        return self.pieces_and_lean(state)[0]

    def pieces_and_lean(self, state: _State) -> tuple[Pieces, Floats]:
        """Return the same, and how fast the log loss falls with alpha."""
        fall, lean = self.design.law(state.alpha)
        log_loss = state.level + fall + self.offset
        found = pieces(self.y, log_loss, state.sigma, self.design, resolution=self.resolution)
        return found, lean

    def dispersion(self, state: _State) -> Floats:
        """Return the observed over the expected sum of squares."""
        low, high = self.bounds
        bound = (state.alpha <= low) | (state.alpha >= high)
        observed, expected = dispersion(*self.pieces_and_lean(state), bound)
        return observed / expected


@dataclass
class _Columns:
    """Arrays of one entry a curve."""

    def take(self, columns: Bools) -> Self:
        """Return some of the curves."""
        return type(self)(*(getattr(self, field.name)[columns] for field in fields(self)))

    def put(self, columns: Bools, part: Self) -> None:
        """Put those curves back."""
        for field in fields(self):
            getattr(self, field.name)[columns] = getattr(part, field.name)


@dataclass
class _State(_Columns):
    """Parameters, whether they have settled, and the last step taken."""

    level: Floats
    alpha: Floats
    sigma: Floats
    settled: Bools
    pace: Floats
    length: Floats
    shift: Floats
    change: Floats


def _start(problem: _Problem, sigma: Floats) -> _State:
    """Weighted least squares on the log loss that each score, held off its bounds, stands for."""
    y, design = problem.y, problem.design
    margin = 0.5 / design.trials
    share = np.clip((y - design.floor) / design.span, margin, 1 - margin)
    log_loss = design.link.log_loss(share)
    found = pieces(y, log_loss, np.zeros_like(sigma), design, resolution=problem.resolution)
    mass = found.slope**2 * found.weight + 1e-9
    target = log_loss - problem.offset
    total = mass.sum(axis=0)
    centre, middle = (mass * design.x).sum(axis=0) / total, (mass * target).sum(axis=0) / total
    away = design.x - centre
    spread = np.maximum((mass * away**2).sum(axis=0), _TINY)
    alpha = np.clip(-(mass * away * target).sum(axis=0) / spread, *problem.bounds)
    zeros = [np.zeros_like(alpha) for _ in range(4)]
    level = middle + alpha * centre
    if design.irreducible is not None:
        level = middle - (mass * design.law(alpha)[0]).sum(axis=0) / total
    return _State(level, alpha, sigma.copy(), np.zeros(len(alpha), dtype=bool), *zeros)


def _fit_mean(
    problem: _Problem, state: _State, steps: int = _MEAN_STEPS, small: float = _SMALL
) -> _State:
    """Fit level and alpha by Fisher scoring with sigma held; settled curves stay as they are."""
    state = state.take(np.ones(len(state.level), dtype=bool))  # a copy
    state.settled[:], state.pace[:] = False, 1.0
    # The steps of a former fit say nothing of this one.
    state.length[:], state.shift[:], state.change[:] = 0.0, 0.0, 0.0
    return _score_on(problem, state, steps, small)


def _score_on(problem: _Problem, state: _State, steps: int, small: float) -> _State:
    for step in range(steps):
        shift, change, length, turned = _scoring_step(problem, state)
        # Where nothing fits, full steps can go to and fro: then they are shortened.
        cycle = turned & (length > 0.5 * state.length)
        state.pace = np.where(cycle, state.pace / 2, np.minimum(1.0, 1.5 * state.pace))
        state.shift, state.change, state.length = shift, change, length
        pace = np.where(state.settled, 0.0, state.pace / np.maximum(length, 1.0))
        state.level = state.level + pace * shift
        state.alpha = np.clip(state.alpha + pace * change, *problem.bounds)
        state.settled = state.settled | (length < small)
        if state.settled.all():
            break
        if step % 3 == 2 and 2 * state.settled.sum() > len(pace):
            rest = ~state.settled
            left = steps - step - 1
            state.put(rest, _score_on(problem.take(rest), state.take(rest), left, small))
            break
    return state


def _scoring_step(problem: _Problem, state: _State) -> tuple[Floats, Floats, Floats, Bools]:
    """Return the full step in level and in alpha, its length, and if it goes back on the last."""
    low, high = problem.bounds
    found, x = problem.pieces_and_lean(state)
    lift = found.slope * found.weight
    pull, mass = lift * found.residual, lift * found.slope
    score, moment = pull.sum(axis=0), -(pull * x).sum(axis=0)
    s0, s1, _, determinant = information_sums(mass, x)
    alpha = np.clip(state.alpha + (s0 * moment + s1 * score) / determinant, low, high)
    change = alpha - state.alpha
    shift = (score + s1 * change) / np.maximum(s0, _TINY)
    # Its length is the largest change of log loss at a point, points without information aside.
    move = shift - change * x
    seen = np.abs(move) * np.sqrt(mass / np.maximum(mass.max(axis=0), _TINY))
    turned = (mass * move * (state.shift - state.change * x)).sum(axis=0) < 0
    return shift, change, np.maximum(seen.max(axis=0), np.abs(change)), turned


@dataclass
class _Search(_Columns):
    """A root of 1 - expected / observed in sigma^2, within an interval that shrinks."""

    low: Floats
    high: Floats
    here: Floats
    before: Floats
    value_before: Floats
    done: Bools

    @classmethod
    def start(cls, ratio: Floats, fall: Floats) -> Self:
        """Begin at 0, where the ratio is above 1, with the next guess from how fast it falls."""
        zero, high = np.zeros_like(ratio), np.full_like(ratio, SIGMA_MAX**2)
        here = np.clip((ratio - 1) / np.maximum(fall, _TINY), 1e-8, high)
        return cls(zero, high, here, zero.copy(), 1 - 1 / ratio, zero > 0)

    def narrow(self, ratio: Floats, *, halve: bool) -> None:
        """Take in the ratio at ``here`` and move on by the secant rule or to the middle.

        The reciprocal of the ratio is about linear in sigma^2, so the rule is nearly exact; but
        where alpha reaches a bound the ratio jumps, and the interval closes about the jump.
        """
        value = 1 - 1 / ratio
        short = value > 0
        self.low = np.where(short, self.here, self.low)
        self.high = np.where(short, self.high, self.here)
        slope = (value - self.value_before) / (self.here - self.before + _TINY)
        guess = self.here - value / np.minimum(slope, -_TINY)
        inside = (slope < 0) & (guess > self.low) & (guess < self.high) & (not halve)
        part = self.low + (0.5 if halve else 0.1) * (self.high - self.low)
        self.done = self.done | (np.abs(value) < _CLOSE)
        self.done |= (self.high - self.low < _CLOSE * self.high) | (
            short & (self.here >= SIGMA_MAX**2)
        )
        self.before, self.value_before = self.here, value
        self.here = np.where(self.done, self.here, np.where(inside, guess, part))


def _fit_sigma(problem: _Problem, state: _State) -> _State:
    """Solve the moment equation where a sigma of zero leaves too much unexplained."""
    found = problem.pieces(state)
    ratio = problem.dispersion(state)
    wanting = ratio > 1
    if wanting.any():
        square = (found.residual * found.weight) ** 2 * found.variance
        fall = (square * found.slope**2 * found.weight).sum(axis=0) / np.maximum(
            square.sum(axis=0), _TINY
        )
        search = _Search.start(ratio[wanting], fall[wanting])
        state.put(wanting, _search_sigma(problem.take(wanting), state.take(wanting), search))
    return state


def _search_sigma(problem: _Problem, state: _State, search: _Search, first: int = 0) -> _State:
    """Fit the mean at each trial sigma: solving for the two turn about would cycle."""
    for step in range(first, _SIGMA_STEPS):
        state.sigma = np.sqrt(search.here)
        again = _fit_mean(problem, state, 4, 1e-3)
        # What is done stays, that it does not depend on how long the others take.
        again.put(search.done, state.take(search.done))
        state = again
        ratio = problem.dispersion(state)
        search.narrow(ratio, halve=step >= _SECANT_STEPS)
        if search.done.all():
            break
        if step % 2 and 2 * search.done.sum() > len(ratio):
            rest, done = ~search.done, search.done
            part = _search_sigma(problem.take(rest), state.take(rest), search.take(rest), step + 1)
            state.put(done, _fit_mean(problem.take(done), state.take(done)))
            state.put(rest, part)
            return state
    state = _fit_mean(problem, state)
    state.settled &= search.done
    return state
