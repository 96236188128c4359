"""Training on a tiny real model: resumable to the bit, and never silently without effect."""

import json
import logging
import os
import shutil
import signal
import threading
import time

import pytest
import torch
from filelock import FileLock
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from trl import SFTTrainer

from pipelines.cli.main import main
from pipelines.core.config import Config, Model, Train
from pipelines.core.errors import STOPPED, InputError, Interrupted, TrainingError
from pipelines.core.facts.reading import parsed
from pipelines.core.facts.train import TrainReadings
from pipelines.core.traffic_split import Adapter, Route
from pipelines.models import open_registry, open_tracker, trainer
from pipelines.models.base import load_tokenizer
from pipelines.models.checkpoints import last_checkpoint, save_adapter
from pipelines.models.engine import Engine
from pipelines.models.examples import tokenized, training_order
from pipelines.models.interruptions import NOTES
from pipelines.models.progress import Progress
from pipelines.models.registry import adapter_digest
from pipelines.models.rendering import Rendering
from pipelines.models.stopping import stop_requests
from pipelines.models.trainer import train
from pipelines.runner import run_step
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run
from tests.support import templates, tiny
from tests.support.mlflow_runs import curve
from tests.support.nightfall import finish
from tests.support.stopped_trainings import calm_training, killed_and_started_again, preempted

SMALL = {
    "rank": 4,
    "batch_size": 4,
    "epochs": 4,
    "learning_rate": 1e-2,
    "save_every_steps": 4,
    "eval_every_steps": 4,
}


def rendered(base):
    return Rendering(load_tokenizer(base), "", 256)


def rows_of(n, answers=("Anatomy", "Dental", "Surgery")):
    texts = [f"Question {i * 7919} about organ {i % len(answers)}" + "?" * (i % 5) for i in range(n)]
    return [
        {
            "prompt": [{"role": "user", "content": text}],
            "completion": [{"role": "assistant", "content": answers[i % len(answers)]}],
        }
        for i, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


def test_epochs_hold_every_row_in_batches_of_similar_length():
    lengths = [(i * 37) % 101 for i in range(90)]
    order = training_order(lengths, 3, 4, seed=1)
    assert sorted(order) == sorted([*range(90)] * 3)
    assert order == training_order(lengths, 3, 4, seed=1) != training_order(lengths, 3, 4, seed=2)
    spread = [max(b) - min(b) for b in ([lengths[i] for i in order[s : s + 4]] for s in range(0, 268, 4))]
    assert sum(spread) / len(spread) < 20  # of 100; unsorted batches of four spread over 60
    assert [lengths[order[s]] for s in range(0, 32, 4)] != sorted(lengths[order[s]] for s in range(0, 32, 4))


@pytest.fixture(scope="module")
def children(base, tmp_path_factory):
    settings = Train(**SMALL, dropout=0.1)  # dropout: the random state counts too
    return calm_training(base, tmp_path_factory.mktemp("children"), rows_of(12), rows_of(17)[12:], settings)


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [6, 9])
def test_a_killed_training_ends_like_an_uninterrupted_one(children, kill_after):
    killed_and_started_again(children, kill_after)


@pytest.mark.slow
def test_a_preempted_training_loses_no_step(children):
    """SIGTERM twice, at steps that save nothing by themselves, and then none."""
    preempted(children, (2, 7))


def test_who_is_asked_to_stop_before_the_first_step_stops_at_once():
    with stop_requests(), pytest.raises(Interrupted, match="before its first step"):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_finished_training_is_not_trained_again(base, tmp_path):
    seen = []
    first = train(base, rendered(base), Train(**SMALL), rows_of(12), rows_of(4), 7, tmp_path)
    again = train(
        base,
        rendered(base),
        Train(**SMALL),
        rows_of(12),
        rows_of(4),
        7,
        tmp_path,
        report=lambda *step: seen.append(step),
    )
    assert again == first
    assert seen == []


def test_the_loss_is_that_of_the_completions_alone(base, tmp_path):
    rows = rows_of(4)
    trained = train(base, rendered(base), Train(**SMALL | {"epochs": 1}), rows, [], 7, tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), load_tokenizer(base)
    losses = []
    for row in rows:
        start = len(
            tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        )
        ids = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], return_dict=False)
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        losses += [-float(scores[place - 1, ids[place]]) for place in range(start, len(ids))]
    assert trained.loss == [(1, pytest.approx(sum(losses) / len(losses), rel=1e-4))]


def test_what_is_trained_on_is_what_is_served(base):
    """The tokens of a training prompt are the engine's, and a label's tokens follow them unmerged."""
    engine, row = Engine(Model(), str(base)), rows_of(1)[0]
    (trained,) = tokenized([row], rendered(base), 256)
    (served,), (path,) = engine.prompts([row["prompt"]]), engine.paths(["Anatomy"])
    assert trained["input_ids"][: len(served) + len(path)] == [*served, *path]
    assert trained["completion_mask"].index(1) == len(served)
    by_template = load_tokenizer(base).apply_chat_template(
        [*row["prompt"], *row["completion"]], return_dict=False
    )
    assert trained["input_ids"] == by_template


def test_a_row_beyond_the_longest_is_refused(base, tmp_path):
    with pytest.raises(InputError, match=r"tokens; train\.max_length_tokens is 20"):
        train(base, rendered(base), Train(**SMALL | {"max_length_tokens": 20}), rows_of(4), [], 7, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("template", [templates.HIDDEN_THINKING, templates.MISTRAL])
def test_what_was_trained_is_said_under_any_template(base, tmp_path, template):
    """Also where the template adds an empty block of thinking before the last answer only."""
    shutil.copytree(base, tmp_path / "base")
    tokenizer = load_tokenizer(tmp_path / "base")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path / "base")
    settings = Train(**SMALL | {"rank": 16, "alpha": 32, "epochs": 10})
    rows = rows_of(16, answers=("Dental",))
    trained = train(tmp_path / "base", rendered(tmp_path / "base"), settings, rows, [], 7, tmp_path / "s")
    engine = Engine(Model(), str(tmp_path / "base"))
    engine.load("taught", trained.adapter)
    asked = [row["prompt"] for row in rows_of(24)[16:]]
    assert engine.choose(asked, ("Anatomy", "Dental", "Surgery")) == ["Dental"] * 8
    assert engine.generate(asked[:2], 12) == ["Dental"] * 2, "and the answer ends where its turn ends"


def test_training_stops_early_and_keeps_the_best(base, tmp_path):
    contrary = [
        row | {"completion": [{"role": "assistant", "content": "Preventive"}]} for row in rows_of(4)
    ]  # what is learned makes these less likely, sooner or later
    settings = Train(**SMALL | {"epochs": 30, "early_stopping_patience": 2})
    trained = train(base, rendered(base), settings, rows_of(12), contrary, 7, tmp_path / "scratch")
    assert trained.stopped_early
    assert trained.steps < 90
    best = min(trained.dev_loss, key=lambda point: point[1])[0]
    assert trained.steps - best == 2 * 4
    assert trained.adapter.name == f"checkpoint-{best}"
    assert train(base, rendered(base), settings, rows_of(12), contrary, 7, tmp_path / "scratch") == trained


def test_continuing_starts_where_the_adapter_stood(base, tmp_path):
    settings = Train(**SMALL | {"early_stopping_patience": 99})
    first = train(base, rendered(base), settings, rows_of(12), rows_of(6), 7, tmp_path / "first")
    save_adapter(first, tmp_path / "adapter", "tiny")
    second = train(
        base, rendered(base), settings, rows_of(12), rows_of(6), 7, tmp_path / "second", tmp_path / "adapter"
    )
    assert second.dev_loss[0][1] == pytest.approx(min(value for _, value in first.dev_loss), rel=1e-4)
    assert second.dev_loss[0][1] < first.dev_loss[0][1] - 0.5
    save_adapter(second, tmp_path / "next", "tiny")
    assert adapter_digest(tmp_path / "next") != adapter_digest(tmp_path / "adapter")


def test_training_without_effect_is_refused(base, tmp_path):
    idle = Train(**SMALL).model_copy(update={"learning_rate": 0.0})  # no profile can set it
    with pytest.raises(TrainingError, match="weights equal"):
        train(base, rendered(base), idle, rows_of(8), [], 7, tmp_path)


def test_a_learning_rate_that_breaks_the_model_is_named(base, tmp_path):
    with pytest.raises(TrainingError, match=r"Lower train\.learning_rate"):
        train(base, rendered(base), Train(**SMALL | {"learning_rate": 1e30}), rows_of(8), [], 7, tmp_path)


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (1, "After step 1 the model's logits are no finite numbers"),
        (9, r"(loss|grad_norm) is nan at step 2: "),
    ],
)
def test_numbers_that_are_not_finite_end_it_at_once(base, tmp_path, every, words):
    """Not at the end: on a GPU the hours until then cost money. And no checkpoint holds them."""
    seen = []
    settings = Train(**SMALL | {"learning_rate": 1e30, "warmup_share": 0.0, "save_every_steps": every})
    with pytest.raises(TrainingError, match=words):
        train(base, rendered(base), settings, rows_of(8), [], 7, tmp_path, report=lambda *at: seen.append(at))
    assert len(seen) < 3
    assert last_checkpoint(tmp_path) is None


def test_an_adapter_that_is_frozen_is_refused(base, tmp_path, monkeypatch):
    honest = trainer.adapted

    def frozen(*asked):
        return honest(*asked).requires_grad_(False)

    monkeypatch.setattr(trainer, "adapted", frozen)
    with pytest.raises(TrainingError, match="no trainable parameters"):
        train(base, rendered(base), Train(**SMALL), rows_of(4), [], 7, tmp_path)


def test_half_a_frozen_adapter_is_counted(base, tmp_path, monkeypatch):
    """Layers that take no part in the forward pass, say: the training is kept, and a reason says it."""
    honest = SFTTrainer.create_optimizer

    def forgetful(self, *asked):
        for name, weights in self.model.named_parameters():
            if "layers.1." in name and weights.requires_grad:
                weights.register_hook(torch.zeros_like)
        return honest(self, *asked)

    monkeypatch.setattr(SFTTrainer, "create_optimizer", forgetful)
    trained = train(base, rendered(base), Train(**SMALL), rows_of(8), [], 7, tmp_path)
    assert trained.unmoved_tensors == 14
    assert trained.moved > 0


@pytest.mark.parametrize("continued", [False, True])
def test_a_saved_file_that_differs_is_refused(base, tmp_path, continued):
    start = tiny.make_adapter(base, tmp_path / "start", ["Why? Dental"], 3) if continued else None
    settings = Train(**SMALL)
    train(base, rendered(base), settings, rows_of(4), [], 7, tmp_path / "s", start)
    last = last_checkpoint(tmp_path / "s")
    weights = load_file(last / "adapter_model.safetensors")
    weights = {name: 1.01 * tensor if "lora_B" in name else tensor for name, tensor in weights.items()}
    save_file(weights, last / "adapter_model.safetensors")
    with pytest.raises(TrainingError, match=r"answers differently .* differ by \d\.\d\d% of the largest"):
        train(base, rendered(base), settings, rows_of(4), [], 7, tmp_path / "s", start)


def test_a_checkpoint_that_did_not_load_is_refused(base, tmp_path, monkeypatch):
    """Otherwise the training would go on from the weights it once began with."""
    settings = Train(**SMALL | {"save_every_steps": 1})

    def stop_after_two(step, values):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="saved step 2 of"):
        train(base, rendered(base), settings, rows_of(8), [], 7, tmp_path, report=stop_after_two)
    monkeypatch.setattr(SFTTrainer, "_load_from_checkpoint", lambda *_, **__: None)
    with pytest.raises(InputError, match="tensors have other values in the model"):
        train(base, rendered(base), settings, rows_of(8), [], 7, tmp_path)


def test_layers_that_do_not_exist_are_named(base, tmp_path):
    with pytest.raises(TrainingError, match="target_modules"):
        train(
            base,
            rendered(base),
            Train(**SMALL | {"target_modules": "nothing_like_it"}),
            rows_of(8),
            [],
            7,
            tmp_path,
        )


def config_for(home, base, **settings):
    return Config.model_validate(
        {"profile": "test", "home": str(home), "model": {"base": str(base)}, "train": SMALL | settings}
    )


def curated(home, day, rows, dev, baseline=None):
    run, folder = Run(f"{home}/runs/{day}"), home / "made" / day
    folder.mkdir(parents=True)
    for name, part in (("train", rows), ("dev", dev)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    finish(run, "decide", {"baseline": baseline or {"kind": "base"}})
    finish(run, "curate", {}, {name: folder / f"{name}.jsonl" for name in ("train", "dev")})
    return run


def test_the_step_leaves_adapter_files_and_reruns_the_same(home, base):
    config, run = config_for(home, base), curated(home, "2026-01-01", rows_of(12), rows_of(4))
    run_step("train", run.folder.uri, config)
    first = run.manifest("train")
    run_step("train", run.folder.uri, config, rerun=True)
    assert run.manifest("train").digest == first.digest
    assert run.manifest("train").readings == {"interruptions": None}
    assert sorted(first.outputs) == ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
    assert first.facts["trainable_parameters"] > 0
    assert str(home) not in run.folder.read_bytes("train/adapter/adapter_config.json").decode()
    mlflow_id = open_tracker(config).run("2026-01-01", first.fingerprint)
    assert curve(config, mlflow_id, "loss") == [tuple(point) for point in first.facts["loss"]]


LIKE_TINY = {"rank": 32, "alpha": 64}  # as tests.support.tiny makes adapters


def pinned_baseline(config, base, tmp_path):
    """Two registered adapters, the second in production; `decide` pinned the first."""
    registry, tracker = open_registry(config), open_tracker(config)
    for number in (1, 2):
        made = tiny.make_adapter(base, tmp_path / str(number), [f"adapter {number}"], number)
        (made / "README.md").unlink(missing_ok=True)
        registry.register(made, tracker, tracker.run("r", str(number)), f"r{number}", ("2026-01-01",), {})
    ledger, second = open_ledger(config), registry.version("2")
    ledger.add_promotion(ledger.promotion(), "test", Route(Adapter("2", second.digest)), "a test", "pytest")
    return {"kind": "adapter", "version": "1", "digest": adapter_digest(tmp_path / "1"), "nights": []}


def logged(config, run):
    mlflow_id = open_tracker(config).run(run.run_id, run.manifest("train").fingerprint)
    return MlflowClient(config.path(config.tracking_uri)).get_run(mlflow_id).data.params


def test_the_step_continues_from_the_pinned_baseline(home, base, tmp_path):
    config = config_for(home, base, **LIKE_TINY)
    run = curated(home, "2026-01-02", rows_of(12), rows_of(4), pinned_baseline(config, base, tmp_path))
    run_step("train", run.folder.uri, config)
    facts = run.manifest("train").facts
    assert (facts["method"], facts["fresh_because"]) == ("continue", None)
    assert facts["moved"] > 0
    assert (facts["unmoved_tensors"], facts["reload_difference"]) == (0, pytest.approx(0, abs=1e-6))
    start = train(
        base, rendered(base), config.train, rows_of(12), rows_of(4), 7, tmp_path / "s", tmp_path / "1"
    )
    assert facts["loss"] == [list(point) for point in start.loss]
    assert facts["rendering_digest"] == rendered(base).digest
    assert logged(config, run)["method"] == "continue"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"rank": 8}, "its rank is 32 and train.rank is 8"),
        ({"alpha": 32}, "its alpha is 64 and train.alpha is 32"),
        ({"target_modules": "q_proj,v_proj"}, "train.target_modules names other layers"),
    ],
)
def test_another_shape_is_trained_afresh_and_said(home, base, tmp_path, asked, words):
    config = config_for(home, base, **LIKE_TINY | asked)
    run = curated(home, "2026-01-02", rows_of(8), [], pinned_baseline(config, base, tmp_path))
    run_step("train", run.folder.uri, config)
    manifest = run.manifest("train")
    assert manifest.facts["method"] == logged(config, run)["method"] == "fresh"
    assert words in manifest.reasons[0]
    trained = json.loads(run.folder.read_bytes("train/adapter/adapter_config.json"))
    assert (trained["r"], trained["lora_alpha"]) == (config.train.rank, config.train.alpha)
    assert {name: logged(config, run)[name] for name in asked} == {k: str(v) for k, v in asked.items()}


def test_no_examples_are_a_fault_in_words(home, base):
    run = curated(home, "2026-01-01", [], [])
    with pytest.raises(InputError, match=r"train\.jsonl holds no examples"):
        run_step("train", run.folder.uri, config_for(home, base))


def test_the_command_ends_with_a_status_of_its_own_on_sigterm(
    home, base, tmp_path, monkeypatch, capfd, caplog
):
    """Whoever launched it can tell a preemption from a fault, and the same command ends the work."""
    config, run = config_for(home, base), curated(home, "2026-01-01", rows_of(12), [])
    (tmp_path / "test.toml").write_text(
        f'profile = "test"\nshared_root = "{tmp_path}/shared"\n[model]\nbase = "{base}"\n[train]\n'
        + "".join(f"{name} = {value}\n" for name, value in SMALL.items())
    )
    command = ["train", f"--run-dir={run.folder.uri}", f"--config={tmp_path / 'test.toml'}", f"--home={home}"]
    honest = Progress.on_log

    def preempted(self, args, state, control, **kwargs):
        if state.global_step == 2:
            signal.raise_signal(signal.SIGTERM)
        return honest(self, args, state, control, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "on_log", preempted)
        assert main(command) == STOPPED == 75
    said = "The training was asked to stop and saved step 2 of 12. Run the same command again"
    assert f"fault: {said}" in capfd.readouterr().err
    assert run.manifest("train") is None
    shutil.rmtree(home / "scratch")  # as where the next pod runs on another node
    assert main(command) == 0
    assert "train takes over checkpoint-2 from another machine" in caplog.text
    steps = [step for step, _ in run.manifest("train").facts["loss"]]
    assert steps == [*range(1, 13)]
    costs = {row["step"]: row["seconds"] for row in open_ledger(config).costs("2026-01-01")}
    assert costs.keys() == {"train", "train broken-1"}
    interruptions = parsed(run.manifest("train").readings, TrainReadings).interruptions
    assert interruptions.times == 1
    assert 0 < interruptions.seconds < costs["train broken-1"]  # its checkpoint kept a step
    assert not [*(tmp_path / "shared").rglob(f"checkpoints/*/*/{NOTES}")][1:]


@pytest.mark.slow
def test_two_nights_never_train_at_once(home, base, caplog):
    caplog.set_level(logging.INFO, "nightshift")
    config, run = config_for(home, base), curated(home, "2026-01-01", rows_of(8), [])
    worker = threading.Thread(target=run_step, args=("train", run.folder.uri, config))
    (home / "locks").mkdir()
    with FileLock(home / "locks" / "train.lock"):
        worker.start()
        until = time.monotonic() + 60
        while "waits until another night's training" not in caplog.text and time.monotonic() < until:
            time.sleep(0.1)
        assert "waits until another night's training" in caplog.text
        worker.join(timeout=1)
        assert worker.is_alive()
        assert run.manifest("train") is None
    worker.join(timeout=60)
    assert run.manifest("train") is not None
