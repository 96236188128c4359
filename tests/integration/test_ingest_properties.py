"""Whatever a delivery holds, `ingest` and `validate` keep, quarantine or hold; they never break."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzz import examples
from tests.support.logs import NIGHT
from tests.support.nights import Night
from tests.support.odd_logs import MIXED


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
