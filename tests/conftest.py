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


@pytest.fixture
def home(tmp_path):
    """An empty state folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
