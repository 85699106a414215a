"""A small English-German grammar: three genders, three cases, two articles, verb-second and verb-final order.

``German`` sentences are built from a ``Sentence``, and a ``Sentence`` is read back from its English text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import NamedTuple

# English noun -> (German noun, gender). No noun here takes an extra case ending (no weak masculines).
PEOPLE = {
    "man": ("Mann", "m"), "woman": ("Frau", "f"), "child": ("Kind", "n"), "teacher": ("Lehrer", "m"),
    "doctor": ("Arzt", "m"), "mother": ("Mutter", "f"), "girl": ("Mädchen", "n"), "brother": ("Bruder", "m"),
    "queen": ("Königin", "f"), "baker": ("Bäcker", "m"),
}  # fmt: skip
THINGS = {
    "dog": ("Hund", "m"), "cat": ("Katze", "f"), "horse": ("Pferd", "n"), "book": ("Buch", "n"),
    "letter": ("Brief", "m"), "cake": ("Kuchen", "m"), "cup": ("Tasse", "f"), "lamp": ("Lampe", "f"),
    "car": ("Auto", "n"), "flower": ("Blume", "f"), "key": ("Schlüssel", "m"), "picture": ("Bild", "n"),
    "newspaper": ("Zeitung", "f"), "suitcase": ("Koffer", "m"),
}  # fmt: skip
NOUNS = PEOPLE | THINGS
OF_PEOPLE = {"old": "alt", "young": "jung", "good": "gut", "happy": "glücklich", "friendly": "freundlich"}
OF_THINGS = {"old": "alt", "small": "klein", "new": "neu", "beautiful": "schön", "big": "groß", "red": "rot"}
ADJECTIVES = OF_PEOPLE | OF_THINGS
# English base form -> (third person, past, German third person, participle, infinitive); all take "haben".
ACCUSATIVE = {
    "see": ("sees", "saw", "sieht", "gesehen", "sehen"),
    "find": ("finds", "found", "findet", "gefunden", "finden"),
    "buy": ("buys", "bought", "kauft", "gekauft", "kaufen"),
    "paint": ("paints", "painted", "malt", "gemalt", "malen"),
    "carry": ("carries", "carried", "trägt", "getragen", "tragen"),
    "sell": ("sells", "sold", "verkauft", "verkauft", "verkaufen"),
    "bring": ("brings", "brought", "bringt", "gebracht", "bringen"),
    "forget": ("forgets", "forgot", "vergisst", "vergessen", "vergessen"),
}
DATIVE = {
    "help": ("helps", "helped", "hilft", "geholfen", "helfen"),
    "thank": ("thanks", "thanked", "dankt", "gedankt", "danken"),
    "answer": ("answers", "answered", "antwortet", "geantwortet", "antworten"),
}
VERBS = ACCUSATIVE | DATIVE
MODALS = {"wants to": "will", "can": "kann", "must": "muss"}
PLACES = {
    "in the garden": "im Garten", "in the kitchen": "in der Küche", "in the house": "im Haus",
    "in the park": "im Park", "at the station": "am Bahnhof", "in the city": "in der Stadt",
}  # fmt: skip
TIMES = {"today": "heute", "now": "jetzt", "sometimes": "manchmal", "yesterday": "gestern"}

ARTICLES = {
    ("the", "nom"): {"m": "der", "f": "die", "n": "das"},
    ("the", "acc"): {"m": "den", "f": "die", "n": "das"},
    ("the", "dat"): {"m": "dem", "f": "der", "n": "dem"},
    ("a", "nom"): {"m": "ein", "f": "eine", "n": "ein"},
    ("a", "acc"): {"m": "einen", "f": "eine", "n": "ein"},
    ("a", "dat"): {"m": "einem", "f": "einer", "n": "einem"},
}
ENDINGS = {
    ("the", "nom"): {"m": "e", "f": "e", "n": "e"},
    ("the", "acc"): {"m": "en", "f": "e", "n": "e"},
    ("the", "dat"): {"m": "en", "f": "en", "n": "en"},
    ("a", "nom"): {"m": "er", "f": "e", "n": "es"},
    ("a", "acc"): {"m": "en", "f": "e", "n": "es"},
    ("a", "dat"): {"m": "en", "f": "en", "n": "en"},
}
FORMS = ("present", "past", "not", "did not", *MODALS)


class Phrase(NamedTuple):
    """An article (``the`` or ``a``), an adjective (or ``""``) and a noun, in English."""

    article: str
    adjective: str
    noun: str


class Sentence(NamedTuple):
    """A sentence in English parts; ``time`` and ``place`` may be ``""``; ``form`` is one of ``FORMS``."""

    time: str
    subject: Phrase
    verb: str
    form: str
    object: Phrase
    place: str


def draw_sentence(draw: random.Random) -> Sentence:
    """Return a random sentence."""
    verb = draw.choice(tuple(VERBS))
    form = draw.choice(FORMS)
    place = draw.choice(tuple(PLACES)) if draw.random() < 0.4 else ""
    if "not" in form:
        place = ""  # where "nicht" stands beside a place depends on what is denied
    times = ("today", "sometimes", "yesterday") if form in ("past", "did not") else ("today", "now", "sometimes")
    return Sentence(
        draw.choice(times) if draw.random() < 0.4 else "",
        _draw_phrase(draw, PEOPLE, OF_PEOPLE),
        verb,
        form,
        # "nicht" with "ein" would be "kein": a denied object is a definite one.
        _draw_phrase(draw, PEOPLE, OF_PEOPLE, "not" in form)
        if verb in DATIVE
        else _draw_phrase(draw, THINGS, OF_THINGS, "not" in form),
        place,
    )


def _draw_phrase(draw: random.Random, nouns: dict, adjectives: dict, definite: bool = False) -> Phrase:
    article = "the" if definite or draw.random() < 0.7 else "a"
    adjective = draw.choice(tuple(adjectives)) if draw.random() < 0.5 else ""
    return Phrase(article, adjective, draw.choice(tuple(nouns)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _english_verb(verb: str, form: str) -> str:
    third, past = VERBS[verb][:2]
    fixed = {"present": third, "past": past, "not": f"does not {verb}", "did not": f"did not {verb}"}
    return fixed.get(form) or f"{form} {verb}"


def _english_phrase(phrase: Phrase) -> str:
    follows = phrase.adjective or phrase.noun
    article = "an" if phrase.article == "a" and follows[0] in "aeiou" else phrase.article
    return " ".join(part for part in (article, phrase.adjective, phrase.noun) if part)


def english(sentence: Sentence) -> str:
    """Return the English text."""
    parts = (
        sentence.time, _english_phrase(sentence.subject), _english_verb(sentence.verb, sentence.form),
        _english_phrase(sentence.object), sentence.place,
    )  # fmt: skip
    return _capital(" ".join(part for part in parts if part)) + "."


def german_phrase(phrase: Phrase, case: str) -> str:
    """Return a noun phrase in ``case`` (``nom``, ``acc`` or ``dat``)."""
    noun, gender = NOUNS[phrase.noun]
    key = (phrase.article, case)
    adjective = ADJECTIVES[phrase.adjective] + ENDINGS[key][gender] if phrase.adjective else ""
    return " ".join(part for part in (ARTICLES[key][gender], adjective, noun) if part)


def german(sentence: Sentence, time_first: bool = True) -> str:
    """Return the German text; the finite verb is second, other verb forms stand at the end."""
    _, _, third, participle, infinitive = VERBS[sentence.verb]
    finite, last = third, ""
    if sentence.form in ("past", "did not"):
        finite, last = "hat", participle
    elif sentence.form in MODALS:
        finite, last = MODALS[sentence.form], infinitive
    time = TIMES.get(sentence.time, "")
    subject = german_phrase(sentence.subject, "nom")
    front, after = ((time, subject) if time_first else (subject, time)) if time else (subject, "")
    parts = (
        front, finite, after, german_phrase(sentence.object, "dat" if sentence.verb in DATIVE else "acc"),
        PLACES.get(sentence.place, ""), "nicht" if "not" in sentence.form else "", last,
    )  # fmt: skip
    return _capital(" ".join(part for part in parts if part)) + "."


def references(sentence: Sentence) -> tuple[str, ...]:
    """Return every word order that counts as right, the usual one first."""
    return (german(sentence), german(sentence, time_first=False)) if sentence.time else (german(sentence),)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    def one_of(words: Iterable[str]) -> str:
        return "|".join(sorted(map(re.escape, words), key=len, reverse=True))

    def noun_phrase(role: str) -> str:
        return (
            f"(?P<{role}_article>the|an?) (?:(?P<{role}_adjective>{one_of(ADJECTIVES)}) )?"
            f"(?P<{role}_noun>{one_of(NOUNS)})"
        )

    return re.compile(
        f"(?:(?P<time>{one_of(TIMES)}) )?{noun_phrase('subject')} (?P<verb>{one_of(_english_verbs())}) "
        f"{noun_phrase('object')}(?: (?P<place>{one_of(PLACES)}))?"
    )


@lru_cache(maxsize=1)
def _english_verbs() -> dict[str, tuple[str, str]]:
    return {_english_verb(verb, form): (verb, form) for verb, form in product(VERBS, FORMS)}


def read_english(text: str) -> Sentence | None:
    """Return the sentence that ``text`` says, or ``None`` if it is none of this grammar."""
    found = _pattern().fullmatch(" ".join(text.lower().rstrip(" .").split()))
    if not found:
        return None
    subject, object_ = (
        Phrase(
            "the" if found[f"{role}_article"] == "the" else "a",
            found[f"{role}_adjective"] or "",
            found[f"{role}_noun"],
        )
        for role in ("subject", "object")
    )
    verb, form = _english_verbs()[found["verb"]]
    return Sentence(found["time"] or "", subject, verb, form, object_, found["place"] or "")


@lru_cache(maxsize=1)
def lexicon() -> dict[str, tuple[frozenset[str], str]]:
    """Return German word, lower case -> (word classes, lemma)."""
    entries: dict[str, tuple[set[str], str]] = {}

    def add(word: str, kind: str, lemma: str) -> None:
        entries.setdefault(word.lower(), (set(), lemma))[0].add(kind)

    for noun, _ in NOUNS.values():
        add(noun, "noun", noun)
    for (kind, _), forms in ARTICLES.items():
        for word in forms.values():
            add(word, "article", kind)
    for stem in ADJECTIVES.values():
        for ending in ("e", "en", "er", "es", "em"):
            add(stem + ending, "adjective", stem)
    for verb, (_, _, third, participle, infinitive) in VERBS.items():
        add(third, "finite", verb)
        add(participle, "last", verb)
        add(infinitive, "last", verb)
    for word in ("hat", *MODALS.values()):
        add(word, "finite", word)
    for word in TIMES.values():
        add(word, "time", word)
    for place in PLACES.values():
        preposition, *_, noun = place.split()
        add(preposition, "contracted" if preposition in ("im", "am") else "preposition", preposition)
        add(noun, "place", noun)
    add("nicht", "not", "nicht")
    return {word: (frozenset(kinds), lemma) for word, (kinds, lemma) in entries.items()}


FOLLOWS = {
    "<start>": {"article", "time"}, "time": {"finite", "article"}, "article": {"adjective", "noun", "place"},
    "adjective": {"noun"}, "noun": {"finite", "article", "preposition", "contracted", "not", "last", "."},
    "finite": {"article", "time"}, "preposition": {"article"}, "contracted": {"place"},
    "place": {"last", "."}, "not": {"last", "."}, "last": {"."}, ".": {"<end>"},
}  # fmt: skip


class WordOrder:
    """The neighbours that German allows: ``(word, word) in WordOrder()``, by their classes."""

    def __contains__(self, pair: object) -> bool:
        return isinstance(pair, tuple) and _may_follow(*pair)


@lru_cache(maxsize=65536)
def _may_follow(one: str, two: str) -> bool:
    after = _classes(two)
    return any(FOLLOWS.get(kind, set()) & after for kind in _classes(one))


def _classes(word: str) -> frozenset[str]:
    return lexicon().get(word, (frozenset({word} & {".", "<start>", "<end>"}), ""))[0]
