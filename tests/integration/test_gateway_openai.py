"""The engine behind an OpenAI-compatible API, against a real server: `transformers serve`.

vLLM itself (adapters at run time, guided choices) needs several GB of packages: test_gateway_vllm.py.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from gateway.engines.base import CompletionRequest, EngineError
from gateway.engines.openai import OpenAIEngine
from gateway.engines.openai_wire import served_name
from pipelines.core.config import Model, Serving
from pipelines.core.traffic_split import Adapter
from pipelines.models import engine as evaluated
from tests.support import tiny

ASKED = [[{"role": "user", "content": text}] for text in ("Where is the femur?", "Why?")]
ONE, MISSING = Adapter("1", "a" * 64), Adapter("9", "c" * 64)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The base and, under the name that the gateway asks for, the base merged with an adapter."""
    folder = tmp_path_factory.mktemp("models")
    base = tiny.make_base(folder / "base")
    adapter = tiny.make_adapter(base, folder / "adapter", ["Where is the femur? Medicine Ward"], 20)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    merged.merge_and_unload().save_pretrained(folder / served_name(ONE))
    evaluated.load_tokenizer(base).save_pretrained(folder / served_name(ONE))
    return folder


@pytest.fixture(scope="module")
def url(models, tmp_path_factory):
    """The address of a running `transformers serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cache = tmp_path_factory.mktemp("cache")
    (cache / "hub").mkdir()
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HOME": str(cache)}
    log = (models / "serve.log").open("w")
    with subprocess.Popen(command, cwd=models, env=environment, stdout=log, stderr=log) as server:
        _wait_for(f"http://127.0.0.1:{port}/health", server, models / "serve.log")
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def _wait_for(address, server, log):
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            httpx.get(address, timeout=2).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"no server at {address}: {log.read_text()[-2000:]}")


def with_engine(url, story, **settings):
    async def run():
        engine = OpenAIEngine(Serving(engine="openai", url=url, served_base="base", **settings))
        try:
            return await asyncio.wait_for(story(engine), 120)
        finally:
            await engine.close()

    return asyncio.run(run())


async def pieces_of(engine, request, adapter=None):
    async with aclosing(engine.complete(request, adapter)) as pieces:
        return [piece async for piece in pieces]


def test_served_answers_are_evaluated_answers_base_and_merged(models, url):
    engine = evaluated.Engine(Model(), str(models / "base"))
    wanted = engine.generate(ASKED, 8)
    engine.load("one", models / "adapter")
    wanted += engine.generate(ASKED, 8)

    async def story(remote):
        await remote.load(ONE, models / "adapter")  # no such route there: asked for by name
        requests = [CompletionRequest(messages, max_tokens=8) for messages in ASKED]
        return [await pieces_of(remote, one, name) for name in (None, ONE) for one in requests]

    answers = with_engine(url, story)
    assert ["".join(piece.text for piece in answer) for answer in answers] == wanted
    assert wanted[:2] != wanted[2:]
    assert all(len(answer) > 2 for answer in answers)
    counts = engine.count_tokens([engine.rendering.text(messages) for messages in ASKED]) * 2
    assert [answer[-1].tokens_in for answer in answers] == counts
    assert all(answer[-1].tokens_out == 8 for answer in answers)


def test_a_server_without_guided_choices_is_an_error(url):
    async def story(remote):
        with pytest.raises(EngineError, match="structured_outputs"):
            await pieces_of(remote, CompletionRequest(ASKED[0], choices=["Anatomy", "Surgery"]))

    with_engine(url, story)


def test_a_model_that_the_server_lacks_does_not_load(models, url):
    async def story(remote):
        with pytest.raises(EngineError):
            await remote.load(MISSING, models / "adapter")
        await remote.unload(MISSING)
        return await pieces_of(remote, CompletionRequest(ASKED[0], max_tokens=2))

    assert with_engine(url, story)[-1].finish_reason == "length"


def test_a_client_that_leaves_ends_its_stream(url):
    async def story(remote):
        leaving = remote.complete(CompletionRequest(ASKED[0], max_tokens=5_000), None)
        await anext(leaving)
        await leaving.aclose()
        return await pieces_of(remote, CompletionRequest(ASKED[1], max_tokens=2))

    assert with_engine(url, story)


def test_nobody_there_and_nobody_answering_are_errors_in_words():
    async def story(remote):
        for work in (remote.warm(None), remote.load(ONE, Path()), remote.unload(ONE)):
            with pytest.raises(EngineError, match=r"ClientConnectorError|SocketTimeoutError"):
                await work

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with_engine(address, story)
        silent.listen(8)
        with_engine(address, story, read_timeout_s=0.2)
