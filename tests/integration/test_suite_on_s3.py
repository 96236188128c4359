"""A suite behind a URI: read, proposed and prepared there, and checked by `nightshift doctor`."""

import json

import pytest
import s3fs

from pipelines.core.errors import InputError, UnavailableError
from pipelines.evaluation.suite import suite_digest, suite_file_digest, suite_items
from pipelines.evaluation.suite_place import suite_file, write_suite
from pipelines.operations.doctor.suite import _of_all_machines
from pipelines.operations.migrate.move import copy_suite
from pipelines.sample.prepare import prepare_suite
from pipelines.stores import open_ledger
from tests.support.configs import make_config
from tests.unit.test_ledger import document


def lines(*answers):
    items = [
        {"messages": [{"role": "user", "content": f"question {number}?"}], "answer": answer}
        for number, answer in enumerate(answers)
    ]
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def config_at(home, place, **more):
    return make_config(home, "evaluate", suite=place, **more)


@pytest.fixture
def place(bucket):
    return f"{bucket}/shared/suite.jsonl"


def test_a_suite_on_s3_is_that_of_a_file(home, place):
    write_suite(place, lines("Surgery", "Dental"))
    local = config_at(home, str(home / "suite.jsonl"))
    write_suite(local.evaluate.suite, lines("Surgery", "Dental"))
    remote = config_at(home, place)
    assert suite_items(remote) == suite_items(local)
    assert suite_digest(remote) == suite_digest(local)
    assert suite_file_digest(remote) == suite_file_digest(local)


def test_a_suite_that_changed_is_copied_again(home, place):
    config = config_at(home, place)
    write_suite(place, lines("Surgery"))
    before = suite_file_digest(config)
    s3fs.S3FileSystem().pipe_file(place, lines("Dental "))
    assert suite_file_digest(config) != before
    assert [item["answer"] for item in suite_items(config)] == ["Dental"]


def test_a_copy_that_was_changed_here_is_copied_again(home, place):
    config = config_at(home, place)
    write_suite(place, lines("Surgery"))
    copy = suite_file(config)
    copy.write_bytes(lines("Dental"))
    assert [item["answer"] for item in suite_items(config)] == ["Surgery"]


def test_a_suite_is_never_written_over(home, place):
    write_suite(place, lines("Surgery"))
    with pytest.raises(InputError, match="There is a suite at s3://"):
        write_suite(place, lines("Dental"))
    assert [item["answer"] for item in suite_items(config_at(home, place))] == ["Surgery"]


def test_a_suite_that_is_not_there_is_named(home, place, monkeypatch):
    with pytest.raises(InputError, match=f"There is no evaluation suite at {place}"):
        suite_items(config_at(home, place))
    with pytest.raises(InputError, match=r"There is no bucket nowhere-at-all, which evaluate.suite names"):
        suite_items(config_at(home, "s3://nowhere-at-all/suite.jsonl"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UnavailableError, match=r"evaluate\.suite"):
        suite_items(config_at(home, place))


@pytest.mark.slow
def test_the_samples_suite_is_prepared_there(home, place):
    config = config_at(home, place)
    prepare_suite(config)
    found = suite_file_digest(config)
    prepare_suite(config)  # it is there
    assert suite_file_digest(config) == found
    local = config_at(home, str(home / "suite.jsonl"))
    prepare_suite(local)
    assert suite_file_digest(local) == found


def test_migrate_takes_the_suite_along_once(home, place):
    source, target = config_at(home, str(home / "suite.jsonl")), config_at(home, place)
    assert copy_suite(source, target) == f"there is none at {home}/suite.jsonl"
    write_suite(source.evaluate.suite, lines("Surgery"))
    assert copy_suite(source, target) == f"copied to {place}"
    assert copy_suite(source, target) == f"there is one at {place}"
    assert suite_file_digest(target) == suite_file_digest(source)


def test_doctor_tells_of_a_suite_of_one_machine(home, place, database):
    more = {"ledger_url": database}
    own = config_at(home, str(home / "suite.jsonl")).model_copy(update=more)
    write_suite(own.evaluate.suite, lines("Surgery"))
    (said,) = _of_all_machines(own)
    assert (said.level, "is a file of this machine only" in said.said) == ("warn", True)
    write_suite(place, lines("Surgery"))
    shared = config_at(home, place).model_copy(update=more)
    assert _of_all_machines(shared) == []
    facts = {"suite_digest": suite_digest(shared)}
    asked = document()
    open_ledger(shared).add_decision({**asked, "facts": {**asked.get("facts", {}), **facts}}, "00" * 64)
    assert _of_all_machines(shared) == []
    s3fs.S3FileSystem().pipe_file(place, lines("Dental"))
    (said,) = _of_all_machines(shared)
    assert "The last night asked another suite" in said.said
    assert _of_all_machines(config_at(home, place)) == []  # one machine
