"""Fit the mechanism to many curves of one length at once, as bootstraps need millions of fits.

The mean is fitted by Fisher scoring, the variation between models by the secant rule; each curve is
a column, columns that are done drop out, and what a column gives does not depend on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    of_products,
    pieces,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

__all__ = ["fit_mechanism"]

_TINY: Final = 1e-30
_MEAN_STEPS: Final = 80
_SMALL: Final = 1e-6  # of a step in log loss
_SIGMA_STEPS: Final = 28
_SECANT_STEPS: Final = 9  # before the interval is halved instead
_FULL: Final = 0.75  # of curves that have not settled, below which the others are dropped
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
    problem = _Problem(y, design, offset, alpha_range, resolution)
    state = _fit_mean(problem, _start(problem, np.where(wanted, 0.0, known)))
    free = np.flatnonzero(wanted & state.settled)
    if len(free) == len(known):
        state = _fit_sigma(problem, state)
    elif len(free):
        state.put(free, _fit_sigma(problem.take(free), state.take(free)))
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
    offset: Floats | None
    bounds: tuple[float, float]
    resolution: float

    def take(self, columns: Ints) -> _Problem:
        """Return some of the curves."""
        offset = None if self.offset is None else self.offset.take(columns, axis=1)
        return replace(
            self, y=self.y.take(columns, axis=1), offset=offset, design=self.design.take(columns)
        )

    def pieces_and_lean(self, state: _State) -> tuple[Pieces, Floats]:
        """Return what the equations are made of, and how fast the log loss falls with alpha."""
        fall, lean = self.design.law(state.alpha)
        log_loss = state.level + fall
        if self.offset is not None:
            log_loss += self.offset
        found = pieces(self.y, log_loss, state.sigma, self.design, resolution=self.resolution)
        return found, lean

    def dispersion(self, state: _State) -> tuple[Floats, Pieces]:
        """Return the observed over the expected sum of squares, and what they are made of."""
        low, high = self.bounds
        bound = (state.alpha <= low) | (state.alpha >= high)
        found, lean = self.pieces_and_lean(state)
        observed, expected = dispersion(found, lean, bound)
        return observed / expected, found


@dataclass
class _Columns:
    """Arrays of one entry a curve."""

    def take(self, columns: Ints) -> Self:
        """Return some of the curves."""
        return type(self)(*(values[columns] for values in vars(self).values()))

    def put(self, columns: Ints, part: Self) -> None:
        """Put those curves back."""
        for name, values in vars(part).items():
            getattr(self, name)[columns] = values


@dataclass
class _State(_Columns):
    """Parameters, and whether they have settled."""

    level: Floats
    alpha: Floats
    sigma: Floats
    settled: Bools


@dataclass
class _Steps(_Columns):
    """The last step of each curve in level and in alpha, its length, and the share taken of it."""

    shift: Floats
    change: Floats
    length: Floats
    pace: Floats


def _start(problem: _Problem, sigma: Floats) -> _State:
    """Weighted least squares on the log loss that each score, held off its bounds, stands for."""
    y, design = problem.y, problem.design
    margin = 0.5 / design.trials
    share = np.clip((y - design.floor) / design.span, margin, 1 - margin)
    log_loss = design.link.log_loss(share)
    found = pieces(y, log_loss, np.zeros_like(sigma), design, resolution=problem.resolution)
    mass = found.slope**2 * found.weight + 1e-9
    target = log_loss if problem.offset is None else log_loss - problem.offset
    total = mass.sum(axis=0)
    centre, middle = (mass * design.x).sum(axis=0) / total, (mass * target).sum(axis=0) / total
    away = design.x - centre
    spread = np.maximum((mass * away**2).sum(axis=0), _TINY)
    alpha = np.clip(-(mass * away * target).sum(axis=0) / spread, *problem.bounds)
    level = middle + alpha * centre
    if design.irreducible is not None:
        level = middle - (mass * design.law(alpha)[0]).sum(axis=0) / total
    return _State(level, alpha, sigma.copy(), np.zeros(len(alpha), dtype=bool))


def _fit_mean(
    problem: _Problem, state: _State, steps: int = _MEAN_STEPS, small: float = _SMALL
) -> _State:
    """Fit level and alpha by Fisher scoring with sigma held; settled curves stay as they are."""
    zero = np.zeros_like(state.level)
    found, rows = replace(state, settled=zero > 0), np.arange(len(zero))
    here, last = found, _Steps(zero, zero, zero, zero + 1)
    for step in range(steps):
        new, turned = _scoring_step(problem, here, last)
        # Where nothing fits, full steps can go to and fro: then they are shortened.
        cycle = turned & (new.length > 0.5 * last.length)
        new.pace = np.where(cycle, last.pace / 2, np.minimum(1.0, 1.5 * last.pace))
        pace = np.where(here.settled, 0.0, new.pace / np.maximum(new.length, 1.0))
        here = _State(
            here.level + pace * new.shift,
            _held(here.alpha + pace * new.change, problem.bounds),
            here.sigma,
            here.settled | (new.length < small),
        )
        last = new
        open_ = np.flatnonzero(~here.settled)
        if not len(open_):
            break
        if step + 1 < steps and len(open_) < _FULL * len(pace):
            found = found if len(rows) < len(zero) else here
            if found is not here:
                found.put(rows, here)
            rows = rows[open_]
            problem, here, last = problem.take(open_), here.take(open_), last.take(open_)
    if len(rows) == len(zero):
        return here
    found.put(rows, here)
    return found


def _held(alpha: Floats, bounds: tuple[float, float]) -> Floats:
    """Return alpha within its range."""
    low, high = bounds
    return np.asarray(np.minimum(np.maximum(alpha, low), high))


def _scoring_step(problem: _Problem, state: _State, last: _Steps) -> tuple[_Steps, Bools]:
    """Return the full step, whose pace is still open, and if it goes back on the last."""
    found, x = problem.pieces_and_lean(state)
    lift = np.multiply(found.slope, found.weight, out=found.weight)
    pull = np.multiply(lift, found.residual, out=found.residual)
    mass = np.multiply(lift, found.slope, out=found.slope)
    score, moment = pull.sum(axis=0), -of_products(pull, x)
    s0, s1, s2, determinant = information_sums(mass, x)
    alpha = _held(state.alpha + (s0 * moment + s1 * score) / determinant, problem.bounds)
    change = alpha - state.alpha
    shift = (score + s1 * change) / np.maximum(s0, _TINY)
    # Its length is the largest change of log loss at a point, points without information aside.
    move = np.multiply(change, x, out=pull)
    np.subtract(shift, move, out=move)
    mass /= np.maximum(mass.max(axis=0), _TINY)
    move *= move
    move *= mass
    seen = np.sqrt(move.max(axis=0))
    along, across = shift * s0 - change * s1, shift * s1 - change * s2
    turned = last.shift * along - last.change * across < 0
    return _Steps(shift, change, np.maximum(seen, np.abs(change)), last.pace), turned


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
    ratio, found = problem.dispersion(state)
    wanting = np.flatnonzero(ratio > 1)
    if len(wanting):
        square = (found.residual * found.weight) ** 2 * found.variance
        fall = (square * found.slope**2 * found.weight).sum(axis=0) / np.maximum(
            square.sum(axis=0), _TINY
        )
        search = _Search.start(ratio[wanting], fall[wanting])
        state.put(wanting, _search_sigma(problem.take(wanting), state.take(wanting), search))
    return state


def _search_sigma(problem: _Problem, state: _State, search: _Search) -> _State:
    """Fit the mean at each trial sigma: solving for the two turn about would cycle."""
    found, rows, some = replace(state), np.arange(len(state.level)), problem
    done = np.zeros(len(rows), dtype=bool)
    for step in range(_SIGMA_STEPS):
        state.sigma = np.sqrt(search.here)
        again = _fit_mean(some, state, 4, 1e-3)
        # What is done stays, that it does not depend on how long the others take.
        finished = np.flatnonzero(search.done)
        again.put(finished, state.take(finished))
        state = again
        search.narrow(some.dispersion(state)[0], halve=step >= _SECANT_STEPS)
        open_ = np.flatnonzero(~search.done)
        if not len(open_) or len(open_) < _FULL * len(search.done):
            found.put(rows, state)
            done[rows] = search.done
            rows, some = rows[open_], some.take(open_)
            state, search = state.take(open_), search.take(open_)
        if not len(open_):
            break
    found.put(rows, state)
    found = _fit_mean(problem, found)
    found.settled &= done
    return found
