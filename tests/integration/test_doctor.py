"""`nightshift doctor` refuses in seconds what would fail in an hour, and says what to do."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipelines.cli.main import main
from tests.support import templates
from tests.support.templates import tokenizer_with

PROFILE = """
profile = "test"
[model]
base = "{base}"
max_prompt_tokens = {most}
[task]
system_prompt = "Answer with one label."
labels = ["first", "first of all", "second"]
[train]
max_length_tokens = {longest}
[ingest]
source = "{{home}}/logs/*.jsonl"
[register]
name = "mine"
[evaluate]
suite = "{{home}}/suite.jsonl"
"""
ASKED = [("Which one is it?", "first"), ("And which is that?", "Second")]


@pytest.fixture
def examined(tmp_path, capsys):
    """Run the command on a home with these settings; returns the exit status and the findings by subject."""

    def run(template=templates.CHATML, asked=ASKED, most=300, longest=400, weights=True, pool=None):
        home, base = tmp_path / "home", tmp_path / "base"
        home.mkdir(exist_ok=True)
        tokenizer_with(template).save_pretrained(base)
        if weights:
            torch.manual_seed(1)
            small = {
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
            }
            LlamaForCausalLM(LlamaConfig(vocab_size=400, **small)).save_pretrained(base)
        (tmp_path / "profile.toml").write_text(PROFILE.format(base=base, most=most, longest=longest))
        lines = [{"messages": [{"role": "user", "content": text}], "answer": label} for text, label in asked]
        (home / "suite.jsonl").write_text("\n".join(map(json.dumps, lines)))
        if pool:
            (home / "pool.jsonl").write_text(pool)
            with (tmp_path / "profile.toml").open("a") as profile:
                profile.write('pool = "{home}/pool.jsonl"\npool_items = 2\n[gate]\nmax_nights_waiting = 30\n')
        where = ["--home", str(home), "--config", str(tmp_path / "profile.toml")]
        status = main(["doctor", "--json", *where])
        said = json.loads(capsys.readouterr().out)
        assert main(["doctor", *where]) == status
        shown = capsys.readouterr().out
        levels = {one["about"]: one for one in said["findings"]}
        assert all(about in shown for about in levels)
        return status, levels, said["lengths"]

    return run


def failures(levels):
    return [about for about, one in levels.items() if one["level"] == "fail"]


@pytest.mark.parametrize("name", sorted(templates.END))
def test_a_base_of_any_template_is_fit(examined, name):
    status, levels, lengths = examined(getattr(templates, name))
    assert (status, failures(levels)) == (0, [])
    assert templates.END[name] in levels["chat template"]["said"]
    assert {row["what"]: row["limit"] for row in lengths}["prompts of the suite"] == 300
    assert all(row["least"] <= row["median"] <= row["most"] <= row["limit"] for row in lengths)
    assert levels["fairness"]["level"] == "ok"
    assert levels["fairness"]["said"].startswith(
        "Fairness judges 19 groups, each by itself from 35 items on."
    )


@pytest.mark.parametrize(
    ("changes", "about", "words"),
    [
        ({"template": None}, "chat template", "no chat template"),
        ({"weights": False}, "base model", "no safetensors"),
        ({"asked": []}, "evaluation suite", "has no items"),
        ({"asked": [("Which?", "third")]}, "evaluation suite", "none of task.labels"),
        ({"asked": [*ASKED, ("Why? " * 90, "first")]}, "evaluation suite", "a prompt may have 300"),
        ({"longest": 70}, "lengths", "train.max_length_tokens is 70"),
    ],
)
def test_what_would_fail_later_fails_now(examined, changes, about, words):
    status, levels, _ = examined(**changes)
    assert (status, failures(levels)) == (1, [about])
    assert words in levels[about]["said"]
    assert levels[about]["remedy"]


def test_how_long_a_pool_lasts_is_told(examined):
    item = '{"messages": [{"role": "user", "content": "Item %d?"}], "answer": "first"}\n'
    status, levels, _ = examined(pool="".join(item % number for number in range(21)))
    assert (status, levels["evaluation pool"]["level"]) == (0, "ok")
    assert levels["evaluation pool"]["said"].endswith("At 2 a night they last 10 nights.")
    status, levels, _ = examined(pool=item % 1)
    assert (status, levels["evaluation pool"]["level"]) == (0, "warn")
    status, levels, _ = examined(pool=item % 1 + item % 1)
    assert (status, failures(levels)) == (1, ["evaluation pool"])


def test_what_will_be_left_out_is_told(examined):
    status, levels, _ = examined(longest=310)
    assert status == 0
    assert levels["lengths"]["level"] == levels["source"]["level"] == "warn"
    assert "longer examples are left out" in levels["lengths"]["said"]


def test_every_item_that_cannot_be_asked_is_named_at_once(examined):
    asked = [("Which?", "third"), *ASKED, ("Why? " * 90, "first"), ("Who?", None)]
    status, levels, _ = examined(asked=asked)
    assert status == 1
    said = levels["evaluation suite"]["said"]
    assert all(f"line {line} cannot" in said for line in (1, 4, 5))


def write_log(home, asked):
    (home / "logs").mkdir(parents=True)
    rows = ({"messages": [{"role": "user", "content": text}], "completion": "first"} for text in asked)
    (home / "logs" / "day.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_the_share_of_long_prompts_is_told(examined, tmp_path):
    """300 tokens may be used: of 100 prompts, 2 have more than 400 and 8 just over 300."""
    write_log(tmp_path / "home", [*["Why? "] * 90, *["Why? " * 55] * 8, *["Why? " * 80] * 2])
    status, levels, lengths = examined(longest=700)
    (row,) = [one for one in lengths if one["what"] == "prompts of the log"]
    assert (status, levels["log"]["level"]) == (0, "warn")
    assert "10 of 100 prompts (10.0%) are longer than 300 tokens" in levels["log"]["said"]
    assert f"max_prompt_tokens to {row['most']} to keep all" in levels["log"]["remedy"]
    _, levels, _ = examined(most=row["most"], longest=700)
    assert levels["log"]["level"] == "ok"


def test_conversations_that_cannot_be_asked_are_counted(examined, tmp_path):
    write_log(tmp_path / "home", ["Why?", "a [/INST] b"])
    _, levels, _ = examined(template=templates.MISTRAL)
    assert levels["log"]["level"] == "warn"
    assert "1 of 2 conversations cannot be asked" in levels["log"]["said"]
