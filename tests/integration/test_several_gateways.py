"""Two real gateways on one PostgreSQL: they move together, and each goes on when something else fails."""

import secrets
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from pipelines.core.traffic_split import Route, aborted, rolled_back, to_canary, to_production, to_shadow
from pipelines.operations.databases import STORES, upgrade
from pipelines.stores import open_ledger
from pipelines.stores.held_move import gateway_problems, held_move
from tests.support.cluster import PASSWORD
from tests.support.double_engine import DoubleEngine
from tests.support.fleets import Cable, member_config
from tests.support.gateways import ONE, TWO, chat, gateway, process, until
from tests.support.journal import rows_at

SLOW = pytest.mark.slow


class Pair:
    """Gateways `a` and `b` with their engines, and the ledger that moves both."""

    def __init__(self, a, b, engines):
        self.a, self.b, (self.engine_a, self.engine_b) = a, b, engines
        self.ledger = open_ledger(a.config)

    def append(self, route, move="test"):
        """A move that nobody waits for."""
        return self.ledger.add_promotion(self.ledger.promotion(), move, route, "a test", "pytest").number

    def promote(self, route):
        number = self.append(route)
        until(lambda: self.live() == [number, number], 20)
        return number

    def live(self):
        return [one.ready()["promotion"] for one in (self.a, self.b)]


@pytest.fixture(scope="module")
def template(postgres_server):
    """A database with the tables of all stores; making them takes a second. `member` owns none of them."""
    postgres_server.execute(f"CREATE ROLE member LOGIN PASSWORD '{PASSWORD}'")
    postgres_server.create("fleet")
    url = postgres_server.url("fleet", "member")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(postgres_server.passfile))
        for store in STORES:
            upgrade(store, url, owner="postgres")
    return "fleet"


@pytest.fixture
def database(postgres, template):
    """The URL of a copy."""
    name = f"test_{secrets.token_hex(4)}"
    postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return postgres.url(name, "member")


@pytest.fixture
def configs(tmp_path, database):
    return [member_config(tmp_path, name, database) for name in ("a", "b")]


@pytest.fixture
def pair(configs):
    engines = DoubleEngine(), DoubleEngine()
    with gateway(configs[0], engines[0]) as a, gateway(configs[1], engines[1]) as b:
        until(lambda: "waits" not in a.ready()["problem"])
        yield Pair(a, b, engines)


def adapter(running, text="hello", **fields):
    with running.client() as client:
        answer = client.post("/v1/chat/completions", json=chat(text, **fields))
        assert answer.status_code == 200, answer.text
        return answer.json()["nightshift"]["adapter"]


def test_a_forward_move_waits_for_the_slower_gateway(pair):
    pair.engine_b.may_load.clear()
    number = pair.append(Route(production=ONE))
    until(lambda: f"promotion {number} waits for {pair.b.url}" in pair.a.ready()["problem"])
    assert ONE in pair.engine_a.loaded
    assert pair.live() == [0, 0]
    assert adapter(pair.a) == "base"
    pair.engine_b.may_load.set()
    until(lambda: pair.live() == [number, number])
    assert (adapter(pair.a), adapter(pair.b)) == ("1", "1")
    assert pair.a.ready()["problem"] == ""


def test_a_gateway_that_cannot_load_holds_the_move(pair):
    pair.engine_b.unloadable = {"1"}
    number = pair.append(Route(production=ONE))
    until(lambda: "the weights do not fit" in pair.a.ready()["problem"], 15)
    assert pair.b.url in pair.a.ready()["problem"]
    assert pair.live() == [0, 0]
    held = held_move(pair.a.config, number)
    assert held.startswith(f"promotion {number} waits for {pair.b.url} (promotion {number} is not live")
    assert pair.a.metric("move_waits") == 1
    pair.engine_b.unloadable = set()
    until(lambda: pair.live() == [number, number], 20)
    until(lambda: not held_move(pair.a.config, number))
    assert pair.a.metric("move_waits") == 0


def test_a_rollback_waits_for_nobody(pair):
    pair.promote(Route(production=ONE))
    after = Route(production=TWO, previous=ONE, has_previous=True)
    pair.promote(after)
    pair.engine_b.load_s = 60.0  # it hangs
    shadow = to_shadow(after, ONE)  # loaded already, so that b hangs with the next one
    pair.promote(shadow)
    waiting = pair.append(to_production(to_canary(shadow, ONE, 0.5), ONE))
    until(lambda: pair.live() == [waiting, waiting], 20)
    stuck = pair.append(Route(production=ONE, previous=ONE, has_previous=True, shadow=type(ONE)("3", "x")))
    until(lambda: f"promotion {stuck} is not live" in pair.b.ready()["problem"])
    started = time.monotonic()
    back = pair.append(Route(production=ONE, previous=None), "rollback")
    until(lambda: pair.live() == [back, back])
    assert time.monotonic() - started < 5
    assert (adapter(pair.a), adapter(pair.b)) == ("1", "1")


def test_an_abort_ends_a_wait_and_what_was_loaded_goes(pair):
    pair.engine_b.unloadable = {"1"}
    pair.append(to_shadow(Route(), ONE))
    until(lambda: "waits for" in pair.a.ready()["problem"])
    assert pair.engine_a.loaded == {ONE}
    number = pair.append(aborted(to_shadow(Route(), ONE)), "abort")
    until(lambda: pair.live() == [number, number])
    until(lambda: pair.engine_a.loaded == set())
    pair.engine_b.unloadable = set()
    later = [
        pair.append(to_shadow(Route(), ONE)),
        pair.append(Route(production=TWO)),
    ]  # two, one after the other
    until(lambda: pair.live() == [later[1]] * 2)
    assert pair.engine_b.loaded == {TWO}


@contextmanager
def asking(*members):
    """Users who ask all gateways; yields (gateway, status) of every answer."""
    got, stopping = [], threading.Event()

    def ask(running):
        with running.client() as client:
            turn = 0
            while not stopping.is_set():
                turn += 1
                answer = client.post("/v1/chat/completions", json=chat(f"{running.url} {turn}"))
                said = answer.json()
                if answer.status_code == 200 and turn % 3 == 0:
                    rated = client.post("/v1/feedback", json={"request_id": said["id"], "rating": 1})
                    got.append((running, rated.status_code, None))
                got.append((running, answer.status_code, said.get("id")))
                time.sleep(0.01)

    threads = [threading.Thread(target=ask, args=(running,)) for running in members]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        stopping.set()
        for thread in threads:
            thread.join(20)


@SLOW
def test_a_database_that_is_away_stops_nobody(pair, postgres, database):
    pair.promote(to_shadow(Route(production=None), ONE))
    with asking(pair.a, pair.b) as got:
        time.sleep(0.5)
        postgres.server.stop(signal.SIGQUIT)
        try:
            time.sleep(5)  # longer than contact_s
            assert not pair.a.ready()["contact"]
            assert pair.a.ready()["ready"]
            assert "rows wait in the spool" in pair.a.ready()["problem"]
            assert pair.a.ready()["shadow"] == "1"
        finally:
            postgres.server.start(postgres.is_ready)
        time.sleep(0.5)
    assert {status for _, status, _ in got} == {200}
    until(lambda: pair.a.ready()["contact"] and pair.b.ready()["contact"], 20)
    ids = {request_id for _, _, request_id in got if request_id}
    until(lambda: ids <= {row["request_id"] for row in rows_at(database)}, 30)
    rated = sum(1 for _, _, request_id in got if request_id is None)
    until(lambda: sum(row["rating"] is not None for row in rows_at(database)) == rated, 20)
    number = pair.append(Route(production=ONE))
    until(lambda: pair.live() == [number, number], 20)


def test_feedback_may_go_to_the_other_gateway(pair, database):
    with pair.a.client() as at_a, pair.b.client() as at_b, pair.b.client("other-clinic") as stranger:
        answer = at_a.post("/v1/chat/completions", json=chat("what is it?")).json()["id"]
        said = {"request_id": answer, "rating": -1, "correction": "Surgery"}
        assert at_b.post("/v1/feedback", json=said).json()["result"] == "stored"
        assert stranger.post("/v1/feedback", json=said).status_code == 404
        invented = {"request_id": f"chatcmpl-{'0' * 32}", "rating": 1}
        assert at_b.post("/v1/feedback", json=invented).status_code == 404
    until(lambda: [row["correction"] for row in rows_at(database)] == ["Surgery"])


@SLOW
def test_a_gateway_that_starts_during_a_wait_begins_with_what_is_in_effect(pair, tmp_path, database):
    before = pair.promote(Route(production=ONE))
    pair.engine_b.unloadable = {"2"}
    waiting = pair.append(to_canary(to_shadow(Route(production=ONE), TWO), TWO, 0.5))
    until(lambda: "waits for" in pair.a.ready()["problem"])
    with gateway(member_config(tmp_path, "c", database), DoubleEngine()) as third:
        assert third.ready()["promotion"] == before
        assert {adapter(third, user=f"p-{number}") for number in range(8)} == {"1"}
        pair.engine_b.unloadable = set()
        until(lambda: [*pair.live(), third.ready()["promotion"]] == [waiting] * 3, 20)
    number = pair.append(Route(production=ONE))  # and nobody waits for one that has stopped
    until(lambda: pair.live() == [number, number], 5)


def test_another_routing_key_is_not_let_in(pair, tmp_path, database):
    config = member_config(tmp_path, "c", database).model_copy(update={"keys": str(tmp_path / "other")})
    with gateway(config, DoubleEngine(), wait_ready=False) as third:
        until(lambda: "another routing key" in third.ready()["problem"])
        assert not third.ready()["ready"]


@SLOW
def test_a_killed_gateway_drops_out_and_ships_later(configs, tmp_path, database):
    a, b = configs
    with gateway(a, DoubleEngine()) as running:
        top = {name: getattr(b, name) for name in ("ledger_url", "journal_url", "keys")}
        settings = {**top, "contact_s": 2.0, "heartbeat_s": 0.2}
        with process(tmp_path / "b", **settings) as (started, other):
            answers = []
            with other.client() as client:
                for number in range(20):
                    answers.append(client.post("/v1/chat/completions", json=chat(str(number))).json()["id"])
                    said = {"request_id": answers[-1], "rating": 1}
                    assert client.post("/v1/feedback", json=said).status_code == 200
            started.send_signal(signal.SIGKILL)
            started.wait(10)
        ledger = open_ledger(a)
        number = ledger.add_promotion(ledger.promotion(), "test", Route(production=ONE), "t", "t").number
        until(lambda: "waits for" in running.ready()["problem"])
        until(lambda: running.ready()["promotion"] == number, 10)  # after contact_s
        with process(tmp_path / "b", **settings) as (_, other):
            until(lambda: {row["request_id"] for row in rows_at(database) if row["rating"]} == {*answers}, 20)
            assert other.ready()["promotion"] == number


@pytest.fixture
def cut_pair(tmp_path, postgres, database):
    """A pair whose `a` reaches the database by a cable."""
    cable, engines = Cable(postgres.server.port), (DoubleEngine(), DoubleEngine())
    a, b = (member_config(tmp_path, name, database) for name in ("a", "b"))
    a = a.model_copy(update={"ledger_url": cable.url(database), "journal_url": cable.url(database)})
    with gateway(a, engines[0]) as one, gateway(b, engines[1]) as two:
        pair = Pair(two, one, (engines[1], engines[0]))  # the ledger is read where it can be
        pair.cable = cable
        yield pair


@SLOW
def test_a_gateway_that_is_cut_off_stops_once_traffic_has_moved(cut_pair):
    cut, other = cut_pair.b, cut_pair.a
    route = Route(production=TWO, previous=ONE, has_previous=True)
    cut_pair.promote(route)
    time.sleep(0.5)
    cut_pair.cable.cut()
    until(lambda: not cut.ready()["contact"])
    time.sleep(1)
    assert adapter(cut) == "2"  # the other one has contact, and the same promotion
    number = cut_pair.append(rolled_back(route), "rollback")
    until(lambda: other.ready()["promotion"] == number)
    until(lambda: not cut.ready()["ready"])
    with cut.client() as client:
        refused = client.post("/v1/chat/completions", json=chat("hello"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
    assert adapter(other) == "1"
    cut_pair.cable.mend()
    until(lambda: cut.ready()["ready"], 20)
    assert cut_pair.live() == [number, number]
    assert adapter(cut) == "1"


@SLOW
def test_alone_and_cut_off_production_only(tmp_path, postgres, database):
    cable, engine = Cable(postgres.server.port), DoubleEngine()
    a, b = (member_config(tmp_path, name, database) for name in ("a", "b"))
    url = cable.url(database)
    with gateway(a.model_copy(update={"ledger_url": url, "journal_url": url}), engine) as cut:
        with gateway(b, DoubleEngine()) as other:
            Pair(other, cut, (engine, engine)).promote(Route(production=ONE, canary=TWO, canary_weight=0.5))
            people = [f"p-{number}" for number in range(12)]
            assert {adapter(cut, user=person) for person in people} == {"1", "2"}
            time.sleep(0.5)
            cable.cut()
        until(lambda: cut.ready()["canary"] is None, 15)
        assert cut.ready()["ready"]
        assert {adapter(cut, f"again {person}", user=person) for person in people} == {"1"}
        cable.mend()
        until(lambda: cut.ready()["canary"] == "2", 15)


def test_a_gateway_whose_engine_serves_another_holds_all(pair):
    """The rollout waits for it, and its own users get the others' answers."""
    pair.promote(Route(canary=ONE, canary_weight=1.0))
    until(lambda: gateway_problems(pair.a.config) == "")  # of the move that waited
    pair.b.app.state.service.probes._note(ONE, "the engine answers as the base model")
    until(lambda: gateway_problems(pair.a.config))
    found = gateway_problems(pair.a.config)
    assert found == f"the rollout waits for {pair.b.url} (the engine answers as the base model)"
    assert (adapter(pair.a), adapter(pair.b)) == ("1", "base")
    number = pair.append(Route(production=ONE))
    until(lambda: f"promotion {number} waits for {pair.b.url}" in pair.a.ready()["problem"], 20)
    assert pair.live() == [number - 1] * 2
    pair.b.app.state.service.probes._note(ONE, "")
    until(lambda: pair.live() == [number, number], 20)
    until(lambda: not gateway_problems(pair.a.config))
