"""ROUGE-L-Sum: our vectorised version against a naive one and the rouge-score package."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate import rouge as _rouge
from bigbench_meta.generate.rouge import lcs_mask, rouge_l_sum, sample_rouge_l_sum


@st.composite
def token_texts(draw, *, most_lines=3):
    """A reference text and an output: lines of tokens, those of a text of one length."""
    alphabet = st.integers(0, draw(st.integers(0, 4)))
    texts = []
    for _ in range(2):
        lines, length = draw(st.integers(1, most_lines)), draw(st.integers(1, 7))
        line = st.lists(alphabet, min_size=length, max_size=length)
        texts.append(draw(st.lists(line, min_size=lines, max_size=lines)))
    return tuple(texts)


def is_subsequence(some, other):
    rest = iter(other)
    return all(token in rest for token in some)


def longest_by_trial(some, other):
    """Length of the longest of all subsequences of one line that the other has."""
    return next(
        size
        for size in range(len(some), -1, -1)
        if any(is_subsequence(part, other) for part in combinations(some, size))
    )


def naive_positions(some, other):
    """Positions in the first line of one LCS: read from the end, on ties the first gives way."""

    @cache
    def longest(i, j):
        if not i or not j:
            return 0
        if some[i - 1] == other[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    def read(i, j):
        if not i or not j:
            return set()
        if some[i - 1] == other[j - 1]:
            return read(i - 1, j - 1) | {i - 1}
        if longest(i, j - 1) > longest(i - 1, j):
            return read(i, j - 1)
        return read(i - 1, j)

    return read(len(some), len(other))


def naive_rouge(references, outputs):
    """Lin (2004), section 3.2; a token of the output is used up by a match."""
    left = [token for line in outputs for token in line]
    n_output, n_reference = len(left), sum(map(len, references))
    hits = 0
    for line in references:
        union = set().union(*(naive_positions(tuple(line), tuple(other)) for other in outputs))
        for place in sorted(union):
            if line[place] in left:
                left.remove(line[place])
                hits += 1
    recall, precision = hits / n_reference, hits / n_output
    total = recall + precision
    return recall, precision, 2 * recall * precision / total if total else 0.0


def scores_of(references, outputs):
    scores = rouge_l_sum([references], [outputs])
    return float(scores.recall[0]), float(scores.precision[0]), float(scores.fmeasure[0])


# --- Longest common subsequence ---


@given(token_texts(most_lines=1))
def test_lcs_is_a_longest_common_subsequence(texts):
    (reference,), (output,) = texts
    mask = lcs_mask([reference], [output])[0]
    chosen = [token for token, ok in zip(reference, mask, strict=True) if ok]
    assert is_subsequence(chosen, output)
    assert len(chosen) == longest_by_trial(reference, output)
    assert set(np.flatnonzero(mask)) == naive_positions(tuple(reference), tuple(output))


def test_lcs_of_a_batch_does_not_depend_on_the_block(monkeypatch):
    rng = np.random.default_rng(0)
    some, other = rng.integers(4, size=(50, 9)), rng.integers(4, size=(50, 7))
    whole = lcs_mask(some, other)
    assert whole.tolist() == [
        lcs_mask([a], [b])[0].tolist() for a, b in zip(some, other, strict=True)
    ]
    monkeypatch.setattr(_rouge, "_BLOCK", 300)
    assert lcs_mask(some, other).tolist() == whole.tolist()


# --- ROUGE-L-Sum ---


def test_the_papers_example():
    """App. A.4: w1 ... w5 and two references have a union of four tokens, w1 w2 w3 w5."""
    references = [[1, 2, 6, 7, 8], [1, 3, 8, 9, 5]]
    assert scores_of(references, [[1, 2, 3, 4, 5]]) == pytest.approx((4 / 10, 4 / 5, 8 / 15))
    # Lin's own example is the same with the roles exchanged.
    assert scores_of([[1, 2, 3, 4, 5]], references)[:2] == pytest.approx((4 / 5, 4 / 10))


@given(token_texts())
def test_rouge_is_the_naive_one(texts):
    assert scores_of(*texts) == pytest.approx(naive_rouge(*texts), rel=1e-12)


@given(token_texts(most_lines=4))
def test_rouge_is_that_of_the_package(texts):
    scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="needs rouge-score")
    target, prediction = (
        "\n".join(" ".join(f"w{token}" for token in line) for line in text) for text in texts
    )
    theirs = scorer.RougeScorer(["rougeLsum"]).score(target, prediction)["rougeLsum"]
    assert scores_of(*texts) == pytest.approx(
        (theirs.recall, theirs.precision, theirs.fmeasure), rel=1e-12
    )


@given(st.lists(token_texts(), min_size=1, max_size=4))
def test_examples_do_not_mix(batch):
    """Examples of one shape, scored together."""
    shapes = {tuple(np.shape(text) for text in texts) for texts in batch}
    for shape in shapes:
        same = [t for t in batch if tuple(np.shape(text) for text in t) == shape]
        scores = rouge_l_sum([some for some, _ in same], [other for _, other in same])
        expected = [naive_rouge(*texts) for texts in same]
        found = zip(scores.recall, scores.precision, scores.fmeasure, strict=True)
        assert [pytest.approx(row, rel=1e-12) for row in expected] == [tuple(row) for row in found]


def test_a_token_counts_as_often_as_it_stands_in_the_output():
    assert scores_of([[1, 1, 1], [1, 1, 1]], [[1, 1]]) == pytest.approx((2 / 6, 1.0, 0.5))


# --- Simulation ---


def largest_of_binomials(n, p, m):
    """Mean of the largest of m binomial counts, as the sum of P(largest >= k)."""
    below = np.cumsum([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n)])
    return sum(1 - value**m for value in below)


@pytest.mark.parametrize("loss", [0.05, 0.5, 2.0])
@pytest.mark.parametrize(("length", "m"), [(4, 1), (4, 4), (20, 7)])
def test_draws_have_the_expectations_of_distinct_tokens(loss, length, m):
    """With a vocabulary so large that wrong tokens agree with nothing; z-tests at 4.5."""
    n, p = 3000, math.exp(-loss)
    draws = sample_rouge_l_sum(
        loss, target_length=length, n_references=m, n_examples=n, vocabulary=10**12, seed=5
    )
    expected = {
        "union": 200 * (1 - (1 - p) ** m) / (m + 1),
        "best": 100 * largest_of_binomials(length, p, m) / length,
    }
    for name, value in expected.items():
        scores = getattr(draws, name)
        # A few tokens more than expected, where next to none are.
        few = 100 * 5 / (n * length)
        assert abs(scores.mean() - value) < 4.5 * scores.std() / math.sqrt(n) + few


@pytest.mark.parametrize("vocabulary", [2, 5, 50_257])
def test_scores_are_those_of_the_tokens(vocabulary):
    draws = sample_rouge_l_sum(
        0.6, target_length=6, n_references=3, n_examples=25, vocabulary=vocabulary, seed=1
    )
    for place in range(25):
        references, output = draws.references[place].tolist(), [draws.output[place].tolist()]
        assert draws.union[place] == pytest.approx(100 * naive_rouge(references, output)[2])
        best = max(naive_rouge([reference], output)[2] for reference in references)
        assert draws.best[place] == pytest.approx(100 * best)


def test_per_token_error():
    """The output's token stands in a reference with probability p, whatever the vocabulary."""
    draws = sample_rouge_l_sum(
        0.4, target_length=10, n_references=2, n_examples=4000, vocabulary=3, seed=2
    )
    agrees = draws.references == draws.output[:, None]
    p = math.exp(-0.4)
    assert abs(agrees.mean() - p) < 4.5 * math.sqrt(p * (1 - p) / agrees.size)


def test_with_one_seed_a_smaller_loss_only_mends():
    def agreement(loss):
        draws = sample_rouge_l_sum(loss, target_length=8, n_references=2, n_examples=40, seed=3)
        return draws.references == draws.output[:, None]

    for small, large in ((0.1, 0.2), (0.2, 1.0), (0.0, 9.0)):
        assert (agreement(small) >= agreement(large)).all()


@pytest.mark.parametrize(("loss", "best"), [(0.0, 100.0), (math.inf, 0.0)])
def test_draws_of_certain_tokens(loss, best):
    draws = sample_rouge_l_sum(
        loss, target_length=3, n_references=4, n_examples=30, vocabulary=10**12
    )
    assert set(draws.best) == {best}
    assert draws.union == pytest.approx(best * 2 / 5)


def test_draws_depend_on_the_seed_alone():
    def draw(seed, n=30):
        draws = sample_rouge_l_sum(0.7, target_length=5, n_references=2, n_examples=n, seed=seed)
        return draws.references.tolist(), draws.best.tolist()

    assert draw(4) == draw(4) == draw(np.random.default_rng(4)) != draw(5)
    assert draw(4, n=10)[0] == draw(4)[0][:10]


# --- What cannot be ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lcs_mask([1, 2], [1, 2]), r"shapes \(2,\) and \(2,\), not \(n, r\)"),
        (lambda: lcs_mask([[1]], [[1], [2]]), r"shapes \(1, 1\) and \(2, 1\)"),
        (lambda: rouge_l_sum([[1]], [[[1]]]), r"shapes \(1, 1\) and \(1, 1, 1\)"),
        (lambda: rouge_l_sum([[[]]], [[[1]]]), "a text without tokens"),
        (lambda: rouge_l_sum([[[1]]], np.zeros((1, 0, 3))), "a text without tokens"),
        (
            lambda: sample_rouge_l_sum(0.1, target_length=0, n_references=1, n_examples=1),
            "target_length: 0 is not a whole number",
        ),
        (
            lambda: sample_rouge_l_sum(
                0.1, target_length=1, n_references=1, n_examples=1, vocabulary=1
            ),
            "vocabulary: 1 is not a whole number of at least 2",
        ),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(InputError, match=message):
        call()
