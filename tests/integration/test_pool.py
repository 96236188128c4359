"""A pool of frozen items: each serves one claim, whatever happens to its file, and none is trained on."""

import json

import pytest

from pipelines.core.config import Config
from pipelines.core.contract import Verdict
from pipelines.core.conversations import conversation_key
from pipelines.core.errors import InputError
from pipelines.core.facts.common import Waiting
from pipelines.data.held_back import held_back_items, held_back_keys
from pipelines.evaluation.pool import (
    Drawn,
    about_pool,
    drawn_digest,
    items_of_pool,
    join,
    left_of_pool,
    pool_tonight,
    without_suite,
)
from pipelines.runner import run_step
from pipelines.stores.runs import Run
from tests.support.interactions import LABELS
from tests.support.nightfall import finish

pytestmark = pytest.mark.slow
TOPICS = (
    "the nerve of the diaphragm", "a broken wisdom tooth", "the dose of penicillin for a child",
    "stitches after an operation of the gut", "the bones of the wrist", "gold fillings",
    "how statins lower cholesterol", "removing an appendix", "the chambers of the heart",
    "braces for teenagers",
)  # fmt: skip
SUITE = "Which vaccine does a newborn child get first?"


def lines(texts):
    items = (
        {"messages": [{"role": "user", "content": text}], "answer": LABELS[0], "id": text} for text in texts
    )
    return "".join(json.dumps(item) + "\n" for item in items)


def config_of(home, texts=TOPICS, **evaluate):
    (home / "suite.jsonl").write_text(lines([SUITE]))
    (home / "pool.jsonl").write_text(lines(texts))
    files = {"suite": "{home}/suite.jsonl", "pool": "{home}/pool.jsonl", "pool_items": 4}
    return Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "task": {"labels": LABELS},
            "gate": {"max_nights_waiting": 30},
            "evaluate": files | evaluate,
        }
    )


def asked(config, run_id, waiting=None):
    return [item["id"] for item in pool_tonight(config, run_id, waiting).items]


def test_a_fault_in_the_pool_names_the_pool(home):
    with pytest.raises(InputError, match=r"^The pool .*pool\.jsonl has no items"):
        items_of_pool(config_of(home, texts=()))
    with pytest.raises(InputError, match=r"^Line 1 and line 2 of the pool .*pool\.jsonl ask the same"):
        items_of_pool(config_of(home, texts=(SUITE, SUITE)))


def decided(config, run_id):
    """A recorded run that asked its items."""
    drawn = pool_tonight(config, run_id, None)
    run = Run(f"{config.home}/runs/{run_id}")
    for step in ("ingest", "validate", "features", "drift", "decide", "curate", "train"):
        finish(run, step, {})
    pool = {"won": 1, "lost": 0, "neither": 3, "position": drawn.position, "left": drawn.left}
    finish(run, "evaluate", {"pool": pool if drawn.items else None})
    for step in ("fairness", "safety"):
        finish(run, step, {})
    finish(run, "gate", {}, verdict=Verdict.REJECT, reasons=("It is worse.",))
    run_step("record", run.folder.uri, config)
    return [item["id"] for item in drawn.items]


def test_each_item_serves_one_claim(home):
    config = config_of(home)
    assert asked(config, "2026-01-09") == []  # none joined yet
    join(config)
    first = asked(config, "2026-01-09")
    assert len(first) == 4
    assert asked(config, "2026-01-09") == asked(config, "2026-01-10") == first  # nothing is decided yet
    assert decided(config, "2026-01-09") == first
    second = decided(config, "2026-01-10")
    assert len(second) == 4
    assert asked(config, "2026-01-09") == first  # a rerun draws the same
    assert asked(config, "2026-01-10") == second
    assert asked(config, "2026-01-10-again") == asked(
        config, "2026-01-08"
    )  # also a run of an old night goes on
    assert left_of_pool(config) == 2
    drawn = pool_tonight(config, "2026-01-11", None)
    assert about_pool(config, drawn).endswith("has 0 items left, and a night asks 4: add new ones.")
    third = decided(config, "2026-01-11")
    assert sorted(first + second + third) == sorted(TOPICS)
    assert decided(config, "2026-01-12") == []
    assert "is used up" in about_pool(config, pool_tonight(config, "2026-01-12", None))


def test_a_file_that_changes_repeats_nothing(home):
    config = config_of(home)
    join(config)
    first = decided(config, "2026-01-09")
    kept = [text for text in TOPICS if text != first[0]]
    config = config_of(home, ["how insulin is stored", *reversed(kept)], pool_items=20)
    assert set(asked(config, "2026-01-10")) == set(TOPICS) - set(first)  # the new one did not join yet
    join(config)
    rest = asked(config, "2026-01-10")
    assert set(rest) == {*TOPICS, "how insulin is stored"} - set(first)
    assert asked(config.model_copy(update={"seed": 99}), "2026-01-10") == rest
    again = config_of(home, TOPICS, pool_items=20)
    join(again)
    assert not set(asked(again, "2026-01-10")) & set(first)  # also an item that left and came back


def test_near_copies_are_held_back_and_never_asked(home):
    copies = [SUITE, "Which vaccine does a newborn child get at first?", "how statins lower the cholesterol"]
    config = config_of(home, [*TOPICS, *copies], pool_items=20)
    join(config)
    assert sorted(asked(config, "2026-01-09")) == sorted(TOPICS)
    held = {conversation_key([{"role": "user", "content": text}]) for text in [*TOPICS, *copies]}
    assert held <= held_back_keys(config)
    assert len(held_back_items(config)) == len(held)
    before = sorted((home / "pool").iterdir())
    join(config)
    assert sorted((home / "pool").iterdir()) == before  # nothing joins twice
    drawn = pool_tonight(config, "2026-01-09", None).items
    assert without_suite(config, drawn, drawn[:1]) == drawn[1:]  # it joined the suite since


def test_a_candidate_that_began_without_a_pool_asks_none(home):
    config = config_of(home)
    join(config)
    rows = {"won": 1, "lost": 0, "neither": 3, "run_id": "2026-01-08", "level": 0.01, "nights": 1}
    begun = Waiting.model_validate({**rows, "last_night": "2026-01-08", "pair": "p"}, strict=False)
    assert asked(config, "2026-01-09", begun) == []
    with_pool = begun.model_copy(update={"pool": {"won": 0, "lost": 0, "neither": 4}})
    assert len(asked(config, "2026-01-09", with_pool)) == 4


def test_a_pool_that_cannot_be_read_is_named(home):
    config = config_of(home)
    digest = drawn_digest(pool_tonight(config, "2026-01-09", None))
    join(config)
    assert drawn_digest(pool_tonight(config, "2026-01-09", None)) != digest
    (home / "pool.jsonl").write_text("")
    with pytest.raises(InputError, match=r"pool.jsonl has no items"):
        join(config)
    (home / "pool.jsonl").unlink()
    with pytest.raises(InputError, match="no pool of evaluation items at") as error:
        join(config)
    assert "suite propose --pool" in error.value.remedy


def test_nothing_is_said_of_a_pool_that_nobody_named(home):
    config = Config(profile="test", home=str(home))
    assert pool_tonight(config, "2026-01-09", None) == Drawn([])
    assert about_pool(config, Drawn([])) == ""
