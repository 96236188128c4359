"""Traefik with the gateways.yml of docker-compose.yaml, before two small servers in place of the gateways."""

import http.client
import http.server
import re
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest

from tests.support.cluster import PROGRAMS, PROJECT, Server, free_port

pytestmark = pytest.mark.slow


class Gateway(http.server.ThreadingHTTPServer):
    """Answers, or reads a request and closes the connection without an answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.is_ready, self.breaks, self.asked = True, False, 0
        self.open = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def die(self):
        self.shutdown()
        self.server_close()
        for connection in self.open:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.open.append(self.connection)

    def do_GET(self):
        self._answer(200 if self.server.is_ready else 503)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        if self.server.breaks:
            self.close_connection = True
        else:
            self._answer(200)

    def _answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture
def gateways():
    servers = Gateway(), Gateway()
    yield servers
    for server in servers:
        server.die()


@pytest.fixture
def post(tmp_path, gateways):
    """Posts through Traefik, returns the status."""
    dynamic = (PROJECT / "deploy/compose/gateways.yml").read_text()
    for number, gateway in enumerate(gateways, 1):
        dynamic = dynamic.replace(f"gateway-{number}:8000", f"127.0.0.1:{gateway.server_port}")
    (tmp_path / "gateways.yml").write_text(dynamic)
    port, health = free_port(), free_port()
    static = (PROJECT / "deploy/compose/traefik.yml").read_text()
    static = static.replace(":8000", f"127.0.0.1:{port}").replace(":8082", f"127.0.0.1:{health}")
    static = re.sub(r"filename: .*", f"filename: {tmp_path}/gateways.yml", static)
    (tmp_path / "traefik.yml").write_text(static)
    server = Server([str(PROGRAMS / "traefik"), f"--configFile={tmp_path}/traefik.yml"], tmp_path, port)

    def ask(path="/v1/chat/completions"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", path, b"{}")
        status = connection.getresponse().status
        connection.close()
        return status

    server.start(lambda: server.answers() and ask() == 200)
    for gateway in gateways:
        gateway.asked = 0
    yield ask
    server.stop(signal.SIGKILL)


def test_a_gateway_that_died_costs_no_request(post, gateways):
    gateways[0].die()
    assert {post() for _ in range(20)} == {200}  # also before the health check has seen it
    assert gateways[1].asked == 20


def test_a_request_that_was_sent_is_not_sent_again(post, gateways):
    gateways[0].breaks = gateways[1].breaks = True
    assert [post() for _ in range(4)] == [502] * 4
    assert gateways[0].asked + gateways[1].asked == 4


def test_a_gateway_that_is_not_ready_gets_none(post, gateways):
    gateways[0].is_ready = False
    end = time.monotonic() + 10
    while time.monotonic() < end:
        before = gateways[0].asked
        assert [post() for _ in range(4)] == [200] * 4
        if gateways[0].asked == before:
            break
        time.sleep(0.2)
    assert gateways[0].asked == before


def test_users_reach_the_api_only(post):
    assert post("/metrics") == post("/readyz") == 404
