"""Full logs among other files: found, stored, skipped, never read whole."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from helpers import plain, score_file, write_bytes, write_json, write_tree
from xxhash import xxh3_128_digest

import bigbench_meta as bm
from bigbench_meta.cli.main import main
from bigbench_meta.core.errors import InputError
from bigbench_meta.readers import ReadOptions
from bigbench_meta.readers.streams import Digesting, Limited, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_SAMPLES = 6
WITH_SAMPLES = ReadOptions(samples=True)


def full_log(**overrides: Any) -> dict[str, Any]:
    samples = [
        {"input": f"{n} + 1 = ", "output": "2", "targets": {"2": {"exact_str_match": n % 2}}}
        for n in range(3)
    ]
    queries = [
        {"function": "generate_text", "samples": samples, "shots": shots, "task": "alpha"}
        for shots in (0, 1)
    ]
    return score_file(**overrides) | {"queries": queries}


def as_file(folder: Path) -> Path:
    return write_json(folder / "full-log_Fam_1m.json", full_log())


def as_gzip(folder: Path) -> Path:
    return write_json(folder / "full-log_Fam_1m.json.gz", full_log())


def in_folder(folder: Path) -> Path:
    write_json(folder / "alpha/results/full-log_Fam_1m.json", full_log())
    return folder / "alpha"


def in_zip(folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("alpha/results/full-log_Fam_1m.json", json.dumps(full_log(), indent=2))
    return folder / "x.zip"


def in_tar(folder: Path) -> Path:
    folder.mkdir()
    content = gzip.compress(json.dumps(full_log()).encode())
    with tarfile.open(folder / "x.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("alpha/results/full-log_Fam_1m.json.gz")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return folder / "x.tar.gz"


PLACES = pytest.mark.parametrize("place", [as_file, as_gzip, in_folder, in_zip, in_tar])


def without_source(frame: Any) -> list[dict[str, Any]]:
    return [row | {"source": None} for row in plain(frame)]


@PLACES
def test_scores_are_those_of_a_score_file(place: Callable[[Path], Path], tmp_path: Path) -> None:
    observations, problems = bm.read_results(place(tmp_path / "logs"))
    alike = write_json(tmp_path / "scores_Fam_1m.json", score_file())
    assert without_source(observations) == without_source(bm.read_results(alike)[0])
    assert plain(problems) == []


@PLACES
def test_samples_are_stored_if_asked_for(place: Callable[[Path], Path], tmp_path: Path) -> None:
    path = place(tmp_path / "logs")
    store = bm.Store(tmp_path / "store")
    assert store.ingest(path).samples == 0
    # Only now are they wanted: the file is read again, archive or not.
    summary = store.ingest(path, options=WITH_SAMPLES)
    assert (summary.loaded, summary.samples) == (1, N_SAMPLES)
    rows = plain(store.samples()[["task", "shots", "example_id", "correct"]])
    assert [tuple(row.values()) for row in rows] == [
        ("alpha", shots, f"{shots}/{n}", n % 2) for shots in (0, 1) for n in range(3)
    ]
    assert len(store.observations()) == 2
    # They are not lost when they are asked for no more.
    assert store.ingest(path).unchanged == 1
    assert len(store.samples()) == N_SAMPLES
    assert plain(store.conflicts()) == []


@PLACES
def test_a_log_that_was_only_touched_is_passed_over(
    place: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = place(tmp_path / "logs")
    store = bm.Store(tmp_path / "store")
    store.ingest(path, options=WITH_SAMPLES)
    for file in [path, *path.rglob("*")]:
        file.touch()
    store.ingest(path, options=WITH_SAMPLES)
    assert len(store.samples()) == N_SAMPLES
    assert len(store.observations()) == 2
    assert store.ingest(path, options=WITH_SAMPLES).unchanged == 1


def test_a_touched_log_is_known_by_its_content(tmp_path: Path) -> None:
    path = as_file(tmp_path)
    store = bm.Store(tmp_path / "store")
    store.ingest(path)
    path.touch()
    summary = store.ingest(path)
    assert (summary.unchanged, summary.loaded) == (1, 0)


def test_a_changed_log_replaces_its_rows(tmp_path: Path) -> None:
    path = as_file(tmp_path)
    store = bm.Store(tmp_path / "store")
    store.ingest(path, options=WITH_SAMPLES)
    changed = full_log()
    del changed["queries"][1]
    write_json(path, changed)
    store.ingest(path, options=WITH_SAMPLES)
    assert len(store.samples()) == N_SAMPLES / 2


def test_a_log_beside_its_score_file_is_no_conflict(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", [score_file()])
    write_json(tmp_path / "tree/alpha/results/full-log_Fam_1m.json", full_log())
    observations, problems = bm.read_results(tmp_path / "tree", strict=True)
    assert len(observations) == 2
    assert plain(problems) == []


def test_a_log_that_differs_from_its_score_file_is_one(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", [score_file(score_dict={"exact_str_match": 0.5, "bleu": 12.5})])
    write_json(tmp_path / "tree/alpha/results/full-log_Fam_1m.json", full_log())
    observations, problems = bm.read_results(tmp_path / "tree")
    assert len(observations) == 3
    (problem,) = plain(problems)
    assert "kept as replicates" in problem["reason"]


def test_another_log_of_the_same_scores_is_a_repetition(tmp_path: Path) -> None:
    for name in ("full-log_Fam_1m", "scores_other"):
        write_json(tmp_path / f"tree/alpha/results/{name}.json", full_log())
    (problem, *_) = plain(bm.read_results(tmp_path / "tree")[1])
    assert "repeat those of" in problem["reason"]


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_a_truncated_log_gives_what_stands_before(tmp_path: Path, ending: str) -> None:
    whole = json.dumps(full_log(), indent=2).encode()
    content = gzip.compress(whole, 0) if ending.endswith("gz") else whole
    path = tmp_path / f"full-log_Fam_1m{ending}"
    path.write_bytes(content[: len(content) * 3 // 4])
    summary = bm.Store(tmp_path / "store").ingest(path, options=WITH_SAMPLES)
    assert summary.observations == 2
    assert 0 < summary.samples < N_SAMPLES
    (problem,) = plain(summary.problems)
    assert "nothing after it is loaded" in problem["reason"]


def test_a_truncated_archive_gives_what_stands_before(tmp_path: Path) -> None:
    content = in_tar(tmp_path / "logs").read_bytes()
    path = write_bytes(tmp_path / "x.tar", gzip.decompress(content)[:700])
    observations, problems = bm.read_results(path)
    assert len(observations) in (0, 2)
    assert "cannot be read" in plain(problems)[-1]["reason"]


def test_a_log_that_expands_without_end_is_refused(tmp_path: Path) -> None:
    text = json.dumps(full_log(), indent=2)
    bomb = text.replace('"queries": [', '"queries": [' + " " * 3_000_000)
    path = write_bytes(tmp_path / "full-log_Fam_1m.json.gz", bomb.encode())
    store = bm.Store(tmp_path / "store")
    summary = store.ingest(path, options=ReadOptions(samples=True, max_bytes=1000))
    most = max(1000, 100 * path.stat().st_size)
    assert most < len(bomb)
    (problem,) = plain(summary.problems)
    assert f"holds more than {most} bytes (--max-bytes)" in problem["reason"]
    # With the limit raised it is read anew.
    assert store.ingest(path, options=WITH_SAMPLES).samples == N_SAMPLES


def test_a_large_log_in_an_archive_counts_against_its_limit(tmp_path: Path) -> None:
    path = in_zip(tmp_path / "logs")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("full-log_b_1m.json", " " * 3_000_000 + json.dumps(full_log()))
        archive.writestr("scores_c_1m.json", json.dumps(score_file(model_name="c")))
    store = bm.Store(tmp_path / "store")
    summary = store.ingest(path, options=ReadOptions(samples=True, max_bytes=100_000))
    assert (summary.observations, summary.samples) == (2, N_SAMPLES)
    (problem,) = plain(summary.problems)
    assert "the archive expands to more than 100000 bytes (--max-bytes)" in problem["reason"]


def test_an_encrypted_member_leaves_the_others(tmp_path: Path) -> None:
    path = in_zip(tmp_path / "logs")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("scores_c_1m.json", json.dumps(score_file(model_name="c")))
    # The general purpose bit 0 of the last entry, in its local header and in the directory.
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(mark) + shift] |= 1
    path.write_bytes(bytes(content))
    observations, problems = bm.read_results(path)
    assert len(observations) == 2
    (problem,) = plain(problems)
    assert problem["source"].endswith("x.zip/scores_c_1m.json")
    assert "encrypted" in problem["reason"]


def test_samples_on_the_command_line(tmp_path: Path) -> None:
    path, store = as_file(tmp_path), tmp_path / "store"
    command = ["ingest", str(path), "--store", str(store), "--samples", "--json", "--strict"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["samples"] == N_SAMPLES


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_001, 1 << 22, 9_000_000])
@pytest.mark.parametrize("first", [0, 10, 2_000_000])
def test_a_digest_is_of_all_that_passes(size: int, first: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    stream = Digesting(io.BytesIO(data))
    assert stream.read(first) == data[:first]
    assert stream.digest() == xxh3_128_digest(data) == digest_of(io.BytesIO(data))


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 5000])
def test_a_limit_is_the_number_of_bytes(size: int) -> None:
    stream = Limited(io.BytesIO(b"x" * size), 100, "too much")
    if size > 100:
        with pytest.raises(InputError, match="too much"):
            stream.readall()
    else:
        assert stream.readall() == b"x" * size
        assert stream.left == 100 - size


@pytest.mark.parametrize("layout", [None, 2])
def test_a_log_without_scores_has_its_samples(layout: int | None, tmp_path: Path) -> None:
    document = full_log()
    del document["scores"]
    path = tmp_path / "full-log_Fam_1m.json"
    path.write_text(json.dumps(document, indent=layout))
    summary = bm.Store(tmp_path / "store").ingest(path, options=WITH_SAMPLES)
    assert (summary.observations, summary.samples) == (0, N_SAMPLES)
    assert any("scores" in row["field"] for row in plain(summary.problems))
