"""A night on PostgreSQL, S3 and Redis while one part after the other is away, and users ask all the time.

`make chaos` runs it, and prints a table. The result must be that of an undisturbed night on one machine.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.stores import open_ledger, open_run
from pipelines.stores.sql import database as databases
from tests.support.chaos import Member, Step, asking, away, small_disk
from tests.support.chaos_homes import NIGHT, is_equal, prepared_homes
from tests.support.cluster import free_port
from tests.support.fleets import member_config
from tests.support.gateways import until
from tests.support.shown import show
from tests.support.users import Users

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3000)]
STEPS = (*NIGHTLY, *CLOSING)
# Which part is away while which step runs.
PLAN = {
    "ingest": "PostgreSQL",
    "features": "Redis",
    "curate": "S3",
    "train": "launcher killed",
    "evaluate": "gateway a killed",
    "safety": "disk of b full",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def homes(folder, postgres_server, object_store_server, redis_server):
    """A home of one machine and one of a cluster, prepared, with a night's delivery."""
    with prepared_homes(folder, "chaos", postgres_server, object_store_server, redis_server) as homes:
        yield homes


def config_of(where):
    return load_config(where[3], where[1])


def uri_of(where):
    return f"{config_of(where).path(config_of(where).runs_root)}/{NIGHT}"


@pytest.fixture(scope="module")
def parts(folder, homes, postgres_server, object_store_server, redis_server):
    """All that can be away, by name."""
    database, root = config_of(homes["many"]).ledger_url, folder / "gateways"
    root.mkdir()
    with ExitStack() as stack:
        is_small = stack.enter_context(small_disk(root / "b" / "gateway"))
        members = []
        for name in ("a", "b"):
            config = member_config(root, name, database)
            settings = {"journal_url": database, "ledger_url": database, "keys": config.keys}
            settings |= {"port": free_port(), "contact_s": 3.0, "heartbeat_s": 0.5, "poll_s": 0.1}
            settings |= {"redis_url": f"redis://127.0.0.1:{redis_server.port}/2"}
            members.append(Member(root / name, settings))
            members[-1].start()
            stack.callback(members[-1].kill)
        found = {
            "PostgreSQL": postgres_server,
            "Redis": redis_server,
            "S3": object_store_server.server,
            "gateway a killed": members[0],
        }
        if is_small:
            found["disk of b full"] = root / "b" / "gateway"
        yield found, members


def journal_ids(config):
    engine = databases.connect_to(config.journal_url, read_only=True)
    with engine.connect() as connection:
        found = list(connection.execute(sa.text("SELECT request_id FROM interactions")).scalars())
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def story(request, homes, parts):
    """The calm night, the disturbed one, and what users saw: (step, part, seconds, questions, step)."""
    one, many = homes["one"], homes["many"]
    for step in STEPS:
        assert main([step, "--run-dir", uri_of(one), *one]) == 0, step
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)  # Feast sets them in this process; their folder has gone
    available, members = parts
    users, told = Users([member.running for member in members], waits=False), []
    with asking(users):
        for step in STEPS:
            part, first, began, away_s = PLAN.get(step), users.sent, time.monotonic(), 0.0
            if part in available:
                with away(part, available):
                    running = Step(step, uri_of(many), many)
                    if part == "Redis":  # until the step has met it
                        until(lambda running=running: running.said, 120)
                away_s = time.monotonic() - began
                running.wait()
            elif part == "launcher killed":
                running = Step(step, uri_of(many), many)
                time.sleep(8)  # at work
                running.kill()
                running.wait()
            else:
                running = Step(step, uri_of(many), many)
                running.wait()
            told.append((step, part, away_s, first, users.sent, running))
            print(f"{step}: {part or 'calm'}, tries: {running.tries}", flush=True)
    yield users, told
    show(request, table_of(homes, users, told))


def table_of(homes, users, told):
    """A line a step: what was away, and what became of the questions and of the step."""
    head = f"{'step':<10}{'away':<18}{'s':>4}{'sent':>7}{'answered':>9}{'kept':>7}{'twice':>6}{'tries':>6}"
    lines = [f"{head}  equal"]
    one, many = (open_run(config_of(homes[name]), str(NIGHT)).manifests() for name in ("one", "many"))
    kept = journal_ids(config_of(homes["many"]))
    for step, part, away_s, first, last, run in told:
        ids = {request_id for request_id, _ in users.answers[first:last]}
        rows = [request_id for request_id in kept if request_id in ids]
        same = "yes" if step in many and is_equal(step, one[step], many[step]) else "no"
        numbers = f"{last - first:>7}{len(ids):>9}{len(rows):>7}{len(rows) - len(set(rows)):>6}{run.tries:>6}"
        lines.append(f"{step:<10}{part or '-':<18}{away_s:>4.0f}{numbers}  {same}")
    return "\n".join(lines)


def test_every_request_was_answered_and_is_kept_once(homes, story):
    users, _ = story
    assert len(users.answers) == users.sent
    config = config_of(homes["many"])
    ids = [request_id for request_id, _ in users.answers]
    until(lambda: set(ids) <= set(journal_ids(config)), 60)
    kept = journal_ids(config)
    assert len(kept) == len(set(kept))


def test_the_night_is_that_of_one_machine(homes, story):
    one, many = (open_run(config_of(homes[name]), str(NIGHT)).manifests() for name in ("one", "many"))
    assert list(many) == list(STEPS)
    different = [step for step in STEPS if not is_equal(step, one[step], many[step])]
    assert not different


def test_nothing_is_in_the_ledger_twice(homes, story):
    config = config_of(homes["many"])
    ledger = open_ledger(config)
    ledger.verify()
    assert [decision.outcome for decision in ledger.decisions()] == ["trained"]
    costs = [row["step"] for row in ledger.costs(str(NIGHT))]
    assert sorted(step for step in costs if "broken" not in step) == sorted(NIGHTLY)
    assert main(["verify", *homes["many"]]) == 0


def test_features_name_redis_and_are_tried_again(story):
    (said, tries) = next((run.said, run.tries) for step, _, _, _, _, run in story[1] if step == "features")
    assert tries == 2
    assert "Redis" in said[0]
    assert "features.online_url" in said[0]
