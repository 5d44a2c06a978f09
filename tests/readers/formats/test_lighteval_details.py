"""Details of lighteval and of the first Open LLM Leaderboard, as each version writes them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import plain
from xxhash import xxh3_128_hexdigest

import bigbench_meta as bm
from bigbench_meta.catalog.model_names import model_names
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES
from bigbench_meta.readers import ProblemLog, ReadOptions, discover
from bigbench_meta.readers.detect import by_name
from bigbench_meta.readers.formats.lighteval import parse, read_run
from bigbench_meta.readers.formats.lighteval_details import read_details
from bigbench_meta.readers.formats.values import FileLog

DATE = "2025-01-02T10-00-00.000000"
FOLDER = f"out/details/EleutherAI/pythia-70m/{DATE}"
NAME = f"details_lighteval|sums|5_{DATE}.parquet"
LABEL = f"{FOLDER}/{NAME}"
PROMPT = "Q: 7 + 7 =\nA:"
CHOICES = [" 14", " 15", " 13"]
LOGPROBS = [-0.5, -0.75, -0.25]
GENERATED = {"gold": ["14"], "choices": [], "gold_index": [], "metrics": {"em": 1, "f1": 0.5}}
CHOSEN = {"gold": [], "choices": CHOICES, "gold_index": [0], "metrics": {"acc": 0, "acc_norm": 1}}


def flat(predictions, **more):
    """A row of lighteval 0.8 to 0.10."""
    return {
        "example": "7 + 7 =", "instruction": "", "full_prompt": PROMPT, "predictions": predictions,
        "num_asked_few_shots": 5, "num_effective_few_shots": 5, "input_tokens": [[1, 2]],
        "cont_tokens": [[3]], "truncated": [0], "padded": [0], "pred_logits": [],
        "specifics": {"a": 1},
    } | more  # fmt: skip


def in_texts(row):
    """The same of 0.4 to 0.7, which wrote every value with str."""
    return {name: str(value) for name, value in row.items()}


def nested(response, choices, gold_index, metric):
    """A row of lighteval 0.11 to 0.13."""
    return {
        "doc": {"query": PROMPT, "choices": choices, "gold_index": gold_index, "id": "17",
                "task_name": "sums|5", "sampling_methods": ["LOGPROBS"], "specific": None},
        "metric": metric,
        "model_response": {"input": PROMPT, "input_tokens": [1, 2], "text": [], "logprobs": [],
                           "text_post_processed": None, "output_tokens": [[3]]} | response,
    }  # fmt: skip


def of_leaderboard(**more):
    """A row of the leaderboard of 2023."""
    return {
        "acc": 0.0, "acc_norm": 1.0, "choices": CHOICES, "cont_tokens": [[3], [4], [5]],
        "example": "Mercury_7175875", "full_prompt": PROMPT, "gold": 0, "query": "7 + 7 =",
        "hashes": {"example": "0", "full_prompt": "1"}, "input_tokens": [[1, 2]],
        "num_asked_few_shots": -1, "num_effective_few_shots": -1, "padded": [0], "truncated": [0],
        "predictions": LOGPROBS,
    } | more  # fmt: skip


def parquet(rows, **options):
    file = io.BytesIO()
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows)
    pq.write_table(table, file, **options)
    return file.getvalue()


def read(rows, label=LABEL, results=None, max_bytes=1 << 30):
    log, tables = ProblemLog(), []
    data = rows if isinstance(rows, bytes) else parquet(rows)
    read_details(
        pa.BufferReader(data), FileLog(label, log), tables.append, names=model_names(),
        results=results, max_bytes=max_bytes,
    )  # fmt: skip
    assert all(table.schema == SAMPLES.arrow for table in tables)
    found = [row for table in tables for row in table.to_pylist()]
    return found, [problem[1:] for problem in log.rows]


MULTIPLE_CHOICE = {
    "0.4": in_texts(flat(list(zip(LOGPROBS, [False] * 3, strict=True)), **CHOSEN)),
    "0.4, of single tokens": in_texts(flat(LOGPROBS, **CHOSEN)),
    "0.4, also without context": in_texts(flat(LOGPROBS * 2, **CHOSEN)),
    "0.8": flat([[logprob, 0.0] for logprob in LOGPROBS], **CHOSEN),
    "0.8, of single tokens": flat(LOGPROBS, **CHOSEN),
    "0.11": nested({"logprobs": LOGPROBS}, CHOICES, 0, CHOSEN["metrics"]),
    "0.11, a list": nested({"logprobs": LOGPROBS}, CHOICES, [0], CHOSEN["metrics"]),
    "leaderboard": of_leaderboard(),
}


@pytest.mark.parametrize("row", MULTIPLE_CHOICE.values(), ids=MULTIPLE_CHOICE)
def test_multiple_choice(row):
    (sample,), problems = read([row])
    known = model_names().lookup("pythia-70m")
    assert sample == dict.fromkeys(SAMPLES.names) | {
        "benchmark": "lighteval",
        "task": "sums",
        "subtask": "sums",
        "model_family": "pythia",
        "model_name": "pythia-70m",
        "total_params": known.total_params,
        "shots": 5,
        "settings": '{"task.suite": "lighteval"}',
        "example_id": "1",
        "input_hash": xxh3_128_hexdigest(PROMPT.encode()),
        "targets": CHOICES,
        "target_values": [1.0, 0.0, 0.0],
        "target_logprobs": LOGPROBS,
        "correct": 0.0,
        "metrics": [("acc", 0.0), ("acc_norm", 1.0)],
        "source": LABEL,
    }
    assert problems == []


GENERATION = {
    "0.4": in_texts(flat(["14 it's\n"], **GENERATED)),
    "0.4, with logits": in_texts(flat([(["14 it's\n"], [-0.5, float("nan")])], **GENERATED)),
    "0.8": flat(["14 it's\n"], **GENERATED),
    "0.8, no gold": flat(["14 it's\n"], **GENERATED | {"gold": [], "choices": ["14"],
                                                       "gold_index": [0]}),
    "0.11": nested({"text": ["14 it's\n"]}, ["14"], 0, GENERATED["metrics"]),
    "0.11, after its reasoning": nested(
        {"text": ["<think>"], "text_post_processed": ["14 it's\n"]}, ["14"], 0,
        GENERATED["metrics"]),
    "leaderboard": of_leaderboard(predictions=["14 it's\n"], gold="14", choices=[], em=1.0, f1=0.5,
                                  acc=None, acc_norm=None),
}  # fmt: skip


@pytest.mark.parametrize("row", GENERATION.values(), ids=GENERATION)
def test_generation(row):
    (sample,), problems = read([row])
    assert (sample["output"], sample["targets"]) == ("14 it's\n", ["14"])
    assert (sample["target_values"], sample["target_logprobs"]) == (None, None)
    assert (sample["correct"], sample["metrics"]) == (1.0, [("em", 1.0), ("f1", 0.5)])
    assert sample["replicate"] is None
    assert problems == []


@pytest.mark.parametrize(
    "row",
    [
        in_texts(flat(["14", "15"], **GENERATED)),
        flat(["14", "15"], **GENERATED),
        nested({"text": ["14", "15"]}, ["14"], 0, GENERATED["metrics"]),
    ],
)
def test_each_of_several_answers_is_a_row(row):
    samples, problems = read([row, row])
    assert [(one["example_id"], one["replicate"], one["output"]) for one in samples] == [
        ("1", "1", "14"), ("1", "2", "15"), ("2", "1", "14"), ("2", "2", "15"),
    ]  # fmt: skip
    assert {one["correct"] for one in samples} == {None}
    assert problems == []


def test_the_likelihood_of_one_text():
    row = nested({"logprobs": [-0.5]}, [" 14"], 0, {"ppl": 1.6})
    (sample,), problems = read([row])
    assert (sample["targets"], sample["target_logprobs"]) == ([" 14"], [-0.5])
    assert (sample["target_values"], sample["correct"]) == (None, None)
    assert problems == []


# --- With the results of the run ---

KEY = [name for name in SAMPLES.names if name in OBSERVATIONS.names and name != "source"]

RESULTS = {
    "config_general": {
        "lighteval_sha": "ab12", "model_name": "EleutherAI/pythia-70m",
        "model_config": {"model_name": "EleutherAI/pythia-70m", "revision": "step3000",
                         "dtype": "float16"},
    },
    "results": {
        "lighteval|sums|5": {"acc": 2 / 3, "acc_stderr": 0.3},
        "lighteval|words|0": {"em": 0.5, "em_stderr": 0.5},
        "leaderboard|mmlu:anatomy|0": {"acc": 1.0},
        "leaderboard|mmlu:_average|0": {"acc": 1.0},
        "plain|5": {"acc": 1.0},
        "all": {"acc": 0.5},
    },
    "versions": {"lighteval|sums|5": 1},
    "config_tasks": {
        "lighteval|sums": {"original_num_docs": 9, "effective_num_docs": 3},
    },
}  # fmt: skip


def choices(*right):
    """Rows whose first choice is always the most likely one, where the right one may be another."""
    return [
        flat([[-0.25, 0.0], [-0.5, 0.0]], choices=["a", "b"], gold_index=[place], gold=[],
             metrics={"acc": int(place == 0)})
        for place in right
    ]  # fmt: skip


def tree(root, *, date=DATE, results="results/EleutherAI/pythia-70m", details=None):
    """Write a run as lighteval does; return the folder."""
    folder = root / (details or f"details/EleutherAI/pythia-70m/{date}")
    folder.mkdir(parents=True)
    outputs = [flat([text], **GENERATED | {"metrics": {"em": int(text == "14")}})
               for text in ("14", "15")]  # fmt: skip
    for task, rows in (("lighteval|sums|5", choices(0, 1, 0)), ("lighteval|words|0", outputs)):
        (folder / f"details_{task}_{date}.parquet").write_bytes(parquet(rows))
    (root / results).mkdir(parents=True, exist_ok=True)
    (root / results / f"results_{date}.json").write_text(json.dumps(RESULTS))
    return root


LAYOUTS = {
    "as written": {},
    "as on the Hub": {"results": ".", "details": DATE},
    "in one folder": {"results": "run", "details": "run"},
    "of 2023": {"date": "2023-07-19T14:33:57.137486", "results": "details_EleutherAI__pythia-70m",
                "details": "details_EleutherAI__pythia-70m/2023-07-19T14:33:57.137486"},
}  # fmt: skip


def stored(path, store, *, samples=True):
    outcome = bm.Store(store).ingest([path], options=ReadOptions(samples=samples))
    return bm.Store(store), outcome


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("ending", ["", ".zip", ".tar.gz"])
def test_rescored_samples_give_the_scores_of_the_results_file(tmp_path, layout, ending):
    path = tree(tmp_path / "out", **layout)
    if ending == ".zip":
        path = shutil.make_archive(tmp_path / "run", "zip", path)
    elif ending:
        path = tmp_path / "run.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "out", "out")
    store, outcome = stored(path, tmp_path / "store")
    assert outcome.samples == 5
    assert outcome.problems.empty
    for metric, task in (("multiple_choice_grade", "sums"), ("logged:acc", "sums"),
                         ("exact_str_match", "words"), ("correct", "words")):  # fmt: skip
        again, _ = bm.rescore(store.samples(task=task), [metric])
        observed = store.observations(task=task)
        assert again["score"].tolist() == pytest.approx(observed["score"].tolist())
        rows = [plain(frame[KEY]) for frame in (again, observed)]
        assert rows[0] == rows[1]


def test_samples_and_observations_have_the_same_key():
    log = FileLog("x", ProblemLog())
    run = read_run(json.dumps(RESULTS).encode(), log, names=model_names())
    table = parse(json.dumps(RESULTS).encode(), log, names=model_names())
    known = {tuple(row[name] for name in KEY) for row in table.to_pylist()}
    for task in ("lighteval|sums|5", "leaderboard|mmlu:anatomy|0", "plain|5"):
        label = f"elsewhere/details_{task}_{DATE}.parquet"
        (row,), problems = read(choices(0), label, run)
        assert tuple(row[name] for name in KEY) in known
        assert problems == []
    assert json.loads(row["settings"])["checkpoint"] == "step3000"


@pytest.mark.parametrize(
    ("folder", "model"),
    [
        (f"details/EleutherAI/pythia-70m/{DATE}", "pythia-70m"),
        (f"details_EleutherAI__pythia-70m/{DATE}", "pythia-70m"),
        ("details_EleutherAI__pythia-70m_private", "pythia-70m"),
        ("pythia-70m", "pythia-70m"), (DATE, None), (f"details/{DATE}", None), ("details", None),
    ],
)  # fmt: skip
def test_the_model_without_a_results_file(folder, model):
    rows, problems = read(choices(0), f"{folder}/{NAME}")
    if model:
        assert (rows[0]["model_name"], problems) == (model, [])
    else:
        reason = "no results file of its run, and the folder is not named after a model"
        assert (rows, problems) == ([], [("", reason, "error")])


# --- What is found, and what is not ---


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        (NAME, "lighteval_details"),
        ("details_harness|arc:challenge|25_2023-07-19T14:33:57.137486.parquet",
         "lighteval_details"),
        ("details_gsm8k|0_2025-12-01T00-00-00.000000.parquet", "lighteval_details"),
        ("details_leaderboard|mmlu:anatomy|5|0_2025-12-01T00-00-00.000000.parquet",
         "lighteval_details"),
        ("details_gsm8k_2025-12-01T00-00-00.000000.parquet", "table"),
        ("details.parquet", "table"), ("details_a|b|0.parquet", "table"),
        (f"details_a|b|x_{DATE}.parquet", "table"), (f"my_{NAME}", "table"),
        (f"details_a|b|0_{DATE}.csv", "table"), (f"results_{DATE}.parquet", "table"),
        ("samples_a|b|0.parquet", "samples_table"),
    ],
)  # fmt: skip
def test_it_is_known_by_its_name_alone(name, format_):
    assert by_name(name) == format_


def test_without_samples_details_are_skipped_without_a_word(tmp_path):
    path = tree(tmp_path / "out")
    log = ProblemLog()
    (found,) = discover([path], log)
    assert (found.format, log.rows) == ("lighteval", [])
    _, problems = bm.read_results(path)
    assert not problems["source"].str.contains("details").any()


def test_a_details_file_under_another_name_is_no_table(tmp_path):
    tree(tmp_path / "out")
    (tmp_path / "out" / "table.parquet").write_bytes(parquet(choices(0)))
    log = ProblemLog()
    found = [file.format for file in discover([tmp_path / "out"], log, samples=True)]
    assert sorted(found) == ["lighteval", "lighteval_details", "lighteval_details"]


def test_a_changed_results_file_is_noticed(tmp_path):
    path = tree(tmp_path / "out")
    store = tmp_path / "store"
    stored(path, store)
    results = next((path / "results").rglob("*.json"))
    results.write_text(json.dumps(RESULTS).replace("float16", "bfloat16"))
    for file in path.rglob("*.parquet"):
        file.touch()
    stored(path, store)
    (settings,) = {json.loads(text)["precision"]
                   for text in bm.Store(store).samples(task="sums")["settings"]}  # fmt: skip
    assert settings == "bfloat16"


# --- What is odd ---

TIDY = {name: ["x"] for name in OBSERVATIONS.required} | {"score": [0.5]}


@pytest.mark.parametrize(
    ("table", "field", "reason"),
    [
        (pa.table(TIDY), "", "no details of lighteval"),
        (pa.table({"doc_id": [1], "resps": ["x"], "filtered_resps": ["x"]}), "",
         "no details of lighteval"),
        (pa.table({"predictions": [1]}), "", "no details of lighteval"),
        (pa.table({"doc": ["x"], "metric": [{"a": 1}], "model_response": [{"text": ["x"]}]}),
         "doc", "expected a struct, got string"),
        (pa.table([["a"], ["b"]], names=["predictions", "predictions"]), "predictions",
         "column given twice"),
    ],
)  # fmt: skip
def test_other_tables_are_refused(table, field, reason):
    rows, ((place, why, severity),) = read(table)
    assert (rows, place, severity) == ([], field, "error")
    assert why.startswith(reason)


@pytest.mark.parametrize(
    ("change", "column", "note"),
    [
        ({"predictions": None}, "predictions", "not a log-likelihood for each choice: left empty"),
        ({"predictions": [-1.0]}, "predictions",
         "not a log-likelihood for each choice: left empty"),
        ({"predictions": "[1, "}, "predictions", "no value: left empty"),
        ({"predictions": "[" + "1," * (1 << 20) + "]"}, "predictions",
         "more than 1048576 characters: left empty"),
        ({"gold_index": [3]}, "gold_index", "none of the choices: target_values left empty"),
        ({"gold_index": [-1]}, "gold_index", "none of the choices: target_values left empty"),
        ({"gold_index": "x"}, "gold_index", "none of the choices: target_values left empty"),
        ({"choices": [1, 2]}, "choices",
         "neither choices nor an answer: targets left empty"),
        ({"choices": None}, "choices", "neither choices nor an answer: targets left empty"),
        ({"metrics": "x"}, "metrics", "no numbers: left empty"),
        ({"metrics": None}, "metrics", "no numbers: left empty"),
        ({"metrics": {"acc": "x"}}, "metrics", "no numbers: left empty"),
        ({"predictions": ["x"], "gold_index": []}, "gold", "no right answer: targets left empty"),
    ],
)  # fmt: skip
def test_what_a_row_lacks_is_left_empty_and_counted(change, column, note):
    rows, problems = read([flat(LOGPROBS, **CHOSEN) | change] * 2)
    assert len(rows) == 2
    assert (column, f"2 of 2 examples: {note}", "warning") in problems


def test_an_empty_table_is_a_warning():
    schema = pa.Table.from_pylist([flat(LOGPROBS, **CHOSEN)]).schema
    assert read(schema.empty_table()) == ([], [("", "no examples", "warning")])


def test_a_truncated_file_is_an_error():
    rows, ((field, reason, severity),) = read(parquet(choices(0))[:-9])
    assert (rows, field, severity) == ([], "", "error")
    assert reason.startswith("cannot be read as a table")


def test_row_groups_beyond_the_limit_are_left_out():
    long = [flat(["x" * 100_000], **GENERATED)]
    data = parquet([*[flat(["14"], **GENERATED)] * 2, *long * 2], row_group_size=2)
    rows, problems = read(data, max_bytes=50_000)
    assert [row["example_id"] for row in rows] == ["1", "2"]
    reason = "more than 50000 bytes in a row group (--max-bytes): left out"
    assert problems == [("rows 3 to 4", reason, "error")]


STRANGE = [
    pa.array([b"\xff"]), pa.array([[[["x"]]]]), pa.array([{"a": {"b": [1]}}]), pa.nulls(1),
    pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), pa.array(["[" * 5000]),
    pa.array([-(2**62)], pa.timestamp("us")), pa.array([2**31 - 1], pa.date32()),
    pa.array([2**62], pa.duration("ms")), pa.array([7]).cast(pa.decimal128(38, 10)),
    pa.array([[None, 1]]), pa.array([[[]]], pa.list_(pa.list_(pa.string()))),
    pa.array([np.float16(1)]), pa.array([2**64 - 1], pa.uint64()),
    pa.array(["x"]).dictionary_encode(),
    pa.array(["{'a': 1, 2: {3}}"]), pa.array(["(" * 300 + "1" + ")" * 300]), pa.array(["(1)"]),
]  # fmt: skip


@pytest.mark.parametrize("cells", STRANGE, ids=lambda cells: str(cells.type))
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_no_type_of_a_column_raises(cells, layout):
    row = flat(LOGPROBS, **CHOSEN) if layout == "flat" else MULTIPLE_CHOICE["0.11"]
    table = pa.Table.from_pylist([row])
    for name in table.column_names:
        place = table.schema.get_field_index(name)
        rows, problems = read(table.set_column(place, name, cells))
        assert rows or problems
        column = table.column(place)
        if pa.types.is_struct(column.type):
            struct = column.combine_chunks()
            for number, own in enumerate(struct.type):
                parts = [cells if n == number else struct.field(n) for n in range(len(struct.type))]
                names = [one.name for one in struct.type]
                changed = pa.StructArray.from_arrays(parts, names)
                rows, problems = read(table.set_column(place, name, changed))
                assert rows or problems, own.name
