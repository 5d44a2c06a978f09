"""Metrics of several samples against drawing all subsets."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError
from bigbench_meta.metrics import repeated


@given(n=st.integers(0, 8), share=st.floats(0, 1), k=st.integers(1, 8))
def test_chances_are_those_over_all_subsets(n, share, k):
    right = round(n * share)
    samples = [True] * right + [False] * (n - right)
    subsets = list(combinations(samples, k))
    one, every = repeated.pass_at(right, n, k), repeated.subset_accuracy(right, n, k)
    if not subsets:
        assert np.isnan(one)
        assert np.isnan(every)
    else:
        assert one == pytest.approx(np.mean([any(some) for some in subsets]))
        assert every == pytest.approx(np.mean([all(some) for some in subsets]))


@given(p=st.floats(0, 1), n=st.integers(2, 30), k=st.integers(1, 6))
def test_they_are_unbiased(p, n, k):
    """Expected over binomial draws they are 1 - (1 - p)^k and p^k."""
    if k > n:
        return
    c = np.arange(n + 1)
    mass = np.array([math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in c])
    assert mass @ repeated.pass_at(c, n, k) == pytest.approx(1 - (1 - p) ** k, abs=1e-9)
    assert mass @ repeated.subset_accuracy(c, n, k) == pytest.approx(p**k, abs=1e-9)


def test_large_numbers_do_not_overflow():
    assert repeated.subset_accuracy(10**6, 2 * 10**6, 2) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("k", [0, -1])
def test_k_is_at_least_1(k):
    with pytest.raises(InputError, match="is below 1"):
        repeated.pass_at(1, 2, k)


def test_log_pass_rate():
    np.testing.assert_allclose(
        repeated.log_pass_rate([0, 1, 2], [2, 2, 0]), [-np.inf, np.log(0.5), np.nan]
    )


def test_above():
    np.testing.assert_array_equal(
        repeated.above([0.1, 0.3, np.nan], 0.3, higher_is_better=False), [1, 1, np.nan]
    )


def buckets_in_plain_python(rates, k):
    """Take the easiest remaining problem and put it where its rank says."""
    solved = sorted(
        (i for i, rate in enumerate(rates) if rate > 0), key=lambda i: (-rates[i], i)
    )  # fmt: skip
    found = [0 if math.isnan(rate) else k + 1 for rate in rates]
    for rank, i in enumerate(solved):
        found[i] = next(b for b in range(1, k + 1) if rank * k < b * len(solved))
    return found


RATES = st.lists(st.one_of(st.just(math.nan), st.sampled_from([0, 0.25, 0.5, 1]), st.floats(0, 1)))


@given(rates=RATES, k=st.integers(1, 7))
def test_difficulty_buckets(rates, k):
    found = repeated.difficulty_buckets(rates, k)
    assert found.tolist() == buckets_in_plain_python(rates, k)
    rates = np.array(rates, dtype=float)
    sizes = [int((found == b).sum()) for b in range(1, k + 1)]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == (rates > 0).sum()
    for b in range(1, k):
        hardest = rates[found == b].min(initial=1)
        assert hardest >= rates[(found > b) & (found <= k)].max(initial=0)


@given(
    rates=st.lists(st.floats(0.1, 1), min_size=2, unique=True), k=st.integers(1, 4), data=st.data()
)
def test_buckets_do_not_depend_on_the_order_of_problems(rates, k, data):
    order = data.draw(st.permutations(range(len(rates))))
    found = repeated.difficulty_buckets(rates, k)
    again = repeated.difficulty_buckets([rates[i] for i in order], k)
    assert again.tolist() == found[list(order)].tolist()


@pytest.mark.parametrize(
    ("rates", "k", "message"),
    [([0.5, 1.5], 2, "pass_rate: 1.5, not in"), ([0.5], 0, "n_buckets: 0 is below 1")],
)
def test_what_are_no_pass_rates_or_buckets_is_refused(rates, k, message):
    with pytest.raises(InputError, match=message):
        repeated.difficulty_buckets(rates, k)


def test_reference_models_seem_better_in_easy_buckets_and_worse_in_hard_ones():
    """Regression to the mean: new samples of the same model show what the luck was."""
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, 20_000)
    first, again = rng.binomial(10, p) / 10, rng.binomial(10, p) / 10
    bucket = repeated.difficulty_buckets(first, 6)
    bias = [(first - again)[bucket == b].mean() for b in range(1, 8)]
    assert bias[0] > 0.05
    assert bias[6] < -0.03  # those never solved


def test_selecting_solved_problems_favours_small_models():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, (1, 20_000)) ** np.array([[2.0], [1.0]])  # a small and a large model
    right = rng.binomial(10, p)
    solved = repeated.solved_by_all(right)
    selected = repeated.log_pass_rate(right[:, solved], 10).mean(axis=1)
    small, large = selected - np.log(p).mean(axis=1)
    assert small > large > 0
    assert (selected - np.log(p[:, solved]).mean(axis=1))[0] > 0.1  # luck on the very same problems
