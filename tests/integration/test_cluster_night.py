"""The same night on one machine, and on PostgreSQL, S3 and Redis: the same verdicts, reasons and numbers."""

import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.stores import open_ledger, open_run
from tests.support import cluster, tiny
from tests.support.cluster import PROJECT
from tests.support.kept import share_heads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
NIGHT = date(2026, 1, 1)
STEPS = (*NIGHTLY, *CLOSING)


@pytest.fixture(scope="module")
def environment(postgres_server, object_store_server):
    """What the processes of a cluster find in their environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(postgres_server.passfile))
        for name, value in object_store_server.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def profiles(tmp_path_factory, environment, postgres_server, redis_server):
    """Two homes with their profiles, one of each kind."""
    import s3fs

    folder = tmp_path_factory.mktemp("cluster")
    base = tiny.make_base(folder / "base")
    plain = (PROJECT / "tests/support/tiny.toml").read_text() + f'\n[model]\nbase = "{base}"\n'
    for name in ("night_ledger", "night_mlflow", "night_feast"):
        postgres_server.create(name)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("a-night")
    url = postgres_server.url
    shared = {
        "ledger_url": url("night_ledger"),
        "journal_url": url("night_ledger"),
        "tracking_uri": url("night_mlflow"),
        **{f"{root}_root": f"s3://a-night/{root}" for root in ("runs", "lake", "shared", "artifact")},
        "keys": str(folder / "keys"),
    }
    features = {"online_url": f"redis://127.0.0.1:{redis_server.port}/1", "registry_url": url("night_feast")}
    (folder / "one.toml").write_text(plain)
    lines = [f'{name} = "{value}"' for name, value in shared.items()]
    more = ["[features]", *(f'{name} = "{value}"' for name, value in features.items())]
    (folder / "many.toml").write_text("\n".join([*lines, plain, *more, ""]))
    return {
        name: ["--home", str(folder / name), "--config", str(folder / f"{name}.toml")]
        for name in ("one", "many")
    }


def config_of(where):
    return load_config(where[3], where[1])


@pytest.fixture(scope="module")
def nights(profiles):
    """The night, run by both; the second one's steps each run in a home of their own, as in pods."""
    for _name, where in profiles.items():
        share_heads(where[1])
        assert main(["prepare", *where]) == 0
        assert main(["sample", *where, "--night", str(NIGHT)]) == 0
        uri = f"{config_of(where).path(config_of(where).runs_root)}/{NIGHT}"
        for step in STEPS:
            assert main([step, "--run-dir", uri, *where]) == 0, step
    return {name: open_run(config_of(where), str(NIGHT)).manifests() for name, where in profiles.items()}


def test_all_steps_ended_alike(nights):
    one, many = nights["one"], nights["many"]
    assert list(one) == list(many) == list(STEPS)
    for step in STEPS:
        assert (many[step].verdict, many[step].reasons) == (one[step].verdict, one[step].reasons), step


@pytest.mark.parametrize("step", [step for step in STEPS if step not in ("report", "record")])
def test_metrics_and_rows_are_the_same(nights, step):
    one, many = nights["one"][step], nights["many"][step]
    assert many.metrics == one.metrics
    rows = {name: artifact.sha256 for name, artifact in one.outputs.items() if "parquet" in artifact.path}
    assert {name: many.outputs[name].sha256 for name in rows} == rows


def test_a_home_keeps_nothing_that_is_shared(nights, profiles):
    home = Path(profiles["many"][1])
    found = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    assert found <= {"cache", "ledger.head", "locks", "sample", "scratch"}, "what this machine can make again"


def test_both_verify(nights, profiles, capsys):
    said = {}
    for name, where in profiles.items():
        assert main(["verify", *where]) == 0, capsys.readouterr().out
        said[name] = capsys.readouterr().out.splitlines()[-1]
    assert said["one"] == said["many"]


def test_a_secret_is_nowhere(nights, profiles, object_store_server):
    """Keys of the object store and passwords are in no manifest and not in the ledger."""
    secrets = [cluster.PASSWORD, object_store_server.environment["AWS_SECRET_ACCESS_KEY"]]
    config = config_of(profiles["many"])
    texts = [manifest.model_dump_json() for manifest in nights["many"].values()]
    texts += [decision.document for decision in open_ledger(config).decisions()]
    assert not [secret for secret in secrets for text in texts if secret in text]


def test_another_machine_goes_on(nights, profiles, tmp_path):
    """A machine with an empty home finds the night done, and returns what it recorded."""
    where = ["--home", str(tmp_path / "new"), *profiles["many"][2:]]
    config = config_of(profiles["many"])
    result = tmp_path / "result.json"
    uri = f"{config.runs_root}/{NIGHT}"
    assert main(["gate", "--run-dir", uri, *where, "--result", str(result)]) == 0
    assert json.loads(result.read_text())["reused"] is True
