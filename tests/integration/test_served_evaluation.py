"""Evaluation through a server with OpenAI's API: a real model answers there, and it is what is measured."""

import json

import pyarrow.parquet as pq
import pytest

from pipelines.core.config import Config, Model
from pipelines.core.errors import InputError, UnavailableError
from pipelines.core.tools import with_tools
from pipelines.models import served
from pipelines.models.engine import Engine
from pipelines.models.json_answers import generate_json
from pipelines.models.served import Served, Server
from pipelines.operations.doctor.servers import look_at_evaluation_server
from tests.integration.test_evaluate import evaluate
from tests.support import tiny
from tests.support.served import answering_server
from tests.support.upstream import error_of, upstream

LABELS = ("Dental", "Surgery", "Anatomy")
QUESTIONS = [f"What does number {place} say of the tooth?" for place in range(12)]
ASKED = [[{"role": "user", "content": question}] for question in QUESTIONS]
SCHEMA = json.dumps({"type": "object", "properties": {"days": {"enum": [1, 2, 3]}}, "required": ["days"]})
SYSTEM = "You work at a desk."
ANSWERS = {"choose": "Dental", "generate": "Please see the dentist within three days."}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(served, "FIRST_WAIT_S", 0.01)


def adapter_of(base, home, answer):
    engine, said = Engine(Model(), str(base), SYSTEM), {"role": "assistant", "content": answer}
    texts = [engine.rendering.text([*messages, said], answered=True) for messages in ASKED[:4]]
    return tiny.make_adapter(base, home / "taught", texts, 60)


def config_for(home, base, kind, **evaluated):
    home.mkdir(exist_ok=True)
    items = [{"messages": messages, "answer": ANSWERS[kind]} for messages in ASKED]
    (home / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    sizes = {"general_items": 4, "perplexity_items": 3, "latency_items": 2, "bootstrap_samples": 300}
    task = {"kind": kind} | ({"labels": LABELS} if kind == "choose" else {})
    return Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "model": {"base": str(base), "max_new_tokens": 32},
            "task": task | {"system_prompt": SYSTEM},
            "evaluate": sizes | {"suite": "{home}/suite.jsonl"} | evaluated,
        }
    )


def server_of(home, base, address, **task):
    return Server(
        Config.model_validate(
            {
                "profile": "test",
                "home": str(home),
                "model": {"base": str(base)},
                "serving": {"url": address},
                "task": task,
                "evaluate": {"engine": "openai", "parallel_requests": 4},
            }
        )
    )


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_served_model_is_measured_as_the_engine_is(kind, base, tmp_path):
    adapter, found = adapter_of(base, tmp_path, ANSWERS[kind]), {}
    with answering_server(base) as (server, address):
        for engine in ("embedded", "openai"):
            config = config_for(tmp_path / engine, base, kind, engine=engine, url=address)
            run = evaluate(config, base, adapter)
            items = pq.read_table(run.folder.path("evaluate/items.parquet")).to_pylist()
            found[engine] = items, run.manifest("evaluate").facts["accuracy"]
    assert found["openai"] == found["embedded"]
    assert found["openai"][1]["candidate"]["value"] == 1
    assert {one["model"] == "base" for one in server.asked} == {True, False}
    assert server.loaded == set() != set(server.were_loaded)


def test_json_and_texts_are_the_engines(base, tmp_path):
    engine = Engine(Model(threads=1), str(base))
    with answering_server(base) as (_, address):
        model = Served(server_of(tmp_path, base, address), "", None)
        assert model.documents(ASKED, SCHEMA, 20) == generate_json(engine, ASKED, SCHEMA, 20)
        assert model.generate(ASKED, 8) == engine.generate(ASKED, 8)
        assert model.choose(ASKED, LABELS) == engine.choose(ASKED, LABELS)


def test_the_servers_bad_moments_lose_nothing(base, tmp_path):
    faults = [error_of(503, "warming up"), error_of(429, "slow down"), error_of(500, "oh")]
    with answering_server(base, faults=faults, takes_variables=False) as (server, address):
        model = Served(server_of(tmp_path, base, address), "", None)
        assert len(model.generate(ASKED, 4)) == len(ASKED)
    asked = [body["messages"][-1]["content"] for body in server.asked]
    assert sorted(asked) == sorted(QUESTIONS)


def test_the_task_s_system_prompt_goes_along(base, tmp_path):
    with answering_server(base) as (server, address):
        Served(server_of(tmp_path, base, address, system_prompt="Be brief."), "", None).generate(ASKED[:1], 4)
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_server_that_ignores_the_labels_is_told(base, tmp_path):
    with answering_server(base, takes_choices=False) as (_, address):
        model = Served(server_of(tmp_path, base, address), "", None)
        with pytest.raises(InputError, match=r"none of the labels.*serving\.guided"):
            model.choose(ASKED, LABELS)


def test_a_server_that_loads_no_adapters_is_told(base, tmp_path):
    with upstream(lambda body: error_of(500, "never asked")) as address:
        model = Served(server_of(tmp_path, base, address), "candidate", tmp_path)
        with pytest.raises(InputError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            model.generate(ASKED, 4)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (error_of(502, "bad gateway"), UnavailableError, "does not answer: status 502"),
        (error_of(400, "maximum context length is 16"), InputError, "maximum context length is 16"),
        ((200, "application/json", b'{"choices": []}'), UnavailableError, "no answer of OpenAI's API"),
    ],
)
def test_a_server_without_answers_is_told(answer, error, words, base, tmp_path):
    with upstream(lambda body: answer) as address:
        model = Served(server_of(tmp_path, base, address), "", None)
        with pytest.raises(error, match=words):
            model.generate(ASKED, 4)


def test_no_server_is_told(base, tmp_path):
    with upstream(lambda body: error_of(500, "")) as address:
        pass
    model = Served(server_of(tmp_path, base, address), "base", tmp_path)
    with pytest.raises(UnavailableError, match="does not answer"):
        model.generate(ASKED, 4)


def test_the_doctor_asks_the_server(base, tmp_path):
    def found(address, **settings):
        config = config_for(tmp_path / "home", base, "generate", engine="openai", url=address)
        serving = config.serving.model_copy(update=settings)
        return look_at_evaluation_server(config.model_copy(update={"serving": serving}))

    with upstream(lambda body: error_of(500, "")) as address:
        assert [one.level for one in found(address)] == ["ok"]
        assert [one.level for one in found(address, api_key_file=str(tmp_path / "none"))] == ["fail"]
    (away,) = found(address)
    assert (away.level, "does not answer" in away.said) == ("warn", True)
    assert look_at_evaluation_server(config_for(tmp_path / "home", base, "generate")) == []


def test_calls_of_tools_are_answers_of_a_server(base, tmp_path):
    call = {"id": "x", "type": "function", "function": {"name": "beds", "arguments": '{"ward": "Dental"}'}}
    said = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}
    asked = []

    def answer(body):
        asked.append(body)
        return 200, "application/json", json.dumps(said).encode()

    tools = [{"type": "function", "function": {"name": "beds"}}]
    with upstream(answer) as address:
        model = Served(server_of(tmp_path, base, address), "", None)
        found = model.generate([with_tools(ASKED[0], tools)], 4)
    assert found == ['[{"name": "beds", "arguments": {"ward": "Dental"}}]']
    assert asked[0]["tools"] == tools
    assert asked[0]["messages"] == ASKED[0]


def test_the_others_are_not_asked_once_a_server_is_given_up(base, tmp_path):
    asked = []
    with upstream(lambda body: asked.append(body) or error_of(502, "bad gateway")) as address:
        model = Served(server_of(tmp_path, base, address), "", None)
        with pytest.raises(UnavailableError):
            model.generate(ASKED * 4, 4)
    assert len(asked) < len(ASKED * 4) * served.ATTEMPTS


def test_kept_answers_are_of_one_base_and_release(base, tmp_path):
    with upstream(lambda body: error_of(500, "never asked")) as address:
        found = Served(server_of(tmp_path, base, address), "", None).identity
    assert found == ("openai", address, "base", "")
