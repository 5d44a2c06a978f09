"""The commands `analyze`, `aggregate` and `claims`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from helpers import run, run_json

import bigbench_meta as bm
from bigbench_meta.catalog.embedded import embedded_set

if TYPE_CHECKING:
    from pathlib import Path

    from embedded import EmbeddedStudy


def test_json(tree: Path) -> None:
    found = run_json("analyze", tree, "--threshold", 2.5, "--no-inference")
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
    assert not {
        "evidence",
        "yardstick",
        "limitations",
        "estimates",
        "forecasts",
        "metric_change",
    } & set(found)


@pytest.mark.parametrize(("option", "shown"), [(0.5, 0.5), ("inf", "inf"), (-5, -5.0)])
def test_threshold(tree: Path, option: object, shown: object) -> None:
    found = run_json("analyze", tree, "--no-inference", "--threshold", option)
    assert found["threshold"] == shown
    assert found["n_flagged"] == (2 if option == "inf" else 4)


def test_share_of_nothing_is_nan(tree: Path) -> None:
    found = run_json("analyze", tree, "--no-inference", "--metric", "bleu")
    assert found["n_flagged"] == 0
    assert found["by_metric"][0]["share_of_flags"] == "nan"


@pytest.mark.usefixtures("no_drawing")
def test_a_whole_run(tree: Path) -> None:
    """Inference, files, and a study inside its results, which is not read as results."""
    out = tree / "deep" / "study"
    command = ("analyze", tree, "--threshold", 2.5, "--n-examples", 200, "--replicates", 99,
               "--seed", 1, "--out", out, "--strict")  # fmt: skip
    found = run_json(*command)
    by = {(row["criterion"], row["group"]): row for row in found["evidence"]}
    assert by["flagged", "all"]["observed"] == found["n_flagged"] == 4
    assert by["line_q_bh", "all"]["decidable"] > 0
    simulated = [
        row for row in found["evidence"] if (row["criterion"], row["group"]) == ("flagged", "all")
    ]
    assert {row["sigma"] for row in simulated} == {"curve", "family", "zero"}
    for row in simulated:
        assert row["expected_low"] <= row["expected"] <= row["expected_high"]
        assert 0 < row["p_value"] <= 1
    assert {row["sigma"] for row in found["evidence"] if row["criterion"] == "wei"} == {None}
    assert found["summary"][0].startswith("4 of 4 curves look emergent")
    assert any("that can be simulated" in sentence for sentence in found["summary"])
    assert found["limitations"]
    assert {row["group"] for row in found["forecasts"]} == {"flagged", "not flagged"}
    change = found["metric_change"]
    assert change["n_pairs"] == sum(change["counts"].values()) == 2
    assert change["summary"][0].startswith("Of 2 pairs,")
    assert {row["statistic"] for row in found["estimates"]} >= {"odds_ratio", "risk_ratio"}
    listed = found["outputs"]
    assert len(listed) == len(set(listed)) > 10
    assert set(listed) == {p.as_posix() for p in out.rglob("*") if p.is_file()}
    assert (out / "report.html").as_posix() in listed
    again = run(*command)
    assert f"{len(listed)} files written; open {(out / 'report.html').as_posix()}" in again.stdout
    assert all(sentence in again.stdout for sentence in found["summary"])
    assert "tree: 4 of 4 curves look emergent" in again.stdout
    assert f"under another metric: {change['summary'][0]}" in again.stdout


def test_nothing_is_written_unasked(tree: Path) -> None:
    text = run("analyze", tree, "--no-inference").stdout
    assert "No files written; --out FOLDER writes tables, figures and a report." in text


def test_a_report_of_somebody_else_is_refused_before_the_work(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    assert "report.html" in run("analyze", tree, "--out", tmp_path, code=2).stderr
    assert (tmp_path / "report.html").read_text() == "mine"


@pytest.mark.full
def test_the_default_settings_are_those_of_the_library(
    embedded_study: EmbeddedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = embedded_study.study

    def run_study(
        observations: pd.DataFrame, problems: pd.DataFrame, options: bm.StudyOptions, **more: Any
    ) -> Any:
        pd.testing.assert_frame_equal(observations, bm.load_embedded())
        assert problems.empty
        assert replace(options, issues=None) == bm.StudyOptions()
        assert more == {
            "embedded": embedded_set("gpt3"), "inference": True, "yardstick": "quick",
            "progress": None, "n_boot": None,
            "seed": 0, "variation": "both", "alpha_range": (0.0, 0.35), "samples": None,
            "execution": bm.Execution(jobs=None),
        }  # fmt: skip
        return study

    monkeypatch.setattr("bigbench_meta.report.study.run_study", run_study)
    found = run_json("analyze", "--embedded", "gpt3")
    assert (found["n_curves"], found["n_flagged"]) == (189, 21)
    assert found["evidence"]
    (of_set,) = found["sets"]
    assert (of_set["name"], of_set["role"], of_set["n_curves"]) == ("gpt3", "evidence", 189)
    assert of_set["by_metric"] == found["by_metric"]
    text = run("analyze", "--embedded", "gpt3").stdout
    assert text.startswith("GPT-3's published results (Brown et al. 2020, Table H.1): 21 of 189")


@pytest.mark.usefixtures("no_drawing")
def test_without_results_every_embedded_set_is_studied_by_itself(tmp_path: Path) -> None:
    found = run_json("analyze", "--no-inference", "--out", tmp_path)
    assert [(one["name"], one["role"]) for one in found["sets"]] == [
        ("lamda", "evidence"), ("gpt3", "evidence"), ("paper", "illustration"),
    ]  # fmt: skip
    for one in found["sets"]:
        alone = run_json("analyze", "--no-inference", "--embedded", one["name"])
        assert one == alone["sets"][0]
        assert one["n_flagged"] == alone["n_flagged"] > 0
        assert sum(row["n_curves"] for row in one["by_metric"]) == alone["n_curves"]
        assert (tmp_path / one["name"] / "tables" / "by_metric.csv").is_file()
    # There is no total: what belongs to a single set is null.
    for name in ("n_curves", "n_scored", "n_flagged", "n_infinite", "by_metric"):
        assert found[name] is None
    assert (found["threshold"], found["n_problems"]) == (100.0, 0)
    assert set(found["outputs"]) == {p.as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert (tmp_path / "report.html").as_posix() in found["outputs"]


def test_some_embedded_sets_and_some_of_their_scores() -> None:
    two = ("analyze", "--no-inference", "--embedded", "paper", "--embedded", "gpt3")
    text = run(*two).stdout
    assert text.index("Figures of Schaeffer et al. 2023:") < text.index("GPT-3's published")
    assert "An illustration: its curves were chosen to show the effect." in text
    chosen = run_json(*two, "--metric", "brier_score")
    assert [one["name"] for one in chosen["sets"]] == ["paper"]
    assert "embedded set gpt3 is skipped: no scores of metric brier_score." in run(
        *two, "--metric", "brier_score"
    ).stderr  # fmt: skip
    assert "no scores of metric nothing" in run(*two, "--metric", "nothing", code=2).stderr


def test_results_are_no_embedded_set(tree: Path) -> None:
    assert run_json("analyze", tree, "--no-inference")["sets"] == []


# aggregate ------------------------------------------------------------------------------------


def test_aggregate(tree: Path) -> None:
    study = run_json("analyze", tree, "--no-inference")
    assert run_json("aggregate", tree)["by_metric"] == study["by_metric"]
    by_type = run_json("aggregate", tree, "--by", "metric_type")
    assert by_type["by_metric_type"] == study["by_metric_type"]
    sweep = run_json("aggregate", tree, "--sweep")["threshold_sweep"]
    thresholds = [row["threshold"] for row in sweep]
    assert thresholds == [*sorted(thresholds[:-1]), "inf"]
    assert sweep[-1]["n_flagged"] == 2


def test_aggregate_of_the_embedded_results() -> None:
    counted = bm.select_level(bm.score_curves(bm.build_curves(bm.load_embedded())))
    found = run_json("aggregate")
    assert found["n_curves"] == len(counted)
    assert found["n_flagged"] == bm.flagged(counted).sum()


# claims ---------------------------------------------------------------------------------------


def test_claims() -> None:
    found = run_json("claims")
    table = bm.claims_by_metric()
    assert {name: found[name] for name in bm.claims_summary(table)} == bm.claims_summary(table)
    assert {"n_claims", "share_top_two", "by_metric"} <= set(found)
    assert found["n_claims"] == sum(row["n_claims"] for row in found["by_metric"])
    assert [(row["metric"], row["n_claims"], row["share"]) for row in found["by_metric"]] == list(
        table[["metric", "n_claims", "share"]].itertuples(index=False, name=None)
    )


def test_claims_of_one_class() -> None:
    found = run_json("claims", "--scaling-class", "emergent_palm")
    table = bm.claims_by_metric(scaling_classes=["emergent_palm"])
    assert found["n_claims"] == table["n_claims"].sum()
    assert 0 < found["n_claims"] < run_json("claims")["n_claims"]


def test_help_of_claims_names_the_default_classes() -> None:
    from bigbench_meta.aggregate.by_metric import EMERGENT_CLASSES

    assert "Default: " + " and ".join(EMERGENT_CLASSES) in " ".join(
        run("claims", "--help").stdout.split()
    )


def stopped(*_: object, **__: object) -> None:
    """Stand in for an analysis that fails."""
    raise ZeroDivisionError("stopped")


@pytest.mark.usefixtures("no_drawing")
def test_a_study_that_was_stopped_continues(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "study"
    command = ("analyze", tree, "--n-examples", 200, "--replicates", 99, "--out", out)
    place = "bigbench_meta.inference.curve_evidence.wei_emergence"
    with monkeypatch.context() as patch:
        patch.setattr(place, stopped)
        message = run(*command, code=2).stderr
    assert "wei failed in 1 of its chunks" in message
    kept = {file.name: file.stat().st_mtime_ns for file in (out / ".unfinished").iterdir()}
    assert len(kept) == 9
    finished = []
    monkeypatch.setattr(
        "bigbench_meta.core.execute._write", lambda file, _: finished.append(file.name)
    )
    run(*command)
    # This, and what comes after: the change of metric, and the yardstick's laws and counts.
    assert len(finished) == 4
    assert not set(finished) & set(kept)
    assert not (out / ".unfinished").exists()


@pytest.mark.full
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Finished chunks are not computed again, and the tables are those of a whole run."""
    options = ("--embedded", "gpt3", "--replicates", "99", "--jobs", "2", "--json")

    def start(out: Path) -> subprocess.Popen[bytes]:
        code = "from bigbench_meta.cli.main import main; main()"
        command = [sys.executable, "-c", code, "analyze", *options, "--out", str(out)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def files(folder: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (folder / "tables").iterdir()}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    assert start(whole).wait() == 0
    took = time.monotonic() - began
    moments = random.Random(0)
    kept: dict[str, int] = {}
    for _ in range(5):
        process = start(killed)
        time.sleep(moments.uniform(0.2, 0.8) * took)
        process.kill()
        process.wait()
        unfinished = killed / ".unfinished"
        now = {file.name: file.stat().st_mtime_ns for file in unfinished.glob("*.arrow")}
        assert all(now.get(name, changed) == changed for name, changed in kept.items())
        kept = now
    assert start(killed).wait() == 0
    assert files(killed) == files(whole)


@pytest.mark.usefixtures("no_drawing")
def test_another_study_takes_the_place_of_the_earlier_one(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = run_json(
        "analyze", tree, "--out", out, "--replicates", 99, "--seed", 5, "--yardstick", "none"
    )["outputs"]
    (out / "tables" / "mine.csv").write_text("mine")
    record = json.loads((out / "run.json").read_text())
    assert record["seed"] == record["options"]["seed"] == 5
    assert f"analyze {tree} --out {out} --replicates 99" in record["command"]
    assert {entry["path"] for entry in record["inputs"]} == {
        path.relative_to(tree.parent).as_posix() for path in tree.rglob("*.json")
    }
    assert {(out / entry["path"]).as_posix() for entry in record["outputs"]} == {*written} - {
        (out / "run.json").as_posix()
    }
    fewer = run_json("analyze", tree, "--out", out, "--no-inference")["outputs"]
    assert len(fewer) < len(written)
    there = {path.as_posix() for path in out.rglob("*") if path.is_file()}
    assert there == {*fewer, (out / "tables" / "mine.csv").as_posix()}

    (out / "tables" / "by_metric.tex").write_text("corrected by hand")
    refused = run("analyze", tree, "--out", out, "--no-inference", code=2).stderr
    assert "by_metric.tex: was changed after this program wrote it" in refused
    assert (out / "tables" / "by_metric.tex").read_text() == "corrected by hand"


@pytest.mark.usefixtures("no_drawing")
def test_what_a_user_keeps_beside_unfinished_chunks_stays(tree: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / ".unfinished" / "mine.arrow"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    run("analyze", tree, "--out", tmp_path / "out", "--replicates", 99, "--yardstick", "none")
    assert [path.name for path in mine.parent.iterdir()] == ["mine.arrow"]


@pytest.mark.usefixtures("no_drawing")
def test_a_study_is_repeated_from_its_record_or_a_file(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    first = run_json("analyze", tree, "--no-inference", "--threshold", 3.5, "--out", out)
    again = run_json("analyze", "--config", out / "run.json", "--out", tmp_path / "again")
    assert again["threshold"] == 3.5
    assert again["by_metric"] == first["by_metric"]
    record = json.loads((tmp_path / "again" / "run.json").read_text())
    assert record["options"]["inference"] is False
    assert record["options"]["results"] == [str(tree)]
    toml = tmp_path / "study.toml"
    toml.write_text(f"results = ['{tree}']\nthreshold = 50\ninference = false\nmetric = ['bleu']\n")
    found = run_json("analyze", "--config", toml)
    assert (found["threshold"], found["n_flagged"]) == (50, 0)
    assert run_json("analyze", "--config", toml, "--threshold", 1)["threshold"] == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "treshold = 1", "'treshold' is not an option\nHint: did you mean 'threshold'?"),
        ("a.toml", "no-inference = true", "'no-inference' is not an option"),
        ("a.toml", "threshold = ", "cannot be read: "),
        ("a.json", "[]", "no options in it"),
        ("a.json", '{"options": {"xyz": 1}}', "'xyz' is not an option\nHint: options are "),
        ("a.toml", "threshold = 'much'", "'much' is not a valid float"),
    ],
)
def test_a_file_of_options_that_is_none(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    assert message in run("analyze", "--config", tmp_path / name, code=2).stderr
