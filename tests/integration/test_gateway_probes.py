"""What the engine serves is what was registered: planted wrong adapters, in each engine."""

import json
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gateway.engines.embedded import EmbeddedEngine
from gateway.engines.openai import OpenAIEngine
from gateway.engines.openai_wire import served_name
from gateway.serving.adapter_files import AdapterFiles
from pipelines.core.config import Model, Serving
from pipelines.core.probes import Probe, ProbeSet
from pipelines.core.traffic_split import Adapter, Route
from pipelines.models import engine as evaluated
from pipelines.models import open_registry, open_tracker
from tests.support import registered, tiny
from tests.support.gateways import chat, gateway, gateway_config, try_to_promote, until
from tests.support.journal import journal_rows
from tests.support.openai_server import model_server
from tests.support.wrong_adapters import doubled, flipped

TEXTS = ("Where is the femur?", "Dose of aspirin for a child?", "Why?", "Which tooth erupts first?")
ASKED = [[{"role": "user", "content": text}] for text in TEXTS]
ONE, TWO = Adapter("1", "a" * 64), Adapter("2", "b" * 64)
SYSTEM = "Answer with the hospital department."  # of the tiny profile


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory):
    """Adapter one, and files that are wrong under its name."""
    folder = tmp_path_factory.mktemp("adapters")
    made = {
        "right": tiny.make_adapter(base, folder / "right", ["Where is the femur? Medicine Ward"], 20),
        "another": tiny.make_adapter(base, folder / "another", ["Why? Pediatrics and a longer text"], 20),
        "no effect": tiny.make_adapter(base, folder / "none", [], 0),
    }
    for name, change in (("doubled scale", doubled), ("flipped bit", flipped)):
        made[name] = shutil.copytree(made["right"], folder / name)
        change(made[name])
    return made


@pytest.fixture(scope="module")
def probes(base, folders):
    """What `register` would keep of adapter one."""
    engine = evaluated.Engine(Model(threads=1), str(base), SYSTEM)
    bare = engine.beginnings(ASKED, 4)
    engine.load("right", folders["right"])
    found = zip(ASKED, engine.beginnings(ASKED, 4), bare, strict=True)
    return ProbeSet(tokens=4, probes=[Probe(messages=m, adapter=mine, base=its) for m, mine, its in found])


@contextmanager
def embedded(home, base, probes, folder, **settings):
    """A gateway whose embedded engine gets these files for adapter one, with no digest checked."""
    config = gateway_config(home, **{"model.base": str(base), "model.threads": 1} | settings)
    engine = EmbeddedEngine(config.serving, config.model, str(base), SYSTEM)
    given = {ONE: folder, TWO: folder}
    with gateway(config, engine, given.__getitem__, probes_of=lambda adapter: probes) as running:
        yield running, engine


@contextmanager
def behind(home, server, probes, fetch=lambda adapter: Path(), **settings):
    """A gateway in front of a server with OpenAI's API."""
    serving = {"engine": "openai", "url": server.url, "served_base": "base"}
    config = gateway_config(home, **{f"serving.{name}": value for name, value in serving.items()} | settings)
    engine = OpenAIEngine(Serving(**serving), SYSTEM)
    with gateway(config, engine, fetch, probes_of=lambda adapter: probes) as running:
        yield running


def says(running, text="Why?"):
    with running.client() as client:
        answer = client.post("/v1/chat/completions", json=chat(text, max_tokens=4))
        assert answer.status_code == 200, answer.text
        return answer.json()["nightshift"]


AS_BASE = "the engine answers as the base model under the name of version 1"
AS_OTHER = "the engine answers neither as version 1 nor as its base model"
WRONG = {"no effect": AS_BASE, "another": AS_OTHER, "doubled scale": AS_OTHER}


@pytest.mark.parametrize("planted", WRONG)
def test_wrong_files_get_no_users_embedded(home, base, probes, folders, planted):
    with embedded(home, base, probes, folders[planted]) as (running, engine):
        ready = try_to_promote(running, Route(production=ONE))
        assert (ready["promotion"], ready["production"], ready["ready"]) == (0, "base", True)
        assert f"promotion 1 is not live: NotServed: {WRONG[planted]}" in ready["problem"]
        assert engine._loaded == set()
        assert running.metric('probe_failed{adapter="1"}') == 1
        assert says(running)["adapter"] == "base"
        try_to_promote(running, Route())
        until(lambda: running.ready()["problem"] == "")
        assert running.metric('probe_failed{adapter="1"}') == 0


def test_a_flipped_bit_gets_no_users_embedded(home, base, probes, folders):
    """Its answers are not finite, or far from the adapter's."""
    with embedded(home, base, probes, folders["flipped bit"]) as (running, _):
        assert try_to_promote(running, Route(production=ONE))["promotion"] == 0


def test_the_right_adapter_gets_users_embedded(home, base, probes, folders):
    with embedded(home, base, probes, folders["right"]) as (running, _):
        ready = try_to_promote(running, Route(production=ONE))
        assert (ready["production"], ready["problem"]) == ("1", "")
        assert says(running)["adapter"] == "1"
        assert running.metric('probed_timestamp_seconds{adapter="1"}') > 1e9
        assert running.metric('failures_total{adapter="1",fault="engine",route="production"}') == 0
    assert len(journal_rows(home)) == 1  # the probes have none


@pytest.mark.slow
def test_an_adapter_that_turns_wrong_later_embedded(home, base, probes, folders, monkeypatch):
    settings = {"serving.probe_interval_s": 1}
    with embedded(home, base, probes, folders["right"], **settings) as (running, engine):
        running.promote(Route(production=ONE))
        assert says(running, "first")["adapter"] == "1"
        use = engine._adapters.use
        monkeypatch.setattr(engine._adapters, "use", lambda names: use([None] * len(names)))
        until(lambda: not running.ready()["ready"], 30)
        assert AS_BASE in running.ready()["problem"]
        found = says(running, "second")
        assert (found["adapter"], found["fallback"]) == ("base", True)
        monkeypatch.undo()
        until(lambda: running.ready()["ready"], 30)
        assert running.ready()["problem"] == ""
        assert says(running, "third")["adapter"] == "1"


@pytest.fixture
def server(base, folders):
    with model_server(base) as (server, url):
        server.url = url
        server.load(served_name(ONE), folders["right"])
        for name in ("another", "doubled scale", "flipped bit"):
            server.engine.load(name, folders[name])
        yield server


def test_planted_wrong_answers_of_a_server_get_no_users(home, server, probes):
    """One gateway after the other, so that the model is loaded once."""
    name = served_name(ONE)
    planted = {
        "base under its name": ({name: None}, "", AS_BASE),
        "another adapter": ({name: "another"}, "", AS_OTHER),
        "doubled scale": ({name: "doubled scale"}, "", AS_OTHER),
        "a flipped bit": ({name: "flipped bit"}, "", "is not live"),
        "another system prompt": ({name: name}, "You are a pirate. Answer as one.", AS_OTHER),
    }
    for case, (served, system, words) in planted.items():
        server.served, server.system = served, system
        with behind(home / case.replace(" ", "-"), server, probes) as running:
            ready = try_to_promote(running, Route(production=ONE))
            assert (case, ready["promotion"], words in ready["problem"]) == (case, 0, True), ready["problem"]
            assert says(running)["adapter"] == "base"


def test_the_right_adapter_of_a_server_gets_users(home, server, probes):
    for dtype in (torch.float32, torch.bfloat16):
        server.engine.module.to(dtype)
        with behind(home / str(dtype), server, probes) as running:
            ready = try_to_promote(running, Route(production=ONE))
            assert (ready["production"], ready["problem"]) == ("1", ""), dtype
    system = {"role": "system", "content": SYSTEM}
    asked = [body["messages"] for body in server.asked if body.get("logprobs")]
    assert asked == [[system, *messages] for messages in ASKED] * 2  # rendered as users' requests are


def test_a_server_that_does_not_answer_a_probe(home, server, probes):
    server.probes_take_s = 2.0
    with behind(home, server, probes, attempt_timeout_s=0.5) as running:
        problem = try_to_promote(running, Route(production=ONE))["problem"]
    assert "promotion 1 is not live: EngineError: The engine did not answer a probe within 0.5 s" in problem


def test_a_server_without_log_probabilities(home, server, probes):
    server.gives_logprobs = False
    with behind(home / "strict", server, probes) as running:
        problem = try_to_promote(running, Route(production=ONE))["problem"]
        assert "promotion 1 is not live" in problem
        assert "logprobs is not supported by this server" in problem
    by_answers = {"serving.probe_by": "answers"}
    with behind(home / "answers", server, probes, **by_answers) as running:
        assert try_to_promote(running, Route(production=ONE))["production"] == "1"
    server.served[served_name(ONE)] = None
    with behind(home / "base", server, probes, **by_answers) as running:
        assert AS_BASE in try_to_promote(running, Route(production=ONE))["problem"]


@pytest.mark.slow
def test_a_canary_that_turns_wrong_loses_its_users(home, server, probes):
    """Production answers its people, and the failed attempts hold the rollout; the gateway stays ready."""
    with behind(home, server, probes, **{"serving.probe_interval_s": 1}) as running:
        running.promote(Route(canary=ONE, canary_weight=1.0))
        assert says(running, "first")["adapter"] == "1"
        server.served[served_name(ONE)] = None
        until(lambda: AS_BASE in running.ready()["problem"], 30)
        assert running.ready()["ready"]
        found = says(running, "second")
        assert (found["adapter"], found["fallback"]) == ("base", True)
    failed = [row for row in journal_rows(home) if row["fault"]]
    assert [(row["adapter"], row["route"], row["fault"]) for row in failed] == [("1", "canary", "engine")]


def test_a_promotion_to_an_adapter_known_as_wrong_is_not_live(home, server, probes):
    with behind(home, server, probes, **{"serving.probe_interval_s": 1}) as running:
        running.promote(Route(shadow=ONE))
        server.served[served_name(ONE)] = "another"
        until(lambda: AS_OTHER in running.ready()["problem"], 30)
        ledger = running.ledger
        ledger.add_promotion(ledger.promotion(), "test", Route(production=ONE), "a test", "pytest")
        until(lambda: "promotion 2 is not live" in running.ready()["problem"], 30)
        assert running.ready()["production"] == "base"


def test_a_server_that_cannot_tell_any_more_keeps_its_finding(home, server, probes):
    """The metric of the newest proof grows old."""
    with behind(home, server, probes, **{"serving.probe_interval_s": 1}) as running:
        running.promote(Route(production=ONE))
        first = proved(running)
        until(lambda: proved(running) > first, 30)
        server.gives_logprobs = False
        until(lambda: running.app.state.service.probes._due[ONE] > time.monotonic() + 0.9, 30)
        last = proved(running)
        time.sleep(2.5)
        assert proved(running) == last
        assert running.ready() | {"promotion": 0} == running.ready() | {"promotion": 0, "ready": True}
        assert running.metric('worker_failures_total{worker="probe"}') == 0


def proved(running):
    return running.metric('probed_timestamp_seconds{adapter="1"}')


@pytest.mark.slow
def test_a_server_that_lost_its_adapters_is_looked_at_at_once(home, server, probes, folders):
    """It starts again, and from then on takes adapters and answers with the base: found within seconds."""
    name = served_name(ONE)
    server.loads_at_run_time = True
    server.engine.unload(name)
    server.served = {}
    with behind(home, server, probes, fetch=lambda adapter: folders["right"]) as running:
        running.promote(Route(production=ONE))
        assert says(running, "first")["adapter"] == "1"
        server.engine.unload(name)
        server.served = {}
        server.load = lambda name, folder: server.served.update({name: None})
        assert says(running, "second")["adapter"] == "1"  # so the gateway believes
        until(lambda: not running.ready()["ready"], 10)
        assert AS_BASE in running.ready()["problem"]


@pytest.mark.slow
def test_from_register_to_users(home, base, folders, tmp_path):
    """The step, the registry's files and the embedded engine. A version without probes is served too."""
    suite = home / "suite.jsonl"
    suite.write_text("".join(json.dumps({"messages": one, "answer": "Surgery"}) + "\n" for one in ASKED))
    settings = {"model.base": str(base), "evaluate.suite": str(suite), "register.probes": 3}
    config = gateway_config(home, **settings)
    right = shutil.copytree(folders["right"], tmp_path / "right")
    (right / "README.md").unlink(missing_ok=True)
    facts = registered.register(config, registered.night(config, right, "2026-01-02")).facts
    new = Adapter(facts["version"], facts["adapter_digest"])
    registry, tracker = open_registry(config), open_tracker(config)
    run = tracker.run("2025-01-01", "f" * 64)
    older = registry.register(right, tracker, run, "2025-01-01", ("2025-01-01",), {})
    engine = EmbeddedEngine(config.serving, config.model, str(base), config.task.system_prompt)
    files = AdapterFiles(config)
    with gateway(config, engine, files.fetch, probes_of=files.probes) as running:
        assert try_to_promote(running, Route(production=new))["problem"] == ""
        assert says(running)["adapter"] == new.version
        assert running.metric(f'probe_failed{{adapter="{new.version}"}}') == 0
        running.promote(Route(production=Adapter(older.version, older.digest)))
        found = running.ready()
        assert found["ready"]
        assert found["problem"] == f"nothing proves that version {older.version} is served: it has no probes"
