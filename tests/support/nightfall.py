"""A run folder with finished steps that wrote real files, for tests of the steps after training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipelines.core.contract import MANIFEST_NAME, Artifact, Verdict
from pipelines.core.files import sha256_of
from pipelines.stores.blobs import Folder
from pipelines.stores.runs import Run
from tests.support.facts import facts_like
from tests.support.manifests import make_manifest


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
    manifest = make_manifest(
        step,
        run.run_id,
        verdict=verdict,
        reasons=reasons,
        outputs=artifacts,
        facts=facts_like(step, **facts),
        readings=readings or {},
    )
    Folder(run.folder.uri).write_bytes(f"{step}/{MANIFEST_NAME}", manifest.model_dump_json().encode())
