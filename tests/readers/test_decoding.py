"""What decoding takes is known before: no small file takes all memory, no sound one is refused."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import plain, tree_files, write_tree

import bigbench_meta as bm
from bigbench_meta.readers.decoding import memory_to_decode, too_much_to_decode
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.streams import MAX_BYTES

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "benchmark,task,model_family,model_name,metric,score"
RESULTS = b'{"results": {"arc": {"acc,none": 0.5}}, "x": ['
UNITS = {
    "lists": "[],", "objects": "{},", "lists of lists": "[[]],",
    "deep": "[" * 800 + "]" * 800 + ",",
    "pairs": '{"a":1},', "objects of objects": '{"a":{}},', "numbers": "0.5,", "texts": '"ab",',
    "wide texts": '"é€",',
    "a wide character": '"' + "a" * 50 + '😀",', "text": '"' + "a" * 99 + '",',
    "escaped": '"' + "a" * 50 + '\\ud83d\\ude00",',
}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_no_json_takes_more_than_is_estimated(unit: str) -> None:
    data = b"[" + unit.encode() * (300_000 // len(unit)) + b"1]"
    tracemalloc.start()
    FileLog("a.json", ProblemLog()).decode(data, list, what="a list")
    peak = tracemalloc.get_traced_memory()[1] + len(data)
    tracemalloc.stop()
    assert peak <= memory_to_decode(data, "lm_eval", "a.json") <= 8 * peak


def test_a_results_file_of_fifty_megabytes_is_read() -> None:
    scores = {"acc,none": 0.512345678901, "acc_stderr,none": 0.0123456789}
    setting = {"doc_to_text": "{{question}}\n😀", "num_fewshot": 0, "metric_list": [{"a": "b"}]}
    tasks = [f"task_{number}" for number in range(3000)]
    document = {"results": dict.fromkeys(tasks, scores), "configs": dict.fromkeys(tasks, setting)}
    for indent in (None, 2):
        data = json.dumps(document, indent=indent).encode()
        share = memory_to_decode(data, "lm_eval", "a.json") / len(data)
        assert 50_000_000 * share < 2 * MAX_BYTES


def in_zip(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(name, content)
    return archive.getvalue()


def repeated(rows: int) -> bytes:
    """A Parquet file that says the same row many times, which takes hardly any bytes."""
    row = dict.fromkeys(HEADER.split(","), "a")
    return pd.DataFrame([row]).loc[[0] * rows].to_parquet(index=False)


LISTS = RESULTS + b"[]," * 4_000_000 + b"1]}"
BOMBS = {
    "JSON": ("a.json.gz", gzip.compress(LISTS)),
    "score file": ("scores_a.json.gz", gzip.compress(b'{"scores": [' + LISTS)),
    "JSON in an archive": ("a.zip", in_zip("a.json", LISTS)),
    "CSV": ("a.csv.gz", gzip.compress(f"{HEADER}\n".encode() + b",,,,,\n" * 800_000)),
    "Parquet": ("a.parquet", repeated(800_000)),
}


@pytest.mark.parametrize(("name", "content"), BOMBS.values(), ids=BOMBS)
def test_what_would_take_too_much_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    assert len(content) < 100_000
    write_tree(tmp_path / "tree", tree_files(["alpha"], {"1m": 10**6}))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / name).write_bytes(content)
    paths = [tmp_path / "tree", tmp_path / "more" / name]
    observations, problems = bm.read_results(paths, max_bytes=20_000_000)
    assert set(observations["task"]) == {"alpha"}
    (problem,) = plain(problems)
    assert problem["reason"].startswith("would take about 0.")
    assert " GB of memory, more than 0.5 GB (--max-bytes " in problem["reason"]


def test_parquet_whose_header_is_no_text_is_for_its_reader(tmp_path: Path) -> None:
    content = repeated(3).replace(b"benchmark", b"bench\xedark")
    assert memory_to_decode(content, "table", "a.parquet") == 0
    (tmp_path / "a.parquet").write_bytes(content)
    write_tree(tmp_path / "tree", tree_files(["alpha"], {"1m": 10**6}))
    observations, problems = bm.read_results([tmp_path / "tree", tmp_path / "a.parquet"])
    assert set(observations["task"]) == {"alpha"}
    assert [problem["source"] for problem in plain(problems)] == [str(tmp_path / "a.parquet")]


def test_the_limit_that_is_named_is_enough() -> None:
    reason = too_much_to_decode(LISTS, None, "lm_eval", "a.json", max_bytes=1000)
    needed = int(reason.rpartition("--max-bytes ")[2].split()[0])
    for beside, most, is_refused in (
        (None, needed, False),
        (None, needed - 1, True),
        (LISTS, needed, True),
    ):
        found = too_much_to_decode(LISTS, beside, "lm_eval", "a.json", max_bytes=most)
        assert bool(found) == is_refused


def test_a_log_of_samples_is_read_a_line_at_a_time() -> None:
    line = b'{"doc_id": 1, "x": [' + b"1," * 1000 + b"1]}\n"
    one = memory_to_decode(line, "lm_eval_samples", "samples_a.jsonl")
    many = memory_to_decode(line * 100, "lm_eval_samples", "samples_a.jsonl")
    assert many < 20 * one
    assert memory_to_decode(b"{}\n" * 1000, "lm_eval_samples", "samples_a.jsonl") > 3_000_000
