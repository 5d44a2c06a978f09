"""Deterministic score files of BIG-bench's size and schema, for the benchmarks."""

from __future__ import annotations

import json
import random
from pathlib import Path  # noqa: TC003

from bigbench_meta.catalog.published import bigbench_tasks

FAMILIES = {
    "BIG-G T=0": 13, "BIG-G T=1": 13, "BIG-G sparse": 9, "GPT": 8, "PaLM": 2,
}  # fmt: skip
SHOTS = (0, 1, 2, 3, 4, 5)
METRICS = {
    "multiple_choice_grade": ["multiple_choice_grade", "calibration_multiple_choice_brier_score",
                              "expected_calibration_error", "normalized_aggregate_score"],
    "": ["exact_str_match", "bleu", "rouge1", "rouge2", "rougeLsum", "normalized_aggregate_score"],
}  # fmt: skip
_MOST_SUBTASKS = 42  # gives the mean file of the repository: 91 rows, some 9 kB


def models() -> list[tuple[str, str, int]]:
    """Return (family, name, parameters) of 45 models."""
    return [
        (family, f"{2**k}m", 2**k * 1_048_576)
        for family, count in FAMILIES.items()
        for k in range(count)
    ]


def tasks() -> list[tuple[str, str, list[str]]]:
    """Return (task, preferred metric, subtasks) of 209 tasks."""
    frame = bigbench_tasks()
    result = []
    for task, rows in frame.groupby("task", sort=True):
        subtasks = [name for name in rows["subtask"] if name != task]
        preferred = next((m for m in rows["preferred_metric"] if m in METRICS), "")
        result.append((str(task), preferred, subtasks[:_MOST_SUBTASKS]))
    return result


def score_file(
    task: str, preferred: str, subtasks: list[str], model: tuple[str, str, int], *, nan: bool
) -> dict[str, object]:
    """Return one score file as the official evaluator writes it."""
    family, name, params = model
    rng = random.Random(f"{task}/{family}/{name}")
    metrics = METRICS[preferred]
    entries = [
        {
            "score_dict": {metric: rng.random() for metric in metrics},
            "preferred_score": metrics[0],
            "number_of_shots": shots,
            "low_score": 0.25,
            "high_score": 1.0,
            "subtask_description": subtask,
        }
        for subtask in [*subtasks, task]
        for shots in SHOTS
    ]
    if nan:
        scores = entries[0]["score_dict"]
        scores[metrics[0]] = float("nan")  # type: ignore[index]
    return {
        "scores": entries,
        "task": {"task_name": task},
        "model": {
            "model_family": family,
            "model_name": name,
            "total_params": params,
            "non_embedding_params": params,
            "flop_matched_non_embedding_params": params,
            "training_batch_size": 0,
            "training_steps": 0,
            "description": "a model of the benchmark corpus",
            "decoding_params": {},
            "additional_details": "",
        },
    }


def write(root: Path, *, copies: int = 1, nan_share: float = 0.0) -> int:
    """Write the corpus below a folder, copies under other task names; return the files written."""
    count = 0
    for copy in range(copies):
        for task, preferred, subtasks in tasks():
            name = task if copy == 0 else f"{task}_{copy}"
            folder = root / name / "results"
            folder.mkdir(parents=True, exist_ok=True)
            for model in models():
                nan = nan_share > 0 and count % round(1 / nan_share) == 0
                content = score_file(name, preferred, subtasks, model, nan=nan)
                safe = f"{model[0]}_{model[1]}".replace(" ", "_")
                with (folder / f"scores_{safe}.json").open("w") as file:
                    json.dump(content, file, indent=2)
                count += 1
    return count
