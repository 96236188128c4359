"""A second tenant with a good token and bad manners. Whatever it sends is its own trouble."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway.engines.base import EngineError
from gateway.http.routes import tracestate
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, gateway, gateway_config, until

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
        assert min(took) < 0.06
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
    engine = DoubleEngine()
    engine.delays["base"] = 0.2
    config = gateway_config(home, concurrency=2, queue=6)
    with gateway(config, engine) as running, ExitStack() as stack:
        north, south = (stack.enter_context(running.client(name)) for name in ("north", "south"))
        pool = stack.enter_context(ThreadPoolExecutor(20))
        flood = [pool.submit(north.post, CHAT, json=chat(f"{number}")) for number in range(12)]
        until(lambda: len([one for one in flood if one.done()]) >= 4)  # 2 run, 6 wait, 4 are refused
        began = time.monotonic()
        answers = at_once([(south, chat(f"{number}")) for number in range(3)])
        assert {answer.status_code for answer in answers} == {200}
        assert time.monotonic() - began < 0.2 * 4  # behind all that wait it were 5 turns
        statuses = [one.result().status_code for one in flood]
        assert statuses.count(200) >= 4
        assert statuses.count(429) >= 6


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
