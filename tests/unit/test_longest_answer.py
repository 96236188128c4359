"""How long an answer may be that a request to the gateway asks for."""

import pytest

from gateway.errors import Refusal
from gateway.http.routes import _check_length
from gateway.http.schemas import ChatRequest
from pipelines.core.config import Config

TASK = {"kind": "generate"}


def check(asked, most, of_task):
    config = Config.model_validate(
        {
            "profile": "x",
            "task": TASK,
            "model": {"max_new_tokens": of_task},
            "gateway": {"max_tokens": most},
        }
    )
    body = ChatRequest(model="m", messages=[{"role": "user", "content": "Hello"}], max_tokens=asked)
    completion = body.completion(of_task)
    _check_length(body, completion, config)
    return completion.max_tokens


@pytest.mark.parametrize(("asked", "most", "of_task"), [(None, 256, 512), (512, 256, 512), (256, 256, 64)])
def test_what_the_task_generates_is_allowed(asked, most, of_task):
    assert check(asked, most, of_task) == (asked or of_task)


@pytest.mark.parametrize(("asked", "most", "of_task"), [(513, 256, 512), (257, 256, 64)])
def test_more_than_both_limits_is_refused(asked, most, of_task):
    with pytest.raises(Refusal, match=f"max_tokens is {asked}"):
        check(asked, most, of_task)
