"""A watch reads each earlier night once, and again when something that it depends on changed."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.config import Config
from pipelines.data import open_lake
from pipelines.operations.watch.kept_nights import FOLDER, KeptNights
from tests.support.interactions import make_rows

NIGHTS = [date(2026, 3, 1) + timedelta(days=place) for place in range(3)]
AS_OF = date(2026, 3, 9)


class CountingEmbedder:
    """Vectors of the texts' lengths, and how many texts were embedded."""

    identity = "one"

    def __init__(self):
        self.embedded = 0

    def embed(self, texts):
        self.embedded += len(texts)
        return np.array([[len(text), 1.0] for text in texts]) / 1_000


@pytest.fixture
def config(home):
    return Config(profile="test", home=str(home), watch={"min_rows": 20})


@pytest.fixture
def lake(config):
    lake = open_lake(config)
    for night in NIGHTS:
        lake.publish(night, make_rows(night, 30, seed=night.day))
    return lake


def look(config, embedder, nights=NIGHTS):
    return KeptNights(config, embedder, AS_OF, 3).with_enough_rows(nights)


def test_the_second_look_embeds_nothing(config, lake):
    embedder = CountingEmbedder()
    first = look(config, embedder)
    assert embedder.embedded == 20 * len(NIGHTS)
    assert [len(night.lengths) for night in first] == [20] * len(NIGHTS)
    assert look(config, embedder) == first
    assert embedder.embedded == 20 * len(NIGHTS)


def test_a_changed_night_or_model_is_read_again(config, lake):
    embedder = CountingEmbedder()
    look(config, embedder)
    lake.publish(NIGHTS[1], make_rows(NIGHTS[1], 30, seed=99))
    look(config, embedder)
    assert embedder.embedded == 20 * (len(NIGHTS) + 1)
    embedder.identity = "another"
    look(config, embedder)
    assert embedder.embedded == 20 * (2 * len(NIGHTS) + 1)


def test_a_small_night_is_left_out_and_a_damaged_file_read_again(config, lake):
    lake.publish(NIGHTS[0], make_rows(NIGHTS[0], 5, seed=1))
    embedder = CountingEmbedder()
    first = look(config, embedder)
    assert len(first) == 2
    for kept in Path(config.home).glob(f"cache/{FOLDER}/*/*.json"):
        kept.write_text("{")
    before = embedder.embedded
    assert look(config, embedder) == first
    assert embedder.embedded == before + 40


def test_no_nights_are_no_rows(config, lake):
    assert look(config, CountingEmbedder(), []) == []
