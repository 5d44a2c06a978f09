"""Checks of arguments: what passes comes back, what does not is named."""

import numpy as np
import pytest

from bigbench_meta.core import checks
from bigbench_meta.core.errors import InputError


def test_what_passes_comes_back():
    assert checks.at_least([1, 2.5], 1, "a").tolist() == [1.0, 2.5]
    assert checks.whole(3, 3, "a") == 3
    assert checks.within([0, 1], 0, 1, "a").tolist() == [0.0, 1.0]
    assert np.isnan(checks.within(np.nan, 0, 1, "a", open_=True))
    assert checks.checked_loss([0.0, np.inf]).tolist() == [0.0, np.inf]
    assert checks.one_a_curve(0.5, 2, "a").tolist() == [0.5, 0.5]
    assert checks.one_a_curve([1, np.nan], 2, "a")[0] == 1
    assert checks.seed_number(np.int64(3)) == 3
    assert checks.seed_number(np.random.default_rng(0)) == checks.seed_number(
        np.random.default_rng(0)
    )
    checks.one_of("b", ("a", "b"), "a")
    checks.check_shape([1, 2], (2,), "a")
    checks.reject(np.array([1.0]), np.array([False]), "wrong", "a")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.at_least(["x"], 1, "a"), "a: not numbers: "),
        (lambda: checks.at_least([1, np.inf], 1, "a"), "a: inf is not a finite number of at lea"),
        (lambda: checks.at_least(1, 1, "a", strict=True), "a: 1 is not a finite number above 1"),
        (lambda: checks.whole([2.5], 1, "a"), "a: 2.5 is not a whole number of at least 1"),
        (lambda: checks.whole(0, 1, "a"), "a: 0 is not a whole number of at least 1"),
        (lambda: checks.within([0.5, 2], 0, 1, "a"), r"a: 2, not in \[0, 1\]"),
        (lambda: checks.within(0, 0, 1, "a", open_=True), r"a: 0, not in \(0, 1\)"),
        (lambda: checks.checked_loss([1, -1]), "loss: -1 is negative"),
        (lambda: checks.one_a_curve([1, 2], 3, "a"), r"a: shape \(2,\), not \(\) or \(3,\)"),
        (lambda: checks.check_shape([1, 2], (3,), "a"), r"a: shape \(2,\), not \(3,\)"),
        (lambda: checks.one_of("c", ("a", "b"), "d"), "d: 'c'\nHint: one of a, b"),
        (
            lambda: checks.reject(np.array([1.0, 2]), np.array([False, True]), "odd", "a"),
            "a: 2.0 at position 1 is odd",
        ),
        *(
            (lambda seed=seed: checks.seed_number(seed), "seed: .* is not a whole number of at lea")
            for seed in (-1, 1.5, None, True, "1")
        ),
    ],
)
def test_what_does_not_is_named(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()
