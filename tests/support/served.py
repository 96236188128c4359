"""A server with OpenAI's API, as an evaluation asks it: a real model answers, whole and greedy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.core.config import Model
from pipelines.models.engine import Engine
from pipelines.models.json_answers import generate_json
from tests.support.upstream import Said, error_of, upstream


@dataclass
class AnsweringServer:
    """`faults` are answered first, one each. `loaded` are the adapters that it holds now."""

    engine: Engine
    takes_variables: bool = True
    takes_choices: bool = True
    faults: list[Said] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)
    were_loaded: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def said(self, body: dict[str, Any]) -> Said:
        with self._lock:
            if self.faults:
                return self.faults.pop()
            return self._adapters(body) if "lora_name" in body else self._answer(body)

    def _adapters(self, body: dict[str, Any]) -> Said:
        name = body["lora_name"]
        if "lora_path" in body:
            self.engine.load(name, Path(body["lora_path"]))
            self.loaded.add(name)
            self.were_loaded.append(name)
        else:
            self.engine.unload(name)
            self.loaded.discard(name)
        return 200, "text/plain", b"done"

    def _answer(self, body: dict[str, Any]) -> Said:
        if not self.takes_variables and "chat_template_kwargs" in body:
            return error_of(400, "chat_template_kwargs: extra fields not permitted")
        if body["model"] not in {"base", *self.loaded}:
            return error_of(404, f"no model {body['model']}")
        self.asked.append(body)
        self.engine.use(None if body["model"] == "base" else body["model"])
        message = {"role": "assistant", "content": self._text(body)}
        return 200, "application/json", json.dumps({"choices": [{"message": message}]}).encode()

    def _text(self, body: dict[str, Any]) -> str:
        messages, guided = [body["messages"]], body.get("structured_outputs")
        if guided and self.takes_choices:
            return self.engine.choose(messages, guided["choice"])[0]
        if schema := body.get("response_format"):
            text = json.dumps(schema["json_schema"]["schema"])
            return generate_json(self.engine, messages, text, body["max_tokens"])[0]
        return self.engine.generate(messages, body["max_tokens"])[0]


@contextmanager
def answering_server(base: Path, **what: Any) -> Iterator[tuple[AnsweringServer, str]]:
    """Serve until the block ends; yields the server and its address."""
    server = AnsweringServer(Engine(Model(threads=1), str(base)), **what)
    with upstream(server.said, takes_adapters=True) as address:
        yield server, address
