"""The engine that evaluation and the embedded gateway share: one base model, LoRA adapters beside it.

It uses transformers and PEFT. Decoding is greedy and batched by length; equal inputs give equal answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import PeftModel
from transformers import LogitsProcessor, LogitsProcessorList

from pipelines.core.config import Model
from pipelines.core.probes import TOP, Answer, Token
from pipelines.models.adapters import attach, fill
from pipelines.models.base import (
    Messages,
    digest_base,
    digest_tokenizer,
    load_tokenizer,
    resolve_base,
    token_ids,
)
from pipelines.models.batching import batches, left_padded, scoring_plan
from pipelines.models.rendering import Rendering
from pipelines.models.weights import answering_dtype, load_base

logging.getLogger("peft").setLevel(logging.ERROR)
transformers.utils.logging.disable_progress_bar()


def use_threads(threads: int) -> None:
    """Set the CPU threads of torch; 0 leaves its own choice, one a core."""
    if threads:
        torch.set_num_threads(threads)


def narrow(
    logits: torch.Tensor, paths: Sequence[Sequence[int]], options: list[int], depth: int
) -> tuple[int, list[int]]:
    """One step of a guided choice: the likeliest token that continues an option, and the options it leaves.

    `logits`: (vocabulary,). `paths`: the tokens of every label; `options`: the labels still possible. Where
    one option is left there is nothing to choose, and its next token is returned.
    """
    if len(options) == 1:
        only = paths[options[0]]
        return only[min(depth, len(only) - 1)], options
    tokens = sorted({paths[option][depth] for option in options})
    best = tokens[int(logits[tokens].argmax())]
    return best, [option for option in options if paths[option][depth] == best]


def token_of(tokenizer: Any, logits: torch.Tensor, token: int, count: int) -> Token:
    """A token of an answer with the `count` likeliest at its place. `logits`: (vocabulary,), on the CPU."""
    scores = logits.float().log_softmax(-1)
    values, ids = scores.topk(min(count, len(logits)))
    texts = tokenizer.batch_decode([[token], *ids[:, None].tolist()], clean_up_tokenization_spaces=False)
    likeliest = tuple(zip(texts[1:], values.tolist(), strict=True))
    return Token(text=texts[0], logprob=float(scores[token]), likeliest=likeliest)


class Engine:
    """Answers conversations with the base model, or with one of its loaded adapters."""

    def __init__(self, model: Model, base_path: str, system_prompt: str = "") -> None:
        """`system_prompt`: the task's. Raises CannotRender before the model's weights are read."""
        use_threads(model.threads)
        self.folder = resolve_base(base_path, model.revision)
        self.base_digest = digest_base(self.folder)
        self.tokenizer_digest = digest_tokenizer(self.folder)
        self.tokenizer: Any = load_tokenizer(self.folder)
        self.rendering = Rendering(self.tokenizer, system_prompt, model.max_prompt_tokens)
        self._settings = model
        base = load_base(self.folder, model, answering_dtype(model))
        self._device = base.device
        self._model: Any = base.eval().requires_grad_(False)

    @property
    def end_tokens(self) -> set[int]:
        """The tokens that end a free answer."""
        ends = self._model.generation_config.eos_token_id
        known = ends if isinstance(ends, list) else [] if ends is None else [ends]
        return {*known, self.rendering.end_ids[-1]}

    @property
    def module(self) -> Any:
        """The base model, with the adapters in its layers and without the wrapping of PEFT."""
        return self._model.base_model.model if isinstance(self._model, PeftModel) else self._model

    def load(self, name: str, folder: str | Path) -> None:
        """Put an adapter beside the base; `use(name)` switches to it.

        Raises InputError where its tensors are not those of the model. The model is still a whole one then;
        `unload` frees what was loaded.
        """
        self._model = attach(self._model, Path(folder), name)
        fill(self._model, Path(folder), name)
        self._model.eval()
        self.use(name)

    def unload(self, name: str) -> None:
        """Free an adapter that nothing uses any more, or what an interrupted loading left of it."""
        if name in getattr(self._model, "peft_config", {}):
            self._model.delete_adapter(name)

    def use(self, name: str | None) -> None:
        """Answer with this adapter from now on; None means the bare base."""
        has_adapters = isinstance(self._model, PeftModel)
        if name is not None:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(name)
        elif has_adapters:
            self._model.base_model.disable_adapter_layers()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special ones added."""
        return [len(ids) for ids in token_ids(self.tokenizer, texts)]

    def paths(self, labels: Sequence[str]) -> list[tuple[int, ...]]:
        """The tokens that spell each label and end the turn."""
        return self.rendering.paths(labels)

    def prompts(self, conversations: Sequence[Messages]) -> list[list[int]]:
        """The tokens of each conversation up to where the answer begins. Raises TooLong and CannotRender."""
        return [self.rendering.prompt(messages).ids for messages in conversations]

    @torch.inference_mode()
    def next_logits(self, conversations: Sequence[Messages]) -> np.ndarray:
        """(n, vocabulary) logits of the first answer token; for parity checks."""
        prompts = self.prompts(conversations)
        rows: list[np.ndarray] = [np.empty(0)] * len(prompts)
        for batch in batches(prompts, self._settings.batch_size):
            ids, mask = self.pad([prompts[i] for i in batch])
            logits = self.forward(ids, mask).logits[:, -1].float().cpu().numpy()
            for row, i in enumerate(batch):
                rows[i] = logits[row]
        return np.stack(rows)

    @torch.inference_mode()
    def choose(self, conversations: Sequence[Messages], labels: Sequence[str]) -> list[str]:
        """One label for each conversation: greedy decoding over the token paths that spell a label.

        vLLM's `guided_choice` does the same. Decoding ends as soon as a single label is left.
        """
        paths = self.paths(labels)
        prompts = self.prompts(conversations)
        answers = [""] * len(prompts)
        for batch in batches(prompts, self._settings.batch_size):
            for i, label in zip(batch, self._choose_batch([prompts[i] for i in batch], paths), strict=True):
                answers[i] = labels[label]
        return answers

    def _choose_batch(self, prompts: list[list[int]], paths: list[tuple[int, ...]]) -> list[int]:
        ids, mask = self.pad(prompts)
        options = [list(range(len(paths))) for _ in prompts]  # labels still possible, per row
        cache, depth = None, 0
        while True:
            step = self.forward(ids, mask, cache)
            cache, logits = step.past_key_values, step.logits[:, -1].float().cpu()
            chosen = []
            for row, labels in enumerate(options):
                best, options[row] = narrow(logits[row], paths, labels, depth)
                chosen.append(best)
            if all(len(labels) == 1 for labels in options):
                return [labels[0] for labels in options]
            ids, depth = torch.tensor(chosen, device=ids.device)[:, None], depth + 1
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)

    @torch.inference_mode()
    def generate(
        self,
        conversations: Sequence[Messages],
        max_new_tokens: int,
        rules: Callable[[int], LogitsProcessor] | None = None,
    ) -> list[str]:
        """Free answers, greedy, special tokens removed; calls of tools as JSON.

        `rules`: of so many rows, which tokens may follow.
        """
        prompts = self.prompts(conversations)
        answers = [""] * len(prompts)
        for batch in batches(prompts, self._settings.batch_size):
            following = {"logits_processor": LogitsProcessorList([rules(len(batch))])} if rules else {}
            made = self._greedy([prompts[i] for i in batch], max_new_tokens, **following)
            texts = self.tokenizer.batch_decode(made, skip_special_tokens=True)
            for i, text in zip(batch, texts, strict=True):
                said = text.strip()
                answers[i] = said if rules else self.rendering.answer(conversations[i], said)
        return answers

    @torch.inference_mode()
    def beginnings(self, conversations: Sequence[Messages], max_new_tokens: int) -> list[Answer]:
        """The first tokens of free answers, each with the likeliest tokens at its place."""
        prompts = self.prompts(conversations)
        answers: list[Answer] = [Answer(text="", steps=())] * len(prompts)
        for batch in batches(prompts, self._settings.batch_size):
            made = self._greedy(
                [prompts[i] for i in batch], max_new_tokens, output_logits=True, return_dict_in_generate=True
            )
            logits = torch.stack(made.logits, dim=1).float().cpu()  # (rows, new tokens, vocabulary)
            tokens = made.sequences[:, -logits.shape[1] :].tolist()
            for row, i in enumerate(batch):
                answers[i] = self._beginning(tokens[row], logits[row])
        return answers

    def _beginning(self, tokens: list[int], logits: torch.Tensor) -> Answer:
        """`logits`: (tokens, vocabulary). What follows the end of the answer is left out."""
        ends = [place for place, token in enumerate(tokens) if token in self.end_tokens]
        tokens = tokens[: ends[0] + 1] if ends else tokens
        steps = [
            token_of(self.tokenizer, logits[place], token, TOP).step for place, token in enumerate(tokens)
        ]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return Answer(text=text, steps=tuple(steps))

    def _greedy(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, **more: Any) -> Any:
        """(rows, new tokens) of one batch, or with `return_dict_in_generate` what `generate` returns."""
        ids, mask = self.pad(prompts)
        made = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(self.end_tokens),
            repetition_penalty=1.0,  # plain greedy, whatever the base's own defaults are
            pad_token_id=self.tokenizer.pad_token_id,
            **more,
        )
        return made[:, ids.shape[1] :] if isinstance(made, torch.Tensor) else made

    def logprobs(self, prompts: Sequence[str], continuations: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n,) summed log-probability of each continuation after its prompt, and (n,) its token count.

        Raw text, no template; an empty prompt is the beginning-of-text token. Prompt and continuation
        are split on the tokens of the whole, as lm-evaluation-harness does. Raises ValueError for a
        continuation that adds no token.
        """
        start = [self.tokenizer.bos_token_id or self.tokenizer.eos_token_id]
        contexts = [ids or start for ids in token_ids(self.tokenizer, prompts)]
        wholes = token_ids(self.tokenizer, [p + c for p, c in zip(prompts, continuations, strict=True)])
        wholes = [ids if prompt else start + ids for ids, prompt in zip(wholes, prompts, strict=True)]
        counts = np.array([len(w) - len(c) for w, c in zip(wholes, contexts, strict=True)])
        if len(counts) and counts.min() < 1:
            raise ValueError("A continuation adds no token to its prompt. Give one that is not empty.")
        return self._scores(wholes, counts), counts

    def option_logprobs(self, prompt: str, options: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What `logprobs` gives for several continuations of one long prompt, which it reads only once."""
        (context,) = token_ids(self.tokenizer, [prompt])
        wholes = token_ids(self.tokenizer, [prompt + option for option in options])
        alike = all(len(whole) > len(context) and whole[: len(context)] == context for whole in wholes)
        if not (context and alike):  # a token may reach over the border
            return self.logprobs([prompt] * len(options), options)
        said = [whole[len(context) :] for whole in wholes]
        return self._after(context, said), np.array([*map(len, said)])

    def answer_logprobs(self, messages: Messages, answers: Sequence[str]) -> np.ndarray:
        """(n,) summed log-probability of each answer to one conversation, without the end of the turn."""
        return self._after(self.rendering.prompt(messages).ids, [*map(self.rendering.answer_ids, answers)])

    @torch.inference_mode()
    def _after(self, prompt: Sequence[int], said: Sequence[Sequence[int]]) -> np.ndarray:
        """(n,) summed log-probability of each of `said` after the prompt.

        The prompt goes through the model once, all others together after it.
        """
        first = self.forward(*self.pad([prompt]))
        first.past_key_values.batch_repeat_interleave(len(said))
        longest = max(map(len, said))
        ids = torch.tensor([[*row, *[self.tokenizer.pad_token_id] * (longest - len(row))] for row in said])
        mask = torch.ones(len(said), len(prompt) + longest, dtype=torch.long, device=first.logits.device)
        rest = self.forward(ids.to(mask.device), mask, first.past_key_values, keep=longest).logits
        logits = torch.cat([first.logits[:, -1:].expand(len(said), -1, -1), rest[:, :-1]], dim=1)
        scores = logits.float().log_softmax(-1).gather(2, ids.to(mask.device)[:, :, None])[:, :, 0]
        return np.array(
            [float(row[: len(ids)].double().sum()) for row, ids in zip(scores, said, strict=True)]
        )

    @torch.inference_mode()
    def _scores(self, wholes: Sequence[Sequence[int]], counts: np.ndarray) -> np.ndarray:
        """(n,) summed log-probability of the last `counts` tokens of each row."""
        plan, sums = scoring_plan(wholes, counts), np.zeros(len(wholes))
        for batch in batches(plan.passes, self._settings.batch_size, plan.keep):
            kept = max(plan.keep[i] for i in batch)
            ids, mask = self.pad([plan.passes[i] for i in batch])
            logits = self.forward(ids, mask, keep=kept).logits.float().log_softmax(-1)
            for row, i in enumerate(batch):
                for item in plan.items[i]:
                    target = torch.tensor(wholes[item][-counts[item] :], device=logits.device)
                    scores = logits[row, kept - len(target) :].gather(1, target[:, None])
                    sums[item] = float(scores.double().sum())
        return sums

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded ids and mask, (rows, longest) each, on the model's device."""
        ids, mask = left_padded(rows, self.tokenizer.pad_token_id)
        return ids.to(self._device), mask.to(self._device)

    def forward(self, ids, mask, cache=None, keep: int = 1):  # type: ignore[no-untyped-def]
        """The model over new tokens (rows, n) after a cache, with the logits of the last `keep` places.

        `mask` is (rows, tokens in the cache + n); the cache grows in place.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.module(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        )
