import concurrent.futures
import json
import socket
import time

import pytest

from pipelines.core.traffic_split import Route
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import ONE, TWO, chat, events, gateway, gateway_config, until
from tests.support.journal import journal_rows


def ask(client, text="hello", **fields):
    return client.post("/v1/chat/completions", json=chat(text, **fields))


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


def test_a_tenants_minute_ends_and_another_tenants_does_not(home):
    limits = {"requests_per_minute": 5}
    with gateway(gateway_config(home, tenants={"north-clinic": limits}), DoubleEngine()) as running:
        with running.client() as north, running.client(tenant="south-clinic") as south:
            answers = [ask(north, str(number)) for number in range(7)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
            assert code(answers[-1]) == (429, "rate_limit_exceeded")
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
            assert ask(south).status_code == 200
        assert running.metric('refusals_total{code="rate_limit_exceeded",status="429"}') == 2


def test_wrong_requests_count_too(home):
    config = gateway_config(home, tenants={"north-clinic": {"requests_per_minute": 3}})
    with gateway(config, DoubleEngine()) as running, running.client() as client:
        wrong = [client.post("/v1/chat/completions", content=b"{" * 1000) for _ in range(2)]
        assert [answer.status_code for answer in wrong] == [400, 400]
        assert client.post("/predict", json={}).status_code == 400
        assert code(ask(client)) == (429, "rate_limit_exceeded")


def test_a_tenants_day_of_tokens_ends(home):
    config = gateway_config(home, limits={"tokens_per_day": 20})
    with gateway(config, DoubleEngine()) as running, running.client() as client:
        answers = [ask(client, f"five words are in {number}") for number in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]  # 11 tokens each
        assert code(answers[-1]) == (429, "quota_exceeded")
        said = {"request_id": answers[0].json()["id"], "rating": 1}
        assert client.post("/v1/feedback", json=said).status_code == 200
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 86_400


def test_a_full_queue_is_told_at_once(home):
    engine = DoubleEngine()
    engine.delays["base"] = 0.4
    with gateway(gateway_config(home, concurrency=1, queue=1), engine) as running, running.client() as client:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda number: ask(client, str(number)), range(6)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 200, 429, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert code(refused) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.elapsed.total_seconds() < 0.3


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused(home, chunked):
    with (
        gateway(gateway_config(home, max_body_bytes=10_000), DoubleEngine()) as running,
        running.client() as client,
    ):
        body = b"x" * 200_000
        content = (body[i : i + 1000] for i in range(0, len(body), 1000)) if chunked else body
        assert code(client.post("/v1/chat/completions", content=content)) == (413, "body_too_large")
        assert ask(client).status_code == 200


def test_a_client_that_sends_slowly_is_cut_off(home):
    with gateway(gateway_config(home, client_timeout_s=0.3), DoubleEngine()) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_client_that_does_not_read_holds_no_place(home):
    engine = DoubleEngine()
    config = gateway_config(
        home, client_timeout_s=0.5, max_prompt_bytes=4_000_000, max_body_bytes=5_000_000, concurrency=1
    )
    with gateway(config, engine) as running, running.client() as client:
        host, port = running.url.removeprefix("http://").split(":")
        body = json.dumps(chat("word " * 60_000, stream=True)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token()}\r\n"
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: engine.asked)
            assert ask(client).status_code == 200
            until(lambda: running.metric('in_flight{adapter="base"}') == 0)
            until(lambda: len(journal_rows(running.config.home)) >= 2)


def test_too_slow_is_a_timeout(home):
    engine = DoubleEngine()
    engine.delays["base"] = 5.0
    with gateway(gateway_config(home, timeout_s=0.3), engine) as running, running.client() as client:
        started = time.monotonic()
        assert code(ask(client)) == (504, "timeout")
        assert time.monotonic() - started < 2
        until(lambda: [row for row in journal_rows(running.config.home) if row["error"]])
        (row,) = journal_rows(running.config.home)
        assert (row["fault"], row["adapter"], row["completion"]) == ("timeout", "base", "")


def test_a_broken_canary_falls_back_and_keeps_its_fault(home):
    engine = DoubleEngine()
    engine.faults["2"] = "error"
    config = gateway_config(home, breaker_failures=3, breaker_reset_s=0.5)
    with gateway(config, engine) as running, running.client() as client:
        running.promote(Route(production=ONE, canary=TWO, canary_weight=1.0))
        answers = [ask(client, f"{number}").json()["nightshift"] for number in range(6)]
        assert {answer["adapter"] for answer in answers} == {"1"}
        assert all(answer["fallback"] and answer["route"] == "production" for answer in answers)
        assert len([who for who, _ in engine.asked if who == "2"]) == 3  # then the circuit is open
        until(lambda: len(journal_rows(running.config.home)) == 12)
        rows = journal_rows(running.config.home)
        faults = [row["fault"] for row in rows if row["adapter"] == "2"]
        assert faults == ["engine"] * 3 + ["circuit open"] * 3
        assert all(row["error"] and row["route"] == "canary" for row in rows if row["adapter"] == "2")
        assert all(row["fallback"] and not row["error"] for row in rows if row["adapter"] == "1")
        engine.faults.clear()
        time.sleep(0.6)
        assert ask(client, "again").json()["nightshift"]["adapter"] == "2"  # half-open, then closed


def test_production_falls_back_to_the_previous_and_the_base(home):
    engine = DoubleEngine()
    with gateway(gateway_config(home), engine) as running, running.client() as client:
        running.promote(Route(production=TWO, previous=ONE, has_previous=True))
        for broken, expected in ((["2"], "1"), (["2", "1"], "base")):
            engine.faults = dict.fromkeys(broken, "error")
            answer = ask(client, expected)
            assert answer.json()["nightshift"]["adapter"] == expected
            assert answer.headers["x-nightshift-fallback"] == "true"
        engine.faults["base"] = "error"
        assert code(ask(client, "none")) == (502, "engine_failed")
        assert running.metric('fallbacks_total{adapter="1",route="production"}') == 1


def test_a_stuck_adapter_is_left_in_time(home):
    engine = DoubleEngine()
    engine.delays["2"] = 10.0
    with gateway(gateway_config(home, attempt_timeout_s=0.2), engine) as running, running.client() as client:
        running.promote(Route(production=TWO, previous=ONE, has_previous=True))
        assert ask(client).json()["nightshift"]["adapter"] == "1"


def test_a_slow_canary_takes_no_room_from_production(home):
    engine = DoubleEngine()
    engine.delays["2"] = 1.0
    with gateway(gateway_config(home, concurrency=2, queue=4), engine) as running:
        running.promote(Route(production=ONE, canary=TWO, canary_weight=0.5))
        with running.client() as client:
            people = [str(number) for number in range(40)]
            with concurrent.futures.ThreadPoolExecutor(40) as pool:
                answers = list(pool.map(lambda p: ask(client, p, user=p), people))
        told = [answer.json()["nightshift"] for answer in answers if answer.status_code == 200]
        assert len([one for one in told if one["adapter"] == "1" and not one["fallback"]]) >= 5
        assert [one for one in told if one["fallback"]]  # a canary's full queue is not its people's trouble
        until(lambda: [row for row in journal_rows(running.config.home) if row["adapter"] == "1"])
        rows = journal_rows(running.config.home)
        assert max(row["latency_ms"] for row in rows if row["adapter"] == "1") < 900


def test_an_answer_that_breaks_off_says_so_in_the_stream(home):
    engine = DoubleEngine()
    engine.faults["base"] = "late"
    with gateway(gateway_config(home), engine) as running, running.client() as client:
        *chunks, last = events(ask(client, "one two", stream=True).text)
        assert chunks
        assert last["error"]["code"] == "engine_failed"
        assert code(ask(client, "one two")) == (502, "engine_failed")
        until(lambda: len(journal_rows(running.config.home)) == 2)
        assert all(row["error"] for row in journal_rows(running.config.home))


def test_streams_that_are_left_early_cost_tokens(home):
    engine = DoubleEngine()
    config = gateway_config(home, limits={"tokens_per_day": 60})
    with gateway(config, engine) as running, running.client() as client:
        statuses = []
        for number in range(8):
            body = chat(f"{number} " + "word " * 20, stream=True, max_tokens=10)
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                statuses.append(answer.status_code)
                if answer.status_code == 200:
                    for _ in answer.iter_raw(chunk_size=64):
                        break  # the answer goes on, and nobody reads it
            time.sleep(0.05)
        assert statuses[0] == 200
        assert statuses[3:] == [429] * 5


def test_answers_under_way_count_before_they_end(home):
    engine = DoubleEngine()
    engine.delays["base"] = 0.5
    config = gateway_config(home, limits={"tokens_per_day": 40})
    with gateway(config, engine) as running, running.client() as client:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: ask(client, f"{n}", max_tokens=20), range(8)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 200] + [429] * 6
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert code(refused) == (429, "quota_exceeded")
        assert refused.headers["retry-after"] == "1"  # they use less than was set aside
        assert ask(client, "again").status_code == 200


def test_another_tenant_is_not_charged(home):
    config = gateway_config(home, limits={"tokens_per_day": 10})
    with (
        gateway(config, DoubleEngine()) as running,
        running.client() as north,
        running.client(tenant="south-clinic") as south,
    ):
        assert ask(north, "many words " * 10).status_code == 200
        assert ask(north).status_code == 429
        assert ask(south).status_code == 200
