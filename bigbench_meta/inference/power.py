"""What a test set can show: smallest accuracy, examples needed, and curves that look flat.

An accuracy below 1 / n is measured as 0 by most test sets of n examples, so a curve can be flat
because it is flat or because the test set cannot see it rise.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, sec. 3, Fig. 4 and App. A.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import within
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.binomial import (
    MOST_EXAMPLES,
    at_least,
    critical_count,
    detectable,
    size_from_which,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]

__all__ = [
    "detection_power",
    "exact_match_accuracy",
    "examples_needed",
    "resolution",
    "smallest_detectable",
]

# Elements searched at a time, so that memory does not grow with their number.
_BLOCK: Final = 4096
_ROUNDING: Final = 1e-12


def detection_power(
    accuracy: ArrayLike, n_examples: ArrayLike, *, chance: ArrayLike = 0.0, alpha: ArrayLike = 0.05
) -> Floats:
    r"""Return the probability that n examples show an accuracy to be above chance.

    The test is the exact one-sided binomial test: it rejects at c or more right answers, c being
    the smallest count with P(X >= c | chance) <= alpha. At a chance of 0 one right answer is
    impossible by chance, c = 1, and the power is the probability to see any,
    1 - (1 - accuracy)^n.

    Args:
        accuracy: True probability of a right answer, in [0, 1], any shape.
        n_examples: Size of the test set, whole, of a shape that fits, as are the others.
        chance: Probability of a right answer by chance, in [0, 1].
        alpha: Level of the test, in (0, 1).

    Returns:
        Probabilities; NaN where an argument is.

    Raises:
        InputError: A number is out of its range.

    References:
        The resolution 1 / n: Schaeffer et al. (2023), arXiv 2304.15004, App. A.1.

    Examples:
        >>> detection_power([0.001, 0.01], 200).round(3)
        array([0.181, 0.866])
        >>> detection_power(0.35, [50, 200], chance=0.25).round(3)
        array([0.378, 0.922])
    """
    size, level = _sizes(n_examples), _share(alpha, "alpha", open_=True)
    critical = critical_count(size, _share(chance, "chance"), level)
    return at_least(critical, size, _share(accuracy, "accuracy"))


def smallest_detectable(
    n_examples: ArrayLike,
    *,
    chance: ArrayLike = 0.0,
    power: ArrayLike = 0.95,
    alpha: ArrayLike = 0.05,
) -> Floats:
    r"""Return the smallest accuracy that n examples show to be above chance with a given power.

    The accuracy a at which :func:`detection_power` is the power: the quantile of
    Beta(c, n - c + 1) at it, c being the critical count. At a chance of 0 that is
    1 - (1 - power)^(1/n), about 3 / n for a power of 0.95.

    Args:
        n_examples: Size of the test set, whole, any shape.
        chance: Probability of a right answer by chance, in [0, 1], of a shape that fits.
        power: Probability to show it, in (0, 1).
        alpha: Level of the exact test, in (0, 1); it does not matter at a chance of 0.

    Returns:
        Accuracies above chance. NaN where an argument is, or where the test set is so small that
        all right answers would not be rare enough by chance.

    Raises:
        InputError: A number is out of its range.

    Examples:
        >>> smallest_detectable([50, 2000, 10000]).round(5)
        array([0.05816, 0.0015 , 0.0003 ])
        >>> smallest_detectable(2000, chance=0.25).round(4)
        np.float64(0.2827)
    """
    size, level = _sizes(n_examples), _share(alpha, "alpha", open_=True)
    rate, wanted = _share(chance, "chance"), _share(power, "power", open_=True)
    return detectable(size, rate, wanted, level)[()]


def examples_needed(
    accuracy: ArrayLike,
    *,
    chance: ArrayLike = 0.0,
    power: ArrayLike = 0.95,
    alpha: ArrayLike = 0.05,
) -> Floats:
    r"""Return how many examples show an accuracy to be above chance with a given power.

    The power of the exact test is a saw-tooth: it falls wherever one more example raises the
    critical count. So this is the smallest n from which on the power suffices at *every* size, not
    the first size at which it happens to. At a chance of 0 there are no teeth and it is
    log(1 - power) / log(1 - accuracy), rounded up.

    Args:
        accuracy: True probability of a right answer, in [0, 1], any shape.
        chance: Probability of a right answer by chance, in [0, 1], of a shape that fits.
        power: Probability to show it, in (0, 1).
        alpha: Level of the exact test, in (0, 1); it does not matter at a chance of 0.

    Returns:
        Whole numbers; infinite where the accuracy is not above chance, and NaN where an argument is
        or where more than some 10^9 examples are needed to tell it from a chance above 0.

    Raises:
        InputError: A number is out of its range.

    Examples:
        >>> examples_needed([0.1, 0.001, 0.00001])
        array([2.90000e+01, 2.99500e+03, 2.99572e+05])
        >>> examples_needed(0.3, chance=0.25, power=0.8)
        np.float64(522.0)
    """
    arrays = np.broadcast_arrays(
        _share(accuracy, "accuracy"),
        _share(chance, "chance"),
        _share(power, "power", open_=True),
        _share(alpha, "alpha", open_=True),
    )
    rate, guess, wanted, level = (np.ravel(array) for array in arrays)
    needed = np.where(rate <= guess, np.inf, np.nan)
    at_zero = (guess == 0) & (rate > 0)
    needed[at_zero] = _until_seen(rate[at_zero], wanted[at_zero])
    needed[np.isnan(wanted + level)] = np.nan
    searched = np.flatnonzero((guess > 0) & (rate > guess) & ~np.isnan(wanted + level))
    for start in range(0, len(searched), _BLOCK):
        block = searched[start : start + _BLOCK]
        needed[block] = size_from_which(rate[block], guess[block], wanted[block], level[block])
    return needed.reshape(arrays[0].shape)[()]


def _until_seen(rate: Floats, power: Floats) -> Floats:
    """Return the smallest n with 1 - (1 - rate)^n >= power."""
    with np.errstate(divide="ignore"):
        miss = np.log1p(-rate)
    estimate = np.maximum(np.ceil(np.log1p(-power) / miss), 1.0)
    # The quotient may be rounded across a whole number.
    fewer = np.maximum(estimate - 1, 1.0)
    return np.where(-np.expm1(fewer * miss) >= power * (1 - _ROUNDING), fewer, estimate)


def exact_match_accuracy(token_error: ArrayLike, n_tokens: ArrayLike) -> Floats:
    """Return the accuracy of answers that count only if all their tokens are right.

    Each token is wrong with the same probability, whatever the others: (1 - error)^L. Its logarithm
    is linear in L, so the examples needed to see it grow exponentially with the answer's length.

    Args:
        token_error: Probability that a token is wrong, in [0, 1], any shape.
        n_tokens: Number of tokens L of the answer, at least 1, of a shape that fits.

    Returns:
        Accuracies in [0, 1].

    Raises:
        InputError: A number is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> accuracy = exact_match_accuracy(0.5, [1, 5, 10])
        >>> accuracy, examples_needed(accuracy)
        (array([0.5       , 0.03125   , 0.00097656]), array([   5.,   95., 3067.]))
    """
    tokens = within(n_tokens, 1, np.inf, "n_tokens")
    return np.asarray((1 - _share(token_error, "token_error")) ** tokens)[()]


def resolution(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    power: float = 0.95,
    alpha: float = 0.05,
    margin: float = 0.05,
    min_scales: int = 3,
) -> pd.DataFrame:
    """Say of every curve how much of it lies below what its test set can show.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default.
        chance: Chance level in the unit of the score, a number or one a curve, NaN for not given.
            By default the task's ``low_score``; else 1 / ``n_choices`` on discontinuous metrics;
            else 0 on nonlinear and linear metrics that begin at 0.
        n_choices: Number of choices, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none, a number or one a curve.
        power: Probability with which the smallest detectable accuracy would be shown.
        alpha: Level of the tests.
        margin: What counts as no difference between scales, as a proportion.
        min_scales: Fewest scales with a score and a number of examples.

    Returns:
        One row a curve, in the order of the curves: the key columns, ``metric_type``; ``n_scales``
        and of these ``n_usable`` (with a proportion and a number of examples);
        ``n_examples_min``; ``chance`` and ``chance_source``; ``resolution`` (one example of the
        smallest test set) and ``smallest_detectable`` (score that this test set shows to be above
        chance with the power); ``n_below`` (scales less than one example above chance) and
        ``n_undetectable`` (below the smallest detectable score), as shares of ``n_usable``
        ``share_below_resolution`` and ``share_undetectable``; ``p_flat``, ``span`` and
        ``flat_kind``, as :func:`bigbench_meta.inference.flatness.flatness` defines them;
        ``reason``, why the kind is ``cannot_tell`` (not_a_proportion, score_out_of_range, n_unknown
        or too_few_scales) and empty elsewhere. Scores, differences of scores and chance are in the
        unit of the file.

    Raises:
        InputError: An option out of its range or of another shape.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, App. A.1.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> found = resolution(build_curves(load_embedded()))
        >>> row = found[(found.task == "arithmetic 5D+") & (found.shots == 0)].iloc[0]
        >>> row.resolution, round(float(row.smallest_detectable), 3)
        (np.float64(0.05), 0.15)
        >>> f"{row.share_below_resolution:.0%} of scales below", row.flat_kind
        ('88% of scales below', 'not_flat')
    """
    # Imported here: numbers alone need no catalog and no pandas.
    from bigbench_meta.core.schema import CURVE_KEY
    from bigbench_meta.curves.build import whole
    from bigbench_meta.inference.flatness import FLAT_KINDS, flatness
    from bigbench_meta.inference.proportions import proportions

    shares = proportions(
        curves, catalog=catalog, chance=chance, n_choices=n_choices, n_examples=n_examples
    )
    found = flatness(
        shares.proportion,
        curves.offsets,
        n_examples=shares.n_examples,
        chance=shares.chance,
        power=power,
        alpha=alpha,
        margin=margin,
        min_scales=min_scales,
    )
    sized = ~np.isnan(shares.n_examples)
    smallest = np.full(len(curves), np.inf)
    np.minimum.at(smallest, shares.curve[sized], shares.n_examples[sized])
    smallest[np.isinf(smallest)] = np.nan
    undecided = (found.kind == FLAT_KINDS.index("cannot_tell")) & (shares.problem == "")
    reason = np.where(np.isnan(smallest), "n_unknown", "too_few_scales")
    used = np.where(found.n_usable > 0, found.n_usable, np.nan)
    return curves.keys[[*CURVE_KEY, "metric_type"]].assign(
        n_scales=np.diff(curves.offsets),
        n_usable=found.n_usable,
        n_examples_min=whole(smallest),
        chance=shares.curve_scores(shares.chance),
        chance_source=shares.chance_source,
        resolution=shares.amount(1 / smallest),
        smallest_detectable=shares.curve_scores(found.smallest_detectable),
        n_below=whole(found.n_below),
        share_below_resolution=found.n_below / used,
        n_undetectable=whole(found.n_undetectable),
        share_undetectable=found.n_undetectable / used,
        p_flat=found.p_flat,
        span=shares.amount(found.span),
        flat_kind=np.array(FLAT_KINDS, dtype=object)[found.kind],
        reason=np.where(undecided, reason, shares.problem),
    )


def _share(values: ArrayLike, where: str, *, open_: bool = False) -> Floats:
    return within(values, 0.0, 1.0, where, open_=open_)


def _sizes(n_examples: ArrayLike) -> Floats:
    sizes = within(n_examples, 1, MOST_EXAMPLES, "n_examples")
    whole = np.isnan(sizes) | (sizes == np.rint(sizes))
    if not np.all(whole):
        raise InputError(f"{sizes[~whole].flat[0]:g} is not whole", where="n_examples")
    return sizes
