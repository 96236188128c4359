"""Volumes as folders. A mount's path is replaced in the container's words, environment and folder."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tests.support.kubernetes.resources import BY_PLURAL
from tests.support.kubernetes.store import Store, Thing


class NotReady(Exception):
    """The volume cannot be mounted; the text is the kubelet's."""


def mount(store: Store, pod: Thing, folder: Path, claims: Path) -> dict[str, str]:
    """Volume's name -> its folder here. Raises NotReady, and ValueError for a kind that is not simulated."""
    found = {}
    for volume in pod["spec"].get("volumes") or []:
        name = volume["name"]
        target = folder / name
        kind = next(key for key in volume if key != "name")
        if kind == "hostPath":
            target = Path(volume[kind]["path"])
        elif kind == "persistentVolumeClaim":
            target = claims / pod["metadata"]["namespace"] / volume[kind]["claimName"]
        elif kind in ("configMap", "secret"):
            try:
                _write(target, _files(store, pod, kind, volume[kind]))
            except NotReady as error:
                raise NotReady(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
        elif kind == "projected":
            for source in volume[kind].get("sources") or []:
                inner = next(iter(source))
                if inner in ("configMap", "secret"):
                    _write(target, _files(store, pod, inner, source[inner]))
                elif inner == "serviceAccountToken":
                    _write(target, {source[inner]["path"]: b"token-of-the-double"})
        elif kind not in ("emptyDir", "ephemeral"):
            raise ValueError(f"the double mounts no volume of kind {kind} ({name})")
        target.mkdir(parents=True, exist_ok=True)
        found[name] = str(target)
    return found


def mounts(container: Thing, folders: dict[str, str]) -> dict[str, str]:
    """Path in the container -> folder here, for one container."""
    return {
        one["mountPath"]: str(Path(folders[one["name"]], one.get("subPath", "")))
        for one in container.get("volumeMounts") or []
        if one["name"] in folders
    }


def _files(store: Store, pod: Thing, kind: str, source: dict[str, Any]) -> dict[str, bytes]:
    plural = {"configMap": "configmaps", "secret": "secrets"}[kind]
    name = source.get("name") or source.get("secretName", "")
    thing = store.find(BY_PLURAL[plural], pod["metadata"]["namespace"], name)
    if thing is None:
        if source.get("optional"):
            return {}
        raise NotReady(f'{kind.lower()} "{name}" not found')
    files = contents(thing)
    items = source.get("items")
    return {item["path"]: files[item["key"]] for item in items} if items else files


def contents(thing: Thing) -> dict[str, bytes]:
    """The values of a ConfigMap or a Secret."""
    plain = {key: value.encode() for key, value in {**(thing.get("data") or {})}.items()}
    if thing["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in plain.items()}
    binary = {key: base64.b64decode(value) for key, value in (thing.get("binaryData") or {}).items()}
    return plain | binary


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value)
