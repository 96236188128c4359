"""The memory that `nightshift doctor` counts depends on the type of the weights."""

import json

import pytest

from pipelines.core.config import Model
from pipelines.operations.doctor.machine import GIB, weights_gib

SIZES = {"model_type": "llama", "vocab_size": 128, "hidden_size": 1 << 20, "tie_word_embeddings": True}


@pytest.fixture
def base(tmp_path):
    """2 GiB of weights in bfloat16, so 2**30 of them; 2**27 are the embedding's."""
    (tmp_path / "config.json").write_text(json.dumps(SIZES | {"dtype": "bfloat16"}))
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(2 * GIB)  # takes no room
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "gib"),
    [
        ({}, 4.0),
        ({"dtype": "float32"}, 4.0),
        ({"dtype": "checkpoint"}, 2.0),
        ({"dtype": "float16"}, 2.0),
        ({"dtype": "bfloat16", "quantize": "nf4"}, 0.25 + 0.875 * 4.127 / 8),
    ],
)
def test_weights_take_what_their_type_does(base, settings, gib):
    assert weights_gib(Model(device="cpu", **settings), base) == pytest.approx(gib)
