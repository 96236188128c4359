"""One small self-contained page a look, in the style of the night's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.reporting import plots
from pipelines.stores.blobs import Folder
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import WATCHES

TEMPLATES = Path(__file__).parents[2] / "reporting" / "templates"
LOOKS = 24


def write_report(
    page: Path,
    config: Config,
    facts: dict[str, Any],
    found: dict[str, Any],
    numbers: dict[str, float],
    ledger: Ledger,
) -> None:
    """Write the page; reports older than `watch.report_days` go."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("watch.html.j2").render(
        facts=facts,
        found=found,
        numbers={name.removeprefix("nightshift_watch_"): value for name, value in numbers.items()},
        settings=config.watch,
        profile=config.profile,
        plot=plots.drift_plot(found["columns"], found["alpha"]) if found["columns"] else "",
        earlier=_earlier(ledger),
    )
    Folder(str(page.parent)).write_bytes(page.name, text.encode())
    oldest = facts["end"].timestamp() - config.watch.report_days * 86_400
    for other in page.parent.glob("*.html"):
        if other.stat().st_mtime < oldest:
            other.unlink()


def _earlier(ledger: Ledger) -> list[dict[str, Any]]:
    """The last looks, newest first."""
    newest = sa.select(WATCHES).order_by(WATCHES.c.at.desc()).limit(LOOKS)
    return [
        {
            "at": row["at"][:16].replace("T", " "),
            "verdict": row["verdict"],
            "reasons": json.loads(row["reasons"]),
        }
        for row in ledger.rows(newest)
    ]
