"""Commands of nightshift in processes of their own that need no time to load their libraries.

Each is a fork of a server that has loaded them and done nothing else; see multiprocessing's "forkserver".
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

LIBRARIES = ("prometheus_client", "pipelines.cli.main", "pipelines.runner")  # in this order: see conftest.py


def loaded(*steps: str) -> ForkServerContext:
    """Starts processes that have loaded the libraries of these steps. A test process has one such server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, *(f"pipelines.steps.{step}" for step in steps), __name__])
    return context


def start(context: ForkServerContext, said: Path, *words: str) -> ForkServerProcess:
    """Start `nightshift WORDS`. What it says goes to the file `said`."""
    process = context.Process(target=_run, args=(said, words))
    process.start()
    return process


def _run(said: Path, words: tuple[str, ...]) -> None:
    from pipelines.cli.main import main

    with said.open("ab") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    sys.exit(main([*words]))
