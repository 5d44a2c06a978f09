"""Small sound files of every format, for the fuzz test to mutate.

A seed is a folder with one file to be mutated, as a document that knows how to write itself, and
with the sound files that are read with it.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
import warnings
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from helpers import entry, score_file

if TYPE_CHECKING:
    from collections.abc import Callable

DATE = "2026-01-31T12-00-00.123456"
PYTHIA = "out/EleutherAI__pythia-70m"
HELM_RUN = "mmlu:subject=anatomy,method=multiple_choice_joint,model=eleutherai_pythia-6.9b"


@dataclass(frozen=True)
class Seed:
    """A sound file.

    Attributes:
        kind: What it holds, in the words of the fuzz test.
        name: Where it lies, from the folder of the case; ``.gz`` is added for compressed variants.
        document: What it holds: JSON, lists of JSON lines, rows of a table, members of an archive.
        layouts: Ways to write it, the first being the usual one.
        beside: What lies with it, by name.
        samples: Whether samples are asked for.
        mapping: Text of the mapping file that it needs.
        gzip: Whether it may be compressed.
        named: Whether it is found only where it is named: below a folder it would be skipped.
    """

    kind: str
    name: str
    document: Any
    layouts: tuple[Callable[[Any], bytes], ...]
    beside: dict[str, bytes] = field(default_factory=dict)
    samples: bool = False
    mapping: str = ""
    gzip: bool = True
    named: bool = False

    @property
    def data(self) -> bytes:
        """The sound file as it is usually written."""
        return self.layouts[0](self.document)


# --- JSON ---


def indented(document: Any) -> bytes:
    """Write JSON as BIG-bench does."""
    return json.dumps(document, indent=2).encode()


def in_a_line(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def unescaped(document: Any) -> bytes:
    # Half a surrogate pair becomes bytes that are no UTF-8.
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")


def windows(document: Any) -> bytes:
    return indented(document).replace(b"\n", b"\r\n")


def lines(documents: list[Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in documents)


JSON_LAYOUTS = (indented, in_a_line, unescaped, windows)


def scores() -> list[dict[str, Any]]:
    """Entries of an aggregate and of two subtasks, no two scores alike."""
    aggregate = entry(score_dict={"exact_str_match": 0.25, "bleu": 12.5}, subtask_description="")
    return [
        aggregate,
        entry(score_dict={"bleu": 3.5, "exact_str_match": 0.5}, number_of_shots=2,
              subtask_description="alpha:one"),
        entry(score_dict={"é 👧": -0.75, "exact_str_match": 0.125}, number_of_shots=-1,
              preferred_score="é 👧", low_score=-1, high_score=0.0,
              subtask_description="alpha:two"),
    ]  # fmt: skip


def score_seeds() -> list[Seed]:
    name = "alpha/results/scores_Fam_1m.json"
    full = score_file(task_name="alpha", scores=scores())
    least = {key: full[key] for key in ("model", "task", "scores")}
    least["model"] = {
        key: value
        for key, value in full["model"].items()
        if key.startswith("model_") or key.endswith("_params")
    }
    odd = score_file(task_name="alpha", score_dict={"a": float("nan"), "b": -1e300, "c": 7})
    return [Seed("scores", name, one, JSON_LAYOUTS) for one in (full, least, odd)]


def choice(n: int, **overrides: Any) -> dict[str, Any]:
    return {
        "input": f"Q{n}: which?\nA:", "targets": ["a", "b"], "scores": [-1.5 - n, -0.25],
        "target_values": {"a": 1, "b": 0}, "correct": 0.0, "absolute_scores": [-2.5, -1.25],
        "normalized_scores": [-1.5, -0.25], "metrics": {"m": n},
    } | overrides  # fmt: skip


def generation(n: int, **overrides: Any) -> dict[str, Any]:
    return {
        "input": f'"{n}" + 1 = \\ }}, {{', "output": str(n + 1), "raw_output": f"{n + 1}. And on",
        "targets": {str(n + 1): {"bleu": None, "exact_str_match": 1.0},
                    "two": {"exact_str_match": 0.0, "rouge1": 0.5}},
        "metrics": {},
    } | overrides  # fmt: skip


def full_log() -> dict[str, Any]:
    queries = [
        {"function": "cond_log_prob", "absolute_normalization": True,
         "samples": [choice(n) for n in range(3)], "shots": 0, "task": "alpha"},
        {"function": "generate_text", "max_length": None, "stop_string": ".",
         "samples": [generation(n) for n in range(3)], "shots": 2, "task": "alpha:one"},
        {"function": "cond_log_prob", "samples": [choice(9, scores=[float("-inf"), -3])],
         "shots": -1, "task": "programmatic"},
    ]  # fmt: skip
    return score_file(task_name="alpha", scores=scores()[:2]) | {"queries": queries}


def full_log_seeds(*, samples: bool) -> list[Seed]:
    kind = "full log, samples" if samples else "full log"
    log = full_log()
    documents = [log, {"queries": log["queries"]} | log]
    return [
        Seed(kind, "alpha/results/full-log_Fam_1m.json", one, JSON_LAYOUTS, samples=samples)
        for one in documents
    ]


def old_results() -> dict[str, Any]:
    """Return what lm-evaluation-harness 0.3 writes."""
    return {
        "results": {
            "lambada_openai": {"ppl": 15.5, "ppl_stderr": 0.41, "acc": 0.4375, "acc_stderr": 0.007},
            "piqa": {"acc": 0.625, "acc_stderr": 0.0113, "acc_norm": 0.61},
        },
        "versions": {"lambada_openai": 0, "piqa": 0},
        "config": {
            "model": "hf-causal",
            "model_args": "pretrained=EleutherAI/pythia-v1.1-1.4b,revision=step143000",
            "num_fewshot": 0,
            "limit": None,
            "bootstrap_iters": 100000,
        },
    }


def new_results() -> dict[str, Any]:
    """Return what lm-evaluation-harness 0.4 writes: a task, two filters, a group of two."""
    group = {"alias": "zoo", "acc,none": 0.16, "acc_stderr,none": 0.05}
    shots = {"quiz": 2, "zoo_owls": 2, "zoo_cats": 2, "sums": 5}
    return {
        "results": {
            "quiz": {"alias": "quiz", "acc,none": 0.36, "acc_stderr,none": 0.098,
                     "acc_norm,none": 0.4, "acc_norm_stderr,none": "N/A"},
            "zoo_owls": {"alias": " - owls", "acc,none": 0.08, "acc_stderr,none": 0.055},
            "zoo_cats": {"alias": " - cats", "acc,none": 0.24, "acc_stderr,none": 0.087},
            "sums": {"alias": "sums", "exact_match,strict-match": 0.0,
                     "exact_match_stderr,strict-match": 0.01, "exact_match,flexible": 0.68},
            "zoo": group,
        },
        "groups": {"zoo": dict(group)},
        "group_subtasks": {"zoo": ["zoo_owls", "zoo_cats"]},
        "configs": {task: {"task": task, "num_fewshot": n} for task, n in shots.items()},
        "n-shot": shots,
        "higher_is_better": {"quiz": {"acc": True}},
        "n-samples": {task: {"original": 40, "effective": 25 + n} for task, n in shots.items()},
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "EleutherAI/pythia-70m", "revision": "step3000"},
            "bootstrap_iters": 100000,
        },
        "model_name": "EleutherAI/pythia-70m",
    }  # fmt: skip


def old_seeds() -> list[Seed]:
    return [Seed("lm-eval 0.3", "runs/pythia.json", old_results(), JSON_LAYOUTS)]


def new_seeds() -> list[Seed]:
    name = f"{PYTHIA}/results_{DATE}.json"
    return [Seed("lm-eval 0.4", name, new_results(), JSON_LAYOUTS)]


def lighteval_results() -> dict[str, Any]:
    """Return what lighteval writes: a task, one of two parts with its average, the mean of all."""
    return {
        "config_general": {
            "lighteval_sha": "?",
            "model_config": {"model_name": "EleutherAI/pythia-160m", "revision": "main",
                             "dtype": "torch.float16"},
            "model_name": "EleutherAI/pythia-160m",
        },
        "results": {
            "leaderboard|arc:challenge|25": {"acc": 0.1875, "acc_stderr": 0.0114, "acc_norm": 0.25},
            "helm|bbq:age|0": {"em": 0.5, "em_stderr": 0.03},
            "helm|bbq:race|0": {"em": 0.75, "em_stderr": 0.02},
            "helm|bbq:_average|0": {"em": 0.625, "em_stderr": 0.018},
            "all": {"acc": 0.1875, "em": 0.625},
        },
        "versions": {"leaderboard|arc:challenge|25": 0, "helm|bbq:age|0": 1},
        "config_tasks": {
            "leaderboard|arc:challenge": {"original_num_docs": 1172, "effective_num_docs": 1172},
            "helm|bbq:age": {"original_num_docs": 400, "effective_num_docs": 40, "version": 2},
        },
    }  # fmt: skip


def lighteval_seeds() -> list[Seed]:
    name = "out/EleutherAI/pythia-160m/results_2026-01-31T12-00-00.123456.json"
    return [Seed("lighteval", name, lighteval_results(), JSON_LAYOUTS)]


def lighteval_details() -> list[list[tuple[str, pa.Array]]]:
    """Return the details of a task in each of the layouts that lighteval has written."""
    prompts = [f"Q: {n}\nA:" for n in range(4)]
    choices, right = [[" é", " b"]] * 4, [[0], [1], [0], [1]]
    logprobs = [[-0.5, -1.5], [-2.0, -0.25], [-7.0, -6.5], [-0.1, -3.0]]
    texts = [["14"], ["a", "b"], [""], ["it's 👧"]]
    tokens = [[1, 2, 3]] * 4
    chosen = [{"acc": n % 2, "acc_norm": 0.5} for n in range(4)]
    wrote = [{"em": n % 2} for n in range(4)]
    flat: list[dict[str, Any]] = [
        {"choices": choices[n], "example": str(n), "full_prompt": prompts[n], "gold": ["x"],
         "gold_index": right[n], "input_tokens": tokens[n], "metrics": chosen[n],
         "predictions": [[each, 0.0] for each in logprobs[n]]}
        for n in range(4)
    ]  # fmt: skip
    written = [{name: str(value) for name, value in row.items()}
               | {"predictions": str(texts[n]), "metrics": str(wrote[n])}
               for n, row in enumerate(flat)]  # fmt: skip
    doc = [{"query": prompts[n], "choices": choices[n], "gold_index": right[n], "id": str(n)}
           for n in range(4)]  # fmt: skip
    response = [{"input": prompts[n], "input_tokens": tokens[n], "logprobs": [], "text": texts[n]}
                for n in range(4)]  # fmt: skip
    structs = [{"doc": doc[n], "metric": wrote[n], "model_response": response[n]} for n in range(4)]
    old = [{name: row[name] for name in ("choices", "example", "full_prompt", "predictions")}
           | {"gold": n % 2, "acc": 0.5} for n, row in enumerate(flat)]  # fmt: skip
    return [
        [(name, pa.array([row[name] for row in rows])) for name in rows[0]]
        for rows in (flat, written, structs, old)
    ]


def lighteval_details_seeds() -> list[Seed]:
    run, date = "EleutherAI/pythia-160m", "2026-01-31T12-00-00.123456"
    name = f"out/details/{run}/{date}/details_leaderboard|arc:challenge|25_{date}.parquet"
    beside = {f"out/results/{run}/results_{date}.json": indented(lighteval_results())}
    return [
        Seed("lighteval details", name, columns, (parquet, uncompressed), own, samples=True,
             gzip=False)
        for columns, own in zip(lighteval_details(), (beside, beside, beside, {}), strict=True)
    ]  # fmt: skip


def sample(
    doc_id: int, arguments: list[list[Any]], responses: list[Any], target: str
) -> dict[str, Any]:
    """Return a line of a sample log of lm-evaluation-harness 0.4."""
    return {
        "doc_id": doc_id, "doc": {"question": "7 + 7 ="}, "target": target,
        "arguments": {f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(parts)}
                      for i, parts in enumerate(arguments)},
        "resps": [[response] for response in responses], "filtered_resps": responses,
        "filter": "none", "metrics": ["acc"], "doc_hash": "0", "acc": float(doc_id % 2),
    }  # fmt: skip


def sample_seeds() -> list[Seed]:
    asked = [["Q: 7 + 7 =\nA:", text] for text in (" 14", " 15")]
    documents = [
        *(sample(n, asked, [[f"-{n}.5", "False"], ["-0.75", "True"]], "0") for n in range(3)),
        sample(3, [["é: ", {"until": ["\n"]}]], ["lol"], "['lol', 'ha']"),
    ]
    beside = {f"{PYTHIA}/results_{DATE}.json": indented(new_results())}
    name = f"{PYTHIA}/samples_quiz_{DATE}.jsonl"
    return [
        Seed("lm-eval samples", name, documents, (lines,), beside, samples=True, gzip=False),
        Seed("lm-eval samples", name, documents, (lines,), samples=True, gzip=False),
    ]


def stat(metric: str, mean: float, **name: Any) -> dict[str, Any]:
    return {
        "name": {"name": metric, "split": "test"} | name, "count": 1, "sum": mean,
        "sum_squared": mean * mean, "min": mean, "max": mean, "mean": mean, "variance": 0.0,
        "stddev": 0.0,
    }  # fmt: skip


def helm_stats() -> list[dict[str, Any]]:
    worst = {"name": "robustness", "robustness": True, "fairness": False, "computed_on": "worst"}
    typos = {"name": "typos", "robustness": True, "fairness": False, "computed_on": "perturbed",
             "prob": 0.1}  # fmt: skip
    return [
        stat("num_references", 4.0),
        stat("inference_runtime", 0.5),
        stat("logprob", -7.5),
        stat("num_instances", 20.0),
        stat("exact_match", 0.55),
        stat("quasi_exact_match", 0.6),
        stat("exact_match", 0.45, split="valid"),
        stat("exact_match", 0.4, perturbation=typos),
        stat("exact_match", 0.35, perturbation=worst),
        stat("toxic_fraction", 0.125, sub_split="non-toxic"),
    ]


def helm_spec() -> dict[str, Any]:
    return {
        "name": HELM_RUN,
        "scenario_spec": {"class_name": "x.MMLUScenario", "args": {"subject": "anatomy"}},
        "adapter_spec": {
            "method": "multiple_choice_joint", "max_train_instances": 5, "num_outputs": 5,
            "model_deployment": "together/pythia-6.9b", "model": "eleutherai/pythia-6.9b",
        },
        "groups": ["mmlu"],
    }  # fmt: skip


def helm_seeds() -> list[Seed]:
    stats, spec = f"runs/{HELM_RUN}/stats.json", f"runs/{HELM_RUN}/run_spec.json"
    beside = {spec: indented(helm_spec())}
    return [Seed("helm stats", stats, helm_stats(), JSON_LAYOUTS, beside, gzip=False)]


def helm_spec_seeds() -> list[Seed]:
    stats, spec = f"runs/{HELM_RUN}/stats.json", f"runs/{HELM_RUN}/run_spec.json"
    beside = {stats: indented(helm_stats())}
    return [Seed("helm run_spec", spec, helm_spec(), JSON_LAYOUTS, beside, gzip=False)]


# --- Tables: a list of rows, the first being the header ---


def comma_separated(rows: list[list[Any]]) -> bytes:
    return _csv(rows, csv.QUOTE_MINIMAL, "\n")


def all_quoted(rows: list[list[Any]]) -> bytes:
    return _csv(rows, csv.QUOTE_ALL, "\r\n")


def _csv(rows: list[list[Any]], quoting: Any, end: str) -> bytes:
    file = io.StringIO()
    csv.writer(file, quoting=quoting, lineterminator=end).writerows(
        ["" if cell is None else cell for cell in row] for row in rows
    )
    return file.getvalue().encode("utf-8", "surrogatepass")


def parquet(columns: list[tuple[str, pa.Array]]) -> bytes:
    return _parquet(columns, "snappy")


def uncompressed(columns: list[tuple[str, pa.Array]]) -> bytes:
    return _parquet(columns, "none")


def _parquet(columns: list[tuple[str, pa.Array]], compression: str) -> bytes:
    buffer = io.BytesIO()
    names, arrays = [name for name, _ in columns], [array for _, array in columns]
    pq.write_table(pa.table(arrays, names=names), buffer, compression=compression)
    return buffer.getvalue()


TIDY = [
    ["benchmark", "task", "subtask", "metric", "model_family", "model_name", "shots",
     "total_params", "score", "stderr", "is_preferred", "variant"],
    ["B", "alpha", "alpha", "acc", "Fam", "1m", 0, 10**6, 0.25, 0.01, True, "x"],
    ["B", "alpha", None, "acc", "Fam", "8m", 0, 8 * 10**6, 0.5, None, True, None],
    ["B", "alpha", "alpha:one", 'b,"leu', "Fam", "1m", None, 10**6, 12.5, 1e-17, False, "é\n👧"],
    ["B", "NA", "001", "acc", "α→β", "64m", 2, 2**52 + 1, -1e300, 0.5, None, "y"],
]  # fmt: skip
WIDE = [
    ["file", "model", "k", "unused", "m1", "se", "m 2"],
    ["alpha.json", "gpt-1", "0", "u", "0.25", "0.01", "10"],
    ["beta", "gpt-2", "2", "", "-100", "", "20.5"],
    ["beta", "lm", "-1", "x,\ny", " 0.75 ", "-100", ""],
    ["gamma.json", "gpt-2", "", "é", "1e-3", "0.5", "NA"],
]
FULL_WIDE = [
    WIDE[0],
    ["alpha.json", "gpt-1", "0", "u", "0.25", "0.01", "10"],
    ["beta", "gpt-2", "2", "", "0.5", "0", "20.5"],
    ["gamma", "lm", "-1", "", "0.75", "1e-3", "-3"],
]
WIDE_MAPPING = """
missing = [-100, "NA"]
constants = {benchmark = "b"}
[metrics]
m1 = {name = "acc", stderr = "se", multiply = 0.5, low_score = 0, high_score = 1}
"m 2" = "f1"
[columns]
task = {from = "file", strip_suffix = ".json"}
model_name = "model"
model_family = {from = "model", regex = "^([a-z]+)"}
total_params = {from = "model", map = {gpt-1 = 100, gpt-2 = 200}, default = 7}
shots = {from = "k", missing = [-1]}
"""


def columns_of(rows: list[list[Any]]) -> list[tuple[str, pa.Array]]:
    """Return the name and the cells of each column."""
    cells = zip(*rows[1:], strict=True)
    return [(name, pa.array(list(own))) for name, own in zip(rows[0], cells, strict=True)]


def table_seeds() -> list[Seed]:
    layouts = (comma_separated, all_quoted)
    return [Seed("csv", "tables/table.csv", TIDY, layouts, named=True)]


def parquet_seeds() -> list[Seed]:
    coded = [
        (name, cells.dictionary_encode() if name in {"task", "model_name"} else cells)
        for name, cells in columns_of(TIDY)
    ]
    return [
        Seed("parquet", "tables/table.parquet", columns, (parquet, uncompressed),
             gzip=False, named=True)
        for columns in (columns_of(TIDY), coded)
    ]  # fmt: skip


SAMPLES_TABLE: list[tuple[str, pa.Array]] = [
    ("benchmark", pa.array(["B"] * 4)),
    ("task", pa.array(["sums", "sums", "NA", "sums"]).dictionary_encode()),
    ("subtask", pa.array(["sums", "sums: two", None, "sums"])),
    ("model_family", pa.array(["F", "F", "α→β", "F"])),
    ("model_name", pa.array(["1m", "1m", "64m", "8m"])),
    ("shots", pa.array([0, 2, None, -1], pa.int64())),
    ("total_params", pa.array([10**6, 10**6, 2**52 + 1, None], pa.int64())),
    ("train_flops", pa.array([1e18, None, 3.5e23, 1e18])),
    ("example_id", pa.array(["1", "1", "001", "x, y"])),
    ("targets", pa.array([["14"], ["a", "b"], None, []], pa.list_(pa.string()))),
    ("target_values", pa.array([None, [1.0, 0.0], None, []], pa.list_(pa.float64()))),
    ("output", pa.array(["14", None, "", "é\n👧"])),
    ("correct", pa.array([1.0, 0.0, None, 0.5])),
    ("metrics", pa.array([[("mse", 0.25), ("a,b", -1e300)], [], None, [("mse", 1.0)]],
                         pa.map_(pa.string(), pa.float64()))),
]  # fmt: skip


def samples_table_seeds() -> list[Seed]:
    return [
        Seed("samples parquet", "runs/samples_sums.parquet", SAMPLES_TABLE, (parquet, uncompressed),
             samples=True, gzip=False)
    ]  # fmt: skip


def wide_seeds() -> list[Seed]:
    layouts = (comma_separated, all_quoted)
    return [
        Seed("wide csv", "tables/wide.csv", rows, layouts, mapping=WIDE_MAPPING, named=True)
        for rows in (WIDE, FULL_WIDE)
    ]


def wide_parquet_seeds() -> list[Seed]:
    return [
        Seed("wide parquet", "tables/wide.parquet", columns_of(rows), (parquet, uncompressed),
             mapping=WIDE_MAPPING, gzip=False, named=True)
        for rows in (WIDE, FULL_WIDE)
    ]  # fmt: skip


# --- Archives: (name, content) of each member ---


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    return _zip(members, zipfile.ZIP_DEFLATED)


def stored(members: list[tuple[str, bytes]]) -> bytes:
    return _zip(members, zipfile.ZIP_STORED)


def _zip(members: list[tuple[str, bytes]], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names given twice
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def tarred(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member_seeds() -> list[Seed]:
    """Return the seeds whose files are put into archives."""
    return [
        score_seeds()[0], new_seeds()[0], helm_seeds()[0], full_log_seeds(samples=True)[0],
        sample_seeds()[0], samples_table_seeds()[0], lighteval_details_seeds()[0],
    ]  # fmt: skip


def members() -> list[tuple[str, bytes]]:
    found: dict[str, bytes] = {}
    for seed in member_seeds():
        found |= seed.beside | {seed.name: seed.data}
    return list(found.items())


def archive_seeds(ending: str) -> list[Seed]:
    layouts = (zipped, stored) if ending == "zip" else (tarred,)
    return [
        Seed(ending, f"archives/runs.{ending}", members(), layouts, samples=samples, gzip=False,
             named=True)
        for samples in (False, True)
    ]  # fmt: skip


SEEDS: dict[str, list[Seed]] = {
    seeds[0].kind: seeds
    for seeds in (
        score_seeds(), full_log_seeds(samples=False), full_log_seeds(samples=True), old_seeds(),
        new_seeds(), sample_seeds(), lighteval_seeds(), lighteval_details_seeds(), helm_seeds(),
        helm_spec_seeds(), table_seeds(), parquet_seeds(), samples_table_seeds(), wide_seeds(),
        wide_parquet_seeds(), archive_seeds("zip"), archive_seeds("tar.gz"),
    )
}  # fmt: skip
"""The seeds by what they hold."""
