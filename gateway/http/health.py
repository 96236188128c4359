"""The routes for operators: health and metrics. They need no token."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gateway.http.answer_schemas import Readiness
from gateway.http.openapi import RETRY_AFTER

router = APIRouter()
PATHS = ("/healthz", "/readyz", "/metrics")


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process responds."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    responses={200: {"model": Readiness}, 503: {"model": Readiness, "headers": RETRY_AFTER}},
)
async def readyz(request: Request) -> Response:
    """Whether the gateway can answer users, and with which adapters: 200 or 503."""
    service = request.app.state.service
    route = service.live_route.current
    newest = service.live_route.newest
    body = {
        "ready": service.is_ready,
        "promotion": newest.number if newest else None,
        "production": route.production.name if route else None,
        "canary": route.canary.name if route and route.canary else None,
        "shadow": route.shadow.name if route and route.shadow else None,
        "contact": service.has_contact,
        "problem": service.problem,
    }
    return JSONResponse(body) if service.is_ready else JSONResponse(body, 503, {"Retry-After": "1"})


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    service = request.app.state.service
    service.update_gauges()
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
