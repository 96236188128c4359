"""What two gateways of a cluster add to a call through Traefik, and how fast a rollback reaches both.

python -m benchmarks.cluster [--rate 100] [--seconds 30] [--rounds 3]

The profile is config/cluster.toml: journal and traffic split in PostgreSQL, limits and cache in Redis.
Traefik is set up as in docker-compose.yaml. Requests come at random times (Poisson), whether or not others
were answered. A latency counts from the moment at which the request was due. In turn, the same requests go
through Traefik straight to the engine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.cluster_rollback import print_rollbacks
from benchmarks.cluster_site import Site, site
from benchmarks.machine import describe, moment
from benchmarks.servers import free_port, process
from benchmarks.stub_engine import WORK_S
from tests.support.journal import rows_at

PERCENTILES = (50, 95, 99)
WARM_S = 5.0
TARGET = "target: p99 under 12 ms over the engine, a rollback on both gateways in under 5 s"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement (30)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind (3)")
    parser.add_argument("--only", choices=("latency", "rollback"), help="leave the other part out")
    args = parser.parse_args()
    print(f"{describe()}; {moment()}")
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder, site(Path(folder)) as running:
        if args.only != "rollback":
            _latency(running, args.rate, args.seconds, args.rounds)
        if args.only != "latency":
            print_rollbacks(running, args.rounds)
    print(TARGET)


def _latency(running: Site, rate: float, seconds: float, rounds: int) -> None:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.stub_engine", str(port)]
    with ExitStack() as stack:
        stub = stack.enter_context(process(command, port))
        stack.enter_context(running.running(stub))
        direct, through = (stack.enter_context(running.traefik(of)) for of in ([stub] * 2, running.gateways))
        print(f"\n{rate:.0f} requests/s for {seconds:.0f} s, engine works {WORK_S * 1000:.0f} ms; ms")
        print(f"{'':<22}" + "".join(f"{f'p{p}':>9}" for p in PERCENTILES) + f"{'max':>9}   load average")
        asked = 0
        for number in range(rounds):
            before = asyncio.run(_measure(direct, running.token(), rate, seconds, number))
            _print("Traefik, engine", before)
            after = asyncio.run(_measure(through, running.token(), rate, seconds, number))
            _print("Traefik, two gateways", after)
            over = [np.percentile(after, p) - np.percentile(before, p) for p in PERCENTILES]
            print(f"{'  the gateways add':<22}" + "".join(f"{one:>9.2f}" for one in over))
            asked += len(after)
    print(f"{asked} answers measured; {len(rows_at(running.database))} rows in PostgreSQL, warm-up included")


async def _measure(url: str, token: str, rate: float, seconds: float, seed: int) -> np.ndarray:
    """Milliseconds of each answer, from when it was due; after some that warm up and do not count."""
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        rng = np.random.default_rng(seed)
        await _open_loop(session, url, rng, rate, WARM_S)
        return await _open_loop(session, url, rng, rate, seconds)


async def _open_loop(
    session: aiohttp.ClientSession, url: str, rng: np.random.Generator, rate: float, seconds: float
) -> np.ndarray:
    loop = asyncio.get_running_loop()
    due = np.cumsum(rng.exponential(1 / rate, round(rate * seconds)))
    start = loop.time()

    async def ask(at: float) -> float:
        message = {"role": "user", "content": f"Which department treats case {rng.integers(2**62)}?"}
        body = {"model": "department-router", "messages": [message], "max_tokens": 6, "user": f"p-{at}"}
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            text = await response.text()
            assert response.status == 200, text
        return (loop.time() - start - at) * 1000

    tasks = []
    for at in map(float, due):
        await asyncio.sleep(max(0.0, start + at - loop.time()))
        tasks.append(asyncio.create_task(ask(at)))
    return np.array(await asyncio.gather(*tasks))


def _print(name: str, values: np.ndarray) -> None:
    found = "".join(f"{np.percentile(values, p):>9.2f}" for p in PERCENTILES)
    print(f"{name:<22}{found}{values.max():>9.2f}   {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
