"""What the catalog says of the metrics that samples can be scored with, against the metrics."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.schema import SAMPLES, conform
from bigbench_meta.metrics.definitions import METRICS, Examples, named_metrics
from bigbench_meta.metrics.rescore import rescore

NAMES = [*METRICS, "pass@1", "pass@2", "subset_accuracy_2", "mean_log_pass_rate"]
KEY = {"benchmark": "mine", "task": "sums", "model_family": "f", "model_name": "1b"}
VALUES = {
    "correct": 1.0, "output": "a", "targets": ["a", "b"], "target_values": [1.0, 0.0],
    "target_logprobs": [-0.5, -1.0],
}  # fmt: skip


def catalog_says(names):
    keys = pd.DataFrame({"benchmark": "", "task": "", "metric": names})
    return metric_catalog().lookup(keys).set_axis(names)


def is_scored(name, columns):
    samples = [KEY | {"example_id": i} | {c: VALUES[c] for c in columns} for i in "xxyy"]
    return not rescore(pd.DataFrame(samples), [name])[0].empty


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_needs_what_the_catalog_says(name):
    """Samples with these columns have a score, and with any of them missing none."""
    for needs in metric_catalog().needs(name):
        assert is_scored(name, needs)
        for missing in needs:
            rest = [column for column in needs if column != missing]
            assert not is_scored(name, rest)


def expected_score(name, forecast, truth):
    """Return the expected score if each option is right with its true probability."""
    samples = [
        KEY | {
            "example_id": str(i), "targets": [str(j) for j in range(len(truth))],
            "target_logprobs": np.log(forecast), "target_values": np.eye(len(truth))[i],
        }
        for i in range(len(truth))
    ]  # fmt: skip
    metric = METRICS[name]
    score, weight = metric.add(Examples(conform(pd.DataFrame(samples), SAMPLES))).T
    expected = truth @ (score / weight)
    return expected if catalog_says([name])["higher_is_better"].iloc[0] else -expected


OF_CHOICES = [name for name in METRICS if "target_logprobs" in str(metric_catalog().needs(name))]
IS_PROPER = catalog_says(OF_CHOICES)["strictly_proper"]
PROBABILITIES = st.lists(st.integers(1, 20), min_size=3, max_size=3).map(
    lambda parts: np.array(parts) / sum(parts)
)


@pytest.mark.parametrize("name", [name for name in OF_CHOICES if IS_PROPER[name]])
@settings(max_examples=10)
@given(truth=PROBABILITIES, forecast=PROBABILITIES)
def test_strictly_proper_is_that_every_other_forecast_is_worse(name, truth, forecast):
    if np.abs(truth - forecast).max() > 1e-9:
        assert expected_score(name, forecast, truth) < expected_score(name, truth, truth)


@pytest.mark.parametrize("name", [name for name in OF_CHOICES if not IS_PROPER[name]])
def test_not_strictly_proper_is_that_some_other_forecast_is_as_good(name):
    truth = np.array([0.5, 0.3, 0.2])
    forecasts = [[0.6, 0.2, 0.2], [0.98, 0.01, 0.01], [0.33, 0.33, 0.34]]
    best = max(expected_score(name, np.array(forecast), truth) for forecast in forecasts)
    assert best >= expected_score(name, truth, truth)


def test_what_does_not_see_probabilities_is_not_proper():
    others = [name for name in [*NAMES, "brier_score>=0.5"] if name not in OF_CHOICES]
    assert not catalog_says(others)["strictly_proper"].any()
    assert catalog_says(others)["strictly_proper"].notna().all()


def test_a_cut_metric_needs_what_the_metric_needs():
    (cut,) = named_metrics(["brier_score>=0.5"])
    assert cut.needs == METRICS["brier_score"].needs == metric_catalog().needs("brier_score")


def test_the_page_agrees_with_the_catalog():
    """docs/rescoring.md lists every metric, with the catalog's needs, properness and direction."""
    page = (ROOT / "docs/rescoring.md").read_text("utf-8")
    (table,) = re.findall(r"^\| metric \|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]
    found = {name: row[2:] for row in rows for name in re.findall("`([^`]+)`", row[0])}
    page_names = {"pass@2": "pass@K", "subset_accuracy_2": "subset_accuracy_K"}
    names = [name for name in NAMES if name != "pass@1"]
    for name, entry in zip(names, catalog_says(names).to_dict("records"), strict=True):
        proper = "yes" if entry["strictly_proper"] else "no"
        better = "higher" if entry["higher_is_better"] else "lower"
        assert found.pop(page_names.get(name, name)) == [entry["needs"], proper, better]
    assert set(found) == {"logged:NAME", "METRIC>=NUMBER", "METRIC<=NUMBER"}
