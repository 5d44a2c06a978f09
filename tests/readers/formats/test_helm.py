"""Runs of HELM, against what json.load says of them.

The documents are built here, key by key as crfm-helm 0.5.16 writes them (its own runs of small
scenarios were compared), and as 0.1.0 did; one test lets HELM's own classes write them.
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
from bigbench_meta.core.schema import OBSERVATIONS, to_frame
from bigbench_meta.readers.conflicts import resolve_conflicts
from bigbench_meta.readers.formats.helm import parse, read_name, recognise
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog

# Of the run below, by hand.
SETTINGS = json.dumps({
    "backend": "together",
    "fewshot_layout": xxh3_128_hexdigest(b"||Question: |||||||")[:12],
    "generation.max_tokens": "1", "generation.num_outputs": "5",
    "generation.stop_sequences": '["\\n"]', "generation.temperature": "0.0", "limit": "20",
    "system_instruction": xxh3_128_hexdigest(b"Answer with one letter.\n")[:12],
    "task.metric_specs": xxh3_128_hexdigest(
        b'[["BasicGenerationMetric", {"names": ["exact_match", "quasi_exact_match"]}]]'
    )[:12],
})  # fmt: skip
NAMES = model_names()
NAME = "mmlu:subject=anatomy,method=multiple_choice_joint,model=eleutherai_pythia-6.9b"
LABEL = f"runs/v1/{NAME}/stats.json"
MODEL = {"model_family": "pythia", "model_name": "pythia-6.9b", "total_params": 6857302016}
ROBUSTNESS = {"name": "robustness", "robustness": True, "fairness": False, "computed_on": "worst"}
FAIRNESS = {"name": "fairness", "robustness": False, "fairness": True, "computed_on": "worst"}
TYPOS = {"name": "typos", "robustness": True, "fairness": False, "computed_on": "perturbed",
         "prob": 0.1}  # fmt: skip


def stat(metric, *trials, split="test", sub_split=None, perturbation=None):
    """A stat as HELM makes it of its value in each trial; what is None is not written."""
    name = {"name": metric, "split": split, "sub_split": sub_split, "perturbation": perturbation}
    count = len(trials)
    result = {
        "name": {key: value for key, value in name.items() if value is not None},
        "count": count,
        "sum": sum(trials),
        "sum_squared": sum(value * value for value in trials),
    }
    if trials:
        mean = sum(trials) / count
        variance = max(result["sum_squared"] / count - mean**2, 0)
        result |= {"min": min(trials), "max": max(trials), "mean": mean, "variance": variance,
                   "stddev": math.sqrt(variance)}  # fmt: skip
    return result


def bookkeeping(split="test", size=20.0, **more):
    """What stands before and after the scores of a run."""
    names = ("num_references", "num_train_trials", "num_prompt_tokens", "inference_runtime",
             "batch_size", "finish_reason_stop", "prompt_truncated", "max_prob", "logprob",
             "num_bytes", "perplexity", "bits_per_byte", "logprob_per_byte")  # fmt: skip
    counted = [stat(name, 1.0, split=split, **more) for name in names]
    empty = stat("training_co2_cost", split=split, **more)
    return [*counted, empty, stat("num_instances", size, split=split, **more)]


def plain_stats():
    """A run without perturbations: HELM repeats each plain score as the worst of nothing."""
    scores = {"exact_match": 0.55, "quasi_exact_match": 0.6}
    worst = [
        stat(metric, score, perturbation=kind)
        for metric, score in scores.items()
        for kind in (ROBUSTNESS, FAIRNESS)
    ]
    return [*bookkeeping(), *(stat(*of) for of in scores.items()), *worst, stat("ece_10_bin", 0.1)]


def spec(name=NAME, **adapter):
    """A run_spec.json of 0.5.16."""
    return {
        "name": name,
        "scenario_spec": {
            "class_name": "helm.benchmark.scenarios.mmlu_scenario.MMLUScenario",
            "args": {"subject": "anatomy"},
        },
        "adapter_spec": {
            "method": "multiple_choice_joint", "global_prefix": "", "global_suffix": "",
            "instructions": "Answer with one letter.\n", "input_prefix": "Question: ",
            "substitutions": [], "max_train_instances": 5, "max_eval_instances": 20,
            "num_outputs": 5, "num_train_trials": 1, "num_trials": 1, "sample_train": True,
            "model_deployment": "together/pythia-6.9b", "model": "eleutherai/pythia-6.9b",
            "temperature": 0.0, "max_tokens": 1, "stop_sequences": ["\n"], "multi_label": False,
        } | adapter,
        "metric_specs": [
            {"class_name": "helm.benchmark.metrics.basic_metrics.BasicGenerationMetric",
             "args": {"names": ["exact_match", "quasi_exact_match"]}},
        ],
        "data_augmenter_spec": {"perturbation_specs": [], "seeds_per_instance": 1},
        "groups": ["mmlu", "mmlu_anatomy"],
    }  # fmt: skip


def old_spec():
    """A run_spec.json of 0.1.0: no deployments, no trials, other classes."""
    document = spec(model="openai/davinci")
    for key in ("model_deployment", "num_trials", "global_prefix", "global_suffix"):
        del document["adapter_spec"][key]
    document["metric_specs"][0]["class_name"] = "helm.benchmark.basic_metrics.BasicMetric"
    return document


def encoded(document):
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def read(stats, run_spec=MISSING, folder=NAME, **options):
    """Return the rows of a run and the problems without their source."""
    log = ProblemLog(**options)
    run_spec = spec() if run_spec is MISSING else run_spec
    beside = None if run_spec is None else encoded(run_spec)
    table = parse(encoded(stats), beside, folder, FileLog(LABEL, log), names=NAMES)
    assert table is None or table.schema == OBSERVATIONS.arrow
    assert all(source == LABEL for source, *_ in log.rows)
    rows = None if table is None else plain(to_frame(table))
    return rows, [problem[1:] for problem in log.rows]


def row(**columns):
    """A row of the run; its columns as far as they differ."""
    return dict.fromkeys(OBSERVATIONS.names) | MODEL | {
        "benchmark": "helm", "task": "mmlu", "subtask": "subject=anatomy", "shots": 5,
        "variant": "method=multiple_choice_joint", "n_examples": 20, "source": LABEL,
        "settings": SETTINGS,
    } | columns  # fmt: skip


def of_row(rows, *names):
    (found,) = {tuple(one[name] for name in names) for one in rows}
    return found


def by_variant(rows, column="score", *, metric="exact_match"):
    how = "method=multiple_choice_joint"
    return {
        one["variant"].removeprefix(how).removeprefix(","): one[column]
        for one in rows
        if one["metric"] == metric
    }


# --- Sound files ---


def test_a_plain_run():
    rows, problems = read(plain_stats())
    assert rows == [
        row(metric="exact_match", score=0.55),
        row(metric="quasi_exact_match", score=0.6),
        row(metric="ece_10_bin", score=0.1),
    ]
    assert problems == []


def test_an_old_run():
    rows, problems = read(plain_stats(), old_spec())
    assert {one["metric"]: one["score"] for one in rows} == {
        "exact_match": 0.55, "quasi_exact_match": 0.6, "ece_10_bin": 0.1,
    }  # fmt: skip
    assert of_row(rows, "model_name", "model_family", "total_params", "shots") == (
        "davinci", "OpenAI", None, 5,
    )  # fmt: skip
    ((place, reason, severity),) = problems
    assert (place, severity) == ("total_params", "warning")
    assert reason.startswith('left empty for "davinci": OpenAI does not say')


def test_the_score_is_the_mean_over_trials_and_has_no_standard_error():
    rows, _ = read([stat("exact_match", 0.25, 0.5, 0.75), stat("num_instances", 40, 40, 40)])
    (one,) = rows
    assert (one["score"], one["stderr"], one["n_examples"]) == (0.5, None, 40)


def test_the_catalog_knows_the_usual_metrics():
    usual = ("exact_match", "quasi_exact_match", "prefix_exact_match", "f1_score", "rouge_2")
    rows, _ = read([stat(metric, 0.5) for metric in usual])
    assert {one["metric"] for one in rows} == set(usual)
    assert set(usual) <= set(metric_catalog().entries["metric"])


SORTED = [dict(sorted(one.items())) for one in plain_stats()]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (plain_stats(), True),
        ([stat("exact_match", 0.5, perturbation=TYPOS)], True),
        ([stat("exact_match", split=None)], True),
        (SORTED, True),
        ([stat("bias:mode=x,of=\"y\"", 1.0, sub_split="a, }{ b")], True),
        ([{"instance_id": "id7", "train_trial_index": 0, "stats": plain_stats()}], False),
        ([{"name": "exact_match", "count": 1, "sum": 0}], False),
        ([{"name": {"first": "x"}, "count": 1}], False),
        ([{"name": {"name": "exact_match"}, "id": 3}], False),
        ({"name": {"name": "exact_match"}, "count": 1}, False),
        ([plain_stats()], False),
        (spec(), False),
        ([spec()], False),
        ([], False),
    ],
)  # fmt: skip
def test_recognise(document, expected):
    for indent in (None, 2):
        data = json.dumps(document, indent=indent).encode()
        assert recognise(data) is expected, indent
        assert recognise(b"\xef\xbb\xbf" + data) is expected, indent


@pytest.mark.parametrize(
    "head", [b"", b"[", b"\xff\xfe[", b'[{"name": {"name": "x', b"[" * 5000,
             b'[{"name": {"name": "' + b'}, "' * 1500, b'[{"count": 1' + b" " * 5000],
)  # fmt: skip
def test_recognise_needs_more(head):
    assert not recognise(head)


def test_recognise_sees_the_first_bytes_alone():
    assert recognise(json.dumps(plain_stats(), indent=2).encode()[:200])


# --- What is a score ---


NO_SCORES = [
    "num_instances", "num_references", "num_train_trials", "num_prompt_tokens", "num_bytes",
    "max_num_output_tokens", "batch_size", "prompt_length", "estimated_num_tokens_cost",
    "inference_runtime", "inference_idealized_runtime", "inference_denoised_runtime",
    "training_co2_cost", "training_energy_cost", "denoised_runtime", "finish_reason_endoftext",
    "prompt_truncated", "safety_gpt_annotator_success", "max_prob", "predicted_index",
    "ref0_rank", "toxic_prompt_openai", "accuracy_ci_low", "score_ci_high", "platt_coef",
    "platt_intercept", "summarization_coverage", "logprob", "logprob_per_byte", "perplexity",
    "bits_per_byte",
]  # fmt: skip
MAYBE_SCORES = [
    "exact_match@5", "quasi_prefix_exact_match", "exact_match_indicator", "f1_set_match", "RR@10",
    "NDCG@10", "math_equiv_chain_of_thought", "final_number_exact_match", "platt_ece_10_bin",
    "selective_cov_acc_area", "runtime_efficiency_ratio", "numeric_match", "expected_max_toxicity",
    "bias_metric:mode=associations,demographic_category=race,target_category=adjective",
    "safety_gpt_score", "wildbench_score", "BERTScore-F", "self_bleu", "a metric of tomorrow",
    "summarization_faithfulness", "maximum", "max_probability",
]  # fmt: skip


def test_what_is_no_score_is_left_out():
    for metric in NO_SCORES:
        rows, problems = read([stat(metric, 3.0), stat("exact_match", 0.5)])
        assert [one["metric"] for one in rows] == ["exact_match"], metric
        assert problems == []


def test_what_may_be_a_score_is_loaded():
    for metric in MAYBE_SCORES:
        rows, problems = read([stat(metric, 0.5)])
        assert [(one["metric"], one["score"]) for one in rows] == [(metric, 0.5)]
        assert problems == []


LIKELIHOODS = {"logprob": -9.5, "perplexity": 3.5, "bits_per_byte": 0.75, "logprob_per_byte": -0.5}


@pytest.mark.parametrize(
    ("method", "loaded"),
    [("language_modeling", True), ("generation", False), ("multiple_choice_joint", False),
     (MISSING, True), (3, True)],
)  # fmt: skip
def test_likelihoods_are_scores_of_a_given_text_alone(method, loaded):
    document = changed(spec("the_pile:subset=ArXiv"), "adapter_spec.method", method)
    rows, _ = read([stat(*of) for of in LIKELIHOODS.items()], document)
    assert {one["metric"]: one["score"] for one in rows} == (LIKELIHOODS if loaded else {})


@pytest.mark.parametrize("method", [MISSING, "generation"])
def test_likelihoods_beside_other_scores_are_those_of_the_output(method):
    document = changed(spec("imdb:"), "adapter_spec.method", method)
    rows, _ = read([stat("perplexity", 2.0), stat("exact_match", 0.5)], document)
    assert [one["metric"] for one in rows] == ["exact_match"]


# --- Splits, parts of splits, perturbations ---


@pytest.mark.parametrize(
    ("splits", "variants"),
    [
        (["test"], {""}),
        (["valid"], {""}),
        (["valid", "test"], {"", "split=valid"}),
        (["train", "valid"], {"", "split=train"}),
        (["train"], {""}),
        (["dev", "train"], {"split=dev", "split=train"}),
        ([None], {""}),
        (["train", None], {""}),
    ],
)
def test_one_split_goes_without_saying(splits, variants):
    stats = [stat("exact_match", i / 8, split=split) for i, split in enumerate(splits)]
    rows, problems = read(stats)
    assert set(by_variant(rows)) == variants
    assert [one["score"] for one in rows] == [i / 8 for i in range(len(splits))]
    assert problems == []


def test_test_is_the_split_that_goes_without_saying():
    stats = [stat("exact_match", 0.25, split="valid"), stat("exact_match", 0.75, split="test")]
    rows, _ = read(stats)
    assert by_variant(rows) == {"split=valid": 0.25, "": 0.75}


def test_each_split_has_its_own_number_of_examples():
    stats = [*bookkeeping("valid", 12.0), *bookkeeping("test", 20.0)]
    stats += [stat("exact_match", 0.5, split=split) for split in ("valid", "test", "train")]
    rows, _ = read(stats)
    assert by_variant(rows, "n_examples") == {"split=valid": 12, "": 20, "split=train": None}


def test_a_part_of_a_split_is_a_subtask():
    stats = [
        one
        for part, score, size in (("toxic", 0.25, 7), ("non-toxic", 0.5, 13))
        for one in (stat("exact_match", score, sub_split=part),
                    stat("num_instances", size, sub_split=part))
    ]  # fmt: skip
    rows, _ = read(stats)
    assert [(one["subtask"], one["score"], one["n_examples"]) for one in rows] == [
        ("subject=anatomy,sub_split=toxic", 0.25, 7),
        ("subject=anatomy,sub_split=non-toxic", 0.5, 13),
    ]
    alone, _ = read(stats, spec("real_toxicity_prompts:model=openai_davinci"))
    assert [(one["task"], one["subtask"]) for one in alone] == [
        ("real_toxicity_prompts", "sub_split=toxic"),
        ("real_toxicity_prompts", "sub_split=non-toxic"),
    ]


def perturbed_stats():
    """A run with typos; 7 of its 20 examples have a word that could be misspelt."""
    return [
        stat("exact_match", 0.5),
        stat("exact_match", 0.25, perturbation=TYPOS),
        stat("exact_match", 0.45, perturbation=ROBUSTNESS),
        stat("exact_match", 0.5, perturbation=FAIRNESS),
        stat("exact_match", 0.125, perturbation=TYPOS | {"computed_on": "original"}),
        stat("exact_match", 0.0, perturbation=TYPOS | {"computed_on": "worst"}),
        stat("num_instances", 20.0),
        stat("num_instances", 7.0, perturbation=TYPOS),
    ]


def test_perturbed_examples_are_variants():
    rows, problems = read(perturbed_stats(), spec(f"{NAME},data_augmentation=typo0.1"))
    of_run = "data_augmentation=typo0.1,perturbation="
    assert by_variant(rows) == {
        "": 0.5,
        f"{of_run}typos,prob=0.1": 0.25,
        f"{of_run}robustness,computed_on=worst": 0.45,
        f"{of_run}typos,prob=0.1,computed_on=original": 0.125,
        f"{of_run}typos,prob=0.1,computed_on=worst": 0.0,
    }
    assert list(by_variant(rows, "n_examples").values()) == [20, 7, 20, 7, 7]
    assert problems == []


def test_the_plain_examples_of_a_perturbed_run_have_the_key_of_a_plain_run():
    perturbed, _ = read(perturbed_stats(), spec(f"{NAME},data_augmentation=typo0.1"))
    alone, _ = read(perturbed_stats()[:1] + perturbed_stats()[-2:-1])
    assert perturbed[0] == alone[0]


@pytest.mark.parametrize("equal", [True, False])
def test_a_worst_of_nothing_is_left_out_if_it_repeats_the_plain_score(equal):
    worst = stat("exact_match", 0.5 if equal else 0.25, perturbation=FAIRNESS)
    rows, _ = read([worst, *perturbed_stats()[:2]])
    assert ("perturbation=fairness,computed_on=worst" in by_variant(rows)) is not equal


def test_a_worst_that_equals_the_plain_score_is_loaded_where_there_was_a_perturbation():
    worst = stat("exact_match", 0.5, perturbation=ROBUSTNESS)
    rows, _ = read([worst, *perturbed_stats()[:2]])
    assert by_variant(rows)["perturbation=robustness,computed_on=worst"] == 0.5


def test_a_perturbation_with_the_name_of_a_kind_is_one_like_any_other():
    own = ROBUSTNESS | {"computed_on": "perturbed"}
    stats = [stat("exact_match", 0.5), stat("exact_match", 0.5, perturbation=own)]
    sizes = [stat("num_instances", 20), stat("num_instances", 7, perturbation=own)]
    rows, _ = read(stats + sizes)
    assert by_variant(rows, "n_examples") == {"": 20, "perturbation=robustness": 7}


def test_a_worst_is_compared_with_the_plain_score_of_its_own_examples():
    stats = [
        stat("exact_match", 0.5),
        stat("exact_match", 0.5, perturbation=ROBUSTNESS, split="valid"),
        stat("exact_match", 0.5, perturbation=ROBUSTNESS, sub_split="a"),
        stat("f1_score", 0.5, perturbation=ROBUSTNESS),
    ]
    assert len(read(stats)[0]) == 4


def test_parameters_of_a_perturbation_tell_it_apart():
    dialect = {"name": "dialect", "robustness": False, "fairness": True,
               "computed_on": "perturbed", "seed": 3, "prob": 1.0, "source_class": "SAE",
               "preserve": True, "of": ["a"]}  # fmt: skip
    rows, _ = read([stat("exact_match", 0.5, perturbation=dialect)])
    (variant,) = by_variant(rows)
    assert variant == (
        "perturbation=dialect,seed=3,prob=1.0,source_class=SAE,preserve=True,of=a list"
    )


def test_a_stat_given_twice_is_kept_twice_for_the_pipeline_to_tell():
    log = ProblemLog()
    stats = [stat("exact_match", 0.5), stat("exact_match", 0.25), stat("exact_match", 0.5)]
    table = parse(encoded(stats), encoded(spec()), NAME, FileLog(LABEL, log), names=NAMES)
    assert log.rows == []
    resolved = resolve_conflicts(table, log)
    assert resolved["score"].to_pylist() == [0.5, 0.25]
    assert resolved["replicate"].to_pylist() == ["unexplained 1", "unexplained 2"]
    assert len(log.rows) == 2


# --- The name of a run ---


@pytest.mark.parametrize(
    ("name", "scenario", "what", "how"),
    [
        (NAME, "mmlu", "subject=anatomy", "method=multiple_choice_joint"),
        ("imdb:model=openai_davinci", "imdb", "", ""),
        ("imdb", "imdb", "", ""),
        ("gsm:model=x,stop=hash,data_augmentation=canonical", "gsm", "", "stop=hash"),
        ("wikifact:k=5,subject=capital,model=x", "wikifact", "subject=capital", "k=5"),
        ("commonsense:dataset=hellaswag,method=m,model=x,groups=a", "commonsense",
         "dataset=hellaswag", "method=m"),
        ("legal_support,method=m:model=x", "legal_support", "", "method=m"),
        ("med_dialog,subset=icliniq:model=x", "med_dialog", "subset=icliniq", ""),
        ("dyck_language_np=3:model=x", "dyck_language_np=3", "", ""),
        ("imdb:model=amazon_nova-pro-v1:0,temperature=0.5", "imdb", "", "temperature=0.5"),
        ("xquad:prompt_style=weak,:model=x", "xquad", "", "prompt_style=weak,:model=x"),
        ("unitxt:card=a,b,c,template=d[e=1,f],model=x", "unitxt", "card=a,b,c,template=d[e=1,f]",
         ""),
        ("math:subject=algebra,level=1,use_official_examples=False,use_chain_of_thought=True,m=x",
         "math", "subject=algebra,level=1,m=x",
         "use_official_examples=False,use_chain_of_thought=True"),
        ("a:prompt=,model=x", "a", "", "prompt="),
        ("a:,,model=x", "a", "", ""),
        ("a:b", "a", "b=", ""),
        ("", "", "", ""),
    ],
)  # fmt: skip
def test_the_name_of_a_run(name, scenario, what, how):
    found = read_name(name)
    assert (found.scenario, found.what, found.how) == (scenario, what, how)


ARGUMENTS = ("subject", "dataset", "task", "method", "temperature", "stop", "max_train_instances")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["mmlu", "imdb"]),
            st.dictionaries(st.sampled_from(ARGUMENTS), st.sampled_from("012"), max_size=4),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_two_runs_of_a_suite_have_two_keys(runs):
    keys = {}
    for scenario, arguments in runs:
        given_ = sorted(arguments.items())
        name = f"{scenario}:" + ",".join(f"{k}={v}" for k, v in [*given_, ("model", "gpt2")])
        document = spec(name, max_train_instances=int(arguments.get("max_train_instances", 5)))
        (one,), problems = read([stat("exact_match", 0.5)], document)
        assert problems == []
        key = tuple(one[column] for column in ("task", "subtask", "variant", "shots"))
        # With its five shots stated or not, a run is the same.
        run = scenario, tuple(pair for pair in given_ if pair != ("max_train_instances", "5"))
        assert keys.setdefault(key, run) == run


# --- Model and shots ---


@pytest.mark.parametrize(
    ("adapter", "model", "checkpoint"),
    [
        ({"model": "meta/llama-2-7b", "model_deployment": "together/x"}, "Llama-2-7b", None),
        ({"model": "", "model_deployment": "together/llama-2-7b"}, "Llama-2-7b", None),
        ({"model": None, "model_deployment": "huggingface/gpt2-xl"}, "gpt2-xl", None),
        ({"model": "EleutherAI/pythia-70m-step3000"}, "pythia-70m", "step3000"),
        ({"model": "cohere/xlarge-20220609"}, "cohere/xlarge-20220609", None),
    ],
)
def test_the_model(adapter, model, checkpoint):
    document = spec("imdb:method=m,model=openai_davinci", **adapter)
    rows, problems = read([stat("exact_match", 0.5)], document)
    assert of_row(rows, "model_name", "variant") == (model, "method=m")
    assert json.loads(rows[0]["settings"]).get("checkpoint") == checkpoint
    assert {place for place, *_ in problems} <= {"total_params"}


@pytest.mark.parametrize(
    ("deployment", "model", "backend"),
    [
        ("huggingface/owl-1b", "org/owl-1b", "huggingface"),
        ("huggingface/owl-7b", "org/owl-7b", "huggingface"),
        ("openai/davinci", "openai/davinci", "openai"),
        ("together/Owl-7B-hf", "org/owl-7b", "together/hf"),
        ("a/b/owl-7b", "org/owl-7b", "a/b"),
        ("huggingface/owl-7b", None, "huggingface"),
        ("huggingface/owl-7b", "", "huggingface"),
        ("owl-7b", "org/owl-7b", None),
        ("together/x", "org/owl-7b", "together/x"),
        ("together/", "org/owl-7b", "together/"),
        ("", "org/owl-7b", None),
    ],
)
def test_who_serves_a_model_is_told_without_the_models_name(deployment, model, backend):
    """Every model has a deployment of its own: curves "join models that were run differently"."""
    document = spec("imdb:model=org_owl-7b", model=model, model_deployment=deployment)
    rows, _ = read([stat("exact_match", 0.5)], document)
    assert json.loads(rows[0]["settings"]).get("backend") == backend


@pytest.mark.parametrize(
    ("model", "got"), [(MISSING, "null"), ("", '""'), (7, "7"), (["a"], "a list"), (" / ", '" / "')]
)
def test_a_model_that_only_the_name_tells(model, got):
    document = changed(changed(spec(), "adapter_spec.model", model),
                       "adapter_spec.model_deployment", MISSING)  # fmt: skip
    rows, problems = read(plain_stats(), document)
    assert of_row(rows, *MODEL) == tuple(MODEL.values())
    told = f"names no model, got {got}: taken from the run's name"
    assert problems == [("run_spec.json adapter_spec.model", told, "warning")]


@pytest.mark.parametrize("shots", [0, 5, 5.0, 1000])
def test_shots(shots):
    rows, problems = read(plain_stats(), spec(max_train_instances=shots))
    assert of_row(rows, "shots") == (shots,)
    assert problems == []


@pytest.mark.parametrize(
    ("shots", "got"), [("5", '"5"'), (-1, "-1"), (2.5, "2.5"), (True, "true"), (10**12, 10**12)]
)
def test_shots_that_are_none_are_left_empty(shots, got):
    rows, problems = read(plain_stats(), spec(max_train_instances=shots))
    assert of_row(rows, "shots") == (None,)
    place = "run_spec.json adapter_spec.max_train_instances"
    assert problems == [(place, f"expected a whole number, got {got}: left empty", "warning")]


# --- Without a usable run_spec.json ---


@pytest.mark.parametrize(("named", "shots", "is_told"), [(0, 5, True), (5, 5, False)])
def test_shots_of_the_name_and_of_the_adapter(named, shots, is_told):
    run_spec = spec(f"{NAME},max_train_instances={named}", max_train_instances=shots)
    rows, problems = read(plain_stats(), run_spec)
    place, reason = "run_spec.json adapter_spec.max_train_instances", "5, but the run's name says 0"
    assert problems == ([(place, reason, "warning")] if is_told else [])
    assert {row["shots"] for row in rows} == {5}


@pytest.mark.parametrize("shots", [None, 3])
def test_without_a_run_spec_the_folder_tells(shots):
    folder = NAME + (f",max_train_instances={shots}" if shots else "")
    rows, problems = read(plain_stats(), None, folder)
    with_spec, _ = read(plain_stats(), spec(max_train_instances=shots))
    assert rows == [one | {"settings": None} for one in with_spec]
    told = "missing: the run is read from the folder's name"
    assert problems == [("run_spec.json", told, "warning")]


def test_the_model_and_the_method_in_the_name_of_the_folder():
    stats = [stat("perplexity", 2.0), stat("exact_match", 0.5)]
    rows, _ = read(stats, None, "the_pile:method=language_modeling,model=local_my_own_model")
    assert [one["metric"] for one in rows] == ["perplexity", "exact_match"]
    assert of_row(rows, "model_name", "shots") == ("local/my_own_model", None)


@pytest.mark.parametrize(
    ("run_spec", "place", "reason"),
    [
        (b'{"name": "mm', "run_spec.json column 10", "truncated JSON: Unterminated string"),
        (b'{"name": ]', "run_spec.json column 10", "malformed JSON: Expecting value"),
        (b'{"name": "\xff"}', "run_spec.json byte 10", "not UTF-8: invalid start byte"),
        (b"[" * 100_000, "run_spec.json", "nested too deeply to be the specification of"),
        (b"7" * 5000, "run_spec.json", "not readable as JSON: a number of more digits"),
        (b"null", "run_spec.json", "expected an object, got null"),
        (b"[]", "run_spec.json", "expected an object, got a list"),
    ],
)  # fmt: skip
def test_a_broken_run_spec_is_told_and_the_folder_counts(run_spec, place, reason):
    rows, problems = read(plain_stats(), run_spec)
    unknown = {"shots": None, "settings": None}
    assert rows == [one | unknown for one in read(plain_stats())[0]]
    (where, why, severity), second = problems
    assert (where, severity) == (place, "error")
    assert why.startswith(reason)
    told = "not usable: the run is read from the folder's name"
    assert second == ("run_spec.json", told, "warning")


@pytest.mark.parametrize(
    ("folder", "missing"),
    [("7", "model"), ("mmlu:subject=anatomy", "model"), (":model=openai_davinci", "scenario"),
     ("", "model"), ("mmlu:model=", "model"), ("mmlu:model=_", "model")],
)  # fmt: skip
def test_a_run_that_nothing_names_is_an_error(folder, missing):
    rows, problems = read(plain_stats(), None, folder)
    assert rows is None
    missing = "scenario" if folder in {"", ":model=openai_davinci"} else missing
    assert problems[-1] == (
        "run_spec.json", f"neither the file nor the folder's name gives a {missing}", "error",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("name", MISSING, "expected the run's name, got null: the folder's name counts"),
        ("name", 3, "expected the run's name, got 3: the folder's name counts"),
        ("name", " ", "expected the run's name, got \" \": the folder's name counts"),
        ("adapter_spec", [1], "expected an object, got a list: ignored"),
        ("adapter_spec", MISSING, "expected an object, got null: ignored"),
    ],
)
def test_a_faulty_run_spec_is_told_and_the_rest_of_it_counts(place, value, reason):
    rows, problems = read(plain_stats(), changed(spec(), place, value))
    assert (f"run_spec.json {place}", reason, "warning") in problems
    sound = read(plain_stats())[0]
    kept = {"shots": 5, "settings": sound[0]["settings"]}
    assert [one | kept for one in rows] == sound


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"adapter_spec.chain_of_thought_prefix": "Think: "}, "task.chain_of_thought"),
        ({"adapter_spec.multi_label": True}, "task.multi_label"),
        ({"adapter_spec.sample_train": False}, "task.sample_train"),
        ({"adapter_spec.num_train_trials": 3}, "task.num_train_trials"),
        ({"metric_specs": [{"class_name": "x.Other", "args": {}}]}, "task.metric_specs"),
        ({"annotators": [{"class_name": "x.Judge", "args": {"model": "a"}}]}, "task.annotators"),
    ],
)
def test_what_a_run_spec_says_of_the_run_is_a_setting(change, setting):
    usual, other = (
        json.loads(of_row(read(plain_stats(), document)[0], "settings")[0])
        for document in (spec(), with_changes(spec(), change))
    )
    assert usual.get(setting) != other[setting]
    assert {name for name in usual | other if usual.get(name) != other.get(name)} == {setting}


def test_the_module_of_a_metric_changes_with_the_version_of_helm_alone():
    document = spec()
    moved = "helm.benchmark.basic_metrics.BasicGenerationMetric"
    document["metric_specs"][0]["class_name"] = moved
    assert read(plain_stats(), document) == read(plain_stats())


def with_changes(document, change):
    for place, value in change.items():
        document = changed(document, place, value)
    return document


# --- Faults ---

FAULTS = [
    ("[1].mean", "0.5", 'expected a number, got "0.5"', "error"),
    ("[1].mean", True, "expected a number, got true", "error"),
    ("[1].mean", [0.5], "expected a number, got a list", "error"),
    ("[1].name.split", 3, "expected text, got 3", "error"),
    ("[1].name.sub_split", {}, "expected text, got an object", "error"),
    ("[1].name.perturbation", "typos", 'expected a named perturbation, got "typos"', "error"),
    ("[1].name.perturbation", {}, "expected a named perturbation, got an object", "error"),
    ("[1].name.perturbation", {"name": 3}, "expected a named perturbation, got an object", "error"),
]


@pytest.mark.parametrize(("place", "value", "reason", "severity"), FAULTS)
def test_a_fault_is_told_with_its_place_and_the_rest_is_read(place, value, reason, severity):
    stats = [stat("f1_score", 0.25), stat("exact_match", 0.5), stat("rouge_l", 0.75)]
    document = changed({"stats": stats}, f"stats{place}", value)["stats"]
    rows, problems = read(document)
    assert [one["metric"] for one in rows] == ["f1_score", "rouge_l"]
    assert problems == [(place, f'"exact_match": {reason}', severity)]


@pytest.mark.parametrize(
    ("item", "place", "reason"),
    [
        (None, "[1]", "expected a stat, got null"),
        ([], "[1]", "expected a stat, got a list"),
        ("exact_match", "[1]", "expected a stat, got text"),
        ({}, "[1].name", "expected an object, got null"),
        ({"name": "exact_match"}, "[1].name", "expected an object, got text"),
        ({"name": {}}, "[1].name.name", "expected a metric, got null"),
        ({"name": {"name": " "}}, "[1].name.name", 'expected a metric, got " "'),
        ({"name": {"name": 3}}, "[1].name.name", "expected a metric, got 3"),
    ],
)
def test_what_is_no_stat_is_told_and_the_rest_is_read(item, place, reason):
    rows, problems = read([stat("f1_score", 0.25), item, stat("rouge_l", 0.75)])
    assert [one["score"] for one in rows] == [0.25, 0.75]
    assert problems == [(place, reason, "error")]


@pytest.mark.parametrize(
    ("values", "score", "place", "reason", "severity"),
    [
        ({"count": 4, "sum": 3}, 0.75, "mean", "missing, so sum / count", "warning"),
        ({"count": 4, "sum": 3, "mean": None}, 0.75, "mean", "missing, so sum / count", "warning"),
        ({"count": 4, "sum": 0.0}, 0.0, "mean", "missing, so sum / count", "warning"),
        ({"count": 0, "sum": 0}, None, "count", "no trials, so no score", "warning"),
        ({"count": 0}, None, "count", "no trials, so no score", "warning"),
        ({"count": -1, "sum": 3}, None, "mean", "missing, and sum and count do not give it",
         "error"),
        ({"count": 10**400, "sum": 3}, None, "mean", "missing, and sum and count do not give it",
         "error"),
        ({"count": 4, "sum": "3"}, None, "mean", "missing, and sum and count do not give it",
         "error"),
        ({"count": True, "sum": 3}, None, "mean", "missing, and sum and count do not give it",
         "error"),
        ({"sum": 3}, None, "mean", "missing, and sum and count do not give it", "error"),
        ({}, None, "mean", "missing, and sum and count do not give it", "error"),
    ],
)  # fmt: skip
def test_a_mean_that_is_missing(values, score, place, reason, severity):
    rows, problems = read([{"name": {"name": "exact_match"}} | values, stat("f1_score", 0.5)])
    scores = {one["metric"]: one["score"] for one in rows}
    assert scores == ({} if score is None else {"exact_match": score}) | {"f1_score": 0.5}
    assert problems == [(f"[0].{place}", f'"exact_match": {reason}', severity)]


def test_bookkeeping_is_not_judged():
    stats = [{"name": {"name": name}, "mean": "x"} for name in ("num_bytes", "inference_runtime")]
    _, problems = read([*stats, stat("exact_match", 0.5)])
    assert problems == []


@pytest.mark.parametrize("size", ["20", 2.5, 0, -3, None, True, 1e30, math.nan])
def test_a_number_of_examples_that_is_none_is_left_empty(size):
    stats = [stat("exact_match", 0.5), stat("num_instances", 20.0) | {"mean": size}]
    (one,), problems = read(stats)
    assert one["n_examples"] is None
    ((place, reason, severity),) = problems
    assert (place, severity) == ("[1].mean", "warning")
    assert reason.startswith("expected a number of examples, got ")


def test_two_numbers_of_examples_that_differ():
    stats = [stat("num_instances", 20.0), stat("num_instances", 20.0), stat("num_instances", 21.0)]
    (one,), problems = read([*stats, stat("exact_match", 0.5)])
    assert one["n_examples"] is None
    assert problems == [("[2].mean", "21 examples, but 20 above: left empty", "warning")]


@pytest.mark.parametrize(
    ("number", "kept"), [("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf),
                         ("1e999", math.inf), ("1" + "0" * 400, math.inf)],
)  # fmt: skip
def test_a_score_that_is_not_finite_is_kept_with_a_warning(number, kept):
    data = json.dumps([stat("exact_match", 0.4375)]).replace('"mean": 0.4375', f'"mean": {number}')
    log = ProblemLog()
    table = parse(data.encode(), encoded(spec()), NAME, FileLog(LABEL, log), names=NAMES)
    (score,) = table["score"].to_pylist()
    assert score == kept or (math.isnan(score) and math.isnan(kept))
    reason = f'"exact_match": {kept} is kept but never scored'
    assert log.rows == [(LABEL, "[0].mean", reason, "warning")]


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"", "", "the file is empty"),
        (b'[{"name": {"name": "exact_match"', "line 1 column 33", "truncated JSON: Expecting ','"),
        (b'[{"name": ]}', "line 1 column 11", "malformed JSON: Expecting value"),
        (b'[{"name": "\xff"}]', "byte 11", "not UTF-8: invalid start byte"),
        (b"{}", "", "expected a list, got an object"),
        (b"null", "", "expected a list, got null"),
        (b"[" * 100_000, "", "nested too deeply to be the stats of a HELM run"),
        (
            b"[" + b"7" * 5000 + b"]",
            "",
            "not readable as JSON: a number of more digits than can be read",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_error(data, place, reason):
    rows, problems = read(data)
    assert rows is None
    ((where, why, severity),) = problems
    assert (where, severity) == (place, "error")
    assert why.startswith(reason)


@pytest.mark.parametrize("stats", [[], bookkeeping()])
def test_a_run_without_scores_is_a_warning(stats):
    assert read(stats) == ([], [("", "no scores", "warning")])


def test_a_byte_order_mark_is_no_fault():
    mark = b"\xef\xbb\xbf"
    assert read(mark + encoded(plain_stats()), mark + encoded(spec())) == read(plain_stats())


def test_a_key_given_twice_is_told():
    data = encoded(plain_stats()).replace(b'"mean": 0.55', b'"mean": 0.1, "mean": 0.55')
    run_spec = encoded(spec()).replace(b'"method":', b'"method": 1, "method":')
    rows, problems = read(data, run_spec)
    assert rows == read(plain_stats())[0]
    assert problems == [
        ("mean", "'mean' given twice in one object: the last counts", "warning"),
        ("run_spec.json", "'method' given twice in one object: the last counts", "warning"),
    ]


def test_lone_surrogates_become_question_marks():
    def spoil(document):
        return json.dumps(document).replace("#", r"\ud800").encode()

    typos = TYPOS | {"name": "t#", "of": "#"}
    stats = [
        stat("e#", 0.5, split="s#", sub_split="p#", perturbation=typos),
        stat("f1_score", 0.5),
    ]
    document = spec("m#:a#=#,method=#,data_augmentation=#", model="me/#")
    rows, _ = read(spoil(stats), spoil(document))
    one = rows[0]
    assert (one["task"], one["subtask"]) == ("m?", "a?=?,sub_split=p?")
    assert one["metric"] == "e?"
    assert one["model_name"] == "me/?"
    assert one["variant"] == "method=?,split=s?,data_augmentation=?,perturbation=t?,prob=0.1,of=?"


def test_messages_are_short_and_printable():
    rows, problems = read([stat("x" * 10_000 + "\x1b\ud800", 0.5) | {"mean": "y" * 10_000}])
    assert rows == []
    for place, reason, _ in problems:
        assert len(place + reason) < 200
        assert (place + reason).isprintable()


def test_a_long_key_given_twice_makes_a_short_message():
    key = b'"' + b"k" * 10_000 + b'": 1, '
    _, problems = read(b"[{" + key * 2 + encoded(stat("exact_match", 0.5))[1:] + b"]")
    ((place, reason, _),) = problems
    assert len(place + reason) < 200


def test_many_stats_end():
    stats = [stat("exact_match", 0.5, perturbation=ROBUSTNESS), stat("exact_match", 0.5)] * 10_000
    rows, problems = read(stats)
    assert len(rows) == 10_000
    assert problems == []


def test_strict_raises_the_first_problem():
    stats = [stat("exact_match", 0.5) | {"mean": "0.5"}]
    with pytest.raises(InputError, match=r'\[0\]\.mean: "exact_match": expected a number'):
        read(stats, strict=True)


JSON = json_values("name", "split", "computed_on", "robustness", "mean", "model", "", max_leaves=8)
RUN_SPECS = st.one_of(
    st.none(),
    JSON,
    st.fixed_dictionaries(
        {},
        optional={
            "name": JSON | st.text(alphabet="a:,=b"),
            "adapter_spec": JSON | st.dictionaries(st.sampled_from(list(spec()["adapter_spec"])),
                                                   JSON, max_size=5),
        },
    ),
)  # fmt: skip


@given(JSON | st.lists(JSON), RUN_SPECS, st.text(alphabet="ma:,=_/") | st.just(NAME))
def test_no_content_raises(stats, run_spec, folder):
    rows, problems = read(stats, run_spec, folder)
    assert rows or problems


SOMETIMES_JSON = {
    "count": st.integers(-1, 3) | JSON,
    "sum": st.floats(-9, 9) | JSON,
    "mean": st.floats(-9, 9) | JSON,
}
PLACES = {
    "split": st.sampled_from(["test", "valid", None]) | JSON,
    "sub_split": st.sampled_from(["a", None]) | JSON,
    "perturbation": st.sampled_from([None, TYPOS, ROBUSTNESS]) | JSON,
}


@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries({}, optional=PLACES),
            st.fixed_dictionaries({}, optional=SOMETIMES_JSON),
        ),
        max_size=6,
    )
)
def test_every_stat_is_a_row_or_a_problem(items):
    stats = [{"name": {"name": f"m{i}"} | place} | of for i, (place, of) in enumerate(items)]
    rows, problems = read(stats)
    loaded = {one["metric"] for one in rows}
    told = {place.partition("]")[0].removeprefix("[") for place, *_ in problems}
    assert all(f"m{i}" in loaded or str(i) in told for i in range(len(stats)))


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(["exact_match", "f1_score"]),
            st.sampled_from(["test", "valid"]),
            st.sampled_from([None, "a", "b"]),
            st.sampled_from([None, "original", "perturbed", "worst"]),
        ),
        st.floats(-1e9, 1e9),
        min_size=1,
    )
)
def test_scores_of_a_sound_run_have_each_its_key(scores):
    stats = [
        stat(metric, score, split=split, sub_split=part,
             perturbation=on and TYPOS | {"computed_on": on})
        for (metric, split, part, on), score in scores.items()
    ]  # fmt: skip
    rows, problems = read(stats)
    assert problems == []
    assert [one["score"] for one in rows] == list(scores.values())
    keys = {(one["metric"], one["subtask"], one["variant"]) for one in rows}
    assert len(keys) == len(scores)


# --- HELM's own classes ---


@pytest.fixture(scope="module")
def helm():
    """HELM's modules by their last name."""
    from importlib import import_module

    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (
            "benchmark.adaptation.adapter_spec", "benchmark.augmentations.perturbation_description",
            "benchmark.metrics.metric", "benchmark.metrics.metric_name",
            "benchmark.metrics.statistic", "benchmark.run_spec", "benchmark.runner",
            "benchmark.scenarios.scenario", "common.general",
        ):  # fmt: skip
            try:
                found[name.rpartition(".")[2]] = import_module(f"helm.{name}")
            except ImportError as error:
                pytest.skip(f"needs crfm-helm: {error}")
    return found


@pytest.mark.full
def test_what_helms_own_classes_write(helm):
    make, name_of = helm["statistic"].Stat, helm["metric_name"].MetricName
    describe = helm["perturbation_description"].PerturbationDescription
    scenario = helm["scenario"]
    right = {None: [1, 0, 1, 1], "typos": [0, 0, 1]}

    def instance(number, perturbation):
        return scenario.Instance(
            scenario.Input(text=f"{number}"), [], split="test", id=f"id{number}",
            perturbation=perturbation,
        )  # fmt: skip

    of_instances, stats = {}, {}
    for kind, values in right.items():
        how = None if kind is None else describe(name=kind, robustness=True)
        for number, value in enumerate(values):
            one = make(name_of("exact_match", split="test", perturbation=how)).add(value)
            of_instances[instance(number, how)] = [one]
            helm["statistic"].merge_stat(stats, one)
        size = make(name_of("num_instances", split="test", perturbation=how)).add(len(values))
        helm["statistic"].merge_stat(stats, size)
    for one in helm["metric"].compute_worst_case_metrics(of_instances):
        helm["statistic"].merge_stat(stats, one)
    stats[name_of("training_co2_cost")] = make(name_of("training_co2_cost"))
    stats[name_of("ece_10_bin")] = make(name_of("ece_10_bin")).add(math.nan)
    per_trial = helm["runner"].remove_stats_nans([one.take_mean() for one in stats.values()])
    run_spec = helm["run_spec"].RunSpec(
        name="gsm:method=generation,model=eleutherai/pythia-6.9b,data_augmentation=typos",
        scenario_spec=scenario.ScenarioSpec(class_name="x.GSM8KScenario", args={}),
        adapter_spec=helm["adapter_spec"].AdapterSpec(
            method="generation", max_train_instances=3, model="eleutherai/pythia-6.9b",
            model_deployment="together/pythia-6.9b",
        ),
        metric_specs=[],
    )  # fmt: skip
    asdict = helm["general"].asdict_without_nones
    data = json.dumps([asdict(one) for one in per_trial], indent=2).encode()
    assert recognise(data)

    rows, problems = read(data, asdict(run_spec), folder=run_spec.name)
    assert problems == []
    assert of_row(rows, "task", "subtask", "shots", "model_name", "metric") == (
        "gsm", "gsm", 3, "pythia-6.9b", "exact_match",
    )  # fmt: skip
    shared = "method=generation,data_augmentation=typos,perturbation="
    found = {one["variant"]: (one["score"], one["n_examples"]) for one in rows}
    assert found == {
        "method=generation": (3 / 4, 4),
        f"{shared}typos": (1 / 3, 3),
        f"{shared}typos,computed_on=original": (2 / 3, 3),
        # Examples 0 and 1 are wrong in one of their forms, and example 3 has only the plain one.
        f"{shared}typos,computed_on=worst": (1 / 3, 3),
        f"{shared}robustness,computed_on=worst": (2 / 4, 4),
    }
