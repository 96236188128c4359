"""Four processes that append to one ledger at once: `python -m benchmarks.ledger [ROWS_EACH]`.

The ledger lies in SQLite on this disk, then in a PostgreSQL that this starts on loopback, whose commits wait
for the disk.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.machine import describe, moment
from pipelines.operations.databases import LEDGER, upgrade
from pipelines.stores.ledger import Ledger
from tests.support.cluster import running_postgres

PROCESSES = 4


def append(url: str, writer: int, rows: int) -> None:
    ledger = Ledger(url)
    for number in range(rows):
        ledger.add_task_event("dag", f"run-{writer}", f"task-{number}", 1, "success")


def measure(url: str, rows: int) -> tuple[float, float]:
    """Seconds to append by all processes together, and to verify the chain."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append, args=(url, n, rows)) for n in range(PROCESSES)]
    began = time.monotonic()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    appended, ledger = time.monotonic() - began, Ledger(url)
    if any(writer.exitcode for writer in writers):
        raise SystemExit("a process could not append")
    began = time.monotonic()
    if (links := ledger.verify()) != PROCESSES * rows:
        raise SystemExit(f"{links} links, and {PROCESSES * rows} rows were appended")
    return appended, time.monotonic() - began


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder, running_postgres(fsync="on") as postgres:
        os.environ["PGPASSFILE"] = str(postgres.passfile)
        url = postgres.create("ledger")
        upgrade(LEDGER, url)
        yield {"SQLite": f"sqlite:///{folder}/ledger.db", "PostgreSQL": url}


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{describe()}; {moment()}\n{PROCESSES} processes x {rows:,} appended rows\n")
    print(f"{'ledger':<12}{'appended':>12}{'rows/s':>10}{'verified':>12}")
    with databases() as found:
        for name, url in found.items():
            appended, verified = measure(url, rows)
            print(f"{name:<12}{appended:>10.1f} s{PROCESSES * rows / appended:>10.0f}{verified:>10.1f} s")


if __name__ == "__main__":
    main()
