"""The paragraph on a claim: the verdict first, then what it rests on, and how often it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.check.verdicts import SMALLER
from bigbench_meta.core.text import counted, format_scale

if TYPE_CHECKING:
    from bigbench_meta.check.claim import ClaimCheck

__all__ = ["paragraph_of"]

_UNTESTABLE: Final = {
    "too_few_scales": "at least four sizes of models are needed",
    "flat": "all scores are the same",
    "no_test_set": "the size of the test set is not known (give --n, or standard errors)",
    "no_range": "the worst score of the metric is not known (give the range in a --catalog)",
    "score_out_of_range": "a score is outside the range of the metric (if the scores are in "
    "percent and the metric is a share, divide them by 100)",
    "scale_is_a_loss": "the axis is a loss, for which no smooth law is assumed",
    "not_converged": "no smooth law fits the scores at all",
    "no_information": "with so few examples, or scores so near to chance, any smooth law and "
    "any jump fit",
    "few_replicates": "simulated scores are nearly all the same",
    "no_rise": "the largest size is not shown to score better than the smallest (one-sided test at "
    "5%), so there is no rise from end to end to explain",
}
_MANY: Final = 1e6
_EVEN: Final = 1.5  # odds up to which neither explanation is called the likelier one


def paragraph_of(check: ClaimCheck) -> str:
    """Return what was found of a claim in plain sentences."""
    sentences = [_verdict(check), _claim(check), _sharpness(check), _test_set(check)]
    if check.second is not None:
        sentences.append(_second(check, check.second))
    sentences.append(_forecast(check))
    if check.verdict != "undecidable":
        sentences.append(_error(check))
    return " ".join(filter(None, sentences))


def _by_second(check: ClaimCheck) -> bool:
    """Return whether the second metric decides, alone."""
    decided = check.verdict != "undecidable"
    return check.second is not None and decided and check.verdict != check.numbers["verdict"]


def _deciding(check: ClaimCheck) -> dict[str, Any]:
    """Return the numbers of the metric that decides."""
    second = check.second
    return second.numbers if second is not None and _by_second(check) else check.numbers


def _verdict(check: ClaimCheck) -> str:
    numbers = _deciding(check)
    named = f" under {numbers['metric']}" if _by_second(check) else ""
    fall = f"{check.factor:g}-fold"
    if check.reason == "step":
        needed, ratio = check.odds * check.among, numbers["odds_step"]
        elsewhere = numbers["step_from"] != numbers["rise_from"]
        aside = ", which is not where the scores improve most" if elsewhere else ""
        return (
            f"Sharper than smooth improvement{named}: a sudden {fall} fall of the loss makes the "
            f"scores {_times(ratio)} as likely as a smooth one, averaged over all places where it "
            f"may be ({needed:,g} times is enough for a verdict); most likely it is "
            f"{_between(numbers, 'step')}{aside}."
        )
    if check.reason == "smooth":
        return (
            f"Explained by smooth improvement{named}: it makes the scores "
            f"{_times(1 / max(numbers['odds_rise'], numbers['odds_step']))} as likely as a sudden "
            f"{fall} fall of the loss ({check.odds:g} times is enough for a verdict)."
        )
    return f"Undecidable: {_undecidable(check, check.reason)}."


def _undecidable(check: ClaimCheck, reason: str) -> str:
    numbers, fall = check.numbers, f"{check.factor:g}-fold"
    if reason == "disagree" and check.second is not None:
        return "; ".join(
            f"under {one.numbers['metric']} the scores are {_decided(one.numbers)}"
            for one in (check, check.second)
        )
    if reason == "small_step":
        return (
            f"a sudden {fall} fall of the loss is unlikely (likelihood ratio "
            f"{_odds(1 / numbers['odds_rise'])} against it), but the scores do not follow a smooth "
            f"law either (p = {numbers['p_step']:.2g}), so there may be a smaller jump"
        )
    if reason == "hidden_step":
        return (
            f"a sudden {fall} fall of the loss is excluded where the scores improve most "
            f"(likelihood ratio {_odds(1 / numbers['odds_rise'])} against it), but elsewhere, such "
            "as between sizes that score next to nothing, it would hardly show"
        )
    if reason == "either":
        step, rise = numbers["odds_step"], numbers["odds_rise"]
        better = "{} explains the scores better than {}, but not by enough (likelihood ratio {}; "
        better += "{:,g} to 1 is needed)"
        jump, smooth = f"a sudden {fall} fall of the loss", "smooth improvement"
        if step >= _EVEN:
            return better.format(jump, smooth, _odds(step), check.odds * check.among)
        if rise <= 1 / _EVEN:
            return better.format(smooth, jump, _odds(1 / rise), check.odds)
        return (
            f"{jump} and {smooth} explain the scores about equally well (likelihood ratio "
            f"{_odds(step)} averaged over all places, {_odds(rise)} where the scores improve most; "
            f"{check.odds:g} to 1 is needed)"
        )
    return _UNTESTABLE.get(reason, reason.replace("_", " "))


def _decided(numbers: dict[str, Any]) -> str:
    """Return the verdict that one metric gives."""
    if numbers["reason"] == "step":
        return f"sharper than smooth improvement ({_odds(numbers['odds_step'])})"
    return f"explained by smooth improvement ({_odds(1 / numbers['odds_rise'])})"


def _claim(check: ClaimCheck) -> str:
    """Return what the scores are."""
    curve, numbers = check.curve, check.numbers
    if not len(curve.y):  # scores in two units
        return ""
    first, last = (_score(check, curve.y[i]) for i in (0, -1))
    start, end = (format_scale(float(curve.x[i])) for i in (0, -1))
    text = f"The claim: {numbers['metric']} goes from {first} at {start} to {last} at {end}"
    if numbers["reason"] in {"flat", "no_rise"} or np.isnan(numbers["rise_from"]):
        return f"{text}."
    return f"{text} and improves most {_between(numbers, 'rise')}."


def _sharpness(check: ClaimCheck) -> str:
    numbers = check.numbers
    score, n = numbers["emergence_score"], int(numbers["n_scales"])
    if pd.isna(score):
        return ""
    text = f"Its emergence score E, the whole rise over the typical step, is {_e(score)}"
    if np.isinf(score):
        text += ", because most steps from size to size are exactly 0"
    if numbers["interval_status"] == "ok":
        low, high = _e(numbers["emergence_low"]), _e(numbers["emergence_high"])
        text += f" (95% interval {low} to {high})"
    text += f"; a straight line over {n} sizes would have {n - 1}"
    if np.isnan(numbers["smooth_median"]):
        return f"{text}."
    ends = [numbers["smooth_low"], numbers["smooth_high"]]
    smooth = f"{text}. Smooth improvement, seen through this metric and test set, gives an E of "
    if ends[0] == ends[1] == score:
        return f"{smooth}{_e(score)} too."
    where = "inside that range"
    if not ends[0] <= score <= ends[1]:
        low, high = numbers["emergence_low"], numbers["emergence_high"]
        reaches = low <= ends[1] and high >= ends[0]
        where = "outside that range" + (", though its interval reaches into it" if reaches else "")
    return f"{smooth}{_e(ends[0])} to {_e(ends[1])} in 95% of simulations; this E is {where}."


def _test_set(check: ClaimCheck) -> str:
    numbers = check.numbers
    smallest, n = numbers["smallest_detectable"], numbers["n_examples_min"]
    if pd.isna(smallest) or pd.isna(n) or pd.isna(numbers["n_undetectable"]):
        return ""
    below, usable = int(numbers["n_undetectable"]), int(numbers["n_usable"])
    chance = numbers["chance"]
    above = "zero" if chance == 0 else f"chance ({_score(check, chance)})"
    some = "no measured score is"
    if below:
        some = f"{'all' if below == usable else f'{below} of {usable}'} measured scores are"
    return (
        f"With {counted(int(n), 'example')}, a true score of {_score(check, smallest)} would be "
        f"distinguished from {above} 19 times in 20, a lower one less often; {some} lower."
    )


def _second(check: ClaimCheck, second: ClaimCheck) -> str:
    numbers = second.numbers
    score = numbers["emergence_score"]
    text = f"Under {numbers['metric']}, E is {'not defined' if pd.isna(score) else _e(score)}"
    if check.reason == "disagree":
        return f"{text}."
    if _by_second(check):
        alone = _undecidable(check, check.numbers["reason"])
        return f"{text}. {check.numbers['metric']} alone would decide nothing: {alone}."
    if second.verdict == "undecidable":
        alone = _undecidable(second, second.reason)
        return f"{text}. That metric alone would decide nothing: {alone}."
    return f"{text} and the scores are {_decided(numbers)} too."


def _forecast(check: ClaimCheck) -> str:
    numbers = check.numbers
    low, high, at = (numbers[f"forecast_{name}"] for name in ("lower", "upper", "x"))
    if pd.isna(low) or pd.isna(high):
        return ""
    size = format_scale(float(at))
    if pd.isna(numbers["forecast_covered"]):
        return (
            f"The score at {size} could not be predicted: the forecast interval from the smaller "
            "sizes covers more than half of the range above guessing, or none of their scores is "
            "clearly above guessing."
        )
    inside = "inside" if numbers["forecast_covered"] else "outside"
    observed = _score(check, numbers["forecast_observed"])
    return (
        f"A forecast from the smaller sizes gives {_score(check, low)} to {_score(check, high)} at "
        f"{size} (95%); the score there is {observed}, {inside} that range."
    )


def _error(check: ClaimCheck) -> str:
    """Return how often such a verdict is wrong, and what it leaves open."""
    if check.verdict == "sharper":
        average = "on average over the smooth laws that are possible"
        which = f"at most 5% of curves are called sharper, {average} and as long as they were not "
        which += "picked because they look sharp"
        if check.among > 1:
            which = f"the sharpest of {check.among} such curves is called sharper in at most 5% of "
            which += f"cases, {average}"
        return (
            f"If improvement is smooth, {which}. Next: the loss per token of the same models, "
            "which shows whether the loss itself jumps."
        )
    text = f"If the loss does fall {check.factor:g}-fold, at most 5% of curves are called "
    text += "explained, on average over the laws that are possible."
    smallest = _deciding(check)["smallest_excluded"]
    if smallest < check.factor:
        rest = (
            "smaller and larger ones were not tried"
            if smallest <= min(SMALLER)
            else "smaller ones are not, and larger ones were not tried"
        )
        return f"{text} Jumps of {smallest:g}-fold are excluded just as clearly; {rest}."
    return f"{text} Smaller jumps are not excluded."


def _score(check: ClaimCheck, score: float, digits: int = 3) -> str:
    """Return a score in the unit of its metric."""
    unit = (check.catalog or metric_catalog()).lookup(check.curve.keys)["unit"].iloc[0]
    return f"{float(f'{score:.{digits}g}'):g}" + ("%" if unit == "percent" else "")


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
