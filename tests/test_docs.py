"""The pages and their numbers: every example of Python and of the command line gives what it shows.

What a page leaves out with ``...`` may be anything; white space may differ.
"""

from __future__ import annotations

import doctest
import re
import shlex
import warnings
from typing import TYPE_CHECKING

import helpers
import pytest
from click.testing import CliRunner
from helpers import ROOT

from bigbench_meta.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES = sorted([*helpers.PAGES, ROOT / "README.md"])
_BLOCK = re.compile(r"^```(pycon|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(page.read_text("utf-8")) if found == kind]


def commands(page: Path) -> list[tuple[str, str]]:
    """Return the commands of a page with what they print."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed))
    return found


# The scripts that fill tables take an hour.
CASES = [
    (page, *case)
    for page in PAGES
    for case in commands(page)
    if case[0].startswith("bigbench-meta ")
]
# Bootstraps, simulated studies and forecasts of many curves.
SLOW = {"findings", "forecast", "nulls", "seeds", "shapes", "uncertainty", "yardstick"}
# Of other pages the commands that say this: they fit all curves of a set, or simulate.
SLOW_COMMANDS = {"check": ("--embedded lamda", "--embedded trained", "--settle", "--plan")}


# What these print comes from simulations, whose random numbers part where a processor's exponential
# is another in the last digit: a number may differ as far as another seed would move it.
SIMULATED = {"check"}
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def alike(found: str, printed: str) -> bool:
    """Return whether two texts are the same but for numbers that differ by at most a tenth."""
    if _NUMBER.sub("#", found).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(*(_NUMBER.findall(text) for text in (found, printed)), strict=True)
    numbers = [[float(number.replace(",", "")) for number in pair] for pair in pairs]
    return all(one == pytest.approx(other, rel=0.1) for one, other in numbers)


def slow(page: Path, command: str = "") -> list[pytest.MarkDecorator]:
    long = any(f"{part} " in f"{command} " for part in SLOW_COMMANDS.get(page.stem, ()))
    return [pytest.mark.full] if page.stem in SLOW or long else []


WITH_PYTHON = [
    pytest.param(page, id=page.stem, marks=slow(page)) for page in PAGES if blocks(page, "pycon")
]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(
        "\n".join(blocks(page, "pycon")), {}, page.name, str(page), 0
    )
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runner.run(examples, out=said.append)
    assert not said, "".join(said)
    assert runner.tries > 0


@pytest.mark.parametrize(
    ("page", "command", "printed"),
    [
        pytest.param(page, text, printed, id=f"{page.stem}: {text}", marks=slow(page, text))
        for page, text, printed in CASES
    ],
)
def test_command(
    page: Path, command: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments = shlex.split(command)[1:]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    if page.stem in SIMULATED and alike(result.stdout, printed):
        return
    if not doctest.OutputChecker().check_output(printed, result.stdout, FLAGS):
        assert result.stdout == printed


def test_texts_that_are_alike():
    assert alike("4.07 to 79.7 in 95%", "4.1 to\n77.8 in 95%")
    assert not alike("4.07 to 79.7", "4.07 to 97.7")
    assert not alike("4.07 to 79.7", "4.07 or 79.7")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_that_scripts_fill_are_filled(page: Path):
    for name, table in re.findall(r"<!-- (.+): begin -->\n(.*?)<!-- \1: end -->",
                                  page.read_text("utf-8"), re.DOTALL):  # fmt: skip
        assert table.count("\n|") > 2 or table.count("\n- ") > 1, name
