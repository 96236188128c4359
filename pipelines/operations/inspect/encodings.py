"""How the first words that are not UTF-8 read in the common encodings. A person sees which is right."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.data.reader.unpack import unpacked
from pipelines.operations.inspect.printable import printable

COMMON = ("windows-1252", "windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1255",
          "windows-1256", "shift_jis", "gb18030", "big5", "euc_kr")  # fmt: skip
HEAD_BYTES = 1 << 20
AROUND = 24  # bytes that are shown on each side
MOST = 4


def hint(file: Path) -> str:
    """A sentence with the readings, those of the fewest odd signs first."""
    with unpacked(file, file.name) as data:
        head = data.read(HEAD_BYTES)
    words = _first_odd(head)
    read = {name: text for name in COMMON if (text := _decoded(words, name)) is not None}
    best = sorted(read, key=lambda name: len(re.findall(r"[^\w\s.,;:!?\"'()-]", read[name])))[:MOST]
    shown = "; ".join(f"{printable(read[name])} ({name})" for name in best)
    first = best[0] if best else "windows-1252"
    return (
        "Rows that are not UTF-8 are refused. Choose the encoding in which these words are right, and "
        f"pass it, as in --encoding {first}: {shown or 'none of the common ones reads them'}."
    )


def _first_odd(head: bytes) -> bytes:
    """The words around the first bytes that are not UTF-8, in one line."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        start, end = max(0, error.start - AROUND), error.start + AROUND
        before, after = head[start : error.start], head[error.start : end]
        return before.rpartition(b"\n")[2] + after.partition(b"\n")[0]
    return b""


def _decoded(words: bytes, name: str) -> str | None:
    try:
        return " ".join(words.decode(name).split()) or None
    except UnicodeDecodeError:
        return None
