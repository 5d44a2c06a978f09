"""P-values corrected for the number searched: against the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta import adjusted_p_values


def by_hand(p):
    """Benjamini-Hochberg, Benjamini-Yekutieli and Holm from their definitions."""
    m = len(p)
    order = sorted(range(m), key=lambda i: p[i])
    harmonic = sum(1 / rank for rank in range(1, m + 1))
    bh, by, holm = [0.0] * m, [0.0] * m, [0.0] * m
    for place, i in enumerate(order):
        later = [(p[order[j]], j + 1) for j in range(place, m)]
        bh[i] = min(min(m * value / rank for value, rank in later), 1.0)
        by[i] = min(min(harmonic * m * value / rank for value, rank in later), 1.0)
        holm[i] = min(max((m - j) * p[order[j]] for j in range(place + 1)), 1.0)
    return bh, by, holm


@given(st.lists(st.floats(1e-6, 1.0) | st.just(math.nan), max_size=12))
def test_corrections_are_their_definitions(p):
    found = adjusted_p_values(p)
    known = [value for value in p if not math.isnan(value)]
    tested = ~np.isnan(np.array(p, dtype=float))
    for name, expected in zip(("q_bh", "q_by", "p_holm"), by_hand(known), strict=True):
        assert found[name][tested].tolist() == pytest.approx(expected)
        assert found[name][~tested].isna().all()
    assert (found["n_searched"] == len(known)).all()
