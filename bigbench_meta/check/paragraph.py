"""The paragraph on a claim: the verdict first, then what it rests on, and how often it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.core.text import counted, format_scale

if TYPE_CHECKING:
    from bigbench_meta.check.claim import ClaimCheck

__all__ = ["paragraph_of"]

_UNTESTABLE: Final = {
    "too_few_scales": "at least four sizes of models are needed",
    "flat": "all scores are the same",
    "no_test_set": "the number of test examples is not known (give --n, or standard errors)",
    "no_range": "the range of the metric is not known (give it in a --catalog)",
    "score_out_of_range": "a score is outside the range of the metric",
    "scale_is_a_loss": "the axis is a loss, for which no smooth law is assumed",
    "not_converged": "no smooth law fits the scores at all",
    "no_information": "the scores carry no information about a jump",
    "few_replicates": "simulated scores are nearly all flat",
}
_MANY: Final = 1e6
_ERROR: Final = {1: "once", 2: "twice"}


def paragraph_of(check: ClaimCheck) -> str:
    """Return what was found of a claim in plain sentences."""
    numbers = check.numbers
    sentences = [_verdict(check), _sharpness(numbers), _test_set(numbers)]
    if check.second is not None:
        sentences.append(_second(check.second))
    sentences.append(_forecast(numbers))
    if check.verdict != "undecidable":
        sentences.append(_error(check))
    return " ".join(filter(None, sentences))


def _verdict(check: ClaimCheck) -> str:
    # Where the second metric decides, its numbers are the reason.
    by_second = check.second is not None and check.verdict not in {
        check.numbers["verdict"], "undecidable",
    }  # fmt: skip
    numbers = check.second.numbers if check.second is not None and by_second else check.numbers
    fall, named = f"{check.factor:g}-fold", f" ({numbers['metric']})" if by_second else ""
    if check.reason == "step":
        times, between = _times(numbers["odds_step"]), _between(numbers, "step")
        return (
            f"Sharper than smooth improvement: the scores{named} are {times} as likely if the loss "
            f"suddenly falls {fall} as if it falls smoothly, and the likeliest place is {between}."
        )
    if check.reason == "smooth":
        between = _between(numbers, "rise")
        return (
            f"Explained by smooth improvement: the scores{named} are "
            f"{_times(1 / numbers['odds_rise'])} as likely if the loss falls smoothly as if it "
            f"suddenly falls {fall} where they rise most, {between}."
        )
    return f"Undecidable: {_undecidable(check)}."


def _undecidable(check: ClaimCheck) -> str:
    numbers, fall = check.numbers, f"{check.factor:g}-fold"
    if check.reason == "disagree":
        return "one metric says that the rise is explained, the other that it is sharper"
    if check.reason == "no_rise":
        return "the scores do not rise between any two sizes"
    if check.reason == "small_step":
        odds, p = _odds(numbers["odds_rise"]), f"p = {numbers['p_step']:.2g}"
        return (
            f"a sudden {fall} fall of the loss is unlikely (odds of {odds}), but the scores do not "
            f"follow a smooth law either ({p}), so there may be a smaller jump"
        )
    if check.reason == "either":
        step, rise = numbers["odds_step"], numbers["odds_rise"]
        most = f"{check.odds * check.among:g} to 1"
        if step >= 1:
            leaning = f"a sudden {fall} fall of the loss is the likelier explanation"
            by = f"odds of {_odds(step)}; {most} are needed"
        elif rise < 1:
            leaning = "smooth improvement is the likelier explanation"
            by = f"odds of {_odds(1 / rise)}; {check.odds:g} to 1 are needed"
        else:
            leaning = f"a sudden {fall} fall of the loss explains the scores about as well"
            by = f"odds of {_odds(rise)} where they rise most"
        return f"{leaning} ({by})"
    return _UNTESTABLE.get(check.reason, check.reason.replace("_", " "))


def _sharpness(numbers: dict[str, Any]) -> str:
    score, n = numbers["emergence_score"], int(numbers["n_scales"])
    if pd.isna(score):
        return ""
    interval = ""
    if numbers["interval_status"] == "ok":
        low, high = _e(numbers["emergence_low"]), _e(numbers["emergence_high"])
        interval = f" (95% interval {low} to {high})"
    text = f"Its emergence score E is {_e(score)}{interval}; {n} sizes on a straight line have "
    text += f"{n - 1}"
    if not np.isnan(numbers["smooth_median"]):
        low, high = _e(numbers["smooth_low"]), _e(numbers["smooth_high"])
        middle = _e(numbers["smooth_median"])
        text += ", and smooth improvement seen through this metric and test set gives about "
        text += f"{middle} ({low} to {high} in 95% of simulations)"
    return f"{text}."


def _test_set(numbers: dict[str, Any]) -> str:
    smallest, n = numbers["smallest_detectable"], numbers["n_examples_min"]
    if pd.isna(smallest) or pd.isna(n) or pd.isna(numbers["n_undetectable"]):
        return ""
    below, usable = int(numbers["n_undetectable"]), int(numbers["n_usable"])
    chance = numbers["chance"]
    above = "zero" if chance == 0 else f"chance ({chance:.3g})"
    text = f"With {counted(int(n), 'example')}, {smallest:.2g} is the smallest true score that the "
    text += f"test set would tell from {above} 19 times in 20"
    some = {0: "no size is", 1: "1 size is"}.get(below, f"{below} sizes are")
    return f"{text}; {some} below it." if below < usable else f"{text}; all sizes are below it."


def _second(second: ClaimCheck) -> str:
    numbers = second.numbers
    text = f"Under {numbers['metric']}, E is {_e(numbers['emergence_score'])}"
    if second.reason == "step":
        return f"{text} and the rise is sharper too, with odds of {_odds(numbers['odds_step'])}."
    if second.reason == "smooth":
        odds = _odds(1 / numbers["odds_rise"])
        return f"{text} and smooth improvement explains the scores, with odds of {odds}."
    return f"{text}; that metric alone is undecidable ({_undecidable(second)})."


def _forecast(numbers: dict[str, Any]) -> str:
    low, high, at = (numbers[f"forecast_{name}"] for name in ("lower", "upper", "x"))
    if pd.isna(low) or pd.isna(high):
        return ""
    size = format_scale(float(at))
    if pd.isna(numbers["forecast_covered"]):
        return f"The smaller sizes cannot predict the score at {size}: almost any score would do."
    inside = "inside" if numbers["forecast_covered"] else "outside"
    return (
        f"From the smaller sizes, a score of {low:.3g} to {high:.3g} was to be expected at {size} "
        f"(95%); it is {numbers['forecast_observed']:.3g}, {inside} that range."
    )


def _error(check: ClaimCheck) -> str:
    """Return how often such a verdict is wrong."""
    once = f"at most once in {20:g}"
    if check.verdict == "sharper":
        text = f"Where improvement is smooth, a curve is called sharper {once} times"
        return text + (
            f", even if it is the sharpest of {check.among}." if check.among > 1 else "."
        )
    return (
        f"Where the loss does fall {check.factor:g}-fold, a curve is called explained {once} times."
    )


def _between(numbers: dict[str, Any], name: str) -> str:
    first, last = (float(numbers[f"{name}_{end}"]) for end in ("from", "to"))
    return f"between {format_scale(first)} and {format_scale(last)}"


def _times(odds: float) -> str:
    if odds >= _MANY:
        return "more than a million times"
    return f"{_rounded(odds)} times"


def _odds(odds: float) -> str:
    """Return odds as so much to one, or one to so much."""
    if odds >= 1:
        return "more than a million to 1" if odds >= _MANY else f"{_rounded(odds)} to 1"
    return "1 to more than a million" if odds <= 1 / _MANY else f"1 to {_rounded(1 / odds)}"


def _rounded(number: float) -> str:
    return f"{float(f'{number:.2g}'):,g}"


def _e(score: float) -> str:
    return ("−" if score < 0 else "") + ("∞" if np.isinf(score) else f"{abs(score):.3g}")
