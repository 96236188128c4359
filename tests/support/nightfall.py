"""A run folder with finished steps that wrote real files, for tests of the steps after training."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.core.contract import MANIFEST_NAME, Artifact, Manifest, Usage, Verdict
from pipelines.core.files import sha256_of
from pipelines.stores.blobs import Folder
from pipelines.stores.runs import Run
from tests.support.facts import facts_like


def finish(
    run: Run,
    step: str,
    facts: dict[str, Any],
    outputs: dict[str, Path] | None = None,
    readings: dict[str, Any] | None = None,
    verdict: Verdict = Verdict.PROCEED,
    reasons: tuple[str, ...] = (),
) -> None:
    """Record `step` as finished. `facts` change its usual ones; `outputs` (files or folders) are copied."""
    folder = Path(run.folder.uri) / step
    shutil.rmtree(folder, ignore_errors=True)
    artifacts = {}
    for name, source in (outputs or {}).items():
        target = folder / (name if source.is_dir() else source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        files = sorted(p for p in target.rglob("*") if p.is_file()) if target.is_dir() else [target]
        for file in files:
            key = name if file == target else f"{name}/{file.relative_to(target).as_posix()}"
            artifacts[key] = Artifact(
                path=file.relative_to(folder).as_posix(),
                sha256=sha256_of(file),
                size_bytes=file.stat().st_size,
            )
    manifest = Manifest(
        run_id=run.run_id,
        night=run.night,
        step=step,
        fingerprint="0" * 64,
        verdict=verdict,
        reasons=reasons,
        headline="",
        inputs={},
        outputs=artifacts,
        metrics={},
        facts=facts_like(step, **facts),
        readings=readings or {},
        seed=7,
        code_digest="",
        lock_digest="",
        git_commit=None,
        usage=Usage(started_at=datetime(2026, 1, 1, tzinfo=UTC), seconds=0, cpu_seconds=0),
    )
    Folder(run.folder.uri).write_bytes(f"{step}/{MANIFEST_NAME}", manifest.model_dump_json().encode())
