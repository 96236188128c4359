"""The engine behind vLLM's API, against the real server: `make test-vllm` installs and runs it.

The base is the sample's, as `prepare` makes it; the adapter is trained here, on the sample's questions.
"""

import asyncio
import json
from contextlib import aclosing

import pytest

from gateway.engines.base import AdapterMissing, CompletionRequest, EngineError
from gateway.engines.openai import OpenAIEngine
from gateway.engines.openai_wire import served_name
from pipelines.core.config import Config, Model, Serving
from pipelines.core.traffic_split import Adapter
from pipelines.models import engine as evaluated
from pipelines.models.served import Served, Server
from pipelines.sample.packaged import convert_smollm2
from tests.support import tiny
from tests.support.interactions import SYSTEM
from tests.support.questions import ask
from tests.support.vllm_server import START_S, VLLM, end, free_port, vllm_server

LABELS = ["Anatomy", "Dental", "Pharmacology", "Surgery"]
SHARES = dict.fromkeys(LABELS, 1.0)
ONE, TWO, MISSING = Adapter("1", "a" * 64), Adapter("2", "b" * 64), Adapter("9", "c" * 64)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(not VLLM.exists(), reason="make test-vllm"),
]


def short(n, seed):
    """`n` short questions with their departments: both sides compute less."""
    return sorted(ask(60, seed, SHARES), key=lambda pair: len(pair[1]))[:n]


def messages_of(question):
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The base, and an adapter that has learned to answer with a department and nothing else."""
    folder = tmp_path_factory.mktemp("vllm")
    convert_smollm2(folder / "base")
    tokenizer = evaluated.load_tokenizer(folder / "base")
    taught = [[*messages_of(q), {"role": "assistant", "content": label}] for label, q in short(8, 1)]
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in taught]
    tiny.make_adapter(folder / "base", folder / "adapter", texts, 12, learning_rate=2e-3)
    return folder


@pytest.fixture(scope="module")
def asked():
    return [messages_of(question) for _, question in short(12, 2)]


@pytest.fixture(scope="module")
def wanted(folder, asked):
    """What evaluation answers, by model: choices and free answers."""
    engine = evaluated.Engine(Model(), str(folder / "base"))
    engine.load("one", folder / "adapter")
    found = {}
    for name in (None, "one"):
        engine.use(name)
        found[name] = engine.choose(asked, LABELS), engine.generate(asked[:4], 16)
    return found


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def process(folder, port):
    with vllm_server(folder, port) as process:
        yield process


def with_engine(port, story):
    async def run():
        url = f"http://127.0.0.1:{port}"
        engine = OpenAIEngine(Serving(engine="openai", url=url, served_base="base", read_timeout_s=120))
        try:
            return await asyncio.wait_for(story(engine), 2 * START_S)
        finally:
            await engine.close()

    return asyncio.run(run())


async def answer(engine, request, adapter=None):
    async with aclosing(engine.complete(request, adapter)) as pieces:
        return "".join([piece.text async for piece in pieces])


async def answers(engine, asked, adapter):
    """All choices at once, then all free answers: vLLM batches them."""
    choices = [answer(engine, CompletionRequest(messages, choices=LABELS), adapter) for messages in asked]
    free = [answer(engine, CompletionRequest(messages, max_tokens=16), adapter) for messages in asked[:4]]
    return list(await asyncio.gather(*choices)), list(await asyncio.gather(*free))


def test_a_loaded_adapter_answers_as_evaluated(process, port, folder, asked, wanted):
    async def story(remote):
        await remote.load(ONE, folder / "adapter")
        await remote.load(ONE, folder / "adapter")  # twice changes nothing
        assert served_name(ONE) in await remote._models()
        return await answers(remote, asked, ONE), await answers(remote, asked, None)

    (choices, free), (base_choices, base_free) = with_engine(port, story)
    assert choices == wanted["one"][0]
    assert free == wanted["one"][1]
    assert base_free == wanted[None][1]
    assert free != base_free
    assert len(set(choices)) > 1
    assert set(base_choices) <= set(LABELS)
    same = sum(here == there for here, there in zip(base_choices, wanted[None][0], strict=True))
    print(f"the bare base: {same} of {len(asked)} choices as evaluated")  # see docs/adr/0005


def test_evaluation_through_vllm_measures_what_is_served(process, port, folder, asked, wanted):
    """A step loads the candidate itself, and takes it away at its end."""
    schema = json.dumps({"type": "object", "properties": {"label": {"enum": LABELS}}, "required": ["label"]})
    server = Server(
        Config.model_validate(
            {
                "profile": "test",
                "home": str(folder),
                "evaluate": {"engine": "openai"},
                "serving": {"url": f"http://127.0.0.1:{port}", "served_base": "base"},
            }
        )
    )
    candidate = Served(server, "evaluate-candidate", folder / "adapter")
    assert candidate.choose(asked, LABELS) == wanted["one"][0]
    assert candidate.generate(asked[:4], 16) == wanted["one"][1]
    # Its grammar lets a model fill an answer with spaces, so a whole one is not certain.
    assert {text[:1] for text in candidate.documents(asked[:2], schema, 32)} == {"{"}
    assert Served(server, "base", None).generate(asked[:4], 16) == wanted[None][1]
    server.close()

    async def served(remote):
        return await remote._models()

    assert "evaluate-candidate" not in with_engine(port, served)


def test_a_missing_adapter_is_never_answered_by_the_base(process, port, folder):
    async def story(remote):
        with pytest.raises(AdapterMissing):
            await remote.warm(MISSING)
        with pytest.raises(EngineError):
            await remote.load(MISSING, folder / "nothing")
        await remote.load(TWO, folder / "adapter")
        await remote.warm(TWO)
        await remote.unload(TWO)
        await remote.unload(TWO)
        with pytest.raises(AdapterMissing):
            await remote.warm(TWO)
        await remote.warm(None)

    with_engine(port, story)


def test_after_a_killed_servers_restart_the_adapter_is_back(process, port, folder, asked, wanted):
    async def story(remote):
        await remote.load(ONE, folder / "adapter")
        requests = [CompletionRequest(messages, max_tokens=200) for messages in asked]
        under_way = [asyncio.create_task(answer(remote, request, None)) for request in requests]
        await asyncio.wait(under_way, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        end(process)
        ends = await asyncio.gather(*under_way, return_exceptions=True)
        broken = [found for found in ends if not isinstance(found, str)]
        assert broken
        assert all(isinstance(found, EngineError) for found in broken)
        with pytest.raises(EngineError, match="Connect"):
            await remote.warm(ONE)
        with vllm_server(folder, port):  # it knows the base only
            with pytest.raises(AdapterMissing):
                await remote.warm(MISSING)
            again = [
                answer(remote, CompletionRequest(messages, choices=LABELS), ONE) for messages in asked[:4]
            ]
            return list(await asyncio.gather(*again))

    assert with_engine(port, story) == wanted["one"][0][:4]
