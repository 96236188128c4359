"""Half an hour of mixed load and faults for two gateways. Prints wrong answers, losses and memory growth.

    .venv/bin/python -m benchmarks.soak [--home .nightshift] [--minutes 30] [--fault-every 30]

`behind HTTP` has a server whose answers identify their conversation (echo_engine.py). `embedded` has the real
model with a registered adapter, and must answer as evaluation does. Needs such an adapter (`make nightly`)
and Debian's redis-server; without it the fault `Redis gone` is left out. The faults take turns: the engine is
killed (for `embedded` the whole gateway, by kill -9), Redis is gone, ledger and journal are locked, clients
are slow, bodies are too large, the route moves. Exit status 1 if an answer was wrong or feedback was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.servers import free_port
from benchmarks.soak_servers import Embedded, Remote, Site, redis_server
from benchmarks.soak_users import Users


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--home", default=os.environ.get("NIGHTSHIFT_HOME", ".nightshift"))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--fault-every", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument(
        "--rates", type=float, nargs=2, default=(40.0, 2.0), help="behind HTTP, embedded (40 2)"
    )
    args = parser.parse_args()
    print(
        f"{describe()}; {args.minutes:.0f} minutes, a fault every {args.fault_every:.0f} s each", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="nightshift-soak-") as folder:
        return asyncio.run(_soak(Path(folder), args))


async def _soak(folder: Path, args: argparse.Namespace) -> int:
    redis = redis_server(free_port())
    sites: list[Site] = [
        Remote(folder / "remote", free_port(), redis),
        Embedded(folder / "embedded", free_port(), Path(args.home).resolve()),
    ]
    users = [Users(site) for site in sites]
    try:
        for site in sites:
            await asyncio.to_thread(site.start)
        end = time.monotonic() + 60 * args.minutes
        work = [one.ask(rate, end) for one, rate in zip(users, args.rates, strict=True)]
        faults = [_faults(site, one, end, args.fault_every) for site, one in zip(sites, users, strict=True)]
        await asyncio.gather(*work, *faults, *(_watch(site, end) for site in sites))
    finally:
        for site in sites:
            site.stop()
    print(f"\n{'':<28}" + "".join(f"{site.name:>16}" for site in sites))
    reports = [one.report() for one in users]
    for name in reports[0]:
        print(f"{name:<28}" + "".join(f"{report[name]:>16}" for report in reports))
    return int(any(one.wrong or one.lost for one in users))


async def _faults(site: Site, users: Users, end: float, every_s: float) -> None:
    """All faults in turn, again and again, one every `every_s` seconds."""
    begun, turn = time.monotonic(), 0
    faults = [*site.faults(), ("slow clients", users.slow_clients), ("bodies too large", users.too_large)]
    while time.monotonic() + every_s < end:
        await asyncio.sleep(every_s)
        name, fault = faults[turn % len(faults)]
        print(f"{time.monotonic() - begun:>6.0f} s  {site.name:<12} {name}", flush=True)
        await fault()
        turn += 1


async def _watch(site: Site, end: float) -> None:
    while time.monotonic() < end:
        await asyncio.sleep(10)
        site.weigh()


if __name__ == "__main__":
    sys.exit(main())
