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
