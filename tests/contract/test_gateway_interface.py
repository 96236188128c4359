"""Clients of the last release go on working: see docs/interface.py."""

import json

from docs.interface import ASKED_FOR, RELEASED, interface
from tests.support.openapi_changes import breaking


def test_no_older_client_asks_for_what_is_new_in_answers():
    """The options of the last release took no value, so no client of it sends one."""
    released = json.loads(RELEASED.read_text("utf-8"))
    options = released["components"]["schemas"]["ChatRequest"]["properties"]
    for option in ASKED_FOR:
        kinds = options[option]["anyOf"]
        assert all(kind["type"] == "null" or kind.get("maxItems") == 0 for kind in kinds)


def test_no_client_of_the_last_release_breaks():
    released, today = json.loads(RELEASED.read_text("utf-8")), interface()
    majors = [one["info"]["version"].split(".")[0] for one in (released, today)]
    asked_for = {change for changes in ASKED_FOR.values() for change in changes}
    found = {*breaking(released, today)}
    assert asked_for <= found, "docs/interface.py names changes that are none"
    changes = sorted(found - asked_for)
    assert not changes or majors[0] != majors[1], "\n".join(
        ["Raise the first number of VERSION in gateway/http/openapi.py, or undo this:", *changes]
    )
