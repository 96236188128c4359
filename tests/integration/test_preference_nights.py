"""Nights that learn from thumbs and from pairs: counted, drawn, cleaned and trained, with real libraries."""

import json
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.main import main as nightshift
from pipelines.core.config import Config
from pipelines.core.contract import CLOSING, NIGHTLY, Verdict
from pipelines.data.feedback_log import feedback_of, labelled_rows, unrated_turns
from pipelines.data.lake import Lake
from pipelines.runner import run_step
from pipelines.steps import curate
from pipelines.stores.runs import Run
from tests.support import tiny
from tests.support.configs import TINY
from tests.support.contexts import context
from tests.support.interactions import SYSTEM, make_rows
from tests.support.kept import share_heads
from tests.support.nightfall import finish
from tests.support.templates import CHATML, tokenizer_with

pytestmark = pytest.mark.slow
NIGHT = date(2026, 1, 4)
THUMBS = {"correction": None, "tenant": "north-clinic"}
TOPICS = (
    "the visiting hours on Sunday", "a lost blue umbrella", "parking behind the chapel", "vegetarian lunch",
    "an X-ray of the left knee", "allergy to penicillin", "the lift on floor three", "a second opinion",
    "renewing a prescription", "translation to Turkish", "the broken coffee machine", "crutches for a child",
)  # fmt: skip


def thumbs(night, count, liked, **changes):
    """Rated answers without corrections; the first `liked` of them were liked."""
    return make_rows(night, count, rating=[1] * liked + [-1] * (count - liked), **THUMBS | changes)


def lake_of(home):
    return Lake(f"{home}/lake", 512)


def settings_of(home, least=20, **changes):
    tokenizer_with(CHATML).save_pretrained(home / "base")
    return Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "model": {"base": str(home / "base"), "max_prompt_tokens": 2_000, "max_new_tokens": 64},
            "task": {"kind": "generate", "system_prompt": SYSTEM},
            "curate": {"min_examples": 1, "canary_strings": 1, "dev_share": 0.0, "holdout_share": 0.0},
            "decide": {"min_corrections": least},
            "train": {"max_length_tokens": 2_100, **changes},
        }
    )


def decided(home, config, run_id="1"):
    run = Run(f"{home}/runs/{NIGHT}-{run_id}")
    for step in ("ingest", "validate", "features"):
        finish(run, step, {})
    finish(run, "drift", {"drift": False})
    run_step("decide", run.folder.uri, config, rerun=True)
    return run.manifest("decide")


def test_a_night_of_thumbs_alone_is_trained_by_kto(home):
    lake_of(home).publish(NIGHT, thumbs(NIGHT, 60, liked=25))
    by_labels = decided(home, settings_of(home), "labels")
    assert (by_labels.verdict, by_labels.facts["objective"]) == (Verdict.PROCEED, "sft"), "25 likes count"
    few = settings_of(home, least=60)
    assert decided(home, few, "few").verdict is Verdict.SKIP
    manifest = decided(home, settings_of(home, least=60, objective="auto"), "auto")
    assert (manifest.verdict, manifest.facts["objective"]) == (Verdict.PROCEED, "kto")
    assert (manifest.facts["likes"], manifest.facts["dislikes"], manifest.facts["pairs"]) == (25, 35, 0)
    assert "60 rated answers" in manifest.headline
    assert "35 answers were only disliked, 25 were liked or corrected" in manifest.reasons[1]


def test_one_person_does_not_choose_what_is_learned(home):
    """3,000 dislikes of one hand would be 98.9% of all: without a cap there would be no night by kto."""
    people = [f"p{place % 12}" for place in range(60)] + ["busy"] * 3_000
    lake_of(home).publish(NIGHT, thumbs(NIGHT, 3_060, liked=35, subject_id=people))
    manifest = decided(home, settings_of(home, objective="kto"))
    assert manifest.verdict is Verdict.PROCEED
    assert "90 rated answers count, of 3060" in manifest.reasons[0]


def test_a_night_with_corrections_keeps_sft(home):
    lake_of(home).publish(NIGHT, make_rows(NIGHT, 80, correction="Surgery", rating=-1, completion="Dental"))
    manifest = decided(home, settings_of(home, objective="auto"))
    assert (manifest.verdict, manifest.facts["objective"]) == (Verdict.PROCEED, "sft")
    pairs = decided(home, settings_of(home, objective="dpo"), "dpo")
    assert (pairs.facts["pairs"], pairs.facts["weight"]["rows"]) == (80, 80)


def test_feedback_is_counted_as_each_objective_takes_it(home):
    """One person's dislikes are capped as labels are, and an equal correction makes no pair."""
    lake = lake_of(home)
    people = [f"p{place % 12}" for place in range(36)] + ["busy"] * 20
    lake.publish(NIGHT, thumbs(NIGHT, 56, liked=6, subject_id=people))
    odd = {
        "completion": ["Surgery", "Dental", " ", "Dental"],
        "correction": [" Surgery ", "Medicine", "x", None],
    }
    lake.publish(
        NIGHT + timedelta(days=1), make_rows(NIGHT, 4, 1, rating=[-1, -1, -1, None], tenant="campus", **odd)
    )
    found = feedback_of(lake, [NIGHT, NIGHT + timedelta(days=1)], NIGHT + timedelta(days=1))
    assert found.nights[NIGHT] == {"rows": 56, "corrections": 0, "likes": 6, "dislikes": 50, "pairs": 0}
    assert found.nights[NIGHT + timedelta(days=1)]["pairs"] == 1
    assert found.people["kto"]["north-clinic"] == {3: 12, 20: 1}
    assert found.people["sft"]["north-clinic"] == {1: 6}
    part = labelled_rows(lake, [NIGHT], NIGHT, 100, 5, 7, lambda text: text, SYSTEM, "kto")
    assert part.counts["over_the_persons_cap"] == 15
    assert sum(not row["liked"] for row in part.rows) == 35


def say(topic, messages=None, **changes):
    asked = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"I have a question: {topic}?"},
    ]
    row = {"request_id": topic, "messages": [messages or asked], "rating": -1, **THUMBS, **changes}
    return make_rows(NIGHT, 1, **row)


def curated(home, config, objective, rows, suite=("Where is the museum of trains?",)):
    lake_of(home).publish(NIGHT, pa.concat_tables(rows))
    items = [{"messages": [{"role": "user", "content": one}], "answer": "There."} for one in suite]
    (home / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    evaluate = config.evaluate.model_copy(update={"suite": str(home / "suite.jsonl")})
    decide = {"objective": objective, "window": {"first": str(NIGHT), "last": str(NIGHT), "rows": 0}}
    ctx = context(
        home, config.model_copy(update={"evaluate": evaluate}), "curate", NIGHT, validate={}, decide=decide
    )
    outcome = curate.run(ctx)
    lines = (ctx.out / "train.jsonl").read_text().splitlines()
    return outcome, {one["id"]: one for one in map(json.loads, lines)}


def test_disliked_answers_are_cleaned_like_all_others(home):
    liked, disliked, frozen, again = TOPICS[:4]
    rows = [
        say(liked, rating=1, completion="Gladly."),
        say(disliked, completion="Write to ann.miller@example.com."),
        say(frozen, completion="No."),
        say(again, completion="Never."),
        say(TOPICS[4], completion="  "),
    ]
    outcome, chats = curated(
        home, settings_of(home, objective="kto"), "kto", rows, suite=[f"I have a question: {frozen}?"]
    )
    facts = outcome.facts
    assert facts.counts.new["in_suite"] == 1, "what evaluation asks is no example of a bad answer either"
    assert facts.counts.new["without_label"] == 1, "an empty answer is none"
    assert {name: one["liked"] for name, one in chats.items()} == {
        liked: True, disliked: False, again: False, "canary-1": True,
    }  # fmt: skip
    assert chats[disliked]["completion"][0]["content"] == "Write to <EMAIL_ADDRESS>."
    assert (facts.objective, facts.disliked) == ("kto", 2)
    assert "2 of them were disliked" in outcome.reasons[0]


def test_a_set_of_one_side_is_not_trained_on(home):
    rows = [say(topic, completion="No.") for topic in TOPICS]
    outcome, _ = curated(home, settings_of(home, objective="kto"), "kto", rows)
    assert outcome.verdict is Verdict.SKIP
    assert f"0 liked and {outcome.facts.disliked} disliked answers are left" in outcome.reasons[0]


def test_pairs_are_cleaned_on_both_sides(home):
    plain, named, same = TOPICS[:3]
    rows = [
        say(plain, completion="On Monday.", correction="On Sunday from two to four."),
        say(named, completion="Write to ann.miller@example.com.", correction="At the desk, room 4."),
        say(same, completion="Ask ann.miller@example.com.", correction="Ask bob.smith@example.com."),
        say(TOPICS[3], rating=1, completion="Gladly."),
    ]
    outcome, chats = curated(home, settings_of(home, objective="dpo"), "dpo", rows)
    assert set(chats) == {plain, named, "canary-1"}, "a pair that redaction makes equal tells nothing"
    assert chats[named]["rejected"][0]["content"] == "Write to <EMAIL_ADDRESS>."
    assert chats[plain]["completion"][0]["content"] == "On Sunday from two to four."
    assert outcome.facts.counts.new["no_answer_once_redacted"] == 1
    assert outcome.facts.counts.new["without_label"] == 1


def talk(*turns):
    roles = ("user", "assistant")
    said = [{"role": roles[place % 2], "content": text} for place, text in enumerate(turns)]
    return [{"role": "system", "content": SYSTEM}, *said]


def test_earlier_turns_are_learned_unless_they_were_rated(home):
    """The first turn was disliked in a request of its own."""
    asked = (
        "Where do I park?",
        "In the lift.",
        "And on Sundays?",
        "Behind the chapel.",
        "What does it cost?",
    )
    rows = [
        say("whole", talk(*asked), rating=1, completion="It is free."),
        say("first", talk(*asked[:1]), completion="In the lift."),
    ]
    outcome, chats = curated(home, settings_of(home, on="all"), "sft", rows)
    assert unrated_turns(lake_of(home), ["whole", "it's none"], NIGHT) == {"whole": [2]}
    assert set(chats) == {"whole", "whole-2", "canary-1"}
    assert chats["whole-2"]["prompt"] == talk(*asked[:3])
    assert chats["whole-2"]["completion"][0]["content"] == "Behind the chapel."
    assert (outcome.facts.earlier_turns, outcome.facts.counts.train) == (1, 3)


@pytest.mark.parametrize("objective", ["auto", "dpo"])
def test_a_whole_night_by_preferences(home, tmp_path, objective):
    """From a delivery to the gate, with a candidate that was trained on thumbs alone, or on pairs alone."""
    tiny.make_base(tmp_path / "base")
    count = 60
    right = [
        f"Please go to {('Dental', 'Surgery')[place % 2]} in {place % 7} days." for place in range(count)
    ]
    liked = [place % 3 == 0 for place in range(count)]
    told = {"rating": [1 if ok else -1 for ok in liked], "correction": None}
    if objective == "dpo":
        told = {"rating": -1, "correction": right}
    asked = [
        [{"role": "user", "content": f"Patient {place} has a pain number {place * 7919}. Where to?"}]
        for place in range(count)
    ]
    said = [text if ok and objective == "auto" else "Sorry?" for text, ok in zip(right, liked, strict=True)]
    (tmp_path / "logs").mkdir()
    pq.write_table(
        make_rows(NIGHT, count, messages=asked, completion=said, **told), tmp_path / "logs" / "a.parquet"
    )
    items = [
        {"messages": [{"role": "user", "content": f"A pain {place}?"}], "answer": right[place]}
        for place in range(12)
    ]
    (tmp_path / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    share_heads(home)
    settings = {
        "task.kind": "generate", "task.labels": [], "model.base": str(tmp_path / "base"),
        "model.max_new_tokens": 40, "train.max_length_tokens": 320, "train.objective": objective,
        "evaluate.suite": str(tmp_path / "suite.jsonl"), "ingest.kind": "files",
        "ingest.source": f"{tmp_path}/logs/*.parquet", "features.sync_schedule": "",
    }  # fmt: skip
    where = ["--config", str(TINY), "--home", str(home)]
    where += [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
    assert nightshift(["prepare", *where]) == 0
    for step in (*NIGHTLY, *CLOSING):
        assert nightshift([step, f"--run-dir={home}/runs/{NIGHT}", *where]) == 0, step
    run = Run(f"{home}/runs/{NIGHT}")
    decide, train, gate = (run.manifest(step) for step in ("decide", "train", "gate"))
    chosen = "kto" if objective == "auto" else "dpo"
    assert (decide.facts["objective"], train.facts["objective"]) == (chosen, chosen)
    assert train.headline.startswith(f"{chosen} ")
    assert gate.facts["rows"], "the candidate was judged"
    assert (home / "runs" / str(NIGHT) / "report" / "report.html").read_text().count(chosen) >= 1
