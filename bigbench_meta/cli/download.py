"""The command that brings BIG-bench's result files."""

from __future__ import annotations

from pathlib import Path

import click

from bigbench_meta.cli import console, option

__all__ = ["download"]


@click.command()
@click.argument("source", required=False)
@click.option("--commit", help="Full hash of a commit, or a branch or tag.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to put downloads in. By default this user's cache folder.",
)
@click.option("--full-logs", is_flag=True, help="Bring the full logs too. They are large.")
@option.as_json
def download(
    source: str | None, commit: str | None, into: Path | None, full_logs: bool, as_json: bool
) -> None:
    """Bring BIG-bench's result files.

    Brings those of its repository, or of a copy of it, and nothing else. SOURCE is the address or
    folder of a git repository, by default the official one. A run that was cut off is continued by
    the next one. Prints the folder to give to the other commands.

    \b
    Examples:
      bigbench-meta download
      bigbench-meta download --commit 0123456789abcdef0123456789abcdef01234567 --json
      bigbench-meta analyze "$(bigbench-meta download)" --out study
    """
    import warnings

    from bigbench_meta.readers.download import DEFAULT_SOURCE
    from bigbench_meta.readers.download import download as bring

    with warnings.catch_warnings(record=True) as caught, console.progress("Downloading") as bar:
        warnings.simplefilter("always")
        done = bring(
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
        there = "were there already" if done.was_complete else "downloaded"
        console.note(f"{done.n_files} result files of commit {done.commit} {there}")
        click.echo(done.path.as_posix())
