"""Commands on a Dask cluster write the bytes that they write without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import run, tree_files, write_tree

import bigbench_meta as bm
from bigbench_meta.core.execute import Execution, kept_workers
from bigbench_meta.core.schema import SAMPLES, conform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLUSTER = ("--cluster", "local", "--jobs", 2)


@pytest.fixture(autouse=True)
def _kept() -> Iterator[None]:
    """Let the commands of a test share one cluster, as those of a program would not."""
    with kept_workers(Execution(cluster="local", jobs=2)):
        yield


def samples(folder: Path) -> Path:
    rows = [
        {"benchmark": "b", "task": "sums", "model_family": "f", "model_name": f"{size}b",
         "total_params": size * 10**9, "example_id": str(number), "targets": ["12"],
         "output": "12" if number % size else "1"}
        for size in (1, 2, 4) for number in range(50)
    ]  # fmt: skip
    path = folder / "samples.parquet"
    conform(pd.DataFrame(rows), SAMPLES).to_pandas().to_parquet(path)
    return path


@pytest.mark.usefixtures("no_drawing")
def test_reading_rescoring_and_fitting(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", tree_files(["a", "b"], {f"{k}m": k * 10**6 for k in (1, 2, 4)}))
    log = samples(tmp_path)
    for name, options in (("here", ()), ("there", CLUSTER)):
        out = tmp_path / name
        run("ingest", tmp_path / "tree", "--store", out / "store", *options)
        metrics = ("--metric", "exact_str_match", "--metric", "token_edit_distance")
        run("rescore", log, *metrics, *options, "-o", out / "scores.csv")
        run("shapes", "--embedded", "gpt3", "--task", "LAMBADA", *options, "-o", out / "fits.csv")
    for file in ("scores.csv", "fits.csv"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()
    stores = [bm.Store(tmp_path / name / "store") for name in ("here", "there")]
    pd.testing.assert_frame_equal(*(store.observations() for store in stores))
    assert len(stores[0].observations())


@pytest.mark.full
@pytest.mark.usefixtures("no_drawing")
def test_a_study(tmp_path: Path) -> None:
    for name, options in (("here", ("--jobs", 1)), ("there", CLUSTER)):
        given = ("--embedded", "gpt3", "--replicates", 99, *options)
        run("analyze", *given, "--out", tmp_path / name)
    tables = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "tables").iterdir()}
        for name in ("here", "there")
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) > 20
