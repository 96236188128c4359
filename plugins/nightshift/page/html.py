"""How the plugin's pages are printed and sent: every text is escaped, and a page runs its own script only."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from airflow.configuration import conf
from fastapi.responses import HTMLResponse

HERE = Path(__file__).parent
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}


def page_of(template: str, model: dict[str, Any]) -> HTMLResponse:
    """A page, which no other site may frame."""
    headers = {**HEADERS, "Content-Security-Policy": PAGE_POLICY}
    return HTMLResponse(printed(template, model), headers=headers)


def printed(template: str, model: dict[str, Any]) -> str:
    """The HTML of a model."""
    return _templates().get_template(template).render(model)


def root() -> str:
    """Airflow's path prefix, without a slash at the end."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
