"""A million-row night up to the decision, each step as its own process. Prints a table; asserts nothing.

python benchmarks/million_rows.py [--rows 1000000] [--home FOLDER] [--format parquet|jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from pipelines.core.config import load_config  # noqa: E402
from pipelines.data import open_lake  # noqa: E402
from pipelines.data.feedback_log import feedback_of  # noqa: E402
from pipelines.data.schema import MESSAGES, SCHEMA  # noqa: E402

NIGHT = date(2026, 1, 3)
TARGET = "target: ingest and validate under 180 s together and under 2048 MiB each"
TARGETED, AFTERWARDS = ("ingest", "validate"), ("features", "drift", "decide")
SYLLABLES = (
    "car",
    "di",
    "ac",
    "neu",
    "ro",
    "path",
    "der",
    "ma",
    "ti",
    "tis",
    "he",
    "pa",
    "to",
    "ren",
    "al",
    "os",
)
CHUNK = 50_000


def make_night(target: Path, rows: int, as_json: bool) -> None:
    """Rows with texts of realistic length: questions of 20 to 60 words of a large vocabulary; 2% are bad."""
    rng = np.random.default_rng(7)
    words = np.array(["".join(rng.choice(SYLLABLES, int(rng.integers(1, 4)))) for _ in range(20_000)])
    with pq.ParquetWriter(target / "part.parquet", SCHEMA) as writer:
        for first in range(0, rows, CHUNK):
            writer.write_table(_chunk(rng, words, first, min(CHUNK, rows - first)))
    if as_json:
        _as_json(target / "part.parquet")


def _chunk(rng: np.random.Generator, words: np.ndarray, first: int, n: int) -> pa.Table:
    start = datetime(NIGHT.year, NIGHT.month, NIGHT.day, tzinfo=UTC).timestamp()
    lengths = rng.integers(20, 60, n)
    drawn = np.split(rng.choice(words, int(lengths.sum())), np.cumsum(lengths)[:-1])
    questions = [" ".join(words_of_one) + "?" for words_of_one in drawn]
    turns = [
        [
            {"role": "system", "content": "Answer with the hospital department."},
            {"role": "user", "content": q},
        ]
        for q in questions
    ]
    rated = rng.random(n) < 0.3
    latency = rng.gamma(4, 40, n)
    latency[rng.random(n) < 0.02] = -1.0
    tenant = rng.integers(0, 40, n)
    completion = [" ".join(words_of_one[:8]) for words_of_one in drawn]
    people = rng.integers(0, 1_000, n)
    times = ((start + rng.uniform(0, 86_399, n)) * 1e6).astype(np.int64)
    columns = {
        "request_id": [f"{first + i:08x}-{int(x):012x}" for i, x in enumerate(rng.integers(0, 2**47, n))],
        "ts": pa.array(times, pa.timestamp("us", "UTC")),
        "tenant": [f"tenant-{t:02d}" for t in tenant],
        "subject_id": [f"person-{t:02d}-{p:05d}" for t, p in zip(tenant, people, strict=True)],
        "messages": pa.array(turns, MESSAGES),
        "completion": completion,
        "adapter": ["base"] * n,
        "route": ["production"] * n,
        "rating": [int(r) if known else None for r, known in zip(rng.choice((-1, 1), n), rated, strict=True)],
        "correction": [text if known else None for text, known in zip(completion, rated, strict=True)],
        "locale": ["en-GB"] * n,
        "channel": ["web"] * n,
        "tokens_in": lengths * 2,
        "tokens_out": [12] * n,
        "latency_ms": latency,
        "opt_out": rng.random(n) < 0.01,
    }
    empty = dict.fromkeys(SCHEMA.names, [None] * n)
    return pa.table(
        {name: pa.array(values, SCHEMA.field(name).type) for name, values in (empty | columns).items()},
        SCHEMA,
    )


def _as_json(part: Path) -> None:
    with part.with_suffix(".jsonl").open("w", encoding="utf-8") as lines:
        for batch in pq.ParquetFile(part).iter_batches(CHUNK):
            lines.writelines(
                json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in batch.to_pylist()
            )
    part.unlink()


def measure(step: str, home: Path) -> tuple[float, float]:
    """Seconds of a step's process, imports included, and its peak memory in MiB."""
    command = [sys.executable, "-m", "pipelines", step, "--run-dir", f"{home}/runs/{NIGHT}"]
    command += [
        "--config",
        str(ROOT / "config" / "demo.toml"),
        "--set",
        "ingest.kind=files",
        "--set",
        "ingest.source={home}/night/*",
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "NIGHTSHIFT_HOME": str(home)})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{step} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def seconds_of_counts(home: Path) -> float:
    """How long `decide` takes to count the night's feedback, the fastest of three."""
    lake, times = open_lake(load_config(ROOT / "config" / "demo.toml", home)), []
    for _ in range(3):
        started = time.monotonic()
        feedback_of(lake, [NIGHT], NIGHT)
        times.append(time.monotonic() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--format", choices=("parquet", "jsonl"), default="parquet")
    arguments = parser.parse_args()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="nightshift-million-"))
    (home / "night").mkdir(parents=True)
    make_night(home / "night", arguments.rows, arguments.format == "jsonl")
    size = sum(file.stat().st_size for file in (home / "night").iterdir()) / 2**20
    measured = {step: measure(step, home) for step in (*TARGETED, *AFTERWARDS)}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    print(f"\n{machine}, Python {platform.python_version()}")
    print(f"{arguments.rows:,} rows, {arguments.format}, {size:.0f} MiB. {TARGET}\n")
    print(f"{'step':<10}{'seconds':>9}{'peak MiB':>10}")
    for step, (seconds, peak) in measured.items():
        print(f"{step:<10}{seconds:>9.1f}{peak:>10.0f}")
    targeted = [measured[step] for step in TARGETED]
    both, most = sum(s for s, _ in targeted), max(p for _, p in targeted)
    print(f"\n{' and '.join(TARGETED)}: {both:.1f} s, {most:.0f} MiB")
    print(f"of decide, counting the feedback: {seconds_of_counts(home):.2f} s")
    if not arguments.home:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
