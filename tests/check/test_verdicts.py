"""The verdict on a claim: every reason, what it takes, and claims whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bigbench_meta as bm
from bigbench_meta.check.verdicts import (
    DECISIVE_ODDS,
    REASONS,
    VERDICTS,
    claim_verdicts,
    rises,
    sigma_of,
)
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.null_tests import STATUSES, null_tests

SIZES = np.array([1e8, 3e8, 1e9, 3e9, 1e10, 3e10, 1e11])
X = np.log(SIZES) - np.log(SIZES).mean()
SMOOTH = np.exp(-np.exp(-0.25 * X))
AFTER = np.arange(7) > 3


def stepped(factor):
    """Exact matches if the loss falls by a factor after the fourth size."""
    return np.exp(-np.exp(-0.2 * X) * np.where(AFTER, factor**-0.5, factor**0.5))


STEP = stepped(20)
HALF = stepped(4)
ROUGH = [0.366, 0.137, 0.236, 0.354, 0.575, 0.548, 0.571]
# Scores, examples, and what is said of them.
CASES = {
    "smooth": (SMOOTH, 2000),
    "step": (STEP, 2000),
    "either": (SMOOTH, 4),
    "no_rise": (SMOOTH[::-1], 2000),
    "flat": (np.full(7, 0.5), 100),
    "too_few_scales": (STEP[2:5], 2000),
    "no_test_set": (SMOOTH, np.nan),
}


def frame_of(scores, n=2000, *, task="t", metric="exact_str_match", **columns):
    return pd.DataFrame(
        {
            "benchmark": "b", "task": task, "metric": metric, "model_family": "f",
            "model_name": [f"m{i}" for i in range(len(scores))],
            "total_params": SIZES[: len(scores)], "score": scores, "n_examples": n,
        }
        | columns
    )  # fmt: skip


def curves_of(scores, n=2000, **columns):
    return bm.build_curves(frame_of(scores, n, **columns))


def verdict_of(scores, n=2000, **options):
    return claim_verdicts(curves_of(scores, n), **options).iloc[0]


@pytest.fixture(scope="module")
def every():
    """A row for each of the reasons, by the reason expected."""
    curves = bm.build_curves(
        pd.concat([frame_of(scores, n, task=name) for name, (scores, n) in CASES.items()])
    )
    return curves, claim_verdicts(curves).set_index("task")


# What is said ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", CASES)
def test_each_reason(every, reason):
    row = every[1].loc[reason]
    assert row["reason"] == reason
    assert row["verdict"] == {"smooth": "explained", "step": "sharper"}.get(reason, "undecidable")
    assert row["verdict"] in VERDICTS
    assert reason in (*REASONS, *STATUSES)


def test_columns(every):
    curves, rows = every
    assert rows.columns.tolist() == [
        "benchmark", "subtask", "metric", "model_family", "shots", "variant", "metric_type",
        "verdict", "reason", "sigma", "odds_step", "odds_rise", "odds_step_curve",
        "odds_step_family", "odds_step_zero", "step_from", "step_to", "rise_from", "rise_to",
        "p_step", "alpha_hat", "sigma_hat",
    ]  # fmt: skip
    assert rows.index.tolist() == curves.keys["task"].tolist()
    assert set(rows["sigma"]) == {"curve"}
    assert rows["odds_step_family"].isna().all()
    pd.testing.assert_series_equal(rows["odds_step"], rows["odds_step_curve"], check_names=False)
    step = rows.loc["step"]
    assert (step["step_from"], step["step_to"]) == (3e9, 1e10)
    assert (step["rise_from"], step["rise_to"]) == (3e9, 1e10)
    assert step["odds_step"] >= DECISIVE_ODDS
    smooth = rows.loc["smooth"]
    assert (smooth["rise_from"], smooth["rise_to"]) == (3e9, 1e10)
    assert smooth["odds_rise"] <= 1 / DECISIVE_ODDS
    assert smooth["alpha_hat"] == pytest.approx(0.25, abs=0.05)
    untested = rows.loc[["too_few_scales", "no_test_set"]]
    assert untested[["odds_step", "odds_rise", "p_step", "step_from"]].isna().all(axis=None)
    assert rows.loc[["flat", "no_rise"], "odds_rise"].isna().all()
    tests = null_tests(curves, n_boot=999, goodness=False).set_index("task")
    pd.testing.assert_series_equal(rows["p_step"], tests["p_step"])


@pytest.mark.parametrize("reason", ["smooth", "step", "either", "no_test_set"])
def test_a_row_does_not_depend_on_others(every, reason):
    scores, n = CASES[reason]
    alone = claim_verdicts(curves_of(scores, n, task=reason)).set_index("task").iloc[0]
    pd.testing.assert_series_equal(alone, every[1].loc[reason], check_names=False, rtol=1e-6)


def test_small_steps_are_not_explained():
    """A jump of a quarter of the loss is not one of a twentieth, but not smooth either."""
    found = verdict_of(HALF, 100_000, factor=1000)
    assert (found["verdict"], found["reason"]) == ("undecidable", "small_step")
    assert found["p_step"] <= 0.05
    assert found["odds_rise"] <= 1 / DECISIVE_ODDS


def test_scores_out_of_the_range_are_not_tested():
    found = verdict_of(100 * SMOOTH, 100)  # percentages
    assert (found["verdict"], found["reason"]) == ("undecidable", "score_out_of_range")


# What it takes -----------------------------------------------------------------------------------


def test_a_curve_chosen_among_many_needs_odds_as_many_times_as_high():
    odds = verdict_of(STEP, 200)["odds_step"]
    assert odds > 2 * DECISIVE_ODDS
    enough = int(odds / DECISIVE_ODDS)
    assert verdict_of(STEP, 200, among=enough)["verdict"] == "sharper"
    more = verdict_of(STEP, 200, among=enough + 1)
    assert (more["verdict"], more["reason"]) == ("undecidable", "either")
    # That improvement is smooth is not what it was chosen for.
    assert verdict_of(SMOOTH, among=10**6)["verdict"] == "explained"


def test_odds_that_are_needed():
    step, smooth = verdict_of(STEP, 200), verdict_of(SMOOTH, 100)
    for row, scores, n, odds in (
        (step, STEP, 200, step["odds_step"]), (smooth, SMOOTH, 100, 1 / smooth["odds_rise"]),
    ):  # fmt: skip
        assert verdict_of(scores, n, odds=0.99 * odds)["verdict"] == row["verdict"]
        assert verdict_of(scores, n, odds=1.01 * odds)["reason"] == "either"


def test_the_odds_are_the_mean_over_the_places(every):
    """By loops, from the evidence at each place."""
    from bigbench_meta.inference.nulls.inputs import null_inputs
    from bigbench_meta.inference.nulls.step_evidence import StepEvidence

    curves, rows = every
    evidence = StepEvidence.of(null_inputs(curves), np.log(20), curves.ragged)
    for name, weight in (("curve", np.full(6, 1 / 6)), ("zero", np.eye(6)[0])):
        odds = np.exp(np.minimum(evidence.log_odds(weight), 700))
        for i, task in enumerate(curves.keys["task"]):
            own = odds[curves.offsets[i] : curves.offsets[i + 1] - 1]
            assert (
                rows.loc[task, f"odds_step_{name}"]
                == pytest.approx(own.mean(), nan_ok=True, rel=1e-6)
                or own.max() > 1e300
            )
            if name == "curve" and rows.loc[task, "reason"] in {"smooth", "step", "either"}:
                scores = curves.y[curves.offsets[i] : curves.offsets[i + 1]]
                rise = np.diff(scores)
                claimed = own[rise >= rise.max() / 2].max()
                assert rows.loc[task, "odds_rise"] == pytest.approx(claimed, rel=1e-6)
                place = int(own.argmax())
                assert rows.loc[task, "step_from"] == SIZES[place]


def test_where_scores_rise():
    frames = [
        frame_of([0.1, 0.2, 0.6, 0.85, 0.8], task="a"),
        frame_of([0.5, 0.4, 0.4], task="b"),
        frame_of([0.3], task="c"),
        frame_of([5.0, 4.0, 4.5, 1.0], task="d", metric="token_edit_distance"),
    ]
    found = rises(bm.build_curves(pd.concat(frames)))
    expected = [[0, 1, 1, 0, 0], [0, 0, 0], [0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(found, np.concatenate(expected).astype(bool))


def test_losses_of_a_metric_that_falls_are_rises():
    length = 5.0
    found = claim_verdicts(
        curves_of(length * (1 - STEP), metric="token_edit_distance", low_score=length, high_score=0)
    ).iloc[0]
    assert found["verdict"] == "sharper"
    assert (found["rise_from"], found["rise_to"]) == (3e9, 1e10)


def test_a_family_says_how_much_its_models_vary():
    rng = np.random.default_rng(0)

    def others(sigma):
        level, alpha = rng.uniform(-0.7, 0.7, (30, 1)), rng.uniform(0.05, 0.3, (30, 1))
        log_loss = level - alpha * X + sigma * rng.standard_normal((30, len(X)))
        right = rng.binomial(2000, np.exp(-np.exp(log_loss))) / 2000
        return bm.build_curves(
            pd.concat([frame_of(one, task=f"o{i}") for i, one in enumerate(right)])
        )

    alike, unlike = (
        verdict_of(HALF, factor=4.0, among=10**5, family=others(sigma)) for sigma in (0.0, 0.8)
    )
    alone = verdict_of(HALF, factor=4.0, among=10**5)
    assert (alike["sigma"], unlike["sigma"], alone["sigma"]) == ("family", "family", "curve")
    assert unlike["odds_step"] < alone["odds_step"] < alike["odds_step"]
    for row in (alike, unlike):
        assert row["odds_step"] == row["odds_step_family"]
        assert row["odds_step_curve"] == pytest.approx(alone["odds_step"])
        assert row["odds_step_zero"] == pytest.approx(alone["odds_step_zero"])
    assert alike["verdict"] == "sharper"
    assert unlike["verdict"] == "undecidable"
    # A family of which no curve can be tested says nothing.
    assert sigma_of(curves_of(STEP[:3])) is None
    assert verdict_of(STEP, family=curves_of(STEP[:3]))["sigma"] == "curve"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1.0}, "factor: 1 is not a finite number above 1"),
        ({"factor": np.nan}, "factor: nan"),
        ({"odds": 1}, "odds: 1 is not a finite number above 1"),
        ({"odds": np.inf}, "odds: inf"),
        ({"among": 0}, "among: 0 is not a whole number of at least 1"),
        ({"among": 1.5}, "among: 1.5 is not a whole number"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError) as error:
        verdict_of(STEP, **options)
    assert message in str(error.value)


def test_no_curves():
    nothing = curves_of(STEP)[np.zeros(1, dtype=bool)]
    assert len(claim_verdicts(nothing)) == 0


def test_odds_beyond_the_largest_number_are_infinite():
    scores = np.where(AFTER, 0.97, 0.01)
    found = verdict_of(scores, 10**7)
    assert found["odds_step_zero"] == np.inf
    assert found["verdict"] == "sharper"


# Where the truth is known ------------------------------------------------------------------------


def test_wrong_verdicts_are_rare():
    """At most one in 20, by the priors; here of 60 claims of each kind, other than the priors'."""
    rng = np.random.default_rng(7)
    m, n = 60, 500
    alpha, sigma = rng.uniform(0.05, 0.34, (2 * m, 1)), rng.uniform(0, 0.2, (2 * m, 1))
    place = rng.integers(1, 6, (2 * m, 1))
    jumps = np.arange(2 * m)[:, None] >= m
    fall = np.log(20) * ((np.arange(len(X)) >= place) - 0.5) * jumps
    log_loss = rng.uniform(-0.5, 1.0, (2 * m, 1)) - alpha * X - fall
    log_loss += sigma * rng.standard_normal(log_loss.shape)
    scores = rng.binomial(n, np.exp(-np.exp(log_loss))) / n
    curves = bm.build_curves(
        pd.concat([frame_of(one, n, task=f"{i:03}") for i, one in enumerate(scores)])
    )
    verdict = claim_verdicts(curves)["verdict"].to_numpy()
    smooth, stepped_ = verdict[:m], verdict[m:]
    most = int(stats.binom.ppf(0.99, m, 1 / DECISIVE_ODDS))  # 8 of 60
    assert (smooth == "sharper").sum() <= min(most, 0.1 * m)
    assert (stepped_ == "explained").sum() <= min(most, 0.1 * m)
    # And not because nothing is decided.
    assert (smooth == "explained").mean() >= 0.6
    assert (stepped_ == "sharper").mean() >= 0.6
