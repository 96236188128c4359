"""The settings of large models, as far as they run on a CPU; tests/gpu has the rest."""

import asyncio
import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gateway.engines.base import CompletionRequest
from gateway.engines.embedded import EmbeddedEngine
from pipelines.core.config import Model, Serving, Train
from pipelines.core.errors import MachineError, TrainingError
from pipelines.core.traffic_split import Adapter
from pipelines.models import adapted, packing, weights
from pipelines.models.base import load_tokenizer
from pipelines.models.engine import Engine
from pipelines.models.rendering import Rendering
from pipelines.models.trainer import train
from tests.support import tiny

SMALL = {"rank": 4, "batch_size": 4, "epochs": 2, "learning_rate": 1e-2}
ASKED = [[{"role": "user", "content": "Where is the femur?"}]]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


def rows_of(n):
    """Prompts and answers of many lengths."""
    return [
        {
            "prompt": [{"role": "user", "content": f"Question {i * 7919} " + "about the organ " * (i % 6)}],
            "completion": [
                {"role": "assistant", "content": ("Dental", "Preventive Medicine and more")[i % 2]}
            ],
        }
        for i in range(n)
    ]


def curves(base, folder, model=None, **settings):
    """(loss, gradient norm) by step."""
    rendering = Rendering(load_tokenizer(base), "", 256)
    trained = train(
        base, rendering, Train(**SMALL | settings), rows_of(12), [], 7, folder, model=model or Model()
    )
    return np.array([trained.loss, trained.grad_norm])[:, :, 1]


@pytest.fixture(scope="module")
def plain(base, tmp_path_factory):
    return curves(base, tmp_path_factory.mktemp("plain"))


def test_packed_examples_train_as_padded_ones(base, plain, tmp_path):
    assert curves(base, tmp_path, packing=True) == pytest.approx(plain, rel=1e-4)


def test_packed_examples_that_see_each_other_are_noticed(base, tmp_path, monkeypatch):
    """As with a model that reads no positions of a packed sequence."""

    def run_together(batch):
        batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None]
        return batch

    honest = packing.DataCollatorForLanguageModeling.torch_call
    monkeypatch.setattr(
        packing.DataCollatorForLanguageModeling,
        "torch_call",
        lambda self, rows: run_together(honest(self, rows)),
    )
    with pytest.raises(TrainingError, match=r"does not keep the examples .* apart: .* differ by \d+\.\d\d%"):
        curves(base, tmp_path, packing=True)


def test_activations_computed_again_change_nothing(base, plain, tmp_path):
    """Also that gradients reach the first layer, whose inputs need none of themselves."""
    again = curves(base, tmp_path, gradient_checkpointing=True)
    assert again == pytest.approx(plain, rel=1e-5)


def test_accumulated_steps_count_each_token_the_same(base, plain, tmp_path):
    """Four passes of one example, of lengths that differ, are one pass of four."""
    again = curves(base, tmp_path, batch_size=1, gradient_accumulation=4)
    assert again == pytest.approx(plain, rel=1e-4)


def test_another_attention_gives_the_same_curve(base, plain, tmp_path):
    assert curves(base, tmp_path, Model(attention="eager")) == pytest.approx(plain, rel=1e-4)


def test_half_precision_trains_about_the_same(base, plain, tmp_path):
    half = curves(base, tmp_path, dtype="bfloat16", packing=True, gradient_checkpointing=True)
    assert half[0] == pytest.approx(plain[0], rel=0.03)
    assert half[1] == pytest.approx(plain[1], rel=0.2)


@pytest.mark.parametrize(
    ("model", "train", "words"),
    [
        ({"device": "cuda"}, {}, r"model\.device is cuda, and torch finds no GPU"),
        ({"quantize": "nf4"}, {}, r"model\.quantize is nf4, and the training runs on a CPU"),
        ({"attention": "flash_attention_2"}, {}, r"a package that is not installed or does not run here \("),
        (
            {},
            {"liger": True},
            r"train\.liger is true, and (liger-kernel is not installed|the training runs on a CPU)",
        ),
    ],
    ids=["device", "quantize", "attention", "liger"],
)
def test_what_the_machine_lacks_is_told(base, tmp_path, monkeypatch, model, train, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(weights, "is_installed", lambda package: False)
    monkeypatch.setattr(adapted, "is_installed", lambda package: False)
    with pytest.raises(MachineError, match=words):
        curves(base, tmp_path, Model(**model), **train)


def test_liger_is_refused_on_a_cpu(base, tmp_path, monkeypatch):
    monkeypatch.setattr(adapted, "is_installed", lambda package: True)
    with pytest.raises(MachineError, match="for which Liger has no kernels"):
        curves(base, tmp_path, Model(device="cpu"), liger=True)


@pytest.fixture(scope="module")
def halved(base, tmp_path_factory):
    """The base stored in bfloat16."""
    folder = tmp_path_factory.mktemp("halved") / "base"
    shutil.copytree(base, folder)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "a", ["Why? Dental"], 20)


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [("auto", torch.float32), ("checkpoint", torch.bfloat16), ("float32", torch.float32)],
)
def test_the_engine_takes_the_type_that_is_set(halved, adapter, asked, dtype):
    engine = Engine(Model(device="cpu", dtype=asked), str(halved))
    engine.load("a", adapter)
    assert engine.module.dtype == dtype
    assert np.isfinite(engine.next_logits(ASKED)).all()


def test_the_gateway_serves_a_base_in_half_precision(halved, adapter):
    """One request alone gets the logits' answer of evaluation, from the base and from the adapter."""
    model, one = Model(dtype="checkpoint"), Adapter("1", "1" * 64)
    engine = Engine(model, str(halved))
    wanted = engine.generate(ASKED, 6)
    engine.load("a", adapter)
    wanted += engine.generate(ASKED, 6)

    async def story():
        served = EmbeddedEngine(Serving(), model, str(halved))
        try:
            await served.load(one, adapter)
            request = CompletionRequest(ASKED[0], max_tokens=6)
            pieces = [[piece.text async for piece in served.complete(request, who)] for who in (None, one)]
            return ["".join(texts).strip() for texts in pieces]
        finally:
            await served.close()

    assert asyncio.run(story()) == wanted
    assert wanted[0] != wanted[1]


def test_four_bits_without_their_package_are_told(base, monkeypatch):
    monkeypatch.setattr(weights, "is_installed", lambda package: False)
    with pytest.raises(MachineError, match=r"model\.quantize is nf4, and bitsandbytes is not installed"):
        Engine(Model(quantize="nf4"), str(base))


def test_a_base_in_four_bits_answers(base, adapter):
    """Where bitsandbytes is installed; rounding to 4 bits moves the logits, and the adapter still counts."""
    pytest.importorskip("bitsandbytes")
    whole, four = Engine(Model(), str(base)), Engine(Model(quantize="nf4", device="cpu"), str(base))
    assert type(four.module.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    for engine in (whole, four):
        engine.load("a", adapter)
    logits = [engine.next_logits(ASKED).ravel() for engine in (whole, four)]
    assert np.corrcoef(*logits)[0, 1] > 0.9
    four.use(None)
    assert np.abs(four.next_logits(ASKED).ravel() - logits[1]).max() > 1e-3
