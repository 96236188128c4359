"""Street addresses, dates of birth, record numbers and identity numbers, by their form and the words before.

Presidio has identity numbers of many countries with their check digits; what it lacks is here. A number after
a cue ("DNI", "numéro de sécurité sociale") counts without a check: people mistype them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BIG, ANY = "[A-ZÀ-ÖØ-ÞĄ-Ž]", r"[^\W\d_]"
TOWN = rf"{BIG}{ANY}+(?:[ -]{BIG}{ANY}+){{0,2}}"
PLACE = rf"(?:,? (?:[A-Z]{{1,2}}-)?\d{{4,5}}(?: ?[A-Z]{{2}})? {TOWN})?"  # postal code and town
SMALL = "de|del|della|di|da|das|do|dos|la|le|les|las|los|des|du|e|d['’]"
MORE = rf"(?: (?:(?:{SMALL}) ?)*{BIG}[\w'’.-]+)"
ENDS_A_STREET = (
    "[sS]traße|[sS]trasse|[sS]tr\\.|[wW]eg|[gG]asse|[aA]llee|[pP]latz|damm|ufer|chaussee|straat|laan|"
    "plein|gracht|"
    "kade|dijk|gatan|vägen|gränd|vej|gade|katu"
)
STREET_AFTER = (
    "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Court|Ct|Boulevard|Blvd|Way|Terrace|Crescent|Close|Square"
)
RUE = "rue|avenue|av\\.|boulevard|bd|place|chemin|allée|impasse|quai|cours|route"
CALLE = (
    "[Cc]alle|C/|[Aa]venida|[Aa]vda\\.|[Pp]laza|[Pp]aseo|[Cc]arretera|[Vv]ia|[Vv]iale|[Pp]iazza|"
    "[Cc]orso|[Rr]ua|"
    "[Tt]ravessa|[Pp]raça|[Uu]l\\.|[Uu]lica|[Aa]l\\.|[Aa]leja"
)
STREETS = (
    # Hauptstraße 12, 50667 Köln; Lange Straße 7; Kerkstraat 3; Storgatan 4
    rf"\b(?:{BIG}{ANY}+[ -])?{BIG}?{ANY}*(?:{ENDS_A_STREET})\.? \d{{1,4}} ?[a-z]?\b{PLACE}",
    # 12 Oak Street; 221b Baker St, London
    rf"\b\d{{1,5}}[a-z]? (?:{BIG}[\w'’.-]+ ){{1,3}}(?:{STREET_AFTER})\b\.?"
    rf"(?:, {TOWN}(?:,? [A-Z]{{2}})?(?: \d{{5}})?)?",
    # 12 rue de la Paix, 75002 Paris; 3 bis avenue Foch
    rf"\b\d{{1,4}}(?: ?(?:bis|ter))?,? (?:{RUE}){MORE}{{1,4}}{PLACE}",
    # calle Mayor 5; via Roma 12; rua das Flores, 8; ul. Długa 3
    rf"\b(?:{CALLE}){MORE}{{1,4}},? (?:n\.?[ºo°]? ?)?\d{{1,4}}(?:/\d+)?[a-z]?\b{PLACE}",
)
MONTH = rf"(?:de )?{ANY}{{3,12}}\.?(?: de)?"
DATE = (
    r"(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./-] ?\d{1,2}[./-] ?(?:\d{4}|\d{2})"
    rf"|\d{{1,2}}(?:\.|st|nd|rd|th|er|º)? {MONTH},? (?:19|20)\d\d"
    rf"|{ANY}{{3,12}}\.? \d{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)\d\d)"
)
FULL_DATE = re.compile(r"\b(?:(?:19|20)\d\d-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d)\b")
BORN = (
    r"born|date of birth|birth ?date|birthday|d\.?o\.?b\.?|geboren|geb\.|geburtsdatum|geburtstag|née? le|née?"
    r"|date de naissance|nacid[oa]|fecha de nacimiento|nat[oa]|data di nascita|geboortedatum|urodzon[ya]|ur\."
    r"|data urodzenia|nascid[oa]|data de nascimento|född|født|syntynyt|doğum tarihi"
)
IS = r"(?i:\W{0,3}(?:is |on |am |le |el |il |em |op |dnia |was |ist )?)"
BIRTHS = (rf"(?i:\b(?:{BORN})){IS}(?P<it>{DATE})",)
OF_A_RECORD = (
    "mrn|medical record|health record|hospital record|patient record|record|chart|case|patient|"
    "patienten?|fall|"
    "akten|versicherten|versicherungs|dossier|expediente|historia clínica|cartella clinica|processo|"
    "pacjenta|journal"
)
NUMBER = r"id|number|no\.?|nr\.?|num\.?|n[°º.]|nummer|zeichen|#"
RECORDS = (
    rf"(?i:\b(?:{OF_A_RECORD})[ -]?(?:{NUMBER})?)\s?[:#]? ?(?P<it>[A-Z]{{0,4}}[-/ ]?\d[\dA-Z/-]{{3,15}}\d)\b",
)
OF_IDENTITY = (
    "dni|nie|nif|passport|reisepass|passeport|pasaporte|passaporto|personalausweis|ausweis(?:nummer)?|"
    "sozialversicherungsnummer|rentenversicherungsnummer|steuer-?id|krankenversichertennummer|nir|"
    "(?:numéro|n°|no) de séc(?:u|urité sociale)|sécurité sociale|carte d['’]identité|codice fiscale|"
    "pesel|bsn|"
    "burgerservicenummer|personnummer|cpr|nhs|national insurance|aadhaar|cpf|social security|"
    "seguridad social|"
    "kimlik|hetu|nino|ssn"
)
SAID = r"(?: ?(?:number|no\.?|nr\.?|num\.?|n[°º]|is|est|es|è|ist|:|#))*"
IDENTITY = (
    rf"(?i:\b(?:{OF_IDENTITY}){SAID})\s?:? ?(?P<it>[A-Z0-9](?:[ .-]?[A-Z0-9]){{5,20}})\b",
    # French social security number (NIR): sex, year, month, department, commune, order, key
    r"\b(?P<it>[12][ .]?\d{2}[ .]?(?:0[1-9]|1[0-2])[ .]?(?:\d{2}|2[AB])[ .]?"
    r"\d{3}[ .]?\d{3}(?:[ .]?\d{2})?)\b",
    r"\b(?P<it>\d{3}\.\d{3}\.\d{3}-\d{2})\b",  # Brazil: CPF
    r"\b(?P<it>(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])\d{2}-\d{4})\b",  # Denmark: CPR
)
PATTERNS = {
    "STREET_ADDRESS": [re.compile(text) for text in STREETS],
    "DATE_OF_BIRTH": [re.compile(text) for text in BIRTHS],
    "RECORD_NUMBER": [re.compile(text) for text in RECORDS],
    "NATIONAL_ID": [re.compile(text) for text in IDENTITY],
}
NEAR = 60  # characters: a full date so near to a person's other data is taken for the date of birth


def find(entity: str, text: str) -> Iterator[tuple[int, int]]:
    """Where data of this kind lie: (start, end)."""
    for pattern in PATTERNS[entity]:
        for match in pattern.finditer(text):
            start, end = match.span("it" if "it" in pattern.groupindex else 0)
            if entity != "NATIONAL_ID" or any(c.isdigit() for c in text[start:end]):
                yield start, end


def dates_near(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Full dates close to other data of a person, without a word that calls them a birthday."""
    for match in FULL_DATE.finditer(text):
        if any(match.start() - end < NEAR and start - match.end() < NEAR for start, end in places):
            yield match.span()
