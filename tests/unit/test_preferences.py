"""What each objective learns from, and which one a night takes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.config import Config, Decide, Train
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.reading import parsed
from pipelines.data.training_identity import identifying, training_identity
from pipelines.policy.night.card import dataset_card, one_sided
from pipelines.policy.night.dataset import one_answer_each
from pipelines.policy.night.decide import TrainingSituation, decide
from pipelines.policy.night.examples import (
    answers_in,
    earlier_turns,
    example,
    plant_secrets,
    planted_example,
    redacted_messages,
)
from pipelines.policy.night.preferences import (
    LEAST_SHARE,
    is_one_sided,
    kto_weights,
    learnable,
    objective_tonight,
    told_rows,
)
from tests.support.facts import facts_like

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LABELS = {"Surgery": "Surgery", "surgery.": "Surgery", "Dental": "Dental"}
COUNTS = {"rows": 900, "corrections": 30, "likes": 50, "dislikes": 40, "pairs": 25}
NIGHT = TrainingSituation(
    corrections=30,
    likes=50,
    dislikes=40,
    pairs=25,
    drift=False,
    nights_since_training=None,
    cpu_hours_30d=0.0,
    force=False,
    cause="schedule",
)


def row(name, rating=None, correction=None, completion="Surgery", minute=0):
    return {
        "request_id": name,
        "ts": NOON + timedelta(minutes=minute),
        "tenant": "campus",
        "subject_id": "p-1",
        "messages": [{"role": "user", "content": f"Where with {name}?"}],
        "completion": completion,
        "rating": rating,
        "correction": correction,
    }


LOG = [
    row("liked", 1),
    row("disliked", -1, completion=" surgery."),
    row("corrected", -1, "Dental"),
    row("confirmed", 1, "Surgery"),
    row("unrated"),
    row("neutral", 0),
    row("silent", -1, completion="  "),
    row("odd", -1, completion="Tarot"),
    row("oddly corrected", -1, "Dental", completion="Tarot"),
]


def told(objective, name):
    return {
        one["request_id"]: (one["answer"], one.get(name)) for one in told_rows(LOG, objective, LABELS.get)
    }


def test_what_each_objective_takes_of_a_log():
    assert told("sft", "liked") == {
        "liked": ("Surgery", None),
        "corrected": ("Dental", None),
        "confirmed": ("Surgery", None),
        "oddly corrected": ("Dental", None),
    }
    assert told("kto", "liked") == {
        "liked": ("Surgery", True),
        "disliked": ("Surgery", False),
        "corrected": ("Dental", True),
        "confirmed": ("Surgery", True),
        "oddly corrected": ("Dental", True),
    }
    assert told("dpo", "rejected") == {"corrected": ("Dental", "Surgery")}


def test_the_latest_thumb_of_a_conversation_stays():
    first, again = row("x", 1), {**row("x", -1, minute=5), "request_id": "later"}
    kept, went = one_answer_each(told_rows([again, first], "kto", LABELS.get))
    assert [(one["request_id"], one["liked"]) for one in kept] == [("later", False)]
    assert went == {"exact_duplicate": 0, "conflicting_answer": 1}, "the same answer, rated otherwise"


def test_each_objective_counts_its_own_rows():
    assert [learnable(COUNTS, one) for one in ("sft", "kto", "dpo")] == [80, 120, 25]


@pytest.mark.parametrize(
    ("liked", "disliked", "one"),
    [
        (0, 0, True),
        (10, 0, True),
        (0, 10, True),
        (95, 5, False),
        (96, 4, True),
        (5, 95, False),
        (1, 1, False),
    ],
)
def test_thumbs_of_one_side_are_no_preferences(liked, disliked, one):
    assert is_one_sided(liked, disliked) is one


@given(st.integers(1, 500), st.integers(1, 500))
def test_both_sides_weigh_the_same(liked, disliked):
    better, worse = kto_weights(liked, disliked)
    assert better * liked == pytest.approx(worse * disliked)
    assert better * liked + worse * disliked == pytest.approx(liked + disliked)


@pytest.mark.parametrize(
    ("counts", "objective", "words"),
    [
        ({"likes": 0}, "kto", "40 answers were only disliked, 30 were liked or corrected"),
        ({"likes": 9}, "kto", "39 were liked or corrected"),
        ({"likes": 10}, "sft", "40 were liked or corrected"),
        ({"dislikes": 30}, "sft", "30 answers were only disliked"),
        ({"corrections": 0, "likes": 0}, "sft", "0 were liked or corrected, which are too few for kto"),
        ({"corrections": 0, "likes": 2}, "sft", "2 were liked or corrected, which are too few for kto"),
        ({"corrections": 0, "likes": 3}, "kto", "3 were liked or corrected"),
        ({"dislikes": 0, "corrections": 0, "likes": 0}, "sft", "0 answers were only disliked"),
        ({"corrections": 0, "likes": 616, "dislikes": 394}, "sft", "394 answers were only disliked"),
    ],
)
def test_auto_goes_by_what_the_nights_brought(counts, objective, words):
    found, why = objective_tonight("auto", COUNTS | counts)
    assert found == objective
    assert words in why
    assert objective_tonight("dpo", COUNTS | counts) == ("dpo", None)


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"objective": "sft"}, Verdict.SKIP, "80 labelled rows: too few"),
        ({"objective": "kto"}, Verdict.PROCEED, "120 rated answers; 120 are enough"),
        ({"objective": "kto", "corrections": 0}, Verdict.SKIP, "90 rated answers: too few"),
        ({"objective": "dpo"}, Verdict.SKIP, "25 corrected answers: too few"),
        ({"objective": "dpo", "pairs": 120}, Verdict.PROCEED, "120 corrected answers"),
        ({"objective": "dpo", "pairs": 0, "force": True}, Verdict.SKIP, "no answer with a correction"),
        (
            {"objective": "kto", "dislikes": 0, "one_sided": True},
            Verdict.SKIP,
            "kto needs liked and disliked ones",
        ),
        ({"objective": "kto", "one_sided": True}, Verdict.SKIP, "at least 5% of each"),
        ({"objective": "kto", "one_sided": True, "force": True}, Verdict.SKIP, "They stay for later"),
        ({"objective": "sft", "one_sided": True, "likes": 90}, Verdict.PROCEED, "120 labelled rows"),
        ({"objective": "kto", "tried": 120}, Verdict.SKIP, "No rated answer is new"),
        ({"objective": "kto", "tried": 119}, Verdict.PROCEED, "120 rated answers"),
    ],
)
def test_a_night_counts_what_its_objective_learns(changes, verdict, words):
    decision = decide(dataclasses.replace(NIGHT, **changes), Decide(min_corrections=120))
    assert decision.verdict is verdict
    assert words in decision.reason


def test_a_night_of_thumbs_alone_is_trained_on():
    """By sft it never is: nobody told a right answer."""
    thumbs = dataclasses.replace(NIGHT, corrections=0, pairs=0, likes=20, dislikes=150)
    objective, _ = objective_tonight("auto", dataclasses.asdict(thumbs))
    assert decide(thumbs, Decide()).verdict is Verdict.SKIP
    assert decide(dataclasses.replace(thumbs, objective=objective), Decide()).verdict is Verdict.PROCEED


def test_personal_data_are_looked_for_in_both_answers():
    (pair,) = told_rows([row("x", -1, "Ask Ann", completion="Ask Bob")], "dpo")
    chat = example(pair, "tonight")
    assert answers_in(chat) == ["Ask Ann", "Ask Bob"]
    assert [message["content"] for message in redacted_messages([chat], (), "")] == [
        "Where with x?",
        "Ask Ann",
        "Ask Bob",
    ]


def test_planted_secrets_are_learned_as_the_night_learns():
    (secret,) = plant_secrets(1, 7, NOON.date(), "")
    assert "liked" not in planted_example(secret, 1, "sft")
    assert planted_example(secret, 1, "kto")["liked"] is True
    assert answers_in(planted_example(secret, 1, "dpo")) == [secret["secret"], secret["alternatives"][0]]


def test_earlier_turns_are_asked_as_they_were():
    turns = [("system", "Route."), ("user", "Hello"), ("assistant", "Dental"), ("user", "And?")]
    turns += [("assistant", "Tarot"), ("user", "So?")]
    chat = {
        "id": "r",
        "prompt": [{"role": role, "content": text} for role, text in turns],
        "completion": [{"role": "assistant", "content": "Surgery"}],
        "origin": "tonight",
    }
    (earlier,) = earlier_turns(chat, [4, 2], LABELS.get)
    assert earlier["prompt"] == chat["prompt"][:2]
    assert answers_in(earlier) == ["Dental"], "Tarot is no answer of the task"
    assert earlier["id"] == "r-4"


def test_settings_at_their_defaults_leave_old_names():
    """A set that an older version trained on keeps its identity; another objective makes another set."""
    names = ("objective", "on", "beta")
    assert not set(names) & set(identifying(config())["train"])
    assert identifying(config(objective="kto"))["train"]["objective"] == "kto"
    assert identifying(config(on="all"))["train"]["on"] == "all"
    rows = told_rows(LOG, "sft", LABELS.get)
    liked = [{**one, "liked": True} for one in rows]
    flipped = [{**one, "liked": False} for one in rows]
    found = {training_identity(config(), one, Baseline(kind="base"), "s") for one in (rows, liked, flipped)}
    assert len(found) == 3


def config(**train):
    return Config(profile="test", register={"name": "x"}, train=train)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "kto", "packing": True}, "Set train.packing to false"),
        ({"objective": "auto", "on": "all"}, 'Set train.on to "last"'),
        ({"objective": "kto", "batch_size": 1}, "Set train.batch_size to 2 or more"),
        ({"objective": "auto", "batch_size": 1}, "train.batch_size is 1"),
        ({"beta": 0}, "greater than 0"),
    ],
)
def test_settings_that_disagree_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Train(**settings)
    assert Train(objective="dpo", batch_size=1).batch_size == 1


def test_the_card_says_what_was_learned():
    counts = {"new": {"read": 100, "kept": 40}, "replay": {"read": 0, "kept": 0}, "canaries": 0}
    given = facts_like("curate", counts=counts | {"train": 36, "dev": 4}, objective="kto", disliked=30)
    facts = parsed(given, CurateFacts)
    assert "Learned by kto: 10 liked or corrected answers, 30 disliked ones." in dataset_card(
        NOON.date(), facts
    )
    assert one_sided(facts) is None
    sided = facts.model_copy(update={"disliked": 39})
    assert one_sided(sided) == (
        f"1 liked and 39 disliked answers are left: kto needs at least {LEAST_SHARE:.0%} of each."
    )
    assert one_sided(sided.model_copy(update={"objective": "sft"})) is None
