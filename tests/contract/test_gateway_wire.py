"""Requests with bytes changed at random: the gateway answers or closes, and never fails."""

import json
import socket

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.double_engine import DoubleEngine
from tests.support.fuzz import examples
from tests.support.gateways import chat, gateway, gateway_config, until

TOKENS = [
    *(b"\r\n", b"\0", b"\xff", b"\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"9" * 30, b'"', b"{"),
    *(b"[", b"\\ud800", b"null", b"-1", b"1e400", b"%00", b"X-Opt-Out: maybe\r\n", b"HTTP/2.0"),
]
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.sampled_from([b"", *TOKENS])), max_size=4)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    config = gateway_config(tmp_path_factory.mktemp("home"), client_timeout_s=0.3)
    with gateway(config, DoubleEngine()) as found:
        yield found


def requests(running):
    """Good requests, as bytes."""
    head = f"Host: x\r\nConnection: close\r\nAuthorization: Bearer {running.token()}\r\n"
    bodies = {
        "/v1/chat/completions": chat("hello", stream=True, seed=1),
        "/predict": {"text": "tooth", "user": "p-7"},
        "/v1/feedback": {"request_id": "x", "rating": 1},
    }
    for path, body in bodies.items():
        content = json.dumps(body)
        yield f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(content)}\r\n\r\n{content}".encode()
    yield f"GET /v1/models HTTP/1.1\r\n{head}\r\n".encode()
    chunks = 'd\r\n{"text": "x"}\r\n0\r\n\r\n'
    yield f"POST /predict HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{chunks}".encode()


def edited(request, edits):
    for place, length, token in edits:
        at = int(place * len(request))
        request = request[:at] + token + request[at + length :]
    return request


def answer(running, request):
    host, port = running.url.removeprefix("http://").split(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            connection.sendall(request)
            while chunk := connection.recv(65_536):
                found += chunk
                connection.settimeout(1)
        except ConnectionResetError:
            return found
        except TimeoutError:  # `Connection: close` is among the bytes that were changed
            assert found
    return found


@pytest.mark.slow
@pytest.mark.fuzz
def test_changed_bytes_are_answered_or_cut_off(running):
    good = list(requests(running))
    assert all(answer(running, request).startswith(b"HTTP/1.1 ") for request in good)

    @settings(max_examples=examples(), deadline=None, derandomize=True)
    @given(request=st.sampled_from(good), edits=EDITS)
    def send(request, edits):
        found = answer(running, edited(request, edits))
        assert not found.startswith(b"HTTP/1.1 5"), found

    send()
    assert httpx.get(f"{running.url}/healthz", trust_env=False).status_code == 200
    until(lambda: running.app.state.connections.count == 0)
