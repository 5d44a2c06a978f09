from __future__ import annotations

import gzip
import json
import math
import random
import re
from io import BytesIO

import pyarrow as pa
import pytest
from helpers import MISSING, changed, score_file
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import SAMPLES, SCALE_AXES
from bigbench_meta.readers.formats import full_log as _full_log
from bigbench_meta.readers.formats import full_log_samples as _full_log_samples
from bigbench_meta.readers.formats import json_stream as _json_stream
from bigbench_meta.readers.formats.bigbench import ScoreFileReader
from bigbench_meta.readers.formats.full_log import read_full_log
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog

LABEL = "alpha/results/full-log_Fam_1m.json"
NASTY = (
    'quote " backslash \\ line\nend },\n        {\n          "input": "x" ]} '
    "\u2028 é 👧 NaN, -Infinity"
)


def generation(**overrides):
    return {
        "input": "1 + 1 = ",
        "output": "2",
        "targets": {"2": {"bleu": None, "exact_str_match": 1.0}, "two": {"exact_str_match": 0.0}},
        "raw_output": "2. And so on",
        "metrics": {},
    } | overrides


def choice(**overrides):
    return {
        "input": "Q: which?\nA:",
        "targets": ["a", "b", "c"],
        "scores": [-1.5, -0.25, -3],
        "target_values": {"a": 1, "b": 0, "c": 0.5},
        "correct": 0.0,
        "absolute_scores": [-2.5, -1.25, -4],
        "normalized_scores": [-1.5, -0.25, -3],
        "metrics": {},
    } | overrides


def scoring(**overrides):
    one = choice(**overrides)
    return {key: value for key, value in one.items() if key not in {"target_values", "correct"}}


def query(samples, **overrides):
    text = samples and "output" in samples[0]
    own = (
        {"function": "generate_text", "max_length": None, "stop_string": ".", "output_regex": None}
        if text
        else {"function": "cond_log_prob", "absolute_normalization": True}
    )
    return own | {"samples": samples, "shots": 0, "task": "alpha"} | overrides


def full_log(*queries, **overrides):
    return score_file(**overrides) | {"queries": list(queries)}


def varied_log():
    """Return a log with every kind of query, with oddities that are sound JSON."""
    return full_log(
        query([choice(input=f"{n} {NASTY}") for n in range(5)], shots=0),
        query([generation(output=f"{n}{NASTY}") for n in range(4)], shots=2, task="alpha:one"),
        query([scoring(), scoring(targets=[NASTY], scores=[-1.0])], shots=-1),
        query([generation(targets={}, metrics={"bleu": 3.5})], task="programmatic"),
        query([], shots=1),
        query([generation(targets={NASTY: None, "x": {"exact_str_match": 0.0, "rouge1": 7.0}})]),
        query([choice(target_values={"c": 2, "a": 1}), generation(), choice(metrics={"m": 1})]),
        *(query([generation(input=f"{n}")], shots=n) for n in range(3)),
    )


# --- Layouts ---


def shuffled(value, order):
    if isinstance(value, dict):
        items = list(value.items())
        order.shuffle(items)
        return {key: shuffled(one, order) for key, one in items}
    return [shuffled(one, order) for one in value] if isinstance(value, list) else value


def windows_lines(document):
    return json.dumps(document, indent=2).replace("\n", "\r\n")


LAYOUTS = {
    "indent=2": lambda document: json.dumps(document, indent=2),
    "indent=1": lambda document: json.dumps(document, indent=1),
    "tabs": lambda document: json.dumps(document, indent="\t", ensure_ascii=False),
    "one line": json.dumps,
    "no spaces": lambda document: json.dumps(document, separators=(",", ":")),
    "not escaped": lambda document: json.dumps(document, indent=2, ensure_ascii=False),
    "CR LF": windows_lines,
    "shuffled keys": lambda document: json.dumps(shuffled(document, random.Random(1)), indent=2),
    "queries first": lambda document: json.dumps(
        {"queries": document["queries"]} | document, indent=2
    ),
    "spaced": lambda document: json.dumps(document, separators=("  ,\n ", "\t: ")) + " \n",
    "byte order mark": lambda document: "\ufeff" + json.dumps(document),
}


WINDOWS = [1, 7, 64, 1000, 1 << 20]
FEW_WINDOWS = [50, 1 << 20]
FEW = [
    (name, LAYOUTS[name], window)
    for name in ("indent=2", "one line", "CR LF", "queries first")
    for window in FEW_WINDOWS
]


def each_layout(shift):
    """Yield every layout with one of the windows; five shifts give every layout with every one."""
    for number, (name, lay_out) in enumerate(LAYOUTS.items()):
        yield name, lay_out, WINDOWS[(number + shift) % len(WINDOWS)]


# --- Reading, and a naive reader to compare with ---


def read(text, *, samples=True, strict=False, stream=None, reader=None, **options):
    """Return the sample rows, the number of observations and the problems as (where, reason)."""
    log, tables = ProblemLog(strict=strict), []
    reader = reader or ScoreFileReader(log)
    data = text.encode() if isinstance(text, str) else text
    n_rows = read_full_log(
        stream or BytesIO(data), FileLog(LABEL, log), samples=samples, reader=reader, number=3,
        on_samples=tables.append, **options,
    )  # fmt: skip
    assert all(table.schema.equals(SAMPLES.arrow) for table in tables)
    assert n_rows == reader.n_rows
    for table in tables:
        table.validate(full=True)
    rows = [row for table in tables for row in table.to_pylist()]
    return rows, n_rows, [row[1:3] for row in log.rows]


def expected_samples(document):
    """Return the rows of a sound log: json.load's output and loops."""
    return [
        expected_sample(document, q, s)
        for q, one in enumerate(document["queries"])
        for s in range(len(one["samples"]))
    ]


def expected_sample(document, q, s):
    one, sample = document["queries"][q], document["queries"][q]["samples"][s]
    targets, values, scores = (sample.get(key) for key in ("targets", "target_values", "scores"))
    correct, metrics = sample.get("correct"), {}
    for marks in targets.values() if isinstance(targets, dict) else ():
        for name, value in (marks or {}).items():
            if value is not None and (name not in metrics or not value <= metrics[name]):
                metrics[name] = float(value)
    metrics |= {k: float(v) for k, v in (sample.get("metrics") or {}).items() if v is not None}
    if isinstance(targets, dict):
        exact = metrics.pop("exact_str_match", None)
        correct = exact if correct is None else correct
    return {
        "benchmark": "BIG-bench",
        "task": document["task"]["task_name"],
        "subtask": None if one.get("task") == "programmatic" else one.get("task"),
        "model_family": document["model"]["model_family"],
        "model_name": document["model"]["model_name"],
        "shots": None if one.get("shots") == -1 else one.get("shots"),
        "variant": None,
        "settings": None,
        "replicate": None,
        **{axis: document["model"].get(axis) for axis in SCALE_AXES},
        "example_id": f"{q}/{s}",
        "input_hash": xxh3_128_hexdigest(sample["input"].encode()),
        "targets": None if targets is None else list(targets),
        "target_values": values
        and [None if values.get(t) is None else float(values[t]) for t in targets],
        "target_logprobs": scores and [float(score) for score in scores],
        "output": sample.get("output"),
        "correct": None if correct is None else float(correct),
        "metrics": sorted(metrics.items()),
        "source": LABEL,
    }


def in_order(rows):
    """Return rows with their metrics in alphabetical order: a map has none."""
    return [row | {"metrics": sorted(row["metrics"])} for row in rows]


def observations(text, **options):
    """Return the observations of a log, and those of its scores alone."""
    readers = [ScoreFileReader(ProblemLog(strict=True)) for _ in range(2)]
    read(text, reader=readers[0], **options)
    document = json.loads(text.lstrip("\ufeff")) | {"queries": None}
    readers[1].read(json.dumps(document).encode(), LABEL, 3)
    return [reader.table() for reader in readers]


def test_gives_what_json_load_gives():
    for shift in range(len(WINDOWS)):
        for name, lay_out, window in each_layout(shift):
            text = lay_out(varied_log())
            document = json.loads(text.lstrip("\ufeff"))
            rows, _, problems = read(text, window_bytes=window)
            assert in_order(rows) == expected_samples(document), (name, window)
            assert problems == []


def test_without_samples_only_the_scores_are_read():
    for name, lay_out, window in each_layout(0):
        found = read(lay_out(varied_log()), samples=False, window_bytes=window)
        assert found == ([], 2, []), name


def test_observations_are_those_of_a_score_file():
    for name, lay_out in LAYOUTS.items():
        for samples in (True, False):
            of_log, of_scores = observations(lay_out(varied_log()), samples=samples)
            assert of_log.equals(of_scores), (name, samples)


@pytest.mark.parametrize("queries", [[], None, MISSING])
def test_a_log_without_queries_has_its_scores(queries):
    document = changed(varied_log(), "queries", queries)
    for name, lay_out in LAYOUTS.items():
        if queries is not MISSING or name != "queries first":
            assert read(lay_out(document)) == ([], 2, []), name


TEXTS = st.text(max_size=12) | st.sampled_from([NASTY, '"', "\\", '},{"input":"', "]}", "\\u0041"])
NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**60), 2**60) | st.sampled_from([-math.inf])
MARKS = st.dictionaries(
    st.sampled_from(["exact_str_match", "bleu", "rouge1"]), st.none() | NUMBERS, max_size=3
)
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
GENERATIONS = st.builds(
    generation,
    input=TEXTS,
    output=TEXTS,
    targets=st.dictionaries(TEXTS, st.none() | MARKS, max_size=2),
    metrics=st.none() | MARKS,
    raw_output=st.none() | TEXTS,
    further=ANY,
)


@st.composite
def choices(draw):
    targets = draw(st.lists(TEXTS, min_size=1, max_size=3, unique=True))
    scores = draw(st.lists(NUMBERS, min_size=len(targets), max_size=len(targets)))
    known = draw(st.lists(st.sampled_from(targets), min_size=1, unique=True))
    return choice(
        input=draw(TEXTS), targets=targets, scores=scores, correct=draw(st.none() | NUMBERS),
        target_values={target: draw(NUMBERS) for target in known}, further=draw(ANY),
    )  # fmt: skip


QUERIES = st.builds(
    query,
    st.lists(GENERATIONS, max_size=4) | st.lists(choices(), max_size=4),
    shots=st.integers(-1, 5),
    task=st.sampled_from(["programmatic", "alpha:b"]),
    further=ANY,
)


@given(
    st.lists(QUERIES, max_size=4),
    st.sampled_from(list(LAYOUTS.values())),
    st.integers(1, 300) | st.just(1 << 20),
)
def test_whatever_the_texts_and_the_window(queries, lay_out, window):
    text = lay_out(full_log(*queries)).encode("utf-8", "surrogatepass")
    document = json.loads(text.decode("utf-8-sig"))
    rows, n_observations, problems = read(text, window_bytes=window)
    assert in_order(rows) == expected_samples(document)
    assert n_observations == 2
    assert problems == []


def test_a_compressed_stream_is_read(tmp_path):
    path = tmp_path / "full-log_Fam_1m.json.gz"
    path.write_bytes(gzip.compress(json.dumps(varied_log(), indent=2).encode()))
    with gzip.open(path) as stream:
        rows, n_observations, problems = read("", stream=stream, window_bytes=1000)
    assert in_order(rows) == expected_samples(varied_log())
    assert (n_observations, problems) == (2, [])


class Counting(BytesIO):
    """A stream that counts what is read of it."""

    n_read = 0

    def readinto1(self, buffer):
        count = super().readinto1(buffer)
        self.n_read += count
        return count


def test_without_samples_nothing_behind_the_head_is_read():
    document = full_log(*(query([choice()] * 50) for _ in range(20)))
    stream = Counting(json.dumps(document, indent=2).encode())
    _, n_observations, _ = read("", samples=False, stream=stream, window_bytes=4096)
    assert n_observations == 2
    assert stream.n_read <= 4096 < len(stream.getvalue()) / 50


def test_an_unbuffered_file_is_read(tmp_path):
    path = tmp_path / "full-log_Fam_1m.json"
    path.write_text(json.dumps(varied_log()))
    with path.open("rb", buffering=0) as stream:
        rows, _, _ = read("", stream=stream, window_bytes=100)
    assert len(rows) == len(expected_samples(varied_log()))


# --- Speed and memory, as far as they can be seen without a clock ---


@pytest.mark.parametrize(
    ("lay_out", "most"),
    # In a layout not known before, the end of the first list is found the slow way.
    [(LAYOUTS["indent=2"], 10), (LAYOUTS["no spaces"], 150), (LAYOUTS["tabs"], 150)],
)
@pytest.mark.parametrize("literal", [-1.0, -math.inf, math.nan])
def test_samples_are_decoded_many_at_once(lay_out, most, literal, monkeypatch):
    singles = []
    monkeypatch.setattr(
        _full_log,
        "decode_sample",
        lambda text, whole=_full_log.decode_sample: singles.append(text) or whole(text),
    )
    samples = [choice(input=f"{n} {NASTY}", scores=[literal, -1.0, -2.0]) for n in range(500)]
    document = full_log(*(query(samples, shots=shots) for shots in range(4)))
    rows, _, problems = read(lay_out(document), window_bytes=100_000)
    assert (len(rows), problems) == (2000, [])
    assert len(singles) < most


def test_queries_are_decoded_many_at_once(monkeypatch):
    singles = []
    monkeypatch.setattr(
        _full_log._Reading,
        "_one_query",
        lambda self, whole=_full_log._Reading._one_query: singles.append(self) or whole(self),
    )
    document = full_log(*(query([choice(), choice()]) for _ in range(500)))
    rows, _, _ = read(json.dumps(document, indent=2), window_bytes=100_000)
    assert len(rows) == 1000
    assert len(singles) < 10


def test_rows_wait_in_a_file_when_they_are_many(monkeypatch):
    monkeypatch.setattr(_full_log_samples, "_SPOOL_BYTES", 0)
    monkeypatch.setattr(_full_log_samples, "_BATCH_BYTES", 100)
    for name, lay_out in LAYOUTS.items():
        text = lay_out(varied_log())
        rows, _, _ = read(text, window_bytes=64)
        assert in_order(rows) == expected_samples(json.loads(text.lstrip("\ufeff"))), name


def test_rows_in_a_file_are_thrown_away_with_a_log_that_names_no_model(monkeypatch):
    monkeypatch.setattr(_full_log_samples, "_SPOOL_BYTES", 0)
    rows, _, problems = read(json.dumps(changed(varied_log(), "model", MISSING)))
    assert rows == []
    assert ("queries", "19 samples not loaded: no task or no model is named") in problems


def test_tables_are_of_bounded_size(monkeypatch):
    monkeypatch.setattr(_full_log_samples, "_TABLE_ROWS", 10)
    monkeypatch.setattr(_full_log_samples, "_BATCH_BYTES", 1000)
    tables = []
    document = full_log(query([choice()] * 100), query([choice()] * 100))
    log = ProblemLog(strict=True)
    read_full_log(
        BytesIO(json.dumps(document, indent=2).encode()), FileLog(LABEL, log), samples=True,
        reader=ScoreFileReader(log), on_samples=tables.append, window_bytes=2000,
    )  # fmt: skip
    assert len(tables) > 10
    assert max(table.num_rows for table in tables) < 20
    ids = pa.concat_tables(tables)["example_id"].to_pylist()
    assert ids == [f"{q}/{s}" for q in range(2) for s in range(100)]


# --- What looks like the layout but is not ---


def test_a_list_of_lookalikes_inside_a_sample_is_not_taken_for_samples():
    decoys = [generation(input=f"decoy {n}", targets=None) for n in range(5)]
    samples = [
        generation(input=f"{n}", decoys=decoys, more={"samples": decoys, "shots": 3})
        for n in range(5)
    ]
    document = full_log(query(samples, also=[query(decoys)]), query(samples))
    order = [expected_sample(document, q, s)["input_hash"] for q in range(2) for s in range(5)]
    for name, lay_out, window in each_layout(1):
        rows, _, problems = read(lay_out(document), window_bytes=window)
        assert [row["input_hash"] for row in rows] == order, name
        assert problems == []


def test_samples_of_very_different_size_are_read():
    sizes = [1, 100_000, 1, 1, 40_000, 3000, 1, 200_000, 5]
    document = full_log(*(query([generation(input="x" * size) for size in sizes]),) * 3)
    rows, _, problems = read(json.dumps(document, indent=2), window_bytes=50_000)
    assert in_order(rows) == expected_samples(document)
    assert problems == []


# --- Numbers ---


def test_the_literals_of_json_dump_are_numbers():
    marks = {"exact_str_match": math.nan, "bleu": math.inf}
    document = full_log(
        query([choice(scores=[-math.inf, math.nan, math.inf], correct=math.nan), choice()]),
        query([generation(targets={"t": marks, "u": {"exact_str_match": 0.5}}), generation()]),
        query([choice(input="NaN Infinity -Infinity", target_values={"a": -math.inf}), choice()]),
    )
    for name, lay_out, window in each_layout(2):
        rows, _, problems = read(lay_out(document), window_bytes=window)
        assert repr(rows[0]["target_logprobs"]) == "[-inf, nan, inf]", name
        assert math.isnan(rows[0]["correct"])
        assert (rows[2]["correct"], rows[2]["metrics"]) == (0.5, [("bleu", math.inf)])
        assert rows[4]["target_values"] == [-math.inf, None, None]
        assert len(rows) == 6
        assert problems == []


def test_a_literal_is_no_text():
    """Literals are decoded in quotes; a text that reads the same is none of them."""
    document = full_log(
        query([choice(scores=[-math.inf, 0.0, 0.0]), choice()], task=-math.inf),
        query([generation(output="NaN"), generation(output=math.nan)]),
        query([choice(targets=["Infinity", "b", "c"], correct=math.nan)]),
    )
    for name, lay_out, window in each_layout(3):
        rows, _, problems = read(lay_out(document), window_bytes=window)
        assert [row["subtask"] for row in rows[:2]] == [None, None], name
        assert [row["output"] for row in rows[2:3]] == ["NaN"]
        assert [row["example_id"] for row in rows] == ["0/0", "0/1", "1/0", "2/0"]
        assert rows[3]["targets"] == ["Infinity", "b", "c"]
        places = [where for where, _ in problems]
        assert places == ["queries[0].task", "queries[1].samples[1].output"]


def test_a_number_beyond_a_float_is_infinite():
    text = json.dumps(full_log(query([choice()]))).replace("-1.5", "-1e999")
    rows, _, problems = read(text)
    assert rows[0]["target_logprobs"] == [-math.inf, -0.25, -3.0]
    assert problems == []


def test_best_over_the_targets():
    marks = {"exact_str_match": 0.0, "rouge1": 5.0, "bleu": None}
    other = {"exact_str_match": 1.0, "rouge1": 2.0, "bleurt": 0.25}
    own = {"bleurt": 0.125, "x": None}
    rows, _, _ = read(
        json.dumps(
            full_log(
                query([generation(targets={"a": marks, "b": other})] * 2),
                query([generation(targets={"a": marks, "b": other}, metrics=own)]),
                query([generation(metrics={"exact_str_match": 0.5}), generation(correct=0.25)]),
            )
        )
    )
    assert [row["correct"] for row in rows] == [1.0, 1.0, 1.0, 0.5, 0.25]
    assert dict(rows[0]["metrics"]) == {"rouge1": 5.0, "bleurt": 0.25}
    assert dict(rows[2]["metrics"]) == {"rouge1": 5.0, "bleurt": 0.125}
    assert rows[3]["metrics"] == []


# --- Values that are wrong in themselves ---

SMALL = full_log(
    query([choice(input="a"), choice(input="b"), choice(input="c")]),
    query([generation(input="d"), generation(input="e")], shots=3),
)
WRONG_SAMPLES = [
    ("queries[0].samples[1].scores", "x", "queries[0].samples[1].scores", "Expected `array | nu"),
    ("queries[0].samples[1].scores[2]", "x", "queries[0].samples[1].scores[2]", "Invalid enum"),
    ("queries[0].samples[1].scores[0]", None, "queries[0].samples[1].scores[0]", "Expected `fl"),
    ("queries[0].samples[1].input", MISSING, "queries[0].samples[1]", "Object missing required"),
    ("queries[0].samples[1].input", 3, "queries[0].samples[1].input", "Expected `str`, got `int`"),
    ("queries[0].samples[1].correct", True, "queries[0].samples[1].correct", "Expected `float"),
    (
        "queries[0].samples[1].target_values.a",
        "1",
        "queries[0].samples[1].target_values",
        "Invalid",
    ),
    ("queries[0].samples[1]", 7, "queries[0].samples[1]", "Expected `object`, got `int`"),
    ("queries[0].samples[1].targets[0]", "\ud800", "queries[0].samples[1]", "a text with half of"),
    ("queries[1].samples[0].targets", "2", "queries[1].samples[0].targets", "Expected `object | "),
    ("queries[1].samples[0].output", "\ud800", "queries[1].samples[0]", "a text with half of a"),
]


@pytest.mark.parametrize(("place", "value", "where", "reason"), WRONG_SAMPLES)
def test_a_wrong_sample_is_left_out(place, value, where, reason):
    document = changed(SMALL, place, value)
    bad = "0/1" if place.startswith("queries[0]") else "1/0"
    sound = [row for row in expected_samples(SMALL) if row["example_id"] != bad]
    for name, lay_out, window in FEW:
        rows, n_observations, problems = read(lay_out(document), window_bytes=window)
        assert in_order(rows) == sound, (name, window)
        assert n_observations == 2
        assert len(problems) == 1
        assert problems[0][0].startswith(where)
        assert problems[0][1].startswith(reason)
        assert problems[0][1].endswith(": sample not loaded")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"-1.5.5", "malformed JSON: "),
        (b"-01", "malformed JSON: "),
        (b"nul", "malformed JSON: "),
        (b"[" * 3000 + b"]" * 3000, "nested too deeply"),
        (b'"\xff"', "not readable as JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'"\x01"', "malformed JSON: Invalid control character"),
        (b'"\\q"', "malformed JSON: Invalid \\escape"),
        (b'{"a": 1,}', "malformed JSON: "),
    ],
)
def test_a_sample_that_is_no_json_is_left_out(broken, reason):
    text = json.dumps(changed(SMALL, "queries[0].samples[1].further", "HERE")).encode()
    rows, n_observations, problems = read(text.replace(b'"HERE"', broken))
    assert [row["example_id"] for row in rows] == ["0/0", "0/2", "1/0", "1/1"]
    assert n_observations == 2
    assert [where for where, _ in problems] == ["queries[0].samples[1]"]
    assert problems[0][1].startswith(reason)


def test_a_sample_beyond_the_limit_is_left_out(monkeypatch):
    monkeypatch.setattr(_full_log, "_MOST_SAMPLE", 2000)
    document = changed(SMALL, "queries[0].samples[1].input", "x" * 3000)
    rows, _, problems = read(json.dumps(document), window_bytes=100)
    assert [row["example_id"] for row in rows] == ["0/0", "0/2", "1/0", "1/1"]
    assert problems == [("queries[0].samples[1]", "more than 2000 bytes: not loaded")]


@pytest.mark.parametrize(
    ("place", "value", "ids", "where", "reason"),
    [
        ("queries[0].samples", MISSING, "1/0 1/1", "queries[0].samples", "missing"),
        ("queries[0].samples", {}, "1/0 1/1", "queries[0].samples", "expected a list"),
        ("queries[0]", 3, "1/0 1/1", "queries[0]", "expected an object"),
        ("queries", {"a": 1}, "", "queries", "expected a list"),
        ("queries", 1, "", "queries", "expected a list"),
    ],
)
def test_what_is_not_a_query_is_left_out(place, value, ids, where, reason):
    document = changed(SMALL, place, value)
    for name, lay_out, window in FEW:
        rows, n_observations, problems = read(lay_out(document), window_bytes=window)
        assert [row["example_id"] for row in rows] == ids.split(), (name, window)
        assert n_observations == 2
        assert problems == [(where, reason)]


@pytest.mark.parametrize("window", FEW_WINDOWS)
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("shots", "3", "Expected `int | null`, got `str`: left empty"),
        ("shots", -2, "Expected `int` >= -1: left empty"),
        ("shots", 10**30, "Expected `int` <= 1000000000: left empty"),
        ("shots", True, "Expected `int | null`, got `bool`: left empty"),
        ("task", 5, "Expected `str | null`, got `int`: left empty"),
        ("task", "\ud800", "a text with half of a surrogate pair: left empty"),
    ],
)
def test_a_wrong_field_of_a_query_is_left_empty(field, value, reason, window):
    document = changed(SMALL, f"queries[1].{field}", value)
    rows, _, problems = read(json.dumps(document, indent=2), window_bytes=window)
    column = "subtask" if field == "task" else field
    sound = expected_samples(SMALL)
    assert problems == [(f"queries[1].{field}", reason)]
    assert in_order(rows) == sound[:3] + [row | {column: None} for row in sound[3:]]


@pytest.mark.parametrize("where", ["{}", "model", "task", "queries[1].samples[0]"])
def test_a_key_that_is_no_text_takes_nothing_with_it(where):
    key = "\ud800" if where == "{}" else f"{where}.\ud800"
    document = changed(SMALL, key, 1)
    rows, n_observations, problems = read(json.dumps(document))
    assert in_order(rows) == expected_samples(SMALL)
    assert n_observations == 2
    assert all("\\ud800" in place for place, _ in problems)


def test_a_field_of_a_query_beyond_the_limit_is_left_empty(monkeypatch):
    monkeypatch.setattr(_full_log, "_MOST_FIELD", 100)
    text = json.dumps(changed(SMALL, "queries[1].task", "x" * 101))
    rows, _, problems = read(text, window_bytes=9)
    assert [row["subtask"] for row in rows[3:]] == [None, None]
    assert problems == [("queries[1].task", "more than 100 bytes: left empty")]


def test_what_is_wrong_with_unused_fields_is_noted():
    text = json.dumps(SMALL).replace('"stop_string": "."', '"stop_string": .')
    rows, _, problems = read(text)
    assert in_order(rows) == expected_samples(SMALL)
    assert problems == [("queries[1].stop_string", "malformed JSON: Expecting value")]


@pytest.mark.parametrize("window", FEW_WINDOWS)
@pytest.mark.parametrize(("field", "column"), [("shots", "shots"), ("task", "subtask")])
@pytest.mark.parametrize("value", [None, MISSING])
def test_what_a_query_does_not_say_is_null(field, column, value, window):
    document = changed(SMALL, f"queries[0].{field}", value)
    rows, _, problems = read(json.dumps(document, indent=2), window_bytes=window)
    assert [row[column] for row in rows[:3]] == [None] * 3
    assert None not in [row[column] for row in rows[3:]]
    assert problems == []


@pytest.mark.parametrize("window", FEW_WINDOWS)
@pytest.mark.parametrize(
    ("value", "reason"),
    [("embed", "unknown function 'embed'"), (MISSING, "missing")],
)
def test_samples_of_an_unknown_function_are_read(value, reason, window):
    document = changed(SMALL, "queries[1].function", value)
    rows, _, problems = read(json.dumps(document, indent=2), window_bytes=window)
    assert in_order(rows) == expected_samples(SMALL)
    assert problems == [("queries[1].function", f"{reason}: samples are read anyway")]


@pytest.mark.parametrize("window", FEW_WINDOWS)
def test_log_probabilities_of_another_number_than_targets_are_noted(window):
    document = changed(SMALL, "queries[0].samples[2].scores", [-1.0])
    rows, _, problems = read(json.dumps(document, indent=2), window_bytes=window)
    assert rows[2]["target_logprobs"] == [-1.0]
    assert problems == [("queries[0].samples[2].scores", "1 log-probabilities of 3 targets")]


@pytest.mark.parametrize("key", ["task", "model"])
def test_samples_need_a_task_and_a_model(key):
    rows, n_observations, problems = read(json.dumps(changed(SMALL, key, MISSING)))
    assert (rows, n_observations) == ([], 0)
    assert problems == [
        ("queries", "5 samples not loaded: no task or no model is named"),
        (key, "missing"),
    ]


def test_wrong_scores_do_not_keep_samples_from_being_read():
    document = changed(SMALL, "scores[0].number_of_shots", "x")
    rows, n_observations, problems = read(json.dumps(document))
    assert in_order(rows) == expected_samples(SMALL)
    assert n_observations == 0
    assert [where for where, _ in problems] == ["scores[0].number_of_shots"]


def test_queries_given_twice_are_read_once():
    text = json.dumps(SMALL)
    rows, n_observations, problems = read(text[:-1] + ', "queries": [{"samples": []}]}')
    assert len(rows) == 5
    assert n_observations == 2
    assert problems == [("queries", "key given twice: only the first is read")]


# --- Damage ---

TINY = full_log(
    {
        "function": "cond_log_prob",
        "samples": [
            {"input": "a", "targets": ["x"], "scores": [-1.5], "correct": 1.0},
            {"input": "b", "targets": ["y"], "scores": [-2.5], "target_values": {"y": 1}},
        ],
        "shots": 2,
    },
    {
        "stop": ".",
        "samples": [
            {"input": "c\n", "output": "é", "targets": {"x": {"exact_str_match": 1.0}}},
            {"input": "d", "output": "y", "metrics": {"bleu": 0.5}},
        ],
        "function": "generate_text",
        "task": "alpha:one",
    },
)
damaged_layouts = pytest.mark.parametrize(
    "lay_out", [LAYOUTS["indent=1"], json.dumps, LAYOUTS["queries first"]]
)


def keyless(rows):
    """Return rows without what stands behind the samples of a query."""
    return [{k: v for k, v in row.items() if k not in {"shots", "subtask"}} for row in rows]


@damaged_layouts
@pytest.mark.parametrize("window", FEW_WINDOWS)
def test_a_log_that_ends_anywhere_gives_what_stands_before(lay_out, window):
    text = lay_out(TINY)
    whole, n_most = keyless(expected_samples(TINY)), 0
    for end in range(len(text)):
        rows, n_observations, problems = read(text[:end], window_bytes=window)
        found = keyless(in_order(rows))
        assert found == whole[: len(found)]
        assert len(found) >= n_most
        n_most = len(found)
        assert any(reason.startswith("truncated JSON at byte") for _, reason in problems)
        assert n_observations in {0, 2}
        assert not rows or n_observations
    assert n_most == len(whole)


def test_a_truncated_log_says_what_is_lost():
    text = json.dumps(SMALL, indent=2)
    end = text.index('"input": "b"')
    rows, n_observations, problems = read(text[:end])
    assert [row["example_id"] for row in rows] == ["0/0"]
    assert (rows[0]["shots"], rows[0]["subtask"]) == (None, None)
    assert n_observations == 2
    reason = f"truncated JSON at byte {end}: nothing after it is loaded"
    lost = "the query's shots, task included"
    assert problems == [("queries[0].samples[1]", f"{reason}, {lost}")]


def test_what_is_known_of_a_truncated_query_is_used():
    document = full_log({"shots": 2, "function": "cond_log_prob", "samples": [choice(), choice()]})
    text = json.dumps(document)
    rows, _, problems = read(text[: text.rindex('"correct"')])
    assert [row["shots"] for row in rows] == [2]
    assert problems[0][1].endswith("loaded, the query's task included")


@damaged_layouts
def test_a_broken_byte_anywhere_loses_rows_but_makes_none(lay_out):
    text = lay_out(TINY).encode()
    sound = {row["example_id"]: row for row in keyless(expected_samples(TINY))}
    for place in range(len(text)):
        byte, window = (b"\x00", b"\xff")[place // 2 % 2], FEW_WINDOWS[place % 2]
        rows, _, problems = read(text[:place] + byte + text[place + 1 :], window_bytes=window)
        found = keyless(in_order(rows))
        assert found == [sound[row["example_id"]] for row in rows]
        assert problems


DAMAGE = [b"", b'"', b"\\", b"{", b"]", b",", b"\n", b"1", b'"}]}']


def test_no_damage_makes_an_exception():
    text = json.dumps(TINY).encode()
    for place in range(len(text)):
        # Another third of them at each place: each at every third one.
        for byte in DAMAGE[place % 3 :: 3]:
            window = FEW_WINDOWS[place % 2]
            read(text[:place] + byte + text[place + 1 :], window_bytes=window)


@given(st.binary(max_size=60) | st.text('{}[]",:\\ \n1a', max_size=40).map(str.encode))
def test_no_content_makes_an_exception(content):
    head = json.dumps(full_log())[:-2].encode()
    for text in (content, b'{"queries": ' + content, head + content):
        read(text, window_bytes=8)
        read(text, samples=False, window_bytes=8)


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("", "", "truncated JSON at byte 0: nothing after it is loaded"),
        ("[]", "", "malformed JSON: an object expected at byte 0: nothing after it is loaded"),
        ("{'a': 1}", "", "malformed JSON: a key in double quotes expected at byte 1"),
        ('{"a" 1}', "", "malformed JSON: ':' expected at byte 5"),
        ('{"a": }', "", "malformed JSON: a value expected at byte 6"),
        ('{"a": 1 "b"', "", "malformed JSON: ',' or '}' expected at byte 8"),
        ('{"\\q": 1}', "", "malformed JSON: a key that cannot be read"),
        ('{"a": [}', "", "malformed JSON: '}' does not close what is open at byte 7"),
        ('{"a": "\n"}', "", "malformed JSON: line end inside a string at byte 7"),
        ('{"queries": [{}', "queries[1]", "truncated JSON at byte 15"),
        ('{"queries": [1 2]', "queries[1]", "malformed JSON: ',' or ']' expected at byte 15"),
        ('{"queries": [{"samples": [{}', "queries[0].samples[1]", "truncated JSON at byte 28"),
        ('{"a": ' + "[" * 20_000, "", "malformed JSON: nested too deeply at byte 10006"),
    ],
)
@pytest.mark.parametrize("window", [2, 1 << 20])
def test_damage_is_noted_with_its_place(text, where, reason, window):
    rows, n_observations, problems = read(text, window_bytes=window)
    assert (rows, n_observations) == ([], 0)
    assert problems[-1][0] == where or problems[-2][0] == where
    assert any(told.startswith(reason) for _, told in problems)


def test_text_behind_the_log_is_noted():
    rows, n_observations, problems = read(json.dumps(SMALL) + " x")
    assert (len(rows), n_observations) == (5, 2)
    assert len(problems) == 1
    assert re.match(r"malformed JSON: the end expected at byte \d+", problems[0][1])


def test_more_than_a_head_may_hold_is_refused(monkeypatch):
    whole = _json_stream.JsonStream.__init__
    monkeypatch.setattr(
        _json_stream.JsonStream,
        "__init__",
        lambda self, stream, **options: whole(self, stream, **options, most_recorded=1000),
    )
    text = json.dumps({"padding": "x" * 5000} | SMALL)
    rows, n_observations, problems = read(text, window_bytes=100)
    assert (rows, n_observations) == ([], 0)
    assert problems[0][1].startswith("more than 1000 bytes to be kept at byte ")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_compressed_stream_gives_what_stands_before(tmp_path, share):
    order = random.Random(0)
    samples = [generation(input=str(order.random())) for _ in range(1000)]
    document = full_log(*(query(samples, shots=shots) for shots in range(2)))
    packed = gzip.compress(json.dumps(document, indent=2).encode())
    path = tmp_path / "full-log_Fam_1m.json.gz"
    path.write_bytes(packed[: int(share * len(packed))])
    with gzip.open(path) as stream:
        rows, n_observations, problems = read("", stream=stream)
    assert 0.7 * share < len(rows) / 2000 < 1.3 * share
    assert keyless(in_order(rows)) == keyless(expected_samples(document)[: len(rows)])
    assert n_observations == 2
    assert problems[0][1].startswith("cannot be read further: Compressed file ended")


def test_a_strict_log_raises():
    with pytest.raises(InputError, match=r"samples\[1\]\.scores: Expected"):
        read(json.dumps(changed(SMALL, "queries[0].samples[1].scores", 1)), strict=True)


# --- The cursor ---


@given(ANY, st.integers(1, 40), st.sampled_from([None, 1]))
def test_the_cursor_finds_the_end_of_any_value(value, window, indent):
    text = json.dumps(value, indent=indent).encode()
    for tail in (b"", b" ", b", 1", b"]", b"}"):
        cursor = _json_stream.JsonStream(BytesIO(b" " + text + tail), window_bytes=window)
        assert cursor.take(10**6) == text
        cursor = _json_stream.JsonStream(BytesIO(text + tail), window_bytes=window)
        cursor.skip()
        assert cursor.offset == len(text)
        cursor = _json_stream.JsonStream(BytesIO(text + tail), window_bytes=window)
        assert cursor.take(len(text) - 1) is None
        assert cursor.offset == len(text)


@pytest.mark.parametrize("samples", [False, True])
def test_a_checksum_that_does_not_fit_is_reported(tmp_path, samples):
    """Though the log itself is read to its end: what it says can be wrong."""
    import bigbench_meta as bm
    from bigbench_meta.readers import ReadOptions

    content = bytearray(gzip.compress(json.dumps(full_log(query([choice()]))).encode()))
    path = tmp_path / "full-log_F_1m.json.gz"
    path.write_bytes(content)
    store = bm.Store(tmp_path / "sound")
    store.ingest(path, options=ReadOptions(samples=samples))
    assert store.problems().empty
    content[-8] ^= 1
    path.write_bytes(content)
    store = bm.Store(tmp_path / "damaged")
    store.ingest(path, options=ReadOptions(samples=samples))
    (reason,) = store.problems()["reason"]
    assert reason == "its checksum or its end is wrong: what was read can be damaged"


def test_a_size_that_is_none_does_not_take_the_names_with_it():
    document = changed(SMALL, "model.non_embedding_params", "\ud800")
    rows, n_observations, problems = read(json.dumps(document))
    expected = [row | {"non_embedding_params": None} for row in expected_samples(SMALL)]
    assert in_order(rows) == expected
    assert n_observations == 2
    ((where, reason),) = problems
    assert where == "model.non_embedding_params"
    assert reason.endswith("left empty")
