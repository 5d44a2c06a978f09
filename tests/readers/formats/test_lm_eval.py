"""Results and sample logs of lm-evaluation-harness, against what json.load says of them.

The documents are built here, key by key as versions 0.3.0, 0.4.8 and 0.4.13 write them.
"""

from __future__ import annotations

import json
import math
import warnings

import pytest
from helpers import MISSING, changed, plain
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values
from xxhash import xxh3_128_hexdigest

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.model_names import model_names
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES, to_frame
from bigbench_meta.readers.formats.lm_eval import parse, read_run, recognise, run_of_file
from bigbench_meta.readers.formats.lm_eval_samples import parse_samples
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog

NAMES = model_names()
DATE = "2026-01-31T12-00-00.123456"
LABEL = f"out/EleutherAI__pythia-70m/results_{DATE}.json"


def old_results(**config):
    """A results file of 0.3.0: HellaSwag-like accuracies, a perplexity, two MMLU subjects."""
    return {
        "results": {
            "lambada_openai": {"ppl": 15.5, "ppl_stderr": 0.41, "acc": 0.4375, "acc_stderr": 0.007},
            "piqa": {"acc": 0.625, "acc_stderr": 0.0113, "acc_norm": 0.61, "acc_norm_stderr": 0.01},
            "hendrycksTest-anatomy": {"acc": 0.25, "acc_stderr": 0.03},
            "hendrycksTest-virology": {"acc": 0, "acc_stderr": 0.0},
        },
        "versions": {"lambada_openai": 0, "piqa": 0},
        "config": {
            "model": "hf-causal",
            "model_args": "pretrained=EleutherAI/pythia-v1.1-1.4b,revision=step143000",
            "num_fewshot": 0,
            "batch_size": 8,
            "device": "cuda",
            "no_cache": True,
            "limit": None,
            "bootstrap_iters": 100000,
            "description_dict": {},
        }
        | config,
    }


def scores(name, size, alias=None, **values):
    """The entry of one task in 0.4.13; a double underscore stands for the comma."""
    own = {"name": name, "alias": alias or name, "sample_len": size}
    return own | {key.replace("__", ",").replace("9", "-"): value for key, value in values.items()}


def new_results(**config):
    """A results file of 0.4.13: a task, two filters, a group of two in a list of tasks."""
    multiple = {"acc__none": 0.36, "acc_stderr__none": 0.098, "acc_norm__none": 0.4,
                "acc_norm_stderr__none": 0.1}  # fmt: skip
    group = {
        "alias": "zoo", "name": "zoo", "sample_len": 50, "acc,none": 0.16, "acc_stderr,none": 0.05,
        "sample_count": {"acc,none": 50},
    }  # fmt: skip
    shots = {"quiz": 2, "zoo_owls": 2, "zoo_cats": 0, "sums": 5, "text": 0, "pool": 0}
    return {
        "results": {
            "quiz": scores("quiz", 25, **multiple),
            "zoo_owls": scores("zoo_owls", 25, "  - owls", acc__none=0.08, acc_stderr__none=0.055),
            "zoo_cats": scores("zoo_cats", 25, "  - cats", acc__none=0.24, acc_stderr__none=0.087),
            "sums": scores(
                "sums", 20, exact_match__strict9match=0.0, exact_match_stderr__strict9match=0.0,
                exact_match__flexible9extract=0.68, exact_match_stderr__flexible9extract=0.095,
            ),
            "text": scores("text", 25, word_perplexity__none=11.5,
                           word_perplexity_stderr__none="N/A"),
            "zoo": group,
            "pool": {"alias": "pool", "name": "pool"},
        },
        "groups": {"zoo": dict(group)},
        "group_subtasks": {"pool": ["zoo", "sums"], "zoo": ["zoo_owls", "zoo_cats"]},
        "configs": {task: {"task": task, "num_fewshot": n} for task, n in shots.items()},
        "versions": {"quiz": 1.0, "zoo": "1.0", "sums": "Yaml", "pool": "N/A"},
        "n-shot": shots,
        "higher_is_better": {"quiz": {"acc": True}, "text": {"word_perplexity": False}},
        "n-samples": {
            task: {"original": 40, "effective": n}
            for task, n in {"quiz": 25, "zoo_owls": 25, "zoo_cats": 25, "sums": 20,
                            "text": 25}.items()
        },
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "EleutherAI/pythia-70m", "revision": "step3000"},
            "batch_size": 1, "batch_sizes": [], "device": "cuda:0", "limit": 25.0,
            "bootstrap_iters": 100000, "gen_kwargs": {}, "random_seed": 0,
        } | config,
        "git_hash": None,
        "date": 1795394070.01,
        "lm_eval_version": "0.4.13",
        "model_source": "hf",
        "model_name": "EleutherAI/pythia-70m",
        "model_name_sanitized": "EleutherAI__pythia-70m",
        "chat_template": None,
        "total_evaluation_time_seconds": "25.4",
    }  # fmt: skip


def results_048():
    """The same as 0.4.8 writes it: no name, no counts, plain tasks as groups without members."""
    document = new_results(model_args="pretrained=EleutherAI/pythia-70m,revision=step3000")
    for entry in [*document["results"].values(), *document["groups"].values()]:
        for key in ("name", "sample_len", "sample_count"):
            entry.pop(key, None)
    document["results"]["pool"] = {" ": " ", "alias": "pool"}
    document["group_subtasks"] |= {"quiz": [], "text": []}
    del document["n-shot"]["pool"], document["configs"]["pool"]
    return document


def read(document, label=LABEL, **options):
    """Return the rows of a document and the problems without their source."""
    log = ProblemLog(**options)
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    table = parse(data, FileLog(label, log), names=NAMES)
    rows = None if table is None else plain(to_frame(table))
    assert table is None or table.schema == OBSERVATIONS.arrow
    assert all(source == label for source, *_ in log.rows)
    return rows, [problem[1:] for problem in log.rows]


def said(document, task, checkpoint):
    """What the file says of the run of a task, written out by hand."""
    size = document.get("n-samples", {}).get(task, {})
    found = {
        "backend": document["config"]["model"],
        "checkpoint": checkpoint,
        "harness": document.get("lm_eval_version"),
        "limit": str(size["effective"]) if size else None,  # 40 examples, of which fewer were used
        "task_version": document["versions"].get(task),
    }
    if not size and document["config"].get("limit"):
        found["limit"] = "25"
    stated = {name: str(value) for name, value in found.items() if value is not None}
    return json.dumps(stated)


def settings_of(rows):
    """The settings of rows that all have the same, but for the version of the task."""
    found = [json.loads(row["settings"] or "{}") for row in rows]
    for one in found:
        one.pop("task_version", None)
    assert all(one == found[0] for one in found)
    return found[0]


def expected(document, label, *, model, checkpoint, tasks=(), sizes=True):
    """The rows of a sound file: json.load's output and two loops."""
    family, name, count = model
    rows = []
    for task, entry in document["results"].items():
        for key, value in entry.items():
            metric, _, rule = key.partition(",")
            is_score = isinstance(value, int | float) and key != "sample_len"
            if metric.endswith("_stderr") or not is_score:
                continue
            stderr = entry.get(key.replace(metric, f"{metric}_stderr"))
            shots = document.get("n-shot", {}).get(task, document["config"].get("num_fewshot"))
            size = document.get("n-samples", {}).get(task, {}).get("effective")
            rows.append(
                dict.fromkeys(OBSERVATIONS.names)
                | {
                    "benchmark": "lm-eval",
                    "task": dict(tasks).get(task, task),
                    "subtask": task,
                    "metric": metric,
                    "model_family": family,
                    "model_name": name,
                    "total_params": count,
                    "variant": None if rule in {"", "none"} else rule,
                    "settings": said(document, task, checkpoint),
                    "shots": shots,
                    "score": float(value),
                    "stderr": None if stderr == "N/A" else stderr,
                    "n_examples": size or (entry.get("sample_len") if sizes else None),
                    "source": label,
                }
            )
    return rows


PYTHIA = ("pythia", "pythia-70m", 70426624)
ZOO = {"zoo_owls": "zoo", "zoo_cats": "zoo"}


# --- Sound files ---


def test_old_format():
    document = old_results()
    rows, problems = read(document, "runs/a.json")
    model = ("pythia", "pythia-1.4b", 1414647808)
    assert rows == expected(document, "runs/a.json", model=model, checkpoint="step143000")
    assert problems == []


def test_new_format():
    document = new_results()
    rows, problems = read(document)
    assert rows == expected(document, LABEL, model=PYTHIA, checkpoint="step3000", tasks=ZOO)
    assert problems == []


def test_new_format_of_048():
    document = results_048()
    rows, problems = read(document)
    wanted = expected(
        document, LABEL, model=PYTHIA, checkpoint="step3000", tasks=ZOO, sizes=False
    )  # fmt: skip
    assert rows == wanted
    assert problems == []


def test_group_row_is_the_aggregate_of_its_members():
    rows, _ = read(new_results())
    places = {(row["task"], row["subtask"]) for row in rows}
    assert {("zoo", "zoo"), ("zoo", "zoo_owls"), ("zoo", "zoo_cats"), ("sums", "sums")} <= places
    (group,) = (row for row in rows if row["subtask"] == "zoo")
    # Its members have 2 and 0 shots, and 25 examples each.
    assert (group["shots"], group["n_examples"]) == (None, 50)


def test_a_filter_is_a_variant_and_the_metric_stays_plain():
    rows, _ = read(changed(new_results(), "config.model_args.revision", "main"))
    found = {(row["metric"], row["variant"]): row["score"] for row in rows if row["task"] == "sums"}
    assert found == {("exact_match", "strict-match"): 0, ("exact_match", "flexible-extract"): 0.68}
    assert {row["variant"] for row in rows if row["task"] != "sums"} == {None}


def test_the_catalog_knows_the_metrics():
    rows, _ = read(new_results())
    older, _ = read(old_results())
    metrics = {row["metric"] for row in rows + older}
    assert metrics <= set(metric_catalog().entries["metric"])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"results": {"t": {"acc": 0.5}}}, True),
        ({"results": {"t": {"acc,none": "N/A"}}}, True),
        ({"results": {"t": {"alias": "t"}}}, True),
        ({"results": {"t": {" ": " "}}}, True),
        ({"results": {"t": {"acc": math.nan}}}, True),
        ({"config": {"bootstrap_iters": 1, "model_args": ""}, "results": {}}, True),
        ({"scores": [{"score_dict": {"acc": 0.5}}]}, False),
        ({"scores": [{"score_dict": {"results": {"t": {"acc": 0.5}}}}]}, False),
        ({"results": {"t": {"acc": {"mean": 0.5}}}}, False),
        ({"results": [{"t": 0.5}]}, False),
        ({"results": 0.5}, False),
        ({"results": {}}, False),
        ({"examples": [{"input": '"results": {"t": {"acc": 0.5'}]}, False),
        ([{"results": {"t": {"acc": 0.5}}}], False),
        ([{"config": {"bootstrap_iters": 1, "model_args": ""}}], False),
        ({}, False),
    ],
)
def test_recognise(document, expected):
    for indent in (None, 2):
        data = json.dumps(document, indent=indent).encode()
        assert recognise(data) is expected, indent
        assert recognise(b"\xef\xbb\xbf" + data) is expected, indent


@pytest.mark.parametrize("head", [b"", b"{", b"\xff\xfe{", b'{"results": {"t', b'{"' * 2000])
def test_recognise_needs_more(head):
    assert not recognise(head)


def test_recognise_sees_the_first_4096_bytes_alone():
    for document in (old_results(), new_results(), results_048()):
        assert recognise(json.dumps(document, indent=2).encode()[:4096])
        assert recognise(json.dumps(document).encode()[:80])


def test_the_number_of_examples_is_stated_in_several_places():
    document = new_results()
    del document["n-samples"]["quiz"]
    document["results"]["quiz"] |= {"sample_len": 24, "sample_count": {"acc_norm,none": 23}}
    rows, problems = read(document)
    found = {row["metric"]: row["n_examples"] for row in rows if row["task"] == "quiz"}
    assert found == {"acc": 24, "acc_norm": 23}
    assert problems == []


# --- Model, size, checkpoint, shots ---


def of_row(rows, *names):
    (found,) = {tuple(row[name] for name in names) for row in rows}
    return found


@pytest.mark.parametrize(
    ("config", "model", "checkpoint"),
    [
        ({"model_args": "pretrained=gpt2-xl"}, "gpt2-xl", None),
        ({"model_args": "pretrained=bigscience/bloom-7b1,use_accelerate=True"}, "bloom-7b1", None),
        ({"model_args": " use_accelerate=True, pretrained = facebook/opt-350m "}, "opt-350m", None),
        ({"model_args": "pretrained=gpt2,revision=main"}, "gpt2", None),
        ({"model_args": "pretrained=gpt2,revision=abc"}, "gpt2", "abc"),
        ({"model_args": "pretrained=pythia-70m-step5,revision=step5"}, "pythia-70m", "step5"),
        ({"model_args": "pretrained=pythia-70m-step5,revision=x"}, "pythia-70m", "x"),
        ({"model_args": "pretrained=pythia-70m,revision=global_step5_hf"}, "pythia-70m", "step5"),
        ({"model_args": {"pretrained": "pythia-70m"}, "model_revision": "step7"}, "pythia-70m",
         "step7"),
        ({"model_args": "pretrained=gpt2,peft=me/owl-7b"}, "gpt2", None),
        ({"model_args": "engine=davinci", "model": "gpt3"}, "davinci", None),
        ({"model_args": "model=gpt-4", "model": "openai-chat-completions"}, "gpt-4", None),
        ({"model_args": "path=/models/llama-7b/step5", "model": "x"}, "Llama-7b", "step5"),
        ({"model_args": "", "model": "dummy"}, "dummy", None),
        ({"model_args": None, "model": "EleutherAI/gpt-j-6b"}, "gpt-j-6b", None),
        ({"model_args": "pretrained= ", "model": "gpt2"}, "gpt2", None),
    ],
)  # fmt: skip
def test_the_model_is_what_the_arguments_name(config, model, checkpoint):
    rows, problems = read(old_results(**config))
    assert of_row(rows, "model_name", "variant") == (model, None)
    assert settings_of(rows).get("checkpoint") == checkpoint
    assert [p for p in problems if p[0] != "total_params"] == []


@pytest.mark.parametrize(
    ("label", "model", "checkpoint", "shots"),
    [
        ("pythia-1.4b-0shot-step143000.json", "pythia-1.4b", "step143000", 0),
        ("pythia/bloom-560m.json", "bloom-560m", None, None),
        ("r/pythia-70m-deduped-5shot-global_step103000_eval_results_11-25-2022-21-29-28.json",
         "pythia-70m-deduped", "step103000", 5),
        ("r/pythia-2.8b-0shot-global_step3000__eval_results_11-25-2022.json", "pythia-2.8b",
         "step3000", 0),
        ("r/opt-13b_25-shot.json.gz", "opt-13b", None, 25),
        (f"out/EleutherAI__pythia-70m/results_{DATE}.json", "pythia-70m", None, None),
        ("out/gpt2/results.json", "gpt2", None, None),
        (f"out/gpt2-xl_{DATE}.json", "gpt2-xl", None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("config", [MISSING, {}, {"model": "neox", "model_args": {"seed": 1}}])
def test_a_file_without_model_is_named_by_its_name(label, model, checkpoint, shots, config):
    rows, problems = read(changed(old_results(), "config", config), label)
    assert of_row(rows, "model_name", "variant", "shots") == (model, None, shots)
    assert settings_of(rows).get("checkpoint") == checkpoint
    assert ("config.model_args", "names no model: taken from the file's name", "warning") in (
        problems
    )


@pytest.mark.parametrize(
    ("stated", "label", "model", "checkpoint"),
    [
        ("/scratch/models/ckpt", "r/pythia-1.4b-0shot.json", "pythia-1.4b", None),
        ("/scratch/models/ckpt/step500", "pythia-1.4b/eval.json", "pythia-1.4b", "step500"),
        ("/scratch/exp42", f"pythia/1.4b/results_{DATE}.json", "pythia-1.4b", None),
        ("7b", "r/owl-7b.json", "owl-7b", None),
        ("owl", "r/owl-7b.json", "owl-7b", None),
    ],
)
def test_a_place_gives_way_to_the_name_of_the_file(stated, label, model, checkpoint):
    rows, problems = read(old_results(model_args=f"pretrained={stated}"), label)
    assert of_row(rows, "model_name") == (model,)
    assert settings_of(rows).get("checkpoint") == checkpoint
    named = stated.removesuffix("/step500")
    reason = f'"{named}" does not say which model: "{model}" is taken from the file\'s name'
    assert ("config.model_args", reason, "warning") in problems


@pytest.mark.parametrize("stated", ["org/owl", "exp42", "gpt-4", "/data/owl/30m", "davinci"])
def test_what_names_a_model_does_not(stated):
    rows, problems = read(old_results(model_args=f"pretrained={stated}"), "pythia-1.4b.json")
    assert of_row(rows, "model_name") != ("pythia-1.4b",)
    assert not [reason for _, reason, _ in problems if "taken from" in reason]


def test_a_quantised_name_is_a_setting_of_the_run():
    args = "pretrained=me/owl-7b-GPTQ,dtype=float16"
    rows, _ = read(old_results(model_args=args, model_num_parameters=10**9))
    assert of_row(rows, "model_name", "total_params") == ("owl-7b", 7 * 10**9)
    assert settings_of(rows).items() >= {"quantisation": "gptq", "precision": "float16"}.items()


def test_what_the_file_says_goes_before_its_name():
    rows, problems = read(old_results(num_fewshot=3), "gpt2-0shot-step1.json")
    assert of_row(rows, "model_name", "shots") == ("pythia-1.4b", 3)
    assert settings_of(rows)["checkpoint"] == "step143000"
    assert problems == []


def test_model_name_counts_where_there_is_no_config():
    rows, _ = read(changed(new_results(), "config", MISSING), "results.json")
    assert of_row(rows, "model_name") == ("pythia-70m",)


@pytest.mark.parametrize("label", ["results.json", f"results_{DATE}.json", "results/results.json"])
def test_a_model_that_nothing_names_is_an_error(label):
    rows, problems = read(changed(old_results(), "config", MISSING), label)
    assert rows is None
    assert problems == [
        ("config.model_args", "neither the file nor its name gives a model", "error")
    ]


@pytest.mark.parametrize(
    ("document", "setting", "value"),
    [
        (new_results(model_args="pretrained=pythia-70m,dtype=bfloat16"), "precision", "bfloat16"),
        (new_results(model_dtype="torch.float16"), "precision", "float16"),
        (new_results(model_args="pretrained=pythia-70m,dtype=auto"), "precision", None),
        (old_results(model_args={"precision": "fp16", "pretrained": "gpt2"}), "precision",
         "float16"),
        (new_results(model_args="pretrained=pythia-70m,load_in_4bit=True"), "quantisation", "4bit"),
        (new_results(model_args="pretrained=pythia-70m,load_in_8bit=False"), "quantisation", None),
        (new_results(model_args="pretrained=pythia-70m,autogptq=model.bin"), "quantisation",
         "autogptq"),
        (new_results(model_args="pretrained=pythia-70m,peft=me/lora"), "adapter", "me/lora"),
        (new_results(model_args="pretrained=pythia-70m,add_bos_token=True"), "model.add_bos_token",
         "True"),
        (new_results(model_args="pretrained=pythia-70m,subfolder=step5"), "model.subfolder",
         "step5"),
        (new_results(model_args="pretrained=pythia-70m,device_map=auto"), "model.device_map", None),
        (new_results(gen_kwargs="temperature=0.7,top_p=0.9"), "generation.temperature", "0.7"),
        (new_results(gen_kwargs={"temperature": 0}), "generation.temperature", "0"),
        (new_results() | {"chat_template_sha": "a1b2"}, "chat_template", "a1b2"),
        (new_results() | {"chat_template": "{{x}}"}, "chat_template",
         xxh3_128_hexdigest(b"{{x}}")[:12]),
        (new_results() | {"system_instruction": ""}, "system_instruction", None),
        (new_results() | {"fewshot_as_multiturn": True}, "fewshot_layout", "multiturn"),
        (new_results() | {"fewshot_as_multiturn": False}, "fewshot_layout", None),
        (new_results() | {"lm_eval_version": "0.4.2"}, "harness", "0.4.2"),
        (old_results(limit=100), "limit", "100"),
        (old_results(limit=None), "limit", None),
    ],
)  # fmt: skip
def test_what_the_file_says_of_its_run_is_kept(document, setting, value):
    rows, problems = read(document)
    for row in rows:
        assert json.loads(row["settings"]).get(setting) == value
    assert problems == []


def of_task(document, **own):
    """The settings of the first score where the task's configuration says something more."""
    document["configs"]["quiz"] |= own
    rows, problems = read(document)
    assert problems == []
    return json.loads(next(row["settings"] for row in rows if row["subtask"] == "quiz"))


@pytest.mark.parametrize(
    ("one", "other", "setting"),
    [
        ({"generation_kwargs": {"temperature": 0.0}}, {"generation_kwargs": {"temperature": 1.0}},
         "generation.temperature"),
        ({"repeats": 1}, {"repeats": 64}, "task.repeats"),
        ({"description": ""}, {"description": "Think."}, "task.description"),
        ({"doc_to_text": "{{q}}"}, {"doc_to_text": "{{q}} A:"}, "task.prompt"),
        ({"target_delimiter": " "}, {"target_delimiter": ""}, "task.prompt"),
        ({"fewshot_config": {"sampler": "default"}}, {"fewshot_config": {"sampler": "first_n"}},
         "task.fewshot"),
        ({"filter_list": []}, {"filter_list": [{"name": "a"}]}, "task.scoring"),
        ({"dataset_name": "main"}, {"dataset_name": "socratic"}, "task.dataset_name"),
        ({"test_split": "test"}, {"test_split": "train"}, "task.split"),
        ({"validation_split": "test"}, {"validation_split": "validation"}, "task.split"),
    ],
)  # fmt: skip
def test_what_a_task_configuration_says_tells_runs_apart(one, other, setting):
    first, second = of_task(new_results(), **one), of_task(new_results(), **other)
    differs = {name for name in first | second if first.get(name) != second.get(name)}
    assert differs == {setting}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"doc_to_text": "<function f at 0x7f1>"}, {"doc_to_text": "<function f at 0x7f2>"}),
        # 0.4.13 repeats the task there.
        ({"fewshot_config": {"sampler": "default", "doc_to_text": "a"}}, {}),
        ({"metadata": {"pretrained": "a"}}, {"metadata": {"pretrained": "b"}}),
        ({"dataset_path": "a"}, {"dataset_path": "b"}),
    ],
)
def test_what_is_no_other_run(one, other):
    assert of_task(new_results(), **one) == of_task(new_results(), **other)


def test_what_the_task_says_of_the_generation_goes_before_what_the_run_said():
    document = new_results(gen_kwargs="temperature=1,top_p=0.9")
    found = of_task(document, generation_kwargs={"temperature": 0.5})
    assert found["generation.temperature"] == "0.5"
    assert found["generation.top_p"] == "0.9"


def test_a_group_is_set_as_its_tasks_are():
    def of_group(**of_owls):
        document = new_results()
        document["configs"]["zoo_cats"] |= {"doc_to_text": "cat", "dataset_name": "zoo"}
        document["configs"]["zoo_owls"] |= {"doc_to_text": "owl", "dataset_name": "zoo"} | of_owls
        (found,) = {row["settings"] for row in read(document)[0] if row["subtask"] == "zoo"}
        return json.loads(found)

    usual = of_group()
    assert usual["task.dataset_name"] == "zoo"
    other = of_group(doc_to_text="Owl")
    assert {name for name in usual if usual[name] != other[name]} == {"task.prompt"}


def test_the_descriptions_of_03():
    document = old_results(description_dict={"piqa": "Choose."})
    found = {row["subtask"]: json.loads(row["settings"]) for row in read(document)[0]}
    assert found["piqa"]["task.description"] == xxh3_128_hexdigest(b"Choose.")[:12]
    assert "task.description" not in found["lambada_openai"]


@pytest.mark.parametrize(
    ("args", "tokenizer"),
    [
        ("pretrained=me/owl-1b,tokenizer=me/owl-1b", None),
        # A model and its base, of one size: each size has a tokenizer of its own.
        ("pretrained=me/owl-1b,tokenizer=them/barn-1b", "barn"),
        ("pretrained=me/owl-7b,tokenizer=them/barn-7b", "barn"),
        ("pretrained=/disk/owl-1b,tokenizer=/other/owl-1b/", None),
        ("pretrained=me/owl-1b,tokenizer=/disk/1b", None),
    ],
)
def test_another_tokenizer_is_a_setting(args, tokenizer):
    rows, _ = read(old_results(model_args=args))
    assert settings_of(rows).get("model.tokenizer") == tokenizer


@pytest.mark.parametrize("revision", [None, "", "None"])
def test_the_revision_beside_arguments_that_state_none(revision):
    args = {"pretrained": "me/owl-1b", "revision": revision}
    rows, _ = read(old_results(model_args=args, model_revision="step9"))
    assert settings_of(rows)["checkpoint"] == "step9"


def test_many_arguments_have_one_digest():
    many = {f"key_{number}": number for number in range(31)} | {"pretrained": "me/owl-1b"}
    one, other = (
        settings_of(read(old_results(model_args=many | {"key_1": value}))[0]) for value in (1, 2)
    )
    assert {name for name in one if one[name] != other[name]} == {"model.arguments"}


def test_a_whole_training_configuration_is_no_setting():
    """As GPT-NeoX passes it, with the names of its log files."""
    arguments = {f"key_{number}": number for number in range(200)} | {
        "hidden_size": 1,
        "precision": "fp16",
    }
    rows, _ = read(old_results(model="neox", model_args=arguments), "pythia-1.4b-step3000.json")
    assert settings_of(rows) == {
        "backend": "neox", "checkpoint": "step3000", "precision": "float16"
    }  # fmt: skip


def test_a_limit_beyond_the_test_set_is_none():
    document = new_results()
    document["n-samples"] = {
        task: {"original": 25, "effective": 25} for task in document["n-samples"]
    }
    rows, _ = read(document)
    with_size = [row for row in rows if row["subtask"] in document["n-samples"]]
    assert {json.loads(row["settings"]).get("limit") for row in with_size} == {None}


@pytest.mark.parametrize(("stated", "inside", "shots"), [(0, 5, 5), (2, 5, 2), (0, None, 0)])
def test_shots_that_stand_in_the_prompt_count(stated, inside, shots):
    document = new_results()
    document["n-shot"]["quiz"] = stated
    document["configs"]["quiz"] = {"num_fewshot": stated, "metadata": {"num_fewshot": inside}}
    rows, problems = read(document)
    assert {row["shots"] for row in rows if row["task"] == "quiz"} == {shots}
    reason = f"{stated}, but configs.quiz.metadata.num_fewshot says {inside}"
    told = [("n-shot.quiz", reason, "warning")] if stated and stated != inside else []
    assert problems == told


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        (
            lambda document: document["n-shot"].update(quiz=5),
            "n-shot.quiz", "5, but configs.quiz.num_fewshot says 2",
        ),
        (
            lambda document: document["results"]["quiz"].update(sample_len=40),
            "n-samples.quiz.effective", "25, but results.quiz.sample_len says 40",
        ),
        (
            lambda document: document["config"].update(limit=10),
            "n-samples.quiz.effective", "25, but config.limit says 10",
        ),
    ],
)  # fmt: skip
def test_statements_that_contradict_each_other_are_quoted(change, place, reason):
    document = new_results()
    before = read(document)[0]
    change(document)
    rows, problems = read(document)
    assert (place, reason, "warning") in problems
    assert [row["score"] for row in rows] == [row["score"] for row in before]


@pytest.mark.parametrize("args", ["load_in_4bit=True", "peft=me/lora", "gptq=True"])
def test_packed_weights_and_adapters_are_not_counted(args):
    document = new_results(
        model_args=f"pretrained=pythia-70m,{args}", model_num_parameters=40_000_000
    )
    rows, problems = read(document)
    assert of_row(rows, "model_name", "total_params") == ("pythia-70m", 70426624)
    assert problems == []


def test_the_counted_parameters_go_before_the_name():
    rows, problems = read(new_results(model_num_parameters=70_000_001))
    assert of_row(rows, "total_params") == (70_000_001,)
    assert problems == []
    assert read(new_results(model_num_parameters=-1)) == read(new_results())


def test_counted_parameters_that_contradict_the_name():
    rows, problems = read(new_results(model_num_parameters=140_000_000))
    assert of_row(rows, "total_params") == (140_000_000,)
    assert problems == [
        (
            "config.model_num_parameters",
            '140000000, but 70426624 by the name "pythia-70m"',
            "warning",
        )
    ]


def test_an_unknown_size_is_empty_with_its_reason():
    rows, problems = read(old_results(model_args="engine=text-davinci-003"))
    assert of_row(rows, "total_params", "model_family") == (None, "OpenAI")
    (problem,) = problems
    assert problem[0] == "total_params"
    assert 'left empty for "text-davinci-003": OpenAI does not say' in problem[1]


def test_shots_come_from_the_task_then_the_file():
    document = changed(new_results(num_fewshot=9), "n-shot", {"quiz": 1})
    del document["configs"]["text"]
    rows, problems = read(document)
    shots = {row["subtask"]: row["shots"] for row in rows}
    assert shots == {"quiz": 1, "zoo_owls": 2, "zoo_cats": 0, "sums": 5, "text": 9, "zoo": None}
    reason = "1, but configs.quiz.num_fewshot says 2"
    assert problems == [("n-shot.quiz", reason, "warning")]


def test_a_group_has_the_shots_that_its_members_share():
    document = new_results()
    document["group_subtasks"]["zoo"] = ["zoo_in", "quiz"]
    document["group_subtasks"]["zoo_in"] = ["zoo_owls"]
    rows, _ = read(document)
    assert {row["subtask"]: row["shots"] for row in rows}["zoo"] == 2


# --- Groups ---


def nested(**subtasks):
    """A file with a score for every name; ``pool`` has none."""
    names = dict.fromkeys(name for group, of in subtasks.items() for name in [group, *of])
    return {
        "results": {name: {"alias": name} if name == "pool" else {"acc,none": 0.5}
                    for name in names},
        "group_subtasks": subtasks,
        "config": {"model_args": "pretrained=gpt2"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("subtasks", "tasks"),
    [
        ({"mmlu": ["stem", "law"], "stem": ["anatomy"]},
         {"mmlu": "mmlu", "stem": "mmlu", "law": "mmlu", "anatomy": "mmlu"}),
        ({"stem": ["anatomy"], "mmlu": ["stem"]}, {"mmlu": "mmlu", "stem": "mmlu",
                                                  "anatomy": "mmlu"}),
        ({"pool": ["mmlu", "arc"], "mmlu": ["law"]}, {"mmlu": "mmlu", "arc": "arc",
                                                     "law": "mmlu"}),
        ({"mmlu": ["pool"], "pool": ["law"]}, {"mmlu": "mmlu", "law": "mmlu"}),
        ({"pool": ["law"], "mmlu": ["law"]}, {"mmlu": "mmlu", "law": "mmlu"}),
        ({"arc": ["arc"], "law": []}, {"arc": "arc", "law": "law"}),
        ({"a": ["b"], "b": ["a"]}, {"a": "b", "b": "a"}),
    ],
)  # fmt: skip
def test_the_outermost_group_with_scores_is_the_task(subtasks, tasks):
    rows, problems = read(nested(**subtasks))
    assert {row["subtask"]: row["task"] for row in rows} == tasks
    assert problems == []


def test_a_member_of_two_groups_is_filed_once():
    rows, problems = read(nested(a=["t"], b=["t"]))
    assert {row["subtask"]: row["task"] for row in rows} == {"a": "a", "b": "b", "t": "a"}
    assert problems == [("group_subtasks.b", '"t" is filed under "a" already', "warning")]


def test_a_group_that_only_groups_has():
    document = nested(zoo=["owl"])
    document["groups"] = {"zoo": document["results"].pop("zoo")}
    rows, _ = read(document)
    assert [(row["task"], row["subtask"]) for row in rows] == [("zoo", "owl"), ("zoo", "zoo")]


def test_a_long_chain_and_a_wide_group_end():
    chain = {f"g{i}": [f"g{i + 1}"] for i in range(3000)}
    rows, _ = read(nested(**chain))
    assert len(rows) == 3001
    rows, _ = read(nested(zoo=[f"t{i}" for i in range(3000)]))
    assert {row["task"] for row in rows} == {"zoo"}


# --- Faults ---

OLD_FAULTS = [
    ("results/piqa/acc", "0.6", 'expected a number, got "0.6"', "error"),
    ("results/piqa/acc", None, "expected a number, got null", "error"),
    ("results/piqa/acc", True, "expected a number, got true", "error"),
    ("results/piqa/acc", [1], "expected a number, got a list", "error"),
    ("results/piqa", 3, "expected the scores of a task, got a number", "error"),
    ("results/piqa", None, "expected the scores of a task, got null", "error"),
    ("results/ ", {"acc": 1}, "expected the scores of a task, got a task without a name", "error"),
    ("results/piqa/acc_stderr", "x", 'expected a standard error, got "x": left empty', "warning"),
    ("results/piqa/acc_stderr", -1, "expected a standard error, got -1: left empty", "warning"),
    ("results/piqa/acc_stderr", math.nan, "expected a standard error, got NaN: left empty",
     "warning"),
    ("results/piqa/em_stderr", 0.1, "standard error without a score: ignored", "warning"),
    ("results/piqa/ ", 0.1, "unknown key: ignored", "warning"),
    ("config/num_fewshot", 0.5, "expected a whole number, got 0.5: left empty", "warning"),
]  # fmt: skip
NEW_FAULTS = [
    ("results/quiz/extra", 0.1, "unknown key: ignored", "warning"),
    ("results/quiz/,none", 0.1, "unknown key: ignored", "warning"),
    ("results/quiz/bypass,none", 999,
     "not a metric: marks a run that only predicts; ignored", "warning"),
    ("results/quiz/f1_stderr,none", 0.1, "standard error without a score: ignored", "warning"),
    ("results/quiz/acc,none", "N/A", 'expected a number, got "N/A"', "error"),
    ("results/zoo/sample_count/acc,none", 1.5,
     "expected a number of examples, got 1.5: left empty", "warning"),
    ("n-samples/quiz/effective", 0, "expected a number of examples, got 0: left empty", "warning"),
    ("n-shot/quiz", "two", 'expected a whole number, got "two": left empty', "warning"),
    ("n-shot/quiz", -1, "expected a whole number, got -1: left empty", "warning"),
    ("n-shot", [1], "expected an object, got a list: ignored", "warning"),
    ("group_subtasks/zoo", "owls", "expected a list of names: ignored", "warning"),
    ("group_subtasks/zoo", [1], "expected a list of names: ignored", "warning"),
    ("config/model_num_parameters", "many", 'got "many": ignored', "warning"),
    ("config/model_num_parameters", 10**30, f"got {10**30}: ignored", "warning"),
    ("config/model_args", 7, "expected text, got 7: ignored", "warning"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "place", "value", "reason", "severity"),
    [(old_results(), *fault) for fault in OLD_FAULTS]
    + [(new_results(), *fault) for fault in NEW_FAULTS],
)
def test_a_fault_is_told_with_its_place_and_the_rest_is_read(
    document, place, value, reason, severity
):
    document = json.loads(json.dumps(document))
    *path, last = place.split("/")
    holder = document
    for key in path:
        holder = holder[key]
    holder[last] = value
    rows, problems = read(document)
    assert (place.replace("/", "."), reason, severity) in problems
    scores = [row["score"] for row in rows if row["subtask"] in {"lambada_openai", "text"}]
    assert scores in ([15.5, 0.4375], [11.5])
    if severity == "error" and place.count("/") == 2:
        assert "acc" not in {row["metric"] for row in rows if row["subtask"] == path[1]}


@pytest.mark.parametrize("wrong", ["many", 0, -3, 2.5, {"effective": "25"}, {"effective": []}])
def test_a_number_of_examples_that_is_none_is_left_empty(wrong):
    rows, problems = read(changed(new_results(), "n-samples.quiz", wrong))
    assert {row["n_examples"] for row in rows if row["task"] == "quiz"} == {None}
    ((place, reason, severity),) = problems
    assert (place, severity) == ("n-samples.quiz.effective", "warning")
    assert reason.startswith("expected a number of examples, got ")


@pytest.mark.parametrize(
    ("number", "kept"), [("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf),
                         ("1e999", math.inf), ("1" + "0" * 400, math.inf)],
)  # fmt: skip
def test_a_score_that_is_not_finite_is_kept_with_a_warning(number, kept):
    data = json.dumps(old_results()).replace("0.4375", number).encode()
    log = ProblemLog()
    table = parse(data, FileLog(LABEL, log), names=NAMES)
    score = table["score"].to_pylist()[1]
    assert score == kept or (math.isnan(score) and math.isnan(kept))
    reason = f"{kept} is kept but never scored"
    assert log.rows == [(LABEL, "results.lambada_openai.acc", reason, "warning")]


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"", "", "the file is empty"),
        (b'{"results": {"t": {"acc": 0.5', "line 1 column 30", "truncated JSON: Expecting ',' de"),
        (b'{"results": {"t', "line 1 column 14", "truncated JSON: Unterminated string"),
        (b'{"results": ]}', "line 1 column 13", "malformed JSON: Expecting value"),
        (b'{"results": "\xff"}', "byte 13", "not UTF-8: invalid start byte"),
        (b"[1]", "", "expected an object, got a list"),
        (b"[" * 100_000, "", "nested too deeply"),
        (b'{"a": ' * 100_000, "", "nested too deeply"),
        (
            b'{"results": {"t": {"acc": 1' + b"0" * 5000 + b"}}}",
            "",
            "not readable as JSON: a number of more",
        ),
        (b"{}", "results", "missing"),
        (b'{"results": []}', "results", "expected an object, got a list"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_error(data, place, reason):
    rows, problems = read(data)
    assert rows is None
    ((where, why, severity),) = problems
    assert (where, severity) == (place, "error")
    assert why.startswith(reason)


def test_a_byte_order_mark_is_no_fault():
    data = b"\xef\xbb\xbf" + json.dumps(old_results()).encode()
    assert read(data) == read(old_results())


def test_an_empty_file_of_results_is_a_warning():
    rows, problems = read(changed(old_results(), "results", {}))
    assert rows == []
    assert problems == [("results", "no scores", "warning")]


def test_a_key_given_twice_is_told():
    data = json.dumps(old_results()).replace('"ppl": 15.5,', '"ppl": 1, "ppl": 15.5,').encode()
    rows, problems = read(data)
    assert rows == read(old_results())[0]
    assert problems == [("ppl", "'ppl' given twice in one object: the last counts", "warning")]


def test_many_keys_and_one_twice_end():
    keys = ", ".join(f'"m{i}": 0.5' for i in range(30_000))
    data = f'{{"results": {{"t": {{{keys}, "m7": 0.25}}}}}}'.encode()
    rows, problems = read(data, "gpt2.json")
    assert len(rows) == 30_000
    assert rows[7]["score"] == 0.25
    assert any("'m7' given twice" in reason for _, reason, _ in problems)


def test_a_lone_surrogate_becomes_a_question_mark():
    data = json.dumps(old_results()).replace("piqa", r"pi\ud800qa").encode()
    rows, _ = read(data)
    assert "pi?qa" in {row["task"] for row in rows}


def test_strict_raises_the_first_problem():
    with pytest.raises(InputError, match=r"results\.piqa\.acc: expected a number, got null"):
        read(changed(old_results(), "results.piqa.acc", None), strict=True)


JSON = json_values(
    "acc", "acc,none", "acc_stderr,none", "alias", "t", "u", " ", "", ",", max_leaves=12
)
SECTIONS = ["results", "groups", "group_subtasks", "configs", "n-shot", "n-samples", "config"]


@given(st.dictionaries(st.sampled_from(SECTIONS), JSON), st.sampled_from(["x/gpt2.json", "x.json"]))
def test_no_content_raises(document, label):
    rows, problems = read(document, label)
    assert rows or problems


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        st.dictionaries(
            st.sampled_from(["acc", "em", "ppl", "f1"]),
            st.tuples(
                st.floats(-1e9, 1e9), st.one_of(st.none(), st.just("N/A"), st.floats(0, 1e9))
            ),
            min_size=1,
        ),
        min_size=1,
    ),
    st.sampled_from(["", ",none", ",strict", ",a,b"]),
)
def test_every_number_is_a_row_and_every_stderr_is_attached(tasks, suffix):
    results = {
        task: {f"{metric}{part}{suffix}": pair[i] for metric, pair in of.items()
               for i, part in enumerate(["", "_stderr"])}
        for task, of in tasks.items()
    }  # fmt: skip
    document = {"results": results, "config": {"model_args": "pretrained=gpt2", "num_fewshot": 1}}
    rows, problems = read(document)
    variant = None if suffix in {"", ",none"} else suffix[1:]
    assert problems == []
    assert [
        (row["task"], row["metric"], row["variant"], row["score"], row["stderr"]) for row in rows
    ] == [
        (task, metric, variant, score, None if stderr == "N/A" else stderr)
        for task, of in tasks.items()
        for metric, (score, stderr) in of.items()
    ]


# --- Real files ---


def test_real_files(shared):
    files = sorted((shared / "samples" / "lm_eval_results").glob("*.json"))
    assert len(files) == 12
    sizes = {}
    for path in files:
        data = path.read_bytes()
        assert recognise(data[:4096])
        document = json.loads(data)
        rows, problems = read(data, path.name)
        model = of_row(rows, "model_family", "model_name", "total_params")
        checkpoint = "step143000" if "pythia" in path.name else None
        assert rows == expected(document, path.name, model=model, checkpoint=checkpoint)
        assert problems == []
        n_stderr = sum(key.endswith("_stderr") for of in document["results"].values() for key in of)
        assert sum(row["stderr"] is not None for row in rows) == n_stderr
        sizes.setdefault(model[0], set()).add(model[2])
    assert {family: len(of) for family, of in sizes.items()} == {"pythia": 7, "bloom": 5}


def test_real_files_without_config(shared):
    for path in (shared / "samples" / "lm_eval_results").glob("*.json"):
        document = json.loads(path.read_bytes())
        with_config, _ = read(document, path.name)
        del document["config"]
        without, _ = read(document, path.name)
        # Task versions stand elsewhere in the file, checkpoints in its name.
        for row in with_config:
            settings = json.loads(row["settings"])
            assert settings.pop("backend") == "hf-causal"
            row["settings"] = json.dumps(settings)
        if "bloom" in path.name:
            # BLOOM's file names say nothing of shots.
            with_config = [row | {"shots": None} for row in with_config]
        assert without == with_config


# --- Samples ---

PROMPT = "Q: 7 + 7 =\nA:"
SAMPLES_LABEL = f"out/EleutherAI__pythia-70m/samples_quiz_{DATE}.jsonl"


def sample(arguments, responses, target, metrics, **more):
    """One line of a sample log of 0.4.13."""
    return {
        "doc_id": 0,
        "doc": {"question": "7 + 7 ="},
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(parts)}
            for i, parts in enumerate(arguments)
        },
        "resps": [[response] for response in responses],
        "filtered_resps": responses,
        "filter": "none",
        "metrics": list(metrics),
        "doc_hash": "0", "prompt_hash": "1", "target_hash": "2",
    } | metrics | more  # fmt: skip


def choice(target="0", logprobs=("-0.5", "-0.75", "-0.25"), **more):
    asked = [(PROMPT, text) for text in (" 14", " 15", " 13")]
    responses = [[logprob, "False"] for logprob in logprobs]
    return sample(asked, responses, target, {"acc": 0.0, "acc_norm": 1.0}) | more


def generated(response="lol", target="lol", **more):
    asked = [(PROMPT, {"until": ["\n"]})]
    return sample(asked, [response], target, {"exact_match": 1.0}, **more)


def read_samples(*lines, label=SAMPLES_LABEL, results=None):
    data = b"\n".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    )
    log = ProblemLog()
    table = parse_samples(data, FileLog(label, log), names=NAMES, results=results)
    rows = None if table is None else table.to_pylist()
    assert table is None or table.schema == SAMPLES.arrow
    return rows, [problem[1:] for problem in log.rows]


def test_multiple_choice():
    (row,), problems = read_samples(choice(doc_id=3))
    assert row == dict.fromkeys(SAMPLES.names) | {
        "benchmark": "lm-eval",
        "task": "quiz",
        "subtask": "quiz",
        "model_family": "pythia",
        "model_name": "pythia-70m",
        "total_params": NAMES.lookup("pythia-70m").total_params,
        "example_id": "3",
        "input_hash": xxh3_128_hexdigest(PROMPT.encode()),
        "targets": [" 14", " 15", " 13"],
        "target_values": [1.0, 0.0, 0.0],
        "target_logprobs": [-0.5, -0.75, -0.25],
        "correct": 0.0,
        "metrics": [("acc", 0.0), ("acc_norm", 1.0)],
        "source": SAMPLES_LABEL,
    }
    assert problems == []


@pytest.mark.parametrize(
    ("target", "values"),
    [
        ("2", [0, 0, 1]), (1, [0, 1, 0]), ("[0, 2]", [1, 0, 1]), ([0, 2], [1, 0, 1]),
        ("15", None), (" 15", None), ("13 ", None), ("three", None), ("3", None), ("-1", None),
        ("", None), (None, None), ("[9]", None), ("[[[", None), ("[1, 'x']", None),
        ("[" * 5000 + "]" * 5000, None), (r"['\d']", None),
    ],
)  # fmt: skip
def test_the_right_choices(target, values):
    (row,), problems = read_samples(choice(target=target))
    assert row["target_values"] == values
    told = ("", "1 of 1 examples: target is none of the choices: target_values left empty",
            "warning")  # fmt: skip
    assert (told in problems) is (values is None)


def test_a_target_in_words():
    line = sample([("Sky?", " blue"), ("Sky?", " green")], [["-1", "True"], ["-2", "False"]],
                  "green", {"acc": 0.0})  # fmt: skip
    assert read_samples(line)[0][0]["target_values"] == [0.0, 1.0]


def test_unconditional_requests_are_no_choices():
    asked = [(PROMPT, " 1"), (PROMPT, " 2"), ("", " 1"), ("", " 2")]
    line = sample(asked, [[f"-{i}", "False"] for i in range(4)], "1",
                  {"acc": 0.0, "acc_mutual_info": 1.0})  # fmt: skip
    (row,), problems = read_samples(line)
    assert (row["targets"], row["target_values"]) == ([" 1", " 2"], [0.0, 1.0])
    assert row["target_logprobs"] == [0.0, -1.0]
    assert problems == []


def test_choices_that_differ_in_the_context():
    asked = [("Ann and", " laughed"), ("Bob and", " laughed")]
    line = sample(asked, [["-1", "False"], ["-2", "False"]], "1", {"acc": 0.0})
    (row,), _ = read_samples(line)
    assert (row["targets"], row["target_values"]) == (["Ann and", "Bob and"], [0.0, 1.0])


def test_the_likelihood_of_one_text():
    line = sample([(PROMPT, " 14")], [["-0.5", "True"]], " 14", {"perplexity": -0.5, "acc": 1})
    (row,), problems = read_samples(line)
    assert (row["targets"], row["target_logprobs"]) == ([" 14"], [-0.5])
    assert (row["target_values"], row["correct"], row["output"]) == (None, 1.0, None)
    assert row["metrics"] == [("perplexity", -0.5), ("acc", 1.0)]
    assert problems == []


def test_the_likelihood_of_a_document():
    line = sample([("Some text",)], ["-7.5"], "Some text", {"word_perplexity": [-7.5, 2]})
    (row,), problems = read_samples(line)
    assert (row["targets"], row["target_logprobs"]) == (["Some text"], [-7.5])
    assert (row["metrics"], row["correct"]) == ([], None)
    assert problems == []


def test_text_like_a_list_gives_no_warning_of_python():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        (row,), _ = read_samples(generated(target=r"['\d']"))
    assert row["targets"] in ([r"['\d']"], [r"\d"])
    assert told == []


@pytest.mark.parametrize(
    ("target", "targets"),
    [
        ("lol", ["lol"]), (7, ["7"]), ("['a', \"b's\"]", ["a", "b's"]), (["a", "b"], ["a", "b"]),
        ("[1, 2]", ["[1, 2]"]), ("[]", ["[]"]), ("[x]", ["[x]"]), ("", [""]), (None, None),
        ("['" + "a" * 20_000 + "']", ["['" + "a" * 20_000 + "']"]),
    ],
)  # fmt: skip
def test_generation(target, targets):
    (row,), problems = read_samples(generated(target=target))
    assert (row["targets"], row["output"], row["correct"]) == (targets, "lol", 1.0)
    assert (row["target_values"], row["target_logprobs"]) == (None, None)
    assert problems == []


def test_output_is_what_the_filter_left():
    lines = [generated("[invalid]", filter="strict-match"), generated(["lol"], filter="none")]
    rows, problems = read_samples(*lines)
    assert [(row["variant"], row["output"]) for row in rows] == [
        ("strict-match", "[invalid]"),
        (None, "lol"),
    ]
    assert problems == []


def test_several_responses_are_no_output():
    (row,), problems = read_samples(generated(["a", "b"]))
    assert row["output"] is None
    ((_, reason, _),) = problems
    assert reason == "1 of 1 examples: the filtered response is not one text: output left empty"


def test_a_line_of_042_has_neither_filter_nor_list_of_metrics():
    line = choice(arguments=[[PROMPT, " 14"], [PROMPT, " 15"], [PROMPT, " 13"]])
    line["filtered_resps"] = [[-0.5, False], [-0.75, False], [-0.25, True]]
    for key in ("filter", "metrics", "doc_hash", "prompt_hash", "target_hash"):
        del line[key]
    assert read_samples(line) == read_samples(choice())


@pytest.mark.parametrize(
    ("metrics", "correct"),
    [
        ({"acc": True}, 1.0), ({"em": 0.5}, 0.5), ({"exact_match": 0, "acc": 1}, 1.0),
        ({"acc": 75.0}, None), ({"acc": math.nan}, None), ({"acc": "1"}, None),
        ({"acc": [1, 2]}, None), ({"f1": 1.0}, None), ({}, None),
    ],
)  # fmt: skip
def test_correct(metrics, correct):
    line = choice() | metrics | {"metrics": list(metrics)}
    assert read_samples(line)[0][0]["correct"] == correct


def test_the_run_tells_model_group_shots_and_checkpoint():
    run = read_run(json.dumps(new_results()).encode(), FileLog(LABEL, ProblemLog()), names=NAMES)
    label = f"out/EleutherAI__pythia-70m/samples_zoo_owls_{DATE}.jsonl"
    (row,), _ = read_samples(choice(filter="first"), label=label, results=run)
    assert (row["task"], row["subtask"], row["shots"]) == ("zoo", "zoo_owls", 2)
    assert (row["variant"], row["model_name"]) == ("first", "pythia-70m")
    assert row["settings"] == said(new_results(), "zoo_owls", "step3000")


def test_samples_and_observations_have_the_same_key():
    data = json.dumps(new_results()).encode()
    run = read_run(data, FileLog(LABEL, ProblemLog()), names=NAMES)
    key = [name for name in SAMPLES.names if name in OBSERVATIONS.names and name != "source"]
    known = {tuple(row[name] for name in key) for row in read(data)[0]}
    for task, rule in (("quiz", "none"), ("zoo_cats", "none"), ("sums", "strict-match")):
        label = f"out/x/samples_{task}_{DATE}.jsonl"
        (row,), _ = read_samples(generated(filter=rule), label=label, results=run)
        assert tuple(row[name] for name in key) in known


def test_a_broken_line_is_told_and_the_rest_is_read():
    lines = [choice(doc_id=0), b'{"doc_id": 1,', b"", b"[1]", b"\xff", b"[" * 100_000]
    rows, problems = read_samples(*lines, choice(doc_id=2))
    assert [row["example_id"] for row in rows] == ["0", "2"]
    assert [(place, severity) for place, _, severity in problems] == [
        ("line 2 column 14", "error"), ("line 4", "error"), ("line 5 byte 0", "error"),
        ("line 6", "error"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (choice(doc_id=None), "no doc_id: named after the line"),
        (choice(doc_id=1.5), "no doc_id: named after the line"),
        (choice(arguments=None), "no arguments: prompt and targets left empty"),
        (choice(arguments={"gen_args_0": 3}), "no arguments: prompt and targets left empty"),
        (choice(arguments=[[]]), "no arguments: prompt and targets left empty"),
        (choice(logprobs=("-1", "-2")), "log-likelihoods missing or not numbers: left empty"),
        (choice(logprobs=("-1", "x", "-2")), "log-likelihoods missing or not numbers: left empty"),
        (choice(logprobs=("-1", None, "-2")), "log-likelihoods missing or not numbers: left empty"),
    ],
)
def test_what_a_line_lacks_is_left_empty_and_counted(line, note):
    rows, problems = read_samples(line, line | {"doc_id": "other"})
    assert len(rows) == 2
    n = 1 if "doc_id" in note else 2
    assert problems == [("", f"{n} of 2 examples: {note}", "warning")]


def test_lone_surrogates_become_question_marks():
    def spoil(value):
        return json.dumps(value).replace("#", r"\ud800").encode()

    asked = [("#", " #a"), ("#", " #b")]
    line = sample(asked, [["-1", "x"], ["-2", "x"]], "1", {"a#": 1.0}, filter="f#", doc_id="#")
    one, other = (spoil(each) for each in (line, generated("#", target="#")))
    rows, problems = read_samples(one, other)
    assert problems == []
    assert rows[0]["targets"] == [" ?a", " ?b"]
    assert (rows[0]["example_id"], rows[0]["variant"], rows[0]["metrics"]) == (
        "?", "f?", [("a?", 1.0)]
    )  # fmt: skip
    assert (rows[1]["targets"], rows[1]["output"]) == (["?"], "?")


def test_an_example_given_twice_is_told():
    rows, problems = read_samples(choice(), choice(), choice(filter="x"))
    assert len(rows) == 3
    assert problems == [("", "1 of 3 examples: given more than once", "warning")]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("out/gpt2/log.jsonl", "the name has no task"),
        (
            "samples_quiz.jsonl",
            "no results file in its folder, and the folder is not named after a model",
        ),
    ],
)
def test_samples_that_nothing_names_are_an_error(label, reason):
    rows, ((_, why, severity),) = read_samples(choice(), label=label)
    assert rows is None
    assert severity == "error"
    assert why.startswith(reason)


def test_an_empty_log_is_a_warning():
    assert read_samples(b"") == ([], [("", "no examples", "warning")])


@given(st.dictionaries(st.sampled_from([*choice(), "em"]), JSON))
def test_no_line_raises(line):
    rows, _ = read_samples(line)
    assert len(rows) == 1


@pytest.mark.parametrize(
    "label", ["", "..", "../results.json", "\t.json", "x/__ __.json", "hf.json", "-0shot.json"]
)
def test_a_file_name_that_names_no_model(label):
    assert run_of_file(label, names=NAMES) is None
