"""Drift on real questions: silent without a shift, loud on a shift of the mix, the same on a rerun."""

from __future__ import annotations

import logging
from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.core.config import Config
from pipelines.core.contract import Verdict
from pipelines.core.conversations import question_text
from pipelines.core.facts.drift import Reference
from pipelines.data.embedder import Embedder
from pipelines.data.lake import Lake
from pipelines.evaluation.drift_comparison import compare_windows
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
    return Config(profile="test", home=str(home), task=task, drift={"permutations": 199, **settings})


def compared(config, night):
    ctx = context(config.home, config, "drift", night, validate={})
    outcome = drift.run(ctx)
    return outcome, {path.name: path.read_bytes() for path in ctx.out.iterdir()}


@pytest.fixture(scope="module")
def pool():
    """2,000 real rows with the embeddings of their prompts and completions, made once."""
    rows = night_of_questions(FIRST, 2_000, seed=11).to_pylist()
    embedder = Embedder(Config(profile="x").model.embedder)
    asked = embedder.embed(texts_of(rows))
    return rows, asked, embedder.embed([row["completion"] for row in rows])


def texts_of(rows):
    return [question_text(row["messages"]) for row in rows]


def test_nights_without_a_shift_keep_the_nominal_rate(pool, tmp_path):
    rows, asked, answered = pool
    config, rng, draws, alarms, moved = config_at(tmp_path), np.random.default_rng(3), 200, 0, 0
    for draw in range(draws):
        places = rng.permutation(len(rows))[:360]
        chosen = [rows[i] for i in places]
        facts = compare_windows(
            chosen[:240],
            chosen[240:],
            asked[places],
            answered[places],
            texts_of(chosen),
            config,
            seed=draw,
        )
        alarms += facts.drift
        moved += any(row.moved for row in facts.columns)
    # A true rate of 5% gives more than this once in 1,000 runs of 200 draws.
    most = 200 * (0.05 + 3.1 * np.sqrt(0.05 * 0.95 / draws))
    assert alarms <= moved <= most


@pytest.fixture(scope="module")
def lake_home(tmp_path_factory):
    """Three nights of one mix, a fourth of the same, a fifth of another."""
    home = tmp_path_factory.mktemp("drift")
    lake = Lake(f"{home}/lake", 512)
    for back, shares in enumerate((BEFORE, BEFORE, BEFORE, BEFORE, AFTER)):
        night = FIRST + timedelta(days=back)
        lake.publish(night, night_of_questions(night, 240, seed=40 + back, shares=shares))
    return home


def test_the_first_night_says_that_there_is_no_reference_yet(lake_home):
    outcome, files = compared(config_at(lake_home), FIRST)
    assert (outcome.verdict, outcome.headline) == (Verdict.PROCEED, "no reference yet")
    assert outcome.facts.drift is False
    assert outcome.facts.reference == Reference(source="none", nights=(), rows=0, rows_in_lake=0)
    assert not files


def test_a_night_like_the_others_does_not_drift(lake_home):
    outcome, _ = compared(config_at(lake_home), FIRST + timedelta(days=3))
    assert outcome.facts.drift is False
    assert outcome.facts.reference.source == "first nights"
    assert outcome.facts.reference.nights == tuple(date(2026, 1, day) for day in (1, 2, 3))
    assert outcome.facts.reference.rows == 720
    assert outcome.facts.tonight.rows == 240


def test_a_shift_of_the_mix_drifts_and_says_what_moved(lake_home):
    outcome, files = compared(config_at(lake_home), FIRST + timedelta(days=4))
    assert outcome.verdict is Verdict.PROCEED
    assert outcome.facts.drift is True
    drifted = {row.column for row in outcome.facts.columns if row.drifted}
    assert {"prompt_embedding", "prompt_topic", "wanted_label"} <= drifted
    assert {"tenant", "locale", "channel", "latency_ms"}.isdisjoint(drifted)
    top = outcome.facts.topics[0]
    assert abs(top.tonight_share - top.reference_share) > 0.05
    assert all(topic.words for topic in outcome.facts.topics)
    for share in ("reference_share", "tonight_share"):
        assert sum(getattr(topic, share) for topic in outcome.facts.topics) == pytest.approx(1, abs=0.01)
    assert b"prompt_topic" in files["evidently.html"]


def test_a_rerun_gives_the_same_bytes(lake_home):
    config, night = config_at(lake_home), FIRST + timedelta(days=4)
    assert compared(config, night) == compared(config, night)


def test_the_sample_is_capped_and_drawn_by_the_seed(lake_home):
    config, night = config_at(lake_home, max_rows=100), FIRST + timedelta(days=4)
    facts = compared(config, night)[0].facts
    assert (facts.reference.rows, facts.reference.rows_in_lake) == (100, 720)
    assert (facts.tonight.rows, facts.cap) == (100, 100)
    ctx = context(lake_home, config, "drift", night, validate={})
    other = context(lake_home, config.model_copy(update={"seed": 8}), "drift", night, validate={})
    drawn, again, differently = (
        [row["request_id"] for row in drift._sample(one, [night])[0]] for one in (ctx, ctx, other)
    )
    assert drawn == again != differently


def test_too_few_rows_are_not_compared(lake_home):
    outcome, _ = compared(config_at(lake_home, min_rows=300), FIRST + timedelta(days=4))
    assert outcome.headline == "too few rows to compare"
    assert outcome.facts.drift is False
    assert "240 rows" in outcome.reasons[0]


def answered_by_surgery(row):
    """The same question and person, but a model that knows one department only."""
    wanted = label_of(row["rating"], row["correction"], row["completion"])
    rating = None if wanted is None else 1 if wanted == "Surgery" else -1
    correction = wanted if rating == -1 else None
    return {**row, "adapter": "v2", "completion": "Surgery", "rating": rating, "correction": correction}


def test_answers_of_another_model_are_not_drift(pool, tmp_path):
    rows, asked, answered = pool
    before, tonight = rows[:240], [answered_by_surgery(row) for row in rows[240:360]]
    same = np.repeat(answered[:1], 120, axis=0)
    shown = texts_of(rows[:360])
    arguments = (asked[:360], np.concatenate([answered[:240], same]), shown, config_at(tmp_path), 1)
    facts = compare_windows(before, tonight, *arguments)
    assert not facts.drift
    assert {"completion_label", "completion_embedding"} <= {row.column for row in facts.columns if row.moved}
    facts = compare_windows(before, [{**row, "adapter": "base"} for row in tonight], *arguments)
    assert facts.drift


@pytest.mark.parametrize(("corrects", "about"), [(True, "input"), (False, "answer")])
def test_wanted_labels_are_inputs_only_with_corrections(pool, tmp_path, corrects, about):
    rows = pool[0][:200]
    if not corrects:
        rows = [{**row, "correction": None} for row in rows]
    vectors, shown = (pool[1][:200], pool[2][:200]), texts_of(rows)
    facts = compare_windows(rows[:120], rows[120:], *vectors, shown, config_at(tmp_path), 1)
    assert {row.about for row in facts.columns if row.column == "wanted_label"} == {about}


def test_constant_and_missing_columns_can_be_compared(pool, tmp_path, caplog):
    rows = [
        {**row, "tenant": "one", "tokens_out": 3, "rating": None, "correction": None, "tokens_in": None}
        | ({"latency_ms": None} if place % 2 else {})
        for place, row in enumerate(pool[0][:200])
    ]
    config = config_at(tmp_path).model_copy(update={"task": Config(profile="x").task})
    with caplog.at_level(logging.WARNING):
        vectors, shown = (pool[1][:200], pool[2][:200]), texts_of(rows)
        facts = compare_windows(rows[:120], rows[120:], *vectors, shown, config, seed=1)
    columns = {row.column: row for row in facts.columns}
    assert not {"completion_label", "wanted_label", "tokens_in"} & columns.keys()
    assert "latency_ms" in columns, "half of the values are known"
    assert columns["tenant"].p_value == columns["tokens_out"].p_value == 1
    assert not caplog.records


def test_the_reference_follows_the_lake_as_of_the_night(lake_home):
    config, night = config_at(lake_home), FIRST + timedelta(days=3)
    ctx = context(lake_home, config, "drift", night, validate={})
    before = drift.external_inputs(ctx)
    Lake(f"{lake_home}/lake", 512).publish(
        FIRST + timedelta(days=9), night_of_questions(FIRST + timedelta(days=9), 50, seed=90)
    )
    assert drift.external_inputs(ctx) == before, "a later delivery changes nothing for an earlier night"


def test_topics_are_named_without_personal_data(tmp_path):
    lake, config = Lake(f"{tmp_path}/lake", 512), config_at(tmp_path, permutations=99)
    names = ("Jane Miller", "Peter Thompson", "Susan Clarke")
    for back in (0, 1):
        night = FIRST + timedelta(days=back)
        asked = [f"My name is {name} and I have gout" for name in names * 20]
        lake.publish(night, make_rows(night, 60, messages=[[{"role": "user", "content": t}] for t in asked]))
    outcome, files = compared(config, FIRST + timedelta(days=1))
    said = outcome.facts.model_dump_json() + str(outcome.reasons) + files["evidently.html"].decode()
    assert "gout" in outcome.facts.topics[0].words
    assert not [word for name in names for word in name.lower().split() if word in said.lower()]
