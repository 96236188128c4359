"""A night on one machine and on PostgreSQL, S3 and Redis: the homes, and whether the results are equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from pipelines.cli.main import main
from pipelines.core.contract import CLOSING, Manifest
from pipelines.operations.databases import STORES, upgrade
from tests.support import tiny
from tests.support.cluster import PROJECT, ObjectStore, Postgres, Server

NIGHT = date(2026, 1, 1)
Where = list[str]  # the options --home and --config


@contextmanager
def prepared_homes(
    folder: Path, name: str, postgres: Postgres, store: ObjectStore, redis: Server
) -> Iterator[dict[str, Where]]:
    """`one` and `many`, prepared, each with a night's delivery. `name`: of databases and bucket."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(postgres.passfile))
        for variable, value in store.environment.items():
            patch.setenv(variable, value)
        for database in (name, f"{name}_mlflow", f"{name}_feast"):
            postgres.create(database)
        for tables in STORES:
            upgrade(tables, postgres.url(name))
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(name)
        homes = _write_profiles(folder, name, postgres, redis)
        for where in homes.values():
            assert main(["prepare", *where]) == 0
            assert main(["sample", *where, "--night", str(NIGHT)]) == 0
        yield homes


def _write_profiles(folder: Path, name: str, postgres: Postgres, redis: Server) -> dict[str, Where]:
    base = tiny.make_base(folder / "base")
    plain = (PROJECT / "tests/support/tiny.toml").read_text() + f'\n[model]\nbase = "{base}"\n'
    url = postgres.url
    shared = {"ledger_url": url(name), "journal_url": url(name), "tracking_uri": url(f"{name}_mlflow")}
    shared |= {f"{root}_root": f"s3://{name}/{root}" for root in ("runs", "lake", "shared", "artifact")}
    shared["keys"] = str(folder / "keys")
    features = f'online_url = "redis://127.0.0.1:{redis.port}/1"\nregistry_url = "{url(f"{name}_feast")}"\n'
    lines = "\n".join(f'{key} = "{value}"' for key, value in shared.items())
    quiet = 'schedule = ""'  # no night but the one that the test starts
    (folder / "one.toml").write_text(f"{quiet}\n{plain}")
    (folder / "many.toml").write_text(f"{quiet}\n{lines}\n{plain}\n[features]\n{features}")
    return {
        home: ["--home", str(folder / home), "--config", str(folder / f"{home}.toml")]
        for home in ("one", "many")
    }


def is_equal(step: str, one: Manifest, many: Manifest) -> bool:
    """Verdict, reasons, metrics, and the digests of rows."""
    if (many.verdict, many.reasons) != (one.verdict, one.reasons):
        return False
    rows = [
        {name: artifact.sha256 for name, artifact in manifest.outputs.items() if "parquet" in artifact.path}
        for manifest in (one, many)
    ]
    return step in CLOSING or (many.metrics == one.metrics and rows[0] == rows[1])
