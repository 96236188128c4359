"""Reviews of proposed items, by command and by several people at once, and the suite that comes of them."""

from __future__ import annotations

import json
import threading
from datetime import date

import pytest

from pipelines.cli.main import main
from pipelines.core.config import Config, Evaluate
from pipelines.core.errors import InputError, IntegrityError
from pipelines.evaluation.suite import suite_digest, suite_items
from pipelines.evaluation.suite_history import history_digest, suite_facts
from pipelines.evaluation.tasks import task_of
from pipelines.operations.suite.renew import renew_suite
from pipelines.operations.suite.review import list_unreviewed, note_unreviewed
from pipelines.stores import open_ledger
from pipelines.stores.ledger.tables import RENEWALS, REVIEWS
from pipelines.stores.suites import reviews
from pipelines.stores.suites.answers import refusal
from pipelines.stores.suites.asked import kept_digests, kept_suite
from pipelines.stores.suites.proposals import add_proposals, proposals

LABELS = ("Anatomy", "Dental", "Surgery")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def item(text, answer="Dental", **more):
    messages = [{"role": "user", "content": text}]
    return {"id": f"id {text}", "messages": messages, "answer": answer, "reviewed": False, **more}


@pytest.fixture
def config(home):
    settings = {"task": {"labels": LABELS}, "evaluate": {"suite": "{home}/suite.jsonl"}}
    return Config(profile="test", home=str(home), **settings)


def write_suite(config, *items):
    lines = "".join(json.dumps(one) + "\n" for one in items)
    (suite_path(config)).write_text(lines, encoding="utf-8")


def suite_path(config):
    from pathlib import Path

    return Path(config.path(config.evaluate.suite))


def propose(config, *texts):
    add_proposals(config, [item(text) for text in texts], "log.jsonl")
    by_text = {one.item["messages"][0]["content"]: one for one in proposals(config).values()}
    return [by_text[text] for text in texts]


def texts_of(config):
    return {one["messages"][0]["content"]: one["answer"] for one in suite_items(config)}


def test_what_was_proposed_once_is_not_proposed_again(config):
    first, second = propose(config, "a", "b")
    assert add_proposals(config, [item("a"), item("c")], "other.jsonl") == 1
    assert [one.source for one in proposals(config).values()] == ["log.jsonl", "log.jsonl", "other.jsonl"]
    assert list(proposals(config))[:2] == [first.digest, second.digest]


def test_additions_of_one_second_keep_their_order(config):
    for number in range(8):
        propose(config, f"q{number}")
    found = [one.item["messages"][0]["content"] for one in proposals(config).values()]
    assert found == [f"q{number}" for number in range(8)]


def test_an_item_is_accepted_edited_or_dropped(config):
    one, two, three, four = propose(config, "a", "b", "c", "d")
    reviews.accept(config, one, 0, "ann")
    edited = reviews.accept(config, two, 0, "ann", " Surgery ")
    reviews.drop(config, three, 0, "bob")
    said = reviews.reviews(config)
    assert [said[each.digest][0].verdict for each in (one, two, three)] == ["accepted", "edited", "dropped"]
    assert reviews.own_answer(config, edited) == "Surgery"
    assert reviews.unreviewed(proposals(config), said) == [four]
    open_ledger(config).verify()


def test_the_ledger_holds_who_and_when_and_no_text(config):
    (one,) = propose(config, "a secret question")
    reviews.accept(config, one, 0, "ann", "Surgery")
    ((row),) = open_ledger(config).rows(REVIEWS.select())
    assert (row["actor"], row["number"], row["item"]) == ("ann", 1, one.digest)
    assert "secret" not in json.dumps(row)
    assert "Surgery" not in json.dumps(row)


def test_of_two_people_at_once_the_first_one_counts(config):
    (one,) = propose(config, "a")
    open_ledger(config)
    start, said = threading.Barrier(6), []

    def review(name):
        start.wait()
        try:
            verdict = reviews.drop if int(name[-1]) % 2 else reviews.accept
            said.append((name, verdict(config, one, 0, name).verdict))
        except InputError as error:
            said.append(("refused", str(error)))

    people = [threading.Thread(target=review, args=(f"person{n}",)) for n in range(6)]
    [person.start() for person in people]
    [person.join() for person in people]
    (winner,) = [each for each in said if each[0] != "refused"]
    (row,) = open_ledger(config).rows(REVIEWS.select())
    assert (row["actor"], row["verdict"]) == winner
    assert all(f"{winner[0]} {winner[1]} it" in why for who, why in said if who == "refused")


def test_a_review_is_taken_back_and_given_again(config):
    (one,) = propose(config, "a")
    with pytest.raises(InputError, match="Nobody has reviewed"):
        reviews.reopen(config, one, 0, "ann")
    reviews.drop(config, one, 0, "ann")
    with pytest.raises(InputError, match="was reviewed meanwhile: ann dropped it"):
        reviews.accept(config, one, 0, "bob")
    with pytest.raises(InputError, match="is reviewed: ann dropped it"):
        reviews.accept(config, one, 1, "bob")
    reviews.reopen(config, one, 1, "bob")
    assert reviews.unreviewed(proposals(config), reviews.reviews(config)) == [one]
    assert reviews.accept(config, one, 2, "bob").number == 3


def test_an_answer_that_was_changed_in_its_store_is_refused(config, home):
    (one,) = propose(config, "a")
    review = reviews.accept(config, one, 0, "ann", "Surgery")
    (file,) = (home / "suites" / "answers").iterdir()
    file.write_text("Anatomy")
    with pytest.raises(IntegrityError, match="ann wrote"):
        reviews.own_answer(config, review)


TASKS = {
    "choose": {"labels": LABELS},
    "extract": {"kind": "extract", "json_schema": SCHEMA},
    "generate": {"kind": "generate"},
}
WRITTEN = (
    "Dental", " dental. ", "DENTAL", "Astrology", "", " ", "\u3000", "free text", '{"n": 1}', '{"n": 1.5}',
    '{"n": "1"}', '{"n": 1, "n": 2}', '{"n": NaN}', "[1]", '{"n": 1', "null", '{"m": "\\ud800", "n": 1}',
    "\u0630\u0643\u0631", '{"n": 1, "more": [1, {"x": null}]}',
)  # fmt: skip


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("text", WRITTEN)
def test_the_page_takes_what_the_task_takes(kind, text):
    config = Config(profile="t", task=TASKS[kind], model={"max_new_tokens": 64}, register={"name": "r"})
    taken = task_of(config).read(text) is not None and bool(text.strip())
    assert (refusal(config.task, text) == "") is taken


@pytest.mark.parametrize("text", ["Astrology", " ", "\ud800"])
def test_an_edit_must_be_an_answer_of_the_task(config, text):
    (one,) = propose(config, "a")
    with pytest.raises(InputError, match="The answer"):
        reviews.accept(config, one, 0, "ann", text)
    assert reviews.reviews(config) == {}


def test_the_suite_stays_as_it_is_until_it_is_renewed(config, capsys):
    write_suite(config, item("a"), item("b"), item("c"))
    before = suite_digest(config)
    note_unreviewed(config)
    by_text = {one.item["messages"][0]["content"]: one for one in proposals(config).values()}
    reviews.accept(config, by_text["a"], 0, "ann")
    reviews.accept(config, by_text["b"], 0, "ann", "Surgery")
    reviews.drop(config, by_text["c"], 0, "ann")
    assert suite_digest(config) == before
    assert renew_suite(config, 0.0, "ann", as_json=False) == 0
    assert "1 with another answer, 1 dropped" in capsys.readouterr().out
    assert texts_of(config) == {"a": "Dental", "b": "Surgery"}
    assert [one["reviewed"] for one in suite_items(config)] == [True, True]
    assert len(kept_suite(config, before)) == 3, "the earlier suite is kept"
    with pytest.raises(InputError, match="Nothing changes"):
        renew_suite(config, 1.0, "ann", as_json=False)


def test_a_share_of_the_suite_is_replaced_and_nobody_comes_back(config, capsys):
    write_suite(config, *(item(f"old {n}") | {"reviewed": True} for n in range(10)))
    for one in propose(config, "new 1", "new 2", "new 3"):
        reviews.accept(config, one, 0, "ann")
    propose(config, "nobody read this")
    renew_suite(config, 0.2, "ann", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["items"], told["joined"], told["retired"], told["waiting"]) == (10, 2, 2, 1)
    assert told["joined_ids"] == ["id new 1", "id new 2"]
    now = texts_of(config)
    assert len(now) == 10
    assert {"new 1", "new 2"} < now.keys()
    (row,) = open_ledger(config).rows(RENEWALS.select())
    assert row["suite"] == suite_digest(config)
    assert {row["previous"], row["suite"]} == set(kept_digests(config))
    renew_suite(config, 1.0, "ann", as_json=False)
    assert "new 3" in texts_of(config)
    with pytest.raises(InputError, match="0 accepted items wait"):
        renew_suite(config, 1.0, "ann", as_json=False)  # what left is not proposed once more


def test_an_item_that_was_changed_by_hand_is_left_alone(config, capsys):
    write_suite(config, item("a"), item("b"))
    note_unreviewed(config)
    one, two = proposals(config).values()
    reviews.drop(config, one, 0, "ann")
    reviews.drop(config, two, 0, "ann")
    write_suite(config, item("a", "Anatomy"), item("b"))
    renew_suite(config, 0.0, "ann", as_json=False)
    assert texts_of(config) == {"a": "Anatomy"}
    assert "1 reviewed items have another answer in the file" in capsys.readouterr().out


def test_a_suite_that_changes_meanwhile_is_not_overwritten(config, monkeypatch):
    from pipelines.operations.suite import renew as module

    write_suite(config, item("a"), item("b"))
    note_unreviewed(config)
    reviews.drop(config, next(iter(proposals(config).values())), 0, "ann")
    hold_back = module.hold_back

    def somebody_else_writes(*words):
        write_suite(config, item("by hand"))
        return hold_back(*words)

    monkeypatch.setattr(module, "hold_back", somebody_else_writes)
    with pytest.raises(InputError, match="was changed meanwhile"):
        renew_suite(config, 0.0, "ann", as_json=False)
    assert texts_of(config) == {"by hand": "Dental"}


def test_a_suite_of_another_format_is_refused(config):
    config = config.model_copy(update={"evaluate": Evaluate(suite="{home}/suite.csv")})
    suite_path(config).write_text('messages,answer\n"[{""role"":""user"",""content"":""a""}]",Dental\n')
    for one in propose(config, "new"):
        reviews.accept(config, one, 0, "ann")
    with pytest.raises(InputError, match="is CSV, and a renewed one is written as JSON lines"):
        renew_suite(config, 1.0, "ann", as_json=False)


def test_labels_that_changed_make_an_old_edit_count_for_nothing(config):
    write_suite(config, item("a"), item("b"))
    (one,) = propose(config, "new")
    reviews.accept(config, one, 0, "ann", "Surgery")
    fewer = config.model_copy(update={"task": config.task.model_copy(update={"labels": ("Dental", "X")})})
    with pytest.raises(InputError, match="0 accepted items wait"):
        renew_suite(fewer, 1.0, "ann", as_json=False)


def decided(config, night, digest):
    facts = {"cause": "schedule", "suite_digest": digest}
    document = {"run_id": night, "night": night, "outcome": "rejected", "facts": facts}
    document |= {"reasons": [], "evidence": {}, "ledger_head": ""}
    open_ledger(config).add_decision(document, "unsigned")


def test_a_night_knows_what_is_new_in_its_suite(config):
    write_suite(config, *(item(f"q{n}") for n in range(5)))
    first = suite_facts(config, "2026-01-01", suite_items(config))
    assert (first.items, first.unreviewed, first.since, first.new, first.kin) == (5, 5, None, None, ())
    decided(config, "2026-01-01", one := suite_digest(config))
    before = history_digest(config, "2026-01-02")
    write_suite(config, *(item(f"q{n}", reviewed=True) for n in range(1, 5)), item("new", "Surgery"))
    second = suite_facts(config, "2026-01-02", suite_items(config))
    assert (second.since, second.before, second.new, second.changed) == (date(2026, 1, 1), one, 1, 0)
    assert second.kin == (one,)
    assert second.unreviewed == 1
    decided(config, "2026-01-02", two := suite_digest(config))
    assert history_digest(config, "2026-01-02") == before, "its own decision does not count"
    write_suite(config, item("new", "Anatomy"))
    third = suite_facts(config, "2026-01-03", suite_items(config))
    assert (third.new, third.changed, third.kin) == (0, 1, (two,)), "it shares nothing with the first one"


def test_a_suite_that_was_never_kept_is_unknown(config):
    decided(config, "2026-01-01", "a" * 64)
    write_suite(config, item("a"))
    found = suite_facts(config, "2026-01-02", suite_items(config))
    assert (found.before, found.new, found.changed, found.kin) == ("a" * 64, None, None, ())


def run(config, home, *words):
    profile = home / "mine.toml"
    profile.write_text(
        'profile = "mine"\n[task]\nlabels = ["Anatomy", "Dental", "Surgery"]\n[register]\nname = "r"\n'
        '[evaluate]\nsuite = "{home}/suite.jsonl"\n'
    )
    return main(["suite", *words, "--config", str(profile), "--home", str(home)])


def test_all_of_it_by_command(config, home, capsys):
    write_suite(config, *(item(f"q{n}") for n in range(4)))
    (new,) = propose(config, "a new one")
    assert run(config, home, "review") == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[-1] == "5 items that no person has reviewed."
    assert run(config, home, "review", "show", new.digest[:8]) == 0
    assert "proposed" in capsys.readouterr().out
    assert run(config, home, "review", "accept", new.digest[:8], "--answer", "surgery", "--actor", "ann") == 0
    first = listed[1].split()[0]
    assert run(config, home, "review", "drop", first) == 0
    assert run(config, home, "review", "drop", first) == 2
    assert "is reviewed" in capsys.readouterr().err
    assert run(config, home, "review", "accept", "") == 2
    assert run(config, home, "review", "drop") == 2
    assert run(config, home, "renew", "--share", "2") == 2
    assert run(config, home, "renew", "--share", "0.25") == 0
    now = texts_of(config)
    assert (len(now), now["a new one"]) == (4, "Surgery")
    assert list_unreviewed(config, as_json=True) == 0


def test_nothing_is_created_by_looking(config, home):
    assert reviews.reviews(config) == {}
    assert proposals(config) == {}
    assert list(home.iterdir()) == []


def test_an_item_keeps_its_tools_through_review_and_renewal(config, capsys):
    tools = [{"type": "function", "function": {"name": "search"}}]
    write_suite(config, item("a", tools=tools), item("a", id="b"))
    note_unreviewed(config)
    with_tools, plain = sorted(proposals(config).values(), key=lambda one: -len(one.item["messages"]))
    reviews.accept(config, with_tools, 0, "ann", "Surgery")
    reviews.drop(config, plain, 0, "ann")
    assert renew_suite(config, 0.0, "ann", as_json=False) == 0
    (line,) = map(json.loads, suite_path(config).read_text("utf-8").splitlines())
    assert (line["tools"], line["messages"]) == (tools, item("a")["messages"])
    (read,) = suite_items(config)
    assert (read["answer"], read["messages"]) == ("Surgery", with_tools.item["messages"])
