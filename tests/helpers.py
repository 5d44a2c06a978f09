"""Builders of BIG-bench score files and folders of them, and a naive reader to compare with."""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from click.testing import CliRunner

from bigbench_meta.cli.main import main
from bigbench_meta.core.schema import OBSERVATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from click.testing import Result

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/[!_]*/*.md")])
"""The pages of the documentation."""

SIZES = {"1m": 10**6, "8m": 8 * 10**6, "64m": 64 * 10**6, "512m": 512 * 10**6}
PARAMS = ("total_params", "non_embedding_params", "flop_matched_non_embedding_params")
ENTRY_FIELDS = (
    "score_dict", "preferred_score", "number_of_shots", "low_score", "high_score",
    "subtask_description",
)  # fmt: skip
MODEL_FIELDS = (
    "model_family", "model_name", *PARAMS, "training_batch_size", "training_steps", "description",
    "decoding_params", "additional_details",
)  # fmt: skip
MISSING = object()
"""As a value: the key is not there."""


def entry(**overrides: Any) -> dict[str, Any]:
    """Return one entry of ``scores`` with all its fields."""
    return {
        "score_dict": {"exact_str_match": 0.25, "bleu": 12.5},
        "preferred_score": "exact_str_match",
        "number_of_shots": 0,
        "low_score": 0.0,
        "high_score": 1.0,
        "subtask_description": "alpha",
    } | overrides


def score_file(**overrides: Any) -> dict[str, Any]:
    """Return a score file with all its fields.

    Each override goes to the place that has a field of its name: the entry (if there is but the
    one), the task, the model, the document. ``params`` sets the three sizes of the model.
    """
    task = overrides.pop("task_name", "alpha")
    size = overrides.pop("params", SIZES["1m"])
    of_entry = {k: overrides.pop(k) for k in ENTRY_FIELDS if k in overrides}
    of_model = {k: overrides.pop(k) for k in MODEL_FIELDS if k in overrides}
    model = {
        "model_family": "Fam",
        "model_name": "1m",
        **dict.fromkeys(PARAMS, size),
        "training_batch_size": 256,
        "training_steps": 1000,
        "description": "a model",
        "decoding_params": {"max_decode_steps": 32},
        "additional_details": "",
    }
    return {
        "scores": [entry(**{"subtask_description": task} | of_entry)],
        "task": {"task_name": task},
        "model": model | of_model,
    } | overrides


def tree_files(
    tasks: Iterable[str] = ("alpha", "beta"), sizes: dict[str, int] | None = None
) -> list[dict[str, Any]]:
    """Return score files of one family, a file for each task and size, no two scores equal."""
    return [
        score_file(
            task_name=task,
            model_name=name,
            params=params,
            score_dict={"exact_str_match": (i + 1) / (10 + j), "bleu": 2.0**j + i},
        )
        for i, task in enumerate(tasks)
        for j, (name, params) in enumerate((sizes or SIZES).items())
    ]


def jumps(*tasks: str, **overrides: Any) -> Iterator[dict[str, Any]]:
    """Files of tasks that all models fail but the largest: each E is infinite, of bleu it is 3."""
    for task in tasks:
        for number, (name, params) in enumerate(SIZES.items()):
            yield score_file(
                **{
                    "task_name": task,
                    "model_name": name,
                    "params": params,
                    "score_dict": {"exact_str_match": 0.9 * (number == 3), "bleu": float(number)},
                }
                | overrides
            )


def changed(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a copy of a document with another value at a place such as ``scores[0].low_score``."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    keys: list[Any] = [int(k) if k.isdigit() else k for k in re.findall(r"[^.\[\]]+", place)]
    holder: Any = copy
    for key in keys[:-1]:
        holder = holder[key]
    if value is MISSING:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = value
    return copy


def write_json(path: Path, document: Any) -> Path:
    """Write a document, compressed if the name ends in ``.gz``; an infinity as Python spells it."""
    return write_bytes(path, json.dumps(document, ensure_ascii=False).encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes below folders that need not exist, compressed if the name ends in ``.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_tree(
    folder: Path, documents: Iterable[dict[str, Any]] | None = None, *, ending: str = ".json"
) -> list[Path]:
    """Write score files in the layout of BIG-bench's repository: ``<task>/results/scores_*``."""
    paths = []
    for document in tree_files() if documents is None else documents:
        task, model = document["task"]["task_name"], document["model"]
        name = f"scores_{model['model_family']}_{model['model_name']}{ending}"
        paths.append(write_json(folder / task / "results" / name, document))
    return paths


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame as one dict a row of Python's own values; what is missing is None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def expected_rows(document: dict[str, Any], source: str) -> list[dict[str, Any]]:
    """Return the observations of a sound score file: json.load's output and two loops."""
    rows = []
    task, model = document["task"]["task_name"], document["model"]
    for one in document["scores"]:
        for metric, score in one["score_dict"].items():
            preferred = metric == one["preferred_score"]
            row = dict.fromkeys(OBSERVATIONS.names) | {
                "benchmark": "BIG-bench",
                "task": task,
                "subtask": one.get("subtask_description", "") or task,
                "metric": metric,
                "model_family": model["model_family"],
                "model_name": model["model_name"],
                "shots": None if one["number_of_shots"] == -1 else one["number_of_shots"],
                **{size: model[size] for size in PARAMS},
                "score": None if math.isnan(score) else float(score),
                "is_preferred": preferred,
                "low_score": float(one["low_score"]) if preferred else None,
                "high_score": float(one["high_score"]) if preferred else None,
                "source": source,
            }
            rows.append(row)
    return rows


def run(*arguments: object, code: int = 0) -> Result:
    """Run ``bigbench-meta`` in this process; anything but an exit with the code is an error."""
    result: Result = CliRunner().invoke(main, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def run_json(*arguments: object, code: int = 0) -> Any:
    """Run ``bigbench-meta ... --json`` and return the document that it prints."""
    return strict_json(run(*arguments, "--json", code=code).stdout)


def strict_json(text: str) -> Any:
    """Return the one JSON document that a text holds; NaN and Infinity are no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@contextmanager
def loaded_script(name: str) -> Iterator[Any]:
    """Load a file of ``scripts``, beside which it finds the others."""
    path = ROOT / "scripts" / f"{name}.py"
    if not path.is_file():
        pytest.skip("needs the folder `scripts`")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        patch.setitem(sys.modules, name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module
