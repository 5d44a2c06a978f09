"""The mechanism in numbers, against the score of the formulas themselves."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate import mirage, multiple_choice
from bigbench_meta.report.tables.mirage import mechanism_grid, mechanism_table


def cells(table, metric):
    rows = table[table["metric"] == metric]
    key = zip(rows["task"], rows["n_scales"], strict=True)
    return dict(zip(key, rows["emergence_score"], strict=True))


def test_scores_are_those_of_the_formulas():
    table = mechanism_table(
        n_scales=[6, 9], smallest=2e8, largest=3e11, alpha=-0.4, c=1e9, target_lengths=[1, 7],
        n_choices=[3], concentrations=[5.0],
    )  # fmt: skip
    found = {metric: cells(table, metric) for metric in set(table["metric"])}
    for n in (6, 9):
        sizes = np.geomspace(2e8, 3e11, n)
        loss = mirage.per_token_loss(sizes, alpha=-0.4, c=1e9)
        choices = {"n_choices": 3, "concentration": 5.0}
        curves = {
            ("cross_entropy", "next token"): -loss,
            ("exact_str_match", "7 tokens"): mirage.expected_accuracy(loss, target_length=7),
            ("token_edit_distance", "7 tokens"): np.exp(-loss),
            ("multiple_choice_grade", "3 choices, concentration 5"): (
                multiple_choice.expected_multiple_choice_grade(loss, **choices)
            ),
            ("brier_score", "3 choices, concentration 5"): (
                -multiple_choice.expected_brier_score(loss, **choices)
            ),
        }
        for (metric, task), y in curves.items():
            # Sizes are whole numbers in the table.
            assert found[metric][task, n] == pytest.approx(bm.emergence_score(y), rel=1e-6)
    assert table["straight_line"].tolist() == (table["n_scales"] - 1).tolist()


def test_growth_with_length():
    """One token begins near a straight line; from two tokens on E grows, without end."""
    lengths = [2, 3, 5, 10, 20, 36]
    table = mechanism_table(target_lengths=[1, *lengths], n_choices=[])
    exact = cells(table, "exact_str_match")
    for n in (8, 12):
        assert exact["1 token", n] == pytest.approx(n - 1, rel=0.1)
        scores = [exact[f"{length} tokens", n] for length in lengths]
        assert all(low < high for low, high in pairwise(scores))
    edits = cells(table, "token_edit_distance")
    for (task, n), score in edits.items():
        assert score == pytest.approx(exact["1 token", n], rel=1e-9), task
    flags = table[table["flagged"]]
    assert set(zip(flags["task"], flags["n_scales"], strict=True)) == {
        ("10 tokens", 8), ("10 tokens", 12),
        *((f"{length} tokens", n) for length in (20, 36) for n in (5, 8, 12)),
    }  # fmt: skip


def test_a_target_of_ten_tokens_is_one_with_a_tenth_of_c():
    ten = cells(mechanism_table(c=1e9, target_lengths=[10], n_choices=[]), "exact_str_match")
    one = cells(mechanism_table(c=1e10, target_lengths=[1], n_choices=[]), "exact_str_match")
    assert list(ten.values()) == pytest.approx(list(one.values()), rel=1e-9)


@pytest.mark.parametrize(("threshold", "flags"), [(2.0, 3), (50.0, 2), (1e6, 2), (math.inf, 1)])
def test_threshold(threshold, flags):
    table = mechanism_table(
        n_scales=[8], target_lengths=[], n_choices=[4], concentrations=[1.0, 100.0, math.inf],
        threshold=threshold,
    )  # fmt: skip
    grades = table[table["metric"] == "multiple_choice_grade"]
    assert grades["flagged"].sum() == flags


def test_grid():
    table = mechanism_table(n_scales=[12, 5], target_lengths=[1, 20], n_choices=[2])
    grid = mechanism_grid(table)
    assert grid.columns.tolist() == ["metric", "task", "E of n = 5", "E of n = 12", "flagged_at"]
    assert grid.iloc[0].tolist() == ["", "straight line", 4.0, 11.0, ""]
    assert len(grid) == 1 + len(table) / 2
    long = table.set_index(["metric", "task", "n_scales"])
    for row in grid.iloc[1:].itertuples(index=False):
        metric, task, *scores, flags = row
        assert scores == [long.loc[(metric, task, n), "emergence_score"] for n in (5, 12)]
        flagged = [str(n) for n in (5, 12) if long.loc[(metric, task, n), "flagged"]]
        assert flags == ", ".join(flagged)
    # Rows of one metric stand together, in the order in which metrics first appear.
    assert list(dict.fromkeys(grid["metric"][1:])) == list(dict.fromkeys(table["metric"]))
    assert sum(a != b for a, b in pairwise(grid["metric"])) == table["metric"].nunique()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_scales": [2]}, "n_scales: 2 is not a whole number of at least 3"),
        ({"n_scales": []}, "n_scales: no number of models"),
        ({"smallest": 1e10, "largest": 1e10}, "smallest, largest: 1e.10 is not below 1e.10"),
        ({"smallest": 0.0}, "smallest: 0 is not a finite number of at least 1"),
        ({"largest": math.inf}, "largest: inf is not a finite number"),
        ({"alpha": 0.1}, "alpha: 0.1 is not a negative number"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        mechanism_table(**options)
