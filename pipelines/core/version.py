"""Which version of Nightshift a process runs, and what two versions differ in. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Version:
    """Digests of code and package lock, the commit if it is known, and each store's newest migration."""

    code: str
    lock: str
    commit: str = ""
    migrations: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As the gateways' table keeps it."""
        return json.dumps(asdict(self), sort_keys=True)


def parsed(text: str) -> Version | None:
    """The version that `text()` wrote; None for a gateway that names none, or one of a later Nightshift."""
    try:
        return Version(**json.loads(text))
    except (ValueError, TypeError):
        return None


def differences(here: Version, there: Version) -> list[str]:
    """What differs, in words; empty where nothing does."""
    found = []
    if here.code != there.code:
        found.append(f"code ({_code(there)} there, {_code(here)} here)")
    if here.lock != there.lock:
        found.append(f"packages (lock {there.lock[:8]} there, {here.lock[:8]} here)")
    for store in sorted({*here.migrations, *there.migrations}):
        ours, theirs = here.migrations.get(store, "none"), there.migrations.get(store, "none")
        if ours != theirs:
            found.append(f"migration of the {store} ({theirs} there, {ours} here)")
    return found


def _code(version: Version) -> str:
    """The commit and the digest: code that was changed by hand has the commit of before."""
    return f"commit {version.commit[:8]}, {version.code[:8]}" if version.commit else version.code[:8]
