"""What is kept for how long: data of people go after a while, and the ledger says which files went and why.

A file's removal is recorded before it is removed, so that `verify` never takes it for lost. Ages are those of
the work, by the clock: a night of long ago that ran today is new.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.contract import MANIFEST_NAME, Artifact, Manifest, night_of
from pipelines.core.errors import IntegrityError
from pipelines.stores import open_ledger, open_run, open_shared, run_ids
from pipelines.stores.attempts import ATTEMPTS, PREFIX
from pipelines.stores.blobs import Folder, Stored
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import REMOVALS
from pipelines.stores.runs import Run

DAY_S = 86_400.0
CHECKPOINTS, RESULTS = "checkpoints", "results"  # in the shared folder, of pods
JUDGE = ("judge/verdicts", "judge/choices")  # in the shared folder: what a judge and people said of answers
RETENTION = "retention"  # the reason of a removal
# Outputs that hold people's texts or ids, by step. Manifests, cards, reports and adapters stay.
PERSONAL = {
    "ingest": ("rows", "quarantine"),
    "validate": ("quarantine",),
    "features": ("",),  # all of them
    "curate": ("train", "dev", "canaries"),
    "evaluate": ("items", "held_back", "judged"),
    "fairness": ("items",),
    "safety": ("answers",),
}
log = logging.getLogger("nightshift")


def prune(config: Config, now: float | None = None) -> list[str]:
    """Remove what is older than `[retention]` says; returns what went."""
    at, limits, ledger = now or time.time(), config.retention, open_ledger(config)
    removed = [*_old_deliveries(config, ledger, at - limits.deliveries_days * DAY_S)]
    removed += _old_run_data(config, ledger, at - limits.run_data_days * DAY_S)
    removed += _old_files(open_shared(config), JUDGE, at - limits.run_data_days * DAY_S)
    removed += _old_attempts(config, at - limits.scratch_days * DAY_S)
    removed += _old_scratch(config, at - limits.scratch_days * DAY_S)
    removed += _left_by_pods(config, at - limits.scratch_days * DAY_S)
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
    shared = open_shared(config)
    newest: dict[str, float] = {}
    for path, stored in shared.files("gateway/interactions").items():
        folder = path.rpartition("/")[0]
        newest[folder] = max(newest.get(folder, 0.0), stored.modified_at)
    for folder, at in newest.items():
        if at < before:
            record_removal(ledger, folder, "", RETENTION)
            shared.remove(folder)
            yield folder


def _old_run_data(config: Config, ledger: Ledger, before: float) -> Iterator[str]:
    done = {path for path, _ in removed_files(ledger)}
    for run_id in run_ids(config):
        if run_id in done or night_of(run_id) > datetime.fromtimestamp(before, UTC).date():
            continue  # a night's work is never older than the night
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


def _old_attempts(config: Config, before: float) -> Iterator[str]:
    """Outputs of attempts that were killed, were slower than another one, or were done again."""
    root = Folder(config.path(config.runs_root))
    if root.is_local:
        for folder in sorted(root.path("").glob(f"*/{ATTEMPTS}/*")):
            if _newest(folder) < before:
                shutil.rmtree(folder, ignore_errors=True)
                yield folder.relative_to(root.path("")).as_posix()
        return
    for path in left_attempts(root.files(), before):
        run_id, step, name = path.split("/")
        manifest = open_run(config, run_id).manifest(step)
        if manifest is None or manifest.attempt != name:
            root.remove(path)
            yield path


def left_attempts(listing: Mapping[str, Stored], before: float) -> list[str]:
    """The attempts (`run/step/name`) that are older, of steps with several or without a manifest."""
    newest: dict[str, dict[str, float]] = {}
    for path, stored in listing.items():
        parts = path.split("/")
        if len(parts) > 3 and parts[2].startswith(PREFIX):
            attempts = newest.setdefault("/".join(parts[:2]), {})
            attempts[parts[2]] = max(attempts.get(parts[2], 0.0), stored.modified_at)
    return [
        f"{step}/{name}"
        for step, attempts in newest.items()
        for name, at in attempts.items()
        if at < before and (len(attempts) > 1 or f"{step}/{MANIFEST_NAME}" not in listing)
    ]


def _old_scratch(config: Config, before: float) -> Iterator[str]:
    """Checkpoints of steps that were ended and never taken up again."""
    root = Path(config.home) / "scratch"
    for folder in sorted(root.glob("*/*/*")):
        if _newest(folder) < before:
            shutil.rmtree(folder)
            yield f"scratch/{folder.relative_to(root).as_posix()}"


def _left_by_pods(config: Config, before: float) -> Iterator[str]:
    """Checkpoints that pods kept for the next one, and their results."""
    if "{home}" in config.shared_root:
        return
    yield from _old_files(open_shared(config), (CHECKPOINTS, RESULTS), before)


def _old_files(shared: Folder, folders: Iterable[str], before: float) -> Iterator[str]:
    for below in folders:
        for path, stored in shared.files(below).items():
            if stored.modified_at < before:
                shared.remove(path)
                yield path


def _newest(folder: Path) -> float:
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
