"""The environment of a container: the image's, the kubelet's, and what `env` and `envFrom` ask for."""

from __future__ import annotations

from typing import Any

from tests.support.kubernetes.images import SYSTEM_PATH, Image, expand
from tests.support.kubernetes.quantities import amount
from tests.support.kubernetes.resources import BY_PLURAL
from tests.support.kubernetes.store import Store, Thing
from tests.support.kubernetes.volumes import NotReady, contents

_PLURALS = {"configMap": "configmaps", "secret": "secrets"}


def environment(store: Store, pod: Thing, container: Thing, image: Image) -> dict[str, str]:
    """Raises NotReady where a ConfigMap, a Secret or a key of one is missing."""
    path = f"{image.path}:{SYSTEM_PATH}" if image.path else SYSTEM_PATH
    env = {"PATH": path, "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"], "HOME": "/tmp"}
    env |= image.env | {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    for source in container.get("envFrom") or []:
        kind = "configMap" if "configMapRef" in source else "secret"
        reference = source[f"{kind}Ref"]
        values = _values(store, pod, kind, reference)
        env |= {source.get("prefix", "") + key: value.decode() for key, value in values.items()}
    for one in container.get("env") or []:
        value = _value(store, pod, container, one)
        if value is not None:
            env[one["name"]] = expand(value, env)
    return env


def _values(store: Store, pod: Thing, kind: str, reference: dict[str, Any]) -> dict[str, bytes]:
    thing = store.find(BY_PLURAL[_PLURALS[kind]], pod["metadata"]["namespace"], reference["name"])
    if thing is not None:
        return contents(thing)
    if reference.get("optional"):
        return {}
    raise NotReady(f'{kind.lower()} "{reference["name"]}" not found')


def _value(store: Store, pod: Thing, container: Thing, one: dict[str, Any]) -> str | None:
    source = one.get("valueFrom")
    if not source:
        return one.get("value") or ""
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        kind, name = source["resourceFieldRef"]["resource"].split(".", 1)
        return str(int(amount(container.get("resources", {}).get(kind, {}).get(name, "0"))))
    kind = "configMap" if "configMapKeyRef" in source else "secret"
    reference = source[f"{kind}KeyRef"]
    values = _values(store, pod, kind, reference)
    if reference["key"] in values:
        return values[reference["key"]].decode()
    if reference.get("optional"):
        return None
    raise NotReady(
        f"couldn't find key {reference['key']} in {kind[0].upper() + kind[1:]} "
        f"{pod['metadata']['namespace']}/{reference['name']}"
    )


def field(pod: Thing, path: str) -> str:
    """The value of a downward field: `metadata.name`, `metadata.labels['a']`, `status.podIP`."""
    if "['" in path:
        where, key = path.rstrip("']").split("['")
        return pod["metadata"].get(where.split(".")[1], {}).get(key, "")
    thing: Any = pod
    for name in path.split("."):
        thing = thing.get(name, "")
    return str(thing)
