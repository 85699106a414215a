"""Scored English-German translations of a small grammar (``tasks.bundled.german``), perfect to useless."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tasks.bundled import german as grammar
from tasks.bundled.text import TOKEN, brevity, fluency, generator, repeated

# Annotator score (0-100) -> z: near the mean and the spread of the scores generated here.
SCORE_CENTRE, SCORE_SPREAD = 45.0, 30.0
ANNOTATOR_NOISE = 6.0
# Share of single annotator scores that are drawn blindly.
CARELESS = 0.03
_ORDER = grammar.WordOrder()


def rows(split: str, count: int, seed: int) -> Iterator[dict[str, str]]:
    """Yield ``count`` rows in the published schema (every field a string); a source has one to three rows."""
    seen: set[str] = set()
    index = group = 0
    while index < count:
        draw = generator("wmt20_mlqe", seed, split, group)
        group += 1
        for _ in range(50):
            sentence = grammar.draw_sentence(draw)
            source = grammar.english(sentence)
            if source not in seen:
                break
        seen.add(source)
        for _ in range(min(draw.choices((1, 2, 3), weights=(15, 65, 20))[0], count - index)):
            yield _row(index, source, translation(sentence, draw), draw)
            index += 1


def _row(index: int, source: str, text: str, draw: random.Random) -> dict[str, str]:
    quality = 100 * gold(f"English: {source}", text)
    noisy = [
        draw.uniform(0, 100) if draw.random() < CARELESS else draw.gauss(quality, ANNOTATOR_NOISE) for _ in range(3)
    ]
    scores = [min(100, max(0, round(score))) for score in noisy]
    z_scores = [(score - SCORE_CENTRE) / SCORE_SPREAD for score in scores]
    return {
        "index": str(index),
        "original": source,
        "translation": text,
        "scores": str(scores),
        "mean": str(sum(scores) / 3),
        "z_scores": str(z_scores),
        "z_mean": str(sum(z_scores) / 3),
        "model_scores": str(-0.1 - (100 - quality) / 150 + draw.gauss(0, 0.05)),
    }


FAULTS = (
    "noun", "object", "adjective", "verb", "article", "case", "ending", "untranslated", "order",
    "drop", "repeat", "cut", "stop", "lower", "time",
)  # fmt: skip


def translation(sentence: grammar.Sentence, draw: random.Random) -> str:
    """Return a translation with 0 to 5 faults, or now and then the source itself or another sentence."""
    if draw.random() < 0.05:
        return draw.choice((grammar.english(sentence), grammar.german(grammar.draw_sentence(draw))))
    faults = draw.sample(FAULTS, draw.choices((0, 1, 2, 3, 4, 5), weights=(7, 18, 25, 23, 16, 11))[0])
    said = sentence
    if "noun" in faults:
        said = said._replace(subject=said.subject._replace(noun=draw.choice(tuple(grammar.PEOPLE))))
    if "object" in faults:
        nouns = tuple(grammar.PEOPLE if said.object.noun in grammar.PEOPLE else grammar.THINGS)
        said = said._replace(object=said.object._replace(noun=draw.choice(nouns)))
    if "adjective" in faults:
        said = said._replace(object=said.object._replace(adjective=draw.choice(tuple(grammar.OF_THINGS))))
    if "verb" in faults:
        verbs = tuple(grammar.DATIVE if said.verb in grammar.DATIVE else grammar.ACCUSATIVE)
        said = said._replace(verb=draw.choice(verbs))
    if "time" in faults:
        said = said._replace(time="" if said.time else draw.choice(tuple(grammar.TIMES)))
    words = grammar.german(said, time_first=draw.random() < 0.8)[:-1].split()
    for fault in faults:
        words = _spoil(fault, words, sentence, draw)
    text = " ".join(words)
    return (text[:1].upper() + text[1:]) + ("" if "stop" in faults or "cut" in faults else ".")


def _spoil(fault: str, words: list[str], sentence: grammar.Sentence, draw: random.Random) -> list[str]:
    classes = [grammar.lexicon().get(word.lower(), (frozenset(), ""))[0] for word in words]
    at = draw.randrange(len(words))
    out = list(words)
    if fault in ("article", "case"):
        places = [place for place, kinds in enumerate(classes) if "article" in kinds]
        if places:
            forms = {word for forms in grammar.ARTICLES.values() for word in forms.values()}
            out[draw.choice(places)] = draw.choice(sorted(forms))
    elif fault == "ending":
        places = [place for place, kinds in enumerate(classes) if "adjective" in kinds]
        if places:
            place = draw.choice(places)
            out[place] = grammar.lexicon()[words[place].lower()][1] + draw.choice(("e", "en", "er", "es"))
    elif fault == "untranslated":
        source = grammar.english(sentence)[:-1].split()
        for place in draw.sample(range(len(words)), min(len(words), draw.choice((1, 1, 2, 3)))):
            out[place] = source[min(place * len(source) // len(words), len(source) - 1)]
    elif fault == "order":
        out.insert(draw.randrange(len(words)), out.pop(at))
    elif fault == "drop" and len(words) > 3:
        del out[at]
    elif fault == "repeat":
        out.insert(at, out[at])
    elif fault == "cut":
        out = words[: max(2, round(len(words) * draw.uniform(0.4, 0.8)))]
    elif fault == "lower":
        out = [word.lower() for word in words]
    return out


def reference(prompt: str) -> str:
    """Return the right translation of a generated prompt, in the usual word order."""
    sentence = grammar.read_english(prompt.strip().removeprefix("English:"))
    assert sentence is not None
    return grammar.references(sentence)[0]


@lru_cache(maxsize=8192)
def _targets(body: str) -> tuple[tuple[tuple[str, ...], ...], frozenset[str]]:
    """Return the right translations as words; for a body that is no sentence of the grammar, a word bag."""
    text = body.strip()
    text = text.removeprefix("English:")
    sentence = grammar.read_english(text)
    if sentence:
        return tuple(tuple(_words(reference)) for reference in grammar.references(sentence)), frozenset()
    bag = set()
    for word in text.lower().replace(".", " ").split():
        german = grammar.NOUNS.get(word, ("",))[0] or grammar.TIMES.get(word, "") or grammar.ADJECTIVES.get(word, "")
        bag |= {german.lower()} - {""}
    return (), frozenset(bag)


def _words(text: str) -> list[str]:
    """Return words and marks, the first in lower case; ``in dem`` is ``im`` and ``an dem`` is ``am``."""
    words = TOKEN.findall(text)
    if words:
        words[0] = words[0] if words[0].lower() in _nouns() else words[0].lower()
    for two, one in ((["in", "dem"], "im"), (["an", "dem"], "am")):
        for at in range(len(words) - 2, -1, -1):
            if words[at : at + 2] == two:
                words[at : at + 2] = [one]
    return words


@lru_cache(maxsize=1)
def _nouns() -> frozenset[str]:
    return frozenset(noun.lower() for noun, _ in grammar.NOUNS.values())


@lru_cache(maxsize=65536)
def _likeness(one: str, two: str) -> float:
    """Return 1 for the same word, less for a wrong capital (0.85), form (0.5) or article (0.3), else 0."""
    if one == two:
        return 1.0
    if one.lower() == two.lower():
        return 0.85
    known = grammar.lexicon()
    first, second = known.get(one.lower()), known.get(two.lower())
    if not first or not second:
        return 0.0
    if first[1] == second[1]:
        return 0.5
    return 0.3 if "article" in first[0] and "article" in second[0] else 0.0


def _agreement(said: Sequence[str], right: Sequence[str]) -> float:
    """Return the F-measure of the best alignment in order, each pair of words counted by ``_likeness``."""
    if tuple(said) == tuple(right):
        return 1.0
    row = [0.0] * (len(right) + 1)
    for one in said:
        diagonal = 0.0
        for at, two in enumerate(right, start=1):
            above = row[at]
            row[at] = max(above, row[at - 1], diagonal + _likeness(one, two))
            diagonal = above
    return 2 * row[-1] / (len(said) + len(right))


def gold(prompt: str, completion: str) -> float:
    """Return in [0, 1] how good ``completion`` translates ``prompt``: 1 is a reference, 0 is no text.

    Form (German words in a German order, no repeat, a full stop) times agreement with the nearest reference.
    """
    words = _words(completion)
    if not words:
        return 0.0
    targets, bag = _targets(prompt)
    marks = [word for word in words if word != "."]
    if targets:
        comfortable = len(targets[0]) + 2
        agreement = max(_agreement(marks, [word for word in right if word != "."]) for right in targets)
    else:
        lower = [word.lower() for word in marks]
        comfortable = 16
        agreement = 0.8 * sum(any(word.startswith(stem) for word in lower) for stem in bag) / max(1, len(bag))
    form = fluency([word.lower() for word in words], _ORDER) ** 0.5
    # A right translation may use an article twice, never the same two words.
    form *= brevity(len(words), comfortable) * max(0.3, 0.85 ** repeated(marks))
    form *= 1.0 if completion.rstrip().endswith(".") else 0.85
    form *= 1.0 if completion.lstrip()[0].isupper() else 0.95
    return (0.2 + 0.8 * agreement**2) * form
