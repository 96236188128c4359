"""Answers as OpenAI-compatible servers send them: taken, or refused in words that say what was wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engines.base import EngineError, RequestRefused
from gateway.engines.openai_stream import AnswerReader
from gateway.engines.openai_wire import error_of, refusal_of
from pipelines.core.chat_api import server_root, words_of
from pipelines.core.errors import InputError
from tests.support.fuzz import examples

USAGE = {"prompt_tokens": 9, "completion_tokens": 1}
STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


def delta(text, **more):
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    return {"id": "x", "choices": [{**choice, **more}]}


def sent(*parts, end="\n", done=True):
    """A stream of events; a part that is a text is sent as it is."""
    lines = [part if isinstance(part, str) else f"data: {json.dumps(part)}" for part in parts]
    lines += ["data: [DONE]"] if done else []
    return "".join(f"{line}{end}{end}" for line in lines).encode()


def read(body, size=7):
    """Text and last piece of a body that comes in small parts."""
    reader, pieces = AnswerReader(), []
    for start in range(0, len(body), size):
        pieces += reader.feed(body[start : start + size])
    pieces += reader.feed(b"", final=True)
    return "".join(piece.text for piece in pieces), reader.last()


def likely(token, *values):
    """What a server says of a token: its own log-probability first, then those of others."""
    top = [{"token": f"{token}{place or ''}", "logprob": value} for place, value in enumerate(values)]
    return {"token": token, "logprob": values[0] if values else None, "top_logprobs": top}


ODD = [7, None, {"token": 5}, {"token": "x", "top_logprobs": None}]
ODD_TOP = {"token": "y", "top_logprobs": [None, {"token": 1}, {"token": "z", "logprob": "-1"}]}


def test_log_probabilities_are_read_across_events():
    first = delta(" Den", logprobs={"content": [likely(" Den", -0.1, -3.0, -9999.0)]})
    second = delta("tal", logprobs={"content": [likely("tal", 0.0)]})
    none = delta("", logprobs=None)
    text, last = read(sent(first, none, second, {"choices": [STOP]}))
    assert text == "Dental"
    assert [(token.text, token.logprob) for token in last.tokens] == [(" Den", -0.1), ("tal", 0.0)]
    assert last.tokens[0].likeliest == ((" Den", -0.1), (" Den1", -3.0), (" Den2", -9999.0))
    assert last.tokens[0].step.top == {"Den": -0.1, "Den1": -3.0, "Den2": -30.0}


def test_log_probabilities_that_cannot_be_read_are_left_out():
    odd = delta("a", logprobs={"content": [*ODD, ODD_TOP, {"top_logprobs": []}]})
    odder = [delta("a", logprobs=one) for one in (5, [], {"content": 7}, {"content": {}})]
    text, last = read(sent(odd, *odder, {"choices": [STOP]}))
    assert text == "aaaaa"
    assert [(token.text, token.logprob, token.likeliest) for token in last.tokens] == [
        ("x", None, ()), ("y", None, ()),
    ]  # fmt: skip


WHOLE = {"choices": [{"index": 0, "message": {"content": "Dental"}, "finish_reason": "stop"}], "usage": USAGE}
TAKEN = {
    "plain": sent(delta("Dental"), {"choices": [STOP]}),
    "null choices": sent(delta("Dental"), {"choices": [STOP]}, {"choices": None, "usage": USAGE}),
    "no choices": sent(delta("Dental"), {"choices": [STOP]}, {"usage": USAGE}),
    "null delta": sent(delta("Dental"), {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}),
    "null event": sent("data: null", delta("Dental"), {"choices": [STOP]}),
    "odd events": sent("data: 7", "data: []", delta("Dental"), {"choices": ["x", None, STOP]}),
    "empty finish reason": sent(delta("Dental", finish_reason="")),
    "no finish reason": sent({"choices": [{"delta": {"content": "Dental"}}]}),
    "another name for stop": sent(delta("Dental", finish_reason="eos_token")),
    "a role alone": sent(delta(None), delta(""), delta("Dental"), {"choices": [STOP]}),
    "reasoning apart": sent(
        delta(None) | {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]},
        delta("Dental"),
        {"choices": [STOP]},
    ),
    "content in parts": sent(delta([{"type": "text", "text": "Dental"}]), {"choices": [STOP]}),
    "a second choice": sent(delta("Dental"), delta("Surgery", index=1), {"choices": [STOP]}),
    "CRLF": sent(delta("Dental"), {"choices": [STOP]}, end="\r\n"),
    "CR": sent(delta("Dental"), {"choices": [STOP]}, end="\r"),
    "comments and fields": sent(": ping", "event: message", "id: 4", delta("Dental"), {"choices": [STOP]}),
    "no space": sent(delta("Dental"), {"choices": [STOP]}).replace(b"data: ", b"data:"),
    "no blank lines": sent(delta("Dental"), {"choices": [STOP]}).replace(b"\n\n", b"\n"),
    "several lines": b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "Dental"},\n'
    b'data: "finish_reason": "stop"}]}\n\n',
    "no end mark": sent(delta("Dental"), {"choices": [STOP]}, done=False),
    "a byte order mark": b"\xef\xbb\xbf" + sent(delta("Dental"), {"choices": [STOP]}),
    "not streamed": json.dumps(WHOLE).encode(),
    "not streamed, indented": json.dumps(WHOLE, indent=1).encode(),
    "not streamed, no reason": b'\n{"choices": [{"message": {"content": " Dental "}}], "usage": null}',
    "a null error": sent(delta("Dental") | {"error": None}, {"choices": [STOP]}),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_the_answer_is_taken(body):
    text, last = read(body)
    assert text == "Dental"
    assert last.finish_reason == "stop"
    assert last.tokens_out == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (sent(delta("Dental"), done=False), "no finish reason came"),
        (sent(delta("Dental"), delta("", finish_reason="abort")), "its finish reason is 'abort'"),
        (sent(delta("Den"), {"error": {"message": "out of memory"}}), "out of memory"),
        (sent({"object": "error", "message": "the engine is dead"}), "the engine is dead"),
        (sent({"error": "overloaded"}), "overloaded"),
        (sent("data: {oops"), "5 characters that are no JSON"),
        (b'{"error": {"message": "no such thing", "code": 500}}', "no such thing"),
        (b'{"choices": [', "that are no JSON"),
        (b"<html>504 Gateway Time-out</html>", "no finish reason came"),
        (b"", "no finish reason came"),
    ],
)
def test_a_fault_is_told_in_the_servers_words(body, words):
    with pytest.raises(EngineError, match="server") as error:
        read(body)
    assert words in str(error.value)


def test_a_wrong_request_may_be_told_in_the_stream():
    with pytest.raises(RequestRefused, match="must be distinct"):
        read(sent({"error": {"message": "choices must be distinct", "code": 400}}))


@pytest.mark.parametrize(
    "usage", [None, 7, [], "x", {}, {"completion_tokens": None}, {"completion_tokens": -3},
              {"completion_tokens": 2**80}, {"completion_tokens": "12"}, {"completion_tokens": True}]
)  # fmt: skip
def test_a_count_that_is_none_is_counted_here(usage):
    _, last = read(
        sent(delta("Oral"), delta(" Surgery"), {"choices": [STOP]}, {"choices": [], "usage": usage})
    )
    assert (last.tokens_in, last.tokens_out) == (0, 2)


@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*b'data: {}[]"\r\n:,nul\x80', *b"choices"]), max_size=80), st.integers(1, 9))
def test_whatever_comes_ends_in_an_answer_or_an_error(numbers, size):
    body = bytes(numbers)
    try:
        read(b"data: " + body, size)
    except (EngineError, RequestRefused):
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "delta", "message", "content", "finish_reason", "usage", "error", "index",
                         "completion_tokens", "code", "text"]), inner, max_size=4),
)  # fmt: skip


@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(st.lists(JSON, max_size=4))
def test_events_of_any_shape_end_in_an_answer_or_an_error(parts):
    try:
        text, last = read(sent(*parts), 50)
    except (EngineError, RequestRefused):
        return
    assert text == text.strip()
    assert 0 <= last.tokens_out < 2**31


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://127.0.0.1:8001/", "http://127.0.0.1:8001"),
        ("http://127.0.0.1:8001/v1", "http://127.0.0.1:8001"),
        ("http://127.0.0.1:8001/v1/", "http://127.0.0.1:8001"),
        ("https://host/llm/", "https://host/llm"),
        ("https://host/llm/v1", "https://host/llm"),
    ],
)
def test_an_address_as_servers_print_it(url, root):
    assert server_root(url) == root


NO_ADDRESSES = [
    "", "localhost:8001", "ftp://host", "http://", "http://host/v1?key=3", "http://[::1", "http://host:99999",
    "http://host:abc", "http://host:0", "http://ho st", "http://host/#v1", "http://[x]",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match=r"serving\.url"):
        server_root(url)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, '{"error": {"message": "stop cannot be empty"}}', RequestRefused, "invalid_request"),
        (400, '{"message": "This model\'s maximum context length is 512 tokens."}', RequestRefused,
         "context_length_exceeded"),
        (422, '{"detail": [{"loc": ["body", "seed"], "msg": "too big"}]}', RequestRefused, "invalid_request"),
        (413, "too large", RequestRefused, "invalid_request"),
        (400, '{"error": {"message": "no such model", "code": "model_not_found"}}', EngineError, None),
        (400, '{"error": {"message": "no such model", "param": "model"}}', EngineError, None),
        (401, '{"error": {"message": "wrong key"}}', EngineError, None),
        (404, "", EngineError, None),
        (429, "", EngineError, None),
        (500, '{"error": null}', EngineError, None),
    ],
)  # fmt: skip
def test_whose_fault_a_status_is(status, body, kind, code):
    error = refusal_of(status, body, "v1")
    assert isinstance(error, kind)
    assert getattr(error, "code", None) == code
    assert isinstance(error_of(status, body, "v1"), EngineError)  # an adapter that does not load


def test_words_are_one_short_printable_line():
    said = words_of(json.dumps({"error": {"message": "a\x1b[31m\nb\u2028c " + "x" * 999}}))
    assert said.startswith("a [31m b c xx")
    assert len(said) == 300
    assert words_of("") == "no reason given"
