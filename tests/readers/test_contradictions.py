"""What a file's name says against what the file says."""

from __future__ import annotations

import pytest
from helpers import entry, score_file, write_json

import bigbench_meta as bm


def told(tmp_path, name, *, model="EleutherAI/pythia-70m", shots=0, n=None, **options):
    """Return what is said of a results file of lm-evaluation-harness with a name."""
    document = {
        "results": {"piqa": {"acc": 0.5}},
        "versions": {"piqa": 0},
        "config": {"model": "hf", "model_args": f"pretrained={model}", "num_fewshot": shots},
    }
    if n:
        document["results"]["piqa"] = {"acc,none": 0.5, "sample_len": n}
        document["n-samples"] = {"piqa": {"original": n, "effective": n}}
    write_json(tmp_path / "x" / name, document)
    rows, problems = bm.read_results(tmp_path / "x", **options)
    assert len(rows) == 1
    assert rows["score"].item() == 0.5
    return [tuple(row) for row in problems[["field", "reason"]].to_numpy()]


@pytest.mark.parametrize(
    ("name", "field", "reason"),
    [
        ("pythia-70m-5shot.json", "shots", "0, but the file's name says 5"),
        ("pythia-70m-5-shots_step1.json", "shots", "0, but the file's name says 5"),
        ("25shot/results_a.json", "shots", "0, but the file's name says 25"),
        ("pythia-70m-limit100.json", "n_examples", "1,838, but the file's name says 100"),
        ("pythia-70m_500-examples.json", "n_examples", "1,838, but the file's name says 500"),
        (
            "pythia-410m.json", "model",
            "pythia-70m (70,426,624), but the file's name says 410m",
        ),
        (
            "pythia-12b/results.json", "model",
            "pythia-70m (70,426,624), but the file's name says 12b",
        ),
    ],
)  # fmt: skip
def test_a_difference_is_quoted(tmp_path, name, field, reason):
    assert told(tmp_path, name, n=1838) == [(field, reason)]


@pytest.mark.parametrize(
    "name",
    [
        "pythia-70m-0shot.json",
        "pythia-70m_1838-examples_limit=1838.json",
        "5shot/pythia-70m-0shot.json",  # the file's own name goes first
        "pythia-70m-0shot-5shot.json",  # two numbers say none
        "mmlu_0_shot.json",
        "pythia-70m-vs-410m.json",
        "7bit-1e5m-x12b.json",
        "T=0_70m.json",
        "v2_0.07b.json",
        "results_2024-05-01T10-00-00.json",
        "pythia-v0.1.json",
        "one-shot.json",
        "step1000-tokens4B.json",
    ],
)
def test_other_names_say_nothing(tmp_path, name):
    assert told(tmp_path, name, n=1838) == []


def test_what_the_content_does_not_say_is_not_compared(tmp_path):
    found = told(tmp_path, "owl-5shot-7b.json", model="gpt-4", shots=None)
    assert [field for field, _ in found] == ["total_params"]  # it has no size


def test_a_name_without_a_folder(tmp_path, monkeypatch):
    told(tmp_path, "pythia-70m-5shot.json")
    monkeypatch.chdir(tmp_path / "x")
    assert len(bm.read_results("pythia-70m-5shot.json")[1]) == 1


def test_what_the_path_gives_is_not_compared(tmp_path):
    problems = told(tmp_path, "pythia-410m-5shot.json", path="{model}-{shots}shot.json")
    assert problems == []


def test_a_table_of_many_models_is_not_of_one(tmp_path):
    head = "benchmark,task,metric,model_family,model_name,total_params,shots,score"
    rows = [f"b,t,acc,f,f-{size}b,{size}000000000,{size},0.5" for size in (1, 7, 70)]
    (tmp_path / "f-7b-1shot.csv").write_text("\n".join([head, *rows]))
    assert bm.read_results(tmp_path / "f-7b-1shot.csv")[1].empty
    (tmp_path / "f-13b-5shot.csv").write_text("\n".join([head, *rows]))
    assert bm.read_results(tmp_path / "f-13b-5shot.csv")[1]["reason"].tolist() == [
        "1, 7, 70, but the file's name says 5",
        "f-1b (1,000,000,000), f-7b (7,000,000,000), f-70b (70,000,000,000), but the file's name says 13b",  # noqa: E501
    ]


def test_score_files_of_bigbench(tmp_path):
    file = score_file(model_name="2m", params=2_000_000)
    write_json(tmp_path / "a" / "results" / "scores_BIG-G_2m.json", file)
    write_json(tmp_path / "a" / "results" / "scores_BIG-G_T=0_2m.json", file)
    write_json(tmp_path / "a" / "results" / "scores_BIG-G_2_M_T=0.json", file)
    found = bm.read_results(tmp_path)[1]
    assert not found["reason"].str.contains("the file's name").any()
    write_json(tmp_path / "b" / "results" / "scores_BIG-G_128b.json", file)
    found = bm.read_results(tmp_path / "b")[1]
    assert found["reason"].tolist() == ["2m (2,000,000), but the file's name says 128b"]


def test_another_name_of_the_same_model(tmp_path):
    """Before 2023 the sizes of Pythia left embeddings out."""
    assert told(tmp_path, "pythia-19m-step3000.json", model="EleutherAI/pythia-70m") == []


@pytest.mark.parametrize(
    ("name", "shots", "reasons"),
    [
        ("scores_m_5shot.json", [0], ["0, but the file's name says 5"]),
        ("scores_m_5shot.json", [0, 5], []),
        ("scores_m_5shot.json", [-1], []),  # not stated
        ("scores_few_shot_nlg.json", [0], []),
    ],
)
def test_shots_in_the_name_of_a_score_file(tmp_path, name, shots, reasons):
    entries = [entry(number_of_shots=number) for number in shots]
    write_json(tmp_path / name, score_file(model_name="m") | {"scores": entries})
    problems = bm.read_results(tmp_path / name)[1]
    assert problems["reason"].tolist() == reasons


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, [("n-shot.piqa", "0, but config.num_fewshot says 5")]),
        # The task fixes its shots, whatever the run asks for.
        ({"configs": {"piqa": {"num_fewshot": 0}}}, []),
        (
            {"n-shot": {"piqa": 5}, "n-samples": {"piqa": {"original": 10, "effective": 2000}}},
            [("n-samples.piqa.effective", "2000, but n-samples.piqa.original says 10")],
        ),
    ],
)
def test_shots_and_examples_of_a_run_and_its_task(tmp_path, more, found):
    document = {
        "results": {"piqa": {"acc,none": 0.5}},
        "config": {"model_args": "pretrained=EleutherAI/pythia-70m", "num_fewshot": 5},
        "n-shot": {"piqa": 0},
    }
    write_json(tmp_path / "results.json", document | more)
    problems = bm.read_results(tmp_path / "results.json")[1]
    assert [tuple(row) for row in problems[["field", "reason"]].to_numpy()] == found
