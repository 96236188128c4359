"""Time `make nightly` as a person would run it, and print what each step used.

    .venv/bin/python -m benchmarks.nightly
    .venv/bin/python -m benchmarks.nightly --profile demo-text

Runs the next night of a sample in this checkout's state folder for that profile. Memory is
the private memory of every process that `make nightly` started, Airflow's own among them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from benchmarks.machine import describe
from pipelines.core.config import load_config
from pipelines.stores import open_ledger, open_run

ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description="Time `make nightly`.")
    parser.add_argument("--profile", default="demo", help="demo or demo-text")
    profile = parser.parse_args().profile
    usual = ROOT / (
        ".nightshift" if profile == "demo" else f".nightshift-{profile}"
    )  # as the Makefile has it
    home = Path(os.environ.get("NIGHTSHIFT_HOME", usual))
    config = load_config(os.environ.get("NIGHTSHIFT_CONFIG", ROOT / "config" / f"{profile}.toml"), home)
    ledger = open_ledger(config)
    before = {decision.run_id for decision in ledger.decisions()}
    peak = _PeakMemory()
    began = time.monotonic()
    command = ["make", "nightly", f"PROFILE={profile}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        peak.watch(process.pid)
        output = process.communicate()[0]
    seconds = time.monotonic() - began
    print(output)
    if process.returncode:
        return process.returncode
    print(f"machine: {describe()}\n")
    print(f"{'step':<10} {'seconds':>8} {'CPU s':>8} {'peak MiB':>9}")
    run_id = next(d.run_id for d in ledger.decisions() if d.run_id not in before)
    for manifest in open_run(config, run_id).manifests().values():
        usage = manifest.usage
        numbers = f"{usage.seconds:>8.1f} {usage.cpu_seconds:>8.1f} {usage.peak_memory_mib:>9.0f}"
        print(f"{manifest.step:<10} {numbers}")
    own = re.search(r"Airflow's own ([\d.]+) s \(([\d.]+)%\)", output)
    print(f"\nmake nightly, all of it       {seconds:8.1f} s   (limit 480, aim 360)")
    print(f"Airflow's own share           {own[2] if own else '?':>8} %   (limit 15)")
    print(f"memory of all processes, peak {peak.mib:8.0f} MiB (machine of 8,192)")
    return 0


class _PeakMemory:
    """Samples the summed private memory (USS) of a process and its descendants."""

    def __init__(self) -> None:
        self.mib = 0.0

    def watch(self, pid: int) -> None:
        threading.Thread(target=self._sample, args=(psutil.Process(pid),), daemon=True).start()

    def _sample(self, root: psutil.Process) -> None:
        while root.is_running():
            total = 0
            try:
                for process in [root, *root.children(recursive=True)]:
                    total += _private_bytes(process)
            except psutil.NoSuchProcess:
                return
            self.mib = max(self.mib, total / 2**20)
            time.sleep(1)


def _private_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().uss
    except psutil.NoSuchProcess:  # it ended between the listing and the look
        return 0


if __name__ == "__main__":
    sys.exit(main())
