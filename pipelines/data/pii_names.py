"""Names of people in several languages: lists of given names and surnames, and the words before a name.

A name counts with two kinds of evidence: a given name before a surname, or a cue such as "Frau" or "je
m'appelle" before words with capitals. A surname alone, or a name of which no list knows a part, is not found.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from functools import cache

LOCALES = {  # language -> Faker's lists of names
    "en": ("en_GB", "en_IN", "en_US"),
    "de": ("de_DE", "de_AT", "de_CH"),
    "fr": ("fr_FR", "fr_CH"),
    "es": ("es_ES", "es_MX", "es_AR", "es_CO"),
    "it": ("it_IT",),
    "nl": ("nl_NL",),
    "pl": ("pl_PL",),
    "pt": ("pt_PT", "pt_BR"),
    "sv": ("sv_SE",),
    "da": ("da_DK", "no_NO"),
    "fi": ("fi_FI",),
    "tr": ("tr_TR",),
}
TITLES = {  # before a surname
    "de": r"Herrn?|Frau",
    "fr": r"Monsieur|Madame|Mademoiselle|Mme|Mlle",
    "es": r"Señora?|Sra?\.|Don|Doña",
    "it": r"Signora?|Sig\.(?:ra)?",
    "nl": r"[Mm]eneer|[Mm]evrouw|[Dd]hr\.|[Mm]evr\.",
    "pt": r"Senhora?|Dona",
    "da": r"[Hh]err|[Ff]ru",
}
CUES = {  # before a given name
    "de": r"[Mm]ein Name ist|[Ii]ch heiße|[Ii]ch heisse|[Pp]atient(?:in)?:?|[Mm]it freundlichen Grüßen,?",
    "fr": r"[Jj]e m['’]appelle|[Mm]on nom est|[Pp]atiente? ?:",
    "es": r"[Mm]e llamo|[Mm]i nombre es|[Pp]aciente:?",
    "it": r"[Mm]i chiamo|[Ii]l mio nome è|[Pp]aziente:?",
    "nl": r"[Mm]ijn naam is|[Ii]k heet|[Pp]atiënte?:?",
    "pl": r"[Nn]azywam się|[Mm]am na imię|[Pp]acjent(?:ka)?:?",
    "pt": r"[Mm]eu nome é|[Oo] meu nome é|[Cc]hamo-me|[Mm]e chamo|[Pp]aciente:?",
    "sv": r"[Jj]ag heter|[Mm]itt namn är",
    "da": r"[Jj]eg hedder|[Mm]it navn er",
    "fi": r"[Nn]imeni on",
    "tr": r"[Aa]dım|[Bb]enim adım",
}
PARTICLE = r"(?:von|van|vom|zu|zur|der|den|de|del|della|di|da|do|dos|das|du|la|le|el|ter|ten|y|e|af)"
WORD = r"[^\W\d_][^\W\d_]+(?:['’-][^\W\d_]+)*"
NAME = rf"{WORD}(?: (?:{PARTICLE} ){{0,2}}{WORD}){{0,3}}"
ENDINGS = re.compile(r"(?:ski|ska|cki|cka|icz|czyk|wicz|escu|oğlu|oglu|sson|sdóttir|ović|ić)$")


def _listed(provider: object, kind: str) -> set[str]:
    parts = (getattr(provider, f"{kind}_names{which}", ()) for which in ("", "_male", "_female"))
    return {str(name).split(" ")[-1].casefold() for names in parts for name in names}  # de Vries: Vries


@cache
def names_of(languages: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """(given names, surnames) of the languages, in small letters."""
    locales = [locale for language in languages for locale in LOCALES.get(language, ())]
    people = [importlib.import_module(f"faker.providers.person.{locale}").Provider for locale in locales]
    given = set().union(*(_listed(person, "first") for person in people))
    surnames = set().union(*(_listed(person, "last") for person in people))
    return frozenset(given), frozenset(surnames)


class Names:
    """Finds names without a model. `languages` choose lists, titles and cues."""

    def __init__(self, languages: Sequence[str]) -> None:
        self.given, self._surnames = names_of(tuple(languages))
        titles = "|".join(TITLES[language] for language in languages if language in TITLES)
        cues = "|".join(CUES[language] for language in languages if language in CUES)
        self._after_cue = [
            re.compile(rf"\b(?:{words}) (?:Dr\. |Prof\. |med\. )*(?P<it>{NAME})")
            for words in (titles, cues)
            if words
        ]
        self._names = re.compile(rf"\b{NAME}")

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where names lie: (start, end)."""
        found = [
            (m.start("it"), m.start("it") + _capitals(m["it"]))
            for cue in self._after_cue
            for m in cue.finditer(text)
        ]
        for match in self._names.finditer(text):
            found += self._pairs(match)
        return [(start, end) for start, end in found if end > start]

    def is_given(self, word: str) -> bool:
        return word.casefold() in self.given or word.split("-")[0].casefold() in self.given

    def _pairs(self, match: re.Match[str]) -> list[tuple[int, int]]:
        """Given names with a surname after them, inside a run of words with capitals."""
        words = [
            (m.start() + match.start(), m.end() + match.start(), m[0]) for m in re.finditer(WORD, match[0])
        ]
        for place, (start, _, word) in enumerate(words[:-1]):
            if word[0].isupper() and self.is_given(word):
                last = next(
                    (end for _, end, other in reversed(words[place + 1 :]) if self._ends(other)), None
                )
                if last:
                    return [(start, last)]
        return []

    def _ends(self, word: str) -> bool:
        known = word.casefold() in self._surnames or any(
            p.casefold() in self._surnames for p in word.split("-")
        )
        return word[0].isupper() and (known or ENDINGS.search(word) is not None)


def _capitals(name: str) -> int:
    """How far the words with capitals, and the particles between them, reach."""
    end = 0
    for match in re.finditer(WORD, name):
        if match[0][0].isupper():
            end = match.end()
        elif not re.fullmatch(PARTICLE, match[0]):
            break
    return end
