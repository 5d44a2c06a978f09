"""Columns that stand in the path of a file, for readers of every kind."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import entry, plain, run_json, score_file, write_json
from hypothesis import example, given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.readers import ReadOptions
from bigbench_meta.readers.paths import PathPattern

if TYPE_CHECKING:
    from pathlib import Path

_TOKENS = ["a", "/", "-", "*", "**", "?"]
_AS_REGEX = {"*": "[^/]*?", "**": ".*?", "?": "[^/]", "{task}": "(?P<task>[^/]+?)"}


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{variant}/*", "runs/v0/a.json", {"variant": "v0"}),
        ("{variant}/*", "a.json", None),
        ("{variant}/{model_name}-{shots}shot*.json", "x/v1/pythia-70m-5shot_2022.json",
         {"variant": "v1", "model_name": "pythia-70m", "shots": "5"}),
        ("{variant}/{model_name}-{shots}shot*.json", "x/v1/pythia-70m-fewshot.json", None),
        ("{model}-{checkpoint}.csv", "x/1b-step3.csv", {"model": "1b", "checkpoint": "step3"}),
        ("runs/**/{task}/?.json", "top/runs/a/b/sums/7.json", {"task": "sums"}),
        ("{variant}/a.json", "runs\\v0\\a.json", {"variant": "v0"}),
        ("{model_name}.(csv)", "x/a.(csv)", {"model_name": "a"}),
        ("{model_name}.(csv)", "x/a.csv", None),
    ],
)  # fmt: skip
def test_what_names_match(pattern: str, path: str, found: dict[str, str] | None) -> None:
    assert PathPattern.parse(pattern).of(path) == found


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.json", "'*.json' has no name in braces"),
        ("{nobody}/*", "{nobody} is not a column\nHint: names are benchmark, task"),
        ("{task}/{task}", "{task} stands twice"),
        ("{}/*", "{} is not a column"),
        ("{task", "a brace without its other half"),
        ("{task}}", "a brace without its other half"),
        ("{task}" + "*a" * 50, "more than 100 names, stars and texts"),
    ],
)
def test_patterns_that_cannot_be(pattern: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        PathPattern.parse(pattern)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{task}-{subtask}-{variant}-{model_name}-{shots}x", "-".join("a" * 2000)),
        ("**a**b**c**d**{task}x", "abcd/" * 800),
        ("*a" * 40 + "{task}x", "a" * 4000),
        ("**/" * 40 + "{task}x", "a/" * 2000),
        ("?" * 90 + "{task}x", "a" * 4000),
        ("**{task}**x", "a/" * 30_000),  # as in an archive; no path that fits is so long
    ],
)
def test_no_path_takes_long(pattern: str, path: str) -> None:
    started = time.process_time()
    assert PathPattern.parse(pattern).of(path) is None
    assert time.process_time() - started < 5


@given(st.text("a/5-", max_size=9), st.lists(st.sampled_from(_TOKENS), min_size=1, max_size=5))
@example("-/5", ["-", "*", "*"])
def test_a_path_fits_as_a_regular_expression_does(path: str, tokens: list[str]) -> None:
    pattern = "".join([*tokens, "{task}"])
    found = PathPattern.parse(pattern).of(path)
    parts = re.findall(r"\{task\}|\*\*|.", pattern)  # two stars side by side are one token
    # The last folders first, then each token as short as can be.
    same = re.fullmatch("(?:.*/|)" + "".join(_AS_REGEX.get(t, t) for t in parts), path)
    assert found == (same and same.groupdict())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two training runs of one model in folders of their own, in two formats."""
    for run, score in (("v0", 0.25), ("v1", 0.5)):
        rows = score_file(scores=[entry(score_dict={"m": score}, preferred_score="m")])
        write_json(tmp_path / "tree" / run / "scores_Fam_1m.json", rows)
        harness = {"results": {"piqa": {"acc": score}}, "config": {"model_args": "pretrained=gpt2"}}
        write_json(tmp_path / "tree" / run / "results.json", harness)
    return tmp_path / "tree"


@pytest.mark.parametrize("stored", [False, True])
def test_folders_tell_runs_apart(tree: Path, tmp_path: Path, stored: bool) -> None:
    def read(path: str | None) -> list[dict[str, object]]:
        if not stored:
            return plain(bm.read_results(tree, path=path)[0])
        store = bm.Store(tmp_path / "store")
        store.ingest(tree, options=ReadOptions(path=path))
        return plain(store.observations())

    assert {row["variant"] for row in read(None)} == {None}
    assert any("unexplained" in str(row["replicate"]) for row in read(None))
    rows = read("{variant}/*")
    assert {(row["variant"], row["score"]) for row in rows} == {("v0", 0.25), ("v1", 0.5)}
    assert {row["replicate"] for row in rows} == {None}
    assert len(rows) == 4


def test_a_model_in_the_path_is_known_by_the_rules(tree: Path) -> None:
    (tree / "v0").rename(tree / "pythia-70m-step3000")
    (tree / "v1").rename(tree / "pythia-1b")
    rows = plain(bm.read_results(tree, path="{model}/*.json")[0])
    assert {(row["model_name"], row["total_params"], row["score"]) for row in rows} == {
        ("pythia-70m", 70426624, 0.25), ("pythia-1b", 1011781632, 0.5)
    }  # fmt: skip
    said = {row["model_name"]: json.loads(str(row["settings"] or "{}")) for row in rows}
    assert said["pythia-70m"]["checkpoint"] == "step3000"
    assert "checkpoint" not in said["pythia-1b"]


def test_a_model_in_the_path_keeps_the_size_that_the_file_counts(tmp_path: Path) -> None:
    """Its name states none; one that states a size goes before the file."""
    for model, counted in (("owl-tiny", 10**8), ("owl-3b", 2_900_000_000)):
        config = {"model_args": "path=x", "model_num_parameters": counted}
        content = {"results": {"piqa": {"acc": 0.5}}, "config": config}
        write_json(tmp_path / model / "results.json", content)
    rows, _ = bm.read_results(tmp_path, path="{model}/results.json")
    found = dict(zip(rows["model_name"], rows["total_params"], strict=True))
    assert found == {"owl-tiny": 10**8, "owl-3b": 3 * 10**9}


def test_a_size_alone_takes_the_family_of_the_path(tree: Path) -> None:
    (tree / "v0").rename(tree / "owl-30m")
    (tree / "v1").rename(tree / "owl-1b")
    rows = plain(bm.read_results(tree, path="{model_family}-{model}/*.json")[0])
    assert {(row["model_family"], row["model_name"], row["total_params"]) for row in rows} == {
        ("owl", "owl-30m", 30_000_000), ("owl", "owl-1b", 10**9)
    }  # fmt: skip


def test_a_path_that_does_not_fit_is_told(tree: Path) -> None:
    observations, problems = bm.read_results(tree, path="{variant}/scores_*.json")
    assert set(observations["variant"].dropna()) == {"v0", "v1"}
    reasons = problems[problems["reason"].str.startswith("the path does not fit")]
    assert set(reasons["source"]) == {"tree/v0/results.json", "tree/v1/results.json"}


@pytest.mark.parametrize("said", ["greedy", "[1]", '{"a": 1', "null", "[" * 10_000])
def test_settings_that_are_no_object_stay_beside_those_of_the_path(
    tmp_path: Path, said: str
) -> None:
    columns = {
        "benchmark": "b", "task": "t", "metric": "m", "model_family": "owl", "model_name": "owl-1b",
        "score": 0.5, "settings": said,
    }  # fmt: skip
    (tmp_path / "step1").mkdir()
    pd.DataFrame([columns]).to_csv(tmp_path / "step1" / "t.csv", index=False)
    for path in (tmp_path, tmp_path / "step1" / "t.csv"):
        (row,) = plain(bm.read_results(path, path="{checkpoint}/*.csv", strict=True)[0])
        assert json.loads(str(row["settings"])) == {"": said, "checkpoint": "step1"}


@pytest.mark.parametrize("path", ["{model}/*.json", "{variant}/*.json"])
def test_rules_of_names_that_a_path_needs_are_part_of_what_is_stored(
    tree: Path, tmp_path: Path, path: str
) -> None:
    """Other rules give other families, in BIG-bench's files as well."""
    (tree / "v0").rename(tree / "owl-1b")
    (tree / "v1").rename(tree / "owl-7b")
    store, found = bm.Store(tmp_path / "store"), []
    for family in ("one", "two"):
        rules = tmp_path / f"{family}.csv"
        rules.write_text(f"pattern,family\nowl-(?P<size>\\d+b),{family}\n")
        options = ReadOptions(path=path, names=rules)
        found.append(store.ingest(tree / "owl-1b/scores_Fam_1m.json", options=options).unchanged)
        (row,) = plain(store.observations())
        assert (row["model_family"] == family) == ("{model}" in path)
    assert found == [0, 0 if "{model}" in path else 1]


def test_the_command_takes_a_pattern(tree: Path) -> None:
    found = run_json("score", tree, "--path", "{variant}/*")["curves"]
    assert {curve["variant"] for curve in found} == {"v0", "v1"}
