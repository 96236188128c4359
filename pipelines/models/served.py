"""Models behind an OpenAI-compatible server, as evaluation asks them (`evaluate.engine = "openai"`).

vLLM loads an adapter while it runs, if it was started with `--enable-lora` and
VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and finds the adapter's folder under the same path as this process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from pipelines.core.chat_api import (
    TEMPLATE_FIELD,
    choice_fields,
    conversation_fields,
    is_refused,
    schema_fields,
    server_root,
    words_of,
)
from pipelines.core.config import Config
from pipelines.core.conversations import TEMPLATE_VARIABLES, with_system
from pipelines.core.errors import InputError, UnavailableError
from pipelines.core.tools import answer_text, called
from pipelines.models.base import Messages

TRIES = 5
FIRST_WAIT_S = 1.0  # before the second try; each wait is twice the one before
MOST_WAIT_S = 30.0
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)

log = logging.getLogger("nightshift")


def answered_by(config: Config) -> dict[str, str]:
    """For a step's fingerprint: the server that answers; {} where the engine does."""
    served = config.evaluate.engine == "openai"
    return {"answered_by": server_root(config.evaluate.url or config.serving.url)} if served else {}


class Server:
    """The server. Requests that fail for a passing reason are repeated; all others are faults."""

    def __init__(self, config: Config) -> None:
        serving, settings = config.serving, config.evaluate
        self._base, self._system, self.guided = serving.served_base, config.task.system_prompt, serving.guided
        self._parallel = settings.parallel_requests
        self.root = server_root(settings.url or serving.url)
        key = Path(serving.api_key_file).read_text("utf-8").strip() if serving.api_key_file else ""
        self._client = httpx.Client(
            base_url=self.root,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(settings.answer_timeout_s, connect=serving.connect_timeout_s),
            limits=httpx.Limits(max_connections=self._parallel),
            trust_env=False,
        )
        self._variables: dict[str, Any] = {TEMPLATE_FIELD: TEMPLATE_VARIABLES}
        self._loaded: list[str] = []

    @property
    def version(self) -> str:
        """The release that answers, as vLLM tells it; "" from a server that does not."""
        try:
            found = self._client.get("/version")
            return str(found.json()["version"]) if found.is_success else ""
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return ""

    def base_name(self) -> str:
        """The base model's name at the server. Raises InputError where the server lists none."""
        if self._base:
            return self._base
        try:
            return str(self._sent("GET", "/v1/models").json()["data"][0]["id"])
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
        already = answer.status_code == 400 and "already" in answer.text
        if answer.status_code in (404, 405):
            raise InputError(
                f"The server at {self.root} loads no adapters while it runs.",
                "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or set "
                'evaluate.engine = "embedded".',
            )
        if not (answer.is_success or already):
            raise InputError(
                f"The server at {self.root} did not load {folder}: {_words(answer)}.",
                "It must find this folder under the same path.",
            )
        self._loaded.append(name)

    def ask(self, name: str, conversations: Sequence[Messages], bounds: dict[str, Any]) -> list[str]:
        """The answer to each conversation, in order. Raises InputError and UnavailableError."""
        with ThreadPoolExecutor(self._parallel) as pool:
            return list(pool.map(lambda one: self._answer(name, one, bounds), conversations))

    def close(self) -> None:
        """Take away what this step loaded."""
        for name in self._loaded:
            try:
                self._client.post("/v1/unload_lora_adapter", json={"lora_name": name})
            except httpx.HTTPError as error:
                log.warning("the server at %s keeps the adapter %s: %s", self.root, name, error)
        self._client.close()

    def _answer(self, name: str, messages: Messages, bounds: dict[str, Any]) -> str:
        turns = with_system([dict(turn) for turn in messages], self._system)
        body = {"model": name, **conversation_fields(turns), "temperature": 0.0, **bounds}
        sent = body | self._variables
        answer = self._sent("POST", "/v1/chat/completions", sent)
        if answer.is_client_error and is_refused(TEMPLATE_FIELD, sent, answer.text):
            log.warning("the server at %s does not take %s", self.root, TEMPLATE_FIELD)
            self._variables = {}
            answer = self._sent("POST", "/v1/chat/completions", body)
        if not answer.is_success:
            raise InputError(
                f"The server at {self.root} refused a question: {_words(answer)}.", "See its log."
            )
        try:
            return _said(answer.json()["choices"][0]["message"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise UnavailableError(
                f"The server at {self.root} sent no answer of OpenAI's API: {_words(answer)}.", "See its log."
            ) from None

    def _sent(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """The response, which is none of a passing fault. Raises UnavailableError after the last try."""
        wait_s, why = FIRST_WAIT_S, ""
        for place in range(TRIES):
            if place:
                log.warning("the server at %s: %s; again in %g s", self.root, why, wait_s)
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, MOST_WAIT_S)
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.TransportError as error:
                why = f"{type(error).__name__} {error}".strip()
                continue
            if answer.status_code not in PASSING:
                return answer
            why = _words(answer)
        raise UnavailableError(f"The server at {self.root} does not answer: {why}.", "See its log.")


class Served:
    """One model of the server: the base (`folder` None), or an adapter, loaded at its first question."""

    def __init__(self, server: Server, name: str, folder: Path | None) -> None:
        self._server, self._name, self._folder = server, name, folder
        self.identity: tuple[str, ...] = ("openai", server.root, server.version)

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
            return self._server.ask(self._server.base_name(), conversations, bounds)
        self._server.load(self._name, self._folder)
        return self._server.ask(self._name, conversations, bounds)


def _said(message: dict[str, Any]) -> str:
    """The answer as one text, with the calls of tools."""
    calls = called(message.get("tool_calls"))
    content = message.get("content") if calls else message["content"]
    return answer_text((content or "").strip(), calls)


def _words(answer: httpx.Response) -> str:
    return f"status {answer.status_code}: {words_of(answer.text)}"
