"""The demo's page: the timeline and two plots of what users got."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import jinja2

from deploy.local.demo.traffic import Answered
from pipelines.reporting.plots import rollout_plots
from pipelines.stores.ledger import Promotion


def write_page(
    path: Path,
    lines: Sequence[tuple[datetime, str]],
    answered: Sequence[Answered],
    promotions: Sequence[Promotion],
) -> Path:
    """Write one self-contained HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    rows = [(one.at, one.adapter, one.right) for one in answered]
    moves = [(datetime.fromisoformat(move.at), move.move) for move in promotions]
    right, shares = rollout_plots(rows, moves)
    page = environment.get_template("page.html.j2").render(
        lines=lines, promotions=promotions, right=right, shares=shares
    )
    path.write_text(page, encoding="utf-8")
    return path
