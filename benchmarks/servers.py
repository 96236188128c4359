"""Servers that benchmarks start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parent.parent
START_S = 120.0


@contextmanager
def process(command: list[str], port: int, more: dict[str, str] | None = None) -> Iterator[str]:
    """A server in its own process; yields its address once it is ready."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as output:
        environment = os.environ | (more or {})
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            asyncio.run(ready(url, started))
            yield url
        except Exception:
            output.seek(0)
            print(output.read()[-3000:].decode(), file=sys.stderr)
            raise
        finally:
            started.terminate()
            started.wait(30)


async def ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    async with aiohttp.ClientSession() as session:
        while True:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server did not start"
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status != 503:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
