"""Whether an answer gives the right number, however its language writes numbers."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from pipelines.core.spelling import BESIDE, RAISED
from pipelines.evaluation.scorers.texts import normalised

_GROUPING = " \u00a0\u2009\u202f'’٬_"  # between digits these never begin a fraction
_FRACTIONS = "¼½¾\u2150-\u215e\u2189"
# What makes another number of the digits before it: a power, an index, a base, an exponent beyond all bounds.
_GLUED = (
    rf"(?P<glued>(?:[{RAISED}{BESIDE}]|\^[({{]*[-−+]?\w|_[^\W_]|(?<=\b0)[xXbBoO][\da-fA-F]|[eE][-+]?\d)\w*)?"
)
_NUMBER = re.compile(
    r"(?P<number>(?:(?<![\w)])[-−])?(?<![A-Za-z\d])(?<![^\W_]_)(?<!\d[.,])"
    rf"(?:\d{{1,3}}(?:[{_GROUPING}]\d{{3}})+(?!\d)(?:[.,٫]\d+)?|\d*[{_FRACTIONS}]|\d+(?:[.,٫]\d+)*"
    rf"|(?<![\w.])\.\d+)(?:[eE][-+]?\d{{1,3}}(?!\d))?){_GLUED}"
)
_FULL_WIDTH = str.maketrans("，．－＋", ",.-+")
# 50 digits, any size, and no exceptions: what is not a number compares as unequal.
_CONTEXT = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


def numeric_rule(tolerance: float) -> Callable[[str, str], float]:
    """A rule that gives 1 where the last number of both texts agrees. Units and percent signs do not count.

    `tolerance` is relative to the larger of the two. Where the reference has no number, the texts are
    compared as `normalised` does.
    """
    share = Decimal(tolerance)

    def numeric(answer: str, reference: str) -> float:
        wanted = last_number(reference)
        if not wanted:
            return normalised(answer, reference)
        found = last_number(answer)
        return float(any(_close(one, other, share) for one in found for other in wanted))

    return numeric


def last_number(text: str) -> set[Decimal]:
    """What the last number of a text may be; empty without one, or where it is a power such as 10².

    A lone separator before three digits, as in 1.234, may part thousands or begin a fraction: both are meant.
    """
    written = deque(_NUMBER.finditer(text.translate(_FULL_WIDTH)), maxlen=1)
    return _readings(written[0]["number"]) if written and not written[0]["glued"] else set()


def _readings(written: str) -> set[Decimal]:
    digits = "".join(map(_ascii, written)).replace("−", "-")
    mantissa, _, exponent = digits.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    bare = mantissa.removeprefix("-")
    return {Decimal(f"{sign}{one}e{exponent or 0}") for one in _plain(bare)}


def _ascii(sign: str) -> str:
    """A digit of any script as ASCII has it, and ½ as the Arabic ٫5, which can only begin a fraction."""
    if sign.isnumeric() and not sign.isdecimal():
        return str(unicodedata.numeric(sign)).replace("0.", "٫")
    return str(unicodedata.decimal(sign, sign))


def _plain(written: str) -> set[str]:
    """The ways to write a number without grouping and with a point."""
    ungrouped = written.translate(dict.fromkeys(map(ord, _GROUPING)))
    if ungrouped != written or "٫" in written:  # what is left is where the fraction begins
        return {re.sub(r"[,٫]", ".", ungrouped)}
    pieces, signs = re.split(r"[.,]", written), re.findall(r"[.,]", written)
    if len(set(signs)) == 2 and signs.count(signs[-1]) == 1:  # 1,234.5 and 1.234,5
        return {"".join(pieces[:-1]) + "." + pieces[-1]}
    if len(signs) > 1:  # 1,234,567 and 12,34,567; else a date or a version, of which the last part counts
        grouped = len(pieces[-1]) == 3 and all(len(piece) in (2, 3) for piece in pieces[1:-1])
        return {"".join(pieces) if grouped else pieces[-1]}
    fraction = ".".join(pieces)
    may_group = len(signs) == 1 and len(pieces[1]) == 3 and re.fullmatch(r"[1-9]\d{0,2}", pieces[0])
    return {fraction, "".join(pieces)} if may_group else {fraction}


def _close(one: Decimal, other: Decimal, share: Decimal) -> bool:
    if one == other:
        return True
    largest = max(abs(one), abs(other))
    difference = _CONTEXT.abs(_CONTEXT.subtract(one, other))
    return bool(_CONTEXT.compare(difference, _CONTEXT.multiply(share, largest)) <= 0)
