import logging
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.logs import JsonLines
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import ONE, chat, events, gateway, gateway_config, until
from tests.support.journal import journal_rows

SPANS = InMemorySpanExporter()


@pytest.fixture(scope="module")
def engine():
    return DoubleEngine()


@pytest.fixture(scope="module")
def running(tmp_path_factory, engine):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    home = tmp_path_factory.mktemp("home")
    with gateway(gateway_config(home), engine, tracer=provider.get_tracer("test")) as found:
        yield found


@pytest.fixture
def client(running):
    with running.client() as found:
        yield found


def row_of(running, request_id):
    rows = []

    def found():
        rows[:] = [row for row in journal_rows(running.config.home) if row["request_id"] == request_id]
        return rows

    until(found)
    return rows[0]


def test_a_chat_in_one_piece_and_streamed_say_the_same(client):
    whole = client.post("/v1/chat/completions", json=chat("one two")).json()
    body = chat("one two three", stream=True, stream_options={"include_usage": True})
    streamed = client.post("/v1/chat/completions", json=body)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events(streamed.text)
    assert done == "[DONE]"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "base one two"}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "base one two three"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert whole["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert usage["usage"]["completion_tokens"] == 4
    assert {chunk["id"] for chunk in chunks} == {streamed.headers["x-request-id"]}


def test_a_prediction_is_guided_by_the_task(client, engine):
    answer = client.post("/predict", json={"text": "A tooth aches"}).json()
    assert answer["label"] == "Anatomy"  # the double takes the first
    request = engine.asked[-1][1]
    assert tuple(request.choices) == ("Anatomy", "Dental", "Pharmacology", "Surgery")
    assert [message["role"] for message in request.messages] == ["system", "user"]
    body = chat("A tooth aches", guided_choice=["yes", "no"])
    assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == "yes"


BAD = {
    "not JSON": b"{",
    "no messages": chat("x") | {"messages": []},
    "an unknown role": chat("x") | {"messages": [{"role": "king", "content": "x"}]},
    "an option that is not supported": chat("x", top_p=0.1),
    "two answers": chat("x", n=2),
    "no tokens": chat("x", max_tokens=0),
    "a number as text": chat("x", max_tokens="5"),
    "a locale that is none": chat("x", locale="!"),
    "more tokens than allowed": chat("x", max_tokens=257),
    "a prompt too long": chat("x" * 32_769),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_refused_without_repeating_it(client, body):
    kind = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = client.post("/v1/chat/completions", **kind)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert "xxx" not in answer.text


def test_a_call_becomes_a_row(running, client):
    body = chat("row me", user="p-7", locale="en-NG", channel="phone")
    answer = client.post("/v1/chat/completions", json=body)
    row = row_of(running, answer.json()["id"])
    expected = {
        "tenant": "north-clinic",
        "subject_id": "p-7",
        "completion": "base row me",
        "adapter": "base",
        "route": "production",
        "locale": "en-NG",
        "channel": "phone",
        "tokens_in": 2,
        "tokens_out": 3,
        "rating": None,
        "error": False,
    }
    assert expected.items() <= row.items()
    assert 0 < row["first_token_ms"] <= row["latency_ms"]


@pytest.mark.parametrize("way", ["field", "header"])
def test_the_text_of_who_opts_out_is_not_kept(running, client, way):
    secret = f"secret-{way}"
    headers = {"X-Opt-Out": "true"} if way == "header" else {}
    body = chat(secret, **({"opt_out": True} if way == "field" else {}))
    answer = client.post("/v1/chat/completions", json=body, headers=headers).json()
    said = {"request_id": answer["id"], "rating": -1, "correction": secret}
    assert client.post("/v1/feedback", json=said).json()["result"] == "stored"
    row = row_of(running, answer["id"])
    assert (row["opt_out"], row["completion"], row["rating"], row["correction"]) == (True, "", -1, None)
    again = client.post("/v1/chat/completions", json=body, headers=headers).json()
    assert again["nightshift"]["cached"] is False  # nor in the cache
    for file in Path(running.config.home).rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("said", "opts_out"),
    [
        (["yes"], True),
        (["on"], True),
        (["TRUE"], True),
        (["2"], True),
        (["nein"], True),
        (["false", "true"], True),
        (["false, true"], True),
        (["0"], False),
        (["False"], False),
        (["NO"], False),
        (["off"], False),
        ([""], False),
        ([], False),
    ],
)
def test_a_header_that_is_not_a_clear_no_opts_out(running, client, said, opts_out):
    headers = [("X-Opt-Out", value) for value in said]
    answer = client.post("/v1/chat/completions", json=chat("opt me out"), headers=headers).json()
    assert row_of(running, answer["id"])["opt_out"] is opts_out


def test_what_openais_clients_send_is_answered(client):
    question = {"role": "user", "content": "Which tooth?"}
    back = {"role": "assistant", "content": "Dental", "refusal": None, "annotations": [], "audio": None}
    turns = {
        "a developer": [{"role": "developer", "content": "One label."}, question],
        "parts": [{"role": "user", "content": [{"type": "text", "text": "Which tooth?"}]}],
        "an answer put back": [question, back | {"function_call": None, "tool_calls": None}, question],
    }
    for messages in turns.values():
        answer = client.post("/v1/chat/completions", json={**chat(""), "messages": messages})
        assert answer.json()["choices"][0]["message"]["content"] == "base Which tooth?"
    for options in ({"temperature": None}, {"stream": None}, {"top_p": 1}, {"logprobs": False}, {"user": ""}):
        answer = client.post("/v1/chat/completions", json=chat("Which tooth?", **options))
        assert answer.status_code == 200


ERRORS = {
    "no such path": ("GET", "/v1/nothing", {}, 404, "not_found"),
    "a slash too much": ("GET", "/v1/models/", {}, 404, "not_found"),
    "half a character in the path": ("GET", "/%ff%ed%a0%80", {}, 404, "not_found"),
    "a wrong method": ("GET", "/v1/chat/completions", {}, 405, "method_not_allowed"),
    "an unknown method": ("BREW", "/predict", {}, 400, "invalid_http"),
    "no such model": (
        "POST",
        "/v1/chat/completions",
        chat("x") | {"model": "m\u00e9"},
        404,
        "model_not_found",
    ),
    "a missing field": ("POST", "/predict", {}, 400, "invalid_request"),
    "feedback that says nothing": ("POST", "/v1/feedback", {"request_id": "x"}, 400, "invalid_request"),
    "a blank correction": (
        *("POST", "/v1/feedback", {"request_id": "x", "correction": " "}, 400, "invalid_request"),
    ),
    "a rating of true": ("POST", "/v1/feedback", {"request_id": "x", "rating": True}, 400, "invalid_request"),
    "an unknown answer": ("POST", "/v1/feedback", {"request_id": "x", "rating": 1}, 404, "unknown_request"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), ERRORS.values(), ids=ERRORS.keys())
def test_every_error_has_one_shape(client, method, path, body, status, code):
    answer = client.request(method, path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert {*error} == {"message", "type", "param", "code"}
    assert status != 405 or answer.headers["allow"] == "POST"


def test_a_bug_has_the_shape_of_an_error(running, client, monkeypatch):
    monkeypatch.setattr(running.app.state.service, "config", None)
    answer = client.post("/predict", json={"text": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


def test_the_last_feedback_counts_and_the_same_changes_nothing(running, client):
    request_id = client.post("/predict", json={"text": "feedback"}).json()["request_id"]
    said = [(1, None), (1, None), (-1, "Dental"), (-1, "Dental"), (0, "Surgery")]
    results = [
        client.post("/v1/feedback", json={"request_id": request_id, "rating": r, "correction": c}).json()[
            "result"
        ]
        for r, c in said
    ]
    assert results == ["stored", "unchanged", "stored", "unchanged", "stored"]
    row = row_of(running, request_id)
    assert (row["rating"], row["correction"]) == (0, "Surgery")


def test_only_the_tenant_that_asked_may_give_feedback(running, client):
    request_id = client.post("/predict", json={"text": "mine"}).json()["request_id"]
    with running.client(tenant="south-clinic") as other:
        theirs = other.post("/v1/feedback", json={"request_id": request_id, "rating": -1})
        unknown = other.post("/v1/feedback", json={"request_id": "chatcmpl-none", "rating": -1})
    assert theirs.status_code == unknown.status_code == 404
    assert theirs.json() == unknown.json()
    assert row_of(running, request_id)["rating"] is None


def test_the_cache_keeps_tenants_and_parameters_apart(running, client, engine):
    def ask(who, **fields):
        return who.post("/v1/chat/completions", json=chat("cache me", **fields)).json()["nightshift"][
            "cached"
        ]

    assert [ask(client), ask(client)] == [False, True]
    assert [ask(client, max_tokens=5), ask(client, seed=1), ask(client, stop="x")] == [False] * 3
    assert [ask(client, temperature=0.7), ask(client, temperature=0.7)] == [False, False]
    with running.client(tenant="south-clinic") as other:
        assert [ask(other), ask(other)] == [False, True]
    before = len(engine.asked)
    streamed = events(client.post("/v1/chat/completions", json=chat("cache me", stream=True)).text)
    assert streamed[0]["choices"][0]["delta"]["content"] == "base cache me"
    assert len(engine.asked) == before
    cached = [row for row in journal_rows(running.config.home) if row["cached"]]
    assert cached
    assert running.metric('cache_total{result="hit"}') >= 3


def test_a_client_that_leaves_frees_its_place_and_has_a_row(running, engine):
    engine.delays["base"] = 0.0
    with running.client() as client:
        body = chat("go away " + "word " * 2000, stream=True)
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            request_id = answer.headers["x-request-id"]
            next(answer.iter_raw())
    row = row_of(running, request_id)
    assert row["fault"] in ("aborted", "")  # "" when the whole answer was made before it was noticed
    assert row["error"] is False
    until(lambda: running.metric('in_flight{adapter="base"}') == 0)


def test_spans_and_logs_tell_of_a_call_but_not_its_text(client, caplog):
    SPANS.clear()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with caplog.at_level(logging.INFO, logger="nightshift.gateway"):
        client.post("/v1/chat/completions", json=chat("my-private-words"), headers={"traceparent": parent})
        until(lambda: len(SPANS.get_finished_spans()) == 2)
    inner, outer = SPANS.get_finished_spans()
    assert (inner.name, outer.name) == ("engine", "/v1/chat/completions")
    assert inner.parent.span_id == outer.context.span_id
    assert f"{outer.context.trace_id:032x}" == parent.split("-")[1]
    assert f"{outer.parent.span_id:016x}" == parent.split("-")[2]
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "nightshift.gateway"]
    assert any('"status": "answered"' in line and parent.split("-")[1] in line for line in lines)
    assert not any("my-private-words" in line for line in lines)
    assert not any("my-private-words" in str(span.to_json()) for span in (inner, outer))


def test_metrics_are_by_adapter_and_route(running, client):
    labels = '{adapter="base",route="production"}'
    before = running.metric(f"answers_total{labels}")
    for number in range(3):
        client.post("/predict", json={"text": f"metric {number}"})
    assert running.metric(f"answers_total{labels}") == before + 3
    assert running.metric(f"latency_seconds_count{labels}") >= 3
    assert running.metric(f"first_token_seconds_count{labels}") >= 3
    assert running.metric(f"tokens_out_total{labels}") >= 3


def test_health_needs_no_token(running):
    assert httpx.get(f"{running.url}/healthz", trust_env=False).json() == {"status": "alive"}
    assert ONE.version not in str(running.ready())
