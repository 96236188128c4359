"""The tracer of the gateway's spans: requests, the engine's part of them, changes of the route."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from pipelines.observability import tracing as spans

NAME = "nightshift-gateway"


@contextmanager
def tracing() -> Iterator[trace.Tracer]:
    """The tracer; its spans are sent before the block ends. See pipelines.observability.tracing."""
    with spans.tracing(NAME) as tracer:
        yield tracer
