"""``python -m bigbench_meta``."""

from bigbench_meta.cli import main

main(prog_name="bigbench-meta")
