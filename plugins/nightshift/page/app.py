"""The page "Model loop" and the nights' reports, for people who are logged in to Airflow.

A button of the page calls Airflow's own REST API as the person who pressed it, so Airflow decides who may
start a DAG. Another site cannot press it: the session's cookie is SameSite=Lax, and that API takes JSON only.
The one thing that the pages write themselves is a person's review of an evaluation item: `suite_routes`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from nightshift.page.data import read_all
from nightshift.page.html import HEADERS, HERE, page_of, printed, root
from nightshift.page.model import page_model
from nightshift.page.reports import night_report, watch_report
from nightshift.page.suite_routes import router
from nightshift.settings import Settings
from pipelines.stores import run_uri

# No script in a report runs, wherever its text came from.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'; sandbox"
)

app = FastAPI(title="Nightshift: model loop", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=HERE / "static"))
app.include_router(router)
reader = [Depends(requires_access_dag("GET", param_dag_id="nightly_retrain"))]


@app.exception_handler(HTTPException)
async def to_login(request: Request, error: HTTPException) -> Response:
    """A browser that is not logged in goes to Airflow's login and comes back; a program gets the 401."""
    if error.status_code != 401 or "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    return RedirectResponse(f"{root()}/api/v2/auth/login?next={quote(request.url.path, safe='')}", 303)


def model(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """The page's model, for this person."""

    def may(method: Literal["GET", "POST"], dag: str) -> bool:
        return get_auth_manager().is_authorized_dag(
            method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag), user=user
        )

    return page_model(read_all(Settings.from_environment(), session, may, root(), datetime.now(UTC)))


Model = Annotated[dict[str, Any], Depends(model)]


@app.get("/", dependencies=reader, response_class=HTMLResponse)
def loop(model: Model) -> HTMLResponse:
    """The page."""
    return page_of("loop.html.j2", model)


@app.get("/model.json", dependencies=reader)
def model_json(model: Model) -> dict[str, Any]:
    """The page, for programs."""
    return model


@app.get("/runs/{run_id}/report/report.html", dependencies=reader)
def report(run_id: str) -> Response:
    """The report of one night. It is self-contained, and no script in it runs."""
    return _inert(night_report(Settings.from_environment().config, run_id))


@app.get("/watches/{name}.html", dependencies=reader)
def look_report(name: str) -> Response:
    """The report of one look at live traffic; older ones are deleted (`watch.report_days`)."""
    return _inert(watch_report(Settings.from_environment().config, name))


@app.get("/runs/{run_id}/validate/{rest:path}", dependencies=reader)
def data_docs(run_id: str, rest: str) -> Response:
    """Where a report's link to Data Docs leads. Data Docs need scripts, and no script runs here."""
    where = run_uri(Settings.from_environment().config, run_id)
    raise HTTPException(404, f"Data Docs are not served here. Open the file {where}/validate/{rest}")


def _inert(page: bytes) -> Response:
    headers = {**HEADERS, "Content-Security-Policy": REPORT_POLICY}
    return HTMLResponse(page, headers=headers)


def render(model: dict[str, Any]) -> str:
    """The page's HTML; every text of the model is escaped."""
    return printed("loop.html.j2", model)
