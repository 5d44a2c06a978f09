"""Find result files in what a user names: files, folders, patterns, archives, URLs.

A folder with a hundred thousand files is walked in a second, so this module works on plain strings
and asks the file system for as little as it can.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import re
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES
from bigbench_meta.core.text import counted, printable
from bigbench_meta.readers.detect import (
    JSON_ENDINGS,
    OF_A_STORE,
    SAMPLES_ONLY,
    STORE_FORMAT,
    TABLE_ENDINGS,
    UNREAD,
    WITH_OTHER_JSON,
    Format,
    SourceFile,
    by_content,
    by_name,
    by_place,
    newest_manifest,
)
from bigbench_meta.readers.remote import holds_folders, reaching, stamp_of, url_system
from bigbench_meta.readers.streams import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from bigbench_meta.readers.problems import ProblemLog

__all__ = [
    "MOST_LOOKED",
    "PEEK",
    "FileStats",
    "discover",
    "is_store",
    "located",
    "named_paths",
    "require_found",
    "tell_unread",
    "top_of",
]

# Enough to see the first keys of a results file; a task.json of gigabytes is not read for it.
PEEK: Final = 4096

# Formats that are read where they are named, or with another file, but not found.
_NOT_BELOW: Final = {"archive", "paired"}

MOST_LOOKED: Final = 1 << 24
"""How much of a JSON file is looked into for its keys."""

# Files named where none is recognised.
_MOST_SHOWN: Final = 5
# Keys and columns that are named.
_MOST_NAMES: Final = 6
# All but the last ** of several in a row.
_DEEP: Final = re.compile(r"(?<![^/\\])(?:\*\*[/\\]+)+(?=\*\*(?:[/\\]|$))")
_MANIFEST: Final = re.compile(rb'\s*\{\s*"format"\s*:\s*"' + STORE_FORMAT.encode() + b'"')
# Between cells of a table whose delimiter is another; so few columns that one more or less says
# nothing; and a column of tables made of results.
_DELIMITERS: Final = re.compile(r"[;\t|]")
_FEW_COLUMNS: Final = 4
_SCORED: Final = "emergence_score"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
# What a study, by its record, added to a folder: its tables are made of results, but are none.
# What else lies beside a study is read.
_OF_A_STUDY: Final = {"tables", "figures"}


@dataclass
class FileStats:
    """Size and time of the last change of files that need not be read while these stay the same.

    Attributes:
        known: Size in bytes and time in nanoseconds of each file, by path.
        skipped: Paths below folders that were found unchanged, and skipped.
    """

    known: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def discover(
    paths: Iterable[str | Path],
    log: ProblemLog,
    *,
    samples: bool = False,
    mapping: Path | None = None,
    stats: FileStats | None = None,
) -> Iterator[SourceFile]:
    """Yield the result files at or below the paths, each once, in a fixed order.

    A file named outright is read whatever its name. Below a folder, a JSON file is taken if it is
    called ``scores_*``, lies in a ``results`` folder or begins like a known
    format, and a table if its header has the columns of an observations table or, with a
    mapping, all columns that the mapping names.

    Args:
        paths: Files, folders, patterns with ``*`` or ``**``, archives, URLs.
        log: Where oddities below folders are noted.
        samples: Also yield files that hold nothing but samples.
        mapping: TOML file that maps the columns of wide tables.
        stats: Files to skip where they are found below a folder and have not changed.

    Yields:
        The files.

    Raises:
        InputError: A path does not exist, a pattern fits nothing, or the mapping cannot be used.
    """
    search = _Search(stats or FileStats(), _lacks(mapping))
    found = located(paths)
    names = _names([path for path, _ in found if os.path.isdir(path)])
    for path, given in found:
        files: Iterable[SourceFile]
        if "://" in path:
            files = _remote(path, log)
        elif os.path.isdir(path):
            files = _walk(path, names[path], log, search)
        else:
            files = [] if _told_unknown(path, given, log) else [_named(path, given)]
        yield from (one for one in files if samples or one.format not in SAMPLES_ONLY)


class _Search(NamedTuple):
    """Which files below folders are skipped, and what a table there lacks to be taken."""

    stats: FileStats
    lacks: Callable[[Path], tuple[str, bool]]


def _lacks(mapping: Path | None) -> Callable[[Path], tuple[str, bool]]:
    """Return what says which columns a table lacks, empty for none, and if it almost has all."""
    options: dict[str, Any] = {}
    if mapping is not None:
        from bigbench_meta.readers.formats.mapping import Mapping as ColumnMapping

        rules = ColumnMapping.read(mapping)
        options = {"wanted": rules.sources, "delimiter": rules.delimiter}

    def lacks(path: Path) -> tuple[str, bool]:
        # Imported here: it imports pandas, which folders without tables do without.
        from bigbench_meta.readers.formats.tidy_table import missing_columns

        missing, found = missing_columns(path, **options)
        if not missing:
            return "", False
        of_mapping = " of the mapping" if mapping else ""
        what = "column" if len(missing) == 1 else "columns"
        text = f"lacks the {what} {_named_few(missing)}{of_mapping} (it has {_named_few(found)})"
        # One name is misspelt, or another delimiter leaves a single column.
        apart = {cell.strip() for cell in _DELIMITERS.split(found[0])} if len(found) == 1 else set()
        n_wanted = len(options.get("wanted", OBSERVATIONS.required))
        is_near = n_wanted > _FEW_COLUMNS and (len(missing) == 1 or apart.issuperset(missing))
        return text, is_near and _SCORED not in found

    return lacks


def _named_few(names: Iterable[str]) -> str:
    """Return the first names of some."""
    every = list(names)
    return ", ".join(every[:_MOST_NAMES]) + (", ..." if len(every) > _MOST_NAMES else "")


def top_of(content: bytes) -> tuple[str, bool]:
    """Return what JSON has at its top, or why it cannot be read, and if it is sound.

    Args:
        content: All of a file, or more than ``MOST_LOOKED`` bytes, which are not looked into.

    Examples:
        >>> top_of(b'{"a": 1}'), top_of(b'{"a": '), top_of("{}".encode("utf-16"))
        (('top keys a', True), ('no sound JSON', False), ('not UTF-8 but UTF-16', False))
    """
    if len(content) > MOST_LOOKED:
        return "", False
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return f"not UTF-8{' but UTF-16' if content.startswith(_UTF_16) else ''}", False
    except (ValueError, RecursionError):
        return "no sound JSON", False
    if isinstance(document, dict):
        keys = f"top keys {_named_few(map(printable, document))}"
        return keys if document else "an empty object", True
    return "no object at its top", True


def _top_of_file(path: str) -> tuple[str, bool]:
    try:
        opener = gzip.open if path.lower().endswith(".gz") else open
        with opener(path, "rb") as file:
            return top_of(bytes(file.read(MOST_LOOKED + 1)))
    except UNREADABLE:
        return "", False


def tell_unread(names: list[str], count: int, source: str, log: ProblemLog) -> None:
    """Note files that may hold results and are not read, in one line.

    Args:
        names: The first of them.
        count: How many there are.
        source: Where they were found.
        log: Where it is noted.
    """
    if count:
        more = f" and {count - len(names[:_MOST_SHOWN])} more" if count > _MOST_SHOWN else ""
        log.warning(
            source,
            "",
            f"not read: {', '.join(names[:_MOST_SHOWN])}{more}"
            " (name an archive to read it; docs/reading.md lists the formats)",
        )


def is_store(folder: str | Path) -> bool:
    """Return whether a folder is a store: its manifest says so, or is damaged beside its files.

    Raises:
        InputError: It is a URL that cannot be reached.
    """
    if "://" in str(folder):
        return _is_remote_store(str(folder))
    manifest = os.path.join(folder, "manifest.json")
    if not os.path.isfile(manifest):
        return False
    if _MANIFEST.match(_head(manifest)):
        return True
    with suppress(OSError), os.scandir(os.path.join(folder, "files")) as found:
        return any(OF_A_STORE.fullmatch(entry.name.removesuffix(".parquet")) for entry in found)
    return False


def _is_remote_store(url: str) -> bool:
    if not holds_folders(url):
        return False
    system, path = url_system(url)
    root = f"{path.rstrip('/')}/"
    with reaching(url):
        found = system.find(path, prefix="manifest")
        newest = newest_manifest(name.removeprefix(root) for name in found)
        if newest != "manifest.json":
            return bool(newest)
        return bool(_MANIFEST.match(system.cat_file(root + newest, end=PEEK)))


def located(paths: Iterable[str | Path]) -> list[tuple[str, str]]:
    """Return the paths, resolved and as given, each once and none below another.

    Raises:
        InputError: A path does not exist, or a pattern fits nothing.
    """
    found = _distinct(_expand(paths))
    for path, given in found:
        if "://" not in path and not os.path.exists(path):
            _named(path, given)
    return found


def named_paths(paths: str | Path | Iterable[str | Path]) -> list[str | Path]:
    """Return one path or many as a list."""
    return [paths] if isinstance(paths, str | Path) else list(paths)


def require_found(named: list[str | Path], n_found: int, log: ProblemLog) -> None:
    """Raise if nothing was found and no error explains why.

    Raises:
        InputError: No file was found and no problem noted.
    """
    if n_found or log.n_errors:
        return
    looked = log.passed_over
    if not looked:
        raise InputError(
            "no result files found",
            where=", ".join(map(str, named)),
            hint="BIG-bench score files are named <task>/results/scores_<family>_<model>.json",
        )
    unmapped = any(" lacks the column" in one and " of the mapping " not in one for one in looked)
    needs_mapping = "; tables of other layouts need --mapping"
    shown = "; ".join(looked[:_MOST_SHOWN])
    more = f"; and {len(looked) - _MOST_SHOWN} more" if len(looked) > _MOST_SHOWN else ""
    raise InputError(
        f"{counted(len(looked), 'file')} looked at, none recognised: {shown}{more}",
        where=", ".join(map(str, named)),
        hint="docs/reading.md lists the formats" + (needs_mapping if unmapped else ""),
    )


def _names(folders: list[str]) -> dict[str, str]:
    """Return what each folder is called in labels: as many of its last names as make it unique."""
    parts = {folder: Path(folder).parts for folder in folders}
    names = {folder: Path(folder).name for folder in folders}
    for length in range(2, max(map(len, parts.values()), default=0)):
        taken = Counter(names.values())
        if max(taken.values()) == 1:
            break
        for folder, name in names.items():
            if taken[name] > 1:
                names[folder] = "/".join(parts[folder][-length:])
    return names


def _expand(paths: Iterable[str | Path]) -> Iterator[str]:
    for path in map(str, paths):
        if "\0" in path:
            raise InputError("no path holds a null character", where=path)
        if "://" in path or os.path.exists(path) or not glob.has_magic(path):
            yield path
        # Folders of any depth within folders of any depth are searched once.
        elif found := sorted(glob.glob(_DEEP.sub("", path), recursive=True)):
            yield from found
        else:
            raise InputError("no file matches the pattern", where=path)


def _distinct(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return (absolute, as given) without repetitions and without what lies below another."""
    absolute = {path if "://" in path else os.path.realpath(path): path for path in paths}
    folders = {path for path in absolute if "://" not in path and os.path.isdir(path)}
    return [
        (path, given)
        for path, given in absolute.items()
        if "://" in path or folders.isdisjoint(map(str, Path(path).parents))
    ]


def _told_unknown(path: str, given: str, log: ProblemLog) -> bool:
    """Return whether a file that was named is sound JSON of no known format, and say so."""
    is_json = path.lower().endswith(JSON_ENDINGS) and os.path.isfile(path)
    if by_name(os.path.basename(path)) or not is_json:
        return False
    if by_content(_head(path)) or by_place(path):
        return False
    keys, is_sound = _top_of_file(path)
    if is_sound:
        label = printable(Path(given).as_posix())
        log.error(label, "", f"not a results file of a known format ({keys})")
    return is_sound


def _named(path: str, given: str) -> SourceFile:
    try:
        status = os.stat(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            "no such file or folder" if missing else str(error.strerror),
            where=given,
            hint="name result files, or a folder such as bigbench/benchmark_tasks",
        ) from error
    if not os.path.isfile(path):
        raise InputError("neither file nor folder", where=given)
    detected = by_name(os.path.basename(path))
    if detected is None and path.lower().endswith(JSON_ENDINGS):
        # Of no known format: the reader of BIG-bench's says where a file is damaged.
        detected = by_content(_head(path)) or by_place(path) or "bigbench"
    if detected is None:
        raise InputError(
            "format not recognised from the name",
            where=given,
            hint=f"known endings: {', '.join((*JSON_ENDINGS, *TABLE_ENDINGS))}, .jsonl, archives",
        )
    label = printable(Path(given).as_posix())
    return SourceFile(path, label, detected, status.st_size, status.st_mtime_ns)


def _remote(url: str, log: ProblemLog) -> Iterator[SourceFile]:
    """Yield the result files at a URL: the file itself, or those below a bucket's folder."""
    system, path = url_system(url)
    with reaching(url):
        in_bucket = holds_folders(url)
        found = system.find(path, detail=True) if in_bucket else {path: system.info(path)}
    if not found:
        raise InputError("no such file or folder", where=url)
    is_folder = found.keys() != {path}
    formats = {name: by_name(_base(name)) for name in _outside_stores(found)}
    unknown = [
        name
        for name, detected in formats.items()
        if detected is None and _base(name).lower().endswith(JSON_ENDINGS)
    ]
    for name, head in zip(unknown, _remote_heads(system, url, unknown), strict=True):
        formats[name] = by_content(head) or by_place(name) or (None if is_folder else "bigbench")
    for name, detected in sorted(formats.items()):
        full = system.unstrip_protocol(name) if is_folder else url
        label = printable(full.split("?")[0])
        if detected is None:
            if name in unknown:
                log.warning(label, "", "ignored: does not look like a results file")
                log.passed_over.append(label)
        elif not (is_folder and detected in _NOT_BELOW):
            info = found[name]
            yield SourceFile(full, label, detected, int(info.get("size") or -1), stamp_of(info))


def _base(name: str) -> str:
    return name.split("?")[0].rsplit("/", 1)[-1]


def _outside_stores(names: Collection[str]) -> list[str]:
    """Return the names of files that do not lie in a store, which has a manifest and parts."""
    roots = set()
    for name in names:
        folder, _, base = name.rpartition("/")
        if OF_A_STORE.fullmatch(base.removesuffix(".parquet")):
            roots.add(f"{folder.rpartition('/')[0]}/")
        elif base != "manifest.json" and newest_manifest([base]):
            roots.add(f"{folder}/")
    return [name for name in names if not name.startswith(tuple(roots))] if roots else [*names]


def _remote_heads(system: Any, url: str, names: list[str]) -> list[bytes]:
    """Return the beginnings of files, decompressed, many of them fetched at once."""
    if not names:
        return []
    with reaching(url):
        found = system.cat_ranges(names, [0] * len(names), [PEEK] * len(names), on_error="return")
    # What cannot be read is for the reader to report.
    heads = [head[:PEEK] if isinstance(head, bytes) else b'"scores"' for head in found]
    return [
        _unzipped(head) if name.lower().endswith(".gz") else head
        for name, head in zip(names, heads, strict=True)
    ]


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, PEEK)
    except zlib.error:
        return b'"scores"'


def _walk(root: str, name: str, log: ProblemLog, search: _Search) -> Iterator[SourceFile]:
    pending = [(root, name, False, False)]
    unread: list[str] = []
    known, skip = search.stats.known.get, search.stats.skipped.append
    while pending:
        folder, prefix, in_study, in_task = pending.pop()
        entries, is_study = _listed(folder, prefix, log, in_study=in_study)
        quiet = not WITH_OTHER_JSON.isdisjoint(entries)
        in_task = in_task or quiet
        below: list[tuple[str, str, bool, bool]] = []
        for base in sorted(entries):
            entry = entries[base]
            stat = known(entry.path)
            if stat and stat == _stat(entry):
                skip(entry.path)
                continue
            label = printable(f"{prefix}/{base}")
            if entry.is_dir(follow_symlinks=False):
                if base.lower().endswith(JSON_ENDINGS):
                    log.error(label, "", "a folder with the name of a JSON file")
                below.append((entry.path, label, is_study, in_task))
            elif entry.is_symlink() and _leads_out(entry.path, root):
                log.warning(label, "", "a link to a folder: not followed; name it to read it")
            elif file := _found(entry, label, log, search, quiet=quiet):
                yield file
            elif not in_task and _is_unread(base) and entry.is_file():
                unread.append(label)
        pending.extend(reversed(below))
    tell_unread(unread, len(unread), printable(name), log)
    log.passed_over.extend(f"{label} (not read below a folder)" for label in unread)


def _is_unread(name: str) -> bool:
    """Return whether a file below a folder may hold results, by its name, but is never read."""
    if name.lower().endswith(JSON_ENDINGS) or not UNREAD.fullmatch(name):
        return False
    return by_name(name) in (None, "archive")


def _listed(
    folder: str, prefix: str, log: ProblemLog, *, in_study: bool
) -> tuple[dict[str, os.DirEntry[str]], bool]:
    """Return what is in a folder, but for what this program made of results, and if it made any."""
    try:
        with os.scandir(folder) as found:
            entries = {entry.name: entry for entry in found}
    except OSError as error:
        log.error(prefix, "", f"cannot be read: {error.strerror}")
        return {}, False
    if "manifest.json" in entries and is_store(folder):
        return {}, False
    made = {base for base in entries if base.startswith("run") and _is_record(entries[base])}
    is_study = bool(made)
    # A study of several sets has a folder with tables and figures for each.
    if is_study or (in_study and entries.keys() >= _OF_A_STUDY):
        made |= _OF_A_STUDY
    if made:
        entries = {base: entry for base, entry in entries.items() if base not in made}
    return entries, is_study


def _is_record(entry: os.DirEntry[str]) -> bool:
    """Return whether a file is the record of a run of this program."""
    return (
        entry.name.endswith(".json")
        and entry.is_file()
        and b'"program": "bigbench-meta"' in _head(entry.path)
    )


def _leads_out(link: str, root: str) -> bool:
    """Return whether a link leads to a folder that is not below the root."""
    target = os.path.realpath(link)
    return os.path.isdir(target) and os.path.commonpath([target, root]) not in (target, root)


def _stat(entry: os.DirEntry[str]) -> tuple[int, int] | None:
    try:
        status = entry.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _found(
    entry: os.DirEntry[str], label: str, log: ProblemLog, search: _Search, *, quiet: bool
) -> SourceFile | None:
    """Return a file found below a folder, None if it holds no results."""
    detected = by_name(entry.name)
    if detected in _NOT_BELOW or (
        detected is None and not entry.name.lower().endswith(JSON_ENDINGS)
    ):
        return None
    try:
        status = entry.stat()
    except OSError as error:
        log.error(label, "", f"cannot be read: {error.strerror}")
        return None
    if not entry.is_file():  # a socket, a device
        return None
    if detected == "table":
        reason, is_near = search.lacks(Path(entry.path))
        if reason:
            log.passed_over.append(f"{label} {reason}")
            if not _hinted_at_samples(Path(entry.path), label, log) and is_near:
                log.warning(label, "", f"ignored: {reason}")
            return None
    if detected is None and (detected := _looked_into(entry)) is None:
        if not quiet:
            _tell_other_json(entry, label, log, is_empty=not status.st_size)
        return None
    path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
    return SourceFile(path, label, detected, status.st_size, status.st_mtime_ns)


def _tell_other_json(
    entry: os.DirEntry[str], label: str, log: ProblemLog, *, is_empty: bool
) -> None:
    if is_empty:
        log.error(label, "", "the file is empty")
        return
    top, _ = _top_of_file(entry.path)
    has = f" ({top})" if top else ""
    log.warning(label, "", f"ignored: does not look like a results file{has}")
    log.passed_over.append(f"{label}{has}")


def _hinted_at_samples(path: Path, label: str, log: ProblemLog) -> bool:
    """Say of a table of samples with another name than theirs why it is not read."""
    from bigbench_meta.readers.formats.tidy_table import NAMED_SAMPLES, has_columns

    is_parquet = path.name.lower().endswith(".parquet")
    is_samples = (
        is_parquet and has_columns(path, SAMPLES.required) and not has_columns(path, {"score"})
    )
    if is_samples:
        log.warning(label, "", f"ignored: {NAMED_SAMPLES}")
    return is_samples


def _looked_into(entry: os.DirEntry[str]) -> Format | None:
    """Return the format of a JSON file whose name does not settle it."""
    if found := by_content(_head(entry.path)):
        return found
    placed = by_place(entry.path)
    # Many programs write a stats.json; HELM writes another file beside it.
    if placed == "helm" and not os.path.exists(
        entry.path[: -len(entry.name)] + entry.name.replace("stats", "run_spec")
    ):
        return None
    return placed


def _head(path: str) -> bytes:
    try:
        opener = gzip.open if path.lower().endswith(".gz") else open
        with opener(path, "rb") as file:
            return bytes(file.read(PEEK))
    except UNREADABLE:
        # What cannot even be opened is for the reader to report.
        return b'"scores"'
