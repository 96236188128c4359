"""Readings wait while Airflow is away. What is refused, or would be done twice, does not."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from nightshift.local import api as module
from nightshift.local.api import Api

from pipelines.core.errors import MachineError, UnavailableError


@contextmanager
def airflow(*answers):
    """A server that gives out a token, and then these (status, body), the last one again and again."""
    asked, left = [], list(answers)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self):
            asked.append(self.path)
            status, body = 200, {"access_token": "t"}
            if self.path != "/auth/token":
                status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)


def test_a_reading_waits_for_airflows_database():
    away = 500, {"detail": {"reason": "Database error", "message": "Serious error"}}
    with airflow(away, away, (200, {"state": "running"})) as (url, asked):
        assert Api(url, "p").call("/run") == {"state": "running"}
        assert asked.count("/run") == 3


def test_an_airflow_that_stays_away_is_named():
    refused = pytest.raises(UnavailableError, match="refused /run with 503: Service Unavailable")
    with airflow((503, "no detail")) as (url, _), refused:
        Api(url, "p", away_s=0.1).call("/run")
    with pytest.raises(UnavailableError, match=f"does not answer at {url}: .*refused"):
        Api(url, "p", away_s=0.1)


def test_a_trigger_is_sent_once():
    with airflow((500, {"detail": "down"})) as (url, asked):
        with pytest.raises(UnavailableError, match="with 500: down"):
            Api(url, "p").call("/dagRuns", {"conf": {}})
        assert asked.count("/dagRuns") == 1


def test_a_refusal_is_told_at_once():
    with airflow((403, {"detail": "Forbidden"})) as (url, asked):
        with pytest.raises(MachineError, match="with 403: Forbidden"):
            Api(url, "p").call("/run")
        assert asked.count("/run") == 1
