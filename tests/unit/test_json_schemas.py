"""Which schemas can be used, what follows them within bounds, and in which order keys stand."""

import datetime
import json
import math

import pytest
from llguidance import LLMatcher, LLTokenizer

from pipelines.core.config import Config
from pipelines.core.json_schema import Schema
from pipelines.core.json_schema.visits import MAX_VISITS

TEXT = {"type": "string"}
SEVEN = "http://json-schema.org/draft-07/schema#"
LOOP = {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}


def thing(*names, **more):
    """An object with these keys, all of which it has."""
    return {"type": "object", "properties": dict.fromkeys(names, TEXT), "required": list(names)} | more


AB = thing("a", "b", additionalProperties=False)
C = {"C": AB}
ORDERED = {
    "pydantic's optional": (
        {"properties": {"c": {"anyOf": [{"$ref": "#/$defs/C"}, {"type": "null"}]}}, "$defs": C},
        {"c": 0},
    ),
    "anyOf": ({"anyOf": [thing("b", "x"), AB]}, 0),
    "oneOf": ({"oneOf": [thing("b", "x", additionalProperties=False), AB]}, 0),
    "allOf": ({"allOf": [thing("a"), thing("b")]}, 0),
    "allOf before": ({"allOf": [thing("a")], **thing("b")}, 0),
    "properties before": ({**thing("a"), "allOf": [thing("b")]}, 0),
    "a reference beside": ({"$ref": "#/$defs/C", **thing("b"), "$defs": {"C": thing("a")}}, 0),
    "prefixItems": ({"type": "array", "prefixItems": [TEXT, AB], "items": TEXT}, ["x", 0, "y"]),
    "items": ({"type": "array", "items": AB}, [0, 0]),
    "additionalProperties": ({"type": "object", "additionalProperties": AB}, {"k": 0}),
    "patternProperties": ({"type": "object", "patternProperties": {"^k": AB}}, {"k": 0}),
    "an escaped reference": ({"$ref": "#/$defs/a%20b~1", "$defs": {"a b/": AB}}, 0),
    "an id": ({"$id": "https://e.x/s", "$ref": "https://e.x/s#/$defs/C", "$defs": C}, 0),
    "an object of enum": ({"enum": [{"a": "1", "b": "1"}]}, 0),
    "required": ({"type": "object", "required": ["a", "b"], "additionalProperties": TEXT}, 0),
    "a draft": ({"$schema": SEVEN, "$ref": "#/definitions/C", "definitions": C}, 0),
}  # fmt: skip
UNKNOWN_TO_THE_GRAMMAR = {
    "an anchor": ({"$ref": "#x", "$defs": {"C": AB | {"$anchor": "x"}}}, 0),
    "if": ({"if": thing("a"), "then": AB, "else": thing("b")}, 0),
    "else": ({"if": thing("z"), "then": thing("b"), "else": AB}, 0),
    "dependentSchemas": ({"dependentSchemas": {"a": AB}}, 0),
    "items of a draft": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [TEXT], "additionalItems": AB},
        ["x", 0],
    ),
}  # fmt: skip


def filled(shape, inner):
    """The value that stands where the shape has 0."""
    if isinstance(shape, list):
        return [filled(one, inner) for one in shape]
    if isinstance(shape, dict):
        return {key: filled(one, inner) for key, one in shape.items()}
    return inner if shape == 0 else shape


@pytest.mark.parametrize("name", ORDERED | UNKNOWN_TO_THE_GRAMMAR)
def test_keys_stand_as_the_grammar_writes_them(name):
    schema, shape = (ORDERED | UNKNOWN_TO_THE_GRAMMAR)[name]
    found = [
        json.dumps(Schema(schema).read(filled(shape, inner))[0])
        for inner in ({"a": "1", "b": "1"}, {"b": "1", "a": "1"})
    ]
    assert found == [json.dumps(filled(shape, {"a": "1", "b": "1"}))] * 2
    if name in ORDERED:
        matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_json_schema(json.dumps(schema)))
        assert matcher.consume_tokens(list(found[0].encode()))
        assert matcher.is_accepting()


WRONG = {
    "a date": ({"enum": [datetime.date(2026, 1, 1)]}, "write a date as text"),
    "infinity": ({"maximum": math.inf}, "no inf or nan"),
    "itself": ({"$ref": "#"}, "in a circle"),
    "a circle": ({"$ref": "#/$defs/a", "$defs": LOOP}, "in a circle"),
    "a circle of branches": ({"anyOf": [TEXT, {"not": {"allOf": [{"$ref": "#"}]}}]}, "in a circle"),
    "a circle that nothing uses": ({"$defs": {"a": {"$ref": "#/$defs/a"}}}, "in a circle"),
    "a draft that is no text": ({"$schema": {"a": 1}}, "no draft"),
    "an old draft": ({"$schema": "http://json-schema.org/draft-03/schema#"}, "no draft"),
    "a draft within": ({"items": {"$schema": SEVEN}}, "in one of its parts"),
    "no schema": ({"type": "objekt"}, "'objekt' is not valid"),
    "a part that is none": ({"$ref": "#/x/y", "x": {"y": {"properties": []}}}, r"\[\] is not of type"),
    "a text": ({"$ref": "#/title", "title": "x"}, "'x' is not of type"),
    "a place in a number": ({"$ref": "#/x/y", "x": 5}, "refers to '#/x/y'"),
    "a place in a list": ({"$ref": "#/x/y", "x": []}, "refers to '#/x/y'"),
    "nowhere": ({"items": {"$ref": "#/$defs/x"}}, "refers to '#/"),
    "an unknown anchor": ({"$ref": "#x"}, "refers to '#x'"),
    "the network": ({"$ref": "https://example.invalid/x"}, "refers to 'https:"),
    "a file": ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "refers to 'file:"),
    "a reference of a number": ({"$ref": 5}, "5 is not of type"),
    "a pattern": ({"pattern": "("}, "is not a 'regex'"),
    "a dynamic reference": ({"$dynamicRef": "#a", "items": {"$dynamicAnchor": "a"}}, "not known here"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_schema_that_fails_late_is_refused_at_once(name):
    schema, words = WRONG[name]
    settings = {"task": {"kind": "extract", "json_schema": schema}, "model": {"max_new_tokens": 64}}
    with pytest.raises(ValueError, match=f"json_schema .*{words}"):
        Config(profile="t", register={"name": "m"}, **settings)


@pytest.mark.parametrize("kind", ["generate", "choose"])
def test_the_scorer_of_a_schema_says_who_has_one(kind):
    settings = {"task": {"kind": kind}, "evaluate": {"scorers": ["exact", "schema"]}}
    with pytest.raises(ValueError, match='only a task of the kind "extract" has one'):
        Config(profile="t", register={"name": "m"}, model={"max_new_tokens": 64}, **settings)


def tree_of(*names, of="anyOf"):
    """A filter, as applications write it."""
    branches = [
        {
            "type": "object",
            "properties": {"args": {"type": "array", "items": {"$ref": "#/$defs/t"}}, "op": {"const": name}},
            "required": ["op", "args"],
            "additionalProperties": False,
        }
        for name in names
    ]
    return {"$ref": "#/$defs/t", "$defs": {"t": {of: [*branches, TEXT]}}}


@pytest.mark.parametrize("of", ["anyOf", "oneOf"])
def test_a_deep_tree_of_branches_is_checked(of):
    value = "x"
    for _ in range(24):
        value = {"args": [value], "op": "not"}
    schema = Schema(tree_of("and", "or", "not", of=of))
    assert schema.read(value) == (value, "")
    assert "is not valid under" in schema.fault({"args": [value, {"args": [5], "op": "or"}], "op": "not"})


TWICE = {"type": "array", "items": {"$ref": "#/$defs/t"}}
ENDLESS = {
    "allOf": {"allOf": [TWICE, TWICE]},
    "not": {"allOf": [{"not": {"not": TWICE}}, {"not": {"not": TWICE}}]},
    "if": {"if": TWICE, "then": TWICE},
}


def test_branches_that_all_must_hold_are_read_once():
    both = {"allOf": [{"anyOf": [TWICE, False]}, {"anyOf": [{"$ref": "#/$defs/again"}, False]}]}
    value = []
    for _ in range(60):
        value = [value]
    assert Schema({"$ref": "#/$defs/t", "$defs": {"t": both, "again": TWICE}}).read(value) == (value, "")


def test_keys_that_a_schema_does_not_name_come_last():
    found, wrong = Schema(thing("b")).read({"z": 1, "c": {"y": 1, "x": 2}, "b": "1"})
    assert (json.dumps(found), wrong) == ('{"b": "1", "c": {"x": 2, "y": 1}, "z": 1}', "")


@pytest.mark.parametrize("name", ENDLESS)
def test_a_check_that_would_not_end_is_given_up(name, monkeypatch):
    monkeypatch.setattr("pipelines.core.json_schema.visits.MAX_VISITS", MAX_VISITS // 100)
    value = []
    for _ in range(40):
        value = [value]
    schema = Schema({"$ref": "#/$defs/t", "$defs": {"t": ENDLESS[name]}})
    assert schema.fault(value) == "it is too complex to check against the schema"
    assert schema.fault([[]]) == ""


@pytest.mark.parametrize(
    ("schema", "value", "follows"),
    [
        ({"multipleOf": 0.01}, 19.99, True),
        ({"multipleOf": 0.01}, 19.995, False),
        ({"multipleOf": 1e-300}, 1e308, True),
        ({"multipleOf": 5}, 10**300, True),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}], True),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], False),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 1, True),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 3, False),
        ({"anyOf": [False, True]}, 3, True),
    ],
)
def test_rules_of_our_own_are_those_of_the_standard(schema, value, follows):
    assert (Schema(schema).fault(value) == "") is follows


def test_what_a_validator_cannot_tell_is_no_answer(monkeypatch):
    def fails(*_):
        raise OverflowError

    schema = Schema({"minimum": 1})
    monkeypatch.setattr(schema._validator.__class__, "iter_errors", fails)
    assert schema.fault(3) == "it cannot be checked against the schema"
