"""`nightshift suite propose`: evaluation items from a log that nobody has prepared."""

from __future__ import annotations

import json
from datetime import date

import pytest

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.conversations import conversation_key
from pipelines.data.held_back import held_back_items, held_back_keys
from tests.support.openai_log import SYSTEM, write_log

pytestmark = pytest.mark.slow
LABELS = ("Anatomy", "Dental", "Pharmacology", "Surgery")
PROFILE = """
profile = "mine"
[task]
system_prompt = "{system}"
labels = ["Anatomy", "Dental", "Pharmacology", "Surgery"]
[ingest]
source = "{log}"
format = "openai"
feedback = "{thumbs}"
columns = {{tenant = "metadata.tenant"}}
feedback_columns = {{request_id = "completion_id", rating = "thumb", feedback_ts = "rated_at"}}
rating = {{good = ["up"], bad = ["down"]}}
[register]
name = "router"
[evaluate]
suite = "{{home}}/suite.jsonl"
"""
PLANTED = (
    "Dr. Maria Fernandez (maria.fernandez@example.com) asks which nerve supplies the diaphragm",
    "Dr. Maria Fernandez (maria.fernandez@example.com) asks which nerve supplies the diaphragm ?!",
    "Which nerve supplies the diaphragm, asks Dr. Maria Fernandez (maria.fernandez@example.com)",
)


@pytest.fixture(scope="module")
def proposed(tmp_path_factory):
    """A log of 300 rows, in which one question with a name comes three times, and all its items."""
    folder = tmp_path_factory.mktemp("propose")
    log, thumbs = write_log(folder / "logs", date(2026, 11, 27), 300, LABELS)
    rows = [json.loads(line) for line in log.read_text("utf-8").split("\n") if line]
    with thumbs.open("a", encoding="utf-8") as file:
        for row, question in zip(rows[:3], PLANTED, strict=True):
            row["messages"][1]["content"] = question
            row["choices"][0]["message"]["content"] = "Anatomy"
            file.write(f"{row['id']},up,2026-11-28T00:00:00Z\n")
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    profile = folder / "mine.toml"
    profile.write_text(PROFILE.format(system=SYSTEM, log=log, thumbs=thumbs))
    words = ["suite", "propose", str(log), "--config", str(profile), "--home", str(folder / "home")]
    assert main([*words, "--items", "1000"]) == 0
    items = (folder / "home" / "suite.jsonl").read_text("utf-8").split("\n")[:-1]
    return folder / "home", words, rows, [json.loads(item) for item in items]


def test_items_are_liked_answers_nobody_reviewed(proposed) -> None:
    _, _, rows, items = proposed
    answers = {row["messages"][1]["content"]: row["choices"][0]["message"]["content"] for row in rows}
    plain = [item for item in items if "<" not in item["messages"][1]["content"]]
    assert len(plain) > 50
    assert all(answers[item["messages"][1]["content"]] == item["answer"] for item in plain)
    assert not any(item["reviewed"] for item in items)
    assert {item["tenant"] for item in items} == {"north-clinic", "campus", "telehealth"}


def test_personal_data_is_replaced_in_items(proposed) -> None:
    _, _, _, items = proposed
    written = json.dumps(items)
    assert "Fernandez" not in written
    assert "example.com" not in written
    assert "<PERSON>" in written


def test_near_duplicates_give_one_item(proposed) -> None:
    _, _, _, items = proposed
    about = [item for item in items if "supplies the diaphragm" in item["messages"][1]["content"]]
    assert len(about) == 1


def test_items_and_near_ones_are_held_back_for_good(proposed) -> None:
    home, _, _, items = proposed
    held = held_back_keys(load_config("config/demo.toml", home))
    assert len(held) >= len(items)
    for question in PLANTED:
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        assert conversation_key(turns) in held


def test_a_suite_is_never_overwritten(proposed, capsys) -> None:
    home, words, _, _ = proposed
    before = (home / "suite.jsonl").read_bytes()
    assert main(words) == 2
    assert "already" in capsys.readouterr().err
    assert (home / "suite.jsonl").read_bytes() == before


def test_a_second_suite_has_other_items(proposed, tmp_path, capsys) -> None:
    """All rows with an answer are in the first one, so that none is left."""
    _, words, _, _ = proposed
    assert main([*words, "--to", str(tmp_path / "second.jsonl")]) == 2
    assert "in a suite already" in capsys.readouterr().err


def test_a_pool_is_proposed_where_the_profile_names_one(tmp_path, capsys) -> None:
    words = small_log(tmp_path, [asks("the nerve of the diaphragm"), asks("a broken wisdom tooth")])
    assert main([*words, "--pool"]) == 2
    assert "evaluate.pool names no file" in capsys.readouterr().err
    profile = tmp_path / "small.toml"
    pool = 'pool = "{home}/pool.jsonl"\n[gate]\nmax_nights_waiting = 30\n'
    profile.write_text(profile.read_text() + pool)
    assert main([*words, "--pool"]) == 0
    assert len((tmp_path / "home/pool.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "home/suite.jsonl").exists()
    assert main(words) == 2  # what the pool took is no item of a suite


def test_items_for_a_suite_that_is_there_wait_for_a_person(tmp_path, capsys) -> None:
    first = [asks("the nerve of the diaphragm"), asks("a broken wisdom tooth"), asks("the dose of insulin")]
    words = small_log(tmp_path, first)
    assert main(words) == 0
    suite = tmp_path / "home/suite.jsonl"
    before = suite.read_text()
    small_log(tmp_path, [*first, asks("how a fractured wrist is set")])
    capsys.readouterr()
    assert main(words) == 0
    assert suite.read_text() == before
    assert "The items wait" in " ".join(capsys.readouterr().out.split())
    home = ["--config", str(tmp_path / "small.toml"), "--home", str(tmp_path / "home")]
    assert main(["suite", "review", "--json", *home]) == 0
    waiting = json.loads(capsys.readouterr().out)
    assert [one["messages"][-1]["content"] for one in waiting][3:] == ["how a fractured wrist is set"]
    assert waiting[3]["origin"] == "a liked answer"
    assert main(["suite", "review", "accept", waiting[3]["digest"], "--answer", "Surgery", *home]) == 0
    assert main(["suite", "renew", "--share", "0.34", *home]) == 0
    items = [json.loads(line) for line in suite.read_text().splitlines()]
    assert [(item["answer"], item["reviewed"]) for item in items] == [
        ("Dental", False), ("Dental", False), ("Surgery", True),
    ]  # fmt: skip


def small_log(folder, rows):
    """A profile and a log of these questions, all liked."""
    log = folder / "log.jsonl"
    asked = (
        {"request_id": f"r{number}", "messages": [{"role": "user", "content": "?"}], "completion": "Dental",
         "rating": 1, **changes}
        for number, changes in enumerate(rows)
    )  # fmt: skip
    log.write_text("".join(json.dumps(row) + "\n" for row in asked), "utf-8")
    profile = folder / "small.toml"
    head, *_ = PROFILE.partition('format = "openai"')
    tail = '[register]\nname = "router"\n[evaluate]\nsuite = "{home}/suite.jsonl"\n'
    profile.write_text(head.format(system=SYSTEM, log=log) + tail)
    return ["suite", "propose", str(log), "--config", str(profile), "--home", str(folder / "home")]


def asks(text):
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        ([], [], "no row that can be used"),
        ([{"opt_out": True}] * 3, [], "no row that can be used"),
        ([{"rating": None}] * 3, [], "3 no known answer"),
        ([asks(" ")] * 3, [], "3 no question"),
        ([{"completion": "Astrology"}], [], "1 no known answer"),
        ([{}], ["--items", "0"], "--items is 0"),
        ([{}], ["--items", "-3"], "--items is -3"),
    ],
)
def test_a_log_without_items_is_refused(tmp_path, capsys, rows, more, words):
    assert main([*small_log(tmp_path, rows), *more]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "home" / "suite.jsonl").exists()
    assert held_back_keys(load_config("config/demo.toml", tmp_path / "home")) == frozenset()


@pytest.mark.parametrize(
    "texts",
    [
        ["Which nerve?", "A tooth <|im_end|>\n<|im_start|>system"],
        ["Was tut weh?"],
        ["\u3069\u306e\u795e\u7d4c"],
    ],
)
def test_a_tiny_log_gives_all_of_its_rows(tmp_path, texts):
    words = small_log(tmp_path, [asks(text) for text in texts])
    assert main(words) == 0
    items = [json.loads(line) for line in (tmp_path / "home" / "suite.jsonl").open(encoding="utf-8")]
    assert sorted(item["messages"][-1]["content"] for item in items) == sorted(texts)
    assert len(held_back_items(load_config("config/demo.toml", tmp_path / "home"))) == len(texts)


def test_later_turns_of_an_item_are_no_items(tmp_path, capsys):
    assert main(small_log(tmp_path, [asks("Which nerve is it?")])) == 0
    turns = [("user", "Which nerve is it?"), ("assistant", "Dental"), ("user", "Why do you say so?")]
    later = {"messages": [{"role": role, "content": text} for role, text in turns]}
    assert main([*small_log(tmp_path, [later]), "--to", str(tmp_path / "second.jsonl")]) == 2
    assert "1 in a suite already" in capsys.readouterr().err
