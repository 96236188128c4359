"""A run: the folder of one night, with a folder a step and a manifest in each that finished."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipelines.core.contract import CLOSING, FAULT_NAME, MANIFEST_NAME, NIGHTLY, Fault, Manifest, night_of
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.facts.reading import in_words
from pipelines.core.files import sha256_of
from pipelines.stores.blobs import Folder


class Run:
    """A run's folder: `<root>/runs/<run_id>/<step>/manifest.json`."""

    def __init__(self, uri: str) -> None:
        self.folder = Folder(uri)
        self.run_id = self.folder.uri.rsplit("/", 1)[-1]
        self.night = night_of(self.run_id)

    def manifest(self, step: str) -> Manifest | None:
        """The manifest of a finished step. Raises IntegrityError for a file that is none."""
        path = f"{step}/{MANIFEST_NAME}"
        if not self.folder.exists(path):
            return None
        try:
            return Manifest.model_validate_json(self.folder.read_bytes(path))
        except ValidationError as error:
            raise IntegrityError(
                f"{self.run_id}/{path} is not a manifest: {in_words(error)}.",
                "Put the file back from a copy, or remove the step's folder and run the step again.",
            ) from error

    def manifests(self) -> dict[str, Manifest]:
        """The manifests of all finished steps, in the order of a night."""
        found = {step: self.manifest(step) for step in (*NIGHTLY, *CLOSING)}
        return {step: manifest for step, manifest in found.items() if manifest}

    def fault(self, step: str) -> Fault | None:
        """Why a step broke, if it did."""
        path = f"{step}/{FAULT_NAME}"
        return Fault.model_validate_json(self.folder.read_bytes(path)) if self.folder.exists(path) else None

    def artifact(self, manifest: Manifest, name: str) -> Path:
        """Local path of an output (a file, or a folder of several) whose bytes are those that were written.

        Raises InputError for an unknown name and IntegrityError for other bytes.
        """
        parts = [a for key, a in manifest.outputs.items() if key == name or key.startswith(f"{name}/")]
        if not parts:
            raise InputError(
                f"{manifest.step} has no output {name!r}; its outputs are {sorted(manifest.outputs)}.",
                f"Run {manifest.step} again.",
            )
        for part in parts:
            found = sha256_of(self.folder.local(f"{manifest.step}/{part.path}"))
            if found != part.sha256:
                raise IntegrityError(
                    f"{part.path} of {manifest.step} was changed: its sha256 is {found[:12]},"
                    f" and the step wrote {part.sha256[:12]}.",
                    "Run the step again with --rerun.",
                )
        single = len(parts) == 1 and manifest.outputs.get(name) is not None
        return self.folder.local(f"{manifest.step}/{parts[0].path if single else name}")
