"""Inputs that once went wrong, each with its right answer; the files are in ``cases/``."""

from __future__ import annotations

import gzip
import json
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from helpers import run, run_json

import bigbench_meta as bm

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


def curves_of(path: Path, *options: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run_json("score", path, *options)["curves"]
    return found


@pytest.mark.parametrize("stored", [False, True])
def test_02_two_training_runs(tmp_path: Path, stored: bool) -> None:
    path = case("02")
    if stored:
        run("ingest", path, "--store", tmp_path / "store")
        path = tmp_path / "store"
    found = {
        (curve["subtask"], curve["metric"], curve["variant"]): round(curve["emergence_score"], 1)
        for curve in curves_of(path)
    }
    assert found["lambada_openai", "ppl", "backend=neox"] == 45.9
    assert found["lambada_openai", "ppl", "backend=hf-causal"] == 66.7
    assert len(found) == 12
    assert {curve["n_tied"] for curve in curves_of(path)} == {0}


def test_02_averaged_runs_are_told_first(tmp_path: Path) -> None:
    """As with the files above, if they did not say how they were run."""
    for path in case("02").rglob("*.json"):
        document = json.loads(path.read_text())
        document["config"] = {"num_fewshot": 0}
        target = tmp_path / path.parent.name / path.name.replace("-bf16", "")
        target.parent.mkdir(exist_ok=True)
        name = target.name if "pythia" in target.name else f"pythia-{target.name}"
        target.with_name(name).write_text(json.dumps(document))
    found = run_json("score", tmp_path)
    assert found["n_replicated"] == found["n_curves"] == 6
    for command in ("score", "analyze"):
        text = run(command, tmp_path, *(["--no-inference"] if command == "analyze" else [])).stdout
        assert "6 of 6 curves average different scores of one model" in text.splitlines()[0]
    apart = run_json("score", tmp_path, "--path", "{variant}/*")
    assert (apart["n_replicated"], apart["n_curves"]) == (0, 12)


def test_03_arguments_of_the_task() -> None:
    pytest.importorskip("inspect_ai", reason="inspect-ai is not installed")
    found = {curve["variant"]: curve for curve in curves_of(case("03"))}
    anatomy, marketing = found["choice/subjects=anatomy"], found["choice/subjects=marketing"]
    assert (anatomy["score_first"], anatomy["score_last"]) == (0.25, 0.28)
    assert round(anatomy["emergence_score"], 1) == 3.0
    assert (marketing["score_first"], marketing["score_last"]) == (0.31, 0.70)
    assert round(marketing["emergence_score"], 1) == 2.6


def test_04_settings_of_the_run() -> None:
    limited = {curve["metric"]: curve["score_first"] for curve in curves_of(case("04") / "limit")}
    assert limited["acc"] == pytest.approx(0.763)
    assert "runs on some of the examples are left out" in run("score", case("04") / "limit").stderr
    chat = curves_of(case("04") / "chat")
    assert {curve["variant"] for curve in chat} == {None, "chat_template=a1b2"}


@pytest.mark.parametrize("name", ["open_llm_v1", "open_llm_v1_in_folders"])
def test_05_open_llm_leaderboard(name: str) -> None:
    found = curves_of(case("05") / name)
    arc = [curve for curve in found if (curve["task"], curve["metric"]) == ("arc:challenge", "acc")]
    assert {(curve["model_family"], curve["shots"]) for curve in arc} == {("Llama-2", 25)}
    assert max(curve["n_scales"] for curve in arc) == 3
    assert "all" not in {curve["task"] for curve in found}
    if name.endswith("folders"):  # one of the models was run twice, the second time in 4 bits
        assert len(arc) == 2
        assert any("4bit" in (curve["variant"] or "") for curve in arc)


def test_05_lighteval() -> None:
    found = {curve["task"]: curve for curve in curves_of(case("05") / "lighteval")}
    assert set(found) == {"gsm8k", "aime24"}
    assert (found["gsm8k"]["shots"], found["gsm8k"]["n_scales"]) == (5, 3)
    assert (found["gsm8k"]["n_examples_min"], found["gsm8k"]["metric_type"]) == (1319, "nonlinear")
    assert found["aime24"]["metric_type"] == "nonlinear"


def test_07_accuracy_of_generated_answers() -> None:
    kinds = {curve["task"]: curve["metric_type"] for curve in curves_of(case("07"))}
    assert kinds.pop("mathqa") == "discontinuous"
    assert len(kinds) >= 5
    assert set(kinds.values()) == {"nonlinear"}


@pytest.mark.parametrize(
    ("made", "kind"),
    [("generate_until", "nonlinear"), ("loglikelihood", "nonlinear"),
     ("multiple_choice", "discontinuous"), (None, "discontinuous")],
)  # fmt: skip
def test_07_the_file_says_how_answers_are_made(tmp_path: Path, made: str | None, kind: str) -> None:
    (path,) = case("15").glob("*.json")
    document = json.loads(path.read_text())
    document["configs"]["hardcoded"]["output_type"] = made
    (tmp_path / "results.json").write_text(json.dumps(document))
    assert {curve["metric_type"] for curve in curves_of(tmp_path)} == {kind}


def test_08_sizes_in_billions(tmp_path: Path) -> None:
    folder = case("08")
    told = run("score", folder / "base_llm.csv", "--mapping", folder / "mapping.toml").stderr
    assert "in billions? Not used" in told
    text = (folder / "mapping.toml").read_text()
    mended = text.replace('"Model Size (B)"', '{from = "Model Size (B)", multiply = 1e9}')
    (tmp_path / "mapping.toml").write_text(mended)
    found = curves_of(folder / "base_llm.csv", "--mapping", str(tmp_path / "mapping.toml"))
    assert {curve["n_missing"] for curve in found} == {0}
    assert {(curve["model_family"], curve["n_scales"]) for curve in found} == {
        ("Llama", 4), ("Pythia", 8), ("OPT", 8), ("Qwen1.5", 8)
    }  # fmt: skip
    tidy = run("score", folder / "tidy_in_billions.csv").stderr
    assert "total_params: 12, but the name pythia-12b states about 1.18e+10: in billions?" in tidy


def test_09_task_per_column(tmp_path: Path) -> None:
    folder = case("09")
    found = curves_of(folder / "emergent.csv", "--mapping", folder / "mapping.toml")
    assert {(curve["task"], curve["metric"], curve["shots"]) for curve in found} == {
        ("arithmetic_3ds", "acc", 2), ("arithmetic_2da", "acc", 2)
    }  # fmt: skip
    lines = [
        *(folder / "mapping.toml").read_text().split("[metrics")[0].splitlines(),
        '[metrics."{task}_{shots}_{metric}"]',
    ]
    (tmp_path / "one_form.toml").write_text("\n".join(lines))
    every = curves_of(folder / "emergent.csv", "--mapping", tmp_path / "one_form.toml")
    assert len({(curve["task"], curve["metric"]) for curve in every}) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bigscience",), "1 file looked at, none recognised: bigscience/bslmeval.json (top keys"),
        (("prompted",), "prompted/eval_results.json (top keys results, versions, config)"),
        (("dclm",), "dclm/evaluation_open_lm_1b_heavy.json (top keys name, uuid, model, "),
        (("dclm/evaluation_open_lm_1b_heavy.json",),
         "not a results file of a known format (top keys name, uuid, model, "),
        (("wide", "--mapping", "wide/mapping.toml"),
         "wide/summary.csv lacks the column datasets of the mapping (it has dataset, version, "),
    ],
)  # fmt: skip
def test_13_nothing_found(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(case("13"))
    assert message in run("score", *arguments, code=2).stderr


def test_13_models_as_columns(tmp_path: Path) -> None:
    lines = [
        'missing = ["-"]', 'constants = {benchmark = "oc"}', "[columns]", 'task = "dataset"',
        'metric = "metric"', '[metrics."{model}-hf"]', "multiply = 0.01",
    ]  # fmt: skip
    (tmp_path / "mapping.toml").write_text("\n".join(lines))
    found = curves_of(case("13") / "wide", "--mapping", tmp_path / "mapping.toml")
    assert {(curve["task"], curve["n_scales"]) for curve in found} == {
        ("ceval", 4), ("gsm8k", 4), ("triviaqa", 3)
    }  # fmt: skip


def test_14_model_in_the_file_name(tmp_path: Path) -> None:
    text = (case("14") / "mapping.toml").read_text()
    lines = [
        "last_of = []",
        text.replace(
            'model_name = "_step"', 'model_name = {file = true, regex = "([0-9]+[MB])-1xC"}'
        ),
        "[columns.total_params]",
        "file = true",
        'regex = "([0-9]+[MB])-1xC"',
        "map = {190M = 1.9e8, 370M = 3.7e8, 760M = 7.6e8, 1B = 1e9, 3B = 3e9}",
    ]
    (tmp_path / "mapping.toml").write_text("\n".join(lines))
    run("ingest", case("14"), "--mapping", tmp_path / "mapping.toml", "--store", tmp_path / "s")
    rows = bm.Store(tmp_path / "s").observations()
    rows = rows[rows["metric"].str.endswith("len_norm")].sort_values("total_params")
    assert rows["score"].round(3).tolist() == [0.446, 0.506, 0.565, 0.633, 0.705]


def test_11_checkpoints_do_not_split_a_family() -> None:
    for options in ((), ("--checkpoint", "last")):
        found = curves_of(case("11"), *options)
        assert [curve["n_scales"] for curve in found] == [3, 3]
    assert {curve["variant"] for curve in found} == {None}


def test_15_shots_in_the_prompt() -> None:
    assert {curve["shots"] for curve in curves_of(case("15"))} == {5}


@pytest.mark.parametrize("by_name", [False, True])
def test_r02_results_beside_a_study(tmp_path: Path, by_name: bool) -> None:
    folder = case("r02") / "par"
    found = run_json("ingest", folder / "a" if by_name else folder, "--store", tmp_path / "s")
    assert (found["loaded"], found["failed"]) == ((1, 0) if by_name else (2, 0))
    assert found["problems"] == []


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_r03_an_archive_that_expands(tmp_path: Path, kind: bytes) -> None:
    """A header, or a member that nobody wants, of 50 MB of zeros: in memory and time no more."""
    path = tmp_path / "bomb.tar.gz"
    info = tarfile.TarInfo("notes.txt")
    info.type, info.size = kind, 50_000_000
    block = info.tobuf(tarfile.GNU_FORMAT)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(block)
        for _ in range(50):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    arguments = ("ingest", path, "--store", tmp_path / "s", "--max-bytes", 1_000_000)
    told = run(*arguments, code=2).stderr
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    said = "expands to more than 1000000 bytes" if kind == tarfile.REGTYPE else "a header of 5000"
    assert said in told


@pytest.mark.parametrize("name", ["trunc.zip", "empty.zip", "enc.zip", "trunc.tar.gz"])
def test_r05_a_damaged_archive_is_a_failure(tmp_path: Path, name: str) -> None:
    done = run("ingest", case("r05") / name, "--store", tmp_path / "s", code=2)
    assert "1 failed" in done.stdout
    assert name in done.stderr
    assert "no file could be read" in done.stderr


def test_r08_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    store = tmp_path / "s"
    run("ingest", case("r12") / "plain.csv", "--store", store)
    (store / ".lock").unlink(missing_ok=True)
    (store / ".lock").mkdir()
    for command in (
        ("ingest", case("r12") / "plain.csv", "--store", store),
        ("store", "compact", store),
    ):
        assert "cannot be written: Is a directory" in run(*command, code=2).stderr


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
