"""The key that gateways share, and the ids that carry its mark."""

import pytest

from gateway.serving.routing_key import new_request_id, routing_key, was_given
from pipelines.core.errors import InputError
from tests.support.gateways import gateway_config

KEY = b"k" * 32


def test_a_key_is_made_once_in_the_folder_of_keys(home):
    config = gateway_config(home)
    key = routing_key(config)
    assert routing_key(config) == key == (home / "keys" / "routing.key").read_bytes()
    assert len(key) == 32


def test_a_key_of_an_older_home_stays(home):
    (home / "gateway").mkdir()
    (home / "gateway" / "routing.key").write_bytes(KEY)
    assert routing_key(gateway_config(home)) == KEY
    assert not (home / "keys").exists()


def test_a_folder_that_cannot_be_written_is_told(home):
    (home / "file").touch()
    config = gateway_config(home).model_copy(update={"keys": str(home / "file" / "keys")})
    with pytest.raises(InputError, match=r"no key .*routing\.key, and it cannot be made.*nightshift prepare"):
        routing_key(config)


def test_an_id_tells_its_tenant_to_every_gateway_with_the_key():
    given = new_request_id(KEY, "north-clinic")
    assert was_given(KEY, "north-clinic", given)
    assert not was_given(KEY, "south-clinic", given)
    assert not was_given(b"other" * 8, "north-clinic", given)
    changed = given[:-1] + ("0" if given[-1] != "0" else "1")
    for other in (changed, given + ".shadow", given.upper(), "chatcmpl-" + "0" * 32, "", given + "\n"):
        assert not was_given(KEY, "north-clinic", other)
