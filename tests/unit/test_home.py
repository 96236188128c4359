"""A home is for its owner only, and temporary files do not outlive their process."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pipelines.core.cache import GIB, trim_cache
from pipelines.core.home import cache_folder, using_home

STAYS = """
import sys, tempfile, time
from pipelines.core.home import using_home
with using_home(sys.argv[1], 1):
    print(tempfile.mkdtemp(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def old_home(tmp_path):
    """A home as an older version left it: every local user can read it."""
    mask = os.umask(0o022)
    home = tmp_path / "home"
    (home / "runs" / "2026-01-01").mkdir(parents=True)
    for name in ("ledger.db", "journal.db", "runs/2026-01-01/train.jsonl"):
        (home / name).write_text("x")
        (home / name).chmod(0o644)
    (home / "link").symlink_to(tmp_path)
    yield home
    os.umask(mask)


def modes(home):
    return {p.stat().st_mode & 0o777 for p in (home, *home.rglob("*")) if not p.is_symlink()}


def test_an_open_home_is_closed_and_said(old_home, tmp_path, caplog):
    before = tmp_path.stat().st_mode
    with using_home(old_home, 1):
        (old_home / "new").write_text("x")
        assert modes(old_home) == {0o700, 0o600}
    assert "could be read by other users" in caplog.text
    assert tmp_path.stat().st_mode == before, "links are not followed"


def test_a_folder_that_is_no_home_stays_as_it_is(tmp_path):
    mask = os.umask(0o022)
    tmp_path.chmod(0o755)
    with using_home(tmp_path, 1):
        pass
    os.umask(mask)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_lie_in_the_home_until_the_end(old_home):
    before = tempfile.gettempdir()
    with using_home(old_home, 1):
        made = Path(tempfile.mkdtemp())
        assert old_home in made.parents
    assert not made.exists()
    assert tempfile.gettempdir() == before


def test_a_killed_process_is_cleaned_up_at_the_next_start(old_home):
    with subprocess.Popen(
        [sys.executable, "-c", STAYS, old_home], stdout=subprocess.PIPE, text=True
    ) as other:
        left = Path(other.stdout.readline().strip())
        with using_home(old_home, 1):
            assert left.exists(), "its process lives"
        other.send_signal(signal.SIGKILL)
    assert left.exists()
    with using_home(old_home, 1):
        assert not left.exists()


def test_the_cache_keeps_to_its_size(old_home):
    copies = cache_folder(old_home, "models")
    now = time.time()
    for name, age_d in (("old", 9), ("older", 12), ("new", 0)):
        (copies / name).write_bytes(b"x" * 1000)
        os.utime(copies / name, (now, now - age_d * 86_400))
    assert [p.name for p in trim_cache(old_home, 2000 / GIB)] == ["older"]
    assert [p.name for p in trim_cache(old_home, 1 / GIB)] == ["old"], "what was used today stays"
