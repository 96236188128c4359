"""The gateway's spans: a request, the engine's part of it, a change of the route."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from pipelines.observability import tracing as spans

NAME = "nightshift-gateway"


@contextmanager
def tracing() -> Iterator[trace.Tracer]:
    """The tracer; on the way out what is waiting is sent. See pipelines.observability.tracing."""
    with spans.tracing(NAME) as tracer:
        yield tracer
