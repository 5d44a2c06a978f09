r"""Is an answer right as often as the product of its tokens' accuracies says?

The paper explains sharp exact match by a product: if each of L tokens is right with probability p,
whatever the others are, all of them are right with probability p^L. Here that is tested on answers,
each way that the product can be taken (:data:`LAWS`). Positions within one answer depend on each
other, so the unit of every standard error is the example. A difference is what that dependence
adds: above zero, the right tokens of an answer come together.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, sec. 2 (eq. for accuracy of L tokens) and sec. 3.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import betaln

from bigbench_meta.core.checks import at_least, check_shape, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import ROW_KEY, SAMPLES, conform, to_frame
from bigbench_meta.metrics.texts import as_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.metrics.texts import Tokenizer

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = [
    "LAWS", "Comparison", "against_expected", "against_mean_log_probability", "against_power",
    "against_product", "product_law", "product_law_sentences", "right_positions",
]  # fmt: skip

LAWS: Final = ("length 1", "positions", "teacher-forced", "mean log-probability", "sampling")
"""What is held against the share of right answers of length L, in the order of the tables:

- ``length 1``: the share at length 1, to the power of L.
- ``positions``: the product over the L positions and the end of the share of answers that have the
  right token there, as the model wrote them.
- ``teacher-forced``: the same product where each token is predicted from the right ones before it;
  the share is that of answers of which every token is then the likeliest.
- ``mean log-probability``: exp of the mean log-probability of the right answer, which is
  exp(-(L + 1) times the cross-entropy); the share is the mean probability of the right answer.
- ``sampling``: the mean probability of the right answer, against answers sampled at temperature 1.
  This one holds by definition, and checks that log-probabilities and answers fit each other.
"""

LENGTH_1, POSITIONS, FORCED, LOG_PROBABILITY, SAMPLING = LAWS

_KEY: Final = [name for name in ROW_KEY if name != "metric"]
_MODEL: Final = ["total_params", "non_embedding_params", "pretraining_loss"]
_FORCED: Final = "teacher_forced_"
_ROUNDING: Final = 1e-24
# In sentences a difference counts from so many standard errors on.
_CLEAR: Final = 2.0


class Comparison(NamedTuple):
    """A share of right answers and what a law makes of it.

    Attributes:
        observed: The share, or mean probability, of right answers.
        predicted: What the law says.
        stderr: Standard error of observed - predicted, by examples; NaN where nothing varies.
    """

    observed: float
    predicted: float
    stderr: float


def right_positions(
    outputs: Sequence[str], targets: Sequence[str], *, tokens: str | Tokenizer = "characters"
) -> Bools:
    """Return at which positions answers have the right token, and whether they end where they must.

    Args:
        outputs: What was written, n texts.
        targets: The right answers, n texts of one number of tokens, L.
        tokens: How texts are split, see :func:`bigbench_meta.rescore`.

    Returns:
        Shape (n, L + 1). An answer that is too short is wrong at the positions it lacks and at the
        end; one that is too long is wrong at the end. A row is all true if the answer is right.

    Raises:
        InputError: The right answers differ in length, or there are not as many as outputs.

    Examples:
        >>> right_positions(["123", "12", "1234"], ["123", "129", "124"]).astype(int)
        array([[1, 1, 1, 1],
               [1, 1, 0, 0],
               [1, 1, 0, 0]])
    """
    if len(outputs) != len(targets):
        raise InputError(f"{len(outputs)} outputs of {len(targets)} answers", where="outputs")
    given, right = as_tokens(outputs, targets, tokens)
    lengths = sorted({len(text) for text in right})
    if len(lengths) != 1:
        raise InputError(f"answers of {lengths} tokens, not of one length", where="targets")
    (length,) = lengths
    found = np.zeros((len(outputs), length + 1), dtype=bool)
    for row, (written, wanted) in enumerate(zip(given, right, strict=True)):
        found[row, :length] = [
            place < len(written) and written[place] == token for place, token in enumerate(wanted)
        ]
        found[row, length] = len(written) == length
    return found


def against_product(right: ArrayLike) -> Comparison:
    r"""Compare the share of answers that are right everywhere with the product over positions.

    With :math:`m_i` the share right at position i, :math:`P = \prod_i m_i` and :math:`z` the share
    right everywhere, the variance of :math:`z - P` is, by the delta method, that of
    :math:`z_e - \sum_i (P / m_i) r_{ei}` over examples e, divided by n. Where hardly any answer is
    right, or hardly any is wrong, that is too small; it is then that of independent positions,
    :math:`(P (1 - P) - P^2 \sum_i (1 - m_i) / m_i) / n`. The larger of the two is taken.

    Args:
        right: Which positions of which examples are right, truth values, shape (n, positions).

    Raises:
        InputError: Not of this shape, or no example.

    Examples:
        >>> against_product([[1, 1], [1, 1], [0, 0], [0, 0]])[:2]
        (0.5, 0.25)
    """
    r = whole(right, 0, "right")
    if r.ndim != 2 or r.size == 0 or r.max() > 1:
        raise InputError(f"shape {r.shape}, or not truth values", where="right")
    n = len(r)
    m = r.mean(axis=0)
    predicted = float(m.prod())
    z = r.min(axis=1)
    # Products of all means but one; a mean may be 0.
    others = np.array([np.delete(m, i).prod() for i in range(len(m))])
    by_example = float((z - r @ others).var()) / n
    independent = 0.0
    if predicted > 0:
        # P (1 - P) - P^2 sum = P^2 times the products of two or more of these odds, summed.
        products = first = 0.0
        for odds in ((1 - m) / m).tolist():
            products, first = products * (1 + odds) + first * odds, first + odds
        independent = predicted**2 * products / n
    return Comparison(float(z.mean()), predicted, _root(max(by_example, independent)))


def against_power(right: ArrayLike, right_of_one: ArrayLike, length: int) -> Comparison:
    """Compare the share of right answers of L tokens with that of one token to the power of L.

    The two are shares of different examples. The variance of the share is that of a binomial one at
    Jeffreys' rate (k + 1/2) / (n + 1), and the squared error of the power its mean over rates of
    the distribution Beta(k + 1/2, n - k + 1/2), so that 0 or 11 right answers of 11 have an error
    too.

    Args:
        right: Which answers of L tokens are right, truth values, shape (n,).
        right_of_one: Which answers of one token are right, shape (m,).
        length: L, at least 1.

    Raises:
        InputError: No example, or not truth values.

    Examples:
        >>> found = against_power([1, 0, 0, 0], [1, 1, 1, 0], 2)
        >>> found.observed, found.predicted
        (0.25, 0.5625)
    """
    whole(length, 1, "length")
    (share, variance), (single, _) = _share(right, "right"), _share(right_of_one, "right_of_one")
    predicted, n = single**length, np.size(right_of_one)
    k = single * n
    power, square = (
        float(np.exp(betaln(k + 0.5 + times, n - k + 0.5) - betaln(k + 0.5, n - k + 0.5)))
        for times in (length, 2 * length)
    )
    of_power = square - 2 * predicted * power + predicted**2
    return Comparison(share, predicted, _root(variance + of_power))


def against_mean_log_probability(log_probability: ArrayLike) -> Comparison:
    """Compare the mean probability of right answers with exp of their mean log-probability.

    The mean is never below the other (Jensen's inequality): the more questions differ in
    difficulty, the farther it is above.

    Args:
        log_probability: Of the whole right answer with its end, of each example, in nats, shape
            (n,).

    Raises:
        InputError: No example, or not finite numbers.

    Examples:
        >>> found = against_mean_log_probability(np.log([0.9, 0.1]))
        >>> round(found.observed, 2), round(found.predicted, 2)
        (0.5, 0.3)
    """
    s = at_least(log_probability, -np.inf, "log_probability")
    if s.ndim != 1 or s.size == 0:
        raise InputError(f"shape {s.shape}, not (n,)", where="log_probability")
    p, typical = np.exp(s), float(np.exp(s.mean()))
    return Comparison(float(p.mean()), typical, _root(float((p - typical * s).var()) / len(s)))


def against_expected(right: ArrayLike, log_probability: ArrayLike) -> Comparison:
    """Compare the share of right answers sampled at temperature 1 with their mean probability.

    The standard error is that of drawing: the examples are the same.

    Args:
        right: Which sampled answers are right, truth values, shape (n,).
        log_probability: Of the right answer of each of these examples, in nats, shape (n,).

    Raises:
        InputError: No example, or arrays that do not fit.

    Examples:
        >>> against_expected([1, 0], np.log([0.5, 0.5]))[:2]
        (0.5, 0.5)
    """
    share, _ = _share(right, "right")
    s = at_least(log_probability, -np.inf, "log_probability")
    check_shape(s, np.shape(right), "log_probability")
    p = np.exp(np.minimum(s, 0.0))
    return Comparison(share, float(p.mean()), _root(float((p * (1 - p)).sum())) / len(p))


def _share(right: ArrayLike, where: str) -> tuple[float, float]:
    """Return a share and its variance."""
    r = whole(right, 0, where)
    if r.ndim != 1 or r.size == 0 or r.max() > 1:
        raise InputError(f"shape {r.shape}, or not truth values", where=where)
    rate = (r.sum() + 0.5) / (len(r) + 1)
    return float(r.mean()), float(rate * (1 - rate) / len(r))


def _root(variance: float) -> float:
    """Return a standard error, NaN where nothing varies but for rounding."""
    return float(np.sqrt(variance)) if variance > _ROUNDING else np.nan


def product_law(
    samples: pd.DataFrame | pa.Table,
    *,
    tokens: str | Tokenizer = "characters",
    sampled: str = "temperature 1",
) -> pd.DataFrame:
    """Hold the share of right answers against every product of accuracies that samples allow.

    Args:
        samples: Samples table with one right answer an example, as
            :func:`bigbench_meta.train_families` writes them. Teacher-forced tokens are further
            metrics ``teacher_forced_1`` to ``teacher_forced_{L + 1}``, the last the end token;
            ``target_logprobs`` is the log-probability of the right answer with its end. Examples
            without an output that do not have one right answer, such as choices between options,
            are left out.
        tokens: How texts are split, see :func:`bigbench_meta.rescore`.
        sampled: Value of ``variant`` of answers sampled at temperature 1. Where they have no
            ``target_logprobs``, those of the other variant are taken.

    Returns:
        One row for each model, seed, subtask, variant, length of the right answer and law whose
        data are there: the key columns, ``total_params``, ``non_embedding_params``,
        ``pretraining_loss``; ``length`` L in tokens; ``law``, one of :data:`LAWS`;
        ``n_examples``; ``observed`` and ``predicted``; ``difference``, observed - predicted, and
        its ``stderr``, NaN where nothing varies (all right, or some position never). The law
        ``length 1`` has no row at length 1, where it says nothing.

    Raises:
        InputError: A written answer has several right ones, or none; or no law has data.
        SchemaError: ``samples`` is no samples table.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> samples = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "model_family": "f", "model_name": "m",
        ...     "example_id": list("abcd"), "targets": [["12"], ["34"], ["56"], ["78"]],
        ...     "output": ["12", "34", "65", "87"],
        ... })
        >>> row = product_law(samples).iloc[0]
        >>> row.law, float(row.observed), float(row.predicted)
        ('positions', 0.5, 0.25)
    """
    table = conform(samples, SAMPLES)
    n_answers = pc.fill_null(pc.list_value_length(table.column("targets")), 0)
    table = table.filter(pc.or_(pc.is_valid(table.column("output")), pc.equal(n_answers, 1)))
    answers = _answers(table, tokens)
    forced = _forced(table)
    rows = []
    by_model = [name for name in _KEY if name not in {"subtask", "variant"}]
    for _, model in answers.groupby(by_model, sort=False, observed=True, dropna=False):
        for _, own in model.groupby(
            ["variant", "subtask", "length"], sort=False, observed=True, dropna=False
        ):
            length = int(own["length"].iloc[0])
            variant = own["variant"].iloc[0]
            same = model["variant"].isna() if pd.isna(variant) else model["variant"] == variant
            single = model[same & (model["length"] == 1)]
            described = own[[*_KEY, *_MODEL]].iloc[0].to_dict() | {"length": length}
            for law, n, found in _comparisons(own, single, model, forced, length, tokens, sampled):
                rows.append(
                    described
                    | {"law": law, "n_examples": n, "observed": found.observed,
                       "predicted": found.predicted, "stderr": found.stderr}
                )  # fmt: skip
    if not rows:
        raise InputError(
            "no answers, teacher-forced tokens or log-probabilities", where="samples",
            hint="columns output, metrics and target_logprobs",
        )  # fmt: skip
    frame = pd.DataFrame(rows).assign(difference=lambda one: one["observed"] - one["predicted"])
    return frame[[*(name for name in frame if name != "stderr"), "stderr"]]


def _answers(table: pa.Table, tokens: str | Tokenizer) -> pd.DataFrame:
    """Return what is compared, one row an example, and the length of its right answer."""
    n_answers = pc.list_value_length(table.column("targets")).fill_null(0).to_numpy()
    if (wrong := n_answers != 1).any():
        example = table.column("example_id")[int(np.flatnonzero(wrong)[0])].as_py()
        raise InputError(
            f"example {example!r} has {n_answers[wrong][0]} right answers, not one",
            where="samples.targets",
        )
    frame = to_frame(table.select([*_KEY, *_MODEL, "example_id", "output"]))
    targets = table.column("targets").combine_chunks().flatten().to_pylist()
    given, right = as_tokens(["" if text is None else text for text in frame["output"]], targets,
                             tokens)  # fmt: skip
    logs = table.column("target_logprobs")
    one = pc.fill_null(pc.equal(pc.list_value_length(logs), 1), fill_value=False)
    total = np.full(len(frame), np.nan)
    if pc.any(one).as_py():
        total[one.to_numpy()] = pc.list_element(logs.filter(one), 0).to_numpy()
    written = frame["output"].notna().to_numpy()
    same = np.fromiter((a == b for a, b in zip(given, right, strict=True)), bool, len(targets))
    return frame.assign(
        target=targets,
        length=[len(text) for text in right],
        right=pd.array(same, dtype="boolean"),
        written=written,
        total=total,
        row=np.arange(len(frame)),
    )


def _forced(table: pa.Table) -> Floats:
    """Return whether each right token is the likeliest, shape (n, tokens); NaN where not known."""
    metrics = table.column("metrics")
    columns: list[Floats] = []
    for place in count(1):
        found = pc.map_lookup(metrics, f"{_FORCED}{place}", "first")
        if found.null_count == len(found):
            break
        columns.append(found.fill_null(np.nan).to_numpy())
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))


def _comparisons(
    own: pd.DataFrame, single: pd.DataFrame, model: pd.DataFrame, forced: Floats, length: int,
    tokens: str | Tokenizer, sampled: str,
) -> list[tuple[str, int, Comparison]]:  # fmt: skip
    """Return the laws of one model's answers to questions of one length."""
    found = []
    written, single = own[own["written"]], single[single["written"]]
    right = written["right"].to_numpy(dtype=bool)
    if len(written):
        if length > 1 and len(single):
            ones = single["right"].to_numpy(dtype=bool)
            found.append((LENGTH_1, len(written), against_power(right, ones, length)))
        places = right_positions(
            written["output"].tolist(), written["target"].tolist(), tokens=tokens
        )
        found.append((POSITIONS, len(written), against_product(places)))
    if forced.shape[1] > length:
        likeliest = forced[own["row"].to_numpy(), : length + 1]
        known = ~np.isnan(likeliest).any(axis=1)
        if known.any():
            found.append((FORCED, int(known.sum()), against_product(likeliest[known])))
    known = own["total"].notna().to_numpy()
    if known.any():
        total = own["total"].to_numpy()[known]
        found.append((LOG_PROBABILITY, len(total), against_mean_log_probability(total)))
    if len(written) and written["variant"].iloc[0] == sampled:
        total = _log_probabilities(written, model)
        known = ~np.isnan(total)
        if known.any():
            compared = against_expected(right[known], total[known])
            found.append((SAMPLING, int(known.sum()), compared))
    return found


def _log_probabilities(sampled: pd.DataFrame, model: pd.DataFrame) -> Floats:
    """Return the log-probabilities of the right answers to sampled ones, of any variant."""
    own = sampled["total"].to_numpy()
    if not np.isnan(own).any():
        return own
    others = model[model["total"].notna() & (model["subtask"] == sampled["subtask"].iloc[0])]
    others = others.drop_duplicates(["example_id", "total"]).set_index("example_id")["total"]
    if not others.index.is_unique:
        twice = others.index[others.index.duplicated()][0]
        raise InputError(
            f"example {twice!r} has two log-probabilities under one model and seed",
            where="samples.target_logprobs",
        )
    return np.where(np.isnan(own), others.reindex(sampled["example_id"]).to_numpy(), own)


_TITLES: Final = {
    LENGTH_1: "accuracy at length 1 to the power of L",
    POSITIONS: "the product of accuracies by position",
    FORCED: "the product of teacher-forced accuracies",
}


def product_law_sentences(table: pd.DataFrame) -> list[str]:
    """Say for each task and law how far right answers are from what it predicts.

    Args:
        table: What :func:`product_law` returns.

    Examples:
        >>> table = pd.DataFrame({
        ...     "task": "addition", "variant": "greedy", "law": "positions", "length": 4,
        ...     "observed": [0.5, 0.4, 0.1], "predicted": [0.2, 0.2, 0.1],
        ...     "difference": [0.3, 0.2, 0.0], "stderr": 0.02,
        ... })
        >>> print(*product_law_sentences(table))
        addition, greedy: right answers are more frequent than the product of accuracies by \
position in 2 of 3 cases and less frequent in 0, by more than 2 standard errors; the median ratio \
is 2.
    """
    sentences = []
    for _, rows in table.groupby(
        ["task", "variant", "law"], sort=False, observed=True, dropna=False
    ):
        task, variant, law = rows[["task", "variant", "law"]].iloc[0]
        name = f"{task}" if pd.isna(variant) else f"{task}, {variant}"
        known = rows[rows["stderr"].notna()]
        z = known["difference"] / known["stderr"]
        more, fewer = int((z > _CLEAR).sum()), int((z < -_CLEAR).sum())
        if law == SAMPLING:
            sentences.append(
                f"{name}: the share of right answers differs from their mean probability by more "
                f"than 2 standard errors in {more + fewer} of {len(known)} cases (by chance about "
                f"{0.0455 * len(known):.0f})."
            )
            continue
        positive = rows[(rows["observed"] > 0) & (rows["predicted"] > 0)]
        ratios = positive["observed"] / positive["predicted"]
        if law == LOG_PROBABILITY:
            sentences.append(
                f"{name}: the mean probability of right answers is {ratios.median():,.3g} times "
                f"exp of their mean log-probability (median of {len(ratios)} cases, at most "
                f"{ratios.max():,.3g}), because questions differ in difficulty."
            )
            continue
        ending = f"; the median ratio is {ratios.median():,.3g}" if len(ratios) else ""
        sentences.append(
            f"{name}: right answers are more frequent than {_TITLES[law]} in {more} of "
            f"{len(known)} cases and less frequent in {fewer}, by more than 2 standard errors"
            f"{ending}."
        )
    return sentences
