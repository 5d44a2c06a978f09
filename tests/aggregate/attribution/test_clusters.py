"""Intervals over clusters against loops, enumeration, scipy and statsmodels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta.aggregate.attribution import clusters as _clusters
from bigbench_meta.aggregate.attribution.clusters import (
    NO_SPREAD,
    cluster_counts,
    cluster_median,
    cluster_share,
    cluster_sums,
    jackknife_error,
    jackknifed,
    leave_one_out,
    median,
    sign_flip_p,
)
from bigbench_meta.aggregate.attribution.estimates import Estimate, wald
from bigbench_meta.aggregate.attribution.odds_ratios import log_odds_ratio, log_risk_ratio
from bigbench_meta.core.errors import InputError

ROWS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40
).map(lambda rows: tuple(map(np.array, zip(*rows, strict=True))))


def first_over_second(totals):
    with np.errstate(divide="ignore", invalid="ignore"):
        return totals[..., 0] / totals[..., 1]


@given(ROWS)
def test_counts_by_looping(rows):
    flagged, exposed, cluster = rows
    expected = {}
    for hit, sharp, number in zip(*rows, strict=True):
        cells = expected.setdefault(number, [0, 0, 0, 0])
        cells[(0 if hit else 1) if sharp else (2 if hit else 3)] += 1
    found = cluster_counts(flagged, exposed, cluster)
    assert found.tolist() == [expected[number] for number in sorted(expected)]


@given(ROWS, st.booleans())
def test_jackknife_does_not_know_order_or_copies(rows, odds):
    counts = cluster_counts(*rows)
    statistic = log_odds_ratio if odds else log_risk_ratio
    reference = jackknife_error(leave_one_out(counts, statistic))
    # Every curve twice is no more information when tasks are the units.
    for other in (counts[::-1], 2 * counts):
        again = jackknife_error(leave_one_out(other, statistic))
        assert again == pytest.approx(reference, nan_ok=True)


@pytest.mark.parametrize("odds", [True, False])
def test_jackknife_is_near_the_sandwich_of_a_gee_with_independence(odds):
    rng = np.random.default_rng(3)
    n, n_clusters = 6000, 300
    cluster = rng.integers(0, n_clusters, n)
    exposed = rng.random(n) < 0.6
    tilt = rng.normal(size=n_clusters)[cluster] * 0.5
    flagged = rng.random(n) < 1 / (1 + np.exp(1 - tilt - 0.7 * exposed))
    link = sm.families.links.Logit() if odds else sm.families.links.Log()
    # The link decides which ratio; any variance gives these equations, as columns are indicators.
    family = sm.families.Binomial(link) if odds else sm.families.Poisson(link)
    fit = sm.GEE(
        flagged.astype(float), sm.add_constant(exposed.astype(float)), groups=cluster,
        family=family, cov_struct=sm.cov_struct.Independence(),
    ).fit()  # fmt: skip
    counts = cluster_counts(flagged, exposed, cluster)
    log_ratio = log_odds_ratio if odds else log_risk_ratio
    assert float(log_ratio(counts.sum(axis=0))) == pytest.approx(fit.params[1])
    # Both are of the first order; with 300 clusters they differ by some 1/300.
    found = jackknife_error(leave_one_out(counts, log_ratio))
    assert found == pytest.approx(fit.bse[1], rel=0.01)


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([1.0, 4.0, 2.0, 8.0])
    contributions = np.stack([values, np.ones(4)], axis=1)
    without = leave_one_out(contributions, first_over_second)
    assert without == pytest.approx([14 / 3, 11 / 3, 13 / 3, 7 / 3])
    assert jackknife_error(without) == pytest.approx(stats.sem(values))


@pytest.mark.parametrize("without", [[1.0], [], [1.0, math.inf], [math.nan, 1.0, 2.0]])
def test_jackknife_that_rests_on_one_cluster_is_not_known(without):
    assert math.isnan(jackknife_error(np.array(without)))


BLANK = Estimate(statistic="mean", method="by_task")


def mean_by_cluster(values, cluster):
    sums = cluster_sums(np.array(cluster), np.array(values, dtype=float), np.ones(len(values)))
    return jackknifed(
        BLANK, sums, first_over_second, n_clusters=len(sums), confidence=0.9
    )  # fmt: skip


def test_jackknifed_mean_of_clusters_of_one_is_students():
    values = np.random.default_rng(0).normal(size=12)
    found = mean_by_cluster(values, range(12))
    reference = stats.ttest_1samp(values, 0)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(0.9)))
    assert found.p_value == pytest.approx(reference.pvalue)
    assert (found.estimate, found.status) == (pytest.approx(values.mean()), "ok")


@pytest.mark.parametrize(
    ("values", "cluster", "status", "message"),
    [
        ([1, 2, 3, 4], range(4), "too_few_clusters", "4 tasks cannot give an interval."),
        ([1, 2], [0, 0], "too_few_clusters", "1 task cannot give an interval."),
        ([2.5] * 6, range(6), "no_spread", NO_SPREAD),
        ([1, 3] * 6, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], "no_spread", NO_SPREAD),
    ],
)
def test_what_the_jackknife_refuses(values, cluster, status, message):
    found = mean_by_cluster(values, cluster)
    assert found.status == status
    assert found.message.startswith(message)
    assert found.estimate == np.mean(values)
    assert all(map(math.isnan, (found.low, found.high, found.p_value)))


def test_a_log_ratio_that_rests_on_one_cluster_has_no_interval():
    sums = np.array([[2.0, 0.0]] * 5 + [[1.0, 5.0]])
    found = jackknifed(
        BLANK, sums, lambda totals: np.log(first_over_second(totals)), n_clusters=6, confidence=0.95
    )
    assert found.status == "too_few_clusters"
    assert found.message == "It rests on a single task, without which it is not finite."
    assert found.estimate == pytest.approx(math.log(11 / 5))
    assert math.isnan(found.low)


# --- Medians ---

NUMBERS = st.sampled_from([-math.inf, -2.0, -0.5, 0.0, 0.0, 0.5, 1.0, 3.0, math.inf])
VALUES = st.lists(st.tuples(NUMBERS, st.integers(0, 7)), min_size=1, max_size=30).map(
    lambda rows: (np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))
)


def refuted(values, cluster, number, alpha):
    """The sign test over clusters, ties on the side that refutes least, by enumeration."""
    p_values = []
    for ties in (1, -1):
        sums = {}
        for value, its in zip(values, cluster, strict=True):
            sign = ties if value == number else 1 if value > number else -1
            sums[its] = sums.get(its, 0) + sign
        # Ties count against what is tested: below if too many lie above, and the other way round.
        if np.sign(sum(sums.values())) == -ties:
            p_values.append(sign_flip_p(np.array(list(sums.values()))))
    return bool(p_values) and max(p_values) <= alpha


@given(VALUES, st.sampled_from([0.5, 0.8, 0.95]))
def test_interval_of_a_median_holds_what_is_not_refuted(rows, confidence):
    values, cluster = rows
    middle, low, high, p_value = cluster_median(values, cluster, confidence=confidence)
    assert middle == median(values)
    assert low <= middle <= high
    alpha = 1 - confidence
    # The limits themselves are not refuted; nothing beyond is tested by the bisection.
    for limit in (low, high):
        if limit in values:
            assert not refuted(values, cluster, limit, alpha)
    assert (p_value <= alpha) == refuted(values, cluster, 0.0, alpha)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40, unique=True))
def test_median_of_single_values_has_the_interval_of_order_statistics(values):
    ordered = np.sort(values)
    n = len(values)
    _, low, high, p_value = cluster_median(np.array(values), np.arange(n), confidence=0.95)
    # As many values are cut off at each end as a fair coin may show with 0.025.
    cut = int(sum(stats.binom.cdf(k, n, 0.5) <= 0.025 for k in range(n)))
    assert low == (ordered[cut - 1] if cut else -math.inf)
    assert high == (ordered[n - cut] if cut else math.inf)
    if 0 not in values:
        assert p_value == pytest.approx(stats.binomtest(int(np.sum(ordered > 0)), n).pvalue)


@given(VALUES, st.randoms(use_true_random=False))
def test_median_is_of_the_values_not_of_their_order(rows, random):
    values, cluster = rows
    reference = cluster_median(values, cluster, confidence=0.9)
    order = random.sample(range(len(values)), len(values))
    renamed = (7 - cluster)[order]
    assert cluster_median(values[order], renamed, confidence=0.9) == reference
    middle, low, high, p_value = cluster_median(-values, cluster, confidence=0.9)
    assert (-middle, -high, -low, p_value) == reference


def test_interval_of_a_median_covers_it_though_clusters_agree():
    rng = np.random.default_rng(0)
    n, hits, naive = 300, 0, 0
    for _ in range(n):
        cluster = np.repeat(np.arange(15), rng.integers(1, 9, 15))
        values = rng.normal(size=15)[cluster] + 0.5 * rng.normal(size=len(cluster))
        _, low, high, _ = cluster_median(values, cluster, confidence=0.95)
        hits += low <= 0 <= high
        _, low, high, _ = cluster_median(values, np.arange(len(values)), confidence=0.95)
        naive += low <= 0 <= high
    # Two standard errors of 0.95 in 300 are 0.025.
    assert hits / n > 0.92
    assert naive / n < 0.8


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], math.nan), ([1.0, math.inf], math.inf), ([-math.inf, math.inf], 0.0),
        ([1.0, 2.0], 1.5), ([math.inf, math.inf], math.inf), ([3.0, 1.0, 2.0], 2.0),
    ],
)  # fmt: skip
def test_medians_with_infinite_values(values, expected):
    assert median(np.array(values)) == pytest.approx(expected, nan_ok=True)


# --- Signs ---


@given(st.lists(st.integers(-6, 6), max_size=9))
def test_sign_flips_by_enumeration(differences):
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * abs(d) for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    expected = np.mean([value >= observed for value in sums])
    assert sign_flip_p(np.array(differences, dtype=np.int64)) == pytest.approx(expected)


@given(st.integers(0, 60), st.integers(0, 60))
def test_sign_flips_of_ones_are_the_sign_test(plus, minus):
    p_value = sign_flip_p(np.array([1] * plus + [-1] * minus + [0], dtype=np.int64))
    expected = stats.binomtest(plus, plus + minus).pvalue if plus + minus else 1
    assert p_value == pytest.approx(expected)


def test_many_sign_flips_are_normal(monkeypatch):
    differences = np.random.default_rng(0).integers(-50, 60, 80)
    exact = sign_flip_p(differences)
    monkeypatch.setattr(_clusters, "_MOST_STEPS", 1)
    assert sign_flip_p(differences) == pytest.approx(exact, rel=0.02)


# --- Shares ---


@given(st.lists(st.booleans(), min_size=2, max_size=30))
def test_share_of_clusters_of_one_is_clopper_pearsons(hits):
    share, low, high, effect = cluster_share(
        np.array(hits, dtype=float), np.ones(len(hits)), confidence=0.95
    )
    assert share == pytest.approx(np.mean(hits))
    expected = proportion_confint(sum(hits), len(hits), method="beta")
    assert low <= expected[0] + 1e-9
    assert high >= expected[1] - 1e-9
    assert low <= share <= high
    # A sample variance has n - 1 in place of n.
    assert 1 <= effect <= len(hits) / (len(hits) - 1) + 1e-9


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=12))
def test_share_is_between_its_limits_and_within_one(rows):
    hits = np.array([min(hit, size) for hit, size in rows], dtype=float)
    sizes = np.array([size for _, size in rows], dtype=float)
    share, low, high, effect = cluster_share(hits, sizes, confidence=0.9)
    assert 0 <= low <= share <= high <= 1
    assert effect >= 1 - 1e-12


@pytest.mark.parametrize("all_hit", [True, False])
def test_share_of_none_or_all_counts_each_cluster_once(all_hit):
    sizes = np.array([4.0, 6.0, 2.0])
    share, low, high, effect = cluster_share(sizes * all_hit, sizes, confidence=0.95)
    expected = proportion_confint(3 * all_hit, 3, method="beta")
    assert (low, high) == pytest.approx(expected)
    assert share == all_hit
    assert effect == 4


def test_clusters_that_agree_widen_the_interval():
    agreeing = cluster_share(np.array([5.0, 0, 5, 0]), np.full(4, 5.0), confidence=0.95)
    mixed = cluster_share(np.array([3.0, 2, 3, 2]), np.full(4, 5.0), confidence=0.95)
    assert agreeing[1] < mixed[1] < mixed[2] < agreeing[2]
    assert agreeing[3] > mixed[3] == 1


def test_share_of_nothing_is_not_known():
    assert all(map(math.isnan, cluster_share(np.zeros(0), np.zeros(0), confidence=0.95)))


# --- Wald ---


@given(st.floats(-5, 5), st.floats(0.01, 3), st.integers(1, 50))
def test_wald_is_student(centre, error, df):
    low, high, p_value = wald(centre, error, df=df, confidence=0.9)
    assert (low, high) == pytest.approx(stats.t.interval(0.9, df, centre, error))
    assert p_value == pytest.approx(2 * stats.t.sf(abs(centre) / error, df))
    assume(p_value < 0.099 or p_value > 0.101)
    assert (low <= 0 <= high) == (p_value > 0.1)


@pytest.mark.parametrize(
    ("centre", "error"), [(math.inf, 1), (0, math.nan), (math.nan, 1), (1, 0), (1, math.inf)]
)
def test_wald_of_what_is_not_known(centre, error):
    assert all(map(math.isnan, wald(centre, error, df=5, confidence=0.95)))


def test_confidence_is_checked():
    for call in (
        lambda: cluster_median(np.ones(3), np.arange(3), confidence=1.0),
        lambda: cluster_share(np.ones(1), np.ones(1), confidence=95),
    ):
        with pytest.raises(InputError, match="confidence"):
            call()
