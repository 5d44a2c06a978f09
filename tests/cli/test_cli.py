"""The command line: help, JSON for machines, exit codes, and names that no form of output bends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers import (
    SIZES,
    entry,
    plain,
    run_program,
    score_file,
    strict_json,
    tree_files,
    write_json,
    write_tree,
)

import bigbench_meta as bm
from bigbench_meta.cli import console
from bigbench_meta.cli.main import COMMANDS, main
from bigbench_meta.core.schema import CURVE_SCORES
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


ANSI = re.compile("\x1b\\[")


def run(*arguments: object, code: int = 0) -> Result:
    result: Result = run_program(main, arguments, code=code)
    return result


def document(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = strict_json(result.stdout)
    return parsed


def process(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own, as a pipe sees it."""
    code = "from bigbench_meta.cli.main import main; main(prog_name='bigbench-meta')"
    environment = {name: value for name, value in os.environ.items() if "COLOR" not in name}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        check=False,
        env=environment,
    )


def jumps(*tasks: str, **overrides: Any) -> Iterator[dict[str, Any]]:
    """Files of tasks that all models fail but the largest: each E is infinite, of bleu it is 3."""
    for task in tasks:
        for number, (name, params) in enumerate(SIZES.items()):
            yield score_file(
                **{
                    "task_name": task,
                    "model_name": name,
                    "params": params,
                    "score_dict": {"exact_str_match": 0.9 * (number == 3), "bleu": float(number)},
                }
                | overrides
            )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree", jumps("alpha", "beta"))
    return tmp_path / "tree"


@pytest.fixture
def broken(tree: Path) -> Path:
    """The same with one file that cannot be read."""
    (tree / "alpha" / "results" / "scores_Fam_0m.json").write_text("{")
    return tree


@pytest.fixture
def no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds that it takes to draw; what is drawn is for the tests of the report."""
    monkeypatch.setattr("vl_convert.vegalite_to_png", lambda *_, **__: b"\x89PNG")


# Help -----------------------------------------------------------------------------------------


def test_commands_are_those_of_the_design() -> None:
    assert {"analyze", "ingest", "score", "aggregate", "claims"} <= set(COMMANDS)


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(command: str, flag: str) -> None:
    text = run(command, flag).stdout
    assert "Examples:" in text
    # On a line of its own, not filled into a paragraph.
    assert re.search(rf"^\s+bigbench-meta {command}( |$)", text, flags=re.MULTILINE)


def test_help_names_every_command() -> None:
    text = run("--help").stdout
    assert [command for command in COMMANDS if f"\n  {command} " not in text] == []
    assert "Exit codes: 0 done" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    silent = [
        option.name
        for option in main.get_command(click.Context(main), command).params
        if option.param_type_name == "option" and not option.help  # type: ignore[attr-defined]
    ]
    assert silent == []


def test_version() -> None:
    assert run("--version").stdout == f"bigbench-meta, version {bm.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from bigbench_meta.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'altair', 'rich') if m in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "bigbench-meta" in done.stdout


# JSON -----------------------------------------------------------------------------------------


def test_claims_json() -> None:
    found = document(run("claims", "--json"))
    table = bm.claims_by_metric()
    assert {name: found[name] for name in bm.claims_summary(table)} == bm.claims_summary(table)
    assert {"n_claims", "share_top_two", "by_metric"} <= set(found)
    assert found["n_claims"] == sum(row["n_claims"] for row in found["by_metric"])
    assert [(row["metric"], row["n_claims"], row["share"]) for row in found["by_metric"]] == list(
        table[["metric", "n_claims", "share"]].itertuples(index=False, name=None)
    )


def test_claims_of_one_class() -> None:
    found = document(run("claims", "--scaling-class", "emergent_palm", "--json"))
    table = bm.claims_by_metric(scaling_classes=["emergent_palm"])
    assert found["n_claims"] == table["n_claims"].sum()
    assert 0 < found["n_claims"] < document(run("claims", "--json"))["n_claims"]


def test_score_json(tree: Path) -> None:
    found = document(run("score", tree, "--json"))
    assert found["n_curves"] == len(found["curves"]) == 4
    assert [list(curve) for curve in found["curves"]] == [CURVE_SCORES.names] * 4
    scores = bm.score_curves(bm.build_curves(bm.read_results(tree)[0]))
    expected = [
        {
            name: ("nan" if value is None and scores[name].dtype.kind == "f" else value)
            if value != float("inf")
            else "inf"
            for name, value in row.items()
        }
        for row in plain(scores)
    ]
    assert found["curves"] == expected
    of_alpha = {c["metric"]: c for c in found["curves"] if c["task"] == "alpha"}
    assert of_alpha["exact_str_match"]["emergence_score"] == "inf"
    assert of_alpha["exact_str_match"]["status"] == "zero_median"
    assert of_alpha["exact_str_match"]["variant"] is None
    assert of_alpha["exact_str_match"]["resolution"] == "nan"
    assert of_alpha["bleu"]["emergence_score"] == 3.0


def test_a_fall_is_minus_infinity(tmp_path: Path) -> None:
    files = [
        changed | {"scores": [entry(score_dict={"exact_str_match": 0.9 * (n == 0)})]}
        for n, changed in enumerate(jumps("alpha"))
    ]
    write_tree(tmp_path / "tree", files)
    (curve,) = document(run("score", tmp_path / "tree", "--json"))["curves"]
    assert (curve["emergence_score"], curve["linearity"]) == ("-inf", curve["linearity"])
    assert curve["linearity"] < 0


def test_analyze_json(tree: Path) -> None:
    found = document(run("analyze", tree, "--json", "--threshold", 2.5))
    counts = ("n_curves", "n_flagged", "n_infinite", "threshold", "n_problems", "level")
    assert {name: found[name] for name in counts} == {
        "n_curves": 4,
        "n_flagged": 4,
        "n_infinite": 2,
        "threshold": 2.5,
        "n_problems": 0,
        "level": "task",
    }
    assert [(row["metric"], row["n_flagged"], row["n_infinite"]) for row in found["by_metric"]] == [
        ("bleu", 2, 0),
        ("exact_str_match", 2, 2),
    ]
    assert sum(row["n_curves"] for row in found["by_metric_type"]) == 4
    assert found["outputs"] == []


def test_analyze_says_how_sure_it_is(tree: Path) -> None:
    options = ("--n-examples", 200, "--replicates", 99, "--seed", 1)
    found = document(run("analyze", tree, "--json", "--threshold", 2.5, *options))
    by = {(row["criterion"], row["group"]): row for row in found["evidence"]}
    assert by["flagged", "all"]["n_met"] == found["n_flagged"] == 4
    assert by["line_p", "all"]["n_judged"] > 0
    assert found["limitations"]
    assert {row["group"] for row in found["forecasts"]} == {"flagged", "not flagged"}
    assert {row["statistic"] for row in found["estimates"]} >= {"odds_ratio", "risk_ratio"}


def test_analyze_without_inference_says_nothing_of_it(tree: Path) -> None:
    found = document(run("analyze", tree, "--json", "--no-inference"))
    assert not {"evidence", "limitations", "estimates", "forecasts"} & set(found)


def test_score_with_inference(tree: Path, tmp_path: Path) -> None:
    options = ("--inference", "--n-examples", 200, "--replicates", 99, "--json")
    rows = document(run("score", tree, *options, "-o", tmp_path / "s.csv"))["curves"]
    names = {"emergence_low", "mechanism_p", "line_q_bh", "wei_emergent", "forecast_skill", "trend"}
    assert names <= set(rows[0])
    assert {(row["metric"], row["interval_status"]) for row in rows} == {
        ("exact_str_match", "ok"), ("bleu", "no_sampling_error"),
    }  # fmt: skip
    assert len(pd.read_csv(tmp_path / "s.csv")) == len(rows) == 4
    plain = document(run("score", tree, "--json"))["curves"]
    assert [row["emergence_score"] for row in plain] == [row["emergence_score"] for row in rows]
    assert not names & set(plain[0])


def test_sizes_of_test_sets_from_a_file(tree: Path, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("task,n_examples\nalpha,50\n")
    options = ("--inference", "--n-examples", sizes, "--replicates", 99, "--json")
    result = run("score", tree, *options)
    status = {(row["task"], row["interval_status"]) for row in document(result)["curves"]}
    assert ("alpha", "ok") in status
    assert {name for task, name in status if task != "alpha"} == {"no_sampling_error"}
    assert "curves have no interval" in result.stderr
    assert "--n-examples" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n-examples", "0"], "--n-examples n_examples: 0 is not a number of examples"),
        (["--n-examples", "nowhere.csv"], "--n-examples nowhere.csv: cannot be read"),
        (["--with-samples"], "--with-samples: needs a store"),
    ],
)
def test_wrong_options_of_inference(tree: Path, options: list[str], message: str) -> None:
    for command in (("analyze",), ("score", "--inference")):
        assert message in run(*command, tree, *options, code=2).stderr


@pytest.mark.parametrize(("option", "shown"), [(0.5, 0.5), ("inf", "inf"), (-5, -5.0)])
def test_threshold_in_json(tree: Path, option: object, shown: object) -> None:
    found = document(run("analyze", tree, "--json", "--threshold", option))
    assert found["threshold"] == shown
    assert found["n_flagged"] == (2 if option == "inf" else 4)


def test_share_of_nothing_is_nan_in_json(tree: Path) -> None:
    found = document(run("analyze", tree, "--json", "--metric", "bleu"))
    assert found["n_flagged"] == 0
    assert found["by_metric"][0]["share_of_flags"] == "nan"


def test_ingest_json(broken: Path, tmp_path: Path) -> None:
    command = ("ingest", broken, "--store", tmp_path / "store", "--json")
    problem = {
        "source": "tree/alpha/results/scores_Fam_0m.json",
        "field": "line 1 column 2",
        "reason": "truncated JSON: Expecting property name enclosed in double quotes",
        "severity": "error",
    }
    first = {"files": 9, "loaded": 8, "unchanged": 0, "failed": 1, "observations": 16, "samples": 0}
    again = {"files": 9, "loaded": 0, "unchanged": 8, "failed": 1, "observations": 0, "samples": 0}
    assert document(run(*command)) == first | {"problems": [problem]}
    assert document(run(*command)) == again | {"problems": [problem]}


def test_aggregate_json(tree: Path) -> None:
    study = document(run("analyze", tree, "--json"))
    found = document(run("aggregate", tree, "--json"))
    assert found["by_metric"] == study["by_metric"]
    by_type = document(run("aggregate", tree, "--by", "metric_type", "--json"))
    assert by_type["by_metric_type"] == study["by_metric_type"]
    sweep = document(run("aggregate", tree, "--sweep", "--json"))["threshold_sweep"]
    thresholds = [row["threshold"] for row in sweep]
    assert thresholds == [*sorted(thresholds[:-1]), "inf"]
    assert sweep[-1]["n_flagged"] == 2


EVERY = {
    "analyze": ["analyze", "TREE"],
    "score": ["score", "TREE"],
    "aggregate": ["aggregate", "TREE", "--sweep"],
    "claims": ["claims"],
    "ingest": ["ingest", "TREE", "--store", "STORE"],
}


def placed(arguments: list[str], tree: Path) -> list[str]:
    places = {"TREE": str(tree), "STORE": str(tree.parent / "store")}
    return [places.get(argument, argument) for argument in arguments]


@pytest.mark.parametrize("arguments", EVERY.values(), ids=EVERY)
def test_standard_output_is_one_document(arguments: list[str], broken: Path) -> None:
    """Nothing else stands there, not even for a file that cannot be read."""
    assert document(run(*placed(arguments, broken), "--json"))


@pytest.mark.parametrize("arguments", EVERY.values(), ids=EVERY)
def test_without_json_there_is_text(arguments: list[str], broken: Path) -> None:
    result = run(*placed(arguments, broken))
    assert result.stdout.strip()
    with pytest.raises(json.JSONDecodeError):
        json.loads(result.stdout)
    told = "error: tree/alpha/results/scores_Fam_0m.json: line 1 column 2: truncated JSON"
    assert (told in result.stderr) == ("TREE" in arguments)
    assert told not in result.stdout


def test_without_results_the_embedded_ones_are_studied() -> None:
    scores = bm.score_curves(bm.build_curves(bm.load_embedded()))
    counted = bm.select_level(scores)
    for command in ("analyze", "aggregate"):
        found = document(run(command, "--json"))
        assert found["n_curves"] == len(counted)
        assert found["n_flagged"] == bm.flagged(counted).sum()
    assert document(run("score", "--json"))["n_curves"] == len(scores)


# Exit codes -----------------------------------------------------------------------------------


WITH_RESULTS = {name: arguments for name, arguments in EVERY.items() if "TREE" in arguments}


@pytest.mark.parametrize("arguments", WITH_RESULTS.values(), ids=WITH_RESULTS)
def test_strict(arguments: list[str], broken: Path) -> None:
    """The work is done all the same; without the option the code is 0 (see above)."""
    assert document(run(*placed(arguments, broken), "--json", "--strict", code=1))


@pytest.mark.parametrize("command", ["analyze", "score"])
def test_strict_without_problems(command: str, tree: Path) -> None:
    run(command, tree, "--strict", code=0)


def test_strict_on_a_store_with_problems(broken: Path, tmp_path: Path) -> None:
    run("ingest", broken, "--store", tmp_path / "store")
    assert "truncated JSON" in run("score", tmp_path / "store", "--strict", code=1).stderr


UNUSABLE = {
    "unknown command": (["nonsense"], "No such command 'nonsense'"),
    "unknown option": (["score", "--nonsense"], "No such option"),
    "bad number": (["analyze", "--threshold", "high"], "'high' is not a valid float"),
    "NaN": (["analyze", "--threshold", "nan"], "threshold: not a number"),
    "unknown scale": (["score", "--scale", "size"], "'size' is not one of"),
    "unknown level": (["analyze", "--level", "both"], "'both' is not one of"),
    "one scale": (["score", "--min-scales", "1"], "1 is not in the range x>=2"),
    "no results to ingest": (["ingest", "--store", "STORE"], "Missing argument 'RESULTS...'"),
    "no store to ingest to": (["ingest", "TREE"], "Missing option '--store'"),
    "path that is not there": (["score", "nowhere"], "nowhere: no such file or folder"),
    "two, one not there": (["score", "TREE", "nowhere"], "nowhere: no such file or folder"),
    "folder without results": (["analyze", "EMPTY"], "empty: no result files found"),
    "no such task": (["score", "--task", "gamma"], "no scores of task gamma"),
    "no such metric": (["score", "TREE", "--metric", "x"], "tree: no scores of metric x"),
    "no such family": (["analyze", "TREE", "--family", "GPT"], "no scores of model_family "),
    "no such class": (["claims", "--scaling-class", "steep"], "no class steep"),
    "no catalog": (["score", "--catalog", "nowhere.csv"], "nowhere.csv: cannot be read as CSV"),
    "catalog that is none": (["score", "--catalog", "TABLE"], "table.csv: missing column"),
    "unknown ending": (["score", "-o", "scores.txt"], "scores.txt: unknown ending"),
    "no folder to write to": (["score", "-o", "TABLE/s.csv"], "cannot be written: "),
    "file in place of a folder": (["analyze", "--out", "TABLE"], "is a file"),
    "folder below a file": (["analyze", "TREE", "--out", "TABLE/out"], "written: Not a directory"),
    "store below a file": (["ingest", "TREE", "--store", "TABLE/store"], "cannot be written"),
    "results for a store": (["ingest", "TREE", "--store", "TREE"], "holds no store"),
    "store among results": (["score", "TREE", "STORE"], "a store cannot be combined"),
}  # fmt: skip


@pytest.mark.usefixtures("no_png")
@pytest.mark.parametrize(("arguments", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_done_exits_2_and_says_why(
    arguments: list[str], message: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("metric,x\nbleu,1\n")
    if "STORE" in arguments and "score" in arguments:
        run("ingest", tree, "--store", "store")
    places = {"TREE": "tree", "STORE": "store", "EMPTY": "empty"}
    result = run(*[places.get(a, a.replace("TABLE", "table.csv")) for a in arguments], code=2)
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert ": None" not in result.stderr


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_reason_why_nothing_was_written(ending: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stderr = run("score", "-o", tmp_path / "file" / f"s{ending}", code=2).stderr
    assert re.search(r"cannot be written: .*(director|exist)", stderr)
    made = tmp_path / "new" / "folder" / f"s{ending}"
    run("score", "-o", made)
    assert made.stat().st_size


def test_nothing_readable_exits_2(tmp_path: Path) -> None:
    (tmp_path / "scores_a.json").write_text("{")
    store = tmp_path / "store"
    result = run("ingest", tmp_path / "scores_a.json", "--store", store, "--json", code=2)
    assert document(result)["failed"] == 1
    assert "no file could be read" in result.stderr
    result = run("analyze", tmp_path / "scores_a.json", code=2)
    assert "truncated JSON" in result.stderr
    assert "no score could be read" in result.stderr


def test_folder_of_other_json_is_nothing_to_ingest(tmp_path: Path) -> None:
    write_json(tmp_path / "docs" / "package.json", {"name": "x"})
    run("ingest", tmp_path / "docs", "--store", tmp_path / "store", code=2)


def test_level_of_which_there_are_no_curves(tmp_path: Path) -> None:
    files = jumps("alpha", subtask_description="alpha: part")
    write_tree(tmp_path / "tree", files)
    result = run("analyze", tmp_path / "tree", code=2)
    assert "none of 2 curves is of level 'task'" in result.stderr
    assert (
        document(run("analyze", tmp_path / "tree", "--level", "subtask", "--json"))["n_curves"] == 2
    )


# A pipe ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["score", "TREE"], ["ingest", "TREE", "--store", "STORE"]])
def test_a_pipe_gets_no_colour_and_no_progress(arguments: list[str], tree: Path) -> None:
    done = process(*placed(arguments, tree))
    assert done.returncode == 0, done.stderr
    assert not ANSI.search(done.stdout.decode())
    assert b"\r" not in done.stdout
    assert done.stderr == b""


def test_a_pipe_gets_one_document(broken: Path) -> None:
    done = process("score", broken, "--json", "--strict")
    assert done.returncode == 1
    assert json.loads(done.stdout)["n_curves"] == 4
    assert done.stderr.decode().count("\n") <= 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "JSON"])
def test_a_pipe_of_any_encoding(tmp_path: Path, encoding: str, options: list[str]) -> None:
    """On Windows a pipe has the encoding of the system, in which there is no arrow and no ∞."""
    write_tree(tmp_path / "tree", jumps("α → β"))
    runner = CliRunner(charset=encoding)
    result = runner.invoke(main, ["score", str(tmp_path / "tree"), *options])
    assert result.exception is None, result.exception
    if options:
        # JSON is UTF-8, of which ASCII is a part, whatever the system prefers.
        curves = json.loads(result.stdout_bytes)["curves"]
        assert {curve["task"] for curve in curves} == {"α → β"}


def test_a_terminal_gets_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with console.progress("Reading") as step:
        assert step is not None
        step(1, 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with console.progress("Reading") as step:
        assert step is None


def test_only_the_first_problems_are_printed(tree: Path) -> None:
    for number in range(12):
        (tree / "alpha" / "results" / f"scores_{number:02}.json").write_text("{")
    lines = run("score", tree).stderr.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "... and 2 more problems"


# Names ----------------------------------------------------------------------------------------

NAMES = [
    "[bold]plain[/bold]", "[/]", "[link=x]", ":smile:", "a|b", "R&D_50%", "α → β", "$x$ #1 ~^\\{}",
    "<script>alert(1)</script>", "*star*", "`code`", "日本語", "-", "001", "1e5", "nan",
    "x" * 90,
]  # fmt: skip


def test_names_survive_the_console(tmp_path: Path) -> None:
    for number, one in enumerate(jumps(*NAMES)):
        write_json(tmp_path / "tree" / f"{number}.json", one)
    text = run("score", tmp_path / "tree", "--metric", "exact_str_match").stdout
    lines = [line.split(" exact_str_match ") for line in text.splitlines()]
    found = [line[0].strip() for line in lines if len(line) == 2]
    assert sorted(found) == sorted(NAMES)


def test_numbers_are_not_cut_beside_long_names(tmp_path: Path) -> None:
    for number, one in enumerate(jumps("long " * 50 + "end", model_family="family " * 20)):
        write_json(tmp_path / "tree" / f"{number}.json", one)
    text = run("score", tmp_path / "tree").stdout
    assert "…" not in text
    assert "zero_median" in text


def test_control_characters_do_not_reach_a_terminal(tmp_path: Path) -> None:
    for number, one in enumerate(jumps("\x1b[31mred\x1b]0;title\x07")):
        write_json(tmp_path / "tree" / f"{number}.json", one)
    assert "\x1b" not in run("score", tmp_path / "tree").stdout


@pytest.mark.parametrize("name", ["[bold]", "100 %", "a\tb"])
def test_messages_show_names_as_they_are(name: str, tmp_path: Path) -> None:
    result = run("score", tmp_path / name, code=2)
    assert name in result.stderr


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (float("inf"), "∞"), (None, "–"), (-0.5, "-0.5")]
)
def test_print_table(value: float | None, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"metric": ["m"], "x": [value]}).astype({"x": float})
    console.print_table(Table(name="t", caption="c", frame=frame))
    assert capsys.readouterr().out.split()[-2:] == ["m", shown]


# What is written, and what is asked for -------------------------------------------------------


@pytest.mark.usefixtures("no_png")
def test_analyze_writes_what_it_lists(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    listed = document(run("analyze", tree, "--threshold", 2, "--out", out, "--json"))["outputs"]
    assert len(listed) == len(set(listed)) > 10
    assert set(listed) == {p.as_posix() for p in out.rglob("*") if p.is_file()}
    assert (out / "report.html").as_posix() in listed


def test_analyze_says_what_it_wrote(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigbench_meta.report.page.write_study", lambda *_, **__: [tmp_path] * 7)
    text = run("analyze", tree, "--out", tmp_path / "out").stdout
    assert f"7 files written; open {(tmp_path / 'out' / 'report.html').as_posix()}" in text
    assert "No files written" in run("analyze", tree).stdout


@pytest.mark.usefixtures("no_png")
def test_a_study_inside_the_results_folder_is_not_read_as_results(tree: Path) -> None:
    command = ("analyze", tree, "--threshold", 2, "--out", tree / "study", "--json", "--strict")
    first, second = document(run(*command)), document(run(*command))
    assert first == second


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_score_output(tree: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"scores{ending}"
    text = run("score", tree, "-o", path).stdout
    assert str(path) in text
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".json": pd.read_json}[ending]
    frame = read(path)
    assert list(frame) == CURVE_SCORES.names
    found = document(run("score", tree, "--json"))["curves"]
    scores = [float(curve["emergence_score"]) for curve in found]
    assert frame["emergence_score"].astype(float).tolist() == scores


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
@pytest.mark.parametrize("stored", [False, True], ids=["folder", "store"])
def test_selection(
    tree: Path, tmp_path: Path, options: list[str], n_curves: int, stored: bool
) -> None:
    results = tmp_path / "store" if stored else tree
    if stored:
        run("ingest", tree, "--store", results)
    curves = document(run("score", results, *options, "--json"))["curves"]
    assert len(curves) == n_curves
    for option, column in (
        ("--task", "task"),
        ("--metric", "metric"),
        ("--family", "model_family"),
    ):
        asked = {
            value for name, value in zip(options[::2], options[1::2], strict=True) if name == option
        }
        assert not asked or {curve[column] for curve in curves} <= asked


def test_a_store_gives_what_its_folder_gives(tree: Path, tmp_path: Path) -> None:
    run("ingest", tree, "--store", tmp_path / "store")
    for command in ("score", "analyze"):
        from_store = document(run(command, tmp_path / "store", "--json"))
        assert from_store == document(run(command, tree, "--json"))


def test_scale_and_min_scales(tmp_path: Path) -> None:
    sizes = {"total_params": 7, "non_embedding_params": 5}
    files = [one | {"model": one["model"] | sizes} for one in jumps("alpha")]
    write_tree(tmp_path / "tree", files)
    curve = document(run("score", tmp_path / "tree", "--json"))["curves"][0]
    assert (curve["scale"], curve["n_scales"]) == ("flop_matched_non_embedding_params", 4)
    curve = document(run("score", tmp_path / "tree", "--scale", "total_params", "--json"))[
        "curves"
    ][0]
    assert (curve["scale"], curve["n_scales"], curve["n_tied"]) == ("total_params", 1, 3)
    curve = document(run("score", tmp_path / "tree", "--min-scales", 5, "--json"))["curves"][0]
    assert (curve["status"], curve["emergence_score"]) == ("too_few_scales", "nan")


def test_own_catalog(tree: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "own.csv"
    catalog.write_text("metric,metric_type,higher_is_better\nbleu,continuous,false\n")
    curves = document(run("score", tree, "--catalog", catalog, "--json"))["curves"]
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
    for level, counted in {"task": 2, "subtask": 4, "all": 6}.items():
        found = document(run("analyze", tmp_path / "tree", "--level", level, "--json"))
        assert (found["n_curves"], found["n_curves_of_other_level"]) == (counted, 6 - counted)


def test_several_results_are_one_study(tmp_path: Path) -> None:
    files = tree_files()
    write_tree(tmp_path / "one", files[:4])
    write_tree(tmp_path / "two", files[4:])
    both = document(run("score", tmp_path / "one", tmp_path / "two", "--json"))["curves"]
    assert {curve["task"] for curve in both} == {"alpha", "beta"}
