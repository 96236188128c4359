"""Clients that send too much, too slowly or nothing at all, while others are answered."""

import concurrent.futures
import json
import socket
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, gateway, gateway_config, until

PATIENCE_S = 0.4
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def running(home):
    quick = {
        "client_timeout_s": PATIENCE_S,
        "max_connections": 20,
        "max_header_bytes": 8_000,
        "max_body_bytes": 40_000,
    }
    with gateway(gateway_config(home, **quick), DoubleEngine()) as found:
        yield found


def connect(running):
    host, port = running.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def sent(connection, chunk, most=64_000_000):
    """How many bytes the gateway takes of an endless stream of `chunk`."""
    total = 0
    try:
        while total < most:
            connection.sendall(chunk)
            total += len(chunk)
    except OSError:
        return total
    return total


def received(connection):
    """Everything until the gateway closes."""
    found = b""
    try:
        while chunk := connection.recv(65_536):
            found += chunk
    except ConnectionResetError:
        return found
    return found


def is_alive(connection):
    """Whether the next answer on a connection says so; head and body may come one by one."""
    found = b""
    while not found.endswith(b'{"status":"alive"}'):
        chunk = connection.recv(65_536)
        if not chunk:
            return False
        found += chunk
    return True


def refusal(found):
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def is_healthy(running):
    began = time.monotonic()
    answer = httpx.get(f"{running.url}/healthz", trust_env=False, timeout=5)
    return answer.status_code == 200 and time.monotonic() - began < 1


ENDLESS = {
    "a header's value": (HEAD + b"X: ", b"a" * 100_000),
    "a header's name": (HEAD, b"a" * 100_000),
    "headers": (HEAD, b"X-Header: 1\r\n" * 5_000),
    "the address": (b"GET /", b"a" * 100_000),
    "the method": (b"", b"G" * 100_000),
    "empty lines": (b"", b"\r\n" * 50_000),
    "a chunk's extension": (
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"a" * 100_000,
    ),
    "trailers": (
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
        b"X-Header: 1\r\n" * 5_000,
    ),
    "a trailer's value": (
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ",
        b"a" * 100_000,
    ),
}


@pytest.mark.parametrize(("start", "chunk"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_ends_is_cut_off(running, start, chunk):
    with connect(running) as connection:
        connection.sendall(start)
        assert sent(connection, chunk) < 48_000_000  # of 64 MB; the kernel's buffers take up to 36 MB
        assert is_healthy(running)


def test_a_head_too_large_is_refused_in_words(running):
    answer = httpx.get(f"{running.url}/healthz", headers={"X": "a" * 9_000}, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (431, "head_too_large")
    assert httpx.get(f"{running.url}/healthz", headers={"X": "a" * 7_000}, trust_env=False).status_code == 200
    with running.client() as client:  # a long body is no head
        assert client.post("/predict", json={"text": "x" * 30_000}).status_code == 200


def test_no_http_is_refused_in_words(running):
    for request in (b"hello\r\n\r\n", b"\x16\x03\x01\x00\xff\x01" + b"\0" * 50, b"GET / HTTP/9.9\r\n\r\n"):
        with connect(running) as connection:
            connection.sendall(request)
            assert refusal(received(connection)) == (400, "invalid_http")


SLOW = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a head": HEAD,
    "half a body": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
}


@pytest.mark.parametrize("start", SLOW.values(), ids=SLOW.keys())
def test_a_silent_client_is_cut_off(running, start):
    began = time.monotonic()
    with connect(running) as connection:
        connection.sendall(start)
        found = received(connection)
    assert PATIENCE_S * 0.9 < time.monotonic() - began < PATIENCE_S + 2
    if start.startswith((b"GET", b"POST")):
        assert b"408 Request Timeout" in found


def test_a_silent_client_is_cut_off_after_an_answer(running):
    with connect(running) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert is_alive(connection)
        connection.sendall(HEAD)
        assert b"408 Request Timeout" in received(connection)


def test_drops_of_a_head_do_not_extend_the_time(running):
    began = time.monotonic()
    with connect(running) as connection, suppress(OSError):
        connection.sendall(HEAD)
        while time.monotonic() - began < 5:
            connection.sendall(b"X: 1\r\n")
            time.sleep(0.05)
    assert time.monotonic() - began < PATIENCE_S + 2


def test_silent_connections_give_way_to_others(running):
    """As many as an attacker likes: the oldest of them go, and the users' requests are answered."""
    with ExitStack() as stack, running.client() as client:
        for number in range(300):
            connection = stack.enter_context(connect(running))
            connection.sendall(HEAD if number % 2 else b"")
        began = time.monotonic()
        answers = [client.post("/predict", json={"text": f"tooth {number}"}) for number in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        assert is_healthy(running)
        assert time.monotonic() - began < 3


def test_beyond_the_cap_only_health_is_answered(home):
    engine = DoubleEngine()
    engine.delays["base"] = 1.5
    with gateway(gateway_config(home, max_connections=8), engine) as running:
        with concurrent.futures.ThreadPoolExecutor(12) as pool, ExitStack() as stack:
            clients = [stack.enter_context(running.client()) for _ in range(12)]
            asked = [
                pool.submit(client.post, "/v1/chat/completions", json=chat(str(number)))
                for number, client in enumerate(clients)
            ]
            until(lambda: len(engine.asked) == 8)
            assert is_healthy(running)
            assert "nightshift_gateway" in httpx.get(f"{running.url}/metrics", trust_env=False).text
            answers = [one.result() for one in asked]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(refused) == 4
        for answer in refused:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_connections")
            assert answer.headers["retry-after"] == "1"
        with running.client() as client:
            assert client.post("/predict", json={"text": "tooth"}).status_code == 200


def test_an_answer_that_nobody_reads_is_thrown_away(home):
    config = gateway_config(home, client_timeout_s=PATIENCE_S, max_connections=20)
    with gateway(config, DoubleEngine()) as running, ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            host, port = running.url.removeprefix("http://").split(":")
            connection.connect((host, int(port)))
            with suppress(OSError):
                for _ in range(2_000):  # one after the other, as what is sent ahead is thrown away
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                    time.sleep(0.001)
        peers = running.app.state.connections
        until(lambda: peers.count <= 2, 10)


def test_idle_connections_are_closed_and_counted(running):
    with running.client() as client:
        assert client.post("/predict", json={"text": "tooth"}).status_code == 200
        assert client.post("/predict", json={"text": "tooth"}).status_code == 200  # the same connection
    peers = running.app.state.connections
    until(lambda: peers.count == 0)
    assert not peers.incomplete


def post(running, body, extra=""):
    """A request as bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token()}\r\n"
    return f"{head}{extra}Content-Length: {len(content)}\r\n\r\n".encode() + content


AHEAD = {
    "a request": HEAD + b"\r\n",
    "requests": (HEAD + b"\r\n") * 500,
    "a long body": b"POST /predict HTTP/1.1\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000,
    "garbage": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("ahead", AHEAD.values(), ids=AHEAD.keys())
def test_what_is_sent_ahead_of_an_answer_is_not_read(home, ahead):
    engine = DoubleEngine()
    engine.piece_s = 0.01
    with gateway(gateway_config(home, max_tokens=1000, max_body_bytes=40_000), engine) as running:
        with connect(running) as connection:
            connection.sendall(post(running, chat("first", max_tokens=20)) + ahead)
            found = received(connection)
        assert found.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in found
        assert json.loads(found.partition(b"\r\n\r\n")[2])["usage"]["completion_tokens"] == 20
        with connect(running) as connection:  # nor does it hide that the client leaves
            connection.sendall(post(running, chat("second", max_tokens=900)) + ahead)
            until(lambda: engine.running)
        until(lambda: not engine.running, 3)  # the whole answer takes 9 s


def test_an_endless_stream_behind_a_request_is_cut(home):
    engine = DoubleEngine()
    engine.delays["base"] = 5
    with gateway(gateway_config(home, max_body_bytes=40_000), engine) as running:
        with connect(running) as connection:
            connection.sendall(post(running, chat("first")))
            assert sent(connection, HEAD * 1000 + b"\r\n") < 48_000_000
        until(lambda: running.app.state.connections.count == 0)


def test_no_other_protocol_swallows_a_body(running):
    """Java's client asks for HTTP/2 in this way by default."""
    asks = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    with connect(running) as connection:
        connection.sendall(post(running, chat("x"), asks))
        assert refusal(received(connection)) == (400, "upgrade_refused")
    with connect(running) as connection:
        connection.sendall(HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert is_alive(connection)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity, gzip", "br", "x" * 500, ""])
def test_a_compressed_body_is_refused(running, coding):
    with running.client() as client:
        answer = client.post("/predict", json={"text": "x"}, headers={"Content-Encoding": coding})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_encoding")
        plain = client.post("/predict", json={"text": "x"}, headers={"Content-Encoding": "Identity"})
        assert plain.status_code == 200
