"""Downloads from repositories made here and served on the loopback interface; no other network."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest
from git_servers import (
    BULK,
    NO_SYNC,
    TASKS,
    bare_copy,
    commit_all,
    files_below,
    git,
    git_daemon,
    has_daemon,
    http_server,
    make_repository,
)
from helpers import SIZES, score_file, write_bytes, write_tree
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta import read_results
from bigbench_meta.core.errors import InputError
from bigbench_meta.readers import download as module
from bigbench_meta.readers.download import Download, DownloadError, DownloadWarning, download

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
RESULTS = {
    f"{task}/results/scores_Fam_{n}.json" for task in ("alpha", "beta", "gamma") for n in SIZES
}
RESULTS |= {f"packed/results/scores_Fam_{n}.json.gz" for n in SIZES}
LOGS = {f"{task}/results/full-log_Fam_1m.json" for task in ("alpha", "beta", "gamma")}


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    """Keep this machine's settings for git and proxies out of the tests."""
    (tmp_path / "gitconfig").write_text(NO_SYNC)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))


@pytest.fixture(scope="session")
def upstream(tmp_path_factory):
    """A repository (not bare), its bare copy beside it, and another one that cannot filter."""
    folder = tmp_path_factory.mktemp("upstream")
    if shutil.which("git"):
        make_repository(folder / "work")
        bare_copy(folder / "work", folder / "bare.git")
        bare_copy(folder / "work", folder / "plain.git", allow_filter=False)
    return folder


@pytest.fixture
def own(upstream, tmp_path):
    """A repository to be changed by the test."""
    return Path(shutil.copytree(upstream / "work", tmp_path / "own"))


@pytest.fixture(scope="session")
def commit(upstream):
    return git(upstream / "work", "rev-parse", "HEAD")


def expected(upstream: Path, names: set[str] = RESULTS) -> dict[str, bytes]:
    return {name: (upstream / "work" / TASKS / name).read_bytes() for name in names}


def folder_of(done: Download) -> Path:
    return done.path.parents[2]


def record_of(done: Download) -> dict[str, object]:
    return json.loads((folder_of(done) / "download.json").read_text())


def records_below(folder: Path) -> list[Path]:
    return list(folder.rglob("download.json"))


def fetched_objects(done: Download) -> set[str]:
    listing = git(
        folder_of(done) / "repository",
        "cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)",
        "--batch-all-objects",
    )  # fmt: skip
    return set(listing.splitlines())


# --- What is fetched ---


@pytest.mark.parametrize("bare", ["work", "bare.git", "plain.git"])
@pytest.mark.parametrize("as_url", [False, True])
def test_local_repository(upstream, commit, bare, as_url):
    place = upstream / bare
    done = download(place.as_uri() if as_url else str(place))
    assert done == Download(done.path, commit, len(RESULTS), was_complete=False)
    assert files_below(done.path) == expected(upstream)


@pytest.mark.parametrize(
    "server",
    [
        "http",
        pytest.param(
            "daemon", marks=pytest.mark.skipif(not has_daemon(), reason="git daemon not installed")
        ),
    ],
)
def test_server_sends_results_and_nothing_else(upstream, commit, server):
    serve = http_server if server == "http" else git_daemon
    with serve(upstream) as served:
        url = served if server == "daemon" else served.url
        done = download(f"{url}/bare.git")
    assert files_below(done.path) == expected(upstream)
    assert files_below(done.path.parents[1]).keys() == {f"{TASKS}/{name}" for name in RESULTS}
    assert done.commit == commit == git(folder_of(done) / "repository", "rev-parse", "HEAD")
    sizes = [int(line.split()[2]) for line in fetched_objects(done) if " blob " in line]
    # Contents that two files share are sent once; the three files git reads are one content.
    assert len(sizes) == len(set(expected(upstream).values())) + 1
    assert max(sizes) < BULK
    missing = git(
        folder_of(done) / "repository", "rev-list", "--objects", "--missing=print", "HEAD"
    )
    assert missing.count("\n?") + missing.startswith("?") >= 6 + len(LOGS)
    packs = (folder_of(done) / "repository/.git/objects").rglob("*.pack")
    assert sum(pack.stat().st_size for pack in packs) < BULK


def test_what_comes_is_what_the_reader_reads(upstream):
    ours, problems = read_results(download(str(upstream / "work")).path)
    folder = upstream / "work" / TASKS
    theirs, _ = read_results(
        [folder / task / "results" for task in ("alpha", "beta", "gamma", "packed")]
    )
    assert problems.empty
    columns = ["task", "metric", "model_name", "score"]
    assert len(ours) == len(theirs) == 2 * len(RESULTS)
    assert sorted(ours[columns].itertuples(index=False)) == sorted(
        theirs[columns].itertuples(index=False)
    )


def test_requests_do_not_grow_with_the_files(tmp_path):
    counts = []
    for number, n_tasks in enumerate((2, 12)):
        make_repository(tmp_path / f"r{number}", tuple(f"t{i}" for i in range(n_tasks)))
        with http_server(tmp_path) as server:
            done = download(f"{server.url}/r{number}/.git")
        assert done.n_files == 4 * (n_tasks + 1)
        counts.append(server.requests)
    assert len(counts[0]) == len(counts[1])
    # The default branch, the listing, the files: each asks what there is, then for it.
    assert [request.split("/")[-1] for request in counts[1]].count("git-upload-pack") <= 6


def test_one_request_for_each_batch_and_none_by_the_checkout(
    upstream, commit, monkeypatch, tmp_path
):
    n_contents = len(set(expected(upstream).values())) + 1
    counts = []
    with http_server(upstream) as server:
        for size in (n_contents, 5):
            monkeypatch.setattr(module, "_BATCH", size)
            download(f"{server.url}/bare.git", commit=commit, into=tmp_path / str(size))
            counts.append(server.n_fetches)
            server.requests.clear()
    # The listing and one batch; the listing and as many as it takes.
    a_request = counts[0] // 2
    assert counts == [2 * a_request, (1 + -(-n_contents // 5)) * a_request]


def test_local_path_may_hold_any_characters(own, upstream, tmp_path):
    odd = tmp_path / "a b%20c'd;$(x)é#?&"
    own.rename(odd)
    assert files_below(download(str(odd)).path) == expected(upstream)


@pytest.mark.usefixtures("own")
def test_relative_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = download("own", into="here")
    assert done.path.is_relative_to(tmp_path / "here")
    assert download("./own/", into=Path("here")) == Download(
        done.path, done.commit, 16, was_complete=True
    )


def test_default_place_is_the_cache_and_default_source_the_official_repository(upstream, tmp_path):
    done = download(str(upstream / "work"))
    assert done.path.is_relative_to(tmp_path / "cache" / "bigbench-meta")
    assert module.DEFAULT_SOURCE == "https://github.com/google/BIG-bench"


def test_full_logs_are_added_to_scores(own, upstream):
    first = download(str(own))
    assert record_of(first)["full_logs"] is False
    both = download(str(own), full_logs=True)
    assert (both.path, both.n_files, both.was_complete) == (first.path, 19, False)
    assert files_below(both.path) == expected(upstream, RESULTS | LOGS)
    shutil.rmtree(own)
    for full_logs in (False, True):
        assert download(str(own), commit=both.commit, full_logs=full_logs).was_complete


# --- Progress and record ---


def test_progress_and_record(upstream, commit):
    calls = []
    source = (upstream / "bare.git").as_uri()
    done = download(source, progress=lambda *call: calls.append(call))
    assert {"Receiving objects", "Receiving files", "Updating files"} <= {c[0] for c in calls}
    assert all(isinstance(n, int) and 0 <= n <= total for _, n, total in calls)
    files = [n for phase, n, _ in calls if phase == "Receiving files"]
    assert files == sorted(files)
    assert files[-1] == {total for phase, _, total in calls if phase == "Receiving files"}.pop()
    record = record_of(done)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", str(record.pop("finished")))
    assert record == {
        "source": source,
        "commit": commit,
        "files": 16,
        "bytes": sum(map(len, expected(upstream).values())),
        "full_logs": False,
    }


def test_progress_that_raises_ends_the_download_and_the_next_one_goes_on(upstream, tmp_path):
    class StopError(Exception):
        pass

    def stop(phase, _done, _total):
        if phase == "Receiving files":
            raise StopError

    with pytest.raises(StopError):
        download(str(upstream / "work"), progress=stop)
    assert not records_below(tmp_path)
    assert not download(str(upstream / "work")).was_complete


# --- Complete downloads ---


def test_complete_download_needs_no_server_and_no_git(own, monkeypatch):
    first = download(str(own))
    shutil.rmtree(own)
    monkeypatch.setenv("PATH", "")
    second = download(str(own), commit=first.commit.upper())
    assert second == Download(first.path, first.commit, first.n_files, was_complete=True)


def test_complete_download_from_a_server_that_is_gone(upstream, commit):
    with http_server(upstream) as server:
        first = download(f"{server.url}/bare.git")
        server.requests.clear()
        assert download(f"{server.url}/bare.git", commit=commit).was_complete
        assert not server.requests
        assert download(f"{server.url}/bare.git").was_complete
        assert server.n_fetches == 1  # which commit the default branch is at
    assert download(f"{server.url}/bare.git", commit=commit).path == first.path
    with pytest.raises(DownloadError, match=r"cannot be read; git said:\n.*connect to 127"):
        download(f"{server.url}/bare.git")


def test_new_commit_comes_into_a_new_folder(own):
    old = download(str(own))
    write_tree(own / TASKS, [score_file(task_name="delta")])
    (own / TASKS / "alpha/results/scores_Fam_1m.json").unlink()
    commit_all(own, "more")
    new = download(str(own))
    assert new.commit != old.commit
    assert not new.was_complete
    assert files_below(new.path).keys() == RESULTS - {"alpha/results/scores_Fam_1m.json"} | {
        "delta/results/scores_Fam_1m.json"
    }
    assert files_below(old.path).keys() == RESULTS
    assert download(str(own), commit=old.commit) == Download(
        old.path, old.commit, 16, was_complete=True
    )
    assert new.path.parents[3] == old.path.parents[3]
    # No history, though there is some.
    assert sum(" commit " in line for line in fetched_objects(new)) == 1


def test_sources_do_not_share_folders(upstream):
    paths = {download(str(upstream / name)).path for name in ("work", "bare.git")}
    assert len(paths) == 2


def change_record(path, change):
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif callable(change):
        change(path)
    else:
        record = json.loads(path.read_text()) | change
        path.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))


@pytest.fixture(scope="module")
def ready(upstream, tmp_path_factory):
    """A complete download, which tests damage and repair."""
    return download(str(upstream / "work"), into=tmp_path_factory.mktemp("ready"))


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b"{}",
        {"source": "https://example.org/x"},
        {"source": ...},
        {"commit": "0" * 40},
        {"commit": ...},
        {"files": 17},
        {"files": 0},
        {"files": -1},
        {"files": "16"},
        {"files": float("nan")},
        {"files": ...},
        {"bytes": 10**9},
        {"bytes": None},
        {"full_logs": "no"},
        {"finished": None},
        {"finished": ...},
    ],
    ids=lambda damage: damage.__name__ if callable(damage) else str(damage),
)
def test_damaged_record_is_not_trusted(upstream, ready, change):
    again = {"into": folder_of(ready).parents[1], "commit": ready.commit}
    assert download(str(upstream / "work"), **again).was_complete
    before = record_of(ready)
    change_record(folder_of(ready) / "download.json", change)
    assert not download(str(upstream / "work"), **again).was_complete
    assert files_below(ready.path) == expected(upstream)
    assert record_of(ready) | {"finished": 0} == before | {"finished": 0}


def remove_one(tasks):
    next(tasks.glob("alpha/results/*")).unlink()


def empty_one(tasks):
    next(tasks.glob("alpha/results/*")).write_bytes(b"")


@pytest.mark.parametrize("damage", [remove_one, empty_one, shutil.rmtree])
def test_lost_files_are_restored_without_the_server(upstream, commit, damage):
    with http_server(upstream) as server:
        url = f"{server.url}/bare.git"
        done = download(url)
    damage(done.path)
    assert not download(url, commit=commit).was_complete
    assert files_below(done.path) == expected(upstream)
    assert download(url, commit=commit).was_complete


def test_files_of_the_user_do_no_harm(upstream, ready):
    extra = write_bytes(ready.path / "mine/results/scores_mine.json", b"{}")
    # Paths that the commit has and the download leaves out.
    others = [f"{TASKS}/alpha/task.json", f"{TASKS}/{min(LOGS)}", "README.md"]
    mine = [write_bytes(ready.path.parents[1] / name, b"mine") for name in others]
    again = {"into": folder_of(ready).parents[1], "commit": ready.commit}
    assert download(str(upstream / "work"), **again) == Download(
        ready.path, ready.commit, 16, was_complete=True
    )
    (folder_of(ready) / "download.json").unlink()
    assert download(str(upstream / "work"), **again).n_files == 16
    assert extra.exists()
    assert {path.read_bytes() for path in mine} == {b"mine"}
    shutil.rmtree(extra.parents[1])
    for path in mine:
        path.unlink()


# --- Interruptions ---


def test_cut_connection_is_resumed(upstream, commit, tmp_path, monkeypatch):
    """Cut after every so many bytes, from none to all, and go on from there each time."""
    monkeypatch.setattr(module, "_BATCH", 4)
    failures, budget = 0, 0
    with http_server(upstream) as server:
        url = f"{server.url}/bare.git"
        while True:
            server.answers_after = budget
            try:
                done = download(url, commit=commit)
            except DownloadError as error:
                failures += 1
                assert "cannot be fetched; git said:\n" in error.message  # noqa: PT017
                assert "network, then run the same command again: it goes on" in error.hint  # noqa: PT017
                assert not records_below(tmp_path / "cache")
                budget += 700
            else:
                break
    assert failures >= 3
    assert files_below(done.path) == expected(upstream)
    assert not done.was_complete


def test_what_has_arrived_is_not_fetched_again(upstream, commit, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 4)
    n_batches = -(-(len(set(expected(upstream).values())) + 1) // 4)

    def cut(phase, done, _total):
        if phase == "Receiving files" and done == 8:
            server.answers_after = 0

    with http_server(upstream) as server:
        url = f"{server.url}/bare.git"
        with pytest.raises(DownloadError):
            download(url, commit=commit, progress=cut)
        server.answers_after = None
        server.requests.clear()
        totals = set()
        download(url, commit=commit, progress=lambda phase, _, n: totals.add((phase, n)))
        a_request = server.n_fetches // (n_batches - 2)
        assert server.n_fetches == a_request * (n_batches - 2)
    assert {n for phase, n in totals if phase == "Receiving files"} == {
        len(set(expected(upstream).values())) + 1 - 8
    }


KILLED = """
import os, signal, sys
from bigbench_meta.readers import download as module
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def progress(phase, done, total):
    if phase == where and done >= total // 2:
        kill()
where, source, into, commit = sys.argv[1:]
module._BATCH = 5
if where == "record":
    module._Record = lambda **_: kill()
module.download(source, into=into, commit=commit, progress=progress)
"""


@POSIX
@pytest.mark.parametrize(
    "where",
    ["Counting objects", "Receiving objects", "Receiving files", "Updating files", "record"],
)
def test_killed_run_is_resumed(upstream, commit, tmp_path, where):
    source = str(upstream / "work")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, where, source, str(tmp_path / "into"), commit],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list((tmp_path / "into").glob(f"*/{commit}/repository/.git"))
    assert not records_below(tmp_path)
    resumed = download(source, into=tmp_path / "into", commit=commit)
    assert (resumed.n_files, resumed.was_complete) == (16, False)
    assert files_below(resumed.path) == expected(upstream)


@pytest.mark.parametrize(
    "litter",
    ["index.lock", "config.lock", "shallow.lock", "HEAD.lock", "objects/pack/tmp_pack_x", "index"],
)
def test_litter_of_a_killed_git_is_cleared_away(upstream, ready, litter):
    (folder_of(ready) / "download.json").unlink()
    path = write_bytes(folder_of(ready) / "repository/.git" / litter, b"")
    again = download(str(upstream / "work"), into=folder_of(ready).parents[1], commit=ready.commit)
    assert files_below(again.path) == expected(upstream)
    assert litter == "index" or not path.exists()


def test_stalled_server_is_given_up(upstream, monkeypatch):
    short = [one.replace("lowSpeedTime=60", "lowSpeedTime=1") for one in module._SETTINGS]
    monkeypatch.setattr(module, "_SETTINGS", short)
    with (
        http_server(upstream, silent=True) as server,
        pytest.raises(DownloadError, match=r"git said:\n.*too slow\. Less than 1 bytes/sec"),
    ):
        download(f"{server.url}/bare.git")


# --- Two at once ---


def test_two_downloads_at_once_share_the_work(upstream, monkeypatch):
    monkeypatch.setattr(module, "_LOCK_WAIT", 60)
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(download, [str(upstream / "work")] * 2))
    assert both[0].path == both[1].path
    assert sorted(done.was_complete for done in both) == [False, True]


def test_second_download_says_who_holds_the_folder(upstream, ready, monkeypatch):
    monkeypatch.setattr(module, "_LOCK_WAIT", 0.1)
    folder, into = folder_of(ready), folder_of(ready).parents[1]
    with (
        module._locked(folder),
        pytest.raises(InputError, match=rf"another .* by process {os.getpid()}\)\nHint: wait"),
    ):
        download(str(upstream / "work"), into=into, commit=ready.commit, full_logs=True)
    assert download(str(upstream / "work"), into=into, commit=ready.commit).was_complete


@POSIX
def test_git_of_a_killed_run_does_no_harm(upstream, commit, tmp_path):
    """It hangs at a silent server while the next download runs, and ends after it."""
    code = "import sys; from bigbench_meta.readers.download import download as d\n"
    code += "d(sys.argv[1], commit=sys.argv[2], into=sys.argv[3])"
    with http_server(upstream, silent=True) as server:
        call = [f"{server.url}/bare.git", commit, str(tmp_path / "into")]
        with subprocess.Popen([sys.executable, "-c", code, *call]) as process:
            patience = time.monotonic() + 30
            while not server.requests and time.monotonic() < patience:
                time.sleep(0.02)
            process.kill()
        server.silent = False
        done = download(call[0], commit=commit, into=call[2])
        server.ended.set()
    assert files_below(done.path) == expected(upstream)
    assert download(call[0], commit=commit, into=call[2]).was_complete


# --- Servers that can do less ---


def test_server_without_filter_sends_the_whole_commit(upstream, commit):
    with http_server(upstream) as server:
        with pytest.warns(DownloadWarning, match="cannot send single files") as caught:
            done = download(f"{server.url}/plain.git")
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (folder_of(done) / "download.json").unlink()
            download(f"{server.url}/plain.git", commit=commit)
    assert files_below(done.path) == expected(upstream)
    assert files_below(done.path.parents[1]).keys() == {f"{TASKS}/{name}" for name in RESULTS}


def test_server_of_the_old_protocol_is_left_to_the_user(upstream, tmp_path):
    """It has single files by name of a commit only."""
    with http_server(upstream, protocol_2=False) as server:
        with pytest.raises(DownloadError, match=r"git said:\n  .*unadvertised object") as caught:
            download(f"{server.url}/bare.git")
        clone = re.search(r"git (clone .*) BIG-bench && git -C BIG-bench (.*);", caught.value.hint)
        git(tmp_path, *clone[1].split(), "by-hand")
        git(tmp_path / "by-hand", *clone[2].split())
    by_hand = files_below(tmp_path / "by-hand" / TASKS)
    assert by_hand.items() >= expected(upstream).items()


# --- Which commit ---


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    """A repository with branches and tags, and the commit each stands for."""
    folder = tmp_path_factory.mktemp("branches") / "repository"
    if shutil.which("git") is None:
        return folder, {}
    first = make_repository(folder, ("alpha",))
    for name in ("tag light", "tag -m x annotated", "branch side/line", "tag both", "branch end"):
        git(folder, *name.split())
    git(folder, "branch", "x/refs/heads/end")
    write_tree(folder / TASKS, [score_file(task_name="delta")])
    second = commit_all(folder, "more")
    for name in ("branch both", "tag same", "branch same", "tag end-1"):
        git(folder, *name.split())
    return folder, {
        **dict.fromkeys(("light", "annotated", "side/line", "refs/tags/both", "end"), first),
        **dict.fromkeys((None, "HEAD", "trunk", "refs/heads/both", "same"), second),
        "refs/tags/annotated": first,
    }


@pytest.mark.parametrize(
    "name",
    [None, "HEAD", "trunk", "light", "annotated", "side/line", "refs/heads/both", "refs/tags/both",
     "refs/tags/annotated", "same", "end"],
)  # fmt: skip
def test_branches_and_tags(branches, name, tmp_path_factory):
    folder, commits = branches
    into = tmp_path_factory.getbasetemp() / "named"
    done = download(str(folder), commit=name, into=into)
    assert done.commit == commits[name]
    assert done.path.parents[2].name == done.commit


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "both",
            "both a branch and a tag are called 'both'.*\n.*refs/heads/both or refs/tags/both",
        ),
        ("none", "no branch or tag is called 'none'"),
        ("refs/heads/none", "no branch or tag is called"),
        ("line", "no branch or tag is called"),
        ("0123abc", "no branch or tag is called '0123abc'.*\n.*all 40 digits"),
        (
            "1" * 40,
            "commit 1{40} cannot be fetched; git said:\n.*not our ref 1(.|\n)*Hint: check the",
        ),
    ],
)
def test_unknown_commits(branches, name, message):
    with pytest.raises(InputError, match=message):
        download(str(branches[0]), commit=name)


@pytest.mark.parametrize("what", ["annotated", "HEAD^{tree}", f"HEAD:{TASKS}/alpha/task.json"])
def test_hash_of_something_else(branches, what):
    oid = git(branches[0], "rev-parse", what)
    with pytest.raises(InputError, match=rf"{oid} is a (tag|tree|blob), not a commit"):
        download(str(branches[0]), commit=oid)


@pytest.mark.parametrize(
    "name",
    ["", "-x", "--upload-pack=x", "a b", "a..b", "a~1", "HEAD^", "a:b", "a?", "*", "[a", "a\\b",
     "a\nb", "@{u}", "/a", "a/", "a//b", "a.", "a.lock", ".a", "a\0"],
)  # fmt: skip
def test_bad_commits_are_refused_before_anything_runs(name, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="not a commit, branch or tag"):
        download(str(tmp_path), commit=name)


# --- Sources that are none ---


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "'': not the address of a repository"),
        (" ", "not the address"),
        ("-x", "not the address"),
        ("--upload-pack=touch x", "not the address"),
        ("a\nb", "not the address"),
        ("a\0b", "not the address"),
        ("ext::sh -c touch% x", "not the address"),
        ("fd::17", "not the address"),
        ("user@host::x", "not the address"),
        ("ftp://example.org/x", "not the address"),
        ("ext://x", "not the address"),
        ("https://", "not the address"),
        ("https:///", "not the address"),
        ("ssh://-oProxyCommand=x/y", "not the address"),
        ("ssh://a@-oProxyCommand=x/y", "not the address"),
        ("https://me:secret@example.org/x", "https://...@example.org: .* would be stored"),
        ("https://token@example.org/x", "would be stored"),
        ("ssh://me:secret@example.org/x", "would be stored"),
        ("nowhere", r"nowhere: no such folder \(No such file or directory\)"),
        ("~nobody-of-this-name/x", "no such folder"),
        ("x" * 5000, "no such folder"),
        ("x" * 300, "no such folder"),
    ],
)
def test_bad_sources_are_refused_before_anything_runs(source, message, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        download(source)
    assert "secret" not in str(caught.value)
    assert "token" not in str(caught.value)
    assert "Hint" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("https://github.com/google/BIG-bench", None),
        ("ssh://git@example.org/a/b.git", None),
        ("git@example.org:a/b.git", None),
        ("git://127.0.0.1/x", None),
        ("HTTPS://example.org/x", None),
        ("a:b", "file://.*/a%3Ab"),
    ],
)
def test_good_sources(source, address):
    assert re.fullmatch(address or re.escape(source), module._address(source))


@given(st.text(min_size=1), st.text(min_size=1))
def test_folders_of_sources_are_plain_names_and_differ(one, other):
    names = [module._slug(address) for address in (one, other)]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_file_instead_of_a_repository(tmp_path):
    with pytest.raises(InputError, match="a file, not a repository"):
        download(str(write_bytes(tmp_path / "bundle", b"")))


def test_folder_that_is_no_repository(tmp_path):
    with pytest.raises(
        DownloadError,
        match=r"cannot be read; git said:\n  fatal: .*not appear(.|\n)*Hint: check that",
    ):
        download(str(tmp_path))


@pytest.mark.parametrize("commit", [None, "1" * 40])
def test_server_without_the_repository(upstream, commit, tmp_path):
    with (
        http_server(upstream) as server,
        pytest.raises(DownloadError, match=r"git said:\n.*none.git/' not found\nHint: check"),
    ):
        download(f"{server.url}/none.git", commit=commit)
    assert not records_below(tmp_path)


def test_repository_without_a_commit(tmp_path):
    git(tmp_path, "init", "--quiet", "--template=", "empty")
    with pytest.raises(InputError, match="no commit in it"):
        download(str(tmp_path / "empty"))


def test_repository_without_results(tmp_path):
    make_repository(tmp_path / "r")
    shutil.rmtree(tmp_path / "r" / TASKS)
    commit = commit_all(tmp_path / "r")
    for _ in range(2):
        with pytest.raises(
            InputError, match=f"no result files at commit {commit}\nHint: .*scores_"
        ):
            download(str(tmp_path / "r"))
    assert not records_below(tmp_path)


# --- Git and the machine ---


def test_no_git(upstream, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="git is needed and not installed") as caught:
        download()
    for part in ("archive/HEAD.zip", TASKS, "<task>/results/scores_*.json"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"git clone .* && git -C BIG-bench checkout v1"):
        download(str(upstream / "work"), commit="v1")


def fake_git(folder, monkeypatch, script):
    """Put a program called git on the path, in place of the real one."""
    program = write_bytes(folder / "fake" / "git", f"#!/bin/sh\n{script}\n".encode())
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


@POSIX
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo git version 2.24.9", "git 2.25 or newer is needed, this is git version 2.24.9"),
        ("echo git version 1.9", "this is git version 1.9"),
        ("echo hello", "this is hello"),
        ("exit 1", "this is one that does not say its version"),
        ("printf '\\377\\033[31m'", "git 2.25 or newer is needed"),
    ],
)
def test_old_or_odd_git(script, message, monkeypatch, tmp_path):
    program = fake_git(tmp_path, monkeypatch, script)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        download(str(tmp_path))
    assert str(caught.value).startswith(f"{program}: ")
    assert "\x1b" not in str(caught.value)


@POSIX
def test_git_that_cannot_be_run(monkeypatch, tmp_path):
    program = fake_git(tmp_path, monkeypatch, "")
    program.write_bytes(b"\x7fELF")
    with pytest.raises(InputError, match=r"2.25 or newer is needed, this is .*Exec format error"):
        download(str(tmp_path))


FAULTS = {
    "ls-remote": ("the repository cannot be read", "check the address and the network, then run"),
    "--depth=1": (
        "commit 1{40} cannot be fetched",
        "check the commit's hash, .* check the address",
    ),
    "--no-tags --filter=blob:none": ("the result files cannot be fetched", "make room if the disk"),
    "checkout": (
        "git checkout failed",
        "make room or correct the folder's permissions; if neither",
    ),
}


@POSIX
@pytest.mark.parametrize("command", FAULTS)
def test_fault_shows_what_failed_the_last_lines_of_git_and_what_to_do(
    upstream, command, monkeypatch, tmp_path
):
    pinned = "1" * 40 if command == "--depth=1" else None
    is_local = command not in {"ls-remote", "--depth=1"}
    source = (upstream / "work").as_uri() if is_local else "http://127.0.0.1:1/x"
    noise = "remote: \\033[31mred\\nReceiving objects:  50%% (1/2)\\r"
    fake_git(
        tmp_path,
        monkeypatch,
        f"""case "$*" in *"{command}"*)
    printf "{noise}error: one\\nerror: one\\nfatal: No space left on device\\n" >&2; exit 128;; esac
    exec {shutil.which("git")} "$@"
    """,
    )
    with pytest.raises(DownloadError) as caught:
        download(source, commit=pinned)
    error, (message, hint) = caught.value, FAULTS[command]
    assert re.match(message, error.message)
    said = "\n  error: one\n  fatal: No space left on device"
    assert error.message.endswith(f"; git said:\n  remote: \\x1b[31mred{said}")
    assert re.match(hint, error.hint)
    assert error.where == source or error.where.endswith("/repository")
    assert (error.where == source) == (command != "checkout")
    if not is_local:
        for part in (
            module._AGAIN,
            "http.proxy",
            "http.sslCAInfo",
            "credential.helper",
            "git clone",
        ):
            assert part in error.hint


@POSIX
def test_git_and_its_helpers_are_stopped_with_the_download(upstream, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    fake_git(
        tmp_path,
        monkeypatch,
        f"""case "$*" in *--depth=1*)
    printf "Receiving objects:  50%% (1/2)\\r\\n" >&2; sleep 30; touch {tmp_path}/lived;; esac
    exec {shutil.which("git")} "$@"
    """,
    )
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        download(str(upstream / "work"), progress=interrupt)
    assert time.monotonic() - before < 20
    assert not (tmp_path / "lived").exists()


def test_folder_that_cannot_be_made(upstream, tmp_path):
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(InputError, match=r"file/.*: cannot be written: Not a directory\nHint: "):
        download(str(upstream / "work"), into=tmp_path / "file")


def test_disk_that_fills_up_at_the_end(upstream, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(InputError, match="cannot be written: No space left"):
            download(str(upstream / "work"))
    assert not records_below(tmp_path)
    assert download(str(upstream / "work")).n_files == 16


@pytest.mark.parametrize("victim", ["config", "objects/pack/*.pack"])
def test_damaged_repository_is_not_taken_for_a_bad_connection(upstream, victim):
    done = download(str(upstream / "work"))
    (folder_of(done) / "download.json").unlink()
    for path in (folder_of(done) / "repository/.git").glob(victim):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-40] + b"[nonsense" * 5)
    with pytest.raises(DownloadError, match=r"/repository: git .* failed(.|\n)*delete the folder"):
        download(str(upstream / "work"))
    shutil.rmtree(folder_of(done) / "repository")
    assert files_below(download(str(upstream / "work")).path) == expected(upstream)


# --- Hostile repositories and surroundings ---


def hostile_environment(tmp_path, monkeypatch):
    """Settings by which a harmless user has git run programs, for a repository to abuse."""
    trap = tmp_path / "trapped"
    hooks = tmp_path / "hooks"
    for name in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor"):
        hook = write_bytes(hooks / "hooks" / name, f"#!/bin/sh\ntouch '{trap}'\n".encode())
        hook.chmod(0o755)
    for key, value in {
        "core.hooksPath": str(hooks / "hooks"),
        "init.templateDir": str(hooks),
        "core.fsmonitor": str(hooks / "hooks/fsmonitor"),
        "filter.trap.smudge": f"touch '{trap}'; cat",
        "filter.trap.process": f"touch '{trap}'",
        "filter.trap.required": "true",
        "protocol.ext.allow": "always",
        "submodule.recurse": "true",
        "core.autocrlf": "true",
        "core.symlinks": "true",
        "core.sparseCheckoutCone": "true",
        "protocol.version": "0",
        "fetch.recurseSubmodules": "true",
        "remote.origin.url": f"ext::touch% {trap}",
    }.items():
        git(tmp_path, "config", "--file", str(tmp_path / "gitconfig"), key, value)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_ASKPASS", str(hooks / "hooks/fsmonitor"))
    return trap


@POSIX
def test_nothing_of_the_repository_is_run_or_changed(own, tmp_path, monkeypatch):
    results = own / TASKS / "alpha/results"
    plain = {"scores_crlf.json": b"a\r\nb\n$Id$\n", "scores_utf16.json": "é".encode("utf-16")}
    for name, content in plain.items():
        write_bytes(results / name, content)
    (results / "scores_link.json").symlink_to("/etc/passwd")
    git(own, "-c", "core.autocrlf=false", "add", "--all", "--force")
    head = git(own, "rev-parse", "HEAD")
    git(own, "update-index", "--add", "--cacheinfo", f"160000,{head},{TASKS}/s/results")
    # Into the index as they are: add would apply the attributes.
    trap = tmp_path / "trapped"
    submodule = f'[submodule "s"]\n\tpath = {TASKS}/s\n\turl = ext::touch% {trap}\n'
    converted = b"* filter=trap text eol=crlf ident working-tree-encoding=UTF-16\n"
    for path, content in {
        ".gitmodules": submodule.encode(),
        ".gitattributes": converted,
        f"{TASKS}/.gitattributes": converted,
        f"{TASKS}/beta/.gitattributes": converted,
        f"{TASKS}/alpha/results/.gitattributes": b"* text eol=crlf ident\n",
    }.items():
        oid = git(own, "hash-object", "-w", "--no-filters", str(write_bytes(own / path, content)))
        git(own, "update-index", "--add", "--cacheinfo", f"100644,{oid},{path}")
    git(own, "commit", "--quiet", "--message", "traps")
    bare_copy(own, tmp_path / "served/own.git")
    with monkeypatch.context() as patch, http_server(tmp_path / "served") as server:
        assert hostile_environment(tmp_path, patch) == trap
        done = download(f"{server.url}/own.git")
    assert not trap.exists()
    assert not (tmp_path / "elsewhere").exists()
    link = done.path / "alpha/results/scores_link.json"
    assert not link.is_symlink()
    assert link.read_bytes() == b"/etc/passwd"
    files = files_below(done.path)
    for name, content in plain.items():
        assert files[f"alpha/results/{name}"] == content
    assert files.keys() == RESULTS | {f"alpha/results/{n}" for n in (*plain, "scores_link.json")}
    assert not any((folder_of(done) / "repository/.git").glob("hooks/*"))


@POSIX
def test_nobody_is_asked_for_a_password(upstream, tmp_path, monkeypatch):
    trap = hostile_environment(tmp_path, monkeypatch)
    with (
        http_server(upstream, locked=True) as server,
        pytest.raises(
            DownloadError, match=r"said:\n.*not read Username(.|\n)*passwords .*credential.helper"
        ),
    ):
        download(f"{server.url}/bare.git")
    assert not trap.exists()


def test_started_inside_another_repository(upstream, own, monkeypatch):
    """Settings of the repository that the shell happens to be in say nothing here."""
    git(own, "config", "url.ext::nonsense.insteadOf", "file://")
    monkeypatch.chdir(own)
    done = download(str(upstream / "work"), into=own / "inside")
    assert files_below(done.path) == expected(upstream)
