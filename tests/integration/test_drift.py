"""Drift on real questions: silent without a shift, loud on a shift of the mix, the same on a rerun."""

from __future__ import annotations

import logging
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.config import Config
from pipelines.core.contract import Verdict
from pipelines.core.conversations import question_text
from pipelines.data.embedder import Embedder
from pipelines.data.lake import Lake
from pipelines.data.reference import sample_by_person
from pipelines.data.schema import SCHEMA
from pipelines.evaluation.drift_comparison import compare_nights
from pipelines.policy.night.feedback import label_of
from pipelines.steps import drift
from tests.support.contexts import context
from tests.support.interactions import LABELS, SYSTEM, make_rows
from tests.support.questions import night_of_questions

pytestmark = pytest.mark.slow
FIRST = date(2026, 1, 1)
BEFORE = dict.fromkeys(
    ("Anatomy", "Biochemistry", "Microbiology", "Pathology", "Pharmacology", "Physiology"), 1.0
)
AFTER = dict.fromkeys(
    ("Dental", "Gynaecology", "Medicine", "Pediatrics", "Preventive Medicine", "Surgery"), 1.0
)


def config_at(home, **settings):
    task = {"system_prompt": SYSTEM, "labels": LABELS}
    return Config(profile="test", home=str(home), task=task, drift=settings)


def compared(config, night):
    ctx = context(config.home, config, "drift", night, validate={})
    outcome = drift.run(ctx)
    return outcome, {path.name: path.read_bytes() for path in ctx.out.iterdir()}


@pytest.fixture(scope="module")
def pool():
    """480 real rows, to be cut into eight nights, with the embeddings of their prompts and completions."""
    rows = night_of_questions(FIRST, 480, seed=11).to_pylist()
    embedder = Embedder(Config(profile="x").model.embedder)
    asked = embedder.embed(texts_of(rows))
    return rows, asked, embedder.embed([row["completion"] for row in rows])


def texts_of(rows):
    return [question_text(row["messages"]) for row in rows]


def nights_of(rows):
    return [rows[start : start + 60] for start in range(0, 480, 60)]


@pytest.fixture(scope="module")
def lake_home(tmp_path_factory):
    """Eight nights of one mix, and a ninth of another."""
    home = tmp_path_factory.mktemp("drift")
    lake = Lake(f"{home}/lake", 512)
    for back in range(9):
        night = FIRST + timedelta(days=back)
        shares = AFTER if back == 8 else BEFORE
        lake.publish(night, night_of_questions(night, 100, seed=40 + back, shares=shares))
    return home


def test_the_first_week_concludes_nothing(lake_home):
    for back in (0, 3, 6):
        outcome, files = compared(config_at(lake_home), FIRST + timedelta(days=back))
        assert outcome.verdict is Verdict.PROCEED
        assert outcome.headline == f"cannot conclude: {back} past nights with enough rows, 7 are needed"
        assert (outcome.facts.drift, outcome.facts.rule) == (False, "cannot conclude")
        assert len(outcome.facts.reference.nights) == back
        assert not files


def test_a_night_like_the_others_does_not_drift(lake_home):
    outcome, _ = compared(config_at(lake_home), FIRST + timedelta(days=7))
    assert (outcome.facts.drift, outcome.facts.rule) == (False, "Student's t")
    assert outcome.facts.reference.source == "first nights"
    assert outcome.facts.reference.nights == tuple(date(2026, 1, day) for day in range(1, 8))
    assert outcome.facts.reference.rows_in_lake == 700
    assert outcome.facts.tonight.rows_in_lake == 100
    assert outcome.facts.weekdays_matched is False  # seven nights hold each weekday once


def test_a_shift_of_the_mix_drifts_and_says_what_moved(lake_home):
    outcome, files = compared(config_at(lake_home), FIRST + timedelta(days=8))
    assert outcome.verdict is Verdict.PROCEED
    assert outcome.facts.drift is True
    drifted = {row.column for row in outcome.facts.columns if row.drifted}
    assert {"prompt_embedding", "prompt_topic", "wanted_label"} <= drifted
    assert {"tenant", "locale", "channel", "latency_ms"}.isdisjoint(drifted)
    assert all(len(row.distances) == 9 for row in outcome.facts.columns)
    top = outcome.facts.topics[0]
    assert abs(top.tonight_share - top.reference_share) > 0.05
    assert all(topic.words for topic in outcome.facts.topics)
    for share in ("reference_share", "tonight_share"):
        assert sum(getattr(topic, share) for topic in outcome.facts.topics) == pytest.approx(1, abs=0.01)
    assert b"prompt_topic" in files["evidently.html"]


def test_a_rerun_gives_the_same_bytes(lake_home):
    config, night = config_at(lake_home), FIRST + timedelta(days=8)
    assert compared(config, night) == compared(config, night)


def test_rows_are_capped_by_person_and_drawn_by_the_seed(lake_home):
    config, night = config_at(lake_home, max_rows=50, rows_per_person=1), FIRST + timedelta(days=8)
    nights = [FIRST + timedelta(days=back) for back in range(9)]
    drawn = sample_by_person(config, nights, night, 1)
    assert {len(one.rows) for one in drawn} == {50}
    assert {one.people for one in drawn} == {50}
    assert {one.in_lake for one in drawn} == {100}
    people = {(row["tenant"], row["subject_id"]) for row in rows_in(lake_home, night)}
    assert drawn[-1].over_the_cap == 100 - len(people)
    assert drawn == sample_by_person(config, nights, night, 1)
    assert drawn != sample_by_person(config, nights, night, 2)


def rows_in(home, night):
    return Lake(f"{home}/lake", 512).query("SELECT * FROM interactions", night, night, night).to_pylist()


def test_earlier_nights_are_cut_to_tonights_size(tmp_path):
    """A night of a few hours, or of a few people, is not farther away for it."""
    lake, config = Lake(f"{tmp_path}/lake", 512), config_at(tmp_path)
    for back, (rows, people) in enumerate([(90, 90), (30, 30), (60, 20)]):
        night = FIRST + timedelta(days=back)
        asked = [f"p{place % people}" for place in range(rows)]
        lake.publish(night, make_rows(night, rows, subject_id=asked, tenant="one"))
    nights = [FIRST + timedelta(days=back) for back in range(3)]
    drawn = sample_by_person(config, nights, nights[-1], 1)
    assert [(len(one.rows), one.people) for one in drawn] == [(20, 20), (20, 20), (60, 20)]
    assert [one.over_the_cap for one in drawn] == [0, 0, 0]


def test_a_service_under_one_credential_is_compared(tmp_path):
    lake, config = Lake(f"{tmp_path}/lake", 512), config_at(tmp_path)
    nights = [FIRST + timedelta(days=back) for back in range(3)]
    for night in nights:
        lake.publish(night, make_rows(night, 60, subject_id="backend", tenant="one"))
    drawn = sample_by_person(config, nights, nights[-1], 1)
    assert [(len(one.rows), one.people, one.over_the_cap) for one in drawn] == [(60, 1, 0)] * 3


def test_rows_without_a_person_are_told(tmp_path):
    lake, night = Lake(f"{tmp_path}/lake", 512), FIRST
    rows = make_rows(night, 4).to_pylist()
    rows[0]["subject_id"] = rows[0]["request_id"]
    rows[1]["subject_id"] = rows[1]["conversation_id"] = "talk"
    lake.publish(night, pa.Table.from_pylist(rows, schema=SCHEMA))
    (drawn,) = sample_by_person(config_at(tmp_path), [night], night, 1)
    assert (drawn.without_person, drawn.people) == (2, 4)


def test_too_few_rows_are_not_compared(lake_home):
    outcome, _ = compared(config_at(lake_home, min_rows=300), FIRST + timedelta(days=8))
    assert outcome.headline.endswith(" rows of tonight count, 300 are needed")
    assert outcome.facts.drift is False
    assert len(outcome.facts.reference.left_out) == 8


def answered_by_surgery(row):
    """The same question and person, but a model that knows one department only."""
    wanted = label_of(row["rating"], row["correction"], row["completion"])
    rating = None if wanted is None else 1 if wanted == "Surgery" else -1
    correction = wanted if rating == -1 else None
    return {**row, "adapter": "v2", "completion": "Surgery", "rating": rating, "correction": correction}


def test_answers_of_another_model_are_not_drift(pool, tmp_path):
    rows, asked, answered = pool
    changed = [answered_by_surgery(row) for row in rows[420:]]
    same = np.repeat(answered[:1], 60, axis=0)
    arguments = (asked, np.concatenate([answered[:420], same]), texts_of(rows), config_at(tmp_path), 1)
    found = compare_nights([*nights_of(rows)[:-1], changed], *arguments)
    assert not found.drift
    assert {"completion_label", "completion_embedding"} <= {row.column for row in found.columns if row.moved}
    changed = [{**row, "adapter": "base"} for row in changed]
    assert compare_nights([*nights_of(rows)[:-1], changed], *arguments).drift


@pytest.mark.parametrize(("corrects", "about"), [(True, "input"), (False, "answer")])
def test_wanted_labels_are_inputs_only_with_corrections(pool, tmp_path, corrects, about):
    rows = pool[0] if corrects else [{**row, "correction": None} for row in pool[0]]
    found = compare_nights(nights_of(rows), *pool[1:], texts_of(rows), config_at(tmp_path), 1)
    assert {row.about for row in found.columns if row.column == "wanted_label"} == {about}


def test_constant_and_missing_columns_can_be_compared(pool, tmp_path, caplog):
    rows = [
        {**row, "tenant": "one", "tokens_out": 3, "rating": None, "correction": None, "tokens_in": None}
        | ({"latency_ms": None} if place % 2 else {})
        for place, row in enumerate(pool[0])
    ]
    config = config_at(tmp_path).model_copy(update={"task": Config(profile="x").task})
    with caplog.at_level(logging.WARNING):
        found = compare_nights(nights_of(rows), *pool[1:], texts_of(rows), config, seed=1)
    columns = {row.column: row for row in found.columns}
    assert not {"completion_label", "wanted_label", "tokens_in"} & columns.keys()
    assert "latency_ms" in columns, "half of the values are known"
    assert columns["tenant"].p_adjusted == columns["tokens_out"].p_adjusted == 1
    assert not caplog.records


def test_the_reference_follows_the_lake_as_of_the_night(lake_home):
    config, night = config_at(lake_home), FIRST + timedelta(days=3)
    ctx = context(lake_home, config, "drift", night, validate={})
    before = drift.external_inputs(ctx)
    Lake(f"{lake_home}/lake", 512).publish(
        FIRST + timedelta(days=12), night_of_questions(FIRST + timedelta(days=12), 50, seed=90)
    )
    assert drift.external_inputs(ctx) == before, "a later delivery changes nothing for an earlier night"


def test_topics_are_named_without_personal_data(tmp_path):
    lake, config = Lake(f"{tmp_path}/lake", 512), config_at(tmp_path)
    names = ("Jane Miller", "Peter Thompson", "Susan Clarke")
    for back in range(8):
        night = FIRST + timedelta(days=back)
        asked = [f"My name is {name} and I have gout" for name in names * 15]
        lake.publish(night, make_rows(night, 45, messages=[[{"role": "user", "content": t}] for t in asked]))
    outcome, files = compared(config, FIRST + timedelta(days=7))
    said = outcome.facts.model_dump_json() + str(outcome.reasons) + files["evidently.html"].decode()
    assert "gout" in outcome.facts.topics[0].words
    assert not [word for name in names for word in name.lower().split() if word in said.lower()]
