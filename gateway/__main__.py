"""Run the gateway: `python -m gateway --config config/demo.toml --home .nightshift`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial

# As in pipelines.__main__: set before torch is imported, so that its idle threads do not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import uvicorn
from fastapi import FastAPI

from gateway.engines.base import ServingEngine
from gateway.engines.openai import OpenAIEngine
from gateway.http.app import create_app
from gateway.http.connections import Connections
from gateway.http.protocol import GuardedProtocol
from gateway.logs import log_json
from gateway.serving.adapter_files import AdapterFiles
from gateway.tracing import tracing
from pipelines.core.config import Config, Gateway
from pipelines.core.config.options import load, shared_options
from pipelines.core.errors import MachineError, NightshiftError
from pipelines.core.home import using_home

log = logging.getLogger("nightshift.gateway")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Exit status: 0 stopped by a signal, 2 an error to act on."""
    args = _parser().parse_args(arguments)
    log_json()
    try:
        config = load(args)
        with using_home(config.home, config.retention.cache_gib):
            return serve(config)
    except NightshiftError as error:
        print(f"fault: {error}", file=sys.stderr)
        return 2


def serve(config: Config) -> int:
    """Serve with the engine and the registry that the configuration names."""
    with tracing() as tracer:
        files = AdapterFiles(config)
        app = create_app(config, make_engine(config), files.fetch, tracer, files.probes)
        return run(app, config.gateway)


def make_engine(config: Config) -> ServingEngine:
    """The engine that `serving.engine` names. Only the embedded one imports torch."""
    if config.serving.engine == "openai":
        return OpenAIEngine(config.serving, config.task.system_prompt)
    from gateway.engines.embedded import EmbeddedEngine
    from pipelines.models.base import base_folder

    base, system_prompt = str(base_folder(config)), config.task.system_prompt
    return EmbeddedEngine(config.serving, config.model, base, system_prompt)


def run(app: FastAPI, settings: Gateway) -> int:
    """Serve an app until a signal stops it; answers under way end first.

    Raises MachineError if the port is taken.
    """
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=2048)
    except OSError as error:
        raise MachineError(
            f"Port {settings.port} on {settings.host} cannot be used: {error}.",
            "Stop the program that uses it, or pass --set gateway.port=8001.",
        ) from error
    log.info("listening on http://%s:%d", *listener.getsockname()[:2])
    app.state.port = listener.getsockname()[1]
    server = uvicorn.Server(server_config(app, settings))
    # After draining, uvicorn sends SIGTERM to the process again. Ignored, so that the exit status is 0.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0


def server_config(app: FastAPI, settings: Gateway) -> uvicorn.Config:
    """How uvicorn serves an app: with the limits of `Connections`, and without WebSockets and HTTP/2."""
    app.state.connections = Connections(settings)
    return uvicorn.Config(
        app,
        http=partial(GuardedProtocol, app.state.connections),  # type: ignore[arg-type]  # it only calls it
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.drain_s,
        lifespan="on",
    )


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve the adapter in production over an OpenAI-compatible API.",
        parents=[shared_options()],
    )


if __name__ == "__main__":
    sys.exit(main())
