"""A run: the folder of one night, a sub-folder a step, a manifest in each that is finished."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipelines.core.contract import CLOSING, FAULT_NAME, MANIFEST_NAME, NIGHTLY, Fault, Manifest, night_of
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.files import sha256_of
from pipelines.stores.blobs import Folder


class Run:
    """A run's folder: `<root>/runs/<run_id>/<step>/manifest.json`."""

    def __init__(self, uri: str) -> None:
        self.folder = Folder(uri)
        self.run_id = self.folder.uri.rsplit("/", 1)[-1]
        self.night = night_of(self.run_id)

    def manifest(self, step: str) -> Manifest | None:
        path = f"{step}/{MANIFEST_NAME}"
        if not self.folder.exists(path):
            return None
        try:
            return Manifest.model_validate_json(self.folder.read_bytes(path))
        except ValidationError as error:
            raise IntegrityError(
                f"a manifest in {self.run_id}/{path}",
                f"{error.error_count()} things that are none",
                "The file was changed: put it back from a copy, or remove the step's folder and run it.",
            ) from error

    def manifests(self) -> dict[str, Manifest]:
        """All finished steps, in the order of a night."""
        found = {step: self.manifest(step) for step in (*NIGHTLY, *CLOSING)}
        return {step: manifest for step, manifest in found.items() if manifest}

    def fault(self, step: str) -> Fault | None:
        path = f"{step}/{FAULT_NAME}"
        return Fault.model_validate_json(self.folder.read_bytes(path)) if self.folder.exists(path) else None

    def artifact(self, manifest: Manifest, name: str) -> Path:
        """Local path of an output (a file, or a folder of several), verified. Raises IntegrityError."""
        parts = [a for key, a in manifest.outputs.items() if key == name or key.startswith(f"{name}/")]
        if not parts:
            raise InputError(
                f"an output {name!r} of {manifest.step}",
                f"{sorted(manifest.outputs)}",
                f"Run {manifest.step} again.",
            )
        for part in parts:
            found = sha256_of(self.folder.local(f"{manifest.step}/{part.path}"))
            if found != part.sha256:
                raise IntegrityError(
                    f"{part.path} of {manifest.step} with sha256 {part.sha256[:12]}",
                    f"{found[:12]}",
                    "Somebody changed it after the step wrote it: run the step again with --rerun.",
                )
        single = len(parts) == 1 and manifest.outputs.get(name) is not None
        return self.folder.local(f"{manifest.step}/{parts[0].path if single else name}")
