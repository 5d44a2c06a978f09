r"""Multiple choice in the paper's model: from the right choice's mass to grade and Brier score.

A question has K choices. The model puts mean mass q on the right one and (1 - q) / (K - 1) on each
other. In the paper's model q is the per-token probability p itself, so small models fall below
chance; with ``chance_floor`` q is 1/K + (1 - 1/K) p, a model that begins by guessing.

With these masses on every question the grade is a step, from 0 to 1 where q passes 1/K: all
questions flip at one size of model, which is what section 2 draws. Real questions differ. Here the
masses of a question are drawn from a Dirichlet distribution with those means,

.. math:: m \sim \mathrm{Dir}\bigl(\kappa q,\ \kappa (1 - q)/(K - 1),\ \dots\bigr),

whose concentration kappa says how alike the questions are. At infinity they are all alike: the
paper's step. As kappa goes to 0 each question has all its mass on one choice and the expected grade
goes to q itself. The right choice's mean mass is q whatever kappa is, so a sharp grade and a smooth
one come from the same mean masses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import special

from bigbench_meta.core.checks import checked_loss, whole
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "DEFAULT_CONCENTRATION",
    "checked_concentration",
    "choice_masses",
    "expected_brier_score",
    "expected_multiple_choice_grade",
    "grade_and_brier",
    "sample_choices",
]

DEFAULT_CONCENTRATION: Final = 100.0
"""Ours: near the paper's step, with a standard deviation of 0.05 in the mass of an even choice."""

# Below it nearly all masses are 0 or 1 to the last bit, and the expected grade is q to 1e-3.
_LEAST_CONCENTRATION: Final = 1e-3
# Nodes of the tanh-sinh rule on (0, 1), Takahasi & Mori (1974), doi 10.2977/prims/1195192451:
# u = expit(pi sinh t), in steps of 1/24. Below t = -3.4 a weight is under 1e-19; towards u = 1 the
# nodes go on to 1 - u = 1e-130, where the chance of a hopeless model lies.
_T: Final = np.arange(-82, 126) / 24
_U: Final = special.expit(np.pi * np.sinh(_T))
_V: Final = special.expit(-np.pi * np.sinh(_T))  # 1 - u without its rounding
_LOG_U: Final = np.where(_U < 0.5, np.log(_U), np.log1p(-np.minimum(_V, 0.5)))
_WEIGHT: Final = np.pi * np.cosh(_T) * _U * _V / 24
# Rows integrated at a time.
_BLOCK: Final = 1024
# exp of it: below, x^a / Gamma(a + 1) is the gamma distribution function to the last bit.
_LOG_SMALL: Final = -40.0


def choice_masses(
    loss: ArrayLike, *, n_choices: ArrayLike, chance_floor: bool = False
) -> tuple[Floats, Floats]:
    """Return the mean mass on the right choice and on each of the others.

    Args:
        loss: Per-token cross entropy in nats, >= 0, any shape.
        n_choices: Choices of a question, K >= 2; broadcast against ``loss``.
        chance_floor: Whether the right choice has 1/K + (1 - 1/K) p, and not p.

    Returns:
        The two masses, in [0, 1], each of the broadcast shape; the first and K - 1 of the second
        make 1.

    Raises:
        InputError: A loss is negative or a number of choices no whole number from 2 on.

    Examples:
        >>> right, other = choice_masses([np.inf, 0.0], n_choices=4, chance_floor=True)
        >>> right, other
        (array([0.25, 1.  ]), array([0.25, 0.  ]))
    """
    losses, choices = np.broadcast_arrays(checked_loss(loss), whole(n_choices, 2, "n_choices"))
    floor = 1 / choices if chance_floor else np.zeros(choices.shape)
    with np.errstate(under="ignore"):
        right = np.minimum(floor + (1 - floor) * np.exp(-losses), 1.0)
        # Not 1 - right, which loses what little a large model gets wrong. Where the model knows
        # nothing, all choices must come out the same.
        other = np.where(
            right == 1 / choices, right, -np.expm1(-losses) * (1 - floor) / (choices - 1)
        )
    return right, other


def expected_multiple_choice_grade(
    loss: ArrayLike,
    *,
    n_choices: ArrayLike,
    concentration: ArrayLike = DEFAULT_CONCENTRATION,
    chance_floor: bool = False,
) -> Floats:
    r"""Return the expected multiple choice grade: how often the right choice has the largest mass.

    The masses of a question are Dirichlet, with means of :func:`choice_masses` and concentration
    kappa. They are K independent gamma variables divided by their sum, so with G and F the
    quantile and distribution functions of those of the right and of another choice,

    .. math:: P = \int_0^1 F(G(u))^{K-1}\,du,

    found by tanh-sinh quadrature; for K = 2 it is the regularised incomplete beta function
    I_{1/2}(kappa (1 - q), kappa q).

    Args:
        loss: Per-token cross entropy in nats, >= 0, any shape.
        n_choices: Choices of a question, K >= 2.
        concentration: Kappa, from 0.001 to infinity. At infinity all questions are alike: the grade
            is 1 where the right choice has more mass than another, 1/K where all have the same,
            0 where it has less.
        chance_floor: Whether the right choice has mean mass 1/K + (1 - 1/K) p, and not p.

    Returns:
        The expected grade, in [0, 1], of the shape to which the arguments broadcast; 1/K exactly
        where all choices have the same mean mass.

    Raises:
        InputError: An argument is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2 (the grade). The distribution over
        questions is ours.

    Examples:
        >>> expected_multiple_choice_grade([1.0, 0.5], n_choices=2, concentration=[10, 10]).round(4)
        array([0.1901, 0.7599])
        >>> expected_multiple_choice_grade([1.0, 0.5], n_choices=2, concentration=np.inf)
        array([0., 1.])
    """
    right, other, choices, kappa = _flat(loss, n_choices, concentration, chance_floor)
    grade = np.where(right > other, 1.0, np.where(right < other, 0.0, 1 / choices))
    drawn = (right > 0) & (other > 0) & (right != other) & np.isfinite(kappa)
    two = np.flatnonzero(drawn & (choices == 2))
    grade[two] = special.betainc(kappa[two] * other[two], kappa[two] * right[two], 0.5)
    several = np.flatnonzero(drawn & (choices > 2))
    for start in range(0, len(several), _BLOCK):
        rows = several[start : start + _BLOCK]
        grade[rows] = _largest(kappa[rows] * right[rows], kappa[rows] * other[rows], choices[rows])
    shape = np.broadcast_shapes(np.shape(loss), np.shape(n_choices), np.shape(concentration))
    return grade.reshape(shape)


def _flat(
    loss: ArrayLike, n_choices: ArrayLike, concentration: ArrayLike, chance_floor: bool
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the two masses, K and kappa, broadcast and flat."""
    right, other = choice_masses(loss, n_choices=n_choices, chance_floor=chance_floor)
    kappa = checked_concentration(concentration)
    arrays = np.broadcast_arrays(right, other, whole(n_choices, 2, "n_choices"), kappa)
    flat = [array.ravel() for array in arrays]
    return flat[0], flat[1], flat[2], flat[3]


def checked_concentration(concentration: ArrayLike) -> Floats:
    """Return concentrations as floats if all are in range.

    Args:
        concentration: Kappa, any shape.

    Raises:
        InputError: One is below 0.001 or not a number.
    """
    kappa = np.asarray(concentration, dtype=np.float64)
    if not (good := kappa >= _LEAST_CONCENTRATION).all():
        raise InputError(
            f"{kappa[~good][0]:g} is not between {_LEAST_CONCENTRATION:g} and infinity",
            where="concentration",
        )
    return kappa


def _largest(right: Floats, other: Floats, choices: Floats) -> Floats:
    """Return the probability that one gamma variable is above K - 1 of another shape; (m,)."""
    log_x = _log_quantiles(right[:, None])
    shape = np.maximum(other[:, None], 1e-300)  # scipy's gammainc fails on subnormal shapes
    with np.errstate(under="ignore", over="ignore"):
        below = np.where(
            log_x < _LOG_SMALL,
            np.exp(shape * log_x - special.gammaln(shape + 1)),
            special.gammainc(shape, np.exp(log_x)),
        )
        mass: Floats = below ** (choices[:, None] - 1) @ _WEIGHT
    return np.clip(mass, 0.0, 1.0)


def _log_quantiles(shape: Floats) -> Floats:
    """Return the logarithm of gamma quantiles at the nodes, shape (m, nodes).

    A small shape has quantiles far below the smallest float.
    """
    with np.errstate(divide="ignore", under="ignore", over="ignore"):
        small = (_LOG_U + special.gammaln(shape + 1)) / shape
        usual = np.log(
            np.where(_U < 0.5, special.gammaincinv(shape, _U), special.gammainccinv(shape, _V))
        )
    return np.where(small < _LOG_SMALL, small, usual)


def expected_brier_score(
    loss: ArrayLike,
    *,
    n_choices: ArrayLike,
    concentration: ArrayLike = DEFAULT_CONCENTRATION,
    chance_floor: bool = False,
) -> Floats:
    r"""Return the expected Brier score, summed over the choices.

    Squared distance of the masses from (1, 0, ..., 0), which for Dirichlet masses is the squared
    distance of their means plus their variances:

    .. math:: \frac{K}{K-1}(1-q)^2
              + \frac{1 - q^2 - (1-q)^2/(K-1)}{\kappa + 1}

    The sum over choices runs to 2, as in the catalog's ``brier_score``; of a yes-or-no question
    some take the half, (1 - q)^2. An emergence score does not see the difference.

    Args:
        loss: Per-token cross entropy in nats, >= 0, any shape.
        n_choices: Choices of a question, K >= 2.
        concentration: Kappa, from 0.001 to infinity; how alike the questions are.
        chance_floor: Whether the right choice has mean mass 1/K + (1 - 1/K) p, and not p.

    Returns:
        The expected score, in [0, 2], lower is better, of the shape to which the arguments
        broadcast.

    Raises:
        InputError: An argument is out of its range.

    References:
        Brier (1950), doi 10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2. Schaeffer et al. (2023),
        arXiv 2304.15004, section 2.

    Examples:
        >>> expected_brier_score([np.inf, 0.5, 0.0], n_choices=2, concentration=np.inf).round(4)
        array([2.    , 0.3096, 0.    ])
    """
    right, other, choices, kappa = _flat(loss, n_choices, concentration, chance_floor)
    error = other * (choices - 1)
    bias = error**2 * choices / (choices - 1)
    # 1 - q^2 - (1 - q)^2 / (K - 1) with 1 - q^2 = (1 - q)(1 + q).
    variance = error * (1 + right - other) / (kappa + 1)
    shape = np.broadcast_shapes(np.shape(loss), np.shape(n_choices), np.shape(concentration))
    return (bias + variance).reshape(shape)


def sample_choices(
    loss: float,
    *,
    n_choices: int,
    n_examples: int,
    concentration: float = DEFAULT_CONCENTRATION,
    chance_floor: bool = False,
    seed: int | np.random.Generator = 0,
) -> Floats:
    """Draw the log masses of questions.

    Args:
        loss: Per-token cross entropy in nats, >= 0.
        n_choices: Choices of a question, K >= 2.
        n_examples: Questions to draw, >= 1.
        concentration: Kappa, from 0.001 to infinity; how alike the questions are.
        chance_floor: Whether the right choice has mean mass 1/K + (1 - 1/K) p, and not p.
        seed: Seed or generator.

    Returns:
        Natural logarithms of the masses, shape (n_examples, n_choices), the right choice first; in
        each row the masses add up to 1. -inf where a choice has none.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> masses = np.exp(sample_choices(0.5, n_choices=4, n_examples=10_000))
        >>> masses.mean(axis=0).round(2)
        array([0.61, 0.13, 0.13, 0.13])
    """
    n, k = int(whole(n_examples, 1, "n_examples")), int(whole(n_choices, 2, "n_choices"))
    right, other = choice_masses(loss, n_choices=n_choices, chance_floor=chance_floor)
    means = np.concatenate([np.atleast_1d(right), np.repeat(other, k - 1)])
    kappa = float(checked_concentration(concentration))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        if np.isinf(kappa):
            return np.tile(np.log(means), (n, 1))
        # A gamma variable of shape a is one of shape a + 1 times U^(1/a) (Marsaglia & Tsang 2000,
        # doi 10.1145/358407.358414): its logarithm does not underflow where a is small.
        gamma, uniform = np.random.default_rng(seed).spawn(2)
        shapes = kappa * means
        log_gamma = np.log(gamma.standard_gamma(shapes + 1, size=(n, k)))
        log_gamma += np.log1p(-uniform.random((n, k))) / shapes
    # With a shape of 0, U^(1/a) is 0; it comes out so unless U is 1, which is 0 / 0.
    log_gamma[:, shapes == 0] = -np.inf
    masses: Floats = log_gamma - special.logsumexp(log_gamma, axis=1, keepdims=True)
    return masses


def grade_and_brier(log_masses: ArrayLike) -> tuple[Floats, Floats]:
    """Return the multiple choice grade and the Brier score of each question.

    Args:
        log_masses: Natural logarithms of masses that add up to 1, shape (n, K), the right choice
            first.

    Returns:
        Grades, 1 where the right choice has the largest mass, 0 where it has not, 1 over their
        number where several share it; and Brier scores summed over the choices, in [0, 2]. Both
        of shape (n,).

    Raises:
        InputError: ``log_masses`` has another shape.

    Examples:
        >>> grade, brier = grade_and_brier(np.log([[0.75, 0.25], [0.5, 0.5]]))
        >>> grade, brier
        (array([1. , 0.5]), array([0.125, 0.5  ]))
    """
    logs = np.asarray(log_masses, dtype=np.float64)
    if logs.ndim != 2 or logs.shape[1] < 2:
        raise InputError(f"shape {logs.shape}, not (n, K) with K from 2 on", where="log_masses")
    largest = logs == logs.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        masses = np.exp(logs)
        others = (masses[:, 1:] ** 2).sum(axis=1)
        brier: Floats = masses[:, 1:].sum(axis=1) ** 2 + others
    grade: Floats = largest[:, 0] / largest.sum(axis=1)
    return grade, brier
