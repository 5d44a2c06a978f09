"""Results of lighteval and of the first Open LLM Leaderboard, key by key as they are written."""

from __future__ import annotations

import json

import pytest
from helpers import MISSING, changed, plain
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from bigbench_meta.catalog.model_names import model_names
from bigbench_meta.core.schema import OBSERVATIONS, to_frame
from bigbench_meta.readers.detect import by_content
from bigbench_meta.readers.formats.lighteval import parse, recognise
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog

LABEL = "out/results_2025-01-02.json"


def document(**general):
    """A file of lighteval 0.10: two suites, a task with an average, counts of documents."""
    return {
        "config_general": {
            "lighteval_sha": "ab12", "num_fewshot_seeds": 1, "max_samples": None, "job_id": "0",
            "model_config": {"model_name": "Qwen/Qwen2.5-0.5B", "revision": "main",
                             "dtype": "float16", "batch_size": 8},
            "model_name": "Qwen/Qwen2.5-0.5B",
        } | general,
        "results": {
            "lighteval|gsm8k|5": {"extractive_match": 0.3, "extractive_match_stderr": 0.01},
            "leaderboard|mmlu:anatomy|0|0": {"acc": 0.25, "acc_stderr": 0.04},
            "leaderboard|mmlu:virology|0|0": {"acc": 0.5, "acc_stderr": 0.05},
            "leaderboard|mmlu:_average|0|0": {"acc": 0.375, "acc_stderr": 0.045},
            "lighteval|aime24|0": {"pass@k:k=1&n=1": 0.1, "pass@k:k=1&n=1_stderr": 0.05},
            "all": {"acc": 0.2, "acc_stderr": 0.01},
        },
        "versions": {"lighteval|gsm8k|5": 0},
        "config_tasks": {
            "lighteval|gsm8k": {"original_num_docs": 1319, "effective_num_docs": 1319},
            "lighteval|aime24": {"original_num_docs": 30, "effective_num_docs": 10},
            "leaderboard|mmlu:anatomy": "LM Harness task",
        },
        "summary_tasks": {}, "summary_general": {},
    }  # fmt: skip


def read(content, label=LABEL):
    log = ProblemLog()
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    table = parse(data, FileLog(label, log), names=model_names())
    assert table is None or table.schema == OBSERVATIONS.arrow
    rows = None if table is None else plain(to_frame(table))
    return rows, [problem[1:] for problem in log.rows if problem[1] != "total_params"]


def said(row):
    return json.loads(row["settings"])


def test_a_file_by_hand():
    rows, problems = read(document())
    names = ("task", "subtask", "metric", "shots", "score", "stderr", "n_examples")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("gsm8k", "gsm8k", "extractive_match", 5, 0.3, 0.01, 1319),
        ("mmlu", "mmlu:anatomy", "acc", 0, 0.25, 0.04, None),
        ("mmlu", "mmlu:virology", "acc", 0, 0.5, 0.05, None),
        ("mmlu", "mmlu", "acc", 0, 0.375, 0.045, None),
        ("aime24", "aime24", "pass@k:k=1&n=1", 0, 0.1, 0.05, 10),
    ]
    assert {(row["benchmark"], row["model_name"], row["source"]) for row in rows} == {
        ("lighteval", "Qwen2.5-0.5B", LABEL)
    }
    assert said(rows[0]) == {
        "harness": "ab12", "precision": "float16", "task.suite": "lighteval", "task_version": "0",
    }  # fmt: skip
    assert said(rows[-1])["limit"] == "10"
    assert problems == []


@pytest.mark.parametrize(
    ("general", "setting", "value"),
    [
        ({"model_config": MISSING, "model_dtype": "torch.bfloat16"}, "precision", "bfloat16"),
        ({"model_config": {"model_name": "gpt2", "load_in_4bit": True}}, "quantisation", "4bit"),
        ({"model_config": {"revision": "step3000"}}, "checkpoint", "step3000"),
        ({"model_config": {"use_chat_template": True}}, "chat_template", "yes"),
        ({"model_config": {"use_chat_template": False}}, "chat_template", None),
        ({"model_config": {"override_chat_template": True}}, "chat_template", "yes"),
        ({"model_config": {"override_chat_template": False}}, "chat_template", "no"),
        ({"model_config": {"override_chat_template": None}}, "chat_template", None),
        ({"model_config": {"max_model_length": 2048}}, "model.max_model_length", "2048"),
        ({"model_config": {"generation_parameters": {"temperature": 0.6, "seed": 1}}},
         "generation.temperature", "0.6"),
        ({"model_config": {"generation_parameters": {"seed": 1}}}, "generation.seed", None),
        ({"model_config": {"add_special_tokens": True}}, "model.add_special_tokens", "true"),
        ({"model_config": "a repr of something"}, "precision", None),
        ({"lighteval_sha": "?"}, "harness", None),
    ],
)  # fmt: skip
def test_what_the_file_says_of_its_run(general, setting, value):
    content = document(**{key: one for key, one in general.items() if one is not MISSING})
    if general.get("model_config") is MISSING:
        del content["config_general"]["model_config"]
    rows, problems = read(content)
    assert said(rows[0]).get(setting) == value
    assert problems == []


@pytest.mark.parametrize(
    ("own", "setting", "value"),
    [
        ({"prompt_function": "gsm8k"}, "task.prompt_function", "gsm8k"),
        ({"prompt_function": "<function f at 0x7f00a1>"}, "task.prompt_function", "<function f>"),
        ({"generation_size": 256}, "task.generation_size", "256"),
        ({"stop_sequence": ["b", "a"]}, "task.stop_sequence", '["a", "b"]'),
        ({"stop_sequence": []}, "task.stop_sequence", None),
        ({"num_samples": [16]}, "task.num_samples", "[16]"),
        ({"num_samples": [1]}, "task.num_samples", None),
        ({"few_shots_select": "balanced"}, "task.few_shots_select", "balanced"),
        ({"hf_subset": "main"}, "task.hf_subset", "main"),
        ({"evaluation_splits": ["test"]}, "task.evaluation_splits", '["test"]'),
    ],
)
def test_what_the_file_says_of_a_task(own, setting, value):
    content = document()
    content["config_tasks"]["lighteval|gsm8k"] |= own
    rows, problems = read(content)
    assert said(rows[0]).get(setting) == value
    assert setting not in said(rows[-1])
    assert problems == []


@pytest.mark.parametrize(
    ("most", "original", "effective", "limit", "n_examples"),
    [
        (10, -1, -1, "10", None),
        (None, -1, -1, None, None),
        (10, 1319, -1, "10", None),
        (2000, 1319, -1, None, None),
        (2000, 1319, 1319, None, 1319),
        (10, -1, 10, "10", 10),
        (10, -1, 7, None, 7),
        (10, None, None, "10", None),
    ],
)
def test_a_limit_where_documents_are_not_counted(most, original, effective, limit, n_examples):
    content = document(max_samples=most)
    counts = {"original_num_docs": original, "effective_num_docs": effective}
    content["config_tasks"]["lighteval|gsm8k"] = counts
    rows, problems = read(content)
    assert (said(rows[0]).get("limit"), rows[0]["n_examples"]) == (limit, n_examples)
    assert problems == []


def test_an_average_is_set_as_its_subtasks_are():
    content = document()
    content["config_tasks"] |= {
        f"leaderboard|mmlu:{name}": {"hf_subset": name, "prompt_function": "mmlu"}
        for name in ("anatomy", "virology")
    }
    first = said(read(content)[0][3])
    assert first["task.prompt_function"] == "mmlu"
    content["config_tasks"]["leaderboard|mmlu:virology"]["hf_subset"] = "another"
    other = said(read(content)[0][3])
    assert {name for name in first if first[name] != other[name]} == {"task.hf_subset"}


@pytest.mark.parametrize("place", ["model_name", "model_config"])
def test_the_model_is_what_the_file_names(place):
    rows, _ = read(changed(document(), f"config_general.{place}", MISSING))
    assert {row["model_name"] for row in rows} == {"Qwen2.5-0.5B"}
    reason = "neither the file nor its path names a model"
    nameless = changed(document(), "config_general.model_name", MISSING)
    nameless["config_general"].pop("model_config")
    assert read(nameless) == (None, [("config_general.model_name", reason, "error")])


@pytest.mark.parametrize(
    ("stated", "folder", "model", "reason"),
    [
        ("/scratch/ckpt", "meta-llama/Llama-2-7b-hf", "Llama-2-7b",
         '"/scratch/ckpt" does not say which model: "Llama-2-7b" is taken from the file\'s name'),
        (MISSING, "meta-llama/Llama-2-7b-hf", "Llama-2-7b",
         "names no model: taken from the file's name"),
        ("org/owl", "meta-llama/Llama-2-7b-hf", "org/owl", None),
        ("gpt-4", "meta-llama/Llama-2-7b-hf", "gpt-4", None),
        ("/scratch/ckpt", "runs/mine", "/scratch/ckpt", None),
    ],
)  # fmt: skip
def test_the_folder_names_what_the_file_does_not(stated, folder, model, reason):
    content = changed(document(), "config_general.model_name", stated)
    content["config_general"].pop("model_config")
    rows, problems = read(content, f"{folder}/results_2025-01-02.json")
    assert {row["model_name"] for row in rows} == {model}
    assert [told for _, told, _ in problems] == ([] if reason is None else [reason])


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("gsm8k", {"acc": 1}, ("results.gsm8k", 'expected suite|task|shots, got "gsm8k"', "error")),
        ("a|b|0", 7, ("results.a|b|0", "expected the scores of a task, got a number", "error")),
        ("a|b|0", {"acc": "x"},
         ("results.a|b|0.acc", 'expected a number, got "x"', "error")),
    ],
)  # fmt: skip
def test_a_broken_task_costs_no_other(key, value, problem):
    content = document()
    content["results"][key] = value
    rows, problems = read(content)
    assert problems == [problem]
    assert len(rows) == 5


def test_keys_without_a_suite_as_since_012():
    content = document()
    content["results"] = {
        key.partition("|")[2]: scores for key, scores in content["results"].items() if key != "all"
    }
    content["results"]["leaderboard|mmlu:x|" + "9" * 5000] = {"acc": 0.5}
    content["config_tasks"] = {"gsm8k|5": {"original_num_docs": 1319, "effective_num_docs": 12}}
    content["results"] = {key.removesuffix("|0|0") + "|0" * key.endswith("|0|0"): scores
                          for key, scores in content["results"].items()}  # fmt: skip
    rows, problems = read(content)
    names = ("task", "subtask", "shots", "n_examples")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("gsm8k", "gsm8k", 5, 12), ("mmlu", "mmlu:anatomy", 0, None),
        ("mmlu", "mmlu:virology", 0, None), ("mmlu", "mmlu", 0, None),
        ("aime24", "aime24", 0, None), ("mmlu:x", "mmlu:x", None, None),
    ]  # fmt: skip
    assert "task.suite" not in said(rows[0])
    assert said(rows[0])["limit"] == "12"
    ((_, reason, severity),) = problems
    assert (reason[:24], severity) == ("expected a whole number,", "warning")


@pytest.mark.parametrize(("results", "reason"), [(MISSING, "missing"), ([], "expected an object")])
def test_without_results(results, reason):
    rows, problems = read(changed(document(), "results", results))
    assert rows is None
    ((place, why, severity),) = problems
    assert (place, severity) == ("results", "error")
    assert why.startswith(reason)


def test_it_is_told_from_other_formats():
    head = json.dumps(document(), indent=2).encode()[:4096]
    assert recognise(head)
    assert by_content(head) == "lighteval"
    harness = b'{"results": {"piqa": {"acc": 0.6}}, "config": {"model_args": ""}}'
    assert (recognise(harness), by_content(harness)) == (False, "lm_eval")


JSON = json_values("acc", "acc_stderr", "a|b|0", "all", "effective_num_docs", " ", max_leaves=10)
SECTIONS = ["results", "config_general", "config_tasks", "versions"]


@given(st.dictionaries(st.sampled_from(SECTIONS), JSON))
def test_no_content_raises(content):
    rows, problems = read(content)
    assert rows or problems
