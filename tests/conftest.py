"""Fixtures that every test may use. No test reaches outside this machine."""

import os
import secrets
from contextlib import suppress

import pytest

from tests.support import cluster

with suppress(ImportError):  # the control environment has none
    # Before Feast, which at its import lets all metrics of a process count in shared files.
    import prometheus_client  # noqa: F401

    # No property test has a deadline, whether it names its number of examples or not.
    from tests.support import fuzz  # noqa: F401

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in pipelines.__main__

# Files that take minutes. They begin first, so that no core waits for one of them at the end.
LONG = ("test_hands_free.py", "test_kill.py", "test_airflow_pod_night.py", "test_airflow_night.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture
def home(tmp_path):
    """An empty state folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def postgres_server():
    """A real PostgreSQL server of this test process."""
    with cluster.running_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server, monkeypatch):
    """The server, with its password where libpq looks for it."""
    monkeypatch.setenv("PGPASSFILE", str(postgres_server.passfile))
    return postgres_server


@pytest.fixture
def empty_database(postgres):
    """The URL of an empty PostgreSQL database."""
    return postgres.create(f"test_{secrets.token_hex(4)}")


@pytest.fixture
def database(empty_database):
    """The URL of a PostgreSQL database with the tables of ledger and journal."""
    from pipelines.operations.databases import STORES, upgrade

    for store in STORES:
        upgrade(store, empty_database)
    return empty_database


@pytest.fixture(scope="session")
def redis_server():
    """A real Redis of this test process. Tests that stop it start it again."""
    with cluster.running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def object_store_server():
    """A real S3-compatible store of this test process."""
    with cluster.running_object_store() as store:
        yield store


@pytest.fixture
def bucket(object_store_server, monkeypatch):
    """The URI of an empty bucket, with access to it in the environment."""
    import s3fs

    for name, value in object_store_server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"test-{secrets.token_hex(4)}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
