"""Tables that a long test prints at its end."""

from __future__ import annotations

import pytest


def show(request: pytest.FixtureRequest, table: str) -> None:
    """Print a table, whatever pytest captures."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture
    with capture.global_and_fixture_disabled():
        print(f"\n{table}")
