import re
import tomllib

import pytest

from pipelines.core.config import Config, load_config
from pipelines.core.config.pods import COMMANDS, Pods
from pipelines.core.errors import ConfigError

IMAGE = "registry.example/nightshift/pipelines@sha256:" + "a" * 64
CLUSTER = f"""
launcher = "pod"
runs_root = "s3://b/runs"
lake_root = "s3://b/lake"
shared_root = "s3://b/shared"
artifact_root = "s3://b/artifacts"
ledger_url = "postgresql+psycopg://n@p/n"
journal_url = "postgresql+psycopg://n@p/n"
tracking_uri = "postgresql+psycopg://n@p/m"
keys = "/run/secrets/nightshift"
model.base = "s3://b/base"
evaluate.suite = "s3://b/suite.jsonl"
features.registry_url = "postgresql+psycopg://f@p/f"
features.online_url = "redis://r:6379/1"
pods.image = "{IMAGE}"
"""


def load(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text(f'profile = "x"\n{text}\n')
    return load_config(path, tmp_path)


def test_a_command_takes_what_it_does_not_set_from_all(tmp_path):
    text = """
    [pods]
    memory = "4Gi"
    node_selector = {disk = "ssd"}
    [pods.train]
    gpu = 1
    memory = "64Gi"
    queue = "night"
    tolerations = [{key = "gpu", operator = "Exists", effect = "NoSchedule"}]
    """
    pods = load(tmp_path, text).pods
    train, curate = pods.of("train"), pods.of("curate")
    assert (train.gpu, train.memory, train.queue, train.node_selector) == (
        1,
        "64Gi",
        "night",
        {"disk": "ssd"},
    )
    assert [toleration.key for toleration in train.tolerations] == ["gpu"]
    assert (curate.gpu, curate.memory, curate.queue, curate.tolerations) == (0, "4Gi", "", ())


def test_a_dump_can_be_read_again(tmp_path):
    pods = load(tmp_path, '[pods.train]\ngpu = 2\n[pods.rollout-judge]\nmemory = "1Gi"').pods
    assert Pods.model_validate(pods.model_dump(mode="json")) == pods


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[pods]\nmemory = "64GB"', "pods.memory: '64GB' is no amount of memory, such as \"64Gi\""),
        ('[pods.train]\nmemory = "64"', "'64' is no amount of memory"),
        ('[pods.train]\ncpu = "two"', '\'two\' is no number of cores, such as "8" or "500m"'),
        ('[pods]\ncpu = "0"', "'0' is no number of cores"),
        ("[pods.train]\ngpu = -1", "greater than or equal to 0"),
        ("[pods.trian]\ngpu = 1", "there is no command 'trian': the commands are ingest, validate"),
        ("[pods.train]\ngpus = 1", "pods.commands.train.gpus: no such setting"),
        ("[pods]\nspeed = 1", "pods.speed: no such setting"),
        (
            '[pods]\nimage = "nightshift/pipelines:1.4"',
            "has no digest: a tag may name another image tomorrow",
        ),
        ('launcher = "pod"', "needs pods.image"),
        (CLUSTER.replace('runs_root = "s3://b/runs"', ""), "runs_root lies in the home ({home}/runs)"),
        (CLUSTER.replace('model.base = "s3://b/base"', ""), "model.base lies in the home ({home}/models/"),
        (CLUSTER.replace('features.online_url = "redis://r:6379/1"', ""), "features.online_url is not set"),
        ("[pods]\nkill_grace_s = 60", "less than or equal to 20"),
        ('launcher = "job"', "'process' or 'pod'"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, text, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(tmp_path, text)


def test_a_profile_of_a_cluster_runs_in_pods(tmp_path):
    config = load(tmp_path, CLUSTER)
    assert (config.launcher, config.pods.image) == ("pod", IMAGE)
    assert Config.model_validate(tomllib.loads(f'profile = "x"\n{CLUSTER}')) == config.model_copy(
        update={"home": "."}
    )


def test_every_command_of_the_dags_can_have_a_pod_of_its_own():
    assert {"ingest", "train", "record", "rollout-judge", "alerts-route", "watch", "features-sync"} < {
        *COMMANDS
    }
