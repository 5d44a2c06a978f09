"""What the command line writes: a table to a file, results and a record into a folder."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bigbench_meta.cli import console
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted, csv_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TextIO

    import pandas as pd

__all__ = [
    "ARGUMENTS",
    "prepare_folder",
    "print_written",
    "refuse_output",
    "write_frame",
    "write_results",
]

ARGUMENTS = "bigbench_meta.arguments"
"""Where the context holds the arguments of the program."""

# Options that name files to read, or may.
_INPUTS = ("mapping", "names", "catalog_path", "issues_path", "example_counts")

# Fewer columns that a table begins with may be anybody's.
_FEWEST_COLUMNS: Final = 8
# Of a table as JSON, in characters.
_LONGEST_RECORD: Final = 1 << 20


def prepare_folder(out: Path | None, *, sure: str = "") -> None:
    """Make the folder that ``--out`` names, if it does, before the work.

    Raises:
        InputError: It cannot be written to, or holds a file that would be lost.
    """
    if out:
        from bigbench_meta.report.folder import prepare_folder

        prepare_folder(out, _command(click.get_current_context()), sure=sure)


def write_results(
    out: Path, contents: Mapping[str, str | bytes], inputs: Mapping[str, str | None] | None = None
) -> list[Path]:
    """Write the results of the current command into a folder, with a record of the run.

    Args:
        out: The folder.
        contents: Contents by path below it.
        inputs: Digests of the files of results that were read, by name.
    """
    from bigbench_meta.report.folder import Run, digest_of_file, write_files

    context = click.get_current_context()
    run = Run(
        command=_command(context),
        line=shlex.join(["bigbench-meta", *context.meta.get(ARGUMENTS, ())]),
        options={
            max(parameter.opts, key=len).lstrip("-"): _plain(context.params[parameter.name])
            for parameter in context.command.params
            if parameter.name in context.params
        },
        inputs={
            **(inputs or {}),
            **{
                path.as_posix(): digest_of_file(path)
                for path in _option_files(context.params)
                if path.is_file()
            },
        },
    )
    with console.progress("Writing") as progress:
        return write_files(out, contents, run, progress=progress)


def print_written(written: list[Path], out: Path | None) -> None:
    """Print how many files are in the folder that ``--out`` names, if it does."""
    if out:
        click.echo(f"{counted(len(written), 'file')} written into {out.as_posix()}.")


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, unrounded, to a file whose ending is one of those that ``-o`` takes.

    Raises:
        InputError: It cannot be written, or there is a table with other columns.
    """
    from bigbench_meta.report.folder import write_whole

    old = _columns(path) if path.exists() else []
    new = [str(name) for name in frame]
    # Options add columns behind those that a command always writes.
    n_shared = min(len(old), len(new))
    if old and (old[:n_shared] != new[:n_shared] or n_shared < min(_FEWEST_COLUMNS, len(new))):
        raise _refusal(path, "has other columns than the table that would replace it")
    contents: dict[str, Callable[[], bytes]] = {
        ".csv": lambda: csv_text(frame).encode(),
        ".parquet": lambda: frame.to_parquet(index=False),
        ".json": lambda: f"{console.json_text(console.records(frame))}\n".encode(),
    }
    write_whole(path, contents[path.suffix]())


def refuse_output(results: Collection[str], read: Collection[str] = ()) -> None:
    """Refuse to write over what is read or is not this program's, before the work.

    What ``-o`` may replace is an empty file or a table without results, as commands write them;
    :func:`write_frame` compares its columns.

    Args:
        results: RESULTS of the current command.
        read: Names of the files that were read.

    Raises:
        InputError: The file that ``-o`` names is one of the results, or of the options' files; it
            lies in a store; or it is there and is no such table.
    """
    from bigbench_meta.readers.sources import is_store

    given = click.get_current_context().params
    output: Path | None = given.get("output")
    if output is None:
        return
    whole = output.resolve()
    if any(is_store(folder) for folder in whole.parents):
        raise InputError("lies in a store", where=str(output), hint="name another file")
    if not output.exists():
        return
    for place in (*map(Path, results), *_option_files(given)):
        if not place.exists():  # a URL or a pattern
            continue
        is_read = place.samefile(output)
        if place.is_dir() and whole.is_relative_to(place.resolve()):
            below = whole.relative_to(place.resolve()).as_posix()
            is_read = any(f"/{name}".endswith(f"/{below}") for name in read)
        if is_read:
            raise InputError(
                "is read, and would be overwritten", where=str(output), hint="name another file"
            )
    _columns(output)


def _columns(path: Path) -> list[str]:
    """Return the columns of a table that may be replaced, none of an empty file.

    Raises:
        InputError: It is no table as commands write them, or one of results.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES

    if not path.is_file():
        raise _refusal(path, "is not a file")
    columns: list[str]
    try:
        if not path.stat().st_size:
            return []
        if path.suffix == ".parquet":
            columns = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8", newline="") as text:
                columns = _keys(text) if path.suffix == ".json" else next(csv.reader(text))
    except (
        OSError,
        ValueError,
        StopIteration,
        csv.Error,
        RecursionError,
        pa.ArrowException,
    ) as error:
        raise _refusal(path, "is not a table written by this program") from error
    if any(set(columns) >= set(schema.required) for schema in (OBSERVATIONS, SAMPLES)):
        raise _refusal(path, "holds results")
    return columns


def _keys(text: TextIO) -> list[str]:
    """Return the keys of the first of a list of records, none of an empty list.

    Raises:
        ValueError: It is no such list.
    """
    begin = text.read(_LONGEST_RECORD).lstrip()
    rest = begin.removeprefix("[").lstrip()
    if rest == begin or (rest.startswith("]") and rest.strip() != "]"):
        raise ValueError("no list")
    if rest.startswith("]"):
        return []
    record, _ = json.JSONDecoder().raw_decode(rest)
    if not isinstance(record, dict) or any(isinstance(v, dict | list) for v in record.values()):
        raise ValueError("no record")
    return list(record)


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(
        f"would be overwritten, and {reason}",
        where=str(path),
        hint="choose another name or delete it",
    )


def _command(context: click.Context) -> str:
    """Return the name of the current command, such as ``generate lenet``."""
    return context.command_path.removeprefix(context.find_root().command_path).strip()


def _option_files(given: Mapping[str, Any]) -> list[Path]:
    return [
        Path(value)
        for name in _INPUTS
        if given.get(name)
        for value in (given[name] if isinstance(given[name], tuple) else (given[name],))
    ]


def _plain(value: Any) -> Any:
    """Return the value of an option as JSON takes it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
