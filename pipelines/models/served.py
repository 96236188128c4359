"""Models behind an OpenAI-compatible server, as evaluation asks them (`evaluate.engine = "openai"`).

vLLM loads an adapter while it runs, if it was started with `--enable-lora` and
VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and finds the adapter's folder under the same path as this process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.core.chat_api import (
    TEMPLATE_FIELD,
    choice_fields,
    conversation_fields,
    is_refused,
    schema_fields,
    server_root,
)
from pipelines.core.config import Config
from pipelines.core.conversations import TEMPLATE_VARIABLES, with_system
from pipelines.core.errors import InputError, NightshiftError, UnavailableError
from pipelines.core.files import read_key
from pipelines.core.tools import answer_text, called
from pipelines.models.api_client import ApiClient, Away, Reply, Unusable
from pipelines.models.base import Messages

ATTEMPTS = 5
FIRST_WAIT_S = 1.0  # before the second attempt; it doubles

log = logging.getLogger("nightshift")


def answered_by(config: Config) -> dict[str, str]:
    """For a step's fingerprint: the server that answers; {} where the engine does."""
    if config.evaluate.engine == "embedded":
        return {}
    return {"answered_by": f"{root_of(config)} {config.serving.served_base}".strip()}


def root_of(config: Config) -> str:
    """The server's address, without /v1. Raises InputError for one that is none."""
    if config.evaluate.url:
        return server_root(config.evaluate.url, "evaluate.url")
    return server_root(config.serving.url)


class Server:
    """The server. Requests that fail for a passing reason are repeated; all others are faults."""

    def __init__(self, config: Config) -> None:
        serving, settings = config.serving, config.evaluate
        self._base, self._system, self.guided = serving.served_base, config.task.system_prompt, serving.guided
        self._parallel = settings.parallel_requests
        self._client = ApiClient(
            root_of(config),
            read_key(serving.api_key_file, "serving.api_key_file"),
            settings.answer_timeout_s,
            ATTEMPTS,
            FIRST_WAIT_S,
            connect_timeout_s=serving.connect_timeout_s,
        )
        self.root = self._client.root
        self._variables: dict[str, Any] = {TEMPLATE_FIELD: TEMPLATE_VARIABLES}
        self._loaded: list[str] = []

    @cached_property
    def version(self) -> str:
        """The release that answers, as vLLM tells it; "" from a server that does not."""
        reply = self._sent("GET", "/version")
        try:
            return str(json.loads(reply.text)["version"]) if reply.status == 200 else ""
        except (ValueError, KeyError, TypeError):
            return ""

    @cached_property
    def base(self) -> str:
        """The base model's name at the server. Raises InputError where the server lists none."""
        if self._base:
            return self._base
        try:
            return str(json.loads(self._sent("GET", "/v1/models").text)["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError):
            raise InputError(
                f"The server at {self.root} lists no models.", "Set serving.served_base."
            ) from None

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter under a name of this step's own. `close` takes it away again."""
        if name in self._loaded:
            return
        asked = {"lora_name": name, "lora_path": str(folder.resolve())}
        answer = self._sent("POST", "/v1/load_lora_adapter", asked)
        already = answer.status == 400 and "already" in answer.text
        if answer.status in (404, 405):
            raise InputError(
                f"The server at {self.root} loads no adapters while it runs.",
                "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or set "
                'evaluate.engine = "embedded".',
            )
        if answer.status != 200 and not already:
            raise InputError(
                f"The server at {self.root} did not load {folder}: {answer.words}.",
                "It must find this folder under the same path.",
            )
        self._loaded.append(name)

    def ask(self, name: str, conversations: Sequence[Messages], bounds: dict[str, Any]) -> list[str]:
        """The answer to each conversation, in order. Raises InputError and UnavailableError."""
        with ThreadPoolExecutor(self._parallel) as pool:
            asked = [pool.submit(self._answer, name, one, bounds) for one in conversations]
            try:
                return [one.result() for one in asked]
            except NightshiftError:
                pool.shutdown(cancel_futures=True)  # the others would fail, too, each after its attempts
                raise

    def close(self) -> None:
        """Take away what this step loaded."""
        for name in self._loaded:
            try:
                self._sent("POST", "/v1/unload_lora_adapter", {"lora_name": name})
            except UnavailableError as error:
                log.warning("the server at %s keeps the adapter %s: %s", self.root, name, error)
        self._client.close()

    def _answer(self, name: str, messages: Messages, bounds: dict[str, Any]) -> str:
        turns = with_system([dict(turn) for turn in messages], self._system)
        body = {"model": name, **conversation_fields(turns), "temperature": 0.0, **bounds}
        sent = body | self._variables
        answer = self._sent("POST", "/v1/chat/completions", sent)
        if 400 <= answer.status < 500 and is_refused(TEMPLATE_FIELD, sent, answer.text):
            log.warning("the server at %s does not take %s", self.root, TEMPLATE_FIELD)
            self._variables = {}
            answer = self._sent("POST", "/v1/chat/completions", body)
        if answer.status != 200:
            raise InputError(f"The server at {self.root} refused a question: {answer.words}.", "See its log.")
        try:
            return _said(json.loads(answer.text)["choices"][0]["message"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise UnavailableError(
                f"The server at {self.root} sent {len(answer.text)} characters that are no answer of "
                "OpenAI's API.",
                "See its log.",
            ) from None

    def _sent(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """Raises UnavailableError where the server is away, or sends what cannot be read."""
        try:
            return self._client.send(method, path, body)
        except (Away, Unusable) as error:
            raise UnavailableError(
                f"The server at {self.root} does not answer: {error}.", "See its log."
            ) from None


class Served:
    """One model of the server: the base (`folder` None), or an adapter, loaded at its first question."""

    def __init__(self, server: Server, name: str, folder: Path | None) -> None:
        self._server, self._name, self._folder = server, name, folder

    @property
    def identity(self) -> tuple[str, ...]:
        return ("openai", self._server.root, self._server.base, self._server.version)

    def choose(self, conversations: Sequence[Messages], labels: Sequence[str]) -> list[str]:
        answers = self._ask(conversations, choice_fields(labels, self._server.guided))
        by_text = {label.strip(): label for label in labels}
        if odd := [answer for answer in answers if answer not in by_text]:
            raise InputError(
                f"The server gave {len(odd)} answers that are none of the labels; the first has"
                f" {len(odd[0])} characters.",
                "Set serving.guided to the field that the server takes choices by.",
            )
        return [by_text[answer] for answer in answers]

    def generate(self, conversations: Sequence[Messages], max_new_tokens: int) -> list[str]:
        return self._ask(conversations, {"max_tokens": max_new_tokens})

    def documents(self, conversations: Sequence[Messages], schema: str, max_new_tokens: int) -> list[str]:
        return self._ask(conversations, {"max_tokens": max_new_tokens, **schema_fields(schema)})

    def _ask(self, conversations: Sequence[Messages], bounds: dict[str, Any]) -> list[str]:
        if self._folder is None:
            return self._server.ask(self._server.base, conversations, bounds)
        self._server.load(self._name, self._folder)
        return self._server.ask(self._name, conversations, bounds)


def _said(message: dict[str, Any]) -> str:
    """The answer as one text, with the calls of tools."""
    calls = called(message.get("tool_calls"))
    content = message.get("content") if calls else message["content"]
    return answer_text((content or "").strip(), calls)
