"""`nightshift inspect`: a new user's first command. What it says is what ingest then does."""

import json
import tomllib
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.errors import InputError
from pipelines.operations.inspect.run import inspect
from pipelines.operations.inspect.scales import scale_of
from pipelines.operations.inspect.show import show
from pipelines.operations.inspect.weigh import inspect_log
from pipelines.runner import run_step
from pipelines.stores.runs import Run
from tests.support.logs import PACKERS, as_csv, as_jsonl, write_parquet

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
LABELS = ("billing", "delivery", "returns")


def chats(n=60):
    return [
        {
            "id": f"chat-{i}",
            "created": 1767427200 + 60 * i,
            "messages": [
                {"role": "system", "content": "Answer with one label."},
                {"role": "user", "content": f"Case {i}: where does it go?"},
                {"role": "assistant", "content": LABELS[i % 3]},
            ],
        }
        for i in range(n)
    ]


def thumbs(n=60):
    rows = [{"id": f"chat-{i}", "thumb": "down" if i % 5 else "up"} for i in range(n)]
    return [row | {"better": "returns" if row["thumb"] == "down" else None} for row in rows]


@pytest.fixture
def log(tmp_path):
    (tmp_path / "chats.jsonl").write_bytes(as_jsonl(chats()))
    (tmp_path / "thumbs.csv").write_bytes(as_csv(thumbs()))
    return tmp_path / "chats.jsonl"


def ingested(profile, home, night):
    config = load_config(profile, home)
    run_step("ingest", f"{home}/runs/{night}", config)
    return Run(f"{home}/runs/{night}").manifest("ingest").facts


def test_what_it_says_is_what_ingest_does(log, tmp_path, capsys):
    profile = tmp_path / "mine.toml"
    feedback = str(tmp_path / "thumbs.csv")
    assert main(["inspect", str(log), "--feedback", feedback, "--write", str(profile)]) == 0
    shown = capsys.readouterr().out
    assert "60 of 60 would be kept in the night 2026-01-03" in shown
    assert "60 of the 60 requests that it names are in the log" in shown
    assert "look like 3 labels" in shown
    facts = ingested(profile, tmp_path / "home", "2026-01-03")
    assert (facts["kept"], facts["quarantined"]) == (60, 0)
    assert facts["feedback"]["joined"] == 60
    settings = tomllib.loads(profile.read_text())
    assert sorted(settings["task"]["labels"]) == [*LABELS]
    assert settings["task"]["system_prompt"] == "Answer with one label."
    assert settings["ingest"]["rating"]["good"] == ["up"]


@pytest.mark.parametrize(("down", "objective"), [(55, "auto"), (40, "sft")])
def test_a_log_of_thumbs_down_is_learned_from(tmp_path, down, objective):
    log, profile = tmp_path / "chats.jsonl", tmp_path / "profile.toml"
    log.write_bytes(
        as_jsonl(
            [
                {**row, "rating": -1 if place < down else 1, "correction": "So." if 5 <= place < 20 else None}
                for place, row in enumerate(chats())
            ]
        )
    )
    assert main(["inspect", str(log), "--write", str(profile)]) == 0
    assert load_config(profile, str(tmp_path)).train.objective == objective


def test_who_opts_out_in_feedback_is_not_kept(log, tmp_path):
    told = [{"id": f"chat-{i}", "thumb": "up", "do_not_train": i < 3} for i in range(9)]
    (tmp_path / "thumbs.csv").write_bytes(as_csv(told))
    profile = tmp_path / "mine.toml"
    assert (
        main(["inspect", str(log), "--feedback", str(tmp_path / "thumbs.csv"), "--write", str(profile)]) == 0
    )
    found = inspect_log(log, tmp_path / "thumbs.csv")
    assert (found.kept, found.opted_out) == (57, 3)
    assert ingested(profile, tmp_path / "home", "2026-01-03")["kept"] == 57


def test_feedback_without_a_rating_holds_the_night(log, tmp_path):
    (tmp_path / "thumbs.csv").write_bytes(as_csv([{"id": "chat-1", "colour": 3}]))
    found = inspect_log(log, tmp_path / "thumbs.csv")
    assert (found.kept, len(found.held)) == (0, 1)


FORMATS = {
    "openai_finetuning.jsonl": ("nightshift", 4), "openai_stored.json": ("openai", 2),
    "openai_log.jsonl": ("openai", 3),
    "sharegpt.jsonl": ("sharegpt", 2), "langfuse_observations.jsonl": ("langfuse", 2),
    "langfuse_traces.json": ("langfuse", 2), "langfuse_generations.csv": ("langfuse", 1),
    "litellm_payload.jsonl": ("litellm", 1), "litellm_spend_logs.jsonl": ("litellm", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_it_knows_the_form_and_its_profile_reads_it(name, tmp_path, capsys):
    profile = tmp_path / "mine.toml"
    assert main(["inspect", str(LOGS / name), "--json", "--write", str(profile)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["kept"]) == FORMATS[name]
    assert ingested(profile, tmp_path / "home", found["night"])["kept"] == found["kept"]


@pytest.mark.parametrize("packing", PACKERS)
def test_it_says_what_the_file_is(tmp_path, packing, capsys):
    path = tmp_path / f"log.csv{packing}"
    path.write_bytes(PACKERS[packing](as_csv(thumbs(), ";", "utf-16")))
    assert main(["inspect", str(path), "--json"]) == 0
    looked_at = json.loads(capsys.readouterr().out)["looked_at"]
    assert (looked_at["kind"], looked_at["separator"], looked_at["encoding"]) == ("CSV", ";", "utf-16")
    assert bool(looked_at["packing"]) == bool(packing)


def test_it_says_why_rows_are_not_kept(tmp_path):
    rows = [row | {"rating": "so-so" if i < 7 else 1, "opt_out": False} for i, row in enumerate(chats())]
    rows[9] |= {"messages": [{"role": "narrator", "content": "x"}]}
    rows[10] |= {"opt_out": True}
    (tmp_path / "log.jsonl").write_bytes(as_jsonl([*rows, rows[0] | {"rating": 1}, rows[30]]))
    found = inspect_log(tmp_path / "log.jsonl", None)
    assert [(one.reason, one.rows, one.example) for one in found.refused] == [
        ("rating is not in the scale of ingest.rating", 7, "so-so"),
        ("messages has an unknown role", 1, "narrator"),
    ]
    assert (found.kept, found.copies, found.opted_out) == (52, 1, 1)


def test_columns_by_other_names_and_times_without_a_zone(tmp_path):
    rows = [
        {
            "Question": f"Case {i}?",
            "Answer": "yes",
            "User ID": i,
            "Created At": f"2026-01-0{1 + i % 9} 08:00",
            "Stars": 5,
        }
        for i in range(30)
    ]
    write_parquet(tmp_path / "log.parquet", rows)
    found = inspect_log(tmp_path / "log.parquet", None)
    assert found.settings["columns"] == {
        "ts": "Created At", "subject_id": "User ID", "prompt": "Question", "completion": "Answer",
        "rating": "Stars",
    }  # fmt: skip
    assert found.settings["rating"]["good"] == [4, 5]
    assert (found.has_zone, found.night, found.settings["late_days"]) == (False, date(2026, 1, 9), 8)
    assert found.kept == 30


SCALES = {
    "the default": ([1, -1, None, 1], {}),
    "one and nothing": ([1, 1], {}),
    "zero and one": ([0, 1, "1"], {"good": [1], "bad": [0], "neutral": []}),
    "stars": (["5", 3, 1], {"good": [4, 5], "bad": [0, 1, 2], "neutral": [3]}),
    "words": (["Thumbs Up", "thumbs-down"], {"good": ["thumbs up"], "bad": ["thumbs-down"], "neutral": []}),
    "booleans": ([True, False], {"good": ["true"], "bad": ["false"], "neutral": []}),
    "shares": ([0.2, 0.9], {"good": [], "bad": [], "neutral": [], "good_from": 0.7, "bad_to": 0.3}),
    "texts": ([f"note {i}" for i in range(40)], {}),
}


@pytest.mark.parametrize(("values", "scale"), SCALES.values(), ids=SCALES)
def test_the_rating_scale_is_guessed(values, scale):
    assert scale_of(values).settings == scale


def test_a_long_file_is_sampled_and_that_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.operations.inspect.look.MOST_ROWS", 50)
    (tmp_path / "log.jsonl").write_bytes(as_jsonl(chats()))
    assert main(["inspect", str(tmp_path / "log.jsonl")]) == 0
    assert "Only the first 50 rows were looked at." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        (b"", "is empty"),
        (b"\n\n", "holds no rows"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet"),
        (b"\x00\x01\x02" * 9, "binary data"),
    ],
)
def test_what_is_no_log_is_said_in_words(tmp_path, content, words, capsys):
    if content is not None:
        (tmp_path / "log").write_bytes(content)
    assert main(["inspect", str(tmp_path / "log")]) == 2
    assert words in capsys.readouterr().err


def test_of_a_folder_the_first_log_is_looked_at(log, tmp_path, capsys):
    (tmp_path / "README.md").write_text("# Chats\n")
    (tmp_path / ".hidden.jsonl").write_text("{}\n")
    (tmp_path / "later.jsonl").write_bytes(log.read_bytes())
    for named in (tmp_path, tmp_path / "*.jsonl"):
        assert main(["inspect", str(named), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["looked_at"]["file"], found["looked_at"]["files"]) == (str(log), 2)
        assert found["looked_at"]["source"] == f"{tmp_path}/*.jsonl"
        assert "2 files are named; only the first" in found["hints"][0]


def test_a_folder_without_a_log_is_refused(tmp_path, capsys):
    (tmp_path / "README.md").write_text("# Chats\n")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "names no file that is a log" in capsys.readouterr().err


def test_a_profile_that_exists_is_refused(log, capsys):
    assert main(["inspect", str(log), "--write", str(log)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_terminal_gets_colours_and_a_pipe_does_not(log, capsys):
    console = Console(force_terminal=True, width=100, highlight=False)
    show(inspect_log(log, None), console)
    assert "\x1b[" in capsys.readouterr().out
    main(["inspect", str(log)])
    assert "\x1b[" not in capsys.readouterr().out


def test_signs_of_markup_in_a_log_are_text(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_bytes(as_jsonl([{"[red]x[/]": "[/]", **row} for row in chats()]))
    assert main(["inspect", str(tmp_path / "log.jsonl")]) == 0
    assert "[red]x[/]" in capsys.readouterr().out


def test_an_encoding_is_asked_for_and_kept(tmp_path):
    log, profile = tmp_path / "log.csv", tmp_path / "mine.toml"
    log.write_bytes("prompt;completion\nWo ist es – in der Nähe?;Rückgabe\n".encode("windows-1252"))
    found = inspect_log(log, None)
    assert found.kept == 0
    assert "Wo ist es – in der Nähe?;Rückgabe (windows-1252)" in found.hints[0]
    assert inspect(log, None, "windows-1252", profile, is_json=False) == 0
    settings = load_config(profile, str(tmp_path)).ingest
    assert (settings.encoding, inspect_log(log, None, "windows-1252").kept) == ("windows-1252", 1)
    with pytest.raises(InputError, match="'klingon' is no encoding of text"):
        inspect(log, None, "klingon", None, is_json=False)
