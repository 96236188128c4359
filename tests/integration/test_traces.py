"""One trace from a step's process, and a rollback's, to the gateway's route change; a real OTLP receiver."""

import subprocess
import sys
import threading
import time
from collections import namedtuple
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.tracing import tracing
from pipelines.core.traffic_split import Route
from pipelines.observability.tracing import command_span, traceparent_of
from pipelines.stores import open_ledger
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import gateway, gateway_config, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
Span = namedtuple("Span", "service name trace id parent attributes status")


@contextmanager
def collector():
    """An OTLP/HTTP receiver: its address, and the spans that it got."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            spans.extend(spans_of(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


def spans_of(request):
    for resource in request.resource_spans:
        about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                told = {p.key: getattr(p.value, p.value.WhichOneof("value")) for p in span.attributes}
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                yield Span(about["service.name"], span.name, *ids, told, span.status)


def command(config, *words, **environment):
    """A command of the work plane, as an operator starts it."""
    where = ["--home", config.home, "--config", str(Path(__file__).parents[1] / "support" / "tiny.toml")]
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *words, *where],
        env={"PATH": "/usr/bin:/bin", "TRACEPARENT": TRACEPARENT, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_one_trace_from_a_step_to_the_gateways_route_change(home, monkeypatch):
    config = gateway_config(home)
    with collector() as (url, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        run_dir = f"{home}/runs/2026-01-02"
        (home / "in").mkdir()
        source = ("--set", "ingest.kind=files", "--set", f"ingest.source={home}/in/*.parquet")
        done = command(config, "ingest", "--run-dir", run_dir, *source, **exporting)
        assert done.returncode == 0, done.stderr
        assert command(config, "validate", "--run-dir", run_dir, **exporting).returncode == 2

        ledger = open_ledger(config)
        with tracing() as tracer, gateway(config, DoubleEngine(), tracer=tracer) as running:
            running.promote(Route(has_previous=True))
            done = command(config, "rollout-rollback", "--reason", "it is rude", **exporting)
            assert done.returncode == 0, done.stderr
            until(lambda: running.ready()["promotion"] == ledger.promotion().number)

    step, broken, move = (one(spans, name) for name in ("ingest", "validate", "rollout-rollback"))
    assert {span.trace for span in (step, broken, move)} == {TRACE}
    assert {span.parent for span in (step, broken, move)} == {PARENT}
    assert (step.service, step.attributes["nightshift.verdict"]) == ("nightshift-pipelines", "hold")
    assert step.attributes["nightshift.run_id"] == "2026-01-02"
    assert 0 < step.attributes["nightshift.seconds"] < 60
    assert (broken.status.code, broken.status.message) == (2, "InputError")
    assert ledger.promotion().evidence["traceparent"] == f"00-{TRACE}-{move.id}-01"
    change = next(span for span in spans if span.name == "route change" and span.trace == TRACE)
    assert (change.service, change.parent) == ("nightshift-gateway", move.id)
    assert change.attributes == {"nightshift.promotion": 2, "nightshift.move": "rollback"}
    strangers = [span for span in spans if span.name == "route change" and span.trace != TRACE]
    assert len(strangers) == 2  # the start, and a move that no trace led to
    assert "rude" not in str(spans)


@pytest.mark.parametrize("given", [TRACEPARENT, "", "nonsense"])
def test_without_a_collector_the_trace_is_still_handed_on(monkeypatch, given):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("TRACEPARENT", given)
    with command_span("rollout-rollback") as span:
        assert traceparent_of(span) == (given if given == TRACEPARENT else "")


@pytest.mark.slow
def test_a_collector_that_is_gone_is_not_waited_for(home):
    gone = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    began = time.monotonic()
    done = command(gateway_config(home), "curate", "--run-dir", f"{home}/runs/2026-01-02", **gone)
    assert done.returncode == 2
    assert "has not finished in this run" in done.stderr
    assert time.monotonic() - began < 20


def one(spans, name):
    (found,) = [span for span in spans if span.name == name]
    return found
