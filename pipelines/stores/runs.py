"""A run: the folder of one night, with a folder a step and a manifest in each that finished."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from pipelines.core.cache import cached
from pipelines.core.contract import (
    CLOSING,
    FAULT_NAME,
    MANIFEST_NAME,
    NIGHTLY,
    Artifact,
    Fault,
    Manifest,
    digest_of,
    night_of,
)
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.facts.reading import in_words
from pipelines.core.files import sha256_of
from pipelines.stores import attempts
from pipelines.stores.attempts import WITHDRAWN, Attempt
from pipelines.stores.blobs import Folder


class Run:
    """A run's folder: `<runs_root>/<run_id>/<step>/manifest.json`.

    Outputs that lie elsewhere are copied below `cache`, by digest; without one, for this object only.
    """

    def __init__(self, uri: str, cache: Path | None = None) -> None:
        self.folder = Folder(uri)
        self.run_id = self.folder.uri.rsplit("/", 1)[-1]
        self.night = night_of(self.run_id)
        self._cache = cache

    def manifest(self, step: str) -> Manifest | None:
        """The manifest of a finished step. Raises IntegrityError for a file that is none."""
        return self._parsed(step, self._read([step]).get(step))

    def manifests(self) -> dict[str, Manifest]:
        """The manifests of all finished steps, in the order of a night."""
        read = self._read([*NIGHTLY, *CLOSING])
        found = {step: self._parsed(step, read.get(step)) for step in (*NIGHTLY, *CLOSING)}
        return {step: manifest for step, manifest in found.items() if manifest}

    def begin(self, step: str, existing: Manifest | None) -> Attempt:
        """Begin work on a step whose manifest was `existing`, which no longer counts from now on.

        Raises InputError where another process finished the step since.
        """
        seen = self._read([step]).get(step)
        if self._parsed(step, seen) != existing:
            raise attempts.overtaken(step)
        return attempts.begin(self.folder, step, seen)

    def _read(self, steps: Iterable[str]) -> dict[str, bytes]:
        """What stands in the place of each step's manifest."""
        read = self.folder.read_many([f"{step}/{MANIFEST_NAME}" for step in steps])
        return {path.partition("/")[0]: data for path, data in read.items()}

    def _parsed(self, step: str, data: bytes | None) -> Manifest | None:
        if data is None or data == WITHDRAWN:
            return None
        try:
            return Manifest.model_validate_json(data)
        except ValidationError as error:
            raise IntegrityError(
                f"{self.run_id}/{step}/{MANIFEST_NAME} is not a manifest: {in_words(error)}.",
                "Put the file back from a copy, or remove the step's folder and run the step again.",
            ) from error

    def fault(self, step: str) -> Fault | None:
        """Why a step broke, if it did."""
        path = f"{step}/{FAULT_NAME}"
        found = self.folder.read_many([path])
        return Fault.model_validate_json(found[path]) if found else None

    def uri_of(self, step: str, name: str) -> str:
        """Where an output lies, for people; the step's folder where there is none."""
        manifest = self.manifest(step)
        artifact = manifest.outputs.get(name) if manifest else None
        return f"{self.folder.uri}/{manifest.place(artifact) if manifest and artifact else step}"

    def artifact(self, manifest: Manifest, name: str) -> Path:
        """Local path of an output (a file, or a folder of several) whose bytes are those that were written.

        Raises InputError for an unknown name or lost files, and IntegrityError for other bytes.
        """
        parts = [a for key, a in manifest.outputs.items() if key == name or key.startswith(f"{name}/")]
        if not parts:
            raise InputError(
                f"{manifest.step} has no output {name!r}; its outputs are {sorted(manifest.outputs)}.",
                f"Run {manifest.step} again.",
            )
        root = self._in_place(manifest, parts) if self.folder.is_local else self._copied(manifest, parts)
        single = len(parts) == 1 and manifest.outputs.get(name) is not None
        return root / (parts[0].path if single else name)

    def _in_place(self, manifest: Manifest, parts: list[Artifact]) -> Path:
        root = self.folder.path(manifest.step) / manifest.attempt
        for part in parts:
            if not (root / part.path).exists():
                raise self._lost(manifest, part)
            _check(manifest, part, root)
        return root

    def _copied(self, manifest: Manifest, parts: list[Artifact]) -> Path:
        """A folder of this machine's cache with copies of these outputs, at their paths."""

        def fetch(target: Path) -> None:
            try:
                self.folder.download({manifest.place(part): _inside(target, part) for part in parts})
            except FileNotFoundError as error:
                lost = next((p for p in parts if not self.folder.exists(manifest.place(p))), parts[0])
                raise self._lost(manifest, lost) from error
            for part in parts:
                _check(manifest, part, target)

        def is_whole(entry: Path) -> bool:
            return all((file := _inside(entry, p)).is_file() and sha256_of(file) == p.sha256 for p in parts)

        self._cache = self._cache or Path(tempfile.mkdtemp(prefix="nightshift-cache-"))
        key = digest_of({part.path: part.sha256 for part in parts})
        return cached(self._cache, key, fetch, is_whole)

    def _lost(self, manifest: Manifest, part: Artifact) -> InputError:
        return InputError(
            f"There is nothing at {self.folder.uri}/{manifest.place(part)}.",
            "Run the step that writes it again.",
        )


def _inside(folder: Path, part: Artifact) -> Path:
    """The path of an output's copy. A manifest that leads out of the folder is not trusted."""
    path = PurePosixPath(part.path)
    if path.is_absolute() or ".." in path.parts:
        raise IntegrityError(
            f"A manifest names the output {part.path}, which is no path inside a folder.",
            "Find out who wrote that manifest.",
        )
    return folder / path


def _check(manifest: Manifest, part: Artifact, root: Path) -> None:
    found = sha256_of(root / part.path)
    if found != part.sha256:
        raise IntegrityError(
            f"{part.path} of {manifest.step} was changed: its sha256 is {found[:12]},"
            f" and the step wrote {part.sha256[:12]}.",
            "Run the step again with --rerun.",
        )
