"""Tools at the gateway, with a tiny real model whose chat template takes them, and with servers behind it."""

import asyncio
import json
from contextlib import aclosing
from datetime import datetime

import jsonschema
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from gateway.engines.base import CompletionRequest, EngineError, RequestRefused
from gateway.engines.embedded import EmbeddedEngine
from gateway.engines.openai import OpenAIEngine
from pipelines.core.config import Model, Serving
from pipelines.core.tools import Call, answer_text, with_tools
from pipelines.core.traffic_split import Adapter
from pipelines.data.journal_delivery import deliver
from pipelines.data.schema import rows_of
from pipelines.models import engine as evaluated
from tests.support import templates, tiny
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, events, gateway, gateway_config, until
from tests.support.journal import journal_rows
from tests.support.upstream import stream_of, upstream

ASKED = [{"role": "user", "content": "Is a bed free in Surgery?"}]
WARD = {"$defs": {"ward": {"enum": ["Surgery", "Dental"]}}, "type": "object", "required": ["ward"]}
WARD |= {"properties": {"ward": {"$ref": "#/$defs/ward"}}, "additionalProperties": False}
BEDS = {"type": "function", "function": {"name": "free_beds", "description": "Now", "parameters": WARD}}
TIME = {"type": "function", "function": {"name": "time"}}
OFFERED = with_tools(ASKED, [BEDS, TIME])
CALL = '[{"name": "free_beds", "arguments": {"ward": "Surgery"}}]'
ONE = Adapter("1", "a" * 64)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tiny.make_base(tmp_path_factory.mktemp("models") / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = templates.HERMES
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def taught(base, tmp_path_factory):
    """An adapter that learned to call a tool, on the tokens that training makes of the answer."""
    engine = evaluated.Engine(Model(), str(base))
    example = engine.rendering.example(OFFERED, CALL)
    text = engine.tokenizer.decode(example.prompt_ids + example.answer_ids)
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "taught", [text], 120)


def serve(base, story, **model):
    async def run():
        engine = EmbeddedEngine(Serving(gather_ms=20), Model(**model), str(base))
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


async def pieces_of(engine, request, adapter=None):
    async with aclosing(engine.complete(request, adapter)) as pieces:
        return [piece async for piece in pieces]


@pytest.mark.slow
def test_what_is_evaluated_is_what_is_served(base, taught):
    """The model's own form of a call becomes one JSON text in evaluation, and calls at the gateway."""
    engine = evaluated.Engine(Model(), str(base))
    engine.load("taught", taught)
    (evaluated_as,) = engine.generate([OFFERED], 60)
    assert evaluated_as == CALL

    async def story(serving):
        await serving.load(ONE, taught)
        asked = CompletionRequest(OFFERED, max_tokens=60)
        once = CompletionRequest(OFFERED, max_tokens=60, parallel_calls=False)
        cut = CompletionRequest(OFFERED, max_tokens=8)
        return [await pieces_of(serving, one, ONE) for one in (asked, once, cut)]

    whole, once, cut = serve(base, story)
    for pieces in (whole, once):
        assert [piece.text for piece in pieces] == [""]  # what may be a call is not streamed as text
        assert pieces[-1].finish_reason == "tool_calls"
        assert answer_text("", pieces[-1].calls) == CALL
    assert cut[-1].finish_reason == "length"
    assert cut[-1].calls == ()
    assert "<tool_call>" in "".join(piece.text for piece in cut)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "parallel"), [(None, True), (None, False), ("time", True), ("free_beds", True)]
)
def test_calls_that_are_asked_for_follow_their_schemas(base, only, parallel):
    async def story(serving):
        request = CompletionRequest(
            OFFERED, max_tokens=400, temperature=1.0, must_call=True, only_tool=only, parallel_calls=parallel
        )
        return [await pieces_of(serving, request) for _ in range(3)]

    for pieces in serve(base, story):
        last = pieces[-1]
        assert last.finish_reason == "tool_calls", "".join(piece.text for piece in pieces)
        assert len(last.calls) == 1 or (only is None and parallel)
        for call in last.calls:
            assert only in (None, call.name)
            jsonschema.validate(call.arguments, WARD if call.name == "free_beds" else {"maxProperties": 0})


STRICT = {"type": "function", "function": BEDS["function"] | {"strict": True}}
EVIL = {"type": "string", "pattern": "^(([a-z]{1,50}){1,50}){1,50}$"}
HARD = {"type": "object", "properties": {"ward": EVIL}, "required": ["ward"]}
ENDLESS = {"type": "function", "function": {"name": "x", "parameters": HARD}}
NO_FETCH = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}
REFUSED = {
    "strict and free": (CompletionRequest(with_tools(ASKED, [STRICT])), "strict"),
    "a hard schema": (CompletionRequest(with_tools(ASKED, [ENDLESS]), must_call=True), "expressions"),
    "another place": (
        CompletionRequest(
            with_tools(ASKED, [{"type": "function", "function": {"name": "x", "parameters": NO_FETCH}}]),
            must_call=True,
        ),
        "127.0.0.1",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("request_", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_promised_is_refused(base, request_, why):
    async def story(serving):
        with pytest.raises(RequestRefused, match=why):
            await pieces_of(serving, request_)
        offered = with_tools(ASKED, [STRICT])
        return await pieces_of(
            serving, CompletionRequest(offered, must_call=True, only_tool="free_beds", max_tokens=90)
        )

    assert serve(base, story)[-1].calls[0].name == "free_beds"


def test_a_template_without_tools_is_told(tmp_path):
    base = tiny.make_base(tmp_path / "base")

    async def story(serving):
        with pytest.raises(RequestRefused, match="leaves out the tools"):
            await pieces_of(serving, CompletionRequest(OFFERED))

    serve(base, story)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    engine = DoubleEngine()
    with gateway(gateway_config(tmp_path_factory.mktemp("home")), engine) as found:
        found.double = engine
        yield found


def test_a_call_is_journalled_cached_and_streamed(running):
    call = json.loads(CALL)[0]
    running.double.calls = (Call(**call),)
    body = chat(ASKED[0]["content"], tools=[BEDS, TIME])
    with running.client() as client:
        first, second = (client.post("/v1/chat/completions", json=body).json() for _ in range(2))
        streamed = client.post("/v1/chat/completions", json=body | {"stream": True})
        silent = client.post("/v1/chat/completions", json=body | {"tool_choice": "none"}).json()
        told = {"request_id": first["id"], "correction": '[{"name": "time", "arguments": {}}]'}
        assert client.post("/v1/feedback", json=told).json()["result"] == "stored"
    message = first["choices"][0]["message"]
    assert (message["content"], first["choices"][0]["finish_reason"]) == ("", "tool_calls")
    (made,) = message["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == call["arguments"]
    assert second["nightshift"]["cached"]
    assert second["choices"][0]["message"]["tool_calls"][0]["function"] == made["function"]
    *chunks, done = events(streamed.text)
    assert done == "[DONE]"
    (part,) = (one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_calls", []))
    assert (part["index"], part["function"]) == (0, made["function"])
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    assert "tool_calls" not in silent["choices"][0]["message"]

    def rows():
        return [row for row in journal_rows(running.config.home) if row["request_id"] == first["id"]]

    until(rows)
    (row,) = rows()
    assert row["completion"] == CALL
    file = deliver(running.config, datetime.fromisoformat(str(row["ts"])).date())
    delivered = {one["request_id"]: one for one in rows_of(pq.read_table(file))}[first["id"]]
    assert with_tools(delivered["messages"], delivered["tools"])[0] == OFFERED[0]
    assert delivered["messages"][-1] == ASKED[-1]
    assert delivered["correction"] == told["correction"]


def test_tools_count_for_the_size_of_a_conversation(running):
    long = {"type": "function", "function": {"name": "x", "description": "y" * 9_000}}
    many = [long["function"] | {"name": f"x{n}"} for n in range(5)]
    body = chat("x", tools=[{"type": "function", "function": one} for one in many])
    with running.client() as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def call_part(index, name=None, arguments=None, **more):
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **more, "function": {
        "name": name, "arguments": arguments}}]}}]}  # fmt: skip


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}


def ask_server(events_, request):
    asked = []

    def said(body):
        asked.append(body)
        return stream_of(*events_)

    async def story(url):
        engine = OpenAIEngine(Serving(url=url, served_base="base"), "Be short.")
        try:
            return await pieces_of(engine, request)
        finally:
            await engine.close()

    with upstream(said) as url:
        return asyncio.run(story(url)), asked[-1]


def test_a_server_gets_tools_and_its_calls_are_read():
    calls = json.dumps([{"id": "a", "function": {"name": "time", "arguments": "{}"}}])
    turns = [*OFFERED, {"role": "assistant", "content": "", "tool_calls": calls}]
    turns += [{"role": "tool", "content": "noon", "tool_call_id": "a"}]
    parts = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "I look. "}}]},
        call_part(1, "time", "", id="y"),
        call_part(0, "free_beds", '{"ward":', id="x"),
        call_part(0, None, ' "Surgery"}'),
        END,
    ]
    pieces, body = ask_server(parts, CompletionRequest(turns, parallel_calls=False))
    assert "".join(piece.text for piece in pieces) == "I look."
    assert [call.name for call in pieces[-1].calls] == ["free_beds", "time"]
    assert [call.arguments for call in pieces[-1].calls] == [{"ward": "Surgery"}, {}]
    assert pieces[-1].finish_reason == "tool_calls"
    assert body["tools"] == json.loads(OFFERED[0]["content"])
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("auto", False)
    assert [turn["role"] for turn in body["messages"]] == ["system", "user", "assistant", "tool"]
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "time", "arguments": "{}"}
    assert body["messages"][3]["tool_call_id"] == "a"


TEXT = {"choices": [{"index": 0, "delta": {"content": "Sun"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("said", "request_", "why"),
    [
        ([TEXT], CompletionRequest(OFFERED, must_call=True), "called no tool"),
        ([call_part(0, "time", "{}"), END], CompletionRequest(ASKED), "none were offered"),
        ([call_part(n, "time", "{}") for n in range(200)], CompletionRequest(OFFERED), "without end"),
    ],
)
def test_a_server_that_does_otherwise_failed(said, request_, why):
    with pytest.raises(EngineError, match=why):
        ask_server(said, request_)


def test_a_named_tool_is_asked_of_a_server():
    request = CompletionRequest(OFFERED, must_call=True, only_tool="time")
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}  # as OpenAI ends it then
    pieces, body = ask_server([call_part(0, "time", '{"x": "\\ud800"}'), ended], request)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "time"}}
    assert pieces[-1].finish_reason == "tool_calls"
    assert pieces[-1].calls[0].arguments == '{"x": "\\ud800"}'  # half a character stays as it was written
