"""Metrics of generated text: one score for each example from its output and right answers.

``outputs`` has one text an example. The right answers of all examples lie in one flat list,
``targets``, and ``answers`` says where those of each example begin
(:class:`bigbench_meta.core.ragged.Ragged`); where there are several, the best match counts. A score
is NaN where an example has no answer to compare with. Definitions are those of BIG-bench 1.0.0
(``bigbench/api/task_metrics.py``) where it has one.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 2 and 3.
    Levenshtein (1966), Binary codes capable of correcting deletions, insertions, and reversals.
    Papineni et al. (2002), BLEU, doi 10.3115/1073083.1073135; Post (2018), arXiv 1804.08771.
    Lin (2004), ROUGE, aclanthology.org/W04-1013.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import eq
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rapidfuzz.distance import Hamming, Levenshtein
from rapidfuzz.process import cpdist

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.core.ragged import Ragged

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = [
    "BLEU_STATISTICS",
    "TOKENS",
    "Tokenizer",
    "as_tokens",
    "bleu",
    "bleu_statistics",
    "case_insensitive_str_match",
    "exact_str_match",
    "normalised_edit_distance",
    "numeric_match",
    "per_token_accuracy",
    "rouge",
    "token_edit_distance",
]

Tokenizer = Callable[[str], Iterable[Hashable]]
"""Splits a text into tokens, of any kind that can be compared."""

TOKENS: Final[dict[str, Tokenizer]] = {
    "words": str.split,
    "characters": list,
    "digits": lambda text: re.findall(r"[0-9]", text),
}
"""Ways to split a text that have a name: at white space, into characters, into digits alone."""

BLEU_STATISTICS: Final = 10
"""Matches and counts of 1- to 4-grams, length of the output and of the reference."""

# Where the private codes of words begin: above all characters below them, and no surrogates.
_FIRST_CODE: Final = 0xE000
_LAST_CODE: Final = 0x10FFFF


def as_tokens(
    outputs: Sequence[str], targets: Sequence[str], tokens: str | Tokenizer
) -> tuple[Sequence[str], Sequence[str]]:
    """Return texts as strings of one character a token, so that equal tokens are equal characters.

    Args:
        outputs: Texts.
        targets: Texts to compare them with.
        tokens: A name in :data:`TOKENS` or a tokenizer of your own.

    Raises:
        InputError: The name is unknown, or there are more than a million different tokens.

    Examples:
        >>> (left,), (right,) = as_tokens(["a new day"], ["a day"], "words")
        >>> len(left), len(right), left[2] == right[1]
        (3, 2, True)
    """
    if tokens == "characters":
        return outputs, targets
    if isinstance(tokens, str) and tokens not in TOKENS:
        raise InputError(f"{tokens!r} is none of {', '.join(TOKENS)}", where="tokens")
    split = TOKENS[tokens] if isinstance(tokens, str) else tokens
    codes = _Codes()
    given, right = (
        ["".join(map(codes.__getitem__, split(text))) for text in texts]
        for texts in (outputs, targets)
    )
    return given, right


class _Codes(dict[Hashable, str]):
    """A character for each different token, numbered as they come."""

    def __missing__(self, token: Hashable) -> str:
        number = _FIRST_CODE + len(self)
        if number > _LAST_CODE:
            raise InputError("more than a million different tokens", where="tokens")
        self[token] = chr(number)
        return self[token]


def exact_str_match(outputs: Sequence[str], targets: Sequence[str], answers: Ragged) -> Floats:
    """Return 1 where an output is one of the right answers, letter by letter, else 0.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> exact_str_match(["4", "four"], ["4", "4", "IV"], Ragged(np.array([0, 1, 3])))
        array([1., 0.])
    """
    same = np.fromiter(map(eq, _repeated(outputs, answers), targets), np.float64, len(targets))
    return answers.reduce(np.maximum, same)


def case_insensitive_str_match(
    outputs: Sequence[str], targets: Sequence[str], answers: Ragged
) -> Floats:
    """Return 1 where an output is a right answer, ignoring case and outer white space, else 0.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.
    """
    return exact_str_match(
        [text.strip().lower() for text in outputs],
        [text.strip().lower() for text in targets],
        answers,
    )


def numeric_match(
    outputs: Sequence[str], targets: Sequence[str], answers: Ragged, *, relative_error: float = 0.1
) -> Floats:
    """Return 1 where an output is a number near a right one, else 0.

    With the default this is BIG-bench's ``numeric_match_with_0_1_relative_error``, except for
    negative answers: BIG-bench divides by the answer itself, so that any number matches those.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.
        relative_error: Largest error by the size of the answer; of an answer of 0 the error itself.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> numeric_match(["95", "89"], ["100", "100"], Ragged(np.array([0, 1, 2])))
        array([1., 0.])
    """
    given, right = _numbers(outputs)[answers.curve], _numbers(targets)
    size = np.where(right == 0, 1.0, np.abs(right))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(given - right) / size <= relative_error
    return answers.reduce(np.maximum, near.astype(np.float64))


def token_edit_distance(
    outputs: Sequence[str],
    targets: Sequence[str],
    answers: Ragged,
    *,
    tokens: str | Tokenizer = "characters",
) -> Floats:
    """Return the edit distance of each output from the nearest right answer, in tokens.

    Insertions, deletions and substitutions count 1 each (Levenshtein 1966); lower is better. If
    each of L tokens is wrong with a small probability, the distance is about L times that: linear
    in the per-token error (Schaeffer et al. 2023, sec. 2). Compare distances within one length.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.
        tokens: A name in :data:`TOKENS` or a tokenizer of your own.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> token_edit_distance(["1234", "99"], ["1239", "100"], Ragged(np.array([0, 1, 2])))
        array([1., 3.])
    """
    given, right = as_tokens(outputs, targets, tokens)
    return answers.reduce(
        np.minimum, _compared(_repeated(given, answers), right, Levenshtein.distance)
    )


def normalised_edit_distance(
    outputs: Sequence[str],
    targets: Sequence[str],
    answers: Ragged,
    *,
    tokens: str | Tokenizer = "characters",
) -> Floats:
    """Return the edit distance by the length of the longer text: 0 to 1, lower is better.

    For examples whose answers differ in length; where they do not, :func:`token_edit_distance` is
    plainer. Two empty texts have distance 0.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.
        tokens: A name in :data:`TOKENS` or a tokenizer of your own.
    """
    given, right = as_tokens(outputs, targets, tokens)
    repeated = _repeated(given, answers)
    longer = np.maximum(_lengths(repeated), _lengths(right))
    distances = _compared(repeated, right, Levenshtein.distance)
    return answers.reduce(np.minimum, distances / np.maximum(longer, 1))


def per_token_accuracy(
    outputs: Sequence[str],
    targets: Sequence[str],
    answers: Ragged,
    *,
    tokens: str | Tokenizer = "characters",
) -> Floats:
    """Return the share of a right answer's tokens that stand at the same place in the output.

    Tokens beyond the end of the answer do not count. A missing token early on makes all later ones
    wrong, which an edit distance does not.

    Args:
        outputs: One text an example.
        targets: Right answers, flat; an empty one has no tokens to get right and gives NaN.
        answers: Where those of each example are.
        tokens: A name in :data:`TOKENS` or a tokenizer of your own.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> per_token_accuracy(["1934", "234"], ["1234", "1234"], Ragged(np.array([0, 1, 2])))
        array([0.75, 0.  ])
    """
    given, right = as_tokens(outputs, targets, tokens)
    # The places at which both have the same token: the longer length less the Hamming distance.
    hits = _compared(_repeated(given, answers), right, Hamming.similarity)
    with np.errstate(invalid="ignore"):
        share = hits / _lengths(right)
    return answers.reduce(np.fmax, share)


def bleu_statistics(outputs: Sequence[str], targets: Sequence[str], answers: Ragged) -> Floats:
    """Return what BLEU is made of, an example a row.

    As BIG-bench has it: sacreBLEU with international tokenization, all right answers of an example
    as its references.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.

    Returns:
        Shape (n, :data:`BLEU_STATISTICS`); NaN for an example without an answer.

    Raises:
        InputError: The package sacrebleu is not installed.
    """
    scorer = _sacrebleu()
    found = np.full((len(outputs), BLEU_STATISTICS), np.nan)
    for example, output in enumerate(outputs):
        references = targets[answers.offsets[example] : answers.offsets[example + 1]]
        if references:
            one = scorer.corpus_score([output], [[reference] for reference in references])
            found[example] = [*one.counts, *one.totals, one.sys_len, one.ref_len]
    return found


def bleu(statistics: Floats) -> float:
    r"""Return the BLEU of a corpus from the sum of its examples' statistics: 0 to 100.

    The brevity penalty :math:`\min(1, e^{1 - r/c})` times the geometric mean of the precisions of
    1- to 4-grams; the k-th precision that is 0 is taken as :math:`2^{-k}` matches, as sacreBLEU
    does by default ("exp").

    Args:
        statistics: Shape (:data:`BLEU_STATISTICS`,).

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> one = bleu_statistics(["a b c d e"], ["a b c d f"], Ragged(np.array([0, 1])))
        >>> round(bleu(one.sum(axis=0)), 1)
        66.9
    """
    matches, counts, (length, reference) = statistics[:4], statistics[4:8], statistics[8:]
    if matches.sum() == 0 or counts.min() == 0:
        return 0.0
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0))
    penalty = min(0.0, 1 - reference / length)
    return float(100 * np.exp(penalty + np.mean(np.log(smoothed / counts))))


def rouge(
    outputs: Sequence[str], targets: Sequence[str], answers: Ragged, *, kind: str = "rougeLsum"
) -> Floats:
    """Return ROUGE of each output against the nearest right answer: F1 on a scale from 0 to 100.

    BIG-bench reports the median of bootstrapped means, which changes from call to call; a mean of
    these scores differs from it by that noise.

    Args:
        outputs: One text an example.
        targets: Right answers, flat.
        answers: Where those of each example are.
        kind: ``rouge1``, ``rouge2`` or ``rougeLsum``.

    Raises:
        InputError: The package rouge-score is not installed, or the kind is unknown.
    """
    if kind not in {"rouge1", "rouge2", "rougeLsum"}:
        raise InputError(f"{kind!r} is none of rouge1, rouge2, rougeLsum", where="kind")
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise _lacks("rouge-score") from error
    scorer = RougeScorer([kind])
    scores = np.array(
        [
            100 * scorer.score(_lines(target), _lines(output))[kind].fmeasure
            for output, target in zip(_repeated(outputs, answers), targets, strict=True)
        ],
        dtype=np.float64,
    )
    return answers.reduce(np.maximum, scores)


def _repeated(outputs: Sequence[str], answers: Ragged) -> Sequence[str]:
    """Return the output of each right answer's example."""
    if answers.is_single:
        return outputs
    return [outputs[example] for example in answers.curve.tolist()]


def _compared(outputs: Sequence[str], targets: Sequence[str], scorer: Any) -> Floats:
    """Return a distance or similarity of each output and the target at the same place."""
    return cpdist(outputs, targets, scorer=scorer, dtype=np.float64)


def _lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def _numbers(texts: Sequence[str]) -> Floats:
    found = np.full(len(texts), np.nan)
    for place, text in enumerate(texts):
        try:
            found[place] = float(text)
        except ValueError:
            continue
    return found


def _lines(text: str) -> str:
    """Return a text with a line for each sentence, as rougeLsum wants it."""
    return text.replace(" . ", " .\n")


def _sacrebleu() -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise _lacks("sacrebleu") from error
    return BLEU(tokenize="intl", smooth_method="exp", effective_order=False, force=True)


def _lacks(package: str) -> InputError:
    return InputError(
        f"needs the package {package}, which is not installed",
        hint="python -m pip install 'bigbench-meta[text]'",
    )
