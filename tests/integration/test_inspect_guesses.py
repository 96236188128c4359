"""What `nightshift inspect` takes the columns and values of an unclean log for."""

import time
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from rich.console import Console

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.config.columns import RatingScale
from pipelines.core.errors import InputError
from pipelines.data.quality.contract import row_suite
from pipelines.data.quality.expectations import Checker
from pipelines.data.quality.limits import LONGEST
from pipelines.data.reader.ratings import Ratings
from pipelines.operations.inspect import run
from pipelines.operations.inspect.checks import broken_rule
from pipelines.operations.inspect.scales import scale_of
from pipelines.operations.inspect.show import show
from pipelines.operations.inspect.texts import tokens
from pipelines.operations.inspect.times import times_of
from pipelines.operations.inspect.weigh import inspect_log
from tests.support.logs import DEMO, as_csv, as_jsonl
from tests.support.wild_logs import LOGS, asked, chat, completion, pairs, renamed

TODAY = date(2026, 2, 1)
NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)


@pytest.fixture
def look(tmp_path):
    def inspected(rows, feedback=None):
        name = rows if isinstance(rows, str) else "log.jsonl"
        (tmp_path / name).write_bytes(LOGS[rows] if isinstance(rows, str) else as_jsonl(rows))
        if feedback is not None:
            (tmp_path / "feedback.csv").write_bytes(as_csv(feedback))
        return inspect_log(tmp_path / name, tmp_path / "feedback.csv" if feedback is not None else None)

    return inspected


IDS = {
    "repeating ids.jsonl": {},
    "user.id.jsonl": {"conversation_id": "session.id", "subject_id": "user.id"},
    "device.jsonl": {"tenant": "customer.id"},
    "copies.jsonl": {"request_id": "id"},
    "tenants of one.jsonl": {},
    "user times.jsonl": {"request_id": "id", "subject_id": "user.id"},
    "sentences as users.jsonl": {"prompt": "user", "completion": "assistant"},
    "language words.jsonl": {},
    "price.jsonl": {},
    "numbers as dates.jsonl": {"ts": "date"},
    "rfc 2822.jsonl": {"ts": "date"},
    "consent deep.jsonl": {"opt_out": "meta.no_training"},
    "consent in words.jsonl": {},
    "instructions.jsonl": {"system": "instructions"},
    "model score.jsonl": {},
    "alpaca.json": {"prompt": "instruction", "completion": "output"},
    "langsmith.jsonl": {"request_id": "id", "ts": "start_time", "messages": "inputs.messages.0",
                        "completion": "outputs.generations.0.0.text"},
}  # fmt: skip


@pytest.mark.parametrize("name", IDS)
def test_columns_are_what_their_values_say(name, look):
    assert look(name).settings.get("columns", {}) == IDS[name]


HINTS = {
    "repeating ids.jsonl": "id holds only 4 different values in 30 rows, so it is no request",
    "own id repeats.jsonl": "request_id repeats with different content: 30 rows",
    "tenants of one.jsonl": "account holds another value in nearly every row, so it is no tenant",
    "own ts of excel.jsonl": "All times lie before 2010",
    "excel.csv": 'timestamp holds "46025.5", which is not a plausible time',
    "us dates.csv": 'created_at holds "01/02/2026 13:00"',
    "epoch zero.jsonl": "2 times are far from the others, such as 1970-01-01",
    "like or dislike.jsonl": "0 is read as a dislike, because -1 does not come",
    "stars of one.jsonl": "They are read as stars of 5, so all are dislikes",
    "model score.jsonl": "score holds -0.0, -0.123, -0.246, which are not taken for ratings",
    "unknown words.jsonl": 'rating holds "bof", "super", which no scale here reads',
    "infinite.jsonl": 'rating holds "inf"',
    "alpaca.json": "Column input holds text in 67% of the rows, and nothing reads it",
    "dolly.jsonl": "Column context holds text in 100% of the rows",
    "documents.jsonl": "Column documents holds text",
    "language words.jsonl": 'language holds "English", which is not a language tag',
    "langfuse.jsonl": "10 of 20 observations are no generations",
    "azure.jsonl": "This looks like an export of Azure OpenAI.",
    "helicone.jsonl": "This looks like an export of Helicone. A search found the conversation",
    "own system prompts.jsonl": "The system prompts differ: 30 rows have 30 of them",
    "empty answers.jsonl": "50% of the rows are refused. validate.max_quarantined_share (20%) holds",
    "too big.jsonl": "set ingest.max_text_bytes",
    "other keys in each row.jsonl": "72 more columns were not looked at",
    "some opt out.jsonl": "write opt_out_if_missing = false",
    "consent in words.jsonl": 'training_consent holds "maybe", which is not true or false',
    "far future.jsonl": "All times lie in the future",
}


@pytest.mark.parametrize("name", HINTS)
def test_what_is_odd_is_said(name, look):
    assert HINTS[name] in "\n".join(look(name).hints)


def test_ours_misspelt_with_other_values_does_not_hold_the_night(look):
    found = look("our name, other values.jsonl")
    assert (found.settings["ignore"], found.held, found.kept) == (["Request_ID", "Locale"], [], 30)


def test_a_consent_that_is_not_read_holds_the_night(look):
    found = look("consent in words.jsonl")
    assert (found.kept, len(found.held)) == (0, 1)


def test_a_clean_log_needs_no_hint(look):
    assert look([chat(i, request_id=f"r{i}", ts=NOON, rating=(1, -1)[i % 2]) for i in range(30)]).hints == []


def test_labels_that_are_one_are_proposed_once(look):
    assert look("labels in many spellings.jsonl").labels == {"Yes": 18, "no": 12}
    assert len(look("labels in NFD.jsonl").labels) == 2


def test_a_profile_that_would_be_refused_is_not_left(tmp_path, monkeypatch):
    (tmp_path / "log.jsonl").write_bytes(as_jsonl(pairs()))
    monkeypatch.setattr(run, "profile_of", lambda found, name: "profile = 1\n")
    with pytest.raises(InputError, match="No profile can be written"):
        run.inspect(tmp_path / "log.jsonl", None, "", tmp_path / "mine.toml", False)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def days(*numbers):
    return [NOON + timedelta(days=number) for number in numbers]


TIMES = {
    "none": ([], (date(2026, 1, 31), 0, 0)),
    "three days": (days(0, -1, -2), (date(2026, 1, 3), 2, 0)),
    "one of year 1": ([*days(0, -1), datetime(1, 1, 1, tzinfo=UTC)], (date(2026, 1, 3), 1, 1)),
    "one of 9999": ([*days(0, -1), datetime(9999, 1, 1, tzinfo=UTC)], (date(2026, 1, 3), 1, 1)),
    "most are zero": ([*days(0), *[datetime(1970, 1, 1, tzinfo=UTC)] * 9], (date(2026, 1, 3), 0, 9)),
    "one long ago": (days(*range(-20, 0), -3000), (date(2026, 1, 2), 19, 1)),
    "a long log": (days(*range(-1000, 0)), (date(2026, 1, 2), 999, 0)),
    "too long a log": (days(*range(-5000, 0, 10)), (date(2025, 12, 24), 3660, 133)),
}


@pytest.mark.parametrize(("moments", "found"), TIMES.values(), ids=TIMES)
def test_odd_times_do_not_move_the_night(moments, found):
    times = times_of(moments, TODAY)
    assert (times.night, times.late_days, len(times.odd)) == found


RATINGS = {
    "stars": (["5 stars", "1 star"], "rating", {"2 stars": -1, "4 stars": 1, "3 stars": 0}),
    "signs": (["★★★★☆"], "rating", {"★★★★★": 1, "★☆☆☆☆": -1, "★★★☆☆": 0}),
    "of ten": (["9/10", "2/10"], "rating", {"1/10": -1, "8/10": 1, "6/10": 0}),
    "thumbs": (["👍🏽"], "thumb", {"👍": 1, "👍️": 1, "👎🏿": -1}),
    "comma": (["4,5", 2, "3,5"], "rating", {"4,5": 1, 5: 1, 1: -1, "3,5": 0}),
    "percent": (["90%", "30 %"], "rating", {"90%": 1, "30 %": -1}),
    "hundred": ([100, 50, 20], "rating", {99: 1, 10: -1, 60: 0}),
    "only up": (["Up"], "rating", {"up": 1, "down": -1}),
    "halves": ([4.5, 3, 1], "stars", {4.5: 1, 3.5: 0, 2: -1}),
    "with a word": ([5, 1, "n/a"], "stars", {5: 1, "n/a": 0}),
    "default with a word": ([1, -1, "neutral"], "rating", {1: 1, -1: -1, 0: 0, "neutral": 0}),
    "sentiment": ([-0.8, 0.9, 0.1], "rating", {0.5: 1, -0.5: -1, 0: 0}),
}


@pytest.mark.parametrize(("values", "name", "wanted"), RATINGS.values(), ids=RATINGS)
def test_a_scale_reads_what_users_wrote(values, name, wanted):
    scale = scale_of(values, name)
    ratings = Ratings(RatingScale(**scale.settings))
    assert {value: ratings.read(value) for value in wanted} == wanted
    assert scale.unread == []


def test_a_doubtful_scale_is_marked_in_the_profile(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(LOGS["stars of one.jsonl"])
    assert main(["inspect", str(tmp_path / "log.jsonl"), "--write", str(tmp_path / "mine.toml")]) == 0
    assert "[ingest.rating]  # CHANGE" in (tmp_path / "mine.toml").read_text()


def test_feedback_has_its_own_scale_only_if_it_differs(look):
    log = pairs(request_id=lambda i: f"r{i}", rating=[1, 2, 3, 4, 5])
    thumbs = [{"request_id": f"r{i}", "rating": ("up", "down")[i % 2]} for i in range(9)]
    found = look(log, thumbs)
    assert found.settings["rating"]["good"] == [4, 5]
    assert found.settings["feedback_rating"] == {"good": ["up"], "bad": ["down"], "neutral": []}
    assert (found.feedback.ratings["like"], found.feedback.refused) == (5, {})
    same = look(log, [{"request_id": f"r{i}", "rating": 1 + i % 5} for i in range(9)])
    assert "feedback_rating" not in same.settings


def test_rows_that_validate_refuses_are_counted(look):
    found = look("broken rules.jsonl")
    assert (found.kept, [(one.reason, one.rows) for one in found.invalid]) == (
        30, [("locale is not a language tag", 15)],
    )  # fmt: skip


GOOD = {
    "request_id": "r", "tenant": "t", "subject_id": "s", "adapter": "a", "channel": "web",
    "route": "production",
    "messages": [{"role": "user", "content": "hi"}], "completion": "yes", "locale": "en-GB", "tokens_in": 1,
    "tokens_out": 0, "latency_ms": 5.0,
}  # fmt: skip
BROKEN = [
    {}, {"request_id": "x" * 201}, {"tenant": "x" * 201}, {"channel": "x" * 65}, {"adapter": "é" * 201},
    {"messages": [{"role": "system", "content": "hi"}]}, {"messages": [{"role": "user", "content": "  "}]},
    {"messages": [{"role": "user", "content": "\n"}]}, {"completion": ""}, {"completion": " "},
    {"route": "/v1"},
    {"locale": "Deutsch"}, {"locale": "en_US"}, {"tokens_in": 0}, {"tokens_out": -1},
    {"latency_ms": 600_000.5},
    {"tokens_in": None, "tokens_out": None, "latency_ms": None},
]  # fmt: skip


@pytest.mark.slow
def test_its_rules_are_those_of_the_data_contract():
    """`checks` spares the four seconds in which Great Expectations loads."""
    rows = [GOOD | change for change in BROKEN]
    profile = [
        {
            **{f"{name}_characters": len(row[name]) for name in LONGEST},
            **{name: row[name] for name in ("route", "locale", "tokens_in", "tokens_out", "latency_ms")},
            "row": number, "copies_of_request_id": 1, "last_role": row["messages"][-1]["role"],
            "prompt_characters": len(row["messages"][-1]["content"].strip(" ")),
            "completion_characters": len(row["completion"].strip(" ")),
        }
        for number, row in enumerate(rows)
    ]  # fmt: skip
    rules = Checker().check(row_suite(load_config(DEMO, ".")), [pd.DataFrame(profile)], row="row")
    refused = {int(row): rule.reason for rule in reversed(rules) for numbers in rule.rows for row in numbers}
    ours = {number: broken[0] for number, row in enumerate(rows) if (broken := broken_rule(row))}
    assert ours == refused


FORMATS = {
    "litellm": [{"id": f"c{i}", "messages": asked(i), "response": completion(i), "startTime": 1}
                for i in range(9)],
    "langfuse": [{"id": f"o{i}", "traceId": "t", "input": asked(i), "output": "yes"} for i in range(9)],
    "openai": [{"request": {"messages": asked(i)}, "response": completion(i)} for i in range(9)],
    "sharegpt": [{"id": i, "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
                 for i in range(9)],
    "nightshift": renamed(pairs(9, user="u"), prompt="input", completion="output"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_a_form_is_known_by_its_own_keys(form, look):
    assert look(FORMATS[form]).format == form


def test_a_system_prompt_is_proposed_if_all_have_it(look):
    def prompted(i, text):
        return {"messages": [{"role": "system", "content": text}, *chat(i)["messages"]]}

    assert look([prompted(i, "Be brief.") for i in range(30)]).system_prompt == "Be brief."
    assert look([prompted(i, f"Be brief {i % 2}.") for i in range(30)]).system_prompt == ""
    few = look([prompted(i, "Be brief.") if i < 9 else chat(i) for i in range(30)])
    assert few.system_prompt == ""
    assert "Only 9 of 30 rows have a system prompt" in few.hints[-1]


def test_limits_follow_the_lengths(look):
    sizes = look(pairs(prompt="word " * 2_000, completion=lambda i: f"answer {i} " * 100)).sizes
    assert 2_500 <= sizes.prompt <= 3_500
    assert 256 <= sizes.answer <= 512
    assert (tokens("eight by"), tokens("配達です")) == (2, 4)


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_of_a_log_steers_the_terminal(width, look, capsys):
    show(look("escapes.jsonl"), Console(force_terminal=True, color_system=None, width=width, highlight=False))
    printed = capsys.readouterr().out
    steering = ("\x1b[2J", "\x9b", "\u202e", "\r", "\x07")
    assert not any(sign in printed for sign in steering)
    assert "[red]alert" in printed


def test_other_keys_in_every_row_are_quick(look):
    rows = [row | {f"key-{i}-{j}": j for j in range(10)} for i, row in enumerate(pairs(3_000))]
    begin = time.monotonic()
    found = look(rows)
    assert time.monotonic() - begin < 8
    assert (len(found.looked_at.columns), found.kept) == (200, 3_000)
