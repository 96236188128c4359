"""Reviews and a renewal where machines share state: items in S3, the ledger in PostgreSQL."""

import json
import threading
from pathlib import Path

import pytest

from pipelines.core.errors import InputError
from pipelines.evaluation.suite import suite_digest, suite_items
from pipelines.evaluation.suite_place import replace_suite, suite_version, write_suite
from pipelines.operations.suite.renew import renew_suite
from pipelines.operations.suite.review import note_unreviewed
from pipelines.stores import open_ledger
from pipelines.stores.ledger.tables import RENEWALS, REVIEWS
from pipelines.stores.suites import reviews
from pipelines.stores.suites.asked import kept_digests
from pipelines.stores.suites.proposals import add_proposals, proposals
from tests.support.configs import make_config


def item(text, answer="Dental"):
    messages = [{"role": "user", "content": text}]
    return {"id": f"id {text}", "messages": messages, "answer": answer, "reviewed": False}


def lines(*texts):
    return "".join(json.dumps(item(text)) + "\n" for text in texts).encode()


@pytest.fixture
def machines(tmp_path, bucket, database):
    """The configurations of two machines with homes of their own."""
    shared = {"shared_root": f"{bucket}/shared", "ledger_url": database}
    homes = [tmp_path / name for name in ("one", "two")]
    [home.mkdir() for home in homes]
    place = f"{bucket}/shared/suite.jsonl"
    return [make_config(home, "evaluate", suite=place).model_copy(update=shared) for home in homes]


def test_two_machines_review_and_one_renews(machines):
    here, there = machines
    write_suite(here.evaluate.suite, lines("a", "b", "c", "d"))
    note_unreviewed(here)
    add_proposals(there, [item("new")], "log.jsonl")
    found = list(proposals(there).values())
    assert found == list(proposals(here).values())
    start, said = threading.Barrier(2), []

    def drop_first(config, name):
        start.wait()
        try:
            said.append(reviews.drop(config, found[0], 0, name).actor)
        except InputError as error:
            said.append(str(error))

    people = [
        threading.Thread(target=drop_first, args=(config, Path(config.home).name)) for config in machines
    ]
    [person.start() for person in people]
    [person.join() for person in people]
    (row,) = open_ledger(here).rows(REVIEWS.select())
    assert row["actor"] in said
    assert sum("was reviewed meanwhile" in words for words in said) == 1
    reviews.accept(there, found[-1], 0, "ann")
    before = suite_digest(there)
    assert renew_suite(here, 0.25, "ann", as_json=False) == 0
    assert {one["messages"][0]["content"] for one in suite_items(there)} == {"b", "c", "d", "new"}
    assert sorted([before, suite_digest(there)]) == kept_digests(there)
    assert open_ledger(there).rows(RENEWALS.select())[0]["previous"] == before
    open_ledger(here).verify()


def test_a_suite_in_s3_that_changed_is_not_overwritten(machines):
    here, there = machines
    place = here.evaluate.suite
    assert suite_version(place) == ""
    replace_suite(here, place, lines("a"), "")
    with pytest.raises(InputError, match="was changed meanwhile"):
        replace_suite(there, place, lines("b"), "")
    seen = suite_version(place)
    replace_suite(there, place, lines("a", "b"), seen)
    with pytest.raises(InputError, match="was changed meanwhile"):
        replace_suite(here, place, lines("c"), seen)
    assert len(suite_items(here)) == 2


def test_a_store_that_cannot_tell_is_refused(machines):
    (here, _), place = machines, "memory://shared/suite.jsonl"
    write_suite(place, lines("a"))
    with pytest.raises(InputError, match="cannot be replaced safely"):
        replace_suite(here, place, lines("b"), suite_version(place))
