"""The keys that machines share: all there, for their owner only, and those that signed what is recorded."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.core.home import OTHERS
from pipelines.operations.doctor.finding import Finding, failure
from pipelines.stores import has_ledger, open_ledger
from pipelines.stores.signer import open_signer
from pipelines.stores.sql.database import SQLITE, dialect

NAMES = ("signing.key", "signing.pub", "ledger.key", "pseudonyms.key", "routing.key")
MAKE = "Make the keys once with `nightshift prepare`, and mount their folder where `keys` says."


def look_at_keys(config: Config) -> list[Finding]:
    """Where machines share keys, one that is missing would be made anew by each machine for itself."""
    folder = config.keys_folder
    is_shared = dialect(config.path(config.ledger_url), "ledger_url") != SQLITE
    missing = [name for name in NAMES if not (folder / name).exists()]
    if missing and is_shared:
        said = f"The folder {folder} has no {', '.join(missing)}."
        return [Finding("fail", "keys", said, MAKE)]
    if missing:
        return [Finding("ok", "keys", f"The folder {folder} gets its keys on first use.")]
    secret = (name for name in NAMES if name.endswith(".key"))
    if opened := [name for name in secret if (folder / name).stat().st_mode & OTHERS]:
        said = f"Other users can read {folder / opened[0]}."
        return [Finding("fail", "keys", said, f"Run chmod 600 {folder}/*.key.")]
    return [_signature(config)]


def _signature(config: Config) -> Finding:
    """Whether the newest decision was signed with these keys."""
    try:
        decisions = open_ledger(config, wait_s=5.0).decisions() if has_ledger(config) else []
        newest = decisions[-1] if decisions else None
        if newest and not open_signer(config).is_valid(newest.document.encode(), newest.signature):
            said = f"The decision of {newest.run_id} was signed with other keys than {config.keys_folder}."
            return Finding("fail", "keys", said, "Mount the keys of the machine that recorded it.")
    except NightshiftError as error:
        return failure("keys", error)
    return Finding("ok", "keys", f"The keys in {config.keys_folder} are there.")
