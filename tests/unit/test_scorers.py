"""Scorers on known values, and on whatever texts there are."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.config import Config
from pipelines.core.errors import ConfigError
from pipelines.evaluation.scorers import scorers_of

NAMES = (
    "exact",
    "normalised",
    "numeric",
    "token_f1",
    "rouge_l",
    "chrf",
    "valid_json",
    "field_f1",
    "tool_calls",
)


def scorers(*names, **task):
    names = ("exact", *names) if "exact" not in names else names
    return scorers_of(Config(profile="test", register={"name": "m"}, evaluate={"scorers": names}, task=task))


EVERY = scorers(*NAMES)


def score(name, answer, reference):
    return float(EVERY[name]([answer], [reference])[0])


@pytest.mark.parametrize(
    ("name", "answer", "reference", "wanted"),
    [
        ("exact", "Paris", "paris", 0),
        ("exact", '{"a": 1, "b": 2}', '{"b":2,"a":1.0}', 1),
        ("normalised", " Paris. ", "paris", 1),
        ("numeric", "It costs 1,234.50 dollars", "1234.5", 1),
        ("numeric", "Es kostet 1.234,50 €", "1234.5", 1),
        ("numeric", "12 or 13", "12", 0),
        ("numeric", "minus: -3 °C", "-3", 1),
        ("numeric", "٣٫٥", "3.5", 1),
        ("numeric", "3½", "3.5", 1),
        ("numeric", "½", "0.5", 1),
        ("numeric", "3½", "3", 0),
        ("numeric", "3⅛", "3125", 0),
        ("numeric", "1_000", "1000", 1),
        ("numeric", "1_000", "0", 0),
        ("numeric", "12_34", "34", 0),
        ("numeric", "_42_ or __42__", "42", 1),
        ("numeric", "10²", "10", 0),
        ("numeric", "10²", "102", 0),
        ("numeric", "10²", " 10² ", 1),
        ("numeric", "10^3", "3", 0),
        ("numeric", "10^{-3}", "-3", 0),
        ("numeric", "7 × 10³", "5 × 10³", 0),
        ("numeric", "10₂", "10", 0),
        ("numeric", "2^10 is 1024", "1024", 1),
        ("numeric", r"$90^\circ$", "90", 1),
        ("numeric", "0x1F", "0", 0),
        ("numeric", "0x1F", "0x1f", 1),
        ("numeric", "10x5", "10", 1),
        ("numeric", "1e9999", "1", 0),
        ("numeric", "25m² or 5kg", "5", 1),
        ("normalised", "10²", "102", 0),
        ("normalised", "a。", "a", 1),
        ("normalised", "« C# »", "C", 0),
        ("field_f1", '{"a": "10²"}', '{"a": "102"}', 0),
        ("field_f1", '{"a": "外科。"}', '{"a": "外科"}', 1),
        ("token_f1", "10²", "102", 0),
        ("token_f1", "3½", "31 2", 0),
        ("rouge_l", "10²", "102", 0),
        ("token_f1", "A", "a", 1),
        ("token_f1", "A", "A.", 1),
        ("token_f1", "The", "the", 1),
        ("token_f1", "a", "the", 0),
        ("token_f1", "A", "The answer is A", 0.4),
        ("token_f1", "The answer is A", "A", 0.4),
        ("token_f1", "an apple", "the apple", 1),
        ("token_f1", "the cat sat", "a cat sat down", 0.8),
        ("token_f1", "我喜欢猫", "我喜欢狗", 0.75),
        ("rouge_l", "police kill the gunman", "police killed the gunman", 0.75),
        ("valid_json", '{"a": [1, 2]}', "", 1),
        ("valid_json", '{"a": [1, 2]} I hope this helps', "", 0),
        ("field_f1", '{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5),
        ("field_f1", '{"a": [3, 1]}', '{"a": [1, 3]}', 1),
        ("tool_calls", '[{"name": "f", "arguments": {"x": 1, "y": 2}}]',
         '{"function": {"name": "f", "arguments": "{\\"y\\": 2, \\"x\\": 1}"}}', 1),
        ("tool_calls", '{"name": "f", "arguments": {"x": 1}}', '{"name": "f", "arguments": {"x": 2}}', 0),
        ("tool_calls", '{"content": "I look.", "tool_calls": [{"name": "f", "arguments": {}}]}',
         '[{"name": "f", "arguments": {}}]', 1),
    ],
)  # fmt: skip
def test_known_values(name, answer, reference, wanted):
    assert score(name, answer, reference) == pytest.approx(wanted)


def test_chrf_is_what_sacrebleu_prints():
    """The example of Popović (2015) as sacreBLEU's tests have it: no common characters, and all of them."""
    assert score("chrf", "abcdefg", "hijklmnop") == 0
    assert score("chrf", "abcdefg", "abcdefg") == 1
    assert 0.5 < score("chrf", "the cat sat on the mat", "the cat is on the mat") < 0.9


ODD = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["", " ", "\ud800", "9" * 10_000, "-", "1e999999", "[" * 3_000, '{"a": ' * 200 + "1" + "}" * 200,
         "NaN", '{"a": NaN}', "\x00", "१२३", "1.234", "مرحبا ١٫٥"]
    ),
    st.recursive(st.integers() | st.text(max_size=3), lambda one: st.lists(one, max_size=3)).map(json.dumps),
)  # fmt: skip


@given(ODD, ODD)
def test_a_score_lies_between_0_and_1(answer, reference):
    for name, scorer in EVERY.items():
        (found,) = scorer([answer], [reference])
        assert 0 <= found <= 1, name


@given(ODD)
def test_the_same_text_scores_1(text):
    for name in ("exact", "normalised", "token_f1", "rouge_l", "chrf", "field_f1", "tool_calls"):
        assert score(name, text, text) == 1, name


def test_a_megabyte_is_scored():
    text = "word " * 200_000
    assert score("token_f1", text, text) == 1
    assert score("normalised", text, text + "x") == 0


def test_ones_own_function_scores(tmp_path, monkeypatch):
    (tmp_path / "house_rules.py").write_text(
        "def short(answer, reference): return float(len(answer) <= len(reference))\n"
        "def too_much(answer, reference): return 2\n"
        "def broken(answer, reference): raise KeyError('x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = scorers("python:house_rules:short")["python:house_rules:short"]
    assert np.array_equal(found(["a", "abc"], ["ab", "ab"]), [1, 0])
    for name, words in (("too_much", "returned 2"), ("broken", "raised"), ("nothing", "has no function")):
        with pytest.raises(ConfigError, match=words):
            scorers(f"python:house_rules:{name}")[f"python:house_rules:{name}"](["a"], ["a"])
    with pytest.raises(ConfigError, match="cannot be imported"):
        scorers("python:no_such_module:f")
    with pytest.raises(ConfigError, match="names no function"):
        scorers("python:house_rules")


def test_a_schema_scores_what_follows_it():
    schema = {"type": "object", "required": ["a"]}
    names = {"kind": "extract", "json_schema": schema}
    config = Config(
        profile="test", register={"name": "m"}, evaluate={"scorers": ["schema"]}, task=names,
        model={"max_new_tokens": 64},
    )  # fmt: skip
    assert scorers_of(config)["schema"](['{"a": 1}', "{}", "x"], [""] * 3).tolist() == [1, 0, 0]
