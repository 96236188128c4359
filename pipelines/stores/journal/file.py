"""The journal as an SQLite file. The tables of older versions stay as they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

SETUP = """
    CREATE TABLE IF NOT EXISTS interactions (
        request_id TEXT PRIMARY KEY, parent TEXT, ts TEXT NOT NULL, tenant TEXT NOT NULL,
        subject_id TEXT NOT NULL, messages TEXT NOT NULL, completion TEXT NOT NULL, adapter TEXT NOT NULL,
        digest TEXT NOT NULL, route TEXT NOT NULL, locale TEXT NOT NULL, channel TEXT NOT NULL,
        tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, latency_ms REAL NOT NULL,
        first_token_ms REAL, opt_out INTEGER NOT NULL, fault TEXT NOT NULL, refused INTEGER NOT NULL,
        cached INTEGER NOT NULL, fallback INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS interactions_ts ON interactions (ts);
    CREATE TABLE IF NOT EXISTS feedback (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, request_id TEXT NOT NULL,
        rating INTEGER, correction TEXT);
    CREATE INDEX IF NOT EXISTS feedback_request ON feedback (request_id);
    CREATE TABLE IF NOT EXISTS delivered (
        night TEXT NOT NULL, request_id TEXT NOT NULL, feedback_seq INTEGER NOT NULL,
        PRIMARY KEY (night, request_id));
    CREATE INDEX IF NOT EXISTS delivered_request ON delivered (request_id);
    CREATE TABLE IF NOT EXISTS shadow_copies (
        source TEXT NOT NULL, promotion INTEGER NOT NULL, offered INTEGER NOT NULL,
        answered INTEGER NOT NULL, failed INTEGER NOT NULL, dropped INTEGER NOT NULL,
        PRIMARY KEY (source, promotion));
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a journal for writing; the file is created if needed. A commit returns once it is on disk."""
    return connect_to_file(path, SETUP)


def connect_to_file(path: Path, setup: str) -> sqlite3.Connection:
    """Open an SQLite file for writing, with its tables."""
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(setup)
    return connection
