"""`nightshift doctor` beyond one machine: databases, rights, clocks and keys."""

import pytest
import sqlalchemy as sa

from pipelines.core.errors import InputError
from pipelines.operations.databases import upgrade_databases
from pipelines.operations.doctor.databases import look_at_databases
from pipelines.operations.doctor.keys import NAMES, look_at_keys
from pipelines.operations.doctor.object_stores import look_at_stores
from pipelines.stores import open_ledger
from pipelines.stores.signer import Signer
from tests.support.cluster import PASSWORD
from tests.support.configs import make_config
from tests.unit.test_ledger import document


@pytest.fixture
def config(home, postgres, empty_database):
    if not postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = 'steps'"):
        postgres.execute(f"CREATE ROLE steps LOGIN PASSWORD '{PASSWORD}'")
    url = sa.make_url(empty_database).set(username="steps").render_as_string()
    return make_config(home, "").model_copy(update={"ledger_url": url, "journal_url": url})


def levels(findings):
    return {one.about: one.level for one in findings}


def test_tables_that_are_not_there_say_what_to_run(config):
    (said,) = [one for one in look_at_databases(config) if one.about == "ledger's tables"]
    assert (said.level, said.remedy) == ("fail", "Run `nightshift databases --as OWNER`.")


def test_two_roles_are_fit(config):
    lines = upgrade_databases(config, owner="postgres")
    assert "steps may add rows, and change none of the ledger" in lines[0]
    assert set(levels(look_at_databases(config)).values()) == {"ok"}


def test_one_role_for_all_is_a_warning(config, home, empty_database):
    alone = config.model_copy(update={"ledger_url": empty_database, "journal_url": empty_database})
    upgrade_databases(alone)
    found = levels(look_at_databases(alone))
    assert found["ledger's rights"] == "warn"


def test_a_role_that_may_not_make_tables_is_named(config):
    with pytest.raises(InputError, match=r"role steps may not make the tables .* with --as"):
        upgrade_databases(config)


def test_a_right_that_is_missing_fails(config, postgres, empty_database):
    upgrade_databases(config, owner="postgres")
    postgres.execute("REVOKE INSERT ON decisions FROM steps", sa.make_url(empty_database).database)
    (said,) = [one for one in look_at_databases(config) if one.about == "ledger's rights"]
    assert (said.level, said.said) == ("fail", "The role steps lacks INSERT on decisions.")


def test_a_database_that_is_gone_is_named(config):
    gone = config.model_copy(update={"ledger_url": "postgresql+psycopg://steps@127.0.0.1:1/nowhere"})
    (said,) = [one for one in look_at_databases(gone) if one.about == "ledger"]
    assert said.level == "fail"
    assert "PostgreSQL cannot be reached" in said.said


def test_keys_of_several_machines(config, home, tmp_path):
    upgrade_databases(config, owner="postgres")
    (said,) = look_at_keys(config)
    assert (said.level, "nightshift prepare" in said.remedy) == ("fail", True)
    Signer(config.keys_folder).sign(b"makes them")
    open_ledger(config).add_decision(document(), "00" * 64)
    for name in NAMES[2:]:
        (config.keys_folder / name).write_bytes(b"k" * 32)
        (config.keys_folder / name).chmod(0o600)
    (said,) = look_at_keys(config)
    assert "was signed with other keys" in said.said


def test_buckets_are_tried_as_a_manifest_is_written(home, bucket, monkeypatch):
    import s3fs

    config = make_config(home, "").model_copy(update={"runs_root": f"{bucket}/runs"})
    (found,) = look_at_stores(config)
    assert (found.about, found.level) == ("runs_root", "ok")
    assert s3fs.S3FileSystem().find(bucket) == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    (found,) = look_at_stores(config)
    assert found.level == "fail"
    assert "refused access" in found.said


def test_each_redis_is_asked(home, redis_server):
    there, gone = f"redis://127.0.0.1:{redis_server.port}/0", "redis://127.0.0.1:1/0"
    config = make_config(home, "", **{"gateway.redis_url": there, "features.online_url": gone})
    found = {one.about: one for one in look_at_stores(config)}
    assert found["gateway.redis_url"].level == "ok"
    assert found["features.online_url"].level == "fail"
    assert "does not answer" in found["features.online_url"].said
