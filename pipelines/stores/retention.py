"""What is kept for how long: data of people go after a while, and the ledger says which files went and why.

A file's removal is recorded before it is removed, so that `verify` never takes it for lost. Ages are those of
the work, by the clock: a night of long ago that ran today is new.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.contract import Artifact, Manifest
from pipelines.core.errors import IntegrityError
from pipelines.stores import open_ledger, open_run, run_ids
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import REMOVALS
from pipelines.stores.runs import Run

DAY_S = 86_400.0
RETENTION = "retention"  # the reason of a removal
# Outputs that hold people's texts or ids, by step. Manifests, cards, reports and adapters stay.
PERSONAL = {
    "ingest": ("rows", "quarantine"),
    "validate": ("quarantine",),
    "features": ("",),  # all of them
    "curate": ("train", "dev", "canaries"),
    "evaluate": ("items", "held_back"),
    "fairness": ("items",),
    "safety": ("answers",),
}
log = logging.getLogger("nightshift")


def prune(config: Config, now: float | None = None) -> list[str]:
    """Remove what is older than `[retention]` says; returns what went."""
    at, limits, ledger = now or time.time(), config.retention, open_ledger(config)
    removed = [*_old_deliveries(config, ledger, at - limits.deliveries_days * DAY_S)]
    removed += _old_run_data(config, ledger, at - limits.run_data_days * DAY_S)
    removed += _old_scratch(config, at - limits.scratch_days * DAY_S)
    if removed:
        log.info("retention: %d files and folders were removed", len(removed))
    return removed


def removed_files(ledger: Ledger) -> set[tuple[str, str]]:
    """(path below the runs' root, sha256) of every file whose removal is recorded."""
    return {(row["path"], row["sha256"]) for row in ledger.rows(sa.select(REMOVALS))}


def record_removal(ledger: Ledger, path: str, sha256: str, reason: str) -> None:
    """Record a removal, before the file goes. Twice the same counts once."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    row = {"id": f"{path}@{sha256[:16]}", "at": at, "path": path, "sha256": sha256, "reason": reason}
    ledger.append(REMOVALS, row)


def _old_deliveries(config: Config, ledger: Ledger, before: float) -> Iterator[str]:
    """What the gateway delivered; validate has put its rows into the lake."""
    for folder in sorted((Path(config.home) / "gateway" / "interactions").glob("dt=*")):
        if _newest(folder) < before:
            record_removal(ledger, f"gateway/interactions/{folder.name}", "", RETENTION)
            shutil.rmtree(folder)
            yield f"gateway/interactions/{folder.name}"


def _old_run_data(config: Config, ledger: Ledger, before: float) -> Iterator[str]:
    done = {path for path, _ in removed_files(ledger)}
    for run_id in run_ids(config):
        if run_id in done:
            continue
        run = open_run(config, run_id)
        try:
            manifests = run.manifests()
        except IntegrityError as error:  # `verify` tells of it, and a person mends it
            log.warning("retention: %s", error)
            continue
        if manifests and max(m.usage.started_at.timestamp() for m in manifests.values()) < before:
            for manifest in manifests.values():
                yield from _remove_outputs(run, manifest, ledger)
            record_removal(ledger, run_id, "", RETENTION)  # and is not looked at again


def _remove_outputs(run: Run, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    for artifact in personal_outputs(manifest):
        path = manifest.place(artifact)
        record_removal(ledger, f"{run.run_id}/{path}", artifact.sha256, RETENTION)
        run.folder.remove(path)
        yield f"{run.run_id}/{path}"


def personal_outputs(manifest: Manifest) -> list[Artifact]:
    """The outputs of a step that hold people's texts or ids."""
    names = PERSONAL.get(manifest.step, ())
    return [
        artifact
        for key, artifact in manifest.outputs.items()
        if any(not name or key == name or key.startswith(f"{name}/") for name in names)
    ]


def _old_scratch(config: Config, before: float) -> Iterator[str]:
    """Checkpoints of steps that were ended and never taken up again."""
    root = Path(config.home) / "scratch"
    for folder in sorted(root.glob("*/*/*")):
        if _newest(folder) < before:
            shutil.rmtree(folder)
            yield f"scratch/{folder.relative_to(root).as_posix()}"


def _newest(folder: Path) -> float:
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
