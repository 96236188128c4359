"""Planted feedback in a real lake: what the real decide and curate let through, and what they flag."""

import json
from datetime import date, timedelta

import pyarrow as pa
import pytest

from pipelines.core.config import Config
from pipelines.core.facts.reading import as_json
from pipelines.data.lake import Lake
from pipelines.steps import curate, decide
from tests.support.contexts import context
from tests.support.interactions import LABELS, SYSTEM, make_rows
from tests.support.templates import CHATML, tokenizer_with

pytestmark = pytest.mark.slow
NIGHT = date(2026, 1, 20)
FIRST = ("fine", "odd", "loud", "grey", "tall", "thin", "slow", "warm")
SECOND = ("violins", "kettles", "ladders", "gardens")
TEXTS = [f"{first} {second} of {third}" for first in FIRST for second in SECOND for third in ("Rome", "Oslo")]


def planted(texts, people, seed):
    """Rows of invented people who correct every answer to Dental."""
    system = {"role": "system", "content": SYSTEM}
    messages = [[system, {"role": "user", "content": text}] for text in texts]
    told = {"completion": "Surgery", "rating": -1, "correction": "Dental", "tenant": "campus"}
    return make_rows(NIGHT, len(texts), seed, subject_id=people, messages=messages, **told)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """Ten ordinary nights, of which the last one also has a script's 64 rows and twenty accounts' copies."""
    home = tmp_path_factory.mktemp("attacked")
    tokenizer_with(CHATML).save_pretrained(home / "base")
    config = Config(
        profile="test",
        home=str(home),
        model={"base": str(home / "base"), "max_prompt_tokens": 2_000},
        task={"system_prompt": SYSTEM, "labels": LABELS},
        train={"max_length_tokens": 2_100},
        curate={"canary_strings": 0, "redact_languages": ["en"]},
    )
    (home / "sample").mkdir()
    item = {"messages": [{"role": "user", "content": "Where to with an old mill?"}], "answer": "Surgery"}
    (home / "sample" / "suite.jsonl").write_text(json.dumps(item) + "\n")
    lake = Lake(config.path(config.lake_root), 512)
    for back in range(1, 10):
        lake.publish(NIGHT - timedelta(days=back), make_rows(NIGHT - timedelta(days=back), 80))
    script = planted(TEXTS, ["planted-0"] * 64, 1)
    asked = [f"My zeppelin number {place} squeaks, who mends it?" for place in range(20)]
    copies = planted(asked, [f"bot-{place}" for place in range(20)], 2)
    lake.publish(NIGHT, pa.concat_tables([make_rows(NIGHT, 80), script, copies]))
    return home, config


@pytest.fixture(scope="module")
def decided(attacked):
    home, config = attacked
    return decide.run(context(home, config, "decide", NIGHT, drift={}))


@pytest.fixture(scope="module")
def curated(attacked, decided):
    """The nights before were learned from, so an agreement of tonight's can be told from theirs."""
    home, config = attacked
    facts = as_json(decided.facts) | {"deliveries": {str(NIGHT): "tonight"}}
    ctx = context(home, config, "curate", NIGHT, validate={}, decide=facts)
    return curate.run(ctx), ctx.out


def test_a_script_is_a_burst_and_counts_up_to_its_cap(decided):
    assert [(flag.kind, flag.rows) for flag in decided.facts.flags] == [("burst", 64), ("burst", 98)]
    assert any(reason.startswith("Flag: one person gave 53%") for reason in decided.reasons)
    assert any(reason.startswith("Flag: the tenant campus gave 82%") for reason in decided.reasons)
    assert decided.facts.weight.over_person == 64 - 30


def test_copies_and_agreement_are_flagged_and_leave_few_rows(curated):
    outcome, out = curated
    assert {flag.kind for flag in outcome.facts.flags} == {"copies", "agreement"}
    rows = [
        json.loads(line)
        for name in ("train", "dev")
        for line in (out / f"{name}.jsonl").read_text().splitlines()
    ]
    asked = [one["prompt"][-1]["content"] for one in rows]
    assert sum("zeppelin" in text for text in asked) <= 3
    assert sum(text in TEXTS for text in asked) <= 30
    assert any(reason.startswith("Flag: 20 people gave one answer to copies") for reason in outcome.reasons)


def test_flags_name_no_person_and_no_text(decided, curated):
    said = json.dumps(
        [as_json(decided.facts), as_json(curated[0].facts), decided.reasons, curated[0].reasons]
    )
    assert not any(word in said for word in ("planted-0", "bot-", "zeppelin"))


def test_the_same_night_without_them_raises_no_flag(attacked, tmp_path):
    _, config = attacked
    config = config.model_copy(update={"home": str(tmp_path)})
    lake = Lake(config.path(config.lake_root), 512)
    for back in range(10):
        lake.publish(NIGHT - timedelta(days=back), make_rows(NIGHT - timedelta(days=back), 80))
    assert decide.run(context(tmp_path, config, "decide", NIGHT, drift={})).facts.flags == ()
