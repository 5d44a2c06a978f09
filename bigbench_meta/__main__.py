"""``python -m bigbench_meta``."""

from bigbench_meta.cli.main import main

main(prog_name="bigbench-meta")
