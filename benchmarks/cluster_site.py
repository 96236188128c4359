"""The cluster of `benchmarks.cluster`: PostgreSQL, Redis, Traefik and two gateways, all processes.

python -m benchmarks.cluster_site NAME PORT ENGINE    # one gateway; ENGINE is an address, or "stub"
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.servers import ROOT, free_port, process
from benchmarks.stub_engine import StubEngine
from gateway.__main__ import run
from gateway.dev_token import make_token, private_key
from gateway.engines.base import ServingEngine
from gateway.engines.openai import OpenAIEngine
from gateway.http.app import create_app
from gateway.logs import log_json
from pipelines.core.config import Config, load_config
from pipelines.operations.databases import STORES, upgrade
from tests.support.cluster import PROGRAMS, Server, running_postgres, running_redis

PROFILE = ROOT / "config" / "cluster.toml"
COMPOSE = ROOT / "deploy" / "compose"
NAMES = ("gateway-1", "gateway-2")


@dataclass
class Site:
    """What is running. `gateways` and their processes are in the order of NAMES."""

    folder: Path
    database: str
    gateways: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)

    def settings(self) -> dict[str, object]:
        """What a command or a gateway of this site sets beside the profile config/cluster.toml."""
        return settings_of(self.folder)

    def config(self, name: str = NAMES[0]) -> Config:
        return config_of(self.folder, name)

    def token(self) -> str:
        key = private_key(self.folder / "dev")
        return make_token(self.config(), key, "north-clinic", "model:*", 1, "bench", True)

    @contextmanager
    def traefik(self, servers: list[str]) -> Iterator[str]:
        """Traefik of docker-compose.yaml in front of two servers; yields its address."""
        port, health = free_port(), free_port()
        folder = self.folder / f"traefik-{port}"
        folder.mkdir()
        dynamic = (COMPOSE / "gateways.yml").read_text()
        for name, url in zip(NAMES, servers, strict=True):
            dynamic = dynamic.replace(f"http://{name}:8000", url)
        (folder / "gateways.yml").write_text(dynamic)
        static = (COMPOSE / "traefik.yml").read_text()
        static = static.replace(":8000", f"127.0.0.1:{port}").replace(":8082", f"127.0.0.1:{health}")
        static = re.sub(r"filename: .*", f"filename: {folder}/gateways.yml", static)
        (folder / "traefik.yml").write_text(static)
        server = Server([str(PROGRAMS / "traefik"), f"--configFile={folder}/traefik.yml"], folder, port)
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop(signal.SIGKILL)

    @contextmanager
    def running(self, engine: str) -> Iterator[Site]:
        """Both gateways, in front of an engine."""
        with ExitStack() as stack:
            self.gateways, self.pids = [], []
            for name in NAMES:
                port = free_port()
                command = [sys.executable, "-m", "benchmarks.cluster_site", name, str(port), engine]
                self.gateways.append(stack.enter_context(process(command, port)))
                self.pids.append(int((self.folder / name / "pid").read_text()))
            yield self


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """PostgreSQL, which waits for its disk, and Redis."""
    with running_postgres(fsync="on") as postgres, running_redis() as redis:
        os.environ["PGPASSFILE"] = str(postgres.passfile)
        database = postgres.create("nightshift")
        for store in STORES:
            upgrade(store, database)
        os.environ["BENCH_DATABASE"] = database
        os.environ["BENCH_REDIS"] = f"redis://127.0.0.1:{redis.port}/0"
        os.environ["BENCH_FOLDER"] = str(folder)
        private_key(folder / "dev")
        yield Site(folder, database)


def settings_of(folder: Path) -> dict[str, object]:
    database = os.environ["BENCH_DATABASE"]
    return {
        "ledger_url": database,
        "journal_url": database,
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "artifact_root": f"{folder}/artifacts",
        "keys": f"{folder}/keys",
        "model.base": f"{folder}/base",
        "gateway.redis_url": os.environ["BENCH_REDIS"],
        "gateway.redis_password_file": "",
        "gateway.jwks": f"{folder}/dev/jwks.json",
    }


def config_of(folder: Path, name: str, port: int = 0) -> Config:
    """A gateway's, as config/cluster.toml has it but for addresses and limits."""
    limits = {"requests_per_minute": 1_000_000, "tokens_per_day": 1_000_000_000}
    more = {"gateway.port": port, "gateway.limits": limits}
    return load_config(PROFILE, folder / name, settings_of(folder) | more)


def serve(folder: Path, name: str, port: int, engine: str) -> int:
    log_json()
    config = config_of(folder, name, port)
    Path(config.home).mkdir(exist_ok=True)
    (Path(config.home) / "pid").write_text(str(os.getpid()))
    serving = config.serving.model_copy(update={"url": engine, "served_base": "stub"})
    made: ServingEngine = StubEngine() if engine == "stub" else OpenAIEngine(serving)
    return run(create_app(config, made, lambda adapter: Path()), config.gateway)


def rollback(site: Site) -> subprocess.Popen[str]:
    """Start `nightshift rollout-rollback`."""
    words = [f"--set={name}={value}" for name, value in site.settings().items()]
    command = [sys.executable, "-m", "pipelines", "rollout-rollback", "--reason", "a benchmark"]
    command += ["--config", str(PROFILE), "--home", str(site.folder / "operator"), *words]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    sys.exit(serve(Path(os.environ["BENCH_FOLDER"]), sys.argv[1], int(sys.argv[2]), sys.argv[3]))
