"""`nightshift inspect` on any bytes: it refuses a file in words, or writes a profile that loads."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import InputError
from pipelines.operations.inspect.run import inspect
from tests.support.fuzz import examples
from tests.support.logs import as_csv, as_jsonl
from tests.support.odd_logs import BYTES, NAMES, ODD, ROWS, TEXT, VALUES, lines_of, whole

WILD = st.lists(st.dictionaries(NAMES | TEXT, VALUES | TEXT, max_size=5), max_size=6)
LOGS = (
    BYTES
    | ROWS.map(as_jsonl)
    | ODD.map(lines_of)
    | WILD.map(lines_of)
    | WILD.map(lambda rows: as_csv(whole(rows)))
)


@pytest.mark.slow
@settings(max_examples=examples(), deadline=None)
@given(LOGS, LOGS | st.none())
def test_any_log_has_a_profile_or_is_refused(log, feedback):
    with TemporaryDirectory() as folder:
        path, told, profile = (Path(folder, name) for name in ("log", "told", "mine.toml"))
        path.write_bytes(log)
        told.write_bytes(feedback or b"")
        refused = ""
        try:
            inspect(path, told if feedback else None, "", profile, False)
        except InputError as error:
            refused = str(error)
        assert "fault of nightshift" not in refused
        assert profile.exists() is not bool(refused)
