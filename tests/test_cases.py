"""Inputs that once went wrong, each with its right answer; the files are in ``cases/``."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import run, run_json

CASES = Path(__file__).parent / "cases"


def case(number: str) -> Path:
    """Return the folder of a case."""
    (folder,) = CASES.glob(f"{number}-*")
    return folder


@pytest.mark.parametrize("name", ["scores.csv", "lm_eval"])
def test_01_percent_and_fraction_in_one_curve(name: str) -> None:
    path = case("01") / name
    (curve,) = run_json("score", path)["curves"]
    assert curve["status"] == "mixed_units"
    assert curve["emergence_score"] == "nan"
    told = run("score", path).stderr
    assert "pythia-2.8b: 64.18, but acc goes from 0 to 1: in percent?" in told
    assert "pythia-12b: 70.24, but" in told


def test_r12_resolution_of_percentages() -> None:
    (plain,) = run_json("score", case("r12") / "plain.csv")["curves"]
    assert plain["resolution_limited_score"] == pytest.approx(680)
    (percent,) = run_json("score", case("r12") / "pct.csv")["curves"]
    assert percent["resolution_limited_score"] == "nan"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swap", "low: 1 in line 2 is not below high, 0"),
        ("equal", "low: 1 in line 2 is not below high, 1"),
        ("nan", "low: 'nan' in line 2 is not a number"),
        ("negstep", "step: -1 in line 2 is not a positive number"),
        ("badtype", "'weird' in line 2"),
    ],
)
def test_r13_a_catalog_that_contradicts_itself(name: str, message: str) -> None:
    folder = case("r13")
    catalog = folder / f"c_{name}.csv"
    done = run("score", folder / "plain.csv", "--catalog", catalog, code=2)
    assert f"c_{name}.csv" in done.stderr
    assert message in done.stderr
