"""Transformers that add and multiply: the questions, and models trained on few steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("equinox", reason="needs the extra train")
pytest.importorskip("optax", reason="needs the extra train")

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.lm_eval_tasks import MULTIPLICATION
from bigbench_meta.generate.trained import arithmetic
from bigbench_meta.generate.trained.arithmetic import Questions, is_held_out
from bigbench_meta.generate.trained.plan import Profile, Unit

pytestmark = pytest.mark.full


def test_a_fifth_of_the_unordered_pairs_is_held_out():
    first, second = (axis.ravel() for axis in np.indices((100, 100)))
    held_out = is_held_out(first, second, MULTIPLICATION)
    assert np.array_equal(held_out, is_held_out(second, first, MULTIPLICATION))
    assert abs(held_out.mean() - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 5050)
    # Of products of one digit, all held-out pairs are asked.
    short = held_out[first * second < 10].sum()
    asked = arithmetic._test_questions("multiplication", 1000)
    assert sum(answer < 10 for answer in asked.answers) == short


@pytest.mark.parametrize("family", arithmetic.FAMILIES)
def test_no_question_is_trained_on(family):
    operation = arithmetic._OPERATIONS[family]
    asked = arithmetic._test_questions(family, 300)
    assert len({*zip(asked.first.tolist(), asked.second.tolist(), strict=True)}) == len(asked)
    assert is_held_out(asked.first, asked.second, operation).all()
    assert {len(text) for text in asked.texts} == set(operation.lengths)
    drawn = arithmetic._random_questions(family, 5000, np.random.default_rng(0), held_out=False)
    assert len(drawn) == 5000
    assert not is_held_out(drawn.first, drawn.second, operation).any()
    assert max(drawn.first.max(), drawn.second.max()) < 10**operation.digits


def test_tokens():
    questions = Questions("addition", np.array([12, 9999]), np.array([7, 1]))
    plus, equals, end, pad = 10, 11, 12, 13
    assert questions.tokens.tolist() == [
        [0, 0, 1, 2, plus, 0, 0, 0, 7, equals, 1, 9, end, pad, pad, pad],
        [9, 9, 9, 9, plus, 0, 0, 0, 1, equals, 1, 0, 0, 0, 0, end],
    ]


def _unit(**more):
    profile = Profile(sizes=(8,), seeds=1, steps=300, batch=64, examples=50)
    return Unit(study="arithmetic", family="addition", size=8, seed=3, profile=profile, **more)


@pytest.fixture(scope="module")
def trained():
    return arithmetic.train(_unit())


def test_parameters_and_compute(trained):
    (row,) = trained.samples.slice(0, 1).to_pylist()
    # 12 w^2 a layer; 14 tokens in and out, 16 places, and five norms of width w.
    assert row["total_params"] == 24 * 64 + (14 + 14 + 16 + 5) * 8
    assert row["non_embedding_params"] == 24 * 64 + (14 + 5) * 8
    assert row["train_tokens"] == 300 * 64 * 15
    assert row["train_flops"] == 6 * row["non_embedding_params"] * row["train_tokens"]


def test_outputs_fit_together(trained):
    rows = trained.samples.to_pylist()
    greedy = [row for row in rows if row["variant"] == "greedy"]
    sampled = [row for row in rows if row["variant"] == "temperature 1"]
    assert [row["example_id"] for row in greedy] == [row["example_id"] for row in sampled]
    for row in greedy:
        metrics = dict(row["metrics"])
        answer = row["targets"][0]
        a, b = row["example_id"].split(" + ")
        assert answer == str(int(a) + int(b))
        assert row["subtask"] == f"4-digit addition: length {len(answer)}"
        logs = [metrics[f"logprob_{place}"] for place in range(1, len(answer) + 2)]
        assert row["target_logprobs"] == pytest.approx([math.fsum(logs)], abs=1e-5)
        assert metrics["cross_entropy"] == pytest.approx(-math.fsum(logs) / len(logs), abs=1e-6)
        forced = [metrics[f"teacher_forced_{place}"] for place in range(1, len(answer) + 2)]
        # Greedy answers are right just where every token is the likeliest after the right ones.
        assert all(forced) == (row["output"] == answer)


def test_training_lowers_the_loss(trained):
    losses = [row["score"] for row in trained.checkpoints if row["metric"] == "cross_entropy"]
    assert losses[-1] < losses[0] < math.log(14) + 1
    assert losses[-1] == trained.samples["pretraining_loss"][0].as_py()


def test_a_seed_gives_the_same_outputs(trained):
    assert arithmetic.train(_unit()).samples.equals(trained.samples)


def test_it_takes_no_data():
    with pytest.raises(InputError, match="takes no data"):
        arithmetic.describe("pictures.zip")
