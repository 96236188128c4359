"""A real gateway (uvicorn, JWTs, SQLite) in a thread of the test, and clients for it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from opentelemetry import trace

from gateway.__main__ import server_config
from gateway.dev_token import make_token, private_key
from gateway.engines.base import ServingEngine
from gateway.http.app import create_app
from pipelines.core.config import Config
from pipelines.core.probes import ProbeSet
from pipelines.core.traffic_split import Adapter, Route
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Ledger
from tests.support.configs import make_config

NO_TRACER = trace.NoOpTracer()
MODEL = "department-router"
ONE, TWO, THREE = (Adapter(str(i), f"digest-{i}") for i in (1, 2, 3))


def gateway_config(home: Path, **settings: Any) -> Config:
    """A gateway that is quick and never out of quota. `settings` are keys of [gateway], or dotted."""
    limits = {"requests_per_minute": 1_000_000, "tokens_per_day": 100_000_000}
    quick = {"port": 0, "poll_s": 0.02, "journal_commit_ms": 5, "limits": limits}
    return make_config(home, "gateway", **(quick | settings))


@dataclass
class Running:
    """A gateway that answers at `url`."""

    config: Config
    url: str
    app: Any

    def token(self, tenant: str = "north-clinic", scope: str = "model:* feedback", **claims: Any) -> str:
        """Of a client that may state its users, unless `claims` say otherwise."""
        key = private_key(Path(self.config.home) / "gateway" / "dev")
        return make_token(self.config, key, tenant, scope, hours=1, **{"states_users": True} | claims)

    def client(
        self, tenant: str = "north-clinic", scope: str = "model:* feedback", **claims: Any
    ) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(tenant, scope, **claims)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.config)

    def promote(self, route: Route, move: str = "test") -> None:
        """Move the route table and wait until it is live."""
        moved = self.ledger.add_promotion(self.ledger.promotion(), move, route, "a test", "pytest")
        until(lambda: self.ready()["promotion"] == moved.number)

    def ready(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/readyz", trust_env=False).json()

    def metric(self, sample: str) -> float:
        """The value of one line of /metrics, such as `name_total{a="b"}`; 0 where there is none."""
        lines = httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
        prefix = f"nightshift_gateway_{sample} "
        return next((float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)), 0.0)


@contextmanager
def gateway(
    config: Config,
    engine: ServingEngine,
    fetch: Callable[[Adapter], Path] = lambda adapter: Path(),
    tracer: trace.Tracer = NO_TRACER,
    wait_ready: bool = True,
    probes_of: Callable[[Adapter], ProbeSet | None] | None = None,
) -> Iterator[Running]:
    """Serve until the block ends, then stop as after SIGTERM: drain, write the journal, close the engine."""
    private_key(Path(config.home) / "gateway" / "dev")
    app = create_app(config, engine, fetch, tracer, probes_of)
    uvicorns = server_config(app, config.gateway)
    uvicorns.port, uvicorns.timeout_graceful_shutdown = config.gateway.port, 5
    server = uvicorn.Server(uvicorns)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), 30)
        port = server.servers[0].sockets[0].getsockname()[1]
        running = Running(config, f"http://127.0.0.1:{port}", app)
        if wait_ready:
            until(lambda: running.ready()["ready"])
        yield running
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def process(home: Path, **settings: Any) -> Iterator[tuple[subprocess.Popen[str], Running]]:
    """A gateway in a process of its own; it is killed when the block ends. See `gateway_process`."""
    private_key(home / "gateway" / "dev")
    command = [sys.executable, "-m", "tests.support.gateway_process", str(home), json.dumps(settings)]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stderr
        lines = (json.loads(line) for line in started.stderr)
        url = next(line["message"] for line in lines if "listening on" in line["message"]).split()[-1]
        threading.Thread(target=started.stderr.read, daemon=True).start()
        running = Running(gateway_config(home), url, None)
        until(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200, 60)
        yield started, running
    finally:
        started.kill()
        started.wait()


def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until `holds` returns something true. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.01)


def chat(text: str, **fields: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


def events(text: str) -> list[dict[str, Any] | str]:
    """The server-sent events of a body."""
    found = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in found]


def try_to_promote(running: Running, route: Route) -> dict[str, Any]:
    """Write the move, and wait until it is live or the gateway says why it is not."""
    moved = running.ledger.add_promotion(running.ledger.promotion(), "test", route, "a test", "pytest")

    def is_settled() -> bool:
        ready = running.ready()
        loads = "are being loaded" in ready["problem"]
        return bool(ready["promotion"] == moved.number or (ready["problem"] and not loads))

    until(is_settled, 120)
    return running.ready()
