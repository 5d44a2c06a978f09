"""Train the families of a study, one file a model, and score their outputs.

A model is one task for one process with one thread, so its outputs depend on its seed alone and
not on how many are trained at a time. Its file is written once it is finished: a run that was
killed goes on with the models that are missing.

References:
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 3 and 5.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import filelock
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import Execution, execute
from bigbench_meta.core.schema import SAMPLES, conform, to_frame
from bigbench_meta.generate.trained.plan import Unit, study_plan
from bigbench_meta.metrics.rescore import Rescoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bigbench_meta.generate.trained.plan import Crowd, StudyPlan

__all__ = ["GeneratedFamilies", "Trained", "train_families"]

# To be raised when a change of the code changes what a seed gives.
_CODE: Final = 1
# One thread for each process: two models at a time beat one on two processors, and the order of
# sums does not depend on the machine's load.
_ENVIRONMENT: Final = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
}
_PACKAGES: Final = ("jax", "jaxlib", "equinox", "optax", "numpy")
_RECORD: Final = b"training"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model's outputs.

    Attributes:
        samples: One row per test example (columns: :data:`bigbench_meta.core.schema.SAMPLES`).
        checkpoints: Scores during training, as rows of observations.
        validation: Scores of validation examples, of which thresholds are quantiles.
    """

    samples: pa.Table
    checkpoints: list[dict[str, Any]]
    validation: list[float]


@dataclass(frozen=True, kw_only=True)
class GeneratedFamilies:
    """The families of a study.

    Attributes:
        observations: Scores of the trained models, one row per model, seed, subtask and metric.
        checkpoints: The same during training; each model is a family of its own there, along
            ``train_tokens`` or ``train_flops``.
        files: The files of outputs.
        seconds: Time that each model of this run took, by file; of those trained earlier nothing.
    """

    observations: pd.DataFrame
    checkpoints: pd.DataFrame
    files: list[Path]
    seconds: dict[str, float]


def train_families(
    study: str,
    out: str | Path,
    *,
    profile: str = "quick",
    data: str | Path | None = None,
    execution: Execution | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GeneratedFamilies:
    """Train the families of a study, or those of its models that are missing, and score them.

    Args:
        study: ``arithmetic``, ``autoencoder``, ``lenet`` or ``omniglot``.
        out: Folder of the outputs. One holds one study in one profile.
        profile: ``quick`` or ``full``, see ``data/trained_families.toml``.
        data: File or folder of pictures; by default those that need no download.
        execution: Where models are trained, by default in as many processes as there are
            processors; ``keep`` has no effect, as every model is kept.
        progress: Called with (models finished, models in all).

    Returns:
        The scores and where the outputs are. ``scores.csv`` and ``checkpoints.csv`` in the folder
        hold the same scores.

    Raises:
        InputError: The extra ``train`` is not installed; an argument or the data are wrong; the
            folder holds something else; or a model failed, when the others have been trained.
    """
    plan = study_plan(study)
    settings = plan.profile(profile)
    module = _module(study)
    path, execution = Path(out).absolute(), execution or Execution(jobs=None)
    pictures = str(Path(data).resolve()) if data is not None else ""
    about = {
        "study": study,
        "profile": profile,
        "plan": msgspec.to_builtins(plan),
        "code": _CODE,
        "data": module.describe(pictures),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    units = [
        Unit(study=study, family=family, size=size, seed=seed, profile=settings, data=pictures)
        for size in sorted(settings.sizes, reverse=True)  # the longest first
        for family in module.FAMILIES
        for seed in range(settings.seeds)
    ]
    crowd = range(settings.seeds, settings.crowd)
    n_all = len(units) + len(crowd) * len(module.FAMILIES)
    with _claimed(path, about):
        seconds = _train(path, units, n_all, execution, progress)
        if plan.crowd and crowd:
            scores, _ = _scores(path, plan, units)
            nearest = _nearest(plan.crowd, scores, units)
            units += [replace(unit, seed=seed) for unit in nearest for seed in crowd]
            seconds |= _train(path, units, n_all, execution, progress)
        observations, checkpoints = _scores(path, plan, units)
        observations.dropna(axis=1, how="all").to_csv(path / "scores.csv", index=False)
        checkpoints.dropna(axis=1, how="all").to_csv(path / "checkpoints.csv", index=False)
    return GeneratedFamilies(
        observations=observations,
        checkpoints=checkpoints,
        files=[path / unit.file for unit in units],
        seconds=seconds,
    )


def _module(study: str) -> Any:
    """Import a study, and say what to install where that is missing."""
    try:
        for name in _PACKAGES:
            version(name)
        return import_module(f"bigbench_meta.generate.trained.{study}")
    except (PackageNotFoundError, ImportError) as error:
        raise InputError(
            f"training needs a package that is not installed: {error.name}",
            hint="pip install 'bigbench-meta[train]'",
        ) from error


@contextmanager
def _claimed(path: Path, about: dict[str, Any]) -> Iterator[None]:
    """Hold a folder for one study in one profile, while one process trains into it."""
    plan = path / "plan.json"
    text = json.dumps(about, indent=1, sort_keys=True) + "\n"
    wanted = json.loads(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()} - {".lock"}
        if names and plan.name not in names:
            raise InputError(
                "the folder holds other files", where=str(path), hint="give a new folder"
            )
        with filelock.FileLock(path / ".lock", timeout=0):
            if not names:
                plan.write_text(text, encoding="utf-8")
            found = _plan_of(plan)
            if different := [name for name in wanted if found.get(name) != wanted[name]]:
                raise InputError(
                    f"the folder was filled with another {', '.join(different)}",
                    where=str(path),
                    hint="give a new folder, or the options it was filled with",
                )
            yield
    except filelock.Timeout as error:
        raise InputError("another process is training into this folder", where=str(path)) from error
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error


def _plan_of(plan: Path) -> dict[str, Any]:
    try:
        found = json.loads(plan.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError("is damaged", where=str(plan), hint="give a new folder")
    return found


def _train(
    path: Path,
    units: list[Unit],
    n_all: int,
    execution: Execution,
    progress: Callable[[int, int], None] | None,
) -> dict[str, float]:
    """Train the models whose file is missing, and return the time that each took."""
    missing = [unit for unit in units if not _is_finished(path / unit.file)]
    done = len(units) - len(missing)
    if progress:
        progress(done, n_all)
    seconds: dict[str, float] = {}
    failed: list[tuple[str, Exception]] = []
    outcomes = execute(partial(_train_one, path), missing, execution, environment=_ENVIRONMENT)
    for outcome in outcomes:
        if outcome.error is None:
            seconds[outcome.task.file] = outcome.seconds
        else:
            failed.append((outcome.task.file, outcome.error))
        done += 1
        if progress:
            progress(done, n_all)
    if failed:
        file, error = failed[0]
        if isinstance(error, InputError):
            raise error
        raise InputError(
            f"{len(failed)} of {len(missing)} models failed; the first: "
            f"{type(error).__name__}: {error}",
            where=file,
        ) from error
    return seconds


def _is_finished(file: Path) -> bool:
    try:
        return _RECORD in (pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _train_one(path: Path, unit: Unit) -> None:
    """Train one model and write its outputs, in the process of its own."""
    trained: Trained = _module(unit.study).train(unit)
    record = {"checkpoints": trained.checkpoints, "validation": trained.validation}
    table = conform(trained.samples, SAMPLES)
    metadata = {_RECORD: json.dumps(record, sort_keys=True).encode()}
    part = path / f"{unit.file}.part"
    pq.write_table(table.replace_schema_metadata(metadata), part, compression="zstd")
    part.replace(path / unit.file)


def _scores(path: Path, plan: StudyPlan, units: list[Unit]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score all outputs, and return the scores during training too."""
    records: dict[str, dict[str, Any]] = {
        unit.file: json.loads(pq.read_schema(path / unit.file).metadata[_RECORD]) for unit in units
    }
    scoring = Rescoring(_metrics(plan, units, records), tokens=plan.tokens)
    for unit in units:
        scoring.add(pq.read_table(path / unit.file))
    observations, problems = scoring.result()
    # Sampled answers have no probabilities: a warning for every model.
    if len(lacking := problems[problems["severity"] == "error"]):
        raise InputError(lacking["reason"].iloc[0], where=lacking["field"].iloc[0])
    rows = [row for record in records.values() for row in record["checkpoints"]]
    checkpoints = to_frame(conform(pd.DataFrame(rows))) if rows else observations.head(0)
    return observations, checkpoints


def _metrics(plan: StudyPlan, units: list[Unit], records: dict[str, dict[str, Any]]) -> list[str]:
    """Return the metrics of the plan, cut at quantiles of the largest models' errors too."""
    if not plan.thresholds:
        return list(plan.metrics)
    largest = max(unit.size for unit in units)
    errors = [records[unit.file]["validation"] for unit in units if unit.size == largest]
    cuts = np.quantile(np.concatenate(errors), plan.thresholds)
    return [*plan.metrics, *(f"{metric}<={cut:.2g}" for metric in plan.metrics for cut in cuts)]


def _nearest(crowd: Crowd, scores: pd.DataFrame, units: list[Unit]) -> list[Unit]:
    """Return for each family a unit of the size whose mean score is nearest the crowd's value."""
    wanted = (scores["metric"] == crowd.metric) & (scores["variant"] == crowd.variant)
    some = scores[wanted].astype({"source": str, "subtask": str})
    # The last subtask of a model: answers of the most tokens.
    score = some.sort_values("subtask").groupby("source")["score"].last()
    by_size: defaultdict[tuple[str, int], list[Unit]] = defaultdict(list)
    for unit in units:
        by_size[unit.family, unit.size].append(unit)
    nearest: dict[str, tuple[float, int]] = {}
    for (family, size), same in by_size.items():
        distance = abs(float(score[[unit.file for unit in same]].mean()) - crowd.near)
        nearest[family] = min(nearest.get(family, (np.inf, size)), (distance, size))
    return [by_size[family, size][0] for family, (_, size) in nearest.items()]
