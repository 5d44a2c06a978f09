"""Samples tables: Parquet files of anyone's samples, sound, spoilt and large."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import plain, run_json

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import SAMPLES, conform
from bigbench_meta.readers import ProblemLog
from bigbench_meta.readers.formats import samples_table as module
from bigbench_meta.readers.formats.values import FileLog

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
FULL = [
    {
        "benchmark": "B", "task": "NA", "subtask": "001", "model_family": 'a "b"',
        "model_name": "1e3", "shots": 0, "variant": "true",
        "settings": '{"limit": "10"}', "replicate": "01",
        "total_params": 2**52 + 1, "non_embedding_params": 7,
        "flop_matched_non_embedding_params": 5, "train_flops": 3.14e23, "train_tokens": 1e9,
        "pretraining_loss": 2.75, "example_id": "00", "input_hash": "ab", "targets": ["x", ""],
        "target_values": [1.0, 0.5], "target_logprobs": [-0.5, -np.inf], "output": "",
        "correct": 0.5, "metrics": [("mse", 0.1 + 0.2), ("a,b", -1e300)], "source": "line\n2",
    },
    dict.fromkeys(SAMPLES.names) | {
        "benchmark": "B", "task": "α→β", "subtask": "α→β", "model_family": "None",
        "model_name": "null", "example_id": "nan", "source": "x",
    },
]  # fmt: skip
GIVEN = {"benchmark": "B", "task": "t", "model_family": "F", "model_name": "1b"}
GIVEN_COLUMNS = {name: [value] * 30 for name, value in GIVEN.items()}


def frame(**columns: Any) -> pd.DataFrame:
    """Return three samples that differ in their example alone."""
    return pd.DataFrame(GIVEN | {"example_id": ["a", "b", "c"]} | columns)


def read(
    columns: pd.DataFrame | pa.Table, tmp_path: Path, **options: Any
) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    """Return samples and problems (field, reason, severity) of one table, through a store."""
    table = columns if isinstance(columns, pa.Table) else pa.Table.from_pandas(columns)
    pq.write_table(table, tmp_path / "samples_x.parquet", **options)
    return ingested(tmp_path / "samples_x.parquet", tmp_path)


def ingested(path: Path, tmp_path: Path) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    store = bm.Store(tmp_path / "store")
    summary = store.ingest([path], options=bm.readers.ReadOptions(samples=True))
    batches = list(store.sample_batches(SAMPLES.names))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert summary.samples == len(rows)
    assert summary.observations == 0
    problems = plain(summary.problems)
    return rows, [(p["field"], p["reason"], p["severity"]) for p in problems]


@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_every_column_survives(tmp_path: Path, compression: str) -> None:
    table = pa.Table.from_pylist(FULL, schema=SAMPLES.arrow)
    assert read(table, tmp_path, compression=compression) == (FULL, [])


def test_what_pandas_writes_is_read(tmp_path: Path) -> None:
    """Texts that are not encoded, dicts as structs, whole numbers with gaps as floats."""
    rows, problems = read(
        frame(
            example_id=[0, 1, 2], shots=[-1.0, np.nan, 2.0], correct=[True, False, None],
            total_params=[1e9, 1e9, np.nan], train_flops=[10**18, 10**18, 1],
            targets=[["1"], np.array(["2", "3"]), None], output=["", "x", None],
            metrics=[{"mse": 0.5}, {"mse": 1, "acc": 0}, None], variant=["", "v", None],
        ),
        tmp_path,
    )  # fmt: skip
    assert problems == []
    label = (tmp_path / "samples_x.parquet").as_posix()
    kept = ["example_id", "subtask", "shots", "correct", "total_params", "train_flops", "targets",
            "output", "metrics", "variant", "source"]  # fmt: skip
    assert [[row[name] for name in kept] for row in rows] == [
        ["0", "t", None, 1.0, 10**9, 1e18, ["1"], "", [("mse", 0.5)], None, label],
        ["1", "t", None, 0.0, 10**9, 1e18, ["2", "3"], "x", [("mse", 1.0), ("acc", 0.0)], "v",
         label],
        ["2", "t", 2, None, None, 1.0, None, None, [], None, label],
    ]  # fmt: skip


@pytest.mark.parametrize("column", SAMPLES.required)
def test_missing_column(tmp_path: Path, column: str) -> None:
    rows, problems = read(frame().drop(columns=column), tmp_path)
    assert (rows, problems) == ([], [(column, "required column missing", "error")])


def test_table_of_scores_under_the_name_of_samples(tmp_path: Path) -> None:
    table = frame(score=0.5, metric="m").drop(columns="example_id")
    reason = "required column missing; a table of scores must not be named samples*.parquet"
    assert read(table, tmp_path) == ([], [("example_id", reason, "error")])


@pytest.mark.parametrize(
    ("column", "values", "expected", "reason"),
    [
        ("shots", [0, 1.5, 2], [0, None, 2], "1.5 does not fit int64: left empty"),
        ("shots", [0, -2, 2], [0, None, 2], "-2 is out of range: left empty"),
        ("total_params", [7, 0, 7], [7, None, 7], "0 is out of range: left empty"),
        ("train_flops", [1.0, np.inf, None], [1.0, None, None], "inf is out of range: left empty"),
        ("correct", ["1", "high", ""], [1.0, None, None], "'high' does not fit double: left empty"),
        ("correct", [0.0, 1.5, 1.0], [0.0, None, 1.0], "1.5 is out of range: left empty"),
        ("target_values", [["1"], ["x"], None], [[1.0], None, None],
         "['x'] does not fit list<item: double>: left empty"),
        ("targets", [["a"], ["b", None], []], [["a"], None, []],
         "['b', None] has an empty item: left empty"),
    ],
)  # fmt: skip
def test_value_that_does_not_fit(
    tmp_path: Path, column: str, values: list[Any], expected: list[Any], reason: str
) -> None:
    rows, problems = read(frame(**{column: values}), tmp_path)
    assert [row[column] for row in rows] == expected
    assert problems == [(f"row 2, {column}", reason, "error")]


def test_column_of_another_kind_is_named_once(tmp_path: Path) -> None:
    columns = {name: values[:3] for name, values in GIVEN_COLUMNS.items()}
    columns |= {"example_id": ["a", "b", "c"], "targets": ["abc"] * 3, "unheard_of": [1] * 3}
    rows, problems = read(pa.table(columns), tmp_path, row_group_size=1)
    assert [row["targets"] for row in rows] == [None] * 3
    assert problems == [
        ("unheard_of", "unknown column: ignored", "warning"),
        ("targets", "string does not fit list<item: string>: left empty", "error"),
    ]


def test_rows_without_a_required_value(tmp_path: Path) -> None:
    ids = ["a", None, "", "d", *[None] * 5, "z"]
    rows, problems = read(
        pd.DataFrame(GIVEN | {"example_id": ids, "task": ["t"] * 3 + [None] * 6 + ["t"]}), tmp_path
    )
    assert [row["example_id"] for row in rows] == ["a", "z"]
    assert problems == [
        *((f"row {n}, task", "no value: row left out", "error") for n in range(4, 9)),
        ("row 2, example_id", "no value: row left out", "error"),
        ("row 3, example_id", "no value: row left out", "error"),
        ("task", "1 more rows: no value: row left out", "error"),
    ]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_example_given_again(tmp_path: Path, size: int) -> None:
    """As a naive loop over rows finds them, within a row group and across."""
    rng = np.random.default_rng(3)
    n = 60
    given = pd.DataFrame(
        GIVEN | {
            "example_id": rng.choice(["a", "b", "1", ""], n, p=[0.4, 0.3, 0.2, 0.1]),
            "model_name": rng.choice(["1b", "2b"], n),
            "subtask": rng.choice(["t", "u", None], n),
            "shots": rng.choice([0, 1, None], n),
            "settings": rng.choice(["{}", None], n, p=[0.1, 0.9]),
            "replicate": rng.choice(["a", None], n),
        }
    )  # fmt: skip
    seen, again = set(), []
    for row in plain(given):
        key = (row["example_id"], row["model_name"], row["subtask"] or "t", row["shots"],
               row["settings"], row["replicate"])  # fmt: skip
        again += [row["example_id"] != "" and key in seen]
        seen.add(key)
    rows, problems = read(given, tmp_path, row_group_size=size)
    expected = given[(given["example_id"] != "") & ~np.array(again)]
    assert [row["example_id"] for row in rows] == expected["example_id"].tolist()
    assert [row["model_name"] for row in rows] == expected["model_name"].tolist()
    reason = (
        "given before with the same benchmark, task, subtask, model_family, model_name, shots, "
        "variant, settings, replicate: row left out"
    )
    told = [problem for problem in problems if reason in problem[1]]
    first = np.flatnonzero(again)[:5] + 1
    assert [field for field, _, _ in told[:5]] == [f"row {n}, example_id" for n in first]
    assert told[5] == ("example_id", f"{sum(again) - 5} more rows: {reason}", "error")


def test_damage_costs_a_row_group(tmp_path: Path) -> None:
    """The sound rows before and after it are kept."""
    path = tmp_path / "samples.parquet"
    table = pa.table(GIVEN_COLUMNS | {"example_id": [f"example {i}" for i in range(30)]})
    pq.write_table(table, path, row_group_size=10, compression="none", write_page_checksum=True,
                   use_dictionary=False)  # fmt: skip
    data = path.read_bytes()
    assert data.count(b"example 15") == 1
    path.write_bytes(data.replace(b"example 15", b"exAmple 15"))
    rows, problems = ingested(path, tmp_path)
    assert [row["example_id"] for row in rows] == [
        f"example {i}" for i in range(30) if i // 10 != 1
    ]
    (problem,) = problems
    assert problem[0] == "rows 11 to 20"
    assert problem[1].startswith("cannot be read, left out: ")
    assert "CRC" in problem[1]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 10, b"example_id\n1\n"])
def test_what_is_no_parquet(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "samples.parquet"
    path.write_bytes(data)
    rows, problems = ingested(path, tmp_path)
    assert rows == []
    assert [(field, reason[:27], severity) for field, reason, severity in problems] == [
        ("", "cannot be read as a table: ", "error")
    ]
    assert tmp_path.as_posix() not in problems[0][1]


def test_no_rows_and_columns_given_twice(tmp_path: Path) -> None:
    assert read(frame().head(0), tmp_path) == ([], [("", "the table has no rows", "warning")])
    table = pa.Table.from_pandas(frame())
    again = table.append_column("task", table["task"])
    assert read(again, tmp_path) == ([], [("task", "column given twice", "error")])


def test_only_read_when_samples_are_asked_for(tmp_path: Path) -> None:
    """Neither a fault nor a row otherwise, and other names get a hint."""
    frame().to_parquet(tmp_path / "samples_x.parquet")
    (tmp_path / "Samples-y.parquet").write_bytes(b"damaged")
    pd.DataFrame([GIVEN | {"metric": "m", "score": 0.5}]).to_parquet(tmp_path / "scores.parquet")
    observations, problems = bm.read_results(tmp_path)
    assert len(observations) == 1
    assert problems.empty
    frame().to_parquet(tmp_path / "other.parquet")
    _, problems = bm.read_results(tmp_path)
    reason = "a table of samples must be named samples*.parquet"
    assert problems["reason"].tolist() == [f"ignored: {reason}"]
    _, problems = bm.read_results(tmp_path / "other.parquet")
    assert problems["reason"].tolist() == [f"required column missing; {reason}"]
    with pytest.raises(InputError, match="samples"):
        bm.read_results(tmp_path / "other.parquet", strict=True)


def test_archives_and_files_that_have_not_changed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    frame().to_parquet(buffer)
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        archive.writestr("a/samples_x.parquet", buffer.getvalue())
    frame(model_name="2b").to_parquet(tmp_path / "samples_y.parquet")
    results = [(tmp_path / name).as_posix() for name in ("runs.zip", "samples_y.parquet")]
    arguments = ["ingest", *results, "--store", (tmp_path / "store").as_posix(), "--samples"]
    first = run_json(*arguments)
    assert (first["loaded"], first["samples"], first["problems"]) == (2, 6, [])
    again = run_json(*arguments)
    assert (again["loaded"], again["unchanged"], again["samples"]) == (0, 2, 0)
    samples = bm.Store(tmp_path / "store").samples()
    assert sorted(samples["source"].unique()) == [
        f"{results[0]}/a/samples_x.parquet", results[1],
    ]  # fmt: skip


def test_rescored_and_compared(tmp_path: Path) -> None:
    """Logged losses of a family become scores, cut and not, and the two are compared."""
    rng, logs = np.random.default_rng(0), tmp_path / "logs"
    logs.mkdir()
    for size in (1, 2, 4, 8, 16):
        losses = rng.gamma(4.0, 0.05 / size, 50)
        table = pd.DataFrame(
            GIVEN | {
                "model_name": f"{size}m", "total_params": size * 10**6,
                "example_id": [str(i) for i in range(50)],
                "metrics": [{"mean_squared_error": loss} for loss in losses],
            }
        )  # fmt: skip
        table.to_parquet(logs / f"samples_autoencoder_w{size}_seed0.parquet")
    cut = "mean_squared_error<=0.05"
    document = run_json(
        "rescore", str(logs), "--metric", "logged:mean_squared_error",
        "--metric", f"logged:{cut}", "--store", str(tmp_path / "store"),
    )  # fmt: skip
    assert (document["loaded"], document["observations"], document["problems"]) == (5, 10, [])
    changes = run_json("metric-change", str(tmp_path / "store"))
    assert {changes["pairs"][0]["metric"], changes["pairs"][0]["other_metric"]} == {
        "mean_squared_error", cut,
    }  # fmt: skip


class Counting:
    """Takes samples and keeps none."""

    def __init__(self) -> None:
        self.n_rows = self.largest = 0

    def __call__(self, table: pa.Table) -> None:
        self.n_rows += table.num_rows
        self.largest = max(self.largest, table.nbytes)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """One row group of many megabytes comes in parts that are small."""
    n, path = 60_000, tmp_path / "samples.parquet"
    rng = np.random.default_rng(0)
    table = pa.table(
        {name: [value] * n for name, value in GIVEN.items()}
        | {
            "example_id": [str(i) for i in range(n)],
            "output": [rng.bytes(600).hex() for _ in range(n)],
        }
    )
    pq.write_table(table, path, compression="none")
    taken = Counting()
    assert pq.ParquetFile(path).num_row_groups == 1
    assert path.stat().st_size > 64 * MIB
    log = ProblemLog()
    with path.open("rb") as file:
        module.read_samples(file, FileLog("x", log), taken, max_bytes=1 << 30)
    assert (taken.n_rows, log.rows) == (n, [])
    assert taken.largest < 24 * MIB


def test_row_group_that_expands_too_far_is_left_out(tmp_path: Path) -> None:
    path, log, taken = tmp_path / "samples.parquet", ProblemLog(), Counting()
    pq.write_table(conform(frame(), SAMPLES), path, row_group_size=2)
    with path.open("rb") as file:
        module.read_samples(file, FileLog("x", log), taken, max_bytes=10)
    reason = "more than 10 bytes in a row group (--max-bytes): left out"
    assert [row[1:3] for row in log.rows] == [("rows 1 to 2", reason), ("rows 3 to 3", reason)]
    assert taken.n_rows == 0
