"""The engine on a tiny real model: what is chosen, scored and served is what the model says."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pipelines.core.config import Model
from pipelines.core.errors import InputError
from pipelines.models.base import digest_base, load_tokenizer, resolve_base
from pipelines.models.engine import Engine
from tests.support import tiny

LABELS = ("Anatomy", "Medicine", "Medicine Ward", "Preventive Medicine", "Pediatrics", "Surgery")
ASKED = [
    [{"role": "system", "content": "Answer with the hospital department."}, {"role": "user", "content": text}]
    for text in ("Where is the femur?", "Dose of aspirin in a child of three years?", "Why?", "A " * 40)
] * 3


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    texts = ["Where is the femur? Medicine Ward", "Why? Pediatrics"]
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "a", texts, 20)


@pytest.fixture
def engine(base):
    return Engine(Model(batch_size=5), str(base))


def plain_logits(model, ids):
    """Logits after the last token: one row, no padding, no cache."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double()


def greedy_choice(model, tokenizer, prompt, labels):
    """Constrained greedy decoding, written the slow way."""
    paths = {label: [*tokenizer.encode(label), tokenizer.eos_token_id] for label in labels}
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    for depth in range(max(map(len, paths.values()))):
        logits = plain_logits(model, ids)[-1]
        best = max({path[depth] for path in paths.values()}, key=lambda token: logits[token])
        paths = {label: path for label, path in paths.items() if path[depth] == best}
        if len(paths) == 1:
            break
        ids = [*ids, best]
    return next(iter(paths))


def test_choices_are_constrained_greedy_decoding(engine, base, adapter):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), load_tokenizer(base)
    engine.load("a", adapter)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    for name, reference in ((None, model), ("a", tuned)):
        engine.use(name)
        wanted = [greedy_choice(reference, tokenizer, engine.rendering.text(one), LABELS) for one in ASKED]
        assert engine.choose(ASKED, LABELS) == wanted
        assert [engine.choose([one], LABELS)[0] for one in ASKED[:4]] == wanted[:4]


@pytest.mark.slow
def test_a_label_that_begins_another_can_be_chosen(base, tmp_path):
    tokenizer = load_tokenizer(base)
    for label in ("Medicine", "Medicine Ward"):
        engine = Engine(Model(), str(base))
        said = [
            tokenizer.apply_chat_template([*one, {"role": "assistant", "content": label}], tokenize=False)
            for one in ASKED[:4]
        ]
        engine.load("taught", tiny.make_adapter(base, tmp_path / label, said, 90))
        assert engine.choose(ASKED[:4], LABELS) == [label] * 4


def test_a_merged_adapter_answers_as_beside_the_base(engine, base, adapter, tmp_path):
    beside = engine
    beside.load("a", adapter)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload()
    merged.save_pretrained(tmp_path)
    load_tokenizer(base).save_pretrained(tmp_path)
    other = Engine(Model(), str(tmp_path))
    assert np.abs(beside.next_logits(ASKED) - other.next_logits(ASKED)).max() < 1e-4
    assert beside.choose(ASKED, LABELS) == other.choose(ASKED, LABELS)


def test_the_bare_base_is_untouched_by_adapters_beside_it(engine, adapter):
    before = engine.next_logits(ASKED)
    engine.load("a", adapter)
    engine.load("b", adapter)
    assert np.abs(engine.next_logits(ASKED) - before).max() > 1e-3
    engine.use(None)
    assert np.abs(engine.next_logits(ASKED) - before).max() < 1e-6


def test_logprobs_are_sums_over_the_continuation_only(engine, base):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), load_tokenizer(base)
    prompts = ["The nerve of the tongue is", "The nerve of the tongue is", "", "A short one:"]
    continuations = [" yes", " no", "Teeth need enamel to last.", " many more words than before, and a dot."]
    sums, counts = engine.logprobs(prompts, continuations)
    for prompt, continuation, found, count in zip(prompts, continuations, sums, counts, strict=True):
        context = tokenizer.encode(prompt) or [tokenizer.bos_token_id]
        ids = context + tokenizer.encode(continuation)
        scores = plain_logits(model, ids).log_softmax(-1)
        wanted = sum(scores[place - 1, ids[place]] for place in range(len(context), len(ids)))
        assert found == pytest.approx(float(wanted), abs=1e-3)
        assert count == len(ids) - len(context)


@pytest.mark.parametrize("prompt", ["The nerve of the tongue is", "Teeth need ena", ""])
def test_options_after_one_prompt_score_as_each_alone(engine, prompt):
    options = [" yes", "mel to last.", " many more words than before, and a dot."]
    wanted, counts = engine.logprobs([prompt] * 3, options)
    found, lengths = engine.option_logprobs(prompt, options)
    assert found == pytest.approx(wanted, abs=1e-3)
    assert lengths.tolist() == counts.tolist()


def test_an_empty_continuation_is_refused(engine):
    with pytest.raises(ValueError, match="adds no token"):
        engine.logprobs(["a"], [""])
    with pytest.raises(ValueError, match="adds no token"):
        engine.option_logprobs("a", [""])


def test_free_answers_are_what_greedy_decoding_gives(engine, base):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), load_tokenizer(base)
    answers = engine.generate(ASKED[:4], 4)
    for one, answer in zip(ASKED, answers, strict=False):
        ids = tokenizer.encode(engine.rendering.text(one), add_special_tokens=False)
        start = len(ids)
        while len(ids) < start + 4 and (len(ids) == start or ids[-1] != tokenizer.eos_token_id):
            ids.append(int(plain_logits(model, ids)[-1].argmax()))
        assert answer == tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def test_a_base_comes_from_a_folder_or_a_uri(base, tmp_path):
    assert resolve_base(str(base)) == base
    copied = resolve_base(f"file://{base}", cache=tmp_path / "cache")
    assert copied.parent == tmp_path / "cache"
    assert digest_base(copied) == digest_base(base)
    resolve_base.cache_clear()
    before = (copied / "config.json").stat().st_mtime_ns
    assert resolve_base(f"file://{base}", cache=tmp_path / "cache") == copied
    assert (copied / "config.json").stat().st_mtime_ns == before, "it is copied once"
    with pytest.raises(InputError, match="no base model at"):
        resolve_base(f"file://{tmp_path}/empty", cache=tmp_path / "cache")
    other = AutoModelForCausalLM.from_pretrained(base)
    other.lm_head.weight.data[0, 0] += 1
    other.save_pretrained(tmp_path / "other")
    assert digest_base(tmp_path / "other") != digest_base(base)


def test_a_missing_base_is_named_in_words(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        resolve_base(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="safetensors"):
        digest_base(tmp_path)
