"""The page of a watch: small, self-contained, in the style of the night's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.operations.watch.compare import Comparison
from pipelines.operations.watch.window import Window
from pipelines.reporting import plots
from pipelines.stores import open_shared
from pipelines.stores.blobs import Folder
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import WATCHES

TEMPLATES = Path(__file__).parents[2] / "reporting" / "templates"
FOLDER = "watch"  # below shared_root
SHOWN_WATCHES = 24


def write_report(
    config: Config,
    window: Window,
    comparison: Comparison,
    numbers: dict[str, float],
    ledger: Ledger,
) -> str:
    """Write the page below `shared_root`, and remove reports older than `watch.report_days`.

    Returns the page's address.
    """
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
    shared, path = open_shared(config), f"{FOLDER}/{window.end:%Y-%m-%dT%H%M%S}.html"
    shared.write_bytes(path, text.encode())
    _remove_old(shared, window.end.timestamp() - config.watch.report_days * 86_400)
    return shared.path(path).absolute().as_uri() if shared.is_local else f"{shared.uri}/{path}"


def _remove_old(shared: Folder, before: float) -> None:
    for path, stored in shared.files(FOLDER).items():
        if path.endswith(".html") and stored.modified_at < before:
            shared.remove(path)


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
