"""Replies of a judge, kept by a digest of all that they depend on, so that no question is asked twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.core.chat_api import server_root
from pipelines.core.config import Config
from pipelines.core.contract import canonical_json, digest_of
from pipelines.core.conversations import Message
from pipelines.evaluation.judges.prompt import RESPONSE_FORMAT, SYSTEM, Reply, messages, read_reply
from pipelines.stores import open_shared

FOLDER = "judge/verdicts"  # below `shared_root`
Messages = Sequence[Message]


class Question(NamedTuple):
    """Two answers to a conversation, in the order in which the judge sees them."""

    messages: Messages
    first: str
    second: str


def judge_digest(config: Config) -> str:
    """Names the judge: its server, model and settings, and the prompt with its rubric."""
    judge = config.judge
    prompt = [SYSTEM, RESPONSE_FORMAT, judge.rubric]
    return digest_of([server_root(judge.url, "judge.url"), judge.model, judge.body, prompt])


class KeptReplies:
    """The replies of one judge below `shared_root`, a file each. All that is kept can be read."""

    def __init__(self, config: Config) -> None:
        self._judge, self._folder = judge_digest(config), open_shared(config)
        self._rubric = config.judge.rubric

    def key(self, question: Question) -> str:
        """Names a question to this judge: all that is sent to it."""
        return digest_of([self._judge, messages(self._rubric, *question)])

    def read(self, keys: Iterable[str]) -> dict[str, Reply]:
        """Those that were kept. A file that does not hold a reply counts as none."""
        paths = {_path(key): key for key in keys}
        found = self._folder.read_many(paths)
        replies = {paths[path]: read_reply(data.decode(errors="replace")) for path, data in found.items()}
        return {key: reply for key, reply in replies.items() if reply is not None}

    def keep(self, key: str, reply: Reply) -> None:
        self._folder.write_bytes(_path(key), canonical_json(reply._asdict()))


def _path(key: str) -> str:
    return f"{FOLDER}/{key[:2]}/{key}.json"
