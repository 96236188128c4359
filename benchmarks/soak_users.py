"""The users of `benchmarks.soak`: what they ask, and whether answers are right and feedback is kept."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import aiohttp

from benchmarks.echo_engine import digest
from benchmarks.soak_servers import Embedded, Site
from tests.support.journal import journal_rows

TENANTS = ("north-clinic", "south-clinic", "east-clinic")
MODEL = "department-router"
EXPECTED = {200, 429, 502, 503, 504}  # a fault may be seen; a wrong answer may not


class Users:
    """Users of three tenants. Of free text answers, every tenth is streamed and left in the middle."""

    def __init__(self, site: Site) -> None:
        self.site, self._dice = site, random.Random(1)
        self._headers = {tenant: {"Authorization": f"Bearer {site.token(tenant)}"} for tenant in TENANTS}
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self._answered: dict[str, tuple[str, str]] = {}  # request -> tenant, text
        self._said: dict[str, tuple[int, str]] = {}  # request -> rating, correction that were acknowledged
        self._seen: dict[str, str] = {}  # a number of the engine's -> the tenant that saw it
        self._latencies_ms: list[float] = []

    async def ask(self, rate: float, end: float) -> None:
        """Send requests at a fixed rate, however slow the answers are."""
        begun, tasks = time.monotonic(), set[asyncio.Task[None]]()
        connector = aiohttp.TCPConnector(limit=0)
        patience = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(
            self.site.url, connector=connector, timeout=patience
        ) as self.session:
            number = 0
            while time.monotonic() < end:
                task = asyncio.create_task(self._one(number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _one(self, number: int) -> None:
        tenant = self._dice.choice(TENANTS)
        self.counts["requests"] += 1
        try:
            request_id = await (self._predict if isinstance(self.site, Embedded) else self._chat)(
                tenant, number
            )
        except (aiohttp.ClientError, TimeoutError):
            self.counts["connection lost"] += 1
            return
        if request_id and self._dice.random() < 0.7:
            await self._rate(tenant, request_id, number)
            if self._dice.random() < 0.05:
                await self._rate_anothers(tenant, request_id)

    async def _predict(self, tenant: str, number: int) -> str | None:
        assert isinstance(self.site, Embedded)
        question = self._dice.choice(self.site.questions)
        answer = await self._post("/predict", tenant, {"text": question, "user": f"p-{number % 50}"})
        if answer is None:
            return None
        if answer["label"] != self.site.expected[answer["adapter"], question]:
            self.wrong.append(f"{answer['label']} from {answer['adapter']} for {question[:60]}")
        self._answered[answer["request_id"]] = (tenant, answer["label"])
        return answer["request_id"]

    async def _chat(self, tenant: str, number: int) -> str | None:
        """Every tenant repeats the same hundred questions, so that the cache is used."""
        messages = [{"role": "user", "content": f"question {self._dice.randrange(100)}"}]
        if self._dice.random() < 0.5:
            messages[0]["content"] += f" of {tenant} number {number}"
        body = {"model": MODEL, "messages": messages, "user": f"p-{number % 500}", "temperature": 0}
        if self._dice.random() < 0.1:
            await self._break_off(tenant, {**body, "stream": True})
            return None
        answer = await self._post("/v1/chat/completions", tenant, body)
        if answer is None:
            return None
        text = answer["choices"][0]["message"]["content"]
        said, engines_number, end = text.split(" ")
        if said != digest(messages) or end != "end":
            self.wrong.append(f"{text!r} for {messages}")
        if self._seen.setdefault(engines_number, tenant) != tenant:
            self.wrong.append(f"{tenant} sees {self._seen[engines_number]}'s answer {engines_number}")
        self.counts["from the cache"] += answer["nightshift"]["cached"]
        self._answered[answer["id"]] = (tenant, text)
        return answer["id"]

    async def _post(self, path: str, tenant: str, body: dict[str, Any]) -> dict[str, Any] | None:
        started = time.perf_counter()
        async with self.session.post(path, json=body, headers=self._headers[tenant]) as response:
            text = await response.text()
            self.counts[f"status {response.status}"] += 1
            if response.status not in EXPECTED:
                self.wrong.append(f"status {response.status}: {text[:200]}")
            if response.status != 200:
                return None
            self._latencies_ms.append((time.perf_counter() - started) * 1000)
            found: dict[str, Any] = await response.json()
            return found

    async def _break_off(self, tenant: str, body: dict[str, Any]) -> None:
        async with self.session.post(
            "/v1/chat/completions", json=body, headers=self._headers[tenant]
        ) as response:
            await response.content.readline()
            self.counts["broken off by the user"] += 1
            response.close()

    async def _rate(self, tenant: str, request_id: str, number: int) -> None:
        """Send feedback until it is acknowledged, as a client does. Then it must be in the journal."""
        body = {
            "request_id": request_id,
            "rating": self._dice.choice((-1, 1)),
            "correction": f"answer {number}",
        }
        for _ in range(60):
            try:
                async with self.session.post(
                    "/v1/feedback", json=body, headers=self._headers[tenant]
                ) as response:
                    if response.status == 200:
                        self._said[request_id] = (body["rating"], body["correction"])
                        self.counts["feedback acknowledged"] += 1
                        return
                    self.counts[f"feedback status {response.status}"] += 1
                    if response.status == 404:  # its row was in memory when the gateway was killed
                        return
            except (aiohttp.ClientError, TimeoutError):
                self.counts["feedback connection lost"] += 1
            await asyncio.sleep(1)
        self.counts["feedback given up"] += 1

    async def _rate_anothers(self, tenant: str, request_id: str) -> None:
        other = next(name for name in TENANTS if name != tenant)
        body = {"request_id": request_id, "rating": -1, "correction": "a stranger's"}
        async with self.session.post("/v1/feedback", json=body, headers=self._headers[other]) as response:
            if response.status == 200:
                self.wrong.append(f"{other} rated {tenant}'s answer {request_id}")
            self.counts["strangers refused"] += response.status == 404

    async def slow_clients(self) -> None:
        """Twenty clients that send one byte per second. The gateway cuts them off."""
        host, port = "127.0.0.1", self.site.port
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 200\r\n"
            f"Authorization: {self._headers[TENANTS[0]]['Authorization']}\r\n\r\n"
        )

        async def one() -> None:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(head.encode())
            answer = asyncio.create_task(reader.readline())
            for _ in range(30):
                writer.write(b" ")
                await asyncio.wait([answer], timeout=1)
                if answer.done():
                    break
            self.counts["slow clients cut off"] += answer.done() and b"408" in answer.result()
            answer.cancel()
            writer.close()

        await asyncio.gather(*(one() for _ in range(20)), return_exceptions=True)

    async def too_large(self) -> None:
        """Fifty bodies of one megabyte. The gateway refuses them while it reads."""
        for _ in range(50):
            try:
                post = self.session.post("/predict", data=b"x" * 2**20, headers=self._headers[TENANTS[0]])
                async with post as response:
                    self.counts["large bodies refused"] += response.status == 413
            except aiohttp.ClientError:
                self.counts["large bodies refused"] += 1  # closed while we still wrote

    def report(self) -> dict[str, str]:
        """Compare the journal with what was answered and acknowledged."""
        rows = {row["request_id"]: row for row in journal_rows(self.site.home)}
        for request_id, said in self._said.items():
            row = rows.get(request_id)
            if row is None or (row["rating"], row["correction"]) != said:
                self.lost.append(request_id)
        missing = [name for name in self._answered if name not in rows]
        for name, (tenant, text) in self._answered.items():
            if name in rows and (rows[name]["tenant"], rows[name]["completion"]) != (tenant, text):
                self.wrong.append(f"the journal has another row for {name}")
        for problem in self.wrong[:10]:
            print(f"WRONG  {problem}")
        return {
            "requests": str(self.counts["requests"]),
            "answered": str(len(self._answered)),
            "p50, p99 ms": self._percentiles(),
            **{
                name: str(self.counts[name])
                for name in (
                    "from the cache",
                    "status 429",
                    "status 502",
                    "status 503",
                    "status 504",
                    "connection lost",
                    "broken off by the user",
                    "slow clients cut off",
                    "large bodies refused",
                    "strangers refused",
                    "feedback acknowledged",
                    "feedback given up",
                )
            },
            "wrong": str(len(self.wrong)),
            "feedback lost": str(len(self.lost)),
            "answers without a row": str(len(missing)),
            "memory MiB": self._memory(),
        }

    def _percentiles(self) -> str:
        ordered = sorted(self._latencies_ms)
        return f"{ordered[len(ordered) // 2]:.0f}, {ordered[len(ordered) * 99 // 100]:.0f}"

    def _memory(self) -> str:
        """Mean memory in the second tenth of the time, when the gateway is warm, and in the last tenth."""
        weights = self.site.weights_mib
        tenth = max(1, len(weights) // 10)
        early, late = weights[tenth : 2 * tenth], weights[-tenth:]
        return f"{sum(early) / len(early):.0f} to {sum(late) / len(late):.0f}"
