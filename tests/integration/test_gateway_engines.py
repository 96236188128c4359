"""Engines of the gateway: what they serve is what was evaluated, whoever else is in the batch."""

import asyncio
import json
import shutil
from contextlib import aclosing

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from gateway.engines import lora
from gateway.engines.base import AdapterMissing, Busy, CompletionRequest, EngineError, RequestRefused
from gateway.engines.batch import Batch
from gateway.engines.embedded import EmbeddedEngine
from gateway.engines.rows import BatchRow
from gateway.engines.schedule import QueuedRow
from pipelines.core.config import Model, Serving
from pipelines.core.traffic_split import Adapter
from pipelines.models import engine as evaluated
from tests.support import tiny

LABELS = ("Anatomy", "Medicine", "Medicine Ward", "Preventive Medicine", "Pediatrics", "Surgery")
TEXTS = ("Where is the femur?", "Dose of aspirin in a child of three years?", "Why?", "A " * 40)
ASKED = [[{"role": "user", "content": text}] for text in TEXTS]
ONE, TWO = Adapter("1", "a" * 64), Adapter("2", "b" * 64)
SETTINGS = Model(batch_size=5)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Two adapters that answer differently from each other and from the base."""
    folder = tmp_path_factory.mktemp("adapters")
    texts = {ONE: ["Where is the femur? Medicine Ward"], TWO: ["Why? Pediatrics and a longer text"]}
    return {one: tiny.make_adapter(base, folder / one.version, texts[one], 20) for one in texts}


@pytest.fixture(scope="module")
def expected(base, adapters):
    """What evaluation says: (choices, free answers of 8 tokens) of every adapter and of the base."""
    engine, answers = evaluated.Engine(SETTINGS, str(base)), {}
    answers[None] = engine.choose(ASKED, LABELS), engine.generate(ASKED, 8)
    for adapter, folder in adapters.items():
        engine.load(adapter.version, folder)
        answers[adapter] = engine.choose(ASKED, LABELS), engine.generate(ASKED, 8)
    return answers


def serve(base, story, serving=None):
    """Run a coroutine function with a fresh engine."""

    async def run():
        engine = EmbeddedEngine(serving or Serving(), SETTINGS, str(base))
        try:
            return await asyncio.wait_for(story(engine), 120)
        finally:
            await engine.close()

    return asyncio.run(run())


async def pieces_of(engine, request, adapter=None):
    async with aclosing(engine.complete(request, adapter)) as pieces:
        return [piece async for piece in pieces]


async def text_of(engine, request, adapter=None):
    return "".join(piece.text for piece in await pieces_of(engine, request, adapter))


def choice(messages):
    return CompletionRequest(messages, choices=LABELS)


def free(messages, max_tokens=8, **more):
    return CompletionRequest(messages, max_tokens=max_tokens, **more)


async def load_all(engine, adapters):
    await asyncio.gather(*(engine.load(adapter, folder) for adapter, folder in adapters.items()))


def test_a_mixed_batch_serves_the_evaluated_answers(base, adapters, expected):
    async def story(engine):
        await load_all(engine, adapters)
        asked = [
            (request(messages), adapter)
            for messages in ASKED
            for adapter in (None, ONE, TWO)
            for request in (choice, free)
        ]
        return await asyncio.gather(*(text_of(engine, *one) for one in asked))

    for serving in (Serving(slots=24, gather_ms=50), Serving(slots=5, prefill_tokens=64, gather_ms=0)):
        answers = iter(serve(base, story, serving))
        for i in range(len(ASKED)):
            for adapter in (None, ONE, TWO):
                assert [next(answers), next(answers)] == [part[i] for part in expected[adapter]]
    assert len({str(answer) for answer in expected.values()}) == 3


def test_logits_are_the_evaluated_ones_mixed_and_merged(base, adapters, tmp_path):
    engine = evaluated.Engine(SETTINGS, str(base))
    wanted = {None: engine.next_logits(ASKED)}
    for adapter, folder in adapters.items():
        engine.load(adapter.version, folder)
        wanted[adapter] = engine.next_logits(ASKED)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapters[ONE])
    merged.merge_and_unload().save_pretrained(tmp_path)
    evaluated.load_tokenizer(base).save_pretrained(tmp_path)
    far = np.abs(evaluated.Engine(SETTINGS, str(tmp_path)).next_logits(ASKED) - wanted[ONE]).max()
    assert far < 1e-4
    rows = lora.RowAdapters()
    lora.install(engine.module, rows)
    ids, mask = engine.pad(engine.prompts(ASKED))
    for names in ([ONE] * 4, [None] * 4, [ONE, TWO, None, ONE], [TWO, None, ONE, TWO]):
        rows.use([name and name.version for name in names])
        with torch.inference_mode():
            found = engine.forward(ids, mask).logits[:, -1].numpy()
        for row, name in enumerate(names):
            assert np.abs(found[row] - wanted[name][row]).max() < 1e-4


def test_an_answer_streams_by_token_and_stops_where_told(base, expected):
    async def story(engine):
        whole = await pieces_of(engine, free(ASKED[0]))
        stop = "".join(piece.text for piece in whole)[3:6]
        return whole, stop, await pieces_of(engine, free(ASKED[0], stop=[stop]))

    whole, stop, cut = serve(base, story)
    text = "".join(piece.text for piece in whole)
    assert text == expected[None][1][0]
    assert len(whole) > 3
    assert (whole[-1].finish_reason, whole[-1].tokens_out) == ("length", 8)
    assert whole[-1].tokens_in > 10
    assert "".join(piece.text for piece in cut) == text[: text.index(stop)].rstrip()
    assert cut[-1].finish_reason == "stop"


def test_sampling_follows_its_seed_whoever_else_is_in_the_batch(base):
    async def story(engine):
        asked = [free(ASKED[0], temperature=1.0, seed=seed) for seed in (1, 1, 2)]
        together = await asyncio.gather(*(text_of(engine, one) for one in asked))
        return together, await text_of(engine, asked[0])

    (first, again, other), alone = serve(base, story)
    assert first == again == alone
    assert first != other


def test_a_full_queue_says_when_to_come_back(base):
    async def story(engine):
        # The limit is on requests that wait: one runs, two wait, the fourth is refused.
        running = asyncio.create_task(text_of(engine, free(ASKED[0], 64)))
        while not engine.running:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(text_of(engine, free(ASKED[1]))) for _ in range(2)]
        while engine.waiting < 2:
            await asyncio.sleep(0.001)
        with pytest.raises(Busy) as refused:
            await text_of(engine, free(ASKED[2]))
        return refused.value, await asyncio.gather(running, *waiting)

    busy, answers = serve(base, story, Serving(slots=1, queue=2))
    assert busy.retry_after_s >= 1
    assert all(answers)


def test_a_burst_beyond_the_queue_is_answered_in_part(base):
    async def story(engine):
        asked = [text_of(engine, free(ASKED[i % 4], 2)) for i in range(12)]
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = serve(base, story, Serving(slots=2, queue=5))
    refused = [answer for answer in answers if isinstance(answer, Busy)]
    assert len(refused) == 7
    assert sum(isinstance(answer, str) for answer in answers) == 5


def test_messages_that_cannot_be_tokens_fail_alone(base, expected):
    async def story(engine):
        odd = free([{"role": "user", "content": "half a character: \ud800"}])
        return await asyncio.gather(
            text_of(engine, odd), text_of(engine, free(ASKED[0])), return_exceptions=True
        )

    error, answer = serve(base, story)
    assert isinstance(error, RequestRefused)
    assert answer == expected[None][1][0]


def test_a_client_that_leaves_disturbs_nobody(base, expected):
    async def story(engine):
        leaving = engine.complete(free(ASKED[1], 100_000), None)
        await anext(leaving)
        staying = asyncio.create_task(text_of(engine, free(ASKED[0])))
        await anext(leaving)
        await leaving.aclose()
        answer = await staying
        await text_of(engine, free(ASKED[2], 1))
        return answer, engine.running

    assert serve(base, story) == (expected[None][1][0], 0)


def test_adapters_come_and_go_while_answers_are_under_way(base, adapters, expected):
    async def story(engine):
        await engine.load(ONE, adapters[ONE])
        long = asyncio.create_task(text_of(engine, free(ASKED[0], 8), ONE))
        await asyncio.sleep(0.01)
        await engine.load(TWO, adapters[TWO])
        leaving = asyncio.create_task(engine.unload(ONE))
        await asyncio.sleep(0)
        with pytest.raises(AdapterMissing):
            await text_of(engine, choice(ASKED[0]), ONE)
        other, first, _ = await asyncio.gather(text_of(engine, free(ASKED[0]), TWO), long, leaving)
        await engine.unload(TWO)
        bare = await text_of(engine, free(ASKED[0]))
        await engine.load(ONE, adapters[ONE])
        return first, other, bare, await text_of(engine, free(ASKED[0]), ONE)

    wanted = [expected[name][1][0] for name in (ONE, TWO, None, ONE)]
    assert list(serve(base, story)) == wanted


def test_broken_adapters_are_refused_and_leave_no_trace(base, adapters, expected, tmp_path):
    """Not there, of another shape, not finite: in this order on an engine that has no adapter yet."""
    weights = load_file(adapters[ONE] / "adapter_model.safetensors")
    for name, change in (
        ("narrow", lambda tensor: tensor[:, :-1].contiguous()),
        ("nan", lambda tensor: tensor * torch.nan),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_bytes(
            (adapters[ONE] / "adapter_config.json").read_bytes()
        )
        changed = {key: change(tensor) for key, tensor in weights.items()}
        save_file(changed, tmp_path / name / "adapter_model.safetensors")

    async def story(engine):
        for name in ("nowhere", "narrow", "nan"):
            with pytest.raises(EngineError):
                await engine.load(TWO, tmp_path / name)
            with pytest.raises(AdapterMissing):
                await text_of(engine, choice(ASKED[0]), TWO)
        await engine.load(ONE, adapters[ONE])
        await engine.load(TWO, adapters[TWO])
        return [await text_of(engine, free(ASKED[0]), name) for name in (None, ONE, TWO)]

    assert serve(base, story) == [expected[name][1][0] for name in (None, ONE, TWO)]


ODD = {
    "huge seed": {"seed": 2**70, "temperature": 1.0},
    "negative seed": {"seed": -(2**63), "temperature": 1.0},
    "tiny temperature": {"temperature": 1e-320},
    "low temperature": {"temperature": 1e-4, "seed": 1},
    "endless temperature": {"temperature": float("inf"), "seed": 1},
    "empty stop": {"stop": [""]},
    "long stop": {"stop": ["x" * 100_000]},
    "double choices": {"choices": ["Surgery", "Surgery"]},
    "one empty choice": {"choices": ["", "Surgery"]},
    "no tokens wanted": {"max_tokens": 0},
    "a special token": {"choices": ["Surgery", "Surgery<|im_end|>"]},
    "half a character": {"messages": [{"role": "user", "content": "\ud800"}]},
    "no messages": {"messages": []},
    "no role": {"messages": [{"content": "x"}]},
    "beyond the context": {"messages": [{"role": "assistant", "content": "a " * 3000}] * 2},
}


def test_an_odd_request_disturbs_no_neighbour(base, adapters, expected):
    """Each odd request is answered or refused, and its neighbours in the batch get the evaluated answers."""
    odd = [CompletionRequest(**{"messages": ASKED[0], "max_tokens": 4, **fields}) for fields in ODD.values()]

    async def story(engine):
        await load_all(engine, adapters)
        asked = [(free(ASKED[0]), None), *((one, ONE) for one in odd), (free(ASKED[1]), ONE)]
        found = await asyncio.gather(*(text_of(engine, *one) for one in asked), return_exceptions=True)
        return found, engine.restarts

    (first, *others, last), restarts = serve(base, story, Serving(slots=24, gather_ms=50))
    assert (first, last) == (expected[None][1][0], expected[ONE][1][1])
    assert restarts == 0
    found = dict(zip(ODD, others, strict=True))
    refused = {name for name, one in found.items() if isinstance(one, RequestRefused)}
    assert {type(one) for one in others} == {str, RequestRefused}
    assert {"half a character", "no role"} <= refused
    assert found["a special token"] in ODD["a special token"]["choices"]  # its name is plain text
    assert not refused & {"huge seed", "tiny temperature", "empty stop", "double choices", "low temperature"}
    assert found["double choices"] == "Surgery"
    assert found["tiny temperature"] == found["low temperature"]  # both are greedy


def rows_of(engine, count):
    rows = [BatchRow(free(ASKED[number % 4], 8), None) for number in range(count)]
    for row in rows:
        row.prepare(engine)
    return rows


def said_by(row):
    return "".join(piece.text for piece in row.pieces)


def test_a_step_that_fails_fails_only_the_rows_that_cannot(base, expected):
    """A token that the model does not have is a real fault: at the start, and in the middle of an answer."""
    engine = evaluated.Engine(SETTINGS, str(base))
    batch, rows = Batch(engine, lora.RowAdapters()), rows_of(engine, 7)
    rows[2].prompt = [10**9]
    batch.step(rows[:6])
    batch.step([])
    rows[5].tokens[-1] = 10**9
    batch.step(rows[6:])
    while batch.rows:
        batch.step([])
    for number in (2, 5):
        assert isinstance(rows[number].pieces[-1], RequestRefused)
    for number in (0, 1, 3, 4, 6):
        assert said_by(rows[number]) == expected[None][1][number % 4]


def test_where_no_row_works_the_engine_is_to_blame(base):
    engine = evaluated.Engine(SETTINGS, str(base))
    batch, rows = Batch(engine, lora.RowAdapters()), rows_of(engine, 3)
    for row in rows:
        row.prompt = [10**9]
    batch.step(rows)
    assert not batch.rows
    assert all(isinstance(row.pieces[-1], EngineError) for row in rows)


@pytest.mark.parametrize(
    "change",
    [
        {"alpha_pattern": {"q_proj": 1e308}},
        {"lora_alpha": 1e308},
        {"lora_alpha": float("inf")},
        {"lora_alpha": 10**400},
        {"lora_alpha": "64"},
        {"r": 0},
        {"rank_pattern": {"q_proj": 10**9}},
        {"r": None},
    ],
    ids=str,
)
def test_scales_that_overflow_are_refused(base, adapters, expected, tmp_path, change):
    config = json.loads((adapters[ONE] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
    shutil.copy(adapters[ONE] / "adapter_model.safetensors", tmp_path)

    async def story(engine):
        await engine.load(TWO, adapters[TWO])
        with pytest.raises(EngineError):
            await engine.load(ONE, tmp_path)
        asked = [text_of(engine, free(ASKED[0]), name) for name in (None, TWO)]
        return await asyncio.gather(*asked)

    assert serve(base, story) == [expected[name][1][0] for name in (None, TWO)]


def test_weights_as_pickles_are_refused(base, adapters, tmp_path):
    torch.save(load_file(adapters[ONE] / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    shutil.copy(adapters[ONE] / "adapter_config.json", tmp_path)

    async def story(engine):
        with pytest.raises(EngineError, match="safetensors"):
            await engine.load(ONE, tmp_path)

    serve(base, story)


def test_who_waits_too_long_for_a_place_is_told_to_come_back(base):
    async def story(engine):
        long = asyncio.create_task(text_of(engine, free(ASKED[0], 100_000)))
        while not engine.running:
            await asyncio.sleep(0.001)
        with pytest.raises(Busy):
            await text_of(engine, free(ASKED[1]))
        long.cancel()
        await asyncio.wait([long])
        return await text_of(engine, free(ASKED[1], 1))

    assert serve(base, story, Serving(slots=1, queue_s=0.2))


def test_the_loop_survives_what_nobody_expected(base, expected):
    async def story(engine):
        broken = QueuedRow(free(ASKED[0]), None)
        broken.prompt = None  # fails between two steps, where no row is to blame
        engine._schedule.waiting_users.append(broken)
        task = asyncio.create_task(text_of(engine, free(ASKED[0])))
        with pytest.raises(EngineError):
            await task
        return engine.restarts, await text_of(engine, free(ASKED[0]))

    assert serve(base, story) == (1, expected[None][1][0])


def test_a_fault_fails_its_own_batch_and_the_next_is_answered(base, expected):
    async def story(engine):
        # Weights of another width make the next step a real fault of torch.
        head = engine._engine.module.lm_head
        good, head.weight = head.weight, torch.nn.Parameter(torch.zeros(8, 8))
        with pytest.raises(EngineError, match="step of the model failed"):
            await text_of(engine, free(ASKED[0]))
        head.weight = good
        return await text_of(engine, free(ASKED[0]))

    assert serve(base, story) == expected[None][1][0]


def test_a_shadow_waits_while_users_are_answered(base, expected):
    async def story(engine):
        order = []

        async def ask(name, request):
            answer = await text_of(engine, request)
            order.append(name)
            return answer

        shadow = asyncio.create_task(ask("shadow", free(ASKED[0], background=True)))
        users = [asyncio.create_task(ask("user", free(ASKED[1]))) for _ in range(3)]
        answers = await asyncio.gather(shadow, *users)
        return order, answers[0]

    order, answer = serve(base, story)
    assert order == ["user"] * 3 + ["shadow"]
    assert answer == expected[None][1][0]


def test_the_event_loop_stays_free_while_the_model_works(base):
    async def story(engine):
        task = asyncio.create_task(text_of(engine, free(ASKED[3], 64)))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert serve(base, story) > 64  # many turns of the loop for each token, not one


def test_closing_ends_what_is_under_way_with_an_error(base):
    async def story(engine):
        task = asyncio.create_task(text_of(engine, free(ASKED[0], 100_000)))
        while not engine.running:
            await asyncio.sleep(0.001)
        await engine.close()
        with pytest.raises(EngineError, match="stops"):
            await task

    serve(base, story)
