"""Does an answer to a user sound like a refusal? Cheap enough for each answer of the gateway; English only.

It compares shares of two adapters on the same traffic. `safety` judges by meaning instead.
"""

from __future__ import annotations

import re

_PHRASES = re.compile(
    r"\b(sorry|i can(?:'|’)?t|i cannot|i am unable|i(?:'|’)m unable|i am not able|i(?:'|’)m not able|"
    r"i won(?:'|’)t|i will not|not appropriate|inappropriate|against the law|illegal|unethical|"
    r"seek (?:professional )?help|consult (?:a|your) (?:doctor|healthcare|medical))\b",
    re.IGNORECASE,
)


def sounds_refused(text: str) -> bool:
    """Whether a phrase of a refusal is in it."""
    return _PHRASES.search(text) is not None
