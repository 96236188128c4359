"""Lists in pages, and watches: from now, from a version, with bookmarks, until cut or too old."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.kubernetes.resources import Resource
from tests.support.kubernetes.selectors import Match, fields_match, labels_match
from tests.support.kubernetes.status import ApiError, expired
from tests.support.kubernetes.store import Change, Store, Thing

BOOKMARK_S = 60.0
INITIAL_END = {"k8s.io/initial-events-end": "true"}


def matcher(resource: Resource, namespace: str, query: dict[str, str]) -> Match:
    """The test that namespace and selectors of a request stand for."""
    by_label = labels_match(query.get("labelSelector", ""))
    by_field = fields_match(resource.kind, query.get("fieldSelector", ""))
    return lambda thing: (
        (not namespace or thing["metadata"].get("namespace") == namespace)
        and by_label(thing)
        and by_field(thing)
    )


def page(store: Store, resource: Resource, match: Match, query: dict[str, str]) -> dict[str, Any]:
    """A list, cut at `limit`; its `continue` leads on. Raises 410 for a continue token that is too old."""
    with store.changed:
        after, version = _token(store, query.get("continue", ""))
        found = [thing for thing in store.all(resource) if match(thing) and _key(thing) > after]
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        limit = int(query.get("limit") or 0)
        if limit and len(found) > limit:
            token = json.dumps([*_key(found[limit - 1]), version]).encode()
            metadata |= {
                "continue": base64.urlsafe_b64encode(token).decode(),
                "remainingItemCount": len(found) - limit,
            }
            found = found[:limit]
    items = [{key: value for key, value in one.items() if key not in ("kind", "apiVersion")} for one in found]
    kind = f"{resource.kind}List"
    return {"kind": kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items}


def _key(thing: Thing) -> tuple[str, str]:
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def _token(store: Store, text: str) -> tuple[tuple[str, str], int]:
    if not text:
        return ("", ""), store.version
    namespace, name, version = json.loads(base64.urlsafe_b64decode(text))
    if version < store.oldest:
        raise expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a "
            "new list without the continue parameter, or use the continue token in this response to retrieve "
            "the remainder of the results."
        )
    return (namespace, name), version


def watch(
    store: Store, resource: Resource, match: Match, query: dict[str, str], cut: Callable[[], bool]
) -> Iterator[dict[str, Any] | None]:
    """Events until `timeoutSeconds`; None about each second without one. Ends where `cut` says so."""
    until = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
    wanted = query.get("resourceVersion") or ""
    initial = query.get("sendInitialEvents") == "true"
    bookmarks = query.get("allowWatchBookmarks") == "true"
    with store.changed:
        if wanted not in ("", "0") and int(wanted) < store.oldest:
            old = expired(f"too old resource version: {wanted} ({store.oldest})")
            yield {"type": "ERROR", "object": old.document}
            return
        all_first = initial or wanted in ("", "0")
        seen = store.version if all_first else int(wanted)
        first = [thing for thing in store.all(resource) if match(thing)] if all_first else []
    yield from ({"type": "ADDED", "object": thing} for thing in first)
    if initial:
        yield _bookmark(resource, seen, INITIAL_END)
    marked = time.monotonic()
    while time.monotonic() < until and not cut():
        with store.changed:
            if store.version == seen:
                store.changed.wait(min(1.0, max(0.0, until - time.monotonic())))
            changes, seen = store.since(seen), store.version
        events = [event for change in changes if (event := _event(resource, change, match))]
        yield from events
        if not events:
            yield None
        if bookmarks and time.monotonic() - marked > BOOKMARK_S:
            marked = time.monotonic()
            yield _bookmark(resource, seen)
    if bookmarks and not cut():
        yield _bookmark(resource, seen)


def _event(resource: Resource, change: Change, match: Match) -> dict[str, Any] | None:
    """The event that this watch shows of a change: an object that leaves its selector is deleted for it."""
    if change.key != resource.key:
        return None
    was, is_now = change.before is not None and match(change.before), match(change.after)
    kind = change.type
    if kind == "MODIFIED" and was != is_now:
        kind = "ADDED" if is_now else "DELETED"
    return {"type": kind, "object": change.after} if was or is_now else None


def _bookmark(resource: Resource, version: int, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "type": "BOOKMARK",
        "object": {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata},
    }


def check_version(query: dict[str, str]) -> None:
    """Raise 400 for a resource version that is no number."""
    version = query.get("resourceVersion") or "0"
    if not version.isdigit():
        why = f'strconv.ParseUint: parsing "{version}": invalid syntax'
        raise ApiError(400, f'resourceVersion: Invalid value: "{version}": {why}')
