"""`nightshift anchor`: the version that no candidate may fall behind, whatever is in production by then."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.models import open_registry
from pipelines.stores import open_ledger
from pipelines.stores.ledger.anchors import Anchor


def choose_anchor(config: Config, version: str, actor: str, reason: str) -> str:
    """Record the choice, and say it. Raises InputError for an unknown version, and without a reason."""
    if not reason.strip():
        raise InputError("An anchor needs a reason.", "Say why with --why; the ledger keeps it.")
    registered = open_registry(config).version(version)
    open_ledger(config).add_anchor(registered.version, registered.digest, actor, reason)
    return shown_anchor(config)


def remove_anchor(config: Config, actor: str, reason: str) -> str:
    """From now on only the bare base is an anchor."""
    if not reason.strip():
        raise InputError("Removing the anchor needs a reason.", "Say why with --why; the ledger keeps it.")
    open_ledger(config).add_anchor("", "", actor, reason)
    return shown_anchor(config)


def shown_anchor(config: Config) -> str:
    """What every candidate is compared with beside production."""
    return "\n".join(["anchor    the bare base model (always)", *_chosen(open_ledger(config).anchor())])


def _chosen(anchor: Anchor | None) -> list[str]:
    if anchor is None:
        return []
    name = f"version {anchor.version}" if anchor.version else "no other version"
    return [f"anchor    {name}: {anchor.reason} ({anchor.actor}, {anchor.at[:10]})"]
