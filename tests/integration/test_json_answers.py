"""Answers that follow a JSON schema, from the embedded engine and from servers."""

import asyncio
import json
from contextlib import aclosing

import jsonschema
import pytest

from gateway.engines.base import CompletionRequest, RequestRefused
from gateway.engines.embedded import EmbeddedEngine
from pipelines.core.config import Model, Serving
from pipelines.core.traffic_split import Adapter
from pipelines.evaluation.tasks import task_of
from pipelines.models import engine as evaluated
from pipelines.models.answering import Embedded
from pipelines.models.json_answers import generate_json
from tests.support import tiny
from tests.support.gateways import gateway, gateway_config

ASKED = [{"role": "user", "content": "Where is the femur?"}]
ONE = Adapter("1", "a" * 64)
VISIT = {
    "type": "object",
    "properties": {
        "ward": {"enum": ["Dental", "Gynécologie"]},
        "days": {"type": "integer", "minimum": 0, "maximum": 99},
        "notes": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 2},
    },
    "required": ["ward", "days", "notes"],
    "additionalProperties": False,
}
TREE = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 1}}}
WRONG = {
    "no type": ({"type": "objec"}, "objec"),
    "a keyword": ({"not": {"type": "string"}}, "not"),
    "another place": ({"$ref": "http://127.0.0.1:9/x.json"}, "127.0.0.1"),
    "a circle": ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "cannot be used"),
    "nothing fits": ({"enum": []}, "cannot be used"),
    "many expressions": ({"type": "string", "pattern": "^(([a-z]{1,50}){1,50}){1,50}$"}, "expressions"),
    "an endless check": (
        {"allOf": [{"type": "string", "pattern": f"^.{{0,{n}}}[a-m]+.*$"} for n in range(40)]},
        "too much time",
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "one", ["hello Surgery"], 10)


def serve(base, story):
    async def run():
        engine = EmbeddedEngine(Serving(gather_ms=50), Model(batch_size=5), str(base))
        try:
            return await asyncio.wait_for(story(engine), 120)
        finally:
            await engine.close()

    return asyncio.run(run())


def wanting(schema, **more):
    return CompletionRequest(ASKED, **({"max_tokens": 200} | more), json_schema=json.dumps(schema))


async def last_and_text(engine, request, adapter=None):
    async with aclosing(engine.complete(request, adapter)) as pieces:
        found = [piece async for piece in pieces]
    return found[-1], "".join(piece.text for piece in found)


def test_each_answer_follows_its_schema_beside_others(base, adapter):
    """Greedy and drawn, of base and adapter, in one batch with an answer that has no schema."""

    async def story(engine):
        await engine.load(ONE, adapter)
        drawn = [wanting(VISIT, temperature=1.0, seed=seed) for seed in range(4)]
        asked = [(wanting(VISIT), None), (wanting(VISIT), ONE), *((one, ONE) for one in drawn)]
        plain = (CompletionRequest(ASKED, max_tokens=8), ONE)
        found = await asyncio.gather(*(last_and_text(engine, *one) for one in [*asked, plain]))
        return found, await last_and_text(engine, wanting(VISIT))

    (*found, plain), again = serve(base, story)
    for last, text in found:
        assert last.finish_reason == "stop"
        jsonschema.validate(json.loads(text), VISIT)
        assert list(json.loads(text)) == ["ward", "days", "notes"]
    assert again == found[0]
    assert len({text for _, text in found}) > 2
    engine = evaluated.Engine(Model(batch_size=5), str(base))
    engine.load("one", adapter)
    assert plain[1] == engine.generate([ASKED], 8)[0]


def test_a_model_that_never_ends_is_cut(base):
    async def story(engine):
        return await last_and_text(engine, wanting({"type": "string", "minLength": 5000}, max_tokens=20))

    last, text = serve(base, story)
    assert (last.finish_reason, last.tokens_out) == ("length", 20)
    assert text.startswith('"')


def test_a_schema_that_refers_to_itself(base):
    async def story(engine):
        return await last_and_text(engine, wanting(TREE, temperature=1.0, seed=3))

    last, text = serve(base, story)
    assert last.finish_reason in ("stop", "length")
    assert text.startswith("[")


def test_a_wrong_schema_is_refused_and_disturbs_nobody(base):
    async def story(engine):
        asked = [wanting(schema) for schema, _ in WRONG.values()]
        tried = (last_and_text(engine, one) for one in [wanting(VISIT), *asked])
        return await asyncio.gather(*tried, return_exceptions=True), engine.restarts

    ((_, text), *refused), restarts = serve(base, story)
    jsonschema.validate(json.loads(text), VISIT)
    assert restarts == 0
    for (_, word), found in zip(WRONG.values(), refused, strict=True):
        assert isinstance(found, RequestRefused)
        assert word in found.message
        assert len(found.message) < 400


def test_schemas_that_never_end_delay_nobody_else(base):
    """A known schema and a plain request are answered while hostile ones are still being checked."""
    slow = [
        {"allOf": [{"type": "string", "pattern": f"^.{{0,{n}}}[a-m]+{mark}.*$"} for n in range(40)]}
        for mark in "pqrstu"
    ]

    async def story(engine):
        await last_and_text(engine, wanting(VISIT))
        hostile = [asyncio.create_task(last_and_text(engine, wanting(one))) for one in slow]
        await asyncio.sleep(0)
        neighbours = [wanting(VISIT), CompletionRequest(ASKED, max_tokens=4)]
        answers = await asyncio.gather(*(last_and_text(engine, one) for one in neighbours))
        unfinished = sum(not task.done() for task in hostile)
        return answers, unfinished, await asyncio.gather(*hostile, return_exceptions=True)

    answers, unfinished, refused = serve(base, story)
    assert unfinished
    jsonschema.validate(json.loads(answers[0][1]), VISIT)
    assert {type(one) for one in refused} == {RequestRefused}


def test_a_schema_comes_through_the_gateway(home, base):
    engine = EmbeddedEngine(Serving(), Model(batch_size=5), str(base))
    config = gateway_config(home, **{"model.base": str(base)})
    with gateway(config, engine) as running, running.client() as client:
        body = {"model": config.register_.name, "messages": ASKED, "max_tokens": 200}
        named = {"type": "json_schema", "json_schema": {"name": "visit", "schema": VISIT, "strict": True}}
        first, second = (
            client.post("/v1/chat/completions", json=body | {"response_format": named}) for _ in range(2)
        )
        jsonschema.validate(json.loads(first.json()["choices"][0]["message"]["content"]), VISIT)
        assert second.json()["nightshift"]["cached"]
        plain = client.post("/v1/chat/completions", json=body)
        assert not plain.json()["nightshift"]["cached"]
        any_object = client.post(
            "/v1/chat/completions", json=body | {"response_format": {"type": "json_object"}}
        )
        assert any_object.json()["choices"][0]["message"]["content"].startswith("{")
        named["json_schema"]["schema"] = {"not": {}}
        wrong = client.post("/v1/chat/completions", json=body | {"response_format": named})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_request")
        assert "not" in wrong.json()["error"]["message"]


TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Good day."},
    *ASKED,
]
KINDS = {
    "choose": {"task.labels": ["Dental", "Anatomy"]},
    "extract": {"task.labels": [], "task.json_schema": VISIT},
    "generate": {"task.labels": []},
}


@pytest.mark.parametrize("kind", KINDS)
def test_predict_answers_what_evaluation_measures(home, base, kind):
    """`/predict` and the nightly evaluation give the same greedy answer to one turn and to several."""
    task = {"task.kind": kind} | KINDS[kind]
    config = gateway_config(home, **{"model.base": str(base), "model.max_new_tokens": 60}, **task)
    engine = evaluated.Engine(config.model, str(base), config.task.system_prompt)
    wanted = [task_of(config).answer(Embedded(lambda: engine), asked) for asked in (ASKED, TALK)]
    serving = EmbeddedEngine(config.serving, config.model, str(base))
    with gateway(config, serving) as running, running.client() as client:
        bodies = ({"text": ASKED[0]["content"]}, {"messages": ASKED}, {"messages": TALK})
        text, one, talk = (client.post("/predict", json=body).json() for body in bodies)
    assert [text["label"], one["label"], talk["label"]] == [wanted[0], *wanted]
    if kind == "extract":
        assert talk["value"] == json.loads(wanted[1])
        assert talk["finish_reason"] == "stop"
    else:
        assert talk["value"] is None


def test_evaluation_gives_json_in_batches(base):
    """Rows of a batch end at different places, and none disturbs another."""
    engine = evaluated.Engine(Model(batch_size=5), str(base))
    asked = [
        [{"role": "user", "content": f"Where is {thing}?"}] for thing in ("it", "the femur of a dog", "x")
    ]
    together = generate_json(engine, asked, json.dumps(VISIT), 100)
    assert together == [generate_json(engine, [one], json.dumps(VISIT), 100)[0] for one in asked]
    for text in together:
        jsonschema.validate(json.loads(text), VISIT)
