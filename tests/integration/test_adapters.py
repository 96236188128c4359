"""An adapter's file is compared with the model wherever it is loaded."""

import asyncio
import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from gateway.engines.base import EngineError
from gateway.engines.embedded import EmbeddedEngine
from pipelines.core.config import Model, Serving, Train
from pipelines.core.errors import InputError
from pipelines.core.traffic_split import Adapter
from pipelines.models.adapters import attach, check_loaded, fill
from pipelines.models.base import load_tokenizer
from pipelines.models.engine import Engine
from pipelines.models.rendering import Rendering
from pipelines.models.trainer import train
from tests.support import tiny

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "a", ["Why? Pediatrics"], 3)


@pytest.fixture
def engine(base):
    return Engine(Model(), str(base))


def changed(adapter, folder, tensors=None, **config):
    """A copy of an adapter with other tensors, or another configuration."""
    shutil.copytree(adapter, folder)
    if tensors:
        save_file(tensors(load_file(adapter / WEIGHTS)), folder / WEIGHTS)
    said = json.loads((adapter / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(said | config))
    return folder


def renamed(tensors):
    return {name.replace("q_proj", "query"): tensor for name, tensor in tensors.items()}


def without_a_layer(tensors):
    return {name: tensor for name, tensor in tensors.items() if "layers.1." not in name}


def with_one_more(tensors):
    return {**tensors, "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight": torch.ones(32, 64)}


def with_a_weight_of_the_base(tensors):
    """PEFT would write it over the base model's own."""
    return {**tensors, "base_model.model.model.norm.weight": torch.ones(64)}


LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ONLY_TWO = {"target_modules": ["q_proj", "v_proj"]}
PLANTED = {
    "a renamed module": (renamed, {}, r"4 of its 28 tensors are not in the model .*query.*and 4 of the"),
    "a missing layer": (without_a_layer, {}, r"14 of the model's 28 tensors are not in its file"),
    "one more tensor": (with_one_more, {}, r"1 of its 29 tensors are not in the model \(model\.layers\.2"),
    "the base's weight": (with_a_weight_of_the_base, {}, r"not in the model \(model\.norm\.weight\)"),
    "another rank": (None, {"r": 8}, r"28 of its 28 .* is \[32, 64\], in the model \[8, 64\]"),
    "other modules": (None, ONLY_TWO, r"20 of its 28 tensors are not in the model"),
    "unknown modules": (None, {"target_modules": ["query"]}, "does not fit the base model .*query"),
    "DoRA's vectors": (None, {"use_dora": True}, r"14 of the model's 42 .* not in its file .*magnitude"),
}


@pytest.fixture(params=PLANTED)
def planted(request, adapter, tmp_path):
    """An adapter that does not fit, and what is said of it."""
    tensors, config, words = PLANTED[request.param]
    return changed(adapter, tmp_path / "odd", tensors, **config), words


def rows():
    asked, said = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Pediatrics"}
    return [{"prompt": [asked], "completion": [said]}] * 4


def test_a_planted_fault_is_refused_by_evaluation(engine, adapter, planted):
    folder, words = planted
    engine.load("good", adapter)
    with pytest.raises(InputError, match=words):
        engine.load("odd", folder)
    engine.unload("odd")
    engine.use("good")
    assert engine.generate([[{"role": "user", "content": "Why?"}]], 4)


def test_a_planted_fault_is_refused_by_training(base, tmp_path, planted):
    folder, words = planted
    rendering = Rendering(load_tokenizer(base), "", 256)
    with pytest.raises(InputError, match=words):
        train(base, rendering, Train(), rows(), [], 7, tmp_path / "scratch", folder)


def test_a_planted_fault_is_refused_by_the_gateway(base, adapter, tmp_path):
    folder = changed(adapter, tmp_path / "odd", without_a_layer)

    async def story():
        engine = EmbeddedEngine(Serving(), Model(), str(base))
        try:
            with pytest.raises(EngineError, match=r"14 of the model's 28 tensors are not in its file"):
                await engine.load(Adapter("1", "1" * 64), folder)
        finally:
            await engine.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"hidden_size": 32}, r"tensors have another shape .*is \[32, 64\], in the model \[32, 32\]"),
        ({"num_hidden_layers": 3}, r"14 of the model's 42 tensors are not in its file .*layers\.2"),
        ({"num_hidden_layers": 1}, r"14 of its 28 tensors are not in the model .*layers\.1"),
    ],
    ids=["narrower", "deeper", "shallower"],
)
def test_an_adapter_of_another_base_is_refused(base, adapter, tmp_path, sizes, words):
    shutil.copytree(base, tmp_path / "other", ignore=shutil.ignore_patterns("*.safetensors"))
    config = AutoConfig.from_pretrained(base)
    config.update(sizes)
    config.head_dim = config.hidden_size // config.num_attention_heads
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "other")
    folder = changed(
        adapter, tmp_path / "adapter", target_modules=LINEAR
    )  # PEFT lists few layers by their paths
    with pytest.raises(InputError, match=words):
        Engine(Model(), str(tmp_path / "other")).load("a", folder)


def test_lost_precision_is_found(base, adapter):
    """Weights that were cast after they were loaded, as a library may do."""
    model = attach(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), adapter, "default")
    fill(model, adapter, "default")  # PEFT keeps an adapter in float32 beside a base in bfloat16
    model.bfloat16()
    with pytest.raises(InputError, match=r"28 of its 28 .*is float32, in the model bfloat16"):
        check_loaded(model, adapter)


def test_one_other_value_is_found(base, adapter, tmp_path):
    model = attach(AutoModelForCausalLM.from_pretrained(base), adapter, "default")
    fill(model, adapter, "default")

    def nudged(tensors):
        tensors[Q_PROJ][0, 0] += 1e-4
        return tensors

    with pytest.raises(InputError, match=r"1 of its 28 tensors have other values .*q_proj"):
        check_loaded(model, changed(adapter, tmp_path / "other", nudged))


def test_an_adapter_without_weights_is_named(engine, adapter, tmp_path):
    folder = changed(adapter, tmp_path / "empty")
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"has no adapter_model\.safetensors"):
        engine.load("a", folder)


@pytest.mark.parametrize("more", [{}, {"use_dora": True}, {"modules_to_save": ["norm"]}], ids=str)
def test_what_peft_saves_is_loaded(base, tmp_path, more):
    """Also DoRA and whole modules, and beside adapters with names that are numbers."""
    lora = LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"], task_type="CAUSAL_LM", **more)
    saved = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    saved.save_pretrained(tmp_path / "a", save_embedding_layers=False)
    engine = Engine(Model(), str(base))
    for name in ("1", "0", "other"):
        engine.load(name, tmp_path / "a")
