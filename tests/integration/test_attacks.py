"""What one tenant can do to the others: nothing. A second tenant asks all the while, and gets its answers."""

import asyncio
import json
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import pytest
from redis import Redis
from safetensors.torch import load_file, save_file

from gateway.engines.base import CompletionRequest, RequestRefused
from gateway.engines.embedded import EmbeddedEngine
from gateway.engines.openai import OpenAIEngine
from gateway.engines.rows import BatchRow
from gateway.serving.routing_key import routing_key
from gateway.serving.workers import keep_working
from pipelines.core.config import Serving
from pipelines.core.errors import InputError
from pipelines.core.traffic_split import Route
from pipelines.models import engine as evaluated
from pipelines.stores.ledger.tables import PROMOTIONS
from tests.support import tiny
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import ONE, TWO, chat, gateway, gateway_config, until
from tests.support.journal import journal_rows
from tests.support.templates import CHATML, GEMMA, MISTRAL
from tests.support.upstream import answer_of, error_of, stream_of, upstream

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@contextmanager
def neighbour(running, least=5):
    """Another tenant that asks one question after the other. Each must be answered."""
    got, stopping = [], threading.Event()

    def ask_on():
        with running.client("south-clinic") as client:
            while not stopping.is_set() or len(got) < least:
                text = f"question {len(got)}"
                got.append(client.post(CHAT, json=chat(text, max_tokens=2)).status_code)

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield got
    finally:
        stopping.set()
        thread.join(20)
    assert len(got) >= least
    assert set(got) == {200}


def faults(running):
    """What the journal holds against adapters."""
    return [row["fault"] for row in journal_rows(running.config.home) if row["error"]]


def ask(client, text="hello", **fields):
    return client.post(CHAT, json=chat(text, **fields))


ODD = {
    "a seed beyond 64 bits": {"seed": 2**70},
    "a tiny temperature": {"temperature": 1e-320},
    "choices twice": {"guided_choice": ["Surgery", "Surgery"]},
    "choices that are one": {"guided_choice": ["Surgery", "Surgery<|im_end|>"]},
    "an empty stop": {"stop": [""]},
    "half a character": {"messages": [{"role": "user", "content": "\ud800"}]},
    "a prompt too long": {"messages": [{"role": "user", "content": "why " * 3000}]},
    "a prompt for the tokenizer": {"messages": [{"role": "user", "content": "\u0f00\u200d" * 4000}]},
    "an assistant alone": {"messages": [{"role": "assistant", "content": "yes"}]},
    "nothing said": {"messages": [{"role": "user", "content": ""}]},
}


def test_odd_requests_trouble_nobody_else(home, base):
    """Five of each, as five failures would open a circuit. The real engine answers."""
    config = gateway_config(home, **{"model.base": str(base)})
    engine = EmbeddedEngine(config.serving, config.model, str(base))
    with gateway(config, engine) as running, running.client() as client, neighbour(running):
        for name, fields in ODD.items():
            body = json.dumps(chat("x", **{"max_tokens": 2} | fields))
            answers = [client.post(CHAT, content=body) for _ in range(5)]
            assert {answer.status_code for answer in answers} <= {200, 400}, (name, answers[0].text)
            if name == "a prompt too long":
                assert answers[0].json()["error"]["code"] == "context_length_exceeded"
        assert ask(client).status_code == 200
        assert faults(running) == []
        assert engine.restarts == 0


NEEDS_A_USER = """{% set seen = namespace(user=false) %}{% for m in messages %}{% if m.role == 'user' %}\
{% set seen.user = true %}{% endif %}{% endfor %}{% if not seen.user %}\
{{ raise_exception('No user query found in messages.') }}{% endif %}"""
NO_USER = [
    [{"role": "system", "content": "Be brief."}],
    [{"role": "developer", "content": "Be brief."}, {"role": "system", "content": ""}],
    [{"role": "assistant", "content": "Dental"}],
    [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Dental"}],
]


@pytest.mark.parametrize("template", [GEMMA, NEEDS_A_USER + CHATML, MISTRAL])
def test_what_a_template_refuses_is_its_senders_fault(home, base, tmp_path, template):
    """A base without a system role, or one that asks for a user's turn. Six of each."""
    own = shutil.copytree(base, tmp_path / "own")
    (own / "chat_template.jinja").write_text(template)
    config = gateway_config(home, **{"model.base": str(own)})
    engine = EmbeddedEngine(config.serving, config.model, str(own))
    with gateway(config, engine) as running, running.client() as client, neighbour(running):
        for messages in NO_USER:
            body = chat("x", max_tokens=2) | {"messages": messages}
            answers = [client.post(CHAT, json=body) for _ in range(6)]
            assert {answer.status_code for answer in answers} == {400}, answers[0].text
            assert answers[0].json()["error"]["code"] == "invalid_request"
        assert faults(running) == []


def test_a_conversation_too_long_is_read_once(home, base):
    """One thread reads the prompts of everybody."""
    config = gateway_config(home, **{"model.base": str(base)})
    engine = evaluated.Engine(config.model, str(base))
    read, tokens = [], engine.rendering._tokens
    engine.rendering._tokens = lambda text: read.append(len(text)) or tokens(text)
    turns = [{"role": "user", "content": "<|im_"}] * 198 + [{"role": "user", "content": "<|im_" * 5_800}]
    with pytest.raises(RequestRefused, match="are the most"):
        BatchRow(CompletionRequest(turns), None).prepare(engine)
    assert sum(read) < 2.5 * 5 * 5_800
    fits = [*turns[:-1], {"role": "user", "content": "why?"}]
    BatchRow(CompletionRequest(fits), None).prepare(engine)


def test_an_adapter_that_breaks_in_warm_up_leaves_no_trace(home, base, tmp_path):
    """Its weights are finite, and its answers are not."""
    good = tiny.make_adapter(base, tmp_path / "good", ["hello Surgery"], 1)
    bad = shutil.copytree(good, tmp_path / "bad")
    weights = load_file(bad / "adapter_model.safetensors")
    save_file({name: tensor * 1e18 for name, tensor in weights.items()}, bad / "adapter_model.safetensors")
    config = gateway_config(home, **{"model.base": str(base)})
    engine = EmbeddedEngine(config.serving, config.model, str(base))
    folders = {ONE: good, TWO: bad}
    with gateway(config, engine, folders.__getitem__) as running, neighbour(running):
        running.promote(Route(production=ONE))
        ledger = running.ledger
        ledger.add_promotion(
            ledger.promotion(), "test", Route(production=ONE, shadow=TWO), "a test", "pytest"
        )
        until(lambda: "not finite" in running.ready()["problem"], 60)
        assert len(engine._loaded) == 1
        assert faults(running) == []


@contextmanager
def behind(home, said, prefix="", url="{}", **settings):
    """A gateway whose engine is a server that says what the test wants."""
    with upstream(said, prefix) as address:
        engine = OpenAIEngine(Serving(engine="openai", url=url.format(address), served_base="base"))
        with gateway(gateway_config(home, **settings), engine) as running, running.client() as client:
            yield running, client


def test_a_server_that_ignores_the_schema_has_failed(home):
    wanted = {"response_format": {"type": "json_object"}}
    asked = []

    def said(body):
        asked.append(body.get("response_format"))
        return answer_of('{"ward": "Dental"}' if "well" in body["messages"][-1]["content"] else "Certainly!")

    with behind(home, said) as (_, client):
        well, badly = (ask(client, text, **wanted) for text in ("well", "badly"))
        assert well.json()["choices"][0]["message"]["content"] == '{"ward": "Dental"}'
        assert (badly.status_code, badly.json()["error"]["code"]) == (502, "engine_failed")
        assert ask(client, "badly").json()["choices"][0]["message"]["content"] == "Certainly!"
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert {"type": "json_schema", "json_schema": schema} in asked


def test_what_the_server_refuses_is_its_senders_fault(home, caplog):
    def said(body):
        text = body["messages"][-1]["content"]
        return error_of(400, "stop must not be empty") if "refuse" in text else answer_of("Dental")

    with behind(home, said) as (running, client), neighbour(running):
        answers = [ask(client, f"refuse {number}") for number in range(8)]
        assert {answer.status_code for answer in answers} == {400}
        assert "stop must not be empty" in answers[0].json()["error"]["message"]
        assert ask(client).json()["choices"][0]["message"]["content"] == "Dental"
        assert running.metric('failures_total{adapter="base",fault="engine",route="production"}') == 0
    assert len(journal_rows(home)) == len([row for row in journal_rows(home) if not row["fault"]])
    assert "stop must not be empty" in caplog.text


def test_a_server_that_fails_is_told_in_its_own_words(home, caplog):
    def said(body):
        broken = body["messages"][-1]["content"] == "break"
        return error_of(500, "CUDA is out of memory") if broken else answer_of("Dental")

    with behind(home, said) as (running, client):
        assert ask(client, "break").status_code == 502
        until(lambda: faults(running) == ["engine"])
    failed = next(record for record in caplog.records if record.message == "an attempt failed")
    assert "CUDA is out of memory" in failed.words


def test_what_a_server_sends_poisons_no_journal(home):
    usage = {"prompt_tokens": 2**80, "completion_tokens": -5}

    def said(body):
        text = body["messages"][-1]["content"]
        return answer_of("half \ud83d of it", usage) if "poison" in text else answer_of("Dental")

    with behind(home, said) as (running, client), neighbour(running):
        for stream in (False, True):
            answer = ask(client, "poison", stream=stream)
            assert answer.status_code == 200
            assert "half ? of it" in answer.text
        asked = ask(client)
        opinion = {"request_id": asked.json()["id"], "rating": 1}
        assert client.post("/v1/feedback", json=opinion).json()["result"] == "stored"
        assert running.ready()["problem"] == ""
        assert running.metric("journal_set_aside") == 0


@pytest.mark.parametrize("url", ["{}", "{}/", "{}/v1", "{}/v1/"])
@pytest.mark.parametrize("prefix", ["", "/llm"])
def test_the_servers_address_may_be_written_as_printed(home, url, prefix):
    with behind(home, lambda body: answer_of("Dental"), prefix, url) as (_, client):
        assert ask(client).json()["choices"][0]["message"]["content"] == "Dental"


@pytest.mark.parametrize("takes", [True, False])
def test_a_server_gets_the_templates_variables(home, takes):
    """A server that refuses the field is asked without it from then on; nobody can make that happen."""
    bodies = []

    def said(body):
        bodies.append(body)
        text = body["messages"][-1]["content"]
        refused = text == "chat_template_kwargs" or (not takes and "chat_template_kwargs" in body)
        return error_of(422, f"unexpected: chat_template_kwargs, {text}") if refused else answer_of("Dental")

    with behind(home, said) as (_, client):
        assert ask(client, "chat_template_kwargs").status_code == 400
        assert ask(client).json()["choices"][0]["message"]["content"] == "Dental"
    assert ("chat_template_kwargs" in bodies[-1]) == takes
    if takes:
        assert bodies[-1]["chat_template_kwargs"]["enable_thinking"] is False


def test_usage_that_is_null_is_no_fault(home):
    chunk = {
        "choices": [{"index": 0, "delta": {"content": "Dental"}, "finish_reason": "stop"}],
        "usage": None,
    }
    with behind(home, lambda body: stream_of(chunk, chunk | {"choices": None})) as (_, client):
        assert ask(client).json()["usage"] == {"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1}


def test_too_much_to_do_is_no_fault(home):
    """Eight answers of 256 tokens take 4 s together and 0.5 s alone; an attempt may take 1 s."""
    engine = DoubleEngine()
    engine.piece_s = 0.002
    config = gateway_config(home, attempt_timeout_s=1.0, timeout_s=1.5, max_tokens=256)
    with gateway(config, engine) as running:
        with running.client() as client, ThreadPoolExecutor(8) as pool:
            for turn in range(3):
                bodies = [chat(f"{turn} {number}", max_tokens=256) for number in range(8)]
                answers = list(pool.map(lambda body: client.post(CHAT, json=body), bodies))
                assert {answer.status_code for answer in answers} <= {200, 429, 504}
                late = [answer for answer in answers if answer.status_code != 200]
                assert all(int(answer.headers["retry-after"]) >= 1 for answer in late)
        # By now it is known how fast the engine is: what cannot be done in time is refused at once.
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) >= 4
        assert min(answer.elapsed.total_seconds() for answer in refused) < 0.5
        with neighbour(running):
            assert faults(running) == []
        assert running.metric('failures_total{adapter="base",fault="timeout",route="production"}') == 0


def test_a_stuck_adapter_is_still_a_fault(home):
    engine = DoubleEngine()
    engine.delays["2"] = 10.0
    config = gateway_config(home, attempt_timeout_s=0.2, breaker_failures=3)
    with gateway(config, engine) as running, running.client() as client:
        running.promote(Route(production=ONE, canary=TWO, canary_weight=1.0))
        answers = [ask(client, f"{number}") for number in range(5)]
        assert {answer.json()["nightshift"]["adapter"] for answer in answers} == {"1"}
        until(lambda: len(faults(running)) == 5)
        assert faults(running) == ["timeout"] * 3 + ["circuit open"] * 2


def leave(running, body, pieces):
    """Send a chat request and go away after some events; 0 goes before the first."""
    host, port = running.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token()}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        until(lambda: running.engine.running)
        got = b""
        while got.count(b"data: ") < pieces:
            got += connection.recv(4096)


@pytest.mark.parametrize(("stream", "pieces"), [(False, 0), (True, 0), (True, 3)])
def test_who_leaves_is_not_generated_for(home, stream, pieces):
    engine = DoubleEngine()
    engine.piece_s = 0.02
    with gateway(gateway_config(home, max_tokens=1000), engine) as running, neighbour(running, 2):
        running.engine = engine
        started = time.monotonic()
        leave(running, chat("bye", max_tokens=500, stream=stream), pieces)
        until(lambda: [row for row in journal_rows(home) if row["fault"] == "aborted"])
        assert time.monotonic() - started < 4  # the whole answer takes 10 s
        (row,) = [row for row in journal_rows(home) if row["tenant"] == "north-clinic"]
        assert (row["fault"], row["error"]) == ("aborted", False)
        assert 0 < row["tokens_out"] < 300 or not pieces
    assert engine.running == 0


def test_streams_that_are_left_early_cost_what_was_made(home):
    engine = DoubleEngine()
    engine.piece_s = 0.005
    tight = {"north-clinic": {"requests_per_minute": 1000, "tokens_per_day": 100}}
    with gateway(gateway_config(home, tenants=tight), engine) as running, neighbour(running):
        running.engine = engine
        for number in range(3):
            leave(running, chat(f"{number}", max_tokens=64, stream=True), 40)
            until(lambda: len([r for r in journal_rows(home) if r["fault"] == "aborted"]) == number + 1)  # noqa: B023
        with running.client() as client:
            assert ask(client).json()["error"]["code"] == "quota_exceeded"


def test_a_row_that_another_version_wrote_stops_nothing(home):
    with gateway(gateway_config(home), DoubleEngine()) as running, neighbour(running):
        running.promote(Route(production=TWO, previous=ONE, has_previous=True))
        ledger = running.ledger
        newer = {"number": 2, "at": "2026-01-01", "move": "orbit", "route": '{"planet": "Mars"}',
                 "reason": "", "actor": "", "run_id": "", "evidence": "[]"}  # fmt: skip
        ledger.append(PROMOTIONS, newer)
        until(lambda: "cannot be read" in running.ready()["problem"])
        ready = running.ready()
        assert (ready["ready"], ready["production"]) == (True, "2")
        assert running.metric("load_failures_total") >= 1
        known = json.dumps(asdict(Route(production=ONE)))
        ledger.append(PROMOTIONS, newer | {"number": 3, "move": "rollback", "route": known, "evidence": "{}"})
        until(lambda: running.ready()["production"] == "1")
        assert running.ready()["problem"] == ""


def test_an_adapter_without_warm_up_is_unloaded(home):
    engine = DoubleEngine()
    engine.unwarmable = {"2"}
    with gateway(gateway_config(home), engine) as running, neighbour(running):
        running.promote(Route(production=ONE))
        ledger = running.ledger
        ledger.add_promotion(ledger.promotion(), "test", Route(production=TWO), "a test", "pytest")
        until(lambda: "The test wants no warm-up" in running.ready()["problem"])
        assert engine.loaded == {ONE}


GARBAGE = [
    b"", b"\xff", b"null", b"[]", b"7", b"{", b'"x"', b'{"text": 3}', b'{"text": "x", "finish_reason": "no"}',
    b'{"text": "x", "finish_reason": "stop", "tokens_in": "1"}', b'{"text": "x", "planet": 1}',
]  # fmt: skip


def test_garbage_in_redis_is_a_miss(home, redis_server):
    config = gateway_config(home, redis_url=f"redis://127.0.0.1:{redis_server.port}/0")
    with ExitStack() as stack:
        redis = stack.enter_context(Redis("127.0.0.1", redis_server.port))
        redis.flushall()
        running = stack.enter_context(gateway(config, DoubleEngine()))
        client = stack.enter_context(running.client())
        assert [ask(client).json()["nightshift"]["cached"] for _ in range(2)] == [False, True]
        (key,) = redis.keys("nightshift:answer:*")
        stack.enter_context(neighbour(running))
        for garbage in GARBAGE:
            redis.set(key, garbage)
            assert ask(client).json()["nightshift"]["cached"] is False, garbage
            assert ask(client).json()["nightshift"]["cached"] is True
        redis.delete(key)
        redis.rpush(key, "of another type")
        assert ask(client).status_code == 200
        assert running.ready()["problem"] == ""


def test_a_credential_is_one_person_whomever_it_names(home):
    with gateway(gateway_config(home), DoubleEngine()) as running, neighbour(running):
        running.promote(Route(production=ONE, canary=TWO, canary_weight=0.5))
        headers = {"Authorization": f"Bearer {running.token(states_users=False)}"}
        with running.client() as client:
            asked = [client.post(CHAT, json=chat(f"{n}", user=f"p-{n}"), headers=headers) for n in range(20)]
        assert len({answer.json()["nightshift"]["adapter"] for answer in asked}) == 1
        mine = {answer.json()["id"] for answer in asked}
        until(lambda: mine <= {row["request_id"] for row in journal_rows(home)})
        people = {row["subject_id"] for row in journal_rows(home) if row["request_id"] in mine}
        assert len(people) == 1


@pytest.mark.parametrize("key", [b"", b"\n", b"short"])
def test_a_routing_key_that_is_none_is_refused(home, key):
    folder = home / "gateway"
    folder.mkdir(parents=True)
    (folder / "routing.key").write_bytes(key)
    with pytest.raises(InputError, match=r"routing\.key"):
        routing_key(gateway_config(home))


def test_a_worker_goes_on_after_a_turn_that_failed():
    from gateway.metrics import Metrics

    metrics, turns = Metrics(), []

    async def turn():
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError("nobody expected this")
        await asyncio.sleep(0.01)

    async def story():
        worker = asyncio.create_task(keep_working("shadow", turn, metrics))
        while len(turns) < 3:
            await asyncio.sleep(0.01)
        worker.cancel()
        await asyncio.wait([worker])
        return worker.cancelled()

    assert asyncio.run(story())
    assert b'worker_failures_total{worker="shadow"} 1.0' in metrics.text()
