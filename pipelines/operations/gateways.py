"""`nightshift gateways` and `nightshift spool deliver HOME`: which gateways live, and what lost ones left."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.core.barrier import SeenGateway, duration_words, left_behind, living
from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.version import parsed
from pipelines.stores import open_gateways
from pipelines.stores.gateways.fleet import Gateways
from pipelines.stores.journal import left_spool
from pipelines.stores.journal.spool import spool_path
from pipelines.stores.sql.database import SQLITE, dialect, patiently

WAIT_S = 10.0  # for a database that is away
KINDS = {"Interaction": "answers", "Feedback": "feedback", "ShadowCopy": "counts of a shadow's copies"}


def print_gateways(config: Config, as_json: bool) -> int:
    """Show every gateway that the database knows."""
    seen = patiently(_shared(config).read, WAIT_S).gateways
    alive = living(seen, config.gateway.contact_s)
    if as_json:
        print(json.dumps([_fields(one, one in alive) for one in seen], indent=1))
        return 0
    print(f"{'id':<17} {'state':<16} {'promotion':>9} {'in spool':>9}  {'commit':<9} url, problem")
    for one in seen:
        version = parsed(one.version)
        commit = version.commit[:8] if version else ""
        words = "  ".join(filter(None, (one.url, one.problem)))
        state = "lives" if one in alive else f"gone for {duration_words(one.silent_s)}"
        live = "-" if one.live < 0 else str(one.live)
        print(f"{one.id:<17} {state:<16} {live:>9} {one.spool_rows:>9,}  {commit:<9} {words}".rstrip())
    if left_behind(seen, config.gateway.contact_s):
        print("Start those that are gone again, or deliver what they left: nightshift spool deliver HOME")
    return 0


def strike_gateway(config: Config, name: str) -> int:
    """Take a gateway that is gone off the list. Raises InputError for one that lives or is not there."""
    gateways = _shared(config)
    seen = patiently(gateways.read, WAIT_S).gateways
    found = [one for one in seen if name in (one.id, one.url)]
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'No'} gateways of the list are called {name}.",
            "`nightshift gateways` shows their ids.",
        )
    if living(found, config.gateway.contact_s):
        raise InputError(f"The gateway {name} lives.", "Stop it first.")
    patiently(lambda: gateways.strike(found[0].id), WAIT_S)
    left = f"; what is in its spool ({found[0].spool_rows:,} entries or more) stays there"
    print(f"struck off: {found[0].url or found[0].id}{left if found[0].spool_rows else ''}")
    return 0


def deliver_spool(config: Config, folder: str) -> int:
    """Deliver what a lost gateway left in its home. Exit status 2 where something is lost or refused."""
    url, path = config.path(config.journal_url), _spool_in(Path(folder))
    if dialect(url, "journal_url") == SQLITE:
        raise InputError(
            "The journal of this profile is an SQLite file, which no spool belongs to.",
            "Name the profile of the gateways with --config.",
        )
    _refuse_living(config, left_spool.spool_of(path))
    found = left_spool.deliver_spool(path, url, lambda number: None)
    if gateways := open_gateways(config):
        patiently(lambda: gateways.note_delivered(found.spool), WAIT_S)
        gateways.close()
    print("\n".join(_report(path, found)))
    return 2 if found.refused or found.unread else 0


def _report(path: Path, found: left_spool.Delivery) -> list[str]:
    stored = ", ".join(f"{found.stored[kind]:,} {words}" for kind, words in KINDS.items())
    lines = [f"spool      {path}", f"stored     {stored}"]
    if found.had_arrived:
        lines.append(f"before     {found.had_arrived:,} entries had arrived already")
    lines += [f"refused    entry {number}: {error}" for number, error in found.refused]
    lines += [
        f"lost       entries {first} to {last}: the file is damaged there" for first, last in found.unread
    ]
    if found.set_aside:
        lines.append(f"set aside  {found.set_aside:,} entries that were refused while the gateway lived")
    lines.append(
        "The spool stays as it is, and it holds people's texts. Remove its folder once you need it no more."
    )
    return lines


def _spool_in(folder: Path) -> Path:
    """The spool of a home, of a home's folder `gateway`, or itself."""
    for path in (spool_path(folder), folder / "spool.db", folder):
        if path.is_file():
            return path
    raise InputError(
        f"There is no spool in {folder}.", "Name the home of a gateway; its spool is gateway/spool.db."
    )


def _refuse_living(config: Config, spool: str) -> None:
    """A copy of a living gateway's spool is not what it left behind."""
    gateways = open_gateways(config)
    if gateways is None:
        return
    seen = patiently(gateways.read, WAIT_S).gateways
    gateways.close()
    for one in living(seen, config.gateway.contact_s):
        if one.spool == spool:
            raise InputError(
                f"The gateway {one.url or one.id} was heard of {duration_words(one.silent_s)} ago. While it"
                " lives it delivers this spool itself.",
                f"Stop it, and wait {config.gateway.contact_s:.0f} s.",
            )


def _shared(config: Config) -> Gateways:
    if gateways := open_gateways(config):
        return gateways
    raise InputError(
        "The ledger of this profile is an SQLite file, so there is one gateway and no list.",
        "Name the profile of the gateways with --config.",
    )


def _fields(one: SeenGateway, lives: bool) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(one).items() if name not in ("key_mark", "version")}
    version = parsed(one.version)
    return {**kept, "lives": lives, "version": asdict(version) if version else None}
