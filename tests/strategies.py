"""Hypothesis strategies: curves, ragged batches, observations and curve scores."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

# For tests that build frames, where one example costs as much as hundreds of array examples.
FEWER = settings(max_examples=8)

# Few values: many ties, many steps of exactly zero. Many values: hardly any.
FEW = st.integers(-3, 3)
MANY = st.integers(-(10**6), 10**6)


def json_values(*keys, max_leaves):
    """Any JSON; its objects have these keys, or any where none are given."""
    names = st.sampled_from(keys) if keys else st.text(max_size=8)
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=max_leaves,
    )


def integer_curves(*, min_size=0, max_size=12):
    """Curves of whole numbers, on which sums and differences are exact."""
    sizes = {"min_size": min_size, "max_size": max_size}
    return st.one_of(st.lists(FEW, **sizes), st.lists(MANY, **sizes)).map(
        lambda y: [float(value) for value in y]
    )


def curves(*, min_size=0, max_size=12):
    """Curves of any floats whose differences and ratios stay within the range of a float."""
    # width=32 reaches down to 1e-45, so steps differ by up to 1e51.
    floats = st.floats(-1e6, 1e6, width=32)
    return st.one_of(
        integer_curves(min_size=min_size, max_size=max_size),
        st.lists(floats, min_size=min_size, max_size=max_size),
    )


def batches(*, max_size=8):
    return st.lists(curves(), max_size=max_size)


def to_ragged(batch):
    """Return the flat values and the offsets of a list of curves."""
    values = np.array([value for curve in batch for value in curve], dtype=np.float64)
    return values, np.cumsum([0, *map(len, batch)], dtype=np.int64)


# --- Observations: lists of rows, None for what is not known ---

AXES = ("flop_matched_non_embedding_params", "non_embedding_params", "total_params")
METRICS = ("bleurt", "brier_score", "made_up", "made_down")
WHOLE = {"shots", "n_examples", *AXES}
TEXT = {
    "benchmark", "task", "subtask", "metric", "model_family", "model_name", "variant", "replicate",
}  # fmt: skip


@st.composite
def observation_rows(draw, *, max_size=30):
    """Rows of an observations table.

    A model may have several rows on a curve; its sizes are the same on all of them, as are the low
    and high score of a metric. Scores are eighths and standard errors powers of two, so that no sum
    is rounded, whatever its order.

    Args:
        draw: From Hypothesis.
        max_size: Most rows.
    """
    sizes = st.one_of(st.none(), st.integers(-1, 4))
    models = [
        {"model_name": f"m{number}"} | {axis: draw(sizes) for axis in AXES}
        for number in range(draw(st.integers(1, 5)))
    ]
    bounds = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]))
    ranges = {metric: {"low_score": draw(bounds), "high_score": draw(bounds)} for metric in METRICS}
    key = st.fixed_dictionaries(
        {
            "benchmark": st.sampled_from(["b", "c"]),
            "task": st.sampled_from(["t", "u"]),
            "subtask": st.sampled_from([None, "t", "t:1"]),
            "metric": st.sampled_from(METRICS),
            "model_family": st.sampled_from(["f", "g"]),
            "shots": st.sampled_from([None, 0, 3]),
            "variant": st.sampled_from([None, "cot"]),
        }
    )
    few_keys = st.sampled_from(draw(st.lists(key, min_size=1, max_size=4)))
    eighths = st.integers(-80, 80).map(lambda number: number / 8)
    unusable = st.sampled_from([None, float("nan"), float("inf"), -float("inf")])
    row = st.fixed_dictionaries(
        {
            "score": st.one_of(eighths, eighths, eighths, unusable),
            # Such as the check of standard errors takes for plausible.
            "stderr": st.sampled_from([None, 2.0**-4, 2.0**-5]),
            "n_examples": st.sampled_from([None, 10, 200]),
            "is_preferred": st.sampled_from([None, False, True]),
        }
    )
    cells = draw(st.lists(st.tuples(few_keys, st.sampled_from(models), row), max_size=max_size))
    return [
        key | model | _within(key["metric"], own) | ranges[key["metric"]]
        for key, model, own in cells
    ]


def _within(metric, row):
    """Return a row with its score in the range of the Brier score, if it is one."""
    score = row["score"]
    if metric != "brier_score" or score is None or not math.isfinite(score):
        return row
    return row | {"score": abs(score) / 8}


def to_frame(rows):
    """Return rows as an observations frame, whole numbers as nullable integers."""
    columns = [*TEXT, *WHOLE, "score", "stderr", "low_score", "high_score", "is_preferred"]
    frame = pd.DataFrame({name: [row.get(name) for row in rows] for name in columns})
    floats = dict.fromkeys(("score", "stderr", "low_score", "high_score"), "float64")
    return frame.astype(
        dict.fromkeys(TEXT, "str") | dict.fromkeys(WHOLE, "Int64") | floats
        | {"is_preferred": "boolean"}
    )  # fmt: skip


# --- Curve scores: lists of rows ---

THRESHOLD = 100.0


@st.composite
def score_rows(draw, *, max_size=25):
    """Rows of a curve scores table; many scores lie at the threshold or have no end."""
    scored = st.one_of(
        st.sampled_from([THRESHOLD, -THRESHOLD, 100.5, -100.5, float("inf"), -float("inf")]),
        st.floats(-300, 300),
    )
    unscored = st.sampled_from(["flat", "too_few_scales"])
    family = st.fixed_dictionaries(
        {
            "benchmark": st.sampled_from(["b", "c"]),
            "task": st.sampled_from(["t", "u"]),
            "metric": st.sampled_from(["acc", "em", "bleu"]),
            "model_family": st.sampled_from(["f", "g"]),
            "shots": st.sampled_from([None, 0, 3]),
            "variant": st.sampled_from([None, "cot"]),
        }
    )
    own = st.fixed_dictionaries(
        {
            "subtask": st.sampled_from(["t", "u", "t:1", "t:2"]),
            "metric_type": st.sampled_from(["discontinuous", "nonlinear"]),
            "outcome": st.one_of(scored, scored, unscored),
        }
    )
    # Few families, so that a task and its subtasks meet.
    families = st.sampled_from(draw(st.lists(family, min_size=1, max_size=5)))
    rows = [
        one | other for one, other in draw(st.lists(st.tuples(families, own), max_size=max_size))
    ]
    for one in rows:
        outcome = one.pop("outcome")
        if isinstance(outcome, str):
            one |= {"emergence_score": float("nan"), "status": outcome}
        else:
            infinite = abs(outcome) == float("inf")
            one |= {"emergence_score": outcome, "status": "zero_median" if infinite else "ok"}
    return rows


def to_scores(rows):
    """Return rows as a curve scores frame."""
    columns = [
        "benchmark", "task", "subtask", "metric", "metric_type", "model_family", "shots",
        "variant", "emergence_score", "status",
    ]  # fmt: skip
    frame = pd.DataFrame({name: [row[name] for row in rows] for name in columns})
    return frame.astype(
        dict.fromkeys(set(columns) - {"shots", "emergence_score"}, "str")
        | {"shots": "Int64", "emergence_score": "float64"}
    )
