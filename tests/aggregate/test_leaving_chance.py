"""At what loss curves leave chance: intervals that hold the truth, and families compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.aggregate.leaving_chance import common_departure, leaving_chance
from bigbench_meta.core.errors import InputError, SchemaError

LOSSES = np.linspace(4.5, 2.0, 26)


def family(name, leaves_at, *, n=2000, rng=None, **columns):
    """Return scores of checkpoints that are at chance, 0.25, and from a loss on rise above it."""
    rate = np.minimum(0.25 + np.clip(leaves_at - LOSSES, 0, None) * 0.5, 1.0)
    count = np.round(n * rate) if rng is None else rng.binomial(n, rate)
    return pd.DataFrame({
        "benchmark": "b", "task": "t", "metric": "acc", "model_family": name,
        "model_name": [f"{name} {loss:.1f}" for loss in LOSSES], "pretraining_loss": LOSSES,
        "score": count / n, "n_examples": n, "low_score": 0.25, "high_score": 1.0,
    }).assign(**columns)  # fmt: skip


def intervals(*families, **options):
    table = leaving_chance(pd.concat(families, ignore_index=True), **options)
    return table.set_index("model_family")[["low", "high"]]


def test_the_interval_is_between_the_last_below_and_the_first_above():
    # 0.05 above chance is 0.1 below the loss where the rise begins: 2.9.
    row = leaving_chance(family("f", 3.0)).iloc[0]
    assert row["low"] <= 2.9 <= row["high"]
    assert row["high"] - row["low"] <= 0.6
    assert (row["chance"], row["n_scales"], row["leaves"]) == (0.25, 26, True)
    assert row["first_score"] == 0.25
    larger = leaving_chance(family("f", 3.0, n=10**6)).iloc[0]
    assert row["low"] <= larger["low"] <= larger["high"] <= row["high"]


@pytest.mark.full
def test_wrong_intervals_are_rare():
    rng = np.random.default_rng(0)
    truth = 3.0 - 0.1
    missed = 0
    for _ in range(200):
        row = leaving_chance(family("f", 3.0, rng=rng)).iloc[0]
        missed += not row["low"] <= truth <= row["high"]
    assert missed <= 10  # alpha = 0.05, over all points at once


def test_families_that_leave_at_one_loss_and_at_two():
    alike = common_departure(leaving_chance(pd.concat([family("a", 3.0), family("b", 3.0)])))
    assert alike[["n_families", "n_leave", "answer"]].iloc[0].tolist() == [2, 2, "one"]
    assert alike["low"].iloc[0] <= 2.9 <= alike["high"].iloc[0]
    apart = common_departure(leaving_chance(pd.concat([family("a", 4.0), family("b", 2.6)])))
    assert apart["answer"].iloc[0] == "different"
    assert apart["reason"].iloc[0] == "the intervals of a and b are apart"
    assert apart[["low", "high"]].isna().all(axis=None)


def test_what_cannot_be_told():
    never, always = family("never", 0.0), family("always", 9.0)
    found = intervals(never, always)
    assert found.loc["never", "low"] == 0.0
    assert found.loc["always", "high"] == np.inf
    one = common_departure(leaving_chance(pd.concat([family("a", 3.0), never])))
    assert one["answer"].iloc[0] == "different"  # the other is still at chance at a lower loss
    early = common_departure(leaving_chance(pd.concat([always, always.assign(model_family="c")])))
    assert early["answer"].iloc[0] == "cannot_tell"
    untested = leaving_chance(family("f", 3.0).drop(columns=["low_score", "n_examples"]))
    assert untested[["low", "high", "leaves"]].isna().all(axis=None)
    (row,) = common_departure(untested).to_dict("records")
    assert (row["n_families"], row["answer"]) == (0, "cannot_tell")


def test_chance_and_examples_given_beside():
    known = leaving_chance(family("f", 3.0))
    bare = family("f", 3.0).drop(columns=["low_score", "n_examples"])
    given_here = leaving_chance(bare, chance=0.25, n_examples=2000)
    pd.testing.assert_frame_equal(known, given_here)


def test_a_score_of_which_less_is_better_and_an_axis_that_rises(tmp_path):
    up = family("f", 3.0)
    error = up.assign(
        metric="mine",
        score=1 - up["score"],
        low_score=0.75,
        high_score=0.0,
        total_params=range(1, 27),
    )
    path = tmp_path / "mine.csv"
    path.write_text(
        "metric,low,high,step,higher_is_better,metric_type\nmine,0,1,1,false,discontinuous\n"
    )
    catalog = bm.metric_catalog().overridden_by(bm.MetricCatalog.read(path))
    falling = leaving_chance(error, catalog=catalog)
    expected = leaving_chance(up)
    assert falling[["low", "high"]].equals(expected[["low", "high"]])
    rising = leaving_chance(error, scale="total_params", catalog=catalog).iloc[0]
    place = {loss: row for row, loss in enumerate(LOSSES, 1)}
    assert rising["low"] == place[expected["high"].iloc[0]]
    assert rising["high"] == place[expected["low"].iloc[0]]


@pytest.mark.full
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.randoms())
def test_the_order_of_rows_does_not_matter(scores, random):
    frame = (
        family("f", 3.0).head(len(scores)).assign(score=np.round(np.array(scores) * 2000) / 2000)
    )
    order = list(range(len(frame)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(leaving_chance(frame), leaving_chance(frame.iloc[order]))


def test_wrong_input():
    with pytest.raises(InputError, match="not a scale axis"):
        leaving_chance(family("f", 3.0), scale="loss")
    with pytest.raises(InputError, match="effect"):
        leaving_chance(family("f", 3.0), effect=2.0)
    with pytest.raises(SchemaError, match="missing column"):
        common_departure(pd.DataFrame({"task": ["t"]}))


def test_the_pages_say_what_olmo_ladder_gives(shared, tmp_path, monkeypatch, capsys):
    page = ROOT / "docs" / "pretraining_loss.md"
    if not page.is_file():
        pytest.skip("needs the folder `docs`")
    (tmp_path / "olmo_ladder").symlink_to(shared / "samples" / "olmo_ladder")
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    recipe = text.rpartition("```python\n")[2].partition("```")[0]
    names = {}
    exec(recipe, names)
    observations = names["observations"]
    read, problems = bm.read_results("olmo.csv")
    assert problems.empty
    assert read["pretraining_loss"].tolist() == observations["pretraining_loss"].tolist()
    found = common_departure(leaving_chance(read))
    for row in found.to_dict("records"):
        assert f"| {row['task']} | {row['n_leave']} | " in text
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row['task']} |"))
        assert line.endswith(f"| {row['answer']} |")
        assert f"{row['low']:.2f}" in line
    assert found["answer"].value_counts().to_dict() == {"cannot_tell": 7, "one": 5}
    # What docs/yardstick.md makes of the same observations.
    recipe = (ROOT / "docs" / "yardstick.md").read_text("utf-8").partition("```python\n")[2]
    exec(recipe.partition("```")[0], names)
    scores = names["scores"]["emergence_score"]
    assert (len(scores), round(scores.min(), 1), round(scores.max(), 1)) == (12, 3.6, 4.6)
    said = capsys.readouterr().out
    assert "fewer than one (95% range 0 to 0) of 12 curves" in said
    assert said.endswith("none does.\n")
