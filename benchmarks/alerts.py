"""Ten thousand alerts at once: `python -m benchmarks.alerts [DELIVERIES]`.

A real server in a process of its own, over a ledger on this disk; 32 clients post as fast as it answers.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import uvicorn

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.endpoint.app import create_app  # noqa: E402
from nightshift.endpoint.senders import create_secrets  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from benchmarks.machine import describe  # noqa: E402
from pipelines.core.alerts import Cause  # noqa: E402
from pipelines.core.config import load_config  # noqa: E402
from pipelines.operations.dispatch_alerts import dispatch, read_state  # noqa: E402
from pipelines.stores import open_ledger  # noqa: E402

CLIENTS = 32


def settings_of(home: Path) -> Settings:
    profile = home / "profile.toml"
    profile.write_text('profile = "bench"\n')
    return Settings(home, profile, Path(sys.executable), load_config(profile, home))


def serve(home: Path, port: int) -> None:
    uvicorn.run(create_app(settings_of(home)), host="127.0.0.1", port=port, log_level="error")


async def post_all(url: str, token: str, number: int) -> tuple[Counter[int], list[float]]:
    """How many answers had each status, and the seconds to each answer."""
    left, statuses, seconds = iter(range(number)), Counter[int](), []
    # A data fault would hold every training.
    causes = [cause for cause in Cause if cause is not Cause.DATA_FAULT]

    async def client(http: httpx.AsyncClient) -> None:
        for index in left:
            alert = {
                "name": f"A{index % 50}",
                "cause": causes[index % len(causes)],
                "labels": {"n": str(index)},
            }
            began = time.perf_counter()
            answer = await http.post(url, json={"alerts": [alert]})
            seconds.append(time.perf_counter() - began)
            statuses[answer.status_code] += 1

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        while True:
            try:
                await http.get(url)
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return statuses, seconds


def main(number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        home = Path(folder)
        settings = settings_of(home)
        create_secrets(settings)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(home, port), daemon=True)
        server.start()
        token = (home / "alerts" / "token").read_text()
        began = time.perf_counter()
        statuses, seconds = asyncio.run(post_all(f"http://127.0.0.1:{port}/json", token, number))
        accepting = time.perf_counter() - began
        server.terminate()
        server.join()
        began = time.perf_counter()
        rulings, result = dispatch(settings.config)
        dispatching = time.perf_counter() - began
        began = time.perf_counter()
        links = open_ledger(settings.config).verify()
        verifying = time.perf_counter() - began
        left = read_state(settings.config, open_ledger(settings.config), rulings[0].at).unruled
    seconds.sort()
    median, p99 = (1000 * seconds[int(number * share)] for share in (0.5, 0.99))
    rate = statuses[200] / accepting
    print(describe())
    print(
        f"accepted   {statuses[200]} of {number} in {accepting:.1f} s: {rate:.0f} a second, {CLIENTS} clients"
    )
    print(f"answer     median {median:.0f} ms, p99 {p99:.0f} ms")
    print(f"dispatch   {dispatching:.2f} s: {len(rulings)} rulings, {len(left)} deliveries without one")
    runs = Counter(run.dag_run_id.split("__")[1] for run in result.start)
    print(f"runs       {dict(runs)}")
    print(f"verifying  {verifying:.1f} s for {links} links")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
