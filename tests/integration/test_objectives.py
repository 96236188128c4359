"""Training by thumbs and by pairs on a tiny real model: what is learned, from where, and what a kill does."""

import json
from math import log

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pipelines.core.config import Model, Train
from pipelines.core.errors import TrainingError
from pipelines.models.base import load_tokenizer
from pipelines.models.checkpoints import last_checkpoint, save_adapter
from pipelines.models.engine import Engine
from pipelines.models.preference_examples import rated, with_mismatched
from pipelines.models.rendering import Rendering
from pipelines.models.trainer import train
from tests.support import tiny
from tests.support.stopped_trainings import EVERY, calm_training, killed_and_started_again, preempted

LABELS = ("Anatomy", "Dental", "Surgery")
WORDS = ("bone", "tooth", "scalpel")
SMALL = {"rank": 4, "batch_size": 4, "learning_rate": 1e-2, "save_every_steps": 4, "eval_every_steps": EVERY}
PREFERENCES = ("kto", "dpo")


def said(text):
    return [{"role": "assistant", "content": text}]


def row(place, objective):
    """A question whose right answer is known, with feedback as the objective learns it."""
    right, wrong = place % 3, (place + 1 + place // 3 % 2) % 3
    text = f"Question {place * 7919} about {WORDS[right]}" + "?" * (place % 5)
    asked = {"prompt": [{"role": "user", "content": text}], "completion": said(LABELS[right])}
    if objective == "dpo":
        return asked | {"rejected": said(LABELS[wrong])}
    if objective == "kto":
        liked = place // 3 % 2 == 0
        return asked | {"liked": liked, "completion": said(LABELS[right if liked else (wrong)])}
    return asked


def rows_of(objective, count, first=0):
    return [row(place, objective) for place in range(first, first + count)]


def rendered(base):
    return Rendering(load_tokenizer(base), "", 256)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def production(base, tmp_path_factory):
    """An adapter that training continues from, of the shape that `SMALL` asks for."""
    folder = tmp_path_factory.mktemp("production")
    settings = Train(**SMALL, epochs=1)
    trained = train(base, rendered(base), settings, rows_of("sft", 12), [], 7, folder / "scratch")
    save_adapter(trained, folder / "adapter", "tiny")
    return folder / "adapter"


@pytest.fixture(scope="module", params=PREFERENCES)
def children(request, base, production, tmp_path_factory):
    """Trainings that continue an adapter: the reference has to be that one again after a kill."""
    folder, settings = tmp_path_factory.mktemp(request.param), Train(**SMALL, epochs=4)
    rows = rows_of(request.param, 17)
    return calm_training(base, folder, rows[:12], rows[12:], settings, request.param, production)


@pytest.mark.slow
def test_a_killed_training_ends_as_if_it_had_not_been(children):
    killed_and_started_again(children, 6)


@pytest.mark.slow
def test_a_preempted_training_loses_no_step(children):
    preempted(children, (3,))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["sft", *PREFERENCES])
def test_each_objective_teaches_the_right_answers(base, tmp_path, objective):
    """On questions that nobody rated. The base guesses; kto learns from thumbs what sft does from labels."""
    settings = Train(batch_size=8, learning_rate=1e-2, epochs=8)
    trained = train(
        base, rendered(base), settings, rows_of(objective, 96), [], 7, tmp_path / "s", objective=objective
    )
    engine, asked = Engine(Model(), str(base)), rows_of("sft", 60, first=1000)
    prompts, right = [one["prompt"] for one in asked], [one["completion"][0]["content"] for one in asked]

    def score():
        return sum(found == known for found, known in zip(engine.choose(prompts, LABELS), right, strict=True))

    before = score()
    engine.load("taught", trained.adapter)
    assert before < 30
    assert score() > 54


@pytest.mark.parametrize("continued", [False, True])
def test_the_reference_is_what_training_starts_from(base, production, tmp_path, continued):
    """Then both sides of a ratio are equal at first, and the loss is that of no preference."""
    start = production if continued else None
    settings = Train(**SMALL, epochs=1)
    first = {}
    for objective in PREFERENCES:
        rows = rows_of(objective, 6)
        trained = train(
            base, rendered(base), settings, rows, rows, 7, tmp_path / objective, start, objective=objective
        )
        first[objective] = trained.dev_loss[0]
        assert trained.reload_difference < 1e-4
        assert trained.unmoved_tensors == 0
    assert first["kto"] == (0, pytest.approx(0.5, abs=1e-5))
    assert first["dpo"] == (0, pytest.approx(log(2) + nats_a_token(base, start, rows_of("dpo", 6)), rel=1e-3))


def nats_a_token(base, adapter, rows):
    """Of the better answers, batch by batch as the trainer evaluates them: here one batch."""
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter:
        model.load_adapter(str(adapter))
    losses = []
    for one in rows:
        example = rendered(base).example(one["prompt"], one["completion"][0]["content"])
        ids = example.prompt_ids + example.answer_ids
        with torch.no_grad():
            scores = model.eval()(torch.tensor([ids])).logits[0].log_softmax(-1)
        losses += [
            -float(scores[place - 1, ids[place]]) for place in range(len(example.prompt_ids), len(ids))
        ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("objective", PREFERENCES)
def test_what_is_saved_is_one_adapter(base, production, tmp_path, objective):
    """The reference is neither in the adapter's files nor trained."""
    settings = Train(**SMALL, epochs=1)
    trained = train(
        base,
        rendered(base),
        settings,
        rows_of(objective, 16),
        rows_of(objective, 4, 16),
        7,
        tmp_path / "scratch",
        production,
        objective=objective,
    )
    save_adapter(trained, tmp_path / "adapter", "tiny")
    files = sorted(path.name for path in (tmp_path / "adapter").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    before, after = (load_file(folder / files[1]) for folder in (production, tmp_path / "adapter"))
    assert before.keys() == after.keys()
    assert not all(torch.equal(before[name], after[name]) for name in before)
    last = last_checkpoint(tmp_path / "scratch")
    kept = load_file(last / "ref" / files[1])
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.items())


def test_an_adapter_on_the_output_layer_is_refused(base, tmp_path):
    settings = Train(**SMALL, target_modules="q_proj,lm_head")
    with pytest.raises(TrainingError, match=r"train\.target_modules names the output layer"):
        train(base, rendered(base), settings, rows_of("kto", 8), [], 7, tmp_path, objective="kto")


def test_each_answer_has_another_one_beside_it(base):
    """In its batch. A last batch of one would compare an answer with itself."""
    data = with_mismatched(rated(rows_of("kto", 5), rendered(base), 256), 2)
    own, other = data["completion_ids"], data["KL_completion_ids"]
    assert other[:] == [own[1], own[0], own[3], own[2], own[3]]
    assert json.dumps(data.column_names) == json.dumps(
        ["prompt_ids", "completion_ids", "label", "KL_completion_ids"]
    )
