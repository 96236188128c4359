"""Moves a home: keys first, then ledger, journal, registry and files. Interrupted anywhere, it goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pipelines.core.config import Config
from pipelines.core.errors import ConfigError, InputError
from pipelines.data.held_back import OLD_FILE as OLD_HELD_BACK
from pipelines.evaluation.suite_place import file_of_items, suite_exists, write_suite
from pipelines.operations.databases import STORES, upgrade
from pipelines.operations.migrate.files import Progress, copy_folder
from pipelines.operations.migrate.registry import copy_registry
from pipelines.stores import has_ledger, open_ledger, open_shared
from pipelines.stores.journal.copying import copy_journal
from pipelines.stores.ledger.copying import copy_ledger
from pipelines.stores.locks import holding
from pipelines.stores.sql.database import SQLITE, dialect

SHARED = (
    "gateway/interactions",
    "feast/data",
    "held_back",
    "pool",
    "suites",
    "watch",
)  # folders below shared_root


def migrate(source: Config, target: Config, progress: Progress, owner: str = "") -> None:
    """Copy everything that the target's profile shares between machines. The source stays as it is.

    Nothing may write to the source meanwhile; what came in between is copied when this runs again.
    """
    _refuse_others(source, target)
    with _quiet(source):
        progress(f"keys: {copy_keys(keys_of(source), target.keys_folder)} copied")
        for store in STORES:
            progress(upgrade(store, target.path(getattr(target, store.setting)), owner))
        links = copy_ledger(open_ledger(source), open_ledger(target))
        progress(f"ledger: {links} links, the chain is whole")
        rows = copy_journal(source.path(source.journal_url), target.path(target.journal_url))
        progress(f"journal: {rows} rows")
        _copy_files(source, target, progress)


def keys_of(source: Config) -> list[Path]:
    """The files of a home's keys. Older homes use a routing key that lies beside the journal."""
    keys = {file.name: file for file in sorted(source.keys_folder.glob("*"))}
    old = Path(source.home) / "gateway" / "routing.key"
    return list((keys | {old.name: old} if old.exists() else keys).values())


def copy_keys(files: Sequence[Path], target: Path) -> int:
    """Copy keys that are missing; returns how many. Raises InputError where another key lies there."""
    copied = 0
    for file in files:
        there = target / file.name
        if there.exists():
            if there.read_bytes() != file.read_bytes():
                raise InputError(
                    f"{there} is another key than {file}, so signatures and pseudonyms would not fit.",
                    "Name an empty folder as `keys`, or remove the key that nothing uses yet.",
                )
            continue
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(file, there)
        there.chmod(0o600)
        copied += 1
    return copied


def _copy_files(source: Config, target: Config, progress: Progress) -> None:
    old, new = source.path(source.artifact_root), target.path(target.artifact_root)
    folders = {
        "runs": (source.path(source.runs_root), target.path(target.runs_root)),
        "lake": (source.path(source.lake_root), target.path(target.lake_root)),
        "artifacts": (old, new),
        **{
            name: (f"{source.path(source.shared_root)}/{name}", f"{target.path(target.shared_root)}/{name}")
            for name in SHARED
        },
    }
    for name, (here, there) in folders.items():
        progress(f"{name}: {copy_folder(here, there, progress)} files copied to {there}")
    for name, data in open_shared(source).read_many([OLD_HELD_BACK]).items():
        open_shared(target).write_bytes(name, data)
    progress(f"evaluation suite: {copy_suite(source, target)}")
    if source.evaluate.pool and target.evaluate.pool:
        progress(f"evaluation pool: {copy_suite(source, target, 'pool')}")
    rows = copy_registry(source.path(source.tracking_uri), old, target.path(target.tracking_uri), new)
    progress(f"registry: {rows} rows")


def copy_suite(source: Config, target: Config, setting: Literal["suite", "pool"] = "suite") -> str:
    """Copy the items of the suite or pool to where the target has none yet; returns what was done."""
    here, there = (one.path(getattr(one.evaluate, setting)) for one in (source, target))
    if not suite_exists(here):
        return f"there is none at {here}"
    if suite_exists(there):
        return f"there is one at {there}"
    write_suite(there, file_of_items(source, here).read_bytes())
    return f"copied to {there}"


@contextmanager
def _quiet(source: Config) -> Iterator[None]:
    """No rollout moves and no alerts are dispatched meanwhile."""
    with holding(source, "rollout"), holding(source, "alerts"):
        yield


def _refuse_others(source: Config, target: Config) -> None:
    if not has_ledger(source):
        raise InputError(f"There is no ledger in {source.home}.", "Name the home with --home.")
    for name in ("ledger_url", "journal_url"):
        if dialect(source.path(getattr(source, name)), name) != SQLITE:
            raise ConfigError(
                f"{name} of {source.profile} is not SQLite, so there is no home of one machine to move.",
                "Name the old profile with --config and the new one with --to.",
            )
        if dialect(target.path(getattr(target, name)), name) == SQLITE:
            raise ConfigError(
                f"{name} of {target.profile} is SQLite, which machines cannot share.",
                "Name a profile such as config/cluster.toml with --to.",
            )
