"""Telling people, over a real mail server, a real HTTP receiver and a file."""

import json
import shlex
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import DownstreamTasksSkipped
from nightshift.channels import notify
from nightshift.notify import missed, tell_failed, tell_late, tell_missed
from nightshift.operators.step import RecordOperator
from nightshift.params import plan

from pipelines.cli.main import build_parser
from pipelines.stores import open_ledger


@pytest.fixture
def mails():
    """What a mail server on a free port was sent, and the port."""
    found = []

    class Keep(Message):
        def handle_message(self, message):
            found.append(message)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(Keep(), "127.0.0.1", port=port, authenticator=known, auth_require_tls=False)
    server.start()
    yield found, port
    server.stop()


def known(_server, _session, _envelope, _mechanism, said):
    """The mail server's users."""
    return AuthResult(success=(said.login, said.password) == (b"nightshift", b"right"))


@contextmanager
def receiver(status=200):
    """A webhook's address, and the bodies that it was sent."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/hooks/secret", bodies
        server.shutdown()


def told_as(settings, url="", **rules):
    """Settings with these rules of [notify]; the webhook's URL goes into its file."""
    if url:
        (settings.home / "hook").write_text(f"{url}\n")
        rules["webhook_url_file"] = "{home}/hook"
    rules = settings.config.notify.model_copy(update={"timeout_s": 0.5, **rules})
    return replace(settings, config=settings.config.model_copy(update={"notify": rules}))


def notices(settings):
    path = settings.home / "notices.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_channel_gets_the_notice(settings, mails):
    found, port = mails
    with receiver() as (url, bodies):
        where = {"email_to": ("a@example.org", "b@example.org"), "smtp_host": "127.0.0.1", "smtp_port": port}
        told = notify(told_as(settings, url, **where), "Night held – ä", "a < b & c", "http://x/runs/1")
    assert told == ["file", "webhook", "email"]
    assert bodies == [{"text": "Night held – ä\na &lt; b &amp; c\nhttp://x/runs/1"}]
    (mail,) = found
    assert str(mail["To"]) == "a@example.org, b@example.org"
    assert mail.get_payload(decode=True).decode().split() == ["a", "<", "b", "&", "c", "http://x/runs/1"]
    (line,) = notices(settings)
    assert (line["subject"], line["text"], line["link"]) == ("Night held – ä", "a < b & c", "http://x/runs/1")


def test_a_channel_that_fails_is_logged_and_costs_no_other(settings, caplog):
    with receiver(status=500) as (url, bodies), socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        where = {"email_to": ("a@example.org",), "smtp_host": "127.0.0.1"}
        broken = told_as(settings, url, smtp_port=silent.getsockname()[1], **where)
        began = time.monotonic()
        assert notify(broken, "Night held", "why") == ["file"]
        assert time.monotonic() - began < 5
    assert len(bodies) == 1
    assert "not sent by webhook: HTTPError" in caplog.text
    assert "not sent by email: SMTPServerDisconnected" in caplog.text
    assert "secret" not in caplog.text
    assert notify(told_as(settings, "no url at all", file=""), "Night held", "why") == []
    assert notify(told_as(settings, file="/dev/null/nowhere", webhook_url_file="/nowhere"), "s", "t") == []


@pytest.mark.parametrize(("password", "told"), [("right\n", ["email"]), ("wrong", [])])
def test_the_mail_server_may_ask_who_writes(settings, mails, caplog, password, told):
    found, port = mails
    (settings.home / "password").write_text(password)
    who = {"smtp_user": "nightshift", "smtp_password_file": "{home}/password", "file": ""}
    where = {"email_to": ("a@example.org",), "smtp_host": "127.0.0.1", "smtp_port": port}
    assert notify(told_as(settings, **who, **where), "s", "t") == told
    assert len(found) == len(told)
    assert password.strip() not in caplog.text


def test_nobody_is_configured_by_default_but_the_file(settings):
    assert notify(settings, "s", "t") == ["file"]


def test_a_held_night_says_why_and_how_to_run_it_again(settings):
    (settings.home / "script.json").write_text(json.dumps({"record": "hold"}))
    with DAG("nightly_retrain"):
        record = RecordOperator(task_id="record", settings=settings)
        outcomes = [
            RecordOperator(task_id=name, settings=settings) for name in RecordOperator.OUTCOMES.values()
        ]
        record >> outcomes
    answers = [{"verdict": "proceed"}, {"verdict": "hold"}, None]
    ti = SimpleNamespace(task=record, xcom_push=lambda *_, **__: None, xcom_pull=lambda **_: answers)
    ti.map_index = -1
    with pytest.raises(DownstreamTasksSkipped):
        record.execute(context_of(ti=ti, params={"attempt": 2}))
    (notice,) = notices(settings)
    assert notice["subject"] == "Night 2026-01-03 was held"
    assert notice["text"].startswith("A person should look.\n")
    assert notice["link"].endswith("/dags/nightly_retrain/runs/scheduled__1")
    args = command_in(notice["text"])
    assert (args.first, args.last, args.attempt) == (date(2026, 1, 3), date(2026, 1, 3), 3)
    assert (args.home, args.config) == (str(settings.home), str(settings.config_path))


@pytest.mark.parametrize(
    ("cron", "after", "tonight", "found"),
    [
        ("0 2 * * *", 3, 4, []),
        ("0 2 * * *", 3, 5, [4]),
        ("0 2 * * *", 3, 8, [4, 5, 6, 7]),
        ("0 2,14 * * *", 3, 6, [4, 5]),
        ("0 2 * * 2-6", 9, 12, []),  # the nights of Saturday the 10th and Sunday the 11th are not its work
        ("0 2 * * 2-6", 8, 13, [9, 12]),
        ("", 3, 8, []),
    ],
)
def test_missed_nights_are_those_of_the_schedule(cron, after, tonight, found):
    assert [night.day for night in missed(cron, date(2026, 1, after), date(2026, 1, tonight))] == found


def test_the_first_scheduled_night_after_a_gap_tells_of_it_once(settings):
    config = settings.config.model_copy(update={"schedule": "0 2 * * *"})
    settings = replace(settings, config=config)
    decide(settings, 1)
    for night in (4, 5):
        context = context_of(run_after=datetime(2026, 1, night + 1, 2, tzinfo=UTC))
        tell_missed(settings, context, plan({}, context["dag_run"].run_after))
        decide(settings, night)
    by_hand = context_of(run_type="manual")
    tell_missed(settings, by_hand, plan({"night": "2026-01-20"}, by_hand["dag_run"].run_after))
    (notice,) = notices(settings)
    assert notice["subject"] == "Missed: night 2026-01-02 to 2026-01-03"
    args = command_in(notice["text"])
    assert (args.first, args.last, args.attempt) == (date(2026, 1, 2), date(2026, 1, 3), 1)


def test_a_failed_run_names_its_task_and_tells_no_last_words(settings, monkeypatch):
    in_environment(settings, monkeypatch)
    failed = SimpleNamespace(task_id="features")
    tell_failed(context_of(ti=failed, reason="someone's text", conf={"night": "2025-12-30"}))
    tell_failed(context_of(dag_id="promote"))
    tell_failed({"dag": SimpleNamespace(dag_id="nightly_retrain"), "run_id": "r", "reason": "timed_out"})
    night, rollout, unknown = notices(settings)
    assert (unknown["subject"], unknown["link"][-2:]) == ("nightly_retrain failed", "/r")
    assert night["subject"] == "Night 2025-12-30: nightly_retrain failed at features"
    assert "someone's" not in night["text"]
    assert command_in(night["text"]).first == date(2025, 12, 30)
    assert rollout["subject"] == "promote failed"


def test_a_late_run_tells_when_it_was_due(settings, monkeypatch):
    in_environment(settings, monkeypatch)
    for dag_id in ("nightly_retrain", "promote"):
        run = {"dag_id": dag_id, "dag_run_id": "r", "conf": None, "run_after": "2026-01-04T02:00:00Z"}
        due = datetime(2026, 1, 4, 8, tzinfo=UTC)
        tell_late({"dag_run": run, "deadline": {"id": "1", "deadline_time": due}})
    night, rollout = notices(settings)
    assert night["subject"] == "Night 2026-01-03 is late"
    assert "by 2026-01-04 08:00 UTC" in night["text"]
    assert command_in(night["text"]).last == date(2026, 1, 3)
    assert (rollout["subject"], rollout["link"][-20:]) == ("promote is late", "/dags/promote/runs/r")


def context_of(ti=None, params=None, reason="", **run):
    """What Airflow hands to a callback or task."""
    usual = {"dag_id": "nightly_retrain", "run_id": "scheduled__1", "run_type": "scheduled", "conf": None}
    dag_run = SimpleNamespace(**{**usual, "run_after": datetime(2026, 1, 4, 2, tzinfo=UTC), **run})
    context = {"dag_run": dag_run, "dag": dag_run, "run_id": dag_run.run_id, "reason": reason}
    context |= {"params": params or {}, "triggering_asset_events": {}}
    return {**context, **({"ti": ti} if ti else {})}


def command_in(text):
    """The command that a notice ends with, parsed as the work plane parses it."""
    program, *words = shlex.split(text.rsplit(": ", 1)[1])
    assert program.endswith("/nightshift")
    return build_parser().parse_args(words)


def decide(settings, day):
    night = date(2025, 12, 31) + timedelta(days=day)
    document = {"run_id": str(night), "night": str(night), "outcome": "skipped", "reasons": [], "facts": {}}
    ledger = open_ledger(settings.config)
    ledger.add_decision({**document, "evidence": {}, "ledger_head": ""}, "unsigned")


def in_environment(settings, monkeypatch):
    for name, value in (
        ("HOME", settings.home),
        ("CONFIG", settings.config_path),
        ("PYTHON", settings.python),
    ):
        monkeypatch.setenv(f"NIGHTSHIFT_{name}", str(value))


def test_failed_and_late_runs_are_told(settings):
    bag = DagBag(str(Path(__file__).resolve().parents[2] / "dags"))
    for name, interval in (("nightly_retrain", 21_600), ("promote", None), ("rollback", None)):
        dag = bag.dags[name]
        assert dag.on_failure_callback is tell_failed
        for alert in dag.deadline or []:
            assert alert.callback.path == "nightshift.notify.tell_late"
            assert interval in (None, alert.interval.total_seconds())
        assert bool(dag.deadline) is (name != "rollback")
    rules = settings.config.promote
    allowed = timedelta(seconds=sum(stage.max_s for stage in rules.stages) + rules.approval_timeout_s)
    assert allowed < bag.dags["promote"].deadline[0].interval < allowed + timedelta(days=1)
