"""The alert endpoint as a real server, and what its deliveries lead to in a real ledger."""

import http.client
import json
import multiprocessing
import socket
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

import uvicorn  # noqa: E402
from nightshift.endpoint.app import create_app  # noqa: E402
from nightshift.endpoint.repeats import Repeats  # noqa: E402
from nightshift.endpoint.senders import SIGNATURE, TIMESTAMP, create_secrets, sign  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.cli.main import main  # noqa: E402
from pipelines.core.alerts import Action, Cause, Silence  # noqa: E402
from pipelines.core.config import Alerts, load_config  # noqa: E402
from pipelines.core.traffic_split import Adapter, Route  # noqa: E402
from pipelines.operations.dispatch_alerts import dispatch  # noqa: E402
from pipelines.policy.alerts.firing import firing_data_faults  # noqa: E402
from pipelines.stores import open_inbox, open_ledger  # noqa: E402
from pipelines.stores.inbox import Inbox  # noqa: E402
from pipelines.stores.ledger import Ledger  # noqa: E402
from pipelines.stores.ledger.tables import TRIGGERS  # noqa: E402
from tests.support.gateways import until  # noqa: E402

PROFILE = 'profile = "test"\n[alerts]\nmax_body_bytes = 100_000\nlock_wait_s = 0.3\nbody_timeout_s = 1\n'
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def settings(home):
    profile = home / "profile.toml"
    profile.write_text(PROFILE)
    settings = Settings(home, profile, Path(sys.executable), load_config(profile, home))
    create_secrets(settings)
    return settings


@contextmanager
def serving(settings):
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def port(settings):
    with serving(settings) as port:
        yield port


@pytest.fixture
def bearer(home):
    return {"Authorization": f"Bearer {(home / 'alerts' / 'token').read_text()}"}


def post(port, body, headers, path="/json"):
    """The status, the headers and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(said)


def plain(name="InputDrift", cause="drift", **more):
    return json.dumps({"sender": "watch", "alerts": [{"name": name, "cause": cause, **more}]}).encode()


def webhook(status="firing", ends="0001-01-01T00:00:00Z", **labels):
    """What Alertmanager 0.25 sends."""
    every = {"alertname": "InputDrift", "cause": "drift", "severity": "warning", **labels}
    alert = {
        "status": status,
        "labels": every,
        "annotations": {"summary": "Users ask differently.", "runbook": "docs/alerts.md"},
        "startsAt": "2026-03-02T11:00:00.123456789Z",
        "endsAt": ends,
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c1d2e3f4a5b6c7d8",
    }
    group = {
        "receiver": "nightshift",
        "status": status,
        "alerts": [alert],
        "groupLabels": {},
        "commonLabels": {},
    }
    more = {"commonAnnotations": {}, "externalURL": "http://am", "groupKey": "{}", "truncatedAlerts": 0}
    return json.dumps({"version": "4", **group, **more}).encode()


def group(*alerts, **more):
    """A webhook body of several alerts."""
    body = json.loads(webhook())
    return json.dumps({**body, "alerts": list(alerts), **more}).encode()


def member(name, cause="operations", **more):
    labels = {"alertname": name, "cause": cause, "severity": "critical"}
    return {**json.loads(webhook())["alerts"][0], "fingerprint": name, "labels": labels, **more}


def signed(home, body, age_s=0, key=None):
    stamp = str(int(time.time()) - age_s)
    key = key or (home / "alerts" / "hmac.key").read_bytes()
    return {TIMESTAMP: stamp, SIGNATURE: sign(key, stamp, body)}


def head(bearer, size):
    """The head of a request that announces a body of this size."""
    lines = ["POST /json HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {size}"]
    return "\r\n".join([*lines, f"Authorization: {bearer['Authorization']}", "", ""]).encode()


def stored(home):
    return Ledger(f"sqlite:///{home}/ledger.db").rows(TRIGGERS.select())


def test_secrets_are_for_the_owner_only_and_stay(settings, home):
    files = [home / "alerts" / name for name in ("token", "hmac.key")]
    before = [file.read_text() for file in files]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    create_secrets(settings)
    assert [file.read_text() for file in files] == before
    assert min(len(secret) for secret in before) > 40


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}],
)
def test_who_proves_nothing_is_refused(port, home, headers):
    status, said, _ = post(port, plain(), headers)
    assert (status, "Bearer" in said["WWW-Authenticate"]) == (401, True)
    assert not (home / "ledger.db").exists()


def test_a_delivery_is_in_the_inbox_when_it_is_answered(port, home, bearer):
    status, _, answer = post(port, plain(), {**bearer, "traceparent": TRACE})
    (row,) = stored(home)
    assert (status, answer) == (200, {"id": row["id"], "new": True})
    assert (row["source"], row["sender"], row["traceparent"]) == ("json", "watch", TRACE)
    (alert,) = json.loads(row["alerts"])
    assert (alert["name"], alert["cause"], alert["status"], alert["ends_at"]) == (
        "InputDrift",
        "drift",
        "firing",
        "",
    )
    assert Ledger(f"sqlite:///{home}/ledger.db").verify() == 1


def test_alertmanagers_body_is_taken_as_it_is(port, home, bearer):
    assert post(port, webhook(), bearer, "/alertmanager")[0] == 200
    assert post(port, webhook("resolved", "2026-03-02T11:30:00Z"), bearer, "/alertmanager")[0] == 200
    assert post(port, webhook(cause="mystery"), bearer, "/alertmanager")[0] == 200
    first, second, third = Inbox(Ledger(f"sqlite:///{home}/ledger.db")).deliveries(
        datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert (first.alerts[0].cause, first.alerts[0].fingerprint) == (Cause.DRIFT, "c1d2e3f4a5b6c7d8")
    assert first.alerts[0].ends_at is None
    assert second.alerts[0].ends_at == datetime(2026, 3, 2, 11, 30, tzinfo=UTC)
    assert (third.alerts[0].cause, third.alerts[0].unknown_cause) == (Cause.OPERATIONS, "mystery")
    assert first.alerts[0].annotations["summary"] == "Users ask differently."
    assert len({one.traceparent for one in (first, second, third)}) == 3


def test_an_unknown_cause_or_severity_is_taken_with_a_warning(settings, port, home, bearer):
    status, _, answer = post(port, plain("Late", "data-fault", severity="high"), bearer)
    assert (status, answer["new"]) == (200, True)
    cause, severity = answer["warnings"]
    assert all(word in cause for word in ("'data-fault'", "operations", "data_fault, drift,"))
    assert all(word in severity for word in ("'high'", "warning", "critical,"))
    assert "warnings" not in post(port, plain("Nulls", "data_fault", severity="critical"), bearer)[2]
    reasons = {ruling.cause: ruling.reason for ruling in dispatch(settings.config)[0]}
    assert "'data-fault'" in reasons[Cause.OPERATIONS]
    assert "'data-fault'" not in reasons[Cause.DATA_FAULT]


def test_a_notice_says_what_fires_where_and_what_to_read(settings, port, home, bearer):
    notes = {"summary": "A column is empty.", "runbook": "docs/runbooks.md#nulls"}
    alerts = [
        {"name": "Nulls", "cause": "data_fault", "labels": {"tenant": f"t{n}"}, "annotations": notes,
         "severity": "critical" if n == 6 else "warning"}
        for n in range(7)
    ]  # fmt: skip
    quiet = {"name": "ANote", "cause": "data_fault", "severity": "info"}
    post(port, json.dumps({"alerts": [quiet, *alerts]}).encode(), bearer)
    (first,) = dispatch(settings.config)[1].tell
    (again,) = dispatch(settings.config)[1].tell
    assert again == first, "told anew from the ledger, it is the same"
    reason, *lines = first.text.splitlines()
    assert first.subject == "Alert (data_fault): Nulls"
    assert "Training is held" in reason
    assert lines[0] == "critical Nulls | tenant=t6 | A column is empty. | docs/runbooks.md#nulls"
    assert [line.split(" ")[0] for line in lines] == ["critical", *["warning"] * 4, "and"]
    assert lines[-1].startswith("and 2 more: ")
    assert "alerts-list`" in lines[-1]


def test_one_bad_alert_does_not_refuse_its_neighbours(settings, port, home, bearer):
    fault = member("RowsMissing", "data_fault")
    long = member("PodCrash", annotations={"description": "x" * 12_000})
    many = member("Wide", labels={f"l{n}": "x" for n in range(150)} | {"cause": "cost", "alertname": "Wide"})
    bad = [member("NoStatus", status="exploded"), 7, member("NoTime", startsAt="yesterday")]
    status, _, answer = post(port, group(fault, long, many, *bad), bearer, "/alertmanager")
    assert (status, answer["new"]) == (200, True)
    assert [one["alert"] for one in answer["set_aside"]] == [3, 4, 5]
    assert "startsAt" in answer["set_aside"][2]["reason"]
    said = " | ".join(answer["warnings"])
    assert all(word in said for word in ("description was cut from 12000 to 4000", "52 of 152", "3 alerts"))
    (row,) = stored(home)
    kept = {alert["name"]: alert for alert in json.loads(row["alerts"])}
    assert kept.keys() == {"RowsMissing", "PodCrash", "Wide", "DeliveryIncomplete"}
    assert len(kept["PodCrash"]["annotations"]["description"]) == 4_000
    assert kept["Wide"]["cause"] == "cost", "the labels that decide are not among those left out"
    notices = {notice.subject: notice.text for notice in dispatch(settings.config)[1].tell}
    assert "Training is held" in notices["Alert (data_fault): RowsMissing"]
    assert "3 alerts were set aside" in notices["Alert (operations): DeliveryIncomplete,PodCrash"]


def test_alerts_that_the_sender_cut_off_are_told(settings, port, bearer):
    body = group(member("InputDrift", "drift"), truncatedAlerts=500)
    assert "500" in post(port, body, bearer, "/alertmanager")[2]["warnings"][0]
    rulings = {ruling.cause: ruling for ruling in dispatch(settings.config)[0]}
    assert rulings[Cause.DRIFT].action is Action.RETRAIN
    assert "cut off 500 alerts" in rulings[Cause.OPERATIONS].reason


def test_a_storm_of_one_cause_is_taken_whole(home, port, bearer, settings):
    limits = settings.config.alerts.model_copy(update={"max_body_bytes": Alerts().max_body_bytes})
    config = settings.config.model_copy(update={"alerts": limits})
    storm = group(
        *(member(f"Down{n}", labels={"cause": "operations", "note": "x" * 300}) for n in range(10_000))
    )
    assert len(storm) > 5_000_000
    with serving(replace(settings, config=config)) as roomy:
        assert post(roomy, storm, bearer, "/alertmanager")[0] == 200
    assert len(json.loads(stored(home)[0]["alerts"])) == 10_000
    status, _, answer = post(port, storm, bearer, "/alertmanager")
    assert (status, "max_alerts" in answer["detail"]) == (413, True)


def test_grafanas_webhook_is_taken(port, home, bearer):
    alert = member("Drift high", "drift", values={"B": 3.5}, silenceURL="http://g/s", valueString="")
    more = {"version": "1", "orgId": 1, "title": "[FIRING:1]", "state": "alerting", "message": "x"}
    assert post(port, group(alert, **more), bearer, "/alertmanager")[0] == 200
    assert json.loads(stored(home)[0]["alerts"])[0]["name"] == "Drift high"


@pytest.mark.parametrize(
    "more",
    [
        {"startsAt": "0001-01-01T00:00:00+14:00"},
        {"startsAt": "9999-12-31T23:59:59-14:00"},
        {"startsAt": None, "endsAt": None},
        {"status": "resolved", "endsAt": "0001-01-01T00:00:00Z"},
        {"labels": {"alertname": "x", "n": 10**300, "nothing": None}},
        {"labels": {"alertname": "\ud800", "\udc00": "half"}},
        {"values": {"B": float("nan")}},
        {"labels": {}, "annotations": None},
        {"fingerprint": "f" * 5_000},
    ],
)
def test_odd_values_of_third_parties_are_taken(settings, port, bearer, more):
    assert post(port, group(member("Odd", **more)), bearer, "/alertmanager")[0] == 200
    assert dispatch(settings.config)[0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"alerts": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", 400),
        (b'{"alerts": ' + b"9" * 5_000 + b"}", 422),
        (b'{"alerts": [{"name": "x", "cause": "drift"}], "alerts": []}', 400),
        (b'{"alerts": [{"name": "x", "cause": "drift", "cause": "data_fault"}]}', 422),
        (b'{"alerts": [{"name": "x", "cause": "drift", "labels": {"a": "1", "a": "2"}}]}', 422),
        (b'{"alerts": [{"name": "x", "cause": "drift", "starts_at": 1e400}]}', 422),
        (plain("x", labels={"a": [1]}), 422),
        (b"\xff\xfe{}", 400),
        (b"NaN", 422),
    ],
)
def test_what_has_no_one_meaning_is_refused(port, bearer, body, status):
    found, _, answer = post(port, body, bearer)
    assert (found, bool(answer["detail"])) == (status, True)


def test_an_end_before_the_start_ends_the_alert(settings, port, bearer):
    post(port, group(member("Odd")), bearer, "/alertmanager")
    over = member("Odd", status="resolved", startsAt="2026-03-02T12:00:00Z", endsAt="2026-03-02T10:00:00Z")
    post(port, group(over), bearer, "/alertmanager")
    assert [ruling.action for ruling in dispatch(settings.config)[0]] == [Action.IGNORE]


def test_a_damaged_ledger_asks_the_sender_to_come_again(port, home, bearer):
    (home / "ledger.db").write_bytes(b"no database " * 1_000)
    status, said, _ = post(port, plain(), bearer)
    assert (status, said["Retry-After"]) == (503, "5")


def test_a_replayed_signed_delivery_counts_once(port, home):
    body = plain()
    headers = signed(home, body)
    answers = [post(port, body, headers) for _ in range(3)]
    assert [(status, answer["new"]) for status, _, answer in answers] == [
        (200, True),
        (200, False),
        (200, False),
    ]
    assert len(stored(home)) == 1


def test_a_bearers_repeat_is_the_same_for_a_while(port, home, bearer):
    status, _, answer = post(port, webhook(), bearer, "/alertmanager")
    assert (status, answer["new"]) == (200, True)
    assert post(port, webhook(), bearer, "/alertmanager")[2] == {"id": answer["id"], "new": False}
    assert len(stored(home)) == 1


@pytest.mark.parametrize("age_s", [400, -400])
def test_an_old_or_future_timestamp_is_refused(port, home, age_s):
    body = plain()
    assert post(port, body, signed(home, body, age_s))[0] == 401


def test_a_forged_signature_is_refused(port, home):
    body = plain()
    assert post(port, body, signed(home, body, key=b"guess"))[0] == 401
    assert post(port, plain("Other"), signed(home, body))[0] == 401
    moved = {**signed(home, body), TIMESTAMP: str(int(time.time()) - 7)}
    assert post(port, body, moved)[0] == 401
    assert post(port, body, {**signed(home, body), TIMESTAMP: "now"})[0] == 401
    assert not (home / "ledger.db").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'{"alerts": []}', 422),
        (plain(status="exploded"), 422),
        (plain(starts_at="2026-03-02T11:00:00"), 422),  # without a time zone
        (plain(surprise=1), 422),
        (plain("n" * 201), 422),
        (b'{"alerts": [{"name": "x"}]}', 422),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(port, bearer, body, status):
    found, _, answer = post(port, body, bearer)
    assert found == status
    assert answer["detail"]


def test_only_json_comes_in(port, bearer):
    assert post(port, plain(), {**bearer, "Content-Type": "text/plain"})[0] == 415
    assert post(port, plain(), {**bearer, "Content-Type": "application/json; charset=utf-8"})[0] == 200
    assert post(port, plain(), bearer, "/other")[0] == 422


def test_a_large_body_is_refused_while_it_is_read(port, bearer):
    """Ten times the limit are announced, and the answer comes before the rest is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head(bearer, 1_000_000) + b"x" * 110_000)
        assert b" 413 " in client.recv(100)


def test_a_body_that_never_ends_is_given_up(port, bearer):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head(bearer, 100) + b"{")
        assert b" 408 " in client.recv(100)


def test_while_the_ledger_is_locked_the_sender_gets_503(port, home, bearer):
    assert post(port, plain("First"), bearer)[0] == 200
    with sqlite3.connect(home / "ledger.db") as other:
        other.execute("BEGIN IMMEDIATE")
        status, said, _ = post(port, plain("Second"), bearer)
        assert (status, said["Retry-After"]) == (503, "5")
        other.rollback()
    assert post(port, plain("Second"), bearer)[0] == 200
    assert len(stored(home)) == 2


def test_no_secret_means_no_entry(port, home, bearer):
    (home / "alerts" / "token").write_text("")
    assert post(port, plain(), {"Authorization": "Bearer "})[0] == 503


def test_many_senders_at_once_lose_nothing(port, home, bearer):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: post(port, plain(f"A{n % 100}"), bearer)[0], range(200)))
    assert set(answers) == {200}
    assert 100 <= len(stored(home)) <= 200
    assert Ledger(f"sqlite:///{home}/ledger.db").verify() == len(stored(home))


def _serve(home, port):
    profile = home / "profile.toml"
    settings = Settings(home, profile, Path(sys.executable), load_config(profile, home))
    uvicorn.run(create_app(settings), host="127.0.0.1", port=port, log_level="error")


def test_whatever_was_answered_outlives_a_kill(settings, home, bearer):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(home, port), daemon=True)
    server.start()
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    answered = []

    def send(number):
        with suppress(OSError, http.client.HTTPException):
            status, _, answer = post(port, plain(f"A{number}"), bearer)
            assert status == 200
            answered.append(answer["id"])
        if len(answered) >= 60:
            server.kill()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(300)))
    server.join()
    assert 60 <= len(answered) < 300
    assert set(answered) <= {row["id"] for row in stored(home)}
    assert Ledger(f"sqlite:///{home}/ledger.db").verify() == len(stored(home))


def test_what_came_in_is_ruled_on_once_and_starts_one_run(settings, port, home, bearer):
    config = settings.config
    for number in range(20):
        post(port, plain(labels={"tenant": str(number)}), {**bearer, "traceparent": TRACE})
    rulings, result = dispatch(config)
    assert [(r.cause, r.action, len(r.triggers)) for r in rulings] == [(Cause.DRIFT, Action.RETRAIN, 20)]
    (run,) = result.start
    assert (run.dag_id, run.dag_run_id) == ("nightly_retrain", f"alert__drift__{rulings[0].id}")
    asked = {"cause": "alert:InputDrift", "ruling": rulings[0].id, "traceparent": TRACE}
    assert run.conf == {**asked, "night": "2026-01-01"}, "the next of the sample, which this profile reads"
    again, repeated = dispatch(config)
    assert (again, repeated.start) == ([], result.start), "killed before the start, it is asked for again"
    ledger = open_ledger(config)
    ledger.add_task_event(run.dag_id, run.dag_run_id, "ingest", 1, "running")
    assert dispatch(config)[1].start == ()
    post(port, plain(), bearer)
    later, _ = dispatch(config)
    assert [r.action for r in later] == [Action.WAIT]
    assert ledger.verify() == len(stored(home)) + 1 + 2


def test_an_alert_that_did_not_count_is_told_once_it_does(settings, port, home, bearer):
    inbox, now = Inbox(Ledger(f"sqlite:///{home}/ledger.db")), datetime.now(UTC)
    inbox.add_silence(Silence({"name": "Muted"}, now + timedelta(hours=2), "ann", "known"), now)
    post(port, json.dumps({"alerts": [
        {"name": "Disk", "cause": "operations"},
        {"name": "Stuck", "cause": "operations", "status": "resolved"},
        {"name": "Full", "cause": "operations", "severity": "info"},
        {"name": "Muted", "cause": "operations"},
    ]}).encode(), bearer)  # fmt: skip
    assert [r.names for r in dispatch(settings.config)[0]] == [("Disk",)]
    for name in ("Stuck", "Full"):
        post(port, plain(name, "operations"), bearer)
        assert [r.action for r in dispatch(settings.config)[0]] == [Action.PAGE]
    inbox.add_silence(Silence({"name": "Muted"}, datetime.now(UTC), "ann", "over"), datetime.now(UTC))
    assert [(r.action, "Muted" in r.names) for r in dispatch(settings.config)[0]] == [(Action.PAGE, True)]


def test_people_are_told_until_a_dispatch_has_ended(settings, port, home, bearer):
    post(port, plain("Nulls", "data_fault"), bearer)
    assert [n.subject for n in dispatch(settings.config)[1].tell] == ["Alert (data_fault): Nulls"]
    assert len(dispatch(settings.config)[1].tell) == 1
    now = datetime.now(UTC)
    ledger = Ledger(f"sqlite:///{home}/ledger.db")
    ledger.add_task_event("alert_router", "r", "route", 1, "success", now, now)
    assert dispatch(settings.config)[1].tell == ()


def data_faults(config):
    now, expires_s = datetime.now(UTC), config.alerts.expires_s
    deliveries = open_inbox(config).deliveries(now - timedelta(seconds=expires_s))
    return firing_data_faults(deliveries, now, expires_s)


def test_a_data_fault_holds_training_until_it_is_resolved(settings, port, home, bearer):
    config = settings.config
    post(port, plain("Nulls", "data_fault"), bearer)
    post(port, plain(), bearer)
    assert data_faults(config) == ["Nulls"], "what `decide` asks"
    assert [(r.cause, r.action) for r in dispatch(config)[0]] == [
        (Cause.DATA_FAULT, Action.PAGE),
        (Cause.DRIFT, Action.WAIT),
    ]
    post(port, plain("Nulls", "data_fault", status="resolved"), bearer)
    assert data_faults(config) == []
    assert [(r.cause, r.action) for r in dispatch(config)[0]] == [
        (Cause.DATA_FAULT, Action.IGNORE),
        (Cause.DRIFT, Action.RETRAIN),
    ]


ONE, TWO, THREE = (Adapter(str(number), str(number) * 64) for number in (1, 2, 3))
PROMOTED = Route(production=TWO, previous=ONE, has_previous=True)


@pytest.mark.parametrize(
    ("moves", "action"),
    [
        ([], Action.PAGE),
        ([("production", PROMOTED)], Action.ROLLBACK),
        ([("production", PROMOTED), ("shadow", replace(PROMOTED, shadow=THREE))], Action.ROLLBACK),
        ([("production", PROMOTED), ("canary_05", replace(PROMOTED, canary=THREE))], Action.PAGE),
        ([("production", PROMOTED), ("rollback", Route(production=ONE))], Action.PAGE),
    ],
)
def test_a_regression_is_rolled_back_only_after_a_promotion(settings, port, bearer, moves, action):
    ledger = open_ledger(settings.config)
    for move, route in moves:
        ledger.add_promotion(ledger.promotion(), move, route, "because", "ann", "r")
    post(port, plain("Errors", "serving"), bearer)
    assert [ruling.action for ruling in dispatch(settings.config)[0]] == [action]


def test_silence_and_list_from_the_command_line(settings, port, home, bearer, capsys):
    where = ["--home", str(home), "--config", str(settings.config_path)]
    post(port, plain(labels={"tenant": "campus", "severity": "warning"}), bearer)
    silence = ["alerts-silence", "cause=drift", "--reason", "a known batch", "--actor", "ann", *where]
    assert main([*silence, "--for", "2h"]) == 0
    assert main(["alerts-route", *where]) == 0
    assert main(["alerts-list", *where]) == 0
    said = capsys.readouterr().out
    assert "drift      ignore" in said
    assert "ann: a known batch" in said
    assert "InputDrift  tenant=campus  silenced\n" in said
    assert main(["alerts-list", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["firing"][0]["labels"] == {"tenant": "campus"}
    assert main([*silence, "--for", "0m"]) == 0
    assert main(["alerts-route", *where]) == 0
    assert "drift      retrain" in capsys.readouterr().out
    assert main([*silence, "--for", "soon"]) == 2
    assert "30m, 2h or 7d" in capsys.readouterr().err


def test_a_clock_that_is_ahead_cannot_keep_an_alert_over(settings, port, bearer):
    ahead = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    post(port, plain(status="resolved", ends_at=ahead), bearer)
    post(port, plain(), bearer)
    assert [r.action for r in dispatch(settings.config)[0]] == [Action.RETRAIN]


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"truncatedAlerts": None}, ""),
        ({"truncatedAlerts": 0.0}, ""),
        ({"truncatedAlerts": "3"}, "cut off 3 alerts"),
        ({"truncatedAlerts": 3.0}, "cut off 3 alerts"),
        ({"truncatedAlerts": 10**30}, "cut off 100000000 alerts"),
        ({"truncatedAlerts": -1}, "truncatedAlerts is -1"),
        ({"truncatedAlerts": ["many"]}, "truncatedAlerts is ['many']"),
        ({"receiver": None}, ""),
        ({"receiver": 5}, ""),
        ({"version": 4}, ""),
        ({"version": "5"}, "version is '5'"),
        ({"version": None}, "version is None"),
    ],
)
def test_odd_values_around_the_alerts_refuse_none(port, home, bearer, more, warning):
    """Alertmanager never repeats what was answered with 4xx, so a refusal loses the alerts."""
    status, _, answer = post(port, group(member("Nulls", "data_fault"), **more), bearer, "/alertmanager")
    assert status == 200
    assert warning in " | ".join(answer.get("warnings", []))
    assert bool(warning) == ("warnings" in answer)
    assert json.loads(stored(home)[0]["alerts"])[0]["name"] == "Nulls"


def test_an_endless_number_in_one_alert_refuses_it_alone(port, home, bearer):
    odd = json.dumps(member("Odd", values={"B": "NUMBER"})).replace('"NUMBER"', "9" * 5_000)
    body = group(member("Nulls", "data_fault"), "ODD").replace(b'"ODD"', odd.encode())
    assert post(port, body, bearer, "/alertmanager")[0] == 200
    assert {alert["name"] for alert in json.loads(stored(home)[0]["alerts"])} == {"Nulls", "Odd"}


@pytest.mark.parametrize("field", ["labels", None])
def test_a_reason_does_not_repeat_a_long_key(port, home, bearer, field):
    key = {"k" * 60_000: 1}
    wrong = {"name": "x", "cause": "drift"} | ({field: key} if field else key)
    body = json.dumps({"alerts": [{"name": "ok", "cause": "cost"}, wrong]}).encode()
    answer = post(port, body, bearer)[2]
    assert len(json.dumps(answer)) < 1_000
    assert len(stored(home)[0]["alerts"]) < 2_000


@pytest.mark.parametrize("name", ["A\nBcc: x@example.org", "\0", " ", "A\u2028critical Fake", "\x1b[2J"])
def test_a_name_forges_no_line_of_a_notice(settings, port, bearer, name):
    labels = {"a\nb": "c\ncritical Fake"}
    body = json.dumps({"alerts": [{"name": name, "cause": "cost", "labels": labels}]}).encode()
    assert post(port, body, bearer)[0] == 200
    (notice,) = dispatch(settings.config)[1].tell
    assert len(notice.text.splitlines()) == 2
    assert notice.text.replace("\n", "").isprintable()
    assert notice.subject.isprintable()


def test_two_alerts_with_one_fingerprint_are_two(settings, port, bearer):
    def alert(name, status):
        return {"name": name, "cause": "data_fault", "fingerprint": "f", "status": status}

    post(port, json.dumps({"alerts": [alert("A", "firing"), alert("B", "firing")]}).encode(), bearer)
    post(port, json.dumps({"alerts": [alert("A", "resolved")]}).encode(), bearer)
    deliveries = Inbox(open_ledger(settings.config)).deliveries(datetime(2026, 1, 1, tzinfo=UTC))
    assert firing_data_faults(deliveries, datetime.now(UTC), 86_400) == ["B"]


def test_an_alert_that_fires_again_soon_is_heard(settings, port, home, bearer):
    """A plain sender without times sends the same bytes again and means something new."""
    fires, over = plain("Nulls", "data_fault"), plain("Nulls", "data_fault", status="resolved")
    told = [post(port, body, bearer)[2]["new"] for body in (fires, fires, over, over, fires, fires, over)]
    assert told == [True, False, True, False, True, False, True]
    post(port, fires, bearer)
    deliveries = Inbox(open_ledger(settings.config)).deliveries(datetime(2026, 1, 1, tzinfo=UTC))
    assert firing_data_faults(deliveries, datetime.now(UTC), 86_400) == ["Nulls"]


def test_a_repeated_body_is_known_for_the_whole_while():
    repeats = Repeats(300.0)
    fires = {"cause": "drift", "fingerprint": "", "name": "x", "labels": {}, "status": "firing"}
    at = datetime(2026, 1, 1, 0, 4, 50, tzinfo=UTC)  # just before the end of a period

    def replay_id(seconds, body=b"1", alert=fires):
        return repeats.replay_id("json", body, [alert], at + timedelta(seconds=seconds))

    first = replay_id(0)
    assert {replay_id(1), replay_id(20), replay_id(299)} == {first}
    assert replay_id(301) != first
    assert Repeats(300.0).replay_id("json", b"1", [fires], at) == first  # after a restart
    before = replay_id(302)
    replay_id(303, b"2", {**fires, "name": "y", "status": "resolved"})  # of another alert
    assert replay_id(304) == before
    replay_id(305, b"3", {**fires, "status": "resolved"})
    assert replay_id(306) not in (before, first)


def test_whoever_cannot_sign_fills_no_memory(port, home, bearer):
    """The bodies of a signed delivery are read before it is known who sends them."""
    body = plain()
    proof = f"{SIGNATURE}: sha256=0\r\n{TIMESTAMP}: {int(time.time())}\r\n\r\n".encode()
    wrong = head(bearer, 90_000)[:-2] + proof
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            connection.sendall(wrong + b"x" * 80_000)
        until(lambda: post(port, body, signed(home, body))[0] == 503)
        assert post(port, body, bearer)[0] == 200  # the token is checked before the body
    until(lambda: post(port, body, signed(home, body))[0] == 200)


def test_a_compressed_body_or_two_proofs_are_refused(port, home, bearer):
    body = plain()
    assert post(port, body, {**bearer, "Content-Encoding": "gzip"})[0] == 415
    assert post(port, body, {**bearer, "Content-Encoding": "identity"})[0] == 200
    proofs = [bearer["Authorization"], "Bearer wrong"]
    for first, second in (proofs, proofs[::-1]):
        lines = f"Authorization: {first}\r\nAuthorization: {second}\r\nContent-Length: {len(body)}\r\n\r\n"
        kind = "POST /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(f"{kind}{lines}".encode() + body)
            assert connection.recv(100).startswith(b"HTTP/1.1 401")
