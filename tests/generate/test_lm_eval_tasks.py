"""Task files for lm-evaluation-harness: against full enumeration, and run by the real harness."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from completions_server import arithmetic_server
from helpers import run, run_json
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.lm_eval_tasks import (
    ADDITION,
    GROUP,
    MAX_QUESTIONS,
    MULTIPLICATION,
    SHOTS,
    Stratum,
    draw_questions,
    draw_shots,
    lm_eval_tasks,
)

OPERATIONS = [MULTIPLICATION, ADDITION]
SMALL = [replace(operation, digits=digits) for operation in OPERATIONS for digits in (1, 2)]
seeds = st.integers(0, 2**40)


def every_pair(operation, length):
    """All ordered pairs with an answer of the length, one by one."""
    operands = range(10**operation.digits)
    return [
        pair for pair in product(operands, repeat=2) if len(str(operation.apply(*pair))) == length
    ]


def unordered(pairs):
    return {frozenset(pair) for pair in pairs}


def questions_of(tasks, task):
    return [json.loads(line) for line in tasks.files[f"{task}.jsonl"].splitlines()]


# --- The population ---


@pytest.mark.parametrize("operation", SMALL, ids=lambda o: f"{o.digits}-digit {o.name}")
def test_strata_against_enumeration(operation):
    n_pairs = 0
    for length in operation.lengths:
        stratum, pairs = Stratum(operation, length), every_pair(operation, length)
        assert stratum.pairs(range(stratum.n_pairs)) == pairs
        assert stratum.n_unordered_pairs == len(unordered(pairs))
        n_pairs += stratum.n_pairs
    assert n_pairs == 10 ** (2 * operation.digits)
    assert Stratum(operation, operation.lengths[-1] + 1).n_pairs == 0


def test_sizes_of_the_populations():
    """The sizes that issue and docs state are those of ordered pairs."""
    products = [Stratum(MULTIPLICATION, length) for length in range(1, 6)]
    assert [s.n_pairs for s in products] == [222, 450, 2718, 6610, 0]
    assert [s.n_unordered_pairs for s in products] == [113, 228, 1370, 3339, 0]
    assert [len(every_pair(MULTIPLICATION, length)) for length in range(1, 6)] == [
        222, 450, 2718, 6610, 0,
    ]  # fmt: skip
    sums = [Stratum(ADDITION, length) for length in range(1, 6)]
    assert [s.n_pairs for s in sums] == [55, 4995, 495450, 49504500, 49995000]
    assert [s.n_unordered_pairs for s in sums] == [30, 2520, 247950, 24754500, 25000000]
    # So many pairs have each sum, and of these so many have equal operands.
    ways = np.convolve(np.ones(10**4, np.int64), np.ones(10**4, np.int64))
    equal = np.arange(len(ways)) % 2 == 0
    lengths = np.char.str_len(np.arange(len(ways)).astype(str))
    assert [ways[lengths == s.length].sum() for s in sums] == [s.n_pairs for s in sums]
    assert [(ways + equal)[lengths == s.length].sum() // 2 for s in sums] == [
        s.n_unordered_pairs for s in sums
    ]


@given(operation=st.sampled_from(OPERATIONS), length=st.integers(1, 5), share=st.floats(0, 1))
def test_pairs_of_a_large_stratum(operation, length, share):
    stratum = Stratum(operation, length)
    if not stratum.n_pairs:
        return
    place = min(int(share * stratum.n_pairs), stratum.n_pairs - 1)
    around = range(max(place - 1, 0), min(place + 2, stratum.n_pairs))
    pairs = stratum.pairs(around)
    assert pairs == sorted(set(pairs))
    for pair in pairs:
        assert pair in stratum
        assert all(0 <= operand < 10**operation.digits for operand in pair)


# --- The draw ---


@given(operation=st.sampled_from(OPERATIONS + SMALL), seed=seeds)
def test_shots(operation, seed):
    shots = draw_shots(operation, seed=seed)
    assert shots == draw_shots(operation, seed=seed)
    assert len(unordered(shots)) == len(shots) == SHOTS
    assert all(0 <= operand < 10**operation.digits for pair in shots for operand in pair)


@given(operation=st.sampled_from(SMALL), seed=seeds, n=st.integers(1, 9000))
def test_questions_against_enumeration(operation, seed, n):
    shots = unordered(draw_shots(operation, seed=seed))
    for length in operation.lengths:
        held_out = [p for p in every_pair(operation, length) if frozenset(p) not in shots]
        drawn = draw_questions(Stratum(operation, length), n=n, seed=seed)
        assert len(set(drawn)) == len(drawn) == min(n, len(held_out))
        assert set(drawn) <= set(held_out)


@given(seed=seeds, n=st.integers(1, 1500))
def test_no_pair_is_on_both_sides(seed, n):
    tasks = lm_eval_tasks(n=n, seed=seed)
    shots = {op.name: unordered(draw_shots(op, seed=seed)) for op in OPERATIONS}
    for size in tasks.sizes:
        questions = questions_of(tasks, size.task)
        asked = [tuple(question["operands"]) for question in questions]
        assert not unordered(asked) & shots[size.operation]
        assert len(set(asked)) == len(asked) == size.n_questions == min(n, size.n_held_out)
        assert {question["length"] for question in questions} == {size.length}
        assert 0 <= size.n_pairs - size.n_held_out <= 2 * SHOTS


def test_questions_are_a_simple_random_sample():
    """Each pair is drawn equally often, and as often at the first place."""
    stratum, n, n_seeds = Stratum(MULTIPLICATION, 1), 20, 3000
    anywhere, first = np.zeros((100, 100)), np.zeros((100, 100))
    for seed in range(n_seeds):
        drawn = draw_questions(stratum, n=n, seed=seed)
        np.add.at(anywhere, tuple(zip(*drawn, strict=True)), 1)
        first[drawn[0]] += 1
    at = tuple(zip(*stratum.pairs(range(stratum.n_pairs)), strict=True))
    for counts, share in ((anywhere[at], n / stratum.n_pairs), (first[at], 1 / stratum.n_pairs)):
        mean, variance = n_seeds * share, n_seeds * share * (1 - share)
        chi_square = ((counts - mean) ** 2).sum() / variance
        # 221 degrees of freedom, five standard deviations.
        assert abs(chi_square - 221) < 5 * np.sqrt(2 * 221)


def test_seeds():
    assert lm_eval_tasks(n=50, seed=3) == lm_eval_tasks(n=50, seed=3)
    one, other = lm_eval_tasks(n=50, seed=3).files, lm_eval_tasks(n=50, seed=4).files
    differ = {name for name in one if one[name] != other[name]}
    same = {f"{GROUP}.yaml", "questions.py", *(f"{op.group}.yaml" for op in OPERATIONS)}
    assert differ == one.keys() - same


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: 0 is not a whole number of at least 1"),
        ({"n": 1.5}, "n: 1.5 is not a whole number"),
        ({"n": MAX_QUESTIONS + 1}, "n: 100001 questions are more than 100,000"),
        ({"seed": -1}, "seed: -1 is not a whole number of at least 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        lm_eval_tasks(**options)


# --- The files ---


def test_files():
    tasks = lm_eval_tasks(n=300)
    names = [size.task for size in tasks.sizes]
    assert len(names) == 9
    assert tasks.files.keys() == {
        "README.md", "questions.py", f"{GROUP}.yaml", *(f"{op.group}.yaml" for op in OPERATIONS),
        *(f"{name}.{end}" for name in names for end in ("yaml", "jsonl")),
    }  # fmt: skip
    for size in tasks.sizes:
        questions = questions_of(tasks, size.task)
        operation = next(op for op in OPERATIONS if op.name == size.operation)
        assert len({question["id"] for question in questions}) == size.n_questions
        for question in questions:
            a, b = question["operands"]
            assert question == {
                "id": f"{a} {operation.word} {b}",
                "operands": [a, b],
                "length": size.length,
                "answer": str(operation.apply(a, b)),
            }
        row = next(
            line for line in tasks.files["README.md"].splitlines() if f"| {size.task} |" in line
        )
        counts = [int(cell.replace(",", "")) for cell in re.findall(r" ([\d,]+) \|", row)]
        assert counts == [size.n_unordered_pairs, size.n_pairs, size.n_held_out, size.n_questions]
        assert row.endswith("| all |") == (size.n_questions == size.n_held_out)
    assert "--n 300 --seed 0" in tasks.files["README.md"]


# --- With the real harness ---

SKIP = importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("aiohttp") is None
with_harness = pytest.mark.skipif(SKIP, reason="needs lm-eval[api]")
N = 40
ERROR_RATE = 0.25


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A folder of tasks that was written elsewhere, and the tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    written, moved = folder / "written", folder / "moved"
    run("generate", "lm-eval-tasks", "--out", written, "--n", N)
    return shutil.move(written, moved), lm_eval_tasks(n=N)


def run_harness(arguments, folder):
    """Run lm_eval without a network, from a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def prompts(tasks, size):
    """The prompts of a task, as the README shows one."""
    readme = tasks.files["README.md"]
    if size.operation == "multiplication":
        shown = re.search(r"```text\n(.*?)\n```", readme, re.DOTALL)[1]
        assert shown.endswith("Q: What is 3 times 4?\nA:")
        before = shown.removesuffix("Q: What is 3 times 4?\nA:")
    else:
        before = "".join(
            f"Q: What is {a} plus {b}?\nA: {a + b}\n\n" for a, b in draw_shots(ADDITION)
        )
    return [f"{before}Q: What is {q['id']}?\nA:" for q in questions_of(tasks, size.task)]


def logged(results, task):
    (path,) = results.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.full
@with_harness
def test_dummy_model(moved, tmp_path):
    """From another folder, every task loads and asks what its file says, in the prompt promised."""
    folder, tasks = moved
    out = tmp_path / "results"
    run_harness(
        ["--include_path", folder, "--tasks", GROUP, "--model", "dummy", "--log_samples",
         "--output_path", out],
        tmp_path,
    )  # fmt: skip
    (results,) = out.rglob("results_*.json")
    document = json.loads(results.read_text())
    assert document["group_subtasks"][GROUP] == [op.group for op in OPERATIONS]
    for size in tasks.sizes:
        config = document["configs"][size.task]
        assert config["metadata"]["version"] == 1.0
        assert config["metadata"]["n_held_out"] == size.n_held_out
        assert document["n-shot"][size.task] == SHOTS
        assert document["n-samples"][size.task]["effective"] == size.n_questions
        log = logged(out, size.task)
        assert [line["doc"] for line in log] == questions_of(tasks, size.task)
        assert [line["arguments"]["gen_args_0"]["arg_0"] for line in log] == prompts(tasks, size)
    observations, problems = bm.read_results(out)
    # A model of this name has no size.
    assert problems["field"].tolist() == ["total_params"]
    assert (observations["score"] == 0).all()
    assert len(observations) == len(tasks.sizes) + len(OPERATIONS)


@pytest.mark.full
@with_harness
def test_completions_endpoint(moved, tmp_path):
    """The README's command for endpoints, a model that errs by design, and what is read of it."""
    folder, tasks = moved
    block = tasks.files["README.md"].replace("\\\n", " ")
    (command,) = re.findall(r"^lm_eval .*local-completions.*$", block, re.MULTILINE)
    with arithmetic_server({"toy-70m": ERROR_RATE}) as server:
        command = command.replace("NAME", "toy-70m").replace("$URL", server.url)
        _, *arguments = shlex.split(command)
        run_harness([tmp_path / "results" if a == "results" else a for a in arguments], folder)
    n_questions = sum(size.n_questions for size in tasks.sizes)
    assert len(server.requests) == n_questions
    for asked in server.requests:
        assert asked["model"] == "toy-70m"
        assert (asked["temperature"], asked["max_tokens"]) == (0, 16)
        assert "\n" in asked["stop"]

    store_path = tmp_path / "store"
    found = run_json("ingest", tmp_path / "results", "--store", store_path, "--samples")
    assert found["problems"] == []
    assert (found["samples"], found["failed"]) == (n_questions, 0)

    store = bm.Store(store_path)
    samples = store.samples()
    right = {}
    for size in tasks.sizes:
        own = samples[samples["subtask"] == size.task]
        questions = questions_of(tasks, size.task)
        own = own.sort_values("example_id", key=lambda ids: ids.astype(int))
        assert own["example_id"].tolist() == [str(place) for place in range(size.n_questions)]
        assert [list(targets) for targets in own["targets"]] == [[q["answer"]] for q in questions]
        word = {"multiplication": "times", "addition": "plus"}[size.operation]
        answers = [
            server.answer("toy-70m", question["operands"][0], word, question["operands"][1])
            for question in questions
        ]
        assert own["output"].tolist() == answers
        right[size.task] = [a == q["answer"] for a, q in zip(answers, questions, strict=True)]
        assert own["correct"].tolist() == right[size.task]
    for operation in OPERATIONS:
        right[operation.group] = [
            one for size in tasks.sizes if size.group == operation.group for one in right[size.task]
        ]
    wrong = n_questions - sum(sum(right[size.task]) for size in tasks.sizes)
    # An answer is wrong if a digit is.
    share = np.array(
        [1 - (1 - ERROR_RATE) ** size.length for size in tasks.sizes for _ in right[size.task]]
    )
    assert abs(wrong - share.sum()) < 5 * np.sqrt((share * (1 - share)).sum())

    observations = store.observations()
    assert sorted(observations["subtask"]) == sorted(right)
    for row in observations.to_dict("records"):
        expected = right[row["subtask"]]
        assert row["n_examples"] == len(expected)
        assert row["score"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert (row["metric"], row["shots"], row["total_params"]) == ("exact_match", SHOTS, 70e6)
        assert row["task"] in {op.group for op in OPERATIONS}
    read, problems = bm.read_results(tmp_path / "results")
    assert problems.empty
    assert sorted(read["score"]) == sorted(observations["score"])
