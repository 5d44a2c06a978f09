"""The program as a whole: help, streams, exit codes, and how soon it starts."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from helpers import jumps, run, run_json, write_tree

import bigbench_meta as bm
from bigbench_meta.cli import options
from bigbench_meta.cli.main import COMMANDS, main
from bigbench_meta.core.schema import SCALE_AXES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSI = re.compile("\x1b\\[")
ENVIRONMENT = {name: value for name, value in os.environ.items() if "COLOR" not in name}
# Modules that a command needs only once it works.
HEAVY = ("numpy", "pandas", "pyarrow", "scipy", "altair", "rich", "lazy_loader", "shutil")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command, those of groups too, with the words that call it."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())


def process(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own, as a pipe sees it."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "bigbench_meta", *map(str, arguments)],
        capture_output=True,
        check=False,
        env=ENVIRONMENT,
    )


# Help -----------------------------------------------------------------------------------------


def test_list_of_commands() -> None:
    """It has every command with the first sentence of its help, each on one line of 80 columns."""
    text = run("--help").stdout
    assert "Exit codes: 0 done" in text
    width = max(map(len, COMMANDS))
    for name, summary in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").split("\n")[0] == summary, name
        assert f"\n  {name:{width}}  {summary}\n" in text
    assert 2 + width + 2 + max(map(len, COMMANDS.values())) < 80


def test_summaries_of_groups_are_not_cut() -> None:
    assert "..." not in run("store", "--help").stdout.split("Commands:")[1]


def test_help_has_examples_and_explains_every_option() -> None:
    for name, command in commands():
        text = run(*name.split(), "--help").stdout
        assert "Example" in text, name
        # On a line of its own, not filled into a paragraph.
        assert re.search(rf"^\s+bigbench-meta {name}( |$)", text, flags=re.MULTILINE), name
        silent = [p.name for p in command.params
                  if isinstance(p, click.Option) and not p.help]  # fmt: skip
        assert silent == [], name
        assert run(*name.split(), "-h").stdout == text


def test_examples_of_help_can_be_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option of an example exists and takes the value shown."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.toml").touch()
    (tmp_path / "study" / "gpt3").mkdir(parents=True)
    (tmp_path / "study" / "run.json").write_text('{"options": {}}')
    for name, command in commands():
        text = re.sub(r"\\\n\s*", " ", command.help or "")
        for line in re.findall(r"^ *(bigbench-meta .*)$", text, re.MULTILINE):
            words = shlex.split(re.sub(r" {3,}.*", "", line))[1:]
            found, arguments = main.get_command(click.Context(main), words[0]), words[1:]
            if isinstance(found, click.Group):
                found, arguments = found.commands[arguments[0]], arguments[1:]
            assert found is not None, line
            with suppress(click.exceptions.Exit):  # of --help
                found.make_context(name, arguments)


def test_scales_are_those_of_the_schema() -> None:
    assert tuple(SCALE_AXES) == options.SCALES


def test_version() -> None:
    assert run("--version").stdout == f"bigbench-meta, version {bm.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    """Without arguments, for each command, and where an answer needs only arithmetic."""
    code = (
        "import sys\n"
        "from bigbench_meta.cli.main import COMMANDS, main\n"
        f"heavy = {HEAVY}\n"
        "def run(*arguments):\n"
        "    try:\n"
        "        main(arguments)\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code\n"
        "    return [name for name in heavy if name in sys.modules]\n"
        "assert not run('--help'), run('--help')\n"
        "assert not [name for name in COMMANDS if 'bigbench_meta.cli.' + name in sys.modules]\n"
        "assert not run('--version')\n"
        "for name in COMMANDS:\n"
        "    assert not run(name, '--help'), (name, run(name, '--help'))\n"
        "assert not run('generate', 'lm-eval-tasks', '--help')\n"
        "assert 'pandas' not in run('power', '--n', '2000')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


# Output ---------------------------------------------------------------------------------------

EVERY = {
    "analyze": ["analyze", "TREE", "--no-inference"],
    "score": ["score", "TREE"],
    "aggregate": ["aggregate", "TREE", "--sweep"],
    "accounts": ["accounts", "TREE"],
    "forecast": ["forecast", "TREE", "-k", "last", "--forecaster", "constant"],
    "shapes": ["shapes", "TREE"],
    "power": ["power", "TREE"],
    "ingest": ["ingest", "TREE", "--store", "STORE"],
    "claims": ["claims"],
}
# The others share the way in and out with these.
QUICK = {"analyze", "score", "ingest", "claims"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(arguments, id=name, marks=[] if name in QUICK else pytest.mark.full)
        for name, arguments in EVERY.items()
    ],
)
def test_json_text_problems_and_strictness(arguments: list[str], broken: Path) -> None:
    """One document, or text; a file that cannot be read is told on standard error, not there."""
    places = {"TREE": broken, "STORE": broken.parent / "store"}
    command = [places.get(argument, argument) for argument in arguments]
    told = "error: tree/alpha/results/scores_Fam_0m.json: line 1 column 2: truncated JSON"
    result = run(*command)
    assert result.stdout.strip()
    with pytest.raises(json.JSONDecodeError):
        json.loads(result.stdout)
    assert (told in result.stderr) == ("TREE" in arguments)
    assert told not in result.stdout
    found = run_json(*command)
    assert found
    if "TREE" in arguments:
        assert found == run_json(*command, "--strict", code=1) or arguments[0] == "ingest"
        (broken / "alpha" / "results" / "scores_Fam_0m.json").unlink()
        run(*command, "--strict")


def test_a_pipe_gets_text_without_colour_and_progress(broken: Path) -> None:
    done = process("score", broken)
    assert done.returncode == 0, done.stderr
    assert not ANSI.search(done.stdout.decode())
    assert b"\r" not in done.stdout
    told = "error: tree/alpha/results/scores_Fam_0m.json: line 1 column 2: truncated JSON: "
    assert done.stderr.decode().startswith(told)
    assert done.stderr.count(b"\n") == 1


def test_a_pipe_gets_one_document(broken: Path) -> None:
    done = process("score", broken, "--json", "--strict")
    assert done.returncode == 1
    assert json.loads(done.stdout)["n_curves"] == 4
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "JSON"])
def test_a_pipe_of_any_encoding(tmp_path: Path, encoding: str, arguments: list[str]) -> None:
    """On Windows a pipe has the encoding of the system, in which there is no arrow and no ∞."""
    write_tree(tmp_path / "tree", jumps("α → β"))
    result = CliRunner(charset=encoding).invoke(main, ["score", str(tmp_path / "tree"), *arguments])
    assert result.exception is None, result.exception
    if arguments:
        # JSON is UTF-8, of which ASCII is a part, whatever the system prefers.
        curves = json.loads(result.stdout_bytes)["curves"]
        assert {curve["task"] for curve in curves} == {"α → β"}


# Exit code 2 ----------------------------------------------------------------------------------

UNUSABLE = {
    "unknown command": (["nonsense"], "No such command 'nonsense'"),
    "unknown option": (["score", "--nonsense"], "No such option"),
    "bad number": (["analyze", "--threshold", "high"], "'high' is not a valid float"),
    "NaN": (["analyze", "--threshold", "nan"], "threshold: not a number"),
    "NaN of accounts": (["accounts", "--threshold", "nan"], "threshold: not a number"),
    "unknown scale": (["score", "--scale", "size"], "'size' is not one of"),
    "unknown level": (["analyze", "--level", "both"], "'both' is not one of"),
    "one scale": (["score", "--min-scales", "1"], "1 is not in the range x>=2"),
    "no results to ingest": (["ingest", "--store", "STORE"], "Missing argument 'RESULTS...'"),
    "no store to ingest to": (["ingest", "TREE"], "Missing option '--store'"),
    "path that is not there": (["score", "nowhere"], "nowhere: no such file or folder"),
    "two, one not there": (["score", "TREE", "nowhere"], "nowhere: no such file or folder"),
    "name like markup": (["score", "[bold]"], "[bold]: no file matches the pattern"),
    "name with a percent sign": (["score", "100 %"], "100 %: no such file or folder"),
    "name with a tab": (["score", "a\tb"], "a\\tb: no such file or folder"),
    "folder without results": (["analyze", "EMPTY"], "empty: no result files found"),
    "no such task": (["score", "--task", "gamma"], "no scores of task gamma"),
    "no such metric": (["score", "TREE", "--metric", "x"], "tree: no scores of metric x"),
    "no such family": (["analyze", "TREE", "--family", "GPT"], "no scores of model_family "),
    "no such class": (["claims", "--scaling-class", "steep"], "no class steep"),
    "no catalog": (["score", "--catalog", "nowhere.csv"], "nowhere.csv: cannot be read: "),
    "catalog that is none": (["score", "--catalog", "TABLE"], "table.csv: missing column"),
    "rules without results": (
        ["score", "--names", "TABLE"], "--mapping, --names and --path need RESULTS"
    ),
    "unknown ending": (["score", "-o", "scores.txt"], "scores.txt: unknown ending"),
    "no folder to write to": (["score", "-o", "TABLE/s.csv"], "cannot be written: "),
    "file in place of a folder": (["analyze", "--out", "TABLE"], "is a file"),
    "folder below a file": (["analyze", "TREE", "--out", "TABLE/out"], "written: Not a directory"),
    "store below a file": (["ingest", "TREE", "--store", "TABLE/store"], "cannot be written"),
    "results for a store": (["ingest", "TREE", "--store", "TREE"], "holds no store"),
    "store among results": (["score", "TREE", "STORE"], "a store cannot be combined"),
    "no examples": (["score", "TREE", "--n-examples", "0"], "--n-examples n_examples: 0 is"),
    "half an example": (["score", "--n-examples", "1.5"], "n_examples: 1.5 is not a whole number"),
    "no table of examples": (["score", "--n-examples", "no.csv"], "no.csv: cannot be read"),
    "samples of a folder": (
        ["score", "TREE", "--inference", "--with-samples"], "--with-samples: needs a store"
    ),
    "samples of a study": (["analyze", "TREE", "--with-samples"], "--with-samples: needs a store"),
}  # fmt: skip


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


def test_nothing_readable_exits_2(tmp_path: Path) -> None:
    (tmp_path / "scores_a.json").write_text("{")
    result = run("analyze", tmp_path / "scores_a.json", code=2)
    assert "truncated JSON" in result.stderr
    assert "no score could be read" in result.stderr


@pytest.mark.parametrize("command", ["score", "shapes", "accounts", "forecast", "metric-change"])
def test_what_is_read_is_not_written_over(tmp_path: Path, command: str) -> None:
    table = tmp_path / "x" / "own.csv"
    table.parent.mkdir()
    bm.load_embedded("gpt3").query("task == 'PIQA'").to_csv(table, index=False)
    before = table.read_bytes()
    (tmp_path / "link.csv").symlink_to(table)
    for results, output in ((table, table), (table, tmp_path / "link.csv"), (table.parent, table)):
        stderr = run(command, results, "-o", output, code=2).stderr
        assert f"{output}: is read, and would be overwritten" in stderr
        assert table.read_bytes() == before


def test_a_table_of_an_earlier_run_is_replaced(tree: Path, tmp_path: Path) -> None:
    for ending in ("csv", "json", "parquet"):
        path = tmp_path / f"scores.{ending}"
        run("score", tree, "-o", path)
        first = path.read_bytes()
        run("score", tree, "--task", "alpha", "-o", path)
        assert path.read_bytes() != first
        # With columns behind, and without them again.
        run("score", tree, "--inference", "--replicates", 99, "--task", "alpha", "-o", path)
        run("score", tree, "-o", path)
        assert path.read_bytes() == first
        path.write_bytes(b"")
        run("score", tree, "-o", path)
        assert path.read_bytes() == first


OTHERS = {
    "results": ("own.csv", "benchmark,task,metric,model_family,model_name,score\nb,t,m,f,n,1\n"),
    "a result file": ("own.json", '{"results": {}, "config": {}}'),
    "a list of other things": ("own.json", '[{"name": {"name": "exact_match"}, "count": 1}]'),
    "no record": ("own.json", "[1, 2]"),
    "two lists": ("own.json", "[] []"),
    "half a list": ("own.json", '[{"benchmark": "b'),
    "text": ("own.json", "notes"),
    "deep": ("own.json", "[" * 100_000),
    "another table": ("own.csv", "name,value\na,1\n"),
    "a part of the columns": ("own.csv", "benchmark,task,subtask\na,1,2\n"),
    "no text": ("own.csv", b"\xff\xfe\x00"),
    "no Parquet file": ("own.parquet", "notes"),
}


@pytest.mark.parametrize(("name", "content"), OTHERS.values(), ids=OTHERS)
def test_what_this_program_did_not_write_is_not_written_over(
    tree: Path, tmp_path: Path, name: str, content: str | bytes
) -> None:
    path, data = tmp_path / name, content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    for command in ("score", "accounts"):
        stderr = run(command, tree, "-o", path, code=2).stderr
        assert f"{path}: would be overwritten, and " in stderr
        assert "choose another name or delete it" in stderr
        assert path.read_bytes() == data


def test_the_table_of_another_command_is_not_written_over(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "shapes.csv"
    run("shapes", tree, "-o", path)
    assert "has other columns" in run("score", tree, "-o", path, code=2).stderr
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is not a file" in run("score", tree, "-o", tmp_path / "pipe.csv", code=2).stderr


def test_nothing_is_written_into_a_store(tree: Path, tmp_path: Path) -> None:
    run("ingest", tree, "--store", tmp_path / "store")
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")}
    (tmp_path / "link").symlink_to(tmp_path / "store")
    part = next((tmp_path / "store" / "observations").iterdir())
    for results in (tree, tmp_path / "store"):
        for path in (
            part, tmp_path / "store" / "manifest.json", tmp_path / "store" / "new.csv",
            tmp_path / "link" / "deep" / "new.csv",
        ):  # fmt: skip
            assert f"{path}: lies in a store" in run("score", results, "-o", path, code=2).stderr
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.*")} == before


# Width and Ctrl-C -----------------------------------------------------------------------------


def test_columns_that_do_not_fit_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = run("aggregate").stdout
    assert "flag ratio" in wide
    assert "Not shown" not in wide
    monkeypatch.setenv("COLUMNS", "80")
    text = run("aggregate").stdout
    lines = text.splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert "Not shown for lack of width: share flagged," in text
    assert "discontinuous; nonlinear" in text  # words are not broken
    monkeypatch.setenv("COLUMNS", "nonsense")
    assert run("aggregate").stdout == wide


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bigbench_meta", "score", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
        cwd=tmp_path,
    )  # fmt: skip
    time.sleep(4)  # it waits for the list on standard input
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert error.decode() == "Stopped.\n"
    assert process.returncode == 130
