"""OpenTelemetry spans, sent over OTLP/HTTP to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.

Without a collector no span is made, and the trace that TRACEPARENT names is still handed on. Spans hold
names, numbers and verdicts, and never a user's text: of an error only its type, because its message may quote
a text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

STEPS = "nightshift-pipelines"
STEP_PATIENCE_S = 3.0  # how long a command waits for a collector, unless OpenTelemetry's variables say
_W3C = TraceContextTextMapPropagator()


@contextmanager
def tracing(name: str, patience_s: float | None = None) -> Iterator[trace.Tracer]:
    """A tracer of the service `name`. When the block ends, the spans that are waiting are sent.

    OpenTelemetry's other variables are honoured. `patience_s` limits one sending where they set no limit.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        yield trace.NoOpTracer()
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = os.environ.get("OTEL_SERVICE_NAME", name)
    said = {"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"} & set(os.environ)
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=None if said else patience_s)))
    try:
        yield provider.get_tracer(name)
    finally:
        provider.shutdown()


@contextmanager
def command_span(name: str) -> Iterator[trace.Span]:
    """The span of a command of the work plane, below the one that TRACEPARENT names."""
    with (
        tracing(STEPS, STEP_PATIENCE_S) as tracer,
        span_below(os.environ.get("TRACEPARENT", ""), tracer, name) as span,
    ):
        yield span


@contextmanager
def span_below(traceparent: str, tracer: trace.Tracer, name: str) -> Iterator[trace.Span]:
    """A span below the one that a traceparent names, or the first of its own trace."""
    with tracer.start_as_current_span(
        name,
        context_of(traceparent),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def context_of(traceparent: str, tracestate: str = "") -> Context:
    """The trace context that W3C headers name; an empty one if `traceparent` is empty or malformed."""
    return _W3C.extract({"traceparent": traceparent, "tracestate": tracestate})


def traceparent_of(span: trace.Span) -> str:
    """The W3C traceparent for what happens below this span; empty outside any trace."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent", "")
