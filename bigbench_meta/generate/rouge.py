"""ROUGE-L-Sum of token numbers, vectorised over examples, and its simulation.

The summary-level ROUGE-L of Lin (2004), section 3.2: for each line of the reference text, the union
of its longest common subsequences (LCS) with every line of the output; a token counts at most as
often as it stands in the output (so in the ROUGE 1.5.5 script and its ports). An LCS is not unique
and a union depends on the choice; as in those, one is read from the end of the table, and where the
last tokens differ and both ways are as long, the reference gives way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import checked_loss, whole
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Tokens = NDArray[np.integer]

__all__ = ["DEFAULT_VOCABULARY", "RougeDraws", "RougeScores", "lcs_mask", "rouge_l_sum",
           "sample_rouge_l_sum"]  # fmt: skip

DEFAULT_VOCABULARY: Final = 50_257
"""Tokens of the byte-pair vocabulary of GPT-2 and GPT-3 (Radford et al. 2019, sec. 2.3)."""

# Entries of the tables of one block, two bytes each.
_BLOCK: Final = 1 << 22


@dataclass(frozen=True, kw_only=True)
class RougeScores:
    """ROUGE-L-Sum of each example.

    Attributes:
        recall: Share of the reference text's tokens that the output has, in [0, 1], shape (n,).
        precision: Share of the output's tokens that the reference text has, in [0, 1], shape (n,).
        fmeasure: Their harmonic mean, 0 where both are 0; this is what harnesses print, often times
            100.
    """

    recall: Floats
    precision: Floats
    fmeasure: Floats


@dataclass(frozen=True, kw_only=True)
class RougeDraws:
    """Outputs, their references, and their scores.

    Attributes:
        output: Token numbers, shape (n, length).
        references: Token numbers, shape (n, references, length).
        union: ROUGE-L-Sum against all references as the lines of one text, in 0..100, shape (n,).
        best: The highest ROUGE-L-Sum against one reference, in 0..100, shape (n,).
    """

    output: Ints
    references: Ints
    union: Floats
    best: Floats


def lcs_mask(reference: ArrayLike, output: ArrayLike) -> Bools:
    """Return which reference tokens belong to a longest common subsequence with the output.

    Args:
        reference: Token numbers, shape (n, r).
        output: Token numbers, shape (n, s).

    Returns:
        Shape (n, r); the number of true entries of a row is the length of the LCS.

    Raises:
        InputError: The shapes do not go together.

    References:
        Lin (2004), "ROUGE: A Package for Automatic Evaluation of Summaries", W04-1013, sec. 3.

    Examples:
        >>> lcs_mask([[1, 2, 3, 4]], [[9, 2, 1, 4]])
        array([[ True, False, False,  True]])
    """
    some, other = np.asarray(reference), np.asarray(output)
    if some.ndim != 2 or other.ndim != 2 or len(some) != len(other):
        raise InputError(f"shapes {some.shape} and {other.shape}, not (n, r) and (n, s)",
                         where="reference, output")  # fmt: skip
    mask = np.zeros(some.shape, dtype=bool)
    rows = max(1, _BLOCK // ((some.shape[1] + 1) * (other.shape[1] + 1)))
    for start in range(0, len(some), rows):
        block = slice(start, start + rows)
        mask[block] = _read_back(_lcs_table(some[block], other[block]), some[block], other[block])
    return mask


def _lcs_table(some: Tokens, other: Tokens) -> NDArray[np.int16]:
    """Return LCS lengths of all pairs of beginnings, shape (r + 1, s + 1, n)."""
    (n, length), width = some.shape, other.shape[1]
    # Examples last: each entry of the table is then one run over memory for all of them.
    rows, columns = np.ascontiguousarray(some.T), np.ascontiguousarray(other.T)
    table = np.zeros((length + 1, width + 1, n), dtype=np.int16)
    for i in range(length):
        for j in range(width):
            entry = table[i + 1, j + 1]
            np.add(table[i, j], rows[i] == columns[j], out=entry)
            np.maximum(entry, table[i, j + 1], out=entry)
            np.maximum(entry, table[i + 1, j], out=entry)
    return table


def _read_back(table: NDArray[np.int16], some: Tokens, other: Tokens) -> Bools:
    """Read one LCS of each pair from the end of its table."""
    mask = np.zeros(some.shape, dtype=bool)
    rows = np.arange(len(some))
    i, j = np.full(len(some), some.shape[1]), np.full(len(some), other.shape[1])
    while len(rows := rows[(i[rows] > 0) & (j[rows] > 0)]):
        at, to = i[rows], j[rows]
        same = some[rows, at - 1] == other[rows, to - 1]
        shorten_output = ~same & (table[at, to - 1, rows] > table[at - 1, to, rows])
        mask[rows[same], at[same] - 1] = True
        i[rows] -= ~shorten_output
        j[rows] -= same | shorten_output
    return mask


def rouge_l_sum(references: ArrayLike, outputs: ArrayLike) -> RougeScores:
    """Return the ROUGE-L-Sum of each example.

    Args:
        references: Token numbers of the lines of the reference text, shape (n, lines, r).
        outputs: Token numbers of the lines of the output, shape (n, lines, s).

    Returns:
        The scores, between 0 and 1.

    Raises:
        InputError: The shapes do not go together, or a text is empty.

    References:
        Lin (2004), W04-1013, sec. 3.2; Schaeffer et al. (2023), arXiv 2304.15004, App. A.4, whose
        example is below: an output w1 ... w5 and two references, with a union of four tokens.

    Examples:
        >>> scores = rouge_l_sum([[[1, 2, 6, 7, 8], [1, 3, 8, 9, 5]]], [[[1, 2, 3, 4, 5]]])
        >>> scores.precision, scores.recall
        (array([0.8]), array([0.4]))
    """
    some, other = np.asarray(references), np.asarray(outputs)
    if some.ndim != 3 or other.ndim != 3 or len(some) != len(other):
        raise InputError(f"shapes {some.shape} and {other.shape}, not (n, lines, length)",
                         where="references, outputs")  # fmt: skip
    (n, m, length), (_, k, width) = some.shape, other.shape
    if not (m and length and k and width):
        raise InputError("a text without tokens", where="references, outputs")
    pairs = (n, m, k)
    mask = lcs_mask(
        np.broadcast_to(some[:, :, None], (*pairs, length)).reshape(-1, length),
        np.broadcast_to(other[:, None], (*pairs, width)).reshape(-1, width),
    )
    union = mask.reshape(*pairs, length).any(axis=2)
    return _scores(some.reshape(n, -1), union.reshape(n, -1), other.reshape(n, -1))


def _scores(reference: Tokens, union: Bools, output: Tokens) -> RougeScores:
    """Return the scores of whole texts, shapes (n, r), (n, r) and (n, s)."""
    hits = _clipped(reference, union, output)
    recall, precision = hits / reference.shape[1], hits / output.shape[1]
    total = recall + precision
    fmeasure = np.divide(2 * recall * precision, total, out=np.zeros(len(hits)), where=total > 0)
    return RougeScores(recall=recall, precision=precision, fmeasure=fmeasure)


def _clipped(reference: Tokens, matched: Bools, output: Tokens) -> Floats:
    """Count each row's matched tokens, each at most as often as it stands in the output."""
    n = len(reference)
    _, number = np.unique(np.concatenate([reference, output], axis=1), return_inverse=True)
    number = number.reshape(n, -1)
    # Tokens of different examples are different things.
    _, thing = np.unique(number + np.arange(n)[:, None] * (number.max(initial=0) + 1),
                         return_inverse=True)  # fmt: skip
    thing = thing.reshape(n, -1)
    width = reference.shape[1]
    size = int(thing.max(initial=-1)) + 1
    in_union = np.bincount(thing[:, :width][matched], minlength=size)
    in_output = np.bincount(thing[:, width:].ravel(), minlength=size)
    example = np.empty(size, dtype=np.int64)
    example[thing] = np.arange(n)[:, None]
    hits = np.bincount(example, weights=np.minimum(in_union, in_output), minlength=n)
    return hits.astype(np.float64)


def sample_rouge_l_sum(
    loss: float,
    *,
    target_length: int,
    n_references: int,
    n_examples: int,
    vocabulary: int = DEFAULT_VOCABULARY,
    seed: int | np.random.Generator = 0,
) -> RougeDraws:
    """Draw outputs and references that disagree at the per-token error, and score them.

    An output is a line of random tokens. At each place of each reference, independently, stands the
    output's token with probability p = exp(-L), else another one of the vocabulary: the per-token
    error is that of the output against any reference. App. A.4 describes the stitching of pieces
    and Fig. 9 its grid (lengths 4, 20 and 36; 1, 4 and 7 references), but not how outputs and
    references are drawn, so this is our reading. With one seed, a smaller loss only turns wrong
    tokens into right ones.

    Both ways of using several references are scored. ``union`` takes them as the lines of one text,
    which is App. A.4's example; as the output is one line against m, it ends at 200 / (m + 1).
    ``best`` is what BIG-bench's evaluator does, one reference at a time. As long as wrong tokens
    agree with nothing, the first has the expectation 200 (1 - (1 - p)^m) / (m + 1), and the second
    that of the largest of m binomial shares.

    Args:
        loss: Per-token cross entropy in nats, >= 0.
        target_length: Tokens of the output and of each reference, >= 1.
        n_references: References of an output, m >= 1.
        n_examples: Outputs to draw, >= 1.
        vocabulary: Tokens to draw from, >= 2.
        seed: Seed or generator.

    Returns:
        The draws and their scores in 0..100, as BIG-bench prints them.

    Raises:
        InputError: An argument is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, App. A.4 and Fig. 9.

    Examples:
        >>> draws = sample_rouge_l_sum(0.05, target_length=20, n_references=4, n_examples=500)
        >>> float(draws.union.mean().round(1)), float(draws.best.mean().round(1))
        (40.0, 99.2)
    """
    n, m = int(whole(n_examples, 1, "n_examples")), int(whole(n_references, 1, "n_references"))
    length = int(whole(target_length, 1, "target_length"))
    size = int(whole(vocabulary, 2, "vocabulary"))
    of_output, of_agreement, of_error = np.random.default_rng(seed).spawn(3)
    output = of_output.integers(size, size=(n, length))
    agrees = of_agreement.random((n, m, length)) < np.exp(-checked_loss(loss))
    wrong = of_error.integers(size - 1, size=(n, m, length))
    wrong += wrong >= output[:, None]  # any token but the right one
    references = np.where(agrees, output[:, None], wrong)
    mask = lcs_mask(references.reshape(n * m, length), np.repeat(output, m, axis=0))
    mask = mask.reshape(n, m, length)
    union = _scores(references.reshape(n, -1), mask.reshape(n, -1), output).fmeasure
    # Of two lines of one length, precision and recall are the same share.
    best = mask.sum(axis=2).max(axis=1) / length
    return RougeDraws(output=output, references=references, union=100 * union, best=100 * best)
