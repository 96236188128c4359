"""What counts as a change of the gateway's interface that breaks a client."""

import copy

import pytest

from tests.support.openapi_changes import breaking

OLD = {
    "paths": {
        "/ask": {
            "post": {
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}}
                },
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
                    }
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Ask": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text"],
                "properties": {
                    "text": {"type": "string", "maxLength": 9},
                    "mode": {"enum": ["fast", "good"]},
                    "n": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 5}, {"type": "null"}]},
                    "next": {"$ref": "#/components/schemas/Ask"},
                },
            },
            "Answer": {
                "type": "object",
                "required": ["text", "end"],
                "properties": {"text": {"type": "string"}, "end": {"enum": ["stop", "length"]}},
            },
        }
    },
}


def changed(change):
    new = copy.deepcopy(OLD)
    schemas = new["components"]["schemas"]
    change(new["paths"], schemas["Ask"], schemas["Ask"]["properties"], schemas["Answer"])
    return breaking(OLD, new)


FINE = {
    "nothing": lambda paths, ask, fields, answer: None,
    "a new path": lambda paths, ask, fields, answer: paths.update({"/more": {}}),
    "a new option": lambda paths, ask, fields, answer: fields.update(more={"type": "string"}),
    "longer texts": lambda paths, ask, fields, answer: fields["text"].update(maxLength=99),
    "a new mode": lambda paths, ask, fields, answer: fields["mode"]["enum"].append("best"),
    "a field less is needed": lambda paths, ask, fields, answer: ask.update(required=[]),
    "an answer's new field": lambda paths, ask, fields, answer: answer["properties"].update(
        more={"type": "string"}
    ),
    "fewer ends": lambda paths, ask, fields, answer: answer["properties"]["end"].update(enum=["stop"]),
    "another type too": lambda paths, ask, fields, answer: fields["n"]["anyOf"].append({"type": "string"}),
}
BREAKS = {
    "is gone": lambda paths, ask, fields, answer: paths.pop("/ask"),
    "no answer 200": lambda paths, ask, fields, answer: paths["/ask"]["post"]["responses"].clear(),
    "body.mode is taken no more": lambda paths, ask, fields, answer: fields.pop("mode"),
    "body.mode: 'good' is taken": lambda paths, ask, fields, answer: fields["mode"].update(enum=["fast"]),
    "body.mode: its absence": lambda paths, ask, fields, answer: ask["required"].append("mode"),
    "more than maxLength 5": lambda paths, ask, fields, answer: fields["text"].update(maxLength=5),
    "what does not match": lambda paths, ask, fields, answer: fields["text"].update(pattern="^x"),
    "body.n: integer is taken": lambda paths, ask, fields, answer: fields["n"]["anyOf"][0].update(maximum=4),
    "body.n: null is taken no more": lambda paths, ask, fields, answer: fields["n"]["anyOf"].pop(),
    "body.text: string is taken": lambda paths, ask, fields, answer: fields["text"].update(type="integer"),
    "answer 200.end: its absence": lambda paths, ask, fields, answer: answer["required"].remove("end"),
    "answer 200.end: 'x' is new": lambda paths, ask, fields, answer: answer["properties"]["end"][
        "enum"
    ].append("x"),
    "answer 200.text: number is new": lambda paths, ask, fields, answer: answer["properties"]["text"].update(
        type="number"
    ),
}


@pytest.mark.parametrize("change", FINE.values(), ids=FINE)
def test_a_change_that_breaks_nobody(change):
    assert changed(change) == []


@pytest.mark.parametrize(("words", "change"), BREAKS.items(), ids=BREAKS)
def test_a_change_that_breaks_a_client(words, change):
    assert any(words in one for one in changed(change)), changed(change)


def test_a_change_behind_the_same_name_is_seen():
    old = copy.deepcopy(OLD)
    fields = old["components"]["schemas"]["Answer"]["properties"]
    fields["parts"] = {"type": "array", "items": {"$ref": "#/components/schemas/Part"}}
    old["components"]["schemas"]["Part"] = {"enum": ["text"]}
    new = copy.deepcopy(old)
    new["components"]["schemas"]["Part"]["enum"].append("image")
    assert breaking(old, new) == ["POST /ask: answer 200.parts[]: 'image' is new in answers"]


def test_a_list_that_had_to_be_empty_may_hold_something():
    old = copy.deepcopy(OLD)
    old["components"]["schemas"]["Ask"]["properties"]["more"] = {"type": "array", "items": {}, "maxItems": 0}
    new = copy.deepcopy(old)
    new["components"]["schemas"]["Ask"]["properties"]["more"] = {"type": "array", "items": {"type": "string"}}
    assert breaking(old, new) == []
