"""`verify` finds a history that was written again, with a chain of its own that holds."""

import pytest

from pipelines.core.config import load_config
from pipelines.core.contract import canonical_json
from pipelines.operations.verify import verify
from pipelines.stores import open_ledger
from pipelines.stores.signer import open_signer
from tests.unit.test_ledger import cost, document


@pytest.fixture
def config(home):
    return load_config("config/demo.toml", home)


def written(config, cpu_seconds, decision=None):
    """A ledger with what a night cost and what it decided; returns the signed decision."""
    ledger = open_ledger(config)
    ledger.add_cost(cost(cpu_seconds=cpu_seconds))
    if decision is None:
        signed = {**document(), "evidence": {}, "ledger_head": ledger.head()}
        decision = signed, open_signer(config).sign(canonical_json(signed))
    ledger.add_decision(*decision)
    return decision


def test_the_true_history_verifies(config, home, capsys):
    written(config, 3600.0)
    (home / "runs/2026-01-01").mkdir(parents=True)
    assert verify(config) == 0, capsys.readouterr().out


def test_a_history_that_was_written_again_is_seen(config, home, capsys):
    """Whoever owns the database can make a chain that holds, but no decision that is signed for it."""
    decision = written(config, 3600.0)
    (home / "runs/2026-01-01").mkdir(parents=True)
    for path in home.glob("ledger.db*"):
        path.unlink()
    written(config, 1.0, decision)
    assert verify(config) == 2
    told = capsys.readouterr().out
    assert "decision 2026-01-01: the ledger has other rows now than when it was signed" in told
    assert "1 problems" in told
