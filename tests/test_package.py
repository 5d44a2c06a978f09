"""The package as a whole: imports go one way, names resolve, nothing heavy at start-up."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bigbench_meta

PACKAGE = Path(bigbench_meta.__file__).parent

# In the order of the data flow: a room imports only from itself and from those before it.
ROOMS = [
    "core", "catalog", "readers", "metrics", "generate", "store", "curves", "inference",
    "aggregate", "report", "check", "cli",
]  # fmt: skip
OPENS_FILES = {"catalog", "readers", "store", "generate", "report", "cli"}
OPENING = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir"}


def test_rooms():
    """Imports go one way, private names stay in their room, and only some rooms touch files."""
    faults = []
    for path in PACKAGE.glob("*/**/*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "bigbench_meta."
            ):
                names = [*node.module.split(".")[1:], *(alias.name for alias in node.names)]
                if names[0] not in ROOMS or names[0] == room:
                    continue
                if ROOMS.index(names[0]) > ROOMS.index(room):
                    faults.append((path.name, "imports upward", names))
                if any(name[0] == "_" for name in names):
                    faults.append((path.name, "imports a private name", names))
            elif isinstance(node, ast.Call) and room not in OPENS_FILES:
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                # They keep finished tasks and hand over calls.
                if called in OPENING and path.name not in {"execute.py", "cluster.py"}:
                    faults.append((path.name, "touches files", called))
    assert faults == []
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == {*ROOMS}


def test_the_page_on_the_architecture_names_what_is_there():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert listed == ROOMS
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    named = set(re.findall(r"`(?:bigbench_meta/)?([a-z_/]+\.py)`", page))
    lost = [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)]
    assert [name for name in lost if not (PACKAGE.parent / name).is_file()] == []


@pytest.mark.parametrize("name", bigbench_meta.__all__)
def test_public_name_resolves_and_is_documented(name):
    value = getattr(bigbench_meta, name)
    assert value.__doc__ or not callable(value)
    assert name in dir(bigbench_meta) or name == "__version__"


def test_unknown_name():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bigbench_meta.nonsense


def test_import_loads_nothing_heavy():
    heavy = {"numba", "numpy", "pandas", "pyarrow"}
    code = f"import sys, bigbench_meta, bigbench_meta.cli.main; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_old_path_of_the_mathematical_model():
    from bigbench_meta import mirage
    from bigbench_meta.generate.mirage import per_token_loss
    from bigbench_meta.generate.rouge import rouge_l_sum

    with pytest.warns(DeprecationWarning, match=r"from bigbench_meta\.generate\.mirage"):
        assert mirage.per_token_loss is per_token_loss
    with pytest.warns(DeprecationWarning, match=r"from bigbench_meta\.generate\.rouge"):
        assert mirage.rouge_l_sum is rouge_l_sum
    with pytest.raises(AttributeError, match="nonsense"):
        _ = mirage.nonsense
