"""Logs of Inspect AI, against what its own ``read_eval_log`` says of them.

The logs are made here, with Inspect's ``eval`` and its mock model, or by hand where no evaluation
ends like that. Only the tests that need the package skip where it is not installed.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from helpers import MISSING, changed, plain
from hypothesis import given
from hypothesis import strategies as st
from inspect_logs import (
    FORMATS,
    both,
    document,
    evaluate,
    in_group,
    message,
    metric,
    of_metrics,
    packed,
    patched,
    rezipped,
    sample,
    score,
    with_head,
)
from strategies import json_values
from xxhash import xxh3_128_hexdigest

from bigbench_meta.catalog.model_names import model_names
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES, to_frame
from bigbench_meta.readers.formats import inspect_files as _inspect_files
from bigbench_meta.readers.formats import inspect_samples as _inspect_samples
from bigbench_meta.readers.formats.inspect import parse, recognise
from bigbench_meta.readers.formats.inspect_files import check_json, head_of
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.problems import ProblemLog

NAMES = model_names()
LABEL = "logs/one"
MAX_BYTES = 1 << 26
NO_SIZE = "total_params"
TASKS = ("sums", "again", "several", "choices", "nothing")
with_inspect = pytest.mark.usefixtures("inspect_ai")


def read(data, name="log.json", *, samples=False, max_bytes=MAX_BYTES, **options):
    """Return the rows of a log, its samples and the problems, which are not about the size."""
    log, tables = ProblemLog(**options), []
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    table = parse(
        data, name, FileLog(LABEL, log), names=NAMES, max_bytes=max_bytes, samples=samples,
        on_samples=tables.append,
    )  # fmt: skip
    assert table is None or table.schema == OBSERVATIONS.arrow
    assert all(each.schema == SAMPLES.arrow for each in tables)
    assert all(source == LABEL for source, *_ in log.rows)
    rows = None if table is None else plain(to_frame(table))
    answers = [row for each in tables for row in each.to_pylist()]
    return rows, answers, [problem[1:] for problem in log.rows if problem[1] != NO_SIZE]


def only(rows, **wanted):
    """Return the one row that has the wanted values."""
    (found,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return found


# --- Logs ---


@pytest.fixture(scope="session")
def inspect_ai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("inspect_ai.analysis", reason="inspect-ai is not installed")


@pytest.fixture(scope="session")
def logs(request, tmp_path_factory):
    """Logs by task and format: evaluations that went well, one that failed, one cancelled."""
    request.getfixturevalue("inspect_ai")
    folder = tmp_path_factory.mktemp("inspect")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("INSPECT_DISPLAY", "none")
        return {
            (name, kind): path
            for kind in FORMATS
            for name, path in evaluate(folder / kind, kind).items()
        }


# --- Whether a file is such a log ---


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (document(), True),
        (document() | {"version": 1, "status": "started"}, True),
        (document() | {"status": "cancelled"}, True),
        (document() | {"status": "error"}, True),
        (document() | {"status": "fine"}, False),
        (document() | {"version": "2"}, False),
        (document() | {"version": 2.5}, False),
        (document() | {"eval": []}, False),
        ([document()], False),
        ({"x": document()}, False),
        ({"version": 2, "eval": {}, "status": "success"}, False),
        ({"results": {"piqa": {"acc": 0.6}}, "config": {"model_args": ""}, "version": 2}, False),
        ({"scores": [{"score_dict": {"version": 2, "status": "success"}}]}, False),
        ([{"name": {"name": "exact_match", "split": "test"}, "count": 1, "sum": 1.0}], False),
        ({}, False),
    ],
)
def test_recognise(head, expected):
    for indent in (None, 2, "\t"):
        data = json.dumps(head, indent=indent).encode()[:4096]
        assert recognise(data) is expected, indent
        assert recognise(b"\xef\xbb\xbf" + data) is expected, indent


@pytest.mark.parametrize("head", [b"", b"{", b'{"version": 2, "status": "succ', b'{"' * 2000])
def test_recognise_needs_more(head):
    assert not recognise(head)


def test_recognise_knows_every_real_log(logs):
    paths = [path for (_, kind), path in logs.items() if kind == "json"]
    assert len(paths) == len(TASKS) + 2
    assert all(recognise(path.read_bytes()[:200]) for path in paths)


def test_the_package_is_imported_when_a_log_is_read_and_not_before():
    code = (
        "import sys, bigbench_meta.readers.formats.inspect as reader\n"
        "reader.recognise(b'{\"version\": 2')\n"
        "print({'inspect_ai', 'pydantic', 'ijson', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The rules of model names are a table of pandas.
    assert done.stdout.strip() in ("set()", "{'pandas'}")


@pytest.mark.parametrize("name", ["log.json", "log.eval"])
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["inspect-ai"], "is not installed"),
        (["inspect_ai.analysis"], "cannot be imported (No module named 'inspect_ai.analysis')"),
    ],
)
def test_without_the_package_a_file_is_one_error(monkeypatch, name, missing, said):
    def found(package):
        if package in missing:
            raise PackageNotFoundError(package)
        return "1.0"

    def imported(module):
        if module in missing:
            raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr(_inspect_files, "import_module", imported)
    monkeypatch.setattr(_inspect_files.metadata, "version", found)
    rows, answers, problems = read(b"", name, samples=True)
    reason = f"the package inspect-ai {said}: python -m pip install 'bigbench-meta[inspect]'"
    assert (rows, answers, problems) == (None, [], [("", reason, "error")])


@pytest.mark.parametrize(
    ("number", "is_enough"),
    [("0.3.253", False), ("0.2.999", False), ("0.3.254", True), ("0.3.255.dev1+g0", True),
     ("1.0", True)],
)  # fmt: skip
def test_the_version_must_suffice(monkeypatch, number, is_enough):
    monkeypatch.setattr(_inspect_files, "import_module", lambda _: None)
    monkeypatch.setattr(_inspect_files.metadata, "version", lambda _: number)
    if is_enough:
        _inspect_files._check_version()
    else:
        wanted = f"needs inspect-ai 0.3.254 or later, found {number}: "
        with pytest.raises(_inspect_files.LogFaultError, match=re.escape(wanted)):
            _inspect_files._check_version()


# --- Scores ---


def digest(value):
    return xxh3_128_hexdigest(json.dumps(value, sort_keys=True).encode())[:12]


def said(log):
    """What a log says of its run, as a JSON object of texts."""
    spec = log.eval
    found = {"task_version": spec.task_version, "limit": spec.config.limit}
    found |= {"backend": spec.model.split("/")[0], "task.dataset": spec.dataset.name}
    found |= {"epochs": spec.config.epochs} if spec.config.epochs != 1 else {}
    found |= {f"task.{key}": value for key, value in spec.task_args.items() if key != "fewshot"}
    generation = spec.model_generate_config.model_dump(exclude_none=True)
    for key in ("max_retries", "timeout", "max_connections", "seed"):
        generation.pop(key, None)
    found |= {f"generation.{key}": value for key, value in generation.items()}
    found |= {f"model.{key}": value for key, value in spec.model_args.items()}
    solvers = [
        f"{step.solver}({digest(step.params_passed)})" if step.params_passed else step.solver
        for step in log.plan.steps
    ]
    found |= {} if solvers == ["generate"] else {"task.solvers": "+".join(solvers)}
    stated = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in found.items()
        if value is not None and value is not False and value not in ("", [], {})
    }
    return json.dumps(stated, sort_keys=True) if stated else None


def expected_rows(path):
    """The rows of a log: what read_eval_log says, and loops."""
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(path), header_only=True)
    reducers = {each.reducer for each in log.results.scores} - {None}
    rows = []
    for each in log.results.scores:
        means = {"accuracy", "mean"} & each.metrics.keys()
        names = [name for name in ("stderr", "bootstrap_stderr") if name in each.metrics and means]
        grouped = {}
        for found in each.metrics.values():
            if "group_key" in found.params:
                grouped.setdefault(found.params["metric"]["name"], {})[found.name] = found.value
        values = [
            (
                key,
                None,
                found.value,
                each.metrics[names[0]].value if names and key in means else None,
            )
            for key, found in each.metrics.items()
            if "group_key" not in found.params and key not in {*names[:1], "std", "var"}
        ] + [
            ("accuracy", None if group == "all" else group, value, grouped["stderr"][group])
            for group, value in grouped.get("accuracy", {}).items()
        ]
        for name, group, value, error in values:
            parts = [each.scorer, each.name if each.name != each.scorer else None]
            parts += [each.reducer if len(reducers) > 1 else None]
            rows.append(
                dict.fromkeys(OBSERVATIONS.names)
                | {
                    "benchmark": "inspect",
                    "task": log.eval.task,
                    "subtask": group or log.eval.task,
                    "metric": name,
                    "model_family": "model",
                    "model_name": "model",
                    "shots": log.eval.task_args.get("fewshot"),
                    "variant": "/".join(filter(None, parts)),
                    "settings": said(log),
                    "score": value,
                    "stderr": error,
                    "n_examples": None if group else each.scored_samples,
                    "source": LABEL,
                }
            )
    return rows


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("task", [*TASKS, "cancelled"])
def test_the_scores_are_those_of_the_log(logs, task, kind):
    path = logs[task, kind]
    rows, _, problems = read(path.read_bytes(), path.name)
    assert rows == expected_rows(path)
    notes = {
        "nothing": [("results", "no scores", "warning")],
        "cancelled": [
            ("status", "cancelled: the scores are of an unfinished evaluation", "warning")
        ],
    }
    assert problems == notes.get(task, [])


def test_some_scores_by_hand(logs):
    rows, _, _ = read(logs["several", "eval"].read_bytes(), "log.eval")
    keys = {(row["subtask"], row["metric"], row["variant"]) for row in rows}
    assert keys == {
        (subtask, name, f"{scorer}/{reducer}")
        for reducer in ("mean", "max")
        for subtask, name, scorer in [
            ("several", "accuracy", "match"),
            ("several", "mean", "quality/length"),
            ("several", "mean", "quality/empty"),
            ("several", "accuracy", "by_kind"),
            ("a", "accuracy", "by_kind"),
            ("b", "accuracy", "by_kind"),
        ]
    }
    # "2" and "4" and "I think 6" are right, "no", "ANSWER: B" and nothing are not.
    row = only(rows, variant="match/mean")
    assert row["score"] == 0.5
    assert row["stderr"] == pytest.approx(math.sqrt(0.25 / 5))
    # The answers in both epochs are the same, of 1, 1, 9, 2, 9 and 0 characters.
    assert only(rows, variant="quality/length/max")["score"] == pytest.approx(22 / 6)
    assert only(rows, variant="quality/empty/mean")["score"] == pytest.approx(1 / 6)


def test_epochs_are_no_examples(logs):
    rows, _, _ = read(logs["again", "json"].read_bytes())
    # Three epochs of six samples, of which a scorer left out the third.
    assert {row["variant"]: row["n_examples"] for row in rows} == {"includes": 6, "unsure": 5}
    assert [row["metric"] for row in rows] == ["accuracy", "mean"]  # std is no score


def test_an_evaluation_that_failed_is_an_error(logs):
    for kind in FORMATS:
        rows, _, problems = read(logs["failed", kind].read_bytes(), f"log.{kind}")
        assert rows is None
        reason = r"error: the evaluation has no scores (ValueError('three\nis too many'))"
        assert problems == [("status", reason, "error")]


@with_inspect
@pytest.mark.parametrize("status", ["started", "cancelled", "error"])
def test_unfinished_evaluations(status):
    log = document() | {"status": status}
    error = {"message": "out of\x1b[31m luck\nsecond line", "traceback": "", "traceback_ansi": ""}
    for data, name in both(log):
        rows, _, problems = read(data, name)
        assert len(rows) == 1
        reason = f"{status}: the scores are of an unfinished evaluation"
        assert problems == [("status", reason, "warning")]
    for data, name in both(with_head(changed(log, "results", MISSING), error=error)):
        rows, _, problems = read(data, name)
        assert rows is None
        reason = f"{status}: the evaluation has no scores (out of\\x1b[31m luck)"
        assert problems == [("status", reason, "error")]


def test_a_log_that_is_being_written(logs):
    """Before its end, an .eval log has no header, only what was known at the start."""
    data = rezipped(logs["sums", "eval"].read_bytes(), lambda name: name != "header.json")
    rows, answers, problems = read(data, "log.eval", samples=True)
    assert rows is None
    assert problems == [("status", "started: the evaluation has no scores", "error")]
    assert len(answers) == 6


@with_inspect
def test_invalidated_samples_are_told():
    rows, _, problems = read(with_head(document(), invalidated=True))
    assert len(rows) == 1
    reason = "samples of this log were declared invalid"
    assert problems == [("invalidated", reason, "warning")]


@with_inspect
@pytest.mark.parametrize(
    ("task", "benchmark", "name"),
    [
        ("sums", "inspect", "sums"),
        ("inspect_evals/mmlu_0_shot", "inspect_evals", "mmlu_0_shot"),
        ("zoo/owls/barn", "zoo", "owls/barn"),
        ("/owls", "inspect", "/owls"),
        ("zoo/", "inspect", "zoo/"),
        (" owls ", "inspect", "owls"),
    ],
)
def test_the_benchmark_is_the_package(task, benchmark, name):
    for data, file in both(document(task=task)):
        rows, answers, _ = read(data, file, samples=True)
        for row in [*rows, *answers]:
            assert [row[key] for key in ("benchmark", "task", "subtask")] == [benchmark, name, name]


@with_inspect
@pytest.mark.parametrize("key", ["task", "model"])
@pytest.mark.parametrize("value", ["", "  ", "/", " / "])
def test_a_log_without_task_or_model_is_an_error(key, value):
    rows, answers, problems = read(document(**{key: value}), samples=True)
    assert (rows, answers) == (None, [])
    got = json.dumps(value)
    assert problems == [(f"eval.{key}", f"expected a name, got {got}", "error")]


@with_inspect
@pytest.mark.parametrize(
    ("spec", "setting", "value"),
    [
        ({"config": {"epochs": 10}}, "epochs", "10"),
        ({"config": {"epochs": 1}}, "epochs", None),
        ({"config": {}}, "epochs", None),
        ({"model": "vllm/EleutherAI/pythia-70m"}, "backend", "vllm"),
        ({"model": "hf/EleutherAI/pythia-70m"}, "backend", "hf"),
        ({"model": "pythia-70m"}, "backend", None),
        ({"dataset": {"name": "owls-v2", "samples": 2}}, "task.dataset", "owls-v2"),
        ({"config": {"sample_id": [1, 2], "limit": None}, "dataset": {"samples": 9}}, "limit",
         f"2 ({digest([1, 2])})"),
        ({"config": {"sample_id": "a"}, "dataset": {"samples": 9}}, "limit",
         f"1 ({digest(['a'])})"),
        ({"config": {"message_limit": 5}}, "task.message_limit", "5"),
        ({"model_roles": {"grader": {"model": "openai/gpt-4o"}}}, "task.grader", "openai/gpt-4o"),
        ({"model_roles": {"grader": {"model": "a/b", "args": {"x": 1}}}}, "task.grader",
         f"a/b ({digest({'args': {'x': 1}})})"),
    ],
)  # fmt: skip
def test_what_tells_runs_apart_is_a_setting(spec, setting, value):
    log = FileLog(LABEL, ProblemLog())
    data = json.dumps(document(**spec)).encode()
    (row,) = plain(to_frame(parse(data, "a.json", log, names=NAMES, max_bytes=MAX_BYTES)))
    assert json.loads(row["settings"]).get(setting) == value


@with_inspect
@pytest.mark.parametrize(
    ("model", "arguments", "family", "name", "size", "checkpoint"),
    [
        ("openai/gpt-4o", {}, "OpenAI", "gpt-4o", None, None),
        ("hf/EleutherAI/pythia-1.4b", {}, "pythia", "pythia-1.4b", 1414647808, None),
        ("hf/EleutherAI/pythia-70m-step3000", {}, "pythia", "pythia-70m", 70426624, "step3000"),
        ("hf/EleutherAI/pythia-70m", {"revision": "step5"}, "pythia", "pythia-70m", 70426624,
         "step5"),
        ("hf/EleutherAI/pythia-70m", {"revision": "main"}, "pythia", "pythia-70m", 70426624, None),
        ("hf/EleutherAI/pythia-70m", {"revision": 5}, "pythia", "pythia-70m", 70426624, None),
        ("hf/local", {"model_path": "/disk/bloom-7b1"}, "bloom", "bloom-7b1", 7069016064, None),
        ("hf/local", {"model_path": 5}, "local", "local", None, None),
        ("vllm/gpt2", {"model_path": "/disk/bloom-7b1"}, "gpt2", "gpt2", 124439808, None),
        ("mockllm/model", {}, "model", "model", None, None),
        ("together/me/unheard-of", {}, "me/unheard-of", "me/unheard-of", None, None),
        ("owl", {}, "owl", "owl", None, None),
    ],
)  # fmt: skip
def test_the_model(model, arguments, family, name, size, checkpoint):
    log = ProblemLog()
    data = json.dumps(document(model=model, model_args=arguments)).encode()
    table = parse(
        data, "a.json", FileLog(LABEL, log), names=NAMES, max_bytes=MAX_BYTES, samples=False
    )
    (row,) = plain(to_frame(table))
    found = [row[key] for key in ("model_family", "model_name", "total_params", "variant")]
    assert found == [family, name, size, "match"]
    assert json.loads(row["settings"]).get("checkpoint") == checkpoint
    reasons = [reason for _, place, reason, _ in log.rows if place == NO_SIZE]
    assert (reasons == []) is (size is not None)
    assert all(reason.startswith(f'left empty for "{name}": ') for reason in reasons)


@with_inspect
@pytest.mark.parametrize(
    ("arguments", "shots", "key"),
    [
        ({}, None, None),
        ({"fewshot": 5, "fewshot_seed": 42}, 5, None),
        ({"num_fewshot": 0}, 0, None),
        ({"fewshot": None, "n_shots": 4}, 4, None),
        ({"fewshot": True}, None, "fewshot"),
        ({"fewshot": "5"}, None, "fewshot"),
        ({"shots": -1}, None, "shots"),
        ({"shots": 10**9 + 1}, None, "shots"),
        ({"few_shot": [1]}, None, "few_shot"),
    ],
)
def test_shots_are_what_an_argument_says(arguments, shots, key):
    for data, name in both(document(task_args=arguments)):
        (row,), _, problems = read(data, name)
        assert row["shots"] == shots
        assert [place for place, *_ in problems] == ([f"eval.task_args.{key}"] if key else [])
        assert all("expected a whole number, got " in reason for _, reason, _ in problems)


@with_inspect
@pytest.mark.parametrize(
    ("scored", "completed", "epochs", "size", "place"),
    [
        (7, 100, 1, 7, None),
        (0, 100, 1, None, None),
        (MISSING, 12, 1, 12, None),
        (MISSING, 12, 3, 4, None),
        (None, 12, None, 12, None),
        (None, 12, 0, 12, None),
        (None, 12, -3, 12, None),
        (MISSING, 13, 3, None, "results.completed_samples"),
        (MISSING, 0, 3, None, None),
        (-1, 12, 1, None, "results.scores.0.scored_samples"),
        (10**18 + 1, 12, 1, None, "results.scores.0.scored_samples"),
    ],
)
def test_the_number_of_examples(scored, completed, epochs, size, place):
    log = changed(document(config={"epochs": epochs}), "results.completed_samples", completed)
    (row,), _, problems = read(changed(log, "results.scores[0].scored_samples", scored))
    assert row["n_examples"] == size
    assert [where for where, *_ in problems] == ([place] if place else [])


@with_inspect
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"accuracy": 0.5, "stderr": 0.1}, {"accuracy": 0.1}),
        ({"stderr": 0.1, "mean": 0.5, "var": 2}, {"mean": 0.1}),
        ({"accuracy": 0.5, "mean": 0.5, "stderr": 0.1}, {"accuracy": 0.1, "mean": 0.1}),
        ({"accuracy": 0.5, "bootstrap_stderr": 0.2}, {"accuracy": 0.2}),
        ({"accuracy": 0.5, "bootstrap_stderr": 0.2, "stderr": 0.1},
         {"accuracy": 0.1, "bootstrap_stderr": None}),
        ({"median": 0.5, "stderr": 0.1}, {"median": None, "stderr": None}),
        ({"accuracy": 0.5, "accuracy2": 0.4}, {"accuracy": None, "accuracy2": None}),
        ({"stderr": 0.1}, {"stderr": None}),
    ],
)  # fmt: skip
def test_a_standard_error_stands_beside_its_mean(values, expected):
    rows, _, problems = read(of_metrics(**values))
    assert {row["metric"]: row["stderr"] for row in rows} == expected
    assert {row["metric"]: row["score"] for row in rows} == {key: values[key] for key in expected}
    assert problems == []


@with_inspect
@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_a_standard_error_that_is_none_is_left_empty(value):
    for data, name in both(of_metrics(accuracy=0.5, stderr=value)):
        (row,), _, problems = read(data, name)
        assert (row["score"], row["stderr"]) == (0.5, None)
        place = "results.scores.0.metrics.stderr.value"
        reason = f"expected a standard error, got {json.dumps(value)}: left empty"
        assert problems == [(place, reason, "warning")]


@with_inspect
@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (10**400, "inf")]
)
def test_a_score_that_is_not_finite_is_kept_with_a_warning(value, text):
    log = ProblemLog()
    data = json.dumps(of_metrics(accuracy=value)).encode()
    table = parse(
        data, "a.json", FileLog(LABEL, log), names=NAMES, max_bytes=MAX_BYTES, samples=False
    )
    assert str(table["score"][0].as_py()) == text
    place = "results.scores.0.metrics.accuracy.value"
    assert (LABEL, place, f"{text} is kept but never scored", "warning") in log.rows


@with_inspect
def test_a_metric_without_a_name_is_an_error():
    rows, _, problems = read(of_metrics(**{"accuracy": 0.5, " ": 0.25}))
    assert [row["metric"] for row in rows] == ["accuracy"]
    place = "results.scores.0.metrics. .value"
    assert problems == [(place, "a metric or a group without a name", "error")]


@with_inspect
@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        # Without the metric itself, that over all groups is the aggregate.
        ([in_group("accuracy", "a", 0.25), in_group("accuracy", "all", 0.5)],
         {("a", "accuracy"), ("owls", "accuracy")}),
        ([in_group("zoo/accuracy", "a", 0.25), in_group("accuracy", "sum", 0.5, all_label="sum")],
         {("a", "accuracy"), ("owls", "accuracy")}),
        ([in_group("accuracy", "all", 0.5), metric("accuracy", 0.75)],
         {("all", "accuracy"), ("owls", "accuracy")}),
        ([in_group("mean", "all", 0.5), metric("accuracy", 0.75)],
         {("owls", "mean"), ("owls", "accuracy")}),
        # Groups of two kinds keep their kind in the name.
        ([in_group("accuracy", "1", 0.5), in_group("accuracy", "1", 0.25, by="level")],
         {("kind/1", "accuracy"), ("level/1", "accuracy")}),
        # Several values that are no groups.
        ([metric("A", 0.5, group="frequency"), metric("1", 0.25, group="quantile")],
         {("owls", "frequency/A"), ("owls", "quantile/1")}),
        ([in_group(5, "a", 0.25)], {("owls", "0")}),
    ],
)  # fmt: skip
def test_a_metric_of_several_values(metrics, expected):
    keyed = {f"{place}" if each["name"] != "accuracy" else "accuracy": each
             for place, each in enumerate(metrics)}  # fmt: skip
    rows, _, problems = read(changed(document(), "results.scores", [score(metrics=keyed)]))
    assert {(row["subtask"], row["metric"]) for row in rows} == expected
    assert len(rows) == len(metrics)
    assert {row["n_examples"] for row in rows if row["subtask"] != "owls"} <= {None}
    assert problems == []


@with_inspect
@pytest.mark.parametrize(
    ("scores", "variants"),
    [
        ([score("match")], ["match"]),
        ([score("accuracy")], [None]),
        ([score("match"), score("f1")], ["match", "f1"]),
        ([score("length", scorer="quality")], ["quality/length"]),
        ([score(reducer="mean")], ["match"]),
        ([score(reducer="pass_at_2")], ["match/pass_at_2"]),
        ([score(reducer="mean"), score("f1", reducer=None)], ["match", "f1"]),
        ([score(reducer="mean"), score(reducer="mode")], ["match/mean", "match/mode"]),
    ],
)
def test_the_variant_names_the_scorer(scores, variants):
    rows, _, problems = read(changed(document(), "results.scores", scores))
    assert [row["variant"] for row in rows] == variants
    assert problems == []


# --- Samples ---


def expected_samples(path):
    """The samples of a log: what read_eval_log says, and loops."""
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(path))
    worth = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
    rows = []
    for each in log.samples:
        metrics = {}
        for name, found in (each.scores or {}).items():
            values = found.value if isinstance(found.value, dict) else {None: found.value}
            for key, value in values.items():
                number = worth.get(value, value)
                if not math.isnan(number):
                    metrics[f"{name}/{key}" if key else name] = float(number)
        first = next(iter(each.scores or {}), None)
        rows.append(
            dict.fromkeys(SAMPLES.names)
            | {
                "benchmark": "inspect",
                "task": log.eval.task,
                "subtask": log.eval.task,
                "model_family": "model",
                "model_name": "model",
                "shots": log.eval.task_args.get("fewshot"),
                "settings": said(log),
                "example_id": f"{each.id}_epoch_{each.epoch}" if log.eval.config.epochs > 1
                else str(each.id),
                "input_hash": xxh3_128_hexdigest(each.input.encode()),
                "targets": [each.target] if isinstance(each.target, str) else each.target,
                "output": each.output.completion if each.output.choices else None,
                "correct": metrics.get(first),
                "metrics": list(metrics.items()),
                "source": LABEL,
            }
        )  # fmt: skip
    return rows


def by_id(rows):
    return sorted(rows, key=lambda row: row["example_id"])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("task", [*TASKS, "failed", "cancelled"])
def test_the_samples_are_those_of_the_log(logs, task, kind):
    path = logs[task, kind]
    _, answers, problems = read(path.read_bytes(), path.name, samples=True)
    assert by_id(answers) == by_id(expected_samples(path))
    notes = {reason for place, reason, _ in problems if place == "samples"}
    assert notes == {
        "again": {"3 of 18 samples: values of scorers that are not numbers: left out"},
        "failed": {f"{len(answers) - 2} of {len(answers)} samples: ended in an error"},
        "cancelled": {"1 of 3 samples: ended in an error"},
    }.get(task, set())


def test_samples_are_read_when_asked_for(logs):
    data = logs["sums", "eval"].read_bytes()
    assert read(data, "log.eval")[1] == []
    log = ProblemLog()
    table = parse(
        data, "a.eval", FileLog(LABEL, log), names=NAMES, max_bytes=MAX_BYTES, samples=True
    )
    assert table.num_rows == 1


@with_inspect
def test_few_samples_are_held_at_once(monkeypatch):
    log = document() | {"samples": [sample(n, epoch=e) for n in range(1, 8) for e in (1, 2)]}
    whole = [read(data, name, samples=True) for data, name in both(log)]
    asked, tables = [], []
    reader = _inspect_samples.read_samples

    def spied(file, members, columns):
        asked.append(len(members))
        return reader(file, members, columns)

    monkeypatch.setattr(_inspect_samples, "read_samples", spied)
    monkeypatch.setattr(_inspect_samples, "_BATCH_SAMPLES", 4)
    monkeypatch.setattr(_inspect_samples, "_TABLE_ROWS", 3)
    for (data, name), (_, answers, _) in zip(both(log), whole, strict=True):
        tables.clear()
        parse(
            data, name, FileLog(LABEL, ProblemLog()), names=NAMES, max_bytes=MAX_BYTES,
            samples=True, on_samples=tables.append,
        )  # fmt: skip
        assert by_id([row for each in tables for row in each.to_pylist()]) == by_id(answers)
        assert max(each.num_rows for each in tables) == 3
    # A JSON document is read at once.
    assert asked == [0, 4, 4, 4, 2]


@with_inspect
def test_a_large_sample_is_a_batch_of_its_own(monkeypatch):
    monkeypatch.setattr(_inspect_samples, "_BATCH_BYTES", 2000)
    log = document() | {
        "samples": [sample(n, store={"x": "y" * 3000 * (n == 2)}) for n in (1, 2, 3, 4)]
    }
    archive = _inspect_files._open_eval(packed(log), max_bytes=MAX_BYTES)
    sizes = [len(batch) for batch in _inspect_samples._batches(archive.samples)]
    assert sizes == [1, 1, 2]
    assert [row["example_id"] for row in read(packed(log), "a.eval", samples=True)[1]] == [*"1234"]


@with_inspect
@pytest.mark.parametrize(
    ("epochs", "epoch", "name"),
    [(1, 1, "7"), (None, 1, "7"), (2, 1, "7_epoch_1"), (1, 2, "7_epoch_2")],
)
def test_the_epoch_is_part_of_the_name_where_there_are_several(epochs, epoch, name):
    log = document(config={"epochs": epochs}) | {"samples": [sample(7, epoch=epoch)]}
    for data, file in both(log):
        assert only(read(data, file, samples=True)[1], task="owls")["example_id"] == name


@with_inspect
@pytest.mark.parametrize(
    ("value", "correct", "metrics"),
    [
        ("C", 1, {"s": 1}),
        ("I", 0, {"s": 0}),
        ("P", 0.5, {"s": 0.5}),
        ("N", 0, {"s": 0}),
        ("yes", 1, {"s": 1}),
        ("False", 0, {"s": 0}),
        ("0.25", 0.25, {"s": 0.25}),
        ("7", None, {"s": 7}),
        ("c", None, {}),
        ("nan", None, {}),
        ("", None, {}),
        (True, 1, {"s": 1}),
        (False, 0, {"s": 0}),
        (1, 1, {"s": 1}),
        (0.125, 0.125, {"s": 0.125}),
        (1.5, None, {"s": 1.5}),
        (-1, None, {"s": -1}),
        (math.nan, None, {}),
        (10**400, None, {"s": math.inf}),
        ({"a": 1, "b": "C", "c": None, "d": "x"}, None, {"s/a": 1, "s/b": 1}),
        ([0.5, "I"], None, {"s/1": 0.5, "s/2": 0}),
        ({}, None, {}),
    ],
)
def test_the_value_of_a_score(value, correct, metrics):
    log = document() | {"samples": [sample(scores={"s": {"value": value}})]}
    for data, name in both(log):
        _, (row,), problems = read(data, name, samples=True)
        assert (row["correct"], dict(row["metrics"])) == (correct, metrics)
        flat = (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else [0]
        )
        assert bool(problems) is (len(metrics) < len(list(flat)))


@with_inspect
def test_correct_is_the_first_single_value_even_if_it_is_none():
    scores = {"quality": {"value": {"a": 1.0}}, "unsure": {"value": math.nan}, "s": {"value": 1}}
    _, (row,), _ = read(document() | {"samples": [sample(scores=scores)]}, samples=True)
    assert row["correct"] is None
    assert dict(row["metrics"]) == {"quality/a": 1, "s": 1}


@with_inspect
@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ("What?", "What?"),
        ([message("What?")], "What?"),
        ([message("Be kind.", "system"), message("What?")], "Be kind.\n\nWhat?"),
        ([message([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], "a\nb"),
        ([message([{"type": "text", "text": "a"}, {"type": "image", "image": "b.png"}])], None),
        ([], ""),
    ],
)
def test_the_hash_is_that_of_the_input(messages, text):
    log = document() | {"samples": [sample(input=messages)]}
    for data, name in both(log):
        _, (row,), problems = read(data, name, samples=True)
        wanted = None if text is None else xxh3_128_hexdigest(text.encode())
        assert row["input_hash"] == wanted
        reason = "1 of 1 samples: the input is not text alone: input_hash left empty"
        assert problems == ([("samples", reason, "warning")] if text is None else [])


@with_inspect
@pytest.mark.parametrize(
    ("target", "targets"), [("7", ["7"]), (["7", "seven"], ["7", "seven"]), ("", None), ([], None)]
)
def test_targets(target, targets):
    _, (row,), _ = read(document() | {"samples": [sample(target=target)]}, samples=True)
    assert row["targets"] == targets


@with_inspect
def test_what_the_model_wrote_may_be_long_or_nothing():
    long = changed(sample(1), "output.choices[0].message.content", "x" * 10**5)
    silent = changed(sample(2), "output.choices", [])
    for data, name in both(document() | {"samples": [long, silent]}):
        _, answers, _ = read(data, name, samples=True)
        assert [row["output"] for row in by_id(answers)] == ["x" * 10**5, None]


@with_inspect
def test_a_bad_sample_spoils_no_other_in_an_archive():
    samples = [sample(n) for n in range(1, 10)]
    samples[3]["scores"] = {"match": 5}
    samples[7]["epoch"] = "x"
    log = document() | {"samples": samples}
    rows, answers, problems = read(packed(log), "log.eval", samples=True)
    assert len(rows) == 1
    assert [row["example_id"] for row in answers] == [*"1235679"]
    assert [(place, severity) for place, _, severity in problems] == [
        ("samples/4_epoch_1.json: samples.scores.match", "error"),
        ("samples/8_epoch_1.json: samples.epoch", "error"),
    ]
    # Of a JSON document, Inspect reads all samples or none.
    rows, answers, problems = read(log, samples=True)
    assert (len(rows), answers) == (1, [])
    ((place, _, severity),) = problems
    assert (place, severity) == ("samples.3.scores.match", "error")


@with_inspect
def test_what_is_not_needed_of_a_sample_is_skipped():
    log = document() | {"samples": [sample(1, events=[{"event": 5}], store=7, messages="x")]}
    _, (row,), problems = read(packed(log), "log.eval", samples=True)
    assert (row["output"], problems) == ("one", [])


@with_inspect
def test_the_search_for_bad_samples_ends(monkeypatch):
    monkeypatch.setattr(_inspect_samples, "_MOST_FAULTS", 3)
    log = document() | {"samples": [sample(n, epoch="x") for n in range(1, 9)]}
    _, answers, problems = read(packed(log), "log.eval", samples=True)
    assert answers == []
    reason = "3 samples cannot be read: the 5 after them are left out"
    assert problems[3:] == [("samples", reason, "error")]


@with_inspect
@pytest.mark.parametrize("name", ["log.json", "log.eval"])
def test_a_log_without_samples_is_a_warning(name):
    data = dict(both(changed(document(), "samples", MISSING)))
    (content,) = (key for key, value in data.items() if value == name)
    rows, answers, problems = read(content, name, samples=True)
    assert (len(rows), answers) == (1, [])
    assert problems == [("samples", "no samples", "warning")]


@with_inspect
def test_samples_given_twice_are_told():
    twice = document() | {"samples": [sample(1, uuid="a"), sample(1, uuid="b")]}
    _, answers, problems = read(twice, samples=True)
    assert len(answers) == 2
    assert problems == [("samples", "1 of 2 samples: given more than once", "warning")]
    # The same identifier of the run: Inspect drops it.
    same = document() | {"samples": [sample(1, uuid="a"), sample(2, uuid="a")]}
    _, answers, problems = read(same, samples=True)
    assert [row["example_id"] for row in answers] == ["1"]
    reason = "1 of 1 samples: given more than once, the first counts"
    assert problems == [("samples", reason, "warning")]


@with_inspect
def test_of_two_members_of_one_name_the_last_counts():
    """So Inspect replaces a sample: it appends to the archive."""
    stream = io.BytesIO(packed(document()))
    newer = changed(sample(1), "output.choices[0].message.content", "newer")
    with zipfile.ZipFile(stream, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("samples/1_epoch_1.json", json.dumps(newer))
    _, answers, problems = read(stream.getvalue(), "log.eval", samples=True)
    assert [row["output"] for row in by_id(answers)] == ["newer", "one"]
    assert problems == []


# --- Archives that must not be opened ---


DEFLATED = packed(document())
OUTSIDE = "refused: the name {!r} points outside the archive"
NESTED = "refused: {!r} is an archive in the archive"
REFUSED = {
    "empty": (b"", "not a valid zip archive: File is not a zip file"),
    "no zip": (b"x" * 1000, "not a valid zip archive: File is not a zip file"),
    "truncated": (DEFLATED[:-30], "not a valid zip archive: File is not a zip file"),
    "front lost": (DEFLATED[50:], None),
    "damaged": (DEFLATED.replace(DEFLATED[60:70], b"\0" * 10), None),
    "encrypted": (patched(DEFLATED, "samples/1_epoch_1.json", 8, b"\x01\x00"),
                  "refused: 'samples/1_epoch_1.json' is encrypted"),
    "bzip2": (packed(document(), zipfile.ZIP_BZIP2),
              "refused: 'header.json' is compressed by method 12, which Inspect does not use"),
    "parent": (packed(document(), **{"../header.json": "{}"}), OUTSIDE.format("../header.json")),
    "parent below": (packed(document(), **{"samples/../../x.json": "{}"}),
                     OUTSIDE.format("samples/../../x.json")),
    "absolute": (packed(document(), **{"/etc/passwd": "{}"}), OUTSIDE.format("/etc/passwd")),
    "backslash": (packed(document(), **{"samples\\..\\..\\x": "{}"}),
                  OUTSIDE.format("samples\\..\\..\\x")),
    "drive alone": (packed(document(), **{"C:x.json": "{}"}), OUTSIDE.format("C:x.json")),
    "drive": (packed(document(), **{"C:/x.json": "{}"}), OUTSIDE.format("C:/x.json")),
    "nested": (packed(document(), **{"more.eval": DEFLATED}), NESTED.format("more.eval")),
    "nested below": (packed(document(), **{"samples/x.TAR.GZ": "x"}),
                     NESTED.format("samples/x.TAR.GZ")),
    "control characters": (packed(document(), **{"../\x1b[31m": "{}"}),
                           OUTSIDE.format("../\x1b[31m")),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_archive_that_is_refused(inspect_ai, monkeypatch, case):
    data, reason = REFUSED[case]
    opened = []
    monkeypatch.setattr(inspect_ai, "evals_df", lambda *_, **__: opened.append(1))
    rows, answers, problems = read(data, "log.eval", samples=True)
    assert (rows, answers, opened) == (None, [], [])
    ((place, got, severity),) = problems
    assert (place, severity) == ("", "error")
    assert got == reason if reason else got.startswith("not a valid zip archive: ")


@with_inspect
def test_a_bomb_is_refused_by_what_it_declares():
    bomb = packed(document(), **{"samples/x.json": "0" * 10**6})
    assert len(bomb) < 10**4
    rows, _, problems = read(bomb, "log.eval", max_bytes=10**6)
    assert rows is None
    reason = "the archive expands to more than 1000000 bytes (--max-bytes)"
    assert problems == [("", reason, "error")]
    # All members together count.
    many = packed(document(), **{f"samples/{n}x.json": "0" * 1000 for n in range(1000)})
    assert read(many, "log.eval", max_bytes=10**6)[2] == [("", reason, "error")]
    assert len(read(many, "log.eval", max_bytes=2 * 10**6)[0]) == 1


@with_inspect
@pytest.mark.parametrize("checksum", ["of all", "of what it says"])
def test_a_bomb_that_lies_about_its_size(checksum):
    """It gives no more than it declares, and is damaged unless its checksum lies along."""
    text = json.dumps(sample(3)).encode()
    longer = text + b" " * 10**7
    name = "samples/3_epoch_1.json"
    data = packed(document(), **{name: longer.decode()})
    data = patched(data, name, 24, struct.pack("<I", len(text)))
    if checksum == "of what it says":
        data = patched(data, name, 16, struct.pack("<I", zlib.crc32(text)))
    assert len(data) < 10**5
    rows, answers, problems = read(data, "log.eval", samples=True, max_bytes=10**5)
    assert len(rows) == 1
    if checksum == "of what it says":
        assert [row["example_id"] for row in answers] == ["1", "2", "3"]
        assert problems == []
    else:
        assert [row["example_id"] for row in answers] == ["1", "2"]
        reason = f"not a valid zip archive: Bad CRC-32 for file '{name}'"
        assert problems == [(name, reason, "error")]


@with_inspect
def test_zstandard_expands_in_small_steps(monkeypatch):
    """A kilobyte of it may hold gigabytes, and zipfile expands all that it has asked for."""
    steps = []
    real = zipfile._get_decompressor

    class Spy:
        def __init__(self, inner):
            self.inner = inner

        def decompress(self, data, *rest):
            steps.append(len(data))
            return self.inner.decompress(data, *rest)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    zstandard = 93
    noisy = {"x": "".join(map(chr, range(32, 8000)))}
    log = document() | {"samples": [sample(1, metadata=noisy), sample(2)]}
    data = packed(log, zstandard)
    monkeypatch.setattr(zipfile, "_get_decompressor", lambda method: Spy(real(method)))
    _, answers, _ = read(data, "log.eval", samples=True)
    assert [row["example_id"] for row in answers] == ["1", "2"]
    assert max(steps) == 4096


@with_inspect
def test_an_archive_without_header_is_no_log():
    data = rezipped(DEFLATED, lambda name: name != "header.json")
    assert read(data, "log.eval")[2] == [("header.json", "missing: not a log of Inspect", "error")]


@with_inspect
def test_the_ending_tells_the_format():
    assert len(read(DEFLATED, "LOG.EVAL")[0]) == 1
    rows, _, problems = read(DEFLATED, "log.json")
    assert rows is None
    assert [severity for *_, severity in problems] == ["error"]


# --- Content that is hostile, or strange ---


def naive_depth(text):
    """How many brackets are open at once, character by character."""
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        else:
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
    return deepest


JSON = json_values(max_leaves=20)


@given(JSON, st.booleans())
def test_the_depth_of_json(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    structure = _inspect_files._STRING.sub(b"", text.encode("utf-8", "surrogatepass"))
    assert _inspect_files._depth(structure) == naive_depth(text)
    check_json(text.encode("utf-8", "surrogatepass"))


@given(st.text('"\\[]{}:,a ', max_size=40))
def test_the_depth_of_what_is_no_json(text):
    structure = _inspect_files._STRING.sub(b"", text.encode())
    assert _inspect_files._depth(structure) == naive_depth(text)


@pytest.mark.parametrize("pieces", [1, 3, 1 << 20])
def test_the_depth_is_the_same_in_pieces(monkeypatch, pieces):
    monkeypatch.setattr(_inspect_files, "_PIECE", pieces)
    for depth in (0, 1, 2, 7, 252):
        check_json(b"[" * depth + b"[],[[]]" + b"]" * depth)
    with pytest.raises(InputError, match="nested deeper than 254"):
        check_json(b"[" * 255)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 255 + "]" * 255, "nested deeper than 254, more than Inspect writes"),
        ('{"a":' * 10**5, "nested deeper than 254, more than Inspect writes"),
        ("1" * 641, "a number of more than 640 digits"),
        (f"[-{'1' * 10**6}]", "a number of more than 640 digits"),
        (f'{{"{"k" * 10**5}":' * 60, "nested 60 deep, with keys too long for that"),
    ],
)
def test_json_that_is_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_json(text.encode())


@pytest.mark.parametrize(
    "text", ['{"a": "' + "[" * 1000 + '"}', '"' + "1" * 1000 + '"', "1" * 640, "[" * 254, '"\\"[[[']
)
def test_json_that_is_not(text):
    check_json(text.encode())


def test_a_long_text_is_refused(monkeypatch):
    monkeypatch.setattr(_inspect_files, "_LONGEST_TEXT", 100)
    check_json(b'["' + b"a" * 98 + b'", "' + b"b" * 90 + b'"]')
    with pytest.raises(InputError, match="a text of more than 100 bytes"):
        check_json(b'["' + b"a" * 99 + b'"]')


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ('{"a": {"samples": [1]}, "samples": [2], "x": "y"}',
         '{"a": {"samples": [1]}, "samples": [2], '),
        ('{"a": "\\"samples\\": {", "samples" : ["b", "c"]}',
         '{"a": "\\"samples\\": {", "samples" : ['),
        ('{"samples": "' + "b" * 50 + '", "c": 1}', '{"samples": "' + "b" * 50 + '", '),
        ('{"a": "samples", "b": 1, "c": "d"}', None),
        ('{"a": ["samples", {"samples": 1}], "b": "cdef"}', None),
        ('{"a": "samples', None),
        ("", None),
        ("[1", None),
    ],
)  # fmt: skip
def test_the_head_ends_behind_the_beginning_of_the_samples(monkeypatch, text, head):
    monkeypatch.setattr(_inspect_files, "_AHEAD", 12)
    assert head_of(text.encode()).decode() == (text if head is None else head)


def test_unsound_json_is_passed_in_one_go():
    """A search from each quote of a string without an end would not end either."""
    text = b'{"a": "' + b'\\"[' * 10**6
    check_json(text)
    assert head_of(text) == text


BAD = [None, True, 10**30, math.nan, "\ud800\x00\x1b[31m", [[]], {"": None}]
PLACES = [
    "version", "status", "eval", "eval.task", "eval.model", "eval.created", "eval.task_args",
    "eval.model_args", "eval.dataset", "eval.config", "eval.config.epochs", "eval.sandbox", "plan",
    "plan.steps", "results", "results.scores", "results.completed_samples", "results.scorer",
    "results.scores[0]", "results.scores[0].name", "results.scores[0].reducer",
    "results.scores[0].scored_samples", "results.scores[0].metrics",
    "results.scores[0].metrics.accuracy", "results.scores[0].metrics.accuracy.value",
    "results.scores[0].metrics.accuracy.params", "stats", "stats.model_usage", "error", "samples",
    "samples[0]", "samples[0].id", "samples[0].epoch", "samples[0].input", "samples[0].target",
    "samples[0].output", "samples[0].output.choices", "samples[0].scores",
    "samples[0].scores.match", "samples[0].scores.match.value", "samples[0].metadata",
    "samples[0].events", "samples[0].score", "samples[0].transcript", "extra",
]  # fmt: skip


def is_untold(problems):
    """Whether Inspect is of a version that says the same of any fault in a document's head."""
    numbers = tuple(map(int, re.findall(r"\d+", version("inspect-ai"))[:3]))
    return numbers < (0, 3, 284) and problems == [("", "Unable to read log file: the log", "error")]


def assert_quiet(data, name):
    """Read a log and check what problems look like; return the rows and problems."""
    rows, answers, problems = read(data, name, samples=True)
    for place, reason, _ in problems:
        assert (place + reason).isprintable()
        assert tempfile.gettempdir() + "/" not in place + reason
        assert len(place + reason) < 600
    assert rows is not None or "error" in {severity for *_, severity in problems}
    return rows, answers, problems


@with_inspect
@pytest.mark.parametrize("place", PLACES)
def test_a_value_that_does_not_fit_never_raises(place, capfd):
    # Every other value, in turn: test_no_content_raises tries any value at any place.
    for value in [MISSING, *BAD[PLACES.index(place) % 2 :: 2]]:
        try:
            log = changed(document(), place, value)
        except KeyError:
            continue
        assert_quiet(json.dumps(log).encode(), "log.json")
        if isinstance(log.get("samples", []), list):
            assert_quiet(packed(log), "log.eval")
    assert capfd.readouterr() == ("", "")


@with_inspect
@pytest.mark.parametrize(
    ("place", "value", "where", "reason"),
    [
        ("eval.task", MISSING, "eval.task", "Field required"),
        ("eval.model", 5, "eval.model", "Input should be a valid string"),
        ("results.scores[0].name", 5, "results.scores.0.name", "Input should be a valid string"),
        ("eval.created", "then", "eval.created",
         "Value error, Invalid isoformat string: 'then'"),
    ],
)  # fmt: skip
def test_what_inspect_refuses_is_told_with_its_place(place, value, where, reason):
    for data, name in both(changed(document(), place, value)):
        rows, _, problems = read(data, name)
        assert rows is None
        told = [(where, reason, "error")]
        assert problems == told or (name == "log.json" and is_untold(problems))


@with_inspect
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "parse error: premature EOF"),
        (json.dumps(document()).encode()[:500], "parse error: premature EOF"),
        (b'{"version": 2, "status": "success", "eval": {"task": x', "expected value"),
        (b'{"version": 2, "eval": "\xff\xfe"', "lexical error"),
        (b"[]", "Unable to read version of log format."),
        (b"null", "Unable to read version of log format."),
        (b'{"version": 99}', "Unable to read version 99 of log format."),
        (b'{"version": 2}', "Must encounter a 'status'"),
        (b'{"version": 2, "status": "success", "eval": {"a": ' + b"[" * 10**5,
         "nested deeper than 254, more than Inspect writes"),
        (b'{"version": 2, "status": "success", "eval": {"a": ' + b"1" * 10**5,
         "a number of more than 640 digits"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_log_is_one_error(data, reason, capfd):
    rows, answers, problems = assert_quiet(data, "log.json")
    assert (rows, answers) == (None, [])
    ((_, got, severity),) = problems
    assert severity == "error"
    assert reason in got or is_untold(problems)
    assert capfd.readouterr() == ("", "")


@with_inspect
@given(st.dictionaries(st.sampled_from(PLACES), JSON | st.just(MISSING), max_size=3))
def test_no_content_raises(changes):
    log = document()
    for place, value in changes.items():
        try:
            log = changed(log, place, value)
        except (KeyError, TypeError, IndexError, AttributeError):
            continue
    assert_quiet(json.dumps(log).encode(), "log.json")


@with_inspect
@given(st.data())
def test_no_damage_raises(data):
    for content, name in both(document()):
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(len(damaged) // 2, len(damaged)))
        assert_quiet(bytes(damaged[:cut]), name)


@with_inspect
def test_lone_surrogates_become_question_marks():
    strange = changed(sample(1), "output.choices[0].message.content", "a\ud800b")
    rows, answers, problems = read(
        packed(changed(document(), "results.scores[0].name", "m\ud800") | {"samples": [strange]}),
        "log.eval",
        samples=True,
    )
    assert [row["variant"] for row in rows] == ["match/m?"]
    assert [row["output"] for row in answers] == ["a?b"]
    assert problems == []


@with_inspect
def test_a_byte_order_mark_is_no_fault():
    rows, _, problems = read(b"\xef\xbb\xbf" + json.dumps(document()).encode())
    assert len(rows) == 1
    assert problems == []


@with_inspect
@pytest.mark.parametrize("hostile", ["1" * 10**5, "[" * 10**5 + "]" * 10**5])
@pytest.mark.parametrize("ahead", [0, 1 << 16, 1 << 21])
def test_samples_that_would_end_the_process(hostile, ahead):
    """Inspect parses those of a JSON document in another way, but reads ahead in the first one."""
    log = document() | {"samples": [sample(1, input="x" * ahead), sample(2, store={"x": "@"})]}
    data = json.dumps(log).replace('"@"', hostile).encode()
    rows, answers, problems = assert_quiet(data, "log.json")
    assert answers == []
    assert [severity for *_, severity in problems] == ["error"]
    assert (rows is None) is (ahead <= 1 << 16)
    rows, answers, problems = assert_quiet(
        rezipped(packed(log), lambda _: True, lambda text: text.replace(b'"@"', hostile.encode())),
        "log.eval",
    )
    assert (len(rows), [row["example_id"] for row in answers]) == (1, ["1"])
    assert [(place, severity) for place, _, severity in problems] == [
        ("samples/2_epoch_1.json", "error")
    ]


@with_inspect
def test_nan_in_the_header_is_no_fault():
    """JSON has none, but Inspect writes it, and has to begin anew when it meets one."""
    log = changed(document(), "eval.metadata", {"loss": math.nan, "big": 2**70})
    for data, name in both(log):
        rows, answers, problems = read(data, name, samples=True)
        assert (len(rows), len(answers), problems) == (1, 2, [])


@with_inspect
def test_strict_raises_the_first_problem():
    for data, name in both(document() | {"status": "error"}):
        with pytest.raises(InputError, match="error: the scores are of") as caught:
            read(data, name, strict=True)
        assert caught.value.where == f"{LABEL}: status"


@with_inspect
def test_a_place_that_a_version_of_inspect_does_not_know(monkeypatch):
    from bigbench_meta.readers.formats import inspect as _inspect

    monkeypatch.setitem(_inspect._HEADER, "epochs", "eval.config.rounds")
    rows, _, problems = read(document())
    assert rows is None
    assert problems == [("eval.config.rounds", "Specified path is not valid", "error")]


@with_inspect
def test_a_file_that_inspect_takes_for_no_log(monkeypatch):
    monkeypatch.setattr(_inspect_files, "_FILE_NAME", "log")
    rows, _, problems = read(document())
    assert rows is None
    assert problems == [("", "inspect_ai does not recognise it as a log", "error")]


@with_inspect
def test_a_full_disk_is_told(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "/somewhere/private")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(_inspect_files, "_write_eval", full)
    reason = "cannot be copied for Inspect: No space left on device"
    for data, name in both(document()):
        assert read(data, name)[2] == [("", reason, "error")]


def test_what_inspect_prints_logs_and_warns_of_is_not_seen():
    code = """if True:
        import logging, warnings
        from bigbench_meta.readers.formats.inspect_files import _silence

        def speak():
            print("printed")
            warnings.warn("warned")
            logging.getLogger("inspect_ai.some.module").warning("logged")

        with _silence():
            speak()
        print("after")
        speak()
    """
    command = [sys.executable, "-W", "always", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["after", "printed"]
    assert done.stderr.count("UserWarning") == 1
    assert done.stderr.count("logged") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("Unable to read log file: file:///logs/x/log.eval"),
         "Unable to read log file: the log"),
        (OSError("/logs/x/log.eval is gone"), "inspect_ai raised OSError: the log is gone"),
        (ValueError(), "inspect_ai raised ValueError"),
        (KeyError("\n"), "inspect_ai raised KeyError: '\\n'"),
        (ValueError("\n\n first \x1b[31m\nsecond"), "first \\x1b[31m"),
        (ValueError(b"not UTF-8: \xff\nsecond"), "not UTF-8: \ufffd"),
        (ValueError("x" * 300), "x" * 197 + "..."),
    ],
)  # fmt: skip
def test_what_an_error_says_in_a_line(error, line):
    assert _inspect_files._line(error, "/logs/x/log.eval") == line


def test_reading_leaves_nothing_and_says_nothing(logs, tmp_path, monkeypatch, capfd):
    """Inspect keeps caches and traces in the home folder; reading must not make them."""
    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = list(logging.getLogger("inspect_ai").handlers)
    for path in logs.values():
        read(path.read_bytes(), path.name, samples=True)
    read(REFUSED["damaged"][0], "log.eval", samples=True)
    assert list(tmp_path.rglob("*")) == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("inspect_ai").handlers == before


def test_a_log_can_be_read_where_an_event_loop_runs(logs):
    """As in a notebook."""

    async def go():
        return read(logs["sums", "eval"].read_bytes(), "log.eval", samples=True)

    rows, answers, _ = asyncio.run(go())
    assert (len(rows), len(answers)) == (1, 6)
