"""Seconds from a move in the ledger until answers follow it, with the real model under load.

    .venv/bin/python -m benchmarks.moves [--home .nightshift] [--rounds 5] [--rate 5]

Needs a registered adapter (`make nightly`). Goal: live in under 1 s once loaded, a rollback in under 5 s,
no request dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks.machine import describe
from benchmarks.servers import free_port
from benchmarks.soak_servers import ONE, TWO, Embedded
from pipelines.core.traffic_split import Route
from pipelines.stores import open_ledger

LOADED = Route(ONE, previous=None, has_previous=True)
MOVES = (
    ("canary, loaded and warmed", Route(ONE, canary=TWO, canary_weight=0.25), None),
    ("canary to production", Route(TWO, previous=ONE, has_previous=True), TWO.version),
    ("rollback", LOADED, ONE.version),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moves", description=__doc__)
    parser.add_argument("--home", default=os.environ.get("NIGHTSHIFT_HOME", ".nightshift"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second meanwhile (5)")
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="nightshift-moves-") as folder:
        site = Embedded(Path(folder), free_port(), Path(args.home).resolve())
        site.start()
        try:
            asyncio.run(_measure(site, args.rounds, args.rate))
        finally:
            site.stop()


async def _measure(site: Embedded, rounds: int, rate: float) -> None:
    headers = {"Authorization": f"Bearer {site.token('north-clinic')}"}
    statuses: dict[int, int] = defaultdict(int)
    seconds: dict[str, list[float]] = defaultdict(list)
    async with aiohttp.ClientSession(site.url, headers=headers) as session:
        await _move(site, session, LOADED, None)
        users = asyncio.create_task(_users(site, session, rate, statuses))
        for _ in range(rounds):
            for name, route, answers in MOVES:
                seconds[name].append(await _move(site, session, route, answers))
                await asyncio.sleep(3)
        users.cancel()
        await asyncio.wait([users])
    print("\n| move | median s | worst s |\n|---|---:|---:|")
    for name, of in seconds.items():
        print(f"| {name} | {median(of):.2f} | {max(of):.2f} |")
    print(f"\n{sum(statuses.values())} requests meanwhile, {statuses[200]} answered")


async def _move(site: Embedded, session: aiohttp.ClientSession, route: Route, answers: str | None) -> float:
    """Seconds from the append until the route is live and, if `answers` names an adapter, it has answered."""
    ledger = open_ledger(site.config)
    started = time.monotonic()
    moved = await asyncio.to_thread(
        ledger.add_promotion, ledger.promotion(), "move", route, "a benchmark", "benchmark"
    )
    while await _live(session) != moved.number:
        await asyncio.sleep(0.01)
    if answers:
        body = {"text": site.questions[0], "user": "p-1"}
        async with session.post("/predict", json=body) as response:
            assert (await response.json())["adapter"] == answers
    return time.monotonic() - started


async def _live(session: aiohttp.ClientSession) -> int | None:
    async with session.get("/readyz") as response:
        live: int | None = (await response.json())["promotion"]
        return live


async def _users(
    site: Embedded, session: aiohttp.ClientSession, rate: float, statuses: dict[int, int]
) -> None:
    """Send requests at a fixed rate and count the statuses. When cancelled, wait for the last answers."""

    async def one(number: int) -> None:
        body = {"text": site.questions[number % len(site.questions)], "user": f"p-{number % 50}"}
        async with session.post("/predict", json=body) as response:
            await response.read()
            statuses[response.status] += 1

    tasks = []
    try:
        for number in range(sys.maxsize):
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(1 / rate)
    finally:
        await asyncio.gather(*tasks)


if __name__ == "__main__":
    main()
