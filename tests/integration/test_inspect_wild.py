"""`nightshift inspect` on logs that nobody cleaned: it never fails, and what it says is what ingest does."""

import json
import unicodedata
from datetime import date

import pytest

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.runner import run_step
from pipelines.stores.runs import Run
from tests.support.wild_logs import LOGS


def _is_safe(text):
    return all(sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cf", "Zl", "Zp") for sign in text)


@pytest.mark.parametrize("name", LOGS)
def test_what_it_says_is_what_ingest_does(name, tmp_path, capsys):
    log, profile, home = tmp_path / name, tmp_path / "mine.toml", tmp_path / "home"
    log.write_bytes(LOGS[name])
    assert main(["inspect", str(log), "--json", "--write", str(profile)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(printed)
    assert _is_safe(printed)
    assert _is_safe(profile.read_text())
    assert main(["inspect", str(log)]) == 0
    assert _is_safe(capsys.readouterr().out)
    run_step("ingest", f"{home}/runs/{found['night']}", load_config(profile, home))
    facts = Run(f"{home}/runs/{found['night']}").manifest("ingest").facts
    assert (facts or {"kept": 0})["kept"] == found["kept"], found["hints"]
    assert date.fromisoformat(found["night"]).year in (1970, 2026) or "future" in " ".join(found["hints"])
