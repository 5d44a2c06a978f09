from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import oracles
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import batches, curves, integer_curves, to_ragged

from bigbench_meta.core.errors import InputError
from bigbench_meta.curves import emergence
from bigbench_meta.curves.emergence import (
    STATUSES,
    emergence_score,
    linearity,
    relative_sharpness,
    score_ragged,
)

INF, NAN = math.inf, math.nan
FIELDS = (
    "n_scales", "signed_range", "median_step", "emergence_score", "linearity",
    "relative_sharpness", "resolution_limited_score",
)  # fmt: skip
PLAIN = (emergence_score, linearity, relative_sharpness)


def close(expected):
    return pytest.approx(expected, rel=1e-12, abs=0, nan_ok=True)


def as_dicts(scores):
    """Return one dict a curve, as the oracle does."""
    columns = {field: getattr(scores, field).tolist() for field in FIELDS}
    columns["status"] = [STATUSES[code] for code in scores.status]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def assert_scores(scores, expected):
    found = as_dicts(scores)
    assert len(found) == len(expected)
    for got, want in zip(found, expected, strict=True):
        assert got.pop("status") == want.pop("status")
        assert got == close(want)


def assert_same(some, other):
    """Exactly, NaN being equal to NaN."""
    for field in (*FIELDS, "status"):
        np.testing.assert_array_equal(getattr(some, field), getattr(other, field), err_msg=field)


# --- Values by hand ---


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, 1, 2, 3], 3),  # a straight line of n points: n - 1
        ([3, 2, 1, 0], -3),
        ([0, 1, 3], 3 / math.sqrt(2.5)),  # squares 1, 4; median 2.5
        ([0, 1, 8], 1.6),  # squares 1, 49; median 25, root 5: not the median of |step|, which is 4
        ([0, 1, 3, 13], 6.5),  # steps 1, 2, 10; median 2
        ([0, 1, 3, 13, 0], 13 / math.sqrt((4 + 100) / 2)),  # steps 1, 2, 10, 13
        ([0, -1, 0, 9], 10),  # steps 1, 1, 9: a step down has a size, too
        ([5, 0, 9, 8], 9 / 5),  # steps 5, 9, 1: the minimum comes before the maximum
        ([9, 0, 5, 4], -9 / 5),  # steps 9, 5, 1
    ],
)
def test_emergence_score(y, expected):
    assert emergence_score(y) == close(expected)
    assert relative_sharpness(y) == close(expected / (len(y) - 1))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, 1, 0, 1], 1),  # first maximum at 1, first minimum at 0
        ([1, 0, 1, 0], -1),  # first maximum at 0, first minimum at 1
        ([0, 1, 0], 1),  # its own reverse, so a reversal need not turn the sign
        ([1, 0, 1], -1),
        ([0.5, 1, 0, 1, 0], -1),  # steps .5, 1, 1, 1; maximum at 1, minimum at 2
        ([0.0, -0.0, 1, 2], 2),  # -0 is no minimum below 0: steps 0, 1, 1
    ],
)
def test_first_extremum_counts_on_ties(y, expected):
    assert emergence_score(y) == expected


@pytest.mark.parametrize(
    ("y", "expected", "status"),
    [
        ([0, 0, 0, 1], INF, "zero_median"),
        ([1, 0, 0, 0], -INF, "zero_median"),
        ([0, 1, 1, 1], INF, "zero_median"),
        ([1, 1, 1, 0, 0], -INF, "zero_median"),
        ([0, 0, 0, 5, 5, 5], INF, "zero_median"),
        ([0, 0, 1], math.sqrt(2), "ok"),  # half of the steps zero: squares 0, 1; median 1/2
        ([0, 0, 0, 1, 2], 2 * math.sqrt(2), "ok"),  # squares 0, 0, 1, 1; median 1/2
        ([0, 0, 0, 0, 1], INF, "zero_median"),  # three of four
        ([2, 2, 2], NAN, "flat"),
        ([0.1] * 9, NAN, "flat"),
        ([0.0, -0.0, 0.0], NAN, "flat"),
        ([0, 1], NAN, "too_few_scales"),
        ([1, 1], NAN, "too_few_scales"),
        ([1], NAN, "too_few_scales"),
        ([], NAN, "too_few_scales"),
    ],
)
def test_where_it_breaks(y, expected, status):
    scores = score_ragged(*to_ragged([y]))
    assert STATUSES[scores.status[0]] == status
    assert scores.emergence_score[0] == close(expected)
    assert emergence_score(y) == close(expected)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, 1, 8], 1.6),  # with two steps the mean is the median
        ([0, 0, 0, 1], math.sqrt(3)),  # 1 / sqrt(1/3): finite where E is not
        ([0, 1, 3, 13], 13 / math.sqrt(105 / 3)),
        ([1, 0, 0], -math.sqrt(2)),
        ([4, 4, 4], NAN),
        ([0, 1], NAN),
    ],
)
def test_linearity(y, expected):
    assert linearity(y) == close(expected)


@given(
    st.integers(2, 60),
    st.integers(-(10**6), 10**6),
    st.integers(-(10**6), 10**6).filter(bool),
    st.sampled_from([1.0, 2.0**-40, 2.0**900, 2.0**-900]),
)
def test_a_straight_line_over_n_points_gives_n_minus_1(n, start, step, unit):
    y = [(start + step * i) * unit for i in range(n)]
    expected = math.copysign(n - 1, step)
    assert emergence_score(y, min_scales=2) == expected
    assert linearity(y, min_scales=2) == pytest.approx(expected, rel=1e-15)
    assert relative_sharpness(y, min_scales=2) == math.copysign(1, step)


# --- Against the naive version ---


@given(batches(), st.integers(-1, 6))
def test_ragged_equals_oracle(batch, min_scales):
    scores = score_ragged(*to_ragged(batch), min_scales=min_scales)
    assert_scores(scores, [oracles.score(y, min_scales=min_scales) for y in batch])


@given(st.data())
def test_resolution_equals_oracle(data):
    batch = data.draw(batches())
    known = st.one_of(st.just(NAN), st.just(0.0), st.floats(1e-6, 1e6))
    resolution = data.draw(st.lists(known, min_size=len(batch), max_size=len(batch)))
    scores = score_ragged(*to_ragged(batch), resolution=np.array(resolution, dtype=float))
    assert_scores(
        scores, [oracles.score(y, resolution=r) for y, r in zip(batch, resolution, strict=True)]
    )


@pytest.mark.parametrize(
    ("y", "resolution", "expected"),
    [
        ([0, 0, 0, 1], 0.01, 100),  # a zero median becomes finite
        ([1, 0, 0, 0], 0.01, -100),
        ([0, 0, 0, 1], 0.0, INF),
        ([0, 0, 0, 1], NAN, NAN),
        ([0, 1, 2, 3], 0.5, 3),  # finer than the steps: nothing changes
        ([0, 1, 2, 3], 1.5, 2),
        ([2, 2, 2], 0.5, NAN),
        ([0, 1], 0.5, NAN),
    ],
)
def test_resolution_limited_score(y, resolution, expected):
    scores = score_ragged(*to_ragged([y]), resolution=np.array([resolution]))
    assert scores.resolution_limited_score[0] == close(expected)


@given(batches())
def test_without_resolution_no_limited_score(batch):
    assert np.isnan(score_ragged(*to_ragged(batch)).resolution_limited_score).all()


@given(st.lists(curves(min_size=5, max_size=5), min_size=1, max_size=6))
def test_matrix_equals_oracle_and_rows(rows):
    for function in PLAIN:
        expected = [oracles.score(y)[function.__name__] for y in rows]
        assert function(rows).tolist() == close(expected)
        np.testing.assert_array_equal(function(rows), [function(y) for y in rows])


@given(integer_curves(), st.sampled_from([1e-305, 1e-300, 1e-160, 1e160, 1e300]))
def test_steps_whose_squares_no_float_can_hold(y, unit):
    y = [max(-1000.0, min(1000.0, value)) * unit for value in y]
    assert_scores(score_ragged(*to_ragged([y])), [oracles.score(y)])


def test_small_and_large_steps_in_one_curve():
    # Steps 1e-200, 2e-200, 1e100: the median square, 4e-400, underflows.
    assert emergence_score([0, 1e-200, 3e-200, 1e100]) == close(1e100 / 2e-200)
    assert linearity([0, 1e-200, 3e-200, 1e100]) == close(math.sqrt(3))


def test_score_beyond_the_largest_float_gives_no_warning():
    # E = 1e300 / 1e-300 has no float; the nearest is inf.
    assert emergence_score([0, 1e-300, 2e-300, 1e300]) == INF


# --- Invariants ---


@given(curves(), st.integers(-60, 60))
def test_a_power_of_two_as_unit_changes_nothing(y, exponent):
    # Exact: it moves the exponents alone. Squares would underflow, but none is taken.
    unit = 2.0**exponent
    for function in PLAIN:
        np.testing.assert_equal(function([value * unit for value in y]), function(y))


@given(integer_curves(), st.floats(1e-3, 1e3))
def test_unit_does_not_matter(y, unit):
    # On whole numbers no two different scores become equal by rounding.
    for function in PLAIN:
        scaled = function([value * unit for value in y])
        assert scaled == pytest.approx(function(y), rel=1e-8, nan_ok=True)


@given(integer_curves(), st.integers(-(10**9), 10**9))
def test_a_whole_shift_changes_nothing(y, shift):
    for function in PLAIN:
        np.testing.assert_equal(function([value + shift for value in y]), function(y))


@given(integer_curves(), st.floats(-1e3, 1e3))
def test_zero_does_not_matter(y, shift):
    for function in PLAIN:
        shifted = function([value + shift for value in y])
        assert shifted == pytest.approx(function(y), rel=1e-6, nan_ok=True)


@given(curves())
def test_turned_upside_down_the_sign_turns(y):
    # Exact, on ties too: the first maximum of -y is the first minimum of y, and the other way
    # round; sizes of steps and the range stay.
    for function in PLAIN:
        np.testing.assert_equal(function([-value for value in y]), -function(y))


@given(curves(min_size=3))
def test_reversal_turns_the_sign_where_extrema_are_single(y):
    assume(y.count(max(y)) == y.count(min(y)) == 1)
    np.testing.assert_equal(emergence_score(y[::-1]), -emergence_score(y))


@given(curves(min_size=3))
def test_reversal_keeps_the_size(y):
    # The first extremum of the reverse is the last one of y, so on ties the sign is that of the
    # last ones.
    backwards = y[::-1]
    assume(max(y) != min(y))
    sign = math.copysign(1, backwards.index(max(y)) - backwards.index(min(y)))
    assert emergence_score(backwards) == sign * abs(emergence_score(y))


@given(curves(min_size=2))
def test_linearity_is_at_most_that_of_a_line(y):
    # max - min <= sum |step| <= (n - 1) * root mean square step, by Cauchy and Schwarz.
    value = linearity(y, min_scales=2)
    assert math.isnan(value) == (max(y) == min(y))
    if not math.isnan(value):
        assert abs(value) <= (len(y) - 1) * (1 + 1e-12)


@given(curves(min_size=3))
def test_infinite_where_more_than_half_of_the_steps_are_zero(y):
    zeros = sum(before == after for before, after in pairwise(y))
    expected = 2 * zeros > len(y) - 1 and max(y) != min(y)
    assert math.isinf(emergence_score(y)) == expected


# --- Batches ---


@given(batches())
def test_batch_equals_one_curve_at_a_time(batch):
    whole = as_dicts(score_ragged(*to_ragged(batch)))
    alone = [as_dicts(score_ragged(*to_ragged([y])))[0] for y in batch]
    np.testing.assert_equal(whole, alone)


@given(st.data())
def test_order_of_curves_does_not_matter(data):
    batch = data.draw(batches())
    order = data.draw(st.permutations(range(len(batch))))
    shuffled = as_dicts(score_ragged(*to_ragged([batch[i] for i in order])))
    straight = as_dicts(score_ragged(*to_ragged(batch)))
    np.testing.assert_equal(shuffled, [straight[i] for i in order])


@given(batches(max_size=12), st.integers(1, 4))
def test_size_of_blocks_does_not_matter(batch, block):
    expected = score_ragged(*to_ragged(batch))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emergence, "_BLOCK", block)
        assert_same(score_ragged(*to_ragged(batch)), expected)


def test_more_curves_than_a_block():
    # 9,001 curves of 6 points are three blocks; 500 of 4 points lie between them.
    rng = np.random.default_rng(0)
    assert 2 * emergence._BLOCK < 9001
    lengths = np.full(9501, 6)
    lengths[rng.choice(9501, 500, replace=False)] = 4
    batch = [rng.integers(-4, 5, length).astype(float).tolist() for length in lengths]
    found = score_ragged(*to_ragged(batch))
    expected = [oracles.score(y) for y in batch]
    for field in FIELDS:
        np.testing.assert_allclose(
            getattr(found, field), [one[field] for one in expected], rtol=1e-12, err_msg=field
        )
    assert [STATUSES[code] for code in found.status] == [one["status"] for one in expected]


def test_no_curves():
    scores = score_ragged(np.empty(0), np.zeros(1, np.int64))
    assert [len(getattr(scores, field)) for field in (*FIELDS, "status")] == [0] * 8


def test_input_is_left_alone():
    values, offsets = to_ragged([[3, 1, 2], [0, 5, 1, 9]])
    score_ragged(values, offsets)
    np.testing.assert_array_equal(values, [3, 1, 2, 0, 5, 1, 9])


def test_whole_numbers_are_numbers():
    scores = score_ragged(np.array([0, 1, 3, 13]), np.array([0, 4]))
    assert scores.emergence_score.tolist() == [6.5]


# --- Options, shapes and errors of the plain functions ---


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize(
    ("n", "min_scales", "scored"),
    [(2, 3, False), (3, 3, True), (2, 2, True), (3, 4, False), (1, 1, False), (2, -5, True)],
)
def test_min_scales(function, n, min_scales, scored):
    assert math.isnan(function(list(range(n)), min_scales=min_scales)) != scored


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("hole", [NAN, INF, -INF, None])
def test_not_finite_gives_nan_for_that_curve_alone(function, hole):
    assert math.isnan(function([0, 1, hole, 3]))
    first, second = function([[0, 1, hole, 3], [0, 1, 2, 3]])
    assert math.isnan(first)
    assert second == function([0, 1, 2, 3])


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (2, 4)])
def test_a_matrix_gives_an_array(function, shape):
    result = function(np.ones(shape))
    assert result.shape == shape[:1]
    assert np.isnan(result).all()


@pytest.mark.parametrize("function", PLAIN)
def test_a_vector_gives_a_float(function):
    assert type(function(np.arange(4))) is float


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (3.0, r"y: shape \(\), not \(n,\) or \(m, n\)"),
        (np.zeros((2, 2, 2)), r"y: shape \(2, 2, 2\)"),
        ([[1, 2, 3], [1, 2]], r"y: not an array of numbers.*\n?.*score_ragged"),
        (["a", "b", "c"], "y: not an array of numbers.*'a'"),
        ({"a": 1}, "y: not an array of numbers"),
    ],
)
def test_what_is_no_curve(function, y, message):
    with pytest.raises(InputError, match=message):
        function(y)


@pytest.mark.parametrize(
    ("values", "offsets", "message"),
    [
        ([0.0, 1, 2], [], "offsets: must run from 0 to the number of points, 3"),
        ([0.0, 1, 2], [1, 3], "offsets: must run from 0 to the number of points, 3"),
        ([0.0, 1, 2], [0, 2], "offsets: must run from 0 to the number of points, 3"),
        ([0.0, 1, 2], [0, 4], "offsets: must run from 0 to the number of points, 3"),
        ([0.0, 1, 2], [0, 2, 1, 3], "offsets: must not decrease"),
        ([0.0, NAN, 2], [0, 3], "values: nan at position 1 is not finite"),
        ([0.0, 1, -INF, NAN], [0, 4], "values: -inf at position 2 is not finite"),
    ],
)
def test_ragged_that_does_not_fit(values, offsets, message):
    with pytest.raises(InputError, match=message):
        score_ragged(np.array(values), np.array(offsets, dtype=np.int64))
