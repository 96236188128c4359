"""Fixtures that every test may use. No test reaches outside this machine."""

import os
from contextlib import suppress

import pytest

with suppress(ImportError):  # the control environment has none
    # Before Feast, which at its import lets all metrics of a process count in shared files.
    import prometheus_client  # noqa: F401

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in pipelines.__main__

# Files that take minutes. They begin first, so that no core waits for one of them at the end.
LONG = ("test_hands_free.py", "test_kill.py", "test_airflow_night.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture
def home(tmp_path):
    """An empty state folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
