"""vLLM's real server on this machine's CPU. `make test-vllm` installs it."""

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

VLLM = Path(__file__).resolve().parents[2] / ".venv-vllm" / "bin" / "python"
START_S = 240


@contextmanager
def vllm_server(folder, port):
    """vLLM's server, ready; yields its process."""
    # Not the command `vllm`, which asks for a package of that name: the CPU build has another.
    command = [VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", folder / "base"]
    command += ["--served-model-name", "base", "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "512", "--max-num-seqs", "8"]
    command += ["--enable-lora", "--max-lora-rank", "32", "--max-loras", "2", "--enforce-eager"]
    environment = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    log = (folder / "vllm.log").open("a")
    with subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, start_new_session=True
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, folder / "vllm.log")
            yield process
        finally:
            end(process)


def wait_for(address, process, log):
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(address, timeout=2, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"no server at {address}: {log.read_text()[-3000:]}")


def end(process):
    """The server and the engine's process that it started."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
    process.wait(20)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
