"""The layout of the two samples: pure, by the seed."""

import json
from collections import Counter
from datetime import date, timedelta

import pytest

from pipelines.core.config import Sample, load_config
from pipelines.core.errors import InputError
from pipelines.evaluation.tasks import task_of
from pipelines.sample.questions import plan, pool_of, pool_rows, suite_rows

CONFIG = load_config("config/demo.toml", "unused")
TEXT = load_config("config/demo-text.toml", "unused")


@pytest.fixture(scope="module")
def pool():
    return pool_of(CONFIG)


@pytest.fixture(scope="module")
def laid(pool):
    return plan(pool, CONFIG.sample)


def shares(nights):
    counts = Counter(item.topic for night in nights for item in night)
    return {label: count / counts.total() for label, count in counts.items()}


def test_the_pool_is_distinct_short_and_has_every_department(pool):
    every = [item.question.lower() for items in pool.values() for item in items]
    assert len(every) == len(set(every)) > 7_500
    assert max(map(len, every)) <= 160
    assert set(pool) == set(CONFIG.task.labels)


def test_every_night_is_full_and_the_suite_is_balanced(laid):
    assert [len(night) for night in laid.nights] == [CONFIG.sample.rows_per_night] * CONFIG.sample.nights
    assert set(Counter(item.topic for item in laid.suite).values()) == {CONFIG.sample.holdout_per_label}


def test_no_frozen_question_is_ever_asked(laid):
    frozen = {item.question.lower() for item in laid.suite}
    assert not frozen & {item.question.lower() for night in laid.nights for item in night}


def test_only_the_stated_share_is_asked_again(laid):
    seen = set()
    for number, night in enumerate(laid.nights):
        again = sum(item.question in seen for item in night)
        assert again == (0 if number == 0 else round(0.02 * len(night)))
        assert len({item.question for item in night}) == len(night)
        seen |= {item.question for item in night}


def test_the_mix_shifts_on_the_known_night_and_not_before(laid):
    shift = CONFIG.sample.shift_night - 1
    before, after = shares(laid.nights[:shift]), shares(laid.nights[shift:])
    assert all(0.06 < share < 0.11 for share in before.values())
    assert before["Dental"] < 0.11 < 0.3 < after["Dental"]
    assert all(shares([night])["Dental"] < 0.2 for night in laid.nights[:shift])
    assert all(shares([night])["Dental"] > 0.25 for night in laid.nights[shift:])


def test_the_seed_decides(pool, laid):
    assert plan(pool, CONFIG.sample) == laid
    assert plan(pool, CONFIG.sample.model_copy(update={"seed": 8})) != laid


def test_too_many_nights_are_refused(pool):
    with pytest.raises(InputError, match=r"Night \d+ has \d+ questions left"):
        plan(pool, Sample(nights=60))


def test_suite_rows_hold_what_is_served(laid):
    row = suite_rows(laid, CONFIG)[0]
    assert [message["role"] for message in row["messages"]] == ["system", "user"]
    assert row["messages"][0]["content"] == CONFIG.task.system_prompt
    assert row["answer"] == row["subject"]
    assert set(row) == {"id", "subject", "messages", "answer", "tenant", "locale", "channel"}
    assert len({row["id"] for row in suite_rows(laid, CONFIG)}) == len(laid.suite)


def test_a_pool_holds_what_no_night_asks(laid):
    rows = pool_rows(laid, CONFIG)
    texts = {row["messages"][-1]["content"] for row in rows}
    asked = {item.question for part in (laid.suite, *laid.nights) for item in part}
    assert len(texts) == len(rows) > 700
    assert not texts & asked


def test_the_next_night_follows_the_last_decided_one():
    sample = CONFIG.sample
    first = sample.first_night
    assert sample.next_night([]) == first
    assert sample.next_night({first, first + timedelta(days=2)}) == first + timedelta(days=3)
    assert sample.next_night([date(2026, 1, 30)]) == date(2026, 1, 31)


@pytest.fixture(scope="module")
def operations():
    return pool_of(TEXT)


def test_operations_are_distinct_short_and_answers_of_the_task(operations):
    items, task = [item for items in operations.values() for item in items], task_of(TEXT)
    assert (
        len({item.question.lower() for item in items}) == len({item.answer for item in items}) == len(items)
    )
    assert len(items) > 10_000
    assert max(len(item.question) for item in items) <= 140
    assert all(task.read(item.answer) == item.answer for item in items)
    assert all(json.loads(item.answer)["action"] == item.topic for item in items)


def test_a_question_does_not_hold_the_name_it_asks_for(operations):
    for items in operations.values():
        for item in items:
            named = "".join(word.capitalize() for word in " ".join(json.loads(item.answer).values()).split())
            assert named not in item.question


def test_no_frozen_operation_is_ever_asked(operations):
    laid = plan(operations, TEXT.sample)
    assert set(Counter(item.topic for item in laid.suite).values()) == {TEXT.sample.holdout_per_label}
    asked = {item.answer for night in laid.nights for item in night}
    assert not asked & {item.answer for item in laid.suite}
    assert [len(night) for night in laid.nights] == [TEXT.sample.rows_per_night] * TEXT.sample.nights
