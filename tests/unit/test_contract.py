import json
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest

from pipelines.core.contract import (
    CLOSING,
    NIGHTLY,
    Manifest,
    Usage,
    Verdict,
    digest_of,
    fingerprint,
    night_of,
    run_id_for,
)
from pipelines.core.errors import InputError
from tests.support.manifests import make_manifest


def manifest(**changes):
    return make_manifest(**({"facts": {"rows": 1}, "readings": {"latency_ms": 3.0}} | changes))


def test_a_manifest_survives_json():
    assert Manifest.model_validate_json(manifest().model_dump_json()) == manifest()


def test_time_and_machine_do_not_change_a_manifests_digest():
    later = Usage(started_at=datetime(2027, 1, 1, tzinfo=UTC), seconds=9.0, cpu_seconds=8.0)
    again = manifest(usage=later, readings={"latency_ms": 4.0}, git_commit=None)
    assert again.digest == manifest().digest


def test_a_manifest_without_settings_keeps_its_digest():
    before = json.loads(
        manifest().model_dump_json(exclude={"settings", "usage", "readings", "git_commit", "attempt"})
    )
    assert manifest().digest == digest_of(before)


@pytest.mark.parametrize(
    "change",
    [{"facts": {"rows": 2}}, {"fingerprint": "g"}, {"verdict": Verdict.HOLD}, {"settings": {"gate": {}}}],
)
def test_what_a_step_found_changes_its_digest(change):
    assert manifest(**change).digest != manifest().digest


def test_fingerprint_depends_on_each_part():
    same = fingerprint("train", {"epochs": 1}, {"curate": "a"}, "code")
    assert same == fingerprint("train", {"epochs": 1}, {"curate": "a"}, "code")
    others = [
        fingerprint("evaluate", {"epochs": 1}, {"curate": "a"}, "code"),
        fingerprint("train", {"epochs": 2}, {"curate": "a"}, "code"),
        fingerprint("train", {"epochs": 1}, {"curate": "b"}, "code"),
        fingerprint("train", {"epochs": 1}, {"curate": "a"}, "edoc"),
    ]
    assert len({same, *others}) == 5


def test_digest_does_not_depend_on_key_order_and_refuses_nan():
    assert digest_of({"a": 1, "b": 2}) == digest_of(json.loads('{"b": 2, "a": 1}'))
    with pytest.raises(ValueError, match="Out of range"):
        digest_of(float("nan"))


def test_run_ids_name_their_night():
    night = date(2026, 1, 3)
    assert run_id_for(night, {}) == "2026-01-03"
    assert run_id_for(night, {}, attempt=2) == "2026-01-03-2"
    forced = run_id_for(night, {"decide.force": True})
    assert forced != run_id_for(night, {"train.epochs": 3})
    assert night_of(forced) == night


@pytest.mark.parametrize("bad", ["tonight", "2026-13-01", "2026-01-01x", "", "../2026-01-01"])
def test_a_run_id_without_a_night_is_refused(bad):
    with pytest.raises(InputError, match="does not begin with its night"):
        night_of(bad)


def test_every_need_comes_earlier_in_the_night():
    seen = set()
    for step, needs in NIGHTLY.items():
        assert set(needs) <= seen, step
        seen.add(step)
    assert not seen & set(CLOSING)


def test_contract_and_config_import_no_vendor():
    code = (
        "import sys, pipelines.core.contract, pipelines.core.config;"
        "vendors = ('torch', 'numpy', 'pandas', 'sqlalchemy', 'fsspec', 'mlflow', 'airflow');"
        "print([vendor for vendor in vendors if vendor in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
