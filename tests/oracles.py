"""Naive versions of what the package computes: slow, plain Python, obviously right.

Nothing here imports the package, numpy or pandas, so that no mistake is shared.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise

NAN = math.nan
CURVE_KEY = ("benchmark", "task", "subtask", "metric", "model_family", "shots", "variant")


# --- Emergence score: Schaeffer et al. 2023, eq. 1 ---


def squared_steps(y):
    """(y_i - y_{i-1})^2, as fractions: exact for any float, so nothing under- or overflows."""
    return [(Fraction(after) - Fraction(before)) ** 2 for before, after in pairwise(y)]


def root(square):
    """Square root of a fraction; a Decimal has an exponent wide enough for any squared float."""
    return float((Decimal(square.numerator) / Decimal(square.denominator)).sqrt())


def signed_range(y):
    """sign(argmax y - argmin y) * (max y - min y); list.index finds the first on ties."""
    rise = y.index(max(y)) - y.index(min(y))
    return math.copysign(max(y) - min(y), rise) if rise else 0.0


def ratio(numerator, denominator):
    return numerator / denominator if denominator else math.copysign(math.inf, numerator)


def score(y, *, min_scales=3, resolution=NAN):
    """Everything that is said about one curve."""
    n = len(y)
    result = dict.fromkeys(
        ("signed_range", "median_step", "emergence_score", "linearity", "relative_sharpness",
         "resolution_limited_score"), NAN,
    )  # fmt: skip
    result["n_scales"] = n
    if n >= 2:
        squares = squared_steps(y)
        result["signed_range"] = signed_range(y)
        result["median_step"] = root(statistics.median(squares))
    if n < max(min_scales, 2):
        return result | {"status": "too_few_scales"}
    if max(y) == min(y):
        return result | {"status": "flat"}
    top, median_step = result["signed_range"], result["median_step"]
    result["status"] = "ok" if median_step else "zero_median"
    result["emergence_score"] = ratio(top, median_step)
    result["linearity"] = ratio(top, root(statistics.mean(squares)))
    result["relative_sharpness"] = result["emergence_score"] / (n - 1)
    if not math.isnan(resolution):
        result["resolution_limited_score"] = ratio(top, max(median_step, resolution))
    return result


# --- Curves out of rows, each a dict with None for what is not known ---


def curve_key(row):
    filled = row | {"subtask": row["subtask"] or row["task"]}
    return tuple(filled[name] for name in CURVE_KEY)


def is_scale(x):
    return x is not None and math.isfinite(x) and x > 0


def chosen_axis(rows, axes):
    """The first axis that all models of the curve have, or else that most have."""
    having = [len({row["model_name"] for row in rows if is_scale(row[axis])}) for axis in axes]
    return axes[having.index(max(having))]


def is_up(low, high, in_catalog):
    """Whether higher is better, and who says so."""
    if in_catalog is not None:
        return in_catalog, "catalog"
    if low is not None and high is not None and low != high:
        return low < high, "low_high"
    return True, "assumed"


def point(x, rows):
    """Average the rows at one x."""
    scores = [row["score"] for row in rows]
    errors = [row["stderr"] for row in rows]
    counts = [row["n_examples"] for row in rows if row["n_examples"] is not None]
    return {
        "x": x,
        "y": statistics.fmean(scores),
        "spread": statistics.stdev(scores) if len(scores) > 1 else NAN,
        "stderr": NAN if None in errors else math.hypot(*errors) / len(errors),
        "n_examples": min(counts, default=NAN),
    }


def curve(rows, axes, in_catalog):
    axis = chosen_axis(rows, axes)
    at = {}
    for row in rows:
        if is_scale(row[axis]) and row["score"] is not None and math.isfinite(row["score"]):
            at.setdefault(row[axis], []).append(row)
    used = {row["model_name"] for some in at.values() for row in some}
    said = {row["is_preferred"] for row in rows} - {None}
    up, direction = is_up(rows[0]["low_score"], rows[0]["high_score"], in_catalog)
    return {
        "scale": axis,
        "n_missing": len({row["model_name"] for row in rows} - used),
        "n_tied": sum(len(some) - 1 for some in at.values()),
        "is_preferred": (True in said) if said else None,
        "higher_is_better": up,
        "direction": direction,
        "points": [point(x, at[x]) for x in sorted(at)],
    }


def curves(rows, axes, directions):
    """Curves by key, in order of first appearance; ``directions`` is a catalog, by metric."""
    groups = {}
    for row in rows:
        groups.setdefault(curve_key(row), []).append(row)
    return {
        key: curve(some, axes, directions.get(key[CURVE_KEY.index("metric")]))
        for key, some in groups.items()
    }


# --- Tables over curve scores, each a dict ---


def is_flagged(score, threshold):
    return score == math.inf or score > threshold


def kept(rows, level):
    """Which rows count: a task and its subtasks must not both."""
    family = ("benchmark", "task", "metric", "model_family", "shots", "variant")
    result = []
    for row in rows:
        aggregate = row["subtask"] == row["task"]
        relatives = [other for other in rows if all(other[c] == row[c] for c in family)]
        alone = all(other["subtask"] == other["task"] for other in relatives)
        if {"all": True, "task": aggregate, "subtask": not aggregate or alone}[level]:
            result.append(row)
    return result


def wilson(count, total, confidence):
    """Wilson (1927) score interval, the usual formula."""
    if not total:
        return NAN, NAN
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    p = count / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    return centre - half, centre + half


def share(part, whole):
    return part / whole if whole else NAN


def metrics_of_emergence(rows, threshold, by, confidence):
    """One dict a metric or type, by name."""
    n = {name: Counter() for name in (
        "n_curves", "n_scored", "n_finite", "n_infinite", "n_flat", "n_too_few_scales",
        "n_flagged", "n_fallen",
    )}  # fmt: skip
    tasks, families, flagged_tasks, types = {}, {}, {}, {}
    for row in rows:
        name, e = row[by], row["emergence_score"]
        task = row["benchmark"], row["task"], row["subtask"]
        n["n_curves"][name] += 1
        n["n_scored"][name] += not math.isnan(e)
        n["n_finite"][name] += math.isfinite(e)
        n["n_infinite"][name] += math.isinf(e)
        n["n_flat"][name] += row["status"] == "flat"
        n["n_too_few_scales"][name] += row["status"] == "too_few_scales"
        n["n_flagged"][name] += is_flagged(e, threshold)
        n["n_fallen"][name] += is_flagged(-e, threshold)
        tasks.setdefault(name, set()).add(task)
        families.setdefault(name, set()).add(row["model_family"])
        types.setdefault(name, set()).add(row["metric_type"])
        flagged_tasks.setdefault(name, set())
        if is_flagged(e, threshold):
            flagged_tasks[name].add(task)
    scored, flags = n["n_scored"].total(), n["n_flagged"].total()
    table = {}
    for name in n["n_curves"]:
        counts = {column: counter[name] for column, counter in n.items()}
        low, high = wilson(counts["n_flagged"], counts["n_scored"], confidence)
        of_curves, of_flags = share(counts["n_scored"], scored), share(counts["n_flagged"], flags)
        table[name] = counts | {
            "n_tasks": len(tasks[name]),
            "n_families": len(families[name]),
            "n_tasks_flagged": len(flagged_tasks[name]),
            "metric_type": ";".join(sorted(types[name])),
            "share_flagged": share(counts["n_flagged"], counts["n_scored"]),
            "share_low": low,
            "share_high": high,
            "share_of_curves": of_curves,
            "share_of_flags": of_flags,
            "flag_ratio": share(of_flags, of_curves),
        }
    return table


def groups_of(keys):
    """Number keys in order of first appearance; return each key's number and the first rows."""
    numbers, first = {}, []
    for row, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(numbers)
            first.append(row)
    return [numbers[key] for key in keys], first


def levenshtein(some, other):
    """Edits from one tuple of tokens to another, by the textbook recursion."""

    @cache
    def edits(i, j):
        if not i or not j:
            return i + j
        return min(
            edits(i - 1, j) + 1,
            edits(i, j - 1) + 1,
            edits(i - 1, j - 1) + (some[i - 1] != other[j - 1]),
        )

    return edits(len(some), len(other))


def upper_tail(count, n, rate):
    """P(X >= count) of a binomial X, summed term by term."""
    return sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(count, n + 1))


def critical_count(n, rate, alpha):
    """The smallest count that is as rare as alpha, equality up to rounding included."""
    return next(c for c in range(n + 2) if upper_tail(c, n, rate) <= alpha * (1 + 1e-12))
