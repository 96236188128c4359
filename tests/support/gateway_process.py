"""A gateway over the double engine as a process of its own, for tests that stop or kill it.

Takes HOME, and as JSON what differs: `{"journal_url": ..., "gateway.port": ..., "delays": {"1": 0.5}}`.
"""

import json
import sys
from pathlib import Path

from gateway.__main__ import run
from gateway.http.app import create_app
from gateway.logs import log_json
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import gateway_config

if __name__ == "__main__":
    log_json()
    settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    engine = DoubleEngine()
    engine.delays = settings.pop("delays", {})
    top = {name: settings.pop(name) for name in ("journal_url", "ledger_url", "keys") if name in settings}
    config = gateway_config(Path(sys.argv[1]), journal_commit_ms=20, **settings).model_copy(update=top)
    sys.exit(run(create_app(config, engine, lambda adapter: Path()), config.gateway))
