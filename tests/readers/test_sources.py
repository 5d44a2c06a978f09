"""Where results may lie: archives, patterns, URLs, lists; and what a store does with them."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import json
import os
import tarfile
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from helpers import plain, score_file, tree_files, write_json, write_tree

import bigbench_meta as bm
from bigbench_meta.cli.main import main
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import execute
from bigbench_meta.readers import batch as _batch
from bigbench_meta.store import ingest as _ingest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree")
    return tmp_path / "tree"


def by_score(frame: Any) -> list[tuple[Any, ...]]:
    rows = plain(frame)
    return sorted((r["task"], r["metric"], r["model_name"], r["score"]) for r in rows)


def zipped(tree: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(tree.rglob("*.json")):
            archive.write(file, file.relative_to(tree.parent).as_posix())
    return path


def tarred(tree: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        archive.add(tree, tree.name)
    return path


@pytest.mark.parametrize("name", ["results.zip", "results.tar.gz", "results.tgz", "results.tar"])
def test_an_archive_gives_what_its_folder_gives(tree: Path, tmp_path: Path, name: str) -> None:
    path = (zipped if name.endswith("zip") else tarred)(tree, tmp_path / name)
    observations, problems = bm.read_results(path)
    assert by_score(observations) == by_score(bm.read_results(tree)[0])
    assert plain(problems) == []
    assert all(label.endswith(".json") for label in observations["source"].astype(str))


@pytest.mark.parametrize("name", ["results.zip", "results.tar.gz"])
def test_an_unchanged_archive_costs_a_look(tree: Path, tmp_path: Path, name: str) -> None:
    path = (zipped if name.endswith("zip") else tarred)(tree, tmp_path / name)
    store = bm.Store(tmp_path / "store")
    assert store.ingest(path).loaded == 8
    again = store.ingest(path)
    assert (again.files, again.unchanged, again.loaded) == (8, 8, 0)
    # One member changed: its rows are replaced, the others are known by their content.
    first = min(tree.rglob("*.json"))
    write_json(first, tree_files()[0] | {"model": score_file(model_name="new")["model"]})
    path.unlink()
    (zipped if name.endswith("zip") else tarred)(tree, path)
    changed = store.ingest(path)
    assert (changed.loaded, changed.unchanged) == (1, 7)
    assert by_score(store.observations()) == by_score(bm.read_results(tree)[0])


@pytest.mark.parametrize(
    "name", ["../scores_evil.json", "/scores_evil.json", "a/../../scores_x.json"]
)
def test_a_member_that_points_outside_is_refused(tree: Path, tmp_path: Path, name: str) -> None:
    path = zipped(tree, tmp_path / "results.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, (tree_files()[0].__repr__()))
    observations, problems = bm.read_results(path)
    assert by_score(observations) == by_score(bm.read_results(tree)[0])
    assert [row["reason"] for row in plain(problems)] == [
        "refused: the name points outside the archive"
    ]
    assert not list(tmp_path.rglob("scores_evil.json"))


def test_a_decompression_bomb_is_refused(tree: Path, tmp_path: Path) -> None:
    path = zipped(tree, tmp_path / "results.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tree/scores_bomb.json", b" " * 50_000_000)
    observations, problems = bm.read_results(path, max_bytes=1_000_000)
    assert by_score(observations) == by_score(bm.read_results(tree)[0])
    (problem,) = plain(problems)
    assert problem["reason"] == "the archive expands to more than 1000000 bytes (--max-bytes)"


@pytest.mark.parametrize("members", [[], ["notes.txt", "code/main.py"]])
@pytest.mark.parametrize("name", ["other.zip", "other.tar.gz"])
def test_an_archive_without_results_is_reported(
    tree: Path, tmp_path: Path, name: str, members: list[str]
) -> None:
    other = tmp_path / "other"
    for member in members:
        (other / member).parent.mkdir(parents=True, exist_ok=True)
        (other / member).write_text("nothing here")
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.write(other / member, member)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for member in members:
                archive.add(other / member, member)
    observations, problems = bm.read_results([path, tree])
    assert by_score(observations) == by_score(bm.read_results(tree)[0])
    assert plain(problems) == [
        {"source": str(path), "field": "", "reason": "no result files in this archive",
         "severity": "error"}
    ]  # fmt: skip


def told(problems: Any) -> set[tuple[str, str, str]]:
    """Problems by the name of the file alone."""
    return {
        (row["source"].rpartition("/")[2], row["reason"], row["severity"])
        for row in plain(problems)
    }


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "folder"])
def test_files_that_look_like_no_results_are_told_in_a_folder_and_in_an_archive(
    tree: Path, tmp_path: Path, ending: str
) -> None:
    result = json.dumps({"results": {"piqa": {"acc": 0.5}}}).encode()
    contents = {
        "cut.json": result[:20], "u16.json": result.decode().encode("utf-16"), "empty.json": b"",
        "keys.json": b'{"a": 1, "b": 2}', "list.json": b"[1]", "task/task.json": b"{}",
        "task/other.json": b"{}", "task/data/x.jsonl": b"", "x.jsonl": b"{}", "x.json.xz": b"\xfd",
    }  # fmt: skip
    for name, content in contents.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(content)
    path = tree
    if ending == "zip":
        path = tmp_path / "tree.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in tree.rglob("*.json*"):
                archive.write(file, file.relative_to(tree.parent))
    elif ending != "folder":
        path = tarred(tree, tmp_path / "tree.tar.gz")
    observations, problems = bm.read_results(path)
    assert len(observations) == 16
    reason = "ignored: does not look like a results file ({})"
    found = told(problems)
    ((unread, how),) = ((row[1], row[2]) for row in found if "not read" in row[1])
    assert how == "warning"
    assert "/x.json.xz, " in unread
    assert "/x.jsonl (name an archive to read it" in unread
    assert "/data/" not in unread
    assert {row for row in found if "not read" not in row[1]} == {
        ("cut.json", reason.format("no sound JSON"), "warning"),
        ("u16.json", reason.format("not UTF-8 but UTF-16"), "warning"),
        ("keys.json", reason.format("top keys a, b"), "warning"),
        ("list.json", reason.format("no object at its top"), "warning"),
        ("empty.json", "the file is empty", "error"),
    }


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_links_in_archives_are_told(tree: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"tree.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(zipped(tree, path), "a") as archive:
            member = zipfile.ZipInfo("tree/x.json")
            member.external_attr = 0o120777 << 16
            archive.writestr(member, "real/x.json")
    else:
        (tree / "x.json").symlink_to("real/x.json")
        tarred(tree, path)
    observations, problems = bm.read_results(path)
    assert len(observations) == 16
    assert told(problems) == {("x.json", "a symbolic link: not read", "warning")}


def test_an_archive_with_many_other_files_is_told_in_bounds(tree: Path, tmp_path: Path) -> None:
    path = zipped(tree, tmp_path / "tree.zip")
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(1500):
            archive.writestr(f"x/{number}.json", "{}")
    _, problems = bm.read_results(path)
    assert len(problems) == 1001
    assert "500 files more that may hold results" in problems["reason"].iloc[-1]


def test_archives_below_a_folder_are_told(tree: Path) -> None:
    zipped(tree, tree / "more.zip")
    for number in range(6):
        (tree / f"x{number}.csv.zst").write_bytes(b"")
    _, problems = bm.read_results(tree)
    (row,) = plain(problems)
    assert row["source"] == "tree"
    assert row["reason"].startswith("not read: tree/more.zip, tree/x0.csv.zst, ")
    assert " and 2 more (name an archive" in row["reason"]
    for file in tree.rglob("*.json"):
        file.unlink()
    with pytest.raises(InputError, match="7 files looked at, none recognised"):
        bm.read_results(tree)


def test_a_report_of_somebody_else_hides_nothing(tree: Path) -> None:
    for folder in ("tables", "figures"):
        (tree / folder).mkdir()
    (tree / "report.html").write_text("mine")
    bm.read_results(tree)[0].assign(task="own").to_csv(tree / "tables" / "own.csv", index=False)
    assert len(bm.read_results(tree)[0]) == 32


@pytest.mark.parametrize("content", ["{}", '{"name": "my app", "files": []}', "[]", "half {"])
def test_a_manifest_of_somebody_else_is_an_ordinary_file(tree: Path, content: str) -> None:
    for folder in ("observations", "files"):
        (tree / folder).mkdir()
    (tree / "manifest.json").write_text(content)
    assert not bm.Store.is_store(tree)
    observations, problems = bm.read_results(tree)
    assert len(observations) == 16
    assert {row[0] for row in told(problems)} == {"manifest.json"}


def test_a_store_below_a_folder_is_not_read_again(tree: Path) -> None:
    bm.Store(tree / "store").ingest(tree)
    assert len(bm.read_results(tree)[0]) == 16
    (tree / "store" / "manifest.json").write_text("damaged")
    assert bm.Store.is_store(tree / "store")
    assert len(bm.read_results(tree)[0]) == 16


def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(InputError, match=r"results\.json: neither file nor folder"):
        bm.read_results(tmp_path / "results.json")


def test_archive_that_ends_early(tree: Path, tmp_path: Path) -> None:
    path = tarred(tree, tmp_path / "results.tar.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    observations, problems = bm.read_results([path, tree])
    assert set(by_score(bm.read_results(tree)[0])) <= set(by_score(observations))
    assert any("cannot be read to its end" in row["reason"] for row in plain(problems))


def test_a_pattern_and_one_that_fits_nothing(tree: Path) -> None:
    observations, _ = bm.read_results(str(tree / "*" / "results"))
    assert by_score(observations) == by_score(bm.read_results(tree)[0])
    with pytest.raises(InputError, match="no file matches the pattern"):
        bm.read_results(str(tree / "*.nothing"))


def test_what_lies_below_another_is_read_once(tree: Path) -> None:
    below = min(tree.rglob("*.json"))
    observations, problems = bm.read_results([tree, below, tree / "alpha"])
    assert by_score(observations) == by_score(bm.read_results(tree)[0])
    assert plain(problems) == []


def test_paths_on_standard_input(tree: Path, tmp_path: Path) -> None:
    listed = "\n".join(map(str, sorted(tree.rglob("*.json"))))
    command = ["ingest", "-", "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(main, command, input=listed)
    assert result.exit_code == 0, result.output
    assert by_score(bm.Store(tmp_path / "store").observations()) == by_score(
        bm.read_results(tree)[0]
    )


def test_every_command_takes_paths_on_standard_input(tree: Path) -> None:
    listed = "\n".join(map(str, sorted(tree.rglob("*.json"))))
    result = CliRunner().invoke(main, ["score", "-", "--json"], input=listed)
    assert result.exit_code == 0, result.output
    curves = json.loads(result.stdout)["curves"]
    assert curves == json.loads(CliRunner().invoke(main, ["score", str(tree), "--json"]).stdout)[
        "curves"
    ]  # fmt: skip


@pytest.mark.parametrize(("listed", "said"), [("\n", "names no results"), ("a\0b\n", "a\\x00b")])
def test_a_list_that_names_nothing(listed: str, said: str) -> None:
    result = CliRunner().invoke(main, ["score", "-"], input=listed)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.fixture
def served(tree: Path) -> Iterator[str]:
    """Serve the tree on loopback, quietly."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tree.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# aiohttp, below fsspec, leaves a loop open at exit; that is not ours to close.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_url(tree: Path, served: str) -> None:
    pytest.importorskip("aiohttp", reason="fsspec[http] is not installed")
    file = min(tree.rglob("*.json"))
    url = f"{served}/{file.relative_to(tree.parent).as_posix()}"
    observations, problems = bm.read_results(url)
    assert by_score(observations) == by_score(bm.read_results(file)[0])
    assert plain(problems) == []
    with pytest.raises(InputError, match="no such file"):
        bm.read_results(f"{served}/nowhere/scores_x.json")
    command = ["score", url, "--json", "--min-scales", "2"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_curves"] == observations["metric"].nunique()


def test_compact_keeps_rows_and_forgets_what_is_gone(tree: Path, tmp_path: Path) -> None:
    store = bm.Store(tmp_path / "store")
    for file in sorted(tree.rglob("*.json")):
        store.ingest(file)
    write_json(min(tree.rglob("*.json")), score_file(score_dict={"bleu": 7.0}))
    store.ingest(tree)
    (tree / "scores_bad.json").write_text("{")
    store.ingest(tree)
    before = by_score(store.observations()), plain(store.problems()), len(store.files())
    parts = len(list((store.path / "observations").iterdir()))
    assert store.compact() == 1
    assert (by_score(store.observations()), plain(store.problems()), len(store.files())) == before
    assert len(list((store.path / "observations").iterdir())) == 1 < parts
    assert store.ingest(tree).loaded == 0  # still known


def test_removed_files_are_no_longer_current(tree: Path, tmp_path: Path) -> None:
    store = bm.Store(tmp_path / "store")
    store.ingest(tree)
    assert store.remove("tree/alpha/*") == 4
    assert {row["task"] for row in plain(store.observations())} == {"beta"}
    with pytest.raises(InputError, match="matches no file"):
        store.remove("tree/alpha/*")
    store.compact()
    assert {row["task"] for row in plain(store.observations())} == {"beta"}
    assert store.ingest(tree).loaded == 4


def test_info_counts_each_source(tree: Path, tmp_path: Path) -> None:
    store = bm.Store(tmp_path / "store")
    (tree / "alpha" / "results" / "scores_bad.json").write_text("{")
    store.ingest([tree, tarred(tree, tmp_path / "more.tar.gz")])
    info = {row["source"]: row for row in plain(store.info())}
    assert info["tree"]["files"] == 9
    assert info["tree"]["failed"] == 1
    assert info["tree"]["observations"] == 16


@pytest.mark.parametrize("worth", [1, 1 << 30])
def test_two_jobs_give_what_one_gives(
    tree: Path, tmp_path: Path, monkeypatch: Any, worth: int
) -> None:
    pools: list[int] = []

    def recorded(function: Any, tasks: Any, execution: bm.Execution, **options: Any) -> Any:
        pools.append(execution.jobs)
        return execute(function, tasks, execution, **options)

    monkeypatch.setattr(_ingest, "execute", recorded)
    monkeypatch.setattr(_ingest, "_WORTH_PROCESSES", worth)
    monkeypatch.setattr(_batch, "_BATCH_FILES", 2)
    stores = [bm.Store(tmp_path / f"{jobs}") for jobs in (1, 2)]
    for jobs, store in enumerate(stores, start=1):
        assert store.ingest(tree, execution=bm.Execution(jobs=jobs)).loaded == 8
    one, two = (by_score(store.observations()) for store in stores)
    assert one == two
    # Processes are started where there is enough to read.
    assert pools == ([2] if worth == 1 else [])


def test_touched_but_unchanged(tree: Path, tmp_path: Path) -> None:
    store = bm.Store(tmp_path / "store")
    store.ingest(tree)
    rows = by_score(store.observations())
    for file in tree.rglob("*.json"):
        file.touch()
    assert store.ingest(tree).unchanged == 8
    assert by_score(store.observations()) == rows
    assert store.ingest(tree).unchanged == 8


def test_another_writer_is_waited_for_and_then_named(tree: Path, tmp_path: Path) -> None:
    import filelock

    from bigbench_meta.core.errors import StoreError

    store = bm.Store(tmp_path / "store", wait=0.1)
    store.ingest(tree)
    with (
        filelock.FileLock(store.path / ".lock"),
        pytest.raises(StoreError, match="another process"),
    ):
        store.ingest(tree)


def test_gzip_within_an_archive(tmp_path: Path) -> None:
    document = gzip.compress(str.encode(json.dumps(tree_files()[0])))
    path = tmp_path / "results.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("x/scores_a.json.gz")
        info.size = len(document)
        archive.addfile(info, io.BytesIO(document))
    assert len(bm.read_results(path)[0]) == 2


def test_what_the_program_wrote_into_results_is_not_read_as_results(tree: Path) -> None:
    from bigbench_meta.report.folder import Run, write_files

    observations = bm.read_results(tree)[0]
    scores = observations.to_csv(index=False)
    contents = {"tables/a.csv": scores, "figures/a.csv": scores, "figures/a.vl.json": '{"a": 1}'}
    for command in ("analyze", "metric-change"):
        write_files(tree, contents, Run(command=command))
    again, problems = bm.read_results(tree)
    assert by_score(again) == by_score(observations)
    assert problems.empty
    # A record of another program hides nothing.
    (tree / "run.json").write_text('{"program": "mine"}')
    (tree / "run_metric-change.json").unlink()
    assert len(bm.read_results(tree)[1]) > 0


def test_the_files_read_are_told_with_their_digests(tree: Path) -> None:
    from xxhash import xxh3_128_hexdigest

    (tree / "broken").mkdir()
    (tree / "broken" / "scores_a.json.gz").write_bytes(b"no gzip")
    told: dict[str, str | None] = {}
    bm.read_results(tree, on_file=told.__setitem__)
    files = {path.relative_to(tree.parent).as_posix(): path for path in tree.rglob("scores_*")}
    digests = {name: xxh3_128_hexdigest(path.read_bytes()) for name, path in files.items()}
    assert told == digests | {"tree/broken/scores_a.json.gz": None}


@pytest.mark.parametrize("length", [1, 3, 9, 12])
def test_an_archive_that_ends_in_its_header(tree: Path, tmp_path: Path, length: int) -> None:
    whole = tarred(tree, tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:length])
    observations, problems = bm.read_results(tmp_path / "cut.tar.gz")
    assert observations.empty
    assert problems["severity"].tolist() == ["error"]
