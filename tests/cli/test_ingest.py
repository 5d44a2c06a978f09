"""The commands `ingest` and `store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers import run, run_json, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_ingest(broken: Path, tmp_path: Path) -> None:
    command = ("ingest", broken, "--store", tmp_path / "store")
    problem = {
        "source": "tree/alpha/results/scores_Fam_0m.json",
        "field": "line 1 column 2",
        "reason": "truncated JSON: Expecting property name enclosed in double quotes",
        "severity": "error",
    }
    first = {"files": 9, "loaded": 8, "unchanged": 0, "failed": 1, "gone": 0,
             "observations": 16, "samples": 0}  # fmt: skip
    again = {"files": 9, "loaded": 0, "unchanged": 8, "failed": 1, "gone": 0,
             "observations": 0, "samples": 0}  # fmt: skip
    assert run_json(*command) == first | {"problems": [problem]}
    assert run_json(*command) == again | {"problems": [problem]}
    assert run(*command).stdout == "9 files: 0 loaded (0 observations), 8 unchanged, 1 failed.\n"


def test_nothing_to_ingest(tmp_path: Path) -> None:
    """No file that can be read, and a folder of other JSON."""
    (tmp_path / "scores_a.json").write_text("{")
    store = tmp_path / "store"
    result = run("ingest", tmp_path / "scores_a.json", "--store", store, "--json", code=2)
    assert '"failed": 1' in result.stdout
    assert "no file could be read" in result.stderr
    write_json(tmp_path / "docs" / "package.json", {"name": "x"})
    run("ingest", tmp_path / "docs", "--store", store, code=2)


def test_life_of_a_store(broken: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("ingest", broken, "--store", store)
    (alpha,) = {row["task"] for row in run_json("score", store, "--task", "alpha")["curves"]}
    assert alpha == "alpha"
    (source,) = run_json("store", "info", store)["sources"]
    assert (source["source"], source["files"], source["failed"]) == ("tree", 9, 1)
    assert " bigbench " in run("store", "info", store).stdout
    assert len(run_json("store", "problems", store, "--conflicts")["problems"]) == 1
    result = run("store", "problems", store, "--strict", code=1)
    assert result.stdout.startswith("error: tree/alpha/results/scores_Fam_0m.json: ")
    assert result.stderr == "1 problem\n"
    assert run_json("store", "remove", store, "tree/alpha/*") == {"removed": 5}
    assert "nothing*" in run("store", "remove", store, "nothing*", code=2).stderr
    assert run("store", "remove", store, "tree/beta/*512m*").stdout == "1 file removed\n"
    assert {row["task"] for row in run_json("score", store)["curves"]} == {"beta"}
    assert run_json("store", "compact", store)["parts"] >= 1
    assert run("store", "compact", store).stdout == "1 part\n"
    assert {row["task"] for row in run_json("score", store)["curves"]} == {"beta"}


def test_files_that_are_gone_are_told(tree: Path, tmp_path: Path) -> None:
    command = ("ingest", tree, "--store", tmp_path / "store")
    assert "gone" not in run(*command).stdout
    gone = min(tree.rglob("*.json"))
    gone.unlink()
    found = run(*command)
    assert found.stdout.endswith("0 failed; 1 stored file no longer there.\n")
    assert f"{gone.name}: no longer there: its scores are kept" in found.stderr
    again = run_json(*command, "--strict", code=1)
    assert (again["gone"], len(again["problems"])) == (1, 1)
