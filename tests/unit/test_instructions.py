"""The packaged instructions: each can be followed, each can be broken, and no text follows many of them."""

from __future__ import annotations

from collections import Counter

import pytest

from pipelines.evaluation.instructions import INSTRUCTIONS, asked, followed, follows
from pipelines.evaluation.instructions import checks as c

CONSTANT = [
    "Surgery", "Anatomy", "Yes.", "no", "OK", "?", "7", "{}", "[]", '""', "<<x>>", "HELLO", "hello world",
    "I'm sorry, but I can't help with that.", "The answer is four.", "- a\n- b\n- c", "1. a\n2. b\n3. c",
    "a, b, c, d", '{"name": "x", "age": 1}', "Sure! Here is what you asked for.", "Mi perro es grande.",
    "Das ist ein deutscher Satz.", "Ceci est une phrase.", "One sentence. And another one.", "Paris",
]  # fmt: skip
NOTHING = ["", " \n\t ", "...", "— ?!", "\u200b\u200e", "🙂🙂"]
HOSTILE = [
    "a" * 200_000, "a, " * 50_000, "[" * 100_000, '{"name":' * 20_000, "- \n" * 50_000, '"' * 50_000,
    "1. " * 50_000, "<<" * 50_000, ".!?" * 50_000, "\n\n \n" * 30_000, "\ud800 lone", "\x00\x01 a",
    "e\u0301" * 10_000, "这是一个很长的句子。" * 5_000, "هذه جملة عربية. " * 5_000, "1" * 100_000,
]  # fmt: skip
KINDS = {
    "says": (c.says("Rome"), ["Rome", "Rome."], ["rome", "It is Rome", "Rome!", "**Rome**", "Rome.."]),
    "mentions": (c.mentions("café", "tea"), ["Un CAFÉ.", "l'eau, le café"], ["cafe", "teapot", "coffee"]),
    "words": (
        c.words(3, 5),
        ["one two three", "I don't know this-thing", "北京你好"],
        ["one two", "a b c d e f", "- - -"],
    ),
    "characters": (c.characters(3, 5), ["abc", "abcde"], ["ab", "abcdef"]),
    "sentences": (
        c.sentences(2),
        ["One. Two!", "It costs 3.50 now. Good.", 'He said "no." She left.', "这是。那是。", "Hm... Well?"],
        ["One.", "One. Two. Three.", "One. Two", "One. Two. ...", "One two"],
    ),
    "lines": (c.lines(2), ["a\nb", "a\n\nb"], ["a", "a\nb\nc"]),
    "paragraphs": (
        c.paragraphs(2),
        ["a\nb\n\nc", "a\n \nb", "a\r\n\r\nb"],
        ["a\nb", "a\n\nb\n\nc", "a\n\n\nb"],
    ),
    "bullets": (
        c.bullets(2),
        ["- a\n- b", "- a\n\n- b"],
        ["-a\n-b", "a\n- b\n- c", "- a\n-", "* a\n* b", "- a\n• b"],
    ),
    "numbered": (
        c.numbered(2),
        ["1. a\n2. b", "1.a\n2.  b"],
        ["1. a\n3. b", "2. a\n1. b", "Here:\n1. a\n2. b", "1.\n2.", "1. a", "10. a\n20. b", "1) a\n2) b"],
    ),
    "no_list": (
        c.no_list,
        ["a\nb", "-5 degrees", "3 cats"],
        ["x\n- a", "1. a", "* a", "2) a", "a\n+ b", "◦ a"],
    ),
    "no_numbers": (c.no_numbers, ["a\nb"], ["a 1", "a\n٢", "a²"]),
    "repeats": (c.repeats("It rains."), ["It rains."], ["It rains", "it rains.", "It rains. ok"]),
    "comma_list": (
        c.comma_list(3),
        ["a, b, c", "New York, Rio de Janeiro, x."],
        ["a, b", "a, b, c, d", "a,\nb, c", "a,, c", "Well, here are some of them, a"],
    ),
    "upper": (c.upper, ["YES 5!", "GRÜN"], ["Yes", "123", "中文"]),
    "lower": (c.lower, ["yes, 5.", "über"], ["Yes", "123", "中文"]),
    "without": (c.without("e"), ["a dog"], ["the", "E"]),
    "times": (c.times("blue", 2), ["Blue is blue.", "blue-ish blue blue"], ["blue", "bluebird blue"]),
    "begins_with": (
        c.begins_with("The sun"),
        ["The sun is", "The sun"],
        ["the sun", "Here: The sun", "The sunlight is", "The sun\u0331 is"],
    ),
    "ends_with": (
        c.ends_with("is it?"),
        ["Why is it?", "(is it?"],
        ["Is it? No", "is it?)", "This it?", "Disis it?"],
    ),
    "last_word": (c.last_word("night"), ["At night.", "NIGHT"], ["nights", "night time", ""]),
    "each_word_begins_with": (
        c.each_word_begins_with("s"),
        ["Sally's snake sleeps", "see-saw"],
        ["Sam and Sue", "a"],
    ),
    "quoted": (
        c.quoted,
        ['"Honey."', "“Honey”", "« Du miel »", "„Honig“"],
        ['"Honey" is it', "Honey", '"a" "b"', "'Honey'", '"'],
    ),
    "in_brackets": (c.in_brackets, ["<<A title>>"], ["<A>", "<<>>", "<<A>> B", "<<A>", "<<a\nb>>"]),
    "json_keys": (
        c.json_keys("a", "b"),
        ['{"a": 1, "b": "x"}', '{\n"b": [], "a": false}'],
        ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', '```json\n{"a": 1, "b": 2}\n```', '{"a": 1, "b": null}',
         "{'a': 1, 'b': 2}", '[{"a": 1, "b": 2}]', "a"],
    ),
    "json_texts": (c.json_texts(2), ['["a", "b"]'], ['["a"]', '["a", 1]', '["a", ""]', '{"a": "b"}', "a, b"]),
    "language": (
        c.language("de"),
        ["Am Morgen trinken viele Leute einen Kaffee."],
        ["In the morning many people drink coffee.", "Guten Morgen", "Le matin, on boit du thé.", "1 2 3 4"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_tells_answers_apart(kind):
    check, right, wrong = KINDS[kind]
    assert [answer for answer in right if not check(c.tidy(answer))] == []
    assert [answer for answer in wrong if check(c.tidy(answer))] == []


def test_each_kind_of_check_is_tested():
    made = {name for name, one in vars(c).items() if callable(one) and one.__module__ == c.__name__}
    assert made - {"tidy"} - {name for name in made if name.startswith("_")} == set(KINDS)


def test_there_are_sixty_in_four_languages():
    assert len({one.prompt for one in INSTRUCTIONS}) == len(INSTRUCTIONS) == 60
    assert Counter(one.language for one in INSTRUCTIONS) == {"en": 30, "de": 10, "fr": 10, "es": 10}
    assert Counter(one.language for one in INSTRUCTIONS[:12]) == {"en": 6, "de": 2, "fr": 2, "es": 2}


@pytest.mark.parametrize("place", range(60))
def test_each_instruction_can_be_followed_and_broken(place):
    one = INSTRUCTIONS[place]
    assert follows(one, one.example)
    assert follows(one, f"\n {one.example}  ")
    assert not follows(one, f"Sure! Here you are:\n{one.example}\n\nI hope that this helps, and more\n- so")
    assert not any(follows(one, answer) for answer in NOTHING)


def test_no_text_follows_many_instructions():
    """A model that says the same to everything, or answers another question, follows hardly any."""
    for text in (*CONSTANT, *(one.example for one in INSTRUCTIONS)):
        assert sum(follows(one, text) for one in INSTRUCTIONS) <= 3, text


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_answers_follow_nothing(place):
    assert [one.prompt for one in INSTRUCTIONS if follows(one, HOSTILE[place])] == []


def test_answers_are_checked_in_order():
    said = [one.example if place % 3 else "Surgery" for place, one in enumerate(INSTRUCTIONS)]
    found = followed(INSTRUCTIONS, said)
    assert found.tolist() == [float(place % 3 > 0) for place in range(60)]


def test_an_instruction_brings_its_own_system_prompt():
    """The task's own may forbid what is asked, such as all but a department's name."""
    turns = asked(INSTRUCTIONS[0])
    assert [turn["role"] for turn in turns] == ["system", "user"]
    assert turns[1]["content"] == INSTRUCTIONS[0].prompt
