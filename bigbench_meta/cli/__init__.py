"""The command line: one thin command for each stage. Heavy imports stay inside the commands."""

from __future__ import annotations

import io
import sys
from typing import Any, NoReturn

import click

from bigbench_meta._version import __version__
from bigbench_meta.cli.accounts import accounts
from bigbench_meta.cli.download import download
from bigbench_meta.cli.forecast import forecast
from bigbench_meta.cli.power import power
from bigbench_meta.cli.shapes import shapes
from bigbench_meta.cli.simulate import simulate
from bigbench_meta.cli.store import ingest, store
from bigbench_meta.cli.study import aggregate, analyze, claims, score
from bigbench_meta.core.errors import BigbenchMetaError

__all__ = ["main"]


class _Group(click.Group):
    """A group whose commands turn this package's errors into a message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name that the terminal's encoding lacks is written out, not refused.
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BigbenchMetaError as error:
            _fail(error)


def _fail(error: BigbenchMetaError) -> NoReturn:
    click.echo(f"Error: {error}", err=True)
    raise SystemExit(2) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bigbench-meta")
def main() -> None:
    """Meta-analysis of emergence claims on BIG-Bench.

    Reads result files, scores how sharply every (task, metric, model family, shots) curve rises
    with scale, and tabulates which metrics account for the sharp ones.

    \b
    Start with:
      bigbench-meta analyze --out study          the whole study on embedded published figures
      bigbench-meta analyze BIG-bench/bigbench/benchmark_tasks --out study

    Exit codes: 0 done; 1 done, with problems, under --strict; 2 bad usage or unreadable input.
    """


_COMMANDS = (
    analyze, ingest, score, aggregate, accounts, forecast, shapes, store, claims, power, simulate,
    download,
)  # fmt: skip
for _command in _COMMANDS:
    main.add_command(_command)
