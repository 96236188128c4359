"""The latency that the gateway adds to its engine, beside LiteLLM's proxy on the same stub. Prints tables.

python -m benchmarks.gateway [--rates 20 100] [--seconds 20] [--litellm FOLDER]

The client sends requests at a fixed rate, however slow the answers are. FOLDER is an environment for LiteLLM
(.venv-litellm); it is made with uv if it does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.machine import describe
from benchmarks.servers import ROOT, free_port, process
from benchmarks.stub_engine import WORK_S, StubEngine
from gateway.__main__ import run
from gateway.dev_token import make_token, private_key
from gateway.engines.base import CompletionRequest
from gateway.engines.openai import OpenAIEngine
from gateway.http.app import create_app
from gateway.logs import log_json
from pipelines.core.config import Config, load_config
from tests.support.journal import journal_rows

TARGET = "target: p50 under 3 ms and p99 under 10 ms over the engine, and less than LiteLLM"
LITELLM_KEY = "sk-benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=[20, 100], help="requests a second (20 100)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (20)")
    parser.add_argument("--litellm", type=Path, default=ROOT / ".venv-litellm")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "STUB"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        _serve(int(args.serve[0]), args.serve[1])
        return
    print(f"{describe()}; {args.seconds:.0f} s each, stub works {WORK_S * 1000:.0f} ms")
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        home = Path(folder)
        os.environ["BENCH_HOME"] = folder
        for rate in args.rates:
            _embedded(home, rate, args.seconds)
            _remote(home, rate, args.seconds, args.litellm)
    print(TARGET)


def _embedded(home: Path, rate: int, seconds: float) -> None:
    """The engine in the gateway's process, as on one machine."""
    direct = asyncio.run(_inprocess(rate, seconds))
    with _gateway("embedded") as url:
        through = asyncio.run(_load(url, _token(home), rate, seconds))
    _table(f"in the process, {rate}/s", {"direct": direct, "gateway": through})
    print(f"rows in the journal: {len(journal_rows(home))}\n")


def _remote(home: Path, rate: int, seconds: float, litellm: Path) -> None:
    """The engine behind HTTP, as vLLM is: through the gateway and through LiteLLM."""
    stub_port = free_port()
    with process([sys.executable, "-m", "benchmarks.stub_engine", str(stub_port)], stub_port) as stub:
        results = {"direct": asyncio.run(_load(stub, "", rate, seconds))}
        with _gateway(stub) as url:
            results["gateway"] = asyncio.run(_load(url, _token(home), rate, seconds))
        if _litellm_there(litellm):
            for workers in (1, 2):
                with _litellm(litellm, stub, home, workers) as url:
                    name = f"LiteLLM, {workers} workers"
                    results[name] = asyncio.run(_load(url, LITELLM_KEY, rate, seconds))
        results["direct, again"] = asyncio.run(_load(stub, "", rate, seconds))
    _table(f"behind HTTP, {rate}/s", results)


async def _load(url: str, token: str, rate: int, seconds: float) -> np.ndarray:
    """Milliseconds of each answer; asked at fixed times, so that a slow answer delays no other request."""
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(number: int) -> float:
            messages = [{"role": "user", "content": f"Which department treats case {number}?"}]
            body = {
                "model": "department-router",
                "messages": messages,
                "max_tokens": 6,
                "user": f"p-{number}",
            }
            started = time.perf_counter()
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                text = await response.text()
                assert response.status == 200, text
            return (time.perf_counter() - started) * 1000

        await asyncio.gather(*(ask(-number) for number in range(1, 21)))  # connections and caches
        return await _paced(ask, rate, seconds)


async def _inprocess(rate: int, seconds: float) -> np.ndarray:
    engine, request = StubEngine(), CompletionRequest([{"role": "user", "content": "Which department?"}])

    async def ask(number: int) -> float:
        started = time.perf_counter()
        async for _ in engine.complete(request, None):
            pass
        return (time.perf_counter() - started) * 1000

    return await _paced(ask, rate, seconds)


async def _paced(ask, rate: int, seconds: float) -> np.ndarray:  # type: ignore[no-untyped-def]
    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        tasks.append(asyncio.create_task(ask(number)))
    return np.array(await asyncio.gather(*tasks))


def _table(title: str, results: dict[str, np.ndarray]) -> None:
    print(f"\n{title:<24}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'over direct p50':>18}{'p99':>9}")
    base = np.percentile(results["direct"], (50, 99))
    for name, values in results.items():
        p50, p99 = np.percentile(values, (50, 99))
        over = f"{p50 - base[0]:>18.2f}{p99 - base[1]:>9.2f}" if name != "direct" else ""
        print(f"{name:<24}{p50:>9.2f}{p99:>9.2f}{values.max():>9.2f}{over}")


def _serve(port: int, stub: str) -> None:
    """A gateway process: `stub` is "embedded" or the stub server's address."""
    log_json()
    config = _config(Path(os.environ["BENCH_HOME"]), port)
    serving = config.serving.model_copy(update={"url": stub, "served_base": "stub"})
    engine = StubEngine() if stub == "embedded" else OpenAIEngine(serving)
    run(create_app(config, engine, lambda adapter: Path()), config.gateway)


def _config(home: Path, port: int = 0) -> Config:
    limits = {"requests_per_minute": 1_000_000, "tokens_per_day": 1_000_000_000}
    overrides = {"gateway.port": port, "gateway.limits": limits, "gateway.cache_entries": 0}
    return load_config(ROOT / "config" / "demo.toml", home, overrides)


def _token(home: Path) -> str:
    config = _config(home)
    return make_token(
        config, private_key(home / "gateway" / "dev"), "north-clinic", "model:*", 1, "bench", True
    )


@contextmanager
def _gateway(stub: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway", "--serve", str(port), stub]
    with process(command, port) as url:
        yield url


@contextmanager
def _litellm(folder: Path, stub: str, home: Path, workers: int) -> Iterator[str]:
    port, file = free_port(), home / "litellm.yaml"
    file.write_text(
        "model_list:\n- model_name: department-router\n  litellm_params:\n    model: openai/stub\n"
        f"    api_base: {stub}/v1\n    api_key: none\ngeneral_settings:\n  master_key: {LITELLM_KEY}\n"
        "litellm_settings:\n  telemetry: false\n"
    )
    command = [str(folder / "bin" / "litellm"), "--config", str(file), "--port", str(port)]
    # As its documentation advises for production. The gateway has one worker.
    advised = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command += ["--host", "127.0.0.1", "--num_workers", str(workers)]
    with process(command, port, advised) as url:
        yield url


def _litellm_there(folder: Path) -> bool:
    """Whether LiteLLM's environment exists or could be made; if not, the reason is printed."""
    if (folder / "bin" / "litellm").exists():
        return True
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    python = str(folder / "bin" / "python")
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", python, "litellm[proxy]"],
    ):
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            print(f"LiteLLM proxy is left out: {made.stderr.strip().splitlines()[-1:]}")
            return False
    return True


if __name__ == "__main__":
    main()
