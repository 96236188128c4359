"""Run the gateway: `python -m gateway --config config/demo.toml --home .nightshift`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from contextlib import suppress

# As in pipelines.__main__: before torch is loaded, its threads must not spin while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import uvicorn
from fastapi import FastAPI

from gateway.engines.base import Engine
from gateway.engines.openai import OpenAIEngine
from gateway.http.app import create_app
from gateway.logs import log_json
from gateway.serving.adapter_files import Folders
from gateway.tracing import tracing
from pipelines.core.config import Config, Gateway
from pipelines.core.errors import MachineError, NightshiftError
from pipelines.core.options import load, shared_options

log = logging.getLogger("nightshift.gateway")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Exit status: 0 stopped, 2 an error to act on."""
    args = _parser().parse_args(arguments)
    log_json()
    try:
        return serve(load(args))
    except NightshiftError as error:
        print(f"fault: {error}", file=sys.stderr)
        return 2


def serve(config: Config) -> int:
    """The configured engine, the registry's adapters, and the HTTP surface over them."""
    with tracing() as tracer:
        return run(create_app(config, make_engine(config), Folders(config), tracer), config.gateway)


def make_engine(config: Config) -> Engine:
    """The engine that `serving.engine` names; torch is loaded for the embedded one only."""
    if config.serving.engine == "openai":
        return OpenAIEngine(config.serving)
    from gateway.engines.embedded import EmbeddedEngine

    return EmbeddedEngine(config.serving, config.model, config.path(config.model.base))


def run(app: FastAPI, settings: Gateway) -> int:
    """Serve an app until told to stop; answers under way end first. Raises MachineError for a taken port."""
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=2048)
    except OSError as error:
        raise MachineError(
            f"a free port {settings.port} on {settings.host}",
            str(error),
            "Stop what uses it, or pass --set gateway.port=8001.",
        ) from error
    log.info("listening on http://%s:%d", *listener.getsockname()[:2])
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=settings.drain_s, lifespan="on"
        )
    )
    # uvicorn drains on SIGTERM and then sends it to the process again: to have stopped well is exit status 0.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve the adapter in production over an OpenAI-compatible API.",
        parents=[shared_options()],
    )


if __name__ == "__main__":
    sys.exit(main())
