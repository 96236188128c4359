"""/openapi.json is complete and true: schemathesis asks a real gateway what it describes, and more."""

import json
from collections import Counter

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.double_engine import DoubleEngine
from tests.support.fuzz import examples
from tests.support.gateways import MODEL, gateway, gateway_config

PATHS = ["/v1/chat/completions", "/predict", "/v1/feedback", "/v1/models"]

# A model that the token does not cover is a 404 though the body is valid; server errors are judged below.
UNASKED = [positive_data_acceptance, not_a_server_error]
TOO_SLOW = list(HealthCheck)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gateway(gateway_config(tmp_path_factory.mktemp("home")), DoubleEngine()) as found:
        yield found


@pytest.fixture(scope="module")
def described(running):
    return httpx.get(f"{running.url}/openapi.json", trust_env=False).json()


@pytest.fixture(scope="module")
def api(running, described):
    found = schemathesis.openapi.from_dict(described)
    found.config.update(base_url=running.url)
    return found


def test_every_route_tells_bodies_errors_and_who_may_call(described):
    for path in PATHS:
        (method, operation), *_ = described["paths"][path].items()
        assert operation["security"] == [{"token": []}]
        assert {"200", "401", "408", "413", "431", "503"} <= {*operation["responses"]}
        for status, answer in operation["responses"].items():
            schema = answer["content"]["application/json"]["schema"]["$ref"]
            assert schema.endswith("/ErrorBody") == (status != "200")
        assert ("requestBody" in operation) == (method == "post")
    chat = described["paths"]["/v1/chat/completions"]["post"]
    assert {"400", "404", "429", "502", "504"} <= {*chat["responses"]}
    assert "text/event-stream" in chat["responses"]["200"]["content"]
    assert described["components"]["securitySchemes"]["token"]["bearerFormat"] == "JWT"
    assert "ChatChunk" in described["components"]["schemas"]


def test_the_examples_are_answered(running, described):
    with running.client() as client:
        for path in ("/v1/chat/completions", "/predict"):
            body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
            assert client.post(path, json=body).status_code == 200


def test_a_stream_is_what_is_described(running, api):
    operation = api["/v1/chat/completions"]["POST"]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Why?"}], "stream": True}
    headers = {"Authorization": f"Bearer {running.token()}"}
    case = operation.Case(body=body, media_type="application/json")
    answer = case.call(headers=headers)
    assert "text/event-stream" in answer.headers["content-type"][0]
    case.validate_response(answer, headers=headers)


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", PATHS)
def test_whatever_is_asked_is_answered_as_described(running, api, described, path, mode):
    (method,) = described["paths"][path]
    statuses = Counter()
    headers = {"Authorization": f"Bearer {running.token()}"}

    @settings(max_examples=examples(), deadline=None, derandomize=True, suppress_health_check=TOO_SLOW)
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def ask(case):
        if mode is GenerationMode.POSITIVE and path == "/v1/chat/completions":
            case.body["model"] = MODEL  # else nearly every request is for a model that there is not
        answer = case.call(headers=headers)
        case.validate_response(answer, headers=headers, excluded_checks=UNASKED)
        assert answer.status_code not in (500, 502), answer.text
        assert answer.status_code != 503 or "retry-after" in answer.headers
        if answer.status_code >= 400:
            assert {*json.loads(answer.text)["error"]} == {"message", "type", "param", "code"}

        statuses[answer.status_code] += 1

    ask()
    assert statuses[200] or (mode, path) != (GenerationMode.POSITIVE, "/v1/chat/completions")
