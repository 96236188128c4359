"""Makes the gateway's ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from opentelemetry import trace

from gateway.engines.base import ServingEngine
from gateway.http import health, routes
from gateway.http.auth import Verifier
from gateway.http.body import BodyLimits
from gateway.http.errors import add_error_handlers
from gateway.http.leaving import CancelWhenGone
from gateway.http.openapi import VERSION, describe
from gateway.serving.membership import reachable_url
from gateway.serving.service import Service
from pipelines.core.config import Config
from pipelines.core.probes import ProbeSet
from pipelines.core.traffic_split import Adapter

_NO_TRACER = trace.NoOpTracer()


def create_app(
    config: Config,
    engine: ServingEngine,
    fetch: Callable[[Adapter], Path],
    tracer: trace.Tracer = _NO_TRACER,
    probes_of: Callable[[Adapter], ProbeSet | None] | None = None,
) -> FastAPI:
    """The gateway over an engine.

    `fetch` returns the folder of a routed adapter and `probes_of` its probes; both may block. Without
    `probes_of` nothing is proved.
    """
    settings = config.gateway

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.verifier = Verifier(settings, config.path(settings.jwks))
        url = reachable_url(config, app.state.port)
        app.state.service = Service(config, engine, fetch, tracer, probes_of, url)
        async with app.state.service.running():
            yield

    app = FastAPI(
        title="Nightshift",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.port = settings.port  # the one that is listened on, once that is known
    app.add_middleware(CancelWhenGone)
    app.add_middleware(BodyLimits, most_bytes=settings.max_body_bytes, patience_s=settings.client_timeout_s)
    add_error_handlers(app)
    app.include_router(routes.router)
    app.include_router(health.router)
    describe(app)
    return app
