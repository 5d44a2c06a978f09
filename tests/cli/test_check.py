"""The command `check`: every way in, what it prints and writes, refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from helpers import entry, run, run_json, score_file, strict_json, write_tree

from bigbench_meta.check import settle

if TYPE_CHECKING:
    from pathlib import Path

SCORES = "0.35B:0.02,1.3B:0.03,6.7B:0.05,175B:0.86"
CLAIM = ["--scores", SCORES, "--metric", "exact_str_match", "--n", 1000]
UNCLEAR = [
    "--scores", "1B:0.0,3B:0.25,10B:0.5,30B:0.75", "--metric", "exact_str_match", "--n", 4,
]  # fmt: skip
SIZES = {"a": 10**8, "b": 10**9, "c": 10**10, "d": 10**11}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer simulated curves, so that a table takes a second or two."""
    monkeypatch.setattr(settle, "_SIMULATED", 10)


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    path = tmp_path / "claim.csv"
    path.write_text("size,score\n0.35B,0.02\n1.3B,0.03\n6.7B,0.05\n175B,0.86\n")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A task whose exact match jumps, with BLEU beside it, and two that rise smoothly."""
    series = {
        "jump": ([0.02, 0.03, 0.05, 0.86], [10.0, 12.0, 15.0, 40.0]),
        "rise": ([0.12, 0.25, 0.42, 0.58], [20.0, 30.0, 40.0, 50.0]),
        "rise too": ([0.05, 0.12, 0.25, 0.42], [10.0, 20.0, 30.0, 40.0]),
    }
    write_tree(
        tmp_path / "results",
        [
            score_file(
                task_name=task, model_name=name, params=size,
                scores=[entry(score_dict={"exact_str_match": exact[place], "bleu": bleu[place]},
                              subtask_description=task)],
            )
            for task, (exact, bleu) in series.items()
            for place, (name, size) in enumerate(SIZES.items())
        ],
    )  # fmt: skip
    return tmp_path / "results"


def of_tree(tree: Path, *arguments: object) -> list[object]:
    counts = tree.parent / "counts.csv"
    counts.write_text("task,n_examples\njump,1000\nrise,1000\nrise too,1000\n")
    return [tree, "--n-examples", counts, *arguments]


# --- Ways in ---


def test_scores() -> None:
    found = run("check", *CLAIM).stdout
    assert found.startswith("Sharper than smooth improvement: a sudden 20-fold ")
    assert found.count("\n") == 1


def test_json_of_scores() -> None:
    found = run_json("check", *CLAIM)
    assert (found["verdict"], found["reason"]) == ("sharper", "step")
    assert (found["step_factor"], found["odds_needed"], found["among"]) == (20, 20, 1)
    assert found["settle"] is None
    assert found["outputs"] == []
    assert found["second_metric"] is None
    assert [row["score"] for row in found["points"]] == [0.02, 0.03, 0.05, 0.86]
    assert [row["n_examples"] for row in found["points"]] == [1000] * 4
    assert found["paragraph"] + "\n" == run("check", *CLAIM).stdout
    assert found["numbers"]["odds_step"] > 20


def test_a_file_says_what_scores_say(claim: Path) -> None:
    found = run_json("check", claim, *CLAIM[2:])
    assert found == run_json("check", *CLAIM)


def test_columns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "claim.csv"
    path.write_text(
        "size,score,n,stderr,multiple_choice_grade\n"
        "1e8,0.12,500,,0.30\n1e9,0.25,500,,0.35\n1e10,0.42,400,,0.42\n1e11,0.58,500,,0.50\n"
    )
    found = run_json(
        "check", path, "--metric", "exact_str_match", "--second-metric", "multiple_choice_grade",
        "--no-settle",
    )  # fmt: skip
    assert found["second_metric"]["numbers"]["metric"] == "multiple_choice_grade"
    assert [row["score"] for row in found["second_metric"]["points"]] == [0.3, 0.35, 0.42, 0.5]
    assert [row["n_examples"] for row in found["points"]] == [500, 500, 400, 500]
    assert found["odds_needed"] == 40


def test_standard_errors_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "claim.csv"
    path.write_text("size,score,stderr\n1e8,0.12,.01\n1e9,0.25,.01\n1e10,0.42,.01\n1e11,0.58,.01\n")
    assert run_json("check", path, "--metric", "exact_str_match")["verdict"] == "explained"
    path.write_text("size,score\n1e8,0.12\n1e9,0.25\n1e10,0.42\n1e11,0.58\n")
    found = run_json("check", path, "--metric", "exact_str_match")
    assert (found["verdict"], found["reason"]) == ("undecidable", "no_test_set")
    assert found["settle"] is None  # there is nothing to simulate from


def test_chance_counts() -> None:
    scores = ["--scores", "1B:0.26,3B:0.25,10B:0.3,30B:0.7", "--metric", "multiple_choice_grade"]
    found = run_json("check", *scores, "--n", 1000, "--chance", 0.25, "--no-settle")
    assert found["numbers"]["chance"] == 0.25


def test_options_of_a_claim() -> None:
    found = run_json("check", *CLAIM, "--among", 1000, "--step-factor", 30, "--no-settle")
    assert (found["among"], found["step_factor"]) == (1000, 30)
    assert found["verdict"] == "undecidable"
    assert "30-fold" in found["paragraph"]


def test_published_results() -> None:
    found = run_json(
        "check", "--embedded", "gpt3", "--task", "arithmetic 3D+", "--shots", 50, "--no-settle"
    )
    assert found["numbers"]["task" if "task" in found["numbers"] else "subtask"] == "arithmetic 3D+"
    assert found["numbers"]["sigma"] == "family"
    assert len(found["points"]) == 8
    assert found["numbers"]["odds_step_family"] == found["numbers"]["odds_step"]


def test_results(tree: Path) -> None:
    options = ["--task", "jump", "--metric", "exact_str_match"]
    found = run_json("check", *of_tree(tree, *options, "--no-settle"))
    assert found["numbers"]["metric"] == "exact_str_match"
    # The other tasks say how much these models vary.
    assert found["numbers"]["sigma"] == "family"
    assert found["numbers"]["odds_step"] == found["numbers"]["odds_step_family"]
    assert found["verdict"] == "sharper"
    both = run_json("check", *of_tree(tree, *options, "--second-metric", "bleu", "--no-settle"))
    assert both["second_metric"]["numbers"]["metric"] == "bleu"
    assert both["odds_needed"] == 40


@pytest.mark.usefixtures("few")
def test_a_plan() -> None:
    arguments = ["check", "--plan", "--sizes", "0.1B,1B,10B,100B", "--steps", "20"]
    found = run_json(*arguments)
    assert [row["n_sizes"] for row in found["plan"]] == [4, 7]
    assert {row["factor"] for row in found["plan"]} == {20}
    assert found["outputs"] == []
    assert all(row["enough"] for row in found["plan"])
    text = run(*arguments).stdout
    for name in ("factor", "n sizes", "n examples", "explained, if smooth", "sharper, if it jumps"):
        assert name in text


# --- What would settle it ---


@pytest.mark.usefixtures("few")
def test_an_undecidable_claim_is_told_what_would_settle_it() -> None:
    found = run_json("check", *UNCLEAR, "--target-length", 4)
    assert (found["verdict"], found["reason"]) == ("undecidable", "either")
    options = [row["option"] for row in found["settle"]]
    assert options[0] == "as it is"
    assert options[-1] == "share of right tokens instead"
    text = run("check", *UNCLEAR).stdout
    assert text.startswith("Undecidable: ")
    assert (
        "Next: what would settle it with a probability of at least 80%: more examples (4 sizes"
        in text
    )
    assert "share of right tokens" not in text


@pytest.mark.usefixtures("few")
def test_settle_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_json("check", *UNCLEAR, "--no-settle")["settle"] is None
    monkeypatch.setattr(settle, "_MOST_EXAMPLES", 40)
    text = run("check", *UNCLEAR, "--step-factor", 1.2, "--settle").stdout
    assert "No evaluation that was simulated would settle it with a" in text


# --- Files ---


@pytest.mark.usefixtures("no_drawing", "few")
def test_files(tmp_path: Path, claim: Path) -> None:
    out = tmp_path / "out"
    found = run_json("check", claim, *CLAIM[2:], "--out", out, "--settle")
    names = sorted(path.name for path in out.iterdir())
    assert {"claim.md", "claim.tex", "claim.json", "figures"} <= set(names)
    assert (out / "figures" / "claim.svg").read_text().startswith("<svg")
    assert len(found["outputs"]) == sum(path.is_file() for path in out.rglob("*"))
    markdown = (out / "claim.md").read_text()
    assert markdown.startswith(found["paragraph"])
    assert "emergence" in markdown
    assert "as it is" in markdown
    assert "nan" not in markdown.lower().replace("finan", "")
    latex = (out / "claim.tex").read_text()
    assert r"95\%" in latex
    assert r"\begin{t" in latex
    document = strict_json((out / "claim.json").read_text())
    assert {**document, "outputs": found["outputs"]} == found
    (record,) = out.glob("run_*.json")
    inputs = json.loads(record.read_text())["inputs"]
    assert [one["path"] for one in inputs] == [claim.as_posix()]


@pytest.mark.usefixtures("few")
def test_files_of_a_plan(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--plan", "--sizes", "0.1B,1B,10B,100B", "--steps", "20", "--out", out]
    text = run("check", *arguments).stdout
    assert f"written into {out.as_posix()}" in text
    assert json.loads((out / "plan.json").read_text())["plan"][0]["n_sizes"] == 4
    assert "factor" in (out / "plan.md").read_text()
    assert (out / "plan.tex").is_file()


@pytest.mark.usefixtures("no_drawing")
def test_files_of_ones_own_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "claim.md").write_text("my notes")
    result = run("check", *CLAIM, "--out", out, code=2)
    assert "claim.md" in result.stderr
    assert (out / "claim.md").read_text() == "my notes"
    assert [path.name for path in out.iterdir()] == ["claim.md"]


@pytest.mark.usefixtures("no_drawing")
def test_files_of_this_command_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("check", *CLAIM, "--out", out)
    before = (out / "claim.md").read_text()
    run("check", *CLAIM, "--among", 2, "--out", out)
    assert (out / "claim.md").read_text() != before


# --- Refusals ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one claim: a CSV file, --scores, or --task with RESULTS"),
        (["--scores", SCORES], "--metric: a claim needs the metric of its scores"),
        (["--scores", "1B 0.1", *CLAIM[2:]], "--scores: '1B 0.1' has no colon"),
        (["--scores", "1B:many", *CLAIM[2:]], "--scores: '1B:many' is not a number"),
        (["--scores", "1B:", *CLAIM[2:]], "--scores: '1B:' is not a number"),
        (["--scores", "big:0.1,1B:0.2", *CLAIM[2:]], "sizes: 'big' is not a model size"),
        (["--scores", "1B:0.1,1e9:0.2", *CLAIM[2:]], "sizes: a size is given twice"),
        (["--scores", "1B:0.1,2B:nan", *CLAIM[2:]], "score: a score is not a number"),
        (["--scores", "1B:2,2B:86", *CLAIM[2:]], "score: 2 is above 1"),
        (["--scores", SCORES, "--metric", "exact_str_mach"], "did you mean 'exact_str_match'?"),
        ([*CLAIM, "--second-metric", "bleu"], "--second-metric: there is no column 'bleu'"),
        ([*CLAIM, "--shots", 5], "--shots: only with --task and RESULTS"),
        ([*CLAIM, "--family", "GPT"], "--family: only with --task and RESULTS"),
        (
            [*CLAIM, "--task", "t"],
            "--scores: applies only to a claim given as numbers, not to RESULTS",
        ),
        ([*CLAIM, "--n-examples", 500], "--n-examples: only with --task and RESULTS"),
        (
            ["--embedded", "gpt3", "--task", "PIQA", "--n", 5],
            "--n: applies only to a claim given as numbers, not to RESULTS",
        ),
        (
            ["--embedded", "gpt3", "--task", "PIQA", "--chance", 0],
            "--chance: applies only to a claim",
        ),
        (["--embedded", "gpt3"], "--task: name the task of the curve"),
        (["--embedded", "gpt3", "--task", "arithmetic 3D+"], "3 curves of 'arithmetic 3D+' differ"),
        (["--embedded", "gpt3", "--task", "arithmetic 3D"], "did you mean 'arithmetic 3D"),
        ([*CLAIM, "--among", 0], "'--among': 0 is not in the range"),
        ([*CLAIM, "--step-factor", 1], "'--step-factor': 1.0 is not in the range"),
        ([*CLAIM, "--target-length", 0.5], "'--target-length': 0.5 is not in the range"),
        ([*CLAIM, "--chance", 1], "chance: 1 is not below the best score of exact_str_match"),
        (["--plan"], "--sizes: needed with --plan"),
        ([*CLAIM, "--plan", "--sizes", "1B,2B,3B,4B"], "--plan: takes no claim"),
        ([*CLAIM, "--sizes", "1B,2B,3B,4B"], "--sizes: only with --plan"),
        (["--plan", "--sizes", "1B,2B"], "sizes: fewer than 4 different sizes"),
        (["--plan", "--sizes", "1B,2B,3B,x"], "sizes: 'x' is not a model size"),
        (
            ["--plan", "--sizes", "1B,2B,3B,4B", "--steps", "a"],
            "--steps: 'a' is not a list of numbers",
        ),
        (["--plan", "--sizes", "1B,2B,3B,4B", "--steps", "1"], "factor: 1 is not a finite number"),
        (["nowhere.csv", *CLAIM[2:]], "nowhere.csv"),
    ],
)
def test_refusals(arguments: list[object], message: str) -> None:
    result = run("check", *arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size,scores\n1B,0.1\n", "there is no column 'score'"),
        ("size,scores\n1B,0.1\n", "did you mean 'scores'?"),
        ("model,score\n1B,0.1\n", "there is no column 'size'"),
        ("size,score\n1B,0.1\n2B,high\n", "score: 'high' in line 3 is not a number"),
        ("size,score,n\n1B,0.1,x\n", "n: 'x' in line 2 is not a number"),
        ("size,score,bleu\n1B,0.1,3\n", "column 'bleu' is not known"),
        ("size,score,bleu\n1B,0.1,3\n", "a second metric is named by --second-metric"),
        ("size,score\n1B,0.1\n2B,\n", "score: a score is not a number"),
        ("", "claim.csv"),
    ],
)
def test_files_that_are_no_claims(claim: Path, text: str, message: str) -> None:
    claim.write_text(text)
    result = run("check", claim, "--metric", "exact_str_match", code=2)
    assert message in result.stderr
    assert claim.as_posix() in result.stderr or "a score is" in message
    assert result.stdout == ""


def test_one_claim_at_a_time(claim: Path) -> None:
    for arguments in ([claim, claim, *CLAIM[2:]], [claim, *CLAIM]):
        assert "give one claim" in run("check", *arguments, code=2).stderr


def test_several_curves(tree: Path) -> None:
    stderr = run("check", *of_tree(tree, "--task", "jump"), code=2).stderr
    assert "2 curves of 'jump' differ in metric (" in stderr
    assert "exact_str_match" in stderr
    assert "choose one with --metric, --family, --shots or --variant" in stderr
    options = ["--task", "jump", "--metric", "exact_str_match", "--second-metric", "blue"]
    assert "no curve of 'blue'" in run("check", *of_tree(tree, *options), code=2).stderr


def test_help() -> None:
    text: Any = run("check", "--help").stdout
    for part in ("EXPLAINED", "SHARPER", "UNDECIDABLE", "--scores", "--plan", "--settle"):
        assert part in text
