"""The gateways of `benchmarks.soak`, the servers behind them, and the faults that hit them.

python -m benchmarks.soak_servers remote|embedded HOME PORT ENGINE
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import psutil

from benchmarks.servers import free_port, ready
from gateway.__main__ import run
from gateway.dev_token import make_token, private_key
from gateway.engines.base import ServingEngine
from gateway.engines.openai import OpenAIEngine
from gateway.http.app import create_app
from gateway.logs import log_json
from pipelines.core.config import Config, load_config
from pipelines.core.traffic_split import Adapter, Route
from pipelines.models import open_registry
from pipelines.models.engine import Engine as Evaluation
from pipelines.sample.questions import questions
from pipelines.stores import open_ledger
from pipelines.stores.journal.tables import journal_path

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "config" / "demo.toml"
ONE, TWO = Adapter("1", "a" * 64), Adapter("2", "b" * 64)
ROUTES = (
    Route(ONE, TWO, 0.25),
    Route(ONE),
    Route(ONE, shadow=TWO),
    Route(TWO, previous=ONE, has_previous=True),
)
Fault = tuple[str, Callable[[], Awaitable[None]]]


class Site:
    """A gateway as a process of its own. `weights_mib` is its private memory, taken every ten seconds."""

    name, engine, down_s = "", "", 5.0

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port, self.url = home, port, f"http://127.0.0.1:{port}"
        self.config = config_of(self.engine, home, port)
        self.weights_mib: list[float] = []
        self.gateway: subprocess.Popen[bytes]
        self._route = 0

    def start(self) -> None:
        private_key(self.home / "gateway" / "dev")
        self.move_now()
        self.start_gateway(self.engine_at())

    def start_gateway(self, engine: str) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.soak_servers",
            self.engine,
            str(self.home),
            str(self.port),
        ]
        with (self.home / "gateway.log").open("ab") as log:
            self.gateway = subprocess.Popen([*command, engine], cwd=ROOT, stdout=log, stderr=log)
        asyncio.run(ready(self.url, self.gateway))

    def stop(self) -> None:
        self.gateway.send_signal(signal.SIGTERM)
        self.gateway.wait(60)

    def token(self, tenant: str) -> str:
        return make_token(
            self.config,
            private_key(self.home / "gateway" / "dev"),
            tenant,
            "model:* feedback",
            2,
            "soak",
            True,
        )

    def weigh(self) -> None:
        try:
            self.weights_mib.append(psutil.Process(self.gateway.pid).memory_full_info().uss / 2**20)
        except psutil.Error:
            return  # killed just now

    def move_now(self) -> None:
        ledger = open_ledger(self.config)
        self._route = (self._route + 1) % len(ROUTES)
        ledger.add_promotion(ledger.promotion(), "soak", ROUTES[self._route], "the soak moves it", "soak")

    async def move(self) -> None:
        await asyncio.to_thread(self.move_now)

    async def lock(self) -> None:
        """Another process locks the ledger and the journal."""
        with (
            closing(sqlite3.connect(self.home / "ledger.db")) as one,
            closing(sqlite3.connect(journal_path(self.home))) as two,
        ):
            for connection in (one, two):
                connection.execute("PRAGMA busy_timeout = 5000")
                connection.execute("BEGIN EXCLUSIVE")
            await asyncio.sleep(self.down_s + 3)

    def faults(self) -> list[Fault]:
        return [("the route moves", self.move), ("ledger and journal locked", self.lock)]

    def engine_at(self) -> str:
        raise NotImplementedError


class Remote(Site):
    """The gateway over the echo server, with Redis as its cache."""

    name, engine = "behind HTTP", "remote"

    def __init__(self, home: Path, port: int, redis: Redis | None) -> None:
        os.environ["SOAK_REDIS"] = redis.url if redis else ""
        super().__init__(home, port)
        self.redis, self._engine_port = redis, free_port()
        self._start_engine()

    def _start_engine(self) -> None:
        command = [sys.executable, "-m", "benchmarks.echo_engine", str(self._engine_port)]
        self._process = subprocess.Popen(command, cwd=ROOT)

    def engine_at(self) -> str:
        return f"http://127.0.0.1:{self._engine_port}"

    def stop(self) -> None:
        super().stop()
        self._process.kill()
        self._process.wait()
        if self.redis:
            self.redis.stop()

    async def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        await asyncio.sleep(self.down_s)
        self._start_engine()

    async def no_redis(self) -> None:
        assert self.redis
        self.redis.stop()
        await asyncio.sleep(self.down_s)
        self.redis.start()

    def faults(self) -> list[Fault]:
        redis: list[Fault] = [("Redis gone", self.no_redis)] if self.redis else []
        return [("engine killed", self.kill), *redis, *super().faults()]


class Embedded(Site):
    """The gateway with the model in its process. `expected`: evaluation's answer by (adapter, question)."""

    name, engine = "embedded", "embedded"

    def __init__(self, home: Path, port: int, source: Path) -> None:
        os.environ["SOAK_SOURCE"] = str(source)
        super().__init__(home, port)
        registry = open_registry(self.config)
        self._adapter = registry.fetch(registry.versions()[0].version)
        self.questions = [of[0] for of in questions(self.config.task.labels).values()][:20]
        self.expected = self._evaluated()

    def _evaluated(self) -> dict[tuple[str, str], str]:
        config, labels = self.config, self.config.task.labels
        system = {"role": "system", "content": config.task.system_prompt}
        asked = [[system, {"role": "user", "content": question}] for question in self.questions]
        engine = Evaluation(config.model, config.path(config.model.base))
        bare = dict(zip(self.questions, engine.choose(asked, labels), strict=True))
        engine.load("adapter", self._adapter)
        tuned = dict(zip(self.questions, engine.choose(asked, labels), strict=True))
        adapters = {ONE.version: tuned, TWO.version: tuned, "base": bare}
        return {(name, question): label for name, of in adapters.items() for question, label in of.items()}

    def engine_at(self) -> str:
        return str(self._adapter)

    async def kill(self) -> None:
        self.gateway.kill()
        self.gateway.wait()
        await asyncio.to_thread(self.start_gateway, self.engine_at())

    def faults(self) -> list[Fault]:
        return [*super().faults(), ("kill -9 of the gateway", self.kill)]


class Redis:
    """Debian's redis-server, without a file on disk."""

    def __init__(self, command: str, port: int) -> None:
        quiet = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"]
        self._command, self.url = [command, "--port", str(port), *quiet], f"redis://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def redis_server(port: int) -> Redis | None:
    command = shutil.which("redis-server")
    if command is None:
        print("Debian's redis-server is not installed: the fault `Redis gone` is left out.")
    return Redis(command, port) if command else None


def config_of(engine: str, home: Path, port: int) -> Config:
    home.mkdir(parents=True, exist_ok=True)
    overrides: dict[str, object] = {
        "gateway.port": port,
        "gateway.limits": {"requests_per_minute": 1_000_000, "tokens_per_day": 1_000_000_000},
        "gateway.breaker_reset_s": 1.0,
        "gateway.client_timeout_s": 5.0,
        "gateway.journal_days": 1,
    }
    if engine == "remote":
        overrides["gateway.redis_url"] = os.environ["SOAK_REDIS"]
    else:
        source = load_config(DEMO, Path(os.environ["SOAK_SOURCE"]))
        overrides |= {"model.base": source.path(source.model.base), "gateway.cache_entries": 0}
        overrides["tracking_uri"] = source.path(source.tracking_uri)
    return load_config(DEMO, home, overrides)


def _serve(kind: str, home: Path, port: int, engine: str) -> int:
    log_json()
    config = config_of(kind, home, port)
    if kind == "remote":
        serving = config.serving.model_copy(update={"url": engine, "served_base": "base"})
        made: ServingEngine = OpenAIEngine(serving)
    else:
        from gateway.engines.embedded import EmbeddedEngine

        made = EmbeddedEngine(config.serving, config.model, config.path(config.model.base))
    return run(create_app(config, made, lambda adapter: Path(engine)), config.gateway)


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
