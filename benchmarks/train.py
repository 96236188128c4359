"""Nightshift's training against TRL's defaults: tokens/s, share of the device's peak, memory, equal loss.

    .venv/bin/python -m benchmarks.train [--shape tiny|135m|1b|8b] [--steps 8] [--ways nightshift,trl]

Weights are random, of a stated shape, so nothing is downloaded and no weight file is read. Examples are
random tokens of many lengths, the same for all ways, and a quarter of each is the answer that the loss
counts. Each way is a process of its own. It takes the same examples in the same order, at the same learning
rate and in the same type, without dropout. Its losses and gradient norms must be those of the first way
within what rounding explains; otherwise its row says so. The first two steps are not
timed. On a CPU the seconds are those of its cores, so that other programs on the machine count less.

FLOPs of a token: 4 for each weight of the layers, 2 in the forward pass and 2 in the backward one, because
frozen weights have no gradients; the same for the projection on the vocabulary, of the answers' tokens only;
6 for each weight of the adapter; and 12 x layers x width x half of the length for attention. Padding counts
as no token, and what is computed again as no work (model FLOPs: PaLM, arXiv:2204.02311, appendix B).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.machine import describe

# TFLOP/s in bfloat16, dense: half of what NVIDIA's data sheets give with sparsity. A key is a part of the
# device's name in torch, longer ones first. Any other device, a CPU too, gets no share.
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312}
SHAPES = {  # Llama's: hidden, intermediate, layers, heads, key-value heads, vocabulary
    "tiny": (64, 128, 2, 4, 4, 4096),
    "135m": (576, 1536, 30, 9, 3, 49152),
    "1b": (2048, 8192, 16, 32, 8, 128256),
    "8b": (4096, 14336, 32, 32, 8, 128256),
}
WAYS = {
    "nightshift": "train.packing: no padding",
    "nightshift-padded": "its defaults: padded batches",
    "trl": "SFTTrainer's defaults, with gradient checkpointing",
    "trl-plain": "the same without checkpointing",
    "unsloth": "FastLanguageModel",
    "axolotl": "axolotl train",
}
NOT_WRITTEN = ("unsloth", "axolotl")  # named, so that the table says that they were not compared
RANK, LEARNING_RATE = 16, 1e-4


@dataclass(frozen=True)
class Result:
    """What one way measured; `seconds` and `tokens` are those of the steps after the first two."""

    loss: list[float]
    norms: list[float]
    tokens: int
    seconds: float
    peak_gib: float
    device: str


def main() -> None:
    options = _options()
    if options.one:
        print(json.dumps(asdict(_measure(options))))
        return
    hidden, _, layers, _, _, vocabulary = SHAPES[options.shape]
    print(f"{describe()}")
    print(
        f"shape {options.shape} (width {hidden}, {layers} layers, {vocabulary:,} tokens), LoRA rank {RANK} on"
        f" all linear layers, {options.steps} steps of {options.batch} examples, {options.dtype}, lengths"
        f" {_lengths(options).min()} to {_lengths(options).max()}, mean {_lengths(options).mean():.0f}\n"
    )
    print(
        "| way | tokens/s | share of peak | peak memory GiB | loss, first and last step | as the first way |"
    )
    print("|---|---:|---:|---:|---|---|")
    first: Result | None = None
    for way in options.ways.split(","):
        found = _child(way)
        if isinstance(found, str):
            print(f"| {way}: {WAYS[way]} | {found} | | | | |", flush=True)
            continue
        first = first or found
        print(_row(way, found, first, options), flush=True)
    print(f"\nFLOPs a token: {_flops(options):.3g}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8, help="examples in a step")
    parser.add_argument("--length", type=int, default=256, help="the longest example, in tokens")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--one", choices=WAYS, help="measure this way in this process")
    return parser.parse_args()


def _child(way: str) -> Result | str:
    """What a way measured in a process of its own, or why it did not."""
    if way in NOT_WRITTEN:
        there = importlib.util.find_spec(way) is not None
        return "installed, but not compared here yet" if there else "not installed"
    command = [sys.executable, "-m", "benchmarks.train", *sys.argv[1:], "--one", way]
    quiet = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait use no time
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        return f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1][:90]}"
    return Result(**json.loads(done.stdout.strip().splitlines()[-1]))


def _row(way: str, found: Result, first: Result, options: argparse.Namespace) -> str:
    speed = found.tokens / found.seconds
    peak = next((peak for name, peak in PEAKS.items() if name in found.device), None)
    share = f"{speed * _flops(options) / (peak * 1e12):.1%}" if peak else "-"
    tolerance = 1e-3 if options.dtype == "float32" else 0.05
    equal = all(
        len(mine) == len(theirs) and np.allclose(mine, theirs, rtol=tolerance)
        for mine, theirs in ((found.loss, first.loss), (found.norms, first.norms))
    )
    same = "loss and gradient norms equal" if equal else "**other loss or gradient norms**"
    losses = f"{found.loss[0]:.4f}, {found.loss[-1]:.4f}"
    return f"| {way}: {WAYS[way]} | {speed:,.0f} | {share} | {found.peak_gib:.2f} | {losses} | {same} |"


def _flops(options: argparse.Namespace) -> float:
    hidden, intermediate, layers, heads, kv_heads, vocabulary = SHAPES[options.shape]
    kv = hidden * kv_heads // heads
    linear = [(hidden, hidden), (hidden, kv), (hidden, kv), (hidden, hidden)]
    linear += [(hidden, intermediate), (hidden, intermediate), (intermediate, hidden)]
    weights = layers * sum(a * b for a, b in linear)
    adapter = layers * sum(RANK * (a + b) for a, b in linear)
    lengths = _lengths(options).astype(float)
    length = float((lengths**2).sum() / lengths.sum())  # of the example that a token is in, on average
    answers = hidden * vocabulary / 4  # only they are projected
    return 4 * (weights + answers) + 6 * adapter + 12 * layers * hidden * length / 2


def _lengths(options: argparse.Namespace) -> np.ndarray:
    """(examples,) log-normal, as chats are: many short ones, few long ones."""
    rng = np.random.default_rng(1)
    drawn = np.exp(rng.normal(math.log(options.length / 4), 0.6, options.steps * options.batch))
    return np.clip(drawn, 16, options.length).astype(int)


def _examples(options: argparse.Namespace) -> list[dict[str, list[int]]]:
    rng, vocabulary = np.random.default_rng(2), SHAPES[options.shape][-1]
    made = []
    for length in _lengths(options):
        ids = rng.integers(10, vocabulary, length).tolist()
        asked = length - max(1, length // 4)
        made.append({"input_ids": ids, "labels": [-100] * asked + ids[asked:]})
    return made


def _measure(options: argparse.Namespace) -> Result:
    """Train `options.steps` steps in this process."""
    import torch
    from transformers import TrainerCallback

    marks, tokens = [], []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append(perf_counter() if torch.cuda.is_available() else process_time())

    examples = _examples(options)
    tokens = [
        sum(len(one["input_ids"]) for one in examples[i : i + options.batch])
        for i in range(0, len(examples), options.batch)
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(options, examples, Path(folder))
        trainer.add_callback(Clock())
        trainer.train()
    history = trainer.state.log_history
    on_gpu = torch.cuda.is_available()
    return Result(
        loss=[one["loss"] for one in history if "loss" in one],
        norms=[one["grad_norm"] for one in history if "grad_norm" in one],
        tokens=sum(tokens[2:]),
        seconds=marks[-1] - marks[1],
        peak_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else _peak_gib(),
        device=torch.cuda.get_device_name() if on_gpu else "CPU",
    )


def _peak_gib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _trainer(options: argparse.Namespace, examples: list[Any], folder: Path) -> Any:
    import datasets
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    ours = options.one.startswith("nightshift")
    if ours:
        import pipelines.models.trainer  # noqa: F401  it changes how TRL projects on the vocabulary
    datasets.disable_progress_bars()
    torch.manual_seed(7)
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = _model(options)
    torch.manual_seed(8)
    adapted = get_peft_model(model, lora)
    packed = options.one == "nightshift"
    again = options.one == "trl" or (ours and options.gradient_checkpointing)
    more = {"max_length": None, "padding_free": True} if packed else {"max_length": options.length}
    arguments = SFTConfig(
        output_dir=str(folder),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        bf16=options.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=7,
        gradient_checkpointing=again,
        **more,
    )
    return SFTTrainer(
        model=adapted,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(examples),
        processing_class=_tokenizer(PreTrainedTokenizerFast),
    )


def _model(options: argparse.Namespace) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, intermediate, layers, heads, kv_heads, vocabulary = SHAPES[options.shape]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        attn_implementation=options.attention,
        pad_token_id=0,
        eos_token_id=1,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, options.dtype))
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            return LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def _tokenizer(kind: Any) -> Any:
    """SFTTrainer asks for one, and the examples are tokens already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<pad>"))
    return kind(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")


if __name__ == "__main__":
    main()
