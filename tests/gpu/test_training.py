"""What needs a CUDA GPU: run it with `make test-gpu`. Random weights, nothing is downloaded."""

import importlib.util
import os
import signal

import pytest
import torch

from pipelines.core.config import Model, Train
from pipelines.core.errors import Interrupted
from pipelines.models.base import load_tokenizer
from pipelines.models.engine import Engine
from pipelines.models.rendering import Rendering
from pipelines.models.trainer import train
from tests.support import tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU on this machine"),
]
SMALL = {"rank": 8, "batch_size": 4, "epochs": 2, "learning_rate": 1e-2}
ASKED = [[{"role": "user", "content": "Where is the femur?"}]]


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


def rows_of(n):
    return [
        {
            "prompt": [{"role": "user", "content": f"Question {i * 7919} " + "about the organ " * (i % 6)}],
            "completion": [
                {"role": "assistant", "content": ("Dental", "Preventive Medicine and more")[i % 2]}
            ],
        }
        for i in range(n)
    ]


def trained_on(base, folder, model=None, start=None, report=lambda step, values: None, **settings):
    rendering = Rendering(load_tokenizer(base), "", 256)
    asked = Train(**SMALL | settings)
    return train(base, rendering, asked, rows_of(12), [], 7, folder, start, report, model or Model())


def losses(trained):
    return [value for _, value in trained.loss]


SETTINGS = {
    "float32": ({}, {}),
    "bfloat16": ({}, {"dtype": "bfloat16"}),
    "checkpointing": ({}, {"dtype": "bfloat16", "gradient_checkpointing": True}),
    "packed": ({}, {"dtype": "bfloat16", "packing": True}),
}
OPTIONAL = [
    pytest.param(
        {"attention": "flash_attention_2"},
        {"dtype": "bfloat16", "packing": True},
        marks=needs("flash_attn"),
        id="flash attention, packed",
    ),
    pytest.param({}, {"dtype": "bfloat16", "liger": True}, marks=needs("liger_kernel"), id="liger"),
]


@pytest.fixture(scope="module")
def on_cpu(base, tmp_path_factory):
    return trained_on(base, tmp_path_factory.mktemp("cpu"), Model(device="cpu"))


@pytest.mark.parametrize(
    ("model", "settings"), [*(pytest.param(*pair, id=name) for name, pair in SETTINGS.items()), *OPTIONAL]
)
def test_a_gpu_trains_as_a_cpu_does(base, on_cpu, tmp_path, model, settings):
    """The curve of float32 on the CPU, within what bfloat16 rounds. `train` checks norms and the reload."""
    found = trained_on(base, tmp_path, Model(device="cuda", **model), **settings)
    tolerance = 1e-3 if settings.get("dtype") is None else 0.05
    assert losses(found) == pytest.approx(losses(on_cpu), rel=tolerance)


@needs("bitsandbytes")
def test_a_base_in_four_bits_is_trained_and_continued(base, tmp_path):
    model = Model(device="cuda", quantize="nf4")
    settings = {"dtype": "bfloat16", "packing": True, "gradient_checkpointing": True}
    first = trained_on(base, tmp_path / "1", model, **settings)
    assert losses(first)[-1] < losses(first)[0]
    second = trained_on(base, tmp_path / "2", model, first.adapter, **settings)
    assert losses(second)[0] < losses(first)[0]
    engine = Engine(model, str(base))
    engine.load("a", second.adapter)
    assert engine.generate(ASKED, 4)


def test_a_preempted_training_goes_on_where_it_stood(base, tmp_path):
    calm = trained_on(base, tmp_path / "calm", dtype="bfloat16")

    def stop_after_two(step, values):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="saved step 2 of"):
        trained_on(base, tmp_path / "cut", report=stop_after_two, dtype="bfloat16")
    again = trained_on(base, tmp_path / "cut", dtype="bfloat16")
    assert losses(again) == pytest.approx(losses(calm), rel=0.01)


def test_the_engine_takes_the_type_of_the_checkpoint(base, tmp_path):
    Engine(Model(device="cpu", dtype="bfloat16"), str(base)).module.save_pretrained(tmp_path)
    load_tokenizer(base).save_pretrained(tmp_path)
    engine = Engine(Model(), str(tmp_path))
    assert (engine.module.dtype, engine.module.device.type) == (torch.bfloat16, "cuda")
    assert engine.generate(ASKED, 4)
