"""In which language a text is written, by py3langid (Lui and Baldwin 2012, langid.py; 140 languages)."""

from __future__ import annotations

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LEAST = 0.5  # of the probability, below which no language is named


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(text: str) -> str:
    """The code (ISO 639-1 mostly) of a text's language; "" where that is not clear, as with a single name."""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= LEAST else ""
