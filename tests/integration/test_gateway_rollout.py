import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from pipelines.core.errors import IntegrityError
from pipelines.core.traffic_split import Route, rolled_back, to_canary, to_production, to_shadow
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import ONE, THREE, TWO, chat, gateway, gateway_config, until
from tests.support.journal import journal_rows


def adapter_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["nightshift"]["adapter"]


def ask(client, text="hello", **fields):
    return client.post("/v1/chat/completions", json=chat(text, **fields))


def rows(running):
    return journal_rows(running.config.home)


@contextmanager
def users(running):
    """People who ask one question after the other; yields what they got: (started, status, adapter)."""
    got, stopping = [], threading.Event()

    def one(number):
        with running.client() as client:
            turn = 0
            while not stopping.is_set():
                turn += 1
                started = time.monotonic()
                answer = ask(client, f"{number} {turn}", user=f"p-{number}")
                name = answer.json()["nightshift"]["adapter"] if answer.status_code == 200 else None
                got.append((started, answer.status_code, name))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        stopping.set()
        for thread in threads:
            thread.join(20)


def test_a_whole_rollout_under_load_drops_no_request(home):
    engine = DoubleEngine()
    engine.load_s = 0.2
    engine.delays = {"1": 0.01, "2": 0.01}
    with gateway(gateway_config(home), engine) as running, users(running) as got:
        time.sleep(0.2)
        route = to_shadow(Route(), ONE)
        running.promote(route)
        for weight in (0.5, 0.9):
            route = to_canary(route, ONE, weight)
            running.promote(route)
            time.sleep(0.2)
        route = to_production(route, ONE)
        running.promote(route)
        for move in (to_shadow(route, TWO), Route(production=TWO, previous=ONE, has_previous=True)):
            running.promote(move)
        moved = time.monotonic()
        running.promote(rolled_back(Route(production=TWO, previous=ONE, has_previous=True)))
        took = time.monotonic() - moved
        time.sleep(0.2)
        ended = time.monotonic()
    assert {status for _, status, _ in got} == {200}
    assert {name for _, _, name in got} == {"base", "1", "2"}
    assert {name for started, _, name in got if moved + took < started < ended - 0.1} == {"1"}
    assert engine.loaded == {ONE}  # what nobody needs any more is unloaded
    assert engine.closed


def test_a_request_in_flight_ends_on_what_it_started_with(home):
    engine = DoubleEngine()
    with gateway(gateway_config(home), engine) as running, running.client() as client:
        running.promote(Route(production=ONE))
        engine.delays["1"] = 0.5
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(client)))
        thread.start()
        until(lambda: engine.asked)
        running.promote(Route(production=TWO))
        assert engine.loaded == {ONE, TWO}
        with running.client() as other:
            assert adapter_of(ask(other)) == "2"
        thread.join()
        assert adapter_of(answers[0]) == "1"
        until(lambda: engine.loaded == {TWO})


def test_adapters_are_warmed_before_they_answer(home):
    engine = DoubleEngine()
    with gateway(gateway_config(home), engine) as running:
        assert engine.warmed == ["base"]
        running.promote(
            Route(production=ONE, canary=TWO, canary_weight=0.1, previous=THREE, has_previous=True)
        )
        assert sorted(engine.warmed) == ["1", "2", "3", "base"]


def test_not_ready_until_loaded_and_then_at_once(home):
    engine = DoubleEngine()
    config = gateway_config(home)
    with gateway(config, engine) as running:
        running.promote(Route(production=ONE))
    engine.may_load.clear()
    with gateway(config, engine, wait_ready=False) as running, running.client() as client:
        early = ask(client)
        assert (early.status_code, early.headers["retry-after"]) == (503, "1")
        assert running.ready()["ready"] is False
        engine.may_load.set()
        until(lambda: running.ready()["ready"])
        assert adapter_of(ask(client)) == "1"


def test_an_adapter_that_does_not_load_leaves_the_old_route(home):
    engine = DoubleEngine()
    with gateway(gateway_config(home), engine) as running, running.client() as client:
        running.promote(Route(production=ONE))
        engine.unloadable = {"2"}
        ledger = running.ledger
        ledger.add_promotion(ledger.promotion(), "test", Route(production=TWO), "a test", "pytest")
        until(lambda: "the weights do not fit" in running.ready()["problem"])
        assert running.ready() | {"problem": ""} == {
            "ready": True, "promotion": 1, "production": "1", "canary": None, "shadow": None, "contact": True,
            "problem": "",
        }  # fmt: skip
        assert adapter_of(ask(client)) == "1"
        assert running.metric("load_failures_total") == 1
        running.promote(Route(production=THREE))  # a way out that loads
        assert running.ready()["problem"] == ""


def test_a_previous_one_that_does_not_load_stops_nothing(home):
    engine = DoubleEngine()
    engine.unloadable = {"1"}
    with gateway(gateway_config(home), engine) as running, running.client() as client:
        running.promote(Route(production=TWO, previous=ONE, has_previous=True))
        assert adapter_of(ask(client)) == "2"


def test_files_that_are_not_those_promoted_are_not_served(home):
    def fetch(adapter):
        if adapter == TWO:
            raise IntegrityError("Version 2 has other files than were promoted.", "Promote it again.")
        return Path()

    with gateway(gateway_config(home), DoubleEngine(), fetch) as running, running.client() as client:
        ledger = running.ledger
        ledger.add_promotion(ledger.promotion(), "test", Route(production=TWO), "a test", "pytest")
        until(lambda: "Promote it again" in running.ready()["problem"])
        assert adapter_of(ask(client)) == "base"


def test_a_person_stays_on_one_side_and_the_share_is_the_weight(home):
    with gateway(gateway_config(home), DoubleEngine()) as running, running.client() as client:
        people = [f"p-{number}" for number in range(150)]

        def on_canary():
            return {p for p in people if adapter_of(ask(client, user=p)) == "1"}

        running.promote(Route(canary=ONE, canary_weight=0.2))
        few = on_canary()
        assert few == on_canary()
        running.promote(Route(canary=ONE, canary_weight=0.5))
        assert few < on_canary()
        assert 10 <= len(few) <= 52  # 30 expected, four sigma
        by_route = {row["route"] for row in rows(running) if row["adapter"] == "1"}
        assert by_route == {"canary"}


def test_a_shadow_answers_unseen_and_slows_nobody(home):
    engine = DoubleEngine()
    engine.delays["1"] = 0.3
    with gateway(gateway_config(home, shadow_queue=3), engine) as running, running.client() as client:
        running.promote(Route(shadow=ONE))
        started = time.monotonic()
        answers = [ask(client, f"question {number}") for number in range(10)]
        assert time.monotonic() - started < 1.5  # ten shadows take 3 s
        assert {adapter_of(answer) for answer in answers} == {"base"}
        until(lambda: len([row for row in rows(running) if row["route"] == "shadow"]) >= 3)
        until(lambda: running.metric('shadows_total{result="dropped"}') >= 1)
        shadows = [row for row in rows(running) if row["route"] == "shadow"]
        asked = {answer.json()["id"]: number for number, answer in enumerate(answers)}
        for row in shadows:
            assert row["completion"] == f"1 question {asked[row['parent']]}"
        backgrounds = [request.background for who, request in engine.asked if who == "1"]
        assert all(backgrounds)
        assert not any(request.background for who, request in engine.asked if who == "base")


def test_feedback_cannot_be_given_to_a_shadow(home):
    engine = DoubleEngine()
    with gateway(gateway_config(home), engine) as running, running.client() as client:
        running.promote(Route(shadow=ONE))
        ask(client)
        until(lambda: [row for row in rows(running) if row["route"] == "shadow"])
        shadow = next(row for row in rows(running) if row["route"] == "shadow")
        said = client.post("/v1/feedback", json={"request_id": shadow["request_id"], "rating": 1})
        assert said.status_code == 404


def test_a_promotion_asks_anew_what_was_cached(home):
    with gateway(gateway_config(home), DoubleEngine()) as running, running.client() as client:
        running.promote(Route(production=ONE))
        assert [ask(client).json()["nightshift"]["cached"] for _ in range(2)] == [False, True]
        running.promote(Route(production=TWO))
        fresh = ask(client).json()
        assert (fresh["nightshift"]["cached"], fresh["choices"][0]["message"]["content"]) == (
            False,
            "2 hello",
        )


def test_a_locked_or_unreadable_ledger_changes_nothing(home):
    with gateway(gateway_config(home), DoubleEngine()) as running, running.client() as client:
        running.promote(Route(production=ONE))
        other = sqlite3.connect(home / "ledger.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(0.1)
        assert adapter_of(ask(client)) == "1"
        other.execute("ROLLBACK")
        other.execute("ALTER TABLE promotions RENAME TO away")
        until(lambda: "the ledger cannot be read" in running.ready()["problem"])
        assert adapter_of(ask(client)) == "1"
        other.execute("ALTER TABLE away RENAME TO promotions")
        until(lambda: running.ready()["problem"] == "")
        other.close()
