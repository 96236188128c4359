"""A second tenant with a good token and bad manners. Whatever it sends is its own trouble."""

import json
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest

from gateway.engines.base import EngineError
from gateway.engines.openai import OpenAIEngine
from gateway.http.routes import tracestate
from gateway.logs import without_texts
from pipelines.core.config import Serving
from pipelines.core.traffic_split import Route
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import ONE, chat, events, gateway, gateway_config, until
from tests.support.journal import journal_rows
from tests.support.upstream import answer_of, stream_of, upstream

CHAT = "/v1/chat/completions"


def error(answer):
    return answer.json()["error"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gateway(gateway_config(tmp_path_factory.mktemp("home")), DoubleEngine()) as found:
        yield found


def many(number):
    return {f"k{place}": 1 for place in range(number)}


WIDE = {
    "fields of a message": chat("x")
    | {"messages": [{"role": "assistant", "content": "x", "provider_specific_fields": many(15_000)}]},
    "fields": chat("x") | many(15_000),
    "a bias": chat("x", logit_bias=many(15_000)),
    "messages": chat("x") | {"messages": [many(15_000)]},
    "parts": chat("x") | {"messages": [{"role": "user", "content": [{}] * 50_000}]},
    "choices": chat("x", guided_choice=[1] * 60_000),
    "numbers": chat("x", tools=[10**4000] * 60),
}


@pytest.mark.parametrize("body", WIDE.values(), ids=WIDE.keys())
def test_a_wide_body_holds_nobody_up(running, body):
    """The event loop reads it, so the others wait meanwhile."""
    content = json.dumps(body)
    with running.client() as client:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            answer = client.post(CHAT, content=content)
            took.append(time.perf_counter() - began)
            assert answer.status_code == 400
        assert min(took) < 1
        assert "messages[0].provider" in answer.text or "provider" not in content
        assert len(answer.content) < 500


LONG = {
    "a number": f'{{"temperature": {"9" * 4000}}}',
    "a key": json.dumps({"k" * 200_000: 1}),
    "a key twice": f'{{"{"k" * 90_000}": 1, "{"k" * 90_000}": 2}}',
    "a text": json.dumps(chat("x", locale="x" * 200_000)),
    "a model": json.dumps({"model": "m" * 200, "messages": chat("x")["messages"]}),
    "a limit": json.dumps(chat("x", max_completion_tokens=10**4000)),
}


@pytest.mark.parametrize("content", LONG.values(), ids=LONG.keys())
def test_an_error_does_not_repeat_what_is_long(running, content):
    with running.client() as client:
        answer = client.post(CHAT, content=content)
    assert answer.status_code in (400, 404)
    assert len(answer.content) < 500


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_that_was_sent_is_named(running, name):
    with running.client() as client:
        found = error(client.post(CHAT, json=chat("x", **{name: 257})))
    assert (found["code"], found["param"]) == ("max_tokens_exceeded", name)
    assert f"{name} is 257" in found["message"]


def test_two_authorization_headers_prove_nothing(running):
    good, other = (f"Bearer {running.token(tenant)}" for tenant in ("north-clinic", "south-clinic"))
    with running.client() as client:
        for first, second in ((good, other), (good, "Bearer x"), (good, good)):
            headers = [("Authorization", first), ("Authorization", second)]
            answer = client.get("/v1/models", headers=headers)
            assert (answer.status_code, error(answer)["code"]) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("header", "is_good"),
    [
        ("congo=t61rcWkgMzE", True),
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,fw529a3039@dt=FfFf", True),
        ("", False),
        ("what a person said", False),
        ("a=" + "x" * 600, False),
        ("a=1\nb", False),
        (",".join(f"k{number}=1" for number in range(40)), False),
    ],
)
def test_only_a_good_tracestate_is_read(running, caplog, header, is_good):
    assert bool(tracestate(header)) == is_good
    headers = {
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "tracestate": header.replace("\n", ""),
    }
    with running.client() as client:
        assert client.post(CHAT, json=chat("x"), headers=headers).status_code == 200
    assert not header or header not in caplog.text


def at_once(clients_and_bodies):
    """Send all requests at the same time; returns the answers in their order."""
    with ThreadPoolExecutor(len(clients_and_bodies)) as pool:
        return list(pool.map(lambda one: one[0].post(CHAT, json=one[1]), clients_and_bodies))


def test_a_flood_of_one_tenant_does_not_fill_the_queue(home):
    """It may use all places while nobody else asks; then the others come next."""
    engine, order = DoubleEngine(), []
    engine.delays["base"] = 0.2
    answer = engine._answer

    def noted(request, who):
        order.append(request.messages[-1]["content"].partition(" ")[0])
        return answer(request, who)

    engine._answer = noted
    config = gateway_config(home, concurrency=2, queue=6)
    with gateway(config, engine) as running, ExitStack() as stack:
        north, south = (stack.enter_context(running.client(name)) for name in ("north", "south"))
        pool = stack.enter_context(ThreadPoolExecutor(20))
        flood = [pool.submit(north.post, CHAT, json=chat(f"north {number}")) for number in range(12)]
        until(lambda: len([one for one in flood if one.done()]) >= 4)  # 2 run, 6 wait, 4 are refused
        answers = at_once([(south, chat(f"south {number}")) for number in range(3)])
        assert {answer.status_code for answer in answers} == {200}
        statuses = [one.result().status_code for one in flood]
        assert statuses.count(200) >= 4
        assert statuses.count(429) >= 6
    assert order.count("south") == 3
    assert order[-1] == "north"  # some that waited before the others came are answered after them


def test_one_tenants_failures_open_no_circuit_for_others(home):
    engine = DoubleEngine()
    failing = threading.Event()
    answer = engine._answer

    def fails_for_evil(request, who):
        if request.messages[-1]["content"].startswith("evil") or failing.is_set():
            raise EngineError("The test wants a fault.", "Nothing to do.")
        return answer(request, who)

    engine._answer = fails_for_evil
    with gateway(gateway_config(home, breaker_reset_s=60.0), engine) as running, ExitStack() as stack:
        names = ("north", "south", "west", "east")
        north, south, west, east = (stack.enter_context(running.client(name)) for name in names)
        codes = [error(north.post(CHAT, json=chat(f"evil {number}")))["code"] for number in range(8)]
        assert codes == ["engine_failed"] * 5 + ["circuit_open"] * 3
        assert error(north.post(CHAT, json=chat("good")))["code"] == "circuit_open"
        assert [south.post(CHAT, json=chat(f"{number}")).status_code for number in range(3)] == [200] * 3
        failing.set()  # for everybody, which is the adapter's fault
        for client in (south, west, south, west, east):
            assert error(client.post(CHAT, json=chat("new")))["code"] == "engine_failed"
        assert error(east.post(CHAT, json=chat("new")))["code"] == "circuit_open"


def filtered(*texts):
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return stream_of(*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]})


def echo(status, **more):
    def said(body):
        problem = {"message": f"wrong: {body['messages'][-1]['content']}", **more}
        return status, "application/json", json.dumps({"error": problem}).encode()

    return said


@contextmanager
def behind(home, said):
    """A gateway before a server that says what the test wants to whoever is evil, and "Dental" to others."""

    def answer(body):
        return said(body) if "evil" in body["messages"][-1]["content"] else answer_of("Dental")

    with upstream(answer) as address:
        engine = OpenAIEngine(Serving(engine="openai", url=address, served_base="base"))
        with gateway(gateway_config(home), engine) as running:
            yield running


@pytest.mark.parametrize("said", [lambda body: filtered(), echo(400, code="content_filter")])
def test_a_filtered_answer_is_its_askers_trouble(home, said):
    with behind(home, said) as running, running.client() as client:
        answers = [client.post(CHAT, json=chat(f"evil {number}")) for number in range(6)]
        assert {(one.status_code, error(one)["code"]) for one in answers} == {(400, "content_filter")}
        assert client.post(CHAT, json=chat("good")).status_code == 200
    assert [row["fault"] for row in journal_rows(home)] == [""]


def test_a_stream_that_is_filtered_late_says_so(home):
    with behind(home, lambda body: filtered("one", " two")) as running, running.client() as client:
        *chunks, last = events(client.post(CHAT, json=chat("evil", stream=True)).text)
        assert chunks
        assert last["error"]["code"] == "content_filter"


SECRET = "Mr Banda of Chipata, file 8230915847"


@pytest.mark.parametrize("said", [echo(400), echo(422), echo(500), echo(403), lambda body: filtered(SECRET)])
def test_a_servers_words_bring_no_prompt_into_the_log(home, caplog, said):
    with behind(home, said) as running, running.client() as client:
        for fields in ({}, {"stream": True}, {"guided_choice": ["a", "b"]}):
            assert '"error"' in client.post(CHAT, json=chat(f"evil {SECRET}", **fields)).text
    found = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "wrong: " in found or "filter" in found
    assert "Banda" not in found
    assert "8230915847" not in found


@pytest.mark.parametrize(
    ("words", "texts", "left"),
    [
        ("wrong: how is Mr Banda of Chipata?", ["how is Mr Banda of Chipata?"], "wrong: …"),
        ("wrong: ...is Mr Banda of Chi... (cut)", ["how is Mr Banda of Chipata?"], "wrong: ...…... (cut)"),
        ("no such model", ["how is Mr Banda of Chipata?"], "no such model"),
        ("wrong: Banda!", ["Banda", "x"], "wrong: …!"),
        ("wrong: x", ["x", ""], "wrong: x"),
        ("", ["a" * 20], ""),
        ("short", ["short"], "…"),
    ],
)
def test_what_a_log_line_leaves_out(words, texts, left):
    assert without_texts(words, texts) == left


def nothing_is_held(running, engine):
    """Whether every place, token and connection was given back."""
    service = running.app.state.service
    backends = service.live_route._backends
    rooms = [backend._room for backend in backends._made.values()]
    return (
        engine.running == 0
        and all(room._running.total() == room.waiting == 0 for room in rooms)
        and not backends.capacity._running
        and all(use.reserved == 0 for use in service.quotas._uses.values())
        and running.metric('in_flight{adapter="base"}') == running.metric('queued{adapter="base"}') == 0
    )


def test_whatever_clients_do_all_is_given_back(home):
    """Two hundred requests of four tenants end in every way there is, at every moment."""
    chance = random.Random(7)
    engine = DoubleEngine()
    engine.piece_s = 0.001
    config = gateway_config(
        home, concurrency=3, queue=6, attempt_timeout_s=0.4, timeout_s=0.6, breaker_failures=1000
    )
    with gateway(config, engine) as running:
        host, port = running.url.removeprefix("http://").split(":")
        tokens = [running.token(tenant) for tenant in ("a", "b", "c", "d")]

        def ask(number):
            engine.faults["base"] = chance.choice(["", "", "", "error", "refuse", "late"])
            fields = chance.choice([{"stream": True}, {"guided_choice": ["x", "y"]}, {"max_tokens": 0}, {}])
            content = json.dumps(chat(f"{number}", **{"max_tokens": chance.choice([1, 40, 250])} | fields))
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {chance.choice(tokens)}\r\n"
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
                connection.settimeout(chance.choice([0.001, 0.01, 0.05, 0.2, 2]))
                with suppress(OSError):
                    connection.recv(chance.choice([1, 100_000]))
                    if chance.random() < 0.3:  # reset instead of a close
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(ask, range(200)))
        until(lambda: nothing_is_held(running, engine))
        engine.faults.clear()
        with running.client("e") as client:
            assert client.post(CHAT, json=chat("at last", max_tokens=2)).status_code == 200
        assert running.ready()["problem"] == ""
        faults = {row["fault"] for row in journal_rows(home)}
        assert {"", "aborted", "engine"} <= faults


def test_readiness_shows_no_path_of_the_machine(home):
    def fetch(adapter):
        raise FileNotFoundError(f"{home}/runs/2026-01-01/train is missing")

    with gateway(gateway_config(home), DoubleEngine(), fetch) as running:
        ledger = running.ledger
        ledger.add_promotion(ledger.promotion(), "test", Route(production=ONE), "a test", "pytest")
        until(lambda: "{home}/runs/2026-01-01/train is missing" in running.ready()["problem"])
        assert str(home) not in running.ready()["problem"]
