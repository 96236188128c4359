"""The page of a watch: small, self-contained, in the style of the night's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.files import write_atomically
from pipelines.operations.watch.compare import Comparison
from pipelines.operations.watch.window import Window
from pipelines.reporting import plots
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import WATCHES

TEMPLATES = Path(__file__).parents[2] / "reporting" / "templates"
SHOWN_WATCHES = 24


def write_report(
    page: Path,
    config: Config,
    window: Window,
    comparison: Comparison,
    numbers: dict[str, float],
    ledger: Ledger,
) -> None:
    """Write the page, and remove reports older than `watch.report_days`."""
    finding = comparison.finding
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    columns = [(row["column"], row["p_adjusted"], row["drifted"]) for row in finding.columns]
    text = environment.get_template("watch.html.j2").render(
        window=window,
        finding=finding,
        alpha=comparison.alpha,
        numbers={name.removeprefix("nightshift_watch_"): value for name, value in numbers.items()},
        settings=config.watch,
        profile=config.profile,
        plot=plots.drift_plot(columns, comparison.alpha) if columns else "",
        earlier=_earlier(ledger),
    )
    write_atomically(page, text.encode())
    _remove_old(page.parent, window.end.timestamp() - config.watch.report_days * 86_400)


def _remove_old(folder: Path, before: float) -> None:
    for report in folder.glob("*.html"):
        if report.stat().st_mtime < before:
            report.unlink()


def _earlier(ledger: Ledger) -> list[dict[str, Any]]:
    """The last watches, newest first."""
    newest = sa.select(WATCHES).order_by(WATCHES.c.at.desc()).limit(SHOWN_WATCHES)
    return [
        {
            "at": row["at"][:16].replace("T", " "),
            "verdict": row["verdict"],
            "reasons": json.loads(row["reasons"]),
        }
        for row in ledger.rows(newest)
    ]
