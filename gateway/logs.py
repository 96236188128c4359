"""Logs as one JSON object per line. `extra` takes identifiers and numbers, never a user's text."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

SHARED, LEAST = 12, 3  # characters that are a user's text; the shortest whole message that is looked for
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record with its `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def without_texts(words: str, texts: Iterable[str]) -> str:
    """Words of an engine for the log: what they repeat of users' texts (SHARED characters or more) is "…"."""
    known = "\0".join(texts)
    shared = [words[at : at + SHARED] in known for at in range(len(words) - SHARED + 1)]
    hidden = [any(shared[max(0, at - SHARED + 1) : at + 1]) for at in range(len(words))]
    plain = "".join("\0" if is_hidden else sign for sign, is_hidden in zip(words, hidden, strict=True))
    for text in known.split("\0"):
        if LEAST <= len(short := text.strip()) < SHARED:
            plain = plain.replace(short, "\0")
    return re.sub("\0+", "…", plain)


def log_json() -> None:
    """Log to stderr as JSON: Nightshift and uvicorn from INFO up, other libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("nightshift", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
