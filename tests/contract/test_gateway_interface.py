"""Clients of the last release go on working: see docs/interface.py."""

import json

from docs.interface import RELEASED, interface
from tests.support.openapi_changes import breaking


def test_no_client_of_the_last_release_breaks():
    released, today = json.loads(RELEASED.read_text("utf-8")), interface()
    majors = [one["info"]["version"].split(".")[0] for one in (released, today)]
    changes = breaking(released, today)
    assert not changes or majors[0] != majors[1], "\n".join(
        ["Raise the first number of VERSION in gateway/http/openapi.py, or undo this:", *changes]
    )
