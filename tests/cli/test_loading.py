"""Loading RESULTS as observations, curves and studies."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import jumps, run, run_json, tree_files, write_json, write_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("options", "n_curves"),
    [
        (["--task", "alpha"], 2),
        (["--task", "alpha", "--task", "beta"], 4),
        (["--metric", "bleu"], 2),
        (["--task", "beta", "--metric", "bleu", "--metric", "exact_str_match"], 2),
        (["--family", "Fam"], 4),
        (["--family", "Fam", "--family", "other"], 4),
    ],
)
def test_selection_from_a_folder_and_from_a_store(
    tree: Path, tmp_path: Path, options: list[str], n_curves: int
) -> None:
    run("ingest", tree, "--store", tmp_path / "store")
    for results in (tree, tmp_path / "store"):
        curves = run_json("score", results, *options)["curves"]
        assert len(curves) == n_curves
        for option, column in (
            ("--task", "task"),
            ("--metric", "metric"),
            ("--family", "model_family"),
        ):
            asked = {
                value
                for name, value in zip(options[::2], options[1::2], strict=True)
                if name == option
            }
            assert not asked or {curve[column] for curve in curves} <= asked


@pytest.mark.parametrize(
    "command",
    [
        ["score"],
        ["analyze", "--no-inference"],
        ["aggregate"],
        ["accounts"],
        ["forecast", "-k", "3", "--forecaster", "constant"],
        ["shapes"],
        ["power", "--n", "10"],
    ],
    ids=lambda command: command[0],
)
def test_a_store_gives_what_its_folder_gives(
    tree: Path, tmp_path: Path, command: list[str]
) -> None:
    run("ingest", tree, "--store", tmp_path / "store")
    assert run_json(*command, tmp_path / "store") == run_json(*command, tree)


def test_the_source_is_named(tree: Path, tmp_path: Path) -> None:
    run("ingest", tree, "--store", tmp_path / "store")
    assert "store store: 4 curves" in run("score", tmp_path / "store").stdout
    assert "\ntree: 4 curves" in run("score", tree).stdout


def test_problems_of_a_store(broken: Path, tmp_path: Path) -> None:
    run("ingest", broken, "--store", tmp_path / "store")
    assert "truncated JSON" in run("score", tmp_path / "store", "--strict", code=1).stderr


def test_several_results_are_one_study(tmp_path: Path) -> None:
    files = tree_files()
    write_tree(tmp_path / "one", files[:4])
    write_tree(tmp_path / "two", files[4:])
    both = run_json("score", tmp_path / "one", tmp_path / "two")["curves"]
    assert {curve["task"] for curve in both} == {"alpha", "beta"}


def test_scale_and_min_scales(tmp_path: Path) -> None:
    sizes = {"total_params": 7, "non_embedding_params": 5}
    write_tree(tmp_path / "tree", [one | {"model": one["model"] | sizes} for one in jumps("alpha")])

    def first(*options: object) -> dict[str, object]:
        curve: dict[str, object] = run_json("score", tmp_path / "tree", *options)["curves"][0]
        return curve

    curve = first()
    assert (curve["scale"], curve["n_scales"]) == ("flop_matched_non_embedding_params", 4)
    curve = first("--scale", "total_params")
    assert (curve["scale"], curve["n_scales"], curve["n_tied"]) == ("total_params", 1, 3)
    curve = first("--min-scales", 5)
    assert (curve["status"], curve["emergence_score"]) == ("too_few_scales", "nan")


def test_own_catalog(tree: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "own.csv"
    catalog.write_text("metric,metric_type,higher_is_better\nbleu,continuous,false\n")
    curves = run_json("score", tree, "--catalog", catalog)["curves"]
    of_alpha = {c["metric"]: c for c in curves if c["task"] == "alpha"}
    assert of_alpha["bleu"]["metric_type"] == "continuous"
    assert of_alpha["bleu"]["emergence_score"] == -3.0
    assert of_alpha["exact_str_match"]["emergence_score"] == "inf"  # the packaged entry


def test_level(tmp_path: Path) -> None:
    subtasks = ("alpha", "alpha: one", "alpha: two")
    files = [
        one | {"scores": [one["scores"][0] | {"subtask_description": name} for name in subtasks]}
        for one in jumps("alpha")
    ]
    write_tree(tmp_path / "tree", files)
    command = ("analyze", tmp_path / "tree", "--no-inference", "--level")
    for level, counted in {"task": 2, "subtask": 4, "all": 6}.items():
        found = run_json(*command, level)
        assert (found["n_curves"], found["n_curves_of_other_level"]) == (counted, 6 - counted)
    assert "4 curves of other levels are not counted" in run(*command, "task").stdout


def test_level_of_which_there_are_no_curves(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", jumps("alpha", subtask_description="alpha: part"))
    command = ("analyze", tmp_path / "tree", "--no-inference")
    assert "none of 2 curves is at level 'task'" in run(*command, code=2).stderr
    assert run_json(*command, "--level", "subtask")["n_curves"] == 2


def test_numbers_of_examples_that_change_nothing(tree: Path, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("task,n_examples\ngamma,50\n")
    stderr = run("score", tree, "--inference", "--n-examples", sizes, "--task", "alpha").stderr
    assert f"--n-examples {sizes} has no effect: each of 8 scores already has" in stderr
    assert "2 of 2 curves have no interval: the number of examples behind" in stderr


def test_numbers_of_examples_from_several_tables(tree: Path, tmp_path: Path) -> None:
    for task, n in (("alpha", 50), ("beta", 80)):
        (tmp_path / f"{task}.csv").write_text(f"task,n_examples\n{task},{n}\n")
    options = ("--n-examples", tmp_path / "alpha.csv")
    stderr = run("score", tree, *options).stderr
    assert "gives the number of examples of 8 scores. It is still unknown for 8 of 16" in stderr
    assert "beta among their tasks" in stderr

    options += ("--n-examples", tmp_path / "beta.csv", "--n-examples", 7)
    found = run_json("score", tree, *options, "-o", tmp_path / "scores.csv")
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert found["n_curves"] == len(scores) == 4
    assert dict(zip(scores["task"], scores["n_examples_min"], strict=True)) == {
        "alpha": 50,
        "beta": 80,
    }


@pytest.mark.parametrize("command", ["accounts", "aggregate", "forecast", "shapes"])
def test_every_counting_command_takes_numbers_of_examples(command: str, tree: Path) -> None:
    assert "still unknown" not in run(command, tree, "--n-examples", 50).stderr
    assert "no.csv: cannot be read" in run(command, tree, "--n-examples", "no.csv", code=2).stderr


def test_known_issues_of_the_embedded_results() -> None:
    piqa = ("score", "--task", "PIQA", "--task", "CoQA")
    found = run_json(*piqa)
    assert "known issue" in run(*piqa).stderr
    assert found["known_issues"]["n_curves"] > 0
    left = run_json(*piqa, "--exclude-known-issues=gpt3-piqa-contamination")
    n = left["known_issues"]["n_curves_excluded"]
    assert left["n_curves"] == found["n_curves"] - n < found["n_curves"]


@pytest.mark.parametrize(
    ("command", "name", "first", "n_curves"),
    [
        ("score", "lamda", "BIG-bench", 151),
        ("score", "gpt3", "gpt3", 189),
        ("score", "paper", "schaeffer2023", 79),
    ],
)
def test_an_embedded_set(command: str, name: str, first: str, n_curves: int) -> None:
    found = run_json(command, "--embedded", name)
    assert (found["curves"][0]["benchmark"], found["n_curves"]) == (first, n_curves)


def test_the_paper_is_counted_by_target_length() -> None:
    command = ("aggregate", "--embedded", "paper")
    found = run_json(*command)
    assert (found["level"], found["n_curves"]) == ("subtask", 78)
    assert run_json(*command, "--level", "task")["n_curves"] == 29
    assert run_json("aggregate", "--embedded", "lamda")["level"] == "task"


def test_power_of_an_embedded_set() -> None:
    named = run_json("power", "--embedded", "lamda", "--n", 200, "--metric", "exact_str_match")
    assert {curve["benchmark"] for curve in named["curves"]} == {"BIG-bench"}
    assert (
        "cannot be combined" in run("power", "--embedded", "gpt3", "--accuracy", 0.1, code=2).stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--embedded", "gpt3", "--embedded", "lamda"), "embedded sets are never pooled"),
        (("--embedded", "lamda", "tree"), "--embedded: cannot be combined with RESULTS"),
        (("--embedded", "palm"), "'palm' is not one of 'lamda', 'gpt3', 'paper'"),
        (("--embedded", "lamda", "--task", "PIQA"), "embedded set lamda: no scores of task PIQA"),
        (
            ("--embedded", "lamda", "--names", "pyproject.toml"),
            "--mapping, --names and --path need RESULTS",
        ),
    ],
)
def test_embedded_sets_that_cannot_be_read(
    arguments: tuple[str, ...], message: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.parent)
    (tree.parent / "pyproject.toml").write_text("")
    assert message in run("score", *arguments, code=2).stderr


@pytest.mark.parametrize("command", ["score", "ingest"])
def test_a_pattern_that_would_hang_ends_the_command(tmp_path: Path, command: str) -> None:
    names, place = tmp_path / "names.csv", tmp_path / "runs"
    names.write_text("pattern,family\nowl.*,owl\n(a|aa)+b,owl\n")
    model = {"model_args": f"pretrained={'a' * 150}"}
    for number in range(3):
        content = {"results": {"piqa": {"acc": 0.5}}, "config": model}
        write_json(place / f"results_{number}.json", content)
    options = ["--store", tmp_path / "store"] if command == "ingest" else []
    result = run(command, place, *options, "--names", names, code=2)
    told = f"{names}, line 3: pattern: the regular expression '(a|aa)+b' takes too long on 'aaa"
    assert told in result.stderr


def table(path: Path, shares: list[float], **columns: object) -> Path:
    names = [f"{10**place}m" for place in range(len(shares))]
    sizes = [10 ** (place + 6) for place in range(len(shares))]
    rows = {"benchmark": "b", "task": "t", "metric": "acc", "model_family": "f"} | columns
    frame = pd.DataFrame({"model_name": names, "total_params": sizes, "score": shares} | rows)
    frame.to_csv(path, index=False)
    return path


SHARES = [k / 1319 for k in (15, 114, 262, 436, 568, 704)]


def test_a_number_of_examples_that_scores_contradict_is_not_used(tmp_path: Path) -> None:
    rows = table(tmp_path / "scores.csv", SHARES)
    wrong = ("score", rows, "--n-examples", 500)
    found = run_json(*wrong)
    assert (found["n_problems"], found["curves"][0]["n_examples_min"]) == (1, None)
    stderr = run(*wrong, "--strict", code=1).stderr
    assert (
        "warning: --n-examples 500: t, acc: 6 of 6 scores are no count of right answers of 500 "
        "examples (0.01137225171 x 500 = 5.686126, 1m): the number is not used; 1,319 would fit"
    ) in stderr
    right = run_json("score", rows, "--n-examples", 2638, "--strict")
    assert right["curves"][0]["n_examples_min"] == 2638


@pytest.mark.parametrize("command", ["accounts", "aggregate", "power", "shapes"])
def test_every_command_says_which_number_of_examples_is_wrong(command: str, tmp_path: Path) -> None:
    rows = table(tmp_path / "scores.csv", SHARES, n_examples=500)
    assert "scores.csv: t, acc: 6 of 6 scores are no count" in run(command, rows).stderr


def test_a_stated_number_that_is_wrong_can_be_given(tmp_path: Path) -> None:
    rows = table(tmp_path / "scores.csv", SHARES, n_examples=500)
    found = run_json("score", rows, "--n-examples", 1319)
    assert (found["n_problems"], found["curves"][0]["n_examples_min"]) == (1, 1319)


def test_a_number_of_examples_that_fits_is_a_hint_and_not_used(tmp_path: Path) -> None:
    hint = "the smallest that gives all scores of a task is 1,319 (t). It is not used"
    rows = table(tmp_path / "scores.csv", SHARES)
    assert hint in run("score", rows).stderr
    assert run_json("score", rows, "--strict")["curves"][0]["n_examples_min"] is None
    assert "the smallest that" not in run("score", rows, "--n-examples", 1319).stderr
    few = table(tmp_path / "few.csv", [0.1, 0.2, 0.4, 0.7])
    assert "the smallest that" not in run("score", few).stderr


def test_of_many_hints_some_are_named(tmp_path: Path) -> None:
    for number in range(5):
        table(tmp_path / f"{number}.csv", SHARES, task=f"t{number}")
    assert "1,319 (t0), 1,319 (t1), 1,319 (t2), and there is such a number for 2 more" in (
        run("score", tmp_path).stderr
    )


@pytest.mark.parametrize(
    ("name", "content", "is_table"),
    [
        ("wide.csv", b"model,acc\n1m,0.5\n", True),
        ("bad.json", b'{"results": {', False),
        ("bad.json.gz", gzip.compress(b'{"results": {}}', mtime=0)[:20], False),
        ("bad.zip", b"PK\3\4", False),
    ],
)
def test_a_mapping_is_proposed_for_tables_alone(tmp_path, name, content, is_table):
    (tmp_path / name).write_bytes(content)
    result = run("score", tmp_path / name, code=2)
    assert ("--mapping" in result.stderr) == is_table


def test_what_is_one_is_named_in_the_singular(tmp_path):
    rows = {"benchmark": "b", "task": "t", "metric": "acc", "model_family": "f"}
    rows |= {"model_name": [*"smlx"], "total_params": [10**6, 10**7, 10**8, 10**9]}
    path = tmp_path / "one.csv"
    pd.DataFrame(rows | {"score": [0.1, 0.2, 0.3, 0.9]}).to_csv(path, index=False)
    assert "1 curve. " in run("score", path).stdout
    assert "The only curve does not look emergent" in run("analyze", path).stdout


def doubtful(folder: Path) -> Path:
    """Results of two files a model that differ in nothing that they say, the largest limited."""
    for number, model in enumerate(("pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b")):
        config = {"model_args": f"pretrained=me/{model}", "limit": 10 if number == 3 else None}
        for run_of_two in ("a", "b"):
            score = (number + 1) / 10 + (0.01 if run_of_two == "b" else 0)
            content = {"results": {"piqa": {"acc": score}}, "config": config}
            write_json(folder / run_of_two / f"{model}.json", content)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["score"],
        ["analyze", "--no-inference"],
        pytest.param(["aggregate"], marks=pytest.mark.full),
        pytest.param(["accounts"], marks=pytest.mark.full),
        pytest.param(["forecast", "-k", "3", "--forecaster", "constant"], marks=pytest.mark.full),
        pytest.param(["shapes"], marks=pytest.mark.full),
        pytest.param(["power"], marks=pytest.mark.full),
        pytest.param(["metric-change"], marks=pytest.mark.full),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("is_store", [False, True], ids=["files", "store"])
def test_every_command_says_first_which_curves_are_not_of_one_run(
    command: list[str], tmp_path: Path, is_store: bool
) -> None:
    results = doubtful(tmp_path / "runs")
    if is_store:
        run("ingest", results, "--store", tmp_path / "store")
        results = tmp_path / "store"
    averaged = "1 of 1 curves average different scores of one model whose files do not say how"
    differently = "1 of 1 curves join models that were run differently (limit)."
    found = run(*command, results)
    first = [line.strip() for line in found.stdout.splitlines() if line.strip()][:2]
    assert averaged in first[0]
    assert differently in "".join(first)
    assert found.stderr.count("kept as replicates") == 4
    document = run_json(*command, results)
    assert [document["n_replicated"], document["n_run_differently"]] == [1, 1]
    assert [averaged in document["warnings"][0], document["warnings"][1]] == [True, differently]
    reasons = [problem["reason"] for problem in document["problems"]]
    assert len(reasons) == document["n_problems"]
    assert "1 curve joins models that were run differently: limit" in reasons


@pytest.mark.parametrize("is_store", [False, True], ids=["files", "store"])
def test_a_size_that_a_rule_of_the_user_states_is_used(tmp_path: Path, is_store: bool) -> None:
    """The names of these models count the parameters that are active."""
    rules = ["pattern,family,total_params"]
    for name, score, size in (("1b", 0.1, 7), ("3b", 0.2, 20), ("7b", 0.4, 47), ("13b", 0.5, 90)):
        content = {
            "results": {"piqa": {"acc": score}},
            "config": {"model_args": f"path=owl-{name}"},
        }
        write_json(tmp_path / "runs" / f"{name}.json", content)
        rules.append(f"owl-{name},owl,{size}000000000")
    (tmp_path / "names.csv").write_text("\n".join(rules) + "\n")
    results, options = tmp_path / "runs", ["--names", tmp_path / "names.csv"]
    if is_store:
        run("ingest", results, *options, "--store", tmp_path / "store")
        results, options = tmp_path / "store", []
    document = run_json("score", results, *options)
    assert [curve["n_scales"] for curve in document["curves"]] == [4]
    assert document["n_problems"] == 0


# Names that no score has ----------------------------------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
def test_a_name_that_no_score_has_brings_those_that_are_alike(
    tree: Path, tmp_path: Path, stored: bool
) -> None:
    results = tree
    if stored:
        run("ingest", results, "--store", tmp_path / "store")
        results = tmp_path / "store"
    error = run("score", results, "--task", "alhpa", code=2).stderr
    assert "no scores of task alhpa" in error
    assert "Hint: no task is called 'alhpa': did you mean 'alpha'?" in error
    error = run("score", results, "--task", "alpha", "--task", "zzz").stderr
    assert "No task is called 'zzz' (2 others are there)" in error
    error = run("score", results, "--task", "alpha", "--metric", "BLEU", code=2).stderr
    assert "no metric is called 'BLEU'" in error


def test_names_that_are_never_together() -> None:
    error = run("score", "--embedded", "gpt3", "--task", "PIQA", "--metric", "ppl", code=2).stderr
    assert "Hint: each name occurs in the results, but no score has them all" in error
