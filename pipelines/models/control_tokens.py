"""Tokens that a tokenizer reads by their name, such as <|im_end|>. In what people write they are plain text.

Only the chat template may write such a token. A text that holds a token's name is split like any other text:
otherwise a user could end the own turn and begin the system's.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from pipelines.core.errors import InputError

_WORDS = re.compile(r"[\w\s'-]*")  # an added token of words or of white space controls nothing
_PRIVATE = range(0xE000, 0xF8FF)  # characters that Unicode leaves for private use


class CannotRender(InputError):
    """The base model's chat template does not take a conversation."""


class ControlTokens:
    """One tokenizer's control tokens, and how to write text without them. Thread-safe."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
        specials = set(tokenizer.all_special_ids)
        self._numbers = {
            name: number
            for number, name in added.items()
            if name.strip() and (number in specials or not _WORDS.fullmatch(name))
        }
        # Some tokenizers write the token for unknown text themselves.
        unknown = {tokenizer.unk_token_id} - {tokenizer.eos_token_id}
        self._ids = frozenset({*self._numbers.values(), *specials} - unknown)
        self._written = re.compile(_any_of(self._numbers))
        self._begun = re.compile(rf"(?=({self._written.pattern}))(.)", re.DOTALL)

        # One that changes letters first may find names that are not written so.
        self._hides = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", True) is not None

    def first_in(self, texts: Iterable[str]) -> str | None:
        """The first name of a control token that the texts hold."""
        found = (self._written.search(text) for text in texts)
        return next((match.group() for match in found if match), None)

    def pieces(self, text: str) -> list[str]:
        """What stands between the control tokens of a text."""
        return self._written.split(text)

    def count(self, ids: Sequence[int]) -> int:
        """How many of the tokens are control tokens."""
        return sum(number in self._ids for number in ids)

    def are_all_written(self, ids: Sequence[int], text: str) -> bool:
        """Whether every control token among the tokens of a text stands in it by its name."""
        return not self._hides or self.count(ids) == sum(1 for _ in self._written.finditer(text))

    def broken(self, value: Any, mark: str) -> Any:
        """The value with `mark` inside every name of a control token in its texts."""
        if isinstance(value, str):
            return self._begun.sub(lambda match: match.group(2) + mark, value)
        if isinstance(value, dict):
            return {self.broken(key, mark): self.broken(inner, mark) for key, inner in value.items()}
        return [self.broken(inner, mark) for inner in value] if isinstance(value, list | tuple) else value

    def plain_ids(self, text: str, mark: str = "") -> list[int]:
        """The tokens of a text in which every name is plain text but, given a mark, those without it.

        Raises CannotRender where the tokenizer has no way to write them as plain text.
        """
        plain, numbers, names = self._plain
        if mark:
            text = self._written.sub(lambda match: names[match.group()], text).replace(mark, "")
        ids: list[int] = plain.encode(text, add_special_tokens=False).ids
        if any(number in self._ids and number not in numbers for number in ids):
            raise self._no_plain_text(self.first_in([text]))
        return [numbers.get(number, number) for number in ids]

    @cached_property
    def _plain(self) -> tuple[Tokenizer, dict[int, int], dict[str, str]]:
        """The tokenizer with other names for its control tokens, their numbers, and the names."""
        if not getattr(self._tokenizer, "is_fast", False):
            raise self._no_plain_text(None)
        secret = secrets.token_hex(16)  # nobody can write a name that nobody knows
        names = {name: f"<{secret}:{number}>" for name, number in self._numbers.items()}
        written = json.loads(self._tokenizer.backend_tokenizer.to_str())
        written |= {"post_processor": None, "truncation": None, "padding": None}
        for token in written["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        plain = Tokenizer.from_str(json.dumps(written))
        added = ((plain.token_to_id(token["content"]), token["id"]) for token in written["added_tokens"])
        numbers = {number: wanted for number, wanted in added if number is not None}
        return plain, numbers, names

    def _no_plain_text(self, name: str | None) -> CannotRender:
        return CannotRender(
            f"The base model's tokenizer cannot read the name of a control token ({name}) as plain text.",
            "Take it out of the text.",
        )


def unused_mark(texts: Iterable[str]) -> str:
    """A character for private use that none of the texts holds."""
    used = {letter for text in texts for letter in text}
    for number in _PRIVATE:
        if chr(number) not in used:
            return chr(number)
    raise CannotRender("A text holds every character for private use.", "Take them out of the text.")


def texts_in(value: Any) -> list[str]:
    """Every text of a value made of lists and objects."""
    if isinstance(value, str):
        return [value]
    inner = (
        [*value, *value.values()]
        if isinstance(value, dict)
        else value
        if isinstance(value, list | tuple)
        else ()
    )
    return [text for one in inner for text in texts_in(one)]


def _any_of(words: Iterable[str]) -> str:
    """A regular expression for the longest of the words, which looks at each letter once."""
    if not (rests := set(words)):
        return "(?!)"
    if rests == {""}:
        return ""
    after: dict[str, set[str]] = {}
    for word in sorted(rests - {""}):
        after.setdefault(word[0], set()).add(word[1:])
    branches = "|".join(re.escape(letter) + _any_of(more) for letter, more in after.items())
    return f"(?:{branches}){'?' if '' in rests else ''}"
