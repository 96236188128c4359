"""The clients that people use, against a real gateway: OpenAI's, LangChain's and LiteLLM's."""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before LiteLLM is imported: it asks nobody else

import openai
import pytest
from pydantic import BaseModel

from pipelines.core.tools import Call
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import MODEL, gateway, gateway_config

pytestmark = pytest.mark.slow
QUESTION = {"role": "user", "content": "Which tooth?"}
ANSWER = "base Which tooth?"
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


class Visit(BaseModel):
    ward: str
    days: int


VISIT = Visit(ward="Dental", days=3)


@pytest.fixture(scope="module")
def engine():
    found = DoubleEngine()
    found.json_answer = VISIT.model_dump_json()
    return found


@pytest.fixture
def calling(engine):
    """The engine, which calls a tool wherever tools are offered."""
    engine.calls = (Call("look_up", {"tooth": 7}),)
    yield engine
    engine.calls = ()


@pytest.fixture(scope="module")
def running(tmp_path_factory, engine):
    with gateway(gateway_config(tmp_path_factory.mktemp("home")), engine) as found:
        yield found


@pytest.fixture(scope="module")
def client(running):
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key=running.token(), max_retries=0) as found:
        yield found


def test_openai_asks_and_puts_the_answer_back(client):
    first = client.chat.completions.create(model=MODEL, messages=[QUESTION])
    assert first.choices[0].message.content == ANSWER
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (2, 3, 5)
    assert first.nightshift["adapter"] == "base"
    for back in (first.choices[0].message.model_dump(), first.choices[0].message):
        turns = [QUESTION, back, {"role": "user", "content": "And then?"}]
        second = client.chat.completions.create(model=MODEL, messages=turns, temperature=0, n=1, top_p=1)
        assert second.choices[0].message.content == "base And then?"


def test_openai_streams_with_usage(client):
    streamed = client.chat.completions.create(
        model=MODEL, messages=[QUESTION], stream=True, stream_options={"include_usage": True}
    )
    *chunks, usage = list(streamed)
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (usage.choices, usage.usage.completion_tokens) == ([], 3)
    with client.chat.completions.stream(model=MODEL, messages=[QUESTION]) as stream:
        assert stream.get_final_completion().choices[0].message.content == ANSWER


def test_openai_reads_choices_and_fields_of_nightshift(client):
    extra = {"guided_choice": ["yes", "no"], "locale": "en-NG", "opt_out": True}
    answer = client.chat.completions.create(model=MODEL, messages=[QUESTION], extra_body=extra)
    assert answer.choices[0].message.content == "yes"
    assert [model.id for model in client.models.list()] == [MODEL]


@pytest.mark.parametrize(("option", "value"), [("functions", [TOOL["function"]]), ("top_p", 0.1), ("n", 2)])
def test_openai_is_told_which_option_is_refused(client, option, value):
    with pytest.raises(openai.BadRequestError, match=option) as raised:
        client.chat.completions.create(model=MODEL, messages=[QUESTION], **{option: value})
    assert (raised.value.param, raised.value.code) == (option, "invalid_request")


def test_openai_calls_tools_and_tells_what_they_said(client, calling):
    asked = {"model": MODEL, "messages": [QUESTION], "tools": [TOOL], "tool_choice": "auto"}
    first = client.chat.completions.create(**asked).choices[0]
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"tooth": 7})
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    assert streamed.message.tool_calls[0].function.arguments == call.function.arguments
    calling.calls = ()
    told = {"role": "tool", "tool_call_id": call.id, "content": "a molar"}
    for back in (first.message, first.message.model_dump()):
        turns = [QUESTION, back, told]
        second = client.chat.completions.create(model=MODEL, messages=turns, tools=[TOOL])
        assert second.choices[0].message.content == "base a molar"
    assert [turn["role"] for turn in calling.asked[-1][1].messages] == ["tools", "user", "assistant", "tool"]


def test_openai_parses_an_answer_by_its_schema(client):
    answer = client.chat.completions.parse(model=MODEL, messages=[QUESTION], response_format=Visit)
    assert answer.choices[0].message.parsed == VISIT


def test_openai_knows_the_errors(running, client):
    with pytest.raises(openai.NotFoundError, match="another-model"):
        client.chat.completions.create(model="another-model", messages=[QUESTION])
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * 40_000}])
    assert raised.value.code == "context_length_exceeded"
    stranger = openai.OpenAI(base_url=f"{running.url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.NotFoundError, match="embeddings"):
        client.embeddings.create(model=MODEL, input="x")


@pytest.fixture(scope="module")
def langchain(running):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        base_url=f"{running.url}/v1", api_key=running.token(), model=MODEL, max_retries=0, stream_usage=True
    )


def test_langchain_asks_streams_and_keeps_a_history(langchain):
    from langchain_core.messages import HumanMessage, SystemMessage

    turns = [SystemMessage("One label."), HumanMessage("Which tooth?")]
    answer = langchain.invoke(turns)
    assert answer.content == ANSWER
    assert answer.usage_metadata["output_tokens"] == 3
    back = langchain.invoke([*turns, answer, HumanMessage([{"type": "text", "text": "And then?"}])])
    assert back.content == "base And then?"
    chunks = list(langchain.stream(turns))
    assert "".join(chunk.content for chunk in chunks) == ANSWER
    assert sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata) == 3


def test_langchain_calls_tools_and_tells_what_they_said(langchain, calling):
    from langchain_core.messages import HumanMessage, ToolMessage

    bound = langchain.bind_tools([TOOL], tool_choice="look_up")
    answer = bound.invoke("Which tooth?")
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("look_up", {"tooth": 7})]
    streamed = sum(list(bound.stream("Which tooth?"))[1:], start=next(bound.stream("Which tooth?")))
    assert [call["args"] for call in streamed.tool_calls] == [{"tooth": 7}]
    calling.calls = ()
    told = ToolMessage("a molar", tool_call_id=answer.tool_calls[0]["id"])
    turns = [HumanMessage("Which tooth?"), answer, told]
    assert langchain.bind_tools([TOOL]).invoke(turns).content == "base a molar"


def test_langchain_is_told_what_is_refused(langchain):
    with pytest.raises(openai.BadRequestError, match="top_p"):
        langchain.invoke("Which tooth?", top_p=0.5)


def test_langchain_parses_an_answer_by_its_schema(langchain):
    assert langchain.with_structured_output(Visit, method="json_schema").invoke("Which tooth?") == VISIT


@pytest.fixture(scope="module")
def litellm(running):
    import litellm

    litellm.telemetry = False
    place = {"api_base": f"{running.url}/v1", "api_key": running.token(), "num_retries": 0}

    def ask(*turns, **options):
        return litellm.completion(model=f"openai/{MODEL}", messages=[*turns], **place, **options)

    return ask


def test_litellm_asks_streams_and_keeps_a_history(litellm):
    answer = litellm(QUESTION, temperature=0, max_tokens=20)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage.completion_tokens == 3
    back = litellm(QUESTION, answer.choices[0].message.model_dump(), {"role": "user", "content": "And then?"})
    assert back.choices[0].message.content == "base And then?"
    chunks = list(litellm(QUESTION, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage.completion_tokens == 3


def test_litellm_calls_tools_and_tells_what_they_said(litellm, calling):
    answer = litellm(QUESTION, tools=[TOOL], tool_choice="required").choices[0]
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.message.tool_calls
    assert json.loads(call.function.arguments) == {"tooth": 7}
    calling.calls = ()
    told = {"role": "tool", "tool_call_id": call.id, "content": "a molar"}
    back = litellm(QUESTION, answer.message.model_dump(), told, tools=[TOOL])
    assert back.choices[0].message.content == "base a molar"


def test_litellm_is_told_what_is_refused(litellm):
    with pytest.raises(openai.BadRequestError, match="top_p"):
        litellm(QUESTION, top_p=0.5)


def test_litellm_asks_by_a_schema(litellm):
    answer = litellm(QUESTION, response_format=Visit)
    assert Visit.model_validate_json(answer.choices[0].message.content) == VISIT
