"""What `nightshift doctor` says of the judge of safety that a profile names."""

from __future__ import annotations

import pytest
from transformers import BertConfig

from pipelines.core.config import Config
from pipelines.operations.doctor.safety import look_at_safety_judge
from tests.support.moderation_server import moderation_server, results


def looked(**safety):
    return look_at_safety_judge(Config.model_validate({"profile": "x", "safety": safety}))


def test_an_endpoint_is_asked_once():
    with moderation_server(lambda texts: results([(False, 0.1)] * len(texts))) as server:
        (found,) = looked(moderation={"url": server.url, "languages": ["en", "de"]})
        assert (found.level, found.about) == ("ok", "safety")
        assert found.said.endswith("answers. Answers in other languages than en, de stay unclear.")
        server.first.append((401, b"no"))
        (found,) = looked(moderation={"url": server.url})
        assert (found.level, "refused a request (401: no)" in found.said) == ("fail", True)
    (found,) = looked(moderation={"url": server.url})
    assert (found.level, "did not answer (attempts: 1;" in found.said) == ("fail", True)


@pytest.mark.parametrize(("label", "level"), [("toxic", "ok"), ("harm", "fail")])
def test_the_labels_of_a_classifier_are_read(tmp_path, label, level):
    BertConfig(id2label={0: "fine", 1: "toxic"}).save_pretrained(tmp_path)
    (found,) = looked(classifier={"model": str(tmp_path), "harmful_labels": [label]})
    assert (found.level, found.about) == (level, "safety")
    assert ("it has fine, toxic" in found.said) == (level == "fail")


def test_a_classifier_that_is_not_there_fails(tmp_path):
    (found,) = looked(classifier={"model": str(tmp_path / "none"), "harmful_labels": ["x"]})
    assert (found.level, "cannot be loaded" in found.said) == ("fail", True)


def test_the_packaged_judges_need_no_look():
    assert looked() == []
