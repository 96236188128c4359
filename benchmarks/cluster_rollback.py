"""How long two gateways go on answering with an adapter that is rolled back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import aiohttp

from benchmarks.cluster_site import Site, rollback
from pipelines.core.traffic_split import Adapter, Route
from pipelines.stores import open_ledger
from tests.support.rollouts import register

EVERY_S = 0.02  # between two questions to one gateway
Answer = tuple[float, str]  # when it came (time.time), and the adapter's version


def print_rollbacks(running: Site, rounds: int) -> None:
    """Roll back while users ask both gateways; then with the second gateway stopped (SIGSTOP)."""
    base = running.folder / "base"
    base.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (base / name).write_text("{}")
    (running.folder / "operator").mkdir()
    config = running.config("operator")
    good, bad = register(config, 1), register(config, 2)
    print("\nseconds from the rollback in the ledger to the last answer of what was rolled back")
    print(f"{'':<30}{'gateway-1':>10}{'gateway-2':>10}   the command took, of it until the ledger")
    with running.running("stub"):
        for is_paused in (False, True):
            for _ in range(rounds):
                asyncio.run(_round(running, good, bad, is_paused))
    print("* gateway-2: seconds from when it went on")


async def _round(running: Site, good: Adapter, bad: Adapter, is_paused: bool) -> None:
    ledger = open_ledger(running.config("operator"))
    for route in (Route(good), Route(bad, previous=good, has_previous=True)):
        moved = ledger.add_promotion(ledger.promotion(), "production", route, "a benchmark", "benchmark")
        await _are_live(running.gateways, moved.number)
    answers: list[list[Answer]] = [[], []]
    users = [
        asyncio.create_task(_ask(running, url, of)) for url, of in zip(running.gateways, answers, strict=True)
    ]
    await asyncio.sleep(1.0)
    if is_paused:
        os.kill(running.pids[1], signal.SIGSTOP)
    began, command = time.time(), rollback(running)
    said = (await asyncio.to_thread(command.communicate))[0]
    took = time.time() - began
    assert command.returncode == 0, said
    at = datetime.fromisoformat(ledger.promotion().at).timestamp()
    await asyncio.sleep(2.0)
    resumed = time.time()
    if is_paused:
        os.kill(running.pids[1], signal.SIGCONT)
    await asyncio.sleep(3.0)
    for user in users:
        user.cancel()
    await asyncio.wait(users)
    since = [at, resumed if is_paused else at]
    words = [_words(of, bad, good, start) for of, start in zip(answers, since, strict=True)]
    name = "gateway-2 stopped meanwhile *" if is_paused else "both run"
    print(f"{name:<30}{words[0]:>10}{words[1]:>10}   {took:.1f}, {at - began:.1f}", flush=True)


def _words(answers: Sequence[Answer], bad: Adapter, good: Adapter, since: float) -> str:
    assert answers[-1][1] == good.version, "the rollback did not reach a gateway"
    last = max(at for at, version in answers if version == bad.version)
    return f"{max(0.0, last - since):.2f}"


async def _ask(running: Site, url: str, answers: list[Answer]) -> None:
    headers = {"Authorization": f"Bearer {running.token()}"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        number = 0
        while True:
            number += 1
            message = {"role": "user", "content": f"case {time.time_ns()} {number}"}
            body = {"model": "department-router", "messages": [message], "max_tokens": 6}
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.post("/v1/chat/completions", json=body) as response:
                    said = await response.json()
                    if response.status == 200:
                        answers.append((time.time(), said["nightshift"]["adapter"]))
            await asyncio.sleep(EVERY_S)


async def _are_live(urls: Sequence[str], number: int) -> None:
    async with aiohttp.ClientSession() as session:
        for url in urls:
            while True:
                async with session.get(f"{url}/readyz") as response:
                    if (await response.json())["promotion"] == number:
                        break
                await asyncio.sleep(0.05)
