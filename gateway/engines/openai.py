"""An engine behind an OpenAI-compatible API: vLLM with adapters loaded at run time, or any other server.

vLLM needs `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and must see the adapters' folders under
the same paths. Another server must offer each adapter as a model of its own, under `served_name`. A server
does not know that a request is in the background: the gateway bounds how many shadows it sends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from gateway.engines.base import AdapterMissing, Busy, Completion, EngineError, Piece
from pipelines.core.config import Serving
from pipelines.core.traffic_split import Adapter

_HELLO = Completion([{"role": "user", "content": "Hello"}], max_tokens=1)
_NO_SUCH_ROUTE = (404, 405)
KEPT_S = 2.0  # an idle connection; servers close theirs after 5 s, and a request must not meet that


def served_name(adapter: Adapter) -> str:
    """The digest is in the name: a server that cached an adapter never answers with an older one's cache."""
    return f"v{adapter.version}-{adapter.digest[:16]}"


class OpenAIEngine:
    """See gateway.engines.base.Engine."""

    def __init__(self, serving: Serving) -> None:
        self._settings = serving
        key = Path(serving.api_key_file).read_text("utf-8").strip() if serving.api_key_file else ""
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._base = serving.served_base
        self._opened: aiohttp.ClientSession | None = None
        self._folders: dict[Adapter, Path] = {}  # what is loaded here
        self._putting = asyncio.Lock()

    @property
    def _session(self) -> aiohttp.ClientSession:
        """Opened at its first use: it belongs to the event loop that is running then."""
        if self._opened is None:
            serving = self._settings
            self._opened = aiohttp.ClientSession(
                serving.url,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(
                    sock_connect=serving.connect_timeout_s, sock_read=serving.read_timeout_s
                ),
                # The gateway's bulkhead is the limit: a pool of its own would only hide a queue.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S),
            )
        return self._opened

    async def load(self, adapter: Adapter, folder: Path) -> None:
        if not await self._put(adapter, folder):
            await self.warm(adapter)  # a server that has it already answers to its name
        self._folders[adapter] = folder

    async def unload(self, adapter: Adapter) -> None:
        """vLLM lets requests in flight end. Where nothing is loaded at run time, nothing is done."""
        self._folders.pop(adapter, None)
        name = served_name(adapter)
        status, text = await self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if status >= 400 and status not in _NO_SUCH_ROUTE:
            raise _error(status, text, name)

    async def warm(self, adapter: Adapter | None) -> None:
        async with aclosing(self.complete(_HELLO, adapter)) as pieces:
            async for _ in pieces:
                pass

    async def complete(self, request: Completion, adapter: Adapter | None) -> AsyncGenerator[Piece, None]:
        name = served_name(adapter) if adapter else await self._base_name()
        try:
            async with aclosing(self._answer(self._body(request, name), name, adapter)) as pieces:
                if request.choices is not None:
                    yield _chosen([piece async for piece in pieces], request)
                    return
                async for piece in pieces:
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        if self._opened:
            await self._opened.close()

    def _body(self, request: Completion, name: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": name,
            "messages": [dict(message) for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.choices is not None:
            choices = list(request.choices)
            guided = self._settings.guided
            body |= {guided: {"choice": choices} if guided == "structured_outputs" else choices}
            # Greedy, and long enough for any choice: no token is shorter than a byte.
            body |= {"temperature": 0.0, "max_tokens": max(len(choice.encode()) for choice in choices) + 1}
        return body

    async def _put(self, adapter: Adapter, folder: Path) -> bool:
        """Whether the server has it now; False where adapters are not loaded at run time."""
        name = served_name(adapter)
        async with self._putting:
            if name in await self._models():
                return True
            path = {"lora_name": name, "lora_path": str(folder.resolve())}
            status, text = await self._ask("POST", "/v1/load_lora_adapter", path)
        if status >= 400 and status not in _NO_SUCH_ROUTE:
            raise _error(status, text, name)
        return status < 400

    async def _answer(
        self, body: dict[str, Any], name: str, adapter: Adapter | None
    ) -> AsyncGenerator[Piece, None]:
        """The answer. A server that was restarted has lost its adapters: then it is given this one again."""
        try:
            async with aclosing(self._stream(body, name)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except AdapterMissing:  # before the first piece
            if adapter not in self._folders or not await self._put(adapter, self._folders[adapter]):
                raise
        async with aclosing(self._stream(body, name)) as pieces:
            async for piece in pieces:
                yield piece

    async def _stream(self, body: dict[str, Any], name: str) -> AsyncGenerator[Piece, None]:
        """Pieces without white space at the ends of the answer, as evaluation strips it."""
        held, started, reason = "", False, None
        usage: dict[str, int] = {}
        async with self._session.post("/v1/chat/completions", json=body) as answer:
            if answer.status >= 400:
                text = await answer.text(errors="replace")
                raise _error(answer.status, text, name, answer.headers.get("retry-after", ""))
            async for read in answer.content:
                line = read.decode(errors="replace").strip()
                if not line.startswith("data:") or line.endswith("[DONE]"):
                    continue
                event = _event(line)
                usage = event.get("usage") or usage
                for choice in event.get("choices", []):
                    reason = choice.get("finish_reason") or reason
                    text = held + (choice.get("delta", {}).get("content") or "")
                    text = text if started else text.lstrip()
                    sent = text.rstrip()
                    held = text[len(sent) :]
                    if sent:
                        started = True
                        yield Piece(sent)
        if reason not in ("stop", "length"):
            raise EngineError("an answer with its end", f"finish reason {reason}", "Send the request again.")
        yield Piece("", reason, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))

    async def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and text. Doing it twice changes nothing: a kept connection that was dropped is no error."""
        try:
            try:
                return await self._once(method, path, body)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await self._once(method, path, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _once(self, method: str, path: str, body: dict[str, str] | None) -> tuple[int, str]:
        async with self._session.request(method, path, json=body) as answer:
            return answer.status, await answer.text(errors="replace")

    async def _models(self) -> list[str]:
        status, text = await self._ask("GET", "/v1/models")
        if status >= 400:
            raise _error(status, text, "")
        return [model["id"] for model in json.loads(text).get("data", [])]

    async def _base_name(self) -> str:
        if not self._base:
            models = await self._models()
            if not models:
                raise EngineError("a base model at the server", "an empty list", "Set serving.served_base.")
            self._base = models[0]
        return self._base

    def _unreachable(self, error: Exception) -> EngineError:
        found = f"{type(error).__name__} {error}".strip()
        return EngineError(f"an answer from {self._settings.url}", found, "See the server's log.")


def _event(line: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line.removeprefix("data:"))
    except json.JSONDecodeError as error:
        raise EngineError("JSON from the server", f"{line[:80]!r}", "See the server's log.") from error
    if "error" in event:
        raise EngineError("an answer", f"{event['error']}", "See the server's log.")
    return event


def _chosen(pieces: list[Piece], request: Completion) -> Piece:
    """The choice, whole. A server that ignores the constraint is an error, never an answer."""
    text, last = "".join(piece.text for piece in pieces), pieces[-1]
    if text not in (request.choices or ()):
        raise EngineError(
            "one of the choices", f"{text[:40]!r}", "Set serving.guided to what the server takes."
        )
    return Piece(text, "stop", last.tokens_in, last.tokens_out)


def _error(status: int, text: str, name: str, wait: str = "") -> EngineError:
    found = f"status {status}: {text[:200]}"
    if status in (429, 503):
        return Busy(0, float(wait) if wait.isdecimal() else 1.0)
    if status == 404:
        return AdapterMissing(f"model {name} at the server", found, "Load the adapter first.")
    return EngineError("an answer", found, "See the server's log.")
