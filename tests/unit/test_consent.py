"""Consent: no spelling of it is ignored, and a row that does not say it is no yes."""

import json

import pytest

from pipelines.core.config.data import Ingest
from pipelines.data.reader.columns import unusable_columns
from pipelines.data.reader.consent import meant_by, spoken_in
from pipelines.data.reader.feedback import FeedbackReader
from pipelines.data.reader.raw import Raw
from tests.support.logs import as_jsonl, read

ASKED = [{"role": "user", "content": "Which label?"}]
ROW = {"request_id": "r-1", "ts": "2026-01-03T08:00:00Z", "messages": ASKED, "completion": "first"}

AGAINST = """
opt_out optOut Opt-Out OPTOUT opted_out optedOut opt_out_status isOptedOut training_opt_out
no_training noTrain do_not_train doNotTrain dont_train not_for_training never_learn exclude_from_training
training_disabled disallow_training training_blocked training_denied do_not_use_for_ai_training
exclude_from_dataset remove_from_training skip_training prohibit_training cannot_train objects_to_training
do_not_use do_not_store zdr x-no-training"""
IN_FAVOUR = """
opt_in optedIn consent consent_given userConsent training_consent consent_to_train allow_training
allowed_for_learning may_use_for_training use_for_training trainingAllowed training_enabled train_on_my_data
improve_model_for_everyone include_in_training eligible_for_training permission_to_train data_use_consent
gdpr_consent consentement consentimiento Einwilligung zustimmung_user data_sharing_enabled
allow_data_collection"""
UNCLEAR = """
do_not_allow_training not_allowed_to_train doNotAllowTraining no_consent_for_training
training_consent_withdrawn consent_revoked consent_to_training_denied not_opted_in not_opted_out
training_not_allowed no_consent"""
NEITHER = """
optional option_in adoption_input promptOutput piano_training training_set no_improvement learning_rate
cookie_consent_version model_trained_at tenant token_count retrained marketing_opt_in sms_opt_out
no_train_found used_train_tickets consent_text consent_at user_id use data can_edit"""


@pytest.mark.parametrize(
    ("names", "ours"),
    [(AGAINST, "opt_out"), (IN_FAVOUR, "opt_in"), (UNCLEAR, "consent"), (NEITHER, None)],
    ids=str,
)
def test_names_of_consent_are_known(names, ours):
    assert {name: meant_by(name) for name in names.split()} == dict.fromkeys(names.split(), ours)


@pytest.mark.parametrize(
    ("row", "paths"),
    [
        ({"meta": {"user": {"optedOut": True}}}, ["meta.user.optedOut"]),
        ({"a": {"b": {"c": {"d": {"e": {"opt_out": 1}}}}}}, ["a.b.c.d.e.opt_out"]),
        ({"user": '{"do_not_train": 1}'}, ["user.do_not_train"]),
        ({"payload": {"value": '{"user": {"opt_out": true}}'}}, ["payload.value.user.opt_out"]),
        ({"attributes": [{"key": "opt_out", "value": {"b": True}}]}, ["attributes.opt_out.value"]),
        ({"users": [{"do_not_train": True}]}, ["users.0.do_not_train"]),
        ({"tags": ["new", "opt-out"]}, ["tags.opt-out"]),
        ({"completion": '{"consent": "an answer"}', "input": {"form": {"consent": 1}}}, []),
    ],
)
def test_consents_are_found_at_any_depth(row, paths):
    assert [path for path, _ in spoken_in(row)] == paths


def test_an_unclear_consent_is_asked_about():
    (sentence,) = unusable_columns("a", ["prompt", "no_consent"], Ingest(), ["no_consent"])
    assert (
        'opt_out = "no_consent" where true means no learning, or opt_in = "no_consent" where true' in sentence
    )


def test_a_consent_inside_an_object_can_be_mapped():
    settings = Ingest(columns={"opt_in": "consent.training"})
    assert not unusable_columns("a", ["prompt", "consent"], settings, ["consent"])


def test_tags_can_be_read_as_a_consent(tmp_path):
    rows = [ROW | {"tags": ["x", "opt-out"]}, ROW | {"tags": ["x"]}]
    read = read_rows(tmp_path, rows, columns={"opt_out": "tags.opt-out"}, opt_out_if_missing=False)
    assert [opt_out for _, opt_out, _ in read] == [True, None]


@pytest.mark.parametrize("form", ["nightshift", "openai", "sharegpt", "langfuse", "litellm"])
@pytest.mark.parametrize("path", ["optedOut", "meta.no_training"])
def test_an_unread_consent_is_named_in_every_format(form, path):
    columns = ["request_id", "messages", "completion", path.partition(".")[0]]
    (sentence,) = unusable_columns("log.jsonl", columns, Ingest(format=form), [path])
    assert f'Write opt_out = "{path}" under [ingest.columns]' in sentence
    for settings in ({"columns": {"opt_out": path}}, {"ignore": [path]}):
        assert not unusable_columns("log.jsonl", columns, Ingest(format=form, **settings), [path])


def test_a_mapped_consent_leaves_none_beside_it():
    settings = Ingest(columns={"opt_out": "meta.out"})
    (sentence,) = unusable_columns("a", ["messages", "opt_out", "meta"], settings, ["opt_out", "meta.out"])
    assert "has opt_out, which seems to say who wants no learning" in sentence


def read_rows(tmp_path, rows, **settings):
    (tmp_path / "log.jsonl").write_bytes(as_jsonl(rows))
    found, reader = read(tmp_path / "log.jsonl", **settings)
    return [(row.fault, row.cells["opt_out"], reader.lacks_consent(row)) for row in found]


def test_a_silent_row_waits_for_what_others_say(tmp_path):
    silent, no = ROW, ROW | {"opt_out": False}
    assert read_rows(tmp_path, [silent, silent]) == [(None, None, False)] * 2
    assert read_rows(tmp_path, [silent, no]) == [(None, None, True), (None, False, False)]
    assert read_rows(tmp_path, [silent, no], opt_out_if_missing=False)[0] == (None, None, False)


@pytest.mark.parametrize("meta", [{}, {"meta": None}, {"meta": "x"}, {"meta": {}}, {"meta": {"out": None}}])
def test_a_mapped_consent_that_a_row_lacks_is_no_yes(tmp_path, meta):
    ((fault, opt_out, lacks),) = read_rows(tmp_path, [ROW | meta], columns={"opt_out": "meta.out"})
    assert opt_out is None
    assert lacks or fault == "opt_out is missing"


@pytest.mark.parametrize(
    ("said", "opt_out"),
    [
        ({"opt_in": True}, False),
        ({"opt_in": "no"}, True),
        ({"opt_in": True, "opt_out": True}, True),
        ({"opt_in": False, "opt_out": False}, True),
    ],
)
def test_opt_in_says_the_opposite(tmp_path, said, opt_out):
    assert read_rows(tmp_path, [ROW | said]) == [(None, opt_out, False)]


def test_an_opt_in_that_cannot_be_read_is_no_yes(tmp_path):
    ((fault, opt_out, _),) = read_rows(tmp_path, [ROW | {"opt_in": "perhaps"}])
    assert (fault, opt_out) == ("opt_in is not true or false, but text", None)


@pytest.mark.parametrize("form", ["openai", "langfuse", "litellm", "sharegpt"])
def test_no_format_loses_the_consent_of_a_row(tmp_path, form):
    row = {
        "messages": ASKED,
        "completion": "a",
        "input": "q",
        "output": "a",
        "response": "a",
        "opt_out": True,
    }
    assert read_rows(tmp_path, [row], format=form)[0][1] is True


def test_an_opt_out_stands_though_the_answer_is_no_text(tmp_path):
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {}}]}
    row = {"id": "a", "request": {"messages": ASKED}, "response": call, "opt_out": True}
    assert read_rows(tmp_path, [row], format="openai") == [("the answer is a tool call", True, False)]


def told(row, **settings):
    return FeedbackReader(Ingest(**settings)).read(Raw({"request_id": "a", **row}))


@pytest.mark.parametrize(
    ("row", "opt_out"),
    [
        ({"opt_out": True}, True),
        ({"opt_in": "no"}, True),
        ({"rating": 1, "opt_out": "no"}, False),
        ({"rating": "angry", "opt_out": True}, True),
    ],
)
def test_feedback_takes_consent_back(row, opt_out):
    assert (told(row).opt_out, told(row).problem) == (opt_out, None)


def test_a_consent_in_feedback_that_cannot_be_read_refuses_its_row():
    assert told({"rating": 1, "opt_out": "perhaps"}).problem == "opt_out is not true or false, but text"


def test_feedback_has_a_scale_of_its_own():
    stars = {"good": [5], "bad": [1], "neutral": []}
    assert told({"rating": 5}, feedback_rating=stars).rating == 1
    assert told({"rating": 5}).problem == "rating is not in the scale of ingest.rating"


@pytest.mark.parametrize("place", ["", "meta", "messages"])
@pytest.mark.parametrize("as_array", [False, True])
def test_a_key_that_stands_twice_refuses_its_row(tmp_path, place, as_array):
    twice = '"optedOut": true, "x": 1, "optedOut": false'
    inner = {"": twice, "meta": f'"meta": {{{twice}}}', "messages": f'"messages": [{{{twice}}}]'}[place]
    rows = [f'{{"prompt": "q", "completion": "c", {inner}}}', json.dumps(ROW)]
    (tmp_path / "log").write_text(f"[{','.join(rows)}]" if as_array else "\n".join(rows))
    first, second = read(tmp_path / "log")[0]
    assert (first.fault, first.found) == ("a key that stands twice in one object", "optedOut")
    assert second.fault is None


def test_an_opt_out_beside_a_twin_is_heard_and_a_twin_opt_out_shows_nothing(tmp_path):
    whole = '{"request_id": "a", "prompt": "q", "completion": "secret", "opt_out": true'
    (tmp_path / "log").write_text(whole + ', "k": 1, "k": 2}\n' + whole + ', "opt_out": false}\n')
    heard, unclear = read(tmp_path / "log")[0]
    assert (heard.cells["request_id"], heard.cells["opt_out"]) == ("a", True)
    assert (unclear.cells["opt_out"], unclear.found) == (None, "")
    assert "secret" not in unclear.raw
