"""Hypothesis strategies for logs: likely rows, odd rows, any bytes."""

import json

from hypothesis import strategies as st

from tests.support.logs import as_csv, as_jsonl

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORDS = st.sampled_from(["None", "NULL", "", " ", '"', ",", "a\nb", "\u2028", "\x85", "\r", "first"]) | TEXT
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": WORDS}),
    max_size=3,
)
LIKELY = st.fixed_dictionaries(
    {"messages": TURNS, "completion": st.none() | WORDS},
    optional={
        "request_id": st.none() | st.sampled_from(["r-1", "r-2"]) | TEXT,
        "ts": st.none() | st.datetimes().map(str) | st.integers(1767400000, 1767500000).map(str),
        "tenant": st.none() | TEXT,
        "rating": st.none() | st.integers(-2, 2),
        "correction": st.none() | WORDS,
        "tokens_in": st.none() | st.integers(-5, 2**33),
        "latency_ms": st.none() | st.floats(allow_nan=True, allow_infinity=False),
        "opt_out": st.none() | st.booleans(),
        "conversation_id": st.none() | TEXT,
    },
)
ROWS = st.lists(LIKELY, min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["request_id", "ts", "messages", "completion", "rating", "opt_out", "tools", "prompt", "feedback_ts", "x"]
)
ODD = st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=5)


def whole(rows):
    """Rows that all have the same keys, as a table does."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


HEADS = [b"", b"messages,completion\n", b'{"messages": [', b"[", b"PAR1", b"\x1f\x8b\x08", b"BZh9",
         b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xef\xbb\xbf", b"a;b\n\""]  # fmt: skip
BYTES = st.builds(lambda head, rest: head + rest, st.sampled_from(HEADS), st.binary(max_size=200))
MIXED = st.lists(
    BYTES | ROWS.map(as_jsonl) | ROWS.map(lambda rows: as_csv(whole(rows))) | ODD.map(lines_of),
    min_size=1,
    max_size=3,
)
