"""Objects by kind, one counter of versions, and the history that watches read."""

from __future__ import annotations

import secrets
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.kubernetes.resources import Resource
from tests.support.kubernetes.status import already_exists, conflict, not_found

Thing = dict[str, Any]


def now() -> str:
    """The time as objects carry it: whole seconds, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Change:
    """One step of history. `before` lets a watch with a selector see an object leave it."""

    version: int
    key: tuple[str, str]
    type: str
    after: Thing
    before: Thing | None


class Store:
    """Every read gives a copy. `changed` is notified after each write; it is also the lock."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.version = 1000
        self.oldest = self.version
        self.history: list[Change] = []
        self._things: dict[tuple[str, str], dict[tuple[str, str], Thing]] = {}

    def all(self, resource: Resource, namespace: str = "") -> list[Thing]:
        with self.changed:
            found = self._things.get(resource.key, {})
            return [deepcopy(found[key]) for key in sorted(found) if not namespace or key[0] == namespace]

    def find(self, resource: Resource, namespace: str, name: str) -> Thing | None:
        with self.changed:
            return deepcopy(self._things.get(resource.key, {}).get((namespace, name)))

    def peek(self, resource: Resource, namespace: str, name: str) -> Thing | None:
        """The stored object itself, to look at and not to change."""
        with self.changed:
            return self._things.get(resource.key, {}).get((namespace, name))

    def get(self, resource: Resource, namespace: str, name: str) -> Thing:
        thing = self.find(resource, namespace, name)
        if thing is None:
            raise not_found(resource.plural, resource.group, name)
        return thing

    def create(self, resource: Resource, thing: Thing) -> Thing:
        """Store a new object under a new UID."""
        metadata = thing["metadata"]
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        key = metadata.get("namespace", ""), metadata["name"]
        with self.changed:
            if key in self._things.setdefault(resource.key, {}):
                raise already_exists(resource.plural, resource.group, key[1])
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            return self._write(resource, key, "ADDED", thing, None)

    def update(self, resource: Resource, namespace: str, name: str, change: Callable[[Thing], Any]) -> Thing:
        """Apply a function to the object; nothing is written when it changes nothing."""
        with self.changed:
            before = self.get(resource, namespace, name)
            after = deepcopy(before)
            change(after)
            if after == before:
                return before
            return self._write(resource, (namespace, name), "MODIFIED", after, before)

    def replace(self, resource: Resource, thing: Thing) -> Thing:
        """As PUT: raises 409 when the version it names is not the current one."""
        metadata = thing["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        with self.changed:
            before = self.get(resource, *key)
            given = metadata.get("resourceVersion")
            if given and given != before["metadata"]["resourceVersion"]:
                raise conflict(
                    resource.plural, resource.group, key[1],
                    "the object has been modified; please apply your changes to the latest version and "
                    "try again",
                )  # fmt: skip
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
            return before if thing == before else self._write(resource, key, "MODIFIED", thing, before)

    def remove(self, resource: Resource, namespace: str, name: str) -> Thing:
        with self.changed:
            before = self.get(resource, namespace, name)
            return self._write(resource, (namespace, name), "DELETED", deepcopy(before), before)

    def let_go(self, resource: Resource, namespace: str, name: str) -> Thing:
        """Remove an object that is marked as deleted, or wait for its finalizers."""
        with self.changed:
            thing = self.get(resource, namespace, name)
            if not thing["metadata"].get("finalizers"):
                return self.remove(resource, namespace, name)
            return self.update(
                resource, namespace, name, lambda one: one["metadata"].update(deletionGracePeriodSeconds=0)
            )

    def _write(
        self, resource: Resource, key: tuple[str, str], kind: str, thing: Thing, before: Thing | None
    ) -> Thing:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        if kind == "DELETED":
            del self._things[resource.key][key]
        else:
            self._things[resource.key][key] = thing
        self.history.append(Change(self.version, resource.key, kind, deepcopy(thing), before))
        self.changed.notify_all()
        return deepcopy(thing)

    def since(self, version: int) -> list[Change]:
        """The changes after a version."""
        with self.changed:
            return self.history[bisect_right(self.history, version, key=lambda change: change.version) :]

    def compact(self) -> None:
        """Make every version so far too old: a new watch or page from one is answered with 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
