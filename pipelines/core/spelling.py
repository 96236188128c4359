"""When two texts are one answer, however it was typed. What a conversation is known by is another matter."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

MOST_MARKS = 30  # on one letter, as in the Stream-Safe Text Format of Unicode's annex 15
_MAYBE_MANY = re.compile(r"(?:[^\w\s!-~]|[\uff9e\uff9f]){15}")  # each may be two marks; letters are none
_TOO_MANY = re.compile(rb"(?<=[^\0]{%d})[^\0]+" % MOST_MARKS)

RAISED = "¹²³\u2070-\u207f"  # superscripts
BESIDE = "¼½¾\u2150-\u215f\u2189\u2080-\u208e\u2460-\u249b"  # fractions, subscripts, numbers in a circle
_GLUED = re.compile(
    rf"(?<=\w)(?<![{RAISED}])(?=[{RAISED}])|(?<=\d)(?=[{BESIDE}])|(?<=[{RAISED}{BESIDE}])(?=\d)"
)

# Quotation marks, and what ends or parts a sentence in any script.
_MARKS = " .,;:!?\"'¿¡‽。、؟،؛۔।॥՜՝՞։፡።፣፤፥፦፧፨៖។៕၊။༎།׃܀܁܂᙮᠂᠃᠈᠉꓾꓿꘎꘏꡶꡷"
_KINDS = ("Ps", "Pe", "Pi", "Pf", "Cf")  # brackets, more quotation marks, and what nobody sees
_TAGS = "\U000e0000"  # from here on nobody sees them either, but they tell England's flag from Scotland's


def answer_form(text: str) -> str:
    """Equal for texts that differ only in case, spacing, Unicode form or outer punctuation, in any script.

    10² is not 102, and 3½ is not 31⁄2. Empty where a text is nothing but punctuation.
    """
    folded = normal_form("NFKC", normal_form("NFKC", numbers_apart(text)).casefold())
    joined = " ".join(folded.split())
    return joined.strip("".join(sign for sign in set(joined) if _is_outer(sign)))


def numbers_apart(text: str) -> str:
    """A space where a raised, lowered or broken number begins or ends at a digit, which NFKC would glue."""
    return text if text.isascii() else _GLUED.sub(" ", text)


def normal_form(form: Literal["NFC", "NFKC"], text: str) -> str:
    """A normal form of Unicode, in linear time. Of more than 30 marks on one letter the first 30 are kept."""
    if text.isascii() or not _MAYBE_MANY.search(text):
        return unicodedata.normalize(form, text)
    parts: Literal["NFD", "NFKD"] = "NFD" if form == "NFC" else "NFKD"
    whole = "".join(unicodedata.normalize(parts, sign) for sign in text)
    classes = bytes(map(unicodedata.combining, whole))  # 0 is no mark
    kept, start = [], 0
    for run in _TOO_MANY.finditer(classes):
        kept.append(whole[start : run.start()])
        start = run.end()
    return unicodedata.normalize(form, "".join([*kept, whole[start:]]))


def _is_outer(sign: str) -> bool:
    return sign in _MARKS or (unicodedata.category(sign) in _KINDS and sign < _TAGS)
