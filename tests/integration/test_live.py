"""What the rollout analysis reads from the journal: later traffic never changes an earlier look."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.evaluation.tasks import task_of
from pipelines.operations.rollout_evidence import collect
from pipelines.policy.rollout.observations import Observations
from pipelines.stores.journal.tables import journal_path
from pipelines.stores.journal.writer import JournalWriter
from tests.support.journal import reader_of
from tests.support.rollouts import row

ONE, TWO = Adapter("1", "a" * 64), Adapter("2", "b" * 64)
SINCE = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def journal(home):
    journal = JournalWriter(journal_path(home), 1, 1000)
    yield journal
    journal.close()


def look(home, per_person=0, production=None):
    task = task_of(Config(profile="test", home=str(home), register={"name": "m"}))
    return collect(reader_of(home), SINCE, 5.0, ONE, production, task, per_person).observations()


def rate(journal, *ratings):
    for name, rating in ratings:
        assert journal.feedback(name, "t", rating, None).result(10) in ("stored", "unchanged")


def test_without_a_journal_nothing_is_seen(home):
    assert look(home) == Observations(5.0, [], [], [], [])


def test_sides_are_told_by_adapter_digest_and_route(home, journal):
    journal.add(row("p", None, "production", "Dental"))
    journal.add(row("c", ONE, "canary", "Surgery"))
    journal.add(row("stranger", TWO, "production", "Surgery"))
    journal.add(row("impostor", Adapter("1", "c" * 64), "canary", "Surgery"))
    rate(journal, ("c", 1), ("p", -1), ("stranger", 1), ("impostor", 1))
    found = look(home)
    assert [served.candidate for served in found.attempts] == [False, True]
    assert found.ratings == [(True, True), (False, False)]  # in the order of the feedback
    assert look(home, production=TWO).ratings == [(True, True), (False, True)]


def test_a_changed_mind_changes_no_earlier_look(home, journal):
    for name in ("a", "b", "c"):
        journal.add(row(name, ONE, "canary", "Surgery"))
    rate(journal, ("b", 1), ("a", -1))
    before = look(home).ratings
    rate(journal, ("b", -1), ("c", 1), ("a", 1))
    assert look(home).ratings[: len(before)] == before == [(True, True), (True, False)]
    assert len(look(home).ratings) == 3


def test_only_the_first_ratings_of_a_person_count(home, journal):
    for name in ("a", "b", "c"):
        journal.add(row(name, ONE, "canary", "Surgery"))
        journal.add(row(f"p{name}", None, "production", "Surgery"))
    rate(journal, ("a", -1), ("b", 1), ("c", 1), ("pa", 1), ("pb", -1))
    assert look(home, per_person=1).ratings == [(True, False), (False, True)]
    assert look(home, per_person=2).ratings == [(True, False), (True, True), (False, True), (False, False)]


def test_a_shadow_is_paired_with_what_the_user_told_production(home, journal):
    for name, said, shadow in (
        ("a", "Dental", "surgery."),
        ("b", "Surgery", "Dental"),
        ("c", "Dental", "Surgery"),
        ("d", "Dental", "Surgery"),
        ("e", "Dental", "dental"),
        ("f", "Dental", "dental"),
    ):
        journal.add(row(name, None, "production", said))
        journal.add(row(f"{name}.shadow", ONE, "shadow", shadow, parent=name))
    journal.feedback("a", "t", -1, "Surgery").result(10)
    rate(journal, ("b", 1), ("c", -1), ("d", 0), ("e", -1))  # nobody knows what c should have been
    found = look(home)
    assert found.pairs == [(False, 1, 1), (False, -1, -1), (False, 0, 1), (True, 0, 0)]
    assert found.unrated == [False, True]  # a neutral rating says nothing
    assert found.ratings == [(False, False), (False, True), (False, False), (False, False), (False, False)]


def test_failed_attempts_count_as_errors_and_have_no_latency(home, journal):
    journal.add(row("a.0", ONE, "canary", "", parent="a", fault="timeout"))
    journal.add(row("b", ONE, "canary", "Surgery"))
    journal.add(row("gone", ONE, "canary", "", fault="aborted"))  # the client went away: nobody's fault
    rate(journal, ("b", 1))
    found = look(home)
    assert [(served.error, served.latency_ms) for served in found.attempts] == [(True, None), (False, 20.0)]
    assert found.ratings == [(True, True)]
