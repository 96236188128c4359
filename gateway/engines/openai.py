"""An engine behind an OpenAI-compatible API: vLLM, which loads adapters at run time, or any other server.

vLLM needs `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and must find the adapters' folders
under the same paths. Any other server must offer each adapter as a model named `served_name(adapter)`. A
server does not know which requests are a shadow's: the gateway limits how many of them it sends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from gateway.engines.base import AdapterMissing, CompletionRequest, EngineError, Piece
from gateway.engines.openai_stream import AnswerReader
from gateway.engines.openai_wire import (
    check_calls,
    check_json,
    chosen,
    error_of,
    refusal_of,
    request_body,
    served_name,
    words_of,
)
from pipelines.core.chat_api import TEMPLATE_FIELD, is_refused, server_root
from pipelines.core.config import Serving
from pipelines.core.conversations import TEMPLATE_VARIABLES, with_system
from pipelines.core.files import read_key
from pipelines.core.traffic_split import Adapter

_HELLO = CompletionRequest([{"role": "user", "content": "Hello"}], max_tokens=1)
_NO_SUCH_ROUTE = (404, 405)
MOST_ERROR_BYTES = 65_536
KEPT_S = 2.0  # idle connections; servers close theirs after 5 s, and a request must not meet that

log = logging.getLogger("nightshift.gateway")


class _FieldRefused(Exception):
    """The server does not take the template's variables."""


class OpenAIEngine:
    """See gateway.engines.base.ServingEngine."""

    def __init__(self, serving: Serving, system_prompt: str = "") -> None:
        """`system_prompt`: the task's, for conversations without one of their own."""
        self._system_prompt = system_prompt
        self._variables: dict[str, Any] = {TEMPLATE_FIELD: TEMPLATE_VARIABLES}
        self._settings, self._root = serving, server_root(serving.url)
        key = read_key(serving.api_key_file, "serving.api_key_file")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._base = serving.served_base
        self._opened: aiohttp.ClientSession | None = None
        self._folders: dict[Adapter, Path] = {}  # of the adapters that this gateway loaded
        self._putting = asyncio.Lock()
        self.restarts = 0  # it has no loop
        self.reloads = 0

    @property
    def _session(self) -> aiohttp.ClientSession:
        """Opened at its first use, as it belongs to the event loop that runs then."""
        if self._opened is None:
            serving = self._settings
            self._opened = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(
                    sock_connect=serving.connect_timeout_s, sock_read=serving.read_timeout_s
                ),
                # The gateway limits its parallel requests; a second limit here would hide a queue.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S),
            )
        return self._opened

    async def load(self, adapter: Adapter, folder: Path) -> None:
        if not await self._put(adapter, folder):
            await self.warm(adapter)  # fails if the server does not offer it already
        self._folders[adapter] = folder

    async def unload(self, adapter: Adapter) -> None:
        """vLLM lets requests under way end. Other servers keep their models, so nothing is done."""
        self._folders.pop(adapter, None)
        name = served_name(adapter)
        status, text = await self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if status >= 400 and status not in _NO_SUCH_ROUTE:
            raise error_of(status, text, name)

    async def warm(self, adapter: Adapter | None) -> None:
        async with aclosing(self.complete(_HELLO, adapter)) as pieces:
            async for _ in pieces:
                pass

    async def complete(
        self, request: CompletionRequest, adapter: Adapter | None
    ) -> AsyncGenerator[Piece, None]:
        name = served_name(adapter) if adapter else await self._base_name()
        body = request_body(request, name, self._settings.guided)
        body["messages"] = with_system(body["messages"], self._system_prompt)
        said: list[Piece] = []
        try:
            async with aclosing(self._answer(body, name, adapter)) as pieces:
                if request.choices is not None:
                    yield chosen([piece async for piece in pieces], request)
                    return
                async for piece in pieces:
                    said.append(piece)
                    if piece.finish_reason == "stop" and request.json_schema is not None:
                        check_json(said)
                    if piece.finish_reason:
                        check_calls(piece, request)
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        if self._opened:
            await self._opened.close()

    async def _put(self, adapter: Adapter, folder: Path) -> bool:
        """Load an adapter at the server. False if the server does not load adapters at run time."""
        name = served_name(adapter)
        async with self._putting:
            if name in await self._models():
                return True
            path = {"lora_name": name, "lora_path": str(folder.resolve())}
            status, text = await self._ask("POST", "/v1/load_lora_adapter", path)
        if status >= 300 and status not in _NO_SUCH_ROUTE:
            raise error_of(status, text, name)
        return status < 300

    async def _answer(
        self, body: dict[str, Any], name: str, adapter: Adapter | None
    ) -> AsyncGenerator[Piece, None]:
        """The answer. A restarted server has lost its adapters, so a missing one is loaded again."""
        try:
            async with aclosing(self._stream(body, name)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except AdapterMissing:  # before the first piece
            if adapter not in self._folders or not await self._put(adapter, self._folders[adapter]):
                raise
            self.reloads += 1
        async with aclosing(self._stream(body, name)) as pieces:
            async for piece in pieces:
                yield piece

    async def _stream(self, body: dict[str, Any], name: str) -> AsyncGenerator[Piece, None]:
        """The answer. A server that does not take the template's variables is asked again without them."""
        try:
            async with aclosing(self._stream_once(body | self._variables, name)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except _FieldRefused:
            log.warning(
                "the server at %s does not take %s: it renders in its own way", self._root, TEMPLATE_FIELD
            )
            self._variables = {}
        async with aclosing(self._stream_once(body, name)) as pieces:
            async for piece in pieces:
                yield piece

    async def _stream_once(self, body: dict[str, Any], name: str) -> AsyncGenerator[Piece, None]:
        reader = AnswerReader()
        async with self._request("POST", "/v1/chat/completions", body) as answer:
            if answer.status >= 300:
                text = (await answer.content.read(MOST_ERROR_BYTES)).decode(errors="replace")
                if is_refused(TEMPLATE_FIELD, body, text):
                    raise _FieldRefused
                if is_refused(self._settings.guided, body, text):
                    raise error_of(answer.status, text, name)
                raise refusal_of(answer.status, text, name, answer.headers.get("retry-after", ""))
            async for part in answer.content.iter_any():
                for piece in reader.feed(part):
                    yield piece
        for piece in reader.feed(b"", final=True):
            yield piece
        yield reader.last()

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        # Not redirected: a POST would become a GET.
        return self._session.request(method, self._root + path, json=body, allow_redirects=False)

    async def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and text of a request that may be repeated: it is, if the kept connection was dropped."""
        try:
            try:
                return await self._once(method, path, body)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await self._once(method, path, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _once(self, method: str, path: str, body: dict[str, str] | None) -> tuple[int, str]:
        async with self._request(method, path, body) as answer:
            return answer.status, await answer.text(errors="replace")

    async def _models(self) -> list[str]:
        status, text = await self._ask("GET", "/v1/models")
        if status >= 300:
            raise error_of(status, text, "")
        try:
            return [model["id"] for model in json.loads(text)["data"]]
        except (ValueError, TypeError, KeyError) as error:
            problem = f"The server's list of models cannot be read: {words_of(text)}."
            raise EngineError(problem, "Check serving.url.") from error

    async def _base_name(self) -> str:
        if not self._base:
            models = await self._models()
            if not models:
                raise EngineError("The server lists no models.", "Set serving.served_base.")
            self._base = models[0]
        return self._base

    def _unreachable(self, error: Exception) -> EngineError:
        found = f"{type(error).__name__} {error}".strip()
        return EngineError(f"The server at {self._root} does not answer: {found}.", "See its log.")
