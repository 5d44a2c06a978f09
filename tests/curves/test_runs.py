"""Runs of one model are kept apart where their settings differ, and nowhere else."""

from __future__ import annotations

import json
from collections import defaultdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import UNEXPLAINED, conform
from bigbench_meta.curves.runs import (
    doubtful_counts,
    doubtful_sentences,
    family_hint,
    run_problems,
    separate_runs,
)

SIZES = {"1b": 10**9, "7b": 7 * 10**9, "70b": 70 * 10**9}


def row(model, score, said=None, **columns):
    return {
        "benchmark": "b", "task": "t", "metric": "acc", "model_family": "f", "model_name": model,
        "total_params": SIZES[model], "score": score,
        "settings": None if said is None else json.dumps(said),
    } | columns  # fmt: skip


def curves_of(rows, **options):
    """Return the scores of each curve by its variant, smallest model first."""
    curves = bm.build_curves(pd.DataFrame(rows), **options)
    points = curves.points()
    variants = points["variant"].astype(object).where(points["variant"].notna(), None)
    found = defaultdict(list)
    for variant, score in zip(variants, points["score"], strict=True):
        found[variant].append(score)
    return dict(found)


def family(said, *scores):
    return [row(model, score, said) for model, score in zip(SIZES, scores, strict=False)]


def test_two_runs_of_every_model_are_two_curves():
    rows = family({"backend": "neox"}, 0.1, 0.2, 0.3) + family({"backend": "hf"}, 0.2, 0.4, 0.6)
    assert curves_of(rows) == {"backend=neox": [0.1, 0.2, 0.3], "backend=hf": [0.2, 0.4, 0.6]}


def test_what_is_not_said_is_not_named():
    rows = family(None, 0.1, 0.2, 0.3) + family({"chat_template": "a1"}, 0.2, 0.4, 0.6)
    assert curves_of(rows) == {None: [0.1, 0.2, 0.3], "chat_template=a1": [0.2, 0.4, 0.6]}


def test_settings_that_differ_between_models_alone_tell_nothing_apart():
    rows = [
        row("1b", 0.1, {"precision": "float16"}),
        row("7b", 0.2, {"precision": "bfloat16"}),
        row("70b", 0.3, {"precision": "bfloat16"}),
    ]
    assert curves_of(rows) == {None: [0.1, 0.2, 0.3]}
    assert run_problems(pd.DataFrame(rows))["reason"].tolist() == [
        "1 curve joins models that were run differently: precision"
    ]


def test_what_tells_runs_of_one_task_apart_tells_them_apart_on_all():
    """Half of the tasks have no model that was run twice; their curves are of one run each too."""
    rows = family({"backend": "neox"}, 0.1, 0.2) + family({"backend": "hf"}, 0.2, 0.4)
    rows += [
        row("1b", 0.5, {"backend": "neox"}, task="u"), row("7b", 0.6, {"backend": "hf"}, task="u")
    ]  # fmt: skip
    assert curves_of([one for one in rows if one["task"] == "u"]) == {None: [0.5, 0.6]}
    both = bm.build_curves(pd.DataFrame(rows)).keys
    assert set(both.loc[both["task"] == "u", "variant"]) == {"backend=neox", "backend=hf"}


def test_the_fewest_settings_that_tell_runs_apart_are_named():
    one = {"backend": "neox", "harness": "0.3", "task.b": "1", "task.a": "x"}
    rows = family(one, 0.1, 0.2) + family(one | {"harness": "0.4", "task.a": "y"}, 0.2, 0.3)
    assert set(curves_of(rows)) == {"harness=0.3", "harness=0.4"}
    # What all say goes before what some say.
    rows = family({"task.cot": "true", "task.subject": "m"}, 0.1) + family({"task.subject": "a"}, 1)
    assert set(curves_of(rows)) == {"subject=m", "subject=a"}


def test_labels_stand_beside_a_variant():
    rows = [
        row("1b", score, {"checkpoint": step, "precision": bits}, variant="strict-match")
        for score, step, bits in (
            (0.1, "step1", "4bit"), (0.2, "step2", "4bit"), (0.3, "step2", "8bit")
        )
    ]  # fmt: skip
    assert set(curves_of(rows)) == {
        "step1/strict-match/precision=4bit", "step2/strict-match/precision=4bit",
        "step2/strict-match/precision=8bit",
    }  # fmt: skip


def test_a_limited_run_gives_way_to_the_full_one():
    rows = [row("1b", 0.9, {"limit": "10", "backend": "hf"}), row("1b", 0.7, {"backend": "hf"})]
    rows += [row("7b", 0.8, {"limit": "10", "backend": "hf"})]  # the only one of its model
    assert curves_of(rows) == {None: [0.7, 0.8]}
    reasons = run_problems(pd.DataFrame(rows))["reason"].tolist()
    assert reasons[0] == (
        "1 scores of runs on some of the examples are left out: the same runs on all are there"
    )
    assert reasons[1:] == ["1 curve joins models that were run differently: limit"]
    # Another setting differs: it is another run, and both stay.
    rows[0] = row("1b", 0.9, {"limit": "10", "backend": "vllm"})
    assert {0.9, 0.7} <= {score for scores in curves_of(rows).values() for score in scores}


def test_a_limited_run_stays_where_the_full_one_has_no_score():
    rows = [
        row(model, score, said)
        for model in SIZES
        for score, said in ((0.5, {"limit": "10"}), (float("nan"), None))
    ]
    rows += [row("1b", -1.0, {"backend": "hf"}, task="u")]  # a code for "not measured"
    rows += [row("1b", 0.3, {"backend": "hf", "limit": "10"}, task="u"), row("7b", 0.4, task="u")]
    curves = bm.build_curves(pd.DataFrame(rows))
    assert curves.keys["variant"].isna().all()
    assert curves.y.tolist() == [0.5, 0.5, 0.5, 0.3, 0.4]
    assert curves.keys["run_differently"].tolist() == ["", "backend, limit"]
    assert "left out" not in "".join(run_problems(pd.DataFrame(rows))["reason"])


STEPS = [
    row("1b", 0.1, {"checkpoint": "step900"}), row("1b", 0.2, {"checkpoint": "step1000"}),
    row("7b", 0.3, {"checkpoint": "step2k"}), row("7b", 0.25, {"checkpoint": "step1000"}),
    row("70b", 0.4),
]  # fmt: skip


@pytest.mark.parametrize(
    ("checkpoint", "found"),
    [
        ("all", {"step900": [0.1], "step1000": [0.2, 0.25], "step2k": [0.3], None: [0.4]}),
        ("last", {None: [0.2, 0.3, 0.4]}),
        ("step1000", {None: [0.2, 0.25]}),
    ],
)
def test_which_checkpoint_counts(checkpoint, found):
    assert curves_of(STEPS, checkpoint=checkpoint) == found


def test_the_last_checkpoints_of_two_runs_are_two_curves():
    """One run of a model ended at another step than the other; its family did not."""
    rows = [
        row(model, score, {"backend": backend, "checkpoint": step})
        for model, backend, step, score in (
            ("1b", "neox", "step900", 0.1), ("1b", "neox", "step500", 0.9),
            ("1b", "hf", "step1800", 0.2), ("7b", "neox", "step1800", 0.3),
            ("7b", "hf", "step1800", 0.4),
        )
    ]  # fmt: skip
    found = curves_of(rows, checkpoint="last")
    assert found == {"backend=neox": [0.1, 0.3], "backend=hf": [0.2, 0.4]}


def test_an_older_checkpoint_does_not_pass_as_the_last():
    """Whatever else differs; but another backend, adapter or variant may be a training of its own,
    and where it ended is told."""
    for name in ("harness", "precision", "task.prompt", "generation.temperature"):
        rows = family({"checkpoint": "step1000", name: "a"}, 0.1, 0.2)
        rows += family({"checkpoint": "step143000", name: "b"}, 0.3, 0.4)
        assert curves_of(rows, checkpoint="last") == {None: [0.3, 0.4]}
        assert run_problems(pd.DataFrame(rows), checkpoint="last").empty
    rows = [
        row("1b", 0.1, {"checkpoint": "step1000", "backend": "vllm"}),
        row("1b", 0.2, {"checkpoint": "step143000", "backend": "hf"}),
    ]
    assert set(curves_of(rows, checkpoint="last")) == {"backend=vllm", "backend=hf"}
    keys = bm.build_curves(pd.DataFrame(rows), checkpoint="last").keys
    assert doubtful_sentences(keys) == [
        (
            "1 of 2 curves have a model at an earlier checkpoint than its last, where another "
            "training of it, by backend, adapter or variant, went on."
        )
    ]
    assert doubtful_counts(bm.build_curves(pd.DataFrame(rows)).keys)["n_earlier_checkpoint"] == 0
    assert run_problems(pd.DataFrame(rows), checkpoint="last")["reason"].tolist() == [
        "1b: step1000 counts as the last checkpoint of backend=vllm, but step143000 is later"
    ]


def test_a_task_that_only_an_older_checkpoint_did_is_of_no_last_one():
    rows = family({"checkpoint": "step1000"}, 0.1, 0.2) + family({"checkpoint": "step9000"}, 0.3, 1)
    rows += [row("1b", 0.5, {"checkpoint": "step1000"}, task="u")]
    assert curves_of(rows, checkpoint="last") == {None: [0.3, 1]}


def test_a_checkpoint_that_no_model_has():
    with pytest.raises(InputError, match="no model has the checkpoint 'step7'") as caught:
        curves_of(STEPS, checkpoint="step7")
    assert "step1000, step2k, step900" in caught.value.hint
    with pytest.raises(InputError, match="'step7'") as caught:
        curves_of([row("1b", 0.1)], checkpoint="step7")
    assert caught.value.hint == "no file names a checkpoint"


def test_scores_that_nothing_explains_are_counted():
    rows = [row("1b", 0.1), row("7b", 0.2), row("7b", 0.3), row("70b", 0.4)]
    for number, one in enumerate(rows[1:3], 1):
        one["replicate"] = f"{UNEXPLAINED} {number}"
    scores = bm.score_curves(bm.build_curves(pd.DataFrame(rows))).iloc[0]
    assert (scores["n_tied"], scores["n_replicated"]) == (1, 1)
    named = [one | {"replicate": f"seed {n}"} for n, one in enumerate(rows)]
    assert bm.score_curves(bm.build_curves(pd.DataFrame(named)))["n_replicated"].tolist() == [0]


def test_settings_that_are_no_json_are_a_setting_without_a_name():
    rows = [row("1b", 0.1) | {"settings": "mine"}, row("1b", 0.2) | {"settings": "yours"}]
    assert set(curves_of(rows)) == {"mine", "yours"}


names = st.sampled_from(["backend", "precision", "task.a", "limit"])
runs = st.dictionaries(names, st.sampled_from(["x", "y", "x,precision=y"]), max_size=3)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(list(SIZES)), st.one_of(st.none(), runs), st.sampled_from("tu")),
        min_size=1,
        max_size=12,
    )
)
def test_no_point_averages_two_runs(rows):
    """Whatever the runs, only scores of one run of one model share a point."""
    observed = pd.DataFrame(
        [row(model, place / 16, said, task=task) for place, (model, said, task) in enumerate(rows)]
    )
    kept = separate_runs(conform(observed))
    said = [canonical(said) for _, said, _ in rows]
    variants = iter(kept.table["variant"].to_pylist())
    point = defaultdict(set)
    for (model, _, task), run, is_kept in zip(rows, said, kept.kept, strict=True):
        if is_kept:
            point[task, model, next(variants)].add(run)
        else:  # it is limited, and the same without a limit is there
            full = canonical(
                {key: value for key, value in json.loads(run).items() if key != "limit"}
            )
            assert full != run
            assert any(
                (model, full, task) == (*one[:1], two, *one[2:])
                for one, two in zip(rows, said, strict=True)
            )
    assert all(len(runs) == 1 for runs in point.values())


def canonical(said):
    return json.dumps(said or {}, sort_keys=True)


# --- The last checkpoint, where names do and do not say which it is ---


def last_of(*checkpoints):
    rows = [
        row("1b", place / 16, {"checkpoint": name}) for place, name in enumerate(checkpoints, 1)
    ]
    names = {place / 16: name for place, name in enumerate(checkpoints, 1)}
    found = curves_of(rows, checkpoint="last")
    assert all(len(scores) == 1 for scores in found.values())  # nothing is averaged
    reasons = run_problems(pd.DataFrame(rows), checkpoint="last")["reason"].tolist()
    chosen = [names[score] for scores in found.values() for score in scores]
    assert (len(reasons) == 1) == (len(chosen) > 1)
    assert all(name in reasons[0] for name in chosen if reasons)
    return chosen


@pytest.mark.parametrize(
    "checkpoints",
    [
        ["stage1-step1000-tokens10B", "stage1-step5000-tokens50B", "stage1-step9000-tokens90B"],
        ["stage1-step9000-tokens90B", "stage2-step1000-tokens1B"],
        ["v1.5-step1000", "v1.0-step9000"],
        ["100B-tokens", "1T-tokens"],
        ["tokens-900M", "tokens-2B"],
        ["iter_0900", "iter_1000"],
        ["ckpt_9", "ckpt_10"],
        ["checkpoint-900", "checkpoint-1000"],
        ["step900k", "step1M"],
        ["step-50k-105b", "step-480k-1007b"],
    ],
)
def test_the_last_checkpoint_is_the_one_trained_longest(checkpoints):
    assert last_of(*checkpoints) == checkpoints[-1:]
    assert last_of(*reversed(checkpoints)) == checkpoints[-1:]


@pytest.mark.parametrize(
    "checkpoints",
    [
        ["early", "late"],
        ["3f2a91c", "9b01d4e"],
        ["step1000", "late"],
        ["step1000", "100B-tokens"],
        ["stage2-step1000", "step9000"],
        ["stage2-ingredient1-step1000", "stage2-ingredient2-step1000"],
    ],
)
def test_checkpoints_in_no_known_order_stay_apart(checkpoints):
    assert sorted(last_of(*checkpoints)) == sorted(checkpoints)


# --- Labels of different settings ---


def test_one_name_in_two_groups_of_settings_is_two_settings():
    rows = [
        row("1b", score, said)
        for score, said in (
            (0.1, None), (0.2, {"model.max_gen_toks": "256"}),
            (0.3, {"generation.max_gen_toks": "256"}),
        )
    ]  # fmt: skip
    assert curves_of(rows) == {
        None: [0.1], "model.max_gen_toks=256": [0.2], "generation.max_gen_toks=256": [0.3]
    }  # fmt: skip


def test_a_variant_that_reads_like_a_setting_is_another_curve():
    rows = [row("1b", 0.1, variant="precision=4bit"), row("1b", 0.2, {"precision": "4bit"})]
    rows += [row("1b", 0.3)]
    expected = {"precision=4bit": [0.1], "precision=4bit (2)": [0.2], None: [0.3]}
    assert curves_of(rows) == curves_of(rows[::-1]) == expected


# --- Names and sizes of models ---


@pytest.mark.parametrize("other", ["Owl-1B", "owl_1b", "eagle-1b"])
def test_settings_tell_runs_apart_however_the_model_is_spelled(other):
    """Two names of one size would share a point."""
    rows = [
        row("1b", 0.1, {"quantisation": "8bit"}, model_name="owl-1b"),
        row("1b", 0.2, {"quantisation": "4bit"}, model_name=other),
        row("7b", 0.3, {"quantisation": "8bit"}),
    ]
    assert curves_of(rows) == {"quantisation=8bit": [0.1, 0.3], "quantisation=4bit": [0.2]}


def test_curves_that_average_models_of_one_size_say_so():
    rows = [row("1b", 0.1, model_name="owl"), row("1b", 0.3, model_name="eagle"), row("7b", 0.5)]
    rows += [row("7b", 0.7, replicate="seed 2"), row("1b", 0.1, task="u")]
    keys = bm.build_curves(pd.DataFrame(rows)).keys
    assert (keys["n_tied"].tolist(), keys["n_same_size"].tolist()) == ([2, 0], [1, 0])
    assert doubtful_sentences(keys) == [
        (
            "1 of 2 curves average different models of one size; a rule of --names or "
            "{model_family} in --path tells them apart."
        )
    ]


def test_each_doubt_has_its_sentence():
    limited = {"limit": "10", "quantisation": "4bit"}
    rows = [row("1b", 0.1), row("7b", 0.2, limited), row("70b", 0.3, limited)]
    rows += [row("1b", 0.1, task="u"), row("7b", 20.0, task="u")]
    rows += [row("1b", 0.4, metric="mine"), row("7b", 40.0, metric="mine"), row("1b", 1, task="v")]
    keys = bm.build_curves(pd.DataFrame(rows)).keys
    assert doubtful_counts(keys) == {
        "n_replicated": 0, "n_same_size": 0, "n_run_differently": 1, "n_earlier_checkpoint": 0,
        "n_mixed_units": 1, "n_unit_questions": 1,
    }  # fmt: skip
    assert doubtful_sentences(keys) == [
        "1 of 4 curves join models that were run differently (limit, quantisation).",
        "1 of 4 curves have scores in two units, and no emergence score.",
        (
            "1 of 4 curves may have scores in two units; an entry of the metric in a catalog "
            "(--catalog) settles that."
        ),
    ]
    assert keys["run_differently"].tolist() == ["limit, quantisation", "", "", ""]
    assert doubtful_sentences(keys.tail(1)) == []


def test_sizes_of_one_model_that_hardly_differ_are_one_point():
    sizes = (1_030_000_000, 1_000_000_000, 1_000_000_000)
    rows = [
        row("1b", score, total_params=size, replicate=str(size + score))
        for size, score in zip(sizes, (0.1, 0.2, 0.3), strict=True)
    ]
    points = bm.build_curves(pd.DataFrame(rows)).points()
    assert points[["x", "score"]].to_numpy().tolist() == [[1e9, pytest.approx(0.2)]]


def test_a_score_without_a_size_is_reported_where_others_of_its_model_have_one():
    rows = [row("1b", 0.1), row("1b", 0.2, total_params=None, replicate="2"), row("7b", 0.3)]
    assert run_problems(pd.DataFrame(rows))["reason"].tolist() == [
        "1 scores of 1b have no size, others of it have one: not used on that axis"
    ]


# --- Families that look like one ---


def families(*names, model="{}-x"):
    shared = {"benchmark": "b", "task": "t", "metric": "acc", "score": 0.5}
    rows = [{**shared, "model_family": name, "model_name": model.format(name)} for name in names]
    return family_hint(pd.DataFrame(rows))


@pytest.mark.parametrize(
    "names",
    [
        ("owl-0424", "owl-1124"),
        ("owl-chat-2024-07-18", "owl-chat-20240307"),
        ("owl", "Owl-hf"),
        ("owl-7b", "owl-13b"),
        ("owl-small", "owl-large"),
        ("me/owl-v1", "me/owl-v1.5"),
        ("7b", "13b"),
    ],
)
def test_families_of_one_model_that_look_alike_are_told(names):
    assert families(*names).startswith(
        f"2 families of one model each look like one family: {names[0]}, {names[1]}. They are kept"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("owl", "eagle"),
        ("owl2.5", "owl3"),
        ("owl-2.5", "owl-3"),
        ("owl", "owl-chat"),
        ("owl-v1-chat", "owl-v2-chat"),
        ("owl",),
    ],
)
def test_other_families_are_not(names):
    assert families(*names) == ""


def test_the_hint_is_one_line_and_changes_nothing():
    names = [f"owl-{date}" for date in range(1000, 1006)] + ["cat-0424", "cat-1124"]
    assert families(*names).startswith(
        "6 families of one model each look like one family: owl-1000, owl-1001, owl-1002, owl-1003 "
        "and 2 more; 2 others look alike, too. They are kept apart"
    )
    rows = [row("1b", 0.1, model_family="owl-0424"), row("7b", 0.9, model_family="owl-1124")]
    curves = bm.build_curves(pd.DataFrame(rows))
    assert curves.keys["model_family"].tolist() == ["owl-0424", "owl-1124"]


def test_a_family_of_several_models_is_no_part_of_the_hint():
    rows = [
        row("1b", 0.1, model_family="owl-0424"),
        row("7b", 0.1, model_family="owl-0424"),
        row("7b", 0.9, model_family="owl-1124"),
    ]
    assert family_hint(pd.DataFrame(rows)) == ""
    # Nor is one that is alike in another benchmark.
    apart = [rows[0], rows[2] | {"benchmark": "c"}]
    assert family_hint(pd.DataFrame(apart)) == ""
