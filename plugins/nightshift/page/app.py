"""The "Model loop" page and the nights' reports, for people who are logged in to Airflow. It writes nothing.

A button of the page calls Airflow's own REST API as the person who pressed it, so who may start a DAG is
Airflow's answer. The session's cookie is SameSite=Lax and that API takes JSON only: another site can neither
send the cookie along nor such a request.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import jinja2
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from nightshift.page.data import read_all
from nightshift.page.model import page_model
from nightshift.settings import Settings

HERE = Path(__file__).parent
RUN_ID = re.compile(r"\d{4}-\d\d-\d\d(-[A-Za-z0-9]+)*")
LOOK = re.compile(r"\d{4}-\d\d-\d\dT\d{6}")
# The page runs its own script and no other; a report runs none, wherever its text came from.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'; sandbox"
)
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}

app = FastAPI(title="Nightshift: model loop", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=HERE / "static"))
reader = [Depends(requires_access_dag("GET", param_dag_id="nightly_retrain"))]


@app.exception_handler(HTTPException)
async def to_login(request: Request, error: HTTPException) -> Response:
    """A browser that is not logged in goes to Airflow's login and comes back; a program gets the 401."""
    if error.status_code != 401 or "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    return RedirectResponse(f"{root()}/api/v2/auth/login?next={quote(request.url.path, safe='')}", 303)


def model(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """The page's model, for this person."""

    def may(method: str, dag: str) -> bool:
        return get_auth_manager().is_authorized_dag(
            method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag), user=user
        )

    return page_model(read_all(Settings.from_environment(), session, may, root(), datetime.now(UTC)))


Model = Annotated[dict[str, Any], Depends(model)]


@app.get("/", dependencies=reader, response_class=HTMLResponse)
def loop(model: Model) -> HTMLResponse:
    """The page."""
    return HTMLResponse(render(model), headers={**HEADERS, "Content-Security-Policy": PAGE_POLICY})


@app.get("/model.json", dependencies=reader)
def model_json(model: Model) -> dict[str, Any]:
    """The page, for programs."""
    return model


@app.get("/runs/{run_id}/report/report.html", dependencies=reader)
def report(run_id: str) -> FileResponse:
    """The report of one night. It is self-contained, and no script in it runs."""
    path = report_path(Settings.from_environment().home, run_id)
    if path is None:
        raise HTTPException(404, f"There is no report of the run {run_id}: it may not have got that far.")
    return _inert(path)


@app.get("/watches/{name}.html", dependencies=reader)
def watch_report(name: str) -> FileResponse:
    """The report of one look at live traffic; older ones are deleted (`watch.report_days`)."""
    path = Settings.from_environment().home / "watch" / f"{name}.html"
    if not (LOOK.fullmatch(name) and path.is_file()):
        raise HTTPException(404, f"There is no report of a look {name}: old ones are deleted.")
    return _inert(path)


@app.get("/runs/{run_id}/validate/{rest:path}", dependencies=reader)
def data_docs(run_id: str, rest: str) -> Response:
    """Where a report's link to Data Docs leads: they need scripts, which are not run here."""
    raise HTTPException(404, f"Data Docs are read on the machine: runs/{run_id}/validate/{rest}")


def report_path(home: Path, run_id: str) -> Path | None:
    """The file, if this names a run of this home and it has a report."""
    path = home / "runs" / run_id / "report" / "report.html"
    inside = RUN_ID.fullmatch(run_id) and path.resolve().is_relative_to((home / "runs").resolve())
    return path if inside and path.is_file() else None


def _inert(path: Path) -> FileResponse:
    headers = {**HEADERS, "Content-Security-Policy": REPORT_POLICY}
    return FileResponse(path, media_type="text/html", headers=headers)


def render(model: dict[str, Any]) -> str:
    """The page's HTML; every text of the model is escaped."""
    return _template().render(model)


def root() -> str:
    """Airflow's path prefix, without a slash at the end."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("loop.html.j2")
