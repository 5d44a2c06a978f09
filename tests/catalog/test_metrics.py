"""The metric catalog: the packaged one, lookup, and a user's own."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pandas as pd
import pytest

from bigbench_meta.catalog.embedded import EMBEDDED_SETS
from bigbench_meta.catalog.metrics import METRIC_TYPES, MetricCatalog, metric_catalog
from bigbench_meta.catalog.published import (
    bigbench_tasks,
    paper_metrics,
)
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.readers import load_embedded

HEADER = "metric,metric_type,higher_is_better"
FULL = "metric,benchmark,task_pattern,metric_type,higher_is_better,low,high,step,unit,reason,source"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a catalog from lines."""

    def read_lines(*lines, encoding="utf-8"):
        path = tmp_path / "own.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return MetricCatalog.read(path)

    return read_lines


def lookup(entries, *keys):
    return entries.lookup(pd.DataFrame(keys, columns=["benchmark", "task", "metric"]))


def names_in(column):
    return {name for names in column for name in names.split(";") if name}


# --- The packaged catalog ---


def test_entries_are_within_their_enumerations():
    entries = metric_catalog().entries
    assert set(entries["metric_type"]) <= set(METRIC_TYPES)
    assert entries["higher_is_better"].dtype == "boolean"
    assert (entries["metric"].str.strip() == entries["metric"]).all()
    assert (entries["metric"] != "").all()
    assert not entries.duplicated(["metric", "benchmark", "task_pattern"]).any()


def test_every_entry_has_a_unit_a_reason_and_a_source():
    text = metric_catalog().entries[["unit", "reason", "source"]]
    assert (text.apply(lambda column: column.str.strip()) != "").all(axis=None)


def test_ranges():
    entries = metric_catalog().entries
    bounded = entries[entries["low"].notna() & entries["high"].notna()]
    assert len(bounded) > 0
    assert (bounded["low"] < bounded["high"]).all()
    assert np.isfinite(bounded[["low", "high"]]).all(axis=None)
    step = entries["step"].dropna()
    assert (step > 0).all()
    assert np.isfinite(step).all()
    # One example moves a mean by at most the whole range over their number.
    stepped = bounded[bounded["step"].notna()]
    assert (stepped["step"] <= stepped["high"] - stepped["low"]).all()
    # One example that is right or wrong moves it by the whole range.
    binary = entries[entries["binary"].fillna(value=False)]
    assert (binary["step"] == binary["high"] - binary["low"]).all()
    assert not binary["metric_type"].isin(["linear", "continuous"]).any()


@pytest.mark.parametrize(
    ("unit", "low", "high"),
    [("proportion", -1, 1), ("percent", 0, 100)],
)
def test_ranges_fit_their_unit(unit, low, high):
    entries = metric_catalog().entries
    chosen = entries[entries["unit"] == unit]
    assert len(chosen) > 0
    assert (chosen["low"].dropna() >= low).all()
    assert (chosen["high"].dropna() <= high).all()


@pytest.mark.parametrize("column", ["preferred_metric", "metrics"])
def test_every_metric_of_bigbench_has_an_entry(column):
    names = names_in(bigbench_tasks()[column])
    assert {"multiple_choice_grade", "exact_str_match", "bleu"} <= names
    assert names - set(metric_catalog().entries["metric"]) == set()


def test_every_metric_of_the_paper_has_an_entry():
    assert len(set(paper_metrics())) == 39
    found = lookup(metric_catalog(), *(("BIG-bench", "any_task", name) for name in paper_metrics()))
    assert (found["reason"].fillna("") != "").all()


@pytest.mark.parametrize("name", [entry.name for entry in EMBEDDED_SETS])
def test_every_embedded_score_has_an_entry(name):
    keys = load_embedded(name)[["benchmark", "task", "metric"]].drop_duplicates()
    found = metric_catalog().lookup(keys)
    assert (found["reason"].fillna("") != "").all()
    assert found["higher_is_better"].notna().all()
    untyped = keys[found["metric_type"] == "unknown"]
    # An average over tasks with metrics of several types has none.
    assert set(untyped["task"]) <= {"SuperGLUE average"}


@pytest.mark.parametrize("name", [entry.name for entry in EMBEDDED_SETS])
def test_embedded_scores_are_within_the_range_of_their_metric(name):
    observations = load_embedded(name)
    entry = metric_catalog().lookup(observations)
    score = observations["score"].to_numpy()
    assert not (score < entry["low"].to_numpy()).any()
    assert not (score > entry["high"].to_numpy()).any()


@pytest.mark.parametrize(
    ("benchmark", "task", "metric", "metric_type", "up"),
    [
        # Schaeffer et al. 2023, sec. 2 and 4.
        ("BIG-bench", "any", "multiple_choice_grade", "discontinuous", True),
        ("BIG-bench", "any", "exact_str_match", "nonlinear", True),
        ("gpt3", "arithmetic 3D+", "acc", "nonlinear", True),
        ("gpt3", "HellaSwag", "acc", "discontinuous", True),
        ("gpt3", "LAMBADA", "ppl", "nonlinear", False),
        ("any", "any", "brier_score", "continuous", False),
        ("any", "any", "token_edit_distance", "linear", False),
        ("any", "any", "log_likelihood", "linear", True),
    ],
)
def test_judgement(benchmark, task, metric, metric_type, up):
    row = lookup(metric_catalog(), (benchmark, task, metric)).iloc[0]
    assert (row["metric_type"], row["higher_is_better"]) == (metric_type, up)


# --- Lookup ---

SPECIFIC = [
    FULL,
    "m,,,unknown,true,,,,,anything,s",
    "m,,t*,unknown,true,,,,,pattern,s",
    "m,b,,unknown,true,,,,,benchmark,s",
    "m,b,t*,unknown,true,,,,,both,s",
]


@pytest.mark.parametrize(
    ("benchmark", "task", "expected"),
    [
        ("b", "tea", "both"),
        ("b", "coffee", "benchmark"),
        ("c", "tea", "pattern"),
        ("c", "coffee", "anything"),
        ("b", "Tea", "benchmark"),  # patterns mind case
    ],
)
@pytest.mark.parametrize("order", [slice(1, None), slice(None, 0, -1)])
def test_the_most_specific_entry_counts(read, benchmark, task, expected, order):
    own = read(FULL, *SPECIFIC[order])
    assert lookup(own, (benchmark, task, "m"))["reason"].tolist() == [expected]


@pytest.mark.parametrize("order", [slice(0, 4), slice(3, 0, -1)])
def test_a_benchmark_goes_before_a_pattern(read, order):
    own = read(FULL, *[line for line in SPECIFIC[order] if line != FULL])
    assert lookup(own, ("b", "tea", "m"))["reason"].tolist() == ["benchmark"]


def test_the_first_of_two_patterns_counts(read):
    lines = ["m,,*a*,unknown,true,,,,,first,s", "m,,*b*,unknown,true,,,,,second,s"]
    keys = [("x", task, "m") for task in ("a", "b", "ab")]
    found = lookup(read(FULL, *lines), *keys)["reason"].tolist()
    assert found == ["first", "second", "first"]
    found = lookup(read(FULL, *lines[::-1]), *keys)["reason"].tolist()
    assert found == ["first", "second", "second"]


def test_lookup_equals_a_loop(read):
    own = read(*SPECIFIC, "n,c,,linear,false,,,,,n,s")
    keys = list(product("bcd", ["tea", "t", "x"], "mnz")) * 2
    found = lookup(own, *keys)
    for (benchmark, task, metric), row in zip(keys, found.to_dict("records"), strict=True):
        alone = lookup(own, (benchmark, task, metric)).to_dict("records")[0]
        np.testing.assert_equal(row, alone)


def test_a_metric_without_entry_is_unknown(read):
    keys = pd.DataFrame({"benchmark": ["b"], "task": ["t"], "metric": ["M"]}, index=["row"])
    found = read(*SPECIFIC).lookup(keys)
    assert found.index.tolist() == ["row"]
    row = found.loc["row"]
    assert row["metric_type"] == "unknown"
    assert row.drop("metric_type").isna().all()


@pytest.mark.parametrize("dtype", ["str", "category", object])
def test_lookup_keeps_order_index_and_repetitions(dtype):
    metrics = ["ppl", "acc", "ppl", "nothing"]
    keys = pd.DataFrame({"metric": metrics, "task": "LAMBADA", "benchmark": "gpt3", "more": 1})
    found = metric_catalog().lookup(keys.astype({"metric": dtype}).set_axis([3, 3, 1, 0]))
    assert found.index.tolist() == [3, 3, 1, 0]
    assert found["unit"].fillna("").tolist() == ["perplexity", "percent", "perplexity", ""]
    assert list(found.columns) == [
        "unit", "low", "high", "higher_is_better", "metric_type", "step", "binary",
        "strictly_proper", "needs", "reason", "source",
    ]  # fmt: skip


def test_lookup_of_nothing():
    assert lookup(metric_catalog()).shape == (0, 11)


def test_lookup_in_an_empty_catalog(read):
    assert lookup(read(HEADER), ("b", "t", "m"))["metric_type"].tolist() == ["unknown"]


# --- A user's own catalog ---


def test_least_catalog(read):
    entry = read(HEADER, "m,linear,true", "n,unknown,").entries
    assert entry["higher_is_better"].tolist() == [True, pd.NA]
    assert entry["metric_type"].tolist() == ["linear", "unknown"]
    assert (entry[["benchmark", "task_pattern", "unit", "reason"]] == "").all(axis=None)
    assert entry[["low", "high", "step"]].isna().all(axis=None)


def test_full_catalog(read):
    own = read(FULL, 'm,b,t*,linear,false,0,2.5,1,cm,"a, b",s')
    assert own.entries.to_dict("records") == [
        {
            "metric": "m", "benchmark": "b", "task_pattern": "t*", "unit": "cm", "low": 0.0,
            "high": 2.5, "higher_is_better": False, "metric_type": "linear", "step": 1.0,
            "binary": None, "strictly_proper": None, "needs": "", "reason": "a, b", "source": "s",
        }
    ]  # fmt: skip


def test_byte_order_mark_of_a_spreadsheet(read):
    assert read(HEADER, "m,linear,true", encoding="utf-8-sig").entries["metric"].tolist() == ["m"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["metric,metric_type", "m,linear"], "own.csv: missing column higher_is_better"),
        (["name,type"], "own.csv: missing column metric, higher_is_better, metric_type"),
        ([HEADER, "m,linear,true", "n,bumpy,true"], "metric_type: 'bumpy' in line 3\n.*continuous"),
        ([HEADER, "m,Linear,true"], "metric_type: 'Linear' in line 2"),
        ([HEADER, "m,,true"], "metric_type: '' in line 2"),
        ([HEADER, "m,linear,yes"], "higher_is_better: 'yes' in line 2\n.*true, false, empty"),
        (
            [HEADER + ",strictly_proper", "m,linear,true,perhaps"],
            "strictly_proper: 'perhaps' in li",
        ),
        (
            [HEADER + ",needs", "m,linear,true,output and target"],
            "needs: .* line 2: 'target' is no",
        ),
        ([HEADER + ",step", "m,linear,true,many"], "own.csv: step: not a number: .*'many'"),
        ([HEADER + ",low", "m,linear,true,-"], "own.csv: low: not a number: .*'-'"),
        ([HEADER, "m,linear,true", "m,linear,false"], r"own.csv: two entries for \['m', '', ''\]"),
        ([FULL, *["m,b,t*,linear,true,,,,,,"] * 2], r"two entries for \['m', 'b', 't\*'\]"),
    ],
)
def test_bad_catalog(read, lines, message):
    with pytest.raises(SchemaError, match=message):
        read(*lines)


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        ([], "utf-8"),
        ([HEADER, "m,linear,true", "n,linear,true,too,many"], "utf-8"),
        ([HEADER, "ä,linear,true"], "latin-1"),
    ],
)
def test_unreadable_catalog(read, lines, encoding):
    with pytest.raises(InputError, match=r"own.csv: cannot be read( as CSV)?: ."):
        read(*lines, encoding=encoding)


def test_no_such_catalog(tmp_path):
    with pytest.raises(InputError, match=r"none.csv: cannot be read: .*No such file"):
        MetricCatalog.read(tmp_path / "none.csv")


def test_own_entries_go_before_the_packaged_ones(read):
    # Also before more specific ones: acc has an entry for gpt3's arithmetic.
    own = read(HEADER, "acc,linear,false")
    both = metric_catalog().overridden_by(own)
    keys = [("gpt3", "arithmetic 3D+", "acc"), ("gpt3", "HellaSwag", "acc")]
    found = lookup(both, *keys)
    assert found["metric_type"].tolist() == ["linear", "linear"]
    assert found["higher_is_better"].tolist() == [False, False]
    assert lookup(both, ("gpt3", "LAMBADA", "ppl"))["metric_type"].tolist() == ["nonlinear"]
    assert lookup(metric_catalog(), *keys)["metric_type"].tolist() == ["nonlinear", "discontinuous"]


def test_overriding_by_nothing_changes_nothing(read):
    both = metric_catalog().overridden_by(read(HEADER))
    found = lookup(both, ("gpt3", "LAMBADA", "ppl"), ("x", "y", "z"))
    assert found["metric_type"].tolist() == ["nonlinear", "unknown"]
    assert found["higher_is_better"].tolist() == [False, pd.NA]
    assert len(both.entries) == len(metric_catalog().entries)


def test_a_pattern_over_tasks_or_metrics_cannot_hang(tmp_path):
    path = tmp_path / "mine.csv"
    rows = [f"m,{'*a' * 40}b,linear,true", f"{'x*' * 40}y,,linear,true"]
    path.write_text("\n".join(["metric,task_pattern,metric_type,higher_is_better", *rows]) + "\n")
    keys = pd.DataFrame({"benchmark": "b", "task": ["a" * 5000], "metric": ["m"]})
    started = time.process_time()
    found = MetricCatalog.read(path).lookup(pd.concat([keys, keys.assign(metric="x" * 5000)]))
    assert set(found["metric_type"]) == {"unknown"}
    assert time.process_time() - started < 5
