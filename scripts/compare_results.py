"""Hold the results of two versions of this package against each other.

Run the same commands with each version, into a folder of its own, and compare the folders:

    bigbench-meta analyze --out before/study --json > before/study.json
    bigbench-meta score results/ --json > before/score.json
    ...                                                      the same into after/
    python scripts/compare_results.py before after

Every CSV and JSON file of the first folder must be in the second, with the same rows, columns and
keys. Floating-point numbers may differ by 1e-12 of their size; whole numbers and text must be
equal.
What was changed on purpose is listed in REMOVED, REMOVED_ROWS, REWORDED and ADDED, each with
its reason. Exit code 1 if anything else differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE: Final = 1e-12

_PLAIN: Final = "percentile and BCa intervals contain the truth in 0 to 3% of the page's examples"
REMOVED: Final[dict[str, str]] = {
    f"{statistic}_{kind}_{end}": _PLAIN
    for statistic in ("emergence", "linearity")
    for kind in ("percentile", "bca")
    for end in ("low", "high")
}
"""Columns, keys and tables that the second version need not have, by name, each with its reason."""

REMOVED_ROWS: Final[dict[tuple[str, str], str]] = dict.fromkeys(
    [
        ("model", "conditional_logit"),
        ("method", "conditional_logit"),
    ],
    "in a matched set it estimates the common odds ratio again, which stands in the same table",
)
"""Rows of tables and items of lists that it need not have, by a column and its value there."""

REWORDED: Final[dict[str, str]] = dict.fromkeys(
    ["limitations", "meaning", "message"], "plain English"
)
"""Columns and keys whose sentences may differ as long as both versions have one."""


_BASE_RATE: Final = "a share of claims or flags says little without the share of tasks or curves"
ADDED: Final[dict[str, str]] = {
    **dict.fromkeys(
        [
            "n_claims_top_two",
            "n_tasks",
            "n_tasks_top_two",
            "share_of_tasks_top_two",
            "share_top_two_of_curves",
        ],
        _BASE_RATE,
    ),
    "pretraining_loss": "a scale axis of observations, empty where files do not give it",
    **dict.fromkeys(
        [
            "convexity",
            "convexity_p",
            "bend",
            "bend_low",
            "bend_high",
            "convexity_status",
        ],
        "the convexity class of Hu et al. (2024)",
    ),
    "sets": "each embedded set is studied by itself; of several there is no total",
    "metric_change": "the study compares the same outputs under two metrics",
    "header": "all charts share one theme, of which this part shows only in those with panels",
}
"""Keys that only the second version has."""


def differences(before: Any, after: Any, where: str) -> Iterator[str]:
    """Yield every place where two JSON documents differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() - after.keys() - REMOVED.keys():
            yield f"{where}.{key}: missing"
        for key in after.keys() - before.keys() - ADDED.keys():
            yield f"{where}.{key}: new"
        for key in before.keys() & after.keys():
            if key in REWORDED and sentences(before[key]) and sentences(after[key]):
                continue
            yield from differences(before[key], after[key], f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        before = [item for item in before if not removed(item)]
        if len(before) != len(after):
            yield f"{where}: {len(before)} items, now {len(after)}"
        for place, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from differences(old, new, f"{where}[{place}]")
    elif not same(before, after):
        yield f"{where}: {before!r}, now {after!r}"


def removed(item: Any) -> bool:
    """Return whether an item of a list is one of the removed rows."""
    return isinstance(item, dict) and any(item.get(key) == value for key, value in REMOVED_ROWS)


def sentences(value: Any) -> bool:
    """Return whether a value is a text, or a list of texts, that says something."""
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(text, str) and text for text in texts)


def same(before: Any, after: Any) -> bool:
    """Return whether two values are equal; floating-point numbers within the tolerance."""
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(before) is type(after) and bool(before == after)


def cell(text: str) -> str | float:
    """Return a cell of a CSV file: text, unless it is written as a floating-point number."""
    try:
        return float(text) if set(text) & set(".e") else text
    except ValueError:
        return text


def document(path: Path) -> Any:
    """Return the content of a file: a JSON document, or a table as a list of rows."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".json":
            return json.load(file)
        return [{key: cell(text) for key, text in row.items()} for row in csv.DictReader(file)]


def main() -> int:
    """Compare two folders and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    folders = parser.parse_args()
    paths = [
        path.relative_to(folders.before)
        for path in sorted(folders.before.rglob("*"))
        if path.suffix in {".csv", ".json"} and path.stem not in REMOVED
    ]
    found: Counter[Path] = Counter()
    for path in paths:
        if not (folders.after / path).is_file():
            print(f"{path}: missing")
            found[path] += 1
            continue
        old, new = document(folders.before / path), document(folders.after / path)
        for difference in differences(old, new, str(path)):
            found[path] += 1
            if found[path] <= 5:
                print(difference)
    print(
        f"{len(paths)} files compared, {len(found)} differ, "
        f"{len(REMOVED) + len(REMOVED_ROWS)} names removed, {len(REWORDED)} reworded"
    )
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
