"""Logs in the forms that other products publish; the files in fixtures/logs are written in those forms."""

import json
from pathlib import Path

import pytest

from tests.support.logs import as_jsonl, at, read

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
ASKED = ("My parcel has not come.", "I was charged twice.")


def rows(name, form, **settings):
    return read(LOGS / name, format=form, **settings)[0]


def said(row):
    return [(turn["role"], turn["content"]) for turn in row.cells["messages"]], row.cells["completion"]


def some(row, *names):
    return tuple(row.cells[name] for name in names)


SYSTEM = ("system", "Answer with one label.")


def test_openai_fine_tuning_files():
    first, second, third, fourth = rows("openai_finetuning.jsonl", "openai")
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    assert [role for role, _ in said(second)[0]] == ["system", "user", "assistant", "user"]
    assert third.cells["messages"][2]["tool_calls"]
    assert third.cells["tools"]
    assert said(fourth) == ([SYSTEM, ("user", "Track it.")], '[{"name": "track", "arguments": {"id": 7}}]')


def test_openai_stored_completions():
    first, second = rows("openai_stored.json", "openai", columns={"tenant": "metadata.org"})
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    assert some(first, "request_id", "ts", "tenant", "tokens_in", "tokens_out") == (
        "req_0",
        at(8),
        "acme",
        21,
        2,
    )
    assert said(second)[1] == "billing"


def test_openai_logs_of_requests_and_responses():
    first, second, third = rows("openai_log.jsonl", "openai")
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    assert some(first, "request_id", "subject_id", "tokens_in") == ("chatcmpl-0", "u-17", 21)
    assert (second.cells["request_id"], said(second)[1]) == ("ticket-2", "billing")
    assert (said(third), third.cells["ts"].second) == (([("user", "Is it a bill?")], "billing"), 3)


def test_sharegpt():
    first, second, third = rows("sharegpt.jsonl", "sharegpt")
    assert (first.cells["request_id"], said(first)) == ("QWJhYvA_0", ([("user", ASKED[0])], "delivery"))
    assert [role for role, _ in said(second)[0]] == ["system", "user", "assistant", "user"]
    assert third.fault == "completion is missing"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_langfuse_observations(zone):
    first, second = rows("langfuse_observations.jsonl", "langfuse", timezone=zone)
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    assert some(first, "request_id", "subject_id", "conversation_id", "adapter") == (
        "gen-1",
        "u-17",
        "s-9",
        "gpt-4o-mini",
    )
    assert some(first, "tokens_in", "tokens_out", "latency_ms") == (21, 2, 1250.0)
    assert first.cells["ts"].isoformat() == "2026-01-03T08:00:01.250000+00:00"
    assert said(second) == ([("user", ASKED[1])], "billing")


def test_langfuse_traces_with_scores():
    columns = {"rating": "scores.user-feedback.value", "tenant": "metadata.team"}
    scale = {"good": [1], "bad": [0], "neutral": []}
    first, second = rows("langfuse_traces.json", "langfuse", columns=columns, rating=scale)
    assert some(first, "rating", "tenant") == (1, "acme")
    assert some(second, "rating", "tenant") == (-1, "default")
    assert said(second) == ([("user", ASKED[1])], "billing")


def test_langfuse_generations_as_csv():
    (row,) = rows("langfuse_generations.csv", "langfuse", columns={"rating": "scores.user-feedback.0"})
    assert said(row) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    assert some(row, "tokens_in", "tokens_out", "latency_ms", "rating") == (21, 2, 1250.0, 1)


def test_litellm_logging_payloads():
    first, second = rows("litellm_payload.jsonl", "litellm")
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    names = ("request_id", "tenant", "subject_id", "conversation_id", "adapter", "tokens_in", "latency_ms")
    assert some(first, *names) == ("chatcmpl-7", "acme", "u-17", "trace-7", "router", 21, 1250.0)
    assert (second.fault, second.is_chat) == ("a call that failed", False)


def test_litellm_spend_logs():
    first, second = rows("litellm_spend_logs.jsonl", "litellm")
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    names = ("request_id", "tenant", "subject_id", "conversation_id", "latency_ms")
    assert some(first, *names) == ("chatcmpl-7", "team-1", "u-17", "s-9", 1250.0)
    assert said(second) == ([("user", ASKED[1])], "billing")


def one(tmp_path, row, form="openai"):
    (tmp_path / "log.jsonl").write_bytes(as_jsonl([row]))
    (found,) = read(tmp_path / "log.jsonl", format=form)[0]
    return found


RESPONSES = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1767427200,
    "instructions": "Answer with one label.",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": ASKED[0]}]}],
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "delivery"}]},
    ],
}


def test_objects_of_the_responses_api_are_read_flat_and_nested(tmp_path):
    request = {key: RESPONSES[key] for key in ("instructions", "input")}
    for row in (RESPONSES, {"id": "resp_1", "request": request, "response": RESPONSES}):
        found = one(tmp_path, row)
        assert (found.fault, said(found)) == (None, ([SYSTEM, ("user", ASKED[0])], "delivery"))
        assert found.cells["request_id"] == "resp_1"


BESIDE = {  # where the system prompt stands beside the messages
    "openai": lambda turns: {"request": {"system": SYSTEM[1], "messages": turns}, "response": "delivery"},
    "langfuse": lambda turns: {"input": {"system": SYSTEM[1], "messages": turns}, "output": "delivery"},
    "litellm": lambda turns: {
        "proxy_server_request": {"system": [{"type": "text", "text": SYSTEM[1]}], "messages": turns},
        "response": "delivery",
    },
    "sharegpt": lambda turns: {
        "system": SYSTEM[1],
        "conversations": [*turns, {"from": "gpt", "value": "delivery"}],
    },
}


@pytest.mark.parametrize("form", BESIDE)
def test_a_system_prompt_beside_the_messages_goes_before(tmp_path, form):
    found = one(tmp_path, BESIDE[form]([{"role": "user", "content": ASKED[0]}]), form)
    assert (found.fault, said(found)) == (None, ([SYSTEM, ("user", ASKED[0])], "delivery"))


@pytest.mark.parametrize(
    "request_",
    [
        {"previous_response_id": "resp_0", "input": "And then?"},
        {"conversation": {"id": "conv_1"}, "input": "And then?"},
        {"prompt": {"id": "pmpt_1", "version": "2"}, "input": "And then?"},
    ],
)
@pytest.mark.parametrize("form", ["openai", "langfuse", "litellm"])
def test_a_conversation_that_is_stored_elsewhere_is_refused(tmp_path, request_, form):
    place = {"openai": "request", "langfuse": "input", "litellm": "proxy_server_request"}[form]
    row = {"id": "a", place: request_, "response": "x", "output": "x"}
    name = next(key for key in request_ if key != "input")
    assert one(tmp_path, row, form).fault == f"a part of the conversation is stored elsewhere ({name})"


@pytest.mark.parametrize("answer", ['{"label": "delivery"}', '["delivery"]', '[{"type": 1}]', "[x", "{}"])
@pytest.mark.parametrize("form", ["openai", "langfuse", "litellm"])
def test_an_answer_of_json_stays_text(tmp_path, answer, form):
    asked = {"messages": [{"role": "user", "content": "q"}]}
    whole = {"choices": [{"message": {"role": "assistant", "content": answer}}]}
    for response in (answer, {"role": "assistant", "content": answer}, whole):
        row = {"request": asked, "input": asked, **asked, "response": response, "output": response}
        found = one(tmp_path, row, form)
        assert (found.fault, found.cells["completion"]) == (None, answer)


def test_a_question_of_json_stays_text(tmp_path):
    found = one(tmp_path, {"input": '{"order": 7}', "output": "delivery"}, "langfuse")
    assert said(found) == ([("user", '{"order": 7}')], "delivery")


def test_of_several_choices_none_is_taken(tmp_path):
    choices = [{"message": {"role": "assistant", "content": text}} for text in ("a", "b")]
    row = {"request": {"messages": [{"role": "user", "content": "q"}]}, "response": {"choices": choices}}
    found = one(tmp_path, row)
    assert (found.fault, found.found) == ("the answer has several choices", "2 choices")


def test_a_picture_in_the_answer_refuses_its_row(tmp_path):
    parts = [{"type": "text", "text": "See:"}, {"type": "image", "source": {}}]
    found = one(tmp_path, {"request": {"prompt": "q"}, "response": {"role": "assistant", "content": parts}})
    assert found.fault == "messages holds an image (image)"


CHAT = {"messages": [{"role": "user", "content": "q"}], "response": {"role": "assistant", "content": "a"}}
LITELLM = {
    "an embedding": ({"call_type": "aembedding"}, "no chat, but a call of type aembedding", False),
    "a failure": (
        {"status": "failure", "response": "litellm.RateLimitError: 429"},
        "a call that failed",
        False,
    ),
    "cut": (
        {"response": "A... (litellm_truncated skipped 5000 chars) ...B"},
        "a text that LiteLLM has cut or redacted",
        True,
    ),
    "redacted": ({"messages": "redacted-by-litellm"}, "a text that LiteLLM has cut or redacted", True),
    "a chat": ({"call_type": "acompletion", "status": "success"}, None, True),
}


@pytest.mark.parametrize("case", LITELLM)
def test_litellm_rows_that_are_no_whole_chat_are_not_learned(tmp_path, case):
    changes, fault, is_chat = LITELLM[case]
    found = one(tmp_path, CHAT | changes, "litellm")
    assert (found.fault, found.is_chat) == (fault, is_chat)


@pytest.mark.parametrize("form", ["litellm", "langfuse"])
def test_times_of_exports_without_a_zone_are_utc(tmp_path, form):
    row = CHAT | {"input": "q", "output": "a", "startTime": "2026-01-03 08:00:00"}
    (tmp_path / "log.jsonl").write_bytes(as_jsonl([row]))
    ((found,), _) = read(tmp_path / "log.jsonl", format=form, timezone="America/New_York")
    assert found.cells["ts"] == at(8)


@pytest.mark.parametrize("kind", ["SPAN", "EVENT", "TOOL"])
def test_langfuse_steps_that_are_no_generation_are_no_chats(tmp_path, kind):
    found = one(tmp_path, {"type": kind, "input": "query", "output": "documents"}, "langfuse")
    assert (found.fault, found.is_chat) == (f"no generation, but {kind}", False)
    assert one(tmp_path, {"type": "GENERATION", "input": "q", "output": "a"}, "langfuse").fault is None


ANSWERS = {
    "JSON with a like name": (
        {"content": "Buy milk", "priority": 1},
        "completion is not text, but an object",
    ),
    "its text": ('{"content": "Buy milk", "priority": 1}', None),
    "choices of its own": ('{"choices": ["a", "b"]}', None),
    "parts of its own": ({"role": "assistant", "content": '[{"type": "person", "name": "Ann"}]'}, None),
    "events": (
        'data: {"id": "c1", "delta": {}}\n\ndata: [DONE]',
        "the answer is a stream of events, not its text",
    ),
    "a call that cannot be read": (
        {"role": "ai", "content": "x", "additional_kwargs": {"tool_calls": [{"id": "1"}]}},
        "the answer is a tool call",
    ),
    "a call of another API": (
        {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]},
        "the answer is a tool call",
    ),
}


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}}
AS_TEXT = '[{"name": "f", "arguments": {"a": 2, "b": 1}}]'
CALLING = {
    "a call": ({"role": "assistant", "content": None, "tool_calls": [CALL]}, AS_TEXT),
    "a call as text": (json.dumps({"role": "assistant", "content": "", "tool_calls": [CALL]}), AS_TEXT),
    "of older clients": ({"role": "assistant", "content": None, "function_call": CALL["function"]}, AS_TEXT),
    "of LangChain": ({"role": "ai", "content": "", "additional_kwargs": {"tool_calls": [CALL]}}, AS_TEXT),
    "with words": (
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL]},
        '{"content": "I look.", "tool_calls": ' + AS_TEXT + "}",
    ),
}


@pytest.mark.parametrize("case", CALLING)
@pytest.mark.parametrize("form", ["openai", "langfuse", "litellm"])
def test_an_answer_that_calls_tools_is_its_calls(tmp_path, case, form):
    answer, text = CALLING[case]
    row = CHAT | {"input": "q", "request": {"prompt": "q"}, "response": answer, "output": answer}
    found = one(tmp_path, row, form)
    assert (found.fault, found.cells["completion"]) == (None, text)


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("form", ["openai", "langfuse", "litellm"])
def test_an_answer_is_what_the_user_saw(tmp_path, case, form):
    answer, fault = ANSWERS[case]
    row = CHAT | {"input": "q", "request": {"prompt": "q"}, "response": answer, "output": answer}
    found = one(tmp_path, row, form)
    assert found.fault == fault
    if not fault:
        assert found.cells["completion"] == (answer if isinstance(answer, str) else answer["content"])


@pytest.mark.parametrize(
    ("row", "form", "words"),
    [
        (
            {"input": {"input": "q", "chat_history": ["x"]}, "output": "a"},
            "langfuse",
            "the request holds chat_",
        ),
        (
            {"request": {"messages": [], "context": "d"}, "response": "a"},
            "openai",
            "the request holds context",
        ),
        ({"image": "x.png", "conversations": []}, "sharegpt", "the row holds image beside its conversation"),
        (
            {"messages": [{"role": "user", "content": "q", "images": ["x"]}], "response": "a"},
            "litellm",
            "messages holds images beside the content",
        ),
    ],
)
def test_what_the_model_saw_besides_refuses_the_row(tmp_path, row, form, words):
    assert one(tmp_path, row, form).fault.startswith(words)


def test_instructions_of_the_row_go_before_a_nested_request(tmp_path):
    row = {"instructions": SYSTEM[1], "request": {"input": ASKED[0]}, "response": "delivery"}
    assert said(one(tmp_path, row)) == ([SYSTEM, ("user", ASKED[0])], "delivery")
