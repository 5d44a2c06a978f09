"""Cases of the fuzz test: a spoilt file among sound ones, read and compared with what may come.

A case is made by a random generator alone, so that the same one makes it again.
"""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import struct
import tarfile
import traceback
import zipfile
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzz_expected import REPORTED, Expected, Row, Sound, complaint, plain_rows
from fuzz_mutations import compressed, mutate_bytes, mutate_document
from fuzz_oracles_json import (
    expect_helm,
    expect_lighteval,
    expect_log,
    expect_log_samples,
    expect_results,
    expect_samples,
    expect_scores,
    scattered_samples,
)
from fuzz_oracles_table import expect_details, expect_samples_table, expect_table, expect_wide
from fuzz_seeds import SEEDS, member_seeds
from helpers import expected_rows, score_file, write_json

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import FILE
from bigbench_meta.readers import ProblemLog, ReadOptions, batches, discover, read_batch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from fuzz_expected import Problem
    from fuzz_seeds import Seed

    from bigbench_meta.readers import SourceFile

OUTCOMES = ("as ever", "changed", "in part", "refused")

Members = list[tuple[str, bytes, bool]]
"""Name and content of each member of an archive, and whether the content is whole."""


@dataclass(frozen=True)
class Case:
    """A spoilt file.

    Attributes:
        seed: What it was.
        name: What it is called.
        data: What it holds.
        change: What was done to it.
        named: Whether it is named outright, and not found below a folder.
    """

    seed: Seed
    name: str
    data: bytes
    change: str
    named: bool


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        result: One of ``OUTCOMES``.
        complaints: What is wrong with that.
    """

    result: str
    complaints: list[str] = field(default_factory=list)


def make(kind: str, random: Random) -> Case:
    """Spoil a file of a kind."""
    seed = random.choice(SEEDS[kind])
    name, named = seed.name, seed.named or random.random() < 0.3
    if random.random() < 0.5:
        data, change = mutate_document(seed, random, shared_members())
    else:
        data, change = mutate_bytes(
            random.choice(seed.layouts)(seed.document), random, everything()
        )
    if seed.gzip and random.random() < 0.2:
        name, data = f"{name}.gz", compressed(data)
        if random.random() < 0.6:
            data, more = mutate_bytes(compressed(seed.data), random, everything())
            change = f"compressed: {more}"
    return Case(seed, name, data, change, named)


@lru_cache
def everything() -> tuple[bytes, ...]:
    """Return a file of each kind."""
    return tuple(seeds[0].data for seeds in SEEDS.values())


# --- Reading ---


@dataclass
class Loaded:
    """A file that was read."""

    file: SourceFile
    rows: list[Row]
    samples: list[Row]


def read(paths: list[Path], options: ReadOptions) -> tuple[list[Loaded], list[Problem]]:
    """Read files as every ingest does."""
    log, loaded, tables = ProblemLog(), [], []
    found = discover(paths, log, samples=options.samples)
    for batch in batches(list(found)):
        for result in read_batch(batch, options, on_samples=tables.append):
            rows = by_file([result.observations])
            samples = by_file(tables)
            for number, record in enumerate(result.records):
                if (record.n_rows, record.n_samples) != (len(rows[number]), len(samples[number])):
                    raise AssertionError(f"{record} gave {len(rows[number])} rows")
                loaded.append(Loaded(record.file, rows[number], samples[number]))
            log.extend(result.log)
            tables.clear()
    return loaded, list(log.rows)


def by_file(tables: Iterable[Any]) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = defaultdict(list)
    for table in tables:
        table.validate(full=True)
        for row in plain_rows(table):
            rows[row.pop(FILE)].append(row)
    return rows


class Folder:
    """A folder of sound files, into which spoilt ones are put one after the other.

    Args:
        root: The folder, which must exist.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.tree = root, root / "tree"
        self.sound: dict[str, list[Row]] = {}
        self.written: list[Path] = []
        self._baselines: dict[int, dict[str, Sound]] = {}
        for side in ("a", "z"):
            document = score_file(task_name=f"{side}_beside", model_name=side)
            path = self.tree / side / "results" / f"scores_Fam_{side}.json"
            label = write_json(path, document).relative_to(root).as_posix()
            rows = expected_rows(document, label)
            self.sound[label] = [{k: v for k, v in row.items() if v is not None} for row in rows]

    def put(self, seed: Seed, name: str, data: bytes, *, named: bool) -> tuple[list[Path], str]:
        """Write a file with what lies beside it.

        Returns:
            What to read, and what the labels of all that was written begin with.
        """
        for old in self.written:
            old.unlink()
        inside = self.root / "named" if named else self.tree / "m"
        path = inside / name
        files = {inside / other: content for other, content in seed.beside.items()} | {path: data}
        for each, content in files.items():
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_bytes(content)
        self.written = list(files)
        if not named:
            return [self.tree], "tree/m/"
        # A companion is never read of its own: what it belongs to is named.
        is_companion = path.name == "run_spec.json"
        return [self.tree, path.with_name("stats.json") if is_companion else path], f"{inside}/"

    def options(self, seed: Seed) -> ReadOptions:
        """Return how to read a file."""
        mapping = self.root / "mapping.toml" if seed.mapping else None
        if mapping:
            mapping.write_text(seed.mapping, encoding="utf-8")
        return ReadOptions(samples=seed.samples, mapping=mapping)

    def baseline(self, seed: Seed) -> dict[str, Sound]:
        """Return what the readers make of a sound file and of those beside it, by their names.

        Raises:
            ValueError: They find fault with it.
        """
        if id(seed) not in self._baselines:
            files = seed.beside | {seed.name: seed.data}
            paths, prefix = self.put(seed, seed.name, seed.data, named=seed.named)
            loaded, problems = read(paths, self.options(seed))
            if any(problem[3] == "error" for problem in problems):
                raise ValueError(f"{seed.name} is not sound: {problems}")
            own = {one.file.label.removeprefix(prefix): one for one in loaded}
            self._baselines[id(seed)] = {
                name: Sound(
                    seed.document if name == seed.name else json.loads(files[name]),
                    one.rows,
                    one.samples,
                    files.get(beside_of(name)),
                    frozenset(each[1:3] for each in problems if each[0] == one.file.label),
                    one.file.format,
                )
                for name, one in own.items()
                if name in files
            }
        return self._baselines[id(seed)]


def beside_of(name: str) -> str:
    """Return the name of the file that a file is read with, an empty text if there is none."""
    folder, base = posixpath.split(name)
    if base == "stats.json":
        return f"{folder}/run_spec.json"
    if base.startswith("details_"):
        results = posixpath.dirname(folder).replace("details/", "results/", 1)
        return f"{results}/results_{posixpath.basename(folder)}.json"
    date = base.removesuffix(".jsonl").rpartition("_")[2]
    return f"{folder}/results_{date}.json" if base.startswith("samples_") else ""


# --- What may come ---


def unpacked(name: str, data: bytes) -> tuple[bytes, bool]:
    """Return the content of a file, and whether it is whole: compressed ones may be damaged."""
    if not name.endswith(".gz"):
        return data, True
    try:
        return gzip.decompress(data), True
    except (OSError, EOFError, zlib.error):
        return gunzipped(data), False


def gunzipped(data: bytes) -> bytes:
    """Return what can be had of a damaged compressed file."""
    decompressor, content = zlib.decompressobj(31), b""
    for number in range(len(data)):
        try:
            content += decompressor.decompress(data[number : number + 1])
        except zlib.error:
            break
        if decompressor.eof:
            decompressor = zlib.decompressobj(31)
    return content


def members_of(data: bytes) -> tuple[Members, bool]:
    """Return the members of an archive, and whether it can be read to its end."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
            return [(info.filename, *opened(archive, info)) for info in infos], True
    except BROKEN:
        return [], False


def tar_members_of(data: bytes) -> tuple[Members, bool]:
    found: Members = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|*") as archive:
            for info in archive:
                stream = archive.extractfile(info) if info.isfile() else None
                if stream:
                    found.append((info.name, *taken(stream)))
    except BROKEN:
        return found, False
    return found, True


BROKEN = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, ValueError,
          NotImplementedError, RuntimeError, struct.error,
          TypeError)  # from tarfile, where a gzip header is cut off  # fmt: skip


def opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[bytes, bool]:
    try:
        with archive.open(info) as stream:
            return taken(stream)
    except BROKEN:
        return b"", False


def taken(stream: Any) -> tuple[bytes, bool]:
    """Read a stream as far as it goes."""
    content = b""
    try:
        while piece := stream.read(64):
            content += piece
    except BROKEN:
        return content, False
    return content, True


def expected_of(
    file: SourceFile, content: bytes, whole: bool, sound: Sound, *, same_run: bool,
    options: ReadOptions,
) -> tuple[Expected, Expected]:  # fmt: skip
    """Return which observations and which samples may come of a file."""
    label, nothing = file.label, Expected()
    if file.format == "full_log":
        rows = expect_log(content, label)
        samples = expect_log_samples(content, label, sound) if options.samples else nothing
        if whole:
            return rows, samples
        text = content.decode("utf-8-sig", "replace")
        return rows.loosened(REPORTED), scattered_samples(
            text, label
        ) if options.samples else nothing
    if not whole:
        return Expected(faulty=True), nothing
    if file.format == "lm_eval_samples":
        return nothing, expect_samples(content, label, sound, same_run=same_run)
    if file.format == "lighteval_details":
        return nothing, expect_details(content, label, sound, same_run=same_run)
    if file.format == "samples_table":
        return nothing, expect_samples_table(content, label)
    if file.format == "helm":
        return expect_helm(content, label, sound, same_run=same_run), nothing
    if file.format == "table":
        expect = expect_wide if options.mapping else expect_table
        name = (file.member or file.path).lower()
        return expect(content, label, is_parquet=name.endswith(".parquet")), nothing
    by_format = {"lm_eval": expect_results, "lighteval": expect_lighteval}
    expect_json = by_format.get(file.format, expect_scores)
    return expect_json(content, label, sound), nothing


# --- Checking ---


def check(case: Case, folder: Folder, *, frames: bool = False) -> Outcome:
    """Read a case and return what came of it.

    Args:
        case: The case.
        folder: Where to put it.
        frames: Whether to read it into frames as well, and strictly.
    """
    sounds = sounds_of(case.seed, folder)
    options = folder.options(case.seed)
    paths, prefix = folder.put(case.seed, case.name, case.data, named=case.named)
    try:
        loaded, problems = read(paths, options)
        complaints = check_frames(paths, folder, options) if frames else []
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test looks for
        return Outcome("crash", [shown_error(error)])
    complaints += check_sound(loaded, problems, folder)
    own = [one for one in loaded if one.file.label not in folder.sound]
    problems = [problem for problem in problems if problem[0] not in folder.sound]
    foreign = [problem for problem in problems if not problem[0].startswith(prefix)]
    complaints += [f"a problem of nobody: {problem}" for problem in foreign]
    if not problems and not any(one.rows or one.samples for one in own):
        complaints.append("neither rows nor a problem")
    is_archive = case.seed.kind in {"zip", "tar.gz"}
    files, is_whole = files_of(case)
    if not is_whole and not problems:
        complaints.append("not a word on an archive that cannot be read to its end")
    complaints += check_own(own, problems, files, sounds, options, prefix)
    if is_archive:
        complaints += check_members(case, own, problems, files, sounds, options)
    return Outcome(result_of(own, sounds), complaints)


def shown_error(error: Exception) -> str:
    """Return an exception in a line, with where the readers were."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if "bigbench_meta" in frame.filename]  # fmt: skip
    where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:])
    return f"{type(error).__name__}: {error} ({where})"


def sounds_of(seed: Seed, folder: Folder) -> dict[str, Sound]:
    seeds = member_seeds_of(seed)
    return {name: sound for one in seeds for name, sound in folder.baseline(one).items()}


@lru_cache
def shared_members() -> tuple[Seed, ...]:
    return tuple(member_seeds())


def member_seeds_of(seed: Seed) -> tuple[Seed, ...]:
    return shared_members() if seed.kind in {"zip", "tar.gz"} else (seed,)


def files_of(case: Case) -> tuple[Members, bool]:
    """Return what a case holds: its files, or the members of an archive."""
    if case.seed.kind == "zip":
        return members_of(case.data)
    if case.seed.kind == "tar.gz":
        return tar_members_of(case.data)
    beside = [(name, data, True) for name, data in case.seed.beside.items()]
    return [*beside, (case.name, case.data, True)], True


def check_sound(loaded: list[Loaded], problems: list[Problem], folder: Folder) -> list[str]:
    """Make sure that the sound files gave what they always give."""
    rows = {one.file.label: one.rows for one in loaded if one.file.label in folder.sound}
    complaints = [
        f"of a sound file: {problem}" for problem in problems if problem[0] in folder.sound
    ]
    return complaints + ["a sound file was not read as ever"] * (rows != folder.sound)


def check_own(
    own: list[Loaded], problems: list[Problem], files: Members, sounds: dict[str, Sound],
    options: ReadOptions, prefix: str,
) -> list[str]:  # fmt: skip
    """Compare what came of each file with what may come of it."""
    complaints, left = [], list(files)
    for one in own:
        name = one.file.member or one.file.label.removeprefix(prefix)
        found = next((each for each in left if each[0] == name), None)
        if found is None and one.file.format == "archive" and not one.rows and len(own) == 1:
            continue  # nothing came of it: it counts as a file that failed
        if found is None:
            complaints.append(f"{name} was read, but is not there")
            continue
        left.remove(found)
        content, is_whole = unpacked(name, found[1])
        sound = sounds.get(name.removesuffix(".gz"), Sound())
        if sound.format != one.file.format:  # a file of another kind stands in its place
            sound = Sound()
        besides = {data for other, data, _ in files if other == beside_of(name)}
        same_run = besides == ({sound.beside} - {None})
        rows, samples = expected_of(
            one.file, content, found[2] and is_whole, sound, same_run=same_run, options=options
        )
        of_file = sound.new([problem for problem in problems if is_of(problem, one)])
        errors = [each for each in of_file if each[0] == one.file.label and each[3] == "error"]
        if rows.clean and samples.clean and errors:
            complaints.append(f"{name} is sound, but: {errors}")
        for got, expected in ((one.rows, rows), (one.samples, samples)):
            if said := complaint(got, expected, of_file):
                complaints.append(f"{name}: {said}")
    return complaints


def is_of(problem: Problem, one: Loaded) -> bool:
    """Return whether a problem names a file, or the archive that it is in."""
    return problem[0] == one.file.label or bool(
        one.file.member and one.file.label == f"{problem[0]}/{one.file.member}"
    )


def check_members(
    case: Case, own: list[Loaded], problems: list[Problem], files: Members,
    sounds: dict[str, Sound], options: ReadOptions,
) -> list[str]:  # fmt: skip
    """Make sure that no member of an archive is skipped without a word."""
    read_names = [one.file.member for one in own]
    complaints = []
    for name, _, _ in files:
        is_samples = name.endswith((".jsonl", ".parquet"))
        wanted = name in sounds and (options.samples or not is_samples)
        said = any(problem[0].endswith((case.name, name)) for problem in problems)
        if wanted and name not in read_names and not said:
            complaints.append(f"{name}: a member skipped without a word")
    return complaints


def check_frames(paths: list[Path], folder: Folder, options: ReadOptions) -> list[str]:
    """Read into frames, and strictly."""
    observations, problems = bm.read_results(paths, mapping=options.mapping)
    complaints = []
    sources = observations["source"].astype(str)
    for label, rows in folder.sound.items():
        if observations.loc[sources == label, "score"].tolist() != [row["score"] for row in rows]:
            complaints.append(f"frames: {label} was not read as ever")
    try:
        bm.read_results(paths, mapping=options.mapping, strict=True)
        failed = False
    except InputError:
        failed = True
    if failed != bool(len(problems)):
        complaints.append(
            f"strict: {'raised' if failed else 'did not raise'}, {len(problems)} problems"
        )
    return complaints


def result_of(own: list[Loaded], sounds: dict[str, Sound]) -> str:
    rows = [without_source(row) for one in own for row in one.rows + one.samples]
    before = [without_source(row) for one in sounds.values() for row in one.rows + one.samples]
    if not rows:
        return "refused"
    if rows == before:
        return "as ever"
    return "in part" if len(rows) < len(before) else "changed"


def without_source(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "source"}
