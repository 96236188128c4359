"""The page on which people review evaluation items: who gets in, what is written, and what stays words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipelines.stores import open_ledger
from pipelines.stores.ledger.tables import REVIEWS
from pipelines.stores.suites import reviews
from pipelines.stores.suites.proposals import add_proposals, proposals

EVIL = "<script>document.title = 'hacked'</script>"


def item(text, answer="Dental", **more):
    system = {"role": "system", "content": "Another system prompt"}
    messages = [system, {"role": "user", "content": text}]
    return {"id": text[:20], "messages": messages, "answer": answer, "tenant": "campus", **more}


@pytest.fixture
def person():
    """Who is logged in: a name and a role of Airflow's simple auth manager."""
    return {"username": "ann", "role": "OP"}


@pytest.fixture
def client(settings, person, monkeypatch):
    """The plugin's pages, as this person's browser reaches them."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.models.dag import DagModel
    from fastapi.testclient import TestClient
    from nightshift.page.app import app
    from nightshift.page.suite_routes import Settings

    create_auth_manager()
    monkeypatch.setattr(
        DagModel, "get_team_name", lambda *words, **more: None
    )  # Airflow has no database here
    monkeypatch.setattr(Settings, "from_environment", classmethod(lambda cls: settings))
    monkeypatch.setitem(app.dependency_overrides, get_user, lambda: SimpleAuthManagerUser(**person))
    return TestClient(app)


@pytest.fixture
def waiting(settings):
    """Three items that nobody has reviewed."""
    add_proposals(settings.config, [item("first?"), item("second?"), item(EVIL, EVIL)], "chats.jsonl")
    return list(proposals(settings.config).values())


def say(client, one, action, seen=0, headers=None, **more):
    word = {"item": one.digest, "seen": seen, "action": action, **more}
    return client.post("/suite/review", json=word, headers=headers)


def test_the_page_shows_what_waits_and_every_text_is_escaped(client, waiting):
    page = client.get("/suite")
    assert page.status_code == 200
    assert "first?" in page.text
    assert "Another system prompt" in page.text
    assert "chats.jsonl" in page.text
    assert "tenant campus" in page.text
    assert "<script>document" not in page.text
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]


def test_a_word_is_written_with_the_name_of_the_person(client, waiting, settings):
    first, second, third = waiting
    label = settings.config.task.labels[0]
    assert say(client, first, "accept", answer="Dental").json()["verdict"] == "accepted"
    assert say(client, second, "accept", answer=label).json()["verdict"] == "edited"
    assert say(client, third, "drop").json() == {"verdict": "dropped", "number": 1, "actor": "ann"}
    rows = open_ledger(settings.config).rows(REVIEWS.select())
    assert {row["actor"] for row in rows} == {"ann"}
    assert "hacked" not in json.dumps(rows)
    page = client.get("/suite").text
    assert "Nothing waits" in page
    assert page.count('class="badge accepted"') == 1
    assert say(client, third, "reopen", seen=1).json()["verdict"] == "reopened"
    assert "Nothing waits" not in client.get("/suite").text


def test_a_second_person_is_told_who_was_first(client, waiting, settings):
    reviews.drop(settings.config, waiting[0], 0, "bob")
    refused = say(client, waiting[0], "accept")
    assert refused.status_code == 409
    assert "bob dropped it" in refused.json()["detail"]


@pytest.mark.parametrize(("answer", "status"), [("Astrology", 409), (" ", 409), ("x" * 70_000, 422)])
def test_an_answer_that_is_none_is_refused(client, waiting, settings, answer, status):
    assert say(client, waiting[0], "accept", answer=answer).status_code == status
    assert reviews.reviews(settings.config) == {}


def test_an_unknown_item_is_refused(client, waiting):
    word = {"item": "a" * 64, "seen": 0, "action": "drop"}
    assert client.post("/suite/review", json=word).status_code == 404
    assert client.post("/suite/review", json={**word, "item": "../x"}).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Content-Type": "text/plain"}],
)
def test_another_site_cannot_review(client, waiting, settings, headers):
    assert say(client, waiting[0], "accept", headers=headers).status_code in (403, 422)
    assert reviews.reviews(settings.config) == {}


def test_a_body_without_a_type_is_refused(client, waiting, settings):
    body = json.dumps({"item": waiting[0].digest, "seen": 0, "action": "drop"}).encode()
    assert client.post("/suite/review", content=body).status_code in (403, 422)
    assert reviews.reviews(settings.config) == {}


@pytest.mark.parametrize("person", [{"username": "vera", "role": "VIEWER"}])
def test_who_may_not_start_a_night_sees_no_item(client, waiting, settings):
    assert client.get("/suite").status_code == 403
    assert say(client, waiting[0], "accept").status_code == 403
    assert reviews.reviews(settings.config) == {}


def test_a_long_list_shows_its_oldest_part(settings):
    from nightshift.page.html import printed
    from nightshift.page.suite import MOST_WAITING, suite_model

    add_proposals(settings.config, [item(f"question {n}?") for n in range(200)], "chats.jsonl")
    found = proposals(settings.config)
    model = suite_model(found, {}, settings.config.task, datetime.now(UTC))
    assert (model["waiting"], len(model["items"])) == (200, MOST_WAITING)
    assert "150 more wait" in printed("suite.html.j2", model)
    assert json.dumps(model)
