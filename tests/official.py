"""The result reader of the official BIG-bench package (1.0.0), loaded without what it depends on.

The environment variable ``BIGBENCH_SDIST`` names its source distribution, ``.tar.gz`` or extracted.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

# In order of import. The packages around them import TensorFlow and more.
MODULES = ("model", "task", "results")
PACKAGES = ("bigbench", "bigbench.api")


def load_official(folder: Path) -> ModuleType:
    """Return the official ``bigbench.api.results``, skip if there is none.

    Args:
        folder: Where to extract the three modules to if they are in an archive.
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
            return root / "bigbench" / "api"
    pytest.fail(f"no bigbench/api/results.py in {path}")


def _extracted(archive: Path, folder: Path) -> Path:
    left = {f"{name}.py" for name in MODULES}
    with tarfile.open(archive, "r|gz") as tar:  # a stream: the three stand at its beginning
        for member in tar:
            place, name = os.path.split(member.name)
            content = tar.extractfile(member) if member.isfile() else None
            if content and name in left and place.endswith("bigbench/api"):
                (folder / name).write_bytes(content.read())
                left.remove(name)
            if not left:
                return folder
    pytest.fail(f"{archive} lacks bigbench/api/ {', '.join(sorted(left))}")


def _import(folder: Path) -> ModuleType:
    before = dict(sys.modules)
    try:
        for name in PACKAGES:
            stub = sys.modules[name] = ModuleType(name)
            stub.__path__ = []
        sys.modules["bigbench"].api = sys.modules["bigbench.api"]  # type: ignore[attr-defined]
        for name in MODULES:
            full = f"bigbench.api.{name}"
            spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[full] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            setattr(sys.modules["bigbench.api"], name, module)
    finally:
        # An installed bigbench stays what it is for other tests.
        for name in [*PACKAGES, *(f"bigbench.api.{name}" for name in MODULES)]:
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]
    return module
