"""The "Model loop" page in a browser, under a real Airflow. One story, in this order."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.browser_nights import alert, decision, delivery, many_nights, rows_of, ruling, watches

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="session")
def shot(tmp_path_factory):
    """`shot(page, name)` keeps a picture of the page in $NIGHTSHIFT_SHOTS; nothing may stick out sideways."""
    folder = Path(os.environ.get("NIGHTSHIFT_SHOTS") or tmp_path_factory.mktemp("shots"))

    def shot(page, name):
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name

    return shot


def status(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def framed(page, site):
    """The page inside Airflow's UI, found as a person finds it."""
    page.goto(site.url)
    page.get_by_role("link", name="Model loop").click()
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="Model loop").wait_for()
    return frame


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("path", ["", "model.json", "suite", "runs/2026-01-01/report/report.html"])
def test_nobody_gets_in_without_a_login(site, browser, path):
    url = f"{site.url}/model-loop/{path}"
    assert status(url) == 401
    assert status(url, Authorization="Bearer not-a-token") in (401, 403)
    page = browser.new_page()
    page.goto(url)
    assert "/auth/login" in page.url
    page.close()


def test_an_empty_home_says_what_to_do_next(site, visit, shot):
    frame = framed(visit(), site)
    assert "make nightly" in frame.locator("#empty").inner_text()
    assert frame.locator("#live .big").inner_text() == "the bare base model"
    for theme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(11, 13, 17)")):
        page = visit(theme)
        page.goto(f"{site.url}/model-loop/")
        assert background(page) == colour
        shot(page, f"empty-{theme}")


def test_airflows_own_theme_wins_over_the_systems(site, visit):
    page = visit("light")
    page.goto(f"{site.url}/model-loop/")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert background(page) == "rgb(11, 13, 17)"


def test_a_person_promotes_sees_the_question_and_approves(site, visit, shot):
    from pipelines.stores.ledger import Ledger
    from pipelines.stores.ledger.tables import DECISIONS, PROMOTIONS

    planned = Ledger(f"sqlite:///{site.home}/seed.db")
    for table in (DECISIONS, PROMOTIONS):
        site.ledger().append(table, *planned.rows(table.select()))
    page = visit()
    frame = framed(page, site)
    frame.get_by_role("button", name="Promote …").click()
    frame.get_by_role("button", name="Promote", exact=True).click()
    frame.get_by_role("link", name="See the run").click()
    page.wait_for_url("**/dags/promote/runs/manual__*")

    site.wait(lambda: site.api.call("/api/v2/dags/~/dagRuns/~/hitlDetails")["hitl_details"])
    direct = visit("dark")
    direct.goto(f"{site.url}/model-loop/")
    assert "promote" in direct.locator("#live").inner_text()
    assert "every guard is quiet" in direct.locator("#rollout").inner_text()
    shot(direct, "waiting-dark")

    page.goto(f"{site.url}/required_actions")
    page.get_by_role("link", name="Let version 1 answer its first users?").click()
    page.get_by_role("button", name="Approve").wait_for()
    assert site.ledger().promotion().route.shadow.digest in page.locator("main, body").first.inner_text()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Report of its night").click(modifiers=["Control"])
    report = opened.value
    report.get_by_role("heading", name="Night 2026-01-01: trained").wait_for()
    assert report.title() == "Night 2026-01-01"  # its script did not run
    colour = report.locator("h1").evaluate("element => getComputedStyle(element).color")
    assert colour == "rgb(35, 105, 63)"  # its styles did
    report.close()

    frame = framed(page, site)
    frame.locator("#approvals a").click()
    page.get_by_role("button", name="Approve").click()
    site.wait(lambda: site.ledger().promotion().move == "canary_05")
    moved = site.ledger().promotion()
    assert (moved.actor, moved.reason) == ("admin", "approved by admin")
    assert moved.route.canary.version == "1"
    page.goto(f"{site.url}/model-loop/")
    assert page.locator("#approvals").count() == 0
    assert page.locator("li[aria-current=step]").inner_text().startswith("canary_05")
    assert "approved by admin" in page.locator("#rollout").inner_text()
    assert "on evidence: shadow: 60 answers" in page.locator("#rollout").inner_text()
    shot(page, "canary-light")


def test_a_rollback_asks_why_and_runs_as_the_person(site, visit):
    page = visit()
    frame = framed(page, site)
    frame.get_by_role("button", name="Roll back …").click()
    button = frame.get_by_role("button", name="Roll back now")
    button.click()  # without a reason the browser itself refuses
    assert frame.locator("#ask-rollback .said").inner_text() == ""
    frame.get_by_label("Why?").fill("it is <b>rude</b>")
    button.click()
    frame.get_by_role("link", name="See the run").wait_for()
    (run,) = site.api.call("/api/v2/dags/rollback/dagRuns")["dag_runs"]
    assert (run["conf"]["reason"], run["triggering_user_name"]) == ("it is <b>rude</b>", "admin")
    site.wait(lambda: site.ledger().promotion().move == "rollback")
    moved = site.ledger().promotion()
    assert (moved.actor, moved.reason, moved.route.in_rollout) == ("admin", "it is <b>rude</b>", None)
    page.goto(f"{site.url}/model-loop/")
    assert "it is <b>rude</b>" in page.locator("#nights").inner_text()


def test_a_paused_dag_says_so_and_a_night_links_to_its_run(site, visit):
    page = visit()
    frame = framed(page, site)
    frame.get_by_role("button", name="Run a night …").click()
    assert "is paused" in frame.locator("#ask-nightly_retrain").inner_text()
    assert frame.locator("input[name=night]").input_value() == "2026-01-02", "the next of the sample"
    frame.locator("input[name=night]").fill("2026-01-01")
    frame.get_by_role("button", name="Run", exact=True).click()
    frame.get_by_role("link", name="See the run").wait_for()
    (run,) = site.api.call("/api/v2/dags/nightly_retrain/dagRuns")["dag_runs"]
    assert run["conf"] == {"night": "2026-01-01", "force": False}
    # Paused, it runs nothing: what `record` would have said is put in its place.
    record = f"/api/v2/dags/nightly_retrain/dagRuns/{run['dag_run_id']}/taskInstances/record/xcomEntries"
    said = {"manifest_uri": f"{site.home}/runs/2026-01-01/record/manifest.json"}
    site.api.call(record, {"key": "answer", "value": said})
    page.goto(f"{site.url}/model-loop/")
    page.locator("#night-2026-01-01").get_by_role("link", name="run", exact=True).click()
    page.wait_for_url("**/dags/nightly_retrain/runs/manual__*")


def test_long_and_hostile_words_stay_words(site, visit, shot):
    from pipelines.stores.ledger.tables import DECISIONS, RULINGS, TRIGGERS, WATCHES

    ledger, long = site.ledger(), "averylongnamewithoutanyspace" * 12
    script = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"
    night = decision("2026-01-02", "rejected", f"{script} {long}", run_id=f"2026-01-02-{long}", cause=long)
    ledger.append(DECISIONS, *rows_of([night]))
    evil = {"summary": script, "runbook": "javascript:alert(1)"}
    ledger.append(
        TRIGGERS,
        delivery(1, alert("InputDrift")),
        delivery(2, alert(long, severity="critical", cause="serving", annotations=evil)),
        delivery(3, alert("Gone")),
        delivery(4, alert("Gone", "resolved")),
    )
    ledger.append(RULINGS, ruling(1, "drift", "retrain", f"{script} 3 of 5 looks", "delivery-1", run=long))
    ledger.append(WATCHES, *watches(72))
    for width in (1360, 420):
        page = visit("light", width)
        page.goto(f"{site.url}/model-loop/")
        shot(page, f"long-{width}")
        assert page.title() == "Model loop"
        assert page.locator("img, a[href^=javascript]").count() == 0
        assert script in page.locator("#nights").inner_text()
        shown = page.locator("#alerts").inner_text()
        assert "InputDrift" in shown
        assert "Gone" not in shown


def test_a_person_reviews_items_of_the_suite(site, visit, shot):
    from pipelines.core.config import load_config
    from pipelines.stores.ledger.tables import REVIEWS
    from pipelines.stores.suites import reviews
    from pipelines.stores.suites.proposals import add_proposals, proposals

    config = load_config(site.home / "profile.toml", site.home)
    asked = (
        "a broken wisdom tooth",
        "<script>document.title = 'hacked'</script> the diaphragm",
        "a fracture",
    )
    add_proposals(config, [proposed(text) for text in asked], "logs/chat.jsonl")
    one, two, three = proposals(config).values()
    page = visit()
    frame = framed(page, site)
    frame.get_by_role("link", name="Evaluation suite").click()
    frame.get_by_role("heading", name="Evaluation suite").wait_for()
    assert frame.locator("#waiting").inner_text() == "3"
    assert "<script>document.title" in frame.locator(".item").nth(1).inner_text()
    first, second, third = (frame.locator(".item").nth(place) for place in range(3))
    first.get_by_role("button", name="Accept").click()
    first.get_by_text("Accepted.").wait_for()
    second.get_by_label("right answer").select_option("Surgery")
    second.get_by_role("button", name="Accept").click()
    second.get_by_text("Accepted with your answer.").wait_for()
    reviews.drop(config, three, 0, "bob")  # meanwhile
    third.get_by_role("button", name="Accept").click()
    third.get_by_text("bob dropped it").wait_for()
    second.get_by_role("button", name="Take back").click()
    second.get_by_text("It waits again.").wait_for()
    second.get_by_role("button", name="Drop").click()
    second.get_by_text("Dropped.").wait_for()
    rows = site.ledger().rows(REVIEWS.select().order_by(REVIEWS.c.at))
    said = [(row["verdict"], row["actor"]) for row in rows]
    assert said[:3] == [("accepted", "admin"), ("edited", "admin"), ("dropped", "bob")]
    assert said[3:] == [("reopened", "admin"), ("dropped", "admin")]
    assert [row["item"] for row in rows] == [one.digest, two.digest, three.digest, two.digest, two.digest]
    add_proposals(
        config, [proposed("which nerve supplies it?"), proposed("a cough " * 900)], "logs/chat.jsonl"
    )
    for theme, width in (("light", 1360), ("dark", 1360), ("light", 420)):
        direct = visit(theme, width)
        direct.goto(f"{site.url}/model-loop/suite")
        assert direct.title() == "Evaluation suite"
        assert direct.locator("#reviews tbody tr").count() == 3
        shot(direct, f"suite-{theme}-{width}")


def proposed(text):
    messages = [{"role": "user", "content": text}]
    about = {"tenant": "campus", "locale": "en", "origin": "a liked answer", "reviewed": False}
    return {"id": f"item-{len(text)}", "messages": messages, "answer": "Dental", **about}


def test_a_thousand_nights(site, visit, shot):
    from pipelines.stores.ledger.tables import DECISIONS

    site.ledger().append(DECISIONS, *rows_of(many_nights(1_000)))
    for theme in ("light", "dark"):
        page = visit(theme)
        page.goto(f"{site.url}/model-loop/")
        assert page.locator("#strip .month > a").count() == 1_001
        assert page.locator("#nights tbody tr").count() == 1_002
        shot(page, f"thousand-{theme}")
    cell = page.locator("#strip a[href='#night-2026-01-01']")
    cell.evaluate("cell => cell.click()")  # the oldest: cell and row lie in closed parts
    assert page.locator("#night-2026-01-01").is_visible()


@pytest.mark.parametrize(
    "path", ["..%2f..%2fprofile", "%2e%2e/%2e%2e", "2026-01-01%2f..%2f2026-01-01", "2026-12-31"]
)
def test_only_reports_are_served(site, path):
    token = {"Authorization": f"Bearer {site.api._token}"}
    assert status(f"{site.url}/model-loop/runs/2026-01-01/report/report.html", **token) == 200
    assert status(f"{site.url}/model-loop/runs/{path}/report/report.html", **token) == 404


def test_the_model_is_there_for_programs(site):
    model = site.api.call("/model-loop/model.json")
    assert model["nights"]["total"] == 1_002
    assert json.dumps(model)
