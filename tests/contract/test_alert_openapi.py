"""What `/openapi.json` of the alert endpoint says is what the endpoint does, whatever is sent."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))

import schemathesis
from nightshift.endpoint.app import create_app
from nightshift.endpoint.senders import create_secrets
from nightshift.settings import Settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipelines.core.config import load_config
from tests.support.fuzz import examples

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    profile = home / "profile.toml"
    profile.write_text('profile = "test"\n')
    made = Settings(home, profile, Path(sys.executable), load_config(profile, home))
    create_secrets(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/json", "/alertmanager"])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_those_described(endpoint, path, mode):
    operation = schemathesis.openapi.from_asgi("/openapi.json", create_app(endpoint))[path]["POST"]
    headers = {"Authorization": f"Bearer {(endpoint.home / 'alerts' / 'token').read_text()}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples(),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def holds(case):
        case.call_and_validate(headers=headers, checks=CHECKS)

    holds()


def test_every_operation_says_body_errors_and_security(endpoint):
    said = create_app(endpoint).openapi()
    assert said["paths"].keys() == {"/alertmanager", "/json"}
    for path in said["paths"].values():
        assert path["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert path["post"]["responses"].keys() == {"200", "400", "401", "408", "413", "415", "422", "503"}
        assert path["post"]["security"] == [{"token": []}, {"signature": [], "timestamp": []}]
    assert said["components"]["securitySchemes"].keys() == {"token", "signature", "timestamp"}
