"""What a person is told when the machine is not fit, and the arithmetic of Airflow's share."""

import json
import os
from pathlib import Path

import pytest
from nightshift.local import instance, nightly
from nightshift.local.environment import airflow_environment, create_secrets, password
from nightshift.local.follow import covered
from nightshift.local.setup import ensure_ready, ready_file
from nightshift.settings import Settings

from pipelines.core.errors import MachineError


def test_covered_counts_overlapping_commands_once():
    assert covered([(10, 20), (15, 18), (19, 25), (30, 31)], since=0) == 16
    assert covered([(10, 20), (30, 40)], since=35) == 5
    assert covered([], since=0) == 0


def test_a_full_disk_gets_one_sentence(settings, monkeypatch):
    monkeypatch.setattr(instance, "MIN_FREE_GIB", 10**9)
    with pytest.raises(MachineError, match=r"GiB of disk is free at .* Free some space"):
        instance.check_machine(settings)


def test_a_missing_work_environment_gets_one_sentence(settings):
    broken = Settings(settings.home, settings.config_path, Path("/nowhere/python"), settings.config)
    with pytest.raises(MachineError, match=r"no /nowhere/python\. Run `make setup`"):
        instance.check_machine(broken)


def test_a_sample_that_breaks_gets_its_own_sentence(settings):
    settings.python.write_text('#!/bin/sh\necho "fault: There is no model. Get one." >&2\nexit 2\n')
    with pytest.raises(SystemExit, match=r"fault: There is no model\. Get one\."):
        nightly._next_night(settings, nightly._start_sample(settings))


def test_nothing_runs_in_an_empty_home(settings):
    assert instance.running(settings) is None


def test_secrets_are_made_once_and_not_taken_from_the_shell(settings, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "from the shell")
    assert create_secrets(settings) is True
    first = password(settings), airflow_environment(settings, 1)["AIRFLOW__CORE__FERNET_KEY"]
    assert create_secrets(settings) is False
    assert (password(settings), airflow_environment(settings, 1)["AIRFLOW__CORE__FERNET_KEY"]) == first
    assert first[1] != "from the shell"


def test_an_earlier_home_gets_the_secrets_of_alerts(settings):
    ready_file(settings).parent.mkdir(parents=True, exist_ok=True)
    ready_file(settings).touch()
    ensure_ready(settings)
    made = [settings.home / "alerts" / name for name in ("token", "hmac.key")]
    assert all(path.read_text() and path.stat().st_mode & 0o777 == 0o600 for path in made)
    before = [path.read_text() for path in made]
    ensure_ready(settings)
    assert [path.read_text() for path in made] == before


def test_every_airflow_process_is_told_to_stay_on_loopback(settings):
    create_secrets(settings)
    environment = airflow_environment(settings, 1234)
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:1234/execution/"
    json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])


def test_pools_hold_as_many_evaluations_as_memory_does(settings, monkeypatch):
    """Airflow is prepared again when the setting changes, and only then."""
    slots = []

    def airflow(_, *words):
        if words[0] == "pools":
            slots.append(json.loads(Path(words[2]).read_text())["model"]["slots"])

    monkeypatch.setattr("nightshift.local.setup._airflow", airflow)
    for at_once in (2, 2, 1, 0, 0):
        config = settings.config.model_copy(update={"evaluations_at_once": at_once})
        ensure_ready(Settings(settings.home, settings.config_path, settings.python, config))
    assert slots == [2, 1, os.cpu_count()]
