"""Base models and adapters on S3: fetched once a machine, checked at each use, never half."""

import pytest

from gateway.serving.adapter_files import AdapterFiles
from pipelines.core.cache import discard
from pipelines.core.config import load_config
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry, open_tracker
from pipelines.models.base import base_folder, digest_base, resolve_base
from pipelines.models.registry import adapter_digest
from pipelines.stores.blobs import Folder


@pytest.fixture
def asked(monkeypatch):
    """Counts the files that are copied from a store."""
    copied = []
    honest = Folder.download

    def counting(self, relatives):
        copied.extend(relatives)
        return honest(self, relatives)

    monkeypatch.setattr(Folder, "download", counting)
    return copied


@pytest.fixture
def base(bucket, home):
    """A configuration whose base model lies on S3, and the folder there."""
    folder = Folder(f"{bucket}/base")
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors", "deep/tokenizer.json"):
        folder.write_bytes(name, name.encode() * 1000)
    resolve_base.cache_clear()
    digest_base.cache_clear()
    return load_config("config/demo.toml", home, {"model.base": f"{bucket}/base"}), folder


def again(config):
    """As another process of this machine asks."""
    resolve_base.cache_clear()
    return base_folder(config)


def test_a_base_model_is_fetched_once(base, asked):
    config, folder = base
    found = base_folder(config)
    assert (found / "deep" / "tokenizer.json").read_bytes() == folder.read_bytes("deep/tokenizer.json")
    assert again(config) == found
    assert len(asked) == 4
    folder.write_bytes("config.json", b"another")
    assert again(config) != found


def test_a_flipped_bit_on_this_machine_is_fetched_again(base, asked):
    config, folder = base
    weights = base_folder(config) / "model-1.safetensors"
    weights.write_bytes(b"?" + weights.read_bytes()[1:])
    assert (again(config) / "model-1.safetensors").read_bytes() == folder.read_bytes("model-1.safetensors")
    assert len(asked) == 8


def test_a_part_of_a_base_model_is_never_used(base, monkeypatch):
    config, _ = base
    honest = Folder.download

    def half(self, relatives):
        honest(self, relatives)
        next(iter(relatives.values())).write_bytes(b"half")

    with monkeypatch.context() as cut:
        cut.setattr(Folder, "download", half)
        with pytest.raises(IntegrityError, match=r"came with 4 of \d+ bytes"):
            base_folder(config)
    assert (again(config) / "config.json").stat().st_size == len("config.json") * 1000


def test_a_base_model_that_is_not_there_is_told(bucket, home):
    resolve_base.cache_clear()
    with pytest.raises(InputError, match="There is no base model at s3://"):
        base_folder(load_config("config/demo.toml", home, {"model.base": f"{bucket}/none"}))


@pytest.fixture
def registered(bucket, home, tmp_path):
    """A version whose files lie on S3."""
    config = load_config("config/demo.toml", home, {"artifact_root": f"{bucket}/mlartifacts"})
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (folder / name).write_text(name)
    tracker = open_tracker(config)
    mlflow_id = tracker.run("2026-01-01", "f" * 64)
    version = open_registry(config).register(folder, tracker, mlflow_id, "2026-01-01", ("2026-01-01",), {})
    return config, version


def stored(version):
    return Folder(version.uri)


@pytest.mark.slow
def test_an_adapter_is_fetched_once_and_checked(registered, asked, home):
    config, version = registered
    found = open_registry(config).fetch("1")
    assert found.name == version.digest == adapter_digest(found)
    assert open_registry(config).fetch("1") == found
    assert len(asked) == 2
    (found / "adapter_config.json").write_text("flipped")
    assert adapter_digest(open_registry(config).fetch("1")) == version.digest
    assert len(asked) == 4
    stored(version).write_bytes("adapter_config.json", b"changed")
    open_registry(config).fetch("1")  # the copy is what was registered
    with pytest.raises(IntegrityError, match="version 1, were changed"):
        open_registry(config).check("1")
    for copy in (home / "cache" / "adapters").glob("[!.]*"):
        discard(copy)
    with pytest.raises(IntegrityError, match="were changed"):
        AdapterFiles(config).fetch(Adapter("1", version.digest))
    assert not list((home / "cache" / "adapters").glob("[!.]*")), "half a copy is no copy"
    stored(version).write_bytes("adapter_config.json", b"adapter_config.json")
    assert AdapterFiles(config).fetch(Adapter("1", version.digest)) == found
