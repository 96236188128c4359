"""The "Model loop" page with many nights, in a browser over a real Airflow: `python -m benchmarks.page`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.machine import describe
from tests.support.browser_nights import many_nights, rows_of, watches
from tests.support.browser_site import PROJECT, airflow, chromium, log_in

CONTROL = PROJECT / ".venv-airflow" / "bin" / "python"
NIGHTS = (10, 100, 1_000)
RUNS = 7
LOADED = "performance.getEntriesByType('navigation')[0].{}"


def main() -> None:
    if Path(sys.prefix) != CONTROL.parents[1]:  # Airflow lives in the control environment
        os.execv(CONTROL, [str(CONTROL), "-m", "benchmarks.page"])
    from pipelines.stores.ledger.tables import DECISIONS, WATCHES

    print(describe())
    print(
        f"{'nights':>7} {'first byte':>11} {'loaded':>9} {'worst':>9} {'HTML':>9}  ({RUNS} loads; aim: 1 s)"
    )
    with tempfile.TemporaryDirectory() as home, airflow(Path(home)) as site, chromium() as browser:
        context = browser.new_context(storage_state=log_in(browser, site, Path(home) / "state.json"))
        page = context.new_page()
        site.ledger().append(WATCHES, *watches(720))
        for nights in NIGHTS:
            site.ledger().append(DECISIONS, *rows_of(many_nights(nights)))
            first, loaded = [], []
            for _ in range(RUNS):
                page.goto(f"{site.url}/model-loop/", wait_until="load")
                first.append(page.evaluate(LOADED.format("responseStart")) / 1_000)
                loaded.append(page.evaluate(LOADED.format("loadEventEnd")) / 1_000)
            size = page.evaluate(LOADED.format("decodedBodySize")) / 1_024
            print(
                f"{nights:>7,} {median(first):>9.3f} s {median(loaded):>7.3f} s {max(loaded):>7.3f} s "
                f"{size:>5.0f} KiB"
            )


if __name__ == "__main__":
    main()
