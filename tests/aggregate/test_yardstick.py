"""What smooth families would show: against plain loops, and where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import bigbench_meta as bm
from bigbench_meta.aggregate.emergence_criteria import CRITERIA
from bigbench_meta.aggregate.yardstick import SmoothStudies, expected_if_smooth, yardstick_sentence
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.inference.nulls.smooth_curves import VARIATIONS

ALL = "so smooth improvement may explain them all."
DEPENDS = "and whether smooth improvement explains them depends on how much models vary."
SIZES = np.array([125e6, 356e6, 760e6, 1.32e9, 2.65e9, 6.66e9, 12.9e9, 175e9])


def study(rng, m=40, sigma=0.2, steps=0.0, n=2000):
    """Exact match of 1 to 5 tokens, by the formulas of the paper."""
    log_size = np.log(SIZES) - np.log(SIZES).mean()
    loss = rng.uniform(0.15, 2, (m, 1)) * np.exp(-rng.uniform(0.05, 0.34, (m, 1)) * log_size)
    loss *= np.exp(sigma * rng.standard_normal((m, len(SIZES))))
    after = np.arange(len(SIZES)) >= rng.integers(2, len(SIZES) - 1, (m, 1))
    loss *= np.where(rng.random((m, 1)) < steps, np.exp(np.where(after, -1.5, 1.5)), 1.0)
    right = rng.binomial(n, np.exp(-loss * rng.integers(1, 6, (m, 1))))
    return pd.DataFrame(
        {
            "benchmark": "b", "task": np.repeat([f"task {i:03}" for i in range(m)], len(SIZES)),
            "metric": "exact_str_match", "model_family": "f",
            "model_name": np.tile([f"m{i}" for i in range(len(SIZES))], m),
            "total_params": np.tile(SIZES, m), "score": right.ravel() / n, "n_examples": n,
            "low_score": 0.0, "high_score": 1.0,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def curves():
    return bm.build_curves(study(np.random.default_rng(0), m=12))


@pytest.fixture(scope="module")
def expected(curves):
    return expected_if_smooth(curves, bm.score_curves(curves), threshold=20, n_studies=39, seed=3)


def test_counts_are_those_of_whole_studies_scored_one_by_one(curves, expected):
    rows = expected.set_index(["criterion", "group", "sigma"])
    for variation in VARIATIONS:
        simulated = SmoothStudies.of(curves, seed=3).studies(variation, 39)
        flags, limited = [], []
        for one in simulated:
            scores = bm.score_curves(one)
            flags.append(int((scores["emergence_score"] > 20).sum()))
            limited.append(int((scores["resolution_limited_score"] > 20).sum()))
        scores = bm.score_curves(curves)
        for name, counts, column in (
            ("flagged", flags, "emergence_score"),
            ("resolution_limited", limited, "resolution_limited_score"),
        ):
            row = rows.loc[name, "all", variation]
            observed = int((scores[column] > 20).sum())
            assert row["observed"] == observed
            assert row["n_compared"] == len(curves)
            assert row["expected"] == pytest.approx(np.mean(counts))
            assert row["p_value"] == (1 + sum(count >= observed for count in counts)) / 40
            assert row["expected_low"] == min(counts)
            assert row["expected_high"] == max(counts)  # 97.5% of 39 is the 39th


def test_curves_too_short_to_be_scored_are_not_flagged_in_simulated_studies_either(curves):
    scores = bm.score_curves(curves, min_scales=len(SIZES) + 1)
    found = expected_if_smooth(curves, scores, n_studies=19, min_scales=len(SIZES) + 1)
    assert (found["observed"] == 0).all()
    assert (found["expected"] == 0).all()
    with_scores = expected_if_smooth(curves, bm.score_curves(curves), threshold=5, n_studies=19)
    assert (with_scores["expected"] > 0).any()


def test_groups_add_up(expected):
    by = expected.pivot_table(
        index=["criterion", "sigma"], columns="group", values=["expected", "observed"]
    )
    for what in ("expected", "observed"):
        assert by[what]["all"].to_numpy() == pytest.approx(
            by[what].drop(columns="all").sum(axis=1).to_numpy()
        )


def test_seed_and_order(curves, expected):
    again = expected_if_smooth(curves, bm.score_curves(curves), threshold=20, n_studies=39, seed=3)
    pd.testing.assert_frame_equal(expected, again)
    other = expected_if_smooth(curves, bm.score_curves(curves), threshold=20, n_studies=39, seed=4)
    assert not other["expected"].equals(expected["expected"])


def test_what_cannot_be_simulated_is_not_compared():
    frame = study(np.random.default_rng(1), m=6)
    frame.loc[frame["task"] == "task 002", "n_examples"] = np.nan
    frame = frame[~((frame["task"] == "task 004") & (frame["total_params"] > 1e9))]  # three models
    curves = bm.build_curves(frame)
    found = expected_if_smooth(curves, bm.score_curves(curves), n_studies=19)
    assert set(found["n_compared"]) == {4}
    none = bm.build_curves(frame[frame["task"] == "task 002"])
    found = expected_if_smooth(none, bm.score_curves(none), n_studies=19)
    assert set(found["n_compared"]) == {0}
    assert yardstick_sentence(found) == (
        "No curve can be simulated: that takes four models, a metric of known range, a scale that "
        "is not a loss, and numbers of examples (--n-examples) or standard errors."
    )


@pytest.mark.full
def test_smooth_studies_are_seldom_called_more():
    rejected = 0
    for number in range(12):
        curves = bm.build_curves(study(np.random.default_rng([9, number]), m=30))
        found = expected_if_smooth(curves, bm.score_curves(curves), n_studies=99)
        rows = found[(found["group"] == "all") & (found["sigma"] != "zero")]
        rejected += (rows["p_value"] <= 0.05).sum()
    assert rejected <= 5  # of 48; at most 2.4 are expected


def test_steps_make_small_p_values():
    p = []
    for number in range(4):
        curves = bm.build_curves(study(np.random.default_rng([7, number]), sigma=0.1, steps=0.3))
        found = expected_if_smooth(curves, bm.score_curves(curves), n_studies=99)
        rows = found[(found["group"] == "all") & (found["criterion"] == "resolution_limited")]
        p.append(rows.set_index("sigma")["p_value"])
    # Smooth studies have about a half, and more.
    assert (pd.DataFrame(p).mean() < [0.2, 0.25, 0.1]).all()


def test_a_plain_simulation_of_gpt3_expects_as_many():
    """One row, recomputed: best fits of scipy, models alike, and E by its definition."""
    curves = bm.build_curves(bm.load_embedded())
    keys = curves.keys
    sums = curves[keys["task"].str.startswith("arithmetic").to_numpy(dtype=bool)]
    rng = np.random.default_rng(0)
    expected = 0.0
    for i in range(len(sums)):
        part = slice(sums.offsets[i], sums.offsets[i + 1])
        n = sums.n_examples[part].astype(int)
        right, x = np.rint(sums.y[part] / 100 * n), np.log(sums.x[part])
        x = x - x.mean()

        def deviance(law, right=right, n=n, x=x):
            p = np.clip(np.exp(-np.exp(law[0] - law[1] * x)), 1e-12, 1 - 1e-12)
            return -(right * np.log(p) + (n - right) * np.log1p(-p)).sum()

        fits = [
            optimize.minimize(deviance, start, bounds=[(-6, 6), (0, 0.35)], method="L-BFGS-B")
            for start in ([0.0, 0.2], [2.0, 0.3], [1.0, 0.05])
        ]
        law = min(fits, key=lambda fit: fit.fun).x
        drawn = rng.binomial(n, np.exp(-np.exp(law[0] - law[1] * x)), (400, len(x))) / n
        flags = 0
        for y in drawn:
            median = np.sqrt(np.median(np.diff(y) ** 2))
            span = np.sign(y.argmax() - y.argmin()) * (y.max() - y.min())
            flags += span > 100 * median
        expected += flags / 400
    found = expected_if_smooth(sums, bm.score_curves(sums), n_studies=399)
    row = found[
        (found["criterion"] == "flagged") & (found["group"] == "all") & (found["sigma"] == "zero")
    ].iloc[0]
    assert row["observed"] == 19
    assert row["expected"] == pytest.approx(expected, abs=1.5)


@pytest.mark.full
def test_all_criteria_in_one_and_two_processes(tmp_path):
    curves = bm.build_curves(study(np.random.default_rng(5), m=4))
    scores = bm.score_curves(curves, inference=True, n_boot=19)
    options = {"yardstick": "full", "n_studies": 19, "n_boot": 19}
    one = expected_if_smooth(curves, scores, **options)
    two = expected_if_smooth(
        curves, scores, execution=bm.Execution(jobs=2, keep=tmp_path), **options
    )
    pd.testing.assert_frame_equal(one, two)
    assert set(one["criterion"]) == {criterion.name for criterion in CRITERIA}
    assert len(list(tmp_path.glob("*.arrow"))) == 3 * 19
    of_scores = expected_if_smooth(curves, scores, n_studies=19)
    key = ["criterion", "group", "sigma"]
    both = of_scores.merge(one, on=key)
    assert (both["expected_x"] == both["expected_y"]).all()


@pytest.mark.parametrize(
    ("observed", "expected", "p", "predicted", "found"),
    [
        (21, 11.6, (0.001, 0.001, 0.5), "about 12",
         "21 do (p = 0.001), so smooth improvement does not explain them all."),
        (1, 0.2, (0.2, 0.01, 0.01), "fewer than one",
         f"1 does (p = 0.01 or 0.2, depending on model scatter), {DEPENDS}"),
        (3, 2.9, (0.2, 0.3, 0.01), "about 3",
         f"3 do (p = 0.2 or 0.3, depending on model scatter), {ALL}"),
        (0, 0.1, (1.0, 1.0, 1.0), "fewer than one", "none does."),
    ],
)  # fmt: skip
def test_sentences(observed, expected, p, predicted, found):
    rows = pd.DataFrame(
        {
            "criterion": "flagged", "group": "all", "sigma": VARIATIONS, "n_compared": 186,
            "observed": observed, "expected": expected, "expected_low": 8.0,
            "expected_high": 16.0, "p_value": p,
        }
    )  # fmt: skip
    assert yardstick_sentence(rows) == (
        f"If all models improved smoothly, {predicted} (95% range 8 to 16) of 186 curves that can "
        f"be simulated would have E above 100; {found}"
    )


def test_scores_of_other_curves_are_refused(curves):
    scores = bm.score_curves(curves)
    with pytest.raises(InputError, match="scores: 3 rows for"):
        expected_if_smooth(curves, scores.head(3))
    with pytest.raises(SchemaError, match="missing column resolution"):
        expected_if_smooth(curves, scores.drop(columns="resolution"))


@pytest.mark.full
def test_criteria_of_tests_that_were_not_made_are_not_compared():
    curves = bm.build_curves(study(np.random.default_rng(5), m=3))
    scores = bm.score_curves(curves, inference=True, n_boot=19, variation="curve")
    found = expected_if_smooth(
        curves, scores, yardstick="full", n_studies=19, n_boot=19, variation="curve"
    )
    assert "mechanism_q_bh" in set(found["criterion"])
    assert "family_q_bh" not in set(found["criterion"])


@pytest.mark.parametrize("options", [{"n_studies": 18}, {"yardstick": "some"}])
def test_options_out_of_range(curves, options):
    with pytest.raises(InputError):
        expected_if_smooth(curves, bm.score_curves(curves), **options)


def test_curves_in_parts_give_what_all_give(curves, expected, monkeypatch):
    """Laws are fitted part by part, and only the most probable ones of all curves meet."""
    monkeypatch.setattr("bigbench_meta.aggregate.yardstick._PART", 5)
    scores = bm.score_curves(curves)
    parts = expected_if_smooth(curves, scores, threshold=20, n_studies=39, seed=3)
    pd.testing.assert_frame_equal(parts, expected, check_exact=True)
