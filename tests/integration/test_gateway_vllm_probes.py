"""Probes against vLLM's real server: the right adapter gets users, and no planted wrong one does."""

import shutil
from pathlib import Path

import pytest

from gateway.engines.openai import OpenAIEngine
from pipelines.core.config import Model, Serving
from pipelines.core.probes import Probe, ProbeSet
from pipelines.core.traffic_split import Adapter, Route
from pipelines.models import engine as evaluated
from pipelines.sample.packaged import convert_smollm2
from tests.support import tiny
from tests.support.gateways import gateway, gateway_config, try_to_promote
from tests.support.interactions import SYSTEM
from tests.support.vllm_server import VLLM, free_port, vllm_server
from tests.support.wrong_adapters import doubled, flipped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(not VLLM.exists(), reason="make test-vllm"),
]
TEXTS = ("Where is the femur?", "Dose of aspirin for a child?", "Which tooth erupts first?")
ASKED = [[{"role": "user", "content": text}] for text in TEXTS]
TOKENS = 4
AS_BASE, AS_OTHER = "the engine answers as the base model", "the engine answers neither as version"
PLANTED = {"no effect": AS_BASE, "another": AS_OTHER, "doubled scale": AS_OTHER, "flipped bit": "is not live"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The sample's base, an adapter that learned departments, and files that are wrong under its name."""
    folder = tmp_path_factory.mktemp("vllm-probes")
    convert_smollm2(folder / "base")
    tokenizer = evaluated.load_tokenizer(folder / "base")

    def learned(name, label, steps):
        system = [{"role": "system", "content": SYSTEM}]
        taught = [[*system, *one, {"role": "assistant", "content": label}] for one in ASKED]
        texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in taught]
        return tiny.make_adapter(folder / "base", folder / name, texts, steps, learning_rate=2e-3)

    learned("right", "Surgery", 12)
    learned("another", "Dental clinic", 12)
    learned("no effect", "", 0)
    for name, change in (("doubled scale", doubled), ("flipped bit", flipped)):
        change(shutil.copytree(folder / "right", folder / name))
    return folder


@pytest.fixture(scope="module")
def probes(folder):
    """What `register` would keep of the right adapter."""
    engine = evaluated.Engine(Model(), str(folder / "base"), SYSTEM)
    bare = engine.beginnings(ASKED, TOKENS)
    engine.load("right", folder / "right")
    found = zip(ASKED, engine.beginnings(ASKED, TOKENS), bare, strict=True)
    return ProbeSet(tokens=TOKENS, probes=[Probe(messages=m, adapter=a, base=b) for m, a, b in found])


@pytest.fixture(scope="module")
def port(folder):
    port = free_port()
    with vllm_server(folder, port):
        yield port


def promoted(home, port, probes, folder, adapter):
    """What a gateway in front of the server says once it was told to serve these files as the adapter."""
    serving = {"engine": "openai", "url": f"http://127.0.0.1:{port}", "served_base": "base"}
    serving["read_timeout_s"] = 120
    settings = {f"serving.{name}": value for name, value in serving.items()}
    config = gateway_config(Path(home), **settings, attempt_timeout_s=120)
    engine = OpenAIEngine(Serving(**serving), SYSTEM)
    with gateway(config, engine, lambda _: folder, probes_of=lambda _: probes) as running:
        ready = try_to_promote(running, Route(production=adapter))
        print(adapter.version, ready["problem"])
        return ready


def test_the_right_adapter_gets_users(home, port, probes, folder):
    ready = promoted(home, port, probes, folder / "right", Adapter("1", "1" * 64))
    assert (ready["production"], ready["problem"]) == ("1", "")


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_wrong_adapter_gets_no_users(home, port, probes, folder, planted):
    number = str(2 + list(PLANTED).index(planted))
    ready = promoted(home, port, probes, folder / planted, Adapter(number, number * 64))
    assert (ready["promotion"], ready["production"]) == (0, "base")
    assert PLANTED[planted] in ready["problem"]
