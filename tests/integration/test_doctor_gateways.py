"""`nightshift doctor` compares the gateways that live with each other and with this machine."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace

import httpx
import pytest

from pipelines.core.barrier import SeenGateway
from pipelines.core.errors import InputError
from pipelines.core.version import Version, differences, parsed
from pipelines.operations.doctor.gateways import compared, look_at_gateways
from pipelines.operations.gateways import print_gateways, strike_gateway
from pipelines.stores import open_gateways
from pipelines.stores.gateways.fleet import Report
from pipelines.stores.gateways.version import own_version
from pipelines.stores.held_move import gone_gateways
from tests.support.cluster import PROJECT
from tests.support.fleets import member_config
from tests.support.gateways import gateway_config, until

HERE = Version("a" * 64, "b" * 64, "1234567890", {"ledger": "0003", "journal": "0001"})
OLDER = replace(HERE, code="c" * 64, commit="abcdef0123")


def seen(name, version):
    text = version.text() if version else ""
    return SeenGateway(name, f"http://{name}", "", 5, 5, "", 0.0, text)


def found(*gateways):
    return [(one.level, one.said, one.remedy) for one in compared(HERE, gateways)]


def test_versions_survive_the_table():
    assert parsed(HERE.text()) == HERE
    assert parsed("") is parsed("[1]") is parsed('{"color": 1}') is None
    assert differences(HERE, HERE) == []


def test_equal_gateways_are_fine():
    ((level, said, _),) = found(seen("a", HERE), seen("b", HERE))
    assert (level, said) == (
        "ok",
        "The code, packages and migrations of this machine run on all gateways that live (2).",
    )
    assert found()[0][:2] == ("ok", "No gateway lives.")


def test_the_odd_gateway_is_named():
    ((level, said, remedy),) = found(seen("a", HERE), seen("b", OLDER))
    assert level == "warn"
    assert said == (
        "http://b differs from this machine: "
        "code (commit abcdef01, cccccccc there, commit 12345678, aaaaaaaa here)."
    )
    assert remedy.startswith("Update the gateways one after the other")


def test_gateways_that_agree_point_at_this_machine():
    both = found(seen("a", OLDER), seen("b", OLDER))
    assert [remedy.split(":")[0] for _, _, remedy in both] == ["The gateways agree"] * 2


def test_packages_and_migrations_are_compared():
    other = replace(HERE, lock="d" * 64, migrations={"ledger": "0001", "journal": "0001"})
    ((level, said, _),) = found(seen("a", other))
    assert level == "fail"
    assert "packages (lock dddddddd there, bbbbbbbb here)" in said
    assert "migration of the ledger (0001 there, 0003 here)" in said


def test_a_gateway_that_names_no_version_is_told(database, home):
    assert found(seen("a", None))[0][0] == "warn"
    assert look_at_gateways(gateway_config(home)) == []  # SQLite: there is one gateway


@pytest.fixture
def config(home, database):
    patient = gateway_config(home, contact_s=600.0)
    return patient.model_copy(update={"ledger_url": database, "journal_url": database})


def test_who_is_gone_with_rows_left_can_be_struck_off(config, capsys):
    with closing(open_gateways(config)) as gateways:
        alive = Report("a", "http://a", "key", version=own_version().text())
        gone = Report("b", "http://b", "key", spool="s", spool_rows=1200)
        gateways.join(alive, 0)
        gateways.join(gone, 0)
        assert gone_gateways(config) == []
        gateways.leave(gone)
        gateways.leave(Report("c", "http://c", "key"))  # with nothing left it leaves no trace
        fleet = gateways.agree(replace(alive, ready_for=7), 7)
        assert fleet.in_effect == 7  # nobody waits for b
        assert [one.id for one in gone_gateways(config)] == ["b"]
        (about,) = [one for one in look_at_gateways(config) if one.level != "ok"]
        assert about.said.startswith("http://b (b) is gone for ")
        assert about.said.endswith("and 1,200 entries or more wait in its spool.")
        print_gateways(config, as_json=False)
        table = capsys.readouterr().out
        assert "nightshift spool deliver HOME" in table
        print_gateways(config, as_json=True)
        rows = {one["id"]: one for one in json.loads(capsys.readouterr().out)}
        assert [rows[name]["lives"] for name in ("a", "b")] == [True, False]
        assert rows["a"]["version"]["code"] == own_version().code
        with pytest.raises(InputError, match="The gateway a lives"):
            strike_gateway(config, "a")
        with pytest.raises(InputError, match="No gateways of the list are called x"):
            strike_gateway(config, "x")
        strike_gateway(config, "http://b")
        assert "1,200 entries or more) stays there" in capsys.readouterr().out
        assert [one.id for one in gateways.read().gateways] == ["a"]


@contextmanager
def running_from(code, config):
    """A gateway that runs the code of a folder."""
    settings = {name: getattr(config, name) for name in ("ledger_url", "journal_url", "keys")}
    settings |= {"port": config.gateway.port, "contact_s": 60.0}
    command = [sys.executable, "-m", "tests.support.gateway_process", config.home, json.dumps(settings)]
    environment = os.environ | {"PYTHONPATH": str(code)}
    started = subprocess.Popen(command, cwd=code, env=environment, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{config.gateway.port}/readyz"

        def answers():
            assert started.poll() is None
            try:
                return httpx.get(url, trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        until(answers, 60)
        yield
    finally:
        started.kill()
        started.wait()


@pytest.mark.slow
def test_two_gateways_of_two_versions(tmp_path, database):
    """The second one runs a copy of this code in which one file differs, and another lock."""
    other = tmp_path / "other"
    for folder in ("gateway", "pipelines", "tests/support", "requirements"):
        shutil.copytree(PROJECT / folder, other / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "COMMIT").write_text("feedfacefeedface")
    with (other / "gateway" / "errors.py").open("a") as file:
        file.write("# another version\n")
    with (other / "requirements" / "pipelines.txt").open("a") as file:
        file.write("# another lock\n")
    a, b = (member_config(tmp_path, name, database, contact_s=60.0) for name in ("a", "b"))
    with running_from(PROJECT, a), running_from(other, b):
        until(lambda: len(open_gateways(a).read().gateways) == 2)
        (said,) = look_at_gateways(a)
    assert said.level == "warn"
    assert said.said.startswith(
        f"http://127.0.0.1:{b.gateway.port} differs from this machine: code (commit feedface"
    )
    assert "packages (lock" in said.said
    assert said.remedy.startswith("Update the gateways one after the other")
