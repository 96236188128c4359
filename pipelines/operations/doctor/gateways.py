"""The gateways that live: one version of code, packages and migrations on all, and on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from pipelines.core.barrier import SeenGateway, left_behind, left_words, living
from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.core.version import Version, differences, parsed
from pipelines.operations.doctor.finding import Finding, Level
from pipelines.stores import open_gateways
from pipelines.stores.gateways.version import own_version

ABOUT = "gateways"
ONE_BY_ONE = "Update the gateways one after the other, until all run one version."
THIS = "The gateways agree: update this machine to their version, or them to this one's."
DELIVER = "Start it again, or deliver its spool: `nightshift spool deliver HOME`."


def look_at_gateways(config: Config) -> list[Finding]:
    """A finding for each gateway that differs from this machine, and for each that left rows behind."""
    gateways = open_gateways(config)
    if gateways is None:
        return []
    try:
        seen = gateways.read().gateways
    except (SQLAlchemyError, NightshiftError):  # the finding about the ledger's database tells it
        return []
    finally:
        gateways.close()
    contact_s = config.gateway.contact_s
    left = [Finding("warn", ABOUT, f"{left_words(one)}.", DELIVER) for one in left_behind(seen, contact_s)]
    return [*compared(own_version(), living(seen, contact_s)), *left]


def compared(here: Version, alive: Sequence[SeenGateway]) -> list[Finding]:
    """What differs between this machine and each gateway. Another migration fails: it may lack columns."""
    if not alive:
        return [Finding("ok", ABOUT, "No gateway lives.")]
    versions = {one.url or one.id: parsed(one.version) for one in alive}
    remedy = ONE_BY_ONE if len({one.version for one in alive}) > 1 else THIS
    found = []
    for name, version in versions.items():
        if version is None:
            said = f"{name} names no version, so it is older or newer than this machine's."
            found.append(Finding("warn", ABOUT, said, remedy))
        elif differs := differences(here, version):
            level: Level = "fail" if here.migrations != version.migrations else "warn"
            found.append(
                Finding(level, ABOUT, f"{name} differs from this machine: {', '.join(differs)}.", remedy)
            )
    said = f"The code, packages and migrations of this machine run on all gateways that live ({len(alive)})."
    return found or [Finding("ok", ABOUT, said)]
