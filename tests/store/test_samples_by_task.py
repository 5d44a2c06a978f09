"""Intervals from stored samples that are read one task at a time are those of all samples."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bigbench_meta as bm
from bigbench_meta.core.errors import StoreError
from bigbench_meta.core.execute import Execution
from bigbench_meta.inference.uncertainty import curve_intervals, examples_of_curves
from bigbench_meta.metrics import pass_rates
from bigbench_meta.metrics.rescore import rescore
from bigbench_meta.readers import ReadOptions
from bigbench_meta.store import manifest
from bigbench_meta.store import store as store_module
from bigbench_meta.store.samples import StoredSamples

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"1m": 10**6, "10m": 10**7, "100m": 10**8, "1b": 10**9, "10b": 10**10}
METRICS = ["exact_str_match", "per_token_accuracy"]
N = 40


def write_samples(folder: Path, family: str, tasks: list[str]) -> None:
    """Samples of five models that write 1234 with more and more of its digits right."""
    rng = np.random.default_rng(len(family))
    folder.mkdir()
    for task in tasks:
        for p, (model, size) in zip((0.2, 0.5, 0.7, 0.9, 0.95), SIZES.items(), strict=True):
            outputs = ["".join(c if rng.random() < p else "x" for c in "1234") for _ in range(N)]
            columns = {
                "benchmark": "b", "task": task, "model_family": family, "model_name": model,
                "total_params": size, "example_id": [str(number) for number in range(N)],
                "targets": [["1234"]] * N, "output": outputs,
                "correct": [float(output == "1234") for output in outputs],
            }  # fmt: skip
            frame = pd.DataFrame(columns)
            frame.to_parquet(folder / f"samples_{task}_{family}_{model}.parquet", index=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> bm.Store:
    """A store of three parts with the samples of three tasks and two families, rescored."""
    folder = tmp_path_factory.mktemp("samples")
    store = bm.Store(folder / "store")
    for family, tasks in (("Fam", ["alpha", "beta"]), ("Other", ["alpha"]), ("Fam", ["delta"])):
        files = folder / f"{family}{len(tasks)}{tasks[0]}"
        write_samples(files, family, tasks)
        store.ingest(files, options=ReadOptions(samples=True))
    store.keep(rescore(store.samples(), METRICS)[0])
    return store


def curves_of(store: bm.Store) -> Any:
    return bm.build_curves(store.observations(metric=METRICS))


def test_examples_are_those_of_all_samples(store: bm.Store) -> None:
    curves = curves_of(store)
    found = examples_of_curves(curves, store.samples_by_task())
    expected = examples_of_curves(curves, store.samples())
    assert list(found) == list(expected)
    assert len(found) == 4  # of exact_str_match alone, without scores of single examples
    for row, examples in found.items():
        assert examples.names.tolist() == expected[row].names.tolist()
        np.testing.assert_array_equal(examples.total, expected[row].total)
        np.testing.assert_array_equal(examples.count, expected[row].count)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.full)])
def test_evidence_is_that_of_all_samples(store: bm.Store, jobs: int) -> None:
    curves = curves_of(store)
    options: dict[str, Any] = {"inference": True, "n_boot": 99}
    found = bm.score_curves(
        curves, samples=store.samples_by_task(), execution=Execution(jobs=jobs), **options
    )
    pd.testing.assert_frame_equal(
        found, bm.score_curves(curves, samples=store.samples(), **options)
    )
    assert (found["noise"] == "samples").sum() == 4


def test_pairs_are_those_of_all_samples(store: bm.Store) -> None:
    curves = curves_of(store)
    found = bm.metric_change(curves, samples=store.samples_by_task(), n_boot=99)
    expected = bm.metric_change(curves, samples=store.samples(), n_boot=99)
    pd.testing.assert_frame_equal(found, expected)
    assert found["joint"].all()


def test_choices_are_those_of_all_samples(store: bm.Store) -> None:
    curves = curves_of(store)
    found = bm.induced_emergence(curves, samples=store.samples_by_task())
    expected = bm.induced_emergence(curves, samples=store.samples())
    pd.testing.assert_frame_equal(found.tried, expected.tried)
    assert found.largest["basis"].eq("examples").any()


def test_only_the_samples_of_one_task_are_read(
    store: bm.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[set[str]] = []
    read = StoredSamples.of_task

    def noted(self: StoredSamples, task: str, **options: Any) -> pd.DataFrame:
        frame = read(self, task, **options)
        tasks.append(set(frame["task"]))
        return frame

    monkeypatch.setattr(StoredSamples, "of_task", noted)
    curve_intervals(curves_of(store), samples=store.samples_by_task(), n_boot=99)
    assert sorted(map(sorted, tasks)) == [["alpha"], ["beta"], ["delta"]]


def test_samples_of_a_family_and_of_some_columns(store: bm.Store) -> None:
    samples = store.samples_by_task(model_family="Other")
    whole = store.samples(task="alpha", model_family="Other")
    pd.testing.assert_frame_equal(samples.of_task("alpha"), whole)
    some = samples.of_task("alpha", columns=["output", "metrics"])
    pd.testing.assert_frame_equal(some, whole[["output", "metrics"]])
    assert samples.of_task("gamma").empty


def test_a_store_that_has_changed_is_not_read_on(store: bm.Store, tmp_path: Path) -> None:
    shutil.copytree(store.path, tmp_path / "s")
    other = bm.Store(tmp_path / "s")
    samples = other.samples_by_task()
    other.remove("*alpha*")
    with pytest.raises(StoreError, match="has changed while its samples were read"):
        samples.of_task("beta")


def test_a_batch_of_samples_is_all_that_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "_ROW_GROUP", 500)
    monkeypatch.setattr(store_module, "_BATCH_ROWS", 1000)
    n = 50_000
    columns = {
        "benchmark": "b", "task": "t", "model_family": "f", "model_name": "1b",
        "example_id": [str(number) for number in range(n)], "output": ["x" * 100] * n,
    }  # fmt: skip
    pd.DataFrame(columns).to_parquet(tmp_path / "samples_1b.parquet", index=False)
    store = bm.Store(tmp_path / "store")
    store.ingest(tmp_path / "samples_1b.parquet", options=ReadOptions(samples=True))
    pool = pa.default_memory_pool()
    before, found = pool.bytes_allocated(), []
    for batch in store.sample_batches():
        time.sleep(0.005)  # meanwhile nothing may be read ahead
        found.append((batch.num_rows, pool.bytes_allocated() - before))
    assert sum(rows for rows, _ in found) == n
    assert max(rows for rows, _ in found) <= 1000
    assert max(size for _, size in found) < 100 * n / 4


def test_counts_of_problems_do_not_depend_on_when_they_are_added_up(
    store: bm.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rescore(store.samples(), ["pass@1", "mean_log_pass_rate"])
    monkeypatch.setattr(pass_rates, "_PENDING", 0)
    batches = [batch.slice(begin, 7) for batch in store.sample_batches()
               for begin in range(0, batch.num_rows, 7)]  # fmt: skip
    for one, other in zip(
        rescore(batches, ["pass@1", "mean_log_pass_rate"]), expected, strict=True
    ):
        pd.testing.assert_frame_equal(one, other)
