"""Copies on this machine: fetched once by many, and never removed under somebody who uses them."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipelines.core.cache import GIB, OUTPUTS, cached, trim_cache

USES = """
import sys, time
from pathlib import Path
from pipelines.core.cache import cached
cached(Path(sys.argv[1]), "key", lambda entry: (entry / "x").write_text("x" * 1000), lambda entry: True)
print("uses it", flush=True)
time.sleep(60)
"""
FETCHES = """
import sys, time
from pathlib import Path
from pipelines.core.cache import cached
def fetch(entry):
    (entry / "x").write_text("half")
    print("fetches it", flush=True)
    time.sleep(60)
cached(Path(sys.argv[1]), "key", fetch, lambda entry: True)
"""


def write(entry):
    (entry / "x").write_text("whole")


def is_whole(entry):
    return (entry / "x").read_text() == "whole"


def test_many_threads_fetch_once(tmp_path):
    calls = []

    def fetch(entry):
        calls.append(entry)
        time.sleep(0.1)
        write(entry)

    threads = [threading.Thread(target=cached, args=(tmp_path, "key", fetch, is_whole)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["base", OUTPUTS])
def test_what_another_process_uses_is_not_removed(tmp_path, kind):
    entry = tmp_path / "cache" / kind / "key"
    with subprocess.Popen([sys.executable, "-c", USES, entry.parent], stdout=subprocess.PIPE) as user:
        assert user.stdout.readline() == b"uses it\n"
        os.utime(entry, (0, 0))
        assert trim_cache(tmp_path, 1 / GIB) == []
        user.kill()
    assert trim_cache(tmp_path, 1 / GIB) == [entry]
    assert not entry.exists()


def test_unused_outputs_go_though_there_is_room(tmp_path):
    for kind in ("base", OUTPUTS):
        entry = tmp_path / "cache" / kind / "key"
        entry.mkdir(parents=True)
        os.utime(entry, (0, 0))
    assert trim_cache(tmp_path, 1) == [tmp_path / "cache" / OUTPUTS / "key"]


def test_a_fetch_that_was_killed_is_begun_again(tmp_path):
    with subprocess.Popen([sys.executable, "-c", FETCHES, tmp_path], stdout=subprocess.PIPE) as killed:
        assert killed.stdout.readline() == b"fetches it\n"
        assert not (tmp_path / "key").exists()
        killed.send_signal(signal.SIGKILL)
    assert is_whole(cached(tmp_path, "key", write, is_whole))


def test_what_comes_wrong_is_not_kept(tmp_path):
    def wrong(entry):
        write(entry)
        raise ValueError("not what was asked for")

    with pytest.raises(ValueError, match="not what was asked for"):
        cached(tmp_path, "key", wrong, is_whole)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
