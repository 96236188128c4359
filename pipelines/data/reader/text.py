"""Bytes as text. A line ends at `\\n` and nowhere else: a text may hold U+2028, U+0085 or a lone `\\r`.

What is not valid in the encoding becomes lone surrogates, which no valid text has; `mended` finds them.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import IO, Any

BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
MAX_LINE = 1 << 25  # characters; a longer line is skipped; a prompt of ten megabytes is still read
NOT_UTF8 = "not UTF-8"
LONE_SURROGATE = "a lone surrogate, which is no character"
SURROGATES = re.compile("[\ud800-\udfff]")


def encoding_of(head: bytes) -> str:
    """The encoding that the first bytes show: by a byte order mark, or by the zero bytes of UTF-16."""
    marked = next((name for bom, name in BOMS.items() if head.startswith(bom)), None)
    if marked:
        return marked
    pairs = len(head) // 2
    even, odd = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if pairs >= 2 and max(even, odd) > 0.4 * pairs and min(even, odd) < 0.1 * pairs:
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def as_text(data: IO[bytes], otherwise: str = "") -> io.TextIOWrapper:
    """The bytes as a stream of lines. They are in `otherwise` where no mark and no zero byte says more.

    Reading raises UnicodeDecodeError for bytes that `otherwise` does not have.
    """
    buffered: Any = data if hasattr(data, "peek") else io.BufferedReader(data)
    encoding = encoding_of(buffered.peek(4_096)[:4_096])
    if otherwise and encoding == "utf-8":
        return io.TextIOWrapper(buffered, encoding=otherwise, errors="strict", newline="\n")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "nightshift.surrogate"
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="\n")


def is_sound(text: str) -> bool:
    """Whether a text holds no lone surrogate: neither broken bytes nor an escape such as \\ud800."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def mended(value: Any) -> Any:
    """The value with U+FFFD in place of lone surrogates, in every text that it holds."""
    match value:
        case str():
            return value if is_sound(value) else SURROGATES.sub("\ufffd", value)
        case list():
            return [mended(one) for one in value]
        case dict():
            return {mended(key): mended(one) for key, one in value.items()}
    return value


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Of what cannot be decoded, a lone surrogate is left."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udc80", error.end


codecs.register_error("nightshift.surrogate", _mark)
