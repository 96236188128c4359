"""A gateway over the double engine as a process of its own, for tests that stop or kill it. Takes HOME."""

import sys
from pathlib import Path

from gateway.__main__ import run
from gateway.http.app import create_app
from gateway.logs import log_json
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import gateway_config

if __name__ == "__main__":
    log_json()
    config = gateway_config(Path(sys.argv[1]), journal_commit_ms=20)
    sys.exit(run(create_app(config, DoubleEngine(), lambda adapter: Path()), config.gateway))
