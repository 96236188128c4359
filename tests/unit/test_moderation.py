"""The client of a moderation endpoint, against a real server on loopback: what is not judged never passes."""

from __future__ import annotations

import json

import pytest

from pipelines.core.config import Config, Moderation
from pipelines.core.errors import InputError, UnavailableError
from pipelines.evaluation.moderation import ModerationEndpoint
from pipelines.models.api_client import MOST_BYTES
from tests.support.moderation_server import moderation_server, results

OK = results([(False, 0.1)])


def say(texts):
    """Flags what holds "harm"; the longer a text, the higher its score."""
    return results([("harm" in text, min(1, len(text) / 100)) for text in texts])


def reply(*results_, **more):
    return 200, json.dumps({"results": [*results_], **more}).encode()


@pytest.fixture(scope="module")
def shared():
    with moderation_server(say) as server:
        yield server


@pytest.fixture
def server(shared):
    shared.first.clear()
    shared.asked.clear()
    shared.headers.clear()
    return shared


def endpoint(url, **settings):
    return ModerationEndpoint(Moderation(url=url, **{"backoff_s": 0.01, "attempts": 3, **settings}))


def test_flags_and_scores_come_in_the_order_of_the_texts(server):
    texts = [f"{'harm' if place % 3 == 0 else 'fine'} {'x' * place}" for place in range(70)]
    found = endpoint(server.url).scores(texts)
    assert ((found >= 0.5) == [place % 3 == 0 for place in range(70)]).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[::3][1:] > found[::3][:-1]).all()
    assert [len(one["input"]) for one in server.asked] == [32, 32, 6]
    assert [text for one in server.asked for text in one["input"]] == texts


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_the_address_may_end_in_v1(server, end):
    assert endpoint(server.url + end).scores(["harm"])[0] >= 0.5


def test_a_prefix_before_v1_is_kept():
    with moderation_server(say, prefix="/proxy") as server:
        assert endpoint(f"{server.url}/v1").scores(["fine"])[0] < 0.5


def test_key_and_model_are_sent_where_they_are_set(server, tmp_path):
    (tmp_path / "key").write_text(" secret-1\n")
    endpoint(server.url, api_key_file=str(tmp_path / "key"), model="omni").scores(["fine"])
    endpoint(server.url).scores(["fine"])
    assert [one.get("authorization") for one in server.headers] == ["Bearer secret-1", None]
    assert [one.get("model") for one in server.asked] == ["omni", None]


def test_a_key_that_cannot_be_read_is_named(server, tmp_path):
    with pytest.raises(InputError, match=r"cannot be read .No such file") as raised:
        endpoint(server.url, api_key_file=str(tmp_path / "missing"))
    assert "safety.moderation.api_key_file" in raised.value.remedy


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_a_busy_server_is_asked_again(server, status):
    server.first += [(status, b"busy"), (status, b"")]
    assert endpoint(server.url).scores(["harm"])[0] >= 0.5
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_is_a_fault(server):
    server.first += [(503, b"")] * 3
    with pytest.raises(UnavailableError, match=r"did not answer .attempts: 3; at last: status 503"):
        endpoint(server.url).scores(["fine"])


def test_a_server_that_is_away_is_a_fault():
    with moderation_server(say) as server:
        gone = endpoint(server.url)
    with pytest.raises(UnavailableError, match=r"did not answer .attempts: 3;"):
        gone.scores(["fine"])


def test_a_silent_server_is_given_up():
    import threading

    held = threading.Event()

    def silent(texts):
        held.wait(20)
        return OK

    with moderation_server(silent) as server:
        with pytest.raises(UnavailableError, match="timed out"):
            endpoint(server.url, timeout_s=0.2, attempts=2).scores(["fine"])
        held.set()


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(400, "moderation.url"), (401, "api_key_file"), (403, "api_key_file"), (404, "moderation.url"),
     (302, "moderation.url"), (204, "moderation.url")],
)  # fmt: skip
def test_a_refusal_is_told_once_and_without_the_key(server, tmp_path, status, remedy):
    (tmp_path / "key").write_text("secret-1")
    server.first += [(status, b'{"error": {"message":\n "no"}}' if status != 204 else b"")]
    with pytest.raises(InputError, match=f"refused a request .{status}") as raised:
        endpoint(server.url, api_key_file=str(tmp_path / "key")).scores(["a private text"])
    assert remedy in raised.value.remedy
    assert "secret-1" not in str(raised.value)
    assert "private" not in str(raised.value)
    assert len(server.asked) == 1


FINE = {"flagged": False, "category_scores": {"hate": 0.1}}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((200, b""), "JSON"),
        ((200, b"<html>"), "JSON"),
        ((200, b"[]"), "object"),
        ((200, b'{"results": '), "JSON"),
        ((200, b"\xff\xfe{}"), "JSON"),
        ((200, b"[" * 100_000), "JSON"),
        (reply(), "0 results for 1 texts"),
        (reply(FINE, FINE), "2 results for 1 texts"),
        ((200, b'{"error": {"message": "quota"}}'), "results: Field required"),
        (reply({"category_scores": {"hate": 0.9}}), "flagged: Field required"),
        (reply({"flagged": "false"}), "flagged: Input should be a valid boolean"),
        (reply({"flagged": None}), "flagged"),
        (reply({"flagged": 0}), "flagged"),
        (reply({"flagged": False, "category_scores": {"hate": 1.5}}), "less than or equal to 1"),
        (reply({"flagged": False, "category_scores": {"hate": float("nan")}}), "hate"),
        (reply({"flagged": False, "category_scores": {"hate": "high"}}), "hate"),
        (reply({"flagged": False, "category_scores": [0.1]}), "category_scores"),
        ((200, b" " * (MOST_BYTES + 1)), "more than 4 MiB"),
    ],
)
def test_a_broken_reply_is_a_fault_and_never_harmless(server, said, why):
    server.first += [said]
    with pytest.raises(InputError, match="cannot be used") as raised:
        endpoint(server.url).scores(["fine"])
    assert why in str(raised.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("result", "harm"),
    [
        ({"flagged": True, "category_scores": {"hate": 0.02}}, 0.51),
        ({"flagged": True}, 0.5),
        ({"flagged": True, "category_scores": None}, 0.5),
        ({"flagged": False, "category_scores": {"hate": 0.8, "violence": None}}, 0.4),
        ({"flagged": False, "category_scores": {"hate": 1.0}}, 0.499999),
        ({"flagged": False, "more": [1, {}]}, 0.0),
    ],
)
def test_the_servers_own_flag_decides(server, result, harm):
    server.first += [reply(result, usage={})]
    assert endpoint(server.url).scores(["x"])[0] == pytest.approx(harm)


@pytest.mark.parametrize("text", ["", "\ud800 lone", "a" * 300_000, "文" * 1000, "\x00"])
def test_any_text_can_be_sent(server, text):
    assert endpoint(server.url).scores([text, "harm"])[1] >= 0.5


@pytest.mark.parametrize(
    ("safety", "why"),
    [
        ({"moderation": {"url": "ftp://x"}}, "no address of a server"),
        ({"moderation": {"url": "api.openai.com"}}, "no address of a server"),
        ({"moderation": {"url": "https://user:pass@host/v1"}}, "holds a password"),
        ({"classifier": {"model": "org/toxic"}}, "harmful_labels is empty"),
        (
            {"moderation": {"url": "https://h"}, "classifier": {"model": "a/b", "harmful_labels": ["x"]}},
            "both set",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(safety, why):
    with pytest.raises(ValueError, match=why):
        Config.model_validate({"profile": "x", "safety": safety})
