"""Tidy tables: CSV, compressed CSV and Parquet with the columns of an observations table."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import plain, tree_files, write_tree
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.catalog.embedded import EMBEDDED_SETS
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = ["benchmark", "task", "metric", "model_family", "model_name", "score"]
HEADER = ",".join(REQUIRED)
ROW = "B,t,m,F,1b,0.5"
ENDINGS = [".csv", ".csv.gz", ".parquet"]
# Every column, with values that a careless conversion would change.
FULL = [
    {
        "benchmark": "B", "task": "NA", "subtask": "001", "metric": "m,1", "model_family": 'a "b"',
        "model_name": "1e3", "shots": 0, "variant": "true",
        "settings": '{"limit": "10"}', "replicate": "01",
        "total_params": 2**52 + 1, "non_embedding_params": 7,
        "flop_matched_non_embedding_params": 5, "train_flops": 3.14e23, "train_tokens": 1e9,
        "pretraining_loss": 2.75,
        "score": 0.1 + 0.2, "stderr": 1e-17, "n_examples": 8,
        "is_preferred": True, "low_score": -1.5, "high_score": 1e300,
        "source": "table 3, line\n2",
    },
    dict.fromkeys(OBSERVATIONS.names) | {
        "benchmark": "B", "task": "α→β", "subtask": "α→β", "metric": "nan", "model_family": "None",
        "model_name": "null", "score": -0.25, "is_preferred": False, "source": "x",
    },
]  # fmt: skip


def write_table(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


def write_text(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def read(path: Path) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    """Return rows and problems (field, reason, severity) of one table."""
    observations, problems = bm.read_results(path)
    assert {problem["source"] for problem in plain(problems)} <= {path.as_posix()}
    told = [(p["field"], p["reason"], p["severity"]) for p in plain(problems)]
    return plain(observations), told


def read_in_tree(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of tables and the problems; the score files beside must be as ever."""
    observations, problems = bm.read_results(folder)
    rows = plain(observations)
    assert sum(row["task"] == "alpha" for row in rows) == 8
    return [row for row in rows if row["task"] != "alpha"], plain(problems)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of score files, for a table to lie in."""
    write_tree(tmp_path / "tree", tree_files(["alpha"]))
    return tmp_path / "tree"


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_column_survives(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame(FULL).convert_dtypes()
    path = write_table(tmp_path / f"table{ending}", frame)
    assert read(path) == (FULL, [])


@pytest.mark.parametrize("ending", ENDINGS)
def test_observations_can_be_written_and_read_again(
    tmp_path: Path, tree: Path, ending: str
) -> None:
    before, _ = bm.read_results(tree)
    path = write_table(tmp_path / f"table{ending}", before)
    assert read(path) == (plain(before), [])


@pytest.mark.parametrize("ending", ENDINGS)
def test_only_required_columns(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame([ROW.split(",")], columns=REQUIRED).astype({"score": float})
    path = write_table(tmp_path / f"table{ending}", frame)
    rows, problems = read(path)
    given_values = {
        "benchmark": "B",
        "task": "t",
        "metric": "m",
        "model_family": "F",
        "model_name": "1b",
    }
    expected = given_values | {"subtask": "t", "score": 0.5, "source": path.as_posix()}
    assert rows == [dict.fromkeys(OBSERVATIONS.names) | expected]
    assert problems == []


def test_table_in_a_folder_is_found_by_its_columns(tree: Path) -> None:
    write_text(tree / "table.csv", HEADER, ROW)
    write_text(tree / "other.csv", "task,n_examples", "t,5")
    rows, problems = read_in_tree(tree)
    assert [row["source"] for row in rows] == ["tree/table.csv"]
    assert problems == []


@pytest.mark.parametrize("column", REQUIRED)
@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_column(tmp_path: Path, column: str, ending: str) -> None:
    frame = pd.DataFrame([ROW.split(",")], columns=REQUIRED).drop(columns=column)
    path = write_table(tmp_path / f"table{ending}", frame)
    assert read(path) == ([], [(column, "required column missing", "error")])
    with pytest.raises(InputError, match=f"table{ending}: {column}: required column missing"):
        bm.read_results(path, strict=True)


def test_several_missing_columns(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", "task,score", "t,1")
    assert [field for field, _, _ in read(path)[1]] == [
        "benchmark, metric, model_family, model_name"
    ]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("score", "high", "'high' does not fit double: left empty"),
        ("score", "1,5", "'1,5' does not fit double: left empty"),
        ("score", "50%", "'50%' does not fit double: left empty"),
        ("stderr", "±0.1", "'±0.1' does not fit double: left empty"),
        ("shots", "1.5", "'1.5' does not fit int64: left empty"),
        ("shots", "few", "'few' does not fit int64: left empty"),
        ("total_params", "1e30", "'1e30' does not fit int64: left empty"),
        ("total_params", "8B", "'8B' does not fit int64: left empty"),
        ("n_examples", "inf", "'inf' does not fit int64: left empty"),
        ("is_preferred", "maybe", "'maybe' does not fit bool: left empty"),
        ("is_preferred", "2", "'2' does not fit bool: left empty"),
    ],
)
def test_value_that_does_not_fit(tmp_path: Path, column: str, value: str, expected: str) -> None:
    good = dict(zip(REQUIRED, ROW.split(","), strict=True)) | {column: "1"}
    frame = pd.DataFrame([good, good | {"model_name": "2b", column: value}])
    path = write_table(tmp_path / "table.csv", frame)
    rows, problems = read(path)
    assert problems == [(f"line 3, {column}", expected, "error")]
    assert [row["model_name"] for row in rows] == ["1b", "2b"]
    assert (rows[0][column], rows[1][column]) == (1, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("0", False), ("TRUE", True), ("False", False), ("", None)],
)
def test_truth_values(tmp_path: Path, text: str, value: bool | None) -> None:
    path = write_text(tmp_path / "table.csv", f"{HEADER},is_preferred", f"{ROW},{text}")
    rows, problems = read(path)
    assert problems == []
    assert rows[0]["is_preferred"] is value


@pytest.mark.parametrize("text", ["", "nan", "NaN", " "])
def test_row_without_a_score_is_kept(tmp_path: Path, text: str) -> None:
    """That a model was not scored is a fact; the curve counts it."""
    path = write_text(tmp_path / "table.csv", HEADER, ROW, f"B,t,m,F,2b,{text}")
    rows, problems = read(path)
    assert [(row["model_name"], row["score"]) for row in rows] == [("1b", 0.5), ("2b", None)]
    assert problems == []


@pytest.mark.parametrize("column", REQUIRED[:-1])
def test_row_without_a_name_is_left_out(tmp_path: Path, column: str) -> None:
    cells = dict(zip(REQUIRED, ROW.split(","), strict=True)) | {column: " "}
    path = write_text(tmp_path / "table.csv", HEADER, ROW, ",".join(cells.values()))
    rows, problems = read(path)
    assert len(rows) == 1
    assert problems == [(f"line 3, {column}", "no value: row left out", "error")]


def test_row_without_two_names_is_told_once(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", HEADER, ",,m,F,1b,1", ROW)
    rows, problems = read(path)
    assert len(rows) == 1
    assert problems == [("line 2, benchmark", "no value: row left out", "error")]


def test_many_faults_of_a_column_are_summed_up(tmp_path: Path) -> None:
    lines = [f"B,t,m,F,{number}b,x" for number in range(12)]
    rows, problems = read(write_text(tmp_path / "table.csv", HEADER, *lines))
    assert len(rows) == 12
    assert [field for field, _, _ in problems] == [f"line {n}, score" for n in range(2, 7)] + [
        "score"
    ]
    assert problems[-1][1] == "7 more lines: does not fit double: left empty"


@pytest.mark.parametrize("ending", ENDINGS)
def test_unknown_column(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame([[*ROW.split(","), "x"]], columns=[*REQUIRED, "note"])
    path = write_table(tmp_path / f"table{ending}", frame.astype({"score": float}))
    rows, problems = read(path)
    assert problems == [("note", "unknown column: ignored", "warning")]
    assert rows[0]["score"] == 0.5


@pytest.mark.parametrize("ending", ENDINGS)
def test_header_only(tmp_path: Path, ending: str) -> None:
    path = write_table(tmp_path / f"table{ending}", pd.DataFrame(columns=REQUIRED, dtype=str))
    rows, problems = read(path)
    assert rows == []
    # As a score file with an empty list of scores: it gives nothing, and that is told.
    ((_, reason, severity),) = problems
    assert severity == "warning"
    assert "row" in reason


def test_same_row_twice_and_another_score(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", HEADER, ROW, ROW, ROW.replace("0.5", "0.75"))
    rows, problems = read(path)
    assert [(row["score"], row["replicate"]) for row in rows] == [
        (0.5, "unexplained 1"),
        (0.75, "unexplained 2"),
    ]
    assert [reason for _, reason, _ in problems] == [
        "1 score(s) repeat those of the same file: dropped",
        "1 score(s) differ from those of the same file for the same model: kept as replicates",
    ]


def test_replicates_that_are_named_are_no_conflict(tmp_path: Path) -> None:
    lines = [f"{ROW}{seed},{seed}" for seed in (1, 2, 3)]
    rows, problems = read(write_text(tmp_path / "table.csv", f"{HEADER},replicate", *lines))
    assert [row["replicate"] for row in rows] == ["1", "2", "3"]
    assert problems == []


UNREADABLE = {
    "Latin-1": (".csv", f"{HEADER}\n{ROW}\nB,é,m,F,2b,0.5\n".encode("latin-1"), "byte at byte 69"),
    "UTF-16": (".csv", f"{HEADER}\n{ROW}\n".encode("utf-16"), "not UTF-8"),
    "a quote in a character": (
        ".csv", f'{HEADER}\n{ROW}\nB,"é",m,F,2b,0.5\n'.encode().replace(b"\xc3", b'\xc3"'),
        "not UTF-8: invalid continuation byte at byte 70",
    ),
    "empty": (".csv", b"", "the file is empty"),
    "an empty line": (".csv", b"\n", "the file is empty"),
    "one row longer": (".csv", f"{HEADER}\n{ROW}\n{ROW},7\n".encode(), "Expected 6"),
    "quote left open": (".csv", f'{HEADER}\n{ROW}\n"B,t,m,F,2b,1\n'.encode(), "EOF inside string"),
    "no gzip file": (".csv.gz", f"{HEADER}\n{ROW}\n".encode(), "Not a gzipped file"),
    "cut gzip file": (".csv.gz", gzip.compress(HEADER.encode())[:-12], "ended before"),
    "no Parquet file": (".parquet", b"PAR1", "Parquet"),
}  # fmt: skip


@pytest.mark.parametrize(("ending", "content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_table(tmp_path: Path, ending: str, content: bytes, reason: str) -> None:
    path = tmp_path / f"table{ending}"
    path.write_bytes(content)
    rows, problems = read(path)
    assert rows == []
    ((field, told, severity),) = problems
    assert (field, severity) == ("", "error")
    assert told.startswith("cannot be read")
    assert reason in told
    with pytest.raises(InputError, match=f"table{ending}: cannot be read"):
        bm.read_results(path, strict=True)


@pytest.mark.parametrize(("ending", "content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_table_in_a_folder(tree: Path, ending: str, content: bytes, reason: str) -> None:
    """What has the header of an observations table, or hides it, is not skipped silently."""
    (tree / f"table{ending}").write_bytes(content)
    rows, problems = read_in_tree(tree)
    assert rows == []
    (problem,) = problems
    assert problem["source"] == f"tree/table{ending}"
    assert reason in problem["reason"]


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (HEADER.replace("model_family", "family"), "column model_family"),
        (HEADER.replace(",task", ", task"), "column task"),
        (HEADER.replace(",", ";"), "columns benchmark, task, "),
        (HEADER.replace(",", "\t"), "columns benchmark, task, "),
        ("name,value", ""),
        (HEADER.replace("score", "emergence_score"), ""),  # what `forecast -o` writes
    ],
)
def test_a_table_that_almost_has_the_columns_is_told(tree: Path, header: str, missing: str) -> None:
    (tree / "table.csv").write_text(f"{header}\n")
    rows, problems = read_in_tree(tree)
    assert rows == []
    assert len(problems) == bool(missing)
    for problem in problems:
        assert problem["reason"].startswith(f"ignored: lacks the {missing}")


def test_byte_order_mark(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", HEADER, ROW, encoding="utf-8-sig")
    rows, problems = read(path)
    assert (rows[0]["benchmark"], problems) == ("B", [])


def test_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(f"{HEADER}\r\n{ROW}\r\n".encode())
    rows, problems = read(path)
    assert (rows[0]["score"], problems) == (0.5, [])


def test_a_comma_at_the_end_of_each_row_shifts_nothing(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", HEADER, f"{ROW},", f"{ROW},".replace("1b", "2b"))
    rows, problems = read(path)
    # Refused or read: but never with a task under "benchmark".
    assert [row for row in rows if row["benchmark"] != "B" or row["score"] != 0.5] == []
    assert rows or problems


def test_a_column_twice_in_parquet(tmp_path: Path) -> None:
    cells: list[Any] = [*ROW.split(",")[:-1], 0.5, 0.75]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table([pa.array([c]) for c in cells], names=[*REQUIRED, "score"]), path)
    rows, problems = read(path)
    assert rows == []
    assert [severity for _, _, severity in problems] == ["error"]


def test_categories_and_nulls_of_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame([[*ROW.split(",")[:-1], None]], columns=REQUIRED).astype("category")
    path = write_table(tmp_path / "table.parquet", frame.astype({"score": "float64"}))
    rows, problems = read(path)
    assert (rows[0]["task"], rows[0]["score"], problems) == ("t", None, [])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("params", [2**53 + 1, 10**18 - 1])
def test_sizes_are_not_rounded(tmp_path: Path, ending: str, params: int) -> None:
    cells: list[Any] = [*ROW.split(",")[:-1], 0.5, params]
    path = write_table(
        tmp_path / f"table{ending}", pd.DataFrame([cells], columns=[*REQUIRED, "total_params"])
    )
    assert read(path)[0][0]["total_params"] == params


@pytest.mark.parametrize("ending", ENDINGS)
def test_sizes_are_not_rounded_beside_rows_without_one(tmp_path: Path, ending: str) -> None:
    sizes = {"a": 2**53 + 1, "b": None, "c": 10**18 - 1}
    rows = [
        [*ROW.split(",")[:-2], name, 0.5, None if size is None else str(size)]
        for name, size in sizes.items()
    ]
    frame = pd.DataFrame(rows, columns=[*REQUIRED, "total_params"])
    found, _ = read(write_table(tmp_path / f"table{ending}", frame))
    assert {row["model_name"]: row["total_params"] for row in found} == sizes


@pytest.mark.parametrize("name", [entry.name for entry in EMBEDDED_SETS])
def test_embedded_observations(tmp_path: Path, name: str) -> None:
    frame = bm.load_embedded(name)
    path = write_table(tmp_path / "table.parquet", frame)
    assert read(path) == (plain(frame), [])


def test_embedded_observations_of_another_name() -> None:
    with pytest.raises(
        InputError, match="name: no embedded set 'gpt5'\nHint: one of lamda, gpt3, paper"
    ):
        bm.load_embedded("gpt5")


# Text that a CSV can hold and that is not blank; readers strip what surrounds it.
texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)
rows_of_table = st.lists(
    st.fixed_dictionaries(
        {
            "benchmark": texts,
            "task": texts,
            "metric": texts,
            "model_family": texts,
            "model_name": texts,
            "score": st.floats(allow_nan=False),
            "shots": st.one_of(st.none(), st.integers(0, 50)),
            "total_params": st.one_of(st.none(), st.integers(1, 2**53)),
            "stderr": st.one_of(st.none(), st.floats(0, 1e9)),
            "is_preferred": st.sampled_from([None, True, False]),
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda row: tuple(row[name] for name in (*REQUIRED[:-1], "shots")),
)


@given(rows=rows_of_table, ending=st.sampled_from(ENDINGS))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ending: str
) -> None:
    types = {"shots": "Int64", "total_params": "Int64", "is_preferred": "boolean"}
    frame = pd.DataFrame(rows).astype(types | {"stderr": "float64"})
    path = write_table(tmp_path_factory.mktemp("tables") / f"table{ending}", frame)
    found, problems = read(path)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    # What is infinite may be told, as it is of score files.
    assert {field for field, _, _ in problems} <= {f"line {n + 2}, score" for n in range(4)}


def test_bytes_read_are_those_of_the_file(tmp_path: Path) -> None:
    """A table is recognised by its name's ending, in whatever case."""
    buffer = io.BytesIO()
    pd.DataFrame([ROW.split(",")], columns=REQUIRED).to_parquet(buffer)
    path = tmp_path / "TABLE.PARQUET"
    path.write_bytes(buffer.getvalue())
    assert [row["score"] for row in read(path)[0]] == [0.5]


@pytest.mark.parametrize(
    ("column", "value", "is_kept"),
    [
        ("shots", -2, False), ("shots", 0, True), ("n_examples", 0, False), ("n_examples", 1, True),
        ("total_params", -1, False), ("train_flops", 0, False), ("train_flops", "inf", False),
        ("train_flops", 1e24, True), ("stderr", -0.1, False), ("stderr", 0, True),
    ],
)  # fmt: skip
def test_what_cannot_be_is_left_empty(column, value, is_kept, tmp_path):
    path = tmp_path / "table.csv"
    head = "benchmark,task,metric,model_family,model_name,score"
    path.write_text(f"{head},{column}\nb,t,m,f,a,0.5,{value}\nb,t,m,f,b,0.6,\n")
    observations, problems = bm.read_results(path)
    assert observations[column].notna().tolist() == [is_kept, False]
    assert observations["score"].tolist() == [0.5, 0.6]
    told = [(row.field, row.reason) for row in problems.itertuples()]
    expected = [(f"line 2, {column}", f"'{value}' is out of range: left empty")]
    assert told == ([] if is_kept else expected)


def test_shots_that_are_not_stated_are_null(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("benchmark,task,metric,model_family,model_name,score,shots\nb,t,m,f,a,0.5,-1\n")
    observations, _ = bm.read_results(path, strict=True)
    assert observations["shots"].isna().all()


@pytest.mark.parametrize("column", ["variant", "stderr", "score"])
def test_dates_beyond_the_calendar_do_no_harm(column, tmp_path):
    rows = bm.load_embedded().head(2)
    table = pa.Table.from_pandas(rows.astype(dict.fromkeys(rows, object)), preserve_index=False)
    days = pa.array([2**31 - 1, 3], pa.int32()).cast(pa.date32())
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, days), tmp_path / "table.parquet")
    observations, problems = bm.read_results(tmp_path / "table.parquet")
    assert len(observations) == 2
    assert len(problems) == (0 if column == "variant" else 2)


def test_a_parquet_text_that_is_no_utf8_is_told(tmp_path):
    rows = bm.load_embedded().head(2).astype({"task": object}).assign(task="alphabet")
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pandas(rows), path, compression="none", use_dictionary=False)
    content = path.read_bytes()
    assert content.count(b"alphabet") >= 2
    path.write_bytes(content.replace(b"alphabet", b"alph\xffbet"))
    observations, problems = bm.read_results(path)
    assert len(observations) == 0
    assert len(problems) == 1
    assert "cannot be read as a table" in problems["reason"].iloc[0]
