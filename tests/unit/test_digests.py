"""Digests are kept until a file changes, whichever way it changes."""

import os
import time

import fsspec
import pytest

from pipelines.core.files import sha256_of
from pipelines.data import digests
from pipelines.data.digests import FileDigests

LONG_AGO = time.time() - 1_000


@pytest.fixture
def read(monkeypatch):
    """The paths whose bytes were hashed."""
    seen = []
    honest = digests.sha256_at
    monkeypatch.setattr(digests, "sha256_at", lambda fs, path: (seen.append(path), honest(fs, path))[1])
    return seen


@pytest.fixture
def settled(monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_S", 0.0)


def test_a_file_is_hashed_once(tmp_path, read, settled):
    file = tmp_path / "a.parquet"
    file.write_text("one")
    for _ in range(3):
        kept = FileDigests(fsspec.filesystem("file"), tmp_path / "kept.json")
        assert kept.of([str(file)]) == {str(file): sha256_of(file)}
    assert read == [str(file)]


def test_a_change_that_hides_behind_size_and_time_is_seen(tmp_path, settled):
    file = tmp_path / "a.parquet"
    file.write_text("one")
    os.utime(file, (LONG_AGO, LONG_AGO))
    kept = FileDigests(fsspec.filesystem("file"), tmp_path / "kept.json")
    kept.of([str(file)])
    time.sleep(0.02)
    file.write_text("two")
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert kept.of([str(file)]) == {str(file): sha256_of(file)}


def test_a_file_of_this_moment_is_not_trusted(tmp_path, read):
    file = tmp_path / "a.parquet"
    file.write_text("one")
    kept = FileDigests(fsspec.filesystem("file"), tmp_path / "kept.json")
    kept.of([str(file)])
    kept.of([str(file)])
    assert len(read) == 2


def test_an_object_store_is_asked_what_changed(tmp_path, read):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/lake/a", b"one")
    kept = FileDigests(memory, tmp_path / "kept.json")
    assert kept.of(["/lake/a"]) == kept.of(["/lake/a"])
    memory.pipe_file("/lake/a", b"two")
    kept.of(["/lake/a"])
    assert len(read) == 2
