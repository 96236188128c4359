"""What API operations do, in one sentence, and what they are called: from botocore's service descriptions.

botocore (Apache-2.0) ships them as data for its clients. People wrote the sentences as documentation, so they
do not always use the words of the name.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Iterator

from pipelines.sample.packaged import package_folder

# Names with these first words are asked about; each has 150 or more.
ACTIONS = (
    "associate", "create", "delete", "describe", "disassociate", "get",
    "list", "modify", "put", "start", "stop", "update",
)  # fmt: skip
LENGTH_CHARS = range(20, 141)  # of a sentence
MAX_RESOURCE_CHARS = 40
_TAG, _SPACE, _SENTENCE_END = re.compile(r"<[^>]+>"), re.compile(r"\s+"), re.compile(r"(?<=[.!?]) ")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def operations() -> dict[str, list[tuple[str, str]]]:
    """(sentence, answer) of each action, in a fixed order; sentences and answers are distinct.

    An answer is JSON text: `{"action": "delete", "resource": "key pair"}` for the operation DeleteKeyPair.
    """
    found: dict[str, list[tuple[str, str]]] = {action: [] for action in ACTIONS}
    seen: set[str] = set()
    for name, documentation in _documented():
        action, *resource = (word.lower() for word in _WORD.findall(name))
        answer = json.dumps({"action": action, "resource": " ".join(resource)})
        sentence = _first_sentence(documentation)
        if (
            action in found
            and 0 < len(" ".join(resource)) <= MAX_RESOURCE_CHARS
            and len(sentence) in LENGTH_CHARS
            and name not in sentence
            and not seen & {answer, sentence.lower()}
        ):
            seen |= {answer, sentence.lower()}
            found[action].append((sentence, answer))
    return found


def _documented() -> Iterator[tuple[str, str]]:
    """(name, documentation as HTML) of each operation of the newest description of each service."""
    data = package_folder("botocore") / "data"
    for service in sorted(path for path in data.iterdir() if path.is_dir()):
        newest = max(service.glob("*/service-2.json.gz"), default=None)
        if newest is not None:
            described = json.loads(gzip.decompress(newest.read_bytes()))
            for name, operation in described["operations"].items():
                yield name, operation.get("documentation", "")


def _first_sentence(documentation: str) -> str:
    text = _SPACE.sub(" ", html.unescape(_TAG.sub(" ", documentation))).strip()
    return _SENTENCE_END.split(text)[0].replace(" .", ".")
