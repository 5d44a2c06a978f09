r"""The mathematical model of the paper, from model size to expected scores: arrays in, arrays out.

A model of N parameters pays a per-token cross entropy L(N) = (N / c)^alpha, alpha < 0, and puts
probability p = exp(-L) on each right token, whatever the others were. What that means for a score
is then a matter of the metric alone:

* exact match of a target of n tokens: p^n, which is exp(-n L);
* token edit distance: n (1 - p), linear in the per-token error;
* multiple choice grade and Brier score: see :mod:`bigbench_meta.generate.multiple_choice`;
* ROUGE-L-Sum: has no closed form in general, see :mod:`bigbench_meta.generate.rouge`.

A longer target is the same curve further to the right: n (N / c)^alpha is (N / c')^alpha with
c' = c n^(-1 / alpha). So exact match of any length has one shape over log N, and its emergence
score says which part of that shape the sampled models happen to see.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, section 2 and App. A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import at_least, checked_loss, whole
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "DEFAULT_ALPHA",
    "DEFAULT_C",
    "expected_accuracy",
    "expected_token_edit_distance",
    "per_token_loss",
    "per_token_probability",
    "sample_right_tokens",
]

DEFAULT_ALPHA: Final = -1.0
"""Ours: section 2 asks for alpha < 0 and names no value. Rounded from GPT-3, see below."""

DEFAULT_C: Final = 1e10
"""Ours, in parameters: section 2 asks for c > 0 and names no value.

Both are rounded from the mechanism's own reading of GPT-3 on three-digit addition with 50 examples
(Brown et al. 2020, Table H.1): 8.4% at 12.85e9 parameters and 80.4% at 174.6e9 give, with a target
of three tokens, alpha = -0.93 and c = 1.05e10. This c is also the geometric middle of the axis of
Fig. 2, 1e9 to 1e11: there the loss is 1 nat, where p has its steepest rise over log N.
"""


def per_token_loss(
    scale: ArrayLike, *, alpha: float = DEFAULT_ALPHA, c: float = DEFAULT_C
) -> Floats:
    r"""Return the per-token cross entropy of models, a power law of their size.

    .. math:: L_{CE}(N) = (N / c)^\alpha

    Args:
        scale: Model size N in parameters, > 0, any shape.
        alpha: Exponent, < 0.
        c: Size at which the loss is 1 nat, in parameters, > 0.

    Returns:
        The loss in nats per token, of the shape of ``scale``; infinite where it is beyond the
        largest float.

    Raises:
        InputError: A size or ``c`` is not positive, or ``alpha`` not negative.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2.

    Examples:
        >>> per_token_loss([1e9, 1e10, 1e11])
        array([10. ,  1. ,  0.1])
    """
    sizes = at_least(scale, 0, "scale", strict=True)
    if not (np.isfinite(alpha) and alpha < 0):
        raise InputError(f"{alpha} is not a negative number", where="alpha")
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        loss: Floats = (sizes / at_least(c, 0, "c", strict=True)) ** alpha
    return loss


def per_token_probability(loss: ArrayLike) -> Floats:
    """Return the probability of a right token, p = exp(-L).

    The cross entropy of one right answer is -log p; the paper sets p of every token so.

    Args:
        loss: Per-token cross entropy in nats, >= 0, any shape.

    Returns:
        The probability, in [0, 1], of the shape of ``loss``.

    Raises:
        InputError: A loss is negative.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2.

    Examples:
        >>> per_token_probability([0.0, 1.0]).round(4)
        array([1.    , 0.3679])
    """
    return expected_accuracy(loss, target_length=1)


def expected_accuracy(loss: ArrayLike, *, target_length: ArrayLike) -> Floats:
    """Return the expected exact match of a target: the probability that all its tokens are right.

    With n independent tokens, p^n = exp(-n L).

    Args:
        loss: Per-token cross entropy in nats, >= 0, any shape.
        target_length: Tokens of the target, n >= 1; broadcast against ``loss``.

    Returns:
        The expected accuracy, in [0, 1], of the broadcast shape.

    Raises:
        InputError: A loss is negative or a length is not a whole number of at least 1.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2 and App. A.2.

    Examples:
        >>> expected_accuracy(per_token_loss(1e11), target_length=[1, 5, 10]).round(3)
        array([0.905, 0.607, 0.368])
    """
    length = whole(target_length, 1, "target_length")
    with np.errstate(under="ignore"):
        accuracy: Floats = np.exp(-length * checked_loss(loss))
    return accuracy


def expected_token_edit_distance(loss: ArrayLike, *, target_length: ArrayLike) -> Floats:
    """Return the expected edits from output to target, n (1 - p).

    A wrong token is one substitution, and none is inserted or left out, so the distance is the
    number of wrong tokens. App. A.2 prints n (1 - epsilon) with epsilon defined as the probability
    of an *error*; that would be the expected number of right tokens. What follows from the
    definition is n epsilon, the form of section 2, and it is computed here.

    Args:
        loss: Per-token cross entropy in nats, >= 0, any shape.
        target_length: Tokens of the target, n >= 1; broadcast against ``loss``.

    Returns:
        The expected distance in tokens, in [0, n], of the broadcast shape.

    Raises:
        InputError: A loss is negative or a length is not a whole number of at least 1.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2 and App. A.2.

    Examples:
        >>> expected_token_edit_distance(per_token_loss([1e9, 1e11]), target_length=5).round(3)
        array([5.   , 0.476])
    """
    length = whole(target_length, 1, "target_length")
    with np.errstate(under="ignore"):
        # expm1 keeps the error of a model that is almost always right.
        distance: Floats = -length * np.expm1(-checked_loss(loss))
    return distance


def sample_right_tokens(
    loss: float, *, target_length: int, n_examples: int, seed: int | np.random.Generator = 0
) -> NDArray[np.bool_]:
    """Draw which tokens of each output are right, each with probability p, independently.

    An output is an exact match where all are right, and its edit distance is the number of wrong
    ones, so both metrics can be had from the same outputs, as in section 3 of the paper.

    Args:
        loss: Per-token cross entropy in nats, >= 0.
        target_length: Tokens of the target, >= 1.
        n_examples: Outputs to draw, >= 1.
        seed: Seed or generator. The first outputs drawn do not depend on how many are.

    Returns:
        True where a token is right, shape (n_examples, target_length).

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> right = sample_right_tokens(0.1, target_length=5, n_examples=1000, seed=1)
        >>> float(right.all(axis=1).mean()), float((~right).sum(axis=1).mean())
        (0.603, 0.476)
    """
    shape = (
        int(whole(n_examples, 1, "n_examples")),
        int(whole(target_length, 1, "target_length")),
    )
    return np.random.default_rng(seed).random(shape) < per_token_probability(loss)
