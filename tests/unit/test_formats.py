"""Logs in the forms that other products publish; the files in fixtures/logs are written in those forms."""

from pathlib import Path

import pytest

from tests.support.logs import at, read

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
    assert fourth.fault == "the answer is a tool call"


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
    assert second.fault == "completion is missing"


def test_litellm_spend_logs():
    first, second = rows("litellm_spend_logs.jsonl", "litellm")
    assert said(first) == ([SYSTEM, ("user", ASKED[0])], "delivery")
    names = ("request_id", "tenant", "subject_id", "conversation_id", "latency_ms")
    assert some(first, *names) == ("chatcmpl-7", "team-1", "u-17", "s-9", 1250.0)
    assert said(second) == ([("user", ASKED[1])], "billing")
