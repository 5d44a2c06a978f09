"""HELM's run folders among other files: found, read with their specification, in archives too."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from helpers import plain, write_json

import bigbench_meta as bm
from bigbench_meta.store import ingest as _ingest

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"160m": 162322944, "1.4b": 1414647808, "6.9b": 6857302016}


def run_files(size: str, score: float) -> dict[str, Any]:
    """Return the files of a run folder."""
    name = {"name": "exact_match", "split": "test"}
    stat = {"name": name, "count": 1, "sum": score, "sum_squared": score**2, "min": score,
            "max": score, "mean": score, "variance": 0.0, "stddev": 0.0}  # fmt: skip
    spec = {
        "name": f"mmlu:subject=anatomy,model=eleutherai_pythia-{size}",
        "scenario_spec": {"class_name": "helm.MMLUScenario", "args": {"subject": "anatomy"}},
        "adapter_spec": {
            "method": "multiple_choice_joint",
            "model": f"eleutherai/pythia-{size}",
            "max_train_instances": 5,
        },
        "metric_specs": [],
    }
    return {
        "stats.json": [stat],
        "run_spec.json": spec,
        "scenario.json": {"name": "mmlu"},
        "per_instance_stats.json": [{"instance_id": "id1", "stats": [stat]}],
    }


FILES = {
    f"runs/v1/mmlu:subject=anatomy,model=eleutherai_pythia-{size}/{name}": content
    for number, size in enumerate(SIZES)
    for name, content in run_files(size, 0.25 + number / 10).items()
}


def in_folder(folder: Path, names: list[str]) -> Path:
    for name in names:
        write_json(folder / name, FILES[name])
    return folder / "runs"


def in_zip(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(folder / "runs.zip", "w") as archive:
        for name in names:
            archive.writestr(name, json.dumps(FILES[name]))
    return folder / "runs.zip"


def in_tar(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    with tarfile.open(folder / "runs.tar.gz", "w:gz") as archive:
        for name in names:
            content = json.dumps(FILES[name]).encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return folder / "runs.tar.gz"


@pytest.mark.parametrize("place", [in_folder, in_zip, in_tar])
@pytest.mark.parametrize("order", [list, lambda names: list(reversed(names)), sorted])
def test_runs_are_read_with_their_specification(place: Any, order: Any, tmp_path: Path) -> None:
    path = place(tmp_path / "place", order(list(FILES)))
    observations, problems = bm.read_results(path, strict=True)
    rows = sorted((row["total_params"], row["score"], row["shots"]) for row in plain(observations))
    assert rows == [
        (params, pytest.approx(0.25 + number / 10), 5)
        for number, params in enumerate(SIZES.values())
    ]
    assert plain(problems) == []
    store = bm.Store(tmp_path / "store")
    assert store.ingest(path).loaded == len(SIZES)
    assert store.ingest(path).unchanged == len(SIZES)


@pytest.mark.parametrize("place", [in_folder, in_zip, in_tar])
def test_without_a_specification_the_folder_counts(place: Any, tmp_path: Path) -> None:
    path = place(tmp_path / "place", [name for name in FILES if "run_spec" not in name])
    observations, problems = bm.read_results(path)
    assert sorted(row["total_params"] for row in plain(observations)) == sorted(SIZES.values())
    reported = [row for row in plain(problems) if "run_spec.json" in row["field"]]
    assert len(reported) == len(SIZES)


def test_a_specification_that_comes_later_counts(tmp_path: Path) -> None:
    path = in_folder(tmp_path, list(FILES))
    spec = next(path.rglob("run_spec.json"))
    content = spec.read_bytes()
    spec.unlink()
    store = bm.Store(tmp_path / "store")
    store.ingest(path)
    assert store.observations()["shots"].isna().sum() == 1
    spec.write_bytes(content)
    next(spec.parent.glob("stats.json")).touch()
    assert store.ingest(path).loaded == 1
    assert store.observations()["shots"].isna().sum() == 0


def test_a_log_is_read_again_once_inspect_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = {"version": 2, "status": "success", "eval": {"task": "sums"}}
    write_json(tmp_path / "logs/run.json", log)
    store = bm.Store(tmp_path / "store")
    seen: list[str] = []

    def parse(_data: bytes, _name: str, log: Any, *_: Any, **__: Any) -> None:
        seen.append(log.label)

    monkeypatch.setattr("bigbench_meta.readers.formats.inspect.parse", parse)
    for is_there, n_read in ((False, 1), (False, 1), (True, 2), (True, 2)):
        monkeypatch.setattr(_ingest, "find_spec", lambda _, there=is_there: there or None)
        assert store.ingest(tmp_path / "logs").failed == 1
        assert seen == ["logs/run.json"] * n_read


@pytest.mark.parametrize("place", [in_folder, in_zip, in_tar])
@pytest.mark.parametrize("content", ["[{", '{"a": 1}', "nonsense"])
def test_a_damaged_run_is_reported(
    place: Any, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(name for name in FILES if name.endswith("/stats.json"))
    monkeypatch.setitem(FILES, first, content)
    path = place(tmp_path / "place", list(FILES))
    observations, problems = bm.read_results(path)
    assert len(observations) == len(SIZES) - 1
    assert {row["source"].rpartition("place/")[2][-len(first) :] for row in plain(problems)} == {
        first
    }


def test_a_stats_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = in_folder(tmp_path, list(FILES))
    write_json(tmp_path / "runs/other/stats.json", {"a": 1})
    observations, problems = bm.read_results(path)
    assert len(observations) == len(SIZES)
    (problem,) = plain(problems)
    assert (problem["severity"], problem["field"]) == ("warning", "")


@pytest.mark.parametrize("name", ["out/results_2026.json", "alpha/results/scores.json"])
def test_a_damaged_member_is_reported(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for member, content in FILES.items():
            archive.writestr(member, json.dumps(content))
        archive.writestr(name, "{")
    observations, problems = bm.read_results(tmp_path / "x.zip")
    assert len(observations) == len(SIZES)
    (problem,) = plain(problems)
    assert problem["source"].endswith(name)


def test_a_member_without_a_name_is_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for member, content in FILES.items():
            archive.writestr(member, json.dumps(content))
        archive.writestr("A", "{}")
    # A name that begins with a zero byte is cut there by zipfile.
    content = (tmp_path / "x.zip").read_bytes()
    last = content.rindex(b"PK\x01\x02") + 46
    assert content[last : last + 1] == b"A"
    (tmp_path / "x.zip").write_bytes(content[:last] + b"\0" + content[last + 1 :])
    observations, problems = bm.read_results(tmp_path / "x.zip")
    assert len(observations) == len(SIZES)
    (problem,) = plain(problems)
    assert problem["reason"] == "a member without a name: not read"
