"""A server with OpenAI's API whose model is a planted judge, as `benchmarks.planted_judges` defines them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.planted_judges import Judge
from tests.support.upstream import Said, upstream

Fault = Callable[[int, dict[str, Any]], Said | None]


@dataclass
class JudgeServer:
    """`asked`: each request's body. `fault(number, body)` may answer instead; numbers begin with 1."""

    judge: Judge
    fault: Fault = lambda number, body: None
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def said(self, body: dict[str, Any]) -> Said:
        with self._lock:
            self.asked.append(body)
            number = len(self.asked)
        found = self.fault(number, body)
        return found if found is not None else completion(verdict(self.shown(body)))

    def shown(self, body: dict[str, Any]) -> str:
        """What the judge says of what it was shown."""
        asked = json.loads(body["messages"][-1]["content"])
        question = asked["conversation"][-1]["content"]
        return self.judge(question, asked["answer_1"], asked["answer_2"])


def verdict(better: str, reason: str = "It says so.") -> str:
    return json.dumps({"reason": reason, "better": better})


def completion(text: str, finish_reason: str = "stop") -> Said:
    """A whole answer, not as a stream."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    body = {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    return 200, "application/json", json.dumps(body).encode()


@contextmanager
def judge_server(judge: Judge, fault: Fault = lambda number, body: None) -> Iterator[JudgeServer]:
    """Serve until the block ends."""
    server = JudgeServer(judge, fault)
    with upstream(server.said, keys=server.keys) as server.url:
        yield server
