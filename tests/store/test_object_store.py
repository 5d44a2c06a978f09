"""A store in a bucket holds what one in a folder holds, whoever writes at once or is killed.

``BIGBENCH_META_KILLS=20`` kills as often; by default it is a handful.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd
import pytest
from helpers import (
    SIZES,
    plain,
    run,
    run_json,
    score_file,
    tree_files,
    write_json,
    write_tree,
)

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError, StoreError
from bigbench_meta.readers import ReadOptions
from bigbench_meta.readers import batch as _batch
from bigbench_meta.store import ingest as _ingest
from bigbench_meta.store import places
from bigbench_meta.store import store as _store
from bigbench_meta.store.manifest import Manifest
from bigbench_meta.store.places import Bucket, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_server import Server

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.server", reason="moto[server,s3] is not installed")

# aiohttp, below s3fs, leaves connections open at exit; they are not ours to close.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

KILLS = int(os.environ.get("BIGBENCH_META_KILLS", "3"))

# Small batches, each committed at once; waits for a line before it begins.
INGEST = """
import sys
from bigbench_meta.readers import batch as _batch
import bigbench_meta.store.store as store
_batch._BATCH_FILES = 4
store._every_second = lambda items: ([item] for item in items)
opened = store.Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
opened.ingest(sys.argv[2])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    from s3_server import served

    with served() as found:
        s3fs.S3FileSystem.clear_instance_cache()
        yield found
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket; the mirror is new, too."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"bucket-{uuid4().hex[:12]}"
    system().mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def reconnecting() -> Iterator[None]:
    """Connect anew, under another environment, and once more afterwards."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree")
    return tmp_path / "tree"


def system() -> Any:
    """Return the file system, which has seen nothing yet."""
    found = s3fs.S3FileSystem()
    found.invalidate_cache()
    return found


def listed(url: str) -> list[str]:
    """Return the names of all objects below a URL."""
    path = url.removeprefix("s3://")
    return [name.removeprefix(f"{path}/") for name in system().find(path)]


def upload(folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            system().put_file(str(path), f"{url.removeprefix('s3://')}/{name}")


def rows(store: bm.Store) -> list[str]:
    return sorted(map(repr, plain(store.observations())))


def forget_mirror(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache")


# The same as a folder -------------------------------------------------------------------------


def differing(folder: Path) -> Path:
    """Write a tree with a file that cannot be read, and two that disagree about a score."""
    write_tree(folder)
    (folder / "alpha" / "results" / "scores_Bad_1m.json").write_text("{")
    write_json(folder / "again" / "scores_Fam_1m.json", score_file(score_dict={"bleu": 7.0}))
    return folder


def test_it_holds_what_a_folder_holds(bucket: str, tmp_path: Path) -> None:
    tree = differing(tmp_path / "tree")
    local, remote = bm.Store(tmp_path / "store"), bm.Store(f"{bucket}/a/store/")
    outcomes = [store.ingest(tree) for store in (local, remote)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[1].failed == 1
    reads = [
        lambda store: rows(store),
        lambda store: plain(store.observations(task="beta", metric="bleu")),
        lambda store: plain(store.problems()),
        lambda store: plain(store.conflicts()),
        lambda store: plain(store.info().drop(columns="last_ingest")),
        lambda store: plain(store.files().drop(columns="ingested")),
    ]
    for cold in (True, False, False):
        if cold:
            forget_mirror(tmp_path)
        for read in reads:
            assert read(bm.Store(f"{bucket}/a/store")) == read(local)
    assert len(local.conflicts()) == 1
    assert {name.split("/")[0] for name in listed(f"{bucket}/a/store")} == {
        "files", "observations", "problems", "manifest-000000001.json", "manifest-000000002.json",
    }  # fmt: skip


def test_samples(bucket: str, tmp_path: Path) -> None:
    samples = pd.DataFrame(
        {
            "benchmark": "mine", "task": [f"t{k}" for k in range(6)], "subtask": "s",
            "model_family": "Fam", "model_name": "1m", "model_size": 1e6, "shots": 0,
            "example_id": [str(k) for k in range(6)], "output": "a", "targets": [["a"]] * 6,
        }
    )  # fmt: skip
    for half, some in enumerate((samples[:3], samples[3:])):
        some.to_parquet(tmp_path / f"samples_{half}.parquet", index=False)
    for store in (remote := bm.Store(f"{bucket}/s")), (local := bm.Store(tmp_path / "store")):
        for half in range(2):
            path = tmp_path / f"samples_{half}.parquet"
            assert store.ingest(path, options=ReadOptions(samples=True)).samples == 3
    forget_mirror(tmp_path)
    assert plain(remote.samples(task=["t1", "t4"])) == plain(local.samples(task=["t1", "t4"]))
    forget_mirror(tmp_path)
    batches = remote.sample_batches(["task", "output"])
    assert next(batches).num_rows == 3
    # The second part is fetched when it is needed.
    assert len(list((tmp_path / "cache").rglob("samples/*.parquet"))) == 1
    assert next(batches)["task"].to_pylist() == ["t3", "t4", "t5"]


def test_only_the_parts_that_may_have_a_task_are_fetched(bucket: str, tmp_path: Path) -> None:
    store = bm.Store(f"{bucket}/s")
    for task in ("alpha", "beta", "gamma"):
        write_tree(tmp_path / task, tree_files([task]))
        store.ingest(tmp_path / task)
    forget_mirror(tmp_path)
    assert len(store.observations(task="beta")) == 8
    assert len(list((tmp_path / "cache").rglob("observations/*.parquet"))) == 1
    assert len(store.observations()) == 24
    assert len(list((tmp_path / "cache").rglob("observations/*.parquet"))) == 3


def test_unchanged_files_are_skipped_and_changed_ones_replace_their_rows(
    bucket: str, tree: Path
) -> None:
    store = bm.Store(f"{bucket}/s")
    store.ingest(tree)
    again = store.ingest(tree)
    assert (again.unchanged, again.loaded) == (8, 0)
    write_json(min(tree.rglob("*.json")), score_file(score_dict={"bleu": 77.0}))
    assert store.ingest(tree).loaded == 1
    found = store.observations()
    assert len(found) == 15
    assert 77.0 in set(found["score"])


def test_remove_and_compact(bucket: str, tree: Path, tmp_path: Path) -> None:
    local, remote = bm.Store(tmp_path / "store"), bm.Store(f"{bucket}/s")
    for store in (local, remote):
        for folder in sorted(tree.iterdir()):
            store.ingest(folder)
        assert store.remove("*_8m.json") == 2
    assert rows(remote) == rows(local)
    assert len(rows(remote)) == 12
    assert [store.compact() for store in (remote, local)] == [1, 1]
    forget_mirror(tmp_path)
    assert rows(remote) == rows(local)
    with pytest.raises(InputError, match="matches no file"):
        remote.remove("nothing")


def test_scores_are_kept_and_replaced(bucket: str, tree: Path, tmp_path: Path) -> None:
    local, remote = bm.Store(tmp_path / "store"), bm.Store(f"{bucket}/s")
    for store in (local, remote):
        store.ingest(tree)
        scores = store.observations(metric="bleu").assign(metric="mine/2")
        store.keep(scores)
        store.keep(scores[:3].assign(score=0.5))
        assert sum(map(len, store.reported())) == 16
    kept = [store.observations(metric="mine/2")[["task", "model_name", "score"]]
            for store in (local, remote)]  # fmt: skip
    assert plain(kept[0]) == plain(kept[1])
    assert sorted(kept[1]["score"])[:3] == [0.5] * 3
    assert "rescored/mine%2F2.parquet" in listed(f"{bucket}/s")


def test_processes_write_to_it(
    bucket: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ingest, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(_batch, "_BATCH_FILES", 2)
    store = bm.Store(f"{bucket}/s")
    assert store.ingest(tree, execution=bm.Execution(jobs=2)).loaded == 8
    local = bm.Store(tmp_path / "store")
    local.ingest(tree)
    assert rows(store) == rows(local)


def test_a_folder_that_is_no_store_is_refused(bucket: str, tree: Path) -> None:
    upload(tree, f"{bucket}/tree")
    assert not bm.Store.is_store(f"{bucket}/tree")
    with pytest.raises(StoreError, match="not empty and holds no store"):
        bm.Store(f"{bucket}/tree")
    with pytest.raises(StoreError, match="no store here"):
        bm.Store(f"{bucket}/nothing").observations()
    with pytest.raises(StoreError, match="a web server holds no store"):
        bm.Store("https://example.org/store")
    with pytest.raises(StoreError, match="not by a Path"):
        bm.Store(Path(f"{bucket}/s"))
    # A whole bucket may be a store, and a folder that was made by hand may become one.
    system().touch(f"{bucket.removeprefix('s3://')}/made/")
    assert bm.Store(f"{bucket}/made").ingest(tree).loaded == 8


def test_a_whole_bucket(bucket: str, tree: Path) -> None:
    assert bm.Store(bucket).ingest(tree).loaded == 8
    assert bm.Store.is_store(bucket)
    assert len(bm.Store(f"{bucket}/").observations()) == 16


def test_a_folder_that_was_copied_there_is_a_store(bucket: str, tree: Path, tmp_path: Path) -> None:
    local = bm.Store(tmp_path / "store")
    local.ingest(tree)
    upload(tmp_path / "store", f"{bucket}/s")
    assert bm.Store.is_store(f"{bucket}/s")
    assert rows(bm.Store(f"{bucket}/s")) == rows(local)
    write_tree(tree, tree_files(["gamma"]))
    bm.Store(f"{bucket}/s").ingest(tree)
    assert len(rows(bm.Store(f"{bucket}/s"))) == 24


def test_a_card_fetches_nothing(bucket: str, tree: Path, tmp_path: Path) -> None:
    store = bm.Store(f"{bucket}/s")
    assert ".ingest(results)" in repr(store)
    store.ingest(tree)
    assert "observations  16" in repr(store)
    forget_mirror(tmp_path)
    assert "in the bucket  1 part" in repr(store)
    assert not list((tmp_path / "cache").rglob("*.parquet"))


# Several writers ------------------------------------------------------------------------------


def interleaved(monkeypatch: pytest.MonkeyPatch, other: Any) -> list[None]:
    """Let something happen once, just before a manifest is written: too late to be seen."""
    function, done = Bucket._create, []

    def create(self: Bucket, name: str, content: bytes) -> bool:
        if not done:
            done.append(None)
            other()
        return function(self, name, content)

    monkeypatch.setattr(Bucket, "_create", create)
    return done


def filled(url: str, tree: Path) -> bm.Store:
    store = bm.Store(url)
    store.ingest(tree)
    return store


def once(store: bm.Store) -> list[tuple[str, str, float]]:
    """Return task, model and score of every row, after a look that none is there twice."""
    assert store.conflicts().empty
    frame = store.observations()
    found = list(zip(*(frame[name] for name in ("task", "model_name", "score")), strict=True))
    assert len(found) == len(frame[["task", "model_name", "metric"]].drop_duplicates())
    return sorted(found)


def test_of_a_file_that_two_read_the_later_commit_counts(
    bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = min(tree.rglob("*.json"))
    first = filled(f"{bucket}/s", tree)
    write_json(file, score_file(score_dict={"bleu": 1.0}))
    content = file.read_bytes()

    def other() -> None:
        file.write_bytes(content.replace(b"1.0", b"2.0"))
        bm.Store(f"{bucket}/s").ingest(file)
        file.write_bytes(content)

    assert interleaved(monkeypatch, other) == []
    first.ingest(file)
    bleu = first.observations(task="alpha", metric="bleu")
    assert [row["score"] for row in plain(bleu) if row["model_name"] == "1m"] == [1.0]
    assert len(once(first)) == 15


def test_files_that_another_process_added_are_not_added_again(
    bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(f"{bucket}/s", min(tree.rglob("*.json")))
    done = interleaved(monkeypatch, lambda: bm.Store(f"{bucket}/s").ingest(tree))
    store.ingest(tree)
    assert done
    assert len(once(store)) == 16
    assert len(store.files()) == 8


def test_what_is_touched_here_and_changed_there_is_read_again(
    bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content that this process found unchanged is no longer the stored one."""
    file = min(tree.rglob("*.json"))
    store, content = filled(f"{bucket}/s", tree), file.read_bytes()

    def other() -> None:
        write_json(file, score_file(score_dict={"bleu": 2.0}))
        bm.Store(f"{bucket}/s").ingest(file)
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))

    os.utime(file, ns=(1, 1))
    done = interleaved(monkeypatch, other)
    store.ingest(file)
    assert done
    assert len(once(store)) == 15
    assert store.ingest(file).loaded == 1
    assert len(once(store)) == 16


@pytest.mark.parametrize("action", ["ingest", "remove", "compact"])
@pytest.mark.parametrize("meanwhile", ["ingest", "remove", "compact"])
def test_whatever_two_do_at_once_both_is_done(
    bucket: str, tree: Path, action: str, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bm.Store(f"{bucket}/s")
    for folder in sorted(tree.iterdir()):
        store.ingest(folder)

    def act(opened: bm.Store, what: str, name: str) -> None:
        if what == "ingest":
            write_tree(tree, tree_files([name]))
            opened.ingest(tree / name)
        elif what == "remove":
            opened.remove("*alpha*_8m.json" if name == "one" else "*beta*_1m.json")
        else:
            opened.compact()

    done = interleaved(monkeypatch, lambda: act(bm.Store(f"{bucket}/s"), meanwhile, "two"))
    act(store, action, "one")
    assert done
    tasks = [task for task, _, _ in once(store)]
    doings = [("one", action), ("two", meanwhile)]
    assert {name for name, what in doings if what == "ingest"} == set(tasks) - {"alpha", "beta"}
    assert tasks.count("alpha") == 6 if action == "remove" else 8
    assert tasks.count("beta") == (6 if meanwhile == "remove" else 8)


def test_an_answer_that_got_lost_is_no_other_process(
    bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest was created, but the request was sent again, and then it was there."""
    function = Bucket._create

    def twice(self: Bucket, name: str, content: bytes) -> bool:
        function(self, name, content)
        return function(self, name, content)

    monkeypatch.setattr(Bucket, "_create", twice)
    store = filled(f"{bucket}/s", tree)
    assert len(once(store)) == 16
    assert store.state()[0] == f"{bucket}/s/manifest-000000002.json"


def test_a_server_that_ignores_the_condition_is_refused(
    bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwritten(self: Bucket, name: str, content: bytes) -> bool:
        self.write(name, content)
        return True

    monkeypatch.setattr(Bucket, "_create", overwritten)
    for _ in range(2):
        with pytest.raises(InputError, match="only to create"):
            bm.Store(f"{bucket}/s").ingest(tree)
    assert listed(bucket) == []


def started(store: str, tree: Path) -> subprocess.Popen[str]:
    """Start an ingest and return when it waits for a line."""
    command = [sys.executable, "-c", INGEST, store, str(tree)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process: subprocess.Popen[str]) -> int:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
    return process.wait()


@pytest.mark.parametrize("is_same", [True, False], ids=["same files", "other files"])
def test_two_processes_at_once(bucket: str, tmp_path: Path, is_same: bool) -> None:
    folders = [tmp_path / "tree", tmp_path / ("tree" if is_same else "more")]
    for number, folder in enumerate(folders):
        prefix = "task" if is_same else f"task{number}_"
        write_tree(folder, tree_files([f"{prefix}{k}" for k in range(4)]))
    processes = [started(f"{bucket}/s", folder) for folder in folders]
    for process in processes:
        begin(process)
    assert [ended(process) for process in processes] == [0, 0]
    store = bm.Store(f"{bucket}/s")
    local = bm.Store(tmp_path / "store")
    local.ingest(set(folders))
    assert once(store) == once(local)
    assert len(store.files()) == len(local.files())
    again = store.ingest(set(folders))
    assert (again.loaded, again.unchanged) == (0, len(local.files()))
    # Each committed its four batches by itself.
    assert int(re.sub(r"\D", "", store.state()[0].rpartition("/")[2])) >= 8


def test_killed_and_resumed(bucket: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write_tree(tree, tree_files([f"task{number}" for number in range(5)]))
    process = started(f"{bucket}/whole", tree)
    since = time.monotonic()
    begin(process)
    assert ended(process) == 0
    duration = time.monotonic() - since
    whole = once(bm.Store(f"{bucket}/whole"))
    assert len(whole) == 40
    rng = random.Random(0)
    interrupted = 0
    for number in range(KILLS):
        url = f"{bucket}/killed {number}"
        process = started(url, tree)
        begin(process)
        # The first one at once: whatever the load of the machine, one is interrupted.
        time.sleep(rng.uniform(0, duration) if number else 0)
        process.send_signal(signal.SIGKILL)
        interrupted += ended(process) != 0
        store = bm.Store(url)
        if Manifest.read(place_of(url)).parts:
            # readable at any moment, and nothing in it is wrong
            assert set(once(store)) <= set(whole)
        store.ingest(tree)
        assert once(store) == whole
        again = store.ingest(tree)
        assert (again.unchanged, again.loaded, again.failed) == (20, 0, 0)
    assert interrupted


# What is no longer named ----------------------------------------------------------------------


def test_what_is_not_named_is_deleted_after_a_day(
    bucket: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bm.Store(f"{bucket}/s")
    for folder in sorted(tree.iterdir()):
        store.ingest(folder)
    path = f"{bucket.removeprefix('s3://')}/s"
    foreign = ["observations/mine.parquet", "notes/manifest-000000001.json", "manifest.txt"]
    for name in foreign:
        system().pipe_file(f"{path}/{name}", b"mine")
    before = set(listed(f"{bucket}/s"))
    store.compact()
    # It is not a day old: another process may be about to name it, or be reading it.
    assert before < set(listed(f"{bucket}/s"))
    monkeypatch.setattr(places, "_KEPT", timedelta(days=-1))
    store.ingest(tree)
    after = set(listed(f"{bucket}/s"))
    assert set(foreign) < after
    assert len(after - set(foreign)) == 3  # one list of files, one of rows, the manifest
    assert len(once(bm.Store(f"{bucket}/s"))) == 16
    mirrored = list((tmp_path / "cache").rglob("*.parquet"))
    assert {path.parent.name for path in mirrored} == {"files", "observations"}
    assert len(mirrored) == 2
    forget_mirror(tmp_path)
    assert len(once(bm.Store(f"{bucket}/s"))) == 16


def test_a_reader_goes_on_when_what_it_reads_is_replaced_and_deleted(
    bucket: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bm.Store(f"{bucket}/s")
    for folder in sorted(tree.iterdir()):
        store.ingest(folder)
    monkeypatch.setattr(places, "_KEPT", timedelta(days=-1))
    function, done = Bucket.fetch, []

    def fetch(self: Bucket, *args: Any, **options: Any) -> None:
        if not done:
            done.append(None)
            bm.Store(f"{bucket}/s").compact()
            forget_mirror(tmp_path)
        function(self, *args, **options)

    monkeypatch.setattr(Bucket, "fetch", fetch)
    assert len(once(store)) == 16
    assert done


def test_parts_that_were_deleted_before_they_were_named_are_not_named(
    bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stands still for days, as on a laptop that sleeps, damages nothing."""
    store = filled(f"{bucket}/s", min(tree.rglob("*.json")))
    function = Bucket.commit

    def late(self: Bucket, content: bytes, after: str, files: Any) -> str:
        for kind, name in files[-2:]:
            system().rm_file(f"{self.path.removeprefix('s3://')}/{kind}/{name}.parquet")
        return function(self, content, after, files)

    monkeypatch.setattr(Bucket, "commit", late)
    with pytest.raises(StoreError, match="missing"):
        store.ingest(tree)
    monkeypatch.undo()


# Damage and failures --------------------------------------------------------------------------


def part_of(url: str, kind: str = "observations") -> str:
    return next(f"{url.removeprefix('s3://')}/{name}" for name in listed(url) if kind in name)


@pytest.mark.parametrize("kind", ["observations", "files"])
@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_object_is_reported(
    bucket: str, tree: Path, tmp_path: Path, kind: str, damage: str
) -> None:
    expected = rows(filled(f"{bucket}/s", tree))
    bm.Store(f"{bucket}/s").remove("*alpha*_8m.json")  # so that lists of files are read as well
    expected = rows(bm.Store(f"{bucket}/s"))
    place = place_of(f"{bucket}/s")
    name = getattr(Manifest.read(place).parts[0], kind)
    path = f"{bucket.removeprefix('s3://')}/s/{kind}/{name}.parquet"
    content = system().cat_file(path)
    if damage == "missing":
        system().rm_file(path)
    else:
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 1]) + content[middle + 1 :]
        system().pipe_file(path, content[:middle] + (changed if damage == "changed" else b""))
    # What was mirrored is sound.
    assert rows(bm.Store(f"{bucket}/s")) == expected
    forget_mirror(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"damaged: (its content has changed|.* is missing)"):
            bm.Store(f"{bucket}/s").observations()
    system().pipe_file(path, content)
    assert rows(bm.Store(f"{bucket}/s")) == expected


def test_a_damaged_mirror_is_fetched_anew(bucket: str, tree: Path, tmp_path: Path) -> None:
    expected = rows(filled(f"{bucket}/s", tree))
    for path in (tmp_path / "cache").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-1])
    assert rows(bm.Store(f"{bucket}/s")) == expected


def test_a_damaged_manifest_is_reported(bucket: str, tree: Path) -> None:
    store = filled(f"{bucket}/s", tree)
    path = store.state()[0]
    content = system().cat_file(path)
    for damaged in (b"{", content.replace(b'"n_gone": 0', b'"n_gone": 1'), b""):
        system().pipe_file(path, damaged)
        assert bm.Store.is_store(f"{bucket}/s")
        with pytest.raises(StoreError, match="damaged") as raised:
            bm.Store(f"{bucket}/s")
        assert raised.value.where == path


def sentence(raised: Any) -> str:
    """Return an error's text, which is one line and one more for the hint."""
    text = str(raised.value)
    assert len(text.splitlines()) == 2
    assert raised.value.hint
    assert text.startswith("s3://")
    return text


def everywhere(url: str, tree: Path) -> Iterator[str]:
    """Yield what is said of a URL as a store and as results."""
    with pytest.raises(StoreError) as of_store:
        bm.Store(url).ingest(tree)
    yield sentence(of_store)
    with pytest.raises(InputError) as of_input:
        bm.read_results(url)
    yield sentence(of_input)
    result = run("score", url, code=2)
    assert "Traceback" not in result.output
    yield result.stderr


def test_wrong_credentials(bucket: str, tree: Path, server: Server) -> None:
    server.request("POST", "/moto-api/reset-auth", b"0")
    try:
        for text in everywhere(f"{bucket}/s", tree):
            assert "access is denied" in text
            assert "AWS_ACCESS_KEY_ID" in text
    finally:
        server.request("POST", "/moto-api/reset-auth", b"inf")
    assert bm.Store(f"{bucket}/s").ingest(tree).loaded == 8


@pytest.mark.usefixtures("bucket", "reconnecting")
def test_no_credentials(bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for text in everywhere(f"{bucket}/s", tree):
        assert "access is denied" in text
        assert "AWS_ACCESS_KEY_ID" in text


def test_no_bucket(bucket: str, tree: Path) -> None:
    for text in everywhere(f"{bucket}-of-another-name/s", tree):
        assert "no such bucket\nHint: create it first" in text


@pytest.mark.usefixtures("bucket", "reconnecting")
def test_no_server(bucket: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for text in everywhere(f"{bucket}/s", tree):
        assert "cannot be reached" in text
        assert "AWS_ENDPOINT_URL" in text


def test_no_package(bucket: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None; from bigbench_meta.cli.main import main; "
        f"main(['store', 'info', {bucket!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {bucket}: ")
    assert done.stderr.endswith("Hint: python -m pip install 'bigbench-meta[remote]'\n")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.full), 2])
def test_a_server_that_stops_half_way(
    bucket: str, tree: Path, server: Server, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ingest, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(_batch, "_BATCH_FILES", 2)
    monkeypatch.setattr(_store, "_every_second", lambda items: ([item] for item in items))
    expected = once(filled(f"{bucket}/whole", tree))
    for puts in (0, 3, 4, 9) if jobs == 1 else (3,):
        store = bm.Store(f"{bucket}/{puts}")
        server.request("GET", f"/put-only/{puts}")
        try:
            with pytest.raises(StoreError, match="cannot be reached") as raised:
                store.ingest(tree, execution=bm.Execution(jobs=jobs))
        finally:
            server.request("GET", "/put-only/-1")
        sentence(raised)
        if Manifest.read(place_of(store.path)).parts:
            assert set(once(store)) <= set(expected)
        store.ingest(tree)
        assert once(store) == expected


def test_what_a_user_configures_for_fsspec_goes_first(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.config import conf

    from bigbench_meta.readers.remote import url_system

    monkeypatch.setitem(conf, "s3", {"config_kwargs": {"read_timeout": 77}, "requester_pays": True})
    found, path = url_system(f"{bucket}/s")
    assert (found.config_kwargs["read_timeout"], found.req_kw) == (
        77,
        {"RequestPayer": "requester"},
    )
    assert found.config_kwargs["retries"]["total_max_attempts"] == 3
    assert path == f"{bucket.removeprefix('s3://')}/s"


# Results in a bucket --------------------------------------------------------------------------


def test_results_in_a_folder_and_a_file(bucket: str, tree: Path, tmp_path: Path) -> None:
    write_json(tree / "alpha" / "notes.json", {"nothing": 1})
    upload(tree, f"{bucket}/tree")
    expected = plain(bm.read_results(tree)[0].drop(columns="source"))
    found, problems = bm.read_results(f"{bucket}/tree")
    assert plain(found.drop(columns="source")) == expected
    assert [row["reason"] for row in plain(problems)] == [
        "ignored: does not look like a results file"
    ]
    file = "alpha/results/scores_Fam_1m.json"
    one = bm.read_results(f"{bucket}/tree/{file}")[0]
    assert plain(one.drop(columns="source")) == plain(
        bm.read_results(tree / file)[0].drop(columns="source")
    )
    # A store there is not read as results.
    filled(f"{bucket}/tree/store", tree / "beta")
    again, problems = bm.read_results(f"{bucket}/tree")
    assert plain(again) == plain(found)
    assert len(problems) == 1
    filled(f"{bucket}/only", tree / "beta")
    with pytest.raises(InputError, match="no result files found"):
        bm.read_results([f"{bucket}/only"])
    assert tmp_path.exists()


@pytest.mark.parametrize("name", ["results.zip", "results.tar.gz"])
def test_results_in_an_archive(bucket: str, tree: Path, tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(content, "w") as archive:
            for path in sorted(tree.rglob("*.json")):
                archive.write(path, path.relative_to(tmp_path).as_posix())
    else:
        with tarfile.open(fileobj=content, mode="w:gz") as packed:
            packed.add(tree, "tree")
    url = f"{bucket}/{name}"
    system().pipe_file(url, content.getvalue())
    expected = plain(bm.read_results(tree)[0].drop(columns="source"))
    key = lambda row: repr(row)  # noqa: E731
    found = plain(bm.read_results(url)[0].drop(columns="source"))
    assert sorted(found, key=key) == sorted(expected, key=key)
    store = bm.Store(tmp_path / "store")
    assert store.ingest(url).loaded == 8
    again = store.ingest(url)
    assert (again.unchanged, again.loaded) == (8, 0)


def test_unchanged_results_in_a_bucket_are_not_read_again(
    bucket: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tree, f"{bucket}/tree")
    for store in (bm.Store(tmp_path / "store"), bm.Store(f"{bucket}/s")):
        assert store.ingest(f"{bucket}/tree").loaded == 8
        with monkeypatch.context() as patch:
            patch.setattr(_batch, "read_bytes", None)
            again = store.ingest(f"{bucket}/tree")
        assert (again.unchanged, again.loaded) == (8, 0)
    # Of the same size, within the same second.
    path = f"{bucket.removeprefix('s3://')}/tree/alpha/results/scores_Fam_1m.json"
    content = system().cat_file(path)
    system().pipe_file(path, content.replace(b'"bleu": 1.0', b'"bleu": 9.0'))
    assert bm.Store(f"{bucket}/s").ingest(f"{bucket}/tree").loaded == 1
    assert 9.0 in set(bm.Store(f"{bucket}/s").observations()["score"])


# Commands -------------------------------------------------------------------------------------


def test_commands(bucket: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write_tree(tree, tree_files([f"task{k}" for k in range(4)], SIZES))
    upload(tree, f"{bucket}/results")
    store, url = tmp_path / "store", f"{bucket}/folder/store"
    for place in (store, url):
        counts = run_json("ingest", tree, "--store", place)
        assert (counts["loaded"], counts["observations"]) == (16, 32)
    info = run_json("store", "info", url)["sources"]
    assert [row["observations"] for row in info] == [32]
    curves = run_json("score", store)["curves"]
    assert run_json("score", url)["curves"] == curves
    assert run_json("score", f"{bucket}/results")["curves"] == curves
    out = tmp_path / "study"
    run("analyze", url, "--no-inference", "--out", out)
    record = json.loads((out / "run.json").read_text())
    manifest, digest = bm.Store(url).state()
    assert record["inputs"] == [{"path": manifest, "xxh3_128": digest}]
    assert manifest == f"{url}/manifest-000000002.json"
    assert run_json("store", "remove", url, "*task1*")["removed"] == 4
    assert run_json("store", "compact", url) == {"parts": 1}
    assert len(run_json("score", url)["curves"]) == len(curves) - 2
    both = run("score", url, f"{bucket}/results", code=2)
    assert "a store cannot be combined with other results" in both.stderr
