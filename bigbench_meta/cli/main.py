"""The program ``bigbench-meta``: its list of commands, and what it does with errors."""

from __future__ import annotations

import errno
import importlib
import io
import sys
from typing import Any

import click

from bigbench_meta import __version__
from bigbench_meta.cli.output import ARGUMENTS
from bigbench_meta.core.errors import BigbenchMetaError
from bigbench_meta.core.text import shown

__all__ = ["COMMANDS", "STAGES", "main"]

STAGES = {
    "The whole study": {
        "analyze": "Run the whole study: scores, uncertainty, tables, report.",
        "check": "Check one claim of emergence.",
        "export": "Export a table of a study for a paper.",
    },
    "Results in": {
        "download": "Download BIG-bench's result files.",
        "ingest": "Read result files into a store.",
        "store": "Inspect and maintain a store.",
        "rescore": "Score the same outputs under other metrics.",
    },
    "Curves": {
        "score": "Score how sharply each curve rises with model scale.",
        "shapes": "Classify each curve by its trend and its best-fitting shape.",
        "forecast": "Test whether small models predict the scores of larger ones.",
        "power": "Compute which accuracies a test set can detect.",
    },
    "Metrics and claims": {
        "aggregate": "Count the flagged curves of each metric.",
        "metric-change": "Compare the same outputs under two metrics.",
        "accounts": "Test whether the choice of metric explains the flags.",
        "claims": "Count published claims of emergence by metric.",
    },
    "Made to order": {
        "simulate": "Simulate smooth models and score them under every metric.",
        "generate": "Generate tasks for your models, or train model families.",
    },
}
"""The commands by stage, each in the module of its name, with the first sentence of its help.

The sentences stand here so that the list of commands is printed without importing their modules.
"""

COMMANDS = {name: text for commands in STAGES.values() for name, text in commands.items()}

_STOPPED = 130  # as a shell says of a program that Ctrl-C ended


# A disk that is full or may not be written: the same wherever it is met.
_NO_PLACE = {errno.ENOSPC, errno.EROFS, errno.EDQUOT}


class _Commands(click.Group):
    """A group that imports a command on use and turns errors into a message and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"bigbench_meta.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        widest = max(map(len, COMMANDS))
        for stage, commands in STAGES.items():
            with formatter.section(stage):
                rows = [(name.ljust(widest), text) for name, text in commands.items()]
                formatter.write_dl(rows)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **more: Any,
    ) -> click.Context:
        given = list(args)  # which the parser uses up
        context = super().make_context(info_name, args, parent, **more)
        context.meta[ARGUMENTS] = given
        return context

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Characters that the terminal's encoding lacks are escaped.
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BigbenchMetaError as error:
            # Names in results can hold what steers a terminal; a hint is a line of its own.
            lines = (shown(line) for line in f"Error: {error}".split("\n"))
            click.echo("\n".join(lines), err=True)
            raise SystemExit(2) from error
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            raise SystemExit(_STOPPED) from None
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"Error: {where}cannot be written: {error.strerror}", err=True)
            raise SystemExit(2) from error


_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "terminal_width": 78,  # to ask the terminal, Click imports shutil, a tenth of the time of help
}


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.version_option(__version__, "-V", "--version", prog_name="bigbench-meta")
def main() -> None:
    """Meta-analysis of emergence claims on BIG-Bench.

    Reads result files, scores how sharply every (task, metric, model family, shots) curve rises
    with model scale, and tabulates which metrics the sharp rises come from.

    \b
    Start with:
      bigbench-meta analyze --out study          published results, included here
      bigbench-meta analyze BIG-bench/bigbench/benchmark_tasks --out study
      bigbench-meta score --help                 help on one command, with examples

    Exit codes: 0 done; 1 done, but --strict was given and there were problems; 2 bad usage or
    unreadable input; 130 stopped by Ctrl-C.
    """
