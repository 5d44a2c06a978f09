"""Links of smooth metrics: by their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bigbench_meta.inference.forecast.smooth_partners import LINKS


@pytest.mark.parametrize("name", LINKS)
def test_links_give_probabilities(name):
    link, p, choices = LINKS[name], np.array([0.1, 0.5, 0.9]), np.full(3, 4.0)
    loss = -np.log(p)
    score = {
        "exp(-v)": loss, "v": p, "exp(v)": -loss, "2^-v": loss / math.log(2), "1/v": 1 / p,
        "1 - v": 1 - p, "1 - v/100": 100 * (1 - p), "v/100": 100 * p, "1 - v/L": None,
    }.get(link.formula, "brier")  # fmt: skip
    if score is None:
        assert link.counts
        return
    if isinstance(score, str):
        # The wrong choices share 1 - p equally.
        each = (1 - p) ** 2 + 3 * ((1 - p) / 3) ** 2
        score = each / 4 if "mean" in link.formula or "averaged" in link.formula else each
    assert link.value(score, choices) == pytest.approx(p)


@pytest.mark.parametrize("name", [name for name, link in LINKS.items() if not link.counts])
def test_slopes_of_links(name):
    """How a standard error of the score becomes one of the probability."""
    link, choices = LINKS[name], np.array([4.0])
    by_p = {
        "exp(-v)": lambda v: -math.exp(-v), "v": lambda _: 1.0, "exp(v)": math.exp,
        "2^-v": lambda v: -math.log(2) * 2**-v, "1/v": lambda v: -1 / v**2,
        "1 - v": lambda _: -1.0, "1 - v/100": lambda _: -0.01, "v/100": lambda _: 0.01,
    }.get(link.formula)  # fmt: skip
    v = {"exp(v)": -0.7}.get(link.formula, 0.3)
    found = link.slope(np.array([v]), choices)[0]
    if by_p is None:  # 1 - sqrt(v (K - 1)/K), of the sum or K times the mean
        scale = 3 / 4 if "summed" in link.formula else 3
        assert found == pytest.approx(-math.sqrt(scale / v) / 2, rel=1e-6)
    else:
        assert found == pytest.approx(by_p(v), rel=1e-6)
