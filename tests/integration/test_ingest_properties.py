"""Whatever a delivery holds, `ingest` and `validate` keep, quarantine or hold; they never break."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemBytecodeCache

from tests.support.fuzz import examples
from tests.support.logs import NIGHT
from tests.support.nights import Night
from tests.support.odd_logs import MIXED


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(tmp_path_factory):
    """Great Expectations compiles its templates anew for each page; here that is a sixth of the time."""
    kept = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        name = "great_expectations.render.view.view.Environment"
        patch.setattr(name, partial(Environment, bytecode_cache=kept))
        yield


@pytest.mark.slow
@settings(max_examples=examples())
@given(MIXED, st.integers(1, 3))
def test_no_delivery_breaks_the_steps(contents, min_rows):
    with TemporaryDirectory() as home:
        night = Night(Path(home), NIGHT, {"validate.min_rows": min_rows})
        for number, content in enumerate(contents):
            (night.folder / f"part-{number}").write_bytes(content)
        taken_in = night.run("ingest")
        if taken_in.verdict == "proceed":
            checked = night.run("validate")
            assert checked.verdict in ("proceed", "hold", "skip")
            assert all(checked.reasons) or checked.verdict == "proceed"
        else:
            assert taken_in.verdict == "hold"
            assert taken_in.reasons
