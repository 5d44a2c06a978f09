"""The command `power`: its three uses, JSON, refusals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from helpers import entry, run, run_json, score_file, write_tree

import bigbench_meta as bm
from bigbench_meta.inference.resolution import FLAT_KINDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Ten examples a task: an exact match that nobody has, and a rise of multiple choice."""
    sizes = {"a": 10, "b": 100, "c": 1000, "d": 10000}
    write_tree(
        tmp_path / "results",
        [
            score_file(
                task_name=task, model_name=name, params=size,
                scores=[entry(score_dict={metric: score}, preferred_score=metric,
                              subtask_description=task, low_score=low)],
            )
            for task, metric, low, scores in (
                ("never", "exact_str_match", 0.0, [0.0, 0.0, 0.0, 0.0]),
                ("rise", "multiple_choice_grade", 0.25, [0.25, 0.25, 0.5, 0.9]),
            )
            for (name, size), score in zip(sizes.items(), scores, strict=True)
        ],
    )  # fmt: skip
    return tmp_path / "results"


# --- Numbers alone ---


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--accuracy", 0.001, "--power", 0.95],
            {"accuracy": 0.001, "chance": 0.0, "power": 0.95, "alpha": 0.05, "n_examples": 2995},
        ),
        (
            ["--accuracy", 0.3, "--chance", 0.25],
            {"accuracy": 0.3, "chance": 0.25, "power": 0.95, "alpha": 0.05, "n_examples": 894},
        ),
        (
            ["--token-error", 0.5, "--tokens", 10],
            {"token_error": 0.5, "n_tokens": 10, "accuracy": 0.5**10, "chance": 0.0,
             "power": 0.95, "alpha": 0.05, "n_examples": 3067},
        ),
        (
            ["--accuracy", 0.2, "--chance", 0.25],
            {"accuracy": 0.2, "chance": 0.25, "power": 0.95, "alpha": 0.05, "n_examples": "inf"},
        ),
        (
            ["--n", 2000],
            {"n_examples": 2000, "power": 0.95, "chance": 0.0, "alpha": 0.05,
             "resolution": 0.0005, "smallest_detectable": 1 - 0.05 ** (1 / 2000)},
        ),
        (
            ["--n", 3, "--chance", 0.5],
            {"n_examples": 3, "power": 0.95, "chance": 0.5, "alpha": 0.05,
             "resolution": 1 / 3, "smallest_detectable": "nan"},
        ),
        (
            ["--n", 100, "--accuracy", 0.01],
            {"accuracy": 0.01, "chance": 0.0, "alpha": 0.05, "n_examples": 100,
             "detection_power": 1 - 0.99**100},
        ),
    ],
)  # fmt: skip
def test_json_of_numbers(arguments: list[object], expected: dict[str, Any]) -> None:
    found = run_json("power", *arguments)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--accuracy", 0.001], "2,995 examples detect an accuracy of 0.001 as above 0 with"),
        (["--accuracy", 0.3, "--chance", 0.25], "as above 0.25 (chance) with probab"),
        (["--accuracy", 0], "No number of examples detects an accuracy of 0 as above 0."),
        (["--accuracy", 0.250001, "--chance", 0.25], "may take more than a billion examples"),
        (["--n", 2000], "detect an accuracy of 0.001497 as above 0 with probability 0.95. "),
        (["-n", 2000, "--chance", 0.25], "detect an accuracy of 0.2827 as above 0.25"),
        (["--n", 3, "--chance", 0.5], "3 examples cannot detect any accuracy as above 0.5"),
        (["--n", 100, "--accuracy", 0.01], "with probability 0.634."),
    ],
)
def test_sentences(arguments: list[object], text: str) -> None:
    found = run("power", *arguments)
    assert text in found.stdout
    assert found.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accuracy", 0.1, "--token-error", 0.1], "give one of --accuracy and --token-error"),
        (
            ["--accuracy", 0.1, "results"],
            "--accuracy and --token-error cannot be combined with RESULTS",
        ),
        (["--accuracy", 0.1, "--task", "t"], "--task: only with RESULTS"),
        (["--n", 10, "--chance", 25], "chance: 25, not in [0, 1]"),
        (["--accuracy", "nan"], "'--accuracy': 'nan' is not a number"),
        (["--n", 10, "--chance", "nan"], "--chance: not a number"),
        (["--accuracy", 1.5], "'--accuracy': 1.5 is not in the range"),
        (["--n", 0], "'--n': 0 is not in the range"),
        (["--n", 10, "--power", 1], "'--power': 1.0 is not in the range"),
        (["--token-error", 0.1, "--tokens", 0], "'--tokens': 0 is not in the range"),
        (["nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_refusals(arguments: list[object], message: str) -> None:
    result = run("power", *arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


# --- Results ---


def test_results(tree: Path) -> None:
    found = run_json("power", tree, "--n", 10)
    assert (found["n_curves"], found["n_below_resolution"]) == (2, 2)
    assert found["flat_kinds"] == {"cannot_tell": 0, "not_flat": 1, "flat": 0, "unseen": 1}
    never, rise = sorted(found["curves"], key=lambda row: row["task"])
    assert (never["n_below"], never["share_below_resolution"]) == (4, 1.0)
    assert (never["flat_kind"], never["emergence_score"]) == ("unseen", "nan")
    assert never["smallest_detectable"] == pytest.approx(1 - 0.05 ** (1 / 10))
    assert (rise["n_below"], rise["chance"], rise["chance_source"]) == (2, 0.25, "low_score")
    assert rise["flat_kind"] == "not_flat"


def test_results_without_sizes(tree: Path) -> None:
    found = run_json("power", tree)
    assert found["flat_kinds"]["cannot_tell"] == 2
    assert {row["reason"] for row in found["curves"]} == {"n_unknown"}
    assert {row["n_examples_min"] for row in found["curves"]} == {None}


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ([], {"never": "unseen", "rise": "not_flat"}),
        (["--metric", "exact_str_match"], {"never": "unseen"}),
        (["--chance", 0.2], {"never": "unseen", "rise": "not_flat"}),
        (["--alpha", 1e-6], {"never": "unseen", "rise": "unseen"}),
        (["--min-scales", 5], {"never": "cannot_tell", "rise": "cannot_tell"}),
        (["--chance", 0.2, "--margin", 0.4, "--alpha", 0.5], {"never": "flat", "rise": "not_flat"}),
    ],
)
def test_options_of_results(tree: Path, options: list[object], kinds: dict[str, str]) -> None:
    curves = run_json("power", tree, "--n", 10, *options)["curves"]
    assert {row["task"]: row["flat_kind"] for row in curves} == kinds


def test_text_of_results(tree: Path) -> None:
    found = run("power", tree, "--n", 10)
    assert "results: 2 curves; use --json for all columns." in found.stdout
    assert "On 2 curves, some models score less than one right answer above chance" in found.stdout
    assert "Flatness: 0 cannot tell, 1 not flat, 0 flat, 1 unseen." in found.stdout


def test_embedded_results() -> None:
    # docs/power.md: 12 of the 21 flagged curves have scales without one right answer.
    found = run_json("power")
    assert (found["n_curves"], found["n_flagged"], found["threshold"]) == (189, 21, 100.0)
    assert found["n_flagged_below_resolution"] == 12
    assert found["n_below_resolution"] == 19
    assert sum(found["flat_kinds"].values()) == 189
    assert list(found["flat_kinds"]) == list(FLAT_KINDS)
    assert found["flat_kinds_of_flagged"]["not_flat"] == 19
    assert len(found["curves"]) == 189
    assert run_json("power", "--threshold", 600)["n_flagged"] == 9


def test_every_number_of_the_table_is_that_of_the_library(tree: Path) -> None:
    from bigbench_meta.inference.resolution import resolution

    observations, _ = bm.read_results(tree)
    frame = resolution(bm.build_curves(observations), n_examples=10)
    for row, expected in zip(
        run_json("power", tree, "--n", 10)["curves"], frame.to_dict("records"), strict=True
    ):
        for name, value in expected.items():
            if isinstance(value, float) and not math.isnan(value):
                assert row[name] == pytest.approx(value), name
