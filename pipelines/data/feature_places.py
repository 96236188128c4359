"""Where a feature store lies, what Feast is told of it, and what is said when a part of it is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import feast
import ibis
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
from feast.infra.registry.sql import SqlRegistryConfig
from feast.repo_config import RepoConfig
from redis.exceptions import RedisError

from pipelines.core.config import Config
from pipelines.data import features_uri
from pipelines.data.online_redis import UrlRedisOnlineStoreConfig
from pipelines.stores.blobs import Folder
from pipelines.stores.object_store import told
from pipelines.stores.redis_server import redis_fault
from pipelines.stores.sql.database import CONNECT_TIMEOUT_S, KEEPALIVE, POSTGRES, dialect, patiently

T = TypeVar("T")
WAIT_S = 60.0  # for a PostgreSQL that is away


@dataclass(frozen=True)
class Places:
    """`files`: URI of the offline files. `folder`: local, for the SQLite files."""

    files: str
    folder: Path
    registry_url: str
    online_url: str = ""  # empty: SQLite
    online_password_file: str = ""

    @classmethod
    def of(cls, config: Config) -> Places:
        """The places that a profile names."""
        settings = config.features
        return cls(
            files=features_uri(config),
            folder=Path(config.home) / "feast",
            registry_url=config.path(settings.registry_url),
            online_url=settings.online_url,
            online_password_file=config.path(settings.online_password_file),
        )

    @classmethod
    def within(cls, folder: Path) -> Places:
        """Everything in one local folder."""
        return cls(str(folder / "data"), folder, f"sqlite:///{folder}/registry.db")

    @property
    def online_file(self) -> Path:
        return self.folder / "online.db"

    def source(self, view: str) -> str:
        """What DuckDB reads as a view's offline files.

        It has to be s3a: for s3: the library below Feast wants to download an extension of DuckDB.
        """
        folder = Folder(self.files, "shared_root")
        if folder.is_local:
            return str(folder.path(view))
        name = f"{self.files}/{view}/night=*.parquet"
        return name.replace("s3://", "s3a://", 1)

    def open(self, keep: timedelta) -> feast.FeatureStore:
        """Feast over these places. Redis forgets an entity that was not written for as long as `keep`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        online: Any = SqliteOnlineStoreConfig(path=str(self.online_file))
        if self.online_url:
            online = UrlRedisOnlineStoreConfig(
                url=self.online_url,
                password_file=self.online_password_file,
                key_ttl_seconds=int(keep.total_seconds()),
                # Else a night that is done again could not correct what it wrote. Writers hold a lock, and
                # none writes an older night than the newest.
                skip_dedup=True,
            )
        return feast.FeatureStore(
            config=RepoConfig(
                project="nightshift",
                provider="local",
                registry=SqlRegistryConfig(  # a file registry is not written atomically
                    registry_type="sql",
                    path=self.registry_url,
                    serve_features_while_materializing=True,  # else reads are refused meanwhile
                    sqlalchemy_config_kwargs=_connecting(self.registry_url),
                ),
                online_store=online,
                offline_store=DuckDBOfflineStoreConfig(),
                entity_key_serialization_version=3,
            )
        )

    def asking(self, work: Callable[[], T]) -> T:
        """What `work` returns, tried again while PostgreSQL is away, so it must be safe to do twice.

        Raises UnavailableError or InputError that name the server and its setting.
        """
        try:
            return patiently(work, WAIT_S)
        except RedisError as error:
            names = "features.online_url", "features.online_password_file"
            raise redis_fault(error, self.online_url, *names) from error

    @contextmanager
    def reading_files(self) -> Iterator[None]:
        """A DuckDB for Feast that reads the offline files where they lie, and downloads nothing."""
        folder, options = Folder(self.files, "shared_root"), ibis.options
        offline = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        backend, before = ibis.duckdb.connect(**offline), options.default_backend
        try:
            if not folder.is_local:
                backend.register_filesystem(folder.listed())
            options.default_backend = backend
            with told(folder.uri, folder.setting):
                yield
        finally:
            options.default_backend = before
            backend.disconnect()


def _connecting(url: str) -> dict[str, Any]:
    """SQLAlchemy's options of the registry."""
    if dialect(url, "features.registry_url") != POSTGRES:
        return {"echo": False}
    words = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "nightshift", **KEEPALIVE}
    return {"echo": False, "pool_pre_ping": True, "connect_args": words}
