"""Every score, low and high score equals that of the official loader, whose x 100 is undone."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from helpers import SIZES, plain, score_file, write_tree
from official import Official, load_official

import bigbench_meta as bm
from bigbench_meta.readers import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType

SAMPLE_FILES = 492
# What the official loader multiplies by 100 (bigbench/api/results.py, RENORMALIZED_METRICS).
N_RENORMALIZED = 8


pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Official:
    return load_official(tmp_path_factory.mktemp("bigbench_api"))


@pytest.fixture(scope="module")
def official(package: Official) -> ModuleType:
    return package.results


@pytest.fixture
def tree(tmp_path: Path, official: ModuleType) -> Path:
    """Tasks with subtasks, several shots and every renormalised metric, as the evaluator writes."""
    metrics = [*official.RENORMALIZED_METRICS, "bleu", "custom score"]
    documents = []
    for number, (name, params) in enumerate(SIZES.items()):
        for preferred in metrics:
            subtasks = ["first part", "second → part"] if preferred != "bleu" else ["t bleu"]
            scores = [
                official.task_api.ScoreData(
                    score_dict={
                        m: (k + 1) / (7 + number) + len(subtask) * shots / 13
                        for k, m in enumerate(metrics)
                    },
                    preferred_score=preferred,
                    number_of_shots=shots,
                    low_score=0.1 + len(subtask) / 30,
                    high_score=1.7,
                    subtask_description=subtask,
                )
                for shots in (-1, 0, 3)
                for subtask in subtasks
            ]
            all_scores = official.add_aggregate_scores(task_name=f"t {preferred}", scores=scores)
            documents.append(
                score_file(
                    task_name=f"t {preferred}",
                    model_name=name,
                    params=params,
                    scores=[dataclasses.asdict(one) for one in all_scores],
                )
            )
    write_tree(tmp_path / "tree", documents)
    return tmp_path / "tree"


Values = tuple[float, bool, float | None, float | None]


def theirs(official: ModuleType, folder: Path, **options: bool) -> dict[tuple[Any, ...], Values]:
    """Score, preferred or not, low and high by key, as the official loader has them."""
    found: dict[tuple[Any, ...], Values] = {}
    for path in sorted(folder.glob("*/results/scores_*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        data = official.ResultsFileData.fromdict(document, **options)
        for one in data.scores:
            for metric, score in one.score_dict.items():
                preferred = metric == one.preferred_score
                found[
                    data.task.task_name,
                    one.subtask_description,
                    metric,
                    data.model.model_family,
                    data.model.model_name,
                    one.number_of_shots,
                ] = (
                    score,
                    preferred,
                    one.low_score if preferred else None,
                    one.high_score if preferred else None,
                )
    return found


def ours(folder: Path, *, times_100: Iterable[str] = ()) -> dict[tuple[Any, ...], Values]:
    observations, problems = bm.read_results(folder)
    assert plain(problems) == []

    def value(row: dict[str, Any], column: str) -> Any:
        # The same product as the official one, so that equality can be exact.
        is_scaled = row["metric"] in times_100 and row[column] is not None
        return row[column] * 100 if is_scaled else row[column]

    found = {
        (
            row["task"],
            row["subtask"],
            row["metric"],
            row["model_family"],
            row["model_name"],
            -1 if row["shots"] is None else row["shots"],
        ): (
            value(row, "score"),
            row["is_preferred"],
            value(row, "low_score"),
            value(row, "high_score"),
        )
        for row in plain(observations)
    }
    assert len(found) == len(observations)
    return found


def test_samples(official: ModuleType, shared: Path) -> None:
    folder = shared / "samples" / "bigbench_results"
    assert len(official.load_results_files(str(folder))) == SAMPLE_FILES
    expected = theirs(official, folder)
    found = ours(folder, times_100=official.RENORMALIZED_METRICS)
    assert found == expected
    assert ours(folder) != expected  # the factor is really undone


def test_generated_tree(official: ModuleType, tree: Path) -> None:
    assert len(official.RENORMALIZED_METRICS) == N_RENORMALIZED
    expected = theirs(official, tree)
    preferred = {key[2] for key, values in expected.items() if values[1]}
    assert preferred >= set(official.RENORMALIZED_METRICS)
    assert {key[5] for key in expected} == {-1, 0, 3}
    assert ours(tree, times_100=official.RENORMALIZED_METRICS) == expected


def test_without_renormalization(official: ModuleType, tree: Path) -> None:
    assert ours(tree) == theirs(official, tree, normalize=False)


def test_task_results_by_params(official: ModuleType, tree: Path) -> None:
    """The official grouping, [subtask][metric][family][shots] -> (params, score) by params."""
    grouped: dict[tuple[Any, ...], list[tuple[int, float]]] = defaultdict(list)
    for row in plain(bm.read_results(tree)[0]):
        factor = 100 if row["metric"] in official.RENORMALIZED_METRICS else 1
        shots = -1 if row["shots"] is None else row["shots"]
        key = (row["task"], row["subtask"], row["metric"], row["model_family"], shots)
        point = (row["flop_matched_non_embedding_params"], row["score"] * factor)
        grouped[key].append(point)
    n_series = 0
    for task, results in official.load_results(str(tree)).items():
        for subtask, by_metric in results.data.items():
            for metric, by_family in by_metric.items():
                for family, by_shots in by_family.items():
                    for shots, samples in by_shots.items():
                        n_series += 1
                        expected = [(sample.params, sample.score) for sample in samples]
                        assert sorted(grouped[task, subtask, metric, family, shots]) == expected
    assert n_series == len(grouped)


def full_log(package: Official, folder: Path) -> Path:
    """Write what evaluate_task.py writes for a programmatic task of the dummy model."""
    model = package.query_logging_model.QueryLoggingModel(package.dummy_model.DummyModel())
    prompts = [f"{n} + 1 → " for n in range(7)]
    model.generate_text(prompts[0], max_length=20, stop_string=".")
    model.generate_text(prompts)
    for absolute in (False, True):
        model.cond_log_prob(prompts[0], ["1", "one"], absolute_normalization=absolute)
        targets = [[str(k) for k in range(n + 1)] for n in range(len(prompts))]
        model.cond_log_prob(prompts, targets, absolute_normalization=absolute)
    of_task = {"task": "sums:easy", "shots": 2}
    targets = {"1": {"bleu": None, "exact_str_match": 0.0}, "one": {"exact_str_match": 1.0}}
    model.queries.append(
        package.results.GenerativeQuery(
            "generate_text", 10, None, None,
            [package.results.GenerativeSample("0 + 1 = ", "one", targets)], **of_task,
        )
    )  # fmt: skip
    model.queries.append(
        package.results.MultipleChoiceQuery(
            "cond_log_prob", False,
            [package.results.MultipleChoiceSample("?", ["a", "b"], [-1, -2], {"a": 1, "b": 0}, 1)],
            **of_task,
        )
    )  # fmt: skip
    score = package.results.task_api.ScoreData(
        score_dict={"exact_str_match": 0.5}, preferred_score="exact_str_match", low_score=0,
        high_score=1, number_of_shots=0, subtask_description="sums",
    )  # fmt: skip
    data = package.results.ResultsFileData(
        scores=[score], task=package.results.TaskData("sums"), model=model.model_data(),
        queries=model.queries,
    )  # fmt: skip
    path = folder / package.results.query_result_filename(data.model)
    with path.open("w") as file:
        json.dump(dataclasses.asdict(data), file, indent=2)
    return path


def simple(value: Any) -> Any:
    """Return a cell of a frame as Python's own value."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if pd.isna(value) else value


def test_full_log(package: Official, tmp_path: Path) -> None:
    path = full_log(package, tmp_path)
    store = bm.Store(tmp_path / "store")
    summary = store.ingest(path, options=ReadOptions(samples=True))
    assert plain(summary.problems) == []
    assert plain(store.observations()["score"].to_frame()) == [{"score": 0.5}]
    log = package.results.ResultsFileData.fromdict(
        json.loads(path.read_text()), include_queries=True
    )
    theirs = [
        (
            f"{q}/{s}",
            None if query.task == package.results.DEFAULT_QUERY_TASK_NAME else query.task,
            query.shots,
            list(sample.targets),
            getattr(sample, "scores", None),
            getattr(sample, "output", None),
        )
        for q, query in enumerate(log.queries)
        for s, sample in enumerate(query.samples)
    ]
    columns = ["example_id", "subtask", "shots", "targets", "target_logprobs", "output"]
    ours = store.samples()[columns].astype(object).itertuples(index=False, name=None)
    assert [tuple(map(simple, row)) for row in ours] == theirs
    assert len(theirs) == 26
    assert store.samples()["correct"].dropna().tolist() == [1, 1]


def test_a_full_log_scored_under_other_metrics(package: Official, tmp_path: Path) -> None:
    """A log of the official evaluator, against the official metrics on the same queries."""
    store = bm.Store(tmp_path / "store")
    store.ingest(full_log(package, tmp_path), options=ReadOptions(samples=True))
    samples = store.samples()
    samples = samples[samples["subtask"] == "sums:easy"]
    choices = samples[samples["target_values"].notna()]
    theirs = [
        {
            "choice": list(row.targets),
            "target_scores": dict(zip(row.targets, row.target_values, strict=True)),
            "log_prob": list(row.target_logprobs),
            "absolute_log_prob": list(row.target_logprobs),
        }
        for row in choices.itertuples()
    ]
    official = package.task_metrics
    expected = {
        "multiple_choice_grade": official.measure_multiple_choice_grade(theirs),
        "calibration_multiple_choice_brier_score":
            official.measure_calibration_multiple_choice_brier_score(theirs),
        "weighted_log_probabilities": official.measure_weighted_log_probabilities(theirs),
        "log_likelihood": official.log_likelihood_fn(
            [row["log_prob"][:1] for row in theirs], [row["choice"][:1] for row in theirs]
        )["log_likelihood"],
    }  # fmt: skip
    scores, _ = bm.rescore(samples, [*expected, "brier_score", "normalized_log_likelihood"])
    found = scores.set_index("metric")["score"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found["normalized_log_likelihood"] == pytest.approx(-np.log1p(np.exp(-1)))
    assert scores["total_params"].notna().all()
