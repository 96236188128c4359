"""Checks of one answer: does it follow an instruction about its form? Pure, and the same in every language.

The manner is IFEval's (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models"), and
its strict reading: the answer is taken as it is. A greeting before it, or Markdown around it, breaks a form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import regex

from pipelines.core.json_texts import NotJson, json_of
from pipelines.core.spelling import normal_form
from pipelines.data.languages import language_of
from pipelines.evaluation.scorers.words import words as words_of

Check = Callable[[str], bool]
MOST_CHARACTERS = 20_000  # no answer of a bounded number of tokens is longer; the rest is not read
_JOINED = regex.compile(r"(?<=\w)['’-](?=\w)")  # within one word, as in "don't"
_END = r"[.!?…。！？][\"'”»)]*"  # of a sentence
_PAUSE = regex.compile(rf"(?<={_END})\s+|(?<=[。！？])(?=\w)")
_ITEM = regex.compile(r"\s*([-+*•‣◦▪●○·–]\s+\S|\d+[.)])")  # of a list, whatever begins it
_EDGE = r"(?!(?<=[\w\p{M}])[\w\p{M}])"  # not inside a word
_QUOTED = regex.compile(r'"[^"]*"|“[^“”]*”|„[^„“”]*[“”]|«[^«»]*»')


def tidy(answer: str) -> str:
    """The text that checks read: composed letters, and no space around it."""
    return normal_form("NFC", answer[:MOST_CHARACTERS]).strip()


def says(*texts: str) -> Check:
    """The answer is one of these texts, letter by letter; a full stop at its end does not count."""
    return lambda answer: answer.removesuffix(".") in texts


def repeats(text: str) -> Check:
    """The answer is this text, to the last letter and mark."""
    return lambda answer: answer == text


def mentions(*named: str) -> Check:
    """One of the words is in it, in any case."""
    wanted = {word for name in named for word in words_of(name)}
    return lambda answer: not wanted.isdisjoint(words_of(answer))


def words(least: int = 1, most: int = 10**9) -> Check:
    """It has so many words. Where a script has no spaces between words, each character counts."""
    return lambda answer: least <= len(_words(answer)) <= most


def characters(least: int, most: int) -> Check:
    return lambda answer: least <= len(answer) <= most


def sentences(count: int) -> Check:
    """It has so many sentences, each with a mark at its end."""

    def check(answer: str) -> bool:
        found = _PAUSE.split(answer)
        return len(found) == count and all(words_of(one) and regex.search(_END + "$", one) for one in found)

    return check


def lines(count: int) -> Check:
    """It has so many lines that are not blank."""
    return lambda answer: len(_lines(answer)) == count


def paragraphs(count: int) -> Check:
    """It has so many blocks with one blank line between two of them."""

    def check(answer: str) -> bool:
        blank = len([line for line in answer.splitlines() if not line.strip()])
        return len(regex.split(r"\n\s*\n", answer)) == count == blank + 1

    return check


def bullets(count: int) -> Check:
    """So many lines, and each begins with '- ' and says something."""
    return lambda answer: (
        len(_lines(answer)) == count and all(regex.match(r"- +\S", line) for line in _lines(answer))
    )


def numbered(count: int) -> Check:
    """So many lines, numbered 1., 2. and so on."""

    def check(answer: str) -> bool:
        starts = [regex.match(r"\s*(\d{1,4})\.\s*\S", line) for line in _lines(answer)]
        return [int(start[1]) for start in starts if start] == list(range(1, count + 1)) and all(starts)

    return check


def no_list(answer: str) -> bool:
    """No line is a bullet point or numbered."""
    return not any(_ITEM.match(line) for line in _lines(answer))


def no_numbers(answer: str) -> bool:
    """No digit is in it."""
    return not regex.search(r"\p{N}", answer)


def comma_list(count: int) -> Check:
    """One line with so many parts of at most four words, and commas between them."""

    def check(answer: str) -> bool:
        parts = answer.removesuffix(".").split(",")
        return len(parts) == count and "\n" not in answer and all(1 <= len(_words(p)) <= 4 for p in parts)

    return check


def upper(answer: str) -> bool:
    """It has letters with case, and each is a capital."""
    return answer.isupper()


def lower(answer: str) -> bool:
    """It has letters with case, and none is a capital."""
    return answer.islower()


def without(text: str) -> Check:
    """It does not hold this letter or mark, in either case."""
    return lambda answer: text.casefold() not in answer.casefold()


def times(word: str, count: int) -> Check:
    """The word occurs so often, in any case."""
    (wanted,) = words_of(word)
    return lambda answer: _words(answer).count(wanted) == count


def begins_with(text: str) -> Check:
    """It begins with these words, not with a part of a longer one."""
    wanted = regex.compile(regex.escape(text) + _EDGE)
    return lambda answer: wanted.match(answer) is not None


def ends_with(text: str) -> Check:
    """The same for its end."""
    wanted = regex.compile(_EDGE + regex.escape(text) + r"\Z")
    return lambda answer: wanted.search(answer) is not None


def last_word(word: str) -> Check:
    return lambda answer: _words(answer)[-1:] == _words(word)


def each_word_begins_with(letter: str) -> Check:
    return lambda answer: all(word.startswith(letter.casefold()) for word in _words(answer))


def quoted(answer: str) -> bool:
    """All of it stands in one pair of double quotation marks."""
    return _QUOTED.fullmatch(answer) is not None


def in_brackets(answer: str) -> bool:
    """All of it stands in double angle brackets."""
    return regex.fullmatch(r"<<[^<>\n]*\w[^<>\n]*>>", answer) is not None


def json_keys(*keys: str) -> Check:
    """It is a JSON object with just these keys, each with a value, and nothing else."""

    def check(answer: str) -> bool:
        value = _json(answer)
        return isinstance(value, dict) and value.keys() == set(keys) and None not in value.values()

    return check


def json_texts(count: int) -> Check:
    """It is a JSON list of so many texts, and nothing else."""

    def check(answer: str) -> bool:
        value = _json(answer)
        return (
            isinstance(value, list) and len(value) == count and all(isinstance(v, str) and v for v in value)
        )

    return check


def language(code: str) -> Check:
    """It is written in this language, as far as four words or more can tell."""
    return lambda answer: len(_words(answer)) >= 4 and language_of(answer) == code


def _words(text: str) -> list[str]:
    return words_of(_JOINED.sub("", text))


def _lines(answer: str) -> list[str]:
    return [line for line in answer.splitlines() if line.strip()]


def _json(answer: str) -> Any:
    """The value, None where the text is no JSON."""
    try:
        return json_of(answer)
    except NotJson:
        return None
