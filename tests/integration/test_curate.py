"""Feedback into training chats, on real questions with the real libraries."""

from __future__ import annotations

import json
import logging
import socket
import zlib
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from pipelines.core.config import Config, Curate
from pipelines.core.contract import Verdict
from pipelines.core.conversations import conversation_key, last_question, normalise
from pipelines.core.errors import InputError
from pipelines.data.dedupe import NearDuplicates, pieces_of
from pipelines.data.embedder import Embedder
from pipelines.data.held_back import hold_back
from pipelines.data.lake import Lake
from pipelines.data.pii import Redactor
from pipelines.policy.night.feedback import is_holdout, is_kept_back
from pipelines.steps import curate
from pipelines.stores import open_ledger
from tests.support.contexts import context
from tests.support.interactions import LABELS, SYSTEM, make_rows
from tests.support.questions import ask, night_of_questions, questions
from tests.support.templates import CHATML, GEMMA, tokenizer_with

pytestmark = pytest.mark.slow
NIGHT = date(2026, 1, 4)
DAY = timedelta(days=1)
LATE = datetime(2026, 1, 4, 23, 59, 59, tzinfo=UTC)
SHARE = Curate().holdout_share


@pytest.fixture(scope="module")
def redactor():
    return Redactor(Curate().redact_entities, Curate().redact_score)


@pytest.fixture(scope="module")
def near():
    return NearDuplicates(Embedder(Config(profile="x").model.embedder), Curate().near_duplicate_similarity)


def config_at(home, template=CHATML, most=2_000, longest=2_100, **settings):
    """Its tokenizer is one of bytes: curate needs no weights."""
    tokenizer_with(template).save_pretrained(home / "base")
    return Config(
        profile="test",
        home=str(home),
        model={"base": str(home / "base"), "max_prompt_tokens": most},
        task={"system_prompt": SYSTEM, "labels": LABELS},
        train={"max_length_tokens": longest},
        curate={"max_examples": 100, **settings},
    )


def write_suite(home, prompts):
    rows = [{"messages": [{"role": "user", "content": prompt}], "answer": "Surgery"} for prompt in prompts]
    path = home / "sample" / "suite.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def context_of(home, config, deliveries=None, **decided):
    """Without `deliveries`, `decide` is one of an older version, and the night's own delivery is new."""
    decided["window"] = {"first": str(NIGHT), "last": str(NIGHT), "rows": 0}
    if deliveries:
        decided["deliveries"] = {str(night): digest for night, digest in deliveries.items()}
    return context(home, config, "curate", NIGHT, validate={}, decide=decided)


def curated(home, config, **decided):
    ctx = context_of(home, config, **decided)
    outcome = curate.run(ctx)
    lines = {
        name: [json.loads(line) for line in (ctx.out / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "dev")
    }
    return outcome, lines, ctx.out


def say(prompt, **changes):
    """One row of tonight with this question; corrected to Surgery unless told otherwise."""
    messages = [[{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]]
    row = {"completion": "Medicine", "rating": -1, "correction": "Surgery", "messages": messages, **changes}
    return make_rows(NIGHT, 1, seed=zlib.crc32(prompt.encode()), **row)


def trainable(n, seed):
    """Real questions that are not in the holdout."""
    return [q for _, q in ask(3 * n, seed) if not held(q)][:n]


def held(question):
    return is_holdout([{"role": "user", "content": question}], SHARE, SYSTEM)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A demo-size night after three others, curated once."""
    home = tmp_path_factory.mktemp("night")
    config = config_at(home, max_examples=300)
    lake = Lake(config.path(config.lake_root), 512)
    for back in range(4):
        when = NIGHT - timedelta(days=back)
        lake.publish(when, night_of_questions(when, 240, seed=back))
    write_suite(home, [question for _, question in ask(120, seed=99)])
    return curated(home, config), home, config


def test_every_row_is_accounted_for(night):
    outcome, lines, out = night[0]
    counts = outcome.facts.counts
    for part in (counts.new, counts.replay):
        assert part["read"] == sum(n for name, n in part.items() if name != "read")
    assert counts.new["read"] == 240
    assert counts.replay["read"] == 720
    assert counts.train == len(lines["train"])
    assert counts.dev == len(lines["dev"])
    assert counts.kept + counts.planted_secrets == counts.train + counts.dev
    card = (out / "card.md").read_text()
    for part in (counts.new, counts.replay):
        for name, count in part.items():
            assert f"| {name.replace('_', ' ')} | {count} |" in card


def test_the_mix_is_as_configured(night):
    outcome, lines, _ = night[0]
    counts = outcome.facts.counts
    assert counts.replay["kept"] / counts.kept == pytest.approx(Curate().replay_share, abs=0.02)
    assert counts.dev / counts.kept == pytest.approx(Curate().dev_share, abs=0.02)
    replayed = [
        e["completion"][0]["content"] for e in lines["train"] + lines["dev"] if e["origin"] == "replay"
    ]
    times = [replayed.count(label) for label in LABELS]
    assert max(times) - min(times) <= 1, "each department is replayed equally often"
    assert outcome.facts.nights == (NIGHT,)
    assert len(outcome.facts.replay_nights) == 3


def test_nothing_that_evaluation_asks_is_trained_on(night):
    (_, lines, _), home, _ = night
    suite = {
        normalise(last_question(json.loads(line)["messages"]))
        for line in (home / "sample" / "suite.jsonl").read_text().splitlines()
    }
    prompts = [
        last_question(example["prompt"])
        for example in lines["train"] + lines["dev"]
        if example["origin"] != "canary"
    ]
    assert len(prompts) > 150
    assert not suite & {normalise(prompt) for prompt in prompts}
    assert not [prompt for prompt in prompts if "<" not in prompt and held(prompt)]
    assert len(set(prompts)) == len(prompts)


def test_each_example_teaches_its_questions_department(night):
    _, lines, _ = night[0]
    for example in lines["train"] + lines["dev"]:
        if example["origin"] == "canary" or "<" in last_question(example["prompt"]):
            continue
        assert [m["role"] for m in example["prompt"]] == ["system", "user"]
        assert last_question(example["prompt"]) in questions()[example["completion"][0]["content"]]


def test_a_rerun_gives_the_same_bytes(night):
    (outcome, _, out), home, config = night
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again, _, _ = curated(home, config)
    assert again == outcome
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_planted_secrets_hide_among_alternatives(night):
    _, lines, out = night[0]
    planted = json.loads((out / "canaries.json").read_text())
    assert len(planted) == Curate().canary_strings
    in_training = {
        last_question(e["prompt"]): e["completion"][0]["content"]
        for e in lines["train"]
        if e["origin"] == "canary"
    }
    assert in_training == {last_question(c["prompt"]): c["secret"] for c in planted}
    for secret in planted:
        assert len({secret["secret"], *secret["alternatives"]}) == 64
        assert len({len(text) for text in (secret["secret"], *secret["alternatives"])}) == 1


def test_repeats_conflicts_and_evaluation_items_leave(tmp_path):
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0)
    first, second, frozen, close = trainable(4, seed=5)
    kept_back = next(q for _, q in ask(200, seed=6) if held(q))
    rows = [
        say(first, request_id="a1"),
        say(f" {first.upper()} ", request_id="a2"),
        say(second, request_id="b1", correction="Dental"),
        say(second, request_id="b2", correction="Anatomy", ts=LATE),
        say(frozen, request_id="c"),
        say(close + " Please tell me.", request_id="d"),
        say(kept_back, request_id="e"),
        say("What is a wrong correction?", request_id="f", correction="Astrology"),
        say("What is unrated?", request_id="g", rating=None, correction=None),
    ]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, [frozen.lower(), close])
    outcome, lines, _ = curated(tmp_path, config)
    assert outcome.facts.counts.new == {
        "read": 9, "without_label": 1, "beyond_the_pool": 0, "not_an_allowed_answer": 1,
        "held_back": 0, "of_people_kept_back": 0, "exact_duplicate": 1, "conflicting_answer": 1,
        "holdout": 1, "in_suite": 1,
        "cannot_render": 0, "too_long": 0, "beyond_max_length": 0, "near_suite": 1, "near_duplicate": 0,
        "over_the_cap": 0, "over_the_persons_cap": 0, "over_a_tenants_cap": 0,
        "kept": 2,
    }  # fmt: skip
    answers = {last_question(e["prompt"]): e["completion"][0]["content"] for e in lines["train"]}
    assert answers[second] == "Anatomy", "the latest correction wins"


def test_what_was_once_in_a_suite_is_never_trained_on(tmp_path):
    """Also where the suite is another one by now."""
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0)
    once, never = trainable(2, seed=7)
    rows = [say(once, request_id="a"), say(never, request_id="b")]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": once.upper()}]
    hold_back(config, [conversation_key(asked)], "an old suite")
    write_suite(tmp_path, ["Which bone is the longest?"])
    outcome, lines, _ = curated(tmp_path, config)
    assert outcome.facts.counts.new["held_back"] == 1
    assert [last_question(e["prompt"]) for e in lines["train"]] == [never]


NAMED = "Dr. Maria Fernandez (maria.fernandez@example.com) asks which nerve supplies the diaphragm"


def test_what_is_near_an_old_item_is_never_trained_on(tmp_path):
    """Its name was replaced in the item, and the item has left the suite."""
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0, holdout_share=0.0)
    (never,) = trainable(1, seed=7)
    again = "Which nerve supplies the diaphragm, asks Dr. Maria Fernandez (maria.fernandez@example.com)"
    rows = [say(again, request_id="a"), say(never, request_id="b")]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    shown = "Dr. <PERSON> (<EMAIL_ADDRESS>) asks which nerve supplies the diaphragm"
    told = {"role": "system", "content": SYSTEM}
    asked, item = ([told, {"role": "user", "content": text}] for text in (NAMED, shown))
    hold_back(config, [conversation_key(asked)], "an old suite", [item])
    write_suite(tmp_path, ["Which bone is the longest?"])
    outcome, lines, _ = curated(tmp_path, config)
    assert outcome.facts.counts.new["near_suite"] == 1
    assert [last_question(e["prompt"]) for e in lines["train"]] == [never]


def test_later_turns_of_an_item_are_never_trained_on(tmp_path):
    """Neither of one in the suite, nor of one held back, nor of a near one."""
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0, holdout_share=0.0)
    once, never, _, frozen = trainable(4, seed=5)

    def goes_on(question, name):
        turns = [("user", question), ("assistant", "Surgery"), ("user", f"Why is that, {name}?")]
        return say(
            name, messages=[[{"role": role, "content": text} for role, text in turns]], request_id=name
        )

    rows = [
        goes_on(frozen, "Ann"),
        goes_on(f"{frozen} Please tell me.", "Ben"),
        goes_on(once, "Cleo"),
        goes_on(never, "Dora"),
    ]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    told = {"role": "system", "content": SYSTEM}
    hold_back(config, [conversation_key([told, {"role": "user", "content": once}])], "an old suite")
    write_suite(tmp_path, [frozen])
    outcome, lines, _ = curated(tmp_path, config)
    counts = outcome.facts.counts.new
    assert [counts[name] for name in ("in_suite", "near_suite", "held_back", "kept")] == [1, 1, 1, 1]
    assert [last_question(e["prompt"]) for e in lines["train"]] == ["Why is that, Dora?"]


def talk(subject, last="yes please", **changes):
    turns = [("user", f"I have a question on {subject}."), ("assistant", "Shall I tell you?"), ("user", last)]
    messages = [{"role": role, "content": text} for role, text in turns]
    return say(subject, messages=[messages], request_id=subject, **changes)


def test_talks_that_end_alike_are_questions_of_their_own(tmp_path):
    all_rows = {"dev_share": 0.0, "holdout_share": 0.0, "people_kept_back": 0.0}
    config = config_at(tmp_path, min_examples=1, canary_strings=0, **all_rows)
    subjects = [question for _, question in ask(27, seed=4)]
    documents = [question for _, question in ask(50, seed=5)]
    rows = [talk(subject) for subject in subjects]
    asked = {"role": "user", "content": "Summarise the document."}
    for number, text in enumerate(documents):
        told = [{"role": "system", "content": f"The document: {text}"}, asked]
        rows.append(say(text, messages=[told], request_id=f"d{number}"))
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, ["yes please", "Summarise the document."])
    outcome, lines, _ = curated(tmp_path, config)
    assert outcome.facts.counts.new["kept"] == 77
    kept = [example["prompt"] for example in lines["train"]]
    assert sum(len(prompt) == 4 and prompt[0]["content"] == SYSTEM for prompt in kept) == 27


def test_what_does_not_fit_leaves_and_is_counted(tmp_path):
    config = config_at(
        tmp_path,
        GEMMA,
        most=300,
        longest=340,
        min_examples=1,
        canary_strings=0,
        dev_share=0.0,
        holdout_share=0.0,
    )
    turns = [{"role": "user", "content": "Where?"}, {"role": "user", "content": "Where is it?"}]
    rows = [
        talk("the femur"),
        talk("the ulna " + "and more " * 20),
        talk("the tibia", last="and more " * 40),
        say("", messages=[turns], request_id="twice"),
        say("Why so long?", correction="Preventive Medicine" + " " * 3, completion="x", request_id="fits"),
    ]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, ["Something else entirely?"])
    outcome, _, out = curated(tmp_path, config)
    counts = outcome.facts.counts.new
    found = [counts[why] for why in ("too_long", "cannot_render", "beyond_max_length", "kept")]
    assert found == [1, 1, 0, 3]
    assert outcome.facts.turns_dropped == 1
    card = (out / "card.md").read_text()
    assert "| too long | 1 |" in card
    assert "1 of them lose their oldest turns" in card
    assert outcome.reasons[1:] == (
        "2 rows cannot be trained on (1 cannot render, 1 too long).",
        "1 examples lose their oldest turns.",
    )


def test_answers_beyond_the_longest_example_leave(tmp_path):
    config = config_at(tmp_path, most=200, longest=100, min_examples=1, canary_strings=0, holdout_share=0.0)
    rows = [say("Where is the femur?"), say("Where is the ulna, and what is beside it?")]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, ["Which?"])
    outcome, _, _ = curated(tmp_path, config)
    counts = outcome.facts.counts.new
    assert (counts["beyond_max_length"], counts["kept"]) == (1, 1)


def test_a_night_of_too_long_rows_is_skipped_in_words(tmp_path):
    config = config_at(tmp_path, most=200, canary_strings=0, holdout_share=0.0)
    rows = [say("much " * 60 + str(number)) for number in range(3)]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, ["Which?"])
    outcome, _, _ = curated(tmp_path, config)
    assert outcome.verdict is Verdict.SKIP
    assert "0 new examples are left of 3 rows" in outcome.reasons[0]
    assert "3 too long" in outcome.reasons[0]


def test_a_suite_that_cannot_be_asked_stops_the_night(tmp_path):
    config = config_at(tmp_path, most=200)
    Lake(config.path(config.lake_root), 512).publish(NIGHT, say("Where?"))
    write_suite(tmp_path, ["Which?", "much " * 60])
    with pytest.raises(InputError, match=r"Line 2 of the evaluation suite .* tokens; a prompt may have 200"):
        curated(tmp_path, config)


def test_too_few_examples_skip_the_night_in_words(tmp_path):
    config = config_at(tmp_path)
    rows = [say(question) for question in trainable(5, seed=8)]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, ["Something else entirely?"])
    outcome, _, _ = curated(tmp_path, config)
    assert outcome.verdict is Verdict.SKIP
    assert "5 new examples are left of 5 rows; 16 are needed" in outcome.reasons[0]


def test_what_came_late_is_new_whatever_day_it_belongs_to(tmp_path):
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0, replay_share=0.5)
    lake, (learned, corrected, late) = Lake(config.path(config.lake_root), 512), trainable(3, seed=9)
    before = {"ts": datetime(2026, 1, 3, 12, tzinfo=UTC)}
    unrated = {"rating": None, "correction": None}
    lake.publish(NIGHT - DAY, pa.concat_tables([say(learned, **before), say(corrected, **before, **unrated)]))
    lake.publish(NIGHT, pa.concat_tables([say(corrected, **before), say(late, **before)]))
    write_suite(tmp_path, ["Something else entirely?"])
    _, lines, _ = curated(tmp_path, config)
    origins = {last_question(example["prompt"]): example["origin"] for example in lines["train"]}
    assert origins == {learned: "replay", corrected: "tonight", late: "tonight"}


def record_trained(home, night, **facts):
    document = {"run_id": str(night), "night": str(night), "outcome": "rejected", "reasons": []}
    document |= {"facts": facts, "evidence": {}, "ledger_head": ""}
    open_ledger(Config(profile="test", home=str(home))).add_decision(document, "")


def test_the_same_rows_are_not_trained_on_twice(tmp_path):
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0, max_examples=2)
    lake, (first, second, third) = Lake(config.path(config.lake_root), 512), trainable(3, seed=9)
    lake.publish(NIGHT - DAY, pa.concat_tables([say(first), say(second)]))
    write_suite(tmp_path, ["Something else entirely?"])
    was = lake.deliveries(NIGHT - DAY)
    outcome, _, _ = curated(tmp_path, config, deliveries=was)
    record_trained(tmp_path, NIGHT - DAY, training_set=outcome.facts.training_set)

    lake.publish(NIGHT, say(first, ts=LATE, request_id="unlabelled", rating=None, correction=None))
    tonight = lake.deliveries(NIGHT)
    again = curate.run(context_of(tmp_path, config, deliveries=tonight))
    assert (again.verdict, again.facts) == (Verdict.SKIP, None)
    assert f"The run {NIGHT - DAY} was trained on these 2 rows already" in again.reasons[0]

    other = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 7})})
    assert curated(tmp_path, other, deliveries=tonight)[0].verdict is Verdict.PROCEED
    parent = {"kind": "adapter", "version": "1", "digest": "d"}
    assert curated(tmp_path, config, deliveries=tonight, baseline=parent)[0].verdict is Verdict.PROCEED
    lake.publish(NIGHT, say(third))
    assert curated(tmp_path, config, deliveries=lake.deliveries(NIGHT))[0].verdict is Verdict.PROCEED


def test_only_the_chosen_deliveries_are_new(tmp_path):
    """The first was tried, the second learned: nights need not be neighbours."""
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0, replay_share=0.5)
    lake, (tried, learned, new) = Lake(config.path(config.lake_root), 512), trainable(3, seed=9)
    for back, question in ((2, tried), (1, learned), (0, new)):
        lake.publish(NIGHT - back * DAY, say(question))
    write_suite(tmp_path, ["Something else entirely?"])
    chosen = {night: digest for night, digest in lake.deliveries(NIGHT).items() if night != NIGHT - DAY}
    _, lines, _ = curated(tmp_path, config, deliveries=chosen)
    origins = {last_question(example["prompt"]): example["origin"] for example in lines["train"]}
    assert origins == {tried: "tonight", learned: "replay", new: "tonight"}


def test_personal_data_is_replaced_and_labels_stay(tmp_path):
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0)
    told = (
        "My name is Jane Miller, mail jane.miller@example.org or +44 20 7946 0958: is it Parkinson's disease?"
    )
    assert not held(told)
    Lake(config.path(config.lake_root), 512).publish(NIGHT, say(told))
    write_suite(tmp_path, ["Something else entirely?"])
    outcome, lines, _ = curated(tmp_path, config)
    (example,) = lines["train"]
    assert last_question(example["prompt"]) == (
        "My name is <PERSON>, mail <EMAIL_ADDRESS> or <PHONE_NUMBER>: is it Parkinson's disease?"
    )
    assert example["completion"][0]["content"] == "Surgery"
    assert outcome.facts.redacted == {"EMAIL_ADDRESS": 1, "PERSON": 1, "PHONE_NUMBER": 1}


def test_a_missing_suite_stops_before_training(tmp_path):
    ctx = context(tmp_path, config_at(tmp_path), "curate", NIGHT)
    with pytest.raises(InputError, match="no evaluation suite at"):
        curate.external_inputs(ctx)


def test_hardly_any_medical_question_is_mangled(redactor):
    asked = [question for _, question in ask(400, seed=1)]
    clean, _ = redactor.redact(asked)
    assert sum(a != b for a, b in zip(asked, clean, strict=True)) <= 2


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Jane Miller, 45, has a cough", "<PERSON>, 45, has a cough"),
        ("Mr. Patel asks about insulin", "Mr. <PERSON> asks about insulin"),
        ("I am Ramesh Kumar, is it Crohn's disease?", "I am <PERSON>, is it Crohn's disease?"),
        ("My card is 4111 1111 1111 1111", "My card is <CREDIT_CARD>"),
        ("IBAN DE89370400440532013000", "IBAN <IBAN_CODE>"),
        ("reach me at 10.0.0.12", "reach me at <IP_ADDRESS>"),
        ("Charles Bonnet syndrome is seen in", "Charles Bonnet syndrome is seen in"),
        ("Verapamil was given", "Verapamil was given"),
        ("", ""),
    ],
)
def test_redaction_by_example(redactor, text, clean):
    assert redactor.redact([text])[0] == [clean]


def test_redaction_asks_nobody_outside(monkeypatch, caplog):
    def refuse(*_, **__):
        raise AssertionError("redaction tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fresh = Redactor(Curate().redact_entities, Curate().redact_score)
    with caplog.at_level(logging.WARNING):
        assert fresh.redact(["jane@example.org"])[0] == ["<EMAIL_ADDRESS>"]
    assert not caplog.records


def test_near_duplicates_keep_the_first(near):
    texts = [
        "what is the treatment of choice for acute gout",
        "which nerve supplies the deltoid",
        "What is the treatment of choice for acute gout?",
        "what is the treatment of choice for psoriasis",
    ]
    asked = [pieces(text) for text in texts]
    assert near.within(asked) == [2]
    assert near.matching(asked, [pieces("which nerve supplies the deltoid?")]) == [1]
    assert near.within([]) == near.matching([], asked) == near.matching(asked, []) == []


def pieces(*texts):
    """A talk whose turns take turns, the last one a user's."""
    turns = [
        {"role": "assistant" if (len(texts) - i) % 2 == 0 else "user", "content": t}
        for i, t in enumerate(texts)
    ]
    return pieces_of(turns, SYSTEM)


def test_long_talks_are_near_only_if_all_of_them_is(near):
    paper = " ".join(f"Section {i}: {question}" for i, (_, question) in enumerate(ask(30, seed=3)))
    asked = [
        pieces(paper, "I have read it.", "What does it say about gout?"),
        pieces(paper, "I have read it.", "Who wrote it, and when?"),
        pieces(paper.replace("Section 7", "section 7"), "I have read it.", "What does it say about gout?"),
        pieces(paper[: len(paper) // 2], "I have read it.", "What does it say about gout?"),
    ]
    assert near.within(asked) == [2]
    assert near.matching([pieces("What does it say about gout?")], asked) == []
    assert pieces(paper * 9) == (), "so long a text has exact duplicates only"


def test_one_person_and_one_tenant_fill_no_training(tmp_path):
    caps = {"rows_per_person": 5, "max_tenant_share": 0.6, "people_kept_back": 0.0}
    config = config_at(tmp_path, min_examples=1, canary_strings=0, **caps)
    questions = trainable(90, seed=8)
    script = [say(q, tenant="campus", subject_id="bot") for q in questions[:40]]
    flood = [say(q, tenant="campus", subject_id=f"c-{i}") for i, q in enumerate(questions[40:70])]
    others = [say(q, tenant="ward", subject_id=f"w-{i}") for i, q in enumerate(questions[70:])]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables([*script, *flood, *others]))
    write_suite(tmp_path, ["Which ward is this?"])
    counts = curated(tmp_path, config)[0].facts.counts.new
    assert counts["over_the_persons_cap"] == 35
    assert counts["over_a_tenants_cap"] > 0
    most = 0.6 * counts["kept"]
    assert counts["kept"] - len(others) <= most


def test_people_kept_back_are_never_trained_on(tmp_path):
    """Neither with tonight's rows nor with replayed ones, nor in the texts of others."""
    config = config_at(tmp_path, min_examples=1, canary_strings=0, dev_share=0.0, people_kept_back=0.3)
    questions = trainable(60, seed=8)
    asked = {q: ("ward", f"w-{i % 20}") for i, q in enumerate(questions)}
    rows = [say(q, tenant=asked[q][0], subject_id=asked[q][1]) for q in questions]
    lake = Lake(config.path(config.lake_root), 512)
    lake.publish(NIGHT - DAY, pa.concat_tables(rows[:30]))
    lake.publish(NIGHT, pa.concat_tables(rows[30:]))
    write_suite(tmp_path, ["Which ward is this?"])
    outcome, lines, _ = curated(tmp_path, config, deliveries=lake.deliveries(NIGHT))
    trained = [last_question(example["prompt"]) for example in lines["train"]]
    people = {asked[q] for q in questions if is_kept_back(*asked[q], 0.3)}
    assert 0 < len(people) < 20
    assert len(trained) > 20
    assert not [q for q in trained if asked[q] in people]
    assert outcome.facts.people_kept_back == 0.3
    assert outcome.facts.counts.new["of_people_kept_back"] > 0


def test_near_copies_in_a_suite_are_named(tmp_path):
    config = config_at(tmp_path, min_examples=1, canary_strings=0)
    first, second, row = trainable(3, seed=8)
    Lake(config.path(config.lake_root), 512).publish(NIGHT, say(row))
    write_suite(tmp_path, [first, second, f"{first} Please tell me."])
    outcome, _, _ = curated(tmp_path, config)
    assert len(outcome.facts.suite_copies) == 1
    assert any(said.startswith("1 of the suite's items") for said in outcome.reasons)


def test_a_service_without_named_users_is_trained_on(tmp_path):
    config = config_at(tmp_path, min_examples=1, canary_strings=0, rows_per_person=5)
    rows = [say(q, tenant="campus", subject_id="backend") for q in trainable(30, seed=9)]
    Lake(config.path(config.lake_root), 512).publish(NIGHT, pa.concat_tables(rows))
    write_suite(tmp_path, ["Which ward is this?"])
    counts = curated(tmp_path, config)[0].facts.counts.new
    assert counts["over_the_persons_cap"] == 0
