"""A home for the browser: a candidate in the shadow, its night and its report.

`python -m tests.support.browser_seed HOME` in the work environment. The rows are written
to `seed.db`, beside the ledger, so that a test first sees an empty one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.operations import rollout
from pipelines.stores import open_ledger
from tests.support.browser_nights import decision
from tests.support.rollouts import register, rollout_config, send

REPORT = """<!doctype html><html><head><title>Night 2026-01-01</title>
<style>h1 { color: rgb(35, 105, 63); }</style></head><body><h1>Night 2026-01-01: trained</h1>
<script>document.title = "a script ran"</script></body></html>"""


def seed(home: Path) -> None:
    """A night that trained version 1, which is in the shadow with good answers."""
    config = rollout_config(home).model_copy(update={"ledger_url": "sqlite:///{home}/seed.db"})
    candidate = register(config, 1)
    facts = {"registered_version": candidate.version, "adapter_digest": candidate.digest}
    open_ledger(config).add_decision(decision("2026-01-01", "trained", **facts), "s")
    rollout.start_shadow(config, rollout.Provenance("ann", "a candidate for production"))
    send(config, candidate, "shadow", 60, (0.2, 0.9))
    report = home / "runs" / "2026-01-01" / "report" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text(REPORT)


if __name__ == "__main__":
    seed(Path(sys.argv[1]))
