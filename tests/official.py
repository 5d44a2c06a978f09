"""Results and dummy model of the official BIG-bench package (1.0.0), without what it depends on.

The environment variable ``BIGBENCH_SDIST`` names its source distribution, ``.tar.gz`` or extracted.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import pytest

# In order of import. The packages around them import TensorFlow and more.
MODULES = (
    "api.model", "api.task", "api.results", "models.model_utils", "models.turing_text_generator",
    "models.dummy_model", "models.query_logging_model", "api.task_metrics",
)  # fmt: skip
# What api.task_metrics imports beside scipy and numpy; its functions that need them are not called.
ABSENT = {"datasets": "load_metric", "t5.evaluation": "metrics", "sklearn.metrics": "f1_score"}
PACKAGES = ("bigbench", "bigbench.api", "bigbench.models")


@dataclass(frozen=True)
class Official:
    """Modules of the official package."""

    results: ModuleType
    dummy_model: ModuleType
    query_logging_model: ModuleType
    task_metrics: ModuleType


def load_official(folder: Path) -> Official:
    """Return modules of the official package, skip if there is none.

    Args:
        folder: Where to extract them to if they are in an archive.
    """
    setting = os.environ.get("BIGBENCH_SDIST")
    if not setting:
        pytest.skip("BIGBENCH_SDIST is not set: the bigbench 1.0.0 .tar.gz or its extraction")
    path = Path(setting)
    if not path.exists():
        pytest.skip(f"BIGBENCH_SDIST names nothing that exists: {setting}")
    return _import(_in_directory(path) if path.is_dir() else _extracted(path, folder))


def _in_directory(path: Path) -> Path:
    for root in (path, *sorted(path.glob("bigbench-*"))):
        if (root / "bigbench" / "api" / "results.py").is_file():
            return root / "bigbench"
    pytest.fail(f"no bigbench/api/results.py in {path}")


def _file(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def _extracted(archive: Path, folder: Path) -> Path:
    left = set(map(_file, MODULES))
    with tarfile.open(archive, "r|gz") as tar:  # a stream: it need not be read to its end
        for member in tar:
            _, _, name = member.name.partition("/bigbench/")
            content = tar.extractfile(member) if name in left else None
            if content:
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content.read())
                left.remove(name)
            if not left:
                return folder
    pytest.fail(f"{archive} lacks {', '.join(sorted(left))}")


def _import(folder: Path) -> Official:
    before = dict(sys.modules)
    names = [f"bigbench.{name}" for name in MODULES]
    try:
        for name in (*PACKAGES, *ABSENT):
            stub = sys.modules[name] = ModuleType(name)
            stub.__path__ = []
        for name, used in ABSENT.items():
            setattr(sys.modules[name], used, None)
        for name in (*PACKAGES[1:], *names):
            if name in names:
                path = folder / _file(name.removeprefix("bigbench."))
                spec = importlib.util.spec_from_file_location(name, path)
                assert spec is not None
                assert spec.loader is not None
                sys.modules[name] = importlib.util.module_from_spec(spec)
                with warnings.catch_warnings():  # escapes in its docstrings
                    warnings.simplefilter("ignore")
                    spec.loader.exec_module(sys.modules[name])
            package, _, last = name.rpartition(".")
            setattr(sys.modules[package], last, sys.modules[name])
        found = {name.rpartition(".")[2]: sys.modules[name] for name in names}
    finally:
        # An installed bigbench stays what it is for other tests.
        for name in [*PACKAGES, *ABSENT, *names]:
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]
    return Official(**{field.name: found[field.name] for field in fields(Official)})
