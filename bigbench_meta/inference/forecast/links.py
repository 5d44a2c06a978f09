"""How smooth metrics tell the probability that a token, or an answer, is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["LINKS", "Link"]


@dataclass(frozen=True, kw_only=True)
class Link:
    """How one metric tells the probability p that a unit of the target is right.

    A target of L units is then right with probability p^L.

    Attributes:
        formula: Of p, v being the score, L the length and K the number of choices.
        unit: What p is the probability of.
        answers: ``text`` for metrics of written answers, ``choice`` for those of listed ones.
        value: Returns p from scores and numbers of choices or, if ``counts``, wrong units.
        counts: Whether the score counts wrong units of a target, so that p = 1 - v/L.
        share: Whether p is a share of units that are right, each of which is or is not.
    """

    formula: str
    unit: str
    answers: Literal["text", "choice"]
    value: Callable[[Floats, Floats], Floats]
    counts: bool = False
    share: bool = False


def _loss(v: Floats, choices: Floats) -> Floats:
    del choices
    return np.exp(-v)


def _bits(v: Floats, choices: Floats) -> Floats:
    del choices
    return np.exp2(-v)


def _log_probability(v: Floats, choices: Floats) -> Floats:
    del choices
    return np.exp(v)


def _inverse(v: Floats, choices: Floats) -> Floats:
    del choices
    return 1 / v


def _same(v: Floats, choices: Floats) -> Floats:
    del choices
    return v


def _percent(v: Floats, choices: Floats) -> Floats:
    del choices
    return v / 100


def _wrong(v: Floats, choices: Floats) -> Floats:
    del choices
    return 1 - v


def _wrong_percent(v: Floats, choices: Floats) -> Floats:
    del choices
    return 1 - v / 100


def _brier_sum(v: Floats, choices: Floats) -> Floats:
    return np.asarray(1 - np.sqrt(v * (choices - 1) / choices))


def _brier_mean(v: Floats, choices: Floats) -> Floats:
    return _brier_sum(v * choices, choices)


def _text(
    formula: str, unit: str, value: Callable[[Floats, Floats], Floats], *, share: bool = False
) -> Link:
    return Link(formula=formula, unit=unit, answers="text", value=value, share=share)


def _choice(formula: str, value: Callable[[Floats, Floats], Floats]) -> Link:
    return Link(formula=formula, unit="answer", answers="choice", value=value)


_BRIER: Final = "the wrong choices sharing the rest equally"

LINKS: Final[dict[str, Link]] = {
    "cross_entropy": _text("exp(-v)", "token", _loss),
    "loss": _text("exp(-v)", "token", _loss),
    "token_accuracy": _text("v", "token", _same, share=True),
    "token_edit_distance": Link(
        formula="1 - v/L", unit="token", answers="text", value=_same, counts=True, share=True
    ),
    "log_likelihood_per_word": _text("exp(v)", "word", _log_probability),
    "log_likelihood_per_char": _text("exp(v)", "character", _log_probability),
    "log_likelihood": _text("exp(v)", "target", _log_probability),
    "bits_per_byte": _text("2^-v", "byte", _bits),
    "perplexity": _text("1/v", "token", _inverse),
    "ppl": _text("1/v", "token", _inverse),
    "word_perplexity": _text("1/v", "word", _inverse),
    "byte_perplexity": _text("1/v", "byte", _inverse),
    "wer": _text("1 - v", "word", _wrong, share=True),
    "word_error_rate": _text("1 - v", "word", _wrong, share=True),
    "ter": _text("1 - v/100", "word", _wrong_percent, share=True),
    "sequence_f1": _text("v/100", "label", _percent),
    "mean_relative_edit_distance": _text("v", "character", _same, share=True),
    "correct_prob_mass": _choice("v", _same),
    "mc2": _choice("v", _same),
    "log_loss": _choice("exp(-v)", _loss),
    "brier_score": _choice(f"1 - sqrt(v (K - 1)/K), v summed over choices, {_BRIER}", _brier_sum),
    "calibration_multiple_choice_brier_score": _choice(
        f"1 - sqrt(v (K - 1)), v averaged over choices, {_BRIER}", _brier_mean
    ),
}
"""Smooth metrics by name; where a sharp one has several partners, the first listed is used.

The mean of a metric stands for all examples: p is that of an example of mean difficulty.
"""
