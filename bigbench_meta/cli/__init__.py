"""The command line: ``main``, one thin module for each command, and what the commands share.

A command's module is imported when the command is run. Its heavy imports stay inside functions, so
that ``--help`` needs no more than Click.
"""
