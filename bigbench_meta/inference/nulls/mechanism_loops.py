r"""The formulas of the mechanism, one curve at a time, compiled: bootstraps need them often.

:mod:`inference.nulls.mechanism` says what they mean and gives them arrays. All that call each other
stand here, because compiled code that is kept is renewed when its own file changes.

A curve lies in a small array of n columns, whose rows are named below. Functions fill in rows from
those above them, so that nothing is allocated within a fit. Sums go from the first scale to the
last, and every curve is computed by itself: what it gives does not depend on the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from bigbench_meta.core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "BRIER_KIND",
    "FINE",
    "FIRST",
    "GRADE_KIND",
    "MOST_LOG_LOSS",
    "SHARE_KIND",
    "SIGMA_MAX",
    "CurveArrays",
    "LinkArrays",
    "Pieces",
    "dispersion_of",
    "fit_of",
    "information_of",
    "law_of",
    "leverage_of",
    "link_of",
    "log_likelihoods_of",
    "numbers",
    "pieces_of",
    "step_scores_of",
]

SHARE_KIND, BRIER_KIND, GRADE_KIND = range(3)

MOST_LOG_LOSS: Final = 30.0
"""A loss of exp(30) is far beyond the floor; one more would overflow."""

SIGMA_MAX: Final = 2.0
"""Largest variation between models that is looked for: a loss 7 times as large or as small."""

FIRST: Final = -12.0
"""Log loss of the first entry of a grade's table."""

FINE: Final = 256
"""Entries of the table per unit of log loss."""


class LinkArrays(NamedTuple):
    """A link in numbers.

    Attributes:
        kind: :data:`SHARE_KIND`, :data:`BRIER_KIND` or :data:`GRADE_KIND`.
        linear: Weight of the linear part of a Brier score.
        table: Of a grade: share, slope, and how far each is from the next entry, shape (k, 4);
            else of shape (0, 4).
    """

    kind: int
    linear: float
    table: Floats


class CurveArrays(NamedTuple):
    """The known quantities of m curves of n scales.

    Attributes:
        link: Their link.
        x: Log scale, centred, shape (n, m).
        trials: Examples, likewise.
        floor: Guess rate, shape (m,).
        irreducible: Irreducible loss over the reducible one, likewise; 0 for a plain power law.
        offset: Added to the log loss, shape (n, m), or (0, 0) for nothing.
    """

    link: LinkArrays
    x: Floats
    trials: Floats
    floor: Floats
    irreducible: Floats
    offset: Floats


class _Own(NamedTuple):
    """What is known of one curve as a whole."""

    link: LinkArrays
    floor: float
    irreducible: float


def numbers(values: Floats, shape: tuple[int, ...] | None = None) -> Floats:
    """Return values as the loops are compiled for: writable, row by row, and of this shape.

    The loops do not check shapes.

    Raises:
        ValueError: The values cannot be broadcast to the shape.
    """
    if shape is not None and values.shape != shape:
        values = np.broadcast_to(values, shape)
    return np.require(values, np.float64, ["C", "W"])


class Pieces(NamedTuple):
    """The terms of the estimating equations, arrays (n, m)."""

    residual: Floats
    slope: Floats
    variance: Floats
    weight: Floats


# Rows of a curve: what is known of each point, then what the functions below fill in. The share of
# a trial is 1 / trials, the factor exp(offset). A place is the loss, of a grade the log loss, in
# the middle and at the two nodes beside it; "right" is exp(-loss) there. Mass is slope^2 weight,
# pull slope residual weight.
_Y, _X, _TRIAL, _OFFSET, _FACTOR, _START, _LEAN = range(7)
_PLACE, _ABOVE, _BELOW, _RIGHT, _RIGHT_ABOVE, _RIGHT_BELOW = range(7, 13)
_MEAN, _SLOPE, _BETWEEN, _RESIDUAL, _VARIANCE, _WEIGHT, _MASS, _PULL = range(13, 21)
_ROWS: Final = 21

# Gauss-Hermite rule of three nodes, 0 and this on either side: exact for polynomials of u up to
# the fifth degree.
_NODE: Final = 3**0.5
_IN_THE_MIDDLE: Final = 2 / 3
_ON_A_SIDE: Final = 1 / 6
_TINY: Final = 1e-30
_MOST_LOSS: Final = math.exp(MOST_LOG_LOSS)
# Of log loss along an axis: beyond it exp would overflow.
_MOST_FALL: Final = 600.0
# A step whose standard error is above ten units of log loss cannot be seen.
_LEAST_INFORMATION: Final = 0.01

_STEPS: Final = 80
_SMALL: Final = 1e-6  # of a step in log loss
_TRIAL_STEPS: Final = 4
_TRIAL_SMALL: Final = 1e-3
_SIGMA_STEPS: Final = 28
_SECANT_STEPS: Final = 9  # before the interval is halved instead
_MOST_SQUARE: Final = SIGMA_MAX**2
_CLOSE: Final = 1e-4  # of the ratio to 1, and of the interval of sigma^2 to its upper end

# Share of the variance between models below which it is left out.
_NO_SHARE: Final = 1e-8
# Of Stirling's series.
_S1, _S2, _S3, _S4, _S5 = 1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188

# Exponentials ---------------------------------------------------------------------------------

_LOG2_E: Final = 1 / math.log(2)
# The logarithm of 2 in two parts, the first of which has few digits: its multiples are exact.
_LOG2_HIGH: Final = 0.693145751953125
_LOG2_LOW: Final = 1.4286068203094172e-06
# Added to a number, it rounds to a whole one, whose exponent's bits are then the last.
_ROUNDS: Final = 1.5 * 2.0**52 + 1023
_UNDERFLOW: Final = -708.0
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1 / math.factorial(k) for k in range(2, 14)
)


@compiled
def _raise_rows(work: Floats, first: int, end: int) -> None:
    """Replace rows by their exponentials, for numbers up to 700; below -708 they are 0.

    By 2^k times the exponential series of what is left, right to the last digit but one. Without a
    branch or a call, unlike that of the library, several are computed at a time.
    """
    for row in range(first, end):
        values = work[row]
        for i in range(len(values)):
            value = values[i]
            rounded = np.float64(value * _LOG2_E + _ROUNDS)
            k = rounded - _ROUNDS
            r = (value - k * _LOG2_HIGH) - k * _LOG2_LOW
            s = r * r
            q = s * s
            low = (_C2 + _C3 * r) + s * (_C4 + _C5 * r)
            middle = (_C6 + _C7 * r) + s * (_C8 + _C9 * r)
            high = (_C10 + _C11 * r) + s * (_C12 + _C13 * r)
            found = 1.0 + (r + s * (low + q * (middle + q * high)))
            power = np.int64(rounded.view(np.int64) << 52).view(np.float64)
            values[i] = 0.0 if value < _UNDERFLOW else found * power


# The bits of the root of 1/2, and of 2^52, to which a whole number below is added by setting bits.
_ROOT_HALF_BITS: Final = 0x3FE6A09E667F3BCD
_WHOLE_BITS: Final = 0x4330000000000000
_WHOLE: Final = 2.0**52
_BIAS: Final = 1024
_D3, _D5, _D7, _D9, _D11, _D13, _D15, _D17, _D19, _D21 = (2 / k for k in range(3, 22, 2))


@compiled
def _take_logs(rows: Floats) -> None:
    """Replace positive numbers by their logarithms, likewise without a branch or a call.

    By the series of 2 artanh((m - 1) / (m + 1)), m being the number over a power of 2, next to 1.
    """
    for row in range(len(rows)):
        values = rows[row]
        for i in range(len(values)):
            bits = np.float64(values[i]).view(np.int64)
            above = bits - _ROOT_HALF_BITS + (_BIAS << 52)
            # The power's exponent, in unsigned arithmetic, for which processors have instructions.
            power = np.int64(np.uint64(above) >> np.uint64(52))
            k = np.int64(power | _WHOLE_BITS).view(np.float64) - (_WHOLE + _BIAS)
            m = np.int64(bits - ((power - _BIAS) << 52)).view(np.float64)
            s = (m - 1.0) / (m + 1.0)
            z = s * s
            q = z * z
            low = (_D3 + _D5 * z) + q * (_D7 + _D9 * z)
            high = (_D11 + _D13 * z) + q * ((_D15 + _D17 * z) + q * (_D19 + _D21 * z))
            series = s * z * (low + q * q * high)
            values[i] = k * _LOG2_HIGH + (2.0 * s + (series + k * _LOG2_LOW))


# What is not a number stays so: it stands first in max and min.

# One point ------------------------------------------------------------------------------------


@compiled
def _share(link: LinkArrays, place: float, right: float) -> tuple[float, float]:
    """Return share and derivative by log loss, at a loss and exp(-loss), or a log loss of a grade.

    A grade is looked up, by straight lines between the entries of its table.
    """
    if link.kind == GRADE_KIND:
        if math.isnan(place):
            return place, place
        last = len(link.table) - 1.000001
        at = (place - FIRST) * FINE
        at = 0.0 if at < 0.0 else min(at, last)
        left = int(at)
        part = at - left
        entry = link.table[left]
        return entry[0] + entry[2] * part, entry[1] + entry[3] * part
    slope = -place * right
    if link.kind == SHARE_KIND:
        return right, slope
    miss, linear = 1 - right, link.linear
    return 1 - miss * (linear + (1 - linear) * miss), (linear + 2 * (1 - linear) * miss) * slope


@compiled
def _fall(x: float, alpha: float) -> float:
    """Return the log of the reducible loss, held where it can be raised."""
    fall = -alpha * x
    return -_MOST_FALL if fall < -_MOST_FALL else min(fall, _MOST_FALL)


@compiled
def _held(alpha: float, low: float, high: float) -> float:
    """Return alpha within its range."""
    return low if alpha < low else min(alpha, high)


# One curve ------------------------------------------------------------------------------------


@compiled
def _place(work: Floats, own: _Own, level: float, alpha: float) -> None:
    """Fill in the places of a law, and how fast its log loss falls with alpha."""
    n, grade, rest = work.shape[1], own.link.kind == GRADE_KIND, own.irreducible
    for i in range(n):
        if rest > 0.0:
            place = _fall(work[_X, i], alpha)
        else:
            place = level - alpha * work[_X, i] + work[_OFFSET, i]
            if place > MOST_LOG_LOSS and not grade:
                place = MOST_LOG_LOSS
        work[_PLACE, i], work[_LEAN, i] = place, work[_X, i]
    if rest > 0.0 or not grade:
        _raise_rows(work, _PLACE, _PLACE + 1)
    if not rest > 0.0:
        return
    raised = math.exp(level)
    for i in range(n):
        reducible = work[_PLACE, i]
        loss = rest + reducible
        work[_LEAN, i] = reducible / loss * work[_X, i]
        if grade:
            place = level + math.log(loss) + work[_OFFSET, i]
        else:
            place = min(loss * raised * work[_FACTOR, i], _MOST_LOSS)
        work[_PLACE, i] = place


@compiled
def _moments(work: Floats, own: _Own, sigma: float) -> None:
    """Fill in the mean score, its derivative by log loss, and its variance between models."""
    n, reach, link, floor = work.shape[1], _NODE * sigma, own.link, own.floor
    span = 1.0 - floor
    factor = math.exp(reach)
    inverse = 1 / factor
    for i in range(n):
        place = work[_PLACE, i]
        if link.kind == GRADE_KIND:
            work[_ABOVE, i], work[_BELOW, i] = place + reach, place - reach
        else:
            work[_ABOVE, i], work[_BELOW, i] = place * factor, place * inverse
            work[_RIGHT, i] = -place
            work[_RIGHT_ABOVE, i], work[_RIGHT_BELOW, i] = -work[_ABOVE, i], -work[_BELOW, i]
    if link.kind != GRADE_KIND:
        _raise_rows(work, _RIGHT, _RIGHT + (3 if sigma > 0 else 1))
    for i in range(n):
        mean, slope = _share(link, work[_PLACE, i], work[_RIGHT, i])
        between = 0.0
        if sigma > 0:
            above, steep = _share(link, work[_ABOVE, i], work[_RIGHT_ABOVE, i])
            below, steeper = _share(link, work[_BELOW, i], work[_RIGHT_BELOW, i])
            between = (above * above + below * below) * _ON_A_SIDE + mean * mean * _IN_THE_MIDDLE
            mean = (above + below) * _ON_A_SIDE + mean * _IN_THE_MIDDLE
            slope = (steep + steeper) * _ON_A_SIDE + slope * _IN_THE_MIDDLE
            between -= mean * mean
            if between < 0.0:
                between = 0.0
        work[_MEAN, i] = mean * span + floor
        work[_SLOPE, i] = slope * span
        work[_BETWEEN, i] = between * (span * span)


@compiled
def _pieces(work: Floats, resolution: float) -> None:
    """Fill in residuals, variances, weights, and what level and alpha are fitted by."""
    for i in range(work.shape[1]):
        mean, between, trial = work[_MEAN, i], work[_BETWEEN, i], work[_TRIAL, i]
        within = mean * (1 - mean) - between
        variance = max(within, 0.0) * trial + between
        least = trial * resolution
        total = least * least + variance
        slope = work[_SLOPE, i]
        if resolution == 0.0 and total <= 0.0:
            # A mean that is 1 to the last digit has a slope only by rounding, which means nothing.
            slope = 0.0
        # So small a bound that slope times weight stays right where the mean is exp(-600).
        weight = 1.0 / max(total, 1e-290)
        residual, lift = work[_Y, i] - mean, slope * weight
        work[_RESIDUAL, i], work[_SLOPE, i] = residual, slope
        work[_VARIANCE, i], work[_WEIGHT, i] = variance, weight
        work[_MASS, i], work[_PULL, i] = lift * slope, lift * residual


@compiled
def _information(work: Floats) -> tuple[float, float, float, float]:
    """Return the sums of mass, mass lean and mass lean^2, and the determinant they form."""
    s0, s1, s2 = 0.0, 0.0, 0.0
    for i in range(work.shape[1]):
        mass, lean = work[_MASS, i], work[_LEAN, i]
        first = mass * lean
        s0 += mass
        s1 += first
        s2 += first * lean
    determinant, least = s0 * s2 - s1 * s1, 1e-12 * s0 * s2 + _TINY
    return s0, s1, s2, max(determinant, least)


@compiled
def _parabola(work: Floats, at_bound: bool) -> tuple[float, float, float]:
    """Return the leverage over the mass as a parabola in the lean, a constant at a bound."""
    s0, s1, s2, determinant = _information(work)
    if at_bound:
        return 1 / max(s0, _TINY), 0.0, 0.0
    return s2 / determinant, -2 * s1 / determinant, s0 / determinant


@compiled
def _leverage(work: Floats, i: int, parabola: tuple[float, float, float]) -> float:
    """Return the share of a point's residual that the fit takes away."""
    zero, one, two = parabola
    lean = work[_LEAN, i]
    found: float = ((lean * two + one) * lean + zero) * work[_MASS, i]
    return min(found, 1.0)


@compiled
def _dispersion(work: Floats, at_bound: bool) -> tuple[float, float]:
    """Return the observed and the expected sum of squared standardised residuals."""
    parabola = _parabola(work, at_bound)
    observed, expected = 0.0, 0.0
    for i in range(work.shape[1]):
        share = work[_VARIANCE, i] * work[_WEIGHT, i]
        if share > 1.0:
            share = 1.0
        residual = work[_RESIDUAL, i]
        observed += share * (residual * residual * work[_WEIGHT, i])
        expected += share * share * (1 - _leverage(work, i, parabola))
    return (
        max(observed, _TINY),
        max(expected, 1e-06),
    )


@compiled
def _step_scores(work: Floats, at_bound: bool, df: float, scores: Floats, j: int) -> None:
    """Fill in the scores of a step of a curve, over the scatter that it and its family show."""
    n = work.shape[1]
    s0, s1, s2, determinant = _information(work)
    pull, moment = 0.0, 0.0
    for i in range(n):
        pull -= work[_PULL, i]
        moment -= work[_PULL, i] * work[_LEAN, i]
    unit = 1.0
    if df < np.inf:
        observed, expected = _dispersion(work, at_bound)
        unit = math.sqrt((df + observed) / (df + expected))
    t0, t1, after = 0.0, 0.0, 0.0
    for k in range(n - 2, -1, -1):
        t0 += work[_MASS, k + 1]
        t1 += work[_MASS, k + 1] * work[_LEAN, k + 1]
        after -= work[_PULL, k + 1]
        if at_bound:
            on_level, on_slope = t0 / max(s0, _TINY), 0.0
        else:
            on_level, on_slope = (
                (s2 * t0 - s1 * t1) / determinant,
                (s0 * t1 - s1 * t0) / determinant,
            )
        information = t0 - on_level * t0 - on_slope * t1
        score = after - on_level * pull - on_slope * moment
        if information > _LEAST_INFORMATION:
            scores[k, j] = score / math.sqrt(information) / unit
        else:
            scores[k, j] = -np.inf


# The fit of one curve -------------------------------------------------------------------------


@compiled
def _start(
    work: Floats, own: _Own, bounds: tuple[float, float], resolution: float
) -> tuple[float, float]:
    """Return level and alpha by weighted least squares on the log losses of the scores."""
    n, link, floor, rest = work.shape[1], own.link, own.floor, own.irreducible
    for i in range(n):
        place = work[_START, i]
        if link.kind != GRADE_KIND:
            place = math.exp(place)
        mean, slope = _share(link, place, math.exp(-place))
        work[_MEAN, i], work[_SLOPE, i] = mean * (1.0 - floor) + floor, slope * (1.0 - floor)
        work[_BETWEEN, i] = 0.0
    _pieces(work, resolution)
    total, centre, middle = 0.0, 0.0, 0.0
    for i in range(n):
        work[_MASS, i] += 1e-9
        mass = work[_MASS, i]
        total += mass
        centre += mass * work[_X, i]
        middle += mass * (work[_START, i] - work[_OFFSET, i])
    centre /= total
    middle /= total
    spread, covariance, fall = 0.0, 0.0, 0.0
    for i in range(n):
        away = work[_X, i] - centre
        spread += work[_MASS, i] * (away * away)
        covariance += work[_MASS, i] * away * (work[_START, i] - work[_OFFSET, i])
    alpha = _held(-covariance / max(spread, _TINY), bounds[0], bounds[1])
    if not rest > 0.0:
        return middle + alpha * centre, alpha
    for i in range(n):
        fall += work[_MASS, i] * math.log(rest + math.exp(_fall(work[_X, i], alpha)))
    return middle - fall / total, alpha


@compiled
def _scoring_step(
    work: Floats, alpha: float, bounds: tuple[float, float]
) -> tuple[float, float, float, float, float]:
    """Return a full step of level and alpha, its length, and its products with the information."""
    n = work.shape[1]
    s0, s1, s2, determinant = _information(work)
    score, moment, most = 0.0, 0.0, 0.0
    for i in range(n):
        pull, mass = work[_PULL, i], work[_MASS, i]
        score += pull
        moment -= pull * work[_LEAN, i]
        if mass > most:
            most = mass
    change = _held(alpha + (s0 * moment + s1 * score) / determinant, bounds[0], bounds[1]) - alpha
    shift = (score + s1 * change) / max(s0, _TINY)
    # Its length is the largest change of log loss at a point, points without information aside.
    most, seen = max(most, _TINY), 0.0
    for i in range(n):
        move = shift - change * work[_LEAN, i]
        move = move * move * (work[_MASS, i] / most)
        if not move <= seen:  # what is not a number stays
            seen = move
    length = math.sqrt(seen)
    if abs(change) > length:
        length = abs(change)
    return shift, change, length, shift * s0 - change * s1, shift * s1 - change * s2


@compiled
def _fit_mean(
    work: Floats, own: _Own, theta: tuple[float, float, float],
    bounds: tuple[float, float], resolution: float, trial: bool, fill: bool,
) -> tuple[float, float, bool]:  # fmt: skip
    """Return level and alpha by Fisher scoring with sigma held, and whether they have settled.

    For a trial sigma a few steps do. With ``fill`` all rows are those of the parameters returned.
    """
    level, alpha, sigma = theta
    steps, small = (_TRIAL_STEPS, _TRIAL_SMALL) if trial else (_STEPS, _SMALL)
    last_shift, last_change, last_length, pace, settled = 0.0, 0.0, 0.0, 1.0, False
    for step in range(steps + 1):
        finished = settled or step == steps
        if finished and not fill:
            break
        _place(work, own, level, alpha)
        _moments(work, own, sigma)
        _pieces(work, resolution)
        if finished:
            break
        shift, change, length, along, across = _scoring_step(work, alpha, bounds)
        # Where nothing fits, full steps can go to and fro: then they are shortened.
        turned = last_shift * along - last_change * across < 0
        cycle = turned and length > 0.5 * last_length
        pace = pace / 2 if cycle else min(1.0, 1.5 * pace)
        part = pace / max(length, 1.0)
        level += part * shift
        alpha = _held(alpha + part * change, bounds[0], bounds[1])
        settled = length < small and not math.isnan(level + alpha)
        last_shift, last_change, last_length = shift, change, length
    return level, alpha, settled


@compiled
def _ratio(work: Floats, alpha: float, bounds: tuple[float, float]) -> float:
    """Return the observed over the expected sum of squares."""
    observed, expected = _dispersion(work, alpha <= bounds[0] or alpha >= bounds[1])
    return observed / expected


class _Search(NamedTuple):
    """A root of 1 - expected / observed in sigma^2, within an interval that shrinks."""

    low: float
    high: float
    here: float
    before: float
    value_before: float
    done: bool


@compiled
def _begun(work: Floats, ratio: float) -> _Search:
    """Begin at 0, where the ratio is above 1, with the next guess from how fast it falls."""
    rise, square = 0.0, 0.0
    for i in range(work.shape[1]):
        unit = work[_RESIDUAL, i] * work[_WEIGHT, i]
        part = unit * unit * work[_VARIANCE, i]
        square += part
        rise += part * (work[_SLOPE, i] * work[_SLOPE, i]) * work[_WEIGHT, i]
    fall = rise / max(square, _TINY)
    here = _held((ratio - 1) / max(fall, _TINY), 1e-8, _MOST_SQUARE)
    return _Search(0.0, _MOST_SQUARE, here, 0.0, 1 - 1 / ratio, False)


@compiled
def _narrowed(search: _Search, ratio: float, halve: bool) -> _Search:
    """Take in the ratio at ``here`` and move on by the secant rule or to the middle.

    The reciprocal of the ratio is about linear in sigma^2, so the rule is nearly exact; but where
    alpha reaches a bound the ratio jumps, and the interval closes about the jump.
    """
    here, value = search.here, 1 - 1 / ratio
    short = value > 0
    low, high = (here, search.high) if short else (search.low, here)
    done = abs(value) < _CLOSE or high - low < _CLOSE * high or (short and here >= _MOST_SQUARE)
    slope = (value - search.value_before) / (here - search.before + _TINY)
    guess = here - value / min(slope, -_TINY)
    inside = slope < 0 and low < guess < high and not halve
    then = guess if inside else low + (0.5 if halve else 0.1) * (high - low)
    return _Search(low, high, then, here, value, done)


# Many curves ----------------------------------------------------------------------------------


@compiled
def _loaded(work: Floats, curves: CurveArrays, j: int, y: Floats) -> _Own:
    """Fill in what is known of each point of a curve, and return the rest."""
    offset = curves.offset.size > 0
    for i in range(work.shape[1]):
        work[_Y, i], work[_X, i] = y[i, j], curves.x[i, j]
        work[_TRIAL, i] = 1 / curves.trials[i, j]
        work[_OFFSET, i], work[_FACTOR, i] = 0.0, 1.0
        if offset:
            work[_OFFSET, i] = curves.offset[i, j]
            work[_FACTOR, i] = math.exp(curves.offset[i, j])
    return _Own(curves.link, curves.floor[j], curves.irreducible[j])


@compiled
def _load_places(work: Floats, own: _Own, log_loss: Floats, j: int) -> None:
    """Fill in the places of log losses that are given."""
    for i in range(work.shape[1]):
        place = log_loss[i, j]
        if own.link.kind != GRADE_KIND:
            place = math.exp(min(place, MOST_LOG_LOSS))
        work[_PLACE, i] = place


@compiled
def fit_of(
    y: Floats, curves: CurveArrays, log_loss: Floats, known: Floats, bounds: tuple[float, float],
    resolution: float,
) -> tuple[Floats, Bools]:  # fmt: skip
    """Fit each curve, beginning at the log losses that its scores stand for.

    Where a sigma of zero leaves too much unexplained, the mean is fitted at each trial value of
    another: solving for the two turn about would cycle.

    Args:
        y: Scores, shape (n, m).
        curves: What is known of them.
        log_loss: Where to begin, shape (n, m).
        known: Sigma, shape (m,); NaN where it is estimated.
        bounds: Of alpha.
        resolution: In examples.

    Returns:
        Level, alpha and sigma, shape (3, m), and whether the equations were solved.
    """
    n, m = y.shape
    work, found, solved = np.zeros((_ROWS, n)), np.empty((3, m)), np.empty(m, dtype=np.bool_)
    for j in range(m):
        own = _loaded(work, curves, j, y)
        for i in range(n):
            work[_START, i] = log_loss[i, j]
        level, alpha = _start(work, own, bounds, resolution)
        sigma = known[j]
        last, search = not math.isnan(sigma), _Search(0.0, 0.0, 0.0, 0.0, 0.0, True)
        if not last:
            sigma = 0.0
        for trial in range(_SIGMA_STEPS + 2):
            theta, trying = (level, alpha, sigma), trial > 0 and not last
            level, alpha, settled = _fit_mean(
                work, own, theta, bounds, resolution, trying, not last
            )
            if last:
                break
            ratio = _ratio(work, alpha, bounds)
            if trial > 0:
                search = _narrowed(search, ratio, trial > _SECANT_STEPS)
            elif settled and ratio > 1:
                search = _begun(work, ratio)
            else:
                break
            last = search.done or trial == _SIGMA_STEPS
            if not last:
                sigma = math.sqrt(search.here)
        found[0, j], found[1, j], found[2, j] = level, alpha, sigma
        solved[j] = settled and search.done
    return found, solved


@compiled
def pieces_of(
    y: Floats, log_loss: Floats, sigma: Floats, curves: CurveArrays, resolution: float
) -> Floats:
    """Return means, slopes, variances between models, residuals, variances and weights, (6, n, m).

    Args:
        y: Scores, shape (n, m).
        log_loss: Log losses, likewise.
        sigma: Variation between models, shape (m,).
        curves: What is known of them; not their law.
        resolution: In examples.
    """
    n, m = log_loss.shape
    work, found = np.zeros((_ROWS, n)), np.empty((6, n, m))
    for j in range(m):
        own = _loaded(work, curves, j, y)
        _load_places(work, own, log_loss, j)
        _moments(work, own, sigma[j])
        _pieces(work, resolution)
        for k in range(6):
            for i in range(n):
                found[k, i, j] = work[_MEAN + k, i]
    return found


@compiled
def _product(z: float) -> float:
    """Return the product of z and the next seven numbers."""
    return z * (z + 1) * (z + 2) * (z + 3) * (z + 4) * (z + 5) * (z + 6) * (z + 7)


@compiled
def _series(z: float) -> float:
    """Return the series of Stirling's formula for the log of Gamma(z), z being at least 8."""
    low = 1 / z
    low2 = low * low
    found: float = low * (_S1 + low2 * (_S2 + low2 * (_S3 + low2 * (_S4 + low2 * _S5))))
    return found


@compiled
def _log_chances(work: Floats, sigma: float, logs: Floats) -> None:
    """Fill in the log-likelihood of each point: beta-binomial with the moments that are filled in.

    Each Gamma function is taken at 8 more, by Stirling's formula, and the products that lie between
    in one logarithm. A point whose models do not vary is binomial.

    Args:
        work: The points.
        sigma: Variation between models.
        logs: Six rows, of which the first is the answer.
    """
    n = work.shape[1]
    if sigma == 0.0:
        for i in range(n):
            mean = min(max(work[_MEAN, i], 1e-15), 1 - 1e-15)
            logs[0, i], logs[1, i] = mean, 1 - mean
        _take_logs(logs[:2])
        for i in range(n):
            y = work[_Y, i]
            logs[0, i] = (y * logs[0, i] + (1 - y) * logs[1, i]) / work[_TRIAL, i]
        return
    for i in range(n):
        mean, trials = min(max(work[_MEAN, i], 1e-15), 1 - 1e-15), 1 / work[_TRIAL, i]
        right, wrong = work[_Y, i] * trials, (1 - work[_Y, i]) * trials
        share = min(work[_BETWEEN, i] / (mean * (1 - mean)), 0.999)
        alike = share <= _NO_SHARE
        total = 1 / max(share, _NO_SHARE) - 1
        a, b = mean * total, (1 - mean) * total
        whole = total + 8 + trials
        logs[0, i] = mean if alike else (a + 8 + right) / whole
        logs[1, i] = 1 - mean if alike else (b + 8 + wrong) / whole
        logs[2, i] = 1 + right / (a + 8)
        logs[3, i] = 1 + wrong / (b + 8)
        logs[4, i] = 1 + trials / (total + 8)
        logs[5, i] = (
            (_product(a) / _product(a + right))
            * (_product(b) / _product(b + wrong))
            * (_product(total + trials) / _product(total))
        )
    _take_logs(logs)
    for i in range(n):
        mean, trials = min(max(work[_MEAN, i], 1e-15), 1 - 1e-15), 1 / work[_TRIAL, i]
        right, wrong = work[_Y, i] * trials, (1 - work[_Y, i]) * trials
        share = min(work[_BETWEEN, i] / (mean * (1 - mean)), 0.999)
        total = 1 / max(share, _NO_SHARE) - 1
        a, b = mean * total + 8, (1 - mean) * total + 8
        total += 8
        rises = (a - 0.5) * logs[2, i] + (b - 0.5) * logs[3, i] - (total - 0.5) * logs[4, i]
        series = _series(a + right) - _series(a) + (_series(b + wrong) - _series(b))
        series -= _series(total + trials) - _series(total)
        between = 0.0 if share <= _NO_SHARE else rises + series + logs[5, i]
        logs[0, i] = right * logs[0, i] + wrong * logs[1, i] + between


@compiled
def log_likelihoods_of(
    y: Floats, curves: CurveArrays, alpha: Floats, level: Floats, sigma: Floats
) -> Floats:
    """Return the log-likelihood of each curve under laws, but for the binomial coefficients.

    Args:
        y: Scores, shape (n, m).
        curves: What is known of them.
        alpha: Exponents of the laws, shape (k, m).
        level: Levels with each, shape (k, l, m).
        sigma: Variation between models, shape (m,).

    Returns:
        An array like ``level``.
    """
    (n, m), size = y.shape, level.shape[1]
    found = np.zeros(level.shape)
    # All levels of an exponent at a time: what is computed point by point likes long rows.
    one, work, logs = np.zeros((_ROWS, n)), np.zeros((_ROWS, size * n)), np.empty((6, size * n))
    for j in range(m):
        own = _loaded(one, curves, j, y)
        for number in range(size):
            work[:, number * n : (number + 1) * n] = one
        for k in range(len(alpha)):
            for number in range(size):
                for i in range(n):
                    offset = level[k, number, j] + one[_OFFSET, i]
                    work[_OFFSET, number * n + i] = offset
                    work[_FACTOR, number * n + i] = min(offset, _MOST_FALL)
            _raise_rows(work, _FACTOR, _FACTOR + 1)
            _place(work, own, 0.0, alpha[k, j])
            _moments(work, own, sigma[j])
            _log_chances(work, sigma[j], logs)
            for number in range(size):
                for i in range(n):
                    found[k, number, j] += logs[0, number * n + i]
    return found


@compiled
def _load_pieces(work: Floats, pieces: Pieces, lean: Floats, j: int) -> None:
    """Fill in slopes, residuals, variances and weights of a curve, and what follows."""
    for i in range(work.shape[1]):
        slope, residual = pieces.slope[i, j], pieces.residual[i, j]
        variance, weight = pieces.variance[i, j], pieces.weight[i, j]
        work[_RESIDUAL, i], work[_VARIANCE, i], work[_WEIGHT, i] = residual, variance, weight
        work[_LEAN, i], work[_MASS, i] = lean[i, j], slope * weight * slope
        work[_PULL, i] = slope * weight * residual


@compiled
def dispersion_of(pieces: Pieces, lean: Floats, at_bound: Bools) -> Floats:
    """Return the observed and the expected sum of squares, shape (2, m)."""
    n, m = lean.shape
    work, found = np.zeros((_ROWS, n)), np.empty((2, m))
    for j in range(m):
        _load_pieces(work, pieces, lean, j)
        found[0, j], found[1, j] = _dispersion(work, at_bound[j])
    return found


@compiled
def leverage_of(pieces: Pieces, lean: Floats, at_bound: Bools) -> Floats:
    """Return the leverage of each point, shape (n, m)."""
    n, m = lean.shape
    work, found = np.zeros((_ROWS, n)), np.empty((n, m))
    for j in range(m):
        _load_pieces(work, pieces, lean, j)
        parabola = _parabola(work, at_bound[j])
        for i in range(n):
            found[i, j] = _leverage(work, i, parabola)
    return found


@compiled
def information_of(mass: Floats, lean: Floats) -> Floats:
    """Return the sums of mass, mass lean, mass lean^2 and their determinant, shape (4, m)."""
    n, m = lean.shape
    work, found = np.zeros((_ROWS, n)), np.empty((4, m))
    for j in range(m):
        for i in range(n):
            work[_MASS, i], work[_LEAN, i] = mass[i, j], lean[i, j]
        found[0, j], found[1, j], found[2, j], found[3, j] = _information(work)
    return found


@compiled
def step_scores_of(pieces: Pieces, lean: Floats, at_bound: Bools, df: Floats) -> Floats:
    """Return the scores of a step after each scale, shape (n - 1, m)."""
    n, m = lean.shape
    work, scores = np.zeros((_ROWS, n)), np.empty((n - 1, m))
    for j in range(m):
        _load_pieces(work, pieces, lean, j)
        _step_scores(work, at_bound[j], df[j], scores, j)
    return scores


@compiled
def link_of(log_loss: Floats, link: LinkArrays) -> tuple[Floats, Floats]:
    """Return share and derivative by log loss, of shape (k,)."""
    share, slope = np.empty(len(log_loss)), np.empty(len(log_loss))
    for i in range(len(log_loss)):
        place, right = log_loss[i], 0.0
        if link.kind != GRADE_KIND:
            place = math.exp(min(place, MOST_LOG_LOSS))
            right = math.exp(-place)
        share[i], slope[i] = _share(link, place, right)
    return share, slope


@compiled
def law_of(x: Floats, alpha: Floats, irreducible: Floats) -> tuple[Floats, Floats]:
    """Return the log loss less its level, and how fast it falls with alpha, both (n, m)."""
    n, m = x.shape
    found, lean = np.empty((n, m)), np.empty((n, m))
    for i in range(n):
        for j in range(m):
            rest = irreducible[j]
            if rest == 0.0:
                found[i, j], lean[i, j] = -alpha[j] * x[i, j], x[i, j]
            else:
                reducible = math.exp(_fall(x[i, j], alpha[j]))
                loss = rest + reducible
                found[i, j], lean[i, j] = math.log(loss), reducible / loss * x[i, j]
    return found, lean
