"""The registry of adapters (MLflow): adapter files, and the digests of everything they depend on.

A version is known by its adapter digest and Nightshift run, so registering twice makes one version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlflow import artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.core.cache import cached
from pipelines.core.contract import digest_of
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.files import sha256_of
from pipelines.core.probes import ProbeSet
from pipelines.models.tracker import MlflowClient, Tracker
from pipelines.stores.blobs import Folder
from pipelines.stores.object_store import is_s3, told

CANDIDATE, PRODUCTION, CANARY, PREVIOUS = "candidate", "production", "canary", "previous"
ADAPTER_FOLDER, PROBES_FOLDER = "adapter", "probes"
PROBES_TAG = "probes_digest"
LOCAL = ("file:", "/")  # how an address on this disk begins


@dataclass(frozen=True)
class RegisteredAdapter:
    """A registered version of the adapter."""

    version: str
    digest: str
    nights: tuple[str, ...]  # the nights whose feedback it learned from
    run_id: str  # Nightshift's
    uri: str
    tags: dict[str, str]

    @property
    def measured_against(self) -> str | None:
        """Digest of the adapter that production was when its gate compared the two; "" for the bare base.

        None: the version does not say so, as one of an older version of Nightshift.
        """
        return self.tags.get("baseline_digest")

    @property
    def nights_seen(self) -> tuple[str, ...]:
        """Spans of every night whose rows it saw, replayed ones and its ancestors' included.

        Versions of before 0.2 only know the nights of their own feedback.
        """
        return tuple(json.loads(self.tags.get("nights_seen", "[]"))) or self.nights


def adapter_digest(folder: Path) -> str:
    """sha256 over an adapter's files, by name."""
    return digest_of({path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()})


class Registry:
    """The versions of one registered adapter name."""

    def __init__(self, tracking_uri: str, name: str, cache: Path | None = None) -> None:
        """`cache` keeps copies of adapters that lie elsewhere; without one this object keeps them."""
        self.name = name
        self._cache = cache
        self._uri = tracking_uri
        self._client = MlflowClient(tracking_uri, registry_uri=tracking_uri)

    def prepare(self) -> None:
        """Create the registered name and, which takes seconds the first time, the database's tables."""
        if not self._client.search_registered_models(f"name = '{self.name}'"):
            self._client.create_registered_model(self.name)

    def versions(self) -> list[RegisteredAdapter]:
        """Every version, oldest first."""
        found = self._client.search_model_versions(f"name = '{self.name}'")
        return sorted(map(_adapter, found), key=lambda adapter: int(adapter.version))

    def by_alias(self, alias: str) -> RegisteredAdapter | None:
        try:
            return _adapter(self._client.get_model_version_by_alias(self.name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def point(self, alias: str, version: str) -> None:
        """Let an alias name a version. The caller records what it named before."""
        self._client.set_registered_model_alias(self.name, alias, version)

    def release(self, alias: str) -> None:
        """Let an alias name nothing."""
        self._client.delete_registered_model_alias(self.name, alias)

    def version(self, version: str) -> RegisteredAdapter:
        """Raises InputError for a version that was never registered."""
        try:
            return _adapter(self._client.get_model_version(self.name, version))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise InputError(
                f"{self.name} has no registered version {version!r}.", "MLflow's registry lists its versions."
            ) from error

    def ancestors(self, version: str) -> list[RegisteredAdapter]:
        """The versions that a version was continued from, its parent first."""
        found: list[RegisteredAdapter] = []
        parent = self.version(version).tags.get("parent_version")
        while parent:
            found.append(self.version(parent))
            parent = found[-1].tags.get("parent_version")
        return found

    def fetch(self, version: str) -> Path:
        """A local folder with the version's files, checked at each use and copied once.

        Raises IntegrityError where the stored files' digest differs.
        """
        adapter = self.version(version)
        if adapter.uri.startswith(LOCAL):
            return self._stored(adapter, None)
        self._cache = self._cache or Path(tempfile.mkdtemp(prefix="nightshift-adapters-"))
        return cached(
            self._cache,
            adapter.digest,
            lambda folder: self._stored(adapter, folder),
            lambda entry: adapter_digest(entry) == adapter.digest,
        )

    def check(self, version: str) -> None:
        """Raises IntegrityError where the stored files themselves are not those that were registered."""
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            self._stored(self.version(version), Path(folder))

    def _stored(self, adapter: RegisteredAdapter, folder: Path | None) -> Path:
        """The files as they are stored, copied to `folder` unless they lie on this disk."""
        if is_s3(adapter.uri) and folder:
            source = Folder(adapter.uri, "artifact_root")
            source.download({path: folder / path for path in source.files()})
            found = folder
        elif adapter.uri.startswith(LOCAL):
            found = Path(artifacts.download_artifacts(adapter.uri, tracking_uri=self._uri))
        else:
            with tempfile.TemporaryDirectory(prefix="nightshift-") as work:
                came = artifacts.download_artifacts(adapter.uri, tracking_uri=self._uri, dst_path=work)
                found = Path(shutil.copytree(came, folder or work, dirs_exist_ok=True))
        if (digest := adapter_digest(found)) != adapter.digest:
            raise IntegrityError(
                f"The stored files of {self.name}, version {adapter.version}, were changed: their digest is "
                f"{digest[:12]}, and {adapter.digest[:12]} was registered.",
                "Register that night again.",
            )
        return found

    def probes(self, version: str) -> ProbeSet | None:
        """What tells the version from its base; None for one that was registered without.

        Raises IntegrityError where the stored file was changed.
        """
        adapter = self.version(version)
        digest = adapter.tags.get(PROBES_TAG)
        if digest is None:
            return None
        uri = f"{adapter.uri.rsplit('/', 1)[0]}/{PROBES_FOLDER}/{digest}.json"
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder, told(adapter.uri, "artifact_root"):
            data = Path(
                artifacts.download_artifacts(uri, tracking_uri=self._uri, dst_path=folder)
            ).read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != digest:
            raise IntegrityError(
                f"The stored probes of {self.name}, version {version}, were changed: their digest is "
                f"{found[:12]}, and {digest[:12]} was registered.",
                "Put the file back, or register that night again.",
            )
        return ProbeSet.model_validate_json(data)

    def register(
        self,
        folder: Path,
        tracker: Tracker,
        mlflow_id: str,
        run_id: str,
        nights: tuple[str, ...],
        tags: dict[str, str],
    ) -> RegisteredAdapter:
        """Store the adapter as a new version with alias `candidate`, or return the one stored before.

        The version's tag `previous_candidate` keeps what the alias named until then ("" for none).
        """
        self.prepare()
        digest = adapter_digest(folder)
        found = self._find(digest, run_id)
        if found is None:
            before = self.by_alias(CANDIDATE)
            source = tracker.upload(mlflow_id, folder, ADAPTER_FOLDER)
            identity = {"adapter_digest": digest, "run_id": run_id, "nights": json.dumps(nights)}
            previous = {"previous_candidate": before.version if before else ""}
            made = self._client.create_model_version(
                self.name, source, mlflow_id, tags={**tags, **identity, **previous}
            )
            found = _adapter(made)
        self.point(CANDIDATE, found.version)
        return found

    def _find(self, digest: str, run_id: str) -> RegisteredAdapter | None:
        where = f"name = '{self.name}' and tags.adapter_digest = '{digest}' and tags.run_id = '{run_id}'"
        return next((_adapter(version) for version in self._client.search_model_versions(where)), None)


def _adapter(version: ModelVersion) -> RegisteredAdapter:
    return RegisteredAdapter(
        version=str(version.version),
        digest=version.tags["adapter_digest"],
        nights=tuple(json.loads(version.tags["nights"])),
        run_id=version.tags["run_id"],
        uri=str(version.source),
        tags=dict(version.tags),
    )
