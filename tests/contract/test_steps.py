"""Each step module keeps the runner's contract."""

import importlib

import pytest

from pipelines.core.config import Config
from pipelines.core.contract import CLOSING, NIGHTLY

SECTIONS = {field.alias or name for name, field in Config.model_fields.items()}


@pytest.mark.parametrize("step", [*NIGHTLY, *CLOSING])
def test_a_step_offers_what_the_runner_calls(step):
    module = importlib.import_module(f"pipelines.steps.{step}")
    assert set(module.SETTINGS) <= SECTIONS, f"{step} names settings that do not exist"
    assert callable(module.run)
    assert callable(module.external_inputs)
    assert module.__doc__, f"{step} says what it does"
