"""``bigbench-meta download``: BIG-bench's result files."""

from __future__ import annotations

from pathlib import Path

import click

from bigbench_meta.cli import console
from bigbench_meta.cli.options import as_json

__all__ = ["download"]


@click.command()
@click.argument("source", required=False)
@click.option("--commit", help="Commit to download: its full hash, a branch or a tag.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for downloads. Default: the cache folder of the user.",
)
@click.option("--full-logs", is_flag=True, help="Also download the full logs, which are large.")
@as_json
def download(
    source: str | None, commit: str | None, into: Path | None, full_logs: bool, as_json: bool
) -> None:
    """Download BIG-bench's result files.

    Fetches only the result files of BIG-bench's repository or of a copy of it. SOURCE is the URL or
    folder of a git repository, by default the official one. An interrupted download continues when
    it is run again. Prints the folder to pass to the other commands.

    \b
    Examples:
      bigbench-meta download
      bigbench-meta download --commit 0123456789abcdef0123456789abcdef01234567 --json
      bigbench-meta analyze "$(bigbench-meta download)" --out study
    """
    import warnings

    from bigbench_meta.readers.download import DEFAULT_SOURCE
    from bigbench_meta.readers.download import download as fetch

    with warnings.catch_warnings(record=True) as caught, console.progress("Downloading") as bar:
        warnings.simplefilter("always")
        done = fetch(
            source or DEFAULT_SOURCE,
            into=into,
            commit=commit,
            full_logs=full_logs,
            progress=bar and (lambda _phase, n, total: bar(n, total)),
        )
    for warning in caught:
        console.note(f"warning: {warning.message}")
    if as_json:
        console.print_json(
            {
                "path": done.path.as_posix(),
                "commit": done.commit,
                "n_files": done.n_files,
                "was_complete": done.was_complete,
            }
        )
    else:
        state = "already downloaded" if done.was_complete else "downloaded"
        console.note(f"{done.n_files} result files of commit {done.commit} {state}")
        click.echo(done.path.as_posix())
