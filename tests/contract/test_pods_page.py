"""docs/pods.md is true: its profile loads, and the settings, commands and labels that it names exist."""

import re
import sys
from pathlib import Path

import pytest

from pipelines.core.config import CommandPods, Config, Pods
from pipelines.core.config.pods import COMMANDS

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.launchers import Command  # noqa: E402
from nightshift.launchers.pods.document import Owner, document  # noqa: E402

PAGE = (PROJECT / "docs" / "pods.md").read_text()
DIGEST = "0f3c" * 16


@pytest.fixture
def example(tmp_path):
    """The page's profile, with the places that docs/cluster.md names."""
    import tomllib

    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    cluster = tomllib.loads((PROJECT / "config" / "cluster.toml").read_text())
    return Config.model_validate({**cluster, **tomllib.loads(block.replace("0f3c…", DIGEST))})


def test_the_example_loads(example):
    train = example.pods.of("train")
    assert (example.launcher, train.gpu, train.memory, train.queue) == ("pod", 1, "64Gi", "night")
    assert example.pods.of("curate").gpu == 0


def test_the_settings_of_a_command_are_named():
    (listed,) = re.findall(r"A table `\[pods\.COMMAND\]` may set (.*?)\. Commands", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == set(CommandPods.model_fields)


def test_the_commands_are_named():
    (listed,) = re.findall(r"Commands are the steps, (.*?)\.\n", PAGE, re.DOTALL)
    named = set(re.findall(r"`([\w-]+)`", listed))
    assert named == {command for command in COMMANDS if "-" in command or command == "watch"}


def test_what_looks_like_a_setting_is_one():
    named = {*re.findall(r"`pods\.(\w+)`", PAGE), *re.findall(r"`(\w+_(?:s|timeout_s|size|secret))`", PAGE)}
    assert named <= set(Pods.model_fields), named - set(Pods.model_fields)


def test_the_names_and_labels_are_those_of_a_pod(example):
    owner = Owner("nightly_retrain", "r", "train")
    pod = document(Command(("train",), "d", "r", ""), owner, example, "train-1", "u", "s3://b/r.json")
    labels = {label for label in re.findall(r"`(nightshift/\w+)`", PAGE) if label != "nightshift/pipelines"}
    assert labels == {label for label in pod["metadata"]["labels"] if label.startswith("nightshift/")}
    for name in ("nightshift-profile", "nightshift-environment", "nightshift-keys", "nightshift-step"):
        assert f"`{name}`" in PAGE
        assert name in str(pod)
