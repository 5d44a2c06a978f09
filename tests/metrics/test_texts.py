"""Metrics of texts against the textbook, and their properties."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import levenshtein

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.metrics import texts

TEXT = st.text(st.sampled_from("ab1 2é\n𝔘."), max_size=8)
EXAMPLES = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3)), max_size=6)
SPLIT = {"characters": list, "words": str.split, "digits": lambda t: re.findall("[0-9]", t)}


def flat(examples):
    outputs = [output for output, _ in examples]
    targets = [target for _, answers in examples for target in answers]
    lengths = np.array([len(answers) for _, answers in examples], dtype=np.int64)
    return outputs, targets, Ragged.of_lengths(lengths)


def best(examples, score, pick):
    return [pick(map(score, [o] * len(t), t)) if t else np.nan for o, t in examples]


@given(examples=EXAMPLES)
def test_matches_are_loops_over_answers(examples):
    np.testing.assert_array_equal(
        texts.exact_str_match(*flat(examples)),
        best(examples, lambda o, t: float(o == t), max),
    )
    np.testing.assert_array_equal(
        texts.case_insensitive_str_match(*flat(examples)),
        best(examples, lambda o, t: float(o.strip().lower() == t.strip().lower()), max),
    )


@pytest.mark.parametrize("tokens", SPLIT)
@given(examples=EXAMPLES)
def test_edit_distance_is_the_textbooks(tokens, examples):
    split = SPLIT[tokens]

    def distance(output, target):
        return levenshtein(tuple(split(output)), tuple(split(target)))

    def share(output, target):
        return distance(output, target) / max(len(split(output)), len(split(target)), 1)

    found = texts.token_edit_distance(*flat(examples), tokens=tokens)
    np.testing.assert_array_equal(found, best(examples, distance, min))
    found = texts.normalised_edit_distance(*flat(examples), tokens=tokens)
    np.testing.assert_allclose(found, best(examples, share, min), rtol=1e-12)
    assert np.all((found >= 0) & (found <= 1) | np.isnan(found))


@pytest.mark.parametrize("tokens", SPLIT)
@given(examples=EXAMPLES)
def test_per_token_accuracy_is_a_loop_over_places(tokens, examples):
    split = SPLIT[tokens]

    def accuracy(output, target):
        given, right = split(output), split(target)
        if not right:
            return np.nan
        hits = [i < len(given) and given[i] == token for i, token in enumerate(right)]
        return sum(hits) / len(right)

    expected = best(examples, accuracy, lambda scores: np.fmax.reduce(list(scores)))
    found = texts.per_token_accuracy(*flat(examples), tokens=tokens)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(examples=EXAMPLES)
def test_a_tokenizer_of_ones_own(examples):
    own = texts.token_edit_distance(*flat(examples), tokens=lambda text: text.split(" "))
    named = texts.token_edit_distance(
        [o.replace(" ", "\0") for o in flat(examples)[0]],
        [t.replace(" ", "\0") for t in flat(examples)[1]],
        flat(examples)[2],
        tokens=lambda text: text.split("\0"),
    )
    np.testing.assert_array_equal(own, named)


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        ("95", "100", 1), ("89.9", "100", 0), ("110", "100", 1), ("-95", "100", 0),
        ("0.05", "0", 1), ("0.2", "0", 0), ("x", "1", 0), ("1", "x", 0), ("nan", "1", 0),
        ("1e2", "100", 1), (" 100 ", "100", 1),
        # BIG-bench divides by the answer itself: there, everything matches a negative one.
        ("-95", "-100", 1), ("50", "-100", 0),
    ],
)  # fmt: skip
def test_numbers_near_the_answer_match(output, target, expected):
    assert texts.numeric_match([output], [target], Ragged.of_lengths(np.array([1]))) == expected


def test_unknown_names_are_refused():
    one = ["a"], ["a"], Ragged.of_lengths(np.array([1]))
    with pytest.raises(InputError, match="tokens: 'bytes' is none of words, characters, digits"):
        texts.token_edit_distance(*one, tokens="bytes")
    with pytest.raises(InputError, match="kind: 'rouge9' is none of"):
        texts.rouge(*one, kind="rouge9")


CORPUS = [
    ("the cat sat on the mat", ["the cat sat on the mat", "a cat was on the mat"]),
    ("a dog", ["the dog ran away quickly"]),
    ("", ["nothing at all"]),
    ("It is 3.5 km, isn't it?", ["It is 3.5 km , is it not ?"]),
    ("x y z w v", ["x y q w v . and more . of it"]),
]


def test_bleu_of_the_sums_is_that_of_the_corpus():
    """Against sacreBLEU, called as BIG-bench's evaluator calls it."""
    sacrebleu = pytest.importorskip("sacrebleu")
    outputs, targets, answers = flat(CORPUS)
    found = texts.bleu(texts.bleu_statistics(outputs, targets, answers).sum(axis=0))
    references = [[t[0] for _, t in CORPUS], [t[-1] for _, t in CORPUS]]
    whole = sacrebleu.corpus_bleu(
        outputs, references, smooth_method="exp", force=False, lowercase=False, tokenize="intl",
        use_effective_order=False,
    )  # fmt: skip
    assert found == pytest.approx(whole.score, rel=1e-12)


@given(
    counts=st.lists(st.integers(0, 30), min_size=4, max_size=4),
    matches=st.lists(st.integers(0, 30), min_size=4, max_size=4),
    reference=st.integers(1, 40),
)
def test_bleu_is_sacrebleus_formula(counts, matches, reference):
    metrics = pytest.importorskip("sacrebleu.metrics")
    counts = sorted(counts, reverse=True)
    matches = np.minimum.accumulate(np.minimum(counts, matches)).tolist()
    theirs = metrics.BLEU.compute_bleu(
        correct=matches, total=counts, sys_len=counts[0], ref_len=reference, smooth_method="exp"
    )
    found = texts.bleu(np.array([*matches, *counts, counts[0], reference], dtype=float))
    assert found == pytest.approx(theirs.score, rel=1e-9, abs=1e-12)


def test_rouge_is_the_packages():
    scoring = pytest.importorskip("rouge_score.rouge_scorer")
    for kind in ("rouge1", "rouge2", "rougeLsum"):
        scorer = scoring.RougeScorer([kind])
        expected = best(
            CORPUS,
            lambda o, t, s=scorer, k=kind: 100 * s.score(
                t.replace(" . ", " .\n"), o.replace(" . ", " .\n"))[k].fmeasure,
            max,
        )  # fmt: skip
        np.testing.assert_allclose(texts.rouge(*flat(CORPUS), kind=kind), expected)
