"""Rebuild ``data/bigbench_tasks.csv`` from the source distribution of ``bigbench`` 1.0.0.

The catalog says, for every BIG-bench task and JSON subtask, which metric the benchmark itself
prefers. It is facts about somebody else's package, so it is derived by this script, never edited
by hand. The distribution is on PyPI (358 MB); an archive is read once, as a stream, and nothing
is unpacked.

Columns:
    task: The task's folder.
    subtask: The name the evaluator writes into result files: the task itself on the row of the
        task (the aggregate, where there are subtasks), else ``task:name``. ``name`` is the one
        inside the subtask's ``task.json``, which is not always its folder's, with ``?`` for each
        character outside ASCII.
    preferred_metric: Empty on a task that leaves the choice to its subtasks. Several names joined
        by ``;``, in order of first appearance, where a programmatic task returns several scores.
    metrics: What ``task.json`` lists, in its order; empty for programmatic tasks.
    n_examples: Length of the list of examples; empty for aggregates and programmatic tasks.
    keywords: From ``task_metadata.json``, sorted; not always those of the parent task.

Example:
    python scripts/build_task_catalog.py bigbench-1.0.0.tar.gz -o data/bigbench_tasks.csv
"""

from __future__ import annotations

import argparse
import ast
import csv
import gzip
import json
import sys
import tarfile
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

COLUMNS = ("task", "subtask", "preferred_metric", "metrics", "n_examples", "keywords")
TASKS_FOLDER = "benchmark_tasks"
METADATA_FILE = "task_metadata.json"
TASK_FILE = "task.json"
CODE_FILE = "task.py"
PREFERRED = "preferred_score"
DAMAGED = "the distribution looks incomplete or altered; get bigbench 1.0.0 from PyPI again"

Place = tuple[str, ...]
"""Where a file lies below the folder of all tasks, e.g. ``("arithmetic", "task.json")``."""


class CatalogError(ValueError):
    """The distribution cannot be read, or says something this script does not understand."""


@dataclass(frozen=True)
class TaskFile:
    """What the catalog needs of one task or subtask; the examples themselves are not kept."""

    name: str
    preferred_metric: str
    metrics: Sequence[str]
    n_examples: int | None


@dataclass
class Sources:
    """Everything kept from one pass over the distribution.

    All are keyed by task folder, but ``keywords`` by the name of the task or subtask.
    """

    tasks: dict[str, TaskFile] = field(default_factory=dict)
    subtasks: dict[str, list[TaskFile]] = field(default_factory=dict)
    code: dict[str, dict[str, bytes]] = field(default_factory=dict)
    keywords: dict[str, str] = field(default_factory=dict)


def build_catalog(path: Path) -> list[dict[str, str]]:
    """Derive the catalog's rows from a distribution.

    Args:
        path: The ``.tar.gz`` of the distribution, or the directory it was extracted to.

    Returns:
        One dictionary of ``COLUMNS`` per task and JSON subtask, sorted by task and subtask.

    Raises:
        CatalogError: If a file is missing, damaged or not understood; the message names it.
    """
    sources = _collect(_wanted_files(path))
    rows = [*_json_rows(sources), *_code_rows(sources)]
    _require_same_names({row["subtask"] for row in rows}, set(sources.keywords), path)
    return sorted(rows, key=lambda row: (row["task"], row["subtask"]))


# --- which files, and from where ---------------------------------------------------------------


def _wanted_files(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Yield the place and content of each file the catalog is derived from."""
    if path.is_dir():
        return _directory_files(path)
    if path.is_file():
        return _archive_files(path)
    raise CatalogError(f"{path}: no such file or directory; give the .tar.gz or its extraction")


def _is_wanted(place: Place) -> bool:
    """Tell the files that define tasks from data, results and deeper folders."""
    match place:
        case (name,):
            return name == METADATA_FILE
        case (_, name):
            return name == TASK_FILE or name.endswith(".py")
        case (_, _, name):
            return name == TASK_FILE
        case _:
            return False


def _archive_files(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Read the wanted members of a compressed archive front to back, one at a time."""
    try:
        # gzip, not tarfile's own decompression: it notices an archive that ends too early.
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if TASKS_FOLDER not in parts or not member.isfile():
                    continue
                place = parts[parts.index(TASKS_FOLDER) + 1 :]
                content = archive.extractfile(member) if _is_wanted(place) else None
                if content is not None:
                    yield place, content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise CatalogError(f"{path}: not a whole .tar.gz archive ({error}); {DAMAGED}") from error


def _directory_files(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Read the wanted files of an extracted distribution in a fixed order."""
    places = (f"bigbench/{TASKS_FOLDER}", f"*/bigbench/{TASKS_FOLDER}")
    roots = [root for pattern in places for root in path.glob(pattern)]
    if not roots:
        raise CatalogError(f"{path}: no folder bigbench/{TASKS_FOLDER} inside; {DAMAGED}")
    for pattern in ("*", "*/*", f"*/*/{TASK_FILE}"):
        for file in sorted(roots[0].glob(pattern)):
            place = file.relative_to(roots[0]).parts
            if _is_wanted(place) and file.is_file():
                yield place, file.read_bytes()


def _collect(files: Iterable[tuple[Place, bytes]]) -> Sources:
    """Reduce each file to what the rows need, so that one pass needs little memory."""
    sources = Sources()
    for place, content in files:
        match place:
            case (_,):
                sources.keywords = _parse_metadata(place, content)
            case (task, name) if name == TASK_FILE:
                sources.tasks[task] = _parse_task(place, content)
            case (task, name):
                sources.code.setdefault(task, {})[name] = content
            case _:
                sources.subtasks.setdefault(place[0], []).append(_parse_task(place, content))
    if not sources.keywords:
        raise CatalogError(f"{TASKS_FOLDER}/{METADATA_FILE}: not in the distribution; {DAMAGED}")
    return sources


def _shown(place: Place) -> str:
    """Write a place the way the distribution's own paths end, for messages."""
    return "/".join((TASKS_FOLDER, *place))


# --- JSON tasks --------------------------------------------------------------------------------


def _parse_object(place: Place, content: bytes) -> dict[str, Any]:
    """Parse a JSON file that must hold an object."""
    try:
        parsed = json.loads(content)
    except ValueError as error:  # broken JSON, or bytes that are not text
        raise CatalogError(f"{_shown(place)}: not valid JSON ({error}); {DAMAGED}") from error
    if not isinstance(parsed, dict):
        found = type(parsed).__name__
        raise CatalogError(f"{_shown(place)}: expected a JSON object, found {found}; {DAMAGED}")
    return parsed


def _parse_task(place: Place, content: bytes) -> TaskFile:
    """Summarise one ``task.json``."""
    parsed = _parse_object(place, content)
    if not isinstance(parsed.get("name"), str):
        raise CatalogError(f"{_shown(place)}: has no name; {DAMAGED}")
    return TaskFile(
        # The evaluator names subtasks in ASCII, so result files do too.
        name=parsed["name"].encode("ascii", errors="replace").decode("ascii"),
        preferred_metric=parsed.get(PREFERRED, ""),
        metrics=tuple(parsed.get("metrics", ())),
        n_examples=len(parsed["examples"]) if "examples" in parsed else None,
    )


def _parse_metadata(place: Place, content: bytes) -> dict[str, str]:
    """Read the keywords of each task and subtask, sorted and joined."""
    return {
        # One subtask of 1.0.0 lists an empty string, which is no keyword.
        name: ";".join(sorted(keyword for keyword in entry["keywords"] if keyword))
        for name, entry in _parse_object(place, content).items()
        if isinstance(entry, dict)  # the file's canary string stands among the tasks
    }


def _json_rows(sources: Sources) -> Iterator[dict[str, str]]:
    """Make the rows of each JSON task and of its subtasks."""
    for task, file in sources.tasks.items():
        yield _row(sources, task, task, file)
        # A task with examples of its own is not composite, whatever its folder holds.
        if file.n_examples is None:
            for subtask in sources.subtasks.get(task, ()):
                yield _row(sources, task, f"{task}:{subtask.name}", subtask)


def _row(sources: Sources, task: str, subtask: str, file: TaskFile) -> dict[str, str]:
    """Make one row; a name without keywords is reported later, with all others like it."""
    return {
        "task": task,
        "subtask": subtask,
        "preferred_metric": file.preferred_metric,
        "metrics": ";".join(file.metrics),
        "n_examples": "" if file.n_examples is None else str(file.n_examples),
        "keywords": sources.keywords.get(subtask, ""),
    }


# --- programmatic tasks ------------------------------------------------------------------------


def _code_rows(sources: Sources) -> Iterator[dict[str, str]]:
    """Make the row of each task that is defined by code instead of JSON."""
    for task, files in sources.code.items():
        # A JSON task's folder may hold the scripts that once generated its examples.
        if task in sources.tasks or CODE_FILE not in files:
            continue
        preferred = ";".join(_preferred_names(task, files))
        yield _row(sources, task, task, TaskFile(task, preferred, (), None))


def _preferred_names(task: str, files: Mapping[str, bytes]) -> list[str]:
    """List the metrics a programmatic task prefers, in order of first appearance.

    Keyword arguments and assignments decide. A ``preferred_score`` key in a dictionary is the
    *data* of a JSON task built in code; it counts only when nothing else names a metric, because
    a class that assigns the attribute replaces what its data said.
    """
    given: dict[str, None] = {}
    fallback: dict[str, None] = {}
    for name, tree in _modules_run(task, files):
        for decisive, value in _mentions(tree):
            if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
                where = f"{_shown((task, name))}, line {value.lineno}"
                raise CatalogError(f"{where}: {PREFERRED} is not a plain string; look it up by eye")
            (given if decisive else fallback).setdefault(value.value)
    if not (given or fallback):
        raise CatalogError(f"{_shown((task, CODE_FILE))}: names no {PREFERRED}; {DAMAGED}")
    return list(given or fallback)


def _modules_run(task: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, ast.Module]]:
    """Yield the task's main module, then the modules of its folder that it imports, in order.

    Following imports leaves out tests and generators without guessing from their names.
    """
    waiting, seen = [CODE_FILE], {CODE_FILE}
    while waiting:
        name = waiting.pop(0)
        tree = _parse_code((task, name), files[name])
        yield name, tree
        imported = [f"{module}.py" for module in _imported_modules(tree)]
        fresh = [file for file in dict.fromkeys(imported) if file in files and file not in seen]
        waiting += fresh
        seen.update(fresh)


def _parse_code(place: Place, content: bytes) -> ast.Module:
    """Parse a module without running it."""
    try:
        # Some tasks hold invalid escape sequences: their affair, and harmless to this script.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except (SyntaxError, ValueError) as error:
        raise CatalogError(f"{_shown(place)}: not valid Python ({error}); {DAMAGED}") from error


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yield the last part of each name a module imports, or imports from."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.rpartition(".")[2] for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (alias.name for alias in names)
                yield (module or "").rpartition(".")[2]


def _mentions(tree: ast.Module) -> list[tuple[bool, ast.expr]]:
    """Find each value given to ``preferred_score``, and whether it decides, in source order."""
    found: list[tuple[bool, ast.expr]] = []
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=name, value=value) if name == PREFERRED:
                found.append((True, value))
            case ast.Assign(targets=targets, value=value) if any(map(_is_preferred, targets)):
                found.append((True, value))
            case ast.AnnAssign(target=target, value=ast.expr() as value) if _is_preferred(target):
                found.append((True, value))
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                found += [(False, value) for key, value in pairs if _is_preferred_key(key)]
    # ast.walk goes level by level, not down the page.
    return sorted(found, key=lambda mention: (mention[1].lineno, mention[1].col_offset))


def _is_preferred(target: ast.expr) -> bool:
    """Tell whether an assignment goes to a name or an attribute ``preferred_score``."""
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == PREFERRED
        case _:
            return False


def _is_preferred_key(key: ast.expr | None) -> bool:
    """Tell whether a dictionary's key is the string ``preferred_score``."""
    return isinstance(key, ast.Constant) and key.value == PREFERRED


# --- the whole ---------------------------------------------------------------------------------


def _require_same_names(found: set[str], listed: set[str], path: Path) -> None:
    """Refuse a distribution whose metadata lists other tasks or subtasks than its folders hold.

    It notices an archive that lacks files, and a subtask given a name that nobody else uses.
    """
    for names, problem in (
        (listed - found, f"listed in {METADATA_FILE} but not defined in the folders"),
        (found - listed, f"defined in the folders but not listed in {METADATA_FILE}"),
    ):
        if names:
            some = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
            raise CatalogError(f"{path}: {problem}: {some} ({len(names)} in all); {DAMAGED}")


def write_catalog(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Write the rows as UTF-8 CSV with LF line ends on every system."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return 0 when the catalog is written and 2 when it cannot be."""
    parser = argparse.ArgumentParser(description="Rebuild the catalog of BIG-bench tasks.")
    parser.add_argument("path", type=Path, help="bigbench-1.0.0.tar.gz, or the extracted directory")
    default = Path(__file__).resolve().parents[1] / "data" / "bigbench_tasks.csv"
    parser.add_argument(
        "-o", "--output", type=Path, default=default, help="default: data/bigbench_tasks.csv"
    )
    options = parser.parse_args(arguments)
    try:
        rows = build_catalog(options.path)
        write_catalog(rows, options.output)
    except (CatalogError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(rows)} rows", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
