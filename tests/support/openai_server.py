"""A server with OpenAI's API over a real model and its adapters. It can be told to serve something else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.core.config import Model
from pipelines.core.probes import Answer
from pipelines.models.engine import Engine
from tests.support.upstream import Said, error_of, stream_of, upstream


@dataclass
class ModelServer:
    """`served` says which loaded adapter answers under a model's name; None is the base."""

    engine: Engine
    served: dict[str, str | None] = field(default_factory=dict)
    system: str = ""  # put before what the gateway sends, as a wrongly set up server does
    gives_logprobs: bool = True
    probes_take_s: float = 0.0
    loads_at_run_time: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter's files as the server's own copy, and serve it under its name."""
        self.engine.load(name, folder)
        self.served[name] = name

    def _put(self, name: str, folder: Path) -> Said:
        if not self.loads_at_run_time:
            return error_of(404, "no such path")
        with self._lock:
            self.load(name, folder)
        return 200, "text/plain", b"loaded"

    def said(self, body: dict[str, Any]) -> Said:
        """The answer to a chat request, or to one that loads an adapter, as vLLM takes them."""
        if "lora_path" in body:
            return self._put(body["lora_name"], Path(body["lora_path"]))
        if "lora_name" in body:
            return error_of(404, "no such path")
        if body["model"] not in {"base", *self.served}:
            return error_of(404, f"no model {body['model']}")
        if body.get("logprobs") and not self.gives_logprobs:
            return error_of(400, "logprobs is not supported by this server")
        if body.get("logprobs"):
            time.sleep(self.probes_take_s)
        messages = body["messages"]
        if self.system:
            messages = [{"role": "system", "content": self.system}, *messages]
        with self._lock:
            self.asked.append(body)
            self.engine.use(self.served.get(body["model"]))
            answer = self.engine.beginnings([messages], body["max_tokens"])[0]
        return _stream(answer, body)


@contextmanager
def model_server(base: Path) -> Iterator[tuple[ModelServer, str]]:
    """Serve until the block ends; yields the server and its address."""
    server = ModelServer(Engine(Model(threads=1), str(base)))
    with upstream(server.said, takes_adapters=True) as address:
        yield server, address


def _stream(answer: Answer, body: dict[str, Any]) -> Said:
    """As vLLM sends it: a chunk has the log-probabilities of its tokens."""
    content = [
        {
            "token": step.token,
            "logprob": max(step.top.values()),
            "top_logprobs": [{"token": token, "logprob": value} for token, value in step.top.items()],
        }
        for step in answer.steps
    ]
    choice: dict[str, Any] = {"index": 0, "delta": {"content": answer.text}, "finish_reason": None}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": content}
    usage = {"prompt_tokens": 9, "completion_tokens": len(content)}
    return stream_of(
        {"choices": [choice]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": usage},
    )
