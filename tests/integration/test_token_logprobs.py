"""Log-probabilities of an answer's tokens, from the embedded engine through the gateway to a client."""

import math

import openai
import pytest
from redis import Redis

from gateway.engines.embedded import EmbeddedEngine
from pipelines.core.config import Model, Serving
from pipelines.models import engine as evaluated
from tests.support import tiny
from tests.support.gateways import MODEL, gateway, gateway_config

QUESTION = [{"role": "user", "content": "Where is the femur?"}]
ASKED = {"model": MODEL, "messages": QUESTION, "max_tokens": 6, "logprobs": True, "top_logprobs": 3}
SETTINGS = Model(batch_size=5)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def client(base, tmp_path_factory, redis_server):
    """Of a gateway that keeps its answers in Redis."""
    Redis("127.0.0.1", redis_server.port).flushall()
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    config = gateway_config(tmp_path_factory.mktemp("home"), redis_url=url, **{"model.base": str(base)})
    with (
        gateway(config, EmbeddedEngine(Serving(), SETTINGS, str(base))) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key=running.token(), max_retries=0) as found,
    ):
        yield found


def test_they_are_those_of_the_model(client, base):
    answer = client.chat.completions.create(**ASKED)
    content = answer.choices[0].logprobs.content
    (wanted,) = evaluated.Engine(SETTINGS, str(base)).beginnings([QUESTION], 6)
    assert [one.token.strip() for one in content] == [step.token.strip() for step in wanted.steps]
    for one, step in zip(content, wanted.steps, strict=True):
        assert one.logprob == pytest.approx(max(step.top.values()), abs=1e-3)
        assert [each.logprob for each in one.top_logprobs] == sorted(
            (each.logprob for each in one.top_logprobs), reverse=True
        )
        assert len(one.top_logprobs) == 3
        assert one.bytes is None or bytes(one.bytes).decode() == one.token
    text = "".join(one.token for one in content)
    assert "\ufffd" in text or text.strip() == answer.choices[0].message.content


def test_a_cached_answer_and_a_stream_have_the_same(client):
    whole, again = (client.chat.completions.create(**ASKED) for _ in range(2))
    assert again.nightshift["cached"]
    assert again.choices[0].logprobs == whole.choices[0].logprobs
    chunks = [chunk for chunk in client.chat.completions.create(**ASKED, stream=True) if chunk.choices]
    told = [chunk.choices[0].logprobs for chunk in chunks]
    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1].content == whole.choices[0].logprobs.content


def test_a_drawn_token_has_its_own(client):
    """It need not be among the likeliest."""
    drawn = ASKED | {"temperature": 2.0, "seed": 5, "top_logprobs": 1}
    content = client.chat.completions.create(**drawn).choices[0].logprobs.content
    assert all(-math.inf < one.logprob <= one.top_logprobs[0].logprob for one in content)
    assert any(one.token != one.top_logprobs[0].token for one in content)


def test_none_are_told_where_nobody_asks(client):
    plain = {name: value for name, value in ASKED.items() if not name.endswith("logprobs")}
    assert client.chat.completions.create(**plain).choices[0].logprobs is None
    alone = client.chat.completions.create(**plain, logprobs=True).choices[0].logprobs.content
    assert [one.top_logprobs for one in alone] == [[]] * len(alone)
